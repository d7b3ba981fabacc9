/* SPDX-License-Identifier: MIT */
/*
 * Thunks, word by word, on arm64: thunk.h says what differs.
 */
#include "thunk.h"

enum {
    WORD = 4,
    BRANCHES = 8,
    CONTEXT = 26,   /* registers: Go's context, */
    GOROUTINE = 28, /* runtime.g, */
    VALUE = 16,     /* what is compared, */
    OTHER = 17,     /* with what, or an address, */
    MORE = 19       /* and one more */
};

/* Instructions, their registers left out. */
#define ADRP     0x90000000u
#define ADD_LOW  0x91000000u /* add xd, xn, #imm12 */
#define LDR      0xf9400000u /* ldr xt, [xn, #imm12 * 8] */
#define CMP      0xeb00001fu /* cmp xn, xm */
#define SUB      0xcb000000u
#define MUL      0x9b007c00u
#define MOV      0xaa0003e0u /* mov xd, xm */
#define ROR      0x93c00000u /* extr xd, xn, xm, #imm6 */
#define EOR_HIGH 0xca408000u /* eor xd, xn, xm, lsr #32 */
#define LDAXR    0xc85ffc00u
#define STLXR    0xc800fc00u /* stlxr ws, xt, [xn] */
#define CBNZ_W   0x35000000u
#define ADR      0x10000000u
#define BR       0xd61f0000u
#define B_COND   0x54000000u

enum condition {
    EQUAL = 0,
    NOT_EQUAL = 1,
    NOT_BELOW = 2,
    ABOVE = 8
};

struct emitter {
    struct patas__go_thunk *to;
    unsigned branches[BRANCHES]; /* b.cond below */
    unsigned branch_count;
};

static uint32_t regs(unsigned rd, unsigned rn, unsigned rm)
{
    return rd | rn << 5 | rm << 16;
}

static void emit(struct emitter *emitter, uint32_t word)
{
    patas__store32(emitter->to->code + emitter->to->size, word);
    emitter->to->size += WORD;
}

/* reg = the slot, or its address; where it is is filled in when the place is
 * known. */
static void emit_field(struct emitter *emitter, uint32_t second, unsigned reg,
                       enum patas__go_field field)
{
    emit(emitter, ADRP | reg);
    emitter->to->at[field] = (uint16_t)emitter->to->size;
    emit(emitter, second | regs(reg, reg, 0));
}

static void emit_below(struct emitter *emitter, enum condition condition)
{
    emitter->branches[emitter->branch_count++] = emitter->to->size;
    emit(emitter, B_COND | condition);
}

/* x16 = the counter, which goes one up. */
static void emit_count(struct emitter *emitter, enum patas__go_field counter)
{
    enum {
        DONE = MORE + 1,
        BACK = -3
    };
    emit_field(emitter, ADD_LOW, OTHER, counter);
    emit(emitter, LDAXR | regs(VALUE, OTHER, 31)); /* 1: ldaxr x16, [x17] */
    emit(emitter, ADD_LOW | 1u << 10 | regs(MORE, VALUE, 0));
    emit(emitter, STLXR | regs(MORE, OTHER, DONE)); /* w20, x19, [x17] */
    emit(emitter, CBNZ_W | ((uint32_t)BACK & 0x7ffff) << 5 | DONE);
}

static void emit_compare(struct emitter *emitter, enum patas__go_field with,
                         enum condition condition)
{
    emit_field(emitter, LDR, OTHER, with);
    emit(emitter, CMP | regs(0, VALUE, OTHER));
    emit_below(emitter, condition);
}

static void emit_who(struct emitter *emitter, uint64_t kind)
{
    if (kind & PATAS__GO_GOROUTINE) {
        uint32_t labels = (uint32_t)(kind >> 32) / 8;
        emit(emitter, LDR | labels << 10 | regs(VALUE, GOROUTINE, 0));
        emit_compare(emitter, PATAS__GO_F_LABEL, NOT_EQUAL);
    }
    if (kind & PATAS__GO_KEY) {
        unsigned reg = kind & PATAS__GO_KEY_HIGH ? CONTEXT : kind >> 8 & 15;
        emit_field(emitter, LDR, VALUE, PATAS__GO_F_KEY);
        emit(emitter, CMP | regs(0, reg, VALUE));
        emit_below(emitter, NOT_EQUAL);
    }
}

static void emit_ask(struct emitter *emitter, enum patas__go_field whom)
{
    enum {
        BEHIND = 2 /* words behind adr */
    };
    emit_field(emitter, LDR, VALUE, whom);
    emit(emitter, LDR | regs(MORE, VALUE, 0)); /* ldr x19, [x16] */
    emit(emitter, ADR | BEHIND << 5 | OTHER);  /* adr x17, back */
    emit(emitter, BR | regs(0, MORE, 0));      /* back: */
}

