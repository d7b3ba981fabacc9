/* SPDX-License-Identifier: MIT */
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include <Zydis/Zydis.h>
#include <capstone/capstone.h>

#include "compare.h"
#include "isa.h"

/* What one of the three says. */
struct view {
    unsigned length; /* 0: no instruction */
    bool has_target, has_operand;
    uint64_t target, operand;
};

/* The bytes by a reading of our own, simpler than any decoder's. */
struct shape {
    unsigned at;       /* of the first byte that is no prefix */
    unsigned prefixes; /* legacy ones */
    bool rex;          /* REX right before it */
    bool rex_early;    /* REX elsewhere, or twice */
    bool lock, osz, asz, repeat;
    uint8_t w; /* REX.W */
    uint8_t r; /* REX.R */
    enum {
        LEGACY,
        VEX,
        EVEX,
        XOP,
        REX2
    } encoding;
    unsigned map; /* 0, 1, 2, 3 ... */
    uint8_t opcode;
    uint8_t modrm;
    uint8_t payload[3];
};

struct dispute {
    const uint8_t *bytes;
    bool wide;
    const struct shape *shape;
    const struct view *ours, *theirs;
};

enum whose {
    ZYDIS,
    CAPSTONE
};

/* We accept and they refuse; the reverse; lengths; what the PC-relative field
 * means. */
enum kind {
    REFUSED,
    ACCEPTED,
    LENGTH,
    MEANING
};

struct dispute_class {
    enum whose whose;
    enum kind kind;
    bool (*covers)(const struct dispute *dispute);
    const char *what;
    const char *manual;
    bool alone; /* the other oracle need not be on our side */
    uint64_t count;
};

static bool legacy(const struct dispute *d, unsigned map, unsigned from,
                   unsigned to)
{
    return (d->shape->encoding == LEGACY) && d->shape->map == map &&
           d->shape->opcode >= from && d->shape->opcode <= to;
}

static unsigned reg_of(const struct dispute *d)
{
    return d->shape->modrm >> 3 & 7;
}

/* EVEX: ModRM.mod = 3; the bits that APX gave a meaning. */
static bool evex_apx_bits(const struct dispute *d)
{
    const struct shape *s = d->shape;
    bool b4 = s->payload[0] & 8;
    bool x4 = !(s->payload[1] & 4);
    bool r4 = !(s->payload[0] & 0x10);

    return s->encoding == EVEX && d->wide && (b4 || x4 || r4);
}

static bool apx(const struct dispute *d)
{
    const struct shape *s = d->shape;

    if (!d->wide)
        return false;
    if (s->encoding == REX2)
        return true;
    if (s->encoding != EVEX)
        return false;
    if (s->map == 4 || s->map == 7 || evex_apx_bits(d))
        return true;
    if (s->map == 1) /* kmov */
        return s->opcode >= 0x90 && s->opcode <= 0x93;
    if (s->map == 2) /* AMX, BMI, cmpccxadd */
        return s->opcode == 0x49 || s->opcode == 0x4b ||
               (s->opcode >= 0xe0 && s->opcode <= 0xef) ||
               (s->opcode >= 0xf2 && s->opcode <= 0xf7);
    return s->map == 3 && s->opcode == 0xf0; /* rorx */
}

static bool cmpccxadd(const struct dispute *d)
{
    return d->wide && d->shape->encoding == VEX && d->shape->map == 2 &&
           d->shape->opcode >= 0xe0 && d->shape->opcode <= 0xef &&
           (d->shape->payload[1] & 3) == 1;
}

static bool amx_complex(const struct dispute *d)
{
    return d->wide && d->shape->encoding == VEX && d->shape->map == 2 &&
           d->shape->opcode == 0x6c;
}

static bool user_msr(const struct dispute *d)
{
    if (!d->wide)
        return false;
    if (d->shape->encoding == VEX)
        return d->shape->map == 7 && d->shape->opcode == 0xf8;
    return legacy(d, 2, 0xf8, 0xf8) && d->shape->modrm >= 0xc0;
}

