/* SPDX-License-Identifier: MIT */
/*
 * One target, from address to island. The order of this file is the order of
 * the stages: target, extent, survey, form, island, relocation, record.
 */
#include "prepare.h"

#include "commit.h"
#include "host.h"
#include "target.h"
#include "trap.h"

enum {
    FOLLOW_STEPS = 8,
    GAPS = 1024
};

/* Mappings looked up last: one for targets, one for replacements. */
static struct {
    struct patas__region target, replacement;
    uintptr_t gaps[GAPS]; /* padding that holds a short jump's jump */
    unsigned gap_count;
    int8_t shadow_stack; /* 0 = not asked yet, else -1 or 1 */
} prepared;

/* Bytes of a jump: the window of a patch, and what a gap must hold. */
#define JUMP ((unsigned)patas__isa_host()->jump)

void patas__prepare_reset(void)
{
    prepared.target = (struct patas__region){0};
    prepared.replacement = (struct patas__region){0};
}

static patas_status refuse(patas_error *error, patas_status status,
                           unsigned reason, uintptr_t target, uintptr_t address)
{
    *error = (patas_error){
        .status = status,
        .target = target,
        .address = address,
        .reason = reason,
    };
    return status;
}

/* ---- 1 target -------------------------------------------------------------
 */

/* The first module that exports `name`, as the loader would search. */
static uintptr_t find_export(const char *name)
{
    size_t length = strlen(name) + 1;
    for (uint32_t i = 1; i < patas__module_count(); i++) {
        const struct patas__module *module = patas__module_get(i);
        const struct patas__image *image = &module->image;
        const uint8_t *strings =
            patas__image_bytes(image, image->strtab, image->strtab_size);
        struct patas__symbol symbol;
        if (!module->live || module->vdso || !strings)
            continue;
        for (uint64_t k = 0; patas__image_symbol(image, k, &symbol); k++) {
            if (symbol.defined && symbol.name < image->strtab_size &&
                length <= image->strtab_size - symbol.name &&
                !memcmp(strings + symbol.name, name, length))
                return (uintptr_t)symbol.address;
        }
    }
    return 0;
}

static uintptr_t find_ifunc(uintptr_t resolver)
{
    const struct patas__image *images[256];
    unsigned count = 0;
    for (uint32_t i = 1; i < patas__module_count() && count < 256; i++)
        if (patas__module_get(i)->live)
            images[count++] = &patas__module_get(i)->image;
    return (uintptr_t)patas__target_ifunc(images, count, resolver);
}

uintptr_t patas__resolve(uintptr_t address, unsigned flags)
{
    for (unsigned step = 0; step < FOLLOW_STEPS; step++) {
        uint32_t index;
        uint64_t next = 0;
        const char *name = NULL;
        struct patas__module *module = patas__module_at(address, &index);
        enum patas__followed followed = PATAS__FOLLOWED_NOTHING;
        if (module)
            followed = patas__target_step(&module->image, address,
                                          flags & PATAS_FOLLOW, &next, &name);
        /* What patas patched is followed no further: it is a target. */
        uint32_t known = followed ? patas__target_find(address) : 0;
        if (!followed || (known && !patas__stack_unused(known)))
            return address;
        switch (followed) {
        case PATAS__FOLLOWED_NOTHING:
        case PATAS__FOLLOWED_IFUNC:
            next = find_ifunc(address);
            break;
        case PATAS__FOLLOWED_PLT:
            if (!next && name)
                next = find_export(name);
            break;
        case PATAS__FOLLOWED_JUMP:
            break;
        }
        if (!next)
            return address;
        address = (uintptr_t)next;
    }
    return address;
}

bool patas__stands_for_itself(const struct patas__module *module,
                              uintptr_t address, unsigned flags)
{
    uint64_t next;
    const char *name;
    return patas__target_step(&module->image, address, flags & PATAS_FOLLOW,
                              &next, &name) == PATAS__FOLLOWED_NOTHING;
}

/* Memory of no module may be other memory by the next member of a batch. */
static int region_of(uintptr_t address, struct patas__region *region)
{
    uint32_t index;
    if (address >= region->start && address < region->end &&
        patas__module_at(address, &index))
        return 0;
    int err = patas__os_region(address, region);
    if (err)
        *region = (struct patas__region){0};
    return err;
}

/* Without /proc the loader's program headers are all there is. */
static bool executable_segment(uintptr_t address)
{
    uint32_t index;
    const struct patas__module *module = patas__module_at(address, &index);
    for (unsigned i = 0; module && i < module->image.segment_count; i++) {
        const struct patas__segment *segment = &module->image.segments[i];
        if (address - segment->address < segment->size)
            return segment->executable;
    }
    return false;
}

