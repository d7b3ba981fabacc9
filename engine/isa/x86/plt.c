/* SPDX-License-Identifier: MIT */
/*
 * What linkers for x86 put between a call and another module's function.
 *
 *     stub     [endbr64] [bnd] jmp *slot(%rip)
 *              [endbr32] jmp *slot, jmp *offset(%ebx)
 *     unbound  [endbr64] push $index; [bnd] jmp plt0
 *     plt0     push GOT[1]; jmp *GOT[2]
 */
#include "target.h"
#include "x86.h"

/* The word that an indirect jump reads. In 64-bit code that is always relative
 * to the PC; in 32-bit code `ff 25` holds an address, and in position-
 * independent code `ff a3` counts from ebx, by which a caller of a stub passes
 * the address of the GOT (System V ABI i386, 5.2, "Procedure Linkage Table").
 */
static bool plt_jump_slot(const struct patas__image *image,
                          const struct patas__insn *insn, uint64_t *slot)
{
    if (insn->flow != PATAS__FLOW_JUMP || insn->has_target)
        return false;
    if (insn->has_operand) {
        *slot = insn->operand;
        return true;
    }
    const uint8_t *bytes =
        patas__image_bytes(image, insn->address, insn->length);
    if (image->isa->pointer_size != 4 || !bytes || insn->length < 6 ||
        bytes[insn->length - 6] != 0xff)
        return false;
    *slot = patas__load32(bytes + insn->length - 4);
    if (bytes[insn->length - 5] == 0xa3 && image->plt_got) {
        *slot = (uint32_t)(image->plt_got + *slot);
        return true;
    }
    return bytes[insn->length - 5] == 0x25;
}

/* Most functions are told from a stub by a byte: that is `[endbr] [bnd] ff`. */
static bool plt_may_be_stub(const struct patas__image *image, uint64_t address)
{
    const uint8_t *bytes = patas__image_bytes(image, address, 6);

    if (bytes && bytes[0] == 0xf3 && bytes[1] == 0x0f && bytes[2] == 0x1e)
        bytes += 4;
    return bytes && (bytes[0] == 0xff || bytes[0] == 0xf2);
}

bool patas__x86_plt_stub(const struct patas__image *image, uint64_t address,
                         uint64_t *slot, uint64_t *size)
{
    struct patas__insn insn;

    if (!plt_may_be_stub(image, address) ||
        !patas__target_first(image, address, &insn) ||
        !plt_jump_slot(image, &insn, slot))
        return false;
    *size = insn.address + insn.length - address;
    return true;
}

bool patas__x86_plt_begins(const struct patas__image *image, uint64_t address)
{
    const uint8_t *bytes = patas__image_bytes(image, address, 2);

    return bytes && bytes[0] == 0xff && (bytes[1] & 0xf8) == 0x30;
}

/* An unbound slot leads back into its own image's PLT, to
 *     [endbr64] push $index; [bnd] jmp plt0
 * where `index` is that of the slot's relocation (a byte offset on i386). */
bool patas__x86_plt_unbound(const struct patas__image *image, uint64_t slot,
                            uint64_t value)
{
    struct patas__insn push, jump;
    struct patas__reloc reloc;

    if (!patas__target_first(image, value, &push) || push.length != 5 ||
        !patas__target_decode(image, push.address + 5, &jump) ||
        jump.flow != PATAS__FLOW_JUMP || !jump.has_target)
        return false;
    const uint8_t *bytes = patas__image_bytes(image, push.address, 5);
    if (!bytes || bytes[0] != 0x68)
        return false;
    uint64_t index = patas__load32(bytes + 1);
    if (image->isa->pointer_size == 4)
        index /= image->relocs[0].entry ? image->relocs[0].entry : 1;
    return patas__image_reloc(image, 0, index, &reloc) && reloc.address == slot;
}
