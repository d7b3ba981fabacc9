// SPDX-License-Identifier: MIT

package patas_test

import (
	"fmt"
	"io"
	"os"
	"reflect"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/patas-dev/patas/go"
)

// ---- generic functions, closures, bound methods -----------------------------

//go:noinline
func describe[T any](x T, n int) string { return fmt.Sprint(x, "/", n) }

type box[T any] struct{ v T }

//go:noinline
func (b *box[T]) get(n int) string { return fmt.Sprint(b.v, "/", n) }

//go:noinline
func (b box[T]) text(n int, s string) string { return fmt.Sprint(b.v, n, s) }

func needsGenerics(t *testing.T, err error) {
	t.Helper()
	if err != nil && strings.Contains(err.Error(), "need Go 1.20") {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestGenericFunctionOfOneTypeOnly(t *testing.T) {
	p, err := patas.TryWrap(describe[int],
		func(original func(int, int) string) func(int, int) string {
			return func(x, n int) string { return "<" + original(x+1, n+1) + ">" }
		})
	needsGenerics(t, err)
	defer p.Restore()
	// string(rune) has another shape; myInt shares int's, and has its own
	// dictionary.
	if got := describe(1, 2); got != "<2/3>" {
		t.Errorf("of int: %q", got)
	}
	if got := describe("a", 2); got != "a/2" {
		t.Errorf("of string: %q", got)
	}
	type myInt int
	if got := describe(myInt(1), 2); got != "1/2" {
		t.Errorf("of myInt: %q", got)
	}
	if err := p.Restore(); err != nil {
		t.Fatal(err)
	}
	if got := describe(1, 2) + p.Original()(1, 2); got != "1/21/2" {
		t.Errorf("restored: %q", got)
	}
}

func TestGenericMethods(t *testing.T) {
	p, err := patas.TryWrap((*box[int]).get,
		func(original func(*box[int], int) string) func(*box[int], int) string {
			return func(b *box[int], n int) string {
				return "<" + original(b, n) + ">"
			}
		})
	needsGenerics(t, err)
	defer p.Restore()
	b, c := &box[int]{1}, &box[string]{"s"}
	if got := b.get(2) + c.get(2); got != "<1/2>s/2" {
		t.Errorf("%q", got)
	}
	q, err := patas.TryWrap(box[string].text,
		func(original func(box[string], int, string) string) func(
			box[string], int, string) string {
			return func(b box[string], n int, s string) string {
				return "<" + original(b, n, s) + ">"
			}
		}, patas.EvenIfInlined())
	needsGenerics(t, err)
	defer q.Restore()
	if got := c.text(3, "x"); got != "<s3x>" {
		t.Errorf("%q", got)
	}
}

//go:noinline
func counter(start int) func(int) int {
	return func(n int) int { use([]byte{0}); start += n; return start }
}

func TestClosureAllOrThisOne(t *testing.T) {
	one, two := counter(10), counter(20)
	p := patas.During(t, one, func(n int) int { return -n })
	if one(1) != -1 || two(1) != -1 {
		t.Error("not all closures of the literal are replaced")
	}
	if got := p.Original()(1); got != 11 {
		t.Errorf("original of the closure: %d", got)
	}
	if err := p.Restore(); err != nil {
		t.Fatal(err)
	}
	patas.During(t, two, func(n int) int { return -n }, patas.OnlyThisClosure())
	if one(1) != 12 || two(1) != -1 {
		t.Error("not only this closure is replaced")
	}
}

func TestBoundMethodIsReplacedForItsReceiver(t *testing.T) {
	mine, other := &account{1}, &account{2}
	patas.WrapDuring(t, mine.add, func(original func(int) int) func(int) int {
		return func(n int) int { return 100 * original(n) }
	})
	if got := mine.add(1); got != 200 {
		t.Errorf("mine.add = %d", got)
	}
	if got := other.add(1); got != 3 {
		t.Errorf("other.add = %d", got)
	}
}

func TestOnlyReceiver(t *testing.T) {
	mine, other := &account{1}, &account{2}
	patas.During(t, (*account).add, func(*account, int) int { return 7 },
		patas.OnlyReceiver(mine))
	if mine.add(1) != 7 || other.add(1) != 3 {
		t.Error(mine, other)
	}
}

//go:noinline
func variadic(prefix string, rest ...int) string {
	return fmt.Sprint(prefix, rest)
}

//go:noinline
func divides(a, b int) int { return a / b }

// Its only call is of what panics, so it has no stack check, and needs none.
func TestDivision(t *testing.T) {
	p := patas.During(t, divides, func(a, b int) int { return -1 })
	if divides(6, 3) != -1 || p.Original()(6, 3) != 2 {
		t.Error(divides(6, 3), p.Original()(6, 3))
	}
	defer func() {
		if err, ok := recover().(error); !ok ||
			!strings.Contains(err.Error(), "divide by zero") {
			t.Error(err)
		}
	}()
	p.Original()(1, 0)
}

func TestVariadic(t *testing.T) {
	patas.WrapDuring(t, variadic, func(o func(string, ...int) string) func(
		string, ...int) string {
		return func(p string, rest ...int) string {
			return o(p+"!", append(rest, 9)...)
		}
	})
	if got := variadic("a", 1, 2); got != "a![1 2 9]" {
		t.Error(got)
	}
}

// ---- by name ----------------------------------------------------------------

func TestByName(t *testing.T) {
	add := patas.ByName[func(*account, int) int](
		"github.com/patas-dev/patas/go_test.(*account).add")
	patas.During(t, add, func(*account, int) int { return 5 })
	if got := (&account{}).add(1); got != 5 {
		t.Error(got)
	}
	_, err := patas.TryByName[func(*account, string) int](
		"github.com/patas-dev/patas/go_test.(*account).add")
	wants(t, err, map[int]string{
		32: "arguments take 12 bytes, and should take 16",
		64: "arguments take 16 bytes, and should take 24"}[strconv.IntSize])
	_, err = patas.TryByName[func()]("no/such.Thing")
	wants(t, err, "no function of that name is in this program")
}

func wants(t *testing.T, err error, text string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), text) {
		t.Errorf("error %v, want one with %q", err, text)
	}
}

