/* SPDX-License-Identifier: MIT */
/* What a batch keeps while it is open, and what it must not keep: modules that
 * are closed meanwhile, code that comes and goes. */
#include "expect.h"
#include "machine.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <link.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    MODULES = 20 /* more than a batch holds by number */
};

KEEP int fake(int x)
{
    return x + 100;
}
KEEP int victim(int x)
{
    return x + 1;
}
static const patas_fn FAKE = (patas_fn)fake, VICTIM = (patas_fn)victim;

/* ---- modules: copies of one file ----------------------------------------- */

static char names[MODULES][64];

static void copy_file(const char *from, const char *to)
{
    char bytes[4096];
    ssize_t size;
    int in = open(from, O_RDONLY), out = open(to, O_WRONLY | O_CREAT, 0700);
    ck_assert_int_ge(in, 0);
    ck_assert_int_ge(out, 0);
    while ((size = read(in, bytes, sizeof bytes)) > 0)
        ck_assert_int_eq(write(out, bytes, (size_t)size), size);
    (void)close(in);
    (void)close(out);
}

static void *load(unsigned number)
{
    char *name = names[number];
    if (!*name) {
        snprintf(name, sizeof names[0], "/tmp/patas-batches-%d-%u.so",
                 (int)getpid(), number);
        copy_file(BATCHES_MODULE, name);
    }
    void *module = dlopen(name, RTLD_NOW | RTLD_LOCAL);
    ck_assert_msg(module != NULL, "%s", dlerror());
    return module;
}

static bool loaded(unsigned number)
{
    void *module = dlopen(names[number], RTLD_NOW | RTLD_NOLOAD);
    if (module)
        (void)dlclose(module);
    return module != NULL;
}

static int (*answer_of(void *module))(int)
{
    void *symbol = dlsym(module, "module_answer");
    ck_assert_ptr_nonnull(symbol);
    return (int (*)(int))(uintptr_t)symbol;
}

static void remove_files(void)
{
    for (unsigned i = 0; i < MODULES; i++)
        if (*names[i])
            (void)unlink(names[i]);
}

/* Some C libraries never unload anything. */
static bool modules_stay(void)
{
    (void)dlclose(load(0));
    return loaded(0);
}

/* ---- the loader, seen from patas ------------------------------------------
 */

static void *(*real_dlopen)(const char *, int);
static int (*real_dlclose)(void *);
static void (*at_pin)(const char *name); /* once */
static void (*at_unpin)(void);           /* once */
static void *closed;                     /* last */

static void find_real(void)
{
    *(void **)&real_dlopen = dlsym(RTLD_NEXT, "dlopen");
    *(void **)&real_dlclose = dlsym(RTLD_NEXT, "dlclose");
}

/* These stand in front of the C library's, for patas, too. */
void *dlopen(const char *name, int flags)
{
    if (!real_dlopen)
        find_real();
    void (*now)(const char *) = at_pin;
    if (now && name && flags == (RTLD_NOLOAD | RTLD_LAZY)) {
        at_pin = NULL;
        now(name);
    }
    return real_dlopen(name, flags);
}

int dlclose(void *module)
{
    if (!real_dlclose)
        find_real();
    void (*now)(void) = at_unpin;
    at_unpin = NULL;
    closed = module;
    if (now)
        now();
    return real_dlclose(module);
}

/* ---- modules that are closed while a batch is open ------------------------
 */

START_TEST(a_module_stays_as_long_as_its_batch)
{
    patas_patch *patch;
    if (modules_stay())
        return;
    void *module = load(1);
    int (*answer)(int) = answer_of(module);
    patas_batch *batch = patas_batch_begin(NULL);
    OK(patas_batch_replace(batch, (patas_fn)answer, FAKE, &patch, &error));
    ck_assert_int_eq(dlclose(module), 0);
    ck_assert(loaded(1));
    ck_assert_int_eq(answer(1), 8);
    OK(patas_batch_commit(batch, &error));
    ck_assert(!loaded(1));
    REFUSED(patas_restore(patch, &error), PATAS_ERR_UNLOADED,
            PATAS_REASON_NONE);
}
END_TEST

