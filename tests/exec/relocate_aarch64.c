/* SPDX-License-Identifier: MIT */
/*
 * AArch64 code that moved does what it did: heads of functions, executed where
 * they were and where they were moved to, from the same random registers,
 * flags and memory, leave the same.
 *
 * Runs on AArch64 and under qemu-aarch64, so it needs nothing but a C library.
 * A signal handler loads the registers, `brk` and another handler save them.
 * The original lies in pages with PROT_BTI, what moved in pages without.
 */
#include <asm/sigcontext.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

#include "isa/aarch64/aarch64.h"
#include "patas.h"

enum {
    RETURNS = 1,
    LOOPS = 2
}; /* relocate_aarch64_snippets.S */

enum {
    SHORT = 0x40,
    LEAVE = 0x4000,
    RETURN = 0x4100,
    THUNK = 0x4200,
    LINK = 0x4300,
    DATA = 0x10000,
    DATA_SIZE = 0x1000,
    STACK = 0x20000,
    STACK_TOP = STACK + 0x8000,
    STACK_SEEN = 0x400,
    ARENA_SIZE = 0x40000,
    PAGE = 0x10000, /* of any size that AArch64 knows */
    GUARDED = 0x10  /* PROT_BTI */
};

#define ORIGIN   0x5000000000u
#define NZCV     0xf0000000u
#define BRK(n)   (0xd4200000u | (n) << 5)
#define BTI_JC   0xd50324dfu
#define BTI_C    0xd503245fu
#define RET      0xd65f03c0u
#define MOV_0_30 0xaa1e03e0u

/* How far it is moved. The last two are beyond any branch. */
static const int64_t distances[] = {0x50000,    -0x50000,     0x140000,
                                    -0x140000,  0x6000040,    -0x60000080,
                                    0x20000100, 0x40000000c0, -0x2000000040};

struct snippet {
    const char *name;
    const uint8_t *start;
    uint32_t size, flags;
};
extern const struct snippet relocate_snippets[];

struct world {
    uint64_t x[31], sp;
    uint32_t flags, exit;
    uint8_t v[32][16];
    uint8_t data[DATA_SIZE];
    uint8_t stack[STACK_SEEN]; /* the lower half is below sp */
};

enum {
    WORLDS = 6
};

static uint8_t *const arena = (uint8_t *)ORIGIN;

static struct {
    const char *name;
    const struct patas__move *move;
    const struct world *before;
    struct world *after;
    uint64_t entry;
    sigjmp_buf done;
    bool trying;
    size_t moves, runs, refused;
} now;

/* ---- failing ------------------------------------------------------------ */

static void fail(const char *what, uint64_t number, uint64_t want, uint64_t got)
{
    printf("%s: %s %llu: %#llx, now %#llx\n", now.name, what,
           (unsigned long long)number, (unsigned long long)want,
           (unsigned long long)got);
    if (now.move) {
        printf("want %zu, to %#llx:", now.move->want,
               (unsigned long long)now.move->to);
        for (size_t i = 0; i < now.move->code_size; i += 4)
            printf(" %08x", patas__load32(now.move->code + i));
        printf("\n");
    }
    exit(EXIT_FAILURE);
}

/* ---- running ------------------------------------------------------------ */

static struct fpsimd_context *vectors_of(ucontext_t *context)
{
    struct _aarch64_ctx *record = (void *)context->uc_mcontext.__reserved;

    while (record->magic != FPSIMD_MAGIC) {
        if (record->magic == 0)
            abort();
        record = (void *)((char *)record + record->size);
    }
    return (struct fpsimd_context *)record;
}

static void on_enter(int number, siginfo_t *info, void *opaque)
{
    ucontext_t *context = opaque;
    mcontext_t *machine = &context->uc_mcontext;

    (void)number;
    (void)info;
    memcpy(machine->regs, now.before->x, sizeof now.before->x);
    machine->sp = now.before->sp;
    machine->pc = now.entry;
    machine->pstate = (machine->pstate & ~(uint64_t)NZCV) | now.before->flags;
    memcpy(vectors_of(context)->vregs, now.before->v, sizeof now.before->v);
}

static void on_exit_or_crash(int number, siginfo_t *info, void *opaque)
{
    ucontext_t *context = opaque;
    mcontext_t *machine = &context->uc_mcontext;
    struct world *after = now.after;

    if (number != SIGTRAP) {
        if (now.trying)
            siglongjmp(now.done, 2);
        fail("signal at the address", (uint64_t)number,
             (uintptr_t)info->si_addr, machine->pc);
    }
    memcpy(after->x, machine->regs, sizeof after->x);
    after->sp = machine->sp;
    after->flags = (uint32_t)machine->pstate & NZCV;
    after->exit = *(const uint32_t *)(uintptr_t)machine->pc >> 5 & 0xffff;
    memcpy(after->v, vectors_of(context)->vregs, sizeof after->v);
    siglongjmp(now.done, 1);
}

