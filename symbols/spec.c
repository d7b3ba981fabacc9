/* SPDX-License-Identifier: MIT */
/*
 * What the user wrote: [FILE.c:]NAME[@MODULE | @VERSION], 0xADDRESS[@MODULE].
 */
#include "internal.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

/* "GLIBC_2.14" rather than "libc": a version that some module knows. */
static bool is_version(const char *text)
{
    for (struct patas__module *m = patas__modules(); m; m = m->next) {
        if (patas__module_named(m, text, strlen(text)))
            return false;
    }
    for (struct patas__module *m = patas__modules(); m; m = m->next) {
        patas__module_read(m);
        for (unsigned i = 0; i <= PATAS__VERSIONS_MAX; i++) {
            if (m->versions[i] && !strcmp(m->versions[i], text))
                return true;
        }
    }
    return false;
}

/* The colon of "json.c:parse", which is none of those of "Ns::f". */
static char *lone_colon(char *text)
{
    char *colon = strchr(text, ':');

    if (!colon || colon == text || colon[1] == ':' || !colon[1])
        return NULL;
    *colon = 0;
    bool file = strchr(text, '.') && !strpbrk(text, "<>() ");
    *colon = ':';
    return file ? colon : NULL;
}

static bool looks_plain(const char *name)
{
    return strstr(name, "::") || strpbrk(name, "(<{ ") ||
           !strncmp(name, "operator", 8);
}

static bool parse_address(struct patas__spec *spec)
{
    char *end;

    if (strncmp(spec->name, "0x", 2) || !isxdigit((unsigned char)spec->name[2]))
        return !isdigit((unsigned char)spec->name[0]);
    spec->address = strtoull(spec->name, &end, 16);
    spec->has_address = true;
    spec->absolute = !spec->module;
    return !*end && !spec->file && !spec->version;
}

bool patas__spec_parse(const char *text, struct patas__spec *spec)
{
    char *rest = NULL;

    memset(spec, 0, sizeof *spec);
    if (!text || !*text)
        return false;
    spec->text = strdup(text);
    if (!spec->text)
        return false;
    char *at = strchr(spec->text + 1, '@');
    if (at)
        *at++ = 0;
    for (char *part = at ? strtok_r(at, "@", &rest) : NULL; part;
         part = strtok_r(NULL, "@", &rest)) {
        const char **field = is_version(part) ? &spec->version : &spec->module;
        if (*field)
            return false;
        *field = part;
    }
    if (at && !spec->module && !spec->version)
        return false;
    spec->name = spec->text;
    char *colon = lone_colon(spec->text);
    if (colon) {
        *colon = 0;
        spec->file = spec->text;
        spec->name = colon + 1;
    }
    spec->plain = looks_plain(spec->name);
    /* "operator*", "f(char*)" and "T[3]" are names. */
    spec->any = strpbrk(spec->name, "*?[") && !strchr(spec->name, '(') &&
                !strstr(spec->name, "operator");
    return *spec->name && parse_address(spec);
}

void patas__spec_free(struct patas__spec *spec)
{
    free(spec->text);
    spec->text = NULL;
}

bool patas__spec_wants(const struct patas__spec *spec,
                       const struct patas__module *module)
{
    if (!spec->module)
        return !module->vdso;
    return patas__module_named(module, spec->module, strlen(spec->module));
}
