/* SPDX-License-Identifier: MIT */
/*
 * patas calls nothing that may be patched, and what it does to a program is
 * not seen by unwinders, jumps, signals, or other patchers.
 */
#include "expect.h"
#include "machine.h"

#include <dlfcn.h>
#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

int throws_from_deep(void);
int throws_from_moved_call(void);

/* A thousand functions: number i answers i, with different first bytes. They
 * are in self_protection_*.S, as the other functions without a body. */
enum {
    THOUSAND = 1000,
    ALONE = MACHINE_ROUNDS(200) /* of them, the others in a batch */
};
extern const char thousand[];
static int (*numbered(int i))(void)
{
    return (int (*)(void))(uintptr_t)(thousand + 32 * i);
}
KEEP int minus_one(void)
{
    return -1;
}
static patas_patch *thousand_patches[THOUSAND];

/* Uses nothing but patas: everything else may be replaced. */
static int patch_a_thousand(void)
{
    int wrong = 0;
    patas_batch *batch = NULL;
    for (int i = 0; i < THOUSAND; i++) {
        if (i < ALONE) {
            wrong += patas_replace((patas_fn)numbered(i), (patas_fn)minus_one,
                                   &thousand_patches[i], NULL) != PATAS_OK;
            continue;
        }
        if (!batch)
            batch = patas_batch_begin(NULL);
        if (!batch)
            return THOUSAND;
        wrong += patas_batch_replace(batch, (patas_fn)numbered(i),
                                     (patas_fn)minus_one, &thousand_patches[i],
                                     NULL) != PATAS_OK;
    }
    wrong += patas_batch_commit(batch, NULL) != PATAS_OK;
    for (int i = 0; i < THOUSAND; i++) {
        wrong += numbered(i)() != -1;
        wrong += ((int (*)(void))patas_original(thousand_patches[i]))() != i;
    }
    for (int i = 0; i < THOUSAND; i += 2)
        wrong += patas_restore(thousand_patches[i], NULL) != PATAS_OK;
    for (int i = 0; i < THOUSAND; i++)
        wrong += numbered(i)() != (i % 2 ? -1 : i);
    return wrong;
}

/* The tools of the C library, each with a fake that passes on, and one that
 * fails. `passed` counts; the originals come from the handles. */
static atomic_int passed; /* calls that any pass-through saw, */

enum tool {
    T_MALLOC,
    T_FREE,
    T_CALLOC,
    T_REALLOC,
    T_MMAP,
    T_MUNMAP,
    T_MPROTECT,
    T_MEMCPY,
    T_MEMMOVE,
    T_MEMSET,
    T_STRLEN,
    T_WRITE,
    T_LOCK,
    T_SIGACTION,
    T_SYSCALL,
    T_OPEN,
    T_READ,
    TOOLS
};
static atomic_int seen[TOOLS]; /* and each */
static patas_patch *tool_patches[TOOLS];
static patas_fn count_and_get(enum tool tool)
{
    passed++;
    seen[tool]++;
    return patas_original(tool_patches[tool]);
}
#define TO(tool, type) ((type)count_and_get(tool))

