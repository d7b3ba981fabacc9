/* SPDX-License-Identifier: MIT */
/* Clocks, medians, children, memory figures, generated pass-throughs. */
#include "bench.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

double bench_now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double bench_median(double *values, size_t count)
{
    if (!count)
        return 0;
    qsort(values, count, sizeof *values, compare_doubles);
    return count % 2 ? values[count / 2]
                     : (values[count / 2 - 1] + values[count / 2]) / 2;
}

uint64_t bench_random(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

void bench_pin(int cpu)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET((size_t)cpu, &set);
    (void)sched_setaffinity(0, sizeof set, &set);
}

_Noreturn void bench_die(const char *what)
{
    perror(what);
    exit(2);
}

void *bench_shared(size_t size)
{
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE,
                        MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        bench_die("mmap");
    return memory;
}

struct bench_end bench_child(void (*body)(void *), void *argument, double limit)
{
    struct bench_end end = {0};
    fflush(NULL);
    pid_t pid = fork();
    if (pid < 0)
        bench_die("fork");
    if (!pid) {
        setpgid(0, 0);
        body(argument);
        fflush(NULL);
        _exit(0);
    }
    double stop = bench_now() + limit;
    int status;
    while (waitpid(pid, &status, WNOHANG) == 0) {
        if (bench_now() > stop) {
            end.hung = true;
            kill(-pid, SIGKILL);
            kill(pid, SIGKILL);
            waitpid(pid, &status, 0);
            break;
        }
        usleep(2000);
    }
    end.exited = WIFEXITED(status);
    end.status = end.exited ? WEXITSTATUS(status) : 0;
    end.signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
    return end;
}

bool bench_ended_well(const struct bench_end *end)
{
    return end->exited && end->status == 0;
}

const char *bench_end_text(const struct bench_end *end, char text[64])
{
    if (end->hung)
        return "hangs";
    if (end->signal)
        snprintf(text, 64, "crash: SIG%s", sigabbrev_np(end->signal));
    else
        snprintf(text, 64, "exit %d", end->status);
    return text;
}

const char *bench_beside(const char *file)
{
    static char path[1024];
    ssize_t length = readlink("/proc/self/exe", path, sizeof path / 2);
    if (length < 0)
        length = 0;
    path[length] = 0;
    char *slash = strrchr(path, '/');
    char *end = slash ? slash + 1 : path;
    snprintf(end, sizeof path - (size_t)(end - path), "%s", file);
    return path;
}

size_t bench_private_bytes(const char *without)
{
    FILE *file = fopen("/proc/self/smaps", "re");
    if (!file)
        bench_die("/proc/self/smaps");
    char line[1024];
    size_t total = 0, kilobytes;
    bool counts = true;
    while (fgets(line, sizeof line, file)) {
        unsigned long from, to;
        if (sscanf(line, "%lx-%lx ", &from, &to) == 2)
            counts = !without || !strstr(line, without);
        else if (counts &&
                 (sscanf(line, "Private_Clean: %zu", &kilobytes) == 1 ||
                  sscanf(line, "Private_Dirty: %zu", &kilobytes) == 1))
            total += kilobytes * 1024;
    }
    fclose(file);
    return total;
}

size_t bench_mappings(void)
{
    FILE *file = fopen("/proc/self/maps", "re");
    if (!file)
        bench_die("/proc/self/maps");
    size_t lines = 0;
    for (int byte; (byte = getc(file)) != EOF;)
        lines += byte == '\n';
    fclose(file);
    return lines;
}

enum {
#if defined(__aarch64__)
    STUB_SIZE = 64
#else
    STUB_SIZE = 32
#endif
};

#if defined(__i386__)
#define STUBS_NEAR ((void *)0x10000000)

