/* SPDX-License-Identifier: MIT */
/* By what the engine's lock knows a thread: with a thread pointer and without
 * one, as in a program that has no C library. */
#include <check.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "os.h"

enum {
    THREADS = 8
};

static pthread_barrier_t all_here;

static void *number_of(void *result)
{
    *(uintptr_t *)result = patas__os_thread();
    pthread_barrier_wait(&all_here); /* all of them at the same time */
    ck_assert_uint_eq(patas__os_thread(), *(uintptr_t *)result);
    return NULL;
}

START_TEST(each_thread_has_a_number_of_its_own)
{
    pthread_t threads[THREADS];
    uintptr_t number[THREADS + 1];
    pthread_barrier_init(&all_here, NULL, THREADS);
    number[THREADS] = patas__os_thread();
    for (int i = 0; i < THREADS; i++)
        ck_assert_int_eq(
            pthread_create(&threads[i], NULL, number_of, &number[i]), 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    for (int i = 0; i <= THREADS; i++) {
        ck_assert_uint_ne(number[i], 0);
        ck_assert_uint_eq(number[i] & 1, 0);
        for (int k = 0; k < i; k++)
            ck_assert_uint_ne(number[i], number[k]);
    }
}
END_TEST

/* Nothing that needs the thread pointer is called while it is away. */
static uintptr_t number_without_pointer(void)
{
#if defined(__i386__)
    uint16_t selector;
    __asm__ volatile("mov %%gs, %0\n mov %1, %%gs"
                     : "=&r"(selector)
                     : "r"((uint16_t)0));
    uintptr_t number = patas__os_thread();
    __asm__ volatile("mov %0, %%gs" ::"r"(selector));
#else
    enum {
        SET = 0x1002, /* ARCH_SET_FS */
        GET = 0x1003
    };
    unsigned long pointer = 0;
    long failed =
        patas__syscall(SYS_arch_prctl, GET, (long)&pointer, 0, 0, 0, 0);
    failed |= patas__syscall(SYS_arch_prctl, SET, 0, 0, 0, 0, 0);
    uintptr_t number = patas__os_thread();
    failed |= patas__syscall(SYS_arch_prctl, SET, (long)pointer, 0, 0, 0, 0);
    if (failed)
        return 0;
#endif
    return number;
}

START_TEST(without_a_pointer_it_is_the_thread_s_id)
{
    ck_assert_uint_eq(number_without_pointer(),
                      2 * (uintptr_t)syscall(SYS_gettid));
#if defined(__i386__) /* 64-bit processors may be too old to tell it */
    ck_assert_uint_ne(patas__os_thread(), 2 * (uintptr_t)syscall(SYS_gettid));
#endif
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("thread");
    TCase *tcase = tcase_create("thread");
    tcase_add_test(tcase, each_thread_has_a_number_of_its_own);
    tcase_add_test(tcase, without_a_pointer_it_is_the_thread_s_id);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