static patas_status check_mapping(uintptr_t address, uintptr_t target,
                                  struct patas__region *region,
                                  patas_error *error)
{
    enum {
        NO_ENTRY = 2
    };
    int err = region_of(address, region);
    if (err == NO_ENTRY)
        return refuse(error, PATAS_ERR_NOT_CODE, PATAS_REASON_UNMAPPED, target,
                      address);
    if (err && !executable_segment(address))
        return refuse(error, PATAS_ERR_DENIED, PATAS_REASON_PROTECTION, target,
                      address);
    if (!err && region->vdso)
        return refuse(error, PATAS_ERR_UNSUPPORTED, PATAS_REASON_VDSO, target,
                      address);
    if (!err && !(region->prot & PATAS__EXEC))
        return refuse(error, PATAS_ERR_NOT_CODE, PATAS_REASON_NOT_EXECUTABLE,
                      target, address);
    return PATAS_OK;
}

patas_status patas__check_replacement(uintptr_t address, patas_error *error)
{
    struct patas__region *region = &prepared.replacement;
    patas_status status = check_mapping(address, address, region, error);
    /* A replacement that is the wrong kind of memory is a wrong argument; the
     * vDSO's functions may be jumped to. */
    if (status == PATAS_ERR_UNSUPPORTED)
        return PATAS_OK;
    if (status == PATAS_ERR_NOT_CODE)
        status = error->status = PATAS_ERR_ARGUMENT;
    return status;
}

/* The library's own module, unless it is linked into the program. */
static bool ourselves(const struct patas__module *module, uintptr_t address)
{
    uintptr_t here = (uintptr_t)patas__prepare;
    return patas__island_holds(address) ||
           (module && here >= module->image.start && here < module->image.end &&
            !module->start_code);
}

static patas_status check_target(const struct patas__request *request,
                                 const struct patas__module *module,
                                 patas_error *error)
{
    uintptr_t entry = request->entry;
    if (ourselves(module, entry))
        return refuse(error, PATAS_ERR_UNSUPPORTED, PATAS_REASON_PATAS_ITSELF,
                      request->asked, entry);
    patas_status status =
        check_mapping(entry, request->asked, &prepared.target, error);
    if (status != PATAS_OK)
        return status;
    if (prepared.target.shared)
        return refuse(error, PATAS_ERR_UNSUPPORTED, PATAS_REASON_SHARED_FILE,
                      request->asked, entry);
    if (!module)
        return PATAS_OK;
    if (module->loader && module->start_code == entry)
        return refuse(error, PATAS_ERR_UNSUPPORTED, PATAS_REASON_LOADER,
                      request->asked, entry);
    for (unsigned i = 0; i < module->twice_count; i++)
        if (module->twice[i] == entry && !(request->flags & PATAS_PASS_THROUGH))
            return refuse(error, PATAS_ERR_UNSUPPORTED,
                          PATAS_REASON_RETURNS_TWICE, request->asked, entry);
    return PATAS_OK;
}

/* ---- 2 extent, 3 survey ----------------------------------------------------
 */

/* The instruction at entry + at: as it is, or as it was unpatched. False where
 * there is none, and then it has the length of the least one. */
static bool insn_of(const struct patas__target *target,
                    const struct patas__image *image, unsigned at, bool patched,
                    struct patas__insn *insn)
{
    uint8_t bytes[PATAS__LOOK];
    const struct patas__segment *code = patas__image_code(image, target->entry);
    uint64_t offset = code ? target->entry - code->address + at : 0;
    size_t size = code && offset < code->size ? code->size - offset : 0;
    size = size < sizeof bytes ? size : sizeof bytes;
    if (size)
        memcpy(bytes, code->bytes + offset, size);
    for (unsigned i = 0; i < target->written && !patched; i++)
        if (target->at + i >= at && target->at + i - at < size)
            bytes[target->at + i - at] = target->before[i];
    if (size && image->isa->decode(bytes, size, target->entry + at, insn))
        return true;
    insn->length = image->isa->step;
    return false;
}

/*
 * The branches of one target that its patch hides: those in its first bytes, as
 * they were, and behind them as long as whoever decodes what is there now finds
 * other instructions.
 */
static void each_moved(const struct patas__target *target,
                       const struct patas__image *image,
                       void (*each)(void *data, uint64_t to), void *data)
{
    enum {
        LONG_ENOUGH = 256 /* and a hundred times what it takes, mostly */
    };
    const unsigned window = target->at + JUMP;
    unsigned was = 0, is = 0;
    while ((was < window || was != is) && was < LONG_ENOUGH) {
        struct patas__insn insn;
        const bool old = was <= is;
        if (insn_of(target, image, old ? was : is, !old, &insn) && old &&
            insn.has_target)
            each(data, insn.target);
        *(old ? &was : &is) += insn.length;
    }
}

