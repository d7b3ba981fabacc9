/* SPDX-License-Identifier: MIT */
/* What include/patas.h promises when all is well. */
#include "expect.h"
#include "machine.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

typedef int (*unary)(int);

KEEP int base(int x)
{
    return x + 1;
}
KEEP int other(int x)
{
    return x - 1;
}
KEEP int fake(int x)
{
    return x + 1000;
}
static const patas_fn BASE = (patas_fn)base, OTHER = (patas_fn)other,
                      FAKE = (patas_fn)fake;

static int original_of(const patas_patch *patch, int x)
{
    unary call = (unary)patas_original(patch);
    ck_assert_ptr_nonnull((void *)(uintptr_t)call);
    return call(x);
}

START_TEST(replaced_called_and_restored)
{
    struct expect_bytes before = bytes_of(BASE, 16);
    patas_patch *patch = NULL;
    errno = 77;
    OK(PATAS_REPLACE(base, fake, &patch, &error));
    ck_assert_int_eq(errno, 77);
    ck_assert_ptr_nonnull(patch);
    ck_assert_int_eq(base(1), 1001);
    ck_assert_int_eq(original_of(patch, 1), 2);
    OK(patas_restore(patch, &error));
    ck_assert_int_eq(errno, 77);
    ck_assert_int_eq(base(1), 2);
    SAME_BYTES(before);
}
END_TEST

/* Stacks: three layers, each multiplies what is below by 10 and adds its own
 * digit, so that a number tells who ran. */
static patas_patch *layer[4];
#define LAYER(n)                                            \
    KEEP int layer_##n(int x)                               \
    {                                                       \
        return ((unary)patas_original(layer[n]))(x)*10 + n; \
    }
LAYER(1)
LAYER(2)
LAYER(3)
static const unary layers[] = {NULL, layer_1, layer_2, layer_3};

/* What base(0) gives with these layers on, and what `upto`'s original gives. */
static int expected(const int on[4], int upto)
{
    int value = 1;
    for (int i = 1; i < upto; i++)
        if (on[i])
            value = value * 10 + i;
    return value;
}

static void check_stack(const int on[4], const int live[4])
{
    ck_assert_int_eq(base(0), expected(on, 4));
    for (int i = 1; i <= 3; i++)
        if (live[i])
            ck_assert_int_eq(original_of(layer[i], 0), expected(on, i));
}

static const int orders[6][3] = {{1, 2, 3}, {1, 3, 2}, {2, 1, 3},
                                 {2, 3, 1}, {3, 1, 2}, {3, 2, 1}};

static void build_stack(void)
{
    int on[4] = {0}, live[4] = {0};
    for (int i = 1; i <= 3; i++) {
        OK(patas_replace(BASE, (patas_fn)layers[i], &layer[i], &error));
        on[i] = live[i] = 1;
        check_stack(on, live);
    }
}

START_TEST(stacked_and_removed_in_any_order)
{
    const int *order = orders[_i];
    struct expect_bytes before = bytes_of(BASE, 16);
    patas_fn stubs[4];
    int on[4] = {0, 1, 1, 1}, live[4] = {0, 1, 1, 1};
    build_stack();
    for (int i = 1; i <= 3; i++)
        stubs[i] = patas_original(layer[i]);
    for (int k = 0; k < 3; k++) {
        OK(patas_restore(layer[order[k]], &error));
        on[order[k]] = live[order[k]] = 0;
        check_stack(on, live);
        for (int i = 1; i <= 3; i++) {
            /* The same stub for a patch's life; callable afterwards, and then
             * it goes on to what was below. */
            if (live[i])
                ck_assert(stubs[i] == patas_original(layer[i]));
            ck_assert_int_eq(((unary)stubs[i])(0), expected(on, i));
        }
    }
    SAME_BYTES(before);
}
END_TEST

