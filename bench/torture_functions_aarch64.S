/* SPDX-License-Identifier: MIT */
/*
 * torture_functions.S for AArch64: a first instruction of each kind that moves
 * in a way of its own, and what happens right behind it. Each answers w0 + 1.
 */
#include <asm/unistd.h>

    .text

.macro begin name skip=0
    .p2align 6
    .if \skip
    .skip \skip
    .endif
    .globl \name
    .hidden \name
    .type \name, %function
\name:
    .cfi_startproc
.endm
.macro finish name
    .cfi_endproc
    .size \name, . - \name
.endm

begin t_add                     /* depends on nothing */
    add w0, w0, #1
    ret
finish t_add

begin t_add_odd 4               /* in the upper half of 8 bytes */
    add w0, w0, #1
    ret
finish t_add_odd

begin t_add_last 60             /* the last word of a cache line */
    add w0, w0, #1
    ret
finish t_add_last

begin t_frame                   /* what compilers begin with */
    stp x29, x30, [sp, #-32]!
    .cfi_def_cfa_offset 32
    .cfi_offset x29, -32
    .cfi_offset x30, -24
    mov x29, sp
    str x0, [sp, #16]
    ldr x0, [sp, #16]
    add w0, w0, #1
    ldp x29, x30, [sp], #32
    .cfi_def_cfa_offset 0
    ret
finish t_frame

begin t_stack
    sub sp, sp, #16
    .cfi_def_cfa_offset 16
    str x0, [sp]
    ldr x0, [sp]
    add sp, sp, #16
    .cfi_def_cfa_offset 0
    add w0, w0, #1
    ret
finish t_stack

begin t_nop                     /* -fpatchable-function-entry */
    nop
    add w0, w0, #1
    ret
finish t_nop

begin t_bti
    hint #34                    /* bti c */
    add w0, w0, #1
    ret
finish t_bti

begin t_pac
    hint #25                    /* paciasp */
    .cfi_negate_ra_state
    add w0, w0, #1
    hint #29                    /* autiasp */
    .cfi_negate_ra_state
    ret
finish t_pac

begin t_isb                     /* slow */
    isb
    add w0, w0, #1
    ret
finish t_isb

begin t_yield
    yield
    add w0, w0, #1
    ret
finish t_yield

begin t_adr
    adr x1, 1f
    ldr w1, [x1]
    add w0, w0, w1
    ret
1:  .word 1
finish t_adr

begin t_adrp
    adrp x1, torture_one
    ldr w1, [x1, :lo12:torture_one]
    add w0, w0, w1
    ret
finish t_adrp

begin t_literal
    ldr w1, 1f
    add w0, w0, w1
    ret
1:  .word 1
finish t_literal

begin t_literal_simd
    ldr s0, 1f
    fmov w1, s0
    add w0, w0, w1
    ret
1:  .word 1
finish t_literal_simd

begin t_cbz
    cbz w0, 1f
    add w0, w0, #1
    ret
1:  mov w0, #1
    ret
finish t_cbz

begin t_tbz
    tbz w0, #0, 1f
    add w0, w0, #1
    ret
1:  orr w0, w0, #1
    ret
finish t_tbz

begin t_cond                    /* whatever the flags are */
    b.eq 1f
    add w0, w0, #1
    ret
1:  mov w1, #1
    add w0, w0, w1
    ret
finish t_cond

begin t_tail                    /* one instruction is all there is */
    b t_tail_end
finish t_tail
begin t_tail_end
    add w0, w0, #1
    ret
finish t_tail_end

begin t_loop                    /* a branch from behind to +4 */
    mov w1, #0
1:  add w1, w1, #1
    cmp w1, #9
    b.ne 1b
    sub w1, w1, #8
    add w0, w0, w1
    ret
finish t_loop

begin t_second                  /* +4 is entered from another function */
    mov w0, w0
t_second_inner:
    add w0, w0, #1
    ret
finish t_second

begin t_second_caller           /* never replaced */
    mov w0, w0
    b t_second_inner
finish t_second_caller

begin t_call                    /* called by t_call_with; returns by x19 */
    bl t_helper
    ret x19
finish t_call

begin t_call_register
    blr x2
    ret x19
finish t_call_register

begin t_read_first              /* sleeps in the kernel; comes back to +4 */
    svc #0
    ret
finish t_read_first

begin t_read_second
    mov w0, w0
    svc #0
    ret
finish t_read_second

/* Packed: the next function follows at once. */
begin t_packed_a
    add w0, w0, #1
    ret
finish t_packed_a
    .globl t_packed_b
    .hidden t_packed_b
    .type t_packed_b, %function
t_packed_b:
    .cfi_startproc
    add w0, w0, #1
    ret
finish t_packed_b

/* long t_call_read(fn, fd): read(fd, &byte, 1) by way of fn. */
begin t_call_read
    stp x29, x30, [sp, #-32]!
    .cfi_def_cfa_offset 32
    .cfi_offset x29, -32
    .cfi_offset x30, -24
    mov x3, x0
    mov x0, x1
    add x1, sp, #16
    mov x2, #1
    mov x8, #__NR_read
    blr x3
    ldp x29, x30, [sp], #32
    .cfi_def_cfa_offset 0
    ret
finish t_call_read

/* long t_call_with(fn, x): fn finds t_helper in x2, and in x19 where it is to
 * return to, since a call that comes first loses x30. */
begin t_call_with
    stp x19, x30, [sp, #-16]!
    .cfi_def_cfa_offset 16
    .cfi_offset x19, -16
    .cfi_offset x30, -8
    mov x3, x0
    mov x0, x1
    adrp x2, t_helper
    add x2, x2, :lo12:t_helper
    adr x19, 1f
    blr x3
1:  ldp x19, x30, [sp], #16
    .cfi_def_cfa_offset 0
    ret
finish t_call_with

    .data
    .p2align 2
torture_one:
    .word 1

    .section .note.GNU-stack, "", %progbits