void patas__branches_moved(uint32_t module,
                           void (*each)(void *data, uint64_t to), void *data)
{
    const struct patas__image *image = &patas__module_get(module)->image;
    for (uint32_t i = 1; i < patas__target_count(); i++) {
        const struct patas__target *target = patas__target_get(i);
        if (target->module == module && target->state == PATAS__INSTALLED &&
            target->form != PATAS_FORM_SLOT)
            each_moved(target, image, each, data);
    }
}

/* Is `address` the start of an instruction of the function at `start`? */
static bool on_boundary(const struct patas__image *image, uint64_t start,
                        uint64_t address)
{
    while (start < address) {
        struct patas__insn insn;
        uint64_t left = address + PATAS__INSN_MAX - start;
        const uint8_t *bytes = patas__image_bytes(image, start, left);
        if (!bytes || !image->isa->decode(bytes, (size_t)left, start, &insn))
            return true; /* can't tell */
        start += insn.length;
    }
    return start == address;
}

static patas_status check_extent(struct patas__request *request,
                                 struct patas__module *module,
                                 patas_error *error)
{
    struct patas__extent extent = {0};
    if (!module || !patas__extent_find_near(&module->image, request->entry,
                                            &module->near, &extent))
        return PATAS_OK;
    if (!extent.entry && !(request->flags & PATAS_ENTRY)) {
        bool boundary =
            on_boundary(&module->image, extent.start, request->entry);
        return refuse(error, PATAS_ERR_NOT_CODE,
                      boundary ? PATAS_REASON_MID_FUNCTION
                               : PATAS_REASON_MID_INSTRUCTION,
                      request->asked, (uintptr_t)extent.start);
    }
    request->extent = extent.start + extent.size - request->entry;
    request->padding = extent.padding;
    return PATAS_OK;
}

/* The first bytes, as many as are mapped. */
static void read_bytes(struct patas__survey *survey, bool module)
{
    uintptr_t entry = (uintptr_t)survey->entry;
    uintptr_t left =
        prepared.target.end > entry ? prepared.target.end - entry : PATAS__LOOK;
    if (left >= PATAS__LOOK && module && prepared.target.prot & PATAS__READ) {
        memcpy(survey->bytes, (const void *)entry, PATAS__LOOK);
        survey->size = PATAS__LOOK;
        return;
    }
    /* The mapping behind may go on; a file may end before its mapping. */
    for (unsigned size = PATAS__LOOK; size; size--)
        if (!patas__os_read(entry, survey->bytes, size)) {
            survey->size = (uint8_t)size;
            return;
        }
}

static patas_status survey_status(unsigned reason)
{
    switch (reason) {
    case PATAS_REASON_BREAKPOINT:
        return PATAS_ERR_CHANGED;
    case PATAS_REASON_RSEQ:
        return PATAS_ERR_UNSUPPORTED;
    default:
        return PATAS_ERR_NOT_CODE;
    }
}

/* Code of no module: the neighbourhood of its mapping is all that is searched
 * for branches. */
static uint32_t branches_around(const struct patas__survey *survey)
{
    enum {
        AROUND = 2048
    };
    uintptr_t entry = (uintptr_t)survey->entry;
    uintptr_t from = prepared.target.start, to = prepared.target.end;
    if (entry < from || entry >= to || !(prepared.target.prot & PATAS__READ))
        return 0;
    from = entry - from > AROUND ? entry - AROUND : from;
    to = to - entry > AROUND ? entry + AROUND : to;
    uint8_t bytes[2 * AROUND]; /* a copy: a file may end before its mapping */
    if (patas__os_read(from, bytes, to - from))
        return 0;
    struct patas__image image = {
        .isa = patas__isa_host(),
        .start = from,
        .end = to,
        .segment_count = 1,
        .segments[0] = {.address = from,
                        .size = to - from,
                        .bytes = bytes,
                        .executable = true},
    };
    return patas__branches_search(&image, entry, survey->at + JUMP, entry,
                                  entry + survey->cover);
}

static patas_status survey_target(struct patas__request *request,
                                  struct patas__module *module,
                                  patas_error *error)
{
    struct patas__survey *it = &request->survey;
    uint64_t trouble;
    it->entry = request->entry;
    it->size = 0;
    it->enters = 0;
    it->pads_stay = patas__pads_stay() && (!module || module->image.guarded);
    read_bytes(it, module != NULL);
    unsigned reason = patas__survey(patas__isa_host(), it, request->extent,
                                    request->padding, &trouble);
    if (reason)
        return refuse(error, survey_status(reason), reason, request->asked,
                      (uintptr_t)trouble);
    request->inside = it->enters;
    if (request->searched)
        it->enters |= request->entering;
    else if (!it->at && JUMP == patas__isa_host()->step)
        return PATAS_OK; /* nothing can lead into one instruction */
    else if (!module)
        it->enters |= branches_around(it);
    else
        it->enters |=
            patas__module_branches(module, it->entry, it->at + JUMP,
                                   it->entry + it->cover, request->nth != 0);
    return PATAS_OK;
}

