/* SPDX-License-Identifier: MIT */
/*
 * Stage 2: how long a function is.
 *
 *     .eh_frame_hdr   [start, fde] [start, fde] [start, fde] ...   sorted
 *                          |    `-> .eh_frame: start, length
 *                          v
 *     code            [  function  ][nop nop][  function  ]
 *                      <-- size --> <-pad-->
 *
 * Unwind tables come first: stripped files have them, static functions are in
 * them, and they are sorted. Symbols of .dynsym are not sorted, so they are
 * walked, and only where they can tell more: for code without a description
 * (hand-written functions), and for an address that is inside a description
 * but not at its start (assembly that puts several functions into one).
 *
 * An address inside a description that is neither a symbol nor a PLT stub is
 * the middle of a function, in stripped files, too: there it is the only
 * protection against patching one.
 */
#include "target.h"

#include <elf.h>

enum {
    EXTENT_PADDING_MAX = 64, /* bytes */
    EXTENT_WALK_MAX = 4096   /* bytes that are decoded to find an end */
};

/* Bytes that are consumed from the front; `at` may pass `end` by nothing. */
struct extent_cursor {
    const uint8_t *at, *end;
    uint64_t address; /* of `at` */
};

/* One frame description. */
struct extent_frame {
    uint64_t start, size;
};

static uint64_t extent_sign32(uint32_t value)
{
    return (uint64_t)(int64_t)(int32_t)value;
}

static bool extent_take(struct extent_cursor *cursor, uint64_t size)
{
    if (size > (uint64_t)(cursor->end - cursor->at))
        return false;
    cursor->at += size;
    cursor->address += size;
    return true;
}

/* DWARF 5, 7.6. The values that matter here fit 64 bits; longer ones are
 * consumed and cut. */
static bool extent_uleb(struct extent_cursor *cursor, uint64_t *value)
{
    *value = 0;
    for (unsigned shift = 0; cursor->at < cursor->end; shift += 7) {
        uint8_t byte = *cursor->at;
        (void)extent_take(cursor, 1);
        if (shift < 64)
            *value |= (uint64_t)(byte & 0x7f) << shift;
        if (!(byte & 0x80))
            return true;
    }
    return false;
}

/* The record of .eh_frame at `address`: what follows its length and the field
 * that tells a CIE from an FDE. (LSB Core, "Exception Frames".) */
static bool extent_record(const struct patas__image *image, uint64_t address,
                          uint32_t *id, struct extent_cursor *cursor)
{
    const struct patas__segment *segment = patas__image_segment(image, address);
    uint64_t offset = segment ? address - segment->address : 0;
    if (!segment || segment->size - offset < 8)
        return false;
    const uint8_t *bytes = segment->bytes + offset;
    uint64_t size = patas__load32(bytes);
    if (size < 4 || size >= 0xfffffff0u || size + 4 > segment->size - offset)
        return false;
    *id = patas__load32(bytes + 4);
    *cursor = (struct extent_cursor){bytes + 8, bytes + 4 + size, address + 8};
    return true;
}

/* Bytes of an encoded pointer, or 0 for a form that has no fixed size. */
static unsigned extent_encoded_size(const struct patas__image *image,
                                    uint8_t encoding)
{
    switch (encoding & 0x0f) {
    case 0x00:
        return image->isa->pointer_size;
    case 0x02:
    case 0x0a:
        return 2;
    case 0x03:
    case 0x0b:
        return 4;
    case 0x04:
    case 0x0c:
        return 8;
    default:
        return 0;
    }
}

static bool extent_encoded(const struct patas__image *image,
                           struct extent_cursor *cursor, uint8_t encoding,
                           uint64_t *value)
{
    unsigned size = extent_encoded_size(image, encoding);
    const uint8_t *at = cursor->at;
    uint64_t base = cursor->address;
    bool is_signed = (encoding & 0x08) != 0;

    if (!size || !extent_take(cursor, size))
        return false;
    if (size == 8)
        *value = patas__load64(at);
    else if (size == 4)
        *value =
            is_signed ? extent_sign32(patas__load32(at)) : patas__load32(at);
    else
        *value = is_signed ? (uint64_t)(int64_t)(int16_t)patas__load16(at)
                           : patas__load16(at);
    switch (encoding & 0xf0) {
    case 0x00:
        /* A file's address; glibc's loader does not touch .eh_frame. */
        *value += image->bias;
        return true;
    case 0x10:
        *value += base;
        return true;
    case 0x30:
        *value += image->eh_frame_hdr;
        return true;
    default:
        return false;
    }
}