// ---- stacks -------------------------------------------------------------------

func TestStackedAndRestoredInAnyOrder(t *testing.T) {
	plus := func(k int) func(func(int) int) func(int) int {
		return func(o func(int) int) func(int) int {
			return func(n int) int { return o(n) + k }
		}
	}
	one := patas.Wrap(checked, plus(10))
	two := patas.Wrap(checked, plus(100))
	three := patas.Wrap(checked, plus(1000))
	steps := []struct {
		do   func() error
		want int
	}{
		{func() error { return nil }, 1111},
		{two.Suspend, 1011}, {two.Resume, 1111},
		{two.Restore, 1011}, {one.Restore, 1001}, {three.Restore, 1},
	}
	for i, step := range steps {
		if err := step.do(); err != nil {
			t.Fatal(err)
		}
		if got := checked(0); got != step.want {
			t.Errorf("step %d: %d, want %d", i, got, step.want)
		}
	}
	wants(t, two.Restore(), "restored already")
	if live := patas.Live(); len(live) != 0 {
		t.Error("left behind:", live)
	}
}

func TestRestoreAllAndTheReport(t *testing.T) {
	patas.Replace(a, b)
	patas.Replace(checked, func(int) int { return 0 })
	if got := fmt.Sprint(patas.Live()); !strings.Contains(got, "go_test.a ") ||
		!strings.Contains(got, "go_test.checked") {
		t.Error(got)
	}
	if err := patas.RestoreAll(); err != nil {
		t.Fatal(err)
	}
	if a() != 1 || checked(1) != 2 || len(patas.Live()) != 0 {
		t.Error(a(), checked(1), patas.Live())
	}
}

// ---- conditions -----------------------------------------------------------------