/* ---- 4 to 6 form, island, relocation ----------------------------------------
 */

static bool gap_free(uint64_t gap)
{
    for (unsigned i = 0; i < prepared.gap_count; i++)
        if (prepared.gaps[i] < gap + JUMP && gap < prepared.gaps[i] + JUMP)
            return false;
    return prepared.gap_count < GAPS &&
           !patas__target_overlap((uintptr_t)gap, JUMP);
}

/* A place for a jump in [from, from + size), reachable by the short jump. */
static uint64_t gap_in(const struct patas__survey *survey, uint64_t from,
                       uint64_t size)
{
    bool trap = survey->starts & 2;
    for (uint64_t gap = from; gap + JUMP <= from + size; gap++) {
        int64_t distance = (int64_t)(gap - (survey->entry + 2));
        bool inside = gap - survey->entry < 2; /* the short jump itself */
        if (inside || distance < -128 || distance > 127 || !gap_free(gap) ||
            (trap && !patas__trap_is((uint8_t)distance)))
            continue;
        return gap;
    }
    return 0;
}

/* Does the last instruction of [start, end) never go on behind it? Then what is
 * behind is reached by nobody who comes from there. */
static bool function_ends(const struct patas__image *image, uint64_t start,
                          uint64_t end)
{
    struct patas__insn insn = {.length = 1};
    while (start < end && insn.length) {
        const uint8_t *bytes = patas__image_bytes(image, start, end - start);
        if (!bytes ||
            !image->isa->decode(bytes, (size_t)(end - start), start, &insn))
            return false;
        start += insn.length;
    }
    return start == end && patas__insn_ends(&insn);
}

/* Padding behind one function, if nothing runs or jumps into it. */
static uint64_t gap_behind(const struct patas__survey *survey,
                           struct patas__module *module,
                           const struct patas__extent *extent)
{
    uint64_t end = extent->start + extent->size;
    uint64_t gap = gap_in(survey, end, extent->padding);
    if (!gap || !function_ends(&module->image, extent->start, end) ||
        patas__module_decoded_branches(module, gap, JUMP))
        return 0;
    return gap;
}

/* Padding behind this function, or behind one in front of it. */
static uint64_t find_gap(const struct patas__request *request,
                         struct patas__module *module)
{
    const struct patas__survey *it = &request->survey;
    enum {
        REACH = 128
    };
    struct patas__extent extent = {.start = it->entry,
                                   .size = request->extent,
                                   .padding = request->padding};
    if (!module || !request->extent)
        return 0; /* padding of what nobody describes may be anything */
    uint64_t gap = gap_behind(it, module, &extent);
    uint64_t start = it->entry;
    /* The ones in front of it, one after the other, by their descriptions: to
     * ask about each byte would be to look through all symbols each time. */
    while (!gap && patas__extent_rank(&module->image, start - 1, &start)) {
        extent = (struct patas__extent){0};
        if (!patas__extent_find(&module->image, start, &extent))
            continue;
        if (extent.start + extent.size + extent.padding + REACH < it->entry)
            break;
        gap = gap_behind(it, module, &extent);
    }
    return gap;
}

/* It is switched on before a process's first instruction, or never. */
static bool shadow_stack(void)
{
    if (!prepared.shadow_stack)
        prepared.shadow_stack = patas__os_shadow_stack() ? 1 : -1;
    return prepared.shadow_stack > 0;
}

/* Moves `want` bytes or more to island memory. */
static unsigned move_bytes(const struct patas__request *request, size_t want,
                           bool dry, struct patas__move *move, uintptr_t *head)
{
    const struct patas__survey *it = &request->survey;
    enum {
        GROWN = 48
    };
    /* The end of what was surveyed is a boundary, too. */
    const uint32_t bounds = it->starts | 1u << it->cover;
    size_t guess = want + JUMP + GROWN;
    move->plain = it->plain ? bounds & ((2u << it->cover) - 1) : 0;
    if (move->plain >> want)
        guess = want + (unsigned)__builtin_ctz(move->plain >> want) + JUMP;
    move->from = it->entry;
    move->bytes = it->bytes;
    move->size = it->size;
    move->want = want;
    move->lose_ip = true; /* the stub in front of it has used one */
    move->shadow_stack = shadow_stack();
    for (unsigned round = 0; round < 2; round++) {
        if (move->plain ? patas__island_spare(request->entry, guess, head)
                        : patas__island_code(request->entry, guess, head))
            return PATAS_REASON_NO_ADDRESS;
        move->to = *head;
        unsigned reason = patas__isa_host()->relocate(move);
        size_t used = reason || dry ? 0 : move->code_size;
        if (used <= guess)
            patas__island_free(*head + used, guess - used);
        if (reason || dry || used <= guess)
            return reason;
        patas__island_free(*head, guess);
        guess = move->code_size;
    }
    return PATAS_REASON_NO_ADDRESS;
}

