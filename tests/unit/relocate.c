/* SPDX-License-Identifier: MIT */
/*
 * What the relocator refuses, and says of it; and what it promises about its
 * results, whatever it is given. What it makes of what it takes is in
 * tests/golden/relocate.c, that it works in tests/exec/relocate.c.
 */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "isa.h"
#include "patas.h"
#include "relocate_check.h"

#define EXE      0x400000u
#define EXE_NEAR 0x500000u
#define EXE_FAR  0x7f1300000000u

/* ---- refusals ----------------------------------------------------------- */

struct refusal {
    const char *promise;
    int bits;
    uint64_t to;
    size_t want;
    bool shadow_stack;
    unsigned reason;
    size_t trouble; /* offset of the instruction in the way */
    size_t size;
    const char *bytes;
};

/* clang-format off */
#define BYTES(text) sizeof(text) - 1, text
static const struct refusal refusals[] = {
    {"a branch to the middle of a moved instruction",
     64, EXE_NEAR, 5, false, PATAS_REASON_CANNOT_MOVE, 1,
     BYTES("\x90"              /* nop */
           "\x74\x01"          /* jz 1f + 1 */
           "\x83\xc0\x01"      /* 1: add $1, %eax */)},
    {"a branch to its own middle",
     64, EXE_NEAR, 2, false, PATAS_REASON_CANNOT_MOVE, 0,
     BYTES("\xeb\xff" /* jmp . + 1 */)},
    {"a jump of 16 bits, or not, as the processor likes",
     64, EXE_NEAR, 1, false, PATAS_REASON_CANNOT_MOVE, 0,
     BYTES("\x66\xe9\x10\x00\x00\x00" /* data16 jmp */)},
    {"a jcc of the kind",
     64, EXE_NEAR, 1, false, PATAS_REASON_CANNOT_MOVE, 0,
     BYTES("\x66\x74\x10" /* data16 jz */)},
    {"a call of the kind",
     64, EXE_NEAR, 1, false, PATAS_REASON_CANNOT_MOVE, 0,
     BYTES("\x66\xe8\x10\x00\x00\x00" /* data16 call */)},
    {"i386: a jump of 16 bits",
     32, EXE_NEAR, 1, false, PATAS_REASON_CANNOT_MOVE, 0,
     BYTES("\x66\xeb\x10" /* jmpw */)},
    {"i386: an xbegin of 16 bits",
     32, EXE_NEAR, 1, false, PATAS_REASON_CANNOT_MOVE, 0,
     BYTES("\x66\xc7\xf8\x10\x00" /* xbeginw */)},
    {"a call of the stack pointer",
     64, EXE_NEAR, 1, false, PATAS_REASON_CANNOT_MOVE, 0,
     BYTES("\xff\xd4" /* call *%rsp */)},
    {"a far call",
     64, EXE_NEAR, 5, false, PATAS_REASON_CANNOT_MOVE, 1,
     BYTES("\x90"     /* nop */
           "\xff\x18" /* lcall *(%rax) */
           "\x90\x90")},
    {"i386: a far call",
     32, EXE_NEAR, 5, false, PATAS_REASON_CANNOT_MOVE, 0,
     BYTES("\x9a\x00\x10\x40\x00\x23\x00" /* lcall $0x23, $0x401000 */)},
    {"i386: a far jump into what is moved",
     32, EXE_NEAR, 5, false, PATAS_REASON_CANNOT_MOVE, 0,
     BYTES("\xea\x00\x00\x40\x00\x23\x00" /* ljmp $0x23, $0x400000 */)},
    {"an absolute jump into what is moved",
     64, EXE_NEAR, 5, false, PATAS_REASON_CANNOT_MOVE, 0,
     BYTES("\xd5\x00\xa1\x00\x00\x40\x00\x00\x00\x00\x00"
           /* jmpabs 0x400000 */)},
    {"a call on a shadow stack",
     64, EXE_NEAR, 5, true, PATAS_REASON_SHADOW_STACK, 1,
     BYTES("\x55" /* push %rbp */
           "\xe8\x00\x10\x00\x00" /* call */)},
    {"a jump that would have to be a return there",
     64, EXE_FAR, 5, true, PATAS_REASON_SHADOW_STACK, 0,
     BYTES("\xff\x25\x00\x10\x00\x00" /* jmp *0x1000(%rip) */)},
    {"an operand out of reach and the stack pointer",
     64, EXE_FAR, 5, false, PATAS_REASON_OUT_OF_REACH, 0,
     BYTES("\x48\x03\x25\x00\x10\x00\x00" /* add 0x1000(%rip), %rsp */)},
    {"... which it may load",
     64, EXE_FAR, 5, false, PATAS_REASON_OUT_OF_REACH, 0,
     BYTES("\x48\x8b\x25\x00\x10\x00\x00" /* mov 0x1000(%rip), %rsp */)},
    {"... or name in a prefix",
     64, EXE_FAR, 5, false, PATAS_REASON_OUT_OF_REACH, 0,
     BYTES("\xc4\xe2\xd8\xf2\x05\x00\x10\x00\x00" /* andn , %rsp, %rax */)},
    {"... or by VEX",
     64, EXE_FAR, 5, false, PATAS_REASON_OUT_OF_REACH, 0,
     BYTES("\xc4\xe2\xf8\xf2\x25\x00\x10\x00\x00" /* andn , %rax, %rsp */)},
    {"... by its short form",
     64, EXE_FAR, 5, false, PATAS_REASON_OUT_OF_REACH, 0,
     BYTES("\xc5\xfa\x2c\x25\x00\x10\x00\x00"
           /* vcvttss2si 0x1000(%rip), %esp */)},
    {"... or by EVEX",
     64, EXE_FAR, 5, false, PATAS_REASON_OUT_OF_REACH, 0,
     BYTES("\x62\xf1\x7e\x08\x78\x25\x00\x10\x00\x00"
           /* vcvttss2usi 0x1000(%rip), %esp */)},
    {"a far jump through memory out of reach",
     64, EXE_FAR, 5, false, PATAS_REASON_OUT_OF_REACH, 0,
     BYTES("\xff\x2d\x00\x10\x00\x00" /* ljmp *0x1000(%rip) */)},
    {"a push from a segment out of reach",
     64, EXE_FAR, 5, false, PATAS_REASON_OUT_OF_REACH, 0,
     BYTES("\x64\xff\x35\x00\x10\x00\x00" /* push %fs:0x1000(%rip) */)},
    {"a push of 16 bits out of reach",
     64, EXE_FAR, 5, false, PATAS_REASON_OUT_OF_REACH, 0,
     BYTES("\x66\xff\x35\x00\x10\x00\x00" /* pushw 0x1000(%rip) */)},
    {"no instruction",
     64, EXE_NEAR, 5, false, PATAS_REASON_INVALID_CODE, 1,
     BYTES("\x55" /* push %rbp */
           "\x06\x90\x90\x90\x90\x90\x90\x90\x90\x90\x90\x90\x90\x90\x90")},
    {"no instruction, however it went on",
     64, EXE_NEAR, 5, false, PATAS_REASON_INVALID_CODE, 0,
     BYTES("\x06")},
    {"the end within an instruction",
     64, EXE_NEAR, 5, false, PATAS_REASON_TRUNCATED, 1,
     BYTES("\x55"     /* push %rbp */
           "\x48\x8b" /* mov ... */)},
    {"the end within a VEX prefix",
     64, EXE_NEAR, 5, false, PATAS_REASON_TRUNCATED, 0,
     BYTES("\xc5\xf8")},
    {"the end before enough",
     64, EXE_NEAR, 5, false, PATAS_REASON_TRUNCATED, 3,
     BYTES("\x55\x53\x90")},
    {"nothing",
     64, EXE_NEAR, 1, false, PATAS_REASON_TRUNCATED, 0, BYTES("")},
    {"more than a head",
     64, EXE_NEAR, 17, false, PATAS_REASON_CANNOT_MOVE, 0,
     BYTES("\x90\x90\x90\x90\x90\x90\x90\x90\x90\x90\x90\x90\x90\x90\x90\x90"
           "\x90\x90\x90\x90\x90\x90\x90\x90")},
    {"what becomes too long",
     64, EXE_NEAR, 16, false, PATAS_REASON_CANNOT_MOVE, 6,
     BYTES("\xff\x13\xff\x13\xff\x13\xff\x13" /* call *(%rbx) ... */
           "\xff\x13\xff\x13\xff\x13\xff\x13")},
};
/* clang-format on */

