/* SPDX-License-Identifier: MIT */
/*
 * The naive patchers of x86.
 *
 *     ordinary   one atomic store of a jump whose displacement bytes are
 *                whatever came out
 *     no helper  displacement bytes that trap where instructions begin, and a
 *                handler that carries, but nobody held who blocks the signal
 *
 * Both use the aligned store that never tears, so it is the bytes alone.
 */
#include "torture.h"

#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>

#if defined(__i386__)
enum {
    HEAD = 6,
    TRAPS = 0x00f400f4, /* hlt */
    TRAP_SIGNAL = SIGSEGV
};
#else
enum {
    HEAD = 6,
    TRAPS = 0x00d600d6,
    TRAP_SIGNAL = SIGILL
};
#endif

/* In 32 bits, too. */
typedef uint64_t unit __attribute__((aligned(8)));

static struct {
    uint8_t *entry; /* t_push: three instructions, 1 + 2 + 3 bytes */
    uint8_t *head;  /* its first 6 bytes and a jump back */
    uint64_t old, new;
} naive;

static void jump(uint8_t *at, const void *to)
{
    int32_t relative = (int32_t)((intptr_t)to - (intptr_t)(at + 5));
    at[0] = 0xe9;
    memcpy(at + 1, &relative, 4);
}

static void carry(int number, siginfo_t *info, void *context)
{
    ucontext_t *user = context;
    uint8_t *pc = (uint8_t *)(uintptr_t)TORTURE_PC(user);
    (void)info;
    if (pc > naive.entry && pc < naive.entry + HEAD) {
        TORTURE_PC(user) = (greg_t)(naive.head + (pc - naive.entry));
        return;
    }
    signal(number, SIG_DFL);
}

/* The displacement's bytes 0 and 2 stand on boundaries of t_push. */
static bool place_island(uint8_t *e, uint32_t low)
{
    naive.entry = e;
    for (int high = -120; high < 120; high++) {
        if (high == 0 || high == -1)
            continue;
        uint32_t disp = low | (uint32_t)(uint8_t)high << 24 | 0x2000u;
        uint8_t *island = e + 5 + (int32_t)disp;
        void *page = (void *)((uintptr_t)island & ~(uintptr_t)4095);
        if (mmap(page, 8192, PROT_READ | PROT_WRITE | PROT_EXEC,
                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1,
                 0) == MAP_FAILED)
            continue;
        jump(island, (void *)(uintptr_t)torture_replacement(0, 0));
        naive.head = island + 64;
        memcpy(naive.head, e, HEAD);
        jump(naive.head + HEAD, e + HEAD);
        memcpy(&naive.old, e, 8);
        naive.new = naive.old;
        uint8_t bytes[5] = {0xe9};
        memcpy(bytes + 1, &disp, 4);
        memcpy(&naive.new, bytes, 5);
        return true;
    }
    return false;
}

static bool prepare_ordinary(uint8_t *entry)
{
    return place_island(entry, 0x00421142u);
}

static bool prepare_traps(uint8_t *entry)
{
    struct sigaction action = {.sa_sigaction = carry,
                               .sa_flags =
                                   SA_SIGINFO | SA_NODEFER | SA_RESTART};
    sigaction(TRAP_SIGNAL, &action, NULL);
    return place_island(entry, TRAPS);
}

static void patch(uint8_t *entry)
{
    __atomic_store_n((unit *)(void *)entry, naive.new, __ATOMIC_SEQ_CST);
}

static void restore(uint8_t *entry)
{
    __atomic_store_n((unit *)(void *)entry, naive.old, __ATOMIC_SEQ_CST);
}

const struct torture_naive torture_naives[2] = {
    {"ordinary", 0, prepare_ordinary, patch, restore},
    {"no helper", 0, prepare_traps, patch, restore},
};
