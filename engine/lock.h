/* SPDX-License-Identifier: MIT */
/*
 * The engine's one lock, on a futex: pthread_mutex_lock may be replaced.
 */
#ifndef PATAS_LOCK_H
#define PATAS_LOCK_H

#include "os.h"

/* One word: the thread that holds it, 0 = nobody. A signal handler must see who
 * that is at every moment, so owner and state are not two. */
struct patas__lock {
    uintptr_t word;
};

enum {
    PATAS__LOCK_WAITED = 1
}; /* somebody may sleep on it */

/* False if this very thread holds it: a signal handler interrupted patas. */
static inline bool patas__lock_take(struct patas__lock *lock)
{
    const uintptr_t waited = PATAS__LOCK_WAITED;
    uintptr_t self = patas__os_thread(), want = self;
    for (;;) {
        uintptr_t seen = 0;
        if (__atomic_compare_exchange_n(&lock->word, &seen, want, false,
                                        __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
            return true;
        if ((seen & ~waited) == self)
            return false;
        if (!(seen & waited) && !__atomic_compare_exchange_n(
                                    &lock->word, &seen, seen | waited, false,
                                    __ATOMIC_RELAXED, __ATOMIC_RELAXED))
            continue;
        /* The low half of the word: x86 is little endian. */
        patas__os_wait((int *)&lock->word, (int)(seen | waited));
        want = self | waited; /* others may sleep, too */
    }
}

static inline void patas__lock_give(struct patas__lock *lock)
{
    if (__atomic_exchange_n(&lock->word, 0, __ATOMIC_RELEASE) &
        PATAS__LOCK_WAITED)
        patas__os_wake((int *)&lock->word, 1);
}

#endif