static void catch_signals(void)
{
    static uint8_t stack[1 << 16];
    static const int ends[] = {SIGTRAP, SIGILL, SIGSEGV, SIGBUS, SIGFPE};
    stack_t other = {.ss_sp = stack, .ss_size = sizeof stack};
    struct sigaction enter = {.sa_sigaction = on_enter,
                              .sa_flags = SA_SIGINFO | SA_ONSTACK};
    struct sigaction leave = {.sa_sigaction = on_exit_or_crash,
                              .sa_flags = SA_SIGINFO | SA_ONSTACK};

    sigaltstack(&other, NULL);
    sigaction(SIGUSR1, &enter, NULL);
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++)
        sigaction(ends[i], &leave, NULL);
}

/* Runs `entry` in a copy of `before`; what is left goes to `after`. False if
 * it crashed, which only a trial may. */
static bool run(const struct world *before, uint64_t entry, struct world *after)
{
    uint8_t *stack = arena + STACK_TOP - STACK_SEEN / 2;
    int how;

    now.before = before;
    now.after = after;
    now.entry = entry;
    now.runs++;
    memcpy(arena + DATA, before->data, sizeof before->data);
    memcpy(stack, before->stack, sizeof before->stack);
    how = sigsetjmp(now.done, 1);
    if (how == 0) {
        raise(SIGUSR1);
        abort();
    }
    memcpy(after->data, arena + DATA, sizeof after->data);
    memcpy(after->stack, stack, sizeof after->stack);
    return how == 1;
}

/* ---- worlds ------------------------------------------------------------- */

static uint64_t random_state;

static uint64_t random64(void) /* xorshift64* */
{
    random_state ^= random_state >> 12;
    random_state ^= random_state << 25;
    random_state ^= random_state >> 27;
    return random_state * 0x2545f4914f6cdd1d;
}

static void random_fill(void *to, size_t size)
{
    for (size_t i = 0; i < size; i++)
        ((uint8_t *)to)[i] = (uint8_t)(random64() >> 32);
}

static void random_world(struct world *world)
{
    random_fill(world, sizeof *world);
    world->x[1] = ORIGIN + DATA + (random64() & 0x1f0);
    world->x[2] = ORIGIN + DATA + 0x400 + (random64() & 0x1f0);
    if (random64() & 1)
        world->x[3] &= 0xffffffff00000003;
    if (random64() & 1)
        world->x[3] &= 3;
    world->x[9] = ORIGIN + LEAVE;
    world->x[10] = ORIGIN + RETURN;
    world->x[11] = ORIGIN + THUNK;
    world->x[30] = ORIGIN + LINK;
    world->sp = ORIGIN + STACK_TOP;
    world->flags = (uint32_t)random64() & NZCV;
}

static void put_words(uint32_t at, const uint32_t *words, size_t count)
{
    memcpy(arena + at, words, count * sizeof *words);
}

static void flush(uint8_t *from, size_t size)
{
    __builtin___clear_cache((char *)from, (char *)from + size);
}

static void put_snippet(const struct snippet *snippet)
{
    static const uint32_t ends[] = {BRK(1), BRK(2), BRK(3), BRK(4)};

    for (uint32_t at = 0; at < SHORT; at += 4)
        put_words(at, &ends[0], 1);
    memcpy(arena, snippet->start, snippet->size);
    put_words(SHORT, &ends[1], 1);
    put_words(LEAVE, &ends[2], 1);
    put_words(LINK, &ends[3], 1);
    put_words(RETURN, (const uint32_t[]){BTI_JC, RET}, 2);
    put_words(THUNK, (const uint32_t[]){BTI_C, MOV_0_30, RET}, 3);
    flush(arena, LINK + 4);
}

/* ---- comparing ---------------------------------------------------------- */

static void compare(const struct world *want, const struct world *got,
                    bool lose_ip)
{
    uint64_t lost = want->sp - (ORIGIN + STACK_TOP - STACK_SEEN / 2);

    for (unsigned i = 0; i < 31; i++)
        if (want->x[i] != got->x[i] && !(lose_ip && (i == 16 || i == 17)))
            fail("register x", i, want->x[i], got->x[i]);
    if (want->exit != got->exit)
        fail("exit", 0, want->exit, got->exit);
    if (want->sp != got->sp)
        fail("sp", 0, want->sp, got->sp);
    if (want->flags != got->flags)
        fail("flags", 0, want->flags, got->flags);
    for (unsigned i = 0; i < sizeof want->v; i++)
        if (want->v[i / 16][i % 16] != got->v[i / 16][i % 16])
            fail("byte of vectors", i, want->v[i / 16][i % 16],
                 got->v[i / 16][i % 16]);
    for (unsigned i = 0; i < DATA_SIZE; i++)
        if (want->data[i] != got->data[i])
            fail("byte of data", i, want->data[i], got->data[i]);
    for (uint64_t i = lost; i < STACK_SEEN; i++)
        if (want->stack[i] != got->stack[i])
            fail("byte of the stack", i, want->stack[i], got->stack[i]);
}

