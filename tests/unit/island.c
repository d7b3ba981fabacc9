/* SPDX-License-Identifier: MIT */
/*
 * Island memory: each address satisfies all that was asked of it, no two
 * islands overlap, what was given back is used again, and a question whether
 * there is room changes nothing.
 */
#include "island.h"

#include "isa.h"
#include "machine.h"
#include "os.h"
#include "patas.h"
#include "trap.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* Of a library. */
#define ORIGIN ((uintptr_t)MACHINE(0x7f0000000000, 0xd7c00000))

enum {
    TAKEN = 20000,
    SLOTS = 20000
};

#define STUB (patas__isa_host()->stub)

/* ---- chance -------------------------------------------------------------- */

static uint64_t chance_state = 0x2545f4914f6cdd1d;

static uint32_t chance(uint32_t below)
{
    chance_state ^= chance_state << 13;
    chance_state ^= chance_state >> 7;
    chance_state ^= chance_state << 17;
    return (uint32_t)(chance_state >> 32) % below;
}

/* Around a library, a program that is linked high, one that is linked low. */
static uintptr_t origin_any(void)
{
    static const uintptr_t places[] = {
        ORIGIN, MACHINE(0x555555554000, 0x56555000),
        MACHINE(0x400000, 0x8048000), MACHINE(0x7ffe00000000, 0x77000000),
        0x70000000};

    return places[chance(sizeof places / sizeof *places)] + chance(1u << 20);
}

/* ---- what is in use -------------------------------------------------------
 */

struct piece {
    uintptr_t start;
    size_t size;
};

static struct piece taken[2 * TAKEN];
static size_t taken_count;

static void take(uintptr_t start, size_t size)
{
    ck_assert_uint_lt(taken_count, 2 * TAKEN);
    taken[taken_count++] = (struct piece){start, size};
}

static int by_start(const void *a, const void *b)
{
    const struct piece *left = a, *right = b;

    return left->start < right->start ? -1 : left->start > right->start;
}

static void no_two_overlap(void)
{
    qsort(taken, taken_count, sizeof *taken, by_start);
    for (size_t i = 0; i < taken_count; i++) {
        ck_assert(patas__island_holds(taken[i].start));
        ck_assert(patas__island_holds(taken[i].start + taken[i].size - 1));
        if (i)
            ck_assert_msg(taken[i - 1].start + taken[i - 1].size <=
                              taken[i].start,
                          "%#lx + %zu, %#lx", (unsigned long)taken[i - 1].start,
                          taken[i - 1].size, (unsigned long)taken[i].start);
    }
}

/* ---- constraints ----------------------------------------------------------
 */

/* As plans ask: trap bytes anywhere, or the upper bytes fixed. */
static struct patas__reach reach_any(void)
{
    struct patas__reach reach = {.origin = origin_any()};
    unsigned fixed = chance(4) ? 4 : 1 + chance(3); /* from that byte on */

    for (unsigned i = 0; i < 4; i++) {
        if (i >= fixed) {
            reach.kind[i] = PATAS__BYTE_FIXED;
            reach.value[i] = (uint8_t)chance(256);
        } else if (fixed == 4 && chance(2)) {
            reach.kind[i] = PATAS__BYTE_TRAP;
        }
    }
    return reach;
}

static bool satisfies(const struct patas__reach *reach, uintptr_t stub)
{
    int64_t displacement = (intptr_t)(stub - reach->origin);

    if (displacement < INT32_MIN || displacement > INT32_MAX)
        return false;
    for (unsigned i = 0; i < 4; i++) {
        uint8_t byte = (uint8_t)(displacement >> 8 * i);
        if ((reach->kind[i] == PATAS__BYTE_TRAP && !patas__trap_is(byte)) ||
            (reach->kind[i] == PATAS__BYTE_FIXED && byte != reach->value[i]))
            return false;
    }
    return true;
}

