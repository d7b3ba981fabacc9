/* SPDX-License-Identifier: MIT */
/*
 * What every.c and inside.c, on two sides of a process's border, share.
 *
 * inside.c is one flat image: code, and on a page of its own this struct.
 */
#ifndef PATAS_TESTS_GO_INSIDE_H
#define PATAS_TESTS_GO_INSIDE_H

#include <stdint.h>

enum {
    INSIDE_DATA = 0x4000,    /* offset of struct inside in the image */
    INSIDE_SIZE = 0x44000,   /* of the image, its stack included */
    INSIDE_MAGIC = 0x676f21, /* has been there */
    INSIDE_JUMP = 14,        /* bytes of the jump that leads there */
    INSIDE_FUNCTIONS = 1 << 18
};

/* Where the jump that follows a grown stack leads, of what is replaced. */
enum inside_way {
    INSIDE_NONE,  /* there is no such jump */
    INSIDE_JUMPS, /* to the relocated head */
    INSIDE_MOVES, /* there, with the move in front of it */
    INSIDE_TRAPS, /* there, by way of the trap handler */
    INSIDE_LOST   /* elsewhere: the replacement would run again */
};

struct inside_function {
    uint64_t entry, end;
    uint64_t counter; /* address of its count of calls; 0 = not replaced */
    uint32_t refusal, status;
    uint32_t checked; /* has a stack check */
    uint32_t way;     /* enum inside_way */
};

struct inside {
    /* From every.c. */
    uint64_t main;      /* main.main ... */
    uint8_t saved[16];  /* ... and what the jump covers there */
    uint64_t enter;     /* the engine's one function */
    uint64_t functions; /* struct inside_function [INSIDE_FUNCTIONS] */
    /* To it. */
    uint64_t done; /* INSIDE_MAGIC */
    uint64_t count;
    uint64_t layout;
};

#endif
