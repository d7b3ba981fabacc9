/* SPDX-License-Identifier: MIT */
/*
 *     every ENGINE INSIDE REPORT PROGRAM ARGUMENTS...
 *
 * Runs a Go program that nobody here built, with every function of it replaced
 * by one that counts the call and goes on to the original. ENGINE is the image
 * that the Go package carries, INSIDE that of inside.c. The program's output
 * and exit status are its own; REPORT gets how much was replaced and called, a
 * word and a number a line.
 *
 * Where the program has just been loaded, main.main is made a jump to INSIDE,
 * which takes that back and does the rest, in the process, beside the threads
 * that the Go runtime has started by then.
 */
#include "../../golang/blob.h"
#include "../../golang/pclntab.h"
#include "inside.h"
#include "program.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    FAILED = 125 /* exit status; above those of programs */
};

static pid_t child;
static int memory; /* /proc/PID/mem */

static void need(bool holds, const char *what)
{
    if (holds)
        return;
    fprintf(stderr, "every: %s: %s\n", what, strerror(errno));
    if (child > 0)
        kill(child, SIGKILL);
    exit(FAILED);
}

static uint8_t *file_read(const char *path, size_t *size)
{
    FILE *file = fopen(path, "rb");
    need(file && !fseek(file, 0, SEEK_END), path);
    *size = (size_t)ftell(file);
    rewind(file);
    uint8_t *bytes = malloc(*size);
    need(bytes && fread(bytes, 1, *size, file) == *size, path);
    fclose(file);
    return bytes;
}

static void peek(uint64_t at, void *bytes, size_t size)
{
    need(pread(memory, bytes, size, (off_t)at) == (ssize_t)size, "reading");
}

static void poke(uint64_t at, const void *bytes, size_t size)
{
    need(pwrite(memory, bytes, size, (off_t)at) == (ssize_t)size, "writing");
}

/* A system call of the stopped child's, made where it stands. */
static const uint8_t system_code[] = {
#ifdef __x86_64__
    0x0f, 0x05, 0xcc /* syscall; int3 */
#else
    0xcd, 0x80, 0xcc /* int $0x80; int3 */
#endif
};

#ifdef __x86_64__
static uint64_t place(const struct user_regs_struct *regs)
{
    return regs->rip;
}

static uint64_t result(const struct user_regs_struct *regs)
{
    return regs->rax;
}

static void aim(struct user_regs_struct *regs, uint64_t number,
                const uint64_t args[6])
{
    regs->rax = number;
    regs->rdi = args[0];
    regs->rsi = args[1];
    regs->rdx = args[2];
    regs->r10 = args[3];
    regs->r8 = args[4];
    regs->r9 = args[5];
    regs->orig_rax = UINT64_MAX; /* no restart */
}
#else
static uint64_t place(const struct user_regs_struct *regs)
{
    return (uint32_t)regs->eip;
}

static uint64_t result(const struct user_regs_struct *regs)
{
    return (uint64_t)(int64_t)regs->eax;
}

static void aim(struct user_regs_struct *regs, uint64_t number,
                const uint64_t args[6])
{
    regs->eax = (long)number;
    regs->ebx = (long)args[0];
    regs->ecx = (long)args[1];
    regs->edx = (long)args[2];
    regs->esi = (long)args[3];
    regs->edi = (long)args[4];
    regs->ebp = (long)args[5];
    regs->orig_eax = -1; /* no restart */
}
#endif

static uint64_t system_call(uint64_t number, uint64_t a, uint64_t b, uint64_t c,
                            uint64_t d, uint64_t e)
{
    const uint64_t args[6] = {a, b, c, d, e, 0};
    struct user_regs_struct was, regs;
    uint8_t saved[sizeof system_code];
    int status;
    need(!ptrace(PTRACE_GETREGS, child, 0, &was), "registers");
    peek(place(&was), saved, sizeof saved);
    poke(place(&was), system_code, sizeof saved);
    regs = was;
    aim(&regs, number, args);
    need(!ptrace(PTRACE_SETREGS, child, 0, &regs) &&
             !ptrace(PTRACE_CONT, child, 0, 0) &&
             waitpid(child, &status, 0) == child && WIFSTOPPED(status) &&
             WSTOPSIG(status) == SIGTRAP &&
             !ptrace(PTRACE_GETREGS, child, 0, &regs),
         "a system call in the program");
    poke(place(&was), saved, sizeof saved);
    need(!ptrace(PTRACE_SETREGS, child, 0, &was), "registers");
    return result(&regs);
}

