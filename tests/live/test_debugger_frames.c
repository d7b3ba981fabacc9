/* SPDX-License-Identifier: MIT */
/*
 * The frames of heads, as elfutils reads them from the file in memory, agree
 * with the frames of the functions, as elfutils reads them from the library's
 * file: for each function of whole libraries, at each moved instruction.
 */
#include <check.h>
#include <dlfcn.h>
#include <elfutils/libdw.h>
#include <fcntl.h>
#include <gelf.h>
#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "describe.h"
#include "machine.h"
#include "patas.h"

/* gdb's side of the interface. */
struct jit_entry {
    struct jit_entry *next, *previous;
    char *file;
    uint64_t size;
};
extern struct {
    uint32_t version, action;
    struct jit_entry *relevant, *first;
} __jit_debug_descriptor;

enum {
    REGISTERS = MACHINE3(17, 9, 32), /* rax to rip, eax to eip, x0 to sp */
    JUMP = MACHINE3(5, 5, 4),        /* back */
    FILES = 64
};

static bool is_jump(const uint8_t *code)
{
    return MACHINE3(code[0] == 0xe9, code[0] == 0xe9, code[3] >> 2 == 5);
}

static Dwarf_CFI *announced[FILES];
static int announced_count;

static int unused(void)
{
    return 0;
}

/* Patches what the library exports, in one batch. */
static size_t patch_all(const struct link_map *map, Elf *elf)
{
    size_t patched = 0;
    patas_batch *batch = patas_batch_begin(NULL);
    for (Elf_Scn *scn = NULL; (scn = elf_nextscn(elf, scn));) {
        GElf_Shdr header;
        GElf_Sym symbol;
        gelf_getshdr(scn, &header);
        if (header.sh_type != SHT_DYNSYM)
            continue;
        Elf_Data *data = elf_getdata(scn, NULL);
        for (int i = 0; gelf_getsym(data, i, &symbol); i++) {
            patas_patch *patch;
            if (GELF_ST_TYPE(symbol.st_info) == STT_FUNC && symbol.st_shndx)
                patched +=
                    patas_batch_replace(
                        batch,
                        (patas_fn)(map->l_addr + (uintptr_t)symbol.st_value),
                        (patas_fn)unused, &patch, NULL) == PATAS_OK;
        }
    }
    ck_assert_int_eq(patas_batch_commit(batch, NULL), PATAS_OK);
    return patched;
}

static void read_announced(void)
{
    announced_count = 0;
    for (const struct jit_entry *entry = __jit_debug_descriptor.first; entry;
         entry = entry->next) {
        Elf *elf = elf_memory(entry->file, (size_t)entry->size);
        ck_assert_msg(elf && elf_kind(elf) == ELF_K_ELF, "%s", elf_errmsg(-1));
        ck_assert_int_lt(announced_count, FILES);
        announced[announced_count] = dwarf_getcfi_elf(elf);
        ck_assert_msg(announced[announced_count] != NULL, "%s",
                      dwarf_errmsg(-1));
        announced_count++;
    }
}

static Dwarf_Frame *announced_frame(uintptr_t address)
{
    Dwarf_Frame *frame;
    for (int i = 0; i < announced_count; i++)
        if (!dwarf_cfi_addrframe(announced[i], address, &frame))
            return frame;
    return NULL;
}

static bool same_ops(const Dwarf_Op *a, size_t a_count, const Dwarf_Op *b,
                     size_t b_count)
{
    if (a_count != b_count)
        return false;
    for (size_t i = 0; i < a_count; i++)
        if (a[i].atom != b[i].atom || a[i].number != b[i].number ||
            a[i].number2 != b[i].number2)
            return false;
    return true;
}

