/* SPDX-License-Identifier: MIT */
/*
 * Thunks, byte by byte, on 386: thunk.h says what differs.
 */
#include "thunk.h"

enum {
    BRANCHES = 8,
    CONTEXT = 15 /* of a key: edx */
};

/* Of the goroutine, from where gs begins; the linker chose it. */
static int32_t thread_offset;

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

static void emit32(struct emitter *emitter, uint32_t value)
{
    patas__store32(emitter->to->code + emitter->to->size, value);
    emitter->to->size += 4;
}

/* The address of a slot, filled in when it is known. */
static void emit_field(struct emitter *emitter, enum patas__go_field field)
{
    emitter->to->at[field] = (uint16_t)emitter->to->size;
    emit32(emitter, 0);
}

static void emit_below(struct emitter *emitter, const char *jcc)
{
    emit(emitter, jcc, 2);
    emitter->branches[emitter->branch_count++] = emitter->to->size;
    emit32(emitter, 0);
}

static const char equal[] = "\x0f\x84", not_equal[] = "\x0f\x85",
                  above[] = "\x0f\x87", not_below[] = "\x0f\x83";

static void emit_compare(struct emitter *emitter, enum patas__go_field with,
                         const char *jcc)
{
    EMIT(emitter, "\x3b\x05"); /* cmp with, %eax */
    emit_field(emitter, with);
    emit_below(emitter, jcc);
}

/* eax = the counter, which goes one up, but never as far as to 2^32 - 1. */
static void emit_count(struct emitter *emitter, enum patas__go_field counter)
{
    EMIT(emitter, "\xbe"); /* mov $counter, %esi */
    emit_field(emitter, counter);
    EMIT(emitter, "\x8b\x06"         /*    mov (%esi), %eax */
                  "\x83\xf8\xfe"     /* 1: cmp $-2, %eax */
                  "\x74\x09"         /*    je 2f */
                  "\x8d\x48\x01"     /*    lea 1(%eax), %ecx */
                  "\xf0\x0f\xb1\x0e" /*    lock cmpxchg %ecx, (%esi) */
                  "\x75\xf2" /*    jne 1b */); /* 2: */
}

static void emit_who(struct emitter *emitter, uint64_t kind)
{
    if (kind & PATAS__GO_GOROUTINE) {
        EMIT(emitter, "\x65\x8b\x05\0\0\0\0" /* mov %gs:0, %eax */
                      "\x8b\x80");           /* mov offset(%eax), %eax */
        emit32(emitter, (uint32_t)thread_offset);
        EMIT(emitter, "\x8b\x80"); /* mov labels(%eax), %eax */
        emit32(emitter, (uint32_t)(kind >> 32));
        emit_compare(emitter, PATAS__GO_F_LABEL, not_equal);
    }
    if (kind & PATAS__GO_KEY) {
        unsigned which = kind >> 8 & 15;
        EMIT(emitter, "\xa1"); /* mov key, %eax */
        emit_field(emitter, PATAS__GO_F_KEY);
        if (which == CONTEXT) {
            EMIT(emitter, "\x39\xc2"); /* cmp %eax, %edx */
        } else {
            EMIT(emitter, "\x39\x44\x24\x04"); /* cmp %eax, 4(%esp) */
            emitter->to->code[emitter->to->size - 1] =
                (uint8_t)(4 * (which + 1));
        }
        emit_below(emitter, not_equal);
    }
}

static void emit_ask(struct emitter *emitter, enum patas__go_field whom)
{
    struct patas__go_thunk *to = emitter->to;
    EMIT(emitter, "\xa1"); /* mov whom, %eax */
    emit_field(emitter, whom);
    EMIT(emitter, "\xb9"); /* mov $back, %ecx */
    to->back[to->backs].field = (uint16_t)to->size;
    emit32(emitter, 0);
    EMIT(emitter, "\xff\x20"); /* jmp *(%eax) */
    to->back[to->backs++].to = (uint16_t)to->size;
}

/* The counter's number of the calls that are replaced is `first`; where they
 * were `limit` more, it is that again. */
