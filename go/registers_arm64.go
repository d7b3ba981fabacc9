// SPDX-License-Identifier: MIT

package patas

import "unsafe"

const (
	integerRegisters = 16
	floatRegisters   = 16
	contextKey       = kindKeyHigh >> 8 // of a thunk: x26
	goroutineWords   = 48               // of runtime.g: it is larger in every release
)

// registers are the numbers of the integer registers, in the arguments' order.
var registers = [integerRegisters]int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12,
	13, 14, 15}

// answerer is what asks calls: pointers in registers, the rest by raw.
type answerer = func(p0, p1, p2, p3, p4, p5, p6, p7, p8, p9, p10, p11, p12, p13,
	p14, p15 unsafe.Pointer, raw *rawWords, context unsafe.Pointer) (
	q0, q1, q2, q3, q4, q5, q6, q7, q8, q9, q10, q11, q12, q13, q14, q15,
	c unsafe.Pointer)

// answering makes one. The answer is Go code's, which r is handed to.
func answering(answer func(r *argumentWords) bool) answerer {
	return func(p0, p1, p2, p3, p4, p5, p6, p7, p8, p9, p10, p11, p12, p13,
		p14, p15 unsafe.Pointer, raw *rawWords, context unsafe.Pointer) (
		q0, q1, q2, q3, q4, q5, q6, q7, q8, q9, q10, q11, q12, q13, q14, q15,
		c unsafe.Pointer) {
		r := argumentWords{ints: raw.ints, floats: raw.floats,
			pointers: [integerRegisters]unsafe.Pointer{
				p0, p1, p2, p3, p4, p5, p6, p7, p8, p9, p10, p11, p12, p13,
				p14, p15}}
		raw.answer = answer((*argumentWords)(noescape(unsafe.Pointer(&r))))
		return r.pointers[0], r.pointers[1], r.pointers[2], r.pointers[3],
			r.pointers[4], r.pointers[5], r.pointers[6], r.pointers[7],
			r.pointers[8], r.pointers[9], r.pointers[10], r.pointers[11],
			r.pointers[12], r.pointers[13], r.pointers[14], r.pointers[15],
			context
	}
}
