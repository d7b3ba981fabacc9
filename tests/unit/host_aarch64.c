/* SPDX-License-Identifier: MIT */
/*
 * What the engine is told about AArch64, beside its instructions: the code that
 * is made, the forms of a patch, linkers' stubs, branches, the stack. On any
 * machine.
 */
#include "image_maker.h"
#include "image_support.h"
#include "patas.h"
#include "plan.h"
#include "target.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

#define NOP     0xd503201fu
#define RET     0xd65f03c0u
#define BTI_C   0xd503245fu
#define PACIASP 0xd503233fu
#define PACIBSP 0xd503237fu
#define AUTIASP 0xd50323bfu
#define AUTIBSP 0xd50323ffu
#define BR_X16  0xd61f0200u

static const struct patas__isa *const isa = &patas__isa_aarch64;

static uint32_t word_at(const uint8_t *code, unsigned index)
{
    return patas__load32(code + 4 * index);
}

static struct patas__insn decoded(const uint8_t *code, uint64_t address)
{
    struct patas__insn insn;

    ck_assert(isa->decode(code, 4, address, &insn));
    return insn;
}

/* ---- code that is made --------------------------------------------------- */

START_TEST(a_jump_reaches_128_megabytes_either_way)
{
    static const int64_t ways[] = {4, -4, 0x1000, 0x7fffffc, -0x8000000};
    const uint64_t at = 0x5500001000;
    uint8_t code[4];

    for (unsigned i = 0; i < LENGTH(ways); i++) {
        isa->put_jump(code, at, at + (uint64_t)ways[i]);
        struct patas__insn insn = decoded(code, at);
        ck_assert_int_eq(insn.flow, PATAS__FLOW_JUMP);
        ck_assert_uint_eq(insn.target, at + (uint64_t)ways[i]);
    }
    ck_assert_uint_lt(isa->reach, 0x8000000);
}
END_TEST

static const struct {
    uint32_t pad, undo;
} pads[] = {{0, 0}, {BTI_C, 0}, {PACIASP, AUTIASP}, {PACIBSP, AUTIBSP}};

/* What the stub loads, by the decoder's own reading of it. */
START_TEST(a_stub_goes_where_its_slot_says)
{
    static const int64_t ways[] = {0x1000,  -0x1000,     0x12348,
                                   8,       -0x7ffffff8, 0x7ffffff8,
                                   0x7fff8, -0xabcdef8};
    uint8_t code[PATAS__STUB_MAX] = {0}, pad[4];

    patas__store32(pad, pads[_i].pad);
    for (unsigned i = 0; i < LENGTH(ways); i++) {
        const uint64_t at = 0x5500004010;
        const uint64_t slot = (at + (uint64_t)ways[i]) & ~(uint64_t)7;
        isa->put_stub(code, at, slot, pads[_i].pad ? pad : NULL);
        unsigned from = 0;
        if (pads[_i].undo)
            ck_assert_uint_eq(word_at(code, from++), pads[_i].undo);
        struct patas__insn adrp = decoded(code + 4 * from, at + 4 * from);
        ck_assert_uint_eq(word_at(code, from) & 31, 16);
        uint32_t ldr = word_at(code, from + 1);
        ck_assert_uint_eq(ldr & 0xffc003ff, 0xf9400210); /* x16, [x16, #] */
        ck_assert_uint_eq(
            (adrp.operand & ~(uint64_t)0xfff) + (ldr >> 10 & 0xfff) * 8, slot);
        ck_assert_uint_eq(word_at(code, from + 2), BR_X16);
        ck_assert_uint_eq(isa->stub_slot(code, at), slot);
    }
}
END_TEST

START_TEST(a_thunk_names_both_its_slots)
{
    uint8_t code[PATAS__THUNK_MAX];
    uint64_t slot, context;

    isa->put_thunk(code, 0x5500004000, 0x5500812340, 0x54f0001ff8);
    isa->thunk_slots(code, 0x5500004000, &slot, &context);
    ck_assert_uint_eq(slot, 0x5500812340);
    ck_assert_uint_eq(context, 0x54f0001ff8);
    ck_assert_uint_eq(word_at(code, 1) & 31, 15);
    ck_assert_uint_eq(word_at(code, 4), BR_X16);
}
END_TEST