START_TEST(an_aborted_batch_lets_go)
{
    patas_patch *patch;
    if (modules_stay())
        return;
    void *module = load(1);
    patas_batch *batch = patas_batch_begin(NULL);
    OK(patas_batch_replace(batch, (patas_fn)answer_of(module), FAKE, &patch,
                           &error));
    ck_assert_int_eq(dlclose(module), 0);
    patas_batch_abort(batch);
    ck_assert(!loaded(1));
}
END_TEST

START_TEST(a_batch_that_is_over_holds_nothing)
{
    patas_patch *patch;
    if (modules_stay())
        return;
    void *module = load(1);
    patas_batch *batch = patas_batch_begin(NULL);
    patas_batch_abort(batch);
    REFUSED(patas_batch_replace(batch, (patas_fn)answer_of(module), FAKE,
                                &patch, &error),
            PATAS_ERR_STALE, PATAS_REASON_BATCH_ENDED);
    ck_assert_int_eq(dlclose(module), 0);
    ck_assert(!loaded(1));
    /* Nor a replacement's. */
    module = load(2);
    REFUSED(patas_batch_replace(batch, VICTIM, (patas_fn)answer_of(module),
                                &patch, &error),
            PATAS_ERR_STALE, PATAS_REASON_BATCH_ENDED);
    ck_assert_int_eq(dlclose(module), 0);
    ck_assert(!loaded(2));
}
END_TEST

START_TEST(two_batches_hold_one_module)
{
    patas_patch *one, *two;
    if (modules_stay())
        return;
    void *module = load(1);
    int (*answer)(int) = answer_of(module);
    patas_batch *first = patas_batch_begin(NULL);
    patas_batch *second = patas_batch_begin(NULL);
    OK(patas_batch_replace(first, (patas_fn)answer, FAKE, &one, &error));
    OK(patas_batch_replace(second, (patas_fn)answer, VICTIM, &two, &error));
    ck_assert_int_eq(dlclose(module), 0);
    patas_batch_abort(first);
    ck_assert(loaded(1));
    ck_assert_int_eq(answer(1), 8);
    patas_batch_abort(second);
    ck_assert(!loaded(1));
}
END_TEST

START_TEST(more_modules_than_a_batch_holds)
{
    patas_patch *patches[MODULES];
    void *modules[MODULES];
    int (*answers[MODULES])(int);
    if (modules_stay())
        return;
    patas_batch *batch = patas_batch_begin(NULL);
    for (unsigned i = 0; i < MODULES; i++) {
        modules[i] = load(i);
        answers[i] = answer_of(modules[i]);
        OK(patas_batch_replace(batch, (patas_fn)answers[i], FAKE, &patches[i],
                               &error));
    }
    OK(patas_batch_commit(batch, &error));
    for (unsigned i = 0; i < MODULES; i++) {
        ck_assert_int_eq(answers[i](1), 101);
        OK(patas_restore(patches[i], &error));
        ck_assert_int_eq(answers[i](1), 8);
        ck_assert_int_eq(dlclose(modules[i]), 0);
        ck_assert(!loaded(i));
    }
}
END_TEST

START_TEST(closed_once_too_often)
{
    patas_patch *patch;
    if (modules_stay())
        return;
    void *module = load(1);
    patas_batch *batch = patas_batch_begin(NULL);
    OK(patas_batch_replace(batch, (patas_fn)answer_of(module), FAKE, &patch,
                           &error));
    ck_assert_int_eq(dlclose(module), 0);
    ck_assert_int_eq(dlclose(module), 0); /* that was the batch's */
    ck_assert(!loaded(1));
    closed = NULL;
    REFUSED(patas_batch_commit(batch, &error), PATAS_ERR_UNLOADED,
            PATAS_REASON_NONE);
    ck_assert_msg(closed == NULL, "a handle that is gone was closed");
}
END_TEST

/* Two who pin the same module at once, twice: each lets its own go. */
static patas_batch *other;
static int (*asked)(int);
static void other_was_first(const char *name)
{
    patas_patch *patch;
    (void)name;
    OK(patas_batch_replace(other, (patas_fn)asked, VICTIM, &patch, &error));
}

