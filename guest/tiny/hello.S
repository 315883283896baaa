# The smallest guest: entered at 0x100000 in 64-bit mode, says hello on the serial port and powers
# off through the ACPI PM1a control register (SLP_EN with sleep type 5).
.globl _start
_start:
  lea text(%rip), %rsi
  mov $6, %ecx
  mov $0x3f8, %dx
  cld
  rep outsb
  mov $0x604, %dx
  mov $0x3400, %ax
  out %ax, %dx
1:
  cli
  hlt
  jmp 1b
text:
  .ascii "hello\n"
