/* SPDX-License-Identifier: MIT */
/* Encodings from the Arm ARM, DDI 0487, C4.1 and C6.2; what GNU as 2.40 knows
 * was assembled by it, the rest by hand. */
#include <check.h>
#include <stdlib.h>

#include "isa.h"
#include "isa/aarch64/aarch64.h"

#define HERE 0x123456789678u

/* Distances from HERE. */
struct vector {
    uint32_t word;
    uint8_t flow, form;
    bool has_target, has_operand;
    int64_t distance;
    bool landing_pad, padding;
    const char *text;
};

#define IS(word, text, flow, form)                                           \
    {                                                                        \
        word, PATAS__FLOW_##flow, PATAS__A64_##form, false, false, 0, false, \
            false, text                                                      \
    }
#define TARGET(word, text, flow, form, distance)                            \
    {                                                                       \
        word, PATAS__FLOW_##flow, PATAS__A64_##form, true, false, distance, \
            false, false, text                                              \
    }
#define OPERAND(word, text, flow, form, distance)                           \
    {                                                                       \
        word, PATAS__FLOW_##flow, PATAS__A64_##form, false, true, distance, \
            false, false, text                                              \
    }
#define PAD(word, text, form)                                             \
    {                                                                     \
        word, PATAS__FLOW_NEXT, PATAS__A64_##form, false, false, 0, true, \
            false, text                                                   \
    }
#define FILLER(word, text, flow)                                               \
    {                                                                          \
        word, PATAS__FLOW_##flow, PATAS__A64_ANYWHERE, false, false, 0, false, \
            true, text                                                         \
    }

