// SPDX-License-Identifier: MIT

//go:build cgo && linux && amd64 && !race

package beside_test

import (
	"runtime"
	"runtime/debug"
	"sync/atomic"
	"testing"
	"time"

	"github.com/patas-dev/patas/go"
	"github.com/patas-dev/patas/go/internal/beside"
)

//go:noinline
func leaf(p *int, n int) int { return *p + n }

// independent tells position-independent programs: there, an island can be
// where leaf's own bytes lead, so that none need trap.
func independent() bool {
	info, _ := debug.ReadBuildInfo()
	for _, setting := range info.Settings {
		if setting.Key == "-buildmode" {
			return setting.Value == "pie"
		}
	}
	return false
}

// A leaf function's patch has bytes that trap: a thread of C's that blocks every
// signal is in it all the time, and the program's own handlers for the same
// signals still get what is theirs.
func TestBesideHandlersAndBlockedThreads(t *testing.T) {
	beside.Install()
	var wrong, calls int64
	zero := 0
	beside.Callback = func() {
		for i := 0; i < 1000; i++ {
			if got := leaf(&zero, i); got != i && got != i+1000000 {
				atomic.AddInt64(&wrong, 1)
			}
		}
		atomic.AddInt64(&calls, 1000)
	}
	if !beside.Start() {
		t.Fatal("no thread")
	}
	// Its first call has it made a thread of Go's, too.
	for atomic.LoadInt64(&calls) == 0 {
		runtime.Gosched()
	}
	pairs, raised := 0, 0
	before := atomic.LoadInt64(&calls)
	for end := time.Now().Add(300 * time.Millisecond); time.Now().Before(end) ||
		atomic.LoadInt64(&calls) == before; pairs++ {
		p := patas.Replace(leaf, func(p *int, n int) int {
			return *p + n + 1000000
		})
		if pairs%8 == 0 {
			beside.Raise()
			raised++
		}
		if err := p.Restore(); err != nil {
			t.Error(err)
		}
	}
	beside.Finish()
	if beside.Installed() && !independent() {
		t.Error("no patch had bytes that trap: this shows nothing")
	}
	ill, trap := beside.Counts()
	t.Logf("%d pairs, %d calls with all signals blocked, %d signals of its own",
		pairs, calls, ill+trap)
	if wrong != 0 || ill != raised || trap != raised {
		t.Errorf("%d wrong; %d and %d of %d signals reached C's handlers",
			wrong, ill, trap, raised)
	}
}