static bool fred(const struct dispute *d)
{
    return d->wide && ((legacy(d, 1, 0, 0) && reg_of(d) == 6) ||
                       (legacy(d, 1, 1, 1) && d->shape->modrm == 0xca));
}

static bool knights_corner(const struct dispute *d)
{
    const struct shape *s = d->shape;

    if (s->encoding == EVEX)
        return !(s->payload[1] & 4);
    if (s->encoding != VEX)
        return false;
    if (s->map == 3)
        return s->opcode == 0x3e;
    return s->map == 1 &&
           (s->opcode == 0x18 || (s->opcode >= 0x41 && s->opcode <= 0x49) ||
            (s->opcode >= 0x84 && s->opcode <= 0x97) || s->opcode == 0xae ||
            (s->opcode >= 0xb8 && s->opcode <= 0xbd));
}

/* cvtsi2sd, cvtss2si and their kin: W means nothing there. */
static bool narrow_w(const struct dispute *d)
{
    const struct shape *s = d->shape;

    return !d->wide && s->encoding == EVEX && (s->map == 1 || s->map == 5) &&
           (s->payload[1] & 0x80) &&
           ((s->opcode >= 0x2a && s->opcode <= 0x2d) ||
            (s->opcode >= 0x78 && s->opcode <= 0x7e));
}

static bool tdpfp16ps(const struct dispute *d)
{
    return d->wide && d->shape->encoding == VEX && d->shape->map == 2 &&
           d->shape->opcode == 0x5c && (d->shape->payload[1] & 3) == 3;
}

static bool pcommit(const struct dispute *d)
{
    return legacy(d, 1, 0xae, 0xae) && d->shape->modrm >= 0xf8;
}

static bool xbegin_66(const struct dispute *d)
{
    return d->shape->osz && legacy(d, 0, 0xc7, 0xc7) && d->shape->modrm == 0xf8;
}

static bool is_vex(const struct dispute *d)
{
    return d->shape->encoding == VEX || d->shape->encoding == XOP;
}

static bool is_evex(const struct dispute *d)
{
    return d->shape->encoding == EVEX;
}

/* A prefix that VEX, EVEX and XOP may not follow. */
static bool prefixed_vector(const struct dispute *d)
{
    const struct shape *s = d->shape;

    return s->encoding != LEGACY && (s->lock || s->osz || s->repeat || s->rex);
}

static bool reserved_nop(const struct dispute *d)
{
    return legacy(d, 1, 0x0d, 0x0d) || legacy(d, 1, 0x18, 0x1f);
}

static bool x87_alias(const struct dispute *d)
{
    return legacy(d, 0, 0xdc, 0xdf) && d->shape->modrm >= 0xc0;
}

static bool system_group(const struct dispute *d)
{
    return legacy(d, 1, 0, 1) || legacy(d, 1, 0xae, 0xae) ||
           legacy(d, 1, 0xc7, 0xc7) || legacy(d, 2, 0xd8, 0xdf) ||
           legacy(d, 2, 0xf5, 0xf6) || legacy(d, 2, 0xf8, 0xfc) ||
           legacy(d, 3, 0xf0, 0xf0) || legacy(d, 1, 0xa6, 0xa7);
}

static bool prefixed(const struct dispute *d)
{
    return d->shape->encoding == LEGACY && d->shape->prefixes > 0;
}

static bool movsxd(const struct dispute *d)
{
    return d->wide && legacy(d, 0, 0x63, 0x63);
}

static bool locked(const struct dispute *d)
{
    return d->shape->lock;
}

static bool segment_or_control(const struct dispute *d)
{
    return legacy(d, 0, 0x8e, 0x8e) || legacy(d, 1, 0x20, 0x23);
}

static bool mpx(const struct dispute *d)
{
    return legacy(d, 1, 0x1a, 0x1b);
}

/* A prefix that is not one of those the opcode is defined with; without any,
 * opcodes that are defined only with one. */
static bool mandatory_prefix(const struct dispute *d)
{
    return d->shape->encoding == LEGACY && d->shape->map > 0;
}

