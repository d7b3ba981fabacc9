/* SPDX-License-Identifier: MIT */
/*
 * Who else patches this process: the text that is mapped against the file.
 *
 * What a jump there leads to is followed through trampolines until a module is
 * reached. Memory of others may go away meanwhile: it is read by a system call
 * that says so, never by a load.
 */
#include "internal.h"

#include "insn.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

enum {
    FOREIGN_GAP = 8,  /* equal bytes inside of one change */
    FOREIGN_HOPS = 4, /* trampolines that are followed */
    FOREIGN_MAX = 100000,
    FOREIGN_CHUNK = 65536
};

struct foreign_work {
    patas_foreign_list list; /* first: what the caller has */
    struct patas__arena arena;
    patas_foreign *items;
    size_t capacity;
    const char **unread;
    size_t unread_capacity;
    uint64_t *relocated; /* words of the module's code, sorted */
    size_t relocated_count;
};

static int by_value(const void *left, const void *right)
{
    const uint64_t *a = left, *b = right;
    return (*a > *b) - (*a < *b);
}

static void relocated_add(struct foreign_work *work, uint64_t value)
{
    size_t count = work->relocated_count;

    if (!(count & (count - 1))) { /* as large as the next power of two */
        void *grown = realloc(work->relocated,
                              (count ? 2 * count : 1) * sizeof(uint64_t));
        if (!grown) {
            work->arena.failed = true;
            return;
        }
        work->relocated = grown;
    }
    work->relocated[work->relocated_count++] = value;
}

/* Code that was not built to run anywhere is written to by the linker, as i386
 * programs without -fPIC are: nobody patched that. */
static void relocated_find(struct foreign_work *work,
                           const struct patas__module *module)
{
    Elf_Scn *section = NULL;
    GElf_Shdr header;

    work->relocated_count = 0;
    if (!patas__module_text_relocated(module))
        return;
    while ((section = elf_nextscn(module->elf, section))) {
        if (!gelf_getshdr(section, &header) ||
            (header.sh_type != SHT_RELA && header.sh_type != SHT_REL) ||
            !(header.sh_flags & SHF_ALLOC))
            continue;
        Elf_Data *data = elf_getdata(section, NULL);
        for (int i = 0; data; i++) {
            GElf_Rel rel;
            GElf_Rela rela;
            if (header.sh_type == SHT_REL ? !gelf_getrel(data, i, &rel)
                                          : !gelf_getrela(data, i, &rela))
                break;
            uint64_t value =
                header.sh_type == SHT_REL ? rel.r_offset : rela.r_offset;
            if (patas__module_is_code(module, value))
                relocated_add(work, value);
        }
    }
    if (work->relocated_count)
        qsort(work->relocated, work->relocated_count, sizeof(uint64_t),
              by_value);
}

static bool is_relocated(const struct foreign_work *work, uint64_t value)
{
    size_t low = 0, high = work->relocated_count;

    while (low < high) { /* the first that is beyond */
        size_t middle = low + (high - low) / 2;
        if (work->relocated[middle] <= value)
            low = middle + 1;
        else
            high = middle;
    }
    return low && value - work->relocated[low - 1] < sizeof(uintptr_t);
}

/* Where processes may not be read (an emulator, a filter): what the kernel can
 * write to a pipe is there. */
static bool read_by_pipe(uintptr_t address, uint8_t *out, size_t size)
{
    enum {
        AT_ONCE = 4096 /* always fits */
    };
    int ends[2];

    if (pipe2(ends, O_CLOEXEC))
        return false;
    while (size) {
        size_t part = size < AT_ONCE ? size : AT_ONCE;
        if (write(ends[1], (const void *)address, part) != (ssize_t)part ||
            read(ends[0], out, part) != (ssize_t)part)
            break;
        address += part;
        out += part;
        size -= part;
    }
    (void)close(ends[0]);
    (void)close(ends[1]);
    return !size;
}

static bool read_memory(uintptr_t address, void *out, size_t size)
{
    struct iovec local = {out, size}, remote = {(void *)address, size};
    ssize_t got = process_vm_readv(getpid(), &local, 1, &remote, 1, 0);

    return got == (ssize_t)size ||
           (got < 0 && errno != EFAULT && read_by_pipe(address, out, size));
}

