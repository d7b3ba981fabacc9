/* SPDX-License-Identifier: MIT */
/*
 *     tables + 0      .eh_frame_hdr: header, search table
 *            + 0x400  .eh_frame: one CIE, descriptions
 *            + 0x800  program headers, then (0x900) PT_DYNAMIC
 *            + 0xa00  DT_HASH (only the number of symbols in it is read)
 *            + 0xb00  relocations
 *            + 0x1000 symbols
 *            + 0x1800 strings
 */
#define _GNU_SOURCE
#include "image_maker.h"

#include <elf.h>
#include <string.h>

enum {
    FRAME = 0x400,
    PHDRS = 0x800,
    DYNAMIC = 0x900,
    HASH = 0xa00,
    RELOCS = 0xb00,
    SYMBOLS = 0x1000,
    STRINGS = 0x1800,
    FDE_SIZE = 20
};

/* "zR", addresses as pcrel sdata4. */
static const uint8_t cie[24] = {
    20,   0,    0, 0, /* length */
    0,    0,    0, 0, /* a CIE */
    1,                /* version */
    'z',  'R',  0,    /* augmentation */
    1,                /* code alignment */
    0x78,             /* data alignment: -8 */
    16,               /* return address */
    1,    0x1b,       /* augmentation: pcrel sdata4 */
};

static bool is_wide(const struct image_maker *maker)
{
    return maker->image.isa->pointer_size == 8;
}

static void put32(struct image_maker *maker, unsigned offset, uint64_t value)
{
    patas__store32(maker->tables + offset, (uint32_t)value);
}

/* A word of the image's width. */
static void put_word(struct image_maker *maker, unsigned offset, uint64_t value)
{
    if (is_wide(maker))
        patas__store64(maker->tables + offset, value);
    else
        put32(maker, offset, value);
}

void maker_begin(struct image_maker *maker, const struct patas__isa *isa)
{
    memset(maker, 0, sizeof *maker);
    memset(maker->code, 0xcc, sizeof maker->code);
    maker->image = (struct patas__image){
        .segments = {{MAKER_CODE, sizeof maker->code, maker->code, true, false},
                     {MAKER_TABLES, sizeof maker->tables, maker->tables, false,
                      false},
                     {MAKER_DATA, sizeof maker->data, maker->data, false,
                      true}},
        .segment_count = 3,
        .bias = MAKER_BIAS,
        .isa = isa,
    };
    memcpy(maker->tables + FRAME, cie, sizeof cie);
    maker->symbols = 1; /* entry 0 is no symbol */
    maker->names = 1;
}

void maker_code(struct image_maker *maker, unsigned offset, const void *bytes,
                size_t size)
{
    memcpy(maker->code + offset, bytes, size);
}

void maker_pointer(struct image_maker *maker, unsigned offset, uint64_t value)
{
    if (is_wide(maker))
        patas__store64(maker->data + offset, value);
    else
        patas__store32(maker->data + offset, (uint32_t)value);
}

void maker_frame(struct image_maker *maker, unsigned offset, unsigned size)
{
    unsigned fde = FRAME + (unsigned)sizeof cie + maker->frames * FDE_SIZE;
    unsigned entry = 12 + maker->frames * 8;

    put32(maker, fde, FDE_SIZE - 4);
    put32(maker, fde + 4, fde + 4 - FRAME);
    put32(maker, fde + 8,
          (uint64_t)MAKER_CODE + offset - (MAKER_TABLES + fde + 8));
    put32(maker, fde + 12, size);
    put32(maker, entry, (uint64_t)MAKER_CODE + offset - MAKER_TABLES);
    put32(maker, entry + 4, fde);
    maker->frames++;
}