START_TEST(suspended_and_resumed_in_any_order)
{
    const int *order = orders[_i];
    int on[4] = {0, 1, 1, 1}, live[4] = {0, 1, 1, 1};
    build_stack();
    for (int k = 0; k < 3; k++) {
        OK(patas_suspend(layer[order[k]], &error));
        on[order[k]] = 0;
        check_stack(on, live);
        OK(patas_suspend(layer[order[k]], &error)); /* again: still off */
        check_stack(on, live);
    }
    ck_assert_int_eq(base(0), 1);
    for (int k = 2; k >= 0; k--) {
        OK(patas_resume(layer[order[k]], &error));
        on[order[k]] = 1;
        check_stack(on, live);
    }
    /* A suspended one can go, too. */
    OK(patas_suspend(layer[2], &error));
    OK(patas_restore(layer[2], &error));
    ck_assert_int_eq(base(0), 113);
    OK(patas_restore_all(&error));
    ck_assert_int_eq(base(0), 1);
}
END_TEST

START_TEST(many_on_one_target)
{
    enum {
        MANY = 200
    };
    static patas_patch *all[MANY];
    for (int i = 0; i < MANY; i++)
        OK(patas_replace(BASE, i % 2 ? FAKE : (patas_fn)other, &all[i],
                         &error));
    for (int i = MANY - 1; i > 0; i--) {
        ck_assert_int_eq(base(1), i % 2 ? 1001 : 0);
        ck_assert_int_eq(original_of(all[i], 1), i % 2 ? 0 : 1001);
        OK(patas_restore(all[i], &error));
    }
    OK(patas_restore(all[0], &error));
    ck_assert_int_eq(base(1), 2);
}
END_TEST

START_TEST(marks_bracket_a_test)
{
    patas_patch *outer, *inner;
    unsigned begin = patas_mark();
    OK(patas_replace(BASE, FAKE, &outer, &error));
    unsigned middle = patas_mark();
    OK(patas_replace(OTHER, FAKE, &inner, &error));
    OK(patas_replace(BASE, OTHER, &inner, &error));
    OK(patas_restore_since(middle, &error));
    ck_assert_int_eq(base(1), 1001);
    ck_assert_int_eq(other(1), 0);
    OK(patas_restore_since(middle, &error)); /* nothing left to do */
    ck_assert_int_eq(base(1), 1001);
    OK(patas_restore_since(begin, &error));
    ck_assert_int_eq(base(1), 2);
    ck_assert_int_eq(patas_restore(outer, NULL), PATAS_ERR_STALE);
}
END_TEST

static int scoped(int leave)
{
    PATAS_SCOPED(base, fake);
    if (leave)
        return base(1); /* the scope ends here, too */
    {
        PATAS_SCOPED_AS(second, base, other);
        ck_assert_int_eq(second.status, PATAS_OK);
        ck_assert_int_eq(base(1), 0);
    }
    ck_assert_int_eq(base(1), 1001);
    return 0;
}

START_TEST(a_scope_restores_at_its_end)
{
    ck_assert_int_eq(scoped(0), 0);
    ck_assert_int_eq(base(1), 2);
    ck_assert_int_eq(scoped(1), 1001);
    ck_assert_int_eq(base(1), 2);
    {
        PATAS_SCOPED_AS(bad, base, base);
        ck_assert_int_eq(bad.status, PATAS_ERR_ARGUMENT);
        ck_assert_ptr_null(bad.patch);
    }
    ck_assert_int_eq(base(1), 2);
}
END_TEST

START_TEST(a_batch_is_live_at_its_commit)
{
    struct expect_bytes before = bytes_of(BASE, 16);
    patas_patch *a, *b;
    patas_batch *batch = patas_batch_begin(NULL);
    OK(patas_batch_replace(batch, BASE, FAKE, &a, &error));
    OK(patas_batch_replace(batch, OTHER, FAKE, &b, &error));
    SAME_BYTES(before);
    ck_assert_int_eq(base(1), 2);
    /* Originals are known already. */
    patas_fn known = patas_original(a);
    ck_assert_ptr_nonnull((void *)(uintptr_t)known);
    OK(patas_batch_commit(batch, &error));
    ck_assert_int_eq(base(1), 1001);
    ck_assert_int_eq(other(1), 1001);
    ck_assert(known == patas_original(a));
    ck_assert_int_eq(original_of(b, 1), 0);
    /* Out and in again, at once. */
    patas_patch *c;
    batch = patas_batch_begin(NULL);
    OK(patas_batch_restore(batch, a, &error));
    OK(patas_batch_replace(batch, OTHER, BASE, &c, &error));
    ck_assert_int_eq(base(1), 1001);
    OK(patas_batch_commit(batch, &error));
    ck_assert_int_eq(base(1), 2);
    ck_assert_int_eq(other(1), 2);
    OK(patas_restore_all(&error));
    ck_assert_int_eq(other(1), 0);
}
END_TEST

