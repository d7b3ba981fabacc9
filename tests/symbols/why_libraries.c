/* SPDX-License-Identifier: MIT */
/*
 * The reasons that the C library and the C++ library of this machine give.
 * What needs the C library's debug symbols is asked only where they are.
 */
#include "live/expect.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/auxv.h>
#include <time.h>

#include <patas/symbols.h>

/* A function of the kernel's own. */
#if defined(__aarch64__)
#define KERNEL_S "__kernel_gettimeofday@vdso"
#else
#define KERNEL_S "__vdso_gettimeofday@vdso"
#endif

static patas_why_info *ask(const char *spec)
{
    patas_why_info *why = NULL;
    OK(patas_why(spec, NULL, &why, &error));
    return why;
}

static int names(const patas_why_info *why, patas_why_kind kind,
                 const char *name)
{
    for (size_t i = 0; i < why->item_count; i++) {
        if (why->items[i].kind == kind && !strcmp(why->items[i].name, name))
            return 1;
    }
    return 0;
}

START_TEST(open_has_a_family)
{
    patas_why_info *why = ask("open");
    ck_assert(names(why, PATAS_WHY_FAMILY, "openat"));
    ck_assert(names(why, PATAS_WHY_FAMILY, "__open_2"));
    ck_assert(names(why, PATAS_WHY_FAMILY, "creat"));
    /* One function, or where `long` is too short for large files another. */
    int one = dlsym(RTLD_DEFAULT, "open") == dlsym(RTLD_DEFAULT, "open64");
    ck_assert_int_eq(one, sizeof(long) == 8);
    ck_assert_int_eq(names(why, PATAS_WHY_ALIAS, "open64"), one);
    ck_assert_int_eq(names(why, PATAS_WHY_FAMILY, "open64"), !one);
    patas_why_free(why);
    why = ask("qsort@libc");
    ck_assert_uint_eq(why->count[PATAS_WHY_FAMILY], 0);
    patas_why_free(why);
}
END_TEST

START_TEST(the_library_s_own_calls_bypass)
{
    patas_fn hidden;
    if (patas_find("__open_nocancel@libc", &hidden, NULL) != PATAS_OK)
        return; /* no debug symbols of the C library */
    patas_why_info *why = ask("open");
    ck_assert_uint_ge(why->count[PATAS_WHY_BYPASS], 1);
    ck_assert(names(why, PATAS_WHY_BYPASS, "__open_nocancel") ||
              names(why, PATAS_WHY_BYPASS, "__open64_nocancel"));
    patas_why_free(why);
    why = ask("qsort@libc");
    ck_assert_uint_eq(why->count[PATAS_WHY_BYPASS], 0);
    patas_why_free(why);
}
END_TEST

/* Offered one way or another: as one of the set, as another name, or as what
 * the library calls instead. */
static int has_kin(const char *spec, const char *name)
{
    patas_why_info *why = ask(spec);
    int found = names(why, PATAS_WHY_FAMILY, name) ||
                names(why, PATAS_WHY_ALIAS, name) ||
                names(why, PATAS_WHY_BYPASS, name);
    patas_why_free(why);
    return found;
}

