/* SPDX-License-Identifier: MIT */
/*
 * Threads that no trap may meet, held for the length of one commit.
 *
 *     this process                      helper (shares memory and files)
 *     ------------                      ------
 *     who blocks a trap's signal?
 *     nobody: done
 *     clone, phase = GO  ------------>  seize and interrupt each that blocks
 *     waits                             each has stopped: move its PC if it
 *                                       stands mid-window
 *                                       again, until nobody new blocks
 *     commits            <------------  phase = HOLDING
 *     phase = RELEASE    ------------>  detach each, with the signal that it
 *     waits until it is gone            was about to take; exit
 *
 * ptrace can't be used on one's own thread group, hence the process. The kernel
 * clears `phase` when it ends, so its death wakes whoever waits for it, and
 * lets its threads go. Nothing here takes a lock or allocates while threads are
 * held, and nothing needs anything of them.
 *
 * What counts is the mask that a thread has at the time. One that sleeps in
 * sigwaitinfo() or ppoll() with another mask for that long is not held; it
 * stands behind a system call, where no window with traps has a boundary.
 */
#include "host.h"
#include "os.h"
#include "trap.h"

#include <asm/unistd.h>
#include <linux/fcntl.h>
#include <linux/futex.h>
#include <linux/prctl.h>
#include <linux/ptrace.h>
#include <linux/sched.h>
#include <linux/stat.h>
#include <linux/wait.h>

enum {
    HELPER_GONE = 0, /* written by the kernel */
    HELPER_STARTS = 1,
    HELPER_GO = 2,
    HELPER_HOLDS = 3,
    HELPER_RELEASE = 4
};

/* errno values of the kernel; <errno.h> is the C library's. */
enum {
    HOLD_EPERM = 1,
    HOLD_ENOENT = 2,
    HOLD_ESRCH = 3,
    HOLD_EINTR = 4,
    HOLD_ECHILD = 10,
    HOLD_EAGAIN = 11,
    HOLD_ENOMEM = 12,
    HOLD_EINVAL = 22,
    HOLD_ENOSYS = 38,
    HOLD_ETIMEDOUT = 110
};

enum {
    HELPER_STACK = 65536,
    SLEEP_TURNS = 200, /* of 10 ms: how long a page fault may keep a thread */
    LIST_TURNS = 64    /* while threads come and go */
};

enum held_stage {
    HELD_WAITING,   /* interrupted, has not stopped yet */
    HELD_STOPPED,   /* in a ptrace stop */
    HELD_IN_KERNEL, /* asleep in a system call; stops before it leaves it */
    HELD_GONE
};

struct held_thread {
    int tid;
    uint8_t stage;
    uint8_t signal; /* it was about to take this one */
    uint8_t sleeps; /* turns in which it was found asleep */
};

/* The helper's memory: a guard page, its stack, this. */
struct holder {
    int phase; /* a futex, and the helper's child_tid */
    int process;
    int caller;
    int tasks; /* descriptor of /proc/self/task */
    uintptr_t (*carry)(uintptr_t pc);
    void *memory;
    size_t size;
    unsigned moved;
    unsigned waiting;
    int failed_errno; /* 0: it was not a failure that it knew of */
    int failed_tid;
    size_t capacity;
    size_t count;
    struct held_thread threads[];
};

/* ---- raw calls ------------------------------------------------------- */

long patas__trap_helper(void *stack_top, int *alive, void (*run)(void *),
                        void *argument)
{
    /* The files are shared, not copied: a copy would keep the other ends of
     * pipes open. No exit signal, and no tracer inherits it. */
    uint64_t flags =
        CLONE_VM | CLONE_FILES | CLONE_UNTRACED | CLONE_CHILD_CLEARTID;
    if (patas__translated())
        return -HOLD_ENOSYS;
    uint64_t mask = patas__trap_mask_block(~UINT64_C(0));
    long pid = patas__trap_spawn(flags, stack_top, alive, run, argument);

    patas__trap_mask_set(mask);
    return pid;
}

