// SPDX-License-Identifier: MIT

package patas

import (
	"fmt"
	"math"
	"math/bits"
	"reflect"
	"sync"
	"unsafe"
)

/*
Which calls run the replacement. The thunk decides, in registers, before any of
the call's arguments is looked at. When and Record have Go code look at them:
ask.go tells how they outlive that.
*/

// Nth replaces the nth call only, counted from 1.
func Nth(n int) Option { return NthTo(n, n) }

// NthFrom replaces the nth call and all after it.
func NthFrom(n int) Option {
	return func(o *options) {
		NthTo(n, math.MaxInt)(o)
		o.values[fieldSpan] = math.MaxUint64 - o.values[fieldFirst]
	}
}

// NthTo replaces the calls from first to last.
func NthTo(first, last int) Option {
	return func(o *options) {
		o.check(first >= 1 && last >= first, "Nth counts from 1")
		o.kind |= kindRange
		o.values[fieldFirst] = uint64(first - 1)
		o.values[fieldSpan] = uint64(last - first)
	}
}

// Every replaces the call number first, and every step-th after it.
func Every(first, step int) Option {
	return func(o *options) {
		o.check(first >= 1 && step >= 1, "Every counts from 1, by steps of 1 "+
			"or more")
		if o.err != nil {
			return
		}
		NthFrom(first)(o)
		shift := uint64(bits.TrailingZeros64(uint64(step)))
		o.kind |= kindStep | shift<<20
		o.values[fieldInverse] = inverse(uint64(step) >> shift)
		o.values[fieldLimit] = math.MaxUint64 / uint64(step)
		if wordSize == 4 {
			o.values[fieldLimit] = uint64(step)
		}
	}
}

// inverse is that of an odd number, modulo 2^64, by Newton's method: each
// round doubles the bits that are right.
func inverse(odd uint64) uint64 {
	x := odd
	for i := 0; i < 6; i++ {
		x *= 2 - odd*x
	}
	return x
}

// Times replaces n calls at most.
func Times(n int) Option {
	return func(o *options) {
		o.check(n >= 0, "Times takes no negative number")
		o.kind |= kindTimes
		o.values[fieldTimes] = uint64(n)
	}
}

// Count counts the calls that run the replacement, for Patch.Count.
func Count() Option {
	return func(o *options) {
		Times(math.MaxInt)(o)
		o.values[fieldTimes] = math.MaxUint64
	}
}

// Probability replaces a call with that chance, 0 to 1. The same seed chooses
// the same ones of a sequence of calls.
func Probability(chance float64, seed int64) Option {
	return func(o *options) {
		o.check(chance >= 0 && chance <= 1, "a probability is from 0 to 1")
		if chance == 1 {
			return
		}
		o.kind |= kindChance
		o.values[fieldDraws] = uint64(seed) * 0xbf58476d1ce4e5b9
		o.values[fieldMix1] = 0x9e3779b97f4a7c15
		o.values[fieldMix2] = 0x94d049bb133111eb
		threshold := uint64(chance * (1 << 63) * 2)
		o.values[fieldThreshold] = threshold >> (64 - 8*wordSize)
	}
}

// When replaces the calls for whose arguments holds says so. It is a function
// of the target's own parameters, the receiver first, and gives a bool:
//
//	patas.During(t, os.ReadFile, fake, patas.When(func(name string) bool {
//		return strings.HasSuffix(name, ".conf")
//	}))
//
// Together with Nth, Every, Times and Probability, those count the calls for
// which it holds. It may call the target, which then asks it again.
func When(holds any) Option {
	return func(o *options) {
		o.check(o.when == nil, "only one When can be given; let it ask for both")
		o.check(reflect.ValueOf(holds).Kind() == reflect.Func &&
			!reflect.ValueOf(holds).IsNil(), "When takes a function")
		o.when = holds
	}
}

// Record keeps a copy of the arguments of every call that runs the replacement.
func Record(calls *Calls) Option {
	return func(o *options) {
		o.check(calls != nil, "Record takes the address of a Calls")
		o.calls = calls
	}
}

// OnlyThisClosure replaces the one closure that is given as the target, and
// not the others that the same function literal made.
func OnlyThisClosure() Option {
	return func(o *options) { o.onlyClosure = true }
}

// OnlyReceiver replaces a method for one receiver: the target's first argument
// has to be a pointer, and receiver the very one.
func OnlyReceiver(receiver any) Option {
	return func(o *options) {
		v := reflect.ValueOf(receiver)
		o.check(v.Kind() == reflect.Pointer, "OnlyReceiver takes a pointer")
		if o.err == nil {
			o.receiver, o.receiverType = v.UnsafePointer(), v.Type()
		}
	}
}

