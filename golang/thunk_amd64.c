/* SPDX-License-Identifier: MIT */
/*
 * Thunks, byte by byte, on amd64: thunk.h shows them.
 */
#include "thunk.h"

enum {
    BRANCHES = 8
};

struct emitter {
    struct patas__go_thunk *to;
    unsigned branches[BRANCHES]; /* fields of `jcc below` */
    unsigned branch_count;
};

static void emit(struct emitter *emitter, const char *bytes, size_t size)
{
    memcpy(emitter->to->code + emitter->to->size, bytes, size);
    emitter->to->size += (unsigned)size;
}
#define EMIT(emitter, bytes) emit((emitter), (bytes), sizeof(bytes) - 1)

/* The displacement to a slot, filled in when the place is known. */
static void emit_field(struct emitter *emitter, enum patas__go_field field)
{
    emitter->to->at[field] = (uint16_t)emitter->to->size;
    EMIT(emitter, "\0\0\0\0");
}

static void emit_below(struct emitter *emitter, const char *jcc)
{
    emit(emitter, jcc, 2);
    emitter->branches[emitter->branch_count++] = emitter->to->size;
    EMIT(emitter, "\0\0\0\0");
}

static const char equal[] = "\x0f\x84", not_equal[] = "\x0f\x85",
                  above[] = "\x0f\x87", not_below[] = "\x0f\x83";

/* r12 = the counter, which goes one up. */
static void emit_count(struct emitter *emitter, enum patas__go_field counter)
{
    EMIT(emitter, "\x41\xbc\x01\0\0\0");   /* mov $1, %r12d */
    EMIT(emitter, "\xf0\x4c\x0f\xc1\x25"); /* lock xadd %r12, counter */
    emit_field(emitter, counter);
}

static void emit_compare(struct emitter *emitter, enum patas__go_field with,
                         const char *jcc)
{
    EMIT(emitter, "\x4c\x3b\x25"); /* cmp with, %r12 */
    emit_field(emitter, with);
    emit_below(emitter, jcc);
}

static void emit_who(struct emitter *emitter, uint64_t kind)
{
    if (kind & PATAS__GO_GOROUTINE) {
        EMIT(emitter, "\x4d\x8b\xa6\0\0\0\0"); /* mov labels(%r14), %r12 */
        patas__store32(emitter->to->code + emitter->to->size - 4,
                       (uint32_t)(kind >> 32));
        emit_compare(emitter, PATAS__GO_F_LABEL, not_equal);
    }
    if (kind & PATAS__GO_KEY) {
        unsigned reg = kind >> 8 & 15;
        EMIT(emitter, "\x4c\x8b\x25"); /* mov key, %r12 */
        emit_field(emitter, PATAS__GO_F_KEY);
        uint8_t *compare = emitter->to->code + emitter->to->size;
        EMIT(emitter, "\x4c\x39\xe0"); /* cmp %r12, %reg */
        compare[0] = (uint8_t)(compare[0] | reg >> 3);
        compare[2] = (uint8_t)(compare[2] | (reg & 7));
        emit_below(emitter, not_equal);
    }
}

static void emit_ask(struct emitter *emitter, enum patas__go_field whom)
{
    EMIT(emitter, "\x4c\x8b\x25"); /* mov whom, %r12 */
    emit_field(emitter, whom);
    EMIT(emitter, "\x4c\x8d\x2d\x04\0\0\0" /* lea back(%rip), %r13 */
                  "\x41\xff\x24\x24");     /* jmp *(%r12) */
}

/* n is a multiple of step = odd << k if and only if n times the inverse of odd
 * modulo 2^64, rotated right by k, is at most (2^64 - 1) / step (Granlund and
 * Montgomery, Division by Invariant Integers, section 9). */
static void emit_which(struct emitter *emitter, uint64_t kind)
{
    if (!(kind & PATAS__GO_RANGE))
        return;
    emit_count(emitter, PATAS__GO_F_CALLS);
    EMIT(emitter, "\x4c\x2b\x25"); /* sub first, %r12 */
    emit_field(emitter, PATAS__GO_F_FIRST);
    emit_compare(emitter, PATAS__GO_F_SPAN, above);
    if (!(kind & PATAS__GO_STEP))
        return;
    EMIT(emitter, "\x4c\x0f\xaf\x25"); /* imul inverse, %r12 */
    emit_field(emitter, PATAS__GO_F_INVERSE);
    EMIT(emitter, "\x49\xc1\xcc\0"); /* ror $k, %r12 */
    emitter->to->code[emitter->to->size - 1] = kind >> 20 & 63;
    emit_compare(emitter, PATAS__GO_F_LIMIT, above);
}

