/* SPDX-License-Identifier: MIT */
/* What jumps into a window is known, from wherever in the module. */
#include "image_maker.h"
#include "image_support.h"
#include "machine.h"

#include <check.h>
#include <elf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    WINDOW = 0x400
};

static double now_ns(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec * 1e9 + (double)time.tv_nsec;
}

static uint8_t *map_of(const struct patas__image *image)
{
    size_t size = patas__branches_map_size(image) + 1;
    uint8_t *bits = calloc(2, size);
    if (!bits)
        abort();
    patas__branches_map(image, bits, bits + size);
    return bits;
}

/* Each kind of branch that can reach a window, and how far away it stands. */
static const struct kind {
    const char *text;
    uint8_t opcode[3];
    unsigned size; /* of the opcode */
    unsigned rel;  /* bytes of the displacement */
    bool call;
} kinds[] = {
    {"jmp rel32", {0xe9}, 1, 4, false},
    {"jcc rel32", {0x0f, 0x85}, 2, 4, false},
    {"xbegin", {0xc7, 0xf8}, 2, 4, false},
    {"call", {0xe8}, 1, 4, true},
    {"jmp rel8", {0xeb}, 1, 1, false},
    {"jcc rel8", {0x7f}, 1, 1, false},
    {"loop", {0xe2}, 1, 1, false},
    {"jrcxz", {0xe3}, 1, 1, false},
    {"jecxz", {0x67, 0xe3}, 2, 1, false},
    {"bnd jcc", {0xf2, 0x0f, 0x8e}, 3, 4, false},
};

static void put_branch(struct image_maker *maker, const struct kind *kind,
                       unsigned from, unsigned to)
{
    uint8_t code[8];
    uint32_t rel = to - (from + kind->size + kind->rel);

    memcpy(code, kind->opcode, kind->size);
    patas__store32(code + kind->size, rel);
    maker_code(maker, from, code, kind->size + kind->rel);
}

static void check_kind(const struct kind *kind, unsigned from, unsigned k)
{
    struct image_maker maker;
    uint64_t window = MAKER_CODE + WINDOW;
    uint32_t want = kind->call && k == 0 ? 0 : (uint32_t)1 << k;

    maker_begin(&maker, &patas__isa_x86_64);
    put_branch(&maker, kind, from, WINDOW + k);
    /* Described one by one, in order. */
    if (from < WINDOW)
        maker_frame(&maker, from, 8);
    maker_frame(&maker, WINDOW, 32);
    if (from > WINDOW)
        maker_frame(&maker, from, 8);
    maker_end(&maker);
    uint32_t got = image_search(&maker.image, window, 16, window, window + 16);
    ck_assert_msg(got == want, "%s from %x to +%u: search %x", kind->text, from,
                  k, got);
    uint8_t *bits = map_of(&maker.image);
    got = image_mapped(&maker.image, bits, window, 16, window + 16);
    ck_assert_msg(got == want, "%s from %x to +%u: map %x", kind->text, from, k,
                  got);
    free(bits);
}

START_TEST(every_kind_of_branch_is_seen_by_both)
{
    static const unsigned near[] = {WINDOW - 112, WINDOW - 64, WINDOW - 9,
                                    WINDOW + 40, WINDOW + 100};
    static const unsigned far[] = {
        0, 1, 0x333, WINDOW - 9, 0x77f, MAKER_SIZE - 9, MAKER_SIZE - 8};
    const struct kind *kind = &kinds[_i];
    const unsigned *from = kind->rel == 1 ? near : far;
    size_t count = kind->rel == 1 ? LENGTH(near) : LENGTH(far);

    for (size_t i = 0; i < count; i++) {
        for (unsigned k = 0; k < 16; k += 1 + k / 4)
            check_kind(kind, from[i], k);
    }
}
END_TEST

/* The farthest that a rel8 reaches, and the widest window there is, from every
 * place relative to the 16 bytes that are looked at together. */
