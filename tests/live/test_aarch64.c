/* SPDX-License-Identifier: MIT */
/*
 * What only AArch64 has: landing pads that indirect calls must land on, signed
 * return addresses, jumps that reach 128 MB.
 *
 * Code is made in pages of its own, guarded ones where the processor knows
 * landing pads (qemu-user's "max" does): there a jump in the place of a pad
 * ends the process.
 */
#include "aarch64_guarded.h"
#include "expect.h"

#include <check.h>
#include <dlfcn.h>
#include <link.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

#define NOP     0xd503201fu
#define RET     0xd65f03c0u
#define BTI_C   0xd503245fu
#define PACIASP 0xd503233fu
#define PACIBSP 0xd503237fu
#define AUTIASP 0xd50323bfu
#define AUTIBSP 0xd50323ffu
#define BRK     0xd4200000u

enum {
    PROT_BTI_ = 0x10,
    HWCAP2_BTI_ = 1 << 17,
    PAGE = 65536 /* of any system */
};

static bool has_pads(void)
{
    return (getauxval(AT_HWCAP2) & HWCAP2_BTI_) != 0;
}

/* A function of these words, in guarded memory if there is any. */
static unary *made_at(void *where, const uint32_t *words, size_t size)
{
    int fixed = where ? MAP_FIXED : 0;
    void *memory = mmap(where, PAGE, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | fixed, -1, 0);
    ck_assert(memory != MAP_FAILED);
    memcpy(memory, words, size);
    __builtin___clear_cache(memory, (char *)memory + size);
    ck_assert_int_eq(
        mprotect(memory, PAGE,
                 PROT_READ | PROT_EXEC | (has_pads() ? PROT_BTI_ : 0)),
        0);
    return (unary *)(uintptr_t)memory;
}

#define MADE(words) made_at(NULL, words, sizeof words)

/* By pointer, so that it has to land on a pad: x9 is no register that lands
 * anywhere. */
static long call(unary *function, long argument)
{
    register long x0 __asm__("x0") = argument;
    register unary *x9 __asm__("x9") = function;
    __asm__ volatile("blr x9"
                     : "+r"(x0), "+r"(x9)
                     :
                     : "x1", "x2", "x3", "x4", "x5", "x6", "x7", "x8", "x10",
                       "x11", "x12", "x13", "x14", "x15", "x16", "x17", "x18",
                       "x30", "memory", "cc");
    return x0;
}

static long hundred(long a)
{
    return a + 100;
}

static patas_patch *asked;

static long original_and_thousand(long a)
{
    return call((unary *)patas_original(asked), a) + 1000;
}

/* a + 1, signed and authenticated on the way. */
static const uint32_t padded[][6] = {
    {BTI_C, 0x91000400, RET},
    {PACIASP, 0xa9bf7bfd, 0x91000400, 0xa8c17bfd, AUTIASP, RET},
    {PACIBSP, 0xa9bf7bfd, 0x91000400, 0xa8c17bfd, AUTIBSP, RET},
    {BTI_C, NOP, 0x91000400, RET},
    {0xd503249f, 0x91000400, RET}, /* bti j: no call lands there */
    {0xd50324df, 0x91000400, RET}, /* bti jc */
};

START_TEST(a_landing_pad_is_still_one)
{
    patas_plan_info info = {.size = sizeof info};
    if (_i == 4 && has_pads())
        return;
    unary *function = MADE(padded[_i]);
    uint32_t first = *(const uint32_t *)(uintptr_t)function;

    ck_assert_int_eq(call(function, 1), 2);
    OK(patas_replace((patas_fn)function, (patas_fn)hundred, &asked, &error));
    ck_assert_int_eq(call(function, 1), 101);
    if (has_pads())
        ck_assert_uint_eq(*(const uint32_t *)(uintptr_t)function, first);
    OK(patas_plan((patas_fn)function, &info, &error));
    ck_assert_int_eq(info.form, PATAS_FORM_ONE_INSTRUCTION);
    ck_assert_uint_eq(info.written, 4);
    ck_assert_int_eq(call((unary *)patas_original(asked), 1), 2);
    OK(patas_restore(asked, &error));
    ck_assert_int_eq(call(function, 1), 2);

    OK(patas_replace((patas_fn)function, (patas_fn)original_and_thousand,
                     &asked, &error));
    ck_assert_int_eq(call(function, 1), 1002);
    patas_patch *above;
    OK(patas_replace((patas_fn)function, (patas_fn)hundred, &above, &error));
    ck_assert_int_eq(call((unary *)patas_original(above), 1), 1002);
    OK(patas_restore_all(&error));
    ck_assert(!memcmp((const void *)(uintptr_t)function, padded[_i],
                      sizeof padded[_i]));
}
END_TEST

