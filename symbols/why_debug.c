/* SPDX-License-Identifier: MIT */
/*
 * What only debug info knows: inlined copies and where they are, functions
 * that were folded into one, virtual functions, and what built it.
 *
 * DWARF 5, 3.3.8: each inlined copy is a DW_TAG_inlined_subroutine that names
 * its abstract instance. Units that have a function's header in common have an
 * abstract instance each: they are the same if names and lines are.
 */
#include "why.h"

#include <dwarf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *die_string(const Dwarf_Die *die, unsigned name)
{
    Dwarf_Attribute attribute;
    Dwarf_Die copy = *die;

    if (!dwarf_attr_integrate(&copy, name, &attribute))
        return NULL;
    return dwarf_formstring(&attribute);
}

const char *patas__die_name(const Dwarf_Die *die)
{
    return die_string(die, DW_AT_name);
}

const char *patas__die_linkage_name(const Dwarf_Die *die)
{
    const char *name = die_string(die, DW_AT_linkage_name);
    return name ? name : die_string(die, DW_AT_MIPS_linkage_name);
}

/* A number that the DIE or its abstract instance has; `otherwise` if none. */
static Dwarf_Word die_number(const Dwarf_Die *die, unsigned name,
                             Dwarf_Word otherwise)
{
    Dwarf_Attribute attribute;
    Dwarf_Die copy = *die;
    Dwarf_Word value;

    if (!dwarf_attr_integrate(&copy, name, &attribute) ||
        dwarf_formudata(&attribute, &value))
        return otherwise;
    return value;
}

static bool die_flag(const Dwarf_Die *die, unsigned name)
{
    Dwarf_Attribute attribute;
    Dwarf_Die copy = *die;
    bool value;

    return dwarf_attr(&copy, name, &attribute) &&
           !dwarf_formflag(&attribute, &value) && value;
}

/* The first instruction of a function that may be in several pieces. */
static bool die_entry(const Dwarf_Die *die, uint64_t *entry)
{
    Dwarf_Die copy = *die;
    Dwarf_Addr base, from, to, pc;

    if (!dwarf_entrypc(&copy, &pc)) {
        *entry = pc;
        return true;
    }
    if (dwarf_ranges(&copy, 0, &base, &from, &to) <= 0)
        return false;
    *entry = from;
    return true;
}

void patas__die_origin(const Dwarf_Die *die, Dwarf_Die *origin)
{
    Dwarf_Attribute attribute;
    Dwarf_Die copy = *die;

    *origin = *die;
    if (dwarf_attr(&copy, DW_AT_abstract_origin, &attribute) &&
        !dwarf_formref_die(&attribute, origin))
        *origin = *die;
}

/* Assemblers describe where a label is, and not what it takes. */
static bool is_assembly(const Dwarf_Die *die)
{
    Dwarf_Die copy = *die, unit;

    return dwarf_diecu(&copy, &unit, NULL, NULL) &&
           dwarf_srclang(&unit) == DW_LANG_Mips_Assembler;
}

static bool has_code(const Dwarf_Die *die)
{
    Dwarf_Die copy = *die;
    return dwarf_hasattr(&copy, DW_AT_low_pc) ||
           dwarf_hasattr(&copy, DW_AT_ranges);
}

static bool walk_into(int tag)
{
    return tag == DW_TAG_subprogram || tag == DW_TAG_lexical_block ||
           tag == DW_TAG_inlined_subroutine || tag == DW_TAG_namespace ||
           tag == DW_TAG_try_block || tag == DW_TAG_catch_block;
}

/* A sibling must lie behind: a file may say otherwise, for ever. */
static bool walk_children(struct patas__walk *walk, Dwarf_Die *parent,
                          const Dwarf_Die *function, unsigned depth)
{
    Dwarf_Die die;

    if (depth > PATAS__WHY_DEPTH || dwarf_child(parent, &die))
        return true;
    for (;;) {
        int tag = dwarf_tag(&die);
        if (walk_into(tag)) {
            if (!walk->visit(walk, &die, function))
                return false;
            bool outer = tag == DW_TAG_subprogram;
            if ((!outer || has_code(&die)) && dwarf_haschildren(&die) > 0 &&
                !walk_children(walk, &die, outer ? &die : function, depth + 1))
                return false;
        }
        Dwarf_Die next;
        if (dwarf_siblingof(&die, &next) ||
            dwarf_dieoffset(&next) <= dwarf_dieoffset(&die))
            return true;
        die = next;
    }
}

bool patas__walk_units(struct patas__module *module, Dwarf *dwarf,
                       struct patas__walk *walk)
{
    Dwarf_CU *cu = NULL;
    Dwarf_Die unit;

