/* SPDX-License-Identifier: MIT */
/* A module's tables are found, in memory and in files, damaged or not. */
#include "image_maker.h"
#include "image_support.h"
#include "target.h"

#include <check.h>
#include <elf.h>
#include <limits.h>
#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#if defined(__i386__)
#define RELOCATIONS ".rel.plt"
typedef Elf32_Rel relocation;
#else
#define RELOCATIONS ".rela.plt"
typedef Elf64_Rela relocation;
#endif

/* Section headers, which the engine never sees, tell the truth. */
START_TEST(a_library_has_the_tables_that_its_sections_name)
{
    char path[PATH_MAX];
    size_t size = 0, slots;
    struct patas__image image;
    unsigned char *section;

    if (!image_of_process(image_libraries[_i], &image, path))
        return;
    free(image_section(path, ".dynsym", &size));
    ck_assert_uint_eq(image.symtab_count, size / sizeof(ElfW(Sym)));
    free(image_section(path, ".eh_frame_hdr", &size));
    ck_assert_uint_eq(image.eh_count, (size - 12) / 8);
    free(image_section(path, ".dynstr", &size));
    ck_assert_uint_eq(image.strtab_size, size);
    section = image_section(path, ".note.gnu.build-id", &size);
    if (section) {
        ck_assert_uint_eq(image.build_id_size, size - 16);
        ck_assert_mem_eq(image.build_id, section + 16, size - 16);
        free(section);
    }
    section = image_section(path, RELOCATIONS, &size);
    slots = section ? size / sizeof(relocation) : 0;
    ck_assert_uint_eq(image.relocs[0].count, slots);
    for (size_t i = 0; i < slots; i++) {
        relocation rela;
        memcpy(&rela, section + i * sizeof rela, sizeof rela);
        ck_assert_uint_ge(rela.r_offset + image.bias, image.plt_got_start);
        ck_assert_uint_lt(rela.r_offset + image.bias, image.plt_got_end);
    }
    free(section);
}
END_TEST

START_TEST(a_file_reads_as_its_loaded_module)
{
    char path[PATH_MAX];
    struct patas__image loaded, file;
    size_t count;

    ck_assert(image_of_process("libm.so.6", &loaded, path));
    ck_assert(image_of_file(path, loaded.isa, &file));
    ck_assert_uint_ne(loaded.bias, 0);
    ck_assert_uint_eq(file.symtab_count, loaded.symtab_count);
    ck_assert_uint_eq(file.symtab + loaded.bias, loaded.symtab);
    ck_assert_uint_eq(file.eh_table + loaded.bias, loaded.eh_table);
    ck_assert_uint_eq(file.eh_frame + loaded.bias, loaded.eh_frame);
    ck_assert_uint_eq(file.plt_got_start + loaded.bias, loaded.plt_got_start);
    ck_assert_uint_eq(file.ifunc_count, loaded.ifunc_count);
    ck_assert_uint_gt(file.ifunc_count, 0);
    ck_assert_mem_eq(file.build_id, loaded.build_id, PATAS__BUILD_ID_MAX);
    struct image_function *all = image_functions(&file, &count);
    for (size_t i = 0; i < count; i++) {
        struct patas__extent one, two;
        ck_assert(patas__extent_find(&file, all[i].address, &one));
        ck_assert(
            patas__extent_find(&loaded, all[i].address + loaded.bias, &two));
        ck_assert_uint_eq(one.size, two.size);
        ck_assert_uint_eq(one.padding, two.padding);
    }
    free(all);
    image_free(&file);
}
END_TEST

/* Its PT_DYNAMIC is read-only, so no loader ever added its address. */
START_TEST(the_vdso_has_symbols)
{
    struct patas__image image;
    struct patas__symbol symbol;
    bool found = false;

    if (!image_of_process("linux-vdso", &image, NULL))
        return;
    for (uint64_t i = 0; patas__image_symbol(&image, i, &symbol); i++) {
        const char *name = patas__image_name(&image, symbol.name);
        struct patas__extent extent;
        if (!name || strcmp(name, "__vdso_clock_gettime") != 0)
            continue;
        found = true;
        ck_assert(patas__extent_find(&image, symbol.address, &extent));
        ck_assert_uint_eq(extent.start, symbol.address);
        ck_assert(extent.entry);
    }
    ck_assert(found);
}
END_TEST

static const struct patas__isa *const isas[] = {&patas__isa_x86_64,
                                                &patas__isa_i386};

