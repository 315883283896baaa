# An exception with no interrupt table to take it by.
.globl _start
_start:
  lidt none(%rip)
  ud2
none:
  .word 0
  .quad 0
