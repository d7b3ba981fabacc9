/* SPDX-License-Identifier: MIT */
/*
 * Stage 4: which form a patch takes. Decides, changes nothing; pure. Which
 * forms there are, and what they ask of a function, is the instruction set's;
 * x86 has these (isa/x86/plan.c):
 *
 *          e    e+1  e+2  e+3  e+4
 *     one  e9   d0   d1   d2   d3     all inside one instruction
 *     kept e9   d0   d1 | c3   c4     only the first instruction changes;
 *                                     the code behind it is the rest of the
 *                                     displacement
 *     trap e9   T    d1   T    d3     a boundary between instructions holds
 *                                     a byte that traps
 *     short eb  d0                    to a jump in padding
 *     perm  T                         traps at the entry
 */
#ifndef PATAS_PLAN_H
#define PATAS_PLAN_H

#include "image.h"
#include "island.h"
#include "patas.h"

enum {
    PATAS__SURVEYED = 16, /* bytes that are looked at ... */
    PATAS__LOOK = 48 /* ... and read: the last instruction has as many behind it
                        as the decoder likes to read at once */
};

/* All that is known of a function's first bytes. */
struct patas__survey {
    const struct patas__isa *isa;
    uint64_t entry;
    uint8_t bytes[PATAS__LOOK];
    uint8_t size;     /* readable bytes in `bytes` */
    bool pads_stay;   /* the processor wants landing pads where they are */
    uint8_t at;       /* where the jump goes, seen from the entry: 0, or behind
                         a landing pad that stays */
    uint8_t first;    /* length of the first instruction */
    uint8_t cover;    /* bytes of whole instructions that cover a jump, or the
                         function's end if that comes earlier */
    uint8_t room;     /* bytes that are this function's, or padding behind */
    bool plain;       /* nothing in `cover` is relative to the PC or leaves the
                         straight way */
    uint32_t starts;  /* bit k: an instruction begins at entry + k */
    uint32_t enters;  /* bit k: something branches to entry + k from outside
                         the bytes that a jump covers */
    uint32_t crosses; /* the same from inside, but behind the first one */
    uint32_t returns; /* bit k: a call or system call goes on at entry + k */
};

/* Does control never go on behind it? */
PATAS__HIDDEN bool patas__insn_ends(const struct patas__insn *insn);

/* Fills `isa`, `starts`, `first`, ... in from `bytes`. `body` is the function's
 * length and `padding` what lies behind it, 0 if unknown (then the code itself
 * must tell). Of a long function no more is looked at than a jump covers.
 * Returns a patas_reason; `*trouble` is the instruction. */
PATAS__HIDDEN unsigned patas__survey(const struct patas__isa *isa,
                                     struct patas__survey *survey,
                                     uint64_t body, uint64_t padding,
                                     uint64_t *trouble);

/* A form that fits, but for its addresses. */
struct patas__plan {
    patas_form form;
    uint8_t at;                /* where they are, seen from the entry: */
    uint8_t written;           /* bytes that change */
    uint8_t owned;             /* bytes that no other patch may write */
    uint8_t want;              /* bytes that must be moved at least */
    uint8_t past;              /* ... and that are moved rather, if they can */
    struct patas__reach reach; /* for the stub; `origin` set */
};

/* isa->plan() for this form, on a plan that is clean. */
PATAS__HIDDEN unsigned patas__plan_form(const struct patas__survey *survey,
                                        patas_form form, unsigned flags,
                                        unsigned unit, struct patas__plan *plan,
                                        uint64_t *trouble);

/* The bytes from the entry to the end of what the plan writes (all of the jump,
 * kept bytes included), once the stub's address is known; `gap` is the padding
 * of a short jump. Returns their number. */
PATAS__HIDDEN unsigned patas__plan_bytes(const struct patas__plan *plan,
                                         const struct patas__survey *survey,
                                         uint64_t stub, uint64_t gap,
                                         uint8_t bytes[8]);

#endif
