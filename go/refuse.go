// SPDX-License-Identifier: MIT

package patas

import (
	"bytes"
	"debug/elf"
	"fmt"
	"os"
	"reflect"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"unsafe"
)

// Error says why a function can't be replaced. Nothing was changed.
type Error struct {
	Name   string // of the function
	Reason string // the rest of the sentence
}

func (e *Error) Error() string {
	return "cannot replace " + e.Name + ": " + e.Reason
}

func refusal(name, format string, args ...any) error {
	return &Error{name, fmt.Sprintf(format, args...)}
}

// The runtime, and what it and the compiler call where no other function may
// run: on system stacks, with locks held, without a goroutine.
var untouchable = []string{
	"runtime.", "runtime/internal/", "internal/runtime/", "internal/abi.",
	"internal/bytealg.", "internal/cpu.", "internal/race.", "internal/msan.",
	"internal/asan.", "internal/reflectlite.", "internal/goarch.",
	"internal/goexperiment.", "internal/chacha8rand.", "internal/stringslite.",
	"internal/unsafeheader.", "type:", "type..", "go:", "runtime/cgo.",
	"gosave_systemstack", "_",
	"reflect.makeFuncStub", "reflect.methodValueCall", "reflect.callMethod",
	"reflect.callReflect", "reflect.moveMakeFuncArgPtrs", "reflect.call",
	"syscall.RawSyscall", "syscall.rawSyscall", "syscall.Syscall",
	"syscall.syscall", "syscall.rawVforkSyscall", "syscall.runtime_",
	"syscall.forkAndExecInChild", "syscall.forkExec", "os/signal.signal_",
	"github.com/patas-dev/patas/go.",
}

// Calls of these compile to instructions on amd64 or, most of them, on arm64,
// wherever they are made.
var intrinsics = map[string]bool{
	"math.Sqrt": true, "math.sqrt": true, "math.Floor": true, "math.Ceil": true,
	"math.Trunc": true, "math.RoundToEven": true, "math.Abs": true,
	"math.Copysign": true, "math.FMA": true,
	"math/bits.TrailingZeros64": true, "math/bits.TrailingZeros32": true,
	"math/bits.TrailingZeros16": true, "math/bits.TrailingZeros8": true,
	"math/bits.TrailingZeros": true, "math/bits.ReverseBytes64": true,
	"math/bits.ReverseBytes32": true, "math/bits.ReverseBytes16": true,
	"math/bits.ReverseBytes": true, "math/bits.Len64": true,
	"math/bits.Len32": true, "math/bits.Len16": true, "math/bits.Len8": true,
	"math/bits.Len": true, "math/bits.OnesCount64": true,
	"math/bits.OnesCount32": true, "math/bits.OnesCount16": true,
	"math/bits.OnesCount8": true, "math/bits.OnesCount": true,
	"math/bits.RotateLeft": true, "math/bits.RotateLeft8": true,
	"math/bits.RotateLeft16": true, "math/bits.RotateLeft32": true,
	"math/bits.RotateLeft64": true, "math/bits.Add64": true,
	"math/bits.Add": true, "math/bits.Sub64": true, "math/bits.Sub": true,
	"math/bits.Mul64": true, "math/bits.Mul": true, "math/bits.Div64": true,
	"math/bits.Div": true, "runtime.KeepAlive": true,
}

func isIntrinsic(name string) bool {
	if intrinsics[name] || runtime.GOARCH == "arm64" && (name == "math.Round" ||
		strings.HasPrefix(name, "math/bits.Reverse")) {
		return true
	}
	rest := strings.TrimPrefix(name, "sync/atomic.")
	if rest == name || strings.HasPrefix(rest, "(*") {
		return false
	}
	for _, verb := range []string{
		"Add", "Load", "Store", "Swap", "CompareAndSwap", "And", "Or"} {
		if strings.HasPrefix(rest, verb) {
			return true
		}
	}
	return false
}

