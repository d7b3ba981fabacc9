/* SPDX-License-Identifier: MIT */
/*
 * .gopclntab, read.
 *
 *     header   magic u32, 0, 0, quantum u8, pointer size u8, eight words:
 *              functions, files, text, names, cus, files, values, table
 *     table    {u32 entry, u32 record} a function, then the end
 *     record   entry, name, args, deferreturn, pcsp, pcfile, pcln, npcdata,
 *              cu, [start line], {id u8, flag u8, u8, nfuncdata u8},
 *              npcdata x u32, nfuncdata x u32
 */
#include "pclntab.h"

#include "dialect.h"

static const uint32_t magic_118 = 0xfffffff0, magic_120 = 0xfffffff1;

enum {
    HEADER_WORDS = 8,
    HEADER_FIXED = 8,
    PCDATA_INLINE = 2,   /* runtime/symtab.go, PCDATA_InlTreeIndex */
    FUNCDATA_INLINE = 3, /* FUNCDATA_InlTree */
    MAX_FUNCTIONS = 1 << 24,
    NO_OFFSET = -1
};

static uint64_t word(const struct patas__pclntab *tab, const uint8_t *at)
{
    return tab->pointer_size == 8 ? patas__load64(at) : patas__load32(at);
}

/* ---- finding it ---- */

/* Is a table's header at `base`? Fills in all but text and gofunc. */
static bool header_read(struct patas__pclntab *tab)
{
    const uint8_t *base = tab->base;
    uint32_t magic = patas__load32(base);
    if ((magic != magic_118 && magic != magic_120) || base[4] || base[5])
        return false;
    tab->layout = magic == magic_118 ? PATAS__GO_118 : PATAS__GO_120;
    tab->quantum = base[6];
    tab->pointer_size = base[7];
    if ((tab->quantum != 1 && tab->quantum != 2 && tab->quantum != 4) ||
        (tab->pointer_size != 4 && tab->pointer_size != 8) ||
        tab->size < HEADER_FIXED + HEADER_WORDS * 8)
        return false;
    uint64_t words[HEADER_WORDS];
    for (unsigned i = 0; i < HEADER_WORDS; i++)
        words[i] = word(tab, base + HEADER_FIXED + i * tab->pointer_size);
    tab->text = words[2];
    tab->names = words[3];
    tab->cus = words[4];
    tab->files = words[5];
    tab->values = words[6];
    tab->table = words[7];
    if (!words[0] || words[0] > MAX_FUNCTIONS || tab->names > tab->cus ||
        tab->cus > tab->files || tab->files > tab->values ||
        tab->values > tab->table || tab->table > tab->size ||
        (words[0] * 2 + 1) * 4 > tab->size - tab->table)
        return false;
    tab->functions = (uint32_t)words[0];
    return true;
}

/*
 * The module's data begins with pointers to the table and to its names, and
 * holds text at word 22; gofunc at 38 in Go 1.18 and 1.19, at 40 since.
 */
static bool moduledata_read(struct patas__pclntab *tab, const uint8_t *at,
                            uint64_t address)
{
    enum {
        NAMES = 1,
        TEXT = 22,
        END_TEXT = 23,
        GOFUNC_118 = 38,
        GOFUNC_120 = 40
    };
    size_t size = tab->pointer_size;
    if (word(tab, at) != tab->address ||
        word(tab, at + NAMES * size) != tab->address + tab->names)
        return false;
    size_t gofunc = tab->layout == PATAS__GO_118 ? GOFUNC_118 : GOFUNC_120;
    uint64_t text = word(tab, at + TEXT * size);
    uint64_t end = word(tab, at + END_TEXT * size);
    if (text >= end || !patas__image_code(tab->image, text))
        return false;
    tab->text = text;
    tab->moduledata = address;
    tab->gofunc = word(tab, at + gofunc * size);
    return true;
}

static bool moduledata_find(struct patas__pclntab *tab)
{
    const struct patas__image *image = tab->image;
    const size_t need = 41 * (size_t)tab->pointer_size;
    for (unsigned i = 0; i < image->segment_count; i++) {
        const struct patas__segment *segment = &image->segments[i];
        if (!segment->writable || segment->size < need)
            continue;
        for (uint64_t at = 0; at + need <= segment->size;
             at += tab->pointer_size)
            if (moduledata_read(tab, segment->bytes + at,
                                segment->address + at))
                return true;
    }
    return false;
}

