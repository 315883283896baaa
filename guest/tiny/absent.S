# Writes to a page at 0x1a0000 again and again, interrupts on, while a timer ticks. Words from 0x8800 on:
#   0 rounds done    1 ticks    2 TSC ticks between them
.set words, 0x8800
.set page, 0x1a0000

.globl _start
_start:
  lea idt_entry(%rip), %rdi       # vector 0x40, an interrupt gate
  lea interrupt(%rip), %rax
  mov %ax, (%rdi)
  movw $0x10, 2(%rdi)
  movw $0x8e00, 4(%rdi)
  shr $16, %rax
  mov %ax, 6(%rdi)
  lidt idt_pointer(%rip)
  mov $0x80f, %ecx
  mov $0x1ff, %eax
  xor %edx, %edx
  wrmsr
  mov $0x832, %ecx                # timer: TSC deadline, vector 0x40
  mov $0x40040, %eax
  wrmsr
  call arm
  sti
1:
  incl page
  incl words
  pause
  jmp 1b

arm:
  rdtsc
  mov words + 8, %ecx
  add %ecx, %eax
  adc $0, %edx
  mov $0x6e0, %ecx
  wrmsr
  ret

interrupt:
  push %rax
  push %rcx
  push %rdx
  incl words + 4
  mov $0x80b, %ecx
  xor %eax, %eax
  xor %edx, %edx
  wrmsr
  call arm
  pop %rdx
  pop %rcx
  pop %rax
  iretq

.balign 8
idt_pointer:
  .word 0x41 * 16 - 1
  .quad idt
.balign 16
idt:
  .skip 0x40 * 16
idt_entry:
  .skip 16
