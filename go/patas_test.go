// SPDX-License-Identifier: MIT

package patas_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/patas-dev/patas/go"
)

//go:noinline
func a() int { return 1 }

//go:noinline
func b() int { return 2 }

func callA() int { return a() }

func TestReplacedFunctionRunsTheReplacement(t *testing.T) {
	p := patas.During(t, a, b)
	if got := callA(); got != 2 {
		t.Fatalf("a() = %d, want 2", got)
	}
	if got := p.Original()(); got != 1 {
		t.Fatalf("original = %d, want 1", got)
	}
	if err := p.Restore(); err != nil {
		t.Fatal(err)
	}
	if got := callA(); got != 1 {
		t.Fatalf("restored a() = %d, want 1", got)
	}
}

//go:noinline
func grows(n int) int {
	var room [256]byte
	use(room[:])
	if n == 0 {
		return int(room[0])
	}
	return grows(n-1) + 1
}

//go:noinline
func use(b []byte) { b[0] = 1 }

func TestOriginalGrowsItsStackAndStaysTheOriginal(t *testing.T) {
	count := 0
	p := patas.WrapDuring(t, grows, func(original func(int) int) func(int) int {
		return func(n int) int { count++; return original(n) }
	})
	for i := 0; i < 20; i++ {
		done := make(chan int)
		go func() { done <- grows(2000) }()
		if got := <-done; got != 2001 {
			t.Fatalf("grows(2000) = %d", got)
		}
	}
	if count != 20*2001 {
		t.Fatalf("replacement ran %d times, want %d", count, 20*2001)
	}
	count = 0
	done := make(chan int)
	go func() { done <- p.Original()(5) }()
	if got := <-done; got != 6 || count != 5 {
		t.Fatalf("original(5) = %d after %d, want 6 after 5", got, count)
	}
}

type account struct{ balance int }

//go:noinline
func (c *account) add(n int) int { c.balance += n; return c.balance }

//go:noinline
func (c account) show() string { return fmt.Sprint("balance ", c.balance) }

type savings struct{ account }

// A promoted method is replaced where it is declared: calls by the outer type
// and through an interface of it reach the replacement.
func TestPromotedMethod(t *testing.T) {
	var shown fmt.Stringer
	p := patas.During(t, account.show, func(c account) string {
		return fmt.Sprint("replaced ", c.balance)
	})
	s := savings{account{7}}
	shown = shower{s}
	if got := s.show() + ", " + shown.String(); got != "replaced 7, replaced 7" {
		t.Error(got)
	}
	if err := p.Restore(); err != nil {
		t.Error(err)
	}
	if got := s.show() + ", " + shown.String(); got != "balance 7, balance 7" {
		t.Error(got)
	}
}

// shower calls by the wrappers that the compiler makes of promoted methods.
type shower struct{ what interface{ show() string } }

func (s shower) String() string { return s.what.show() }

func TestMethodsByExpression(t *testing.T) {
	patas.During(t, (*account).add, func(c *account, n int) int { return -n })
	c := &account{1}
	if got := c.add(7); got != -7 {
		t.Fatalf("add = %d", got)
	}
	patas.During(t, account.show, func(c account) string { return "hidden" }, patas.EvenIfInlined())
	if got := (account{5}).show(); got != "hidden" {
		t.Fatalf("show = %q", got)
	}
}

func TestStandardLibrary(t *testing.T) {
	when := time.Unix(0, 0)
	patas.During(t, time.Now, func() time.Time { return when }, patas.EvenIfInlined())
	if !time.Now().Equal(when) {
		t.Fatal(time.Now())
	}
	patas.During(t, os.Getpid, func() int { return 42 }, patas.EvenIfInlined())
	patas.WrapDuring(t, fmt.Sprintln, func(o func(...any) string) func(...any) string {
		return func(args ...any) string { return strings.ToUpper(o(args...)) }
	}, patas.EvenIfInlined())
	if got := fmt.Sprintln("a", 1); got != "A 1\n" {
		t.Fatal(got)
	}
}

type do = func(*http.Client, *http.Request) (*http.Response, error)

// Without -gcflags=all=-l, Do is inlined in Get: then it has to be refused.
func TestHTTPGuardLetsHTTPSThrough(t *testing.T) {
	errDial := errors.New("no dialling")
	patas.During(t, (*net.Dialer).DialContext,
		func(*net.Dialer, context.Context, string, string) (net.Conn, error) {
			return nil, errDial
		})
	_, err := patas.TryWrap((*http.Client).Do, func(original do) do {
		return func(c *http.Client, r *http.Request) (*http.Response, error) {
			if r.URL.Scheme != "https" {
				return nil, errors.New("only https")
			}
			return original(c, r)
		}
	})
	t.Cleanup(func() { patas.RestoreAll() })
	if err != nil {
		if !strings.Contains(err.Error(), "inlined at client.go:") {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	_, err = http.Get("http://localhost")
	if err == nil || !strings.Contains(err.Error(), "only https") {
		t.Fatal(err)
	}
	_, err = http.Get("https://localhost")
	if !errors.Is(err, errDial) {
		t.Fatal(err)
	}
}

func TestGoOfOriginal(t *testing.T) {
	p := patas.During(t, grows, func(int) int { return -1 })
	original := p.Original()
	done := make(chan bool)
	go func() {
		defer close(done)
		for i := 0; i < 1000; i++ {
			go original(3)
			runtime.Gosched()
		}
		defer original(2)
	}()
	<-done
	runtime.GC()
}
