/* SPDX-License-Identifier: MIT */
#include "aarch64.h"

const struct patas__isa patas__isa_aarch64 = {
    .name = "aarch64",
    .pointer_size = 8,
    .max_insn = PATAS__A64_SIZE,
    .decode = patas__a64_decode,
    .relocate = patas__a64_relocate,
};
