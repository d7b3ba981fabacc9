/* SPDX-License-Identifier: MIT */
/*
 * Memory and string routines of our own; bytes.h says why.
 *
 * Compiled so that no loop here becomes a call of the function it is in
 * (engine/CMakeLists.txt). Sizes in the engine are small: words, then bytes.
 */
#include "bytes.h"

/* A word at any address, of any type. */
typedef uint64_t __attribute__((may_alias, aligned(1))) any_word;

static void copy_up(unsigned char *to, const unsigned char *from, size_t size)
{
    for (; size >= sizeof(any_word); size -= sizeof(any_word)) {
        *(any_word *)to = *(const any_word *)from;
        to += sizeof(any_word);
        from += sizeof(any_word);
    }
    for (; size; size--)
        *to++ = *from++;
}

static void copy_down(unsigned char *to, const unsigned char *from, size_t size)
{
    for (; size >= sizeof(any_word); size -= sizeof(any_word)) {
        size_t at = size - sizeof(any_word);

        *(any_word *)(to + at) = *(const any_word *)(from + at);
    }
    for (; size; size--)
        to[size - 1] = from[size - 1];
}

void *memcpy(void *restrict to, const void *restrict from, size_t size)
{
    copy_up(to, from, size);
    return to;
}

void *memmove(void *to, const void *from, size_t size)
{
    /* Upwards is right unless `to` begins inside what is still to be read. */
    if ((uintptr_t)to - (uintptr_t)from >= size)
        copy_up(to, from, size);
    else
        copy_down(to, from, size);
    return to;
}

void *memset(void *to, int byte, size_t size)
{
    unsigned char *at = to;
    uint64_t word = (unsigned char)byte * UINT64_C(0x0101010101010101);

    for (; size >= sizeof(any_word); size -= sizeof(any_word)) {
        *(any_word *)at = word;
        at += sizeof(any_word);
    }
    for (; size; size--)
        *at++ = (unsigned char)byte;
    return to;
}

int memcmp(const void *a, const void *b, size_t size)
{
    const unsigned char *left = a, *right = b;

    for (; size; size--, left++, right++) {
        if (*left != *right)
            return *left < *right ? -1 : 1;
    }
    return 0;
}

size_t strlen(const char *text)
{
    const char *end = text;

    while (*end)
        end++;
    return (size_t)(end - text);
}
