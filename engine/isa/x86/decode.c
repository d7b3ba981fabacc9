/* SPDX-License-Identifier: MIT */
/*
 * x86 instructions: length, branches, operands relative to the PC.
 *
 *     prefixes, REX | opcode in map 0, 0F, 0F38, 0F3A | ModRM SIB disp | imm
 *     VEX, XOP, EVEX, REX2 and 3DNow! replace the first two
 *
 * Nine of ten instructions take a short road (x86_quick); the others the whole
 * way (x86_decode_any). Bytes are read from a window that is at least as long
 * as any instruction could want, so no read is checked: what took bytes from
 * behind the end is longer than `size`, and refused.
 */
#include "tables.h"
#include "x86.h"

#define X86_ALWAYS_INLINE static inline __attribute__((always_inline))
#define X86_NEVER_INLINE  static __attribute__((noinline))

enum {
    X86_WINDOW = 32, /* 14 prefixes, 3 of opcode, ModRM, SIB, 4, 8 */
    X86_REX_B = 1,
    X86_REX_R = 4,
    X86_REX_W = 8
};

/*
 * An entry of a map: the bytes of the immediate for operand size 32, 16 and 64
 * in four bits each, marks, and what it does to the flow of control.
 */
enum x86_entry {
    X86_I8 = 0x111,
    X86_I16 = 0x222,
    X86_IZ = 0x424,
    X86_IV = 0x824,  /* mov r64, imm64 */
    X86_I24 = 0x333, /* enter */
    X86_IP = 0x046,  /* a far pointer */
    X86_I32 = 0x444,
    X86_I64 = 0x888,
    X86_SIZES = 0xfff,
    X86_MODRM = 0x1000,
    X86_RELATIVE = 0x2000, /* the immediate is a branch's displacement */
    X86_XBEGIN = 0x4000,   /* ... of this one */
    X86_ADDRESS = 0x8000,  /* the immediate is an address */
    X86_MEMORY = 0x10000,  /* no register operand */
    X86_PREFIX = 0x20000,  /* before an opcode */
    X86_ESCAPE = 0x40000,  /* another map or encoding begins */
    X86_SPECIAL = 0x80000,
    X86_BAD = 0x100000, /* no instruction */
    X86_BEFORE = X86_PREFIX | X86_ESCAPE,
    X86_SLOW = X86_BEFORE | X86_SPECIAL | X86_BAD | X86_ADDRESS
};

#define X86_FLOW_SHIFT 24
#define X86_FLOW(kind) (PATAS__FLOW_##kind << X86_FLOW_SHIFT)
#define X86_JZ         (X86_IZ | X86_RELATIVE)
#define X86_J8         (X86_I8 | X86_RELATIVE)

/* Short names for the tables below, gone behind them. */
#define N0 0
#define B0 X86_I8
#define Z0 X86_IZ
#define V0 X86_IV
#define M0 X86_MODRM
#define MB (X86_MODRM | X86_I8)
#define MZ (X86_MODRM | X86_IZ)
#define MS (X86_MODRM | X86_SPECIAL)
#define SB (X86_MODRM | X86_I8 | X86_SPECIAL)
#define SZ (X86_MODRM | X86_IZ | X86_SPECIAL)
#define MM (X86_MODRM | X86_MEMORY)
#define NS X86_SPECIAL
#define AM (X86_I32 | X86_ADDRESS)
#define PF X86_PREFIX
#define ES X86_ESCAPE
#define XX X86_BAD
#define J1 (X86_J8 | X86_FLOW(BRANCH))
#define J4 (X86_JZ | X86_FLOW(BRANCH))
#define JP (X86_J8 | X86_FLOW(JUMP))
#define JF (X86_JZ | X86_FLOW(JUMP))
#define CL (X86_JZ | X86_FLOW(CALL))
#define R0 X86_FLOW(RETURN)
#define R2 (X86_I16 | X86_FLOW(RETURN))
#define SY X86_FLOW(SYSCALL)
#define IN (X86_I8 | X86_FLOW(SYSCALL))
#define ST X86_FLOW(STOP)
#define I3 (X86_SPECIAL | X86_FLOW(STOP))
#define UD (X86_MODRM | X86_FLOW(STOP))
#define EN X86_I24
#define FJ (X86_IP | X86_FLOW(JUMP))
#define FC (X86_IP | X86_FLOW(CALL))

/* The one-byte map in 64-bit mode, the 0F map, where x86_legacy_1 says which
 * prefixes and operands are allowed, and the one-byte map in 32-bit mode. */
