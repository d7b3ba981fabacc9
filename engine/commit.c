/* SPDX-License-Identifier: MIT */
/*
 * Bytes go live.
 *
 * Runs of edits share one mprotect each way. Where the system denies writable
 * code (PR_SET_MDWE, SELinux, a seccomp filter), /proc/self/mem writes an
 * aligned unit of 8 bytes by one store (mm/memory.c access_remote_vm copies
 * word by word); there is no compare-and-swap then.
 */
#include "commit.h"

enum {
    EDIT_PAGE = 4096,
    RUN_GAP = 64 * EDIT_PAGE,
    EDIT_DENIED = 13,
    EDIT_PERM = 1
};

enum method {
    METHOD_UNKNOWN,
    METHOD_PROTECT,
    METHOD_MEM,
    METHOD_NONE
};

static int write_method; /* enum method */

/* ---- one store -------------------------------------------------------------
 */

static void unit_merge(uint8_t *unit, const uint8_t *now, unsigned unit_size,
                       unsigned at, const uint8_t *bytes, unsigned size)
{
    memcpy(unit, now, unit_size);
    memcpy(unit + at, bytes, size);
}

/* lock cmpxchg / cmpxchg16b: atomic to data and, aligned, to instruction
 * fetch (docs/safety.md lists the processors that this was tried on). */