static void *pass_malloc(size_t n)
{
    return TO(T_MALLOC, void *(*)(size_t))(n);
}
static void pass_free(void *p)
{
    TO(T_FREE, void (*)(void *))(p);
}
static void *pass_calloc(size_t n, size_t m)
{
    return TO(T_CALLOC, void *(*)(size_t, size_t))(n, m);
}
static void *pass_realloc(void *p, size_t n)
{
    return TO(T_REALLOC, void *(*)(void *, size_t))(p, n);
}
static void *pass_mmap(void *p, size_t n, int a, int b, int c, off_t d)
{
    return TO(T_MMAP, void *(*)(void *, size_t, int, int, int, off_t))(p, n, a,
                                                                       b, c, d);
}
static int pass_munmap(void *p, size_t n)
{
    return TO(T_MUNMAP, int (*)(void *, size_t))(p, n);
}
static int pass_mprotect(void *p, size_t n, int a)
{
    return TO(T_MPROTECT, int (*)(void *, size_t, int))(p, n, a);
}
static void *pass_memcpy(void *to, const void *from, size_t n)
{
    return TO(T_MEMCPY, void *(*)(void *, const void *, size_t))(to, from, n);
}
static void *pass_memmove(void *to, const void *from, size_t n)
{
    return TO(T_MEMMOVE, void *(*)(void *, const void *, size_t))(to, from, n);
}
static void *pass_memset(void *to, int byte, size_t n)
{
    return TO(T_MEMSET, void *(*)(void *, int, size_t))(to, byte, n);
}
static size_t pass_strlen(const char *s)
{
    return TO(T_STRLEN, size_t(*)(const char *))(s);
}
static ssize_t pass_write(int fd, const void *p, size_t n)
{
    return TO(T_WRITE, ssize_t(*)(int, const void *, size_t))(fd, p, n);
}
static int pass_lock(pthread_mutex_t *m)
{
    return TO(T_LOCK, int (*)(pthread_mutex_t *))(m);
}
static int pass_sigaction(int n, const struct sigaction *a, struct sigaction *o)
{
    return TO(T_SIGACTION, int (*)(int, const struct sigaction *,
                                   struct sigaction *))(n, a, o);
}
static long pass_syscall(long n, long a, long b, long c, long d, long e, long f)
{
    return TO(T_SYSCALL, long (*)(long, long, long, long, long, long, long))(
        n, a, b, c, d, e, f);
}
static int pass_open(const char *path, int flags, int mode)
{
    return TO(T_OPEN, int (*)(const char *, int, int))(path, flags, mode);
}
static ssize_t pass_read(int fd, void *p, size_t n)
{
    return TO(T_READ, ssize_t(*)(int, void *, size_t))(fd, p, n);
}

static void *fail_null(void)
{
    return NULL;
}
static void *fail_map(void)
{
    return MAP_FAILED;
}
static long fail_minus(void)
{
    return -1;
}
static int fail_lock(void)
{
    return EDEADLK;
}

static const struct {
    const char *name;
    patas_fn pass, fail;
} tools[TOOLS] = {
#define TOOL(name, pass, fail)                \
    {                                         \
#name, (patas_fn)pass, (patas_fn)fail \
    }
    [T_MALLOC] = TOOL(malloc, pass_malloc, fail_null),
    [T_FREE] = TOOL(free, pass_free, fail_minus),
    [T_CALLOC] = TOOL(calloc, pass_calloc, fail_null),
    [T_REALLOC] = TOOL(realloc, pass_realloc, fail_null),
    [T_MMAP] = TOOL(mmap, pass_mmap, fail_map),
    [T_MUNMAP] = TOOL(munmap, pass_munmap, fail_minus),
    [T_MPROTECT] = TOOL(mprotect, pass_mprotect, fail_minus),
    [T_MEMCPY] = TOOL(memcpy, pass_memcpy, fail_null),
    [T_MEMMOVE] = TOOL(memmove, pass_memmove, fail_null),
    [T_MEMSET] = TOOL(memset, pass_memset, fail_null),
    [T_STRLEN] = TOOL(strlen, pass_strlen, fail_minus),
    [T_WRITE] = TOOL(write, pass_write, fail_minus),
    [T_LOCK] = TOOL(pthread_mutex_lock, pass_lock, fail_lock),
    [T_SIGACTION] = TOOL(sigaction, pass_sigaction, fail_minus),
    [T_SYSCALL] = TOOL(syscall, pass_syscall, fail_minus),
    [T_OPEN] = TOOL(open, pass_open, fail_minus),
    [T_READ] = TOOL(read, pass_read, fail_minus),
};

static patas_fn tool_address(int tool)
{
    void *symbol = dlsym(RTLD_DEFAULT, tools[tool].name);
    ck_assert_ptr_nonnull(symbol);
    return (patas_fn)(uintptr_t)symbol;
}

