/* SPDX-License-Identifier: MIT */
/*
 * The public functions: check arguments, take the lock, run the stages.
 */
#include "patas.h"

#include "batch.h"
#include "commit.h"
#include "describe.h"
#include "island.h"
#include "lock.h"
#include "prepare.h"
#include "table.h"
#include "trap.h"

enum {
    ALL_FLAGS = PATAS_STRICT | PATAS_ALLOW_TRAP | PATAS_FOLLOW |
                PATAS_PASS_THROUGH | PATAS_ENTRY
};

enum {
    HELD = 16 /* a batch of more modules asks the loader more often */
};

struct batch {
    struct patas__member *members;
    uint32_t count, capacity;
    uint32_t generation; /* in the handle, as a patch's */
    uintptr_t itself;    /* a replacement that was seen to stand for itself */
    uint32_t held[HELD]; /* modules that stay until it ends */
    uint8_t held_count;
    bool open;
};

static struct {
    struct patas__lock lock;
    struct patas__gate gate;
    struct patas__table batches; /* struct batch */
    unsigned inner_forks;        /* under way in the thread that has the lock */
    bool wrapped;                /* sigaction goes through us */
    bool wrapping;
    uint32_t wrap; /* that patch: no restore_all takes it */
} engine;

/* ---- coming in and going out ------------------------------------------------
 */

static patas_status fail(patas_error *error, patas_status status,
                         unsigned reason, uintptr_t target)
{
    if (error)
        *error =
            (patas_error){.status = status, .reason = reason, .target = target};
    return status;
}

/* Around fork(): the child finds the lock free, and the loader's, too. A fork
 * from a signal handler that interrupted patas, or another fork, finds ours
 * taken by its own thread, and leaves it at that. */
void patas__fork_before(void)
{
    if (patas__lock_take(&engine.lock))
        patas__gate_close(&engine.gate);
    else
        engine.inner_forks++;
}

void patas__fork_parent(void)
{
    if (engine.inner_forks) {
        engine.inner_forks--;
        return;
    }
    patas__gate_open(&engine.gate);
    patas__lock_give(&engine.lock);
}

void patas__fork_child(void)
{
    bool inner = engine.inner_forks;
    engine.inner_forks -= inner;
    /* Nobody waits for it here; the interrupted call goes on in this thread. */
    engine.lock.word = inner ? patas__os_thread() : 0;
    engine.gate = (struct patas__gate){0};
    patas__trap_forked();
}

/* Patches whose replacement went are off; that is only possible where the
 * loader could not be asked to keep it. */
static void replacements_gone(const struct patas__image *image)
{
    patas_error ignored;
    for (uint32_t i = 1; i < patas__patch_count(); i++) {
        struct patas__patch *patch = patas__patch_get(i);
        if (!patch->target || patch->flags & PATAS__GHOST ||
            patas__patch_replacement(patch) - image->start >=
                image->end - image->start)
            continue;
        patch->flags &= (uint8_t)~PATAS__ON;
        if (patas__target_get(patch->target)->state != PATAS__RETIRED)
            (void)patas__target_redirect(patch->target, &ignored);
    }
}

/* A module went: its patches are retired, never written to. */
static void module_gone(uint32_t module)
{
    for (uint32_t i = 1; i < patas__target_count(); i++)
        if (patas__target_get(i)->module == module &&
            patas__target_get(i)->state != PATAS__RETIRED)
            patas__target_retire(i);
    replacements_gone(&patas__module_get(module)->image);
}

/* A library that was closed and opened again has its first bytes back. Bytes
 * of somebody else, such as a breakpoint, prove nothing. */
bool patas__registry_intact(uint32_t module)
{
    bool fresh = false;
    for (uint32_t i = 1; i < patas__target_count(); i++) {
        const struct patas__target *target = patas__target_get(i);
        uint8_t before[8], after[8], now[8];
        if (target->module != module || target->state != PATAS__INSTALLED ||
            target->form == PATAS_FORM_SLOT ||
            patas__os_read(target->entry + target->at, now, target->written))
            continue;
        patas__target_bytes(target, before, after);
        if (!memcmp(now, after, target->written))
            return true;
        fresh |= !memcmp(now, before, target->written);
    }
    return !fresh;
}

/* Nothing stays open between calls: the program may close it, or fork. */
static void leave(void)
{
    patas__island_close();
    patas__lock_give(&engine.lock);
}

static patas_status enter(patas_error *error)
{
    if (patas__lock_take(&engine.lock))
        return PATAS_OK;
    return fail(error, PATAS_ERR_BUSY, PATAS_REASON_IN_PATAS, 0);
}

struct coming {
    bool taken, self; /* the lock: we have it now; we had it before */
};

