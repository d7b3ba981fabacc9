/* SPDX-License-Identifier: MIT */
/*
 * Moving the first instructions of a function: the same effect elsewhere.
 *
 *   from:  push %rbx                    to:  push %rbx
 *          mov  x(%rip), %rax                mov  x'(%rip), %rax
 *          call f                            push 1f(%rip)
 *                                            jmp  f
 *          jz   from+1                       jz   to+1
 *          ...                               jmp  from+moved
 *                                        1:  .quad the original's successor
 *
 * Whatever doesn't depend on where it stands is copied. What does is re-aimed
 * if 32 bits reach, else rebuilt: a branch jumps through a literal behind the
 * code, an operand is addressed by a register that is dead or is put back.
 * Rebuilt code leaves every flag alone (only mov, lea, push, pop, xchg, jmp,
 * call and ret are in it) and never touches the 128 bytes below the stack
 * pointer (System V ABI 3.2.2) but where the original pushes. Below those it
 * may write: a signal may at any moment, so nothing of worth is there.
 *
 * One thing differs that a program could see: rcx after a moved `syscall`
 * holds the address behind the copy (SDM, SYSCALL: RCX <- RIP). Putting it
 * right would part the system call from its successor, and the kernel, which
 * restarts a call by setting the PC back by two, relies on that.
 */
#include "isa.h"
#include "patas.h"
#include "x86.h"

enum {
    RELOC_INSNS = 16, /* most that can begin in the bytes wanted */
    RELOC_LITERALS = 40,
    RELOC_PLAIN = 16, /* bytes that are copied at once */
    RELOC_REX_W = 8,
    RELOC_REX_R = 4,
    RELOC_REX_B = 1,
    RELOC_RBX = 3,
    RELOC_RSP = 4,
    RELOC_RBP = 5,
    RELOC_RSI = 6,
    RELOC_RDI = 7,
    RELOC_NONE = 64 /* its low bits are rax's, which is never borrowed */
};

/* What ModRM.reg says behind opcode ff. */
enum {
    RELOC_CALL = 2,
    RELOC_JUMP = 4,
    RELOC_PUSH = 6
};

/* A place in the code, filled when the rest is known. */
struct reloc_fixup {
    uint64_t value; /* of a literal; of a branch: offset in the original */
    size_t at;      /* the 4 bytes that will name it */
};

struct reloc {
    struct patas__move *move;
    bool wide;     /* 64-bit code */
    uint64_t mask; /* of an address */
    size_t at;     /* bytes of code made */
    size_t count;  /* instructions to move */
    unsigned reason;
    uint32_t starts; /* bit k: an instruction begins at from + k */
    size_t locals_count;
    size_t literals_count;
    struct reloc_fixup locals[RELOC_INSNS];
    struct reloc_fixup literals[RELOC_LITERALS];
    struct patas__insn insns[RELOC_INSNS];
};

/* ---- making code ------------------------------------------------------- */

static void reloc_refuse(struct reloc *r, unsigned reason)
{
    if (!r->reason)
        r->reason = reason;
}

/* Appends the low `size` bytes, at most 8. */
static void reloc_put(struct reloc *r, uint64_t bytes, size_t size)
{
    if (r->at + sizeof bytes > PATAS__HEAD_MAX) {
        reloc_refuse(r, PATAS_REASON_CANNOT_MOVE);
        return;
    }
    patas__store64(r->move->code + r->at, bytes);
    r->at += size;
}

static void reloc_put_all(struct reloc *r, const uint8_t *bytes, size_t size)
{
    for (size_t i = 0; i < size; i++)
        reloc_put(r, bytes[i], 1);
}

/* Appends 4 bytes that hold the distance from behind them to a literal. */
static void reloc_put_literal(struct reloc *r, uint64_t value)
{
    if (r->literals_count == RELOC_LITERALS) {
        reloc_refuse(r, PATAS_REASON_CANNOT_MOVE);
        return;
    }
    r->literals[r->literals_count++] = (struct reloc_fixup){value, r->at};
    reloc_put(r, 0, 4);
}

/* Can the instruction that will end at `end` name `address` by 32 bits? In
 * 32-bit code every address can, by going around. */
static bool reloc_reaches(const struct reloc *r, uint64_t address, size_t end)
{
    uint64_t distance = address - (r->move->to + end);

    return !r->wide || distance + 0x80000000u <= 0xffffffffu;
}

/* The 32 bits that name `address` for an instruction that ends at `end`. */
static uint32_t reloc_distance(const struct reloc *r, uint64_t address,
                               size_t end)
{
    return (uint32_t)(address - (r->move->to + end));
}

/* The whole instruction as it is, or 0. Two blind stores where the buffers
 * allow it are several times as fast as a loop. */
static uint8_t *reloc_copy(struct reloc *r, const struct patas__insn *insn)
{
    size_t k = (size_t)((insn->address - r->move->from) & r->mask);
    const uint8_t *from = r->move->bytes + k;
    uint8_t *to = r->move->code + r->at;

    if (r->at + 16 > PATAS__HEAD_MAX) {
        reloc_refuse(r, PATAS_REASON_CANNOT_MOVE);
        return 0;
    }
    if (k + 16 <= r->move->size) {
        patas__store64(to, patas__load64(from));
        patas__store64(to + 8, patas__load64(from + 8));
    } else {
        for (size_t i = 0; i < insn->length; i++)
            to[i] = from[i];
    }
    r->at += insn->length;
    return to;
}

