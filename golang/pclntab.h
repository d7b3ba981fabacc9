/* SPDX-License-Identifier: MIT */
/*
 * What a Go program says about its own functions: .gopclntab.
 *
 * The table survives stripping, since the Go runtime itself unwinds by it. It
 * gives names, extents, lines, and the calls that the compiler inlined, for
 * Go 1.18 to 1.26. Its format is Go's own (cmd/link/internal/ld/pcln.go,
 * runtime/symtab.go) and has changed twice in that time.
 *
 *     image      segments of the program; here, or read from a file
 *     pclntab    header, names, files, pc-value tables, functions
 *     moduledata points to it, and to the trees of inlined calls ("gofunc")
 *
 * Pure: nothing outside the image's segments is ever read, so a hostile file
 * gets an answer, not a crash.
 */
#ifndef PATAS_GOLANG_PCLNTAB_H
#define PATAS_GOLANG_PCLNTAB_H

#include "image.h"

enum patas__go_layout {
    PATAS__GO_118 = 118, /* Go 1.18 and 1.19 */
    PATAS__GO_120 = 120  /* Go 1.20 to 1.26 */
};

struct patas__pclntab {
    const struct patas__image *image;
    const uint8_t *base; /* the header */
    uint64_t size;       /* bytes from there to the end of its segment */
    uint64_t address;
    uint64_t text;   /* what the functions' offsets count from */
    uint64_t gofunc; /* what the trees' offsets count from; 0 = not found */
    uint64_t moduledata;
    uint32_t functions;
    uint8_t layout; /* enum patas__go_layout */
    uint8_t quantum, pointer_size;
    /* Offsets from base. */
    uint64_t names, cus, files, values, table;
};

enum {
    PATAS__GO_ASSEMBLY = 4 /* struct patas__gofunc, flag */
};

struct patas__gofunc {
    uint64_t entry, end; /* padding included */
    uint64_t at;         /* of its record, from the table's start */
    uint32_t index;
    uint32_t name; /* from the names' start */
    int32_t args;  /* bytes of arguments and results, spill space included */
    uint32_t cu, pcfile, pcln;
    uint32_t pcdata_count;
    int32_t start_line; /* 0 where the layout has none */
    uint8_t id, flag, funcdata_count;
};

/* Finds the table in an image whose pointers are relocated already. */
PATAS__HIDDEN bool patas__pclntab_find(const struct patas__image *image,
                                       struct patas__pclntab *tab);

/* Function `index`, in the order of their entries. */
PATAS__HIDDEN bool patas__pclntab_func(const struct patas__pclntab *tab,
                                       uint32_t index,
                                       struct patas__gofunc *func);

/* The function that covers `pc`. */
PATAS__HIDDEN bool patas__pclntab_at(const struct patas__pclntab *tab,
                                     uint64_t pc, struct patas__gofunc *func);

/* The next function, from `*index` on, that is named so; counts *index on. */
PATAS__HIDDEN bool patas__pclntab_named(const struct patas__pclntab *tab,
                                        const char *name, size_t length,
                                        uint32_t *index,
                                        struct patas__gofunc *func);

/* A zero-terminated name, its length in *length; NULL if damaged. */
PATAS__HIDDEN const char *patas__pclntab_name(const struct patas__pclntab *tab,
                                              uint32_t offset, size_t *length);

/* File and line of an instruction; NULL and 0 where there is none. */
PATAS__HIDDEN const char *patas__pclntab_line(const struct patas__pclntab *tab,
                                              const struct patas__gofunc *func,
                                              uint64_t pc, int32_t *line,
                                              size_t *length);

/* One inlined call. */
struct patas__inlined {
    struct patas__gofunc in; /* the function whose code it became part of */
    uint64_t pc;             /* the place of the call, for the line */
};

/* Every inlined call of the function that is named so. Ends when `each` says
 * false. Returns how many it told. */
PATAS__HIDDEN size_t patas__pclntab_inlined(
    const struct patas__pclntab *tab, const char *name, size_t length,
    bool (*each)(void *data, const struct patas__inlined *inlined), void *data);

/* Where the program's types begin, and the `count` offsets from there, of 32
 * bits each, of those that have no name: pointers to named ones among them. */
PATAS__HIDDEN bool patas__pclntab_types(const struct patas__pclntab *tab,
                                        uint64_t *types, uint64_t *offsets,
                                        uint64_t *count);

/* Does a call or a jump in Go code go to `entry`, from outside of it? */
PATAS__HIDDEN bool patas__pclntab_called(const struct patas__pclntab *tab,
                                         const struct patas__gofunc *func);

#endif
