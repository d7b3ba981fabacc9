/* SPDX-License-Identifier: MIT */
/*
 * The decoder against Zydis and Capstone.
 *
 * Lengths, targets of branches and operands relative to the PC must agree with
 * both. Where they don't, the disagreement must fall into a class, and each
 * class names the page that shows who is right; whatever falls into none is a
 * failure.
 */
#ifndef PATAS_TESTS_COMPARE_H
#define PATAS_TESTS_COMPARE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* False: an oracle can't be opened. */
bool compare_open(void);

/* Which oracles, in words. */
const char *compare_oracles(void);

/* The classes are complete for Zydis 4.1 and Capstone 5; of what older ones do
 * with random bytes they know most. */
bool compare_newest(void);

/* Decodes `bytes` three times. Returns our length, 0 for no instruction. */
unsigned compare_one(const uint8_t *bytes, size_t size, uint64_t address,
                     bool wide);

/* Compares `count` random byte strings; half of them begin with a prefix or an
 * escape, where the encodings are dense. */
void compare_random(uint64_t seed, uint64_t count);

/* Compares all functions of an ELF file, and the sections that hold them from
 * end to end, or until `limit` bytes. Returns the bytes; 0: not such a file. */
uint64_t compare_file(const char *path, uint64_t limit);

/* One process's counts to another's, through a pipe. */
bool compare_save(int file);
bool compare_add(int file);

/* Prints totals and classes. Returns the unexplained disagreements. */
uint64_t compare_report(FILE *to);

#endif