/* ---- instructions ------------------------------------------------------ */

static const uint8_t *reloc_bytes(const struct reloc *r,
                                  const struct patas__insn *insn)
{
    return r->move->bytes + ((insn->address - r->move->from) & r->mask);
}

static uint8_t reloc_opcode(const struct reloc *r,
                            const struct patas__insn *insn)
{
    return reloc_bytes(r, insn)[insn->opcode_at];
}

static uint8_t reloc_modrm(const struct reloc *r,
                           const struct patas__insn *insn)
{
    return reloc_bytes(r, insn)[insn->modrm_at];
}

/* Bits 5-3: a register without its extension, or more of the opcode. */
static unsigned reloc_reg(const struct reloc *r, const struct patas__insn *insn)
{
    return reloc_modrm(r, insn) >> 3 & 7;
}

/* In the one-byte map and coded as it always was? */
static bool reloc_is_plain(const struct patas__insn *insn)
{
    return insn->map == 0 &&
           (insn->encoding == PATAS__LEGACY || insn->encoding == PATAS__REX2);
}

/* `ff /group` */
static bool reloc_is_group_ff(const struct reloc *r,
                              const struct patas__insn *insn, unsigned group)
{
    return reloc_is_plain(insn) && insn->modrm_at != 0 &&
           reloc_opcode(r, insn) == 0xff && reloc_reg(r, insn) == group;
}

/* A segment whose base isn't 0? */
static bool reloc_has_segment(const struct patas__insn *insn)
{
    return insn->prefixes & (PATAS__PREFIX_FS | PATAS__PREFIX_GS);
}

/* An operand size of 16 bits cuts the target's upper half off on some
 * processors (APM 3, Near Jump) and is ignored on others (SDM 2, JMP). With
 * REX.W it is neither: `data16 data16 rex64 call __tls_get_addr`. */
static bool reloc_is_narrow(const struct reloc *r,
                            const struct patas__insn *insn)
{
    return (insn->prefixes & PATAS__PREFIX_66) &&
           !(r->wide && (insn->rex & RELOC_REX_W));
}

/* ---- branches ---------------------------------------------------------- */

/* Where a branch goes: to a moved instruction, or out. */
struct reloc_goal {
    bool local;
    uint64_t where; /* local: offset in the original; else the address */
};

/* A jump to the entry stays in the moved code, or a loop in the head would
 * enter the replacement each time around. A call of the entry is recursion and
 * goes where all other calls of the function go. */
static bool reloc_find_goal(struct reloc *r, const struct patas__insn *insn,
                            struct reloc_goal *goal)
{
    uint64_t k = (insn->target - r->move->from) & r->mask;

    goal->local =
        k < r->move->moved && !(k == 0 && insn->flow == PATAS__FLOW_CALL);
    goal->where = goal->local ? k : insn->target;
    if (goal->local && !(r->starts >> k & 1)) {
        reloc_refuse(r, PATAS_REASON_CANNOT_MOVE);
        return false;
    }
    return true;
}

/* The end of a jump, a jcc or an xbegin: 4 bytes of distance. */
static void reloc_put_goal(struct reloc *r, const struct reloc_goal *goal)
{
    if (goal->local) {
        r->locals[r->locals_count++] = (struct reloc_fixup){goal->where, r->at};
        reloc_put(r, 0, 4);
    } else {
        reloc_put(r, reloc_distance(r, goal->where, r->at + 4), 4);
    }
}

/* Can a branch with `opcode_size` bytes of opcode here name it? */
static bool reloc_goal_reached(const struct reloc *r,
                               const struct reloc_goal *goal,
                               size_t opcode_size)
{
    return goal->local ||
           reloc_reaches(r, goal->where, r->at + opcode_size + 4);
}

static void reloc_put_jump(struct reloc *r, const struct reloc_goal *goal)
{
    if (reloc_goal_reached(r, goal, 1)) {
        reloc_put(r, 0xe9, 1); /* jmp goal */
        reloc_put_goal(r, goal);
    } else {
        reloc_put(r, 0x25ff, 2); /* jmp *literal(%rip) */
        reloc_put_literal(r, goal->where);
    }
}

/* A short branch forward, to where reloc_land() is told to put it. */
static size_t reloc_put_short(struct reloc *r, unsigned opcode)
{
    reloc_put(r, opcode, 2);
    return r->at;
}

static void reloc_land(struct reloc *r, size_t branch_end)
{
    if (!r->reason)
        r->move->code[branch_end - 1] = (uint8_t)(r->at - branch_end);
}

static void reloc_jcc(struct reloc *r, const struct patas__insn *insn,
                      const struct reloc_goal *goal)
{
    unsigned condition = reloc_opcode(r, insn) & 15;
    size_t over;

    if (reloc_goal_reached(r, goal, 2)) {
        reloc_put(r, 0x800f | condition << 8, 2); /* jcc goal */
        reloc_put_goal(r, goal);
        return;
    }
    over = reloc_put_short(r, 0x70 | (condition ^ 1));
    reloc_put_jump(r, goal);
    reloc_land(r, over);
}