static bool try_lock(void *data)
{
    struct coming *coming = data;
    coming->taken = patas__lock_try(&engine.lock, &coming->self);
    return coming->taken;
}

/*
 * Comes in with the list of modules as it is. One of a batch keeps what was
 * looked up for the members before, unless a module came or went.
 *
 * The loader's lock is the outer one, and nobody waits for ours while holding
 * it: the wait is out here, and then all is asked again.
 */
static patas_status enter_fresh(bool member, patas_error *error)
{
    struct coming coming = {0};
    struct patas__refresh refresh = {
        .ready = try_lock, .data = &coming, .gone = module_gone};
    int err;
    /* In a fork of this thread the gate would not open before we are back. */
    if (patas__lock_mine(&engine.lock))
        return fail(error, PATAS_ERR_BUSY, PATAS_REASON_IN_PATAS, 0);
    for (;;) {
        patas__gate_enter(&engine.gate);
        err = patas__modules_refresh(&refresh);
        patas__gate_leave(&engine.gate);
        if (coming.taken)
            break;
        if (coming.self || !patas__lock_take(&engine.lock))
            return fail(error, PATAS_ERR_BUSY, PATAS_REASON_IN_PATAS, 0);
        patas__lock_give(&engine.lock);
    }
    if (!member || refresh.changed)
        patas__prepare_reset();
    if (!err)
        return PATAS_OK;
    leave();
    return fail(error, PATAS_ERR_NO_MEMORY, PATAS_REASON_NONE, 0);
}

/* ---- modules that must stay -----------------------------------------------
 */

/*
 * A replacement's module must not go while calls reach it: it is pinned with
 * its first live patch and let go with its last. So are the modules of a
 * batch's targets until it ends: its members need not ask the loader anew, each
 * of them, whether all is as it was. Both take the loader's lock, so both
 * happen outside of ours.
 */

/* The module of this address if no one pinned it yet, or NULL. */
static struct patas__module *unpinned(uintptr_t address)
{
    uint32_t index;
    struct patas__module *module = patas__module_at(address, &index);
    return module && !module->pin_tried && !module->vdso && !module->start_code
               ? module
               : NULL;
}

/* Both ask the loader, whose lock no child of a fork may find taken. */
static void *take_pin(uintptr_t address)
{
    patas__gate_enter(&engine.gate);
    void *pin = patas__os_pin(address);
    patas__gate_leave(&engine.gate);
    return pin;
}

static void give_pin(void *pin)
{
    if (!pin)
        return;
    patas__gate_enter(&engine.gate);
    patas__os_unpin(pin);
    patas__gate_leave(&engine.gate);
}

/* Called, and returns, under the lock; lets it go between. */
static patas_status pin_module(uintptr_t address, patas_error *error)
{
    while (unpinned(address)) {
        leave();
        void *pin = take_pin(address);
        patas_status status = enter_fresh(true, error);
        struct patas__module *module =
            status == PATAS_OK ? unpinned(address) : NULL;
        if (module) {
            module->pin = pin;
            module->pin_tried = true;
            break;
        }
        if (status == PATAS_OK)
            leave(); /* another thread was first */
        give_pin(pin);
        if (status == PATAS_OK)
            status = enter_fresh(true, error);
        if (status != PATAS_OK) {
            (void)patas__lock_take(&engine.lock); /* as the caller had it */
            return status;
        }
    }
    return PATAS_OK;
}

/* A pin that nothing needs any more. */
static void *unused_pin(void)
{
    void *pin = NULL;
    for (uint32_t i = 1; !pin && i < patas__module_count(); i++) {
        struct patas__module *module = patas__module_get(i);
        if (module->uses || !module->pin_tried)
            continue;
        pin = module->pin;
        module->pin = NULL;
        module->pin_tried = false;
    }
    return pin;
}

/* Ends a call that may have made a module's last patch go. */
static void leave_unpinning(void)
{
    for (;;) {
        void *pin = unused_pin();
        leave();
        if (!pin)
            return;
        give_pin(pin);
        if (enter(NULL) != PATAS_OK)
            return;
    }
}

/* ---- arguments -------------------------------------------------------------
 */

/* An older, shorter struct is padded; a newer one may only hold zeros beyond
 * what is known here. */
