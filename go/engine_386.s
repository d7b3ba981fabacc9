// SPDX-License-Identifier: MIT

//go:build linux

#include "textflag.h"
#include "funcdata.h"

// func enter(code uintptr, call unsafe.Pointer)
//
// C code on the goroutine's stack. The frame is as large as the engine's
// deepest call needs, so the stack is grown here, before anything unknown to
// the runtime runs; C begins at its top. It wants the stack aligned to 16
// bytes, with its argument there, and keeps BX.
TEXT ·enter(SB), 0, $65536-8
	MOVL code+0(FP), AX
	MOVL call+4(FP), CX
	MOVL SP, BX
	ADDL $65520, SP
	ANDL $~15, SP
	MOVL CX, 0(SP)
	CALL AX
	MOVL BX, SP
	RET

// What an original's func value points to: {code, address, context}.
//
// It is a function that the runtime knows, so `go original()` works; the
// address behind it, in memory of the engine's, is none. AX is free at the
// entry of any Go function.
TEXT ·original(SB), NOSPLIT|NOFRAME, $0-0
	MOVL 4(DX), AX
	MOVL 8(DX), DX
	JMP  AX

// func originalPC() uintptr
//
// Taken here, since Go would take the address of a wrapper.
TEXT ·originalPC(SB), NOSPLIT, $0-4
	MOVL $·original(SB), AX
	MOVL AX, ret+0(FP)
	RET

// func goroutine() uintptr
//
// The address of runtime.g, which a scoped patch compares a word of.
TEXT ·goroutine(SB), NOSPLIT, $0-4
	MOVL (TLS), AX
	MOVL AX, ret+0(FP)
	RET

// What a thunk jumps to for When and Record, as if its caller had called this
// one: AX leads to {code, answerer, bit set of the argument words that hold
// pointers, number of words}, and it goes on at CX, with DX and the arguments
// as they were, and the answer in ZF.
//
// Words that are pointers are handed to the answerer as such, a Go function,
// which returns them: so the runtime sees them, and changes them when the stack
// moves. This is the frame:
//
//	0    the answerer's arguments: 24 pointers, the address of `raw`, the
//	     context; and its results: 24 pointers and the context
//	204  raw: the 24 words, the answer
//	304  CX, the bit set
TEXT ·asks(SB), NOSPLIT|NOFRAME, $0-0
	NO_LOCAL_POINTERS
	ADJSP $312
	MOVL  CX, 304(SP)
	MOVL  DX, 100(SP)
	MOVL  8(AX), BX
	MOVL  BX, 308(SP)
	MOVL  12(AX), CX
	MOVL  4(AX), DX
	LEAL  204(SP), DI
	MOVL  DI, 96(SP)
	LEAL  316(SP), SI
	REP;  MOVSL
	XORL  CX, CX

take:
	XORL AX, AX
	BTL  CX, BX
	JCC  taken
	MOVL 204(SP)(CX*4), AX

taken:
	MOVL AX, 0(SP)(CX*4)
	INCL CX
	CMPL CX, $24
	JNE  take
	MOVL (DX), AX
	CALL AX
	MOVL 308(SP), BX
	XORL CX, CX

give:
	BTL  CX, BX
	JCC  given
	MOVL 104(SP)(CX*4), AX
	MOVL AX, 316(SP)(CX*4)

given:
	INCL  CX
	CMPL  CX, $24
	JNE   give
	MOVL  200(SP), DX
	MOVL  304(SP), CX
	MOVL  300(SP), AX
	ADJSP $-312
	TESTB AX, AX
	JMP   CX

// func asksPC() uintptr
TEXT ·asksPC(SB), NOSPLIT, $0-4
	MOVL $·asks(SB), AX
	MOVL AX, ret+0(FP)
	RET

// func callAsked(value unsafe.Pointer, r *argumentWords, at places) bool
//
// Calls a func value with arguments as r has them. Nothing of r is needed any
// more once it runs. Its result stands behind them.
TEXT ·callAsked(SB), NOSPLIT, $104-17
	NO_LOCAL_POINTERS
	MOVL value+0(FP), DX
	MOVL r+4(FP), SI
	MOVL at_pointers+8(FP), BX
	MOVL at_words+12(FP), DI
	XORL CX, CX
	JMP  all

word:
	MOVL 96(SI)(CX*4), AX
	BTL  CX, BX
	JCC  put
	MOVL 0(SI)(CX*4), AX