static uintptr_t symbol_of(void *module, const char *name)
{
    void *symbol = dlsym(module, name);
    ck_assert_msg(symbol != NULL, "%s", dlerror());
    return (uintptr_t)symbol;
}

/* Does a call that lands on no pad end the process? */
static bool dies(unary *function)
{
    int status;
    pid_t child = fork();
    if (!child) {
        call(function, 1);
        _exit(0);
    }
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    return WIFSIGNALED(status) && WTERMSIG(status) == SIGILL;
}

/* The loader guards the pages of a module that says so, and they are guarded
 * after a patch as they were before. */
START_TEST(guarded_pages_stay_guarded)
{
    void *module = dlopen(GUARDED, RTLD_NOW);
    ck_assert_msg(module != NULL, "%s", dlerror());
    unary *one = (unary *)symbol_of(module, "guarded_adds_one");
    unary *behind = ((unary * (*)(void)) symbol_of(module, "guarded_behind"))();
    ck_assert_int_eq(dies(behind), has_pads());

    OK(patas_replace((patas_fn)one, (patas_fn)hundred, &asked, &error));
    ck_assert_int_eq(dies(behind), has_pads());
    ck_assert_int_eq(call(one, 1), 101);
    ck_assert_int_eq(call((unary *)patas_original(asked), 1), 2);
    OK(patas_restore(asked, &error));
    ck_assert_int_eq(dies(behind), has_pads());
    ck_assert_int_eq(call(one, 1), 2);
}
END_TEST

static long (*calls_original)(long, unary *);

static long calls_twice(long a, unary *function)
{
    return calls_original(calls_original(a, function), function);
}

/* With a signed return address, and calls back. */
START_TEST(a_compiled_function_that_signs)
{
    void *module = dlopen(GUARDED, RTLD_NOW);
    ck_assert_msg(module != NULL, "%s", dlerror());
    long (*calls)(long, unary *) =
        (long (*)(long, unary *))symbol_of(module, "guarded_calls");
    ck_assert_uint_eq(*(const uint32_t *)(uintptr_t)calls, PACIASP);
    ck_assert_int_eq(calls(1, hundred), 102);
    OK(patas_replace((patas_fn)calls, (patas_fn)calls_twice, &asked, &error));
    calls_original = (long (*)(long, unary *))patas_original(asked);
    ck_assert_int_eq(calls(1, hundred), 203);
    OK(patas_restore(asked, &error));
    ck_assert_int_eq(calls(1, hundred), 102);
}
END_TEST

/* The threads of an emulator block all signals, and can't be held: no trap may
 * be planted there. */
static bool traps_may_be(unary *function)
{
    patas_options options = {.size = sizeof options, .flags = PATAS_ALLOW_TRAP};
    patas_error why;
    patas_status status = patas_replace_with(
        (patas_fn)function, (patas_fn)hundred, &options, &asked, &why);
    ck_assert_msg(status == PATAS_OK || status == PATAS_ERR_BLOCKED, "%s",
                  expect_text(&why));
    return status == PATAS_OK;
}

/* ---- pads with a loop behind them -----------------------------------------
 */

/* Adds the numbers below a: `for (x1 = 0; x0; x0--) x1 += x0`, entered at the
 * pad, with the loop right behind it. */
static const uint32_t loop[] = {BTI_C,      0x8b000021, 0xd1000400,
                                0xb5ffffc0, 0xaa0103e0, RET};

