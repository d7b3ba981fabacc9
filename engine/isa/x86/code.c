/* SPDX-License-Identifier: MIT */
/*
 * Code that is made for x86:
 *
 *     jump     e9 rel32
 *     stub     ff 25 disp32                 jmp *slot
 *     thunk    4c 8b 15 disp32              mov context, %r10
 *              ff 25 disp32                 jmp *slot
 *     ... and in 32-bit code
 *              8b 0d disp32                 mov context, %ecx
 *
 * In 64-bit code a disp32 counts from the end of its instruction; in 32-bit
 * code it is the address.
 */
#include "x86.h"

enum {
    CODE_STUB_FIELD = 2,
    /* Bytes of the load in front of the jump. */
    CODE_THUNK_LOAD = PATAS__X86_THUNK - PATAS__X86_STUB,
    CODE_THUNK_LOAD_32 = PATAS__X86_THUNK_32 - PATAS__X86_STUB
};

static void code_put_field(uint8_t *code, unsigned field, uint64_t at,
                           uint64_t to)
{
    patas__store32(code + field, (uint32_t)(to - (at + field + 4)));
}

static uint64_t code_field(const uint8_t *code, unsigned field, uint64_t at)
{
    int32_t distance = (int32_t)patas__load32(code + field);
    return at + field + 4 + (uint64_t)(int64_t)distance;
}

void patas__x86_put_jump(uint8_t *code, uint64_t at, uint64_t to)
{
    code[0] = 0xe9;
    code_put_field(code, 1, at, to);
}

/* A landing pad does nothing else. */
void patas__x86_put_stub(uint8_t *code, uint64_t at, uint64_t slot,
                         const uint8_t *pad)
{
    (void)pad;
    code[0] = 0xff;
    code[1] = 0x25;
    code_put_field(code, CODE_STUB_FIELD, at, slot);
}

uint64_t patas__x86_stub_slot(const uint8_t *code, uint64_t at)
{
    return code_field(code, CODE_STUB_FIELD, at);
}

void patas__x86_put_thunk(uint8_t *code, uint64_t at, uint64_t slot,
                          uint64_t context)
{
    code[0] = 0x4c;
    code[1] = 0x8b;
    code[2] = 0x15;
    code_put_field(code, 3, at, context);
    patas__x86_put_stub(code + CODE_THUNK_LOAD, at + CODE_THUNK_LOAD, slot,
                        NULL);
}

void patas__x86_thunk_slots(const uint8_t *code, uint64_t at, uint64_t *slot,
                            uint64_t *context)
{
    *context = code_field(code, 3, at);
    *slot = patas__x86_stub_slot(code + CODE_THUNK_LOAD, at + CODE_THUNK_LOAD);
}

void patas__x86_put_stub_32(uint8_t *code, uint64_t at, uint64_t slot,
                            const uint8_t *pad)
{
    (void)at;
    (void)pad;
    code[0] = 0xff;
    code[1] = 0x25;
    patas__store32(code + CODE_STUB_FIELD, (uint32_t)slot);
}

uint64_t patas__x86_stub_slot_32(const uint8_t *code, uint64_t at)
{
    (void)at;
    return patas__load32(code + CODE_STUB_FIELD);
}

void patas__x86_put_thunk_32(uint8_t *code, uint64_t at, uint64_t slot,
                             uint64_t context)
{
    code[0] = 0x8b;
    code[1] = 0x0d;
    patas__store32(code + 2, (uint32_t)context);
    patas__x86_put_stub_32(code + CODE_THUNK_LOAD_32, at, slot, NULL);
}

void patas__x86_thunk_slots_32(const uint8_t *code, uint64_t at, uint64_t *slot,
                               uint64_t *context)
{
    *context = patas__load32(code + 2);
    *slot = patas__x86_stub_slot_32(code + CODE_THUNK_LOAD_32, at);
}
