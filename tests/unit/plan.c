/* SPDX-License-Identifier: MIT */
/*
 * Nobody executes half an instruction.
 *
 * Functions are made up, instruction by instruction, so that it is known where
 * a thread may stand and what leads there. Each form that the planner offers
 * is then held against that: every place in front of which a thread may be
 * before the write, and every place that code which stays can lead to after
 * it, must be untouched, or a trap that carries to the same instruction.
 */
#include "image_support.h"
#include "island.h"
#include "prepare.h"
#include "trap.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum {
    MEMORY = 512,
    AT = 192, /* of the function in it */
    EDGES = 640,
    ROUNDS = 60000
};

/* What leads to a place. */
enum way {
    WAY_NEXT,   /* the instruction in front of it */
    WAY_BRANCH, /* a jump or branch */
    WAY_RETURN  /* a call or system call that is under way */
};

struct edge {
    int from, to; /* offsets from the entry; `from` INT32_MIN: elsewhere */
    enum way way;
};

/* A function, what surrounds it, and the truth about both. */
struct world {
    uint64_t entry;
    uint8_t memory[MEMORY];
    int body, padding; /* bytes */
    bool known;        /* are those told to the planner? */
    uint32_t enters;   /* what a search for branches would answer */
    struct edge edges[EDGES];
    unsigned edge_count;
    bool begins[MEMORY]; /* an instruction that may run begins there */
};

/* The one of this host: addresses and traps are its own. */
#define isa (patas__isa_host())

static bool is_wide(void)
{
    return isa->pointer_size == 8;
}

/* An address has no more bits than a pointer. */
static uint64_t address_of(uint64_t sum)
{
    return is_wide() ? sum : (uint32_t)sum;
}

/* ---- chance -------------------------------------------------------------- */

static uint64_t chance_state;

static uint32_t chance(uint32_t below)
{
    chance_state ^= chance_state << 13;
    chance_state ^= chance_state >> 7;
    chance_state ^= chance_state << 17;
    return (uint32_t)(chance_state >> 32) % below;
}

/* ---- making functions ---------------------------------------------------- */

struct piece {
    uint8_t size;
    uint8_t bytes[11];
};

enum {
    PLAIN = 18,
    PLAIN_LOCKED = 12
};
static const struct piece plain_64[PLAIN] = {
    {1, {0x55}},                                     /* push %rbp */
    {1, {0x53}},                                     /* push %rbx */
    {1, {0x99}},                                     /* cltd */
    {1, {0x90}},                                     /* nop */
    {2, {0x41, 0x54}},                               /* push %r12 */
    {2, {0x31, 0xc0}},                               /* xor %eax, %eax */
    {2, {0x89, 0xfb}},                               /* mov %edi, %ebx */
    {2, {0xf3, 0xa4}},                               /* rep movsb */
    {3, {0x48, 0x89, 0xe5}},                         /* mov %rsp, %rbp */
    {3, {0x0f, 0xb6, 0x07}},                         /* movzbl (%rdi), %eax */
    {4, {0x48, 0x83, 0xec, 0x08}},                   /* sub $8, %rsp */
    {4, {0xf3, 0x0f, 0x1e, 0xfa}},                   /* endbr64 */
    {4, {0xf0, 0x0f, 0xb1, 0x0f}},                   /* lock cmpxchg */
    {5, {0xb8, 0x07, 0x00, 0x00, 0x00}},             /* mov $7, %eax */
    {5, {0x0f, 0x1f, 0x44, 0x00, 0x00}},             /* nopl */
    {6, {0x8b, 0x05, 0x10, 0x20, 0x00, 0x00}},       /* mov x(%rip), %eax */
    {7, {0x48, 0x8d, 0x05, 0x40, 0x10, 0x00, 0x00}}, /* lea x(%rip), %rax */
    {10, {0x48, 0xb8, 1, 2, 3, 4, 5, 6, 7, 8}},      /* movabs */
};

