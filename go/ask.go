// SPDX-License-Identifier: MIT

package patas

import (
	"fmt"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"unsafe"
)

/*
Go code that looks at the arguments of a call, before anybody else does.

An argument may point to the caller's stack, since the compiler saw that the
target keeps no pointer to it; so it must never be on the heap, where the
runtime doesn't follow it when the stack moves. reflect.MakeFunc and all that is
built on it puts it there. Here pointers go from their registers to variables
of a Go function, and back (engine_*.s, asks): the compiler tells the runtime
of those, whatever function it is that they are arguments of. On 386 they come
from the stack's words and go back there.
*/

// noescape hides from the compiler that p goes where it can't look, so that
// what p points to stays on the stack. No stack moves where nothing is called.
//
//go:nosplit
func noescape(p unsafe.Pointer) unsafe.Pointer {
	x := uintptr(p)
	return *(*unsafe.Pointer)(unsafe.Pointer(&x))
}

func (p *patch) put(field int, kind uint64, at places,
	answer func(r *argumentWords) bool) {
	q := &question{code: asksPC(), places: at}
	by := answering(func(r *argumentWords) bool {
		atomic.LoadUint32(&q.made)
		return answer(r)
	})
	q.answerer = word(&by)
	atomic.StoreUint32(&q.made, 1)
	p.asked = append(p.asked, q)
	p.kind |= kind
	p.values[field] = uint64(uintptr(unsafe.Pointer(q)))
}

// tellRaceDetector lets it know that what the replacement closes over was
// written before it is called: it has no other way to see that.
func (p *patch) tellRaceDetector(kind reflect.Type) {
	if raceDetector && !p.hidden && p.kind&(kindWhen|kindRecord) == 0 &&
		outOfReach(kind) == "" {
		p.put(fieldWhen, kindWhen, placesOf(kind),
			func(*argumentWords) bool { return true })
	}
}

func (p *patch) ask(o *options, kind reflect.Type) error {
	if o.when == nil && o.calls == nil {
		return nil
	}
	if p.hidden {
		return refusal(p.name, "When and Record can't be had for a bound method "+
			"or a generic function; look at the arguments in the replacement, "+
			"which Wrap gives the original")
	}
	if reason := outOfReach(kind); reason != "" {
		return refusal(p.name, "%s, so neither When nor Record can look at "+
			"them; do that in the replacement, which Wrap gives the original",
			reason)
	}
	at := placesOf(kind)
	if o.when != nil {
		if err := p.checkWhen(reflect.TypeOf(o.when), kind); err != nil {
			return err
		}
		holds := (*[2]unsafe.Pointer)(unsafe.Pointer(&o.when))[1]
		p.put(fieldWhen, kindWhen, at, func(r *argumentWords) bool {
			return callAsked(holds, r, at)
		})
	}
	if o.calls != nil {
		p.put(fieldRecord, kindRecord, at, o.calls.recorder(kind))
	}
	return nil
}

func (p *patch) checkWhen(holds, kind reflect.Type) error {
	same := holds.NumIn() == kind.NumIn() && holds.NumOut() == 1 &&
		holds.Out(0).Kind() == reflect.Bool &&
		holds.IsVariadic() == kind.IsVariadic()
	for i := 0; same && i < kind.NumIn(); i++ {
		same = holds.In(i) == kind.In(i)
	}
	if !same {
		return refusal(p.name, "When was given a %v; it takes the parameters of "+
			"%v, and gives a bool", holds, kind)
	}
	return nil
}

// Calls are the recorded arguments of calls, for Record. The zero value has
// none. They are copies, made when the call came:
//
//   - strings, slices, arrays, structs, maps, and what interfaces hold are
//     copied, and so on within them, exported or not;
//   - a pointer is the caller's own, so it can be compared, and what it points
//     to may change later. But where it points to the caller's stack, to what
//     only lives for that call, what it points to is copied;
//   - of functions, those whose closure is on the caller's stack are nil.
type Calls struct {
	mu   sync.Mutex
	list [][]any
}

// Len is the number of calls.
func (c *Calls) Len() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.list)
}

// Args are the arguments of call n, counted from 0, a method's receiver first
// and variadic ones as a slice. It panics if there was no such call.
func (c *Calls) Args(n int) []any {
	c.mu.Lock()
	defer c.mu.Unlock()
	if n < 0 || n >= len(c.list) {
		panic(fmt.Sprintf("patas: call %d of %d that were recorded", n,
			len(c.list)))
	}
	return c.list[n]
}

// Reset forgets the calls so far.
func (c *Calls) Reset() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.list = nil
}

