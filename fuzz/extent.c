/* SPDX-License-Identifier: MIT */
/*
 * Any bytes at all as a module: reading it, finding functions, stubs and
 * branches in it ends, stays inside the segments, and answers in bounds.
 *
 *     byte 0     what to make of the rest: the bits below
 *     byte 1     eight bytes of code each
 *     byte 2     eight bytes of data each
 *     code       at 0x100
 *     data       at 0x2000
 *     tables     at 0x1000, the rest: PT_DYNAMIC, 128 bytes; PT_GNU_EH_FRAME,
 *                32 bytes; PT_NOTE, 32 bytes; whatever these point to
 *
 * Each segment is an allocation of exactly its size, for the sanitizer.
 */
#include "target.h"

#include <elf.h>
#include <stdlib.h>

enum {
    IS_32 = 1,       /* ELF32, i386 */
    RAW_HEADERS = 2, /* the program headers are the first bytes of the data */
    BIASED = 4,      /* the file's addresses are 0x80 lower */
    NEAR_TOP = 8,    /* everything at the end of the address space */
    CODE = 0x100,
    TABLES = 0x1000,
    DATA = 0x2000
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool truth)
{
    if (!truth)
        __builtin_trap();
}

static void add_segment(struct patas__image *image, uint64_t address,
                        const uint8_t *bytes, size_t size, bool executable)
{
    uint8_t *copy = malloc(size ? size : 1);

    require(copy != NULL);
    __builtin_memcpy(copy, bytes, size);
    image->segments[image->segment_count++] =
        (struct patas__segment){.address = address,
                                .size = size,
                                .bytes = copy,
                                .executable = executable,
                                .writable = address % 0x10000 == DATA};
}

static void read_headers(struct patas__image *image, uint64_t base,
                         const uint8_t *raw, size_t size, unsigned flags)
{
    Elf64_Phdr wide[3] = {
        {.p_type = PT_DYNAMIC, .p_vaddr = base + TABLES, .p_memsz = 128},
        {.p_type = PT_GNU_EH_FRAME,
         .p_vaddr = base + TABLES + 128,
         .p_memsz = 32},
        {.p_type = PT_NOTE, .p_vaddr = base + TABLES + 160, .p_memsz = 32}};
    Elf32_Phdr narrow[3];

    for (unsigned i = 0; i < 3; i++) {
        wide[i].p_vaddr -= image->bias;
        narrow[i] = (Elf32_Phdr){.p_type = wide[i].p_type,
                                 .p_vaddr = (Elf32_Addr)wide[i].p_vaddr,
                                 .p_memsz = (Elf32_Word)wide[i].p_memsz};
    }
    if (flags & RAW_HEADERS)
        patas__image_read(
            image, raw,
            size / (flags & IS_32 ? sizeof(Elf32_Phdr) : sizeof(Elf64_Phdr)));
    else if (flags & IS_32)
        patas__image_read(image, (const uint8_t *)narrow, 3);
    else
        patas__image_read(image, (const uint8_t *)wide, 3);
}

static void ask_about(const struct patas__image *image, uint64_t address)
{
    const struct patas__segment *code = &image->segments[0];
    struct patas__extent extent;
    const char *name;
    uint64_t next;

    if (patas__extent_find(image, address, &extent)) {
        uint64_t offset = extent.start - code->address;
        require(offset < code->size);
        require(extent.size <= code->size - offset);
        require(address - extent.start < extent.size);
        require(extent.padding <= 64 &&
                extent.padding <= code->size - offset - extent.size);
    }
    (void)patas__target_step(image, address, true, &next, &name);
    if (name)
        (void)patas__image_name(image, (uint32_t)name[0]);
    (void)patas__target_ifunc(&image, 1, address);
}

static void ask_for_branches(const struct patas__image *image)
{
    const struct patas__segment *code = &image->segments[0];
    size_t size = patas__branches_map_size(image);

    struct patas__search search = {
        .image = image, .address = code->address + code->size / 2, .size = 32};
    (void)patas__branches_search(&search);
    if (!size || size > 1 << 20)
        return;
    uint8_t *bits = calloc(2, size);
    require(bits != NULL);
    patas__branches_map(image, bits, bits + size);
    free(bits);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 3)
        return 0;
    unsigned flags = data[0];
    size_t rest = size - 3;
    size_t code = data[1] * 8u < rest ? data[1] * 8u : rest;
    size_t words = data[2] * 8u < rest - code ? data[2] * 8u : rest - code;
    const uint8_t *raw = data + 3 + code;
    uint64_t base = flags & NEAR_TOP ? UINT64_MAX - 0xffff : 0;
    struct patas__image image = {.isa = flags & IS_32 ? &patas__isa_i386
                                                      : &patas__isa_x86_64,
                                 .bias = flags & BIASED ? 0x80 : 0};

    add_segment(&image, base + CODE, data + 3, code, true);
    add_segment(&image, base + DATA, raw, words, false);
    add_segment(&image, base + TABLES, raw + words, rest - code - words, false);
    read_headers(&image, base, raw, words, flags);
    for (size_t at = 0; at <= code; at += 1 + at / 64)
        ask_about(&image, base + CODE + at);
    ask_for_branches(&image);
    for (unsigned i = 0; i < image.segment_count; i++)
        free((void *)(uintptr_t)image.segments[i].bytes);
    return 0;
}
