/* SPDX-License-Identifier: MIT */
/*
 * The process that every.c changes: a program that has been loaded, of which
 * nothing has run.
 */
#ifndef PATAS_TESTS_GO_PROCESS_H
#define PATAS_TESTS_GO_PROCESS_H

#include "inside.h"

#include <stdbool.h>
#include <stddef.h>

enum {
    FAILED = 125 /* exit status; above those of programs */
};

/* Ends everything where something does not hold. */
void need(bool holds, const char *what);

/* Loads argv[0]. */
void begin(char **argv);

/* How far from where its file says it was loaded. */
uint64_t bias_of(const char *program);

/* Its memory. */
void peek(uint64_t at, void *bytes, size_t size);
void poke(uint64_t at, const void *bytes, size_t size);
uint64_t map(size_t size);
void executable(uint64_t at, size_t size);

/* Runs it; report() is called when it ends, and may peek. Returns its exit
 * status, or FAILED. */
int finish(void (*report)(const char *path, uint64_t inside), const char *path,
           uint64_t inside);

/* How often a replaced function was called, for report(). */
uint64_t counted(const struct inside_function *function);

#endif
