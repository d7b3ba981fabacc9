/* SPDX-License-Identifier: MIT */
/* What live tests ask again and again: it worked; it was refused and nothing
 * changed; these bytes as code. */
#ifndef PATAS_TESTS_EXPECT_H
#define PATAS_TESTS_EXPECT_H

#include <check.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>

#include "patas.h"

/* A function that is called where it stands, and never foreseen. */
#if defined(__clang__)
#define KEEP static __attribute__((noinline, optnone, used))
#else
#define KEEP static __attribute__((noinline, noclone, noipa, used))
#endif

static inline const char *expect_text(const patas_error *error)
{
    static char text[512];
    patas_error_text(error, text, sizeof text);
    return text;
}

/* `call` has `&error` among its arguments. */
#define OK(call)                                                        \
    do {                                                                \
        patas_error error = {0};                                        \
        patas_status status_ = (call);                                  \
        ck_assert_msg(status_ == PATAS_OK, "%s: %s: %s", #call,         \
                      patas_status_name(status_), expect_text(&error)); \
        ck_assert_int_eq(error.status, PATAS_OK);                       \
    } while (0)

#define REFUSED(call, want, why)                                               \
    do {                                                                       \
        patas_error error = {0};                                               \
        patas_status status_ = (call);                                         \
        ck_assert_msg(status_ == (want) && error.status == (want),             \
                      "%s: %s (%s), not %s", #call,                            \
                      patas_status_name(status_), expect_text(&error), #want); \
        ck_assert_msg(error.reason == (why), "%s: reason %u (%s), not %s",     \
                      #call, error.reason, expect_text(&error), #why);         \
        ck_assert_uint_gt(patas_error_text(&error, NULL, 0), 0);               \
    } while (0)

/* The rest of a test takes something that not every system has. */
#define CANT_HERE(why)                               \
    do {                                             \
        printf("%s: left out: %s\n", __func__, why); \
        return;                                      \
    } while (0)

/* The bytes of a function before and after. */
struct expect_bytes {
    const void *at;
    uint8_t bytes[16];
    size_t size;
};
static inline struct expect_bytes bytes_of(patas_fn function, size_t size)
{
    struct expect_bytes now = {(const void *)(uintptr_t)function, {0}, size};
    memcpy(now.bytes, now.at, size);
    return now;
}
#define SAME_BYTES(before) \
    ck_assert_mem_eq((before).bytes, (before).at, (before).size)

/* A page of code of our own, `size` bytes of it at `offset`; writable, too, if
 * a test has to meddle with it. The page behind it is not mapped. */
static inline uint8_t *code_page(size_t offset, const void *bytes, size_t size,
                                 int prot)
{
    uint8_t *page = mmap(NULL, 3 * 4096, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    ck_assert_ptr_ne(page, MAP_FAILED);
    ck_assert_int_eq(munmap(page + 2 * 4096, 4096), 0);
    memset(page, 0x90, 2 * 4096);
    memcpy(page + offset, bytes, size);
    __builtin___clear_cache((char *)page, (char *)page + 2 * 4096);
    ck_assert_int_eq(mprotect(page, 2 * 4096, prot), 0);
    return page;
}

/* Writes over code as a foreign patcher would. */
static inline void poke(void *at, const void *bytes, size_t size)
{
    uintptr_t page = (uintptr_t)at & ~(uintptr_t)4095;
    ck_assert_int_eq(
        mprotect((void *)page, 8192, PROT_READ | PROT_WRITE | PROT_EXEC), 0);
    memcpy(at, bytes, size);
    __builtin___clear_cache((char *)at, (char *)at + size);
    ck_assert_int_eq(mprotect((void *)page, 8192, PROT_READ | PROT_EXEC), 0);
}

/* One SIGALRM, some microseconds from now; none below 0. (A timer that repeats
 * leaves no time for the work on a slow machine.) */
static inline void alarm_after(long microseconds)
{
    const struct itimerval timer = {{0, 0}, {0, microseconds + 1}};
    ck_assert_int_eq(setitimer(ITIMER_REAL, &timer, NULL), 0);
}

/* One suite of one case; each test runs in a process of its own. */
#define EXPECT_MAIN(name, add)                      \
    int main(void)                                  \
    {                                               \
        Suite *suite = suite_create(name);          \
        TCase *tests = tcase_create(name);          \
        tcase_set_timeout(tests, 0);                \
        add(tests);                                 \
        suite_add_tcase(suite, tests);              \
        SRunner *runner = srunner_create(suite);    \
        srunner_set_fork_status(runner, CK_FORK);   \
        srunner_run_all(runner, CK_NORMAL);         \
        int failed = srunner_ntests_failed(runner); \
        srunner_free(runner);                       \
        return failed ? 1 : 0;                      \
    }

#endif