/* loopne, loope, loop, jrcxz have 8 bits only. */
static void reloc_loop(struct reloc *r, const struct patas__insn *insn,
                       const struct reloc_goal *goal)
{
    size_t taken, over;

    if (insn->prefixes & PATAS__PREFIX_67)
        reloc_put(r, 0x67, 1);
    taken = reloc_put_short(r, reloc_opcode(r, insn));
    over = reloc_put_short(r, 0xeb);
    reloc_land(r, taken);
    reloc_put_jump(r, goal);
    reloc_land(r, over);
}

static void reloc_xbegin(struct reloc *r, const struct reloc_goal *goal)
{
    size_t over;

    reloc_put(r, 0xf8c7, 2);
    if (reloc_goal_reached(r, goal, 0)) {
        reloc_put_goal(r, goal);
        return;
    }
    reloc_put(r, 2, 4); /* aborted: to the jump; begun: over it */
    over = reloc_put_short(r, 0xeb);
    reloc_put_jump(r, goal);
    reloc_land(r, over);
}

static void reloc_branch(struct reloc *r, const struct patas__insn *insn)
{
    uint8_t opcode = reloc_opcode(r, insn);
    struct reloc_goal goal;

    if (!insn->has_target || insn->rel_size == 0 || insn->rel_size == 2 ||
        reloc_is_narrow(r, insn)) {
        reloc_refuse(r, PATAS_REASON_CANNOT_MOVE);
        return;
    }
    if (!reloc_find_goal(r, insn, &goal))
        return;
    if (insn->map == 0 && (opcode == 0xe9 || opcode == 0xeb))
        reloc_put_jump(r, &goal);
    else if (insn->map == 0 && opcode >= 0x70 && opcode <= 0x7f)
        reloc_jcc(r, insn, &goal);
    else if (insn->map == 1 && opcode >= 0x80 && opcode <= 0x8f)
        reloc_jcc(r, insn, &goal);
    else if (insn->map == 0 && opcode >= 0xe0 && opcode <= 0xe3)
        reloc_loop(r, insn, &goal);
    else if (insn->map == 0 && opcode == 0xc7)
        reloc_xbegin(r, &goal);
    else
        reloc_refuse(r, PATAS_REASON_CANNOT_MOVE);
}

/* ---- operands ---------------------------------------------------------- */

/*
 * The bytes of `insn`, its PC-relative operand replaced by memory at `base`,
 * and the bits of the prefix that extend the base cleared: they mean nothing
 * beside rip (SDM 2A 2.2.1.6), but would make rdi r15.
 */
static void reloc_put_based(struct reloc *r, const struct patas__insn *insn,
                            unsigned base)
{
    const uint8_t *bytes = reloc_bytes(r, insn);
    size_t modrm = insn->modrm_at;
    size_t start = r->at;
    size_t tail = insn->rel_at + 4u;

    reloc_put_all(r, bytes, modrm);
    reloc_put(r, (bytes[modrm] & 0x38u) | base, 1);
    reloc_put_all(r, bytes + tail, insn->length - tail);
    if (r->reason)
        return;

    uint8_t *code = r->move->code + start;
    switch (insn->encoding) {
    case PATAS__LEGACY:
    case PATAS__3DNOW:
        if (insn->rex) {
            size_t opcode = insn->map == 0 ? 1 : insn->map == 1 ? 2 : 3;
            if (insn->encoding == PATAS__3DNOW)
                opcode = 2;
            code[modrm - opcode - 1] &= (uint8_t)~RELOC_REX_B;
        }
        break;
    case PATAS__REX2: /* d5 payload opcode modrm; B4 is bit 4, B3 bit 0 */
        code[modrm - 2] &= (uint8_t)~0x11;
        break;
    case PATAS__VEX: /* c4 RXBmmmmm ... inverted; c5 has no B */
        if (modrm >= 4 && code[modrm - 4] == 0xc4)
            code[modrm - 3] |= 0x20;
        break;
    case PATAS__XOP: /* 8f RXBmmmmm ... inverted */
        code[modrm - 3] |= 0x20;
        break;
    default: /* 62 RXBR'B4mmm ...: B inverted, B4 (APX) not */
        code[modrm - 4] = (uint8_t)((code[modrm - 4] | 0x20) & ~0x08);
        break;
    }
}

/* mov $value, %register. */
static void reloc_put_constant(struct reloc *r, unsigned number, uint64_t value)
{
    reloc_put(r, 0xb848 | number >> 3 | (number & 7) << 8, 2);
    reloc_put(r, value, 8);
}

/* lea, its result known: mov $address, %register of the same size. */
static void reloc_lea(struct reloc *r, const struct patas__insn *insn)
{
    unsigned number = reloc_reg(r, insn);
    unsigned high = insn->rex & RELOC_REX_R ? 1 : 0;

    if (insn->rex & RELOC_REX_W) {
        reloc_put_constant(r, number | high << 3, insn->operand);
        return;
    }
    if (insn->prefixes & PATAS__PREFIX_66)
        reloc_put(r, 0x66, 1);
    if (high)
        reloc_put(r, 0x41, 1);
    reloc_put(r, 0xb8 | number, 1);
    reloc_put(r, insn->operand, insn->prefixes & PATAS__PREFIX_66 ? 2 : 4);
}

/* The register that a load overwrites in full, so that it may carry the
 * operand's address until then; RELOC_NONE if there is none. */
