/* SPDX-License-Identifier: MIT */
/* A second file with a static function of a name that find.c has, too. */
#include "find.h"

static __attribute__((noinline, used)) int same_name(int x)
{
    return x * 17;
}

int (*find_other_same_name(void))(int)
{
    return same_name;
}

static __attribute__((noinline, used)) int only_in_other(int x)
{
    return x * 19;
}

int (*find_only_in_other(void))(int)
{
    return only_in_other;
}

/* An IFUNC of the program's own, whose choice is static. */
static int chosen_one(int x)
{
    return x + 1;
}

static int chosen_two(int x)
{
    return x + 2;
}

#if defined(__aarch64__)
__attribute__((used)) static int (*choose(unsigned long features))(int)
{
    return features & 2 /* HWCAP_ASIMD */ ? chosen_two : chosen_one;
}
#else
__attribute__((used)) static int (*choose(void))(int)
{
    __builtin_cpu_init();
    return __builtin_cpu_supports("sse2") ? chosen_two : chosen_one;
}
#endif

int find_chosen(int x) __attribute__((ifunc("choose")));

int (*find_chosen_two(void))(int)
{
    return chosen_two;
}