static patas_status read_options(const patas_options *given,
                                 patas_options *options, patas_error *error)
{
    *options = (patas_options){.size = sizeof *options};
    if (!given)
        return PATAS_OK;
    if (given->size < sizeof(size_t) + sizeof(unsigned) || given->size > 4096)
        return fail(error, PATAS_ERR_ARGUMENT, PATAS_REASON_OPTIONS, 0);
    const uint8_t *bytes = (const uint8_t *)given;
    for (size_t i = sizeof *options; i < given->size; i++)
        if (bytes[i])
            return fail(error, PATAS_ERR_ARGUMENT, PATAS_REASON_OPTIONS, 0);
    memcpy(options, given,
           given->size < sizeof *options ? given->size : sizeof *options);
    if (options->flags & ~(unsigned)ALL_FLAGS)
        return fail(error, PATAS_ERR_ARGUMENT, PATAS_REASON_OPTIONS, 0);
    return PATAS_OK;
}

/* Would a call of `target` come back to it by way of patches alone, the ones
 * on top or the ones that may come up? */
static bool cycle(uintptr_t target, uintptr_t replacement, unsigned depth)
{
    enum {
        DEEP = 64
    }; /* a ring of more is not looked for */
    if (replacement == target)
        return true;
    uint32_t found = patas__target_find(replacement);
    if (!found || depth == DEEP)
        return false;
    for (uint32_t at = patas__target_get(found)->top; at;
         at = patas__patch_get(at)->below) {
        const struct patas__patch *patch = patas__patch_get(at);
        if (!(patch->flags & PATAS__GHOST) &&
            cycle(target, patas__resolve(patas__patch_replacement(patch), 0),
                  depth + 1))
            return true;
    }
    return false;
}

/* Two functions as they were given, and what they stand for. */
struct pair {
    uintptr_t target, replacement;
    uintptr_t from, to;
};

static struct pair resolve_pair(patas_fn target, patas_fn replacement,
                                const patas_options *options)
{
    return (struct pair){
        .target = (uintptr_t)target,
        .replacement = (uintptr_t)replacement,
        .from = patas__resolve((uintptr_t)target, options->flags),
        .to = patas__resolve((uintptr_t)replacement, 0),
    };
}

static patas_status check_pair(const struct pair *pair, patas_error *error)
{
    if (pair->from == pair->to)
        return fail(error, PATAS_ERR_ARGUMENT, PATAS_REASON_SAME, pair->target);
    if (cycle(pair->from, pair->to, 0))
        return fail(error, PATAS_ERR_ARGUMENT, PATAS_REASON_CYCLE,
                    pair->target);
    patas_status status = patas__check_replacement(pair->replacement, error);
    if (status != PATAS_OK)
        error->target = pair->target;
    return status;
}

/* ---- making patches --------------------------------------------------------
 */

/* Everything up to the commit. */
static patas_status make_patch(const struct pair *pair,
                               const patas_options *options, uint32_t nth,
                               uint32_t *patch, patas_error *error)
{
    struct patas__request request = {.asked = pair->target,
                                     .entry = pair->from,
                                     .flags = options->flags,
                                     .nth = nth};
    uint32_t index;
    patas_status status = check_pair(pair, error);
    if (status == PATAS_OK)
        status = patas__prepare(&request, false, &index, error);
    if (status != PATAS_OK)
        return status;
    status = patas__patch_new(index, pair->replacement, options, patch);
    if (status != PATAS_OK)
        return fail(error, status, PATAS_REASON_NONE, pair->target);
    return PATAS_OK;
}

static struct patas__member member_for(uint32_t patch, bool restore)
{
    return (struct patas__member){
        .patch = patch,
        .generation = patas__patch_get(patch)->generation,
        .restore = restore,
    };
}

static patas_status commit_one(uint32_t patch, bool restore, patas_error *error)
{
    struct patas__member member = member_for(patch, restore);
    patas_status status = patas__members_commit(&member, 1, error);
    if (status == PATAS_OK)
        patas__describe_members(&member, 1);
    return status;
}

static patas_status install(uint32_t index, patas_patch **patch,
                            patas_error *error)
{
    __atomic_store_n(patch, patas__handle(index), __ATOMIC_RELEASE);
    patas_status status = commit_one(index, false, error);
    if (status == PATAS_OK)
        return PATAS_OK;
    *patch = NULL;
    patas__patch_free(index);
    return status;
}

/* The program's own sigaction goes behind our handler from now on. */
static int wrapped_sigaction(int number, const void *action, void *old)
{
    patas_fn original =
        (patas_fn)patas__patch_original(patas__patch_get(engine.wrap));
    return patas__trap_sigaction(number, action, old, original);
}

/* Once a plan with traps is live. Failing that is no failure of the user's
 * call: patas__trap_arm() looks again before each commit with traps. */