static uint64_t map(size_t size)
{
#ifdef SYS_mmap2 /* the other one takes a struct */
    enum {
        MMAP = SYS_mmap2
    };
#else
    enum {
        MMAP = SYS_mmap
    };
#endif
    uint64_t at = system_call(MMAP, 0, size, PROT_READ | PROT_WRITE,
                              MAP_PRIVATE | MAP_ANONYMOUS, UINT64_MAX);
    need(at < UINT64_MAX - 4095, "no memory in the program");
    return (uintptr_t)at;
}

static void executable(uint64_t at, size_t size)
{
    need(!system_call(SYS_mprotect, at, size, PROT_READ | PROT_EXEC, 0, 0),
         "mprotect in the program");
}

/* What go/engine_linux.go does. Returns the address of the one function. */
static uint64_t engine_map(const char *path)
{
    size_t size;
    uint8_t *image = file_read(path, &size);
    need(size > 32 && patas__load32(image) == 0x61746170, path);
    uint32_t head[8];
    memcpy(head, image, sizeof head);
    uint64_t base = map(head[5]);
    poke(base, image, size);
    const size_t entry = sizeof(uintptr_t) == 8 ? 24 : 8; /* Rela, or Rel */
    for (size_t at = head[6]; at < head[6] + head[7]; at += entry) {
        uint64_t offset = patas__load32(image + at); /* files are small */
        uint64_t value = base + (entry == 24 ? patas__load64(image + at + 16)
                                             : patas__load32(image + offset));
        poke(base + offset, &value, sizeof(uintptr_t));
    }
    executable(base, head[3]);
    free(image);
    return base + head[2];
}

static uint64_t inside_map(const char *path, struct inside *inside)
{
    size_t size;
    uint8_t *image = file_read(path, &size);
    need(size > INSIDE_DATA && size <= INSIDE_SIZE, path);
    uint64_t base = map(INSIDE_SIZE);
    poke(base, image, size);
    poke(base + INSIDE_DATA, inside, sizeof *inside);
    executable(base, INSIDE_DATA);
    free(image);
    return base;
}

/* How far from where its file says the program was loaded. */
static uint64_t bias_of(const char *program)
{
    char path[64];
    uintptr_t pairs[128][2] = {{0}};
    NATIVE(Ehdr) header;
    FILE *file = fopen(program, "rb");
    need(file && fread(&header, sizeof header, 1, file) == 1, program);
    fclose(file);
    snprintf(path, sizeof path, "/proc/%d/auxv", (int)child);
    file = fopen(path, "rb");
    need(file && fread(pairs, sizeof *pairs, 127, file) > 0, path);
    fclose(file);
    for (unsigned i = 0; pairs[i][0]; i++)
        if (pairs[i][0] == 9) /* AT_ENTRY */
            return pairs[i][1] - header.e_entry;
    need(false, "AT_ENTRY");
    return 0;
}

static uint64_t main_of(const char *program)
{
    static struct patas__image image;
    struct patas__pclntab tab;
    struct patas__gofunc func;
    uint32_t index = 0;
    program_read(program, &image);
    errno = 0;
    need(patas__pclntab_find(&image, &tab), "no Go program");
    need(patas__pclntab_named(&tab, "main.main", 9, &index, &func),
         "it has no main.main");
    return func.entry;
}

/* `jmp *0(%rip)`, and the address; a plain jump where all is in reach. */
static void lead_inside(uint64_t from, uint64_t to)
{
    uint8_t jump[INSIDE_JUMP] = {0xff, 0x25};
    uint32_t away = (uint32_t)(to - (from + 5));
    if (sizeof(uintptr_t) == 8) {
        memcpy(jump + 6, &to, sizeof to);
    } else {
        jump[0] = 0xe9;
        memcpy(jump + 1, &away, sizeof away);
    }
    poke(from, jump, sizeof jump);
}

static uint64_t prepare(char **argv)
{
    struct inside inside = {0};
    inside.main = main_of(argv[3]) + bias_of(argv[3]);
    peek(inside.main, inside.saved, INSIDE_JUMP);
    inside.enter = engine_map(argv[0]);
    inside.functions = map(INSIDE_FUNCTIONS * sizeof(struct inside_function));
    uint64_t base = inside_map(argv[1], &inside);
    lead_inside(inside.main, base);
    return base + INSIDE_DATA;
}

