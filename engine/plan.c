/* SPDX-License-Identifier: MIT */
/*
 * What is known of a function's first bytes, and which form a patch takes there
 * (plan.h draws them).
 */
#include "plan.h"

#include "trap.h"

/* ---- the first bytes ------------------------------------------------------
 */

static bool contains_rseq_signature(const struct patas__survey *survey)
{
    for (unsigned i = 0; i + 4 <= survey->size && i < 8; i += survey->isa->step)
        if (patas__load32(survey->bytes + i) == survey->isa->rseq_signature)
            return true;
    return false;
}

static void note_flow(struct patas__survey *survey,
                      const struct patas__insn *insn, unsigned at)
{
    unsigned next = at + insn->length;
    if (insn->flow == PATAS__FLOW_CALL && next < 32)
        survey->returns |= 1u << next;
    if (insn->flow == PATAS__FLOW_SYSCALL) {
        /* The kernel restarts a call by backing the PC up to it. */
        if (next < 32)
            survey->returns |= 1u << next;
        survey->returns |= at ? 1u << at : 0;
    }
    bool covered = at < survey->cover;
    if (covered)
        survey->plain &= !insn->rel_size && insn->flow == PATAS__FLOW_NEXT;
    if (!insn->has_target || insn->flow == PATAS__FLOW_CALL ||
        insn->target - survey->entry >= 32)
        return;
    /* A loop back into the window, from within it or just behind it. */
    uint32_t bit = 1u << (insn->target - survey->entry);
    if (!covered)
        survey->enters |= bit;
    else if (at)
        survey->crosses |= bit;
}

static bool is_breakpoint(const struct patas__survey *survey, unsigned at)
{
    return ((patas__load32(survey->bytes + at) ^ survey->isa->breakpoint) &
            survey->isa->breakpoint_mask) == 0;
}

/* Filler right behind a function whose length only the code tells. NOPs may be
 * the beginning of the next one; nothing begins with a breakpoint. */
static unsigned filler_after(const struct patas__survey *survey, unsigned at)
{
    unsigned from = at;
    while (at + 4u <= sizeof survey->bytes && at < survey->size &&
           is_breakpoint(survey, at))
        at += survey->isa->step;
    return at - from;
}

bool patas__insn_ends(const struct patas__insn *insn)
{
    return insn->flow == PATAS__FLOW_JUMP || insn->flow == PATAS__FLOW_RETURN ||
           insn->flow == PATAS__FLOW_STOP;
}

unsigned patas__survey(const struct patas__isa *isa,
                       struct patas__survey *survey, uint64_t body,
                       uint64_t padding, uint64_t *trouble)
{
    unsigned window = isa->jump;
    unsigned at = 0, furthest = 0;
    bool ended = false;
    uint64_t stop = body ? body : survey->size;
    survey->isa = isa;
    survey->at = survey->first = survey->cover = 0;
    survey->starts = survey->returns = survey->crosses = 0;
    survey->plain = true;
    *trouble = survey->entry;
    while (at < survey->size && at < PATAS__SURVEYED && at < stop &&
           (body < PATAS__SURVEYED || survey->cover < window)) {
        struct patas__insn insn;
        if (!isa->decode(survey->bytes + at, survey->size - at,
                         survey->entry + at, &insn)) {
            if (survey->cover >= window)
                break; /* data behind the window; no business of ours */
            *trouble = survey->entry + at;
            return survey->size - at < isa->max_insn
                       ? PATAS_REASON_TRUNCATED
                       : PATAS_REASON_INVALID_CODE;
        }
        if (at < window && is_breakpoint(survey, at)) {
            *trouble = survey->entry + at;
            return PATAS_REASON_BREAKPOINT;
        }
        if (!at && survey->pads_stay && insn.landing_pad) {
            survey->at = insn.length;
            window += insn.length;
        }
        survey->starts |= 1u << at;
        bool covered = survey->cover < window;
        if (covered)
            survey->cover = (uint8_t)(at + insn.length);
        note_flow(survey, &insn, at);
        at += insn.length;
        if (!survey->first)
            survey->first = (uint8_t)at;
        ended = patas__insn_ends(&insn);
        if (body)
            continue;
        if (insn.has_target && insn.target - survey->entry < survey->size &&
            insn.target - survey->entry > furthest)
            furthest = (unsigned)(insn.target - survey->entry);
        if (ended && furthest < at) {
            stop = at;
            padding = filler_after(survey, at);
        }
    }
    if (at >= stop && !ended)
        padding = 0; /* it runs into what is behind */
    if (contains_rseq_signature(survey))
        return PATAS_REASON_RSEQ;
    uint64_t room = stop + padding;
    survey->room = (uint8_t)(room < survey->size ? room : survey->size);
    return PATAS_REASON_NONE;
}

/* ---- the forms -------------------------------------------------------------
 */

unsigned patas__plan_form(const struct patas__survey *survey, patas_form form,
                          unsigned flags, unsigned unit,
                          struct patas__plan *plan, uint64_t *trouble)
{
    *trouble = survey->entry;
    *plan = (struct patas__plan){.form = form, .at = survey->at};
    return survey->isa->plan(survey, flags, unit, plan, trouble);
}

unsigned patas__plan_bytes(const struct patas__plan *plan,
                           const struct patas__survey *survey, uint64_t stub,
                           uint64_t gap, uint8_t bytes[8])
{
    uint64_t to = plan->form == PATAS_FORM_SHORT_JUMP ? gap : stub;
    uint8_t trap = 0;
    if (plan->form == PATAS_FORM_PERMANENT_TRAP)
        trap = patas__trap_first();
    memcpy(bytes, survey->bytes, 8);
    return plan->at + survey->isa->form_bytes(plan->form,
                                              survey->entry + plan->at, to,
                                              trap, bytes + plan->at);
}