void patas__trap_bury(int helper)
{
    while (patas__syscall(__NR_wait4, helper, 0, __WALL, 0, 0, 0) ==
           -HOLD_EINTR)
        ;
}

static long hold_ptrace(long request, int tid, long address, long data)
{
    return patas__syscall(__NR_ptrace, request, tid, address, data, 0, 0);
}

/* Shared futexes: the kernel's wake at the helper's end is one. */
static void phase_await_change(const int *phase, int value)
{
    while (__atomic_load_n(phase, __ATOMIC_ACQUIRE) == value)
        patas__syscall(__NR_futex, (long)phase, FUTEX_WAIT, value, 0, 0, 0);
}

static void phase_set(int *phase, int from, int to)
{
    if (__atomic_compare_exchange_n(phase, &from, to, false, __ATOMIC_SEQ_CST,
                                    __ATOMIC_SEQ_CST))
        patas__syscall(__NR_futex, (long)phase, FUTEX_WAKE, 1, 0, 0, 0);
}

/* ---- what /proc tells of a thread ------------------------------------ */

struct task_look {
    bool gone;   /* or a zombie */
    bool runs;   /* or would, if it had a processor */
    bool blocks; /* a signal of a trap */
    bool kernel; /* a thread of the kernel's in our process: io_uring */
};

/* "123/status"; `text` has room for 32. */
static void task_path(char *text, int tid, const char *file)
{
    char digits[12];
    unsigned n = 0;

    for (unsigned rest = (unsigned)tid; rest || n == 0; rest /= 10)
        digits[n++] = (char)('0' + rest % 10);
    while (n > 0)
        *text++ = digits[--n];
    *text++ = '/';
    while ((*text++ = *file++))
        ;
}

static long task_open(int tasks, int tid, const char *file)
{
    char path[32];

    task_path(path, tid, file);
    return patas__syscall(__NR_openat, tasks, (long)path, O_RDONLY | O_CLOEXEC,
                          0, 0, 0);
}

static bool begins(const char *text, const char *with)
{
    while (*with && *text == *with)
        text++, with++;
    return *with == '\0';
}

static uint64_t hold_number(const char *text, unsigned base)
{
    uint64_t value = 0;

    for (;; text++) {
        unsigned digit = (unsigned)(*text - '0');
        if (digit > 9 && base == 16)
            digit = (unsigned)((*text | 0x20) - 'a') + 10;
        if (digit >= base || (*text < '0'))
            return value;
        value = value * base + digit;
    }
}

/*
 * io_uring's workers live in our thread group with everything blocked, and run
 * no instruction of ours; interrupting them would only disturb. Their names
 * anybody may take, so the flags decide: PF_IO_WORKER, PF_USER_WORKER
 * (linux/sched.h), the 9th field, counted behind the name's last bracket. The
 * flags alone won't do: older kernels mean other things by these bits. A
 * worker that has not taken its name yet is held, which does no harm.
 */
static bool task_is_worker(int tasks, int tid)
{
    char text[512];
    long fd = task_open(tasks, tid, "stat");
    long size = 0, at, fields = 2;

    if (fd >= 0) {
        size =
            patas__syscall(__NR_read, fd, (long)text, sizeof text - 1, 0, 0, 0);
        patas__os_close((int)fd);
    }
    if (size <= 0)
        return false;
    text[size] = '\0';
    for (at = size; at > 0 && text[at] != ')'; at--)
        ;
    for (; text[at] && fields < 9; at++)
        fields += text[at] == ' ';
    return (hold_number(text + at, 10) & 0x4010) != 0;
}

static bool hold_blocks(uint64_t mask)
{
    return mask & (PATAS__SIGNAL_BIT(patas__trap_signals[0]) |
                   PATAS__SIGNAL_BIT(patas__trap_signals[1]));
}

