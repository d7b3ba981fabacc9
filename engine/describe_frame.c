/* SPDX-License-Identifier: MIT */
/*
 * Where the caller is, while a head runs.
 *
 *     function                 its unwind table     head         its frames
 *     e    push %rbp           CFA = rsp + 8        push %rbp    CFA = rsp + 8
 *     e+1  mov  %rsp, %rbp     CFA = rsp + 16,      mov ...      CFA = rsp +
 * 16, rbp at CFA - 16                   rbp at CFA - 16 e+4  ... CFA = rbp + 16
 * jmp e+4      CFA = rbp + 16
 *
 * The program of the function's own frame description (DWARF 5, 6.4; LSB Core,
 * "Exception Frames") is run as far as the head goes, and written again with
 * the places where the instructions are now. The CFA is written in full each
 * time, since an instruction that was rebuilt out of several may push on the
 * way.
 *
 * Pure: addresses of the image, bytes out.
 */
#include "describe.h"

enum {
    FRAME_STATES = 4
};

enum frame_op { /* DW_CFA_... */
    FRAME_NOP = 0x00,
    FRAME_ADVANCE1 = 0x02,
    FRAME_ADVANCE2 = 0x03,
    FRAME_ADVANCE4 = 0x04,
    FRAME_OFFSET_EXTENDED = 0x05,
    FRAME_RESTORE_EXTENDED = 0x06,
    FRAME_UNDEFINED = 0x07,
    FRAME_SAME_VALUE = 0x08,
    FRAME_REGISTER = 0x09,
    FRAME_REMEMBER = 0x0a,
    FRAME_RECALL = 0x0b,
    FRAME_CFA = 0x0c,
    FRAME_CFA_REGISTER = 0x0d,
    FRAME_CFA_OFFSET = 0x0e,
    FRAME_EXPRESSION = 0x10,
    FRAME_OFFSET_SF = 0x11,
    FRAME_CFA_SF = 0x12,
    FRAME_CFA_OFFSET_SF = 0x13,
    FRAME_VAL_OFFSET = 0x14,
    FRAME_VAL_OFFSET_SF = 0x15,
    FRAME_VAL_EXPRESSION = 0x16,
    FRAME_NEGATE_RA = 0x2d, /* AArch64: signed from here on, or no more */
    FRAME_ARGS_SIZE = 0x2e,
    FRAME_ADVANCE = 0x40, /* these three hold an operand in six bits */
    FRAME_OFFSET = 0x80,
    FRAME_RESTORE = 0xc0
};

struct frame_reader {
    const uint8_t *at, *end;
    bool bad; /* it ended too early */
};

/* CFA = register + offset. */
struct frame_cfa {
    uint64_t number;
    int64_t offset;
};

struct frame_work {
    struct frame_reader source; /* the function's program */
    bool has_source;
    bool known; /* as far as the source was run */
    uint64_t code_unit;
    uint64_t location; /* of the source, address */
    struct frame_cfa cfa;
    struct frame_cfa states[FRAME_STATES];
    unsigned depth;
    struct frame_cfa told; /* as the output has it */
    bool told_stale;
    unsigned told_at; /* code offset that the output is at */
    struct patas__head_frame *out;
};

/* ---- reading --------------------------------------------------------------
 */

static const uint8_t *frame_take(struct frame_reader *from, uint64_t size)
{
    const uint8_t *taken = from->at;
    if (size > (uint64_t)(from->end - from->at)) {
        from->bad = true;
        from->at = from->end;
        return NULL;
    }
    from->at += size;
    return taken;
}

static uint64_t frame_fixed(struct frame_reader *from, unsigned size)
{
    uint64_t value = 0;
    const uint8_t *bytes = frame_take(from, size);
    for (unsigned i = 0; bytes && i < size; i++)
        value |= (uint64_t)bytes[i] << (8 * i);
    return value;
}

static uint64_t frame_leb(struct frame_reader *from, bool is_signed)
{
    uint64_t value = 0;
    for (unsigned shift = 0;; shift += 7) {
        const uint8_t *byte = frame_take(from, 1);
        if (!byte)
            return 0;
        if (shift < 64)
            value |= (uint64_t)(*byte & 0x7f) << shift;
        if (*byte & 0x80)
            continue;
        if (is_signed && *byte & 0x40 && shift + 7 < 64)
            value |= ~(uint64_t)0 << (shift + 7);
        return value;
    }
}

