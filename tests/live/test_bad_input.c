/* SPDX-License-Identifier: MIT */
/* Every bad input has its status and its reason, and changes nothing. */
#include "expect.h"
#include "machine.h"

#include <elf.h>
#include <errno.h>
#include <link.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/auxv.h>
#include <unistd.h>

static patas_patch *patch;
static patas_patch *const untouched = (patas_patch *)(uintptr_t)0x5a5a;

KEEP int one(int x)
{
    return x + 1;
}
KEEP int two(int x)
{
    return x + 2;
}
KEEP int three(int x)
{
    return x * 3;
}

static patas_fn fn(uintptr_t address)
{
    return (patas_fn)address;
}
static const patas_fn ONE = (patas_fn)one, TWO = (patas_fn)two,
                      THREE = (patas_fn)three;

/* A refusal of `target`, whose bytes stay; the handle becomes NULL. */
#define TARGET_REFUSED(target, size, want, why)                           \
    do {                                                                  \
        struct expect_bytes before_ = bytes_of((target), (size));         \
        patch = untouched;                                                \
        REFUSED(patas_replace((target), TWO, &patch, &error), want, why); \
        ck_assert_ptr_null(patch);                                        \
        SAME_BYTES(before_);                                              \
    } while (0)

START_TEST(null_is_an_argument_error)
{
    struct expect_bytes before = bytes_of(ONE, 16);
    REFUSED(patas_replace(NULL, TWO, &patch, &error), PATAS_ERR_ARGUMENT,
            PATAS_REASON_NULL);
    REFUSED(patas_replace(ONE, NULL, &patch, &error), PATAS_ERR_ARGUMENT,
            PATAS_REASON_NULL);
    REFUSED(patas_replace(ONE, TWO, NULL, &error), PATAS_ERR_ARGUMENT,
            PATAS_REASON_NULL);
    REFUSED(patas_replace_slot(NULL, TWO, &patch, &error), PATAS_ERR_ARGUMENT,
            PATAS_REASON_NULL);
    REFUSED(patas_batch_replace(NULL, ONE, TWO, &patch, &error),
            PATAS_ERR_ARGUMENT, PATAS_REASON_NULL);
    REFUSED(patas_batch_commit(NULL, &error), PATAS_ERR_ARGUMENT,
            PATAS_REASON_NULL);
    patas_plan_info info = {.size = sizeof info};
    REFUSED(patas_plan(NULL, &info, &error), PATAS_ERR_ARGUMENT,
            PATAS_REASON_NULL);
    REFUSED(patas_plan(ONE, NULL, &error), PATAS_ERR_ARGUMENT,
            PATAS_REASON_NULL);
    ck_assert_ptr_null((void *)(uintptr_t)patas_original(NULL));
    ck_assert_int_ne(patas_restore(NULL, NULL), PATAS_OK);
    ck_assert_int_ne(patas_suspend(NULL, NULL), PATAS_OK);
    ck_assert_int_ne(patas_resume(NULL, NULL), PATAS_OK);
    patas_batch_abort(NULL);
    SAME_BYTES(before);
}
END_TEST

START_TEST(a_failure_needs_no_error_struct)
{
    ck_assert_int_eq(patas_replace(NULL, TWO, &patch, NULL),
                     PATAS_ERR_ARGUMENT);
    ck_assert_int_eq(patas_plan(NULL, NULL, NULL), PATAS_ERR_ARGUMENT);
}
END_TEST

static int data[8];

START_TEST(stack_heap_and_data_are_not_code)
{
    int local[8] = {0};
    int *heap = malloc(64);
    memset(heap, 0x90, 64);
    TARGET_REFUSED(fn((uintptr_t)local), 16, PATAS_ERR_NOT_CODE,
                   PATAS_REASON_NOT_EXECUTABLE);
    TARGET_REFUSED(fn((uintptr_t)heap), 16, PATAS_ERR_NOT_CODE,
                   PATAS_REASON_NOT_EXECUTABLE);
    TARGET_REFUSED(fn((uintptr_t)data), 16, PATAS_ERR_NOT_CODE,
                   PATAS_REASON_NOT_EXECUTABLE);
    free(heap);
}
END_TEST

