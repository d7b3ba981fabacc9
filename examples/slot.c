/* SPDX-License-Identifier: MIT */
/*
 * One function pointer in data, such as an entry of an ops struct or a vtable:
 * only those who call by way of this pointer see the replacement. The struct
 * is const, in memory that can't be written; patas puts its protection back.
 */
#include <patas.h>
#include <stdio.h>

struct ops {
    int (*area)(int width, int height);
};

static int rectangle(int width, int height)
{
    return width * height;
}

static const struct ops shape = {.area = rectangle};

static patas_patch *patch;

static int twice(int width, int height)
{
    int (*before)(int, int) = (int (*)(int, int))patas_original(patch);

    return 2 * before(width, height);
}

int main(void)
{
    /* Compilers know what a const struct holds; not what this points to. */
    const struct ops *volatile ops = &shape;
    patas_error error;
    char text[512];

    printf("%d\n", ops->area(3, 4));
    if (patas_replace_slot((patas_fn *)(uintptr_t)&ops->area, (patas_fn)twice,
                           &patch, &error)) {
        patas_error_text(&error, text, sizeof text);
        fprintf(stderr, "%s\n", text);
        return 1;
    }
    printf("%d by the pointer, %d by the name\n", ops->area(3, 4),
           rectangle(3, 4));
    patas_restore(patch, NULL);
    printf("%d\n", ops->area(3, 4));
    return 0;
}
