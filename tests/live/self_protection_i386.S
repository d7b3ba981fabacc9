/* SPDX-License-Identifier: MIT */
/* What test_self_protection.c patches: self_protection_x86_64.S says what it
 * is. */
        .text

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
        push    %ebx
        call    1f
1:      pop     %eax
        mov     $number + 1, %eax
        pop     %ebx
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
        endbr32
        push    %ebp
        mov     %esp, %ebp
        mov     $number + 3, %eax
        pop     %ebp
        ret
        .cfi_endproc
        .set    number, number + 4
        .endr

        .globl  part_of_the_jump
        .type   part_of_the_jump, @function
        .p2align 5
part_of_the_jump:
        .cfi_startproc
        mov     4(%esp), %eax
        add     $1, %eax
        ret
        .cfi_endproc
        .size   part_of_the_jump, . - part_of_the_jump

        .globl  calls_first
        .type   calls_first, @function
        .p2align 5
calls_first:
        .cfi_startproc
        call    aligned_look
        ret
        .cfi_endproc
        .size   calls_first, . - calls_first

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
