// SPDX-License-Identifier: MIT

package patas_test

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/patas-dev/patas/go"
)

//go:noinline
func price(item string) int { return len(item) * 100 }

//go:noinline
func save(w io.Writer, text string) error {
	_, err := io.WriteString(w, text)
	return err
}

type shop struct{ name string }

//go:noinline
func (s *shop) open(day string) bool { return day != "Sunday" }

func ExampleReplace() {
	p := patas.Replace(price, func(item string) int { return 1 })
	fmt.Println(price("tea"), p.Original()("tea"))
	p.Restore()
	fmt.Println(price("tea"))
	// Output:
	// 1 300
	// 300
}

func ExampleReplace_method() {
	p := patas.Replace((*shop).open, func(s *shop, day string) bool {
		return s.name == "bakery"
	})
	defer p.Restore()
	fmt.Println((&shop{"bakery"}).open("Sunday"), (&shop{"bank"}).open("Monday"))
	// Output: true false
}

func ExampleWrap() {
	p := patas.Wrap(price, func(original func(string) int) func(string) int {
		return func(item string) int { return original(item) / 2 }
	})
	defer p.Restore()
	fmt.Println(price("tea"))
	// Output: 150
}

func ExampleTryReplace() {
	_, err := patas.TryReplace(io.Reader.Read,
		func(io.Reader, []byte) (int, error) { return 0, io.EOF })
	var refused *patas.Error
	fmt.Println(errors.As(err, &refused))
	fmt.Println(err)
	// Output:
	// true
	// cannot replace io.Reader.Read: a method of an interface has no body; replace the method of a type that implements it, or all of them by patas.ReplaceImplementers
}

func ExampleByName() {
	open := patas.ByName[func(*shop, string) bool](
		"github.com/patas-dev/patas/go_test.(*shop).open")
	p := patas.Replace(open, func(*shop, string) bool { return false })
	defer p.Restore()
	fmt.Println((&shop{}).open("Monday"))
	// Output: false
}

func ExampleNth() {
	p := patas.Replace(save, patas.Returns[func(io.Writer, string) error](
		errors.New("disk full")), patas.Nth(2))
	defer p.Restore()
	for _, text := range []string{"a", "b", "c"} {
		fmt.Println(save(io.Discard, text))
	}
	// Output:
	// <nil>
	// disk full
	// <nil>
}

func ExampleWhen() {
	p := patas.Replace(price, func(string) int { return 0 },
		patas.When(func(item string) bool { return strings.HasPrefix(item, "free") }))
	defer p.Restore()
	fmt.Println(price("tea"), price("free tea"))
	// Output: 300 0
}

func ExampleRecord() {
	var calls patas.Calls
	p := patas.Replace(save, patas.Returns[func(io.Writer, string) error](nil),
		patas.Record(&calls))
	save(io.Discard, "first")
	save(io.Discard, "second")
	p.Restore()
	fmt.Println(calls.Len(), calls.Args(1)[1])
	// Output: 2 second
}

func ExampleSequence() {
	p := patas.Replace(price, patas.Sequence[func(string) int](
		patas.Results{1}, patas.Results{2}))
	defer p.Restore()
	fmt.Println(price("a"), price("a"), price("a"))
	// Output: 1 2 2
}

func ExampleOnlyReceiver() {
	mine, other := &shop{"mine"}, &shop{"other"}
	p := patas.Replace((*shop).open, func(*shop, string) bool { return true },
		patas.OnlyReceiver(mine))
	defer p.Restore()
	fmt.Println(mine.open("Sunday"), other.open("Sunday"))
	// Output: true false
}