START_TEST(an_aborted_batch_was_never_there)
{
    struct expect_bytes before = bytes_of(OTHER, 16);
    patas_patch *a, *b;
    OK(patas_replace(BASE, FAKE, &a, &error));
    patas_batch *batch = patas_batch_begin(NULL);
    OK(patas_batch_replace(batch, OTHER, FAKE, &b, &error));
    OK(patas_batch_restore(batch, a, &error));
    patas_batch_abort(batch);
    SAME_BYTES(before);
    ck_assert_int_eq(base(1), 1001);
    ck_assert_int_eq(patas_restore(b, NULL), PATAS_ERR_STALE);
    OK(patas_restore(a, &error)); /* still a good handle */
    ck_assert_int_eq(base(1), 2);
}
END_TEST

START_TEST(twice_in_one_batch_stacks)
{
    patas_patch *a, *b;
    patas_batch *batch = patas_batch_begin(NULL);
    OK(patas_batch_replace(batch, BASE, FAKE, &a, &error));
    OK(patas_batch_replace(batch, BASE, OTHER, &b, &error));
    OK(patas_batch_commit(batch, &error));
    ck_assert_int_eq(base(1), 0);
    ck_assert_int_eq(original_of(b, 1), 1001);
    ck_assert_int_eq(original_of(a, 1), 2);
    OK(patas_restore(a, &error));
    ck_assert_int_eq(base(1), 0);
    ck_assert_int_eq(original_of(b, 1), 2);
    OK(patas_restore(b, &error));
}
END_TEST

START_TEST(an_empty_batch_is_fine)
{
    patas_batch *batch = patas_batch_begin(NULL);
    ck_assert_ptr_nonnull(batch);
    OK(patas_batch_commit(batch, &error));
}
END_TEST

/* Slots: data that points to functions. */
struct operations {
    unary run;
    unary walk;
};
static struct operations writable = {base, other};
static const struct operations *volatile fixed = NULL;
static const struct operations read_only = {base, other};

static void patch_slots(patas_fn *slot, const volatile unary *seen)
{
    patas_patch *a, *b;
    OK(patas_replace_slot(slot, FAKE, &a, &error));
    ck_assert_int_eq((*seen)(1), 1001);
    ck_assert_int_eq(base(1), 2); /* the function itself is untouched */
    ck_assert(patas_original(a) == BASE);
    OK(patas_replace_slot(slot, OTHER, &b, &error));
    ck_assert_int_eq((*seen)(1), 0);
    ck_assert_int_eq(original_of(b, 1), 1001);
    OK(patas_suspend(b, &error));
    ck_assert_int_eq((*seen)(1), 1001);
    OK(patas_resume(b, &error));
    ck_assert_int_eq((*seen)(1), 0);
    OK(patas_restore(a, &error));
    ck_assert_int_eq((*seen)(1), 0);
    ck_assert_int_eq(original_of(b, 1), 2);
    OK(patas_restore(b, &error));
    ck_assert_int_eq((*seen)(1), 2);
    ck_assert(*seen == base);
    ck_assert_int_eq(patas_restore(a, NULL), PATAS_ERR_STALE);
}

START_TEST(a_slot_in_data)
{
    patch_slots((patas_fn *)(uintptr_t)&writable.run, &writable.run);
}
END_TEST

static int is_writable(const void *at)
{
    FILE *maps = fopen("/proc/self/maps", "re");
    char line[512], rights[8] = "";
    unsigned long from, to;
    while (fgets(line, sizeof line, maps))
        if (sscanf(line, "%lx-%lx %7s", &from, &to, rights) == 3 &&
            (uintptr_t)at >= from && (uintptr_t)at < to)
            break;
    fclose(maps);
    return rights[1] == 'w';
}

