/* SPDX-License-Identifier: MIT */
/*
 * The indexes of a module's functions.
 *
 * By name: a hash table whose key is the name up to what the compiler or the
 * linker appended, so that one chain has f, f.isra.0, f.cold and f@@V1.
 *
 * By part: C++ and Rust names contain the identifiers of what they are called,
 * each as it is written. 128 bits a name, one for each pair of neighbouring
 * bytes modulo a hash, leave few names to be demangled. Made when first asked
 * for.
 *
 * By address: sorted, made when first asked for.
 */
#include "internal.h"

#include <stdlib.h>
#include <string.h>

const char *patas__name(const struct patas__module *module,
                        const struct patas__symbol *symbol)
{
    return module->strings[symbol->strings].bytes + symbol->name;
}

static const char *const clone_words[] = {
    "isra",           "constprop",      "part",           "cold",
    "lto_priv",       "localalias",     "llvm",           "clone",
    "resume",         "destroy",        "cleanup",        "avx2",
    "avx512f",        "sse4_2",         "default",        "resolver",
    "arch_x86_64_v2", "arch_x86_64_v3", "arch_x86_64_v4",
};

/* What stands behind a dot: a word of a compiler's, or a number. */
static bool is_clone_suffix(const char *text)
{
    if (*text >= '0' && *text <= '9')
        return true;
    for (size_t i = 0; i < sizeof clone_words / sizeof *clone_words; i++) {
        size_t length = strlen(clone_words[i]);
        if (!strncmp(text, clone_words[i], length) &&
            (!text[length] || text[length] == '.'))
            return true;
    }
    return false;
}

size_t patas__base_length(const char *name)
{
    size_t length = strcspn(name + (*name != 0), "@.") + (*name != 0);

    while (name[length] == '.' && !is_clone_suffix(name + length + 1))
        length += 1 + strcspn(name + length + 1, "@.");
    return length;
}

/* FNV-1a, eight bytes a step: names are long, and there are many. */
static uint32_t lookup_hash(const char *name, size_t length)
{
    uint64_t hash = 0xcbf29ce484222325 ^ length;

    for (; length >= 8; length -= 8, name += 8) {
        uint64_t word;
        memcpy(&word, name, 8);
        hash = (hash ^ word) * 0x9e3779b97f4a7c15;
        hash ^= hash >> 32;
    }
    uint64_t last = 0;
    memcpy(&last, name, length);
    hash = (hash ^ last) * 0x9e3779b97f4a7c15;
    return (uint32_t)(hash >> 32);
}

bool patas__lookup_build(struct patas__module *module)
{
    uint32_t buckets = 64;

    while (buckets < module->count && buckets < 1u << 30)
        buckets *= 2;
    module->buckets = calloc(buckets, sizeof *module->buckets);
    module->chain = calloc((size_t)module->count + 1, sizeof *module->chain);
    if (!module->buckets || !module->chain) {
        free(module->buckets);
        module->buckets = NULL;
        return false;
    }
    module->bucket_mask = buckets - 1;
    for (uint32_t i = module->count; i-- > 0;) {
        const char *name = patas__name(module, &module->symbols[i]);
        uint32_t *head =
            &module->buckets[lookup_hash(name, patas__base_length(name)) &
                             module->bucket_mask];
        module->chain[i] = *head;
        *head = i + 1;
    }
    return true;
}

void patas__lookup_free(struct patas__module *module)
{
    free(module->buckets);
    free(module->chain);
    free(module->signatures);
    free(module->by_address);
}

/* Index + 1 of the first symbol in the chain of that base name, or 0. Others
 * may be in the same chain: the caller compares. */
uint32_t patas__lookup_first(const struct patas__module *module,
                             const char *name, size_t length)
{
    if (!module->buckets)
        return 0;
    return module->buckets[lookup_hash(name, length) & module->bucket_mask];
}

uint32_t patas__lookup_next(const struct patas__module *module, uint32_t index)
{
    return module->chain[index - 1];
}

void patas__signature_of(const char *text, size_t length,
                         struct patas__signature *signature)
{
    memset(signature, 0, sizeof *signature);
    for (size_t i = 0; i + 1 < length; i++) {
        unsigned pair =
            (unsigned char)text[i] * 31u + (unsigned char)text[i + 1] * 7u;
        signature->words[pair >> 6 & (PATAS__SIGNATURE - 1)] |= 1ull
                                                                << (pair & 63);
    }
}

bool patas__signatures(struct patas__module *module)
{
    if (module->signatures)
        return true;
    module->signatures =
        calloc((size_t)module->count + 1, sizeof *module->signatures);
    if (!module->signatures)
        return false;
    for (uint32_t i = 0; i < module->count; i++) {
        const char *name = patas__name(module, &module->symbols[i]);
        /* Empty: never a candidate. Clones come by their function. */
        if (patas__is_mangled(name))
            patas__signature_of(name, strlen(name), &module->signatures[i]);
    }
    return true;
}

static const struct patas__module *sorted_module; /* under the lock */

static int by_value(const void *left, const void *right)
{
    const struct patas__symbol *symbols = sorted_module->symbols;
    uint32_t a = *(const uint32_t *)left, b = *(const uint32_t *)right;

    if (symbols[a].value != symbols[b].value)
        return symbols[a].value < symbols[b].value ? -1 : 1;
    return a < b ? -1 : 1;
}

static bool lookup_sort(struct patas__module *module)
{
    if (module->by_address)
        return true;
    uint32_t *order = malloc(((size_t)module->count + 1) * sizeof *order);
    if (!order)
        return false;
    for (uint32_t i = 0; i < module->count; i++)
        order[i] = i;
    sorted_module = module;
    qsort(order, module->count, sizeof *order, by_value);
    module->by_address = order;
    return true;
}

/* The place of the first symbol whose value is not below `value`; the count if
 * there is none. */
uint32_t patas__lookup_from(struct patas__module *module, uint64_t value)
{
    uint32_t low = 0, high = module->count;

    if (!lookup_sort(module))
        return module->count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (module->symbols[module->by_address[middle]].value < value)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* Of several names for one address the one that people know: exported before
 * static, with a type before without, without leading underscores. */
static int lookup_rank(const struct patas__module *module,
                       const struct patas__symbol *symbol)
{
    const char *name = patas__name(module, symbol);
    int rank = 0;

    if (symbol->flags & PATAS_SYMBOL_UNTYPED)
        rank += 8;
    if (!patas__is_mangled(name) && *name == '_')
        rank += 4;
    if (!(symbol->flags & PATAS_SYMBOL_EXPORTED))
        rank += 2;
    if (symbol->flags & PATAS_SYMBOL_OLD)
        rank += 1;
    return rank;
}

const struct patas__symbol *patas__lookup_address(struct patas__module *module,
                                                  uint64_t value)
{
    enum {
        LOOK_BACK = 64
    }; /* nested symbols before the one that spans */
    uint32_t at = patas__lookup_from(module, value + 1);
    const struct patas__symbol *best = NULL;

    for (uint32_t steps = 0; at-- > 0 && steps < LOOK_BACK; steps++) {
        const struct patas__symbol *symbol =
            &module->symbols[module->by_address[at]];
        uint64_t offset = value - symbol->value;
        if (best && symbol->value != best->value)
            break;
        if (offset && symbol->size && offset >= symbol->size)
            continue;
        if (!best || lookup_rank(module, symbol) < lookup_rank(module, best))
            best = symbol;
    }
    return best;
}