enum {
    X86_MAP_64,
    X86_MAP_0F,
    X86_MAP_32
};
static const uint32_t x86_maps[3][256] = {
    {M0, M0, M0, M0, B0, Z0, XX, XX, M0, M0, M0, M0, B0, Z0, XX, ES,  /* 0 */
     M0, M0, M0, M0, B0, Z0, XX, XX, M0, M0, M0, M0, B0, Z0, XX, XX,  /* 1 */
     M0, M0, M0, M0, B0, Z0, PF, XX, M0, M0, M0, M0, B0, Z0, PF, XX,  /* 2 */
     M0, M0, M0, M0, B0, Z0, PF, XX, M0, M0, M0, M0, B0, Z0, PF, XX,  /* 3 */
     PF, PF, PF, PF, PF, PF, PF, PF, PF, PF, PF, PF, PF, PF, PF, PF,  /* 4 */
     N0, N0, N0, N0, N0, N0, N0, N0, N0, N0, N0, N0, N0, N0, N0, N0,  /* 5 */
     XX, XX, ES, M0, PF, PF, PF, PF, Z0, MZ, B0, MB, N0, N0, N0, N0,  /* 6 */
     J1, J1, J1, J1, J1, J1, J1, J1, J1, J1, J1, J1, J1, J1, J1, J1,  /* 7 */
     MB, MZ, XX, MB, M0, M0, M0, M0, M0, M0, M0, M0, MS, MM, MS, ES,  /* 8 */
     NS, N0, N0, N0, N0, N0, N0, N0, N0, N0, XX, N0, N0, N0, N0, N0,  /* 9 */
     AM, AM, AM, AM, N0, N0, N0, N0, B0, Z0, N0, N0, N0, N0, N0, N0,  /* A */
     B0, B0, B0, B0, B0, B0, B0, B0, V0, V0, V0, V0, V0, V0, V0, V0,  /* B */
     MB, MB, R2, R0, ES, ES, SB, SZ, EN, N0, R2, R0, I3, IN, XX, R0,  /* C */
     M0, M0, M0, M0, XX, ES, XX, N0, M0, MS, MS, MS, M0, MS, MS, MS,  /* D */
     J1, J1, J1, J1, B0, B0, B0, B0, CL, JF, XX, JP, N0, N0, N0, N0,  /* E */
     PF, ST, PF, PF, ST, N0, MS, MS, N0, N0, N0, N0, N0, N0, MS, MS}, /* F */
    {MS, MS, M0, M0, XX, SY, N0, R0, N0, N0, XX, ST, XX, M0, N0, ES,  /* 0 */
     M0, M0, M0, M0, M0, M0, M0, M0, M0, M0, MS, MS, M0, M0, MS, MS,  /* 1 */
     MS, MS, MS, MS, XX, XX, XX, XX, M0, M0, M0, M0, M0, M0, M0, M0,  /* 2 */
     N0, N0, N0, N0, SY, R0, XX, N0, ES, XX, ES, XX, XX, XX, XX, XX,  /* 3 */
     M0, M0, M0, M0, M0, M0, M0, M0, M0, M0, M0, M0, M0, M0, M0, M0,  /* 4 */
     M0, M0, M0, M0, M0, M0, M0, M0, M0, M0, M0, M0, M0, M0, M0, M0,  /* 5 */
     M0, M0, M0, M0, M0, M0, M0, M0, M0, M0, M0, M0, M0, M0, M0, M0,  /* 6 */
     MB, SB, SB, SB, M0, M0, M0, N0, MS, M0, XX, XX, M0, M0, M0, M0,  /* 7 */
     J4, J4, J4, J4, J4, J4, J4, J4, J4, J4, J4, J4, J4, J4, J4, J4,  /* 8 */
     M0, M0, M0, M0, M0, M0, M0, M0, M0, M0, M0, M0, M0, M0, M0, M0,  /* 9 */
     N0, N0, N0, M0, MB, M0, MS, MS, N0, N0, R0, M0, MB, M0, MS, M0,  /* A */
     M0, M0, M0, M0, M0, M0, M0, M0, M0, UD, SB, M0, M0, M0, M0, M0,  /* B */
     M0, M0, MB, M0, MB, MB, MB, MS, N0, N0, N0, N0, N0, N0, N0, N0,  /* C */
     M0, M0, M0, M0, M0, M0, M0, M0, M0, M0, M0, M0, M0, M0, M0, M0,  /* D */
     M0, M0, M0, M0, M0, M0, M0, M0, M0, M0, M0, M0, M0, M0, M0, M0,  /* E */
     M0, M0, M0, M0, M0, M0, M0, M0, M0, M0, M0, M0, M0, M0, M0, UD}, /* F */
    {M0, M0, M0, M0, B0, Z0, N0, N0, M0, M0, M0, M0, B0, Z0, N0, ES,  /* 0 */
     M0, M0, M0, M0, B0, Z0, N0, N0, M0, M0, M0, M0, B0, Z0, N0, N0,  /* 1 */
     M0, M0, M0, M0, B0, Z0, PF, N0, M0, M0, M0, M0, B0, Z0, PF, N0,  /* 2 */
     M0, M0, M0, M0, B0, Z0, PF, N0, M0, M0, M0, M0, B0, Z0, PF, N0,  /* 3 */
     N0, N0, N0, N0, N0, N0, N0, N0, N0, N0, N0, N0, N0, N0, N0, N0,  /* 4 */
     N0, N0, N0, N0, N0, N0, N0, N0, N0, N0, N0, N0, N0, N0, N0, N0,  /* 5 */
     N0, N0, ES, M0, PF, PF, PF, PF, Z0, MZ, B0, MB, N0, N0, N0, N0,  /* 6 */
     J1, J1, J1, J1, J1, J1, J1, J1, J1, J1, J1, J1, J1, J1, J1, J1,  /* 7 */
     MB, MZ, MB, MB, M0, M0, M0, M0, M0, MS, M0, MS, MS, MS, MS, ES,  /* 8 */
     NS, N0, N0, N0, N0, N0, N0, N0, N0, N0, FC, N0, N0, N0, N0, N0,  /* 9 */
     AM, AM, AM, AM, N0, N0, N0, N0, B0, Z0, N0, N0, N0, N0, N0, N0,  /* A */
     B0, B0, B0, B0, B0, B0, B0, B0, V0, V0, V0, V0, V0, V0, V0, V0,  /* B */
     MB, MB, R2, R0, ES, ES, SB, SZ, EN, N0, R2, R0, I3, IN, N0, R0,  /* C */
     M0, M0, M0, M0, B0, B0, N0, N0, M0, MS, MS, MS, M0, MS, MS, MS,  /* D */
     J1, J1, J1, J1, B0, B0, B0, B0, CL, JF, FJ, JP, N0, N0, N0, N0,  /* E */
     PF, ST, PF, PF, ST, N0, MS, MS, N0, N0, N0, N0, N0, N0, MS, MS}, /* F */
};

#undef N0
#undef B0
#undef Z0
#undef V0
#undef M0
#undef MB
#undef MZ
#undef MS
#undef SB
#undef SZ
#undef MM
#undef NS
#undef AM
#undef PF
#undef ES
#undef XX
#undef J1
#undef J4
#undef JP
#undef JF
#undef CL
#undef R0
#undef R2
#undef SY
#undef IN
#undef ST
#undef I3
#undef UD
#undef EN
#undef FJ
#undef FC

/* What is known of an instruction while it is read. */
struct x86_parse {
    const uint8_t *code; /* X86_WINDOW bytes that may be read */
    uint32_t at;         /* offset of the next byte */
    uint32_t entry;      /* of the opcode in its map */
    uint32_t prefixes;   /* enum patas__prefix */
    uint32_t rex;        /* REX, or the payload of REX2, or 0 */
    uint32_t operand;    /* size: 0 is 32 bits, 1 is 16, 2 is 64 */
    uint32_t opcode_at;
    uint32_t modrm_at;
    uint32_t map;
    uint32_t encoding;
    uint8_t opcode;
    uint8_t modrm; /* 0 if there is none */
    bool wide;     /* 64-bit mode */
    bool rip;      /* the displacement at modrm_at + 1 is relative to PC */
    bool pad;      /* struct patas__insn: landing_pad, padding */
    bool landing_pad;
};

X86_ALWAYS_INLINE uint32_t x86_reg(const struct x86_parse *p)
{
    return p->modrm >> 3 & 7;
}

X86_ALWAYS_INLINE bool x86_register_operand(const struct x86_parse *p)
{
    return p->modrm >= 0xc0;
}

/* 0 none, 1 66, 2 F3, 3 F2: as VEX.pp has them. */
X86_ALWAYS_INLINE uint32_t x86_pp(uint32_t prefixes)
{
    return prefixes & PATAS__PREFIX_F3   ? 2
           : prefixes & PATAS__PREFIX_F2 ? 3
                                         : prefixes & PATAS__PREFIX_66;
}

/* Bytes of ModRM, SIB and displacement, 16-bit addressing (SDM table 2-1). */
static uint32_t x86_operand_size_16(uint8_t modrm)
{
    switch (modrm >> 6) {
    case 0:
        return (modrm & 7) == 6 ? 3 : 1;
    case 1:
        return 2;
    case 2:
        return 3;
    default:
        return 1;
    }
}

/* The same for 32- and 64-bit addressing (SDM tables 2-2 and 2-3). */
X86_ALWAYS_INLINE uint32_t x86_operand_size(const struct x86_parse *p)
{
    static const uint8_t by_mod[4][8] = {
        {1, 1, 1, 1, 2, 5, 1, 1},
        {2, 2, 2, 2, 3, 2, 2, 2},
        {5, 5, 5, 5, 6, 5, 5, 5},
        {1, 1, 1, 1, 1, 1, 1, 1},
    };
    uint32_t size = by_mod[p->modrm >> 6][p->modrm & 7];

    if ((p->modrm & 0xc7) == 4 && (p->code[p->at + 1] & 7) == 5)
        size += 4; /* no base, a displacement */
    return size;
}

/* Steps over ModRM and its tail; p->modrm is set. */
X86_ALWAYS_INLINE void x86_operand(struct x86_parse *p)
{
    p->modrm_at = p->at;
    if (!p->wide && (p->prefixes & PATAS__PREFIX_67)) {
        p->at += x86_operand_size_16(p->modrm);
        return;
    }
    p->rip = p->wide && (p->modrm & 0xc7) == 5;
    p->at += x86_operand_size(p);
}

/* Opcodes that LOCK may precede, their destination being memory (SDM vol. 2,
 * LOCK). */
