/* SPDX-License-Identifier: MIT */
/*
 * Types of functions, from debug info: written as C writes them, and compared
 * as the calling convention sees them and as a reader would.
 */
#include "why.h"

#include <dwarf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    TYPE_DEPTH = 32,
    TYPE_ARGUMENTS = 64
};

/* The type that a DIE has; false for void. */
static bool type_of(const Dwarf_Die *die, Dwarf_Die *type)
{
    Dwarf_Attribute attribute;
    Dwarf_Die copy = *die;

    return dwarf_attr_integrate(&copy, DW_AT_type, &attribute) &&
           dwarf_formref_die(&attribute, type);
}

/* Whether the type is in debug info that is missing (dwarf.c): what looks like
 * void isn't. */
static bool type_is_lost(const Dwarf_Die *die)
{
    static const unsigned names[] = {DW_AT_type, DW_AT_abstract_origin,
                                     DW_AT_specification};
    Dwarf_Die at = *die, next;

    for (unsigned depth = 0; depth < TYPE_DEPTH; depth++) {
        Dwarf_Attribute attribute;
        unsigned i = 0;
        while (i < 3 && !dwarf_attr(&at, names[i], &attribute))
            i++;
        if (i == 3)
            return false;
        if (!dwarf_formref_die(&attribute, &next))
            return true;
        if (i == 0)
            return false;
        at = next;
    }
    return true;
}

static void type_text(struct patas__text *text, const Dwarf_Die *die,
                      unsigned depth);

/* What `die` points to, is const of, ...; void if it says nothing. */
static void inner_text(struct patas__text *text, const Dwarf_Die *die,
                       unsigned depth)
{
    Dwarf_Die inner;

    if (type_of(die, &inner))
        type_text(text, &inner, depth + 1);
    else
        patas__text_add(text, "void");
    text->partial |= type_is_lost(die);
}

static void pointer_text(struct patas__text *text, const Dwarf_Die *die,
                         unsigned depth, const char *sign)
{
    Dwarf_Die inner;

    if (type_of(die, &inner) && dwarf_tag(&inner) == DW_TAG_subroutine_type) {
        inner_text(text, &inner, depth + 1);
        patas__text_add(text, " (%s)()", sign);
        return;
    }
    inner_text(text, die, depth);
    bool pointers = text->length && text->bytes[text->length - 1] == '*';
    patas__text_add(text, "%s%s", pointers ? "" : " ", sign);
}

static void named_text(struct patas__text *text, const Dwarf_Die *die,
                       const char *word)
{
    const char *name = patas__die_name(die);
    patas__text_add(text, "%s%s", name ? word : "",
                    name ? name : "(anonymous)");
}

static bool is_c(const Dwarf_Die *die)
{
    Dwarf_Die copy = *die, unit;
    int language;

    if (!dwarf_diecu(&copy, &unit, NULL, NULL))
        return true;
    language = dwarf_srclang(&unit);
    if (language < 0) /* dwz's units say nothing: C++ has the word as well */
        return true;
    return language == DW_LANG_C89 || language == DW_LANG_C ||
           language == DW_LANG_C99 || language == DW_LANG_C11;
}

/* "const char *" points to what is const, "char *const" is. */
static void qualified_text(struct patas__text *text, const Dwarf_Die *die,
                           unsigned depth, const char *word)
{
    Dwarf_Die inner;
    bool pointer =
        type_of(die, &inner) && dwarf_tag(&inner) == DW_TAG_pointer_type;

    if (!pointer)
        patas__text_add(text, "%s ", word);
    inner_text(text, die, depth);
    if (pointer)
        patas__text_add(text, "%s", word);
}

static void type_text(struct patas__text *text, const Dwarf_Die *die,
                      unsigned depth)
{
    Dwarf_Die copy = *die;

    if (depth > TYPE_DEPTH) {
        patas__text_add(text, "...");
        return;
    }
    switch (dwarf_tag(&copy)) {
    case DW_TAG_pointer_type:
        pointer_text(text, die, depth, "*");
        break;
    case DW_TAG_reference_type:
        pointer_text(text, die, depth, "&");
        break;
    case DW_TAG_rvalue_reference_type:
        pointer_text(text, die, depth, "&&");
        break;
    case DW_TAG_const_type:
        qualified_text(text, die, depth, "const");
        break;
    case DW_TAG_volatile_type:
        qualified_text(text, die, depth, "volatile");
        break;
    case DW_TAG_restrict_type:
        inner_text(text, die, depth);
        break;
    case DW_TAG_structure_type:
        named_text(text, die, is_c(die) ? "struct " : "");
        break;
    case DW_TAG_union_type:
        named_text(text, die, is_c(die) ? "union " : "");
        break;
    case DW_TAG_enumeration_type:
        named_text(text, die, is_c(die) ? "enum " : "");
        break;
    case DW_TAG_array_type:
        inner_text(text, die, depth);
        patas__text_add(text, "[]");
        break;
    default:
        named_text(text, die, "");
    }
}