uint32_t maker_symbol(struct image_maker *maker, unsigned offset, unsigned size,
                      unsigned type, unsigned section, const char *name)
{
    uint64_t value = offset ? MAKER_CODE - MAKER_BIAS + offset : 0;
    Elf64_Sym wide = {.st_name = maker->names,
                      .st_info = ELF64_ST_INFO(STB_GLOBAL, type),
                      .st_shndx = (Elf64_Section)section,
                      .st_value = value,
                      .st_size = size};
    Elf32_Sym narrow = {.st_name = maker->names,
                        .st_info = ELF32_ST_INFO(STB_GLOBAL, type),
                        .st_shndx = (Elf32_Section)section,
                        .st_value = (Elf32_Addr)value,
                        .st_size = size};
    uint8_t *symbols = maker->tables + SYMBOLS;

    if (is_wide(maker))
        memcpy(symbols + maker->symbols * sizeof wide, &wide, sizeof wide);
    else
        memcpy(symbols + maker->symbols * sizeof narrow, &narrow,
               sizeof narrow);
    memcpy(maker->tables + STRINGS + maker->names, name, strlen(name) + 1);
    maker->names += (uint32_t)strlen(name) + 1;
    return maker->symbols++;
}

void maker_reloc(struct image_maker *maker, unsigned offset, unsigned type,
                 uint32_t symbol, uint64_t addend)
{
    uint64_t address = MAKER_DATA - MAKER_BIAS + offset;

    if (is_wide(maker)) {
        Elf64_Rela rela = {address, ELF64_R_INFO((uint64_t)symbol, type),
                           (Elf64_Sxword)addend};
        memcpy(maker->tables + RELOCS + maker->relocs * sizeof rela, &rela,
               sizeof rela);
    } else {
        Elf32_Rel rel = {(Elf32_Addr)address, ELF32_R_INFO(symbol, type)};
        memcpy(maker->tables + RELOCS + maker->relocs * sizeof rel, &rel,
               sizeof rel);
    }
    maker->relocs++;
}

static void put_header(struct image_maker *maker, unsigned index, uint32_t type,
                       unsigned offset, unsigned size)
{
    uint64_t address = MAKER_TABLES - MAKER_BIAS + offset;
    Elf64_Phdr wide = {.p_type = type, .p_vaddr = address, .p_memsz = size};
    Elf32_Phdr narrow = {
        .p_type = type, .p_vaddr = (Elf32_Addr)address, .p_memsz = size};

    if (is_wide(maker))
        memcpy(maker->tables + PHDRS + index * sizeof wide, &wide, sizeof wide);
    else
        memcpy(maker->tables + PHDRS + index * sizeof narrow, &narrow,
               sizeof narrow);
}

void maker_end(struct image_maker *maker)
{
    unsigned word = maker->image.isa->pointer_size;
    unsigned reloc = is_wide(maker) ? sizeof(Elf64_Rela) : sizeof(Elf32_Rel);
    const uint64_t base = MAKER_TABLES - MAKER_BIAS;
    const uint64_t entries[][2] = {
        {DT_SYMTAB, base + SYMBOLS},
        {DT_STRTAB, base + STRINGS},
        {DT_STRSZ, maker->names},
        {DT_HASH, base + HASH},
        {DT_JMPREL, base + RELOCS},
        {DT_PLTRELSZ, (uint64_t)maker->relocs * reloc},
        {DT_PLTREL, is_wide(maker) ? DT_RELA : DT_REL},
        {DT_NULL, 0},
    };

    for (unsigned i = 0; i < sizeof entries / sizeof *entries; i++) {
        put_word(maker, DYNAMIC + i * 2 * word, entries[i][0]);
        put_word(maker, DYNAMIC + i * 2 * word + word, entries[i][1]);
    }
    put32(maker, HASH + 4, maker->symbols);
    memcpy(maker->tables, "\x01\x1b\x03\x3b", 4);
    put32(maker, 4, FRAME - 4);
    put32(maker, 8, maker->frames);
    put_header(maker, 0, PT_DYNAMIC, DYNAMIC, 256);
    put_header(maker, 1, PT_GNU_EH_FRAME, 0, 12 + maker->frames * 8);
    patas__image_read(&maker->image, maker->tables + PHDRS, 2);
}
