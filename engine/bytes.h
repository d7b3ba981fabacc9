/* SPDX-License-Identifier: MIT */
/*
 * Memory and string routines of our own.
 *
 * The engine may not call the C library's: a user may have replaced them. The
 * compiler emits calls to memcpy, memset, memmove and memcmp by itself, so
 * bytes.c defines hidden ones under those names, too, and every call inside
 * the library binds to them.
 */
#ifndef PATAS_BYTES_H
#define PATAS_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PATAS__HIDDEN __attribute__((visibility("hidden")))

PATAS__HIDDEN void *memcpy(void *restrict to, const void *restrict from,
                           size_t size);
PATAS__HIDDEN void *memmove(void *to, const void *from, size_t size);
PATAS__HIDDEN void *memset(void *to, int byte, size_t size);
PATAS__HIDDEN int memcmp(const void *a, const void *b, size_t size);
PATAS__HIDDEN size_t strlen(const char *text);

static inline uint16_t patas__load16(const void *at)
{
    uint16_t value;
    __builtin_memcpy(&value, at, sizeof value);
    return value;
}
static inline uint32_t patas__load32(const void *at)
{
    uint32_t value;
    __builtin_memcpy(&value, at, sizeof value);
    return value;
}
static inline uint64_t patas__load64(const void *at)
{
    uint64_t value;
    __builtin_memcpy(&value, at, sizeof value);
    return value;
}
static inline void patas__store32(void *at, uint32_t value)
{
    __builtin_memcpy(at, &value, sizeof value);
}
static inline void patas__store64(void *at, uint64_t value)
{
    __builtin_memcpy(at, &value, sizeof value);
}

#endif
