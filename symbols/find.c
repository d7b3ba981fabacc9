/* SPDX-License-Identifier: MIT */
/*
 * Specs to functions.
 *
 * One address is one function, however many names it has. patas_find() takes
 * the functions of the best rank; two of them are an ambiguity.
 */
#include "why.h"

#include <ctype.h>
#include <dlfcn.h>
#include <errno.h>
#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
#if defined(__i386__)
    FIND_IRELATIVE = R_386_IRELATIVE
#elif defined(__aarch64__)
    FIND_IRELATIVE = R_AARCH64_IRELATIVE
#else
    FIND_IRELATIVE = R_X86_64_IRELATIVE
#endif
};

/* Words that the compiler appends to a name that still means the same. */
static bool same_function_suffix(const char *rest)
{
    static const char *const words[] = {".lto_priv.", ".localalias", ".llvm."};

    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        size_t length = strlen(words[i]);
        if (!strncmp(rest, words[i], length) &&
            !strpbrk(rest + length + strspn(rest + length, "0123456789."),
                     "abcdefghijklmnopqrstuvwxyz"))
            return true;
    }
    return false;
}

static bool name_is(const char *name, const char *wanted)
{
    size_t length = strlen(wanted);

    if (strncmp(name, wanted, length))
        return false;
    const char *rest = name + length;
    return !*rest || *rest == '@' || same_function_suffix(rest);
}

static bool version_is(const struct patas__module *module,
                       const struct patas__symbol *symbol, const char *version)
{
    const char *name = patas__name(module, symbol);
    const char *own = strchr(name + 1, '@');

    if (own)
        return !strcmp(own + strspn(own, "@"), version);
    return module->versions[symbol->version] &&
           !strcmp(module->versions[symbol->version], version);
}

static bool path_ends(const char *path, const char *end)
{
    size_t length = strlen(path), want = strlen(end);

    return length >= want && !strcmp(path + length - want, end) &&
           (length == want || path[length - want - 1] == '/');
}

/* A static function's file is told by the symbol before it; that of others, or
 * after link-time optimization, by debug info. */
static bool file_is(struct patas__module *module,
                    const struct patas__symbol *symbol, const char *file)
{
    const char *own = module->strings[symbol->strings].bytes + symbol->file;
    const char *source;
    unsigned line;

    if (symbol->file && path_ends(own, file))
        return true;
    return patas__source_line(module, symbol->value, &source, &line) &&
           path_ends(source, file);
}

static bool symbol_fits(const struct patas__spec *spec,
                        struct patas__module *module,
                        const struct patas__symbol *symbol)
{
    return (!spec->version || version_is(module, symbol, spec->version)) &&
           (!spec->file || file_is(module, symbol, spec->file));
}

static const char *match_name(const struct patas__match *match)
{
    return match->symbol->name ? patas__name(match->module, match->symbol) : "";
}

/* Lower is better. */
static unsigned rank_of(const struct patas__match *match)
{
    unsigned flags = match->symbol->flags;
    const char *name = match_name(match);

    if (flags & PATAS_SYMBOL_UNTYPED)
        return 5;
    if (flags & PATAS_SYMBOL_PROGRAM)
        return 0;
    if (match->module->vdso)
        return 4;
    if ((flags & PATAS_SYMBOL_OLD) ||
        (strchr(name, '@') && !strstr(name, "@@")))
        return 1;
    if (flags & PATAS_SYMBOL_EXPORTED)
        return 0;
    return match->module->loader ? 3 : 2;
}

static size_t matches_place(const struct patas__matches *matches,
                            const struct patas__module *module, uint64_t value)
{
    uint64_t hash = ((uintptr_t)module >> 4 ^ value) * 0x9e3779b97f4a7c15;
    size_t mask = 2 * matches->capacity - 1, at = (size_t)(hash >> 32) & mask;

    for (; matches->places[at]; at = (at + 1) & mask) {
        const struct patas__match *item =
            &matches->items[matches->places[at] - 1];
        if (item->module == module && item->symbol &&
            item->symbol->value == value)
            break;
    }
    return at;
}

