// SPDX-License-Identifier: MIT

package patas

import (
	"fmt"
	"os"
	"runtime"
	"strings"
)

// caller is where this package was called from, as file and line.
func caller() string {
	var pcs [32]uintptr
	frames := runtime.CallersFrames(pcs[:runtime.Callers(2, pcs[:])])
	for {
		frame, more := frames.Next()
		if !strings.HasPrefix(frame.Function, "github.com/patas-dev/patas/go.") {
			file := frame.File[strings.LastIndex(frame.File, "/")+1:]
			return fmt.Sprintf("%s:%d", file, frame.Line)
		}
		if !more {
			return "?"
		}
	}
}

func (p *patch) String() string {
	if p.test != "" {
		return fmt.Sprintf("%s (at %s, by %s)", p.name, p.where, p.test)
	}
	return fmt.Sprintf("%s (at %s)", p.name, p.where)
}

// Live names the functions that are replaced now, oldest patch first, and where
// that was done.
func Live() []string {
	book.mu.Lock()
	defer book.mu.Unlock()
	var names []string
	for _, p := range book.order {
		names = append(names, p.String())
	}
	return names
}

// CheckLeaks fails the test at its end if it left patches behind, naming them
// and where they were made, and restores them. During and WrapDuring leave none.
// In a test that runs in parallel with others, what those make by Replace and
// Wrap meanwhile is taken for its own.
func CheckLeaks(t TB) {
	t.Helper()
	book.mu.Lock()
	mark := book.made
	book.mu.Unlock()
	t.Cleanup(func() {
		t.Helper()
		for _, p := range leftSince(mark) {
			t.Errorf("patas: this test left %v replaced", p)
			if err := p.restore(); err != nil {
				t.Errorf("%v", err)
			}
		}
	})
}

// leftSince are the patches that are newer and no test's, newest first.
func leftSince(mark uint64) []*patch {
	book.mu.Lock()
	defer book.mu.Unlock()
	var left []*patch
	for i := len(book.order) - 1; i >= 0; i-- {
		if p := book.order[i]; p.age > mark && p.test == "" {
			left = append(left, p)
		}
	}
	return left
}

// Main runs a package's tests, and fails if they left patches behind:
//
//	func TestMain(m *testing.M) { os.Exit(patas.Main(m)) }
func Main(m interface{ Run() int }) int {
	book.mu.Lock()
	mark := book.made
	book.mu.Unlock()
	status := m.Run()
	for _, p := range leftSince(mark) {
		fmt.Fprintf(os.Stderr, "patas: the tests left %v replaced\n", p)
		if status == 0 {
			status = 1
		}
	}
	return status
}
