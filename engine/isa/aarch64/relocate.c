/* SPDX-License-Identifier: MIT */
/*
 * Moving the first instructions of a function, A64: the same effect elsewhere.
 *
 *   from:  adrp x1, page              to:  adrp x1, page     re-aimed
 *          ldr  x0, literal                adrp x0, literal
 *          cbz  x2, goal                   add  x0, x0, :lo12:literal
 *          bl   f                          ldr  x0, [x0]
 *          ...                             cbnz x2, 1f
 *                                          b    goal
 *                                      1:  adr  x30, from+16
 *                                          b    f
 *
 * Whatever doesn't depend on where it stands is copied. What does is re-aimed
 * if its distance fits, else rebuilt. The literal itself is read, never a copy
 * of it: it may be written later. No flag is touched and no register but those
 * that the original writes; where one is needed to carry an address, that is
 *
 *   - the register that a load overwrites anyway; else
 *   - x16 or x17, if the caller says that they are dead at `from` and nothing
 *     that moves has to do with them. A linker may put a veneer that uses them
 *     before any function (AAPCS64 6.1.1, IP0 and IP1), so at the entry they
 *     hold nothing; else
 *   - for a load, x16 put on the stack meanwhile: below sp is nobody's
 *     (AAPCS64 6.4.5.1, Universal stack constraints).
 *
 * A jump further than the 128 MB of `b` goes by x16 or x17, or is refused. It
 * is a `ret x17`: a `br` would want a `bti` where it arrives (C6.2, RET leaves
 * BTYPE 0). So code that is meant for BTI can be entered in its middle.
 *
 * Moved instructions that one might worry about:
 *
 *   svc         To restart a call the kernel sets the PC back by 4: to the
 *               copy, behind which its successor or the jump back stands.
 *   ldxr, stxr  A direct branch between the two is allowed (B2, Load-Exclusive
 *               and Store-Exclusive instruction usage restrictions); an
 *               indirect one, or an access to memory, may keep the store from
 *               ever succeeding. Where a head would need one, it is refused.
 *   paciasp     Signs x30 with sp, which are what they were: it is copied. So
 *               is bti, and a head that begins by one may be called by pointer.
 *   blr         Becomes br, which says to BTI that it jumps, not calls: only
 *               from pages without PROT_BTI is that the same (C6.2, BR). The
 *               code made here is for such pages.
 */
#include "aarch64.h"
#include "patas.h"

enum {
    A64M_INSNS = 4, /* most that begin in the bytes wanted */
    A64M_IP0 = 16,
    A64M_IP1 = 17
};

#define A64M_NOP      0xd503201fu
#define A64M_B        0x14000000u
#define A64M_RET      0xd65f0000u /* | rn << 5 */
#define A64M_ADR      0x10000000u /* | rd */
#define A64M_ADRP     0x90000000u
#define A64M_ADD      0x91000000u /* add xd, xn, #imm12 */
#define A64M_MOVN     0x92800000u /* | hw << 21 | imm16 << 5 | rd */
#define A64M_MOVZ     0xd2800000u
#define A64M_MOVK     0xf2800000u
#define A64M_PUSH_X16 0xf81f0ff0u /* str x16, [sp, #-16]! */
#define A64M_POP_X16  0xf84107f0u /* ldr x16, [sp], #16 */

/* A branch in the code to an instruction that moved, too. */
struct a64_local {
    size_t at;   /* of the branch in the code */
    size_t goal; /* offset in the original */
    enum patas__a64_form form;
};

struct a64_mover {
    struct patas__move *move;
    size_t at;    /* bytes of code made */
    size_t count; /* instructions to move */
    unsigned reason;
    unsigned scratch; /* A64M_IP0, A64M_IP1; 0 = neither may be lost */
    bool exclusive;   /* behind an ldxr that moved */
    size_t locals_count;
    struct a64_local locals[A64M_INSNS];
    struct patas__insn insns[A64M_INSNS];
};

/* ---- making code ------------------------------------------------------- */

static void a64_refuse(struct a64_mover *m, unsigned reason)
{
    if (!m->reason)
        m->reason = reason;
}

