/* SPDX-License-Identifier: MIT */
/*
 * Stage 1: the function that an address means.
 *
 *     call read ---> stub: jmp *slot(%rip) ---> GOT slot ---> read
 *
 * A function of the program's own may begin by the same jump (a tail call
 * through a pointer that it keeps). What makes a stub of it is the slot: the
 * dynamic linker was told, by a relocation, to keep a symbol's address there;
 * and that it is no function by its own name or frame description.
 */
#include "target.h"

#include <elf.h>

bool patas__target_decode(const struct patas__image *image, uint64_t address,
                          struct patas__insn *insn)
{
    const struct patas__segment *code = patas__image_code(image, address);
    if (!code)
        return false;
    uint64_t offset = address - code->address;
    return image->isa->decode(code->bytes + offset,
                              (size_t)(code->size - offset), address, insn);
}

bool patas__target_first(const struct patas__image *image, uint64_t address,
                         struct patas__insn *insn)
{
    if (!patas__target_decode(image, address, insn))
        return false;
    return !insn->landing_pad ||
           patas__target_decode(image, address + insn->length, insn);
}

static bool target_is_writable(const struct patas__image *image,
                               uint64_t address, uint64_t size)
{
    for (unsigned i = 0; i < image->segment_count; i++) {
        const struct patas__segment *segment = &image->segments[i];
        uint64_t offset = address - segment->address;
        if (offset < segment->size)
            return segment->writable && size <= segment->size - offset;
    }
    return false;
}

bool patas__target_stub(const struct patas__image *image, uint64_t address,
                        uint64_t *slot, uint64_t *size)
{
    uint64_t word = image->isa->pointer_size;

    return image->isa->plt_stub(image, address, slot, size) &&
           *slot % word == 0 && target_is_writable(image, *slot, word);
}

static uint64_t target_load(const struct patas__image *image, uint64_t slot)
{
    uint64_t word = image->isa->pointer_size;
    const uint8_t *bytes = patas__image_bytes(image, slot, word);

    if (!bytes)
        return 0;
    return word == 8 ? patas__load64(bytes) : patas__load32(bytes);
}

/* The relocation that fills `slot`. */
static bool target_find_reloc(const struct patas__image *image, uint64_t slot,
                              struct patas__reloc *reloc)
{
    if (slot - image->plt_got_start >=
        image->plt_got_end - image->plt_got_start)
        return false;
    for (unsigned table = 0; table < 3; table++) {
        for (uint64_t i = 0; patas__image_reloc(image, table, i, reloc); i++) {
            if (reloc->address == slot && reloc->kind != PATAS__RELOC_OTHER)
                return true;
        }
    }
    return false;
}

/* An unbound slot leads back into its own image's PLT. */
static bool target_is_unbound(const struct patas__image *image, uint64_t slot,
                              uint64_t value)
{
    return !value || value == image->bias ||
           image->isa->plt_unbound(image, slot, value);
}

static const char *target_reloc_name(const struct patas__image *image,
                                     const struct patas__reloc *reloc)
{
    struct patas__symbol symbol;

    if (!reloc->symbol || !patas__image_symbol(image, reloc->symbol, &symbol))
        return NULL;
    return patas__image_name(image, symbol.name);
}

/* Code compiled with -fno-plt calls through the GOT by itself: a function that
 * does nothing but call another one looks like that one's stub. It has a name,
 * or a frame description that is its own; a PLT has one for all of its stubs,
 * and the last one is padded. */
static bool target_is_function(const struct patas__image *image,
                               uint64_t address, uint64_t size)
{
    struct patas__extent extent;
    struct patas__symbol symbol;

    if (patas__extent_find(image, address, &extent) &&
        extent.start == address && extent.size == size &&
        extent.source == PATAS__SOURCE_UNWIND)
        return true;
    for (uint64_t i = 0; patas__image_symbol(image, i, &symbol); i++) {
        if (symbol.address == address && symbol.defined &&
            symbol.type == STT_FUNC)
            return true;
    }
    return false;
}

static enum patas__followed target_step_stub(const struct patas__image *image,
                                             uint64_t address, uint64_t *next,
                                             const char **lazy_name)
{
    struct patas__reloc reloc;
    uint64_t slot, size;

    if (!patas__target_stub(image, address, &slot, &size) ||
        !target_find_reloc(image, slot, &reloc) ||
        target_is_function(image, address, size))
        return PATAS__FOLLOWED_NOTHING;
    uint64_t value = target_load(image, slot);
    if (!target_is_unbound(image, slot, value)) {
        *next = value;
        return PATAS__FOLLOWED_PLT;
    }
    *lazy_name = target_reloc_name(image, &reloc);
    return *lazy_name ? PATAS__FOLLOWED_PLT : PATAS__FOLLOWED_NOTHING;
}

