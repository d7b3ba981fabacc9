/* SPDX-License-Identifier: MIT */
/*
 * Branches in x86 code, byte by byte: data in the code hides nothing.
 *
 * For one window, every byte is looked at as if it were the rel32 of a branch:
 * 16 positions in a handful of vector operations, and only what would land in
 * the window is looked at again.
 */
#include "image.h"
#include "x86.h"

enum {
    BRANCHES_REL8 = 128,
    BRANCHES_WALK_MAX = 16384 /* bytes decoded to confirm one branch */
};

/* Four words side by side; GNU vectors, so that it is the same source for
 * every processor. */
typedef uint32_t branches_v4 __attribute__((vector_size(16)));

/* The four bytes at offset `at` would, as a rel32, land in the window. */
static void branches_rel32(struct patas__search *search, uint64_t at)
{
    const uint8_t *bytes = search->code->bytes;
    uint64_t source = search->code->address + at;
    uint64_t target =
        source + 4 + (uint64_t)(int64_t)(int32_t)patas__load32(bytes + at);

    if (at >= 1 && (bytes[at - 1] & 0xfe) == 0xe8) /* call, jmp */
        patas__search_hit(search, source - 1, target, bytes[at - 1] == 0xe8);
    if (at >= 2 && ((bytes[at - 2] == 0x0f && (bytes[at - 1] & 0xf0) == 0x80) ||
                    (bytes[at - 2] == 0xc7 && bytes[at - 1] == 0xf8)))
        patas__search_hit(search, source - 2, target, false);
}

static branches_v4 branches_load(const uint8_t *at)
{
    branches_v4 value;
    __builtin_memcpy(&value, at, sizeof value);
    return value;
}

static branches_v4 branches_all(uint32_t value)
{
    return (branches_v4){value, value, value, value};
}

static bool branches_any(branches_v4 value)
{
    uint64_t halves[2];
    __builtin_memcpy(halves, &value, sizeof halves);
    return (halves[0] | halves[1]) != 0;
}

/*
 * A rel32 at offset `at` lands in the window if
 *
 *     rel32 + (base + at + 4 - address) is in 0 .. size - 1
 *
 * modulo 2^32, which is tested against 0 .. 31, the largest window there is;
 * what it finds too much is sorted out by branches_rel32(). 16 offsets are 4
 * loads, each of 4 words, a byte apart.
 */
static void branches_scan(struct patas__search *search)
{
    const uint8_t *bytes = search->code->bytes;
    uint64_t size = search->code->size, at = 0;
    uint32_t base = (uint32_t)(search->code->address + 4 - search->address);
    const branches_v4 beyond = branches_all(~(uint32_t)31);
    const branches_v4 zero = branches_all(0);
    branches_v4 add = branches_all(base) + (branches_v4){0, 4, 8, 12};

    for (; at + 19 <= size; at += 16, add += branches_all(16)) {
        const uint8_t *p = bytes + at;
        branches_v4 a = (branches_load(p) + add) & beyond;
        branches_v4 b = (branches_load(p + 1) + add + branches_all(1)) & beyond;
        branches_v4 c = (branches_load(p + 2) + add + branches_all(2)) & beyond;
        branches_v4 d = (branches_load(p + 3) + add + branches_all(3)) & beyond;
        branches_v4 hit = (branches_v4)(a == zero) | (branches_v4)(b == zero) |
                          (branches_v4)(c == zero) | (branches_v4)(d == zero);
        if (__builtin_expect(branches_any(hit), 0)) {
            for (unsigned i = 0; i < 16; i++)
                branches_rel32(search, at + i);
        }
    }
    for (; at + 4 <= size; at++)
        branches_rel32(search, at);
}

/* Whether `source` may be the opcode of a branch: not if decoding the function
 * that it is in, from its start, steps over it. (Prefixes stand in front.) */