static bool jump_at(uintptr_t address, uintptr_t *to)
{
    uint8_t bytes[16];
    struct patas__instruction insn;
    uintptr_t slot;

    if (!read_memory(address, bytes, sizeof bytes))
        return false;
    if (patas__trampoline(bytes, address, to, &slot))
        return !slot || read_memory(slot, to, sizeof *to);
    if (!patas__instruction_at(bytes, sizeof bytes, address, &insn) ||
        !insn.jump)
        return false;
    if (insn.has_target) {
        *to = (uintptr_t)insn.target;
        return true;
    }
    return insn.has_operand &&
           read_memory((uintptr_t)insn.operand, to, sizeof *to);
}

/* The name of the mapping, as the kernel shows it. */
static const char *mapping_name(struct patas__arena *arena, uintptr_t address)
{
    FILE *maps = fopen("/proc/self/maps", "re");
    const char *name = "anonymous memory";
    char line[4352];

    while (maps && fgets(line, sizeof line, maps)) {
        unsigned long from, to;
        int path = 0;
        if (sscanf(line, "%lx-%lx %*s %*s %*s %*s %n", &from, &to, &path) < 2 ||
            address < from || address >= to)
            continue;
        line[strcspn(line, "\n")] = 0;
        if (path && line[path])
            name = patas__arena_text(arena, line + path);
        break;
    }
    if (maps)
        fclose(maps);
    return name;
}

static void follow(struct foreign_work *work, patas_foreign *item,
                   uintptr_t from)
{
    uintptr_t to = 0, next;

    item->owner = "";
    for (int hop = 0; hop < FOREIGN_HOPS && jump_at(hop ? to : from, &next);
         hop++) {
        to = next;
        struct patas__module *module = patas__module_around(to);
        if (module) {
            item->target = to;
            item->owner = patas__arena_text(&work->arena, module->path);
            return;
        }
    }
    item->target = to;
    if (to)
        item->owner = mapping_name(&work->arena, to);
}

/* The function before the change, even if padding behind it was changed. */
static const struct patas__symbol *before(struct patas__module *module,
                                          uint64_t value)
{
    uint32_t at = patas__lookup_from(module, value + 1);
    return at ? &module->symbols[module->by_address[at - 1]] : NULL;
}

static bool is_ours(const struct patas__module *module,
                    const struct patas__symbol *symbol)
{
    const patas_options options = {sizeof options, PATAS_ENTRY, NULL};
    patas_plan_info info = {.size = sizeof info};

    if (!symbol)
        return false;
    (void)patas_plan_with((patas_fn)(module->bias + (uintptr_t)symbol->value),
                          &options, &info, NULL);
    return info.patches > 0;
}

static void foreign_text(struct foreign_work *work, patas_foreign *item,
                         const char *base)
{
    const char *by = item->ours ? "patched by patas" : "? not ours";

    if (patas__is_breakpoint(item->mapped, item->size) && !item->ours)
        by = "a breakpoint of a debugger, or a uprobe";
    item->text = patas__arena_print(
        &work->arena, "%s@%s: %s: %02x .. (%zu bytes)%s%s",
        *item->function ? item->function : "?", base, by, item->mapped[0],
        item->size, *item->owner ? " -> " : "", item->owner);
}

static void foreign_add(struct foreign_work *work, struct patas__module *module,
                        uint64_t from, uint64_t to, const uint8_t *file)
{
    if (work->list.count == work->capacity) {
        size_t capacity = work->capacity ? work->capacity * 2 : 16;
        void *grown =
            capacity > FOREIGN_MAX
                ? NULL
                : realloc(work->items, capacity * sizeof *work->items);
        if (!grown) {
            work->arena.failed = true;
            return;
        }
        work->items = grown;
        work->capacity = capacity;
    }
    patas_foreign *item = &work->items[work->list.count++];
    memset(item, 0, sizeof *item);
    item->address = module->bias + (uintptr_t)from;
    item->size = (size_t)(to - from);
    size_t shown =
        item->size < sizeof item->mapped ? item->size : sizeof item->mapped;
    (void)read_memory(item->address, item->mapped, shown);
    memcpy(item->on_disk, file, shown);
    const struct patas__symbol *symbol = before(module, from);
    const char *name = symbol ? patas__name(module, symbol) : "";
    char *plain = patas__demangle(name);
    item->function = plain ? patas__arena_text(&work->arena, plain)
                           : patas__arena_print(&work->arena, "%.*s",
                                                (int)strcspn(name, "@"), name);
    free(plain);
    item->module = patas__arena_text(&work->arena, module->path);
    item->ours = is_ours(module, symbol);
    /* The jump may begin before the first byte that differs. */
    uintptr_t jump = item->address;
    if (symbol && from - symbol->value < 5 && from != symbol->value)
        jump = module->bias + (uintptr_t)symbol->value;
    follow(work, item, jump);
    if (!work->arena.failed)
        foreign_text(work, item, patas__module_base(module));
}

