/* SPDX-License-Identifier: MIT */
/*
 * What the AArch64 relocator refuses, and says of it; and what it promises
 * about its results, whatever it is given. What it makes of what it takes is
 * in tests/golden/relocate_aarch64.c, that it works in
 * tests/exec/relocate_aarch64.c.
 */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>

#include "isa.h"
#include "patas.h"
#include "relocate_check_aarch64.h"

#define FROM 0x10401000u
#define NEAR 0x10420000u
#define MID  0x14000000u /* further than 1 MB */
#define FAR  0x50000000u /* ... 128 MB */

struct refusal {
    const char *promise;
    uint64_t to;
    size_t want;
    bool shadow_stack, lose_ip;
    unsigned reason;
    size_t trouble; /* offset of the instruction in the way */
    size_t size;    /* bytes */
    uint32_t words[5];
};

/* clang-format off */
static const struct refusal refusals[] = {
    {"the jump back is too far",
     FAR, 4, false, false, PATAS_REASON_OUT_OF_REACH, 0, 4,
     {0xa9be7bfd /* stp x29, x30, [sp, #-32]! */}},
    {"a jump is too far",
     FAR, 4, false, false, PATAS_REASON_OUT_OF_REACH, 0, 4,
     {0x14000400 /* b .+0x1000 */}},
    {"a condition is too far",
     FAR, 8, false, false, PATAS_REASON_OUT_OF_REACH, 4, 8,
     {0xd503201f /* nop */, 0x54000800 /* b.eq .+0x100 */}},
    {"a call is too far",
     FAR, 4, false, false, PATAS_REASON_OUT_OF_REACH, 0, 4,
     {0x94000400 /* bl .+0x1000 */}},
    {"x17 is in use",
     FAR, 4, false, true, PATAS_REASON_OUT_OF_REACH, 0, 4,
     {0x91000631 /* add x17, x17, #1 */}},
    {"x16 is in use, as a second register",
     FAR, 4, false, true, PATAS_REASON_OUT_OF_REACH, 0, 4,
     {0xa9be43fd /* stp x29, x16, [sp, #-32]! */}},
    {"x16 is in use by a branch",
     FAR, 4, false, true, PATAS_REASON_OUT_OF_REACH, 0, 4,
     {0xb4000810 /* cbz x16, .+0x100 */}},
    {"... by an address",
     FAR, 4, false, true, PATAS_REASON_OUT_OF_REACH, 0, 4,
     {0x10000810 /* adr x16, .+0x100 */}},
    {"x17 is in use by a hint",
     FAR, 4, false, true, PATAS_REASON_OUT_OF_REACH, 0, 4,
     {0xd503211f /* pacia1716 */}},
    {"x17 is in use by a hint's younger sister",
     FAR, 4, false, true, PATAS_REASON_OUT_OF_REACH, 0, 4,
     {0xdac18bfe /* pacia171615 */}},
    {"x17 is one of eight that are loaded",
     FAR, 4, false, true, PATAS_REASON_OUT_OF_REACH, 0, 4,
     {0xf83fd06c /* ld64b x12, [x3] */}},
    {"a far jump is a return, which a shadow stack doesn't know",
     FAR, 4, true, true, PATAS_REASON_OUT_OF_REACH, 0, 4,
     {0xa9be7bfd /* stp x29, x30, [sp, #-32]! */}},
    {"a call under a shadow stack",
     NEAR, 4, true, false, PATAS_REASON_SHADOW_STACK, 0, 4,
     {0x94000400 /* bl .+0x1000 */}},
    {"... by pointer",
     NEAR, 8, true, false, PATAS_REASON_SHADOW_STACK, 4, 8,
     {0xd503201f /* nop */, 0xd63f0100 /* blr x8 */}},
    {"a call by the link register",
     NEAR, 4, false, false, PATAS_REASON_CANNOT_MOVE, 0, 4,
     {0xd63f03c0 /* blr x30 */}},
    {"... authenticated with it",
     NEAR, 4, false, false, PATAS_REASON_CANNOT_MOVE, 0, 4,
     {0xd73f091e /* blraa x8, x30 */}},
    {"a jump by a register between ldxr and stxr",
     FAR, 4, false, true, PATAS_REASON_CANNOT_MOVE, 0, 4,
     {0xc85f7c03 /* ldxr x3, [x0] */}},
    {"an access to memory there",
     MID, 8, false, false, PATAS_REASON_CANNOT_MOVE, 4, 8,
     {0xc85f7c03 /* ldxr x3, [x0] */, 0x9c001007 /* ldr q7, .+0x200 */}},
    {"a literal in what moves",
     NEAR, 8, false, false, PATAS_REASON_CANNOT_MOVE, 0, 8,
     {0x18000020 /* ldr w0, .+4 */, 0x12345678}},
    {"a literal that begins before and ends in it",
     NEAR, 4, false, false, PATAS_REASON_CANNOT_MOVE, 0, 4,
     {0x58ffffe0 /* ldr x0, .-4 */}},
    {"... a longer one",
     NEAR, 4, false, false, PATAS_REASON_CANNOT_MOVE, 0, 4,
     {0x9cffffa0 /* ldr q0, .-12 */}},
    {"what must stand beside its successor: cpyfp",
     NEAR, 4, false, false, PATAS_REASON_CANNOT_MOVE, 0, 4,
     {0x19010440 /* cpyfp [x0]!, [x1]!, x2! */}},
    {"... setp",
     NEAR, 4, false, false, PATAS_REASON_CANNOT_MOVE, 0, 4,
     {0x19c20420 /* setp [x0]!, x1!, x2 */}},
    {"... pacm",
     NEAR, 4, false, false, PATAS_REASON_CANNOT_MOVE, 0, 4,
     {0xd50324ff /* pacm */}},
    {"what signs by its own address",
     NEAR, 4, false, false, PATAS_REASON_CANNOT_MOVE, 0, 4,
     {0xdac1a3fe /* paciasppc */}},
    {"what authenticates by another's",
     NEAR, 4, false, false, PATAS_REASON_CANNOT_MOVE, 0, 4,
     {0xf380021f /* autiasppc .-64 */}},
    {"no instruction",
     NEAR, 8, false, false, PATAS_REASON_INVALID_CODE, 4, 8,
     {0xd503201f /* nop */, 0x00010000}},
    {"half an instruction",
     NEAR, 8, false, false, PATAS_REASON_TRUNCATED, 4, 7,
     {0xd503201f /* nop */, 0xd503201f /* nop */}},
    {"nothing",
     NEAR, 4, false, false, PATAS_REASON_TRUNCATED, 0, 0, {0}},
    {"more than is ever asked for",
     NEAR, 17, false, false, PATAS_REASON_CANNOT_MOVE, 0, 20,
     {0xd503201f, 0xd503201f, 0xd503201f, 0xd503201f, 0xd503201f}},
    {"to where no instruction can be",
     NEAR + 2, 4, false, false, PATAS_REASON_CANNOT_MOVE, 0, 4,
     {0xd503201f /* nop */}},
};
/* clang-format on */

