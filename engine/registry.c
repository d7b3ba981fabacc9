/* SPDX-License-Identifier: MIT */
/*
 * The records of targets and patches, and the index by address.
 */
#include "registry.h"

#include "isa.h"
#include "island.h"
#include "table.h"
#include "trap.h"

enum {
    INDEX_LINE = 8,
    INDEX_FIRST = 1024
};

/*
 * Open addressing over the 8-byte line of the entry; 0 = empty. A slot is the
 * target's number in its low 24 bits and a tag of the hash above, so that a
 * search seldom looks at another line's record. Lines of one cache line lie
 * side by side: a window's two lines, and the next function's, are found by
 * one miss.
 */
enum {
    NUMBER_BITS = 24,
    LINES = 8 /* that lie side by side */
};
struct line_index {
    uint32_t mask;
    uint32_t used;
    uint32_t slots[];
};

struct patas__table patas__targets, patas__patches;

static struct {
    struct line_index *index; /* read without the lock */
    struct line_index *old;   /* replaced, perhaps still being read */
    uint32_t free_patches;    /* list through `below` */
    uint32_t readers;         /* carries under way */
    uint32_t marks;
    size_t bytes;
} book;

uint32_t patas__mark(void)
{
    return book.marks;
}

/* ---- the index -------------------------------------------------------------
 */

static uint32_t line_hash(uintptr_t line)
{
    uint32_t group = (uint32_t)((line / LINES * 0x9e3779b97f4a7c15u) >> 32);
    uint32_t place = (uint32_t)(line % LINES);
    /* The tag tells the lines of a group apart. */
    return (group ^ place << 29) / LINES * LINES + place;
}

/* The hash's upper bits: the lower ones choose the place. */
static uint32_t line_tag(uint32_t hash)
{
    return hash & ~((1u << NUMBER_BITS) - 1);
}

static uint32_t slot_number(uint32_t slot)
{
    return slot & ((1u << NUMBER_BITS) - 1);
}

static size_t index_bytes(uint32_t slots)
{
    return sizeof(struct line_index) + slots * sizeof(uint32_t);
}

static void index_put(struct line_index *index, uint32_t target)
{
    uint32_t hash = line_hash(patas__target_get(target)->entry / INDEX_LINE);
    uint32_t at = hash & index->mask;
    while (index->slots[at])
        at = (at + 1) & index->mask;
    __atomic_store_n(&index->slots[at], line_tag(hash) | target,
                     __ATOMIC_RELEASE);
    index->used++;
}

/* The old one can go once no carry reads it. */
static void index_collect(void)
{
    if (!book.old || __atomic_load_n(&book.readers, __ATOMIC_SEQ_CST))
        return;
    size_t size = index_bytes(book.old->mask + 1);
    patas__os_unmap(book.old, size);
    book.bytes -= size;
    book.old = NULL;
}

static bool index_grow(void)
{
    uint32_t slots = book.index ? (book.index->mask + 1) * 2 : INDEX_FIRST;
    void *memory;
    index_collect();
    if (book.old ||
        patas__os_map(index_bytes(slots),
                      PATAS__READ | PATAS__WRITE | PATAS__SOON, &memory))
        return false;
    book.bytes += index_bytes(slots);
    struct line_index *grown = memory;
    grown->mask = slots - 1;
    for (uint32_t i = 0; book.index && i <= book.index->mask; i++) {
        uint32_t target = slot_number(book.index->slots[i]);
        if (target && patas__target_get(target)->state != PATAS__RETIRED)
            index_put(grown, target);
    }
    book.old = book.index;
    __atomic_store_n(&book.index, grown, __ATOMIC_SEQ_CST);
    index_collect();
    return true;
}

/* The live target in this line whose entry passes `low` <= entry <= `high`. */
static uint32_t index_find(const struct line_index *index, uintptr_t line,
                           uintptr_t low, uintptr_t high)
{
    if (!index)
        return 0;
    const uint32_t hash = line_hash(line), tag = line_tag(hash);
    for (uint32_t at = hash & index->mask;; at = (at + 1) & index->mask) {
        uint32_t slot = __atomic_load_n(&index->slots[at], __ATOMIC_ACQUIRE);
        if (!slot)
            return 0;
        if (line_tag(slot) != tag)
            continue;
        uint32_t target = slot_number(slot);
        const struct patas__target *record = patas__target_get(target);
        if (record->entry >= low && record->entry <= high &&
            record->state != PATAS__RETIRED)
            return target;
    }
}