X86_NEVER_INLINE bool x86_may_lock(const struct x86_parse *p)
{
    uint32_t reg = x86_reg(p);

    if (!(p->entry & X86_MODRM) || x86_register_operand(p))
        return false;
    if (p->map == 0) {
        if (p->opcode < 0x38)
            return (p->opcode & 7) < 2;
        switch (p->opcode) {
        case 0x80:
        case 0x81:
        case 0x82:
        case 0x83:
            return reg != 7;
        case 0x86:
        case 0x87:
            return true;
        case 0xf6:
        case 0xf7:
            return reg == 2 || reg == 3;
        case 0xfe:
        case 0xff:
            return reg < 2;
        default:
            return false;
        }
    }
    if (p->map != 1)
        return false;
    switch (p->opcode) {
    case 0xab: /* bts */
    case 0xb0: /* cmpxchg */
    case 0xb1:
    case 0xb3: /* btr */
    case 0xbb: /* btc */
    case 0xc0: /* xadd */
    case 0xc1:
        return true;
    case 0xba:
        return reg >= 5;
    case 0xc7: /* cmpxchg8b */
        return reg == 1;
    default:
        return false;
    }
}

/* Escape opcodes D9 to DF (SDM vol. 2, B.17): byte i of `registers` holds the
 * ModRM.rm values allowed with ModRM.reg i; bit i of `memory` allows it. */
static bool x86_x87(uint8_t opcode, uint8_t modrm)
{
    static const struct {
        uint8_t memory;
        uint8_t registers[8];
    } allowed[8] = {
        {0xff, {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}},
        {0xfd, {0xff, 0xff, 0x01, 0xff, 0x33, 0x7f, 0xff, 0xff}},
        {0xff, {0xff, 0xff, 0xff, 0xff, 0x00, 0x02, 0x00, 0x00}},
        {0xaf, {0xff, 0xff, 0xff, 0xff, 0x1f, 0xff, 0xff, 0x00}},
        {0xff, {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}},
        {0xdf, {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x00, 0x00}},
        {0xff, {0xff, 0xff, 0xff, 0x02, 0xff, 0xff, 0xff, 0xff}},
        {0xff, {0xff, 0xff, 0xff, 0xff, 0x01, 0xff, 0xff, 0x00}},
    };
    uint32_t reg = modrm >> 3 & 7;

    if (modrm < 0xc0)
        return allowed[opcode & 7].memory >> reg & 1;
    return allowed[opcode & 7].registers[reg] >> (modrm & 7) & 1;
}

/* xabort and xbegin stand among the moves of an immediate. */
static bool x86_move_immediate(struct x86_parse *p)
{
    if (x86_reg(p) == 0)
        return true;
    if (p->modrm != 0xf8)
        return false;
    if (p->opcode == 0xc7)
        p->entry = X86_MODRM | X86_JZ | X86_XBEGIN | X86_FLOW(BRANCH);
    return true;
}

static bool x86_group_5(struct x86_parse *p)
{
    uint32_t reg = x86_reg(p);

    if (reg == 7 || ((reg == 3 || reg == 5) && x86_register_operand(p)))
        return false; /* far: only through memory */
    if (reg == 2 || reg == 3)
        p->entry |= X86_FLOW(CALL);
    else if (reg == 4 || reg == 5)
        p->entry |= X86_FLOW(JUMP);
    return true;
}

/* What assemblers fill gaps with in 32-bit code, beside nop: a register moved
 * to itself, lea of itself plus 0. Neither changes anything there. */
static bool x86_idle(const struct x86_parse *p)
{
    const uint8_t *tail = p->code + p->at + 1;
    uint32_t reg = x86_reg(p);
    uint32_t displacement;

    if (p->prefixes & ~(uint32_t)PATAS__PREFIX_SEGMENT)
        return false;
    if (p->opcode != 0x8d)
        return p->modrm == (0xc0 | reg << 3 | reg);
    if ((p->modrm & 7) == 4) {
        if ((*tail & 0x3f) != 0x20 + reg || *tail >= 0x40)
            return false; /* no index, and the base is the destination */
        tail++;
    } else if ((p->modrm & 7) != reg) {
        return false;
    }
    displacement = p->modrm >> 6 == 1   ? *tail
                   : p->modrm >> 6 == 2 ? patas__load32(tail)
                                        : reg == 5 || reg == 4;
    return displacement == 0;
}

/* Opcodes of map 0 marked special. May refine the entry. */
X86_NEVER_INLINE bool x86_special_0(struct x86_parse *p)
{
    switch (p->opcode) {
    case 0x89: /* 32-bit mode only, as is 8D */
    case 0x8b:
        p->pad = x86_idle(p);
        return true;
    case 0x8c: /* mov from a segment register */
        return x86_reg(p) < 6;
    case 0x8d:
        p->pad = !x86_register_operand(p) && x86_idle(p);
        return !x86_register_operand(p);
    case 0x8e: /* ... and to one, but never to cs */
        return x86_reg(p) < 6 && x86_reg(p) != 1;
    case 0x90: /* neither pause nor xchg with r8, r16, r24 */
        p->pad = !(p->prefixes & PATAS__PREFIX_F3) && !(p->rex & 0x11);
        return true;
    case 0xc6:
    case 0xc7:
        return x86_move_immediate(p);
    case 0xcc:
        p->pad = true;
        return true;
    case 0xf6:
        p->entry |= x86_reg(p) < 2 ? X86_I8 : 0;
        return true;
    case 0xf7:
        p->entry |= x86_reg(p) < 2 ? X86_IZ : 0;
        return true;
    case 0xfe:
        return x86_reg(p) < 2;
    case 0xff:
        return x86_group_5(p);
    default:
        return x86_x87(p->opcode, p->modrm);
    }
}

/* Rows of the 0F map that depend on ModRM.reg, entries as in x86_legacy_1. */
struct x86_legacy_group {
    uint8_t opcode;
    uint8_t wide[8];   /* 64-bit mode */
    uint8_t narrow[8]; /* 32-bit mode */
};

static const struct x86_legacy_group x86_legacy_groups[] = {
    {0x00, /* sldt ... lkgs */
     {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x88, 0x00},
     {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x00, 0x00}},
    {0x01, /* sgdt ... and 50 others, see x86_system */
     {0xdf, 0xff, 0x1f, 0xff, 0xff, 0xd4, 0xff, 0xff},
     {0x1f, 0x3f, 0x1f, 0xff, 0xff, 0xd4, 0xff, 0xff}},
    {0x1a, /* bndmov, bndldx: see x86_bounds */
     {0xff, 0xff, 0xff, 0xff, 0x10, 0x10, 0x10, 0x10},
     {0xff, 0xff, 0xff, 0xff, 0x10, 0x10, 0x10, 0x10}},
    {0x1b,
     {0xff, 0xff, 0xff, 0xff, 0x50, 0x50, 0x50, 0x50},
     {0xff, 0xff, 0xff, 0xff, 0x50, 0x50, 0x50, 0x50}},
    {0x71, /* vector shifts by an immediate */
     {0x00, 0x00, 0x30, 0x00, 0x30, 0x00, 0x30, 0x00},
     {0x00, 0x00, 0x30, 0x00, 0x30, 0x00, 0x30, 0x00}},
    {0x72,
     {0x00, 0x00, 0x30, 0x00, 0x30, 0x00, 0x30, 0x00},
     {0x00, 0x00, 0x30, 0x00, 0x30, 0x00, 0x30, 0x00}},
    {0x73,
     {0x00, 0x00, 0x30, 0x20, 0x00, 0x00, 0x30, 0x20},
     {0x00, 0x00, 0x30, 0x20, 0x00, 0x00, 0x30, 0x20}},
    {0x78, /* vmread; AMD: extrq, insertq */
     {0xb1, 0x91, 0x91, 0x91, 0x91, 0x91, 0x91, 0x91},
     {0xb1, 0x91, 0x91, 0x91, 0x91, 0x91, 0x91, 0x91}},
    {0xa6, /* VIA PadLock */
     {0x40, 0x40, 0x40, 0x00, 0x00, 0x00, 0x00, 0x00},
     {0x40, 0x40, 0x40, 0x00, 0x00, 0x00, 0x00, 0x00}},
    {0xa7,
     {0x70, 0x40, 0x40, 0x40, 0x40, 0x40, 0x00, 0x00},
     {0x70, 0x40, 0x40, 0x40, 0x40, 0x40, 0x00, 0x00}},
    {0xae, /* fxsave, fences, rdfsbase */
     {0x41, 0x41, 0x41, 0x41, 0x45, 0x51, 0xf7, 0x13},
     {0x01, 0x01, 0x01, 0x01, 0x45, 0x51, 0xf7, 0x13}},
    {0xba, /* bt by an immediate */
     {0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff, 0xff},
     {0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff, 0xff}},
    {0xc7, /* cmpxchg8b, rdrand */
     {0x00, 0x0f, 0x00, 0x01, 0x01, 0x01, 0x77, 0x71},
     {0x00, 0x0f, 0x00, 0x01, 0x01, 0x01, 0x37, 0x71}},
};