static void a64_put(struct a64_mover *m, uint32_t word)
{
    if (m->at + PATAS__A64_SIZE > PATAS__HEAD_MAX) {
        a64_refuse(m, PATAS_REASON_CANNOT_MOVE);
        return;
    }
    patas__store32(m->move->code + m->at, word);
    m->at += PATAS__A64_SIZE;
}

/* From what is put next to `address`. */
static uint64_t a64_distance(const struct a64_mover *m, uint64_t address)
{
    return address - (m->move->to + m->at);
}

static uint32_t a64_word(const struct a64_mover *m,
                         const struct patas__insn *insn)
{
    return patas__load32(m->move->bytes + (insn->address - m->move->from));
}

/* Gives a branch or a load of a literal another distance, if that fits. */
static bool a64_aim(uint32_t *word, enum patas__a64_form form,
                    uint64_t distance)
{
    unsigned low = 5, count;
    uint64_t limit;
    uint32_t mask;

    switch (form) {
    case PATAS__A64_B:
    case PATAS__A64_BL:
        low = 0;
        count = 26;
        break;
    case PATAS__A64_TBZ:
        count = 14;
        break;
    case PATAS__A64_CB:
        count = 9;
        break;
    default:
        count = 19;
    }
    limit = (uint64_t)1 << (count + 1);
    if (distance % PATAS__A64_SIZE || distance + limit >= 2 * limit)
        return false;
    mask = ((1u << count) - 1) << low;
    *word = (*word & ~mask) | ((uint32_t)(distance >> 2) << low & mask);
    return true;
}

/* xd = value, by as few of movz, movn and movk as it takes. */
static void a64_put_constant(struct a64_mover *m, unsigned rd, uint64_t value)
{
    unsigned zeros = 0, ones = 0;
    bool begun = false;

    for (unsigned i = 0; i < 4; i++) {
        zeros += (value >> 16 * i & 0xffff) == 0;
        ones += (value >> 16 * i & 0xffff) == 0xffff;
    }
    uint32_t first = ones > zeros ? A64M_MOVN : A64M_MOVZ;
    uint32_t skip = ones > zeros ? 0xffff : 0;
    for (unsigned i = 0; i < 4; i++) {
        uint32_t part = (uint32_t)(value >> 16 * i & 0xffff);

        if (part == skip && !(i == 3 && !begun))
            continue;
        if (begun)
            a64_put(m, A64M_MOVK | i << 21 | part << 5 | rd);
        else
            a64_put(m, first | i << 21 | (part ^ skip) << 5 | rd);
        begun = true;
    }
}

/* xd = address. */
static void a64_put_address(struct a64_mover *m, unsigned rd, uint64_t address)
{
    uint64_t here = m->move->to + m->at;
    uint64_t distance = address - here;
    uint64_t pages = (address >> 12) - (here >> 12);
    uint32_t op = A64M_ADR;

    if (distance + 0x100000 >= 0x200000) {
        if (pages + 0x100000 >= 0x200000) {
            a64_put_constant(m, rd, address);
            return;
        }
        op = A64M_ADRP;
        distance = pages;
    }
    a64_put(m, op | (uint32_t)(distance & 3) << 29 |
                   ((uint32_t)(distance >> 2) & 0x7ffff) << 5 | rd);
    if (op == A64M_ADRP && (address & 0xfff))
        a64_put(m, A64M_ADD | (uint32_t)(address & 0xfff) << 10 | rd << 5 | rd);
}

/* ---- jumps ------------------------------------------------------------- */

/* Where a branch goes: to a moved instruction, or out. */
struct a64_goal {
    bool local;
    uint64_t where; /* local: offset in the original; else the address */
};

/* A jump to the entry stays in the moved code, or a loop in the head would
 * enter the replacement each time around. A call of the entry is recursion and
 * goes where all other calls of the function go. */
static struct a64_goal a64_find_goal(const struct a64_mover *m,
                                     const struct patas__insn *insn)
{
    uint64_t k = insn->target - m->move->from;
    bool local =
        k < m->move->moved && !(k == 0 && insn->flow == PATAS__FLOW_CALL);

    return (struct a64_goal){local, local ? k : insn->target};
}

