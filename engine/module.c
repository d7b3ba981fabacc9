/* SPDX-License-Identifier: MIT */
/*
 * The list of modules, from the loader's.
 */
#include "module.h"

#include "native.h"
#include "os.h"
#include "table.h"

enum {
    MODULE_NO_MEMORY = 12,
    AT_BASE_ = 7,
    AT_SYSINFO_EHDR_ = 33,
    AT_ENTRY_ = 9,
    SEARCHES_IN_BATCH = 1,
    SEARCHES = 8
};

static struct {
    struct patas__table table;
    uint64_t loads, unloads; /* as of the last refresh */
    /* Found last. Targets and replacements take turns: two are kept. */
    struct recent {
        uint64_t start, size;
        struct patas__module *module;
        uint32_t index;
    } recent[2];
} modules;

struct patas__module *patas__module_get(uint32_t index)
{
    return patas__table_at(&modules.table, sizeof(struct patas__module), index);
}

uint32_t patas__module_count(void)
{
    return modules.table.count;
}

static bool module_covers(const struct patas__module *module, uint64_t address)
{
    return module->live && address >= module->image.start &&
           address < module->image.end;
}

struct patas__module *patas__module_at(uint64_t address, uint32_t *index)
{
    for (unsigned i = 0; i < 2; i++) {
        const struct recent *recent = &modules.recent[i];
        if (address - recent->start < recent->size) {
            *index = recent->index;
            return recent->module;
        }
    }
    for (uint32_t i = 1; i < modules.table.count; i++) {
        struct patas__module *module = patas__module_get(i);
        if (!module_covers(module, address))
            continue;
        modules.recent[1] = modules.recent[0];
        modules.recent[0] =
            (struct recent){module->image.start,
                            module->image.end - module->image.start, module, i};
        *index = i;
        return module;
    }
    *index = 0;
    return NULL;
}

/* ---- reading one -------------------------------------------------------- */

/* The functions that return twice, by their exported names: a replacement
 * that called the original would return into a frame that is gone. */
static bool returns_twice(const char *name, uint64_t left)
{
    static const char names[] =
        "vfork\0__vfork\0setjmp\0_setjmp\0__sigsetjmp\0sigsetjmp\0"
        "getcontext\0__getcontext\0swapcontext\0__libc_vfork\0";
    for (const char *want = names; *want;) {
        size_t size = strlen(want) + 1;
        if (*want == *name && size <= left && !memcmp(want, name, size))
            return true;
        want += size;
    }
    return false;
}

static void find_twice(struct patas__module *module)
{
    const struct patas__image *image = &module->image;
    const uint8_t *symbols = patas__image_bytes(
        image, image->symtab, image->symtab_count * sizeof(NATIVE(Sym)));
    const uint8_t *strings =
        patas__image_bytes(image, image->strtab, image->strtab_size);
    if (!symbols || !strings)
        return;
    for (uint64_t i = 0; i < image->symtab_count; i++) {
        NATIVE(Sym) symbol;
        memcpy(&symbol, symbols + i * sizeof symbol, sizeof symbol);
        if (!symbol.st_value || symbol.st_name >= image->strtab_size)
            continue;
        const char *name = (const char *)strings + symbol.st_name;
        if (*name != 'v' && *name != 's' && *name != '_' && *name != 'g')
            continue;
        if (module->twice_count < PATAS__TWICE_MAX &&
            returns_twice(name, image->strtab_size - symbol.st_name))
            module->twice[module->twice_count++] =
                image->bias + symbol.st_value;
    }
}

