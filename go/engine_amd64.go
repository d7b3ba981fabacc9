// SPDX-License-Identifier: MIT

//go:build linux

package patas

import "unsafe"

// All three are in engine_amd64.s.

func enter(code uintptr, call unsafe.Pointer)

func original()

func originalPC() uintptr
