/* SPDX-License-Identifier: MIT */
/* Loaded late: its constructor calls its functions at once. */
int late_seen, late_seen_static;

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

__attribute__((constructor)) static void begin(void)
{
    late_seen = late_function(10);
    late_seen_static = late_static(10);
}

int late_again(int x);
int late_again(int x)
{
    return late_static(x);
}
