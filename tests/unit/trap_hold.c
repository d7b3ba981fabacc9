/* SPDX-License-Identifier: MIT */
/* Threads that block the trap signals, held for the length of a commit. */
#define TRAP_CODE_MAIN
#include "trap_code.h"

#include <dirent.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/futex.h>
#include <linux/io_uring.h>
#include <linux/membarrier.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <pthread.h>
#include <stddef.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

enum {
    THREADS = 8,
    QUEUED = 64, /* signals */
    RUNNERS = 4  /* few, so that each change comes soon on a busy machine */
};

static volatile int stop;

struct worker {
    pthread_t thread;
    volatile int tid;
    bool blocks;
    int number; /* the one signal to block; 0 = all */
    long (*work)(struct worker *worker);
    volatile long turns;
    volatile int signals;
    volatile bool asleep;
    volatile bool over;
    long result;
    int error;
    int fd[2];
};

static void *worker_run(void *argument)
{
    struct worker *worker = argument;
    sigset_t set;

    sigfillset(&set);
    if (worker->number) {
        sigemptyset(&set);
        sigaddset(&set, worker->number);
    }
    if (worker->blocks)
        pthread_sigmask(SIG_BLOCK, &set, NULL);
    worker->tid = gettid();
    worker->result = worker->work(worker);
    worker->error = errno;
    worker->over = true;
    return NULL;
}

static void start(struct worker *worker, bool blocks,
                  long (*work)(struct worker *worker))
{
    worker->blocks = blocks;
    worker->work = work;
    ck_assert_int_eq(pthread_create(&worker->thread, NULL, worker_run, worker),
                     0);
    while (!worker->tid)
        usleep(100);
}

static long turn_around(struct worker *worker)
{
    while (!stop)
        worker->turns++;
    return 0;
}

static void nap(long ms)
{
    struct timespec time = {ms / 1000, ms % 1000 * 1000000};
    while (nanosleep(&time, &time))
        ;
}

static void await_turns(struct worker *worker)
{
    long before = worker->turns;
    while (worker->turns == before)
        nap(1);
}

static void await_sleep(struct worker *worker)
{
    char path[64], text[64];

    while (!worker->asleep)
        nap(1);
    sprintf(path, "/proc/self/task/%d/stat", worker->tid);
    do {
        FILE *file = fopen(path, "r");
        nap(5);
        ck_assert_ptr_nonnull(file);
        ck_assert_ptr_nonnull(fgets(text, sizeof text, file));
        fclose(file);
    } while (!strstr(text, ") S ") && !strstr(text, ") D "));
}

static uintptr_t nowhere(uintptr_t pc)
{
    (void)pc;
    return 0;
}

static void hold(struct patas__hold *held, unsigned want)
{
    patas_error error = {0};

    ck_assert_int_eq(patas__trap_hold(held, patas__registry_carry, &error),
                     PATAS_OK);
    ck_assert_uint_eq(held->held, want);
}

static void refused_for(unsigned reason, int number, int tid)
{
    struct patas__hold held;
    patas_error error = {0};

    ck_assert_int_eq(patas__trap_hold(&held, nowhere, &error),
                     PATAS_ERR_BLOCKED);
    ck_assert_int_eq(error.status, PATAS_ERR_BLOCKED);
    ck_assert_uint_eq(error.reason, reason);
    ck_assert_int_eq(error.os_errno, number);
    if (tid)
        ck_assert_int_eq(error.tid, tid);
    ck_assert_int_eq(held.helper, 0);
    patas__trap_release(&held);
}

static void refused(int number, int tid)
{
    refused_for(PATAS_REASON_NO_PTRACE, number, tid);
}

static int descriptors(void)
{
    DIR *folder = opendir("/proc/self/fd");
    int count = 0;
    while (readdir(folder))
        count++;
    closedir(folder);
    return count;
}

