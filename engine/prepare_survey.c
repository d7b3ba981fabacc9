/* SPDX-License-Identifier: MIT */
/*
 * How long the function is, what its first bytes are, and who branches into
 * them.
 */
#include "prepare_parts.h"

/* Bytes that are to be read as they were unpatched. */
struct unpatched {
    uintptr_t address;
    uint8_t *bytes;
    size_t size;
};

/* Memory of a just-in-time compiler may hold other code by now: nothing is put
 * back where the bytes aren't ours. */
static void unpatch(void *data, const struct patas__target *target)
{
    const struct unpatched *it = data;
    uint8_t before[8], after[8];
    if (target->form == PATAS_FORM_SLOT)
        return;
    patas__target_bytes(target, before, after);
    const uintptr_t at = target->entry + target->at - it->address;
    for (unsigned i = 0; i < target->written; i++)
        if (at + i < it->size && it->bytes[at + i] != after[i])
            return;
    for (unsigned i = 0; i < target->written; i++)
        if (at + i < it->size)
            it->bytes[at + i] = before[i];
}

void patas__targets_unpatch(uint64_t address, uint8_t *bytes, size_t size)
{
    enum {
        REACH = 15 + PATAS__JUMP_MAX /* landing pad and jump */
    };
    struct unpatched it = {(uintptr_t)address, bytes, size};
    if (size)
        patas__targets_between(it.address - REACH, it.address + size - 1,
                               unpatch, &it);
}

/* The instruction at entry + at, as it was unpatched. False where there is
 * none, and then it has the length of the least one. */
static bool insn_of(const struct patas__target *target,
                    const struct patas__image *image, unsigned at,
                    struct patas__insn *insn)
{
    uint8_t bytes[PATAS__LOOK];
    const struct patas__segment *code = patas__image_code(image, target->entry);
    uint64_t offset = code ? target->entry - code->address + at : 0;
    uint64_t left = code && offset < code->size ? code->size - offset : 0;
    size_t size = left < sizeof bytes ? (size_t)left : sizeof bytes;
    if (size)
        memcpy(bytes, code->bytes + offset, size);
    patas__targets_unpatch(target->entry + at, bytes, size);
    if (size && image->isa->decode(bytes, size, target->entry + at, insn))
        return true;
    insn->length = image->isa->step;
    return false;
}

/* The branches of one target that its patch hides. */
static void each_moved(const struct patas__target *target,
                       const struct patas__image *image,
                       void (*each)(void *data, uint64_t to), void *data)
{
    struct patas__insn insn;
    for (unsigned at = 0; at < target->at + JUMP; at += insn.length)
        if (insn_of(target, image, at, &insn) && insn.has_target)
            each(data, insn.target);
}

void patas__branches_moved(uint32_t module,
                           void (*each)(void *data, uint64_t to), void *data)
{
    const struct patas__image *image = &patas__module_get(module)->image;
    for (uint32_t i = 1; i < patas__target_count(); i++) {
        const struct patas__target *target = patas__target_get(i);
        if (target->module == module && target->state != PATAS__RETIRED &&
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

patas_status patas__prepare_extent(struct patas__request *request,
                                   struct patas__module *module, bool padded,
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
    /* Few functions are so short that what is behind them matters. */
    if (padded || request->extent < PATAS__SURVEYED)
        patas__extent_pad(&module->image, &extent);
    request->padding = extent.padding;
    return PATAS_OK;
}

/* The first bytes, as many as are mapped. */
static void read_bytes(struct patas__survey *survey, bool module)
{
    uintptr_t entry = (uintptr_t)survey->entry;
    uintptr_t left = patas__prepared.target.end > entry
                         ? patas__prepared.target.end - entry
                         : PATAS__LOOK;
    if (left >= PATAS__LOOK && module &&
        patas__prepared.target.prot & PATAS__READ) {
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

static void hit_around(void *data, uint64_t to)
{
    struct patas__search *search = data;
    if (to - search->address < search->size)
        search->found |= 1u << (to - search->address);
}

static void moved_around(void *data, const struct patas__target *target)
{
    struct patas__search *search = data;
    if (target->form != PATAS_FORM_SLOT && target->entry != search->address)
        each_moved(target, search->image, hit_around, search);
}

/* Code of no module: the neighbourhood of its mapping is all that is searched
 * for branches. */
static uint32_t branches_around(const struct patas__survey *survey)
{
    enum {
        AROUND = 2048
    };
    uintptr_t entry = (uintptr_t)survey->entry;
    uintptr_t from = patas__prepared.target.start,
              to = patas__prepared.target.end;
    if (entry < from || entry >= to ||
        !(patas__prepared.target.prot & PATAS__READ))
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
    struct patas__search search = {.image = &image,
                                   .address = entry,
                                   .size = survey->at + JUMP,
                                   .skip_from = entry,
                                   .skip_to = entry + survey->cover,
                                   .unpatch = patas__targets_unpatch};
    patas__targets_between(from, to, moved_around, &search);
    return patas__branches_search(&search);
}

patas_status patas__prepare_survey(struct patas__request *request,
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
