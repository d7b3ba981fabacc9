// SPDX-License-Identifier: MIT

//go:build 386

package patas

import (
	"fmt"
	"reflect"
	"unsafe"
)

/*
What is on the stack: arguments on 386, and behind them the results, as if both
were the fields of one struct.
*/

const (
	integerRegisters = 0
	floatRegisters   = 0
	wordSize         = 4
	contextKey       = 15 // of a thunk: edx
	goroutineWords   = 56 // of runtime.g: it is larger in every release

	argumentRoom = 24 // words that When and Record can look at: engine_386.s
	shiftRoom    = 50 // words of arguments and results that it can copy
)

// wordsOf counts a function's arguments and results in words.
func wordsOf(kind reflect.Type) (args, results int) {
	in, out := assigned(kind)
	args = align(in.stack, wordSize) / wordSize
	return args, out.stack/wordSize - args
}

// outOfReach says why the arguments can't be looked at.
func outOfReach(kind reflect.Type) string {
	if args, _ := wordsOf(kind); args > argumentRoom {
		return fmt.Sprintf("its arguments take more than %d bytes",
			argumentRoom*wordSize)
	}
	return ""
}

// places says where a call has its arguments: in so many words of the stack,
// and those of the bit set hold pointers.
type places struct{ pointers, words uint32 }

func placesOf(kind reflect.Type) places {
	args, _ := wordsOf(kind)
	p := places{words: uint32(args)}
	at := uintptr(0)
	for i := 0; i < kind.NumIn(); i++ {
		t := kind.In(i)
		at = aligned(at, t)
		p.add(t, at)
		at += t.Size()
	}
	return p
}

func aligned(at uintptr, t reflect.Type) uintptr {
	return uintptr(align(int(at), t.Align()))
}

// add notes the pointers of a t that is `at` bytes behind the first argument.
func (p *places) add(t reflect.Type, at uintptr) {
	switch t.Kind() {
	case reflect.Struct:
		for i := 0; i < t.NumField(); i++ {
			p.add(t.Field(i).Type, at+t.Field(i).Offset)
		}
	case reflect.Array:
		for i := 0; i < t.Len(); i++ {
			p.add(t.Elem(), at+uintptr(i)*t.Elem().Size())
		}
	case reflect.Interface: // the first word is no pointer to the collector
		p.pointers |= 2 << (at / wordSize)
	case reflect.String, reflect.Slice, reflect.Pointer, reflect.Map,
		reflect.Chan, reflect.Func, reflect.UnsafePointer:
		p.pointers |= 1 << (at / wordSize)
	}
}

// question is what a thunk leads to: like a func value, in assembly.
type question struct {
	code     uintptr // asks
	answerer unsafe.Pointer
	places   places
	made     uint32
}

// rawWords are in assembly's frame: the arguments' words, and the answer.
type rawWords struct {
	ints   [argumentRoom]uintptr
	answer bool
}

// argumentWords are a call's arguments. It must stay on the stack.
type argumentWords struct {
	pointers [argumentRoom]unsafe.Pointer
	ints     [argumentRoom]uintptr
}

// answerer is what asks calls: the words that are pointers, and all by raw.
type answerer = func(p [argumentRoom]unsafe.Pointer, raw *rawWords,
	context unsafe.Pointer) (q [argumentRoom]unsafe.Pointer, c unsafe.Pointer)

// answering makes one. The answer is Go code's, which r is handed to.
func answering(answer func(r *argumentWords) bool) answerer {
	return func(p [argumentRoom]unsafe.Pointer, raw *rawWords,
		context unsafe.Pointer) (q [argumentRoom]unsafe.Pointer,
		c unsafe.Pointer) {
		r := argumentWords{pointers: p, ints: raw.ints}
		raw.answer = answer((*argumentWords)(noescape(unsafe.Pointer(&r))))
		return r.pointers, context
	}
}

// cursor is how many bytes of the arguments have been read.
type cursor uintptr

// copyArg copies the next argument, a t, to dst.
func (r *argumentWords) copyArg(t reflect.Type, dst unsafe.Pointer,
	at cursor) cursor {
	from := aligned(uintptr(at), t)
	r.copyFrom(t, dst, from)
	return cursor(from + t.Size())
}