START_TEST(where_nobody_blocks_nobody_is_held)
{
    static struct worker worker[THREADS] = {0};
    struct patas__hold held;

    for (int i = 0; i < THREADS; i++)
        start(&worker[i], false, turn_around);
    hold(&held, 0);
    ck_assert_int_eq(held.helper, 0);
    for (int i = 0; i < THREADS; i++)
        await_turns(&worker[i]);
    patas__trap_release(&held);
}
END_TEST

START_TEST(the_caller_is_never_held)
{
    struct patas__hold held;
    sigset_t all;

    sigfillset(&all);
    sigprocmask(SIG_BLOCK, &all, NULL);
    hold(&held, 0);
    patas__trap_release(&held);
}
END_TEST

static const int numbers[] = {0, TRAP_SIGNAL, SIGTRAP};

START_TEST(who_blocks_stands_until_the_release)
{
    static struct worker worker[THREADS] = {0};
    struct patas__hold held;
    long before[THREADS];
    int open = descriptors();

    for (int i = 0; i < THREADS; i++) {
        worker[i].number = numbers[_i];
        start(&worker[i], i % 2, turn_around);
    }
    for (int round = 0; round < 5; round++) {
        hold(&held, THREADS / 2);
        for (int i = 0; i < THREADS; i++)
            before[i] = worker[i].turns;
        for (int i = 0; i < THREADS; i += 2)
            await_turns(&worker[i]);
        for (int i = 1; i < THREADS; i += 2)
            ck_assert_int_eq(worker[i].turns, before[i]);
        patas__trap_release(&held);
        for (int i = 0; i < THREADS; i++)
            await_turns(&worker[i]);
    }
    ck_assert_int_eq(descriptors(), open);
    ck_assert_int_eq(waitpid(-1, NULL, __WALL | WNOHANG), -1);
    ck_assert_int_eq(errno, ECHILD);
}
END_TEST

START_TEST(other_blocked_signals_do_not_matter)
{
    static struct worker worker = {.number = SIGUSR1};
    struct patas__hold held;

    start(&worker, true, turn_around);
    hold(&held, 0);
    patas__trap_release(&held);
}
END_TEST

/*
 *     window    lock incl counter
 *     spin      jmp spin
 *
 * Who has been counted stands at `spin`, whenever it gets to run.
 */
enum {
    WINDOW_SPIN = 7,
    WINDOW_COUNTER = 128
};
static uint8_t *window;

static volatile int *make_window(void)
{
    int32_t counter;

    window = code_page();
    counter = MACHINE(WINDOW_COUNTER - WINDOW_SPIN,
                      (int32_t)(uintptr_t)window + WINDOW_COUNTER);
    code_put(window, "\xf0\xff\x05", 3);
    code_put(window + 3, &counter, 4);
    code_put(window + WINDOW_SPIN, "\xeb\xfe", 2);
    code_put(window + 64, RETURN_42, 6);
    memset(window + WINDOW_COUNTER, 0, sizeof(int));
    return (volatile int *)(void *)(window + WINDOW_COUNTER);
}

static long run_window(struct worker *worker)
{
    (void)worker;
    return code_run(window);
}

START_TEST(who_stands_mid_window_is_moved)
{
    static struct worker worker[THREADS] = {0};
    struct patas__hold held;
    volatile int *inside = make_window();

    for (int i = 0; i < THREADS; i++)
        start(&worker[i], true, run_window);
    while (*inside < THREADS)
        nap(1);
    carry(window + WINDOW_SPIN, window + 64);
    hold(&held, THREADS);
    ck_assert_uint_eq(held.moved, THREADS);
    patas__trap_release(&held);
    for (int i = 0; i < THREADS; i++) {
        pthread_join(worker[i].thread, NULL);
        ck_assert_int_eq(worker[i].result, 42);
    }
}
END_TEST

/* ---- asleep in the kernel -------------------------------------------- */

