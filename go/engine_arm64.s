// SPDX-License-Identifier: MIT

//go:build linux

#include "textflag.h"
#include "funcdata.h"

// func enter(code uintptr, call unsafe.Pointer)
//
// C code on the goroutine's stack. The frame is as large as the engine's
// deepest call needs, so the stack is grown here, before anything unknown to
// the runtime runs; C begins at its top, and leaves R28, the goroutine, as it is:
// signal handlers look there. It keeps R19.
TEXT ·enter(SB), 0, $65536-16
	MOVD code+0(FP), R9
	MOVD call+8(FP), R0
	MOVD RSP, R19
	MOVD $65520, R10
	ADD  R19, R10, R10
	AND  $~15, R10, R10
	MOVD R10, RSP
	CALL (R9)
	MOVD R19, RSP
	RET

// func codeWritten(at, size uintptr)
//
// Makes what was written there visible to instruction fetches (Arm ARM
// B2.7.4.1): to the point of unification, line by line. A line has at least 16
// bytes.
TEXT ·codeWritten(SB), NOSPLIT, $0-16
	MOVD at+0(FP), R0
	MOVD size+8(FP), R1
	ADD  R0, R1, R1
	AND  $~15, R0, R0
	MOVD R0, R2

clean:
	CMP  R1, R0
	BHS  cleaned
	WORD $0xd50b7b20 // dc cvau, x0
	ADD  $16, R0
	B    clean

cleaned:
	WORD $0xd5033b9f // dsb ish

forget:
	CMP  R1, R2
	BHS  done
	WORD $0xd50b7522 // ic ivau, x2
	ADD  $16, R2
	B    forget

done:
	WORD $0xd5033b9f // dsb ish
	WORD $0xd5033fdf // isb
	RET

// What an original's func value points to: {code, address, context}.
//
// It is a function that the runtime knows, so `go original()` works; the
// address behind it, in memory of the engine's, is none. R16 is free at the
// entry of any Go function.
TEXT ·original(SB), NOSPLIT|NOFRAME, $0-0
	MOVD 8(R26), R16
	MOVD 16(R26), R26
	JMP  (R16)

// func originalPC() uintptr
//
// Taken here, since Go would take the address of a wrapper.
TEXT ·originalPC(SB), NOSPLIT, $0-8
	MOVD $·original(SB), R0
	MOVD R0, ret+0(FP)
	RET

// func goroutine() uintptr
//
// The address of runtime.g, which a scoped patch compares a word of.
TEXT ·goroutine(SB), NOSPLIT, $0-8
	MOVD g, ret+0(FP)
	RET

