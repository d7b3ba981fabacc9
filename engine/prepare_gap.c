/* SPDX-License-Identifier: MIT */
/*
 * Padding within reach of a short jump, and the jump that is put there.
 */
#include "commit.h"
#include "prepare_parts.h"
#include "trap.h"

enum {
    GAPS = 1024
};

/* Padding that holds a short jump's jump. */
static struct {
    uintptr_t at[GAPS];
    unsigned count;
} gaps;

static bool gap_free(uint64_t gap)
{
    for (unsigned i = 0; i < gaps.count; i++)
        if (gaps.at[i] < gap + JUMP && gap < gaps.at[i] + JUMP)
            return false;
    return gaps.count < GAPS && !patas__target_overlap((uintptr_t)gap, JUMP);
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
        patas__module_branches(module, gap, JUMP, gap, true))
        return 0;
    return gap;
}

/* Padding behind this function, or behind one in front of it. */
uint64_t patas__gap_find(const struct patas__request *request,
                         struct patas__module *module)
{
    const struct patas__survey *it = &request->survey;
    enum {
        REACH = 128
    };
    struct patas__extent extent = {0};
    /* Padding of what nobody describes may be anything. */
    if (!module || !request->extent ||
        !patas__extent_find(&module->image, it->entry, &extent))
        return 0;
    extent.start = it->entry;
    extent.size = request->extent;
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

/* The jump in padding goes live first, and stays: whoever took the short jump
 * may stand in front of it for as long as it likes. */
static patas_status gap_commit(const struct patas__request *request,
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

patas_status patas__gap_write(const struct patas__request *request,
                              patas_error *error)
{
    patas_status status = gap_commit(request, error);
    if (status == PATAS_OK)
        gaps.at[gaps.count++] = request->gap;
    return status;
}