START_TEST(nothing_is_mapped_there)
{
    /* What patas itself maps, it has by then. */
    OK(patas_replace(ONE, TWO, &patch, &error));
    OK(patas_restore(patch, &error));
    uint8_t *page =
        mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    ck_assert_int_eq(munmap(page, 4096), 0);
    REFUSED(patas_replace(fn((uintptr_t)page), TWO, &patch, &error),
            PATAS_ERR_NOT_CODE, PATAS_REASON_UNMAPPED);
    REFUSED(patas_replace(fn(1), TWO, &patch, &error), PATAS_ERR_NOT_CODE,
            PATAS_REASON_UNMAPPED);
    REFUSED(patas_replace(fn(~(uintptr_t)0), TWO, &patch, &error),
            PATAS_ERR_NOT_CODE, PATAS_REASON_UNMAPPED);
    REFUSED(patas_replace(fn(~(UINTPTR_MAX >> 1)), TWO, &patch, &error),
            PATAS_ERR_NOT_CODE, PATAS_REASON_UNMAPPED);
    ck_assert_ptr_null(patch);
}
END_TEST

START_TEST(a_replacement_must_be_code_too)
{
    struct expect_bytes before = bytes_of(ONE, 16);
    REFUSED(patas_replace(ONE, fn((uintptr_t)data), &patch, &error),
            PATAS_ERR_ARGUMENT, PATAS_REASON_NOT_EXECUTABLE);
    REFUSED(patas_replace(ONE, fn(1), &patch, &error), PATAS_ERR_ARGUMENT,
            PATAS_REASON_UNMAPPED);
    SAME_BYTES(before);
}
END_TEST

/* In bad_input_*.S, as the other functions without a body. */
int in_the_middle(void);

START_TEST(the_middle_of_a_function_is_no_entry)
{
    uintptr_t entry = (uintptr_t)in_the_middle;
    TARGET_REFUSED(fn(entry + MACHINE3(10, 10, 4)), 16, PATAS_ERR_NOT_CODE,
                   PATAS_REASON_MID_FUNCTION);
    TARGET_REFUSED(fn(entry + MACHINE3(3, 3, 2)), 16, PATAS_ERR_NOT_CODE,
                   PATAS_REASON_MID_INSTRUCTION);
    ck_assert_int_eq(in_the_middle(), 42);
}
END_TEST

START_TEST(invalid_instructions_are_not_code)
{
    static const uint8_t bad[] = MACHINE_INVALID;
    uint8_t *page = code_page(64, bad, sizeof bad, PROT_READ | PROT_EXEC);
    TARGET_REFUSED(fn((uintptr_t)page + 64), 4, PATAS_ERR_NOT_CODE,
                   PATAS_REASON_INVALID_CODE);
}
END_TEST

/* The two pages end at 8192; behind them nothing is mapped. (On AArch64 that
 * takes an address which is no instruction's.) */
START_TEST(the_mapping_ends_inside_the_first_instruction)
{
    static const uint8_t cut[] = {0xb8, 0x01, 0x00}; /* mov $..,%eax */
    uint8_t *page = code_page(8192 - 3, cut, 3, PROT_READ | PROT_EXEC);
    TARGET_REFUSED(fn((uintptr_t)page + 8192 - 3), 3, PATAS_ERR_NOT_CODE,
                   PATAS_REASON_TRUNCATED);
}
END_TEST