static void task_line(const char *line, struct task_look *look)
{
    if (begins(line, "Name:\tiou-") || begins(line, "Name:\tvhost-"))
        look->kernel = true;
    else if (begins(line, "State:\tZ") || begins(line, "State:\tX"))
        look->gone = true;
    else if (begins(line, "State:\tR"))
        look->runs = true;
    else if (begins(line, "SigBlk:\t"))
        look->blocks = hold_blocks(hold_number(line + 8, 16));
}

/* Line by line, since a list of groups makes the file as long as it likes. */
static int task_read(int fd, struct task_look *look)
{
    char text[512], line[32];
    unsigned kept = 0;

    for (;;) {
        long size =
            patas__syscall(__NR_read, fd, (long)text, sizeof text, 0, 0, 0);
        if (size == -HOLD_EINTR)
            continue;
        if (size <= 0)
            return (int)-size;
        for (long i = 0; i < size; i++) {
            if (text[i] != '\n') {
                if (kept < sizeof line - 1)
                    line[kept++] = text[i];
                continue;
            }
            line[kept] = '\0';
            kept = 0;
            task_line(line, look);
        }
    }
}

/* 0 or an errno value; a thread that has gone meanwhile is no failure. */
static int task_see(int tasks, int tid, struct task_look *look)
{
    long fd = task_open(tasks, tid, "status");
    int failed;

    *look = (struct task_look){0};
    if (fd == -HOLD_ENOENT || fd == -HOLD_ESRCH) {
        look->gone = true;
        return 0;
    }
    if (fd < 0)
        return (int)-fd;
    failed = task_read((int)fd, look);
    patas__os_close((int)fd);
    if (failed == HOLD_ESRCH) {
        look->gone = true;
        return 0;
    }
    if (look->kernel && look->blocks)
        look->kernel = task_is_worker(tasks, tid);
    if (look->gone || look->kernel)
        look->blocks = false;
    return failed;
}

/*
 * True if the thread sleeps in a system call: /proc says "running", or a call's
 * number (-1 in a page fault) with its arguments, then stack and PC. With an
 * interruption pending it stops before it runs another instruction.
 */
static bool task_in_call(const struct holder *holder, int tid)
{
    char text[256];
    long fd = task_open(holder->tasks, tid, "syscall");
    long size = 0, at;

    if (fd >= 0) {
        size =
            patas__syscall(__NR_read, fd, (long)text, sizeof text - 1, 0, 0, 0);
        patas__os_close((int)fd);
    }
    if (size <= 0 || text[0] < '0' || text[0] > '9')
        return false;
    text[size] = '\0';
    for (at = size; at > 0 && text[at] != 'x'; at--)
        ;
    return !holder->carry((uintptr_t)hold_number(text + at + 1, 16));
}

/* ---- the list of threads --------------------------------------------- */

/* A pass over /proc/self/task. The kernel ends the list early if the thread
 * that it stands at dies, so the directory's link count (threads + 2) tells
 * whether all were seen. */
struct task_pass {
    int tasks;
    int failed;
    unsigned seen;
    unsigned expected;
    long at, size;
    _Alignas(8) char entries[1024];
};

static unsigned task_count(int tasks)
{
    struct statx about;

    about.stx_nlink = 0;
    if (patas__syscall(__NR_statx, tasks, (long)"", AT_EMPTY_PATH, STATX_NLINK,
                       (long)&about, 0) ||
        about.stx_nlink < 2)
        return 0;
    return about.stx_nlink - 2;
}

static void pass_begin(struct task_pass *pass, int tasks)
{
    pass->tasks = tasks;
    pass->failed = 0;
    pass->seen = 0;
    pass->expected = task_count(tasks);
    pass->at = pass->size = 0;
    patas__syscall(__NR_lseek, tasks, 0, 0, 0, 0, 0);
}

