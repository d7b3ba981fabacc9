/* SPDX-License-Identifier: MIT */
/*
 *     symbols [--peers] [LIBRARY [NAME]]...
 *
 * How long a name takes in a process with many functions: the first one (cold:
 * files are opened, tables are read) and the next (warm). Each cold figure is
 * taken in a child of its own, whose page cache is warm. With --peers: gdb and
 * perf probe, asked the same.
 */
#include <patas/symbols.h>

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
    ROUNDS = 7,
    WARM = 200
};

struct figures {
    double cold, warm; /* milliseconds */
    long kilobytes;    /* of private memory that the search took */
    size_t functions;
    patas_status status;
};

static double now_ms(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec * 1e3 + (double)time.tv_nsec / 1e6;
}

static long private_kilobytes(void)
{
    char line[256];
    long size = 0, one;
    FILE *file = fopen("/proc/self/smaps_rollup", "r");

    while (file && fgets(line, sizeof line, file)) {
        if (sscanf(line, "Private_Dirty: %ld", &one) == 1)
            size += one;
    }
    if (file)
        fclose(file);
    return size;
}

static size_t function_count(void)
{
    patas_found *found = NULL;
    size_t count = 0;

    if (patas_find_all("*", &found, NULL) == PATAS_OK)
        count = found->count;
    patas_found_free(found);
    return count;
}

static struct figures measure(const char *name, int count)
{
    struct figures figures = {0};
    patas_fn function;
    long before = private_kilobytes();
    double start = now_ms();

    figures.status = patas_find(name, &function, NULL);
    figures.cold = now_ms() - start;
    figures.kilobytes = private_kilobytes() - before;
    start = now_ms();
    for (int i = 0; i < WARM; i++)
        (void)!patas_find(name, &function, NULL);
    figures.warm = (now_ms() - start) / WARM;
    if (count)
        figures.functions = function_count();
    return figures;
}

static struct figures in_child(const char *name, int count)
{
    struct figures figures = {0};
    int ends[2];

    figures.status = PATAS_ERR_OS;
    if (pipe(ends))
        return figures;
    pid_t child = fork();
    if (child == 0) {
        figures = measure(name, count);
        _exit(write(ends[1], &figures, sizeof figures) !=
              (ssize_t)sizeof figures);
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

static void report(const char *name)
{
    struct figures all[ROUNDS];
    size_t functions = in_child(name, 1).functions;

    for (int i = 0; i < ROUNDS; i++)
        all[i] = in_child(name, 0);
    qsort(all, ROUNDS, sizeof *all, by_cold);
    printf("%-50.50s %8zu functions  cold %7.2f ms  warm %7.4f ms  %6ld kB  "
           "%s\n",
           name, functions, all[ROUNDS / 2].cold, all[ROUNDS / 2].warm,
           all[ROUNDS / 2].kilobytes, patas_status_name(all[0].status));
    fflush(stdout);
}

static void peer(const char *what, const char *command)
{
    double start = now_ms();
    int status = system(command);
    printf("%-50.50s %s %9.2f ms%s\n", what, "                   took",
           now_ms() - start, status ? "  (failed)" : "");
    fflush(stdout);
}

static void peers(const char *library, const char *name)
{
    char command[1024];

    peer("gdb, its start alone", "gdb -q -batch -nx >/dev/null 2>&1");
    snprintf(command, sizeof command,
             "gdb -q -batch -nx -p %d -ex 'info address %s' >/dev/null 2>&1",
             (int)getpid(), name);
    peer("gdb -p, the same name", command);
    if (!library)
        return;
    peer("perf probe, its start alone", "perf --version >/dev/null 2>&1");
    snprintf(command, sizeof command,
             "perf probe -q -x '%s' -F '%s' >/dev/null 2>&1", library, name);
    peer("perf probe -F, the same name in the one library", command);
}

/* The library as it was found, for those who want a path. */
static const char *path_of(void *handle)
{
    struct link_map_head {
        unsigned long base;
        const char *path;
    } *map = NULL;

    return dlinfo(handle, RTLD_DI_LINKMAP, &map) ? NULL : map->path;
}

static const struct {
    const char *library, *name;
} defaults[] = {
    {GENERATED, "generated_199999"},
    {"libLLVM-14.so.1", "LLVMAddFunction@libLLVM-14"},
    {"libLLVM-14.so.1", "llvm::Module::getFunction@libLLVM-14"},
    {"libLLVM-15.so.1", "LLVMAddFunction@libLLVM-15"},
    {"libwebkit2gtk-4.1.so.0", "webkit_web_view_new"},
    {"libc.so.6", "malloc"},
};

int main(int count, char **words)
{
    int with_peers = count > 1 && !strcmp(words[1], "--peers");
    size_t shown = sizeof defaults / sizeof *defaults;

    if (count > 1 + with_peers) {
        void *handle = dlopen(words[1 + with_peers], RTLD_NOW | RTLD_GLOBAL);
        const char *name =
            count > 2 + with_peers ? words[2 + with_peers] : "malloc";
        report(name);
        if (with_peers)
            peers(handle ? path_of(handle) : NULL, name);
        return 0;
    }
    for (size_t i = 0; i < shown; i++) {
        void *handle = dlopen(defaults[i].library, RTLD_LAZY | RTLD_GLOBAL);
        if (!handle) {
            printf("%-50.50s not on this machine\n", defaults[i].library);
            continue;
        }
        report(defaults[i].name);
        if (with_peers && i == 0)
            peers(path_of(handle), defaults[i].name);
    }
    return 0;
}
