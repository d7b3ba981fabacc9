/* SPDX-License-Identifier: MIT */
/*
 * The exported functions of a module without a file: the vDSO, a library that
 * was deleted or replaced on disk since. Everything comes from the dynamic
 * section that is mapped (gABI, "Dynamic Section").
 */
#include "internal.h"

#include <string.h>

struct memory_tables {
    const ElfW(Sym) * symbols;
    const char *strings;
    size_t strings_size, count;
    const ElfW(Half) * versym;
};

/* glibc writes addresses over what the file has, except where the section is
 * read-only: what lies outside of the module is taken as not yet relocated. */
static const void *memory_at(const struct patas__module *module,
                             uint64_t pointer, uint64_t size)
{
    if (patas__module_holds(module, pointer - module->bias, size))
        return (const void *)(uintptr_t)pointer;
    if (patas__module_holds(module, pointer, size))
        return (const void *)(module->bias + (uintptr_t)pointer);
    return NULL;
}

/* The highest symbol that a chain of the GNU hash table ends with. */
static size_t memory_gnu_count(const struct patas__module *module,
                               uint64_t pointer)
{
    const uint32_t *head = memory_at(module, pointer, 16);
    if (!head)
        return 0;
    uint64_t bloom = (uint64_t)head[2] * sizeof(ElfW(Addr));
    uint64_t buckets_at = (uint64_t)(uintptr_t)head + 16 + bloom;
    uint64_t chains_at = buckets_at + (uint64_t)head[0] * 4;
    const uint32_t *buckets =
        memory_at(module, buckets_at, (uint64_t)head[0] * 4);
    uint32_t last = 0;

    for (uint32_t i = 0; buckets && i < head[0]; i++)
        last = buckets[i] > last ? buckets[i] : last;
    if (last < head[1])
        return 0;
    for (;; last++) {
        const uint32_t *one =
            memory_at(module, chains_at + (uint64_t)(last - head[1]) * 4, 4);
        if (!one)
            return 0;
        if (*one & 1)
            return (size_t)last + 1;
    }
}

static bool memory_tables_find(const struct patas__module *module,
                               const ElfW(Dyn) * dynamic, size_t count,
                               struct memory_tables *tables)
{
    uint64_t symbols = 0, strings = 0, gnu = 0, hash = 0, versym = 0;

    for (size_t i = 0; i < count && dynamic[i].d_tag != DT_NULL; i++) {
        uint64_t value = dynamic[i].d_un.d_val;
        switch (dynamic[i].d_tag) {
        case DT_SYMTAB:
            symbols = value;
            break;
        case DT_STRTAB:
            strings = value;
            break;
        case DT_STRSZ:
            tables->strings_size = (size_t)value;
            break;
        case DT_HASH:
            hash = value;
            break;
        case DT_GNU_HASH:
            gnu = value;
            break;
        case DT_VERSYM:
            versym = value;
            break;
        default:
            break;
        }
    }
    const uint32_t *head = hash ? memory_at(module, hash, 8) : NULL;
    tables->count = head ? head[1] : memory_gnu_count(module, gnu);
    if (tables->count > UINT32_MAX / sizeof(ElfW(Sym)))
        return false;
    tables->symbols =
        memory_at(module, symbols, (uint64_t)tables->count * sizeof(ElfW(Sym)));
    tables->strings = memory_at(module, strings, tables->strings_size);
    tables->versym =
        versym ? memory_at(module, versym,
                           (uint64_t)tables->count * sizeof(ElfW(Half)))
               : NULL;
    return tables->symbols && tables->strings && tables->strings_size &&
           tables->strings_size <= UINT32_MAX;
}

void patas__module_read_memory(struct patas__module *module)
{
    struct memory_tables tables = {0};
    bool found = false;

    for (unsigned i = 0; i < module->phdr_count && !found; i++) {
        const ElfW(Phdr) *phdr = &module->phdr[i];
        if (phdr->p_type == PT_DYNAMIC &&
            patas__module_holds(module, phdr->p_vaddr, phdr->p_memsz))
            found = memory_tables_find(
                module, (const ElfW(Dyn) *)(module->bias + phdr->p_vaddr),
                phdr->p_memsz / sizeof(ElfW(Dyn)), &tables);
    }
    if (!found)
        return;
    const char *end = memrchr(tables.strings, 0, tables.strings_size);
    module->strings[PATAS__DYNAMIC].bytes = tables.strings;
    module->strings[PATAS__DYNAMIC].size =
        end ? (size_t)(end - tables.strings) + 1 : 0;
    for (size_t i = 1; i < tables.count; i++) {
        const ElfW(Sym) *from = &tables.symbols[i];
        GElf_Sym symbol = {
            .st_name = from->st_name,
            .st_info = from->st_info,
            .st_other = from->st_other,
            .st_shndx = from->st_shndx,
            .st_value = from->st_value,
            .st_size = from->st_size,
        };
        /* Names of versions are for messages; here only old or not counts. */
        unsigned version = tables.versym ? tables.versym[i] & 0x8000u : 0;
        patas__table_add(module, &symbol, PATAS__DYNAMIC, 0, version);
    }
}