uint32_t patas__target_find(uintptr_t entry)
{
    return index_find(book.index, entry / INDEX_LINE, entry, entry);
}

uintptr_t patas__target_overlap(uintptr_t entry, unsigned size)
{
    enum {
        REACH = PATAS__JUMP_MAX - 1
    };
    uintptr_t low = entry - REACH, high = entry + size - 1;
    for (uintptr_t line = low / INDEX_LINE; line <= high / INDEX_LINE; line++)
        for (uintptr_t at = low; at <= high; at++) {
            uint32_t found = index_find(book.index, line, at, high);
            if (!found)
                break;
            const struct patas__target *other = patas__target_get(found);
            at = other->entry;
            if (at != entry && at + other->at + other->owned > entry)
                return at;
        }
    return 0;
}

void patas__targets_between(uintptr_t low, uintptr_t high,
                            void (*each)(void *data,
                                         const struct patas__target *target),
                            void *data)
{
    const struct line_index *index = book.index;
    for (uintptr_t line = low / INDEX_LINE; index && line <= high / INDEX_LINE;
         line++) {
        const uint32_t hash = line_hash(line), tag = line_tag(hash);
        for (uint32_t at = hash & index->mask; index->slots[at];
             at = (at + 1) & index->mask) {
            const uint32_t slot = index->slots[at];
            const struct patas__target *target =
                patas__target_get(slot_number(slot));
            if (line_tag(slot) == tag && target->entry / INDEX_LINE == line &&
                target->entry >= low && target->entry <= high &&
                target->state != PATAS__RETIRED)
                each(data, target);
        }
    }
}

/* ---- targets ----------------------------------------------------------------
 */

uint32_t patas__target_new(void)
{
    if (patas__targets.count >> NUMBER_BITS)
        return 0;
    return patas__table_add(&patas__targets, sizeof(struct patas__target));
}

void patas__target_forget(uint32_t index)
{
    patas__target_get(index)->state = PATAS__RETIRED;
    if (index + 1 == patas__targets.count) {
        memset(patas__target_get(index), 0, sizeof(struct patas__target));
        patas__targets.count--;
    }
}

bool patas__target_publish(uint32_t index)
{
    if ((!book.index || book.index->used * 5 >= book.index->mask * 4) &&
        !index_grow() &&
        (!book.index || book.index->used + 1 >= book.index->mask))
        return false;
    index_put(book.index, index);
    return true;
}

uintptr_t *patas__target_slot(const struct patas__target *target)
{
    if (target->form == PATAS_FORM_SLOT)
        return (uintptr_t *)target->entry;
    return (uintptr_t *)(patas__target_island(target) +
                         (uintptr_t)(intptr_t)target->slot);
}

uintptr_t patas__target_base(const struct patas__target *target)
{
    return target->form == PATAS_FORM_SLOT ? target->old
                                           : patas__target_head(target);
}

uintptr_t patas__registry_carry(uintptr_t pc)
{
    uintptr_t to = 0;
    __atomic_add_fetch(&book.readers, 1, __ATOMIC_SEQ_CST);
    const struct line_index *index =
        __atomic_load_n(&book.index, __ATOMIC_SEQ_CST);
    for (unsigned back = 0; back <= 4 && !to; back++) {
        uintptr_t entry = pc - back;
        uint32_t found = index_find(index, entry / INDEX_LINE, entry, entry);
        if (!found)
            continue;
        const struct patas__target *target = patas__target_get(found);
        if (target->form == PATAS_FORM_SLOT)
            continue;
        if (back && target->carry[back - 1] != 0xff)
            to = patas__target_head(target) + target->carry[back - 1];
        else if (!back && target->form == PATAS_FORM_PERMANENT_TRAP)
            to = __atomic_load_n(patas__target_slot(target), __ATOMIC_ACQUIRE);
    }
    __atomic_sub_fetch(&book.readers, 1, __ATOMIC_SEQ_CST);
    return to;
}

