/* SPDX-License-Identifier: MIT */
/* What tests know of the processor that they run on. Code that is longer than a
 * few bytes has a file for each processor instead: NAME_CPU.S. */
#ifndef PATAS_TESTS_MACHINE_H
#define PATAS_TESTS_MACHINE_H

#include <stdint.h>
#include <string.h>

/* The parameters of a function that another one with an `int x` calls without
 * passing it on: where arguments are on the stack, it finds the other's behind
 * that one's return address. */
#define MACHINE_PARAMETERS \
    MACHINE((int x), (__attribute__((unused)) void *callers_return, int x))

#if defined(__x86_64__) || defined(__i386__)

/* How often something is tried. */
#define MACHINE_ROUNDS(count) (count)
/* A handler goes on behind the breakpoint that it was called for. */
#define MACHINE_STEP_OVER(context) ((void)(context))
/* What assembly calls with the stack as it happens to be. */
#define MACHINE_CALLED __attribute__((used, force_align_arg_pointer))

/* What a debugger plants. */
#define MACHINE_BREAKPOINT \
    {                      \
        0xcc               \
    }
/* Bytes that are no instruction. */
#define MACHINE_INVALID        \
    {                          \
        0x0f, 0x04, 0x0f, 0x04 \
    }
/* A whole function of 4 bytes that answers 2, if it is called with a 2. */
#define MACHINE_LAST                                  \
    {                                                 \
        0x6a, 0x02, 0x58, 0xc3 /* push 2; pop; ret */ \
    }
/* int (int x): x + 7, and no other function behind it. Nobody calls it on
 * i386, where x is not in edi. */
#define MACHINE_ADDS_SEVEN                                                    \
    {                                                                         \
        0x8d, 0x47, 0x07, 0xc3, 0x90, 0x90, 0x90, 0x90 /* lea 7(%rdi),%eax */ \
    }

#endif

#if defined(__x86_64__)

/* Assembly, or another piece of text: for x86-64, for i386, for AArch64. */
#define MACHINE(x86_64, i386)           x86_64
#define MACHINE3(x86_64, i386, aarch64) x86_64
/* In ucontext_t's gregs, and struct user_regs_struct. */
#define MACHINE_PC           REG_RIP
#define MACHINE_USER_PC      rip
#define MACHINE_USER_RESULT  rax
#define MACHINE_USER_SYSCALL orig_rax
#define MACHINE_SYS_MMAP     SYS_mmap

#elif defined(__i386__)

#define MACHINE(x86_64, i386)           i386
#define MACHINE3(x86_64, i386, aarch64) i386
#define MACHINE_PC                      REG_EIP
#define MACHINE_USER_PC                 eip
#define MACHINE_USER_RESULT             eax
#define MACHINE_USER_SYSCALL            orig_eax
#define MACHINE_SYS_MMAP                SYS_mmap2

#elif defined(__aarch64__)

/* What stands for two only is a number of a 64-bit machine. */
#define MACHINE(x86_64, i386)           x86_64
#define MACHINE3(x86_64, i386, aarch64) aarch64
#define MACHINE_ROUNDS(count)           ((count) / 10) /* CI has an emulator */

#define MACHINE_STEP_OVER(context) \
    (((ucontext_t *)(context))->uc_mcontext.pc += 4)
#define MACHINE_CALLED __attribute__((used))

#define MACHINE_BREAKPOINT                 \
    {                                      \
        0x00, 0x00, 0x20, 0xd4 /* brk 0 */ \
    }
#define MACHINE_INVALID        \
    {                          \
        0x00, 0x00, 0x00, 0x02 \
    }
#define MACHINE_LAST                     \
    {                                    \
        0xc0, 0x03, 0x5f, 0xd6 /* ret */ \
    }
#define MACHINE_ADDS_SEVEN                               \
    {                                                    \
        0x00, 0x1c, 0x00, 0x11,     /* add w0, w0, #7 */ \
            0xc0, 0x03, 0x5f, 0xd6, /* ret */            \
    }

#endif

/* What everybody's patcher writes. */
enum {
    MACHINE_JUMP = MACHINE3(5, 5, 4) /* bytes */
};
static inline void machine_jump(uint8_t *bytes, uintptr_t from, uintptr_t to)
{
    const uint32_t distance = (uint32_t)(to - from);
    const uint32_t word = MACHINE3(distance - 5, distance - 5,
                                   0x14000000 | (distance >> 2 & 0x3ffffff));

    bytes[0] = 0xe9; /* of the longer one */
    memcpy(bytes + MACHINE_JUMP - 4, &word, 4);
}

#endif