START_TEST(what_cannot_be_moved_is_refused_with_its_address)
{
    for (size_t i = 0; i < sizeof refusals / sizeof *refusals; i++) {
        const struct refusal *r = &refusals[i];
        struct patas__move move = {.from = FROM,
                                   .bytes = (const uint8_t *)r->words,
                                   .size = r->size,
                                   .want = r->want,
                                   .to = r->to,
                                   .shadow_stack = r->shadow_stack,
                                   .lose_ip = r->lose_ip};
        unsigned reason = patas__isa_aarch64.relocate(&move);

        ck_assert_msg(reason == r->reason, "%s: reason %u", r->promise, reason);
        ck_assert_msg(move.trouble == FROM + r->trouble, "%s: at +%lld",
                      r->promise, (long long)(move.trouble - FROM));
    }
}
END_TEST

/* ---- whatever it is given ----------------------------------------------- */

static uint64_t random_state = 0x9e3779b97f4a7c15;

static uint64_t random64(void) /* xorshift64* */
{
    random_state ^= random_state >> 12;
    random_state ^= random_state << 25;
    random_state ^= random_state >> 27;
    return random_state * 0x2545f4914f6cdd1d;
}

/* Half of them with a label. */
static uint32_t random_word(void)
{
    static const struct {
        uint32_t word, free;
    } labels[] = {
        {0x14000000, 0x83ffffff},                           /* b, bl */
        {0x14000000, 0x80000007}, {0x54000000, 0x00ffffff}, /* b.cond */
        {0x54000000, 0x000000ef}, {0x34000000, 0x81ffffff}, /* cbz */
        {0x34000000, 0x810000ff}, {0x36000000, 0x81ffffff}, /* tbz */
        {0x36000000, 0x81f800ff}, {0x74000000, 0x81fffffe}, /* cbgt */
        {0x10000000, 0xe0ffffff},                           /* adr, adrp */
        {0x18000000, 0xc4ffffff},                           /* ldr (literal) */
        {0x18000000, 0xc40000ff}, {0xd63f0000, 0x000003e0}, /* blr */
        {0xd73f0800, 0x000007ff},                           /* blraa */
        {0x085f7c00, 0xc00003ff},                           /* ldxr */
    };
    uint64_t random = random64();
    size_t i = (size_t)(random >> 40) % (sizeof labels / sizeof *labels);

    if (random >> 63)
        return (uint32_t)random;
    return labels[i].word | ((uint32_t)random & labels[i].free);
}

START_TEST(what_is_moved_reads_back_as_it_was)
{
    static const unsigned distances[] = {12, 16, 21, 25, 28, 33, 40, 64};
    size_t moved = 0, refused = 0;

    for (int i = 0; i < 2000000; i++) {
        uint64_t random = random64();
        uint32_t words[4];
        struct patas__move move = {.bytes = (const uint8_t *)words,
                                   .size = sizeof words,
                                   .want = 1 + (random & 15),
                                   .shadow_stack = (random & 0x70) == 0,
                                   .lose_ip = random & 0x80};
        const char *wrong;

        for (int k = 0; k < 4; k++)
            words[k] = random_word();
        move.from = random & 0x100 ? 0x7f1234567000 + (random >> 40 & 0xffc)
                                   : random64() & ~(uint64_t)3;
        move.to = move.from + (random64() >> (64 - distances[random >> 9 & 7]) &
                               ~(uint64_t)3) *
                                  (random & 0x1000 ? 1 : (uint64_t)-1);
        if (patas__isa_aarch64.relocate(&move) != PATAS_REASON_NONE) {
            refused++;
            continue;
        }
        moved++;
        wrong = a64_check(&move);
        ck_assert_msg(!wrong, "%08x %08x %08x %08x at %#llx to %#llx: %s",
                      words[0], words[1], words[2], words[3],
                      (unsigned long long)move.from,
                      (unsigned long long)move.to, wrong);
    }
    printf("%zu moved, %zu refused\n", moved, refused);
    ck_assert_uint_gt(moved, 500000);
    ck_assert_uint_gt(refused, 100000);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("relocate, AArch64");
    TCase *tcase = tcase_create("all");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_set_timeout(tcase, 0);
    tcase_add_test(tcase, what_cannot_be_moved_is_refused_with_its_address);
    tcase_add_test(tcase, what_is_moved_reads_back_as_it_was);
    suite_add_tcase(suite, tcase);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