static const struct piece plain_32[PLAIN] = {
    {1, {0x55}},                                 /* push %ebp */
    {1, {0x53}},                                 /* push %ebx */
    {1, {0x99}},                                 /* cltd */
    {1, {0x90}},                                 /* nop */
    {1, {0x57}},                                 /* push %edi */
    {2, {0x31, 0xc0}},                           /* xor %eax, %eax */
    {2, {0x89, 0xe5}},                           /* mov %esp, %ebp */
    {2, {0xf3, 0xa4}},                           /* rep movsb */
    {3, {0x83, 0xec, 0x0c}},                     /* sub $12, %esp */
    {3, {0x0f, 0xb6, 0x07}},                     /* movzbl (%edi), %eax */
    {4, {0x8b, 0x44, 0x24, 0x08}},               /* mov 8(%esp), %eax */
    {4, {0xf3, 0x0f, 0x1e, 0xfb}},               /* endbr32 */
    {4, {0xf0, 0x0f, 0xb1, 0x0f}},               /* lock cmpxchg */
    {5, {0xb8, 0x07, 0x00, 0x00, 0x00}},         /* mov $7, %eax */
    {5, {0x0f, 0x1f, 0x44, 0x00, 0x00}},         /* nopl */
    {6, {0x8b, 0x83, 0x10, 0x20, 0x00, 0x00}},   /* mov x(%ebx), %eax */
    {6, {0x81, 0xc3, 0x40, 0x10, 0x00, 0x00}},   /* add $x, %ebx */
    {8, {0xc7, 0x44, 0x24, 0x04, 0x01, 0, 0, 0}} /* movl $1, 4(%esp) */
};

/* Kinds of what a generated instruction is. */
enum kind {
    KIND_PLAIN,
    KIND_SHORT, /* jcc rel8 to an instruction of the function */
    KIND_LONG,  /* jcc rel32, the same */
    KIND_JUMP,  /* jmp rel8, the same */
    KIND_SKIP,  /* jcc rel8 over the next instruction's first byte (lock) */
    KIND_CALL,  /* call rel32, far away */
    KIND_CALL_REGISTER,
    KIND_SYSCALL,
    KIND_END /* ret */
};

struct sketch {
    enum kind kind;
    int at; /* offset from the entry */
    int size;
};

static int sketch_size(enum kind kind)
{
    static const uint8_t sizes[] = {
        [KIND_SHORT] = 2,   [KIND_LONG] = 6, [KIND_JUMP] = 2,
        [KIND_SKIP] = 2,    [KIND_CALL] = 5, [KIND_CALL_REGISTER] = 2,
        [KIND_SYSCALL] = 2, [KIND_END] = 1};

    return sizes[kind];
}

static void edge_add(struct world *world, int from, int to, enum way way)
{
    ck_assert_uint_lt(world->edge_count, EDGES);
    world->edges[world->edge_count++] = (struct edge){from, to, way};
    if (to >= -AT && to < MEMORY - AT)
        world->begins[AT + to] = true;
}

static enum kind sketch_kind(void)
{
    static const uint8_t kinds[] = {
        KIND_SHORT,         KIND_LONG,    KIND_JUMP, KIND_CALL,
        KIND_CALL_REGISTER, KIND_SYSCALL, KIND_SKIP, KIND_END};

    return chance(3) ? KIND_PLAIN : (enum kind)kinds[chance(sizeof kinds)];
}

static void put_plain(uint8_t *bytes, struct sketch *sketch, bool lock)
{
    const struct piece *plain = is_wide() ? plain_64 : plain_32;
    const struct piece *piece = &plain[lock ? PLAIN_LOCKED : chance(PLAIN)];

    memcpy(bytes, piece->bytes, piece->size);
    sketch->size = piece->size;
}

/* One that ends, or goes on into whatever follows. */
static int layout(uint8_t *bytes, struct sketch *sketches, int from,
                  unsigned count, bool ends)
{
    bool lock = false;

    for (unsigned i = 0; i < count; i++) {
        struct sketch *sketch = &sketches[i];
        sketch->at = from;
        sketch->kind = lock ? KIND_PLAIN : sketch_kind();
        if (i + 1 == count)
            sketch->kind = ends ? KIND_END : KIND_PLAIN;
        if (sketch->kind == KIND_SKIP && i + 2 >= count)
            sketch->kind = KIND_PLAIN;
        sketch->size = sketch_size(sketch->kind);
        if (sketch->kind == KIND_PLAIN)
            put_plain(bytes + from, sketch, lock);
        lock = sketch->kind == KIND_SKIP;
        from += sketch->size;
    }
    return from;
}

static void put_branch(struct world *world, const struct sketch *all,
                       unsigned count, const struct sketch *sketch)
{
    uint8_t *bytes = world->memory + AT + sketch->at;
    int to = all[chance(count)].at;
    int rel = to - (sketch->at + sketch->size);

    if (sketch->kind == KIND_SKIP || rel < -128 || rel > 127) {
        rel = sketch->kind == KIND_SKIP; /* the lock prefix, or nothing */
        to = sketch->at + sketch->size + rel;
    }
    bytes[0] = sketch->kind == KIND_JUMP ? 0xeb : 0x74;
    bytes[1] = (uint8_t)rel;
    if (sketch->kind == KIND_LONG) {
        bytes[0] = 0x0f;
        bytes[1] = 0x84;
        patas__store32(bytes + 2, (uint32_t)rel);
    }
    edge_add(world, sketch->at, to, WAY_BRANCH);
}

