/* SPDX-License-Identifier: MIT */
/*
 * Reads moved A64 code back and holds it against the original: every
 * instruction is there, in order, and names what it named. It takes any head
 * of any function; what rebuilt code does is for tests/exec to see.
 */
#ifndef PATAS_RELOCATE_CHECK_AARCH64_H
#define PATAS_RELOCATE_CHECK_AARCH64_H

#include <string.h>

#include "isa.h"
#include "isa/aarch64/aarch64.h"

struct a64_check {
    const struct patas__move *move;
    const char *wrong; /* a promise that was broken, or NULL */
    size_t at;         /* what was read of the code */
    size_t end;        /* where the next instruction's part begins */
};

static bool a64_check_fail(struct a64_check *check, const char *why)
{
    if (!check->wrong)
        check->wrong = why;
    return false;
}

static uint32_t a64_check_word(const struct a64_check *check, size_t at)
{
    return at + 4 <= check->move->code_size
               ? patas__load32(check->move->code + at)
               : 0;
}

static bool a64_check_decode(const struct a64_check *check, size_t at,
                             struct patas__insn *insn)
{
    return at + 4 <= check->move->code_size &&
           patas__isa_aarch64.decode(check->move->code + at, 4,
                                     check->move->to + at, insn);
}

/* Reads what gives register `rd` a constant. */
static bool a64_check_constant(struct a64_check *check, unsigned rd,
                               uint64_t *value)
{
    bool found = false;
    struct patas__insn insn;

    for (;; check->at += 4, found = true) {
        uint32_t word = a64_check_word(check, check->at);
        unsigned shift = word >> 21 & 3;
        uint64_t part = (uint64_t)(word >> 5 & 0xffff) << 16 * shift;

        if (check->at >= check->end || (word & 31) != rd ||
            !a64_check_decode(check, check->at, &insn))
            return found;
        if (!found && (insn.encoding == PATAS__A64_ADR ||
                       insn.encoding == PATAS__A64_ADRP))
            *value = insn.operand;
        else if (found && word >> 22 == 0x91000000 >> 22 &&
                 (word >> 5 & 31) == rd)
            *value += word >> 10 & 0xfff;
        else if (!found && word >> 23 == 0xd2800000 >> 23)
            *value = part;
        else if (!found && word >> 23 == 0x92800000 >> 23)
            *value = ~part;
        else if (found && word >> 23 == 0xf2800000 >> 23)
            *value = (*value & ~((uint64_t)0xffff << 16 * shift)) | part;
        else
            return found;
    }
}

/* Where the original's branch to `target` should go now. */
static uint64_t a64_check_goal(const struct a64_check *check, uint64_t target,
                               bool call)
{
    const struct patas__move *move = check->move;
    uint64_t k = target - move->from;

    return k < move->moved && !(call && k == 0) ? move->to + move->map[k]
                                                : target;
}

/* Reads a jump: direct, or by x17 where that may be lost. */
static bool a64_check_jump(struct a64_check *check, uint64_t want)
{
    struct patas__insn insn;
    uint64_t goal = 0;

    if (!a64_check_decode(check, check->at, &insn))
        return a64_check_fail(check, "a jump decodes");
    if (insn.encoding == PATAS__A64_B) {
        goal = insn.target;
        check->at += 4;
    } else if (check->move->lose_ip && !check->move->shadow_stack &&
               a64_check_constant(check, 17, &goal) &&
               a64_check_word(check, check->at) == 0xd65f0220) {
        check->at += 4; /* ret x17 */
    } else {
        return a64_check_fail(check, "a jump is direct, or by x17");
    }
    return goal == want || a64_check_fail(check, "a jump goes where it went");
}

/* All but the distance. */
static uint32_t a64_check_rest(uint32_t word, unsigned form)
{
    return word & ~(form == PATAS__A64_TBZ  ? 0x0007ffe0u
                    : form == PATAS__A64_CB ? 0x00003fe0u
                                            : 0x00ffffe0u);
}

static bool a64_check_always(uint32_t word, unsigned form)
{
    return form == PATAS__A64_B_COND && (word & 14) == 14;
}

/* Itself re-aimed; its opposite, around a jump; or itself, around a jump
 * around a jump. */
static bool a64_check_branch(struct a64_check *check,
                             const struct patas__insn *insn, uint32_t word)
{
    uint64_t want = a64_check_goal(check, insn->target, false);
    unsigned form = insn->encoding;
    uint32_t invert = form == PATAS__A64_B_COND ? 1 : 1u << 24;
    struct patas__insn copy, over;
    uint32_t got = a64_check_word(check, check->at);

    if (!a64_check_decode(check, check->at, &copy))
        return a64_check_fail(check, "a branch decodes");
    if (copy.encoding != form)
        return (a64_check_always(word, form) && a64_check_jump(check, want)) ||
               a64_check_fail(check, "a branch stays one");
    check->at += 4;
    if (a64_check_rest(got ^ word, form) == 0 && copy.target == want)
        return true;
    if (a64_check_rest(got ^ word, form) == 0) {
        if (copy.target != check->move->to + check->at + 4 ||
            !a64_check_decode(check, check->at, &over) ||
            over.encoding != PATAS__A64_B)
            return a64_check_fail(check, "a branch around a jump");
        check->at += 4;
        copy.target = over.target;
    } else if (a64_check_rest(got ^ word, form) != invert ||
               a64_check_always(word, form)) {
        return a64_check_fail(check, "a branch's opposite");
    }
    return a64_check_jump(check, want) &&
           (copy.target == check->move->to + check->at ||
            a64_check_fail(check, "a branch around a jump arrives behind it"));
}

