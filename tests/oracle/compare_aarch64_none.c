/* SPDX-License-Identifier: MIT */
/* Where binutils' disassembler for AArch64 is missing. */
#include "compare.h"

bool compare_aarch64_open(void)
{
    return false;
}

void compare_aarch64_one(const uint8_t *bytes, uint64_t address)
{
    (void)bytes;
    (void)address;
}

void compare_aarch64_random(uint64_t seed, uint64_t count)
{
    (void)seed;
    (void)count;
}

bool compare_aarch64_save(int file)
{
    (void)file;
    return true;
}

bool compare_aarch64_add(int file)
{
    (void)file;
    return true;
}

uint64_t compare_aarch64_report(FILE *to)
{
    (void)to;
    return 0;
}