static unsigned reloc_dead_register(const struct reloc *r,
                                    const struct patas__insn *insn)
{
    uint8_t opcode = reloc_opcode(r, insn);
    unsigned number = reloc_reg(r, insn);
    bool load = false;

    /* rsp must hold the stack throughout; rbp, as a base, is coded otherwise;
     * 8 and 16 bits leave the rest of the register alone. */
    if (insn->encoding != PATAS__LEGACY || (insn->rex & RELOC_REX_R) ||
        reloc_is_narrow(r, insn) || number == RELOC_RSP || number == RELOC_RBP)
        return RELOC_NONE;
    if (insn->map == 0)
        load = opcode == 0x8b || opcode == 0x63; /* mov, movsxd */
    else if (insn->map == 1)                     /* movzx, movsx */
        load = (opcode & 0xf6) == 0xb6;
    return load ? number : RELOC_NONE;
}

/* A vector (mask, x87, bound) register, or more of the opcode, where others
 * have a general register? For what is coded in ModRM.reg. Not knowing is no.
 */
static bool reloc_reg_is_no_gpr(const struct reloc *r,
                                const struct patas__insn *insn)
{
    uint8_t op = reloc_opcode(r, insn);
    bool evex = insn->encoding == PATAS__EVEX;

    if (insn->encoding == PATAS__3DNOW)
        return true;
    if (insn->encoding == PATAS__XOP)
        return op >= 0x40;
    if (insn->map == 0) /* groups, x87 */
        return op == 0x80 || op == 0x81 || op == 0x83 || op == 0xc0 ||
               op == 0xc1 || (op >= 0xd0 && op <= 0xdf) || op == 0xf6 ||
               op == 0xf7 || op == 0xfe || op == 0xff || op == 0xc6 ||
               op == 0xc7;
    if (insn->map == 2) /* SSSE3, SSE4; AVX; not crc32, movbe, bmi, invept */
        return op < 0x80 || (op >= 0xc8 && op < 0xe0) ||
               (insn->encoding != PATAS__LEGACY && op < 0xe0);
    if (insn->map == 3)
        return op < 0xf0;
    if (insn->map == 6) /* AVX512-FP16 */
        return evex;
    if (insn->map != 1 && insn->map != 5)
        return false;
    if (insn->encoding == PATAS__LEGACY) {
        if (op == 0x00 || op == 0x01 || op == 0x0d || op == 0x18 ||
            op == 0x1f || op == 0xae || op == 0xba || op == 0xc7)
            return true; /* groups, nop */
        if (op == 0x78 || op == 0x79)
            return false; /* vmread, vmwrite */
    }
    if (evex && (op == 0x78 || op == 0x79)) /* vcvttsd2usi, vcvtsd2usi */
        return false;
    if (insn->encoding == PATAS__VEX && (op == 0x90 || op == 0x91)) /* kmov */
        return true;
    return (op >= 0x10 && op <= 0x17) || (op >= 0x28 && op <= 0x2b) ||
           op == 0x2e || op == 0x2f || (op >= 0x51 && op <= 0x7f) ||
           op == 0xc2 || op == 0xc4 || op == 0xc6 || op >= 0xd0;
}

/* The register that VEX, EVEX and XOP have besides; without EVEX.V'. */
static unsigned reloc_vvvv(const struct reloc *r,
                           const struct patas__insn *insn)
{
    if (insn->encoding == PATAS__VEX || insn->encoding == PATAS__XOP)
        return ~reloc_bytes(r, insn)[insn->modrm_at - 2] >> 3 & 15;
    if (insn->encoding == PATAS__EVEX)
        return ~reloc_bytes(r, insn)[insn->modrm_at - 3] >> 3 & 15;
    return RELOC_NONE;
}

/* Is bit 3 of the register in ModRM.reg set? Not knowing is no. */
static bool reloc_reg_is_high(const struct reloc *r,
                              const struct patas__insn *insn)
{
    const uint8_t *modrm = reloc_bytes(r, insn) + insn->modrm_at;

    /* R is inverted in the top bit: of c5's second byte, else of the first
     * behind c4, 8f and 62. */
    switch (insn->encoding) {
    case PATAS__LEGACY:
        return insn->rex & RELOC_REX_R;
    case PATAS__VEX:
        if (insn->modrm_at < 4 || modrm[-4] != 0xc4)
            return modrm[-2] < 0x80;
        return modrm[-3] < 0x80;
    case PATAS__XOP:
        return modrm[-3] < 0x80;
    case PATAS__EVEX:
        return modrm[-4] < 0x80;
    default:
        return false;
    }
}

/* Might it read or write rsp by name? */
static bool reloc_names_rsp(const struct reloc *r,
                            const struct patas__insn *insn)
{
    if (reloc_reg_is_no_gpr(r, insn))
        return false;
    return reloc_vvvv(r, insn) == RELOC_RSP ||
           (reloc_reg(r, insn) == RELOC_RSP && !reloc_reg_is_high(r, insn));
}

/*
 * A register that the instruction uses neither by name nor by nature: rdi and
 * rsi are implied by string instructions only, which have no ModRM byte, rbx
 * by cmpxchg8b, which names no other. Extensions are left out of the
 * comparison; there is always one free, since two are named at most.
 */
static unsigned reloc_borrow(const struct reloc *r,
                             const struct patas__insn *insn)
{
    unsigned reg = reloc_reg(r, insn);
    unsigned vvvv = reloc_vvvv(r, insn) & 7;

    if (reg != RELOC_RDI && vvvv != RELOC_RDI)
        return RELOC_RDI;
    return reg != RELOC_RSI && vvvv != RELOC_RSI ? RELOC_RSI : RELOC_RBX;
}