put:
	MOVL AX, 0(SP)(CX*4)
	INCL CX

all:
	CMPL CX, DI
	JNE  word
	MOVL (DX), AX
	CALL AX
	MOVL at_words+12(FP), CX
	MOVB 0(SP)(CX*4), AX
	MOVB AX, ret+16(FP)
	RET

// func onStack(p unsafe.Pointer) bool
//
// Does p point into the running goroutine's stack? Nothing can move the stack
// between the two looks: no goroutine is preempted in assembly.
TEXT ·onStack(SB), NOSPLIT, $0-5
	MOVL (TLS), AX
	MOVL p+0(FP), CX
	XORL DX, DX
	CMPL CX, 0(AX) // runtime.g begins by its stack's bounds
	JCS  done
	CMPL CX, 4(AX)
	JCC  done
	INCL DX

done:
	MOVB DX, ret+4(FP)
	RET

// What stands behind an original that takes a word more than its func value
// says: {code, address, word, at, args, results}, the last three as numbers of
// words. It calls the original with the word as the argument at. Its own
// arguments are in nobody's map, and are dead once they are copied; the stack
// must not move before that.
TEXT ·inserts(SB), NOSPLIT, $208-0
	NO_LOCAL_POINTERS
	MOVL SP, DI
	MOVL SP, SI
	ADDL $212, SI
	MOVL 20(DX), AX
	MOVL AX, 200(SP)
	MOVL 16(DX), AX
	MOVL AX, 204(SP)
	MOVL 12(DX), CX
	SUBL CX, AX
	REP; MOVSL
	MOVL 8(DX), CX
	MOVL CX, (DI)
	ADDL $4, DI
	MOVL AX, CX
	REP; MOVSL
	MOVL 4(DX), AX
	CALL AX
	MOVL 204(SP), AX
	MOVL SP, CX
	LEAL 212(CX)(AX*4), DI
	LEAL 4(CX)(AX*4), SI
	MOVL 200(SP), CX
	REP; MOVSL
	RET

// func insertsPC() uintptr
TEXT ·insertsPC(SB), NOSPLIT, $0-4
	MOVL $·inserts(SB), AX
	MOVL AX, ret+0(FP)
	RET

// The same on the way to a replacement that takes a word less: {code, func
// value, at, args, results}.
TEXT ·drops(SB), NOSPLIT, $208-0
	NO_LOCAL_POINTERS
	MOVL SP, DI
	MOVL SP, SI
	ADDL $212, SI
	MOVL 16(DX), AX
	MOVL AX, 200(SP)
	MOVL 12(DX), AX
	MOVL AX, 204(SP)
	MOVL 8(DX), CX
	SUBL CX, AX
	DECL AX
	REP; MOVSL
	ADDL $4, SI
	MOVL AX, CX
	REP; MOVSL
	MOVL 4(DX), DX
	MOVL (DX), AX
	CALL AX
	MOVL 204(SP), AX
	MOVL SP, CX
	LEAL 212(CX)(AX*4), DI
	LEAL -4(CX)(AX*4), SI
	MOVL 200(SP), CX
	REP; MOVSL
	RET

// func dropsPC() uintptr
TEXT ·dropsPC(SB), NOSPLIT, $0-4
	MOVL $·drops(SB), AX
	MOVL AX, ret+0(FP)
	RET

// The same for a replacement that takes an interface, where the method takes
// the pointer in it: {code, func value, the interface's other word, args,
// results}.
TEXT ·withType(SB), NOSPLIT, $208-0
	NO_LOCAL_POINTERS
	MOVL SP, DI
	MOVL SP, SI
	ADDL $212, SI
	MOVL 16(DX), AX
	MOVL AX, 200(SP)
	MOVL 12(DX), CX
	MOVL CX, 204(SP)
	MOVL 8(DX), AX
	MOVL AX, (DI)
	ADDL $4, DI
	REP; MOVSL
	MOVL 4(DX), DX
	MOVL (DX), AX
	CALL AX
	MOVL 204(SP), AX
	MOVL SP, CX
	LEAL 212(CX)(AX*4), DI
	LEAL 4(CX)(AX*4), SI
	MOVL 200(SP), CX
	REP; MOVSL
	RET

// func withTypePC() uintptr
TEXT ·withTypePC(SB), NOSPLIT, $0-4
	MOVL $·withType(SB), AX
	MOVL AX, ret+0(FP)
	RET