static bool x86_in_group(const struct x86_parse *p)
{
    const struct x86_legacy_group *group = x86_legacy_groups;
    uint32_t bit = x86_pp(p->prefixes) | (x86_register_operand(p) ? 4 : 0);

    while (group->opcode != p->opcode)
        group++;
    return (p->wide ? group->wide : group->narrow)[x86_reg(p)] >> bit & 1;
}

/* 0F 01 with a register operand: ModRM.rm values allowed by ModRM.reg and
 * prefix (SDM vol. 2 table A-6, AMD APM vol. 3 table A-8). */
static bool x86_system(struct x86_parse *p)
{
    static const uint8_t wide[8][4] = {
        {0xff, 0x00, 0x40, 0x40}, /* enclv vmcall .. pconfig wrmsrns; msrlist */
        {0x8f, 0xf0, 0x04, 0x04}, /* monitor .. encls; tdcall; eretu, erets */
        {0xf3, 0x00, 0x00, 0x00}, /* xgetbv .. enclu */
        {0xff, 0xff, 0xff, 0xff}, /* vmrun .. invlpga */
        {0xff, 0xff, 0xff, 0xff}, /* smsw */
        {0xc1, 0x00, 0xf5, 0x03}, /* serialize, uiret .. stui; setssbsy */
        {0xff, 0xff, 0xff, 0xff}, /* lmsw */
        {0xff, 0x33, 0xf7, 0xf3}, /* swapgs .. invlpgb, rmpadjust */
    };
    static const uint8_t narrow[8][4] = {
        {0x7f, 0x00, 0x00, 0x00}, {0x8f, 0x10, 0x00, 0x00},
        {0xf3, 0x00, 0x00, 0x00}, {0xff, 0xff, 0xff, 0xff},
        {0xff, 0xff, 0xff, 0xff}, {0xc1, 0x00, 0x05, 0x03},
        {0xff, 0xff, 0xff, 0xff}, {0xfe, 0x32, 0x36, 0xb2},
    };
    uint32_t pp = x86_pp(p->prefixes);
    uint32_t reg = x86_reg(p);

    if (!x86_register_operand(p))
        return x86_in_group(p);
    if ((p->modrm == 0xca && pp >= 2) || (p->modrm == 0xec && pp == 2))
        p->entry |= X86_FLOW(RETURN); /* erets, eretu, uiret */
    return (p->wide ? wide : narrow)[reg][pp] >> (p->modrm & 7) & 1;
}

/* 0F 1A and 1B: MPX, which has four registers, and three instructions that
 * may not be addressed relative to the PC (SDM vol. 2, BNDLDX, BNDMK, BNDSTX).
 * What it left undefined are NOPs. */
static bool x86_bounds(const struct x86_parse *p)
{
    uint32_t pp = x86_pp(p->prefixes);

    if (!x86_in_group(p))
        return false;
    if (x86_register_operand(p) && (pp == 0 || (pp == 2 && p->opcode == 0x1b)))
        return true;
    if (p->rex & X86_REX_R)
        return false;
    if (x86_register_operand(p))
        return pp != 1 || (!(p->modrm & 4) && !(p->rex & X86_REX_B));
    if (!p->wide && (p->prefixes & PATAS__PREFIX_67))
        return false;
    if (pp == 0 || (pp == 2 && p->opcode == 0x1b))
        return !p->wide || (p->modrm & 0xc7) != 5;
    return true;
}

/* Control and debug registers: ModRM.mod is ignored (SDM vol. 2, MOV). */
static bool x86_control(struct x86_parse *p)
{
    uint32_t number = x86_reg(p) | (p->rex & X86_REX_R) << 1;

    p->modrm |= 0xc0;
    if (p->encoding == PATAS__REX2 && (p->rex & 0x40))
        return false;
    if (p->opcode & 1)
        return number < 8;
    return number < 9 && (0x11d >> number & 1); /* cr0 cr2 cr3 cr4 cr8 */
}

/* Opcodes of map 1 marked special. May refine the entry. */
X86_NEVER_INLINE bool x86_special_1(struct x86_parse *p)
{
    switch (p->opcode) {
    case 0x01:
        return x86_system(p);
    case 0x1a:
    case 0x1b:
        return x86_bounds(p);
    case 0x1e:
        p->landing_pad = (p->prefixes & PATAS__PREFIX_F3) &&
                         p->modrm == (p->wide ? 0xfa : 0xfb);
        return true;
    case 0x1f:
        p->pad = x86_reg(p) == 0;
        return true;
    case 0x20:
    case 0x21:
    case 0x22:
    case 0x23:
        return x86_control(p);
    case 0x78:
        if (x86_pp(p->prefixes))
            p->entry |= X86_I16; /* two immediates of a byte */
        return x86_in_group(p);
    case 0xa6:
    case 0xa7:
        return (p->modrm & 7) == 0 && x86_in_group(p);
    default:
        return x86_in_group(p);
    }
}

/* Maps 0F38 and 0F3A. */
static bool x86_maps_2_3(struct x86_parse *p)
{
    const uint8_t *allowed = p->map == 2 ? x86_legacy_2 : x86_legacy_3;
    uint8_t forms = allowed[p->opcode];

    p->entry = X86_MODRM | (p->map == 3 ? X86_I8 : 0);
    if (p->map == 2 && p->opcode == 0xd8) /* aesencwide128kl ... */
        forms = x86_reg(p) < 4 ? 0x04 : 0;
    if (p->map == 2 && p->opcode == 0xf8) /* movdir64b, enqcmd; urdmsr */
        forms = p->wide ? 0xce : 0x0e;
    if (p->map == 3 && p->opcode == 0xf0) /* hreset */
        forms = p->modrm == 0xc0 ? 0x40 : 0;
    return forms >> (x86_pp(p->prefixes) | (x86_register_operand(p) ? 4 : 0)) &
           1;
}

/* Suffixes of 3DNow! (AMD APM vol. 3 table A-13). */
static bool x86_3dnow(uint8_t suffix)
{
    switch (suffix) {
    case 0x0c:
    case 0x0d:
    case 0x1c:
    case 0x1d:
    case 0x8a:
    case 0x8e:
    case 0x90:
    case 0x94:
    case 0x96:
    case 0x97:
    case 0x9a:
    case 0x9e:
    case 0xa0:
    case 0xa4:
    case 0xa6:
    case 0xa7:
    case 0xaa:
    case 0xae:
    case 0xb0:
    case 0xb4:
    case 0xb6:
    case 0xb7:
    case 0xbb:
    case 0xbf:
        return true;
    default:
        return false;
    }
}

