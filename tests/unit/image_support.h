/* SPDX-License-Identifier: MIT */
/* Images to test with: the modules of this process, and files. */
#ifndef IMAGE_SUPPORT_H
#define IMAGE_SUPPORT_H

#include "image.h"

#define LENGTH(array) (sizeof(array) / sizeof *(array))

/* Libraries that nobody wrote for this test; those that are not on a machine
 * are passed by, but libc never is. */
extern const char *const image_libraries[8];

/* The loaded module whose file name contains `part`, opened if need be. `path`
 * (PATH_MAX bytes) receives its file name, unless NULL. */
bool image_of_process(const char *part, struct patas__image *image, char *path);

/* A file, laid out as a loader would, but not relocated. Its segments are
 * separate allocations of exactly their sizes, so that a sanitizer sees any
 * byte that is read beside them. */
bool image_of_file(const char *path, const struct patas__isa *isa,
                   struct patas__image *image);
void image_free(struct patas__image *image);

/* Who leads into the window; a map's bits and what is left out of it. */
static inline uint32_t image_search(const struct patas__image *image,
                                    uint64_t address, unsigned size,
                                    uint64_t skip_from, uint64_t skip_to)
{
    struct patas__search search = {.image = image,
                                   .address = address,
                                   .size = size,
                                   .skip_from = skip_from,
                                   .skip_to = skip_to};
    return patas__branches_search(&search);
}
static inline uint32_t image_mapped(const struct patas__image *image,
                                    const uint8_t *map, uint64_t address,
                                    unsigned size, uint64_t skip_to)
{
    struct patas__search search = {.image = image,
                                   .address = address,
                                   .size = size,
                                   .skip_from = skip_to ? address : 0,
                                   .skip_to = skip_to};
    for (unsigned k = 0; k < size; k++) {
        uint64_t at = address + k - image->start;
        search.found |= (uint32_t)(map[at / 8] >> at % 8 & 1) << k;
    }
    return patas__branches_near(&search);
}

/* The raw bytes of a section of a 64-bit file, or NULL; to be freed. */
unsigned char *image_section(const char *path, const char *name, size_t *size);

/* A function as a file's symbol table tells it. */
struct image_function {
    uint64_t address; /* in the image */
    uint64_t size;
    const char *name;
};

/* The functions with a size that .dynsym defines (`count` of them; to be
 * freed), sorted, each address once. */
struct image_function *image_functions(const struct patas__image *image,
                                       size_t *count);

#endif