/* clang-format off */
static const struct vector vectors[] = {
    TARGET(0x15ffffff, "b .+0x7fffffc", JUMP, B, 0x7fffffc),
    TARGET(0x16000000, "b .-0x8000000", JUMP, B, -0x8000000),
    TARGET(0x94000004, "bl .+16", CALL, BL, 0x10),
    TARGET(0x54000800, "b.eq .+0x100", BRANCH, B_COND, 0x100),
    TARGET(0x5400080e, "b.al .+0x100", BRANCH, B_COND, 0x100),
    TARGET(0x54ffffd1, "bc.ne .-8", BRANCH, B_COND, -8),
    TARGET(0xb4800003, "cbz x3, .-0x100000", BRANCH, CBZ, -0x100000),
    TARGET(0x357fffe3, "cbnz w3, .+0xffffc", BRANCH, CBZ, 0xffffc),
    TARGET(0xb60bffe0, "tbz x0, #33, .+0x7ffc", BRANCH, TBZ, 0x7ffc),
    TARGET(0x371c0000, "tbnz w0, #3, .-0x8000", BRANCH, TBZ, -0x8000),
    TARGET(0x740107e2, "cbgt w2, w1, .+0xfc", BRANCH, CB, 0xfc),
    TARGET(0xf4e12002, "cbne x2, x1, .-0x400", BRANCH, CB, -0x400),
    TARGET(0x74619fe2, "cbbhs w2, w1, .+0x3fc", BRANCH, CB, 0x3fc),
    TARGET(0x74c1c042, "cbheq w2, w1, .+8", BRANCH, CB, 8),
    TARGET(0x753f8042, "cblt w2, #63, .+8", BRANCH, CB, 8),
    TARGET(0xf5e08042, "cbne x2, #1, .+8", BRANCH, CB, 8),
    IS(0xd61f0220, "br x17", JUMP, ANYWHERE),
    IS(0xd61f083f, "braaz x1", JUMP, ANYWHERE),
    IS(0xd61f0c3f, "brabz x1", JUMP, ANYWHERE),
    IS(0xd71f083f, "braa x1, sp", JUMP, ANYWHERE),
    IS(0xd71f0c22, "brab x1, x2", JUMP, ANYWHERE),
    IS(0xd63f0100, "blr x8", CALL, BLR),
    IS(0xd63f083f, "blraaz x1", CALL, BLR),
    IS(0xd63f0c3f, "blrabz x1", CALL, BLR),
    IS(0xd73f083f, "blraa x1, sp", CALL, BLR),
    IS(0xd73f0c22, "blrab x1, x2", CALL, BLR),
    IS(0xd65f03c0, "ret", RETURN, ANYWHERE),
    IS(0xd65f00a0, "ret x5", RETURN, ANYWHERE),
    IS(0xd65f0bff, "retaa", RETURN, ANYWHERE),
    IS(0xd65f0fff, "retab", RETURN, ANYWHERE),
    IS(0xd65f0be2, "retaasppcr x2", RETURN, ANYWHERE),
    IS(0xd69f03e0, "eret", RETURN, ANYWHERE),
    IS(0xd69f0bff, "eretaa", RETURN, ANYWHERE),
    IS(0xd69f0fff, "eretab", RETURN, ANYWHERE),
    IS(0xd6bf03e0, "drps", RETURN, ANYWHERE),
    OPERAND(0x5500021f, "retaasppc .-64", RETURN, FIXED, -0x40),
    OPERAND(0x5520021f, "retabsppc .-64", RETURN, FIXED, -0x40),
    IS(0xd4000001, "svc #0", SYSCALL, ANYWHERE),
    IS(0xd4000022, "hvc #1", SYSCALL, ANYWHERE),
    IS(0xd4000043, "smc #2", SYSCALL, ANYWHERE),
    FILLER(0xd4200000, "brk #0", STOP),
    IS(0xd4207d00, "brk #1000", STOP, ANYWHERE),
    IS(0xd4400020, "hlt #1", STOP, ANYWHERE),
    IS(0x00000000, "udf #0", STOP, ANYWHERE),
    IS(0x0000ffff, "udf #65535", STOP, ANYWHERE),
    IS(0xd4a00001, "dcps1", STOP, ANYWHERE),
    IS(0xd4600020, "tcancel #1", STOP, ANYWHERE),
    OPERAND(0x707fffe0, "adr x0, .+0xfffff", NEXT, ADR, 0xfffff),
    OPERAND(0x10800001, "adr x1, .-0x100000", NEXT, ADR, -0x100000),
    OPERAND(0xf0ffffe0, "adrp x0, .-0x1000", NEXT, ADRP, -0x1000 - 0x678),
    OPERAND(0xf07fffe0, "adrp x0, .+0xfffff000", NEXT, ADRP, 0xfffff000 - 0x678),
    OPERAND(0x90800000, "adrp x0, .-0x100000000", NEXT, ADRP, -0x100000000 - 0x678),
    OPERAND(0x187fffe0, "ldr w0, .+0xffffc", NEXT, LITERAL, 0xffffc),
    OPERAND(0x58800001, "ldr x1, .-0x100000", NEXT, LITERAL, -0x100000),
    OPERAND(0x98000042, "ldrsw x2, .+8", NEXT, LITERAL, 8),
    OPERAND(0xd8000080, "prfm pldl1keep, .+16", NEXT, LITERAL, 0x10),
    OPERAND(0x1c000020, "ldr s0, .+4", NEXT, LITERAL, 4),
    OPERAND(0x5c000041, "ldr d1, .+8", NEXT, LITERAL, 8),
    OPERAND(0x9c000062, "ldr q2, .+12", NEXT, LITERAL, 0xc),
    OPERAND(0xf380021f, "autiasppc .-64", NEXT, FIXED, -0x40),
    OPERAND(0xf3bfffff, "autibsppc .-262140", NEXT, FIXED, -0x3fffc),
    IS(0xd503241f, "bti", NEXT, ANYWHERE),
    PAD(0xd503245f, "bti c", ANYWHERE),
    PAD(0xd503249f, "bti j", ANYWHERE),
    PAD(0xd50324df, "bti jc", ANYWHERE),
    PAD(0xd503233f, "paciasp", ANYWHERE),
    PAD(0xd503237f, "pacibsp", ANYWHERE),
    PAD(0xdac1a3fe, "paciasppc", FIXED),
    PAD(0xdac1a7fe, "pacibsppc", FIXED),
    IS(0xdac183fe, "pacnbiasppc", NEXT, FIXED),
    IS(0xdac187fe, "pacnbibsppc", NEXT, FIXED),
    IS(0xd50324ff, "pacm", NEXT, FIXED),
    FILLER(0xd503201f, "nop", NEXT),
    IS(0x19010440, "cpyfp [x0]!, [x1]!, x2!", NEXT, FIXED),
    IS(0x19c20420, "setp [x0]!, x1!, x2", NEXT, FIXED),
    IS(0x1d410440, "cpym [x0]!, [x1]!, x2!", NEXT, FIXED),
    IS(0xd503211f, "pacia1716", NEXT, ANYWHERE),
    IS(0xd50323bf, "autiasp", NEXT, ANYWHERE),
    IS(0xd503203f, "yield", NEXT, ANYWHERE),
    IS(0xd5032fff, "hint #127", NEXT, ANYWHERE),
    IS(0xc85f7c20, "ldxr x0, [x1]", NEXT, ANYWHERE),
    IS(0xd53bd040, "mrs x0, tpidr_el0", NEXT, ANYWHERE),
    IS(0xd51bd040, "msr tpidr_el0, x0", NEXT, ANYWHERE),
    IS(0xd50342df, "msr daifset, #2", NEXT, ANYWHERE),
    IS(0xd5031000, "wfet x0", NEXT, ANYWHERE),
    IS(0xd5233060, "tstart x0", NEXT, ANYWHERE),
    IS(0xd5233160, "ttest x0", NEXT, ANYWHERE),
    IS(0xd5033f5f, "clrex", NEXT, ANYWHERE),
    IS(0xd5033f9f, "dsb sy", NEXT, ANYWHERE),
    IS(0xd5033e3f, "dsb synxs", NEXT, ANYWHERE),
    IS(0xd5033fdf, "isb", NEXT, ANYWHERE),
    IS(0xd50330ff, "sb", NEXT, ANYWHERE),
    IS(0xd5033fff, "sb, whose CRm should be 0", NEXT, ANYWHERE),
    IS(0xd5487fff, "sysp of no register", NEXT, ANYWHERE),
    IS(0xd5033bbf, "dmb ish", NEXT, ANYWHERE),
    IS(0xd50b7520, "ic ivau, x0", NEXT, ANYWHERE),
    IS(0xd5087800, "at s1e1r, x0", NEXT, ANYWHERE),
    IS(0xd500401f, "cfinv", NEXT, ANYWHERE),
    IS(0xd5487fe2, "sysp", NEXT, ANYWHERE),
    IS(0xd5787402, "mrrs x2, x3, par_el1", NEXT, ANYWHERE),
    IS(0x91000420, "add x0, x1, #1", NEXT, ANYWHERE),
    IS(0x91810820, "addg x0, x1, #16, #2", NEXT, ANYWHERE),
    IS(0x11c00420, "smax w0, w1, #1", NEXT, ANYWHERE),
    IS(0x92401c20, "and x0, x1, #0xff", NEXT, ANYWHERE),
    IS(0x3200f020, "orr w0, w1, #0x55555555", NEXT, ANYWHERE),
    IS(0xd2e00020, "movz x0, #1, lsl #48", NEXT, ANYWHERE),
    IS(0x331d0c20, "bfi w0, w1, #3, #4", NEXT, ANYWHERE),
    IS(0x93c20c20, "extr x0, x1, x2, #3", NEXT, ANYWHERE),
    IS(0xa9bf7bfd, "stp x29, x30, [sp, #-16]!", NEXT, ANYWHERE),
    IS(0xd9400020, "ldapur x0, [x1]", NEXT, ANYWHERE),
    IS(0xd503477f, "smstart", NEXT, ANYWHERE),
    IS(0x04200820, "SVE: adr, relative to a register", NEXT, ANYWHERE),
    IS(0x4ea01c20, "mov v0.16b, v1.16b", NEXT, ANYWHERE),
    IS(0xd1400420, "sub x0, x1, #1, lsl #12", NEXT, ANYWHERE),
};

