/* SPDX-License-Identifier: MIT */
/* A function's extent is found from whatever tables are left. */
#include "image_maker.h"
#include "image_support.h"
#include "target.h"

#include <check.h>
#include <elf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static double now_ns(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec * 1e9 + (double)time.tv_nsec;
}

static struct patas__extent find(const struct image_maker *maker,
                                 unsigned offset)
{
    struct patas__extent extent;
    if (!patas__extent_find(&maker->image, MAKER_CODE + offset, &extent))
        ck_assert_msg(extent.source == PATAS__SOURCE_NONE && !extent.size,
                      "what isn't found must look like nothing");
    return extent;
}

#define CHECK_EXTENT(got, offset_, size_, padding_, entry_)  \
    do {                                                     \
        struct patas__extent e_ = (got);                     \
        ck_assert_uint_eq(e_.start, MAKER_CODE + (offset_)); \
        ck_assert_uint_eq(e_.size, (size_));                 \
        ck_assert_uint_eq(e_.padding, (padding_));           \
        ck_assert_int_eq(e_.entry, (entry_));                \
    } while (0)

/* Every function that a library exports: its unwind description begins where
 * the symbol does. It ends there, too, but in a few functions written in
 * assembly (clone, setcontext: the description ends early so that unwinding
 * stops; RC4_options: its text follows the code), where it is the shorter. */
START_TEST(every_exported_function_is_found_whole)
{
    size_t libraries = 0;

    for (size_t i = 0; i < LENGTH(image_libraries); i++) {
        struct patas__image image;
        size_t count, same = 0, shorter = 0, padded = 0;
        if (!image_of_process(image_libraries[i], &image, NULL))
            continue;
        libraries++;
        struct image_function *all = image_functions(&image, &count);
        for (size_t k = 0; k < count; k++) {
            struct patas__extent extent;
            ck_assert_msg(patas__extent_find(&image, all[k].address, &extent) &&
                              extent.start == all[k].address && extent.entry &&
                              extent.size <= all[k].size,
                          "%s: %s", image_libraries[i], all[k].name);
            same += extent.size == all[k].size;
            shorter += extent.size < all[k].size;
            padded += extent.padding != 0;
        }
        double before = now_ns();
        for (size_t k = 0; k < count; k++) {
            struct patas__extent extent;
            (void)patas__extent_find(&image, all[k].address, &extent);
        }
        printf("%-20s %5zu functions, %zu shorter than their symbol, %zu "
               "padded, %.0f ns each\n",
               image_libraries[i], count, shorter, padded,
               (now_ns() - before) / (double)count);
        ck_assert_uint_eq(same + shorter, count);
        ck_assert_uint_le(shorter, 3);
        ck_assert_uint_gt(padded, count / 2);
        free(all);
    }
    ck_assert_uint_ge(libraries, 1);
}
END_TEST

/* The same answers without any symbol: that is what a stripped file has. */
START_TEST(a_stripped_library_has_the_same_functions)
{
    struct patas__image image, stripped;
    size_t count, other = 0, alone = 0;

    ck_assert(image_of_process("libc.so.6", &image, NULL));
    stripped = image;
    stripped.symtab_count = 0;
    struct image_function *all = image_functions(&image, &count);
    ck_assert_uint_gt(count, 1000);
    for (size_t k = 0; k < count; k++) {
        struct patas__extent one, two;
        ck_assert(patas__extent_find(&image, all[k].address, &one));
        if (one.source == PATAS__SOURCE_SYMBOL) { /* of assembly: mcount */
            alone++;
            continue;
        }
        ck_assert_msg(patas__extent_find(&stripped, all[k].address, &two) &&
                          one.start == two.start && one.size == two.size &&
                          one.source == two.source && two.entry,
                      "%s", all[k].name);
        other += one.padding != two.padding;
    }
    ck_assert_uint_eq(other, 0);
    ck_assert_uint_le(alone, 4);
    free(all);
}
END_TEST

START_TEST(an_address_inside_a_function_is_no_entry)
{
    struct patas__image image;
    size_t count, inner = 0, known = 0;

    ck_assert(image_of_process("libm.so.6", &image, NULL));
    struct image_function *all = image_functions(&image, &count);
    for (size_t k = 0; k < count; k += 7) {
        for (uint64_t at = 1; at < all[k].size; at += 1 + at / 8) {
            struct patas__extent extent;
            ck_assert(patas__extent_find(&image, all[k].address + at, &extent));
            ck_assert_uint_eq(extent.start, all[k].address);
            ck_assert(!extent.entry);
            inner++;
        }
    }
    ck_assert_uint_gt(inner, 1000);
    /* ... and data and what lies outside is not known at all. */
    for (unsigned i = 0; i < image.segment_count; i++) {
        struct patas__extent extent;
        if (!image.segments[i].executable)
            known +=
                patas__extent_find(&image, image.segments[i].address, &extent);
    }
    ck_assert_uint_eq(known, 0);
    free(all);
}
END_TEST

