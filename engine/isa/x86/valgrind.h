/* SPDX-License-Identifier: MIT */
/*
 * Valgrind runs a translation of the program, and keeps what it translated of a
 * file's code unless it is told that the code changed. A program asks it by
 * five instructions that do nothing on a processor (Valgrind manual, 3.1, "The
 * Client Request mechanism").
 */
#ifndef PATAS_X86_VALGRIND_H
#define PATAS_X86_VALGRIND_H

#include "host.h"

enum {
    VALGRIND_IS_HERE = 0x1001,
    VALGRIND_DISCARD = 0x1002 /* address, size */
};

/* What Valgrind answers; 0 where there is none. */
static inline uintptr_t valgrind_ask(uintptr_t request, uintptr_t first,
                                     uintptr_t second)
{
    const volatile uintptr_t question[6] = {request, first, second};
    uintptr_t answer = 0;
#if defined(__x86_64__)
    __asm__ volatile("rolq $3, %%rdi\n\trolq $13, %%rdi\n\t"
                     "rolq $61, %%rdi\n\trolq $51, %%rdi\n\t"
                     "xchgq %%rbx, %%rbx"
                     : "+d"(answer)
                     : "a"(&question[0])
                     : "cc", "memory");
#else
    __asm__ volatile("roll $3, %%edi\n\troll $13, %%edi\n\t"
                     "roll $29, %%edi\n\troll $19, %%edi\n\t"
                     "xchgl %%ebx, %%ebx"
                     : "+d"(answer)
                     : "a"(&question[0])
                     : "cc", "memory");
#endif
    return answer;
}

static inline bool valgrind_is_here(void)
{
    static int8_t here; /* 0 = not asked yet, else -1 or 1 */
    if (!here)
        here = valgrind_ask(VALGRIND_IS_HERE, 0, 0) ? 1 : -1;
    return here > 0;
}

#endif
