// SPDX-License-Identifier: MIT

//go:build linux

#include "textflag.h"
#include "funcdata.h"

// func enter(code uintptr, call unsafe.Pointer)
//
// C code on the goroutine's stack. The frame is as large as the engine's
// deepest call needs, so the stack is grown here, before anything unknown to
// the runtime runs; C begins at its top. It wants the stack aligned to 16 bytes,
// and keeps R12.
TEXT ·enter(SB), 0, $65536-16
	MOVQ code+0(FP), AX
	MOVQ call+8(FP), DI
	MOVQ SP, R12
	ADDQ $65520, SP
	ANDQ $~15, SP
	CALL AX
	MOVQ R12, SP
	RET

// What an original's func value points to: {code, address, context}.
//
// It is a function that the runtime knows, so `go original()` works; the
// address behind it, in memory of the engine's, is none. R12 is free at the
// entry of any Go function.
TEXT ·original(SB), NOSPLIT|NOFRAME, $0-0
	MOVQ 8(DX), R12
	MOVQ 16(DX), DX
	JMP  R12

// func originalPC() uintptr
//
// Taken here, since Go would take the address of a wrapper.
TEXT ·originalPC(SB), NOSPLIT, $0-8
	MOVQ $·original(SB), AX
	MOVQ AX, ret+0(FP)
	RET

// func goroutine() uintptr
//
// The address of runtime.g, which a scoped patch compares a word of.
TEXT ·goroutine(SB), NOSPLIT, $0-8
	MOVQ (TLS), AX
	MOVQ AX, ret+0(FP)
	RET

// What a thunk jumps to for When and Record, as if its caller had called this
// one: R12 leads to {code, answerer, bit set of the registers that hold
// pointers}, and it goes on at R13, with all other registers as they were, and
// the answer in ZF.
//
// Registers with pointers are handed to the answerer as such, a Go function,
// which returns them: so the runtime sees them, and changes them when the stack
// moves. All others wait in this frame:
//
//	0    the answerer's arguments on the stack: the address of `raw`, the
//	     context, and the context as its result
//	24   room for what it spills
//	96   raw: the 9 integer registers, 15 floating-point ones, the answer
//	296  R13, the bit set
TEXT ·asks(SB), NOSPLIT|NOFRAME, $0-0
	NO_LOCAL_POINTERS
	ADJSP $312
	MOVQ  AX, 96(SP)
	MOVQ  BX, 104(SP)
	MOVQ  CX, 112(SP)
	MOVQ  DI, 120(SP)
	MOVQ  SI, 128(SP)
	MOVQ  R8, 136(SP)
	MOVQ  R9, 144(SP)
	MOVQ  R10, 152(SP)
	MOVQ  R11, 160(SP)
	MOVSD X0, 168(SP)
	MOVSD X1, 176(SP)
	MOVSD X2, 184(SP)
	MOVSD X3, 192(SP)
	MOVSD X4, 200(SP)
	MOVSD X5, 208(SP)
	MOVSD X6, 216(SP)
	MOVSD X7, 224(SP)
	MOVSD X8, 232(SP)
	MOVSD X9, 240(SP)
	MOVSD X10, 248(SP)
	MOVSD X11, 256(SP)
	MOVSD X12, 264(SP)
	MOVSD X13, 272(SP)
	MOVSD X14, 280(SP)
	MOVQ  R13, 296(SP)
	MOVQ  DX, 8(SP)
	LEAQ  96(SP), R13
	MOVQ  R13, 0(SP)
	MOVQ  8(R12), DX
	MOVQ  16(R12), R12
	MOVQ  R12, 304(SP)
	XORL  R13, R13
	TESTL $1, R12
	CMOVQEQ R13, AX
	TESTL $2, R12
	CMOVQEQ R13, BX
	TESTL $4, R12
	CMOVQEQ R13, CX
	TESTL $8, R12
	CMOVQEQ R13, DI
	TESTL $16, R12
	CMOVQEQ R13, SI
	TESTL $32, R12
	CMOVQEQ R13, R8
	TESTL $64, R12
	CMOVQEQ R13, R9
	TESTL $128, R12
	CMOVQEQ R13, R10
	TESTL $256, R12
	CMOVQEQ R13, R11
	MOVQ  (DX), R12
	CALL  R12
	MOVQ  304(SP), R12
	MOVQ  16(SP), DX
	TESTL $1, R12
	CMOVQEQ 96(SP), AX
	TESTL $2, R12
	CMOVQEQ 104(SP), BX
	TESTL $4, R12
	CMOVQEQ 112(SP), CX
	TESTL $8, R12
	CMOVQEQ 120(SP), DI
	TESTL $16, R12
	CMOVQEQ 128(SP), SI
	TESTL $32, R12
	CMOVQEQ 136(SP), R8
	TESTL $64, R12
	CMOVQEQ 144(SP), R9
	TESTL $128, R12
	CMOVQEQ 152(SP), R10
	TESTL $256, R12
	CMOVQEQ 160(SP), R11
	MOVSD 168(SP), X0
	MOVSD 176(SP), X1
	MOVSD 184(SP), X2
	MOVSD 192(SP), X3
	MOVSD 200(SP), X4
	MOVSD 208(SP), X5
	MOVSD 216(SP), X6
	MOVSD 224(SP), X7
	MOVSD 232(SP), X8
	MOVSD 240(SP), X9
	MOVSD 248(SP), X10
	MOVSD 256(SP), X11
	MOVSD 264(SP), X12
	MOVSD 272(SP), X13
	MOVSD 280(SP), X14
	MOVQ  288(SP), R12
	MOVQ  296(SP), R13
	ADJSP $-312
	TESTB R12, R12
	JMP   R13

