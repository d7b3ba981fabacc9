/* SPDX-License-Identifier: MIT */
/* A64: AArch64's one instruction set, 4 bytes each, little endian. */
#ifndef PATAS_AARCH64_H
#define PATAS_AARCH64_H

#include "isa.h"

enum {
    PATAS__A64_SIZE = 4, /* of every instruction, bytes */
    PATAS__A64_LR = 30,  /* x30, the link register */
    PATAS__A64_ZR = 31   /* or sp, as the instruction likes */
};

/*
 * What of an instruction depends on where it stands; in `encoding` of struct
 * patas__insn. The list is that of all labels in the Arm ARM (DDI 0487) with
 * the extensions of 2025, and of what else counts on its own address.
 */
enum patas__a64_form {
    PATAS__A64_ANYWHERE, /* nothing */
    PATAS__A64_B,        /* 26 bits of distance in words */
    PATAS__A64_BL,
    PATAS__A64_B_COND,  /* 19 bits; b.cond, bc.cond */
    PATAS__A64_CBZ,     /* 19 bits; cbz, cbnz */
    PATAS__A64_TBZ,     /* 14 bits; tbz, tbnz */
    PATAS__A64_CB,      /* 9 bits; cbgt and kin (FEAT_CMPBR) */
    PATAS__A64_ADR,     /* 21 bits, in bytes */
    PATAS__A64_ADRP,    /* 21 bits, in pages */
    PATAS__A64_LITERAL, /* 19 bits; ldr, ldrsw, prfm (literal) */
    PATAS__A64_BLR,     /* blr, blraa and kin: link, but no distance */
    PATAS__A64_FIXED    /* can't be told from outside what it counts on */
};

/*
 * struct patas__isa: decode. False where no instruction can be: an address
 * that is no multiple of 4, fewer than 4 bytes, and what the Arm ARM (C4.1)
 * leaves unallocated at the top level (op0 0000 but udf and SME, 0001, 0011),
 * among data processing with immediates, branches, exceptions and system
 * instructions, and loads of literals. Those are the groups in which
 * instructions that depend on their address live, or may come to. The others
 * are not judged: what is unallocated there traps, here and when moved.
 */
PATAS__HIDDEN bool patas__a64_decode(const uint8_t *bytes, size_t size,
                                     uint64_t address,
                                     struct patas__insn *insn);

/* struct patas__isa: relocate. */
PATAS__HIDDEN unsigned patas__a64_relocate(struct patas__move *move);

/* ... the code that is made (code.c). */
enum {
    PATAS__A64_STUB = 16,
    PATAS__A64_THUNK = 24
};
PATAS__HIDDEN void patas__a64_put_jump(uint8_t *code, uint64_t at, uint64_t to);
PATAS__HIDDEN void patas__a64_put_stub(uint8_t *code, uint64_t at,
                                       uint64_t slot, const uint8_t *pad);
PATAS__HIDDEN uint64_t patas__a64_stub_slot(const uint8_t *code, uint64_t at);
PATAS__HIDDEN void patas__a64_put_thunk(uint8_t *code, uint64_t at,
                                        uint64_t slot, uint64_t context);
PATAS__HIDDEN void patas__a64_thunk_slots(const uint8_t *code, uint64_t at,
                                          uint64_t *slot, uint64_t *context);

/* ... the forms (plan.c). */
PATAS__HIDDEN unsigned patas__a64_plan(const struct patas__survey *survey,
                                       unsigned flags, unsigned unit,
                                       struct patas__plan *plan,
                                       uint64_t *trouble);
PATAS__HIDDEN unsigned patas__a64_form_bytes(unsigned form, uint64_t at,
                                             uint64_t to, uint8_t trap,
                                             uint8_t bytes[8]);

/* ... what leads where (branches.c). */
PATAS__HIDDEN void patas__a64_find_branches(struct patas__search *search);
PATAS__HIDDEN void patas__a64_find_near(struct patas__search *search);
PATAS__HIDDEN void patas__a64_each_branch(
    const struct patas__segment *code,
    void (*each)(void *data, uint64_t source, uint64_t target, bool call),
    void *data);

/* ... linkers' stubs (plt.c). */
PATAS__HIDDEN bool patas__a64_plt_stub(const struct patas__image *image,
                                       uint64_t address, uint64_t *slot,
                                       uint64_t *size);
PATAS__HIDDEN bool patas__a64_plt_begins(const struct patas__image *image,
                                         uint64_t address);
PATAS__HIDDEN bool patas__a64_plt_unbound(const struct patas__image *image,
                                          uint64_t slot, uint64_t value);

/* ... where the stack goes (frame.c). */
PATAS__HIDDEN int64_t patas__a64_frame_effect(const uint8_t *bytes,
                                              const struct patas__insn *insn,
                                              bool *known);

#endif
