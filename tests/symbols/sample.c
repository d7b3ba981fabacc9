/* SPDX-License-Identifier: MIT */
/*
 * A library of functions that compilers like to do something to. Built by
 * several of them, at several levels; why.c says what must be found in each.
 */
#include <stddef.h>
#include <stdlib.h>

#define NOINLINE __attribute__((noinline))
#define HIDDEN   __attribute__((visibility("hidden")))

volatile int sample_sink;

/* Small and static: gone from -O2 on, into three callers. */
static int small_static(int x)
{
    return x * 3 + sample_sink;
}

int sample_f1(int x)
{
    return small_static(x) + 1;
}

int sample_f2(int x)
{
    sample_sink = x;
    return small_static(x) - 1;
}

int sample_f3(int x)
{
    return small_static(x + 1) * small_static(x + 2);
}

/* Hidden, small, and its address is taken: inlined and kept. */
HIDDEN int small_kept(int x)
{
    sample_sink = x;
    return x ^ 0x55;
}

int (*const sample_table[])(int) = {small_kept};

int sample_g(int x)
{
    return small_kept(x) + small_kept(x + 1);
}

/* Never inlined: three calls, and one that may be a jump. */
static NOINLINE int called(int x)
{
    sample_sink = x;
    return sample_sink * 5;
}

int sample_calls(int x)
{
    return called(x) + called(x + 1) + called(x + 2);
}

int sample_tail(int x)
{
    return called(x + 7);
}

/* Only a field of what is passed is used: taken apart. */
struct pair {
    int a, b;
};

static NOINLINE int takes_pair(const struct pair *pair, int unused)
{
    (void)unused;
    sample_sink = pair->a;
    return pair->a * sample_sink;
}

int sample_pair(int x)
{
    struct pair pair = {x, 2};
    return takes_pair(&pair, 1) + takes_pair(&pair, x);
}

/* Always the same constant: a copy for it. */
static NOINLINE int constant_second(int x, int second)
{
    sample_sink = second;
    for (int i = 0; i < second; i++)
        sample_sink += x;
    return sample_sink;
}

int sample_constant(int x)
{
    return constant_second(x, 5) + constant_second(x + 1, 5);
}

/* Two functions, one code. */
static NOINLINE int twin_one(int x)
{
    sample_sink += x;
    return sample_sink * 11 + x;
}

static NOINLINE int twin_two(int x)
{
    sample_sink += x;
    return sample_sink * 11 + x;
}

int sample_twins(int x)
{
    return twin_one(x) - twin_two(x + 1);
}

/* Two names, one function. */
NOINLINE int sample_named(int x)
{
    sample_sink = x;
    return x + 4;
}

int sample_renamed(int x) __attribute__((alias("sample_named")));

/* Has a part that is never expected to run. */
NOINLINE int sample_cold(int x)
{
    if (__builtin_expect(x == 12345, 0)) {
        sample_sink = x;
        for (int i = 0; i < 3; i++)
            sample_sink *= i;
        abort();
    }
    sample_sink = x;
    return x * 2;
}

/* Returns early in most cases: callers take that part. */
static int early(int *values, size_t count)
{
    if (__builtin_expect(!values, 1))
        return 0;
    int sum = sample_sink;
    for (size_t i = 0; i < count; i++) {
        sum += values[i];
        if (sum > 1000)
            sum -= sample_sink;
        if (sum < -1000)
            sample_sink = sum;
        sum ^= values[i] << 3;
        sample_sink += sum;
    }
    return sum;
}

int sample_early1(int *values, size_t count)
{
    return early(values, count) + 1;
}

int sample_early2(int *values, size_t count)
{
    return early(values, count + 1) - 1;
}

int sample_early3(int *values, size_t count)
{
    return early(values, count + 2) * 3;
}

NOINLINE int sample_types(char *text, size_t size, const struct pair *pair)
{
    sample_sink = (int)size + pair->b;
    return text[0];
}