/* Behind 0F 38, 0F 3A, 0F 0F. */
X86_NEVER_INLINE bool x86_escape_0f(struct x86_parse *p)
{
    if (p->opcode == 0x0f) {
        p->encoding = PATAS__3DNOW;
        p->entry = X86_MODRM | X86_I8;
        p->modrm = p->code[p->at];
        x86_operand(p);
        return x86_3dnow(p->code[p->at]);
    }
    p->map = p->opcode == 0x38 ? 2 : 3;
    p->opcode_at = p->at++;
    p->opcode = p->code[p->opcode_at];
    p->modrm = p->code[p->at];
    if (!x86_maps_2_3(p))
        return false;
    x86_operand(p);
    return true;
}

/* ModRM and what hangs on it, maps 0 and 1. False: no instruction. */
X86_ALWAYS_INLINE bool x86_legacy(struct x86_parse *p)
{
    if (p->entry & X86_MODRM)
        p->modrm = p->code[p->at];
    if (p->entry & X86_SPECIAL) {
        if (!(p->map ? x86_special_1(p) : x86_special_0(p)))
            return false;
    } else if (p->map) {
        uint32_t bit = x86_pp(p->prefixes) | (x86_register_operand(p) ? 4 : 0);
        if (!(x86_legacy_1[p->opcode] >> bit & 1))
            return false;
    } else if ((p->entry & X86_MEMORY) && x86_register_operand(p)) {
        return false;
    }
    if (p->entry & X86_MODRM)
        x86_operand(p);
    return true;
}

/* The payload of VEX, XOP or EVEX, register numbers no longer inverted. */
struct x86_payload {
    uint32_t slot; /* in x86_row_of */
    uint32_t pp;
    uint32_t shape; /* W | LL << 1 | b << 3 */
    uint32_t asked; /* enum x86_use: what differs from its default */
    uint32_t v;     /* vvvv, and V4 as bit 4 */
    uint32_t last;  /* EVEX: last byte, V4 cleared; else 0 */
};

/* R, X and B, the three top bits of the first payload byte. */
static uint32_t x86_asked_rxb(uint8_t byte)
{
    return (byte & 0x80 ? 0 : X86_R3) | (byte & 0x40 ? 0 : X86_X3) |
           (byte & 0x20 ? 0 : X86_B3);
}

static uint32_t x86_asked_v(uint32_t v)
{
    return (v & 15 ? X86_V : 0) | (v & 8 ? X86_V3 : 0) | (v & 16 ? X86_V4 : 0);
}

/* C5, or C4 and 8F (SDM vol. 2, 2.3.5; AMD APM vol. 3, 1.2.7). */
static bool x86_read_vex(struct x86_parse *p, struct x86_payload *load)
{
    const uint8_t *code = p->code + p->at;
    uint8_t last;

    load->asked = X86_NOMASK;
    if (p->opcode == 0xc5) {
        p->map = 1;
        last = code[0] & 0x7f; /* W is 0 */
        load->asked |= code[0] & 0x80 ? 0 : X86_R3;
        p->at += 1;
    } else {
        p->map = code[0] & 31;
        last = code[1];
        load->asked |= x86_asked_rxb(code[0]);
        p->at += 2;
    }
    if (p->opcode == 0x8f)
        load->slot = p->map - 4;
    else
        load->slot = p->map == 7 ? 3 : p->map - 1;
    if (p->map == 0 ||
        (p->opcode == 0x8f ? p->map > 10 : p->map > 3 && p->map != 7))
        return false;
    load->pp = last & 3;
    load->shape = (uint32_t)(last >> 7 | (last >> 1 & 2));
    load->v = ~(uint32_t)last >> 3 & 15;
    load->last = 0;
    return true;
}

/* 62 (SDM vol. 2, 2.7.1; bits B4 and X4: APX, 3.1.2.3). */
static bool x86_read_evex(struct x86_parse *p, struct x86_payload *load)
{
    const uint8_t *code = p->code + p->at;

    p->map = code[0] & 7;
    p->at += 3;
    if (p->map == 0)
        return false;
    load->slot = 6 + p->map;
    load->pp = code[1] & 3;
    load->shape =
        (uint32_t)(code[1] >> 7 | (code[2] >> 4 & 6) | (code[2] >> 1 & 8));
    load->v = (~(uint32_t)code[1] >> 3 & 15) | (code[2] & 8 ? 0 : 16);
    load->last = code[2] & 0xf7;
    load->asked = x86_asked_rxb(code[0]) | (code[0] & 0x10 ? 0 : X86_R4) |
                  (code[0] & 8 ? X86_B4 : 0) | (code[1] & 4 ? 0 : X86_X4) |
                  (code[2] & 7 ? X86_MASK : X86_NOMASK) |
                  (code[2] & 0x80 ? X86_ZERO : 0);
    return true;
}

/* In 32-bit mode there are eight registers, and high bits of their numbers
 * don't count; but V4 and what APX gave a meaning must be as in a low number
 * (SDM vol. 2, 2.7.11.2). */
static bool x86_narrow(struct x86_payload *load)
{
    load->asked &= ~(uint32_t)(X86_R3 | X86_X3 | X86_B3 | X86_R4 | X86_V3);
    return !(load->asked & (X86_V4 | X86_B4 | X86_X4));
}

/* APX forms: the last byte is 0 but for V4, ND and NF, or the condition. */
static bool x86_apx_form(const struct x86_form *form, struct x86_payload *load)
{
    uint32_t nd = load->last >> 4 & 1;
    uint32_t nf = load->last >> 2 & 1;

    if (form->uses & X86_SCC) {
        load->shape &= 1;
        load->shape |= nd << 3;
        load->asked &= ~(uint32_t)(X86_V | X86_V3 | X86_V4 | X86_MASK);
        load->asked |= X86_NOMASK;
        return (load->last & 0xe0) == 0;
    }
    if (load->last & 0xe3)
        return false;
    load->shape = (load->shape & 1) | nf << 2 | nd << 3;
    load->asked &= ~(uint32_t)X86_MASK;
    load->asked |= X86_NOMASK;
    if (form->uses & X86_NDV) {
        if (!nd && load->v)
            return false;
        load->asked &= ~(uint32_t)X86_V;
    }
    return true;
}

/* Registers that must differ, else #UD (the instructions' pages). */
static bool x86_tied(const struct x86_parse *p, const struct x86_payload *load,
                     uint32_t tie)
{
    uint32_t asked = load->asked;
    uint32_t reg =
        x86_reg(p) | (asked & X86_R3 ? 8 : 0) | (asked & X86_R4 ? 16 : 0);
    uint32_t rm = (p->modrm & 7) | (asked & X86_B3 ? 8 : 0);
    uint32_t index = (p->code[p->at + 1] >> 3 & 7) | (asked & X86_X3 ? 8 : 0);
    uint32_t v = p->wide ? load->v : load->v & 7;

    switch (tie) {
    case X86_TIE_GATHER:
        return reg == index || reg == v || index == v;
    case X86_TIE_GATHER_EVEX:
        return reg == (index | (load->v & 16));
    case X86_TIE_TILES:
        return reg == rm || reg == v || rm == v;
    case X86_TIE_COMPLEX:
        rm |= asked & X86_X3 ? 16 : 0;
        return reg == v || (x86_register_operand(p) && reg == rm);
    case X86_TIE_POP2:
    case X86_TIE_PUSH2:
        rm |= asked & X86_B4 ? 16 : 0;
        return rm == 4 || load->v == 4 || (tie == X86_TIE_POP2 && rm == v);
    default:
        return false;
    }
}