/* ---- forms --------------------------------------------------------------- */

enum {
    ENTRY = 0x10000
};

static struct patas__survey surveyed(const uint32_t *words, unsigned count,
                                     bool pads_stay)
{
    struct patas__survey survey = {.entry = ENTRY, .pads_stay = pads_stay};
    uint64_t trouble;

    for (unsigned i = 0; i < 8; i++)
        patas__store32(survey.bytes + 4 * i, i < count ? words[i] : NOP);
    survey.size = sizeof survey.bytes;
    ck_assert_uint_eq(patas__survey(isa, &survey, 4 * count, 0, &trouble), 0);
    return survey;
}

static unsigned planned(const struct patas__survey *survey, patas_form form,
                        unsigned flags, struct patas__plan *plan)
{
    uint64_t trouble;

    return patas__plan_form(survey, form, flags, 4, plan, &trouble);
}

START_TEST(one_aligned_word_changes)
{
    const uint32_t words[] = {0xa9be7bfd, 0x910003fd, RET};
    struct patas__survey survey = surveyed(words, 3, true);
    struct patas__plan plan;
    uint8_t bytes[8];

    ck_assert_uint_eq(
        planned(&survey, PATAS_FORM_ONE_INSTRUCTION, PATAS_STRICT, &plan),
        PATAS_REASON_NONE);
    ck_assert_uint_eq(plan.at, 0);
    ck_assert_uint_eq(plan.written, 4);
    ck_assert_uint_eq(plan.want, 4);
    ck_assert_uint_eq(
        patas__plan_bytes(&plan, &survey, ENTRY + 0x2000, 0, bytes), 4);
    ck_assert_uint_eq(decoded(bytes, ENTRY).target, ENTRY + 0x2000);
    ck_assert(!memcmp(bytes + 4, survey.bytes + 4, 4));
}
END_TEST

/* An indirect call has to land on the pad. */
START_TEST(a_landing_pad_that_counts_stays)
{
    const uint32_t words[] = {pads[_i].pad, 0xa9be7bfd, RET};
    struct patas__survey survey = surveyed(words, 3, true);
    struct patas__plan plan;
    uint8_t bytes[8];

    ck_assert_uint_eq(planned(&survey, PATAS_FORM_ONE_INSTRUCTION, 0, &plan),
                      PATAS_REASON_NONE);
    ck_assert_uint_eq(plan.at, 4);
    ck_assert_uint_eq(plan.written, 4);
    ck_assert_uint_eq(plan.want, 8);
    ck_assert_uint_eq(
        patas__plan_bytes(&plan, &survey, ENTRY + 0x2000, 0, bytes), 8);
    ck_assert_uint_eq(word_at(bytes, 0), pads[_i].pad);
    ck_assert_uint_eq(decoded(bytes + 4, ENTRY + 4).target, ENTRY + 0x2000);

    survey = surveyed(words, 3, false);
    planned(&survey, PATAS_FORM_ONE_INSTRUCTION, 0, &plan);
    ck_assert_uint_eq(plan.at, 0);
}
END_TEST

START_TEST(a_pad_with_a_loop_behind_it_needs_a_trap)
{
    const uint32_t words[] = {BTI_C, 0xf1000400, 0x54ffffe1, RET}; /* b.ne -4 */
    struct patas__survey survey = surveyed(words, 4, true);
    struct patas__plan plan;
    uint8_t bytes[8];

    survey.enters = 1u << 4; /* as a search for branches tells */
    ck_assert_uint_eq(planned(&survey, PATAS_FORM_ONE_INSTRUCTION, 0, &plan),
                      PATAS_REASON_BRANCH_IN);
    ck_assert_uint_eq(planned(&survey, PATAS_FORM_PERMANENT_TRAP, 0, &plan),
                      PATAS_REASON_TRAP_NOT_ALLOWED);
    ck_assert_uint_eq(planned(&survey, PATAS_FORM_PERMANENT_TRAP,
                              PATAS_ALLOW_TRAP | PATAS_STRICT, &plan),
                      PATAS_REASON_STRICT);
    ck_assert_uint_eq(
        planned(&survey, PATAS_FORM_PERMANENT_TRAP, PATAS_ALLOW_TRAP, &plan),
        PATAS_REASON_NONE);
    ck_assert_uint_eq(plan.at, 0);
    ck_assert_uint_eq(patas__plan_bytes(&plan, &survey, ENTRY, 0, bytes), 4);
    ck_assert_uint_eq(word_at(bytes, 0) & 0xffe0001f, 0xd4200000); /* brk */
    ck_assert_uint_ne(word_at(bytes, 0), 0xd4200000); /* not a debugger's */
    survey = surveyed(words, 4, false);
    ck_assert_uint_eq(planned(&survey, PATAS_FORM_ONE_INSTRUCTION, 0, &plan),
                      PATAS_REASON_NONE);
}
END_TEST