/* How a CIE's frame descriptions write addresses. */
static bool extent_cie(const struct patas__image *image, uint64_t address,
                       uint8_t *encoding)
{
    struct extent_cursor cursor;
    const uint8_t *text;
    uint64_t ignored;
    uint32_t id;

    if (!extent_record(image, address, &id, &cursor) || id != 0)
        return false;
    const uint8_t *version = cursor.at;
    if (!extent_take(&cursor, 1) || (*version != 1 && *version != 3))
        return false;
    text = cursor.at;
    do {
        if (!extent_take(&cursor, 1))
            return false;
    } while (cursor.at[-1]);
    *encoding = 0;
    if (!text[0])
        return true;
    /* Alignment factors, return address register, size of what follows. */
    if (text[0] != 'z' || !extent_uleb(&cursor, &ignored) ||
        !extent_uleb(&cursor, &ignored) || !extent_uleb(&cursor, &ignored) ||
        !extent_uleb(&cursor, &ignored))
        return false;
    while (*++text) {
        const uint8_t *at = cursor.at;
        if (*text == 'S' || *text == 'B')
            continue;
        if (!extent_take(&cursor, 1))
            return false;
        if (*text == 'R') {
            *encoding = *at;
            return true;
        }
        if (*text == 'P') {
            if (!extent_take(&cursor, extent_encoded_size(image, *at)))
                return false;
        } else if (*text != 'L') {
            return false;
        }
    }
    return true;
}

/* The CIE at `address` becomes near->cie: most functions share one. */
static bool extent_cie_near(const struct patas__image *image, uint64_t address,
                            struct patas__near *near)
{
    if (near->cie == address && address)
        return true;
    near->cie = 0;
    if (!extent_cie(image, address, &near->encoding))
        return false;
    near->cie = address;
    return true;
}

static bool extent_fde(const struct patas__image *image, uint64_t address,
                       struct patas__near *near, struct extent_frame *frame)
{
    struct extent_cursor cursor;
    uint32_t id;

    if (!extent_record(image, address, &id, &cursor) || id == 0 ||
        !extent_cie_near(image, address + 4 - id, near) ||
        !extent_encoded(image, &cursor, near->encoding, &frame->start))
        return false;
    unsigned size = extent_encoded_size(image, near->encoding);
    const uint8_t *at = cursor.at;
    if (!extent_take(&cursor, size))
        return false;
    frame->size = size == 8   ? patas__load64(at)
                  : size == 4 ? patas__load32(at)
                              : patas__load16(at);
    return true;
}

/* Start of the code that entry `index` of the search table describes. */
static uint64_t extent_entry_start(const struct patas__image *image,
                                   const uint8_t *table, uint64_t index)
{
    return image->eh_frame_hdr +
           extent_sign32(patas__load32(table + index * 8));
}

/* How many entries of the search table begin at or below `address`. */
static uint64_t extent_rank(const struct patas__image *image,
                            const uint8_t *table, uint64_t address)
{
    int64_t key = (int64_t)(address - image->eh_frame_hdr);
    uint64_t base = 0, count = image->eh_count;

    /* Without a branch that depends on the data: half of them would be
     * mispredicted. */
    while (count > 1) {
        uint64_t half = count / 2;
        int64_t at = (int32_t)patas__load32(table + (base + half) * 8);
        base += at <= key ? half : 0;
        count -= half;
    }
    return base + ((int32_t)patas__load32(table + base * 8) <= key);
}

/* Is `rank` what extent_rank() would answer? */
static bool extent_is_rank(const struct patas__image *image,
                           const uint8_t *table, uint64_t address,
                           uint64_t rank)
{
    int64_t key = (int64_t)(address - image->eh_frame_hdr);

    return rank && rank <= image->eh_count &&
           (int32_t)patas__load32(table + (rank - 1) * 8) <= key &&
           (rank == image->eh_count ||
            (int32_t)patas__load32(table + rank * 8) > key);
}