/* A little of the C library's work, by way of the patched tools. */
static int use_the_library(void)
{
    char text[64];
    char *block = malloc(500);
    if (!block)
        return 1;
    memset(block, 'x', 499);
    block[499] = 0;
    block = realloc(block, 5000);
    int length = snprintf(text, sizeof text, "%zu", strlen(block));
    free(block);
    FILE *file = fopen("/proc/self/status", "re");
    if (!file || !fgets(text + 8, 40, file))
        return 2;
    fclose(file);
    return length == 3 && strcmp(text, "499") == 0 ? 0 : 3;
}

START_TEST(each_tool_passed_through)
{
    OK(patas_replace(tool_address(_i), tools[_i].pass, &tool_patches[_i],
                     &error));
    ck_assert_int_eq(patch_a_thousand(), 0);
    ck_assert_int_eq(use_the_library(), 0);
    OK(patas_restore(tool_patches[_i], &error));
    OK(patas_restore_all(&error));
    for (int i = 0; i < THOUSAND; i++)
        ck_assert_int_eq(numbered(i)(), i);
}
END_TEST

START_TEST(all_tools_passed_through_at_once)
{
    for (int i = 0; i < TOOLS; i++)
        OK(patas_replace(tool_address(i), tools[i].pass, &tool_patches[i],
                         &error));
    passed = 0;
    ck_assert_int_eq(use_the_library(), 0);
    ck_assert_int_gt(passed, 5); /* they are really in the way */
    int before[TOOLS], after[TOOLS];
    for (int i = 0; i < TOOLS; i++)
        before[i] = seen[i];
    int wrong = patch_a_thousand();
    for (int i = 0; i < TOOLS; i++)
        after[i] = seen[i];
    patas_status status = patas_restore_all(NULL);
    ck_assert_int_eq(wrong, 0);
    ck_assert_int_eq(status, PATAS_OK);
    /* The engine called none of them. (The loader takes its own lock when it
     * is asked for its modules, and takes no answer from it.) */
    for (int i = 0; i < TOOLS; i++)
        if (i != T_LOCK)
            ck_assert_msg(before[i] == after[i], "%s: %d calls", tools[i].name,
                          after[i] - before[i]);
    ck_assert_int_eq(use_the_library(), 0);
}
END_TEST

static int with_failing(int from, int to)
{
    patas_fn addresses[TOOLS];
    int wrong = 0;
    for (int i = from; i < to; i++)
        addresses[i] = tool_address(i);
    for (int i = from; i < to; i++)
        wrong += 10000 * (patas_replace(addresses[i], tools[i].fail,
                                        &tool_patches[i], NULL) != PATAS_OK);
    wrong += patch_a_thousand();
    wrong += 100000 * (patas_restore_all(NULL) != PATAS_OK);
    for (int i = 0; i < THOUSAND; i++)
        wrong += numbered(i)() != i;
    return wrong;
}

START_TEST(each_tool_failing)
{
    ck_assert_int_eq(with_failing(_i, _i + 1), 0);
    ck_assert_int_eq(use_the_library(), 0);
}
END_TEST

START_TEST(all_tools_failing_at_once)
{
    ck_assert_int_eq(with_failing(0, TOOLS), 0);
    ck_assert_int_eq(use_the_library(), 0);
}
END_TEST

/* Foreign patchers. ------------------------------------------------------- */

KEEP __attribute__((aligned(16))) int victim(int x)
{
    return x + 1;
}
KEEP int ours(int x)
{
    return x + 100;
}
KEEP int theirs(int x)
{
    return x + 10000;
}
static const patas_fn VICTIM = (patas_fn)victim, OURS = (patas_fn)ours;

