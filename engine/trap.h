/* SPDX-License-Identifier: MIT */
/*
 * Stage 7, the other half of commit.c: whoever is caught between.
 *
 * A trap-bytes plan leaves bytes that trap on every boundary between original
 * instructions inside the window. Whoever stands there traps and is carried to
 * the same instruction in the relocated head. A thread that blocks its
 * signal would be killed instead, so for the length of one commit a helper
 * process holds those threads with ptrace, and moves the ones mid-window.
 */
#ifndef PATAS_TRAP_H
#define PATAS_TRAP_H

#include "bytes.h"
#include "patas.h"

/* Where a thread at `pc` has to go on; 0 if that is no address of ours, or if
 * nothing need be done. Lock-free, callable in a signal handler and in the
 * helper: registry.c answers from append-only tables. `entry` tells a
 * permanent trap at a function's entry. */
PATAS__HIDDEN uintptr_t patas__registry_carry(uintptr_t pc);

/* The bytes that are used as traps, preferred ones first, `count` of them (at
 * most 16). 0xcc and 0xd6 always are; the others only if a self-test, run once
 * a process in a helper that shares its memory, saw them trap. */
PATAS__HIDDEN const uint8_t *patas__trap_bytes(unsigned *count);

/* Installs the handler for the two signals of traps, once a process, and looks
 * at it again at later calls: a program may have put its own in front
 * meanwhile, which then is chained to. Returns 0 or an errno value. */
PATAS__HIDDEN int patas__trap_arm(void);

/* The one of them that is planted where any will do. */
static inline uint8_t patas__trap_first(void)
{
    unsigned count;
    return patas__trap_bytes(&count)[0];
}

/* True for a byte that patas__trap_bytes() lists. */
PATAS__HIDDEN bool patas__trap_is(uint8_t byte);

/*
 * Wraps the C library's `sigaction` so that a handler the program installs
 * later goes behind ours: what the wrapper does is
 *     return patas__trap_sigaction(number, new, old, original)
 * where `new`/`old` are struct sigaction of libc. Returns as sigaction does.
 */
PATAS__HIDDEN int patas__trap_sigaction(int number, const void *action,
                                        void *old, patas_fn original);

/*
 * The threads that block what `traps` needs, held: from hold() to release()
 * none of them runs a user instruction, and each that stood mid-window has been
 * moved by way of `carry` (as patas__registry_carry). hold() answers
 * PATAS_OK with nobody held if nobody blocks; PATAS_ERR_BLOCKED with
 * error->tid and a reason if a thread blocks and can't be held.
 * The caller's own thread is never held.
 */
struct patas__hold {
    int helper;     /* pid of the helper process, or 0 */
    unsigned held;  /* threads held */
    unsigned moved; /* of which were moved */
    void *state;    /* the helper's memory */
};
PATAS__HIDDEN patas_status patas__trap_hold(struct patas__hold *hold,
                                            uintptr_t (*carry)(uintptr_t pc),
                                            patas_error *error);
PATAS__HIDDEN void patas__trap_release(struct patas__hold *hold);

/* Arrivals that the handler carried, ever. */
PATAS__HIDDEN uint64_t patas__trap_carried(void);

/* In a forked child: forget helpers and counters of the parent. */
PATAS__HIDDEN void patas__trap_forked(void);

#endif
