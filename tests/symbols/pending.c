/* SPDX-License-Identifier: MIT */
/* Names that are not loaded yet. */
#include "live/expect.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

#include <patas/symbols.h>

static int fake(int x)
{
    return x + 1000;
}

KEEP int present(int x)
{
    return x + 1;
}

static void *load(void)
{
    void *handle = dlopen(SAMPLES "/late.so", RTLD_NOW | RTLD_LOCAL);
    ck_assert_msg(handle != NULL, "%s", dlerror());
    return handle;
}

START_TEST(replaced_before_the_constructors_run)
{
    patas_pending *one = NULL, *two = NULL;
    patas_error why;
    OK(patas_replace_pending("late_function", (patas_fn)fake, NULL, &one,
                             &error));
    OK(patas_replace_pending("late.c:late_static", (patas_fn)fake, NULL, &two,
                             &error));
    ck_assert_ptr_null(patas_pending_patch(one, &why));
    ck_assert_int_eq(why.status, PATAS_ERR_NOT_FOUND);
    /* Another module changes nothing. */
    ck_assert_ptr_nonnull(dlopen("libm.so.6", RTLD_NOW));
    ck_assert_ptr_null(patas_pending_patch(one, NULL));
    void *handle = load();
    ck_assert_int_eq(*(int *)dlsym(handle, "late_seen"), 1010);
    ck_assert_int_eq(*(int *)dlsym(handle, "late_seen_static"), 1010);
    patas_patch *patch = patas_pending_patch(one, NULL);
    ck_assert_ptr_nonnull(patch);
    int (*function)(int) =
        (int (*)(int))(uintptr_t)dlsym(handle, "late_function");
    ck_assert_int_eq(function(1), 1001);
    ck_assert_int_eq(((int (*)(int))patas_original(patch))(1), 2);
    OK(patas_restore(patch, &error));
    ck_assert_int_eq(function(1), 2);
    patas_pending_free(one);
    patas_pending_free(two);
    /* The patch outlives the name. */
    int (*again)(int) = (int (*)(int))(uintptr_t)dlsym(handle, "late_again");
    ck_assert_int_eq(again(1), 1001);
}
END_TEST

/* What it stands for is known once its module is relocated, which is after
 * the linker's notification; no constructor may run the original. */
START_TEST(an_ifunc_is_replaced_before_the_constructors_run)
{
    const int how = _i ? RTLD_LAZY : RTLD_NOW;
    patas_pending *one = NULL, *two = NULL;
    patas_error why;
    OK(patas_replace_pending("late_chosen", (patas_fn)fake, NULL, &one,
                             &error));
    OK(patas_replace_pending("late_function", (patas_fn)fake, NULL, &two,
                             &error));
    for (int round = 0; round < 3; round++) {
        void *handle = dlopen(SAMPLES "/late.so", how | RTLD_LOCAL);
        ck_assert_msg(handle != NULL, "%s", dlerror());
        ck_assert_int_eq(*(int *)dlsym(handle, "late_seen_chosen"),
                         round ? 13 : 1010);
        ck_assert_int_eq(*(int *)dlsym(handle, "late_seen"), round ? 11 : 1010);
        if (round == 0) {
            patas_patch *patch = patas_pending_patch(one, &why);
            ck_assert_ptr_nonnull(patch);
            ck_assert_int_eq(((int (*)(int))patas_original(patch))(1), 4);
            /* Nothing but the two patches and the notification is left. */
            patas_stats stats = {.size = sizeof stats};
            ck_assert_int_eq(patas_stats_read(&stats), PATAS_OK);
            ck_assert_uint_eq(stats.patches, 3);
            patas_pending_free(one);
            patas_pending_free(two);
        }
        ck_assert_int_eq(dlclose(handle), 0);
    }
}
END_TEST

START_TEST(a_name_that_is_there_is_replaced_at_once)
{
    patas_pending *pending = NULL;
    OK(patas_replace_pending("present", (patas_fn)fake, NULL, &pending,
                             &error));
    ck_assert_ptr_nonnull(patas_pending_patch(pending, NULL));
    ck_assert_int_eq(present(1), 1001);
    patas_pending_free(pending);
    ck_assert_int_eq(present(1), 1001);
    OK(patas_restore_all(&error));
    ck_assert_int_eq(present(1), 2);
}
END_TEST