/* Puts a branch; false if it is too far for its form. */
static bool a64_put_branch(struct a64_mover *m, uint32_t word,
                           enum patas__a64_form form,
                           const struct a64_goal *goal)
{
    if (goal->local) {
        m->locals[m->locals_count++] =
            (struct a64_local){m->at, (size_t)goal->where, form};
    } else if (!a64_aim(&word, form, a64_distance(m, goal->where))) {
        return false;
    }
    a64_put(m, word);
    return true;
}

static void a64_put_jump(struct a64_mover *m, const struct a64_goal *goal)
{
    if (a64_put_branch(m, A64M_B, PATAS__A64_B, goal))
        return;
    if (!m->scratch || m->move->shadow_stack) {
        a64_refuse(m, PATAS_REASON_OUT_OF_REACH);
        return;
    }
    if (m->exclusive)
        a64_refuse(m, PATAS_REASON_CANNOT_MOVE);
    a64_put_address(m, m->scratch, goal->where);
    a64_put(m, A64M_RET | m->scratch << 5);
}

/* A branch forward at `branch` leads to what is put next. */
static void a64_land(struct a64_mover *m, size_t branch,
                     enum patas__a64_form form)
{
    uint8_t *at = m->move->code + branch;
    uint32_t word;

    if (m->reason)
        return;
    word = patas__load32(at);
    (void)a64_aim(&word, form, m->at - branch);
    patas__store32(at, word);
}

/*
 *     b.ne goal              b.eq 1f        cbgt x0, x1, goal        cbgt 2f
 *               becomes      b    goal                 becomes       b    1f
 *                         1:                                      2: b    goal
 *                                                                 1:
 * The opposite of cbgt has its registers the other way around, or another
 * number to compare with, so it is taken as it is.
 */
static void a64_branch_around(struct a64_mover *m, uint32_t word,
                              enum patas__a64_form form,
                              const struct a64_goal *goal)
{
    size_t around;

    if (form == PATAS__A64_CB) {
        size_t taken = m->at;

        a64_put(m, word);
        around = m->at;
        a64_put(m, A64M_B);
        a64_land(m, taken, form);
        form = PATAS__A64_B;
    } else {
        around = m->at;
        a64_put(m, word ^ (form == PATAS__A64_B_COND ? 1u : 1u << 24));
    }
    a64_put_jump(m, goal);
    a64_land(m, around, form);
}

static void a64_move_branch(struct a64_mover *m, const struct patas__insn *insn)
{
    enum patas__a64_form form = (enum patas__a64_form)insn->encoding;
    struct a64_goal goal = a64_find_goal(m, insn);
    uint32_t word = a64_word(m, insn);

    if (a64_put_branch(m, word, form, &goal))
        return;
    /* Conditions 14 and 15 are "always", both (C1.2.4). */
    if (form == PATAS__A64_B_COND && (word & 14) == 14)
        a64_put_jump(m, &goal);
    else
        a64_branch_around(m, word, form, &goal);
}

/* The return address is the original's, so nothing that walks the stack meets
 * generated code. */
static void a64_move_call(struct a64_mover *m, const struct patas__insn *insn)
{
    uint32_t word = a64_word(m, insn);
    uint64_t back = insn->address + PATAS__A64_SIZE;

    if (m->move->shadow_stack) {
        a64_refuse(m, PATAS_REASON_SHADOW_STACK);
        return;
    }
    if (insn->has_target) {
        struct a64_goal goal = a64_find_goal(m, insn);

        a64_put_address(m, PATAS__A64_LR, back);
        a64_put_jump(m, &goal);
        return;
    }
    /* `blr x30` reads x30 before it writes it; blraa has a second register. */
    if ((word >> 5 & 31) == PATAS__A64_LR ||
        ((word & 1u << 24) && (word & 31) == PATAS__A64_LR)) {
        a64_refuse(m, PATAS_REASON_CANNOT_MOVE);
        return;
    }
    a64_put_address(m, PATAS__A64_LR, back);
    a64_put(m, word & ~(1u << 21)); /* blr, blraa: br, braa */
}

