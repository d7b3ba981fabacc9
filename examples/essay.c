/* SPDX-License-Identifier: MIT */
/*
 * The program of the essay "Monkey Patching in Go", in C: a returns 1, b
 * returns 2, and then a is replaced by b while the program runs.
 */
#include <patas.h>
#include <stdio.h>

/*
 * A compiler that sees that a() is always 1 prints 1 and calls nobody, and a
 * patch reaches only what is called. A volatile number can't be foreseen, and
 * noinline keeps a() a function of its own. Functions of other files and of
 * libraries need neither.
 */
static volatile int one = 1, two = 2;

__attribute__((noinline)) static int a(void)
{
    return one;
}

__attribute__((noinline)) static int b(void)
{
    return two;
}

/* Says in one sentence what went wrong, why, and what to do about it. */
static int failed(const patas_error *error)
{
    char text[512];

    patas_error_text(error, text, sizeof text); /* as snprintf() */
    fprintf(stderr, "%s\n", text);
    return 1;
}

int main(void)
{
    patas_patch *patch; /* the handle by which the patch is undone */
    patas_error error;  /* filled by a call that fails */
    int (*original)(void);

    printf("a() is %d\n", a()); /* 1 */

    /* From here on every call of a, in every thread, runs b. The compiler
     * checks that both are functions of one type. */
    if (PATAS_REPLACE(a, b, &patch, &error) != PATAS_OK)
        return failed(&error);
    printf("a() is %d, since b runs instead\n", a()); /* 2 */

    /* What a did before is not gone: it can be called all the time. */
    original = (int (*)(void))patas_original(patch);
    printf("the original is still %d\n", original()); /* 1 */

    /* The old bytes are put back. The handle is dead after that. */
    if (patas_restore(patch, &error) != PATAS_OK)
        return failed(&error);
    printf("a() is %d again\n", a()); /* 1 */

    return 0;
}