/* Moves the head. */
static unsigned relocate(const struct patas__request *request, bool dry,
                         struct patas__move *move, uintptr_t *head)
{
    const struct patas__plan *plan = &request->plan;
    if (plan->past > plan->want &&
        !move_bytes(request, plan->past, dry, move, head))
        return PATAS_REASON_NONE;
    return move_bytes(request, plan->want, dry, move, head);
}

static void fill_carry(struct patas__target *target,
                       const struct patas__request *request,
                       const struct patas__move *move)
{
    unsigned last = target->form == PATAS_FORM_TRAP_BYTES   ? 4
                    : target->form == PATAS_FORM_SHORT_JUMP ? 1
                                                            : 0;
    for (unsigned k = 1; k <= 4; k++) {
        bool carried =
            k <= last && request->survey.starts >> k & 1 && k < move->moved;
        target->carry[k - 1] = carried ? move->map[k] : 0xff;
    }
}

static void fill_stub(struct patas__target *target, uintptr_t stub,
                      const uintptr_t *slot)
{
    target->stub = (int32_t)(stub - target->entry);
    target->slot = (int32_t)((uintptr_t)slot - stub);
}

static int write_stub(const struct patas__target *target)
{
    const struct patas__isa *isa = patas__isa_host();
    const uintptr_t stub = patas__target_island(target);
    uint8_t bytes[PATAS__STUB_MAX];
    const uint8_t *pad = target->at ? (const uint8_t *)target->entry : NULL;
    isa->put_stub(bytes, stub, (uintptr_t)patas__target_slot(target), pad);
    return patas__island_write(stub, bytes, isa->stub);
}

/* Turns a plan whose stub is found into a record. */
static unsigned build(struct patas__request *request, uint32_t module,
                      struct patas__target *target)
{
    struct patas__move move;
    uintptr_t head, *slot;
    unsigned reason = relocate(request, false, &move, &head);
    if (reason) {
        request->in_the_way = (uintptr_t)move.trouble;
        return reason;
    }
    request->moved = (unsigned)move.moved;
    if (patas__island_slot(request->stub, &slot)) {
        patas__island_free(head, move.code_size);
        return PATAS_REASON_NO_ADDRESS;
    }
    target->entry = request->entry;
    target->head = (int32_t)(head - request->entry);
    target->module = (uint16_t)module;
    target->form = (uint8_t)request->plan.form;
    target->owned = request->plan.owned;
    target->written = request->plan.written & 0xfu;
    target->at = request->plan.at & 0xfu;
    memcpy(target->before, request->survey.bytes + target->at,
           sizeof target->before);
    fill_stub(target, request->stub, slot);
    fill_carry(target, request, &move);
    *slot = head;
    if (patas__island_write(head, move.code, move.code_size) ||
        write_stub(target)) {
        patas__island_slot_free(slot);
        patas__island_free(head, move.code_size);
        return PATAS_REASON_NO_WRITE;
    }
    return PATAS_REASON_NONE;
}

/*
 * Islands at one address only cost a page each. A function that is patched by
 * itself may have one, so that few patches are free of traps; a batch of many
 * stays small.
 */
static size_t budget_for(const struct patas__request *request, bool unlimited)
{
    enum {
        FEW = 256,
        MANY = 8,
        MANY_PER = 4096
    };
    if (unlimited)
        return SIZE_MAX;
    return request->nth ? MANY + patas__target_count() / MANY_PER : FEW;
}

static unsigned try_form(struct patas__request *request, patas_form form,
                         struct patas__module *module, uint32_t module_index,
                         bool unlimited, bool dry, struct patas__target *target)
{
    uint64_t trouble = 0;
    unsigned unit = patas__commit_unit(request->entry);
    if (!unit)
        return PATAS_REASON_NO_WRITE;
    unsigned reason = patas__plan_form(&request->survey, form, request->flags,
                                       unit, &request->plan, &trouble);
    if (reason) {
        request->in_the_way = (uintptr_t)trouble;
        return reason;
    }
    /* Most windows are free of others as a whole. */
    if (request->neighbour &&
        patas__target_overlap(request->entry,
                              request->plan.at + request->plan.owned)) {
        request->in_the_way = request->neighbour;
        return PATAS_REASON_TAKEN;
    }
    request->gap = 0;
    if (form == PATAS_FORM_SHORT_JUMP) {
        request->gap = (uintptr_t)find_gap(request, module);
        if (!request->gap)
            return PATAS_REASON_NO_PADDING;
        request->plan.reach.origin = request->gap + JUMP;
    }
    reason =
        patas__island_stub(&request->plan.reach, budget_for(request, unlimited),
                           dry, &request->stub);
    if (reason)
        return reason;
    if (dry) {
        struct patas__move move;
        uintptr_t head;
        reason = relocate(request, true, &move, &head);
        request->moved = reason ? 0 : (unsigned)move.moved;
        request->in_the_way = reason ? (uintptr_t)move.trouble : 0;
        return reason;
    }
    reason = build(request, module_index, target);
    if (reason)
        patas__island_free(request->stub, patas__isa_host()->stub);
    return reason;
}

