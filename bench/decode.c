/* SPDX-License-Identifier: MIT */
/*
 *     decode [--isa NAME] [--random N] [--jobs N] [--speed FILE]
 *            [--all | FILE... | FOLDER...]
 *
 * Decodes every function of ELF files by our decoders and by others, and counts
 * what they disagree on by class (tests/oracle/compare.h); a folder stands for
 * all libraries in it, and --all for the system's. Exits with 1 if something is
 * in no class. --random: also N random byte strings, in 64-bit and in 32-bit
 * mode. --speed: nanoseconds an instruction, ours alone.
 *
 * NAME is x86-64 (or nothing), i386 or aarch64: whose libraries --all, behind
 * it, means, and whose bytes are random. Every file is decoded as what it is.
 */
#include <fcntl.h>
#include <ftw.h>
#include <gelf.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "../tests/oracle/compare.h"
#include "isa.h"

enum {
    JOBS_MAX = 64,
    RANDOM_STEP = 1000000,
    SPEED_ROUNDS = 25
};

static struct {
    char **paths;
    size_t count;
} files;

static const struct isa {
    const char *name;
    void (*random)(uint64_t seed, uint64_t count);
    const char *folders[3];
} isas[] = {
    {"x86-64", compare_random, {"/usr/lib"}},
    {"i386",
     compare_random,
     {"/usr/i686-linux-gnu", "/usr/lib32", "/usr/lib/i386-linux-gnu"}},
    {"aarch64",
     compare_aarch64_random,
     {"/usr/aarch64-linux-gnu", "/usr/lib/aarch64-linux-gnu"}},
};
static const struct isa *isa = isas;

static void add_file(const char *path)
{
    files.paths = realloc(files.paths, (files.count + 1) * sizeof *files.paths);
    if (!files.paths || !(files.paths[files.count++] = strdup(path)))
        abort();
}

static int add_library(const char *path, const struct stat *status, int kind,
                       struct FTW *where)
{
    (void)status;
    if (kind == FTW_F && strstr(path + where->base, ".so"))
        add_file(path);
    return 0;
}

static void add_all(void)
{
    for (size_t i = 0; i < 3 && isa->folders[i]; i++)
        nftw(isa->folders[i], add_library, 16, FTW_PHYS);
}

static void add_file_or_folder(const char *path)
{
    struct stat status;

    if (stat(path, &status) == 0 && S_ISDIR(status.st_mode))
        nftw(path, add_library, 16, FTW_PHYS);
    else
        add_file(path);
}

