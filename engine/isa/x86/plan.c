/* SPDX-License-Identifier: MIT */
/*
 * The forms of a patch on x86, and why not another (plan.h draws them).
 */
#include "plan.h"
#include "x86.h"

enum {
    PLAN_JUMP = PATAS__X86_JUMP
};

static const uint32_t plan_inner = 0x1e; /* entry + 1 .. entry + 4 */

/* Do `size` bytes from the entry lie in one unit that is written at once? */
static bool plan_in_unit(const struct patas__survey *survey, unsigned size,
                         unsigned unit)
{
    return survey->entry % unit + size <= unit;
}

static uint64_t plan_lowest(const struct patas__survey *survey, uint32_t bits)
{
    return survey->entry + (uint64_t)__builtin_ctz(bits);
}

static unsigned plan_one(const struct patas__survey *survey, unsigned unit,
                         struct patas__plan *plan, uint64_t *trouble)
{
    if (survey->first < PLAN_JUMP)
        return PATAS_REASON_FIRST_TOO_SHORT;
    if (survey->enters & plan_inner) {
        *trouble = plan_lowest(survey, survey->enters & plan_inner);
        return PATAS_REASON_BRANCH_IN;
    }
    if (!plan_in_unit(survey, PLAN_JUMP, unit))
        return PATAS_REASON_UNIT;
    plan->written = PLAN_JUMP;
    plan->want = survey->first;
    return PATAS_REASON_NONE;
}

/*
 * A head that comes back between the bytes of a jump comes back to where the
 * processor has learnt that a jump ends: it predicts one, decodes none, and
 * starts over. That was 12 ns for each call of an original on an Intel Xeon
 * (Emerald Rapids), and nothing on AMD's. So it covers the jump, unless that
 * takes moving what could tell the difference and need not be moved here: a
 * call, a system call, or one of the x87 unit's, which keeps the address of the
 * last one for whoever asks (SDM volume 1, 8.1.8; opcodes d8 to df).
 */
static unsigned plan_past(const struct patas__survey *survey)
{
    uint32_t covered = (2u << survey->cover) - 1;
    if (survey->returns & covered)
        return survey->first;
    for (unsigned k = survey->first; k < survey->cover; k++)
        if (survey->starts >> k & 1 && (survey->bytes[k] & 0xf8) == 0xd8)
            return survey->first;
    return survey->cover;
}

/*
 * The first instruction, or as much of it as nobody enters and as one unit
 * holds. What is not written is the rest of the displacement.
 */
static unsigned plan_kept(const struct patas__survey *survey, unsigned unit,
                          struct patas__plan *plan)
{
    if (survey->size < PLAN_JUMP)
        return PATAS_REASON_TRUNCATED;
    uint32_t enters = survey->enters | survey->crosses;
    unsigned written = survey->first < 4 ? survey->first : 4;
    while (written > 1 && (enters & ((1u << written) - 2) ||
                           !plan_in_unit(survey, written, unit)))
        written--;
    for (unsigned i = 0; i < 4; i++)
        if (i + 1 >= written) {
            plan->reach.kind[i] = PATAS__BYTE_FIXED;
            plan->reach.value[i] = survey->bytes[i + 1];
        }
    plan->written = (uint8_t)written;
    plan->want = survey->first;
    plan->past = (uint8_t)plan_past(survey);
    return PATAS_REASON_NONE;
}

static unsigned plan_trap(const struct patas__survey *survey, unsigned flags,
                          unsigned unit, struct patas__plan *plan,
                          uint64_t *trouble)
{
    if (flags & PATAS_STRICT)
        return PATAS_REASON_STRICT;
    if (survey->room < PLAN_JUMP)
        return PATAS_REASON_TOO_SHORT;
    if (survey->enters & plan_inner) {
        *trouble = plan_lowest(survey, survey->enters & plan_inner);
        return PATAS_REASON_BRANCH_IN;
    }
    if (survey->returns & plan_inner) {
        *trouble = plan_lowest(survey, survey->returns & plan_inner);
        return PATAS_REASON_RETURN_IN;
    }
    if (!plan_in_unit(survey, PLAN_JUMP, unit))
        return PATAS_REASON_UNIT;
    for (unsigned i = 0; i < 4; i++)
        if (survey->starts >> (i + 1) & 1)
            plan->reach.kind[i] = PATAS__BYTE_TRAP;
    plan->written = PLAN_JUMP;
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
    if (!plan_in_unit(survey, 2, unit))
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

unsigned patas__x86_plan(const struct patas__survey *survey, unsigned flags,
                         unsigned unit, struct patas__plan *plan,
                         uint64_t *trouble)
{
    plan->owned = PLAN_JUMP;
    plan->reach.origin = (uintptr_t)survey->entry + PLAN_JUMP;
    switch (plan->form) {
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

unsigned patas__x86_form_bytes(unsigned form, uint64_t at, uint64_t to,
                               uint8_t trap, uint8_t bytes[8])
{
    switch (form) {
    case PATAS_FORM_SHORT_JUMP:
        bytes[0] = 0xeb; /* jmp rel8 */
        bytes[1] = (uint8_t)(to - (at + 2));
        return 2;
    case PATAS_FORM_PERMANENT_TRAP:
        bytes[0] = trap;
        return 1;
    default:
        patas__x86_put_jump(bytes, at, to);
        return PLAN_JUMP;
    }
}
