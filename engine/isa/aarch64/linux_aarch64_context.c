/* SPDX-License-Identifier: MIT */
/* context.c for Linux on AArch64. Touches x15 to x17 alone. */
__asm__(".text\n"
        ".p2align 4\n"
        ".globl patas__context_enter\n"
        ".type patas__context_enter, %function\n"
        "patas__context_enter:\n"
        "  .cfi_startproc\n"
        "  hint #34\n" /* bti c */
        "  adrp x16, :gottprel:patas__context\n"
        "  ldr x16, [x16, :gottprel_lo12:patas__context]\n"
        "  mrs x17, tpidr_el0\n"
        "  ldr x15, [sp]\n" /* put there by PATAS_CONTEXT_ENTRY */
        "  str x15, [x17, x16]\n"
        "  ret\n"
        "  .cfi_endproc\n"
        ".size patas__context_enter, .-patas__context_enter\n");
