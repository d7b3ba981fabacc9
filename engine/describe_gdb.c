/* SPDX-License-Identifier: MIT */
/*
 * gdb's interface for compilers that run (gdb manual, "JIT Compilation
 * Interface"): a list of ELF files in memory, and a function that is called
 * when the list changes, where gdb has a breakpoint.
 *
 *     [list entry][ELF header][sections][symbols][strings][.eh_frame]
 *
 * A file has a section .text for each run of adjacent pieces: sections of
 * different files must not overlap, and what is free between two pieces may be
 * another one's later. A gap jump has no section, since the module's own file
 * has one there; only its frame is described.
 */
#include "describe.h"

#include "native.h"

enum {
    FILE_PIECES = 8192,  /* sections of one file stay below SHN_LORESERVE */
    FILE_NAME_MAX = 512, /* bytes */
    FILE_FRAME_MAX = 32 + PATAS__FRAME_MAX,
    SECTION_SYMBOLS = 1,
    SECTION_STRINGS = 2,
    SECTION_FRAMES = 3,
    SECTION_TEXT = 4, /* and on */
    FRAME_COMMON = 24 /* bytes of the CIE */
};

/* ---- gdb's names ----------------------------------------------------------
 */

struct jit_entry {
    struct jit_entry *next, *previous;
    const void *file;
    uint64_t size;
};

struct jit_descriptor {
    uint32_t version;
    uint32_t action; /* 0 none, 1 registered, 2 taken away */
    struct jit_entry *relevant, *first;
};

/*
 * gdb looks for these in each object file, in .symtab, and where that is
 * stripped in .dynsym. So the library exports them, but by a version that is
 * not the default one: the loader gives such a symbol to nobody who doesn't ask
 * for the version (ld.so's do_lookup_x), so that another compiler in this
 * process doesn't get our list for its own, nor we its.
 */
#ifdef PATAS_FREESTANDING
#define JIT_VISIBLE PATAS__HIDDEN
#else
#define JIT_VISIBLE __attribute__((visibility("default")))
#endif
JIT_VISIBLE void __jit_debug_register_code(void);
JIT_VISIBLE extern struct jit_descriptor __jit_debug_descriptor;
struct jit_descriptor __jit_debug_descriptor = {.version = 1};
#ifndef PATAS_FREESTANDING
__asm__(".symver __jit_debug_register_code,"
        "__jit_debug_register_code@PATAS_GDB\n"
        ".symver __jit_debug_descriptor,"
        "__jit_debug_descriptor@PATAS_GDB\n");
#endif

__attribute__((noinline)) void __jit_debug_register_code(void)
{
    __asm__ volatile("" ::: "memory"); /* gdb's breakpoint is here */
}

static void jit_register(struct jit_entry *entry)
{
    entry->next = __jit_debug_descriptor.first;
    if (entry->next)
        entry->next->previous = entry;
    __jit_debug_descriptor.first = entry;
    __jit_debug_descriptor.relevant = entry;
    __jit_debug_descriptor.action = 1;
    __jit_debug_register_code();
    __jit_debug_descriptor.action = 0;
}

/* ---- a file ---------------------------------------------------------------
 */

/* Where things are, in bytes from the ELF header. */
struct file {
    const struct patas__piece *pieces;
    size_t count; /* pieces */
    size_t sections;
    size_t symbols, symbols_at;
    size_t strings, strings_at;
    size_t frames, frames_at;
    size_t room; /* bytes, all of it */
    uint8_t *memory;
};

static bool in_a_section(const struct patas__piece *piece)
{
    return piece->kind != PATAS__PIECE_GAP;
}

/* Does a section end in front of piece `i`? */
static bool begins_section(const struct patas__piece *pieces, size_t i)
{
    return !i || !in_a_section(&pieces[i - 1]) ||
           pieces[i - 1].code + pieces[i - 1].size != pieces[i].code;
}