static const struct {
    uint32_t word;
    const char *text;
} unallocated[] = {
    {0x00010000, "op0 0000, not udf"},
    {0x61ffffff, "op0 0000, not SME"},
    {0x02000000, "op0 0001"},
    {0xe2000000, "op0 0001"},
    {0x06000000, "op0 0011"},
    {0xdc000000, "a SIMD prefetch of a literal"},
    {0x55000000, "retaasppc without x31"},
    {0x5540001f, "beyond retabsppc"},
    {0x56000000, "b.cond with bit 25"},
    {0x74800000, "cb<cc> with condition 4"},
    {0x74a00000, "cb<cc> with condition 5"},
    {0x74004000, "cb<cc>, neither byte nor half"},
    {0xf4008000, "cbb<cc> of x registers"},
    {0x75004000, "cb<cc> with an immediate of 7 bits"},
    {0x76000000, "cb<cc> with bit 25"},
    {0xd4000000, "svc without a level"},
    {0xd4000005, "svc with op2"},
    {0xd4200001, "brk with a level"},
    {0xd4400001, "hlt with a level"},
    {0xd4600001, "tcancel with a level"},
    {0xd4a00000, "dcps0"},
    {0xd4800000, "exception 4"},
    {0xd4e00000, "exception 7"},
    {0xd503201e, "a hint with a register"},
    {0xd500601f, "CRn 6 of what isn't sys"},
    {0xd5031040, "beyond wfit"},
    {0xd500101f, "wfet, another op1"},
    {0xd503301f, "barrier 0"},
    {0xd503335e, "clrex with a register"},
    {0xd503373f, "dsb nxs without nxs"},
    {0xd503317f, "tcommit with a CRm"},
    {0xd5004000, "msr immediate with a register"},
    {0xd5233260, "beyond ttest"},
    {0xd5800000, "system, bit 23"},
    {0xd5687fe2, "syslp"},
    {0xd5487fe3, "sysp of an odd register"},
    {0xd5787403, "mrrs of an odd register"},
    {0xd60f0000, "br without op2"},
    {0xd61f0001, "br with op4"},
    {0xd61f0420, "br with op3 1"},
    {0xd61f0820, "braaz without x31"},
    {0xd65f0800, "retaa with a register"},
    {0xd69f0000, "eret with a register"},
    {0xd6bf0000, "drps with a register"},
    {0xd67f0000, "opc 3"},
    {0xd75f0bff, "opc 10"},
    {0x91804020, "addg with op3"},
    {0x11800020, "addg of w registers"},
    {0xb1800000, "addg that sets flags"},
    {0x51c00420, "smax with op"},
    {0x11d00420, "beyond umin"},
    {0x1200fc00, "and: an element full of ones"},
    {0x12400000, "and w, 64-bit element"},
    {0x9240fc00, "and x, all ones"},
    {0x3200fc00, "orr: no element"},
    {0x32800000, "move wide 1"},
    {0x52c00000, "movz w, lsl 32"},
    {0x73000000, "bitfield 3"},
    {0x53400000, "ubfm w, N"},
    {0xd3000000, "ubfm x, not N"},
    {0x53200000, "ubfm w by 32"},
    {0x53008000, "ubfm w to 32"},
    {0x33800000, "extract 1"},
    {0x13a00000, "extract with o0"},
    {0x13c00000, "extr w, N"},
    {0x93800000, "extr x, not N"},
    {0x13808000, "extr w by 32"},
    {0xf3800000, "autiasppc without x31"},
    {0xf3c0001f, "beyond autibsppc"},
};
/* clang-format on */

