/* SPDX-License-Identifier: MIT */
/*
 * bench/tearing [seconds [part]] - which stores tear on this processor; `part`
 * of their names chooses some.
 *
 * One thread runs `mov $imm32,%eax; ret` as fast as it can, another flips the
 * immediate between AAAAAAAA and 55555555 by one kind of store after the
 * other. A result that is neither was half an instruction.
 */
#define _FILE_OFFSET_BITS 64 /* /proc/self/mem goes beyond 2 GB in 32 bits */

#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bench.h"

enum method {
    CMPXCHG8,
#if defined(__x86_64__)
    CMPXCHG16,
#endif
    HALVES,
    STORE8,
    STORE16,
    STORE8_UNALIGNED,
    MEM8,
    MEM16,
    MEM_BYTES,
    SINGLE_BYTES,
};

static const struct row {
    const char *name;
    enum method method;
    unsigned offset; /* of the code in a 64-byte line */
    bool used;       /* the engine relies on it */
} rows[] = {
#if defined(__x86_64__)
    {"aligned 8, lock cmpxchg", CMPXCHG8, 2, true},
    {"aligned 16, lock cmpxchg16b", CMPXCHG16, 5, true},
#else
    {"aligned 8, lock cmpxchg8b", CMPXCHG8, 2, true},
#endif
    {"aligned 8, /proc/self/mem", MEM8, 2, true},
    {"aligned 8, mov", STORE8, 2, false},
    {"aligned 8, two mov of 4", HALVES, 2, false},
    {"aligned 16, movdqa", STORE16, 5, false},
    {"aligned 16, /proc/self/mem", MEM16, 5, false},
    {"8 bytes over an 8-byte line, mov", STORE8_UNALIGNED, 5, false},
    {"8 bytes over a 16-byte line, mov", STORE8_UNALIGNED, 13, false},
    {"8 bytes over a 32-byte line, mov", STORE8_UNALIGNED, 29, false},
    {"8 bytes over a 64-byte line, mov", STORE8_UNALIGNED, 61, false},
    {"6 bytes in aligned 8, /proc/self/mem", MEM_BYTES, 2, false},
    {"6 bytes over a 64-byte line, /proc/..", MEM_BYTES, 61, false},
    {"5 single bytes, mov", SINGLE_BYTES, 2, false},
};
enum {
    ROWS = sizeof rows / sizeof *rows,
    CODE = 6
};

static uint8_t *code; /* where the function is */
static atomic_int stop;
static unsigned long long calls, torn, flips;
static int mem_fd;

static void *reader(void *unused)
{
    unsigned (*function)(void) = (unsigned (*)(void))(uintptr_t)code;
    unsigned last = 0;
    bench_pin(0);
    while (!atomic_load_explicit(&stop, memory_order_relaxed)) {
        unsigned got = function();
        torn += got != 0xaaaaaaaau && got != 0x55555555u;
        flips += got != last;
        last = got;
        calls++;
    }
    return unused;
}

#if defined(__x86_64__)
static void cmpxchg16(void *at, const uint8_t bytes[16])
{
    uint64_t want[2], old[2];
    memcpy(want, bytes, 16);
    memcpy(old, at, 16);
    __asm__ volatile("1: lock cmpxchg16b (%[at])\n jnz 1b"
                     : "+a"(old[0]), "+d"(old[1])
                     : [at] "r"(at), "b"(want[0]), "c"(want[1])
                     : "memory", "cc");
}

static void cmpxchg8(void *at, const uint8_t bytes[8])
{
    uint64_t want, old = *(uint64_t *)at;
    memcpy(&want, bytes, 8);
    __asm__ volatile("1: lock cmpxchg %[want],(%[at])\n jnz 1b"
                     : "+a"(old)
                     : [at] "r"(at), [want] "r"(want)
                     : "memory", "cc");
}

static void store8(void *at, const uint8_t bytes[8])
{
    uint64_t eight;
    memcpy(&eight, bytes, 8);
    __asm__ volatile("mov %1,(%0)" ::"r"(at), "r"(eight) : "memory");
}
#else
static void cmpxchg8(void *at, const uint8_t bytes[8])
{
    uint32_t want[2], old[2];
    memcpy(want, bytes, 8);
    memcpy(old, at, 8);
    __asm__ volatile("1: lock cmpxchg8b (%[at])\n jnz 1b"
                     : "+a"(old[0]), "+d"(old[1])
                     : [at] "r"(at), "b"(want[0]), "c"(want[1])
                     : "memory", "cc");
}

/* The one mov of 8 bytes that there is. */
static void store8(void *at, const uint8_t bytes[8])
{
    __asm__ volatile("movq (%1),%%xmm0\n movq %%xmm0,(%0)" ::"r"(at), "r"(bytes)
                     : "memory", "xmm0");
}
#endif

