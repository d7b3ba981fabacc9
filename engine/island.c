/* SPDX-License-Identifier: MIT */
/*
 * Units of executable memory, and the search for a place inside them.
 *
 *     unit   64 KiB (a page or two where an address is tight), mapped when
 *            first needed, with a bit map that has a bit a byte
 *
 * New units go to where the displacement's top byte is a trap byte, seen from
 * the target, whether or not this target needs that: then all targets of a
 * module share them. Adjacent units with the same protection are one mapping
 * to the kernel.
 */
#include "island.h"

#include "host.h"
#include "isa.h"
#include "os.h"
#include "patas.h"
#include "trap.h"

enum {
    UNIT = 64 * 1024, /* bytes of an ordinary unit */
    PAGE = 4096,      /* what memory is counted by */
    SIZES = 3,        /* of what is looked for: stubs, heads, and more */
    UNSEEK = 32,      /* bytes that a search goes back for what was freed */
    WINDOW = 256,     /* what the lowest displacement byte spans */
    SEEK_LIMIT = 24,  /* addresses tried for a new unit */
    CROWDED = 64,     /* places without one: no more are looked for then */
    BESIDES = 64      /* units beside, and one more for each half of one that
                         is in use */
};

#define GIB  ((uintptr_t)1 << 30)
#define MIB  ((uintptr_t)1 << 20)
#define STUB (patas__isa_host()->stub)
/* Processors predict a jump that stays within 16 MB by less than one that
 * doesn't: a fifth of a nanosecond on AMD's Zen 5, less on Intel's. */
#define BESIDE (16 * MIB)
/* A displacement has 32 bits: it goes around where an address has no more. */
#define AROUND (UINTPTR_MAX == UINT32_MAX)
#define LOW    ((uintptr_t)0x10000) /* vm.mmap_min_addr */
#define HIGH   (patas__user_top - UNIT)

struct unit {
    uintptr_t base;
    uint32_t size;      /* bytes */
    uint32_t touched;   /* bit k: something is in its page number k */
    uint32_t full;      /* no room for a stub below */
    uint32_t stub_seek; /* and for stubs whose lowest byte alone must trap */
    uint32_t taken;     /* bytes in use */
    bool open;          /* writable, not yet executable */
    bool tight;         /* made for one address; counts against the budget */
    bool beside;        /* made to be near one function */
    bool written;       /* something in it may have run */
    uint64_t *used;     /* a bit a byte; behind them is its room */
};

/* What is known of room in a unit, by the size of what is looked for. */
struct room {
    uint32_t spent[SIZES]; /* bit k: page number k has none */
    uint16_t seek[];       /* a page: where in it the search goes on */
};

/* A pool of slots; the free ones are a list through their own bytes. */
struct pool {
    uintptr_t base;
    uint32_t slots;
    uint32_t fresh; /* slots never taken start here */
    uintptr_t freed;
};

static struct {
    struct unit *units; /* sorted by base */
    uint32_t count, capacity;
    struct pool *pools;
    uint32_t pool_count, pool_capacity;
    uint32_t pool_last;
    uint32_t code_last;  /* unit that code came from last */
    uint32_t spare_last; /* the same for what may be anywhere */
    bool spare_none;     /* no unit has room for such, as far as we know */
    uintptr_t crowded[CROWDED]; /* where no unit can be beside */
    uint32_t crowded_count;
    uint32_t besides;       /* units made to be beside */
    size_t taken;           /* bytes in use, of all units */
    uint32_t stub_last[16]; /* the same for stubs, by trap mask */
    uint8_t windows[16];    /* trap bytes, the best for a fresh page first */
    uint32_t found[2];      /* units looked up last */
    size_t tight;
    size_t code_bytes, data_bytes;
    uint8_t *book_at, *book_before_at; /* in the newest chunk, and in the one
                                          before */
    size_t book_left, book_before_left;
    size_t book_size; /* of the newest chunk */
    uint32_t open;    /* units that are still writable */
    bool batch;       /* see patas__island_mode() */
    int mem_fd;       /* /proc/self/mem for the length of one commit */
    bool mem_is_open; /* mem_fd is valid */
    bool mem_denied;  /* it can't be opened or written */
    bool probed;      /* the next two are known */
    bool born_sealed; /* fresh pages can't become executable (MDWE) */
    bool growth_known;
    uintptr_t heap[2], stack[2];
} land;

/* ---- bytes for our own books ------------------------------------------ */

/* Bit maps and arrays; only the one taken last can be given back. */
static void *book_take(size_t size)
{
    size = (size + 15) & ~(size_t)15;
    if (size > land.book_left) {
        size_t chunk = size > UNIT ? (size + 4095) & ~(size_t)4095 : UNIT;
        void *memory;
        if (patas__os_map(chunk, PATAS__READ | PATAS__WRITE, &memory))
            return NULL;
        land.data_bytes += chunk;
        land.book_before_at = land.book_at;
        land.book_before_left = land.book_left;
        land.book_at = memory;
        land.book_left = land.book_size = chunk;
    }
    void *taken = land.book_at;
    land.book_at += size;
    land.book_left -= size;
    return taken;
}

static void book_untake(void *taken, size_t size)
{
    size = (size + 15) & ~(size_t)15;
    memset(taken, 0, size);
    if ((uint8_t *)taken + size != land.book_at)
        return;
    land.book_at -= size;
    land.book_left += size;
    if (land.book_left < land.book_size || !land.book_before_at)
        return;
    /* It was mapped for this, and for nothing else so far. */
    patas__os_unmap(land.book_at, land.book_size);
    land.data_bytes -= land.book_size;
    land.book_at = land.book_before_at;
    land.book_left = land.book_before_left;
    land.book_size = SIZE_MAX; /* not known any more */
    land.book_before_at = NULL;
}

static bool book_grow(void **array, uint32_t *capacity, size_t record)
{
    uint32_t more = *capacity ? *capacity * 2 : 32;
    void *grown = book_take(more * record);
    if (!grown)
        return false;
    if (*capacity)
        memcpy(grown, *array, *capacity * record);
    *array = grown;
    *capacity = more;
    return true;
}

/* ---- units ------------------------------------------------------------- */