static const char *reach_text(const struct patas__reach *reach)
{
    static char text[128];

    snprintf(text, sizeof text,
             "origin %#lx, bytes %u:%02x %u:%02x %u:%02x "
             "%u:%02x",
             (unsigned long)reach->origin, reach->kind[0], reach->value[0],
             reach->kind[1], reach->value[1], reach->kind[2], reach->value[2],
             reach->kind[3], reach->value[3]);
    return text;
}

static bool all_free(const struct patas__reach *reach)
{
    for (unsigned i = 0; i < 4; i++)
        if (reach->kind[i] != PATAS__BYTE_FREE)
            return false;
    return true;
}

static bool is_fixed(const struct patas__reach *reach)
{
    return reach->kind[3] == PATAS__BYTE_FIXED;
}

START_TEST(an_address_satisfies_what_was_asked)
{
    unsigned found = 0, fixed = 0;

    for (unsigned i = 0; i < TAKEN; i++) {
        struct patas__reach reach = reach_any();
        uintptr_t stub;
        unsigned reason = patas__island_stub(&reach, SIZE_MAX, false, &stub);
        if (reason) {
            /* Only a place that is bound can be out of memory's range, or be
             * one of few that are taken where few bytes trap. */
            ck_assert_uint_eq(reason, PATAS_REASON_NO_ADDRESS);
            ck_assert_msg(is_fixed(&reach) || MACHINE(false, !all_free(&reach)),
                          "%s", reach_text(&reach));
            continue;
        }
        ck_assert_msg(satisfies(&reach, stub), "%#lx for %s",
                      (unsigned long)stub, reach_text(&reach));
        take(stub, STUB);
        found++;
        fixed += is_fixed(&reach);
        if (chance(2)) {
            uintptr_t code;
            size_t size = 6 + chance(150);
            ck_assert_int_eq(patas__island_code(reach.origin, size, &code), 0);
            ck_assert_int_lt(
                llabs((int64_t)(intptr_t)(code - reach.origin)),
                MACHINE(INT32_MAX - (256 << 20) + 65536, (int64_t)1 << 32));
            take(code, size);
        }
    }
    ck_assert_uint_gt(found, TAKEN / 2);
    ck_assert_uint_gt(fixed, TAKEN / 20);
    no_two_overlap();
}
END_TEST

/* ---- a question changes nothing --------------------------------------------
 */

static size_t mapped_bytes(void)
{
    struct patas__region region;
    size_t sum = 0;

    for (uintptr_t at = 0; !patas__os_region_next(at, &region);
         at = region.end) {
        if (region.start < at)
            break;
        /* What the C library and the kernel do by themselves. */
        if (!region.heap && !region.stack)
            sum += region.end - region.start;
    }
    return sum;
}

START_TEST(a_question_maps_nothing)
{
    unsigned count;
    struct patas__reach reach = {.origin = ORIGIN};
    uintptr_t stub;

    patas__trap_bytes(&count);
    /* Books and the like are there from the first island on. */
    ck_assert_uint_eq(patas__island_stub(&reach, 0, false, &stub), 0);
    for (unsigned i = 0; i < 300; i++) {
        struct patas__island_stats before = patas__island_count();
        size_t mapped = mapped_bytes();
        reach = reach_any();
        (void)patas__island_stub(&reach, SIZE_MAX, true, &stub);
        struct patas__island_stats after = patas__island_count();
        ck_assert_msg(mapped_bytes() == mapped, "%s", reach_text(&reach));
        ck_assert_uint_eq(after.mappings, before.mappings);
        ck_assert_uint_eq(after.code_bytes, before.code_bytes);
    }
}
END_TEST

START_TEST(what_a_question_answers_comes_true)
{
    for (unsigned i = 0; i < 2000; i++) {
        struct patas__reach reach = reach_any();
        uintptr_t planned, stub;
        unsigned reason = patas__island_stub(&reach, SIZE_MAX, true, &planned);
        ck_assert_uint_eq(patas__island_stub(&reach, SIZE_MAX, false, &stub),
                          reason);
        if (!reason)
            ck_assert_msg(stub == planned, "%#lx, planned %#lx: %s",
                          (unsigned long)stub, (unsigned long)planned,
                          reach_text(&reach));
    }
}
END_TEST

