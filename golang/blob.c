/* SPDX-License-Identifier: MIT */
/*
 * The blob's one function: Go functions, on the engine.
 */
#include "blob.h"

#include "again.h"
#include "batch.h"
#include "island.h"
#include "native.h"
#include "os.h"
#include "pclntab.h"
#include "prepare.h"
#include "prologue.h"
#include "registry.h"
#include "thunk.h"

static struct {
    struct patas__image image;
    struct patas__pclntab tab;
    bool started;
} go;

/* ---- this program ---- */

static void add_segment(const NATIVE(Phdr) * phdr, uint64_t bias)
{
    struct patas__image *image = &go.image;
    if (image->segment_count == PATAS__SEGMENTS_MAX)
        return;
    struct patas__segment *segment = &image->segments[image->segment_count++];
    uint64_t address = bias + phdr->p_vaddr;
    /* What lies behind the file's part is zero, and may be huge. */
    *segment =
        (struct patas__segment){.address = address,
                                .size = phdr->p_filesz,
                                .bytes = (const uint8_t *)(uintptr_t)address,
                                .executable = phdr->p_flags & PF_X,
                                .writable = phdr->p_flags & PF_W};
}

static bool read_heads(void)
{
    struct patas__gofunc func;
    for (uint32_t i = 0; i < go.tab.functions; i++) {
        if (!patas__pclntab_func(&go.tab, i, &func))
            continue;
        size_t size = (size_t)(func.end - func.entry);
        const uint8_t *bytes = patas__image_bytes(&go.image, func.entry, size);
        if (bytes && patas__go_thunk_learn(bytes, size))
            return true;
    }
    return false;
}

static bool read_program(void)
{
    enum {
        AT_PHDR_ = 3,
        AT_PHNUM_ = 5
    };
    const NATIVE(Phdr) *phdrs = (const NATIVE(Phdr) *)patas__os_auxv(AT_PHDR_);
    uintptr_t count = patas__os_auxv(AT_PHNUM_);
    uint64_t bias = 0;
    if (!phdrs || count > 256)
        return false;
    for (uintptr_t i = 0; i < count; i++)
        if (phdrs[i].p_type == PT_PHDR)
            bias = (uint64_t)(uintptr_t)phdrs - phdrs[i].p_vaddr;
    go.image.isa = patas__isa_host();
    go.image.bias = bias;
    for (uintptr_t i = 0; i < count; i++)
        if (phdrs[i].p_type == PT_LOAD && phdrs[i].p_flags & PF_R)
            add_segment(&phdrs[i], bias);
    return patas__pclntab_find(&go.image, &go.tab) && read_heads();
}

static void tell_func(struct patas__go_call *call,
                      const struct patas__gofunc *func)
{
    size_t length;
    const char *name = patas__pclntab_name(&go.tab, func->name, &length);
    call->out[0] = func->entry;
    call->out[1] = func->end;
    call->out[2] = (uintptr_t)name;
    call->out[3] = length;
    call->out[4] = (uint64_t)func->flag | (uint64_t)func->id << 8;
    call->out[5] = (uint64_t)(int64_t)func->args;
    int32_t line;
    call->out[6] = (uintptr_t)patas__pclntab_line(&go.tab, func, func->entry,
                                                  &line, &length);
    call->out[7] = length;
}

static void refuse(struct patas__go_call *call, enum patas__go_refusal why,
                   uint64_t where)
{
    call->status = PATAS_ERR_UNSUPPORTED;
    call->refusal = why;
    call->out[0] = where;
}

static void op_start(struct patas__go_call *call)
{
    if (!go.started)
        go.started = read_program();
    if (!go.started) {
        refuse(call, PATAS__GO_NO_TABLE, 0);
        return;
    }
    call->out[0] = go.tab.layout;
    call->out[1] = go.tab.functions;
    call->out[2] = go.tab.text;
    call->out[3] = go.image.bias;
}

static void op_func(struct patas__go_call *call)
{
    struct patas__gofunc func;
    if (patas__pclntab_at(&go.tab, call->in[0], &func))
        tell_func(call, &func);
    else
        refuse(call, PATAS__GO_NO_FUNCTION, call->in[0]);
}