/*
 * The sequences for an operand out of reach. `movabs` between rax and an
 * absolute address is the only load and store with a 64-bit address of its
 * own (SDM 2B, MOV, opcodes a1 and a3).
 */
static const uint8_t reloc_red_zone_skip[] = {
    0x48, 0x8d, 0x64, 0x24, 0x80, /* lea -128(%rsp), %rsp */
};
static const uint8_t reloc_red_zone_back[] = {
    0x48, 0x8d, 0xa4, 0x24, 0x80, 0, 0, 0, /* lea 128(%rsp), %rsp */
};
static const uint8_t reloc_xchg_rax_stack[] = {
    0x48, 0x87, 0x04, 0x24, /* xchg %rax, (%rsp) */
};

/* rax is stacked, and changes places with what `address` holds. */
static void reloc_put_push_far(struct reloc *r, uint64_t address)
{
    reloc_put(r, 0x50, 1);   /* push %rax */
    reloc_put(r, 0xa148, 2); /* movabs address, %rax */
    reloc_put(r, address, 8);
    reloc_put_all(r, reloc_xchg_rax_stack, sizeof reloc_xchg_rax_stack);
}

static void reloc_put_pop_far(struct reloc *r, uint64_t address)
{
    /* What was popped stays in memory; the red zone now begins there. */
    reloc_put_all(r, reloc_xchg_rax_stack, sizeof reloc_xchg_rax_stack);
    reloc_put(r, 0xa348, 2); /* movabs %rax, address */
    reloc_put(r, address, 8);
    reloc_put_all(r, reloc_xchg_rax_stack, sizeof reloc_xchg_rax_stack);
    reloc_put(r, 0x0824648d48, 5); /* lea 8(%rsp), %rsp */
}

/* A return that takes back what was skipped is a jump through memory. */
static void reloc_put_jump_far(struct reloc *r, uint64_t address)
{
    if (r->move->shadow_stack) {
        reloc_refuse(r, PATAS_REASON_SHADOW_STACK);
        return;
    }
    reloc_put_all(r, reloc_red_zone_skip, sizeof reloc_red_zone_skip);
    reloc_put_push_far(r, address);
    reloc_put(r, 0x0080c2, 3); /* ret $128 */
}

/* A register is borrowed for the address. */
static void reloc_put_borrowed(struct reloc *r, const struct patas__insn *insn)
{
    unsigned number = reloc_borrow(r, insn);

    reloc_put_all(r, reloc_red_zone_skip, sizeof reloc_red_zone_skip);
    reloc_put(r, 0x50 | number, 1); /* push */
    reloc_put_constant(r, number, insn->operand);
    reloc_put_based(r, insn, number);
    reloc_put(r, 0x58 | number, 1); /* pop */
    reloc_put_all(r, reloc_red_zone_back, sizeof reloc_red_zone_back);
}

/* Instructions that use the stack, or leave, and so need their own way.
 * Returns false if this is none of them. */
static bool reloc_stack_far(struct reloc *r, const struct patas__insn *insn)
{
    bool pop = reloc_is_plain(insn) && reloc_opcode(r, insn) == 0x8f;
    bool special = insn->flow != PATAS__FLOW_NEXT || pop ||
                   reloc_is_group_ff(r, insn, RELOC_PUSH);

    if (!special)
        return false;
    if (reloc_is_narrow(r, insn) || reloc_has_segment(insn))
        reloc_refuse(r, PATAS_REASON_OUT_OF_REACH);
    else if (pop)
        reloc_put_pop_far(r, insn->operand);
    else if (reloc_is_group_ff(r, insn, RELOC_PUSH))
        reloc_put_push_far(r, insn->operand);
    else if (reloc_is_group_ff(r, insn, RELOC_JUMP) ||
             reloc_is_group_ff(r, insn, RELOC_CALL))
        reloc_put_jump_far(r, insn->operand);
    else
        reloc_refuse(r, PATAS_REASON_OUT_OF_REACH);
    return true;
}

static void reloc_operand_far(struct reloc *r, const struct patas__insn *insn)
{
    unsigned dead;

    if (reloc_stack_far(r, insn))
        return;
    if (insn->encoding == PATAS__LEGACY && insn->map == 0 &&
        reloc_opcode(r, insn) == 0x8d) {
        reloc_lea(r, insn);
        return;
    }
    dead = reloc_dead_register(r, insn);
    if (dead != RELOC_NONE) {
        reloc_put_constant(r, dead, insn->operand);
        reloc_put_based(r, insn, dead);
    } else if (reloc_names_rsp(r, insn)) {
        reloc_refuse(r, PATAS_REASON_OUT_OF_REACH);
    } else {
        reloc_put_borrowed(r, insn);
    }
}

/* A PC-relative operand. With an address size prefix it is 32 bits wide and
 * goes around, so it is always in reach. Returns the copy, or 0. */
