/* SPDX-License-Identifier: MIT */
/*
 * The order in which a batch goes live, and back where it can't.
 *
 *     publish   islands become executable; the trap handler is there
 *     hold      threads that block the trap signals, if traps are to be planted
 *     write     commit.c: the entries, all or none
 *     redirect  the slots: from here on calls reach the replacements
 *
 * Until the last step every new entry leads to its own head, so a batch that
 * is undone was never seen by any caller.
 */
#include "batch.h"

#include "commit.h"
#include "island.h"
#include "prepare.h"
#include "trap.h"

enum {
    FEW = 16
};

static struct patas__commit_stats stats;

struct patas__commit_stats patas__members_stats(void)
{
    return stats;
}

/* ---- edits -----------------------------------------------------------------
 */

/* The pointer that a data slot holds now, kept where a function's record has
 * its first bytes. */
static uintptr_t slot_current(const struct patas__target *target)
{
    return target->state == PATAS__INSTALLED
               ? (uintptr_t)patas__load64(target->current)
               : target->old;
}

static void slot_edit(struct patas__edit *edit, uint32_t index, uintptr_t value)
{
    const struct patas__target *target = patas__target_get(index);
    *edit = (struct patas__edit){.address = target->entry,
                                 .target = index,
                                 .size = sizeof(uintptr_t),
                                 .check = sizeof(uintptr_t),
                                 .data = true};
    patas__store64(edit->before, slot_current(target));
    patas__store64(edit->after, value);
}

static void code_edit(struct patas__edit *edit, uint32_t index, bool install)
{
    const struct patas__target *target = patas__target_get(index);
    uint8_t before[8], after[8];
    patas__target_bytes(target, before, after);
    edit->address = target->entry + target->at;
    edit->target = index;
    edit->size = target->written;
    edit->data = edit->done = false;
    /* Kept bytes are part of the jump: they must be there, too. A jump of
     * somebody else may begin with the very byte that ours does. */
    edit->check = target->owned;
    memcpy(edit->before, install ? before : after, 8);
    memcpy(edit->after, install ? after : before, 8);
}

/* Does installing this target plant a byte that traps mid-window? */
static bool plants_trap(const struct patas__target *target)
{
    for (unsigned i = 0; i < sizeof target->carry; i++)
        if (target->carry[i] != 0xff &&
            (target->form == PATAS_FORM_TRAP_BYTES ||
             target->form == PATAS_FORM_SHORT_JUMP))
            return true;
    return target->form == PATAS_FORM_PERMANENT_TRAP;
}

struct work {
    struct patas__member *members;
    size_t count;
    struct patas__edit *edits;
    size_t edit_count;
    bool traps; /* some edit plants one */
};

/* Marks the members as if all were done, so that each target's state tells
 * what it needs. */
static void mark_members(const struct work *work)
{
    for (size_t i = 0; i < work->count; i++) {
        struct patas__patch *patch = patas__patch_get(work->members[i].patch);
        work->members[i].before = (uint8_t)patch->flags;
        if (work->members[i].restore)
            patch->flags |= PATAS__LEAVING;
        else
            patch->flags = (uint8_t)((patch->flags & ~PATAS__PENDING) |
                                     PATAS__ON | PATAS__LIVED);
    }
}

/* Backwards: a patch that was named twice gets its first flags again. */
static void unmark_members(const struct work *work)
{
    for (size_t i = work->count; i-- > 0;)
        patas__patch_get(work->members[i].patch)->flags =
            work->members[i].before;
}

static void collect_code(struct work *work, uint32_t index,
                         struct patas__target *target)
{
    bool install = !patas__stack_empty(index);
    if ((target->state == PATAS__INSTALLED) == install)
        return;
    code_edit(&work->edits[work->edit_count++], index, install);
    target->state = install ? PATAS__INSTALLED : PATAS__READY;
    if (target->module)
        patas__module_get(target->module)->patched = true;
    work->traps |= install && plants_trap(target);
}

