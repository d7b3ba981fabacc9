/* SPDX-License-Identifier: MIT */
#include "isa.h"

const struct patas__isa *patas__isa_host(void)
{
#if defined(__x86_64__)
    return &patas__isa_x86_64;
#elif defined(__i386__)
    return &patas__isa_i386;
#else
    return NULL;
#endif
}
