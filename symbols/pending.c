/* SPDX-License-Identifier: MIT */
/*
 * Replacing by name, and names that are not loaded yet.
 *
 * The dynamic linker calls an empty function, r_brk, each time its list
 * changed: debuggers have their breakpoint there (System V ABI, <link.h>).
 * patas replaces it. At that moment the new module is mapped and on the list,
 * nothing is relocated, and no constructor has run, so the first call of the
 * function is already the replacement's. dlopen() itself can't be replaced for
 * this: it looks at its return address, to know whose RUNPATH counts.
 *
 * What an IFUNC stands for is known only when its module is relocated: then the
 * module's DT_INIT is replaced, too, which runs before its constructors.
 *
 * The linker's lock is held by the thread that is there. So nothing in this
 * library asks the linker for anything while it holds the lock that is taken
 * here.
 */
#include "why.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

struct patas_pending {
    struct patas_pending *next; /* an older one: of a smaller id */
    uint64_t id;
    char *spec;
    patas_fn replacement;
    patas_options options;
    patas_patch *patch;
    patas_error error; /* why there is no patch yet */
};

/* A module's initializer that is waited for. */
struct pending_init {
    struct pending_init *next;
    uintptr_t address;
    patas_patch *patch;
};

static pthread_mutex_t pending_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_t pending_owner;
static int pending_locked;
static struct patas_pending *pending_list;
static patas_patch *pending_hook; /* on r_brk */
static struct pending_init *pending_inits;

/* A thread that is interrupted by dlopen() within this file comes again. */
static bool pending_enter(void)
{
    if (__atomic_load_n(&pending_locked, __ATOMIC_ACQUIRE) &&
        pthread_equal(pending_owner, pthread_self()))
        return false;
    pthread_mutex_lock(&pending_lock);
    pending_owner = pthread_self();
    __atomic_store_n(&pending_locked, 1, __ATOMIC_RELEASE);
    return true;
}

static void pending_leave(void)
{
    __atomic_store_n(&pending_locked, 0, __ATOMIC_RELEASE);
    pthread_mutex_unlock(&pending_lock);
}

static patas_status replace_at(patas_fn target, patas_fn replacement,
                               const patas_options *options,
                               patas_patch **patch, patas_error *error)
{
    patas_options own = {sizeof own, 0, NULL};

    if (options && options->size != sizeof own)
        return patas__symbols_fail(error, PATAS_ERR_ARGUMENT, 0);
    if (options)
        own = *options;
    own.flags |= PATAS_ENTRY;
    return patas_replace_with(target, replacement, &own, patch, error);
}

patas_status patas_replace_name(const char *spec, patas_fn replacement,
                                const patas_options *options,
                                patas_patch **patch, patas_error *error)
{
    if (!patch)
        return patas__symbols_fail(error, PATAS_ERR_ARGUMENT, 0);
    patas_fn target;
    *patch = NULL;
    patas_status status = patas_find(spec, &target, error);
    if (status != PATAS_OK)
        return status;
    return replace_at(target, replacement, options, patch, error);
}

bool patas__module_text_relocated(const struct patas__module *module)
{
    GElf_Shdr header;
    Elf_Scn *section = patas__elf_section(module->elf, ".dynamic", &header);
    Elf_Data *data = section ? elf_getdata(section, NULL) : NULL;
    GElf_Dyn entry;
    bool relocated = false;

    for (int i = 0; data && gelf_getdyn(data, i, &entry); i++)
        relocated |=
            entry.d_tag == DT_TEXTREL ||
            (entry.d_tag == DT_FLAGS && (entry.d_un.d_val & DF_TEXTREL));
    return relocated;
}

/* Relocations that the linker is about to write into code would spoil a patch,
 * or the patch them. */
static bool text_is_relocated(const char *spec)
{
    struct patas__spec parsed;
    bool relocated = false;

    if (patas__symbols_enter(NULL) != PATAS_OK)
        return true;
    if (patas__spec_parse(spec, &parsed)) {
        struct patas__matches matches = {0};
        patas__find(&parsed, &matches);
        for (size_t i = 0; i < matches.count; i++)
            relocated |= patas__module_text_relocated(matches.items[i].module);
        patas__matches_free(&matches);
    }
    patas__spec_free(&parsed);
    patas__symbols_leave();
    return relocated;
}

/* Under our lock, for which a thread in dlopen() may wait: the linker is not
 * asked. */
static void pending_try(struct patas_pending *one, bool relocating)
{
    patas_fn target;

    if (one->patch || (relocating && text_is_relocated(one->spec)))
        return;
    if (patas__find_one(one->spec, false, &target, &one->error) == PATAS_OK)
        (void)replace_at(target, one->replacement, &one->options, &one->patch,
                         &one->error);
}

