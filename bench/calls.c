/* SPDX-License-Identifier: MIT */
/*
 * bench/calls [runs] - what a call costs once its function is replaced.
 *
 * Each run is a process that measures the unpatched call first, so that the
 * ratio is of one run; the medians of several runs are printed. A peer does
 * the same on the same functions in the same run.
 *
 * Two callees: a function of five instructions of this program, called
 * directly, where every cycle shows; and libc's labs(), called as programs call
 * libraries, through the PLT.
 */
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"
#include "peers/peer.h"

long calls_target(long x);
__asm__(".text\n.p2align 6\n.globl calls_target\n"
        ".type calls_target,%function\n"
        "calls_target:\n.cfi_startproc\n"
#if defined(__i386__)
        "  push %ebx\n  mov 8(%esp), %ebx\n  lea 1(%ebx), %eax\n"
        "  pop %ebx\n"
#elif defined(__aarch64__)
        "  str x19, [sp, #-16]!\n  mov x19, x0\n  add x0, x19, #1\n"
        "  ldr x19, [sp], #16\n"
#else
        "  push %rbx\n  mov %rdi, %rbx\n  lea 1(%rbx), %rax\n  pop %rbx\n"
#endif
        "  ret\n.cfi_endproc\n.size calls_target, .-calls_target\n"
        ".p2align 6\n");

/* Nothing but a permanent trap fits: the branch back to +1 forbids all that
 * writes more than a byte, and the bytes behind it lead into this program. (On
 * AArch64 the jump always fits.) */
#if !defined(__aarch64__)
#define HAS_TRAPPED true
long calls_trapped(long x);
__asm__(".text\n.p2align 6\n.globl calls_trapped\n"
        ".type calls_trapped,@function\n"
        "calls_trapped:\n.cfi_startproc\n"
#if defined(__i386__)
        "  push %ebx\n1: mov $0x10, %eax\n  test %eax, %eax\n  je 1b\n"
        "  pop %ebx\n  mov 4(%esp), %eax\n  inc %eax\n  ret\n"
#else
        "  push %rdi\n1: mov $0x10, %eax\n  test %eax, %eax\n  je 1b\n"
        "  pop %rax\n  inc %rax\n  ret\n"
#endif
        ".cfi_endproc\n.size calls_trapped, .-calls_trapped\n"
        ".p2align 6\n");
#else
#define HAS_TRAPPED   false
#define calls_trapped calls_target
#endif

static patas_patch *patch;
static patas_fn original; /* as everybody keeps it */

__attribute__((noinline)) static long replacement(long x)
{
    return x + 2;
}
__attribute__((noinline)) static long calling(long x)
{
    return ((long (*)(long))original)(x) + 1;
}
__attribute__((noinline)) static long asking(long x)
{
    return ((long (*)(long))patas_original(patch))(x) + 1;
}
static long (*volatile slot)(long) = calls_target;

enum kind {
    PLAIN,
    REPLACED,
    CALLING,
    ASKING,
    SUSPENDED,
    TRAP,
    SLOT,
    KINDS
};
static const char *const names[] = {
    "unpatched",
    "replaced",
    "replaced, calls the original",
    "... asks patas_original() each time",
    "suspended",
    "permanent trap, replaced",
    "a slot, replaced",
};

enum callee {
    OWN,
    LIBRARY,
    CALLEES
};

struct run {
    double plain[2], ns[KINDS], peer[2]; /* plain: before patas, the peer */
    double slot_plain, trap_plain;
    char form[32];
    enum callee callee;
};

static double time_own(unsigned count)
{
    long x = 0;
    double begin = bench_now();
    for (unsigned i = 0; i < count; i++)
        x = calls_target(x);
    double seconds = bench_now() - begin;
    if (x < (long)count)
        bench_die("calls_target");
    return seconds / count * 1e9;
}

static double time_library(unsigned count)
{
    long x = 0;
    double begin = bench_now();
    for (unsigned i = 0; i < count; i++)
        x = labs(x + 1);
    double seconds = bench_now() - begin;
    if (x < (long)count)
        bench_die("labs");
    return seconds / count * 1e9;
}

static double (*const time_of[CALLEES])(unsigned) = {time_own, time_library};

/* Not by its name, which is the PLT's: a peer need not follow that. */
static patas_fn callee_of(enum callee callee)
{
    if (callee == OWN)
        return (patas_fn)calls_target;
    return (patas_fn)(uintptr_t)dlsym(RTLD_NEXT, "labs");
}

static double time_slot(unsigned count)
{
    long x = 0;
    double begin = bench_now();
    for (unsigned i = 0; i < count; i++)
        x = slot(x);
    return (bench_now() - begin) / count * 1e9 + (x == -1);
}

static double time_trapped(unsigned count)
{
    long x = 0;
    double begin = bench_now();
    for (unsigned i = 0; i < count; i++)
        x = calls_trapped(x);
    return (bench_now() - begin) / count * 1e9 + (x == -1);
}

enum {
    CALLS = 3000000,
    TRAPS = 30000
};

/* The best of some: what another process took from the others is no cost. */
static double best_of(double (*time)(unsigned), unsigned count)
{
    double best = 0;
    for (int i = 0; i < 3; i++) {
        double now = time(count);
        best = i && best < now ? best : now;
    }
    return best;
}

static void patch_with(patas_fn target, patas_fn by, unsigned flags)
{
    patas_options options = {sizeof options, flags, NULL};
    if (patas_replace_with(target, by, &options, &patch, NULL) != PATAS_OK)
        exit(3);
    original = patas_original(patch);
}

