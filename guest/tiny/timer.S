# Arms the TSC-deadline timer 0x8800 times, each 0x8804 ticks ahead, and runs on meanwhile without an
# exit. Counts what came in 0x8808, then powers off.
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
  sti
1:
  mov 0x8808, %ebx
  cmp 0x8800, %ebx
  jae 3f
  rdtsc
  mov 0x8804, %ecx
  add %ecx, %eax
  adc $0, %edx
  mov $0x6e0, %ecx
  wrmsr
2:
  pause
  cmp %ebx, 0x8808
  je 2b
  jmp 1b
3:
  mov $0x604, %edx
  mov $0x3400, %eax
  out %ax, %dx
  hlt

interrupt:
  push %rax
  push %rcx
  push %rdx
  incl 0x8808
  mov $0x80b, %ecx
  xor %eax, %eax
  xor %edx, %edx
  wrmsr
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
