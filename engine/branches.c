/* SPDX-License-Identifier: MIT */
/*
 * Which bytes of a module's code something jumps to.
 *
 * For one window, every byte of the code is looked at as if it were the rel32
 * of a branch: 16 positions in a handful of vector operations, and only what
 * would land in the window is looked at again. For many windows, the code is
 * decoded once and the targets are kept.
 */
#include "image.h"

#include <elf.h>

enum {
    BRANCHES_HEAD = 16, /* bytes of a function that a planner looks at */
    BRANCHES_REL8 = 128,
    BRANCHES_PLAIN = 256,
    BRANCHES_WALK_MAX = 16384 /* bytes decoded to confirm one branch */
};

/* Four words side by side; GNU vectors, so that it is the same source for
 * every processor. */
typedef uint32_t branches_v4 __attribute__((vector_size(16)));

/* What is looked for, and where. */
struct branches_search {
    const struct patas__image *image;
    uint64_t address;
    uint64_t size;
    uint64_t skip_from, skip_to;
    const struct patas__segment *code;
    uint32_t found;
};

static void branches_hit(struct branches_search *search, uint64_t source,
                         uint64_t target, bool call)
{
    uint64_t k = target - search->address;

    if (k >= search->size || (call && k == 0) ||
        source - search->skip_from < search->skip_to - search->skip_from)
        return;
    search->found |= (uint32_t)1 << k;
}

/* The four bytes at offset `at` would, as a rel32, land in the window. */
static void branches_rel32(struct branches_search *search, uint64_t at)
{
    const uint8_t *bytes = search->code->bytes;
    uint64_t source = search->code->address + at;
    uint64_t target =
        source + 4 + (uint64_t)(int64_t)(int32_t)patas__load32(bytes + at);

    if (at >= 1 && (bytes[at - 1] & 0xfe) == 0xe8) /* call, jmp */
        branches_hit(search, source - 1, target, bytes[at - 1] == 0xe8);
    if (at >= 2 && ((bytes[at - 2] == 0x0f && (bytes[at - 1] & 0xf0) == 0x80) ||
                    (bytes[at - 2] == 0xc7 && bytes[at - 1] == 0xf8)))
        branches_hit(search, source - 2, target, false);
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
static void branches_scan(struct branches_search *search)
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
static bool branches_may_branch(const struct branches_search *search,
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
        if (!search->image->isa->decode(code->bytes + offset,
                                        code->size - offset, at, &insn))
            return true; /* data: who knows */
    }
    return at == source || (insn.has_target && at == source + 2);
}

/* jcc, loop and jrcxz, jmp with a rel8, near enough to reach the window. */
static void branches_scan_near(struct branches_search *search)
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
            branches_hit(search, source, target, false);
    }
}

static bool branches_is_code(const struct patas__symbol *symbol)
{
    return symbol->defined &&
           (symbol->type == STT_FUNC || symbol->type == STT_GNU_IFUNC ||
            symbol->type == STT_NOTYPE);
}

uint32_t patas__branches_search(const struct patas__image *image,
                                uint64_t address, unsigned size,
                                uint64_t skip_from, uint64_t skip_to)
{
    struct branches_search search = {.image = image,
                                     .address = address,
                                     .size = size < 32 ? size : 32,
                                     .skip_from = skip_from,
                                     .skip_to = skip_to};
    struct patas__symbol symbol;

    for (unsigned i = 0; i < image->segment_count; i++) {
        search.code = &image->segments[i];
        if (!search.code->executable)
            continue;
        branches_scan(&search);
        if (search.code == patas__image_code(image, address))
            branches_scan_near(&search);
    }
    for (uint64_t i = 0; patas__image_symbol(image, i, &symbol); i++) {
        uint64_t k = symbol.address - address;
        if (k > 0 && k < search.size && branches_is_code(&symbol))
            search.found |= (uint32_t)1 << k;
    }
    return search.found;
}