// copyFrom copies the t that is `at` bytes behind the first argument.
func (r *argumentWords) copyFrom(t reflect.Type, dst unsafe.Pointer,
	at uintptr) {
	word := at / wordSize
	switch t.Kind() {
	case reflect.Struct:
		for i := 0; i < t.NumField(); i++ {
			f := t.Field(i)
			r.copyFrom(f.Type, unsafe.Add(dst, f.Offset), at+f.Offset)
		}
	case reflect.Array:
		size := t.Elem().Size()
		for i := uintptr(0); i < uintptr(t.Len()); i++ {
			r.copyFrom(t.Elem(), unsafe.Add(dst, i*size), at+i*size)
		}
	case reflect.String:
		words := struct {
			data unsafe.Pointer
			len  uintptr
		}{r.pointers[word], r.ints[word+1]}
		copyOut(t, dst, noescape(unsafe.Pointer(&words)), 0)
	case reflect.Slice:
		words := struct {
			data     unsafe.Pointer
			len, cap uintptr
		}{r.pointers[word], r.ints[word+1], r.ints[word+2]}
		copyOut(t, dst, noescape(unsafe.Pointer(&words)), 0)
	case reflect.Interface:
		words := struct {
			of   uintptr // never on the heap (cmd/compile/internal/types)
			data unsafe.Pointer
		}{r.ints[word], r.pointers[word+1]}
		copyOut(t, dst, noescape(unsafe.Pointer(&words)), 0)
	case reflect.Pointer, reflect.Map, reflect.Func, reflect.Chan,
		reflect.UnsafePointer:
		pointer := r.pointers[word]
		copyOut(t, dst, noescape(unsafe.Pointer(&pointer)), 0)
	default: // no pointers
		words := noescape(unsafe.Pointer(&r.ints))
		copyOut(t, dst, unsafe.Add(words, at), 0)
	}
}

// originalValue is what a func value of an original points to.
type originalValue struct {
	code    uintptr // a function that the runtime knows: engine_386.s
	address uintptr // where it jumps; the engine writes it
	context unsafe.Pointer
	shifted
}

// shifted says which words inserts and drops copy: those in front of number
// `at` to their place, those from there on to one word further or less far.
type shifted struct{ at, args, results uintptr }

// dropping is what drops has as its func value.
type dropping struct {
	code        uintptr
	replacement unsafe.Pointer
	shifted
}

// outOfShift says why an argument can't be put in or left out.
func outOfShift(kind reflect.Type) string {
	if args, results := wordsOf(kind); args+1+results > shiftRoom {
		return fmt.Sprintf("its arguments and results take more than %d bytes",
			(shiftRoom-1)*wordSize)
	}
	return ""
}

// extra makes p's code one that takes a word more, as argument word number at.
func (p *patch) extra(kind reflect.Type, at int, value uintptr) error {
	reason := outOfShift(kind)
	if reason == "" && at >= contextKey {
		reason = "its receiver is too large"
	}
	if reason != "" {
		return refusal(p.name, "%s, and one more is hidden", reason)
	}
	args, results := wordsOf(kind)
	p.hidden = true
	p.kind |= kindKey | uint64(at)<<8
	p.values[fieldKey] = uint64(value)
	p.original.code = insertsPC()
	p.original.context = *(*unsafe.Pointer)(unsafe.Pointer(&value))
	p.original.shifted = shifted{uintptr(at), uintptr(args), uintptr(results)}
	return nil
}

func argumentIndex(word uint64) int { return int(word) }

// adapt puts drops in front of the replacement.
func (p *patch) adapt() {
	if p.hidden {
		s := p.original.shifted
		s.args++
		p.replacement = unsafe.Pointer(&dropping{dropsPC(), p.replacement, s})
	}
}

// typed is a method's replacement, of which one that takes an interface is made
// by its other word.
func typed(kind reflect.Type, replacement, other unsafe.Pointer) unsafe.Pointer {
	args, results := wordsOf(kind)
	return unsafe.Pointer(&struct {
		code          uintptr
		value         unsafe.Pointer
		other         unsafe.Pointer
		args, results uintptr
	}{withTypePC(), replacement, other, uintptr(args - 1), uintptr(results)})
}
