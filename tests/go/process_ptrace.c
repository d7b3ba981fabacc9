/* SPDX-License-Identifier: MIT */
/*
 * process.h where there is ptrace: the program is a child, stopped where it has
 * just been loaded; at its end the counters are read.
 */
#include "process.h"

#include "../../engine/native.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

static pid_t child;
static int memory; /* /proc/PID/mem */

void need(bool holds, const char *what)
{
    if (holds)
        return;
    fprintf(stderr, "every: %s: %s\n", what, strerror(errno));
    if (child > 0)
        kill(child, SIGKILL);
    exit(FAILED);
}

void peek(uint64_t at, void *bytes, size_t size)
{
    need(pread(memory, bytes, size, (off_t)at) == (ssize_t)size, "reading");
}

void poke(uint64_t at, const void *bytes, size_t size)
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

uint64_t map(size_t size)
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

void executable(uint64_t at, size_t size)
{
    need(!system_call(SYS_mprotect, at, size, PROT_READ | PROT_EXEC, 0, 0),
         "mprotect in the program");
}

uint64_t counted(const struct inside_function *function)
{
    uint64_t calls = 0;
    peek(function->counter, &calls, sizeof(uintptr_t));
    return calls;
}

/* How far from where its file says the program was loaded. */
uint64_t bias_of(const char *program)
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

void begin(char **argv)
{
    int status;
    char path[64];
    child = fork();
    if (!child) {
        ptrace(PTRACE_TRACEME, 0, 0, 0);
        execv(argv[0], argv);
        _exit(FAILED);
    }
    need(child > 0 && waitpid(child, &status, 0) == child &&
             WIFSTOPPED(status) && WSTOPSIG(status) == SIGTRAP,
         argv[0]);
    need(!ptrace(PTRACE_SETOPTIONS, child, 0,
                 PTRACE_O_TRACEEXIT | PTRACE_O_EXITKILL),
         "ptrace");
    snprintf(path, sizeof path, "/proc/%d/mem", (int)child);
    memory = open(path, O_RDWR | O_CLOEXEC);
    need(memory >= 0, path);
}

/* Signals reach the program as ever; at its end the counters are read. */
int finish(void (*report)(const char *path, uint64_t inside), const char *path,
           uint64_t inside)
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
