/* SPDX-License-Identifier: MIT */
/*
 * The trap handler, and who had the signals before.
 *
 *     a trap's signal ---> ours --- an address of ours? ---> carried, done
 *                            |
 *                            '--- else ---> the program's own action
 *
 * The kernel knows our handler only. The program's action lives in a chain of
 * our own, which a handler reads without a lock while another thread changes
 * it, and which the wrapped sigaction() reads and writes as the kernel would.
 *
 * Everything that the handler calls is async-signal-safe: no lock that code
 * with signals open may hold, no TLS, no libc.
 */
#include "trap.h"
#include "host.h"
#include "os.h"

#include <asm/unistd.h>

/*
 * Who is asked, front first. More than one only if a program put a handler in
 * front of ours behind the wrapper's back: it may call ours as the one that
 * was there before, and then means the next level.
 */
enum {
    CHAIN_LEVELS = 4,
    CHAIN_DEPTH = 16
};

struct chain {
    uintptr_t count;
    struct patas__action level[CHAIN_LEVELS];
};
enum {
    CHAIN_WORDS = sizeof(struct chain) / sizeof(uintptr_t)
};

/* Readers take copy[turn % 2]; a writer fills the other one and then counts
 * `turn` up. Whoever reads and finds `turn` as it was has read one chain. */
struct chain_cell {
    uintptr_t turn;
    struct chain copy[2];
};

static struct chain_cell trap_chain[2]; /* patas__trap_signals */
static int chain_writer;                /* pid of the one who writes, or 0 */
static int armed_pid;                   /* the process that installed it */
static uint64_t carried;
static uint64_t armed_count; /* grows by every patas__trap_arm() */

enum {
    RETRY_SLOTS = 64
};
/* Aligned in 32 bits, too: else clang calls a library for what is atomic. */
typedef uint64_t retry_key __attribute__((aligned(8)));
static retry_key retried[RETRY_SLOTS];

enum {
    SIG_SETMASK_ = 2,
    SIG_BLOCK_ = 0,
    EINVAL_ = 22,
    EFAULT_ = 14
};

/* ---- raw calls ------------------------------------------------------- */

long patas__trap_action(int number, const struct patas__action *action,
                        struct patas__action *old)
{
    return patas__syscall(__NR_rt_sigaction, number, (long)action, (long)old,
                          sizeof(uint64_t), 0, 0);
}

uint64_t patas__trap_mask_block(uint64_t set)
{
    uint64_t old = 0;

    patas__syscall(__NR_rt_sigprocmask, SIG_BLOCK_, (long)&set, (long)&old,
                   sizeof set, 0, 0);
    return old;
}

void patas__trap_mask_set(uint64_t set)
{
    patas__syscall(__NR_rt_sigprocmask, SIG_SETMASK_, (long)&set, 0, sizeof set,
                   0, 0);
}

/* The kernel copies the set before it finds that there is no such operation:
 * EFAULT says that the memory can't be read, EINVAL that it can. */
bool patas__trap_readable(uintptr_t address)
{
    uintptr_t unit = address & ~(uintptr_t)(sizeof(uint64_t) - 1);

    return patas__syscall(__NR_rt_sigprocmask, -1, (long)unit, 0,
                          sizeof(uint64_t), 0, 0) == -EINVAL_;
}

/* ---- the chain ------------------------------------------------------- */

static struct chain_cell *chain_of(int number)
{
    return &trap_chain[number == patas__trap_signals[1]];
}

static void chain_copy(uintptr_t *to, const uintptr_t *from)
{
    for (unsigned i = 0; i < CHAIN_WORDS; i++)
        __atomic_store_n(&to[i], __atomic_load_n(&from[i], __ATOMIC_RELAXED),
                         __ATOMIC_RELAXED);
}

static void chain_read(struct chain_cell *cell, struct chain *chain)
{
    uintptr_t turn, now = __atomic_load_n(&cell->turn, __ATOMIC_ACQUIRE);

    do {
        turn = now;
        chain_copy((uintptr_t *)chain,
                   (const uintptr_t *)&cell->copy[turn % 2]);
        __atomic_thread_fence(__ATOMIC_ACQUIRE);
        now = __atomic_load_n(&cell->turn, __ATOMIC_RELAXED);
    } while (now != turn);
}

