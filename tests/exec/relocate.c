/* SPDX-License-Identifier: MIT */
/*
 * A moved instruction does what it did: run where it was and where it is now,
 * from the same random registers, flags, vectors and memory, it leaves the
 * same behind. Return addresses are memory, the red zone is too.
 *
 * The snippets are in relocate_snippets.S, which says how an arena is laid
 * out. One is made for each snippet, at an address of ours; the moved code
 * goes near it, 1 GB away, and out of the reach of 32 bits.
 */
#include <check.h>
#include <cpuid.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

#include "isa.h"
#include "isa/x86/x86.h"
#include "patas.h"

enum {
    RETURNS = 1,
    KERNEL = 2,
    BAD_FAR = 4,
    LOOPS = 8
}; /* relocate_snippets.S */

enum {
    SHORT = 0x40,
    LEAVE = 0x4000,
    RETURN = 0x4100,
    THUNK = 0x4200,
    TAIL = 0x4300,
    DATA = 0x10000,
    PLACE = DATA + 0x800,
    EXIT = DATA + 0xff8, /* a byte that says by which exit it was left */
    DATA_SIZE = 0x1000,
    ARENA_SIZE = DATA + DATA_SIZE,
    STACK_SIZE = 0x10000,
    STACK_TOP = 0xf000, /* rsp at the start */
    STACK_SEEN = 0x800, /* bytes above it that are compared */
    RED_ZONE = 128
};

enum {
    RAX,
    RCX,
    RDX,
    RBX,
    RSP,
    RBP,
    RSI,
    RDI,
    R8,
    R9,
    R10,
    R11,
    R12,
    R13,
    R14,
    R15
};

struct snippet {
    const char *name;
    const uint8_t *start;
    uint32_t size, cpu, flags, unused;
};
extern const struct snippet relocate_snippets[]
    __attribute__((visibility("hidden")));

enum {
    XSAVE_SIZE = 4096,
    XSAVE_HEADER = 512,
    XSAVE_MASK = 0xe7
};

struct relocate_state {
    uint64_t gpr[16];
    uint64_t flags;
    uint64_t unused[15];
    uint8_t vectors[XSAVE_SIZE] __attribute__((aligned(64)));
};

void relocate_run(struct relocate_state *state, const void *entry)
    __attribute__((visibility("hidden")));
void relocate_left(void) __attribute__((visibility("hidden")));

enum {
    FLAGS_SEEN = 0xcd5,
    FLAG_STEP = 0x100
};

/* ---- what is being run, for a message if it crashes ---------------------- */

static struct {
    const struct snippet *snippet;
    size_t want;
    int64_t distance;
    uint64_t steps;
    uint64_t highest; /* rsp seen at a step: below its red zone all is lost */
    const struct patas__move *move;
} now;

static void print_now(void)
{
    fprintf(stderr, "snippet: %s\nwant %zu, distance %#llx\n",
            now.snippet->name, now.want, (long long)now.distance);
    if (now.move) {
        fprintf(stderr, "from %#llx:", (unsigned long long)now.move->from);
        for (size_t i = 0; i < now.snippet->size; i++)
            fprintf(stderr, " %02x", now.snippet->start[i]);
        fprintf(stderr, "\nto %#llx:", (unsigned long long)now.move->to);
        for (size_t i = 0; i < now.move->code_size; i++)
            fprintf(stderr, " %02x", now.move->code[i]);
        fprintf(stderr, "\n");
    }
}

static void on_crash(int number, siginfo_t *info, void *context)
{
    ucontext_t *at = context;

    fprintf(stderr, "signal %d at %#llx (%p)\n", number,
            (unsigned long long)at->uc_mcontext.gregs[REG_RIP], info->si_addr);
    print_now();
    _exit(1);
}

/* A single step. It is taken on the snippet's own stack: whatever the moved
 * code keeps below the red zone is overwritten by each signal frame. */