func TestConditions(t *testing.T) {
	// a() is 1, and 2 where it is replaced.
	letters := func(n int) string {
		var s []byte
		for i := 0; i < n; i++ {
			s = append(s, " .R"[a()])
		}
		return string(s)
	}
	for _, test := range []struct {
		want    string
		options []patas.Option
	}{
		{"..R.......", []patas.Option{patas.Nth(3)}},
		{"..RRRR....", []patas.Option{patas.NthTo(3, 6)}},
		{"..RRRRRRRR", []patas.Option{patas.NthFrom(3)}},
		{".R..R..R..", []patas.Option{patas.Every(2, 3)}},
		{"R...R...R.", []patas.Option{patas.Every(1, 4)}},
		{"..R.....R.", []patas.Option{patas.Every(3, 6)}},
		{"RR........", []patas.Option{patas.Times(2)}},
		{".R..R.....", []patas.Option{patas.Every(2, 3), patas.Times(2)}},
		{"RRRRRRRRRR", []patas.Option{patas.Probability(1, 1)}},
		{"..........", []patas.Option{patas.Probability(0, 1)}},
	} {
		p := patas.Replace(a, b, append(test.options, patas.EvenIfInlined())...)
		if got := letters(10); got != test.want {
			t.Errorf("%q, want %q", got, test.want)
		}
		if err := p.Restore(); err != nil {
			t.Fatal(err)
		}
	}
	some := func(seed int64) string {
		p := patas.Replace(a, b, patas.Probability(0.25, seed))
		defer p.Restore()
		return letters(4000)
	}
	first := some(42)
	if n := strings.Count(first, "R"); n < 800 || n > 1200 {
		t.Errorf("%d of 4000 with a chance of 0.25", n)
	}
	if some(42) != first || some(43) == first {
		t.Error("the seed does not choose the calls")
	}
	_, err := patas.TryReplace(a, b, patas.Nth(0))
	wants(t, err, "counts from 1")
}

func TestCount(t *testing.T) {
	p := patas.Replace(a, b, patas.Count())
	var all sync.WaitGroup
	for i := 0; i < 8; i++ {
		all.Add(1)
		go func() {
			defer all.Done()
			for k := 0; k < 1000; k++ {
				a()
			}
		}()
	}
	all.Wait()
	if err := p.Restore(); err != nil || p.Count() != 8000 {
		t.Error(p.Count(), err)
	}
}

//go:noinline
func reads(path string, flags int, data []byte) (int, error) {
	use(make([]byte, 1))
	return len(path) + flags + len(data), nil
}

type reader = func(string, int, []byte) (int, error)

func TestWhen(t *testing.T) {
	asked := 0
	p := patas.During(t, reads, patas.Returns[reader](-1),
		patas.When(func(path string, flags int, data []byte) bool {
			asked++
			use(make([]byte, 1))
			return strings.HasSuffix(path, ".conf") && flags == 2 &&
				string(data) == "xyz"
		}))
	letters := func(path string, flags int) string {
		n, _ := reads(path, flags, []byte("xyz"))
		if n == -1 {
			return "R"
		}
		if n != len(path)+flags+3 {
			t.Errorf("%d of %q, %d", n, path, flags)
		}
		return "."
	}
	if got := letters("a", 2) + letters("a.conf", 2) + letters("a.conf", 3) +
		letters("b.conf", 2); got != ".R.R" {
		t.Error(got)
	}
	if n, _ := p.Original()("a.conf", 2, nil); n != 8 || asked != 4 {
		t.Error(n, asked)
	}
	if err := p.Restore(); err != nil {
		t.Fatal(err)
	}
	// Nth counts those calls for which it holds.
	var calls patas.Calls
	patas.During(t, reads, patas.Returns[reader](-1), patas.NthTo(2, 3),
		patas.Record(&calls),
		patas.When(func(path string, _ int, _ []byte) bool { return path == "b" }))
	if got := letters("b", 1) + letters("a", 1) + letters("b", 2) +
		letters("b", 3) + letters("b", 4); got != "..RR." {
		t.Error(got)
	}
	if calls.Len() != 2 || fmt.Sprint(calls.Args(1)) != "[b 3 [120 121 122]]" {
		t.Error(calls.Len(), calls.Args(1))
	}
}

func TestWhenOfAMethodAndOfFloats(t *testing.T) {
	mine, other := &account{1}, &account{2}
	patas.During(t, (*account).add, func(*account, int) int { return 7 },
		patas.When(func(c *account, n int) bool { return c == mine && n > 1 }))
	if mine.add(1) != 2 || mine.add(2) != 7 || other.add(2) != 4 {
		t.Error(mine, other)
	}
	patas.During(t, mixes, func(float32, int8, complex128, bool, error) string {
		return "no"
	}, patas.When(func(f float32, n int8, c complex128, b bool, e error) bool {
		return f == 1.5 && n == -3 && real(c) == 2 && imag(c) == 3 && b &&
			e == io.EOF
	}))
	want := "1.5 -3 (2+4i) true EOF"
	if got := mixes(1.5, -3, complex(2, 4), true, io.EOF); got != want {
		t.Error(got)
	}
	if got := mixes(1.5, -3, complex(2, 3), true, io.EOF); got != "no" {
		t.Error(got)
	}
}

