/* SPDX-License-Identifier: MIT */
#include <fcntl.h>
#include <gelf.h>
#include <stdlib.h>
#include <unistd.h>

#include "compare.h"

/* One bit a byte: an instruction that begins there has been compared. */
struct section {
    const uint8_t *bytes;
    uint64_t address;
    size_t size;
    bool wide;
    uint8_t *seen;
};

/* From `at` on, until `end` or where somebody was before. What is no
 * instruction is data or padding: one byte further. */
static uint64_t sweep(struct section *section, size_t at, size_t end)
{
    size_t start = at;

    while (at < end && !(section->seen[at / 8] >> at % 8 & 1)) {
        section->seen[at / 8] |= (uint8_t)(1 << at % 8);
        unsigned length = compare_one(section->bytes + at, section->size - at,
                                      section->address + at, section->wide);
        at += length ? length : 1;
    }
    return at - start;
}

static uint64_t sweep_symbols(struct section *section, Elf *elf)
{
    Elf_Scn *table = NULL;
    uint64_t bytes = 0;

    while ((table = elf_nextscn(elf, table))) {
        GElf_Shdr header;
        GElf_Sym symbol;

        if (!gelf_getshdr(table, &header) || header.sh_entsize == 0 ||
            (header.sh_type != SHT_SYMTAB && header.sh_type != SHT_DYNSYM))
            continue;
        Elf_Data *data = elf_getdata(table, NULL);
        for (int i = 0; data && gelf_getsym(data, i, &symbol); i++) {
            uint64_t at = symbol.st_value - section->address;

            if (GELF_ST_TYPE(symbol.st_info) == STT_FUNC &&
                symbol.st_shndx != SHN_UNDEF && at < section->size &&
                symbol.st_size <= section->size - at)
                bytes += sweep(section, at, at + symbol.st_size);
        }
    }
    return bytes;
}

/* The starts in .eh_frame_hdr's table: (start, entry) pairs of 4 bytes each,
 * relative to the header (LSB 5.0, 10.6.2). */
static uint64_t sweep_frames(struct section *section, Elf *elf)
{
    Elf_Scn *found = NULL;
    uint64_t bytes = 0;
    size_t names;

    if (elf_getshdrstrndx(elf, &names))
        return 0;
    while ((found = elf_nextscn(elf, found))) {
        GElf_Shdr header;
        Elf_Data *data;

        if (!gelf_getshdr(found, &header) || header.sh_type == SHT_NOBITS ||
            !elf_strptr(elf, names, header.sh_name) ||
            __builtin_strcmp(elf_strptr(elf, names, header.sh_name),
                             ".eh_frame_hdr") ||
            !(data = elf_rawdata(found, NULL)) || data->d_size < 12)
            continue;
        const uint8_t *table = data->d_buf;
        if (table[2] != 0x03 || table[3] != 0x3b)
            continue; /* another encoding than every linker's */
        for (size_t at = 12; at + 8 <= data->d_size; at += 8) {
            int32_t start;
            __builtin_memcpy(&start, table + at, 4);
            uint64_t offset =
                header.sh_addr + (uint64_t)(int64_t)start - section->address;
            if (offset < section->size)
                bytes += sweep(section, offset, section->size);
        }
    }
    return bytes;
}

/* No instruction of AArch64 is where another might not be. */
static uint64_t sweep_words(const struct section *section)
{
    size_t at = 0;

    for (; at + 4 <= section->size; at += 4)
        compare_aarch64_one(section->bytes + at, section->address + at);
    return at;
}

static uint64_t sweep_section(Elf *elf, Elf_Scn *found, unsigned machine,
                              uint64_t limit)
{
    struct section section = {.wide = machine == EM_X86_64};
    GElf_Shdr header;
    Elf_Data *data;
    uint64_t bytes;

    if (!gelf_getshdr(found, &header) || header.sh_type != SHT_PROGBITS ||
        !(header.sh_flags & SHF_EXECINSTR) ||
        !(data = elf_rawdata(found, NULL)) || !data->d_buf)
        return 0;
    section.bytes = data->d_buf;
    section.address = header.sh_addr;
    section.size = data->d_size < limit ? data->d_size : limit;
    if (machine == EM_AARCH64)
        return sweep_words(&section);
    section.seen = calloc(section.size / 8 + 1, 1);
    if (!section.seen)
        return 0;
    bytes = sweep_symbols(&section, elf);
    bytes += sweep_frames(&section, elf);
    bytes += sweep(&section, 0, section.size);
    free(section.seen);
    return bytes;
}

uint64_t compare_file(const char *path, uint64_t limit)
{
    uint64_t bytes = 0;
    GElf_Ehdr header;
    Elf_Scn *found = NULL;
    int file = open(path, O_RDONLY | O_CLOEXEC);

    if (file < 0 || elf_version(EV_CURRENT) == EV_NONE)
        return 0;
    Elf *elf = elf_begin(file, ELF_C_READ_MMAP, NULL);
    if (elf && gelf_getehdr(elf, &header) &&
        (header.e_machine == EM_X86_64 || header.e_machine == EM_386 ||
         (header.e_machine == EM_AARCH64 && compare_aarch64_open()))) {
        while (bytes < limit && (found = elf_nextscn(elf, found)))
            bytes += sweep_section(elf, found, header.e_machine, limit - bytes);
    }
    elf_end(elf);
    close(file);
    return bytes;
}
