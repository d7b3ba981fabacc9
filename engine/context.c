/* SPDX-License-Identifier: MIT */
/*
 * The context value of patas_options, for replacements written in C.
 *
 * The island leaves it in the static chain register, which C has no way to
 * read. So PATAS_CONTEXT_ENTRY's stub pushes it and calls
 * patas__context_enter(), which stores it here and must lose no argument
 * register: it is written in assembly, in isa/FOLDER/linux_CPU_context.c. A
 * build without a C library, and so without thread-local storage, leaves both
 * out.
 */
#include "patas.h"

__thread void *patas__context
    __attribute__((visibility("hidden"), tls_model("initial-exec"), used));

void *patas_context(void)
{
    return patas__context;
}
