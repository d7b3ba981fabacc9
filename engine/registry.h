/* SPDX-License-Identifier: MIT */
/*
 * Stage 8: who patched what, and the way back.
 *
 *     target   one for each function ever patched; its island is kept and
 *              used again while its module is loaded
 *     patch    one for each live handle; the patches of a target are a list,
 *              newest first
 *
 * The island jumps through the target's slot, so what a call reaches is one
 * pointer: the newest patch that is on, or the head. Above the lowest patch,
 * each patch_original is a stub of its own, `jmp *slot`, whose slot holds what
 * is below.
 *
 * Records never move. Readers without the lock: patas_original() and the trap
 * handler's carry.
 */
#ifndef PATAS_REGISTRY_H
#define PATAS_REGISTRY_H

#include "module.h"
#include "os.h"
#include "patas.h"
#include "table.h"

enum patas__state {
    PATAS__READY,     /* planned, island built, entry untouched */
    PATAS__INSTALLED, /* the entry jumps to the island */
    PATAS__RETIRED    /* the module is gone */
};

struct patas__target {
    uintptr_t entry; /* the function, or the address of a data slot */
    union {
        struct {
            int32_t stub; /* island, relative to entry */
            int32_t head; /* relocated code, relative to entry */
        };
        uintptr_t old; /* of a data slot: the pointer that was there */
    };
    int32_t slot;          /* relative to the stub */
    uint32_t top;          /* newest patch, 0 = none */
    uint16_t module;       /* 0 = none */
    uint8_t form;          /* patas_form */
    uint8_t state : 7;     /* enum patas__state */
    uint8_t seen_live : 1; /* installed once: its plan is final */
    uint8_t written : 4;   /* bytes that a patch changes ... */
    uint8_t at : 4;        /* ... from entry + at on */
    uint8_t owned;         /* bytes that no other patch may write, from there */
    union {
        struct {
            uint8_t before[5]; /* from entry + at on */
            uint8_t after;     /* the byte that the form alone doesn't tell:
                                  rel8 of a short jump, the trap */
            uint8_t carry[4];  /* offset in the head of entry + 1 .. + 4; 0xff
                                  where nobody can be */
        };
        uint8_t current[10]; /* of a data slot: the pointer we put there */
    };
};

enum {
    PATAS__ON = 1,       /* takes part: neither suspended nor pending */
    PATAS__PENDING = 2,  /* in a batch that is not committed */
    PATAS__GHOST = 4,    /* restored, but its stub may still be called */
    PATAS__THUNK = 8,    /* `enter` loads a context first */
    PATAS__LEAVING = 16, /* goes with the commit that is under way */
    PATAS__OURS = 32,    /* the engine's own: no restore_all takes it */
    PATAS__LIVED = 64    /* its code may be in use, whatever becomes of it */
};

enum {
    PATAS__GENERATIONS = (1 << 24) - 1
};

/* As small as it can be: there may be hundreds of thousands. */
struct patas__patch {
    uintptr_t enter; /* the replacement, or the thunk in front of it */
    int32_t stub;    /* its original, relative to the target's entry; 0:
                        the lowest, whose original is the target's base */
    uint32_t target;
    uint32_t below;           /* next older patch of this target */
    uint32_t mark;            /* when it was made */
    uint32_t generation : 24; /* in the handle: a stale one is known */
    uint32_t flags : 8;       /* PATAS__ON ... */
} __attribute__((packed, aligned(4)));

/* The records, registry.c's: they are asked for by number everywhere. */
PATAS__HIDDEN extern struct patas__table patas__targets, patas__patches;

static inline struct patas__target *patas__target_get(uint32_t index)
{
    return patas__table_at(&patas__targets, sizeof(struct patas__target),
                           index);
}
static inline struct patas__patch *patas__patch_get(uint32_t index)
{
    return patas__table_at(&patas__patches, sizeof(struct patas__patch), index);
}
/* Index of the last + 1. */
static inline uint32_t patas__target_count(void)
{
    return patas__targets.count;
}
static inline uint32_t patas__patch_count(void)
{
    return patas__patches.count;
}

/* Grows with every patch made; what patas_mark() gives. */
PATAS__HIDDEN uint32_t patas__mark(void);

/* The live target at this entry, or 0. */
PATAS__HIDDEN uint32_t patas__target_find(uintptr_t entry);

/* Is a byte of [entry, entry + size) owned by another live target, or is its
 * entry there? Then that, else 0. */
