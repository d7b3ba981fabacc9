/* SPDX-License-Identifier: MIT */
/*
 * One target, from address to island: which form it takes, and its record. The
 * stages in between are in prepare_target.c, prepare_survey.c, prepare_gap.c
 * and prepare_build.c.
 */
#include "commit.h"
#include "describe.h"
#include "prepare_parts.h"
#include "trap.h"

/* ---- the form --------------------------------------------------------------
 */

/*
 * Islands at one address only cost a page each. A function that is patched by
 * itself may have one, so that few patches are free of traps; a batch of many
 * stays small.
 */
static size_t budget_for(const struct patas__request *request, bool unlimited)
{
    enum {
        FEW = 256,
        MANY = 8,
        MANY_PER = 4096
    };
    if (unlimited)
        return SIZE_MAX;
    return request->nth ? MANY + patas__target_count() / MANY_PER : FEW;
}

static unsigned try_form(struct patas__request *request, patas_form form,
                         struct patas__module *module, uint32_t module_index,
                         bool unlimited, bool dry, struct patas__target *target)
{
    uint64_t trouble = 0;
    unsigned unit = patas__commit_unit(request->entry);
    if (!unit)
        return PATAS_REASON_NO_WRITE;
    unsigned reason = patas__plan_form(&request->survey, form, request->flags,
                                       unit, &request->plan, &trouble);
    if (reason) {
        request->in_the_way = (uintptr_t)trouble;
        return reason;
    }
    /* Most windows are free of others as a whole. */
    if (request->neighbour &&
        patas__target_overlap(request->entry,
                              request->plan.at + request->plan.owned)) {
        request->in_the_way = request->neighbour;
        return PATAS_REASON_TAKEN;
    }
    request->gap = 0;
    if (form == PATAS_FORM_SHORT_JUMP) {
        request->gap = (uintptr_t)patas__gap_find(request, module);
        if (!request->gap)
            return PATAS_REASON_NO_PADDING;
        request->plan.reach.origin = request->gap + JUMP;
    }
    reason =
        patas__island_stub(&request->plan.reach, budget_for(request, unlimited),
                           dry, &request->stub);
    if (reason)
        return reason;
    if (dry) {
        struct patas__move move;
        uintptr_t head;
        reason = patas__build_head(request, true, &move, &head);
        /* The search for the head may have passed by where the stub was. */
        patas__island_free(request->stub, 0);
        request->moved = reason ? 0 : (unsigned)move.moved;
        request->in_the_way = reason ? (uintptr_t)move.trouble : 0;
        return reason;
    }
    reason = patas__build(request, module_index, target);
    if (reason)
        patas__island_free(request->stub, patas__isa_host()->stub);
    return reason;
}

/* What to tell when every form was passed by. */
static patas_status all_passed(const struct patas__request *request,
                               patas_error *error)
{
    /* The last that is no mere "not allowed" tells most. */
    static const uint8_t order[] = {
        PATAS_FORM_TRAP_BYTES, PATAS_FORM_SHORT_JUMP, PATAS_FORM_KEPT_BYTES,
        PATAS_FORM_PERMANENT_TRAP, PATAS_FORM_ONE_INSTRUCTION};
    bool traps = patas__isa_host()->forms >> PATAS_FORM_TRAP_BYTES & 1;
    unsigned reason = request->passed_by[traps ? PATAS_FORM_TRAP_BYTES
                                               : PATAS_FORM_ONE_INSTRUCTION];
    for (unsigned i = 0; i < sizeof order; i++) {
        unsigned this = request->passed_by[order[i]];
        if (this == PATAS_REASON_CANNOT_MOVE ||
            this == PATAS_REASON_OUT_OF_REACH ||
            this == PATAS_REASON_SHADOW_STACK)
            return refuse(error, PATAS_ERR_CANNOT_MOVE, this, request->asked,
                          request->in_the_way);
        if (this == PATAS_REASON_NO_WRITE)
            return refuse(error, PATAS_ERR_DENIED, this, request->asked,
                          request->entry);
        if (this == PATAS_REASON_TAKEN)
            return refuse(error, PATAS_ERR_NO_ROOM, this, request->asked,
                          request->in_the_way);
    }
    patas_status status = reason == PATAS_REASON_NO_ADDRESS
                              ? PATAS_ERR_NO_MEMORY
                              : PATAS_ERR_NO_ROOM;
    return refuse(error, status, reason, request->asked, request->in_the_way);
}

/* Where one target stands on its way through the forms. */
struct choice {
    struct patas__module *module;
    uint32_t module_index;
    bool dry;
    struct patas__target *target; /* NULL when dry */
};

