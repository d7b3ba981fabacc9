/* SPDX-License-Identifier: MIT */
/*
 * Code that is made for A64:
 *
 *     jump     b     to
 *     stub     [autiasp]                undoes a paciasp in front of it
 *              adrp  x16, slot
 *              ldr   x16, [x16, :lo12:slot]
 *              br    x16
 *     thunk    adrp  x16, context
 *              ldr   x15, [x16, :lo12:context]
 *              stub
 *
 * x16 and x17 are for such code between a call and its function (AAPCS64,
 * 6.1.1), and a `br` by one of them may land on `bti c` (C6.2, BTI). x15 is a
 * temporary register that no call passes anything in.
 */
#include "aarch64.h"

enum {
    A64C_IP0 = 16,
    A64C_CONTEXT = 15
};

#define A64C_ADRP    0x90000000u
#define A64C_LDR     0xf9400000u /* ldr xt, [xn, #imm12 * 8] */
#define A64C_BR_X16  0xd61f0200u
#define A64C_B       0x14000000u
#define A64C_PACIASP 0xd503233fu
#define A64C_PACIBSP 0xd503237fu
#define A64C_AUTIASP 0xd50323bfu
#define A64C_AUTIBSP 0xd50323ffu
#define A64C_UDF     0x00000000u

void patas__a64_put_jump(uint8_t *code, uint64_t at, uint64_t to)
{
    patas__store32(code, A64C_B | ((uint32_t)((to - at) >> 2) & 0x3ffffff));
}

/* register = the word at `slot`. */
static void a64_put_load(uint8_t *code, uint64_t at, unsigned rd, uint64_t slot)
{
    uint32_t pages = (uint32_t)((slot >> 12) - (at >> 12));

    patas__store32(code, A64C_ADRP | (pages & 3) << 29 |
                             (pages >> 2 & 0x7ffff) << 5 | A64C_IP0);
    patas__store32(code + 4, A64C_LDR | (uint32_t)(slot & 0xfff) >> 3 << 10 |
                                 A64C_IP0 << 5 | rd);
}

/* ... and the slot of such a load. */
static uint64_t a64_load_slot(const uint8_t *code, uint64_t at)
{
    uint32_t adrp = patas__load32(code), ldr = patas__load32(code + 4);
    uint32_t pages = (adrp >> 5 & 0x7ffff) << 2 | (adrp >> 29 & 3);
    uint64_t distance = (uint64_t)((int64_t)((uint64_t)pages << 43) >> 43);

    return ((at >> 12) + distance) * 0x1000 + (ldr >> 10 & 0xfff) * 8;
}

/* What makes up for a landing pad that signs the return address. */
static uint32_t a64_undo(const uint8_t *pad)
{
    switch (pad ? patas__load32(pad) : 0) {
    case A64C_PACIASP:
        return A64C_AUTIASP;
    case A64C_PACIBSP:
        return A64C_AUTIBSP;
    default:
        return 0;
    }
}

void patas__a64_put_stub(uint8_t *code, uint64_t at, uint64_t slot,
                         const uint8_t *pad)
{
    uint32_t undo = a64_undo(pad);
    unsigned from = 0;

    if (undo) {
        patas__store32(code, undo);
        from = PATAS__A64_SIZE;
    }
    a64_put_load(code + from, at + from, A64C_IP0, slot);
    patas__store32(code + from + 8, A64C_BR_X16);
    if (!undo)
        patas__store32(code + 12, A64C_UDF);
}

uint64_t patas__a64_stub_slot(const uint8_t *code, uint64_t at)
{
    uint32_t first = patas__load32(code);
    unsigned from =
        first == A64C_AUTIASP || first == A64C_AUTIBSP ? PATAS__A64_SIZE : 0;

    return a64_load_slot(code + from, at + from);
}

void patas__a64_put_thunk(uint8_t *code, uint64_t at, uint64_t slot,
                          uint64_t context)
{
    a64_put_load(code, at, A64C_CONTEXT, context);
    patas__a64_put_stub(code + 8, at + 8, slot, NULL);
}

void patas__a64_thunk_slots(const uint8_t *code, uint64_t at, uint64_t *slot,
                            uint64_t *context)
{
    *context = a64_load_slot(code, at);
    *slot = patas__a64_stub_slot(code + 8, at + 8);
}
