/* SPDX-License-Identifier: MIT */
/* What test_bad_input.c meddles with: bad_input_x86_64.S says what it is. */
        .text

/* b8 imm32 | 05 imm32 | ... */
        .globl  in_the_middle
        .type   in_the_middle, @function
        .p2align 5
in_the_middle:
        .cfi_startproc
        mov     $0x11223344, %eax
        add     $0x11223344, %eax
        mov     %eax, %ecx
        sub     %ecx, %eax
        add     $42, %eax
        ret
        .cfi_endproc
        .size   in_the_middle, . - in_the_middle

        .globl  rseq_signed
        .type   rseq_signed, @function
        .p2align 5
rseq_signed:
        .cfi_startproc
        .byte   0x0f, 0xb9, 0x3d
        .long   0x53053053
        ret
        .cfi_endproc
        .size   rseq_signed, . - rseq_signed

        .globl  shares_a
        .type   shares_a, @function
        .p2align 5
shares_a:
        .cfi_startproc
        mov     4(%esp), %eax
        .cfi_endproc
        .size   shares_a, . - shares_a
        .globl  shares_b
        .type   shares_b, @function
shares_b:
        .cfi_startproc
        inc     %eax
        ret
        .cfi_endproc
        .size   shares_b, . - shares_b

        .globl  call_b
        .type   call_b, @function
        .p2align 5
call_b:
        .cfi_startproc
        mov     4(%esp), %eax
        jmp     shares_b
        .cfi_endproc
        .size   call_b, . - call_b

        .section .note.GNU-stack, "", @progbits
