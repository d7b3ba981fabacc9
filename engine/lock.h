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

/* Without waiting. `*self` tells a lock that this thread holds from one that
 * another does. */
static inline bool patas__lock_try(struct patas__lock *lock, bool *self)
{
    const uintptr_t waited = PATAS__LOCK_WAITED;
    uintptr_t thread = patas__os_thread(), seen = 0;
    bool taken = __atomic_compare_exchange_n(
        &lock->word, &seen, thread, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED);
    *self = !taken && (seen & ~waited) == thread;
    return taken;
}

static inline bool patas__lock_mine(const struct patas__lock *lock)
{
    const uintptr_t waited = PATAS__LOCK_WAITED;
    return (__atomic_load_n(&lock->word, __ATOMIC_RELAXED) & ~waited) ==
           patas__os_thread();
}

static inline void patas__lock_give(struct patas__lock *lock)
{
    if (__atomic_exchange_n(&lock->word, 0, __ATOMIC_RELEASE) &
        PATAS__LOCK_WAITED)
        patas__os_wake((int *)&lock->word, 1);
}

/*
 * A gate that fork() closes: nobody of us is in the loader then, whose lock
 * would be taken for ever in the child.
 */
struct patas__gate {
    int closed; /* forks under way */
    int inside; /* threads in the loader */
};

static inline void patas__gate_enter(struct patas__gate *gate)
{
    for (;;) {
        int closed = __atomic_load_n(&gate->closed, __ATOMIC_SEQ_CST);
        if (closed) {
            patas__os_wait(&gate->closed, closed);
            continue;
        }
        __atomic_add_fetch(&gate->inside, 1, __ATOMIC_SEQ_CST);
        if (!__atomic_load_n(&gate->closed, __ATOMIC_SEQ_CST))
            return;
        __atomic_sub_fetch(&gate->inside, 1, __ATOMIC_SEQ_CST);
    }
}

/* The child of a destructor that forks finds the gate as new. */
static inline void patas__gate_leave(struct patas__gate *gate)
{
    if (__atomic_load_n(&gate->inside, __ATOMIC_SEQ_CST))
        __atomic_sub_fetch(&gate->inside, 1, __ATOMIC_SEQ_CST);
}

/* Who is inside is out again at once, unless it waits for the loader, whose
 * lock somebody holds who waits for this gate, or this very thread was
 * interrupted there: so not for ever. */
static inline void patas__gate_close(struct patas__gate *gate)
{
    enum {
        TRIES = 2000
    }; /* of 100 us */
    __atomic_add_fetch(&gate->closed, 1, __ATOMIC_SEQ_CST);
    for (unsigned i = 0;
         i < TRIES && __atomic_load_n(&gate->inside, __ATOMIC_SEQ_CST); i++)
        patas__os_sleep_us(100);
}

static inline void patas__gate_open(struct patas__gate *gate)
{
    if (!__atomic_sub_fetch(&gate->closed, 1, __ATOMIC_SEQ_CST))
        patas__os_wake(&gate->closed, 0x7fffffff);
}

#endif
