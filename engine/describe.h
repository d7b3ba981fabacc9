/* SPDX-License-Identifier: MIT */
/*
 * Islands for those who look from outside: a debugger or a profiler that stops
 * inside one finds a name, and the way to the caller.
 *
 *     pieces    describe.c         which code there is, and what it is called
 *     frames    describe_frame.c   where the caller is, at each instruction
 *     gdb       describe_gdb.c     an ELF file in memory, by gdb's interface
 *     perf      os/linux/perf_map.c   lines of a text file
 *
 * Nothing of it runs, and no memory is taken, before patas_announce() asks for
 * it. All of it runs under the engine's lock and behind the commit: no code is
 * half written, no thread is held.
 */
#ifndef PATAS_DESCRIBE_H
#define PATAS_DESCRIBE_H

#include "batch.h"
#include "isa.h"

enum patas__piece_kind {
    PATAS__PIECE_STUB,     /* where the entry jumps to */
    PATAS__PIECE_HEAD,     /* the moved instructions */
    PATAS__PIECE_ORIGINAL, /* the stub of a patch that stands on another */
    PATAS__PIECE_CONTEXT,  /* the thunk that loads a context value */
    PATAS__PIECE_GAP       /* the jump in padding; in the module's own code */
};

/* Adjacent bytes of code with one name. */
struct patas__piece {
    uintptr_t code;
    uint32_t size;
    uint32_t target;
    const char *name; /* of the target; NULL if it has none */
    uint8_t kind;     /* enum patas__piece_kind */
};

/* Turns on what `how` (PATAS_ANNOUNCE_...) names, off what it doesn't. */
PATAS__HIDDEN patas_status patas__describe_switch(unsigned how,
                                                  patas_error *error);

/* These members went live. */
PATAS__HIDDEN void patas__describe_members(const struct patas__member *members,
                                           size_t count);

/* "malloc.patas_head", terminated, into at most `size` bytes; returns the
 * length. The dots are what compilers put behind the name of a function's
 * outlined part, and what demanglers know. */
PATAS__HIDDEN size_t patas__describe_name(const struct patas__piece *piece,
                                          char *text, size_t size);

/* The move that made the target's head, made again, with the image that holds
 * the function or NULL. False if it can't be found out. */
struct patas__remade {
    struct patas__move move;
    const struct patas__image *image;
    uint8_t bytes[32]; /* of the function, without the patch */
};
PATAS__HIDDEN bool patas__describe_move(const struct patas__target *target,
                                        struct patas__remade *remade);

/* ---- frames ---------------------------------------------------------------
 */

enum {
    PATAS__FRAME_MAX = 128
}; /* bytes of a frame program */

/* DW_CFA_... instructions for code that is entered with the caller's address
 * on top of the stack. */
struct patas__head_frame {
    uint8_t program[PATAS__FRAME_MAX];
    unsigned size;
    unsigned covers; /* bytes of code from its start that are described */
};

/* The frames of moved code. What the function's own unwind table says of the
 * instructions holds for their copies; `image` may be NULL, or have no such
 * table: then what the instructions do to the stack pointer tells. */
PATAS__HIDDEN void patas__frame_head(const struct patas__image *image,
                                     const struct patas__move *move,
                                     struct patas__head_frame *frame);

/* ---- those who are told ---------------------------------------------------
 */

/* Sorted pieces to gdb. Returns how many; less than all if memory is short. */
PATAS__HIDDEN size_t patas__describe_gdb(const struct patas__piece *pieces,
                                         size_t count);

/* Appends whole lines to the perf map of this process; 0 or an errno value. */
PATAS__HIDDEN int patas__os_perf_map(const char *text, size_t size);

#endif
