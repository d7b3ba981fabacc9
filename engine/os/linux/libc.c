/* SPDX-License-Identifier: MIT */
/*
 * The one file that knows the C library: its list of loaded modules, its fork
 * handlers, its sigaction. Nothing here runs while code is being written. A
 * build without a C library (the Go package's) leaves it out and brings its
 * own.
 */
#include "../../module.h"
#include "../../registry.h"

#include <dlfcn.h>
#include <errno.h>
#include <link.h>
#include <pthread.h>
#include <signal.h>

/* The program may have replaced these, too: by a fake, or by a patch that asks
 * patas. */
#define UNPATCHED(function) \
    ((__typeof__(&function))patas__registry_unpatched((uintptr_t)(function)))

struct each_call {
    bool (*each)(void *data, const struct patas__loaded *);
    void *data;
};

static int each_module(struct dl_phdr_info *info, size_t size, void *data)
{
    const struct each_call *call = data;
    struct patas__loaded loaded = {
        .bias = info->dlpi_addr,
        .phdrs = info->dlpi_phdr,
        .phdr_count = info->dlpi_phnum,
    };
    if (size > offsetof(struct dl_phdr_info, dlpi_subs)) {
        loaded.loads = info->dlpi_adds;
        loaded.unloads = info->dlpi_subs;
    }
    return call->each(call->data, &loaded) ? 0 : 1;
}

void patas__os_modules(bool (*each)(void *data, const struct patas__loaded *),
                       void *data)
{
    struct each_call call = {each, data};
    UNPATCHED(dl_iterate_phdr)(each_module, &call);
}

/* Before any thread of the program can fork and patch at the same time. */
__attribute__((constructor)) static void watch_forks(void)
{
    pthread_atfork(patas__fork_before, patas__fork_parent, patas__fork_child);
}

uintptr_t patas__os_sigaction(void)
{
    return (uintptr_t)sigaction;
}

/* The library never sets errno; the loader may. */
void *patas__os_pin(uintptr_t address)
{
    int kept = errno;
    void *pin = NULL;
    Dl_info info;
    struct link_map *map = NULL;
    if (UNPATCHED(dladdr1)((void *)address, &info, (void **)&map,
                           RTLD_DL_LINKMAP) &&
        map && map->l_name && *map->l_name)
        pin = UNPATCHED(dlopen)(map->l_name, RTLD_NOLOAD | RTLD_LAZY);
    errno = kept;
    return pin;
}

void patas__os_unpin(void *pin)
{
    int kept = errno;
    UNPATCHED(dlclose)(pin);
    errno = kept;
}