/* `unit` is the aligned unit's new content, `in` where the code begins. */
static void store(enum method method, uint8_t *at, const uint8_t *unit,
                  size_t in)
{
    const uint8_t *bytes = unit + in;
    uint32_t half[2];
    switch (method) {
    case CMPXCHG8:
        cmpxchg8(at, unit);
        break;
#if defined(__x86_64__)
    case CMPXCHG16:
        cmpxchg16(at, unit);
        break;
#endif
    case HALVES:
        memcpy(half, unit, 8);
        __asm__ volatile("mov %1,(%0)\n mov %2,4(%0)" ::"r"(at), "r"(half[0]),
                         "r"(half[1])
                         : "memory");
        break;
    case STORE8:
        store8(at, unit);
        break;
    case STORE16:
        __asm__ volatile("movdqu (%1),%%xmm0\n movdqa %%xmm0,(%0)" ::"r"(at),
                         "r"(unit)
                         : "memory", "xmm0");
        break;
    case STORE8_UNALIGNED:
        store8(code, bytes);
        break;
    case MEM8:
        (void)!pwrite(mem_fd, unit, 8, (off_t)(uintptr_t)at);
        break;
    case MEM16:
        (void)!pwrite(mem_fd, unit, 16, (off_t)(uintptr_t)at);
        break;
    case MEM_BYTES:
        (void)!pwrite(mem_fd, bytes, CODE, (off_t)(uintptr_t)code);
        break;
    case SINGLE_BYTES:
        for (int i = 0; i < 5; i++)
            ((volatile uint8_t *)code)[i] = bytes[i];
        break;
    }
}

static bool is_sixteen(enum method method)
{
#if defined(__x86_64__)
    if (method == CMPXCHG16)
        return true;
#endif
    return method == STORE16 || method == MEM16;
}

static void run(const struct row *row, double seconds,
                unsigned long long *writes)
{
    uint8_t units[2][32];
    bool sixteen = is_sixteen(row->method);
    size_t in = row->offset % (sixteen ? 16 : 8);
    pthread_t thread;
    uint8_t *page = mmap(NULL, 8192, PROT_READ | PROT_WRITE | PROT_EXEC,
                         MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED)
        bench_die("mmap");
    memset(page, 0xcc, 8192);
    memset(units, 0xcc, sizeof units);
    for (int k = 0; k < 2; k++) {
        units[k][in] = 0xb8; /* mov $imm32,%eax */
        memset(units[k] + in + 1, k ? 0x55 : 0xaa, 4);
        units[k][in + 5] = 0xc3; /* ret */
    }
    code = page + 1024 + row->offset;
    memcpy(code, units[0] + in, CODE);
    calls = torn = flips = *writes = 0;
    atomic_store(&stop, 0);
    if (pthread_create(&thread, NULL, reader, NULL))
        bench_die("pthread_create");
    bench_pin(1);
    for (double end = bench_now() + seconds; bench_now() < end;)
        for (unsigned i = 0; i < 64; i++, ++*writes) {
            store(row->method, code - in, units[i % 2], in);
            for (volatile unsigned k = i * 7 % 40; k; k--)
                ;
        }
    atomic_store(&stop, 1);
    pthread_join(thread, NULL);
    munmap(page, 8192);
}

int main(int count, char **arguments)
{
    double seconds = count > 1 ? atof(arguments[1]) : 13;
    const char *part = count > 2 ? arguments[2] : "";
    bool good = true;
    size_t chosen = 0;
    for (size_t i = 0; i < ROWS; i++)
        chosen += strstr(rows[i].name, part) != NULL;
    if (seconds <= 0 || !chosen) {
        printf("usage: tearing [seconds [PART-OF-A-STORE'S-NAME]]\n"
               "Exit status: 0 if no store that patas uses tore.\n");
        return 2;
    }
    mem_fd = open("/proc/self/mem", O_RDWR | O_CLOEXEC);
    printf("%-38s %4s %12s %12s %12s %10s\n", "store", "used", "writes",
           "calls", "flips seen", "torn");
    for (size_t i = 0; i < ROWS; i++) {
        unsigned long long writes;
        if (!strstr(rows[i].name, part))
            continue;
        run(&rows[i], seconds / (double)chosen, &writes);
        printf("%-38s %4s %12llu %12llu %12llu %10llu\n", rows[i].name,
               rows[i].used ? "yes" : "", writes, calls, flips, torn);
        fflush(stdout);
        good &= !rows[i].used || !torn;
    }
    if (sysconf(_SC_NPROCESSORS_ONLN) < 2)
        printf("one processor only: nothing could tear\n");
    return good ? 0 : 1;
}
