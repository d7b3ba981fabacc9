/* SPDX-License-Identifier: MIT */
/*
 * What the tests of the trap stage share: code made at run time, and the
 * answers of a registry that isn't there.
 *
 * Every test is its own process, so plain globals do.
 */
#ifndef TRAP_CODE_H
#define TRAP_CODE_H

#include "machine.h"
#include "trap.h"

#include <check.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

/* The signal of traps that isn't SIGTRAP, a byte that patas plants and that
 * raises it, and two bytes of the program's own that do. */
#define TRAP_SIGNAL  MACHINE(SIGILL, SIGSEGV)
#define TRAP_PLANTED MACHINE("\xd6", "\xf4")         /* -, hlt */
#define TRAP_OWN     MACHINE("\x0f\x0b", "\xfa\x90") /* ud2; cli, nop */

/* What patas__registry_carry() answers: `to` for `from`. With `put_back` set,
 * that byte is put there before the answer, as a restore would that comes
 * between a trap and its handler. */
struct carry_answer {
    volatile uintptr_t from, to;
    volatile int put_back; /* -1 = nothing */
};
extern struct carry_answer carry_answers[16];
extern volatile unsigned carry_count;

#ifdef TRAP_CODE_MAIN
struct carry_answer carry_answers[16];
volatile unsigned carry_count;

uintptr_t patas__registry_carry(uintptr_t pc)
{
    for (unsigned i = 0; i < carry_count; i++) {
        struct carry_answer *answer = &carry_answers[i];
        if (answer->from != pc)
            continue;
        if (answer->put_back >= 0)
            *(volatile uint8_t *)pc = (uint8_t)answer->put_back;
        return answer->to;
    }
    return 0;
}
#endif

static inline void carry(const void *from, const void *to)
{
    struct carry_answer *answer = &carry_answers[carry_count];
    answer->from = (uintptr_t)from;
    answer->to = (uintptr_t)to;
    answer->put_back = -1;
    carry_count++;
}

/* A page that may be written and run: the tests are not the engine. */
static inline uint8_t *code_page(void)
{
    void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC,
                      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    ck_assert_ptr_ne(page, MAP_FAILED);
    memset(page, 0xcc, 4096);
    return page;
}

static inline uint8_t *code_put(uint8_t *at, const void *bytes, size_t size)
{
    memcpy(at, bytes, size);
    return at;
}

static inline int code_run(const void *code)
{
    return ((int (*)(void))(uintptr_t)code)();
}

#define RETURN_42                        \
    "\xb8\x2a\0\0\0" /* mov $42, %eax */ \
    "\xc3"           /* ret           */

static inline uintptr_t context_pc(const void *context)
{
    const ucontext_t *u = context;
    return (uintptr_t)u->uc_mcontext.gregs[MACHINE_PC];
}

static inline void context_go(void *context, uintptr_t pc)
{
    ucontext_t *u = context;
    u->uc_mcontext.gregs[MACHINE_PC] = (greg_t)pc;
}

#endif
