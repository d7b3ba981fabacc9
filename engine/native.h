/* SPDX-License-Identifier: MIT */
/* ELF's structures in the class of this process: NATIVE(Sym) is Elf64_Sym. */
#ifndef PATAS_NATIVE_H
#define PATAS_NATIVE_H

#include <elf.h>
#include <stdint.h>

#if UINTPTR_MAX > UINT32_MAX
#define NATIVE(type) Elf64_##type
#define NATIVE_CLASS ELFCLASS64
#else
#define NATIVE(type) Elf32_##type
#define NATIVE_CLASS ELFCLASS32
#endif

#endif
