/* SPDX-License-Identifier: MIT */
/*
 * The engine's one lock, on a futex: pthread_mutex_lock may be replaced.
 */
#ifndef PATAS_LOCK_H
#define PATAS_LOCK_H

#include "os.h"

struct patas__lock {
    int state; /* 0 free, 1 held, 2 held and somebody waits */
    int owner; /* tid of who holds it */
};

/* False if this very thread holds it: a signal handler interrupted patas. */
static inline bool patas__lock_take(struct patas__lock *lock)
{
    int tid = patas__os_tid();
    int free = 0;
    if (__atomic_load_n(&lock->owner, __ATOMIC_RELAXED) == tid)
        return false;
    if (!__atomic_compare_exchange_n(&lock->state, &free, 1, false,
                                     __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
        while (__atomic_exchange_n(&lock->state, 2, __ATOMIC_ACQUIRE))
            patas__os_wait(&lock->state, 2);
    __atomic_store_n(&lock->owner, tid, __ATOMIC_RELAXED);
    return true;
}

static inline void patas__lock_give(struct patas__lock *lock)
{
    __atomic_store_n(&lock->owner, 0, __ATOMIC_RELAXED);
    if (__atomic_exchange_n(&lock->state, 0, __ATOMIC_RELEASE) == 2)
        patas__os_wake(&lock->state, 1);
}

#endif