static bool undefined_opcode(const struct dispute *d)
{
    return legacy(d, 1, 0xb9, 0xb9) || legacy(d, 1, 0xff, 0xff);
}

static bool branch_66(const struct dispute *d)
{
    return d->shape->osz &&
           (legacy(d, 1, 0x80, 0x8f) || legacy(d, 0, 0xe8, 0xe9) ||
            legacy(d, 0, 0x70, 0x7f) || legacy(d, 0, 0xe0, 0xe3) ||
            legacy(d, 0, 0xeb, 0xeb));
}

static bool return_prefixed(const struct dispute *d)
{
    return legacy(d, 0, 0xc2, 0xc2) &&
           (d->shape->osz || d->shape->asz || d->shape->w);
}

static bool segment_rex(const struct dispute *d)
{
    return (legacy(d, 0, 0x8c, 0x8c) || legacy(d, 0, 0x8e, 0x8e)) &&
           d->shape->r;
}

/* Documented after Zydis 4.0 and Capstone 4.0, which Debian 12 has. */
static bool since_2022(const struct dispute *d)
{
    const struct shape *s = d->shape;

    if (compare_newest())
        return false;
    if (legacy(d, 2, 0xfc, 0xfc)) /* RAO-INT */
        return true;
    if (legacy(d, 1, 1, 1) && s->modrm >= 0xc0) /* MSRLIST, PBNDKB, WRMSRNS */
        return true;
    if (s->encoding != VEX)
        return legacy(d, 1, 0x18, 0x18); /* prefetchit */
    if (s->map == 2) /* NE-CONVERT, VNNI-INT8, INT16, SHA512, SM3, SM4 */
        return s->opcode == 0x50 || s->opcode == 0x51 || s->opcode == 0x5c ||
               s->opcode == 0x72 || (s->opcode & 0xfe) == 0xb0 ||
               (s->opcode >= 0xb4 && s->opcode <= 0xb5) ||
               (s->opcode >= 0xcb && s->opcode <= 0xda);
    return s->map == 3 && s->opcode == 0xde;
}

static bool wide_66(const struct dispute *d)
{
    return d->shape->osz && d->shape->w;
}

static bool branch_67(const struct dispute *d)
{
    return !d->wide && d->shape->asz &&
           (legacy(d, 1, 0x80, 0x8f) || legacy(d, 0, 0xe8, 0xe9) ||
            legacy(d, 0, 0xc7, 0xc7));
}

static bool mpx_67(const struct dispute *d)
{
    return d->wide && d->shape->asz && legacy(d, 1, 0x1a, 0x1b);
}

static bool address_32(const struct dispute *d)
{
    return d->wide && d->shape->asz && d->ours->has_operand;
}