START_TEST(no_place_is_too_far_or_askew)
{
    struct image_maker maker;
    const uint64_t window = MAKER_CODE + WINDOW;

    for (unsigned from = 0x300; from < 0x320; from++) {
        for (unsigned k = 0; k < 32; k++) {
            maker_begin(&maker, &patas__isa_x86_64);
            put_branch(&maker, &kinds[0], from, WINDOW + k);
            put_branch(&maker, &kinds[1], WINDOW + from, WINDOW + 31 - k);
            maker_end(&maker);
            ck_assert_uint_eq(image_search(&maker.image, window, 32, 0, 0),
                              (uint32_t)1 << k | (uint32_t)1 << (31 - k));
        }
    }
    for (unsigned k = 0; k < 32; k++) {
        maker_begin(&maker, &patas__isa_x86_64);
        put_branch(&maker, &kinds[4], WINDOW + k - 129, WINDOW + k);
        put_branch(&maker, &kinds[5], WINDOW + 31 - k + 126, WINDOW + 31 - k);
        maker_end(&maker);
        ck_assert_uint_eq(image_search(&maker.image, window, 32, 0, 0),
                          (uint32_t)1 << k | (uint32_t)1 << (31 - k));
    }
}
END_TEST

/* A window at either end of the code. */
START_TEST(the_ends_of_the_code_are_searched)
{
    struct image_maker maker;

    for (unsigned end = 0; end < 2; end++) {
        unsigned at = end ? MAKER_SIZE - 4 : 0;
        maker_begin(&maker, &patas__isa_x86_64);
        put_branch(&maker, &kinds[4], end ? at - 20 : 40, at + 1);
        put_branch(&maker, &kinds[0], end ? 0 : MAKER_SIZE - 5, at + 2);
        maker_end(&maker);
        ck_assert_uint_eq(image_search(&maker.image, MAKER_CODE + at, 4, 0, 0),
                          6);
        uint8_t *bits = map_of(&maker.image);
        ck_assert_uint_eq(
            image_mapped(&maker.image, bits, MAKER_CODE + at, 4, 0), 6);
        free(bits);
    }
}
END_TEST

START_TEST(what_is_moved_anyway_is_not_counted)
{
    struct image_maker maker;
    uint64_t window = MAKER_CODE + WINDOW;

    maker_begin(&maker, &patas__isa_x86_64);
    maker_frame(&maker, WINDOW, 0x40);
    put_branch(&maker, &kinds[5], WINDOW + 2, WINDOW + 9);    /* seen there */
    put_branch(&maker, &kinds[5], WINDOW + 0x14, WINDOW + 3); /* a loop */
    maker_end(&maker);
    ck_assert_uint_eq(
        image_search(&maker.image, window, 16, window, window + 16), 1u << 3);
    ck_assert_uint_eq(
        image_search(&maker.image, window, 16, window, window + 1),
        1u << 3 | 1u << 9);
    ck_assert_uint_eq(
        image_search(&maker.image, window, 16, window, window + 0x20), 0);
    uint8_t *bits = map_of(&maker.image);
    ck_assert_uint_eq(image_mapped(&maker.image, bits, window, 16, window + 16),
                      1u << 3);
    free(bits);
}
END_TEST

START_TEST(a_symbol_in_the_window_is_a_way_in)
{
    struct image_maker maker;
    uint64_t window = MAKER_CODE + WINDOW;

    maker_begin(&maker, &patas__isa_x86_64);
    maker_frame(&maker, WINDOW, 0x40);
    maker_symbol(&maker, WINDOW, 0x40, STT_FUNC, 1, "whole");
    maker_symbol(&maker, WINDOW + 3, 0x3d, STT_FUNC, 1, "second");
    maker_symbol(&maker, WINDOW + 5, 4, STT_OBJECT, 1, "data");
    maker_end(&maker);
    ck_assert_uint_eq(image_search(&maker.image, window, 16, 0, 0), 1u << 3);
    uint8_t *bits = map_of(&maker.image);
    ck_assert_uint_eq(image_mapped(&maker.image, bits, window, 16, window + 16),
                      1u << 3);
    free(bits);
}
END_TEST

