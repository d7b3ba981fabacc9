// SPDX-License-Identifier: MIT

// Package blob holds the engine: the C sources of engine/ and golang/,
// compiled to one flat image that runs at any address, so that using patas
// from Go takes no C compiler.
package blob
