/* SPDX-License-Identifier: MIT */
/* What test_self_protection.c patches. */
        .text

/* A thousand functions, 32 bytes apart: number i answers i. Four kinds of first
 * instructions. */
        .globl  thousand
        .p2align 5
thousand:
        .set    number, 0
        .rept   250
        .p2align 5
        .cfi_startproc
        mov     $number, %eax
        ret
        .cfi_endproc
        .p2align 5
        .cfi_startproc
        push    %rbx
        lea     number+1(%rip), %rax
        mov     $number + 1, %eax
        pop     %rbx
        ret
        .cfi_endproc
        .p2align 5
        .cfi_startproc
        xor     %eax, %eax
        add     $number + 2, %eax
        ret
        .cfi_endproc
        .p2align 5
        .cfi_startproc
        endbr64
        push    %rbp
        mov     %rsp, %rbp
        mov     $number + 3, %eax
        pop     %rbp
        ret
        .cfi_endproc
        .set    number, number + 4
        .endr

/* Four bytes of it change, and the fifth is kept: it belongs to the jump. */
        .globl  part_of_the_jump
        .type   part_of_the_jump, @function
        .p2align 5
part_of_the_jump:
        .cfi_startproc
        sub     $8, %rsp
        .cfi_def_cfa_offset 16
        lea     1(%rdi), %eax
        add     $8, %rsp
        ret
        .cfi_endproc
        .size   part_of_the_jump, . - part_of_the_jump

/* Its first instruction, which moves, is the call. */
        .globl  calls_first
        .type   calls_first, @function
        .p2align 5
calls_first:
        .cfi_startproc
        call    aligned_look
        ret
        .cfi_endproc
        .size   calls_first, . - calls_first

/* ... and a call of 5 bytes; the return address is the original's, so the
 * unwinder finds this function's rules. */
        .globl  moved_call
        .type   moved_call, @function
        .p2align 5
moved_call:
        .cfi_startproc
        call    thrower
        add     $1, %eax
        ret
        .cfi_endproc
        .size   moved_call, . - moved_call

        .section .note.GNU-stack, "", @progbits
