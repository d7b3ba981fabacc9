/* SPDX-License-Identifier: MIT */
/*
 * The proof that bench/torture bites: two patchers that everybody would write
 * first (torture_naive_*.c), under the same threads.
 */
#include "torture.h"

#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <linux/membarrier.h>

struct trial {
    const struct torture_naive *naive;
    struct torture_figures *figures;
    double seconds;
    unsigned threads;
};

static void run_naive(void *argument)
{
    static struct torture_threads threads;
    static bool used[64];
    const struct trial *trial = argument;
    const struct torture_naive *naive = trial->naive;
    uint8_t *entry =
        (uint8_t *)(uintptr_t)torture_functions[naive->function].entry;
    used[naive->function] = true;
    if (!naive->prepare(entry) ||
        mprotect((void *)((uintptr_t)entry & ~(uintptr_t)4095), 4096,
                 PROT_READ | PROT_WRITE | PROT_EXEC))
        _exit(3);
    syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_SYNC_CORE,
            0, 0);
    threads = (struct torture_threads){
        .figures = trial->figures, .used = used, .callers = trial->threads};
    torture_start(&threads);
    double end = bench_now() + trial->seconds;
    for (unsigned long n = 0; n % 64 || bench_now() < end; n++) {
        (n % 2 ? naive->restore : naive->patch)(entry);
        syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED_SYNC_CORE, 0,
                0);
        for (volatile unsigned k = (unsigned)(n * 7 % 300); k; k--)
            ;
        atomic_fetch_add(&trial->figures->patches, 1);
    }
    torture_stop(&threads);
}

static bool bites(const struct torture_naive *naive, double seconds,
                  unsigned threads)
{
    char text[64];
    struct trial trial = {.naive = naive,
                          .figures =
                              bench_shared(sizeof(struct torture_figures)),
                          .seconds = seconds,
                          .threads = threads < 2 ? 2 : threads};
    double begin = bench_now();
    struct bench_end end = bench_child(run_naive, &trial, seconds * 3 + 120);
    bool dead = end.signal || trial.figures->wrong || end.hung;
    printf("%-10s %12lu %6lu  %-20s after %.3f s, %lu stores\n", naive->name,
           (unsigned long)trial.figures->calls,
           (unsigned long)trial.figures->wrong,
           bench_ended_well(&end) ? "survives" : bench_end_text(&end, text),
           bench_now() - begin, (unsigned long)trial.figures->patches);
    fflush(stdout);
    return dead;
}

bool torture_bite(double seconds, unsigned threads)
{
    bool all = true;
    printf("%-10s %12s %6s  crash\n", "naive", "calls", "wrong");
    for (size_t i = 0; i < 2; i++)
        all &= bites(&torture_naives[i], seconds, threads);
    return all;
}