//go:noinline
func stores(p *int, n int) { use(make([]byte, 1)) }

// While When looks at the arguments the stack moves, and the replacement gets
// pointers to where it is now.
func TestArgumentsMoveWithTheStack(t *testing.T) {
	patas.During(t, stores, func(p *int, n int) { *p = n },
		patas.When(func(p *int, n int) bool { return grows(3000) == 3001 }))
	done := make(chan int)
	go func() {
		local := 0
		stores(&local, 7)
		done <- local
	}()
	if got := <-done; got != 7 {
		t.Errorf("%d is stored in the caller's variable", got)
	}
}

//go:noinline
func mixes(f float32, n int8, c complex128, b bool, e error) string {
	return fmt.Sprint(f, " ", n, " ", c, " ", b, " ", e)
}

type inner struct {
	name string
	next *inner
}

//go:noinline
func takes(p *inner, list []string, m map[string][]byte, e any, a [1]int8) {
	use(make([]byte, 1)) // of its arguments, it needs none
}

func TestWhenOfClosuresAndLeaves(t *testing.T) {
	one, two := counter(10), counter(20)
	patas.During(t, one, func(n int) int { return -n },
		patas.When(func(n int) bool { return n > 5 }), patas.OnlyThisClosure())
	if one(6) != -6 || one(5) != 15 || two(6) != 26 {
		t.Error(one(0), two(0))
	}
	n := 3
	patas.During(t, leaf, func(*int, int) int { return -1 },
		patas.When(func(p *int, b int) bool { return *p == 3 && b == 4 }))
	if leaf(&n, 4) != -1 || leaf(&n, 5) != 8 {
		t.Error(leaf(&n, 4), leaf(&n, 5))
	}
}

// What is recorded is a copy, also of what was on the caller's stack only.
func TestRecord(t *testing.T) {
	var calls patas.Calls
	patas.During(t, takes, patas.Returns[func(*inner, []string,
		map[string][]byte, any, [1]int8)](), patas.Record(&calls))
	kept := &inner{name: "kept"}
	heap = kept
	call := func(n int) {
		buffer := []byte("text")
		local := inner{name: string(buffer), next: kept}
		list := []string{string(buffer), "b"}
		takes(&local, list, map[string][]byte{"k": {1}}, local, [1]int8{int8(n)})
		buffer[0], list[1], local.name = 'X', "X", "X"
	}
	const rounds = 300
	done := make(chan bool)
	go func() { // on a stack that moves
		defer close(done)
		for n := 0; n < rounds; n++ {
			call(n)
			grows(n % 50)
			if n%50 == 0 {
				runtime.GC()
			}
		}
	}()
	<-done
	runtime.GC()
	if calls.Len() != rounds {
		t.Fatal(calls.Len())
	}
	for n := 0; n < rounds; n++ {
		args := calls.Args(n)
		first := args[0].(*inner)
		if first.name != "text" || first.next != kept ||
			fmt.Sprint(args[1], args[2], args[4]) != fmt.Sprintf(
				"[text b] map[k:[1]] [%d]", int8(n)) ||
			args[3].(inner) != *first {
			t.Fatalf("call %d: %v %v", n, first, args)
		}
	}
	calls.Reset()
	if calls.Len() != 0 {
		t.Error("not forgotten")
	}
}

var heap *inner

func TestWhenAndRecordAreRefused(t *testing.T) {
	_, err := patas.TryReplace(a, b, patas.When(func(int) bool { return true }))
	wants(t, err, "When was given a func(int) bool; it takes the parameters of "+
		"func() int, and gives a bool")
	_, err = patas.TryReplace(a, b, patas.When(7))
	wants(t, err, "When takes a function")
	_, err = patas.TryReplace(a, b, patas.Record(nil))
	wants(t, err, "Record takes the address of a Calls")
	_, err = patas.TryReplace((&account{}).add, func(int) int { return 0 },
		patas.When(func(int) bool { return true }))
	wants(t, err, "bound method")
	_, err = patas.TryReplace(wide, func([25]int) {},
		patas.When(func([25]int) bool { return true }))
	wants(t, err, map[int]string{
		32: "its arguments take more than 96 bytes, so neither When nor",
		64: "more arguments than go into registers, so neither When nor",
	}[strconv.IntSize])
	patas.RestoreAll()
}

