/* SPDX-License-Identifier: MIT */
/*
 * A loaded module's tables, found from its program headers.
 *
 *     program headers
 *       PT_DYNAMIC ------> symbols, strings, hash, relocations -> GOT range
 *       PT_GNU_EH_FRAME -> .eh_frame_hdr -> sorted table of functions
 *       PT_NOTE ---------> build-id
 *
 * Everything is read through patas__image_bytes(): what a table claims beyond
 * its segment isn't there.
 */
#include "image.h"

#include <elf.h>

/* The fields of a program header that matter, from ELF32 or ELF64. */
struct image_header {
    uint32_t type;
    uint64_t address, size, align;
};

/* The entries of PT_DYNAMIC that matter. */
struct image_dynamic {
    uint64_t hash, gnu_hash;
    uint64_t jmprel, jmprel_size, jmprel_kind; /* DT_PLTREL: DT_REL(A) */
    uint64_t rela, rela_size, rela_relative;   /* ..._relative: entries */
    uint64_t rel, rel_size, rel_relative;
};

const uint8_t *patas__image_bytes(const struct patas__image *image,
                                  uint64_t address, uint64_t size)
{
    const struct patas__segment *segment = patas__image_segment(image, address);
    uint64_t offset = segment ? address - segment->address : 0;
    return segment && size <= segment->size - offset ? segment->bytes + offset
                                                     : NULL;
}

const struct patas__segment *patas__image_code(const struct patas__image *image,
                                               uint64_t address)
{
    for (unsigned i = 0; i < image->segment_count; i++) {
        const struct patas__segment *segment = &image->segments[i];
        if (segment->executable && address - segment->address < segment->size)
            return segment;
    }
    return NULL;
}

/* Bytes of the segment that holds `address`, from there to its end. */
static uint64_t image_room(const struct patas__image *image, uint64_t address)
{
    for (unsigned i = 0; i < image->segment_count; i++) {
        const struct patas__segment *segment = &image->segments[i];
        if (address - segment->address < segment->size)
            return segment->size - (address - segment->address);
    }
    return 0;
}

/* A pointer of the image's own width, already known to be readable. */
static uint64_t image_word(const struct patas__image *image, const uint8_t *at)
{
    return image->isa->pointer_size == 8 ? patas__load64(at)
                                         : patas__load32(at);
}

static bool image_load32(const struct patas__image *image, uint64_t address,
                         uint32_t *value)
{
    const uint8_t *bytes = patas__image_bytes(image, address, 4);
    if (bytes)
        *value = patas__load32(bytes);
    return bytes != NULL;
}

/* glibc turns the addresses in its own copy of PT_DYNAMIC into absolute ones;
 * other loaders, files, and the vDSO keep the file's. */
static uint64_t image_rebase(const struct patas__image *image, uint64_t address)
{
    if (!address || patas__image_bytes(image, address, 1))
        return address;
    address += image->bias;
    return patas__image_bytes(image, address, 1) ? address : 0;
}

static struct image_header image_header_at(const struct patas__image *image,
                                           const uint8_t *phdrs, size_t index)
{
    if (image->isa->pointer_size == 8) {
        Elf64_Phdr raw;
        __builtin_memcpy(&raw, phdrs + index * sizeof raw, sizeof raw);
        return (struct image_header){raw.p_type, raw.p_vaddr + image->bias,
                                     raw.p_memsz, raw.p_align};
    }
    Elf32_Phdr raw;
    __builtin_memcpy(&raw, phdrs + index * sizeof raw, sizeof raw);
    return (struct image_header){raw.p_type, raw.p_vaddr + image->bias,
                                 raw.p_memsz, raw.p_align};
}

/* Notes are padded to the alignment of their header, 4 or 8 (gABI, "Note
 * Section"; GNU property notes are the ones with 8). */
static void image_read_notes(struct patas__image *image,
                             const struct image_header *header)
{
    uint64_t at = header->address, size = header->size;
    uint64_t mask = header->align == 8 ? 7 : 3;

    if (!size || !patas__image_bytes(image, at, size))
        return;
    while (size >= 12) {
        const uint8_t *note = patas__image_bytes(image, at, 12);
        uint64_t name = patas__load32(note), data = patas__load32(note + 4);
        uint64_t data_at = (12 + name + mask) & ~mask;
        uint64_t next = (data_at + data + mask) & ~mask;
        if (data_at + data > size)
            return;
        if (patas__load32(note + 8) == NT_GNU_BUILD_ID && name == 4 &&
            memcmp(note + 12, "GNU", 4) == 0 && data) {
            image->build_id_size =
                (uint8_t)(data < PATAS__BUILD_ID_MAX ? data
                                                     : PATAS__BUILD_ID_MAX);
            memcpy(image->build_id, note + data_at, image->build_id_size);
            return;
        }
        if (next > size)
            return;
        at += next;
        size -= next;
    }
}

