/* SPDX-License-Identifier: MIT */
/*
 * patas symbols - find any function by name, and know beforehand whether a
 * patch can work.
 *
 *     patas_fn parse;
 *     if (patas_find("json.c:parse", &parse, NULL) == PATAS_OK)
 *         ...
 *
 * A library of its own, libpatas-symbols, over elfutils. The engine does
 * without it. How a function is named:
 *
 *     f                    in the program or in any library
 *     f@libc  f@./app      in that module; with a version: f@GLIBC_2.2.5
 *     json.c:f             the static f of json.c
 *     0x1234@libc          an address as the file has it; 0x7f..: in memory
 *     Ns::K::m             C++, Rust: demangled; all overloads
 *     Ns::K::m(int)        that overload
 *     're*'                several, by patas_find_all()
 *
 * Rules that hold for every function below unless it says otherwise:
 *
 *   - Any thread may call it. It allocates by malloc(), opens files, and waits
 *     for other callers; none may be called from a signal handler.
 *   - It answers PATAS_ERR_BUSY when it is called from within itself.
 *   - `error` may be NULL. On success it is left alone; on failure it is
 * filled.
 *   - Files are read, never written; nothing is fetched from a network unless
 *     patas_symbols_setup() said so.
 *
 * This header is C99 and C++11. Since 0.1.
 */
#ifndef PATAS_SYMBOLS_H
#define PATAS_SYMBOLS_H

#include <patas.h>