static uint8_t *reloc_operand(struct reloc *r, const struct patas__insn *insn)
{
    size_t end = r->at + insn->length;
    uint8_t *copy;

    if (insn->rel_size != 4 || insn->modrm_at == 0) {
        reloc_refuse(r, PATAS_REASON_CANNOT_MOVE);
        return 0;
    }
    if (!(insn->prefixes & PATAS__PREFIX_67) &&
        !reloc_reaches(r, insn->operand, end)) {
        reloc_operand_far(r, insn);
        return 0;
    }
    copy = reloc_copy(r, insn);
    if (copy)
        patas__store32(copy + insn->rel_at,
                       reloc_distance(r, insn->operand, end));
    return copy;
}

/* ---- calls ------------------------------------------------------------- */

static uint64_t reloc_return_address(const struct reloc *r,
                                     const struct patas__insn *insn)
{
    return (insn->address + insn->length) & r->mask;
}

/* Is this, sign-extended from 32 bits, the address? */
static bool reloc_is_small(const struct reloc *r, uint64_t address)
{
    return !r->wide || address + 0x80000000u <= 0xffffffffu;
}

/* A call that comes to nothing. The processor predicts each `ret` by the
 * calls it saw; one call too few and this `ret` and all those of the callers
 * are predicted wrong. This one still is; the others aren't. */
static void reloc_put_balance(struct reloc *r)
{
    reloc_put(r, 0xcc00000001e8, 6); /* call 1f; int3 */
    if (r->wide)
        reloc_put(r, 0x0824648d48, 5); /* 1: lea 8(%rsp), %rsp */
    else
        reloc_put(r, 0x0424648d, 4); /* 1: lea 4(%esp), %esp */
}

/* One store of the whole word, as a call makes: the `ret` that reads it is
 * not held up, and a fault finds rsp where it was. */
static void reloc_put_return_address(struct reloc *r,
                                     const struct patas__insn *insn)
{
    uint64_t back = reloc_return_address(r, insn);

    /* No processor predicts by a call of the next instruction: that reads the
     * PC, and no `ret` answers it. */
    if (!insn->has_target || insn->target != back)
        reloc_put_balance(r);
    if (reloc_is_small(r, back)) {
        reloc_put(r, 0x68 | (back & 0xffffffff) << 8, 5); /* push $imm */
    } else {
        reloc_put(r, 0x35ff, 2); /* push literal(%rip) */
        reloc_put_literal(r, back);
    }
}

/* What a call through memory reads. */
struct reloc_place {
    bool safe;      /* for sure not where the return address goes */
    bool stack;     /* based on rsp, so it moves with it */
    uint8_t sib;    /* if stack */
    int32_t offset; /* from rsp, if stack */
};

/* REX and the payload of REX2 (SDM, APX: M0 R4 X4 B4 W R3 X3 B3) have their
 * extensions of the base in 0x11, and of the index in 0x22. */
static void reloc_find_place(const struct reloc *r,
                             const struct patas__insn *insn,
                             struct reloc_place *place)
{
    const uint8_t *at = reloc_bytes(r, insn) + insn->modrm_at;
    unsigned mod = at[0] >> 6;
    int32_t word = r->wide ? 8 : 4;

    *place = (struct reloc_place){.safe = insn->has_operand};
    if (!r->wide && (insn->prefixes & PATAS__PREFIX_67))
        return; /* 16-bit addresses know no stack pointer */
    if (!r->wide && mod == 0 && (at[0] & 7) == 5)
        place->safe = true; /* an absolute address */
    if ((at[0] & 7) != 4)
        return;

    bool index = (at[1] >> 3 & 7) != 4 || (insn->rex & 0x22);
    if (mod == 0 && (at[1] & 7) == 5) {
        place->safe = !index; /* no base: absolute again */
        return;
    }
    if ((at[1] & 7) != RELOC_RSP || (insn->rex & 0x11))
        return;
    place->stack = true;
    place->sib = at[1];
    if (mod == 1)
        place->offset = (int8_t)at[2];
    else if (mod == 2)
        place->offset = (int32_t)patas__load32(at + 2);
    place->safe = !index && !reloc_has_segment(insn) &&
                  (place->offset >= 0 || place->offset <= -2 * word);
}

/* A push or jump that reads what the call reads, now that rsp is lower. */
static void reloc_put_place(struct reloc *r, const struct patas__insn *insn,
                            const struct reloc_place *place, unsigned group,
                            int32_t lower)
{
    size_t modrm = insn->modrm_at;
    uint8_t *copy;

    if (place->stack) {
        if (place->offset > INT32_MAX - lower) {
            reloc_refuse(r, PATAS_REASON_CANNOT_MOVE);
            return;
        }
        reloc_put_all(r, reloc_bytes(r, insn), modrm);
        reloc_put(r, 0x84 | group << 3 | (unsigned)place->sib << 8, 2);
        reloc_put(r, (uint32_t)(place->offset + lower), 4);
        return;
    }
    copy = insn->has_operand ? reloc_operand(r, insn) : reloc_copy(r, insn);
    if (copy)
        copy[modrm] = (uint8_t)((copy[modrm] & 0xc7) | group << 3);
}

/*
 * A call reads its target before it pushes, and an operand that might be the
 * very word it pushes to has to be read first here, too:
 *
 *     rsp-136  target     <- rsp after the push; skipped memory
 *     rsp-128  red zone of the original, and
 *     rsp-8    return     <- rsp of the callee, whose red zone covers target
 */
