/* SPDX-License-Identifier: MIT */
/*
 * A workload does a library's real work and emits what came out. The output
 * must be the same at every run: no address, no time, no random number.
 */
#ifndef PATAS_BENCH_WORKLOAD_H
#define PATAS_BENCH_WORKLOAD_H

#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef void (*bench_emit)(const void *bytes, size_t size);

__attribute__((visibility("default"))) void bench_work(bench_emit emit);

/* printf, emitted. */
__attribute__((format(printf, 2, 3))) static inline void
bench_say(bench_emit emit, const char *format, ...)
{
    char text[1024];
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    if (length > 0)
        emit(text,
             (size_t)length < sizeof text ? (size_t)length : sizeof text - 1);
}

#ifdef __cplusplus
}
#endif

#endif
