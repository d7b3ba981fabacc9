/* SPDX-License-Identifier: MIT */
#include "isa.h"

/* The build says which one this is: PATAS_ISA is patas__isa_i386, say. (`i386`
 * by itself is a macro of compilers for it.) */
const struct patas__isa *patas__isa_host(void)
{
    return &PATAS_ISA;
}
