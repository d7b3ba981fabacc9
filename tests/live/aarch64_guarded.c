/* SPDX-License-Identifier: MIT */
/* A module whose pages the loader guards: indirect calls land on a pad. */
#include "aarch64_guarded.h"

long guarded_adds_one(long a)
{
    return a + 1;
}

/* Signs its return address, for it calls. */
long guarded_calls(long a, unary *function)
{
    return function(a) + 1;
}

/* The instruction behind a pad: no place for an indirect call. */
unary *guarded_behind(void)
{
    return (unary *)((unsigned long)guarded_adds_one + 4);
}