/* Padding is filler, as the decoder says, and no byte of it is a function's. */
START_TEST(padding_belongs_to_nobody)
{
    for (size_t i = 0; i < LENGTH(image_libraries); i++) {
        struct patas__image image;
        size_t count;
        if (!image_of_process(image_libraries[i], &image, NULL))
            continue;
        struct image_function *all = image_functions(&image, &count);
        for (size_t k = 0; k < count; k++) {
            struct patas__extent extent, other;
            ck_assert(patas__extent_find(&image, all[k].address, &extent));
            uint64_t at = extent.start + extent.size;
            uint64_t end = at + extent.padding;
            ck_assert_uint_le(extent.padding, 64);
            if (k + 1 < count)
                ck_assert_uint_le(end, all[k + 1].address);
            while (at < end) {
                struct patas__insn insn;
                ck_assert(
                    image.isa->decode(patas__image_bytes(&image, at, end - at),
                                      (size_t)(end - at), at, &insn));
                ck_assert_msg(insn.padding, "%s", all[k].name);
                ck_assert(!patas__extent_find(&image, at, &other));
                at += insn.length;
            }
            ck_assert_uint_eq(at, end);
        }
        free(all);
    }
}
END_TEST

static const struct patas__isa *const isas[] = {&patas__isa_x86_64,
                                                &patas__isa_i386};

START_TEST(padding_ends_where_unknown_code_may_begin)
{
    static const uint8_t code[] = {
        0xc3,                         /* 10: ret, described        */
        0x0f, 0x1f, 0x40, 0x00,       /* 11: nopl 0(%rax)          */
        0x66, 0x90,                   /* 15: xchg %ax,%ax          */
        0xc3,                         /* 17: ret, described        */
        0xcc, 0xcc,                   /* 18: int3, int3            */
        0x90, 0x90, 0x90, 0x90, 0x90, /* 1a: ...                   */
        0x90,                         /* 1f                        */
        0x90,                         /* 20: unknown code may begin */
        0x31, 0xc0,                   /* 21: xor %eax,%eax         */
        0xc3,                         /* 23: ret, described        */
        0x00, 0x00, 0x00, 0x00,       /* 24: zeros prove nothing   */
        0xc3,                         /* 28: ret, described        */
    };
    struct image_maker maker;

    maker_begin(&maker, isas[_i]);
    maker_code(&maker, 0x10, code, sizeof code);
    maker_frame(&maker, 0x10, 1);
    maker_frame(&maker, 0x17, 1);
    maker_frame(&maker, 0x23, 1);
    maker_frame(&maker, 0x28, 1);
    maker_end(&maker);
    CHECK_EXTENT(find(&maker, 0x10), 0x10, 1, 6, true);
    CHECK_EXTENT(find(&maker, 0x17), 0x17, 1, 8, true);
    CHECK_EXTENT(find(&maker, 0x23), 0x23, 1, 0, true);
    /* 64 bytes at most are looked at, so this run ends at nothing known. */
    CHECK_EXTENT(find(&maker, 0x28), 0x28, 1, 7, true);
}
END_TEST

START_TEST(padding_ends_where_a_symbol_begins)
{
    static const uint8_t code[] = {
        0xc3,                         /* 14: ret, described         */
        0x90, 0x90, 0x90,             /* 15: filler                 */
        0x90, 0x90, 0x90, 0x31, 0xc0, /* 18: a function without one */
        0xc3,                         /* 1d: ret, described         */
        0x90, 0xc3,                   /* 1e: a function right there */
    };
    struct image_maker maker;

    maker_begin(&maker, isas[_i]);
    maker_code(&maker, 0x14, code, sizeof code);
    maker_frame(&maker, 0x14, 1);
    maker_frame(&maker, 0x1d, 1);
    maker_symbol(&maker, 0x18, 5, STT_FUNC, 1, "patchable");
    maker_symbol(&maker, 0x1e, 0, STT_FUNC, 1, "next");
    maker_end(&maker);
    CHECK_EXTENT(find(&maker, 0x14), 0x14, 1, 3, true);
    CHECK_EXTENT(find(&maker, 0x18), 0x18, 5, 0, true);
    CHECK_EXTENT(find(&maker, 0x1d), 0x1d, 1, 0, true);
    CHECK_EXTENT(find(&maker, 0x1e), 0x1e, 2, 0, true);
}
END_TEST

