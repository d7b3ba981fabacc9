/* SPDX-License-Identifier: MIT */
/*
 * Which code there is, what it is called, and who was told of it.
 *
 * The registry keeps nothing for this: the length of a head is found by moving
 * the same instructions again, to the same place, and comparing. So what is
 * announced is what is really there.
 */
#include "describe.h"

#include "island.h"
#include "table.h"

enum {
    PIECES_EACH = 5, /* of one target and one patch, at most */
    TOLD_FIRST = 1024,
    TOLD_SHIFT = 56, /* the channels, above an address */
    TEXT_CHUNK = 64 * 1024,
    NAME_BYTES = 512, /* longer names are cut */
    LINE_BYTES = NAME_BYTES + 40,
    NO_MEMORY = 12 /* ENOMEM */
};

/* First what may be refused, so that then nothing was told. */
static const unsigned channels[] = {PATAS_ANNOUNCE_PERF, PATAS_ANNOUNCE_GDB};

/* Addresses of code, and in the upper byte who was told of it. 0 = empty. */
static struct {
    unsigned on; /* PATAS_ANNOUNCE_... */
    int pid;     /* whose perf map was written */
    bool behind; /* something could not be told when it was made */
    uint64_t *told;
    uint32_t told_mask, told_used;
} herald;

/* ---- who was told ---------------------------------------------------------
 */

static uint64_t *told_find(uint64_t *slots, uint32_t mask, uintptr_t code)
{
    const uint64_t address = ((uint64_t)1 << TOLD_SHIFT) - 1;
    uint32_t at = (uint32_t)(code * 0x9e3779b97f4a7c15u >> 32) & mask;
    while (slots[at] && (slots[at] & address) != code)
        at = (at + 1) & mask;
    return &slots[at];
}

/* Room for `more` addresses. */
static bool told_reserve(size_t more)
{
    uint32_t size = herald.told ? herald.told_mask + 1 : TOLD_FIRST;
    uint32_t old = herald.told ? size : 0;
    void *memory;
    while (herald.told_used + more > size / 2) {
        if (size >> 30)
            return false;
        size *= 2;
    }
    if (size == old)
        return true;
    if (patas__os_map(size * sizeof *herald.told, PATAS__READ | PATAS__WRITE,
                      &memory))
        return false;
    for (uint32_t i = 0; i < old; i++)
        if (herald.told[i])
            *told_find(memory, size - 1,
                       (uintptr_t)(herald.told[i] &
                                   (((uint64_t)1 << TOLD_SHIFT) - 1))) =
                herald.told[i];
    if (old)
        patas__os_unmap(herald.told, old * sizeof *herald.told);
    herald.told = memory;
    herald.told_mask = size - 1;
    return true;
}

static bool was_told(uintptr_t code, unsigned channel)
{
    uint64_t slot = *told_find(herald.told, herald.told_mask, code);
    return slot >> TOLD_SHIFT & channel;
}

static void note_told(const struct patas__piece *pieces, size_t count,
                      unsigned channel)
{
    for (size_t i = 0; i < count; i++) {
        uint64_t *slot =
            told_find(herald.told, herald.told_mask, pieces[i].code);
        herald.told_used += !*slot;
        *slot |= (uint64_t)channel << TOLD_SHIFT | pieces[i].code;
    }
}

/* A forked child has a map of its own, in which nothing is written yet. */
static void forget_perf_of_parent(void)
{
    int pid = patas__os_pid();
    if (herald.pid == pid)
        return;
    for (uint32_t i = 0; herald.told && i <= herald.told_mask; i++)
        herald.told[i] &= ~((uint64_t)PATAS_ANNOUNCE_PERF << TOLD_SHIFT);
    herald.behind |= herald.pid && herald.on & PATAS_ANNOUNCE_PERF;
    herald.pid = pid;
}

/* ---- heads ----------------------------------------------------------------
 */

static bool same_code(const struct patas__move *move)
{
    const uint8_t *head = (const uint8_t *)(uintptr_t)move->to;
    for (size_t i = 0; i < move->code_size; i++)
        if (!patas__island_holds((uintptr_t)(head + i)) ||
            head[i] != move->code[i])
            return false;
    return true;
}

static bool move_again(struct patas__move *move, size_t want)
{
    move->want = want;
    return !patas__isa_host()->relocate(move) && same_code(move);
}