START_TEST(kin_is_one_set_whichever_is_asked_for)
{
    static const struct {
        const char *one, *other;
    } kin[] = {
        {"open", "openat"},
        {"creat", "__open_2"}, /* a service */
        {"stat", "fstatat"},
        {"malloc", "calloc"},
        {"time", "gettimeofday"},
        {"poll", "select"},
        {"fork", "posix_spawn"},
        {"sleep", "nanosleep"},
        {"memcpy", "__memcpy_chk"}, /* fortified */
        {"snprintf", "__snprintf_chk"},
        {"read", "__read_chk"},
        {"fgets", "__fgets_chk"},
        {"open", "open64"}, /* large files */
        {"pread", "pread64"},
        {"lseek", "lseek64"},
        {"fopen", "fopen64"},
        {"mmap", "mmap64"},
        {"sscanf", "__isoc99_sscanf"}, /* a standard's */
        {"strtol", "__isoc23_strtol"},
        {"fgets", "fgets_unlocked"},
    };
    size_t known = 0;
    for (size_t i = 0; i < sizeof kin / sizeof *kin; i++) {
        /* Not every C library has all. */
        if (!dlsym(RTLD_DEFAULT, kin[i].one) ||
            !dlsym(RTLD_DEFAULT, kin[i].other))
            continue;
        known++;
        char one[64], other[64];
        snprintf(one, sizeof one, "%s@libc", kin[i].one);
        snprintf(other, sizeof other, "%s@libc", kin[i].other);
        patas_fn function;
        if (patas_find(one, &function, NULL) != PATAS_OK ||
            patas_find(other, &function, NULL) != PATAS_OK)
            continue;
        ck_assert_msg(has_kin(one, kin[i].other), "%s: no %s", kin[i].one,
                      kin[i].other);
        ck_assert_msg(has_kin(other, kin[i].one), "%s: no %s", kin[i].other,
                      kin[i].one);
    }
    ck_assert_uint_ge(known, 15);
}
END_TEST

/* Names that look alike, and aren't kin: another module's, another service. */
KEEP int report(int x)
{
    return x + 1;
}
KEEP int __report_chk(int x)
{
    return x + 2;
}

START_TEST(what_only_looks_like_kin_is_not)
{
    static const struct {
        const char *one, *other;
    } strangers[] = {
        {"strlen@libc", "__strlen_chk"}, {"malloc@libc", "free"},
        {"memcpy@libc", "memmove"},      {"read@libc", "write"},
        {"open@libc", "fopen"},          {"qsort@libc", "qsort_r"},
        {"report", "__report_chk"},      {"__report_chk", "report"}};
    for (size_t i = 0; i < sizeof strangers / sizeof *strangers; i++)
        ck_assert_msg(!has_kin(strangers[i].one, strangers[i].other), "%s: %s",
                      strangers[i].one, strangers[i].other);
    ck_assert_int_eq(report(1) + __report_chk(1), 5);
}
END_TEST

START_TEST(fortified_kin_is_offered)
{
    patas_why_info *why = ask("memcpy");
    ck_assert(names(why, PATAS_WHY_FAMILY, "__memcpy_chk"));
    ck_assert(why->symbol.flags & PATAS_SYMBOL_IFUNC);
    patas_why_free(why);
    why = ask("snprintf");
    ck_assert(names(why, PATAS_WHY_FAMILY, "__snprintf_chk"));
    patas_why_free(why);
}
END_TEST

START_TEST(older_versions_are_named)
{
    patas_why_info *why;
#if defined(__x86_64__) || defined(__i386__)
    why = ask("posix_spawn@libc");
    ck_assert_uint_eq(why->count[PATAS_WHY_VERSION], 1);
    patas_why_free(why);
#endif
    why = ask("malloc");
    ck_assert_uint_eq(why->count[PATAS_WHY_VERSION], 0);
    patas_why_free(why);
}
END_TEST

/* x86-64's C library has no `time` of its own; i386's has. */
START_TEST(time_is_the_kernel_s)
{
    if (!getauxval(AT_SYSINFO_EHDR))
        return;
    patas_why_info *why = ask("time");
#if defined(__x86_64__)
    ck_assert_uint_eq(why->count[PATAS_WHY_VDSO], 1);
#endif
    ck_assert_uint_eq(why->count[PATAS_WHY_REFUSED],
                      why->count[PATAS_WHY_VDSO]);
    ck_assert_int_eq(why->plan.form == PATAS_FORM_NONE,
                     (int)why->count[PATAS_WHY_VDSO]);
    patas_why_free(why);
    why = ask(KERNEL_S);
    ck_assert_uint_eq(why->count[PATAS_WHY_VDSO], 1);
    ck_assert_uint_eq(why->count[PATAS_WHY_REFUSED], 1);
    ck_assert_int_eq(why->plan.form, PATAS_FORM_NONE);
    patas_why_free(why);
    why = ask("clock_gettime");
    ck_assert_uint_eq(why->count[PATAS_WHY_VDSO], 0);
    ck_assert_uint_eq(why->count[PATAS_WHY_REFUSED], 0);
    patas_why_free(why);
}
END_TEST

