/* SPDX-License-Identifier: MIT */
/*
 * A loaded module (program or library) as the loader's tables describe it.
 *
 * Pure: an image is made of segments of bytes at addresses. In this process a
 * segment's bytes lie at its address; for a file or another process they lie
 * in a buffer. Nothing here follows a pointer that is not inside a segment, so
 * a hostile image gets an answer, not a crash.
 */
#ifndef PATAS_IMAGE_H
#define PATAS_IMAGE_H

#include "bytes.h"
#include "isa.h"

enum {
    PATAS__SEGMENTS_MAX = 16,
    PATAS__BUILD_ID_MAX = 20,
    PATAS__IFUNCS_MAX = 192
};

struct patas__segment {
    uint64_t address;     /* of the first byte, load bias included */
    uint64_t size;        /* bytes in memory */
    const uint8_t *bytes; /* `size` readable bytes */
    bool executable, writable;
};

/* A table of relocations; those that only add the bias are left out. */
struct patas__relocs {
    uint64_t address;
    uint64_t count; /* entries */
    uint8_t entry;  /* bytes of one */
};

struct patas__image {
    struct patas__segment segments[PATAS__SEGMENTS_MAX];
    unsigned segment_count;
    uint64_t bias;       /* added to the file's addresses */
    uint64_t start, end; /* of all segments, page-rounded */
    uint8_t build_id[PATAS__BUILD_ID_MAX];
    uint8_t build_id_size; /* 0 = none */
    bool guarded; /* says that indirect calls land on landing pads only */
    const struct patas__isa *isa;
    /* What patas__image_read() found; 0 where there is none. */
    uint64_t eh_frame_hdr;  /* address */
    uint64_t eh_table;      /* its sorted search table: address, */
    uint64_t eh_count;      /* entries of 8 bytes (sdata4, relative) */
    uint64_t symtab;        /* .dynsym: address, */
    uint64_t symtab_count;  /* entries, from the hash table */
    const uint8_t *symbols; /* ... and their bytes */
    uint64_t strtab, strtab_size;
    uint64_t versym, verneed, verdef; /* symbol versions: addresses */
    uint64_t eh_frame; /* address; walked where there is no eh_table */
    struct patas__relocs relocs[3];      /* DT_JMPREL, DT_RELA, DT_REL */
    uint64_t plt_got_start, plt_got_end; /* range holding GOT slots, or 0 */
    uint64_t plt_got; /* what PLT stubs of i386 count from (DT_PLTGOT), or 0 */
    /* Where the IFUNC resolvers of .dynsym are, sorted, relative to `start`.
     * More than fit: ifunc_count is above PATAS__IFUNCS_MAX. */
    uint32_t ifuncs[PATAS__IFUNCS_MAX];
    uint32_t ifunc_count;
};

/* One entry of .dynsym. */
struct patas__symbol {
    uint64_t address; /* bias included */
    uint64_t size;
    uint32_t name; /* offset in the string table */
    uint8_t type;  /* ELF's STT_* */
    bool defined;  /* in this image */
};

/* Entry `index` of .dynsym; false if there is no such one. */
PATAS__HIDDEN bool patas__image_symbol(const struct patas__image *image,
                                       uint64_t index,
                                       struct patas__symbol *symbol);

/* A symbol's name, zero-terminated inside its table, or NULL. */
PATAS__HIDDEN const char *patas__image_name(const struct patas__image *image,
                                            uint32_t name);

/* What a relocation asks for, as far as it matters here. */
enum patas__reloc_kind {
    PATAS__RELOC_OTHER,
    PATAS__RELOC_SLOT,     /* the address of a symbol, in a GOT slot */
    PATAS__RELOC_IRELATIVE /* what the resolver at `addend` answers */
};

struct patas__reloc {
    uint64_t address; /* that is relocated, bias included */
    uint64_t addend;  /* IRELATIVE: the resolver's address; 0 if not kept */
    uint32_t symbol;  /* index in .dynsym */
    uint8_t kind;     /* enum patas__reloc_kind */
};

/* Entry `index` of image->relocs[table]; false if there is no such one. */
PATAS__HIDDEN bool patas__image_reloc(const struct patas__image *image,
                                      unsigned table, uint64_t index,
                                      struct patas__reloc *reloc);

/* The segment that holds `address`, or NULL. */
static inline const struct patas__segment *
patas__image_segment(const struct patas__image *image, uint64_t address)
{
    for (unsigned i = 0; i < image->segment_count; i++)
        if (address - image->segments[i].address < image->segments[i].size)
            return &image->segments[i];
    return NULL;
}

/* The executable segment that holds `address`, or NULL. */
PATAS__HIDDEN const struct patas__segment *
patas__image_code(const struct patas__image *image, uint64_t address);

/* `size` > 0 bytes at `address`, or NULL if they don't lie in one segment. */
PATAS__HIDDEN const uint8_t *
patas__image_bytes(const struct patas__image *image, uint64_t address,
                   uint64_t size);

/* Fills the tables in from segments, bias and program headers (ELF64 or ELF32
 * by isa->pointer_size); start and end, too, where both are 0. `phdrs` are the
 * bytes of `count` headers. Damaged tables are left out, never an error. */
PATAS__HIDDEN void patas__image_read(struct patas__image *image,
                                     const uint8_t *phdrs, size_t count);

