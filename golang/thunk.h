/* SPDX-License-Identifier: MIT */
/*
 * What the engine takes for a Go replacement: a thunk in front of it.
 *
 *     goroutine   mov labels(%r14), %r12;  cmp label, %r12;     jne below
 *     key         mov key, %r12;           cmp %r12, %reg;      jne below
 *     when        mov whom, %r12;  lea back, %r13;  jmp *(%r12)
 *                 back:                                         je below
 *     range       the number of this call; less first; above span: below
 *     step        ... times the inverse of step, rotated; above limit: below
 *     chance      a hash of the number;    not below threshold: below
 *     times       how many came this far;  not below times:     below
 *     record      the same as when, whatever the answer
 *     drop        one integer argument less
 *                 mov value, %rdx;  jmp *(%rdx)
 *     below:      jmp *next
 *
 * What when and record lead to is {code, ...}: code that keeps all registers
 * but r12 and r13, goes on at r13, and answers in the zero flag.
 *
 * rdx is Go's context register, r14 the goroutine; r12 and r13 are free at an
 * entry, and so are the flags (cmd/compile/abi-internal.md). A part is there
 * if its bit in the kind is. All that it compares is in slots.
 *
 * On 386 (thunk_386.c) arguments are on the stack, the context is in edx, the
 * goroutine behind gs, and all other registers are free: when and record are
 * asked by eax and go on at ecx. Numbers have 32 bits there, so a counter stops
 * before it would begin anew; that of a step runs in a circle instead, from
 * `first` on, `limit` calls long. Nothing is dropped.
 *
 * On arm64 (thunk_arm64.c) the context is in x26, the goroutine in x28; x16,
 * x17 and x19 to x25 are free. when and record are asked by x16 and go on at
 * x17. What leads to a slot is two instructions, of which the field is the
 * second.
 *
 * A thunk belongs to one entry for good, so whoever is in it late finds a
 * replacement of the right type.
 */
#ifndef PATAS_GOLANG_THUNK_H
#define PATAS_GOLANG_THUNK_H

#include "bytes.h"

enum patas__go_kind {
    PATAS__GO_KEY = 1,       /* bits 8 to 11: the register's number; on 386
                                the argument's, in words, or 15 for edx; on
                                arm64 KEY_HIGH says that it is x26 */
    PATAS__GO_GOROUTINE = 2, /* bits 32 to 63: offset of labels in runtime.g */
    PATAS__GO_DROP = 4,      /* bits 12 to 15: which integer argument, bits 16
                                to 19: the last one */
    PATAS__GO_RANGE = 8,
    PATAS__GO_STEP = 16, /* bits 20 to 25: rotate right by; with RANGE */
    PATAS__GO_CHANCE = 32,
    PATAS__GO_TIMES = 64,
    PATAS__GO_PASS = 128, /* nothing but next */
    PATAS__GO_WHEN = 1 << 26,
    PATAS__GO_RECORD = 1 << 27,
    PATAS__GO_KEY_HIGH = 1 << 28 /* of PATAS__GO_KEY, on arm64 */
};

/* The slots, in the order of struct patas__go_call's array. */
enum patas__go_field {
    PATAS__GO_F_LABEL,
    PATAS__GO_F_KEY,
    PATAS__GO_F_WHEN,
    PATAS__GO_F_CALLS, /* counts up */
    PATAS__GO_F_FIRST,
    PATAS__GO_F_SPAN,
    PATAS__GO_F_INVERSE,
    PATAS__GO_F_LIMIT,
    PATAS__GO_F_DRAWS, /* counts up from the seed */
    PATAS__GO_F_MIX1,
    PATAS__GO_F_MIX2,
    PATAS__GO_F_THRESHOLD,
    PATAS__GO_F_REACHED, /* counts up */
    PATAS__GO_F_TIMES,
    PATAS__GO_F_RECORD,
    PATAS__GO_F_VALUE,
    PATAS__GO_F_NEXT,
    PATAS__GO_FIELDS
};

enum {
    PATAS__GO_THUNK_MAX = 384
};

/* A thunk's code, and where in it the fields are that lead to slots. */
struct patas__go_thunk {
    uint8_t code[PATAS__GO_THUNK_MAX];
    unsigned size;
    uint16_t at[PATAS__GO_FIELDS]; /* 0 = none */
    /* Fields that lead to a place in the thunk itself. */
    struct {
        uint16_t field, to;
    } back[2];
    unsigned backs;
};

/* What differs by the architecture. */
PATAS__HIDDEN void patas__go_thunk(uint64_t kind,
                                   struct patas__go_thunk *thunk);

/* Makes a field, which will be at `at`, name `slot`; and what it names. */
PATAS__HIDDEN void patas__go_thunk_name(uint8_t *field, uintptr_t at,
                                        uintptr_t slot);
PATAS__HIDDEN uintptr_t patas__go_thunk_named(uintptr_t at);

/* Thunks have to know where a thread keeps its goroutine, and functions tell by
 * their first bytes: false where these do not, and one more is needed. */
PATAS__HIDDEN bool patas__go_thunk_learn(const uint8_t *bytes, size_t size);

/* One near `entry`, its slots made; 0 or ENOMEM. */
PATAS__HIDDEN int patas__go_thunk_make(uintptr_t entry, uint64_t kind,
                                       uintptr_t *thunk);

/* The slot of a field, or NULL. */
PATAS__HIDDEN uintptr_t *patas__go_thunk_slot(uintptr_t thunk, uint64_t kind,
                                              enum patas__go_field field);

#endif
