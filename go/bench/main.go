// SPDX-License-Identifier: MIT

// What patas and its peers do with the same functions, each case in a process
// of its own, so that a crash is a line of the table:
//
//	go run -gcflags=all=-l .
package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/agiledragon/gomonkey/v2"
	"github.com/bytedance/mockey"
	"github.com/patas-dev/patas/go"
)

// ---- targets ----------------------------------------------------------------

//go:noinline
func use(b []byte) { b[0] = 1 }

//go:noinline
func target(n int) int {
	var room [64]byte
	use(room[:])
	return n + int(room[0])
}

//go:noinline
func deep(n int) int {
	var room [512]byte
	use(room[:])
	if n == 0 {
		return 0
	}
	return deep(n-1) + int(room[0])
}

//go:noinline
func tiny() {}

//go:noinline
func behindTiny() int { return 1 }

// ---- libraries ----------------------------------------------------------------

type function = func(int) int

// library replaces; undo restores, and original is nil where there is none.
type library struct {
	name    string
	replace func(f, by function) (undo func(), original function)
	tiny    func(by func()) (undo func())
}

var libraries = []library{
	{"patas",
		func(f, by function) (func(), function) {
			p := patas.Replace(f, by)
			return func() { p.Restore() }, p.Original()
		},
		func(by func()) func() {
			p := patas.Replace(tiny, by, patas.EvenIfInlined())
			return func() { p.Restore() }
		}},
	{"gomonkey",
		func(f, by function) (func(), function) {
			return gomonkey.ApplyFunc(f, by).Reset, nil
		},
		func(by func()) func() { return gomonkey.ApplyFunc(tiny, by).Reset }},
	{"mockey",
		func(f, by function) (func(), function) {
			var original function
			m := mockey.Mock(f).To(by).Origin(&original).Build()
			return func() { m.UnPatch() }, original
		},
		func(by func()) func() {
			m := mockey.Mock(tiny).To(by).Build()
			return func() { m.UnPatch() }
		}},
}

// ---- cases ----------------------------------------------------------------------

type scenario struct {
	name string
	run  func(l library) string
}

func nanoseconds(f function) string {
	calls, sum := 0, 0
	begin := time.Now()
	for time.Since(begin) < 300*time.Millisecond {
		for i := 0; i < 10000; i++ {
			sum += f(i & 7)
		}
		calls += 10000
	}
	runtime.KeepAlive(sum)
	return fmt.Sprintf("%.1f ns",
		float64(time.Since(begin).Nanoseconds())/float64(calls))
}

var scenarios = []scenario{
	{"a call of what is replaced", func(l library) string {
		l.replace(target, func(n int) int { return n })
		return nanoseconds(target)
	}},
	{"a call through the original, outside of the hook", func(l library) string {
		_, original := l.replace(target, func(n int) int { return n })
		if original == nil {
			return "there is none"
		}
		return nanoseconds(original)
	}},
	{"replace and restore", func(l library) string {
		const pairs = 2000
		begin := time.Now()
		for i := 0; i < pairs; i++ {
			undo, _ := l.replace(target, func(n int) int { return n })
			undo()
		}
		return fmt.Sprintf("%.1f us", float64(time.Since(begin).Microseconds())/
			pairs)
	}},
	{"calls during replace and restore, 2 s, GC", underLoad},
	{"original with a stack that grows", func(l library) string {
		count := 0
		var original function
		_, original = l.replace(deep, func(n int) int {
			count++
			return original(n)
		})
		if original == nil {
			return "there is no original"
		}
		result := make(chan int)
		go func() { result <- deep(3000) }()
		got := <-result
		if got != 3000 || count != 3001 {
			return fmt.Sprintf("WRONG: %d calls of the hook, not 3001", count)
		}
		return "right"
	}},
	{"two patches, the older reset first", func(l library) string {
		one, _ := l.replace(target, func(int) int { return 10 })
		two, _ := l.replace(target, func(int) int { return 20 })
		one()
		two()
		if got := target(1); got != 2 {
			return fmt.Sprintf("WRONG: still replaced, %d", got)
		}
		return "right"
	}},
	{"a function of one byte", func(l library) string {
		undo := l.tiny(func() {})
		tiny()
		if behindTiny() != 1 {
			return "WRONG: the function behind it was overwritten"
		}
		undo()
		return "right"
	}},
}

func underLoad(l library) string {
	var wrong, calls, pairs int64
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
			for n := 0; n < 1000; n++ {
				if got := target(n); got != n+1 && got != n+1000 {
					atomic.AddInt64(&wrong, 1)
				}
			}
			atomic.AddInt64(&calls, 1000)
		})
	}
	spawn(runtime.GC)
	for end := time.Now().Add(2 * time.Second); time.Now().Before(end); pairs++ {
		undo, _ := l.replace(target, func(n int) int { return n + 1000 })
		undo()
	}
	atomic.StoreInt32(&stop, 1)
	all.Wait()
	if wrong != 0 {
		return fmt.Sprintf("WRONG: %d of %d calls", wrong, calls)
	}
	return fmt.Sprintf("right, %d pairs", pairs)
}

// ---- the table --------------------------------------------------------------------

func crash(output []byte) string {
	for _, line := range strings.Split(string(output), "\n") {
		for _, sign := range []string{"fatal error:", "SIGSEGV", "SIGILL",
			"unexpected signal", "panic:", "SIGTRAP"} {
			if strings.Contains(line, sign) {
				if len(line) > 60 {
					line = line[:60]
				}
				return "CRASH: " + line
			}
		}
	}
	return "CRASH"
}

func child(l library, s scenario) string {
	command := exec.Command("/proc/self/exe", l.name, s.name)
	command.Env = append(os.Environ(), "MOCKEY_CHECK_GCFLAGS=false")
	var output bytes.Buffer
	command.Stdout, command.Stderr = &output, &output
	if err := command.Start(); err != nil {
		return err.Error()
	}
	timer := time.AfterFunc(time.Minute, func() { command.Process.Kill() })
	err := command.Wait()
	if !timer.Stop() {
		return "HANGS"
	}
	if err != nil {
		return crash(output.Bytes())
	}
	lines := strings.Split(strings.TrimSpace(output.String()), "\n")
	return lines[len(lines)-1]
}

func main() {
	if len(os.Args) == 3 {
		for _, l := range libraries {
			for _, s := range scenarios {
				if l.name == os.Args[1] && s.name == os.Args[2] {
					fmt.Println(s.run(l))
				}
			}
		}
		return
	}
	for _, s := range scenarios {
		fmt.Println(s.name)
		for _, l := range libraries {
			fmt.Printf("    %-10s %s\n", l.name, child(l, s))
		}
	}
}
