/* SPDX-License-Identifier: MIT */
/*
 * The handler: arrivals are carried, and everything else happens to the program
 * as if we were not there.
 *
 * The latter is tested by doing each thing twice, in two processes, one of them
 * armed, and comparing all that a program or its parent can see.
 */
#define TRAP_CODE_MAIN
#include "trap_code.h"

#include <errno.h>
#include <execinfo.h>
#include <pthread.h>
#include <setjmp.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <sys/wait.h>

static void arm(void)
{
    ck_assert_int_eq(patas__trap_arm(), 0);
}

/* What the wrapper of sigaction() does. */
static int wrapped(int number, const struct sigaction *action,
                   struct sigaction *old)
{
    return patas__trap_sigaction(number, action, old, (patas_fn)sigaction);
}

/* ---- carried --------------------------------------------------------- */

START_TEST(an_arrival_goes_on_at_the_other_place)
{
    unsigned count;
    const uint8_t *bytes = patas__trap_bytes(&count);
    uint8_t *code = code_page();

    arm();
    code_put(code + 64, RETURN_42, 6);
    carry(code, code + 64);
    for (unsigned i = 0; i < count; i++) {
        code[0] = bytes[i];
        ck_assert_int_eq(code_run(code), 42);
        ck_assert_uint_eq(patas__trap_carried(), i + 1);
    }
}
END_TEST

START_TEST(nothing_but_the_pc_changes)
{
    uint8_t *code = code_page();
    long flags, zone;

    arm();
    code_put(code, TRAP_PLANTED, 1);
    code_put(code + 64, "\xff\xe3", 2); /* jmp *%rbx */
    carry(code, code + 64);
    /* The carry flag set, the red zone in use if there is one, and a value a
     * register. */
    __asm__ volatile(MACHINE("movq $77, -8(%%rsp)\n"
                             "movq $78, -128(%%rsp)\n"
                             "leaq 1f(%%rip), %%rbx\n"
                             "stc\n"
                             "jmp *%2\n"
                             "1: sbbq %0, %0\n"
                             "movq -8(%%rsp), %1\n"
                             "addq -128(%%rsp), %1\n",
                             "pushl $77\n"
                             "pushl $78\n"
                             "call 2f\n"
                             "2: popl %%ebx\n"
                             "addl $1f-2b, %%ebx\n"
                             "stc\n"
                             "jmp *%2\n"
                             "1: sbbl %0, %0\n"
                             "popl %1\n"
                             "addl (%%esp), %1\n"
                             "leal 4(%%esp), %%esp\n")
                     : "=&r"(flags), "=&r"(zone)
                     : "r"(code)
                     : MACHINE("rbx", "ebx"), "memory", "cc");
    ck_assert_int_eq(flags, -1);
    ck_assert_int_eq(zone, 77 + 78);
}
END_TEST

/* Late: the registry no longer knows the address, and the byte was put back
 * between the trap and the handler's look at it. */
static const uint8_t late[] = {MACHINE(0xd6, 0xf4), 0xcc};

START_TEST(a_trap_that_was_put_back_meanwhile_is_over)
{
    uint8_t *code = code_page();

    arm();
    for (int round = 0; round < 3; round++) {
        code_put(code, RETURN_42, 6);
        carry_count = 0;
        carry(code, NULL);
        carry_answers[0].put_back = code[0];
        code[0] = late[_i];
        ck_assert_int_eq(code_run(code), 42);
        arm(); /* as each commit does that puts traps there */
    }
}
END_TEST

static volatile int handled;

static void skip_own(int number, siginfo_t *info, void *context)
{
    (void)number;
    (void)info;
    handled++;
    context_go(context, context_pc(context) + 2);
}