/* x16 and x17: read before they were written, or not. */
static const struct {
    bool refused;
    uint32_t words[4];
} conventions[] = {
    {true, {0xd61f0200, NOP, NOP, RET}},         /* br x16 */
    {true, {NOP, 0xf9400211, NOP, RET}},         /* ldr x17, [x16] */
    {true, {NOP, 0xa9bf7bf0, NOP, RET}},         /* stp x16, x30, [sp, #-16]! */
    {true, {NOP, NOP, 0x8b110000, RET}},         /* add x0, x0, x17 */
    {true, {NOP, 0xf2800030, NOP, RET}},         /* movk x16, #1 */
    {true, {0xb4000090, NOP, NOP, RET}},         /* cbz x16, .+16 */
    {true, {0xf8706820, NOP, NOP, RET}},         /* ldr x0, [x1, x16] */
    {false, {0xd2800030, 0x8b100000, NOP, RET}}, /* mov x16, #1; add .. x16 */
    {false, {0xb0000010, 0xf9400211, 0xd61f0220, NOP}}, /* a PLT's stub */
    {false, {0xf9400010, 0x8b100000, NOP, RET}}, /* ldr x16, [x0]; add .. x16 */
    {false, {NOP, RET, 0xd61f0200, NOP}},        /* behind the end */
    {false, {0x6d0041f0, NOP, NOP, RET}},        /* stp d16, d16, [x15] */
    {false, {0xf1004000, NOP, NOP, RET}},        /* subs x0, x0, #16 */
    {false, {NOP, 0xfa501844, NOP, RET}},        /* ccmp x2, #16, #4, ne */
    {true, {NOP, 0xfa501044, NOP, RET}},         /* ccmp x2, x16, #4, ne */
    {false, {0x3a510840, NOP, NOP, RET}},        /* ccmn w2, #17, #0, eq */
    {false, {0xba10042f, NOP, NOP, RET}},        /* rmif x1, #32, #15 */
    {true, {0xba018601, NOP, NOP, RET}},         /* rmif x16, #3, #1 */
    {true, {NOP, 0x9b024020, NOP, RET}},         /* madd x0, x1, x2, x16 */
    {false, {0x9b027c20, NOP, NOP, RET}},        /* mul x0, x1, x2 */
};

START_TEST(what_is_given_something_in_x16_is_refused)
{
    struct patas__survey survey = surveyed(conventions[_i].words, 4, false);
    struct patas__plan plan;

    ck_assert_uint_eq(planned(&survey, PATAS_FORM_ONE_INSTRUCTION, 0, &plan),
                      conventions[_i].refused ? PATAS_REASON_CONVENTION
                                              : PATAS_REASON_NONE);
}
END_TEST

START_TEST(a_debuggers_breakpoint_is_not_moved)
{
    struct patas__survey survey = {.entry = ENTRY, .size = 8};
    uint64_t trouble;

    patas__store32(survey.bytes, 0xd4200000);
    patas__store32(survey.bytes + 4, RET);
    ck_assert_uint_eq(patas__survey(isa, &survey, 8, 0, &trouble),
                      PATAS_REASON_BREAKPOINT);
}
END_TEST

/* ---- branches ------------------------------------------------------------ */