START_TEST(a_function_in_the_last_bytes_of_a_mapping)
{
    static const uint8_t last[4] = MACHINE_LAST;
    uint8_t *page = code_page(8192 - 4, last, 4, PROT_READ | PROT_EXEC);
    patas_fn target = fn((uintptr_t)page + 8192 - 4);
    int (*call)(int) = (int (*)(int))target;
    struct expect_bytes before = bytes_of(target, 4);
    patas_error failure = {0};
    patas_status status = patas_replace(target, TWO, &patch, &failure);
    /* On x86, 4 bytes hold no jump of 5; only a gap in reach could help. */
    if (status != PATAS_OK) {
        ck_assert(MACHINE3(1, 1, 0));
        ck_assert_int_eq(status, PATAS_ERR_NO_ROOM);
        ck_assert_uint_ne(failure.reason, PATAS_REASON_NONE);
        SAME_BYTES(before);
        ck_assert_int_eq(call(2), 2);
    } else {
        ck_assert_int_eq(call(2), 4);
        OK(patas_restore(patch, &error));
    }
    SAME_BYTES(before);
    /* A trap always fits. */
    patas_options options = {sizeof options, PATAS_ALLOW_TRAP, NULL};
    OK(patas_replace_with(target, TWO, &options, &patch, &error));
    ck_assert_int_eq(call(2), 4);
    ck_assert_int_eq(((int (*)(int))patas_original(patch))(2), 2);
    OK(patas_restore(patch, &error));
    SAME_BYTES(before);
    ck_assert_int_eq(call(2), 2);
}
END_TEST

START_TEST(a_function_by_itself)
{
    struct expect_bytes before = bytes_of(ONE, 16);
    REFUSED(patas_replace(ONE, ONE, &patch, &error), PATAS_ERR_ARGUMENT,
            PATAS_REASON_SAME);
    SAME_BYTES(before);
}
END_TEST

START_TEST(a_by_b_and_b_by_a_run_in_a_ring)
{
    struct expect_bytes before = bytes_of(TWO, 16);
    patas_patch *first, *second;
    OK(patas_replace(ONE, TWO, &first, &error));
    REFUSED(patas_replace(TWO, ONE, &patch, &error), PATAS_ERR_ARGUMENT,
            PATAS_REASON_CYCLE);
    SAME_BYTES(before);
    ck_assert_int_eq(one(5), 7);
    ck_assert_int_eq(two(5), 7);
    /* A ring of three, too. */
    OK(patas_replace(TWO, THREE, &second, &error));
    ck_assert_int_eq(one(5), 15);
    REFUSED(patas_replace(THREE, ONE, &patch, &error), PATAS_ERR_ARGUMENT,
            PATAS_REASON_CYCLE);
    ck_assert_int_eq(one(5), 15);
    OK(patas_restore_all(&error));
    ck_assert_int_eq(one(5), 6);
}
END_TEST

/* The first function that the vDSO's symbol table names. */
static uintptr_t vdso_function(void)
{
    uintptr_t base = getauxval(AT_SYSINFO_EHDR), low = base;
    if (!base)
        return 0;
    const ElfW(Ehdr) *header = (const void *)base;
    const ElfW(Phdr) *program = (const void *)(base + header->e_phoff);
    const ElfW(Dyn) *dynamic = NULL;
    const ElfW(Sym) *symbols = NULL;
    for (int i = 0; i < header->e_phnum; i++) {
        if (program[i].p_type == PT_LOAD)
            low = base - program[i].p_vaddr + program[i].p_offset;
        if (program[i].p_type == PT_DYNAMIC)
            dynamic = (const void *)(base + program[i].p_offset);
    }
    for (; dynamic && dynamic->d_tag != DT_NULL; dynamic++)
        if (dynamic->d_tag == DT_SYMTAB)
            symbols = (const void *)(low + dynamic->d_un.d_ptr);
    for (size_t i = 1; symbols && i < 8; i++)
        if ((symbols[i].st_info & 15) == STT_FUNC && symbols[i].st_value)
            return low + symbols[i].st_value;
    return 0;
}