static void wrap_sigaction(void)
{
    uintptr_t target = patas__os_sigaction();
    patas_error ignored;
    patas_options options = {.size = sizeof options};
    if (engine.wrapped || engine.wrapping || !target)
        return;
    engine.wrapping = true;
    struct pair pair =
        resolve_pair((patas_fn)target, (patas_fn)wrapped_sigaction, &options);
    if (make_patch(&pair, &options, 0, &engine.wrap, &ignored) == PATAS_OK) {
        patas__patch_get(engine.wrap)->flags |= PATAS__OURS;
        engine.wrapped = commit_one(engine.wrap, false, &ignored) == PATAS_OK;
        if (!engine.wrapped)
            patas__patch_free(engine.wrap);
    }
    engine.wrapping = false;
}

static void after_commit(void)
{
    if (patas__members_stats().armed)
        wrap_sigaction();
}

patas_status patas_replace_with(patas_fn target, patas_fn replacement,
                                const patas_options *options,
                                patas_patch **patch, patas_error *error)
{
    patas_error local;
    patas_options known;
    uint32_t index;
    if (!error)
        error = &local;
    if (!patch)
        return fail(error, PATAS_ERR_ARGUMENT, PATAS_REASON_NULL,
                    (uintptr_t)target);
    *patch = NULL;
    if (!target || !replacement)
        return fail(error, PATAS_ERR_ARGUMENT, PATAS_REASON_NULL,
                    (uintptr_t)target);
    patas_status status = read_options(options, &known, error);
    if (status == PATAS_OK)
        status = enter_fresh(false, error);
    if (status != PATAS_OK)
        return status;
    status = pin_module((uintptr_t)replacement, error);
    if (status == PATAS_OK) {
        struct pair pair = resolve_pair(target, replacement, &known);
        status = make_patch(&pair, &known, 0, &index, error);
    }
    if (status == PATAS_OK)
        status = install(index, patch, error);
    if (status == PATAS_OK)
        after_commit();
    else if (!error->target)
        error->target = (uintptr_t)target;
    leave_unpinning();
    return status;
}

patas_status patas_replace(patas_fn target, patas_fn replacement,
                           patas_patch **patch, patas_error *error)
{
    return patas_replace_with(target, replacement, NULL, patch, error);
}

patas_status patas_replace_slot(patas_fn *slot, patas_fn replacement,
                                patas_patch **patch, patas_error *error)
{
    patas_error local;
    uint32_t target, index;
    if (!error)
        error = &local;
    if (patch)
        *patch = NULL;
    if (!patch || !slot || !replacement)
        return fail(error, PATAS_ERR_ARGUMENT, PATAS_REASON_NULL,
                    (uintptr_t)slot);
    patas_status status = enter_fresh(false, error);
    if (status != PATAS_OK)
        return status;
    status = pin_module((uintptr_t)replacement, error);
    if (status == PATAS_OK)
        status = patas__prepare_slot((uintptr_t)slot, &target, error);
    if (status == PATAS_OK)
        status = patas__check_replacement((uintptr_t)replacement, error);
    if (status == PATAS_OK &&
        patas__target_get(target)->old == (uintptr_t)replacement)
        status =
            fail(error, PATAS_ERR_ARGUMENT, PATAS_REASON_SAME, (uintptr_t)slot);
    if (status == PATAS_OK) {
        status = patas__patch_new(target, (uintptr_t)replacement, NULL, &index);
        if (status == PATAS_OK)
            status = install(index, patch, error);
        else
            fail(error, status, PATAS_REASON_NONE, (uintptr_t)slot);
    }
    leave_unpinning();
    return status;
}

/* ---- handles ---------------------------------------------------------------
 */

/* The record may be given to another patch while it is being read; then the
 * handle is stale, and was so before the call returned. */
patas_fn patas_original(const patas_patch *patch)
{
    uint32_t index = patas__handle_index(patch);
    if (!index)
        return NULL;
    uintptr_t original = patas__patch_original(patas__patch_get(index));
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
    return patas__handle_index(patch) == index ? (patas_fn)original : NULL;
}

/* The patch behind a handle; fails for a stale one, and for one whose module
 * went, which is stale from then on. */
static patas_status live_patch(const patas_patch *patch, uint32_t *index,
                               patas_error *error)
{
    *index = patas__handle_index(patch);
    if (!*index)
        return fail(error, patch ? PATAS_ERR_STALE : PATAS_ERR_ARGUMENT,
                    patch ? PATAS_REASON_RESTORED : PATAS_REASON_NULL, 0);
    const struct patas__target *target =
        patas__target_get(patas__patch_get(*index)->target);
    if (target->state != PATAS__RETIRED)
        return PATAS_OK;
    if (!(patas__patch_get(*index)->flags & PATAS__PENDING))
        patas__patch_free(*index); /* a batch frees its own */
    return fail(error, PATAS_ERR_UNLOADED, PATAS_REASON_NONE, target->entry);
}