static const struct patas__isa *isa_of(int bits)
{
    return bits == 64 ? &patas__isa_x86_64 : &patas__isa_i386;
}

/* Says how it went wrong; true if it went right. */
static bool refuses(const struct refusal *it)
{
    struct patas__move move = {.from = EXE,
                               .bytes = (const uint8_t *)it->bytes,
                               .size = it->size,
                               .want = it->want,
                               .to = it->to,
                               .shadow_stack = it->shadow_stack};
    unsigned reason = isa_of(it->bits)->relocate(&move);

    if (reason == it->reason && move.trouble == EXE + it->trouble)
        return true;
    printf("%s: reason %u, not %u, at %#llx\n", it->promise, reason, it->reason,
           (unsigned long long)move.trouble);
    return false;
}

START_TEST(refusals_say_why_and_where)
{
    size_t wrong = 0;

    for (size_t i = 0; i < sizeof refusals / sizeof *refusals; i++)
        wrong += !refuses(&refusals[i]);
    ck_assert_uint_eq(wrong, 0);
}
END_TEST

/* ---- promises ----------------------------------------------------------- */

START_TEST(map_names_every_instruction)
{
    static const uint8_t bytes[] = {
        0x55,                   /* push %rbp */
        0x48, 0x89, 0xe5,       /* mov %rsp, %rbp */
        0x74, 0x10,             /* jz . + 18, widened */
        0x48, 0x83, 0xec, 0x10, /* sub $16, %rsp */
    };
    static const uint8_t want[] = {0,    1,  0xff, 0xff, 4,
                                   0xff, 10, 0xff, 0xff, 0xff};
    struct patas__move move = {.from = EXE,
                               .bytes = bytes,
                               .size = sizeof bytes,
                               .want = sizeof bytes,
                               .to = EXE_NEAR};

    ck_assert_uint_eq(patas__isa_x86_64.relocate(&move), PATAS_REASON_NONE);
    ck_assert_uint_eq(move.moved, sizeof bytes);
    ck_assert_uint_eq(move.code_size, 14 + 5);
    for (size_t k = 0; k < sizeof move.map; k++)
        ck_assert_uint_eq(move.map[k], k < sizeof want ? want[k] : 0xff);
}
END_TEST