/* Whether the resolver of an IFUNC of .dynsym is at `address`. */
static bool target_is_ifunc(const struct patas__image *image, uint64_t address)
{
    uint64_t offset = address - image->start;
    uint32_t low = 0, high = image->ifunc_count;

    if (high > PATAS__IFUNCS_MAX)
        return true; /* not all are listed: the symbols have to be asked */
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (image->ifuncs[middle] < offset)
            low = middle + 1;
        else
            high = middle;
    }
    return low < image->ifunc_count && image->ifuncs[low] == offset;
}

/* The next IFUNC symbol whose resolver is at `address`, from `*index` on. */
static bool target_next_ifunc(const struct patas__image *image,
                              uint64_t address, uint64_t *index,
                              struct patas__symbol *symbol)
{
    for (; patas__image_symbol(image, *index, symbol); ++*index) {
        if (symbol->type == STT_GNU_IFUNC && symbol->defined &&
            symbol->address == address)
            return true;
    }
    return false;
}

/* The whole function is `[landing pad] jmp rel`, and goes elsewhere. */
static bool target_lone_jump(const struct patas__image *image, uint64_t address,
                             uint64_t *next)
{
    struct patas__extent extent;
    struct patas__insn insn;

    if (!patas__target_first(image, address, &insn) ||
        insn.flow != PATAS__FLOW_JUMP || !insn.has_target ||
        !patas__extent_find(image, address, &extent) ||
        extent.start != address ||
        extent.size != insn.address + insn.length - address ||
        insn.target - extent.start < extent.size)
        return false;
    *next = insn.target;
    return true;
}

enum patas__followed patas__target_step(const struct patas__image *image,
                                        uint64_t address, bool follow_jumps,
                                        uint64_t *next, const char **lazy_name)
{
    struct patas__symbol symbol;
    uint64_t index = 0;

    *next = 0;
    *lazy_name = NULL;
    if (target_is_ifunc(image, address) &&
        target_next_ifunc(image, address, &index, &symbol)) {
        *lazy_name = patas__image_name(image, symbol.name);
        return PATAS__FOLLOWED_IFUNC;
    }
    enum patas__followed followed =
        target_step_stub(image, address, next, lazy_name);
    if (followed != PATAS__FOLLOWED_NOTHING)
        return followed;
    if (follow_jumps && target_lone_jump(image, address, next))
        return PATAS__FOLLOWED_JUMP;
    return PATAS__FOLLOWED_NOTHING;
}

/* Bounds against tables that are made to be slow. */
enum {
    TARGET_VERSIONS_MAX = 4096, /* records that are looked at */
    TARGET_ALIASES_MAX = 16     /* symbols of one resolver */
};

static bool target_same_text(const char *a, const char *b)
{
    if (!a || !b)
        return a == b;
    while (*a && *a == *b) {
        a++;
        b++;
    }
    return *a == *b;
}

/* The name of a version that this image defines. */
static const char *target_version_defined(const struct patas__image *image,
                                          unsigned version)
{
    uint64_t at = image->verdef;

    for (unsigned i = 0; at && i < TARGET_VERSIONS_MAX; i++) {
        Elf64_Verdef def; /* the same as Elf32_Verdef; so are the others */
        const uint8_t *bytes = patas__image_bytes(image, at, sizeof def);
        if (!bytes)
            return NULL;
        __builtin_memcpy(&def, bytes, sizeof def);
        if (def.vd_ndx == version) {
            bytes = patas__image_bytes(image, at + def.vd_aux, 4);
            return bytes ? patas__image_name(image, patas__load32(bytes))
                         : NULL;
        }
        at = def.vd_next ? at + def.vd_next : 0;
    }
    return NULL;
}

