/* SPDX-License-Identifier: MIT */
/*
 * 32-bit code that moved does what it did: as relocate.c, in a 32-bit process,
 * or in the compatibility mode of a 64-bit one. i386 has no red zone, so only
 * what is at and above the stack pointer is compared in the end.
 */
#include <check.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

#include "isa.h"
#include "isa/x86/x86.h"
#include "machine.h"
#include "patas.h"

enum {
    RETURNS = 1,
    LOOPS = 8
}; /* relocate_32_snippets.S */

enum {
    SHORT = 0x40,
    LEAVE = 0x4000,
    RETURN = 0x4100,
    THUNK = 0x4200,
    TAIL = 0x4300,
    GATE = 0x4400, /* jmp relocate_32_left, in code of the process */
    DATA = 0x10000,
    EXIT = DATA + 0xff8, /* says by which exit it was left */
    DATA_SIZE = 0x1000,
    STACK = 0x20000,
    STACK_TOP = STACK + 0xf000,
    STACK_SEEN = 0x800,
    ARENA_SIZE = STACK + 0x10000
};

enum {
    EAX,
    ECX,
    EDX,
    EBX,
    ESP,
    EBP,
    ESI,
    EDI
};

struct snippet {
    const char *name;
    const uint8_t *start;
    uint32_t size, unused, flags, unused2;
};
extern const struct snippet relocate_32_snippets[]
    __attribute__((visibility("hidden")));

struct relocate_32_state {
    uint64_t gpr[8];
    uint64_t flags;
};

void relocate_32_run(struct relocate_32_state *state, uint32_t entry)
    __attribute__((visibility("hidden")));
void relocate_32_left(void) __attribute__((visibility("hidden")));

enum {
    FLAGS_SEEN = 0xcd5,
    FLAG_STEP = 0x100,
    WORLDS = 4
};

struct world {
    struct relocate_32_state state;
    uint8_t data[DATA_SIZE];
    uint8_t stack[STACK_SEEN + 0x100]; /* from STACK_TOP - 0x100 on */
};

/* Below 2 GB; moved within, and over the sign and the end of 32 bits. The
 * sanitizer has its shadow at 20000000 to 3fffffff of 32 bits; of 64, from
 * 7fff8000 on, so that there 32-bit code can't be moved farther. */
#define ORIGIN 0x50000000u
static const uint32_t places[] = {
    0x51000000,
    0x10000003,
#if defined(__i386__) || !defined(__SANITIZE_ADDRESS__)
    0xb0100005,
    0xe0000001,
#else
    0x70000005,
#endif
};

static uint8_t *const arena = (uint8_t *)ORIGIN;

static struct {
    const struct snippet *snippet;
    size_t want;
    uint64_t steps;
    const struct patas__move *move;
} now;

static sigjmp_buf no_32_bits;
static bool trying;

static void print_now(void)
{
    fprintf(stderr, "snippet: %s\nwant %zu\n", now.snippet->name, now.want);
    if (now.move) {
        fprintf(stderr, "to %#llx:", (unsigned long long)now.move->to);
        for (size_t i = 0; i < now.move->code_size; i++)
            fprintf(stderr, " %02x", now.move->code[i]);
        fprintf(stderr, "\n");
    }
}

static void on_crash(int number, siginfo_t *info, void *context)
{
    ucontext_t *at = context;

    if (trying)
        siglongjmp(no_32_bits, 1);
    fprintf(stderr, "signal %d at %#llx (%p)\n", number,
            (unsigned long long)at->uc_mcontext.gregs[MACHINE_PC],
            info->si_addr);
    print_now();
    _exit(1);
}

static void on_step(int number, siginfo_t *info, void *context)
{
    ucontext_t *at = context;
    greg_t *gregs = at->uc_mcontext.gregs;

    if (!(gregs[REG_EFL] & FLAG_STEP))
        on_crash(number, info, context); /* int3: the original was entered */
    now.steps++;
    if ((uintptr_t)gregs[MACHINE_PC] == (uintptr_t)relocate_32_left)
        gregs[REG_EFL] &= ~(greg_t)FLAG_STEP;
}

static void catch_signals(void)
{
    static uint8_t stack[1 << 16];
    stack_t other = {.ss_sp = stack, .ss_size = sizeof stack};
    struct sigaction crash = {.sa_sigaction = on_crash,
                              .sa_flags = SA_SIGINFO | SA_ONSTACK};
    struct sigaction step = {.sa_sigaction = on_step,
                             .sa_flags = SA_SIGINFO | SA_ONSTACK};

    sigaltstack(&other, NULL);
    sigaction(SIGSEGV, &crash, NULL);
    sigaction(SIGBUS, &crash, NULL);
    sigaction(SIGILL, &crash, NULL);
    sigaction(SIGTRAP, &step, NULL);
}