/* One change may cross the end of a chunk: then it is two. */
static void compare_chunk(struct foreign_work *work,
                          struct patas__module *module, uint64_t value,
                          const uint8_t *file, size_t size)
{
    static uint8_t mapped[FOREIGN_CHUNK]; /* under the lock */

    if (!read_memory(module->bias + (uintptr_t)value, mapped, size) ||
        !memcmp(mapped, file, size))
        return;
    for (size_t i = 0; i < size && !work->arena.failed; i++) {
        if (mapped[i] == file[i] || is_relocated(work, value + i))
            continue;
        size_t last = i;
        for (size_t k = i; k < size && k - last <= FOREIGN_GAP; k++) {
            if (mapped[k] != file[k] && !is_relocated(work, value + k))
                last = k;
        }
        /* Whole instructions, where they are of one length. */
        i -= i % PATAS__INSN_STEP;
        last |= PATAS__INSN_STEP - 1;
        uint8_t first[16] = {0};
        memcpy(first, file + i, size - i < 16 ? size - i : 16);
        foreign_add(work, module, value + i, value + last + 1, first);
        i = last;
    }
}

static void compare_segment(struct foreign_work *work,
                            struct patas__module *module,
                            const ElfW(Phdr) * phdr)
{
    static uint8_t file[FOREIGN_CHUNK]; /* under the lock */

    for (uint64_t done = 0; done < phdr->p_filesz;) {
        size_t size = phdr->p_filesz - done < sizeof file
                          ? (size_t)(phdr->p_filesz - done)
                          : sizeof file;
        ssize_t got =
            pread(module->fd, file, size, (off_t)(phdr->p_offset + done));
        if (got <= 0)
            return;
        compare_chunk(work, module, phdr->p_vaddr + done, file, (size_t)got);
        done += (uint64_t)got;
    }
}

static void foreign_unread(struct foreign_work *work,
                           const struct patas__module *module)
{
    if (work->list.unread_count == work->unread_capacity) {
        size_t capacity = work->unread_capacity ? work->unread_capacity * 2 : 8;
        void *grown = realloc(work->unread, capacity * sizeof *work->unread);
        if (!grown) {
            work->arena.failed = true;
            return;
        }
        work->unread = grown;
        work->unread_capacity = capacity;
    }
    work->unread[work->list.unread_count++] = patas__arena_print(
        &work->arena, "%s: %s", module->path,
        module->stale ? "the file on disk is not the running one"
                      : "there is no such file");
}

static void foreign_search(struct foreign_work *work, const char *name)
{
    for (struct patas__module *m = patas__modules(); m; m = m->next) {
        if (m->vdso || (name && !patas__module_named(m, name, strlen(name))))
            continue;
        patas__module_read(m);
        if (!m->elf) {
            foreign_unread(work, m);
            continue;
        }
        relocated_find(work, m);
        for (unsigned i = 0; i < m->phdr_count; i++) {
            if (m->phdr[i].p_type == PT_LOAD && (m->phdr[i].p_flags & PF_X))
                compare_segment(work, m, &m->phdr[i]);
        }
    }
}

patas_status patas_foreign_find(const char *module, patas_foreign_list **list,
                                patas_error *error)
{
    if (!list)
        return patas__symbols_fail(error, PATAS_ERR_ARGUMENT, 0);
    *list = NULL;
    struct foreign_work *work = calloc(1, sizeof *work);
    if (!work)
        return patas__symbols_fail(error, PATAS_ERR_NO_MEMORY, ENOMEM);
    patas_status status = patas__symbols_enter(error);
    if (status == PATAS_OK) {
        foreign_search(work, module);
        patas__symbols_leave();
        if (work->arena.failed)
            status = patas__symbols_fail(error, PATAS_ERR_NO_MEMORY, ENOMEM);
    }
    work->list.patches = work->items;
    work->list.unread = work->unread;
    if (status == PATAS_OK)
        *list = &work->list;
    else
        patas_foreign_free(&work->list);
    return status;
}

void patas_foreign_free(patas_foreign_list *list)
{
    struct foreign_work *work = (struct foreign_work *)list;

    if (work) {
        patas__arena_free(&work->arena);
        free(work->items);
        free(work->unread);
        free(work->relocated);
        free(work);
    }
}