static void reloc_call_aliased(struct reloc *r, const struct patas__insn *insn,
                               const struct reloc_place *place)
{
    static const uint8_t store_low[] = {0xc7, 0x84, 0x24, 0x80, 0, 0, 0};
    static const uint8_t store_high[] = {0xc7, 0x84, 0x24, 0x84, 0, 0, 0};
    uint64_t back = reloc_return_address(r, insn);

    reloc_put_all(r, reloc_red_zone_skip, sizeof reloc_red_zone_skip);
    reloc_put_place(r, insn, place, RELOC_PUSH, 128);
    reloc_put_all(r, store_low, sizeof store_low); /* movl $, 128(%rsp) */
    reloc_put(r, back, 4);
    reloc_put_all(r, store_high, sizeof store_high); /* movl $, 132(%rsp) */
    reloc_put(r, back >> 32, 4);
    reloc_put_all(r, reloc_red_zone_back, sizeof reloc_red_zone_back);
    reloc_put(r, 0x802464ff, 4); /* jmp *-128(%rsp) */
}

/* The same in 32-bit code, which has no red zone to hold the target. */
static void reloc_call_aliased_32(struct reloc *r,
                                  const struct patas__insn *insn,
                                  const struct reloc_place *place)
{
    reloc_put(r, 0xfc24648d, 4); /* lea -4(%esp), %esp */
    reloc_put_place(r, insn, place, RELOC_PUSH, 4);
    reloc_put(r, 0x042444c7, 4); /* movl $return, 4(%esp) */
    reloc_put(r, reloc_return_address(r, insn), 4);
    reloc_put(r, 0xc3, 1); /* ret: to the target */
}

static void reloc_call_memory(struct reloc *r, const struct patas__insn *insn)
{
    struct reloc_place place;

    reloc_find_place(r, insn, &place);
    if (place.safe) {
        reloc_put_return_address(r, insn);
        reloc_put_place(r, insn, &place, RELOC_JUMP, r->wide ? 8 : 4);
    } else if (r->wide) {
        reloc_call_aliased(r, insn, &place);
    } else {
        reloc_call_aliased_32(r, insn, &place);
    }
}

static void reloc_call_register(struct reloc *r, const struct patas__insn *insn)
{
    uint8_t *copy;

    if ((reloc_modrm(r, insn) & 7) == RELOC_RSP && !(insn->rex & 0x11)) {
        reloc_refuse(r, PATAS_REASON_CANNOT_MOVE); /* the push moves it */
        return;
    }
    reloc_put_return_address(r, insn);
    copy = reloc_copy(r, insn);
    if (copy)
        copy[insn->modrm_at] ^= (RELOC_CALL ^ RELOC_JUMP) << 3;
}

/* The return address is the original's; so nothing that walks the stack meets
 * generated code, and thunks that read the PC read the right one. */
static void reloc_call(struct reloc *r, const struct patas__insn *insn)
{
    struct reloc_goal goal;

    if (reloc_is_narrow(r, insn)) {
        reloc_refuse(r, PATAS_REASON_CANNOT_MOVE);
    } else if (r->move->shadow_stack) {
        reloc_refuse(r, PATAS_REASON_SHADOW_STACK);
    } else if (insn->has_target && insn->rel_size == 4) {
        if (!reloc_find_goal(r, insn, &goal))
            return;
        reloc_put_return_address(r, insn);
        reloc_put_jump(r, &goal);
    } else if (!reloc_is_group_ff(r, insn, RELOC_CALL)) {
        reloc_refuse(r, PATAS_REASON_CANNOT_MOVE); /* far */
    } else if (reloc_modrm(r, insn) >= 0xc0) {
        reloc_call_register(r, insn);
    } else {
        reloc_call_memory(r, insn);
    }
}

/* ---- the move ---------------------------------------------------------- */

/* jmpabs (APX) and 32-bit code's far jump may be copied, since their target
 * stays; unless it is in what moves. */
static bool reloc_is_absolute_inside(const struct reloc *r,
                                     const struct patas__insn *insn)
{
    const uint8_t *immediate = reloc_bytes(r, insn) + insn->opcode_at + 1;
    uint64_t target;

    if (r->wide && insn->encoding == PATAS__REX2 && insn->map == 0 &&
        reloc_opcode(r, insn) == 0xa1)
        target = patas__load64(immediate);
    else if (!r->wide && insn->map == 0 && reloc_opcode(r, insn) == 0xea)
        target = insn->length < insn->opcode_at + 7u ? patas__load16(immediate)
                                                     : patas__load32(immediate);
    else
        return false;
    return ((target - r->move->from) & r->mask) < r->move->moved;
}

static void reloc_insn(struct reloc *r, const struct patas__insn *insn)
{
    switch ((enum patas__flow)insn->flow) {
    case PATAS__FLOW_BRANCH:
        reloc_branch(r, insn);
        return;
    case PATAS__FLOW_CALL:
        reloc_call(r, insn);
        return;
    case PATAS__FLOW_JUMP:
        if (insn->has_target && insn->rel_size) {
            reloc_branch(r, insn);
            return;
        }
        if (reloc_is_absolute_inside(r, insn))
            reloc_refuse(r, PATAS_REASON_CANNOT_MOVE);
        break;
    case PATAS__FLOW_NEXT:
    case PATAS__FLOW_RETURN:
    case PATAS__FLOW_SYSCALL:
    case PATAS__FLOW_STOP:
        break;
    }
    if (insn->has_operand)
        (void)reloc_operand(r, insn);
    else if (insn->rel_size)
        reloc_refuse(r, PATAS_REASON_CANNOT_MOVE);
    else
        (void)reloc_copy(r, insn);
}