/* ---- the budget -------------------------------------------------------------
 */

/* One address only, another page each time. */
static struct patas__reach reach_tight(unsigned number)
{
    struct patas__reach reach = {.origin =
                                     ORIGIN - 0x10000000 + number * 8192ul};

    memset(reach.kind, PATAS__BYTE_FIXED, 4);
    patas__store32(reach.value, 0x05000000);
    return reach;
}

START_TEST(mappings_for_one_address_keep_to_the_budget)
{
    enum {
        BUDGET = 7
    };
    uintptr_t stub;
    unsigned made = 0;

    for (unsigned i = 0; i < 4 * BUDGET; i++) {
        struct patas__reach reach = reach_tight(i);
        unsigned reason = patas__island_stub(&reach, BUDGET, false, &stub);
        ck_assert_uint_eq(reason,
                          i < BUDGET ? PATAS_REASON_NONE : PATAS_REASON_BUDGET);
        made += !reason;
    }
    ck_assert_uint_eq(patas__island_count().mappings, made);
    /* What is mapped already costs nothing. */
    struct patas__reach beside = reach_tight(0);
    beside.origin += 64;
    ck_assert_uint_eq(patas__island_stub(&beside, 0, false, &stub), 0);
    ck_assert_uint_eq(stub, beside.origin + 0x05000000);
    /* Nor is one address given twice. */
    ck_assert_uint_ne(patas__island_stub(&beside, SIZE_MAX, false, &stub), 0);
}
END_TEST

START_TEST(one_address_at_a_pages_end_has_the_next_page_too)
{
    for (unsigned last = 0; last < 8; last++) {
        struct patas__reach reach = reach_tight(2 * last);
        uintptr_t stub;
        const uint8_t bytes[PATAS__STUB_MAX] = {0xff, 0x25, 1, 2, 3, 4};
        reach.origin += 4096 - last;
        ck_assert_uint_eq(patas__island_stub(&reach, SIZE_MAX, false, &stub),
                          0);
        ck_assert_uint_eq(stub, reach.origin + 0x05000000);
        ck_assert_int_eq(patas__island_write(stub, bytes, STUB), 0);
        ck_assert_int_eq(patas__island_publish(), 0);
        ck_assert(!memcmp((const void *)stub, bytes, STUB));
    }
}
END_TEST

/* ---- what others will take
 * ---------------------------------------------------
 */

/* The only place for a stub is `beyond` bytes above the heap. */
static unsigned above_the_heap(size_t beyond, uintptr_t *stub)
{
    const uint32_t distance = 0x01000000;
    uintptr_t place = ((uintptr_t)sbrk(0) & ~(uintptr_t)4095) + beyond;
    struct patas__reach reach = {.origin = place - distance};

    for (unsigned i = 0; i < 4; i++) {
        reach.kind[i] = PATAS__BYTE_FIXED;
        reach.value[i] = (uint8_t)(distance >> 8 * i);
    }
    return patas__island_stub(&reach, SIZE_MAX, false, stub);
}

START_TEST(the_first_island_leaves_the_heap_its_room)
{
    uintptr_t stub;

    ck_assert_uint_eq(above_the_heap(1 << 20, &stub), PATAS_REASON_NO_ADDRESS);
    /* Far above, where nothing else would do. */
    ck_assert_uint_eq(above_the_heap(MACHINE(512, 160) << 20, &stub),
                      PATAS_REASON_NONE);
}
END_TEST

/* ---- giving back ------------------------------------------------------------
 */

START_TEST(what_was_given_back_is_used_again)
{
    enum {
        PIECES = 3000,
        PIECE = 24
    };
    static uintptr_t code[PIECES];
    struct patas__island_stats before;

    for (unsigned i = 0; i < PIECES; i++)
        ck_assert_int_eq(patas__island_code(ORIGIN, PIECE, &code[i]), 0);
    before = patas__island_count();
    for (unsigned round = 0; round < 20; round++) {
        for (unsigned i = 0; i < PIECES; i++)
            if (chance(2)) {
                patas__island_free(code[i], PIECE);
                code[i] = 0;
            }
        for (unsigned i = 0; i < PIECES; i++)
            if (!code[i])
                ck_assert_int_eq(patas__island_code(ORIGIN, PIECE, &code[i]),
                                 0);
    }
    ck_assert_uint_eq(patas__island_count().code_bytes, before.code_bytes);
    for (unsigned i = 0; i < PIECES; i++)
        take(code[i], PIECE);
    no_two_overlap();
}
END_TEST