/* ---- moving ------------------------------------------------------------- */

static void run_moved(const struct snippet *snippet,
                      const struct patas__move *move,
                      const struct world before[WORLDS],
                      const struct world after[WORLDS])
{
    static struct world got;
    uint8_t original[SHORT];
    uint8_t *to = (uint8_t *)(uintptr_t)move->to;

    now.move = move;
    now.moves++;
    memcpy(to, move->code, move->code_size);
    flush(to, move->code_size);
    memcpy(original, arena, sizeof original);
    /* Nobody may come back to what was moved, but after a call, and from a
     * branch that was not. `udf` for the rest. */
    if (!(snippet->flags & RETURNS) &&
        (!(snippet->flags & LOOPS) || move->moved >= snippet->size))
        memset(arena, 0, move->moved);
    flush(arena, SHORT);
    for (int i = 0; i < WORLDS; i++) {
        run(&before[i], move->to, &got);
        compare(&after[i], &got, move->lose_ip);
    }
    memcpy(arena, original, sizeof original);
    flush(arena, SHORT);
    now.move = NULL;
}

/* Beyond 128 MB only where x17 may be lost, and not around an ldxr. */
static bool is_refused_rightly(const struct patas__move *move, unsigned reason)
{
    int64_t distance = (int64_t)(move->to - move->from);
    bool exclusive = false;

    for (size_t k = 0; k < move->want; k += 4)
        exclusive |=
            (patas__load32(move->bytes + k) & 0x3fc00000) == 0x08400000;
    if (llabs(distance) < 0x7000000)
        return false;
    return reason == PATAS_REASON_OUT_OF_REACH ||
           (exclusive && reason == PATAS_REASON_CANNOT_MOVE);
}

static void run_snippet(const struct snippet *snippet)
{
    static struct world before[WORLDS], after[WORLDS];

    now.name = snippet->name;
    random_state = snippet->size ^ 0x9e3779b97f4a7c15;
    put_snippet(snippet);
    for (int i = 0; i < WORLDS; i++) {
        random_world(&before[i]);
        run(&before[i], ORIGIN, &after[i]);
    }
    for (size_t i = 0; i < sizeof distances / sizeof *distances; i++)
        for (unsigned want = 4; want <= 32; want += 4) {
            struct patas__move move = {
                .from = ORIGIN,
                .bytes = arena,
                .size = SHORT,
                .want = want <= 16 ? want : want - 16,
                .to = ORIGIN + (uint64_t)distances[i],
                .lose_ip = want > 16,
            };
            unsigned reason = patas__a64_relocate(&move);

            if (reason == PATAS_REASON_NONE)
                run_moved(snippet, &move, before, after);
            else if (is_refused_rightly(&move, reason))
                now.refused++;
            else
                fail("refused at, reason", reason, move.from, move.trouble);
        }
}

/* ---- the machine -------------------------------------------------------- */

static void map_at(uint64_t address, size_t size)
{
    void *want = (void *)(uintptr_t)address;
    int all = PROT_READ | PROT_WRITE | PROT_EXEC;

    if (mmap(want, size, all, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != want) {
        printf("no memory at %#llx\n", (unsigned long long)address);
        exit(EXIT_FAILURE);
    }
}

/* Does a jump by a register to what is no landing pad crash? */
static bool is_guarded(void)
{
    static const struct snippet jump = {
        "br x10", (const uint8_t *)"\x40\x01\x1f\xd6", 4, 0};
    static const uint32_t nops[] = {0xd503201f, BRK(6)};
    static struct world before, after;
    bool crashed;

    if (mprotect(arena, PAGE, PROT_READ | PROT_WRITE | PROT_EXEC | GUARDED))
        return false;
    now.name = jump.name;
    random_state = 1;
    put_snippet(&jump);
    put_words(RETURN, nops, 2);
    flush(arena, LINK);
    random_world(&before);
    now.trying = true;
    crashed = !run(&before, ORIGIN, &after);
    now.trying = false;
    return crashed;
}

int main(void)
{
    size_t done = 0;

    setvbuf(stdout, NULL, _IOLBF, 0);
    map_at(ORIGIN, ARENA_SIZE);
    for (size_t i = 0; i < sizeof distances / sizeof *distances; i++)
        map_at((ORIGIN + (uint64_t)distances[i]) & ~(uint64_t)(PAGE - 1), PAGE);
    catch_signals();
    printf("jumps to no landing pad: %s\n",
           is_guarded() ? "caught" : "not caught here");
    for (const struct snippet *s = relocate_snippets; s->name; s++, done++) {
        if (s->size + 4 > SHORT) {
            printf("too long: %s\n", s->name);
            return EXIT_FAILURE;
        }
        run_snippet(s);
    }
    printf("%zu snippets, %zu moves, %zu runs, %zu refused\n", done, now.moves,
           now.runs, now.refused);
    return done > 200 && now.moves > 50 * done ? EXIT_SUCCESS : EXIT_FAILURE;
}