START_TEST(a_loop_right_behind_a_pad_needs_a_trap)
{
    unary *function = MADE(loop);
    if (!has_pads())
        return;

    REFUSED(
        patas_replace((patas_fn)function, (patas_fn)hundred, &asked, &error),
        PATAS_ERR_NO_ROOM, PATAS_REASON_BRANCH_IN);
    if (!traps_may_be(function))
        return;
    for (int i = 0; i < 1000; i++)
        ck_assert_int_eq(call(function, i), i + 100);
    ck_assert_uint_eq(*(const uint32_t *)(uintptr_t)function & 0xffe0001f, BRK);
    OK(patas_restore(asked, &error));
    ck_assert_uint_eq(*(const uint32_t *)(uintptr_t)function, BTI_C);
}
END_TEST

/* Somebody else's breakpoints stay somebody else's. */
static volatile sig_atomic_t met;

static void step_over(int number, siginfo_t *info, void *context)
{
    (void)number;
    (void)info;
    met++;
    ((ucontext_t *)context)->uc_mcontext.pc += 4;
}

START_TEST(the_programs_own_traps_reach_its_handler)
{
    struct sigaction action = {.sa_flags = SA_SIGINFO};
    unary *function = MADE(loop);
    if (!has_pads())
        return;

    action.sa_sigaction = step_over;
    ck_assert_int_eq(sigaction(SIGTRAP, &action, NULL), 0);
    __asm__ volatile("brk #0x3e8");
    ck_assert_int_eq(met, 1);
    if (!traps_may_be(function))
        return;
    __asm__ volatile("brk #0x3e8");
    ck_assert_int_eq(met, 2);
    ck_assert_int_eq(call(function, 7), 107);
    ck_assert_int_eq(met, 2);
    ck_assert_int_eq(sigaction(SIGTRAP, &action, NULL), 0);
    ck_assert_int_eq(call(function, 8), 108);
    __asm__ volatile("brk #0x3e8");
    ck_assert_int_eq(met, 3);
    OK(patas_restore_all(&error));
}
END_TEST

/* ---- other conventions -----------------------------------------------------
 */

START_TEST(what_reads_x16_is_refused)
{
    static const uint32_t words[] = {NOP, 0xaa1003e0, RET}; /* mov x0, x16 */
    patas_error why;
    unary *function = MADE(words);

    REFUSED(
        patas_replace((patas_fn)function, (patas_fn)hundred, &asked, &error),
        PATAS_ERR_NO_ROOM, PATAS_REASON_CONVENTION);
    ck_assert(
        patas_replace((patas_fn)function, (patas_fn)hundred, &asked, &why));
    ck_assert_uint_eq(why.address, (uintptr_t)function + 4);
    ck_assert(strstr(expect_text(&why), "x16"));
}
END_TEST

/* ---- far away --------------------------------------------------------------
 */

/* Targets all over the address space, one replacement. */
START_TEST(replacements_are_any_distance_away)
{
    static const uint32_t words[] = {0x91000400, RET};
    static const uintptr_t places[] = {0x10000000,   0x700000000,  0x1234560000,
                                       0x3210000000, 0x7600000000, 0x180000000};

    for (unsigned i = 0; i < sizeof places / sizeof *places; i++) {
        unary *function = made_at((void *)places[i], words, sizeof words);
        OK(patas_replace((patas_fn)function, (patas_fn)hundred, &asked,
                         &error));
        ck_assert_int_eq(call(function, 1), 101);
        ck_assert_int_eq(call((unary *)patas_original(asked), 1), 2);
    }
    OK(patas_restore_all(&error));
}
END_TEST

/* What the heap may take, but not soon, is all that is in reach. */
START_TEST(an_island_where_the_heap_might_grow)
{
    static const uint32_t words[] = {0x91000400, RET};
    uintptr_t heap = ((uintptr_t)sbrk(0) + PAGE - 1) & ~(uintptr_t)(PAGE - 1);
    unary *function =
        made_at((void *)(heap + ((size_t)512 << 20)), words, sizeof words);

    OK(patas_replace((patas_fn)function, (patas_fn)hundred, &asked, &error));
    ck_assert_int_eq(call(function, 1), 101);
    OK(patas_restore(asked, &error));
    ck_assert_int_eq(call(function, 1), 2);
}
END_TEST

