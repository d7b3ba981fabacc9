/* SPDX-License-Identifier: MIT */
/*
 * /tmp/perf-PID.map, where perf looks for the names of code that no file holds:
 * a line "START SIZE name" for each piece, in hexadecimal without 0x
 * (tools/perf/Documentation/jit-interface.txt of the kernel).
 *
 * /tmp belongs to everybody: nothing but a plain file of our own, with one
 * name, is written to. Other compilers in this process may write to the same
 * file; whole lines are appended. What is older than this process was left by
 * another one that had its number, and goes.
 */
#include "../../describe.h"

#include <asm/stat.h>
#include <asm/unistd.h>
#include <linux/fcntl.h>
#include <linux/time.h>

enum {
    PERF_MAP_MODE = 0644,
    PERF_MAP_TYPE = 0170000,  /* S_IFMT */
    PERF_MAP_PLAIN = 0100000, /* S_IFREG */
    PERF_MAP_PERM = 1,        /* EPERM */
    PERF_MAP_INTR = 4,        /* EINTR */
    PERF_MAP_PATH = 48,
    PERF_MAP_TICKS = 100, /* a second, in /proc (USER_HZ) */
    PERF_MAP_START = 22   /* which field of /proc/self/stat, from 1 */
};
#define PERF_MAP_SECOND ((int64_t)1000000000) /* ns */

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

static int64_t perf_map_clock(int clock)
{
    struct timespec now = {0};
    patas__syscall(__NR_clock_gettime, clock, (long)&now, 0, 0, 0, 0);
    return now.tv_sec * PERF_MAP_SECOND + now.tv_nsec;
}

/* When this process began, in ns since boot; 0 where /proc is not to be had.
 * The second field is a name in parentheses, with anything in it. */
static int64_t perf_map_start(void)
{
    char text[512];
    long fd = patas__syscall(__NR_openat, AT_FDCWD, (long)"/proc/self/stat",
                             O_RDONLY | O_CLOEXEC, 0, 0, 0);
    if (fd < 0)
        return 0;
    long size = patas__syscall(__NR_read, fd, (long)text, sizeof text, 0, 0, 0);
    patas__os_close((int)fd);
    long at = size;
    while (at > 0 && text[at - 1] != ')')
        at--;
    int field = 2;
    for (; at > 0 && at < size && field < PERF_MAP_START; at++)
        field += text[at] == ' ';
    int64_t ticks = 0;
    for (; at > 0 && at < size && text[at] >= '0' && text[at] <= '9'; at++)
        ticks = ticks * 10 + (text[at] - '0');
    return ticks * (PERF_MAP_SECOND / PERF_MAP_TICKS);
}

/* Empties a file that was last written before this process began. */
static int perf_map_renew(int fd, const struct stat *about)
{
    int64_t start = perf_map_start();
    int64_t boot =
        perf_map_clock(CLOCK_REALTIME) - perf_map_clock(CLOCK_BOOTTIME);
    int64_t written = (int64_t)about->st_mtime * PERF_MAP_SECOND +
                      (int64_t)about->st_mtime_nsec;
    if (!start || written >= boot + start)
        return 0;
    return (int)-patas__syscall(__NR_ftruncate, fd, 0, 0, 0, 0, 0);
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
    if ((about.st_mode & PERF_MAP_TYPE) != PERF_MAP_PLAIN ||
        about.st_uid != (unsigned)user || about.st_nlink != 1)
        return PERF_MAP_PERM;
    return perf_map_renew(fd, &about);
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