START_TEST(a_freed_stub_is_found_again)
{
    for (unsigned i = 0; i < 2000; i++) {
        struct patas__reach reach = reach_any();
        uintptr_t first, second;
        if (!is_fixed(&reach) ||
            patas__island_stub(&reach, SIZE_MAX, false, &first))
            continue;
        if (chance(2)) {
            take(first, STUB);
            continue;
        }
        patas__island_free(first, STUB);
        ck_assert_uint_eq(patas__island_stub(&reach, SIZE_MAX, false, &second),
                          0);
        ck_assert(satisfies(&reach, second));
        take(second, STUB);
    }
    no_two_overlap();
}
END_TEST

/* ---- all at once ------------------------------------------------------------
 */

/* Takes one piece of any kind; false if there is no address. */
static bool take_any(void)
{
    struct patas__reach reach = reach_any();
    size_t size = 6 + chance(60);
    uintptr_t at;

    if (!chance(3)) {
        if (patas__island_stub(&reach, SIZE_MAX, false, &at))
            return false;
        ck_assert_msg(satisfies(&reach, at), "%#lx for %s", (unsigned long)at,
                      reach_text(&reach));
        size = STUB;
    } else {
        ck_assert_int_eq(patas__island_spare(reach.origin, size, &at), 0);
        /* A jump at its end reaches what it came from. */
        int64_t back = (intptr_t)(reach.origin - (at + size));
        ck_assert(back > INT32_MIN + 65536 && back < INT32_MAX - 65536);
    }
    take(at, size);
    return true;
}

START_TEST(what_may_be_anywhere_is_in_reach_and_ones_own)
{
    enum {
        ROUNDS = 200,
        PIECES = 150
    };
    unsigned refused = 0;

    for (unsigned round = 0; round < ROUNDS; round++) {
        patas__island_mode(chance(2));
        for (unsigned i = 0; i < PIECES; i++)
            refused += !take_any();
        for (size_t i = 0; i < taken_count; i++)
            if (!chance(3)) {
                patas__island_free(taken[i].start, taken[i].size);
                taken[i--] = taken[--taken_count];
            }
        if (!chance(4))
            ck_assert_int_eq(patas__island_publish(), 0);
        no_two_overlap();
    }
    ck_assert_uint_lt(refused, ROUNDS * PIECES / 4);
}
END_TEST

/* ---- slots ------------------------------------------------------------------
 */

START_TEST(a_slot_is_in_reach_and_ones_own)
{
    static uintptr_t *slots[SLOTS];

    for (unsigned i = 0; i < SLOTS; i++) {
        uintptr_t stub = origin_any() + 0x06000000;
        ck_assert_int_eq(patas__island_slot(stub, &slots[i]), 0);
        int64_t distance = (intptr_t)((uintptr_t)slots[i] - (stub + STUB));
        ck_assert(distance >= INT32_MIN && distance <= INT32_MAX);
        ck_assert_uint_eq((uintptr_t)slots[i] % sizeof(uintptr_t), 0);
        *slots[i] = i;
        if (!chance(4)) { /* give one back; its bytes are a list's */
            unsigned other = chance(i + 1);
            if (slots[other])
                patas__island_slot_free(slots[other]);
            slots[other] = NULL;
        }
    }
    for (unsigned i = 0; i < SLOTS; i++)
        if (slots[i])
            ck_assert_uint_eq(*slots[i], i);
}
END_TEST

/* ---- protection
 * -------------------------------------------------------------- */

