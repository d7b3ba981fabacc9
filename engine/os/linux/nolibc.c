/* SPDX-License-Identifier: MIT */
/*
 * In place of libc.c where there is no C library: the engine as a blob.
 *
 * Whoever carries the blob knows the program's functions from somewhere else
 * (golang/pclntab.c), so no module is told, and the engine knows of a target
 * what its first bytes say. Nobody forks by a function that could be hooked,
 * and there is no sigaction to wrap: the trap handler is looked at again
 * before each commit with traps.
 */
#include "../../module.h"

void patas__os_modules(bool (*each)(void *data, const struct patas__loaded *),
                       void *data)
{
    (void)each;
    (void)data;
}

void patas__os_at_fork(void (*lock)(void), void (*unlock)(void),
                       void (*child)(void))
{
    (void)lock;
    (void)unlock;
    (void)child;
}

uintptr_t patas__os_sigaction(void)
{
    return 0;
}

void *patas__os_pin(uintptr_t address)
{
    (void)address;
    return NULL;
}

void patas__os_unpin(void *pin)
{
    (void)pin;
}
