/* SPDX-License-Identifier: MIT */
/* The engine's own memory routines do what the C library's are known to do. */
#include "bytes.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    ROOM = 96
};

static void fill(unsigned char *bytes, unsigned seed)
{
    for (unsigned i = 0; i < ROOM; i++)
        bytes[i] = (unsigned char)(i * 37u + seed);
}

/* What a move must give, by way of a second buffer. */
static void move_slowly(unsigned char *bytes, size_t to, size_t from, size_t n)
{
    unsigned char copy[ROOM];

    for (size_t i = 0; i < n; i++)
        copy[i] = bytes[from + i];
    for (size_t i = 0; i < n; i++)
        bytes[to + i] = copy[i];
}

static void check_same(const unsigned char *want, const unsigned char *got,
                       size_t to, size_t from, size_t n)
{
    for (unsigned i = 0; i < ROOM; i++) {
        if (want[i] != got[i])
            ck_abort_msg(
                "to %zu, from %zu, size %zu: byte %u is %02x, not %02x", to,
                from, n, i, got[i], want[i]);
    }
}

START_TEST(memmove_is_right_for_every_overlap)
{
    unsigned char want[ROOM], got[ROOM];

    for (size_t n = 0; n <= 40; n++) {
        for (size_t to = 0; to + n <= ROOM && to < 45; to++) {
            for (size_t from = 0; from + n <= ROOM && from < 45; from++) {
                fill(want, 1);
                fill(got, 1);
                move_slowly(want, to, from, n);
                ck_assert_ptr_eq(memmove(got + to, got + from, n), got + to);
                check_same(want, got, to, from, n);
            }
        }
    }
}
END_TEST

START_TEST(memcpy_copies_these_bytes_and_no_other)
{
    unsigned char from[ROOM], want[ROOM], got[ROOM];

    fill(from, 7);
    for (size_t n = 0; n <= 48; n++) {
        for (size_t skew = 0; skew < 16; skew++) {
            fill(want, 3);
            fill(got, 3);
            for (size_t i = 0; i < n; i++)
                want[skew + i] = from[i + 5];
            ck_assert_ptr_eq(memcpy(got + skew, from + 5, n), got + skew);
            check_same(want, got, skew, 5, n);
        }
    }
}
END_TEST

START_TEST(memset_writes_the_low_byte_and_no_other)
{
    unsigned char want[ROOM], got[ROOM];

    for (size_t n = 0; n <= 48; n++) {
        for (size_t skew = 0; skew < 16; skew++) {
            fill(want, 3);
            fill(got, 3);
            for (size_t i = 0; i < n; i++)
                want[skew + i] = 0xa5;
            ck_assert_ptr_eq(memset(got + skew, 0x7fa5, n), got + skew);
            check_same(want, got, skew, 0, n);
        }
    }
}
END_TEST

START_TEST(memcmp_orders_by_the_first_unequal_byte_unsigned)
{
    unsigned char a[ROOM], b[ROOM];

    for (size_t n = 1; n <= 40; n++) {
        for (size_t at = 0; at < n; at++) {
            fill(a, 0);
            fill(b, 0);
            a[at] = 0x7f;
            b[at] = 0x80;
            b[n] ^= 1u;
            ck_assert_int_lt(memcmp(a, b, n), 0);
            ck_assert_int_gt(memcmp(b, a, n), 0);
            ck_assert_int_eq(memcmp(a, b, at), 0);
        }
    }
}
END_TEST

START_TEST(strlen_counts_up_to_the_zero)
{
    char text[ROOM + 1];

    for (size_t n = 0; n < ROOM; n++) {
        memset(text, 'x', sizeof text);
        text[n] = '\0';
        ck_assert_uint_eq(strlen(text), n);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("bytes");
    TCase *tests = tcase_create("bytes");
    SRunner *runner;
    int failed;

    tcase_add_test(tests, memmove_is_right_for_every_overlap);
    tcase_add_test(tests, memcpy_copies_these_bytes_and_no_other);
    tcase_add_test(tests, memset_writes_the_low_byte_and_no_other);
    tcase_add_test(tests, memcmp_orders_by_the_first_unequal_byte_unsigned);
    tcase_add_test(tests, strlen_counts_up_to_the_zero);
    suite_add_tcase(suite, tests);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