/* The immediate of a VEX, XOP or EVEX opcode. Returns its entry. */
static uint32_t x86_vector_immediate(const struct x86_parse *p, uint32_t pp)
{
    uint32_t z = p->operand == 2 || pp != 1 ? X86_I32 : X86_I16;

    switch (p->map) {
    case 1:
        return (p->opcode >= 0x70 && p->opcode <= 0x73) || p->opcode == 0xc2 ||
                       (p->opcode >= 0xc4 && p->opcode <= 0xc6)
                   ? X86_I8
                   : 0;
    case 3:
    case 8:
        return X86_I8;
    case 4: /* APX: the one-byte map and parts of 0F */
        switch (p->opcode) {
        case 0x24: /* shld, shrd */
        case 0x2c:
        case 0x6b:
        case 0x80:
        case 0x83:
        case 0xc0:
        case 0xc1:
            return X86_I8;
        case 0x69:
        case 0x81:
            return z;
        case 0xf6:
            return x86_reg(p) < 2 ? X86_I8 : 0;
        case 0xf7:
            return x86_reg(p) < 2 ? z : 0;
        default:
            return 0;
        }
    case 7:  /* urdmsr, uwrmsr */
    case 10: /* bextr, lwpins, lwpval */
        return X86_I32;
    default:
        return 0;
    }
}

static const struct x86_form *x86_find_form(const struct x86_parse *p,
                                            const struct x86_payload *load)
{
    uint32_t row = x86_row_of[load->slot][load->pp][p->opcode >> 4];
    uint32_t form = x86_rows[row][p->opcode & 15][x86_register_operand(p)];

    if (form >= X86_FIRST_GROUP)
        form = x86_groups[form - X86_FIRST_GROUP][x86_reg(p)];
    return &x86_forms[form];
}

static bool x86_fits(const struct x86_parse *p, struct x86_payload *load,
                     const struct x86_form *form)
{
    if ((form->uses & X86_APX) && !x86_apx_form(form, load))
        return false;
    if (!(form->shapes >> load->shape & 1) || !(form->regs >> x86_reg(p) & 1) ||
        (load->asked & ~form->uses & 0xfff))
        return false;
    if ((load->asked & X86_ZERO) && (load->asked & X86_NOMASK))
        return false; /* zeroing needs a mask */
    if ((form->uses & X86_ONLY64) && !p->wide)
        return false;
    if (form->rm == X86_RM_SIB &&
        ((p->modrm & 7) != 4 || (!p->wide && (p->prefixes & PATAS__PREFIX_67))))
        return false; /* vector indices need a SIB byte */
    if (form->rm == X86_RM_ZERO && (p->modrm & 7) != 0)
        return false;
    return form->tie == X86_TIE_NONE || !x86_tied(p, load, form->tie);
}

/* Behind C4, C5, 62, and 8F that isn't pop. */
static bool x86_vector(struct x86_parse *p)
{
    struct x86_payload load = {0};

    if (p->rex || (p->prefixes & (PATAS__PREFIX_66 | PATAS__PREFIX_F2 |
                                  PATAS__PREFIX_F3 | PATAS__PREFIX_LOCK)))
        return false; /* SDM vol. 2, 2.3.2 and 2.3.3 */
    p->encoding = p->opcode == 0x62   ? PATAS__EVEX
                  : p->opcode == 0x8f ? PATAS__XOP
                                      : PATAS__VEX;
    if (!(p->opcode == 0x62 ? x86_read_evex(p, &load) : x86_read_vex(p, &load)))
        return false;
    load.asked |= x86_asked_v(load.v);
    if (!p->wide && !x86_narrow(&load))
        return false;
    p->opcode_at = p->at++;
    p->opcode = p->code[p->opcode_at];
    p->operand = load.shape & 1 ? 2 : 0;
    if (p->encoding == PATAS__VEX && p->map == 1 && p->opcode == 0x77) {
        p->entry = 0; /* vzeroupper, vzeroall: the one without ModRM */
        return load.pp == 0 && load.v == 0;
    }
    p->modrm = p->code[p->at];
    p->entry = X86_MODRM | x86_vector_immediate(p, load.pp);
    if (!x86_fits(p, &load, x86_find_form(p, &load)))
        return false;
    x86_operand(p);
    return true;
}

/* 8F /0, the rest of that opcode being XOP. */
static bool x86_pop(struct x86_parse *p)
{
    p->entry = X86_MODRM;
    p->modrm = p->code[p->at];
    if (x86_reg(p) != 0)
        return false;
    x86_operand(p);
    return true;
}

/* D5 (APX specification, 3.1.2.1 and 3.1.2.2). */
static bool x86_rex2(struct x86_parse *p)
{
    uint32_t row;

    if (p->rex)
        return false;
    p->encoding = PATAS__REX2;
    p->rex = p->code[p->at++];
    p->operand = p->rex & X86_REX_W ? 2 : p->prefixes & PATAS__PREFIX_66;
    p->map = p->rex >> 7;
    p->opcode_at = p->at++;
    p->opcode = p->code[p->opcode_at];
    row = p->opcode >> 4;
    if (p->map) {
        p->entry = x86_maps[X86_MAP_0F][p->opcode];
        if (row == 3 || row == 8)
            return false;
    } else {
        p->entry = x86_maps[X86_MAP_64][p->opcode];
        if (p->opcode == 0xa1) { /* jmpabs */
            p->entry = X86_I64 | X86_FLOW(JUMP);
            return !(p->rex & X86_REX_W) &&
                   !(p->prefixes &
                     (PATAS__PREFIX_66 | PATAS__PREFIX_67 | PATAS__PREFIX_F2 |
                      PATAS__PREFIX_F3 | PATAS__PREFIX_LOCK));
        }
        if (row == 4 || row == 7 || row == 0xa || row == 0xe)
            return false;
    }
    if (!p->map && p->opcode == 0x8f)
        return x86_pop(p);
    if (p->entry & (X86_BEFORE | X86_BAD))
        return false;
    if (!x86_legacy(p))
        return false;
    if (!p->map || x86_register_operand(p))
        return true;
    /* xsave and its family have no extended registers. */
    if (p->opcode == 0xae)
        return x86_pp(p->prefixes) != 0 || x86_reg(p) < 4 || x86_reg(p) == 7;
    return p->opcode != 0xc7 || x86_reg(p) < 3 || x86_reg(p) > 5;
}

/* Map 0 opcodes that begin something else. */
X86_NEVER_INLINE bool x86_escape_0(struct x86_parse *p)
{
    bool pair = p->code[p->at] >= 0xc0; /* in 32-bit mode, no memory operand */

    switch (p->opcode) {
    case 0xd5:
        return x86_rex2(p);
    case 0x8f:
        if ((p->code[p->at] & 31) >= 8)
            return x86_vector(p);
        return x86_pop(p);
    default:
        if (p->wide || pair)
            return x86_vector(p);
        p->entry = X86_MODRM; /* les, lds, bound */
        p->modrm = p->code[p->at];
        x86_operand(p);
        return true;
    }
}

