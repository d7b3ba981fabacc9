/* SPDX-License-Identifier: MIT */
/*
 * Branches in A64 code, word by word: data in the code hides nothing.
 */
#include "aarch64.h"
#include "image.h"

/* Bits `low` to `low + count - 1` of a word, signed, in bytes. */
static uint64_t a64_branch_way(uint32_t word, unsigned low, unsigned count)
{
    uint32_t field = word << (32 - low - count);

    return (uint64_t)((int64_t)((int32_t)field >> (32 - count)) * 4);
}

/* Where a direct branch or call leads, seen from itself; 0 for other words, and
 * for what leads to itself. */
static uint64_t a64_branch_target(uint32_t word, bool *call)
{
    *call = (word & 0xfc000000) == 0x94000000;
    if ((word & 0x7c000000) == 0x14000000) /* b, bl */
        return a64_branch_way(word, 0, 26);
    if ((word & 0xfe000000) == 0x54000000 || /* b.cond, bc.cond */
        (word & 0x7e000000) == 0x34000000)   /* cbz, cbnz */
        return a64_branch_way(word, 5, 19);
    if ((word & 0x7e000000) == 0x36000000) /* tbz, tbnz */
        return a64_branch_way(word, 5, 14);
    if ((word & 0x7c000000) == 0x74000000) /* cbgt and kin */
        return a64_branch_way(word, 5, 9);
    return 0;
}

void patas__a64_each_branch(const struct patas__segment *code,
                            void (*each)(void *data, uint64_t source,
                                         uint64_t target, bool call),
                            void *data)
{
    uint64_t at = (0 - code->address) & 3;

    for (; at + 4 <= code->size; at += 4) {
        bool call;
        uint64_t way =
            a64_branch_target(patas__load32(code->bytes + at), &call);
        if (way)
            each(data, code->address + at, code->address + at + way, call);
    }
}

static void a64_search(void *data, uint64_t source, uint64_t target, bool call)
{
    patas__search_hit(data, source, target, call);
}

/* All branches are long ones: what stands right beside the window is all that
 * is left to see. */
void patas__a64_find_near(struct patas__search *search)
{
    const struct patas__segment *code = search->code;
    uint64_t offset = search->address - code->address;
    uint64_t from = offset > PATAS__NEAR ? offset - PATAS__NEAR : 0;
    uint64_t left = code->size - from;
    uint64_t size = offset - from + search->size + PATAS__NEAR;
    const struct patas__segment around = {.address = code->address + from,
                                          .size = left < size ? left : size,
                                          .bytes = code->bytes + from};

    patas__a64_each_branch(&around, a64_search, search);
}

void patas__a64_find_branches(struct patas__search *search)
{
    patas__a64_each_branch(search->code, a64_search, search);
}