START_TEST(a_slot_in_read_only_memory)
{
    fixed = &read_only;
    ck_assert(!is_writable(&fixed->run));
    patch_slots((patas_fn *)(uintptr_t)&fixed->run, &fixed->run);
    ck_assert(!is_writable(&fixed->run)); /* its protection is back */
}
END_TEST

START_TEST(a_slot_that_another_changed_is_left_alone)
{
    static volatile unary pointer = base;
    patas_patch *patch;
    OK(patas_replace_slot((patas_fn *)(uintptr_t)&pointer, FAKE, &patch,
                          &error));
    pointer = other;
    ck_assert_int_eq(patas_restore(patch, NULL), PATAS_ERR_CHANGED);
    ck_assert(pointer == other);
}
END_TEST

/* A context value. */
struct counter {
    int calls, step;
};
PATAS_CONTEXT_ENTRY(counting, counting_body);
__attribute__((used)) int counting_body(int a, int b, int c, int d, int e,
                                        int f, int on_stack);
__attribute__((used)) int counting_body(int a, int b, int c, int d, int e,
                                        int f, int on_stack)
{
    struct counter *counter = patas_context();
    counter->calls++;
    return (a + b + c + d + e + f + on_stack) * counter->step;
}
KEEP int seven(int a, int b, int c, int d, int e, int f, int g)
{
    return a + b + c + d + e + f + g;
}
KEEP int seven_more(int a, int b, int c, int d, int e, int f, int g)
{
    return a - b + c - d + e - f + g;
}

START_TEST(a_context_reaches_the_replacement)
{
    struct counter first = {0, 2}, second = {0, 100};
    patas_options options = {sizeof options, 0, &first};
    patas_patch *a, *b;
    OK(patas_replace_with((patas_fn)seven, counting, &options, &a, &error));
    options.context = &second;
    OK(patas_replace_with((patas_fn)seven_more, counting, &options, &b,
                          &error));
    ck_assert_int_eq(seven(1, 2, 3, 4, 5, 6, 7), 56);
    ck_assert_int_eq(seven_more(1, 2, 3, 4, 5, 6, 7), 2800);
    ck_assert_int_eq(first.calls, 1);
    ck_assert_int_eq(second.calls, 1);
    int (*original)(int, int, int, int, int, int, int) =
        (int (*)(int, int, int, int, int, int, int))patas_original(b);
    ck_assert_int_eq(original(1, 2, 3, 4, 5, 6, 7), 4);
    OK(patas_restore_all(&error));
    ck_assert_int_eq(seven(1, 2, 3, 4, 5, 6, 7), 28);
}
END_TEST

START_TEST(a_plan_decides_and_changes_nothing)
{
    struct expect_bytes before = bytes_of(BASE, 16);
    patas_plan_info info = {.size = sizeof info};
    char text[1024];
    patas_patch *patch;
    OK(patas_plan(BASE, &info, &error));
    SAME_BYTES(before);
    ck_assert_int_eq(base(1), 2);
    ck_assert_uint_eq(info.target, (uintptr_t)BASE);
    ck_assert_uint_eq(info.entry, (uintptr_t)BASE);
    ck_assert_uint_ne(info.form, PATAS_FORM_NONE);
    ck_assert_uint_ge(info.written, 1);
    ck_assert_uint_le(info.written, 5);
    ck_assert_uint_gt(info.extent, 0);
    ck_assert_mem_eq(info.before, before.bytes, 8);
    ck_assert_uint_eq(info.patches, 0);
    size_t size = patas_plan_text(&info, text, sizeof text);
    ck_assert_uint_eq(size, strlen(text));
    ck_assert_ptr_nonnull(strstr(text, patas_form_name(info.form)));
    /* The very plan is carried out. */
    uint8_t want[8];
    memcpy(want, info.after, 8);
    OK(patas_replace(BASE, FAKE, &patch, &error));
    ck_assert_mem_eq((const void *)(uintptr_t)BASE, want, 8);
    OK(patas_plan(BASE, &info, &error));
    ck_assert_uint_eq(info.patches, 1);
    OK(patas_restore(patch, &error));
    SAME_BYTES(before);
}
END_TEST