/* Takes one prefix. False if there are too many. */
X86_ALWAYS_INLINE bool x86_take_prefix(struct x86_parse *p)
{
    uint32_t repeat = PATAS__PREFIX_F2 | PATAS__PREFIX_F3;
    uint32_t rex = 0;

    switch (p->opcode) {
    case 0x66:
        p->prefixes |= PATAS__PREFIX_66;
        break;
    case 0x67:
        p->prefixes |= PATAS__PREFIX_67;
        break;
    case 0xf2: /* the last of the two counts */
        p->prefixes = (p->prefixes & ~repeat) | PATAS__PREFIX_F2;
        break;
    case 0xf3:
        p->prefixes = (p->prefixes & ~repeat) | PATAS__PREFIX_F3;
        break;
    case 0xf0:
        p->prefixes |= PATAS__PREFIX_LOCK;
        break;
    case 0x64:
        p->prefixes |= PATAS__PREFIX_FS;
        break;
    case 0x65:
        p->prefixes |= PATAS__PREFIX_GS;
        break;
    case 0x26:
    case 0x2e:
    case 0x36:
    case 0x3e:
        p->prefixes |= PATAS__PREFIX_SEGMENT;
        break;
    default:
        rex = p->opcode;
    }
    p->rex = rex; /* counts only right before the opcode */
    p->opcode = p->code[p->at++];
    return p->at <= PATAS__INSN_MAX;
}

/* A branch relative to the PC. Its displacement ends the instruction. */
X86_ALWAYS_INLINE void x86_branch(const struct x86_parse *p, uint32_t size,
                                  struct patas__insn *insn)
{
    const uint8_t *field = p->code + p->at - size;
    int32_t distance;
    uint64_t target;

    if (size == 1)
        distance = (int8_t)*field;
    else if (size == 2)
        distance = (int16_t)patas__load16(field);
    else
        distance = (int32_t)patas__load32(field);
    target = insn->address + p->at + (uint64_t)(int64_t)distance;
    if (!p->wide) {
        target &= 0xffffffff;
        if (p->operand == 1 && !(p->entry & X86_XBEGIN))
            target &= 0xffff;
    }
    insn->target = target;
    insn->has_target = true;
    insn->rel_at = (uint8_t)(p->at - size);
    insn->rel_size = (uint8_t)size;
}

/* Bytes of the immediate. */
X86_ALWAYS_INLINE uint32_t x86_immediate(const struct x86_parse *p)
{
    bool short_address = p->prefixes & PATAS__PREFIX_67;

    if (p->entry & X86_ADDRESS)
        return p->wide ? (short_address ? 4 : 8) : (short_address ? 2 : 4);
    if (p->wide &&
        (p->entry & (X86_SIZES | X86_RELATIVE | X86_XBEGIN)) == X86_JZ)
        return 4; /* 66 is ignored: see x86.h */
    return p->entry >> 4 * p->operand & 15;
}

X86_ALWAYS_INLINE void x86_describe(const struct x86_parse *p,
                                    struct patas__insn *insn)
{
    insn->flow = (uint8_t)(p->entry >> X86_FLOW_SHIFT);
    insn->landing_pad = p->landing_pad;
    insn->padding = p->pad;
    insn->opcode_at = (uint8_t)p->opcode_at;
    insn->modrm_at = (uint8_t)p->modrm_at;
    insn->map = (uint8_t)p->map;
    insn->encoding = (uint8_t)p->encoding;
    insn->prefixes = (uint8_t)p->prefixes;
    insn->rex = (uint8_t)p->rex;
    insn->length = (uint8_t)p->at;
    if (p->rip) {
        uint64_t operand = insn->address + p->at +
                           (uint64_t)(int64_t)(int32_t)patas__load32(
                               p->code + p->modrm_at + 1);
        bool cut = p->prefixes & PATAS__PREFIX_67;

        /* MPX ignores 67 in 64-bit mode (SDM vol. 1, 17.3). */
        if (p->map == 1 && (p->opcode & 0xfe) == 0x1a)
            cut = false;
        insn->operand = cut ? (uint32_t)operand : operand;
        insn->has_operand = true;
        insn->rel_at = (uint8_t)(p->modrm_at + 1);
        insn->rel_size = 4;
    }
}

/* Opcode, operands; from the first byte behind the prefixes. */
X86_ALWAYS_INLINE bool x86_body(struct x86_parse *p)
{
    p->opcode_at = p->at - 1;
    p->operand = p->rex & X86_REX_W ? 2 : p->prefixes & PATAS__PREFIX_66;
    if (p->entry & X86_ESCAPE) {
        if (p->opcode != 0x0f)
            return x86_escape_0(p);
        p->map = 1;
        p->opcode_at = p->at++;
        p->opcode = p->code[p->opcode_at];
        p->entry = x86_maps[X86_MAP_0F][p->opcode];
        if (p->entry & X86_ESCAPE)
            return x86_escape_0f(p);
    }
    return !(p->entry & X86_BAD) && x86_legacy(p);
}

/* The whole of it, for what the fast road doesn't carry. */
X86_ALWAYS_INLINE bool x86_decode_any(const uint8_t *code, size_t size,
                                      uint64_t address, bool wide,
                                      struct patas__insn *insn)
{
    struct x86_parse p = {.code = code, .at = 1, .wide = wide};
    uint32_t immediate;

    *insn = (struct patas__insn){.address = address};
    p.opcode = code[0];
    p.entry = x86_maps[wide ? X86_MAP_64 : X86_MAP_32][p.opcode];
    while (p.entry & X86_PREFIX) {
        if (!x86_take_prefix(&p))
            return false;
        p.entry = x86_maps[wide ? X86_MAP_64 : X86_MAP_32][p.opcode];
    }
    if (!x86_body(&p))
        return false;
    if ((p.prefixes & PATAS__PREFIX_LOCK) && !x86_may_lock(&p))
        return false;
    immediate = x86_immediate(&p);
    p.at += immediate;
    if (p.at > PATAS__INSN_MAX || p.at > size)
        return false;
    if (p.entry & X86_RELATIVE)
        x86_branch(&p, immediate, insn);
    x86_describe(&p, insn);
    return true;
}

X86_NEVER_INLINE bool x86_decode_any_64(const uint8_t *code, size_t size,
                                        uint64_t address,
                                        struct patas__insn *insn)
{
    return x86_decode_any(code, size, address, true, insn);
}

X86_NEVER_INLINE bool x86_decode_any_32(const uint8_t *code, size_t size,
                                        uint64_t address,
                                        struct patas__insn *insn)
{
    return x86_decode_any(code, size, address, false, insn);
}

/*
 * The fast road: REX, map 0 or 0F, nothing special; nine of ten instructions.
 * Whether there is REX, 0F, ModRM is as good as random, so it is worked out
 * without a branch; no byte is loaded twice, since each load waits for the one
 * before. `start` is 1 behind a prefix 66, F3 or F2, which `pp` names.
 */
X86_ALWAYS_INLINE uint64_t x86_load_low(const uint8_t *code)
{
    uint64_t bytes = patas__load64(code);

#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    bytes = __builtin_bswap64(bytes);
#endif
    return bytes;
}

X86_ALWAYS_INLINE void x86_store_low(void *at, uint64_t value)
{
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    value = __builtin_bswap64(value);
#endif
    patas__store64(at, value);
}

/* Bytes of ModRM, SIB and displacement; two marks for closer looks. */
enum {
    X86_RIP = 0x10,
    X86_BASE = 0x20,
    X86_TAIL = 0x0f
};
static const uint8_t x86_tails[256] = {
#define X86_ROW(a, s, d) a, a, a, a, s, d, a, a
#define X86_MOD(a, s, d)                                                    \
    X86_ROW(a, s, d), X86_ROW(a, s, d), X86_ROW(a, s, d), X86_ROW(a, s, d), \
        X86_ROW(a, s, d), X86_ROW(a, s, d), X86_ROW(a, s, d), X86_ROW(a, s, d)
    X86_MOD(1, 2 | X86_BASE, 5 | X86_RIP), X86_MOD(2, 3, 2), X86_MOD(5, 6, 5),
    X86_MOD(1, 1, 1)
#undef X86_ROW
#undef X86_MOD
};