// func asksPC() uintptr
TEXT ·asksPC(SB), NOSPLIT, $0-8
	MOVQ $·asks(SB), AX
	MOVQ AX, ret+0(FP)
	RET

// func callAsked(value unsafe.Pointer, r *argumentWords, pointers places) bool
//
// Calls a func value with registers as r has them. Nothing of r is needed any
// more once it runs; the frame is for what it spills.
TEXT ·callAsked(SB), NOSPLIT, $192-25
	NO_LOCAL_POINTERS
	MOVQ value+0(FP), DX
	MOVQ r+8(FP), R12
	MOVQ pointers+16(FP), R13
	MOVQ 0(R12), AX
	TESTL $1, R13
	CMOVQEQ 72(R12), AX
	MOVQ 8(R12), BX
	TESTL $2, R13
	CMOVQEQ 80(R12), BX
	MOVQ 16(R12), CX
	TESTL $4, R13
	CMOVQEQ 88(R12), CX
	MOVQ 24(R12), DI
	TESTL $8, R13
	CMOVQEQ 96(R12), DI
	MOVQ 32(R12), SI
	TESTL $16, R13
	CMOVQEQ 104(R12), SI
	MOVQ 40(R12), R8
	TESTL $32, R13
	CMOVQEQ 112(R12), R8
	MOVQ 48(R12), R9
	TESTL $64, R13
	CMOVQEQ 120(R12), R9
	MOVQ 56(R12), R10
	TESTL $128, R13
	CMOVQEQ 128(R12), R10
	MOVQ 64(R12), R11
	TESTL $256, R13
	CMOVQEQ 136(R12), R11
	MOVSD 144(R12), X0
	MOVSD 152(R12), X1
	MOVSD 160(R12), X2
	MOVSD 168(R12), X3
	MOVSD 176(R12), X4
	MOVSD 184(R12), X5
	MOVSD 192(R12), X6
	MOVSD 200(R12), X7
	MOVSD 208(R12), X8
	MOVSD 216(R12), X9
	MOVSD 224(R12), X10
	MOVSD 232(R12), X11
	MOVSD 240(R12), X12
	MOVSD 248(R12), X13
	MOVSD 256(R12), X14
	XORPS X15, X15
	MOVQ (DX), R12
	CALL R12
	MOVB AX, ret+24(FP)
	RET

// func onStack(p unsafe.Pointer) bool
//
// Does p point into the running goroutine's stack? Nothing can move the stack
// between the two looks: no goroutine is preempted in assembly.
TEXT ·onStack(SB), NOSPLIT, $0-9
	MOVQ (TLS), AX
	MOVQ p+0(FP), CX
	XORL DX, DX
	CMPQ CX, 0(AX) // runtime.g begins by its stack's bounds
	JLO  done
	CMPQ CX, 8(AX)
	JHS  done
	INCL DX

done:
	MOVB DX, ret+8(FP)
	RET

// What stands behind an original that takes one integer argument more than its
// func value says: {code, address, argument}. insertN makes the argument the
// Nth and moves those behind it on by one register. The code that is called
// has a place more to spill to than the caller gave, so it gets a frame.

TEXT ·insert0(SB), NOSPLIT, $208-0
	NO_LOCAL_POINTERS
	MOVQ 8(DX), R12
	MOVQ 16(DX), R13
	MOVQ R10, R11
	MOVQ R9, R10
	MOVQ R8, R9
	MOVQ SI, R8
	MOVQ DI, SI
	MOVQ CX, DI
	MOVQ BX, CX
	MOVQ AX, BX
	MOVQ R13, AX
	CALL R12
	RET