START_TEST(the_vdso_belongs_to_all)
{
    uintptr_t entry = vdso_function();
    if (!entry)
        CANT_HERE("no vDSO");
    TARGET_REFUSED(fn(entry), 16, PATAS_ERR_UNSUPPORTED, PATAS_REASON_VDSO);
}
END_TEST

START_TEST(a_shared_file_mapping_would_change_the_file)
{
    static const uint8_t code[64] = MACHINE_ADDS_SEVEN;
    uint8_t in_file[64];
    char name[] = "/tmp/patas-shared-XXXXXX";
    int fd = mkstemp(name);
    ck_assert_int_ge(fd, 0);
    unlink(name);
    ck_assert_int_eq(write(fd, code, sizeof code), sizeof code);
    /* Writable by the file's rights: only the refusal protects it. */
    uint8_t *page = mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_SHARED, fd, 0);
    if (page == MAP_FAILED)
        CANT_HERE("a /tmp without exec");
    TARGET_REFUSED(fn((uintptr_t)page), 16, PATAS_ERR_UNSUPPORTED,
                   PATAS_REASON_SHARED_FILE);
    ck_assert_int_eq(pread(fd, in_file, 64, 0), 64);
    ck_assert_mem_eq(in_file, code, 64);
}
END_TEST

void rseq_signed(void);

START_TEST(a_restartable_sequence_stays_whole)
{
    TARGET_REFUSED((patas_fn)rseq_signed, 8, PATAS_ERR_UNSUPPORTED,
                   PATAS_REASON_RSEQ);
}
END_TEST

START_TEST(the_loaders_start_code)
{
    uintptr_t base = getauxval(AT_BASE);
    if (!base)
        return;
    uintptr_t start = base + ((const ElfW(Ehdr) *)base)->e_entry;
    TARGET_REFUSED(fn(start), 16, PATAS_ERR_UNSUPPORTED, PATAS_REASON_LOADER);
}
END_TEST

START_TEST(the_engine_itself)
{
    TARGET_REFUSED((patas_fn)patas_replace, 16, PATAS_ERR_UNSUPPORTED,
                   PATAS_REASON_PATAS_ITSELF);
    TARGET_REFUSED((patas_fn)patas_original, 16, PATAS_ERR_UNSUPPORTED,
                   PATAS_REASON_PATAS_ITSELF);
}
END_TEST

int setjmp(void *);
pid_t vfork(void);

START_TEST(functions_that_return_twice)
{
    TARGET_REFUSED((patas_fn)vfork, 16, PATAS_ERR_UNSUPPORTED,
                   PATAS_REASON_RETURNS_TWICE);
    /* ... unless the replacement only jumps there. */
    patas_options options = {sizeof options, PATAS_PASS_THROUGH, NULL};
    OK(patas_replace_with((patas_fn)vfork, TWO, &options, &patch, &error));
    OK(patas_restore(patch, &error));
}
END_TEST

START_TEST(an_old_handle_is_stale)
{
    OK(patas_replace(ONE, TWO, &patch, &error));
    patas_fn original = patas_original(patch);
    OK(patas_restore(patch, &error));
    struct expect_bytes before = bytes_of(ONE, 16);
    REFUSED(patas_restore(patch, &error), PATAS_ERR_STALE,
            PATAS_REASON_RESTORED);
    REFUSED(patas_suspend(patch, &error), PATAS_ERR_STALE,
            PATAS_REASON_RESTORED);
    REFUSED(patas_resume(patch, &error), PATAS_ERR_STALE,
            PATAS_REASON_RESTORED);
    ck_assert_ptr_null((void *)(uintptr_t)patas_original(patch));
    patas_batch *batch = patas_batch_begin(NULL);
    REFUSED(patas_batch_restore(batch, patch, &error), PATAS_ERR_STALE,
            PATAS_REASON_RESTORED);
    patas_batch_abort(batch);
    SAME_BYTES(before);
    /* What it gave stays callable. */
    ck_assert_int_eq(((int (*)(int))original)(1), 2);
    /* The same place, a new patch: the old handle does not mean it. */
    patas_patch *again;
    OK(patas_replace(ONE, TWO, &again, &error));
    ck_assert_int_eq(patas_restore(patch, NULL), PATAS_ERR_STALE);
    ck_assert_int_eq(one(1), 3);
    OK(patas_restore(again, &error));
}
END_TEST

