/* SPDX-License-Identifier: MIT */
/*
 * bench/torture [seconds] - nobody executes half an instruction.
 *
 * Threads run through functions while others patch, stack, suspend, resume,
 * restore and batch as fast as they can. One child a plan: a crash there is a
 * result. To force a plan on a function, the addresses that its better plans
 * need are occupied first, and patas_plan() is asked what came of it.
 */
#include "torture.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

struct plan_kind {
    const char *name;
    patas_form form; /* PATAS_FORM_NONE: whatever comes */
    unsigned flags;
    bool occupy; /* the addresses that kept bytes would need */
    bool open;   /* no thread may block signals */
};
static const struct plan_kind kinds[] = {
    {"one", PATAS_FORM_ONE_INSTRUCTION, PATAS_STRICT, false, false},
#if !defined(__aarch64__) /* which has that form alone */
    {"kept", PATAS_FORM_KEPT_BYTES, PATAS_STRICT, false, false},
    {"trap", PATAS_FORM_TRAP_BYTES, 0, true, false},
    {"short", PATAS_FORM_SHORT_JUMP, 0, true, false},
    {"permanent", PATAS_FORM_PERMANENT_TRAP, PATAS_ALLOW_TRAP, true, true},
    {"mixed", PATAS_FORM_NONE, 0, false, false},
#endif
};
enum {
    KINDS = sizeof kinds / sizeof *kinds,
    MOST = 64
};

struct scenario {
    const struct plan_kind *kind;
    double seconds;
    unsigned threads;
    struct torture_figures *figures;
};

/* One thread that patches; it owns one layer of every function. */
struct patcher {
    const struct scenario *scenario;
    struct torture_threads *threads;
    int layer;
    uint64_t seed;
    patas_patch *patches[MOST];
    bool suspended[MOST];
};

/* Choosing functions. ----------------------------------------------------- */

static void occupy(uintptr_t from, uintptr_t to)
{
    if (to - from < 4096 || from > to)
        return;
    void *memory =
        mmap((void *)from, to - from, PROT_NONE,
             MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE,
             -1, 0);
    if (memory != MAP_FAILED || to - from == 4096)
        return;
    uintptr_t middle = from + (to - from) / 8192 * 4096;
    occupy(from, middle);
    occupy(middle, to);
}

/* Where `e9 ?? ..` leads if the bytes behind the first instruction stay. */
static void occupy_kept(const struct torture_function *function)
{
    uintptr_t e = (uintptr_t)function->entry;
    int32_t low, high;
    uint8_t bytes[5];
    memcpy(bytes, (const void *)e, 5);
    for (unsigned i = 1; i < function->first && i < 5; i++)
        bytes[i] = 0;
    memcpy(&low, bytes + 1, 4);
    for (unsigned i = 1; i < function->first && i < 5; i++)
        bytes[i] = 0xff;
    memcpy(&high, bytes + 1, 4);
    uintptr_t from = e + 5 + (uintptr_t)(intptr_t)low;
    uintptr_t to = e + 5 + (uintptr_t)(intptr_t)high + 1;
    occupy((from - 64) & ~(uintptr_t)4095, (to + 64 + 4095) & ~(uintptr_t)4095);
}

static size_t choose(const struct scenario *scenario, bool used[MOST])
{
    size_t count = 0;
    patas_options options = {sizeof options, scenario->kind->flags, NULL};
    bool null = patas_version() == 0;
    for (size_t i = 0; scenario->kind->occupy && i < torture_count; i++)
        if (torture_functions[i].first < 5)
            occupy_kept(&torture_functions[i]);
    for (size_t i = 0; i < torture_count; i++) {
        patas_plan_info info = {.size = sizeof info};
        used[i] = false;
        if (patas_plan_with((patas_fn)torture_functions[i].entry, &options,
                            &info, NULL) != PATAS_OK)
            continue;
        used[i] = null || scenario->kind->form == PATAS_FORM_NONE ||
                  info.form == scenario->kind->form;
        count += used[i];
        scenario->figures->by_form[info.form] += used[i];
    }
    return count;
}

