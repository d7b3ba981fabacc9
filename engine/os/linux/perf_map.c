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

#include <asm/unistd.h>
#include <linux/fcntl.h>
#include <linux/stat.h>
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

/* Where there are two, the older one counts in 32 bits. */
#ifdef __NR_clock_gettime64
#define PERF_MAP_NR_CLOCK __NR_clock_gettime64
#else
#define PERF_MAP_NR_CLOCK __NR_clock_gettime
#endif

static int64_t perf_map_clock(int clock)
{
    int64_t now[2] = {0}; /* seconds, ns */
    patas__syscall(PERF_MAP_NR_CLOCK, clock, (long)now, 0, 0, 0, 0);
    return now[0] * PERF_MAP_SECOND + now[1];
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
static int perf_map_renew(int fd, const struct statx *about)
{
    int64_t start = perf_map_start();
    int64_t boot =
        perf_map_clock(CLOCK_REALTIME) - perf_map_clock(CLOCK_BOOTTIME);
    int64_t written = about->stx_mtime.tv_sec * PERF_MAP_SECOND +
                      (int64_t)about->stx_mtime.tv_nsec;
    if (!start || written >= boot + start)
        return 0;
    return (int)-patas__syscall(__NR_ftruncate, fd, 0, 0, 0, 0, 0);
}

/* Whoever may write to it could send perf astray, and we could be made to
 * write to another's file. */
static int perf_map_check(int fd)
{
    struct statx about;
    long err = patas__syscall(__NR_statx, fd, (long)"", AT_EMPTY_PATH,
                              STATX_BASIC_STATS, (long)&about, 0);
    long user = patas__syscall(__NR_geteuid, 0, 0, 0, 0, 0, 0);
    if (err < 0)
        return (int)-err;
    if ((about.stx_mode & PERF_MAP_TYPE) != PERF_MAP_PLAIN ||
        about.stx_uid != (unsigned)user || about.stx_nlink != 1)
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
