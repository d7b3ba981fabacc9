/* SPDX-License-Identifier: MIT */
#include "x86.h"

const struct patas__isa patas__isa_x86_64 = {
    .name = "x86-64",
    .pointer_size = 8,
    .max_insn = PATAS__INSN_MAX,
    .step = 1,
    .jump = PATAS__X86_JUMP,
    .stub = PATAS__X86_STUB,
    .thunk = PATAS__X86_THUNK,
    .decode = patas__x86_decode_64,
    .relocate = patas__x86_relocate_64,
    .find_branches = patas__x86_find_branches,
    .each_branch = patas__x86_each_branch,
    .breakpoint = 0xcc,
    .breakpoint_mask = 0xff,
    .rseq_signature = 0x53053053, /* glibc, sys/rseq.h */
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
    .pointer_size = 4,
    .max_insn = PATAS__INSN_MAX,
    .step = 1,
    .jump = PATAS__X86_JUMP,
    .stub = PATAS__X86_STUB,
    .thunk = PATAS__X86_THUNK,
    .decode = patas__x86_decode_32,
    .relocate = patas__x86_relocate_32,
    .find_branches = patas__x86_find_branches,
    .each_branch = patas__x86_each_branch,
    .breakpoint = 0xcc,
    .breakpoint_mask = 0xff,
    .rseq_signature = 0x53053053, /* glibc, sys/rseq.h */
    .plan = patas__x86_plan,
    .form_bytes = patas__x86_form_bytes,
    .put_jump = patas__x86_put_jump,
    .put_stub = patas__x86_put_stub,
    .put_thunk = patas__x86_put_thunk,
    .stub_slot = patas__x86_stub_slot,
    .thunk_slots = patas__x86_thunk_slots,
};
