/* SPDX-License-Identifier: MIT */
/*
 * The naive patchers of AArch64.
 *
 *     long jump  ldr x17, address; br x17; the address: it reaches everything,
 *                and four instructions change, behind the first of which
 *                somebody may stand
 *     in halves  the one instruction that patas writes, in two stores
 */
#include "torture.h"

#include <string.h>

enum {
    T_ADD = 0, /* torture_aarch64.h */
    T_CALL = 20
};

static uint8_t old_bytes[16], new_bytes[16];
static size_t changes; /* bytes of them */

static void write_words(uint8_t *entry, const uint8_t *bytes)
{
    for (size_t i = 0; i < changes; i += 8)
        __atomic_store_n((uint64_t *)(void *)(entry + i),
                         *(const uint64_t *)(const void *)(bytes + i),
                         __ATOMIC_SEQ_CST);
    __builtin___clear_cache((char *)entry, (char *)entry + changes);
}

static void write_halves(uint8_t *entry, const uint8_t *bytes)
{
    for (size_t i = 0; i < changes; i += 2)
        __atomic_store_n((uint16_t *)(void *)(entry + i),
                         *(const uint16_t *)(const void *)(bytes + i),
                         __ATOMIC_SEQ_CST);
    __builtin___clear_cache((char *)entry, (char *)entry + changes);
}

static bool prepare_long(uint8_t *entry)
{
    static const uint32_t jump[] = {0x58000051,  /* ldr x17, .+8 */
                                    0xd61f0220}; /* br x17       */
    patas_fn to = torture_replacement(T_CALL, 0);
    changes = 16;
    memcpy(old_bytes, entry, changes);
    memcpy(new_bytes, jump, sizeof jump);
    memcpy(new_bytes + 8, &to, sizeof to);
    return true;
}

static bool prepare_halves(uint8_t *entry)
{
    uintptr_t to = (uintptr_t)torture_replacement(T_ADD, 0);
    uint32_t distance = (uint32_t)((to - (uintptr_t)entry) >> 2);
    uint32_t jump = 0x14000000 | (distance & 0x3ffffff);
    changes = 4;
    memcpy(old_bytes, entry, changes);
    memcpy(new_bytes, &jump, sizeof jump);
    return true;
}

static void patch_long(uint8_t *entry)
{
    write_words(entry, new_bytes);
}
static void restore_long(uint8_t *entry)
{
    write_words(entry, old_bytes);
}
static void patch_halves(uint8_t *entry)
{
    write_halves(entry, new_bytes);
}
static void restore_halves(uint8_t *entry)
{
    write_halves(entry, old_bytes);
}

const struct torture_naive torture_naives[2] = {
    {"long jump", T_CALL, prepare_long, patch_long, restore_long},
    {"in halves", T_ADD, prepare_halves, patch_halves, restore_halves},
};
