/* SPDX-License-Identifier: MIT */
#include <check.h>
#include <stdlib.h>

#include "compare.h"

/* The fast part of what bench/decode does in full. */
enum {
    BYTES_OF_EACH = 1500000,
    RANDOM = 2000000
};

static void open_oracles(void)
{
    ck_assert(compare_aarch64_open());
}

START_TEST(functions_of_libraries_agree_with_both_oracles)
{
    static const char *const files[] = {
        "/usr/aarch64-linux-gnu/lib/libc.so.6",
        "/usr/aarch64-linux-gnu/lib/libm.so.6",
        "/usr/aarch64-linux-gnu/lib/ld-linux-aarch64.so.1",
        "/usr/aarch64-linux-gnu/lib/libgcc_s.so.1",
        "/usr/aarch64-linux-gnu/lib/libstdc++.so.6",
        "/usr/lib/aarch64-linux-gnu/libc.so.6",
    };
    uint64_t bytes = 0;

    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        bytes += compare_file(files[i], BYTES_OF_EACH);
    ck_assert_uint_gt(bytes, 100000);
    ck_assert_uint_eq(compare_aarch64_report(stdout), 0);
}
END_TEST

START_TEST(random_words_agree_with_both_oracles)
{
    compare_aarch64_random(1, RANDOM);
    ck_assert_uint_eq(compare_aarch64_report(stdout), 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("decoder and oracles, AArch64");
    TCase *all = tcase_create("all");

    if (!compare_aarch64_open()) {
        puts("skipped: needs binutils-dev and binutils-aarch64-linux-gnu");
        return 77;
    }
    tcase_set_timeout(all, 0);
    tcase_add_checked_fixture(all, open_oracles, NULL);
    tcase_add_test(all, functions_of_libraries_agree_with_both_oracles);
    tcase_add_test(all, random_words_agree_with_both_oracles);
    suite_add_tcase(suite, all);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
