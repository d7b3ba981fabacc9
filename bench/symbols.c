/* SPDX-License-Identifier: MIT */
/*
 *     symbols [--peers] [FILE NAME]...
 *
 * How long a name takes in a process with many functions: the first one (cold:
 * files are opened, tables are read), the next (warm), and the private memory
 * that it took. Every figure comes from a process of its own that has loaded
 * the library, or from the program itself, by LD_PRELOAD before it begins; its
 * page cache is warm. The median of seven.
 *
 * With --peers: gdb and perf probe are asked for the same name in that one
 * file, which is less than a process; the quickest of three, with their start,
 * which is told in the last lines.
 */
#include "symbols_measure.h"

#include <dlfcn.h>
#include <limits.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    ROUNDS = 7,
    PEER_ROUNDS = 3
};

static bool with_peers, failed;
static char preload[PATH_MAX];

/* The program that libraries are not: glibc's can be started as well. */
static bool is_program(const char *file)
{
    return strchr(file, '/') && !strstr(file, ".so");
}

static void in_program(const char *file, const char *name, int fd)
{
    char number[16];

    snprintf(number, sizeof number, "%d", fd);
    setenv("LD_PRELOAD", preload, 1);
    setenv("PATAS_BENCH_FILE", file, 1);
    setenv("PATAS_BENCH_FD", number, 1);
    if (name)
        setenv("PATAS_BENCH_NAME", name, 1);
    execl(file, file, "--version", (char *)NULL);
    _exit(127);
}

static void in_library(const char *file, const char *name, int fd)
{
    struct figures figures = {.status = PATAS_ERR_OS};

    if (dlopen(file, RTLD_LAZY | RTLD_GLOBAL))
        figures = measure(name);
    _exit(write(fd, &figures, sizeof figures) != (ssize_t)sizeof figures);
}

static struct figures in_child(const char *file, const char *name)
{
    struct figures figures = {.status = PATAS_ERR_OS};
    int ends[2];

    if (pipe(ends))
        return figures;
    pid_t child = fork();
    if (child == 0) {
        close(ends[0]);
        if (is_program(file))
            in_program(file, name, ends[1]);
        in_library(file, name, ends[1]);
    }
    close(ends[1]);
    if (read(ends[0], &figures, sizeof figures) != (ssize_t)sizeof figures)
        figures.status = PATAS_ERR_OS;
    close(ends[0]);
    waitpid(child, NULL, 0);
    return figures;
}

static int by_cold(const void *left, const void *right)
{
    const struct figures *a = left, *b = right;
    return (a->cold > b->cold) - (a->cold < b->cold);
}

/* Milliseconds; `found` if it wrote a line that has `sign`. */
static double run(const char *command, const char *sign, bool *found)
{
    double best = 1e9;
    char line[1024];

    *found = false;
    for (int i = 0; i < PEER_ROUNDS; i++) {
        double start = now_ms();
        FILE *out = popen(command, "r");
        while (out && fgets(line, sizeof line, out))
            *found |= strstr(line, sign) != NULL;
        if (out)
            pclose(out);
        double took = now_ms() - start;
        best = took < best ? took : best;
    }
    return best;
}

static bool is_there(const char *tool)
{
    char command[128];
    snprintf(command, sizeof command, "command -v %s >/dev/null", tool);
    return system(command) == 0;
}

static void peer(const char *tool, const char *command, const char *sign)
{
    bool found;

    if (!is_there(tool)) {
        printf("  %14s", "not there");
        return;
    }
    double took = run(command, sign, &found);
    printf("  %8.0f %-5s", took, found ? "found" : "-");
}

static void peers(const char *path, const char *name)
{
    char command[2 * PATH_MAX];

    snprintf(command, sizeof command,
             "gdb -q -batch -nx -ex 'info address %s' '%s' 2>/dev/null", name,
             path);
    peer("gdb", command, "is at ");
    snprintf(command, sizeof command,
             "perf probe -q -x '%s' -F '%s' 2>/dev/null", path, name);
    peer("perf", command, name);
}