/* The fields behind `operand`, in two stores: one each would take as long as
 * all the rest. */
X86_ALWAYS_INLINE void x86_store_fields(struct patas__insn *insn, uint64_t low,
                                        uint64_t high)
{
    _Static_assert(offsetof(struct patas__insn, length) == 24 &&
                       offsetof(struct patas__insn, flow) == 25 &&
                       offsetof(struct patas__insn, has_target) == 26 &&
                       offsetof(struct patas__insn, has_operand) == 27 &&
                       offsetof(struct patas__insn, rel_at) == 28 &&
                       offsetof(struct patas__insn, rel_size) == 29 &&
                       offsetof(struct patas__insn, opcode_at) == 32 &&
                       offsetof(struct patas__insn, modrm_at) == 33 &&
                       offsetof(struct patas__insn, map) == 34 &&
                       offsetof(struct patas__insn, prefixes) == 36 &&
                       offsetof(struct patas__insn, rex) == 37 &&
                       sizeof(struct patas__insn) == 40,
                   "as x86_quick puts them");
    x86_store_low((uint8_t *)insn + 24, low);
    x86_store_low((uint8_t *)insn + 32, high);
}

/* Each fills the place that is relative to the PC, and returns its fields. */
X86_ALWAYS_INLINE uint64_t x86_quick_target(struct patas__insn *insn,
                                            const uint8_t *code,
                                            uint32_t length, uint32_t size,
                                            bool wide)
{
    uint32_t at = length - size;
    int64_t distance =
        size == 1 ? (int8_t)code[at] : (int32_t)patas__load32(code + at);
    uint64_t target = insn->address + length + (uint64_t)distance;

    insn->target = wide ? target : (uint32_t)target;
    return 1 << 16 | (uint64_t)at << 32 | (uint64_t)size << 40;
}

X86_ALWAYS_INLINE uint64_t x86_quick_operand(struct patas__insn *insn,
                                             const uint8_t *code,
                                             uint32_t length, uint32_t at)
{
    int64_t distance = (int32_t)patas__load32(code + at);

    insn->operand = insn->address + length + (uint64_t)distance;
    return 1 << 24 | (uint64_t)at << 32 | (uint64_t)4 << 40;
}

/* False: not decoded, ask x86_decode_any. */
X86_ALWAYS_INLINE bool x86_quick(const uint8_t *code, size_t size,
                                 uint64_t address, bool wide, uint32_t start,
                                 uint32_t pp, struct patas__insn *insn)
{
    static const uint8_t prefix_of[4] = {0, PATAS__PREFIX_66, PATAS__PREFIX_F3,
                                         PATAS__PREFIX_F2};
    uint64_t bytes = x86_load_low(code) >> 8 * start;
    uint32_t has_rex = wide && (bytes & 0xf0) == 0x40;
    uint32_t rex = (uint8_t)bytes & -has_rex;
    uint32_t second, at, entry, modrm, has, tail, length, immediate, forms;
    uint64_t fields, low;

    bytes >>= 8 * has_rex;
    second = (uint8_t)bytes == 0x0f;
    bytes >>= 8 * second;
    at = start + has_rex + second;
    entry = x86_maps[wide ? second : 2 - second][(uint8_t)bytes];
    modrm = (uint8_t)(bytes >> 8);
    has = -(entry / X86_MODRM & 1);
    tail = x86_tails[modrm] & has;
    forms = second ? x86_legacy_1[(uint8_t)bytes] : 0xff;
    if ((entry & X86_SLOW) || (pp == 1 && (entry & X86_RELATIVE)))
        return false;
    if ((entry & X86_MEMORY) && modrm >= 0xc0)
        return false;
    if (second && !(forms >> (pp | ((modrm & has) >= 0xc0 ? 4 : 0)) & 1))
        return false;
    immediate = entry >> (rex & X86_REX_W ? 8 : pp == 1 ? 4 : 0) & 15;
    if ((tail & X86_BASE) && (bytes >> 16 & 7) == 5)
        tail += 4;
    length = at + 1 + (tail & X86_TAIL) + immediate;
    if (length > size)
        return false;
    insn->address = address;
    insn->target = 0;
    insn->operand = 0;
    low = length | entry >> X86_FLOW_SHIFT << 8;
    fields = at | ((at + 1) & has) << 8 | second << 16 | (uint64_t)rex << 40 |
             (uint64_t)prefix_of[pp] << 32;
    if (entry & X86_RELATIVE)
        low |= x86_quick_target(insn, code, length, immediate, wide);
    else if (wide && (tail & X86_RIP))
        low |= x86_quick_operand(insn, code, length, at + 2);
    x86_store_fields(insn, low, fields);
    return true;
}

/* With a prefix; out of line, so that the rest keeps its registers. */
X86_ALWAYS_INLINE bool x86_decode_prefixed(const uint8_t *code, size_t size,
                                           uint64_t address, bool wide,
                                           struct patas__insn *insn)
{
    uint32_t pp = code[0] == 0x66 ? 1 : code[0] == 0xf3 ? 2 : 3;

    if (x86_quick(code, size, address, wide, 1, pp, insn))
        return true;
    return wide ? x86_decode_any_64(code, size, address, insn)
                : x86_decode_any_32(code, size, address, insn);
}

X86_NEVER_INLINE bool x86_decode_prefixed_64(const uint8_t *code, size_t size,
                                             uint64_t address,
                                             struct patas__insn *insn)
{
    return x86_decode_prefixed(code, size, address, true, insn);
}

X86_NEVER_INLINE bool x86_decode_prefixed_32(const uint8_t *code, size_t size,
                                             uint64_t address,
                                             struct patas__insn *insn)
{
    return x86_decode_prefixed(code, size, address, false, insn);
}

X86_ALWAYS_INLINE bool x86_decode(const uint8_t *code, size_t size,
                                  uint64_t address, bool wide,
                                  struct patas__insn *insn)
{
    if (code[0] == 0x66 || (code[0] & 0xfe) == 0xf2)
        return wide ? x86_decode_prefixed_64(code, size, address, insn)
                    : x86_decode_prefixed_32(code, size, address, insn);
    if (x86_quick(code, size, address, wide, 0, 0, insn))
        return true;
    return wide ? x86_decode_any_64(code, size, address, insn)
                : x86_decode_any_32(code, size, address, insn);
}

/* What is near the end is decoded with zeros behind it. */
X86_NEVER_INLINE bool x86_decode_end(const uint8_t *bytes, size_t size,
                                     uint64_t address, bool wide,
                                     struct patas__insn *insn)
{
    enum {
        HALF = X86_WINDOW / 2
    };
    uint8_t window[X86_WINDOW] = {0};

    if (size >= HALF) { /* two copies of a fixed size, which overlap */
        __builtin_memcpy(window, bytes, HALF);
        __builtin_memcpy(window + size - HALF, bytes + size - HALF, HALF);
    } else {
        for (size_t i = 0; i < size; i++)
            window[i] = bytes[i];
    }
    return wide ? x86_decode(window, size, address, true, insn)
                : x86_decode(window, size, address, false, insn);
}

bool patas__x86_decode_64(const uint8_t *bytes, size_t size, uint64_t address,
                          struct patas__insn *insn)
{
    if (size < X86_WINDOW)
        return x86_decode_end(bytes, size, address, true, insn);
    return x86_decode(bytes, size, address, true, insn);
}

bool patas__x86_decode_32(const uint8_t *bytes, size_t size, uint64_t address,
                          struct patas__insn *insn)
{
    if (size < X86_WINDOW)
        return x86_decode_end(bytes, size, address, false, insn);
    return x86_decode(bytes, size, address, false, insn);
}
