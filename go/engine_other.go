// SPDX-License-Identifier: MIT

//go:build !linux || (!amd64 && !386 && !arm64)

package patas

import "unsafe"

func enter(uintptr, unsafe.Pointer) {}

func codeWritten(uintptr, uintptr) {}

func originalPC() uintptr { return 0 }

func goroutine() uintptr { return 0 }

func insertPC(int) uintptr { return 0 }

func withTypePC() uintptr { return 0 }

func asksPC() uintptr { return 0 }

func callAsked(unsafe.Pointer, *argumentWords, places) bool { return false }

func onStack(unsafe.Pointer) bool { return false }