START_TEST(a_foreign_hook_on_top_is_left_alone)
{
    patas_patch *patch;
    uint8_t jump[MACHINE_JUMP], before[MACHINE_JUMP];
    memcpy(before, (const void *)(uintptr_t)VICTIM, MACHINE_JUMP);
    OK(patas_replace(VICTIM, OURS, &patch, &error));
    machine_jump(jump, (uintptr_t)VICTIM, (uintptr_t)theirs);
    uint8_t under[MACHINE_JUMP];
    memcpy(under, (const void *)(uintptr_t)VICTIM, MACHINE_JUMP);
    poke((void *)(uintptr_t)VICTIM, jump, MACHINE_JUMP);
    ck_assert_int_eq(victim(1), 10001);
    patas_error failure = {0};
    ck_assert_int_eq(patas_restore(patch, &failure), PATAS_ERR_CHANGED);
    ck_assert_uint_eq(failure.target, (uintptr_t)VICTIM);
    ck_assert_mem_eq((const void *)(uintptr_t)VICTIM, jump, MACHINE_JUMP);
    ck_assert_int_eq(victim(1), 10001);
    /* They go again, and put back what they found: our jump. The refused
     * restore changed nothing; suspended, the patch does no harm, and now it
     * can go. */
    poke((void *)(uintptr_t)VICTIM, under, MACHINE_JUMP);
    ck_assert_int_eq(victim(1), ours(1));
    OK(patas_suspend(patch, &error));
    ck_assert_int_eq(victim(1), 2);
    OK(patas_restore(patch, &error));
    ck_assert_int_eq(victim(1), 2);
    ck_assert_mem_eq((const void *)(uintptr_t)VICTIM, before, MACHINE_JUMP);
}
END_TEST

/* Where the fifth byte is kept, it is the one: it belongs to the jump, too. */
int part_of_the_jump(int x);

START_TEST(a_foreign_jump_that_begins_like_ours_is_left_alone)
{
    patas_patch *patch;
    patas_fn target = (patas_fn)part_of_the_jump;
    patas_options strict = {.size = sizeof strict, .flags = PATAS_STRICT};
    OK(patas_replace_with(target, OURS, &strict, &patch, &error));
    uint8_t *one = (uint8_t *)(uintptr_t)target + MACHINE3(4, 4, 0);
    uint8_t old = *one, theirs_now = (uint8_t)(old + 1);
    poke(one, &theirs_now, 1);
    struct expect_bytes before = bytes_of(target, 16);
    ck_assert_int_eq(patas_restore(patch, NULL), PATAS_ERR_CHANGED);
    SAME_BYTES(before);
    poke(one, &old, 1);
    OK(patas_restore(patch, &error));
    ck_assert_int_eq(part_of_the_jump(1), 2);
}
END_TEST

START_TEST(a_foreign_hook_below_is_the_original)
{
    patas_patch *patch;
    uint8_t jump[MACHINE_JUMP];
    machine_jump(jump, (uintptr_t)VICTIM, (uintptr_t)theirs);
    poke((void *)(uintptr_t)VICTIM, jump, MACHINE_JUMP);
    OK(patas_replace(VICTIM, OURS, &patch, &error));
    ck_assert_int_eq(victim(1), 101);
    ck_assert_int_eq(((int (*)(int))patas_original(patch))(1), 10001);
    OK(patas_restore(patch, &error));
    ck_assert_mem_eq((const void *)(uintptr_t)VICTIM, jump, MACHINE_JUMP);
    ck_assert_int_eq(victim(1), 10001);
}
END_TEST

/* Memory of a just-in-time compiler: what is behind the bytes that a patch owns
 * is another instruction by now, or the end of the same one. */
START_TEST(code_that_was_made_anew_has_a_head_of_its_own)
{
#if defined(__aarch64__)
    static const uint8_t code[] = {0x20, 0x00, 0x80, 0x52,  /* mov w0, #1 */
                                   0xc0, 0x03, 0x5f, 0xd6}; /* ret */
#else
    static const uint8_t code[] = {
        0xf3, 0x0f, 0x1e, 0xfa,    /* endbr64 or endbr32 */
        0xb8, 1,    0,    0,    0, /* mov $1, %eax */
        0xc3};
#endif
    uint8_t *page = code_page(0, code, sizeof code, PROT_READ | PROT_EXEC);
    int (*made)(int) = (int (*)(int))(uintptr_t)page;
    patas_plan_info info = {.size = sizeof info};
    patas_stats stats = {.size = sizeof stats}, then = {.size = sizeof then};
    patas_patch *patch;
    for (int answer = 1; answer < 4; answer++) {
        uint8_t number = (uint8_t)MACHINE3(answer, answer, answer << 5);
        poke(page + MACHINE3(5, 5, 0), &number, 1);
        OK(patas_plan((patas_fn)made, &info, &error));
        OK(patas_replace((patas_fn)made, OURS, &patch, &error));
        ck_assert_int_eq(((int (*)(int))patas_original(patch))(1), answer);
        const unsigned moved = info.moved;
        OK(patas_plan((patas_fn)made, &info, &error));
        ck_assert_uint_eq(info.moved, moved);
        OK(patas_restore(patch, &error));
        ck_assert_int_eq(made(1), answer);
    }
    /* The same code again: the same record. */
    ck_assert_int_eq(patas_stats_read(&stats), PATAS_OK);
    OK(patas_replace((patas_fn)made, OURS, &patch, &error));
    OK(patas_restore(patch, &error));
    ck_assert_int_eq(patas_stats_read(&then), PATAS_OK);
    ck_assert_uint_eq(stats.targets, then.targets);
    ck_assert_uint_eq(stats.code_bytes, then.code_bytes);
}
END_TEST

