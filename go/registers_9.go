// SPDX-License-Identifier: MIT

//go:build !386 && !arm64

package patas

import "unsafe"

// Of amd64. On machines that there is no engine for, nothing uses them.
const (
	integerRegisters = 9
	floatRegisters   = 15
	contextKey       = 2  // of a thunk: rdx
	goroutineWords   = 48 // of runtime.g: it is larger in every release
)

// registers are the numbers of the integer registers, in the arguments' order.
var registers = [integerRegisters]int{0, 3, 1, 7, 6, 8, 9, 10, 11}

// answerer is what asks calls: pointers in registers, the rest by raw.
type answerer = func(p0, p1, p2, p3, p4, p5, p6, p7, p8 unsafe.Pointer,
	raw *rawWords, context unsafe.Pointer) (
	q0, q1, q2, q3, q4, q5, q6, q7, q8, c unsafe.Pointer)

// answering makes one. The answer is Go code's, which r is handed to.
func answering(answer func(r *argumentWords) bool) answerer {
	return func(p0, p1, p2, p3, p4, p5, p6, p7, p8 unsafe.Pointer,
		raw *rawWords, context unsafe.Pointer) (
		q0, q1, q2, q3, q4, q5, q6, q7, q8, c unsafe.Pointer) {
		r := argumentWords{ints: raw.ints, floats: raw.floats,
			pointers: [integerRegisters]unsafe.Pointer{
				p0, p1, p2, p3, p4, p5, p6, p7, p8}}
		raw.answer = answer((*argumentWords)(noescape(unsafe.Pointer(&r))))
		return r.pointers[0], r.pointers[1], r.pointers[2], r.pointers[3],
			r.pointers[4], r.pointers[5], r.pointers[6], r.pointers[7],
			r.pointers[8], context
	}
}