/* Again and again, so that it is there however late the test comes. */
static long sleep_nanosleep(struct worker *worker)
{
    struct timespec time = {0, 300000000}, from, to;

    do {
        clock_gettime(CLOCK_MONOTONIC, &from);
        worker->asleep = true;
        if (nanosleep(&time, NULL))
            return -1;
        clock_gettime(CLOCK_MONOTONIC, &to);
        if ((to.tv_sec - from.tv_sec) * 1000 +
                (to.tv_nsec - from.tv_nsec) / 1000000 <
            299)
            return -2;
    } while (!stop);
    return 0;
}

static int word;

static long sleep_futex(struct worker *worker)
{
    worker->asleep = true;
    return syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, 0, NULL, NULL, 0);
}

static long sleep_read(struct worker *worker)
{
    char byte;
    worker->asleep = true;
    return read(worker->fd[0], &byte, 1) == 1 ? byte : -1;
}

static long sleep_poll(struct worker *worker)
{
    struct pollfd one = {.fd = worker->fd[0], .events = POLLIN};
    worker->asleep = true;
    return poll(&one, 1, -1);
}

static long sleep_epoll(struct worker *worker)
{
    struct epoll_event event = {.events = EPOLLIN};
    int epoll = epoll_create1(0);

    epoll_ctl(epoll, EPOLL_CTL_ADD, worker->fd[0], &event);
    worker->asleep = true;
    return epoll_wait(epoll, &event, 1, -1);
}

START_TEST(who_sleeps_in_the_kernel_goes_on_sleeping)
{
    static struct worker worker[5] = {0};
    struct patas__hold held;

    for (int i = 0; i < 5; i++)
        ck_assert_int_eq(pipe(worker[i].fd), 0);
    start(&worker[0], true, sleep_nanosleep);
    start(&worker[1], true, sleep_futex);
    start(&worker[2], true, sleep_read);
    start(&worker[3], true, sleep_poll);
    start(&worker[4], true, sleep_epoll);
    for (int i = 0; i < 5; i++)
        await_sleep(&worker[i]);
    hold(&held, 5);
    ck_assert_uint_eq(held.moved, 0);
    nap(20);
    patas__trap_release(&held);
    nap(20);
    /* The word stays as it is: only a wake ends the wait, and there is nobody
     * to wake while the call begins again. */
    while (!worker[1].over &&
           !syscall(SYS_futex, &word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0))
        nap(1);
    stop = 1;
    for (int i = 2; i < 5; i++)
        ck_assert_int_eq(write(worker[i].fd[1], "x", 1), 1);
    for (int i = 0; i < 5; i++)
        pthread_join(worker[i].thread, NULL);
    ck_assert_int_eq(worker[0].result, 0);
    ck_assert_int_eq(worker[1].result, 0);
    ck_assert_int_eq(worker[2].result, 'x');
    ck_assert_int_eq(worker[3].result, 1);
    /* The kernel never restarts this one (signal(7)). */
    if (worker[4].result == -1)
        ck_assert_int_eq(worker[4].error, EINTR);
    else
        ck_assert_int_eq(worker[4].result, 1);
}
END_TEST

static int gate[2];

static long sleep_vfork(struct worker *worker)
{
    char byte;
    pid_t child;
    int status;

    child = vfork();
    if (child == 0) {
        worker->asleep = true; /* now the parent can only sleep */
        syscall(SYS_read, gate[0], &byte, 1);
        _exit(7);
    }
    return waitpid(child, &status, 0) == child && WIFEXITED(status)
               ? WEXITSTATUS(status)
               : -1;
}

START_TEST(who_waits_for_a_vfork_is_held_where_it_is)
{
    static struct worker worker = {0};
    struct patas__hold held;

    ck_assert_int_eq(pipe(gate), 0);
    start(&worker, true, sleep_vfork);
    await_sleep(&worker);
    hold(&held, 1);
    nap(20);
    patas__trap_release(&held);
    hold(&held, 1);
    ck_assert_int_eq(write(gate[1], "x", 1), 1); /* it wakes up while held */
    nap(50);
    patas__trap_release(&held);
    pthread_join(worker.thread, NULL);
    ck_assert_int_eq(worker.result, 7);
}
END_TEST