START_TEST(what_traps_for_its_own_reasons_is_not_tried_for_ever)
{
    static const char *const own[] = {
        TRAP_OWN,
        MACHINE("\x62\x62",
                "\xfb\x90"), /* the inner byte of no instruction; sti */
        MACHINE("\x06\x90", "\xf4\x90"), /* bytes that we might have planted */
    };
    struct sigaction action = {.sa_sigaction = skip_own,
                               .sa_flags = SA_SIGINFO};
    uint8_t *code = code_page();

    ck_assert_int_eq(sigaction(TRAP_SIGNAL, &action, NULL), 0);
    arm();
    code_put(code, own[_i], 2);
    code_put(code + 2, RETURN_42, 6);
    for (int round = 1; round < 50; round++) {
        ck_assert_int_eq(code_run(code), 42);
        ck_assert_int_eq(handled, round);
    }
}
END_TEST

/* ---- as if we were not there ----------------------------------------- */

enum arming {
    NOT_ARMED,
    ARMED_AFTER,
    ARMED_BEFORE,
    ARMINGS
};

/* All that can be seen of one run; compared by memcmp. */
struct seen {
    int signal;   /* the last that the process got ... */
    int code;     /* ... its details ... */
    long offset;  /* ... and the PC behind the test's code ... */
    long address; /* ... and si_addr */
    int status;   /* of its end */
    int calls;    /* of its handler, and what that saw last: */
    int handler_code, handler_error;
    long handler_offset, handler_address;
    uint64_t mask_inside, mask_frame, mask_after;
    int on_alternate_stack;
    int disposition_inside; /* 0 default, 1 ignored, 2 the handler */
    int flags_inside;
};

static struct seen *seen; /* shared by the two processes */
static uint8_t *scene;    /* the code that traps */

struct case_of {
    const char *name;
    void (*act)(void);
    int number;
    int install; /* 0 default, 1 ignore, 2 the handler */
    int flags;
    int also_block;
    bool alternate;
};

static const struct case_of *now;

static uint64_t mask_now(void)
{
    uint64_t mask = 0;
    syscall(SYS_rt_sigprocmask, SIG_BLOCK, NULL, &mask, 8);
    return mask;
}

static void act_step(void);
static int (*ask)(int, const struct sigaction *, struct sigaction *);

static void watch(int number, siginfo_t *info, void *context)
{
    const ucontext_t *u = context;
    struct sigaction action;
    stack_t stack;

    seen->calls++;
    if (now->flags & SA_SIGINFO) {
        seen->handler_code = info->si_code;
        seen->handler_error = info->si_errno;
        if (info->si_code > 0)
            seen->handler_address =
                info->si_addr ? (uint8_t *)info->si_addr - scene : -1;
        if (info->si_code > 0)
            seen->handler_offset =
                (long)(context_pc(context) - (uintptr_t)scene);
        memcpy(&seen->mask_frame, &u->uc_sigmask, 8);
    }
    seen->mask_inside = mask_now();
    sigaltstack(NULL, &stack);
    if (now->flags & SA_ONSTACK)
        seen->on_alternate_stack = (stack.ss_flags & SS_ONSTACK) != 0;
    ask(number, NULL, &action);
    seen->disposition_inside = action.sa_handler == SIG_DFL   ? 0
                               : action.sa_handler == SIG_IGN ? 1
                                                              : 2;
    seen->flags_inside = action.sa_flags;
    if (now->flags & SA_SIGINFO && info->si_code > 0)
        context_go(context, (uintptr_t)scene + 64);
    if (now->act == act_step)
        ((ucontext_t *)context)->uc_mcontext.gregs[REG_EFL] &= ~0x100L;
}

