// SPDX-License-Identifier: MIT

//go:build !race

package patas_test

const raceDetector = false