    while (dwarf && patas__dwarf_unit(module, dwarf, &cu, &unit)) {
        int tag = dwarf_tag(&unit);
        if ((tag == DW_TAG_compile_unit || tag == DW_TAG_partial_unit) &&
            !walk_children(walk, &unit, NULL, 0))
            return false;
    }
    return true;
}

struct at_walk {
    uint64_t value;
    Dwarf_Die *die;
    bool found;
};

static bool visit_at(struct patas__walk *walk, Dwarf_Die *die,
                     const Dwarf_Die *function)
{
    struct at_walk *at = walk->data;
    uint64_t entry;

    (void)function;
    if (dwarf_tag(die) != DW_TAG_subprogram || !die_entry(die, &entry) ||
        entry != at->value)
        return true;
    *at->die = *die;
    at->found = true;
    return false;
}

bool patas__die_at(struct patas__module *module, uint64_t value, Dwarf_Die *die)
{
    Dwarf *dwarf = patas__module_dwarf(module);
    struct at_walk at = {value, die, false};
    struct patas__walk walk = {visit_at, &at};
    Dwarf_Die unit;

    if (!dwarf)
        return false;
    /* The unit that says so, and all of them if it lies or none does. */
    if (dwarf_addrdie(dwarf, value, &unit)) {
        patas__dwarf_split(module, &unit);
        walk_children(&walk, &unit, NULL, 0);
    }
    if (!at.found)
        patas__walk_units(module, dwarf, &walk);
    return at.found;
}

/* By the unit that the attribute is in, which may be the abstract instance's.
 * dwarf_decl_file() does the same, and aborts where a unit has no lines. */
static const char *source_of(const Dwarf_Die *die, unsigned attribute_name)
{
    Dwarf_Attribute attribute;
    Dwarf_Die copy = *die, unit;
    Dwarf_Files *files;
    Dwarf_Word index;
    size_t count;

    if (!dwarf_attr_integrate(&copy, attribute_name, &attribute) ||
        dwarf_formudata(&attribute, &index) ||
        dwarf_cu_info(attribute.cu, NULL, NULL, &unit, NULL, NULL, NULL,
                      NULL) ||
        dwarf_getsrcfiles(&unit, &files, &count) || index >= count)
        return "";
    const char *name = dwarf_filesrc(files, (size_t)index, NULL, NULL);
    return name ? name : "";
}

static const char *declared_in(const Dwarf_Die *die)
{
    return source_of(die, DW_AT_decl_file);
}

static unsigned declared_at(const Dwarf_Die *die)
{
    Dwarf_Die copy = *die;
    int line;
    return dwarf_decl_line(&copy, &line) || line < 0 ? 0 : (unsigned)line;
}

static bool same_text(const char *a, const char *b)
{
    return a == b || (a && b && !strcmp(a, b));
}

/* Two abstract instances of one function of a header. */
static bool same_function(const Dwarf_Die *a, const Dwarf_Die *b)
{
    if (a->addr == b->addr)
        return true;
    const char *name = patas__die_name(a);
    return name && same_text(name, patas__die_name(b)) &&
           same_text(patas__die_linkage_name(a), patas__die_linkage_name(b)) &&
           declared_at(a) == declared_at(b) &&
           !strcmp(patas__short_path(declared_in(a)),
                   patas__short_path(declared_in(b)));
}

/* Only debug info's own names are in it: the code's, if the linker folded. */
static void name_of(const Dwarf_Die *die, const char **name)
{
    *name = patas__die_linkage_name(die);
    if (!*name)
        *name = patas__die_name(die);
    if (!*name)
        *name = "";
}

static void add_inlined(struct patas__why *work, const Dwarf_Die *die,
                        const Dwarf_Die *function)
{
    const char *name = "";
    uint64_t entry = 0;
    unsigned line = (unsigned)die_number(die, DW_AT_call_line, 0);

    /* One inside of it runs where the function itself runs. */
    if (function && work->value && die_entry(function, &entry) &&
        entry == work->value)
        return;
    if (function)
        name_of(function, &name);
    entry = 0;
    bool known = die_entry(die, &entry);
    patas__why_add(work, PATAS_WHY_INLINED,
                   known ? work->module->bias + (uintptr_t)entry : 0, name,
                   source_of(die, DW_AT_call_file), line,
                   "a copy of it: a patch does not reach it");
}