static void put_call(struct world *world, const struct sketch *sketch)
{
    uint8_t *bytes = world->memory + AT + sketch->at;

    memcpy(bytes, "\xff\xd0", 2);
    if (sketch->kind == KIND_SYSCALL)
        memcpy(bytes, is_wide() ? "\x0f\x05" : "\xcd\x80", 2);
    if (sketch->kind == KIND_CALL) {
        bytes[0] = 0xe8;
        patas__store32(bytes + 1, 0x123456);
    }
    edge_add(world, sketch->at, sketch->at + sketch->size, WAY_RETURN);
    if (sketch->kind == KIND_SYSCALL) /* the kernel restarts it */
        edge_add(world, sketch->at, sketch->at, WAY_RETURN);
}

/* The bytes that layout() left open, and what leads where. */
static void fill(struct world *world, const struct sketch *sketches,
                 unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        const struct sketch *sketch = &sketches[i];
        if (sketch->kind == KIND_END)
            world->memory[AT + sketch->at] = 0xc3;
        else if (sketch->kind == KIND_CALL || sketch->kind == KIND_SYSCALL ||
                 sketch->kind == KIND_CALL_REGISTER)
            put_call(world, sketch);
        else if (sketch->kind != KIND_PLAIN)
            put_branch(world, sketches, count, sketch);
        if (sketch->kind != KIND_END && sketch->kind != KIND_JUMP)
            edge_add(world, sketch->at, sketch->at + sketch->size, WAY_NEXT);
        world->begins[AT + sketch->at] = true;
    }
}

/* NOPs; or int3, where nothing runs into them. */
static void put_padding(struct world *world, bool reached)
{
    static const struct piece nops[] = {
        {1, {0x90}},
        {2, {0x66, 0x90}},
        {3, {0x0f, 0x1f, 0x00}},
        {4, {0x0f, 0x1f, 0x40, 0x00}},
        {9, {0x66, 0x0f, 0x1f, 0x84, 0, 0, 0, 0, 0}},
    };
    bool breaks = !reached && !chance(4);

    for (int at = world->body, end = world->body + world->padding; at < end;) {
        const struct piece *nop = &nops[chance(LENGTH(nops))];
        if (nop->size > end - at)
            nop = &nops[0];
        memcpy(world->memory + AT + at, nop->bytes, nop->size);
        if (breaks)
            memset(world->memory + AT + at, 0xcc, nop->size);
        if (reached)
            edge_add(world, at, at + nop->size, WAY_NEXT);
        at += nop->size;
    }
}

/* What a search for branches sees: those from outside the covered bytes. */
static uint32_t branches_into(const struct world *world, int cover)
{
    uint32_t enters = world->enters;

    for (unsigned i = 0; i < world->edge_count; i++) {
        const struct edge *edge = &world->edges[i];
        if (edge->way == WAY_BRANCH && edge->to >= 0 && edge->to < 5 &&
            (edge->from < 0 || edge->from >= cover))
            enters |= 1u << edge->to;
    }
    return enters;
}

/* Somebody elsewhere enters at any instruction: another function, or a table
 * of the program that patas was told of. */
static void put_stranger(struct world *world)
{
    int to = (int)chance(5);

    if (!world->known || chance(6) || !world->begins[AT + to])
        return;
    edge_add(world, INT32_MIN, to, WAY_BRANCH);
    world->enters |= 1u << to;
}

static const uint64_t places[] = {0x401000,       0x10000,
                                  0x555555554000, 0x7ffff7c00000,
                                  0x7fffffff0000, 0x80000000};

static void world_make(struct world *world, bool known)
{
    struct sketch sketches[12];
    unsigned count = 1 + chance(chance(2) ? 4 : 10);
    bool ends = chance(6) != 0;

    memset(world, 0, sizeof *world);
    memset(world->memory, 0xcc, sizeof world->memory);
    world->known = known;
    world->entry = address_of(places[chance(LENGTH(places))] + chance(256));
    world->body = layout(world->memory + AT, sketches, 0, count, ends);
    fill(world, sketches, count);
    world->padding = chance(2) ? (int)chance(16) : 0;
    put_padding(world, !ends);
    put_stranger(world);
    /* The next function; its first instruction may well be a NOP. */
    count = 1 + chance(6);
    layout(world->memory + AT, sketches, world->body + world->padding, count,
           true);
    edge_add(world, INT32_MIN, sketches[0].at, WAY_BRANCH);
    fill(world, sketches, count);
}