static bool a64_check_call(struct a64_check *check,
                           const struct patas__insn *insn, uint32_t word)
{
    uint64_t back;

    if (check->move->shadow_stack)
        return a64_check_fail(check, "no call under a shadow stack");
    if (!a64_check_constant(check, 30, &back) || back != insn->address + 4)
        return a64_check_fail(check, "a call returns to the original");
    if (insn->has_target)
        return a64_check_jump(check, a64_check_goal(check, insn->target, true));
    if (a64_check_word(check, check->at) != (word & ~0x00200000u) ||
        (word >> 5 & 31) == 30)
        return a64_check_fail(check, "a call by pointer is a jump");
    check->at += 4;
    return true;
}

static bool a64_check_literal(struct a64_check *check,
                              const struct patas__insn *insn, uint32_t word)
{
    static const uint32_t loads[] = {0xb94, 0xf94, 0xb98, 0xf98,
                                     0xbd4, 0xfd4, 0x3dc};
    unsigned kind = word >> 30 | (word >> 26 & 1) << 2, base = word & 31;
    bool pushed = a64_check_word(check, check->at) == 0xf81f0ff0;
    struct patas__insn copy;
    uint64_t value;

    if (a64_check_decode(check, check->at, &copy) &&
        copy.encoding == PATAS__A64_LITERAL) {
        uint32_t got = a64_check_word(check, check->at);
        check->at += 4;
        return (a64_check_rest(got ^ word, PATAS__A64_LITERAL) == 0 &&
                copy.operand == insn->operand) ||
               a64_check_fail(check, "a literal stays the same");
    }
    if (kind >= 3 || base == 31)
        base = pushed ? 16 : 17;
    if (base == 17 && base != (word & 31) && !check->move->lose_ip)
        return a64_check_fail(check, "x17 is lost only where it may be");
    check->at += pushed ? 4 : 0;
    if (!a64_check_constant(check, base, &value) || value != insn->operand)
        return a64_check_fail(check, "a load has the literal's address");
    if (a64_check_word(check, check->at) !=
        (loads[kind] << 20 | base << 5 | (word & 31)))
        return a64_check_fail(check, "a load is of the same kind");
    check->at += 4;
    if (pushed && a64_check_word(check, check->at) != 0xf84107f0)
        return a64_check_fail(check, "x16 is put back");
    check->at += pushed ? 4 : 0;
    return true;
}

static bool a64_check_insn(struct a64_check *check,
                           const struct patas__insn *insn, uint32_t word)
{
    uint64_t value;

    switch ((enum patas__a64_form)insn->encoding) {
    case PATAS__A64_B:
        return a64_check_jump(check,
                              a64_check_goal(check, insn->target, false));
    case PATAS__A64_B_COND:
    case PATAS__A64_CBZ:
    case PATAS__A64_TBZ:
    case PATAS__A64_CB:
        return a64_check_branch(check, insn, word);
    case PATAS__A64_BL:
    case PATAS__A64_BLR:
        return a64_check_call(check, insn, word);
    case PATAS__A64_LITERAL:
        return a64_check_literal(check, insn, word);
    case PATAS__A64_ADR:
    case PATAS__A64_ADRP:
        if ((word & 31) != 31)
            return (a64_check_constant(check, word & 31, &value) &&
                    value == insn->operand) ||
                   a64_check_fail(check, "an address stays the same");
        word = 0xd503201f;
        break;
    case PATAS__A64_ANYWHERE:
        break;
    case PATAS__A64_FIXED:
        return a64_check_fail(check, "some can't be moved");
    }
    if (a64_check_word(check, check->at) != word)
        return a64_check_fail(check, "the rest is copied");
    check->at += 4;
    return true;
}

/* What is wrong with the result of a move, as the promise that it breaks; NULL
 * if nothing is. */
static const char *a64_check(const struct patas__move *move)
{
    struct a64_check check = {move, NULL, 0, 0};
    struct patas__insn insn = {0};

    if (move->code_size > PATAS__HEAD_MAX || move->moved > move->size ||
        move->moved < move->want || move->moved % 4)
        return "sizes fit";
    for (size_t k = 0; k < sizeof move->map; k++)
        if ((move->map[k] == 0xff) != (k % 4 != 0 || k >= move->moved))
            return "the map names the moved instructions";
    for (size_t k = 0; k < move->moved; k += 4) {
        if (!patas__isa_aarch64.decode(move->bytes + k, move->size - k,
                                       move->from + k, &insn))
            return "the original decodes";
        if (move->map[k] != check.at)
            return "the map tells where an instruction begins";
        check.end = k + 4 < move->moved ? move->map[k + 4] : move->code_size;
        if (!a64_check_insn(&check, &insn, patas__load32(move->bytes + k)))
            return check.wrong;
    }
    if (insn.flow != PATAS__FLOW_JUMP && insn.flow != PATAS__FLOW_CALL &&
        insn.flow != PATAS__FLOW_RETURN &&
        !a64_check_jump(&check, move->from + move->moved))
        return check.wrong;
    return check.at == move->code_size ? NULL : "nothing is behind the end";
}

#endif
