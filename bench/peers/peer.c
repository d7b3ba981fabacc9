/* SPDX-License-Identifier: MIT */
#include "peers/peer.h"

#include <dlfcn.h>
#include <stddef.h>
#include <stdint.h>

#include "bench.h"

static void *library;

static void (*symbol(const char *name))(void)
{
    return (void (*)(void))(uintptr_t)dlsym(library, name);
}

peer_replace_fn peer_load(void)
{
    library = dlopen(bench_beside("peers/libpatas_peer_retour.so"), RTLD_NOW);
    return library ? (peer_replace_fn)symbol("peer_replace") : NULL;
}

void peer_restore(void)
{
    if (library)
        symbol("peer_restore")();
}

const char *peer_how_to_install(void)
{
    return "cmake --build <build> --target bench_peers; it takes cargo";
}
