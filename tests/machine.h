/* SPDX-License-Identifier: MIT */
/* What tests know of the processor that they run on. */
#ifndef PATAS_TESTS_MACHINE_H
#define PATAS_TESTS_MACHINE_H

/* The parameters of a function that another one with an `int x` calls without
 * passing it on: where arguments are on the stack, it finds the other's behind
 * that one's return address. */
#define MACHINE_PARAMETERS \
    MACHINE((int x), (__attribute__((unused)) void *callers_return, int x))

#if defined(__x86_64__)

/* Assembly, or another piece of text: for x86-64, for i386. */
#define MACHINE(x86_64, i386) x86_64
/* In ucontext_t's gregs, and struct user_regs_struct. */
#define MACHINE_PC           REG_RIP
#define MACHINE_USER_PC      rip
#define MACHINE_USER_RESULT  rax
#define MACHINE_USER_SYSCALL orig_rax
#define MACHINE_SYS_MMAP     SYS_mmap
/* What a call may change, but the result. */
#define MACHINE_CLOBBERED \
    "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11", "memory", "cc"

#elif defined(__i386__)

#define MACHINE(x86_64, i386) i386
#define MACHINE_PC            REG_EIP
#define MACHINE_USER_PC       eip
#define MACHINE_USER_RESULT   eax
#define MACHINE_USER_SYSCALL  orig_eax
#define MACHINE_SYS_MMAP      SYS_mmap2
#define MACHINE_CLOBBERED     "ecx", "edx", "memory", "cc"

#elif defined(__aarch64__)

/* Numbers of a 64-bit machine; no test with assembly for x86 is built. */
#define MACHINE(x86_64, i386) x86_64

#endif

#endif