/* ---- signals --------------------------------------------------------- */

static volatile int got_usr1, got_rt, next_rt, out_of_order;
static volatile int all_sent = -1;

static void on_usr1(int number)
{
    (void)number;
    got_usr1++;
}

static void on_rt(int number, siginfo_t *info, void *context)
{
    (void)number;
    (void)context;
    got_rt++;
    if (info->si_value.sival_int != next_rt++)
        out_of_order++;
}

static void listen_to_signals(void)
{
    struct sigaction usr1 = {.sa_handler = on_usr1};
    struct sigaction rt = {.sa_sigaction = on_rt, .sa_flags = SA_SIGINFO};

    ck_assert_int_eq(sigaction(SIGUSR1, &usr1, NULL), 0);
    ck_assert_int_eq(sigaction(SIGRTMIN, &rt, NULL), 0);
}

START_TEST(a_signal_that_comes_meanwhile_comes_afterwards)
{
    static struct worker worker = {.number = TRAP_SIGNAL};
    struct patas__hold held;

    listen_to_signals();
    start(&worker, true, turn_around);
    hold(&held, 1);
    pthread_kill(worker.thread, SIGUSR1);
    nap(20);
    ck_assert_int_eq(got_usr1, 0);
    patas__trap_release(&held);
    while (got_usr1 == 0)
        await_turns(&worker);
    ck_assert_int_eq(got_usr1, 1);
}
END_TEST

/* A few at a time: what may be queued is limited for all programs of a user
 * together, and theirs could make no timer as long as this one takes it all. */
static void *send_signals(void *argument)
{
    struct worker *worker = argument;
    long sent = 0;

    while (!stop)
        if (sent - got_rt >= QUEUED)
            sched_yield();
        else if (pthread_sigqueue(worker->thread, SIGRTMIN,
                                  (union sigval){.sival_int = (int)sent}) == 0)
            sent++;
    return (void *)sent;
}

static long await_all_signals(struct worker *worker)
{
    while (all_sent < 0 || got_rt < all_sent)
        worker->turns++;
    return 0;
}

START_TEST(no_signal_is_lost_when_it_comes_with_the_interruption)
{
    static struct worker worker = {.number = SIGTRAP};
    struct patas__hold held;
    pthread_t sender;
    void *sent;

    listen_to_signals();
    start(&worker, true, await_all_signals);
    ck_assert_int_eq(pthread_create(&sender, NULL, send_signals, &worker), 0);
    while (got_rt == 0)
        nap(1); /* a thread is born with everything blocked */
    for (int round = 0; round < 100; round++) {
        hold(&held, 1);
        patas__trap_release(&held);
    }
    stop = 1;
    pthread_join(sender, &sent);
    all_sent = (int)(long)sent;
    pthread_join(worker.thread, NULL);
    ck_assert_int_eq(got_rt, (int)(long)sent);
    ck_assert_int_eq(out_of_order, 0);
}
END_TEST

/* ---- who can't be held ----------------------------------------------- */

START_TEST(a_thread_that_is_traced_already_is_named)
{
    static struct worker other = {0}, traced = {0};
    struct patas__hold held;
    int to[2], from[2], status;
    char byte;
    pid_t tracer;

    start(&other, true, turn_around);
    start(&traced, true, turn_around);
    ck_assert_int_eq(pipe(to), 0);
    ck_assert_int_eq(pipe(from), 0);
    prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY);
    tracer = fork();
    if (tracer == 0) {
        byte = ptrace(PTRACE_SEIZE, traced.tid, 0, 0) ? 'n' : 'y';
        if (write(from[1], &byte, 1) != 1 || read(to[0], &byte, 1) != 1)
            _exit(1);
        _exit(0);
    }
    ck_assert_int_eq(read(from[0], &byte, 1), 1);
    ck_assert_int_eq(byte, 'y');
    refused(EPERM, traced.tid);
    await_turns(&other);
    await_turns(&traced);
    ck_assert_int_eq(write(to[1], "x", 1), 1);
    ck_assert_int_eq(waitpid(tracer, &status, 0), tracer);
    hold(&held, 2);
    patas__trap_release(&held);
}
END_TEST