/* The function's first bytes, as they were. */
static size_t old_bytes(const struct patas__target *target, uint8_t bytes[32])
{
    size_t size = 32;
    while (size && patas__os_read(target->entry, bytes, size))
        size--;
    if (size >= (size_t)target->at + target->written &&
        target->state == PATAS__INSTALLED)
        memcpy(bytes + target->at, target->before, target->written);
    return size;
}

bool patas__describe_move(const struct patas__target *target,
                          struct patas__remade *remade)
{
    struct patas__insn first;
    struct patas__move *move = &remade->move;
    const struct patas__module *module =
        target->module ? patas__module_get(target->module) : NULL;
    remade->image = module && module->live ? &module->image : NULL;
    *move = (struct patas__move){
        .from = target->entry,
        .bytes = remade->bytes,
        .size = old_bytes(target, remade->bytes),
        .to = patas__target_head(target),
        .shadow_stack = patas__os_shadow_stack(),
        .lose_ip = true,
    };
    if (!patas__isa_host()->decode(move->bytes, move->size, move->from, &first))
        return false;
    /* What the forms want (plan.c), those that cover the jump first. */
    const size_t jump = patas__isa_host()->jump;
    size_t window = move->size < jump ? move->size : jump;
    if (target->form == PATAS_FORM_TRAP_BYTES ||
        target->form == PATAS_FORM_KEPT_BYTES)
        for (; window; window--) /* a function may end inside the window */
            if (move_again(move, window))
                return true;
    if (target->form == PATAS_FORM_SHORT_JUMP && first.length == 1 &&
        move_again(move, 2))
        return true;
    return move_again(move, target->at + first.length) ||
           move_again(move, jump);
}

/* ---- names ----------------------------------------------------------------
 */

static unsigned underscores(const char *name)
{
    unsigned count = 0;
    while (name[count] == '_')
        count++;
    return count;
}

/* Of the names that a function has, the plainest. */
static void name_module(const struct patas__module *module, const char **names)
{
    enum {
        FUNCTION = 2,
        IFUNC = 10
    }; /* STT_FUNC, STT_GNU_IFUNC */
    const struct patas__image *image = &module->image;
    struct patas__symbol symbol;
    for (uint64_t i = 0; patas__image_symbol(image, i, &symbol); i++) {
        if (!symbol.defined ||
            (symbol.type != FUNCTION && symbol.type != IFUNC))
            continue;
        uint32_t target = patas__target_find((uintptr_t)symbol.address);
        const char *name =
            target ? patas__image_name(image, symbol.name) : NULL;
        if (name && *name &&
            (!names[target] || underscores(name) < underscores(names[target])))
            names[target] = name;
    }
}

/* Only modules with targets among the pieces are searched. */
static void name_pieces(struct patas__piece *pieces, size_t count)
{
    void *names, *wanted;
    size_t names_size = patas__target_count() * sizeof(const char *);
    size_t wanted_size = patas__module_count();
    if (patas__os_map(names_size, PATAS__READ | PATAS__WRITE, &names))
        return; /* addresses will do */
    if (!patas__os_map(wanted_size, PATAS__READ | PATAS__WRITE, &wanted)) {
        for (size_t i = 0; i < count; i++)
            ((bool *)wanted)[patas__target_get(pieces[i].target)->module] =
                true;
        for (uint32_t i = 1; i < patas__module_count(); i++)
            if (((bool *)wanted)[i] && patas__module_get(i)->live)
                name_module(patas__module_get(i), names);
        patas__os_unmap(wanted, wanted_size);
    }
    for (size_t i = 0; i < count; i++)
        pieces[i].name = ((const char **)names)[pieces[i].target];
    patas__os_unmap(names, names_size);
}

static size_t put_text(char *text, size_t size, size_t at, const char *what)
{
    for (; *what; what++)
        if (at + 1 < size)
            text[at++] = *what;
    text[at] = '\0';
    return at;
}

static size_t put_hex(char *text, size_t size, size_t at, uint64_t value)
{
    char digits[17];
    unsigned from = sizeof digits - 1;
    digits[from] = '\0';
    do {
        digits[--from] = "0123456789abcdef"[value & 15];
        value >>= 4;
    } while (value);
    return put_text(text, size, at, digits + from);
}

