/* SPDX-License-Identifier: MIT */
/*
 * Which files are mapped where, from the dynamic linker's list.
 *
 * The list is asked at each call; its two counters tell in a microsecond that
 * nothing changed. A module that is still there keeps its tables.
 */
#include "internal.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <unistd.h>

static pthread_mutex_t symbols_lock;
static pthread_once_t symbols_once = PTHREAD_ONCE_INIT;
static pthread_t symbols_owner;
static int symbols_locked; /* written under the lock, read by its owner */
static struct patas__module *module_list;
static unsigned long long modules_added, modules_removed;
static bool modules_known;

static void fork_prepare(void)
{
    pthread_mutex_lock(&symbols_lock);
}

static void fork_done(void)
{
    pthread_mutex_unlock(&symbols_lock);
}

static void symbols_start(void)
{
    pthread_mutexattr_t attributes;

    pthread_mutexattr_init(&attributes);
    pthread_mutexattr_settype(&attributes, PTHREAD_MUTEX_ERRORCHECK);
    pthread_mutex_init(&symbols_lock, &attributes);
    pthread_mutexattr_destroy(&attributes);
    pthread_atfork(fork_prepare, fork_done, fork_done);
    elf_version(EV_CURRENT);
}

patas_status patas__symbols_fail(patas_error *error, patas_status status,
                                 int os_errno)
{
    if (error) {
        memset(error, 0, sizeof *error);
        error->status = status;
        error->os_errno = os_errno;
    }
    return status;
}

bool patas__symbols_held(void)
{
    return __atomic_load_n(&symbols_locked, __ATOMIC_ACQUIRE) &&
           pthread_equal(symbols_owner, pthread_self());
}

void patas__symbols_leave(void)
{
    __atomic_store_n(&symbols_locked, 0, __ATOMIC_RELEASE);
    pthread_mutex_unlock(&symbols_lock);
}

const char *patas__module_base(const struct patas__module *module)
{
    const char *slash = strrchr(module->path, '/');
    return slash ? slash + 1 : module->path;
}

bool patas__module_holds(const struct patas__module *module, uint64_t value,
                         uint64_t size)
{
    for (unsigned i = 0; i < module->phdr_count; i++) {
        const ElfW(Phdr) *phdr = &module->phdr[i];
        if (phdr->p_type == PT_LOAD && value >= phdr->p_vaddr &&
            value - phdr->p_vaddr < phdr->p_memsz)
            return size <= phdr->p_memsz - (value - phdr->p_vaddr);
    }
    return false;
}

bool patas__module_is_code(const struct patas__module *module, uint64_t value)
{
    for (unsigned i = 0; i < module->phdr_count; i++) {
        const ElfW(Phdr) *phdr = &module->phdr[i];
        if (phdr->p_type == PT_LOAD && (phdr->p_flags & PF_X) &&
            value >= phdr->p_vaddr && value - phdr->p_vaddr < phdr->p_memsz)
            return true;
    }
    return false;
}

struct patas__module *patas__module_around(uintptr_t address)
{
    for (struct patas__module *m = patas__modules(); m; m = m->next) {
        if (patas__module_holds(m, address - m->bias, 1))
            return m;
    }
    return NULL;
}

/* The program has no name on the list, and may be named by a relative path. */
static char *module_path(const struct dl_phdr_info *info)
{
    char path[4096];
    ssize_t length;

    if (info->dlpi_name && *info->dlpi_name)
        return strdup(info->dlpi_name);
    length = readlink("/proc/self/exe", path, sizeof path - 1);
    if (length < 0)
        return strdup("/proc/self/exe");
    path[length] = 0;
    return strdup(path);
}

static void module_free(struct patas__module *module)
{
    patas__module_close(module);
    free(module->path);
    free(module->phdr);
    free(module);
}

static bool module_has_code_at(const struct patas__module *module,
                               uintptr_t address)
{
    return address && patas__module_holds(module, address - module->bias, 1);
}

/* Called while the dynamic linker's list is held: what is read of the module's
 * memory is read here, where it can't be unmapped meanwhile. */
static struct patas__module *module_new(const struct dl_phdr_info *info,
                                        bool first)
{
    struct patas__module *module = calloc(1, sizeof *module);

    if (!module)
        return NULL;
    module->fd = module->debug_fd = module->common_fd = -1;
    module->bias = info->dlpi_addr;
    module->phdr_mapped = info->dlpi_phdr;
    module->phdr_count = info->dlpi_phnum;
    module->program = first;
    module->path = module_path(info);
    module->phdr = calloc((size_t)info->dlpi_phnum + 1, sizeof *module->phdr);
    if (!module->path || !module->phdr) {
        free(module->path);
        free(module->phdr);
        free(module);
        return NULL;
    }
    memcpy(module->phdr, info->dlpi_phdr,
           info->dlpi_phnum * sizeof *module->phdr);
    patas__module_mapped_id(module);
    module->vdso = module_has_code_at(module, getauxval(AT_SYSINFO_EHDR));
    module->loader = !first && module_has_code_at(module, getauxval(AT_BASE));
    return module;
}