START_TEST(other_modules_copies_are_named)
{
    ck_assert_ptr_nonnull(dlopen("libm.so.6", RTLD_NOW));
    patas_why_info *why = ask("frexp@libc");
    ck_assert_uint_ge(why->count[PATAS_WHY_COPY], 1);
    patas_why_free(why);
    why = ask("qsort@libc");
    ck_assert_uint_eq(why->count[PATAS_WHY_COPY], 0);
    patas_why_free(why);
}
END_TEST

START_TEST(refusals_are_the_engine_s)
{
    patas_why_info *why = ask("vfork");
    ck_assert_uint_eq(why->count[PATAS_WHY_REFUSED], 1);
    patas_why_free(why);
}
END_TEST

START_TEST(functions_of_the_cxx_library)
{
    ck_assert_ptr_nonnull(dlopen("libstdc++.so.6", RTLD_NOW | RTLD_GLOBAL));
    patas_why_info *why = ask("std::ios_base::Init::Init()");
    ck_assert_int_ne(why->plan.form, PATAS_FORM_NONE);
    /* Two mangled names, one demangled: the complete and the base one. */
    ck_assert_uint_eq(why->count[PATAS_WHY_ALIAS], 1);
    ck_assert(names(why, PATAS_WHY_ALIAS, "_ZNSt8ios_base4InitC1Ev") ||
              names(why, PATAS_WHY_ALIAS, "_ZNSt8ios_base4InitC2Ev"));
    ck_assert_uint_eq(why->count[PATAS_WHY_REFUSED], 0);
    patas_why_free(why);
    static const patas_why_kind none[] = {
        PATAS_WHY_ALIAS, PATAS_WHY_FAMILY, PATAS_WHY_BYPASS, PATAS_WHY_COPY,
        PATAS_WHY_VDSO,  PATAS_WHY_CLONE,  PATAS_WHY_GONE,   PATAS_WHY_REFUSED};
    why = ask("std::string::append(char const*)@libstdc++");
    for (size_t i = 0; i < sizeof none / sizeof *none; i++)
        ck_assert_msg(why->count[none[i]] == 0, "kind %d", (int)none[i]);
    patas_why_free(why);
}
END_TEST

START_TEST(misses_and_ambiguities_are_failures)
{
    patas_why_info *why = (patas_why_info *)1;
    patas_error error;
    ck_assert_int_eq(patas_why("no_such_function_at_all", NULL, &why, &error),
                     PATAS_ERR_NOT_FOUND);
    ck_assert_ptr_null(why);
    ck_assert_ptr_nonnull(dlopen("libm.so.6", RTLD_NOW | RTLD_GLOBAL));
    ck_assert_int_eq(patas_why("frexp", NULL, &why, &error),
                     PATAS_ERR_AMBIGUOUS);
    ck_assert_int_eq(patas_why("", NULL, &why, &error), PATAS_ERR_ARGUMENT);
    ck_assert_int_eq(patas_why("f", NULL, NULL, &error), PATAS_ERR_ARGUMENT);
    patas_why_free(NULL);
}
END_TEST

static void add_tests(TCase *tests)
{
    tcase_add_test(tests, open_has_a_family);
    tcase_add_test(tests, the_library_s_own_calls_bypass);
    tcase_add_test(tests, kin_is_one_set_whichever_is_asked_for);
    tcase_add_test(tests, what_only_looks_like_kin_is_not);
    tcase_add_test(tests, fortified_kin_is_offered);
    tcase_add_test(tests, older_versions_are_named);
    tcase_add_test(tests, time_is_the_kernel_s);
    tcase_add_test(tests, other_modules_copies_are_named);
    tcase_add_test(tests, refusals_are_the_engine_s);
    tcase_add_test(tests, functions_of_the_cxx_library);
    tcase_add_test(tests, misses_and_ambiguities_are_failures);
}

EXPECT_MAIN("why_libraries", add_tests)