/* ---- operands ---------------------------------------------------------- */

/* The form of a load that takes its address from xn; of w, x, sw, prfm, and of
 * s, d and q. */
static uint32_t a64_indirect_load(uint32_t word)
{
    static const uint32_t loads[] = {0xb9400000, 0xf9400000, 0xb9800000,
                                     0xf9800000, 0xbd400000, 0xfd400000,
                                     0x3dc00000};

    return loads[word >> 30 | (word >> 26 & 1) << 2] | (word & 31);
}

/* Loads by an address in a register that isn't the load's own. */
static void a64_load_borrowed(struct a64_mover *m, uint32_t word,
                              uint64_t address)
{
    unsigned base = m->scratch ? m->scratch : A64M_IP0;

    if (m->exclusive)
        a64_refuse(m, PATAS_REASON_CANNOT_MOVE);
    if (!m->scratch)
        a64_put(m, A64M_PUSH_X16);
    a64_put_address(m, base, address);
    a64_put(m, a64_indirect_load(word) | base << 5);
    if (!m->scratch)
        a64_put(m, A64M_POP_X16);
}

/* Bytes that a load of a literal reads; a prefetch reads none. */
static uint64_t a64_literal_size(uint32_t word)
{
    unsigned kind = word >> 30;

    if (word & 1u << 26)
        return (uint64_t)4 << kind;
    return kind == 1 ? 8 : kind == 3 ? 0 : 4;
}

static void a64_move_literal(struct a64_mover *m,
                             const struct patas__insn *insn)
{
    uint32_t word = a64_word(m, insn);
    unsigned rt = word & 31;
    uint64_t size = a64_literal_size(word);
    uint64_t into = insn->operand - m->move->from;

    /* What it reads are instructions that a patch may write over. */
    if (size && (into < m->move->moved || into + size - 1 < into)) {
        a64_refuse(m, PATAS_REASON_CANNOT_MOVE);
        return;
    }
    if (a64_aim(&word, PATAS__A64_LITERAL, a64_distance(m, insn->operand))) {
        a64_put(m, word);
        return;
    }
    /* Not SIMD, not a prefetch, not discarded: the result may be the base. */
    if (!(word & 1u << 26) && word >> 30 != 3 && rt != PATAS__A64_ZR) {
        a64_put_address(m, rt, insn->operand);
        a64_put(m, a64_indirect_load(word) | rt << 5);
    } else {
        a64_load_borrowed(m, word, insn->operand);
    }
}

static void a64_move_address(struct a64_mover *m,
                             const struct patas__insn *insn)
{
    unsigned rd = a64_word(m, insn) & 31;

    if (rd == PATAS__A64_ZR)
        a64_put(m, A64M_NOP);
    else
        a64_put_address(m, rd, insn->operand);
}

/* ---- the move ---------------------------------------------------------- */

static void a64_move_insn(struct a64_mover *m, const struct patas__insn *insn)
{
    struct a64_goal goal;

    switch ((enum patas__a64_form)insn->encoding) {
    case PATAS__A64_ANYWHERE:
        a64_put(m, a64_word(m, insn));
        break;
    case PATAS__A64_B:
        goal = a64_find_goal(m, insn);
        a64_put_jump(m, &goal);
        break;
    case PATAS__A64_B_COND:
    case PATAS__A64_CBZ:
    case PATAS__A64_TBZ:
    case PATAS__A64_CB:
        a64_move_branch(m, insn);
        break;
    case PATAS__A64_BL:
    case PATAS__A64_BLR:
        a64_move_call(m, insn);
        break;
    case PATAS__A64_ADR:
    case PATAS__A64_ADRP:
        a64_move_address(m, insn);
        break;
    case PATAS__A64_LITERAL:
        a64_move_literal(m, insn);
        break;
    case PATAS__A64_FIXED:
        a64_refuse(m, PATAS_REASON_CANNOT_MOVE);
        break;
    }
}

/* May it read or write x16 or x17? Of what has a label it is known. For the
 * others any of the four places where the number of a register can be counts,
 * whatever is there; then what names them without: hints, among them pacia1716
 * and chkfeat, pacia171615, and ld64b, which fills eight registers. A yes too
 * many is a refusal too many. */