/* Parameters in order; `type[i].addr` is NULL for one without a type. */
struct parameters {
    Dwarf_Die type[TYPE_ARGUMENTS];
    size_t count;
    size_t hidden; /* the first of them that nobody writes: this */
    bool open;     /* ... */
    bool lost;     /* some are not known */
};

static bool is_artificial(Dwarf_Die *die)
{
    Dwarf_Attribute attribute;
    bool flag = false;

    return dwarf_attr_integrate(die, DW_AT_artificial, &attribute) &&
           !dwarf_formflag(&attribute, &flag) && flag;
}

static void parameters_of(const Dwarf_Die *function, struct parameters *out)
{
    Dwarf_Die source = *function, die, origin;

    memset(out, 0, sizeof *out);
    /* The concrete instance may lack what it has not kept. */
    patas__die_origin(function, &origin);
    source = origin;
    if (dwarf_child(&source, &die))
        return;
    for (;;) {
        int tag = dwarf_tag(&die);
        if (tag == DW_TAG_unspecified_parameters)
            out->open = true;
        if (tag == DW_TAG_formal_parameter && out->count < TYPE_ARGUMENTS) {
            if (!type_of(&die, &out->type[out->count]))
                out->type[out->count].addr = NULL;
            out->lost |= type_is_lost(&die);
            out->hidden += out->hidden == out->count && is_artificial(&die);
            out->count++;
        }
        Dwarf_Die next;
        if (dwarf_siblingof(&die, &next) ||
            dwarf_dieoffset(&next) <= dwarf_dieoffset(&die))
            return;
        die = next;
    }
}

char *patas__prototype(struct patas__arena *arena, Dwarf_Die *function,
                       const char *name)
{
    struct patas__text text = {0};
    struct parameters parameters;
    size_t length = strcspn(name, "(");

    inner_text(&text, function, 0);
    bool pointer = text.length && text.bytes[text.length - 1] == '*';
    patas__text_add(&text, "%s%.*s(", pointer ? "" : " ", (int)length, name);
    parameters_of(function, &parameters);
    size_t first = parameters.hidden;
    for (size_t i = first; i < parameters.count; i++) {
        patas__text_add(&text, "%s", i > first ? ", " : "");
        if (parameters.type[i].addr)
            type_text(&text, &parameters.type[i], 0);
    }
    if (parameters.open)
        patas__text_add(&text, "%s",
                        parameters.count > first ? ", ..." : "...");
    if (parameters.count == first && !parameters.open)
        patas__text_add(&text, "void");
    patas__text_add(&text, ")");
    bool known = !text.partial && !parameters.lost;
    char *copy = patas__arena_text(arena, known ? text.bytes : "");
    free(text.bytes);
    return copy;
}

/* Behind names and qualifiers. False: void. */
static bool strip(const Dwarf_Die *die, Dwarf_Die *out)
{
    *out = *die;
    for (unsigned depth = 0; depth < TYPE_DEPTH; depth++) {
        int tag = dwarf_tag(out);
        if (tag != DW_TAG_typedef && tag != DW_TAG_const_type &&
            tag != DW_TAG_volatile_type && tag != DW_TAG_restrict_type &&
            tag != DW_TAG_atomic_type)
            return true;
        Dwarf_Die inner;
        if (!type_of(out, &inner))
            return false;
        *out = inner;
    }
    return true;
}

static bool is_address(int tag)
{
    return tag == DW_TAG_pointer_type || tag == DW_TAG_reference_type ||
           tag == DW_TAG_rvalue_reference_type;
}

static bool same_type(const Dwarf_Die *a, const Dwarf_Die *b, unsigned depth);

/* void * goes with everything. */
static bool same_pointed(const Dwarf_Die *a, const Dwarf_Die *b, unsigned depth)
{
    Dwarf_Die x, y, bare_x, bare_y;

    /* One that is lost, too. */
    if (!type_of(a, &x) || !type_of(b, &y) || !strip(&x, &bare_x) ||
        !strip(&y, &bare_y))
        return true;
    if (dwarf_tag(&bare_x) == DW_TAG_subroutine_type ||
        dwarf_tag(&bare_y) == DW_TAG_subroutine_type)
        return dwarf_tag(&bare_x) == dwarf_tag(&bare_y);
    return same_type(&bare_x, &bare_y, depth + 1);
}