static void emit_mix(struct emitter *emitter, enum patas__go_field factor)
{
    EMIT(emitter, "\x4c\x0f\xaf\x25"); /* imul factor, %r12 */
    emit_field(emitter, factor);
    EMIT(emitter, "\x4d\x89\xe5"     /* mov %r12, %r13 */
                  "\x49\xc1\xed\x20" /* shr $32, %r13 */
                  "\x4d\x31\xec");   /* xor %r13, %r12 */
}

static void emit_how_often(struct emitter *emitter, uint64_t kind)
{
    if (kind & PATAS__GO_CHANCE) {
        emit_count(emitter, PATAS__GO_F_DRAWS);
        emit_mix(emitter, PATAS__GO_F_MIX1);
        emit_mix(emitter, PATAS__GO_F_MIX2);
        emit_compare(emitter, PATAS__GO_F_THRESHOLD, not_below);
    }
    if (kind & PATAS__GO_TIMES) {
        emit_count(emitter, PATAS__GO_F_REACHED);
        emit_compare(emitter, PATAS__GO_F_TIMES, not_below);
    }
}

/* Integer arguments, in their order: rax rbx rcx rdi rsi r8 r9 r10 r11. */
static void emit_drop(struct emitter *emitter, unsigned which, unsigned last)
{
    static const uint8_t order[] = {0, 3, 1, 7, 6, 8, 9, 10, 11};
    for (unsigned i = which; i < last && i + 1 < sizeof order; i++) {
        unsigned to = order[i], from = order[i + 1];
        uint8_t *move = emitter->to->code + emitter->to->size;
        EMIT(emitter, "\x48\x89\xc0"); /* mov %from, %to */
        move[0] = (uint8_t)(0x48 | (from >> 3) << 2 | to >> 3);
        move[2] = (uint8_t)(0xc0 | (from & 7) << 3 | (to & 7));
    }
}

void patas__go_thunk(uint64_t kind, struct patas__go_thunk *thunk)
{
    struct emitter emitter = {.to = thunk};
    memset(thunk, 0, sizeof *thunk);
    if (!(kind & PATAS__GO_PASS)) {
        emit_who(&emitter, kind);
        if (kind & PATAS__GO_WHEN) {
            emit_ask(&emitter, PATAS__GO_F_WHEN);
            emit_below(&emitter, equal);
        }
        emit_which(&emitter, kind);
        emit_how_often(&emitter, kind);
        if (kind & PATAS__GO_RECORD)
            emit_ask(&emitter, PATAS__GO_F_RECORD);
        if (kind & PATAS__GO_DROP)
            emit_drop(&emitter, kind >> 12 & 15, kind >> 16 & 15);
        EMIT(&emitter, "\x48\x8b\x15"); /* mov value, %rdx */
        emit_field(&emitter, PATAS__GO_F_VALUE);
        EMIT(&emitter, "\xff\x22"); /* jmp *(%rdx) */
    }
    for (unsigned i = 0; i < emitter.branch_count; i++)
        patas__store32(thunk->code + emitter.branches[i],
                       thunk->size - (emitter.branches[i] + 4));
    EMIT(&emitter, "\xff\x25"); /* jmp *next */
    emit_field(&emitter, PATAS__GO_F_NEXT);
}

void patas__go_thunk_name(uint8_t *field, uintptr_t at, uintptr_t slot)
{
    patas__store32(field, (uint32_t)(slot - (at + 4)));
}

uintptr_t patas__go_thunk_named(uintptr_t at)
{
    int32_t away = (int32_t)patas__load32((const void *)at);
    return at + 4 + (uintptr_t)(intptr_t)away;
}

/* It is in r14. */
bool patas__go_thunk_learn(const uint8_t *bytes, size_t size)
{
    (void)bytes;
    (void)size;
    return true;
}