static struct dispute_class dispute_classes[] = {
    {ZYDIS, REFUSED, apx, "APX is younger than it",
     "APX specification 355828, 3.1", true, 0},
    {CAPSTONE, REFUSED, apx, "APX is younger than it",
     "APX specification 355828, 3.1", true, 0},
    {ZYDIS, REFUSED, cmpccxadd, "cmpccxadd is younger than it",
     "SDM vol. 2, CMPccXADD", true, 0},
    {CAPSTONE, REFUSED, cmpccxadd, "cmpccxadd is younger than it",
     "SDM vol. 2, CMPccXADD", true, 0},
    {ZYDIS, REFUSED, amx_complex, "AMX-COMPLEX is younger than it",
     "SDM vol. 2, TCMMIMFP16PS", true, 0},
    {CAPSTONE, REFUSED, amx_complex, "AMX-COMPLEX is younger than it",
     "SDM vol. 2, TCMMIMFP16PS", true, 0},
    {ZYDIS, REFUSED, user_msr, "USER_MSR is younger than it",
     "SDM vol. 2, URDMSR and UWRMSR", true, 0},
    {CAPSTONE, REFUSED, user_msr, "USER_MSR is younger than it",
     "SDM vol. 2, URDMSR and UWRMSR", true, 0},
    {ZYDIS, REFUSED, fred, "FRED is younger than it",
     "FRED specification 346446, 9 (lkgs, erets, eretu)", true, 0},
    {CAPSTONE, REFUSED, fred, "FRED is younger than it",
     "FRED specification 346446, 9 (lkgs, erets, eretu)", true, 0},
    {ZYDIS, REFUSED, narrow_w, "W counts outside 64-bit mode",
     "SDM vol. 2, VCVTSI2SH, VCVTUSI2SD: W1 is W0 there", true, 0},
    {CAPSTONE, REFUSED, narrow_w, "W counts outside 64-bit mode",
     "SDM vol. 2, VCVTSI2SH, VCVTUSI2SD: W1 is W0 there", true, 0},
    {ZYDIS, ACCEPTED, tdpfp16ps, "tdpfp16ps with one tile twice",
     "SDM vol. 2, TDPFP16PS and 2.10 (AMX-E4): #UD", false, 0},
    {ZYDIS, ACCEPTED, pcommit, "takes pcommit, which no processor has",
     "SDM vol. 2 table A-6, group 15: gone since 2016", false, 0},
    {ZYDIS, MEANING, xbegin_66, "cuts the fallback address",
     "SDM vol. 2, XBEGIN: 16 bits do not truncate it", true, 0},
    {CAPSTONE, MEANING, xbegin_66, "16-bit displacement without a sign",
     "SDM vol. 2, XBEGIN", true, 0},
    {ZYDIS, ACCEPTED, knights_corner, "takes the coprocessor's encodings",
     "Xeon Phi ISA 327364: not Intel 64", false, 0},
    {ZYDIS, REFUSED, since_2022, "what is younger than Debian's",
     "SDM vol. 2, RAO-INT, SHA512, SM3, SM4, VNNI-INT8 and others", true, 0},
    {CAPSTONE, REFUSED, since_2022, "what is younger than Debian's",
     "SDM vol. 2, RAO-INT, SHA512, SM3, SM4, VNNI-INT8 and others", true, 0},

    {CAPSTONE, REFUSED, is_vex, "VEX: lacks the young, and W ignored",
     "SDM vol. 2, pages of VNNI, IFMA, SHA512, SM3, SM4; WIG", false, 0},
    {CAPSTONE, REFUSED, is_evex, "EVEX: lacks the young, and L ignored",
     "SDM vol. 2, pages of FP16, BF16 and others; LLIG", false, 0},
    {CAPSTONE, REFUSED, reserved_nop, "reserved NOPs, prefetches, MPX",
     "SDM vol. 2 table A-3 and A-6, 0F 0D and 0F 18 to 1F", false, 0},
    {CAPSTONE, REFUSED, x87_alias, "x87 aliases",
     "AMD APM vol. 3 table A-15, DC D0 to DF DF", false, 0},
    {CAPSTONE, REFUSED, system_group, "system and key instructions it lacks",
     "SDM vol. 2 table A-6, groups 6, 7, 9, 15; Key Locker", false, 0},
    {CAPSTONE, REFUSED, segment_rex, "segment register with REX.R",
     "AMD APM vol. 3, 1.2.7: ignored", false, 0},
    {CAPSTONE, REFUSED, movsxd, "movsxd without REX.W", "SDM vol. 2, MOVSXD",
     false, 0},
    {CAPSTONE, REFUSED, prefixed, "prefixes without a meaning",
     "SDM vol. 2, 2.1.1; last of F2 and F3 counts", false, 0},

    {CAPSTONE, ACCEPTED, prefixed_vector, "66, F2, F3, LOCK, REX before VEX",
     "SDM vol. 2, 2.3.2 to 2.3.4, 2.7.11: #UD", false, 0},
    {CAPSTONE, ACCEPTED, is_vex, "VEX fields not checked",
     "SDM vol. 2, 2.3.5.6, 2.3.6.2: L and vvvv, #UD", false, 0},
    {CAPSTONE, ACCEPTED, is_evex, "EVEX fields not checked",
     "SDM vol. 2, 2.7.11.2: #UD", false, 0},
    {CAPSTONE, ACCEPTED, locked, "LOCK before what can't be locked",
     "SDM vol. 2, LOCK: #UD", false, 0},
    {CAPSTONE, ACCEPTED, segment_or_control, "mov to cs, cr1, dr8 and kin",
     "SDM vol. 2, MOV: #UD", false, 0},
    {CAPSTONE, ACCEPTED, mpx, "bndldx relative to PC and kin",
     "SDM vol. 2, BNDLDX, BNDSTX, BNDMK: #UD", false, 0},
    {CAPSTONE, ACCEPTED, mandatory_prefix, "prefix with nothing behind it",
     "SDM vol. 2 tables A-3 to A-6: blank", false, 0},