static void act_own(void)
{
    code_put(scene, TRAP_OWN, 2);
    code_run(scene);
}
static void act_int3(void)
{
    code_put(scene, "\xcc", 1);
    code_run(scene);
}
static void act_int3_long(void)
{
    code_put(scene, "\xcd\x03\x90", 3);
    code_run(scene);
}
static void act_planted(void)
{
    code_put(scene, TRAP_PLANTED, 1);
    code_run(scene);
}
static void act_icebp(void)
{
    code_put(scene, "\xf1", 1);
    code_run(scene);
}
static void act_step(void)
{
    /* pushf; orb $1, 1(%rsp); popf; nop; nop */
    code_put(scene, "\x9c\x80\x4c\x24\x01\x01\x9d\x90\x90", 9);
    code_run(scene);
}
static void act_twice(void)
{
    act_own();
    act_own();
}
static void act_fault(void)
{
    code_put(scene, "\x31\xc0\x8b\x00", 4); /* xor %eax, %eax; mov (%eax) */
    code_run(scene);
}
static void act_kill(void)
{
    kill(getpid(), now->number);
}
static void act_tgkill(void)
{
    syscall(SYS_tgkill, getpid(), gettid(), now->number);
}
static void act_queue(void)
{
    sigqueue(getpid(), now->number, (union sigval){.sival_int = 5});
}
static void act_blocked(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, now->number);
    sigprocmask(SIG_BLOCK, &set, NULL);
    kill(getpid(), now->number);
    sigprocmask(SIG_UNBLOCK, &set, NULL);
}
static void act_blocked_trap(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, now->number);
    sigprocmask(SIG_BLOCK, &set, NULL);
    act_own();
}

/* The process that is looked at. It is traced, so that its parent sees each
 * signal before it is delivered. */
static void live(enum arming arming)
{
    struct sigaction action = {.sa_flags = now->flags};
    struct rlimit no_core = {0, 0};
    static char stack[65536];
    stack_t alternate = {.ss_sp = stack, .ss_size = sizeof stack};

    setrlimit(RLIMIT_CORE, &no_core);
    ptrace(PTRACE_TRACEME, 0, 0, 0);
    code_put(scene + 64, RETURN_42, 6);
    if (now->alternate)
        sigaltstack(&alternate, NULL);
    if (now->install == 2)
        action.sa_sigaction = watch;
    else
        action.sa_handler = now->install ? SIG_IGN : SIG_DFL;
    if (now->also_block)
        sigaddset(&action.sa_mask, now->also_block);
    if (arming == ARMED_BEFORE && patas__trap_arm())
        _exit(90);
    ask = arming == NOT_ARMED ? sigaction : wrapped;
    if ((arming == ARMED_BEFORE ? wrapped : sigaction)(now->number, &action,
                                                       NULL))
        _exit(91);
    if (arming == ARMED_AFTER && patas__trap_arm())
        _exit(92);
    now->act();
    seen->mask_after = mask_now();
    _exit(0);
}

static void look(pid_t child)
{
    int status;

    while (waitpid(child, &status, 0) == child && WIFSTOPPED(status)) {
        siginfo_t info;
        unsigned long pc;
        int number = WSTOPSIG(status);
        ptrace(PTRACE_GETSIGINFO, child, 0, &info);
        pc = (unsigned long)ptrace(PTRACE_PEEKUSER, child,
                                   offsetof(struct user, regs.MACHINE_USER_PC),
                                   0);
        seen->signal = number;
        seen->code = info.si_code;
        if (info.si_code > 0) {
            seen->offset = (long)(pc - (uintptr_t)scene);
            seen->address = info.si_addr ? (uint8_t *)info.si_addr - scene : -1;
        }
        ptrace(PTRACE_CONT, child, 0, number);
    }
    seen->status = status;
}

static void watch_case(const struct case_of *which, enum arming arming,
                       struct seen *result)
{
    pid_t child;

    now = which;
    scene = code_page();
    seen = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
                -1, 0);
    child = fork();
    if (child == 0)
        live(arming);
    look(child);
    memcpy(result, seen, sizeof *result); /* the gaps, too */
    munmap(scene, 4096);
    munmap(seen, 4096);
}