// What a thunk jumps to for When and Record, as if its caller had called this
// one: R16 leads to {code, answerer, bit set of the registers that hold
// pointers}, and it goes on at R17, with all registers of arguments as they were,
// and the answer in the zero flag.
//
// Registers with pointers are handed to the answerer as such, a Go function,
// which returns them: so the runtime sees them, and changes them when the stack
// moves. All others wait in this frame:
//
//	0    the return address, where the runtime looks for it
//	8    the answerer's arguments on the stack: the address of `raw`, the
//	     context, and the context as its result
//	32   room for what it spills
//	160  raw: the 16 integer registers, 16 floating-point ones, the answer
//	424  R17, the bit set
TEXT ·asks(SB), NOSPLIT|NOFRAME, $0-0
	NO_LOCAL_POINTERS
	SUB  $448, RSP
	MOVD R30, 0(RSP)
	STP  (R0, R1), 160(RSP)
	STP  (R2, R3), 176(RSP)
	STP  (R4, R5), 192(RSP)
	STP  (R6, R7), 208(RSP)
	STP  (R8, R9), 224(RSP)
	STP  (R10, R11), 240(RSP)
	STP  (R12, R13), 256(RSP)
	STP  (R14, R15), 272(RSP)
	FSTPD (F0, F1), 288(RSP)
	FSTPD (F2, F3), 304(RSP)
	FSTPD (F4, F5), 320(RSP)
	FSTPD (F6, F7), 336(RSP)
	FSTPD (F8, F9), 352(RSP)
	FSTPD (F10, F11), 368(RSP)
	FSTPD (F12, F13), 384(RSP)
	FSTPD (F14, F15), 400(RSP)
	MOVD R17, 424(RSP)
	MOVD R26, 16(RSP)
	ADD  $160, RSP, R17
	MOVD R17, 8(RSP)
	MOVD 8(R16), R26
	MOVD 16(R16), R17
	MOVD R17, 432(RSP)
	TBNZ $0, R17, 2(PC)
	MOVD ZR, R0
	TBNZ $1, R17, 2(PC)
	MOVD ZR, R1
	TBNZ $2, R17, 2(PC)
	MOVD ZR, R2
	TBNZ $3, R17, 2(PC)
	MOVD ZR, R3
	TBNZ $4, R17, 2(PC)
	MOVD ZR, R4
	TBNZ $5, R17, 2(PC)
	MOVD ZR, R5
	TBNZ $6, R17, 2(PC)
	MOVD ZR, R6
	TBNZ $7, R17, 2(PC)
	MOVD ZR, R7
	TBNZ $8, R17, 2(PC)
	MOVD ZR, R8
	TBNZ $9, R17, 2(PC)
	MOVD ZR, R9
	TBNZ $10, R17, 2(PC)
	MOVD ZR, R10
	TBNZ $11, R17, 2(PC)
	MOVD ZR, R11
	TBNZ $12, R17, 2(PC)
	MOVD ZR, R12
	TBNZ $13, R17, 2(PC)
	MOVD ZR, R13
	TBNZ $14, R17, 2(PC)
	MOVD ZR, R14
	TBNZ $15, R17, 2(PC)
	MOVD ZR, R15
	MOVD (R26), R16
	CALL (R16)
	MOVD 432(RSP), R17
	MOVD 24(RSP), R26
	TBNZ $0, R17, 2(PC)
	MOVD 160(RSP), R0
	TBNZ $1, R17, 2(PC)
	MOVD 168(RSP), R1
	TBNZ $2, R17, 2(PC)
	MOVD 176(RSP), R2
	TBNZ $3, R17, 2(PC)
	MOVD 184(RSP), R3
	TBNZ $4, R17, 2(PC)
	MOVD 192(RSP), R4
	TBNZ $5, R17, 2(PC)
	MOVD 200(RSP), R5
	TBNZ $6, R17, 2(PC)
	MOVD 208(RSP), R6
	TBNZ $7, R17, 2(PC)
	MOVD 216(RSP), R7
	TBNZ $8, R17, 2(PC)
	MOVD 224(RSP), R8
	TBNZ $9, R17, 2(PC)
	MOVD 232(RSP), R9
	TBNZ $10, R17, 2(PC)
	MOVD 240(RSP), R10
	TBNZ $11, R17, 2(PC)
	MOVD 248(RSP), R11
	TBNZ $12, R17, 2(PC)
	MOVD 256(RSP), R12
	TBNZ $13, R17, 2(PC)
	MOVD 264(RSP), R13
	TBNZ $14, R17, 2(PC)
	MOVD 272(RSP), R14
	TBNZ $15, R17, 2(PC)
	MOVD 280(RSP), R15
	FLDPD 288(RSP), (F0, F1)
	FLDPD 304(RSP), (F2, F3)
	FLDPD 320(RSP), (F4, F5)
	FLDPD 336(RSP), (F6, F7)
	FLDPD 352(RSP), (F8, F9)
	FLDPD 368(RSP), (F10, F11)
	FLDPD 384(RSP), (F12, F13)
	FLDPD 400(RSP), (F14, F15)
	MOVBU 416(RSP), R16
	MOVD 424(RSP), R17
	MOVD 0(RSP), R30
	ADD  $448, RSP
	CMP  $0, R16
	JMP  (R17)

// func asksPC() uintptr
TEXT ·asksPC(SB), NOSPLIT, $0-8
	MOVD $·asks(SB), R0
	MOVD R0, ret+0(FP)
	RET

// func callAsked(value unsafe.Pointer, r *argumentWords, pointers places) bool
//
// Calls a func value with registers as r has them. Nothing of r is needed any
// more once it runs; the frame is for what it spills.
TEXT ·callAsked(SB), NOSPLIT, $264-25
	NO_LOCAL_POINTERS
	MOVD value+0(FP), R26
	MOVD r+8(FP), R16
	MOVD pointers+16(FP), R17
	MOVD 0(R16), R0
	TBNZ $0, R17, 2(PC)
	MOVD 128(R16), R0
	MOVD 8(R16), R1
	TBNZ $1, R17, 2(PC)
	MOVD 136(R16), R1
	MOVD 16(R16), R2
	TBNZ $2, R17, 2(PC)
	MOVD 144(R16), R2
	MOVD 24(R16), R3
	TBNZ $3, R17, 2(PC)
	MOVD 152(R16), R3
	MOVD 32(R16), R4
	TBNZ $4, R17, 2(PC)
	MOVD 160(R16), R4
	MOVD 40(R16), R5
	TBNZ $5, R17, 2(PC)
	MOVD 168(R16), R5
	MOVD 48(R16), R6
	TBNZ $6, R17, 2(PC)
	MOVD 176(R16), R6
	MOVD 56(R16), R7
	TBNZ $7, R17, 2(PC)
	MOVD 184(R16), R7
	MOVD 64(R16), R8
	TBNZ $8, R17, 2(PC)
	MOVD 192(R16), R8
	MOVD 72(R16), R9
	TBNZ $9, R17, 2(PC)
	MOVD 200(R16), R9
	MOVD 80(R16), R10
	TBNZ $10, R17, 2(PC)
	MOVD 208(R16), R10
	MOVD 88(R16), R11
	TBNZ $11, R17, 2(PC)
	MOVD 216(R16), R11
	MOVD 96(R16), R12
	TBNZ $12, R17, 2(PC)
	MOVD 224(R16), R12
	MOVD 104(R16), R13
	TBNZ $13, R17, 2(PC)
	MOVD 232(R16), R13
	MOVD 112(R16), R14
	TBNZ $14, R17, 2(PC)
	MOVD 240(R16), R14
	MOVD 120(R16), R15
	TBNZ $15, R17, 2(PC)
	MOVD 248(R16), R15
	FLDPD 256(R16), (F0, F1)
	FLDPD 272(R16), (F2, F3)
	FLDPD 288(R16), (F4, F5)
	FLDPD 304(R16), (F6, F7)
	FLDPD 320(R16), (F8, F9)
	FLDPD 336(R16), (F10, F11)
	FLDPD 352(R16), (F12, F13)
	FLDPD 368(R16), (F14, F15)
	MOVD (R26), R16
	CALL (R16)
	MOVB R0, ret+24(FP)
	RET

