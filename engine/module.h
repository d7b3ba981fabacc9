/* SPDX-License-Identifier: MIT */
/*
 * The loaded modules of this process, kept from call to call.
 *
 * A module's identity is its build-id, its place and the load it came by: a
 * library that is closed and opened again is another module, even at the same
 * address. Everything here runs under the engine's lock, but for the loader's
 * list itself, which is asked under the loader's own lock.
 */
#ifndef PATAS_MODULE_H
#define PATAS_MODULE_H

#include "image.h"

enum {
    PATAS__TWICE_MAX = 12
};

struct patas__module {
    struct patas__image image;
    bool live; /* still loaded */
    bool seen; /* by the refresh that is under way */
    bool vdso;
    bool loader;         /* the dynamic loader */
    uint64_t start_code; /* where the kernel entered it (loader, program) */
    uint64_t twice[PATAS__TWICE_MAX]; /* functions that return twice */
    unsigned twice_count;
    struct patas__near near; /* patas__extent_find_near() */
    uint8_t *branches;       /* patas__branches_map(), once it pays */
    uint32_t searches;       /* made without it */
    bool patched;            /* some of its code was, at some time */
    void *pin;     /* keeps it loaded while it holds replacements ... */
    uint32_t uses; /* ... of so many live patches */
    bool pin_tried;
};

/*
 * Brings the list up to date. `ready` is called first, under the loader's lock
 * if there is one, and takes the engine's: who holds the loader's lock may call
 * patas, so it is always the outer one. If it answers false nothing is done.
 * `gone` is called for each module that went, with its index, when the loader's
 * lock is free again. `*changed` tells whether anything did. 0 or an errno
 * value.
 */
struct patas__refresh {
    bool (*ready)(void *data);
    void *data;
    void (*gone)(uint32_t index);
    bool changed; /* result */
};
PATAS__HIDDEN int patas__modules_refresh(struct patas__refresh *refresh);

/* The module that covers `address`, or NULL; `*index` names it for good. */
PATAS__HIDDEN struct patas__module *patas__module_at(uint64_t address,
                                                     uint32_t *index);
PATAS__HIDDEN struct patas__module *patas__module_get(uint32_t index);
PATAS__HIDDEN uint32_t patas__module_count(void);

/* Does the module with this index still hold what patas wrote? Asked for each
 * one when the loader unloaded anything since; registry.c answers. */
PATAS__HIDDEN bool patas__registry_intact(uint32_t module);

/* Branches that patches hide from a look at the bytes: those in the first bytes
 * of targets. prepare.c answers. */
PATAS__HIDDEN void patas__branches_moved(uint32_t module,
                                         void (*each)(void *data, uint64_t to),
                                         void *data);

/* Makes of the `size` bytes at `address` what they were before patas wrote
 * there; other bytes than it wrote are left alone. prepare.c answers. */
PATAS__HIDDEN void patas__targets_unpatch(uint64_t address, uint8_t *bytes,
                                          size_t size);

/* May something branch to address + k from outside [address, skip_to)?
 * Bit k, k < size. `many`: worth a map of the whole module. */
PATAS__HIDDEN uint32_t patas__module_branches(struct patas__module *module,
                                              uint64_t address, unsigned size,
                                              uint64_t skip_to, bool many);

/* ---- what the system tells (os/linux/libc.c) ---------------------------- */

/* One loaded module, valid during the call back only. */
struct patas__loaded {
    uint64_t bias;
    const void *phdrs; /* ElfW(Phdr) */
    size_t phdr_count;
    uint64_t loads, unloads; /* ever, in this process */
};

/* Calls `each` for every loaded module until it returns false. */
PATAS__HIDDEN void patas__os_modules(bool (*each)(void *data,
                                                  const struct patas__loaded *),
                                     void *data);

/* What libc.c has called around every fork, from its constructor on: before,
 * after in the parent, after in the child. patas.c has them. */
PATAS__HIDDEN void patas__fork_before(void);
PATAS__HIDDEN void patas__fork_parent(void);
PATAS__HIDDEN void patas__fork_child(void);

/* Keeps the module that holds `address` loaded until the unpin, whoever closes
 * it meanwhile. NULL where that can't be or need not. The loader's lock is
 * taken: never call these under the engine's, since a constructor that the
 * loader runs may call patas. */
PATAS__HIDDEN void *patas__os_pin(uintptr_t address);
PATAS__HIDDEN void patas__os_unpin(void *pin);

/* The C library's sigaction, as the program would call it; 0 if none. */
PATAS__HIDDEN uintptr_t patas__os_sigaction(void);

#endif
