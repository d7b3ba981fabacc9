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
 * that the Go runtime has started by then. process_*.c is how its memory is
 * reached from outside.
 */
#include "../../golang/blob.h"
#include "../../golang/pclntab.h"
#include "inside.h"
#include "process.h"
#include "program.h"

#include <errno.h>
#include <string.h>

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

/* main.main, and runtime.exit, of which the one in assembly is meant. */
static void find_both(const char *program, struct inside *inside)
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
    inside->main = func.entry + bias_of(program);
    index = 0;
    while (patas__pclntab_named(&tab, "runtime.exit", 12, &index, &func))
        if (func.flag & PATAS__GO_ASSEMBLY)
            inside->exit = func.entry + bias_of(program);
    need(inside->exit, "it has no runtime.exit");
}

static uint64_t prepare(char **argv)
{
    struct inside inside = {0};
    find_both(argv[3], &inside);
    peek(inside.main, inside.saved, INSIDE_JUMP);
    inside.enter = engine_map(argv[0]);
    inside.functions = map(INSIDE_FUNCTIONS * sizeof(struct inside_function));
    uint64_t base = inside_map(argv[1], &inside);
    uint8_t jump[INSIDE_JUMP] = {0};
    inside_jump(jump, inside.main, base);
    poke(inside.main, jump, sizeof jump);
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
    tally[FUNCTIONS]++;
    tally[CHECKED] += function->checked;
    if (!function->counter) {
        tally[REFUSALS + (function->refusal & 15)]++;
        return;
    }
    const uint64_t calls = counted(function);
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

int main(int argc, char **argv)
{
    if (argc < 5) {
        fprintf(stderr, "usage: every ENGINE INSIDE REPORT PROGRAM ...\n");
        return FAILED;
    }
    begin(argv + 4);
    return finish(report, argv[3], prepare(argv + 1));
}