/* A hole in what is in use has room for the stub, and none for the head. */
START_TEST(a_plan_looks_for_islands_as_a_patch_does)
{
    static const uint8_t code[] = {0x8d, 0x05, 0, 0, 0, 0, 0xc3}; /* lea; ret */
    enum {
        EACH = 64
    };
    uint8_t all[3 * EACH];
    memset(all, 0x90, sizeof all);
    for (unsigned i = 0; i < 3; i++)
        memcpy(all + i * EACH, code, sizeof code);
    uint8_t *page = code_page(0, all, sizeof all, PROT_READ | PROT_EXEC);
    patas_options with = {.size = sizeof with, .context = page};
    patas_plan_info info = {.size = sizeof info};
    patas_patch *patch, *other;
    patas_batch *batch = patas_batch_begin(NULL);
    OK(patas_batch_replace_with(batch, (patas_fn)(uintptr_t)page, FAKE, &with,
                                &patch, &error));
    OK(patas_batch_replace(batch, (patas_fn)(uintptr_t)(page + EACH), FAKE,
                           &other, &error));
    patas_batch_abort(batch);
    OK(patas_plan((patas_fn)(uintptr_t)(page + 2 * EACH), &info, &error));
    OK(patas_replace((patas_fn)(uintptr_t)(page + 2 * EACH), FAKE, &patch,
                     &error));
    ck_assert_mem_eq(page + 2 * EACH, info.after, 8);
    OK(patas_restore(patch, &error));
}
END_TEST

START_TEST(strict_allows_no_trap)
{
    patas_options options = {sizeof options, PATAS_STRICT, NULL};
    patas_plan_info info = {.size = sizeof info};
    OK(patas_plan_with(BASE, &options, &info, &error));
    char text[1024];
    patas_plan_text(&info, text, sizeof text);
    /* A short jump that lies in one instruction needs no trap either. */
    ck_assert_msg(
        info.form == PATAS_FORM_ONE_INSTRUCTION ||
            info.form == PATAS_FORM_KEPT_BYTES ||
            (info.form == PATAS_FORM_SHORT_JUMP && info.moved >= info.written),
        "%s", text);
}
END_TEST

/* A function of one byte: the short jump takes one of the padding behind it,
 * and leads to what is left. */
void lone_return(void);
__asm__(".text\n.p2align 5\n.globl lone_return\n"
        ".type lone_return,@function\n"
        "lone_return:\n.cfi_startproc\n  ret\n"
        ".cfi_endproc\n.size lone_return, .-lone_return\n"
        ".skip 31, 0x90\n"); /* assemblers may fill by a jump over the rest */
static int returned;
static void returns_too(void)
{
    returned++;
}