enum tally {
    FUNCTIONS,
    REPLACED,
    CALLED,
    CALLS,
    CHECKED,
    CHECKED_REPLACED,
    WAYS,                /* enum inside_way */
    REFUSALS = WAYS + 5, /* enum patas__go_refusal */
    TALLIES = REFUSALS + 16
};

static void count(const struct inside_function *function, uint64_t *tally)
{
    uint64_t calls = 0;
    tally[FUNCTIONS]++;
    tally[CHECKED] += function->checked;
    if (!function->counter) {
        tally[REFUSALS + (function->refusal & 15)]++;
        return;
    }
    peek(function->counter, &calls, sizeof(uintptr_t));
    tally[REPLACED]++;
    tally[CHECKED_REPLACED] += function->checked;
    tally[CALLED] += calls > 0;
    tally[CALLS] += calls;
    tally[WAYS + function->way % 5]++;
}

static void report(const char *path, uint64_t at)
{
    static const struct {
        const char *what;
        unsigned which;
    } lines[] = {
        {"functions", FUNCTIONS},
        {"replaced", REPLACED},
        {"of-them-called", CALLED},
        {"calls", CALLS},
        {"stack-checked", CHECKED},
        {"stack-checked-replaced", CHECKED_REPLACED},
        {"way-back-jumps", WAYS + INSIDE_JUMPS},
        {"way-back-moves", WAYS + INSIDE_MOVES},
        {"way-back-traps", WAYS + INSIDE_TRAPS},
        {"way-back-lost", WAYS + INSIDE_LOST},
        {"refused-assembly", REFUSALS + PATAS__GO_ASM},
        {"refused-nosplit", REFUSALS + PATAS__GO_IS_NOSPLIT},
        {"refused-loops", REFUSALS + PATAS__GO_LOOPS},
        {"refused-may-fault", REFUSALS + PATAS__GO_MAY_FAULT},
        {"refused-not-read", REFUSALS + PATAS__GO_NOT_READ},
        {"refused-by-engine", REFUSALS + PATAS__GO_OK},
    };
    struct inside inside;
    uint64_t tally[TALLIES] = {0};
    peek(at, &inside, sizeof inside);
    errno = 0;
    need(inside.done == INSIDE_MAGIC, "the program ended before main.main");
    for (uint64_t i = 0; i < inside.count; i++) {
        struct inside_function function;
        peek(inside.functions + i * sizeof function, &function,
             sizeof function);
        count(&function, tally);
    }
    FILE *file = fopen(path, "w");
    need(file, path);
    for (unsigned i = 0; i < sizeof lines / sizeof *lines; i++)
        fprintf(file, "%s %llu\n", lines[i].what,
                (unsigned long long)tally[lines[i].which]);
    fclose(file);
}

/* Signals reach the program as ever; at its end the counters are read. */
static int follow(const char *path, uint64_t inside)
{
    int status, signal = 0;
    for (;;) {
        need(!ptrace(PTRACE_CONT, child, 0, signal), "ptrace");
        need(waitpid(child, &status, 0) == child, "waitpid");
        signal = 0;
        if (WIFEXITED(status))
            return WEXITSTATUS(status);
        if (WIFSIGNALED(status)) {
            fprintf(stderr, "every: killed by signal %d\n", WTERMSIG(status));
            return FAILED;
        }
        if (status >> 16 == PTRACE_EVENT_EXIT)
            report(path, inside);
        else if (status >> 16 == 0)
            signal = WSTOPSIG(status);
    }
}

int main(int argc, char **argv)
{
    int status;
    char path[64];
    if (argc < 5) {
        fprintf(stderr, "usage: every ENGINE INSIDE REPORT PROGRAM ...\n");
        return FAILED;
    }
    child = fork();
    if (!child) {
        ptrace(PTRACE_TRACEME, 0, 0, 0);
        execv(argv[4], argv + 4);
        _exit(FAILED);
    }
    need(child > 0 && waitpid(child, &status, 0) == child &&
             WIFSTOPPED(status) && WSTOPSIG(status) == SIGTRAP,
         argv[4]);
    need(!ptrace(PTRACE_SETOPTIONS, child, 0,
                 PTRACE_O_TRACEEXIT | PTRACE_O_EXITKILL),
         "ptrace");
    snprintf(path, sizeof path, "/proc/%d/mem", (int)child);
    memory = open(path, O_RDWR | O_CLOEXEC);
    need(memory >= 0, path);
    return follow(argv[3], prepare(argv + 1));
}
