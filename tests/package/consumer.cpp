/* SPDX-License-Identifier: MIT */
/* The same in C++, where PATAS_REPLACE is a template. */
#include <cstdio>
#include <patas.h>

static __attribute__((noinline)) int a(int x)
{
    asm volatile("" : "+r"(x));
    return x + 1;
}

static __attribute__((noinline)) int b(int x)
{
    asm volatile("" : "+r"(x));
    return x + 2;
}

int main()
{
    int (*volatile call)(int) = a;
    patas_patch *patch;
    patas_error error;
    int before = call(0), during, after;

    if (PATAS_REPLACE(a, b, &patch, &error) != PATAS_OK) {
        char text[512];
        patas_error_text(&error, text, sizeof text);
        std::fprintf(stderr, "%s\n", text);
        return 1;
    }
    during = call(0);
    if (patas_restore(patch, nullptr) != PATAS_OK)
        return 1;
    after = call(0);
    std::printf("%d %d %d\n", before, during, after);
    return !(before == 1 && during == 2 && after == 1);
}