/* Not under our lock: an IFUNC may be one that only the linker can resolve. */
static void pending_try_linker(struct patas_pending *one)
{
    patas_fn target;

    if (one->patch || one->error.status != PATAS_ERR_UNSUPPORTED ||
        patas_find(one->spec, &target, NULL) != PATAS_OK || !pending_enter())
        return;
    if (!one->patch)
        (void)replace_at(target, one->replacement, &one->options, &one->patch,
                         &one->error);
    pending_leave();
}

/* bias + DT_INIT, or 0. The tag is not among those that glibc relocates. */
static uintptr_t initializer_of(const struct patas__module *module)
{
    for (unsigned i = 0; i < module->phdr_count; i++) {
        const ElfW(Phdr) *phdr = &module->phdr[i];
        if (phdr->p_type != PT_DYNAMIC ||
            !patas__module_holds(module, phdr->p_vaddr, phdr->p_memsz))
            continue;
        const ElfW(Dyn) *entry =
            (const ElfW(Dyn) *)(module->bias + phdr->p_vaddr);
        size_t count = phdr->p_memsz / sizeof *entry;
        for (; count-- && entry->d_tag != DT_NULL; entry++) {
            if (entry->d_tag == DT_INIT &&
                patas__module_is_code(module, entry->d_un.d_ptr))
                return module->bias + entry->d_un.d_ptr;
        }
    }
    return 0;
}

enum {
    INITS_AT_ONCE = 8
}; /* modules that have one IFUNC's name */

/* The initializers of modules whose IFUNCs have that name. */
static size_t initializers(const char *spec, uintptr_t *out)
{
    struct patas__spec parsed;
    size_t count = 0;

    if (patas__symbols_enter(NULL) != PATAS_OK)
        return 0;
    if (patas__spec_parse(spec, &parsed)) {
        struct patas__matches matches = {0};
        patas__find(&parsed, &matches);
        for (size_t i = 0; i < matches.count && count < INITS_AT_ONCE; i++) {
            const struct patas__match *match = &matches.items[i];
            if ((match->symbol->flags & PATAS_SYMBOL_IFUNC) &&
                !patas__ifunc_choice(match->module, match->symbol))
                out[count++] = initializer_of(match->module);
        }
        patas__matches_free(&matches);
    }
    patas__spec_free(&parsed);
    patas__symbols_leave();
    return count;
}

/* What is put in the initializer's place; tells by its context which it is. */
PATAS__HIDDEN void patas__pending_init(int count, char **words,
                                       char **environment);
PATAS_CONTEXT_ENTRY(patas__pending_init_entry, patas__pending_init);

/* Under our lock. */
static void wait_for_init(uintptr_t address)
{
    struct pending_init *init = pending_inits;

    while (init && init->address != address)
        init = init->next;
    /* One that was unloaded since left a stale patch. */
    if (!address || (init && patas_original(init->patch)))
        return;
    bool known = init != NULL;
    if (!known && !(init = calloc(1, sizeof *init)))
        return;
    const patas_options options = {sizeof options, PATAS_ENTRY, init};
    init->address = address;
    if (patas_replace_with((patas_fn)address, patas__pending_init_entry,
                           &options, &init->patch, NULL) == PATAS_OK &&
        !known) {
        init->next = pending_inits;
        pending_inits = init;
    } else if (!known) {
        free(init);
    }
}

static void pending_wait(const struct patas_pending *one)
{
    uintptr_t found[INITS_AT_ONCE];

    if (one->patch || one->error.status != PATAS_ERR_UNSUPPORTED)
        return;
    size_t count = initializers(one->spec, found);
    for (size_t i = 0; i < count; i++)
        wait_for_init(found[i]);
}

static struct patas_pending *pending_unresolved(uint64_t below)
{
    for (struct patas_pending *one = pending_list; one; one = one->next) {
        if (one->id >= below)
            continue;
        pending_try(one, false);
        if (!one->patch && one->error.status == PATAS_ERR_UNSUPPORTED)
            return one;
    }
    return NULL;
}

/* Another thread may forget a name while the linker is asked for it. */
static void pending_found(uint64_t id, patas_fn target)
{
    struct patas_pending *one = pending_list;

    while (one && one->id != id)
        one = one->next;
    if (one && !one->patch)
        (void)replace_at(target, one->replacement, &one->options, &one->patch,
                         &one->error);
}

/* In the thread that is in dlopen(), with the module relocated: the linker may
 * be asked while our lock is not held. */
