/* SPDX-License-Identifier: MIT */
/*
 * What Go's compiler emits, where that differs by the instruction set: the
 * forms of a stack check, padding, data in the code, dictionaries. Tables of
 * pure functions, all of them in every build, as isa.h has them.
 */
#ifndef PATAS_GOLANG_DIALECT_H
#define PATAS_GOLANG_DIALECT_H

#include "isa.h"

/* A function's code; what an instruction's address is an offset into. */
struct patas__go_text {
    const struct patas__isa *isa;
    const uint8_t *bytes;
    uint64_t size, entry;
};

/* The dictionary that a wrapper of a generic function hands on. */
struct patas__go_dictionary {
    uint64_t loaded[32]; /* by registers: an address, or what begins one */
    uint64_t value;      /* 0 = none yet */
    unsigned place;      /* the register's number; 386: of the stack's word */
};

struct patas__segment; /* image.h */

struct patas__go_dialect {
    uint8_t padding; /* the byte that fills up behind functions */

    /* Does it compare the stack pointer with the goroutine's limit? */
    bool (*checks_stack)(const struct patas__go_text *text,
                         const struct patas__insn *insn);
    /* Is it, right behind that, the branch to where the stack is grown? */
    bool (*grows_stack)(const struct patas__go_text *text,
                        const struct patas__insn *insn);
    /* Does it call for no more than the PC? */
    bool (*asks_pc)(const struct patas__go_text *text,
                    const struct patas__insn *insn);
    /* Is there no instruction at an offset, but what one of them loads? */
    bool (*is_data)(const struct patas__go_text *text, uint64_t at);

    /* Does a direct call or jump from elsewhere lead to the function that ends
     * at `end`? Data may look like one, so a yes is a hint and no proof. */
    bool (*called)(const struct patas__segment *code, uint64_t entry,
                   uint64_t end);

    /* Follows the dictionary through the next instruction. */
    void (*dictionary)(const struct patas__go_text *text,
                       const struct patas__insn *insn,
                       struct patas__go_dictionary *state);

    /*
     * A fault in the relocated head reaches the runtime at a PC that it does
     * not know. It then goes on at the caller, which it finds as long as the
     * stack is as it was at the entry: false if that holds wherever the first
     * `moved` bytes may fault.
     */
    bool (*may_fault)(const struct patas__go_text *text, unsigned moved);
};

PATAS__HIDDEN extern const struct patas__go_dialect patas__go_x86;
PATAS__HIDDEN extern const struct patas__go_dialect patas__go_a64;

PATAS__HIDDEN const struct patas__go_dialect *
patas__go_dialect(const struct patas__isa *isa);

#endif