/* The next thread, or 0 at the end or on a failure. */
static int pass_next(struct task_pass *pass)
{
    /* struct linux_dirent64: inode 8, offset 8, length 2, type 1, name */
    while (!pass->failed) {
        const char *entry = pass->entries + pass->at;
        if (pass->at >= pass->size) {
            pass->size = patas__syscall(__NR_getdents64, pass->tasks,
                                        (long)pass->entries,
                                        sizeof pass->entries, 0, 0, 0);
            pass->at = 0;
            if (pass->size < 0)
                pass->failed = (int)-pass->size;
            if (pass->size <= 0)
                return 0;
            continue;
        }
        pass->at += patas__load16(entry + 16);
        if (entry[19] < '0' || entry[19] > '9')
            continue;
        pass->seen++;
        return (int)hold_number(entry + 19, 10);
    }
    return 0;
}

static bool pass_complete(const struct task_pass *pass)
{
    unsigned now = task_count(pass->tasks);

    return pass->seen >= pass->expected || pass->seen >= now;
}

/* ---- the helper ------------------------------------------------------ */

static bool hold_fail(struct holder *holder, int tid, long error)
{
    holder->failed_tid = tid;
    holder->failed_errno = (int)error;
    return false;
}

static struct held_thread *hold_find(struct holder *holder, int tid)
{
    for (size_t i = holder->count; i-- > 0;)
        if (holder->threads[i].tid == tid &&
            holder->threads[i].stage != HELD_GONE)
            return &holder->threads[i];
    return NULL;
}

static bool hold_seize(struct holder *holder, int tid)
{
    struct task_look look;
    long failed;

    if (holder->count == holder->capacity)
        return hold_fail(holder, tid, HOLD_EAGAIN);
    failed = hold_ptrace(PTRACE_SEIZE, tid, 0, 0);
    if (failed) {
        /* A thread that ends is refused, too. */
        if (task_see(holder->tasks, tid, &look) || look.blocks)
            return hold_fail(holder, tid, -failed);
        return true;
    }
    holder->threads[holder->count++] =
        (struct held_thread){.tid = tid, .stage = HELD_WAITING};
    holder->waiting++;
    hold_ptrace(PTRACE_INTERRUPT, tid, 0, 0);
    return true;
}

/*
 * A stop: the interruption, a stop of the whole process, or a signal that is
 * about to be delivered and will be when we detach. With a trap's signal the
 * thread already met a trap: the PC is the handler's business.
 */
static bool hold_stopped(struct holder *holder, struct held_thread *thread,
                         int status)
{
    uintptr_t pc = 0, to;
    long failed;

    if ((status & 0xff) != 0x7f) { /* it ended */
        thread->stage = HELD_GONE;
        return true;
    }
    thread->stage = HELD_STOPPED;
    thread->signal = status >> 16 ? 0 : (uint8_t)(status >> 8);
    if (patas__trap_raises(thread->signal))
        return true;
    failed = patas__thread_pc(thread->tid, &pc);
    to = failed ? 0 : holder->carry(pc);
    if (to) {
        failed = patas__thread_resume_at(thread->tid, to);
        holder->moved += !failed;
    }
    if (failed == -HOLD_ESRCH) /* killed in its stop: runs no more */
        failed = 0;
    return failed ? hold_fail(holder, thread->tid, -failed) : true;
}

/* All stops that have been reported by now. */
static bool hold_drain(struct holder *holder)
{
    for (;;) {
        int status = 0;
        struct held_thread *thread;
        long tid = patas__syscall(__NR_wait4, -1, (long)&status,
                                  WNOHANG | __WALL, 0, 0, 0);
        if (tid <= 0)
            return true;
        thread = hold_find(holder, (int)tid);
        if (!thread)
            continue;
        holder->waiting -= thread->stage == HELD_WAITING;
        if (!hold_stopped(holder, thread, status))
            return false;
    }
}

/*
 * Those that do not stop: ended (a first thread that ended is not reported
 * before the last has), or asleep where nothing interrupts (vfork, a disk).
 * One that runs stops as soon as it gets a processor: how long that takes is
 * the load's affair, and no reason to give up.
 */