/* Lock-free, like the carry: asked on the way to the loader. */
uintptr_t patas__registry_unpatched(uintptr_t function)
{
    uintptr_t to = function;
    __atomic_add_fetch(&book.readers, 1, __ATOMIC_SEQ_CST);
    const struct line_index *index =
        __atomic_load_n(&book.index, __ATOMIC_SEQ_CST);
    uint32_t found =
        index_find(index, function / INDEX_LINE, function, function);
    if (found && patas__target_get(found)->form != PATAS_FORM_SLOT &&
        patas__target_get(found)->seen_live)
        to = patas__target_head(patas__target_get(found));
    __atomic_sub_fetch(&book.readers, 1, __ATOMIC_SEQ_CST);
    return to;
}

/* ---- patches ---------------------------------------------------------------
 */

patas_patch *patas__handle(uint32_t index)
{
    return (patas_patch *)patas__handle_make(
        index, patas__patch_get(index)->generation);
}

uint32_t patas__handle_index(const patas_patch *patch)
{
    uintptr_t handle = (uintptr_t)patch;
    uint32_t index = patas__handle_number(handle);
    if (!index ||
        index >= __atomic_load_n(&patas__patches.count, __ATOMIC_ACQUIRE))
        return 0;
    const struct patas__patch *record = patas__patch_get(index);
    return __atomic_load_n(&record->target, __ATOMIC_ACQUIRE) &&
                   patas__handle_is(handle, record->generation) &&
                   !(record->flags & PATAS__GHOST)
               ? index
               : 0;
}

/* Where the stub of a patch on top of another one goes on. */
static uintptr_t *stub_slot(uintptr_t code)
{
    return (uintptr_t *)(uintptr_t)patas__isa_host()->stub_slot(
        (const uint8_t *)code, code);
}

/* The same of a thunk; `*context` is what holds the context value. */
static uintptr_t *thunk_slot(uintptr_t code, uintptr_t **context)
{
    uint64_t slot, value;
    patas__isa_host()->thunk_slots((const uint8_t *)code, code, &slot, &value);
    if (context)
        *context = (uintptr_t *)(uintptr_t)value;
    return (uintptr_t *)(uintptr_t)slot;
}

uintptr_t patas__patch_original(const struct patas__patch *patch)
{
    const struct patas__target *target = patas__target_get(patch->target);
    return patch->stub ? target->entry + (uintptr_t)(intptr_t)patch->stub
                       : patas__target_base(target);
}

uintptr_t patas__patch_replacement(const struct patas__patch *patch)
{
    if (patch->flags & PATAS__THUNK)
        return *thunk_slot(patch->enter, NULL);
    return patch->enter;
}

/* A ghost for a new life: the same replacement, whatever context it had. A call
 * that is still on its way through the thunk gets one context or the other. */
static bool same_use(const struct patas__patch *patch, uintptr_t replacement,
                     const patas_options *options)
{
    bool thunk = options && options->context;
    return thunk == !!(patch->flags & PATAS__THUNK) &&
           patas__patch_replacement(patch) == replacement;
}

/* Code of `size` bytes near `near`, with a slot for it; both given back on
 * failure. */
static int take_jump(uintptr_t near, size_t size, uintptr_t *code,
                     uintptr_t **slot)
{
    int err = patas__island_code(near, size, code);
    if (err)
        return err;
    err = patas__island_slot(*code, slot);
    if (err)
        patas__island_free(*code, size);
    return err;
}

static bool make_thunk(uintptr_t near, uintptr_t replacement, uintptr_t context,
                       uintptr_t *enter)
{
    const struct patas__isa *isa = patas__isa_host();
    uint8_t bytes[PATAS__THUNK_MAX];
    uintptr_t *jump, *value;
    if (take_jump(near, isa->thunk, enter, &jump))
        return false;
    if (patas__island_slot(*enter, &value)) {
        patas__island_slot_free(jump);
        patas__island_free(*enter, isa->thunk);
        return false;
    }
    *jump = replacement;
    *value = context;
    isa->put_thunk(bytes, *enter, (uintptr_t)jump, (uintptr_t)value);
    return !patas__island_write(*enter, bytes, isa->thunk);
}