static void collect_slot(struct work *work, uint32_t index,
                         struct patas__target *target)
{
    uintptr_t value = patas__stack_settle(index);
    if (value != slot_current(target))
        slot_edit(&work->edits[work->edit_count++], index, value);
}

/* One edit for each target whose entry must change. A target whose second
 * member comes along has its state already. */
static void collect(struct work *work)
{
    work->edit_count = 0;
    work->traps = false;
    for (size_t i = 0; i < work->count; i++) {
        uint32_t index = patas__patch_get(work->members[i].patch)->target;
        struct patas__target *target = patas__target_get(index);
        if (target->form != PATAS_FORM_SLOT) {
            collect_code(work, index, target);
            continue;
        }
        bool twice = false;
        for (size_t k = 0; k < work->edit_count && !twice; k++)
            twice =
                work->edits[k].data && work->edits[k].address == target->entry;
        if (!twice)
            collect_slot(work, index, target);
    }
}

/* Targets go back to the state that they had before collect(). */
static void uncollect(struct work *work)
{
    for (size_t i = 0; i < work->edit_count; i++) {
        uint32_t index = work->edits[i].target;
        struct patas__target *target = patas__target_get(index);
        if (!work->edits[i].data)
            target->state = target->state == PATAS__INSTALLED
                                ? PATAS__READY
                                : PATAS__INSTALLED;
    }
    work->edit_count = 0;
}

/* ---- going live ------------------------------------------------------------
 */

static patas_status arm_traps(patas_error *error)
{
    int err = patas__trap_arm();
    if (!err) {
        stats.armed = true;
        return PATAS_OK;
    }
    *error = (patas_error){.status = PATAS_ERR_DENIED,
                           .reason = PATAS_REASON_NO_TRAP_HANDLER,
                           .os_errno = err};
    return PATAS_ERR_DENIED;
}

static patas_status write_held(struct work *work, patas_error *error)
{
    struct patas__hold hold = {0};
    patas_status status = PATAS_OK;
    if (work->traps) {
        status = arm_traps(error);
        if (status == PATAS_OK)
            status = patas__trap_hold(&hold, patas__registry_carry, error);
        if (status != PATAS_OK)
            return status;
        stats.threads_held += hold.held;
        stats.threads_moved += hold.moved;
    }
    status = patas__commit(work->edits, work->edit_count, error);
    if (work->traps)
        patas__trap_release(&hold);
    return status;
}

/* A thread blocks the traps and can't be held: forms without traps instead,
 * for all targets that are new in this batch. */
static patas_status plan_without_traps(struct work *work, patas_error *error)
{
    patas_error blocked = *error, ignored;
    for (size_t i = 0; i < work->edit_count; i++) {
        if (work->edits[i].data)
            continue;
        uint32_t index = work->edits[i].target;
        struct patas__target *target = patas__target_get(index);
        if (target->state != PATAS__INSTALLED || !plants_trap(target))
            continue;
        if (target->seen_live ||
            patas__prepare_without_trap(index, &ignored) != PATAS_OK) {
            *error = blocked;
            error->target = target->entry;
            return blocked.status;
        }
        code_edit(&work->edits[i], index, true);
    }
    work->traps = false;
    return PATAS_OK;
}

static patas_status publish(patas_error *error)
{
    int err = patas__island_publish();
    if (!err)
        return PATAS_OK;
    *error = (patas_error){.status = PATAS_ERR_DENIED,
                           .reason = PATAS_REASON_NO_WRITE,
                           .os_errno = err};
    return PATAS_ERR_DENIED;
}

static patas_status go_live(struct work *work, patas_error *error)
{
    patas_status status = publish(error);
    if (status != PATAS_OK)
        return status;
    if (!work->edit_count)
        return PATAS_OK;
    status = write_held(work, error);
    if (status == PATAS_ERR_BLOCKED) {
        status = plan_without_traps(work, error);
        if (status == PATAS_OK)
            status = publish(error);
        if (status == PATAS_OK)
            status = write_held(work, error);
    }
    if (status == PATAS_OK)
        stats.commits++;
    return status;
}

