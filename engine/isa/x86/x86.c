/* SPDX-License-Identifier: MIT */
#include "x86.h"

const struct patas__isa patas__isa_x86_64 = {
    .name = "x86-64",
    .pointer_size = 8,
    .max_insn = PATAS__INSN_MAX,
    .decode = patas__x86_decode_64,
    .relocate = patas__x86_relocate_64,
};

const struct patas__isa patas__isa_i386 = {
    .name = "i386",
    .pointer_size = 4,
    .max_insn = PATAS__INSN_MAX,
    .decode = patas__x86_decode_32,
    .relocate = patas__x86_relocate_32,
};