/* ---- the verdict ----------------------------------------------------------
 */

static const char *told; /* of the world that is looked at */

static void tell(const struct world *world, const struct patas__plan *plan,
                 const char *what, int at)
{
    static char text[512];
    int used = snprintf(text, sizeof text,
                        "%s at %+d; form %d, writes %u, moves %u; body %d, "
                        "padding %d, %s, entry %#lx:",
                        what, at, (int)plan->form, plan->written, plan->want,
                        world->body, world->padding,
                        world->known ? "known" : "unknown",
                        (unsigned long)world->entry);
    for (int i = 0; i < 24; i++)
        used += snprintf(text + used, sizeof text - (size_t)used, " %02x",
                         world->memory[AT + i]);
    told = text;
}

/* A displacement that satisfies the plan, as an island would. */
static int32_t displace(const struct patas__reach *reach)
{
    uint32_t value = 0;
    unsigned count;
    const uint8_t *traps = patas__trap_bytes(&count);

    for (unsigned i = 0; i < 4; i++) {
        uint8_t byte = (uint8_t)chance(256);
        if (reach->kind[i] == PATAS__BYTE_TRAP)
            byte = traps[chance(count)];
        if (reach->kind[i] == PATAS__BYTE_FIXED)
            byte = reach->value[i];
        value |= (uint32_t)byte << 8 * i;
    }
    return (int32_t)value;
}

struct patched {
    const struct world *world;
    const struct patas__plan *plan;
    const struct patas__move *move;
    uint8_t after[8];
};

/* Is the instruction at `k` a trap that carries to its copy? */
static bool is_carried(const struct patched *it, int k)
{
    struct patas__insn insn, copy;
    const uint8_t *bytes = it->world->memory + AT + k;
    unsigned to = it->move->map[k];

    if (!patas__trap_is(it->after[k]) || k >= (int)it->move->moved ||
        to >= it->move->code_size ||
        !isa->decode(bytes, (size_t)(MEMORY - AT - k),
                     it->world->entry + (uint64_t)k, &insn))
        return false;
    if (insn.rel_size || insn.flow != PATAS__FLOW_NEXT)
        return true; /* made anew: tests/exec runs those */
    return isa->decode(it->move->code + to, it->move->code_size - to,
                       it->move->to + to, &copy) &&
           copy.length == insn.length &&
           !memcmp(it->move->code + to, bytes, insn.length);
}

/* May somebody arrive at `to` by this edge once the patch is live? */
static bool leads_still(const struct patched *it, const struct edge *edge)
{
    int moved = (int)it->move->moved;

    if (edge->way == WAY_RETURN)
        return true; /* whoever is on the way comes back there */
    if (edge->from < 0 || edge->from >= moved)
        return true; /* that code stays where it is */
    /* The copy goes on inside of the moved code, else back here. */
    return edge->to < 0 || edge->to >= moved;
}

static bool judge(const struct patched *it)
{
    const struct world *world = it->world;
    int written = it->plan->written;

    for (int k = 1; k < written; k++) {
        if (!world->begins[AT + k])
            continue;
        if (!is_carried(it, k)) {
            tell(world, it->plan, "half an instruction", k);
            return false;
        }
    }
    for (unsigned i = 0; i < world->edge_count; i++) {
        const struct edge *edge = &world->edges[i];
        if (edge->to > 0 && edge->to < written && leads_still(it, edge)) {
            tell(world, it->plan, "trapped for ever", edge->to);
            return false;
        }
    }
    for (int k = written; k < 5 && it->plan->owned == 5; k++)
        if (it->after[k] != world->memory[AT + k]) {
            tell(world, it->plan, "a kept byte is not kept", k);
            return false;
        }
    return true;
}

/* The bytes written are a jump to where the island is, or the trap. */
static bool jumps_to(const struct patched *it, uint64_t to)
{
    struct patas__insn insn;

    if (it->plan->form == PATAS_FORM_PERMANENT_TRAP)
        return patas__trap_is(it->after[0]);
    return isa->decode(it->after, 8, it->world->entry, &insn) &&
           insn.flow == PATAS__FLOW_JUMP && insn.has_target &&
           insn.target == to;
}