TEXT ·insert1(SB), NOSPLIT, $208-0
	NO_LOCAL_POINTERS
	MOVQ 8(DX), R12
	MOVQ 16(DX), R13
	MOVQ R10, R11
	MOVQ R9, R10
	MOVQ R8, R9
	MOVQ SI, R8
	MOVQ DI, SI
	MOVQ CX, DI
	MOVQ BX, CX
	MOVQ R13, BX
	CALL R12
	RET

TEXT ·insert2(SB), NOSPLIT, $208-0
	NO_LOCAL_POINTERS
	MOVQ 8(DX), R12
	MOVQ 16(DX), R13
	MOVQ R10, R11
	MOVQ R9, R10
	MOVQ R8, R9
	MOVQ SI, R8
	MOVQ DI, SI
	MOVQ CX, DI
	MOVQ R13, CX
	CALL R12
	RET

TEXT ·insert3(SB), NOSPLIT, $208-0
	NO_LOCAL_POINTERS
	MOVQ 8(DX), R12
	MOVQ 16(DX), R13
	MOVQ R10, R11
	MOVQ R9, R10
	MOVQ R8, R9
	MOVQ SI, R8
	MOVQ DI, SI
	MOVQ R13, DI
	CALL R12
	RET

TEXT ·insert4(SB), NOSPLIT, $208-0
	NO_LOCAL_POINTERS
	MOVQ 8(DX), R12
	MOVQ 16(DX), R13
	MOVQ R10, R11
	MOVQ R9, R10
	MOVQ R8, R9
	MOVQ SI, R8
	MOVQ R13, SI
	CALL R12
	RET

TEXT ·insert5(SB), NOSPLIT, $208-0
	NO_LOCAL_POINTERS
	MOVQ 8(DX), R12
	MOVQ 16(DX), R13
	MOVQ R10, R11
	MOVQ R9, R10
	MOVQ R8, R9
	MOVQ R13, R8
	CALL R12
	RET

TEXT ·insert6(SB), NOSPLIT, $208-0
	NO_LOCAL_POINTERS
	MOVQ 8(DX), R12
	MOVQ 16(DX), R13
	MOVQ R10, R11
	MOVQ R9, R10
	MOVQ R13, R9
	CALL R12
	RET

TEXT ·insert7(SB), NOSPLIT, $208-0
	NO_LOCAL_POINTERS
	MOVQ 8(DX), R12
	MOVQ 16(DX), R13
	MOVQ R10, R11
	MOVQ R13, R10
	CALL R12
	RET

TEXT ·insert8(SB), NOSPLIT, $208-0
	NO_LOCAL_POINTERS
	MOVQ 8(DX), R12
	MOVQ 16(DX), R13
	MOVQ R13, R11
	CALL R12
	RET

// The same for a replacement that takes an interface, where the method takes
// the pointer in it: {code, func value, the interface's other word}.
TEXT ·withType(SB), NOSPLIT, $208-0
	NO_LOCAL_POINTERS
	MOVQ 8(DX), R12
	MOVQ 16(DX), R13
	MOVQ R10, R11
	MOVQ R9, R10
	MOVQ R8, R9
	MOVQ SI, R8
	MOVQ DI, SI
	MOVQ CX, DI
	MOVQ BX, CX
	MOVQ AX, BX
	MOVQ R13, AX
	MOVQ R12, DX
	MOVQ (DX), R12
	CALL R12
	RET

// func withTypePC() uintptr
TEXT ·withTypePC(SB), NOSPLIT, $0-8
	MOVQ $·withType(SB), AX
	MOVQ AX, ret+0(FP)
	RET

// func insertPC(n int) uintptr
TEXT ·insertPC(SB), NOSPLIT, $0-16
	MOVQ n+0(FP), CX
	MOVQ $·insert0(SB), AX
	CMPQ CX, $0
	JEQ  done
	MOVQ $·insert1(SB), AX
	CMPQ CX, $1
	JEQ  done
	MOVQ $·insert2(SB), AX
	CMPQ CX, $2
	JEQ  done
	MOVQ $·insert3(SB), AX
	CMPQ CX, $3
	JEQ  done
	MOVQ $·insert4(SB), AX
	CMPQ CX, $4
	JEQ  done
	MOVQ $·insert5(SB), AX
	CMPQ CX, $5
	JEQ  done
	MOVQ $·insert6(SB), AX
	CMPQ CX, $6
	JEQ  done
	MOVQ $·insert7(SB), AX
	CMPQ CX, $7
	JEQ  done
	MOVQ $·insert8(SB), AX
	CMPQ CX, $8
	JEQ  done
	XORL AX, AX

done:
	MOVQ AX, ret+8(FP)
	RET