/* The same name at the same place. After a dlclose() that may be another build
 * of it, which its build-id tells. */
static bool module_is(const struct patas__module *module,
                      const struct dl_phdr_info *info, bool removed)
{
    if (module->bias != info->dlpi_addr ||
        module->phdr_mapped != info->dlpi_phdr ||
        module->phdr_count != info->dlpi_phnum)
        return false;
    if (module->program)
        return true;
    if (strcmp(module->path, info->dlpi_name))
        return false;
    if (!removed)
        return true;
    struct patas__module mapped = {.bias = info->dlpi_addr,
                                   .phdr = module->phdr,
                                   .phdr_count = module->phdr_count};
    if (memcmp(module->phdr, info->dlpi_phdr,
               module->phdr_count * sizeof *module->phdr) != 0)
        return false;
    patas__module_mapped_id(&mapped);
    return mapped.build_id_size &&
           mapped.build_id_size == module->build_id_size &&
           !memcmp(mapped.build_id, module->build_id, mapped.build_id_size);
}

struct module_walk {
    struct patas__module **end; /* the new list's */
    struct patas__module *old;
    bool first, removed, failed;
};

static int module_visit(struct dl_phdr_info *info, size_t size, void *data)
{
    struct module_walk *walk = data;
    struct patas__module *module = NULL;

    (void)size;
    if (walk->first && modules_known && info->dlpi_adds == modules_added &&
        info->dlpi_subs == modules_removed)
        return 1;
    if (walk->first) {
        walk->removed = info->dlpi_subs != modules_removed;
        walk->old = module_list;
        module_list = NULL;
        modules_added = info->dlpi_adds;
        modules_removed = info->dlpi_subs;
        modules_known = true;
    }
    for (struct patas__module **at = &walk->old; *at; at = &(*at)->next) {
        if (module_is(*at, info, walk->removed)) {
            module = *at;
            *at = module->next;
            break;
        }
    }
    if (!module)
        module = module_new(info, walk->first);
    walk->first = false;
    if (!module) {
        walk->failed = true;
        return 1;
    }
    module->next = NULL;
    *walk->end = module;
    walk->end = &module->next;
    return 0;
}

static void modules_refresh(void)
{
    struct module_walk walk = {.end = &module_list, .first = true};

    dl_iterate_phdr(module_visit, &walk);
    if (walk.failed)
        modules_known = false;
    while (walk.old) {
        struct patas__module *next = walk.old->next;
        module_free(walk.old);
        walk.old = next;
    }
}

struct patas__module *patas__modules(void)
{
    return module_list;
}

/* The list is asked once: what a search found stays until it is copied. */
patas_status patas__symbols_enter(patas_error *error)
{
    pthread_once(&symbols_once, symbols_start);
    if (pthread_mutex_lock(&symbols_lock)) /* EDEADLK: by this very thread */
        return patas__symbols_fail(error, PATAS_ERR_BUSY, 0);
    symbols_owner = pthread_self();
    __atomic_store_n(&symbols_locked, 1, __ATOMIC_RELEASE);
    modules_refresh();
    return PATAS_OK;
}

void patas__modules_forget(void)
{
    while (module_list) {
        struct patas__module *next = module_list->next;
        module_free(module_list);
        module_list = next;
    }
    modules_known = false;
}

/* `libc` is libc.so.6, libc-2.31.so; `vdso` and `ld` are what they are. */
static bool base_is(const char *base, const char *name, size_t length)
{
    if (strncmp(base, name, length))
        return false;
    const char *rest = base + length;
    if (!*rest || !strncmp(rest, ".so", 3))
        return true;
    if (*rest != '-' || rest[1] < '0' || rest[1] > '9')
        return false;
    return strstr(rest, ".so") != NULL;
}

bool patas__module_named(const struct patas__module *module, const char *name,
                         size_t length)
{
    const char *base = patas__module_base(module);

    if (memchr(name, '/', length)) {
        char *wanted = strndup(name, length);
        char *full = wanted ? realpath(wanted, NULL) : NULL;
        char *own = full ? realpath(module->path, NULL) : NULL;
        bool same =
            own ? !strcmp(own, full) : wanted && !strcmp(module->path, wanted);
        free(own);
        free(full);
        free(wanted);
        return same;
    }
    if (module->vdso && length == 4 && !memcmp(name, "vdso", 4))
        return true;
    if (module->loader && ((length == 2 && !memcmp(name, "ld", 2)) ||
                           (length == 5 && !memcmp(name, "ld.so", 5))))
        return true;
    return base_is(base, name, length);
}
