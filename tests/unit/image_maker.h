/* SPDX-License-Identifier: MIT */
/* Images made by hand: code, frame descriptions, symbols, relocations. */
#ifndef IMAGE_MAKER_H
#define IMAGE_MAKER_H

#include "image.h"

/* Where the three segments are; the bias is such that no file address is an
 * address of the image by chance. */
enum {
    MAKER_BIAS = 0x40000000,
    MAKER_CODE = MAKER_BIAS + 0x1000,
    MAKER_TABLES = MAKER_BIAS + 0x3000,
    MAKER_DATA = MAKER_BIAS + 0x6000,
    MAKER_SIZE = 0x1000
};

struct image_maker {
    struct patas__image image;
    uint8_t code[MAKER_SIZE]; /* int3 where nothing else is put */
    uint8_t tables[2 * MAKER_SIZE];
    uint8_t data[MAKER_SIZE];
    unsigned frames, symbols, relocs;
    uint32_t names; /* bytes of the string table in use */
};

/* Begins one of no functions for that instruction set. */
void maker_begin(struct image_maker *maker, const struct patas__isa *isa);

/* Puts bytes at an offset in the code. */
void maker_code(struct image_maker *maker, unsigned offset, const void *bytes,
                size_t size);

/* Puts the pointer `value` at an offset in the data. */
void maker_pointer(struct image_maker *maker, unsigned offset, uint64_t value);

/* Describes offset .. offset + size - 1 of the code; in ascending order. */
void maker_frame(struct image_maker *maker, unsigned offset, unsigned size);

/* A symbol in the code, its index is returned. `section` 0 = undefined. */
uint32_t maker_symbol(struct image_maker *maker, unsigned offset, unsigned size,
                      unsigned type, unsigned section, const char *name);

/* A relocation in DT_JMPREL of the data word at `offset`. */
void maker_reloc(struct image_maker *maker, unsigned offset, unsigned type,
                 uint32_t symbol, uint64_t addend);

/* Reads what was made as patas__image_read() reads any image. */
void maker_end(struct image_maker *maker);

#endif