/* The one GNU property note that linkers merge all others into (Linux
 * Extensions to gABI, "Program Property"): of the processor's features those
 * that all of the code has. */
static void image_read_property(struct patas__image *image,
                                const struct image_header *header)
{
    enum {
        HEAD = 16, /* sizes, type, "GNU" */
        FEATURE_PADS = 1
    };
    const uint64_t word = image->isa->pointer_size;
    const uint8_t *note =
        header->size < HEAD
            ? NULL
            : patas__image_bytes(image, header->address, header->size);

    if (!note || patas__load32(note) != 4 || memcmp(note + 12, "GNU", 4) ||
        patas__load32(note + 8) != NT_GNU_PROPERTY_TYPE_0)
        return;
    for (uint64_t at = HEAD, next; at + 8 <= header->size; at = next) {
        uint32_t size = patas__load32(note + at + 4);
        next = at + 8 + (size + word - 1) / word * word;
        if (next > header->size)
            return;
        if (patas__load32(note + at) == image->isa->property && size >= 4)
            image->guarded = patas__load32(note + at + 8) & FEATURE_PADS;
    }
}

/* LSB Core, "Exception Frame Header". The search table is used only in the one
 * form that linkers write: pairs of 4-byte offsets from the header. */
static void image_read_eh_frame_hdr(struct patas__image *image,
                                    const struct image_header *header)
{
    enum {
        UDATA4 = 0x03,
        PCREL_SDATA4 = 0x1b,
        DATAREL_SDATA4 = 0x3b
    };
    uint64_t at = header->address;
    const uint8_t *bytes = patas__image_bytes(image, at, 12);

    if (!bytes || bytes[0] != 1)
        return;
    image->eh_frame_hdr = at;
    uint64_t offset = (uint64_t)(int64_t)(int32_t)patas__load32(bytes + 4);
    if (bytes[1] == PCREL_SDATA4)
        image->eh_frame = at + 4 + offset;
    else if (bytes[1] == DATAREL_SDATA4)
        image->eh_frame = at + offset;
    if (bytes[2] != UDATA4 || bytes[3] != DATAREL_SDATA4)
        return;
    uint64_t count = patas__load32(bytes + 8);
    uint64_t room = image_room(image, at + 12) / 8;
    image->eh_count = count < room ? count : room;
    image->eh_table = image->eh_count ? at + 12 : 0;
}

static void image_take(struct patas__image *image,
                       struct image_dynamic *dynamic, uint64_t tag,
                       uint64_t value)
{
    switch (tag) {
    case DT_SYMTAB:
        image->symtab = image_rebase(image, value);
        break;
    case DT_STRTAB:
        image->strtab = image_rebase(image, value);
        break;
    case DT_STRSZ:
        image->strtab_size = value;
        break;
    case DT_PLTGOT:
        image->plt_got = image_rebase(image, value);
        break;
    case DT_VERSYM:
        image->versym = image_rebase(image, value);
        break;
    case DT_VERNEED:
        image->verneed = image_rebase(image, value);
        break;
    case DT_VERDEF:
        image->verdef = image_rebase(image, value);
        break;
    case DT_HASH:
        dynamic->hash = image_rebase(image, value);
        break;
    case DT_GNU_HASH:
        dynamic->gnu_hash = image_rebase(image, value);
        break;
    case DT_JMPREL:
        dynamic->jmprel = image_rebase(image, value);
        break;
    case DT_PLTRELSZ:
        dynamic->jmprel_size = value;
        break;
    case DT_PLTREL:
        dynamic->jmprel_kind = value;
        break;
    case DT_RELA:
        dynamic->rela = image_rebase(image, value);
        break;
    case DT_RELASZ:
        dynamic->rela_size = value;
        break;
    case DT_RELACOUNT:
        dynamic->rela_relative = value;
        break;
    case DT_REL:
        dynamic->rel = image_rebase(image, value);
        break;
    case DT_RELSZ:
        dynamic->rel_size = value;
        break;
    case DT_RELCOUNT:
        dynamic->rel_relative = value;
        break;
    default:
        break;
    }
}

static void image_read_dynamic(struct patas__image *image,
                               struct image_dynamic *dynamic,
                               const struct image_header *header)
{
    uint64_t word = image->isa->pointer_size;

    for (uint64_t at = 0; at + 2 * word <= header->size; at += 2 * word) {
        const uint8_t *entry =
            patas__image_bytes(image, header->address + at, 2 * word);
        if (!entry || !image_word(image, entry))
            return;
        image_take(image, dynamic, image_word(image, entry),
                   image_word(image, entry + word));
    }
}

