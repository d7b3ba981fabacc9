/* SPDX-License-Identifier: MIT */
/*
 * Reading Go's prologues, whatever the instruction set.
 */
#include "prologue.h"

#include <elf.h>

enum {
    PROLOGUE_INSNS = 8
};

const struct patas__go_dialect *patas__go_dialect(const struct patas__isa *isa)
{
    return isa->machine == EM_AARCH64 ? &patas__go_a64 : &patas__go_x86;
}

static bool insn_at(const struct patas__go_text *text, uint64_t offset,
                    struct patas__insn *insn)
{
    return offset < text->size &&
           text->isa->decode(text->bytes + offset,
                             (size_t)(text->size - offset),
                             text->entry + offset, insn);
}

/* The target of the branch behind the stack check, as an offset; 0 if there is
 * no check. */
static uint64_t grow_block(const struct patas__go_text *text)
{
    const struct patas__go_dialect *dialect = patas__go_dialect(text->isa);
    struct patas__insn insn;
    uint64_t at = 0;
    bool checked = false;
    for (unsigned i = 0; i < PROLOGUE_INSNS; i++, at += insn.length) {
        if (!insn_at(text, at, &insn))
            return 0;
        if (checked && dialect->grows_stack(text, &insn)) {
            uint64_t target = insn.target - text->entry;
            return target > at && target < text->size ? target : 0;
        }
        if (checked)
            return 0;
        checked = dialect->checks_stack(text, &insn);
        /* The large frame's `jb`, against wrapping around, goes there too. */
        if (!checked && insn.flow != PATAS__FLOW_NEXT &&
            insn.flow != PATAS__FLOW_BRANCH && !dialect->asks_pc(text, &insn))
            return 0;
    }
    return 0;
}

/* What a jump to the entry may be long: 2 bytes on x86, or a whole jump. */
static bool is_again(const struct patas__go_text *text,
                     const struct patas__insn *insn)
{
    enum {
        SHORT = 2
    };
    return insn->has_target && insn->target == text->entry &&
           (insn->length == SHORT || insn->length == text->isa->jump);
}

/* From `grow` on: moves, a call, moves, the jump to the entry. */
static bool read_block(const struct patas__go_text *text, uint64_t grow,
                       struct patas__go_head *head)
{
    const uint8_t padding = patas__go_dialect(text->isa)->padding;
    struct patas__insn insn;
    bool called = false;
    for (uint64_t at = grow; insn_at(text, at, &insn); at += insn.length) {
        head->trouble = text->entry + at;
        if (insn.flow == PATAS__FLOW_CALL && !called) {
            called = true;
        } else if (insn.flow == PATAS__FLOW_JUMP && called) {
            if (!is_again(text, &insn))
                return false;
            head->again = text->entry + at;
            head->again_size = insn.length;
            at += insn.length;
            while (head->padding < 8 && at + head->padding < text->size &&
                   text->bytes[at + head->padding] == padding)
                head->padding++;
            return true;
        } else if (insn.flow != PATAS__FLOW_NEXT) {
            return false;
        }
        head->last = text->entry + at;
    }
    return false;
}

static uint64_t without_padding(const struct patas__go_text *text)
{
    const uint8_t padding = patas__go_dialect(text->isa)->padding;
    const uint64_t step = text->isa->step;
    uint64_t size = text->size, same = 0;
    while (same + 1 < text->size && text->bytes[size - 1 - same] == padding)
        same++;
    return size - same / step * step;
}

/* Every branch that comes back to the first bytes, and whether it calls
 * anybody; false if the body can't be read. `grow` is where its last block
 * begins. */
static bool read_body(const struct patas__go_text *text, uint64_t size,
                      uint64_t grow, struct patas__go_head *head)
{
    const struct patas__go_dialect *dialect = patas__go_dialect(text->isa);
    struct patas__insn insn;
    for (uint64_t at = 0; at < size; at += insn.length) {
        head->trouble = text->entry + at;
        if (!insn_at(text, at, &insn)) {
            if (!dialect->is_data(text, at))
                return false;
            insn.length = text->isa->step;
            continue;
        }
        bool call = insn.flow == PATAS__FLOW_CALL;
        bool calls = call && !head->calls &&
                     !(grow && (at >= grow || dialect->asks_pc(text, &insn)));
        bool enters = insn.has_target && !call &&
                      text->entry + at != head->again &&
                      insn.target - text->entry < 32;
        if ((!calls && !enters) || dialect->is_data(text, at))
            continue;
        head->calls |= calls;
        if (enters)
            head->enters |= 1u << (insn.target - text->entry);
    }
    return true;
}

void patas__go_head(const struct patas__isa *isa, const uint8_t *bytes,
                    uint64_t size, uint64_t entry, struct patas__go_head *head)
{
    struct patas__go_text text = {isa, bytes, size, entry};
    *head =
        (struct patas__go_head){.shape = PATAS__GO_UNKNOWN, .trouble = entry};
    if (!size)
        return;
    head->body_end = entry + without_padding(&text);
    uint64_t grow = grow_block(&text);
    if (grow && !read_block(&text, grow, head))
        return;
    if (!read_body(&text, head->body_end - entry, grow, head))
        return;
    head->shape = grow          ? PATAS__GO_CHECKED
                  : head->calls ? PATAS__GO_NOSPLIT
                                : PATAS__GO_LEAF;
}