START_TEST(no_page_is_writable_and_executable)
{
    for (unsigned i = 0; i < 200; i++) {
        struct patas__reach reach = reach_any();
        struct patas__region region;
        uintptr_t stub;
        const uint8_t bytes[PATAS__STUB_MAX] = {0xff, 0x25, (uint8_t)i};
        if (patas__island_stub(&reach, SIZE_MAX, false, &stub))
            continue;
        ck_assert_int_eq(patas__island_write(stub, bytes, STUB), 0);
        ck_assert_int_eq(patas__os_region(stub, &region), 0);
        ck_assert_int_ne(region.prot & 6, 6);
        if (chance(2))
            continue;
        ck_assert_int_eq(patas__island_publish(), 0);
        ck_assert_int_eq(patas__os_region(stub, &region), 0);
        ck_assert_int_eq(region.prot, PATAS__READ | PATAS__EXEC);
        ck_assert(!memcmp((const void *)stub, bytes, STUB));
        /* Sealed memory is still filled, by another way. */
        ck_assert_int_eq(patas__island_write(stub, "abcdef", 6), 0);
        ck_assert(!memcmp((const void *)stub, "abcdef", 6));
    }
}
END_TEST

/* ---- a full neighbourhood
 * ----------------------------------------------------- */

enum {
    ROUND_GIB = 8 /* GiB around the origin that are made full */
};

/* Beside the sanitizer's shadow, in the middle of what is free. */
#define ORIGIN_32 0x50000000

/* Maps all that is free within reach of `origin`. */
static void fill_around(uintptr_t origin)
{
    const uint64_t half = (uint64_t)ROUND_GIB << 29;
    uintptr_t at = MACHINE(origin - half, 0x10000);
    const uintptr_t end = MACHINE(origin + half, 0xffff0000);
    (void)half;
    (void)origin;

    while (at < end) {
        struct patas__region region = {.start = end, .end = end};
        (void)patas__os_region_next(at, &region);
        uintptr_t stop = region.start < end ? region.start : end;
        if (at < stop)
            ck_assert_ptr_ne(mmap((void *)at, stop - at, PROT_NONE,
                                  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE |
                                      MAP_FIXED_NOREPLACE,
                                  -1, 0),
                             MAP_FAILED);
        at = region.end > stop ? region.end : stop;
    }
}

START_TEST(a_full_neighbourhood_has_no_address)
{
    const uintptr_t origin = MACHINE(0x300000000000, ORIGIN_32);
    struct patas__reach reach = {.origin = origin};
    uintptr_t stub, code, *slot;

    fill_around(origin);
    for (unsigned i = 0; i < 200; i++) {
        reach = reach_any();
        reach.origin = origin;
        ck_assert_uint_eq(patas__island_stub(&reach, SIZE_MAX, false, &stub),
                          PATAS_REASON_NO_ADDRESS);
    }
    ck_assert_int_ne(patas__island_code(origin, 16, &code), 0);
    ck_assert_int_ne(patas__island_slot(origin, &slot), 0);
    ck_assert_uint_eq(patas__island_count().mappings, 0);
}
END_TEST

/* Where the one hole is; the form that any address serves takes it. */
static const int64_t holes[] = {0x10000,
                                -0x100000,
                                0x4321000,
                                MACHINE(0x67770000, 0x70000000),
                                MACHINE(-0x66540000, -0x46540000),
                                -0x1230000};

START_TEST(the_only_hole_is_found)
{
    const uintptr_t origin = MACHINE(0x300000000000, ORIGIN_32);
    const size_t size = 1 << 20; /* code and slots */
    struct patas__reach reach = {.origin = origin};
    uintptr_t hole = origin + (uintptr_t)holes[_i];
    uintptr_t stub, code, *slot;

    fill_around(origin);
    ck_assert_int_eq(munmap((void *)hole, size), 0);
    ck_assert_uint_eq(patas__island_stub(&reach, 0, false, &stub), 0);
    ck_assert(all_free(&reach) && stub - hole < size);
    ck_assert_int_eq(patas__island_code(origin, 16, &code), 0);
    ck_assert_int_eq(patas__island_slot(stub, &slot), 0);
    ck_assert_uint_lt((uintptr_t)slot - hole, size);
}
END_TEST

