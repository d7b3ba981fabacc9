/* SPDX-License-Identifier: MIT */
#include "isa.h"

/* The build says which one this is: PATAS_CPU is its name behind patas__isa_.
 */
#define ISA_TABLE(cpu)  ISA_TABLE_(cpu)
#define ISA_TABLE_(cpu) patas__isa_##cpu

const struct patas__isa *patas__isa_host(void)
{
    return &ISA_TABLE(PATAS_CPU);
}
