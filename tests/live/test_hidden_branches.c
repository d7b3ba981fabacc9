/* SPDX-License-Identifier: MIT */
/* What a patch hides from whoever decodes the code that it lies in. */
#include "expect.h"

#include <sys/mman.h>

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

/* Two targets in one line of 8 bytes; the first one's own bytes lead to the
 * second byte of `pointed`. */
long points(long x);
long beside(long x);
long pointed(long x);
__asm__(".text\n.p2align 6\n"
        ".globl points\n.type points,@function\n"
        "points:\n.cfi_startproc\n"
        "  xor %eax, %eax\n  jmp 1f\n  nop\n"
        ".cfi_endproc\n.size points, .-points\n"
        ".globl beside\n.type beside,@function\n"
        "beside:\n.cfi_startproc\n"
        "  lea 5(%rdi,%rdi,1), %rax\n  ret\n"
        ".cfi_endproc\n.size beside, .-beside\n"
        ".p2align 4\n"
        ".globl pointed\n.type pointed,@function\n"
        "pointed:\n.cfi_startproc\n"
        "  push %rbp\n"
        "1: mov $0x10, %eax\n"
        "  lea 1(%rdi), %rax\n  ret\n"
        ".cfi_endproc\n.size pointed, .-pointed\n"
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

static const patas_options any_entry = {.size = sizeof any_entry,
                                        .flags = PATAS_ENTRY};

/* With the map of the module, and by whoever comes alone. */
static void refused(patas_fn target)
{
    patas_patch *patch;
    patas_batch *batch = patas_batch_begin(NULL);
    REFUSED(patas_batch_replace_with(batch, target, FAKE, &any_entry, &patch,
                                     &error),
            PATAS_ERR_NO_ROOM, PATAS_REASON_BRANCH_IN);
    patas_batch_abort(batch);
    REFUSED(patas_replace_with(target, FAKE, &any_entry, &patch, &error),
            PATAS_ERR_NO_ROOM, PATAS_REASON_BRANCH_IN);
}

/* A batch makes a map from its second member on. */
static void make_map(void)
{
    patas_patch *patch;
    patas_batch *batch = patas_batch_begin(NULL);
    OK(patas_batch_replace(batch, HIDES, FAKE, &patch, &error));
    OK(patas_batch_replace(batch, (patas_fn)other, FAKE, &patch, &error));
    patas_batch_abort(batch);
}

static void refused_behind(patas_fn hiding, patas_fn target)
{
    patas_patch *first;
    make_map();
    OK(patas_replace(hiding, FAKE, &first, &error));
    refused(target);
    OK(patas_restore(first, &error));
}

/* Planned before there is a map, and live behind that. */
START_TEST(the_first_of_a_batch_hides_nothing)
{
    patas_patch *patch;
    patas_batch *batch = patas_batch_begin(NULL);
    OK(patas_batch_replace(batch, (patas_fn)leads, FAKE, &patch, &error));
    OK(patas_batch_replace(batch, (patas_fn)other, FAKE, &patch, &error));
    OK(patas_batch_commit(batch, &error));
    refused((patas_fn)led);
}
END_TEST

START_TEST(what_was_restored_hides_nothing_the_next_time)
{
    patas_patch *patch;
    OK(patas_replace((patas_fn)leads, FAKE, &patch, &error));
    OK(patas_restore(patch, &error));
    make_map();
    OK(patas_replace((patas_fn)leads, FAKE, &patch, &error));
    refused((patas_fn)led);
}
END_TEST

START_TEST(two_in_a_line_hide_nothing)
{
    patas_patch *patch;
    OK(patas_replace(_i ? (patas_fn)beside : (patas_fn)points, FAKE, &patch,
                     &error));
    OK(patas_replace(_i ? (patas_fn)points : (patas_fn)beside, FAKE, &patch,
                     &error));
    refused((patas_fn)pointed);
    make_map();
    refused((patas_fn)pointed);
}
END_TEST

/* Code that is made at run time: of no module. */
static uint8_t *made_code(void)
{
    uint8_t *code = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC,
                         MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    ck_assert_ptr_ne(code, MAP_FAILED);
    memset(code, 0x90, 4096);
    code[0x100] = 0xc3;
    return code;
}

/* What was patched there is of no interest to the code that came later: laid
 * over it, the first bytes of the old one would swallow the branch. */
START_TEST(code_that_was_patched_once_may_be_other_code)
{
    static const uint8_t old[] = {0x48, 0xb8, 1, 2, 3, 4, 5, 6, 7, 8, 0xc3};
    /* lock addl $1, 0(%rdi) ... dec %rax; nop; jne to behind the lock; ret */
    static const uint8_t first[] = {0xf0, 0x83, 0x47, 0, 1};
    static const uint8_t loop[] = {0x48, 0xff, 0xc8, 0x90, 0x75, 0xe7, 0xc3};
    uint8_t *code = made_code();
    patas_patch *patch;
    memcpy(code + 0x40, old, sizeof old);
    OK(patas_replace((patas_fn)(uintptr_t)(code + 0x40), FAKE, &patch, &error));
    ck_assert_int_eq(mprotect(code, 4096, PROT_READ | PROT_WRITE | PROT_EXEC),
                     0);
    memset(code, 0x90, 4096);
    code[0x100] = 0xc3;
    memcpy(code + 0x2c, first, sizeof first);
    memcpy(code + 0x40, loop, sizeof loop);
    OK(patas_replace((patas_fn)(uintptr_t)(code + 0x2c), FAKE, &patch, &error));
    ck_assert_mem_eq(code + 0x2d, first + 1, 4);
}
END_TEST

/* A pool of constants in front of it, in which streams of instructions that
 * begin anywhere fall in step, and step over the branch. */
START_TEST(code_behind_constants_may_branch)
{
    static const uint8_t constant[16] = {[7] = 0x80, [15] = 0x80};
    static const uint8_t function[] = {
        0xf0, 0x83, 0x47, 0x00, 0x01, 0x48, 0x8b, 0x52, 0x18, 0x48,
        0x85, 0xd2, 0x0f, 0x84, 0xd3, 0x02, 0x00, 0x00, 0x48, 0x8b,
        0x4a, 0x10, 0x80, 0x79, 0x14, 0x00, 0x75, 0xe5, 0xc3};
    uint8_t *code = made_code();
    patas_patch *patch;
    for (unsigned at = 0; at < 0x80; at += 16)
        memcpy(code + at, constant, sizeof constant);
    memcpy(code + 0x80, function, sizeof function);
    OK(patas_replace((patas_fn)(uintptr_t)(code + 0x80), FAKE, &patch, &error));
    ck_assert_mem_eq(code + 0x81, function + 1, 8);
}
END_TEST

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
    tcase_add_test(tcase, the_first_of_a_batch_hides_nothing);
    tcase_add_test(tcase, what_was_restored_hides_nothing_the_next_time);
    tcase_add_loop_test(tcase, two_in_a_line_hide_nothing, 0, 2);
    tcase_add_test(tcase, code_that_was_patched_once_may_be_other_code);
    tcase_add_test(tcase, code_behind_constants_may_branch);
    tcase_add_test(tcase, a_short_branch_among_a_jumps_bytes_is_seen);
    tcase_add_test(tcase, a_short_branch_to_an_inner_entry_is_seen);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