/* Whoever asks for many functions mostly asks in their order. */
static uint64_t extent_rank_near(const struct patas__image *image,
                                 const uint8_t *table, uint64_t address,
                                 struct patas__near *near)
{
    static const int8_t steps[] = {1, 0, 2, -1};

    for (unsigned i = 0; i < sizeof steps; i++) {
        uint64_t rank = near->rank + (uint64_t)(int64_t)steps[i];
        if (extent_is_rank(image, table, address, rank)) {
            near->rank = rank;
            return rank;
        }
    }
    near->rank = extent_rank(image, table, address);
    return near->rank;
}

static const uint8_t *extent_table(const struct patas__image *image)
{
    return image->eh_count
               ? patas__image_bytes(image, image->eh_table, image->eh_count * 8)
               : NULL;
}

static bool extent_covers(const struct extent_frame *frame, uint64_t address)
{
    return address - frame->start < frame->size;
}

/* By the search table. Entries of length 0 may share a start with the one
 * that is meant, so some neighbours are asked, too. */
static bool extent_by_table(const struct patas__image *image, uint64_t address,
                            struct patas__near *near,
                            struct extent_frame *frame, uint64_t *next)
{
    const uint8_t *table = extent_table(image);
    if (!table)
        return false;
    uint64_t rank = extent_rank_near(image, table, address, near);
    *next = rank < image->eh_count ? extent_entry_start(image, table, rank)
                                   : UINT64_MAX;
    for (unsigned tries = 0; tries < 4 && rank; tries++) {
        uint64_t fde = image->eh_frame_hdr +
                       extent_sign32(patas__load32(table + --rank * 8 + 4));
        if (extent_fde(image, fde, near, frame) &&
            extent_covers(frame, address))
            return true;
    }
    return false;
}

/* Without a search table: every record of .eh_frame, to its terminator. */
static bool extent_by_walk(const struct patas__image *image, uint64_t address,
                           struct extent_frame *frame, uint64_t *next)
{
    struct extent_frame one;
    struct extent_cursor cursor;
    struct patas__near near = {0};
    uint64_t at = image->eh_frame;
    bool found = false;
    uint32_t id;

    *next = UINT64_MAX;
    while (extent_record(image, at, &id, &cursor)) {
        if (id != 0 && extent_fde(image, at, &near, &one)) {
            if (extent_covers(&one, address)) {
                *frame = one;
                found = true;
            } else if (one.start > address && one.start < *next) {
                *next = one.start;
            }
        }
        at = cursor.address + (uint64_t)(cursor.end - cursor.at);
    }
    return found;
}

static bool extent_by_unwind(const struct patas__image *image, uint64_t address,
                             struct patas__near *near,
                             struct extent_frame *frame, uint64_t *next)
{
    if (image->eh_count)
        return extent_by_table(image, address, near, frame, next);
    *next = UINT64_MAX;
    return image->eh_frame && extent_by_walk(image, address, frame, next);
}

/* What .dynsym tells about an address. */
struct extent_symbols {
    bool exact;    /* a symbol is there ... */
    uint64_t size; /* ... of that size, the largest of all aliases' */
    struct extent_frame around; /* the nearest sized one that covers it */
    uint64_t next;              /* the lowest one above the address */
};

static bool extent_may_be_code(const struct patas__symbol *symbol)
{
    return symbol->address &&
           (symbol->type == STT_FUNC || symbol->type == STT_GNU_IFUNC ||
            (symbol->type == STT_NOTYPE && symbol->defined));
}

static void extent_ask_symbols(const struct patas__image *image,
                               uint64_t address, struct extent_symbols *answer)
{
    struct patas__symbol symbol;

    *answer = (struct extent_symbols){.next = UINT64_MAX};
    for (uint64_t i = 0; patas__image_symbol(image, i, &symbol); i++) {
        if (!extent_may_be_code(&symbol))
            continue;
        if (symbol.address == address) {
            answer->exact = true;
            if (symbol.size > answer->size)
                answer->size = symbol.size;
        } else if (symbol.address > address) {
            if (symbol.address < answer->next)
                answer->next = symbol.address;
        } else if (address - symbol.address < symbol.size &&
                   symbol.address >= answer->around.start) {
            answer->around = (struct extent_frame){symbol.address, symbol.size};
        }
    }
}