/* A record of .eh_frame, behind its length. */
static bool frame_record(const struct patas__image *image, uint64_t address,
                         struct frame_reader *record)
{
    const uint8_t *bytes = patas__image_bytes(image, address, 4);
    uint32_t size = bytes ? patas__load32(bytes) : 0;
    if (size < 4 || size == 0xffffffff)
        return false;
    bytes = patas__image_bytes(image, address + 4, size);
    if (!bytes)
        return false;
    *record = (struct frame_reader){.at = bytes, .end = bytes + size};
    return true;
}

/*
 * What is common to functions: only the one that compilers for this processor
 * write is taken (isa->frame), since our own stands for it. Returns the bytes
 * that an address has in its descriptions; 0 for another one.
 */
static unsigned frame_common(struct frame_reader record, uint64_t *code_unit)
{
    const struct patas__frame_rules *rules = &patas__isa_host()->frame;
    unsigned address_size = 8;
    (void)frame_fixed(&record, 4); /* it is a CIE */
    uint64_t version = frame_fixed(&record, 1);
    const char *letters = (const char *)record.at;
    while (frame_fixed(&record, 1))
        ;
    *code_unit = frame_leb(&record, false);
    bool offsets = (int64_t)frame_leb(&record, true) == -rules->unit;
    bool returns = frame_leb(&record, false) == rules->returns;
    if (version != 1 || !offsets || !returns || record.bad || letters[0] != 'z')
        return 0;
    (void)frame_leb(&record, false);
    for (letters++; *letters; letters++) {
        unsigned encoding;
        switch (*letters) {
        case 'R':
            encoding = (unsigned)frame_fixed(&record, 1) & 7;
            address_size = encoding == 2 ? 2 : encoding == 3 ? 4 : 8;
            break;
        case 'L':
            (void)frame_fixed(&record, 1);
            break;
        case 'P':
            encoding = (unsigned)frame_fixed(&record, 1) & 7;
            (void)frame_take(&record, encoding == 2   ? 2
                                      : encoding == 3 ? 4
                                                      : 8);
            break;
        default: /* 'S': a signal's frame is another kind of caller */
            return 0;
        }
    }
    const uint8_t *program = frame_take(&record, rules->entered_size);
    if (!program || memcmp(program, rules->entered, rules->entered_size))
        return 0;
    while (record.at < record.end)
        if (*record.at++ != FRAME_NOP)
            return 0;
    return address_size;
}

/* The program of the description that covers `address`. */
static bool frame_source(const struct patas__image *image, uint64_t address,
                         struct frame_work *work)
{
    struct frame_reader record, common;
    struct patas__extent cover = {0};
    struct patas__near near = {0};
    uint64_t start;
    uint64_t rank = patas__extent_rank(image, address, &start);
    if (!rank || !patas__extent_frame(image, rank - 1, &near, &cover) ||
        address - cover.start >= cover.size)
        return false;
    const uint8_t *entry =
        patas__image_bytes(image, image->eh_table + (rank - 1) * 8 + 4, 4);
    if (!entry)
        return false;
    uint64_t at =
        image->eh_frame_hdr + (uint64_t)(int64_t)(int32_t)patas__load32(entry);
    if (!frame_record(image, at, &record))
        return false;
    uint64_t id = frame_fixed(&record, 4);
    if (!id || !frame_record(image, at + 4 - id, &common))
        return false;
    unsigned address_size = frame_common(common, &work->code_unit);
    if (!address_size)
        return false;
    (void)frame_take(&record, 2 * (uint64_t)address_size);
    (void)frame_take(&record, frame_leb(&record, false)); /* the LSDA */
    work->source = record;
    work->location = cover.start;
    return !record.bad;
}

/* ---- writing --------------------------------------------------------------
 */

static void frame_put(struct frame_work *work, const uint8_t *bytes,
                      size_t size)
{
    struct patas__head_frame *out = work->out;
    if (size > sizeof out->program - out->size) {
        work->known = false;
        return;
    }
    memcpy(out->program + out->size, bytes, size);
    out->size += (unsigned)size;
}

static void frame_put_byte(struct frame_work *work, unsigned byte)
{
    frame_put(work, &(uint8_t){(uint8_t)byte}, 1);
}

static void frame_put_leb(struct frame_work *work, uint64_t value)
{
    for (; value >= 0x80; value >>= 7)
        frame_put_byte(work, (unsigned)(value & 0x7f) | 0x80);
    frame_put_byte(work, (unsigned)value);
}