/* No hole within 128 MB. */
START_TEST(where_no_island_is_in_reach_nothing_is_done)
{
    static const uint32_t words[] = {0x91000400, RET};
    const uintptr_t middle = 0x2800000000;
    const size_t around = (size_t)1 << 28;
    void *filler =
        mmap((void *)(middle - around), 2 * around, PROT_NONE,
             MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);

    ck_assert(filler != MAP_FAILED);
    unary *function = made_at((void *)middle, words, sizeof words);
    REFUSED(
        patas_replace((patas_fn)function, (patas_fn)hundred, &asked, &error),
        PATAS_ERR_NO_MEMORY, PATAS_REASON_NO_ADDRESS);
    ck_assert_int_eq(call(function, 1), 2);
}
END_TEST

/* ---- libraries nobody wrote for this ----------------------------------------
 */

/* What .dynsym calls a function: addresses, each once, sorted. */
struct functions {
    const char *part;
    uintptr_t *list;
    size_t count;
    uint8_t *copy; /* of the text */
    uintptr_t text;
    size_t size;
};

static int by_address(const void *a, const void *b)
{
    uintptr_t x = *(const uintptr_t *)a, y = *(const uintptr_t *)b;
    return x < y ? -1 : x > y;
}

static void find_symbols(struct functions *it, const struct dl_phdr_info *info,
                         const ElfW(Dyn) * dynamic)
{
    const ElfW(Sym) *symbols = NULL;
    const char *strings = NULL;
    for (; dynamic->d_tag != DT_NULL; dynamic++)
        if (dynamic->d_tag == DT_SYMTAB)
            symbols = (const ElfW(Sym) *)dynamic->d_un.d_ptr;
        else if (dynamic->d_tag == DT_STRTAB)
            strings = (const char *)dynamic->d_un.d_ptr;
    /* The string table is behind the symbols, as linkers put it. */
    size_t count = (size_t)(strings - (const char *)symbols) / sizeof *symbols;
    it->list = malloc(count * sizeof *it->list);
    for (size_t i = 0; i < count; i++)
        if ((symbols[i].st_info & 15) == STT_FUNC && symbols[i].st_shndx &&
            symbols[i].st_size)
            it->list[it->count++] = info->dlpi_addr + symbols[i].st_value;
    qsort(it->list, it->count, sizeof *it->list, by_address);
    size_t kept = 0;
    for (size_t i = 0; i < it->count; i++)
        if (!kept || it->list[kept - 1] != it->list[i])
            it->list[kept++] = it->list[i];
    it->count = kept;
}

static int visit(struct dl_phdr_info *info, size_t size, void *data)
{
    struct functions *it = data;
    (void)size;
    if (!strstr(info->dlpi_name, it->part))
        return 0;
    for (unsigned i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *header = &info->dlpi_phdr[i];
        uintptr_t at = info->dlpi_addr + header->p_vaddr;
        if (header->p_type == PT_DYNAMIC)
            find_symbols(it, info, (const ElfW(Dyn) *)at);
        if (header->p_type == PT_LOAD && header->p_flags & PF_X) {
            it->text = at;
            it->size = header->p_memsz;
        }
    }
    it->copy = malloc(it->size);
    memcpy(it->copy, (const void *)it->text, it->size);
    return 1;
}

static const char *const libraries[] = {"libm.so.6", "libstdc++.so.6",
                                        "libgcc_s.so.1", "libc.so.6"};

/* In one batch and back: none that calls while it is patched, but for what the
 * library needs of the C library itself, which is patched one by one. */