/* Where straight-line code that begins at `address` ends: behind the first
 * instruction that never goes on and that no branch seen so far jumps over.
 * At most `limit`. */
static uint64_t extent_walk_code(const struct patas__image *image,
                                 uint64_t address, uint64_t limit)
{
    const struct patas__segment *code = patas__image_code(image, address);
    uint64_t at = address, furthest = address;

    while (at < limit) {
        struct patas__insn insn;
        uint64_t offset = at - code->address;
        if (!image->isa->decode(code->bytes + offset,
                                (size_t)(code->size - offset), at, &insn) ||
            insn.length > limit - at)
            break;
        at += insn.length;
        if (insn.flow == PATAS__FLOW_BRANCH && insn.has_target &&
            insn.target > furthest && insn.target < limit)
            furthest = insn.target;
        if ((insn.flow == PATAS__FLOW_JUMP || insn.flow == PATAS__FLOW_RETURN ||
             insn.flow == PATAS__FLOW_STOP) &&
            at > furthest)
            break;
    }
    return at;
}

/* A description of a PLT: of all of its stubs. */
static bool extent_is_plt(const struct patas__image *image,
                          const struct extent_frame *frame)
{
    uint64_t slot, size;

    return image->isa->plt_begins(image, frame->start) ||
           patas__target_stub(image, frame->start, &slot, &size);
}

/* The asked address is inside a description, not at its start. */
static void extent_inside(const struct patas__image *image, uint64_t address,
                          const struct extent_frame *frame,
                          struct patas__extent *extent)
{
    struct extent_symbols symbols;
    uint64_t slot, size, end = frame->start + frame->size;

    if ((address - frame->start) % 8 == 0 && extent_is_plt(image, frame) &&
        patas__target_stub(image, address, &slot, &size)) {
        *extent = (struct patas__extent){.start = address,
                                         .size = size,
                                         .source = PATAS__SOURCE_STUB,
                                         .entry = true};
        return;
    }
    extent_ask_symbols(image, address, &symbols);
    if (!symbols.exact)
        return;
    if (symbols.next < end)
        end = symbols.next;
    *extent = (struct patas__extent){.start = address,
                                     .size = symbols.size ? symbols.size
                                                          : end - address,
                                     .source = PATAS__SOURCE_SYMBOL,
                                     .entry = true};
}

/* No description covers the address; the next one begins at `next`. */
static bool extent_by_symbol(const struct patas__image *image, uint64_t address,
                             uint64_t next, struct patas__extent *extent)
{
    struct extent_symbols symbols;

    extent_ask_symbols(image, address, &symbols);
    *extent = (struct patas__extent){.source = PATAS__SOURCE_SYMBOL};
    if (symbols.exact) {
        const struct patas__segment *code = patas__image_code(image, address);
        uint64_t limit = symbols.next < next ? symbols.next : next;
        if (limit - code->address > code->size)
            limit = code->address + code->size;
        if (limit - address > EXTENT_WALK_MAX)
            limit = address + EXTENT_WALK_MAX;
        extent->start = address;
        extent->entry = true;
        extent->size = symbols.size
                           ? symbols.size
                           : extent_walk_code(image, address, limit) - address;
    } else {
        extent->start = symbols.around.start;
        extent->size = symbols.around.size;
    }
    return extent->size != 0;
}

/* Where the filler that begins at `at` ends: `limit`, or before the first
 * instruction that isn't filler or crosses the limit. */
static uint64_t extent_filler(const struct patas__image *image,
                              const struct patas__segment *code, uint64_t at,
                              uint64_t limit)
{
    struct patas__insn insn;

    while (at < limit) {
        uint64_t offset = at - code->address;
        /* More bytes than one instruction has: the decoder is quicker then. */
        if (!image->isa->decode(code->bytes + offset,
                                (size_t)(code->size - offset), at, &insn) ||
            !insn.padding || insn.landing_pad || insn.length > limit - at)
            break;
        at += insn.length;
    }
    return at;
}

/* Bytes of filler from `end` on. Where it ends at the next known function,
 * all of it is; where unknown code follows, that code may begin by a NOP of
 * its own, so only what comes before the next address that compilers align
 * functions to is. */
