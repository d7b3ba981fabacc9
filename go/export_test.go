// SPDX-License-Identifier: MIT

package patas

import (
	"reflect"
	"sort"
	"strings"
	"unsafe"
)

// LayoutWidth is what ByName checks, for the test that compares it with what
// the compiler recorded.
func LayoutWidth(f any) (computed, recorded int) {
	if err := ready(); err != nil {
		panic(err)
	}
	code := *(*unsafe.Pointer)((*[2]unsafe.Pointer)(unsafe.Pointer(&f))[1])
	known, _ := functionAt(uintptr(code))
	return layoutOf(reflect.TypeOf(f)).width, int(known.args)
}

// PassThroughAll patches every function of this program, or one of each `part`,
// by a thunk that goes straight on to the original. It returns how many, and
// what was refused why.
func PassThroughAll(part int) (count int, refused map[string]int, err error) {
	if err := ready(); err != nil {
		return 0, nil, err
	}
	refused = map[string]int{}
	pc := uintptr(ask(opStart).out[2])
	for i := 0; ; i++ {
		f, ok := functionAt(pc)
		if !ok {
			break
		}
		pc = f.end
		if i%part != 0 || isUntouchable(f.name) || f.flag&flagAssembly != 0 ||
			strings.HasSuffix(f.name, ".strange") { // a test wants it as it is
			continue
		}
		p := &patch{name: f.name, entry: f.entry, kind: kindPass,
			values: new([fields]uint64), original: &originalValue{}}
		p.replacement = unsafe.Pointer(p.values)
		if err := p.install(); err != nil {
			refused[err.(*Error).Reason]++
			continue
		}
		count++
	}
	return count, refused, nil
}

// Reasons are the refusals of PassThroughAll, most frequent first.
func Reasons(refused map[string]int) []string {
	var all []string
	for reason := range refused {
		all = append(all, reason)
	}
	sort.Slice(all, func(i, j int) bool {
		return refused[all[i]] > refused[all[j]]
	})
	return all
}

// Carried is how many arrivals the trap handler carried on.
func Carried() uint64 { return ask(opStats).out[1] }

// Changed names the functions whose first bytes are not those of the file, and
// says how many patches the engine knows.
func Changed() (names []string, patches uint64) {
	pc := uintptr(ask(opStart).out[2])
	for {
		f, ok := functionAt(pc)
		if !ok {
			break
		}
		pc = f.end
		if checkForeign(f) != nil {
			names = append(names, f.name)
		}
	}
	return names, ask(opStats).out[0]
}

// WayBack is the address of the jump that follows a grown stack.
func WayBack(entry uintptr) uintptr {
	return uintptr(ask(opShape, uint64(entry)).out[4])
}

// SentenceOfNoPatch is what the engine says of a patch that there is not.
func SentenceOfNoPatch() string { return ask(opRestore, 12345).sentence() }

// RoomInEngine is how much of the stack is left to code, which is C's, stores
// its stack pointer where its argument points, and returns.
func RoomInEngine(code *byte) uintptr {
	sp := new(uintptr)
	enter(uintptr(unsafe.Pointer(code)), unsafe.Pointer(sp))
	return *sp - load(goroutine()) // the stack may have moved before
}
