/* SPDX-License-Identifier: MIT */
/* Processes: forked, spawned, confined, threaded, without this or that. */
#include "expect.h"
#include "machine.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/membarrier.h>
#include <linux/seccomp.h>

#ifndef PR_SET_MDWE
#define PR_SET_MDWE              65
#define PR_MDWE_REFUSE_EXEC_GAIN 1
#endif

extern char **environ;

KEEP int target(int x)
{
    return x + 1;
}
KEEP int second(int x)
{
    return x * 2;
}
KEEP int fake(int x)
{
    return x + 100;
}
static const patas_fn TARGET = (patas_fn)target, SECOND = (patas_fn)second,
                      FAKE = (patas_fn)fake;

/* The whole round, by hand: no assertion of Check's in odd processes. */
static int round_trip(patas_fn function, int (*call)(int), int plain)
{
    patas_patch *patch;
    if (patas_replace(function, FAKE, &patch, NULL) != PATAS_OK)
        return 1;
    if (call(1) != 101)
        return 2;
    if (((int (*)(int))patas_original(patch))(1) != plain)
        return 3;
    if (patas_restore(patch, NULL) != PATAS_OK)
        return 4;
    return call(1) == plain ? 0 : 5;
}

static int wait_for(pid_t pid)
{
    int status = 0;
    ck_assert_int_gt(pid, 0);
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

START_TEST(a_forked_child_has_working_patches)
{
    patas_patch *patch;
    OK(patas_replace(TARGET, FAKE, &patch, &error));
    pid_t pid = fork();
    if (!pid) {
        int wrong = target(1) != 101;
        wrong += patas_restore(patch, NULL) != PATAS_OK;
        wrong += target(1) != 2;
        wrong += round_trip(SECOND, second, 2);
        _exit(wrong);
    }
    ck_assert_int_eq(wait_for(pid), 0);
    ck_assert_int_eq(target(1), 101); /* the parent's own */
    OK(patas_restore(patch, &error));
}
END_TEST

static atomic_int stop, mistakes;
static void *patches_all_the_time(void *unused)
{
    while (!stop)
        mistakes += round_trip(TARGET, target, 2);
    return unused;
}

START_TEST(forked_while_another_thread_patches)
{
    pthread_t thread;
    pthread_create(&thread, NULL, patches_all_the_time, NULL);
    for (int i = 0; i < MACHINE_ROUNDS(200); i++) {
        pid_t pid = fork();
        if (!pid)
            _exit(round_trip(SECOND, second, 2));
        ck_assert_int_eq(wait_for(pid), 0);
    }
    stop = 1;
    pthread_join(thread, NULL);
    ck_assert_int_eq(mistakes, 0);
}
END_TEST

START_TEST(forked_in_the_middle_of_a_batch)
{
    patas_patch *a, *b;
    patas_batch *batch = patas_batch_begin(NULL);
    OK(patas_batch_replace(batch, TARGET, FAKE, &a, &error));
    pid_t pid = fork();
    if (!pid) {
        int wrong = target(1) != 2;
        wrong += patas_batch_replace(batch, SECOND, FAKE, &b, NULL) != PATAS_OK;
        wrong += patas_batch_commit(batch, NULL) != PATAS_OK;
        wrong += target(1) != 101 || second(1) != 101;
        _exit(wrong);
    }
    ck_assert_int_eq(wait_for(pid), 0);
    OK(patas_batch_commit(batch, &error));
    ck_assert_int_eq(target(1), 101);
    ck_assert_int_eq(second(1), 2);
}
END_TEST

START_TEST(a_grandchild_too)
{
    pid_t pid = fork();
    if (!pid) {
        int wrong = round_trip(TARGET, target, 2);
        pid_t third = fork();
        if (!third)
            _exit(round_trip(SECOND, second, 2));
        int status;
        waitpid(third, &status, 0);
        _exit(wrong + (status != 0));
    }
    ck_assert_int_eq(wait_for(pid), 0);
}
END_TEST

/* What spawning and thread creation run, patched. vfork's child runs it with
 * the parent's memory and with every signal blocked. */
static atomic_int passed;
#define PASS(name)                                                            \
    static patas_patch *patch_##name;                                         \
    static long pass_##name(long a, long b, long c, long d, long e, long f)   \
    {                                                                         \
        passed++;                                                             \
        return ((long (*)(long, long, long, long, long, long))patas_original( \
            patch_##name))(a, b, c, d, e, f);                                 \
    }
PASS(execve)
PASS(execvp)
PASS(sigprocmask)
PASS(sigaction)
PASS(mmap)
PASS(mprotect)
PASS(pthread_sigmask)
PASS(pthread_create)
PASS(posix_spawn)
PASS(posix_spawnp)
PASS(_exit)
PASS(close)
PASS(dup2)
PASS(malloc)
PASS(free)
PASS(pthread_mutex_lock)
static const struct {
    const char *name;
    patas_fn pass;
    patas_patch **patch;
} passes[] = {
#define ROW(name)                                   \
    {                                               \
#name, (patas_fn)pass_##name, &patch_##name \
    }
    ROW(execve),
    ROW(execvp),
    ROW(sigprocmask),
    ROW(sigaction),
    ROW(mmap),
    ROW(mprotect),
    ROW(pthread_sigmask),
    ROW(pthread_create),
    ROW(posix_spawn),
    ROW(posix_spawnp),
    ROW(_exit),
    ROW(close),
    ROW(dup2),
    ROW(malloc),
    ROW(free),
    ROW(pthread_mutex_lock),
};

static void patch_the_library(void)
{
    for (size_t i = 0; i < sizeof passes / sizeof *passes; i++) {
        void *symbol = dlsym(RTLD_DEFAULT, passes[i].name);
        ck_assert_ptr_nonnull(symbol);
        OK(patas_replace((patas_fn)(uintptr_t)symbol, passes[i].pass,
                         passes[i].patch, &error));
    }
    passed = 0;
}

static void *says_seven(void *argument)
{
    *(int *)argument = 7;
    return NULL;
}

START_TEST(spawned_with_all_of_it_patched)
{
    static const char *const words[] = {"sh", "-c", "exit 5", NULL};
    patch_the_library();
    for (int i = 0; i < 20; i++) {
        pid_t pid = 0;
        int spawned = posix_spawnp(&pid, "sh", NULL, NULL,
                                   (char *const *)(uintptr_t)words, environ);
        int status = 0;
        pid_t waited = waitpid(pid, &status, 0);
        ck_assert_int_eq(spawned, 0);
        ck_assert_int_eq(waited, pid);
        ck_assert_int_eq(WEXITSTATUS(status), 5);
    }
    ck_assert_int_gt(passed, 19);
    ck_assert_int_eq(system("exit 3") >> 8, 3);
    OK(patas_restore_all(&error));
}
END_TEST

START_TEST(vforked_with_all_of_it_patched)
{
    patch_the_library();
    for (int i = 0; i < 20; i++) {
        pid_t pid = vfork();
        if (!pid) {
            execl("/bin/sh", "sh", "-c", "exit 6", NULL);
            _exit(99);
        }
        ck_assert_int_eq(wait_for(pid), 6);
    }
    OK(patas_restore_all(&error));
}
END_TEST

START_TEST(threads_begin_with_all_of_it_patched)
{
    patch_the_library();
    for (int i = 0; i < 50; i++) {
        pthread_t thread;
        int got = 0;
        ck_assert_int_eq(pthread_create(&thread, NULL, says_seven, &got), 0);
        pthread_join(thread, NULL);
        ck_assert_int_eq(got, 7);
    }
    ck_assert_int_gt(passed, 49);
    OK(patas_restore_all(&error));
}
END_TEST

/* Confined processes. ----------------------------------------------------- */

/* These system calls answer EPERM from now on; false if seccomp is missing. */
static int forbid(const int *numbers, size_t count)
{
    struct sock_filter program[64];
    unsigned short at = 0;
    program[at++] = (struct sock_filter)BPF_STMT(
        BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
    for (size_t i = 0; i < count; i++) {
        program[at++] = (struct sock_filter)BPF_JUMP(
            BPF_JMP | BPF_JEQ | BPF_K, (unsigned)numbers[i], 0, 1);
        program[at++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K,
                                                     SECCOMP_RET_ERRNO | EPERM);
    }
    program[at++] =
        (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    struct sock_fprog all = {at, program};
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
           prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &all) == 0;
}
#define FORBID(...)                    \
    forbid((const int[]){__VA_ARGS__}, \
           sizeof((int[]){__VA_ARGS__}) / sizeof(int))

START_TEST(without_membarrier)
{
    if (!FORBID(SYS_membarrier))
        CANT_HERE("no seccomp");
    ck_assert_int_eq(syscall(SYS_membarrier, MEMBARRIER_CMD_QUERY, 0, 0), -1);
    ck_assert_int_eq(round_trip(TARGET, target, 2), 0);
}
END_TEST

START_TEST(without_membarrier_and_affinity)
{
    if (!FORBID(SYS_membarrier, SYS_sched_setaffinity))
        CANT_HERE("no seccomp");
    struct expect_bytes before = bytes_of(TARGET, 16);
    patas_patch *patch;
    patas_error failure = {0};
    patas_status status = patas_replace(TARGET, FAKE, &patch, &failure);
    ck_assert_msg(status == PATAS_ERR_DENIED, "%s", patas_status_name(status));
    ck_assert_uint_eq(failure.reason, PATAS_REASON_NO_MEMBARRIER);
    SAME_BYTES(before);
    ck_assert_int_eq(target(1), 2);
}
END_TEST

START_TEST(without_process_vm_readv)
{
    if (!FORBID(SYS_process_vm_readv))
        CANT_HERE("no seccomp");
    ck_assert_int_eq(round_trip(TARGET, target, 2), 0);
}
END_TEST

START_TEST(under_mdwe)
{
    if (prctl(PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN, 0, 0, 0))
        CANT_HERE("a kernel before 6.3, or an emulator");
    ck_assert_int_eq(round_trip(TARGET, target, 2), 0);
    ck_assert_int_eq(round_trip(SECOND, second, 2), 0);
}
END_TEST

START_TEST(under_mdwe_after_the_first_patch)
{
    ck_assert_int_eq(round_trip(TARGET, target, 2), 0);
    if (prctl(PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN, 0, 0, 0))
        CANT_HERE("a kernel before 6.3, or an emulator");
    ck_assert_int_eq(round_trip(SECOND, second, 2), 0);
    ck_assert_int_eq(round_trip(TARGET, target, 2), 0);
}
END_TEST

START_TEST(a_plan_under_mdwe_maps_nothing)
{
    patas_plan_info info = {.size = sizeof info};
    patas_stats before = {.size = sizeof before},
                after = {.size = sizeof after};
    if (prctl(PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN, 0, 0, 0))
        return;
    ck_assert_int_eq(patas_stats_read(&before), PATAS_OK);
    for (unsigned i = 0; i < 2; i++) {
        OK(patas_plan(i ? TARGET : SECOND, &info, &error));
        ck_assert_int_eq(patas_stats_read(&after), PATAS_OK);
        ck_assert_uint_eq(after.mappings, before.mappings);
        ck_assert_uint_eq(after.code_bytes, before.code_bytes);
    }
    ck_assert_int_eq(round_trip(TARGET, target, 2), 0);
}
END_TEST

START_TEST(non_dumpable)
{
    ck_assert_int_eq(prctl(PR_SET_DUMPABLE, 0, 0, 0, 0), 0);
    ck_assert_int_eq(round_trip(TARGET, target, 2), 0);
}
END_TEST

static int hide_proc(void)
{
    return unshare(CLONE_NEWNS) == 0 &&
           mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
           mount("none", "/proc", "tmpfs", 0, NULL) == 0;
}

START_TEST(without_proc)
{
    if (!hide_proc())
        CANT_HERE("it takes a privilege");
    if (open("/proc/self/maps", O_RDONLY) >= 0)
        CANT_HERE("an emulator has a list of its own, now an empty one");
    struct expect_bytes before = bytes_of(TARGET, 16);
    patas_patch *patch;
    patas_error failure = {0};
    patas_status status = patas_replace(TARGET, FAKE, &patch, &failure);
    if (status == PATAS_OK) {
        ck_assert_int_eq(target(1), 101);
        OK(patas_restore(patch, &error));
        return;
    }
    /* What the page's protection is can't be known: refused, and said. */
    ck_assert_msg(status == PATAS_ERR_DENIED || status == PATAS_ERR_OS, "%s",
                  patas_status_name(status));
    ck_assert(failure.reason == PATAS_REASON_PROTECTION ||
              failure.reason == PATAS_REASON_NO_WRITE);
    SAME_BYTES(before);
}
END_TEST

/* Threads. ---------------------------------------------------------------- */

static void *calls_and_blocks(void *unused)
{
    unsigned long everything = ~0ul;
    syscall(SYS_rt_sigprocmask, SIG_SETMASK, &everything, NULL, 8);
    while (!stop) {
        int got = target(1);
        mistakes += got != 2 && got != 101;
    }
    return unused;
}

START_TEST(a_thread_that_blocks_every_signal)
{
    pthread_t thread;
    pthread_create(&thread, NULL, calls_and_blocks, NULL);
    for (int i = 0; i < MACHINE_ROUNDS(300); i++) {
        patas_patch *patch;
        OK(patas_replace(TARGET, FAKE, &patch, &error));
        OK(patas_restore(patch, &error));
    }
    stop = 1;
    pthread_join(thread, NULL);
    ck_assert_int_eq(mistakes, 0);
}
END_TEST

static void *patches_another(void *unused)
{
    for (int i = 0; i < MACHINE_ROUNDS(1000); i++)
        mistakes += round_trip(SECOND, second, 2);
    return unused;
}

START_TEST(two_threads_patch_at_once)
{
    pthread_t thread;
    pthread_create(&thread, NULL, patches_another, NULL);
    for (int i = 0; i < MACHINE_ROUNDS(1000); i++)
        mistakes += round_trip(TARGET, target, 2);
    pthread_join(thread, NULL);
    ck_assert_int_eq(mistakes, 0);
}
END_TEST

/* The program's own handler for the trap signals keeps what is its own. */
static atomic_int own_traps;
static void on_trap(int number, siginfo_t *info, void *context)
{
    (void)info;
    MACHINE_STEP_OVER(context);
    own_traps += number == SIGTRAP;
}

START_TEST(the_programs_own_traps_are_its_own)
{
    struct sigaction action = {.sa_sigaction = on_trap, .sa_flags = SA_SIGINFO};
    patas_options options = {sizeof options, PATAS_ALLOW_TRAP, NULL};
    patas_patch *patch;
    sigaction(SIGTRAP, &action, NULL);
    OK(patas_replace_with(TARGET, FAKE, &options, &patch, &error));
    __asm__ volatile(MACHINE3("int3", "int3", "brk #0x3e8"));
    ck_assert_int_eq(own_traps, 1);
    sigaction(SIGTRAP, &action, NULL); /* installed later, too */
    __asm__ volatile(MACHINE3("int3", "int3", "brk #0x3e8"));
    ck_assert_int_eq(own_traps, 2);
    ck_assert_int_eq(target(1), 101);
    OK(patas_restore(patch, &error));
    __asm__ volatile(MACHINE3("int3", "int3", "brk #0x3e8"));
    ck_assert_int_eq(own_traps, 3);
}
END_TEST

static void add_tests(TCase *tests)
{
    tcase_add_test(tests, a_forked_child_has_working_patches);
    tcase_add_test(tests, forked_while_another_thread_patches);
    tcase_add_test(tests, forked_in_the_middle_of_a_batch);
    tcase_add_test(tests, a_grandchild_too);
    tcase_add_test(tests, spawned_with_all_of_it_patched);
    tcase_add_test(tests, vforked_with_all_of_it_patched);
    tcase_add_test(tests, threads_begin_with_all_of_it_patched);
    tcase_add_test(tests, without_membarrier);
    tcase_add_test(tests, without_membarrier_and_affinity);
    tcase_add_test(tests, without_process_vm_readv);
    tcase_add_test(tests, under_mdwe);
    tcase_add_test(tests, under_mdwe_after_the_first_patch);
    tcase_add_test(tests, a_plan_under_mdwe_maps_nothing);
    tcase_add_test(tests, non_dumpable);
    tcase_add_test(tests, without_proc);
    tcase_add_test(tests, a_thread_that_blocks_every_signal);
    tcase_add_test(tests, two_threads_patch_at_once);
    tcase_add_test(tests, the_programs_own_traps_are_its_own);
}

EXPECT_MAIN("process", add_tests)
