/* SPDX-License-Identifier: MIT */
/*
 * The operating system, by raw system calls: libc's may be patched.
 *
 * One contract on top: sizes and addresses in, 0 or a positive errno value
 * out unless said otherwise; `errno` untouched; nothing here calls libc.
 */
#ifndef PATAS_OS_H
#define PATAS_OS_H

#include "bytes.h"

enum {
    PATAS__READ = 1,
    PATAS__WRITE = 2,
    PATAS__EXEC = 4,  /* = PROT_* */
    PATAS__SOON = 8,  /* all of it is used at once: no page fault each */
    PATAS__GUARD = 16 /* PROT_BTI, where patas__pads_stay() */
};

/* The raw call; returns the kernel's value (-errno on failure). */
PATAS__HIDDEN long patas__syscall(long number, long a, long b, long c, long d,
                                  long e, long f);

PATAS__HIDDEN int patas__os_pid(void);
PATAS__HIDDEN int patas__os_tid(void);
/* A number that no other thread of this process has at the same time; without
 * a system call where the processor allows. Even, and never 0. */
PATAS__HIDDEN uintptr_t patas__os_thread(void);
PATAS__HIDDEN size_t patas__os_page(void); /* bytes of a page */

/* Anonymous private memory anywhere. */
PATAS__HIDDEN int patas__os_map(size_t size, int prot, void **memory);
/* ... at exactly `address`; EEXIST if anything is mapped there. */
PATAS__HIDDEN int patas__os_map_at(uintptr_t address, size_t size, int prot);
PATAS__HIDDEN int patas__os_unmap(void *memory, size_t size);
PATAS__HIDDEN int patas__os_protect(void *memory, size_t size, int prot);
/* Moves a mapping, in one step, to where another one of that size was. */
PATAS__HIDDEN int patas__os_move(void *memory, size_t size, uintptr_t to);

/* One mapping of this process. */
struct patas__region {
    uintptr_t start, end;
    uint64_t inode; /* 0 = anonymous */
    int prot;       /* PATAS__READ ... */
    bool shared;    /* MAP_SHARED */
    bool stack, heap, vdso;
};

/* The mapping that covers `address`, or, with none, ENOENT. ENOSYS where /proc
 * is not to be had. */
PATAS__HIDDEN int patas__os_region(uintptr_t address,
                                   struct patas__region *region);

/* Do indirect calls of code at `address` have to land on a landing pad? The one
 * bit of a protection that patas__os_region() doesn't tell, as it takes long:
 * to be asked only where patas__pads_stay(). */
PATAS__HIDDEN bool patas__os_guarded(uintptr_t address);

/* The next mapping at or above `address`; ENOENT past the last. */
PATAS__HIDDEN int patas__os_region_next(uintptr_t address,
                                        struct patas__region *region);

/* /proc/self/mem, which writes to read-only private pages, too. One write of
 * `size` bytes: a unit of 8 aligned bytes is written by one store. */
PATAS__HIDDEN int patas__os_mem_open(int *fd);
PATAS__HIDDEN int patas__os_mem_write(int fd, uintptr_t address,
                                      const void *bytes, size_t size);
PATAS__HIDDEN int patas__os_close(int fd);

/* Copies what can be read; never faults (process_vm_readv, else /proc/self/mem,
 * else a pipe). EFAULT if any byte is not readable. */
PATAS__HIDDEN int patas__os_read(uintptr_t address, void *to, size_t size);

/* After it returned 0, no thread of this process runs old code bytes. */
PATAS__HIDDEN int patas__os_sync_cores(void);

PATAS__HIDDEN void patas__os_wait(int *word, int value); /* futex */
PATAS__HIDDEN void patas__os_wake(int *word, int count);

PATAS__HIDDEN void patas__os_sleep_us(unsigned microseconds);

/* True if the process has a user shadow stack. */
PATAS__HIDDEN bool patas__os_shadow_stack(void);

/* A value of the auxiliary vector (AT_...); 0 = none. */
PATAS__HIDDEN uintptr_t patas__os_auxv(unsigned type);

/* Where the heap may grow (from, to) and the main stack (from, to). */
PATAS__HIDDEN void patas__os_growth(uintptr_t heap[2], uintptr_t stack[2]);

#endif