START_TEST(what_never_was_a_handle_is_stale)
{
    int local;
    patas_patch *const wild[] = {(patas_patch *)(uintptr_t)1, untouched,
                                 (patas_patch *)(void *)&local,
                                 (patas_patch *)~(uintptr_t)0};
    for (size_t i = 0; i < sizeof wild / sizeof *wild; i++) {
        ck_assert_int_eq(patas_restore(wild[i], NULL), PATAS_ERR_STALE);
        ck_assert_ptr_null((void *)(uintptr_t)patas_original(wild[i]));
    }
}
END_TEST

static const uint8_t breakpoint[] = MACHINE_BREAKPOINT;

START_TEST(a_breakpoint_at_the_entry)
{
    struct expect_bytes plain = bytes_of(ONE, sizeof breakpoint);
    poke((void *)(uintptr_t)ONE, breakpoint, sizeof breakpoint);
    struct expect_bytes before = bytes_of(ONE, 16);
    patas_error failure = {0};
    patas_status status = patas_replace(ONE, TWO, &patch, &failure);
    ck_assert_int_ne(status, PATAS_OK);
    ck_assert_uint_eq(failure.reason, PATAS_REASON_BREAKPOINT);
    SAME_BYTES(before);
    poke((void *)(uintptr_t)ONE, plain.bytes, plain.size);
    OK(patas_replace(ONE, TWO, &patch, &error));
}
END_TEST

START_TEST(a_breakpoint_planted_later_is_left_alone)
{
    OK(patas_replace(ONE, TWO, &patch, &error));
    struct expect_bytes jump = bytes_of(ONE, sizeof breakpoint);
    poke((void *)(uintptr_t)ONE, breakpoint, sizeof breakpoint);
    struct expect_bytes before = bytes_of(ONE, 16);
    patas_error failure = {0};
    ck_assert_int_eq(patas_restore(patch, &failure), PATAS_ERR_CHANGED);
    ck_assert_uint_ne(failure.reason, PATAS_REASON_NONE);
    SAME_BYTES(before);
    /* Nothing was changed: the patch is there, and can go later. */
    poke((void *)(uintptr_t)ONE, jump.bytes, jump.size);
    ck_assert_int_eq(one(1), two(1));
    OK(patas_restore(patch, &error));
    ck_assert_int_eq(one(1), 2);
}
END_TEST

/* Two entries, so near that windows of more than one instruction share bytes;
 * the second one's argument is where results are. */
int shares_a(int x), shares_b(int x), call_b(int x);

KEEP int hundred(void)
{
    return 100;
}

START_TEST(two_windows_that_share_bytes)
{
    patas_patch *a, *b = NULL;
    patas_error failure = {0};
    OK(patas_replace((patas_fn)shares_a, TWO, &a, &error));
    ck_assert_int_eq(shares_a(5), 7);
    ck_assert_int_eq(call_b(5), 6);
    patas_status status =
        patas_replace((patas_fn)shares_b, (patas_fn)hundred, &b, &failure);
    if (status != PATAS_OK) {
        ck_assert_int_eq(status, PATAS_ERR_NO_ROOM);
        ck_assert_uint_eq(failure.reason, PATAS_REASON_TAKEN);
        ck_assert_int_eq(call_b(5), 6);
    } else {
        ck_assert_int_eq(call_b(5), 100);
        OK(patas_restore(b, &error));
    }
    ck_assert_int_eq(shares_a(5), 7);
    OK(patas_restore(a, &error));
    ck_assert_int_eq(shares_a(5), 6);
    ck_assert_int_eq(call_b(5), 6);
}
END_TEST