    {CAPSTONE, REFUSED, undefined_opcode, "ud0, ud1 with REX", "SDM vol. 2, UD",
     false, 0},
    {CAPSTONE, LENGTH, undefined_opcode, "ud0, ud1 without ModRM",
     "SDM vol. 2, UD: 0F FF /r, 0F B9 /r", false, 0},
    {CAPSTONE, LENGTH, branch_66, "jo, jno with 66",
     "SDM vol. 2, Jcc: 66 is ignored in 64-bit mode", false, 0},
    {CAPSTONE, LENGTH, return_prefixed, "ret imm16 with 66, 67 or REX.W",
     "SDM vol. 2, RET: iw", false, 0},
    {CAPSTONE, LENGTH, wide_66, "66 with REX.W", "SDM vol. 2, 2.2.1.2", false,
     0},

    {CAPSTONE, MEANING, branch_66, "does not cut EIP",
     "SDM vol. 2, JMP: EIP AND 0000FFFFH", false, 0},
    {CAPSTONE, MEANING, branch_67, "67 on a branch cuts EIP",
     "SDM vol. 2, JMP: only the operand size does", false, 0},
    {CAPSTONE, MEANING, mpx_67, "67 before MPX cuts the address",
     "SDM vol. 1, 17.3: ignored in 64-bit mode", false, 0},
    {CAPSTONE, MEANING, address_32, "does not cut the address",
     "SDM vol. 1, 3.3.7", false, 0},
};

enum {
    CLASSES = sizeof dispute_classes / sizeof *dispute_classes
};

static struct {
    ZydisDecoder zydis[2]; /* 32-bit, 64-bit */
    csh capstone[2];
    cs_insn *insn[2];
    uint64_t compared, instructions, bytes, unexplained, shown;
} state;

bool compare_open(void)
{
    ZydisDecoderInit(&state.zydis[0], ZYDIS_MACHINE_MODE_LEGACY_32,
                     ZYDIS_STACK_WIDTH_32);
    ZydisDecoderInit(&state.zydis[1], ZYDIS_MACHINE_MODE_LONG_64,
                     ZYDIS_STACK_WIDTH_64);
    for (int wide = 0; wide < 2; wide++) {
        if (cs_open(CS_ARCH_X86, wide ? CS_MODE_64 : CS_MODE_32,
                    &state.capstone[wide]) != CS_ERR_OK)
            return false;
        cs_option(state.capstone[wide], CS_OPT_DETAIL, CS_OPT_ON);
        state.insn[wide] = cs_malloc(state.capstone[wide]);
    }
    return true;
}

bool compare_newest(void)
{
    int major, minor;

    cs_version(&major, &minor);
    return ZydisGetVersion() >= 0x0004000100000000 && major >= 5;
}

const char *compare_oracles(void)
{
    static char text[80];
    uint64_t zydis = ZydisGetVersion();
    int major, minor;

    cs_version(&major, &minor);
    snprintf(text, sizeof text, "Zydis %u.%u.%u, Capstone %d.%d",
             (unsigned)ZYDIS_VERSION_MAJOR(zydis),
             (unsigned)ZYDIS_VERSION_MINOR(zydis),
             (unsigned)ZYDIS_VERSION_PATCH(zydis), major, minor);
    return text;
}

static struct view view_ours(const uint8_t *bytes, size_t size,
                             uint64_t address, bool wide)
{
    struct patas__insn insn;
    const struct patas__isa *isa = wide ? &patas__isa_x86_64 : &patas__isa_i386;

    if (!isa->decode(bytes, size, address, &insn))
        return (struct view){0};
    return (struct view){insn.length, insn.has_target, insn.has_operand,
                         insn.target, insn.operand};
}

