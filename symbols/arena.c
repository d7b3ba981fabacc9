/* SPDX-License-Identifier: MIT */
/* Memory of one result, freed at once, and text that grows. */
#include "internal.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct patas__block {
    struct patas__block *next;
    _Alignas(16) unsigned char bytes[];
};

void *patas__arena_take(struct patas__arena *arena, size_t size)
{
    struct patas__block *block = calloc(1, sizeof *block + size);

    if (!block) {
        arena->failed = true;
        return NULL;
    }
    block->next = arena->blocks;
    arena->blocks = block;
    return block->bytes;
}

char *patas__arena_text(struct patas__arena *arena, const char *text)
{
    size_t size = strlen(text ? text : "") + 1;
    char *copy = patas__arena_take(arena, size);

    if (copy && text)
        memcpy(copy, text, size);
    return copy;
}

char *patas__arena_print(struct patas__arena *arena, const char *format, ...)
{
    va_list list;
    char *copy = NULL;
    int length;

    va_start(list, format);
    length = vsnprintf(NULL, 0, format, list);
    va_end(list);
    if (length >= 0)
        copy = patas__arena_take(arena, (size_t)length + 1);
    if (copy) {
        va_start(list, format);
        vsnprintf(copy, (size_t)length + 1, format, list);
        va_end(list);
    }
    return copy;
}

void patas__arena_free(struct patas__arena *arena)
{
    while (arena->blocks) {
        struct patas__block *next = arena->blocks->next;
        free(arena->blocks);
        arena->blocks = next;
    }
}

static bool text_room(struct patas__text *text, size_t more)
{
    if (text->length + more < text->capacity)
        return true;
    size_t capacity = (text->capacity + more) * 2 + 64;
    char *grown = realloc(text->bytes, capacity);
    if (!grown) {
        text->failed = true;
        return false;
    }
    text->bytes = grown;
    text->capacity = capacity;
    return true;
}

void patas__text_add(struct patas__text *text, const char *format, ...)
{
    va_list list;

    va_start(list, format);
    int length = vsnprintf(NULL, 0, format, list);
    va_end(list);
    if (length < 0 || !text_room(text, (size_t)length + 1))
        return;
    va_start(list, format);
    vsnprintf(text->bytes + text->length, (size_t)length + 1, format, list);
    va_end(list);
    text->length += (size_t)length;
}
