/* SPDX-License-Identifier: MIT */
/*
 * The answer of patas_why() for a person.
 *
 *     check   b.c:4   43 bytes at b+0x1230
 *       out of line   patchable: kept bytes
 *       inlined       4 places that a patch will NOT reach:
 *                     f1 (b.c:5)  f2 (b.c:6)  main (b.c:7, twice)
 *       so            2 of 6 uses would be affected
 */
#include "why.h"

#include <stdlib.h>
#include <string.h>

enum {
    TEXT_SITES = 24, /* of one kind; the struct has all */
    TEXT_INDENT = 16,
    TEXT_WIDTH = 80
};

static void line_start(struct patas__text *text, const char *word)
{
    patas__text_add(text, "  %-*s ", TEXT_INDENT - 3, word);
}

/* Behind the others on this line, or on the next. */
static void line_word(struct patas__text *text, const char *word, bool first)
{
    size_t start = text->length;

    while (start && text->bytes[start - 1] != '\n')
        start--;
    if (!first && text->length - start + 2 + strlen(word) > TEXT_WIDTH)
        patas__text_add(text, "\n%*s%s", TEXT_INDENT, "", word);
    else
        patas__text_add(text, "%s%s", first ? "" : "  ", word);
}

static bool same_site(const patas_why_item *a, const patas_why_item *b)
{
    return a->kind == b->kind && a->line == b->line &&
           !strcmp(a->name, b->name) && !strcmp(a->file, b->file);
}

/* Several at one line are said once. */
static size_t site_count(const struct patas__why *work, size_t at)
{
    size_t count = 0;

    for (size_t i = 0; i < work->count; i++) {
        if (same_site(&work->items[i], &work->items[at])) {
            if (i < at)
                return 0;
            count++;
        }
    }
    return count;
}

/* "parse (json.c:41, 2 times)" */
static void site_text(struct patas__text *text, const patas_why_item *item,
                      size_t count)
{
    text->length = 0;
    patas__text_add(text, "%s", *item->name ? item->name : "(no name)");
    if (*item->file)
        patas__text_add(text, " (%s:%u", patas__short_path(item->file),
                        item->line);
    if (count > 1)
        patas__text_add(text, *item->file ? ", %zu times" : " (%zu times",
                        count);
    if (*item->file || count > 1)
        patas__text_add(text, ")");
}

static void add_sites(struct patas__text *text, const struct patas__why *work,
                      patas_why_kind kind)
{
    struct patas__text site = {0};
    size_t shown = 0, left = 0;

    for (size_t i = 0; i < work->count; i++) {
        if (work->items[i].kind != kind)
            continue;
        if (shown == TEXT_SITES) {
            left++;
            continue;
        }
        size_t count = site_count(work, i);
        if (!count)
            continue;
        site_text(&site, &work->items[i], count);
        line_word(text, site.bytes ? site.bytes : "?", !shown++);
    }
    if (left) {
        site.length = 0;
        patas__text_add(&site, "and %zu more", left);
        line_word(text, site.bytes ? site.bytes : "", false);
    }
    patas__text_add(text, "\n");
    text->failed |= site.failed;
    free(site.bytes);
}

static void add_kind(struct patas__text *text, const struct patas__why *work,
                     patas_why_kind kind, const char *word, const char *one,
                     const char *many)
{
    size_t count = work->why.count[kind];

    if (!count)
        return;
    line_start(text, word);
    patas__text_add(text, "%zu %s:\n%*s", count, count == 1 ? one : many,
                    TEXT_INDENT, "");
    add_sites(text, work, kind);
}

/* Kinds whose items each say something of their own. */
static void add_each(struct patas__text *text, const struct patas__why *work,
                     patas_why_kind kind, const char *word)
{
    for (size_t i = 0; i < work->count; i++) {
        const patas_why_item *item = &work->items[i];
        if (item->kind != kind)
            continue;
        line_start(text, word);
        bool other = strcmp(item->name, work->plain) != 0;
        if (other)
            patas__text_add(text, "%s", item->name);
        if (*item->file)
            patas__text_add(text, "%s%s", other ? " (" : "",
                            patas__short_path(item->file));
        if (*item->file && item->line)
            patas__text_add(text, ":%u", item->line);
        patas__text_add(text, "%s%s%s\n", other && *item->file ? ")" : "",
                        other || *item->file ? ": " : "", item->text);
    }
}

