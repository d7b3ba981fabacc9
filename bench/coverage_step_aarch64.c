/* SPDX-License-Identifier: MIT */
/*
 * coverage_step.c for AArch64, by breakpoints instead of single steps, since an
 * emulator of user programs has no ptrace. One instruction of a function moves,
 * so its successors are known: the next one, and where it branches to. Two
 * processes of the same layout plant `brk` there, enter the function,
 *
 *     patched   e -> island -> pass-through -> original's stub -> moved head
 *     plain     e
 *
 * with the same registers, and keep what they find at the `brk`, or at the
 * fault that the instruction raises: registers (x16 is the stubs'), flags,
 * vectors, memory and stack must be equal.
 */
#include "coverage.h"

#include <asm/sigcontext.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <ucontext.h>
#include <unistd.h>

enum {
    SETS = 4,               /* of registers, a function */
    WORDS = 1024,           /* of scratch memory: data below, stack above */
    STACK = 512,            /* the word that sp points to, or a little above */
    VECTORS = 32 * 2,       /* 64-bit halves */
    LOST = 16,              /* x16: any stub may lose it */
    ALTERNATE = 256 * 1024, /* stack of the handler */
};
#define NZCV 0xf0000000u
#define BRK  0xd4200000u

/* What a run leaves. */
struct leaves {
    uint64_t x[31], sp, pc, flags, fpsr, memory;
    uint64_t v[VECTORS];
    int signal; /* SIGTRAP where it was to end */
    bool tried;
};

/* The registers that a run begins with. */
struct begins {
    uint64_t x[31], sp, pc, flags;
};

static struct {
    struct begins begin;
    struct leaves *end;
    uint64_t ends[3]; /* behind the instruction, where it leads, the caller */
    uint64_t home[31], home_sp, home_pc;
    uint64_t vectors[VECTORS];
    uint64_t scratch[WORDS], pattern[WORDS];
} run;

/* ---- one run ---------------------------------------------------------------
 */

/* Comes back when a run is over; the handler does what is between. */
void coverage_enter(const uint64_t *vectors);
extern const uint32_t coverage_entered[], coverage_landing[];
__asm__(".text\n.p2align 4\n"
        ".globl coverage_enter, coverage_entered, coverage_landing\n"
        ".hidden coverage_enter, coverage_entered, coverage_landing\n"
        ".type coverage_enter, %function\n"
        "coverage_enter:\n"
        "  stp x29, x30, [sp, #-160]!\n"
        "  stp x19, x20, [sp, #16]\n  stp x21, x22, [sp, #32]\n"
        "  stp x23, x24, [sp, #48]\n  stp x25, x26, [sp, #64]\n"
        "  stp x27, x28, [sp, #80]\n  stp d8, d9, [sp, #96]\n"
        "  stp d10, d11, [sp, #112]\n  stp d12, d13, [sp, #128]\n"
        "  stp d14, d15, [sp, #144]\n"
        "  ld1 {v0.16b-v3.16b}, [x0], #64\n"
        "  ld1 {v4.16b-v7.16b}, [x0], #64\n"
        "  ld1 {v8.16b-v11.16b}, [x0], #64\n"
        "  ld1 {v12.16b-v15.16b}, [x0], #64\n"
        "  ld1 {v16.16b-v19.16b}, [x0], #64\n"
        "  ld1 {v20.16b-v23.16b}, [x0], #64\n"
        "  ld1 {v24.16b-v27.16b}, [x0], #64\n"
        "  ld1 {v28.16b-v31.16b}, [x0]\n"
        "coverage_entered:\n"
        "  brk #1\n"
        "  ldp d14, d15, [sp, #144]\n  ldp d12, d13, [sp, #128]\n"
        "  ldp d10, d11, [sp, #112]\n  ldp d8, d9, [sp, #96]\n"
        "  ldp x27, x28, [sp, #80]\n  ldp x25, x26, [sp, #64]\n"
        "  ldp x23, x24, [sp, #48]\n  ldp x21, x22, [sp, #32]\n"
        "  ldp x19, x20, [sp, #16]\n  ldp x29, x30, [sp], #160\n"
        "  ret\n"
        "coverage_landing:\n" /* whom a function returns to */
        "  brk #2\n"
        ".size coverage_enter, .-coverage_enter\n");