static patas_status switch_patch(struct patas__patch *patch, bool on,
                                 patas_error *error)
{
    uint8_t before = patch->flags;
    uintptr_t replacement = patas__patch_replacement(patch);
    if (patch->flags & PATAS__PENDING)
        return fail(error, PATAS_ERR_STALE, PATAS_REASON_PENDING, 0);
    if (on && patas__check_replacement(replacement, error) != PATAS_OK)
        return fail(error, PATAS_ERR_UNLOADED, PATAS_REASON_REPLACEMENT_GONE,
                    patas__target_get(patch->target)->entry);
    patch->flags = (uint8_t)(on ? before | PATAS__ON : before & ~PATAS__ON);
    patas_status status = patas__target_redirect(patch->target, error);
    if (status != PATAS_OK) {
        patch->flags = before;
        (void)patas__stack_settle(patch->target);
    }
    return status;
}

static patas_status set_on(patas_patch *patch, bool on, patas_error *error)
{
    patas_error local;
    uint32_t index;
    if (!error)
        error = &local;
    patas_status status = enter_fresh(false, error);
    if (status != PATAS_OK)
        return status;
    status = live_patch(patch, &index, error);
    if (status == PATAS_OK)
        status = switch_patch(patas__patch_get(index), on, error);
    leave();
    return status;
}

patas_status patas_suspend(patas_patch *patch, patas_error *error)
{
    return set_on(patch, false, error);
}

patas_status patas_resume(patas_patch *patch, patas_error *error)
{
    return set_on(patch, true, error);
}

patas_status patas_restore(patas_patch *patch, patas_error *error)
{
    patas_error local;
    uint32_t index;
    if (!error)
        error = &local;
    patas_status status = enter_fresh(false, error);
    if (status != PATAS_OK)
        return status;
    status = live_patch(patch, &index, error);
    if (status == PATAS_OK && patas__patch_get(index)->flags & PATAS__PENDING)
        status = fail(error, PATAS_ERR_STALE, PATAS_REASON_PENDING, 0);
    if (status == PATAS_OK)
        status = commit_one(index, true, error);
    leave_unpinning();
    return status;
}

static bool is_live(const struct patas__patch *patch, unsigned mark)
{
    return patch->target && patch->mark > mark &&
           !(patch->flags & (PATAS__GHOST | PATAS__PENDING | PATAS__OURS));
}

/* Patches made after `mark`, as members; the ones of unloaded modules are
 * dropped on the way. */
static size_t gather(struct patas__member *members, unsigned mark)
{
    size_t count = 0;
    for (uint32_t i = 1; i < patas__patch_count(); i++) {
        const struct patas__patch *patch = patas__patch_get(i);
        if (!is_live(patch, mark))
            continue;
        if (patas__target_get(patch->target)->state == PATAS__RETIRED)
            patas__patch_free(i);
        else
            members[count++] = member_for(i, true);
    }
    return count;
}

static patas_status restore_members(struct patas__member *members, size_t count,
                                    patas_error *error)
{
    patas_error ignored;
    patas_status first = patas__members_commit(members, count, error);
    if (first == PATAS_OK)
        return PATAS_OK;
    for (size_t i = 0; i < count; i++)
        patas__members_commit(&members[i], 1, &ignored);
    return first;
}

patas_status patas_restore_since(unsigned mark, patas_error *error)
{
    patas_error local;
    void *members;
    if (!error)
        error = &local;
    patas_status status = enter_fresh(false, error);
    if (status != PATAS_OK)
        return status;
    size_t size = patas__patch_count() * sizeof(struct patas__member);
    if (status == PATAS_OK && size) {
        if (patas__os_map(size, PATAS__READ | PATAS__WRITE, &members)) {
            status = fail(error, PATAS_ERR_NO_MEMORY, PATAS_REASON_NONE, 0);
        } else {
            size_t count = gather(members, mark);
            if (count)
                status = restore_members(members, count, error);
            patas__os_unmap(members, size);
        }
    }
    leave_unpinning();
    return status;
}

patas_status patas_restore_all(patas_error *error)
{
    return patas_restore_since(0, error);
}

unsigned patas_mark(void)
{
    return patas__mark();
}

/* ---- batches
 * ----------------------------------------------------------------------------
 */

static patas_batch *batch_handle(uint32_t index, uint32_t generation)
{
    return (patas_batch *)patas__handle_make(index, generation);
}

static struct batch *batch_get(const patas_batch *batch)
{
    uintptr_t handle = (uintptr_t)batch;
    uint32_t index = patas__handle_number(handle);
    if (!index || index >= engine.batches.count)
        return NULL;
    struct batch *record =
        patas__table_at(&engine.batches, sizeof(struct batch), index);
    return record->open && patas__handle_is(handle, record->generation) ? record
                                                                        : NULL;
}