static uint64_t random_state;

static uint64_t random64(void) /* xorshift64* */
{
    random_state ^= random_state >> 12;
    random_state ^= random_state << 25;
    random_state ^= random_state >> 27;
    return random_state * 0x2545f4914f6cdd1d;
}

static void random_fill(uint8_t *to, size_t size)
{
    for (size_t i = 0; i < size; i++)
        to[i] = (uint8_t)(random64() >> 32);
}

static bool map_at(uint32_t address, size_t size)
{
    void *want = (void *)(uintptr_t)address;

    return mmap(want, size, PROT_READ | PROT_WRITE | PROT_EXEC,
                MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1,
                0) == want;
}

/* movb $number, EXIT; then ljmp $0x33, $GATE, or jmp GATE */
static void put_exit(uint32_t at, uint8_t number)
{
    memcpy(arena + at, "\xc6\x05", 2);
    patas__store32(arena + at + 2, ORIGIN + EXIT);
    arena[at + 6] = number;
#if defined(__i386__)
    arena[at + 7] = 0xe9;
    patas__store32(arena + at + 8, GATE - (at + 12));
#else
    arena[at + 7] = 0xea;
    patas__store32(arena + at + 8, ORIGIN + GATE);
    memcpy(arena + at + 12, "\x33\x00", 2);
#endif
}

static void put_snippet(const struct snippet *snippet)
{
    uint32_t size = snippet->size;

    memset(arena, 0x90, SHORT);
    memcpy(arena, snippet->start, size);
    /* Falling through: movb $1, EXIT; jmp TAIL. */
    memcpy(arena + size, "\xc6\x05", 2);
    patas__store32(arena + size + 2, ORIGIN + EXIT);
    arena[size + 6] = 1;
    arena[size + 7] = 0xe9;
    patas__store32(arena + size + 8, TAIL - (size + 12));
    put_exit(SHORT, 2);
    put_exit(LEAVE, 3);
    put_exit(TAIL, 4);
    arena[RETURN] = 0xc3;
    memcpy(arena + THUNK, "\x8b\x04\x24\xc3", 4); /* mov (%esp), %eax; ret */
    memcpy(arena + GATE, "\xff\x25\0\0\0\0", 6);
#if defined(__i386__)
    patas__store32(arena + GATE + 2, ORIGIN + GATE + 6);
#endif
    patas__store64(arena + GATE + 6, (uintptr_t)relocate_32_left);
}

static void random_world(struct world *world)
{
    uint64_t *gpr = world->state.gpr;
    uint8_t *at_top = world->stack + 0x100;

    for (int i = 0; i < 8; i++)
        gpr[i] = (uint32_t)(random64() >> (random64() & 3) * 16);
    if (random64() & 1)
        gpr[ECX] &= 0xffff0003;
    if (random64() & 1)
        gpr[ECX] &= 3;
    gpr[EBX] = ORIGIN + DATA;
    gpr[ESI] = ORIGIN + DATA + 0x400 + (random64() & 63);
    gpr[EDI] = ORIGIN + DATA + 0x600 + (random64() & 63);
    gpr[EDX] = ORIGIN + LEAVE;
    gpr[EBP] = ORIGIN + RETURN;
    gpr[ESP] = ORIGIN + STACK_TOP;
    world->state.flags = (random64() & FLAGS_SEEN) | 2;
    random_fill(world->data, sizeof world->data);
    random_fill(world->stack, sizeof world->stack);
    patas__store32(world->data + 0x800, ORIGIN + LEAVE);
    patas__store32(world->data + 0x804, ORIGIN + RETURN);
    patas__store32(at_top - 4, ORIGIN + LEAVE);
    patas__store32(at_top + 0x10, ORIGIN + LEAVE);
    patas__store32(at_top + 0x14, ORIGIN + RETURN);
    patas__store32(at_top + 0x210, ORIGIN + LEAVE);
    patas__store32(at_top + 0x214, ORIGIN + RETURN);
}

static void run(const struct world *before, uint64_t entry, bool step,
                struct world *after)
{
    uint8_t *stack = arena + STACK_TOP - 0x100;

    after->state = before->state;
    if (step)
        after->state.flags |= FLAG_STEP;
    memcpy(arena + DATA, before->data, sizeof before->data);
    memcpy(stack, before->stack, sizeof before->stack);
    relocate_32_run(&after->state, (uint32_t)entry);
    memcpy(after->data, arena + DATA, sizeof after->data);
    memcpy(after->stack, stack, sizeof after->stack);
}