static void op_named(struct patas__go_call *call)
{
    struct patas__gofunc func;
    uint32_t index = (uint32_t)call->in[2];
    if (patas__pclntab_named(&go.tab, (const char *)(uintptr_t)call->in[0],
                             (size_t)call->in[1], &index, &func))
        tell_func(call, &func);
    else
        refuse(call, PATAS__GO_NO_FUNCTION, 0);
    call->in[2] = index;
}

static void op_called(struct patas__go_call *call)
{
    struct patas__gofunc func;
    call->out[0] = patas__pclntab_at(&go.tab, call->in[0], &func) &&
                   patas__pclntab_called(&go.tab, &func);
}

/* ---- inlined calls ---- */

struct places {
    struct patas__go_place *places;
    size_t room, count;
};

static bool add_place(void *data, const struct patas__inlined *inlined)
{
    struct places *places = data;
    if (places->count++ >= places->room)
        return true;
    struct patas__go_place *place = &places->places[places->count - 1];
    size_t length;
    int32_t line;
    place->name =
        (uintptr_t)patas__pclntab_name(&go.tab, inlined->in.name, &length);
    place->name_size = length;
    place->file = (uintptr_t)patas__pclntab_line(&go.tab, &inlined->in,
                                                 inlined->pc, &line, &length);
    place->file_size = length;
    place->line = (uint64_t)line;
    return true;
}

static void op_inlined(struct patas__go_call *call)
{
    struct places places = {
        .places = (struct patas__go_place *)(uintptr_t)call->in[2],
        .room = (size_t)call->in[3]};
    patas__pclntab_inlined(&go.tab, (const char *)(uintptr_t)call->in[0],
                           (size_t)call->in[1], add_place, &places);
    call->out[0] = places.count;
}

/* ---- replacing ---- */

/* The slots of a thunk, from what the package gave; counters begin anew. */
static void thunk_aim(uintptr_t thunk, const struct patas__go_call *call)
{
    const uint64_t *values = (const uint64_t *)(uintptr_t)call->in[4];
    for (unsigned i = 0; i < PATAS__GO_F_NEXT; i++) {
        uintptr_t *slot = patas__go_thunk_slot(thunk, call->in[3], i);
        uint64_t value = i == PATAS__GO_F_VALUE ? call->in[1] : values[i];
        if (slot)
            __atomic_store_n(slot, (uintptr_t)value, __ATOMIC_RELEASE);
    }
}

static void fail_engine(struct patas__go_call *call, patas_status status)
{
    call->status = status;
    (void)patas_error_text(&call->error, call->text, sizeof call->text);
}

static bool reads_shape(struct patas__go_call *call, uintptr_t entry,
                        struct patas__gofunc *func, struct patas__go_head *head)
{
    const uint8_t *bytes = NULL;
    if (patas__pclntab_at(&go.tab, entry, func) && func->entry == entry)
        bytes = patas__image_bytes(&go.image, entry, func->end - entry);
    if (!bytes) {
        refuse(call, PATAS__GO_NO_FUNCTION, entry);
        return false;
    }
    patas__go_head(go.image.isa, bytes, func->end - entry, entry, head);
    return true;
}

static void op_shape(struct patas__go_call *call)
{
    struct patas__gofunc func;
    struct patas__go_head head;
    if (!reads_shape(call, (uintptr_t)call->in[0], &func, &head))
        return;
    call->out[0] = head.trouble;
    call->out[1] = head.shape;
    call->out[2] = head.body_end - func.entry;
    call->out[3] = head.calls;
    call->out[4] = head.again;
    call->out[5] = head.again_size;
    call->out[6] = head.padding;
    call->out[7] = head.last;
}

