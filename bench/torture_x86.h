/* SPDX-License-Identifier: MIT */
/* What torture_functions.S and torture_functions_i386.S have. */
#ifndef PATAS_BENCH_TORTURE_X86_H
#define PATAS_BENCH_TORTURE_X86_H

/* Index, name, by what it is called, bytes of the first instruction and of the
 * function, another way in, does it answer what was read. */
#define EACH(X)                                               \
    X(0, t_push, call_plain, 1, 8, NULL, false)               \
    X(1, t_push_16, call_plain, 1, 8, NULL, false)            \
    X(2, t_pushes, call_plain, 1, 12, NULL, false)            \
    X(3, t_nops, call_plain, 1, 9, NULL, false)               \
    X(4, t_mov, call_plain, 2, 6, NULL, false)                \
    X(5, t_mov_16, call_plain, 2, 6, NULL, false)             \
    X(6, t_three, call_plain, 3, 6, NULL, false)              \
    X(7, t_three_16, call_plain, 3, 6, NULL, false)           \
    X(8, t_four, call_plain, 4, 8, NULL, false)               \
    X(9, t_four_sub, call_plain, 4, 12, NULL, false)          \
    X(10, t_short, call_plain, 3, 4, NULL, false)             \
    X(11, t_loop, call_plain, 2, 15, NULL, false)             \
    X(12, t_loop_one, call_plain, 1, 14, NULL, false)         \
    X(13, t_second, call_plain, 2, 6, t_second_caller, false) \
    X(14, t_jcc, call_plain, 2, 14, NULL, false)              \
    X(15, t_tail, call_plain, 5, 5, NULL, false)              \
    X(16, t_tail_two, call_plain, 2, 10, NULL, false)         \
    X(17, t_one, call_plain, 5, 8, NULL, false)               \
    X(18, t_one_rip, call_plain, 6, 16, NULL, false)          \
    X(19, t_call, t_call_with, 1, 5, NULL, false)             \
    X(20, t_read_one, t_call_read, 1, 5, NULL, true)          \
    X(21, t_read_two, t_call_read, 2, 5, NULL, true)          \
    X(22, t_read_first, t_call_read, 2, 4, NULL, true)        \
    X(23, t_packed_a, call_plain, 3, 4, NULL, false)          \
    X(24, t_packed_b, call_plain, 2, 5, NULL, false)          \
    X(25, t_packed_loop, call_plain, 2, 13, NULL, false)      \
    X(26, t_crowd, call_plain, 1, 14, NULL, false)            \
    X(27, t_crowd_two, call_plain, 3, 4, NULL, false)         \
    X(28, t_pause_one, call_plain, 1, 10, NULL, false)        \
    X(29, t_pause_two, call_plain, 2, 10, NULL, false)

/* Arguments come in registers: in the one that torture_functions*.S names. */
#if defined(__i386__)
#define TORTURE_ABI      __attribute__((regparm(3)))
#define TORTURE_PC(user) ((user)->uc_mcontext.gregs[REG_EIP])
#else
#define TORTURE_ABI
#define TORTURE_PC(user) ((user)->uc_mcontext.gregs[REG_RIP])
#endif
/* A handler naps between the first bytes. */
#define TORTURE_NAPS_AT(offset) ((offset)-1 < 4)

#endif