/* An alias that has a body of its own in the source was folded. */
static void check_folded(struct patas__why *work, Dwarf_Die *die)
{
    Dwarf_Die origin;
    uint64_t entry = 0;
    const char *name, *plain;

    patas__die_origin(die, &origin);
    name_of(&origin, &name);
    plain = patas__die_name(&origin);
    if (!*name || die_flag(&origin, DW_AT_declaration) ||
        !strcmp(name, work->name) || is_assembly(&origin) ||
        same_function(&origin, &work->origin))
        return;
    bool here = die_entry(die, &entry) && entry == work->value;
    if (entry && !here)
        return;
    for (size_t i = 0; i < work->count; i++) {
        patas_why_item *item = &work->items[i];
        bool named =
            !strcmp(item->name, name) || (plain && !strcmp(item->name, plain));
        if (item->kind == PATAS_WHY_FOLDED && named)
            return;
        if (item->kind != PATAS_WHY_ALIAS || !named)
            continue;
        item->kind = PATAS_WHY_FOLDED;
        item->file = patas__arena_text(&work->arena, declared_in(&origin));
        item->line = declared_at(&origin);
        item->text = "another function whose code is the same, kept once: "
                     "replacing one replaces both";
        work->why.count[PATAS_WHY_ALIAS]--;
        work->why.count[PATAS_WHY_FOLDED]++;
        return;
    }
    if (here)
        patas__why_add(work, PATAS_WHY_FOLDED, work->why.symbol.address, name,
                       declared_in(&origin), declared_at(&origin),
                       "another function whose code is the same, kept once: "
                       "replacing one replaces both");
}

static bool visit_sites(struct patas__walk *walk, Dwarf_Die *die,
                        const Dwarf_Die *function)
{
    struct patas__why *work = walk->data;
    Dwarf_Die origin;

    switch (dwarf_tag(die)) {
    case DW_TAG_inlined_subroutine:
        patas__die_origin(die, &origin);
        if (same_function(&origin, &work->origin))
            add_inlined(work, die, function);
        break;
    case DW_TAG_subprogram:
        if (work->value)
            check_folded(work, die);
        break;
    default:
        break;
    }
    return !work->arena.failed;
}

/* Each direct call of a virtual function was a virtual one in the source, or
 * was written with the class's name. */
static void add_devirtualized(struct patas__why *work)
{
    size_t count = work->count;

    if (die_number(&work->die, DW_AT_virtuality, DW_VIRTUALITY_none) ==
        DW_VIRTUALITY_none)
        return;
    for (size_t i = 0; i < count; i++) {
        patas_why_item item = work->items[i];
        if (item.kind != PATAS_WHY_CALL && item.kind != PATAS_WHY_TAIL_CALL)
            continue;
        patas__why_add(work, PATAS_WHY_DEVIRTUALIZED, item.address, item.name,
                       item.file, item.line,
                       "a direct call of a virtual function: a change of the "
                       "vtable alone would not reach it");
    }
}

/*
 * gcc's -fipa-ra, on at -O2 and above: a caller in the same unit may keep
 * values in registers that the function was seen to leave alone, and a
 * replacement may not. Not for what another module may take the place of.
 */
static void add_ipa_ra(struct patas__why *work)
{
    Dwarf_Die copy = work->die, unit;
    const char *made = dwarf_diecu(&copy, &unit, NULL, NULL)
                           ? die_string(&unit, DW_AT_producer)
                           : NULL;
    bool on =
        made && !strncmp(made, "GNU ", 4) &&
        (strstr(made, " -O2") || strstr(made, " -O3") || strstr(made, " -Os") ||
         strstr(made, " -Ofast") || strstr(made, " -fipa-ra")) &&
        !strstr(made, " -fno-ipa-ra") && !strstr(made, " -pg");
    /* -O0 behind an -O2 counts; the last word wins. */
    const char *last = NULL;
    for (const char *at = made ? strstr(made, " -O") : NULL; at;
         at = strstr(at + 1, " -O"))
        last = at;
    if (last && (last[3] == '0' || last[3] == '1' || last[3] == 'g'))
        on = false;
    size_t calls = work->why.count[PATAS_WHY_CALL];
    bool local =
        work->why.symbol.flags & (PATAS_SYMBOL_STATIC | PATAS_SYMBOL_PROGRAM);
    if (on && calls && local)
        patas__why_add(
            work, PATAS_WHY_IPA_RA, work->why.symbol.address, work->plain, NULL,
            0,
            "built by gcc with -fipa-ra (-O2 and above): callers may keep "
            "values in registers that it leaves alone, and a replacement may "
            "not; build with -fno-ipa-ra");
}

/* What the whole of it would tell, the part that is there may not. */
static bool add_missing(struct patas__why *work)
{
    char *text = patas__dwarf_missing(work->module);
    bool missing = text != NULL;

    if (missing)
        patas__why_add(work, PATAS_WHY_NO_DEBUG_INFO, work->why.symbol.address,
                       work->plain, NULL, 0, text);
    free(text);
    return missing;
}