/* What follows holds from this offset of the code on. */
static void frame_put_place(struct frame_work *work, unsigned at)
{
    unsigned step = at - work->told_at;
    if (!step)
        return;
    if (step < 0x40) {
        frame_put_byte(work, FRAME_ADVANCE | step);
    } else {
        frame_put_byte(work, FRAME_ADVANCE1);
        frame_put_byte(work, step);
    }
    work->told_at = at;
}

static void frame_put_cfa(struct frame_work *work, unsigned at,
                          struct frame_cfa cfa)
{
    if (cfa.number == work->told.number && cfa.offset == work->told.offset &&
        !work->told_stale)
        return;
    if (cfa.offset < 0) {
        work->known = false;
        return;
    }
    frame_put_place(work, at);
    frame_put_byte(work, FRAME_CFA);
    frame_put_leb(work, cfa.number);
    frame_put_leb(work, (uint64_t)cfa.offset);
    work->told = cfa;
    work->told_stale = false;
}

/* ---- the source's program -------------------------------------------------
 */

/* Reads the operands of an instruction about registers; false for others. */
static bool frame_operands(struct frame_reader *from, unsigned op)
{
    switch (op) {
    case FRAME_OFFSET_EXTENDED:
    case FRAME_REGISTER:
    case FRAME_OFFSET_SF:
    case FRAME_VAL_OFFSET:
    case FRAME_VAL_OFFSET_SF:
        (void)frame_leb(from, false);
        (void)frame_leb(from, false);
        return true;
    case FRAME_RESTORE_EXTENDED:
    case FRAME_UNDEFINED:
    case FRAME_SAME_VALUE:
        (void)frame_leb(from, false);
        return true;
    case FRAME_EXPRESSION:
    case FRAME_VAL_EXPRESSION:
        (void)frame_leb(from, false);
        (void)frame_take(from, frame_leb(from, false));
        return true;
    case FRAME_REMEMBER:
    case FRAME_RECALL:
    case FRAME_NEGATE_RA:
        return true;
    default:
        if ((op & 0xc0) == FRAME_OFFSET)
            (void)frame_leb(from, false);
        return (op & 0xc0) == FRAME_OFFSET || (op & 0xc0) == FRAME_RESTORE;
    }
}

/* The CFA's instructions are followed; false for what isn't known here. */
static bool frame_define(struct frame_work *work, unsigned op)
{
    struct frame_reader *from = &work->source;
    switch (op) {
    case FRAME_CFA:
        work->cfa.number = frame_leb(from, false);
        work->cfa.offset = (int64_t)frame_leb(from, false);
        return true;
    case FRAME_CFA_SF:
        work->cfa.number = frame_leb(from, false);
        work->cfa.offset =
            (int64_t)frame_leb(from, true) * -patas__isa_host()->frame.unit;
        return true;
    case FRAME_CFA_REGISTER:
        work->cfa.number = frame_leb(from, false);
        return true;
    case FRAME_CFA_OFFSET:
        work->cfa.offset = (int64_t)frame_leb(from, false);
        return true;
    case FRAME_CFA_OFFSET_SF:
        work->cfa.offset =
            (int64_t)frame_leb(from, true) * -patas__isa_host()->frame.unit;
        return true;
    case FRAME_ARGS_SIZE:
        (void)frame_leb(from, false);
        return true;
    default:
        return op == FRAME_NOP;
    }
}

static void frame_remember(struct frame_work *work, unsigned op)
{
    work->told_stale = true; /* it remembers another one, perhaps */
    if (op == FRAME_REMEMBER && work->depth < FRAME_STATES)
        work->states[work->depth++] = work->cfa;
    else if (op == FRAME_RECALL && work->depth)
        work->cfa = work->states[--work->depth];
    else
        work->known = false;
}

/* How far an instruction moves on; 0 for others. */
static uint64_t frame_advance(struct frame_reader *from, unsigned op)
{
    if ((op & 0xc0) == FRAME_ADVANCE)
        return op & 0x3f;
    if (op == FRAME_ADVANCE1 || op == FRAME_ADVANCE2 || op == FRAME_ADVANCE4)
        return frame_fixed(from, 1u << (op - FRAME_ADVANCE1));
    return 0;
}

