/* SPDX-License-Identifier: MIT */
/* What test_bad_input.c meddles with. */
        .text

/* 48 b8 imm64 | 48 89 c1 | ...: +10 begins an instruction, +3 doesn't. */
        .globl  in_the_middle
        .type   in_the_middle, @function
        .p2align 5
in_the_middle:
        .cfi_startproc
        movabs  $0x1122334455667788, %rax
        mov     %rax, %rcx
        sub     %rcx, %rax
        add     $42, %eax
        ret
        .cfi_endproc
        .size   in_the_middle, . - in_the_middle

/* ud1 0x53053053(%rip),%edi: the kernel looks for the last 4 bytes in front of
 * an abort handler (rseq(2)); a window over them would break that. */
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

/* Two entries, two bytes apart. */
        .globl  shares_a
        .type   shares_a, @function
        .p2align 5
shares_a:
        .cfi_startproc
        mov     %edi, %eax
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

/* int call_b(int x): shares_b takes its argument where the result is. */
        .globl  call_b
        .type   call_b, @function
        .p2align 5
call_b:
        .cfi_startproc
        mov     %edi, %eax
        jmp     shares_b
        .cfi_endproc
        .size   call_b, . - call_b

        .section .note.GNU-stack, "", @progbits