/* Bytes that are no code must not hide a branch behind them for long. */
START_TEST(data_in_the_code_hides_no_far_branch)
{
    struct image_maker maker;
    uint64_t window = MAKER_CODE + WINDOW;

    maker_begin(&maker, &patas__isa_x86_64);
    /* A constant whose last byte is the start of a long instruction: `movabs`
     * swallows the branch. */
    maker_code(&maker, 0x100, "\x06\x06\x06\x06\x06\x06\x48\xb8", 8);
    put_branch(&maker, &kinds[0], 0x108, WINDOW + 4);
    maker_frame(&maker, 0x100, 0x20);
    maker_frame(&maker, WINDOW, 0x40);
    maker_end(&maker);
    uint8_t *bits = map_of(&maker.image);
    ck_assert_uint_eq(image_mapped(&maker.image, bits, window, 16, window + 16),
                      1u << 4);
    free(bits);
}
END_TEST

/* Two methods, one truth: what the map holds, the search finds. */
START_TEST(the_search_finds_all_that_the_map_holds)
{
    struct patas__image image;
    size_t count, windows = 0, false_hits = 0;

    if (!image_of_process(_i ? "libz.so.1" : "libm.so.6", &image, NULL))
        return;
    struct image_function *all = image_functions(&image, &count);
    uint8_t *bits = map_of(&image);
    for (size_t k = 0; k < count; k++) {
        unsigned size = all[k].size < 16 ? (unsigned)all[k].size : 16;
        uint32_t map = image_mapped(&image, bits, all[k].address, size,
                                    all[k].address + size);
        uint32_t search = image_search(&image, all[k].address, size,
                                       all[k].address, all[k].address + size);
        ck_assert_msg((map & ~search) == 0, "%s: map %x, search %x",
                      all[k].name, map, search);
        windows += (map & ~1u) != 0;
        false_hits += (search & ~map & ~1u) != 0;
    }
    printf("%zu functions, %zu with a way in, %zu more by the search\n", count,
           windows, false_hits);
    ck_assert_uint_gt(count, 50);
    if (MACHINE(true, !_i)) /* zlib for i386 has none */
        ck_assert_uint_gt(windows, 0);
    ck_assert_uint_lt(false_hits, count / 5);
    free(bits);
    free(all);
}
END_TEST

static uint32_t known(const char *library, const char *name, bool *found)
{
    struct patas__image image;
    size_t count;
    uint32_t bits = 0;

    *found = image_of_process(library, &image, NULL);
    if (!*found)
        return 0;
    *found = false;
    struct image_function *all = image_functions(&image, &count);
    uint8_t *map = map_of(&image);
    for (size_t k = 0; k < count; k++) {
        if (!all[k].name || strcmp(all[k].name, name) != 0)
            continue;
        bits =
            image_mapped(&image, map, all[k].address, 5, all[k].address + 16);
        *found = true;
    }
    free(map);
    free(all);
    return bits;
}

/* objdump -d shows both: in front of the first one is text, which reads as a
 * branch to its third byte. Nothing tells that it is none. */
START_TEST(what_reads_as_a_branch_in_libcrypto_counts)
{
    bool found;
    uint32_t bits = known("libcrypto.so.3", "AES_cfb128_encrypt", &found);

    if (found)
        ck_assert_uint_eq(bits & 1u << 2, MACHINE(1u << 2, 0));
    bits = known("libcrypto.so.3", "AES_set_encrypt_key", &found);
    if (found)
        ck_assert_uint_eq(bits & ~1u, 0);
}
END_TEST

#if defined(__x86_64__)
/* Of glibc's memory functions, which have no exported symbols, mempcpy enters
 * memmove behind its first instruction, which is `mov %rdi,%rax`. */