static bool fits(struct patas__request *request, const struct choice *choice,
                 patas_form form, bool unlimited)
{
    if (!(patas__isa_host()->forms >> form & 1))
        return false;
    uintptr_t before = request->in_the_way;
    request->in_the_way = 0;
    unsigned reason =
        try_form(request, form, choice->module, choice->module_index, unlimited,
                 choice->dry, choice->target);
    request->passed_by[form] = (uint8_t)reason;
    if (!request->in_the_way)
        request->in_the_way = before;
    return !reason;
}

static bool any_fits(struct patas__request *request,
                     const struct choice *choice)
{
    memset(request->passed_by, 0, sizeof request->passed_by);
    request->in_the_way = 0;
    return fits(request, choice, PATAS_FORM_ONE_INSTRUCTION, false) ||
           fits(request, choice, PATAS_FORM_KEPT_BYTES, false) ||
           fits(request, choice, PATAS_FORM_TRAP_BYTES, false) ||
           fits(request, choice, PATAS_FORM_SHORT_JUMP, false);
}

static patas_status choose(struct patas__request *request,
                           const struct choice *choice, patas_error *error)
{
    request->neighbour =
        patas__target_overlap(request->entry, request->survey.at + JUMP);
    if (any_fits(request, choice))
        return PATAS_OK;
    /* Rather a mapping too many than no patch, or a trap at each call. */
    if (request->passed_by[PATAS_FORM_KEPT_BYTES] == PATAS_REASON_BUDGET &&
        fits(request, choice, PATAS_FORM_KEPT_BYTES, true))
        return PATAS_OK;
    if (fits(request, choice, PATAS_FORM_PERMANENT_TRAP, false))
        return PATAS_OK;
    request->plan.form = PATAS_FORM_NONE;
    return all_passed(request, error);
}

/* ---- the record ------------------------------------------------------------
 */

static patas_status check_known(const struct patas__request *request,
                                const struct patas__target *target,
                                patas_error *error)
{
    bool traps =
        target->form == PATAS_FORM_TRAP_BYTES ||
        target->form == PATAS_FORM_PERMANENT_TRAP ||
        (target->form == PATAS_FORM_SHORT_JUMP && target->carry[0] != 0xff);
    if (traps && request->flags & PATAS_STRICT)
        return refuse(error, PATAS_ERR_NO_ROOM, PATAS_REASON_STRICT,
                      request->asked, target->entry);
    if (target->form == PATAS_FORM_PERMANENT_TRAP &&
        !(request->flags & PATAS_ALLOW_TRAP))
        return refuse(error, PATAS_ERR_NO_ROOM, PATAS_REASON_TRAP_NOT_ALLOWED,
                      request->asked, target->entry);
    return PATAS_OK;
}

static patas_status new_target(struct patas__request *request,
                               struct patas__module *module,
                               uint32_t module_index, uint32_t *index,
                               patas_error *error)
{
    *index = patas__target_new();
    if (!*index)
        return refuse(error, PATAS_ERR_NO_MEMORY, PATAS_REASON_NONE,
                      request->asked, 0);
    struct patas__target *target = patas__target_get(*index);
    struct choice choice = {module, module_index, false, target};
    patas_status status = choose(request, &choice, error);
    if (status == PATAS_OK && request->gap) {
        status = patas__gap_write(request, error);
        target->after = (uint8_t)(request->gap - (request->entry + 2));
    }
    if (status == PATAS_OK && target->form == PATAS_FORM_PERMANENT_TRAP)
        target->after = patas__trap_first();
    if (status == PATAS_OK && !patas__target_publish(*index))
        status = refuse(error, PATAS_ERR_NO_MEMORY, PATAS_REASON_NONE,
                        request->asked, 0);
    if (status != PATAS_OK)
        patas__target_forget(*index);
    return status;
}

/* Is the function's beginning what the record and its head were made of? The
 * head may hold more of it than the record does. */
static bool same_beginning(const struct patas__target *target)
{
    struct patas__remade now;
    const size_t owned = target->owned;
    return patas__describe_move(target, &now) &&
           now.move.size >= target->at + owned &&
           !memcmp(now.bytes + target->at, target->before, owned);
}

/*
 * The record of an entry, unless the code there is another by now: memory of a
 * just-in-time compiler that was used again, a foreign hook, what was a data
 * slot before. A record that nobody uses is retired then, and made anew.
 */
static uint32_t still_known(uintptr_t entry)
{
    uint32_t index = patas__target_find(entry);
    struct patas__target *target = patas__target_get(index);
    if (!index || !patas__stack_unused(index))
        return index;
    if (target->form != PATAS_FORM_SLOT &&
        (target->state == PATAS__INSTALLED || same_beginning(target)))
        return index;
    patas__target_retire(index);
    return 0;
}

uint32_t patas__prepare_known(const struct patas__request *request)
{
    return still_known(request->entry);
}

