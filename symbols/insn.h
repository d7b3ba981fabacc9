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
    PATAS__INSN_LONGEST = 15
}; /* bytes */

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

#endif