/* The name of a version that this image needs of another. */
static const char *target_version_needed(const struct patas__image *image,
                                         unsigned version)
{
    uint64_t at = image->verneed;
    unsigned steps = 0;

    while (at && steps++ < TARGET_VERSIONS_MAX) {
        Elf64_Verneed need;
        const uint8_t *bytes = patas__image_bytes(image, at, sizeof need);
        if (!bytes)
            return NULL;
        __builtin_memcpy(&need, bytes, sizeof need);
        uint64_t aux = at + need.vn_aux;
        for (unsigned i = 0; i < need.vn_cnt && steps++ < TARGET_VERSIONS_MAX;
             i++) {
            Elf64_Vernaux one;
            bytes = patas__image_bytes(image, aux, sizeof one);
            if (!bytes)
                return NULL;
            __builtin_memcpy(&one, bytes, sizeof one);
            if ((one.vna_other & 0x7fff) == version)
                return patas__image_name(image, one.vna_name);
            aux += one.vna_next;
        }
        at = need.vn_next ? at + need.vn_next : 0;
    }
    return NULL;
}

/* The version that symbol `index` has or asks for; NULL if none. */
static const char *target_version(const struct patas__image *image,
                                  uint64_t index)
{
    const uint8_t *bytes =
        image->versym ? patas__image_bytes(image, image->versym + index * 2, 2)
                      : NULL;
    unsigned version = bytes ? patas__load16(bytes) & 0x7fffu : 0;

    if (version < 2) /* local, or global without a version */
        return NULL;
    const char *name = target_version_defined(image, version);
    return name ? name : target_version_needed(image, version);
}

/* What a bound slot holds, if it is code of one of the images. */
static uint64_t target_bound(const struct patas__image *const *images,
                             unsigned count, const struct patas__image *image,
                             const struct patas__reloc *reloc)
{
    uint64_t value = target_load(image, reloc->address);

    if (target_is_unbound(image, reloc->address, value))
        return 0;
    for (unsigned i = 0; i < count; i++) {
        if (patas__image_code(images[i], value))
            return value;
    }
    return 0;
}

/* A slot that an IRELATIVE relocation filled in by asking that resolver. */
static uint64_t target_by_irelative(const struct patas__image *const *images,
                                    unsigned count, uint64_t resolver)
{
    struct patas__reloc reloc;

    for (unsigned i = 0; i < count; i++) {
        for (unsigned table = 0; table < 3; table++) {
            for (uint64_t k = 0;
                 patas__image_reloc(images[i], table, k, &reloc); k++) {
                if (reloc.kind != PATAS__RELOC_IRELATIVE ||
                    reloc.addend != resolver)
                    continue;
                uint64_t value = target_bound(images, count, images[i], &reloc);
                if (value && value != resolver)
                    return value;
            }
        }
    }
    return 0;
}

/* One IFUNC symbol, as others may refer to it. */
struct target_wanted {
    const struct patas__image *home;
    const char *name, *version;
    uint64_t resolver;
};

/* A slot of `image` for a symbol of that name and version. Only a value inside
 * the IFUNC's own module is believed: another module's function of that name
 * may have come first. */
static uint64_t target_by_name(const struct patas__image *image,
                               const struct target_wanted *wanted)
{
    struct patas__reloc reloc;

    for (unsigned table = 0; table < 3; table++) {
        for (uint64_t k = 0; patas__image_reloc(image, table, k, &reloc); k++) {
            if (reloc.kind != PATAS__RELOC_SLOT ||
                !target_same_text(target_reloc_name(image, &reloc),
                                  wanted->name) ||
                !target_same_text(target_version(image, reloc.symbol),
                                  wanted->version))
                continue;
            uint64_t value = target_bound(&wanted->home, 1, image, &reloc);
            if (value && value != wanted->resolver)
                return value;
        }
    }
    return 0;
}

uint64_t patas__target_ifunc(const struct patas__image *const *images,
                             unsigned count, uint64_t resolver)
{
    struct target_wanted wanted = {.resolver = resolver};
    struct patas__symbol symbol;
    uint64_t value = target_by_irelative(images, count, resolver);

    for (unsigned i = 0; !value && i < count; i++) {
        wanted.home = images[i];
        if (!patas__image_code(wanted.home, resolver) ||
            !target_is_ifunc(wanted.home, resolver))
            continue;
        uint64_t at = 0;
        for (unsigned alias = 0;
             alias < TARGET_ALIASES_MAX &&
             target_next_ifunc(wanted.home, resolver, &at, &symbol);
             alias++, at++) {
            wanted.name = patas__image_name(wanted.home, symbol.name);
            wanted.version = target_version(wanted.home, at);
            for (unsigned k = 0; wanted.name && !value && k < count; k++)
                value = target_by_name(images[k], &wanted);
        }
    }
    return value;
}