static void chain_write(struct chain_cell *cell, const struct chain *chain)
{
    uintptr_t turn = cell->turn + 1;

    __atomic_thread_fence(__ATOMIC_RELEASE);
    chain_copy((uintptr_t *)&cell->copy[turn % 2], (const uintptr_t *)chain);
    __atomic_store_n(&cell->turn, turn, __ATOMIC_RELEASE);
}

/*
 * One writer at a time. All signals are blocked meanwhile, so no handler can
 * wait for the thread that it interrupted. A writer of another process is one
 * that a fork left behind.
 */
static uint64_t chain_lock(void)
{
    uint64_t mask = patas__trap_mask_block(~UINT64_C(0));
    int self = patas__os_pid();
    long pause[2] = {0, 50000}; /* ns; sleeps, so that a holder can run */

    for (;;) {
        int writer = 0;
        if (__atomic_compare_exchange_n(&chain_writer, &writer, self, false,
                                        __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
            return mask;
        if (writer != self &&
            __atomic_compare_exchange_n(&chain_writer, &writer, self, false,
                                        __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
            return mask;
        patas__syscall(__NR_nanosleep, (long)pause, 0, 0, 0, 0, 0);
    }
}

static void chain_unlock(uint64_t mask)
{
    __atomic_store_n(&chain_writer, 0, __ATOMIC_RELEASE);
    patas__trap_mask_set(mask);
}

static bool calls_nobody(const struct patas__action *action)
{
    return action->handler == PATAS__SIG_DFL ||
           action->handler == PATAS__SIG_IGN;
}

/* `action` was found in front of us. The others stay below it, each once; when
 * there are too many, the last but one goes: the last is the only one that is
 * known not to call us. */
static void chain_push(struct chain *chain, const struct patas__action *action)
{
    struct chain next = {.count = 1, .level = {*action}};

    for (unsigned i = 0; !calls_nobody(action) && i < chain->count; i++) {
        if (chain->level[i].handler == action->handler)
            continue;
        if (next.count == CHAIN_LEVELS)
            next.count--;
        next.level[next.count++] = chain->level[i];
    }
    *chain = next;
}

/* What the program's sigaction() does: the front is all that it can see. */
static void chain_replace(struct chain *chain,
                          const struct patas__action *action)
{
    if (calls_nobody(action) || chain->count == 0)
        chain->count = 1;
    chain->level[0] = *action;
}

/* The action for a frame that was chained `depth` times before. */
static struct patas__action chain_level(const struct chain *chain,
                                        uintptr_t depth)
{
    struct patas__action nobody = {0};

    if (chain->count == 0 || depth >= CHAIN_DEPTH)
        return nobody;
    return chain->level[depth < chain->count ? depth : chain->count - 1];
}

/* As chain_level(); a handler that wanted one signal only is then gone. */
static struct patas__action chain_take(int number, uintptr_t depth)
{
    struct chain_cell *cell = chain_of(number);
    struct chain chain;
    struct patas__action action;
    uint64_t mask;

    chain_read(cell, &chain);
    action = chain_level(&chain, depth);
    if (!(action.flags & PATAS__SA_RESETHAND) || calls_nobody(&action) ||
        __atomic_load_n(&armed_pid, __ATOMIC_RELAXED) != patas__os_pid())
        return action;
    mask = chain_lock();
    chain_read(cell, &chain);
    action = chain_level(&chain, depth);
    if ((action.flags & PATAS__SA_RESETHAND) && !calls_nobody(&action)) {
        unsigned at =
            depth < chain.count ? (unsigned)depth : (unsigned)chain.count - 1;
        chain.level[at].handler = PATAS__SIG_DFL;
        chain_write(cell, &chain);
    }
    chain_unlock(mask);
    return action;
}

/* ---- the handler ----------------------------------------------------- */

/*
 * A trap that was met, and whose bytes were put back before we looked, is over:
 * the thread tries again. What traps for a reason of its own does so again at
 * once, so each address is tried once a thread and then goes on to the chain.
 * A new patch there makes it new (armed_count).
 */
static bool trap_is_over(int number, uintptr_t pc)
{
    uint64_t key, seen;
    retry_key *slot;

    if (patas__frame_still_traps(number, pc))
        return false;
    key = (uint64_t)patas__os_tid() << 32 |
          (uint32_t)__atomic_load_n(&armed_count, __ATOMIC_RELAXED);
    key = (key ^ pc) * UINT64_C(0x9e3779b97f4a7c15);
    key = (key ^ key >> 32 ^ pc) | 1;
    slot = &retried[(key >> 8) % RETRY_SLOTS];
    seen = __atomic_load_n(slot, __ATOMIC_RELAXED);
    __atomic_store_n(slot, seen == key ? 0 : key, __ATOMIC_RELAXED);
    return seen != key;
}

/*
 * The default action, with the PC and the details that the kernel gave: the
 * same signal waits, blocked, until the return from the handler opens it on the
 * interrupted code. Process 1 is spared by the kernel from what it can't tell
 * from a kill(), so there the instruction is run again.
 */
static void trap_default(int number, struct patas__signal_info *info,
                         void *context)
{
    struct patas__action action = {0};
    uintptr_t pc = patas__frame_trap(number, info, context);
    int pid = patas__os_pid();
    bool first = pid == 1;
    long failed = -1;

    if (first && info->code <= 0)
        return;
    patas__trap_mask_block(PATAS__SIGNAL_BIT(number));
    *patas__frame_mask(context) &= ~PATAS__SIGNAL_BIT(number);
    if (patas__trap_action(number, &action, NULL))
        patas__syscall(__NR_exit_group, 128 + number, 0, 0, 0, 0, 0);
    if (!first)
        failed = patas__syscall(__NR_rt_tgsigqueueinfo, pid, patas__os_tid(),
                                number, (long)info, 0, 0);
    if (failed && pc)
        patas__frame_resume_at(context, pc);
    else if (failed)
        patas__syscall(__NR_tgkill, pid, patas__os_tid(), number, 0, 0, 0);
}

static patas_fn trap_chained(int number, struct patas__signal_info *info,
                             void *context, uintptr_t depth)
{
    struct patas__action action = chain_take(number, depth);

    /* SIG_IGN does not cover what the kernel itself raises. */
    if (action.handler == PATAS__SIG_IGN && info->code <= 0)
        return NULL;
    if (calls_nobody(&action)) {
        trap_default(number, info, context);
        return NULL;
    }
    if (!(action.flags & PATAS__SA_NODEFER))
        action.mask |= PATAS__SIGNAL_BIT(number);
    if (action.mask)
        patas__trap_mask_block(action.mask);
    return (patas_fn)action.handler;
}

__attribute__((used)) patas_fn
patas__trap_handle(int number, struct patas__signal_info *info, void *context)
{
    uintptr_t pc = patas__frame_trap(number, info, context);
    uintptr_t to = pc ? patas__registry_carry(pc) : 0;
    uintptr_t depth;

    if (to) {
        patas__frame_resume_at(context, to);
        __atomic_fetch_add(&carried, 1, __ATOMIC_RELAXED);
        return NULL;
    }
    /* What was chained before is no trap that may be over: whoever was asked
     * asks us in turn. */
    depth = patas__frame_depth(context);
    if (pc && !depth && trap_is_over(number, pc)) {
        patas__frame_resume_at(context, pc);
        return NULL;
    }
    return trap_chained(number, info, context, depth);
}

/* ---- arming ---------------------------------------------------------- */

static bool is_ours(const struct patas__action *action)
{
    return action->handler == (uintptr_t)patas__trap_entry;
}

static bool same_action(const struct patas__action *a,
                        const struct patas__action *b)
{
    return a->handler == b->handler && a->flags == b->flags &&
           a->mask == b->mask;
}

/* The chain holds what was there before ours is installed, since the next trap
 * may come at once. */
static int arm_signal(int number)
{
    const struct patas__action ours = {
        .handler = (uintptr_t)patas__trap_entry,
        .flags = PATAS__SA_SIGINFO | PATAS__SA_ONSTACK | PATAS__SA_NODEFER |
                 PATAS__SA_RESTART | PATAS__SA_RESTORER,
        .restorer = (uintptr_t)patas__trap_restorer,
    };
    struct patas__action now, replaced;
    struct chain_cell *cell = chain_of(number);
    struct chain chain, before;
    uint64_t mask;
    long failed = patas__trap_action(number, NULL, &now);

    if (failed || is_ours(&now))
        return (int)-failed;
    mask = chain_lock();
    chain_read(cell, &before);
    chain = before;
    chain_push(&chain, &now);
    chain_write(cell, &chain);
    failed = patas__trap_action(number, &ours, &replaced);
    if (failed) {
        chain_write(cell, &before);
    } else if (!is_ours(&replaced) && !same_action(&replaced, &now)) {
        chain_push(&before, &replaced);
        chain_write(cell, &before);
    }
    chain_unlock(mask);
    return (int)-failed;
}

int patas__trap_arm(void)
{
    int failed = arm_signal(patas__trap_signals[0]);

    if (!failed)
        failed = arm_signal(patas__trap_signals[1]);
    if (failed)
        return failed;
    __atomic_fetch_add(&armed_count, 1, __ATOMIC_RELAXED);
    __atomic_store_n(&armed_pid, patas__os_pid(), __ATOMIC_RELEASE);
    return 0;
}

uint64_t patas__trap_carried(void)
{
    return __atomic_load_n(&carried, __ATOMIC_RELAXED);
}

void patas__trap_forked(void)
{
    __atomic_store_n(&carried, 0, __ATOMIC_RELAXED);
    __atomic_store_n(&chain_writer, 0, __ATOMIC_RELAXED);
    if (__atomic_load_n(&armed_pid, __ATOMIC_RELAXED))
        __atomic_store_n(&armed_pid, patas__os_pid(), __ATOMIC_RELAXED);
}

/* ---- the C library's sigaction() ------------------------------------- */

/* struct sigaction of glibc and of musl. */
struct libc_action {
    uintptr_t handler;
    uint64_t mask[16]; /* 1 024 signals, of which the kernel has 64 */
    int flags;
    uintptr_t restorer;
};

/* What the kernel would store (kernel/signal.c, do_sigaction): two signals
 * can't be blocked, and the C library may add its restorer. */
static struct patas__action from_libc(const struct libc_action *libc)
{
    struct patas__action action = {
        .handler = libc->handler,
        .flags = (uint32_t)libc->flags | patas__libc_flags,
        .restorer = patas__libc_flags & PATAS__SA_RESTORER
                        ? (uintptr_t)patas__trap_restorer
                        : libc->restorer,
        .mask = libc->mask[0] & ~(PATAS__SIGNAL_BIT(PATAS__SIGKILL) |
                                  PATAS__SIGNAL_BIT(PATAS__SIGSTOP)),
    };

    return action;
}

static void to_libc(const struct patas__action *action,
                    struct libc_action *libc)
{
    struct libc_action result = {
        .handler = action->handler,
        .mask = {action->mask},
        .flags = (int)(uint32_t)action->flags,
        .restorer = action->restorer,
    };

    *libc = result;
}

int patas__trap_sigaction(int number, const void *action, void *old,
                          patas_fn original)
{
    struct chain_cell *cell = chain_of(number);
    struct patas__action before, next = {0};
    struct chain chain;
    uint64_t mask = 0;

    /* A child of vfork() shares this memory but not the kernel's actions. */
    if (!patas__trap_raises(number) ||
        __atomic_load_n(&armed_pid, __ATOMIC_ACQUIRE) != patas__os_pid())
        return ((int (*)(int, const void *, void *))original)(number, action,
                                                              old);
    if (action) {
        next = from_libc(action);
        mask = chain_lock();
    }
    chain_read(cell, &chain);
    before = chain_level(&chain, 0);
    if (action) {
        chain_replace(&chain, &next);
        chain_write(cell, &chain);
        chain_unlock(mask);
    }
    if (old)
        to_libc(&before, old);
    return 0;
}
