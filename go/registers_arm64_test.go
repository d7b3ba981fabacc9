// SPDX-License-Identifier: MIT

package patas_test

import (
	"fmt"
	"runtime"
	"testing"

	"github.com/patas-dev/patas/go"
)

// Its arguments are in x0 to x15 and d0 to d15, all of them.
//
//go:noinline
func full(a *int, b string, c []byte, d any, e, f, g, h, i, j, k, l *int,
	x0, x1, x2, x3, x4, x5, x6, x7, x8, x9, x10, x11, x12, x13, x14,
	x15 float64) int {
	use(make([]byte, 1))
	return 0
}

func fits(a *int, b string, c []byte, d any, e, f, g, h, i, j, k, l *int,
	x0, x1, x2, x3, x4, x5, x6, x7, x8, x9, x10, x11, x12, x13, x14,
	x15 float64) bool {
	n := *a
	return b[0] == byte(n) && len(b) == n%8+1 && c[1] == byte(n) &&
		d.(int) == n && *e == n+1 && *f == n+2 && *g == n+3 && *h == n+4 &&
		*i == n+5 && *j == n+6 && *k == n+7 && *l == n+8 &&
		x0 == 0.5 && x1 == 1.5 && x2 == 2.5 && x3 == 3.5 && x4 == 4.5 &&
		x5 == 5.5 && x6 == 6.5 && x7 == 7.5 && x8 == 8.5 && x9 == 9.5 &&
		x10 == 10.5 && x11 == 11.5 && x12 == 12.5 && x13 == 13.5 &&
		x14 == 14.5 && x15 == 15.5
}

// callFull has what the arguments point to on its stack.
func callFull(n int) int {
	var p [9]int
	for i := range p {
		p[i] = n + i
	}
	text := [8]byte{byte(n)}
	return full(&p[0], string(text[:n%8+1]), []byte{0, byte(n)}, n, &p[1], &p[2],
		&p[3], &p[4], &p[5], &p[6], &p[7], &p[8], 0.5, 1.5, 2.5, 3.5, 4.5, 5.5,
		6.5, 7.5, 8.5, 9.5, 10.5, 11.5, 12.5, 13.5, 14.5, 15.5)
}

func TestAllRegistersAreLookedAt(t *testing.T) {
	var calls patas.Calls
	patas.During(t, full, func(a *int, b string, c []byte, d any, e, f, g, h, i,
		j, k, l *int, x0, x1, x2, x3, x4, x5, x6, x7, x8, x9, x10, x11, x12,
		x13, x14, x15 float64) int {
		if !fits(a, b, c, d, e, f, g, h, i, j, k, l, x0, x1, x2, x3, x4, x5, x6,
			x7, x8, x9, x10, x11, x12, x13, x14, x15) {
			return -1
		}
		return *a
	}, patas.Record(&calls), patas.When(func(a *int, b string, c []byte, d any,
		e, f, g, h, i, j, k, l *int, x0, x1, x2, x3, x4, x5, x6, x7, x8, x9, x10,
		x11, x12, x13, x14, x15 float64) bool {
		grows(*a * 20) // the stack moves, and what points to it with it
		if *a%10 == 0 {
			runtime.GC()
		}
		return fits(a, b, c, d, e, f, g, h, i, j, k, l, x0, x1, x2, x3, x4, x5,
			x6, x7, x8, x9, x10, x11, x12, x13, x14, x15)
	}))
	const rounds = 60
	for n := 1; n <= rounds; n++ {
		done := make(chan int)
		go func() { done <- callFull(n) }()
		if got := <-done; got != n {
			t.Fatalf("call %d: %d", n, got)
		}
	}
	if calls.Len() != rounds {
		t.Fatal(calls.Len())
	}
	for n := 1; n <= rounds; n++ {
		args := calls.Args(n - 1)
		sum := 0
		for _, p := range args[4:12] {
			sum += *p.(*int)
		}
		if *args[0].(*int) != n || args[1].(string)[0] != byte(n) ||
			args[2].([]byte)[1] != byte(n) || args[3] != any(n) ||
			sum != 8*n+36 || args[12] != any(0.5) || args[27] != any(15.5) {
			t.Fatal(n, args)
		}
	}
}

type wide3[T any] struct {
	v    T
	a, b int
}

//go:noinline
func (w wide3[T]) twelve(a, b, c, d, e, f, g, h, i, j, k, l int) string {
	use([]byte{1})
	return fmt.Sprint(w.v, w.a, w.b, a, b, c, d, e, f, g, h, i, j, k, l)
}

type wide15[T any] struct {
	v                                        T
	a, b, c, d, e, f, g, h, i, j, k, l, m, n int
}

//go:noinline
func (w wide15[T]) alone() string {
	use([]byte{1})
	return fmt.Sprint(w)
}

type twelve = func(wide3[int], int, int, int, int, int, int, int, int, int, int,
	int, int) string

// The dictionary is the fourth argument of sixteen, and the sixteenth.
func TestHiddenArgumentsToTheLastRegister(t *testing.T) {
	p, err := patas.TryWrap(wide3[int].twelve, func(original twelve) twelve {
		return func(w wide3[int], a, b, c, d, e, f, g, h, i, j, k, l int) string {
			w.a++
			return "<" + original(w, a+1, b, c, d, e, f, g, h, i, j, k, l+1) + ">"
		}
	}, patas.EvenIfInlined())
	needsGenerics(t, err)
	defer p.Restore()
	got := wide3[int]{1, 2, 3}.twelve(4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15)
	if want := "<1 3 3 5 5 6 7 8 9 10 11 12 13 14 16>"; got != want {
		t.Error(got)
	}
	type myInt int // shares the code
	if got := (wide3[myInt]{}).twelve(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11,
		12); got != "0 0 0 1 2 3 4 5 6 7 8 9 10 11 12" {
		t.Error(got)
	}
	q, err := patas.TryWrap(wide15[int].alone,
		func(original func(wide15[int]) string) func(wide15[int]) string {
			return func(w wide15[int]) string {
				w.n++
				return "<" + original(w) + ">"
			}
		}, patas.EvenIfInlined())
	needsGenerics(t, err)
	defer q.Restore()
	w := wide15[int]{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}
	if got := w.alone(); got != "<{1 2 3 4 5 6 7 8 9 10 11 12 13 14 16}>" {
		t.Error(got)
	}
}
