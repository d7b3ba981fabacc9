/* SPDX-License-Identifier: MIT */
/* What patas_find() promises, on this program and this machine's libraries. */
#include "live/expect.h"

#include "find.h"

#include <dlfcn.h>
#include <stdio.h>
#include <sys/auxv.h>
#include <time.h>
#include <unistd.h>

#include <patas/symbols.h>

KEEP int same_name(int x)
{
    return x * 23;
}

enum {
    LINE = __LINE__ + 2
}; /* of the function below */
KEEP int parse_line(int x)
{
    return x * 29;
}

int find_exported_here(int x);
int find_exported_here(int x)
{
    return x * 31;
}

static uintptr_t find(const char *spec)
{
    patas_fn function = NULL;
    OK(patas_find(spec, &function, &error));
    ck_assert_ptr_nonnull((void *)(uintptr_t)function);
    return (uintptr_t)function;
}

static void misses(const char *spec, patas_status want)
{
    patas_fn function = (patas_fn)parse_line;
    patas_error error;
    ck_assert_int_eq(patas_find(spec, &function, &error), want);
    ck_assert_int_eq(error.status, want);
    ck_assert_ptr_null((void *)(uintptr_t)function);
}

/* Has all of what `spec` means; freed by the caller. */
static patas_found *all(const char *spec)
{
    patas_found *found = NULL;
    OK(patas_find_all(spec, &found, &error));
    return found;
}

START_TEST(static_functions_by_name)
{
    ck_assert_uint_eq(find("parse_line"), (uintptr_t)parse_line);
    ck_assert_uint_eq(find("only_in_other"), (uintptr_t)find_only_in_other());
    ck_assert_uint_eq(find("find_exported_here"),
                      (uintptr_t)find_exported_here);
}
END_TEST

START_TEST(a_file_tells_one_static_from_another)
{
    misses("same_name", PATAS_ERR_AMBIGUOUS);
    ck_assert_uint_eq(find("find.c:same_name"), (uintptr_t)same_name);
    ck_assert_uint_eq(find("find_other.c:same_name"),
                      (uintptr_t)find_other_same_name());
    /* A function that others may link to has no file by the symbols. */
    ck_assert_uint_eq(find("find.c:find_exported_here"),
                      (uintptr_t)find_exported_here);
    misses("other.c:same_name", PATAS_ERR_NOT_FOUND);
    misses("find.c:only_in_other", PATAS_ERR_NOT_FOUND);
}
END_TEST

START_TEST(an_ambiguity_lists_what_to_say)
{
    patas_found *found = all("same_name");
    ck_assert_uint_eq(found->count, 2);
    ck_assert_ptr_nonnull(strstr(found->text, "2 functions have that name"));
    for (size_t i = 0; i < found->count; i++) {
        ck_assert_ptr_nonnull(strstr(found->text, found->symbols[i].spec));
        ck_assert_uint_eq(find(found->symbols[i].spec),
                          found->symbols[i].address);
    }
    patas_found_free(found);
}
END_TEST

START_TEST(a_library_may_be_named)
{
    uintptr_t malloc_of_libc = (uintptr_t)dlsym(RTLD_DEFAULT, "malloc");
    ck_assert_uint_eq(find("malloc"), malloc_of_libc);
    ck_assert_uint_eq(find("malloc@libc"), malloc_of_libc);
    ck_assert_uint_eq(find("malloc@libc.so.6"), malloc_of_libc);
    misses("malloc@libdw", PATAS_ERR_NOT_FOUND);
    misses("parse_line@libc", PATAS_ERR_NOT_FOUND);
    ck_assert_uint_eq(find("parse_line@/proc/self/exe"), (uintptr_t)parse_line);
    ck_assert_uint_eq(find("parse_line@symbols_find"), (uintptr_t)parse_line);
}
END_TEST

