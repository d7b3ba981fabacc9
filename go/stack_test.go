// SPDX-License-Identifier: MIT

//go:build 386

package patas_test

import (
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/patas-dev/patas/go"
)

type packed struct {
	x int16
	y [2]string
	z *int
}

//go:noinline
func places(a int8, b packed, c [3]uint16, d uint64, e float32, f any) string {
	use(make([]byte, 1))
	return fmt.Sprint(a, b.x, b.y, *b.z, c, d, e, f)
}

// On the stack there are no registers that arrays could be too large for.
func TestArgumentsOfAnyKindAreLookedAt(t *testing.T) {
	var calls patas.Calls
	p := patas.During(t, places, func(int8, packed, [3]uint16, uint64, float32,
		any) string {
		return "no"
	}, patas.Record(&calls), patas.When(func(a int8, b packed, c [3]uint16,
		d uint64, e float32, f any) bool {
		grows(100) // the stack moves, and what points to it with it
		runtime.GC()
		return a == -1 && b.x == -2 && b.y[1] == "two" && *b.z == 3 &&
			c == [3]uint16{4, 5, 6} && d == 7<<40 && e == 8.5 && f == any("f")
	}))
	done := make(chan bool)
	go func() {
		defer close(done)
		three := 3
		b := packed{-2, [2]string{"one", "two"}, &three}
		c := [3]uint16{4, 5, 6}
		if got := places(-1, b, c, 7<<40, 8.5, "f"); got != "no" {
			t.Error(got)
		}
		want := "-1 -2 [one two] 3 [4 5 6] 7 8.5f"
		if got := places(-1, b, c, 7, 8.5, "f"); got != want {
			t.Error(got)
		}
		if got := p.Original()(-1, b, c, 7, 8.5, "f"); got != want {
			t.Error(got)
		}
	}()
	<-done
	if calls.Len() != 1 {
		t.Fatal(calls.Len())
	}
	args := calls.Args(0)
	b := args[1].(packed)
	if fmt.Sprint(args[0], b.x, b.y, *b.z, args[2:]) !=
		fmt.Sprint("-1 -2 [one two] 3 [[4 5 6] ", uint64(7<<40), " 8.5 f]") {
		t.Error(args, *b.z)
	}
}

//go:noinline
func (b box[T]) wide(n [30]int, s string) (string, [15]int) {
	use([]byte{1})
	return fmt.Sprint(b.v, n[29], s), [15]int{14: n[0]}
}

type manyTexts [20]string

//go:noinline
func (b *box[T]) larger(n manyTexts, s string) string {
	use([]byte{1})
	return fmt.Sprint(b.v, n[19], s)
}

//go:noinline
func (l largeBox[T]) of(n int) string {
	use([]byte{1})
	return fmt.Sprint(l.v, n, l.l[19])
}

type largeBox[T any] struct {
	v T
	l manyTexts
}

func TestHiddenArgumentsOfWideFunctions(t *testing.T) {
	p, err := patas.TryWrap(box[string].wide,
		func(original func(box[string], [30]int, string) (string,
			[15]int)) func(box[string], [30]int, string) (string, [15]int) {
			return func(b box[string], n [30]int, s string) (string, [15]int) {
				text, all := original(b, n, s)
				all[13] = 9
				return "<" + text + ">", all
			}
		}, patas.EvenIfInlined())
	if err == nil {
		t.Error("52 words were copied by who has room for 50")
		p.Restore()
	} else {
		needsGenerics(t, ignored(err, "arguments and results take more than 196"))
	}
	_, err = patas.TryReplace((*box[int]).larger,
		func(*box[int], manyTexts, string) string { return "" })
	needsGenerics(t, ignored(err, ""))
	if (&box[int]{7}).larger(manyTexts{19: "l"}, "s") != "" {
		t.Error("not replaced")
	}
	patas.RestoreAll()
	_, err = patas.TryReplace(largeBox[int].of,
		func(largeBox[int], int) string { return "" }, patas.EvenIfInlined())
	needsGenerics(t, ignored(err, "its receiver is too large, and one more"))
	patas.RestoreAll()
	if got := (largeBox[int]{v: 1}).of(2); got != "1 2" {
		t.Error(got)
	}
}

// ignored is nil for the error that is wanted.
func ignored(err error, text string) error {
	if err != nil && text != "" && strings.Contains(err.Error(), text) {
		return nil
	}
	return err
}

func TestGenericMethodWithAFullFrame(t *testing.T) {
	p, err := patas.TryWrap(box[string].full,
		func(original func(box[string], [25]int, string) (string,
			[16]int)) func(box[string], [25]int, string) (string, [16]int) {
			return func(b box[string], n [25]int, s string) (string, [16]int) {
				text, all := original(b, n, s+"!")
				all[14] = 9
				return "<" + text + ">", all
			}
		}, patas.EvenIfInlined())
	needsGenerics(t, err)
	defer p.Restore()
	n := [25]int{0: 5, 24: 6}
	text, all := (box[string]{"v"}).full(n, "s")
	if text != "<v6s!>" || all != [16]int{14: 9, 15: 5} {
		t.Error(text, all)
	}
}

//go:noinline
func (b box[T]) full(n [25]int, s string) (string, [16]int) {
	use([]byte{1})
	grows(50)
	return fmt.Sprint(b.v, n[24], s), [16]int{15: n[0]}
}