#define SI SA_SIGINFO
static const struct case_of cases[] = {
    {"own, default", act_own, TRAP_SIGNAL, 0, 0, 0, false},
    {"planted, default", act_planted, TRAP_SIGNAL, 0, 0, 0, false},
    {"page fault, default", act_fault, SIGSEGV, 0, 0, 0, false},
    {"page fault, ignored", act_fault, SIGSEGV, 1, 0, 0, false},
    {"page fault, handler", act_fault, SIGSEGV, 2, SI, 0, false},
    {"page fault, no stack", act_fault, SIGSEGV, 2, SI | SA_ONSTACK, 0, true},
    {"int3, default", act_int3, SIGTRAP, 0, 0, 0, false},
    {"cd 03, default", act_int3_long, SIGTRAP, 0, 0, 0, false},
    {"icebp, default", act_icebp, SIGTRAP, 0, 0, 0, false},
    {"single step, default", act_step, SIGTRAP, 0, 0, 0, false},
    {"kill, default", act_kill, SIGTRAP, 0, 0, 0, false},
    {"tgkill, default", act_tgkill, TRAP_SIGNAL, 0, 0, 0, false},
    {"sigqueue, default", act_queue, SIGTRAP, 0, 0, 0, false},
    {"blocked and sent, default", act_blocked, TRAP_SIGNAL, 0, 0, 0, false},
    {"own, ignored", act_own, TRAP_SIGNAL, 1, 0, 0, false},
    {"int3, ignored", act_int3, SIGTRAP, 1, 0, 0, false},
    {"kill, ignored", act_kill, TRAP_SIGNAL, 1, 0, 0, false},
    {"tgkill, ignored", act_tgkill, SIGTRAP, 1, 0, 0, false},
    {"blocked and sent, ignored", act_blocked, SIGTRAP, 1, 0, 0, false},
    {"own, handler", act_own, TRAP_SIGNAL, 2, SI, 0, false},
    {"planted, handler", act_planted, TRAP_SIGNAL, 2, SI, 0, false},
    {"int3, handler", act_int3, SIGTRAP, 2, SI, 0, false},
    {"cd 03, handler", act_int3_long, SIGTRAP, 2, SI, 0, false},
    {"icebp, handler", act_icebp, SIGTRAP, 2, SI, 0, false},
    {"single step, handler", act_step, SIGTRAP, 2, SI, 0, false},
    {"kill, handler", act_kill, SIGTRAP, 2, SI, 0, false},
    {"tgkill, handler", act_tgkill, TRAP_SIGNAL, 2, SI, 0, false},
    {"sigqueue, handler", act_queue, TRAP_SIGNAL, 2, SI, 0, false},
    {"blocked and sent, handler", act_blocked, TRAP_SIGNAL, 2, SI, 0, false},
    {"no SA_SIGINFO", act_kill, TRAP_SIGNAL, 2, 0, 0, false},
    {"SA_NODEFER", act_own, TRAP_SIGNAL, 2, SI | SA_NODEFER, 0, false},
    {"mask", act_own, TRAP_SIGNAL, 2, SI, SIGUSR1, false},
    {"mask of its own number and SA_NODEFER", act_int3, SIGTRAP, 2,
     SI | SA_NODEFER, SIGTRAP, false},
    {"mask of SIGKILL", act_int3, SIGTRAP, 2, SI, SIGKILL, false},
    {"SA_RESETHAND", act_own, TRAP_SIGNAL, 2, SI | (int)SA_RESETHAND, 0, false},
    {"SA_RESETHAND, twice", act_twice, TRAP_SIGNAL, 2, SI | (int)SA_RESETHAND,
     0, false},
    {"twice", act_twice, TRAP_SIGNAL, 2, SI, 0, false},
    {"SA_ONSTACK", act_own, TRAP_SIGNAL, 2, SI | SA_ONSTACK, 0, true},
    {"SA_ONSTACK without a stack", act_own, TRAP_SIGNAL, 2, SI | SA_ONSTACK, 0,
     false},
    {"no SA_ONSTACK with a stack", act_own, TRAP_SIGNAL, 2, SI, 0, true},
    {"trap with its signal blocked", act_blocked_trap, TRAP_SIGNAL, 2, SI, 0,
     false},
};
enum {
    CASES = sizeof cases / sizeof *cases
};

