/* SPDX-License-Identifier: MIT */
/*
 * PATAS_REPLACE takes a replacement of the same type, and no other. Compiled
 * as C and as C++, once without CASE, which must succeed, and once with each
 * CASE, which must not.
 */
#include <patas.h>

#ifndef CASE
#define CASE 0
#endif

static int target(int x, const char *s)
{
    return x + s[0];
}

#if CASE == 0
static int fake(int x, const char *s)
#elif CASE == 1 /* another result */
static long fake(int x, const char *s)
#elif CASE == 2 /* another argument */
static int fake(long x, const char *s)
#elif CASE == 3 /* a qualifier less */
static int fake(int x, char *s)
#elif CASE == 4 /* an argument more */
static int fake(int x, const char *s, ...)
#endif
{
    return (int)x - s[0];
}

int main(void)
{
    patas_patch *patch;
    patas_error error;

    if (PATAS_REPLACE(target, fake, &patch, &error) != PATAS_OK)
        return 1;
    if (PATAS_REPLACE(&target, &fake, &patch, &error) != PATAS_OK)
        return 1;
#ifdef PATAS_SCOPED
    {
        PATAS_SCOPED(target, fake);
    }
#endif
    return target(1, "") != fake(1, "");
}
