// SPDX-License-Identifier: MIT

//go:build !386

package patas

import (
	"reflect"
	"unsafe"
)

/*
What is in registers: arguments on amd64 and arm64. registers_9.go and
registers_arm64.go say in how many.
*/

const wordSize = 8

// outOfReach says why the arguments can't be looked at.
func outOfReach(kind reflect.Type) string {
	if layoutOf(kind).argsOnStack {
		return "it has more arguments than go into registers"
	}
	return ""
}

// places is the bit set of the integer registers that hold pointers.
type places uint64

// placesOf is that of a function whose arguments are all in registers.
func placesOf(kind reflect.Type) places {
	var set places
	n := 0
	for i := 0; i < kind.NumIn(); i++ {
		set, n = addPointers(kind.In(i), set, n)
	}
	return set
}

func addPointers(t reflect.Type, set places, n int) (places, int) {
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

// question is what a thunk leads to: like a func value, in assembly.
type question struct {
	code     uintptr // asks
	answerer unsafe.Pointer
	places   places
	made     uint32 // 1, for the race detector: all that it leads to is older
}

// rawWords are in assembly's frame: what is in registers and is no pointer.
type rawWords struct {
	ints   [integerRegisters]uintptr
	floats [floatRegisters]uint64
	answer bool
}

// argumentWords are a call's arguments. It must stay on the stack.
type argumentWords struct {
	pointers [integerRegisters]unsafe.Pointer
	ints     [integerRegisters]uintptr
	floats   [floatRegisters]uint64
}

// cursor is how many registers have been read.
type cursor struct{ ints, floats int }

// copyArg copies a t from registers to dst.
func (r *argumentWords) copyArg(t reflect.Type, dst unsafe.Pointer,
	at cursor) cursor {
	switch t.Kind() {
	case reflect.Struct:
		for i := 0; i < t.NumField(); i++ {
			f := t.Field(i)
			at = r.copyArg(f.Type, unsafe.Add(dst, f.Offset), at)
		}
		return at
	case reflect.Array: // of one element, or none
		if t.Len() == 1 {
			at = r.copyArg(t.Elem(), dst, at)
		}
		return at
	case reflect.Float32:
		*(*uint32)(dst) = uint32(r.floats[at.floats])
		return cursor{at.ints, at.floats + 1}
	case reflect.Float64:
		*(*uint64)(dst) = r.floats[at.floats]
		return cursor{at.ints, at.floats + 1}
	case reflect.Complex64:
		*(*[2]uint32)(dst) = [2]uint32{uint32(r.floats[at.floats]),
			uint32(r.floats[at.floats+1])}
		return cursor{at.ints, at.floats + 2}
	case reflect.Complex128:
		*(*[2]uint64)(dst) = [2]uint64{r.floats[at.floats],
			r.floats[at.floats+1]}
		return cursor{at.ints, at.floats + 2}
	}
	at.ints += r.copyWords(t, dst, at.ints)
	return at
}

// copyWords copies what takes integer registers from number at on, and says
// how many.
func (r *argumentWords) copyWords(t reflect.Type, dst unsafe.Pointer,
	at int) int {
	switch t.Kind() {
	case reflect.String:
		words := struct {
			data unsafe.Pointer
			len  uintptr
		}{r.pointers[at], r.ints[at+1]}
		copyOut(t, dst, noescape(unsafe.Pointer(&words)), 0)
		return 2
	case reflect.Slice:
		words := struct {
			data     unsafe.Pointer
			len, cap uintptr
		}{r.pointers[at], r.ints[at+1], r.ints[at+2]}
		copyOut(t, dst, noescape(unsafe.Pointer(&words)), 0)
		return 3
	case reflect.Interface:
		words := struct {
			of   uintptr // never on the heap (cmd/compile/internal/types)
			data unsafe.Pointer
		}{r.ints[at], r.pointers[at+1]}
		copyOut(t, dst, noescape(unsafe.Pointer(&words)), 0)
		return 2
	case reflect.Pointer, reflect.Map, reflect.Func, reflect.Chan,
		reflect.UnsafePointer:
		pointer := r.pointers[at]
		copyOut(t, dst, noescape(unsafe.Pointer(&pointer)), 0)
		return 1
	}
	number := r.ints[at]
	copyOut(t, dst, noescape(unsafe.Pointer(&number)), 0)
	return 1
}

// originalValue is what a func value of an original points to.
type originalValue struct {
	code    uintptr // a function that the runtime knows: engine_*.s
	address uintptr // where it jumps; the engine writes it
	context unsafe.Pointer
}

// outOfShift says why an argument can't be put in or left out.
func outOfShift(kind reflect.Type) string {
	if layoutOf(kind).onStack {
		return "not all of its arguments and results are in registers"
	}
	return ""
}

// extra makes p's code one that takes the integer argument number at more.
func (p *patch) extra(kind reflect.Type, at int, value uintptr) error {
	l := layoutOf(kind)
	if reason := outOfShift(kind); reason != "" ||
		l.ints+1 > integerRegisters {
		return refusal(p.name, "it has more arguments or results than go into "+
			"registers, and one more is hidden")
	}
	p.hidden = true
	p.kind |= kindKey | kindDrop | uint64(registers[at])<<8 |
		uint64(at)<<12 | uint64(l.ints)<<16
	p.values[fieldKey] = uint64(value)
	p.original.code = insertPC(at)
	p.original.context = *(*unsafe.Pointer)(unsafe.Pointer(&value))
	return nil
}

func argumentIndex(number uint64) int {
	for i, r := range registers {
		if r == int(number) {
			return i
		}
	}
	return -1
}

// adapt is for architectures that drop an argument elsewhere than in the thunk.
func (p *patch) adapt() {}

// typed is a method's replacement, of which one that takes an interface is made
// by its other word.
func typed(_ reflect.Type, replacement, other unsafe.Pointer) unsafe.Pointer {
	return unsafe.Pointer(&struct {
		code  uintptr
		value unsafe.Pointer
		other unsafe.Pointer
	}{withTypePC(), replacement, other})
}