static bool a64_mentions_ip(const struct patas__insn *insn, uint32_t word)
{
    static const uint8_t places[] = {0, 5, 10, 16};
    unsigned count = sizeof places;

    if (insn->landing_pad || insn->padding)
        return false;
    switch ((enum patas__a64_form)insn->encoding) {
    case PATAS__A64_B:
    case PATAS__A64_BL:
    case PATAS__A64_B_COND:
        return false;
    case PATAS__A64_CBZ:
    case PATAS__A64_TBZ:
    case PATAS__A64_ADR:
    case PATAS__A64_ADRP:
    case PATAS__A64_LITERAL:
        count = 1;
        break;
    default:
        break;
    }
    for (unsigned i = 0; i < count; i++)
        if ((word >> places[i] & 30) == A64M_IP0)
            return true;
    return (word & 0xfffff01f) == 0xd503201f ||
           (word & 0xffff001f) == 0xdac1001e ||
           (word & 0xffe08c00) == 0xf8208000;
}

/* ldxr, ldaxr, ldxp, ldaxp */
static bool a64_is_exclusive_load(uint32_t word)
{
    return (word & 0x3fc00000) == 0x08400000;
}

/* Decodes what is to move. Returns a patas_reason. */
static unsigned a64_take(struct a64_mover *m)
{
    struct patas__move *move = m->move;
    size_t at = 0;

    m->scratch = move->lose_ip ? A64M_IP1 : 0;
    do {
        uint64_t address = move->from + at;

        move->trouble = address;
        if (at + PATAS__A64_SIZE > move->size)
            return PATAS_REASON_TRUNCATED;
        if (!patas__a64_decode(move->bytes + at, move->size - at, address,
                               &m->insns[m->count]))
            return PATAS_REASON_INVALID_CODE;
        if (a64_mentions_ip(&m->insns[m->count],
                            patas__load32(move->bytes + at)))
            m->scratch = 0;
        m->count++;
        at += PATAS__A64_SIZE;
    } while (at < move->want);
    move->moved = at;
    return PATAS_REASON_NONE;
}

/* Falling off the end of this instruction is impossible, or means that a
 * handler of the program's stepped over it; then the original goes on, too. */
static bool a64_goes_on(const struct patas__insn *last)
{
    return last->flow != PATAS__FLOW_JUMP && last->flow != PATAS__FLOW_CALL &&
           last->flow != PATAS__FLOW_RETURN;
}

static void a64_finish(struct a64_mover *m)
{
    struct patas__move *move = m->move;
    struct a64_goal back = {false, move->from + move->moved};

    if (a64_goes_on(&m->insns[m->count - 1]))
        a64_put_jump(m, &back);
    for (size_t i = 0; i < m->locals_count && !m->reason; i++) {
        const struct a64_local *local = &m->locals[i];
        uint8_t *at = move->code + local->at;
        uint32_t word = patas__load32(at);

        (void)a64_aim(&word, local->form,
                      (uint64_t)move->map[local->goal] - local->at);
        patas__store32(at, word);
    }
}

unsigned patas__a64_relocate(struct patas__move *move)
{
    struct a64_mover m = {.move = move};

    move->trouble = move->from;
    if (move->want > A64M_INSNS * PATAS__A64_SIZE || move->to % PATAS__A64_SIZE)
        return PATAS_REASON_CANNOT_MOVE;
    m.reason = a64_take(&m);
    if (m.reason)
        return m.reason;

    __builtin_memset(move->map, 0xff, sizeof move->map);
    for (size_t i = 0; i < m.count && !m.reason; i++) {
        const struct patas__insn *insn = &m.insns[i];

        move->trouble = insn->address;
        move->map[insn->address - move->from] = (uint8_t)m.at;
        a64_move_insn(&m, insn);
        m.exclusive |= a64_is_exclusive_load(a64_word(&m, insn));
    }
    if (!m.reason)
        a64_finish(&m);
    move->code_size = m.at;
    return m.reason;
}
