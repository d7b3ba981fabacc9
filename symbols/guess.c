/* SPDX-License-Identifier: MIT */
/*
 * What a name that is not there may have meant: one that is a slip of the keys
 * away, one that begins by it, a clone of it, the same in another namespace.
 */
#include "internal.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum {
    GUESS_LENGTH = 64,       /* bytes of a name that is compared */
    GUESS_DEMANGLED = 20000, /* names that are demangled for it, at most */
    GUESS_NONE = 1000
};

struct guess {
    struct patas__module *module;
    const struct patas__symbol *symbol;
    unsigned distance;
};

struct guesses {
    struct guess best[PATAS__GUESSES];
    size_t count;
};

static unsigned least(unsigned a, unsigned b)
{
    return a < b ? a : b;
}

/* Letters to insert, to delete, to replace, to swap with their neighbour
 * (Damerau and Levenshtein), or GUESS_NONE for more than `limit`. */
static unsigned guess_distance(const char *a, size_t a_length, const char *b,
                               size_t b_length, unsigned limit)
{
    unsigned rows[3][GUESS_LENGTH + 1];
    unsigned *before = rows[0], *last = rows[1], *row = rows[2];

    /* What both begin and end with costs nothing: mostly nearly all. */
    while (a_length && b_length && *a == *b) {
        a++, b++;
        a_length--, b_length--;
    }
    while (a_length && b_length && a[a_length - 1] == b[b_length - 1])
        a_length--, b_length--;
    if (a_length > GUESS_LENGTH || b_length > GUESS_LENGTH ||
        a_length > b_length + limit || b_length > a_length + limit)
        return GUESS_NONE;
    for (unsigned k = 0; k <= b_length; k++)
        last[k] = k;
    for (unsigned i = 1; i <= a_length; i++) {
        unsigned lowest = row[0] = i;
        for (unsigned k = 1; k <= b_length; k++) {
            row[k] = least(least(last[k], row[k - 1]) + 1,
                           last[k - 1] + (a[i - 1] != b[k - 1]));
            if (i > 1 && k > 1 && a[i - 1] == b[k - 2] && a[i - 2] == b[k - 1])
                row[k] = least(row[k], before[k - 2] + 1);
            lowest = least(lowest, row[k]);
        }
        if (lowest > limit)
            return GUESS_NONE;
        unsigned *spare = before;
        before = last;
        last = row;
        row = spare;
    }
    return last[b_length] > limit ? GUESS_NONE : last[b_length];
}

/* As far as a wrong name may be off: none, one or two letters. */
static unsigned guess_limit(size_t length)
{
    return length < 3 ? 0 : length < 6 ? 1 : 2;
}

/* Smaller is nearer. The program's own names are nearer than a library's. */
static unsigned guess_score(const char *wanted, size_t wanted_length,
                            const char *name)
{
    size_t length = strcspn(name + (*name != 0), "@") + (*name != 0);
    size_t base = patas__base_length(name);

    if (base == wanted_length && !memcmp(name, wanted, base))
        return 0; /* a clone of it */
    if (length == wanted_length && !strncasecmp(name, wanted, length))
        return 1;
    unsigned distance = guess_distance(wanted, wanted_length, name, length,
                                       guess_limit(wanted_length));
    if (distance != GUESS_NONE)
        return 2 * distance;
    if (wanted_length >= 3 && length > wanted_length &&
        length <= 2 * wanted_length && !strncmp(name, wanted, wanted_length))
        return 6;
    const char *stripped = name + strspn(name, "_");
    if (stripped != name && !strncmp(stripped, wanted, wanted_length) &&
        !stripped[wanted_length])
        return 5;
    return GUESS_NONE;
}

