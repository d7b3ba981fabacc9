// SPDX-License-Identifier: MIT

package patas

import (
	"fmt"
	"reflect"
	"strings"
	"sync"
	"unsafe"
)

// TB is what patas asks of a test; *testing.T, *testing.B and *testing.F are
// such ones.
type TB interface {
	Helper()
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
	Cleanup(func())
	Name() string
}

// Patch is a live replacement of a function of type F.
type Patch[F any] struct {
	p *patch
}

// patch is the part of Patch that is of no type.
type patch struct {
	name        string
	entry       uintptr
	kind        uint64 // of the thunk
	values      *[fields]uint64
	held        unsafe.Pointer // the receiver that the thunk compares
	hidden      bool           // an argument that the type does not have
	asked       []*question    // that the thunk leads to
	counter     uintptr        // of the engine's memory
	counted     int
	handle      uint64
	thunk       uint64
	form        uint64
	restored    bool
	original    *originalValue
	target      unsafe.Pointer // func values; the machine code in front of a
	replacement unsafe.Pointer // replacement hides them from the collector
	test        string         // that made it, or ""
	where       string         // it was made: file and line
	age         uint64         // how many were made before
}

// spot is what is kept of a function that was patched once.
type spot struct {
	head   uint64              // of its relocated code; its growing block leads there
	live   int                 // patches
	thunks map[uint64][]uint64 // free ones, by kind
}

// book keeps every live patch and what it replaces with, for the collector.
var book = struct {
	mu    sync.Mutex
	live  map[uint64]*patch
	order []*patch
	made  uint64
	spots map[uintptr]*spot
}{live: map[uint64]*patch{}, spots: map[uintptr]*spot{}}

// word is the func value that f holds.
func word[F any](f *F) unsafe.Pointer {
	return *(*unsafe.Pointer)(unsafe.Pointer(f))
}

func codeOf(value unsafe.Pointer) uintptr { return *(*uintptr)(value) }

// Option changes how a function is replaced.
type Option func(*options)

type options struct {
	evenIfInlined bool
	onlyClosure   bool
	scoped        bool
	receiver      unsafe.Pointer
	receiverType  reflect.Type
	when          any
	calls         *Calls
	kind          uint64
	values        [fields]uint64
	err           error
}

// EvenIfInlined replaces a function although calls of it were inlined, or may
// have been: those go on as before.
func EvenIfInlined() Option {
	return func(o *options) { o.evenIfInlined = true }
}

// Replace makes every call of target run replacement instead, and panics with
// the reason where that can't be. Use During in tests.
func Replace[F any](target, replacement F, opts ...Option) *Patch[F] {
	p, err := TryReplace(target, replacement, opts...)
	if err != nil {
		panic(err)
	}
	return p
}

// TryReplace is Replace with an error, an *Error, instead of the panic.
func TryReplace[F any](target, replacement F, opts ...Option) (*Patch[F], error) {
	return install(target, func(F) F { return replacement }, "", opts)
}

// Wrap is Replace for a replacement that calls the original: around gets the
// original, and gives the replacement.
func Wrap[F any](target F, around func(original F) F, opts ...Option) *Patch[F] {
	p, err := TryWrap(target, around, opts...)
	if err != nil {
		panic(err)
	}
	return p
}

// TryWrap is Wrap with an error instead of the panic.
func TryWrap[F any](target F, around func(original F) F,
	opts ...Option) (*Patch[F], error) {
	return install(target, around, "", opts)
}

// During replaces target until the test ends. It fails the test at once, with
// the reason, where target can't be replaced.
func During[F any](t TB, target, replacement F, opts ...Option) *Patch[F] {
	t.Helper()
	return WrapDuring(t, target, func(F) F { return replacement }, opts...)
}

// WrapDuring is Wrap until the test ends.
func WrapDuring[F any](t TB, target F, around func(original F) F,
	opts ...Option) *Patch[F] {
	t.Helper()
	p, err := install(target, around, t.Name(), opts)
	if err != nil {
		t.Fatalf("%v", err)
		return nil
	}
	t.Cleanup(func() {
		t.Helper()
		if err := p.Restore(); err != nil && !p.gone() {
			t.Errorf("%v", err)
		}
	})
	return p
}

func install[F any](target F, around func(F) F, test string,
	opts []Option) (*Patch[F], error) {
	kind := reflect.TypeOf(target)
	if kind == nil || kind.Kind() != reflect.Func {
		return nil, refusal(fmt.Sprintf("a value of type %T", target),
			"only functions can be")
	}
	if word(&target) == nil {
		return nil, refusal("a nil function", "there is nothing to call")
	}
	var o options
	for _, opt := range opts {
		opt(&o)
	}
	p, err := resolve(word(&target), kind, &o)
	if err != nil {
		return nil, err
	}
	p.test, p.where = test, caller()
	original := *(*F)(unsafe.Pointer(&p.original))
	replacement := around(original)
	p.replacement = word(&replacement)
	if p.replacement == nil {
		return nil, refusal(p.name, "the replacement is a nil function")
	}
	if codeOf(p.replacement) == p.entry && p.kind == 0 {
		return nil, refusal(p.name, "the replacement is the function itself")
	}
	p.tellRaceDetector(kind)
	if err := p.install(); err != nil {
		return nil, err
	}
	return &Patch[F]{p}, nil
}

