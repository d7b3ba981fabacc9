/* SPDX-License-Identifier: MIT */
/*
 * Random sequences of everything that the interface offers, against a model
 * that is a list of patches: after each step each target, each original, and
 * each stub of a patch that went must give what the list says.
 */
#include "expect.h"
#include "machine.h"

#include <stdio.h>

typedef int (*fn)(int);

KEEP int square(int x)
{
    return x * x + 7;
}
KEEP int twice(int x)
{
    return x + x + 11;
}
KEEP int minus(int x)
{
    return 13 - x;
}
KEEP int pointed(int x)
{
    return x + 17;
}
static patas_fn slot = (patas_fn)pointed;

enum {
    CODE = 3,
    TARGETS = 4, /* the last one is the slot */
    KINDS = 4,   /* constants; one more kind calls its original */
    PATCHES = 4096,
    DEEP = 8,
    STEPS = 400,
    SEEDS = MACHINE3(60, 60, 15) /* CI has an emulator */
};
static const fn code[CODE] = {square, twice, minus};

KEEP int constant_0(int x)
{
    return x - x + 1000;
}
KEEP int constant_1(int x)
{
    return x - x + 2000;
}
KEEP int constant_2(int x)
{
    return x - x + 3000;
}
KEEP int constant_3(int x)
{
    return x - x + 4000;
}
static const patas_fn constants[KINDS] = {
    (patas_fn)constant_0, (patas_fn)constant_1, (patas_fn)constant_2,
    (patas_fn)constant_3};

/* One patch, as the model has it. */
struct model {
    patas_patch *handle;
    fn original;
    int target;
    int kind;  /* KINDS: calls its original */
    int order; /* place in its target's stack */
    int id;
    int loose; /* its stub was in a batch that failed; see stub_is_right() */
    unsigned mark;
    enum {
        GONE,
        LIVE,
        OFF,
        PENDING,
        NEVER
    } state;
};
static struct model patches[PATCHES];
static int count, orders;
static fn bases[TARGETS];

PATAS_CONTEXT_ENTRY(passing, passing_body);
__attribute__((used)) int passing_body(int x);
__attribute__((used)) int passing_body(int x)
{
    const struct model *me = patas_context();
    return me->original(x) % 1000003 * 3 + me->id;
}

static uint64_t random_state;
static unsigned roll(unsigned sides)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (unsigned)(random_state >> 33) % sides;
}

/* ---- what must be -----------------------------------------------------------
 */

static int plain(int target, int x)
{
    static const fn all[TARGETS] = {NULL, NULL, NULL, pointed};
    switch (target) {
    case 0:
        return x * x + 7;
    case 1:
        return x + x + 11;
    case 2:
        return 13 - x;
    default:
        return all[target](x);
    }
}

/* What a call gives that comes in below `order`. */
static int below(int target, int order, int x)
{
    const struct model *top = NULL;
    for (int i = 0; i < count; i++)
        if (patches[i].state == LIVE && patches[i].target == target &&
            patches[i].order < order && (!top || patches[i].order > top->order))
            top = &patches[i];
    if (!top)
        return plain(target, x);
    if (top->kind < KINDS)
        return (top->kind + 1) * 1000;
    return below(target, top->order, x) % 1000003 * 3 + top->id;
}

static int call(int target, int x)
{
    return target < CODE ? code[target](x)
                         : ((fn) * (patas_fn volatile *)&slot)(x);
}

static int is_there(const struct model *patch)
{
    return patch->state == LIVE || patch->state == OFF;
}

/* A stub that another patch of the same replacement has taken over. */
static int taken_over(const struct model *gone)
{
    for (int i = 0; i < count; i++)
        if (patches[i].target == gone->target && &patches[i] != gone &&
            patches[i].original == gone->original &&
            (is_there(&patches[i]) || patches[i].state == PENDING ||
             patches[i].order > gone->order))
            return 1;
    return 0;
}

/*
 * The stub of a patch that went leads to what was below it. In a batch that
 * failed, or that was aborted, a new patch of the same replacement may have had
 * it; then it leads to some level of the stack.
 */
static int stub_is_right(const struct model *it)
{
    int got = it->original(5);
    int order = it->original == bases[it->target] ? 0 : it->order;
    if (!it->loose || is_there(it) || !order)
        return got == below(it->target, order, 5);
    for (order = 0; order <= orders + 1; order++)
        if (got == below(it->target, order, 5))
            return 1;
    return 0;
}