/* Assembly that describes two functions, or more, at once. */
START_TEST(a_symbol_inside_a_description_is_an_entry)
{
    struct image_maker maker;

    maker_begin(&maker, isas[_i]);
    maker_code(&maker, 0x40, "\x31\xc0\x90\xff\xc0\xc3\xff\xc1\xc3", 9);
    maker_frame(&maker, 0x40, 0x10);
    maker_symbol(&maker, 0x43, 3, STT_FUNC, 1, "second");
    maker_symbol(&maker, 0x46, 0, STT_NOTYPE, 1, "third");
    maker_symbol(&maker, 0x48, 0, STT_OBJECT, 1, "no_function");
    maker_end(&maker);
    CHECK_EXTENT(find(&maker, 0x40), 0x40, 0x10, 0, true);
    CHECK_EXTENT(find(&maker, 0x43), 0x43, 3, 0, true);
    CHECK_EXTENT(find(&maker, 0x46), 0x46, 10, 0, true);
    CHECK_EXTENT(find(&maker, 0x44), 0x40, 0x10, 0, false);
    CHECK_EXTENT(find(&maker, 0x48), 0x40, 0x10, 0, false);
}
END_TEST

START_TEST(an_empty_description_hides_nothing)
{
    struct image_maker maker;

    maker_begin(&maker, isas[_i]);
    maker_code(&maker, 0x40, "\x31\xc0\xc3", 3);
    maker_frame(&maker, 0x40, 3);
    maker_frame(&maker, 0x40, 0);
    maker_frame(&maker, 0x50, 0);
    maker_end(&maker);
    CHECK_EXTENT(find(&maker, 0x40), 0x40, 3, 13, true);
    CHECK_EXTENT(find(&maker, 0x42), 0x40, 3, 13, false);
    ck_assert_int_eq(find(&maker, 0x50).source, PATAS__SOURCE_NONE);
    ck_assert_int_eq(find(&maker, 0x45).source, PATAS__SOURCE_NONE);
}
END_TEST

/* Code without a description: what symbols say, else how far it runs. */
START_TEST(a_symbol_without_a_size_ends_where_its_code_does)
{
    static const uint8_t code[] = {
        0x85, 0xff,       /* 10: test %edi,%edi */
        0x74, 0x02,       /* 12: je 16          */
        0x90,             /* 14: nop            */
        0xc3,             /* 15: ret            */
        0x31, 0xc0,       /* 16: xor %eax,%eax  */
        0xc3,             /* 18: ret            */
        0x31, 0xc0, 0xc3, /* 19: other code     */
    };
    struct image_maker maker;

    maker_begin(&maker, isas[_i]);
    maker_code(&maker, 0x10, code, sizeof code);
    maker_symbol(&maker, 0x10, 0, STT_FUNC, 1, "sizeless");
    maker_symbol(&maker, 0x100, 0x20, STT_FUNC, 1, "sized");
    maker_symbol(&maker, 0x104, 8, STT_FUNC, 1, "within");
    maker_end(&maker);
    CHECK_EXTENT(find(&maker, 0x10), 0x10, 9, 0, true);
    ck_assert_int_eq(find(&maker, 0x19).source, PATAS__SOURCE_NONE);
    CHECK_EXTENT(find(&maker, 0x100), 0x100, 0x20, 0, true);
    CHECK_EXTENT(find(&maker, 0x106), 0x104, 8, 4, false);
    CHECK_EXTENT(find(&maker, 0x110), 0x100, 0x20, 0, false);
}
END_TEST

START_TEST(each_stub_of_a_plt_is_an_entry)
{
    static const uint8_t plt[] = {
        0xff, 0x35, 0xe2, 0x4f, 0x00, 0x00, /* 20: push data+8          */
        0xff, 0x25, 0xe4, 0x4f, 0x00, 0x00, /* 26: jmp *data+16         */
        0x0f, 0x1f, 0x40, 0x00,             /* 2c: nopl 0(%rax)         */
        0xff, 0x25, 0xe2, 0x4f, 0x00, 0x00, /* 30: jmp *data+24         */
        0x68, 0x00, 0x00, 0x00, 0x00,       /* 36: push $0              */
        0xe9, 0xe0, 0xff, 0xff, 0xff,       /* 3b: jmp 20               */
        0xff, 0x25, 0xda, 0x4f, 0x00, 0x00, /* 40: jmp *data+32         */
        0x68, 0x01, 0x00, 0x00, 0x00,       /* 46: push $1              */
        0xe9, 0xd0, 0xff, 0xff, 0xff,       /* 4b: jmp 20               */
    };
    struct image_maker maker;

    maker_begin(&maker, &patas__isa_x86_64);
    maker_code(&maker, 0x20, plt, sizeof plt);
    maker_frame(&maker, 0x20, sizeof plt);
    maker_end(&maker);
    CHECK_EXTENT(find(&maker, 0x30), 0x30, 6, 0, true);
    CHECK_EXTENT(find(&maker, 0x40), 0x40, 6, 0, true);
    ck_assert_int_eq(find(&maker, 0x40).source, PATAS__SOURCE_STUB);
    CHECK_EXTENT(find(&maker, 0x36), 0x20, sizeof plt, 0, false);
    CHECK_EXTENT(find(&maker, 0x28), 0x20, sizeof plt, 0, false);
}
END_TEST