/* A gap at a distance that a short jump of this plan may have. */
static uint64_t gap_for(const struct patas__survey *survey)
{
    unsigned count;
    const uint8_t *traps = patas__trap_bytes(&count);
    uint8_t byte = (uint8_t)chance(256);

    if (survey->starts & 2)
        byte = traps[chance(count)];
    return address_of(survey->entry + 2 + (uint64_t)(int64_t)(int8_t)byte);
}

/* With a head that covers `want` bytes. */
static bool try_head(const struct world *world, struct patas__survey *survey,
                     const struct patas__plan *plan, size_t want)
{
    struct patas__move move = {.from = survey->entry,
                               .bytes = survey->bytes,
                               .size = survey->size,
                               .want = want,
                               .to = address_of(survey->entry + 0x06000000)};
    struct patched it = {.world = world, .plan = plan, .move = &move};
    uint64_t gap = gap_for(survey);
    uint64_t stub =
        address_of(plan->reach.origin + (uint64_t)displace(&plan->reach));

    if (isa->relocate(&move))
        return true; /* refused: nothing is written */
    unsigned size = patas__plan_bytes(plan, survey, stub, gap, it.after);
    ck_assert_uint_ge(size, plan->written);
    if (!jumps_to(&it, plan->form == PATAS_FORM_SHORT_JUMP ? gap : stub)) {
        tell(world, plan, "no jump", 0);
        return false;
    }
    return judge(&it);
}

static bool try_plan(const struct world *world, struct patas__survey *survey,
                     const struct patas__plan *plan)
{
    return try_head(world, survey, plan, plan->want) &&
           (plan->past <= plan->want ||
            try_head(world, survey, plan, plan->past));
}

static const unsigned units[] = {8, 16};

/* How often a form was offered: a test that sees none proves nothing. */
static unsigned offered[PATAS_FORM_COUNT];

static bool try_world(const struct world *world)
{
    struct patas__survey survey = {.entry = world->entry, .size = PATAS__LOOK};
    uint64_t trouble;

    memcpy(survey.bytes, world->memory + AT, PATAS__LOOK);
    if (patas__survey(isa, &survey, world->known ? (uint64_t)world->body : 0,
                      world->known ? (uint64_t)world->padding : 0, &trouble))
        return true;
    survey.enters |= branches_into(world, survey.cover);
    for (unsigned form = PATAS_FORM_ONE_INSTRUCTION;
         form <= PATAS_FORM_PERMANENT_TRAP; form++) {
        struct patas__plan plan;
        unsigned flags = chance(2) ? PATAS_ALLOW_TRAP : PATAS_STRICT;
        unsigned unit = units[chance(2)];
        if (patas__plan_form(&survey, (patas_form)form,
                             form == PATAS_FORM_PERMANENT_TRAP ? flags
                                                               : flags & 2,
                             unit, &plan, &trouble))
            continue;
        offered[form]++;
        ck_assert_uint_le(survey.entry % unit + plan.written, unit);
        ck_assert_uint_le(plan.written, plan.owned);
        if (!try_plan(world, &survey, &plan))
            return false;
    }
    return true;
}

static void try_many(uint64_t seed, bool known)
{
    struct world world;

    chance_state = seed;
    memset(offered, 0, sizeof offered);
    for (unsigned i = 0; i < ROUNDS; i++) {
        world_make(&world, known);
        ck_assert_msg(try_world(&world), "%s", told);
    }
    for (unsigned form = PATAS_FORM_ONE_INSTRUCTION;
         form <= PATAS_FORM_PERMANENT_TRAP; form++)
        ck_assert_uint_gt(offered[form], ROUNDS / 100);
}

START_TEST(nobody_stands_in_half_an_instruction)
{
    try_many(0x9e3779b97f4a7c15 + (uint64_t)_i, true);
}
END_TEST

START_TEST(nor_where_only_the_code_tells_how_long_it_is)
{
    try_many(0xd1b54a32d192ed03 + (uint64_t)_i, false);
}
END_TEST

/* ---- functions that nobody made for this ----------------------------------
 */

/* One instruction of a real function, as far as it leads somewhere. */
static void note_insn(struct world *world, const struct patas__insn *insn)
{
    int at = (int)(insn->address - world->entry);
    int next = at + insn->length;

    world->begins[AT + at] = true;
    if (insn->flow == PATAS__FLOW_CALL || insn->flow == PATAS__FLOW_SYSCALL)
        edge_add(world, at, next, WAY_RETURN);
    if (insn->flow == PATAS__FLOW_SYSCALL)
        edge_add(world, at, at, WAY_RETURN);
    if (insn->flow == PATAS__FLOW_NEXT || insn->flow == PATAS__FLOW_BRANCH)
        edge_add(world, at, next, WAY_NEXT);
    if (insn->has_target && insn->flow != PATAS__FLOW_CALL &&
        insn->target - world->entry < 5)
        edge_add(world, at, (int)(insn->target - world->entry), WAY_BRANCH);
}

