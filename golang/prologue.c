/* SPDX-License-Identifier: MIT */
/*
 * Reading Go's prologues (cmd/internal/obj/x86/obj6.go, stacksplit).
 */
#include "prologue.h"

enum {
    PROLOGUE_INSNS = 8,
    INT3 = 0xcc
};

struct text {
    const struct patas__isa *isa;
    const uint8_t *bytes;
    uint64_t size, entry;
};

static bool insn_at(const struct text *text, uint64_t offset,
                    struct patas__insn *insn)
{
    return offset < text->size &&
           text->isa->decode(text->bytes + offset,
                             (size_t)(text->size - offset),
                             text->entry + offset, insn);
}

/* cmp 16(%r14), %rsp or %r12; the same against %rcx in assembly functions,
 * which load the goroutine from thread-local storage first, as all do on 386:
 * cmp 8(%ecx), %esp or %eax. */
static bool checks_stack(const struct text *text,
                         const struct patas__insn *insn)
{
    static const struct {
        uint8_t pointer_size, length, bytes[4];
    } forms[] = {
        {8, 4, {0x49, 0x3b, 0x66, 0x10}}, {8, 4, {0x4d, 0x3b, 0x66, 0x10}},
        {8, 4, {0x48, 0x3b, 0x61, 0x10}}, {8, 4, {0x4c, 0x3b, 0x61, 0x10}},
        {4, 3, {0x3b, 0x61, 0x08}},       {4, 3, {0x3b, 0x41, 0x08}},
    };
    const uint8_t *bytes = text->bytes + (insn->address - text->entry);
    for (unsigned i = 0; i < sizeof forms / sizeof *forms; i++)
        if (text->isa->pointer_size == forms[i].pointer_size &&
            insn->length == forms[i].length &&
            !memcmp(bytes, forms[i].bytes, insn->length))
            return true;
    return false;
}

/* Position-independent code for 386 loads by a PC that it does not need. */
static bool asks_pc(const struct text *text, const struct patas__insn *insn)
{
    return text->isa->pointer_size == 4 && insn->flow == PATAS__FLOW_CALL &&
           insn->address == text->entry;
}

static bool below_or_equal(const struct text *text,
                           const struct patas__insn *insn)
{
    const uint8_t *bytes = text->bytes + (insn->address - text->entry);
    return insn->flow == PATAS__FLOW_BRANCH && insn->has_target &&
           (bytes[0] == 0x76 || (bytes[0] == 0x0f && bytes[1] == 0x86));
}

/* The target of the prologue's jbe, as an offset; 0 if there is no check. */
static uint64_t grow_block(const struct text *text)
{
    struct patas__insn insn;
    uint64_t at = 0;
    bool checked = false;
    for (unsigned i = 0; i < PROLOGUE_INSNS; i++, at += insn.length) {
        if (!insn_at(text, at, &insn))
            return 0;
        if (checked && below_or_equal(text, &insn)) {
            uint64_t target = insn.target - text->entry;
            return target > at && target < text->size ? target : 0;
        }
        if (checked)
            return 0;
        checked = checks_stack(text, &insn);
        /* The large frame's `jb`, against wrapping around, goes there too. */
        if (!checked && insn.flow != PATAS__FLOW_NEXT &&
            insn.flow != PATAS__FLOW_BRANCH && !asks_pc(text, &insn))
            return 0;
    }
    return 0;
}

/* From `grow` on: moves, a call, moves, the jump to the entry. */
static bool read_block(const struct text *text, uint64_t grow,
                       struct patas__go_head *head)
{
    struct patas__insn insn;
    bool called = false;
    for (uint64_t at = grow; insn_at(text, at, &insn); at += insn.length) {
        head->trouble = text->entry + at;
        if (insn.flow == PATAS__FLOW_CALL && !called) {
            called = true;
        } else if (insn.flow == PATAS__FLOW_JUMP && called) {
            if (!insn.has_target || insn.target != text->entry ||
                (insn.length != 2 && insn.length != 5))
                return false;
            head->again = text->entry + at;
            head->again_size = insn.length;
            at += insn.length;
            while (head->padding < 8 && at + head->padding < text->size &&
                   text->bytes[at + head->padding] == INT3)
                head->padding++;
            return true;
        } else if (insn.flow != PATAS__FLOW_NEXT) {
            return false;
        }
        head->last = text->entry + at;
    }
    return false;
}

static uint64_t without_padding(const struct text *text)
{
    uint64_t size = text->size;
    while (size > 1 && text->bytes[size - 1] == INT3)
        size--;
    return size;
}

/* Every branch that comes back to the first bytes, and whether it calls
 * anybody; false if the body can't be read. `grow` is where its last block
 * begins. */
static bool read_body(const struct text *text, uint64_t size, uint64_t grow,
                      struct patas__go_head *head)
{
    struct patas__insn insn;
    for (uint64_t at = 0; at < size; at += insn.length) {
        head->trouble = text->entry + at;
        if (!insn_at(text, at, &insn))
            return false;
        head->calls |= insn.flow == PATAS__FLOW_CALL &&
                       !(grow && (at >= grow || asks_pc(text, &insn)));
        if (insn.has_target && insn.flow != PATAS__FLOW_CALL &&
            text->entry + at != head->again && insn.target - text->entry < 32)
            head->enters |= 1u << (insn.target - text->entry);
    }
    return true;
}

void patas__go_head(const struct patas__isa *isa, const uint8_t *bytes,
                    uint64_t size, uint64_t entry, struct patas__go_head *head)
{
    struct text text = {isa, bytes, size, entry};
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
