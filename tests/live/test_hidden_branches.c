/* SPDX-License-Identifier: MIT */
/* What a patch hides from whoever decodes the code that it lies in. */
#include "expect.h"

/*
 * The first function patched, the five bytes of its jump end inside `mov`, and
 * the rest of that reads as an instruction that swallows the jump behind it:
 *
 *     55 | 48 89 e5 | b8 b8 90 90 90 | eb ..      as it was
 *     e9 ..  ..  .. .. | b8 90 90 90 eb | ..      as it is
 *
 * Nothing but trap bytes would fit the second one, and the jump into it forbids
 * those: its own bytes lead a jump of kept bytes into this text.
 */
long hides(long x);
long entered(long x);
__asm__(".text\n.p2align 6\n"
        ".globl hides\n.type hides,@function\n"
        "hides:\n.cfi_startproc\n"
        "  push %rbp\n  mov %rsp, %rbp\n"
        "  .byte 0xb8, 0xb8, 0x90, 0x90, 0x90\n"
        "  jmp 1f\n  nop\n  nop\n"
        ".cfi_endproc\n.size hides, .-hides\n"
        ".p2align 4\n"
        ".globl entered\n.type entered,@function\n"
        "entered:\n.cfi_startproc\n"
        "  push %rbp\n"
        "1: mov $0x10, %eax\n"
        "  lea 1(%rdi), %rax\n  pop %rbp\n  ret\n"
        ".cfi_endproc\n.size entered, .-entered\n"
        ".p2align 4\n  .fill 16384, 1, 0xcc\n");

/*
 * Branches that are among the bytes of a jump: `leads` goes to the second byte
 * of `led` behind it, and `outer` to the second byte of `inner`, which lies in
 * its own description. Both are short, so that only the bytes around a window
 * tell of them; and those bytes are others once the jumps are there.
 */
long leads(long x, long a, long b, long stays);
long led(long x);
long outer(long x, long a, long b, long stays);
long inner(long x);
__asm__(".text\n.p2align 6\n"
        ".globl leads\n.type leads,@function\n"
        "leads:\n.cfi_startproc\n"
        "  jrcxz 1f\n"
        "  mov $7, %eax\n  ret\n"
        ".cfi_endproc\n.size leads, .-leads\n"
        ".p2align 4\n"
        ".globl led\n.type led,@function\n"
        "led:\n.cfi_startproc\n"
        "  push %rbp\n"
        "1: mov $0x10, %eax\n"
        "  lea 1(%rdi), %rax\n  ret\n"
        ".cfi_endproc\n.size led, .-led\n"
        ".p2align 6\n"
        ".globl outer\n.type outer,@function\n"
        "outer:\n.cfi_startproc\n"
        "  jrcxz 1f\n"
        "  mov $7, %eax\n  ret\n  .p2align 4\n"
        ".globl inner\n.type inner,@function\n"
        "inner:\n"
        "  push %rbp\n"
        "1: mov $0x10, %eax\n"
        "  lea 1(%rdi), %rax\n  ret\n"
        ".size inner, .-inner\n"
        ".cfi_endproc\n.size outer, .-outer\n"
        ".p2align 4\n  .fill 16384, 1, 0xcc\n");

KEEP long fake(long x)
{
    return x + 100;
}

KEEP long other(long x)
{
    return x * 3;
}

static const patas_fn HIDES = (patas_fn)hides, ENTERED = (patas_fn)entered,
                      FAKE = (patas_fn)fake;

static void refused_in_a_batch(void)
{
    patas_patch *patch;
    patas_batch *batch = patas_batch_begin(NULL);
    ck_assert_ptr_nonnull(batch);
    REFUSED(patas_batch_replace(batch, ENTERED, FAKE, &patch, &error),
            PATAS_ERR_NO_ROOM, PATAS_REASON_BRANCH_IN);
    patas_batch_abort(batch);
}

START_TEST(a_branch_is_seen_where_nothing_is_patched)
{
    refused_in_a_batch();
    ck_assert_int_eq(hides(1), 2);
    ck_assert_int_eq(entered(1), 2);
}
END_TEST

START_TEST(a_branch_behind_a_patch_is_seen_too)
{
    patas_patch *patch;
    OK(patas_replace(HIDES, FAKE, &patch, &error));
    refused_in_a_batch();
    ck_assert_int_eq(hides(1), 101);
    ck_assert_int_eq(((long (*)(long))patas_original(patch))(1), 2);
    OK(patas_restore(patch, &error));
}
END_TEST

static void refused_behind(patas_fn hiding, patas_fn target)
{
    const patas_options entry = {.size = sizeof entry, .flags = PATAS_ENTRY};
    patas_patch *first, *patch;
    patas_batch *batch = patas_batch_begin(NULL);
    /* Two of one batch, so that the module has its map. */
    OK(patas_batch_replace(batch, HIDES, FAKE, &patch, &error));
    OK(patas_batch_replace(batch, (patas_fn)other, FAKE, &patch, &error));
    patas_batch_abort(batch);
    OK(patas_replace(hiding, FAKE, &first, &error));
    batch = patas_batch_begin(NULL);
    REFUSED(
        patas_batch_replace_with(batch, target, FAKE, &entry, &patch, &error),
        PATAS_ERR_NO_ROOM, PATAS_REASON_BRANCH_IN);
    patas_batch_abort(batch);
    REFUSED(patas_replace_with(target, FAKE, &entry, &patch, &error),
            PATAS_ERR_NO_ROOM, PATAS_REASON_BRANCH_IN);
    OK(patas_restore(first, &error));
}

START_TEST(a_short_branch_among_a_jumps_bytes_is_seen)
{
    ck_assert_int_eq(leads(1, 0, 0, 0), 2);
    refused_behind((patas_fn)leads, (patas_fn)led);
    ck_assert_int_eq(leads(1, 0, 0, 0), 2);
    ck_assert_int_eq(leads(1, 0, 0, 1), 7);
}
END_TEST

START_TEST(a_short_branch_to_an_inner_entry_is_seen)
{
    ck_assert_int_eq(outer(1, 0, 0, 0), 2);
    refused_behind((patas_fn)outer, (patas_fn)inner);
    ck_assert_int_eq(outer(1, 0, 0, 0), 2);
    ck_assert_int_eq(outer(1, 0, 0, 1), 7);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("hidden branches");
    TCase *tcase = tcase_create("windows");
    SRunner *runner;
    int failed;

    suite_add_tcase(suite, tcase);
    tcase_add_test(tcase, a_branch_is_seen_where_nothing_is_patched);
    tcase_add_test(tcase, a_branch_behind_a_patch_is_seen_too);
    tcase_add_test(tcase, a_short_branch_among_a_jumps_bytes_is_seen);
    tcase_add_test(tcase, a_short_branch_to_an_inner_entry_is_seen);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
