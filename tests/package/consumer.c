/* SPDX-License-Identifier: MIT */
/* A user's program: ends with 0 if an installed patas does its work. */
#include <patas.h>
#include <stdio.h>
#include <string.h>

__attribute__((noipa)) int a(void);
__attribute__((noipa)) int b(void);

int a(void)
{
    return 1;
}

int b(void)
{
    return 2;
}

/* tests/package/run looks for this call of the C library. */
static void *(*volatile copy)(void *, const void *, size_t) = memcpy;

int main(void)
{
    patas_patch *patch;
    patas_error error;
    char text[512];
    unsigned version = PATAS_VERSION_MAJOR << 16 | PATAS_VERSION_MINOR << 8 |
                       PATAS_VERSION_PATCH;
    int before = a(), during, original, after;
    int (*call)(void);
    patas_fn below;

    if (patas_version() != version) {
        fprintf(stderr, "header %x, library %x\n", version, patas_version());
        return 1;
    }
    if (PATAS_REPLACE(a, b, &patch, &error) != PATAS_OK) {
        patas_error_text(&error, text, sizeof text);
        fprintf(stderr, "%s\n", text);
        return 1;
    }
    during = a();
    below = patas_original(patch);
    copy(&call, &below, sizeof call);
    original = call();
    if (patas_restore(patch, &error) != PATAS_OK)
        return 1;
    after = a();
    printf("%d %d %d %d\n", before, during, original, after);
    return !(before == 1 && during == 2 && original == 1 && after == 1);
}