//go:noinline
func wide(a [25]int) { use(make([]byte, a[0])) }

// A goroutine that was there before sees what the replacement closes over.
func TestReplacementIsNoDataRace(t *testing.T) {
	stop := make(chan bool)
	calls := make(chan bool, 1)
	var all sync.WaitGroup
	all.Add(1)
	go func() {
		defer all.Done()
		for {
			select {
			case <-stop:
				return
			default:
				if a() == 9 {
					select {
					case calls <- true:
					default:
					}
				}
			}
		}
	}()
	value := new(int)
	*value = 9
	patas.During(t, a, func() int { return *value })
	<-calls
	close(stop)
	all.Wait()
}

func TestReturnsAndSequence(t *testing.T) {
	patas.During(t, a, patas.Sequence[func() int](
		patas.Results{5}, patas.Results{int8(6)}, patas.Results{}))
	if got := fmt.Sprint(a(), a(), a(), a()); got != "5 6 0 0" {
		t.Error(got)
	}
	f := patas.Returns[func(string) (error, []int)](nil, []int{1})
	if err, list := f("x"); err != nil || !reflect.DeepEqual(list, []int{1}) {
		t.Error(err, list)
	}
}

// ---- scopes -----------------------------------------------------------------------

func TestInThisTest(t *testing.T) {
	for i := 0; i < 8; i++ {
		i := i
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			t.Parallel()
			patas.During(t, checked, func(int) int { return 100 + i },
				patas.InThisTest())
			for k := 0; k < 200; k++ {
				child := make(chan int)
				go func() { go func() { child <- checked(0) }() }()
				if mine, theirs := checked(0), <-child; mine != 100+i ||
					theirs != 100+i {
					t.Fatalf("%d in this test, %d in a child", mine, theirs)
				}
			}
		})
	}
	if got := checked(0); got != 1 {
		t.Errorf("outside: %d", got)
	}
}

func TestReceiversAndClosuresInParallelTests(t *testing.T) {
	for i := 0; i < 8; i++ {
		i := i
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			t.Parallel()
			mine, closure := &account{i}, counter(i)
			patas.During(t, (*account).add, func(*account, int) int {
				return -i
			}, patas.OnlyReceiver(mine))
			patas.During(t, closure, func(int) int { return -100 - i },
				patas.OnlyThisClosure())
			for k := 0; k < 200; k++ {
				other, plain := &account{k}, counter(k)
				if mine.add(1) != -i || other.add(1) != k+1 ||
					closure(1) != -100-i || plain(1) != k+1 {
					t.Fatal(mine, other)
				}
			}
		})
	}
}

// ---- all implementers --------------------------------------------------------------

type speaker interface {
	Speak(to string, times int) (string, error)
}

type dog struct{ name string }

func (d *dog) Speak(to string, times int) (string, error) {
	return strings.Repeat(d.name+" to "+to+" ", times), nil
}

type cat [3]string // goes to an interface as a pointer

func (c cat) Speak(to string, times int) (string, error) {
	return c[1] + to, nil
}

type mute int // as itself, in old versions

func (m mute) Speak(to string, times int) (string, error) {
	return fmt.Sprint(int(m)), nil
}

type puppy struct{ *dog } // promoted

var speakers = []speaker{&dog{"rex"}, cat{"", "kit", ""}, &cat{"", "tom", ""},
	mute(7), puppy{&dog{"pup"}}}

func TestAllImplementers(t *testing.T) {
	speak := func() (all []string) {
		for _, s := range speakers {
			text, _ := s.Speak("you", 1)
			all = append(all, strings.TrimSpace(text))
		}
		return all
	}
	want := fmt.Sprint(speak())
	all, err := patas.TryReplaceImplementers(speaker.Speak,
		func(s speaker, to string, times int) (string, error) {
			use(make([]byte, 1))
			switch s := s.(type) {
			case *dog:
				return "dog " + s.name + to, nil
			case *cat:
				return "cat " + s[1] + to, nil
			case *mute:
				return fmt.Sprint("mute ", int(*s), times), nil
			case puppy:
				return "puppy " + s.dog.name, nil
			}
			return fmt.Sprintf("%T", s), nil
		})
	if err != nil {
		t.Fatal(err)
	}
	got := fmt.Sprint(speak())
	if err := all.Restore(); err != nil {
		t.Error(err)
	}
	if got != "[dog rexyou cat kityou cat tomyou mute 71 puppy pup]" &&
		got != "[dog rexyou cat kityou cat tomyou mute 7 1 puppy pup]" {
		t.Error(got, all.Names())
	}
	if got := fmt.Sprint(speak()); got != want || len(patas.Live()) != 0 {
		t.Error(got, patas.Live())
	}
}