static bool segment_search(const struct patas__segment *segment,
                           struct patas__pclntab *tab)
{
    enum {
        ALIGNMENT = 8,
        LEAST = HEADER_FIXED + HEADER_WORDS * 4
    };
    for (uint64_t at = 0; at + LEAST <= segment->size; at += ALIGNMENT) {
        uint32_t first = patas__load32(segment->bytes + at);
        if (first != magic_118 && first != magic_120)
            continue;
        tab->base = segment->bytes + at;
        tab->address = segment->address + at;
        tab->size = segment->size - at;
        if (header_read(tab) && moduledata_find(tab))
            return true;
    }
    return false;
}

bool patas__pclntab_find(const struct patas__image *image,
                         struct patas__pclntab *tab)
{
    for (unsigned i = 0; i < image->segment_count; i++) {
        const struct patas__segment *segment = &image->segments[i];
        if (segment->executable)
            continue;
        memset(tab, 0, sizeof *tab);
        tab->image = image;
        if (segment_search(segment, tab))
            return true;
    }
    memset(tab, 0, sizeof *tab);
    return false;
}

/* ---- functions ---- */

static const uint8_t *table_entry(const struct patas__pclntab *tab,
                                  uint32_t index)
{
    return tab->base + tab->table + (uint64_t)index * 8;
}

/* `size` bytes at `offset` of the part that begins at `part`, or NULL. */
static const uint8_t *part_bytes(const struct patas__pclntab *tab,
                                 uint64_t part, uint64_t offset, uint64_t size)
{
    uint64_t left = tab->size - part;
    if (offset > left || size > left - offset)
        return NULL;
    return tab->base + part + offset;
}

static uint64_t record_size(const struct patas__pclntab *tab)
{
    return tab->layout == PATAS__GO_118 ? 40 : 44;
}

bool patas__pclntab_func(const struct patas__pclntab *tab, uint32_t index,
                         struct patas__gofunc *func)
{
    if (index >= tab->functions)
        return false;
    const uint8_t *entry = table_entry(tab, index);
    uint64_t at = patas__load32(entry + 4);
    const uint8_t *raw = part_bytes(tab, tab->table, at, record_size(tab));
    if (!raw)
        return false;
    uint64_t start = patas__load32(entry), end = patas__load32(entry + 8);
    if (start > end)
        return false;
    const uint8_t *tail = raw + record_size(tab) - 4;
    *func = (struct patas__gofunc){
        .entry = tab->text + start,
        .end = tab->text + end,
        .at = at,
        .index = index,
        .name = patas__load32(raw + 4),
        .args = (int32_t)patas__load32(raw + 8),
        .pcfile = patas__load32(raw + 20),
        .pcln = patas__load32(raw + 24),
        .pcdata_count = patas__load32(raw + 28),
        .cu = patas__load32(raw + 32),
        .id = tail[0],
        .flag = tail[1],
        .funcdata_count = tail[3],
    };
    if (tab->layout != PATAS__GO_118)
        func->start_line = (int32_t)patas__load32(raw + 36);
    return true;
}

bool patas__pclntab_at(const struct patas__pclntab *tab, uint64_t pc,
                       struct patas__gofunc *func)
{
    uint32_t low = 0, high = tab->functions;
    if (!high || pc < tab->text || pc - tab->text > UINT32_MAX)
        return false;
    uint32_t offset = (uint32_t)(pc - tab->text);
    while (high - low > 1) {
        uint32_t middle = low + (high - low) / 2;
        if (patas__load32(table_entry(tab, middle)) <= offset)
            low = middle;
        else
            high = middle;
    }
    return patas__pclntab_func(tab, low, func) && pc >= func->entry &&
           pc < func->end;
}