static void on_step(int number, siginfo_t *info, void *context)
{
    ucontext_t *at = context;
    greg_t *gregs = at->uc_mcontext.gregs;

    if (!(gregs[REG_EFL] & FLAG_STEP))
        on_crash(number, info, context); /* int3: the original was entered */
    now.steps++;
    if ((uint64_t)gregs[REG_RSP] > now.highest)
        now.highest = (uint64_t)gregs[REG_RSP];
    if ((uintptr_t)gregs[REG_RIP] == (uintptr_t)relocate_left)
        gregs[REG_EFL] &= ~(greg_t)FLAG_STEP;
}

static void catch_signals(void)
{
    static uint8_t stack[1 << 16];
    stack_t other = {.ss_sp = stack, .ss_size = sizeof stack};
    struct sigaction crash = {.sa_sigaction = on_crash,
                              .sa_flags = SA_SIGINFO | SA_ONSTACK};
    struct sigaction step = {.sa_sigaction = on_step, .sa_flags = SA_SIGINFO};

    sigaltstack(&other, NULL);
    sigaction(SIGSEGV, &crash, NULL);
    sigaction(SIGBUS, &crash, NULL);
    sigaction(SIGILL, &crash, NULL);
    sigaction(SIGFPE, &crash, NULL);
    sigaction(SIGTRAP, &step, NULL);
}

/* ---- random ------------------------------------------------------------- */

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

/* ---- the processor ------------------------------------------------------ */

static bool cpu_has(uint32_t cpu)
{
    unsigned a, b, c, d;

    __builtin_cpu_init();
    switch (cpu) {
    case 0:
        return true;
    case 1:
        return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    case 2:
        return __builtin_cpu_supports("avx512f") &&
               __builtin_cpu_supports("avx512vl");
    case 4:
        return __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2");
    default:
        __cpuid_count(7, 0, a, b, c, d);
        return cpu == 3   ? b >> 29 & 1  /* SHA */
               : cpu == 5 ? b >> 19 & 1  /* ADX */
                          : b >> 11 & 1; /* RTM */
    }
}

static uint64_t xsave_components(void)
{
    uint32_t low, high;

    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return low & XSAVE_MASK;
}

/* Where components begin (SDM 1, 13.4.3) and what of them is compared. */
struct span {
    size_t start, size;
};

static size_t vector_spans(struct span *spans)
{
    size_t count = 0;

    spans[count++] = (struct span){0, 5};    /* FCW FSW FTW, not FOP FIP FDP */
    spans[count++] = (struct span){24, 4};   /* MXCSR */
    spans[count++] = (struct span){32, 384}; /* ST and XMM registers */
    for (uint32_t part = 2; part < 8; part++) {
        unsigned a, b, c, d;

        if (!(xsave_components() >> part & 1))
            continue;
        __cpuid_count(0xd, part, a, b, c, d);
        spans[count++] = (struct span){b, a};
    }
    return count;
}

/* ---- an arena ----------------------------------------------------------- */

struct arena {
    uint8_t *code; /* ARENA_SIZE */
    uint8_t *stack;
};

static void *map_at(uint64_t address, size_t size)
{
    void *at = mmap((void *)(uintptr_t)address, size,
                    PROT_READ | PROT_WRITE | PROT_EXEC,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);

    ck_assert_msg(at == (void *)(uintptr_t)address, "no memory at %#llx",
                  (unsigned long long)address);
    return at;
}

/* movb $number, EXIT(%rip); jmp relocate_left */
static void put_exit(struct arena *arena, uint32_t at, uint8_t number)
{
    uint8_t *code = arena->code + at;
    uint64_t left = (uintptr_t)relocate_left;

    memcpy(code, "\xc6\x05", 2);
    patas__store32(code + 2, EXIT - (at + 7));
    code[6] = number;
    memcpy(code + 7, "\xff\x25\0\0\0\0", 6);
    memcpy(code + 13, &left, sizeof left);
}