PATAS__HIDDEN uintptr_t patas__target_overlap(uintptr_t entry, unsigned size);

/* Calls `each` for every live target whose entry is in low .. high. */
PATAS__HIDDEN void patas__targets_between(
    uintptr_t low, uintptr_t high,
    void (*each)(void *data, const struct patas__target *target), void *data);

/* A new record, not yet to be found; 0 if memory is short. */
PATAS__HIDDEN uint32_t patas__target_new(void);
/* Publishes it under its entry. */
PATAS__HIDDEN bool patas__target_publish(uint32_t index);
/* Its module went, or its code did: it is found no more, and nothing of it is
 * ever written to again. Live handles stay, to be told. */
PATAS__HIDDEN void patas__target_retire(uint32_t index);
/* Takes back an unpublished one. */
PATAS__HIDDEN void patas__target_forget(uint32_t index);

/* Pieces of a target's island. */
static inline uintptr_t patas__target_island(const struct patas__target *target)
{
    return target->entry + (uintptr_t)(intptr_t)target->stub;
}
static inline uintptr_t patas__target_head(const struct patas__target *target)
{
    return target->entry + (uintptr_t)(intptr_t)target->head;
}
/* The padding that a short jump leads to: a signed byte, counted from behind
 * the jump's two. */
static inline uintptr_t patas__target_gap(const struct patas__target *target)
{
    intptr_t rel8 = (int8_t)target->after;
    return target->entry + 2 + (uintptr_t)rel8;
}
PATAS__HIDDEN uintptr_t *patas__target_slot(const struct patas__target *target);

/* What `function` does without any patch: its head, if it was ever patched. */
PATAS__HIDDEN uintptr_t patas__registry_unpatched(uintptr_t function);

/* What the lowest patch's original is: the head, or a data slot's old value. */
PATAS__HIDDEN uintptr_t patas__target_base(const struct patas__target *target);

/* A patch on top of `target`, pending: it is in the list but not yet on.
 * PATAS_ERR_NO_MEMORY if memory is short. */
PATAS__HIDDEN patas_status patas__patch_new(uint32_t target,
                                            uintptr_t replacement,
                                            const patas_options *options,
                                            uint32_t *index);

/* Its handle is stale from now on. A stub of its own may still be called if it
 * ever was live, so such a record stays in the list as a ghost, to be used
 * again when the same replacement comes back. */
PATAS__HIDDEN void patas__patch_free(uint32_t index);

/* patas_original() of it. */
PATAS__HIDDEN uintptr_t patas__patch_original(const struct patas__patch *patch);

/* What was given to patas_replace(): behind the thunk, if there is one. */
PATAS__HIDDEN uintptr_t
patas__patch_replacement(const struct patas__patch *patch);

/* Stores into each stub of the target what it is on top of, and returns what
 * the target's own slot must hold: a call reaches that first. */
PATAS__HIDDEN uintptr_t patas__stack_settle(uint32_t target);

/* Is no patch left that keeps the entry patched? Pending ones do not. */
PATAS__HIDDEN bool patas__stack_empty(uint32_t target);

/* Is there no patch at all, but ghosts? */
PATAS__HIDDEN bool patas__stack_unused(uint32_t target);

/*
 * A handle is the number of a record and as many bits of its generation as a
 * pointer has room for: where it has 32, the handle of a record that was used
 * 4 096 times since is taken for its newest one.
 */
enum {
    PATAS__HANDLE_BITS = sizeof(uintptr_t) == 8 ? 32 : 20
};
static inline uintptr_t patas__handle_make(uint32_t index, uint32_t generation)
{
    return (uintptr_t)generation << PATAS__HANDLE_BITS | index;
}
static inline uint32_t patas__handle_number(uintptr_t handle)
{
    return (uint32_t)(handle & (((uint64_t)1 << PATAS__HANDLE_BITS) - 1));
}
static inline bool patas__handle_is(uintptr_t handle, uint32_t generation)
{
    return handle >> PATAS__HANDLE_BITS ==
           (generation & UINTPTR_MAX >> PATAS__HANDLE_BITS);
}

PATAS__HIDDEN patas_patch *patas__handle(uint32_t index);
/* 0 for a stale or foreign handle. */
PATAS__HIDDEN uint32_t patas__handle_index(const patas_patch *patch);

PATAS__HIDDEN size_t patas__registry_bytes(void);

#endif
