/* SPDX-License-Identifier: MIT */
/* What the files of patas_why() share. */
#ifndef PATAS_SYMBOLS_WHY_H
#define PATAS_SYMBOLS_WHY_H

#include "internal.h"

enum {
    PATAS__WHY_DEPTH = 256,  /* nested blocks of a function, at most */
    PATAS__WHY_ITEMS = 50000 /* findings that are kept */
};

/* One question, while it is answered. */
struct patas__why {
    patas_why_info why; /* first: what the caller gets */
    struct patas__arena arena;
    patas_found *found; /* owns the symbol's strings */
    struct patas__module *module;
    const char *name;  /* without version and suffix, as linked */
    const char *plain; /* what was asked for */
    uint64_t value;    /* entry, as linked; 0: there is none */
    uint64_t size;
    bool has_die;
    Dwarf_Die die;    /* of the code at `value` */
    Dwarf_Die origin; /* its abstract instance, or the same */
    patas_why_item *items;
    size_t count, capacity;
};

/* Adds a finding. Texts are copied; NULL is "". */
PATAS__HIDDEN void patas__why_add(struct patas__why *work, patas_why_kind kind,
                                  uintptr_t address, const char *name,
                                  const char *file, unsigned line,
                                  const char *text);

/* why_code.c: direct calls and jumps to `value`, by the code. */
PATAS__HIDDEN void patas__why_code(struct patas__why *work);
PATAS__HIDDEN size_t patas__count_calls(struct patas__module *module,
                                        uint64_t value, uint64_t size);

/* why_family.c: other names, other copies. */
PATAS__HIDDEN void patas__why_family(struct patas__why *work);
PATAS__HIDDEN void patas__why_clones(struct patas__why *work);

/* why_debug.c: what only debug info knows. */
PATAS__HIDDEN bool patas__die_at(struct patas__module *module, uint64_t value,
                                 Dwarf_Die *die);
PATAS__HIDDEN void patas__why_debug(struct patas__why *work);
PATAS__HIDDEN bool patas__why_gone(struct patas__why *work,
                                   const struct patas__spec *spec);
PATAS__HIDDEN void patas__die_origin(const Dwarf_Die *die, Dwarf_Die *origin);
PATAS__HIDDEN const char *patas__die_name(const Dwarf_Die *die);
PATAS__HIDDEN const char *patas__die_linkage_name(const Dwarf_Die *die);

/* Calls `visit` for each DIE below `die` that can lie in code or hold some, and
 * with the function that has its code. False from `visit` ends the walk. */
struct patas__walk {
    bool (*visit)(struct patas__walk *walk, Dwarf_Die *die,
                  const Dwarf_Die *function);
    void *data;
};
PATAS__HIDDEN bool patas__walk_units(struct patas__module *module, Dwarf *dwarf,
                                     struct patas__walk *walk);

/* why_type.c */
PATAS__HIDDEN char *patas__prototype(struct patas__arena *arena,
                                     Dwarf_Die *function, const char *name);
PATAS__HIDDEN void patas__why_types(struct patas__why *work,
                                    uintptr_t replacement);

/* why_text.c */
PATAS__HIDDEN void patas__why_words(struct patas__why *work);

/* find.c */
/* The functions of the best rank; AMBIGUOUS comes with all of them. The linker
 * is asked for an IFUNC only by those who hold no lock that dlopen() waits for.
 */
PATAS__HIDDEN patas_status patas__find_best(const char *spec, bool ask_linker,
                                            patas_found **found,
                                            patas_error *error);
PATAS__HIDDEN patas_status patas__find_one(const char *spec, bool ask_linker,
                                           patas_fn *function,
                                           patas_error *error);

#endif
