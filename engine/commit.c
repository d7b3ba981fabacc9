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

#include "host.h"
#include "module.h"

enum {
    PUT_BACK_TRIES = 4,
    RUN_GAP = 256 * 1024, /* bytes */
    EDIT_DENIED = 13,
    EDIT_PERM = 1
};

enum method {
    METHOD_UNKNOWN,
    METHOD_PROTECT,
    METHOD_MEM,
    METHOD_NONE
};

static enum method write_method;

/* ---- one store -------------------------------------------------------------
 */

static void unit_merge(uint8_t *unit, const uint8_t *now, unsigned unit_size,
                       unsigned at, const uint8_t *bytes, unsigned size)
{
    memcpy(unit, now, unit_size);
    memcpy(unit + at, bytes, size);
}

/* Replaces `from` by `to` if `check` bytes of `from` are there. */
static bool store_unit(uintptr_t address, const uint8_t *from,
                       const uint8_t *to, unsigned size, unsigned check)
{
    unsigned unit_size = patas__unit_least;
    while (address % unit_size + size > unit_size)
        unit_size *= 2;
    uintptr_t unit = address & ~(uintptr_t)(unit_size - 1);
    unsigned at = (unsigned)(address - unit);
    uint8_t now[16], next[16];
    for (;;) {
        memcpy(now, (const void *)unit, unit_size);
        if (memcmp(now + at, from, size) ||
            memcmp((const void *)address, from, check))
            return false;
        unit_merge(next, now, unit_size, at, to, size);
        if (patas__unit_swap(unit, unit_size, now, next)) {
            patas__code_written(address, size);
            return true;
        } /* else a neighbour in the unit changed: look again */
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
    return address & ~(uintptr_t)(patas__os_page() - 1);
}

/* Code that its file says is made for landing pads is guarded by the loader;
 * of other code the system has to be asked. */
static int guard_of(uintptr_t address)
{
    uint32_t index;
    if (!patas__pads_stay())
        return 0;
    const struct patas__module *module = patas__module_at(address, &index);
    bool guarded = module ? module->image.guarded : patas__os_guarded(address);
    return guarded ? PATAS__GUARD : 0;
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
    run->prot = region->prot | guard_of(edit->address);
    run->start = page_of(edit->address);
    for (size_t i = first; i < count; i++) {
        uintptr_t end =
            page_of(edits[i].address + edits[i].size - 1) + patas__os_page();
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

static patas_status write_stores(struct patas__edit *edits, size_t count,
                                 bool forward, patas_error *error)
{
    for (size_t i = 0; i < count; i++) {
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

static patas_status not_writable(const struct patas__edit *edit, int err,
                                 patas_error *error)
{
    bool denied = err == EDIT_DENIED || err == EDIT_PERM;
    patas_status status = denied      ? PATAS_ERR_DENIED
                          : err == 12 ? PATAS_ERR_NO_MEMORY
                                      : PATAS_ERR_OS;
    commit_fail(error, status, PATAS_REASON_NO_WRITE, edit, err);
    return status;
}

/* It was like that before, so the system has no reason to refuse it; what can
 * be short is memory, for a moment. */
static void put_back(uintptr_t start, size_t size, int prot)
{
    for (unsigned tries = 0; tries < PUT_BACK_TRIES; tries++)
        if (!patas__os_protect((void *)start, size, prot))
            return;
}

/* The pages of all runs as they were found; `count` edits were opened. */
static void close_pages(const struct patas__edit *edits, size_t count)
{
    for (size_t i = 0; i < count; i += edits[i].run) {
        const struct patas__edit *last = &edits[i + edits[i].run - 1];
        uintptr_t start = page_of(edits[i].address);
        uintptr_t end =
            page_of(last->address + last->size - 1) + patas__os_page();
        if (!(edits[i].prot & PATAS__WRITE))
            put_back(start, end - start, (int)edits[i].prot);
    }
}

/* Makes the pages of all edits writable, before the first of them is written:
 * what is refused is refused in time, and nothing that was written needs a
 * system call to be taken back. */
static patas_status open_pages(struct patas__edit *edits, size_t count,
                               patas_error *error)
{
    struct patas__region region = {0};
    struct run run;
    for (size_t i = 0; i < count; i += run.count) {
        run = (struct run){0};
        int err = run_of(edits, count, i, &region, &run);
        if (err) {
            commit_fail(error, PATAS_ERR_OS, PATAS_REASON_PROTECTION, &edits[i],
                        err);
            close_pages(edits, i);
            return PATAS_ERR_OS;
        }
        edits[i].run = (uint32_t)run.count & 0x7ffffff;
        edits[i].prot = (uint32_t)run.prot & 0x1f;
        if (!(run.prot & PATAS__WRITE))
            err = patas__os_protect((void *)run.start, run.end - run.start,
                                    run.prot | PATAS__READ | PATAS__WRITE);
        if (err) {
            patas_status status = not_writable(&edits[i], err, error);
            close_pages(edits, i);
            return status;
        }
    }
    return PATAS_OK;
}

static patas_status write_mem(struct patas__edit *edits, size_t count, int fd,
                              bool forward, patas_error *error)
{
    for (size_t i = 0; i < count; i++) {
        struct patas__edit *edit = &edits[i];
        bool changed;
        if (edit->done == forward)
            continue;
        int err = store_by_mem(
            fd, edit->address, forward ? edit->before : edit->after,
            forward ? edit->after : edit->before, edit->size, &changed);
        if (err)
            return not_writable(edit, err, error);
        if (changed && forward) {
            commit_fail(error, PATAS_ERR_CHANGED, PATAS_REASON_FOREIGN_PATCH,
                        edit, 0);
            return PATAS_ERR_CHANGED;
        }
        edit->done = changed ? edit->done : forward;
    }
    return PATAS_OK;
}

/* ---- the whole -------------------------------------------------------------
 */

/* May pages be made writable? Asked of the one at `address`, once. */
static enum method find_method(uintptr_t address)
{
    struct patas__region region;
    uintptr_t page = page_of(address);
    int fd, err = patas__os_region(address, &region);
    if (!err && region.prot & PATAS__WRITE)
        return METHOD_PROTECT;
    if (!err)
        region.prot |= guard_of(address);
    if (!err)
        err = patas__os_protect((void *)page, patas__os_page(),
                                region.prot | PATAS__WRITE);
    if (!err) {
        put_back(page, patas__os_page(), region.prot);
        return METHOD_PROTECT;
    }
    /* No memory, say, is no answer for ever; nor is a /proc that may be mounted
     * later. */
    if ((err != EDIT_DENIED && err != EDIT_PERM) || patas__os_mem_open(&fd))
        return METHOD_UNKNOWN;
    patas__os_close(fd);
    return METHOD_MEM;
}

unsigned patas__commit_unit(uintptr_t address)
{
    if (write_method == METHOD_UNKNOWN)
        write_method = find_method(address);
    return write_method == METHOD_PROTECT ? patas__unit_most
           : write_method == METHOD_MEM   ? 8
                                          : 0;
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

static patas_status sync_or_fail(struct patas__edit *edits, patas_error *error)
{
    int err = patas__os_sync_cores();
    if (!err)
        return PATAS_OK;
    commit_fail(error, PATAS_ERR_DENIED, PATAS_REASON_NO_MEMBARRIER, &edits[0],
                err);
    return PATAS_ERR_DENIED;
}

/* Forward, and back again if that or the sync fails. `fd` < 0: the pages are
 * writable. */
static patas_status write_all(struct patas__edit *edits, size_t count, int fd,
                              patas_error *error)
{
    patas_error ignored;
    patas_status status = fd < 0 ? write_stores(edits, count, true, error)
                                 : write_mem(edits, count, fd, true, error);
    if (status == PATAS_OK)
        status = sync_or_fail(edits, error);
    if (status == PATAS_OK)
        return PATAS_OK;
    if (fd < 0)
        write_stores(edits, count, false, &ignored);
    else
        write_mem(edits, count, fd, false, &ignored);
    patas__os_sync_cores();
    return status;
}

static patas_status by_protect(struct patas__edit *edits, size_t count,
                               patas_error *error)
{
    patas_status status = open_pages(edits, count, error);
    if (status != PATAS_OK)
        return status;
    status = write_all(edits, count, -1, error);
    close_pages(edits, count);
    return status;
}

static patas_status by_mem(struct patas__edit *edits, size_t count,
                           patas_error *error)
{
    int fd, err = patas__os_mem_open(&fd);
    if (err) {
        commit_fail(error, PATAS_ERR_DENIED, PATAS_REASON_NO_WRITE, &edits[0],
                    err);
        return PATAS_ERR_DENIED;
    }
    patas_status status = write_all(edits, count, fd, error);
    patas__os_close(fd);
    return status;
}

patas_status patas__commit(struct patas__edit *edits, size_t count,
                           patas_error *error)
{
    if (!count)
        return PATAS_OK;
    edits_sort(edits, count);
    for (size_t i = 0; i < count; i++)
        edits[i].done = false;
    if (write_method == METHOD_MEM)
        return by_mem(edits, count, error);
    patas_status status = by_protect(edits, count, error);
    if (status != PATAS_ERR_DENIED || error->reason != PATAS_REASON_NO_WRITE ||
        !mem_can(edits, count))
        return status;
    /* Denied since it was asked last, or for this mapping alone. */
    write_method = METHOD_UNKNOWN;
    return by_mem(edits, count, error);
}