/* System call `number` fails, for this thread and its helpers: always, or with
 * `size` as its third argument. */
static void deny_size(long number, uint32_t size, unsigned how)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)number, 0, 3),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
                 offsetof(struct seccomp_data, args[2])),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, size, 0, size != 0),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | how),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {6, code};

    ck_assert_int_eq(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
    ck_assert_int_eq(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program), 0);
}

static void deny(long number)
{
    deny_size(number, 0, EACCES);
}

static const long needed[] = {SYS_clone, SYS_ptrace, MACHINE_SYS_MMAP,
                              SYS_openat, SYS_getdents64};

START_TEST(where_the_system_forbids_it_it_is_refused)
{
    static struct worker worker[2] = {0};

    start(&worker[0], true, turn_around);
    start(&worker[1], true, turn_around);
    deny(needed[_i]);
    refused(needed[_i] == MACHINE_SYS_MMAP ? ENOMEM : EACCES, 0);
    await_turns(&worker[0]);
    await_turns(&worker[1]);
}
END_TEST

START_TEST(without_proc_a_lone_thread_needs_nobody_held)
{
    struct patas__hold held;

    deny(needed[_i]);
    hold(&held, 0);
    patas__trap_release(&held);
}
END_TEST

/* ---- time ------------------------------------------------------------ */

enum {
    PROC_SYSCALL_SIZE = 255 /* what the helper reads of /proc/.../syscall */
};

/* The helper's turns take no time, as if the machine were that slow. */
static void make_waits_short(void)
{
    deny_size(SYS_rt_sigtimedwait, 0, EAGAIN);
}

/* The helper and the thread share a processor, and while the one looks the
 * other can't stop. */
START_TEST(who_waits_for_a_processor_is_waited_for)
{
    static struct worker worker = {0};
    struct patas__hold held;
    cpu_set_t one, all;
    size_t cpu = 0;

    ck_assert_int_eq(sched_getaffinity(0, sizeof all, &all), 0);
    while (!CPU_ISSET(cpu, &all))
        cpu++;
    CPU_ZERO(&one);
    CPU_SET(cpu, &one);
    ck_assert_int_eq(sched_setaffinity(0, sizeof one, &one), 0);
    make_waits_short();
    start(&worker, true, turn_around);
    for (int round = 0; round < 100; round++) {
        hold(&held, 1);
        patas__trap_release(&held);
    }
}
END_TEST

/* What keeps a thread that neither runs nor is known to be in a system call is
 * a page fault for all that can be told. */
START_TEST(who_sleeps_and_does_not_stop_is_named)
{
    static struct worker worker = {0};

    ck_assert_int_eq(pipe(gate), 0);
    start(&worker, true, sleep_vfork);
    await_sleep(&worker);
    make_waits_short();
    deny_size(SYS_read, PROC_SYSCALL_SIZE, EACCES);
    refused_for(PATAS_REASON_THREAD_BLOCKS, ETIMEDOUT, worker.tid);
    ck_assert_int_eq(write(gate[1], "x", 1), 1);
    pthread_join(worker.thread, NULL);
    ck_assert_int_eq(worker.result, 7);
}
END_TEST

/* ---- threads that come and go ---------------------------------------- */

static void *live_briefly(void *argument)
{
    sigset_t all;

    sigfillset(&all);
    if (argument)
        pthread_sigmask(SIG_BLOCK, &all, NULL);
    return NULL;
}

static void *make_threads(void *argument)
{
    long made = 0;

    while (!stop) {
        pthread_t thread;
        if (pthread_create(&thread, NULL, live_briefly,
                           made % 2 ? argument : NULL))
            continue;
        pthread_join(thread, NULL);
        made++;
    }
    return (void *)made;
}