/* What to tell when every form was passed by. */
static patas_status all_passed(const struct patas__request *request,
                               patas_error *error)
{
    /* The last that is no mere "not allowed" tells most. */
    static const uint8_t order[] = {
        PATAS_FORM_TRAP_BYTES, PATAS_FORM_SHORT_JUMP, PATAS_FORM_KEPT_BYTES,
        PATAS_FORM_PERMANENT_TRAP, PATAS_FORM_ONE_INSTRUCTION};
    bool traps = patas__isa_host()->forms >> PATAS_FORM_TRAP_BYTES & 1;
    unsigned reason = request->passed_by[traps ? PATAS_FORM_TRAP_BYTES
                                               : PATAS_FORM_ONE_INSTRUCTION];
    for (unsigned i = 0; i < sizeof order; i++) {
        unsigned this = request->passed_by[order[i]];
        if (this == PATAS_REASON_CANNOT_MOVE ||
            this == PATAS_REASON_OUT_OF_REACH ||
            this == PATAS_REASON_SHADOW_STACK)
            return refuse(error, PATAS_ERR_CANNOT_MOVE, this, request->asked,
                          request->in_the_way);
        if (this == PATAS_REASON_NO_WRITE)
            return refuse(error, PATAS_ERR_DENIED, this, request->asked,
                          request->entry);
        if (this == PATAS_REASON_TAKEN)
            return refuse(error, PATAS_ERR_NO_ROOM, this, request->asked,
                          request->in_the_way);
    }
    patas_status status = reason == PATAS_REASON_NO_ADDRESS
                              ? PATAS_ERR_NO_MEMORY
                              : PATAS_ERR_NO_ROOM;
    return refuse(error, status, reason, request->asked, request->in_the_way);
}

/* Where one target stands on its way through the forms. */
struct choice {
    struct patas__module *module;
    uint32_t module_index;
    bool dry;
    struct patas__target *target; /* NULL when dry */
};

static bool fits(struct patas__request *request, const struct choice *choice,
                 patas_form form, bool unlimited)
{
    if (!(patas__isa_host()->forms >> form & 1))
        return false;
    uintptr_t before = request->in_the_way;
    request->in_the_way = 0;
    unsigned reason =
        try_form(request, form, choice->module, choice->module_index, unlimited,
                 choice->dry, choice->target);
    request->passed_by[form] = (uint8_t)reason;
    if (!request->in_the_way)
        request->in_the_way = before;
    return !reason;
}

static bool any_fits(struct patas__request *request,
                     const struct choice *choice)
{
    memset(request->passed_by, 0, sizeof request->passed_by);
    request->in_the_way = 0;
    return fits(request, choice, PATAS_FORM_ONE_INSTRUCTION, false) ||
           fits(request, choice, PATAS_FORM_KEPT_BYTES, false) ||
           fits(request, choice, PATAS_FORM_TRAP_BYTES, false) ||
           fits(request, choice, PATAS_FORM_SHORT_JUMP, false);
}

/* The byte-wise search may have seen a branch where there is none. Before that
 * costs more than a better form, the whole module is decoded; true if that
 * told anything new. */
static bool fewer_branches(struct patas__request *request,
                           struct patas__module *module)
{
    struct patas__survey *it = &request->survey;
    if (!module || module->branches || it->enters == request->inside)
        return false;
    uint32_t believed = it->enters;
    it->enters = request->inside | patas__module_decoded_branches(
                                       module, it->entry, it->at + JUMP);
    return module->branches && it->enters != believed;
}

static patas_status choose(struct patas__request *request,
                           const struct choice *choice, patas_error *error)
{
    request->neighbour =
        patas__target_overlap(request->entry, request->survey.at + JUMP);
    if (any_fits(request, choice) ||
        (fewer_branches(request, choice->module) && any_fits(request, choice)))
        return PATAS_OK;
    /* Rather a mapping too many than no patch, or a trap at each call. */
    if (request->passed_by[PATAS_FORM_KEPT_BYTES] == PATAS_REASON_BUDGET &&
        fits(request, choice, PATAS_FORM_KEPT_BYTES, true))
        return PATAS_OK;
    if (fits(request, choice, PATAS_FORM_PERMANENT_TRAP, false))
        return PATAS_OK;
    request->plan.form = PATAS_FORM_NONE;
    return all_passed(request, error);
}