static double now(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

/* The part of the work that falls to process `job` of `jobs`. */
static void work(unsigned job, unsigned jobs, uint64_t random)
{
    uint64_t bytes = 0;

    for (size_t i = job; i < files.count; i += jobs) {
        bytes += compare_file(files.paths[i], UINT64_MAX);
        fprintf(stderr, "\r%u: %zu of %zu files, %" PRIu64 " MB  ", job, i + 1,
                files.count, bytes >> 20);
    }
    for (uint64_t i = job; i < random / RANDOM_STEP; i += jobs) {
        isa->random(i + 1, RANDOM_STEP);
        fprintf(stderr, "\r%u: %" PRIu64 " million random   ", job, i + 1);
    }
}

static bool compare_all(unsigned jobs, uint64_t random)
{
    int pipes[JOBS_MAX][2];
    bool well = true;

    for (unsigned job = 0; job < jobs; job++) {
        fflush(stdout);
        if (pipe(pipes[job]))
            return false;
        pid_t child = fork();
        if (child < 0)
            return false;
        if (child == 0) {
            work(job, jobs, random);
            fflush(stdout);
            _exit(!compare_save(pipes[job][1]) ||
                  !compare_aarch64_save(pipes[job][1]));
        }
        close(pipes[job][1]);
    }
    for (unsigned job = 0; job < jobs; job++)
        well &=
            compare_add(pipes[job][0]) && compare_aarch64_add(pipes[job][0]);
    while (wait(NULL) > 0)
        ;
    fprintf(stderr, "\n");
    return well;
}

/* Fastest of many rounds over one section, since other programs only slow a
 * round down. */
static void speed_section(const char *path, const GElf_Shdr *header,
                          const Elf_Data *data, const struct patas__isa *set)
{
    double best = 1e9;
    uint64_t count = 0;

    for (int round = 0; round < SPEED_ROUNDS; round++) {
        double start = now();
        size_t at = 0;

        count = 0;
        while (at < data->d_size) {
            struct patas__insn insn;

            at += set->decode((const uint8_t *)data->d_buf + at,
                              data->d_size - at, header->sh_addr + at, &insn)
                      ? insn.length
                  : set == &patas__isa_aarch64 ? 4
                                               : 1;
            count++;
        }
        double seconds = now() - start;
        best = seconds < best ? seconds : best;
    }
    printf("%s: %" PRIu64 " instructions, %.2f ns each\n", path, count,
           best * 1e9 / (double)count);
}

static void speed(const char *path)
{
    int file = open(path, O_RDONLY | O_CLOEXEC);
    Elf_Scn *found = NULL;
    GElf_Ehdr elf_header;

    elf_version(EV_CURRENT);
    Elf *elf = elf_begin(file, ELF_C_READ_MMAP, NULL);
    if (!elf || !gelf_getehdr(elf, &elf_header)) {
        fprintf(stderr, "%s: no ELF file\n", path);
        exit(EXIT_FAILURE);
    }
    while ((found = elf_nextscn(elf, found))) {
        GElf_Shdr header;
        Elf_Data *data;

        if (gelf_getshdr(found, &header) && header.sh_type == SHT_PROGBITS &&
            (header.sh_flags & SHF_EXECINSTR) && header.sh_size > 65536 &&
            (data = elf_rawdata(found, NULL)))
            speed_section(path, &header, data,
                          elf_header.e_machine == EM_386 ? &patas__isa_i386
                          : elf_header.e_machine == EM_AARCH64
                              ? &patas__isa_aarch64
                              : &patas__isa_x86_64);
    }
    elf_end(elf);
    close(file);
}

static bool choose_isa(const char *name)
{
    for (size_t i = 0; i < sizeof isas / sizeof *isas; i++)
        if (!strcmp(isas[i].name, name)) {
            isa = &isas[i];
            return true;
        }
    fprintf(stderr, "decode: no instruction set is called %s\n", name);
    return false;
}

int main(int count, char **arguments)
{
    uint64_t random = 0;
    unsigned jobs = 2;

    for (int i = 1; i < count; i++) {
        if (!strcmp(arguments[i], "--isa") && i + 1 < count) {
            if (!choose_isa(arguments[++i]))
                return EXIT_FAILURE;
        } else if (!strcmp(arguments[i], "--random") && i + 1 < count) {
            random = strtoull(arguments[++i], NULL, 0);
        } else if (!strcmp(arguments[i], "--jobs") && i + 1 < count) {
            jobs = (unsigned)strtoul(arguments[++i], NULL, 0);
        } else if (!strcmp(arguments[i], "--speed") && i + 1 < count) {
            speed(arguments[++i]);
        } else if (!strcmp(arguments[i], "--all")) {
            add_all();
        } else {
            add_file_or_folder(arguments[i]);
        }
    }
    if (files.count == 0 && random == 0)
        return EXIT_SUCCESS;
    if (isa->random == compare_aarch64_random && !compare_aarch64_open()) {
        fprintf(stderr, "decode: built without binutils for AArch64\n");
        return EXIT_FAILURE;
    }
    if (jobs < 1 || jobs > JOBS_MAX || !compare_open() ||
        !compare_all(jobs, random))
        return EXIT_FAILURE;
    uint64_t unexplained = compare_report(stdout);
    unexplained += compare_aarch64_report(stdout);
    return unexplained ? EXIT_FAILURE : EXIT_SUCCESS;
}