static uint32_t batch_record(void)
{
    for (uint32_t i = 1; i < engine.batches.count; i++) {
        const struct batch *batch =
            patas__table_at(&engine.batches, sizeof(struct batch), i);
        if (!batch->open)
            return i;
    }
    return patas__table_add(&engine.batches, sizeof(struct batch));
}

patas_batch *patas_batch_begin(patas_error *error)
{
    patas_error local;
    patas_batch *handle = NULL;
    if (!error)
        error = &local;
    if (enter_fresh(false, error) != PATAS_OK)
        return NULL;
    uint32_t index = batch_record();
    if (index) {
        struct batch *batch =
            patas__table_at(&engine.batches, sizeof(struct batch), index);
        batch->generation = (batch->generation + 1) & 0x7fffffff;
        batch->count = 0;
        batch->itself = 0;
        batch->open = true;
        handle = batch_handle(index, batch->generation);
    } else {
        fail(error, PATAS_ERR_NO_MEMORY, PATAS_REASON_NONE, 0);
    }
    leave();
    return handle;
}

static bool batch_room(struct batch *batch)
{
    if (batch->count < batch->capacity)
        return true;
    uint32_t more = batch->capacity ? batch->capacity * 2 : 256;
    void *memory;
    if (patas__os_map(more * sizeof *batch->members,
                      PATAS__READ | PATAS__WRITE | PATAS__SOON, &memory))
        return false;
    if (batch->capacity) {
        size_t size = batch->capacity * sizeof *batch->members;
        memcpy(memory, batch->members, size);
        patas__os_unmap(batch->members, size);
    }
    batch->members = memory;
    batch->capacity = more;
    return true;
}

/* The open batch behind a handle, with room for one more member. */
static patas_status batch_open(patas_batch *handle, struct batch **batch,
                               patas_error *error)
{
    *batch = batch_get(handle);
    if (!*batch)
        return fail(error, handle ? PATAS_ERR_STALE : PATAS_ERR_ARGUMENT,
                    handle ? PATAS_REASON_BATCH_ENDED : PATAS_REASON_NULL, 0);
    if (!batch_room(*batch))
        return fail(error, PATAS_ERR_NO_MEMORY, PATAS_REASON_NONE, 0);
    return PATAS_OK;
}

/* This batch's members need the module of `target` until it ends. */
static void batch_hold(struct batch *batch, uintptr_t target)
{
    uint32_t index;
    struct patas__module *module = patas__module_at(target, &index);
    if (!module || !module->pin || batch->held_count == HELD)
        return;
    for (unsigned i = 0; i < batch->held_count; i++)
        if (batch->held[i] == index)
            return;
    batch->held[batch->held_count++] = index;
    module->uses++;
}

static void batch_let_go(struct batch *batch)
{
    while (batch->held_count) {
        struct patas__module *module =
            patas__module_get(batch->held[--batch->held_count]);
        module->uses -= module->uses != 0;
    }
}

/* In a module that can't go while we have the lock? */
static const struct patas__module *settled(uintptr_t function)
{
    uint32_t index;
    const struct patas__module *module = patas__module_at(function, &index);
    return module && (module->start_code || module->vdso ||
                      (module->pin && module->uses))
               ? module
               : NULL;
}

/* ... and with nothing to follow? */
static bool settled_target(uintptr_t function, unsigned flags)
{
    const struct patas__module *module = settled(function);
    return module && patas__stands_for_itself(module, function, flags);
}

/* Most members of a batch have the same one. */
static bool settled_replacement(struct batch *batch, uintptr_t function)
{
    const struct patas__module *module = settled(function);
    if (!module || !batch)
        return false;
    if (batch->itself != function &&
        !patas__stands_for_itself(module, function, 0))
        return false;
    batch->itself = function;
    return true;
}

/* Comes in for one more member. Most need not ask the loader: what they name
 * was looked up before, and is held since. */
static patas_status enter_member(patas_batch *handle,
                                 const patas_options *options,
                                 struct pair *pair, patas_error *error)
{
    struct batch *batch;
    patas_status status = enter(error);
    if (status != PATAS_OK)
        return status;
    batch = batch_get(handle);
    if (settled_replacement(batch, pair->replacement) &&
        settled_target(pair->target, options->flags)) {
        batch_hold(batch, pair->target); /* others did so far */
        pair->from = pair->target;
        pair->to = pair->replacement;
        return PATAS_OK;
    }
    leave();
    status = enter_fresh(true, error);
    if (status != PATAS_OK)
        return status;
    status = pin_module(pair->target, error);
    if (status == PATAS_OK)
        status = pin_module(pair->replacement, error);
    if (status == PATAS_OK && (batch = batch_get(handle)) != NULL) {
        batch->itself = 0; /* the loader's list may be another by now */
        batch_hold(batch, pair->target);
    }
    if (status != PATAS_OK) {
        leave_unpinning();
        return status;
    }
    *pair = resolve_pair((patas_fn)pair->target, (patas_fn)pair->replacement,
                         options);
    return PATAS_OK;
}

