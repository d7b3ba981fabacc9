/* SPDX-License-Identifier: MIT */
#include "x86.h"

#include "patas.h"

#include <elf.h>

/* A displacement has 32 bits. */
#define X86_REACH (0x80000000u - 0x100000u)
#define X86_NEAR  (0x80000000u - 0x10000000u)
#define X86_FORMS                                                     \
    (1u << PATAS_FORM_ONE_INSTRUCTION | 1u << PATAS_FORM_KEPT_BYTES | \
     1u << PATAS_FORM_TRAP_BYTES | 1u << PATAS_FORM_SHORT_JUMP |      \
     1u << PATAS_FORM_PERMANENT_TRAP)

/* Relocations: System V ABI, x86-64 table 4.9 and i386 table 4.9. */

const struct patas__isa patas__isa_x86_64 = {
    .name = "x86-64",
    .machine = EM_X86_64,
    .pointer_size = 8,
    .max_insn = PATAS__INSN_MAX,
    .step = 1,
    .jump = PATAS__X86_JUMP,
    .stub = PATAS__X86_STUB,
    .thunk = PATAS__X86_THUNK,
    .decode = patas__x86_decode_64,
    .relocate = patas__x86_relocate_64,
    .property = 0xc0000002,
    .reloc_glob_dat = R_X86_64_GLOB_DAT,
    .reloc_jump_slot = R_X86_64_JUMP_SLOT,
    .reloc_irelative = R_X86_64_IRELATIVE,
    .plt_stub = patas__x86_plt_stub,
    .plt_begins = patas__x86_plt_begins,
    .plt_unbound = patas__x86_plt_unbound,
    .find_branches = patas__x86_find_branches,
    .find_near = patas__x86_find_near,
    .each_branch = patas__x86_each_branch,
    /* CFA = rsp + 8, rip at CFA - 8 (psABI, figure 3.36) */
    .frame = {7, 16, 8, 8, 5, {0x0c, 7, 8, 0x90, 1}},
    .frame_effect = patas__x86_frame_effect_64,
    .breakpoint = 0xcc,
    .breakpoint_mask = 0xff,
    .rseq_signature = 0x53053053, /* glibc, sys/rseq.h */
    .reach = X86_REACH,
    .near = X86_NEAR,
    .forms = X86_FORMS,
    .plan = patas__x86_plan,
    .form_bytes = patas__x86_form_bytes,
    .put_jump = patas__x86_put_jump,
    .put_stub = patas__x86_put_stub,
    .put_thunk = patas__x86_put_thunk,
    .stub_slot = patas__x86_stub_slot,
    .thunk_slots = patas__x86_thunk_slots,
};

const struct patas__isa patas__isa_i386 = {
    .name = "i386",
    .machine = EM_386,
    .pointer_size = 4,
    .max_insn = PATAS__INSN_MAX,
    .step = 1,
    .jump = PATAS__X86_JUMP,
    .stub = PATAS__X86_STUB,
    .thunk = PATAS__X86_THUNK_32,
    .decode = patas__x86_decode_32,
    .relocate = patas__x86_relocate_32,
    .property = 0xc0000002,
    .reloc_glob_dat = R_386_GLOB_DAT,
    .reloc_jump_slot = R_386_JMP_SLOT,
    .reloc_irelative = R_386_IRELATIVE,
    .plt_stub = patas__x86_plt_stub,
    .plt_begins = patas__x86_plt_begins,
    .plt_unbound = patas__x86_plt_unbound,
    .find_branches = patas__x86_find_branches,
    .find_near = patas__x86_find_near,
    .each_branch = patas__x86_each_branch,
    /* CFA = esp + 4, eip at CFA - 4 (psABI, table 2.14) */
    .frame = {4, 8, 4, 4, 5, {0x0c, 4, 4, 0x88, 1}},
    .frame_effect = patas__x86_frame_effect_32,
    .breakpoint = 0xcc,
    .breakpoint_mask = 0xff,
    .rseq_signature = 0x53053053, /* glibc, sys/rseq.h */
    .reach = X86_REACH,
    .near = X86_NEAR,
    .forms = X86_FORMS,
    .plan = patas__x86_plan,
    .form_bytes = patas__x86_form_bytes,
    .put_jump = patas__x86_put_jump,
    .put_stub = patas__x86_put_stub_32,
    .put_thunk = patas__x86_put_thunk_32,
    .stub_slot = patas__x86_stub_slot_32,
    .thunk_slots = patas__x86_thunk_slots_32,
};
