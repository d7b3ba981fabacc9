/* SPDX-License-Identifier: MIT */
/*
 * Another library on the same work, in the same process: a shared object in
 * peers/ beside the bench, with this C interface. Never needed; what is not
 * there is printed as not installed.
 */
#ifndef PATAS_BENCH_PEER_H
#define PATAS_BENCH_PEER_H

/* 0 if calls of `target` run `replacement`, and `*original` calls the old. */
typedef int (*peer_replace_fn)(void *target, void *replacement,
                               void **original);

/* The peer `retour` (a crate of Rust's), or NULL. */
peer_replace_fn peer_load(void);
/* Undoes all of it. */
void peer_restore(void);
const char *peer_how_to_install(void);

#endif
