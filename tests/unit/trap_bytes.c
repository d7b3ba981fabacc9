/* SPDX-License-Identifier: MIT */
/* The self-test: which bytes trap on this machine. */
#define TRAP_CODE_MAIN
#include "trap_code.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

static volatile sig_atomic_t met_signal, met_offset;
static uint8_t *met_code;

static void meet(int number, siginfo_t *info, void *context)
{
    (void)info;
    met_signal = number;
    met_offset = (int)(context_pc(context) - (uintptr_t)met_code);
    context_go(context, (uintptr_t)met_code + 64);
}

START_TEST(each_byte_listed_traps_in_this_process_too)
{
    struct sigaction action = {.sa_sigaction = meet, .sa_flags = SA_SIGINFO};
    unsigned count;
    const uint8_t *bytes = patas__trap_bytes(&count);

    met_code = code_page();
    code_put(met_code + 64, RETURN_42, 6);
    ck_assert_int_eq(sigaction(TRAP_SIGNAL, &action, NULL), 0);
    ck_assert_int_eq(sigaction(SIGTRAP, &action, NULL), 0);
    ck_assert_uint_ge(count, 2);
    ck_assert_uint_le(count, 16);
    for (unsigned i = 0; i < count; i++) {
        bool last = i == count - 1;
        met_signal = 0;
        met_code[0] = bytes[i];
        ck_assert_int_eq(code_run(met_code), 42);
        ck_assert_int_eq(met_signal, last ? SIGTRAP : TRAP_SIGNAL);
        ck_assert_int_eq(met_offset, last);
        ck_assert(patas__trap_is(bytes[i]));
        printf("%02x ", bytes[i]);
    }
    printf("trap on this processor\n");
}
END_TEST

START_TEST(int3_is_last_and_the_other_is_there)
{
    unsigned count;
    const uint8_t *bytes = patas__trap_bytes(&count);

    ck_assert_uint_eq(bytes[count - 1], 0xcc);
    ck_assert_ptr_nonnull(memchr(bytes, (uint8_t)*TRAP_PLANTED, count));
}
END_TEST

START_TEST(the_two_that_are_promised_are_known_before_the_self_test)
{
    ck_assert(patas__trap_is(0xcc));
    ck_assert(patas__trap_is((uint8_t)*TRAP_PLANTED));
    ck_assert(!patas__trap_is(0x06));
    ck_assert(!patas__trap_is(0x90));
}
END_TEST

START_TEST(the_answer_stays)
{
    unsigned first, second;
    const uint8_t *bytes = patas__trap_bytes(&first);

    ck_assert_ptr_eq(patas__trap_bytes(&second), bytes);
    ck_assert_uint_eq(first, second);
}
END_TEST

static volatile sig_atomic_t signals;

static void count_signal(int number)
{
    (void)number;
    signals++;
}

START_TEST(the_program_sees_no_signal_no_child_and_no_other_mask)
{
    struct sigaction action = {.sa_handler = count_signal}, now;
    sigset_t before, after;
    unsigned count;

    for (int number = 1; number < 32; number++)
        if (number != SIGKILL && number != SIGSTOP)
            ck_assert_int_eq(sigaction(number, &action, NULL), 0);
    sigprocmask(SIG_SETMASK, NULL, &before);
    patas__trap_bytes(&count);
    sigprocmask(SIG_SETMASK, NULL, &after);
    ck_assert_int_eq(signals, 0);
    ck_assert_mem_eq(&before, &after, 8);
    ck_assert_int_eq(sigaction(TRAP_SIGNAL, NULL, &now), 0);
    ck_assert(now.sa_handler == count_signal);
    ck_assert_int_eq(waitpid(-1, NULL, __WALL | WNOHANG), -1);
    ck_assert_int_eq(errno, ECHILD);
}
END_TEST

static void deny(long number)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)number, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {4, code};

    ck_assert_int_eq(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
    ck_assert_int_eq(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program), 0);
}

static const long needed[] = {SYS_clone, MACHINE_SYS_MMAP, SYS_mprotect,
                              SYS_rt_sigaction, SYS_sigaltstack};

START_TEST(where_it_cannot_ask_it_knows_the_two_that_are_promised)
{
    unsigned count;
    const uint8_t *bytes;

    deny(needed[_i]);
    bytes = patas__trap_bytes(&count);
    ck_assert_uint_eq(count, 2);
    ck_assert_uint_eq(bytes[0], (uint8_t)*TRAP_PLANTED);
    ck_assert_uint_eq(bytes[1], 0xcc);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("trap bytes");
    TCase *tcase = tcase_create("self-test");
    SRunner *runner;
    int failed;

    suite_add_tcase(suite, tcase);
    tcase_add_test(tcase, each_byte_listed_traps_in_this_process_too);
    tcase_add_test(tcase, int3_is_last_and_the_other_is_there);
    tcase_add_test(tcase,
                   the_two_that_are_promised_are_known_before_the_self_test);
    tcase_add_test(tcase, the_answer_stays);
    tcase_add_test(tcase,
                   the_program_sees_no_signal_no_child_and_no_other_mask);
    tcase_add_loop_test(tcase,
                        where_it_cannot_ask_it_knows_the_two_that_are_promised,
                        0, sizeof needed / sizeof *needed);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
