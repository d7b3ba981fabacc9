/* SPDX-License-Identifier: MIT */
/*
 * Other names and other copies of a function, by the symbol tables: aliases,
 * what the compiler made of it, other versions, other modules' functions of
 * that name, and those that the C library has for one and the same service.
 */
#include "why.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uintptr_t address_of(struct patas__module *module,
                            const struct patas__symbol *symbol)
{
    return symbol->flags & PATAS_SYMBOL_IFUNC
               ? patas__ifunc_choice(module, symbol)
               : module->bias + (uintptr_t)symbol->value;
}

static const char *plain_name(const char *name, char *out, size_t size)
{
    snprintf(out, size, "%.*s", (int)strcspn(name, "@"), name);
    return out;
}

static bool seen_before(const struct patas__why *work, const char *name)
{
    for (size_t i = 0; i < work->count; i++) {
        if (!strcmp(work->items[i].name, name))
            return true;
    }
    return false;
}

static bool same_place(const struct patas__why *work, uintptr_t address)
{
    for (size_t i = 0; i < work->count; i++) {
        if (work->items[i].address == address &&
            (work->items[i].kind == PATAS_WHY_BYPASS ||
             work->items[i].kind == PATAS_WHY_FAMILY))
            return true;
    }
    return false;
}

static const char *clone_text(const char *suffix)
{
    if (!strncmp(suffix, ".cold", 5))
        return "its unlikely part, jumped to from inside: covered by a patch";
    if (!strncmp(suffix, ".part", 5))
        return "a part of it, called by those who inlined the rest: a patch "
               "does not reach them";
    if (!strncmp(suffix, ".isra", 5))
        return "a copy with its arguments taken apart: replace that, too";
    if (!strncmp(suffix, ".constprop", 10))
        return "a copy for constant arguments: replace that, too";
    return "a copy that the compiler made: replace that, too";
}

void patas__why_clones(struct patas__why *work)
{
    struct patas__module *module = work->module;
    size_t length = patas__base_length(work->name);
    uint32_t at = patas__lookup_first(module, work->name, length);
    char text[256];

    for (; at; at = patas__lookup_next(module, at)) {
        const struct patas__symbol *symbol = &module->symbols[at - 1];
        const char *name = patas__name(module, symbol);
        if (patas__base_length(name) != length ||
            memcmp(name, work->name, length) || name[length] != '.' ||
            symbol->value == work->value)
            continue;
        plain_name(name, text, sizeof text);
        if (seen_before(work, text))
            continue;
        size_t calls = patas__count_calls(module, symbol->value, symbol->size);
        char words[256];
        snprintf(words, sizeof words, "%s%s", clone_text(name + length),
                 calls ? "" : "; no direct call of it is left");
        patas__why_add(work, PATAS_WHY_CLONE,
                       module->bias + (uintptr_t)symbol->value, text, NULL, 0,
                       words);
    }
}

/* Names at the same address. Whether they are one function or two that the
 * linker folded is for debug info to say (why_debug.c). */
static void family_aliases(struct patas__why *work)
{
    struct patas__module *module = work->module;
    uint32_t at = patas__lookup_from(module, work->value);
    char text[512];

    for (; at < module->count; at++) {
        const struct patas__symbol *symbol =
            &module->symbols[module->by_address[at]];
        if (symbol->value != work->value)
            break;
        plain_name(patas__name(module, symbol), text, sizeof text);
        if (strcmp(text, work->name) && !seen_before(work, text) &&
            !(symbol->flags & PATAS_SYMBOL_UNTYPED))
            patas__why_add(work, PATAS_WHY_ALIAS,
                           module->bias + (uintptr_t)symbol->value, text, NULL,
                           0, "another name of it: replaced along with it");
    }
}

/* Another symbol of that very name. */
static void family_same_name(struct patas__why *work,
                             struct patas__module *module)
{
    size_t length = patas__base_length(work->name);
    uint32_t at = patas__lookup_first(module, work->name, length);
    const struct patas__symbol *last = NULL;

    for (; at; at = patas__lookup_next(module, at)) {
        const struct patas__symbol *symbol = &module->symbols[at - 1];
        const char *name = patas__name(module, symbol);
        size_t own = strcspn(name + 1, "@") + 1;
        if (own != strlen(work->name) || memcmp(name, work->name, own) ||
            (last && last->value == symbol->value) ||
            address_of(module, symbol) == work->why.symbol.address ||
            module->bias + symbol->value == work->why.symbol.resolver)
            continue;
        last = symbol;
        bool old = (symbol->flags & PATAS_SYMBOL_OLD) ||
                   (name[own] == '@' && name[own + 1] != '@');
        if (module == work->module && old)
            patas__why_add(work, PATAS_WHY_VERSION, address_of(module, symbol),
                           work->name, NULL, 0,
                           "an older version, which older programs call");
        else
            patas__why_add(work, PATAS_WHY_COPY, address_of(module, symbol),
                           work->name, module->path, 0,
                           "another function of that name: not replaced");
    }
}