static void report(const char *file, const char *path, const char *name)
{
    struct figures all[ROUNDS];
    size_t functions = in_child(file, NULL).functions;
    const char *base = strrchr(file, '/');

    for (int i = 0; i < ROUNDS; i++)
        all[i] = in_child(file, name);
    qsort(all, ROUNDS, sizeof *all, by_cold);
    const struct figures *median = &all[ROUNDS / 2];
    failed |= median->status == PATAS_ERR_OS; /* it could not be asked */
    const char *status = median->status == PATAS_OK ? "found"
                         : median->status == PATAS_ERR_NOT_FOUND
                             ? "-"
                             : patas_status_name(median->status);
    printf("%-22.22s %-34.34s %9zu %8.2f %8.4f %8ld %-5s",
           base ? base + 1 : file, name, functions, median->cold, median->warm,
           median->kilobytes, status);
    if (with_peers)
        peers(path, name);
    printf("\n");
    fflush(stdout);
}

/* Where a library lies; false if it is not on this machine. */
static bool path_of(const char *file, char *path)
{
    struct link_map_head {
        unsigned long base;
        const char *path;
    } *map = NULL;
    int ends[2];

    *path = 0;
    if (is_program(file))
        return realpath(file, path) && access(path, X_OK) == 0;
    if (pipe(ends))
        return false;
    pid_t child = fork();
    if (child == 0) {
        void *handle = dlopen(file, RTLD_LAZY);
        _exit(!handle || dlinfo(handle, RTLD_DI_LINKMAP, &map) ||
              write(ends[1], map->path, strlen(map->path)) < 1);
    }
    close(ends[1]);
    ssize_t length = read(ends[0], path, PATH_MAX - 1);
    path[length < 0 ? 0 : length] = 0;
    close(ends[0]);
    waitpid(child, NULL, 0);
    return *path != 0;
}

static void try(const char *file, const char *name)
{
    char path[PATH_MAX];

    if (path_of(file, path))
        report(is_program(file) ? path : file, path, name);
    else
        printf("%-22.22s is not on this machine\n", file);
}

static const struct {
    const char *file, *name;
} defaults[] = {
    {GENERATED, "generated_199999"},
    {GENERATED, "generated_200000"},
    {"libLLVM-14.so.1", "LLVMAddFunction"},
    {"libLLVM-14.so.1", "llvm::Module::getFunction"},
    {"libLLVM-14.so.1", "LLVMAddFunctoin"},
    {"libwebkit2gtk-4.1.so.0", "webkit_web_view_new"},
    {"libwebkit2gtk-4.1.so.0", "webkit_no_such_function"},
    {"/usr/lib/chromium/chromium", "ChromeMain"},
    {"/usr/lib/chromium/chromium", "blink::Document::write"},
    {"libc.so.6", "malloc"},
};

int main(int count, char **words)
{
    bool found;

    with_peers = count > 1 && !strcmp(words[1], "--peers");
    words += with_peers;
    count -= with_peers;
    if (count % 2 == 0) {
        fprintf(stderr, "symbols [--peers] [FILE NAME]...\n");
        return 2;
    }
    if (!realpath(PRELOAD, preload))
        perror(PRELOAD);
    printf("%-22s %-34s %9s %8s %8s %8s %-5s", "file", "name", "functions",
           "cold ms", "warm ms", "kB", "");
    if (with_peers)
        printf("  %14s  %14s", "gdb ms", "perf probe ms");
    printf("\n");
    for (int i = 1; i + 1 < count; i += 2)
        try(words[i], words[i + 1]);
    for (size_t i = 0; count < 2 && i < sizeof defaults / sizeof *defaults; i++)
        try(defaults[i].file, defaults[i].name);
    if (with_peers && is_there("gdb"))
        printf("gdb starts in %.0f ms\n",
               run("gdb -q -batch -nx 2>/dev/null", "", &found));
    if (with_peers && is_there("perf"))
        printf("perf starts in %.0f ms\n",
               run("perf --version 2>/dev/null", "", &found));
    return failed;
}