static void read_segments(struct patas__image *image,
                          const struct patas__loaded *loaded)
{
    const NATIVE(Phdr) *phdrs = loaded->phdrs;
    image->bias = loaded->bias;
    image->isa = patas__isa_host();
    image->start = UINT64_MAX;
    for (size_t i = 0; i < loaded->phdr_count; i++) {
        if (phdrs[i].p_type != PT_LOAD || !phdrs[i].p_memsz ||
            image->segment_count == PATAS__SEGMENTS_MAX)
            continue;
        uint64_t address = loaded->bias + phdrs[i].p_vaddr;
        struct patas__segment *segment =
            &image->segments[image->segment_count++];
        segment->address = address;
        segment->size = phdrs[i].p_memsz;
        segment->bytes = (const uint8_t *)(uintptr_t)address;
        segment->executable = phdrs[i].p_flags & PF_X;
        segment->writable = phdrs[i].p_flags & PF_W;
        if (address < image->start)
            image->start = address & ~(uint64_t)4095;
        if (address + phdrs[i].p_memsz > image->end)
            image->end = (address + phdrs[i].p_memsz + 4095) & ~(uint64_t)4095;
    }
}

static void module_read(struct patas__module *module,
                        const struct patas__image *image)
{
    memset(module, 0, sizeof *module);
    module->image = *image;
    module->live = true;
    memset(modules.recent, 0, sizeof modules.recent);
    uintptr_t base = patas__os_auxv(AT_BASE_);
    uintptr_t vdso = patas__os_auxv(AT_SYSINFO_EHDR_);
    uintptr_t entry = patas__os_auxv(AT_ENTRY_);
    if (base && module_covers(module, base)) {
        NATIVE(Ehdr) header;
        module->loader = true;
        if (!patas__os_read(base, &header, sizeof header))
            module->start_code = base + header.e_entry;
    }
    if (entry && module_covers(module, entry))
        module->start_code = entry;
    module->vdso = vdso && module_covers(module, vdso);
    find_twice(module);
}

/* ---- keeping the list ---------------------------------------------------- */

static bool same_load(const struct patas__module *module,
                      const struct patas__loaded *loaded,
                      const struct patas__image *image)
{
    return module->live && module->image.bias == loaded->bias &&
           module->image.start == image->start &&
           module->image.end == image->end &&
           module->image.build_id_size == image->build_id_size &&
           !memcmp(module->image.build_id, image->build_id,
                   image->build_id_size);
}

struct walk {
    struct patas__refresh *refresh;
    bool asked, refused, unloaded;
    int err;
    uint64_t loads, unloads;
};

static bool walk_ready(struct walk *walk)
{
    if (!walk->asked)
        walk->refused = !walk->refresh->ready(walk->refresh->data);
    walk->asked = true;
    return !walk->refused;
}

/* A record for one more module: one whose module went, or a new one. */
static uint32_t module_record(void)
{
    enum {
        MODULES_MAX = 65535
    }; /* a target holds 16 bits of it */
    for (uint32_t i = 1; i < modules.table.count; i++)
        if (!patas__module_get(i)->live && !patas__module_get(i)->seen)
            return i;
    if (modules.table.count > MODULES_MAX)
        return 0;
    return patas__table_add(&modules.table, sizeof(struct patas__module));
}

/* The record of a module that was there before, or NULL. */
static struct patas__module *known_module(const struct walk *walk,
                                          const struct patas__loaded *loaded,
                                          const struct patas__image *image)
{
    for (uint32_t i = 1; i < modules.table.count; i++)
        /* The same place after an unload may be another load of it. */
        if (same_load(patas__module_get(i), loaded, image) &&
            (!walk->unloaded || patas__registry_intact(i)))
            return patas__module_get(i);
    return NULL;
}

static bool walk_one(void *data, const struct patas__loaded *loaded)
{
    struct walk *walk = data;
    bool first = !walk->asked;
    if (!walk_ready(walk))
        return false;
    if (first) {
        walk->loads = loaded->loads;
        walk->unloads = loaded->unloads;
        walk->unloaded = loaded->unloads != modules.unloads;
        walk->refresh->changed = loaded->loads != modules.loads ||
                                 walk->unloaded || !modules.table.count ||
                                 !loaded->loads;
    }
    if (!walk->refresh->changed)
        return false;
    struct patas__image image = {0};
    read_segments(&image, loaded);
    patas__image_read(&image, loaded->phdrs, loaded->phdr_count);
    if (!image.segment_count)
        return true;
    struct patas__module *module = known_module(walk, loaded, &image);
    if (!module) {
        uint32_t index = module_record();
        if (!index) {
            walk->err = MODULE_NO_MEMORY;
            return false;
        }
        module = patas__module_get(index);
        module_read(module, &image);
    }
    module->seen = true;
    return true;
}