size_t patas__describe_name(const struct patas__piece *piece, char *text,
                            size_t size)
{
    static const char kinds[][24] = {
        [PATAS__PIECE_STUB] = ".patas_stub",
        [PATAS__PIECE_HEAD] = ".patas_head",
        [PATAS__PIECE_ORIGINAL] = ".patas_original",
        [PATAS__PIECE_CONTEXT] = ".patas_context",
        [PATAS__PIECE_GAP] = ".patas_gap",
    };
    size_t tail = sizeof kinds[0], at = 0;
    if (piece->name) {
        at = put_text(text, size - tail, at, piece->name);
    } else {
        at = put_text(text, size, at, "fn_0x");
        at = put_hex(text, size, at, patas__target_get(piece->target)->entry);
    }
    return put_text(text, size, at, kinds[piece->kind]);
}

/* ---- pieces ---------------------------------------------------------------
 */

struct pieces {
    struct patas__piece *list;
    size_t count, room;
};

static void add_piece(struct pieces *pieces, enum patas__piece_kind kind,
                      uint32_t target, uintptr_t code, size_t size)
{
    if (pieces->count == pieces->room)
        return; /* can't be: PIECES_EACH */
    pieces->list[pieces->count++] = (struct patas__piece){
        .code = code,
        .size = (uint32_t)size,
        .target = target,
        .kind = (uint8_t)kind,
    };
}

static void add_target(struct pieces *pieces, uint32_t index, unsigned channel)
{
    const struct patas__target *target = patas__target_get(index);
    uintptr_t island, head;
    struct patas__remade remade;
    /* The plan of one that never was live may still change. */
    if (target->state == PATAS__RETIRED || !target->seen_live ||
        target->form == PATAS_FORM_SLOT)
        return;
    island = patas__target_island(target);
    head = patas__target_head(target);
    if (!was_told(island, channel))
        add_piece(pieces, PATAS__PIECE_STUB, index, island,
                  patas__isa_host()->stub);
    if (!was_told(head, channel) && patas__describe_move(target, &remade))
        add_piece(pieces, PATAS__PIECE_HEAD, index, head,
                  remade.move.code_size);
    uintptr_t gap = patas__target_gap(target);
    if (target->form == PATAS_FORM_SHORT_JUMP && !was_told(gap, channel))
        add_piece(pieces, PATAS__PIECE_GAP, index, gap,
                  patas__isa_host()->jump);
}

static void add_patch(struct pieces *pieces, uint32_t index, unsigned channel)
{
    const struct patas__patch *patch = patas__patch_get(index);
    /* The code of one that never was live may still be taken back. */
    if (!patch->target || !(patch->flags & PATAS__LIVED) ||
        patas__target_get(patch->target)->state == PATAS__RETIRED)
        return;
    uintptr_t stub = patas__patch_original(patch);
    if (patch->stub && !was_told(stub, channel))
        add_piece(pieces, PATAS__PIECE_ORIGINAL, patch->target, stub,
                  patas__isa_host()->stub);
    if (patch->flags & PATAS__THUNK && !was_told(patch->enter, channel))
        add_piece(pieces, PATAS__PIECE_CONTEXT, patch->target, patch->enter,
                  patas__isa_host()->thunk);
}

static void sift(struct patas__piece *list, size_t at, size_t count)
{
    struct patas__piece moved = list[at];
    for (size_t child; (child = 2 * at + 1) < count; at = child) {
        if (child + 1 < count && list[child].code < list[child + 1].code)
            child++;
        if (list[child].code <= moved.code)
            break;
        list[at] = list[child];
    }
    list[at] = moved;
}

/* By address, and each once: a batch may name a target twice. */
static void sort_pieces(struct pieces *pieces)
{
    struct patas__piece *list = pieces->list;
    size_t kept = 0;
    for (size_t i = pieces->count / 2; i-- > 0;)
        sift(list, i, pieces->count);
    for (size_t end = pieces->count; end-- > 1;) {
        struct patas__piece last = list[0];
        list[0] = list[end];
        list[end] = last;
        sift(list, 0, end);
    }
    for (size_t i = 0; i < pieces->count; i++)
        if (!kept || list[kept - 1].code != list[i].code)
            list[kept++] = list[i];
    pieces->count = kept;
}