START_TEST(pinned_by_two_at_once)
{
    patas_patch *patch;
    void *modules[3];
    if (modules_stay())
        return;
    patas_batch *batch = patas_batch_begin(NULL);
    other = patas_batch_begin(NULL);
    for (unsigned i = 0; i < 3; i++) {
        modules[i] = load(i);
        asked = answer_of(modules[i]);
        at_pin = other_was_first;
        OK(patas_batch_replace(batch, (patas_fn)asked, FAKE, &patch, &error));
        ck_assert(at_pin == NULL);
    }
    for (unsigned i = 0; i < 3; i++)
        ck_assert_int_eq(dlclose(modules[i]), 0);
    patas_batch_abort(batch);
    for (unsigned i = 0; i < 3; i++)
        ck_assert(loaded(i));
    patas_batch_abort(other);
    for (unsigned i = 0; i < 3; i++)
        ck_assert_msg(!loaded(i), "module %u", i);
}
END_TEST

/* ---- fork while a module is let go ----------------------------------------
 */

static atomic_int in_the_loader;

static int wait_in_the_list(struct dl_phdr_info *info, size_t size, void *data)
{
    (void)info, (void)size, (void)data;
    in_the_loader = 1;
    usleep(50000);
    return 1;
}
static void hold_the_list(void)
{
    dl_iterate_phdr(wait_in_the_list, NULL);
}

static void *aborts(void *batch)
{
    patas_batch_abort(batch);
    return NULL;
}

START_TEST(forked_while_a_module_is_let_go)
{
    patas_patch *patch;
    pthread_t thread;
    void *module = load(1);
    patas_batch *batch = patas_batch_begin(NULL);
    OK(patas_batch_replace(batch, (patas_fn)answer_of(module), FAKE, &patch,
                           &error));
    at_unpin = hold_the_list;
    ck_assert_int_eq(pthread_create(&thread, NULL, aborts, batch), 0);
    while (!in_the_loader)
        usleep(100);
    pid_t pid = fork();
    if (!pid) {
        (void)signal(SIGALRM, SIG_DFL);
        (void)alarm(60); /* a list that stays locked stays so for ever */
        _exit(patas_replace(VICTIM, FAKE, &patch, NULL) != PATAS_OK ||
              victim(1) != 101);
    }
    int status = -1;
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_int_eq(status, 0);
    pthread_join(thread, NULL);
    ck_assert_int_eq(dlclose(module), 0);
}
END_TEST

/* ---- many at once -------------------------------------------------------
 */

enum {
    THREADS = 4,
    ROUNDS = MACHINE_ROUNDS(150)
};
static atomic_int mistakes;

/* Each thread has a module that comes and goes, and all share one. */
static void one_round(unsigned number, unsigned round, void *shared)
{
    patas_patch *patches[3];
    void *module = real_dlopen(names[number], RTLD_NOW | RTLD_LOCAL);
    int (*answer)(int) =
        (int (*)(int))(uintptr_t)dlsym(module, "module_answer");
    patas_fn replacement =
        (patas_fn)(uintptr_t)dlsym(module, "module_replacement");
    patas_fn common = (patas_fn)(uintptr_t)dlsym(shared, "module_answer");
    patas_batch *batch = patas_batch_begin(NULL);
    mistakes += patas_batch_replace(batch, (patas_fn)answer, FAKE, &patches[0],
                                    NULL) != PATAS_OK;
    mistakes += patas_batch_replace(batch, common, replacement, &patches[1],
                                    NULL) != PATAS_OK;
    if (round % 3 == 0)
        (void)real_dlclose(module); /* both stay: the batch is open */
    mistakes += patas_batch_replace(batch, (patas_fn)answer, VICTIM,
                                    &patches[2], NULL) != PATAS_OK;
    mistakes += answer(1) != 8;
    if (round % 4 == 1) {
        patas_batch_abort(batch);
    } else {
        mistakes += patas_batch_commit(batch, NULL) != PATAS_OK;
        /* The module of a live replacement stays. */
        mistakes += answer(1) != 2;
        mistakes += patas_restore(patches[2], NULL) != PATAS_OK;
        mistakes += answer(1) != 101;
        mistakes += patas_restore(patches[0], NULL) != PATAS_OK;
        mistakes += answer(1) != 8;
        mistakes += patas_restore(patches[1], NULL) != PATAS_OK;
    }
    if (round % 3)
        (void)real_dlclose(module);
}

