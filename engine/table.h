/* SPDX-License-Identifier: MIT */
/*
 * A growing array whose records never move: readers without a lock may hold a
 * pointer into it. Chunk k holds 256 << k records, so memory grows by halves
 * of what is there and an index finds its chunk by one bit scan.
 */
#ifndef PATAS_TABLE_H
#define PATAS_TABLE_H

#include "os.h"

enum {
    PATAS__TABLE_FIRST = 256,
    PATAS__TABLE_CHUNKS = 22
};

struct patas__table {
    uint8_t *chunks[PATAS__TABLE_CHUNKS];
    uint32_t count; /* records handed out, number 0 included */
};

static inline void *patas__table_at(const struct patas__table *table,
                                    size_t record, uint32_t index)
{
    uint32_t scaled = index / PATAS__TABLE_FIRST + 1;
    uint32_t chunk = 31 - (uint32_t)__builtin_clz(scaled);
    uint32_t first = PATAS__TABLE_FIRST * ((1u << chunk) - 1);
    uint8_t *base = __atomic_load_n(&table->chunks[chunk], __ATOMIC_ACQUIRE);
    return base + (size_t)(index - first) * record;
}

/* The next index, its record zeroed; 0 if memory is short. Index 0 is never
 * given, so that 0 can mean "none". */
static inline uint32_t patas__table_add(struct patas__table *table,
                                        size_t record)
{
    uint32_t index = table->count ? table->count : 1;
    uint32_t chunk =
        31 - (uint32_t)__builtin_clz(index / PATAS__TABLE_FIRST + 1);
    if (chunk >= PATAS__TABLE_CHUNKS)
        return 0;
    if (!table->chunks[chunk]) {
        void *memory;
        size_t size = (size_t)(PATAS__TABLE_FIRST << chunk) * record;
        if (patas__os_map(size, PATAS__READ | PATAS__WRITE, &memory))
            return 0;
        __atomic_store_n(&table->chunks[chunk], memory, __ATOMIC_RELEASE);
    }
    table->count = index + 1;
    return index;
}

#endif
