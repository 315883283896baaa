# Starts the second vCPU and does sums with it. Shared words in the page of its start-up code:
#   0x8800 counter       0x8804 rounds each      0x8808 starts of the second   0x880c it is ready
#   0x8810 IPIs it took  0x8814 IPIs to send     0x8818 SIPIs to send          0x881c all done
.globl _start
_start:
  lea ap(%rip), %rsi
  mov $0x8000, %edi
  mov $(ap_end - ap), %ecx
  cld
  rep movsb
  mov $0x80f, %ecx                # spurious vector: the local APIC on
  mov $0x1ff, %eax
  xor %edx, %edx
  wrmsr
  mov $0x830, %ecx                # command: INIT to all but us, then start at 0x8000
  mov $0xc4500, %eax
  wrmsr
  mov 0x8818, %ebx
1:
  mov $0xc4608, %eax
  wrmsr
  dec %ebx
  jnz 1b

  mov 0x8804, %ebx
2:
  lock incl 0x8800
  dec %ebx
  jnz 2b
3:
  pause
  cmpl $1, 0x880c
  jb 3b

  xor %ebx, %ebx                  # one IPI at a time, each to be taken
  mov $1, %edx
4:
  cmp 0x8814, %ebx
  jae 6f
  inc %ebx
  mov $0x4040, %eax
  wrmsr
5:
  pause
  cmp %ebx, 0x8810
  jb 5b
  jmp 4b
6:
  movl $1, 0x881c
  mov $0x604, %edx
  mov $0x3400, %eax
  out %ax, %dx
7:
  cli
  hlt
  jmp 7b

.code16
ap:
  cli
  xor %ax, %ax
  mov %ax, %ds
  mov %ax, %ss
  mov $0x9000, %sp
  lock incl 0x8808
  mov 0x8804, %ecx
1:
  lock incl 0x8800
  dec %ecx
  jnz 1b
  movw $(0x8000 + ap_interrupt - ap), 0x100 # vector 0x40
  movw $0, 0x102
  mov $0x80f, %ecx
  mov $0x1ff, %eax
  xor %edx, %edx
  wrmsr
  movl $1, 0x880c
2:
  sti
  hlt
  jmp 2b
ap_interrupt:
  push %eax
  push %ecx
  push %edx
  lock incl 0x8810
  mov $0x80b, %ecx
  xor %eax, %eax
  xor %edx, %edx
  wrmsr
  pop %edx
  pop %ecx
  pop %eax
  iret
ap_end:
