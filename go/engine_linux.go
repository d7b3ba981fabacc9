// SPDX-License-Identifier: MIT

package patas

import (
	"encoding/binary"
	"errors"
	"syscall"
	"unsafe"

	"github.com/patas-dev/patas/go/internal/blob"
)

// header is what golang/blob.ld puts in front.
type header struct {
	magic, version, enter, data, file, memory, rela, relaSize uint32
}

func mapEngine() (uintptr, error) {
	image := blob.Engine
	if len(image) < 32 {
		return 0, errors.New("patas: there is no engine for this machine yet" +
			" (linux/amd64 only)")
	}
	word := func(i int) uint32 { return binary.LittleEndian.Uint32(image[4*i:]) }
	h := header{word(0), word(1), word(2), word(3), word(4), word(5), word(6),
		word(7)}
	if h.magic != 0x61746170 || h.version != 1 || int(h.file) != len(image) ||
		h.memory < h.file || h.rela+h.relaSize > h.file {
		return 0, errors.New("patas: the engine's image is damaged")
	}
	memory, err := syscall.Mmap(-1, 0, int(h.memory),
		syscall.PROT_READ|syscall.PROT_WRITE,
		syscall.MAP_PRIVATE|syscall.MAP_ANON)
	if err != nil {
		return 0, errors.New("patas: no memory for the engine: " + err.Error())
	}
	copy(memory, image)
	base := uintptr(unsafe.Pointer(&memory[0]))
	for at := h.rela; at < h.rela+h.relaSize; at += 24 { // Elf64_Rela
		offset := binary.LittleEndian.Uint64(image[at:])
		addend := binary.LittleEndian.Uint64(image[at+16:])
		binary.LittleEndian.PutUint64(memory[offset:], uint64(base)+addend)
	}
	err = syscall.Mprotect(memory[:h.data], syscall.PROT_READ|syscall.PROT_EXEC)
	if err != nil {
		return 0, errors.New("patas: this process may not map code: " +
			err.Error())
	}
	return base + uintptr(h.enter), nil
}