static atomic_int busy, other;

static void on_alarm(int number)
{
    patas_patch *mine;
    patas_error error = {0};
    (void)number;
    int before = errno;
    patas_status status = patas_replace(THREE, TWO, &mine, &error);
    if (status == PATAS_ERR_BUSY && error.reason == PATAS_REASON_IN_PATAS &&
        !mine)
        busy++;
    else if (status != PATAS_OK || patas_restore(mine, NULL) != PATAS_OK)
        other++;
    errno = before;
}

START_TEST(a_handler_that_interrupted_patas_is_told_so)
{
    signal(SIGALRM, on_alarm);
    for (long i = 0; i < 5000000 && busy < 20; i++) {
        patas_patch *mine;
        alarm_after(i * 7 % 1000);
        patas_status status = patas_replace(ONE, TWO, &mine, NULL);
        if (status != PATAS_OK || patas_restore(mine, NULL) != PATAS_OK)
            other++;
    }
    alarm_after(-1);
    ck_assert_int_eq(other, 0);
    ck_assert_int_ge(busy, 20);
    ck_assert_int_eq(one(1), 2);
    ck_assert_int_eq(three(2), 6);
}
END_TEST

START_TEST(a_batch_with_a_bad_member_can_be_dropped)
{
    struct expect_bytes before = bytes_of(ONE, 16);
    patas_patch *good, *bad = untouched;
    patas_batch *batch = patas_batch_begin(NULL);
    OK(patas_batch_replace(batch, ONE, TWO, &good, &error));
    REFUSED(patas_batch_replace(batch, fn((uintptr_t)data), TWO, &bad, &error),
            PATAS_ERR_NOT_CODE, PATAS_REASON_NOT_EXECUTABLE);
    ck_assert_ptr_null(bad);
    SAME_BYTES(before);
    patas_batch_abort(batch);
    SAME_BYTES(before);
    ck_assert_int_eq(one(1), 2);
    ck_assert_ptr_null((void *)(uintptr_t)patas_original(good));
}
END_TEST

START_TEST(a_batch_whose_member_changed_changes_nothing)
{
    static const uint8_t code[] = MACHINE_ADDS_SEVEN;
    uint8_t *page =
        code_page(64, code, sizeof code, PROT_READ | PROT_WRITE | PROT_EXEC);
    struct expect_bytes before = bytes_of(ONE, 16), last = bytes_of(THREE, 16);
    patas_patch *all[3];
    patas_batch *batch = patas_batch_begin(NULL);
    OK(patas_batch_replace(batch, ONE, TWO, &all[0], &error));
    OK(patas_batch_replace(batch, fn((uintptr_t)page + 64), TWO, &all[1],
                           &error));
    OK(patas_batch_replace(batch, THREE, TWO, &all[2], &error));
    page[64] = 0xb8; /* somebody else, meanwhile */
    patas_error failure = {0};
    ck_assert_int_eq(patas_batch_commit(batch, &failure), PATAS_ERR_CHANGED);
    ck_assert_uint_eq(failure.target, (uintptr_t)page + 64);
    SAME_BYTES(before);
    SAME_BYTES(last);
    ck_assert_int_eq(page[64], 0xb8);
    ck_assert_int_eq(one(1), 2);
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(patas_restore(all[i], NULL), PATAS_ERR_STALE);
}
END_TEST

#define NUMBERED(n)              \
    KEEP int numbered_##n(int x) \
    {                            \
        return x + 100 + n;      \
    }
NUMBERED(0)
NUMBERED(1)
NUMBERED(2)
NUMBERED(3)
static int (*const numbered[])(int) = {numbered_0, numbered_1, numbered_2,
                                       numbered_3};
static atomic_int mistakes;
static patas_error first_mistake;

