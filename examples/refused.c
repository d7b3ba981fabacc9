/* SPDX-License-Identifier: MIT */
/*
 * What can't be patched is refused in a sentence: what, why, what to do, and
 * that nothing was changed.
 */
#include <patas.h>
#include <stdio.h>

static volatile int one = 1;

__attribute__((noinline)) static int a(void)
{
    return one;
}

static void b(void)
{
}

static void attempt(patas_fn target, patas_fn replacement)
{
    patas_patch *patch;
    patas_error error;
    char text[512];

    if (patas_replace(target, replacement, &patch, &error)) {
        patas_error_text(&error, text, sizeof text);
        puts(text);
    }
}

int main(void)
{
    int local = a();

    attempt((patas_fn)(uintptr_t)&local, b);  /* the stack is no code */
    attempt((patas_fn)((uintptr_t)a + 1), b); /* nor is half a function one */
    attempt((patas_fn)a, (patas_fn)a);
    return 0;
}