static void check(int step)
{
    patas_stats stats = {.size = sizeof stats};
    size_t live = 0;
    for (int t = 0; t < TARGETS; t++)
        ck_assert_msg(call(t, 5) == below(t, orders + 1, 5),
                      "step %d, target %d: %d, not %d", step, t, call(t, 5),
                      below(t, orders + 1, 5));
    for (int i = 0; i < count; i++) {
        const struct model *it = &patches[i];
        live += (size_t)is_there(it);
        if (it->state == NEVER || it->state == PENDING)
            continue;
        ck_assert_ptr_eq((void *)(uintptr_t)patas_original(it->handle),
                         is_there(it) ? (void *)(uintptr_t)it->original : NULL);
        if (it->state == GONE && it->original != bases[it->target] &&
            taken_over(it))
            continue;
        ck_assert_msg(stub_is_right(it),
                      "step %d, original of %d on %d (state %d): %d, not %d",
                      step, i, it->target, (int)it->state, it->original(5),
                      below(it->target, it->order, 5));
    }
    ck_assert_int_eq(patas_stats_read(&stats), PATAS_OK);
    ck_assert_uint_eq(stats.patches, live);
}

/* ---- steps
 * ------------------------------------------------------------------- */

static struct model *pick(int live)
{
    int found = -1, seen = 0;
    for (int i = 0; i < count; i++)
        if (live ? is_there(&patches[i]) : patches[i].state == GONE)
            if (roll((unsigned)++seen) == 0)
                found = i;
    return found < 0 ? NULL : &patches[found];
}

static int depth(int target)
{
    int deep = 0;
    for (int i = 0; i < count; i++)
        deep += patches[i].target == target &&
                (is_there(&patches[i]) || patches[i].state == PENDING);
    return deep;
}

/* A new patch, alone or in a batch; NULL if the stack is deep enough. */
static struct model *step_replace(patas_batch *batch)
{
    struct model *it = &patches[count];
    patas_options options = {sizeof options, 0, NULL};
    it->target = (int)roll(batch ? CODE : TARGETS);
    it->kind = (int)roll(it->target < CODE ? KINDS + 1 : KINDS);
    if (depth(it->target) >= DEEP || count + 1 == PATCHES)
        return NULL;
    it->id = count++;
    it->order = ++orders;
    it->state = batch ? PENDING : LIVE;
    patas_fn with = it->kind < KINDS ? constants[it->kind] : passing;
    options.context = it->kind < KINDS ? NULL : it;
    if (it->target == CODE)
        OK(patas_replace_slot(&slot, with, &it->handle, &error));
    else if (batch)
        OK(patas_batch_replace_with(batch, (patas_fn)code[it->target], with,
                                    &options, &it->handle, &error));
    else
        OK(patas_replace_with((patas_fn)code[it->target], with, &options,
                              &it->handle, &error));
    it->mark = patas_mark();
    it->original = (fn)patas_original(it->handle);
    if (!bases[it->target])
        bases[it->target] = it->original;
    return it;
}

static void step_restore(struct model *it)
{
    if (!it)
        return;
    OK(patas_restore(it->handle, &error));
    it->state = GONE;
}

static void step_switch(struct model *it)
{
    if (!it)
        return;
    if (roll(2)) {
        OK(patas_suspend(it->handle, &error));
        it->state = OFF;
    } else {
        OK(patas_resume(it->handle, &error));
        it->state = LIVE;
    }
}

static void step_stale(const struct model *it)
{
    if (!it)
        return;
    REFUSED(patas_restore(it->handle, &error), PATAS_ERR_STALE,
            PATAS_REASON_RESTORED);
    REFUSED(patas_suspend(it->handle, &error), PATAS_ERR_STALE,
            PATAS_REASON_RESTORED);
    REFUSED(patas_resume(it->handle, &error), PATAS_ERR_STALE,
            PATAS_REASON_RESTORED);
}

static void step_restore_since(unsigned mark)
{
    OK(patas_restore_since(mark, &error));
    for (int i = 0; i < count; i++)
        if (is_there(&patches[i]) && patches[i].mark > mark)
            patches[i].state = GONE;
}