/* Twice as many places as items, found by hash: `*` matches half a million. */
static bool matches_grow(struct patas__matches *matches)
{
    size_t capacity = matches->capacity ? matches->capacity * 2 : 16;
    void *grown = realloc(matches->items, capacity * sizeof *matches->items);

    if (grown)
        matches->items = grown;
    uint32_t *places =
        grown ? calloc(2 * capacity, sizeof *matches->places) : NULL;
    if (!places)
        return false;
    free(matches->places);
    matches->places = places;
    matches->capacity = capacity;
    for (size_t i = 0; i < matches->count; i++) {
        const struct patas__match *item = &matches->items[i];
        if (item->symbol)
            places[matches_place(matches, item->module, item->symbol->value)] =
                (uint32_t)i + 1;
    }
    return true;
}

void patas__matches_add(struct patas__matches *matches,
                        struct patas__module *module,
                        const struct patas__symbol *symbol)
{
    struct patas__match new = {.module = module, .symbol = symbol};

    if (matches->count == matches->capacity && !matches_grow(matches)) {
        matches->failed = true;
        return;
    }
    size_t place = matches_place(matches, module, symbol->value);
    if (matches->places[place]) {
        struct patas__match *old = &matches->items[matches->places[place] - 1];
        if (rank_of(&new) < rank_of(old))
            old->symbol = symbol;
        return;
    }
    matches->items[matches->count++] = new;
    matches->places[place] = (uint32_t)matches->count;
}

void patas__matches_free(struct patas__matches *matches)
{
    free(matches->items);
    free(matches->places);
}

void patas__keep_best(struct patas__matches *matches)
{
    unsigned best = ~0u;
    size_t kept = 0;

    for (size_t i = 0; i < matches->count; i++) {
        unsigned rank = rank_of(&matches->items[i]);
        best = rank < best ? rank : best;
    }
    for (size_t i = 0; i < matches->count; i++) {
        struct patas__match *from = &matches->items[i];
        struct patas__match *to = &matches->items[kept];
        if (rank_of(from) != best)
            continue;
        bool nameless = from->symbol == &from->made_up;
        *to = *from;
        if (nameless)
            to->symbol = &to->made_up;
        kept++;
    }
    matches->count = kept;
}

static void find_exact(const struct patas__spec *spec,
                       struct patas__module *module,
                       struct patas__matches *matches)
{
    uint32_t at =
        patas__lookup_first(module, spec->name, patas__base_length(spec->name));

    for (; at; at = patas__lookup_next(module, at)) {
        const struct patas__symbol *symbol = &module->symbols[at - 1];
        if (name_is(patas__name(module, symbol), spec->name) &&
            symbol_fits(spec, module, symbol))
            patas__matches_add(matches, module, symbol);
    }
}

static void find_glob(const struct patas__spec *spec,
                      struct patas__module *module,
                      struct patas__matches *matches)
{
    for (uint32_t i = 0; i < module->count; i++) {
        const struct patas__symbol *symbol = &module->symbols[i];
        const char *name = patas__name(module, symbol);
        char plain[512];
        size_t length = strcspn(name + 1, "@") + 1;
        if (length < sizeof plain && name[length]) {
            memcpy(plain, name, length);
            plain[length] = 0;
            name = plain;
        }
        char *demangled = spec->plain ? patas__demangle(name) : NULL;
        if (!fnmatch(spec->name, demangled ? demangled : name, 0) &&
            symbol_fits(spec, module, symbol))
            patas__matches_add(matches, module, symbol);
        free(demangled);
    }
}

enum {
    FIND_WORDS = 8
};

/* What stands in a name and, letter by letter, in its mangled form: the
 * identifiers outside of template arguments and parameters. */
struct find_words {
    const char *at[FIND_WORDS];
    size_t length[FIND_WORDS];
    struct patas__signature signature[FIND_WORDS];
    size_t count;
};

static bool starts_word(char c)
{
    return isalpha((unsigned char)c) || c == '_';
}

static bool is_abbreviated(const char *word, size_t length)
{
    static const char *const words[] = {
        "std",           "allocator",      "basic_string", "string",
        "basic_istream", "istream",        "ostream",      "basic_ostream",
        "iostream",      "basic_iostream", "operator",     "anonymous",
        "namespace",     "char_traits"};

    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        if (strlen(words[i]) == length && !memcmp(words[i], word, length))
            return true;
    }
    return false;
}

