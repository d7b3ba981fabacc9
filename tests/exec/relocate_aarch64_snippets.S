/* SPDX-License-Identifier: MIT */
/*
 * Heads of AArch64 functions, one a line; as in relocate_snippets.S. Registers:
 * x1, x2 = in DATA, x9 = LEAVE, x10 = RETURN, x11 = THUNK, x30 = LINK; the
 * others are random, x3 often small.
 */
#define RETURNS 1 /* comes back to the original's code */
#define LOOPS   2 /* goes back */

#define SHORT  7b + 0x40
#define LEAVE  7b + 0x4000
#define RETURN 7b + 0x4100
#define THUNK  7b + 0x4200
#define DATA   7b + 0x10000

#define TEXT_(...)          #__VA_ARGS__
#define TEXT(...)           TEXT_(__VA_ARGS__)
#define always(...)         snippet 0, TEXT(__VA_ARGS__)
#define flagged(flags, ...) snippet flags, TEXT(__VA_ARGS__)

        .section .note.GNU-stack, "", %progbits
        .arch   armv8.5-a+pauth+simd

        .macro  snippet flags, text
        .pushsection .rodata.names, "a", %progbits
6:      .asciz  "\text"
        .popsection
        .pushsection .text.snippets, "ax", %progbits
7:      \text
8:
        .popsection
        .pushsection .data.snippets, "aw", %progbits
        .quad   6b, 7b
        .word   8b - 7b, \flags
        .popsection
        .endm

        .pushsection .data.snippets, "aw", %progbits
        .globl  relocate_snippets
relocate_snippets:
        .popsection

        always(stp x29, x30, [sp, #-32]!; mov x29, sp; str x19, [sp, #16])
        always(sub sp, sp, #48; str x0, [sp, #40])
        always(nop; nop; nop; nop)
        always(add x0, x3, x4; adds x5, x6, x7; csel x8, x5, x6, ne)
        always(ldr x4, [x1]; str x5, [x1, #8]; ldp q0, q1, [x2]; st1 {v3.4s}, [x2])
        always(ldadd x5, x6, [x1]; cas x7, x8, [x2])
        always(bti c; stp x29, x30, [sp, #-16]!)
        always(paciasp; stp x29, x30, [sp, #-16]!; mov x29, sp)
        always(paciasp; autiasp; ret)
        always(pacibsp; retab)
        always(ret)
        always(ret x9)
        always(br x9)
        always(pacia x9, x2; braa x9, x2)
        always(paciza x9; braaz x9)
        always(mov x8, #172; svc #0)
        always(mov x8, #172; svc #0; add x0, x0, #1; mov x7, x0)

        .irp    goal, SHORT, LEAVE, DATA
        always(adr x5, \goal)
        always(adr x5, \goal + 3; add x5, x5, #7)
        always(adr xzr, \goal; nop)
        .endr
        always(.inst 0x90000085; ldr x6, [x5, #0x120]) /* adrp x5, .+0x10000 */
        always(.inst 0xf0000085; nop)                  /* adrp x5, .+0x13000 */
        always(.inst 0x90ffff85)                       /* adrp x5, .-0x10000 */

        .irp    at, 0x100, 0x104, 0x108
        always(ldr w4, DATA + \at)
        always(ldr x4, DATA + \at)
        always(ldr x16, DATA + \at; add x17, x16, #1)
        always(ldrsw x4, DATA + \at)
        always(ldr xzr, DATA + \at)
        always(ldr s4, DATA + \at)
        always(ldr d4, DATA + \at)
        always(ldr q4, DATA + \at)
        always(prfm pldl1keep, DATA + \at)
        always(sub sp, sp, #32; ldr q4, DATA + \at; str q4, [sp, #16])
        always(str x5, [x1, #8]; ldr x4, DATA + \at; ldr d5, DATA + \at)
        .endr
        always(ldr x4, SHORT)

        .irp    goal, SHORT, LEAVE
        always(b \goal)
        always(nop; b \goal)
        .irp    cc, eq, ne, cs, cc, mi, pl, vs, vc, hi, ls, ge, lt, gt, le, al, nv
        always(b.\cc \goal)
        always(add x0, x0, #1; b.\cc \goal; b.\cc \goal; b.\cc \goal)
        always(b.\cc 1f; mvn x4, x4; 1: mvn x5, x5; nop)
        .endr
        .irp    op, cbz, cbnz
        always(\op x3, \goal)
        always(\op w3, \goal)
        always(\op w3, 1f; mvn x4, x4; 1: \op x4, \goal)
        .endr
        .irp    op, tbz, tbnz
        always(\op x3, #0, \goal)
        always(\op x3, #63, \goal)
        always(\op w3, #1, 1f; mvn x4, x4; 1: \op x4, #33, \goal)
        .endr
        .endr

        flagged(LOOPS, and x3, x3, #15; 1: add x4, x4, x3; subs x3, x3, #1; b.gt 1b)
        flagged(LOOPS, 1: lsr x3, x3, #1; cbnz x3, 1b; b SHORT)
        flagged(LOOPS, 1: lsr x3, x3, #1; tbnz x3, #0, 1b; nop)
        flagged(LOOPS, 1: ldxr x4, [x1]; add x4, x4, #1; stlxr w5, x4, [x1]; cbnz w5, 1b)
        flagged(LOOPS, 1: ldaxr w4, [x1]; stxr w5, w3, [x1]; cbnz w5, 1b)
        always(b 1f; mvn x4, x4; 1: mvn x5, x5)

        .irp    goal, RETURN, THUNK
        flagged(RETURNS, bl \goal)
        flagged(RETURNS, mov x4, x30; bl \goal; nop; nop)
        flagged(RETURNS, bl \goal; add x4, x0, #4)
        .endr
        flagged(RETURNS, bl 1f; 1: mov x4, x30)
        flagged(RETURNS, nop; bl 1f; .inst 0; 1: mov x4, x30)
        always(bl LEAVE)
        .irp    r, x10, x11
        flagged(RETURNS, blr \r)
        flagged(RETURNS, mov x4, x30; blr \r; nop)
        flagged(RETURNS, pacia \r, x2; blraa \r, x2)
        flagged(RETURNS, pacizb \r; blrabz \r)
        .endr
        always(blr x9)

        .pushsection .data.snippets, "aw", %progbits
        .quad   0, 0, 0
        .popsection
