/* SPDX-License-Identifier: MIT */
/*
 * Where landings are put: units of 64 KiB, in which every value of the two low
 * bytes occurs once. A third byte that is given leaves 256 places for a unit.
 * Units are never writable: /proc/self/mem fills them.
 */
#include "land.h"

#include "isa.h"
#include "os.h"

enum {
    UNIT = 65536,
    UNITS = 512,
    CODE = 14, /* ff 25 0, 8 bytes of address; 386: less */
    NO_MEMORY = 12
};

static struct {
    struct {
        uintptr_t base;
        uint8_t *used; /* a bit a byte */
    } units[UNITS];
    unsigned count;
} lands;

static bool taken(unsigned unit, uintptr_t at)
{
    for (uintptr_t i = at; i < at + CODE; i++)
        if (lands.units[unit].used[i / 8] >> i % 8 & 1)
            return true;
    return false;
}

static bool reaches(uintptr_t origin, uintptr_t to)
{
    intptr_t away = (intptr_t)(to - origin);
    return away == (int32_t)away;
}

/* A free place in a unit that fits the constraint; 0 if there is none. */
static uintptr_t place_in(unsigned unit, uintptr_t origin, uint32_t kept,
                          unsigned count)
{
    uint32_t mask = (UINT32_C(1) << 8 * count) - 1;
    uintptr_t base = lands.units[unit].base;
    uintptr_t at = (origin + kept - base) & mask;
    for (; at + CODE <= UNIT; at += (uintptr_t)mask + 1)
        if (!taken(unit, at) && reaches(origin, base + at))
            return base + at;
    return 0;
}

static bool unit_map(uintptr_t base)
{
    void *used;
    if (lands.count == UNITS ||
        patas__os_map(UNIT / 8, PATAS__READ | PATAS__WRITE, &used))
        return false;
    if (patas__os_map_at(base, UNIT, PATAS__READ | PATAS__EXEC)) {
        patas__os_unmap(used, UNIT / 8);
        return false;
    }
    lands.units[lands.count].base = base;
    lands.units[lands.count].used = used;
    lands.count++;
    return true;
}

/* A new unit in which the constraint can be met. Distances grow by 16 MB, on
 * both sides in turn; what they lead to has the third byte as given. */
static uintptr_t place_new(uintptr_t origin, uint32_t kept, unsigned count)
{
    enum {
        STEP = 1 << 24,
        STEPS = 250,
        LOWEST = 1 << 20
    };
    for (unsigned i = 2; i < STEPS; i++) {
        int64_t step = (int64_t)(i / 2) * STEP;
        uintptr_t at = origin + (uintptr_t)(i % 2 ? -step : step) + kept;
        uintptr_t base = at & ~(uintptr_t)(UNIT - 1);
        if ((i % 2 && at >= origin) || base < LOWEST || !reaches(origin, at) ||
            at - base > UNIT - CODE || !unit_map(base))
            continue;
        uintptr_t found = place_in(lands.count - 1, origin, kept, count);
        if (found)
            return found;
    }
    return 0;
}

static int fill(uintptr_t at, uintptr_t to)
{
    uint8_t code[CODE] = {0xff, 0x25}; /* jmp *0(%rip) */
    const struct patas__isa *isa = patas__isa_host();
    int fd, err = patas__os_mem_open(&fd);
    if (err)
        return err;
    if (isa->pointer_size == 4) /* reaches everything by itself */
        isa->put_jump(code, at, to);
    else
        patas__store64(code + 6, to);
    err = patas__os_mem_write(fd, at, code, sizeof code);
    patas__os_close(fd);
    return err;
}

int patas__go_land(uintptr_t origin, uint32_t kept, unsigned count,
                   uintptr_t to, uintptr_t *landing)
{
    uintptr_t at = 0;
    kept &= (UINT32_C(1) << 8 * count) - 1;
    for (unsigned i = 0; i < lands.count && !at; i++)
        at = place_in(i, origin, kept, count);
    if (!at)
        at = place_new(origin, kept, count);
    if (!at)
        return NO_MEMORY;
    int err = fill(at, to);
    if (err)
        return err;
    for (unsigned i = 0; i < lands.count; i++) {
        uintptr_t from = at - lands.units[i].base;
        for (uintptr_t k = 0; from < UNIT && k < CODE; k++)
            lands.units[i].used[(from + k) / 8] |=
                (uint8_t)(1u << (from + k) % 8);
    }
    *landing = at;
    return 0;
}