START_TEST(a_program_and_its_parent_see_what_they_would_without_us)
{
    struct seen plain;

    watch_case(&cases[_i], NOT_ARMED, &plain);

    ck_assert_int_ne(WIFEXITED(plain.status) && WEXITSTATUS(plain.status), 1);
    for (int arming = 1; arming < ARMINGS; arming++) {
        struct seen with;
        const char *name = cases[_i].name;
        watch_case(&cases[_i], (enum arming)arming, &with);
        ck_assert_msg(with.signal == plain.signal, "%s: signal %d, not %d",
                      name, with.signal, plain.signal);
        ck_assert_msg(with.code == plain.code, "%s: si_code %d, not %d", name,
                      with.code, plain.code);
        ck_assert_msg(with.offset == plain.offset, "%s: PC %+ld, not %+ld",
                      name, with.offset, plain.offset);
        ck_assert_msg(with.status == plain.status, "%s: end %x, not %x", name,
                      with.status, plain.status);
        ck_assert_msg(with.mask_inside == plain.mask_inside,
                      "%s: mask %lx, not %lx", name,
                      (unsigned long)with.mask_inside,
                      (unsigned long)plain.mask_inside);
        ck_assert_msg(with.flags_inside == plain.flags_inside,
                      "%s: flags %x, not %x", name, with.flags_inside,
                      plain.flags_inside);
        ck_assert_mem_eq(&with, &plain, sizeof plain);
    }
}
END_TEST

/* ---- the chain ------------------------------------------------------- */

static struct {
    uintptr_t handler;
    unsigned long flags;
    uintptr_t restorer;
    uint64_t mask;
} before_raw;

static char order[64];

static void note(const char *what)
{
    if (strlen(order) < sizeof order - 4)
        strcat(order, what);
}

static void first_handler(int number, siginfo_t *info, void *context)
{
    note("1");
    skip_own(number, info, context);
}

/* Calls what was there before it, as crash reporters do. */
static void second_handler(int number, siginfo_t *info, void *context)
{
    note("2>");
    ((void (*)(int, siginfo_t *, void *))before_raw.handler)(number, info,
                                                             context);
}

static void install_raw(int number, void (*handler)(int, siginfo_t *, void *))
{
    struct sigaction by_libc = {.sa_sigaction = handler,
                                .sa_flags = SA_SIGINFO | SA_NODEFER};
    long raw[8], was[8];

    /* The C library's call, to learn its restorer; then all by hand. */
    syscall(SYS_rt_sigaction, number, NULL, &before_raw, 8);
    ck_assert_int_eq(sigaction(SIGUSR2, &by_libc, NULL), 0);
    syscall(SYS_rt_sigaction, SIGUSR2, NULL, raw, 8);
    ck_assert_int_eq(syscall(SYS_rt_sigaction, number, raw, was, 8), 0);
}

START_TEST(a_handler_put_in_front_by_a_raw_call_goes_behind_at_the_next_arming)
{
    struct sigaction action = {.sa_sigaction = first_handler,
                               .sa_flags = SA_SIGINFO};
    uint8_t *code = code_page();

    ck_assert_int_eq(sigaction(TRAP_SIGNAL, &action, NULL), 0);
    arm();
    install_raw(TRAP_SIGNAL, second_handler);
    /* In front of ours it passes our traps on, being so kind. */
    code_put(code, TRAP_PLANTED, 1);
    code_put(code + 64, RETURN_42, 6);
    carry(code, code + 64);
    ck_assert_int_eq(code_run(code), 42);
    ck_assert_str_eq(order, "2>");
    arm();
    order[0] = '\0';
    ck_assert_int_eq(code_run(code), 42);
    ck_assert_str_eq(order, "");
    /* A trap that isn't ours passes both, in the order they would have. */
    code_put(code + 128, TRAP_OWN RETURN_42, 8);
    ck_assert_int_eq(code_run(code + 128), 42);
    ck_assert_str_eq(order, "2>1");
    arm();
    order[0] = '\0';
    ck_assert_int_eq(code_run(code + 128), 42);
    ck_assert_str_eq(order, "2>1");
}
END_TEST