/* %s is the name. Which of them a C library has differs; those that it has are
 * named. */
static const char *const family_forms[] = {
    "%s64",        "__%s",        "__%s64",        "__%s_2",
    "__%s64_2",    "__%s_chk",    "__%s64_chk",    "__libc_%s",
    "__isoc99_%s", "__isoc23_%s", "__%s_nocancel", "__%s64_nocancel",
    "__libc_%s64", "__GI_%s",     "__GI___%s",     "%s_unlocked",
};

static const char *const families[][12] = {
    {"open", "openat", "openat64", "__openat_2", "__openat64_2", "creat"},
    {"stat", "lstat", "fstat", "fstatat", "fstatat64", "__xstat", "__lxstat",
     "__fxstat", "statx", "stat64", "lstat64", "fstat64"},
    {"read", "pread", "pread64", "readv", "recv", "recvfrom"},
    {"write", "pwrite", "pwrite64", "writev", "send", "sendto"},
    {"malloc", "calloc", "realloc", "aligned_alloc", "memalign",
     "posix_memalign", "reallocarray"},
    {"time", "gettimeofday", "clock_gettime", "timespec_get"},
    {"fopen", "freopen", "fdopen", "fopen64"},
    {"exit", "_exit", "_Exit", "quick_exit"},
};

static bool is_nocancel(const char *name)
{
    return strstr(name, "_nocancel") != NULL;
}

/* One that the module has, at another address. */
static void family_try(struct patas__why *work, struct patas__module *module,
                       const char *name)
{
    uint32_t at = patas__lookup_first(module, name, patas__base_length(name));
    char text[256];

    for (; at; at = patas__lookup_next(module, at)) {
        const struct patas__symbol *symbol = &module->symbols[at - 1];
        plain_name(patas__name(module, symbol), text, sizeof text);
        if (strcmp(text, name) || (symbol->flags & PATAS_SYMBOL_OLD))
            continue;
        uintptr_t address = address_of(module, symbol);
        if (address == work->why.symbol.address || seen_before(work, name) ||
            same_place(work, address))
            return;
        bool hidden = symbol->flags & PATAS_SYMBOL_STATIC;
        size_t calls =
            hidden || is_nocancel(name)
                ? patas__count_calls(module, symbol->value, symbol->size)
                : 0;
        if (calls) {
            snprintf(text, sizeof text,
                     "does the same, and the library itself calls it in %zu "
                     "places: not replaced",
                     calls);
            patas__why_add(work, PATAS_WHY_BYPASS, address, name, NULL, 0,
                           text);
        } else if (!hidden) {
            patas__why_add(work, PATAS_WHY_FAMILY, address, name, NULL, 0,
                           "belongs with it; replace that, too, if its calls "
                           "are meant");
        }
        return;
    }
}

/* `open` is meant whichever of its family is asked for. */
static void family_kin(struct patas__why *work)
{
    struct patas__module *module = work->module;
    char name[256];

    for (size_t i = 0; i < sizeof family_forms / sizeof *family_forms; i++) {
        const char *form = family_forms[i], *hole = strstr(form, "%s");
        snprintf(name, sizeof name, "%.*s%s%s", (int)(hole - form), form,
                 work->name, hole + 2);
        family_try(work, module, name);
    }
    for (size_t i = 0; i < sizeof families / sizeof *families; i++) {
        if (strcmp(families[i][0], work->name))
            continue;
        for (size_t k = 1; k < 12 && families[i][k]; k++)
            family_try(work, module, families[i][k]);
    }
}

/* Whether the module is the C library: what makes `open` that `open`. */
static bool is_libc(const struct patas__module *module)
{
    return patas__module_named(module, "libc", 4) ||
           strstr(module->path, "/ld-musl-");
}

void patas__why_family(struct patas__why *work)
{
    family_aliases(work);
    patas__why_clones(work);
    for (struct patas__module *m = patas__modules(); m; m = m->next) {
        if (m->vdso)
            continue;
        patas__module_read(m);
        family_same_name(work, m);
    }
    if (is_libc(work->module))
        family_kin(work);
}
