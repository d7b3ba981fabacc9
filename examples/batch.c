/* SPDX-License-Identifier: MIT */
/*
 * Several functions at once, or none: while one batch is committed no call
 * finds half of it, and a member that can't be patched takes all with it.
 */
#include <patas.h>
#include <stdio.h>

/* A pair that must change together: what one writes, the other reads. */
static volatile int key = 1;

__attribute__((noinline)) static int scramble(int c)
{
    return c + key;
}

__attribute__((noinline)) static int unscramble(int c)
{
    return c - key;
}

static int scramble_v2(int c)
{
    return c ^ (key << 4);
}

static int unscramble_v2(int c)
{
    return c ^ (key << 4);
}

static void show(const char *when)
{
    int secret = scramble('p');

    printf("%s: p -> %d -> %c\n", when, secret, unscramble(secret));
}

/* Commits both, and a third one if there is a third. */
static patas_status update(patas_fn third, patas_error *error)
{
    patas_batch *batch = patas_batch_begin(error);
    patas_patch *patch; /* of each member; restore_all will find them */
    patas_status status;

    if (!batch)
        return error->status;
    status = patas_batch_replace(batch, (patas_fn)scramble,
                                 (patas_fn)scramble_v2, &patch, error);
    if (!status)
        status = patas_batch_replace(batch, (patas_fn)unscramble,
                                     (patas_fn)unscramble_v2, &patch, error);
    if (!status && third)
        status =
            patas_batch_replace(batch, third, (patas_fn)show, &patch, error);
    if (status) {
        patas_batch_abort(batch);
        return status;
    }
    return patas_batch_commit(batch, error); /* ends the batch either way */
}

int main(void)
{
    static int no_function;
    patas_error error;

    show("before");
    if (update((patas_fn)(uintptr_t)&no_function, &error))
        printf("refused: %s\n", patas_status_name(error.status));
    show("still  ");
    if (update(NULL, &error))
        return 1;
    show("after  ");
    patas_restore_all(NULL);
    show("and back");
    return 0;
}