static struct view view_zydis(const uint8_t *bytes, size_t size,
                              uint64_t address, bool wide)
{
    ZydisDecodedInstruction insn;
    ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT];
    struct view view = {0};

    if (!ZYAN_SUCCESS(ZydisDecoderDecodeFull(&state.zydis[wide], bytes, size,
                                             &insn, operands)))
        return view;
    view.length = insn.length;
    if (!(insn.attributes & ZYDIS_ATTRIB_IS_RELATIVE))
        return view;
    for (int i = 0; i < insn.operand_count; i++) {
        const ZydisDecodedOperand *operand = &operands[i];
        ZyanU64 value;

        if (!ZYAN_SUCCESS(
                ZydisCalcAbsoluteAddress(&insn, operand, address, &value)))
            continue;
        if (operand->type == ZYDIS_OPERAND_TYPE_IMMEDIATE &&
            operand->imm.is_relative) {
            view.has_target = true; /* a sum of 64 bits in any mode */
            view.target = wide ? value : (uint32_t)value;
        } else if (operand->type == ZYDIS_OPERAND_TYPE_MEMORY &&
                   (operand->mem.base == ZYDIS_REGISTER_RIP ||
                    operand->mem.base == ZYDIS_REGISTER_EIP)) {
            view.has_operand = true;
            view.operand = value;
        }
    }
    return view;
}

static struct view view_capstone(const uint8_t *bytes, size_t size,
                                 uint64_t address, bool wide)
{
    cs_insn *insn = state.insn[wide];
    uint64_t start = address;
    struct view view = {0};

    if (!cs_disasm_iter(state.capstone[wide], &bytes, &size, &address, insn))
        return view;
    view.length = insn->size;
    const cs_x86 *x86 = &insn->detail->x86;
    bool relative =
        cs_insn_group(state.capstone[wide], insn, X86_GRP_BRANCH_RELATIVE);
    for (int i = 0; i < x86->op_count; i++) {
        const cs_x86_op *operand = &x86->operands[i];

        if (operand->type == X86_OP_IMM &&
            (relative || insn->id == X86_INS_XBEGIN)) {
            view.has_target = true;
            view.target =
                wide ? (uint64_t)operand->imm : (uint32_t)operand->imm;
        } else if (operand->type == X86_OP_MEM &&
                   (operand->mem.base == X86_REG_RIP ||
                    operand->mem.base == X86_REG_EIP)) {
            view.has_operand = true;
            view.operand = start + insn->size + (uint64_t)operand->mem.disp;
            if (operand->mem.base == X86_REG_EIP)
                view.operand = (uint32_t)view.operand;
        }
    }
    return view;
}

static bool agree(const struct view *a, const struct view *b)
{
    return a->length == b->length && a->has_target == b->has_target &&
           a->has_operand == b->has_operand && a->target == b->target &&
           a->operand == b->operand;
}

static enum kind kind_of(const struct view *ours, const struct view *theirs)
{
    if (theirs->length == 0)
        return REFUSED;
    if (ours->length == 0)
        return ACCEPTED;
    return ours->length != theirs->length ? LENGTH : MEANING;
}

static void read_prefixes(const uint8_t *bytes, bool wide, struct shape *s)
{
    for (; s->at < 15; s->at++) {
        uint8_t byte = bytes[s->at];

        if (wide && (byte & 0xf0) == 0x40) {
            s->rex_early |= s->rex;
            s->rex = true;
            s->w = byte & 8;
            s->r = byte & 4;
            continue;
        }
        if (byte == 0x66)
            s->osz = true;
        else if (byte == 0x67)
            s->asz = true;
        else if (byte == 0xf0)
            s->lock = true;
        else if (byte == 0xf2 || byte == 0xf3)
            s->repeat = true;
        else if (byte != 0x26 && byte != 0x2e && byte != 0x36 && byte != 0x3e &&
                 byte != 0x64 && byte != 0x65)
            return;
        s->rex_early |= s->rex;
        s->rex = false;
        s->w = s->r = 0;
        s->prefixes++;
    }
}