static bool reloc_decode_at(const struct reloc *r, const uint8_t *bytes,
                            size_t size, uint64_t address,
                            struct patas__insn *insn)
{
    return r->wide ? patas__x86_decode_64(bytes, size, address, insn)
                   : patas__x86_decode_32(bytes, size, address, insn);
}

/* Why didn't bytes[at] decode? It was cut off if more bytes of any kind would
 * have made an instruction of it. */
static unsigned reloc_why_invalid(struct reloc *r, size_t at)
{
    uint8_t longer[PATAS__INSN_MAX];
    size_t left = r->move->size - at;

    for (unsigned fill = 0; fill <= 0xff && left < sizeof longer; fill++) {
        for (size_t i = 0; i < sizeof longer; i++)
            longer[i] = i < left ? r->move->bytes[at + i] : (uint8_t)fill;
        if (reloc_decode_at(r, longer, sizeof longer, r->move->from + at,
                            &r->insns[0]) &&
            r->insns[0].length > left)
            return PATAS_REASON_TRUNCATED;
    }
    return PATAS_REASON_INVALID_CODE;
}

/* Decodes what is to move. Returns a patas_reason. */
static unsigned reloc_take(struct reloc *r)
{
    struct patas__move *move = r->move;
    size_t at = 0;

    do {
        struct patas__insn *insn = &r->insns[r->count];
        uint64_t address = (move->from + at) & r->mask;

        if (at >= move->size ||
            !reloc_decode_at(r, move->bytes + at, move->size - at, address,
                             insn)) {
            move->trouble = address;
            return reloc_why_invalid(r, at);
        }
        r->starts |= 1u << at;
        r->count++;
        at += insn->length;
    } while (at < move->want);
    move->moved = at;
    return PATAS_REASON_NONE;
}

/* Falling off the end of this instruction is impossible, or means that a
 * handler of the program's stepped over it; then the original goes on, too. */
static bool reloc_goes_on(const struct patas__insn *last)
{
    return last->flow != PATAS__FLOW_JUMP && last->flow != PATAS__FLOW_CALL &&
           last->flow != PATAS__FLOW_RETURN;
}

static void reloc_finish(struct reloc *r, bool goes_on)
{
    struct patas__move *move = r->move;
    struct reloc_goal back = {false, (move->from + move->moved) & r->mask};

    if (goes_on)
        reloc_put_jump(r, &back);
    for (size_t i = 0; i < r->literals_count; i++) {
        size_t field = r->literals[i].at;
        size_t at = r->at;

        reloc_put(r, r->literals[i].value, 8);
        if (r->reason)
            return;
        patas__store32(move->code + field, (uint32_t)(at - (field + 4)));
    }
    for (size_t i = 0; i < r->locals_count && !r->reason; i++) {
        size_t field = r->locals[i].at;
        size_t goal = move->map[r->locals[i].value];

        patas__store32(move->code + field, (uint32_t)(goal - (field + 4)));
    }
}

/* What is the same anywhere is copied, and needs no second look. */
static unsigned reloc_plain(struct reloc *r)
{
    struct patas__move *move = r->move;

    move->moved = move->want;
    while (!(move->plain >> move->moved & 1))
        move->moved++;
    __builtin_memset(move->map, 0xff, sizeof move->map);
    for (size_t k = 0; k < move->moved; k++) {
        if (move->plain >> k & 1)
            move->map[k] = (uint8_t)k;
    }
    __builtin_memcpy(move->code, move->bytes, RELOC_PLAIN);
    r->at = move->moved;
    r->reason = PATAS_REASON_NONE;
    r->locals_count = r->literals_count = 0;
    reloc_finish(r, true);
    move->code_size = r->at;
    return r->reason;
}

static unsigned reloc_move(struct reloc *r)
{
    struct patas__move *move = r->move;

    if (move->want < RELOC_PLAIN && move->plain >> move->want &&
        move->size >= RELOC_PLAIN)
        return reloc_plain(r);
    if (move->want > RELOC_INSNS) {
        move->trouble = move->from;
        return PATAS_REASON_CANNOT_MOVE;
    }
    r->at = 0;
    r->count = 0;
    r->reason = reloc_take(r);
    r->locals_count = 0;
    r->literals_count = 0;
    if (r->reason)
        return r->reason;

    __builtin_memset(move->map, 0xff, sizeof move->map);
    for (size_t i = 0; i < r->count && !r->reason; i++) {
        const struct patas__insn *insn = &r->insns[i];

        move->trouble = insn->address;
        move->map[(insn->address - move->from) & r->mask] = (uint8_t)r->at;
        reloc_insn(r, insn);
    }
    if (!r->reason)
        reloc_finish(r, reloc_goes_on(&r->insns[r->count - 1]));
    move->code_size = r->at;
    return r->reason;
}

unsigned patas__x86_relocate_64(struct patas__move *move)
{
    struct reloc r;

    r.move = move;
    r.wide = true;
    r.mask = UINT64_MAX;
    r.starts = 0;
    return reloc_move(&r);
}

unsigned patas__x86_relocate_32(struct patas__move *move)
{
    struct reloc r;

    r.move = move;
    r.wide = false;
    r.mask = UINT32_MAX;
    r.starts = 0;
    return reloc_move(&r);
}
