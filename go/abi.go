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

	argsOnStack bool // some argument is not
	width       int  // bytes of arguments, results and spill space
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

// list is where one list of values goes.
type list struct {
	ints, floats int // registers used
	stack, spill int // what the stack and the spill space have grown to
}

func assign(types []reflect.Type, stack int) *list {
	l := &list{stack: stack}
	for _, t := range types {
		n, f, ok := parts(t)
		end := &l.stack
		if ok && t.Size() > 0 && l.ints+n <= integerRegisters &&
			l.floats+f <= floatRegisters {
			l.ints, l.floats = l.ints+n, l.floats+f
			end = &l.spill
		}
		*end = align(*end, t.Align()) + int(t.Size())
	}
	return l
}

// assigned places a function's arguments and results. The spill space comes
// last; the results' part has none.
func assigned(kind reflect.Type) (args, results *list) {
	var in, out []reflect.Type
	for i := 0; i < kind.NumIn(); i++ {
		in = append(in, kind.In(i))
	}
	for i := 0; i < kind.NumOut(); i++ {
		out = append(out, kind.Out(i))
	}
	args = assign(in, 0)
	results = assign(out, align(args.stack, wordSize))
	results.stack = align(results.stack, wordSize)
	return args, results
}

func layoutOf(kind reflect.Type) layout {
	args, results := assigned(kind)
	return layout{args.ints, results.stack > 0, args.stack > 0,
		results.stack + align(args.spill, wordSize)}
}

// pointersOf is the bit set of the integer registers that hold pointers, of a
// function whose arguments are all in registers.
func pointersOf(kind reflect.Type) uint64 {
	var set uint64
	n := 0
	for i := 0; i < kind.NumIn(); i++ {
		set, n = addPointers(kind.In(i), set, n)
	}
	return set
}

func addPointers(t reflect.Type, set uint64, n int) (uint64, int) {
	switch t.Kind() {
	case reflect.Struct:
		for i := 0; i < t.NumField(); i++ {
			set, n = addPointers(t.Field(i).Type, set, n)
		}
		return set, n
	case reflect.Array:
		if t.Len() == 1 {
			set, n = addPointers(t.Elem(), set, n)
		}
		return set, n
	case reflect.Interface: // the first word is no pointer to the collector
		return set | 2<<n, n + 2
	case reflect.String, reflect.Slice, reflect.Pointer, reflect.Map,
		reflect.Chan, reflect.Func, reflect.UnsafePointer:
		set |= 1 << n
	}
	ints, _, _ := parts(t)
	return set, n + ints
}