static void give_up(struct model *it)
{
    for (int i = 0; i < count; i++)
        if (patches[i].state == GONE && patches[i].target == it->target &&
            patches[i].original == it->original)
            patches[i].loose = 1;
    it->original = NULL;
    it->state = NEVER;
}

enum {
    MEMBERS = 6
};
struct members {
    struct model *coming[MEMBERS], *going[MEMBERS];
    int coming_count, going_count;
};

static void batch_ends(struct members *members, int live)
{
    for (int i = 0; i < members->coming_count; i++)
        if (live)
            members->coming[i]->state = LIVE;
        else
            give_up(members->coming[i]);
    for (int i = 0; i < members->going_count; i++)
        if (live)
            members->going[i]->state = GONE;
}

static uint8_t *unpatched_entry(const struct members *members)
{
    for (int i = 0; i < members->coming_count; i++) {
        int target = members->coming[i]->target, there = 0;
        for (int k = 0; k < count; k++)
            there += patches[k].target == target && is_there(&patches[k]);
        if (!there)
            return (uint8_t *)(uintptr_t)code[target];
    }
    return NULL;
}

static void batch_commits(patas_batch *batch, struct members *members, int step)
{
    static const uint8_t breakpoint = 0xcc;
    uint8_t kept, *entry = roll(3) ? NULL : unpatched_entry(members);
    struct model *early =
        roll(3) || !members->going_count ? NULL : members->going[0];
    if (early)
        step_restore(early);
    else if (entry) {
        kept = *entry;
        poke(entry, &breakpoint, 1);
    }
    patas_status status = patas_batch_commit(batch, NULL);
    if (!early && entry)
        poke(entry, &kept, 1);
    patas_status want = early   ? PATAS_ERR_STALE
                        : entry ? PATAS_ERR_CHANGED
                                : PATAS_OK;
    ck_assert_msg(status == want, "step %d: %s, not %s", step,
                  patas_status_name(status), patas_status_name(want));
    batch_ends(members, status == PATAS_OK);
}

static void step_batch(int step)
{
    struct members members = {.coming_count = 0};
    patas_batch *batch = patas_batch_begin(NULL);
    ck_assert_ptr_nonnull(batch);
    for (unsigned left = roll(MEMBERS) + 1; left--;) {
        struct model *it = roll(2) ? step_replace(batch) : NULL;
        if (it) {
            members.coming[members.coming_count++] = it;
        } else if ((it = pick(1)) && it->target < TARGETS) {
            /* Twice the same is fine, too. */
            OK(patas_batch_restore(batch, it->handle, &error));
            members.going[members.going_count++] = it;
        }
        if (!roll(4))
            check(step);
        if (!roll(8)) /* others go on meanwhile */
            step_switch(pick(1));
    }
    if (roll(4)) {
        batch_commits(batch, &members, step);
    } else {
        patas_batch_abort(batch);
        batch_ends(&members, 0);
    }
    ck_assert_int_eq(patas_batch_commit(batch, NULL), PATAS_ERR_STALE);
}

static void one_step(int step)
{
    struct model *it;
    switch (roll(12)) {
    case 0:
    case 1:
    case 2:
        step_replace(NULL);
        break;
    case 3:
    case 4:
        step_switch(pick(1));
        break;
    case 5:
    case 6:
        step_restore(pick(1));
        break;
    case 7:
        step_stale(pick(0));
        break;
    case 8:
        it = roll(6) ? NULL : pick(1);
        if (it)
            step_restore_since(it->mark);
        else if (!roll(20))
            step_restore_since(0);
        break;
    default:
        step_batch(step);
        break;
    }
}

START_TEST(any_sequence_does_what_the_model_says)
{
    struct expect_bytes before[CODE];
    random_state = 0x9e3779b97f4a7c15u * (uint64_t)(_i + 1);
    for (int t = 0; t < CODE; t++)
        before[t] = bytes_of((patas_fn)code[t], 16);
    for (int step = 0; step < STEPS; step++) {
        one_step(step);
        check(step);
    }
    step_restore_since(0);
    check(STEPS);
    for (int t = 0; t < CODE; t++)
        SAME_BYTES(before[t]);
    ck_assert(slot == (patas_fn)pointed);
}
END_TEST

static void add_tests(TCase *tests)
{
    tcase_add_loop_test(tests, any_sequence_does_what_the_model_says, 0, SEEDS);
}

EXPECT_MAIN("model", add_tests)