static struct shape shape_of(const uint8_t *bytes, bool wide)
{
    struct shape s = {0};
    uint8_t code[32] = {0}; /* 15 bytes, and no need to check below */
    const uint8_t *at;

    memcpy(code, bytes, 15);
    read_prefixes(code, wide, &s);
    at = code + s.at;
    memcpy(s.payload, at + 1, 3);
    bool pair = wide || at[1] >= 0xc0;
    if (at[0] == 0x62 && pair) {
        s.encoding = EVEX;
        s.map = at[1] & 7;
        at += 4;
    } else if (at[0] == 0xc4 && pair) {
        s.encoding = VEX;
        s.map = at[1] & 31;
        at += 3;
    } else if (at[0] == 0xc5 && pair) {
        s.encoding = VEX;
        s.map = 1;
        at += 2;
    } else if (at[0] == 0x8f && (at[1] & 31) >= 8) {
        s.encoding = XOP;
        s.map = at[1] & 31;
        at += 3;
    } else if (at[0] == 0xd5 && wide) {
        s.encoding = REX2;
        s.map = at[1] >> 7;
        at += 2;
    } else if (at[0] == 0x0f) {
        s.map = at[1] == 0x38 ? 2 : at[1] == 0x3a ? 3 : 1;
        at += s.map == 1 ? 1 : 2;
    }
    s.opcode = at[0];
    s.modrm = at[1];
    return s;
}

/* The classes stand in order; the first that covers a dispute has it. */
static bool explained(enum whose whose, const struct dispute *dispute,
                      bool other_agrees)
{
    enum kind kind = kind_of(dispute->ours, dispute->theirs);

    for (size_t i = 0; i < CLASSES; i++) {
        struct dispute_class *class = &dispute_classes[i];

        if (class->whose == whose && class->kind == kind &&
            (other_agrees || class->alone) && class->covers(dispute)) {
            class->count++;
            return true;
        }
    }
    return false;
}

static void show(const uint8_t *bytes, size_t size, bool wide,
                 const struct view views[3])
{
    static const char *const names[] = {"patas", "Zydis", "Capstone"};

    if (state.shown++ >= 10)
        return;
    printf("unexplained, %d-bit:", wide ? 64 : 32);
    for (size_t i = 0; i < size && i < 15; i++)
        printf(" %02x", bytes[i]);
    printf("\n");
    for (int i = 0; i < 3; i++)
        printf("    %-8s length %2u target %" PRIx64 " operand %" PRIx64 "\n",
               names[i], views[i].length, views[i].target, views[i].operand);
}

unsigned compare_one(const uint8_t *bytes, size_t size, uint64_t address,
                     bool wide)
{
    uint8_t code[15] = {0};
    struct view views[3];

    if (size > sizeof code)
        size = sizeof code;
    views[0] = view_ours(bytes, size, address, wide);
    views[1] = view_zydis(bytes, size, address, wide);
    views[2] = view_capstone(bytes, size, address, wide);
    state.compared++;
    state.instructions += views[0].length != 0;
    state.bytes += views[0].length;
    bool zydis = agree(&views[0], &views[1]);
    bool capstone = agree(&views[0], &views[2]);
    if (zydis && capstone)
        return views[0].length;
    memcpy(code, bytes, size);
    struct shape shape = shape_of(code, wide);
    struct dispute dispute = {code, wide, &shape, &views[0], &views[1]};
    bool fine = zydis || explained(ZYDIS, &dispute, capstone);
    dispute.theirs = &views[2];
    fine &= capstone || explained(CAPSTONE, &dispute, zydis);
    if (!fine) {
        state.unexplained++;
        show(bytes, size, wide, views);
    }
    return views[0].length;
}

static uint64_t random_next(uint64_t *seed)
{
    uint64_t value = *seed += 0x9e3779b97f4a7c15; /* splitmix64 */

    value = (value ^ value >> 30) * 0xbf58476d1ce4e5b9;
    value = (value ^ value >> 27) * 0x94d049bb133111eb;
    return value ^ value >> 31;
}

