/* SPDX-License-Identifier: MIT */
/*
 * Which bytes trap in 64-bit code: asked of the processor itself, once a
 * process.
 *
 * CC (int3) and D6 are promised for ever; the others are invalid in 64-bit
 * mode today (SDM volume 2, table A-2; APM volume 3, table A-1), and an
 * extension may give them a meaning. The question is put by a helper that
 * shares our memory but not our signal handlers: the program sees no signal,
 * and its own thread never runs a byte of this.
 */
#include "host.h"
#include "os.h"
#include "trap.h"

#include <asm/unistd.h>
#include <linux/futex.h>

enum {
    PROMISED = 2,
    CANDIDATES = 14,
    TAILS = 2,
    SLOT = 16
};

static const uint8_t candidates[CANDIDATES] = {
    0x06, 0x07, 0x0e, 0x16, 0x17, 0x1e, 0x1f,
    0x27, 0x2f, 0x37, 0x3f, 0x60, 0x61, 0xce,
};

/* First byte behind the candidate; int3 behind that. With all registers zero
 * none of them, read as ModRM or as an instruction, reaches memory of ours. An
 * opcode traps or not whatever follows it (SDM vol. 2, A.3), so one ModRM of
 * each kind will do: a signal takes as long as planning ten patches. */
static const uint8_t tails[TAILS] = {0x05, 0xc5};

/* The list as it is before the question, which is what is promised. The SIGILL
 * kinds go first: a debugger swallows SIGTRAP. */
static uint8_t trap_bytes[16] = {0xd6, 0xcc};
static unsigned trap_count = PROMISED;
static bool trap_asked;
static uint64_t trap_set[4] = {[0xd6 / 64] = UINT64_C(1) << 0xd6 % 64 |
                                             UINT64_C(1) << 0xcc % 64};
_Static_assert(0xd6 / 64 == 0xcc / 64, "one word holds both");

/* Lies below the helper's stack; the helper finds it by an address that is
 * rounded down, since a signal handler gets no argument of ours. */
struct probe {
    int alive;
    unsigned at; /* the slot that is tried */
    uintptr_t stack;
    const uint8_t *code;
    bool trapped[CANDIDATES * TAILS];
};
enum {
    PROBE_SIZE = 65536,  /* and aligned so */
    PROBE_SIGNAL = 40960 /* the alternate stack's end; ours above it */
};

static void probe_signal(int number, struct patas__signal_info *info,
                         void *context)
{
    uintptr_t here = (uintptr_t)__builtin_frame_address(0);
    struct probe *probe = (struct probe *)(here & ~(uintptr_t)(PROBE_SIZE - 1));

    probe->trapped[probe->at] =
        number == PATAS__SIGILL && info->code > 0 &&
        patas__frame_pc(context) == (uintptr_t)probe->code + probe->at * SLOT;
    patas__frame_return(context, probe->stack);
}

/* Whatever the bytes turn out to do ends in the handler: on a stack of its own,
 * with every signal that code can raise open, and none else. */
static void probe_run(void *argument)
{
    static const int8_t raised[] = {PATAS__SIGILL, PATAS__SIGTRAP,
                                    PATAS__SIGBUS, PATAS__SIGFPE,
                                    PATAS__SIGSEGV};
    const struct patas__action action = {
        .handler = (uintptr_t)probe_signal,
        .flags = PATAS__SA_SIGINFO | PATAS__SA_ONSTACK | PATAS__SA_NODEFER |
                 PATAS__SA_RESTORER,
        .restorer = (uintptr_t)patas__trap_restorer,
    };
    struct probe *probe = argument;
    uint64_t blocked = ~UINT64_C(0);
    const struct {
        void *base;
        uint64_t flags;
        size_t size;
    } stack = {(uint8_t *)argument + 4096, 0, PROBE_SIGNAL - 4096};

    if (patas__syscall(__NR_sigaltstack, (long)&stack, 0, 0, 0, 0, 0))
        return;
    for (unsigned i = 0; i < sizeof raised; i++) {
        if (patas__trap_action(raised[i], &action, NULL))
            return;
        blocked &= ~PATAS__SIGNAL_BIT(raised[i]);
    }
    patas__trap_mask_set(blocked);
    for (unsigned i = 0; i < CANDIDATES * TAILS; i++) {
        __atomic_store_n(&probe->at, i, __ATOMIC_SEQ_CST);
        patas__trap_probe(probe->code + i * SLOT, &probe->stack);
    }
}

static void probe_fill(uint8_t *code, size_t size)
{
    memset(code, 0xcc, size);
    for (unsigned i = 0; i < CANDIDATES * TAILS; i++) {
        code[i * SLOT] = candidates[i / TAILS];
        code[i * SLOT + 1] = tails[i % TAILS];
    }
}

/* Two seconds are a million times what it takes: a byte that has become an
 * instruction that never ends is no trap. */
static void probe_await(const struct probe *probe, int helper)
{
    const long limit[2] = {2, 0};

    while (__atomic_load_n(&probe->alive, __ATOMIC_ACQUIRE))
        if (patas__syscall(__NR_futex, (long)&probe->alive, FUTEX_WAIT, 1,
                           (long)limit, 0, 0) == -110 /* ETIMEDOUT */)
            patas__syscall(__NR_kill, helper, PATAS__SIGKILL, 0, 0, 0, 0);
    patas__trap_bury(helper);
}

static void trap_add(uint8_t byte)
{
    trap_bytes[trap_count - 1] = byte; /* CC stays the last */
    trap_bytes[trap_count++] = 0xcc;
    __atomic_fetch_or(&trap_set[byte / 64], UINT64_C(1) << byte % 64,
                      __ATOMIC_RELEASE);
}

static void probe_evaluate(const struct probe *probe)
{
    for (unsigned c = 0; c < CANDIDATES; c++) {
        bool all = true;
        for (unsigned t = 0; t < TAILS; t++)
            all = all && probe->trapped[c * TAILS + t];
        if (all)
            trap_add(candidates[c]);
    }
}

static void probe_all(uint8_t *memory)
{
    const size_t code_size = 4096;
    struct probe *probe = (struct probe *)memory;
    uint8_t *code = memory + PROBE_SIZE;
    long helper;

    probe_fill(code, code_size);
    if (patas__os_protect(code, code_size, PATAS__READ | PATAS__EXEC))
        return;
    probe->code = code;
    probe->alive = 1;
    helper = patas__trap_helper(code, &probe->alive, probe_run, probe);
    if (helper < 0)
        return;
    probe_await(probe, (int)helper);
    probe_evaluate(probe);
}

const uint8_t *patas__trap_bytes(unsigned *count)
{
    const size_t size = 2 * PROBE_SIZE + 4096; /* to align it, and the code */
    uintptr_t start;
    void *memory;

    if (!trap_asked &&
        !patas__os_map(size, PATAS__READ | PATAS__WRITE, &memory)) {
        start =
            ((uintptr_t)memory + PROBE_SIZE - 1) & ~(uintptr_t)(PROBE_SIZE - 1);
        probe_all((uint8_t *)start);
        patas__os_unmap(memory, size);
    }
    trap_asked = true;
    *count = trap_count;
    return trap_bytes;
}

bool patas__trap_is(uint8_t byte)
{
    return __atomic_load_n(&trap_set[byte / 64], __ATOMIC_ACQUIRE) >>
               byte % 64 &
           1;
}
