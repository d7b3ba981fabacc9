/* SPDX-License-Identifier: MIT */
/*
 * The decoders against others: Zydis and Capstone for x86, the disassembler of
 * binutils and Capstone for AArch64.
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
 * end to end, or until `limit` bytes. Returns the bytes; 0: not such a file, or
 * its oracles are not there. */
uint64_t compare_file(const char *path, uint64_t limit);

/* One process's counts to another's, through a pipe. */
bool compare_save(int file);
bool compare_add(int file);

/* Prints totals and classes. Returns the unexplained disagreements. */
uint64_t compare_report(FILE *to);

/*
 * The same for AArch64: where control goes, and all addresses that are relative
 * to the PC. What is an instruction is compared, too, but for the groups that
 * the decoder doesn't judge (isa/aarch64/aarch64.h).
 */
bool compare_aarch64_open(void); /* false: an oracle is missing */
void compare_aarch64_one(const uint8_t *bytes, uint64_t address);
void compare_aarch64_random(uint64_t seed, uint64_t count);
bool compare_aarch64_save(int file);
bool compare_aarch64_add(int file);
uint64_t compare_aarch64_report(FILE *to);

#endif
