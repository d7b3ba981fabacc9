// SPDX-License-Identifier: MIT

//go:build linux

package blob

import _ "embed" // the engine's image

// Engine is the engine's C code for this machine. scripts/go-blob makes it.
//
//go:embed engine_arm64.bin
var Engine []byte
