/* SPDX-License-Identifier: MIT */
/*
 * Landings: jumps at addresses of which some bytes are given.
 *
 * A jump whose displacement crosses a unit that can't be written at once keeps
 * the displacement's low bytes, and leads to a place whose address fits them:
 *
 *     e9 k0 | d1 d2 d3       written: d1 d2 d3, by one store
 *
 *     landing: jmp *0(%rip); the address
 */
#ifndef PATAS_GOLANG_LAND_H
#define PATAS_GOLANG_LAND_H

#include "bytes.h"

/* A jump to `to`, at an address whose distance from `origin` fits 32 bits and
 * has the low `count` bytes of `kept` (0 to 3). 0 or an errno value. */
PATAS__HIDDEN int patas__go_land(uintptr_t origin, uint32_t kept,
                                 unsigned count, uintptr_t to,
                                 uintptr_t *landing);

#endif
