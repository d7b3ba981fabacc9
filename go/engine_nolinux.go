// SPDX-License-Identifier: MIT

//go:build !linux

package patas

import "errors"

func mapEngine() (uintptr, error) {
	return 0, errors.New("patas: there is no engine for this system yet" +
		" (linux/amd64, linux/386 and linux/arm64 only)")
}