START_TEST(a_path_may_be_relative)
{
    char folder[4096], spec[4200];
    ssize_t length = readlink("/proc/self/exe", folder, sizeof folder - 1);
    ck_assert_int_gt(length, 0);
    folder[length] = 0;
    char *base = strrchr(folder, '/');
    *base++ = 0;
    ck_assert_int_eq(chdir(folder), 0);
    snprintf(spec, sizeof spec, "parse_line@./%s", base);
    ck_assert_uint_eq(find(spec), (uintptr_t)parse_line);
    snprintf(spec, sizeof spec, "parse_line@../%s/%s", strrchr(folder, '/') + 1,
             base);
    ck_assert_uint_eq(find(spec), (uintptr_t)parse_line);
    snprintf(spec, sizeof spec, "malloc@./%s", base);
    misses(spec, PATAS_ERR_NOT_FOUND);
    /* Relative to where the process is, not to where it was started. */
    ck_assert_int_eq(chdir("/"), 0);
    snprintf(spec, sizeof spec, "parse_line@./%s", base);
    misses(spec, PATAS_ERR_NOT_FOUND);
    /* A library that was loaded by a relative path keeps it as its name. */
    ck_assert_int_eq(chdir(SAMPLES), 0);
    if (!dlopen("./gcc-O0.so", RTLD_NOW | RTLD_LOCAL))
        return; /* no gcc */
    uintptr_t called = find("called@./gcc-O0.so");
    ck_assert_uint_eq(find("called@" SAMPLES "/gcc-O0.so"), called);
    ck_assert_uint_eq(find("called@gcc-O0"), called);
}
END_TEST

/* memcpy's version that programs are linked to, which each architecture has its
 * own of. */
static const char *memcpy_spec(uintptr_t used)
{
    static const char *const versions[] = {"GLIBC_2.14", "GLIBC_2.17",
                                           "GLIBC_2.0"};
    static char spec[32];
    for (size_t i = 0; i < sizeof versions / sizeof *versions; i++) {
        snprintf(spec, sizeof spec, "memcpy@%s", versions[i]);
        if ((uintptr_t)dlvsym(RTLD_DEFAULT, "memcpy", versions[i]) == used)
            return spec;
    }
    ck_abort_msg("which version of memcpy is it?");
}

START_TEST(an_ifunc_is_the_implementation_in_use)
{
    uintptr_t used = (uintptr_t)dlsym(RTLD_DEFAULT, "memcpy");
    ck_assert_uint_eq(find("memcpy"), used);
    patas_found *found = all(memcpy_spec(used));
    ck_assert_uint_eq(found->count, 1);
    ck_assert(found->symbols[0].flags & PATAS_SYMBOL_IFUNC);
    ck_assert_uint_eq(found->symbols[0].address, used);
    ck_assert_uint_ne(found->symbols[0].resolver, used);
    ck_assert_uint_ne(found->symbols[0].resolver, 0);
    patas_found_free(found);
    ck_assert_uint_eq(find("find_chosen"), (uintptr_t)find_chosen_two());
    ck_assert_int_eq(find_chosen(1), 3);
    /* Its resolver is a function, too. */
    ck_assert_uint_ne(find("choose"), (uintptr_t)find_chosen_two());
}
END_TEST

START_TEST(a_version_may_be_named)
{
    static const struct {
        const char *name, *version;
    } old[] = {{"memcpy", "GLIBC_2.2.5"}, {"fopen", "GLIBC_2.0"}};
    int known = 0;
    for (size_t i = 0; i < sizeof old / sizeof *old; i++) {
        uintptr_t want =
            (uintptr_t)dlvsym(RTLD_DEFAULT, old[i].name, old[i].version);
        if (!want)
            continue; /* another architecture's */
        known++;
        char spec[64], spec_libc[80];
        snprintf(spec, sizeof spec, "%s@%s", old[i].name, old[i].version);
        snprintf(spec_libc, sizeof spec_libc, "%s@libc", spec);
        ck_assert_uint_eq(find(spec), want);
        ck_assert_uint_eq(find(spec_libc), want);
        ck_assert_uint_ne(find(old[i].name), want);
        patas_found *found = all(spec);
        ck_assert(found->symbols[0].flags & PATAS_SYMBOL_OLD);
        ck_assert_str_eq(found->symbols[0].version, old[i].version);
        patas_found_free(found);
    }
#if defined(__x86_64__) || defined(__i386__)
    ck_assert_int_eq(known, 1);
#endif
}
END_TEST

