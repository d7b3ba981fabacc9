/* SPDX-License-Identifier: MIT */
/* What torture_functions_aarch64.S has. */
#ifndef PATAS_BENCH_TORTURE_AARCH64_H
#define PATAS_BENCH_TORTURE_AARCH64_H

/* Index, name, by what it is called, bytes of the first instruction and of the
 * function, another way in, does it answer what was read. */
#define EACH(X)                                                \
    X(0, t_add, call_plain, 4, 8, NULL, false)                 \
    X(1, t_add_odd, call_plain, 4, 8, NULL, false)             \
    X(2, t_add_last, call_plain, 4, 8, NULL, false)            \
    X(3, t_frame, call_plain, 4, 28, NULL, false)              \
    X(4, t_stack, call_plain, 4, 24, NULL, false)              \
    X(5, t_nop, call_plain, 4, 12, NULL, false)                \
    X(6, t_bti, call_plain, 4, 12, NULL, false)                \
    X(7, t_pac, call_plain, 4, 16, NULL, false)                \
    X(8, t_isb, call_plain, 4, 12, NULL, false)                \
    X(9, t_yield, call_plain, 4, 12, NULL, false)              \
    X(10, t_adr, call_plain, 4, 20, NULL, false)               \
    X(11, t_adrp, call_plain, 4, 16, NULL, false)              \
    X(12, t_literal, call_plain, 4, 16, NULL, false)           \
    X(13, t_literal_simd, call_plain, 4, 20, NULL, false)      \
    X(14, t_cbz, call_plain, 4, 20, NULL, false)               \
    X(15, t_tbz, call_plain, 4, 20, NULL, false)               \
    X(16, t_cond, call_plain, 4, 24, NULL, false)              \
    X(17, t_tail, call_plain, 4, 4, NULL, false)               \
    X(18, t_loop, call_plain, 4, 28, NULL, false)              \
    X(19, t_second, call_plain, 4, 12, t_second_caller, false) \
    X(20, t_call, t_call_with, 4, 8, NULL, false)              \
    X(21, t_call_register, t_call_with, 4, 8, NULL, false)     \
    X(22, t_read_first, t_call_read, 4, 8, NULL, true)         \
    X(23, t_read_second, t_call_read, 4, 12, NULL, true)       \
    X(24, t_packed_a, call_plain, 4, 8, NULL, false)           \
    X(25, t_packed_b, call_plain, 4, 8, NULL, false)

#define TORTURE_ABI
#define TORTURE_PC(user) ((user)->uc_mcontext.pc)
/* A handler naps where the word that changes is next, or was last. */
#define TORTURE_NAPS_AT(offset) ((offset) < 8)

#endif