const char *patas__pclntab_name(const struct patas__pclntab *tab,
                                uint32_t offset, size_t *length)
{
    *length = 0;
    if (offset >= tab->cus - tab->names)
        return NULL;
    const char *name = (const char *)tab->base + tab->names + offset;
    size_t limit = (size_t)(tab->cus - tab->names - offset);
    while (*length < limit && name[*length])
        ++*length;
    return *length < limit ? name : NULL;
}

static bool is_named(const struct patas__pclntab *tab, uint32_t offset,
                     const char *name, size_t length)
{
    if (offset >= tab->cus - tab->names ||
        length >= tab->cus - tab->names - offset)
        return false;
    const char *has = (const char *)tab->base + tab->names + offset;
    return !has[length] && !memcmp(has, name, length);
}

bool patas__pclntab_named(const struct patas__pclntab *tab, const char *name,
                          size_t length, uint32_t *index,
                          struct patas__gofunc *func)
{
    while (*index < tab->functions)
        if (patas__pclntab_func(tab, (*index)++, func) &&
            is_named(tab, func->name, name, length))
            return true;
    return false;
}

/* ---- values by PC ---- */

/* A pc-value table: pairs of varints, difference of the value (zigzag) and of
 * the PC, until a difference of 0 that is not the first. */
struct walk {
    const uint8_t *at, *end;
    uint64_t pc; /* end of the range that `value` is for */
    int32_t value;
    bool started;
};

static bool varint(struct walk *walk, uint32_t *value)
{
    *value = 0;
    for (unsigned shift = 0; shift < 32 && walk->at < walk->end; shift += 7) {
        uint8_t byte = *walk->at++;
        *value |= (uint32_t)(byte & 0x7f) << shift;
        if (!(byte & 0x80))
            return true;
    }
    return false;
}

static bool walk_start(const struct patas__pclntab *tab, uint32_t offset,
                       uint64_t entry, struct walk *walk)
{
    if (!offset || offset >= tab->table - tab->values)
        return false;
    *walk = (struct walk){.at = tab->base + tab->values + offset,
                          .end = tab->base + tab->table,
                          .pc = entry,
                          .value = -1};
    return true;
}

static bool walk_on(const struct patas__pclntab *tab, struct walk *walk)
{
    uint32_t value, pc;
    if (!varint(walk, &value) || (!value && walk->started) ||
        !varint(walk, &pc))
        return false;
    walk->started = true;
    walk->value =
        (int32_t)((uint32_t)walk->value + (value >> 1 ^ (0 - (value & 1))));
    walk->pc += (uint64_t)pc * tab->quantum;
    return true;
}

static int32_t value_at(const struct patas__pclntab *tab, uint32_t offset,
                        const struct patas__gofunc *func, uint64_t pc)
{
    struct walk walk;
    if (!walk_start(tab, offset, func->entry, &walk))
        return -1;
    while (walk_on(tab, &walk))
        if (pc < walk.pc)
            return walk.value;
    return -1;
}

const char *patas__pclntab_line(const struct patas__pclntab *tab,
                                const struct patas__gofunc *func, uint64_t pc,
                                int32_t *line, size_t *length)
{
    *line = value_at(tab, func->pcln, func, pc);
    int32_t file = value_at(tab, func->pcfile, func, pc);
    *length = 0;
    if (*line < 0 || file < 0)
        return *line = 0, NULL;
    uint64_t slot = ((uint64_t)func->cu + (uint64_t)file) * 4;
    if (slot + 4 > tab->files - tab->cus)
        return NULL;
    uint64_t offset = patas__load32(tab->base + tab->cus + slot);
    uint64_t limit = tab->values - tab->files;
    if (offset >= limit)
        return NULL;
    const char *name = (const char *)tab->base + tab->files + offset;
    while (*length < limit - offset && name[*length])
        ++*length;
    return *length < limit - offset ? name : NULL;
}

/* ---- inlined calls ---- */

static uint32_t extra_word(const struct patas__pclntab *tab,
                           const struct patas__gofunc *func, uint64_t index)
{
    const uint8_t *raw =
        part_bytes(tab, tab->table, func->at + record_size(tab) + index * 4, 4);
    return raw ? patas__load32(raw) : (uint32_t)NO_OFFSET;
}

