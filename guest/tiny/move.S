# Sees to it that nothing of its registers changes while a timer ticks. Words from 0x8800 on:
#   0 rounds done    1 rounds to do    2 ticks    3 TSC ticks between them    4 what was wrong, by bits
.set words, 0x8800
.set pattern, 0x9e3779b97f4a7c15

.macro check_msr msr, bit
  mov $\msr, %ecx
  rdmsr
  shl $32, %rdx
  or %rax, %rdx
  cmp expected_\msr(%rip), %rdx
  je 9f
  orl $\bit, words + 16
9:
.endm
.macro set_msr msr
  mov $\msr, %ecx
  mov expected_\msr(%rip), %eax
  mov expected_\msr + 4(%rip), %edx
  wrmsr
.endm

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
  mov %cr4, %rax                  # SSE
  or $0x600, %rax
  mov %rax, %cr4
  mov $0x80f, %ecx
  mov $0x1ff, %eax
  xor %edx, %edx
  wrmsr
  mov $0x832, %ecx                # timer: TSC deadline, vector 0x40
  mov $0x40040, %eax
  wrmsr
  set_msr 0xc0000081
  set_msr 0xc0000082
  set_msr 0xc0000084
  set_msr 0xc0000102
  set_msr 0x176
  mov $0x1234560, %eax
  mov %rax, %db0
  mov $0x7654320, %eax
  mov %rax, %db3
  call arm
  sti
round:
  mov words, %eax                 # patterns that differ from round to round
  movabs $pattern, %rbx
  imul %rax, %rbx
  lea 1(%rbx), %r8
  lea 2(%rbx), %r9
  lea 3(%rbx), %r10
  lea 4(%rbx), %r11
  lea 5(%rbx), %r12
  lea 6(%rbx), %r13
  lea 7(%rbx), %r14
  lea 8(%rbx), %r15
  movq %r8, %xmm0
  movq %r9, %xmm7
  movq %r10, %xmm15
  mov $3000, %ebp
1:
  pause
  dec %ebp
  jnz 1b
  xor %esi, %esi
  movq %xmm0, %rdi
  sub %r8, %rdi
  or %rdi, %rsi
  movq %xmm7, %rdi
  sub %r9, %rdi
  or %rdi, %rsi
  movq %xmm15, %rdi
  sub %r10, %rdi
  or %rdi, %rsi
  jz 2f
  orl $1, words + 16
2:
  mov words, %eax
  movabs $pattern, %rdi
  imul %rax, %rdi
  cmp %rdi, %rbx
  jne 3f
  lea 36(,%rbx,8), %rdi           # the sum of all eight
  sub %r8, %rdi
  sub %r9, %rdi
  sub %r10, %rdi
  sub %r11, %rdi
  sub %r12, %rdi
  sub %r13, %rdi
  sub %r14, %rdi
  sub %r15, %rdi
  jz 4f
3:
  orl $2, words + 16
4:
  check_msr 0xc0000081, 4
  check_msr 0xc0000082, 8
  check_msr 0xc0000084, 0x10
  check_msr 0xc0000102, 0x20
  check_msr 0x176, 0x40
  mov %db0, %rax
  cmp $0x1234560, %rax
  jne 5f
  mov %db3, %rax
  cmp $0x7654320, %rax
  je 6f
5:
  orl $0x80, words + 16
6:
  rdtsc
  shl $32, %rdx
  or %rdx, %rax
  cmp last_tsc(%rip), %rax
  jae 7f
  orl $0x100, words + 16
7:
  mov %rax, last_tsc(%rip)
  incl words
  mov words, %eax
  test $7, %eax
  jnz 8f
  hlt                             # the next tick ends it
8:
  cmp words + 4, %eax
  jb round
  mov $0x604, %edx
  mov $0x3400, %eax
  out %ax, %dx
  cli
  hlt

arm:
  rdtsc
  mov words + 12, %ecx
  add %ecx, %eax
  adc $0, %edx
  mov $0x6e0, %ecx
  wrmsr
  ret

interrupt:
  push %rax
  push %rcx
  push %rdx
  incl words + 8
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
expected_0xc0000081: .quad 0x0023001000000000
expected_0xc0000082: .quad 0x0000112233445566
expected_0xc0000084: .quad 0x0000000000047700
expected_0xc0000102: .quad 0x0000778899aabbcc
expected_0x176: .quad 0x0000000000345678
last_tsc: .quad 0
idt_pointer:
  .word 0x41 * 16 - 1
  .quad idt
.balign 16
idt:
  .skip 0x40 * 16
idt_entry:
  .skip 16
