/* SPDX-License-Identifier: MIT */
/*
 * What the Go package and the blob say to each other.
 *
 * The blob is one flat image. Its header tells where things are; the package
 * maps it, adds the base address where the header says so, and calls one
 * function with one struct. go/engine.go has the same layouts.
 *
 *     0          header, code, constants        read + execute
 *     data       data that is written           read + write
 *     file_size  zeros up to memory_size        read + write
 *
 * Calls are made one at a time; the package holds its own lock.
 */
#ifndef PATAS_GOLANG_BLOB_H
#define PATAS_GOLANG_BLOB_H

#include "patas.h"

enum patas__go_op {
    PATAS__GO_START = 1,
    PATAS__GO_FUNC = 2,     /* pc */
    PATAS__GO_NAMED = 3,    /* name, length, index to begin at */
    PATAS__GO_INLINED = 4,  /* name, length, places, their number */
    PATAS__GO_CALLED = 5,   /* pc */
    PATAS__GO_SHAPE = 6,    /* pc */
    PATAS__GO_REPLACE = 7,  /* entry, func value, thunk or 0, kind and
                               PATAS__GO_FIELDS values (thunk.h), the head if
                               it is known, where
                               to store the original */
    PATAS__GO_SUSPEND = 8,  /* patch */
    PATAS__GO_RESUME = 9,   /* patch */
    PATAS__GO_RESTORE = 10, /* patch */
    PATAS__GO_STATS = 11,
    PATAS__GO_GENERIC = 12, /* pc of the wrapper, any name? */
    PATAS__GO_TYPES = 13
};

/* Refusals of the Go part; the engine's own are in `status` and `error`. */
enum patas__go_refusal {
    PATAS__GO_OK = 0,
    PATAS__GO_NO_TABLE = 1,
    PATAS__GO_NO_FUNCTION = 2, /* no function begins there */
    PATAS__GO_NOT_READ = 3,    /* unknown prologue, at out[0] */
    PATAS__GO_IS_NOSPLIT = 4,
    PATAS__GO_LOOPS = 5,     /* a loop goes back to the first bytes */
    PATAS__GO_MAY_FAULT = 7, /* an access may fault behind a push */
    PATAS__GO_ASM = 8
};

struct patas__go_call {
    uint64_t op;
    uint64_t status;  /* patas_status */
    uint64_t refusal; /* enum patas__go_refusal */
    uint64_t in[8];
    uint64_t out[8];
    patas_error error;
    char text[512]; /* the engine's sentence for `error` */
};

/* One place of PATAS__GO_INLINED; texts live as long as the program. */
struct patas__go_place {
    uint64_t name, name_size; /* of the function that the call is in */
    uint64_t file, file_size;
    uint64_t line;
};

#endif
