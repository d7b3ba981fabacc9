// SPDX-License-Identifier: MIT

//go:build race

package patas

const raceDetector = true
