/* SPDX-License-Identifier: MIT */
/*
 * What the files of libpatas-symbols share.
 *
 *     modules.c   which files are mapped where (the dynamic linker's list)
 *     debug.c     a module's ELF file and its separate debug file
 *     dwarf.c     its debug information, which may lie in further files
 *     table.c     the functions that a module's symbol tables name
 *     lookup.c    the tables' indexes: by name, by part of a name, by address
 *     spec.c      what the user wrote
 *     find.c      specs to functions      guess.c     what was meant
 *     describe.c  addresses to names      why*.c      what a patch would miss
 *     foreign.c   other people's patches  pending.c   names not loaded yet
 *
 * One lock guards all tables. Results are copies, so that nothing that a
 * caller holds dies with a module.
 */
#ifndef PATAS_SYMBOLS_INTERNAL_H
#define PATAS_SYMBOLS_INTERNAL_H

#include <patas/symbols.h>

#include <elfutils/libdw.h>
#include <elfutils/libdwfl.h>
#include <gelf.h>
#include <link.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PATAS__HIDDEN __attribute__((visibility("hidden")))

#ifdef __cplusplus
extern "C" {
#endif

/* A string table, in a mapped file or in memory. The byte behind the last is
 * never read: names that don't end are left out when the table is made. */
struct patas__strings {
    const char *bytes;
    size_t size;
};

enum {
    PATAS__DYNAMIC = 0, /* .dynsym */
    PATAS__FULL = 1,    /* .symtab, of the file or of its debug file */
    PATAS__STRING_TABLES = 2
};

/* One name of one function: 24 bytes, since there may be a million. */
struct patas__symbol {
    uint64_t value;  /* as linked, without the module's bias */
    uint32_t size;   /* bytes; the largest value stands for more */
    uint32_t name;   /* offset in the string table */
    uint32_t file;   /* offset of its source file's name in the same; 0 none */
    uint16_t flags;  /* PATAS_SYMBOL_* */
    uint8_t strings; /* PATAS__DYNAMIC or PATAS__FULL */
    uint8_t version; /* index in the module's versions; 0 none */
};

enum {
    PATAS__VERSIONS_MAX = 255,
    PATAS__SIGNATURE = 2 /* words of 64 bits */
};

/* Which pairs of neighbouring bytes a name has: a superset of those of any
 * name that is a part of it. */
struct patas__signature {
    uint64_t words[PATAS__SIGNATURE];
};

/* An IRELATIVE relocation. */
struct patas__irelative {
    uint64_t resolver; /* as linked */
    uint64_t slot;
};

struct patas__module {
    struct patas__module *next;
    char *path; /* for people; of the program: /proc/self/exe's */
    uintptr_t bias;
    const void *phdr_mapped; /* where the headers lie: identity, not read */
    ElfW(Phdr) * phdr;       /* a copy */
    unsigned phdr_count;
    uint8_t build_id[64]; /* the mapped one, ... */
    size_t build_id_size; /* ... or 0 */
    bool program, vdso, loader;
    bool seen;  /* on the dynamic linker's list right now */
    bool read;  /* the tables below are filled */
    bool stale; /* the file on disk is another one */

    int fd;   /* of the file, or -1 */
    Elf *elf; /* or NULL */
    int debug_fd;
    Elf *debug_elf; /* separate debug file, or NULL */
    Dwfl *mini;     /* unpacks .gnu_debugdata */
    char *mini_strings;
    bool dwarf_tried;
    Dwarf *dwarf; /* or NULL */
    int common_fd;
    Elf *common_elf;   /* what dwz moved out of several files, or NULL */
    Dwarf *common;     /* its debug info */
    char *common_name; /* how it is called, if it was not found */
    unsigned split_count, split_missing; /* .dwo files, as of the last walk */
    char *split_name;                    /* of a missing one, or NULL */

    struct patas__strings strings[PATAS__STRING_TABLES];
    char *versions[PATAS__VERSIONS_MAX + 1];
    bool versions_owned;
    struct patas__symbol *symbols;
    uint32_t count, capacity;

    uint32_t *buckets; /* heads: index + 1 */
    uint32_t *chain;   /* next: index + 1 */
    uint32_t bucket_mask;
    struct patas__signature *signatures;
    uint32_t *by_address; /* sorted by value */

    bool irelatives_read;
    struct patas__irelative *irelatives;
    size_t irelative_count;
};

/* modules.c: under the lock from enter to leave. NULL error is allowed. */
PATAS__HIDDEN patas_status patas__symbols_enter(patas_error *error);
PATAS__HIDDEN void patas__symbols_leave(void);
PATAS__HIDDEN bool patas__symbols_held(void); /* by this thread */
/* As the list was when the lock was taken. */
PATAS__HIDDEN struct patas__module *patas__modules(void);
PATAS__HIDDEN void patas__modules_forget(void);
PATAS__HIDDEN struct patas__module *patas__module_around(uintptr_t address);
PATAS__HIDDEN bool patas__module_is_code(const struct patas__module *module,
                                         uint64_t value);
PATAS__HIDDEN bool patas__module_holds(const struct patas__module *module,
                                       uint64_t value, uint64_t size);
PATAS__HIDDEN bool patas__module_named(const struct patas__module *module,
                                       const char *name, size_t length);
PATAS__HIDDEN const char *
patas__module_base(const struct patas__module *module);
PATAS__HIDDEN patas_status patas__symbols_fail(patas_error *error,
                                               patas_status status,
                                               int os_errno);

/* debug.c */
PATAS__HIDDEN extern patas_setup patas__setup;
PATAS__HIDDEN void patas__module_open(struct patas__module *module);
PATAS__HIDDEN void patas__module_close(struct patas__module *module);
PATAS__HIDDEN void patas__module_mapped_id(struct patas__module *module);
PATAS__HIDDEN bool patas__elf_build_id(Elf *elf, const uint8_t **id,
                                       size_t *size);
/* Into module->common_elf, if it is that file: its build-id is `id`. */
PATAS__HIDDEN bool patas__debug_common(struct patas__module *module,
                                       const char *path, const void *id,
                                       size_t id_size);
PATAS__HIDDEN Elf_Scn *patas__elf_section(Elf *elf, const char *name,
                                          GElf_Shdr *header);

/* dwarf.c */
PATAS__HIDDEN Dwarf *patas__module_dwarf(struct patas__module *module);
PATAS__HIDDEN void patas__dwarf_close(struct patas__module *module);
/* The next unit with its code's description, from its .dwo file if it has one.
 * `cu` is NULL at first. False behind the last. */
PATAS__HIDDEN bool patas__dwarf_unit(struct patas__module *module, Dwarf *dwarf,
                                     Dwarf_CU **cu, Dwarf_Die *unit);
PATAS__HIDDEN void patas__dwarf_split(struct patas__module *module,
                                      Dwarf_Die *unit);
/* What is missing of the debug information, in words; NULL if nothing is. */
PATAS__HIDDEN char *patas__dwarf_missing(const struct patas__module *module);

/* table.c, memory.c */
PATAS__HIDDEN void patas__module_read(struct patas__module *module);
/* The same of files that are open already. */
PATAS__HIDDEN void patas__module_read_tables(struct patas__module *module);
PATAS__HIDDEN void patas__module_read_memory(struct patas__module *module);
PATAS__HIDDEN void patas__table_add(struct patas__module *module,
                                    const GElf_Sym *symbol, unsigned strings,
                                    uint32_t file, unsigned version);

/* lookup.c */
PATAS__HIDDEN const char *patas__name(const struct patas__module *module,
                                      const struct patas__symbol *symbol);
PATAS__HIDDEN bool patas__lookup_build(struct patas__module *module);
PATAS__HIDDEN void patas__lookup_free(struct patas__module *module);
PATAS__HIDDEN size_t patas__base_length(const char *name);
PATAS__HIDDEN uint32_t patas__lookup_first(const struct patas__module *module,
                                           const char *name, size_t length);
PATAS__HIDDEN uint32_t patas__lookup_next(const struct patas__module *module,
                                          uint32_t index);
PATAS__HIDDEN void patas__signature_of(const char *text, size_t length,
                                       struct patas__signature *signature);
PATAS__HIDDEN bool patas__signatures(struct patas__module *module);
PATAS__HIDDEN const struct patas__symbol *
patas__lookup_address(struct patas__module *module, uint64_t value);
/* Symbols whose value is exactly that: the first's place in by_address. */
PATAS__HIDDEN uint32_t patas__lookup_from(struct patas__module *module,
                                          uint64_t value);

/* demangle.c, demangle_cxx.cc, demangle_rust.c. All but the last give a string
 * for free(), or NULL. */
PATAS__HIDDEN bool patas__is_mangled(const char *name);
PATAS__HIDDEN char *patas__demangle(const char *name);
PATAS__HIDDEN char *patas__demangle_cxx(const char *name);
PATAS__HIDDEN char *patas__demangle_rust(const char *name);
PATAS__HIDDEN bool patas__plain_matches(const char *plain, const char *wanted);

/* spec.c */
struct patas__spec {
    const char *file, *name, *module, *version; /* NULL: not given */
    bool any;                                   /* has * ? [ */
    bool plain;                                 /* looks like C++ or Rust */
    bool has_address, absolute;
    uint64_t address;
    char *text; /* owns the strings above */
};
PATAS__HIDDEN bool patas__spec_parse(const char *text,
                                     struct patas__spec *spec);
PATAS__HIDDEN void patas__spec_free(struct patas__spec *spec);
PATAS__HIDDEN bool patas__spec_wants(const struct patas__spec *spec,
                                     const struct patas__module *module);

/* find.c */
struct patas__match {
    struct patas__module *module;
    const struct patas__symbol *symbol;
    struct patas__symbol made_up; /* for an address that no symbol names */
};
struct patas__matches {
    struct patas__match *items;
    size_t count, capacity;
    uint32_t *places; /* index + 1, by module and value */
    bool failed;      /* out of memory */
};
PATAS__HIDDEN void patas__matches_add(struct patas__matches *matches,
                                      struct patas__module *module,
                                      const struct patas__symbol *symbol);
PATAS__HIDDEN void patas__matches_free(struct patas__matches *matches);
PATAS__HIDDEN void patas__find(const struct patas__spec *spec,
                               struct patas__matches *matches);
PATAS__HIDDEN void patas__keep_best(struct patas__matches *matches);
PATAS__HIDDEN uintptr_t patas__ifunc_choice(struct patas__module *module,
                                            const struct patas__symbol *symbol);

/* Strings and arrays of one result, freed together. */
struct patas__arena {
    struct patas__block *blocks;
    bool failed;
};
PATAS__HIDDEN void *patas__arena_take(struct patas__arena *arena, size_t size);
PATAS__HIDDEN char *patas__arena_text(struct patas__arena *arena,
                                      const char *text);
PATAS__HIDDEN char *patas__arena_print(struct patas__arena *arena,
                                       const char *format, ...)
    __attribute__((format(printf, 2, 3)));
PATAS__HIDDEN void patas__arena_free(struct patas__arena *arena);
PATAS__HIDDEN void patas__symbol_copy(struct patas__arena *arena,
                                      const struct patas__match *match,
                                      patas_symbol *out);

/* Text that grows. */
struct patas__text {
    char *bytes;
    size_t length, capacity;
    bool failed;
    bool partial; /* something that belongs in it is not known */
};
PATAS__HIDDEN void patas__text_add(struct patas__text *text, const char *format,
                                   ...) __attribute__((format(printf, 2, 3)));

/* guess.c */
enum {
    PATAS__GUESSES = 6
};
PATAS__HIDDEN void patas__guess(const struct patas__spec *spec,
                                struct patas__matches *matches);

/* pending.c: whether the linker writes into the module's code. */
PATAS__HIDDEN bool
patas__module_text_relocated(const struct patas__module *module);

/* describe.c */
PATAS__HIDDEN bool patas__source_line(struct patas__module *module,
                                      uint64_t value, const char **file,
                                      unsigned *line);
PATAS__HIDDEN const char *patas__short_path(const char *path);

#ifdef __cplusplus
}
#endif

#endif
