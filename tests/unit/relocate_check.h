/* SPDX-License-Identifier: MIT */
/*
 * Reads moved code back and holds it against the original: every instruction
 * is there, in order, and names what it named. Needs no execution, so it takes
 * any head of any function; what rebuilt code does is for tests/exec to see.
 */
#ifndef PATAS_RELOCATE_CHECK_H
#define PATAS_RELOCATE_CHECK_H

#include <string.h>

#include "isa.h"

struct relocate_check {
    const struct patas__isa *isa;
    const struct patas__move *move;
    const char *wrong; /* a promise that was broken, or NULL */
    uint64_t mask;
};

static bool relocate_check_fail(struct relocate_check *check, const char *why)
{
    if (!check->wrong)
        check->wrong = why;
    return false;
}

/* The moved code's instruction at `offset`. */
static bool relocate_check_decode(struct relocate_check *check, size_t offset,
                                  struct patas__insn *insn)
{
    const struct patas__move *move = check->move;

    if (offset >= move->code_size ||
        !check->isa->decode(move->code + offset, move->code_size - offset,
                            (move->to + offset) & check->mask, insn))
        return relocate_check_fail(check, "moved code decodes");
    return true;
}

/* The 8 bytes at `address`, if they are a literal of the moved code. */
static bool relocate_check_literal(const struct relocate_check *check,
                                   uint64_t address, uint64_t *value)
{
    uint64_t offset = address - check->move->to;

    if (offset > check->move->code_size || check->move->code_size - offset < 8)
        return false;
    *value = patas__load64(check->move->code + offset);
    return true;
}

/* Where a jump at `offset` goes in one step, directly or by a literal. */
static bool relocate_check_jump(struct relocate_check *check, size_t offset,
                                uint64_t *goal)
{
    struct patas__insn insn;

    if (!relocate_check_decode(check, offset, &insn))
        return false;
    if (insn.flow == PATAS__FLOW_JUMP && insn.has_target) {
        *goal = insn.target;
        return true;
    }
    if (insn.flow == PATAS__FLOW_JUMP && insn.has_operand &&
        relocate_check_literal(check, insn.operand, goal))
        return true;
    return relocate_check_fail(check, "a rebuilt branch ends in a jump");
}

/* Where the original's branch to `target` should go now. */
static uint64_t relocate_check_goal(const struct relocate_check *check,
                                    uint64_t target, bool call)
{
    const struct patas__move *move = check->move;
    uint64_t k = (target - move->from) & check->mask;

    if (k < move->moved && move->map[k] != 0xff && !(call && k == 0))
        return (move->to + move->map[k]) & check->mask;
    return target;
}

static bool relocate_check_jump_to(struct relocate_check *check, size_t offset,
                                   uint64_t want)
{
    uint64_t goal;

    if (!relocate_check_jump(check, offset, &goal))
        return false;
    if (goal != want)
        return relocate_check_fail(check, "a branch goes where it went");
    return true;
}

/* jcc, loop*, jrcxz, xbegin: itself re-aimed, or around a jump. */
static bool relocate_check_branch(struct relocate_check *check,
                                  const struct patas__insn *insn, size_t offset,
                                  size_t next)
{
    uint64_t want = relocate_check_goal(check, insn->target, false);
    uint64_t here = check->move->to;
    struct patas__insn copy;
    size_t after;

    if (!relocate_check_decode(check, offset, &copy))
        return false;
    after = offset + copy.length;
    if (copy.flow != PATAS__FLOW_BRANCH || !copy.has_target)
        return relocate_check_fail(check, "a branch stays one");
    if (copy.target == want && after == next)
        return true;
    if (copy.target == ((here + next) & check->mask)) /* inverted, over it */
        return relocate_check_jump_to(check, after, want);
    /* Taken: behind a jump to the next. */
    return relocate_check_jump_to(check, after, (here + next) & check->mask) &&
           relocate_check_jump_to(
               check, (size_t)((copy.target - here) & check->mask), want);
}

/* The first instruction pushes the return address, where it can be told. */
static bool relocate_check_call(struct relocate_check *check,
                                const struct patas__insn *insn, size_t offset)
{
    const uint8_t *code = check->move->code + offset;
    uint64_t want = (insn->address + insn->length) & check->mask, got = want;
    struct patas__insn push;

    /* call 1f; int3; 1: lea 8(%rsp), %rsp, so that returns are predicted */
    if (code[0] == 0xe8) {
        size_t size = check->isa->pointer_size == 8 ? 11 : 10;

        if (memcmp(code, "\xe8\1\0\0\0\xcc", 6) || code[size - 2] != 0x24)
            return relocate_check_fail(check, "a call comes to nothing");
        code += size;
        offset += size;
    }
    if (!relocate_check_decode(check, offset, &push))
        return false;
    if (code[0] == 0x68)
        got = (uint64_t)(int32_t)patas__load32(code + 1) & check->mask;
    else if (code[0] == 0xff && code[1] == 0x35 &&
             !relocate_check_literal(check, push.operand, &got))
        return relocate_check_fail(check, "a call pushes a literal");
    if (got != want)
        return relocate_check_fail(check, "a call pushes the return address");
    if (!insn->has_target)
        return true;
    return relocate_check_jump_to(
        check, offset + push.length,
        relocate_check_goal(check, insn->target, true));
}

