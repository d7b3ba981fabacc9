/* SPDX-License-Identifier: MIT */
/*
 * The n-th system call of an operation fails, for every n: either the
 * operation fails and nothing has changed, or it did without.
 *
 * The child does the work under ptrace, between two SIGSTOPs of its own. Its
 * tracer counts the system calls, lets one of them fail (or that one and all
 * of the same number that follow), and the child then looks at itself: the
 * bytes, the protections, what is called and what patas_original() gives, the
 * descriptors; that the same operation works as soon as nothing fails, and
 * that all of it can be taken back.
 */
#include "expect.h"
#include "machine.h"

#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef PR_SET_MDWE
#define PR_SET_MDWE              65
#define PR_MDWE_REFUSE_EXEC_GAIN 1
#endif

typedef int (*fn)(int);

/* First instructions of 5, 4, 3, 2 and 1 bytes; the last one far from the
 * others, so that a batch has two runs of pages. Each adds its number. */
int first5(int x);
int first4(int x);
int first3(int x);
int first2(int x);
int first1(int x);
int far5(int x);
#define FUNCTION(name, body)                                    \
    __asm__(".text\n.p2align 6\n.globl " #name "\n.type " #name \
            ",@function\n" #name ":\n.cfi_startproc\n" body     \
            "  ret\n.cfi_endproc\n.size " #name ", .-" #name "\n.p2align 6\n")
#define ADD_X MACHINE("  add %edi, %eax\n", "  add 4(%esp), %eax\n")
FUNCTION(first5, "  mov $5, %eax\n" ADD_X);
FUNCTION(first4,
         MACHINE("  endbr64\n", "  endbr32\n") "  mov $4, %eax\n" ADD_X);
FUNCTION(first3, MACHINE("  lea 3(%rdi), %eax\n  nopl (%rax)\n",
                         "  nopl (%eax)\n  mov $3, %eax\n" ADD_X));
FUNCTION(first2, "  xor %eax, %eax\n  add $2, %eax\n" ADD_X);
FUNCTION(first1,
         MACHINE("  push %rbp\n", "  push %ebp\n") "  mov $1, %eax\n" MACHINE(
             "  pop %rbp\n", "  pop %ebp\n") ADD_X);
__asm__(".text\n.p2align 12\n.skip 80 * 4096, 0x90\n");
FUNCTION(far5, "  mov $6, %eax\n" ADD_X);

KEEP int hundred(int x)
{
    return x + 100;
}
KEEP int thousand(int x)
{
    return x + 1000;
}
static const patas_fn HUNDRED = (patas_fn)hundred,
                      THOUSAND = (patas_fn)thousand;

enum {
    CODE = 6,
    OWN = 7, /* bytes of the shortest function */
    SLOTS = 2,
    ALL = CODE + SLOTS,
    HANDLES = 10
};
static const fn code[CODE] = {first5, first4, first3, first2, first1, far5};
static patas_fn data_slot = (patas_fn)first5;
static const patas_fn fixed_slot = (patas_fn)first5;
static patas_fn *const slots[SLOTS] = {&data_slot,
                                       (patas_fn *)(uintptr_t)&fixed_slot};

static int call(int which)
{
    if (which < CODE)
        return code[which](0);
    return ((fn) * (patas_fn volatile *)slots[which - CODE])(0);
}

/* Above 255 an exit status has no room, so why comes by a pipe. */
static int report = -1;
static void say(const char *what, int line, long a, long b)
{
    char text[256];
    int size =
        snprintf(text, sizeof text, "line %d: %s (%ld, %ld)", line, what, a, b);
    if (write(report, text, (size_t)size) == size)
        _exit(1);
    _exit(2);
}
#define MUST(condition, a, b)                                \
    do {                                                     \
        if (!(condition))                                    \
            say(#condition, __LINE__, (long)(a), (long)(b)); \
    } while (0)

/* ---- what must not change ------------------------------------------------ */

struct state {
    int result[ALL];
    uint8_t bytes[CODE][OWN];
    patas_fn slot[SLOTS];
    char rights[ALL][5];
    int originals[HANDLES];
    int descriptors;
    size_t patches;
};

static patas_patch *handle[HANDLES];

static void rights_of(uintptr_t address, char rights[5])
{
    FILE *maps = fopen("/proc/self/maps", "re");
    char line[512];
    unsigned long from, to;
    MUST(maps, errno, 0);
    strcpy(rights, "none");
    while (fgets(line, sizeof line, maps))
        if (sscanf(line, "%lx-%lx %4s", &from, &to, rights) == 3 &&
            address >= from && address < to)
            break;
    fclose(maps);
}

static int count_descriptors(void)
{
    int count = 0;
    DIR *directory = opendir("/proc/self/fd");
    while (readdir(directory))
        count++;
    closedir(directory);
    return count;
}

static void look(struct state *state)
{
    patas_stats stats = {.size = sizeof stats};
    memset(state, 0, sizeof *state);
    for (int i = 0; i < ALL; i++)
        state->result[i] = call(i);
    for (int i = 0; i < CODE; i++) {
        memcpy(state->bytes[i], (const void *)(uintptr_t)code[i], OWN);
        rights_of((uintptr_t)code[i], state->rights[i]);
    }
    for (int i = 0; i < SLOTS; i++) {
        state->slot[i] = *(patas_fn volatile *)slots[i];
        rights_of((uintptr_t)slots[i], state->rights[CODE + i]);
    }
    for (int i = 0; i < HANDLES; i++) {
        fn original = (fn)patas_original(handle[i]);
        state->originals[i] = original ? original(0) : -1;
    }
    state->descriptors = count_descriptors();
    MUST(patas_stats_read(&stats) == PATAS_OK, 0, 0);
    state->patches = stats.patches;
}

/* Where mprotect() works no more, what it made writable stays so. */
static int rights_can_stay;
static void same_rights(const struct state *a, const struct state *b)
{
    for (int i = 0; i < ALL && !rights_can_stay; i++)
        MUST(!strcmp(a->rights[i], b->rights[i]), i, b->rights[i][1]);
    MUST(a->descriptors == b->descriptors, a->descriptors, b->descriptors);
}

static void same_state(const struct state *a, const struct state *b)
{
    for (int i = 0; i < ALL; i++)
        MUST(a->result[i] == b->result[i], i, b->result[i]);
    for (int i = 0; i < CODE; i++)
        MUST(!memcmp(a->bytes[i], b->bytes[i], OWN), i, b->bytes[i][0]);
    for (int i = 0; i < SLOTS; i++)
        MUST(a->slot[i] == b->slot[i], i, 0);
    for (int i = 0; i < HANDLES; i++)
        MUST(a->originals[i] == b->originals[i], i, b->originals[i]);
    MUST(a->patches == b->patches, a->patches, b->patches);
    same_rights(a, b);
}

static void between_states(const struct state *a, const struct state *b,
                           const struct state *now)
{
    for (int i = 0; i < ALL; i++)
        MUST(now->result[i] == a->result[i] || now->result[i] == b->result[i],
             i, now->result[i]);
    for (int i = 0; i < CODE; i++)
        MUST(!memcmp(now->bytes[i], a->bytes[i], OWN) ||
                 !memcmp(now->bytes[i], b->bytes[i], OWN),
             i, now->bytes[i][0]);
    same_rights(b, now);
}

/* ---- the operations -------------------------------------------------------
 */

static void nothing(void)
{
}

static patas_status replace_one(int which, patas_fn replacement, int at,
                                patas_error *error)
{
    patas_status status =
        which < CODE ? patas_replace((patas_fn)code[which], replacement,
                                     &handle[at], error)
                     : patas_replace_slot(slots[which - CODE], replacement,
                                          &handle[at], error);
    MUST(status == PATAS_OK || !handle[at], status, which);
    return status;
}

static int chosen;
static patas_status do_replace(patas_error *error)
{
    return replace_one(chosen, HUNDRED, 0, error);
}

static void one_is_live(void)
{
    MUST(replace_one(chosen, HUNDRED, 0, NULL) == PATAS_OK, chosen, 0);
}
static patas_status do_restore(patas_error *error)
{
    return patas_restore(handle[0], error);
}
static patas_status do_suspend(patas_error *error)
{
    return patas_suspend(handle[0], error);
}
static void one_is_suspended(void)
{
    one_is_live();
    MUST(patas_suspend(handle[0], NULL) == PATAS_OK, 0, 0);
}
static patas_status do_resume(patas_error *error)
{
    return patas_resume(handle[0], error);
}
static patas_status do_stack(patas_error *error)
{
    return replace_one(chosen, THOUSAND, 1, error);
}
static patas_status do_context(patas_error *error)
{
    patas_options options = {sizeof options, 0, &chosen};
    patas_status status = patas_replace_with((patas_fn)code[chosen], THOUSAND,
                                             &options, &handle[1], error);
    MUST(status == PATAS_OK || !handle[1], status, 0);
    return status;
}

/* Out with one, in with all the others. */
static patas_status do_batch(patas_error *error)
{
    patas_batch *batch = patas_batch_begin(error);
    patas_status status = batch ? PATAS_OK : error->status;
    if (status == PATAS_OK)
        status = patas_batch_restore(batch, handle[0], error);
    for (int i = 1; i < CODE && status == PATAS_OK; i++)
        status = patas_batch_replace(batch, (patas_fn)code[i], HUNDRED,
                                     &handle[i], error);
    if (status == PATAS_OK)
        status = patas_batch_commit(batch, error);
    else
        patas_batch_abort(batch);
    return status;
}

static void all_are_live(void)
{
    for (int i = 0; i < ALL; i++)
        MUST(replace_one(i, HUNDRED, i, NULL) == PATAS_OK, i, 0);
}
static patas_status do_restore_all(patas_error *error)
{
    return patas_restore_all(error);
}

static void *blocks(void *unused)
{
    unsigned long everything = ~0ul;
    syscall(SYS_rt_sigprocmask, SIG_SETMASK, &everything, NULL, 8);
    *(volatile char *)unused = 1;
    for (;;)
        pause();
    return NULL;
}
static void a_thread_blocks(void)
{
    static volatile char ready;
    pthread_t thread;
    MUST(!pthread_create(&thread, NULL, blocks, (void *)(uintptr_t)&ready), 0,
         0);
    while (!ready)
        usleep(100);
}
/* The one place that its kept bytes name is taken, so traps have to do. */
static void no_kept_bytes(void)
{
    uintptr_t entry = (uintptr_t)code[chosen], page;
    int32_t displacement;
    memcpy(&displacement, (const void *)(entry + 1), 4);
    page = (entry + 5 + (uintptr_t)(intptr_t)displacement) & ~(uintptr_t)4095;
    (void)mmap((void *)page, 8192, PROT_NONE,
               MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
}
static void no_kept_bytes_and_blocked(void)
{
    no_kept_bytes();
    a_thread_blocks();
}
static void under_mdwe(void)
{
    if (prctl(PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN, 0, 0, 0))
        _exit(77); /* a kernel before 6.3 */
}
static void used_under_mdwe(void)
{
    under_mdwe();
    one_is_live();
}

static const struct scenario {
    void (*prepare)(void);
    patas_status (*act)(patas_error *error);
    int chosen;
    int after; /* what the chosen one gives then; -1: all are restored */
} scenarios[] = {
    {nothing, do_replace, 0, 100},
    {nothing, do_replace, 1, 100},
    {nothing, do_replace, 2, 100},
    {nothing, do_replace, 3, 100},
    {nothing, do_replace, 4, 100},
    {nothing, do_replace, 6, 100},
    {nothing, do_replace, 7, 100},
    {no_kept_bytes, do_replace, 4, 100},
    {no_kept_bytes_and_blocked, do_replace, 4, 100},
    {a_thread_blocks, do_replace, 4, 100},
    {a_thread_blocks, do_replace, 3, 100},
    {under_mdwe, do_replace, 0, 100},
    {used_under_mdwe, do_restore, 0, 5},
    {used_under_mdwe, do_batch, 0, 5},
    {one_is_live, do_restore, 0, 5},
    {one_is_live, do_restore, 4, 1},
    {one_is_live, do_restore, 7, 5},
    {one_is_live, do_suspend, 0, 5},
    {one_is_live, do_suspend, 7, 5},
    {one_is_suspended, do_resume, 0, 100},
    {one_is_suspended, do_resume, 7, 100},
    {one_is_live, do_stack, 0, 1000},
    {one_is_live, do_stack, 7, 1000},
    {one_is_live, do_context, 0, 1000},
    {one_is_live, do_batch, 0, 5},
    {all_are_live, do_restore_all, 0, -1},
};
enum {
    SCENARIOS = sizeof scenarios / sizeof *scenarios
};

static void check_after(const struct scenario *scenario,
                        const struct state *before)
{
    struct state now;
    if (scenario->after >= 0)
        MUST(call(chosen) == scenario->after, call(chosen), chosen);
    look(&now);
    same_rights(before, &now);
    if (scenario->act == do_batch)
        for (int i = 1; i < CODE; i++)
            MUST(now.result[i] == 100, i, now.result[i]);
}

static void child(const struct scenario *scenario)
{
    struct state pristine, before, now;
    patas_error error = {0};
    chosen = scenario->chosen;
    look(&pristine);
    scenario->prepare();
    look(&before);
    ptrace(PTRACE_TRACEME, 0, NULL, NULL);
    raise(SIGSTOP);
    patas_status status = scenario->act(&error);
    raise(SIGSTOP);
    if (status != PATAS_OK) {
        MUST(error.status == status, error.status, status);
        MUST(patas_error_text(&error, NULL, 0) > 0, 0, 0);
        look(&now);
        if (scenario->after >= 0)
            same_state(&before, &now);
        else /* patas_restore_all(): all that can go, goes */
            between_states(&pristine, &before, &now);
        status = scenario->act(&error);
        MUST(status == PATAS_OK, status, error.reason);
    }
    check_after(scenario, &before);
    MUST(patas_restore_all(&error) == PATAS_OK, error.status, error.reason);
    memset(handle, 0, sizeof handle);
    look(&now);
    same_state(&pristine, &now);
    _exit(0);
}

/* ---- the tracer ------------------------------------------------------------
 */

enum mode {
    ONCE_LIKELY, /* with the error that this call is likely to have */
    ONCE_DENIED, /* with EPERM */
    FROM_THEN_ON /* and each later call of this number, too */
};

/* These can't fail, or leave no choice if they do. */
static int never_fails(long number)
{
    return number == SYS_gettid || number == SYS_getpid ||
           number == SYS_getppid || number == SYS_rt_sigprocmask ||
           number == SYS_rt_sigreturn || number == SYS_futex ||
           number == SYS_exit || number == SYS_exit_group ||
           number == SYS_tgkill || number == SYS_brk;
}

static int likely_error(long number)
{
    switch (number) {
    case SYS_mmap:
    case SYS_mprotect:
    case SYS_munmap:
    case SYS_clone:
        return ENOMEM;
    case SYS_openat:
    case SYS_pipe2:
        return EMFILE;
    case SYS_wait4:
        return ECHILD;
    default:
        return EPERM;
    }
}

struct tracing {
    pid_t pid;
    int nth; /* which call is to fail, from 1 */
    enum mode mode;
    int seen;    /* calls so far */
    long number; /* of the one that failed; -1 = none yet */
    int error;
};

static int is_to_fail(struct tracing *tracing, long number)
{
    if (never_fails(number))
        return 0;
    /* What was written by /proc/self/mem is taken back by it, if at all. */
    if (tracing->number >= 0)
        return tracing->mode == FROM_THEN_ON && number == tracing->number &&
               number != SYS_pwrite64;
    if (++tracing->seen != tracing->nth)
        return 0;
    tracing->number = number;
    tracing->error =
        tracing->mode == ONCE_DENIED ? EPERM : likely_error(number);
    return 1;
}

/* A stop before a call, and the stop behind it. close() closes even if it
 * fails; everything else that fails has not been done. */
static int pass_call(struct tracing *tracing)
{
    struct user_regs_struct registers;
    int status;
    ptrace(PTRACE_GETREGS, tracing->pid, NULL, &registers);
    long number = (long)registers.MACHINE_USER_SYSCALL;
    int fails = is_to_fail(tracing, number);
    if (fails && number != SYS_close) {
        registers.MACHINE_USER_SYSCALL =
            (__typeof__(registers.MACHINE_USER_SYSCALL))-1;
        ptrace(PTRACE_SETREGS, tracing->pid, NULL, &registers);
    }
    ptrace(PTRACE_SYSCALL, tracing->pid, NULL, NULL);
    waitpid(tracing->pid, &status, __WALL);
    if (!WIFSTOPPED(status))
        return status;
    if (fails) {
        ptrace(PTRACE_GETREGS, tracing->pid, NULL, &registers);
        registers.MACHINE_USER_RESULT =
            (__typeof__(registers.MACHINE_USER_RESULT))-(long)tracing->error;
        ptrace(PTRACE_SETREGS, tracing->pid, NULL, &registers);
    }
    return 0x7f; /* goes on */
}

/* Until the child's end; its wait status. */
static int trace(struct tracing *tracing)
{
    int status, inside = 0;
    long signal_number;
    for (;;) {
        waitpid(tracing->pid, &status, __WALL);
        if (!WIFSTOPPED(status))
            return status;
        signal_number = WSTOPSIG(status);
        if (signal_number == (SIGTRAP | 0x80)) {
            status = pass_call(tracing);
            if (status != 0x7f)
                return status;
            signal_number = 0;
        } else if (signal_number == SIGSTOP) {
            inside++;
            signal_number = 0;
            ptrace(PTRACE_SETOPTIONS, tracing->pid, NULL,
                   PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL);
        }
        ptrace(inside == 1 ? PTRACE_SYSCALL : PTRACE_CONT, tracing->pid, NULL,
               signal_number);
    }
}

/* One child with the n-th call failing; false when there is no n-th. */
static int fail_nth(const struct scenario *scenario, int nth, enum mode mode)
{
    struct tracing tracing = {.nth = nth, .mode = mode, .number = -1};
    char text[300] = "";
    int pipes[2];
    ck_assert_int_eq(pipe(pipes), 0);
    tracing.pid = fork();
    ck_assert_int_ge(tracing.pid, 0);
    if (!tracing.pid) {
        close(pipes[0]);
        report = pipes[1];
        rights_can_stay = mode == FROM_THEN_ON;
        child(scenario);
    }
    close(pipes[1]);
    int status = trace(&tracing);
    if (read(pipes[0], text, sizeof text - 1) < 0)
        text[0] = 0;
    close(pipes[0]);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
        return 0;
    ck_assert_msg(status == 0,
                  "scenario %d, call %d (number %ld) failing with %d, mode %d: "
                  "status %x, %s",
                  (int)(scenario - scenarios), nth, tracing.number,
                  tracing.error, (int)mode, (unsigned)status, text);
    return tracing.number >= 0;
}

static void fail_each(enum mode mode, int which)
{
    int nth = 1;
    while (fail_nth(&scenarios[which], nth, mode))
        nth++;
    if (nth == 1) /* MDWE is not here; else there must be calls to fail */
        ck_assert(scenarios[which].prepare == under_mdwe ||
                  scenarios[which].prepare == used_under_mdwe ||
                  scenarios[which].act == do_suspend);
}

START_TEST(one_call_fails)
{
    fail_each(ONCE_LIKELY, _i);
}
END_TEST

START_TEST(one_call_is_denied)
{
    fail_each(ONCE_DENIED, _i);
}
END_TEST

START_TEST(a_call_fails_from_then_on)
{
    fail_each(FROM_THEN_ON, _i);
}
END_TEST

static void add_tests(TCase *tests)
{
    tcase_add_loop_test(tests, one_call_fails, 0, SCENARIOS);
    tcase_add_loop_test(tests, one_call_is_denied, 0, SCENARIOS);
    tcase_add_loop_test(tests, a_call_fails_from_then_on, 0, SCENARIOS);
}

EXPECT_MAIN("system calls that fail", add_tests)