START_TEST(whole_instructions_cover_what_is_wanted)
{
    static const uint8_t bytes[] = {
        0x55,                   /* push %rbp */
        0x48, 0x89, 0xe5,       /* mov %rsp, %rbp */
        0x48, 0x83, 0xec, 0x10, /* sub $16, %rsp */
        0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90,
    };
    static const uint8_t want[] = {1, 1, 4, 4, 4, 8, 8, 8, 8, 9};

    for (size_t n = 0; n < sizeof want; n++) {
        struct patas__move move = {.from = EXE,
                                   .bytes = bytes,
                                   .size = sizeof bytes,
                                   .want = n,
                                   .to = EXE_NEAR};

        ck_assert_uint_eq(patas__isa_x86_64.relocate(&move), PATAS_REASON_NONE);
        ck_assert_uint_eq(move.moved, want[n]);
        ck_assert_ptr_null(relocate_check(&patas__isa_x86_64, &move));
    }
}
END_TEST

/* The literals and the jump back of the most that fits, to the byte. */
START_TEST(eight_loops_out_of_reach_fit)
{
    static const uint8_t bytes[] = {0xe2, 0x40, 0xe2, 0x40, 0xe2, 0x40,
                                    0xe2, 0x40, 0xe2, 0x40, 0xe2, 0x40,
                                    0xe2, 0x40, 0xe2, 0x40};
    struct patas__move move = {.from = EXE,
                               .bytes = bytes,
                               .size = sizeof bytes,
                               .want = sizeof bytes,
                               .to = EXE_FAR};

    ck_assert_uint_eq(patas__isa_x86_64.relocate(&move), PATAS_REASON_NONE);
    ck_assert_uint_eq(move.code_size, 8 * 10 + 6 + 9 * 8);
    ck_assert_ptr_null(relocate_check(&patas__isa_x86_64, &move));
}
END_TEST

/* At the last byte of reach each branch decides by itself, and all agree. */
START_TEST(edge_of_reach_is_exact)
{
    static const uint8_t heads[][8] = {
        {0x74, 0x40},                   /* jz */
        {0xe2, 0x40},                   /* loop */
        {0x67, 0xe3, 0x40},             /* jecxz */
        {0xeb, 0x40},                   /* jmp */
        {0xc7, 0xf8, 0x40, 0, 0, 0},    /* xbegin */
        {0xe8, 0x40, 0, 0, 0},          /* call */
        {0x8b, 0x05, 0x40, 0, 0, 0},    /* mov 0x40(%rip), %eax */
        {0x83, 0x05, 0x40, 0, 0, 0, 1}, /* addl $1, 0x40(%rip) */
    };

    for (size_t i = 0; i < sizeof heads / sizeof *heads; i++)
        for (uint64_t far = 0x7fffff80; far < 0x80000080; far++)
            for (int up = 0; up < 2; up++) {
                struct patas__move move = {.from = 0x7f1200000000,
                                           .bytes = heads[i],
                                           .size = sizeof heads[i],
                                           .want = 2,
                                           .to = 0x7f1200000000 +
                                                 (up ? far : -far)};
                const char *wrong;

                ck_assert_uint_eq(patas__isa_x86_64.relocate(&move),
                                  PATAS_REASON_NONE);
                wrong = relocate_check(&patas__isa_x86_64, &move);
                ck_assert_msg(!wrong, "head %zu, %#llx: %s", i,
                              (unsigned long long)far, wrong);
            }
}
END_TEST

