/* SPDX-License-Identifier: MIT */
/*
 * What the engine asks of the processor that it runs on, under this system: one
 * file answers, isa/FOLDER/linux_CPU.c, chosen by the build (and with it
 * linux_CPU_*.c, if there are any). Everything else in a folder of isa/ is
 * pure.
 *
 * Some of it is declared where it is used: patas__syscall(), patas__os_thread()
 * and patas__os_shadow_stack() in os.h, patas__trap_bytes() in trap.h.
 *
 * The layouts of signals are the kernel's, not the C library's, and stand here
 * instead of <signal.h> because a handler must not depend on either's version.
 */
#ifndef PATAS_HOST_H
#define PATAS_HOST_H

#include "bytes.h"
#include "patas.h"

/* ---- code ---------------------------------------------------------------- */

/*
 * The aligned units of memory that one store changes at once, for whoever reads
 * them and for whoever executes them: the smallest that is used, and the
 * largest. Sizes are powers of two in between; pointers fit one, too.
 */
PATAS__HIDDEN extern const uint8_t patas__unit_least, patas__unit_most;

/* Replaces the `size` bytes of the unit if they are `old`; true if they were.
 * Never half. */
PATAS__HIDDEN bool patas__unit_swap(uintptr_t unit, unsigned size,
                                    const uint8_t *old, const uint8_t *new);

/* Whatever executes the bytes by the address `code` from now on sees them as
 * they are now: to the point where data and instructions are one. (Other cores
 * may have taken older ones already: patas__os_sync_cores().) */
PATAS__HIDDEN void patas__code_written(uintptr_t code, size_t size);

/* Is the program run by a translator (Valgrind) that ends it for a system call
 * which it doesn't know? Then none is made that could be such a one. */
PATAS__HIDDEN bool patas__translated(void);

/* Does this processor refuse an indirect call that doesn't land on a landing
 * pad? Then no jump may stand in its place. */
PATAS__HIDDEN bool patas__pads_stay(void);

/* Above every address that a program can have. */
PATAS__HIDDEN extern const uintptr_t patas__user_top;

/* ---- signals --------------------------------------------------------------
 */

enum {
    PATAS__SIGILL = 4,
    PATAS__SIGTRAP = 5,
    PATAS__SIGBUS = 7,
    PATAS__SIGFPE = 8,
    PATAS__SIGKILL = 9,
    PATAS__SIGSEGV = 11,
    PATAS__SIGCHLD = 17,
    PATAS__SIGSTOP = 19
};

/* Bit of a signal in the kernel's 64-bit set. */
#define PATAS__SIGNAL_BIT(number) (UINT64_C(1) << ((number)-1))

/* What the bytes that patas plants raise. A thread with one of the two blocked
 * is killed by a trap. */
PATAS__HIDDEN extern const uint8_t patas__trap_signals[2];

static inline bool patas__trap_raises(int number)
{
    return number == patas__trap_signals[0] || number == patas__trap_signals[1];
}

/* rt_sigaction's structure (x86, and every other one with a restorer). */
struct patas__action {
    uintptr_t handler;  /* a function, or one of PATAS__SIG_* */
    uintptr_t flags;    /* PATAS__SA_* */
    uintptr_t restorer; /* what the handler returns to */
    uint64_t mask;      /* blocked meanwhile */
};

enum {
    PATAS__SIG_DFL = 0,
    PATAS__SIG_IGN = 1
};

/* Not an enum: SA_RESETHAND is no int. */
#define PATAS__SA_SIGINFO   UINT64_C(0x00000004)
#define PATAS__SA_RESTORER  UINT64_C(0x04000000)
#define PATAS__SA_ONSTACK   UINT64_C(0x08000000)
#define PATAS__SA_RESTART   UINT64_C(0x10000000)
#define PATAS__SA_NODEFER   UINT64_C(0x40000000)
#define PATAS__SA_RESETHAND UINT64_C(0x80000000)

/* Flags that the C library adds to those of an action by itself. */
PATAS__HIDDEN extern const uintptr_t patas__libc_flags;