START_TEST(a_forgotten_name_is_not_replaced)
{
    patas_pending *pending = NULL;
    OK(patas_replace_pending("late_function", (patas_fn)fake, NULL, &pending,
                             &error));
    patas_pending_free(pending);
    void *handle = load();
    ck_assert_int_eq(*(int *)dlsym(handle, "late_seen"), 11);
}
END_TEST

START_TEST(what_can_never_come_is_refused)
{
    patas_pending *pending = (patas_pending *)1;
    patas_error error;
    ck_assert_int_eq(
        patas_replace_pending("", (patas_fn)fake, NULL, &pending, &error),
        PATAS_ERR_ARGUMENT);
    ck_assert_ptr_null(pending);
    ck_assert_int_eq(patas_replace_pending("f", NULL, NULL, &pending, &error),
                     PATAS_ERR_ARGUMENT);
    ck_assert_int_eq(patas_replace_pending("present", (patas_fn)present, NULL,
                                           &pending, &error),
                     PATAS_ERR_ARGUMENT);
    ck_assert_ptr_null(patas_pending_patch(NULL, &error));
    patas_pending_free(NULL);
}
END_TEST

/* Restoring all takes the notification, too: the next question notices. */
START_TEST(found_when_asked_without_a_notification)
{
    patas_pending *pending = NULL;
    OK(patas_replace_pending("late_function", (patas_fn)fake, NULL, &pending,
                             &error));
    OK(patas_restore_all(&error));
    void *handle = load();
    ck_assert_int_eq(*(int *)dlsym(handle, "late_seen"), 11);
    ck_assert_ptr_nonnull(patas_pending_patch(pending, NULL));
    int (*function)(int) =
        (int (*)(int))(uintptr_t)dlsym(handle, "late_function");
    ck_assert_int_eq(function(1), 1001);
    patas_pending_free(pending);
}
END_TEST

static atomic_int done;

static void *finds(void *nothing)
{
    (void)nothing;
    while (!atomic_load(&done)) {
        usleep(200);
        patas_fn function;
        patas_found *found;
        (void)!patas_find("memcpy", &function, NULL);
        (void)!patas_find_all("late_functio", &found, NULL);
        patas_found_free(found);
    }
    return NULL;
}

/* One thread in dlopen(), which waits for the lock that another thread has
 * while that one asks the dynamic linker: neither waits for ever. */
START_TEST(loading_and_searching_at_once)
{
    enum {
        ROUNDS = 60
    };
    pthread_t thread[2];
    for (int i = 0; i < 2; i++)
        ck_assert_int_eq(pthread_create(&thread[i], NULL, finds, NULL), 0);
    for (int i = 0; i < ROUNDS; i++) {
        patas_pending *pending = NULL;
        OK(patas_replace_pending("late_function", (patas_fn)fake, NULL,
                                 &pending, &error));
        void *handle = load();
        ck_assert_int_eq(*(int *)dlsym(handle, "late_seen"), 1010);
        OK(patas_restore(patas_pending_patch(pending, NULL), &error));
        patas_pending_free(pending);
        dlclose(handle);
    }
    atomic_store(&done, 1);
    for (int i = 0; i < 2; i++)
        pthread_join(thread[i], NULL);
}
END_TEST

static void add_tests(TCase *tests)
{
    tcase_add_test(tests, replaced_before_the_constructors_run);
    tcase_add_loop_test(tests, an_ifunc_is_replaced_before_the_constructors_run,
                        0, 2);
    tcase_add_test(tests, a_name_that_is_there_is_replaced_at_once);
    tcase_add_test(tests, a_forgotten_name_is_not_replaced);
    tcase_add_test(tests, what_can_never_come_is_refused);
    tcase_add_test(tests, found_when_asked_without_a_notification);
    tcase_add_test(tests, loading_and_searching_at_once);
}

EXPECT_MAIN("pending", add_tests)