static void emit_step(struct emitter *emitter)
{
    EMIT(emitter, "\xbe"); /* mov $calls, %esi */
    emit_field(emitter, PATAS__GO_F_CALLS);
    EMIT(emitter, "\x8b\x3d"); /* mov first, %edi */
    emit_field(emitter, PATAS__GO_F_FIRST);
    EMIT(emitter, "\x8b\x1d"); /* mov limit, %ebx */
    emit_field(emitter, PATAS__GO_F_LIMIT);
    EMIT(emitter, "\x8b\x06"         /*    mov (%esi), %eax */
                  "\x8d\x48\x01"     /* 1: lea 1(%eax), %ecx */
                  "\x29\xf9"         /*    sub %edi, %ecx */
                  "\x39\xd9"         /*    cmp %ebx, %ecx */
                  "\x75\x02"         /*    jne 2f */
                  "\x31\xc9"         /*    xor %ecx, %ecx */
                  "\x01\xf9"         /* 2: add %edi, %ecx */
                  "\xf0\x0f\xb1\x0e" /*    lock cmpxchg %ecx, (%esi) */
                  "\x75\xed"         /*    jne 1b */
                  "\x39\xf8");       /*    cmp %edi, %eax */
    emit_below(emitter, not_equal);
}

static void emit_which(struct emitter *emitter, uint64_t kind)
{
    if (!(kind & PATAS__GO_RANGE))
        return;
    if (kind & PATAS__GO_STEP) {
        emit_step(emitter);
        return;
    }
    emit_count(emitter, PATAS__GO_F_CALLS);
    EMIT(emitter, "\x2b\x05"); /* sub first, %eax */
    emit_field(emitter, PATAS__GO_F_FIRST);
    emit_compare(emitter, PATAS__GO_F_SPAN, above);
}

static void emit_mix(struct emitter *emitter, enum patas__go_field factor)
{
    EMIT(emitter, "\x0f\xaf\x05"); /* imul factor, %eax */
    emit_field(emitter, factor);
    EMIT(emitter, "\x89\xc1"     /* mov %eax, %ecx */
                  "\xc1\xe9\x10" /* shr $16, %ecx */
                  "\x31\xc8");   /* xor %ecx, %eax */
}

static void emit_how_often(struct emitter *emitter, uint64_t kind)
{
    if (kind & PATAS__GO_CHANCE) {
        EMIT(emitter, "\xb8\x01\0\0\0"     /* mov $1, %eax */
                      "\xf0\x0f\xc1\x05"); /* lock xadd %eax, draws */
        emit_field(emitter, PATAS__GO_F_DRAWS);
        emit_mix(emitter, PATAS__GO_F_MIX1);
        emit_mix(emitter, PATAS__GO_F_MIX2);
        emit_compare(emitter, PATAS__GO_F_THRESHOLD, not_below);
    }
    if (kind & PATAS__GO_TIMES) {
        emit_count(emitter, PATAS__GO_F_REACHED);
        emit_compare(emitter, PATAS__GO_F_TIMES, not_below);
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
        EMIT(&emitter, "\x8b\x15"); /* mov value, %edx */
        emit_field(&emitter, PATAS__GO_F_VALUE);
        EMIT(&emitter, "\xff\x22"); /* jmp *(%edx) */
    }
    for (unsigned i = 0; i < emitter.branch_count; i++)
        patas__store32(thunk->code + emitter.branches[i],
                       thunk->size - (emitter.branches[i] + 4));
    EMIT(&emitter, "\xff\x25"); /* jmp *next */
    emit_field(&emitter, PATAS__GO_F_NEXT);
}

void patas__go_thunk_name(uint8_t *field, uintptr_t at, uintptr_t slot)
{
    (void)at;
    patas__store32(field, (uint32_t)slot);
}

uintptr_t patas__go_thunk_named(uintptr_t at)
{
    return (uintptr_t)patas__load32((const void *)at);
}

/* mov %gs:0, %ecx;  mov offset(%ecx), %ecx. In position-independent code, a
 * call, and mov $offset, %ecx;  mov %gs:(%ecx), %ecx. */
bool patas__go_thunk_learn(const uint8_t *bytes, size_t size)
{
    static const uint8_t load[] = {0x65, 0x8b, 0x0d, 0, 0, 0, 0, 0x8b, 0x89};
    enum {
        CALL = 5,
        MOVE = 2,
        NEED = 16
    };
    if (size < NEED)
        return false;
    if (!memcmp(bytes, load, sizeof load))
        thread_offset = (int32_t)patas__load32(bytes + sizeof load);
    else if (bytes[0] == 0xe8 && bytes[CALL] == 0xc7 &&
             bytes[CALL + 1] == 0xc1 && bytes[CALL + MOVE + 4] == 0x65 &&
             bytes[CALL + MOVE + 5] == 0x8b && bytes[CALL + MOVE + 6] == 0x09)
        thread_offset = (int32_t)patas__load32(bytes + CALL + MOVE);
    return thread_offset != 0;
}