static void find_words_of(const char *name, struct find_words *words)
{
    size_t depth = 0;
    const char *end = name + strlen(name);

    words->count = 0;
    for (const char *at = name; at < end && *at != '(';) {
        if (!strncmp(at, "operator", 8) && !isalnum((unsigned char)at[8]) &&
            at[8] != '_')
            break; /* mangled to two letters */
        if (*at == '<')
            depth++;
        if (*at == '>' && depth)
            depth--;
        if (depth || !starts_word(*at)) {
            at++;
            continue;
        }
        const char *from = at;
        while (at < end && (isalnum((unsigned char)*at) || *at == '_'))
            at++;
        size_t length = (size_t)(at - from);
        if (length < 2 || words->count == FIND_WORDS ||
            is_abbreviated(from, length))
            continue;
        patas__signature_of(from, length, &words->signature[words->count]);
        words->at[words->count] = from;
        words->length[words->count++] = length;
    }
}

static bool has_words(const struct patas__module *module, uint32_t index,
                      const struct find_words *words)
{
    const struct patas__signature *own = &module->signatures[index];
    const char *name;

    if (!own->words[0] && !own->words[1])
        return false;
    for (size_t i = 0; i < words->count; i++) {
        for (size_t k = 0; k < PATAS__SIGNATURE; k++) {
            if (words->signature[i].words[k] & ~own->words[k])
                return false;
        }
    }
    name = patas__name(module, &module->symbols[index]);
    for (size_t i = 0; i < words->count; i++) {
        if (!memmem(name, strlen(name), words->at[i], words->length[i]))
            return false;
    }
    return true;
}

/* K::~K has a form that also frees; it ends by the one that everybody calls. */
static bool is_deleting_destructor(const char *name)
{
    const char *at = strstr(name, "D0Ev");
    return at && !at[4];
}

static void find_plain(const struct patas__spec *spec,
                       struct patas__module *module,
                       struct patas__matches *matches)
{
    struct find_words words;

    find_words_of(spec->name, &words);
    if (!patas__signatures(module)) {
        matches->failed = true;
        return;
    }
    for (uint32_t i = 0; i < module->count; i++) {
        const struct patas__symbol *symbol = &module->symbols[i];
        const char *name = patas__name(module, symbol);
        if (!has_words(module, i, &words))
            continue;
        const char *rest = name + patas__base_length(name);
        if ((*rest == '.' && !same_function_suffix(rest)) ||
            is_deleting_destructor(name))
            continue;
        char *plain = patas__demangle(name);
        if (plain && patas__plain_matches(plain, spec->name) &&
            symbol_fits(spec, module, symbol))
            patas__matches_add(matches, module, symbol);
        free(plain);
    }
}

static void find_address(const struct patas__spec *spec,
                         struct patas__module *module,
                         struct patas__matches *matches)
{
    uint64_t value = spec->address - (spec->absolute ? module->bias : 0);

    if (!patas__module_is_code(module, value))
        return;
    const struct patas__symbol *symbol = patas__lookup_address(module, value);
    if (symbol && symbol->value == value) {
        patas__matches_add(matches, module, symbol);
        return;
    }
    /* No symbol names it; the engine knows whether a function begins there. */
    static const struct patas__symbol nameless;
    patas__matches_add(matches, module, &nameless);
    if (matches->failed)
        return;
    struct patas__match *match = &matches->items[matches->count - 1];
    match->made_up.value = value;
    match->made_up.flags =
        module->program ? PATAS_SYMBOL_PROGRAM : PATAS_SYMBOL_STATIC;
    match->symbol = NULL; /* set when the array moves no more */
}

typedef void find_fn(const struct patas__spec *, struct patas__module *,
                     struct patas__matches *);

static void find_by(const struct patas__spec *spec,
                    struct patas__matches *matches, find_fn *how)
{
    for (struct patas__module *m = patas__modules(); m; m = m->next) {
        if (patas__spec_wants(spec, m)) {
            patas__module_read(m);
            how(spec, m, matches);
        }
    }
}

void patas__find(const struct patas__spec *spec, struct patas__matches *matches)
{
    if (spec->has_address) {
        find_by(spec, matches, find_address);
        for (size_t i = 0; i < matches->count; i++) {
            if (!matches->items[i].symbol)
                matches->items[i].symbol = &matches->items[i].made_up;
        }
    } else if (spec->any) {
        find_by(spec, matches, find_glob);
    } else {
        find_by(spec, matches, find_exact);
        if (!matches->count)
            find_by(spec, matches, find_plain);
    }
}

/* What the file has at `value`: the addend of a relocation that has none of its
 * own. In memory the loader wrote over it. */