/* F[int] and F[go.shape.int]: alike up to the bracket. */
static bool same_generic(const struct patas__gofunc *func, uint64_t target)
{
    struct patas__gofunc other;
    size_t size, other_size, i = 0;
    if (!patas__pclntab_at(&go.tab, target, &other) || other.entry != target)
        return false;
    const char *name = patas__pclntab_name(&go.tab, func->name, &size);
    const char *like = patas__pclntab_name(&go.tab, other.name, &other_size);
    if (!name || !like)
        return false;
    while (i < size && i < other_size && name[i] == like[i] && name[i] != '[')
        i++;
    return i < size && i < other_size && name[i] == '[' && like[i] == '[' &&
           other.entry != func->entry;
}

/* Is it code that all types of one shape share? Old tables abbreviate the
 * types to three dots. */
static bool any_generic(uint64_t target)
{
    struct patas__gofunc func;
    size_t size;
    if (!patas__pclntab_at(&go.tab, target, &func))
        return false;
    const char *name = patas__pclntab_name(&go.tab, func.name, &size);
    for (size_t i = 0; name && i < size; i++)
        if (name[i] == '[')
            return true;
    return false;
}

/*
 * A generic function as a value is a wrapper that adds a dictionary and calls
 * the code that all types of one shape share:
 *
 *     lea dictionary(%rip), %reg;  call shape
 *
 *     lea dictionary, %reg;  mov %reg, offset(%esp);  call shape      386
 *
 *     adrp xn, dictionary;  add xn, xn, :lo12:dictionary;  bl shape   arm64
 */
static void op_generic(struct patas__go_call *call)
{
    const struct patas__go_dialect *dialect = patas__go_dialect(go.image.isa);
    struct patas__go_dictionary state = {{0}, 0, 0};
    struct patas__gofunc func;
    struct patas__insn insn;
    uint64_t at = call->in[0];
    call->out[0] = call->out[1] = 0;
    if (!patas__pclntab_at(&go.tab, at, &func) || func.entry != at) {
        refuse(call, PATAS__GO_NO_FUNCTION, at);
        return;
    }
    for (; at < func.end; at += insn.length) {
        size_t left = (size_t)(func.end - at);
        struct patas__go_text text = {
            go.image.isa, patas__image_bytes(&go.image, at, left), left, at};
        if (!text.bytes || !text.isa->decode(text.bytes, left, at, &insn))
            return;
        if (insn.has_target && insn.flow == PATAS__FLOW_CALL &&
            (call->in[1] ? any_generic(insn.target)
                         : same_generic(&func, insn.target))) {
            call->out[0] = insn.target;
            call->out[1] = state.value;
            call->out[2] = state.place;
            return;
        }
        dialect->dictionary(&text, &insn, &state);
    }
}

/* Calls that the linker does not count as such where it decides which functions
 * need a stack check (cmd/internal/obj/x86, isZeroArgRuntimeCall). */
static bool counts_not(uint64_t target)
{
    static const char *const names[] = {
        "runtime.panicdivide", "runtime.panicwrap", "runtime.panicshift",
        "runtime.duffzero", "runtime.duffcopy"};
    struct patas__gofunc func;
    size_t size, i;
    if (!patas__pclntab_at(&go.tab, target, &func))
        return false;
    const char *is = patas__pclntab_name(&go.tab, func.name, &size);
    for (unsigned k = 0; is && k < sizeof names / sizeof *names; k++) {
        for (i = 0; i < size && names[k][i] == is[i]; i++)
            ;
        if (i == size && !names[k][i])
            return true;
    }
    return false;
}

/* Is a function without a stack check one that needs none? */
static bool is_leaf(const struct patas__gofunc *func, uint64_t end)
{
    struct patas__insn insn;
    for (uint64_t at = func->entry; at < end; at += insn.length) {
        size_t left = (size_t)(end - at);
        const uint8_t *bytes = patas__image_bytes(&go.image, at, left);
        if (!bytes || !go.image.isa->decode(bytes, left, at, &insn) ||
            (insn.flow == PATAS__FLOW_CALL &&
             (!insn.has_target || !counts_not(insn.target))))
            return false;
    }
    return true;
}

