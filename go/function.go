// SPDX-License-Identifier: MIT

package patas

import (
	"sync"
	"unsafe"
)

const flagAssembly = 4 // function.flag: the body is in assembly

// function is one entry of the program's own function table.
type function struct {
	entry, end uintptr
	name       string
	file       string
	flag       uint8
	args       int32 // bytes of arguments and results, spill space included
}

func functionOf(c *call) function {
	return function{
		entry: uintptr(c.out[0]),
		end:   uintptr(c.out[1]),
		name:  textAt(c.out[2], c.out[3]),
		flag:  uint8(c.out[4]),
		args:  int32(c.out[5]),
		file:  textAt(c.out[6], c.out[7]),
	}
}

func functionAt(pc uintptr) (function, bool) {
	c := ask(opFunc, uint64(pc))
	return functionOf(c), c.status == 0
}

// functionsNamed are those of that name: two where an assembly function has a
// wrapper, one else.
func functionsNamed(name string) []function {
	var all []function
	if name == "" {
		return nil
	}
	c := &call{op: opNamed}
	c.in[1] = uint64(len(name))
	c.point(0, 0, unsafe.Pointer(&[]byte(name)[0]))
	for {
		engine.mu.Lock()
		c.run()
		engine.mu.Unlock()
		if c.status != 0 {
			return all
		}
		all = append(all, functionOf(c))
	}
}

// place is where a call of a function was inlined.
type place struct {
	in   string
	file string
	line int
}

// inlinedAt lists the places, up to max of them, and counts all.
func inlinedAt(name string, max int) ([]place, int) {
	raw := make([][5]uint64, max)
	c := &call{op: opInlined}
	c.in[1], c.in[3] = uint64(len(name)), uint64(max)
	c.point(0, 0, unsafe.Pointer(&[]byte(name)[0]))
	c.point(2, 1, unsafe.Pointer(&raw[0]))
	engine.mu.Lock()
	c.run()
	engine.mu.Unlock()
	count := int(c.out[0])
	if count < max {
		raw = raw[:count]
	}
	places := make([]place, len(raw))
	for i, r := range raw {
		places[i] = place{textAt(r[0], r[1]), textAt(r[2], r[3]), int(r[4])}
	}
	return places, count
}

// What golang/prologue.h calls enum patas__go_shape.
const (
	shapeChecked = 0
	shapeLeaf    = 1
	shapeNosplit = 2
	shapeUnknown = 3
)

type shape struct {
	kind    int
	size    int // without padding
	calls   bool
	trouble uintptr
}

// shapes remembers them: the way back from a grown stack stays changed, and a
// function is not read any more then.
var shapes sync.Map // of the entry

func shapeAt(entry uintptr) shape {
	if known, ok := shapes.Load(entry); ok {
		return known.(shape)
	}
	c := ask(opShape, uint64(entry))
	s := shape{int(c.out[1]), int(c.out[2]), c.out[3] != 0, uintptr(c.out[0])}
	if c.status != 0 {
		s = shape{kind: shapeUnknown, trouble: entry}
	}
	shapes.Store(entry, s)
	return s
}

func calledDirectly(entry uintptr) bool {
	return ask(opCalled, uint64(entry)).out[0] != 0
}
