/* SPDX-License-Identifier: MIT */
/*
 * Which function an address stands for, and whether it is one that may be
 * patched.
 */
#include "prepare_parts.h"
#include "target.h"

enum {
    FOLLOW_STEPS = 8
};

struct patas__prepared patas__prepared;

void patas__prepare_reset(void)
{
    patas__prepared = (struct patas__prepared){0};
}

/* The first module that exports `name`, as the loader would search. */
static uintptr_t find_export(const char *name)
{
    size_t length = strlen(name) + 1;
    for (uint32_t i = 1; i < patas__module_count(); i++) {
        const struct patas__module *module = patas__module_get(i);
        const struct patas__image *image = &module->image;
        const uint8_t *strings =
            patas__image_bytes(image, image->strtab, image->strtab_size);
        struct patas__symbol symbol;
        if (!module->live || module->vdso || !strings)
            continue;
        for (uint64_t k = 0; patas__image_symbol(image, k, &symbol); k++) {
            if (symbol.defined && symbol.name < image->strtab_size &&
                length <= image->strtab_size - symbol.name &&
                !memcmp(strings + symbol.name, name, length))
                return (uintptr_t)symbol.address;
        }
    }
    return 0;
}

static uintptr_t find_ifunc(uintptr_t resolver)
{
    const struct patas__image *images[256];
    unsigned count = 0;
    for (uint32_t i = 1; i < patas__module_count() && count < 256; i++)
        if (patas__module_get(i)->live)
            images[count++] = &patas__module_get(i)->image;
    return (uintptr_t)patas__target_ifunc(images, count, resolver);
}

uintptr_t patas__resolve(uintptr_t address, unsigned flags)
{
    for (unsigned step = 0; step < FOLLOW_STEPS; step++) {
        uint32_t index;
        uint64_t next = 0;
        const char *name = NULL;
        struct patas__module *module = patas__module_at(address, &index);
        enum patas__followed followed = PATAS__FOLLOWED_NOTHING;
        if (module)
            followed = patas__target_step(&module->image, address,
                                          flags & PATAS_FOLLOW, &next, &name);
        /* What patas patched is followed no further: it is a target. */
        uint32_t known = followed ? patas__target_find(address) : 0;
        if (!followed || (known && !patas__stack_unused(known)))
            return address;
        switch (followed) {
        case PATAS__FOLLOWED_NOTHING:
        case PATAS__FOLLOWED_IFUNC:
            next = find_ifunc(address);
            break;
        case PATAS__FOLLOWED_PLT:
            if (!next && name)
                next = find_export(name);
            break;
        case PATAS__FOLLOWED_JUMP:
            break;
        }
        if (!next)
            return address;
        address = (uintptr_t)next;
    }
    return address;
}

bool patas__stands_for_itself(const struct patas__module *module,
                              uintptr_t address, unsigned flags)
{
    uint64_t next;
    const char *name;
    return patas__target_step(&module->image, address, flags & PATAS_FOLLOW,
                              &next, &name) == PATAS__FOLLOWED_NOTHING;
}

/* Memory of no module may be other memory by the next member of a batch. */
static int region_of(uintptr_t address, struct patas__region *region)
{
    uint32_t index;
    if (address >= region->start && address < region->end &&
        patas__module_at(address, &index))
        return 0;
    int err = patas__os_region(address, region);
    if (err)
        *region = (struct patas__region){0};
    return err;
}

/* Without /proc the loader's program headers are all there is. */
static bool executable_segment(uintptr_t address)
{
    uint32_t index;
    const struct patas__module *module = patas__module_at(address, &index);
    for (unsigned i = 0; module && i < module->image.segment_count; i++) {
        const struct patas__segment *segment = &module->image.segments[i];
        if (address - segment->address < segment->size)
            return segment->executable;
    }
    return false;
}

static patas_status check_mapping(uintptr_t address, uintptr_t target,
                                  struct patas__region *region,
                                  patas_error *error)
{
    enum {
        NO_ENTRY = 2
    };
    int err = region_of(address, region);
    if (err == NO_ENTRY)
        return refuse(error, PATAS_ERR_NOT_CODE, PATAS_REASON_UNMAPPED, target,
                      address);
    if (err && !executable_segment(address))
        return refuse(error, PATAS_ERR_DENIED, PATAS_REASON_PROTECTION, target,
                      address);
    if (!err && region->vdso)
        return refuse(error, PATAS_ERR_UNSUPPORTED, PATAS_REASON_VDSO, target,
                      address);
    if (!err && !(region->prot & PATAS__EXEC))
        return refuse(error, PATAS_ERR_NOT_CODE, PATAS_REASON_NOT_EXECUTABLE,
                      target, address);
    return PATAS_OK;
}

patas_status patas__check_replacement(uintptr_t address, patas_error *error)
{
    struct patas__region *region = &patas__prepared.replacement;
    patas_status status = check_mapping(address, address, region, error);
    /* A replacement that is the wrong kind of memory is a wrong argument; the
     * vDSO's functions may be jumped to. */
    if (status == PATAS_ERR_UNSUPPORTED)
        return PATAS_OK;
    if (status == PATAS_ERR_NOT_CODE)
        status = error->status = PATAS_ERR_ARGUMENT;
    return status;
}

/* The library's own module, unless it is linked into the program. */
static bool ourselves(const struct patas__module *module, uintptr_t address)
{
    uintptr_t here = (uintptr_t)patas__prepare;
    return patas__island_holds(address) ||
           (module && here >= module->image.start && here < module->image.end &&
            !module->start_code);
}

patas_status patas__prepare_target(const struct patas__request *request,
                                   const struct patas__module *module,
                                   patas_error *error)
{
    uintptr_t entry = request->entry;
    if (ourselves(module, entry))
        return refuse(error, PATAS_ERR_UNSUPPORTED, PATAS_REASON_PATAS_ITSELF,
                      request->asked, entry);
    patas_status status =
        check_mapping(entry, request->asked, &patas__prepared.target, error);
    if (status != PATAS_OK)
        return status;
    if (patas__prepared.target.shared)
        return refuse(error, PATAS_ERR_UNSUPPORTED, PATAS_REASON_SHARED_FILE,
                      request->asked, entry);
    if (!module)
        return PATAS_OK;
    if (module->loader && module->start_code == entry)
        return refuse(error, PATAS_ERR_UNSUPPORTED, PATAS_REASON_LOADER,
                      request->asked, entry);
    for (unsigned i = 0; i < module->twice_count; i++)
        if (module->twice[i] == entry && !(request->flags & PATAS_PASS_THROUGH))
            return refuse(error, PATAS_ERR_UNSUPPORTED,
                          PATAS_REASON_RETURNS_TWICE, request->asked, entry);
    return PATAS_OK;
}
