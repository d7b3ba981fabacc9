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
			" (linux/amd64, linux/386 and linux/arm64 only)")
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
	relocate(memory, h.rela, h.relaSize, base)
	err = syscall.Mprotect(memory[:h.data], syscall.PROT_READ|syscall.PROT_EXEC)
	if err != nil {
		return 0, errors.New("patas: this process may not map code: " +
			err.Error())
	}
	codeWritten(base, uintptr(h.data))
	return base + uintptr(h.enter), nil
}

// relocate adds the base address, which is all that relocations of the image
// ask for: each is an Elf64_Rela or an Elf32_Rel.
func relocate(memory []byte, at, size uint32, base uintptr) {
	order := binary.LittleEndian
	for end := at + size; at < end; {
		if wordSize == 8 {
			to, addend := order.Uint64(memory[at:]), order.Uint64(memory[at+16:])
			order.PutUint64(memory[to:], uint64(base)+addend)
			at += 24
			continue
		}
		word := memory[order.Uint32(memory[at:]):]
		order.PutUint32(word, uint32(base)+order.Uint32(word))
		at += 8
	}
}
