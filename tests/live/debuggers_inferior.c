/* SPDX-License-Identifier: MIT */
/*
 * What is debugged. test_debuggers.c runs it:
 *
 *     inferior stop VICTIM   announces, patches, calls stopped(), calls it
 *     inferior wait VICTIM   ... prints where the code is, waits for its input
 *                            to end
 *     inferior spin VICTIM   ... calls it for a while
 *     inferior churn TIMES   patches and restores under running threads, so
 *                            often and on until its input ends
 *
 * It exits with 0 if all went as it should.
 */
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "patas.h"

int victim_frame(int), victim_room(int), victim_call(int), victim_bare(int);
int call_victim(int (*victim)(int), int x);
void stopped(void);

/* For the debugger's eyes. */
uintptr_t where_stub, where_head, where_below;

static const struct {
    const char *name;
    int (*function)(int);
} victims[] = {
    {"victim_frame", victim_frame},
    {"victim_room", victim_room},
    {"victim_call", victim_call},
    {"victim_bare", victim_bare},
};
enum {
    VICTIMS = sizeof victims / sizeof *victims
};

static patas_patch *lower, *upper;
static volatile int sum;
/* Kept, as everybody does: most of the time is spent in islands then. */
static int (*below_lower)(int), (*below_upper)(int);

/* Both go on to what is below, by a call that is not their last act. */
static int above(int x)
{
    int result = below_upper(x);
    __asm__ volatile("" : "+r"(result));
    return result;
}
static int middle(int x)
{
    int result = below_lower(x);
    __asm__ volatile("" : "+r"(result));
    return result;
}

__attribute__((noinline)) void stopped(void)
{
    __asm__ volatile("" ::: "memory");
}

static void die(const char *what, patas_status status)
{
    fprintf(stderr, "inferior: %s: %s\n", what, patas_status_name(status));
    exit(2);
}

static void must(const char *what, patas_status status)
{
    if (status != PATAS_OK)
        die(what, status);
}

static int (*find(const char *name))(int)
{
    for (int i = 0; i < VICTIMS; i++)
        if (!strcmp(victims[i].name, name))
            return victims[i].function;
    die(name, PATAS_ERR_NOT_FOUND);
    return NULL;
}

static void patch(int (*function)(int))
{
    patas_plan_info info = {.size = sizeof info};
    must("announce",
         patas_announce(PATAS_ANNOUNCE_GDB | PATAS_ANNOUNCE_PERF, NULL));
    must("replace",
         patas_replace((patas_fn)function, (patas_fn)middle, &lower, NULL));
    must("replace again",
         patas_replace((patas_fn)function, (patas_fn)above, &upper, NULL));
    must("plan", patas_plan((patas_fn)function, &info, NULL));
    where_stub = info.island;
    where_head = (uintptr_t)patas_original(lower);
    where_below = (uintptr_t)patas_original(upper);
    below_lower = (int (*)(int))where_head;
    below_upper = (int (*)(int))where_below;
}

/* ---- churn ---------------------------------------------------------------
 */

static atomic_bool over;
static atomic_int wrong, running;

static void *run(void *unused)
{
    running++;
    while (!over)
        for (int i = 0; i < VICTIMS; i++)
            wrong += call_victim(victims[i].function, 1) != 2;
    return unused;
}

static int times_two(int x)
{
    return x * 2;
}

static bool input_ended(void)
{
    struct pollfd input = {.fd = 0, .events = POLLIN};
    char byte;
    return poll(&input, 1, 0) > 0 && read(0, &byte, 1) <= 0;
}

static void churn(int times)
{
    enum {
        RUNNERS = 3
    };
    pthread_t runners[RUNNERS];
    must("announce", patas_announce(PATAS_ANNOUNCE_GDB, NULL));
    for (int i = 0; i < RUNNERS; i++)
        if (pthread_create(&runners[i], NULL, run, NULL))
            die("thread", PATAS_ERR_OS);
    /* A thread is born with every signal blocked, and what has a tracer can't
     * be held meanwhile: the refusal would be right. */
    while (running < RUNNERS)
        sched_yield();
    for (int i = 0; i < times || !input_ended(); i++) {
        patas_patch *patch;
        patas_fn victim = (patas_fn)victims[i % VICTIMS].function;
        must("replace",
             patas_replace(victim, (patas_fn)times_two, &patch, NULL));
        must("restore", patas_restore(patch, NULL));
    }
    over = true;
    for (int i = 0; i < RUNNERS; i++)
        pthread_join(runners[i], NULL);
    if (wrong)
        die("wrong results", PATAS_OK);
}

int main(int count, char **words)
{
    const char *how = count > 2 ? words[1] : "";
    if (!strcmp(how, "churn")) {
        churn(atoi(words[2]));
        return 0;
    }
    if (count < 3)
        return 2;
    int (*victim)(int) = find(words[2]);
    patch(victim);
    stopped();
    if (!strcmp(how, "stop"))
        return call_victim(victim, 1) == 2 ? 0 : 1;
    if (!strcmp(how, "spin"))
        for (int i = 0; i < 100000000; i++)
            sum += call_victim(victim, 1);
    if (!strcmp(how, "wait")) {
        printf("%#lx %#lx %#lx\n", (unsigned long)where_stub,
               (unsigned long)where_head, (unsigned long)where_below);
        fflush(stdout);
        (void)getchar();
    }
    return 0;
}
