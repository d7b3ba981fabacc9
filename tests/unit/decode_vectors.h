/* SPDX-License-Identifier: MIT */
/*
 * Encodings by the vendors' manuals, for what no oracle knows or where oracles
 * differ: the bytes, the assembly, and where it is written.
 */
#ifndef PATAS_TESTS_DECODE_VECTORS_H
#define PATAS_TESTS_DECODE_VECTORS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct vector {
    const char *text;   /* assembly */
    const char *manual; /* and section */
    bool is;            /* an instruction; else every processor refuses it */
    uint8_t encoding;   /* enum patas__encoding */
    uint8_t map;
    uint8_t size;
    uint8_t bytes[15];
};

extern const struct vector vectors_64[];
extern const size_t vectors_64_count;
extern const struct vector vectors_32[];
extern const size_t vectors_32_count;

#endif
