// SPDX-License-Identifier: MIT

//go:build linux

package patas_test

import (
	"bytes"
	"io"
	"math"
	"math/bits"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/patas-dev/patas/go"
)

// refused tries to replace target by itself: what is refused never gets so far
// as to find that out.
func refused[F any](t *testing.T, target F, want string) {
	t.Helper()
	p, err := patas.TryReplace(target, patas.Returns[F]())
	if err == nil {
		p.Restore()
	}
	wants(t, err, want)
	if n := len(patas.Live()); n != 0 {
		t.Errorf("%d patches are live after a refusal", n)
	}
}

func inlined(s string) string { return s + "!" }

var sink = inlined(os.Args[0])

//go:noinline
func loops(p *int) {
	//lint:ignore SA5002 its loop goes back to the entry
	for *p == 0 {
	}
}

//go:nosplit
//go:noinline
func nosplit(n int) int { return a() + n }

//go:noinline
func unused(n int) int { return n * 3 }

type outer struct{ account }

func TestRefusals(t *testing.T) {
	refused(t, math.Sqrt, "it is an intrinsic")
	refused(t, atomic.AddInt64, "it is an intrinsic")
	if runtime.GOARCH == "arm64" {
		refused(t, math.Round, "it is an intrinsic")
		refused(t, bits.Reverse32, "it is an intrinsic")
	}
	refused(t, runtime.GC, "belongs to the Go runtime")
	refused(t, syscall.RawSyscall, "belongs to the Go runtime")
	refused(t, io.Reader.Read, "a method of an interface has no body")
	refused(t, outer.show, "it is a wrapper that the compiler made")
	refused(t, (*account).show, "it is a wrapper that the compiler made")
	refused(t, nosplit, "it is go:nosplit")
	if !raceDetector && optimized() && runtime.GOARCH != "386" {
		// Else something is in front of the loop.
		refused(t, loops, "a loop goes back to its first")
	}
	refused(t, func() func() { return nil }(), "there is nothing to call")
	_, err := patas.TryReplace(7, 7)
	wants(t, err, "only functions can be")
	_, err = patas.TryReplace(a, a)
	wants(t, err, "the replacement is the function itself")
	_, err = patas.TryReplace(a, nil)
	wants(t, err, "the replacement is a nil function")
	_, err = patas.TryReplace((*account).add,
		func(*account, int) int { return 0 }, patas.OnlyReceiver(t))
	wants(t, err, "its first argument is no *testing.T")
	nosplit(1)
	one := 1
	loops(&one)
	runtime.KeepAlive(sink + inlined(sink))
}

// optimized tells builds with -N.
func optimized() bool {
	info, _ := debug.ReadBuildInfo()
	for _, setting := range info.Settings {
		if setting.Key == "-gcflags" && strings.Contains(setting.Value, "-N") {
			return false
		}
	}
	return true
}

func TestInlinedPlacesAreNamed(t *testing.T) {
	_, err := patas.TryReplace(inlined, func(string) string { return "" })
	if err == nil { // built with -l
		patas.RestoreAll()
		_, err = patas.TryReplace(strings.HasPrefix,
			func(string, string) bool { return true })
		patas.RestoreAll()
		if err != nil {
			t.Error(err)
		}
		return
	}
	wants(t, err, "inlined at refusals_test.go:")
	wants(t, err, "go test -gcflags=all=-l, or mark it //go:noinline")
	if _, err := patas.TryReplace(inlined, func(string) string { return "" },
		patas.EvenIfInlined()); err != nil {
		t.Error(err)
	}
	patas.RestoreAll()
}

func TestPerhapsInlinedAway(t *testing.T) {
	_, err := patas.TryReplace(unused, func(int) int { return 0 })
	defer patas.RestoreAll()
	if err == nil && !builtWithL() {
		t.Error("a small function that nobody calls was replaced")
	}
	if err != nil {
		wants(t, err, "it may have been inlined away")
	}
}

// builtWithL tells by a function that is inlined else.
func builtWithL() bool {
	p, err := patas.TryReplace(inlined, func(string) string { return "" })
	if err == nil {
		p.Restore()
	}
	return err == nil
}

// foreign does what gomonkey does, while nobody runs target.
func foreign(t *testing.T, target uintptr) func() {
	return overwrite(t, target,
		[]byte{0x48, 0xba, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0x22})
}

func overwrite(t *testing.T, target uintptr, by []byte) func() {
	code := unsafe.Slice(*(**byte)(unsafe.Pointer(&target)), len(by))
	page := target &^ 4095
	write := func(b []byte) {
		at := unsafe.Slice(*(**byte)(unsafe.Pointer(&page)), 8192)
		for _, prot := range []int{7, 5} {
			if err := syscall.Mprotect(at, prot); err != nil {
				t.Fatal(err)
			}
			if prot == 7 {
				copy(code, b)
			}
		}
	}
	old := append([]byte(nil), code...)
	write(by)
	return func() { write(old) }
}

//go:noinline
func patchedByOthers(n int) int { use([]byte{1}); return n }