static void lay_out(struct file *file)
{
    char name[FILE_NAME_MAX];
    file->symbols = 1;
    file->strings = 1;
    file->sections = SECTION_TEXT;
    for (size_t i = 0; i < file->count; i++) {
        if (!in_a_section(&file->pieces[i]))
            continue;
        file->sections += begins_section(file->pieces, i);
        file->symbols++;
        file->strings +=
            patas__describe_name(&file->pieces[i], name, sizeof name) + 1;
    }
    /* The names of sections come last among the strings. */
    file->strings += sizeof "\0.text\0.symtab\0.strtab\0.eh_frame";
    file->symbols_at =
        sizeof(NATIVE(Ehdr)) + file->sections * sizeof(NATIVE(Shdr));
    file->strings_at = file->symbols_at + file->symbols * sizeof(NATIVE(Sym));
    file->frames_at = (file->strings_at + file->strings + 7) & ~(size_t)7;
    file->room = file->frames_at + FRAME_COMMON + file->count * FILE_FRAME_MAX +
                 sizeof(uint32_t);
}

/* Copies a string, and returns where it is in the table. */
static uint32_t put_string(struct file *file, size_t *at, const char *text)
{
    size_t size = strlen(text) + 1, where = *at;
    memcpy(file->memory + file->strings_at + where, text, size);
    *at += size;
    return (uint32_t)where;
}

static NATIVE(Shdr) * section(struct file *file, size_t index)
{
    return (NATIVE(Shdr) *)(void *)(file->memory + sizeof(NATIVE(Ehdr))) +
           index;
}

static void put_header(struct file *file)
{
    *(NATIVE(Ehdr) *)(void *)file->memory = (NATIVE(Ehdr)){
        .e_ident = {ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, NATIVE_CLASS,
                    ELFDATA2LSB, EV_CURRENT, ELFOSABI_NONE},
        .e_type = ET_EXEC,
        .e_machine = patas__isa_host()->machine,
        .e_version = EV_CURRENT,
        .e_shoff = sizeof(NATIVE(Ehdr)),
        .e_ehsize = sizeof(NATIVE(Ehdr)),
        .e_shentsize = sizeof(NATIVE(Shdr)),
        .e_shnum = (NATIVE(Half))file->sections,
        .e_shstrndx = SECTION_STRINGS,
    };
}

/* Symbols, strings, and the sections that they lie in. */
static void put_symbols(struct file *file)
{
    char name[FILE_NAME_MAX];
    size_t at = 1, text = SECTION_TEXT - 1, names;
    NATIVE(Sym) *symbol =
        (NATIVE(Sym) *)(void *)(file->memory + file->symbols_at) + 1;
    for (size_t i = 0; i < file->count; i++) {
        const struct patas__piece *piece = &file->pieces[i];
        if (!in_a_section(piece))
            continue;
        if (begins_section(file->pieces, i))
            *section(file, ++text) = (NATIVE(Shdr)){
                .sh_type = SHT_NOBITS,
                .sh_flags = SHF_ALLOC | SHF_EXECINSTR,
                .sh_addr = piece->code,
                .sh_offset = file->symbols_at,
                .sh_addralign = 1,
            };
        section(file, text)->sh_size += piece->size;
        patas__describe_name(piece, name, sizeof name);
        *symbol++ = (NATIVE(Sym)){
            .st_name = put_string(file, &at, name),
            .st_info = ELF64_ST_INFO(STB_LOCAL, STT_FUNC),
            .st_shndx = (NATIVE(Section))text,
            .st_value = piece->code,
            .st_size = piece->size,
        };
    }
    names = put_string(file, &at, ".text");
    for (size_t i = SECTION_TEXT; i <= text; i++)
        section(file, i)->sh_name = (NATIVE(Word))names;
    *section(file, SECTION_SYMBOLS) = (NATIVE(Shdr)){
        .sh_name = put_string(file, &at, ".symtab"),
        .sh_type = SHT_SYMTAB,
        .sh_offset = file->symbols_at,
        .sh_size = file->symbols * sizeof(NATIVE(Sym)),
        .sh_link = SECTION_STRINGS,
        .sh_info = (NATIVE(Word))file->symbols,
        .sh_addralign = sizeof(uintptr_t),
        .sh_entsize = sizeof(NATIVE(Sym)),
    };
    *section(file, SECTION_FRAMES) = (NATIVE(Shdr)){
        .sh_name = put_string(file, &at, ".eh_frame"),
        .sh_type = SHT_PROGBITS,
        .sh_offset = file->frames_at,
        .sh_addralign = sizeof(uintptr_t),
    };
    *section(file, SECTION_STRINGS) = (NATIVE(Shdr)){
        .sh_name = put_string(file, &at, ".strtab"),
        .sh_type = SHT_STRTAB,
        .sh_offset = file->strings_at,
        .sh_size = at,
        .sh_addralign = 1,
    };
}