/* All that holds in front of the instruction at `until`, as from `at` on. */
static void frame_run(struct frame_work *work, uint64_t until, unsigned at)
{
    struct frame_reader *from = &work->source;
    while (work->known && from->at < from->end) {
        const uint8_t *start = from->at;
        unsigned op = (unsigned)frame_fixed(from, 1);
        uint64_t step = frame_advance(from, op) * work->code_unit;
        if (step > until - work->location) {
            from->at = start;
            return;
        }
        work->location += step;
        if (step || (op & 0xc0) == FRAME_ADVANCE)
            continue;
        if (frame_operands(from, op)) {
            frame_put_place(work, at);
            frame_put(work, start, (size_t)(from->at - start));
            if (op == FRAME_REMEMBER || op == FRAME_RECALL)
                frame_remember(work, op);
        } else if (!frame_define(work, op)) {
            work->known = false;
        }
        work->known &= !from->bad;
    }
}

/* ---- a head ---------------------------------------------------------------
 */

/* Which original instruction begins at this offset of the head? 0xff: none. */
static unsigned frame_origin(const struct patas__move *move, unsigned at)
{
    for (unsigned k = 0; k < move->moved && k < sizeof move->map; k++)
        if (move->map[k] == at)
            return k;
    return 0xff;
}

/* The last moved instruction: its offset in the head, and whether the head goes
 * on behind it to the function. */
static unsigned frame_last(const struct patas__move *move, bool *goes_on)
{
    struct patas__insn insn;
    unsigned last = 0;
    for (unsigned k = 0; k < move->moved && k < sizeof move->map; k++)
        if (move->map[k] != 0xff)
            last = k;
    *goes_on = patas__isa_host()->decode(move->bytes + last, move->size - last,
                                         move->from + last, &insn) &&
               insn.flow != PATAS__FLOW_JUMP && insn.flow != PATAS__FLOW_CALL &&
               insn.flow != PATAS__FLOW_RETURN;
    return move->map[last];
}

/* Is this the jump back to the function? */
static bool frame_jumps_back(const struct patas__move *move,
                             const struct patas__insn *insn)
{
    uint64_t back = move->from + move->moved;
    uint64_t literal = insn->operand - move->to;
    if (insn->flow != PATAS__FLOW_JUMP)
        return false;
    if (insn->has_target)
        return insn->target == back;
    return insn->has_operand && literal + 8 <= move->code_size &&
           patas__load64(move->code + literal) == back;
}

/* One instruction of the head, and to the next; 0 behind the last. */
static unsigned frame_step(struct frame_work *work,
                           const struct patas__move *move, unsigned at,
                           int64_t *lower)
{
    struct patas__insn insn;
    bool goes_on, known = true;
    unsigned last = frame_last(move, &goes_on);
    unsigned origin = frame_origin(move, at);
    if (!patas__isa_host()->decode(move->code + at, move->code_size - at,
                                   move->to + at, &insn))
        return 0;
    bool back = goes_on && at > last && frame_jumps_back(move, &insn);
    if (back)
        origin = (unsigned)move->moved;
    if (work->has_source && origin != 0xff) {
        frame_run(work, move->from + origin, at);
        *lower = 0;
    }
    struct frame_cfa cfa = work->cfa;
    cfa.offset += cfa.number == patas__isa_host()->frame.stack ? *lower : 0;
    if (work->known)
        frame_put_cfa(work, at, cfa);
    if (!work->known)
        return 0;
    *lower += patas__isa_host()->frame_effect(move->code + at, &insn, &known);
    unsigned next = at + insn.length;
    if (insn.flow == PATAS__FLOW_CALL) /* to its successor, in the head */
        next = (unsigned)(insn.target - move->to);
    work->out->covers = next <= move->code_size ? next : at + insn.length;
    if (!work->has_source)
        work->known = known;
    bool leaves =
        !goes_on && at >= last &&
        (insn.flow == PATAS__FLOW_JUMP || insn.flow == PATAS__FLOW_RETURN);
    return back || leaves || !work->known || next <= at ? 0 : next;
}

void patas__frame_head(const struct patas__image *image,
                       const struct patas__move *move,
                       struct patas__head_frame *frame)
{
    const struct patas__frame_rules *rules = &patas__isa_host()->frame;
    const struct frame_cfa entered = {rules->stack, rules->below};
    struct frame_work work = {
        .known = true, .cfa = entered, .told = entered, .out = frame};
    int64_t lower = 0;
    frame->size = frame->covers = 0;
    work.has_source = image && frame_source(image, move->from, &work);
    for (unsigned at = 0;
         (at = frame_step(&work, move, at, &lower)) && at < move->code_size;)
        ;
}