static void note_form(patas_fn target, char text[32])
{
    patas_plan_info plan = {.size = sizeof plan};
    if (patas_plan(target, &plan, NULL) == PATAS_OK)
        snprintf(text, 32, "%s", patas_form_name(plan.form));
}

static void measure(void *argument)
{
    static const patas_fn by[] = {
        [REPLACED] = (patas_fn)replacement,
        [CALLING] = (patas_fn)calling,
        [ASKING] = (patas_fn)asking,
    };
    struct run *run = argument;
    double (*time_calls)(unsigned) = time_of[run->callee];
    patas_fn target = callee_of(run->callee), trapped = (patas_fn)calls_trapped;
    note_form(target, run->form);
    run->plain[0] = run->ns[PLAIN] = best_of(time_calls, CALLS);
    for (int kind = REPLACED; kind <= ASKING; kind++) {
        patch_with(target, by[kind], 0);
        run->ns[kind] = best_of(time_calls, CALLS);
        (void)patas_restore(patch, NULL);
    }
    patch_with(target, (patas_fn)replacement, 0);
    (void)patas_suspend(patch, NULL);
    run->ns[SUSPENDED] = best_of(time_calls, CALLS);
    (void)patas_restore(patch, NULL);
    if (run->callee != OWN)
        return;
    if (HAS_TRAPPED) {
        run->trap_plain = best_of(time_trapped, CALLS);
        patch_with(trapped, (patas_fn)replacement, PATAS_ALLOW_TRAP);
        run->ns[TRAP] = best_of(time_trapped, TRAPS);
        (void)patas_restore(patch, NULL);
    }
    run->slot_plain = best_of(time_slot, CALLS);
    if (patas_replace_slot((patas_fn *)(uintptr_t)&slot, (patas_fn)replacement,
                           &patch, NULL) == PATAS_OK)
        run->ns[SLOT] = best_of(time_slot, CALLS);
}

static void measure_peer(void *argument)
{
    struct run *run = argument;
    peer_replace_fn replace = peer_load();
    double (*time_calls)(unsigned) = time_of[run->callee];
    void *target = (void *)(uintptr_t)callee_of(run->callee), *before;
    if (!replace)
        exit(3);
    run->plain[1] = best_of(time_calls, CALLS);
    if (replace(target, (void *)(uintptr_t)replacement, &before))
        exit(4);
    run->peer[0] = best_of(time_calls, CALLS);
    peer_restore();
    if (replace(target, (void *)(uintptr_t)calling, &before))
        exit(4);
    original = (patas_fn)(uintptr_t)before;
    run->peer[1] = best_of(time_calls, CALLS);
}

static double median_of(struct run *runs, size_t count, int kind, bool ratio,
                        bool peer)
{
    double values[99];
    size_t used = 0;
    for (size_t i = 0; i < count; i++) {
        double value = peer ? runs[i].peer[kind] : runs[i].ns[kind];
        double plain = peer           ? runs[i].plain[1]
                       : kind == SLOT ? runs[i].slot_plain
                       : kind == TRAP ? runs[i].trap_plain
                                      : runs[i].plain[0];
        if (value > 0 && plain > 0)
            values[used++] = ratio ? value / plain : value;
    }
    return used ? bench_median(values, used) : -1;
}

/* One of them in every run; false if the peer isn't there. */
static bool measure_all(struct run *runs, size_t count, enum callee callee)
{
    bool peer = true;
    for (size_t i = 0; i < count; i++) {
        runs[i].callee = callee;
        struct bench_end end = bench_child(measure, &runs[i], 600);
        if (!bench_ended_well(&end)) {
            char text[64];
            printf("run %zu: %s\n", i, bench_end_text(&end, text));
            exit(1);
        }
        end = bench_child(measure_peer, &runs[i], 600);
        peer &= bench_ended_well(&end);
    }
    return peer;
}

static void print_all(struct run *runs, size_t count, bool peer)
{
    static const char *const callees[] = {
        "a function of five instructions, called directly",
        "labs() of libc, called through the PLT"};
    printf("%s   (medians of %zu runs, %s)\n", callees[runs->callee], count,
           runs->form);
    printf("  %-41s %10s %8s\n", "", "ns", "ratio");
    for (int kind = 0; kind < KINDS; kind++)
        if (median_of(runs, count, kind, false, false) > 0)
            printf("  %-41s %10.2f %8.2f\n", names[kind],
                   median_of(runs, count, kind, false, false),
                   median_of(runs, count, kind, true, false));
    for (int kind = 0; peer && kind < 2; kind++)
        printf("  peer retour: %-28s %10.2f %8.2f\n",
               names[kind ? CALLING : REPLACED],
               median_of(runs, count, kind, false, true),
               median_of(runs, count, kind, true, true));
}

int main(int argument_count, char **arguments)
{
    size_t count = argument_count > 1 ? (size_t)atoi(arguments[1]) : 9;
    if (count < 1 || count > 99) {
        printf("usage: calls [runs]\n");
        return 2;
    }
    bool peer = true;
    for (int callee = 0; callee < CALLEES; callee++) {
        struct run *runs = bench_shared(count * sizeof *runs);
        peer &= measure_all(runs, count, (enum callee)callee);
        print_all(runs, count, peer);
    }
    if (!peer)
        printf("peer retour: not installed (%s)\n", peer_how_to_install());
    return 0;
}