START_TEST(two_names_of_one_function_are_no_ambiguity)
{
    ck_assert_uint_eq(find("open"), (uintptr_t)dlsym(RTLD_DEFAULT, "open"));
    ck_assert_uint_eq(find("open64"), (uintptr_t)dlsym(RTLD_DEFAULT, "open64"));
}
END_TEST

START_TEST(every_copy_is_listed)
{
    void *math = dlopen("libm.so.6", RTLD_NOW | RTLD_GLOBAL);
    void *c = dlopen("libc.so.6", RTLD_NOW | RTLD_NOLOAD);
    ck_assert(math && c);
    uintptr_t one = (uintptr_t)dlsym(math, "frexp");
    uintptr_t two = (uintptr_t)dlsym(c, "frexp");
    ck_assert_uint_ne(one, two);
    misses("frexp", PATAS_ERR_AMBIGUOUS);
    ck_assert_uint_eq(find("frexp@libm"), one);
    ck_assert_uint_eq(find("frexp@libc"), two);
    patas_found *found = all("frexp");
    int seen = 0;
    for (size_t i = 0; i < found->count; i++)
        seen |= (found->symbols[i].address == one) |
                (found->symbols[i].address == two) << 1;
    ck_assert_int_eq(seen, 3);
    patas_found_free(found);
}
END_TEST

START_TEST(a_miss_says_what_may_be_meant)
{
    static const struct {
        const char *spec, *guess;
    } slips[] = {{"parse_lien", "parse_line"},
                 {"parse_lines", "parse_line"},
                 {"Parse_Line", "parse_line"},
                 {"parse_li", "parse_line"},
                 {"mallocc", "malloc@libc.so.6"},
                 {"parse_line@libc", "parse_line"},
                 {"nowhere.c:parse_line", "parse_line"},
                 {"klass::method", "ns::klass::method(int)"},
                 {"ns::klass::methd", "ns::klass::method(int)"}};
    for (size_t i = 0; i < sizeof slips / sizeof *slips; i++) {
        patas_found *found = NULL;
        patas_error error;
        ck_assert_int_eq(patas_find_all(slips[i].spec, &found, &error),
                         PATAS_ERR_NOT_FOUND);
        ck_assert_ptr_nonnull(found);
        int seen = 0;
        for (size_t k = 0; k < found->guess_count; k++)
            seen |= !strcmp(found->guesses[k], slips[i].guess);
        ck_assert_msg(seen, "%s: %s", slips[i].guess, found->text);
        ck_assert_ptr_nonnull(strstr(found->text, "Did you mean "));
        ck_assert_ptr_nonnull(strstr(found->text, slips[i].spec));
        patas_found_free(found);
    }
    patas_found *found = NULL;
    (void)!patas_find_all("qqqzzzxxx_nothing", &found, NULL);
    ck_assert_uint_eq(found->guess_count, 0);
    ck_assert_ptr_null(strstr(found->text, "Did you mean"));
    patas_found_free(found);
}
END_TEST

/* What can't be searched is not said to be absent. */
START_TEST(a_miss_says_where_it_did_not_look)
{
    patas_found *found = NULL;
    (void)!patas_find_all("late_function", &found, NULL);
    ck_assert_ptr_null(strstr(found->text, "dlmopen"));
    ck_assert_ptr_null(strstr(found->text, "no debug info"));
    patas_found_free(found);
    void *handle =
        dlmopen(LM_ID_NEWLM, SAMPLES "/late.so", RTLD_NOW | RTLD_LOCAL);
    ck_assert_msg(handle != NULL, "%s", dlerror());
    (void)!patas_find_all("late_function", &found, NULL);
    ck_assert_uint_eq(found->count, 0);
    ck_assert_ptr_nonnull(strstr(found->text, "dlmopen"));
    patas_found_free(found);
    /* The C library of that namespace makes no ambiguity. */
    ck_assert_uint_eq(find("malloc"), (uintptr_t)dlsym(RTLD_DEFAULT, "malloc"));
    if (!dlopen(SAMPLES "/gcc-O2-bare.so", RTLD_NOW | RTLD_LOCAL))
        return; /* no gcc */
    (void)!patas_find_all("small_static@gcc-O2-bare", &found, NULL);
    ck_assert_ptr_nonnull(
        strstr(found->text, "gcc-O2-bare.so has no debug info"));
    patas_found_free(found);
    (void)!patas_find_all("parse_line@nowhere", &found, NULL);
    ck_assert_uint_eq(found->guess_count, 1);
    patas_found_free(found);
    (void)!patas_find_all("zzzqqq@nowhere", &found, NULL);
    ck_assert_ptr_nonnull(
        strstr(found->text, "Nothing that is loaded is called nowhere."));
    patas_found_free(found);
    (void)!patas_find_all("0x10", &found, NULL);
    ck_assert_ptr_nonnull(strstr(found->text, "0x10: no code there in "));
    ck_assert_ptr_null(strstr(found->text, "debug"));
    patas_found_free(found);
}
END_TEST