static void module_went(uint32_t index, void (*gone)(uint32_t index))
{
    struct patas__module *module = patas__module_get(index);
    module->live = false;
    memset(modules.recent, 0, sizeof modules.recent);
    if (module->branches)
        patas__os_unmap(module->branches,
                        patas__branches_map_size(&module->image));
    module->branches = NULL;
    /* Closed once too often: what kept it went with it. */
    module->pin = NULL;
    module->pin_tried = false;
    gone(index);
}

int patas__modules_refresh(struct patas__refresh *refresh)
{
    struct walk walk = {.refresh = refresh};
    refresh->changed = false;
    patas__os_modules(walk_one, &walk);
    if (!walk_ready(&walk) || !refresh->changed)
        return 0;
    for (uint32_t i = 1; i < modules.table.count; i++) {
        struct patas__module *module = patas__module_get(i);
        /* A walk that was cut short says nothing about the rest. */
        if (module->live && !module->seen && !walk.err)
            module_went(i, refresh->gone);
        module->seen = false;
    }
    if (!walk.err) {
        modules.loads = walk.loads;
        modules.unloads = walk.unloads;
    }
    return walk.err;
}

/* ---- branches --------------------------------------------------------------
 */

static void map_moved(void *data, uint64_t to)
{
    struct patas__module *module = data;
    uint64_t bit = to - module->image.start;
    if (bit < module->image.end - module->image.start)
        module->branches[bit / 8] |= (uint8_t)(1u << bit % 8);
}

static uint32_t module_index(const struct patas__module *module)
{
    uint32_t index;
    (void)patas__module_at(module->image.start, &index);
    return index;
}

static void make_map(struct patas__module *module)
{
    void *memory, *starts;
    size_t size = patas__branches_map_size(&module->image);
    if (!size || patas__os_map(size, PATAS__READ | PATAS__WRITE, &memory))
        return; /* the search will do */
    if (patas__os_map(size, PATAS__READ | PATAS__WRITE, &starts)) {
        patas__os_unmap(memory, size);
        return;
    }
    patas__branches_map(&module->image, memory, starts);
    patas__os_unmap(starts, size);
    module->branches = memory;
    patas__branches_moved(module_index(module), map_moved, module);
}

static void search_moved(void *data, uint64_t to)
{
    struct patas__search *search = data;
    if (to - search->address < search->size)
        search->found |= 1u << (to - search->address);
}

static uint32_t mapped_branches(const struct patas__module *module,
                                uint64_t address, unsigned size)
{
    uint64_t bit = address - module->image.start;
    uint32_t bits = 0;
    for (unsigned k = 0; k < size; k++, bit++)
        bits |= (uint32_t)(module->branches[bit / 8] >> bit % 8 & 1) << k;
    return bits;
}

uint32_t patas__module_branches(struct patas__module *module, uint64_t address,
                                unsigned size, uint64_t skip_to, bool many)
{
    struct patas__search search = {
        .image = &module->image,
        .address = address,
        .size = size,
        .skip_from = address,
        .skip_to = skip_to,
        .near = &module->near,
        .unpatch = module->patched ? patas__targets_unpatch : NULL};
    /* To make a map takes as long as some searches. */
    if (!module->branches &&
        ++module->searches > (many ? SEARCHES_IN_BATCH : SEARCHES))
        make_map(module);
    if (module->branches)
        return mapped_branches(module, address, size) |
               patas__branches_near(&search);
    patas__branches_moved(module_index(module), search_moved, &search);
    return patas__branches_search(&search);
}
