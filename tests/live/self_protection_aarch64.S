/* SPDX-License-Identifier: MIT */
/* What test_self_protection.c patches: self_protection_x86_64.S says what it
 * is. No function begins by a call here, since that would lose its return
 * address; what moves is the instruction that makes the frame. */
        .text

        .globl  thousand
        .p2align 5
thousand:
        .set    number, 0
        .rept   250
        .p2align 5
        .cfi_startproc
        mov     w0, #number
        ret
        .cfi_endproc
        .p2align 5
        .cfi_startproc
        adr     x0, .
        mov     w0, #number + 1
        ret
        .cfi_endproc
        .p2align 5
        .cfi_startproc
        cbz     xzr, 1f
        mov     w0, #-1
        ret
1:      mov     w0, #number + 2
        ret
        .cfi_endproc
        .p2align 5
        .cfi_startproc
        hint    #34 /* bti c */
        stp     x29, x30, [sp, #-16]!
        mov     w0, #number + 3
        ldp     x29, x30, [sp], #16
        ret
        .cfi_endproc
        .set    number, number + 4
        .endr

        .globl  part_of_the_jump
        .type   part_of_the_jump, %function
        .p2align 5
part_of_the_jump:
        .cfi_startproc
        add     w0, w0, #1
        ret
        .cfi_endproc
        .size   part_of_the_jump, . - part_of_the_jump

.macro calls name callee more=0
        .globl  \name
        .type   \name, %function
        .p2align 5
\name:
        .cfi_startproc
        stp     x29, x30, [sp, #-16]!
        .cfi_def_cfa_offset 16
        .cfi_offset x29, -16
        .cfi_offset x30, -8
        mov     x29, sp
        bl      \callee
        add     w0, w0, #\more
        ldp     x29, x30, [sp], #16
        .cfi_restore x30
        .cfi_restore x29
        .cfi_def_cfa_offset 0
        ret
        .cfi_endproc
        .size   \name, . - \name
.endm
        calls   calls_first aligned_look
        calls   moved_call thrower 1

        .section .note.GNU-stack, "", %progbits
