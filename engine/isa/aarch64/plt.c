/* SPDX-License-Identifier: MIT */
/*
 * What linkers for AArch64 put between a call and another module's function.
 *
 *     stub     [bti c]                      plt0   [bti c]
 *              adrp x16, slot                      stp  x16, x30, [sp, #-16]!
 *              ldr  x17, [x16, :lo12:slot]         adrp x16, GOT[2]
 *              add  x16, x16, :lo12:slot           ldr  x17, ...
 *              [autia1716]                         ...
 *              br   x17
 *
 * A slot that isn't bound holds the address of plt0.
 */
#include "aarch64.h"
#include "target.h"

enum {
    A64L_ADRP = 0,
    A64L_LDR = 4,
    A64L_ADD = 8,
    A64L_REST = 12
};

#define A64L_BTI_C   0xd503245fu
#define A64L_AUTIA   0xd503219fu /* autia1716 */
#define A64L_BR_X17  0xd61f0220u
#define A64L_PUSH_IP 0xa9bf7bf0u /* stp x16, x30, [sp, #-16]! */

static uint32_t a64_plt_word(const struct patas__image *image, uint64_t address)
{
    const uint8_t *bytes = patas__image_bytes(image, address, PATAS__A64_SIZE);

    return bytes ? patas__load32(bytes) : 0;
}

/* Behind a landing pad, if there is one. */
static uint64_t a64_plt_code(const struct patas__image *image, uint64_t address)
{
    bool pad = a64_plt_word(image, address) == A64L_BTI_C;

    return pad ? address + PATAS__A64_SIZE : address;
}

bool patas__a64_plt_stub(const struct patas__image *image, uint64_t address,
                         uint64_t *slot, uint64_t *size)
{
    uint64_t code = a64_plt_code(image, address), end = code + A64L_REST;
    uint32_t ldr = a64_plt_word(image, code + A64L_LDR);
    uint32_t add = a64_plt_word(image, code + A64L_ADD);
    struct patas__insn adrp;

    if ((ldr & 0xffc003ff) != 0xf9400211 || /* ldr x17, [x16, #] */
        (add & 0xffc003ff) != 0x91000210 || /* add x16, x16, # */
        !patas__target_decode(image, code + A64L_ADRP, &adrp) ||
        adrp.encoding != PATAS__A64_ADRP ||
        (a64_plt_word(image, code) & 31) != 16)
        return false;
    if (a64_plt_word(image, end) == A64L_AUTIA)
        end += PATAS__A64_SIZE;
    if (a64_plt_word(image, end) != A64L_BR_X17)
        return false;
    *slot = adrp.operand + (ldr >> 10 & 0xfff) * 8;
    *size = end + PATAS__A64_SIZE - address;
    return true;
}

bool patas__a64_plt_begins(const struct patas__image *image, uint64_t address)
{
    return a64_plt_word(image, a64_plt_code(image, address)) == A64L_PUSH_IP;
}

bool patas__a64_plt_unbound(const struct patas__image *image, uint64_t slot,
                            uint64_t value)
{
    (void)slot;
    return patas__a64_plt_begins(image, value);
}