static void stub_write(uint8_t *at, const struct bench_stub *data,
                       bool counting)
{
    const void *calls = &data->calls, *original = &data->original;
    if (counting) {
        memcpy(at, "\x9c\xf0\xff\x05", 4); /* pushf; lock incl calls */
        memcpy(at + 4, &calls, 4);
        at[8] = 0x9d; /* popf */
        at += 9;
    }
    memcpy(at, "\xff\x25", 2); /* jmp *original */
    memcpy(at + 2, &original, 4);
}
#elif defined(__aarch64__)
/* Where nothing else is mapped, and farther than 4 GB from any library. */
#define STUBS_NEAR ((void *)0x100000000000)

/* x16 is lost on the way here already, and nothing below sp is anybody's. */
static void stub_write(uint8_t *at, const struct bench_stub *data,
                       bool counting)
{
    static const uint32_t count[] = {
        0xa9bf07e0, /*    stp  x0, x1, [sp, #-16]! */
        0xc85f7e00, /* 1: ldxr x0, [x16]           */
        0x91000400, /*    add  x0, x0, #1          */
        0xc8017e00, /*    stxr w1, x0, [x16]       */
        0x35ffffa1, /*    cbnz w1, 1b              */
        0xa8c107e0, /*    ldp  x0, x1, [sp], #16   */
    };
    static const uint32_t leave[] = {
        0xf9400610, /* ldr x16, [x16, #8] */
        0xd61f0200, /* br  x16            */
    };
    const uint32_t load = 0x58000010 | (STUB_SIZE - 8) / 4 << 5;
    memcpy(at + STUB_SIZE - 8, &data, 8);
    memcpy(at, &load, 4); /* ldr x16, data */
    at += 4;
    if (counting) {
        memcpy(at, count, sizeof count);
        at += sizeof count;
    }
    memcpy(at, leave, sizeof leave);
}
#else
/* Where nothing else is mapped, and farther than 2 GB from any library. */
#define STUBS_NEAR ((void *)0x100000000000)

static void stub_write(uint8_t *at, const struct bench_stub *data,
                       bool counting)
{
    static const uint8_t save[] = {
        0x48, 0x8d, 0x64, 0x24, 0x80, /* lea  -128(%rsp),%rsp */
        0x9c,                         /* pushfq               */
        0xf0, 0x48, 0xff, 0x05,       /* lock incq rel32(%rip) */
    };
    static const uint8_t load[] = {
        0x9d,                                           /* popfq */
        0x48, 0x8d, 0xa4, 0x24, 0x80, 0x00, 0x00, 0x00, /* lea 128(%rsp),%rsp */
    };
    int32_t relative;
    if (counting) {
        memcpy(at, save, sizeof save);
        at += sizeof save + 4;
        relative = (int32_t)((intptr_t)&data->calls - (intptr_t)at);
        memcpy(at - 4, &relative, 4);
        memcpy(at, load, sizeof load);
        at += sizeof load;
    }
    at[0] = 0xff; /* jmp *rel32(%rip) */
    at[1] = 0x25;
    relative = (int32_t)((intptr_t)&data->original - (intptr_t)(at + 6));
    memcpy(at + 2, &relative, 4);
}
#endif

bool bench_stubs_make(struct bench_stubs *stubs, size_t count, bool counting)
{
    size_t page = 4096;
    size_t datas = (count * sizeof(struct bench_stub) + page - 1) / page * page;
    size_t codes = (count * STUB_SIZE + page - 1) / page * page;
    uint8_t *memory = mmap(STUBS_NEAR, datas + codes, PROT_READ | PROT_WRITE,
                           MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        return false;
    stubs->data = (struct bench_stub *)(void *)memory;
    stubs->code = memory + datas;
    stubs->count = count;
    memset(stubs->code, 0xcc, codes);
    for (size_t i = 0; i < count; i++)
        stub_write(stubs->code + i * STUB_SIZE, stubs->data + i, counting);
    __builtin___clear_cache((char *)stubs->code, (char *)stubs->code + codes);
    return mprotect(stubs->code, codes, PROT_READ | PROT_EXEC) == 0;
}

patas_fn bench_stub(const struct bench_stubs *stubs, size_t index)
{
    return (patas_fn)(uintptr_t)(stubs->code + index * STUB_SIZE);
}
