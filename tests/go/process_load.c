/* SPDX-License-Identifier: MIT */
/*
 * process.h where there is no ptrace, in an emulator of programs: what the
 * kernel does for execve is done here, for static programs at fixed addresses,
 * in a process that has room for one there. What is mapped is shared with the
 * child that runs, and so is there when it has ended.
 *
 * The emulator's /proc/self/auxv shows the vector on the stack, which is
 * changed; a kernel has one of its own. So this is for emulators alone.
 */
#include "process.h"

#include <elf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

static char **program_argv;
static Elf64_Ehdr header;
static uint64_t headers; /* address of the program headers */

void need(bool holds, const char *what)
{
    if (holds)
        return;
    fprintf(stderr, "every: %s: %s\n", what, strerror(errno));
    exit(FAILED);
}

static int protection(const Elf64_Phdr *phdr)
{
    return (phdr->p_flags & PF_R ? PROT_READ : 0) |
           (phdr->p_flags & PF_W ? PROT_WRITE : 0) |
           (phdr->p_flags & PF_X ? PROT_EXEC : 0);
}

static void load(FILE *file, const Elf64_Phdr *phdr)
{
    const uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
    uint64_t start = phdr->p_vaddr & ~(page - 1);
    uint64_t end = (phdr->p_vaddr + phdr->p_memsz + page - 1) & ~(page - 1);
    void *at = mmap((void *)start, end - start, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    need(at == (void *)start, "no room at a segment's address");
    need(!fseek(file, (long)phdr->p_offset, SEEK_SET) &&
             fread((void *)phdr->p_vaddr, 1, phdr->p_filesz, file) ==
                 phdr->p_filesz &&
             !mprotect(at, end - start, protection(phdr)),
         "a segment");
    if (header.e_phoff >= phdr->p_offset &&
        header.e_phoff < phdr->p_offset + phdr->p_filesz)
        headers = phdr->p_vaddr + (header.e_phoff - phdr->p_offset);
}

void begin(char **argv)
{
    Elf64_Phdr phdrs[32];
    FILE *file = fopen(argv[0], "rb");
    need(file && fread(&header, sizeof header, 1, file) == 1 &&
             header.e_phnum <= 32 &&
             !fseek(file, (long)header.e_phoff, SEEK_SET) &&
             fread(phdrs, sizeof *phdrs, header.e_phnum, file) ==
                 header.e_phnum,
         argv[0]);
    need(header.e_type == ET_EXEC, "it is not at a fixed address");
    for (unsigned i = 0; i < header.e_phnum; i++) {
        need(phdrs[i].p_type != PT_INTERP, "it needs shared libraries");
        if (phdrs[i].p_type == PT_LOAD)
            load(file, &phdrs[i]);
    }
    fclose(file);
    program_argv = argv;
}

uint64_t bias_of(const char *program)
{
    (void)program;
    return 0;
}

void peek(uint64_t at, void *bytes, size_t size)
{
    memcpy(bytes, (const void *)at, size);
}

/* The program's code can't be written to as it is. */
void poke(uint64_t at, const void *bytes, size_t size)
{
    const uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
    uint64_t start = at & ~(page - 1);
    uint64_t end = (at + size + page - 1) & ~(page - 1);
    bool code = at < headers + (1u << 30);
    if (code)
        need(!mprotect((void *)start, end - start, PROT_READ | PROT_WRITE),
             "writing");
    memcpy((void *)at, bytes, size);
    if (code)
        executable(start, end - start);
}

uint64_t map(size_t size)
{
    void *at = mmap(NULL, size, PROT_READ | PROT_WRITE,
                    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    need(at != MAP_FAILED, "no memory");
    return (uintptr_t)at;
}

void executable(uint64_t at, size_t size)
{
    need(!mprotect((void *)at, size, PROT_READ | PROT_EXEC), "mprotect");
    __builtin___clear_cache((char *)at, (char *)at + size);
}

/* The kernel's stack, from the program's own arguments on. */
static void __attribute__((noreturn)) run(void)
{
    uint64_t *stack = (uint64_t *)program_argv - 1, count = 0;
    char **at = program_argv;
    for (; *at; at++)
        count++;
    *stack = count;
    for (at++; *at; at++)
        ;
    for (uint64_t *pair = (uint64_t *)(at + 1); pair[0]; pair += 2)
        pair[1] = pair[0] == AT_PHDR    ? headers
                  : pair[0] == AT_PHNUM ? header.e_phnum
                  : pair[0] == AT_ENTRY ? header.e_entry
                  : pair[0] == AT_BASE  ? 0
                                        : pair[1];
    __asm__ volatile("msr tpidr_el0, xzr\n"
                     "mov sp, %0\n"
                     "mov x0, xzr\n"
                     "mov x29, xzr\n"
                     "mov x30, xzr\n"
                     "br %1\n" ::"r"(stack),
                     "r"(header.e_entry)
                     : "memory", "x0", "x30");
    __builtin_unreachable();
}

int finish(void (*report)(const char *path, uint64_t inside), const char *path,
           uint64_t inside)
{
    int status;
    pid_t child = fork();
    if (!child)
        run();
    need(child > 0 && waitpid(child, &status, 0) == child, "fork");
    if (WIFSIGNALED(status)) {
        fprintf(stderr, "every: killed by signal %d\n", WTERMSIG(status));
        return FAILED;
    }
    report(path, inside);
    return WEXITSTATUS(status);
}

uint64_t counted(const struct inside_function *function)
{
    return function->calls;
}