START_TEST(handlers_that_call_each_other_end_at_the_default)
{
    uint8_t *code = code_page();
    struct sigaction none = {.sa_handler = SIG_DFL}, found;

    arm();
    install_raw(TRAP_SIGNAL, second_handler);
    arm();
    ck_assert_int_eq(wrapped(TRAP_SIGNAL, NULL, &found), 0);
    ck_assert(found.sa_sigaction == second_handler);
    ck_assert_int_eq(wrapped(TRAP_SIGNAL, &none, NULL), 0);
    ck_assert_int_eq(wrapped(TRAP_SIGNAL, &found, NULL), 0);
    arm();
    code_put(code, TRAP_OWN RETURN_42, 8);
    code_run(code);
}
END_TEST

START_TEST(a_default_put_in_front_by_a_raw_call_counts)
{
    struct sigaction action = {.sa_sigaction = first_handler,
                               .sa_flags = SA_SIGINFO};
    long raw[8] = {0};
    uint8_t *code = code_page();

    ck_assert_int_eq(sigaction(TRAP_SIGNAL, &action, NULL), 0);
    arm();
    ck_assert_int_eq(syscall(SYS_rt_sigaction, TRAP_SIGNAL, raw, NULL, 8), 0);
    arm();
    code_put(code, TRAP_PLANTED, 1);
    code_put(code + 64, RETURN_42, 6);
    carry(code, code + 64);
    ck_assert_int_eq(code_run(code), 42);
    code_put(code + 128, TRAP_OWN, 2);
    code_run(code + 128);
}
END_TEST

START_TEST(sigaction_answers_as_the_kernel_would)
{
    struct sigaction action = {.sa_sigaction = first_handler,
                               .sa_flags = SA_SIGINFO | SA_RESTART};
    struct sigaction old, real, plain;

    sigaddset(&action.sa_mask, SIGUSR1);
    /* Not armed: the call goes through. */
    ck_assert_int_eq(wrapped(SIGTRAP, &action, NULL), 0);
    ck_assert_int_eq(sigaction(SIGTRAP, NULL, &plain), 0);
    ck_assert(plain.sa_sigaction == first_handler);
    arm();
    ck_assert_int_eq(wrapped(SIGTRAP, NULL, &old), 0);
    ck_assert(old.sa_sigaction == first_handler);
    ck_assert_int_eq(old.sa_flags, plain.sa_flags);
    ck_assert_mem_eq(&old.sa_mask, &plain.sa_mask, 8);
    /* Old and new in one place. */
    action.sa_handler = SIG_IGN;
    ck_assert_int_eq(wrapped(SIGTRAP, &action, &action), 0);
    ck_assert(action.sa_sigaction == first_handler);
    ck_assert_int_eq(wrapped(SIGTRAP, NULL, &old), 0);
    ck_assert(old.sa_handler == SIG_IGN);
    ck_assert_int_eq(wrapped(SIGTRAP, NULL, NULL), 0);
    /* Our own is never seen, and stays. */
    ck_assert_int_eq(sigaction(SIGTRAP, NULL, &real), 0);
    ck_assert(real.sa_handler != SIG_IGN);
    ck_assert(real.sa_sigaction != first_handler);
    /* Others pass by. */
    ck_assert_int_eq(wrapped(SIGUSR1, &action, NULL), 0);
    ck_assert_int_eq(sigaction(SIGUSR1, NULL, &real), 0);
    ck_assert(real.sa_sigaction == first_handler);
    ck_assert_int_eq(wrapped(0, NULL, &old), -1);
    ck_assert_int_eq(errno, EINVAL);
    ck_assert_int_eq(wrapped(SIGKILL, &action, NULL), -1);
    ck_assert_int_eq(errno, EINVAL);
}
END_TEST

/* ---- inside handlers ------------------------------------------------- */

static uint8_t *inner;

static void trap_again(int number, siginfo_t *info, void *context)
{
    handled += code_run(inner);
    context_go(context, context_pc(context) + (number == TRAP_SIGNAL ? 2 : 0));
    (void)info;
}

