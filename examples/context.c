/* SPDX-License-Identifier: MIT */
/*
 * One replacement for several functions: each patch carries a context value,
 * by which the replacement knows in whose place it runs.
 */
#include <ctype.h>
#include <patas.h>
#include <stdio.h>

struct counter {
    const char *name;
    patas_patch *patch;
    unsigned calls;
};

int count(int c);

/* Defines count_entry, which is what a call arrives at: it keeps the context
 * value and goes on to count. */
PATAS_CONTEXT_ENTRY(count_entry, count);

int count(int c)
{
    struct counter *counter = patas_context(); /* first of all */
    int (*original)(int) = (int (*)(int))patas_original(counter->patch);

    counter->calls++;
    return original(c);
}

static int watch(patas_fn function, struct counter *counter)
{
    patas_options options = {.size = sizeof options, .context = counter};
    patas_error error;
    char text[512];

    if (!patas_replace_with(function, count_entry, &options, &counter->patch,
                            &error))
        return 0;
    patas_error_text(&error, text, sizeof text);
    fprintf(stderr, "%s\n", text);
    return 1;
}

int main(void)
{
    /* Through volatile pointers, since compilers know what toupper(3) does. */
    int (*volatile up)(int) = toupper;
    int (*volatile down)(int) = tolower;
    struct counter upper = {.name = "toupper"}, lower = {.name = "tolower"};
    const char *text = "Patas";

    if (watch((patas_fn)up, &upper) || watch((patas_fn)down, &lower))
        return 1;
    for (const char *c = text; *c; c++)
        putchar(up((unsigned char)*c));
    putchar(' ');
    for (const char *c = text; *c != 's'; c++)
        putchar(down((unsigned char)*c));
    putchar('\n');
    patas_restore_all(NULL);

    printf("%s: %u calls\n", upper.name, upper.calls);
    printf("%s: %u calls\n", lower.name, lower.calls);
    return 0;
}