static void mistake(const patas_error *error)
{
    if (mistakes++ == 0)
        first_mistake = *error;
}

static void *batches(void *argument)
{
    int which = (int)(intptr_t)argument;
    patas_fn fakes[] = {TWO, THREE};
    for (int i = 0; i < MACHINE_ROUNDS(2000); i++) {
        patas_error failure = {0};
        patas_patch *mine[4];
        patas_batch *batch = patas_batch_begin(NULL);
        for (int k = 0; k < 4; k++) /* in opposite orders */
            if (!batch || patas_batch_replace(
                              batch, (patas_fn)numbered[which ? 3 - k : k],
                              fakes[which], &mine[k], &failure) != PATAS_OK)
                mistake(&failure);
        if (patas_batch_commit(batch, &failure) != PATAS_OK)
            mistake(&failure);
        for (int k = 0; k < 4; k++)
            if (patas_restore(mine[k], &failure) != PATAS_OK)
                mistake(&failure);
    }
    return NULL;
}

START_TEST(two_batches_from_two_threads)
{
    pthread_t threads[2];
    for (intptr_t i = 0; i < 2; i++)
        pthread_create(&threads[i], NULL, batches, (void *)i);
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    ck_assert_msg(mistakes == 0, "%d mistakes, the first: %s", mistakes,
                  expect_text(&first_mistake));
    for (int k = 0; k < 4; k++)
        ck_assert_int_eq(numbered[k](0), 100 + k);
}
END_TEST

START_TEST(options_of_another_size)
{
    struct {
        patas_options known;
        uint64_t later;
    } newer = {{sizeof newer, 0, NULL}, 0};
    struct expect_bytes before = bytes_of(ONE, 16);
    OK(patas_replace_with(ONE, TWO, &newer.known, &patch, &error));
    ck_assert_int_eq(one(1), 3);
    OK(patas_restore(patch, &error));
    newer.later = 1; /* asks for what this version doesn't know */
    REFUSED(patas_replace_with(ONE, TWO, &newer.known, &patch, &error),
            PATAS_ERR_ARGUMENT, PATAS_REASON_OPTIONS);
    patas_options none = {0, 0, NULL}, odd = {sizeof odd, 1u << 30, NULL};
    REFUSED(patas_replace_with(ONE, TWO, &none, &patch, &error),
            PATAS_ERR_ARGUMENT, PATAS_REASON_OPTIONS);
    REFUSED(patas_replace_with(ONE, TWO, &odd, &patch, &error),
            PATAS_ERR_ARGUMENT, PATAS_REASON_OPTIONS);
    SAME_BYTES(before);
}
END_TEST

/* Everything that a jump from `around` can reach becomes somebody else's. */
static void occupy(uintptr_t from, uintptr_t to)
{
    if (to - from < 4096)
        return;
    void *memory =
        mmap((void *)from, to - from, PROT_NONE,
             MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE,
             -1, 0);
    if ((uintptr_t)memory == from || to - from == 4096)
        return;
    if (memory != MAP_FAILED) /* by somebody who doesn't know NOREPLACE */
        munmap(memory, to - from);
    uintptr_t middle = from + (to - from) / 8192 * 4096;
    occupy(from, middle);
    occupy(middle, to);
}

START_TEST(no_memory_in_reach)
{
    uintptr_t at = (uintptr_t)ONE & ~(uintptr_t)4095;
    uintptr_t span = (uintptr_t)1 << 31;
    if (sizeof at == 4)
        occupy(65536, UINTPTR_MAX & ~(uintptr_t)4095);
    else
        occupy(at > span + 65536 ? at - span - 65536 : 65536,
               at + span + 65536);
    struct expect_bytes before = bytes_of(ONE, 16);
    patas_error failure = {0};
    patas_status status = patas_replace(ONE, TWO, &patch, &failure);
    ck_assert_msg(status == PATAS_ERR_NO_MEMORY, "%s: %s",
                  patas_status_name(status), expect_text(&failure));
    if (sizeof at == 8) /* else there is no memory for books, either */
        ck_assert_uint_ne(failure.reason, PATAS_REASON_NONE);
    ck_assert_ptr_null(patch);
    SAME_BYTES(before);
    ck_assert_int_eq(one(1), 2);
}
END_TEST

