/* SPDX-License-Identifier: MIT */
/*
 * context.c's part for i386: the value is in ecx, as the static chain of gcc
 * and clang is; ecx alone is lost.
 */
__asm__(".text\n"
        ".p2align 4\n"
        ".globl patas__context_enter\n"
        ".type patas__context_enter,@function\n"
        "patas__context_enter:\n"
        "  .cfi_startproc\n"
        "  pushl %eax\n"
        "  .cfi_adjust_cfa_offset 4\n"
        "  call 1f\n"
        "  .cfi_adjust_cfa_offset 4\n"
        "1: popl %ecx\n"
        "  .cfi_adjust_cfa_offset -4\n"
        "  addl $_GLOBAL_OFFSET_TABLE_+(.-1b), %ecx\n"
        "  movl patas__context@gotntpoff(%ecx), %ecx\n"
        "  movl 8(%esp), %eax\n" /* pushed by the stub, below the return */
        "  movl %eax, %gs:(%ecx)\n"
        "  popl %eax\n"
        "  .cfi_adjust_cfa_offset -4\n"
        "  ret\n"
        "  .cfi_endproc\n"
        ".size patas__context_enter, .-patas__context_enter\n");

typedef int patas__not_empty; /* ISO C wants a declaration */