static uint64_t extent_padding(const struct patas__image *image, uint64_t end,
                               uint64_t next)
{
    const struct patas__segment *code = patas__image_code(image, end);
    struct extent_symbols symbols;

    if (!code || next <= end)
        return 0;
    uint64_t limit = end + EXTENT_PADDING_MAX;
    if (limit - code->address > code->size)
        limit = code->address + code->size;
    limit = next < limit ? next : limit;
    uint64_t at = extent_filler(image, code, end, limit);
    if (at == end || at == next)
        return at - end;
    extent_ask_symbols(image, end, &symbols);
    if (symbols.exact)
        return 0;
    uint64_t aligned = (end + 15) & ~(uint64_t)15;
    if (symbols.next <= at)
        limit = symbols.next;
    else
        limit = aligned < at ? aligned : at;
    return extent_filler(image, code, end, limit) - end;
}

/* What the tables claim beyond the code isn't there. */
static bool extent_clip(const struct patas__image *image, uint64_t address,
                        struct patas__extent *extent)
{
    const struct patas__segment *code = patas__image_code(image, address);
    uint64_t offset = extent->start - code->address;

    if (offset >= code->size)
        return false;
    if (extent->size > code->size - offset)
        extent->size = code->size - offset;
    return address - extent->start < extent->size;
}

bool patas__extent_frame(const struct patas__image *image, uint64_t index,
                         struct patas__near *near, struct patas__extent *frame)
{
    const uint8_t *table = extent_table(image);
    struct extent_frame one;

    if (!table || index >= image->eh_count ||
        !extent_fde(image,
                    image->eh_frame_hdr +
                        extent_sign32(patas__load32(table + index * 8 + 4)),
                    near, &one))
        return false;
    *frame = (struct patas__extent){
        .start = one.start, .size = one.size, .source = PATAS__SOURCE_UNWIND};
    return one.size != 0;
}

bool patas__extent_around(const struct patas__image *image, uint64_t address,
                          struct patas__near *near, struct patas__extent *frame)
{
    struct extent_frame one;
    uint64_t next;

    if (!extent_by_unwind(image, address, near, &one, &next))
        return false;
    *frame = (struct patas__extent){
        .start = one.start, .size = one.size, .source = PATAS__SOURCE_UNWIND};
    return true;
}

bool patas__extent_start(const struct patas__image *image, uint64_t index,
                         uint64_t *start)
{
    const uint8_t *table = extent_table(image);

    if (!table || index >= image->eh_count)
        return false;
    *start = extent_entry_start(image, table, index);
    return true;
}

uint64_t patas__extent_rank(const struct patas__image *image, uint64_t address,
                            uint64_t *start)
{
    const uint8_t *table = extent_table(image);
    uint64_t rank = table ? extent_rank(image, table, address) : 0;

    *start = rank ? extent_entry_start(image, table, rank - 1) : 0;
    return rank;
}

bool patas__extent_find(const struct patas__image *image, uint64_t address,
                        struct patas__extent *extent)
{
    struct patas__near near = {0};

    if (!patas__extent_find_near(image, address, &near, extent))
        return false;
    patas__extent_pad(image, extent);
    return true;
}

bool patas__extent_find_near(const struct patas__image *image, uint64_t address,
                             struct patas__near *near,
                             struct patas__extent *extent)
{
    struct extent_frame frame = {0};
    uint64_t next = UINT64_MAX;

    *extent = (struct patas__extent){0};
    if (!patas__image_code(image, address))
        return false;
    if (extent_by_unwind(image, address, near, &frame, &next)) {
        *extent = (struct patas__extent){.start = frame.start,
                                         .size = frame.size,
                                         .source = PATAS__SOURCE_UNWIND,
                                         .entry = frame.start == address};
        if (!extent->entry)
            extent_inside(image, address, &frame, extent);
    } else if (!extent_by_symbol(image, address, next, extent)) {
        *extent = (struct patas__extent){0};
        return false;
    }
    if (!extent_clip(image, address, extent)) {
        *extent = (struct patas__extent){0};
        return false;
    }
    /* NOPs inside a description may be run through. */
    if (extent->start + extent->size - frame.start >= frame.size)
        extent->next = next;
    return true;
}

void patas__extent_pad(const struct patas__image *image,
                       struct patas__extent *extent)
{
    extent->padding =
        extent_padding(image, extent->start + extent->size, extent->next);
}