// recorder copies a call's arguments, out of its registers.
func (c *Calls) recorder(kind reflect.Type) func(*argumentWords) bool {
	types := make([]reflect.Type, kind.NumIn())
	for i := range types {
		types[i] = kind.In(i)
	}
	return func(r *argumentWords) bool {
		args := make([]any, len(types))
		var at cursor
		for i, t := range types {
			made := reflect.New(t)
			at = r.copyArg(t, made.UnsafePointer(), at)
			args[i] = made.Elem().Interface()
		}
		c.mu.Lock()
		c.list = append(c.list, args)
		c.mu.Unlock()
		return true
	}
}

// copyDepth ends what leads back to itself.
const copyDepth = 100

// copyOut copies a t from src, which may be on the stack and point to it, to
// dst, which is on the heap. No pointer to the stack is ever stored at dst.
func copyOut(t reflect.Type, dst, src unsafe.Pointer, depth int) {
	if depth > copyDepth {
		return
	}
	switch t.Kind() {
	case reflect.String:
		*(*string)(dst) = strings.Clone(*(*string)(src))
	case reflect.Slice:
		copySlice(t, dst, src, depth)
	case reflect.Array:
		size := t.Elem().Size()
		for i := 0; i < t.Len(); i++ {
			at := uintptr(i) * size
			copyOut(t.Elem(), unsafe.Add(dst, at), unsafe.Add(src, at), depth+1)
		}
	case reflect.Struct:
		for i := 0; i < t.NumField(); i++ {
			f := t.Field(i)
			copyOut(f.Type, unsafe.Add(dst, f.Offset),
				unsafe.Add(src, f.Offset), depth+1)
		}
	case reflect.Interface:
		copyInterface(t, dst, src, depth)
	case reflect.Map:
		copyMap(t, dst, src)
	case reflect.Pointer:
		copyPointer(t, dst, src, depth)
	case reflect.Func, reflect.Chan, reflect.UnsafePointer:
		if !onStack(*(*unsafe.Pointer)(src)) {
			*(*unsafe.Pointer)(dst) = *(*unsafe.Pointer)(src)
		}
	default: // no pointers
		copy(unsafe.Slice((*byte)(dst), t.Size()),
			unsafe.Slice((*byte)(src), t.Size()))
	}
}

func copySlice(t reflect.Type, dst, src unsafe.Pointer, depth int) {
	type header struct {
		data     unsafe.Pointer
		len, cap int
	}
	from := (*header)(src)
	if from.data == nil {
		return
	}
	made := reflect.MakeSlice(t, from.len, from.len)
	to := &header{made.UnsafePointer(), from.len, from.len}
	elem := t.Elem()
	for i := 0; i < to.len; i++ {
		at := uintptr(i) * elem.Size()
		copyOut(elem, unsafe.Add(to.data, at), unsafe.Add(from.data, at),
			depth+1)
	}
	*(*header)(dst) = *to
}

func copyInterface(t reflect.Type, dst, src unsafe.Pointer, depth int) {
	held := reflect.NewAt(t, src).Elem().Elem()
	if !held.IsValid() {
		return
	}
	words := (*[2]unsafe.Pointer)(src)
	from := words[1]
	if isPointer(held.Type()) { // the word is the value
		from = unsafe.Pointer(&words[1])
	}
	made := reflect.New(held.Type())
	copyOut(held.Type(), made.UnsafePointer(), from, depth+1)
	reflect.NewAt(t, dst).Elem().Set(made.Elem())
}

// isPointer tells the types that an interface holds in its word.
func isPointer(t reflect.Type) bool {
	switch t.Kind() {
	case reflect.Pointer, reflect.Map, reflect.Chan, reflect.Func,
		reflect.UnsafePointer:
		return true
	case reflect.Struct:
		return t.NumField() == 1 && isPointer(t.Field(0).Type)
	case reflect.Array:
		return t.Len() == 1 && isPointer(t.Elem())
	}
	return false
}

// copyMap needs no more than the map: what is put in one is on the heap.
func copyMap(t reflect.Type, dst, src unsafe.Pointer) {
	from := reflect.NewAt(t, src).Elem()
	if from.IsNil() {
		return
	}
	made := reflect.MakeMap(t)
	for _, key := range from.MapKeys() {
		made.SetMapIndex(key, from.MapIndex(key))
	}
	reflect.NewAt(t, dst).Elem().Set(made)
}

func copyPointer(t reflect.Type, dst, src unsafe.Pointer, depth int) {
	from := (*unsafe.Pointer)(src)
	if !onStack(*from) {
		*(*unsafe.Pointer)(dst) = *from
		return
	}
	made := reflect.New(t.Elem())
	copyOut(t.Elem(), made.UnsafePointer(), *from, depth+1)
	*(*unsafe.Pointer)(dst) = made.UnsafePointer()
}