// resolve finds the function behind a func value, and says whether calls of
// it can be changed at all.
func resolve(target unsafe.Pointer, kind reflect.Type,
	o *options) (*patch, error) {
	if err := ready(); err != nil {
		return nil, err
	}
	f, ok := functionAt(codeOf(target))
	if !ok || f.entry != codeOf(target) {
		return nil, refusal(fmt.Sprintf("the function at %#x", codeOf(target)),
			"the program's function table does not know it")
	}
	p := &patch{name: f.name, target: target, values: new([fields]uint64),
		original: &originalValue{code: originalPC(), context: target}}
	err := checkName(f)
	switch {
	case err != nil:
	case strings.HasSuffix(f.name, "-fm"):
		f, err = p.bound(f, kind, target)
	case strings.Contains(f.name, "[") && !closureIn(f.name):
		f, err = p.generic(f, kind)
	case f.file == "<autogenerated>":
		err = checkWrapper(f, kind)
	case engine.layout < 120 && strings.Contains(f.name, ".func") &&
		ask(opGeneric, uint64(f.entry), 1).out[0] != 0:
		// There, a generic function as a value is a closure that calls it.
		_, err = p.generic(f, kind)
	}
	if err == nil {
		err = checkName(f)
	}
	if err == nil {
		err = p.choose(o, kind)
	}
	if err != nil {
		return nil, err
	}
	p.name, p.entry = f.name, f.entry
	if err := checkUntouched(f); err != nil {
		return nil, err
	}
	if !o.evenIfInlined {
		return p, checkedInlined(f)
	}
	return p, nil
}

func (p *patch) install() error {
	p.adapt()
	shapeAt(p.entry)
	c := &call{op: opReplace}
	c.in[0], c.in[3] = uint64(p.entry), p.kind
	c.point(1, 0, p.replacement)
	c.point(4, 1, unsafe.Pointer(p.values))
	c.point(6, 2, unsafe.Pointer(&p.original.address))
	book.mu.Lock()
	defer book.mu.Unlock()
	at := book.spots[p.entry]
	if at == nil {
		at = &spot{thunks: map[uint64][]uint64{}}
		book.spots[p.entry] = at
	}
	if free := at.thunks[p.kind]; len(free) > 0 {
		c.in[2] = free[len(free)-1]
		at.thunks[p.kind] = free[:len(free)-1]
	}
	c.in[5] = at.head
	book.made++
	p.age = book.made
	book.order = append(book.order, p) // before the first call can reach it
	engine.mu.Lock()
	c.run()
	engine.mu.Unlock()
	if c.status != 0 {
		book.order = book.order[:len(book.order)-1]
		if c.out[1] != 0 {
			at.thunks[p.kind] = append(at.thunks[p.kind], c.out[1])
		}
		return engineRefusal(p.name, c)
	}
	at.head = c.out[5]
	at.live++
	p.handle, p.thunk, p.form = c.out[0], c.out[1], c.out[3]
	p.counter = uintptr(c.out[4])
	book.live[p.handle] = p
	return nil
}

// Original is a function that does what target did before this patch: target
// itself, or the patch below. It may be called from anywhere, in `go` and
// `defer` statements too, and stays callable after a restore.
func (p *Patch[F]) Original() F {
	return *(*F)(unsafe.Pointer(&p.p.original))
}

// Name is the replaced function's, as the runtime prints it.
func (p *Patch[F]) Name() string { return p.p.name }

// Suspend lets calls reach the original again, until Resume. It is one store
// of a pointer.
func (p *Patch[F]) Suspend() error { return p.p.change(opSuspend) }

// Resume undoes Suspend.
func (p *Patch[F]) Resume() error { return p.p.change(opResume) }

// Restore ends the patch. Patches of one function may be restored in any
// order. A second Restore is an error and changes nothing.
func (p *Patch[F]) Restore() error { return p.p.restore() }

func (p *Patch[F]) gone() bool {
	book.mu.Lock()
	defer book.mu.Unlock()
	return p.p.restored
}

func (p *patch) change(op uint64) error {
	book.mu.Lock()
	defer book.mu.Unlock()
	if p.restored {
		return refusal(p.name, "this patch is restored already")
	}
	engine.mu.Lock()
	c := &call{op: op}
	c.in[0] = p.handle
	c.run()
	engine.mu.Unlock()
	if c.status != 0 {
		return engineRefusal(p.name, c)
	}
	return nil
}

func (p *patch) restore() error {
	if err := p.change(opRestore); err != nil {
		return err
	}
	book.mu.Lock()
	defer book.mu.Unlock()
	p.counted = p.count()
	p.restored = true
	at := book.spots[p.entry]
	at.live--
	at.thunks[p.kind] = append(at.thunks[p.kind], p.thunk)
	delete(book.live, p.handle)
	for i, other := range book.order {
		if other == p {
			book.order = append(book.order[:i], book.order[i+1:]...)
			break
		}
	}
	return nil
}

// RestoreAll ends every patch, newest first, and returns the first failure.
func RestoreAll() error {
	book.mu.Lock()
	all := append([]*patch(nil), book.order...)
	book.mu.Unlock()
	var first error
	for i := len(all) - 1; i >= 0; i-- {
		if err := all[i].restore(); err != nil && first == nil {
			first = err
		}
	}
	return first
}