static bool branches_may_branch(const struct patas__search *search,
                                uint64_t source)
{
    const struct patas__segment *code = search->code;
    struct patas__extent extent;
    struct patas__insn insn = {0};
    uint64_t at;

    if (!patas__extent_find(search->image, source, &extent) ||
        source - extent.start > BRANCHES_WALK_MAX)
        return true;
    for (at = extent.start; at < source; at += insn.length) {
        uint64_t offset = at - code->address;
        if (!search->image->isa->decode(
                code->bytes + offset, (size_t)(code->size - offset), at, &insn))
            return true; /* data: who knows */
    }
    return at == source || (insn.has_target && at == source + 2);
}

/* jcc, loop and jrcxz, jmp with a rel8, near enough to reach the window. */
static void branches_scan_near(struct patas__search *search)
{
    const struct patas__segment *code = search->code;
    uint64_t from = search->address - BRANCHES_REL8 - 2;
    uint64_t to = search->address + search->size + BRANCHES_REL8;

    if (search->address - code->address < BRANCHES_REL8 + 2 ||
        from - code->address >= code->size)
        from = code->address;
    for (uint64_t at = from - code->address;
         at + 2 <= code->size && code->address + at < to; at++) {
        uint8_t byte = code->bytes[at];
        if (byte != 0xeb && (byte & 0xf0) != 0x70 && (byte & 0xfc) != 0xe0)
            continue;
        int8_t rel = (int8_t)code->bytes[at + 1];
        uint64_t source = code->address + at;
        uint64_t target = source + 2 + (uint64_t)(int64_t)rel;
        if (target - search->address < search->size &&
            branches_may_branch(search, source))
            patas__search_hit(search, source, target, false);
    }
}

void patas__x86_find_branches(struct patas__search *search)
{
    branches_scan(search);
    if (search->code == patas__image_code(search->image, search->address))
        branches_scan_near(search);
}

/* ---- all of them --------------------------------------------------------- */

/* Who is told. */
struct branches_tell {
    const struct patas__segment *code;
    void (*each)(void *data, uint64_t source, uint64_t target, bool call);
    void *data;
};

/* The four bytes at offset `at` follow the opcode of a branch, `length` bytes
 * long. */
static void branches_tell_rel32(const struct branches_tell *tell, uint64_t at,
                                uint64_t length, bool call)
{
    if (at + 4 > tell->code->size)
        return;
    int32_t rel = (int32_t)patas__load32(tell->code->bytes + at);
    uint64_t source = tell->code->address + at - length;
    tell->each(tell->data, source, source + length + 4 + (uint64_t)(int64_t)rel,
               call);
}

static void branches_scan_opcode(const struct branches_tell *tell, uint64_t at)
{
    const uint8_t *bytes = tell->code->bytes;

    if ((bytes[at] & 0xfe) == 0xe8) {
        branches_tell_rel32(tell, at + 1, 1, bytes[at] == 0xe8);
    } else if (at + 1 < tell->code->size &&
               ((bytes[at] == 0x0f && (bytes[at + 1] & 0xf0) == 0x80) ||
                (bytes[at] == 0xc7 && bytes[at + 1] == 0xf8))) {
        branches_tell_rel32(tell, at + 2, 2, false);
    }
}

/* A bit is set in the result if (not only if) a byte of `word` is zero. */
static uint64_t branches_zero_byte(uint64_t word)
{
    return (word - 0x0101010101010101u) & ~word & 0x8080808080808080u;
}

/* Every byte that may be the opcode of a branch by rel32. */
void patas__x86_each_branch(const struct patas__segment *code,
                            void (*each)(void *data, uint64_t source,
                                         uint64_t target, bool call),
                            void *data)
{
    const struct branches_tell tell = {code, each, data};
    const uint64_t ones = 0x0101010101010101u;
    uint64_t at = 0;

    for (; at + 8 <= code->size; at += 8) {
        uint64_t word = patas__load64(code->bytes + at);
        uint64_t hits = branches_zero_byte((word ^ ones * 0xe8) & ones * 0xfe) |
                        branches_zero_byte(word ^ ones * 0x0f) |
                        branches_zero_byte(word ^ ones * 0xc7);
        for (; hits; hits &= hits - 1)
            branches_scan_opcode(&tell,
                                 at + (unsigned)__builtin_ctzll(hits) / 8);
    }
    for (; at < code->size; at++)
        branches_scan_opcode(&tell, at);
}