/* ---- anything at all ---------------------------------------------------- */

static uint64_t random_state = 0x853c49e6748fea9b;

static uint64_t random64(void) /* xorshift64* */
{
    random_state ^= random_state >> 12;
    random_state ^= random_state << 25;
    random_state ^= random_state >> 27;
    return random_state * 0x2545f4914f6cdd1d;
}

/* Bytes that end where a page ends that nobody may read. */
static uint8_t *before_a_hole(void)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    uint8_t *at = mmap(NULL, 2 * page, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    ck_assert(at != MAP_FAILED);
    ck_assert_int_eq(mprotect(at + page, page, PROT_NONE), 0);
    return at + page;
}

/* What depends on its address is rare among random bytes. */
static void make_interesting(uint8_t *bytes, size_t size)
{
    static const char *const openings[] = {"\xe8",
                                           "\xe9",
                                           "\xeb",
                                           "\x74",
                                           "\xe2",
                                           "\xe3",
                                           "\x0f\x84",
                                           "\xc7\xf8",
                                           "\x48\x8b\x05",
                                           "\x48\x8d\x0d",
                                           "\xff\x15",
                                           "\xff\x25",
                                           "\xff\x35",
                                           "\xff\x54\x24",
                                           "\xff\x14\x24",
                                           "\x8f\x05",
                                           "\x83\x3d",
                                           "\x0f\x10\x05",
                                           "\xc5\xf8\x10\x35",
                                           "\xc4\xe2\x78\xf2\x3d",
                                           "\x62\xf1\x7c\x48\x10\x05",
                                           "\xff\xd0",
                                           "\x66\x48\xe8",
                                           "\x67\xe3",
                                           "\x67\x8b\x05"};
    size_t count = sizeof openings / sizeof *openings;

    for (size_t k = 0; k < size; k += 1 + (unsigned)random64() % 6) {
        const char *opening = openings[random64() % count];

        for (size_t i = 0; opening[i] && k < size; i++)
            bytes[k++] = (uint8_t)opening[i];
        if (k < size && random64() & 1)
            bytes[k++] = (uint8_t)(random64() % 16);
    }
}

START_TEST(random_bytes_are_moved_rightly_or_refused)
{
    static const uint64_t distances[] = {0x1000, 0x40000000, 0x7ffffff0,
                                         0x80000000, 0x300000000};
    const struct patas__isa *isa = isa_of(_i ? 64 : 32);
    uint8_t *end = before_a_hole();
    unsigned moved = 0, refused = 0;

    for (int round = 0; round < 400000; round++) {
        struct patas__move move = {.size = (unsigned)random64() % 40,
                                   .want = (unsigned)random64() % 18};
        const char *wrong;

        move.bytes = end - move.size;
        for (size_t i = 1; i <= move.size; i++)
            end[-(ptrdiff_t)i] = (uint8_t)(random64() >> 40);
        if (round & 1)
            make_interesting(end - move.size, move.size);
        move.from = random64() >> (17 + random64() % 30);
        move.to = move.from + distances[random64() % 5];
        if (!_i) {
            move.from &= UINT32_MAX;
            move.to &= UINT32_MAX;
        }
        if (isa->relocate(&move) != PATAS_REASON_NONE) {
            ck_assert_uint_le(move.trouble - move.from, 32);
            refused++;
            continue;
        }
        moved++;
        wrong = relocate_check(isa, &move);
        if (wrong) {
            for (size_t i = 0; i < move.moved; i++)
                fprintf(stderr, "%02x ", move.bytes[i]);
            fprintf(stderr, "\n-> ");
            for (size_t i = 0; i < move.code_size; i++)
                fprintf(stderr, "%02x ", move.code[i]);
            ck_abort_msg("round %d from %#llx to %#llx: %s", round,
                         (unsigned long long)move.from,
                         (unsigned long long)move.to, wrong);
        }
    }
    ck_assert_uint_gt(moved, 50000);
    ck_assert_uint_gt(refused, 50000);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("relocate");
    TCase *tcase = tcase_create("relocate");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_set_timeout(tcase, 0);
    tcase_add_test(tcase, refusals_say_why_and_where);
    tcase_add_test(tcase, map_names_every_instruction);
    tcase_add_test(tcase, whole_instructions_cover_what_is_wanted);
    tcase_add_test(tcase, eight_loops_out_of_reach_fit);
    tcase_add_test(tcase, edge_of_reach_is_exact);
    tcase_add_loop_test(tcase, random_bytes_are_moved_rightly_or_refused, 0, 2);
    suite_add_tcase(suite, tcase);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
