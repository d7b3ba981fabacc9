/* SPDX-License-Identifier: MIT */
/* What test_bad_input.c meddles with: bad_input_x86_64.S says what it is. */
        .text

/* +4 begins an instruction, +2 doesn't. */
        .globl  in_the_middle
        .type   in_the_middle, %function
        .p2align 5
in_the_middle:
        .cfi_startproc
        mov     w0, #0x1122
        mov     w1, w0
        sub     w0, w0, w1
        add     w0, w0, #42
        ret
        .cfi_endproc
        .size   in_the_middle, . - in_the_middle

/* brk #0x45e0, which stands in front of an abort handler here. */
        .globl  rseq_signed
        .type   rseq_signed, %function
        .p2align 5
rseq_signed:
        .cfi_startproc
        .inst   0xd428bc00
        ret
        .cfi_endproc
        .size   rseq_signed, . - rseq_signed

/* Two entries that are neighbours: no window here has more than one
 * instruction, so they share nothing. */
        .globl  shares_a
        .type   shares_a, %function
        .p2align 5
shares_a:
        .cfi_startproc
        mov     w0, w0
        .cfi_endproc
        .size   shares_a, . - shares_a
        .globl  shares_b
        .type   shares_b, %function
shares_b:
        .cfi_startproc
        add     w0, w0, #1
        ret
        .cfi_endproc
        .size   shares_b, . - shares_b

        .globl  call_b
        .type   call_b, %function
        .p2align 5
call_b:
        .cfi_startproc
        b       shares_b
        .cfi_endproc
        .size   call_b, . - call_b

        .section .note.GNU-stack, "", %progbits