/* No function of a library may be called while breakpoints are planted. */
static void copy(uint64_t *to, const volatile uint64_t *from, size_t words)
{
    for (size_t i = 0; i < words; i++)
        to[i] = from[i];
}

static const struct fpsimd_context *vectors_of(const mcontext_t *machine)
{
    const struct _aarch64_ctx *record = (const void *)machine->__reserved;
    while (record->magic != FPSIMD_MAGIC)
        record = (const void *)((const char *)record + record->size);
    return (const void *)record;
}

static void go_in(mcontext_t *machine)
{
    copy(run.home, (uint64_t *)machine->regs, 31);
    run.home_sp = machine->sp;
    run.home_pc = machine->pc + 4;
    copy((uint64_t *)machine->regs, run.begin.x, 31);
    machine->sp = run.begin.sp;
    machine->pc = run.begin.pc;
    machine->pstate = (machine->pstate & ~(uint64_t)NZCV) | run.begin.flags;
}

/* All of it but what lies right below sp, which is nobody's. */
static uint64_t sum_of_memory(uint64_t sp)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < WORDS; i++) {
        uint64_t below = sp - (uint64_t)(uintptr_t)&run.scratch[i];
        if (below - 1 >= 16)
            sum = (sum ^ run.scratch[i]) * 0x9e3779b97f4a7c15u + (sum >> 29);
    }
    return sum;
}

static void come_out(int number, mcontext_t *machine)
{
    struct leaves *end = run.end;
    const struct fpsimd_context *vectors = vectors_of(machine);
    bool ended = number == SIGTRAP &&
                 (machine->pc == run.ends[0] || machine->pc == run.ends[1] ||
                  machine->pc == run.ends[2]);
    copy(end->x, (uint64_t *)machine->regs, 31);
    copy(end->v, (const uint64_t *)(const void *)vectors->vregs, VECTORS);
    end->sp = machine->sp;
    end->flags = machine->pstate & NZCV;
    end->fpsr = vectors->fpsr;
    end->memory = sum_of_memory(end->sp);
    /* A fault of what moved is another place's. */
    end->pc = ended ? machine->pc : 0;
    end->signal = ended ? SIGTRAP : 1000 + number;
    end->tried = true;
    copy((uint64_t *)machine->regs, run.home, 31);
    machine->sp = run.home_sp;
    machine->pc = run.home_pc;
}

static void on_signal(int number, siginfo_t *info, void *context)
{
    mcontext_t *machine = &((ucontext_t *)context)->uc_mcontext;
    (void)info;
    if (machine->pc == (uintptr_t)coverage_entered)
        go_in(machine);
    else
        come_out(number, machine);
}

static void set_begin(uint64_t *seed, int set, uint64_t pc)
{
    uint64_t middle = (uintptr_t)&run.scratch[STACK / 2];
    for (size_t i = 0; i < 31; i++) {
        uint64_t random = bench_random(seed);
        if (set == 3 || (set == 2 && random % 2))
            run.begin.x[i] = random;
        else if (set == 1 && random % 2)
            run.begin.x[i] = (random >> 32) % 16;
        else
            run.begin.x[i] = middle + (random >> 32) % 1024;
    }
    run.begin.x[30] = run.ends[2];
    run.begin.sp = (uintptr_t)&run.scratch[STACK + bench_random(seed) % 64 * 2];
    run.begin.flags = bench_random(seed) & NZCV;
    run.begin.pc = pc;
    copy(run.scratch, run.pattern, WORDS);
}

/* ---- one function ----------------------------------------------------------
 */

