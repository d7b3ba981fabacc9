/* SPDX-License-Identifier: MIT */
/*
 * Which form a patch takes, and why not another (plan.h draws them).
 */
#include "plan.h"

#include "trap.h"

/* ---- the first bytes ------------------------------------------------------
 */

static const uint32_t inner = 0x1e; /* entry + 1 .. entry + 4 */

static bool contains_rseq_signature(const struct patas__survey *survey)
{
    enum {
        RSEQ_SIGNATURE = 0x53053053
    }; /* kernel: tools/testing, glibc */
    for (unsigned i = 0; i + 4 <= survey->size && i < 8; i++)
        if (patas__load32(survey->bytes + i) == RSEQ_SIGNATURE)
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
        survey->plain &= !insn->rel_size && insn->flow != PATAS__FLOW_CALL &&
                         insn->flow != PATAS__FLOW_JUMP;
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

/* Filler right behind a function whose length only the code tells. NOPs may be
 * the beginning of the next one; nothing begins with int3. */
static unsigned filler_after(const struct patas__survey *survey, unsigned at)
{
    enum {
        INT3 = 0xcc
    };
    unsigned from = at;
    while (at < survey->size && survey->bytes[at] == INT3)
        at++;
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
    unsigned at = 0, furthest = 0;
    bool ended = false;
    uint64_t stop = body ? body : survey->size;
    survey->first = survey->cover = 0;
    survey->starts = survey->returns = survey->crosses = 0;
    survey->plain = true;
    *trouble = survey->entry;
    while (at < survey->size && at < 16 && at < stop) {
        struct patas__insn insn;
        if (!isa->decode(survey->bytes + at, survey->size - at,
                         survey->entry + at, &insn)) {
            if (survey->cover >= PATAS__JUMP)
                break; /* data behind the window; no business of ours */
            *trouble = survey->entry + at;
            return survey->size - at < isa->max_insn
                       ? PATAS_REASON_TRUNCATED
                       : PATAS_REASON_INVALID_CODE;
        }
        if (survey->bytes[at] == 0xcc && at < PATAS__JUMP) {
            *trouble = survey->entry + at;
            return PATAS_REASON_BREAKPOINT;
        }
        survey->starts |= 1u << at;
        bool covered = survey->cover < PATAS__JUMP;
        if (covered)
            survey->cover = (uint8_t)(at + insn.length);
        note_flow(survey, &insn, at);
        at += insn.length;
        if (!survey->first)
            survey->first = (uint8_t)at;
        ended = patas__insn_ends(&insn);
        if (insn.has_target && insn.target - survey->entry < survey->size &&
            insn.target - survey->entry > furthest)
            furthest = (unsigned)(insn.target - survey->entry);
        if (!body && ended && furthest < at) {
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

/* Do `size` bytes from the entry lie in one unit that is written at once? */
static bool in_unit(const struct patas__survey *survey, unsigned size,
                    unsigned unit)
{
    return survey->entry % unit + size <= unit;
}

static uint64_t lowest(const struct patas__survey *survey, uint32_t bits)
{
    return survey->entry + (uint64_t)__builtin_ctz(bits);
}

static unsigned plan_one(const struct patas__survey *survey, unsigned unit,
                         struct patas__plan *plan, uint64_t *trouble)
{
    if (survey->first < PATAS__JUMP)
        return PATAS_REASON_FIRST_TOO_SHORT;
    if (survey->enters & inner) {
        *trouble = lowest(survey, survey->enters & inner);
        return PATAS_REASON_BRANCH_IN;
    }
    if (!in_unit(survey, PATAS__JUMP, unit))
        return PATAS_REASON_UNIT;
    plan->written = PATAS__JUMP;
    plan->want = survey->first;
    return PATAS_REASON_NONE;
}

/*
 * The first instruction, or as much of it as nobody enters and as one unit
 * holds. What is not written is the rest of the displacement.
 */
static unsigned plan_kept(const struct patas__survey *survey, unsigned unit,
                          struct patas__plan *plan)
{
    if (survey->size < PATAS__JUMP)
        return PATAS_REASON_TRUNCATED;
    uint32_t enters = survey->enters | survey->crosses;
    unsigned written = survey->first < 4 ? survey->first : 4;
    while (written > 1 &&
           (enters & ((1u << written) - 2) || !in_unit(survey, written, unit)))
        written--;
    for (unsigned i = 0; i < 4; i++)
        if (i + 1 >= written) {
            plan->reach.kind[i] = PATAS__BYTE_FIXED;
            plan->reach.value[i] = survey->bytes[i + 1];
        }
    plan->written = (uint8_t)written;
    plan->want = survey->first;
    return PATAS_REASON_NONE;
}

static unsigned plan_trap(const struct patas__survey *survey, unsigned flags,
                          unsigned unit, struct patas__plan *plan,
                          uint64_t *trouble)
{
    if (flags & PATAS_STRICT)
        return PATAS_REASON_STRICT;
    if (survey->room < PATAS__JUMP)
        return PATAS_REASON_TOO_SHORT;
    if (survey->enters & inner) {
        *trouble = lowest(survey, survey->enters & inner);
        return PATAS_REASON_BRANCH_IN;
    }
    if (survey->returns & inner) {
        *trouble = lowest(survey, survey->returns & inner);
        return PATAS_REASON_RETURN_IN;
    }
    if (!in_unit(survey, PATAS__JUMP, unit))
        return PATAS_REASON_UNIT;
    for (unsigned i = 0; i < 4; i++)
        if (survey->starts >> (i + 1) & 1)
            plan->reach.kind[i] = PATAS__BYTE_TRAP;
    plan->written = PATAS__JUMP;
    plan->want = survey->cover;
    return PATAS_REASON_NONE;
}

static unsigned plan_short(const struct patas__survey *survey, unsigned flags,
                           unsigned unit, struct patas__plan *plan,
                           uint64_t *trouble)
{
    enum {
        SECOND = 2
    }; /* bit of entry + 1 */
    if (survey->room < 2)
        return PATAS_REASON_TOO_SHORT;
    if ((survey->enters | survey->crosses) & SECOND) {
        *trouble = survey->entry + 1;
        return PATAS_REASON_BRANCH_IN;
    }
    if (survey->returns & SECOND) {
        *trouble = survey->entry + 1;
        return PATAS_REASON_RETURN_IN;
    }
    if (survey->starts & SECOND && flags & PATAS_STRICT)
        return PATAS_REASON_STRICT;
    if (!in_unit(survey, 2, unit))
        return PATAS_REASON_UNIT;
    plan->written = plan->owned = 2;
    plan->want = survey->first == 1 && survey->cover > 1 ? 2 : survey->first;
    return PATAS_REASON_NONE;
}

static unsigned plan_permanent(const struct patas__survey *survey,
                               unsigned flags, struct patas__plan *plan)
{
    if (flags & PATAS_STRICT)
        return PATAS_REASON_STRICT;
    if (!(flags & PATAS_ALLOW_TRAP))
        return PATAS_REASON_TRAP_NOT_ALLOWED;
    plan->written = plan->owned = 1;
    plan->want = survey->first;
    return PATAS_REASON_NONE;
}

unsigned patas__plan_form(const struct patas__survey *survey, patas_form form,
                          unsigned flags, unsigned unit,
                          struct patas__plan *plan, uint64_t *trouble)
{
    *trouble = survey->entry;
    *plan = (struct patas__plan){
        .form = form,
        .owned = PATAS__JUMP,
        .reach.origin = (uintptr_t)survey->entry + PATAS__JUMP,
    };
    switch (form) {
    case PATAS_FORM_ONE_INSTRUCTION:
        return plan_one(survey, unit, plan, trouble);
    case PATAS_FORM_KEPT_BYTES:
        return plan_kept(survey, unit, plan);
    case PATAS_FORM_TRAP_BYTES:
        return plan_trap(survey, flags, unit, plan, trouble);
    case PATAS_FORM_SHORT_JUMP:
        return plan_short(survey, flags, unit, plan, trouble);
    case PATAS_FORM_PERMANENT_TRAP:
        return plan_permanent(survey, flags, plan);
    case PATAS_FORM_NONE:
    case PATAS_FORM_SLOT:
    case PATAS_FORM_COUNT:
        break;
    }
    return PATAS_REASON_LIMIT;
}

unsigned patas__plan_bytes(const struct patas__plan *plan,
                           const struct patas__survey *survey, uint64_t stub,
                           uint64_t gap, uint8_t bytes[8])
{
    unsigned count;
    memcpy(bytes, survey->bytes, 8);
    switch (plan->form) {
    case PATAS_FORM_SHORT_JUMP:
        bytes[0] = 0xeb; /* jmp rel8 */
        bytes[1] = (uint8_t)(gap - (survey->entry + 2));
        return 2;
    case PATAS_FORM_PERMANENT_TRAP:
        bytes[0] = patas__trap_bytes(&count)[0];
        return 1;
    default:
        bytes[0] = 0xe9; /* jmp rel32 */
        patas__store32(bytes + 1,
                       (uint32_t)(stub - (survey->entry + PATAS__JUMP)));
        return PATAS__JUMP;
    }
}