/* Modules that come and go. ----------------------------------------------- */

static int (*module_function(void *module, const char *name))(int)
{
    void *symbol = dlsym(module, name);
    ck_assert_ptr_nonnull(symbol);
    return (int (*)(int))(uintptr_t)symbol;
}
static void *load(void)
{
    void *module = dlopen(SELF_PROTECTION_MODULE, RTLD_NOW | RTLD_LOCAL);
    ck_assert_msg(module != NULL, "%s", dlerror());
    return module;
}

START_TEST(the_targets_module_is_unloaded)
{
    void *module = load();
    int (*answer)(int) = module_function(module, "module_answer");
    uintptr_t was_at = (uintptr_t)answer;
    patas_patch *patch, *second;
    OK(patas_replace((patas_fn)answer, OURS, &patch, &error));
    ck_assert_int_eq(answer(1), 101);
    ck_assert_int_eq(dlclose(module), 0);
    if (dlopen(SELF_PROTECTION_MODULE, RTLD_NOW | RTLD_NOLOAD) == NULL) {
        patas_error failure = {0};
        patas_status status = patas_restore(patch, &failure);
        ck_assert_msg(status == PATAS_ERR_UNLOADED, "%s",
                      patas_status_name(status));
        ck_assert_int_eq(patas_restore(patch, NULL), PATAS_ERR_STALE);
    }
    /* Loaded again, mostly at the same address: another module. */
    module = load();
    answer = module_function(module, "module_answer");
    if ((uintptr_t)answer != was_at)
        return;
    ck_assert_int_eq(answer(1), 8);
    ck_assert_int_eq(patas_restore_all(NULL), PATAS_OK);
    ck_assert_int_eq(answer(1), 8);
    OK(patas_replace((patas_fn)answer, OURS, &second, &error));
    ck_assert_int_eq(answer(1), 101);
    ck_assert_int_eq(((int (*)(int))patas_original(second))(1), 8);
    OK(patas_restore(second, &error));
    ck_assert_int_eq(answer(1), 8);
}
END_TEST

static int is_loaded(void)
{
    void *module = dlopen(SELF_PROTECTION_MODULE, RTLD_NOW | RTLD_NOLOAD);
    return module && dlclose(module) == 0;
}

/* Members are planned one by one: what the first ones were planned for is still
 * there at the end, however it ends. */
START_TEST(a_batch_keeps_its_targets_modules)
{
    void *module = load();
    patas_fn answer = (patas_fn)module_function(module, "module_answer");
    patas_fn other = (patas_fn)module_function(module, "module_replacement");
    patas_patch *patches[2];
    patas_batch *batch = patas_batch_begin(NULL);
    ck_assert_ptr_nonnull(batch);
    OK(patas_batch_replace(batch, answer, OURS, &patches[0], &error));
    ck_assert_int_eq(dlclose(module), 0);
    ck_assert(is_loaded());
    OK(patas_batch_replace(batch, other, OURS, &patches[1], &error));
    if (_i) {
        OK(patas_batch_commit(batch, &error));
        ck_assert(!is_loaded());
        ck_assert_int_eq(patas_restore(patches[0], NULL), PATAS_ERR_UNLOADED);
        ck_assert_int_eq(patas_restore(patches[1], NULL), PATAS_ERR_UNLOADED);
    } else {
        patas_batch_abort(batch);
        ck_assert(!is_loaded());
        ck_assert_int_eq(patas_restore(patches[0], NULL), PATAS_ERR_STALE);
    }
}
END_TEST

