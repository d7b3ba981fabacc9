/* SPDX-License-Identifier: MIT */
/*
 * What the programs in bench/ share: clocks, medians, children whose death is
 * a result, the functions of a library, and generated pass-throughs.
 */
#ifndef PATAS_BENCH_H
#define PATAS_BENCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "patas.h"

double bench_now(void); /* seconds, monotonic */
double bench_median(double *values, size_t count);
uint64_t bench_random(uint64_t *state); /* splitmix64 */
void bench_pin(int cpu);
_Noreturn void bench_die(const char *what);

/* Memory that children share with their parent, zeroed. */
void *bench_shared(size_t size);

/* How a child ended. */
struct bench_end {
    bool exited; /* by itself; else by `signal` */
    int status;
    int signal;
    bool hung; /* killed by us after `limit` seconds; no verdict on speed */
};
struct bench_end bench_child(void (*body)(void *), void *argument,
                             double limit);
bool bench_ended_well(const struct bench_end *end);
const char *bench_end_text(const struct bench_end *end, char text[64]);

/* The directory this program lies in, and a file in it. */
const char *bench_beside(const char *file);

/* Private memory of this process, bytes; mappings of files whose name holds
 * `without` are left out (NULL: none). */
size_t bench_private_bytes(const char *without);
size_t bench_mappings(void);

/* One function of a loaded library. */
struct bench_function {
    uintptr_t address;
    uint64_t size;
    char *name;
};

struct bench_segment {
    uintptr_t start;
    size_t size;
};

/* A library loaded in this process. */
struct bench_library {
    char path[512];
    uintptr_t base;
    struct bench_function *functions; /* distinct, by address */
    size_t count;
    struct bench_segment text[8], data[8];
    size_t texts, datas;
    bool debug; /* .symtab from the separate debug file was read, too */
};

/* Loads `path` (as dlopen does) and lists every distinct STT_FUNC of its
 * .dynsym, and, with `debug`, of the .symtab of its debug file. */
bool bench_library_open(struct bench_library *library, const char *path,
                        bool debug);
/* The function that begins at `address`, or NULL. */
const struct bench_function *
bench_library_at(const struct bench_library *library, uintptr_t address);

/* Pass-throughs far from the library: each jumps to its original, and changes
 * no register, no flag, and nothing above the red zone of the stack. */
struct bench_stub {
    uint64_t calls;
    patas_fn original;
};
struct bench_stubs {
    struct bench_stub *data;
    uint8_t *code;
    size_t count;
};
/* `counting` stubs push flags below the red zone; the others only jump. */
bool bench_stubs_make(struct bench_stubs *stubs, size_t count, bool counting);
patas_fn bench_stub(const struct bench_stubs *stubs, size_t index);

#endif
