# A guest that does rubbish to everything outside its memory: ports, MMIO, MSRs. It tests that the
# host stands it. It ends with "DONE\n" on the serial port, unless its rubbish (rarely) asked for a
# reset or a power-off.
#
# Entered at 0x100000 in 64-bit mode, first 4 GiB identity-mapped, interrupts off.
# RDI -> { u64 seed; u64 count of operations; u64 ram_bytes }.
#
# r12: random state    r13: operations left    r14: end of RAM    r15: where to go on after a fault
#
# The loop makes no calls, and interrupts come only at its head: so a fault handler needs nothing
# but r15, whatever the vector pushed on the stack.

.set SERIAL, 0x3f8
.set CODE, 8
.set DATA, 16

# rax: the next random number (xorshift64)
.macro random
  mov %r12, %rax
  shl $13, %rax
  xor %rax, %r12
  mov %r12, %rax
  shr $7, %rax
  xor %rax, %r12
  mov %r12, %rax
  shl $17, %rax
  xor %rax, %r12
  mov %r12, %rax
.endm

# One instruction that may fault; afterwards, the next operation.
.macro risk instruction:vararg
  lea next(%rip), %r15
  \instruction
  jmp next
.endm

.globl _start
_start:
  cli
  cld
  lea stack_top(%rip), %rsp
  mov 0(%rdi), %r12
  mov 8(%rdi), %r13
  mov 16(%rdi), %r14
  mov $1, %eax                    # xorshift needs a state that is not zero
  test %r12, %r12
  cmovz %rax, %r12
  mov $0xc0000000, %eax           # above this there is never RAM
  cmp %rax, %r14
  cmova %rax, %r14

  # Our own segments and interrupt table: the host's may not be in memory at all.
  lgdt gdt_pointer(%rip)
  mov $DATA, %eax
  mov %eax, %ds
  mov %eax, %es
  mov %eax, %ss
  push $CODE
  lea 1f(%rip), %rax
  push %rax
  lretq
1:
  xor %ecx, %ecx
2:
  lea fault(%rip), %rax
  lea nmi(%rip), %rdx
  cmp $2, %ecx
  cmove %rdx, %rax
  lea interrupt(%rip), %rdx
  cmp $32, %ecx
  cmovae %rdx, %rax
  mov %ecx, %edx
  shl $4, %edx
  lea idt(%rip), %rbx
  add %rdx, %rbx
  mov %ax, 0(%rbx)
  movw $CODE, 2(%rbx)
  movw $0x8e00, 4(%rbx)           # present, interrupt gate: interrupts off inside
  shr $16, %rax
  mov %ax, 6(%rbx)
  movq $0, 8(%rbx)
  inc %ecx
  cmp $256, %ecx
  jb 2b
  lidt idt_pointer(%rip)

next:
  lea 1f(%rip), %r15
  sti
  nop
  nop                             # pending interrupts come here
1:
  cli
  sub $1, %r13
  jb done
  random
  mov %eax, %ecx
  and $7, %ecx
  cmp $3, %ecx
  jb port
  je port_string
  cmp $6, %ecx
  jb mmio
  jmp msr

.include "rubbish_ports.inc"     # port, port_string
.include "rubbish_memory.inc"    # mmio, msr

# ---- the end ----
done:
  # The serial port may be in any state by now: plain transmission again.
  lea serial_reset(%rip), %rsi
  mov $4, %ecx
1:
  movzbl (%rsi), %edx
  add $SERIAL, %edx
  mov 1(%rsi), %al
  out %al, %dx
  add $2, %rsi
  loop 1b
  lea done_text(%rip), %rsi
  mov $5, %ebx
2:
  mov $64, %ecx                   # waits for the transmitter, but not for ever
3:
  mov $SERIAL + 5, %edx
  in %dx, %al
  test $0x20, %al
  loopz 3b
  mov $SERIAL, %edx
  outsb
  dec %ebx
  jnz 2b
4:
  cli
  hlt
  jmp 4b

# ---- handlers ----
fault:                            # any exception: on with what comes after the instruction
  incq faults(%rip)
  lea stack_top(%rip), %rsp
  jmp *%r15

nmi:
  incq interrupts(%rip)
  iretq

interrupt:
  push %rax
  push %rcx
  push %rdx
  incq interrupts(%rip)
  mov $0x1b, %ecx                 # the APIC may be in either mode by now
  rdmsr
  test $0x400, %eax
  jz 1f
  mov $0x80b, %ecx
  xor %eax, %eax
  xor %edx, %edx
  wrmsr
  jmp 2f
1:
  mov $0xfee000b0, %eax
  movl $0, (%rax)
2:
  pop %rdx
  pop %rcx
  pop %rax
  andq $~0x200, 16(%rsp)          # one for each operation: a stuck line must not stop us
  iretq

# ---- data ----
.balign 8
known_ports:                      # each with the 7 that follow
  .word 0x20, 0xa0, 0x40, 0x60, 0x70, 0x80, 0x3f8, 0x3f8
  .word 0xcf8, 0xcf8, 0xcfc, 0x402, 0x510, 0x514, 0x600, 0x608
ending_ports:                     # power-off, reset, keyboard controller, fast A20; and the start of
  .word 0x604, 0xcf9, 0x64, 0x92, 0x518 # fw_cfg's DMA, which may be told to overwrite us
  .word 0x604, 0xcf9, 0x64        # the first again, to make 8
.balign 8
msr_ranges:                       # first, mask of what is added
  .long 0x800, 0xff
  .long 0x800, 0x3f
  .long 0x6e0, 0
  .long 0x1b, 0
  .long 0x4b564d00, 0xf
  .long 0xc0000080, 0x83
  .long 0, 0xfff
  .long 0, 0xffffffff
serial_reset:                     # register, value: line control, modem control, interrupts, FIFO
  .byte 3, 3, 4, 0, 1, 0, 2, 0
done_text:
  .ascii "DONE\n"
.balign 8
gdt:
  .quad 0, 0x00af9b000000ffff, 0x00cf93000000ffff
gdt_pointer:
  .word . - gdt - 1
  .quad gdt
idt_pointer:
  .word 4095
  .quad idt
.balign 8
faults:
  .quad 0
interrupts:
  .quad 0
.balign 4096
idt:
  .skip 4096
scratch:
  .skip 8192
stack:
  .skip 4096
stack_top:
