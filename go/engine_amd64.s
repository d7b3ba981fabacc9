// SPDX-License-Identifier: MIT

//go:build linux

#include "textflag.h"
#include "funcdata.h"

// func enter(code uintptr, call unsafe.Pointer)
//
// C code on the goroutine's stack. The frame is as large as the engine's
// deepest call needs, so the stack is grown here, before anything unknown to
// the runtime runs. C wants the stack aligned to 16 bytes.
TEXT ·enter(SB), 0, $65536-16
	MOVQ code+0(FP), AX
	MOVQ call+8(FP), DI
	MOVQ SP, R12
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
