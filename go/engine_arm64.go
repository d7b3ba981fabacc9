// SPDX-License-Identifier: MIT

//go:build linux

package patas

//lint:file-ignore U1000 their addresses are taken in assembly

import "unsafe"

// All of them are in engine_arm64.s.

func enter(code uintptr, call unsafe.Pointer)

func codeWritten(at, size uintptr)

func original()

func originalPC() uintptr

func goroutine() uintptr

func insertPC(n int) uintptr

func withType()

func withTypePC() uintptr

func asks()

func asksPC() uintptr

//go:noescape
func callAsked(value unsafe.Pointer, r *argumentWords, pointers places) bool

//go:noescape
func onStack(p unsafe.Pointer) bool

func insert0()

func insert1()

func insert2()

func insert3()

func insert4()

func insert5()

func insert6()

func insert7()

func insert8()

func insert9()

func insert10()

func insert11()

func insert12()

func insert13()

func insert14()

func insert15()