/* thunk_amd64.c says why this divides. */
static void emit_which(struct emitter *emitter, uint64_t kind)
{
    if (!(kind & PATAS__GO_RANGE))
        return;
    emit_count(emitter, PATAS__GO_F_CALLS);
    emit_field(emitter, LDR, OTHER, PATAS__GO_F_FIRST);
    emit(emitter, SUB | regs(VALUE, VALUE, OTHER));
    emit_compare(emitter, PATAS__GO_F_SPAN, ABOVE);
    if (!(kind & PATAS__GO_STEP))
        return;
    emit_field(emitter, LDR, OTHER, PATAS__GO_F_INVERSE);
    emit(emitter, MUL | regs(VALUE, VALUE, OTHER));
    emit(emitter,
         ROR | (uint32_t)(kind >> 20 & 63) << 10 | regs(VALUE, VALUE, VALUE));
    emit_compare(emitter, PATAS__GO_F_LIMIT, ABOVE);
}

static void emit_mix(struct emitter *emitter, enum patas__go_field factor)
{
    emit_field(emitter, LDR, OTHER, factor);
    emit(emitter, MUL | regs(VALUE, VALUE, OTHER));
    emit(emitter, EOR_HIGH | regs(VALUE, VALUE, VALUE));
}

static void emit_how_often(struct emitter *emitter, uint64_t kind)
{
    if (kind & PATAS__GO_CHANCE) {
        emit_count(emitter, PATAS__GO_F_DRAWS);
        emit_mix(emitter, PATAS__GO_F_MIX1);
        emit_mix(emitter, PATAS__GO_F_MIX2);
        emit_compare(emitter, PATAS__GO_F_THRESHOLD, NOT_BELOW);
    }
    if (kind & PATAS__GO_TIMES) {
        emit_count(emitter, PATAS__GO_F_REACHED);
        emit_compare(emitter, PATAS__GO_F_TIMES, NOT_BELOW);
    }
}

/* Integer arguments are x0 to x15. */
static void emit_drop(struct emitter *emitter, unsigned which, unsigned last)
{
    for (unsigned i = which; i < last; i++)
        emit(emitter, MOV | regs(i, 0, i + 1));
}

/* On to the replacement: its func value is the context, and begins by its code;
 * the thunk's end leads to where a slot says. */
static void emit_go(struct emitter *emitter, enum patas__go_field field)
{
    bool value = field == PATAS__GO_F_VALUE;
    emit_field(emitter, LDR, value ? CONTEXT : VALUE, field);
    if (value)
        emit(emitter, LDR | regs(VALUE, CONTEXT, 0));
    emit(emitter, BR | regs(0, VALUE, 0));
}

void patas__go_thunk(uint64_t kind, struct patas__go_thunk *thunk)
{
    struct emitter emitter = {.to = thunk};
    memset(thunk, 0, sizeof *thunk);
    if (!(kind & PATAS__GO_PASS)) {
        emit_who(&emitter, kind);
        if (kind & PATAS__GO_WHEN) {
            emit_ask(&emitter, PATAS__GO_F_WHEN);
            emit_below(&emitter, EQUAL);
        }
        emit_which(&emitter, kind);
        emit_how_often(&emitter, kind);
        if (kind & PATAS__GO_RECORD)
            emit_ask(&emitter, PATAS__GO_F_RECORD);
        if (kind & PATAS__GO_DROP)
            emit_drop(&emitter, kind >> 12 & 15, kind >> 16 & 15);
        emit_go(&emitter, PATAS__GO_F_VALUE);
    }
    for (unsigned i = 0; i < emitter.branch_count; i++) {
        uint8_t *at = thunk->code + emitter.branches[i];
        uint32_t words = (thunk->size - emitter.branches[i]) / WORD;
        patas__store32(at, patas__load32(at) | words << 5);
    }
    emit_go(&emitter, PATAS__GO_F_NEXT);
}

/* The field is add or ldr; adrp is in front of it. */
void patas__go_thunk_name(uint8_t *field, uintptr_t at, uintptr_t slot)
{
    uint32_t pages = (uint32_t)((slot >> 12) - ((at - WORD) >> 12));
    uint32_t low = (uint32_t)slot & 0xfff;
    uint32_t first = patas__load32(field - WORD), second = patas__load32(field);
    if ((second & LDR) == LDR)
        low /= 8; /* of the slot's own size */
    patas__store32(field - WORD, (first & 0x9f00001f) | (pages & 3) << 29 |
                                     (pages >> 2 & 0x7ffff) << 5);
    patas__store32(field, (second & 0xffc003ff) | low << 10);
}

uintptr_t patas__go_thunk_named(uintptr_t at)
{
    const uint8_t *field = (const uint8_t *)at;
    uint32_t first = patas__load32(field - WORD), second = patas__load32(field);
    uint32_t pages = (first >> 5 & 0x7ffff) << 2 | (first >> 29 & 3);
    int64_t away = (int64_t)((uint64_t)pages << 43) >> 43;
    uintptr_t low = second >> 10 & 0xfff;
    return (((at - WORD) >> 12) + (uintptr_t)away) * 0x1000 +
           ((second & LDR) == LDR ? 8 * low : low);
}

/* It is in x28. */
bool patas__go_thunk_learn(const uint8_t *bytes, size_t size)
{
    (void)bytes;
    (void)size;
    return true;
}