START_TEST(mempcpy_enters_memmove_behind_its_first_instruction)
{
    static const uint8_t first[] = {0x48, 0x89, 0xf8};
    struct patas__image image;
    struct patas__extent frame;
    struct patas__near near = {0};
    size_t entered = 0;

    ck_assert(image_of_process("libc.so.6", &image, NULL));
    uint8_t *map = map_of(&image);
    for (uint64_t i = 0; i < image.eh_count; i++) {
        if (!patas__extent_frame(&image, i, &near, &frame) || frame.size < 16)
            continue;
        const uint8_t *bytes = patas__image_bytes(&image, frame.start, 8);
        if (!bytes)
            continue;
        unsigned pad = memcmp(bytes, "\xf3\x0f\x1e\xfa", 4) == 0 ? 4 : 0;
        if (memcmp(bytes + pad, first, sizeof first) != 0 ||
            !(image_mapped(&image, map, frame.start, 8, frame.start + 5) >>
                  (pad + 3) &
              1))
            continue;
        entered++;
        ck_assert(image_search(&image, frame.start, 8, frame.start,
                               frame.start + 5) >>
                      (pad + 3) &
                  1);
    }
    printf("%zu functions of libc are entered behind mov %%rdi,%%rax\n",
           entered);
    if (patas__image_bytes(&image, image.start, 1))
        ck_assert_uint_ge(entered, 1);
    free(map);
}
END_TEST

#endif

START_TEST(few_heads_are_entered_by_others)
{
    size_t functions = 0, four = 0, fifteen = 0;

    for (size_t i = 0; i < LENGTH(image_libraries); i++) {
        struct patas__image image;
        size_t count;
        uint64_t text = 0;
        if (!image_of_process(image_libraries[i], &image, NULL))
            continue;
        struct image_function *all = image_functions(&image, &count);
        for (unsigned k = 0; k < image.segment_count; k++)
            text += image.segments[k].executable ? image.segments[k].size : 0;
        double before = now_ns();
        uint8_t *bits = map_of(&image);
        double map_ns = now_ns() - before;
        before = now_ns();
        for (size_t k = 0; k < 16; k++)
            (void)image_search(&image, all[k * count / 16].address, 5, 0, 0);
        printf("%-20s %8.0f bytes: map %.2f ns/byte, search %.0f MB/s\n",
               image_libraries[i], (double)text, map_ns / (double)text,
               16e3 * (double)text / (now_ns() - before));
        for (size_t k = 0; k < count; k++) {
            unsigned size = all[k].size < 16 ? (unsigned)all[k].size : 16;
            uint32_t in = image_mapped(&image, bits, all[k].address, size,
                                       all[k].address + size);
            four += (in & 0x1e) != 0;
            fifteen += (in & 0xfffe) != 0;
        }
        functions += count;
        free(bits);
        free(all);
    }
    printf("%zu functions: %zu entered at byte 1 to 4, %zu at 1 to 15\n",
           functions, four, fifteen);
    ck_assert_uint_le(four * 500, functions);
    ck_assert_uint_le(fifteen * 50, functions);
    ck_assert_uint_ge(fifteen, four);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("branches");
    TCase *made = tcase_create("made"), *real = tcase_create("libraries");

    tcase_add_loop_test(made, every_kind_of_branch_is_seen_by_both, 0,
                        LENGTH(kinds));
    tcase_add_test(made, no_place_is_too_far_or_askew);
    tcase_add_test(made, the_ends_of_the_code_are_searched);
    tcase_add_test(made, what_is_moved_anyway_is_not_counted);
    tcase_add_test(made, a_symbol_in_the_window_is_a_way_in);
    tcase_add_test(made, data_in_the_code_hides_no_far_branch);
    tcase_add_loop_test(real, the_search_finds_all_that_the_map_holds, 0, 2);
    tcase_add_test(real, what_reads_as_a_branch_in_libcrypto_counts);
#if defined(__x86_64__)
    tcase_add_test(real, mempcpy_enters_memmove_behind_its_first_instruction);
#endif
    tcase_add_test(real, few_heads_are_entered_by_others);
    suite_add_tcase(suite, made);
    suite_add_tcase(suite, real);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
