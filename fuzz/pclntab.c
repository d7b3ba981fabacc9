/* SPDX-License-Identifier: MIT */
/*
 * Any bytes at all as a Go program: finding its function table, and reading
 * names, lines, inlined calls, callers and prologues by it, ends and stays
 * inside of the segments.
 *
 *     2 bytes    size of the table
 *     2 bytes    size of the module's data
 *     table      at TABLE, read-only
 *     module     at MODULE, writable: points to the table and the text
 *     the rest   at TEXT, code
 *
 * Each segment is an allocation of exactly its size, for the sanitizer.
 */
#include "../golang/pclntab.h"
#include "../golang/prologue.h"

#include <stdlib.h>

enum {
    TABLE = 0x10000,
    MODULE = 0x40000,
    TEXT = 0x80000
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void add_segment(struct patas__image *image, uint64_t address,
                        const uint8_t *bytes, size_t size)
{
    uint8_t *copy = malloc(size ? size : 1);

    if (!copy)
        abort();
    __builtin_memcpy(copy, bytes, size);
    image->segments[image->segment_count++] =
        (struct patas__segment){.address = address,
                                .size = size,
                                .bytes = copy,
                                .executable = address == TEXT,
                                .writable = address == MODULE};
}

static bool next_place(void *data, const struct patas__inlined *inlined)
{
    const struct patas__pclntab *tab = data;
    size_t length;
    int32_t line;

    (void)patas__pclntab_name(tab, inlined->in.name, &length);
    (void)patas__pclntab_line(tab, &inlined->in, inlined->pc, &line, &length);
    return true;
}

static void read_func(struct patas__pclntab *tab, struct patas__gofunc *func)
{
    struct patas__gofunc again;
    struct patas__go_head head;
    size_t length;
    int32_t line;
    uint32_t index = 0;
    const char *name = patas__pclntab_name(tab, func->name, &length);
    const uint8_t *bytes =
        patas__image_bytes(tab->image, func->entry, func->end - func->entry);

    (void)patas__pclntab_line(tab, func, func->entry + 1, &line, &length);
    if (patas__pclntab_at(tab, func->entry, &again) &&
        (again.entry > func->entry || again.end <= func->entry))
        abort();
    (void)patas__pclntab_called(tab, func);
    if (bytes)
        patas__go_head(tab->image->isa, bytes, func->end - func->entry,
                       func->entry, &head);
    if (!name)
        return;
    for (length = 0; name[length];)
        length++;
    if (!patas__pclntab_named(tab, name, length, &index, &again))
        abort(); /* there is one at least: this */
    (void)patas__pclntab_inlined(tab, name, length, next_place, tab);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct patas__image image;
    struct patas__pclntab tab;
    struct patas__gofunc func;

    if (size < 4)
        return 0;
    size_t table = patas__load16(data), module = patas__load16(data + 2);
    if (table + module > size - 4)
        return 0;
    image.isa = &patas__isa_x86_64;
    image.segment_count = 0;
    add_segment(&image, TABLE, data + 4, table);
    add_segment(&image, MODULE, data + 4 + table, module);
    add_segment(&image, TEXT, data + 4 + table + module,
                size - 4 - table - module);
    if (patas__pclntab_find(&image, &tab)) {
        uint64_t types, offsets, count;
        (void)patas__pclntab_types(&tab, &types, &offsets, &count);
        (void)patas__pclntab_inlined(&tab, "main.small", 10, next_place, &tab);
        for (uint32_t i = 0; i < tab.functions && i < 16; i++)
            if (patas__pclntab_func(&tab, i, &func))
                read_func(&tab, &func);
    }
    for (unsigned i = 0; i < image.segment_count; i++)
        free((void *)(uintptr_t)image.segments[i].bytes);
    return 0;
}
