/* SPDX-License-Identifier: MIT */
/*
 * Which bytes of a module's code something jumps to.
 *
 *     far      a branch by rel32, a call, a symbol: for one window all bytes of
 *              the module are looked at; for many, the targets are kept
 *     near     a short branch: the bytes around the window, each time
 *
 * Bytes that look like a short branch into the window are there by chance for
 * one window in four. So the function that they are in is decoded: what it
 * steps over is none. Where no function is known they are believed.
 */
#include "image.h"

#include <elf.h>

enum {
    BRANCHES_WALK_MAX = 16384, /* bytes decoded to confirm one branch */
    BRANCHES_CHUNK = 48,       /* ... at a time */
    /* Bytes around a window that a short branch may be in, and as many as are
     * looked at together. */
    BRANCHES_BEFORE = 160,
    BRANCHES_BEHIND = 192
};

static bool branches_is_code(const struct patas__symbol *symbol)
{
    return symbol->defined &&
           (symbol->type == STT_FUNC || symbol->type == STT_GNU_IFUNC ||
            symbol->type == STT_NOTYPE);
}

/* ---- for one window ------------------------------------------------------ */

/* What is around the window, as it was unpatched. */
static void branches_copy(const struct patas__search *search,
                          const struct patas__segment *code, uint8_t *bytes,
                          struct patas__segment *around)
{
    uint64_t offset = search->address - code->address;
    uint64_t from = offset > BRANCHES_BEFORE ? offset - BRANCHES_BEFORE : 0;
    uint64_t size = offset - from + search->size + BRANCHES_BEHIND;

    if (size > code->size - from)
        size = code->size - from;
    memcpy(bytes, code->bytes + from, (size_t)size);
    search->unpatch(code->address + from, bytes, (size_t)size);
    *around = (struct patas__segment){.address = code->address + from,
                                      .size = size,
                                      .bytes = bytes,
                                      .executable = true};
}

uint32_t patas__branches_near(struct patas__search *search)
{
    const struct patas__segment *code =
        patas__image_code(search->image, search->address);
    uint8_t bytes[BRANCHES_BEFORE + 32 + BRANCHES_BEHIND];
    struct patas__segment around;

    search->code = code;
    if (code && search->unpatch) {
        branches_copy(search, code, bytes, &around);
        search->code = &around;
    }
    if (code)
        search->image->isa->find_near(search);
    return search->found;
}

uint32_t patas__branches_search(struct patas__search *search)
{
    const struct patas__image *image = search->image;
    struct patas__symbol symbol;

    for (unsigned i = 0; i < image->segment_count; i++) {
        search->code = &image->segments[i];
        if (search->code->executable)
            image->isa->find_branches(search);
    }
    for (uint64_t i = 0; patas__image_symbol(image, i, &symbol); i++) {
        uint64_t k = symbol.address - search->address;
        if (k > 0 && k < search->size && branches_is_code(&symbol))
            search->found |= (uint32_t)1 << k;
    }
    return patas__branches_near(search);
}

/* Does decoding from `at` come by the bytes at `source`, or end in what is no
 * code, so that nothing can be said? */
static bool branches_comes_by(const struct patas__search *search, uint64_t at,
                              uint64_t source, unsigned size)
{
    const struct patas__segment *code =
        patas__image_code(search->image, source);
    struct patas__insn insn = {0};

    while (at < source) {
        uint8_t bytes[BRANCHES_CHUNK + PATAS__INSN_MAX + 1];
        uint64_t offset = at - code->address, left = code->size - offset;
        size_t read = left < sizeof bytes ? (size_t)left : sizeof bytes;
        memcpy(bytes, code->bytes + offset, read);
        if (search->unpatch)
            search->unpatch(at, bytes, read);
        for (size_t k = 0; k < BRANCHES_CHUNK && at < source;) {
            if (!search->image->isa->decode(bytes + k, read - k, at, &insn))
                return true;
            k += insn.length;
            at += insn.length;
        }
    }
    return at == source || (insn.has_target && at == source + size);
}

