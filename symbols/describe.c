/* SPDX-License-Identifier: MIT */
/* Addresses to functions, files and lines. */
#include "internal.h"

#include <dwarf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *patas__short_path(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

/* .debug_aranges, where there is one; clang writes none. Lines are in the
 * skeleton where the rest of a unit is in a .dwo file. */
static bool unit_of(Dwarf *dwarf, uint64_t value, Dwarf_Die *unit)
{
    Dwarf_CU *cu = NULL;

    if (dwarf_addrdie(dwarf, value, unit))
        return true;
    while (dwarf_get_units(dwarf, cu, &cu, NULL, NULL, unit, NULL) == 0) {
        int tag = dwarf_tag(unit);
        if ((tag == DW_TAG_compile_unit || tag == DW_TAG_skeleton_unit) &&
            dwarf_haspc(unit, value) == 1)
            return true;
    }
    return false;
}

bool patas__source_line(struct patas__module *module, uint64_t value,
                        const char **file, unsigned *line)
{
    Dwarf *dwarf = patas__module_dwarf(module);
    Dwarf_Die unit;
    int number = 0;

    if (!dwarf || !unit_of(dwarf, value, &unit))
        return false;
    Dwarf_Line *found = dwarf_getsrc_die(&unit, value);
    if (!found)
        return false;
    *file = dwarf_linesrc(found, NULL, NULL);
    if (!*file || dwarf_lineno(found, &number) || number < 0)
        return false;
    *line = (unsigned)number;
    return true;
}

struct place_owner {
    patas_place place; /* first: what the caller has */
    struct patas__arena arena;
};

static void place_text(struct place_owner *owner)
{
    struct patas__text text = {0};
    patas_place *place = &owner->place;

    if (*place->function)
        patas__text_add(&text, "%s", place->function);
    if (place->offset || !*place->function)
        patas__text_add(&text, "+0x%llx", (unsigned long long)place->offset);
    if (*place->file)
        patas__text_add(&text, " (%s:%u)", patas__short_path(place->file),
                        place->line);
    patas__text_add(&text, " in %s", patas__short_path(place->module));
    place->text = patas__arena_text(&owner->arena, text.bytes);
    free(text.bytes);
}

static void place_fill(struct place_owner *owner, struct patas__module *module)
{
    patas_place *place = &owner->place;
    struct patas__arena *arena = &owner->arena;
    uint64_t value = place->address - module->bias;
    const char *file = "", *name = "";
    unsigned line = 0;

    patas__module_read(module);
    const struct patas__symbol *symbol = patas__lookup_address(module, value);
    if (symbol) {
        name = patas__name(module, symbol);
        place->entry = module->bias + (uintptr_t)symbol->value;
    }
    char *plain = patas__demangle(name);
    place->function = plain ? patas__arena_text(arena, plain)
                            : patas__arena_print(arena, "%.*s",
                                                 (int)strcspn(name, "@"), name);
    free(plain);
    place->offset = symbol ? value - symbol->value : value;
    if (!patas__source_line(module, value, &file, &line))
        file = "";
    place->module = patas__arena_text(arena, module->path);
    place->file = patas__arena_text(arena, file);
    place->line = line;
    if (!arena->failed)
        place_text(owner);
}

patas_status patas_describe(uintptr_t address, patas_place **place,
                            patas_error *error)
{
    if (!place)
        return patas__symbols_fail(error, PATAS_ERR_ARGUMENT, 0);
    *place = NULL;
    struct place_owner *owner = calloc(1, sizeof *owner);
    if (!owner)
        return patas__symbols_fail(error, PATAS_ERR_NO_MEMORY, ENOMEM);
    patas_status status = patas__symbols_enter(error);
    if (status == PATAS_OK) {
        struct patas__module *module = patas__module_around(address);
        owner->place.address = address;
        if (module)
            place_fill(owner, module);
        else
            status = patas__symbols_fail(error, PATAS_ERR_NOT_FOUND, 0);
        if (owner->arena.failed)
            status = patas__symbols_fail(error, PATAS_ERR_NO_MEMORY, ENOMEM);
        patas__symbols_leave();
    }
    if (status == PATAS_OK)
        *place = &owner->place;
    else
        patas_place_free(&owner->place);
    return status;
}

void patas_place_free(patas_place *place)
{
    struct place_owner *owner = (struct place_owner *)place;

    if (owner) {
        patas__arena_free(&owner->arena);
        free(owner);
    }
}

/* "0x7f12ab" becomes "parse+0x12@app", where that is known. */
static size_t name_address(const char *digits, struct patas__text *out)
{
    char *end;
    uintptr_t address = (uintptr_t)strtoull(digits, &end, 16);
    patas_place *place;
    size_t length = (size_t)(end - digits);

    if (patas_describe(address, &place, NULL) != PATAS_OK) {
        patas__text_add(out, "%.*s", (int)length, digits);
        return length;
    }
    if (*place->function && place->offset)
        patas__text_add(out, "%s+0x%llx@%s", place->function,
                        (unsigned long long)place->offset,
                        patas__short_path(place->module));
    else if (*place->function)
        patas__text_add(out, "%s@%s", place->function,
                        patas__short_path(place->module));
    else
        patas__text_add(out, "0x%llx@%s", (unsigned long long)place->offset,
                        patas__short_path(place->module));
    patas_place_free(place);
    return length;
}

size_t patas_error_text_named(const patas_error *error, char *text, size_t size)
{
    char plain[1024];
    struct patas__text out = {0};

    patas_error_text(error, plain, sizeof plain);
    for (const char *at = plain; *at;) {
        if (at[0] == '0' && at[1] == 'x') {
            at += name_address(at, &out);
        } else {
            patas__text_add(&out, "%c", *at);
            at++;
        }
    }
    int length = snprintf(text, size, "%s", out.bytes ? out.bytes : plain);
    free(out.bytes);
    return length < 0 ? 0 : (size_t)length;
}