#define COUNT(array) (sizeof(array) / sizeof *(array))

static bool decode(uint32_t word, uint64_t address, struct patas__insn *insn)
{
    uint8_t bytes[4];

    patas__store32(bytes, word);
    return patas__isa_aarch64.decode(bytes, sizeof bytes, address, insn);
}

START_TEST(what_the_manual_defines_is_what_it_says)
{
    for (size_t i = 0; i < COUNT(vectors); i++) {
        const struct vector *v = &vectors[i];
        uint64_t place = HERE + (uint64_t)v->distance;
        struct patas__insn insn;

        ck_assert_msg(decode(v->word, HERE, &insn), "%s: refused", v->text);
        ck_assert_uint_eq(insn.length, 4);
        ck_assert_uint_eq(insn.address, HERE);
        ck_assert_msg(insn.flow == v->flow && insn.encoding == v->form,
                      "%s: flow %u, form %u", v->text, insn.flow,
                      insn.encoding);
        ck_assert_msg(insn.has_target == v->has_target &&
                          insn.target == (v->has_target ? place : 0),
                      "%s: target %#llx", v->text,
                      (unsigned long long)insn.target);
        ck_assert_msg(insn.has_operand == v->has_operand &&
                          insn.operand == (v->has_operand ? place : 0),
                      "%s: operand %#llx", v->text,
                      (unsigned long long)insn.operand);
        ck_assert_msg((insn.rel_size == 4) == (v->has_target || v->has_operand),
                      "%s: field of %u bytes", v->text, insn.rel_size);
        ck_assert_msg(insn.landing_pad == v->landing_pad &&
                          insn.padding == v->padding,
                      "%s: landing pad %d, padding %d", v->text,
                      insn.landing_pad, insn.padding);
    }
}
END_TEST

