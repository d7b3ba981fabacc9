/* SPDX-License-Identifier: MIT */
/*
 * Another time of day for a program that nobody here wrote:
 *
 *     FAKE_TIME=1234567890 LD_PRELOAD=libfake_clock.so date
 *
 * An ordinary preloaded library replaces what the program finds by name. This
 * one replaces the function itself, so that callers inside the C library, and
 * those that were bound before, see it as well.
 */
#include <patas.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static patas_patch *patch;
static long long seconds;

static int clock_gettime_fake(clockid_t clock, struct timespec *now)
{
    int (*original)(clockid_t, struct timespec *) =
        (int (*)(clockid_t, struct timespec *))patas_original(patch);
    int result = original(clock, now);

    if (clock == CLOCK_REALTIME && !result) {
        now->tv_sec = (time_t)seconds;
        now->tv_nsec = 0;
    }
    return result;
}

__attribute__((constructor)) static void replace(void)
{
    const char *fake = getenv("FAKE_TIME");
    patas_error error;
    char text[512];

    if (!fake)
        return;
    seconds = strtoll(fake, NULL, 10);
    if (PATAS_REPLACE(clock_gettime, clock_gettime_fake, &patch, &error)) {
        patas_error_text(&error, text, sizeof text);
        fprintf(stderr, "clock_gettime: %s\n", text);
        exit(1);
    }
}