static void pending_resolve(void)
{
    uint64_t id = UINT64_MAX;

    for (;;) {
        patas_fn target;
        if (!pending_enter())
            return;
        const struct patas_pending *one = pending_unresolved(id);
        char *spec = one ? strdup(one->spec) : NULL;
        id = one ? one->id : id;
        pending_leave();
        if (!spec)
            return;
        patas_status status = patas_find(spec, &target, NULL);
        free(spec);
        if (status == PATAS_OK && pending_enter()) {
            pending_found(id, target);
            pending_leave();
        }
    }
}

void patas__pending_init(int count, char **words, char **environment)
{
    struct pending_init *init = patas_context();
    int saved = errno;
    patas_fn original = patas_original(init->patch);

    if (original)
        ((void (*)(int, char **, char **))original)(count, words, environment);
    pending_resolve();
    if (pending_enter()) {
        struct pending_init **at = &pending_inits;
        while (*at && *at != init)
            at = &(*at)->next;
        if (*at)
            *at = init->next;
        (void)patas_restore(init->patch, NULL);
        free(init);
        pending_leave();
    }
    errno = saved;
}

static void pending_on_change(void)
{
    patas_fn original = patas_original(pending_hook);
    int saved = errno;

    if (original)
        original();
    if (_r_debug.r_state == RT_CONSISTENT && !patas__symbols_held() &&
        pending_enter()) {
        for (struct patas_pending *one = pending_list; one; one = one->next) {
            pending_try(one, true);
            pending_wait(one);
        }
        pending_leave();
    }
    errno = saved;
}

/* Again, if somebody restored all patches meanwhile. */
static patas_status pending_watch(patas_error *error)
{
    const patas_options options = {sizeof options, PATAS_ENTRY, NULL};

    if (pending_hook && patas_original(pending_hook))
        return PATAS_OK;
    if (!_r_debug.r_brk) /* a static program loads nothing */
        return patas__symbols_fail(error, PATAS_ERR_UNSUPPORTED, 0);
    return patas_replace_with((patas_fn)_r_debug.r_brk, pending_on_change,
                              &options, &pending_hook, error);
}

static bool may_come(patas_status status)
{
    return status == PATAS_ERR_NOT_FOUND || status == PATAS_ERR_UNSUPPORTED;
}

static struct patas_pending *pending_new(const char *spec, patas_fn replacement,
                                         const patas_options *options)
{
    struct patas_pending *one = calloc(1, sizeof *one);

    if (!one || !(one->spec = strdup(spec))) {
        free(one);
        return NULL;
    }
    one->replacement = replacement;
    one->options.size = sizeof one->options;
    if (options)
        one->options = *options;
    return one;
}

patas_status patas_replace_pending(const char *spec, patas_fn replacement,
                                   const patas_options *options,
                                   patas_pending **pending, patas_error *error)
{
    patas_status status = PATAS_OK;

    if (!pending || !spec || !replacement ||
        (options && options->size != sizeof *options))
        return patas__symbols_fail(error, PATAS_ERR_ARGUMENT, 0);
    *pending = NULL;
    struct patas_pending *one = pending_new(spec, replacement, options);
    if (!one)
        return patas__symbols_fail(error, PATAS_ERR_NO_MEMORY, ENOMEM);
    if (!pending_enter()) {
        status = patas__symbols_fail(error, PATAS_ERR_BUSY, 0);
    } else {
        /* Watched before it is looked for: a dlopen() between the two is
         * waited for by whoever it is in. */
        status = pending_watch(error);
        if (status == PATAS_OK) {
            pending_try(one, false);
            if (!one->patch && !may_come(one->error.status)) {
                status = one->error.status;
                if (error)
                    *error = one->error;
            } else {
                one->id = pending_list ? pending_list->id + 1 : 0;
                one->next = pending_list;
                pending_list = one;
                *pending = one;
            }
        }
        pending_leave();
    }
    if (*pending) {
        pending_try_linker(one);
    } else {
        free(one->spec);
        free(one);
    }
    return status;
}

patas_patch *patas_pending_patch(const patas_pending *pending,
                                 patas_error *error)
{
    struct patas_pending *one = (struct patas_pending *)(uintptr_t)pending;
    patas_patch *patch = NULL;

    if (!one) {
        patas__symbols_fail(error, PATAS_ERR_ARGUMENT, 0);
        return NULL;
    }
    if (!pending_enter()) {
        patas__symbols_fail(error, PATAS_ERR_BUSY, 0);
        return NULL;
    }
    pending_try(one, false);
    pending_leave();
    pending_try_linker(one);
    patch = one->patch;
    if (!patch && error)
        *error = one->error;
    return patch;
}

void patas_pending_free(patas_pending *pending)
{
    if (!pending || !pending_enter())
        return;
    for (struct patas_pending **at = &pending_list; *at; at = &(*at)->next) {
        if (*at == pending) {
            *at = pending->next;
            break;
        }
    }
    pending_leave();
    free(pending->spec);
    free(pending);
}
