// SPDX-License-Identifier: MIT

//go:build linux

package patas

//lint:file-ignore U1000 their addresses are taken in assembly

import "unsafe"

// All of them are in engine_386.s.

func enter(code uintptr, call unsafe.Pointer)

// codeWritten has nothing to do: these processors see it by themselves.
func codeWritten(_, _ uintptr) {}

func original()

func originalPC() uintptr

func goroutine() uintptr

func inserts()

func insertsPC() uintptr

func drops()

func dropsPC() uintptr

func withType()

func withTypePC() uintptr

func asks()

func asksPC() uintptr

//go:noescape
func callAsked(value unsafe.Pointer, r *argumentWords, at places) bool

//go:noescape
func onStack(p unsafe.Pointer) bool