START_TEST(reloaded_before_patas_is_asked)
{
    void *module = load();
    int (*answer)(int) = module_function(module, "module_answer");
    uintptr_t was_at = (uintptr_t)answer;
    patas_patch *patch;
    OK(patas_replace((patas_fn)answer, OURS, &patch, &error));
    ck_assert_int_eq(dlclose(module), 0);
    module = load();
    answer = module_function(module, "module_answer");
    if ((uintptr_t)answer != was_at)
        return;
    struct expect_bytes fresh = bytes_of((patas_fn)answer, 16);
    ck_assert_int_eq(answer(1), 8);
    /* The old patch is of a module that is gone; the new one's bytes stay. */
    ck_assert_int_ne(patas_restore(patch, NULL), PATAS_OK);
    SAME_BYTES(fresh);
    OK(patas_replace((patas_fn)answer, OURS, &patch, &error));
    ck_assert_int_eq(answer(1), 101);
    OK(patas_restore(patch, &error));
    SAME_BYTES(fresh);
}
END_TEST

START_TEST(the_replacements_module_is_unloaded)
{
    void *module = load();
    patas_patch *patch;
    OK(patas_replace(VICTIM,
                     (patas_fn)module_function(module, "module_replacement"),
                     &patch, &error));
    ck_assert_int_eq(victim(1), 4001);
    (void)dlclose(module);
    /* Either it stays while it is needed, or the patch went before it. */
    int got = victim(1);
    ck_assert(got == 4001 || got == 2);
    (void)patas_restore(patch, NULL);
    ck_assert_int_eq(victim(1), 2);
}
END_TEST

/* Signals, recursion, jumps, exceptions, backtraces. ----------------------- */

static patas_patch *victim_patch;
KEEP int through(int x)
{
    return ((int (*)(int))patas_original(victim_patch))(x) + 1000;
}
static atomic_int handled, odd;
static void calls_victim(int number)
{
    int got = victim(number);
    handled++;
    odd += got != number + 1 && got != number + 1001;
}

START_TEST(handlers_call_what_is_being_patched)
{
    /* One original that stays: handlers may be late. */
    patas_patch *lowest;
    OK(patas_replace(VICTIM, (patas_fn)through, &victim_patch, &error));
    OK(patas_suspend(victim_patch, &error));
    OK(patas_replace((patas_fn)theirs, OURS, &lowest, &error));
    signal(SIGALRM, calls_victim);
    for (long i = 0; handled < 500; i++) {
        alarm_after(i * 7 % 300);
        OK(patas_resume(victim_patch, &error));
        OK(patas_restore(lowest, &error));
        OK(patas_suspend(victim_patch, &error));
        OK(patas_replace((patas_fn)theirs, OURS, &lowest, &error));
    }
    alarm_after(-1);
    ck_assert_int_eq(odd, 0);
    OK(patas_restore_all(&error));
    ck_assert_int_eq(victim(1), 2);
}
END_TEST

KEEP unsigned long fibonacci(unsigned long n)
{
    return n < 2 ? n : fibonacci(n - 1) + fibonacci(n - 2);
}
static patas_patch *fibonacci_patch;
static unsigned long fibonacci_calls;
KEEP unsigned long fibonacci_counts(unsigned long n)
{
    fibonacci_calls++;
    return ((unsigned long (*)(unsigned long))patas_original(fibonacci_patch))(
        n);
}

START_TEST(recursion_goes_through_the_patch)
{
    OK(patas_replace((patas_fn)fibonacci, (patas_fn)fibonacci_counts,
                     &fibonacci_patch, &error));
    ck_assert_uint_eq(fibonacci(20), 6765);
    /* gcc turns one of the two calls into a loop, never both. */
    ck_assert_uint_gt(fibonacci_calls, 100);
    OK(patas_restore(fibonacci_patch, &error));
    ck_assert_uint_eq(fibonacci(20), 6765);
}
END_TEST

