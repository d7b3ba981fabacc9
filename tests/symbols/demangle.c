/* SPDX-License-Identifier: MIT */
/*
 * Demangled names, and which of them a user means. With --names: demangles
 * standard input, line by line, for the comparison with other demanglers that
 * the script `rust` makes.
 */
#include "internal.h"

#include "live/expect.h"

#include <stdio.h>

/* Made by rustc 1.95. */
static const struct {
    const char *name, *plain;
} rust[] = {
    {"_RINvXCsi2yhfSsWT8O_6sampleINtB3_6SquareKj7_ENtB3_5Shape5namedbEB3_",
     "<sample::Square<7> as sample::Shape>::named::<bool>"},
    {"_RNCNvNtNtCsjrHSEGnQ3l9_3std3sys9backtrace10__print_fmt0B7_",
     "std::sys::backtrace::_print_fmt::{closure#0}"},
    {"_RNvXs1g_NtCsgEmfK2I1SDS_4core3fmtRPcNtB6_5Debug3fmtCsi2yhfSsWT8O_"
     "6sample",
     "<&*const char as core::fmt::Debug>::fmt"},
    {"_RNvMsa_NtCsgEmfK2I1SDS_4core3fmtNtB5_9Formatter11debug_tuple",
     "<core::fmt::Formatter>::debug_tuple"},
    {"_RNvXs1g_NtCsgEmfK2I1SDS_4core3fmtRAxj2_NtB6_5Debug3fmtCsi2yhfSsWT8O_"
     "6sample",
     "<&[i64; 2] as core::fmt::Debug>::fmt"},
    {"_ZN6sample7generic17hc07f88b8c3c22be0E", "sample::generic"},
    {"_ZN71_$LT$Test$u20$$u2b$$u20$$u27$static$u20$as$u20$foo..Bar$LT$Test$GT$"
     "$GT$3bar17h930b740aa94f1d3aE",
     "<Test + 'static as foo::Bar<Test>>::bar"},
};

START_TEST(rust_names)
{
    for (size_t i = 0; i < sizeof rust / sizeof *rust; i++) {
        char *plain = patas__demangle(rust[i].name);
        ck_assert_msg(plain != NULL, "%s", rust[i].name);
        ck_assert_str_eq(plain, rust[i].plain);
        free(plain);
    }
}
END_TEST

/* Each prefix of a name, and each with one byte changed, ends. */
START_TEST(broken_names_end)
{
    for (size_t i = 0; i < sizeof rust / sizeof *rust; i++) {
        size_t length = strlen(rust[i].name);
        for (size_t at = 0; at < length; at++) {
            char *copy = strdup(rust[i].name);
            static const char bytes[] = "_0BEINRsz$.";
            for (size_t b = 0; bytes[b]; b++) {
                copy[at] = bytes[b];
                free(patas__demangle(copy));
            }
            copy[at] = 0;
            free(patas__demangle(copy));
            free(copy);
        }
    }
}
END_TEST

START_TEST(names_that_refer_to_themselves_end)
{
    static const char *const names[] = {
        "_RB_", "_RNvB_1a", "_RINvC1aB_E", "_RNvNvB0_1a1b",
        "_RIC1aTB3_B3_B3_B3_B3_B3_EE",
        /* Each half of a tuple is the tuple before: 2^20 of them. */
        "_RIC1aTaaETB4_B4_ETB7_B7_ETBc_Bc_ETBh_Bh_ETBm_Bm_ETBr_Br_ETBw_Bw_"
        "ETBB_BB_ETBG_BG_ETBL_BL_ETBQ_BQ_ETBV_BV_ETB10_B10_ETB17_B17_E"
        "TB1e_B1e_ETB1l_B1l_ETB1s_B1s_ETB1z_B1z_EE"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char *plain = patas__demangle(names[i]);
        ck_assert(!plain || strlen(plain) < 65536);
        free(plain);
    }
    char deep[4000] = "_R";
    memset(deep + 2, 'N', sizeof deep - 3);
    ck_assert_ptr_null(patas__demangle(deep));
}
END_TEST