/* The forms that want bytes that trap, and find them in any unit. */
START_TEST(a_question_in_the_only_hole_maps_nothing)
{
    const uintptr_t origin = MACHINE(0x300000000000, ORIGIN_32);
    const size_t size = 1 << 20;
    struct patas__reach reach = {.origin = origin,
                                 .kind = {PATAS__BYTE_TRAP, PATAS__BYTE_FREE,
                                          PATAS__BYTE_FREE, PATAS__BYTE_FREE}};
    uintptr_t asked, stub, hole = origin + 0x4321000;

    fill_around(origin);
    ck_assert_int_eq(munmap((void *)hole, size), 0);
    for (unsigned i = 0; i < 10; i++) {
        ck_assert_uint_eq(patas__island_stub(&reach, 0, true, &asked), 0);
        ck_assert_uint_eq(patas__island_count().mappings, 0);
        ck_assert_uint_eq(patas__island_count().code_bytes, 0);
    }
    ck_assert_uint_eq(patas__island_stub(&reach, 0, false, &stub), 0);
    ck_assert_uint_eq(stub, asked);
    ck_assert_uint_lt(stub - hole, size);
}
END_TEST

static uintptr_t away(uintptr_t from, uintptr_t to)
{
    return from < to ? to - from : from - to;
}

START_TEST(what_is_patched_by_itself_has_a_short_way_back)
{
    const uintptr_t origin = MACHINE(0x300000000000, ORIGIN_32);
    const uintptr_t beside = 16 << 20;
    uintptr_t code, more, spare;

    patas__island_mode(false);
    ck_assert_int_eq(patas__island_code(origin, 32, &code), 0);
    ck_assert_uint_lt(away(origin, code), beside);
    ck_assert_int_eq(patas__island_spare(origin + 64, 16, &spare), 0);
    ck_assert_uint_lt(away(origin + 64, spare), beside);
    ck_assert_uint_eq(patas__island_count().mappings, 1);
    /* Farther away: another one. */
    ck_assert_int_eq(patas__island_code(origin + 4 * beside, 32, &more), 0);
    ck_assert_uint_lt(away(origin + 4 * beside, more), beside);
    ck_assert_uint_eq(patas__island_count().mappings, 2);
}
END_TEST

START_TEST(where_nothing_is_free_beside_the_way_is_long)
{
    const uintptr_t origin = MACHINE(0x300000000000, ORIGIN_32);
    const uintptr_t beside = 16 << 20;
    uintptr_t code;

    ck_assert_ptr_ne(
        mmap((void *)(origin - beside), 2 * beside, PROT_NONE,
             MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE | MAP_NORESERVE,
             -1, 0),
        MAP_FAILED);
    patas__island_mode(false);
    for (unsigned i = 0; i < 100; i++) {
        ck_assert_int_eq(patas__island_code(origin, 32, &code), 0);
        ck_assert_uint_ge(away(origin, code), beside - (64 << 10));
    }
    ck_assert_uint_eq(patas__island_count().mappings, 1);
}
END_TEST

/* Code that lies far from other code: not a mapping for each function. */
START_TEST(few_have_a_short_way_back_where_they_are_far_apart)
{
    const uintptr_t origin = MACHINE(0x200000000000, 0x20000000);
    const uintptr_t apart = 40 << 20;
    uintptr_t code;

    patas__island_mode(false);
    for (unsigned i = 0; i < MACHINE(4000, 40); i++)
        ck_assert_int_eq(patas__island_code(origin + i * apart, 32, &code), 0);
    ck_assert_uint_le(patas__island_count().mappings,
                      64 + 4000 / 512 + 4000 * (apart >> 20) / 1024);
}
END_TEST

/* ... but for each of them that are close together. */
START_TEST(many_have_a_short_way_back_where_they_are_close)
{
    const uintptr_t origin = MACHINE(0x300000000000, ORIGIN_32);
    uintptr_t code;

    patas__island_mode(false);
    for (unsigned i = 0; i < MACHINE(400000, 100000); i++) {
        ck_assert_int_eq(patas__island_code(origin + i, 32, &code), 0);
        ck_assert_uint_lt(away(origin + i, code), 16 << 20);
    }
}
END_TEST