// func onStack(p unsafe.Pointer) bool
//
// Does p point into the running goroutine's stack? Nothing can move the stack
// between the two looks: no goroutine is preempted in assembly.
TEXT ·onStack(SB), NOSPLIT, $0-9
	MOVD p+0(FP), R0
	MOVD 0(g), R1 // runtime.g begins by its stack's bounds
	MOVD 8(g), R2
	CMP  R1, R0
	CSET HS, R3
	CMP  R2, R0
	CSET LO, R4
	AND  R3, R4, R3
	MOVB R3, ret+8(FP)
	RET

// What stands behind an original that takes one integer argument more than its
// func value says: {code, address, argument}. insertN makes the argument the
// Nth and moves those behind it on by one register. The code that is called
// has a place more to spill to than the caller gave, so it gets a frame.

#define SHIFT14 \
	MOVD R14, R15

#define SHIFT13 \
	SHIFT14 \
	MOVD R13, R14

#define SHIFT12 \
	SHIFT13 \
	MOVD R12, R13

#define SHIFT11 \
	SHIFT12 \
	MOVD R11, R12

#define SHIFT10 \
	SHIFT11 \
	MOVD R10, R11

#define SHIFT9 \
	SHIFT10 \
	MOVD R9, R10

#define SHIFT8 \
	SHIFT9 \
	MOVD R8, R9

#define SHIFT7 \
	SHIFT8 \
	MOVD R7, R8

#define SHIFT6 \
	SHIFT7 \
	MOVD R6, R7

#define SHIFT5 \
	SHIFT6 \
	MOVD R5, R6

#define SHIFT4 \
	SHIFT5 \
	MOVD R4, R5

#define SHIFT3 \
	SHIFT4 \
	MOVD R3, R4

#define SHIFT2 \
	SHIFT3 \
	MOVD R2, R3

#define SHIFT1 \
	SHIFT2 \
	MOVD R1, R2

#define SHIFT0 \
	SHIFT1 \
	MOVD R0, R1

TEXT ·insert0(SB), NOSPLIT, $264-0
	NO_LOCAL_POINTERS
	MOVD 8(R26), R16
	MOVD 16(R26), R17
	SHIFT0
	MOVD R17, R0
	CALL (R16)
	RET

TEXT ·insert1(SB), NOSPLIT, $264-0
	NO_LOCAL_POINTERS
	MOVD 8(R26), R16
	MOVD 16(R26), R17
	SHIFT1
	MOVD R17, R1
	CALL (R16)
	RET

TEXT ·insert2(SB), NOSPLIT, $264-0
	NO_LOCAL_POINTERS
	MOVD 8(R26), R16
	MOVD 16(R26), R17
	SHIFT2
	MOVD R17, R2
	CALL (R16)
	RET

TEXT ·insert3(SB), NOSPLIT, $264-0
	NO_LOCAL_POINTERS
	MOVD 8(R26), R16
	MOVD 16(R26), R17
	SHIFT3
	MOVD R17, R3
	CALL (R16)
	RET

TEXT ·insert4(SB), NOSPLIT, $264-0
	NO_LOCAL_POINTERS
	MOVD 8(R26), R16
	MOVD 16(R26), R17
	SHIFT4
	MOVD R17, R4
	CALL (R16)
	RET

TEXT ·insert5(SB), NOSPLIT, $264-0
	NO_LOCAL_POINTERS
	MOVD 8(R26), R16
	MOVD 16(R26), R17
	SHIFT5
	MOVD R17, R5
	CALL (R16)
	RET