/* The number of symbols by DT_GNU_HASH, which doesn't tell it: one past the
 * end of the chain that begins last. */
static uint64_t image_gnu_hash_count(const struct patas__image *image,
                                     uint64_t table)
{
    const uint8_t *header = patas__image_bytes(image, table, 16);
    if (!header)
        return 0;
    uint64_t buckets = patas__load32(header);
    uint64_t first = patas__load32(header + 4);
    uint64_t bloom = patas__load32(header + 8);
    uint64_t at = table + 16 + bloom * image->isa->pointer_size;
    const uint8_t *bucket =
        buckets ? patas__image_bytes(image, at, buckets * 4) : NULL;
    uint32_t last = 0, link = 0;

    if (!bucket)
        return 0;
    for (uint64_t i = 0; i < buckets; i++) {
        uint32_t begin = patas__load32(bucket + i * 4);
        last = begin > last ? begin : last;
    }
    if (last < first)
        return first;
    at += buckets * 4;
    for (uint64_t i = last;; i++) {
        if (!image_load32(image, at + (i - first) * 4, &link) || (link & 1))
            return i + 1;
    }
}

static uint64_t image_symbol_size(const struct patas__image *image)
{
    return image->isa->pointer_size == 8 ? sizeof(Elf64_Sym)
                                         : sizeof(Elf32_Sym);
}

static void image_count_symbols(struct patas__image *image,
                                const struct image_dynamic *dynamic)
{
    uint64_t room = image_room(image, image->symtab) / image_symbol_size(image);
    uint32_t chains = 0;
    uint64_t count;

    if (dynamic->hash && image_load32(image, dynamic->hash + 4, &chains))
        count = chains;
    else
        count = dynamic->gnu_hash
                    ? image_gnu_hash_count(image, dynamic->gnu_hash)
                    : 0;
    image->symtab_count = count < room ? count : room;
    image->symbols = patas__image_bytes(image, image->symtab, 1);
    room = image_room(image, image->strtab);
    if (image->strtab_size > room)
        image->strtab_size = room;
}

static void image_set_relocs(struct patas__image *image, unsigned table,
                             uint64_t address, uint64_t size, bool addends,
                             uint64_t relative)
{
    uint64_t entry = image->isa->pointer_size * (addends ? 3u : 2u);
    uint64_t room = image_room(image, address);
    uint64_t count = (size < room ? size : room) / entry;

    /* Linkers sort the ones that only add the bias to the front. */
    relative = relative < count ? relative : count;
    image->relocs[table] = (struct patas__relocs){
        address + relative * entry, count - relative, (uint8_t)entry};
}

static void image_read_relocs(struct patas__image *image,
                              const struct image_dynamic *dynamic)
{
    image_set_relocs(image, 0, dynamic->jmprel, dynamic->jmprel_size,
                     dynamic->jmprel_kind == DT_RELA, 0);
    image_set_relocs(image, 1, dynamic->rela, dynamic->rela_size, true,
                     dynamic->rela_relative);
    image_set_relocs(image, 2, dynamic->rel, dynamic->rel_size, false,
                     dynamic->rel_relative);
    for (unsigned table = 0; table < 3; table++) {
        struct patas__reloc reloc;
        for (uint64_t i = 0; patas__image_reloc(image, table, i, &reloc); i++) {
            if (reloc.kind == PATAS__RELOC_OTHER)
                continue;
            if (!image->plt_got_end || reloc.address < image->plt_got_start)
                image->plt_got_start = reloc.address;
            uint64_t end = reloc.address + image->isa->pointer_size;
            if (end > image->plt_got_end)
                image->plt_got_end = end;
        }
    }
}

static void image_add_ifunc(struct patas__image *image, uint64_t address)
{
    uint64_t offset = address - image->start;
    unsigned at = image->ifunc_count;

    if (offset > UINT32_MAX || image->ifunc_count > PATAS__IFUNCS_MAX)
        return;
    for (unsigned i = 0; i < image->ifunc_count; i++) {
        if (image->ifuncs[i] == offset)
            return; /* an alias */
    }
    image->ifunc_count++;
    if (at == PATAS__IFUNCS_MAX)
        return;
    for (; at && image->ifuncs[at - 1] > offset; at--)
        image->ifuncs[at] = image->ifuncs[at - 1];
    image->ifuncs[at] = (uint32_t)offset;
}

static void image_find_ifuncs(struct patas__image *image)
{
    struct patas__symbol symbol;

    for (uint64_t i = 0; patas__image_symbol(image, i, &symbol); i++) {
        if (symbol.type == STT_GNU_IFUNC && symbol.defined)
            image_add_ifunc(image, symbol.address);
    }
}