static Dwarf_Word number_of(Dwarf_Die *die, unsigned name)
{
    Dwarf_Attribute attribute;
    Dwarf_Word value = 0;

    if (dwarf_attr_integrate(die, name, &attribute))
        (void)dwarf_formudata(&attribute, &value);
    return value;
}

static bool is_number(int tag)
{
    return tag == DW_TAG_base_type || tag == DW_TAG_enumeration_type;
}

/* int and enum of the same size pass alike; char and signed char, too. */
static bool same_number(Dwarf_Die *a, Dwarf_Die *b)
{
    bool both =
        dwarf_tag(a) == DW_TAG_base_type && dwarf_tag(b) == DW_TAG_base_type;
    Dwarf_Word x = number_of(a, DW_AT_encoding);
    Dwarf_Word y = number_of(b, DW_AT_encoding);

    if (number_of(a, DW_AT_byte_size) != number_of(b, DW_AT_byte_size))
        return false;
    if (!both)
        return (dwarf_tag(a) != DW_TAG_base_type || x != DW_ATE_float) &&
               (dwarf_tag(b) != DW_TAG_base_type || y != DW_ATE_float);
    if (x == DW_ATE_signed_char || x == DW_ATE_unsigned_char)
        return y == DW_ATE_signed_char || y == DW_ATE_unsigned_char;
    return x == y;
}

static bool same_type(const Dwarf_Die *a, const Dwarf_Die *b, unsigned depth)
{
    Dwarf_Die x, y;

    if (depth > TYPE_DEPTH)
        return true;
    bool known_x = strip(a, &x), known_y = strip(b, &y);
    if (!known_x || !known_y) /* x and y are where it ended */
        return known_x == known_y || type_is_lost(&x) || type_is_lost(&y);
    int tag_x = dwarf_tag(&x), tag_y = dwarf_tag(&y);
    if (is_address(tag_x) && is_address(tag_y))
        return same_pointed(&x, &y, depth);
    if (is_number(tag_x) && is_number(tag_y))
        return same_number(&x, &y);
    bool record_x =
        tag_x == DW_TAG_structure_type || tag_x == DW_TAG_class_type;
    bool record_y =
        tag_y == DW_TAG_structure_type || tag_y == DW_TAG_class_type;
    if (tag_x != tag_y && !(record_x && record_y))
        return false;
    const char *name_x = patas__die_name(&x), *name_y = patas__die_name(&y);
    if (name_x && name_y && strcmp(name_x, name_y))
        return false;
    Dwarf_Word size_x = number_of(&x, DW_AT_byte_size);
    Dwarf_Word size_y = number_of(&y, DW_AT_byte_size);
    return !size_x || !size_y || size_x == size_y; /* 0: only declared */
}

static void add_difference(struct patas__why *work, const char *what,
                           const Dwarf_Die *own, const Dwarf_Die *other)
{
    struct patas__text text = {0};

    patas__text_add(&text, "%s differs: ", what);
    if (own)
        type_text(&text, own, 0);
    else
        patas__text_add(&text, "void");
    patas__text_add(&text, ", ");
    if (other)
        type_text(&text, other, 0);
    else
        patas__text_add(&text, "void");
    patas__why_add(work, PATAS_WHY_PROTOTYPE, work->why.symbol.address,
                   work->plain, NULL, 0, text.bytes);
    free(text.bytes);
}

static void compare_results(struct patas__why *work, const Dwarf_Die *own,
                            const Dwarf_Die *other)
{
    Dwarf_Die x, y, bare;
    bool some_x = type_of(own, &x) && strip(&x, &bare);
    bool some_y = type_of(other, &y) && strip(&y, &bare);

    if (type_is_lost(own) || type_is_lost(other))
        return;
    if (some_x != some_y || (some_x && !same_type(&x, &y, 0)))
        add_difference(work, "the result", some_x ? &x : NULL,
                       some_y ? &y : NULL);
}

static void compare_parameters(struct patas__why *work, const Dwarf_Die *own,
                               const Dwarf_Die *other)
{
    struct parameters x, y;
    char what[64];

    parameters_of(own, &x);
    parameters_of(other, &y);
    for (size_t i = 0; i < x.count && i < y.count; i++) {
        if (!x.type[i].addr || !y.type[i].addr ||
            same_type(&x.type[i], &y.type[i], 0))
            continue;
        if (i < x.hidden)
            snprintf(what, sizeof what, "the object (this)");
        else
            snprintf(what, sizeof what, "argument %zu", i + 1 - x.hidden);
        add_difference(work, what, &x.type[i], &y.type[i]);
    }
    if (x.count == y.count && x.open == y.open)
        return;
    char text[128];
    snprintf(text, sizeof text, "the number of arguments differs: %zu%s, %zu%s",
             x.count, x.open ? " or more" : "", y.count,
             y.open ? " or more" : "");
    patas__why_add(work, PATAS_WHY_PROTOTYPE, work->why.symbol.address,
                   work->plain, NULL, 0, text);
}