START_TEST(what_the_manual_leaves_out_is_no_instruction)
{
    for (size_t i = 0; i < COUNT(unallocated); i++) {
        struct patas__insn insn;

        ck_assert_msg(!decode(unallocated[i].word, HERE, &insn), "%s: decoded",
                      unallocated[i].text);
        ck_assert_uint_eq(insn.length, 0);
    }
}
END_TEST

START_TEST(no_instruction_is_cut_or_between_words)
{
    static const uint8_t nops[] = {0x1f, 0x20, 0x03, 0xd5,
                                   0x1f, 0x20, 0x03, 0xd5};
    struct patas__insn insn;

    for (size_t size = 0; size < 4; size++)
        ck_assert(!patas__isa_aarch64.decode(nops, size, HERE, &insn));
    for (uint64_t at = HERE + 1; at < HERE + 4; at++) {
        ck_assert(!patas__isa_aarch64.decode(nops, sizeof nops, at, &insn));
        ck_assert_uint_eq(insn.length, 0);
    }
    ck_assert(patas__isa_aarch64.decode(nops, sizeof nops, HERE, &insn));
    ck_assert_uint_eq(insn.length, 4);
}
END_TEST

START_TEST(distances_go_around_the_ends_of_memory)
{
    struct patas__insn insn;

    ck_assert(decode(0x17ffffff /* b .-4 */, 0, &insn));
    ck_assert_uint_eq(insn.target, UINT64_MAX - 3);
    ck_assert(
        decode(0xb0000000 /* adrp x0, .+0x1000 */, UINT64_MAX - 3, &insn));
    ck_assert_uint_eq(insn.operand, 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("decode, AArch64");
    TCase *all = tcase_create("all");

    tcase_add_test(all, what_the_manual_defines_is_what_it_says);
    tcase_add_test(all, what_the_manual_leaves_out_is_no_instruction);
    tcase_add_test(all, no_instruction_is_cut_or_between_words);
    tcase_add_test(all, distances_go_around_the_ends_of_memory);
    suite_add_tcase(suite, all);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