static bool hold_look_after(struct holder *holder)
{
    for (size_t i = 0; i < holder->count; i++) {
        struct held_thread *thread = &holder->threads[i];
        struct task_look look;
        if (thread->stage != HELD_WAITING)
            continue;
        if (!task_see(holder->tasks, thread->tid, &look) && look.gone)
            thread->stage = HELD_GONE;
        else if (task_in_call(holder, thread->tid))
            thread->stage = HELD_IN_KERNEL;
        else if (!look.runs && ++thread->sleeps == SLEEP_TURNS)
            return hold_fail(holder, thread->tid, HOLD_ETIMEDOUT);
        else
            continue;
        holder->waiting--;
    }
    return true;
}

/* Until each thread on the list stands. A stop sends SIGCHLD, which is blocked
 * here and waited for. */
static bool hold_settle(struct holder *holder)
{
    const uint64_t child = PATAS__SIGNAL_BIT(PATAS__SIGCHLD);
    const long turn[2] = {0, 10000000};

    for (;;) {
        long got;
        if (!hold_drain(holder))
            return false;
        if (holder->waiting == 0)
            return true;
        got = patas__syscall(__NR_rt_sigtimedwait, (long)&child, 0, (long)turn,
                             sizeof child, 0, 0);
        if (got != PATAS__SIGCHLD && !hold_look_after(holder))
            return false;
    }
}

/* Seizes each that blocks and is new; false on a failure. */
static bool hold_pass(struct holder *holder, bool *complete)
{
    struct task_pass pass;
    struct task_look look;
    int tid, failed;

    pass_begin(&pass, holder->tasks);
    while ((tid = pass_next(&pass)) != 0) {
        if (tid == holder->caller || hold_find(holder, tid))
            continue;
        failed = task_see(holder->tasks, tid, &look);
        if (failed)
            return hold_fail(holder, tid, failed);
        if (look.blocks && !hold_seize(holder, tid))
            return false;
    }
    if (pass.failed)
        return hold_fail(holder, 0, pass.failed);
    *complete = pass_complete(&pass);
    return true;
}

static bool hold_all(struct holder *holder)
{
    size_t before;
    bool complete;

    for (unsigned turn = 0; turn < LIST_TURNS; turn++) {
        before = holder->count;
        if (!hold_pass(holder, &complete) || !hold_settle(holder))
            return false;
        if (holder->count == before && complete)
            return true;
    }
    return hold_fail(holder, 0, HOLD_EAGAIN);
}

/* A thread that has not stopped is let go by our end. */
static void hold_let_go(struct holder *holder)
{
    for (size_t i = 0; i < holder->count; i++) {
        struct held_thread *thread = &holder->threads[i];
        int status;
        if ((thread->stage == HELD_WAITING ||
             thread->stage == HELD_IN_KERNEL) &&
            patas__syscall(__NR_wait4, thread->tid, (long)&status,
                           WNOHANG | __WALL, 0, 0, 0) == thread->tid)
            hold_stopped(holder, thread, status);
        if (thread->stage == HELD_STOPPED)
            hold_ptrace(PTRACE_DETACH, thread->tid, 0, thread->signal);
    }
}

/* Until the commit is over. Threads that are killed meanwhile are buried, since
 * an execve() in this process waits for that. */
static void hold_on(struct holder *holder)
{
    const long turn[2] = {0, 50000000};

    while (__atomic_load_n(&holder->phase, __ATOMIC_ACQUIRE) == HELPER_HOLDS) {
        patas__syscall(__NR_futex, (long)&holder->phase, FUTEX_WAIT,
                       HELPER_HOLDS, (long)turn, 0, 0);
        hold_drain(holder);
    }
}

/* A fault of ours (a breakpoint that a debugger left in this code, say) ends
 * the helper, not by a signal: a core dump would end the process, too. */