/* Index of the first unit whose end lies above `address`. */
static uint32_t unit_above(uintptr_t address)
{
    uint32_t low = 0, high = land.count;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (land.units[middle].base + land.units[middle].size > address)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

static bool unit_covers(uint32_t index, uintptr_t address)
{
    return index < land.count &&
           address - land.units[index].base < land.units[index].size;
}

static struct unit *unit_at(uintptr_t address)
{
    /* Stubs and heads take turns: two found last are kept. */
    for (unsigned i = 0; i < 2; i++)
        if (unit_covers(land.found[i], address))
            return &land.units[land.found[i]];
    uint32_t index = unit_above(address);
    if (!unit_covers(index, address))
        return NULL;
    land.found[1] = land.found[0];
    land.found[0] = index;
    return &land.units[index];
}

bool patas__island_holds(uintptr_t address)
{
    return unit_at(address) != NULL;
}

static bool grows_there(uintptr_t base, size_t size)
{
    if (!land.growth_known) {
        patas__os_growth(land.heap, land.stack);
        land.growth_known = true;
    }
    return (base < land.heap[1] && base + size > land.heap[0]) ||
           (base < land.stack[1] && base + size > land.stack[0]);
}

/* Where the kept bytes leave no choice, the heap has to make do with what it
 * is sure to take soon: malloc takes other memory where it can't grow. */
static bool grows_soon(uintptr_t base, size_t size)
{
    if (!grows_there(base, size)) /* which also finds out where they are */
        return false;
    return base < land.heap[0] + 128 * MIB || base >= land.heap[1];
}

/* Once: may a page that was written become executable? */
static int probe(uintptr_t base, uint32_t size)
{
    const int rw = PATAS__READ | PATAS__WRITE;
    const int rx = PATAS__READ | PATAS__EXEC;
    land.probed = true;
    if (!patas__os_protect((void *)base, size, rx))
        return patas__os_protect((void *)base, size, rw);
    land.born_sealed = true;
    patas__os_unmap((void *)base, size);
    return patas__os_map_at(base, size, rx);
}

static struct unit *unit_insert(struct unit unit)
{
    uint32_t at = unit_above(unit.base);
    memmove(&land.units[at + 1], &land.units[at],
            (land.count - at) * sizeof unit);
    land.units[at] = unit;
    land.count++;
    /* Cursors are indices; the ones behind the new unit move with it. */
    if (land.code_last >= at && land.count > 1)
        land.code_last++;
    if (land.spare_last >= at && land.count > 1)
        land.spare_last++;
    land.spare_none = false;
    for (unsigned i = 0; i < 16; i++)
        if (land.stub_last[i] >= at && land.count > 1)
            land.stub_last[i]++;
    return &land.units[at];
}

static size_t unit_books(uint32_t size)
{
    return size / 8 + sizeof(struct room) +
           SIZES * (size / PAGE) * sizeof(uint16_t);
}

/* Maps a unit at exactly `base`. NULL if something is there already. */
static struct unit *unit_new(uintptr_t base, uint32_t size, bool tight)
{
    if (base < LOW || base > HIGH)
        return NULL;
    if (land.count == land.capacity &&
        !book_grow((void **)&land.units, &land.capacity, sizeof *land.units))
        return NULL;
    int prot = land.born_sealed ? PATAS__READ | PATAS__EXEC
                                : PATAS__READ | PATAS__WRITE;
    if (patas__os_map_at(base, size, prot))
        return NULL;
    uint64_t *used = book_take(unit_books(size));
    if (!used || (!land.probed && probe(base, size))) {
        patas__os_unmap((void *)base, size);
        return NULL;
    }
    land.code_bytes += size;
    land.tight += tight;
    land.open += !land.born_sealed;
    return unit_insert((struct unit){.base = base,
                                     .size = size,
                                     .open = !land.born_sealed,
                                     .tight = tight,
                                     .used = used});
}

/* Undoes unit_new(), for a dry run. */
static void unit_drop(struct unit *unit)
{
    uint32_t at = (uint32_t)(unit - land.units);
    patas__os_unmap((void *)unit->base, unit->size);
    land.code_bytes -= unit->size;
    land.tight -= unit->tight;
    land.besides -= unit->beside;
    land.open -= unit->open;
    book_untake(unit->used, unit_books(unit->size));
    land.count--;
    memmove(unit, unit + 1, (land.count - at) * sizeof *unit);
    land.code_last = land.spare_last = 0;
    memset(land.stub_last, 0, sizeof land.stub_last);
}

/* May bytes of this unit still be filled? */
static bool unit_writable(const struct unit *unit)
{
    return unit->open || (!land.mem_denied && !(land.batch && !unit->tight));
}

/* The `count` <= 57 bits from byte `at` on, as the low bits. */
static uint64_t bits_at(const struct unit *unit, uint32_t at, unsigned count)
{
    uint64_t bits = unit->used[at / 64] >> at % 64;
    if (at % 64 + count > 64 && at / 64 + 1 < unit->size / 64)
        bits |= unit->used[at / 64 + 1] << (64 - at % 64);
    return bits & (((uint64_t)1 << count) - 1);
}

static bool fits_at(const struct unit *unit, uint32_t at, uint32_t size)
{
    if (at > unit->size || size > unit->size - at)
        return false;
    for (; size > 32; at += 32, size -= 32)
        if (bits_at(unit, at, 32))
            return false;
    return !bits_at(unit, at, size);
}

/* Bit k: some of the bytes are in the unit's page number k. */
static uint32_t pages_of(uint32_t at, size_t size)
{
    if (!size)
        return 0;
    return (2u << (at + size - 1) / PAGE) - (1u << at / PAGE);
}

static void mark(struct unit *unit, uint32_t at, size_t size, bool used)
{
    unit->taken += used ? (uint32_t)size : 0 - (uint32_t)size;
    land.taken += used ? size : 0 - size;
    unit->touched |= pages_of(at, size);
    for (size_t left = size, now; left; left -= now, at += (uint32_t)now) {
        now = left < 64 - at % 64 ? left : 64 - at % 64;
        uint64_t bits = ~(uint64_t)0 >> (64 - now) << at % 64;
        if (used)
            unit->used[at / 64] |= bits;
        else
            unit->used[at / 64] &= ~bits;
    }
}

/* The 64 bits from byte `at` on; what is behind the unit reads as free. */
static uint64_t bits_from(const struct unit *unit, uint32_t at)
{
    uint64_t bits = unit->used[at / 64] >> at % 64;
    if (at % 64 && at / 64 + 1 < unit->size / 64)
        bits |= unit->used[at / 64 + 1] << (64 - at % 64);
    return bits;
}

/* First place for `size` bytes that begins in [from, to). */
static bool run_find(const struct unit *unit, uint32_t from, uint32_t to,
                     uint32_t size, uint32_t *at)
{
    while (from < to) {
        uint64_t bits = bits_from(unit, from);
        if (bits & 1) {
            from += ~bits ? (uint32_t)__builtin_ctzll(~bits) : 64;
            continue;
        }
        uint32_t free = bits ? (uint32_t)__builtin_ctzll(bits) : 64;
        if (free < size && free < 64) {
            from += free;
        } else if (fits_at(unit, from, size)) {
            *at = from;
            return true;
        } else {
            from += 64; /* what begins there ends no later */
        }
    }
    return false;
}

/* ---- pages --------------------------------------------------------------- */

static unsigned size_class(size_t size)
{
    enum {
        LITTLE = 8, /* more than a stub of x86 */
        MUCH = 17   /* more than most heads */
    };
    return size < LITTLE ? 0 : size < MUCH ? 1 : 2;
}

static struct room *room_of(const struct unit *unit)
{
    return (struct room *)(unit->used + unit->size / 64);
}

static uint16_t *seek_of(const struct unit *unit, unsigned class, uint32_t page)
{
    return &room_of(unit)->seek[class * (unit->size / PAGE) + page];
}

/* A place anywhere in a page, which it does not leave. */
static bool page_find(const struct unit *unit, uint32_t page, uint32_t size,
                      uint32_t *at)
{
    const unsigned class = size_class(size);
    const uint32_t start = page * PAGE;
    uint16_t *seek = seek_of(unit, class, page);
    if (size <= PAGE &&
        run_find(unit, start + *seek, start + PAGE - size + 1, size, at)) {
        *seek = (uint16_t)(*at - start);
        return true;
    }
    room_of(unit)->spent[class] |= 1u << page;
    return false;
}

/* Somebody gave bytes back there; what is free in front of them makes one place
 * with them. */
static void page_reopen(struct unit *unit, uint32_t page, uint32_t from)
{
    const uint32_t start = page * PAGE;
    for (unsigned i = 0;
         i < UNSEEK && from && !bits_at(unit, start + from - 1, 1); i++)
        from--;
    for (unsigned class = 0; class < SIZES; class ++) {
        uint16_t *seek = seek_of(unit, class, page);
        if (from < *seek)
            *seek = (uint16_t)from;
        room_of(unit)->spent[class] &= ~(1u << page);
    }
}

/* A place for a stub anywhere in [from, to); unless `fresh`, in pages that are
 * in use. */
static bool stretch_find(struct unit *unit, uint32_t from, uint32_t to,
                         bool fresh, uint32_t *at)
{
    const uint32_t size = STUB;
    uint32_t pages =
        pages_of(from, to - from) & ~room_of(unit)->spent[size_class(size)];
    if (!fresh)
        pages &= unit->touched;
    for (; pages; pages &= pages - 1) {
        uint32_t page = (uint32_t)__builtin_ctz(pages);
        uint32_t start = page * PAGE, end = start + PAGE;
        if (start >= from && end <= to) {
            if (page_find(unit, page, size, at))
                return true;
            continue;
        }
        end -= size - 1;
        if (run_find(unit, start > from ? start : from, end < to ? end : to,
                     size, at))
            return true;
    }
    return false;
}

/* ---- stubs --------------------------------------------------------------- */

/* The lowest displacement byte decides where in its window of 256 a stub may
 * be. `window` is the address that the higher bytes give. */
static bool window_find(const struct unit *unit, uintptr_t window,
                        const struct patas__reach *reach, uint32_t *at)
{
    uintptr_t end = unit->base + unit->size;
    if (reach->kind[0] == PATAS__BYTE_FREE) {
        uintptr_t from = window > unit->base ? window : unit->base;
        uintptr_t to = window + WINDOW < end ? window + WINDOW : end;
        return from < to && run_find(unit, (uint32_t)(from - unit->base),
                                     (uint32_t)(to - unit->base), STUB, at);
    }
    unsigned count;
    const uint8_t *traps = patas__trap_bytes(&count);
    for (unsigned i = 0; i < count; i++) {
        uintptr_t address = window + traps[i];
        if (address < unit->base || address >= end)
            continue;
        if (fits_at(unit, (uint32_t)(address - unit->base), STUB)) {
            *at = (uint32_t)(address - unit->base);
            return true;
        }
    }
    return false;
}

/* Is one of the middle bytes of the displacement bound? Then the places that it
 * allows move on with the text, and a page would be begun for every other
 * stub. */
static bool is_sparse(const struct patas__reach *reach)
{
    return reach->kind[1] == PATAS__BYTE_TRAP ||
           reach->kind[2] == PATAS__BYTE_TRAP;
}

/* Is there room in the pages of the window, as far as we know; unless `fresh`,
 * in such as are in use? */
static bool window_open(const struct unit *unit, uintptr_t window, bool fresh)
{
    uintptr_t from = window > unit->base ? window - unit->base : 0;
    uintptr_t to = window + WINDOW - unit->base;
    to = to < unit->size ? to : unit->size;
    return pages_of((uint32_t)from, to - from) &
           ~room_of(unit)->spent[size_class(STUB)] &
           (fresh ? ~0u : unit->touched);
}

/*
 * The text moves on from target to target, and the windows with it. So the page
 * that the highest of many windows is in serves the lower ones in time:
 *
 *     06 07 0e   16 17 1e 1f   27 2f   37 3f      for this target
 *                06 07 0e      16 17   1e 1f   27 2f   37 3f     4 KiB later
 */
static unsigned window_score(const uint8_t *traps, unsigned count, uint8_t byte)
{
    enum {
        SPAN = 4 * PAGE / WINDOW
    };
    unsigned score = 0;
    for (unsigned i = 0; i < count; i++)
        score += (uint8_t)(byte - traps[i]) < SPAN;
    return score;
}

static const uint8_t *window_order(unsigned *count)
{
    const uint8_t *traps = patas__trap_bytes(count);
    for (unsigned i = 0; i < *count && !land.windows[*count - 1]; i++) {
        const unsigned score = window_score(traps, *count, traps[i]);
        unsigned at = i;
        for (; at && window_score(traps, *count, land.windows[at - 1]) < score;
             at--)
            land.windows[at] = land.windows[at - 1];
        land.windows[at] = traps[i];
    }
    return land.windows;
}

/* All windows of the 64 KiB that begin at `block`, inside this unit; of a
 * sparse reach, those in pages that are in use, unless `fresh`. */
static bool block_find(struct unit *unit, uintptr_t block,
                       const struct patas__reach *reach, bool fresh,
                       uint32_t *at)
{
    /* With only the lowest byte bound, all windows look alike: the ones that
     * were full once are not searched again. */
    const bool alike = reach->kind[1] == PATAS__BYTE_FREE &&
                       reach->kind[0] == PATAS__BYTE_TRAP;
    const uintptr_t start = unit->base + (alike ? unit->stub_seek : unit->full);
    const uintptr_t end = unit->base + unit->size;

    if (reach->kind[0] == PATAS__BYTE_FREE &&
        reach->kind[1] == PATAS__BYTE_FREE) {
        uintptr_t from = block > unit->base ? block : unit->base;
        uintptr_t to = block + UNIT < end ? block + UNIT : end;
        return from < to &&
               stretch_find(unit, (uint32_t)(from - unit->base),
                            (uint32_t)(to - unit->base), fresh, at);
    }
    unsigned count = 256;
    const uint8_t *traps = NULL;
    unsigned first = 0;
    if (reach->kind[1] == PATAS__BYTE_TRAP)
        traps = window_order(&count);
    else if (start > block) /* skip windows in front of it */
        first = (unsigned)((start - block) / WINDOW);
    for (unsigned i = first; i < count; i++) {
        uintptr_t window = block + (traps ? traps[i] : i) * (uintptr_t)WINDOW;
        if (window >= end && !traps)
            return false;
        if (window + WINDOW <= unit->base || window >= end)
            continue;
        if (!window_open(unit, window, fresh))
            continue;
        if (window + WINDOW > unit->base + unit->full &&
            window_find(unit, window, reach, at) &&
            (fresh || !(pages_of(*at, STUB) & ~unit->touched))) {
            if (alike && *at > unit->stub_seek + WINDOW)
                unit->stub_seek = *at - WINDOW;
            return true;
        }
    }
    return false;
}

/* Is `byte` allowed as the displacement's byte number `index`? */
static bool byte_fits(const struct patas__reach *reach, unsigned index,
                      uint8_t byte)
{
    if (reach->kind[index] == PATAS__BYTE_TRAP)
        return patas__trap_is(byte);
    return reach->kind[index] == PATAS__BYTE_FREE ||
           reach->value[index] == byte;
}

/* A stub in this unit, whatever the higher displacement bytes would be. */
static bool unit_find(struct unit *unit, const struct patas__reach *reach,
                      bool fresh, uint32_t *at)
{
    if (!unit_writable(unit))
        return false;
    int64_t low = (intptr_t)(unit->base - reach->origin);
    for (int64_t block = low & ~(int64_t)0xffff;
         block < low + (int64_t)unit->size; block += 0x10000) {
        if (block < INT32_MIN || block > INT32_MAX - 0xffff)
            continue;
        if (byte_fits(reach, 3, (uint8_t)(block >> 24)) &&
            byte_fits(reach, 2, (uint8_t)(block >> 16)) &&
            block_find(unit, reach->origin + (uintptr_t)block, reach, fresh,
                       at))
            return true;
    }
    return false;
}

static unsigned trap_mask(const struct patas__reach *reach)
{
    unsigned mask = 0;
    for (unsigned i = 0; i < 4; i++)
        mask |= (unsigned)(reach->kind[i] == PATAS__BYTE_TRAP) << i;
    return mask;
}

static unsigned top_distance(uint8_t top)
{
    return top < 0x80 ? top : 0x100u - top;
}

/* The top displacement bytes that new units are mapped for, nearest first:
 * every one is a trap byte. */
static unsigned top_bytes(uint8_t tops[16])
{
    unsigned count;
    const uint8_t *traps = patas__trap_bytes(&count);
    for (unsigned i = 0; i < count; i++) {
        unsigned at = i;
        for (; at && top_distance(tops[at - 1]) > top_distance(traps[i]); at--)
            tops[at] = tops[at - 1];
        tops[at] = traps[i];
    }
    return count;
}

static uintptr_t with_top(uintptr_t origin, uint8_t top)
{
    return origin + (uintptr_t)((intptr_t)(int8_t)top * (intptr_t)(1 << 24));
}

/* One new unit where the top byte is `top`; second byte from the top as
 * `reach` asks (NULL: anything). */
static struct unit *unit_under_top(uintptr_t origin, uint8_t top,
                                   const struct patas__reach *reach)
{
    unsigned count = 256, tried = 0;
    const uint8_t *traps = NULL;
    uintptr_t stretch = with_top(origin, top);
    if (reach && reach->kind[2] == PATAS__BYTE_TRAP)
        traps = patas__trap_bytes(&count);
    for (unsigned i = 0; i < count && tried < SEEK_LIMIT; i++) {
        uintptr_t second = traps ? traps[i] : i;
        /* The aligned unit that this block begins in holds its first windows,
         * the next one the rest; both will be asked for in time. */
        uintptr_t block = stretch + (second << 16);
        uintptr_t base = (block + UNIT - 1) & ~(uintptr_t)(UNIT - 1);
        /* There must be windows in it whose number is a trap byte: d6 is the
         * highest that always is one. */
        if (base - block > 0xd6 * WINDOW)
            base -= UNIT;
        if (base < LOW || base > HIGH || grows_there(base, UNIT) ||
            unit_at(base))
            continue;
        tried++;
        struct unit *unit = unit_new(base, UNIT, false);
        if (unit)
            return unit;
    }
    return NULL;
}

/* [*from, *to): what is within `reach` of `origin`. */
static void reach_bounds(uintptr_t origin, uintptr_t reach, uintptr_t *from,
                         uintptr_t *to)
{
    *from = !AROUND && origin > reach + LOW ? origin - reach : LOW;
    *to = !AROUND && origin + reach < HIGH ? origin + reach : HIGH;
}

/* Where the hole [from, to) is nearest to `aim`; 0 if `size` bytes don't fit.
 */
static uintptr_t hole_place(uintptr_t from, uintptr_t to, uintptr_t size,
                            uintptr_t aim)
{
    uintptr_t first = (from + size - 1) & ~(size - 1);
    uintptr_t last = to < size ? 0 : (to - size) & ~(size - 1);
    if (first > last || first < from)
        return 0;
    return aim < first ? first : aim > last ? last : aim & ~(size - 1);
}

/* The same, beside where the heap grows; the rest of the hole may be in reach
 * only behind it. */
static uintptr_t hole_beside(uintptr_t from, uintptr_t to, uintptr_t size,
                             uintptr_t aim,
                             bool (*grows)(uintptr_t base, size_t size))
{
    uintptr_t base = hole_place(from, to, size, aim);
    if (!base || !grows(base, size))
        return base;
    const uintptr_t below = land.heap[0],
                    behind[2] = {below + 128 * MIB, land.heap[1]};
    base = hole_place(from, to < below ? to : below, size, aim);
    for (unsigned i = 0; i < 2 && (!base || grows(base, size)); i++)
        base = hole_place(from > behind[i] ? from : behind[i], to, size, aim);
    return base && !grows(base, size) ? base : 0;
}

/*
 * A crowded neighbourhood: a hole of `size` bytes within reach of `origin`, by
 * the list of mappings. 0 if there is none, or no list. Far below is best,
 * since there the program grows least; but where jumps don't go far, not so far
 * that other functions have to have another one. `grows` says what is left to
 * the program.
 */
static uintptr_t hole_find(uintptr_t origin, uintptr_t size,
                           bool (*grows)(uintptr_t base, size_t size))
{
    enum {
        NO_MORE = 2
    };
    const uintptr_t reach = patas__isa_host()->near;
    const bool far = reach >= GIB;
    const uintptr_t aim = far || origin < reach / 2 ? 0 : origin - reach / 2;
    uintptr_t best = 0, best_away = UINTPTR_MAX;
    uintptr_t at, end;
    reach_bounds(origin, reach, &at, &end);
    while (at < end) {
        struct patas__region region;
        int err = patas__os_region_next(at, &region);
        if (err && err != NO_MORE)
            return 0;
        uintptr_t to = err || region.start > end ? end : region.start;
        uintptr_t base = hole_beside(at, to, size, aim, grows);
        uintptr_t away = base > aim ? base - aim : aim - base;
        if (base && away < best_away) {
            best = base;
            best_away = away;
        }
        if (err || (best && at > aim))
            break; /* farther away from here on */
        at = region.end;
    }
    return best;
}

enum {
    HOLES = 4
};

/* One hole after the other: a unit, a page; and where all that is in reach may
 * be the heap's some day, what it will not take soon. */
static uintptr_t hole_choice(unsigned i, uintptr_t origin, uint32_t *size)
{
    *size = i % 2 ? (uint32_t)patas__os_page() : UNIT;
    return hole_find(origin, *size, i / 2 ? grows_soon : grows_there);
}

static struct unit *unit_in_hole(uintptr_t origin)
{
    struct unit *unit = NULL;
    for (unsigned i = 0; i < HOLES && !unit; i++) {
        uint32_t size;
        uintptr_t base = hole_choice(i, origin, &size);
        unit = base ? unit_new(base, size, false) : NULL;
    }
    return unit;
}

static unsigned stub_done(struct unit *unit, uint32_t at, bool dry,
                          uintptr_t *stub)
{
    if (!dry)
        mark(unit, at, STUB, true);
    *stub = unit->base + at;
    return PATAS_REASON_NONE;
}

/* In a unit that is there already: the one that served such a reach last, or
 * any. */
static struct unit *stub_here(const struct patas__reach *reach, bool fresh,
                              uint32_t *at)
{
    uint32_t *last = &land.stub_last[trap_mask(reach)];
    uintptr_t low, high;
    if (*last < land.count && unit_find(&land.units[*last], reach, fresh, at))
        return &land.units[*last];
    reach_bounds(reach->origin, 2 * GIB, &low, &high);
    for (uint32_t i = unit_above(low);
         i < land.count && land.units[i].base < high; i++)
        if (!land.units[i].tight &&
            unit_find(&land.units[i], reach, fresh, at)) {
            *last = i;
            return &land.units[i];
        }
    return NULL;
}

/* Forms whose displacement is ours but for the trap bytes in it. */
static unsigned stub_free(const struct patas__reach *reach, bool dry,
                          uintptr_t *stub)
{
    uint32_t at;
    unsigned traps;
    (void)patas__trap_bytes(&traps); /* which they are is tried out once */
    struct unit *here = is_sparse(reach) ? stub_here(reach, false, &at) : NULL;
    if (!here)
        here = stub_here(reach, true, &at);
    if (here)
        return stub_done(here, at, dry, stub);
    uint8_t tops[16];
    unsigned count = top_bytes(tops);
    for (unsigned i = 0; i < count; i++) {
        struct unit *unit = unit_under_top(reach->origin, tops[i], reach);
        if (!unit)
            continue;
        bool found = unit_find(unit, reach, true, &at);
        *stub = unit->base + at;
        if (found && !dry) {
            land.stub_last[trap_mask(reach)] = (uint32_t)(unit - land.units);
            return stub_done(unit, at, dry, stub);
        }
        unit_drop(unit);
        if (found)
            return PATAS_REASON_NONE;
    }
    enum {
        UPPER = 0xc
    };
    struct unit *unit =
        trap_mask(reach) & UPPER ? NULL : unit_in_hole(reach->origin);
    if (!unit)
        return PATAS_REASON_NO_ADDRESS;
    bool found = unit_find(unit, reach, true, &at);
    if (found)
        stub_done(unit, at, dry, stub);
    if (!found || dry)
        unit_drop(unit);
    return found ? PATAS_REASON_NONE : PATAS_REASON_NO_ADDRESS;
}

/* [*low, *high): where the fixed upper bytes let a stub begin. */
static bool fixed_range(const struct patas__reach *reach, uintptr_t *low,
                        uintptr_t *high)
{
    int64_t displacement = 0;
    unsigned freedom = 0; /* bytes that are free, from the lowest */
    while (freedom < 4 && reach->kind[freedom] == PATAS__BYTE_FREE)
        freedom++;
    for (unsigned i = freedom; i < 4; i++)
        displacement |= (int64_t)reach->value[i] << (8 * i);
    displacement = (int32_t)displacement;
    if (displacement > INT32_MAX - PATAS__JUMP_MAX)
        return false; /* too far from the entry for a record */
    *low = reach->origin + (uintptr_t)displacement;
    *high = *low + ((uintptr_t)1 << (8 * freedom));
    bool wrapped =
        displacement < 0 ? *low > reach->origin : *low < reach->origin;
    return (AROUND || !wrapped) && *low >= LOW && *high <= HIGH && *high > *low;
}

/* First place for a stub in [from, to) of a unit. */
static bool stub_find(struct unit *unit, uint32_t from, uint32_t to,
                      uint32_t *at)
{
    bool whole = from <= unit->full;
    if (whole)
        from = unit->full;
    bool found = run_find(unit, from, to, STUB, at);
    if (whole && (found || to == unit->size))
        unit->full = found ? *at : to;
    return found;
}

static bool range_find(uintptr_t low, uintptr_t high, uint32_t *index,
                       uint32_t *at)
{
    for (uint32_t i = unit_above(low);
         i < land.count && land.units[i].base < high; i++) {
        struct unit *unit = &land.units[i];
        uintptr_t from = low > unit->base ? low : unit->base;
        uintptr_t end = unit->base + unit->size;
        uintptr_t to = high < end ? high : end;
        if (unit_writable(unit) &&
            stub_find(unit, (uint32_t)(from - unit->base),
                      (uint32_t)(to - unit->base), at)) {
            *index = i;
            return true;
        }
    }
    return false;
}

/* A new unit for a range: in the middle, where neighbours may share it. */
static struct unit *unit_in_range(uintptr_t low, uintptr_t high)
{
    if (high - low >= 16 * MIB) {
        for (unsigned i = 0; i < SEEK_LIMIT; i++) {
            uintptr_t base =
                low + 8 * MIB + (i % 2 ? i * MIB / 4 : 0 - i * MIB / 4);
            base &= ~(uintptr_t)(UNIT - 1);
            if (grows_soon(base, UNIT) || unit_at(base))
                continue;
            struct unit *unit = unit_new(base, UNIT, false);
            if (unit)
                return unit;
        }
        return NULL;
    }
    const uintptr_t page = patas__os_page();
    uintptr_t first = low & ~(page - 1);
    uintptr_t last = (high - 1) & ~(page - 1);
    uintptr_t middle = (first + (last - first) / 2) & ~(page - 1);
    for (uintptr_t i = 0; i <= (last - first) / page && i < SEEK_LIMIT; i++) {
        uintptr_t base = middle + (i % 2 ? (i + 1) / 2 : 0 - i / 2) * page;
        if (base < first || base > last || grows_soon(base, page) ||
            unit_at(base))
            continue;
        /* One address near a page's end needs the next page, too. */
        uintptr_t start = low > base ? low : base;
        bool two = start + STUB > base + page;
        struct unit *unit =
            unit_new(base, (uint32_t)(two ? 2 * page : page), true);
        if (unit)
            return unit;
    }
    return NULL;
}

static unsigned stub_fixed(const struct patas__reach *reach, size_t budget,
                           bool dry, uintptr_t *stub)
{
    uintptr_t low, high;
    uint32_t index, at;
    if (!fixed_range(reach, &low, &high))
        return PATAS_REASON_NO_ADDRESS;
    if (range_find(low, high, &index, &at))
        return stub_done(&land.units[index], at, dry, stub);
    bool roomy = high - low >= 16 * MIB;
    if (!roomy && land.tight >= budget)
        return PATAS_REASON_BUDGET;
    struct unit *unit = unit_in_range(low, high);
    if (!unit || !range_find(low, high, &index, &at))
        return PATAS_REASON_NO_ADDRESS;
    stub_done(&land.units[index], at, dry, stub);
    if (dry)
        unit_drop(unit);
    return PATAS_REASON_NONE;
}

unsigned patas__island_stub(const struct patas__reach *reach, size_t budget,
                            bool dry, uintptr_t *stub)
{
    if (reach->kind[3] == PATAS__BYTE_FIXED)
        return stub_fixed(reach, budget, dry, stub);
    if (!trap_mask(reach)) {
        if (patas__island_code(reach->origin, STUB, stub))
            return PATAS_REASON_NO_ADDRESS;
        if (dry)
            patas__island_free(*stub, STUB);
        return PATAS_REASON_NONE;
    }
    return stub_free(reach, dry, stub);
}

/* ---- code --------------------------------------------------------------- */

/* Near enough for code to jump back to `origin`, and, unless it is plain, that
 * operands around it stay in reach. */
static bool near(const struct unit *unit, uintptr_t origin, bool plain)
{
    uintptr_t distance =
        unit->base > origin ? unit->base - origin : origin - unit->base;
    const struct patas__isa *isa = patas__isa_host();
    return AROUND || distance < (plain ? isa->reach : isa->near);
}

/* The pages of a unit that may have room: such as are in use, or `fresh` ones.
 */
static uint32_t pages_for(const struct unit *unit, size_t size, bool fresh)
{
    uint32_t pages = (2u << (unit->size / PAGE - 1)) - 1;
    return pages & (fresh ? ~unit->touched : unit->touched) &
           ~room_of(unit)->spent[size_class(size)];
}

/* Pages cost memory from their first byte on: those that have stubs already,
 * which lie where they must, are filled before a `fresh` one is begun. */
static bool code_in(uint32_t index, size_t size, bool fresh, uintptr_t *code)
{
    struct unit *unit = &land.units[index];
    for (uint32_t pages = pages_for(unit, size, fresh); pages;
         pages &= pages - 1) {
        uint32_t page = (uint32_t)__builtin_ctz(pages), at;
        if (!page_find(unit, page, (uint32_t)size, &at))
            continue;
        mark(unit, at, size, true);
        *code = unit->base + at;
        return true;
    }
    return false;
}

/* May code of `origin` be in this unit? */
static bool may_hold(uint32_t index, uintptr_t origin)
{
    const struct unit *unit = &land.units[index];
    return !unit->tight && unit_writable(unit) && near(unit, origin, false);
}

/* What may be anywhere fills what was mapped for the sake of one address, or
 * too far away for others. */
static bool may_spare(uint32_t index, uintptr_t origin)
{
    const struct unit *unit = &land.units[index];
    return (unit->open || (!land.batch && unit_writable(unit))) &&
           (unit->tight || !near(unit, origin, false)) &&
           near(unit, origin, true);
}

/* A place in one of the units that may be asked, the one of `*last` first: in a
 * page that is in use, or else in the first that is not. */
static bool code_among(bool (*may)(uint32_t index, uintptr_t origin),
                       uint32_t *last, uintptr_t origin, size_t size,
                       uintptr_t *code)
{
    uint32_t fresh = land.count;
    for (uint32_t i = 0; i <= land.count; i++) {
        uint32_t index = i ? i - 1 : *last;
        if (index >= land.count || !may(index, origin))
            continue;
        if (code_in(index, size, false, code)) {
            *last = index;
            return true;
        }
        if (fresh == land.count && pages_for(&land.units[index], size, true))
            fresh = index;
    }
    if (fresh == land.count || !code_in(fresh, size, true, code))
        return false;
    *last = fresh;
    return true;
}

static bool code_near(uint32_t index, uintptr_t origin, size_t size,
                      uintptr_t *code)
{
    if (!may_hold(index, origin) || (!code_in(index, size, false, code) &&
                                     !code_in(index, size, true, code)))
        return false;
    land.code_last = index;
    return true;
}

static bool code_beside_at(uint32_t index, uintptr_t origin, size_t size,
                           uintptr_t *code)
{
    const struct unit *unit = &land.units[index];
    uintptr_t low = unit->base < origin ? unit->base : origin;
    uintptr_t high = unit->base < origin ? origin : unit->base + unit->size;
    return high - low < BESIDE && code_near(index, origin, size, code);
}

/* Each costs a mapping, and most of its bytes if code is far from other code.
 * So there are a few for whoever comes first, and as many as are filled. */
static struct unit *unit_beside(uintptr_t origin)
{
    const uintptr_t step = BESIDE / 32, place = origin / step;
    if (land.crowded_count == CROWDED ||
        land.besides >= BESIDES + land.taken / (UNIT / 2))
        return NULL;
    for (unsigned i = 0; i < land.crowded_count; i++)
        if (land.crowded[i] == place)
            return NULL;
    for (uintptr_t i = 2; i < 2 * 31; i++) {
        uintptr_t base =
            (i % 2 ? origin + i / 2 * step : origin - i / 2 * step) &
            ~(uintptr_t)(UNIT - 1);
        struct unit *unit =
            grows_there(base, UNIT) ? NULL : unit_new(base, UNIT, false);
        if (unit) {
            unit->beside = true;
            land.besides++;
            return unit;
        }
    }
    land.crowded[land.crowded_count++] = place;
    return NULL;
}

/*
 * What is patched by itself comes back by a short way. (The heads of a batch
 * rather fill what its stubs leave free.)
 */
static bool code_beside(uintptr_t origin, size_t size, uintptr_t *code)
{
    if (land.batch || patas__isa_host()->near < GIB)
        return false;
    if (land.code_last < land.count &&
        code_beside_at(land.code_last, origin, size, code))
        return true;
    const uintptr_t low = origin > BESIDE ? origin - BESIDE : 0;
    const uintptr_t high = origin + BESIDE > low ? origin + BESIDE : HIGH;
    for (uint32_t i = unit_above(low);
         i < land.count && land.units[i].base < high; i++)
        if (code_beside_at(i, origin, size, code))
            return true;
    const struct unit *unit = unit_beside(origin);
    return unit &&
           code_beside_at((uint32_t)(unit - land.units), origin, size, code);
}

/* In a unit that is there already. */
static bool code_here(uintptr_t origin, size_t size, uintptr_t *code)
{
    return code_among(may_hold, &land.code_last, origin, size, code);
}

static bool spare_here(uintptr_t origin, size_t size, uintptr_t *code)
{
    if (land.spare_none)
        return false;
    if (code_among(may_spare, &land.spare_last, origin, size, code))
        return true;
    land.spare_none = true;
    return false;
}

static int code_in_new_unit(uintptr_t origin, size_t size, uintptr_t *code)
{
    enum {
        NO_MEMORY = 12
    };
    uint8_t tops[16];
    unsigned count = top_bytes(tops);
    for (unsigned i = 0; i < count; i++) {
        struct unit *unit = unit_under_top(origin, tops[i], NULL);
        if (unit &&
            code_near((uint32_t)(unit - land.units), origin, size, code))
            return 0;
    }
    struct unit *unit = unit_in_hole(origin);
    if (unit && code_near((uint32_t)(unit - land.units), origin, size, code))
        return 0;
    return NO_MEMORY;
}

int patas__island_code(uintptr_t origin, size_t size, uintptr_t *code)
{
    if (code_beside(origin, size, code) || code_here(origin, size, code))
        return 0;
    return code_in_new_unit(origin, size, code);
}

int patas__island_spare(uintptr_t origin, size_t size, uintptr_t *code)
{
    if (code_beside(origin, size, code) || code_here(origin, size, code) ||
        spare_here(origin, size, code))
        return 0;
    return code_in_new_unit(origin, size, code);
}

void patas__island_free(uintptr_t code, size_t size)
{
    struct unit *unit = unit_at(code);
    if (!unit)
        return;
    uint32_t at = (uint32_t)(code - unit->base);
    if (size) {
        const uint32_t last = at + (uint32_t)size - 1;
        mark(unit, at, size, false);
        land.spare_none = false;
        page_reopen(unit, at / PAGE, at % PAGE);
        if (last / PAGE != at / PAGE)
            page_reopen(unit, last / PAGE, 0);
    }
    if (at < unit->stub_seek)
        unit->stub_seek = at;
    if (at < unit->full + STUB)
        unit->full = at < STUB ? 0 : at - STUB;
    /* Nobody could ever run it: it was mapped for a question only. */
    if (!unit->taken && (unit->open || !unit->written))
        unit_drop(unit);
}

/* ---- slots ----------------------------------------------------------------
 */

/* Reach relative to the PC, with room for the unit's own size on both sides. */
static bool slot_reaches(const struct pool *pool, uintptr_t stub)
{
    uintptr_t distance =
        pool->base > stub ? pool->base - stub : stub - pool->base;
    return AROUND || distance < 2 * GIB - 2 * UNIT;
}

static uintptr_t *slot_from(struct pool *pool)
{
    if (pool->freed) {
        uintptr_t *slot = (uintptr_t *)pool->freed;
        pool->freed = *slot;
        return slot;
    }
    if (pool->fresh == pool->slots)
        return NULL;
    return (uintptr_t *)pool->base + pool->fresh++;
}

static struct pool *pool_map(uintptr_t base, uintptr_t size)
{
    if (!base || base < LOW || base > HIGH ||
        patas__os_map_at(base, size, PATAS__READ | PATAS__WRITE))
        return NULL;
    land.data_bytes += size;
    struct pool *pool = &land.pools[land.pool_count++];
    *pool = (struct pool){.base = base,
                          .slots = (uint32_t)(size / sizeof(uintptr_t))};
    return pool;
}

static struct pool *pool_new(uintptr_t stub)
{
    struct pool *pool = NULL;
    if (land.pool_count == land.pool_capacity &&
        !book_grow((void **)&land.pools, &land.pool_capacity,
                   sizeof *land.pools))
        return NULL;
    for (unsigned i = 1; i < 4 * SEEK_LIMIT && !pool; i++) {
        /* Growing distances, above and below in turn. */
        uintptr_t step = (uintptr_t)(i / 2 + 1) * 8 * MIB;
        uintptr_t base =
            (i % 2 ? stub + step : stub - step) & ~(uintptr_t)(UNIT - 1);
        if ((i % 2 ? base > stub : base < stub) && !grows_there(base, UNIT))
            pool = pool_map(base, UNIT);
    }
    for (unsigned i = 0; i < HOLES && !pool; i++) {
        uint32_t size;
        uintptr_t base = hole_choice(i, stub, &size);
        pool = pool_map(base, size);
    }
    return pool;
}

int patas__island_slot(uintptr_t stub, uintptr_t **slot)
{
    enum {
        NO_MEMORY = 12
    };
    *slot = NULL;
    if (land.pool_last < land.pool_count &&
        slot_reaches(&land.pools[land.pool_last], stub))
        *slot = slot_from(&land.pools[land.pool_last]);
    for (uint32_t i = 0; i < land.pool_count && !*slot; i++)
        if (slot_reaches(&land.pools[i], stub)) {
            *slot = slot_from(&land.pools[i]);
            land.pool_last = i;
        }
    if (*slot)
        return 0;
    struct pool *pool = pool_new(stub);
    if (!pool)
        return NO_MEMORY;
    land.pool_last = (uint32_t)(pool - land.pools);
    *slot = slot_from(pool);
    return 0;
}

void patas__island_slot_free(uintptr_t *slot)
{
    for (uint32_t i = 0; i < land.pool_count; i++) {
        struct pool *pool = &land.pools[i];
        if ((uintptr_t)slot - pool->base < pool->slots * sizeof *slot) {
            *slot = pool->freed;
            pool->freed = (uintptr_t)slot;
            return;
        }
    }
}

/* ---- writing --------------------------------------------------------------
 */

static int write_sealed(uintptr_t code, const void *bytes, size_t size)
{
    int err = 0;
    if (!land.mem_is_open) {
        err = patas__os_mem_open(&land.mem_fd);
        land.mem_is_open = !err;
    }
    if (!err)
        err = patas__os_mem_write(land.mem_fd, code, bytes, size);
    land.mem_denied |= err != 0;
    return err;
}

int patas__island_write(uintptr_t code, const void *bytes, size_t size)
{
    enum {
        FAULT = 14
    };
    struct unit *unit = unit_at(code);
    if (!unit)
        return FAULT;
    unit->written = true;
    if (!unit->open)
        return write_sealed(code, bytes, size);
    memcpy((void *)code, bytes, size);
    return 0;
}

/* What is denied now was not when the first unit was tried: a copy that is
 * executable from its beginning takes this one's place. */
static int seal_copy(const struct unit *unit)
{
    void *copy;
    int err = patas__os_map(unit->size, PATAS__READ | PATAS__EXEC, &copy);
    if (err)
        return err;
    err = write_sealed((uintptr_t)copy, (const void *)unit->base, unit->size);
    if (!err)
        err = patas__os_move(copy, unit->size, unit->base);
    if (err)
        patas__os_unmap(copy, unit->size);
    land.born_sealed |= !err;
    return err;
}

/* Units `from` to `to`, which are one behind the other. */
static int seal_run(uint32_t from, uint32_t to)
{
    enum {
        PERM = 1,
        DENIED = 13
    };
    const struct unit *first = &land.units[from], *last = &land.units[to - 1];
    const size_t size = last->base + last->size - first->base;
    patas__code_written(first->base, size);
    int err =
        patas__os_protect((void *)first->base, size, PATAS__READ | PATAS__EXEC);
    if (err != PERM && err != DENIED)
        return err;
    err = 0;
    for (uint32_t i = from; i < to && !err; i++)
        err = seal_copy(&land.units[i]);
    return err;
}

int patas__island_publish(void)
{
    int err = 0;
    for (uint32_t i = 0; i < land.count && land.open && !err;) {
        uint32_t run = i;
        uintptr_t end = land.units[i].base;
        while (run < land.count && land.units[run].open &&
               land.units[run].base == end)
            end += land.units[run++].size;
        if (run == i) {
            i++;
            continue;
        }
        err = seal_run(i, run);
        for (; i < run && !err; i++) {
            land.units[i].open = false;
            land.open--;
        }
    }
    return err;
}

void patas__island_mode(bool batch)
{
    land.batch = batch && !land.born_sealed;
}

void patas__island_close(void)
{
    if (land.mem_is_open)
        patas__os_close(land.mem_fd);
    land.mem_is_open = false;
    land.mem_denied = false; /* asked again: it may have been for a moment */
}

struct patas__island_stats patas__island_count(void)
{
    return (struct patas__island_stats){
        .code_bytes = land.code_bytes,
        .data_bytes = land.data_bytes,
        .mappings = land.count + land.pool_count,
    };
}
