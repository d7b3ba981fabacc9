/* SPDX-License-Identifier: MIT */
/*
 * Go's code for amd64 and 386 (cmd/internal/obj/x86/obj6.go, stacksplit).
 */
#include "dialect.h"

#include "image.h"

enum {
    INT3 = 0xcc,
    LEA = 0x8d,
    STORE = 0x89
};

static const uint8_t *bytes_of(const struct patas__go_text *text,
                               const struct patas__insn *insn)
{
    return text->bytes + (insn->address - text->entry);
}

/* cmp 16(%r14), %rsp or %r12; the same against %rcx in assembly functions,
 * which load the goroutine from thread-local storage first, as all do on 386:
 * cmp 8(%ecx), %esp or %eax. */
static bool checks_stack(const struct patas__go_text *text,
                         const struct patas__insn *insn)
{
    static const struct {
        uint8_t pointer_size, length, bytes[4];
    } forms[] = {
        {8, 4, {0x49, 0x3b, 0x66, 0x10}}, {8, 4, {0x4d, 0x3b, 0x66, 0x10}},
        {8, 4, {0x48, 0x3b, 0x61, 0x10}}, {8, 4, {0x4c, 0x3b, 0x61, 0x10}},
        {4, 3, {0x3b, 0x61, 0x08}},       {4, 3, {0x3b, 0x41, 0x08}},
    };
    for (unsigned i = 0; i < sizeof forms / sizeof *forms; i++)
        if (text->isa->pointer_size == forms[i].pointer_size &&
            insn->length == forms[i].length &&
            !memcmp(bytes_of(text, insn), forms[i].bytes, insn->length))
            return true;
    return false;
}

/* jbe */
static bool grows_stack(const struct patas__go_text *text,
                        const struct patas__insn *insn)
{
    const uint8_t *bytes = bytes_of(text, insn);
    return insn->flow == PATAS__FLOW_BRANCH && insn->has_target &&
           (bytes[0] == 0x76 || (bytes[0] == 0x0f && bytes[1] == 0x86));
}

/* Position-independent code for 386 loads by a PC that it does not need. */
static bool asks_pc(const struct patas__go_text *text,
                    const struct patas__insn *insn)
{
    return text->isa->pointer_size == 4 && insn->flow == PATAS__FLOW_CALL &&
           insn->address == text->entry;
}

static bool is_data(const struct patas__go_text *text, uint64_t at)
{
    (void)text;
    (void)at;
    return false;
}

/* `call rel32` and `jmp rel32`, byte-wise. */
static bool called(const struct patas__segment *code, uint64_t entry,
                   uint64_t end)
{
    for (uint64_t at = 0; at + 5 <= code->size; at++) {
        uint8_t opcode = code->bytes[at];
        if (opcode != 0xe8 && opcode != 0xe9)
            continue;
        uint64_t from = code->address + at;
        int32_t away = (int32_t)patas__load32(code->bytes + at + 1);
        if (from + 5 + (uint64_t)(int64_t)away == entry &&
            (from < entry || from >= end))
            return true;
    }
    return false;
}

/* lea dictionary, %reg;  mov %reg, offset(%esp) */
static void dictionary_386(const uint8_t *bytes, const struct patas__insn *insn,
                           struct patas__go_dictionary *state)
{
    const uint8_t *modrm = bytes + insn->modrm_at;
    unsigned reg = *modrm >> 3 & 7u, mod = *modrm >> 6;
    uint32_t offset = mod == 1   ? modrm[2]
                      : mod == 2 ? patas__load32(modrm + 2)
                                 : 0;
    if (bytes[insn->opcode_at] == LEA) {
        state->loaded[reg] =
            (*modrm & 0xc7) == 5 ? patas__load32(modrm + 1) : 0;
        return;
    }
    if ((*modrm & 7) != 4 || mod == 3 || modrm[1] != 0x24 ||
        !state->loaded[reg])
        return;
    state->value = state->loaded[reg];
    state->place = offset / 4;
    state->loaded[reg] = 0;
}

/* lea dictionary(%rip), %reg */
static void dictionary(const struct patas__go_text *text,
                       const struct patas__insn *insn,
                       struct patas__go_dictionary *state)
{
    const uint8_t *bytes = bytes_of(text, insn);
    uint8_t opcode = bytes[insn->opcode_at];
    if (opcode != LEA && opcode != STORE)
        return;
    if (text->isa->pointer_size == 4) {
        dictionary_386(bytes, insn, state);
    } else if (insn->has_operand) {
        state->value = insn->operand;
        state->place =
            (bytes[insn->modrm_at] >> 3 & 7u) | (insn->rex & 4 ? 8u : 0u);
    }
}

/* The word at the stack pointer is taken for the caller's PC, which is right as
 * long as nothing was pushed. */
static bool may_fault(const struct patas__go_text *text, unsigned moved)
{
    enum {
        SP_BASE = 4
    };
    bool pushed = false;
    struct patas__insn insn;
    for (unsigned at = 0; at < moved; at += insn.length) {
        const uint8_t *bytes = text->bytes + at;
        if (!text->isa->decode(bytes, PATAS__INSN_MAX, text->entry + at, &insn))
            return true;
        uint8_t opcode = bytes[insn.opcode_at];
        uint8_t modrm = bytes[insn.modrm_at];
        bool memory = insn.modrm_at && modrm < 0xc0 && opcode != LEA;
        bool stack =
            (modrm & 7) == SP_BASE && (bytes[insn.modrm_at + 1] & 7) == SP_BASE;
        if (memory && pushed && !stack)
            return true;
        pushed |= opcode >= 0x50 && opcode <= 0x57 && !insn.modrm_at;
        pushed |= insn.modrm_at && modrm >= 0xc0 && (modrm & 7) == SP_BASE &&
                  (opcode == 0x83 || opcode == 0x81);
    }
    return false;
}

const struct patas__go_dialect patas__go_x86 = {
    .padding = INT3,
    .checks_stack = checks_stack,
    .grows_stack = grows_stack,
    .asks_pc = asks_pc,
    .is_data = is_data,
    .called = called,
    .dictionary = dictionary,
    .may_fault = may_fault,
};
