/* SPDX-License-Identifier: MIT */
/*
 * Which bytes of a module's code something jumps to.
 *
 * For one window, the instruction set looks for what would land in it. For many
 * windows, the code is decoded once and the targets are kept.
 */
#include "image.h"

#include <elf.h>

enum {
    BRANCHES_HEAD = 16 /* bytes of a function that a planner looks at */
};

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
    struct patas__search search = {.image = image,
                                   .address = address,
                                   .size = size < 32 ? size : 32,
                                   .skip_from = skip_from,
                                   .skip_to = skip_to};
    struct patas__symbol symbol;

    for (unsigned i = 0; i < image->segment_count; i++) {
        search.code = &image->segments[i];
        if (search.code->executable)
            image->isa->find_branches(&search);
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
    uint8_t *starts; /* a bit where a description begins */
    uint64_t size;   /* bits in each of them */
    uint64_t spare;  /* bytes that may still be decoded a second time */
    struct patas__near near;
};

static void branches_set(struct branches_pass *pass, uint64_t target)
{
    uint64_t offset = target - pass->image->start;
    if (offset < pass->size)
        pass->bits[offset / 8] |= (uint8_t)(1u << offset % 8);
}

static bool branches_starts(const struct branches_pass *pass, uint64_t address)
{
    uint64_t offset = address - pass->image->start;
    return offset < pass->size && (pass->starts[offset / 8] >> offset % 8 & 1);
}

static void branches_note_starts(struct branches_pass *pass)
{
    uint64_t start;

    for (uint64_t i = 0; patas__extent_start(pass->image, i, &start); i++) {
        uint64_t offset = start - pass->image->start;
        if (offset < pass->size)
            pass->starts[offset / 8] |= (uint8_t)(1u << offset % 8);
    }
}

/* Marks `target` if it is in a function's head, but not at its start. */
static void branches_set_entry(struct branches_pass *pass, uint64_t target)
{
    if (branches_starts(pass, target))
        return;
    for (uint64_t back = 1; back < BRANCHES_HEAD; back++) {
        if (branches_starts(pass, target - back)) {
            branches_set(pass, target);
            return;
        }
    }
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

/* Every instruction in from .. to - 1. Data in the code is stepped over until
 * it reads as instructions again. */
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
        if (!isa->decode(code->bytes + offset, (size_t)(code->size - offset),
                         from, &insn)) {
            from += isa->step;
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
        if (!patas__extent_frame(pass->image, i, &pass->near, &frame) ||
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

/* A branch far from its target; short ways are left to the decoding, which
 * knows whose head is whose. */
static void branches_note_far(void *data, uint64_t source, uint64_t target,
                              bool call)
{
    struct branches_pass *pass = data;

    if (call)
        branches_set_entry(pass, target);
    else if (target - source + BRANCHES_HEAD > 2 * BRANCHES_HEAD)
        branches_set(pass, target);
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
    if (!pass->code || branches_starts(pass, symbol->address))
        return;
    uint64_t rank = patas__extent_rank(image, symbol->address, &start);
    branches_set_entry(pass, symbol->address);
    if ((rank && patas__extent_frame(image, rank - 1, &pass->near, &frame) &&
         symbol->address - frame.start < frame.size) ||
        symbol->size > pass->spare ||
        symbol->size >
            pass->code->size - (symbol->address - pass->code->address))
        return;
    pass->spare -= symbol->size;
    branches_decode(pass, symbol->address, symbol->address + symbol->size,
                    true);
}

void patas__branches_map(const struct patas__image *image, uint8_t *bits,
                         uint8_t *starts)
{
    struct branches_pass pass = {
        .image = image, .bits = bits, .starts = starts};
    struct patas__symbol symbol;

    if (!patas__branches_map_size(image))
        return;
    pass.size = image->end - image->start;
    branches_note_starts(&pass);
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
        image->isa->each_branch(pass.code, branches_note_far, &pass);
    }
}