static bool addend_in_file(const struct patas__module *module, uint64_t value,
                           uintptr_t *addend)
{
    for (unsigned i = 0; i < module->phdr_count; i++) {
        const ElfW(Phdr) *phdr = &module->phdr[i];
        if (phdr->p_type == PT_LOAD && value >= phdr->p_vaddr &&
            value - phdr->p_vaddr < phdr->p_filesz)
            return pread(module->fd, addend, sizeof *addend,
                         (off_t)(phdr->p_offset + value - phdr->p_vaddr)) ==
                   (ssize_t)sizeof *addend;
    }
    return false;
}

/* The one at `index`, of either kind of table. */
static bool irelative_at(const struct patas__module *module, GElf_Word type,
                         Elf_Data *data, int index, GElf_Rela *rela)
{
    GElf_Rel rel;

    if (type == SHT_RELA)
        return gelf_getrela(data, index, rela) != NULL;
    if (!gelf_getrel(data, index, &rel))
        return false;
    *rela = (GElf_Rela){rel.r_offset, rel.r_info, 0};
    uintptr_t addend;
    if (GELF_R_TYPE(rel.r_info) == FIND_IRELATIVE &&
        addend_in_file(module, rel.r_offset, &addend))
        rela->r_addend = (GElf_Sxword)addend;
    return true;
}

static bool irelative_add(struct patas__module *module, const GElf_Rela *rela)
{
    size_t count = module->irelative_count;

    if (count >= 64 ? !(count & (count - 1)) : !count) {
        size_t capacity = count ? count * 2 : 64;
        void *grown =
            realloc(module->irelatives, capacity * sizeof *module->irelatives);
        if (!grown)
            return false;
        module->irelatives = grown;
    }
    module->irelatives[module->irelative_count++] =
        (struct patas__irelative){(uint64_t)rela->r_addend, rela->r_offset};
    return true;
}

/* IRELATIVE relocations of a module's own file: what the loader wrote there is
 * the implementation in use, also for IFUNCs that are static. */
static void irelatives_read(struct patas__module *module)
{
    Elf_Scn *section = NULL;
    GElf_Shdr header;

    module->irelatives_read = true;
    while (module->elf && (section = elf_nextscn(module->elf, section))) {
        if (!gelf_getshdr(section, &header) ||
            (header.sh_type != SHT_RELA && header.sh_type != SHT_REL))
            continue;
        Elf_Data *data = elf_getdata(section, NULL);
        GElf_Rela rela;
        for (int i = 0;
             data && irelative_at(module, header.sh_type, data, i, &rela);
             i++) {
            if (GELF_R_TYPE(rela.r_info) == FIND_IRELATIVE &&
                patas__module_holds(module, rela.r_offset, sizeof(uintptr_t)) &&
                rela.r_offset % sizeof(uintptr_t) == 0 &&
                !irelative_add(module, &rela))
                return;
        }
    }
}

static bool is_code_of_any(uintptr_t address)
{
    for (struct patas__module *m = patas__modules(); m; m = m->next) {
        if (patas__module_is_code(m, address - m->bias))
            return true;
    }
    return false;
}

/* By the module's own slots. */
static uintptr_t ifunc_in_module(struct patas__module *module,
                                 const struct patas__symbol *symbol)
{
    uintptr_t resolver = module->bias + (uintptr_t)symbol->value;

    if (!module->irelatives_read)
        irelatives_read(module);
    for (size_t i = 0; i < module->irelative_count; i++) {
        if (module->irelatives[i].resolver != symbol->value)
            continue;
        uintptr_t choice =
            *(const uintptr_t *)(module->bias +
                                 (uintptr_t)module->irelatives[i].slot);
        if (choice != resolver && is_code_of_any(choice))
            return choice;
    }
    return 0;
}

/* By the slots of all modules: the engine reads their tables, so none may be
 * unloaded meanwhile. */
static uintptr_t ifunc_in_slots(uintptr_t resolver)
{
    patas_plan_info info = {.size = sizeof info};

    (void)patas_plan((patas_fn)resolver, &info, NULL);
    return info.entry != resolver ? info.entry : 0;
}

uintptr_t patas__ifunc_choice(struct patas__module *module,
                              const struct patas__symbol *symbol)
{
    uintptr_t choice = ifunc_in_module(module, symbol);

    if (!choice)
        choice = ifunc_in_slots(module->bias + (uintptr_t)symbol->value);
    return is_code_of_any(choice) ? choice : 0;
}

