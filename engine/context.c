/* SPDX-License-Identifier: MIT */
/*
 * The context value of patas_options, for replacements written in C.
 *
 * The island leaves it in the static chain register, r10 (System V ABI x86-64,
 * 3.2.3). C has no way to read that, so PATAS_CONTEXT_ENTRY's stub pushes it
 * and calls patas__context_enter(), which must lose no argument register: it
 * is written in assembly and touches r10 and r11 alone. A build without a C
 * library, and so without thread-local storage, leaves this file out.
 */
#include "patas.h"

__thread void *patas__context
    __attribute__((visibility("hidden"), tls_model("initial-exec"), used));

void *patas_context(void)
{
    return patas__context;
}

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
