/* SPDX-License-Identifier: MIT */
/*
 * The threads of bench/torture. Half of the callers block every signal, also
 * the C library's own. The others are hit by a pest whose handler naps when
 * the thread stands in the first bytes of a function, so that a commit finds
 * somebody there.
 */
#include "torture.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

#define DECLARE(i, name, call, first, size, never, reads) \
    TORTURE_ABI long name(long x);
EACH(DECLARE)
TORTURE_ABI long t_second_caller(long x);
TORTURE_ABI long t_call_read(torture_fn function, long fd);
TORTURE_ABI long t_call_with(torture_fn function, long x);
TORTURE_ABI long t_helper(long x);
/* For t_call_read where a system call's number is in the argument's place. */
extern int torture_fd __attribute__((visibility("hidden")));
int torture_fd;

TORTURE_ABI static long call_plain(torture_fn function, long x)
{
    return function(x);
}

/* What t_call calls: now and then it stays away for a while. */
__attribute__((used, visibility("hidden"))) TORTURE_ABI long t_helper(long x)
{
    if (x % 61 == 0)
        syscall(SYS_sched_yield);
    return x + 1;
}

#define ENTRY(i, name, call, first, size, never, reads) \
    {#name, name, call, first, size, never, reads},
const struct torture_function torture_functions[] = {EACH(ENTRY)};
const size_t torture_count =
    sizeof torture_functions / sizeof *torture_functions;
_Atomic(patas_fn)
    torture_originals[sizeof torture_functions / sizeof *torture_functions];

static long expected(size_t index, long x)
{
    return torture_functions[index].reads ? 1 : x + 1;
}

static long through(size_t index, long x)
{
    torture_fn original = (torture_fn)atomic_load_explicit(
        &torture_originals[index], memory_order_acquire);
    return torture_functions[index].call(original, x);
}

#define REPLACE(i, name, call, first, size, never, reads) \
    TORTURE_ABI static long plain_##name(long x)          \
    {                                                     \
        return expected(i, x) + LAYER_PLAIN;              \
    }                                                     \
    TORTURE_ABI static long calling_##name(long x)        \
    {                                                     \
        return through(i, x) + LAYER_CALLING;             \
    }
EACH(REPLACE)
#define PAIR(i, name, call, first, size, never, reads) \
    {(patas_fn)plain_##name, (patas_fn)calling_##name},
static const patas_fn replacements[][LAYERS] = {EACH(PAIR)};

patas_fn torture_replacement(size_t index, int layer)
{
    return replacements[index][layer];
}

static bool possible(long excess)
{
    return excess == 0 || excess == LAYER_PLAIN || excess == LAYER_CALLING ||
           excess == LAYER_PLAIN + LAYER_CALLING;
}

static void wrong(struct torture_threads *all, const char *name, long x,
                  long got)
{
    if (atomic_fetch_add(&all->figures->wrong, 1) == 0)
        snprintf(all->figures->trouble, sizeof all->figures->trouble,
                 "%s(%ld) = 0x%lx", name, x, got);
}

static void call_one(struct torture_threads *all, size_t index, long x)
{
    const struct torture_function *function = &torture_functions[index];
    long argument = function->reads ? all->pipe[0] : x;
    long got = (int)function->call(function->entry, argument);
    if (!possible(got - expected(index, x)) &&
        !(function->reads && atomic_load(&all->stop)))
        wrong(all, function->name, x, got);
    if (function->never) {
        got = (int)function->never(x);
        if (got != x + 1)
            wrong(all, "the second entry", x, got);
    }
}

struct caller {
    struct torture_threads *all;
    unsigned index;
};

static void *caller_run(void *argument)
{
    struct caller *me = argument;
    struct torture_threads *all = me->all;
    unsigned long calls = 0;
    if (me->index % 2 && !all->all_signals_open) {
        uint64_t everything = ~(uint64_t)0;
        syscall(SYS_rt_sigprocmask, SIG_SETMASK, &everything, NULL, 8);
    } else {
        atomic_store(&all->tids[me->index], (int)syscall(SYS_gettid));
    }
    atomic_fetch_add(&all->started, 1);
    for (long x = (long)me->index; !atomic_load(&all->stop);
         x = (x + 1) & 0x7fff) {
        /* Mostly the same few for a while: the pest finds them there. */
        for (size_t i = 0; i < torture_count; i++)
            if (all->used[i] && (!torture_functions[i].reads || x % 64 == 0))
                for (int k = 0; k < (torture_functions[i].reads ? 1 : 16);
                     k++, calls++)
                    call_one(all, i, x);
        if (calls > 4096) {
            atomic_fetch_add(&all->figures->calls, calls);
            calls = 0;
        }
    }
    atomic_store(&all->tids[me->index], 0);
    atomic_fetch_add(&all->figures->calls, calls);
    free(me);
    return NULL;
}

static atomic_ulong *naps;

static void on_pest(int number, siginfo_t *info, void *context)
{
    ucontext_t *user = context;
    uintptr_t pc = (uintptr_t)TORTURE_PC(user);
    (void)number, (void)info;
    for (size_t i = 0; i < torture_count; i++)
        if (TORTURE_NAPS_AT(pc - (uintptr_t)torture_functions[i].entry)) {
            struct timespec nap = {0, 2000000};
            atomic_fetch_add(naps, 1);
            syscall(SYS_nanosleep, &nap, NULL);
        }
}

static void *pest_run(void *argument)
{
    struct torture_threads *all = argument;
    struct timespec pause = {0, 30000};
    for (unsigned i = 0; !atomic_load(&all->stop); i++) {
        int tid = atomic_load(&all->tids[i % all->callers]);
        if (tid)
            syscall(SYS_tgkill, getpid(), tid, SIGUSR1);
        nanosleep(&pause, NULL);
    }
    return NULL;
}

static void *feeder_run(void *argument)
{
    struct torture_threads *all = argument;
    struct timespec pause = {0, 100000};
    while (!atomic_load(&all->stop)) {
        (void)!write(all->pipe[1], "12345678", 8);
        nanosleep(&pause, NULL);
    }
    /* Nobody may be left asleep. */
    close(all->pipe[1]);
    return NULL;
}

void torture_start(struct torture_threads *all)
{
    struct sigaction action = {.sa_sigaction = on_pest,
                               .sa_flags = SA_SIGINFO | SA_RESTART};
    naps = &all->figures->naps;
    sigaction(SIGUSR1, &action, NULL);
    if (pipe2(all->pipe, O_CLOEXEC) || fcntl(all->pipe[1], F_SETFL, O_NONBLOCK))
        bench_die("pipe");
    torture_fd = all->pipe[0];
    for (unsigned i = 0; i < all->callers; i++) {
        struct caller *caller = malloc(sizeof *caller);
        *caller = (struct caller){all, i};
        if (pthread_create(&all->threads[i], NULL, caller_run, caller))
            bench_die("pthread_create");
    }
    while (atomic_load(&all->started) < (int)all->callers)
        usleep(1000);
    pthread_create(&all->pest, NULL, pest_run, all);
    pthread_create(&all->feeder, NULL, feeder_run, all);
}

void torture_stop(struct torture_threads *all)
{
    atomic_store(&all->stop, 1);
    pthread_join(all->feeder, NULL);
    pthread_join(all->pest, NULL);
    for (unsigned i = 0; i < all->callers; i++)
        pthread_join(all->threads[i], NULL);
}