// InThisTest replaces for the goroutine that asks for it, and for those that
// it, and they, start from then on: so tests that run in parallel each have
// their own. It is a profiler label; pprof.Do inside of the test ends it for
// what runs there.
func InThisTest() Option { return func(o *options) { o.scoped = true } }

func (o *options) check(holds bool, text string) {
	if !holds && o.err == nil {
		o.err = fmt.Errorf("patas: %s", text)
	}
}

// choose puts what the options ask for into p's thunk.
func (p *patch) choose(o *options, kind reflect.Type) error {
	if o.err != nil {
		return refusal(p.name, "%v", o.err)
	}
	p.kind |= o.kind
	for i, v := range o.values {
		if v != 0 {
			p.values[i] = v
		}
	}
	if o.scoped {
		offset, label, err := scope(p.name)
		if err != nil {
			return err
		}
		p.kind |= kindGoroutine | uint64(offset)<<32
		p.values[fieldLabel] = uint64(label)
	}
	if err := p.ask(o, kind); err != nil {
		return err
	}
	if !o.onlyClosure && o.receiver == nil {
		return nil
	}
	if p.kind&kindKey != 0 || (o.onlyClosure && o.receiver != nil) {
		return refusal(p.name, "only one of a receiver, a closure and a "+
			"generic function's types can be chosen")
	}
	p.kind |= kindKey
	if o.onlyClosure {
		p.kind |= contextKey << 8
		p.values[fieldKey] = uint64(uintptr(p.target))
		return nil
	}
	if kind.NumIn() == 0 || kind.In(0) != o.receiverType {
		return refusal(p.name, "its first argument is no %v", o.receiverType)
	}
	p.held = o.receiver
	p.values[fieldKey] = uint64(uintptr(o.receiver))
	return nil
}

// Count says how many calls ran the replacement. The patch has to be one with
// Count or Times among its options; else it is 0.
func (p *Patch[F]) Count() int {
	book.mu.Lock()
	defer book.mu.Unlock()
	return p.p.count()
}

func (p *patch) count() int {
	if p.counter == 0 || p.restored {
		return p.counted
	}
	n := uint64(*(*uintptr)(*(*unsafe.Pointer)(unsafe.Pointer(&p.counter))))
	if n > p.values[fieldTimes] {
		n = p.values[fieldTimes]
	}
	if n > math.MaxInt {
		n = math.MaxInt
	}
	return int(n)
}

// ---- results ----------------------------------------------------------------

// Results are those of one call.
type Results []any

// Returns is a function that returns always the same. Results that are left
// out are zero. It panics where a result is of the wrong type.
func Returns[F any](results ...any) F {
	return Sequence[F](Results(results))
}

// Sequence is a function whose calls return one row after the other, and the
// last row from then on.
func Sequence[F any](rows ...Results) F {
	kind := reflect.TypeOf((*F)(nil)).Elem()
	if kind.Kind() != reflect.Func {
		panic(fmt.Sprintf("patas: %v is no function type", kind))
	}
	values := make([][]reflect.Value, len(rows))
	for i, row := range rows {
		values[i] = resultsOf(kind, row)
	}
	if len(values) == 0 {
		values = append(values, resultsOf(kind, nil))
	}
	var mu sync.Mutex
	next := 0
	f := reflect.MakeFunc(kind, func([]reflect.Value) []reflect.Value {
		mu.Lock()
		defer mu.Unlock()
		row := values[next]
		if next+1 < len(values) {
			next++
		}
		return row
	})
	return f.Interface().(F)
}

func resultsOf(kind reflect.Type, row Results) []reflect.Value {
	if len(row) > kind.NumOut() {
		panic(fmt.Sprintf("patas: %d results for a %v", len(row), kind))
	}
	values := make([]reflect.Value, kind.NumOut())
	for i := range values {
		out := kind.Out(i)
		values[i] = reflect.New(out).Elem()
		if i >= len(row) || row[i] == nil {
			continue
		}
		v := reflect.ValueOf(row[i])
		switch {
		case v.Type().AssignableTo(out):
			values[i].Set(v)
		case numeric(v.Kind()) && numeric(out.Kind()):
			values[i].Set(v.Convert(out))
		default:
			panic(fmt.Sprintf("patas: result %d is a %v, and should be a %v",
				i+1, v.Type(), out))
		}
	}
	return values
}

func numeric(kind reflect.Kind) bool {
	return kind >= reflect.Int && kind <= reflect.Float64 &&
		kind != reflect.Uintptr
}