static void *rounds(void *number)
{
    void *shared = real_dlopen(names[0], RTLD_NOW | RTLD_LOCAL);
    for (unsigned i = 0; i < ROUNDS; i++)
        one_round((unsigned)(uintptr_t)number, i, shared);
    (void)real_dlclose(shared);
    return NULL;
}

START_TEST(modules_come_and_go_in_many_batches_at_once)
{
    pthread_t threads[THREADS];
    if (modules_stay())
        return;
    for (unsigned i = 1; i <= THREADS; i++)
        (void)dlclose(load(i));
    for (uintptr_t i = 0; i < THREADS; i++)
        ck_assert_int_eq(
            pthread_create(&threads[i], NULL, rounds, (void *)(i + 1)), 0);
    for (unsigned i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    ck_assert_int_eq(mistakes, 0);
    for (unsigned i = 0; i <= THREADS; i++)
        ck_assert_msg(!loaded(i), "module %u", i);
}
END_TEST

/* ---- code of no module that comes and goes between members ----------------
 */

static const uint8_t seven[] = MACHINE_ADDS_SEVEN;

START_TEST(a_replacement_that_became_code)
{
    patas_patch *patch;
    uint8_t *page = code_page(0, seven, sizeof seven, PROT_READ | PROT_WRITE);
    patas_fn jit = (patas_fn)(uintptr_t)page;
    patas_batch *batch = patas_batch_begin(NULL);
    REFUSED(patas_batch_replace(batch, VICTIM, jit, &patch, &error),
            PATAS_ERR_ARGUMENT, PATAS_REASON_NOT_EXECUTABLE);
    ck_assert_int_eq(mprotect(page, 4096, PROT_READ | PROT_EXEC), 0);
    OK(patas_batch_replace(batch, VICTIM, jit, &patch, &error));
    patas_batch_abort(batch);
}
END_TEST

START_TEST(a_replacement_that_is_code_no_more)
{
    patas_patch *patch;
    uint8_t *page = code_page(0, seven, sizeof seven, PROT_READ | PROT_EXEC);
    patas_fn jit = (patas_fn)(uintptr_t)page;
    patas_batch *batch = patas_batch_begin(NULL);
    OK(patas_batch_replace(batch, VICTIM, jit, &patch, &error));
    ck_assert_int_eq(munmap(page, 4096), 0);
    REFUSED(patas_batch_replace(batch, FAKE, jit, &patch, &error),
            PATAS_ERR_ARGUMENT, PATAS_REASON_UNMAPPED);
    patas_batch_abort(batch);
}
END_TEST

START_TEST(a_target_that_is_code_no_more)
{
    patas_patch *patch;
    uint8_t *page = code_page(0, seven, sizeof seven, PROT_READ | PROT_EXEC);
    patas_batch *batch = patas_batch_begin(NULL);
    OK(patas_batch_replace(batch, (patas_fn)(uintptr_t)page, FAKE, &patch,
                           &error));
    ck_assert_int_eq(mprotect(page, 4096, PROT_READ | PROT_WRITE), 0);
    REFUSED(patas_batch_replace(batch, (patas_fn)(uintptr_t)(page + 64), FAKE,
                                &patch, &error),
            PATAS_ERR_NOT_CODE, PATAS_REASON_NOT_EXECUTABLE);
    patas_batch_abort(batch);
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_checked_fixture(tests, NULL, remove_files);
    tcase_add_test(tests, a_module_stays_as_long_as_its_batch);
    tcase_add_test(tests, an_aborted_batch_lets_go);
    tcase_add_test(tests, a_batch_that_is_over_holds_nothing);
    tcase_add_test(tests, two_batches_hold_one_module);
    tcase_add_test(tests, more_modules_than_a_batch_holds);
    tcase_add_test(tests, closed_once_too_often);
    tcase_add_test(tests, pinned_by_two_at_once);
    tcase_add_test(tests, forked_while_a_module_is_let_go);
    tcase_add_test(tests, modules_come_and_go_in_many_batches_at_once);
    tcase_add_test(tests, a_replacement_that_became_code);
    tcase_add_test(tests, a_replacement_that_is_code_no_more);
    tcase_add_test(tests, a_target_that_is_code_no_more);
}

EXPECT_MAIN("batches", add)