patas_status patas_batch_replace_with(patas_batch *handle, patas_fn target,
                                      patas_fn replacement,
                                      const patas_options *options,
                                      patas_patch **patch, patas_error *error)
{
    patas_error local;
    patas_options known;
    struct batch *batch;
    uint32_t index;
    struct pair pair = {(uintptr_t)target, (uintptr_t)replacement, 0, 0};
    if (!error)
        error = &local;
    if (patch)
        *patch = NULL;
    if (!patch || !target || !replacement)
        return fail(error, PATAS_ERR_ARGUMENT, PATAS_REASON_NULL,
                    (uintptr_t)target);
    patas_status status = read_options(options, &known, error);
    if (status == PATAS_OK)
        status = enter_member(handle, &known, &pair, error);
    if (status != PATAS_OK)
        return status;
    status = batch_open(handle, &batch, error);
    if (status == PATAS_OK)
        status = make_patch(&pair, &known, batch->count + 1, &index, error);
    if (status == PATAS_OK) {
        batch->members[batch->count++] = member_for(index, false);
        __atomic_store_n(patch, patas__handle(index), __ATOMIC_RELEASE);
    } else if (!error->target) {
        error->target = (uintptr_t)target;
    }
    if (status == PATAS_OK)
        leave();
    else
        leave_unpinning();
    return status;
}

patas_status patas_batch_replace(patas_batch *batch, patas_fn target,
                                 patas_fn replacement, patas_patch **patch,
                                 patas_error *error)
{
    return patas_batch_replace_with(batch, target, replacement, NULL, patch,
                                    error);
}

patas_status patas_batch_restore(patas_batch *handle, patas_patch *patch,
                                 patas_error *error)
{
    patas_error local;
    struct batch *batch;
    uint32_t index;
    if (!error)
        error = &local;
    patas_status status = enter_fresh(true, error);
    if (status != PATAS_OK)
        return status;
    status = batch_open(handle, &batch, error);
    if (status == PATAS_OK)
        status = live_patch(patch, &index, error);
    if (status == PATAS_OK && patas__patch_get(index)->flags & PATAS__PENDING)
        status = fail(error, PATAS_ERR_STALE, PATAS_REASON_PENDING, 0);
    if (status == PATAS_OK)
        batch->members[batch->count++] = member_for(index, true);
    leave();
    return status;
}

/* Its members' memory goes, and what a failed one made. */
static void batch_end(struct batch *batch, bool undo)
{
    for (uint32_t i = batch->count; undo && i-- > 0;) {
        struct patas__member *member = &batch->members[i];
        if (!member->restore &&
            patas__patch_get(member->patch)->generation == member->generation)
            patas__patch_free(member->patch);
    }
    batch_let_go(batch);
    if (batch->capacity)
        patas__os_unmap(batch->members,
                        batch->capacity * sizeof *batch->members);
    batch->members = NULL;
    batch->capacity = 0;
    batch->open = false;
}

patas_status patas_batch_commit(patas_batch *handle, patas_error *error)
{
    patas_error local;
    if (!error)
        error = &local;
    patas_status status = enter_fresh(false, error);
    if (status != PATAS_OK)
        return status;
    struct batch *batch = batch_get(handle);
    if (!batch) {
        status = fail(error, handle ? PATAS_ERR_STALE : PATAS_ERR_ARGUMENT,
                      handle ? PATAS_REASON_BATCH_ENDED : PATAS_REASON_NULL, 0);
        leave_unpinning();
        return status;
    }
    status = patas__members_commit(batch->members, batch->count, error);
    if (status == PATAS_OK)
        patas__describe_members(batch->members, batch->count);
    batch_end(batch, status != PATAS_OK);
    if (status == PATAS_OK)
        after_commit();
    leave_unpinning();
    return status;
}

void patas_batch_abort(patas_batch *handle)
{
    if (enter(NULL) != PATAS_OK)
        return;
    struct batch *batch = batch_get(handle);
    if (batch)
        batch_end(batch, true);
    leave_unpinning();
}

/* ---- telling
 * --------------------------------------------------------------------------------
 */