static void image_find_bounds(struct patas__image *image)
{
    if (image->start || image->end || !image->segment_count)
        return;
    image->start = UINT64_MAX;
    for (unsigned i = 0; i < image->segment_count; i++) {
        const struct patas__segment *segment = &image->segments[i];
        if (segment->address < image->start)
            image->start = segment->address;
        if (segment->address + segment->size > image->end)
            image->end = segment->address + segment->size;
    }
    image->start &= ~(uint64_t)4095;
    image->end = (image->end + 4095) & ~(uint64_t)4095;
}

void patas__image_read(struct patas__image *image, const uint8_t *phdrs,
                       size_t count)
{
    struct image_dynamic dynamic = {0};
    size_t entry =
        image->isa->pointer_size == 8 ? sizeof(Elf64_Phdr) : sizeof(Elf32_Phdr);

    image_find_bounds(image);
    for (size_t i = 0; i < count && i < SIZE_MAX / entry; i++) {
        struct image_header header = image_header_at(image, phdrs, i);
        if (header.type == PT_DYNAMIC)
            image_read_dynamic(image, &dynamic, &header);
        else if (header.type == PT_GNU_EH_FRAME)
            image_read_eh_frame_hdr(image, &header);
        else if (header.type == PT_NOTE && !image->build_id_size)
            image_read_notes(image, &header);
        else if (header.type == PT_GNU_PROPERTY)
            image_read_property(image, &header);
    }
    image_count_symbols(image, &dynamic);
    image_read_relocs(image, &dynamic);
    image_find_ifuncs(image);
}

bool patas__image_symbol(const struct patas__image *image, uint64_t index,
                         struct patas__symbol *symbol)
{
    uint64_t size = image_symbol_size(image);
    unsigned section, info;

    if (index >= image->symtab_count)
        return false;
    const uint8_t *bytes = image->symbols + index * size;
    if (image->isa->pointer_size == 8) {
        Elf64_Sym raw;
        __builtin_memcpy(&raw, bytes, sizeof raw);
        *symbol = (struct patas__symbol){
            .address = raw.st_value, .size = raw.st_size, .name = raw.st_name};
        section = raw.st_shndx;
        info = raw.st_info;
    } else {
        Elf32_Sym raw;
        __builtin_memcpy(&raw, bytes, sizeof raw);
        *symbol = (struct patas__symbol){
            .address = raw.st_value, .size = raw.st_size, .name = raw.st_name};
        section = raw.st_shndx;
        info = raw.st_info;
    }
    symbol->type = info & 15;
    symbol->defined = section != SHN_UNDEF && section != SHN_ABS;
    if (section != SHN_ABS && symbol->address)
        symbol->address += image->bias;
    return true;
}

const char *patas__image_name(const struct patas__image *image, uint32_t name)
{
    if (name >= image->strtab_size)
        return NULL;
    uint64_t room = image->strtab_size - name;
    const uint8_t *text = patas__image_bytes(image, image->strtab + name, room);
    if (!text || !text[0])
        return NULL;
    for (uint64_t i = 1; i < room; i++) {
        if (!text[i])
            return (const char *)text;
    }
    return NULL;
}

static enum patas__reloc_kind image_reloc_kind(const struct patas__isa *isa,
                                               uint32_t type)
{
    if (type == isa->reloc_glob_dat || type == isa->reloc_jump_slot)
        return PATAS__RELOC_SLOT;
    return type == isa->reloc_irelative ? PATAS__RELOC_IRELATIVE
                                        : PATAS__RELOC_OTHER;
}

bool patas__image_reloc(const struct patas__image *image, unsigned table,
                        uint64_t index, struct patas__reloc *reloc)
{
    const struct patas__relocs *relocs = &image->relocs[table];
    uint64_t word = image->isa->pointer_size;
    uint32_t type;

    if (index >= relocs->count)
        return false;
    const uint8_t *bytes = patas__image_bytes(
        image, relocs->address + index * relocs->entry, relocs->entry);
    if (!bytes)
        return false;
    uint64_t info = image_word(image, bytes + word);
    if (word == 8) {
        type = (uint32_t)info;
        reloc->symbol = (uint32_t)(info >> 32);
    } else {
        type = (uint32_t)info & 0xff;
        reloc->symbol = (uint32_t)info >> 8;
    }
    reloc->kind = (uint8_t)image_reloc_kind(image->isa, type);
    reloc->address = image_word(image, bytes) + image->bias;
    reloc->addend = 0;
    if (reloc->kind == PATAS__RELOC_IRELATIVE && relocs->entry == 3 * word)
        reloc->addend = image_word(image, bytes + 2 * word) + image->bias;
    return true;
}