/* False if there is too little around it to look at. */
static bool world_read(struct world *world, const struct patas__image *image,
                       const struct patas__extent *extent)
{
    const uint8_t *bytes =
        patas__image_bytes(image, extent->start - AT, MEMORY);
    uint64_t size =
        extent->size < MEMORY - AT - 16 ? extent->size : MEMORY - AT - 16;

    memset(world, 0, sizeof *world);
    if (!bytes)
        return false;
    memcpy(world->memory, bytes, MEMORY);
    world->entry = extent->start;
    world->body = (int)extent->size;
    world->padding = (int)extent->padding;
    world->known = true;
    for (size_t at = 0; at < size;) {
        struct patas__insn insn;
        if (!isa->decode(bytes + AT + at, MEMORY - AT - at, world->entry + at,
                         &insn))
            break;
        note_insn(world, &insn);
        at += insn.length;
    }
    return true;
}

static void note_enters(struct world *world, const struct patas__image *image,
                        const uint8_t *map)
{
    /* The world knows its own branches. */
    world->enters |=
        image_mapped(image, map, world->entry, 5, world->entry + 16) & 0x1e;
}

static unsigned try_image(const struct patas__image *image)
{
    size_t map_size = patas__branches_map_size(image);
    uint8_t *map = calloc(2, map_size);
    struct patas__extent frame, extent;
    struct patas__near near = {0};
    struct world world;
    unsigned count = 0;

    ck_assert_ptr_nonnull(map);
    patas__branches_map(image, map, map + map_size);
    for (uint64_t i = 0; i < image->eh_count; i++) {
        if (!patas__extent_frame(image, i, &near, &frame) ||
            !patas__extent_find(image, frame.start, &extent) ||
            !world_read(&world, image, &extent))
            continue;
        note_enters(&world, image, map);
        ck_assert_msg(try_world(&world), "%s", told);
        count++;
    }
    free(map);
    return count;
}

START_TEST(functions_of_libraries_too)
{
    struct patas__image image;

    chance_state = 1;
    if (!image_of_process(image_libraries[_i], &image, NULL)) {
        ck_assert_int_ne(_i, 0); /* there always is a C library */
        return;
    }
    ck_assert_uint_gt(try_image(&image), 20);
}
END_TEST

/* ---- records ---------------------------------------------------------------
 */

enum {
    STRIDE = 256,
    RECORDS = 4096
};

/* The head's copy of the instruction at `k` is where a trap there leads. */
static void check_carry(const struct world *world,
                        const struct patas__target *target, unsigned k,
                        bool trapped)
{
    uintptr_t to = patas__registry_carry(target->entry + k);
    struct patas__insn insn, copy;
    const uint8_t *bytes = world->memory + AT + k;

    if (!trapped) {
        ck_assert_msg(!to, "%s", told);
        return;
    }
    ck_assert_msg(to != 0, "%s", told);
    ck_assert(patas__island_holds(to));
    ck_assert(isa->decode(bytes, MEMORY - AT - k, world->entry + k, &insn));
    ck_assert(isa->decode((const uint8_t *)to, 15, to, &copy));
    if (insn.rel_size || insn.flow != PATAS__FLOW_NEXT)
        return;
    ck_assert_msg(copy.length == insn.length, "%s", told);
    ck_assert_msg(!memcmp((const void *)to, bytes, insn.length), "%s", told);
}

/* Entry, stub, slot and head lead from one to the next. */
static void check_record(const struct world *world,
                         const struct patas__request *request,
                         const struct patas__target *target)
{
    uint8_t before[8], after[8];
    struct patas__insn insn;
    uintptr_t stub = patas__target_island(target);

    tell(world, &request->plan, "the record", 0);
    patas__target_bytes(target, before, after);
    ck_assert(!memcmp(before, world->memory + AT, 5));
    ck_assert(!memcmp(after + target->written, before + target->written,
                      8u - target->written));
    if (target->form != PATAS_FORM_PERMANENT_TRAP) {
        ck_assert(isa->decode(after, 8, target->entry, &insn));
        ck_assert_uint_eq(insn.target, target->form == PATAS_FORM_SHORT_JUMP
                                           ? request->gap
                                           : stub);
    }
    ck_assert(isa->decode((const uint8_t *)stub, isa->stub, stub, &insn));
    ck_assert(insn.flow == PATAS__FLOW_JUMP && !insn.has_target);
    ck_assert_uint_eq(isa->stub_slot((const uint8_t *)stub, stub),
                      (uintptr_t)patas__target_slot(target));
    ck_assert_uint_eq(*patas__target_slot(target), patas__target_head(target));
    ck_assert(patas__island_holds(patas__target_head(target)));
    for (unsigned k = 1; k < 5; k++)
        check_carry(world, target, k,
                    k < target->written && world->begins[AT + k]);
}