/* ---- frames ---------------------------------------------------------------
 */

/* How every function is entered (LSB Core, "Exception Frames"). */
static void put_common(struct file *file)
{
    const struct patas__frame_rules *rules = &patas__isa_host()->frame;
    const uint8_t head[] = {
        FRAME_COMMON - 4,
        0,
        0,
        0, /* length */
        0,
        0,
        0,
        0, /* a CIE */
        1,
        'z',
        'R',
        0, /* version, addresses are told */
        1,
        (uint8_t)(-rules->unit & 0x7f),
        rules->returns,
        1,
        0, /* addresses are absolute */
    };
    uint8_t *at = file->memory + file->frames_at;
    memcpy(at, head, sizeof head);
    memcpy(at + sizeof head, rules->entered, rules->entered_size);
    file->frames = FRAME_COMMON; /* the rest is DW_CFA_nop */
}

static void put_frame(struct file *file, const struct patas__piece *piece,
                      const struct patas__head_frame *frame)
{
    uint8_t *at = file->memory + file->frames_at + file->frames;
    const uintptr_t range[] = {piece->code, frame->covers};
    size_t size = (8 + sizeof range + 1 + (size_t)frame->size + 7) & ~(size_t)7;
    if (!frame->covers)
        return;
    patas__store32(at, (uint32_t)size - 4);
    patas__store32(at + 4, (uint32_t)file->frames + 4); /* back to the CIE */
    memcpy(at + 8, range, sizeof range);
    /* No augmentation, and behind the program all is DW_CFA_nop. */
    memcpy(at + 8 + sizeof range + 1, frame->program, frame->size);
    file->frames += size;
}

static void put_frames(struct file *file)
{
    struct patas__remade remade;
    put_common(file);
    for (size_t i = 0; i < file->count; i++) {
        const struct patas__piece *piece = &file->pieces[i];
        /* Nothing but heads moves the stack pointer. */
        struct patas__head_frame frame = {.size = 0, .covers = piece->size};
        if (piece->kind == PATAS__PIECE_HEAD) {
            frame.covers = 0;
            if (patas__describe_move(patas__target_get(piece->target), &remade))
                patas__frame_head(remade.image, &remade.move, &frame);
        }
        put_frame(file, piece, &frame);
    }
    file->frames += sizeof(uint32_t); /* the end is a length of 0 */
    section(file, SECTION_FRAMES)->sh_size = file->frames;
}

/* ---- together -------------------------------------------------------------
 */

static bool tell_file(const struct patas__piece *pieces, size_t count)
{
    struct file file = {.pieces = pieces, .count = count};
    const size_t page = patas__os_page();
    void *memory;
    lay_out(&file);
    size_t size =
        (sizeof(struct jit_entry) + file.room + page - 1) / page * page;
    if (patas__os_map(size, PATAS__READ | PATAS__WRITE, &memory))
        return false;
    struct jit_entry *entry = memory;
    file.memory = (uint8_t *)(entry + 1);
    put_header(&file);
    put_symbols(&file);
    put_frames(&file);
    *entry = (struct jit_entry){.file = file.memory,
                                .size = file.frames_at + file.frames};
    size_t used =
        (sizeof *entry + (size_t)entry->size + page - 1) / page * page;
    if (used < size)
        patas__os_unmap((uint8_t *)memory + used, size - used);
    jit_register(entry);
    return true;
}

size_t patas__describe_gdb(const struct patas__piece *pieces, size_t count)
{
    size_t told = 0;
    while (told < count) {
        size_t part = count - told < FILE_PIECES ? count - told : FILE_PIECES;
        if (!tell_file(pieces + told, part))
            break;
        told += part;
    }
    return told;
}
