/* SPDX-License-Identifier: MIT */
/*
 * context.c's part for x86-64: the value is in r10 (System V ABI x86-64,
 * 3.2.3); it and r11 alone are lost.
 */
__asm__(".text\n"
        ".p2align 4\n"
        ".globl patas__context_enter\n"
        ".type patas__context_enter,@function\n"
        "patas__context_enter:\n"
        "  .cfi_startproc\n"
        "  endbr64\n"
        "  movq patas__context@gottpoff(%rip), %r11\n"
        "  movq 8(%rsp), %r10\n" /* pushed by the stub, below the return */
        "  movq %r10, %fs:(%r11)\n"
        "  ret\n"
        "  .cfi_endproc\n"
        ".size patas__context_enter, .-patas__context_enter\n");

typedef int patas__not_empty; /* ISO C wants a declaration */