static bool make_stub(const struct patas__target *target,
                      struct patas__patch *patch)
{
    const struct patas__isa *isa = patas__isa_host();
    uint8_t bytes[PATAS__STUB_MAX];
    uintptr_t code, *slot;
    if (take_jump(target->entry, isa->stub, &code, &slot))
        return false;
    *slot = patas__target_base(target);
    isa->put_stub(bytes, code, (uintptr_t)slot, NULL);
    patch->stub = (int32_t)(code - target->entry);
    return !patas__island_write(code, bytes, isa->stub);
}

/* Code that nobody could ever call. */
static void release_code(const struct patas__target *target,
                         struct patas__patch *patch)
{
    if (patch->stub) {
        uintptr_t code = target->entry + (uintptr_t)(intptr_t)patch->stub;
        patas__island_slot_free(stub_slot(code));
        patas__island_free(code, patas__isa_host()->stub);
        patch->stub = 0;
    }
    if (patch->flags & PATAS__THUNK) {
        uintptr_t *context, *slot = thunk_slot(patch->enter, &context);
        patas__island_slot_free(context);
        patas__island_slot_free(slot);
        patas__island_free(patch->enter, patas__isa_host()->thunk);
        patch->flags &= (uint8_t)~PATAS__THUNK;
    }
}

/* A ghost of the same use, taken out of the list for a new life. */
static uint32_t take_ghost(struct patas__target *target, uintptr_t replacement,
                           const patas_options *options)
{
    for (uint32_t *link = &target->top; *link;) {
        uint32_t index = *link;
        struct patas__patch *patch = patas__patch_get(index);
        if (patch->flags & PATAS__GHOST &&
            same_use(patch, replacement, options)) {
            *link = patch->below;
            return index;
        }
        link = &patch->below;
    }
    return 0;
}

static uint32_t take_record(void)
{
    uint32_t index = book.free_patches;
    if (index)
        book.free_patches = patas__patch_get(index)->below;
    else if (!((uint64_t)patas__patches.count >> PATAS__HANDLE_BITS))
        index = patas__table_add(&patas__patches, sizeof(struct patas__patch));
    return index;
}

static void give_record(uint32_t index)
{
    struct patas__patch *patch = patas__patch_get(index);
    __atomic_store_n(&patch->target, 0, __ATOMIC_RELEASE);
    patch->flags = 0;
    patch->stub = 0;
    patch->below = book.free_patches;
    book.free_patches = index;
}

static void unlink_patch(struct patas__target *target, uint32_t index)
{
    for (uint32_t *link = &target->top; *link;
         link = &patas__patch_get(*link)->below)
        if (*link == index) {
            *link = patas__patch_get(index)->below;
            return;
        }
}

/* Counts the live patches that need the replacement's module. */
static void count_use(uintptr_t replacement, bool more)
{
    uint32_t index;
    struct patas__module *module = patas__module_at(replacement, &index);
    if (module && more)
        module->uses++;
    else if (module && module->uses)
        module->uses--;
}

patas_status patas__patch_new(uint32_t target_index, uintptr_t replacement,
                              const patas_options *options, uint32_t *index)
{
    struct patas__target *target = patas__target_get(target_index);
    uintptr_t enter = replacement;
    uint32_t ghost = take_ghost(target, replacement, options);
    *index = ghost ? ghost : take_record();
    if (!*index)
        return PATAS_ERR_NO_MEMORY;
    struct patas__patch *patch = patas__patch_get(*index);
    if (!ghost) {
        uint8_t thunk = options && options->context ? PATAS__THUNK : 0;
        if (thunk && !make_thunk(target->entry, replacement,
                                 (uintptr_t)options->context, &enter)) {
            give_record(*index);
            return PATAS_ERR_NO_MEMORY;
        }
        patch->enter = enter;
        patch->flags = thunk;
    } else if (patch->flags & PATAS__THUNK) {
        uintptr_t *context;
        (void)thunk_slot(patch->enter, &context);
        __atomic_store_n(context, (uintptr_t)options->context,
                         __ATOMIC_RELEASE);
    }
    /* Only the lowest of all does without a stub. */
    if (target->top && !patch->stub && !make_stub(target, patch)) {
        if (ghost) { /* on top, where its missing stub does no harm */
            patch->below = target->top;
            target->top = ghost;
            return PATAS_ERR_NO_MEMORY;
        }
        release_code(target, patch);
        give_record(*index);
        return PATAS_ERR_NO_MEMORY;
    }
    patch->flags = (uint8_t)((patch->flags & (PATAS__THUNK | PATAS__LIVED)) |
                             PATAS__PENDING);
    patch->below = target->top;
    patch->mark = ++book.marks;
    patch->generation = (patch->generation + 1) & PATAS__GENERATIONS;
    __atomic_store_n(&patch->target, target_index, __ATOMIC_RELEASE);
    count_use(replacement, true);
    target->top = *index;
    return PATAS_OK;
}