/* The least offset from a function's frame base that is its caller's memory.
 * False if the base is esp, which says nothing of what it was at the entry. */
static bool caller_s_from(const Dwarf_Die *function, Dwarf_Sword *least)
{
    Dwarf_Die copy = *function;
    Dwarf_Attribute attribute;
    Dwarf_Op *ops;
    size_t count;

    if (!dwarf_attr_integrate(&copy, DW_AT_frame_base, &attribute) ||
        dwarf_getlocation(&attribute, &ops, &count) || count != 1)
        return false;
    *least = ops[0].atom == DW_OP_reg5 ? 8 : 0; /* ebp, and what it saved */
    return ops[0].atom == DW_OP_reg5 || ops[0].atom == DW_OP_call_frame_cfa;
}

/* Where the code at `entry` finds a parameter: a register's number, or -1 for
 * the stack. False if debug info doesn't say. */
static bool parameter_place(const Dwarf_Die *function,
                            const Dwarf_Die *parameter, uint64_t entry,
                            int *number)
{
    Dwarf_Sword least;
    Dwarf_Die copy = *parameter;
    Dwarf_Attribute attribute;
    Dwarf_Op *ops;
    size_t count;

    if (!dwarf_attr(&copy, DW_AT_location, &attribute) ||
        dwarf_getlocation_addr(&attribute, entry, &ops, &count, 1) != 1 ||
        count == 0)
        return false;
    bool in_register = ops[0].atom >= DW_OP_reg0 && ops[0].atom <= DW_OP_reg7;
    *number = in_register ? (int)ops[0].atom - DW_OP_reg0 : -1;
    /* Below that it is where the function itself put it. */
    return in_register ||
           (ops[0].atom == DW_OP_fbreg && caller_s_from(function, &least) &&
            (Dwarf_Sword)ops[0].number >= least);
}

/* Siblings may lie: they go forward, or end. */
static bool next_parameter(Dwarf_Die *at, bool first)
{
    Dwarf_Die next;

    while (first ? !dwarf_child(at, &next) : !dwarf_siblingof(at, &next)) {
        if (dwarf_dieoffset(&next) <= dwarf_dieoffset(at))
            return false;
        *at = next;
        first = false;
        if (dwarf_tag(at) == DW_TAG_formal_parameter)
            return true;
    }
    return false;
}

/* 32-bit x86 passes arguments on the stack, but for functions that say
 * otherwise, and for static ones whose callers the compiler knows all of: gcc
 * and clang choose registers for those, from -O1 on. */
static void compare_places(struct patas__why *work, const Dwarf_Die *own,
                           const Dwarf_Die *other, uint64_t other_entry)
{
    static const char *const places[] = {"on the stack", "in eax", "in ecx",
                                         "in edx",       "in ebx", "in esp",
                                         "in ebp",       "in esi", "in edi"};
    Dwarf_Die x = *own, y = *other;
    bool first = true;

    for (size_t i = 1; next_parameter(&x, first) && next_parameter(&y, first);
         i++) {
        int here, there;
        char text[128];
        first = false;
        if (!parameter_place(own, &x, work->value, &here) ||
            !parameter_place(other, &y, other_entry, &there) || here == there)
            continue;
        snprintf(text, sizeof text,
                 "argument %zu comes %s, the replacement's %s (regparm, "
                 "fastcall)",
                 i, places[here + 1], places[there + 1]);
        patas__why_add(work, PATAS_WHY_PROTOTYPE, work->why.symbol.address,
                       work->plain, NULL, 0, text);
    }
}

void patas__why_types(struct patas__why *work, uintptr_t replacement)
{
    Dwarf_Die other;

    if (!replacement || !work->has_die)
        return;
    struct patas__module *module = patas__module_around(replacement);
    if (module)
        patas__module_read(module);
    if (!module || !patas__die_at(module, replacement - module->bias, &other)) {
        patas__why_add(work, PATAS_WHY_NO_DEBUG_INFO, replacement,
                       "the replacement", NULL, 0,
                       "no debug info: its type is not compared");
        return;
    }
    compare_results(work, &work->die, &other);
    compare_parameters(work, &work->die, &other);
    if (sizeof(void *) == 4)
        compare_places(work, &work->die, &other, replacement - module->bias);
}