/* The dynamic linker asks the resolver. Not under our lock: a thread in
 * dlopen() holds the linker's while it waits for ours (pending.c). */
static void ifunc_ask_linker(patas_symbol *symbol)
{
    if (!symbol->resolver || symbol->address ||
        !(symbol->flags & PATAS_SYMBOL_EXPORTED))
        return;
    void *handle =
        dlopen(symbol->flags & PATAS_SYMBOL_PROGRAM ? NULL : symbol->module,
               RTLD_LAZY | RTLD_NOLOAD);
    if (!handle)
        return;
    void *found = *symbol->version
                      ? dlvsym(handle, symbol->name, symbol->version)
                      : dlsym(handle, symbol->name);
    symbol->address = (uintptr_t)found;
    dlclose(handle);
}

/* What its own module doesn't tell, the linker does; and no module is unloaded
 * while it looks. Who may not ask it reads slots. */
static void ifunc_ask(patas_symbol *symbol, bool ask_linker)
{
    if (ask_linker)
        ifunc_ask_linker(symbol);
    if (symbol->resolver && !symbol->address)
        symbol->address = ifunc_in_slots(symbol->resolver);
}

static const char *symbol_version(const struct patas__match *match)
{
    const char *name = match_name(match);
    const char *at = strchr(name, '@');

    if (at)
        return at + strspn(at, "@");
    const char *version = match->module->versions[match->symbol->version];
    return version ? version : "";
}

static char *symbol_spec(struct patas__arena *arena, const patas_symbol *out,
                         const struct patas__match *match)
{
    const char *base = patas__module_base(match->module);

    if (!*out->name)
        return patas__arena_print(
            arena, "0x%llx@%s", (unsigned long long)match->symbol->value, base);
    if (out->flags & PATAS_SYMBOL_OLD)
        return patas__arena_print(arena, "%s@%s@%s", out->name, out->version,
                                  base);
    return patas__arena_print(arena, "%s%s%s@%s", out->file,
                              *out->file ? ":" : "", out->plain, base);
}

void patas__symbol_copy(struct patas__arena *arena,
                        const struct patas__match *match, patas_symbol *out)
{
    struct patas__module *module = match->module;
    const struct patas__symbol *symbol = match->symbol;
    bool nameless = !symbol->name;
    const char *name = match_name(match);
    size_t length = *name ? strcspn(name + 1, "@") + 1 : 0;
    char *plain = patas__demangle(name);

    out->flags = symbol->flags;
    out->address = module->bias + (uintptr_t)symbol->value;
    if (symbol->flags & PATAS_SYMBOL_IFUNC) {
        out->resolver = out->address;
        out->address = ifunc_in_module(module, symbol);
    }
    out->name = patas__arena_print(arena, "%.*s", (int)length, name);
    out->plain = plain ? patas__arena_text(arena, plain) : out->name;
    out->version = patas__arena_text(arena, symbol_version(match));
    out->module = patas__arena_text(arena, module->path);
    const char *file =
        symbol->file && (symbol->flags & PATAS_SYMBOL_STATIC)
            ? module->strings[symbol->strings].bytes + symbol->file
            : "";
    out->file = patas__arena_text(arena, patas__short_path(file));
    if (!nameless && patas__base_length(name) < length &&
        !same_function_suffix(name + patas__base_length(name)))
        out->flags |= PATAS_SYMBOL_CLONE;
    if (strchr(name, '@') && !strstr(name, "@@"))
        out->flags |= PATAS_SYMBOL_OLD;
    out->size = symbol->size;
    if (!arena->failed)
        out->spec = symbol_spec(arena, out, match);
    free(plain);
}

struct found_owner {
    patas_found found; /* first: what the caller has */
    struct patas__arena arena;
};

/* dlmopen() makes namespaces, and glibc since 2.35 a list of them, whose end
 * each debugger knows (<link.h>). They stay as long as the process. */
static bool other_namespaces(void)
{
#if defined(__GLIBC__) && __GLIBC_PREREQ(2, 35)
    const struct r_debug_extended *at =
        (const struct r_debug_extended *)(const void *)&_r_debug;

    while (at->base.r_version >= 2 && at->r_next) {
        at = at->r_next;
        if (at->base.r_map)
            return true;
    }
#endif
    return false;
}