TEXT ·insert6(SB), NOSPLIT, $264-0
	NO_LOCAL_POINTERS
	MOVD 8(R26), R16
	MOVD 16(R26), R17
	SHIFT6
	MOVD R17, R6
	CALL (R16)
	RET

TEXT ·insert7(SB), NOSPLIT, $264-0
	NO_LOCAL_POINTERS
	MOVD 8(R26), R16
	MOVD 16(R26), R17
	SHIFT7
	MOVD R17, R7
	CALL (R16)
	RET

TEXT ·insert8(SB), NOSPLIT, $264-0
	NO_LOCAL_POINTERS
	MOVD 8(R26), R16
	MOVD 16(R26), R17
	SHIFT8
	MOVD R17, R8
	CALL (R16)
	RET

TEXT ·insert9(SB), NOSPLIT, $264-0
	NO_LOCAL_POINTERS
	MOVD 8(R26), R16
	MOVD 16(R26), R17
	SHIFT9
	MOVD R17, R9
	CALL (R16)
	RET

TEXT ·insert10(SB), NOSPLIT, $264-0
	NO_LOCAL_POINTERS
	MOVD 8(R26), R16
	MOVD 16(R26), R17
	SHIFT10
	MOVD R17, R10
	CALL (R16)
	RET

TEXT ·insert11(SB), NOSPLIT, $264-0
	NO_LOCAL_POINTERS
	MOVD 8(R26), R16
	MOVD 16(R26), R17
	SHIFT11
	MOVD R17, R11
	CALL (R16)
	RET

TEXT ·insert12(SB), NOSPLIT, $264-0
	NO_LOCAL_POINTERS
	MOVD 8(R26), R16
	MOVD 16(R26), R17
	SHIFT12
	MOVD R17, R12
	CALL (R16)
	RET

TEXT ·insert13(SB), NOSPLIT, $264-0
	NO_LOCAL_POINTERS
	MOVD 8(R26), R16
	MOVD 16(R26), R17
	SHIFT13
	MOVD R17, R13
	CALL (R16)
	RET

TEXT ·insert14(SB), NOSPLIT, $264-0
	NO_LOCAL_POINTERS
	MOVD 8(R26), R16
	MOVD 16(R26), R17
	SHIFT14
	MOVD R17, R14
	CALL (R16)
	RET

TEXT ·insert15(SB), NOSPLIT, $264-0
	NO_LOCAL_POINTERS
	MOVD 8(R26), R16
	MOVD 16(R26), R17
	MOVD R17, R15
	CALL (R16)
	RET

// The same for a replacement that takes an interface, where the method takes
// the pointer in it: {code, func value, the interface's other word}.
TEXT ·withType(SB), NOSPLIT, $264-0
	NO_LOCAL_POINTERS
	MOVD 16(R26), R17
	MOVD 8(R26), R26
	MOVD (R26), R16
	SHIFT0
	MOVD R17, R0
	CALL (R16)
	RET

// func withTypePC() uintptr
TEXT ·withTypePC(SB), NOSPLIT, $0-8
	MOVD $·withType(SB), R0
	MOVD R0, ret+0(FP)
	RET

// func insertPC(n int) uintptr
TEXT ·insertPC(SB), NOSPLIT, $0-16
	MOVD n+0(FP), R1
	MOVD $·insert0(SB), R0
	CMP  $0, R1
	BEQ  done
	MOVD $·insert1(SB), R0
	CMP  $1, R1
	BEQ  done
	MOVD $·insert2(SB), R0
	CMP  $2, R1
	BEQ  done
	MOVD $·insert3(SB), R0
	CMP  $3, R1
	BEQ  done
	MOVD $·insert4(SB), R0
	CMP  $4, R1
	BEQ  done
	MOVD $·insert5(SB), R0
	CMP  $5, R1
	BEQ  done
	MOVD $·insert6(SB), R0
	CMP  $6, R1
	BEQ  done
	MOVD $·insert7(SB), R0
	CMP  $7, R1
	BEQ  done
	MOVD $·insert8(SB), R0
	CMP  $8, R1
	BEQ  done
	MOVD $·insert9(SB), R0
	CMP  $9, R1
	BEQ  done
	MOVD $·insert10(SB), R0
	CMP  $10, R1
	BEQ  done
	MOVD $·insert11(SB), R0
	CMP  $11, R1
	BEQ  done
	MOVD $·insert12(SB), R0
	CMP  $12, R1
	BEQ  done
	MOVD $·insert13(SB), R0
	CMP  $13, R1
	BEQ  done
	MOVD $·insert14(SB), R0
	CMP  $14, R1
	BEQ  done
	MOVD $·insert15(SB), R0
	CMP  $15, R1
	BEQ  done
	MOVD ZR, R0

done:
	MOVD R0, ret+8(FP)
	RET