size_t patas__branches_map_size(const struct patas__image *image)
{
    return image->end > image->start
               ? (size_t)((image->end - image->start) / 8 + 1)
               : 0;
}

/* The state of one pass. */
struct branches_pass {
    const struct patas__image *image;
    const struct patas__segment *code;
    uint8_t *bits;
    uint64_t size;  /* bits */
    uint64_t spare; /* bytes that may still be decoded a second time */
    uint64_t plain[BRANCHES_PLAIN]; /* called, no second entries: not asked
                                       again */
};

static void branches_set(struct branches_pass *pass, uint64_t target)
{
    uint64_t offset = target - pass->image->start;
    if (offset < pass->size)
        pass->bits[offset / 8] |= (uint8_t)(1u << offset % 8);
}

/* Marks `target` if it is in a function's head, but not at its start. */
static void branches_set_entry(struct branches_pass *pass, uint64_t target)
{
    uint64_t *last = &pass->plain[(target >> 4 ^ target) % BRANCHES_PLAIN];
    uint64_t start;

    if (*last == target)
        return;
    if (patas__extent_rank(pass->image, target, &start) && target != start &&
        target - start < BRANCHES_HEAD)
        branches_set(pass, target);
    else
        *last = target;
}

/* The first bytes of a function, where a planner sees for itself what jumps
 * where. */
struct branches_head {
    uint64_t start, size;
};

/* A second entry in a head has a window of its own, for which a branch between
 * bytes of the first one's head may come from outside. */
static bool branches_has_entry(const struct branches_pass *pass,
                               struct branches_head head)
{
    for (uint64_t k = 1; k < head.size; k++) {
        uint64_t offset = head.start + k - pass->image->start;
        if (offset < pass->size && (pass->bits[offset / 8] >> offset % 8 & 1))
            return true;
    }
    return false;
}

static void branches_note(struct branches_pass *pass,
                          const struct patas__insn *insn,
                          struct branches_head head)
{
    if (insn->flow != PATAS__FLOW_JUMP && insn->flow != PATAS__FLOW_BRANCH)
        return;
    if (insn->address - head.start < head.size &&
        insn->target - head.start < head.size)
        return;
    branches_set(pass, insn->target);
}

/* Every instruction in from .. to - 1. Data in the code is stepped over byte by
 * byte until it reads as instructions again. */
static void branches_decode(struct branches_pass *pass, uint64_t from,
                            uint64_t to, bool is_function)
{
    struct branches_head head = {from, is_function ? to - from : 0};

    if (head.size > BRANCHES_HEAD)
        head.size = BRANCHES_HEAD;
    if (head.size && branches_has_entry(pass, head))
        head.size = 0;
    const struct patas__isa *isa = pass->image->isa;
    const struct patas__segment *code = pass->code;
    struct patas__insn insn;

    while (from < to) {
        uint64_t offset = from - code->address;
        if (!isa->decode(code->bytes + offset, code->size - offset, from,
                         &insn)) {
            from++;
            continue;
        }
        if (insn.has_target)
            branches_note(pass, &insn, head);
        from += insn.length;
    }
}

/* Functions by their descriptions, and what lies between them. */
static void branches_decode_segment(struct branches_pass *pass)
{
    const struct patas__segment *code = pass->code;
    uint64_t done = code->address, end = code->address + code->size;
    struct patas__extent frame;

    for (uint64_t i = 0; i < pass->image->eh_count; i++) {
        if (!patas__extent_frame(pass->image, i, &frame) ||
            frame.start < done || frame.start >= end)
            continue;
        uint64_t size =
            frame.size < end - frame.start ? frame.size : end - frame.start;
        branches_decode(pass, done, frame.start, false);
        branches_decode(pass, frame.start, frame.start + size, true);
        done = frame.start + size;
    }
    branches_decode(pass, done, end, false);
}

/* The four bytes at offset `at` follow the opcode of a branch, `length` bytes
 * long. Short ways are left to the decoding, which knows whose head is whose.
 */