static void note_slots(const struct work *work)
{
    for (size_t i = 0; i < work->edit_count; i++) {
        struct patas__target *target = patas__target_get(work->edits[i].target);
        if (!work->edits[i].data) {
            target->seen_live = true;
            continue;
        }
        memcpy(target->current, work->edits[i].after, sizeof(uintptr_t));
        target->state = PATAS__INSTALLED;
    }
}

static void redirect_all(const struct work *work)
{
    for (size_t i = 0; i < work->count; i++) {
        uint32_t index = patas__patch_get(work->members[i].patch)->target;
        struct patas__target *target = patas__target_get(index);
        if (target->form != PATAS_FORM_SLOT)
            __atomic_store_n(patas__target_slot(target),
                             patas__stack_settle(index), __ATOMIC_RELEASE);
    }
}

static patas_status check_members(const struct work *work, patas_error *error)
{
    for (size_t i = 0; i < work->count; i++) {
        const struct patas__patch *patch =
            patas__patch_get(work->members[i].patch);
        bool stale =
            patch->generation != work->members[i].generation || !patch->target;
        bool unloaded =
            !stale && patas__target_get(patch->target)->state == PATAS__RETIRED;
        if (!stale && !unloaded)
            continue;
        *error = (patas_error){
            .status = stale ? PATAS_ERR_STALE : PATAS_ERR_UNLOADED,
            .reason = stale ? PATAS_REASON_RESTORED : PATAS_REASON_NONE};
        return error->status;
    }
    return PATAS_OK;
}

static patas_status work_run(struct work *work, patas_error *error)
{
    patas_status status = check_members(work, error);
    if (status != PATAS_OK)
        return status;
    mark_members(work);
    collect(work);
    status = go_live(work, error);
    if (status != PATAS_OK) {
        uncollect(work);
        unmark_members(work);
        /* Stubs of data slots were settled ahead of their edit. */
        for (size_t i = 0; i < work->count; i++)
            (void)patas__stack_settle(
                patas__patch_get(work->members[i].patch)->target);
        return status;
    }
    note_slots(work);
    redirect_all(work);
    for (size_t i = 0; i < work->count; i++)
        if (work->members[i].restore &&
            patas__patch_get(work->members[i].patch)->generation ==
                work->members[i].generation) /* not named twice */
            patas__patch_free(work->members[i].patch);
    return PATAS_OK;
}

patas_status patas__members_commit(struct patas__member *members, size_t count,
                                   patas_error *error)
{
    struct patas__edit few[FEW];
    struct work work = {.members = members, .count = count, .edits = few};
    void *memory = NULL;
    size_t size = count * sizeof *work.edits;
    if (count > FEW) {
        if (patas__os_map(size, PATAS__READ | PATAS__WRITE | PATAS__SOON,
                          &memory)) {
            *error = (patas_error){.status = PATAS_ERR_NO_MEMORY};
            return PATAS_ERR_NO_MEMORY;
        }
        work.edits = memory;
    }
    patas_status status = work_run(&work, error);
    if (memory)
        patas__os_unmap(memory, size);
    return status;
}

patas_status patas__target_redirect(uint32_t index, patas_error *error)
{
    struct patas__target *target = patas__target_get(index);
    uintptr_t value = patas__stack_settle(index);
    if (target->form != PATAS_FORM_SLOT) {
        __atomic_store_n(patas__target_slot(target), value, __ATOMIC_RELEASE);
        return PATAS_OK;
    }
    struct patas__edit edit;
    if (value == slot_current(target))
        return PATAS_OK;
    slot_edit(&edit, index, value);
    patas_status status = patas__commit(&edit, 1, error);
    if (status == PATAS_OK)
        patas__store64(target->current, value);
    return status;
}