/* Copied, with another distance in it to the same operand; or rebuilt, with
 * the operand's address as a constant. */
static bool relocate_check_operand(struct relocate_check *check,
                                   const struct patas__insn *insn,
                                   const uint8_t *bytes, size_t offset,
                                   size_t next)
{
    const uint8_t *code = check->move->code;
    struct patas__insn copy;

    if (!relocate_check_decode(check, offset, &copy))
        return false;
    if (copy.has_operand) {
        if (copy.length != insn->length || copy.operand != insn->operand)
            return relocate_check_fail(check, "an operand stays the same");
        for (size_t i = 0; i < insn->length; i++)
            if ((i < insn->rel_at || i >= insn->rel_at + 4u) &&
                code[offset + i] != bytes[i])
                return relocate_check_fail(check, "only the distance changes");
        return true;
    }
    for (size_t i = offset; i + 2 <= next; i++)
        if ((i + 8 <= next && patas__load64(code + i) == insn->operand) ||
            (i + 4 <= next &&
             patas__load32(code + i) == (uint32_t)insn->operand) ||
            patas__load16(code + i) == (uint16_t)insn->operand)
            return true;
    return relocate_check_fail(check, "rebuilt code holds the address");
}

static bool relocate_check_insn(struct relocate_check *check,
                                const struct patas__insn *insn,
                                const uint8_t *bytes, size_t offset,
                                size_t next)
{
    if (insn->flow == PATAS__FLOW_CALL)
        return relocate_check_call(check, insn, offset);
    if (insn->has_target && insn->flow == PATAS__FLOW_JUMP)
        return relocate_check_jump_to(
            check, offset, relocate_check_goal(check, insn->target, false));
    if (insn->has_target)
        return relocate_check_branch(check, insn, offset, next);
    if (insn->has_operand)
        return relocate_check_operand(check, insn, bytes, offset, next);
    if (memcmp(check->move->code + offset, bytes, insn->length))
        return relocate_check_fail(check, "the rest is copied");
    return true;
}

/* Is the jump back at `at`, with nothing but literals after it? */
static bool relocate_check_back(const struct relocate_check *check, size_t at)
{
    const struct patas__move *move = check->move;
    struct relocate_check silent = *check;
    struct patas__insn insn;

    return relocate_check_jump_to(&silent, at,
                                  (move->from + move->moved) & check->mask) &&
           relocate_check_decode(&silent, at, &insn) &&
           (move->code_size - at - insn.length) % 8 == 0;
}

/* The last instruction, at `offset`: a jump back follows it unless it never
 * gets there. What precedes the jump may look like a prefix of it, so the
 * search is from the end; and a literal may look like a jump, so it goes on. */
static bool relocate_check_last(struct relocate_check *check,
                                const struct patas__insn *last,
                                const uint8_t *bytes, size_t offset)
{
    const struct patas__move *move = check->move;
    struct relocate_check found = *check;

    if (last->flow == PATAS__FLOW_JUMP || last->flow == PATAS__FLOW_CALL ||
        last->flow == PATAS__FLOW_RETURN)
        return relocate_check_insn(check, last, bytes, offset, move->code_size);
    for (size_t at = move->code_size - 1; at > offset; at--) {
        if (!relocate_check_back(check, at))
            continue;
        found = *check;
        if (relocate_check_insn(&found, last, bytes, offset, at))
            return true;
    }
    *check = found;
    return relocate_check_fail(check, "it ends by a jump back");
}

/* What is wrong with the result of a move, as the promise that it breaks; NULL
 * if nothing is. */
static const char *relocate_check(const struct patas__isa *isa,
                                  const struct patas__move *move)
{
    struct relocate_check check = {
        isa, move, NULL, isa->pointer_size == 8 ? UINT64_MAX : UINT32_MAX};
    struct patas__insn insn = {0};
    size_t k, offset = 0;

    if (move->code_size > PATAS__HEAD_MAX || move->moved > move->size ||
        move->moved < move->want || move->map[0] != 0)
        return "sizes fit";
    for (k = 0; k < move->moved; k += insn.length) {
        size_t next = k;

        if (!isa->decode(move->bytes + k, move->size - k,
                         (move->from + k) & check.mask, &insn))
            return "the original decodes";
        offset = move->map[k];
        for (next = k + 1; next < k + insn.length; next++)
            if (next < sizeof move->map && move->map[next] != 0xff)
                return "the map names boundaries only";
        if (offset >= move->code_size)
            return "the map rises";
        if (next >= move->moved) {
            if (!relocate_check_last(&check, &insn, move->bytes + k, offset))
                return check.wrong;
            continue;
        }
        next = move->map[next];
        if (offset >= next || next > move->code_size)
            return "the map rises";
        if (!relocate_check_insn(&check, &insn, move->bytes + k, offset, next))
            return check.wrong;
    }
    if (k != move->moved)
        return "whole instructions are moved";
    for (; k < sizeof move->map; k++)
        if (move->map[k] != 0xff)
            return "the map ends with what was moved";
    return NULL;
}

#endif