static bool is_pad(uint32_t word)
{
    return (word & 0xffffff3f) == 0xd503241f || /* bti */
           (word & 0xffffffbf) == 0xd503233f;   /* paciasp, pacibsp */
}

/* A system call, a clock, random numbers: no two runs are the same. */
static bool is_unlike(uint32_t word)
{
    return (word & 0xffe0001f) == 0xd4000001 || /* svc */
           (word & 0xffffff00) == 0xd53be000 || /* mrs cntvct_el0 and kin */
           (word & 0xffffffc0) == 0xd53b2400;   /* mrs rndr */
}

static int64_t signed_words(uint32_t word, unsigned from, unsigned bits)
{
    return (int64_t)((uint64_t)word << (64 - from - bits)) >> (64 - bits) << 2;
}

/* Where the instruction at `at` may lead but to its successor. */
static uint64_t leads_to(uint32_t word, uint64_t at)
{
    int64_t distance = 4;
    if ((word & 0x7c000000) == 0x14000000) /* b, bl */
        distance = signed_words(word & 0x3ffffff, 0, 26);
    else if ((word & 0xff000000) == 0x54000000 || /* b.cond */
             (word & 0x7e000000) == 0x34000000)   /* cbz, cbnz */
        distance = signed_words(word & 0xffffff, 5, 19);
    else if ((word & 0x7e000000) == 0x36000000) /* tbz, tbnz */
        distance = signed_words(word & 0x7ffff, 5, 14);
    return at + (uint64_t)distance;
}

struct stepping {
    struct coverage *result;
    const struct bench_library *library;
    struct bench_stubs stubs; /* made before the processes part */
    patas_patch **patches;
    uint32_t (*words)[2]; /* of each function, unpatched */
    struct leaves *leaves[2];
};

static bool in_text(const struct bench_library *library, uint64_t at)
{
    for (size_t i = 0; i < library->texts; i++)
        if (at - library->text[i].start < library->text[i].size)
            return true;
    return false;
}

static uint32_t plant(uint64_t at, uint32_t word)
{
    volatile uint32_t *code = (volatile uint32_t *)(uintptr_t)at;
    uint32_t old = *code;
    *code = word;
    __builtin___clear_cache((char *)(uintptr_t)at, (char *)(uintptr_t)at + 4);
    return old;
}

/* Which of its words is the one that moves. */
static uint64_t moving(const struct stepping *s, size_t index, uint32_t *word)
{
    bool pad = is_pad(s->words[index][0]);
    *word = s->words[index][pad];
    return s->library->functions[index].address + (pad ? 4 : 0);
}

static void run_function(const struct stepping *s, size_t index,
                         struct leaves *leaves)
{
    uint32_t word, old[2];
    const uint64_t entry = s->library->functions[index].address;
    const uint64_t at = moving(s, index, &word);
    uint64_t seed = entry - s->library->base;
    run.ends[0] = at + 4;
    run.ends[1] = leads_to(word, at);
    if (is_unlike(word) || !in_text(s->library, run.ends[0]) ||
        !in_text(s->library, run.ends[1]) || run.ends[1] == at ||
        run.ends[1] == entry)
        return;
    for (int set = 0; set < SETS; set++) {
        set_begin(&seed, set, entry);
        run.end = &leaves[set];
        for (int i = 0; i < 2; i++)
            old[i] = plant(run.ends[i], BRK);
        coverage_enter(run.vectors);
        for (int i = 2; i-- > 0;)
            (void)plant(run.ends[i], old[i]);
    }
}

/* ---- the two processes -----------------------------------------------------
 */

