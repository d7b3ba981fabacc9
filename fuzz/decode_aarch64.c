/* SPDX-License-Identifier: MIT */
/*
 * What must hold of every decoded A64 instruction, whatever the words; first
 * 8 bytes of the input: the address.
 */
#include <stdlib.h>
#include <string.h>

#include "isa.h"
#include "isa/aarch64/aarch64.h"

#define PROMISE(what) \
    do {              \
        if (!(what))  \
            abort();  \
    } while (0)

/* How far each form reaches, in bytes; 0: no label. */
static const uint64_t fuzz_reach[] = {
    [PATAS__A64_ANYWHERE] = 0,
    [PATAS__A64_B] = 1 << 27,
    [PATAS__A64_BL] = 1 << 27,
    [PATAS__A64_B_COND] = 1 << 20,
    [PATAS__A64_CBZ] = 1 << 20,
    [PATAS__A64_TBZ] = 1 << 15,
    [PATAS__A64_CB] = 1 << 10,
    [PATAS__A64_ADR] = 1 << 20,
    [PATAS__A64_ADRP] = (1ull << 32) + 0x1000,
    [PATAS__A64_LITERAL] = 1 << 20,
    [PATAS__A64_BLR] = 0,
    [PATAS__A64_FIXED] = 1 << 18,
};

static void fuzz_label(const struct patas__insn *insn)
{
    uint64_t reach = fuzz_reach[insn->encoding];
    uint64_t to = insn->has_target ? insn->target : insn->operand;

    PROMISE(!(insn->has_target && insn->has_operand));
    PROMISE(insn->has_target || insn->target == 0);
    PROMISE(insn->has_operand || insn->operand == 0);
    PROMISE((insn->rel_size != 0) == (insn->has_target || insn->has_operand));
    PROMISE(insn->rel_at == 0);
    if (insn->rel_size == 0) {
        PROMISE(reach == 0 || insn->encoding == PATAS__A64_FIXED);
        return;
    }
    PROMISE(insn->rel_size == insn->length);
    PROMISE(to - insn->address + reach < 2 * reach);
    PROMISE(to % 4 == 0 || insn->encoding == PATAS__A64_ADR);
    PROMISE(insn->has_target ==
            (insn->flow == PATAS__FLOW_JUMP || insn->flow == PATAS__FLOW_CALL ||
             insn->flow == PATAS__FLOW_BRANCH));
}

/* Labels move as the instruction does, page by page; nothing else changes. */
static void fuzz_elsewhere(const uint8_t *bytes, const struct patas__insn *insn)
{
    struct patas__insn other;

    PROMISE(
        patas__isa_aarch64.decode(bytes, 4, insn->address - 0x5000, &other));
    other.address += 0x5000;
    other.target += insn->has_target ? 0x5000 : 0;
    other.operand += insn->has_operand ? 0x5000 : 0;
    PROMISE(memcmp(&other, insn, sizeof other) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct patas__isa *isa = &patas__isa_aarch64;
    struct patas__insn insn, cut;
    uint64_t address;

    if (size < 8)
        return 0;
    address = patas__load64(data) & ~(uint64_t)3;
    for (size_t at = 8; at < size; at += 4) {
        bool is = isa->decode(data + at, size - at, address + at, &insn);

        PROMISE(insn.length == (is ? 4 : 0));
        PROMISE(!is || size - at >= 4);
        for (size_t less = 0; less < 4; less++) {
            PROMISE(!isa->decode(data + at, less, address + at, &cut));
            PROMISE(cut.length == 0);
        }
        if (!is)
            continue;
        PROMISE(insn.address == address + at);
        PROMISE(insn.flow <= PATAS__FLOW_STOP);
        PROMISE(insn.encoding <= PATAS__A64_FIXED);
        PROMISE(!(insn.landing_pad && insn.padding));
        PROMISE(!isa->decode(data + at, 4, address + at + 2, &cut));
        fuzz_label(&insn);
        fuzz_elsewhere(data + at, &insn);
    }
    return 0;
}