/* The start of the function around `source`, or of the window if nothing tells
 * of that and it is in front; `source` if there is neither. */
static uint64_t branches_start(const struct patas__search *search,
                               uint64_t source)
{
    struct patas__near none = {0};
    struct patas__near *near = search->near ? search->near : &none;
    struct patas__extent around;

    if ((patas__extent_around(search->image, source, near, &around) ||
         patas__extent_find_near(search->image, source, near, &around)) &&
        patas__image_code(search->image, around.start) ==
            patas__image_code(search->image, source) &&
        around.start <= source)
        return around.start;
    return search->address < source ? search->address : source;
}

/* Is `source` in the filler right behind a function? i386's NOPs are full of
 * what reads as a branch. */
static bool branches_is_filler(const struct patas__search *search,
                               uint64_t source)
{
    const struct patas__image *image = search->image;
    struct patas__near none = {0};
    struct patas__extent before;
    uint64_t start, rank = patas__extent_rank(image, source, &start);

    if (!rank || !patas__extent_frame(image, rank - 1, &none, &before))
        return false;
    uint64_t at = before.start + before.size;
    if (source - at >= BRANCHES_CHUNK)
        return false;
    while (at <= source) {
        struct patas__insn insn;
        const uint8_t *bytes = patas__image_bytes(image, at, PATAS__INSN_MAX);
        if (!bytes || !image->isa->decode(bytes, PATAS__INSN_MAX, at, &insn) ||
            !insn.padding)
            return false;
        at += insn.length;
    }
    return true;
}

bool patas__search_decodes(const struct patas__search *search, uint64_t source,
                           unsigned size)
{
    if (branches_is_filler(search, source))
        return false;
    uint64_t start = branches_start(search, source);

    return source - start > BRANCHES_WALK_MAX ||
           branches_comes_by(search, start, source, size);
}

/* ---- for many ------------------------------------------------------------ */

size_t patas__branches_map_size(const struct patas__image *image)
{
    return image->end > image->start
               ? (size_t)((image->end - image->start) / 8 + 1)
               : 0;
}

/* The state of one pass. */
struct branches_pass {
    const struct patas__image *image;
    uint8_t *bits;
    uint8_t *starts; /* a bit where a description begins */
    uint64_t size;   /* bits in each of them */
};

static void branches_set(const struct branches_pass *pass, uint8_t *bits,
                         uint64_t address)
{
    uint64_t offset = address - pass->image->start;
    if (offset < pass->size)
        bits[offset / 8] |= (uint8_t)(1u << offset % 8);
}

/* Whoever calls a function's first byte, and the symbol there, mean it. */
static void branches_set_entry(const struct branches_pass *pass,
                               uint64_t address)
{
    uint64_t offset = address - pass->image->start;
    if (offset < pass->size && !(pass->starts[offset / 8] >> offset % 8 & 1))
        branches_set(pass, pass->bits, address);
}

static void branches_note(void *data, uint64_t source, uint64_t target,
                          bool call)
{
    const struct branches_pass *pass = data;

    if (call)
        branches_set_entry(pass, target);
    else if (target - source + PATAS__NEAR > 2 * PATAS__NEAR)
        branches_set(pass, pass->bits, target);
}

void patas__branches_map(const struct patas__image *image, uint8_t *bits,
                         uint8_t *starts)
{
    struct branches_pass pass = {
        .image = image, .bits = bits, .starts = starts};
    struct patas__symbol symbol;
    uint64_t start;

    if (!patas__branches_map_size(image))
        return;
    pass.size = image->end - image->start;
    for (uint64_t i = 0; patas__extent_start(image, i, &start); i++)
        branches_set(&pass, starts, start);
    for (uint64_t i = 0; patas__image_symbol(image, i, &symbol); i++) {
        if (branches_is_code(&symbol))
            branches_set_entry(&pass, symbol.address);
    }
    for (unsigned i = 0; i < image->segment_count; i++) {
        if (image->segments[i].executable)
            image->isa->each_branch(&image->segments[i], branches_note, &pass);
    }
}