START_TEST(threads_may_come_and_go)
{
    static struct worker worker = {0};
    struct patas__hold held;
    pthread_t maker[2];
    void *made;
    int done = 0;

    start(&worker, true, turn_around);
    for (int i = 0; i < 2; i++)
        pthread_create(&maker[i], NULL, make_threads, &worker);
    for (int round = 0; round < 100; round++) {
        patas_error error = {0};
        patas_status status = patas__trap_hold(&held, nowhere, &error);
        long turns = worker.turns;
        if (status == PATAS_OK) {
            ck_assert_uint_ge(held.held, 1);
            sched_yield();
            ck_assert_int_eq(worker.turns, turns);
            done++;
        } else {
            ck_assert_int_eq(error.os_errno, EAGAIN);
        }
        patas__trap_release(&held);
    }
    stop = 1;
    for (int i = 0; i < 2; i++) {
        pthread_join(maker[i], &made);
        ck_assert_int_gt((long)made, 0);
    }
    ck_assert_int_gt(done, 0);
}
END_TEST

static int threads_named(const char *name)
{
    DIR *folder = opendir("/proc/self/task");
    struct dirent *entry;
    int count = 0;

    while ((entry = readdir(folder)) != NULL) {
        char path[300], text[64];
        FILE *file;
        snprintf(path, sizeof path, "/proc/self/task/%s/comm", entry->d_name);
        file = fopen(path, "r");
        if (!file)
            continue;
        if (fgets(text, sizeof text, file))
            count += strncmp(text, name, strlen(name)) == 0;
        fclose(file);
    }
    closedir(folder);
    return count;
}

/* Its workers are threads of the process, with everything blocked, that never
 * run its code. */
START_TEST(io_uring_workers_are_left_alone)
{
    struct io_uring_params params = {.flags = IORING_SETUP_SQPOLL};
    static struct worker worker = {0};
    struct patas__hold held;

    if (syscall(SYS_io_uring_setup, 4, &params) < 0) {
        printf("no io_uring here: not tested\n");
        return;
    }
    while (!threads_named("iou-sqp"))
        nap(1); /* it takes its name when it first runs */
    hold(&held, 0);
    patas__trap_release(&held);
    start(&worker, true, turn_around);
    hold(&held, 1);
    patas__trap_release(&held);
}
END_TEST

static pthread_t first_thread;

static void *hold_alone_with_zombie(void *argument)
{
    struct patas__hold held;
    patas_error error = {0};
    char path[64], text[64];

    (void)argument;
    sprintf(path, "/proc/self/task/%d/stat", getpid());
    do {
        FILE *file = fopen(path, "r");
        if (!file || !fgets(text, sizeof text, file))
            _exit(2);
        fclose(file);
    } while (!strstr(text, ") Z "));
    if (patas__trap_hold(&held, nowhere, &error) != PATAS_OK || held.held)
        _exit(3);
    patas__trap_release(&held);
    _exit(0);
}

START_TEST(a_first_thread_that_has_ended_is_in_nobodys_way)
{
    pthread_t thread;
    int status;
    pid_t child = fork();

    if (child == 0) {
        sigset_t all;
        sigfillset(&all);
        first_thread = pthread_self();
        pthread_create(&thread, NULL, hold_alone_with_zombie, NULL);
        pthread_sigmask(SIG_BLOCK, &all, NULL);
        pthread_exit(NULL);
    }
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert(WIFEXITED(status));
    ck_assert_int_eq(WEXITSTATUS(status), 0);
}
END_TEST

/* ---- ends in the middle ---------------------------------------------- */

static void end_exit(void)
{
    _exit(0);
}
static void end_kill(void)
{
    kill(getpid(), SIGKILL);
    pause();
}
static void end_exec(void)
{
    execl("/bin/true", "true", (char *)NULL);
    _exit(2);
}
static void (*const ends[])(void) = {end_exit, end_kill, end_exec};

