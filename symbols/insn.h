/* SPDX-License-Identifier: MIT */
/*
 * The engine's decoder, for files that know the C library: the engine's own
 * headers declare memcpy() and kin as the engine's.
 */
#ifndef PATAS_SYMBOLS_INSN_H
#define PATAS_SYMBOLS_INSN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    PATAS__INSN_LONGEST = 15, /* bytes */
#if defined(__aarch64__)
    PATAS__INSN_STEP = 4 /* they begin at multiples of */
#else
    PATAS__INSN_STEP = 1
#endif
};

struct patas__instruction {
    unsigned length;  /* bytes */
    bool jump;        /* goes elsewhere, always */
    bool has_target;  /* directly: to `target` */
    bool has_operand; /* by way of `operand`, or with it */
    uint64_t target, operand;
};

__attribute__((visibility("hidden"))) bool
patas__instruction_at(const uint8_t *bytes, size_t size, uint64_t address,
                      struct patas__instruction *out);

/* A direct call or jump. */
struct patas__branch {
    uint64_t at, target;
    bool call;
};

/* Is there one at `at` of these bytes, the first of which is at `address`? On
 * x86 that is what the bytes could be, if an instruction begins there. */
__attribute__((visibility("hidden"))) bool
patas__branch_at(const uint8_t *bytes, size_t at, size_t size, uint64_t address,
                 struct patas__branch *out);

/* Are these changed bytes what a debugger writes? */
__attribute__((visibility("hidden"))) bool
patas__is_breakpoint(const uint8_t *bytes, size_t size);

/* A jump by a register, to where the instructions in front of it say: to `*to`,
 * or to what is read from `*slot`, if that is not 0. */
__attribute__((visibility("hidden"))) bool
patas__trampoline(const uint8_t bytes[16], uintptr_t address, uintptr_t *to,
                  uintptr_t *slot);

#endif