/* Patching. --------------------------------------------------------------- */

static void failed(struct patcher *me, const char *what, size_t index,
                   const patas_error *error)
{
    struct torture_figures *figures = me->scenario->figures;
    char text[256];
    /* In packed code a patch may own the first byte of the next function; and
     * a stack that was mapped since the plan was asked for may lie at the one
     * address that kept bytes of a one-byte instruction can lead to. */
    bool taken = error->status == PATAS_ERR_NO_ROOM &&
                 error->reason == PATAS_REASON_TAKEN;
    bool mapped = error->reason == PATAS_REASON_NO_ADDRESS &&
                  torture_functions[index].first == 1;
    if (taken || mapped) {
        atomic_fetch_add(&figures->taken, 1);
        return;
    }
    if (atomic_fetch_add(&figures->failures, 1))
        return;
    patas_error_text(error, text, sizeof text);
    snprintf(figures->trouble, sizeof figures->trouble, "%s %s: %s", what,
             torture_functions[index].name, text);
}

static void note_original(struct patcher *me, size_t i)
{
    if (me->layer == 1 && me->patches[i])
        atomic_store_explicit(&torture_originals[i],
                              patas_original(me->patches[i]),
                              memory_order_release);
}

static bool add_to(struct patcher *me, patas_batch *batch, size_t i)
{
    patas_error error = {0};
    patas_options options = {sizeof options, me->scenario->kind->flags, NULL};
    patas_fn target = (patas_fn)torture_functions[i].entry;
    patas_fn replacement = torture_replacement(i, me->layer);
    if (patas_batch_replace_with(batch, target, replacement, &options,
                                 &me->patches[i], &error) != PATAS_OK) {
        failed(me, "batch_replace", i, &error);
        me->patches[i] = NULL;
        return false;
    }
    if (!torture_originals[i])
        note_original(me, i);
    me->suspended[i] = false;
    return true;
}

/* Several changes at once; now and then all of them are dropped. */
static void batch(struct patcher *me, size_t from, size_t count)
{
    struct torture_figures *figures = me->scenario->figures;
    patas_error error = {0};
    patas_batch *one = patas_batch_begin(&error);
    patas_patch *before[MOST];
    size_t added = 0, removed = 0;
    bool drop = bench_random(&me->seed) % 16 == 0;
    if (!one) {
        failed(me, "batch_begin", from, &error);
        return;
    }
    memcpy(before, me->patches, sizeof before);
    for (size_t k = 0; k < count; k++) {
        size_t i = (from + k) % torture_count;
        if (!me->threads->used[i])
            continue;
        /* The first original must be known before the first call: a batch
         * tells it before it is live, so it may not be dropped again. */
        if (me->layer == 1 && !torture_originals[i])
            drop = false;
        if (!me->patches[i]) {
            added += add_to(me, one, i);
        } else if (patas_batch_restore(one, me->patches[i], &error) ==
                   PATAS_OK) {
            me->patches[i] = NULL;
            removed++;
        } else {
            failed(me, "batch_restore", i, &error);
        }
    }
    if (drop) {
        patas_batch_abort(one);
        memcpy(me->patches, before, sizeof before);
        atomic_fetch_add(&figures->aborts, 1);
    } else if (patas_batch_commit(one, &error) == PATAS_OK) {
        atomic_fetch_add(&figures->batches, 1);
        atomic_fetch_add(&figures->patches, added);
        atomic_fetch_add(&figures->restores, removed);
        for (size_t i = 0; i < torture_count; i++)
            note_original(me, i);
    } else {
        failed(me, "batch_commit", from, &error);
        memcpy(me->patches, before, sizeof before);
    }
}