static bool suits(struct patas__go_call *call, const struct patas__gofunc *func,
                  const struct patas__go_head *head)
{
    if (func->flag & PATAS__GO_ASSEMBLY)
        refuse(call, PATAS__GO_ASM, func->entry);
    else if (head->shape == PATAS__GO_UNKNOWN)
        refuse(call, PATAS__GO_NOT_READ, head->trouble);
    else if (head->shape == PATAS__GO_NOSPLIT && !is_leaf(func, head->body_end))
        refuse(call, PATAS__GO_IS_NOSPLIT, func->entry);
    else if (head->enters & 1)
        refuse(call, PATAS__GO_LOOPS, func->entry);
    else
        return true;
    return false;
}

static bool fits(struct patas__go_call *call, const struct patas__target *to,
                 const struct patas__go_head *head)
{
    const struct patas__go_text text = {
        go.image.isa, (const uint8_t *)to->entry, PATAS__INSN_MAX, to->entry};
    const unsigned jump = text.isa->jump;
    const uint32_t inner = (UINT32_C(1) << jump) - 2;
    bool jump_alone = to->form == PATAS_FORM_KEPT_BYTES;
    if (!jump_alone && head->enters & inner) {
        refuse(call, PATAS__GO_LOOPS, to->entry);
        return false;
    }
    /* Of kept bytes, the inside of the first instruction is no place that a
     * branch can go to. */
    unsigned moved = to->form == PATAS_FORM_TRAP_BYTES ? jump : 1;
    if (patas__go_dialect(text.isa)->may_fault(&text, moved)) {
        refuse(call, PATAS__GO_MAY_FAULT, to->entry);
        return false;
    }
    return true;
}

/* The way back from a grown stack, before the entry changes. */
static patas_status lead_back(struct patas__go_call *call,
                              const struct patas__target *target,
                              const struct patas__go_head *head,
                              struct patas__go_again *again)
{
    unsigned unit = patas__commit_unit(target->entry);
    again->first = 2;
    patas_status status = patas__go_again(head, patas__target_head(target),
                                          unit ? unit : 8, again);
    if (status == PATAS_OK && patas__island_publish())
        status = PATAS_ERR_DENIED;
    if (status == PATAS_OK)
        return patas__go_again_commit(again, &call->error);
    call->error =
        (patas_error){.status = status, .target = (uintptr_t)target->entry};
    return status;
}

static patas_status install(struct patas__go_call *call, uint32_t index,
                            uintptr_t thunk, const struct patas__go_head *head)
{
    struct patas__go_again again = {.first = 2};
    patas_status status = PATAS_OK;
    const uint64_t kind = call->in[3];
    const struct patas__patch *patch = patas__patch_get(index);
    const struct patas__target *target = patas__target_get(patch->target);
    call->out[5] = patas__target_head(target);
    if (!call->in[5] && fits(call, target, head))
        status = lead_back(call, target, head, &again);
    else if (call->in[5] && call->in[5] != call->out[5])
        refuse(call, PATAS__GO_NOT_READ, target->entry); /* planned anew */
    if (call->refusal || status != PATAS_OK)
        return call->refusal ? PATAS_ERR_UNSUPPORTED : status;
    uintptr_t original = patas__patch_original(patch);
    *patas__go_thunk_slot(thunk, kind, PATAS__GO_F_NEXT) = original;
    call->out[0] = (uintptr_t)patas__handle(index);
    call->out[2] = original;
    call->out[3] = target->form;
    call->out[4] =
        (uintptr_t)patas__go_thunk_slot(thunk, kind, PATAS__GO_F_REACHED);
    if (call->in[6]) /* the first caller may ask for it */
        __atomic_store_n((uintptr_t *)(uintptr_t)call->in[6], original,
                         __ATOMIC_RELEASE);
    struct patas__member member = {.patch = index,
                                   .generation = patch->generation};
    status = patas__members_commit(&member, 1, &call->error);
    if (status != PATAS_OK)
        patas__go_again_undo(&again);
    return status;
}

/* What patas_replace_with() does, but for a step between the record and the
 * commit. The package's lock stands for the engine's. */
