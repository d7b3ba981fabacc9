/* SPDX-License-Identifier: MIT */
/*
 * What can't be patched is refused in a sentence: what, why, what to do, and
 * that nothing was changed.
 */
#include <patas.h>
#include <stdio.h>

static volatile int one = 1, two = 2;

__attribute__((noinline)) static int a(void)
{
    return one;
}

static int b(void)
{
    return two;
}

static void tell(patas_status status, const patas_error *error)
{
    char text[512];

    if (!status)
        return;
    patas_error_text(error, text, sizeof text);
    puts(text);
}

int main(void)
{
    patas_patch *patch;
    patas_error error;
    int local = a();

    /* The stack is no code. */
    tell(
        patas_replace((patas_fn)(uintptr_t)&local, (patas_fn)b, &patch, &error),
        &error);
    /* A function that replaced itself would never return. */
    tell(PATAS_REPLACE(a, a, &patch, &error), &error);
    /* A handle is good for one restore; a later one does no harm. */
    tell(PATAS_REPLACE(a, b, &patch, &error), &error);
    tell(patas_restore(patch, &error), &error);
    tell(patas_restore(patch, &error), &error);
    return 0;
}
