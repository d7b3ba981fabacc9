// SPDX-License-Identifier: MIT

package patas

import (
	"errors"
	"sync"
	"unsafe"
)

// What golang/blob.h calls enum patas__go_op.
const (
	opStart   = 1
	opFunc    = 2
	opNamed   = 3
	opInlined = 4
	opCalled  = 5
	opShape   = 6
	opReplace = 7
	opSuspend = 8
	opResume  = 9
	opRestore = 10
	opStats   = 11
	opGeneric = 12
	opTypes   = 13
)

// What golang/thunk.h calls enum patas__go_kind.
const (
	kindKey       = 1
	kindGoroutine = 2
	kindDrop      = 4
	kindRange     = 8
	kindStep      = 16
	kindChance    = 32
	kindTimes     = 64
	kindPass      = 128
	kindWhen      = 1 << 26
	kindRecord    = 1 << 27
	kindKeyHigh   = 1 << 28
)

// What golang/thunk.h calls enum patas__go_field.
const (
	fieldLabel = iota
	fieldKey
	fieldWhen
	fieldCalls
	fieldFirst
	fieldSpan
	fieldInverse
	fieldLimit
	fieldDraws
	fieldMix1
	fieldMix2
	fieldThreshold
	fieldReached
	fieldTimes
	fieldRecord
	fieldValue
	fieldNext
	fields
)

// What golang/blob.h calls enum patas__go_refusal.
const (
	refusedNoTable    = 1
	refusedNoFunction = 2
	refusedNotRead    = 3
	refusedNosplit    = 4
	refusedLoops      = 5
	refusedMayFault   = 7
	refusedAssembly   = 8
)

// call is struct patas__go_call. It must not lie on a stack that moves while
// the engine writes to it; enter's argument escapes, so it never does.
type call struct {
	op, status, refusal uint64
	in                  [8]uint64
	out                 [8]uint64
	err                 struct {
		status, errno   int32
		target, address uintptr
		thread          int32
		reason          uint32
	}
	text [512]byte

	// Behind what the engine knows: what in points to. It has to be on the
	// heap, since entering the engine may move this stack.
	hold [3]unsafe.Pointer
}

// point makes in[i] the address of memory that hold[k] keeps.
func (c *call) point(i, k int, memory unsafe.Pointer) {
	c.hold[k] = memory
	c.in[i] = uint64(uintptr(memory))
}

// sentence is the engine's own text of a failure.
func (c *call) sentence() string {
	for i, b := range c.text {
		if b == 0 {
			return string(c.text[:i])
		}
	}
	return string(c.text[:])
}

// engine is the blob, mapped, and the lock that it is called under.
var engine struct {
	once   sync.Once
	mu     sync.Mutex
	code   uintptr // patas__go_enter
	layout uint64
	bias   uint64 // of the program, where it is position-independent
	err    error
}

func startEngine() {
	code, err := mapEngine()
	if err != nil {
		engine.err = err
		return
	}
	c := &call{op: opStart}
	enter(code, unsafe.Pointer(c))
	if c.status != 0 {
		engine.err = errors.New("patas: no function table of Go 1.18 to 1.26" +
			" was found in this program")
		return
	}
	engine.layout, engine.bias = c.out[0], c.out[3]
	engine.code = code
}

// ready maps the engine once.
func ready() error {
	engine.once.Do(startEngine)
	return engine.err
}

// run carries c out. The lock is held by the caller, and c is its own.
func (c *call) run() *call {
	enter(engine.code, unsafe.Pointer(c))
	return c
}

func ask(op uint64, in ...uint64) *call {
	c := &call{op: op}
	copy(c.in[:], in)
	engine.mu.Lock()
	defer engine.mu.Unlock()
	return c.run()
}

// textAt is a text in the program's own read-only data.
func textAt(address, size uint64) string {
	if address == 0 || size == 0 {
		return ""
	}
	return string(unsafe.Slice(*(**byte)(unsafe.Pointer(&address)), int(size)))
}