static bool hold_prepare(void)
{
    static const int8_t raised[] = {PATAS__SIGILL, PATAS__SIGTRAP,
                                    PATAS__SIGBUS, PATAS__SIGFPE,
                                    PATAS__SIGSEGV};
    const struct patas__action leave = {
        .handler = (uintptr_t)patas__trap_leave,
        .flags = PATAS__SA_RESTORER,
        .restorer = (uintptr_t)patas__trap_restorer,
    };
    const struct patas__action plain = {0};
    uint64_t blocked = ~UINT64_C(0);

    for (unsigned i = 0; i < sizeof raised; i++) {
        if (patas__trap_action(raised[i], &leave, NULL))
            return false;
        blocked &= ~PATAS__SIGNAL_BIT(raised[i]);
    }
    patas__trap_mask_set(blocked);
    return patas__trap_action(PATAS__SIGCHLD, &plain, NULL) == 0;
}

static void hold_run(void *argument)
{
    struct holder *holder = argument;

    patas__syscall(__NR_prctl, PR_SET_PDEATHSIG, PATAS__SIGKILL, 0, 0, 0, 0);
    if (patas__syscall(__NR_getppid, 0, 0, 0, 0, 0, 0) != holder->process ||
        !hold_prepare())
        return;
    phase_await_change(&holder->phase, HELPER_STARTS);
    if (__atomic_load_n(&holder->phase, __ATOMIC_ACQUIRE) != HELPER_GO)
        return;
    if (hold_all(holder)) {
        phase_set(&holder->phase, HELPER_GO, HELPER_HOLDS);
        hold_on(holder);
    }
    hold_let_go(holder);
}

/* ---- the caller ------------------------------------------------------ */

/* EAGAIN: threads came and went too fast to be sure of all. ETIMEDOUT: one is
 * kept by a page fault that does not end. ptrace itself is not to blame. */
static patas_status hold_refuse(patas_error *error, int tid, int number)
{
    bool held_up = number == HOLD_EAGAIN || number == HOLD_ETIMEDOUT;
    unsigned reason =
        held_up ? PATAS_REASON_THREAD_BLOCKS : PATAS_REASON_NO_PTRACE;

    if (error)
        *error = (patas_error){.status = PATAS_ERR_BLOCKED,
                               .os_errno = number,
                               .tid = tid,
                               .reason = reason};
    return PATAS_ERR_BLOCKED;
}

/* Where /proc is not to be had: unshare(2) finds fault with CLONE_THREAD if
 * there is a second thread, and does nothing if there is none. */
static bool hold_alone(void)
{
    return patas__syscall(__NR_unshare, CLONE_THREAD, 0, 0, 0, 0, 0) == 0;
}

/* The first thread but the caller that blocks; 0 = nobody; -1 = can't tell,
 * with an errno value in `*failed`. */
static int hold_anybody(int tasks, int caller, int *failed)
{
    for (unsigned turn = 0; turn < LIST_TURNS; turn++) {
        struct task_pass pass;
        struct task_look look;
        bool caller_seen = false;
        int tid;
        pass_begin(&pass, tasks);
        while ((tid = pass_next(&pass)) != 0) {
            caller_seen = caller_seen || tid == caller;
            if (tid == caller)
                continue;
            *failed = task_see(tasks, tid, &look);
            if (*failed)
                return -1;
            if (look.blocks)
                return tid;
        }
        *failed = pass.failed;
        if (pass.failed)
            return -1;
        /* Another /proc than our own PID namespace's has other numbers. */
        *failed = HOLD_ESRCH;
        if (!caller_seen && pass_complete(&pass))
            return -1;
        if (pass_complete(&pass))
            return 0;
    }
    *failed = HOLD_EAGAIN;
    return -1;
}

static struct holder *holder_make(int tasks, int caller,
                                  uintptr_t (*carry)(uintptr_t pc))
{
    size_t capacity = 2 * (size_t)task_count(tasks) + 256;
    size_t page = patas__os_page();
    size_t size = page + HELPER_STACK + sizeof(struct holder) +
                  capacity * sizeof(struct held_thread);
    struct holder *holder;
    void *memory;

    if (patas__os_map(size, PATAS__READ | PATAS__WRITE, &memory))
        return NULL;
    if (patas__os_protect(memory, page, 0)) {
        patas__os_unmap(memory, size);
        return NULL;
    }
    holder = (struct holder *)((char *)memory + page + HELPER_STACK);
    holder->process = patas__os_pid();
    holder->caller = caller;
    holder->tasks = tasks;
    holder->carry = carry;
    holder->memory = memory;
    holder->size = size;
    holder->capacity = capacity;
    return holder;
}