/* ---- pages ------------------------------------------------------------------
 */

static int by_number(const void *a, const void *b)
{
    const uintptr_t *left = a, *right = b;

    return *left < *right ? -1 : *left > *right;
}

/* What a text of many functions takes in one batch: stubs whose places move on
 * with the text, and heads. Most of each page that is begun gets filled. */
START_TEST(a_text_begins_few_pages)
{
    enum {
        FUNCTIONS = 10000,
        APART = 32,
        HEAD = 12
    };
    static const uint8_t kinds[][4] = {{0, 1, 1, 1}, {0, 0, 1, 0}, {0, 1, 0, 0},
                                       {0, 0, 0, 0}, {0, 0, 0, 1}, {1, 0, 0, 1},
                                       {0, 0, 0, 0}, {0, 1, 0, 1}};
    static uintptr_t pages[2 * FUNCTIONS];
    size_t count = 0, bytes = 0;

    if (!(patas__isa_host()->forms >> PATAS_FORM_TRAP_BYTES & 1))
        return;
    patas__island_mode(true);
    for (unsigned i = 0; i < FUNCTIONS; i++) {
        struct patas__reach reach = {.origin = ORIGIN + APART * i};
        uintptr_t at;
        memcpy(reach.kind, kinds[chance(8)], sizeof reach.kind);
        ck_assert_uint_eq(patas__island_stub(&reach, SIZE_MAX, false, &at), 0);
        ck_assert(satisfies(&reach, at));
        take(at, STUB);
        pages[2 * i] = at / 4096;
        ck_assert_int_eq(patas__island_spare(reach.origin, HEAD, &at), 0);
        take(at, HEAD);
        pages[2 * i + 1] = at / 4096;
        bytes += STUB + HEAD;
    }
    no_two_overlap();
    qsort(pages, 2 * FUNCTIONS, sizeof *pages, by_number);
    for (size_t i = 0; i < 2 * FUNCTIONS; i++)
        count += !i || pages[i] != pages[i - 1];
    printf("%zu bytes in %zu pages\n", bytes, count);
    /* In 32 bits fewer bytes trap, so fewer windows share a page. */
    ck_assert_uint_lt(count * 4096, bytes + MACHINE(bytes / 3, bytes));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("island");
    TCase *tcase = tcase_create("addresses");
    SRunner *runner;
    int failed;

    suite_add_tcase(suite, tcase);
    tcase_add_test(tcase, an_address_satisfies_what_was_asked);
    tcase_add_test(tcase, a_question_maps_nothing);
    tcase_add_test(tcase, what_a_question_answers_comes_true);
    tcase_add_test(tcase, mappings_for_one_address_keep_to_the_budget);
    tcase_add_test(tcase, one_address_at_a_pages_end_has_the_next_page_too);
    tcase_add_test(tcase, the_first_island_leaves_the_heap_its_room);
    tcase_add_test(tcase, what_was_given_back_is_used_again);
    tcase_add_test(tcase, a_freed_stub_is_found_again);
    tcase_add_test(tcase, what_may_be_anywhere_is_in_reach_and_ones_own);
    tcase_add_test(tcase, a_slot_is_in_reach_and_ones_own);
    tcase_add_test(tcase, no_page_is_writable_and_executable);
    tcase_add_test(tcase, a_full_neighbourhood_has_no_address);
    tcase_add_test(tcase, what_is_patched_by_itself_has_a_short_way_back);
    tcase_add_test(tcase, where_nothing_is_free_beside_the_way_is_long);
    tcase_add_test(tcase, few_have_a_short_way_back_where_they_are_far_apart);
    tcase_add_test(tcase, many_have_a_short_way_back_where_they_are_close);
    tcase_add_test(tcase, a_text_begins_few_pages);
    tcase_add_test(tcase, a_question_in_the_only_hole_maps_nothing);
    tcase_add_loop_test(tcase, the_only_hole_is_found, 0,
                        sizeof holes / sizeof *holes);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