/* ---- the record ------------------------------------------------------------
 */

void patas__target_bytes(const struct patas__target *target, uint8_t before[8],
                         uint8_t after[8])
{
    memset(before, 0, 8);
    memcpy(before, target->before, sizeof target->before);
    memcpy(after, before, 8);
    bool gap = target->form == PATAS_FORM_SHORT_JUMP;
    patas__isa_host()->form_bytes(target->form, target->entry + target->at,
                                  gap ? patas__target_gap(target)
                                      : patas__target_island(target),
                                  target->after, after);
}

/* The jump in padding goes live first, and stays: whoever took the short jump
 * may stand in front of it for as long as it likes. */
static patas_status write_gap(struct patas__request *request,
                              patas_error *error)
{
    struct patas__edit edit = {
        .address = request->gap, .size = (uint8_t)JUMP, .check = (uint8_t)JUMP};
    memcpy(edit.before, (const void *)request->gap, JUMP);
    patas__isa_host()->put_jump(edit.after, request->gap, request->stub);
    /* Nobody executes padding: two stores are as good as one, and the stub
     * need not be executable yet. */
    struct patas__edit halves[2] = {edit, edit};
    unsigned first = 8 - (unsigned)(request->gap % 8);
    if (first >= JUMP)
        return patas__commit(&edit, 1, error);
    halves[0].size = halves[0].check = (uint8_t)first;
    halves[1].address += first;
    halves[1].size = halves[1].check = (uint8_t)(JUMP - first);
    memcpy(halves[1].before, edit.before + first, JUMP - first);
    memcpy(halves[1].after, edit.after + first, JUMP - first);
    return patas__commit(halves, 2, error);
}

static patas_status check_known(const struct patas__request *request,
                                const struct patas__target *target,
                                patas_error *error)
{
    bool traps =
        target->form == PATAS_FORM_TRAP_BYTES ||
        target->form == PATAS_FORM_PERMANENT_TRAP ||
        (target->form == PATAS_FORM_SHORT_JUMP && target->carry[0] != 0xff);
    if (traps && request->flags & PATAS_STRICT)
        return refuse(error, PATAS_ERR_NO_ROOM, PATAS_REASON_STRICT,
                      request->asked, target->entry);
    if (target->form == PATAS_FORM_PERMANENT_TRAP &&
        !(request->flags & PATAS_ALLOW_TRAP))
        return refuse(error, PATAS_ERR_NO_ROOM, PATAS_REASON_TRAP_NOT_ALLOWED,
                      request->asked, target->entry);
    return PATAS_OK;
}

static patas_status new_target(struct patas__request *request,
                               struct patas__module *module,
                               uint32_t module_index, uint32_t *index,
                               patas_error *error)
{
    *index = patas__target_new();
    if (!*index)
        return refuse(error, PATAS_ERR_NO_MEMORY, PATAS_REASON_NONE,
                      request->asked, 0);
    struct patas__target *target = patas__target_get(*index);
    struct choice choice = {module, module_index, false, target};
    patas_status status = choose(request, &choice, error);
    if (status == PATAS_OK && request->gap) {
        status = write_gap(request, error);
        if (status == PATAS_OK)
            prepared.gaps[prepared.gap_count++] = request->gap;
        target->after = (uint8_t)(request->gap - (request->entry + 2));
    }
    if (status == PATAS_OK && target->form == PATAS_FORM_PERMANENT_TRAP)
        target->after = patas__trap_first();
    if (status == PATAS_OK && !patas__target_publish(*index))
        status = refuse(error, PATAS_ERR_NO_MEMORY, PATAS_REASON_NONE,
                        request->asked, 0);
    if (status != PATAS_OK)
        patas__target_forget(*index);
    return status;
}

/*
 * The record of an entry, unless the code there is another by now: memory of a
 * just-in-time compiler that was used again, a foreign hook, what was a data
 * slot before. A record that nobody uses is retired then, and made anew.
 */
static uint32_t still_known(uintptr_t entry)
{
    uint32_t index = patas__target_find(entry);
    struct patas__target *target = patas__target_get(index);
    uint8_t now[sizeof target->before];
    if (!index || !patas__stack_unused(index))
        return index;
    if (target->form != PATAS_FORM_SLOT &&
        (target->state == PATAS__INSTALLED ||
         (!patas__os_read(entry + target->at, now, target->owned) &&
          !memcmp(now, target->before, target->owned))))
        return index;
    patas__target_retire(index);
    return 0;
}

uint32_t patas__prepare_known(const struct patas__request *request)
{
    return still_known(request->entry);
}