static void put_snippet(struct arena *arena, const struct snippet *snippet)
{
    uint32_t size = snippet->size;

    ck_assert_msg(size + 12 <= SHORT, "too long: %s", snippet->name);
    memset(arena->code, 0x90, SHORT);
    memcpy(arena->code, snippet->start, size);
    /* Falling through: movb $1, EXIT(%rip); jmp TAIL. */
    memcpy(arena->code + size, "\xc6\x05", 2);
    patas__store32(arena->code + size + 2, EXIT - (size + 7));
    arena->code[size + 6] = 1;
    arena->code[size + 7] = 0xe9;
    patas__store32(arena->code + size + 8, TAIL - (size + 12));
    put_exit(arena, SHORT, 2);
    put_exit(arena, LEAVE, 3);
    put_exit(arena, TAIL, 4);
    arena->code[RETURN] = 0xc3;
    memcpy(arena->code + THUNK, "\x48\x8b\x04\x24\xc3", 5);
}

/* ---- states ------------------------------------------------------------- */

struct world {
    struct relocate_state state;
    uint8_t data[DATA_SIZE];
    uint8_t stack[RED_ZONE + STACK_SEEN]; /* from rsp - RED_ZONE on */
};

static void put_address(uint8_t *to, uint64_t value)
{
    memcpy(to, &value, sizeof value);
}

static void random_world(const struct arena *arena, struct world *world)
{
    struct relocate_state *state = &world->state;
    uint64_t code = (uintptr_t)arena->code;
    uint64_t top = (uintptr_t)arena->stack + STACK_TOP;
    uint8_t *at_top = world->stack + RED_ZONE;
    uint64_t components = xsave_components();

    memset(state, 0, sizeof *state);
    for (int i = 0; i < 16; i++)
        state->gpr[i] = random64() >> (random64() & 3) * 16;
    if (random64() & 1)
        state->gpr[RCX] &= 0xffffffff00000003;
    if (random64() & 1)
        state->gpr[RCX] &= 3;
    state->gpr[RBX] = code + DATA;
    state->gpr[RDI] = code + DATA + 0x400 + (random64() & 63);
    state->gpr[RSI] = code + DATA + 0x600 + (random64() & 63);
    state->gpr[R12] = code + DATA + 0xa00;
    state->gpr[R9] = code + LEAVE;
    state->gpr[R10] = code + RETURN;
    state->gpr[R13] = top - 8;
    state->gpr[R14] = 1;
    state->gpr[R15] = 0x100;
    state->gpr[RSP] = top;
    state->gpr[RBP] = top + 0x200;
    state->flags = (random64() & FLAGS_SEEN) | 2;
    random_fill(state->vectors, sizeof state->vectors);
    memset(state->vectors, 0, 160);
    memset(state->vectors + XSAVE_HEADER, 0, 64);
    patas__store32(state->vectors, 0x37f);       /* x87: defaults, empty */
    patas__store32(state->vectors + 24, 0x1f80); /* MXCSR */
    memcpy(state->vectors + XSAVE_HEADER, &components, sizeof components);

    random_fill(world->data, sizeof world->data);
    put_address(world->data + 0x800, code + LEAVE);
    put_address(world->data + 0x808, code + RETURN);
    random_fill(world->stack, sizeof world->stack);
    put_address(at_top - 0x18, code + LEAVE);
    put_address(at_top - 0x10, code + RETURN);
    put_address(at_top - 0x08, code + LEAVE);
    put_address(at_top + 0x10, code + LEAVE);
    put_address(at_top + 0x18, code + RETURN);
    put_address(at_top + 0x210, code + LEAVE);
    put_address(at_top + 0x218, code + RETURN);
}

/* Runs `entry` in a copy of `before`; what is left goes to `after`. */
static void run(const struct arena *arena, const struct world *before,
                uint64_t entry, bool step, struct world *after)
{
    uint8_t *stack = arena->stack + STACK_TOP - RED_ZONE;

    after->state = before->state;
    if (step)
        after->state.flags |= FLAG_STEP;
    memcpy(arena->code + DATA, before->data, sizeof before->data);
    memcpy(stack, before->stack, sizeof before->stack);
    relocate_run(&after->state, (const void *)(uintptr_t)entry);
    memcpy(after->data, arena->code + DATA, sizeof after->data);
    memcpy(after->stack, stack, sizeof after->stack);
}