/* How an extent is known. */
enum patas__source {
    PATAS__SOURCE_NONE,   /* not known: nothing covers the address */
    PATAS__SOURCE_SYMBOL, /* a symbol with a size */
    PATAS__SOURCE_UNWIND, /* a frame description in .eh_frame */
    PATAS__SOURCE_STUB    /* a stub inside the description of a PLT */
};

/* Stage 2. */
struct patas__extent {
    uint64_t start;   /* of the function that covers the asked address */
    uint64_t size;    /* bytes, padding not included */
    uint64_t padding; /* bytes of NOP or int3 encodings right behind it that no
                         known function owns, at most 64 */
    uint64_t next;    /* where these end at the latest; 0: there are none */
    uint8_t source;   /* enum patas__source */
    bool entry;       /* the asked address is an entry: the start, or a symbol
                         or a PLT stub of its own (the extent is then that one's,
                         not the surrounding frame description's) */
};

/* The function that covers `address`. False if nothing is known about it. */
PATAS__HIDDEN bool patas__extent_find(const struct patas__image *image,
                                      uint64_t address,
                                      struct patas__extent *extent);

/* What looking one function up leaves for the next one of the same image,
 * which is quicker then. All 0 at first. */
struct patas__near {
    uint64_t rank;    /* of the entry of the search table */
    uint64_t cie;     /* address of the CIE; 0: none yet */
    uint8_t encoding; /* ... and how it writes addresses */
};

/* The same, but for the padding, which patas__extent_pad() adds. */
PATAS__HIDDEN bool patas__extent_find_near(const struct patas__image *image,
                                           uint64_t address,
                                           struct patas__near *near,
                                           struct patas__extent *extent);
PATAS__HIDDEN void patas__extent_pad(const struct patas__image *image,
                                     struct patas__extent *extent);

/* The description of the code around `address`, by unwind tables alone: what
 * symbols could tell is not asked. */
PATAS__HIDDEN bool patas__extent_around(const struct patas__image *image,
                                        uint64_t address,
                                        struct patas__near *near,
                                        struct patas__extent *frame);

/* Entry `index` of the unwind search table: start and size of the code that it
 * describes. False past the end, and for a damaged entry of size 0. */
PATAS__HIDDEN bool patas__extent_frame(const struct patas__image *image,
                                       uint64_t index, struct patas__near *near,
                                       struct patas__extent *frame);

/* Where the code of entry `index` begins; false past the end. */
PATAS__HIDDEN bool patas__extent_start(const struct patas__image *image,
                                       uint64_t index, uint64_t *start);

/* How many entries of the unwind search table begin at or below `address`; the
 * last of them begins at `*start`. */
PATAS__HIDDEN uint64_t patas__extent_rank(const struct patas__image *image,
                                          uint64_t address, uint64_t *start);

/*
 * Which bytes are the target of a direct jump or branch, or another way in.
 *
 * A call of a function's first byte is left out, since it means the function.
 * A call into the window behind its first byte, and a symbol of .dynsym there,
 * are second entries and count like branches.
 *
 * A false hit costs only a better plan.
 */

/* A window, and where to look for what leads there. */
struct patas__search {
    const struct patas__image *image;
    uint64_t address, size; /* the window, at most 32 bytes */
    /* Not looked at: the bytes that will be moved, whose branches the
     * relocator re-aims. */
    uint64_t skip_from, skip_to;
    struct patas__near *near; /* may be NULL */
    /* Makes of the `size` bytes at `address` what they were unpatched; NULL:
     * nothing is patched in this image. */
    void (*unpatch)(uint64_t address, uint8_t *bytes, size_t size);
    const struct patas__segment *code; /* where the instruction set looks */
    uint32_t found; /* bit k: something leads to address + k */
};

/* Everything, by a look at every byte of every executable segment. Returns
 * `found`, which is 0 at first. */
PATAS__HIDDEN uint32_t patas__branches_search(struct patas__search *search);

/* What patas__branches_map() leaves out: short branches, and whatever else
 * stands within PATAS__NEAR bytes of its target. */
PATAS__HIDDEN uint32_t patas__branches_near(struct patas__search *search);

/* Something at `source` leads to `target`: is that asked for? */
static inline bool patas__search_wants(const struct patas__search *search,
                                       uint64_t source, uint64_t target,
                                       bool call)
{
    uint64_t k = target - search->address;

    return k < search->size && !(call && k == 0) &&
           source - search->skip_from >= search->skip_to - search->skip_from;
}

static inline void patas__search_hit(struct patas__search *search,
                                     uint64_t source, uint64_t target,
                                     bool call)
{
    if (patas__search_wants(search, source, target, call))
        search->found |= (uint32_t)1 << (target - search->address);
}

/* May the `size` bytes at `source` be a branch, with or without prefixes in
 * front? Not if decoding the function that they are in steps over them. */
PATAS__HIDDEN bool patas__search_decodes(const struct patas__search *search,
                                         uint64_t source, unsigned size);

enum {
    PATAS__NEAR = 16 /* bytes between a branch and its target */
};

/*
 * For many windows: one look at every byte, into a bit map with a bit a byte
 * (`bits`, zeroed, with patas__branches_map_size() bytes; index address -
 * image->start). `starts` is room of the same size, zeroed too, that is needed
 * meanwhile.
 */
PATAS__HIDDEN size_t patas__branches_map_size(const struct patas__image *image);
PATAS__HIDDEN void patas__branches_map(const struct patas__image *image,
                                       uint8_t *bits, uint8_t *starts);

#endif