START_TEST(a_chained_handler_may_meet_a_trap)
{
    struct sigaction action = {.sa_sigaction = trap_again,
                               .sa_flags = SA_SIGINFO};
    uint8_t *code = code_page();

    if (_i) /* with its own signal blocked only the other kind may come */
        action.sa_flags |= SA_NODEFER;
    inner = code_page();
    code_put(inner, _i ? TRAP_PLANTED : "\xcc", 1);
    code_put(inner + 64, RETURN_42, 6);
    carry(inner, inner + 64);
    ck_assert_int_eq(sigaction(TRAP_SIGNAL, &action, NULL), 0);
    arm();
    code_put(code, TRAP_OWN RETURN_42, 8);
    ck_assert_int_eq(code_run(code), 42);
    ck_assert_int_eq(handled, 42);
    ck_assert_uint_eq(patas__trap_carried(), 1);
}
END_TEST

static sigjmp_buf place;

static void jump_out(int number, siginfo_t *info, void *context)
{
    (void)number;
    (void)info;
    (void)context;
    siglongjmp(place, 1);
}

START_TEST(a_chained_handler_may_jump_out)
{
    struct sigaction action = {.sa_sigaction = jump_out,
                               .sa_flags = SA_SIGINFO};
    volatile int times = 0;
    uint8_t *code = code_page();

    ck_assert_int_eq(sigaction(TRAP_SIGNAL, &action, NULL), 0);
    arm();
    code_put(code, TRAP_OWN, 2);
    for (int i = 0; i < 100; i++) {
        if (sigsetjmp(place, 1) == 0)
            code_run(code);
        else
            times++;
        ck_assert_uint_eq(mask_now(), 0);
    }
    ck_assert_int_eq(times, 100);
}
END_TEST

static void *frames[32];
static int frame_count;

static void look_back(int number, siginfo_t *info, void *context)
{
    frame_count = backtrace(frames, 32);
    skip_own(number, info, context);
}

__attribute__((noinline)) static void trap_here(void)
{
    __asm__ volatile(MACHINE("ud2", "cli\n nop"));
}

START_TEST(a_chained_handler_can_look_back_through_ours)
{
    struct sigaction action = {.sa_sigaction = look_back,
                               .sa_flags = SA_SIGINFO};
    bool found = false;

    ck_assert_int_eq(sigaction(TRAP_SIGNAL, &action, NULL), 0);
    arm();
    trap_here();
    for (int i = 0; i < frame_count; i++) {
        uintptr_t from = (uintptr_t)frames[i] - (uintptr_t)trap_here;
        found = found || from < 32;
    }
    ck_assert(found);
}
END_TEST

/* ---- from many threads ----------------------------------------------- */

static volatile int stop, torn;

static void see_mask(int number, siginfo_t *info, void *context, int mine)
{
    sigset_t set;

    pthread_sigmask(SIG_SETMASK, NULL, &set);
    if (sigismember(&set, SIGUSR1) != (mine == 1) ||
        sigismember(&set, SIGUSR2) != (mine == 2))
        torn = 1;
    skip_own(number, info, context);
}
static void with_usr1(int number, siginfo_t *info, void *context)
{
    see_mask(number, info, context, 1);
}
static void with_usr2(int number, siginfo_t *info, void *context)
{
    see_mask(number, info, context, 2);
}

static void *trap_often(void *code)
{
    while (!stop)
        if (code_run(code) != 42)
            torn = 2;
    return NULL;
}