START_TEST(cxx_names)
{
    char *plain = patas__demangle("_ZN2ns5klass6methodEi");
    ck_assert_str_eq(plain, "ns::klass::method(int)");
    free(plain);
    plain = patas__demangle("_ZN2ns5klass6methodEi.isra.0");
    ck_assert_str_eq(plain, "ns::klass::method(int)");
    free(plain);
    ck_assert_ptr_null(patas__demangle("method"));
    ck_assert_ptr_null(patas__demangle("_Z"));
    ck_assert_ptr_null(patas__demangle("_ZN"));
    ck_assert_ptr_null(patas__demangle(""));
}
END_TEST

START_TEST(what_a_user_means)
{
    static const struct {
        const char *plain, *wanted;
        bool match;
    } pairs[] = {
        {"a::b(int)", "a::b", true},
        {"a::b(int)", "a::b(int)", true},
        {"a::b(int)", "a::b(long)", false},
        {"a::b(int)", "b", false},
        {"a::b(int)", "a", false},
        {"a::b(int) const", "a::b(int)", true},
        {"a::b(int) const", "a::b(int) const", true},
        {"a::b(int)", "a::b(int) const", false},
        {"a::b(unsigned int, char*)", "a::b(unsigned int,char *)", true},
        {"int a::b<int>(int)", "a::b", true},
        {"int a::b<int>(int)", "a::b<int>", true},
        {"int a::b<int>(int)", "a::b<int>(int)", true},
        {"int a::b<int>(int)", "a::b<long>", false},
        {"a::v<x<int> >::f(int)", "a::v<x<int>>::f", true},
        {"a::v<x<int> >::f(int)", "a::v::f", true},
        {"a::operator<(a::b const&)", "a::operator<", true},
        {"a::operator<<(int)", "a::operator<", false},
        {"a::operator()(int)", "a::operator()", true},
        {"a::operator()(int)", "a::operator()(int)", true},
        {"a::operator bool() const", "a::operator bool", true},
        {"a::b[abi:cxx11](int)", "a::b(int)", true},
        {"(anonymous namespace)::f(int)", "(anonymous namespace)::f", true},
        {"core::fmt::Formatter::pad", "core::fmt::Formatter::pad", true},
        {"<a as b>::c", "<a as b>::c", true},
        {"a::f::<b, c>", "a::f", true},
        {"a::f::<b, c>", "a::f::<b, c>", true},
        {"a::f::<b, c>", "a::f::<b>", false},
    };
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++)
        ck_assert_msg(patas__plain_matches(pairs[i].plain, pairs[i].wanted) ==
                          pairs[i].match,
                      "%s by %s", pairs[i].plain, pairs[i].wanted);
}
END_TEST

START_TEST(what_compilers_append)
{
    static const struct {
        const char *name;
        size_t base;
    } names[] = {
        {"f", 1},          {"f.isra.0", 1},   {"f.part.0.cold", 1},
        {"f.cold", 1},     {"f.0", 1},        {"f@@V_1", 1},
        {"f@V_1", 1},      {"f.llvm.123", 1}, {"main.main", 9},
        {"a.b.isra.0", 3}, {".text", 5},      {"", 0},
        {"f.colder", 8},   {"x..y", 4},
    };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        ck_assert_msg(patas__base_length(names[i].name) == names[i].base,
                      "%s: %zu", names[i].name,
                      patas__base_length(names[i].name));
}
END_TEST

static void add_tests(TCase *tests)
{
    tcase_add_test(tests, rust_names);
    tcase_add_test(tests, broken_names_end);
    tcase_add_test(tests, names_that_refer_to_themselves_end);
    tcase_add_test(tests, cxx_names);
    tcase_add_test(tests, what_a_user_means);
    tcase_add_test(tests, what_compilers_append);
}

static int print_names(void)
{
    static char line[65536];

    while (fgets(line, sizeof line, stdin)) {
        line[strcspn(line, "\n")] = 0;
        char *plain = patas__demangle(line);
        puts(plain ? plain : line);
        free(plain);
    }
    return 0;
}

static int run(void)
{
    Suite *suite = suite_create("demangle");
    TCase *tests = tcase_create("demangle");
    tcase_set_timeout(tests, 0);
    add_tests(tests);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? 1 : 0;
}

int main(int count, char **words)
{
    return count > 1 && !strcmp(words[1], "--names") ? print_names() : run();
}
