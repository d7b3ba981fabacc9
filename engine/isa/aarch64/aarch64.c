/* SPDX-License-Identifier: MIT */
#include "aarch64.h"

#include "patas.h"

#include <elf.h>

const struct patas__isa patas__isa_aarch64 = {
    .name = "aarch64",
    .machine = EM_AARCH64,
    .pointer_size = 8,
    .max_insn = PATAS__A64_SIZE,
    .step = PATAS__A64_SIZE,
    .jump = PATAS__A64_SIZE,
    .stub = PATAS__A64_STUB,
    .thunk = PATAS__A64_THUNK,
    .decode = patas__a64_decode,
    .relocate = patas__a64_relocate,
    .property = 0xc0000000,
    /* Relocations: ELF for the Arm 64-bit Architecture, 5.7.12 */
    .reloc_glob_dat = R_AARCH64_GLOB_DAT,
    .reloc_jump_slot = R_AARCH64_JUMP_SLOT,
    .reloc_irelative = R_AARCH64_IRELATIVE,
    .plt_stub = patas__a64_plt_stub,
    .plt_begins = patas__a64_plt_begins,
    .plt_unbound = patas__a64_plt_unbound,
    .find_branches = patas__a64_find_branches,
    .find_near = patas__a64_find_near,
    .each_branch = patas__a64_each_branch,
    /* CFA = sp, and the caller is in x30 (DWARF for the Arm 64-bit
     * Architecture, 4.1) */
    .frame = {31, PATAS__A64_LR, 0, 8, 3, {0x0c, 31, 0}},
    .frame_effect = patas__a64_frame_effect,
    .breakpoint = 0xd4200000, /* brk #0, which gdb and lldb plant */
    .breakpoint_mask = 0xffffffff,
    .rseq_signature = 0xd428bc00,  /* glibc, sys/rseq.h */
    .reach = 0x8000000 - 0x100000, /* 128 MB, but for the size of a unit */
    .near = 0x8000000 - 0x100000,
    .forms = 1u << PATAS_FORM_ONE_INSTRUCTION | 1u << PATAS_FORM_PERMANENT_TRAP,
    .plan = patas__a64_plan,
    .form_bytes = patas__a64_form_bytes,
    .put_jump = patas__a64_put_jump,
    .put_stub = patas__a64_put_stub,
    .put_thunk = patas__a64_put_thunk,
    .stub_slot = patas__a64_stub_slot,
    .thunk_slots = patas__a64_thunk_slots,
};