static void branches_note_rel32(struct branches_pass *pass, uint64_t at,
                                uint64_t length, bool call)
{
    const struct patas__segment *code = pass->code;

    if (at + 4 > code->size)
        return;
    int32_t rel = (int32_t)patas__load32(code->bytes + at);
    uint64_t target = code->address + at + 4 + (uint64_t)(int64_t)rel;
    if (call)
        branches_set_entry(pass, target);
    else if (target - (code->address + at - length) + BRANCHES_HEAD >
             2 * BRANCHES_HEAD)
        branches_set(pass, target);
}

static void branches_scan_opcode(struct branches_pass *pass, uint64_t at)
{
    const uint8_t *bytes = pass->code->bytes;

    if ((bytes[at] & 0xfe) == 0xe8) {
        branches_note_rel32(pass, at + 1, 1, bytes[at] == 0xe8);
    } else if (at + 1 < pass->code->size &&
               ((bytes[at] == 0x0f && (bytes[at + 1] & 0xf0) == 0x80) ||
                (bytes[at] == 0xc7 && bytes[at + 1] == 0xf8))) {
        branches_note_rel32(pass, at + 2, 2, false);
    }
}

/* A bit is set in the result if (not only if) a byte of `word` is zero. */
static uint64_t branches_zero_byte(uint64_t word)
{
    return (word - 0x0101010101010101u) & ~word & 0x8080808080808080u;
}

/* Every byte that may be the opcode of a branch by rel32. */
static void branches_scan_segment(struct branches_pass *pass)
{
    const uint64_t ones = 0x0101010101010101u;
    const struct patas__segment *code = pass->code;
    uint64_t at = 0;

    for (; at + 8 <= code->size; at += 8) {
        uint64_t word = patas__load64(code->bytes + at);
        uint64_t hits = branches_zero_byte((word ^ ones * 0xe8) & ones * 0xfe) |
                        branches_zero_byte(word ^ ones * 0x0f) |
                        branches_zero_byte(word ^ ones * 0xc7);
        for (; hits; hits &= hits - 1)
            branches_scan_opcode(pass,
                                 at + (unsigned)__builtin_ctzll(hits) / 8);
    }
    for (; at < code->size; at++)
        branches_scan_opcode(pass, at);
}

/* A symbol is a second entry, or names code without a description, which is
 * decoded from its true start. */
static void branches_note_symbol(struct branches_pass *pass,
                                 const struct patas__symbol *symbol)
{
    const struct patas__image *image = pass->image;
    struct patas__extent frame;
    uint64_t start;

    if (!branches_is_code(symbol))
        return;
    pass->code = patas__image_code(image, symbol->address);
    uint64_t rank = patas__extent_rank(image, symbol->address, &start);
    if (!pass->code || (rank && start == symbol->address))
        return;
    branches_set_entry(pass, symbol->address);
    if ((rank && patas__extent_frame(image, rank - 1, &frame) &&
         symbol->address - frame.start < frame.size) ||
        symbol->size > pass->spare ||
        symbol->size >
            pass->code->size - (symbol->address - pass->code->address))
        return;
    pass->spare -= symbol->size;
    branches_decode(pass, symbol->address, symbol->address + symbol->size,
                    true);
}

void patas__branches_map(const struct patas__image *image, uint8_t *bits)
{
    struct branches_pass pass = {.image = image, .bits = bits};
    struct patas__symbol symbol;

    if (!patas__branches_map_size(image))
        return;
    pass.size = image->end - image->start;
    for (unsigned i = 0; i < image->segment_count; i++) {
        if (image->segments[i].executable)
            pass.spare += image->segments[i].size;
    }
    for (uint64_t i = 0; patas__image_symbol(image, i, &symbol); i++)
        branches_note_symbol(&pass, &symbol);
    for (unsigned i = 0; i < image->segment_count; i++) {
        pass.code = &image->segments[i];
        if (!pass.code->executable)
            continue;
        branches_decode_segment(&pass);
        branches_scan_segment(&pass);
    }
}