static void random_head(uint8_t *bytes, uint64_t choice)
{
    static const uint8_t prefixes[] = {0x66, 0x67, 0xf2, 0xf3, 0xf0,
                                       0x2e, 0x64, 0x48, 0x41, 0x4f};

    if ((choice & 7) == 0)
        *bytes++ = prefixes[(choice >> 8) % sizeof prefixes];
    if ((choice & 15) == 0)
        *bytes++ = prefixes[(choice >> 16) % sizeof prefixes];
    choice >>= 24;
    switch (choice & 15) {
    case 0:
    case 1:
        bytes[0] = 0x0f;
        break;
    case 2:
        bytes[0] = 0x0f;
        bytes[1] = choice & 16 ? 0x38 : 0x3a;
        break;
    case 3:
        bytes[0] = 0xc5;
        break;
    case 4:
        bytes[0] = 0xc4;
        bytes[1] = (uint8_t)((bytes[1] & 0xe0) | (1 + (choice >> 4) % 3));
        break;
    case 5:
    case 6: /* half of them with the bits as AVX-512 wants them */
        bytes[0] = 0x62;
        bytes[1] = (uint8_t)((bytes[1] & 0xf0) | (1 + (choice >> 4) % 7));
        bytes[2] |= choice & 0x100 ? 4 : 0;
        bytes[3] &= choice & 0x200 ? 0x7f : 0xff;
        bytes[3] &= choice & 0x400 ? 0xf8 : 0xff;
        bytes[3] |= choice & 0x800 ? 8 : 0;
        break;
    case 7:
        bytes[0] = choice & 0x100 ? 0x8f : 0xd5;
        bytes[1] =
            (uint8_t)(choice & 0x200 ? (bytes[1] & 0xe0) | 8 | (bytes[2] % 3)
                                     : bytes[1]);
        break;
    default:
        break;
    }
}

void compare_random(uint64_t seed, uint64_t count)
{
    for (uint64_t i = 0; i < count; i++) {
        uint8_t bytes[16];
        uint64_t a = random_next(&seed);
        uint64_t b = random_next(&seed);

        memcpy(bytes, &a, 8);
        memcpy(bytes + 8, &b, 8);
        a = random_next(&seed);
        random_head(bytes, a);
        bool wide = a >> 63;
        compare_one(bytes, 15, wide && (a >> 62 & 1) ? 0x7f0000400000 : 0x10000,
                    wide);
    }
}

bool compare_save(int file)
{
    uint64_t counts[4 + CLASSES] = {state.compared, state.instructions,
                                    state.bytes, state.unexplained};

    for (size_t i = 0; i < CLASSES; i++)
        counts[4 + i] = dispute_classes[i].count;
    return write(file, counts, sizeof counts) == sizeof counts;
}

bool compare_add(int file)
{
    uint64_t counts[4 + CLASSES];

    if (read(file, counts, sizeof counts) != sizeof counts)
        return false;
    state.compared += counts[0];
    state.instructions += counts[1];
    state.bytes += counts[2];
    state.unexplained += counts[3];
    for (size_t i = 0; i < CLASSES; i++)
        dispute_classes[i].count += counts[4 + i];
    return true;
}

uint64_t compare_report(FILE *to)
{
    if (state.compared == 0)
        return 0;
    fprintf(to,
            "%s: %" PRIu64 " compared, %" PRIu64 " instructions, %" PRIu64
            " bytes, %" PRIu64 " unexplained\n",
            compare_oracles(), state.compared, state.instructions, state.bytes,
            state.unexplained);
    for (size_t i = 0; i < CLASSES; i++) {
        static const char *const kinds[] = {"refuses", "accepts", "length",
                                            "meaning"};
        const struct dispute_class *class = &dispute_classes[i];

        if (class->count)
            fprintf(to, "%12" PRIu64 "  %-8s %s: %s (%s)\n", class->count,
                    class->whose == ZYDIS ? "Zydis" : "Capstone",
                    kinds[class->kind], class->what, class->manual);
    }
    return state.unexplained;
}