START_TEST(symbols_and_relocations_are_read_in_both_widths)
{
    struct image_maker maker;
    struct patas__symbol symbol;
    struct patas__reloc reloc;

    maker_begin(&maker, isas[_i]);
    ck_assert_uint_eq(maker_symbol(&maker, 0x20, 7, STT_FUNC, 1, "f"), 1);
    ck_assert_uint_eq(maker_symbol(&maker, 0, 0, STT_FUNC, 0, "needed"), 2);
    maker_reloc(&maker, 8, R_X86_64_JUMP_SLOT, 2, 0);
    maker_reloc(&maker, 16, _i ? R_386_IRELATIVE : R_X86_64_IRELATIVE, 0,
                0x1020);
    maker_reloc(&maker, 24, _i ? R_386_32 : R_X86_64_64, 1, 0);
    maker_end(&maker);
    ck_assert_uint_eq(maker.image.symtab_count, 3);
    ck_assert(patas__image_symbol(&maker.image, 1, &symbol));
    ck_assert_uint_eq(symbol.address, MAKER_CODE + 0x20);
    ck_assert_uint_eq(symbol.size, 7);
    ck_assert(symbol.defined && symbol.type == STT_FUNC);
    ck_assert_str_eq(patas__image_name(&maker.image, symbol.name), "f");
    ck_assert(patas__image_symbol(&maker.image, 2, &symbol));
    ck_assert(!symbol.defined && symbol.address == 0);
    ck_assert_str_eq(patas__image_name(&maker.image, symbol.name), "needed");
    ck_assert(!patas__image_symbol(&maker.image, 3, &symbol));
    ck_assert_ptr_null(patas__image_name(&maker.image, maker.names));
    ck_assert(patas__image_reloc(&maker.image, 0, 0, &reloc));
    ck_assert_int_eq(reloc.kind, PATAS__RELOC_SLOT);
    ck_assert_uint_eq(reloc.address, MAKER_DATA + 8);
    ck_assert_uint_eq(reloc.symbol, 2);
    ck_assert(patas__image_reloc(&maker.image, 0, 1, &reloc));
    ck_assert_int_eq(reloc.kind, PATAS__RELOC_IRELATIVE);
    ck_assert_uint_eq(reloc.addend, _i ? 0 : MAKER_CODE + 0x20);
    ck_assert(patas__image_reloc(&maker.image, 0, 2, &reloc));
    ck_assert_int_eq(reloc.kind, PATAS__RELOC_OTHER);
    ck_assert(!patas__image_reloc(&maker.image, 0, 3, &reloc));
    ck_assert_uint_eq(maker.image.plt_got_start, MAKER_DATA + 8);
    ck_assert_uint_eq(maker.image.plt_got_end,
                      MAKER_DATA + 16 + maker.image.isa->pointer_size);
}
END_TEST

START_TEST(bytes_are_given_out_within_one_segment_only)
{
    struct image_maker maker;
    struct patas__image *image = &maker.image;

    maker_begin(&maker, isas[0]);
    ck_assert_ptr_eq(patas__image_bytes(image, MAKER_CODE, MAKER_SIZE),
                     maker.code);
    ck_assert_ptr_eq(patas__image_bytes(image, MAKER_DATA + 4, 4),
                     maker.data + 4);
    ck_assert_ptr_null(patas__image_bytes(image, MAKER_CODE, MAKER_SIZE + 1));
    ck_assert_ptr_null(patas__image_bytes(image, MAKER_CODE - 1, 1));
    ck_assert_ptr_null(patas__image_bytes(image, MAKER_CODE + MAKER_SIZE, 1));
    ck_assert_ptr_null(
        patas__image_bytes(image, MAKER_CODE + MAKER_SIZE - 1, 2));
    ck_assert_ptr_null(patas__image_bytes(image, MAKER_CODE + 1, UINT64_MAX));
    ck_assert_ptr_nonnull(patas__image_code(image, MAKER_CODE));
    ck_assert_ptr_null(patas__image_code(image, MAKER_DATA));
    ck_assert_ptr_null(patas__image_code(image, MAKER_CODE + MAKER_SIZE));
}
END_TEST

