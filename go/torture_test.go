// SPDX-License-Identifier: MIT

package patas_test

import (
	"io"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/pprof"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/patas-dev/patas/go"
)

//go:noinline
func leaf(p *int, b int) int { return *p + b }

//go:noinline
func checked(n int) int {
	var room [64]byte
	use(room[:])
	return n + int(room[0])
}

//go:noinline
func deep(k, n int) int {
	var room [512]byte
	use(room[:])
	if k == 0 {
		return checked(n)
	}
	return deep(k-1, n) + int(room[1])
}

// medium has a frame that its prologue computes; large one of more than a
// page, whose prologue checks for wrapping around, too.
//
//go:noinline
func medium(n int) int {
	var room [1000]byte
	use(room[:])
	return n + int(room[0])
}

//go:noinline
func large(n int) int {
	var room [20000]byte
	use(room[:])
	return n + int(room[0])
}

//go:noinline
func panics(n int) (result int) {
	defer func() {
		if n%2 == 0 {
			recover()
			result = n + 1
		}
	}()
	panic(n)
}

// duration of each torture: long enough to see arrivals, unless asked for more.
func duration() time.Duration {
	if d, err := time.ParseDuration(os.Getenv("PATAS_TORTURE")); err == nil {
		return d
	}
	return 400 * time.Millisecond
}

// load runs work on many goroutines, each on stacks that have to grow, under
// continuous collection, profiling and tracebacks, until the patcher is done.
func load(t *testing.T, work func(), patcher func()) {
	t.Helper()
	defer debug.SetGCPercent(debug.SetGCPercent(1))
	// Many Ps: the system preempts threads between any two instructions, too.
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(16))
	if err := pprof.StartCPUProfile(io.Discard); err == nil {
		defer pprof.StopCPUProfile()
	}
	var stop int32
	var all sync.WaitGroup
	spawn := func(body func()) {
		all.Add(1)
		go func() {
			defer all.Done()
			for atomic.LoadInt32(&stop) == 0 {
				body()
			}
		}()
	}
	for i := 0; i < 8; i++ {
		spawn(func() {
			done := make(chan bool)
			go func() {
				defer close(done)
				for k := 0; k < 200; k++ {
					work()
				}
			}()
			<-done
		})
	}
	spawn(runtime.GC)
	traces := make([]byte, 1<<16)
	spawn(func() {
		runtime.Stack(traces, true)
		time.Sleep(time.Millisecond)
	})
	for end := time.Now().Add(duration()); time.Now().Before(end); {
		patcher()
	}
	atomic.StoreInt32(&stop, 1)
	all.Wait()
}

// tortured patches and restores target as fast as it can, under load; every
// call has to be the original's or the replacement's.
func tortured(t *testing.T, target func(int) int, call func(int) int, add int) {
	t.Helper()
	probe := patas.Replace(target, func(n int) int { return n + 1000 })
	original := probe.Original()
	if err := probe.Restore(); err != nil {
		t.Fatal(err)
	}
	var wrong, calls, pairs int64
	work := func() {
		n := int(atomic.AddInt64(&calls, 1))
		if got := call(n); got != n+add && got != n+1000 {
			atomic.AddInt64(&wrong, 1)
		}
		if got := original(n &^ 1); got != n&^1+add {
			atomic.AddInt64(&wrong, 1)
		}
	}
	k := 1000
	load(t, work, func() {
		p := patas.Replace(target, func(n int) int { return n + k })
		if pairs++; pairs%16 == 0 {
			runtime.Gosched()
		}
		if err := p.Restore(); err != nil {
			t.Error(err)
		}
	})
	t.Logf("%d pairs, %d calls", pairs, calls)
	if wrong != 0 || pairs == 0 || calls == 0 {
		t.Fatalf("%d wrong of %d calls, %d pairs", wrong, calls, pairs)
	}
}

func TestTortureSmallFrames(t *testing.T) {
	tortured(t, checked, func(n int) int { return deep(n%13, n) }, 1)
}

func TestTortureMediumFrames(t *testing.T) { tortured(t, medium, medium, 1) }