static void run_all(struct stepping *s, int which)
{
    static const int signals[] = {SIGTRAP, SIGSEGV, SIGBUS, SIGILL, SIGFPE};
    struct sigaction action = {.sa_flags = SA_SIGINFO | SA_ONSTACK};
    stack_t stack = {.ss_size = ALTERNATE, .ss_sp = malloc(ALTERNATE)};
    if (which == 1 &&
        !coverage_patch(s->result, s->library, &s->stubs, s->patches))
        _exit(4);
    action.sa_sigaction = on_signal;
    sigaltstack(&stack, NULL);
    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++)
        sigaction(signals[i], &action, NULL);
    for (size_t i = 0; i < s->library->texts; i++) {
        uintptr_t from = s->library->text[i].start & ~(uintptr_t)4095;
        uintptr_t to = s->library->text[i].start + s->library->text[i].size;
        if (mprotect((void *)from, to - from,
                     PROT_READ | PROT_WRITE | PROT_EXEC))
            _exit(7);
    }
    for (size_t i = 0; i < s->library->count; i++)
        run_function(s, i, s->leaves[which] + i * SETS);
}

static void plain_process(void *s)
{
    run_all(s, 0);
}
static void patched_process(void *s)
{
    run_all(s, 1);
}

/* The name of what differs, or NULL. */
static const char *difference(const struct leaves *a, const struct leaves *b)
{
    static char name[8];
    if (a->tried != b->tried || a->signal != b->signal || a->pc != b->pc)
        return "where it ends";
    for (int i = 0; i < 31; i++)
        if (i != LOST && a->x[i] != b->x[i]) {
            snprintf(name, sizeof name, "x%d", i);
            return name;
        }
    if (a->sp != b->sp)
        return "sp";
    if (a->flags != b->flags)
        return "flags";
    if (a->fpsr != b->fpsr || memcmp(a->v, b->v, sizeof a->v) != 0)
        return "vectors";
    return a->memory == b->memory ? NULL : "memory";
}

static void compare(struct stepping *s, size_t index)
{
    const struct leaves *plain = s->leaves[0] + index * SETS;
    const struct leaves *patched = s->leaves[1] + index * SETS;
    const struct bench_function *function = &s->library->functions[index];
    s->result->stepped++;
    s->result->undecided += !plain->tried && !patched->tried;
    for (int set = 0; set < SETS; set++) {
        const char *which = difference(&plain[set], &patched[set]);
        s->result->compared += plain[set].tried;
        if (!which)
            continue;
        s->result->wrong++;
        coverage_trouble(s->result, "%s+0x%zx, set %d: %s differs",
                         function->name, function->address - s->library->base,
                         set, which);
        return;
    }
}

static bool prepare(struct stepping *s)
{
    uint64_t seed = 1;
    size_t count = s->library->count;
    for (size_t i = 0; i < WORDS; i++)
        run.pattern[i] = bench_random(&seed);
    for (size_t i = 0; i < VECTORS; i++)
        run.vectors[i] = bench_random(&seed);
    run.ends[2] = (uintptr_t)coverage_landing;
    s->patches = calloc(count, sizeof(patas_patch *));
    s->words = calloc(count, sizeof *s->words);
    for (int i = 0; i < 2; i++)
        s->leaves[i] = bench_shared(count * SETS * sizeof(struct leaves));
    for (size_t i = 0; s->words && i < count; i++)
        memcpy(s->words[i], (const void *)s->library->functions[i].address,
               sizeof *s->words);
    return s->patches && s->words && bench_stubs_make(&s->stubs, count, false);
}

void coverage_step(struct coverage *result, const struct bench_library *library)
{
    static void (*const processes[])(void *) = {plain_process, patched_process};
    static struct stepping s;
    char text[64];
    s.result = result;
    s.library = library;
    if (!prepare(&s)) {
        coverage_trouble(result, "the breakpoints can't be set up");
        _exit(5);
    }
    for (int i = 0; i < 2; i++) {
        struct bench_end end = bench_child(processes[i], &s, 600);
        if (bench_ended_well(&end))
            continue;
        coverage_trouble(result, "%s, up to the breakpoints: %s",
                         i ? "patched" : "plain", bench_end_text(&end, text));
        _exit(5);
    }
    for (size_t i = 0; i < library->count; i++)
        compare(&s, i);
}
