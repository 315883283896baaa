# Counts at 0x8800 for ever, without an exit.
.globl _start
_start:
  incq 0x8800
  jmp _start