static void compare_bytes(const char *what, const uint8_t *want,
                          const uint8_t *got, size_t size)
{
    size_t i = 0;

    while (i < size && want[i] == got[i])
        i++;
    if (i == size)
        return;
    print_now();
    ck_abort_msg("%s differ at byte %#zx: %02x, now %02x", what, i, want[i],
                 got[i]);
}

/* `lost`: bytes at the lower end of the stack that signals may have taken. */
static void compare(const struct snippet *snippet, const struct world *want,
                    const struct world *got, size_t lost)
{
    static struct span spans[10];
    static size_t count;

    if (!count)
        count = vector_spans(spans);
    for (int i = 0; i < 16; i++) {
        if ((snippet->flags & KERNEL) && (i == RCX || i == R11))
            continue;
        if (want->state.gpr[i] != got->state.gpr[i]) {
            print_now();
            ck_abort_msg("register %d: %#llx, now %#llx", i,
                         (unsigned long long)want->state.gpr[i],
                         (unsigned long long)got->state.gpr[i]);
        }
    }
    if ((want->state.flags ^ got->state.flags) & FLAGS_SEEN) {
        print_now();
        ck_abort_msg("flags: %#llx, now %#llx",
                     (unsigned long long)want->state.flags,
                     (unsigned long long)got->state.flags);
    }
    for (size_t i = 0; i < count; i++)
        compare_bytes("vectors", want->state.vectors + spans[i].start,
                      got->state.vectors + spans[i].start, spans[i].size);
    compare_bytes("data", want->data, got->data, sizeof want->data);
    compare_bytes("stack", want->stack + lost, got->stack + lost,
                  sizeof want->stack - lost);
}

/* ---- moving ------------------------------------------------------------- */

enum {
    WORLDS = 4
};

/* Returns false if it was refused, rightly. */
static bool move_snippet(const struct arena *arena,
                         const struct snippet *snippet, size_t want,
                         uint64_t to, struct patas__move *move)
{
    bool far = llabs(now.distance) > INT32_MAX;
    unsigned reason;

    memset(move, 0x55, sizeof *move);
    move->from = (uintptr_t)arena->code;
    move->bytes = arena->code;
    move->size = SHORT;
    move->want = want;
    move->to = to;
    move->shadow_stack = false;
    move->plain = 0;
    reason = patas__x86_relocate_64(move);
    if (reason == PATAS_REASON_OUT_OF_REACH && far &&
        (snippet->flags & BAD_FAR))
        return false;
    if (reason != PATAS_REASON_NONE) {
        print_now();
        ck_abort_msg("refused: reason %u at +%llu", reason,
                     (unsigned long long)(move->trouble - move->from));
    }
    ck_assert_uint_ge(move->moved, want);
    ck_assert_uint_le(move->code_size, PATAS__HEAD_MAX);
    return true;
}

/* A processor may give a transaction up for no reason of the program's (SDM 1,
 * 16.3.8.2), as where its code was written just before: so it is tried again
 * until it goes through, or is aborted by xabort, which sets bit 0. */
static void run_settled(const struct arena *arena,
                        const struct snippet *snippet,
                        const struct world *before, uint64_t pc, bool step,
                        struct world *after)
{
    enum {
        RTM = 6,
        TRIES = 1000
    };
    const bool transaction = snippet->cpu == RTM;
    uint64_t rax = before->state.gpr[RAX];

    for (int i = 0; i < TRIES; i++) {
        run(arena, before, pc, step && !transaction, after);
        if (!transaction || after->state.gpr[RAX] == rax ||
            after->state.gpr[RAX] & 1)
            return;
    }
}