static void replace_one(struct patcher *me, size_t i)
{
    patas_error error = {0};
    patas_options options = {sizeof options, me->scenario->kind->flags, NULL};
    if (me->layer == 1 && !torture_originals[i]) {
        batch(me, i, 1);
        return;
    }
    patas_status status = patas_replace_with(
        (patas_fn)torture_functions[i].entry, torture_replacement(i, me->layer),
        &options, &me->patches[i], &error);
    if (status != PATAS_OK) {
        failed(me, "replace", i, &error);
        me->patches[i] = NULL;
        return;
    }
    me->suspended[i] = false;
    note_original(me, i);
    atomic_fetch_add(&me->scenario->figures->patches, 1);
}

static void change_one(struct patcher *me, size_t i)
{
    patas_error error = {0};
    struct torture_figures *figures = me->scenario->figures;
    if (bench_random(&me->seed) % 3 == 0) {
        patas_status status = me->suspended[i]
                                  ? patas_resume(me->patches[i], &error)
                                  : patas_suspend(me->patches[i], &error);
        if (status != PATAS_OK)
            failed(me, "suspend or resume", i, &error);
        me->suspended[i] = !me->suspended[i];
        atomic_fetch_add(&figures->switches, 1);
        return;
    }
    if (patas_restore(me->patches[i], &error) != PATAS_OK)
        failed(me, "restore", i, &error);
    me->patches[i] = NULL;
    atomic_fetch_add(&figures->restores, 1);
}

static void *patcher_run(void *argument)
{
    struct patcher *me = argument;
    while (!atomic_load(&me->threads->stop)) {
        uint64_t random = bench_random(&me->seed);
        size_t i = (size_t)(random >> 20) % torture_count;
        if (!me->threads->used[i])
            continue;
        if (random % 16 == 0)
            batch(me, i, 1 + (size_t)(random / 16) % torture_count);
        else if (me->patches[i])
            change_one(me, i);
        else
            replace_one(me, i);
        for (volatile uint64_t k = random >> 40 & 0x3ff; k; k--)
            ;
    }
    return NULL;
}

static void note_stats(struct torture_figures *figures)
{
    patas_stats stats = {.size = sizeof stats};
    if (patas_stats_read(&stats) != PATAS_OK)
        return;
    figures->carried = stats.traps_carried;
    figures->moved = stats.threads_moved;
    figures->held = stats.threads_held;
    figures->commits = stats.commits;
}

static const void *torture_code(size_t index)
{
    return (const void *)(uintptr_t)torture_functions[index].entry;
}

/* After all is over, every function is itself again. (A jump in the padding
 * behind it stays, as islands do: somebody may just be about to run it.) */
static void check_restored(const struct scenario *scenario, const bool *used,
                           uint8_t before[MOST][32])
{
    patas_error error = {0};
    if (patas_restore_all(&error) != PATAS_OK)
        snprintf(scenario->figures->trouble, 512, "restore_all fails: %s",
                 patas_status_name(error.status));
    for (size_t i = 0; i < torture_count; i++)
        if (used[i] && memcmp(before[i], torture_code(i),
                              torture_functions[i].extent) != 0) {
            atomic_fetch_add(&scenario->figures->wrong, 1);
            snprintf(scenario->figures->trouble, 512, "%s: bytes not restored",
                     torture_functions[i].name);
        }
}

static void run_scenario(void *argument)
{
    struct scenario *scenario = argument;
    static struct torture_threads threads;
    static struct patcher patchers[LAYERS];
    static bool used[MOST];
    static uint8_t before[MOST][32];
    pthread_t running[LAYERS];
    for (size_t i = 0; i < torture_count; i++)
        memcpy(before[i], torture_code(i), sizeof before[i]);
    scenario->figures->functions = choose(scenario, used);
    if (!scenario->figures->functions)
        _exit(3);
    threads =
        (struct torture_threads){.figures = scenario->figures,
                                 .used = used,
                                 .callers = scenario->threads,
                                 .all_signals_open = scenario->kind->open};
    torture_start(&threads);
    for (int layer = 0; layer < LAYERS; layer++) {
        patchers[layer] = (struct patcher){.scenario = scenario,
                                           .threads = &threads,
                                           .layer = layer,
                                           .seed = (uint64_t)layer + 1};
        pthread_create(&running[layer], NULL, patcher_run, &patchers[layer]);
    }
    double end = bench_now() + scenario->seconds;
    while (bench_now() < end) {
        usleep(20000);
        note_stats(scenario->figures);
    }
    torture_stop(&threads);
    for (int layer = 0; layer < LAYERS; layer++)
        pthread_join(running[layer], NULL);
    note_stats(scenario->figures);
    check_restored(scenario, used, before);
}

