/* SPDX-License-Identifier: MIT */
/*
 * The functions that a module's symbol tables name.
 *
 * .dynsym tells what is exported and in which version; .symtab (of the file, of
 * its debug file, or unpacked from .gnu_debugdata) has the static functions,
 * and before them the source file that they come from. A file may lie: a
 * symbol whose value is not in executable memory of the module, or whose name
 * has no end, is left out.
 */
#include "internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool table_room(struct patas__module *module)
{
    if (module->count < module->capacity)
        return true;
    if (module->capacity >= UINT32_MAX / 2)
        return false;
    uint32_t capacity = module->capacity ? module->capacity * 2 : 256;
    void *grown =
        realloc(module->symbols, (size_t)capacity * sizeof *module->symbols);
    if (!grown)
        return false;
    module->symbols = grown;
    module->capacity = capacity;
    return true;
}

static uint16_t table_flags(const struct patas__module *module,
                            const GElf_Sym *symbol, unsigned strings)
{
    unsigned bind = GELF_ST_BIND(symbol->st_info);
    unsigned type = GELF_ST_TYPE(symbol->st_info);
    unsigned seen = GELF_ST_VISIBILITY(symbol->st_other);
    unsigned flags = 0;

    if (bind == STB_LOCAL || seen == STV_HIDDEN || seen == STV_INTERNAL)
        flags |= PATAS_SYMBOL_STATIC;
    else if (strings == PATAS__DYNAMIC)
        flags |= PATAS_SYMBOL_EXPORTED;
    if (bind == STB_WEAK)
        flags |= PATAS_SYMBOL_WEAK;
    if (type == STT_GNU_IFUNC)
        flags |= PATAS_SYMBOL_IFUNC;
    if (type == STT_NOTYPE)
        flags |= PATAS_SYMBOL_UNTYPED;
    if (module->program)
        flags |= PATAS_SYMBOL_PROGRAM;
    if (module->vdso)
        flags |= PATAS_SYMBOL_VDSO;
    return (uint16_t)flags;
}

static bool table_is_function(const struct patas__module *module,
                              const GElf_Sym *symbol)
{
    unsigned type = GELF_ST_TYPE(symbol->st_info);

    return (type == STT_FUNC || type == STT_GNU_IFUNC || type == STT_NOTYPE) &&
           symbol->st_shndx != SHN_UNDEF &&
           (symbol->st_shndx < SHN_LORESERVE ||
            symbol->st_shndx == SHN_XINDEX) &&
           patas__module_is_code(module, symbol->st_value);
}

static bool table_name_ends(const struct patas__strings *strings, uint64_t at)
{
    return at && at < strings->size && strings->bytes[at];
}

void patas__table_add(struct patas__module *module, const GElf_Sym *symbol,
                      unsigned strings, uint32_t file, unsigned version)
{
    if (!table_is_function(module, symbol) ||
        !table_name_ends(&module->strings[strings], symbol->st_name) ||
        !table_room(module))
        return;
    /* Hand-written assembly has mapping symbols and local labels, too. */
    if (GELF_ST_TYPE(symbol->st_info) == STT_NOTYPE &&
        (module->strings[strings].bytes[symbol->st_name] == '.' ||
         module->strings[strings].bytes[symbol->st_name] == '$'))
        return;
    struct patas__symbol *new = &module->symbols[module->count++];
    new->value = symbol->st_value;
    new->size =
        symbol->st_size > UINT32_MAX ? UINT32_MAX : (uint32_t)symbol->st_size;
    new->name = (uint32_t)symbol->st_name;
    new->file = file;
    new->flags = table_flags(module, symbol, strings);
    new->strings = (uint8_t)strings;
    /* Versym: bit 15 hides the version from new links. */
    if (version & 0x8000)
        new->flags |= PATAS_SYMBOL_OLD;
    version &= 0x7fff;
    new->version =
        version <= PATAS__VERSIONS_MAX ? (uint8_t)version : (uint8_t)0;
}

/* The strings up to the last that ends; only they may be named. */
static bool table_strings(Elf *elf, size_t index, struct patas__strings *out)
{
    GElf_Shdr header;
    Elf_Scn *section = elf_getscn(elf, index);

    if (!section || !gelf_getshdr(section, &header) ||
        header.sh_type != SHT_STRTAB)
        return false;
    Elf_Data *data = elf_rawdata(section, NULL);
    if (!data || !data->d_buf || !data->d_size || data->d_size > UINT32_MAX)
        return false;
    const char *bytes = data->d_buf;
    const char *end = memrchr(bytes, 0, data->d_size);
    out->bytes = bytes;
    out->size = end ? (size_t)(end - bytes) + 1 : 0;
    return end != NULL;
}

static Elf_Data *table_of_type(Elf *elf, GElf_Word type, GElf_Shdr *header)
{
    Elf_Scn *section = NULL;

    while ((section = elf_nextscn(elf, section))) {
        if (gelf_getshdr(section, header) && header->sh_type == type)
            return elf_getdata(section, NULL);
    }
    return NULL;
}

/* Names of the versions that a module defines: `vd_ndx` to the first of its
 * names. Offsets that don't go forward end the walk. */
