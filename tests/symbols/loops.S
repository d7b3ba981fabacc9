/* SPDX-License-Identifier: MIT */
/*
 * Debug information that goes in circles: types, origins and siblings that
 * lead to themselves, blocks in blocks without end. Linked with sample.c.
 */
#if defined(__LP64__)
#define ADDRESS_BYTES 8
#define ADDRESS       .quad
#else
#define ADDRESS_BYTES 4
#define ADDRESS       .long
#endif

/* DW_AT_low_pc, and DW_AT_high_pc as a length of 8 bytes. */
        .macro range start, size
        ADDRESS \start
        .quad \size
        .endm

        .section .note.GNU-stack,"",@progbits

        .section .debug_abbrev,"",@progbits
.Labbrev:
        .uleb128 1, 0x11            /* compile unit */
        .byte 1
        .uleb128 0x25, 8, 0x13, 0xb, 3, 8, 0, 0
        .uleb128 2, 0x2e            /* subprogram with code and a type */
        .byte 1
        .uleb128 3, 8, 0x11, 1, 0x12, 7, 0x49, 0x13, 0, 0
        .uleb128 3, 0x16            /* typedef */
        .byte 0
        .uleb128 3, 8, 0x49, 0x13, 0, 0
        .uleb128 4, 0x2e            /* subprogram of another origin */
        .byte 0
        .uleb128 3, 8, 0x31, 0x13, 0, 0
        .uleb128 5, 0x1d            /* inlined subroutine */
        .byte 0
        .uleb128 0x31, 0x13, 0x11, 1, 0x12, 7, 0x58, 0xb, 0x59, 0xb, 0, 0
        .uleb128 6, 0xb             /* block */
        .byte 1
        .uleb128 0, 0
        .uleb128 7, 0x2e            /* subprogram that says what is next */
        .byte 1
        .uleb128 1, 0x13, 3, 8, 0x11, 1, 0x12, 7, 0, 0
        .uleb128 8, 0x26            /* const */
        .byte 0
        .uleb128 0x49, 0x13, 0, 0
        .uleb128 9, 5               /* parameter */
        .byte 0
        .uleb128 0x49, 0x13, 0, 0
        .uleb128 10, 0x3d           /* imported unit */
        .byte 0
        .uleb128 0x18, 0x13, 0, 0
        .uleb128 11, 0x2e           /* no name but its origin's */
        .byte 0
        .uleb128 0x31, 0x13, 0, 0
        .byte 0

        .section .debug_info,"",@progbits
.Lunit:
        .long .Lend - .Lversion
.Lversion:
        .value 4
        .long .Labbrev
        .byte ADDRESS_BYTES
.Lcu:
        .uleb128 1
        .asciz "GNU C17 -O2"
        .byte 12
        .asciz "loops.c"
.Lfirst:
        .uleb128 3
        .asciz "one_t"
        .long .Lsecond - .Lunit
.Lsecond:
        .uleb128 3
        .asciz "two_t"
        .long .Lfirst - .Lunit
.Lconst:
        .uleb128 8
        .long .Lconst - .Lunit
        .uleb128 10
        .long .Lcu - .Lunit
.Lorigin:
        .uleb128 4
        .asciz "around_itself"
        .long .Lorigin - .Lunit
.Lone:
        .uleb128 11
        .long .Lother - .Lunit
.Lother:
        .uleb128 11
        .long .Lone - .Lunit
        .uleb128 2
        .asciz "sample_types"
        range sample_types, 1
        .long .Lfirst - .Lunit
        .uleb128 9
        .long .Lconst - .Lunit
        .uleb128 9
        .long .Lsecond - .Lunit
        .byte 0
        .uleb128 2
        .asciz "sample_f1"
        range sample_f1, 16
        .long .Lconst - .Lunit
.Linlined:
        .uleb128 5
        .long .Linlined - .Lunit
        range sample_f1, 1
        .byte 1, 2
        .uleb128 5
        .long .Lorigin - .Lunit
        range sample_f1, 1
        .byte 1, 2
        .uleb128 5
        .long .Lone - .Lunit
        range sample_f1, 1
        .byte 1, 2
        .rept 20000
        .uleb128 6
        .endr
        .rept 20000
        .byte 0
        .endr
        .byte 0
.Lsibling:
        .uleb128 7
        .long .Lsibling - .Lunit
        .asciz "sample_f2"
        range sample_f2, 16
        .byte 0
        .uleb128 7
        .long .Lcu - .Lunit
        .asciz "sample_named"
        range sample_named, 16
        .byte 0
        .byte 0
.Lend:
