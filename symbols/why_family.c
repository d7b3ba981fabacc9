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
        if (address && work->items[i].address == address &&
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

/* What the C library calls one and the same service, %s being its name. Those
 * that it has are named, whichever of them was asked for. */
static const char *const family_forms[] = {
    "%s",          "%s64",          "__%s",          "__%s64",
    "__%s_2",      "__%s64_2",      "__%s_chk",      "__%s64_chk",
    "__libc_%s",   "__libc_%s64",   "__isoc99_%s",   "__isoc23_%s",
    "__GI_%s",     "__GI___%s",     "__%s_nocancel", "__%s64_nocancel",
    "%s_unlocked", "__%s_unlocked", "__%s_time64",   "__%s64_time64",
};

/* Services that go together, without the forms of each. */
static const char *const families[][12] = {
    {"open", "openat", "creat", "open_by_handle_at"},
    {"stat", "lstat", "fstat", "fstatat", "__xstat", "__lxstat", "__fxstat",
     "__fxstatat", "statx"},
    {"read", "pread", "readv", "preadv", "preadv2", "recv", "recvfrom",
     "recvmsg", "recvmmsg"},
    {"write", "pwrite", "writev", "pwritev", "pwritev2", "send", "sendto",
     "sendmsg", "sendmmsg"},
    {"malloc", "calloc", "realloc", "reallocarray", "aligned_alloc", "memalign",
     "posix_memalign", "valloc", "pvalloc"},
    {"mmap", "mremap", "munmap", "mprotect"},
    {"time", "gettimeofday", "clock_gettime", "timespec_get", "ftime"},
    {"sleep", "usleep", "nanosleep", "clock_nanosleep"},
    {"localtime", "localtime_r", "gmtime", "gmtime_r"},
    {"fopen", "freopen", "fdopen", "fopencookie"},
    {"close", "close_range", "closefrom"},
    {"dup", "dup2", "dup3", "fcntl"},
    {"exit", "_exit", "_Exit", "quick_exit", "abort"},
    {"fork", "vfork", "_Fork", "clone", "posix_spawn", "posix_spawnp"},
    {"execve", "execv", "execvp", "execvpe", "execl", "execle", "execlp",
     "execveat", "fexecve"},
    {"system", "popen"},
    {"kill", "raise", "tgkill", "killpg", "sigqueue", "pthread_kill"},
    {"signal", "sigaction", "sigset", "bsd_signal", "ssignal"},
    {"accept", "accept4"},
    {"poll", "ppoll", "select", "pselect", "epoll_wait", "epoll_pwait",
     "epoll_pwait2"},
    {"getaddrinfo", "gethostbyname", "gethostbyname2", "gethostbyname_r",
     "gethostbyname2_r"},
    {"rand", "rand_r", "random", "random_r", "drand48", "lrand48", "arc4random",
     "getrandom", "getentropy"},
    {"getenv", "secure_getenv"},
    {"printf", "vprintf", "fprintf", "vfprintf", "dprintf", "vdprintf"},
    {"sprintf", "vsprintf", "snprintf", "vsnprintf", "asprintf", "vasprintf"},
    {"scanf", "vscanf", "fscanf", "vfscanf", "sscanf", "vsscanf"},
    {"strtol", "strtoul", "strtoll", "strtoull"},
    {"dlopen", "dlmopen"},
    {"pthread_mutex_lock", "pthread_mutex_trylock", "pthread_mutex_timedlock",
     "pthread_mutex_clocklock"},
    {"pthread_cond_wait", "pthread_cond_timedwait", "pthread_cond_clockwait"},
};

static bool is_nocancel(const char *name)
{
    return strstr(name, "_nocancel") != NULL;
}

/* One that the module has, at another address; `same` if it is the very
 * service that was asked for. */
static void family_try(struct patas__why *work, struct patas__module *module,
                       const char *name, bool same)
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
            module->bias + symbol->value == work->why.symbol.resolver ||
            same_place(work, address))
            return;
        bool hidden = symbol->flags & PATAS_SYMBOL_STATIC;
        size_t calls =
            hidden || is_nocancel(name)
                ? patas__count_calls(module, symbol->value, symbol->size)
                : 0;
        if (calls) {
            snprintf(text, sizeof text,
                     "%s, and the library itself calls it in %zu %s: not "
                     "replaced",
                     same ? "does the same" : "belongs with it", calls,
                     calls == 1 ? "place" : "places");
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

static bool family_has(const char *const *family, const char *name)
{
    for (size_t i = 0; i < 12 && family[i]; i++) {
        if (!strcmp(family[i], name))
            return true;
    }
    return false;
}

static bool is_in_a_family(const char *name)
{
    for (size_t i = 0; i < sizeof families / sizeof *families; i++) {
        if (family_has(families[i], name))
            return true;
    }
    return false;
}

static bool is_exported(const struct patas__module *module, const char *name)
{
    uint32_t at = patas__lookup_first(module, name, patas__base_length(name));
    char text[256];

    for (; at; at = patas__lookup_next(module, at)) {
        const struct patas__symbol *symbol = &module->symbols[at - 1];
        plain_name(patas__name(module, symbol), text, sizeof text);
        if (!strcmp(text, name) && (symbol->flags & PATAS_SYMBOL_EXPORTED))
            return true;
    }
    return false;
}

/* The service that `name` is a form of: "open" for "__open64_2". The shortest
 * that the library offers; `name` itself if it is none. */
static void family_base(const struct patas__module *module, const char *name,
                        char *base, size_t size)
{
    char part[256];
    size_t length = strlen(name);

    snprintf(base, size, "%s", name);
    if (is_in_a_family(name))
        return;
    for (size_t i = 0; i < sizeof family_forms / sizeof *family_forms; i++) {
        const char *form = family_forms[i], *hole = strstr(form, "%s");
        size_t head = (size_t)(hole - form), tail = strlen(hole + 2);
        if (length <= head + tail || memcmp(name, form, head) ||
            strcmp(name + length - tail, hole + 2))
            continue;
        snprintf(part, sizeof part, "%.*s", (int)(length - head - tail),
                 name + head);
        if (strlen(part) < strlen(base) &&
            (is_in_a_family(part) || is_exported(module, part)))
            snprintf(base, size, "%s", part);
    }
}

/* Those of `work->name` itself are copies, and told as such. */
static void family_forms_of(struct patas__why *work,
                            struct patas__module *module, const char *name,
                            bool same)
{
    char form[256];

    for (size_t i = 0; i < sizeof family_forms / sizeof *family_forms; i++) {
        const char *hole = strstr(family_forms[i], "%s");
        snprintf(form, sizeof form, "%.*s%s%s", (int)(hole - family_forms[i]),
                 family_forms[i], name, hole + 2);
        if (strcmp(form, work->name))
            family_try(work, module, form, same);
    }
}

/* `open` is meant whichever of its family is asked for. */
static void family_kin(struct patas__why *work, struct patas__module *module)
{
    char base[256];

    family_base(module, work->name, base, sizeof base);
    family_forms_of(work, module, base, true);
    for (size_t i = 0; i < sizeof families / sizeof *families; i++) {
        if (!family_has(families[i], base))
            continue;
        for (size_t k = 0; k < 12 && families[i][k]; k++)
            family_forms_of(work, module, families[i][k], false);
    }
}

/* Whether the module is the C library: what makes `open` that `open`. */
static bool is_libc(const struct patas__module *module)
{
    return patas__module_named(module, "libc", 4) ||
           strstr(module->path, "/ld-musl-");
}

static bool is_engine(const struct patas__module *module)
{
    uintptr_t engine = (uintptr_t)patas_replace;
    uintptr_t names = (uintptr_t)patas__why_family;

    return patas__module_is_code(module, engine - module->bias) ||
           patas__module_is_code(module, names - module->bias);
}

void patas__why_family(struct patas__why *work)
{
    family_aliases(work);
    patas__why_clones(work);
    for (struct patas__module *m = patas__modules(); m; m = m->next) {
        /* The engine's own memcpy is nobody's copy. */
        if (m->vdso || (m != work->module && !m->program && is_engine(m)))
            continue;
        patas__module_read(m);
        family_same_name(work, m);
    }
    /* time() is the C library's, and its code the kernel's. */
    struct patas__module *owner =
        work->why.symbol.resolver
            ? patas__module_around(work->why.symbol.resolver)
            : work->module;
    if (owner && is_libc(owner))
        family_kin(work, owner);
}
