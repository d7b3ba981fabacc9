/* SPDX-License-Identifier: MIT */
/* Loaded late: its constructor calls its functions at once. */
int late_seen, late_seen_static, late_seen_chosen;

__attribute__((noinline)) int late_function(int x);
int late_function(int x)
{
    __asm__ volatile("");
    return x + 1;
}

static __attribute__((noinline)) int late_static(int x)
{
    __asm__ volatile("");
    return x + 2;
}

static int chosen(int x)
{
    __asm__ volatile("");
    return x + 3;
}

__attribute__((used)) static int (*choose(void))(int)
{
    return chosen;
}

int late_chosen(int x) __attribute__((ifunc("choose")));

__attribute__((constructor)) static void begin(void)
{
    late_seen_chosen = late_chosen(10);
    late_seen = late_function(10);
    late_seen_static = late_static(10);
}

int late_again(int x);
int late_again(int x)
{
    return late_static(x);
}