/* One try. True if all are held; else the helper is gone, and why stands in
 * `holder`. */
static bool hold_try(struct holder *holder, struct patas__hold *hold,
                     bool declare)
{
    long helper;

    holder->phase = HELPER_STARTS;
    holder->failed_errno = 0;
    holder->failed_tid = 0;
    holder->moved = holder->waiting = 0;
    holder->count = 0;
    helper = patas__trap_helper(holder, &holder->phase, hold_run, holder);
    if (helper < 0) {
        holder->failed_errno = (int)-helper;
        return false;
    }
    if (declare)
        patas__syscall(__NR_prctl, PR_SET_PTRACER, helper, 0, 0, 0, 0);
    phase_set(&holder->phase, HELPER_STARTS, HELPER_GO);
    phase_await_change(&holder->phase, HELPER_GO);
    if (__atomic_load_n(&holder->phase, __ATOMIC_ACQUIRE) == HELPER_HOLDS) {
        hold->helper = (int)helper;
        return true;
    }
    patas__trap_bury((int)helper);
    if (holder->failed_errno == 0)
        holder->failed_errno = HOLD_ECHILD;
    return false;
}

/* Yama lets a child trace its parent only where the parent has said so. What a
 * program said before about itself can't be read, so this is done only if it
 * is needed, and only where Yama is (others answer EINVAL). */
static bool hold_is_yama(const struct holder *holder)
{
    return holder->failed_errno == HOLD_EPERM && holder->failed_tid != 0 &&
           patas__syscall(__NR_prctl, PR_SET_PTRACER, 0, 0, 0, 0, 0) == 0;
}

static patas_status hold_blockers(struct patas__hold *hold, int first,
                                  int tasks, int caller,
                                  uintptr_t (*carry)(uintptr_t pc),
                                  patas_error *error)
{
    struct holder *holder = holder_make(tasks, caller, carry);
    int failed, tid;

    if (!holder)
        return hold_refuse(error, first, HOLD_ENOMEM);
    if (hold_try(holder, hold, false) ||
        (hold_is_yama(holder) && hold_try(holder, hold, true))) {
        hold->state = holder;
        hold->moved = holder->moved;
        for (size_t i = 0; i < holder->count; i++)
            hold->held += holder->threads[i].stage != HELD_GONE;
        return PATAS_OK;
    }
    failed = holder->failed_errno;
    tid = holder->failed_tid ? holder->failed_tid : first;
    patas__os_unmap(holder->memory, holder->size);
    return hold_refuse(error, tid, failed);
}

patas_status patas__trap_hold(struct patas__hold *hold,
                              uintptr_t (*carry)(uintptr_t pc),
                              patas_error *error)
{
    patas_status status = PATAS_OK;
    int caller = patas__os_tid();
    int failed = 0, first;
    long tasks;

    *hold = (struct patas__hold){0};
    tasks = patas__syscall(__NR_openat, AT_FDCWD, (long)"/proc/self/task",
                           O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0, 0, 0);
    if (tasks < 0)
        return hold_alone() ? PATAS_OK : hold_refuse(error, 0, (int)-tasks);
    first = hold_anybody((int)tasks, caller, &failed);
    if (first > 0)
        status = hold_blockers(hold, first, (int)tasks, caller, carry, error);
    else if (first < 0 && !hold_alone())
        status = hold_refuse(error, 0, failed);
    patas__os_close((int)tasks);
    return status;
}

void patas__trap_release(struct patas__hold *hold)
{
    struct holder *holder = hold->state;

    if (!hold->helper)
        return;
    phase_set(&holder->phase, HELPER_HOLDS, HELPER_RELEASE);
    patas__trap_bury(hold->helper);
    patas__os_unmap(holder->memory, holder->size);
    hold->helper = 0;
    hold->state = NULL;
}