static jmp_buf back;
KEEP int jumps_out(int x)
{
    if (x)
        longjmp(back, x);
    return 0;
}
static patas_patch *jump_patch;
KEEP int passes_jump(int x)
{
    return ((int (*)(int))patas_original(jump_patch))(x);
}

START_TEST(longjmp_through_a_patched_frame)
{
    OK(patas_replace((patas_fn)jumps_out, (patas_fn)passes_jump, &jump_patch,
                     &error));
    for (volatile int i = 1; i < 100; i++) {
        int got = setjmp(back);
        if (!got) {
            (void)jumps_out(i);
            ck_abort_msg("did not jump");
        }
        ck_assert_int_eq(got, i);
    }
    OK(patas_restore(jump_patch, &error));
}
END_TEST

START_TEST(exceptions_through_patched_frames)
{
    ck_assert_int_eq(throws_from_deep(), 0);
}
END_TEST

START_TEST(an_exception_from_a_moved_call)
{
    ck_assert_int_eq(throws_from_moved_call(), 0);
}
END_TEST

static int frames, strangers;
KEEP int looks_back(int x)
{
    void *stack[64];
    Dl_info info;
    frames = backtrace(stack, 64);
    for (int i = 0; i < frames; i++)
        strangers += !dladdr(stack[i], &info);
    return x;
}
/* Its first instruction, which moves, is the call of aligned_look(). */
int calls_first(int x);
MACHINE_CALLED int aligned_look MACHINE_PARAMETERS;
int aligned_look MACHINE_PARAMETERS
{
    return looks_back(x) + 1;
}

START_TEST(backtraces_name_no_island)
{
    patas_patch *patch;
    int plain, calls_first_frames;
    (void)looks_back(0);
    plain = frames;
    (void)calls_first(1);
    calls_first_frames = frames;
    ck_assert_int_gt(plain, 2);
    OK(patas_replace((patas_fn)calls_first, OURS, &patch, &error));
    strangers = 0;
    ck_assert_int_eq(((int (*)(int))patas_original(patch))(1), 2);
    ck_assert_int_eq(strangers, 0);
    ck_assert_int_eq(frames, calls_first_frames);
    OK(patas_restore(patch, &error));
    /* From a replacement, and from below one. */
    OK(patas_replace((patas_fn)jumps_out, (patas_fn)looks_back, &patch,
                     &error));
    (void)jumps_out(0);
    ck_assert_int_eq(strangers, 0);
    ck_assert_int_eq(frames, plain);
}
END_TEST

static void add_tests(TCase *tests)
{
    tcase_add_loop_test(tests, each_tool_passed_through, 0, TOOLS);
    tcase_add_test(tests, all_tools_passed_through_at_once);
    tcase_add_loop_test(tests, each_tool_failing, 0, TOOLS);
    tcase_add_test(tests, all_tools_failing_at_once);
    tcase_add_test(tests, a_foreign_hook_on_top_is_left_alone);
    tcase_add_test(tests, a_foreign_jump_that_begins_like_ours_is_left_alone);
    tcase_add_test(tests, a_foreign_hook_below_is_the_original);
    tcase_add_test(tests, code_that_was_made_anew_has_a_head_of_its_own);
    tcase_add_test(tests, the_targets_module_is_unloaded);
    tcase_add_loop_test(tests, a_batch_keeps_its_targets_modules, 0, 2);
    tcase_add_test(tests, reloaded_before_patas_is_asked);
    tcase_add_test(tests, the_replacements_module_is_unloaded);
    tcase_add_test(tests, handlers_call_what_is_being_patched);
    tcase_add_test(tests, recursion_goes_through_the_patch);
    tcase_add_test(tests, longjmp_through_a_patched_frame);
    tcase_add_test(tests, exceptions_through_patched_frames);
    tcase_add_test(tests, an_exception_from_a_moved_call);
    tcase_add_test(tests, backtraces_name_no_island);
}

EXPECT_MAIN("self-protection", add_tests)