START_TEST(every_function_of_a_library)
{
    struct functions it = {.part = libraries[_i]};
    size_t patched = 0, refused = 0;
    patas_batch *batch = NULL;
    patas_error why;
    bool alone = _i == 3;

    if (!dlopen(it.part, RTLD_NOW))
        return; /* not on this machine */
    ck_assert_int_eq(dl_iterate_phdr(visit, &it), 1);
    if (!alone) {
        batch = patas_batch_begin(&why);
        ck_assert_ptr_nonnull(batch);
    }
    for (size_t i = 0; i < it.count; i++) {
        patas_patch *patch;
        patas_fn target = (patas_fn)it.list[i];
        patas_plan_info info = {.size = sizeof info};
        patas_status status =
            alone ? patas_plan(target, &info, &why)
                  : patas_batch_replace(batch, target, (patas_fn)hundred,
                                        &patch, &why);
        patched += status == PATAS_OK;
        refused += status != PATAS_OK;
        if (status != PATAS_OK)
            printf("%s + %#lx: %s\n", it.part, it.list[i] - it.text,
                   expect_text(&why));
    }
    if (batch)
        OK(patas_batch_commit(batch, &error));
    size_t changed = 0;
    for (size_t i = 0; i + 4 <= it.size; i += 4)
        changed += memcmp((const uint8_t *)it.text + i, it.copy + i, 4) != 0;
    OK(patas_restore_all(&error));
    printf("%s: %zu of %zu functions, %zu words changed\n", it.part, patched,
           it.count, changed);
    if (!alone)
        ck_assert_uint_eq(changed, patched);
    ck_assert(!memcmp((const void *)it.text, it.copy, it.size));
    /* setjmp and its kin are what libc has to refuse. */
    ck_assert_uint_le(refused, alone ? 8 : 0);
    free(it.copy);
    free(it.list);
}
END_TEST

/* ---- context ---------------------------------------------------------------
 */

double context_body(double a, long b);
double context_body(double a, long b)
{
    return a + (double)b + (double)(intptr_t)patas_context();
}
PATAS_CONTEXT_ENTRY(context_entry, context_body);

static __attribute__((noinline)) double sum(double a, long b)
{
    __asm__ volatile("");
    return a + (double)b;
}

START_TEST(a_context_loses_no_argument)
{
    patas_options options = {.size = sizeof options, .context = (void *)5000};
    double (*volatile function)(double, long) = sum;

    OK(patas_replace_with((patas_fn)sum, (patas_fn)context_entry, &options,
                          &asked, &error));
    ck_assert_double_eq(function(0.5, 7), 5007.5);
    OK(patas_restore(asked, &error));
    ck_assert_double_eq(function(0.5, 7), 7.5);
}
END_TEST

/* ---- threads ---------------------------------------------------------------
 */

static unary *volatile shared;
static bool stop;

static void *runs(void *wrong)
{
    while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
        long got = call(shared, 1);
        if (got != 2 && got != 101)
            __atomic_store_n((long *)wrong, got, __ATOMIC_RELAXED);
    }
    return NULL;
}

/* Each of the kinds of first instructions, under calls. */
START_TEST(threads_run_while_it_is_patched)
{
    pthread_t threads[3];
    long wrong = 0;

    shared = MADE(padded[_i]);
    stop = false;
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, runs, &wrong), 0);
    for (int i = 0; i < 30; i++) {
        OK(patas_replace((patas_fn)shared, (patas_fn)hundred, &asked, &error));
        ck_assert_int_eq(call(shared, 1), 101);
        OK(patas_restore(asked, &error));
        ck_assert_int_eq(call(shared, 1), 2);
    }
    __atomic_store_n(&stop, true, __ATOMIC_RELAXED);
    for (int i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    ck_assert_int_eq(wrong, 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("AArch64");
    TCase *all = tcase_create("all");

    suite_add_tcase(suite, all);
    tcase_add_loop_test(all, a_landing_pad_is_still_one, 0, 6);
    tcase_add_test(all, guarded_pages_stay_guarded);
    tcase_add_test(all, a_compiled_function_that_signs);
    tcase_add_test(all, a_loop_right_behind_a_pad_needs_a_trap);
    tcase_add_test(all, the_programs_own_traps_reach_its_handler);
    tcase_add_test(all, what_reads_x16_is_refused);
    tcase_add_test(all, replacements_are_any_distance_away);
    tcase_add_test(all, an_island_where_the_heap_might_grow);
    tcase_add_test(all, where_no_island_is_in_reach_nothing_is_done);
    tcase_add_loop_test(all, every_function_of_a_library, 0, 4);
    tcase_add_test(all, a_context_loses_no_argument);
    tcase_add_loop_test(all, threads_run_while_it_is_patched, 0, 3);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