void patas__why_debug(struct patas__why *work)
{
    Dwarf *dwarf = patas__module_dwarf(work->module);
    struct patas__walk walk = {visit_sites, work};

    work->has_die = patas__die_at(work->module, work->value, &work->die);
    if (!work->has_die) {
        if (!add_missing(work))
            patas__why_add(
                work, PATAS_WHY_NO_DEBUG_INFO, work->why.symbol.address,
                work->plain, NULL, 0,
                dwarf ? "debug info has no such function: its inlined copies, "
                        "its type and its lines are unknown"
                      : "no debug info: inlined copies, folded functions, "
                        "types and lines are unknown; calls are known by the "
                        "code");
        return;
    }
    patas__die_origin(&work->die, &work->origin);
    work->why.file = patas__arena_text(&work->arena, declared_in(&work->die));
    work->why.line = declared_at(&work->die);
    if (is_assembly(&work->die)) {
        work->has_die = false;
        patas__why_add(work, PATAS_WHY_NO_DEBUG_INFO, work->why.symbol.address,
                       work->plain, NULL, 0,
                       "written in assembly: its type is unknown");
        return;
    }
    work->why.prototype =
        patas__prototype(&work->arena, &work->die, work->plain);
    patas__walk_units(work->module, dwarf, &walk);
    add_missing(work);
    add_devirtualized(work);
    add_ipa_ra(work);
}

struct gone_walk {
    const struct patas__spec *spec;
    Dwarf_Die *origin;
    bool found;
};

/* "Ns::f" against what debug info calls it. */
static bool is_called(const Dwarf_Die *die, const struct patas__spec *spec)
{
    const char *name = patas__die_name(die);
    const char *linkage = patas__die_linkage_name(die);
    bool same = false;

    if (name && !strcmp(name, spec->name))
        return !spec->plain;
    if (!linkage)
        return false;
    if (!strcmp(linkage, spec->name))
        return true;
    char *plain = patas__demangle(linkage);
    same = plain && patas__plain_matches(plain, spec->name);
    free(plain);
    return same;
}

static bool visit_gone(struct patas__walk *walk, Dwarf_Die *die,
                       const Dwarf_Die *function)
{
    struct gone_walk *gone = walk->data;

    (void)function;
    /* After link-time optimization nothing says DW_AT_inline. A declaration
     * is no proof that there ever was a body. */
    if (dwarf_tag(die) != DW_TAG_subprogram || has_code(die) ||
        die_flag(die, DW_AT_declaration) || !is_called(die, gone->spec))
        return true;
    const char *file = declared_in(die);
    if (gone->spec->file &&
        strcmp(patas__short_path(file), patas__short_path(gone->spec->file)))
        return true;
    *gone->origin = *die;
    gone->found = true;
    return false;
}

static void gone_words(struct patas__why *work)
{
    size_t places = work->why.count[PATAS_WHY_INLINED];
    char text[256];

    if (work->why.count[PATAS_WHY_CLONE])
        snprintf(text, sizeof text,
                 "only copies that the compiler made of it are left; replace "
                 "those");
    else if (places)
        snprintf(text, sizeof text,
                 "the compiler inlined it everywhere (%zu %s); there is "
                 "nothing to patch",
                 places, places == 1 ? "place" : "places");
    else
        snprintf(text, sizeof text,
                 "the compiler left no code of it; there is nothing to patch");
    patas__why_add(work, PATAS_WHY_GONE, 0, work->plain, work->why.file,
                   work->why.line, text);
}

bool patas__why_gone(struct patas__why *work, const struct patas__spec *spec)
{
    Dwarf *dwarf = patas__module_dwarf(work->module);
    struct gone_walk gone = {spec, &work->origin, false};
    struct patas__walk find = {visit_gone, &gone};
    struct patas__walk sites = {visit_sites, work};

    patas__walk_units(work->module, dwarf, &find);
    if (!gone.found) /* dwz moved what several files have in common */
        patas__walk_units(work->module, work->module->common, &find);
    if (gone.found) {
        const char *linkage = patas__die_linkage_name(&work->origin);
        if (linkage)
            work->name = patas__arena_text(&work->arena, linkage);
        work->why.file =
            patas__arena_text(&work->arena, declared_in(&work->origin));
        work->why.line = declared_at(&work->origin);
        work->why.prototype =
            patas__prototype(&work->arena, &work->origin, spec->name);
        patas__walk_units(work->module, dwarf, &sites);
        add_missing(work);
    }
    if (!work->arena.failed)
        patas__why_clones(work);
    if (!gone.found && !work->why.count[PATAS_WHY_CLONE])
        return false;
    if (!work->arena.failed)
        gone_words(work);
    return true;
}