patas_status patas__prepare(struct patas__request *request, bool dry,
                            uint32_t *target, patas_error *error)
{
    uint32_t module_index;
    enum {
        MANY = 64
    };
    /* A small batch would leave most of a fresh unit empty. */
    patas__island_mode(request->nth > MANY);
    request->extent = request->padding = 0;
    struct patas__module *module =
        patas__module_at(request->entry, &module_index);
    patas_status status = check_target(request, module, error);
    if (status != PATAS_OK)
        return status;
    *target = still_known(request->entry);
    if (*target && patas__target_get(*target)->form == PATAS_FORM_SLOT)
        return refuse(error, PATAS_ERR_ARGUMENT, PATAS_REASON_TAKEN,
                      request->asked, request->entry);
    if (*target && !dry)
        return check_known(request, patas__target_get(*target), error);
    status = check_extent(request, module, error);
    if (status == PATAS_OK)
        status = survey_target(request, module, error);
    if (status != PATAS_OK)
        return status;
    if (dry)
        return choose(
            request, &(struct choice){module, module_index, true, NULL}, error);
    return new_target(request, module, module_index, target, error);
}

patas_status patas__prepare_without_trap(uint32_t index, patas_error *error)
{
    struct patas__target *target = patas__target_get(index);
    struct patas__request request = {
        .asked = target->entry, .entry = target->entry, .flags = PATAS_STRICT};
    uint32_t module_index;
    uint64_t trouble;
    uintptr_t *slot;
    struct patas__module *module =
        patas__module_at(target->entry, &module_index);
    patas_status status = check_extent(&request, module, error);
    if (status == PATAS_OK)
        status = survey_target(&request, module, error);
    if (status != PATAS_OK)
        return status;
    if (patas__target_overlap(target->entry, request.survey.at + JUMP))
        return refuse(error, PATAS_ERR_BLOCKED, PATAS_REASON_TAKEN,
                      target->entry, 0);
    unsigned reason = patas__plan_form(
        &request.survey, PATAS_FORM_KEPT_BYTES, PATAS_STRICT,
        patas__commit_unit(target->entry), &request.plan, &trouble);
    if (!reason)
        reason = patas__island_stub(&request.plan.reach, SIZE_MAX, false,
                                    &request.stub);
    if (reason || patas__island_slot(request.stub, &slot))
        return refuse(error, PATAS_ERR_BLOCKED,
                      reason ? reason : PATAS_REASON_NO_ADDRESS, target->entry,
                      0);
    /* The head moves more than it need; it is right for this form, too. */
    *slot = patas__target_head(target);
    fill_stub(target, request.stub, slot);
    target->form = PATAS_FORM_KEPT_BYTES;
    target->written = request.plan.written & 0xfu;
    target->owned = request.plan.owned;
    /* Nothing of this form traps: what does is the program's own. */
    memset(target->carry, 0xff, sizeof target->carry);
    if (write_stub(target))
        return refuse(error, PATAS_ERR_DENIED, PATAS_REASON_NO_WRITE,
                      target->entry, request.stub);
    return PATAS_OK;
}

patas_status patas__prepare_slot(uintptr_t slot, uint32_t *index,
                                 patas_error *error)
{
    struct patas__region region;
    if (!slot || slot % sizeof(uintptr_t))
        return refuse(error, PATAS_ERR_ARGUMENT,
                      slot ? PATAS_REASON_ALIGNMENT : PATAS_REASON_NULL, slot,
                      slot);
    int err = patas__os_region(slot, &region);
    if (err == 2 || (!err && !(region.prot & PATAS__READ)))
        return refuse(error, PATAS_ERR_ARGUMENT, PATAS_REASON_UNMAPPED, slot,
                      slot);
    if (!err && region.shared)
        return refuse(error, PATAS_ERR_UNSUPPORTED, PATAS_REASON_SHARED_FILE,
                      slot, slot);
    *index = patas__target_find(slot);
    struct patas__target *target = patas__target_get(*index);
    if (*index && target->form != PATAS_FORM_SLOT)
        return refuse(error, PATAS_ERR_ARGUMENT, PATAS_REASON_TAKEN, slot,
                      slot);
    if (*index) {
        if (patas__stack_unused(*index)) { /* the program may have changed it */
            target->old = *(const uintptr_t *)slot;
            target->state = PATAS__READY;
        }
        return PATAS_OK;
    }
    *index = patas__target_new();
    if (!*index)
        return refuse(error, PATAS_ERR_NO_MEMORY, PATAS_REASON_NONE, slot, 0);
    target = patas__target_get(*index);
    uint32_t module = 0;
    (void)patas__module_at(slot, &module);
    target->entry = slot;
    target->module = (uint16_t)module;
    target->form = PATAS_FORM_SLOT;
    target->old = *(const uintptr_t *)slot;
    target->owned = target->written = 0;
    if (patas__target_publish(*index))
        return PATAS_OK;
    patas__target_forget(*index);
    return refuse(error, PATAS_ERR_NO_MEMORY, PATAS_REASON_NONE, slot, 0);
}
