/* SPDX-License-Identifier: MIT */
/*
 * What must hold of every decoded instruction, whatever the bytes; first byte
 * of the input: the mode.
 */
#include <stdlib.h>
#include <string.h>

#include "isa.h"

#define PROMISE(what) \
    do {              \
        if (!(what))  \
            abort();  \
    } while (0)

static uint64_t fuzz_field(const uint8_t *bytes, const struct patas__insn *insn)
{
    int32_t value = 0;

    if (insn->rel_size == 1)
        value = (int8_t)bytes[insn->rel_at];
    else if (insn->rel_size == 2)
        value = (int16_t)patas__load16(bytes + insn->rel_at);
    else
        value = (int32_t)patas__load32(bytes + insn->rel_at);
    return insn->address + insn->length + (uint64_t)(int64_t)value;
}

static void fuzz_places(const uint8_t *bytes, const struct patas__insn *insn,
                        bool wide)
{
    uint64_t place;

    PROMISE(insn->rel_at + insn->rel_size <= insn->length);
    PROMISE((insn->rel_size != 0) == (insn->has_target || insn->has_operand));
    PROMISE(!(insn->has_target && insn->has_operand));
    PROMISE(insn->has_target || insn->target == 0);
    PROMISE(insn->has_operand || insn->operand == 0);
    if (insn->rel_size == 0)
        return;
    place = fuzz_field(bytes, insn);
    if (insn->has_operand) {
        PROMISE(wide && insn->rel_size == 4);
        PROMISE(insn->rel_at == insn->modrm_at + 1);
        bool mpx = insn->map == 1 && /* ignores 67 */
                   (bytes[insn->opcode_at] & 0xfe) == 0x1a;
        bool cut = (insn->prefixes & PATAS__PREFIX_67) && !mpx;
        PROMISE(insn->operand == (cut ? (uint32_t)place : place));
        return;
    }
    PROMISE(insn->rel_at + insn->rel_size == insn->length);
    PROMISE(insn->flow == PATAS__FLOW_JUMP || insn->flow == PATAS__FLOW_CALL ||
            insn->flow == PATAS__FLOW_BRANCH);
    PROMISE(insn->target == (wide ? place : (uint32_t)place) ||
            (!wide && insn->target == (uint16_t)place));
}

/* The same bytes give the same answer, and every shorter piece gives none. */
static void fuzz_shorter(const struct patas__isa *isa, const uint8_t *bytes,
                         size_t size, const struct patas__insn *insn)
{
    struct patas__insn again;

    PROMISE(isa->decode(bytes, insn->length, insn->address, &again));
    PROMISE(memcmp(&again, insn, sizeof again) == 0);
    for (size_t cut = 0; cut < insn->length && cut < size; cut++) {
        PROMISE(!isa->decode(bytes, cut, insn->address, &again));
        PROMISE(again.length == 0);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t at = 1;

    if (size == 0)
        return 0;
    bool wide = data[0] & 1;
    const struct patas__isa *isa = wide ? &patas__isa_x86_64 : &patas__isa_i386;
    while (at < size) {
        struct patas__insn insn;

        if (!isa->decode(data + at, size - at, 0x400000 + at, &insn)) {
            PROMISE(insn.length == 0);
            at++;
            continue;
        }
        PROMISE(insn.length > 0 && insn.length <= PATAS__INSN_MAX);
        PROMISE(insn.length <= size - at);
        PROMISE(insn.opcode_at < insn.length && insn.modrm_at < insn.length);
        PROMISE(insn.modrm_at == 0 || insn.modrm_at > insn.opcode_at);
        PROMISE(insn.flow <= PATAS__FLOW_STOP);
        fuzz_places(data + at, &insn, wide);
        fuzz_shorter(isa, data + at, size - at, &insn);
        at += insn.length;
    }
    return 0;
}
