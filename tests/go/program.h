/* SPDX-License-Identifier: MIT */
/*
 * A Go program's file, of the class of this process, as the readers of function
 * tables want it.
 *
 * Every segment is a buffer of its own and of its exact size, so that the
 * address sanitizer sees each byte that is read too far.
 */
#ifndef PATAS_TESTS_GO_PROGRAM_H
#define PATAS_TESTS_GO_PROGRAM_H

#include "../../engine/image.h"
#include "../../engine/native.h"

#include <stdio.h>
#include <stdlib.h>

static uint8_t *program_at(struct patas__image *image, uint64_t address,
                           uint64_t size)
{
    return (uint8_t *)(uintptr_t)patas__image_bytes(image, address, size);
}

static void program_segment(struct patas__image *image, FILE *file,
                            const NATIVE(Phdr) * phdr)
{
    uint8_t *bytes = malloc(phdr->p_filesz);
    fseek(file, (long)phdr->p_offset, SEEK_SET);
    if (!bytes || image->segment_count == PATAS__SEGMENTS_MAX ||
        fread(bytes, 1, phdr->p_filesz, file) != phdr->p_filesz)
        exit(1);
    image->segments[image->segment_count++] = (struct patas__segment){
        .address = phdr->p_vaddr,
        .size = phdr->p_filesz,
        .bytes = bytes,
        .executable = phdr->p_flags & PF_X,
        .writable = phdr->p_flags & PF_W,
    };
}

#if UINTPTR_MAX > UINT32_MAX
static const struct patas__isa *program_isa(unsigned machine)
{
    return machine == EM_AARCH64 ? &patas__isa_aarch64 : &patas__isa_x86_64;
}

/* What the loader would do to a position-independent file at address 0. */
static void program_relocate(struct patas__image *image, const Elf64_Phdr *phdr)
{
    uint64_t rela = 0, size = 0;
    for (uint64_t at = 0; at + sizeof(Elf64_Dyn) <= phdr->p_filesz;
         at += sizeof(Elf64_Dyn)) {
        const uint8_t *dyn =
            program_at(image, phdr->p_vaddr + at, sizeof(Elf64_Dyn));
        if (!dyn)
            return;
        rela = patas__load64(dyn) == DT_RELA ? patas__load64(dyn + 8) : rela;
        size = patas__load64(dyn) == DT_RELASZ ? patas__load64(dyn + 8) : size;
    }
    for (uint64_t at = 0; at + sizeof(Elf64_Rela) <= size;
         at += sizeof(Elf64_Rela)) {
        const uint8_t *entry = program_at(image, rela + at, sizeof(Elf64_Rela));
        uint32_t kind = entry ? patas__load32(entry + 8) : 0;
        if (kind != R_X86_64_RELATIVE && kind != R_AARCH64_RELATIVE)
            continue;
        uint8_t *field = program_at(image, patas__load64(entry), 8);
        if (field)
            patas__store64(field, patas__load64(entry + 16));
    }
}
#else
static const struct patas__isa *program_isa(unsigned machine)
{
    (void)machine;
    return &patas__isa_i386;
}

/* None is position-independent. */
static void program_relocate(struct patas__image *image, const Elf32_Phdr *phdr)
{
    (void)image;
    (void)phdr;
}
#endif

/* Ends the program where there is no such file. */
static void program_read(const char *path, struct patas__image *image)
{
    NATIVE(Ehdr) header;
    NATIVE(Phdr) phdrs[32];
    FILE *file = fopen(path, "rb");
    if (!file || fread(&header, sizeof header, 1, file) != 1 ||
        header.e_ident[EI_CLASS] != NATIVE_CLASS || header.e_phnum > 32)
        exit(1);
    fseek(file, (long)header.e_phoff, SEEK_SET);
    if (fread(phdrs, sizeof *phdrs, header.e_phnum, file) != header.e_phnum)
        exit(1);
    image->isa = program_isa(header.e_machine);
    for (unsigned i = 0; i < header.e_phnum; i++)
        if (phdrs[i].p_type == PT_LOAD && phdrs[i].p_filesz)
            program_segment(image, file, &phdrs[i]);
    for (unsigned i = 0; i < header.e_phnum; i++)
        if (phdrs[i].p_type == PT_DYNAMIC)
            program_relocate(image, &phdrs[i]);
    fclose(file);
}

#endif
