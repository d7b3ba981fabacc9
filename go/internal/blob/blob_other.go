// SPDX-License-Identifier: MIT

//go:build !linux || (!amd64 && !386 && !arm64)

package blob

// Engine is empty: there is none for this machine.
var Engine []byte
