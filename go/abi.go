// SPDX-License-Identifier: MIT

package patas

import "reflect"

/*
Where Go puts arguments: cmd/compile/abi-internal.md. There are so many integer
and floating-point registers; what does not fit as a whole goes to the stack;
every argument in registers has a place in the caller's frame to be spilled to.
On 386 there are no registers, and all is on the stack.
*/

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
