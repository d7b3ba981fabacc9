/* SPDX-License-Identifier: MIT */
/*
 * Why a patch may not do what is expected: the question, taken apart.
 */
#include "why.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void patas__why_add(struct patas__why *work, patas_why_kind kind,
                    uintptr_t address, const char *name, const char *file,
                    unsigned line, const char *text)
{
    work->why.count[kind]++;
    if (work->count == PATAS__WHY_ITEMS)
        return;
    if (work->count == work->capacity) {
        size_t capacity = work->capacity ? work->capacity * 2 : 32;
        void *grown = realloc(work->items, capacity * sizeof *work->items);
        if (!grown) {
            work->arena.failed = true;
            return;
        }
        work->items = grown;
        work->capacity = capacity;
    }
    patas_why_item *item = &work->items[work->count++];
    char *plain = patas__demangle(name ? name : "");
    /* A clone's suffix is what tells it apart, and the linker's name one
     * constructor from another. */
    bool twin = (kind == PATAS_WHY_ALIAS || kind == PATAS_WHY_FOLDED) &&
                plain && work->plain && !strcmp(plain, work->plain);
    if (kind == PATAS_WHY_CLONE || twin) {
        free(plain);
        plain = NULL;
    }
    item->kind = kind;
    item->address = address;
    item->name = patas__arena_text(&work->arena, plain ? plain : name);
    item->file = patas__arena_text(&work->arena, file);
    item->line = line;
    item->text = patas__arena_text(&work->arena, text);
    free(plain);
}

static int by_kind(const void *left, const void *right)
{
    const patas_why_item *a = left, *b = right;

    if (a->kind != b->kind)
        return a->kind < b->kind ? -1 : 1;
    if (a->address != b->address)
        return a->address < b->address ? -1 : 1;
    return (a->line > b->line) - (a->line < b->line);
}

static void why_plan(struct patas__why *work)
{
    const patas_options options = {sizeof options, PATAS_ENTRY, NULL};
    patas_plan_info *plan = &work->why.plan;
    patas_error error = {PATAS_OK, 0, 0, 0, 0, 0};
    char text[512];

    plan->size = sizeof *plan;
    if (!work->why.symbol.address)
        return;
    if (patas_plan_with((patas_fn)work->why.symbol.address, &options, plan,
                        &error) == PATAS_OK)
        return;
    patas_error_text(&error, text, sizeof text);
    patas__why_add(work, PATAS_WHY_REFUSED, work->why.symbol.address,
                   work->plain, NULL, 0, text);
}

/* The vDSO has no file, no callers in itself, and no debug info. */
static void why_vdso(struct patas__why *work)
{
    char text[256];

    if (!work->module->vdso)
        return;
    snprintf(text, sizeof text,
             "the code is the kernel's, shared by all processes; replace the "
             "pointer that is called through (patas_replace_slot), or the "
             "callers");
    patas__why_add(work, PATAS_WHY_VDSO, work->why.symbol.address, work->plain,
                   NULL, 0, text);
}

static void why_found(struct patas__why *work, patas_fn replacement)
{
    const patas_symbol *symbol = &work->why.symbol;

    work->module = patas__module_around(symbol->address);
    if (!work->module)
        return;
    patas__module_read(work->module);
    work->value = symbol->address - work->module->bias;
    const struct patas__symbol *own =
        patas__lookup_address(work->module, work->value);
    work->size = symbol->resolver && own ? own->size : symbol->size;
    work->name = symbol->name;
    work->plain = symbol->plain;
    why_vdso(work);
    patas__why_family(work);
    if (!work->module->vdso) {
        patas__why_code(work);
        patas__why_debug(work);
        patas__why_types(work, (uintptr_t)replacement);
    }
    why_plan(work);
}

/* No symbol: debug info may know a function that is only inlined, and the
 * symbol table copies that the compiler made of it. */
static bool why_missing(struct patas__why *work, const char *text)
{
    struct patas__spec spec;
    bool found = false;

    if (patas__spec_parse(text, &spec)) {
        work->name = work->plain = patas__arena_text(&work->arena, spec.name);
        for (struct patas__module *m = patas__modules(); m && !found;
             m = m->next) {
            if (m->vdso || !patas__spec_wants(&spec, m) || work->arena.failed)
                continue;
            patas__module_read(m);
            work->module = m;
            found = patas__why_gone(work, &spec);
        }
    }
    if (found) {
        work->why.symbol.name = work->name;
        work->why.symbol.plain = work->plain;
        work->why.symbol.version = work->why.symbol.file = "";
        work->why.symbol.module =
            patas__arena_text(&work->arena, work->module->path);
        work->why.symbol.spec = work->plain;
    }
    patas__spec_free(&spec);
    return found;
}

static void why_finish(struct patas__why *work)
{
    patas_why_info *why = &work->why;

    if (work->count)
        qsort(work->items, work->count, sizeof *work->items, by_kind);
    why->items = work->items;
    why->item_count = work->count;
    why->prototype = why->prototype ? why->prototype : "";
    why->file = why->file ? why->file : "";
    if (!work->arena.failed)
        patas__why_words(work);
}

static patas_status why_answer(struct patas__why *work, const char *spec,
                               patas_fn replacement, patas_error *error)
{
    patas_error missing = {PATAS_OK, 0, 0, 0, 0, 0};
    patas_status found = patas__find_best(spec, true, &work->found, &missing);
    if (found != PATAS_OK && found != PATAS_ERR_NOT_FOUND) {
        if (error)
            *error = missing;
        return found;
    }
    if (found == PATAS_OK) {
        work->why.symbol = work->found->symbols[0];
        if (!work->why.symbol.address)
            return patas__symbols_fail(error, PATAS_ERR_UNSUPPORTED, 0);
    }
    patas_status status = patas__symbols_enter(error);
    if (status != PATAS_OK)
        return status;
    if (found == PATAS_OK)
        why_found(work, replacement);
    else if (!why_missing(work, spec))
        status = patas__symbols_fail(error, PATAS_ERR_NOT_FOUND, 0);
    if (status == PATAS_OK && !work->module)
        status = patas__symbols_fail(error, PATAS_ERR_UNLOADED, 0);
    if (status == PATAS_OK)
        why_finish(work);
    if (work->arena.failed)
        status = patas__symbols_fail(error, PATAS_ERR_NO_MEMORY, ENOMEM);
    patas__symbols_leave();
    return status;
}

patas_status patas_why(const char *spec, patas_fn replacement,
                       patas_why_info **why, patas_error *error)
{
    if (!why)
        return patas__symbols_fail(error, PATAS_ERR_ARGUMENT, 0);
    *why = NULL;
    struct patas__why *work = calloc(1, sizeof *work);
    if (!work)
        return patas__symbols_fail(error, PATAS_ERR_NO_MEMORY, ENOMEM);
    patas_status status = why_answer(work, spec, replacement, error);
    if (status == PATAS_OK)
        *why = &work->why;
    else
        patas_why_free(&work->why);
    return status;
}

void patas_why_free(patas_why_info *why)
{
    struct patas__why *work = (struct patas__why *)why;

    if (work) {
        patas_found_free(work->found);
        patas__arena_free(&work->arena);
        free(work->items);
        free(work);
    }
}

size_t patas_why_text(const patas_why_info *why, char *text, size_t size)
{
    int length = snprintf(text, size, "%s", why->text);
    return length < 0 ? 0 : (size_t)length;
}