/* Without the search table every record is walked; the answers are the same. */
START_TEST(no_search_table_is_needed)
{
    struct patas__image image;
    size_t count;

    ck_assert(image_of_process("libz.so.1", &image, NULL) ||
              image_of_process("libc.so.6", &image, NULL));
    struct patas__image walked = image;
    walked.eh_table = walked.eh_count = 0;
    struct image_function *all = image_functions(&image, &count);
    ck_assert_uint_gt(count, 10);
    for (size_t k = 0; k < count; k++) {
        struct patas__extent one, two;
        ck_assert(patas__extent_find(&image, all[k].address, &one));
        ck_assert(patas__extent_find(&walked, all[k].address, &two));
        ck_assert_msg(one.start == two.start && one.size == two.size &&
                          one.padding == two.padding,
                      "%s", all[k].name);
    }
    free(all);
}
END_TEST

/* The forms of address that compilers write by option or on other systems. */
START_TEST(descriptions_may_encode_addresses_in_every_way)
{
    enum {
        FRAME = 0x400,
        FDE = FRAME + 24
    };
    static const uint8_t encodings[] = {0x00, 0x03, 0x04, 0x0b, 0x0c,
                                        0x10, 0x1b, 0x1c, 0x3b};
    struct image_maker maker;
    uint8_t encoding = encodings[_i];
    uint64_t value = MAKER_CODE + 0x40;
    bool eight = (encoding & 15) == 0 || (encoding & 7) == 4;

    maker_begin(&maker, &patas__isa_x86_64);
    maker_code(&maker, 0x40, "\x31\xc0\xc3", 3);
    maker_frame(&maker, 0x40, 3);
    maker.tables[FRAME + 16] = encoding;
    if ((encoding & 0xf0) == 0x10)
        value -= MAKER_TABLES + FDE + 8;
    else if ((encoding & 0xf0) == 0x30)
        value -= MAKER_TABLES;
    else
        value -= MAKER_BIAS;
    patas__store64(maker.tables + FDE + 8, value);
    if (eight)
        patas__store32(maker.tables + FDE, 24);
    patas__store64(maker.tables + FDE + (eight ? 16 : 12), 3);
    maker_end(&maker);
    CHECK_EXTENT(find(&maker, 0x41), 0x40, 3, 13, false);
    /* ... but not through a pointer. */
    maker.tables[FRAME + 16] |= 0x80;
    ck_assert_int_eq(find(&maker, 0x41).source, PATAS__SOURCE_NONE);
}
END_TEST

/* Sizes that reach beyond the code are cut. */
START_TEST(an_extent_ends_with_its_segment)
{
    struct image_maker maker;

    maker_begin(&maker, isas[_i]);
    maker_frame(&maker, MAKER_SIZE - 16, 0x7fffffff);
    maker_symbol(&maker, MAKER_SIZE - 32, 0x7fffffff, STT_FUNC, 1, "long");
    maker_end(&maker);
    CHECK_EXTENT(find(&maker, MAKER_SIZE - 1), MAKER_SIZE - 16, 16, 0, false);
    CHECK_EXTENT(find(&maker, MAKER_SIZE - 32), MAKER_SIZE - 32, 32, 0, true);
    ck_assert_int_eq(find(&maker, MAKER_SIZE).source, PATAS__SOURCE_NONE);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("extent");
    TCase *real = tcase_create("libraries"), *made = tcase_create("made");

    tcase_add_test(real, every_exported_function_is_found_whole);
    tcase_add_test(real, a_stripped_library_has_the_same_functions);
    tcase_add_test(real, an_address_inside_a_function_is_no_entry);
    tcase_add_test(real, padding_belongs_to_nobody);
    tcase_add_test(real, no_search_table_is_needed);
    tcase_add_loop_test(made, padding_ends_where_unknown_code_may_begin, 0, 2);
    tcase_add_loop_test(made, padding_ends_where_a_symbol_begins, 0, 2);
    tcase_add_loop_test(made, a_symbol_inside_a_description_is_an_entry, 0, 2);
    tcase_add_loop_test(made, an_empty_description_hides_nothing, 0, 2);
    tcase_add_loop_test(made, a_symbol_without_a_size_ends_where_its_code_does,
                        0, 2);
    tcase_add_test(made, each_stub_of_a_plt_is_an_entry);
    tcase_add_loop_test(made, descriptions_may_encode_addresses_in_every_way, 0,
                        9);
    tcase_add_loop_test(made, an_extent_ends_with_its_segment, 0, 2);
    suite_add_tcase(suite, real);
    suite_add_tcase(suite, made);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
