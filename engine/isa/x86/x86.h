/* SPDX-License-Identifier: MIT */
/* x86 in 64-bit and in 32-bit mode. */
#ifndef PATAS_X86_H
#define PATAS_X86_H

#include "isa.h"

/*
 * Decodes one instruction. False, with `length` 0, for what every processor
 * refuses (#UD), what the manuals leave undefined, and what does not end
 * within `size`.
 *
 * A near branch with a 66 prefix in 64-bit mode is decoded as Intel's
 * processors run it, 32-bit displacement and all; AMD's take 16 bits and cut
 * RIP (APM vol. 3, JMP near). PATAS__PREFIX_66 is set: whoever moves it must
 * refuse, unless REX.W makes both agree.
 *
 * has_target is for branches relative to the PC. Absolute ones (far, jmpabs)
 * may be moved as they are.
 *
 * 3DNow!: `opcode_at` is the second 0f, since the opcode stands last.
 */
PATAS__HIDDEN bool patas__x86_decode_64(const uint8_t *bytes, size_t size,
                                        uint64_t address,
                                        struct patas__insn *insn);
PATAS__HIDDEN bool patas__x86_decode_32(const uint8_t *bytes, size_t size,
                                        uint64_t address,
                                        struct patas__insn *insn);

/* struct patas__isa: relocate. */
PATAS__HIDDEN unsigned patas__x86_relocate_64(struct patas__move *move);
PATAS__HIDDEN unsigned patas__x86_relocate_32(struct patas__move *move);

/* ... linkers' stubs (plt.c). */
PATAS__HIDDEN bool patas__x86_plt_stub(const struct patas__image *image,
                                       uint64_t address, uint64_t *slot,
                                       uint64_t *size);
PATAS__HIDDEN bool patas__x86_plt_begins(const struct patas__image *image,
                                         uint64_t address);
PATAS__HIDDEN bool patas__x86_plt_unbound(const struct patas__image *image,
                                          uint64_t slot, uint64_t value);

/* ... what leads where (branches.c). */
PATAS__HIDDEN void patas__x86_find_branches(struct patas__search *search);
PATAS__HIDDEN void patas__x86_find_near(struct patas__search *search);
PATAS__HIDDEN void patas__x86_each_branch(
    const struct patas__segment *code,
    void (*each)(void *data, uint64_t source, uint64_t target, bool call),
    void *data);

/* ... where the stack goes (frame.c). */
PATAS__HIDDEN int64_t patas__x86_frame_effect_64(const uint8_t *bytes,
                                                 const struct patas__insn *insn,
                                                 bool *known);
PATAS__HIDDEN int64_t patas__x86_frame_effect_32(const uint8_t *bytes,
                                                 const struct patas__insn *insn,
                                                 bool *known);

/* ... its forms (plan.c). */
PATAS__HIDDEN unsigned patas__x86_plan(const struct patas__survey *survey,
                                       unsigned flags, unsigned unit,
                                       struct patas__plan *plan,
                                       uint64_t *trouble);
PATAS__HIDDEN unsigned patas__x86_form_bytes(unsigned form, uint64_t at,
                                             uint64_t to, uint8_t trap,
                                             uint8_t bytes[8]);

/* ... and the code that it makes (code.c). */
enum {
    PATAS__X86_JUMP = 5,
    PATAS__X86_STUB = 6,
    PATAS__X86_THUNK = 13,
    PATAS__X86_THUNK_32 = 12
};
PATAS__HIDDEN void patas__x86_put_jump(uint8_t *code, uint64_t at, uint64_t to);
PATAS__HIDDEN void patas__x86_put_stub(uint8_t *code, uint64_t at,
                                       uint64_t slot, const uint8_t *pad);
PATAS__HIDDEN uint64_t patas__x86_stub_slot(const uint8_t *code, uint64_t at);
PATAS__HIDDEN void patas__x86_put_thunk(uint8_t *code, uint64_t at,
                                        uint64_t slot, uint64_t context);
PATAS__HIDDEN void patas__x86_thunk_slots(const uint8_t *code, uint64_t at,
                                          uint64_t *slot, uint64_t *context);
PATAS__HIDDEN void patas__x86_put_stub_32(uint8_t *code, uint64_t at,
                                          uint64_t slot, const uint8_t *pad);
PATAS__HIDDEN uint64_t patas__x86_stub_slot_32(const uint8_t *code,
                                               uint64_t at);
PATAS__HIDDEN void patas__x86_put_thunk_32(uint8_t *code, uint64_t at,
                                           uint64_t slot, uint64_t context);
PATAS__HIDDEN void patas__x86_thunk_slots_32(const uint8_t *code, uint64_t at,
                                             uint64_t *slot, uint64_t *context);

#endif