func TestPatchedByAnotherLibrary(t *testing.T) {
	f := patchedByOthers
	undo := foreign(t, **(**uintptr)(unsafe.Pointer(&f)))
	_, err := patas.TryReplace(f, func(int) int { return 0 })
	undo()
	wants(t, err, "already patched by another library")
	patas.During(t, f, func(int) int { return 0 })
	if patchedByOthers(1) != 0 {
		t.Error("not replaced")
	}
}

func TestOverwrittenByAnotherLibraryMeanwhile(t *testing.T) {
	f := patchedByOthers
	p := patas.Replace(f, func(int) int { return 0 })
	undo := foreign(t, **(**uintptr)(unsafe.Pointer(&f)))
	err := p.Restore()
	undo()
	if err == nil {
		t.Error("restored on top of somebody else's patch")
	}
	if err := p.Restore(); err != nil {
		t.Error(err)
	}
	if patchedByOthers(1) != 1 {
		t.Error("not restored")
	}
}

func TestTheEnginesOwnSentenceIsWhole(t *testing.T) {
	if got := patas.SentenceOfNoPatch(); !strings.HasPrefix(got,
		"patch: stale: the patch was restored before") {
		t.Errorf("%q", got)
	}
}

// ---- what a patch must not disturb --------------------------------------------

// However full a goroutine's stack is, C code gets the room that it needs.
func TestEngineHasRoomOnTheStack(t *testing.T) {
	code := map[string]string{
		"amd64": "\x48\x89\x27\xc3",             // mov %rsp, (%rdi)
		"386":   "\x8b\x44\x24\x04\x89\x20\xc3", // of 4(%esp)
		// mov x1, sp; str x1, [x0]; ret
		"arm64": "\xe1\x03\x00\x91\x01\x00\x00\xf9\xc0\x03\x5f\xd6",
	}[runtime.GOARCH]
	page, err := syscall.Mmap(-1, 0, 4096, syscall.PROT_READ|
		syscall.PROT_WRITE, syscall.MAP_PRIVATE|syscall.MAP_ANON)
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Munmap(page)
	copy(page, code)
	err = syscall.Mprotect(page, syscall.PROT_READ|syscall.PROT_EXEC)
	if err != nil {
		t.Fatal(err)
	}
	least := ^uintptr(0)
	done := make(chan bool)
	go func() {
		defer close(done)
		var deeper func(n int)
		deeper = func(n int) {
			var room [512]byte
			use(room[:])
			if left := patas.RoomInEngine(&page[0]); left < least {
				least = left
			}
			if n > 0 {
				deeper(n - 1)
			}
		}
		deeper(300)
	}()
	<-done
	if least < 65000 {
		t.Errorf("%d bytes are left where C begins", least)
	}
}

func TestFaultInTheOriginalIsAPanic(t *testing.T) {
	p := patas.During(t, leaf, func(*int, int) int { return 0 })
	func() {
		defer func() {
			err, ok := recover().(runtime.Error)
			if !ok || !strings.Contains(err.Error(), "nil pointer") {
				t.Error(err)
			}
		}()
		p.Original()(nil, 1)
		t.Error("no panic")
	}()
}

func TestAfterFuncAndDefer(t *testing.T) {
	p := patas.During(t, touches, func() { t.Error("not the original") })
	ran := make(chan bool, 2)
	touched = func() { ran <- true }
	time.AfterFunc(0, p.Original())
	<-ran
	func() { defer p.Original()() }()
	<-ran
}

var touched = func() {}

//go:noinline
func touches() { touched() }

func TestTracebackNamesTheFunction(t *testing.T) {
	p := patas.WrapDuring(t, touches, func(o func()) func() {
		return func() { o() }
	})
	var stack []byte
	touched = func() {
		stack = make([]byte, 4096)
		stack = stack[:runtime.Stack(stack, false)]
	}
	touches()
	p.Original()()
	if !bytes.Contains(stack, []byte("go_test.touches(")) {
		t.Errorf("%s", stack)
	}
}

//go:noinline
func strange(n int) int { use([]byte{1}); return n }

func TestUnknownPrologue(t *testing.T) {
	f := strange
	entry := **(**uintptr)(unsafe.Pointer(&f))
	undo := overwrite(t, patas.WayBack(entry), []byte{0xc3})
	_, err := patas.TryReplace(f, func(int) int { return 0 })
	undo()
	wants(t, err, "its code has a form that is not known, at 0x")
	if strange(1) != 1 {
		t.Error(strange(1))
	}
}

type seldom struct{}

//go:noinline
func (*seldom) used() int { return a() }

//
//lint:ignore U1000 that is what it is for
//go:noinline
func (*seldom) never() int { return a() + 1 }

func TestDeadMethod(t *testing.T) {
	(&seldom{}).used()
	const name = "github.com/patas-dev/patas/go_test.(*seldom)."
	_, err := patas.TryByName[func(*seldom) int](name + "never")
	wants(t, err, "no function of that name is in this program; the linker "+
		"leaves out what nobody calls")
	if _, err := patas.TryByName[func(*seldom) int](name + "used"); err != nil {
		t.Error(err)
	}
}
