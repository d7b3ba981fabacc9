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
#ifdef __aarch64__
    INSIDE_JUMP = 16, /* bytes of the jump that leads there */
#else
    INSIDE_JUMP = 14,
#endif
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
    uint64_t calls;   /* that, where it can't be read from outside */
    uint32_t refusal, status;
    uint32_t checked; /* has a stack check */
    uint32_t way;     /* enum inside_way */
};

struct inside {
    /* From every.c. */
    uint64_t main;      /* main.main ... */
    uint8_t saved[16];  /* ... and what the jump covers there */
    uint64_t exit;      /* runtime.exit, in assembly */
    uint64_t enter;     /* the engine's one function */
    uint64_t functions; /* struct inside_function [INSIDE_FUNCTIONS] */
    /* To it. */
    uint64_t done; /* INSIDE_MAGIC */
    uint64_t count;
    uint64_t layout;
};

/* The jump, for amd64 `jmp *0(%rip)`, for arm64 `ldr x16, 8;  br x16`, and the
 * address behind; on 386 a plain one, since all is in reach of `from`. */
static inline void inside_jump(uint8_t jump[INSIDE_JUMP], uint64_t from,
                               uint64_t to)
{
#if defined(__aarch64__)
    static const uint8_t code[] = {0x50, 0, 0, 0x58, 0, 2, 0x1f, 0xd6};
#elif defined(__x86_64__)
    static const uint8_t code[] = {0xff, 0x25, 0, 0, 0, 0};
#else
    static const uint8_t code[] = {0xe9};
#endif
    uint64_t where = sizeof(uintptr_t) == 8 ? to : to - (from + 5);
    for (unsigned i = 0; i < sizeof code; i++)
        jump[i] = code[i];
    for (unsigned i = 0; i < sizeof(uintptr_t); i++)
        jump[sizeof code + i] = (uint8_t)(where >> 8 * i);
}

#endif