func TestTortureLargeFrames(t *testing.T) { tortured(t, large, large, 1) }

func TestTorturePanics(t *testing.T) {
	even := func(n int) int { return panics(n&^1) + n&1 }
	p := patas.Replace(panics, func(n int) int { return n + 1000 })
	original := p.Original()
	if err := p.Restore(); err != nil {
		t.Fatal(err)
	}
	// A panic goes through the original to its caller.
	func() {
		defer func() {
			if recover() != 3 {
				t.Error("the panic did not come through")
			}
		}()
		original(3)
	}()
	tortured(t, panics, even, 1)
}

func TestTortureLeaf(t *testing.T) {
	big := make([]int, 1<<20)
	p := patas.Replace(leaf, func(p *int, b int) int { return *p + b + 7000 })
	original := p.Original()
	if err := p.Restore(); err != nil {
		t.Fatal(err)
	}
	var wrong, calls, pairs int64
	work := func() {
		for i := 0; i < 100; i++ {
			at := &big[(i*7919*4099)&(1<<20-1)]
			if got := leaf(at, 5); got != 5 && got != 7005 {
				atomic.AddInt64(&wrong, 1)
			}
			if got := original(at, 5); got != 5 {
				atomic.AddInt64(&wrong, 1)
			}
		}
		atomic.AddInt64(&calls, 100)
	}
	load(t, work, func() {
		p := patas.Replace(leaf, func(p *int, b int) int { return *p + b + 7000 })
		if pairs++; pairs%16 == 0 {
			runtime.Gosched()
		}
		if err := p.Restore(); err != nil {
			t.Error(err)
		}
	})
	t.Logf("%d pairs, %d calls, %d arrivals mid-window carried", pairs, calls,
		patas.Carried())
	if wrong != 0 || pairs == 0 {
		t.Fatalf("%d wrong of %d calls, %d pairs", wrong, calls, pairs)
	}
}

//go:noinline
func ignores(p *int, text string, n int) int { use(make([]byte, 1)); return n }

// What a call's arguments point to is on its caller's stack, which moves while
// When and Record look at them, grown by them and shrunk by the collector.
func TestTortureAsking(t *testing.T) {
	probe := patas.Replace(ignores, func(p *int, text string, n int) int {
		return *p + len(text) + n
	})
	original := probe.Original()
	if err := probe.Restore(); err != nil {
		t.Fatal(err)
	}
	var wrong, calls, pairs, seen int64
	work := func() {
		n := int(atomic.AddInt64(&calls, 1))
		value := n
		buffer := [16]byte{byte(n)}
		text := string(buffer[:n%8+1])
		want := n + len(text) + n
		if got := ignores(&value, text, n); got != want && got != n {
			atomic.AddInt64(&wrong, 1)
		}
		if original(&value, text, n) != n {
			atomic.AddInt64(&wrong, 1)
		}
	}
	var recorded patas.Calls
	load(t, work, func() {
		p := patas.Replace(ignores, func(p *int, text string, n int) int {
			return *p + len(text) + n
		}, patas.Record(&recorded),
			patas.When(func(p *int, text string, n int) bool {
				if *p != n || text[0] != byte(n) || grows(n%40) != n%40+1 ||
					*p != n || len(text) != n%8+1 || text[0] != byte(n) {
					atomic.AddInt64(&wrong, 1)
				}
				return n%3 != 0
			}))
		time.Sleep(time.Millisecond)
		if err := p.Restore(); err != nil {
			t.Error(err)
		}
		for i := 0; i < recorded.Len(); i++ {
			args := recorded.Args(i)
			n := args[2].(int)
			text := args[1].(string)
			if len(text) != n%8+1 || text[0] != byte(n) || n%3 == 0 ||
				*args[0].(*int) != n {
				atomic.AddInt64(&wrong, 1)
			}
			seen++
		}
		recorded.Reset()
		pairs++
	})
	t.Logf("%d pairs, %d calls, %d recorded", pairs, calls, seen)
	if wrong != 0 || pairs == 0 || seen == 0 {
		t.Fatalf("%d wrong of %d calls, %d recorded", wrong, calls, seen)
	}
}