/* ---- telling --------------------------------------------------------------
 */

/* A jump in padding lies in a file that perf has names for. */
static int tell_perf(const struct patas__piece *pieces, size_t count)
{
    void *memory;
    size_t at = 0;
    int err = patas__os_map(TEXT_CHUNK, PATAS__READ | PATAS__WRITE, &memory);
    if (err)
        return err;
    char *text = memory;
    for (size_t i = 0; i < count && !err; i++) {
        const struct patas__piece *piece = &pieces[i];
        if (piece->kind == PATAS__PIECE_GAP)
            continue;
        at = put_hex(text, TEXT_CHUNK, at, piece->code);
        at = put_text(text, TEXT_CHUNK, at, " ");
        at = put_hex(text, TEXT_CHUNK, at, piece->size);
        at = put_text(text, TEXT_CHUNK, at, " ");
        at += patas__describe_name(piece, text + at, NAME_BYTES);
        at = put_text(text, TEXT_CHUNK, at, "\n");
        if (at + LINE_BYTES > TEXT_CHUNK) {
            err = patas__os_perf_map(text, at);
            at = 0;
        }
    }
    if (!err) /* an empty one tells whether the file can be written */
        err = patas__os_perf_map(text, at);
    patas__os_unmap(memory, TEXT_CHUNK);
    return err;
}

static int tell_channel(unsigned channel, struct pieces *pieces)
{
    int err = 0;
    sort_pieces(pieces);
    if (pieces->count)
        name_pieces(pieces->list, pieces->count);
    if (!told_reserve(pieces->count))
        return NO_MEMORY;
    size_t told = pieces->count;
    if (channel == PATAS_ANNOUNCE_PERF) {
        err = tell_perf(pieces->list, told);
        told = err ? 0 : told;
    } else {
        told = patas__describe_gdb(pieces->list, told);
        err = told < pieces->count ? NO_MEMORY : 0;
    }
    note_told(pieces->list, told, channel);
    return err;
}

/* Tells of these members, or of everything, what was not told yet. */
static int tell_of(unsigned channel, const struct patas__member *members,
                   size_t count)
{
    struct pieces pieces = {0};
    void *memory;
    size_t each =
        members ? count : (size_t)patas__target_count() + patas__patch_count();
    size_t size = (each + 1) * PIECES_EACH * sizeof *pieces.list;
    if (!told_reserve(0))
        return NO_MEMORY;
    int err = patas__os_map(size, PATAS__READ | PATAS__WRITE, &memory);
    if (err)
        return err;
    pieces.list = memory;
    pieces.room = (each + 1) * PIECES_EACH;
    for (size_t i = 0; members && i < count; i++) {
        const struct patas__patch *patch = patas__patch_get(members[i].patch);
        if (members[i].restore || !patch->target)
            continue;
        add_target(&pieces, patch->target, channel);
        add_patch(&pieces, members[i].patch, channel);
    }
    for (uint32_t i = 1; !members && i < patas__target_count(); i++)
        add_target(&pieces, i, channel);
    for (uint32_t i = 1; !members && i < patas__patch_count(); i++)
        add_patch(&pieces, i, channel);
    if (pieces.count || !members)
        err = tell_channel(channel, &pieces);
    patas__os_unmap(memory, size);
    return err;
}

void patas__describe_members(const struct patas__member *members, size_t count)
{
    if (!herald.on)
        return;
    forget_perf_of_parent();
    bool all = herald.behind;
    herald.behind = false;
    for (unsigned i = 0; i < sizeof channels / sizeof *channels; i++)
        if (herald.on & channels[i] &&
            tell_of(channels[i], all ? NULL : members, count))
            herald.behind = true; /* the next time, all of it */
}

patas_status patas__describe_switch(unsigned how, patas_error *error)
{
    forget_perf_of_parent();
    for (unsigned i = 0; i < sizeof channels / sizeof *channels; i++) {
        int err = how & channels[i] ? tell_of(channels[i], NULL, 0) : 0;
        if (!err)
            continue;
        patas_status status =
            err == NO_MEMORY ? PATAS_ERR_NO_MEMORY : PATAS_ERR_DENIED;
        *error = (patas_error){.status = status, .os_errno = err};
        return status;
    }
    herald.on = how;
    return PATAS_OK;
}