START_TEST(cxx_names_as_people_write_them)
{
    static const struct {
        const char *spec;
        int which;
    } names[] = {
        {"ns::klass::method(int)", 0},
        {"ns::klass::method( int )", 0},
        {"ns::klass::method(char const*) const", 1},
        {"ns::klass::method(char const*)", 1},
        {"ns::klass::operator()", 2},
        {"ns::klass::operator()(int)", 2},
        {"ns::klass::operator<", 3},
        {"ns::klass::operator<(ns::klass const&) const", 3},
        {"ns::box<int>::get", 4},
        {"ns::box<int>::get(int)", 4},
        {"ns::generic", 5},
        {"ns::generic<long>", 5},
        {"ns::(anonymous namespace)::hidden", 6},
        {"global_cxx", 7},
        {"global_cxx(int)", 7},
        {"ns::klass::method(int)@symbols_find", 0},
        {"_ZN2ns5klass6methodEi", 0},
    };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        ck_assert_msg(find(names[i].spec) ==
                          (uintptr_t)find_cxx(names[i].which),
                      "%s", names[i].spec);
    misses("ns::klass::method", PATAS_ERR_AMBIGUOUS); /* two overloads */
    misses("ns::box::get", PATAS_ERR_AMBIGUOUS);      /* two instances */
    misses("ns::klass::method(long)", PATAS_ERR_NOT_FOUND);
    misses("ns::klass::metho", PATAS_ERR_NOT_FOUND);
    misses("klass::method", PATAS_ERR_NOT_FOUND);
    patas_found *found = all("ns::klass::method");
    ck_assert_uint_eq(found->count, 2);
    patas_found_free(found);
}
END_TEST

START_TEST(globs_list)
{
    patas_found *found = all("find_*");
    int seen = 0;
    for (size_t i = 0; i < found->count; i++) {
        ck_assert_int_eq(strncmp(found->symbols[i].name, "find_", 5), 0);
        seen |= found->symbols[i].address == (uintptr_t)find_exported_here;
        seen |= (found->symbols[i].address == (uintptr_t)find_cxx) << 1;
    }
    ck_assert_int_eq(seen, 3);
    patas_found_free(found);
    misses("find_ex*zzz", PATAS_ERR_NOT_FOUND);
    found = all("parse_lin[a-f]");
    ck_assert_uint_eq(found->count, 1);
    patas_found_free(found);
    found = all("ns::klass::m*");
    ck_assert_uint_eq(found->count, 2);
    patas_found_free(found);
}
END_TEST

static int by_address(const void *left, const void *right)
{
    const patas_symbol *a = left, *b = right;
    return (a->address > b->address) - (a->address < b->address);
}

START_TEST(a_function_is_listed_once)
{
    patas_found *found = all("*");
    ck_assert_uint_gt(found->count, 3000); /* the C library alone */
    patas_symbol *sorted = malloc(found->count * sizeof *sorted);
    ck_assert_ptr_nonnull(sorted);
    memcpy(sorted, found->symbols, found->count * sizeof *sorted);
    qsort(sorted, found->count, sizeof *sorted, by_address);
    for (size_t i = 1; i < found->count; i++)
        ck_assert_msg(sorted[i].address != sorted[i - 1].address ||
                          !sorted[i].address || sorted[i].resolver ||
                          sorted[i - 1].resolver,
                      "%s and %s", sorted[i].spec, sorted[i - 1].spec);
    free(sorted);
    patas_found_free(found);
}
END_TEST

