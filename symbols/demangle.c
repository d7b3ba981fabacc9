/* SPDX-License-Identifier: MIT */
/*
 * Demangled names, and which of them a user means.
 *
 *     llvm::X<int>::run(int) const       demangled
 *     llvm::X<int>::run(int)             means that one,
 *     llvm::X<int>::run                  that and its overloads,
 *     llvm::X::run                       and those of every X.
 */
#include "internal.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

enum {
    DEMANGLE_MAX = 16384
}; /* bytes of a mangled name; real ones are less */

bool patas__is_mangled(const char *name)
{
    return name[0] == '_' &&
           (name[1] == 'Z' ||
            (name[1] == 'R' && isupper((unsigned char)name[2])));
}

/* What the compiler appended is no part of the mangled name. */
static char *without_suffix(const char *name)
{
    size_t base = patas__base_length(name);
    return base < DEMANGLE_MAX ? strndup(name, base) : NULL;
}

char *patas__demangle(const char *name)
{
    if (!patas__is_mangled(name))
        return NULL;
    char *base = without_suffix(name);
    if (!base)
        return NULL;
    char *plain = patas__demangle_rust(base);
    if (!plain && base[1] == 'Z')
        plain = patas__demangle_cxx(base);
    free(base);
    return plain;
}

/* Where the parameters begin: the parenthesis that the last one closes, behind
 * it only qualifiers. The length of the text if there are none. */
static size_t parameters_at(const char *plain)
{
    size_t at = strlen(plain), depth = 0;

    while (at > 0 && plain[at - 1] != ')') {
        char c = plain[at - 1];
        if (!islower((unsigned char)c) && c != ' ' && c != '&')
            return strlen(plain);
        at--;
    }
    while (at > 0) {
        at--;
        if (plain[at] == ')')
            depth++;
        if (plain[at] == '(' && --depth == 0)
            break;
    }
    /* "operator()" without parameters, and "(anonymous namespace)::f". */
    if (at == 0 || (at >= 8 && !memcmp(plain + at - 8, "operator", 8)))
        return strlen(plain);
    return at;
}

static bool is_word(char c)
{
    return isalnum((unsigned char)c) || c == '_' || c == '$';
}

/* The length of an operator's name at `text`, which begins with "operator". */
static size_t operator_length(const char *text)
{
    size_t at = 8;

    if (is_word(text[at]))
        return 0;
    if (!strncmp(text + at, "()", 2) || !strncmp(text + at, "[]", 2))
        return at + 2;
    at += strspn(text + at, "<>=!+-*/%^&|~,");
    return at > 8 ? at : 0;
}

/*
 * Copies [plain, plain + size) in the form in which names are compared: no
 * blanks but between words, with or without template arguments, no ABI tags.
 */
static void squeeze(const char *plain, size_t size, bool keep_arguments,
                    char *out)
{
    size_t depth = 0, length = 0;
    char last = 0;

    for (size_t i = 0; i < size && plain[i]; i++) {
        size_t skip = 0;
        if (!strncmp(plain + i, "operator", 8) && (i == 0 || !is_word(last)))
            skip = operator_length(plain + i);
        if (skip && i + skip <= size) {
            if (!depth || keep_arguments) {
                memcpy(out + length, plain + i, skip);
                length += skip;
            }
            last = plain[i + skip - 1];
            i += skip - 1;
            continue;
        }
        if (plain[i] == '[' && !strncmp(plain + i, "[abi:", 5)) {
            while (i + 1 < size && plain[i] != ']')
                i++;
            continue;
        }
        if (plain[i] == '<' && !keep_arguments) {
            /* Rust's f::<T>. */
            if (!depth && length > 2 && !memcmp(out + length - 2, "::", 2))
                length -= 2;
            depth++;
        }
        bool blank = plain[i] == ' ' &&
                     !(is_word(last) && i + 1 < size && is_word(plain[i + 1]));
        if (!depth && !blank)
            out[length++] = plain[i];
        last = plain[i];
        if (plain[i] == '>' && !keep_arguments && depth)
            depth--;
    }
    out[length] = 0;
}

/* Function templates are demangled with their return type: what is before the
 * last blank outside of all brackets. */
static const char *without_type(const char *name)
{
    size_t depth = 0, at = strlen(name);
    const char *word = strstr(name, "operator");

    while (word && word != name && is_word(word[-1]))
        word = strstr(word + 1, "operator");
    if (word)
        at = (size_t)(word - name);
    while (at-- > 0) {
        if (name[at] == '>' || name[at] == ')')
            depth++;
        else if ((name[at] == '<' || name[at] == '(') && depth)
            depth--;
        else if (name[at] == ' ' && !depth)
            return name + at + 1;
    }
    return name;
}

static bool squeezed_equal(const char *plain, size_t size, const char *wanted,
                           bool keep_arguments, char *one, char *two)
{
    squeeze(plain, size, keep_arguments, one);
    squeeze(wanted, strlen(wanted), true, two);
    return !strcmp(one, two) || !strcmp(without_type(one), two);
}

bool patas__plain_matches(const char *plain, const char *wanted)
{
    size_t size = strlen(plain), name = parameters_at(plain);
    bool parameters = parameters_at(wanted) < strlen(wanted);
    char *room = malloc(2 * (size + strlen(wanted) + 2));
    char *two = room ? room + size + strlen(wanted) + 2 : NULL;
    bool same = false;

    if (!room)
        return false;
    if (parameters) {
        size_t close = (size_t)(strrchr(plain, ')') - plain) + 1;
        same = squeezed_equal(plain, size, wanted, true, room, two) ||
               (name < size &&
                squeezed_equal(plain, close, wanted, true, room, two));
    } else {
        same = squeezed_equal(plain, name, wanted, true, room, two) ||
               (!strchr(wanted, '<') &&
                squeezed_equal(plain, name, wanted, false, room, two));
    }
    free(room);
    return same;
}
