/* SPDX-License-Identifier: MIT */
/*
 *     exec_relocate_libraries_aarch64 [FILE...]
 *
 * The heads of all functions of AArch64 libraries, moved near and to the edge
 * of reach, and read back: every operand and target is what it was. Needs no
 * AArch64: the files of the cross compiler's C library will do.
 */
#include <check.h>
#include <elf.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../unit/relocate_check_aarch64.h"
#include "isa.h"
#include "patas.h"

#define LIBRARIES "/usr/aarch64-linux-gnu/lib/"

static const char *const at_hand[] = {
    LIBRARIES "libc.so.6",
    LIBRARIES "libm.so.6",
    LIBRARIES "libstdc++.so.6",
    LIBRARIES "libgcc_s.so.1",
    LIBRARIES "ld-linux-aarch64.so.1",
};

static struct {
    const char *const *paths;
    size_t paths_count;
    const uint8_t *bytes;
    size_t size;
    size_t functions, moves, far, refused, first_refused;
} now;

/* The program header of that kind that `address` is in; any address of 0. */
static const Elf64_Phdr *find_segment(uint32_t type, uint64_t address)
{
    const Elf64_Ehdr *header = (const Elf64_Ehdr *)now.bytes;
    const Elf64_Phdr *phdrs = (const Elf64_Phdr *)(now.bytes + header->e_phoff);

    for (unsigned i = 0; i < header->e_phnum; i++)
        if (phdrs[i].p_type == type &&
            phdrs[i].p_offset + phdrs[i].p_filesz <= now.size &&
            (!address || address - phdrs[i].p_vaddr < phdrs[i].p_filesz))
            return &phdrs[i];
    return NULL;
}

static bool head_moves(struct patas__move *move)
{
    const char *wrong;

    if (patas__isa_aarch64.relocate(move) != PATAS_REASON_NONE)
        return false;
    wrong = a64_check(move);
    ck_assert_msg(!wrong, "%#llx, want %zu, to %#llx: %s",
                  (unsigned long long)move->from, move->want,
                  (unsigned long long)move->to, wrong);
    return true;
}

/* From all over the 128 MB in both directions. A branch of the head may be out
 * of reach from there; not if x17 may be lost. */
static void move_head(uint64_t from, const uint8_t *bytes, size_t size)
{
    static const int64_t distances[] = {0x8000,    -0x8000,   0xff000,
                                        -0x200000, 0x7c00000, -0x7c00000};

    for (size_t want = 4; want <= 16; want += 4)
        for (size_t i = 0; i < sizeof distances / sizeof *distances; i++) {
            struct patas__move move = {.from = from,
                                       .bytes = bytes,
                                       .size = size,
                                       .want = want,
                                       .to = from + (uint64_t)distances[i]};

            now.moves++;
            if (head_moves(&move))
                continue;
            now.far++;
            move.lose_ip = true;
            if (head_moves(&move))
                continue;
            now.refused++;
            now.first_refused += want == 4;
            printf("  refused: %#llx, want %zu, to %#llx, at +%llu\n",
                   (unsigned long long)from, want, (unsigned long long)move.to,
                   (unsigned long long)(move.trouble - from));
        }
}

/* .eh_frame_hdr: a table of pairs of 32 bits, { function, FDE }, relative to
 * itself (LSB 5.0, 10.6.2). */
static void move_functions(void)
{
    const Elf64_Phdr *eh = find_segment(PT_GNU_EH_FRAME, 0);
    const uint8_t *table = eh ? now.bytes + eh->p_offset : NULL;

    if (!table || table[2] != 3 || table[3] != 0x3b)
        return;
    for (size_t i = 0, count = patas__load32(table + 8); i < count; i++) {
        uint64_t from =
            eh->p_vaddr + (uint64_t)(int32_t)patas__load32(table + 12 + 8 * i);
        const Elf64_Phdr *code = find_segment(PT_LOAD, from);

        if (!code || !(code->p_flags & PF_X))
            continue;
        now.functions++;
        move_head(from, now.bytes + code->p_offset + (from - code->p_vaddr),
                  (size_t)(code->p_filesz - (from - code->p_vaddr)));
    }
}

static void move_file(const char *path)
{
    int file = open(path, O_RDONLY | O_CLOEXEC);
    struct stat status;
    size_t functions = now.functions;

    if (file < 0 || fstat(file, &status))
        return;
    now.size = (size_t)status.st_size;
    void *bytes = mmap(NULL, now.size, PROT_READ, MAP_PRIVATE, file, 0);
    close(file);
    if (bytes == MAP_FAILED)
        return;
    now.bytes = bytes;
    if (now.size > sizeof(Elf64_Ehdr) && !memcmp(bytes, "\177ELF\2\1", 6) &&
        ((const Elf64_Ehdr *)bytes)->e_machine == EM_AARCH64)
        move_functions();
    munmap(bytes, now.size);
    printf("%8zu functions: %s\n", now.functions - functions, path);
}

START_TEST(heads_of_libraries_keep_operands_and_targets)
{
    for (size_t i = 0; i < now.paths_count; i++)
        move_file(now.paths[i]);
    printf("%zu functions, %zu moves, %zu lose x17, %zu refused, %zu of them "
           "for the first instruction\n",
           now.functions, now.moves, now.far, now.refused, now.first_refused);
    fflush(stdout);
    ck_assert_uint_gt(now.functions, 1000);
    ck_assert_uint_lt(now.first_refused * 1000, now.functions);
    ck_assert_uint_lt(now.refused * 100, now.moves);
}
END_TEST

int main(int count, char **arguments)
{
    now.paths = count > 1 ? (const char *const *)arguments + 1 : at_hand;
    now.paths_count =
        count > 1 ? (size_t)count - 1 : sizeof at_hand / sizeof *at_hand;
    if (access(now.paths[0], R_OK)) {
        printf("skipped: there is no %s\n", now.paths[0]);
        return 77;
    }

    Suite *suite = suite_create("relocate, AArch64");
    TCase *tcase = tcase_create("libraries");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_set_timeout(tcase, 0);
    tcase_add_test(tcase, heads_of_libraries_keep_operands_and_targets);
    suite_add_tcase(suite, tcase);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
