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
    BRANCHES_AHEAD = PATAS__NEAR + 2 /* of rel32, opcode and all */
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

void patas__x86_find_branches(struct patas__search *search)
{
    branches_scan(search);
}

/* ---- near the window ----------------------------------------------------- */

/* Sixteen bytes side by side. */
typedef uint8_t branches_v16 __attribute__((vector_size(16)));

static branches_v16 branches_load16(const uint8_t *at)
{
    branches_v16 value;
    __builtin_memcpy(&value, at, sizeof value);
    return value;
}

static branches_v16 branches_all16(uint64_t value)
{
    return (branches_v16){0} + (uint8_t)value;
}

static bool branches_any16(branches_v16 value)
{
    uint64_t halves[2];
    __builtin_memcpy(halves, &value, sizeof halves);
    return (halves[0] | halves[1]) != 0;
}

/* Calls `each` with `at` and the number of each byte that isn't zero. */
static inline void branches_each_hit(void *data, uint64_t at, branches_v16 hits,
                                     void (*each)(void *data, uint64_t at))
{
    uint64_t halves[2];

    __builtin_memcpy(halves, &hits, sizeof halves);
    for (unsigned i = 0; i < 2; i++) {
        while (halves[i]) {
            unsigned byte = (unsigned)__builtin_ctzll(halves[i]) / 8;
            each(data, at + 8 * i + byte);
            halves[i] &= ~((uint64_t)0xff << 8 * byte);
        }
    }
}

/* The byte at offset `at` may be jcc, loop, jrcxz or jmp, with a rel8 that
 * would land in the window. */
static void branches_rel8(void *data, uint64_t at)
{
    struct patas__search *search = data;
    const uint8_t *bytes = search->code->bytes + at;

    if (*bytes != 0xeb && (*bytes & 0xf0) != 0x70 && (*bytes & 0xfc) != 0xe0)
        return;
    uint64_t source = search->code->address + at;
    uint64_t target = source + 2 + (uint64_t)(int64_t)(int8_t)bytes[1];
    if (patas__search_wants(search, source, target, false) &&
        patas__search_decodes(search, source, 2))
        patas__search_hit(search, source, target, false);
}

/* The same of 16 bytes, roughly: ff where it may be. */
static branches_v16 branches_hits8(const uint8_t *bytes, branches_v16 add,
                                   branches_v16 beyond)
{
    branches_v16 opcode = branches_load16(bytes);
    branches_v16 rel = branches_load16(bytes + 1);

    return (branches_v16)(((rel + add) & beyond) == 0) &
           ((branches_v16)((opcode & branches_all16(0xf0)) == 0x70) |
            (branches_v16)((opcode & branches_all16(0xf4)) == 0xe0));
}

/*
 * A rel8 behind offset `at` lands in the window if
 *
 *     rel8 + (base + at + 2 - address) is in 0 .. size - 1
 *
 * modulo 2^8: near the window there is one such value. What is found too much
 * is sorted out by branches_rel8().
 */
static void branches_scan_rel8(struct patas__search *search, uint64_t at,
                               uint64_t to)
{
    const struct patas__segment *code = search->code;
    const uint64_t base = code->address + at + 2 - search->address;
    /* Of at most 32 bytes; rounded up, and sorted out later. */
    const branches_v16 beyond = branches_all16(search->size <= 8    ? 0xf8u
                                               : search->size <= 16 ? 0xf0u
                                                                    : 0xe0u);
    branches_v16 add =
        branches_all16(base) +
        (branches_v16){0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};

    for (; at < to && at + 33 <= code->size; at += 32) {
        branches_v16 low = branches_hits8(code->bytes + at, add, beyond);
        add += branches_all16(16);
        branches_v16 high = branches_hits8(code->bytes + at + 16, add, beyond);
        add += branches_all16(16);
        if (__builtin_expect(!branches_any16(low | high), 1))
            continue;
        branches_each_hit(search, at, low, branches_rel8);
        branches_each_hit(search, at + 16, high, branches_rel8);
    }
    for (; at < to && at + 2 <= code->size; at++)
        branches_rel8(search, at);
}

/* Of 16 bytes: ff where a branch by rel32 may begin. */
static branches_v16 branches_hits32(const uint8_t *bytes)
{
    branches_v16 opcode = branches_load16(bytes);
    branches_v16 second = branches_load16(bytes + 1);

    return (branches_v16)((opcode & branches_all16(0xfe)) == 0xe8) |
           ((branches_v16)(opcode == 0x0f) &
            (branches_v16)((second & branches_all16(0xf0)) == 0x80)) |
           ((branches_v16)(opcode == 0xc7) & (branches_v16)(second == 0xf8));
}

static void branches_short(void *data, uint64_t at)
{
    struct patas__search *search = data;
    uint64_t rel = at + ((search->code->bytes[at] & 0xfe) == 0xe8 ? 1 : 2);

    if (rel + 4 <= search->code->size)
        branches_rel32(search, rel);
}

/* Branches by rel32 from offset `at` up to `to`. */
static void branches_scan_rel32(struct patas__search *search, uint64_t at,
                                uint64_t to)
{
    const struct patas__segment *code = search->code;

    for (; at < to && at + 17 <= code->size; at += 16) {
        branches_v16 hits = branches_hits32(code->bytes + at);
        if (branches_any16(hits))
            branches_each_hit(search, at, hits, branches_short);
    }
    for (; at < to && at < code->size; at++)
        branches_short(search, at);
}

void patas__x86_find_near(struct patas__search *search)
{
    const uint64_t offset = search->address - search->code->address;
    const uint64_t end = offset + search->size;

    branches_scan_rel32(search,
                        offset > BRANCHES_AHEAD ? offset - BRANCHES_AHEAD : 0,
                        end + BRANCHES_AHEAD);
    branches_scan_rel8(
        search, offset > BRANCHES_REL8 + 2 ? offset - BRANCHES_REL8 - 2 : 0,
        end + BRANCHES_REL8);
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

static void branches_tell_hit(void *data, uint64_t at)
{
    branches_scan_opcode(data, at);
}

/* Every byte that may be the opcode of a branch by rel32. */
void patas__x86_each_branch(const struct patas__segment *code,
                            void (*each)(void *data, uint64_t source,
                                         uint64_t target, bool call),
                            void *data)
{
    struct branches_tell tell = {code, each, data};
    uint64_t at = 0;

    for (; at + 17 <= code->size; at += 16) {
        branches_v16 hits = branches_hits32(code->bytes + at);
        if (branches_any16(hits))
            branches_each_hit(&tell, at, hits, branches_tell_hit);
    }
    for (; at < code->size; at++)
        branches_scan_opcode(&tell, at);
}
