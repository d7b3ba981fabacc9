/* SPDX-License-Identifier: MIT */
/*
 * The reader of .gopclntab, on a Go program's file.
 *
 *     pclntab FILE ENTRY-OF-main.main (hexadecimal)
 */
#include "../../golang/pclntab.h"
#include "../../golang/prologue.h"
#include "program.h"

#include <check.h>

static uint64_t main_entry;
static struct patas__image image;

static bool count_place(void *data, const struct patas__inlined *inlined)
{
    (void)inlined;
    return ++*(unsigned *)data < 1000;
}

START_TEST(main_is_found_by_name_and_by_address)
{
    struct patas__pclntab tab;
    struct patas__gofunc by_name, by_address;
    uint32_t index = 0;
    size_t length;
    int32_t line;
    ck_assert(patas__pclntab_find(&image, &tab));
    ck_assert(patas__pclntab_named(&tab, "main.main", 9, &index, &by_name));
    ck_assert_uint_eq(by_name.entry, main_entry);
    ck_assert(patas__pclntab_at(&tab, main_entry + 1, &by_address));
    ck_assert_uint_eq(by_address.index, by_name.index);
    ck_assert(!patas__pclntab_named(&tab, "main.main", 9, &index, &by_name));
    index = 0;
    ck_assert(!patas__pclntab_named(&tab, "main.mai", 8, &index, &by_name));
    const char *file =
        patas__pclntab_line(&tab, &by_address, main_entry, &line, &length);
    ck_assert_ptr_nonnull(file);
    ck_assert_uint_gt(length, 8);
    ck_assert_str_eq(file + length - 8, "/main.go");
    ck_assert_int_gt(line, 1);
}
END_TEST

START_TEST(functions_follow_each_other_and_begin_as_go_begins_them)
{
    struct patas__pclntab tab;
    struct patas__gofunc func;
    uint64_t end = 0;
    unsigned shapes[4] = {0};
    ck_assert(patas__pclntab_find(&image, &tab));
    for (uint32_t i = 0; i < tab.functions; i++) {
        struct patas__go_head head;
        ck_assert(patas__pclntab_func(&tab, i, &func));
        ck_assert_uint_ge(func.entry, end);
        end = func.end;
        uint64_t size = func.end - func.entry;
        const uint8_t *bytes = patas__image_bytes(&image, func.entry, size);
        if (!bytes || func.flag & PATAS__GO_ASSEMBLY)
            continue;
        patas__go_head(image.isa, bytes, size, func.entry, &head);
        shapes[head.shape]++;
    }
    ck_assert_uint_gt(shapes[PATAS__GO_CHECKED], 1000);
    ck_assert_uint_gt(shapes[PATAS__GO_LEAF], 50);
    ck_assert_uint_le(shapes[PATAS__GO_UNKNOWN] * 100, tab.functions);
}
END_TEST

START_TEST(inlined_calls_are_listed)
{
    struct patas__pclntab tab;
    unsigned count = 0;
    ck_assert(patas__pclntab_find(&image, &tab));
    ck_assert(tab.gofunc);
    /* Short, and all over the library. */
    patas__pclntab_inlined(&tab, "sync.(*Mutex).Unlock", 20, count_place,
                           &count);
    ck_assert_uint_gt(count, 5);
}
END_TEST

/* All that the readers are asked for, of a table that lies. */
static void read_all(void)
{
    struct patas__pclntab tab;
    struct patas__gofunc func;
    size_t length;
    int32_t line;
    uint32_t index = 0;
    unsigned count = 0;
    if (!patas__pclntab_find(&image, &tab))
        return;
    for (uint32_t i = 0; i < tab.functions; i += 37) {
        if (!patas__pclntab_func(&tab, i, &func))
            continue;
        (void)patas__pclntab_name(&tab, func.name, &length);
        (void)patas__pclntab_line(&tab, &func, func.entry + 9, &line, &length);
        (void)patas__pclntab_at(&tab, func.entry + 1, &func);
    }
    (void)patas__pclntab_named(&tab, "main.main", 9, &index, &func);
    patas__pclntab_inlined(&tab, "sync.(*Mutex).Unlock", 20, count_place,
                           &count);
}

START_TEST(a_damaged_table_is_read_within_its_bounds)
{
    enum {
        CHANGES = 400,
        ROUNDS = 6,
        HEADER = 72
    };
    struct patas__pclntab tab;
    uint32_t random = 12345 + (uint32_t)_i;
    ck_assert(patas__pclntab_find(&image, &tab));
    uint8_t *base = (uint8_t *)(uintptr_t)tab.base;
    const uint64_t parts[] = {tab.names, tab.values, tab.table,
                              tab.table + (uint64_t)tab.functions * 8};
    for (unsigned round = 0; round < ROUNDS; round++) {
        uint64_t at[CHANGES];
        uint8_t was[CHANGES];
        for (unsigned k = 0; k < CHANGES; k++) {
            random = random * 1664525 + 1013904223;
            /* A byte of the header in half of the rounds: it is short. */
            bool header = !k && round % 2;
            uint64_t part = header ? 0 : parts[(random >> 3) % 4];
            uint64_t room = header ? HEADER : tab.size - part;
            at[k] = part + (random >> 7) % room;
            was[k] = base[at[k]];
            base[at[k]] = (uint8_t)(random >> 24);
        }
        read_all();
        for (unsigned k = CHANGES; k-- > 0;)
            base[at[k]] = was[k];
    }
    ck_assert(patas__pclntab_find(&image, &tab));
}
END_TEST

int main(int argc, char **argv)
{
    if (argc != 3)
        return 77;
    main_entry = strtoull(argv[2], NULL, 16);
    program_read(argv[1], &image);
    Suite *suite = suite_create("pclntab");
    TCase *tests = tcase_create("file");
    tcase_set_timeout(tests, 0);
    tcase_add_test(tests, main_is_found_by_name_and_by_address);
    tcase_add_test(tests,
                   functions_follow_each_other_and_begin_as_go_begins_them);
    tcase_add_test(tests, inlined_calls_are_listed);
    tcase_add_loop_test(tests, a_damaged_table_is_read_within_its_bounds, 0, 8);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
