/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include "image_support.h"

#include <dlfcn.h>
#include <elf.h>
#include <limits.h>
#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *const image_libraries[8] = {
    "libc.so.6",      "libm.so.6",    "libcrypto.so.3", "libsqlite3.so.0",
    "libstdc++.so.6", "libxml2.so.2", "libz.so.1",      "libpython3.11.so.1.0",
};

struct wanted {
    const char *part;
    struct patas__image *image;
    char *path;
    bool found;
};

static void add_segment(struct patas__image *image, uint64_t address,
                        uint64_t size, const uint8_t *bytes, unsigned flags)
{
    if (image->segment_count < PATAS__SEGMENTS_MAX && size)
        image->segments[image->segment_count++] =
            (struct patas__segment){.address = address,
                                    .size = size,
                                    .bytes = bytes,
                                    .executable = (flags & PF_X) != 0,
                                    .writable = (flags & PF_W) != 0};
}

static int visit(struct dl_phdr_info *info, size_t size, void *data)
{
    struct wanted *wanted = data;

    (void)size;
    if (!strstr(info->dlpi_name, wanted->part))
        return 0;
    *wanted->image = (struct patas__image){.bias = info->dlpi_addr,
                                           .isa = patas__isa_host()};
    for (unsigned i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *header = &info->dlpi_phdr[i];
        uint64_t address = info->dlpi_addr + header->p_vaddr;
        if (header->p_type == PT_LOAD)
            add_segment(wanted->image, address, header->p_memsz,
                        (const uint8_t *)(uintptr_t)address, header->p_flags);
    }
    patas__image_read(wanted->image, (const uint8_t *)info->dlpi_phdr,
                      info->dlpi_phnum);
    if (wanted->path)
        snprintf(wanted->path, PATH_MAX, "%s", info->dlpi_name);
    wanted->found = true;
    return 1;
}

bool image_of_process(const char *part, struct patas__image *image, char *path)
{
    struct wanted wanted = {part, image, path, false};

    (void)dlopen(part, RTLD_NOW | RTLD_GLOBAL);
    dl_iterate_phdr(visit, &wanted);
    return wanted.found;
}

static unsigned char *read_file(const char *path, size_t *size)
{
    FILE *file = fopen(path, "rb");
    unsigned char *bytes = NULL;
    long end = -1;

    if (!file)
        return NULL;
    if (fseek(file, 0, SEEK_END) == 0)
        end = ftell(file);
    if (end > 0 && fseek(file, 0, SEEK_SET) == 0)
        bytes = malloc((size_t)end);
    if (bytes && fread(bytes, 1, (size_t)end, file) != (size_t)end) {
        free(bytes);
        bytes = NULL;
    }
    *size = (size_t)end;
    fclose(file);
    return bytes;
}

/* Copies a PT_LOAD's bytes out of the file. */
static void load_segment(struct patas__image *image, const unsigned char *file,
                         size_t size, const Elf64_Phdr *header)
{
    size_t in_file = (size_t)header->p_filesz;
    unsigned char *bytes;

    if (header->p_type != PT_LOAD || !header->p_memsz ||
        header->p_filesz > header->p_memsz || header->p_offset > size ||
        header->p_filesz > size - header->p_offset)
        return;
    bytes = calloc(1, (size_t)header->p_memsz);
    if (!bytes)
        abort();
    memcpy(bytes, file + header->p_offset, in_file);
    add_segment(image, header->p_vaddr, header->p_memsz, bytes,
                header->p_flags);
}