static void compare(const struct world *want, const struct world *got)
{
    size_t lost = (size_t)(want->state.gpr[ESP] - (ORIGIN + STACK_TOP - 0x100));

    for (int i = 0; i < 8; i++)
        if (want->state.gpr[i] != got->state.gpr[i]) {
            print_now();
            ck_abort_msg("register %d: %#llx, now %#llx", i,
                         (unsigned long long)want->state.gpr[i],
                         (unsigned long long)got->state.gpr[i]);
        }
    if ((want->state.flags ^ got->state.flags) & FLAGS_SEEN ||
        memcmp(want->data, got->data, sizeof want->data) ||
        lost > sizeof want->stack ||
        memcmp(want->stack + lost, got->stack + lost,
               sizeof want->stack - lost)) {
        print_now();
        ck_abort_msg("flags, data or stack differ");
    }
}

static void run_moved(const struct snippet *snippet,
                      const struct patas__move *move,
                      const struct world before[WORLDS],
                      const struct world after[WORLDS])
{
    static struct world got;
    uint8_t original[SHORT];

    now.move = move;
    memcpy((void *)(uintptr_t)move->to, move->code, move->code_size);
    memcpy(original, arena, sizeof original);
    if (!(snippet->flags & RETURNS) &&
        (!(snippet->flags & LOOPS) || move->moved >= snippet->size))
        memset(arena, 0xcc, move->moved);
    for (int i = 0; i < WORLDS; i++) {
        run(&before[i], move->to, i == 0 && now.want % 5 == 0, &got);
        compare(&after[i], &got);
    }
    memcpy(arena, original, sizeof original);
    now.move = NULL;
}

static void run_snippet(const struct snippet *snippet)
{
    static struct world before[WORLDS], after[WORLDS];

    ck_assert_msg(snippet->size + 12 <= SHORT, "too long: %s", snippet->name);
    now.snippet = snippet;
    random_state = (uintptr_t)(snippet - relocate_32_snippets) ^ 0x9e3779b9;
    put_snippet(snippet);
    for (int i = 0; i < WORLDS; i++) {
        random_world(&before[i]);
        run(&before[i], ORIGIN, false, &after[i]);
    }
    for (size_t i = 0; i < sizeof places / sizeof *places; i++)
        for (now.want = 1; now.want <= 16; now.want++) {
            struct patas__move move = {.from = ORIGIN,
                                       .bytes = arena,
                                       .size = SHORT,
                                       .want = now.want,
                                       .to = places[i]};
            unsigned reason = patas__x86_relocate_32(&move);

            if (reason != PATAS_REASON_NONE) {
                print_now();
                ck_abort_msg("refused: reason %u at +%llu", reason,
                             (unsigned long long)(move.trouble - ORIGIN));
            }
            run_moved(snippet, &move, before, after);
        }
}

START_TEST(moved_32_bit_code_leaves_what_the_original_leaves)
{
    size_t done = 0;

    for (const struct snippet *s = relocate_32_snippets; s->name; s++, done++)
        run_snippet(s);
    printf("%zu snippets, %llu single steps\n", done,
           (unsigned long long)now.steps);
    ck_assert_uint_gt(done, 100);
    ck_assert_uint_gt(now.steps, done);
}
END_TEST

/* Does this kernel let a 64-bit process run 32-bit code, and is there room? */
static bool can_run(void)
{
    static const struct snippet nothing = {
        "nop", (const uint8_t *)"\x90", 1, 0, 0, 0};
    static struct world before, after;

    if (!map_at(ORIGIN, ARENA_SIZE))
        return false;
    for (size_t i = 0; i < sizeof places / sizeof *places; i++)
        if (!map_at(places[i] & ~0xfffu, 0x1000))
            return false;
    random_state = 1;
    put_snippet(&nothing);
    random_world(&before);
    trying = true;
    if (sigsetjmp(no_32_bits, 1))
        return false;
    run(&before, ORIGIN, false, &after);
    trying = false;
    return true;
}

int main(void)
{
    Suite *suite = suite_create("relocate");
    TCase *tcase = tcase_create("exec, 32 bits");
    SRunner *runner = srunner_create(suite);
    int failed;

    catch_signals();
    if (!can_run()) {
        puts("skipped: no 32-bit code in a 64-bit process here");
        srunner_free(runner);
        return 77;
    }
    tcase_set_timeout(tcase, 0);
    tcase_add_test(tcase, moved_32_bit_code_leaves_what_the_original_leaves);
    suite_add_tcase(suite, tcase);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