static bool swap8(uintptr_t unit, const uint8_t *old, const uint8_t *new)
{
    uint64_t expected = patas__load64(old);
    return __atomic_compare_exchange_n((uint64_t *)unit, &expected,
                                       patas__load64(new), false,
                                       __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
}

static bool swap16(uintptr_t unit, const uint8_t *old, const uint8_t *new)
{
    bool done;
    uint64_t low = patas__load64(old), high = patas__load64(old + 8);
    __asm__ volatile("lock cmpxchg16b %1"
                     : "=@ccz"(done), "+m"(*(uint8_t(*)[16])unit), "+a"(low),
                       "+d"(high)
                     : "b"(patas__load64(new)), "c"(patas__load64(new + 8))
                     : "memory");
    return done;
}

/* Replaces `from` by `to` if `check` bytes of `from` are there. */
static bool store_unit(uintptr_t address, const uint8_t *from,
                       const uint8_t *to, unsigned size, unsigned check)
{
    unsigned unit_size = address % 8 + size <= 8 ? 8 : 16;
    uintptr_t unit = address & ~(uintptr_t)(unit_size - 1);
    unsigned at = (unsigned)(address - unit);
    uint8_t now[16], next[16];
    for (;;) {
        memcpy(now, (const void *)unit, unit_size);
        if (memcmp(now + at, from, size) ||
            memcmp((const void *)address, from, check))
            return false;
        unit_merge(next, now, unit_size, at, to, size);
        if (unit_size == 8 ? swap8(unit, now, next) : swap16(unit, now, next))
            return true; /* else a neighbour in the unit changed: look again */
    }
}

static int store_by_mem(int fd, uintptr_t address, const uint8_t *from,
                        const uint8_t *to, unsigned size, bool *changed)
{
    uintptr_t unit = address & ~(uintptr_t)7;
    unsigned at = (unsigned)(address - unit);
    uint8_t next[8];
    *changed = memcmp((const void *)address, from, size) != 0;
    if (*changed)
        return 0;
    unit_merge(next, (const uint8_t *)unit, 8, at, to, size);
    return patas__os_mem_write(fd, unit, next, sizeof next);
}

/* ---- runs of pages ---------------------------------------------------------
 */

struct run {
    uintptr_t start, end; /* pages */
    int prot;             /* as found */
    size_t first, count;  /* edits */
};

static uintptr_t page_of(uintptr_t address)
{
    return address & ~(uintptr_t)(EDIT_PAGE - 1);
}

/* The edits from `first` on that one mprotect serves: in one mapping, with no
 * wide gap between. */
static int run_of(const struct patas__edit *edits, size_t count, size_t first,
                  struct patas__region *region, struct run *run)
{
    const struct patas__edit *edit = &edits[first];
    if (edit->address < region->start || edit->address >= region->end) {
        int err = patas__os_region(edit->address, region);
        if (err)
            return err;
    }
    run->first = first;
    run->count = 0;
    run->prot = region->prot;
    run->start = page_of(edit->address);
    for (size_t i = first; i < count; i++) {
        uintptr_t end =
            page_of(edits[i].address + edits[i].size - 1) + EDIT_PAGE;
        if (run->count && (edits[i].address > run->end + RUN_GAP ||
                           edits[i].data != edit->data))
            break;
        if (end > region->end && run->count)
            break;
        run->end = end;
        run->count++;
    }
    if (run->end > region->end)
        return 14; /* EFAULT: the edit crosses into another mapping */
    return 0;
}

static void commit_fail(patas_error *error, patas_status status,
                        unsigned reason, const struct patas__edit *edit,
                        int err)
{
    *error = (patas_error){
        .status = status,
        .os_errno = err,
        .target = edit->address,
        .address = edit->address,
        .reason = reason,
    };
}

static patas_status write_run(struct patas__edit *edits, const struct run *run,
                              bool forward, patas_error *error)
{
    for (size_t i = run->first; i < run->first + run->count; i++) {
        struct patas__edit *edit = &edits[i];
        if (edit->done == forward)
            continue;
        const uint8_t *from = forward ? edit->before : edit->after;
        const uint8_t *to = forward ? edit->after : edit->before;
        unsigned check = forward ? edit->check : edit->size;
        if (!store_unit(edit->address, from, to, edit->size, check)) {
            if (!forward)
                continue; /* somebody wrote on top of us meanwhile */
            commit_fail(error, PATAS_ERR_CHANGED, PATAS_REASON_FOREIGN_PATCH,
                        edit, 0);
            return PATAS_ERR_CHANGED;
        }
        edit->done = forward;
    }
    return PATAS_OK;
}

/* The protection as it was found. What fails for the whole run, for want of
 * memory, may do page by page. */
static void put_back(const struct run *run)
{
    if (!patas__os_protect((void *)run->start, run->end - run->start,
                           run->prot))
        return;
    for (uintptr_t page = run->start; page < run->end; page += EDIT_PAGE)
        (void)patas__os_protect((void *)page, EDIT_PAGE, run->prot);
}

static patas_status protect_and_write(struct patas__edit *edits,
                                      const struct run *run, bool forward,
                                      patas_error *error)
{
    size_t size = run->end - run->start;
    bool locked = !(run->prot & PATAS__WRITE);
    if (locked) {
        int err = patas__os_protect((void *)run->start, size,
                                    run->prot | PATAS__READ | PATAS__WRITE);
        if (err) {
            bool denied = err == EDIT_DENIED || err == EDIT_PERM;
            patas_status status = denied      ? PATAS_ERR_DENIED
                                  : err == 12 ? PATAS_ERR_NO_MEMORY
                                              : PATAS_ERR_OS;
            commit_fail(error, status, PATAS_REASON_NO_WRITE,
                        &edits[run->first], err);
            return status;
        }
    }
    patas_status status = write_run(edits, run, forward, error);
    if (locked)
        put_back(run);
    return status;
}

/* All edits of one phase, run by run. */
static patas_status by_protect(struct patas__edit *edits, size_t count,
                               bool forward, patas_error *error)
{
    struct patas__region region = {0};
    for (size_t i = 0; i < count;) {
        struct run run = {0};
        int err = run_of(edits, count, i, &region, &run);
        if (err) {
            commit_fail(error, PATAS_ERR_OS, PATAS_REASON_PROTECTION, &edits[i],
                        err);
            return PATAS_ERR_OS;
        }
        patas_status status = protect_and_write(edits, &run, forward, error);
        if (status != PATAS_OK)
            return status;
        i += run.count;
    }
    return PATAS_OK;
}

static patas_status by_mem(struct patas__edit *edits, size_t count,
                           bool forward, patas_error *error)
{
    int fd, err = patas__os_mem_open(&fd);
    if (err) {
        commit_fail(error, PATAS_ERR_DENIED, PATAS_REASON_NO_WRITE, &edits[0],
                    err);
        return PATAS_ERR_DENIED;
    }
    patas_status status = PATAS_OK;
    for (size_t i = 0; i < count && status == PATAS_OK; i++) {
        struct patas__edit *edit = &edits[i];
        bool changed;
        if (edit->done == forward)
            continue;
        err = store_by_mem(
            fd, edit->address, forward ? edit->before : edit->after,
            forward ? edit->after : edit->before, edit->size, &changed);
        if (err || (changed && forward)) {
            status = err ? PATAS_ERR_DENIED : PATAS_ERR_CHANGED;
            commit_fail(error, status,
                        err ? PATAS_REASON_NO_WRITE
                            : PATAS_REASON_FOREIGN_PATCH,
                        edit, err);
        } else if (!changed) {
            edit->done = forward;
        }
    }
    patas__os_close(fd);
    return status;
}

/* ---- the whole -------------------------------------------------------------
 */

unsigned patas__commit_unit(uintptr_t address)
{
    if (write_method == METHOD_UNKNOWN) {
        struct patas__region region;
        void *page = (void *)page_of(address);
        int fd;
        if (!patas__os_region(address, &region) &&
            (region.prot & PATAS__WRITE ||
             !patas__os_protect(page, EDIT_PAGE, region.prot | PATAS__WRITE))) {
            patas__os_protect(page, EDIT_PAGE, region.prot);
            write_method = METHOD_PROTECT;
        } else if (!patas__os_mem_open(&fd)) {
            patas__os_close(fd);
            write_method = METHOD_MEM;
        } else {
            return 0; /* not kept: /proc may be mounted later */
        }
    }
    return write_method == METHOD_PROTECT ? 16 : 8;
}

static int edits_order(const struct patas__edit *a, const struct patas__edit *b)
{
    return a->address < b->address ? -1 : a->address > b->address;
}

/* Heap sort: no memory, no worst case; most batches come sorted already. */
static void edits_sift(struct patas__edit *edits, size_t root, size_t end)
{
    for (;;) {
        size_t child = 2 * root + 1;
        if (child >= end)
            return;
        if (child + 1 < end &&
            edits_order(&edits[child], &edits[child + 1]) < 0)
            child++;
        if (edits_order(&edits[root], &edits[child]) >= 0)
            return;
        struct patas__edit moved = edits[root];
        edits[root] = edits[child];
        edits[child] = moved;
        root = child;
    }
}

static void edits_sort(struct patas__edit *edits, size_t count)
{
    size_t i = 1;
    while (i < count && edits_order(&edits[i - 1], &edits[i]) <= 0)
        i++;
    if (i >= count)
        return;
    for (size_t root = count / 2; root-- > 0;)
        edits_sift(edits, root, count);
    for (size_t end = count; end-- > 1;) {
        struct patas__edit moved = edits[0];
        edits[0] = edits[end];
        edits[end] = moved;
        edits_sift(edits, 0, end);
    }
}

static bool mem_can(const struct patas__edit *edits, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (edits[i].address % 8 + edits[i].size > 8)
            return false;
    return true;
}

static patas_status write_all(struct patas__edit *edits, size_t count,
                              bool forward, patas_error *error)
{
    if (write_method == METHOD_MEM)
        return by_mem(edits, count, forward, error);
    patas_status status = by_protect(edits, count, forward, error);
    /* On the way back whatever works is right. */
    bool other = status == PATAS_ERR_DENIED || (status != PATAS_OK && !forward);
    if (!other || !mem_can(edits, count))
        return status;
    /* Denied since it was asked last, or for this mapping alone. */
    write_method = METHOD_UNKNOWN;
    return by_mem(edits, count, forward, error);
}

static patas_status sync_or_fail(struct patas__edit *edits, patas_error *error)
{
    int err = patas__os_sync_cores();
    if (!err)
        return PATAS_OK;
    commit_fail(error, PATAS_ERR_DENIED, PATAS_REASON_NO_MEMBARRIER, &edits[0],
                err);
    return PATAS_ERR_DENIED;
}

patas_status patas__commit(struct patas__edit *edits, size_t count,
                           patas_error *error)
{
    patas_error ignored;
    if (!count)
        return PATAS_OK;
    edits_sort(edits, count);
    for (size_t i = 0; i < count; i++)
        edits[i].done = false;
    patas_status status = write_all(edits, count, true, error);
    if (status == PATAS_OK)
        status = sync_or_fail(edits, error);
    if (status == PATAS_OK)
        return PATAS_OK;
    write_all(edits, count, false, &ignored);
    patas__os_sync_cores();
    return status;
}