START_TEST(a_record_carries_to_the_same_instruction)
{
    uint8_t *code =
        mmap(NULL, (size_t)RECORDS * STRIDE, PROT_READ | PROT_WRITE | PROT_EXEC,
             MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    unsigned made = 0, trapped = 0;

    ck_assert_ptr_ne(code, MAP_FAILED);
    memset(code, 0xcc, (size_t)RECORDS * STRIDE);
    chance_state = 7;
    for (unsigned i = 0; i < RECORDS; i++) {
        static struct world world;
        struct patas__request request = {.flags = PATAS_ALLOW_TRAP, .nth = 1};
        patas_error error;
        uint32_t index;
        uint8_t *entry = code + (size_t)i * STRIDE + chance(16);
        world_make(&world, false);
        world.entry = (uintptr_t)entry;
        memcpy(entry, world.memory + AT, 128);
        request.asked = request.entry = (uintptr_t)entry;
        if (patas__prepare(&request, false, &index, &error))
            continue;
        check_record(&world, &request, patas__target_get(index));
        trapped += request.plan.form == PATAS_FORM_TRAP_BYTES;
        made++;
    }
    ck_assert_uint_gt(made, RECORDS / 2);
    ck_assert_uint_gt(trapped, RECORDS / 20);
}
END_TEST

/* ---- some that are known to be hard ----------------------------------------
 */

struct hard {
    const char *what;
    uint8_t bytes[16];
    uint8_t body, padding; /* 0, 0: unknown */
    uint8_t forms;         /* bit `form`: may be offered */
};

#define ONE   (1u << PATAS_FORM_ONE_INSTRUCTION)
#define KEPT  (1u << PATAS_FORM_KEPT_BYTES)
#define TRAP  (1u << PATAS_FORM_TRAP_BYTES)
#define SHORT (1u << PATAS_FORM_SHORT_JUMP)

static const struct hard hard[] = {
    {"runs on into the NOPs behind it",
     {0x31, 0xc0, 0x66, 0x90, 0x66, 0x90, 0x83, 0xc0, 0x03, 0xc3},
     2,
     4,
     KEPT | SHORT},
    {"a NOP behind an unknown ret may be a function's first",
     {0x31, 0xc0, 0xc3, 0x0f, 0x1f, 0x44, 0x00, 0x00, 0xc3},
     0,
     0,
     KEPT | SHORT},
    {"a branch leads behind the first ret",
     {0x74, 0x01, 0xc3, 0x90, 0x90, 0x90, 0xb8, 7, 0, 0, 0, 0xc3},
     0,
     0,
     KEPT | TRAP | SHORT},
    {"a loop back to the second instruction, of one byte",
     {0x53, 0xff, 0xcf, 0x75, 0xfc, 0x5b, 0xc3},
     7,
     0,
     KEPT | TRAP},
    {"a sleeping system call goes on at +2",
     {0x0f, 0x05, 0xc3, 0xcc, 0xcc, 0xcc, 0xcc, 0xcc},
     3,
     5,
     KEPT | SHORT},
    {"a call of two bytes returns to +2",
     {0xff, 0xd0, 0x48, 0x89, 0xc3, 0xc3},
     6,
     0,
     KEPT | SHORT},
    {"a lock prefix that is jumped over",
     {0xf0, 0x0f, 0xb1, 0x0f, 0x75, 0xfb, 0xc3},
     7,
     0,
     KEPT},
    {"a jump into its own second byte",
     {0xeb, 0xff, 0xc0, 0xc3, 0xcc, 0xcc, 0xcc, 0xcc},
     4,
     4,
     0},
};

/* A form that relocation refuses is none. */
static unsigned forms_of(const struct hard *one)
{
    const struct patas__isa *wide = &patas__isa_x86_64;
    struct patas__survey survey = {.entry = 0x55554000, .size = PATAS__LOOK};
    uint64_t trouble;
    unsigned forms = 0;

    memset(survey.bytes, 0xcc, sizeof survey.bytes);
    memcpy(survey.bytes, one->bytes, sizeof one->bytes);
    ck_assert_uint_eq(
        patas__survey(wide, &survey, one->body, one->padding, &trouble), 0);
    for (unsigned form = PATAS_FORM_ONE_INSTRUCTION;
         form <= PATAS_FORM_SHORT_JUMP; form++) {
        struct patas__plan plan;
        struct patas__move move = {.from = survey.entry,
                                   .bytes = survey.bytes,
                                   .size = survey.size,
                                   .to = survey.entry + 0x06000000};
        if (patas__plan_form(&survey, (patas_form)form, 0, 16, &plan, &trouble))
            continue;
        move.want = plan.want;
        if (!wide->relocate(&move))
            forms |= 1u << form;
    }
    return forms;
}

START_TEST(what_is_hard_takes_the_forms_that_are_safe)
{
    unsigned forms = forms_of(&hard[_i]);

    ck_assert_msg(forms == hard[_i].forms, "%s: forms %#x, not %#x",
                  hard[_i].what, forms, hard[_i].forms);
}
END_TEST

/* Between the bytes of a jump a processor has learnt that one ends. */
static const struct past {
    const char *what;
    uint8_t bytes[12], body, want, past;
} pasts[] = {
    {"push %rbx; mov %rdi,%rbx; lea 1(%rbx),%rax",
     {0x53, 0x48, 0x89, 0xfb, 0x48, 0x8d, 0x43, 0x01, 0x5b, 0xc3},
     10,
     1,
     8},
    {"test %edi,%edi; jz; mov %edi,%eax",
     {0x85, 0xff, 0x74, 0x03, 0x89, 0xf8, 0xc3, 0x31, 0xc0, 0xc3},
     10,
     2,
     6},
    {"push %rbx; call *%rax; pop %rbx: the call is not moved",
     {0x53, 0xff, 0xd0, 0x5b, 0x48, 0x89, 0xd8, 0xc3},
     8,
     1,
     1},
    {"call *%rax; pop %rbx: nothing behind it would be reached",
     {0xff, 0xd0, 0x5b, 0x48, 0x89, 0xd8, 0xc3},
     7,
     2,
     2},
    {"fldt 8(%rsp); fnstenv -28(%rsp): it would store another address",
     {0xdb, 0x6c, 0x24, 0x08, 0xd9, 0x74, 0x24, 0xe4, 0xc3},
     9,
     4,
     4},
    {"mov %eax,%ecx; syscall; ret: the system call is not moved",
     {0x89, 0xc1, 0x0f, 0x05, 0x31, 0xc0, 0xc3},
     7,
     2,
     2},
};

START_TEST(a_head_of_kept_bytes_comes_back_behind_the_jump)
{
    const struct past *one = &pasts[_i];
    struct patas__survey survey = {.entry = 0x55554000, .size = PATAS__LOOK};
    struct patas__plan plan;
    uint64_t trouble;

    memset(survey.bytes, 0xcc, sizeof survey.bytes);
    memcpy(survey.bytes, one->bytes, sizeof one->bytes);
    ck_assert_uint_eq(
        patas__survey(&patas__isa_x86_64, &survey, one->body, 0, &trouble), 0);
    ck_assert_uint_eq(patas__plan_form(&survey, PATAS_FORM_KEPT_BYTES, 0, 16,
                                       &plan, &trouble),
                      0);
    ck_assert_msg(plan.want == one->want && plan.past == one->past,
                  "%s: moves %u, or rather %u; not %u and %u", one->what,
                  plan.want, plan.past, one->want, one->past);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("plan");
    TCase *tcase = tcase_create("nobody executes half an instruction");
    SRunner *runner;
    int failed;

    suite_add_tcase(suite, tcase);
    tcase_add_loop_test(tcase, nobody_stands_in_half_an_instruction, 0, 4);
    tcase_add_loop_test(tcase, nor_where_only_the_code_tells_how_long_it_is, 0,
                        4);
    tcase_add_loop_test(tcase, functions_of_libraries_too, 0,
                        LENGTH(image_libraries));
    tcase_add_test(tcase, a_record_carries_to_the_same_instruction);
    tcase_add_loop_test(tcase, what_is_hard_takes_the_forms_that_are_safe, 0,
                        LENGTH(hard));
    tcase_add_loop_test(tcase, a_head_of_kept_bytes_comes_back_behind_the_jump,
                        0, LENGTH(pasts));
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