START_TEST(a_process_may_end_while_it_holds)
{
    int pipes[2], status;
    char byte;
    pid_t child;

    ck_assert_int_eq(pipe(pipes), 0);
    child = fork();
    if (child == 0) {
        static struct worker worker[2] = {0};
        struct patas__hold held;
        start(&worker[0], true, turn_around);
        start(&worker[1], true, turn_around);
        hold(&held, 2);
        ends[_i]();
    }
    close(pipes[1]);
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert(_i == 1 ? WIFSIGNALED(status) : WIFEXITED(status));
    /* The helper shares the pipe: its end is the end of the helper, too. */
    ck_assert_int_eq(read(pipes[0], &byte, 1), 0);
}
END_TEST

START_TEST(the_end_of_the_helper_hangs_nobody)
{
    static struct worker worker = {0};
    struct patas__hold held;

    start(&worker, true, turn_around);
    hold(&held, 1);
    ck_assert_int_eq(kill(held.helper, SIGKILL), 0);
    await_turns(&worker);
    patas__trap_release(&held);
    hold(&held, 1);
    patas__trap_release(&held);
}
END_TEST

START_TEST(a_stop_of_the_whole_process_is_survived)
{
    static struct worker worker = {0};
    struct patas__hold held;
    pid_t me = getpid();

    start(&worker, true, turn_around);
    for (int round = 0; round < 20; round++) {
        pid_t child = fork();
        if (child == 0) {
            for (int i = 0; i < 10; i++) {
                kill(me, SIGSTOP);
                usleep(1000);
                kill(me, SIGCONT);
                usleep(1000);
            }
            _exit(0);
        }
        do {
            hold(&held, 1);
            patas__trap_release(&held);
        } while (waitpid(child, NULL, WNOHANG) == 0);
        await_turns(&worker);
    }
}
END_TEST

/* ---- all together ---------------------------------------------------- */

/*
 *     e     53        push %rbx          <- e9, and the island's displacement
 *     e+1   89 fb     mov %edi, %ebx     <- d6 (boundary)
 *     e+3   8d 43 01  lea 1(%rbx), %eax  <- d6 (boundary)
 *     e+6   5b        pop %rbx
 *     e+7   c3        ret
 *
 * ... and on i386 push %ebx; mov %esp, %ebx; mov 8(%ebx), %eax; pop %ebx;
 * inc %eax; ret.
 */
static uint8_t *target;
static volatile long wrong;

static long call_target(struct worker *worker)
{
    int i = 0;

    while (!stop) {
        int got = ((int (*)(int))(uintptr_t)target)(i);
        if (got != i + 1 && got != i + 1000)
            __atomic_add_fetch(&wrong, 1, __ATOMIC_RELAXED);
        i = (i + 1) & 0xffff;
        worker->turns++;
    }
    return 0;
}

/* In 32 bits, too. */
typedef uint64_t unit __attribute__((aligned(8)));