static void plan_tell(const struct patas__request *request,
                      patas_plan_info *info)
{
    info->entry = request->entry;
    info->extent = (size_t)request->extent;
    info->padding = (size_t)request->padding;
    info->in_the_way = request->in_the_way;
    memcpy(info->passed_by, request->passed_by, sizeof info->passed_by);
    memcpy(info->before, request->survey.bytes, sizeof info->before);
    memcpy(info->after, request->survey.bytes, sizeof info->after);
    info->form = request->plan.form;
    if (info->form == PATAS_FORM_NONE)
        return;
    info->written = request->plan.written;
    info->moved = request->moved;
    info->island = request->stub;
    patas__plan_bytes(&request->plan, &request->survey, request->stub,
                      request->gap, info->after);
}

/* A target that is known has its plan already. */
static void plan_tell_known(uint32_t index, patas_plan_info *info)
{
    const struct patas__target *target = patas__target_get(index);
    uint8_t before[8], after[8];
    const size_t rest = sizeof before - target->at;
    patas__target_bytes(target, before, after);
    memcpy(info->before, (const void *)target->entry, target->at);
    memcpy(info->after, info->before, target->at);
    memcpy(info->before + target->at, before, rest);
    memcpy(info->after + target->at, after, rest);
    info->form = (patas_form)target->form;
    info->written = target->written;
    info->island = patas__target_island(target);
    struct patas__remade remade;
    if (patas__describe_move(target, &remade))
        info->moved = (unsigned)remade.move.moved;
    for (uint32_t at = target->top; at; at = patas__patch_get(at)->below)
        info->patches += !(patas__patch_get(at)->flags & PATAS__GHOST);
}

patas_status patas_plan_with(patas_fn target, const patas_options *options,
                             patas_plan_info *info, patas_error *error)
{
    patas_error local;
    patas_options known;
    uint32_t index = 0;
    if (!error)
        error = &local;
    if (!target || !info || info->size != sizeof *info)
        return fail(error, PATAS_ERR_ARGUMENT,
                    target && info ? PATAS_REASON_OPTIONS : PATAS_REASON_NULL,
                    (uintptr_t)target);
    *info = (patas_plan_info){.size = sizeof *info,
                              .target = (uintptr_t)target,
                              .entry = (uintptr_t)target};
    patas_status status = read_options(options, &known, error);
    if (status == PATAS_OK)
        status = enter_fresh(false, error);
    if (status != PATAS_OK)
        return status;
    struct patas__request request = {
        .asked = (uintptr_t)target,
        .entry = patas__resolve((uintptr_t)target, known.flags),
        .flags = known.flags};
    uint32_t known_target = patas__prepare_known(&request);
    status = patas__prepare(&request, !known_target, &index, error);
    plan_tell(&request, info);
    if (status == PATAS_OK && known_target)
        plan_tell_known(known_target, info);
    leave();
    return status;
}

patas_status patas_plan(patas_fn target, patas_plan_info *info,
                        patas_error *error)
{
    return patas_plan_with(target, NULL, info, error);
}

patas_status patas_announce(unsigned how, patas_error *error)
{
    patas_error local;
    if (!error)
        error = &local;
    if (how & ~(unsigned)(PATAS_ANNOUNCE_GDB | PATAS_ANNOUNCE_PERF))
        return fail(error, PATAS_ERR_ARGUMENT, PATAS_REASON_OPTIONS, 0);
    patas_status status = enter_fresh(false, error);
    if (status != PATAS_OK)
        return status;
    status = patas__describe_switch(how, error);
    leave();
    return status;
}

patas_status patas_stats_read(patas_stats *stats)
{
    if (!stats || stats->size != sizeof *stats)
        return PATAS_ERR_ARGUMENT;
    patas_status status = enter(NULL);
    if (status != PATAS_OK)
        return status;
    *stats = (patas_stats){.size = sizeof *stats};
    for (uint32_t i = 1; i < patas__patch_count(); i++)
        stats->patches += is_live(patas__patch_get(i), 0);
    for (uint32_t i = 1; i < patas__target_count(); i++) {
        const struct patas__target *target = patas__target_get(i);
        if (target->state == PATAS__RETIRED)
            continue;
        stats->targets++;
        stats->by_form[target->form]++;
    }
    struct patas__island_stats islands = patas__island_count();
    struct patas__commit_stats commits = patas__members_stats();
    stats->code_bytes = islands.code_bytes;
    stats->data_bytes = islands.data_bytes + patas__registry_bytes();
    stats->mappings = islands.mappings;
    stats->traps_carried = patas__trap_carried();
    stats->threads_moved = commits.threads_moved;
    stats->threads_held = commits.threads_held;
    stats->commits = commits.commits;
    leave();
    return PATAS_OK;
}