START_TEST(no_handler_is_called_with_the_mask_of_another)
{
    struct sigaction one = {.sa_sigaction = with_usr1, .sa_flags = SA_SIGINFO};
    struct sigaction two = {.sa_sigaction = with_usr2, .sa_flags = SA_SIGINFO};
    uint8_t *code = code_page();
    pthread_t threads[3];

    sigaddset(&one.sa_mask, SIGUSR1);
    sigaddset(&two.sa_mask, SIGUSR2);
    ck_assert_int_eq(sigaction(TRAP_SIGNAL, &one, NULL), 0);
    arm();
    code_put(code, TRAP_OWN RETURN_42, 8);
    for (int i = 0; i < 3; i++)
        pthread_create(&threads[i], NULL, trap_often, code);
    for (int i = 0; i < 100000; i++) {
        struct sigaction old;
        ck_assert_int_eq(wrapped(TRAP_SIGNAL, i % 2 ? &one : &two, &old), 0);
        ck_assert(sigismember(&old.sa_mask, SIGUSR1) ==
                  (old.sa_sigaction == with_usr1));
    }
    stop = 1;
    for (int i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    ck_assert_int_eq(torn, 0);
    ck_assert_int_gt(handled, 0);
}
END_TEST

static void *change_often(void *argument)
{
    struct sigaction one = {.sa_sigaction = skip_own, .sa_flags = SA_SIGINFO};
    (void)argument;
    while (!stop)
        wrapped(TRAP_SIGNAL, &one, NULL);
    return NULL;
}

START_TEST(a_forked_child_can_trap_and_change_handlers)
{
    struct sigaction one = {.sa_sigaction = skip_own, .sa_flags = SA_SIGINFO};
    uint8_t *code = code_page();
    pthread_t thread;

    code_put(code, TRAP_PLANTED, 1);
    code_put(code + 64, RETURN_42, 6);
    code_put(code + 128, TRAP_OWN RETURN_42, 8);
    carry(code, code + 64);
    ck_assert_int_eq(sigaction(TRAP_SIGNAL, &one, NULL), 0);
    arm();
    pthread_create(&thread, NULL, change_often, NULL);
    for (int i = 0; i < 300; i++) {
        int status;
        pid_t child = fork();
        if (child == 0) {
            /* Another thread may have been writing the chain meanwhile, and
             * not every fork is told of. */
            if (i % 2)
                patas__trap_forked();
            _exit(code_run(code) != 42 || code_run(code + 128) != 42 ||
                  wrapped(TRAP_SIGNAL, &one, NULL) || patas__trap_arm() ||
                  wrapped(TRAP_SIGNAL, &one, NULL) || code_run(code) != 42 ||
                  code_run(code + 128) != 42);
        }
        ck_assert_int_eq(waitpid(child, &status, 0), child);
        ck_assert_int_eq(status, 0);
    }
    stop = 1;
    pthread_join(thread, NULL);
}
END_TEST

static Suite *chain_suite(void)
{
    Suite *suite = suite_create("trap chain");
    TCase *tcase = tcase_create("chain");

    suite_add_tcase(suite, tcase);
    tcase_add_test(tcase, an_arrival_goes_on_at_the_other_place);
    tcase_add_test(tcase, nothing_but_the_pc_changes);
    tcase_add_loop_test(tcase, a_trap_that_was_put_back_meanwhile_is_over, 0,
                        2);
    tcase_add_loop_test(
        tcase, what_traps_for_its_own_reasons_is_not_tried_for_ever, 0, 3);
    tcase_add_loop_test(tcase,
                        a_program_and_its_parent_see_what_they_would_without_us,
                        0, CASES);
    tcase_add_test(
        tcase,
        a_handler_put_in_front_by_a_raw_call_goes_behind_at_the_next_arming);
    tcase_add_test_raise_signal(
        tcase, handlers_that_call_each_other_end_at_the_default, TRAP_SIGNAL);
    tcase_add_test_raise_signal(
        tcase, a_default_put_in_front_by_a_raw_call_counts, TRAP_SIGNAL);
    tcase_add_test(tcase, sigaction_answers_as_the_kernel_would);
    tcase_add_loop_test(tcase, a_chained_handler_may_meet_a_trap, 0, 2);
    tcase_add_test(tcase, a_chained_handler_may_jump_out);
    tcase_add_test(tcase, a_chained_handler_can_look_back_through_ours);
    tcase_add_test(tcase, no_handler_is_called_with_the_mask_of_another);
    tcase_add_test(tcase, a_forked_child_can_trap_and_change_handlers);
    return suite;
}

int main(void)
{
    SRunner *runner = srunner_create(chain_suite());
    int failed;

    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