START_TEST(addresses_of_files_and_of_memory)
{
    char spec[64];
    Dl_info info;
    snprintf(spec, sizeof spec, "0x%lx", (unsigned long)parse_line);
    ck_assert_uint_eq(find(spec), (uintptr_t)parse_line);
    uintptr_t address = find("malloc@libc");
    ck_assert(dladdr((void *)address, &info));
    snprintf(spec, sizeof spec, "0x%lx@libc",
             (unsigned long)(address - (uintptr_t)info.dli_fbase));
    ck_assert_uint_eq(find(spec), address);
    misses("0x10", PATAS_ERR_NOT_FOUND);
    misses("0xzz@libc", PATAS_ERR_ARGUMENT);
    misses("0x", PATAS_ERR_ARGUMENT);
}
END_TEST

START_TEST(bad_specs_are_refused)
{
    static const char *const specs[] = {"", "f@", "12f", "f@libc@libm@libz",
                                        NULL};
    for (size_t i = 0; i < sizeof specs / sizeof *specs; i++) {
        patas_found *found = (patas_found *)1;
        misses(specs[i], PATAS_ERR_ARGUMENT);
        ck_assert_int_eq(patas_find_all(specs[i], &found, NULL),
                         PATAS_ERR_ARGUMENT);
        ck_assert_ptr_null(found);
    }
    ck_assert_int_eq(patas_find("f", NULL, NULL), PATAS_ERR_ARGUMENT);
}
END_TEST

START_TEST(the_kernel_s_functions_only_when_named)
{
    if (!getauxval(AT_SYSINFO_EHDR))
        return;
    uintptr_t own = find("clock_gettime");
    ck_assert_uint_eq(own, (uintptr_t)dlsym(RTLD_DEFAULT, "clock_gettime"));
    patas_found *found = NULL;
    if (patas_find_all("clock_gettime@vdso", &found, NULL) != PATAS_OK) {
        patas_found_free(found); /* i386's goes by one name only */
        found = all("__vdso_clock_gettime@vdso");
    }
    ck_assert_uint_eq(found->count, 1);
    ck_assert(found->symbols[0].flags & PATAS_SYMBOL_VDSO);
    ck_assert_uint_ne(found->symbols[0].address, own);
    patas_found_free(found);
}
END_TEST

START_TEST(addresses_have_names_and_lines)
{
    patas_place *place;
    OK(patas_describe((uintptr_t)parse_line, &place, &error));
    ck_assert_str_eq(place->function, "parse_line");
    ck_assert_uint_eq(place->entry, (uintptr_t)parse_line);
    ck_assert_uint_eq(place->offset, 0);
    ck_assert_ptr_nonnull(strstr(place->file, "symbols/find.c"));
    ck_assert_uint_ge(place->line, LINE);
    ck_assert_uint_le(place->line, LINE + 2);
    ck_assert_ptr_nonnull(strstr(place->text, "parse_line (find.c:"));
    patas_place_free(place);
    OK(patas_describe((uintptr_t)find_cxx(0) + 1, &place, &error));
    ck_assert_str_eq(place->function, "ns::klass::method(int)");
    ck_assert_uint_eq(place->offset, 1);
    patas_place_free(place);
    int local;
    patas_error error;
    ck_assert_int_eq(patas_describe((uintptr_t)&local, &place, &error),
                     PATAS_ERR_NOT_FOUND);
    ck_assert_ptr_null(place);
}
END_TEST