func TestAllImplementersOfALibrarysInterface(t *testing.T) {
	f := &fakeTB{}
	all := patas.DuringImplementers(f, io.Reader.Read,
		func(io.Reader, []byte) (int, error) { return 0, io.ErrNoProgress },
		patas.InThisTest())
	if len(f.said) != 0 || len(all.Names()) < 10 {
		t.Fatal(f.said)
	}
	for _, r := range []io.Reader{strings.NewReader("x"), os.Stdin,
		io.LimitReader(strings.NewReader("x"), 1)} {
		if _, err := r.Read(make([]byte, 1)); err != io.ErrNoProgress {
			t.Errorf("%T: %v", r, err)
		}
	}
	f.end()
	if b, err := io.ReadAll(strings.NewReader("x")); string(b) != "x" {
		t.Error(b, err)
	}
	_, err := patas.TryReplaceImplementers(a, b)
	wants(t, err, "it is no method of an interface")
	_, err = patas.TryReplaceImplementers(error.Error,
		func(error) string { return "" })
	wants(t, err, "it can't be in all types")
	if len(patas.Live()) != 0 {
		t.Error(patas.Live())
	}
}

// ---- what is left behind -----------------------------------------------------------

// fakeTB keeps what a test would be told.
type fakeTB struct {
	testing.TB
	said    []string
	cleanup []func()
}

func (f *fakeTB) Helper() {}
func (f *fakeTB) Errorf(format string, args ...any) {
	f.said = append(f.said, fmt.Sprintf(format, args...))
}
func (f *fakeTB) Fatalf(format string, args ...any) { f.Errorf(format, args...) }
func (f *fakeTB) Cleanup(do func())                 { f.cleanup = append(f.cleanup, do) }
func (f *fakeTB) Name() string                      { return "TestFake" }
func (f *fakeTB) end() {
	for i := len(f.cleanup) - 1; i >= 0; i-- {
		f.cleanup[i]()
	}
}

func TestWhatATestLeftIsReported(t *testing.T) {
	f := &fakeTB{}
	patas.CheckLeaks(f)
	patas.During(f, checked, func(int) int { return 0 })
	patas.Replace(a, b)
	f.end()
	if len(f.said) != 1 || !strings.Contains(f.said[0], "this test left ") ||
		!strings.Contains(f.said[0], "go_test.a (at features_test.go:") {
		t.Error(f.said)
	}
	if a() != 1 || len(patas.Live()) != 0 {
		t.Error("it was not restored")
	}
}

func TestDuringFailsTheTestWithTheReason(t *testing.T) {
	f := &fakeTB{}
	patas.During(f, io.Reader.Read, func(io.Reader, []byte) (int, error) {
		return 0, nil
	})
	if len(f.said) != 1 || !strings.HasPrefix(f.said[0],
		"cannot replace io.Reader.Read: a method of an interface") {
		t.Error(f.said)
	}
	// Restored by hand before its end, that is no failure; changed by somebody
	// else, it is.
	f = &fakeTB{}
	if err := patas.During(f, a, b).Restore(); err != nil {
		t.Error(err)
	}
	f.end()
	if len(f.said) != 0 {
		t.Error(f.said)
	}
}

type tests int

func (left tests) Run() int {
	if left != 0 {
		patas.Replace(a, b)
	}
	return 0
}

func TestMainReportsWhatIsLeft(t *testing.T) {
	defer patas.RestoreAll()
	old := os.Stderr
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	os.Stderr = w
	clean, left := patas.Main(tests(0)), patas.Main(tests(1))
	os.Stderr = old
	w.Close()
	said, _ := io.ReadAll(r)
	if clean != 0 || left != 1 ||
		!strings.Contains(string(said), "patas: the tests left ") {
		t.Errorf("%d, %d: %s", clean, left, said)
	}
}