static patas_status replace(struct patas__go_call *call, uintptr_t entry,
                            uintptr_t thunk, const struct patas__go_head *head)
{
    struct patas__request request = {.asked = entry,
                                     .entry = entry,
                                     .flags = PATAS_ENTRY,
                                     .searched = true,
                                     .entering = head->enters};
    uint32_t target, index;
    patas__prepare_reset();
    patas_status status = patas__check_replacement(thunk, &call->error);
    if (status == PATAS_OK)
        status = patas__prepare(&request, false, &target, &call->error);
    if (status != PATAS_OK)
        return status;
    status = patas__patch_new(target, thunk, NULL, &index);
    if (status != PATAS_OK) {
        call->error = (patas_error){.status = status, .target = entry};
        return status;
    }
    status = install(call, index, thunk, head);
    if (status != PATAS_OK)
        patas__patch_free(index);
    return status;
}

static void op_replace(struct patas__go_call *call)
{
    uintptr_t entry = (uintptr_t)call->in[0], thunk = (uintptr_t)call->in[2];
    struct patas__go_head head = {0};
    struct patas__gofunc func;
    if (!call->in[5] &&
        (!reads_shape(call, entry, &func, &head) || !suits(call, &func, &head)))
        return;
    if ((!thunk && patas__go_thunk_make(entry, call->in[3], &thunk)) ||
        patas__island_publish()) {
        call->error =
            (patas_error){.status = PATAS_ERR_NO_MEMORY, .target = entry};
        fail_engine(call, PATAS_ERR_NO_MEMORY);
        return;
    }
    thunk_aim(thunk, call);
    call->out[1] = thunk;
    patas_status status = replace(call, entry, thunk, &head);
    if (status != PATAS_OK && !call->refusal)
        fail_engine(call, status);
}

static void op_change(struct patas__go_call *call,
                      patas_status (*change)(patas_patch *, patas_error *))
{
    patas_patch *patch = (patas_patch *)(uintptr_t)call->in[0];
    patas_status status = change(patch, &call->error);
    if (status != PATAS_OK)
        fail_engine(call, status);
}

static void op_stats(struct patas__go_call *call)
{
    patas_stats stats = {.size = sizeof stats};
    call->status = patas_stats_read(&stats);
    call->out[0] = stats.patches;
    call->out[1] = stats.traps_carried;
    call->out[2] = stats.code_bytes;
    call->out[3] = stats.data_bytes;
    call->out[4] = stats.mappings;
    call->out[5] = stats.commits;
}

/* ---- the one function ---- */

PATAS__HIDDEN void patas__go_enter(struct patas__go_call *call);

__attribute__((used)) void patas__go_enter(struct patas__go_call *call)
{
    call->status = call->refusal = 0;
    if (call->op != PATAS__GO_START && !go.started) {
        refuse(call, PATAS__GO_NO_TABLE, 0);
        return;
    }
    switch (call->op) {
    case PATAS__GO_START:
        op_start(call);
        break;
    case PATAS__GO_FUNC:
        op_func(call);
        break;
    case PATAS__GO_NAMED:
        op_named(call);
        break;
    case PATAS__GO_INLINED:
        op_inlined(call);
        break;
    case PATAS__GO_CALLED:
        op_called(call);
        break;
    case PATAS__GO_SHAPE:
        op_shape(call);
        break;
    case PATAS__GO_REPLACE:
        op_replace(call);
        break;
    case PATAS__GO_SUSPEND:
        op_change(call, patas_suspend);
        break;
    case PATAS__GO_RESUME:
        op_change(call, patas_resume);
        break;
    case PATAS__GO_RESTORE:
        op_change(call, patas_restore);
        break;
    case PATAS__GO_GENERIC:
        op_generic(call);
        break;
    case PATAS__GO_TYPES:
        if (!patas__pclntab_types(&go.tab, &call->out[0], &call->out[1],
                                  &call->out[2]))
            refuse(call, PATAS__GO_NO_TABLE, 0);
        break;
    case PATAS__GO_STATS:
        op_stats(call);
        break;
    default:
        call->status = PATAS_ERR_ARGUMENT;
        break;
    }
}