static bool has_section(struct patas__module *module, const char *name)
{
    GElf_Shdr header;

    return patas__elf_section(module->elf, name, &header) ||
           patas__elf_section(module->debug_elf, name, &header);
}

/* The module that the spec is about: the program, if it says nothing. */
static struct patas__module *spec_module(const struct patas__spec *spec)
{
    for (struct patas__module *m = patas__modules(); m; m = m->next) {
        if (spec->module ? patas__spec_wants(spec, m) : m->program)
            return m;
    }
    return NULL;
}

/* Why it may be there all the same; `guessed` if there are names instead. */
static void miss_text(struct patas__text *text, const struct patas__spec *spec,
                      bool guessed)
{
    struct patas__module *module = spec_module(spec);
    const char *base = module ? patas__module_base(module) : spec->module;

    if (!module && base) {
        patas__text_add(text, " Nothing that is loaded is called %s.", base);
    } else if (module && !module->vdso && !spec->has_address) {
        patas__module_read(module);
        if (module->stale)
            patas__text_add(text,
                            " The file of %s was replaced since it was "
                            "loaded: only what it exports has a name.",
                            base);
        else if (!has_section(module, ".symtab") &&
                 !has_section(module, ".gnu_debugdata"))
            patas__text_add(text,
                            " %s is stripped: only what it exports has a "
                            "name. Install its debug symbols, or say which "
                            "by address (0x1234@%s).",
                            base, base);
        else if (!guessed && !has_section(module, ".debug_info") &&
                 !has_section(module, ".zdebug_info"))
            patas__text_add(text,
                            " %s has no debug info: a function that was "
                            "inlined everywhere leaves no trace in it.",
                            base);
    }
    if (other_namespaces())
        patas__text_add(text, " What dlmopen() loaded into other namespaces "
                              "was not searched.");
}

static const char *found_text(struct found_owner *owner, const char *spec,
                              const struct patas__spec *parsed,
                              size_t libraries, const char *program)
{
    struct patas__text text = {0};
    const patas_found *found = &owner->found;

    if (found->count == 0) {
        patas__text_add(&text,
                        parsed->has_address
                            ? "%s: no code there in %s or its %zu libraries."
                            : "%s: no such function in %s or its %zu "
                              "libraries.",
                        spec, program, libraries);
        for (size_t i = 0; i < found->guess_count; i++)
            patas__text_add(&text, "%s%s", i ? ", " : " Did you mean ",
                            found->guesses[i]);
        if (found->guess_count)
            patas__text_add(&text, "?");
        miss_text(&text, parsed, found->guess_count > 0);
    } else if (found->count > 1) {
        patas__text_add(&text, "%s: %zu functions have that name:", spec,
                        found->count);
        for (size_t i = 0; i < found->count && i < 20; i++)
            patas__text_add(&text, " %s ", found->symbols[i].spec);
        patas__text_add(&text, "%s",
                        found->count > 20 ? "... Say which." : "Say which.");
    }
    const char *copy = patas__arena_text(&owner->arena, text.bytes);
    free(text.bytes);
    return copy;
}

static void found_fill(struct found_owner *owner, const char *spec,
                       const struct patas__spec *parsed,
                       const struct patas__matches *matches,
                       const struct patas__matches *guesses)
{
    struct patas__arena *arena = &owner->arena;
    patas_found *found = &owner->found;
    size_t libraries = 0;
    const char *program = "the program";
    patas_symbol *symbols =
        patas__arena_take(arena, (matches->count + 1) * sizeof *symbols);
    const char **texts =
        patas__arena_take(arena, (guesses->count + 1) * sizeof *texts);

    for (struct patas__module *m = patas__modules(); m; m = m->next) {
        if (m->program)
            program = patas__short_path(m->path);
        else if (!m->vdso)
            libraries++;
    }
    for (size_t i = 0; symbols && i < matches->count; i++)
        patas__symbol_copy(arena, &matches->items[i], &symbols[i]);
    for (size_t i = 0; texts && i < guesses->count; i++) {
        patas_symbol symbol;
        patas__symbol_copy(arena, &guesses->items[i], &symbol);
        if (!arena->failed)
            texts[i] = guesses->items[i].symbol->flags & PATAS_SYMBOL_PROGRAM
                           ? symbol.plain
                           : symbol.spec;
    }
    if (arena->failed)
        return;
    found->count = matches->count;
    found->symbols = symbols;
    found->guess_count = guesses->count;
    found->guesses = texts;
    found->text = found_text(owner, spec, parsed, libraries, program);
}