static const struct {
    uint32_t word; /* at 0x100 */
    int64_t target;
} branches[] = {
    {0x17ffffc1, 4},  /* b */
    {0x54fff821, 4},  /* b.ne */
    {0xb4fff820, 4},  /* cbz x0 */
    {0x3707f820, 4},  /* tbnz w0, #0 */
    {0x74000000, 4},  /* cbgt x0, x0: aimed below */
    {0x97ffffc1, 4},  /* bl, behind the first byte */
    {0x97ffffc0, -1}, /* bl, of the function itself */
    {0x10fff820, -1}, /* adr x0 */
    {0x58fff820, -1}, /* ldr x0, literal */
    {0xd61f0200, -1}, /* br x16 */
};

START_TEST(what_leads_behind_a_pad_is_found)
{
    uint8_t code[0x200];
    struct patas__image image = {.isa = isa,
                                 .start = ENTRY,
                                 .end = ENTRY + sizeof code,
                                 .segment_count = 1};

    for (unsigned i = 0; i < sizeof code; i += 4)
        patas__store32(code + i, NOP);
    uint32_t word = branches[_i].word;
    if ((word & 0x7f000000) == 0x74000000) /* 9 bits reach 1 KB */
        word = 0x74000000 | ((uint32_t)(-0xfc / 4) & 0x1ff) << 5;
    patas__store32(code + 0x100, word);
    image.segments[0] = (struct patas__segment){.address = ENTRY,
                                                .size = sizeof code,
                                                .bytes = code,
                                                .executable = true};
    uint32_t found = image_search(&image, ENTRY, 8, ENTRY, ENTRY + 8);
    ck_assert_uint_eq(found,
                      branches[_i].target < 0 ? 0 : 1u << branches[_i].target);
    size_t size = patas__branches_map_size(&image) + 1;
    uint8_t *bits = calloc(2, size);
    patas__branches_map(&image, bits, bits + size);
    bool is_call = (branches[_i].word & 0xfc000000) == 0x94000000;
    if (!is_call) /* a call leads to an entry, which nobody describes here */
        ck_assert_uint_eq(bits[0] >> 4 & 1, branches[_i].target >= 0);
    free(bits);
}
END_TEST

/* ---- linkers' stubs ------------------------------------------------------ */

static const struct {
    uint32_t front, back;
} stubs[] = {{0, 0}, {BTI_C, 0}, {BTI_C, 0xd503219f}, {0, 0xd503219f}};

START_TEST(a_linkers_stub_is_known)
{
    struct image_maker maker;
    uint32_t words[6];
    unsigned count = 0;
    uint64_t slot = 0, size = 0;

    if (stubs[_i].front)
        words[count++] = stubs[_i].front;
    uint64_t at = MAKER_CODE + 0x20 + 4 * count;
    uint64_t pages = (MAKER_DATA >> 12) - (at >> 12);
    words[count++] = 0x90000010 | (uint32_t)(pages & 3) << 29 |
                     (uint32_t)(pages >> 2 & 0x7ffff) << 5;
    words[count++] = 0xf9400e11; /* ldr x17, [x16, #24] */
    words[count++] = 0x91006210; /* add x16, x16, #24 */
    if (stubs[_i].back)
        words[count++] = stubs[_i].back;
    words[count++] = 0xd61f0220; /* br x17 */
    maker_begin(&maker, isa);
    maker_code(&maker, 0x20, words, 4 * count);
    maker_end(&maker);
    ck_assert(isa->plt_stub(&maker.image, MAKER_CODE + 0x20, &slot, &size));
    ck_assert_uint_eq(slot, (MAKER_DATA & ~0xfffull) + 24);
    ck_assert_uint_eq(size, 4 * count);
    ck_assert(!isa->plt_stub(&maker.image, MAKER_CODE + 0x24, &slot, &size) ||
              stubs[_i].front);
    ck_assert(!isa->plt_begins(&maker.image, MAKER_CODE + 0x20));
}
END_TEST