/* Program header `index` of either class, as ELF64. */
static Elf64_Phdr header_of(const unsigned char *file, size_t index)
{
    Elf64_Phdr wide;
    Elf32_Phdr raw;

    if (file[EI_CLASS] == ELFCLASS64) {
        Elf64_Ehdr head;
        memcpy(&head, file, sizeof head);
        memcpy(&wide, file + head.e_phoff + index * sizeof wide, sizeof wide);
        return wide;
    }
    Elf32_Ehdr head;
    memcpy(&head, file, sizeof head);
    memcpy(&raw, file + head.e_phoff + index * sizeof raw, sizeof raw);
    return (Elf64_Phdr){.p_type = raw.p_type,
                        .p_flags = raw.p_flags,
                        .p_offset = raw.p_offset,
                        .p_vaddr = raw.p_vaddr,
                        .p_filesz = raw.p_filesz,
                        .p_memsz = raw.p_memsz,
                        .p_align = raw.p_align};
}

bool image_of_file(const char *path, const struct patas__isa *isa,
                   struct patas__image *image)
{
    size_t size, count, offset;
    unsigned char *file = read_file(path, &size);

    *image = (struct patas__image){.isa = isa};
    if (!file || size < sizeof(Elf64_Ehdr) ||
        file[EI_CLASS] != (isa->pointer_size == 8 ? ELFCLASS64 : ELFCLASS32)) {
        free(file);
        return false;
    }
    if (isa->pointer_size == 8) {
        Elf64_Ehdr head;
        memcpy(&head, file, sizeof head);
        count = head.e_phnum;
        offset = (size_t)head.e_phoff;
    } else {
        Elf32_Ehdr head;
        memcpy(&head, file, sizeof head);
        count = head.e_phnum;
        offset = head.e_phoff;
    }
    for (size_t i = 0; i < count; i++) {
        Elf64_Phdr header = header_of(file, i);
        load_segment(image, file, size, &header);
    }
    patas__image_read(image, file + offset, count);
    free(file);
    return true;
}

void image_free(struct patas__image *image)
{
    for (unsigned i = 0; i < image->segment_count; i++)
        free((void *)(uintptr_t)image->segments[i].bytes);
    image->segment_count = 0;
}

unsigned char *image_section(const char *path, const char *name, size_t *size)
{
    size_t file_size;
    unsigned char *file = read_file(path, &file_size), *found = NULL;
    ElfW(Ehdr) head;
    ElfW(Shdr) names, section;

    if (!file)
        return NULL;
    memcpy(&head, file, sizeof head);
    memcpy(&names, file + head.e_shoff + head.e_shstrndx * sizeof names,
           sizeof names);
    for (size_t i = 0; i < head.e_shnum && !found; i++) {
        memcpy(&section, file + head.e_shoff + i * sizeof section,
               sizeof section);
        if (strcmp((char *)file + names.sh_offset + section.sh_name, name) != 0)
            continue;
        *size = (size_t)section.sh_size;
        found = malloc(*size + 1);
        if (found)
            memcpy(found, file + section.sh_offset, *size);
    }
    free(file);
    return found;
}

static int by_address(const void *a, const void *b)
{
    const struct image_function *left = a, *right = b;

    if (left->address != right->address)
        return left->address < right->address ? -1 : 1;
    return left->size < right->size ? 1 : -(left->size > right->size);
}

struct image_function *image_functions(const struct patas__image *image,
                                       size_t *count)
{
    size_t total = 0, kept = 0, most = (size_t)image->symtab_count + 1;
    struct image_function *all = calloc(most, sizeof *all);
    struct patas__symbol symbol;

    if (!all)
        abort();
    for (uint64_t i = 0; patas__image_symbol(image, i, &symbol); i++) {
        if ((symbol.type == STT_FUNC || symbol.type == STT_GNU_IFUNC) &&
            symbol.defined && symbol.size &&
            patas__image_code(image, symbol.address))
            all[total++] =
                (struct image_function){symbol.address, symbol.size,
                                        patas__image_name(image, symbol.name)};
    }
    qsort(all, total, sizeof *all, by_address);
    for (size_t i = 0; i < total; i++) {
        if (!kept || all[kept - 1].address != all[i].address)
            all[kept++] = all[i];
    }
    *count = kept;
    return all;
}