START_TEST(a_batch_ends_only_once)
{
    patas_batch *batch = patas_batch_begin(NULL);
    patas_patch *mine;
    OK(patas_batch_replace(batch, ONE, TWO, &mine, &error));
    OK(patas_batch_commit(batch, &error));
    REFUSED(patas_batch_commit(batch, &error), PATAS_ERR_STALE,
            PATAS_REASON_BATCH_ENDED);
    REFUSED(patas_batch_replace(batch, THREE, TWO, &patch, &error),
            PATAS_ERR_STALE, PATAS_REASON_BATCH_ENDED);
    patas_batch_abort(batch);
    ck_assert_int_eq(one(1), 3);
    OK(patas_restore(mine, &error));
}
END_TEST

START_TEST(a_slot_that_is_no_pointer)
{
    static patas_fn slots[2];
    slots[0] = slots[1] = ONE;
    patas_fn *odd = (patas_fn *)((uintptr_t)slots + 3);
    REFUSED(patas_replace_slot(odd, TWO, &patch, &error), PATAS_ERR_ARGUMENT,
            error.reason);
    ck_assert_int_ne(
        patas_replace_slot((patas_fn *)(uintptr_t)4096, TWO, &patch, NULL),
        PATAS_OK);
    ck_assert(slots[0] == ONE && slots[1] == ONE);
}
END_TEST

static void add_tests(TCase *tests)
{
    tcase_add_test(tests, null_is_an_argument_error);
    tcase_add_test(tests, a_failure_needs_no_error_struct);
    tcase_add_test(tests, stack_heap_and_data_are_not_code);
    tcase_add_test(tests, nothing_is_mapped_there);
    tcase_add_test(tests, a_replacement_must_be_code_too);
    tcase_add_test(tests, the_middle_of_a_function_is_no_entry);
    tcase_add_test(tests, invalid_instructions_are_not_code);
    tcase_add_test(tests, the_mapping_ends_inside_the_first_instruction);
    tcase_add_test(tests, a_function_in_the_last_bytes_of_a_mapping);
    tcase_add_test(tests, a_function_by_itself);
    tcase_add_test(tests, a_by_b_and_b_by_a_run_in_a_ring);
    tcase_add_test(tests, the_vdso_belongs_to_all);
    tcase_add_test(tests, a_shared_file_mapping_would_change_the_file);
    tcase_add_test(tests, a_restartable_sequence_stays_whole);
    tcase_add_test(tests, the_loaders_start_code);
    tcase_add_test(tests, the_engine_itself);
    tcase_add_test(tests, functions_that_return_twice);
    tcase_add_test(tests, an_old_handle_is_stale);
    tcase_add_test(tests, what_never_was_a_handle_is_stale);
    tcase_add_test(tests, a_breakpoint_at_the_entry);
    tcase_add_test(tests, a_breakpoint_planted_later_is_left_alone);
    tcase_add_test(tests, two_windows_that_share_bytes);
    tcase_add_test(tests, a_handler_that_interrupted_patas_is_told_so);
    tcase_add_test(tests, a_batch_with_a_bad_member_can_be_dropped);
    tcase_add_test(tests, a_batch_whose_member_changed_changes_nothing);
    tcase_add_test(tests, two_batches_from_two_threads);
    tcase_add_test(tests, options_of_another_size);
    tcase_add_test(tests, no_memory_in_reach);
    tcase_add_test(tests, a_batch_ends_only_once);
    tcase_add_test(tests, a_slot_that_is_no_pointer);
}

EXPECT_MAIN("bad input", add_tests)