patas_status patas__prepare(struct patas__request *request, bool dry,
                            uint32_t *target, patas_error *error)
{
    uint32_t module_index;
    enum {
        MANY = 64
    };
    /* A small batch would leave most of a fresh unit empty. */
    patas__island_mode(request->nth > MANY);
    request->extent = request->padding = 0;
    struct patas__module *module =
        patas__module_at(request->entry, &module_index);
    patas_status status = patas__prepare_target(request, module, error);
    if (status != PATAS_OK)
        return status;
    *target = still_known(request->entry);
    if (*target && patas__target_get(*target)->form == PATAS_FORM_SLOT)
        return refuse(error, PATAS_ERR_ARGUMENT, PATAS_REASON_TAKEN,
                      request->asked, request->entry);
    if (*target && !dry)
        return check_known(request, patas__target_get(*target), error);
    status = patas__prepare_extent(request, module, dry, error);
    if (status == PATAS_OK)
        status = patas__prepare_survey(request, module, error);
    if (status != PATAS_OK)
        return status;
    if (dry)
        return choose(
            request, &(struct choice){module, module_index, true, NULL}, error);
    return new_target(request, module, module_index, target, error);
}

patas_status patas__prepare_without_trap(uint32_t index, patas_error *error)
{
    struct patas__target *target = patas__target_get(index);
    struct patas__request request = {
        .asked = target->entry, .entry = target->entry, .flags = PATAS_STRICT};
    uint32_t module_index;
    uint64_t trouble;
    uintptr_t *slot;
    struct patas__module *module =
        patas__module_at(target->entry, &module_index);
    patas_status status = patas__prepare_extent(&request, module, false, error);
    if (status == PATAS_OK)
        status = patas__prepare_survey(&request, module, error);
    if (status != PATAS_OK)
        return status;
    if (patas__target_overlap(target->entry, request.survey.at + JUMP))
        return refuse(error, PATAS_ERR_BLOCKED, PATAS_REASON_TAKEN,
                      target->entry, 0);
    unsigned reason = patas__plan_form(
        &request.survey, PATAS_FORM_KEPT_BYTES, PATAS_STRICT,
        patas__commit_unit(target->entry), &request.plan, &trouble);
    if (!reason)
        reason = patas__island_stub(&request.plan.reach, SIZE_MAX, false,
                                    &request.stub);
    if (reason || patas__island_slot(request.stub, &slot))
        return refuse(error, PATAS_ERR_BLOCKED,
                      reason ? reason : PATAS_REASON_NO_ADDRESS, target->entry,
                      0);
    /* The head moves more than it need; it is right for this form, too. */
    *slot = patas__target_head(target);
    patas__build_place(target, request.stub, slot);
    target->form = PATAS_FORM_KEPT_BYTES;
    target->written = request.plan.written & 0xfu;
    target->owned = request.plan.owned;
    /* Nothing of this form traps: what does is the program's own. */
    memset(target->carry, 0xff, sizeof target->carry);
    if (patas__build_stub(target))
        return refuse(error, PATAS_ERR_DENIED, PATAS_REASON_NO_WRITE,
                      target->entry, request.stub);
    return PATAS_OK;
}

patas_status patas__prepare_slot(uintptr_t slot, uint32_t *index,
                                 patas_error *error)
{
    struct patas__region region;
    if (!slot || slot % sizeof(uintptr_t))
        return refuse(error, PATAS_ERR_ARGUMENT,
                      slot ? PATAS_REASON_ALIGNMENT : PATAS_REASON_NULL, slot,
                      slot);
    int err = patas__os_region(slot, &region);
    if (err == 2 || (!err && !(region.prot & PATAS__READ)))
        return refuse(error, PATAS_ERR_ARGUMENT, PATAS_REASON_UNMAPPED, slot,
                      slot);
    if (!err && region.shared)
        return refuse(error, PATAS_ERR_UNSUPPORTED, PATAS_REASON_SHARED_FILE,
                      slot, slot);
    *index = patas__target_find(slot);
    struct patas__target *target = patas__target_get(*index);
    if (*index && target->form != PATAS_FORM_SLOT)
        return refuse(error, PATAS_ERR_ARGUMENT, PATAS_REASON_TAKEN, slot,
                      slot);
    if (*index) {
        if (patas__stack_unused(*index)) { /* the program may have changed it */
            target->old = *(const uintptr_t *)slot;
            target->state = PATAS__READY;
        }
        return PATAS_OK;
    }
    *index = patas__target_new();
    if (!*index)
        return refuse(error, PATAS_ERR_NO_MEMORY, PATAS_REASON_NONE, slot, 0);
    target = patas__target_get(*index);
    uint32_t module = 0;
    (void)patas__module_at(slot, &module);
    target->entry = slot;
    target->module = (uint16_t)module;
    target->form = PATAS_FORM_SLOT;
    target->old = *(const uintptr_t *)slot;
    target->owned = target->written = 0;
    if (patas__target_publish(*index))
        return PATAS_OK;
    patas__target_forget(*index);
    return refuse(error, PATAS_ERR_NO_MEMORY, PATAS_REASON_NONE, slot, 0);
}
