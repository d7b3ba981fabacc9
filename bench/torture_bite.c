/* SPDX-License-Identifier: MIT */
/*
 * The proof that bench/torture bites: two patchers that everybody would write
 * first, under the same threads.
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
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#include <linux/membarrier.h>

struct naive {
    uint8_t *entry; /* t_push: three instructions, 1 + 2 + 3 bytes */
    uint8_t *head;  /* its first 6 bytes and a jump back */
    uint64_t old, new;
    struct torture_figures *figures;
    double seconds;
    unsigned threads;
    bool traps;
};
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
static struct naive naive;

static void jump(uint8_t *at, const void *to)
{
    int32_t relative = (int32_t)((intptr_t)to - (intptr_t)(at + 5));
    at[0] = 0xe9;
    memcpy(at + 1, &relative, 4);
}

static void carry(int number, siginfo_t *info, void *context)
{
    ucontext_t *user = context;
    uint8_t *pc = (uint8_t *)user->uc_mcontext.gregs[TORTURE_PC];
    (void)info;
    if (pc > naive.entry && pc < naive.entry + HEAD) {
        user->uc_mcontext.gregs[TORTURE_PC] =
            (greg_t)(naive.head + (pc - naive.entry));
        return;
    }
    signal(number, SIG_DFL);
}

/* The displacement's bytes 0 and 2 stand on boundaries of t_push. */
static bool place_island(void)
{
    uint8_t *e = naive.entry;
    for (int high = -120; high < 120; high++) {
        if (high == 0 || high == -1)
            continue;
        uint32_t disp = naive.traps ? TRAPS : 0x00421142u;
        disp |= (uint32_t)(uint8_t)high << 24 | 0x2000u;
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

/* In 32 bits, too. */
typedef uint64_t unit __attribute__((aligned(8)));

static void run_naive(void *argument)
{
    static struct torture_threads threads;
    static bool used[64];
    (void)argument;
    used[0] = true;
    naive.entry = (uint8_t *)(uintptr_t)torture_functions[0].entry;
    if (!place_island() ||
        mprotect((void *)((uintptr_t)naive.entry & ~(uintptr_t)4095), 4096,
                 PROT_READ | PROT_WRITE | PROT_EXEC))
        _exit(3);
    syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_SYNC_CORE,
            0, 0);
    if (naive.traps) {
        struct sigaction action = {.sa_sigaction = carry,
                                   .sa_flags =
                                       SA_SIGINFO | SA_NODEFER | SA_RESTART};
        sigaction(TRAP_SIGNAL, &action, NULL);
    }
    threads = (struct torture_threads){
        .figures = naive.figures, .used = used, .callers = naive.threads};
    torture_start(&threads);
    double end = bench_now() + naive.seconds;
    for (unsigned long n = 0; n % 64 || bench_now() < end; n++) {
        __atomic_store_n((unit *)(void *)naive.entry,
                         n % 2 ? naive.old : naive.new, __ATOMIC_SEQ_CST);
        syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED_SYNC_CORE, 0,
                0);
        for (volatile unsigned k = (unsigned)(n * 7 % 300); k; k--)
            ;
        atomic_fetch_add(&naive.figures->patches, 1);
    }
    torture_stop(&threads);
}

static bool bites(const char *name, bool traps, double seconds,
                  unsigned threads)
{
    char text[64];
    naive =
        (struct naive){.figures = bench_shared(sizeof(struct torture_figures)),
                       .seconds = seconds,
                       .threads = threads,
                       .traps = traps};
    double begin = bench_now();
    struct bench_end end = bench_child(run_naive, NULL, seconds * 3 + 120);
    bool dead = end.signal || naive.figures->wrong || end.hung;
    printf("%-10s %12lu %6lu  %-20s after %.3f s, %lu stores\n", name,
           (unsigned long)naive.figures->calls,
           (unsigned long)naive.figures->wrong,
           bench_ended_well(&end) ? "survives" : bench_end_text(&end, text),
           bench_now() - begin, (unsigned long)naive.figures->patches);
    fflush(stdout);
    return dead;
}

bool torture_bite(double seconds, unsigned threads)
{
    printf("%-10s %12s %6s  crash\n", "naive", "calls", "wrong");
    bool ordinary = bites("ordinary", false, seconds, threads);
    bool no_helper =
        bites("no helper", true, seconds, threads < 2 ? 2 : threads);
    return ordinary && no_helper;
}