static void run_moved(const struct arena *arena, const struct snippet *snippet,
                      const struct patas__move *move,
                      const struct world before[WORLDS],
                      const struct world after[WORLDS])
{
    static struct world got;
    uint8_t original[SHORT];

    now.move = move;
    memcpy((void *)(uintptr_t)move->to, move->code, move->code_size);
    memcpy(original, arena->code, sizeof original);
    /* Nobody may come back to what was moved, but after a call, and from a
     * branch that was not. */
    if (!(snippet->flags & RETURNS) &&
        (!(snippet->flags & LOOPS) || move->moved >= snippet->size))
        memset(arena->code, 0xcc, move->moved);
    for (int i = 0; i < WORLDS; i++) {
        bool step = i == 0 && now.want % 5 == 0 && !(snippet->flags & KERNEL);
        uint64_t top = before[i].state.gpr[RSP];
        size_t lost = 0;

        now.highest = top;
        run_settled(arena, snippet, &before[i], move->to, step, &got);
        if (now.highest - top < sizeof got.stack)
            lost = now.highest - top;
        compare(snippet, &after[i], &got, lost);
    }
    memcpy(arena->code, original, sizeof original);
    now.move = NULL;
}

/* Where the original stands, and how far away it is moved to. */
static const uint64_t origins[] = {
    0x123456789000,
#if !defined(__SANITIZE_ADDRESS__) /* whose shadow lies about there */
    0x30000000,
#endif
};
static const int64_t distances[] = {
    0x100000, 0x50000003, 0x7ff00005, 0x80100000, 0x200000007, 0x5000000001,
};

static void run_snippet(struct arena *arena, const struct snippet *snippet)
{
    static struct world before[WORLDS], after[WORLDS];
    uint64_t from = (uintptr_t)arena->code;

    now.snippet = snippet;
    random_state = from ^ (uintptr_t)(snippet - relocate_snippets) ^ 0x9e3779b9;
    put_snippet(arena, snippet);
    for (int i = 0; i < WORLDS; i++) {
        random_world(arena, &before[i]);
        run_settled(arena, snippet, &before[i], from, false, &after[i]);
    }
    for (size_t i = 0; i < sizeof distances / sizeof *distances; i++)
        for (now.want = 1; now.want <= 16; now.want++) {
            struct patas__move move;

            now.distance = distances[i];
            if (move_snippet(arena, snippet, now.want,
                             from + (uint64_t)distances[i], &move))
                run_moved(arena, snippet, &move, before, after);
        }
}

START_TEST(moved_code_leaves_what_the_original_leaves)
{
    struct arena arena;
    size_t done = 0, skipped = 0;

    catch_signals();
    arena.code = map_at(origins[_i], ARENA_SIZE);
    arena.stack = map_at(origins[_i] + 0x1000000, STACK_SIZE);
    for (size_t i = 0; i < sizeof distances / sizeof *distances; i++)
        map_at((origins[_i] + (uint64_t)distances[i]) & ~0xfffull, 0x1000);
    for (const struct snippet *s = relocate_snippets; s->name; s++) {
        if (!cpu_has(s->cpu)) {
            skipped++;
            continue;
        }
        run_snippet(&arena, s);
        done++;
    }
    printf("from %#llx: %zu snippets, %zu not for this processor, "
           "%llu single steps\n",
           (unsigned long long)origins[_i], done, skipped,
           (unsigned long long)now.steps);
    ck_assert_uint_gt(done, 300);
    ck_assert_uint_gt(now.steps, done);
}
END_TEST

int main(void)
{
    unsigned a, b, c = 0, d;
    Suite *suite = suite_create("relocate");
    TCase *tcase = tcase_create("exec");
    SRunner *runner = srunner_create(suite);
    int failed;

    if (!__get_cpuid(1, &a, &b, &c, &d) || !(c >> 27 & 1)) {
        puts("skipped: no xsave");
        return 77;
    }
    tcase_set_timeout(tcase, 0);
    tcase_add_loop_test(tcase, moved_code_leaves_what_the_original_leaves, 0,
                        sizeof origins / sizeof *origins);
    suite_add_tcase(suite, tcase);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