START_TEST(errors_name_functions)
{
    const patas_error error = {.status = PATAS_ERR_NOT_CODE,
                               .target = (uintptr_t)parse_line,
                               .reason = PATAS_REASON_MID_FUNCTION,
                               .address = (uintptr_t)parse_line};
    char text[512], again[8];
    size_t length = patas_error_text_named(&error, text, sizeof text);
    ck_assert_uint_eq(length, strlen(text));
    ck_assert_ptr_nonnull(strstr(text, "parse_line@symbols_find"));
    ck_assert_ptr_null(strstr(text, "0x"));
    ck_assert_uint_eq(patas_error_text_named(&error, again, sizeof again),
                      length);
    ck_assert_int_eq(strncmp(text, again, sizeof again - 1), 0);
}
END_TEST

static int twice_of(int x)
{
    return x * 2;
}

START_TEST(replaced_by_name)
{
    patas_patch *patch;
    OK(patas_replace_name("parse_line", (patas_fn)twice_of, NULL, &patch,
                          &error));
    ck_assert_int_eq(parse_line(4), 8);
    ck_assert_int_eq(((int (*)(int))patas_original(patch))(4), 4 * 29);
    OK(patas_restore(patch, &error));
    ck_assert_int_eq(parse_line(4), 4 * 29);
    patas_error error;
    ck_assert_int_eq(patas_replace_name("same_name", (patas_fn)twice_of, NULL,
                                        &patch, &error),
                     PATAS_ERR_AMBIGUOUS);
    ck_assert_ptr_null(patch);
}
END_TEST

static void copy_file(const char *from, const char *to)
{
    char buffer[4096];
    size_t got;
    FILE *in = fopen(from, "r"), *out = fopen(to, "w");
    ck_assert(in && out);
    while ((got = fread(buffer, 1, sizeof buffer, in)))
        ck_assert_uint_eq(fwrite(buffer, 1, got, out), got);
    ck_assert_int_eq(fclose(out), 0);
    fclose(in);
}

/* What a module had is not found in the one that took its name and place. */
START_TEST(unloaded_modules_are_forgotten)
{
    static const char *const samples[] = {SAMPLES "/gcc-O2.so",
                                          SAMPLES "/gcc-O0.so"};
    char folder[] = "/tmp/patas-find-XXXXXX", path[64];
    if (access(samples[0], R_OK))
        return; /* no gcc */
    ck_assert_ptr_nonnull(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/taken.so", folder);
    for (int i = 0; i < 6; i++) {
        copy_file(samples[i % 2], path);
        void *handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
        ck_assert_ptr_nonnull(handle);
        ck_assert_uint_eq(find("sample_named@taken"),
                          (uintptr_t)dlsym(handle, "sample_named"));
        ck_assert_uint_eq(find("sample_types@taken"),
                          (uintptr_t)dlsym(handle, "sample_types"));
        dlclose(handle);
        misses("sample_named@taken", PATAS_ERR_NOT_FOUND);
        unlink(path);
    }
    rmdir(folder);
}
END_TEST

static void add_tests(TCase *tests)
{
    tcase_add_test(tests, static_functions_by_name);
    tcase_add_test(tests, a_file_tells_one_static_from_another);
    tcase_add_test(tests, an_ambiguity_lists_what_to_say);
    tcase_add_test(tests, a_library_may_be_named);
    tcase_add_test(tests, a_path_may_be_relative);
    tcase_add_test(tests, an_ifunc_is_the_implementation_in_use);
    tcase_add_test(tests, a_version_may_be_named);
    tcase_add_test(tests, two_names_of_one_function_are_no_ambiguity);
    tcase_add_test(tests, every_copy_is_listed);
    tcase_add_test(tests, a_miss_says_what_may_be_meant);
    tcase_add_test(tests, a_miss_says_where_it_did_not_look);
    tcase_add_test(tests, cxx_names_as_people_write_them);
    tcase_add_test(tests, globs_list);
    tcase_add_test(tests, a_function_is_listed_once);
    tcase_add_test(tests, addresses_of_files_and_of_memory);
    tcase_add_test(tests, bad_specs_are_refused);
    tcase_add_test(tests, the_kernel_s_functions_only_when_named);
    tcase_add_test(tests, addresses_have_names_and_lines);
    tcase_add_test(tests, errors_name_functions);
    tcase_add_test(tests, replaced_by_name);
    tcase_add_test(tests, unloaded_modules_are_forgotten);
}

EXPECT_MAIN("find", add_tests)
