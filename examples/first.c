/* SPDX-License-Identifier: MIT */
#include <patas.h>
#include <stdio.h>
#include <stdlib.h>

static int seven(void)
{
    return 7;
}

int main(void)
{
    patas_patch *patch;

    printf("%d\n", rand());
    if (PATAS_REPLACE(rand, seven, &patch, NULL) == PATAS_OK) {
        printf("%d\n", rand());
        patas_restore(patch, NULL);
    }
    printf("%d\n", rand());
}
