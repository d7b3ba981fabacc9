/* SPDX-License-Identifier: MIT */
/*
 * Go's code for arm64 (cmd/internal/obj/arm64/obj7.go, stacksplit; asm7.go,
 * flushpool).
 *
 *     small     ldr x16, [x28, #16];  cmp sp, x16;  b.ls grow
 *     medium    ldr x16, [x28, #16];  sub x17, sp, #n;  cmp x17, x16;  b.ls
 *     large     ldr x16, [x28, #16];  [mov x27, #n;]  subs x17, sp, x27;
 *               b.lo grow;  cmp x17, x16;  b.ls grow
 */
#include "dialect.h"

#include "image.h"

enum {
    WORD = 4
};

#define LOAD_LIMIT 0xf9400b90u /* ldr x16, [x28, #16] */
#define CMP_SP     0xeb3063ffu /* cmp sp, x16 */
#define CMP_X17    0xeb10023fu /* cmp x17, x16 */
#define RET        0xd65f03c0u

static uint32_t word_of(const struct patas__go_text *text,
                        const struct patas__insn *insn)
{
    return patas__load32(text->bytes + (insn->address - text->entry));
}

static bool checks_stack(const struct patas__go_text *text,
                         const struct patas__insn *insn)
{
    uint32_t word = word_of(text, insn);
    return (word == CMP_SP || word == CMP_X17) &&
           patas__load32(text->bytes) == LOAD_LIMIT;
}

/* b.ls */
static bool grows_stack(const struct patas__go_text *text,
                        const struct patas__insn *insn)
{
    return (word_of(text, insn) & 0xff00001f) == 0x54000009;
}

static bool asks_pc(const struct patas__go_text *text,
                    const struct patas__insn *insn)
{
    (void)text;
    (void)insn;
    return false;
}

/* Does the load of a literal in `word`, at `from`, read what is at `at`? */
static bool loads(uint32_t word, uint64_t from, uint64_t at)
{
    if ((word & 0x3b000000) != 0x18000000)
        return false;
    unsigned kind = word >> 30;
    uint64_t size = word >> 26 & 1 ? (uint64_t)WORD << kind /* SIMD */
                    : kind == 1    ? 2 * WORD
                    : kind == 3    ? 0 /* a prefetch */
                                   : WORD;
    int64_t away = (int64_t)((uint64_t)(word >> 5 & 0x7ffff) << 45) >> 43;
    return at - (from + (uint64_t)away) < size;
}

/* Constants that fit into no instruction stand behind the code that loads
 * them, and in its midst if that is long, where nothing falls into them. Old
 * assemblers put some there that nothing loads. */
static bool is_data(const struct patas__go_text *text, uint64_t at)
{
    struct patas__insn insn;
    bool known = text->isa->decode(text->bytes + at, (size_t)(text->size - at),
                                   text->entry + at, &insn);
    for (uint64_t from = 0; from < at; from += WORD) {
        uint32_t word = patas__load32(text->bytes + from);
        bool ends = word >> 26 == 5 || word == RET;
        if ((!known && ends) || loads(word, from, at))
            return true;
    }
    return false;
}

/* bl and b */
static bool called(const struct patas__segment *code, uint64_t entry,
                   uint64_t end)
{
    for (uint64_t at = (0 - code->address) & 3; at + WORD <= code->size;
         at += WORD) {
        uint32_t word = patas__load32(code->bytes + at);
        if ((word & 0x7c000000) != 0x14000000)
            continue;
        uint64_t from = code->address + at;
        int64_t away = (int64_t)((uint64_t)(word & 0x3ffffff) << 38) >> 36;
        if (from + (uint64_t)away == entry && (from < entry || from >= end))
            return true;
    }
    return false;
}

/* adrp xn, dictionary;  add xn, xn, :lo12:dictionary */
static void dictionary(const struct patas__go_text *text,
                       const struct patas__insn *insn,
                       struct patas__go_dictionary *state)
{
    uint32_t word = word_of(text, insn);
    unsigned rd = word & 31, rn = word >> 5 & 31;
    if ((word & 0x9f000000) == 0x90000000) {
        state->loaded[rd] = insn->operand;
    } else if ((word & 0xffc00000) == 0x91000000 && state->loaded[rn]) {
        state->value = state->loaded[rn] + (word >> 10 & 0xfff);
        state->place = rd;
        state->loaded[rn] = 0;
    }
}

/* One instruction moves, and it can't both change x30, where the caller is
 * found, and fault for a nil pointer: a load writes its register when it has
 * been carried out. */
static bool may_fault(const struct patas__go_text *text, unsigned moved)
{
    (void)text;
    return moved > WORD;
}

const struct patas__go_dialect patas__go_a64 = {
    .padding = 0,
    .checks_stack = checks_stack,
    .grows_stack = grows_stack,
    .asks_pc = asks_pc,
    .is_data = is_data,
    .called = called,
    .dictionary = dictionary,
    .may_fault = may_fault,
};