static void table_versions(struct patas__module *module, Elf *elf)
{
    GElf_Shdr header;
    Elf_Data *data = table_of_type(elf, SHT_GNU_verdef, &header);
    int at = 0;

    for (unsigned i = 0; data && i < header.sh_info; i++) {
        GElf_Verdef def;
        GElf_Verdaux name;
        if (!gelf_getverdef(data, at, &def) || def.vd_aux > data->d_size ||
            !gelf_getverdaux(data, at + (int)def.vd_aux, &name))
            break;
        const char *text = elf_strptr(elf, header.sh_link, name.vda_name);
        if (text && def.vd_ndx > 1 && def.vd_ndx <= PATAS__VERSIONS_MAX &&
            !module->versions[def.vd_ndx])
            module->versions[def.vd_ndx] = strdup(text);
        if (!def.vd_next || def.vd_next > data->d_size)
            break;
        at += (int)def.vd_next;
    }
    module->versions_owned = true;
}

static void table_read(struct patas__module *module, Elf *elf, GElf_Word type,
                       unsigned strings)
{
    GElf_Shdr header, versym_header;
    Elf_Data *data = table_of_type(elf, type, &header), *versym = NULL;
    uint32_t file = 0;

    if (!data || !table_strings(elf, header.sh_link, &module->strings[strings]))
        return;
    size_t one = gelf_fsize(elf, ELF_T_SYM, 1, EV_CURRENT);
    size_t count = one ? data->d_size / one : 0;
    if (type == SHT_DYNSYM)
        versym = table_of_type(elf, SHT_GNU_versym, &versym_header);
    for (size_t i = 1; i < count && i < INT32_MAX; i++) {
        GElf_Sym symbol;
        GElf_Versym version = 0;
        if (!gelf_getsym(data, (int)i, &symbol))
            break;
        if (GELF_ST_TYPE(symbol.st_info) == STT_FILE) {
            file = symbol.st_name < module->strings[strings].size
                       ? (uint32_t)symbol.st_name
                       : 0;
            continue;
        }
        if (versym && !gelf_getversym(versym, (int)i, &version))
            version = 0;
        bool local = GELF_ST_BIND(symbol.st_info) == STB_LOCAL;
        patas__table_add(module, &symbol, strings, local ? file : 0, version);
    }
}

static int table_no_debug(Dwfl_Module *mod, void **data, const char *name,
                          Dwarf_Addr base, const char *file, const char *link,
                          GElf_Word crc, char **found)
{
    (void)mod, (void)data, (void)name, (void)base, (void)file, (void)link;
    (void)crc, (void)found;
    return -1;
}

/* libdwfl unpacks .gnu_debugdata, and gives its symbols with those of .dynsym.
 * Its strings are not in one table, so they are copied into one. */
static void table_read_mini(struct patas__module *module)
{
    static const Dwfl_Callbacks callbacks = {
        .find_elf = dwfl_build_id_find_elf,
        .find_debuginfo = table_no_debug,
        .section_address = dwfl_offline_section_address,
    };
    char path[64];
    GElf_Shdr header;

    if (!patas__elf_section(module->elf, ".gnu_debugdata", &header))
        return;
    Dwfl *dwfl = module->mini = dwfl_begin(&callbacks);
    if (!dwfl)
        return;
    snprintf(path, sizeof path, "/proc/self/fd/%d", module->fd);
    dwfl_report_begin(dwfl);
    Dwfl_Module *mod = dwfl_report_offline(dwfl, "mini", path, -1);
    dwfl_report_end(dwfl, NULL, NULL);
    int count = mod ? dwfl_module_getsymtab(mod) : 0;

    char *copy = NULL;
    size_t size = 1, capacity = 0;
    for (int pass = 0; pass < 2; pass++) {
        for (int i = 1; i < count; i++) {
            GElf_Sym symbol;
            GElf_Addr address; /* where libdwfl thinks it is: not asked */
            const char *name = dwfl_module_getsym_info(
                mod, i, &symbol, &address, NULL, NULL, NULL);
            if (!name || !table_is_function(module, &symbol))
                continue;
            size_t length = strlen(name) + 1;
            if (pass == 0) {
                capacity += length;
                continue;
            }
            memcpy(copy + size, name, length);
            symbol.st_name = (GElf_Word)size;
            size += length;
            module->strings[PATAS__FULL].size = size;
            patas__table_add(module, &symbol, PATAS__FULL, 0, 0);
        }
        if (pass == 0 &&
            (capacity > UINT32_MAX / 2 || !(copy = calloc(1, capacity + 1))))
            break;
        module->strings[PATAS__FULL].bytes = copy;
    }
    module->mini_strings = copy;
}

void patas__module_read_tables(struct patas__module *module)
{
    GElf_Shdr header;

    if (module->elf) {
        table_versions(module, module->elf);
        table_read(module, module->elf, SHT_DYNSYM, PATAS__DYNAMIC);
        if (table_of_type(module->elf, SHT_SYMTAB, &header))
            table_read(module, module->elf, SHT_SYMTAB, PATAS__FULL);
        else if (module->debug_elf)
            table_read(module, module->debug_elf, SHT_SYMTAB, PATAS__FULL);
        if (!module->strings[PATAS__FULL].bytes && module->fd >= 0)
            table_read_mini(module);
    }
    if (!module->count)
        patas__module_read_memory(module);
    (void)patas__lookup_build(module);
}

void patas__module_read(struct patas__module *module)
{
    if (module->read)
        return;
    module->read = true;
    patas__module_open(module);
    patas__module_read_tables(module);
}
