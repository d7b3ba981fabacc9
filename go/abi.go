// SPDX-License-Identifier: MIT

package patas

import "reflect"

/*
Where Go puts arguments on amd64: cmd/compile/abi-internal.md. Nine integer and
fifteen floating-point registers; what does not fit as a whole goes to the
stack; every argument in registers has a place in the caller's frame to be
spilled to.
*/

const (
	integerRegisters = 9
	floatRegisters   = 15
	wordSize         = 8
)

// layout says where the arguments of a function are.
type layout struct {
	ints    int  // integer registers that arguments take
	onStack bool // some argument or result is not in registers
	width   int  // bytes of arguments, results and spill space
}

// parts counts the registers that a value of type t takes; false if it goes to
// the stack by its type alone.
func parts(t reflect.Type) (ints, floats int, ok bool) {
	switch t.Kind() {
	case reflect.Float32, reflect.Float64:
		return 0, 1, true
	case reflect.Complex64, reflect.Complex128:
		return 0, 2, true
	case reflect.String, reflect.Interface:
		return 2, 0, true
	case reflect.Slice:
		return 3, 0, true
	case reflect.Array:
		switch t.Len() {
		case 0:
			return 0, 0, true
		case 1:
			return parts(t.Elem())
		}
		return 0, 0, false
	case reflect.Struct:
		for i := 0; i < t.NumField(); i++ {
			n, f, fits := parts(t.Field(i).Type)
			if !fits {
				return 0, 0, false
			}
			ints, floats = ints+n, floats+f
		}
		return ints, floats, true
	}
	return 1, 0, true
}

func align(n, to int) int { return (n + to - 1) / to * to }

// assign places one list of values; it returns the registers used, and what
// the stack and the spill space have grown to.
func assign(types []reflect.Type, stack int) (ints, floats, end, spill int) {
	for _, t := range types {
		n, f, ok := parts(t)
		if ok && t.Size() > 0 && ints+n <= integerRegisters &&
			floats+f <= floatRegisters {
			ints, floats = ints+n, floats+f
			spill = align(spill, t.Align()) + int(t.Size())
			continue
		}
		stack = align(stack, t.Align()) + int(t.Size())
	}
	return ints, floats, stack, spill
}

func layoutOf(kind reflect.Type) layout {
	in := make([]reflect.Type, kind.NumIn())
	for i := range in {
		in[i] = kind.In(i)
	}
	out := make([]reflect.Type, kind.NumOut())
	for i := range out {
		out[i] = kind.Out(i)
	}
	ints, _, stack, spill := assign(in, 0)
	stack = align(stack, wordSize)
	_, _, stack, _ = assign(out, stack)
	stack = align(stack, wordSize)
	return layout{ints, stack > 0, stack + align(spill, wordSize)}
}