func isUntouchable(name string) bool {
	for _, prefix := range untouchable {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return false
}

// checkName refuses what no patch of a body can reach, whoever calls it.
func checkName(f function) error {
	switch {
	case isIntrinsic(f.name):
		return refusal(f.name, "it is an intrinsic: the compiler puts "+
			"instructions where it is called, so no call would be changed")
	case isUntouchable(f.name):
		return refusal(f.name, "it belongs to the Go runtime or to what runs "+
			"below it, where no other Go function may run")
	}
	return nil
}

// closureIn tells a function literal inside of a generic function.
func closureIn(name string) bool {
	end := strings.LastIndex(name, "]")
	return strings.HasPrefix(name[end+1:], ".func")
}

func checkWrapper(f function, kind reflect.Type) error {
	if kind != nil && kind.NumIn() > 0 &&
		kind.In(0).Kind() == reflect.Interface &&
		strings.Contains(f.name, ".") {
		return refusal(f.name, "a method of an interface has no body; replace "+
			"the method of a type that implements it, or all of them by "+
			"patas.ReplaceImplementers")
	}
	// Go code calls an assembly function by a wrapper, which a patch reaches.
	for _, body := range functionsNamed(f.name) {
		if body.flag&flagAssembly != 0 {
			return nil
		}
	}
	return refusal(f.name, "it is a wrapper that the compiler made, and only "+
		"calls through an interface use it; give the method where it is "+
		"declared: T.M where the receiver is a value, Inner.M where it is "+
		"promoted from an embedded field")
}

// ---- inlining ---------------------------------------------------------------

const adviceInlined = "run go test -gcflags=all=-l, or mark it //go:noinline"

// inlining remembers what checkInlined said: it looks at the whole program.
var inlining sync.Map // of the entry; an error, or nil as a plain struct

func checkedInlined(f function) error {
	if known, ok := inlining.Load(f.entry); ok {
		err, _ := known.(error)
		return err
	}
	err := checkInlined(f, shapeAt(f.entry))
	if err == nil {
		inlining.Store(f.entry, struct{}{})
	} else {
		inlining.Store(f.entry, err)
	}
	return err
}

func checkInlined(f function, s shape) error {
	places, count := inlinedAt(f.name, 8)
	if count > 0 {
		return refusal(f.name, "inlined at %s; %s", listed(places, count),
			adviceInlined)
	}
	const small = 64 // bytes; what folds away entirely is smaller
	if (s.kind == shapeLeaf || s.kind == shapeChecked) && !s.calls &&
		s.size <= small && !builtWithoutInlining() && !calledDirectly(f.entry) {
		return refusal(f.name, "it may have been inlined away: it is small, "+
			"and no direct call of it is left in this program; %s, or say "+
			"patas.EvenIfInlined", adviceInlined)
	}
	return nil
}

func listed(places []place, count int) string {
	var texts []string
	seen := map[string]bool{}
	for _, p := range places {
		text := fmt.Sprintf("%s:%d", p.file[strings.LastIndex(p.file, "/")+1:],
			p.line)
		if !seen[text] && len(texts) < 3 {
			seen[text] = true
			texts = append(texts, text)
		}
	}
	text := strings.Join(texts, ", ")
	if count > len(texts) {
		text += fmt.Sprintf(" (+%d)", count-len(texts))
	}
	return text
}

// ownName is this package's, in function names.
const ownName = "github.com/patas-dev/patas/go"

// inlinable is inlined in inlines, where any function of this package is.
func inlinable(n int) int { return n%7 + 1 }

//go:noinline
func inlines(n int) int { return inlinable(n) }

var buildOnce sync.Once
var buildWithoutInlining bool

// builtWithoutInlining reads -gcflags from what the go command left in the
// program. `all=-l` is the only form that covers every package.
func builtWithoutInlining() bool {
	buildOnce.Do(func() {
		info, ok := debug.ReadBuildInfo()
		if !ok {
			return
		}
		for _, setting := range info.Settings {
			if setting.Key != "-gcflags" {
				continue
			}
			// Of several, the go command tells the last one only. Where that
			// is not about us, look at what became of this package.
			if setting.Value == "runtime=" {
				most := inlines(len(info.Settings))
				_, count := inlinedAt(ownName+".inlinable", most)
				buildWithoutInlining = count == 0
			}
			flags := strings.TrimPrefix(setting.Value, "all=")
			if flags == setting.Value {
				continue
			}
			for _, flag := range strings.Fields(flags) {
				buildWithoutInlining = buildWithoutInlining || flag == "-l"
			}
		}
	})
	return buildWithoutInlining
}

// ---- code that somebody else changed -------------------------------------------

var image struct {
	once sync.Once
	file *os.File
	segs []*elf.Prog
}

// onDisk reads what the program's file holds where the segment of `at` begins
// at `bias` + its address.
func onDisk(at uintptr, size int) []byte {
	image.once.Do(func() {
		file, err := os.Open("/proc/self/exe")
		if err != nil {
			return
		}
		parsed, err := elf.NewFile(file)
		if err != nil {
			file.Close()
			return
		}
		image.file = file
		for _, p := range parsed.Progs {
			if p.Type == elf.PT_LOAD && p.Flags&elf.PF_X != 0 {
				image.segs = append(image.segs, p)
			}
		}
	})
	if image.file == nil {
		return nil
	}
	address := uint64(at) - engine.bias
	for _, p := range image.segs {
		if address >= p.Vaddr && address+uint64(size) <= p.Vaddr+p.Filesz {
			b := make([]byte, size)
			if _, err := p.ReadAt(b, int64(address-p.Vaddr)); err != nil {
				return nil
			}
			return b
		}
	}
	return nil
}

// checkUntouched is checkForeign of a function that no patch is in.
func checkUntouched(f function) error {
	book.mu.Lock()
	defer book.mu.Unlock()
	if at := book.spots[f.entry]; at != nil && at.live > 0 {
		return nil
	}
	return checkForeign(f)
}

// checkForeign refuses a function whose first bytes are not those of the file:
// gomonkey and its kin leave no other trace.
func checkForeign(f function) error {
	size := int(f.end - f.entry)
	if size > 8 { // behind them the block that grows the stack may begin
		size = 8
	}
	want := onDisk(f.entry, size)
	entry := f.entry
	have := unsafe.Slice(*(**byte)(unsafe.Pointer(&entry)), size)
	if want != nil && !bytes.Equal(want, have) {
		return refusal(f.name, "its code differs from the program's file: "+
			"already patched by another library, or a debugger's breakpoint "+
			"is there")
	}
	return nil
}

// ---- the engine's own ------------------------------------------------------------

func engineRefusal(name string, c *call) error {
	switch c.refusal {
	case refusedNoFunction:
		return refusal(name, "no function of this program begins there")
	case refusedNotRead:
		return refusal(name, "its code has a form that is not known, at %#x",
			c.out[0])
	case refusedNosplit:
		return refusal(name, "it is go:nosplit: it may run where the stack "+
			"can't grow, and a replacement would have to grow it")
	case refusedLoops:
		return refusal(name, "a loop goes back to its first instructions")
	case refusedMayFault:
		return refusal(name, "one of its first instructions may fault where "+
			"the runtime could not unwind from")
	case refusedAssembly:
		return refusal(name, "it is written in assembly")
	}
	return refusal(name, "%s", strings.TrimPrefix(c.sentence(), "patas: "))
}
