// SPDX-License-Identifier: MIT

package patas

import (
	"context"
	"fmt"
	"runtime/pprof"
	"sync"
	"unsafe"
)

/*
A scope is a profiler label. The runtime hands a goroutine's labels to every
goroutine that it starts, so all that a test starts has the test's, and a thunk
tells them by one comparison. Where runtime.g has them is found out by trying:
the one word that follows what pprof.SetGoroutineLabels is told.
*/

var scopes struct {
	once   sync.Once
	offset uintptr // of the labels in runtime.g; 0 = not found
	mu     sync.Mutex
	ours   map[uintptr]context.Context // label sets that are scopes
}

func snapshot(g uintptr) (words [goroutineWords]uintptr) {
	for i := range words {
		words[i] = load(g + uintptr(i)*unsafe.Sizeof(g))
	}
	return words
}

// load reads a word of runtime.g, which is no object that this package has a
// pointer to.
func load(address uintptr) uintptr {
	return **(**uintptr)(unsafe.Pointer(&address))
}

func findLabels() {
	done := make(chan bool)
	go func() {
		defer close(done)
		one := pprof.WithLabels(context.Background(), pprof.Labels("patas", "1"))
		two := pprof.WithLabels(context.Background(), pprof.Labels("patas", "2"))
		g := goroutine()
		var seen [5][goroutineWords]uintptr
		for i, ctx := range []context.Context{context.Background(), one, two,
			one, context.Background()} {
			pprof.SetGoroutineLabels(ctx)
			seen[i] = snapshot(g)
		}
		found := 0
		for i := 1; i < goroutineWords; i++ {
			if seen[0][i] == 0 && seen[1][i] != 0 && seen[2][i] != 0 &&
				seen[1][i] != seen[2][i] && seen[1][i] == seen[3][i] &&
				seen[4][i] == 0 {
				found++
				scopes.offset = uintptr(i) * unsafe.Sizeof(g)
			}
		}
		if found != 1 {
			scopes.offset = 0
		}
	}()
	<-done
}

// scope is the running goroutine's: its own label set, made if need be.
func scope(name string) (offset, label uintptr, err error) {
	scopes.once.Do(func() {
		scopes.ours = map[uintptr]context.Context{}
		if goroutine() != 0 {
			findLabels()
		}
	})
	if scopes.offset == 0 {
		return 0, 0, refusal(name, "this release of Go keeps a goroutine's "+
			"labels where they are not found, so no scope can be made")
	}
	scopes.mu.Lock()
	defer scopes.mu.Unlock()
	at := goroutine() + scopes.offset
	label = load(at)
	if scopes.ours[label] != nil {
		return scopes.offset, label, nil
	}
	if label != 0 {
		return 0, 0, refusal(name, "this goroutine has profiler labels "+
			"already, and a scope is one")
	}
	ctx := pprof.WithLabels(context.Background(),
		pprof.Labels("patas", fmt.Sprint("scope ", len(scopes.ours)+1)))
	pprof.SetGoroutineLabels(ctx)
	label = load(at)
	scopes.ours[label] = ctx
	return scopes.offset, label, nil
}