#ifdef __cplusplus
extern "C" {
#endif

/** For patas_symbol.flags. */
enum {
    PATAS_SYMBOL_STATIC = 1u << 0,   /* local to its source file, or hidden */
    PATAS_SYMBOL_EXPORTED = 1u << 1, /* other modules may link to it */
    PATAS_SYMBOL_WEAK = 1u << 2,
    PATAS_SYMBOL_IFUNC = 1u << 3,   /* `address` is what `resolver` chose */
    PATAS_SYMBOL_OLD = 1u << 4,     /* not the version that is linked to */
    PATAS_SYMBOL_CLONE = 1u << 5,   /* made by the compiler: f.isra.0 */
    PATAS_SYMBOL_PROGRAM = 1u << 6, /* in the program, not in a library */
    PATAS_SYMBOL_VDSO = 1u << 7,    /* the kernel's; can't be patched */
    PATAS_SYMBOL_UNTYPED = 1u << 8  /* assembly that says not what it is */
};

/** One function, under one of its names. Strings are never NULL. */
typedef struct patas_symbol {
    uintptr_t address;   /* its entry; 0: an IFUNC that isn't resolved yet */
    uintptr_t resolver;  /* of an IFUNC; else 0 */
    size_t size;         /* bytes, as the symbol says; 0: it doesn't */
    const char *name;    /* as the linker knows it */
    const char *plain;   /* demangled; the same as `name` in C */
    const char *version; /* "GLIBC_2.14", or "" */
    const char *file;    /* source file of a static function, or "" */
    const char *module;  /* path of the program or library */
    const char *spec;    /* names this function and no other, if that can be */
    unsigned flags;      /* PATAS_SYMBOL_STATIC ... */
} patas_symbol;

/** What a search found. The caller frees it; it stays right as text when a
 *  module is unloaded, while its addresses don't. */
typedef struct patas_found {
    size_t count;
    const patas_symbol *symbols; /* one a function, the program's first */
    size_t guess_count;          /* if nothing was found: */
    const char *const *guesses;  /* what may have been meant */
    const char *text;            /* a miss or an ambiguity in a sentence */
} patas_found;

/** For patas_setup.flags. */
enum {
    PATAS_SYMBOLS_DEBUGINFOD = 1u << 0, /* ask the servers of
                                           $DEBUGINFOD_URLS for debug info */
    PATAS_SYMBOLS_NO_DEBUG = 1u << 1    /* read no separate debug files */
};

/** Settings of the process; set size to sizeof(patas_setup). */
typedef struct patas_setup {
    size_t size;
    unsigned flags;         /* PATAS_SYMBOLS_DEBUGINFOD ... */
    const char *debug_path; /* folders, by colons; NULL: /usr/lib/debug */
} patas_setup;

/**
 * Where names come from. What was read before is forgotten.
 *
 * @retval PATAS_ERR_ARGUMENT   Unknown size or flag.
 * @retval PATAS_ERR_NO_MEMORY  Nothing was changed.
 */
PATAS_API patas_status patas_symbols_setup(const patas_setup *setup,
                                           patas_error *error);

/**
 * The one function that `spec` names.
 *
 * The program's functions and what libraries export come first; a library's
 * static or hidden function is found if there is no other. Two functions of
 * one rank are an ambiguity, two names of one function aren't. An IFUNC stands
 * for the implementation that is in use.
 *
 * @retval PATAS_ERR_NOT_FOUND  patas_find_all() tells what may be meant.
 * @retval PATAS_ERR_AMBIGUOUS  patas_find_all() tells all.
 * @retval PATAS_ERR_ARGUMENT   `spec` can't be read.
 * @retval PATAS_ERR_UNSUPPORTED An IFUNC that nobody resolved yet.
 */
PATAS_API PATAS_NODISCARD patas_status patas_find(const char *spec,
                                                  patas_fn *function,
                                                  patas_error *error);

/**
 * Every function that `spec` names, of every rank: each module's copy, each
 * version, each overload. `*`, `?` and `[...]` match as in file names.
 *
 * @param found  Also filled with PATAS_ERR_NOT_FOUND, for its guesses and its
 *               text; NULL after any other failure.
 */
PATAS_API PATAS_NODISCARD patas_status patas_find_all(const char *spec,
                                                      patas_found **found,
                                                      patas_error *error);
PATAS_API void patas_found_free(patas_found *found);

/** What is at an address. Strings are never NULL. */
typedef struct patas_place {
    uintptr_t address;
    const char *function; /* demangled; "" if no function is known there */
    uintptr_t entry;      /* of the function, or 0 */
    const char *module;   /* path, or "" */
    uint64_t offset;      /* from `entry`, else from the module's base */
    const char *file;     /* source file, or "" */
    unsigned line;        /* 0: unknown */
    const char *text;     /* "parse+0x12 (json.c:41) in ./app" */
} patas_place;

/**
 * Name, file and line of an address.
 *
 * @retval PATAS_ERR_NOT_FOUND  No module is loaded there.
 */
PATAS_API PATAS_NODISCARD patas_status patas_describe(uintptr_t address,
                                                      patas_place **place,
                                                      patas_error *error);
PATAS_API void patas_place_free(patas_place *place);

/** Why a patch may not do what is expected. Values are stable. */
typedef enum patas_why_kind {
    PATAS_WHY_INLINED = 0,        /* a copy inside another function */
    PATAS_WHY_CALL = 1,           /* a direct call: a patch reaches it */
    PATAS_WHY_TAIL_CALL = 2,      /* a jump: reached; the caller is hidden */
    PATAS_WHY_DEVIRTUALIZED = 3,  /* a direct call of a virtual function */
    PATAS_WHY_CLONE = 4,          /* f.isra.0, f.constprop.0, f.part.0, ... */
    PATAS_WHY_FOLDED = 5,         /* another function has the same code */
    PATAS_WHY_ALIAS = 6,          /* another name of the same function */
    PATAS_WHY_BYPASS = 7,         /* does the same, and is called instead */
    PATAS_WHY_FAMILY = 8,         /* belongs with it: open64, __open_2 */
    PATAS_WHY_VERSION = 9,        /* an older version, for older programs */
    PATAS_WHY_COPY = 10,          /* another module has one of its own */
    PATAS_WHY_VDSO = 11,          /* the kernel's code is what runs */
    PATAS_WHY_PROTOTYPE = 12,     /* the replacement's type differs */
    PATAS_WHY_IPA_RA = 13,        /* callers know which registers it spares */
    PATAS_WHY_GONE = 14,          /* inlined everywhere: nothing to patch */
    PATAS_WHY_NO_DEBUG_INFO = 15, /* inlined copies and types are unknown */
    PATAS_WHY_REFUSED = 16,       /* the engine can't patch it */
    PATAS_WHY_COUNT = 17
} patas_why_kind;

/** One finding. Strings are never NULL. */
typedef struct patas_why_item {
    patas_why_kind kind;
    uintptr_t address; /* of the site or of the other function, or 0 */
    const char *name;  /* the function that the site is in, or the other */
    const char *file;  /* source file of the site, or "" */
    unsigned line;
    const char *text; /* the finding in words */
} patas_why_item;

/** What a patch of a function would reach, and what it would miss. */
typedef struct patas_why_info {
    patas_symbol symbol; /* what would be patched; address 0: gone */
    const char *file;    /* where it is defined, or "" */
    unsigned line;
    const char *prototype;         /* "int parse(char *, size_t)", or "" */
    patas_plan_info plan;          /* form NONE: the engine refuses */
    size_t count[PATAS_WHY_COUNT]; /* items of each kind */
    size_t item_count;
    const patas_why_item *items; /* sorted by kind, then by address */
    const char *text;            /* all of it, for a person; many lines */
} patas_why_info;

/**
 * Say beforehand whether a patch can work, and what it will not reach.
 *
 * @param spec         As for patas_find().
 * @param replacement  Whose type is compared with the target's, or NULL.
 * @param why          The caller frees it; NULL after a failure.
 *
 * A function that the compiler inlined everywhere is no failure: kind GONE.
 *
 * @retval PATAS_ERR_NOT_FOUND  Neither symbols nor debug info know it.
 * @retval PATAS_ERR_AMBIGUOUS  See patas_find().
 */
PATAS_API PATAS_NODISCARD patas_status patas_why(const char *spec,
                                                 patas_fn replacement,
                                                 patas_why_info **why,
                                                 patas_error *error);
PATAS_API void patas_why_free(patas_why_info *why);

/** The text of `why`, as snprintf() gives it. */
PATAS_API size_t patas_why_text(const patas_why_info *why, char *text,
                                size_t size);

/** Code that isn't what the file on disk has. Strings are never NULL. */
typedef struct patas_foreign {
    uintptr_t address;    /* first byte that differs */
    size_t size;          /* bytes, gaps of a few included */
    uint8_t mapped[16];   /* the first of them, */
    uint8_t on_disk[16];  /* and what the file has */
    const char *function; /* that it is in, or "" */
    const char *module;
    uintptr_t target;  /* where a jump there leads to, or 0 */
    const char *owner; /* module of the target, or "anonymous memory" */
    int ours;          /* patas wrote it */
    const char *text;  /* "write@libc: ? not ours: e9 .. -> agent.so" */
} patas_foreign;

/** The text of a module against its file. */
typedef struct patas_foreign_list {
    size_t count;
    const patas_foreign *patches;
    size_t unread_count;       /* modules that could not be compared: */
    const char *const *unread; /* no such file, another build of it, ... */
} patas_foreign_list;

/**
 * Who else patches this process: the executable memory of each module whose
 * name is `module` (as behind the @ of a spec; NULL: of all) is compared with
 * its file.
 */
PATAS_API PATAS_NODISCARD patas_status patas_foreign_find(
    const char *module, patas_foreign_list **list, patas_error *error);
PATAS_API void patas_foreign_free(patas_foreign_list *list);

/** A name to be replaced once it is there. */
typedef struct patas_pending patas_pending;

/**
 * Replace by name. Where unwind tables end, the symbol says that a function
 * begins (PATAS_ENTRY).
 *
 * @param options  As for patas_replace_with(); may be NULL.
 */
PATAS_API PATAS_NODISCARD patas_status patas_replace_name(
    const char *spec, patas_fn replacement, const patas_options *options,
    patas_patch **patch, patas_error *error);

/**
 * The same at once if `spec` is found, else as soon as dlopen() maps a module
 * that has it: before the module's constructors run.
 *
 * @param pending  The caller gives it back by patas_pending_free().
 *
 * @retval PATAS_OK  Done, or pending: patas_pending_patch() tells.
 */
PATAS_API PATAS_NODISCARD patas_status patas_replace_pending(
    const char *spec, patas_fn replacement, const patas_options *options,
    patas_pending **pending, patas_error *error);

/** The patch, or NULL while there is none; `error` then tells why not. */
PATAS_API patas_patch *patas_pending_patch(const patas_pending *pending,
                                           patas_error *error);

/** Forgets the name. A patch that was made stays. */
PATAS_API void patas_pending_free(patas_pending *pending);

/** patas_error_text() with the names of functions instead of addresses. */
PATAS_API size_t patas_error_text_named(const patas_error *error, char *text,
                                        size_t size);

#ifdef __cplusplus
}
#endif

#endif /* PATAS_SYMBOLS_H */
