/* SPDX-License-Identifier: MIT */
/*
 * /tmp/perf-PID.map, where perf looks for the names of code that no file holds:
 * a line "START SIZE name" for each piece, in hexadecimal without 0x
 * (tools/perf/Documentation/jit-interface.txt of the kernel).
 *
 * /tmp belongs to everybody: nothing but a plain file of our own, with one
 * name, is written to. Other compilers in this process may write to the same
 * file; whole lines are appended.
 */
#include "../../describe.h"

#include <asm/stat.h>
#include <asm/unistd.h>
#include <linux/fcntl.h>

enum {
    PERF_MAP_MODE = 0644,
    PERF_MAP_TYPE = 0170000,  /* S_IFMT */
    PERF_MAP_PLAIN = 0100000, /* S_IFREG */
    PERF_MAP_PERM = 1,        /* EPERM */
    PERF_MAP_INTR = 4,        /* EINTR */
    PERF_MAP_PATH = 48
};

static void perf_map_path(char path[PERF_MAP_PATH])
{
    static const char front[] = "/tmp/perf-", back[] = ".map";
    char digits[12];
    unsigned count = 0, at = sizeof front - 1;
    memcpy(path, front, at);
    for (unsigned pid = (unsigned)patas__os_pid(); pid || !count; pid /= 10)
        digits[count++] = (char)('0' + pid % 10);
    while (count)
        path[at++] = digits[--count];
    memcpy(path + at, back, sizeof back);
}

/* Whoever may write to it could send perf astray, and we could be made to
 * write to another's file. */
static int perf_map_check(int fd)
{
    struct stat about;
    long err = patas__syscall(__NR_fstat, fd, (long)&about, 0, 0, 0, 0);
    long user = patas__syscall(__NR_geteuid, 0, 0, 0, 0, 0, 0);
    if (err < 0)
        return (int)-err;
    return (about.st_mode & PERF_MAP_TYPE) == PERF_MAP_PLAIN &&
                   about.st_uid == (unsigned)user && about.st_nlink == 1
               ? 0
               : PERF_MAP_PERM;
}

int patas__os_perf_map(const char *text, size_t size)
{
    char path[PERF_MAP_PATH];
    perf_map_path(path);
    long fd = patas__syscall(__NR_openat, AT_FDCWD, (long)path,
                             O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC |
                                 O_NOFOLLOW | O_NONBLOCK,
                             PERF_MAP_MODE, 0, 0);
    if (fd < 0)
        return (int)-fd;
    int err = perf_map_check((int)fd);
    while (size && !err) {
        long done =
            patas__syscall(__NR_write, fd, (long)text, (long)size, 0, 0, 0);
        if (done < 0 && done != -PERF_MAP_INTR)
            err = (int)-done;
        else if (done > 0) {
            text += done;
            size -= (size_t)done;
        }
    }
    patas__os_close((int)fd);
    return err;
}