static void add_head(struct patas__text *text, const struct patas__why *work)
{
    const patas_why_info *why = &work->why;

    patas__text_add(text, "%s", work->plain);
    if (*why->file)
        patas__text_add(text, "   %s:%u", patas__short_path(why->file),
                        why->line);
    if (why->symbol.address)
        patas__text_add(
            text, "   %llu bytes at %s+0x%llx", (unsigned long long)work->size,
            patas__module_base(work->module), (unsigned long long)work->value);
    patas__text_add(text, "\n");
    if (*why->prototype) {
        line_start(text, "type");
        patas__text_add(text, "%s\n", why->prototype);
    }
    if (why->symbol.resolver) {
        line_start(text, "ifunc");
        patas__text_add(text, "this is the implementation in use\n");
    }
    if (why->plan.form != PATAS_FORM_NONE) {
        line_start(text, "out of line");
        patas__text_add(text, "patchable: %s\n",
                        patas_form_name(why->plan.form));
    }
}

static void add_sum(struct patas__text *text, const struct patas__why *work)
{
    const size_t *count = work->why.count;
    size_t reached = count[PATAS_WHY_CALL] + count[PATAS_WHY_TAIL_CALL];
    size_t missed = count[PATAS_WHY_INLINED];

    if (!reached && !missed) {
        if (work->why.plan.form == PATAS_FORM_NONE)
            return;
        line_start(text, "so");
        patas__text_add(text,
                        "no direct call in %s; calls through its PLT, from "
                        "elsewhere and by pointers would be affected\n",
                        patas__module_base(work->module));
        return;
    }
    if (work->why.symbol.address && work->why.plan.form == PATAS_FORM_NONE)
        reached = 0;
    line_start(text, "so");
    patas__text_add(text, "%zu of %zu direct uses would be affected%s\n",
                    reached,
                    count[PATAS_WHY_CALL] + count[PATAS_WHY_TAIL_CALL] + missed,
                    work->why.symbol.address
                        ? ", and calls from elsewhere and through pointers"
                        : "");
    if (!missed)
        return;
    line_start(text, "try");
    patas__text_add(text,
                    "__attribute__((noinline)) on %s, -fno-inline, or patch "
                    "what it was inlined into\n",
                    work->plain);
}

void patas__why_words(struct patas__why *work)
{
    struct patas__text text = {0};

    add_head(&text, work);
    add_each(&text, work, PATAS_WHY_GONE, "gone");
    add_each(&text, work, PATAS_WHY_REFUSED, "refused");
    add_kind(&text, work, PATAS_WHY_INLINED, "inlined",
             "place that a patch will NOT reach",
             "places that a patch will NOT reach");
    add_kind(&text, work, PATAS_WHY_CALL, "called", "direct call",
             "direct calls");
    add_kind(&text, work, PATAS_WHY_TAIL_CALL, "jumped to", "tail call",
             "tail calls");
    add_kind(&text, work, PATAS_WHY_DEVIRTUALIZED, "devirtualized",
             "direct call of this virtual function",
             "direct calls of this virtual function");
    add_each(&text, work, PATAS_WHY_CLONE, "clone");
    add_each(&text, work, PATAS_WHY_FOLDED, "folded");
    add_kind(&text, work, PATAS_WHY_ALIAS, "alias",
             "other name, replaced along with it",
             "other names, replaced along with it");
    add_each(&text, work, PATAS_WHY_BYPASS, "bypassed by");
    add_kind(&text, work, PATAS_WHY_FAMILY, "family",
             "function that belongs with it", "functions that belong with it");
    add_each(&text, work, PATAS_WHY_VERSION, "version");
    add_each(&text, work, PATAS_WHY_COPY, "copy");
    add_each(&text, work, PATAS_WHY_VDSO, "vdso");
    add_each(&text, work, PATAS_WHY_PROTOTYPE, "type differs");
    add_each(&text, work, PATAS_WHY_IPA_RA, "registers");
    add_each(&text, work, PATAS_WHY_NO_DEBUG_INFO, "unknown");
    add_sum(&text, work);
    if (text.failed)
        work->arena.failed = true;
    work->why.text = patas__arena_text(&work->arena, text.bytes);
    free(text.bytes);
}