/* Everything that a module can be asked, for a few addresses. */
static unsigned ask(const struct patas__image *image)
{
    unsigned known = 0;
    size_t bits_size = patas__branches_map_size(image) + 1;
    uint8_t *bits = calloc(2, bits_size);
    const struct patas__image *images[] = {image};

    if (!bits)
        abort();
    for (uint64_t at = MAKER_CODE; at < MAKER_CODE + 0x80; at += 3) {
        struct patas__extent extent;
        uint64_t next;
        const char *name;
        known += patas__extent_find(image, at, &extent);
        known += patas__target_step(image, at, true, &next, &name) !=
                 PATAS__FOLLOWED_NOTHING;
        known += patas__target_ifunc(images, 1, at) != 0;
    }
    patas__branches_map(image, bits, bits + bits_size);
    (void)image_search(image, MAKER_CODE + 0x20, 16, 0, 0);
    free(bits);
    return known;
}

static void make_small(struct image_maker *maker, const struct patas__isa *isa)
{
    maker_begin(maker, isa);
    maker_code(maker, 0x20, "\xff\x25\0\0\0\0\xc3\x90", 8);
    maker_frame(maker, 0x20, 8);
    maker_frame(maker, 0x30, 0x10);
    maker_symbol(maker, 0x34, 4, STT_FUNC, 1, "second");
    maker_symbol(maker, 0x51, 0, STT_GNU_IFUNC, 1, "ifunc");
    maker_reloc(maker, 8, R_X86_64_GLOB_DAT, 2, 0);
    maker_end(maker);
}

/* Each byte of every table, changed: an answer, never a crash (which a
 * sanitizer sees best), and not always the same one. */
START_TEST(damage_is_survived)
{
    static const uint8_t changes[] = {0x01, 0x80, 0xff};
    struct image_maker maker;
    unsigned tried = 0, different = 0;

    make_small(&maker, isas[_i]);
    unsigned want = ask(&maker.image);
    ck_assert_uint_gt(want, 5);
    for (unsigned at = 0; at < sizeof maker.tables; at++) {
        if (!maker.tables[at] && at % 16 >= 4)
            continue; /* mostly unused */
        for (size_t i = 0; i < LENGTH(changes); i++) {
            struct patas__image damaged = {.segment_count = 3,
                                           .bias = maker.image.bias,
                                           .isa = maker.image.isa};
            memcpy(damaged.segments, maker.image.segments,
                   sizeof damaged.segments);
            maker.tables[at] ^= changes[i];
            patas__image_read(&damaged, maker.tables + 0x800, 2);
            different += ask(&damaged) != want;
            tried++;
            maker.tables[at] ^= changes[i];
        }
    }
    ck_assert_uint_gt(different, 50);
    ck_assert_uint_lt(different, tried);
}
END_TEST

START_TEST(a_32_bit_library_is_read)
{
    static const char *const paths[] = {"/lib32/libc.so.6",
                                        "/usr/lib32/libc.so.6",
                                        "/usr/lib/i386-linux-gnu/libc.so.6"};
    struct patas__image image;
    size_t count, same = 0;
    bool found = false;

    for (size_t i = 0; i < LENGTH(paths) && !found; i++)
        found = image_of_file(paths[i], &patas__isa_i386, &image);
    if (!found)
        return; /* rarely installed; the made images are of both widths */
    struct image_function *all = image_functions(&image, &count);
    for (size_t i = 0; i < count; i++) {
        struct patas__extent extent;
        ck_assert_msg(patas__extent_find(&image, all[i].address, &extent) &&
                          extent.entry,
                      "%s", all[i].name);
        same += extent.size == all[i].size;
    }
    printf("%zu 32-bit functions, %zu as long as their symbols\n", count, same);
    ck_assert_uint_gt(count, 1000);
    ck_assert_uint_ge(same * 100, count * 99);
    ck_assert_uint_gt(image.build_id_size, 0);
    free(all);
    image_free(&image);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("image");
    TCase *real = tcase_create("libraries"), *made = tcase_create("made");

    tcase_add_loop_test(real, a_library_has_the_tables_that_its_sections_name,
                        0, LENGTH(image_libraries));
    tcase_add_test(real, a_file_reads_as_its_loaded_module);
    tcase_add_test(real, the_vdso_has_symbols);
    tcase_add_test(real, a_32_bit_library_is_read);
    tcase_add_loop_test(made, symbols_and_relocations_are_read_in_both_widths,
                        0, 2);
    tcase_add_test(made, bytes_are_given_out_within_one_segment_only);
    tcase_add_loop_test(made, damage_is_survived, 0, 2);
    suite_add_tcase(suite, real);
    suite_add_tcase(suite, made);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