static void guess_keep(struct guesses *guesses, struct guess guess)
{
    size_t at = guesses->count;

    for (size_t i = 0; i < guesses->count; i++) {
        const struct guess *other = &guesses->best[i];
        if (other->module == guess.module &&
            other->symbol->value == guess.symbol->value)
            return;
    }
    while (at > 0 && guesses->best[at - 1].distance > guess.distance)
        at--;
    if (at == PATAS__GUESSES)
        return;
    if (guesses->count < PATAS__GUESSES)
        guesses->count++;
    memmove(&guesses->best[at + 1], &guesses->best[at],
            (guesses->count - at - 1) * sizeof guess);
    guesses->best[at] = guess;
}

/* "K::m" may mean "Ns::K::m(int)": the same behind a namespace. */
static bool ends_by(char *plain, const char *wanted)
{
    for (char *at = strstr(plain, "::"); at; at = strstr(at + 2, "::")) {
        if (patas__plain_matches(at + 2, wanted))
            return true;
    }
    return false;
}

/* The last identifier of a demangled name, without its parameters. */
static const char *last_word(char *plain)
{
    plain[strcspn(plain, "(<")] = 0;
    char *word = strrchr(plain, ':');
    return word ? word + 1 : plain;
}

/* The identifier that is looked for stands in a mangled name as it is, but for
 * the slips: of one piece more than there may be slips, one is spared. */
static bool may_be_plain(const char *name, const char *word, size_t length)
{
    size_t pieces = guess_limit(length) + 1, at = 0, left = strlen(name);

    for (size_t i = 0; i < pieces; i++) {
        size_t end = length * (i + 1) / pieces;
        if (end == at || memmem(name, left, word + at, end - at))
            return true;
        at = end;
    }
    return false;
}

static unsigned guess_plain_score(const char *wanted, const char *name)
{
    char *plain = patas__demangle(name);
    unsigned score = GUESS_NONE;

    if (plain && ends_by(plain, wanted)) {
        score = 1;
    } else if (plain) {
        char *copy = strdup(wanted);
        if (copy) {
            const char *a = last_word(copy), *b = last_word(plain);
            unsigned distance = guess_distance(a, strlen(a), b, strlen(b),
                                               guess_limit(strlen(a)));
            if (distance != GUESS_NONE)
                score = 3 + 2 * distance;
        }
        free(copy);
    }
    free(plain);
    return score;
}

static void guess_in(const struct patas__spec *spec,
                     struct patas__module *module, size_t *demangled,
                     struct guesses *guesses)
{
    size_t length = strlen(spec->name);
    char *copy = strdup(spec->name);
    const char *word = copy ? last_word(copy) : "";
    size_t word_length = strlen(word);

    for (uint32_t i = 0; i < module->count; i++) {
        struct guess guess = {module, &module->symbols[i], GUESS_NONE};
        const char *name = patas__name(module, guess.symbol);
        if (!patas__is_mangled(name))
            guess.distance = guess_score(spec->name, length, name);
        else if (may_be_plain(name, word, word_length) &&
                 ++*demangled < GUESS_DEMANGLED)
            guess.distance = guess_plain_score(spec->name, name);
        if (guess.distance == GUESS_NONE)
            continue;
        guess.distance = guess.distance * 2 + !module->program;
        guess_keep(guesses, guess);
    }
    free(copy);
}

void patas__guess(const struct patas__spec *spec,
                  struct patas__matches *matches)
{
    struct guesses guesses = {.count = 0};
    size_t demangled = 0;

    if (spec->has_address || spec->any)
        return;
    for (struct patas__module *m = patas__modules(); m; m = m->next) {
        if (!m->vdso && patas__spec_wants(spec, m))
            guess_in(spec, m, &demangled, &guesses);
    }
    /* The file or the module may be what is wrong. */
    if (!guesses.count && (spec->module || spec->file || spec->version)) {
        struct patas__spec bare = *spec;
        bare.module = bare.file = bare.version = NULL;
        patas__find(&bare, matches);
        if (matches->count > PATAS__GUESSES)
            matches->count = PATAS__GUESSES;
    }
    for (size_t i = 0; i < guesses.count; i++)
        patas__matches_add(matches, guesses.best[i].module,
                           guesses.best[i].symbol);
}