START_TEST(a_lone_return_leads_into_its_own_padding)
{
    patas_options strict = {sizeof strict, PATAS_STRICT, NULL};
    patas_plan_info info = {.size = sizeof info};
    patas_fn target = (patas_fn)lone_return;
    struct expect_bytes before = bytes_of(target, 2);
    int32_t kept;
    patas_patch *patch;
#if defined(__aarch64__)
    const patas_form form = PATAS_FORM_ONE_INSTRUCTION; /* it is one word */
#else
    const patas_form form = PATAS_FORM_SHORT_JUMP;
#endif
    /* The place that its bytes lead to by themselves is taken. */
    memcpy(&kept, (const char *)before.at + 1, sizeof kept);
    uintptr_t place = (uintptr_t)target + 5 + (uintptr_t)(intptr_t)kept;
    (void)mmap((void *)((place & ~(uintptr_t)4095) - 4096), 3 * 4096, PROT_NONE,
               MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    OK(patas_plan_with(target, &strict, &info, &error));
    ck_assert_uint_eq(info.form, form);
    OK(patas_replace_with(target, (patas_fn)returns_too, &strict, &patch,
                          &error));
    lone_return();
    ck_assert_int_eq(returned, 1);
    ((void (*)(void))patas_original(patch))();
    ck_assert_int_eq(returned, 1);
    OK(patas_restore(patch, &error));
    lone_return();
    ck_assert_int_eq(returned, 1);
    SAME_BYTES(before);
}
END_TEST

/* A lone jump is a function of its own, unless the caller follows it. */
int lone_jump(int x);
int jumped_to(int x);
#if defined(__aarch64__)
#define LONE_JUMP "  b jumped_to\n"
#define ADDS_FIVE "  add w0, w0, #5\n"
#else
#define LONE_JUMP "  .byte 0xe9\n  .long jumped_to - . - 4\n"
#define ADDS_FIVE \
    MACHINE("  lea 5(%rdi), %eax\n", "  mov $5, %eax\n  add 4(%esp), %eax\n")
#endif
__asm__(".text\n.p2align 5\n.globl lone_jump\n.type lone_jump,%function\n"
        "lone_jump:\n.cfi_startproc\n" LONE_JUMP
        ".cfi_endproc\n.size lone_jump, .-lone_jump\n.p2align 5\n"
        ".globl jumped_to\n.type jumped_to,%function\n"
        "jumped_to:\n.cfi_startproc\n" ADDS_FIVE "  ret\n.cfi_endproc\n"
        ".size jumped_to, .-jumped_to\n.p2align 5\n");

START_TEST(a_lone_jump_is_followed_when_asked)
{
    patas_options follow = {sizeof follow, PATAS_FOLLOW, NULL};
    patas_patch *patch;
    OK(patas_replace((patas_fn)lone_jump, FAKE, &patch, &error));
    ck_assert_int_eq(lone_jump(1), 1001);
    ck_assert_int_eq(jumped_to(1), 6);
    ck_assert_int_eq(original_of(patch, 1), 6);
    OK(patas_restore(patch, &error));
    OK(patas_replace_with((patas_fn)lone_jump, FAKE, &follow, &patch, &error));
    ck_assert_int_eq(lone_jump(1), 1001);
    ck_assert_int_eq(jumped_to(1), 1001);
    OK(patas_restore(patch, &error));
    ck_assert_int_eq(jumped_to(1), 6);
}
END_TEST

/* Another thread calls all the time; each replacement asks at once for its
 * handle, which is there once and for all before the first call. */
enum {
    EARLY = 8
};
static patas_patch *early[EARLY];
static atomic_int stop, no_handle, early_calls;

static int ask(int which, int x)
{
    patas_fn original =
        patas_original(*(patas_patch *volatile const *)&early[which]);
    if (!original) {
        no_handle++;
        return -1;
    }
    early_calls++;
    return ((unary)original)(x) + 500;
}
#define ASKS(n)              \
    KEEP int asks_##n(int x) \
    {                        \
        return ask(n, x);    \
    }
ASKS(0)
ASKS(1)
ASKS(2)
ASKS(3)
ASKS(4)
ASKS(5)
ASKS(6)
ASKS(7)
static const unary asking[EARLY] = {asks_0, asks_1, asks_2, asks_3,
                                    asks_4, asks_5, asks_6, asks_7};

static void *calls_all_the_time(void *unused)
{
    while (!stop)
        (void)base(1);
    return unused;
}

START_TEST(the_handle_is_there_before_the_first_call)
{
    pthread_t thread;
    pthread_create(&thread, NULL, calls_all_the_time, NULL);
    for (int i = 0; i < EARLY; i++) {
        OK(patas_replace(BASE, (patas_fn)asking[i], &early[i], &error));
        int before = early_calls;
        while (early_calls == before)
            sched_yield();
    }
    stop = 1;
    pthread_join(thread, NULL);
    ck_assert_int_eq(no_handle, 0);
    ck_assert_int_eq(base(1), 2 + 500 * EARLY);
    OK(patas_restore_all(&error));
    ck_assert_int_eq(base(1), 2);
}
END_TEST

START_TEST(counters_tell_what_is_live)
{
    patas_stats stats = {.size = sizeof stats};
    patas_patch *a, *b;
    ck_assert_int_eq(patas_stats_read(&stats), PATAS_OK);
    ck_assert_uint_eq(stats.patches, 0);
    OK(patas_replace(BASE, FAKE, &a, &error));
    OK(patas_replace(BASE, OTHER, &b, &error));
    ck_assert_int_eq(patas_stats_read(&stats), PATAS_OK);
    ck_assert_uint_eq(stats.patches, 2);
    size_t targets = stats.targets; /* a wrapper of ours may be among them */
    ck_assert_uint_ge(targets, 1);
    ck_assert_uint_ge(stats.commits, 1);
    ck_assert_uint_gt(stats.code_bytes, 0);
    OK(patas_restore_all(&error));
    ck_assert_int_eq(patas_stats_read(&stats), PATAS_OK);
    ck_assert_uint_eq(stats.patches, 0);
    /* Memory is bounded by distinct targets, not by patches ever made. */
    size_t bytes = stats.code_bytes + stats.data_bytes;
    for (int i = 0; i < MACHINE3(20000, 20000, 5000); i++) {
        OK(patas_replace(BASE, FAKE, &a, &error));
        OK(patas_restore(a, &error));
    }
    ck_assert_int_eq(patas_stats_read(&stats), PATAS_OK);
    ck_assert_uint_eq(stats.code_bytes + stats.data_bytes, bytes);
    ck_assert_uint_eq(stats.targets, targets);
}
END_TEST

START_TEST(texts_are_cut_like_snprintf_does)
{
    patas_error error = {.status = PATAS_ERR_NO_ROOM};
    char text[300], small[8];
    size_t size = patas_error_text(&error, text, sizeof text);
    ck_assert_uint_eq(size, strlen(text));
    memset(small, 'x', sizeof small);
    ck_assert_uint_eq(patas_error_text(&error, small, sizeof small), size);
    ck_assert_int_eq(small[7], 0);
    ck_assert_int_eq(strncmp(small, text, 7), 0);
    ck_assert_str_eq(patas_status_name(PATAS_ERR_NO_ROOM), "PATAS_ERR_NO_ROOM");
    ck_assert_ptr_nonnull(patas_status_name((patas_status)12345));
    ck_assert_ptr_nonnull(patas_form_name((patas_form)99));
    ck_assert_uint_eq(patas_version() >> 16, PATAS_VERSION_MAJOR);
}
END_TEST

static void add_tests(TCase *tests)
{
    tcase_add_test(tests, replaced_called_and_restored);
    tcase_add_loop_test(tests, stacked_and_removed_in_any_order, 0, 6);
    tcase_add_loop_test(tests, suspended_and_resumed_in_any_order, 0, 6);
    tcase_add_test(tests, many_on_one_target);
    tcase_add_test(tests, marks_bracket_a_test);
    tcase_add_test(tests, a_scope_restores_at_its_end);
    tcase_add_test(tests, a_batch_is_live_at_its_commit);
    tcase_add_test(tests, an_aborted_batch_was_never_there);
    tcase_add_test(tests, twice_in_one_batch_stacks);
    tcase_add_test(tests, an_empty_batch_is_fine);
    tcase_add_test(tests, a_slot_in_data);
    tcase_add_test(tests, a_slot_in_read_only_memory);
    tcase_add_test(tests, a_slot_that_another_changed_is_left_alone);
    tcase_add_test(tests, a_context_reaches_the_replacement);
    tcase_add_test(tests, a_plan_decides_and_changes_nothing);
    tcase_add_test(tests, a_plan_looks_for_islands_as_a_patch_does);
    tcase_add_test(tests, strict_allows_no_trap);
    tcase_add_test(tests, a_lone_return_leads_into_its_own_padding);
    tcase_add_test(tests, a_lone_jump_is_followed_when_asked);
    tcase_add_test(tests, the_handle_is_there_before_the_first_call);
    tcase_add_test(tests, counters_tell_what_is_live);
    tcase_add_test(tests, texts_are_cut_like_snprintf_does);
}

EXPECT_MAIN("interface", add_tests)