/* Says where they differ, or returns -1. */
static int differs(Dwarf_Frame *a, Dwarf_Frame *b)
{
    Dwarf_Op a_room[3], b_room[3], *a_ops, *b_ops;
    size_t a_count, b_count;
    if (dwarf_frame_cfa(a, &a_ops, &a_count) ||
        dwarf_frame_cfa(b, &b_ops, &b_count) ||
        !same_ops(a_ops, a_count, b_ops, b_count))
        return REGISTERS;
    for (int i = 0; i < REGISTERS; i++)
        if (dwarf_frame_register(a, i, a_room, &a_ops, &a_count) ||
            dwarf_frame_register(b, i, b_room, &b_ops, &b_count) ||
            (a_ops == NULL) != (b_ops == NULL) ||
            !same_ops(a_ops, a_count, b_ops, b_count))
            return i;
    return -1;
}

/* The head at `at` against the function at entry + k; false where the function
 * has no frame. */
static bool compare_at(const struct patas__move *move, size_t at, size_t k,
                       const struct link_map *map, Dwarf_CFI *file)
{
    Dwarf_Frame *here, *there;
    size_t where = (size_t)(move->from + k - map->l_addr);
    if (dwarf_cfi_addrframe(file, where, &there))
        return false;
    here = announced_frame((uintptr_t)move->to + at);
    ck_assert_msg(here != NULL, "no frame for a copy of %#zx", where);
    int number = differs(here, there);
    ck_assert_msg(number < 0, "the copy of %#zx: register %d", where, number);
    free(here);
    free(there);
    return true;
}

/* At each moved instruction, and at the jump back where it comes last. */
static unsigned compare_head(const struct patas__target *target,
                             const struct link_map *map, Dwarf_CFI *file)
{
    unsigned compared = 0;
    struct patas__remade remade;
    struct patas__insn last;
    const struct patas__move *move = &remade.move;
    ck_assert_msg(patas__describe_move(target, &remade), "no head for %#lx",
                  (unsigned long)(target->entry - map->l_addr));
    for (size_t k = 0; k < move->moved; k++)
        if (move->map[k] != 0xff)
            compared += compare_at(move, move->map[k], k, map, file);
    size_t back = move->code_size - JUMP;
    if (move->code_size > JUMP && is_jump(move->code + back) &&
        patas__isa_host()->decode(move->code + back, JUMP, move->to + back,
                                  &last) &&
        last.target == move->from + move->moved)
        compared += compare_at(move, back, move->moved, map, file);
    return compared;
}

static void compare_library(const char *name)
{
    void *library = dlopen(name, RTLD_NOW | RTLD_LOCAL);
    if (!library) {
        printf("%s: not here\n", name);
        return;
    }
    struct link_map *map;
    ck_assert_int_eq(dlinfo(library, RTLD_DI_LINKMAP, &map), 0);
    Elf *elf = elf_begin(open(map->l_name, O_RDONLY), ELF_C_READ, NULL);
    ck_assert_msg(elf != NULL, "%s", elf_errmsg(-1));
    Dwarf_CFI *file = dwarf_getcfi_elf(elf);
    ck_assert_msg(file != NULL, "%s", dwarf_errmsg(-1));
    size_t patched = patch_all(map, elf);
    ck_assert_uint_gt(patched, 10);
    read_announced();
    unsigned long heads = 0, compared = 0;
    for (uint32_t i = 1; i < patas__target_count(); i++) {
        const struct patas__target *target = patas__target_get(i);
        heads++;
        compared += compare_head(target, map, file);
    }
    ck_assert_uint_ge(compared, heads);
    printf("%s: %lu heads, %lu instructions, the same frames\n", name, heads,
           compared);
}

static const char *const libraries[] = {"libz.so.1", "libsqlite3.so.0",
                                        "libxml2.so.2", "libcrypto.so.3",
                                        "libstdc++.so.6"};

START_TEST(frames_of_heads_are_those_of_the_functions)
{
    elf_version(EV_CURRENT);
    ck_assert_int_eq(patas_announce(PATAS_ANNOUNCE_GDB, NULL), PATAS_OK);
    compare_library(libraries[_i]);
    patas_restore_all(NULL);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("debugger_frames");
    TCase *frames = tcase_create("frames");
    tcase_add_loop_test(frames, frames_of_heads_are_those_of_the_functions, 0,
                        sizeof libraries / sizeof *libraries);
    tcase_set_timeout(frames, 0);
    suite_add_tcase(suite, frames);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