START_TEST(a_slot_that_is_not_bound_is_known)
{
    static const uint32_t plt0[] = {0xa9bf7bf0, 0x90000010};
    static const uint32_t guarded[] = {BTI_C, 0xa9bf7bf0, 0x90000010};
    struct image_maker maker;

    maker_begin(&maker, isa);
    maker_code(&maker, 0x20, plt0, sizeof plt0);
    maker_code(&maker, 0x40, guarded, sizeof guarded);
    maker_end(&maker);
    ck_assert(isa->plt_unbound(&maker.image, 0, MAKER_CODE + 0x20));
    ck_assert(isa->plt_unbound(&maker.image, 0, MAKER_CODE + 0x40));
    ck_assert(!isa->plt_unbound(&maker.image, 0, MAKER_CODE + 0x60));
    ck_assert(!isa->plt_unbound(&maker.image, 0, 0x7f0000001230));
}
END_TEST

/* ---- the stack ----------------------------------------------------------- */

enum {
    UNKNOWN = 0x7fff
};

static const struct {
    uint32_t word;
    int lower;
} effects[] = {
    {0xa9be7bfd, 32},      /* stp x29, x30, [sp, #-32]! */
    {0xa8c27bfd, -32},     /* ldp x29, x30, [sp], #32 */
    {0xa9017bfd, 0},       /* stp x29, x30, [sp, #16] */
    {0x6dbe27e8, 32},      /* stp d8, d9, [sp, #-32]! */
    {0xadbf07e0, 32},      /* stp q0, q1, [sp, #-32]! */
    {0xf81f0ffe, 16},      /* str x30, [sp, #-16]! */
    {0xf84107fe, -16},     /* ldr x30, [sp], #16 */
    {0xf90003fe, 0},       /* str x30, [sp] */
    {0xa9be7804, 0},       /* stp x4, x30, [x0, #-32]! */
    {0xd10083ff, 32},      /* sub sp, sp, #32 */
    {0xd1400bff, 0x2000},  /* sub sp, sp, #2, lsl #12 */
    {0x910083ff, -32},     /* add sp, sp, #32 */
    {0x910003fd, 0},       /* mov x29, sp */
    {0x910003bf, UNKNOWN}, /* mov sp, x29 */
    {0xcb2063ff, UNKNOWN}, /* sub sp, sp, x0 */
    {0x9274cc1f, UNKNOWN}, /* and sp, x0, #0xfffffffffffff000... */
    {0xf100041f, 0},       /* cmp x0, #1: to xzr */
    {0xeb01001f, 0},       /* cmp x0, x1 */
    {0xaa1f03e0, 0},       /* mov x0, xzr */
    {PACIASP, 0},          {0x94000000, 0}, /* bl */
};

START_TEST(the_stack_pointer_is_followed)
{
    uint8_t bytes[4];
    bool known = true;

    patas__store32(bytes, effects[_i].word);
    struct patas__insn insn = decoded(bytes, ENTRY);
    int64_t lower = isa->frame_effect(bytes, &insn, &known);
    ck_assert_int_eq(known ? lower : UNKNOWN, effects[_i].lower);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("AArch64, beside its instructions");
    TCase *all = tcase_create("all");

    suite_add_tcase(suite, all);
    tcase_add_test(all, a_jump_reaches_128_megabytes_either_way);
    tcase_add_loop_test(all, a_stub_goes_where_its_slot_says, 0, LENGTH(pads));
    tcase_add_test(all, a_thunk_names_both_its_slots);
    tcase_add_test(all, one_aligned_word_changes);
    tcase_add_loop_test(all, a_landing_pad_that_counts_stays, 1, LENGTH(pads));
    tcase_add_test(all, a_pad_with_a_loop_behind_it_needs_a_trap);
    tcase_add_loop_test(all, what_is_given_something_in_x16_is_refused, 0,
                        LENGTH(conventions));
    tcase_add_test(all, a_debuggers_breakpoint_is_not_moved);
    tcase_add_loop_test(all, what_leads_behind_a_pad_is_found, 0,
                        LENGTH(branches));
    tcase_add_loop_test(all, a_linkers_stub_is_known, 0, LENGTH(stubs));
    tcase_add_test(all, a_slot_that_is_not_bound_is_known);
    tcase_add_loop_test(all, the_stack_pointer_is_followed, 0, LENGTH(effects));
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