/* The report. ------------------------------------------------------------- */

static bool report(const struct scenario *scenario, const struct bench_end *end)
{
    const struct torture_figures *f = scenario->figures;
    char text[64];
    bool none = end->exited && end->status == 3;
    bool good = bench_ended_well(end) && !f->wrong && !f->failures;
    printf("%-10s %4zu %12lu %6lu %-14s %11.0f %10.0f %9lu %9llu %8llu %8llu\n",
           scenario->kind->name, f->functions, (unsigned long)f->calls,
           (unsigned long)f->wrong,
           none                    ? "no function"
           : bench_ended_well(end) ? "0"
                                   : bench_end_text(end, text),
           (double)f->patches / scenario->seconds,
           (double)f->switches / scenario->seconds, (unsigned long)f->naps,
           (unsigned long long)f->carried, (unsigned long long)f->moved,
           (unsigned long long)f->held);
    if (f->taken)
        printf("  refused, because the bytes or the address were taken: %lu\n",
               (unsigned long)f->taken);
    if (f->failures)
        printf("  calls into patas that failed: %lu\n",
               (unsigned long)f->failures);
    if (f->trouble[0])
        printf("  first: %s\n", f->trouble);
    fflush(stdout);
    return good;
}

static bool run_kind(const struct plan_kind *kind, double seconds,
                     unsigned threads)
{
    struct scenario scenario = {kind, seconds, threads,
                                bench_shared(sizeof(struct torture_figures))};
    /* The limit ends what hangs; it is no verdict on speed. */
    struct bench_end end =
        bench_child(run_scenario, &scenario, seconds * 3 + 120);
    return report(&scenario, &end);
}

static void usage(void)
{
    printf("usage: torture [seconds] [--plan NAME] [--threads N] [--bite]\n"
           "  seconds   for each plan (3)\n  --plan    all (default)");
    for (size_t i = 0; i < KINDS; i++)
        printf(", %s", kinds[i].name);
    printf("\n  --threads callers (6); half of them block every signal\n"
           "  --bite    the same with two naive patchers: these must crash\n"
           "Exit status: 0 if nothing was wrong; with --bite, if both did.\n");
}

int main(int count, char **arguments)
{
    double seconds = 3;
    unsigned threads = 6;
    const char *plan = "all";
    bool bite = false, good = true, any = false;
    for (int i = 1; i < count; i++) {
        if (!strcmp(arguments[i], "--bite"))
            bite = true;
        else if (!strcmp(arguments[i], "--plan") && i + 1 < count)
            plan = arguments[++i];
        else if (!strcmp(arguments[i], "--threads") && i + 1 < count)
            threads = (unsigned)atoi(arguments[++i]);
        else if ((seconds = atof(arguments[i])) <= 0)
            return usage(), 2;
    }
    if (threads < 1 || threads > MAX_THREADS)
        return usage(), 2;
    if (bite)
        return torture_bite(seconds, threads) ? 0 : 1;
    printf("%-10s %4s %12s %6s %-14s %11s %10s %9s %9s %8s %8s\n", "plan",
           "fns", "calls", "wrong", "crashes", "patches/s", "switch/s", "naps",
           "carried", "moved", "held");
    for (size_t i = 0; i < KINDS; i++)
        if (!strcmp(plan, "all") || !strcmp(plan, kinds[i].name)) {
            good &= run_kind(&kinds[i], seconds, threads);
            any = true;
        }
    if (!any)
        return usage(), 2;
    return good ? 0 : 1;
}
