// SPDX-License-Identifier: MIT

//go:build linux

#include "textflag.h"

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
