/* SPDX-License-Identifier: MIT */
/* zlib: 5 MB through every level and strategy, gzip files, checksums. */
#include "workload.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

enum {
    SIZE = 512 * 1024
};

static void fill(uint8_t *bytes, size_t size)
{
    uint32_t x = 1;
    for (size_t i = 0; i < size; i++) {
        x = x * 1664525u + 1013904223u;
        bytes[i] = i % 97 < 60 ? (uint8_t)("patas"[i % 5]) : (uint8_t)(x >> 27);
    }
}

static void round_trip(bench_emit emit, const uint8_t *in, int level,
                       int strategy)
{
    uLong room = compressBound(SIZE) + 64;
    uint8_t *out = malloc(room), *back = malloc(SIZE);
    z_stream s = {0};
    deflateInit2(&s, level, Z_DEFLATED, 15 + 16, 8, strategy);
    s.next_in = (Bytef *)(uintptr_t)in;
    s.avail_in = SIZE;
    s.next_out = out;
    s.avail_out = (uInt)room;
    int ended = deflate(&s, Z_FINISH);
    uLong used = s.total_out;
    deflateEnd(&s);
    memset(&s, 0, sizeof s);
    inflateInit2(&s, 15 + 32);
    s.next_in = out;
    s.avail_in = (uInt)used;
    s.next_out = back;
    s.avail_out = SIZE;
    int again = inflate(&s, Z_FINISH);
    bench_say(emit, "%d %d: %d %d %lu %d %lx\n", level, strategy, ended, again,
              used, memcmp(in, back, SIZE), crc32(0, out, (uInt)used));
    inflateEnd(&s);
    free(out);
    free(back);
}

static void files(bench_emit emit, const uint8_t *in)
{
    char name[] = "/tmp/patas-work-XXXXXX", line[64];
    int fd = mkstemp(name);
    gzFile file = gzdopen(dup(fd), "wb9");
    gzwrite(file, in, 100000);
    gzprintf(file, "%s %d\n", "text", 42);
    gzputs(file, "a line\nanother\n");
    gzclose(file);
    file = gzopen(name, "rb");
    gzseek(file, 100000, SEEK_SET);
    while (gzgets(file, line, sizeof line))
        bench_say(emit, "line: %s", line);
    bench_say(emit, "eof %d at %ld\n", gzeof(file), (long)gztell(file));
    gzclose(file);
    close(fd);
    unlink(name);
}

void bench_work(bench_emit emit)
{
    uint8_t *in = malloc(SIZE), *out = malloc(2 * SIZE);
    uLongf size = 2 * SIZE;
    fill(in, SIZE);
    for (int level = 0; level <= 9; level++)
        round_trip(emit, in, level, level % 5);
    compress2(out, &size, in, SIZE, 6);
    emit(out, size);
    bench_say(emit, "%s %lx %lx %lx %s\n", zlibVersion(), adler32(1, in, SIZE),
              crc32_combine(crc32(0, in, 100), crc32(0, in + 100, 900), 900),
              adler32_combine(adler32(1, in, 7), adler32(1, in + 7, 9), 9),
              zError(Z_DATA_ERROR));
    files(emit, in);
    free(in);
    free(out);
}