/* Under the lock: everything about `spec`; of the best rank only, or all. */
static patas_status find_locked(const char *text, bool best,
                                struct found_owner *owner, patas_error *error)
{
    struct patas__spec spec;
    struct patas__matches matches = {0}, guesses = {0};
    patas_status status = PATAS_OK;

    if (!patas__spec_parse(text, &spec)) {
        patas__spec_free(&spec);
        return patas__symbols_fail(error, PATAS_ERR_ARGUMENT, 0);
    }
    patas__find(&spec, &matches);
    if (best)
        patas__keep_best(&matches);
    if (!matches.count) {
        if (!best) /* whoever wants the one gets a status, and no text */
            patas__guess(&spec, &guesses);
        status = patas__symbols_fail(error, PATAS_ERR_NOT_FOUND, 0);
    }
    found_fill(owner, text, &spec, &matches, &guesses);
    if (matches.failed || owner->arena.failed)
        status = patas__symbols_fail(error, PATAS_ERR_NO_MEMORY, ENOMEM);
    patas__matches_free(&matches);
    patas__matches_free(&guesses);
    patas__spec_free(&spec);
    return status;
}

struct find_how {
    bool best;       /* of the best rank only */
    bool ask_linker; /* for what an IFUNC stands for, if it must be */
};

static patas_status find_owner(const char *spec, struct find_how how,
                               struct found_owner **result, patas_error *error)
{
    struct found_owner *owner = calloc(1, sizeof *owner);

    *result = NULL;
    if (!owner)
        return patas__symbols_fail(error, PATAS_ERR_NO_MEMORY, ENOMEM);
    patas_status status = patas__symbols_enter(error);
    if (status == PATAS_OK) {
        status = find_locked(spec, how.best, owner, error);
        patas__symbols_leave();
    }
    if (status != PATAS_OK && status != PATAS_ERR_NOT_FOUND) {
        patas_found_free(&owner->found);
        return status;
    }
    for (size_t i = 0; i < owner->found.count; i++)
        ifunc_ask((patas_symbol *)&owner->found.symbols[i], how.ask_linker);
    *result = owner;
    return status;
}

patas_status patas_find_all(const char *spec, patas_found **found,
                            patas_error *error)
{
    struct found_owner *owner;

    if (!found)
        return patas__symbols_fail(error, PATAS_ERR_ARGUMENT, 0);
    const struct find_how how = {false, true};
    patas_status status = find_owner(spec, how, &owner, error);
    *found = owner ? &owner->found : NULL;
    return status;
}

void patas_found_free(patas_found *found)
{
    struct found_owner *owner = (struct found_owner *)found;

    if (owner) {
        patas__arena_free(&owner->arena);
        free(owner);
    }
}

/* Two names of one implementation, such as an IFUNC and its only choice. */
static bool one_address(const patas_found *found)
{
    for (size_t i = 1; i < found->count; i++) {
        if (found->symbols[i].address != found->symbols[0].address)
            return false;
    }
    return found->count > 0;
}

patas_status patas__find_best(const char *spec, bool ask_linker,
                              patas_found **found, patas_error *error)
{
    struct found_owner *owner;
    const struct find_how how = {true, ask_linker};
    patas_status status = find_owner(spec, how, &owner, error);

    *found = owner ? &owner->found : NULL;
    if (status == PATAS_OK && !one_address(*found))
        status = patas__symbols_fail(error, PATAS_ERR_AMBIGUOUS, 0);
    return status;
}

patas_status patas__find_one(const char *spec, bool ask_linker,
                             patas_fn *function, patas_error *error)
{
    patas_found *found;

    *function = NULL;
    patas_status status = patas__find_best(spec, ask_linker, &found, error);
    if (status == PATAS_OK && !found->symbols[0].address)
        status = patas__symbols_fail(error, PATAS_ERR_UNSUPPORTED, 0);
    else if (status == PATAS_OK)
        *function = (patas_fn)found->symbols[0].address;
    patas_found_free(found);
    return status;
}

patas_status patas_find(const char *spec, patas_fn *function,
                        patas_error *error)
{
    if (!function)
        return patas__symbols_fail(error, PATAS_ERR_ARGUMENT, 0);
    return patas__find_one(spec, true, function, error);
}
