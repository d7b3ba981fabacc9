/* SPDX-License-Identifier: MIT */
/* The functions of a loaded library, by its symbol tables (libelf). */
#include "bench.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <gelf.h>
#include <libelf.h>
#include <link.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct reading {
    struct bench_library *library;
    size_t room;
};

static void add(struct reading *reading, uint64_t value, uint64_t size,
                const char *name)
{
    struct bench_library *library = reading->library;
    if (library->count == reading->room) {
        reading->room = reading->room ? reading->room * 2 : 4096;
        library->functions = realloc(
            library->functions, reading->room * sizeof *library->functions);
        if (!library->functions)
            bench_die("realloc");
    }
    struct bench_function *function = &library->functions[library->count++];
    function->address = library->base + (uintptr_t)value;
    function->size = (size_t)size;
    function->name = strdup(name ? name : "?");
}

/* Defined functions in code sections; an IFUNC symbol names its resolver, not
 * the function: the implementations have symbols of their own. */
static void read_table(struct reading *reading, Elf *elf, Elf_Scn *section,
                       const GElf_Shdr *header)
{
    Elf_Data *data = elf_getdata(section, NULL);
    size_t count =
        header->sh_entsize ? (size_t)(header->sh_size / header->sh_entsize) : 0;
    for (size_t i = 0; data && i < count; i++) {
        GElf_Sym symbol;
        GElf_Shdr home;
        if (!gelf_getsym(data, (int)i, &symbol) ||
            GELF_ST_TYPE(symbol.st_info) != STT_FUNC || !symbol.st_value ||
            symbol.st_shndx == SHN_UNDEF || symbol.st_shndx >= SHN_LORESERVE)
            continue;
        Elf_Scn *code = elf_getscn(elf, symbol.st_shndx);
        if (!code || !gelf_getshdr(code, &home) ||
            !(home.sh_flags & SHF_EXECINSTR))
            continue;
        add(reading, symbol.st_value, symbol.st_size,
            elf_strptr(elf, header->sh_link, symbol.st_name));
    }
}

/* /usr/lib/debug/.build-id/ab/cdef....debug, or "" */
static void debug_file(Elf *elf, char path[256])
{
    path[0] = 0;
    Elf_Scn *section = NULL;
    while ((section = elf_nextscn(elf, section))) {
        GElf_Shdr header;
        GElf_Nhdr note;
        size_t name, text, offset = 0, next;
        if (!gelf_getshdr(section, &header) || header.sh_type != SHT_NOTE)
            continue;
        Elf_Data *data = elf_getdata(section, NULL);
        while (data &&
               (next = gelf_getnote(data, offset, &note, &name, &text)) > 0) {
            offset = next;
            if (note.n_type != NT_GNU_BUILD_ID || note.n_descsz < 2)
                continue;
            const uint8_t *id = (const uint8_t *)data->d_buf + text;
            int at =
                snprintf(path, 256, "/usr/lib/debug/.build-id/%02x/", id[0]);
            for (size_t i = 1; i < note.n_descsz; i++)
                at += snprintf(path + at, 256 - (size_t)at, "%02x", id[i]);
            snprintf(path + at, 256 - (size_t)at, ".debug");
            return;
        }
    }
}

static bool read_file(struct reading *reading, const char *path, GElf_Word type,
                      char debug[256])
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    Elf *elf = elf_begin(fd, ELF_C_READ, NULL);
    Elf_Scn *section = NULL;
    while (elf && (section = elf_nextscn(elf, section))) {
        GElf_Shdr header;
        if (gelf_getshdr(section, &header) && header.sh_type == type)
            read_table(reading, elf, section, &header);
    }
    if (elf && debug)
        debug_file(elf, debug);
    elf_end(elf);
    close(fd);
    return true;
}

static int by_address(const void *a, const void *b)
{
    const struct bench_function *x = a, *y = b;
    if (x->address != y->address)
        return x->address < y->address ? -1 : 1;
    return (x->size < y->size) - (x->size > y->size);
}

static void keep_distinct(struct bench_library *library)
{
    struct bench_function *functions = library->functions;
    size_t kept = 0;
    qsort(functions, library->count, sizeof *functions, by_address);
    for (size_t i = 0; i < library->count; i++) {
        if (kept && functions[kept - 1].address == functions[i].address)
            free(functions[i].name);
        else
            functions[kept++] = functions[i];
    }
    library->count = kept;
}

static int note_segments(struct dl_phdr_info *info, size_t size, void *argument)
{
    struct bench_library *library = argument;
    (void)size;
    if (info->dlpi_addr != library->base ||
        strcmp(info->dlpi_name, library->path) != 0)
        return 0;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *header = &info->dlpi_phdr[i];
        struct bench_segment segment = {library->base + header->p_vaddr,
                                        header->p_memsz};
        if (header->p_type != PT_LOAD)
            continue;
        if (header->p_flags & PF_X && library->texts < 8)
            library->text[library->texts++] = segment;
        else if (header->p_flags & PF_W && library->datas < 8)
            library->data[library->datas++] = segment;
    }
    return 1;
}

bool bench_library_open(struct bench_library *library, const char *path,
                        bool debug)
{
    struct reading reading = {library, 0};
    struct link_map *map;
    char debug_path[256] = "";
    memset(library, 0, sizeof *library);
    void *handle = dlopen(path, RTLD_NOW | RTLD_GLOBAL);
    if (!handle || dlinfo(handle, RTLD_DI_LINKMAP, &map)) {
        fprintf(stderr, "%s\n", dlerror());
        return false;
    }
    snprintf(library->path, sizeof library->path, "%s", map->l_name);
    library->base = map->l_addr;
    dl_iterate_phdr(note_segments, library);
    elf_version(EV_CURRENT);
    if (!read_file(&reading, library->path, SHT_DYNSYM, debug_path))
        return false;
    if (debug && debug_path[0])
        library->debug = read_file(&reading, debug_path, SHT_SYMTAB, NULL);
    keep_distinct(library);
    return library->count > 0;
}

const struct bench_function *
bench_library_at(const struct bench_library *library, uintptr_t address)
{
    size_t low = 0, high = library->count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (library->functions[middle].address < address)
            low = middle + 1;
        else
            high = middle;
    }
    return low < library->count && library->functions[low].address == address
               ? &library->functions[low]
               : NULL;
}