static void make_target(uint64_t *old, uint64_t *new)
{
    const int32_t displacement = MACHINE(0x10d620d6, 0x10f420f4);
    uint8_t *replacement, *head, *island, *page;
    int32_t back;

    target = mmap((void *)MACHINE(0x500000000, 0x20000000), 16384, 7,
                  MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    replacement = target + 8192;
    code_put(target,
             MACHINE("\x53\x89\xfb\x8d\x43\x01\x5b\xc3\xcc",
                     "\x53\x89\xe3\x8b\x43\x08\x5b\x40\xc3"),
             9);
    code_put(replacement,
             MACHINE("\x8d\x87\xe8\x03\0\0\xc3\xcc\xcc\xcc",
                     "\x8b\x44\x24\x04\x05\xe8\x03\0\0\xc3"),
             10);
    island = target + 5 + displacement;
    page = (uint8_t *)((uintptr_t)island & ~(uintptr_t)4095);
    ck_assert_ptr_eq(mmap(page, 8192, 7,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1,
                          0),
                     page);
    back = (int32_t)(replacement - (island + 5));
    code_put(island, "\xe9", 1);
    code_put(island + 1, &back, 4);
    head = island + 64;
    code_put(head, target, 6);
    back = (int32_t)(target + 6 - (head + 11));
    code_put(head + 6, "\xe9", 1);
    code_put(head + 7, &back, 4);
    carry(target + 1, head + 1);
    carry(target + 3, head + 3);
    memcpy(old, target, 8);
    memcpy(new, target, 8);
    ((uint8_t *)new)[0] = 0xe9;
    memcpy((uint8_t *)new + 1, &displacement, 4);
}

START_TEST(nobody_is_lost_while_a_window_changes)
{
    static struct worker worker[RUNNERS] = {0};
    struct patas__hold held;
    uint64_t old, new;
    unsigned moved = 0;

    make_target(&old, &new);
    ck_assert_int_eq(patas__trap_arm(), 0);
    syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_SYNC_CORE,
            0, 0);
    for (int i = 0; i < RUNNERS; i++)
        start(&worker[i], i % 2, call_target);
    for (int round = 0; round < 100; round++) {
        hold(&held, RUNNERS / 2);
        moved += held.moved;
        __atomic_store_n((unit *)target, new, __ATOMIC_SEQ_CST);
        syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED_SYNC_CORE, 0,
                0);
        patas__trap_release(&held);
        __atomic_store_n((unit *)target, old, __ATOMIC_SEQ_CST);
        syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED_SYNC_CORE, 0,
                0);
    }
    stop = 1;
    for (int i = 0; i < RUNNERS; i++)
        pthread_join(worker[i].thread, NULL);
    ck_assert_int_eq(wrong, 0);
    printf("moved while held %u, carried by a trap %lu\n", moved,
           (unsigned long)patas__trap_carried());
}
END_TEST

static Suite *hold_suite(void)
{
    Suite *suite = suite_create("trap hold");
    TCase *tcase = tcase_create("hold");

    suite_add_tcase(suite, tcase);
    tcase_add_test(tcase, where_nobody_blocks_nobody_is_held);
    tcase_add_test(tcase, the_caller_is_never_held);
    tcase_add_loop_test(tcase, who_blocks_stands_until_the_release, 0, 3);
    tcase_add_test(tcase, other_blocked_signals_do_not_matter);
    tcase_add_test(tcase, who_stands_mid_window_is_moved);
    tcase_add_test(tcase, who_sleeps_in_the_kernel_goes_on_sleeping);
    tcase_add_test(tcase, who_waits_for_a_vfork_is_held_where_it_is);
    tcase_add_test(tcase, a_signal_that_comes_meanwhile_comes_afterwards);
    tcase_add_test(tcase,
                   no_signal_is_lost_when_it_comes_with_the_interruption);
    tcase_add_test(tcase, a_thread_that_is_traced_already_is_named);
    tcase_add_loop_test(tcase, where_the_system_forbids_it_it_is_refused, 0, 5);
    tcase_add_loop_test(tcase, without_proc_a_lone_thread_needs_nobody_held, 3,
                        5);
    tcase_add_test(tcase, who_waits_for_a_processor_is_waited_for);
    tcase_add_test(tcase, who_sleeps_and_does_not_stop_is_named);
    tcase_add_test(tcase, threads_may_come_and_go);
    tcase_add_test(tcase, io_uring_workers_are_left_alone);
    tcase_add_test(tcase, a_first_thread_that_has_ended_is_in_nobodys_way);
    tcase_add_loop_test(tcase, a_process_may_end_while_it_holds, 0, 3);
    tcase_add_test(tcase, the_end_of_the_helper_hangs_nobody);
    tcase_add_test(tcase, a_stop_of_the_whole_process_is_survived);
    tcase_add_test(tcase, nobody_is_lost_while_a_window_changes);
    return suite;
}

int main(void)
{
    SRunner *runner = srunner_create(hold_suite());
    int failed;

    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
