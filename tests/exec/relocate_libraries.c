/* SPDX-License-Identifier: MIT */
/*
 * The heads of all functions of the libraries at hand, moved near, to the edge
 * of reach and beyond, and read back: every operand and target is what it was.
 */
#include <check.h>
#include <dlfcn.h>
#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../unit/relocate_check.h"
#include "isa.h"
#include "patas.h"

static const char *const libraries[] = {
    "libc.so.6",    "libm.so.6",      "libcrypto.so.3",
    "libssl.so.3",  "libstdc++.so.6", "libsqlite3.so.0",
    "libxml2.so.2", "libz.so.1",      "libpython3.11.so.1.0",
};

/* The last is out of reach; in 32 bits nothing is. */
static const uint64_t distances[] = {
    0x1000000, 0x7fff0000, UINTPTR_MAX > UINT32_MAX ? 0x200000000 : 0xc0000000};

struct count {
    size_t functions, moves, refused, refused_far;
};

/* Bit k: an instruction begins or ends at k, up to the first at or behind
 * `want`; 0 if one of them may not be copied. */
static uint32_t plain_bounds(const uint8_t *function, size_t size, size_t want)
{
    uint32_t bounds = 1;
    struct patas__insn insn;

    for (size_t at = 0; at < want; at += insn.length, bounds |= 1u << at)
        if (!patas__isa_host()->decode(function + at, size - at,
                                       (uintptr_t)function + at, &insn) ||
            insn.rel_size || insn.flow != PATAS__FLOW_NEXT ||
            at + insn.length > 31)
            return 0;
    return bounds;
}

/* What is known to be plain is copied, to the same bytes. */
static bool same_when_plain(const struct patas__move *move)
{
    struct patas__move copy = *move;
    copy.plain = plain_bounds(move->bytes, move->size, move->want);
    memset(copy.code, 0x55, sizeof copy.code);
    return !copy.plain ||
           (patas__isa_host()->relocate(&copy) == PATAS_REASON_NONE &&
            copy.moved == move->moved && copy.code_size == move->code_size &&
            !memcmp(copy.code, move->code, move->code_size) &&
            !memcmp(copy.map, move->map, sizeof copy.map));
}

/* Refused near by: nothing but what is no code. */
static void move_head(const uint8_t *function, size_t size, struct count *count)
{
    for (size_t want = 1; want <= 16; want += want == 1 ? 4 : 11)
        for (size_t i = 0; i < sizeof distances / sizeof *distances; i++) {
            struct patas__move move = {
                .from = (uintptr_t)function,
                .bytes = function,
                .size = size,
                .want = want,
                .to = (uintptr_t)((uintptr_t)function + distances[i])};
            const char *wrong;
            unsigned reason = patas__isa_host()->relocate(&move);

            count->moves++;
            if (reason != PATAS_REASON_NONE) {
                if (i == 2)
                    count->refused_far++;
                else
                    count->refused++;
                if (want <= 5)
                    printf("  refused: %p, want %zu, distance %#llx, reason "
                           "%u at +%llu\n",
                           (const void *)function, want,
                           (unsigned long long)distances[i], reason,
                           (unsigned long long)(move.trouble - move.from));
                continue;
            }
            ck_assert(same_when_plain(&move));
            wrong = relocate_check(patas__isa_host(), &move);
            ck_assert_msg(!wrong, "%p, want %zu, distance %#llx: %s",
                          (const void *)function, want,
                          (unsigned long long)distances[i], wrong);
        }
}

/* .eh_frame_hdr: a table of pairs of 32 bits, { function, FDE }, relative to
 * itself (LSB 5.0, 10.6.2). It names static functions, too. */
static void move_module(const struct dl_phdr_info *module,
                        const ElfW(Phdr) * eh, struct count *count)
{
    const uint8_t *table = (const uint8_t *)module->dlpi_addr + eh->p_vaddr;
    uint32_t entries;

    if (table[0] != 1 || table[1] != 0x1b || table[2] != 3 || table[3] != 0x3b)
        return;
    entries = patas__load32(table + 8);
    for (uint32_t i = 0; i < entries; i++) {
        const uint8_t *function =
            table + (int32_t)patas__load32(table + 12 + 8 * (size_t)i);

        for (int k = 0; k < module->dlpi_phnum; k++) {
            const ElfW(Phdr) *load = &module->dlpi_phdr[k];
            uint64_t offset =
                (uintptr_t)function - module->dlpi_addr - load->p_vaddr;

            if (load->p_type != PT_LOAD || offset >= load->p_filesz ||
                !(load->p_flags & PF_X) || !(load->p_flags & PF_R))
                continue;
            count->functions++;
            move_head(function, (size_t)(load->p_filesz - offset), count);
        }
    }
}

static int on_module(struct dl_phdr_info *module, size_t size, void *data)
{
    struct count *total = data, count = {0};

    (void)size;
    for (int k = 0; k < module->dlpi_phnum; k++)
        if (module->dlpi_phdr[k].p_type == PT_GNU_EH_FRAME)
            move_module(module, &module->dlpi_phdr[k], &count);
    printf("%8zu functions, %zu of %zu moves refused near, %zu far: %s\n",
           count.functions, count.refused, count.moves, count.refused_far,
           module->dlpi_name);
    total->functions += count.functions;
    total->moves += count.moves;
    total->refused += count.refused;
    total->refused_far += count.refused_far;
    return 0;
}

START_TEST(heads_of_libraries_keep_operands_and_targets)
{
    struct count count = {0};

    for (size_t i = 0; i < sizeof libraries / sizeof *libraries; i++)
        if (!dlopen(libraries[i], RTLD_LAZY))
            printf("  not here: %s\n", libraries[i]);
    dl_iterate_phdr(on_module, &count);
    ck_assert_uint_gt(count.functions, 1000);
    ck_assert_uint_lt(count.refused * 1000, count.moves);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("relocate");
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