/* The function's tree of inlined calls, `*count` entries of `size` bytes. */
static const uint8_t *inline_tree(const struct patas__pclntab *tab,
                                  const struct patas__gofunc *func,
                                  uint64_t size, uint64_t *count)
{
    struct walk walk;
    *count = 0;
    if (!tab->gofunc || func->pcdata_count <= PCDATA_INLINE ||
        func->funcdata_count <= FUNCDATA_INLINE)
        return NULL;
    uint32_t offset =
        extra_word(tab, func, (uint64_t)func->pcdata_count + FUNCDATA_INLINE);
    if (offset == (uint32_t)NO_OFFSET ||
        !walk_start(tab, extra_word(tab, func, PCDATA_INLINE), func->entry,
                    &walk))
        return NULL;
    int32_t last = -1;
    while (walk_on(tab, &walk))
        last = walk.value > last ? walk.value : last;
    if (last < 0)
        return NULL;
    *count = (uint64_t)last + 1;
    return patas__image_bytes(tab->image, tab->gofunc + offset, *count * size);
}

size_t patas__pclntab_inlined(
    const struct patas__pclntab *tab, const char *name, size_t length,
    bool (*each)(void *, const struct patas__inlined *), void *data)
{
    /* {i16 parent, u8, u8, file, line, name, pc}, or {u8 x 4, name, pc, line}
     */
    bool old = tab->layout == PATAS__GO_118;
    uint64_t size = old ? 20 : 16;
    uint64_t named = old ? 12 : 4;
    size_t told = 0;
    for (uint32_t i = 0; i < tab->functions; i++) {
        struct patas__inlined inlined;
        uint64_t count;
        if (!patas__pclntab_func(tab, i, &inlined.in))
            continue;
        const uint8_t *tree = inline_tree(tab, &inlined.in, size, &count);
        for (uint64_t k = 0; tree && k < count; k++) {
            const uint8_t *call = tree + k * size + named;
            if (!is_named(tab, patas__load32(call), name, length))
                continue;
            inlined.pc = inlined.in.entry + patas__load32(call + 4);
            told++;
            if (!each(data, &inlined))
                return told;
        }
    }
    return told;
}

/* ---- types ---- */

/* The slice of offsets whose first word is `links`. */
static bool offsets_read(const struct patas__pclntab *tab, const uint8_t *links,
                         uint64_t room, uint64_t *offsets, uint64_t *count)
{
    *offsets = word(tab, links);
    *count = word(tab, links + tab->pointer_size);
    if (!*count || *count > MAX_FUNCTIONS)
        return false;
    const uint8_t *list = patas__image_bytes(tab->image, *offsets, *count * 4);
    for (uint64_t i = 0; list && i < *count; i++)
        if (patas__load32(list + i * 4) >= room)
            return false;
    return list != NULL;
}

bool patas__pclntab_types(const struct patas__pclntab *tab, uint64_t *types,
                          uint64_t *offsets, uint64_t *count)
{
    enum { /* words of the module's data */
        TYPES_118 = 35,
        LINKS_118 = 42,
        TYPES_120 = 37,
        LINKS_120 = 44, /* one later in Go 1.26, behind a number */
        WORDS = 50
    };
    bool old = tab->layout == PATAS__GO_118;
    size_t size = tab->pointer_size;
    const uint8_t *data =
        tab->moduledata
            ? patas__image_bytes(tab->image, tab->moduledata, WORDS * size)
            : NULL;
    if (!data)
        return false;
    const uint8_t *first = data + (old ? TYPES_118 : TYPES_120) * size;
    const uint8_t *links = data + (old ? LINKS_118 : LINKS_120) * size;
    *types = word(tab, first);
    uint64_t room = word(tab, first + size) - *types;
    if (!patas__image_bytes(tab->image, *types, room))
        return false;
    return offsets_read(tab, links, room, offsets, count) ||
           (!old && offsets_read(tab, links + size, room, offsets, count));
}

/* ---- direct calls ---- */

bool patas__pclntab_called(const struct patas__pclntab *tab,
                           const struct patas__gofunc *func)
{
    const struct patas__segment *code =
        patas__image_code(tab->image, func->entry);
    return code && patas__go_dialect(tab->image->isa)
                       ->called(code, func->entry, func->end);
}