/* How siginfo_t begins. A code above 0 is the kernel's own; others came from
 * kill(), sigqueue(), a timer (sigaction(2), si_code). */
struct patas__signal_info {
    int number;
    int error;
    int code;
};

/*
 * The handler's entry, as the kernel calls it. It asks patas__trap_handle() and
 * returns to the interrupted code, or jumps to the function that this names,
 * with the stack and the arguments as the kernel made them: a chained handler
 * can't tell that we were there.
 */
PATAS__HIDDEN void patas__trap_entry(void);
PATAS__HIDDEN patas_fn patas__trap_handle(int number,
                                          struct patas__signal_info *info,
                                          void *context);

/* What the handler returns to: rt_sigreturn, in the encoding by which
 * unwinders and debuggers know a signal frame. */
PATAS__HIDDEN void patas__trap_restorer(void);

/* A handler that ends the process, or the thread, with status 1. */
PATAS__HIDDEN void patas__trap_leave(void);

/* The address of the instruction that trapped, if it trapped as the bytes that
 * patas plants do; else 0. */
PATAS__HIDDEN uintptr_t patas__frame_trap(int number,
                                          const struct patas__signal_info *info,
                                          const void *context);

/* True if the code at `pc` surely traps as `number` did: nothing was put back
 * there meanwhile. Reads only what patas__trap_readable() allows. */
PATAS__HIDDEN bool patas__frame_still_traps(int number, uintptr_t pc);

/* Where the interrupted code goes on. */
PATAS__HIDDEN void patas__frame_resume_at(void *context, uintptr_t pc);

/* The blocked signals that the interrupted code goes on with. */
PATAS__HIDDEN uint64_t *patas__frame_mask(void *context);

/*
 * How often this very frame was chained before; counts one up. A handler that
 * was installed in front of ours may call ours, as the one that was there
 * before; without a count the two would call each other for ever. The count
 * lives in uc_link, which the kernel sets to 0 and never reads.
 */
PATAS__HIDDEN uintptr_t patas__frame_depth(void *context);

/* True if the byte at `address` may be read. Asks the kernel; never faults. */
PATAS__HIDDEN bool patas__trap_readable(uintptr_t address);

/* Where a thread that is in a ptrace stop goes on; 0 or -errno. */
PATAS__HIDDEN long patas__thread_pc(int tid, uintptr_t *pc);
PATAS__HIDDEN long patas__thread_resume_at(int tid, uintptr_t pc);

/*
 * A process that shares this one's memory and files but no signal handlers:
 * runs run(argument) on its own stack and exits. The caller blocks all signals
 * meanwhile. `*alive` becomes 0, with a futex wake (a shared one), when it is
 * gone, however it went. Its end sends no signal. Returns its pid or -errno.
 */
PATAS__HIDDEN long patas__trap_spawn(uint64_t flags, void *stack_top,
                                     int *alive, void (*run)(void *),
                                     void *argument);
PATAS__HIDDEN long patas__trap_helper(void *stack_top, int *alive,
                                      void (*run)(void *), void *argument);

/* Waits until a helper is gone, and buries it. */
PATAS__HIDDEN void patas__trap_bury(int helper);

/* Jumps to `code` with every register zero but the stack pointer, which is
 * first stored to `*stack`; returns when a signal handler sends it to
 * patas__trap_probe_end with that stack pointer. */
PATAS__HIDDEN void patas__trap_probe(const void *code, uintptr_t *stack);
PATAS__HIDDEN void patas__trap_probe_end(void);
PATAS__HIDDEN void patas__frame_return(void *context, uintptr_t stack);
PATAS__HIDDEN uintptr_t patas__frame_pc(const void *context);

/* Raw calls that several parts make. */
PATAS__HIDDEN long patas__trap_action(int number,
                                      const struct patas__action *action,
                                      struct patas__action *old);
PATAS__HIDDEN uint64_t patas__trap_mask_block(uint64_t set); /* the old mask */
PATAS__HIDDEN void patas__trap_mask_set(uint64_t set);

#endif