void patas__patch_free(uint32_t index)
{
    struct patas__patch *patch = patas__patch_get(index);
    struct patas__target *target = patas__target_get(patch->target);
    const unsigned keep = PATAS__THUNK | PATAS__LIVED;
    /* First of all, for patas_original() asks without the lock. */
    patch->generation = (patch->generation + 1) & PATAS__GENERATIONS;
    count_use(patas__patch_replacement(patch), false);
    if (patch->flags & PATAS__LIVED && target->state != PATAS__RETIRED &&
        (patch->stub || patch->flags & PATAS__THUNK)) {
        patch->flags = (uint8_t)((patch->flags & keep) | PATAS__GHOST);
        return;
    }
    unlink_patch(target, index);
    release_code(target, patch);
    give_record(index);
}

void patas__target_retire(uint32_t index)
{
    struct patas__target *target = patas__target_get(index);
    target->state = PATAS__RETIRED;
    for (uint32_t at = target->top, below; at; at = below) {
        struct patas__patch *patch = patas__patch_get(at);
        below = patch->below;
        if (!(patch->flags & PATAS__GHOST))
            continue;
        unlink_patch(target, at);
        release_code(target, patch);
        give_record(at);
    }
}

/* ---- stacks ----------------------------------------------------------------
 */

/* Oldest first: what is below is known before what is on top of it. */
static uintptr_t settle_from(const struct patas__target *target, uint32_t index)
{
    enum {
        PART = 64
    }; /* deeper stacks recur */
    uint32_t stack[PART], depth = 0;
    uintptr_t below = patas__target_base(target);
    for (uint32_t at = index; at && depth < PART;
         at = patas__patch_get(at)->below)
        stack[depth++] = at;
    if (depth == PART && patas__patch_get(stack[PART - 1])->below)
        below = settle_from(target, patas__patch_get(stack[PART - 1])->below);
    while (depth--) {
        const struct patas__patch *patch = patas__patch_get(stack[depth]);
        if (patch->stub)
            __atomic_store_n(stub_slot(patas__patch_original(patch)), below,
                             __ATOMIC_RELEASE);
        if ((patch->flags & (PATAS__ON | PATAS__LEAVING)) == PATAS__ON)
            below = patch->enter;
    }
    return below;
}

uintptr_t patas__stack_settle(uint32_t target_index)
{
    const struct patas__target *target = patas__target_get(target_index);
    return settle_from(target, target->top);
}

/* Are all patches of the target of one of these kinds? */
static bool all_are(uint32_t target_index, unsigned flags)
{
    for (uint32_t at = patas__target_get(target_index)->top; at;
         at = patas__patch_get(at)->below)
        if (!(patas__patch_get(at)->flags & flags))
            return false;
    return true;
}

bool patas__stack_empty(uint32_t target)
{
    return all_are(target, PATAS__PENDING | PATAS__GHOST | PATAS__LEAVING);
}

bool patas__stack_unused(uint32_t target)
{
    return all_are(target, PATAS__GHOST);
}

size_t patas__registry_bytes(void)
{
    return book.bytes + patas__targets.count * sizeof(struct patas__target) +
           patas__patches.count * sizeof(struct patas__patch);
}
