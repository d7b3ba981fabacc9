/* SPDX-License-Identifier: MIT */
/*
 * A module's ELF file and its separate debug file.
 *
 * A file counts only if it is the mapped one: its program headers, its exported
 * names and its build-id, if there is one, equal those in memory. A debug file
 * counts only if its build-id is the module's, or its checksum the one that the
 * debug link has.
 *
 *     /usr/lib/debug/.build-id/ab/cdef...debug       by build-id
 *     DIR/x.debug  DIR/.debug/x.debug  /usr/lib/debug/DIR/x.debug   by link
 *     .gnu_debugdata                                 xz, in the module itself
 *     debuginfod                                     if it was asked for
 */
#include "internal.h"

#include <dlfcn.h>
#include <elfutils/libdwelf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    DEBUG_ID_MAX = 64,      /* bytes of a build-id; 20 is usual */
    DEBUG_PATH_MAX = 4096,  /* bytes */
    DEBUG_CRC_MAX = 1 << 30 /* bytes of a file whose checksum is computed */
};

static const char debug_path_default[] = "/usr/lib/debug";
patas_setup patas__setup = {sizeof(patas_setup), 0, debug_path_default};

Elf_Scn *patas__elf_section(Elf *elf, const char *name, GElf_Shdr *header)
{
    size_t strings;
    Elf_Scn *section = NULL;

    if (!elf || elf_getshdrstrndx(elf, &strings))
        return NULL;
    while ((section = elf_nextscn(elf, section))) {
        if (!gelf_getshdr(section, header))
            continue;
        const char *found = elf_strptr(elf, strings, header->sh_name);
        if (found && !strcmp(found, name))
            return section;
    }
    return NULL;
}

bool patas__elf_build_id(Elf *elf, const uint8_t **id, size_t *size)
{
    const void *found;
    ssize_t length = elf ? dwelf_elf_gnu_build_id(elf, &found) : -1;

    if (length <= 0 || length > DEBUG_ID_MAX)
        return false;
    *id = found;
    *size = (size_t)length;
    return true;
}

/* One note, and what is left behind it. */
struct debug_note {
    const uint8_t *at;
    size_t left, align;
};

/* ELF notes: gABI, "Note Section". */
static bool debug_note_next(struct debug_note *note, GElf_Nhdr *head,
                            const uint8_t **name, const uint8_t **text)
{
    if (note->left < sizeof *head)
        return false;
    memcpy(head, note->at, sizeof *head);
    size_t names = ((size_t)head->n_namesz + note->align - 1) & -note->align;
    size_t texts = ((size_t)head->n_descsz + note->align - 1) & -note->align;
    size_t rest = note->left - sizeof *head;
    if (names > rest || head->n_descsz > rest - names)
        return false;
    *name = note->at + sizeof *head;
    *text = *name + names;
    rest -= names;
    texts = texts < rest ? texts : rest;
    note->at = *text + texts;
    note->left = rest - texts;
    return true;
}

/* The build-id that is mapped. */
void patas__module_mapped_id(struct patas__module *module)
{
    const uint8_t *name, *text;
    GElf_Nhdr head;

    for (unsigned i = 0; i < module->phdr_count; i++) {
        const ElfW(Phdr) *phdr = &module->phdr[i];
        if (phdr->p_type != PT_NOTE ||
            !patas__module_holds(module, phdr->p_vaddr, phdr->p_filesz))
            continue;
        struct debug_note note = {
            (const uint8_t *)(module->bias + phdr->p_vaddr), phdr->p_filesz,
            phdr->p_align == 8 ? 8 : 4};
        while (debug_note_next(&note, &head, &name, &text)) {
            if (head.n_type != NT_GNU_BUILD_ID || head.n_namesz != 4 ||
                memcmp(name, "GNU", 4) || head.n_descsz > DEBUG_ID_MAX)
                continue;
            memcpy(module->build_id, text, head.n_descsz);
            module->build_id_size = head.n_descsz;
            return;
        }
    }
}

/* Loadable segments are what is mapped; other headers may be rewritten. */
static bool debug_same_headers(const struct patas__module *module, Elf *elf)
{
    size_t count;

    if (elf_getphdrnum(elf, &count) || count != module->phdr_count)
        return false;
    for (unsigned i = 0; i < module->phdr_count; i++) {
        const ElfW(Phdr) *mapped = &module->phdr[i];
        GElf_Phdr phdr;
        if (!gelf_getphdr(elf, (int)i, &phdr) || phdr.p_type != mapped->p_type)
            return false;
        if (phdr.p_type == PT_LOAD && (phdr.p_vaddr != mapped->p_vaddr ||
                                       phdr.p_filesz != mapped->p_filesz ||
                                       phdr.p_offset != mapped->p_offset ||
                                       phdr.p_flags != mapped->p_flags))
            return false;
    }
    return true;
}

/* The names that the linker goes by, which nobody writes to: a file may have
 * the right headers, and be broken behind them. */
static bool debug_same_names(const struct patas__module *module, Elf *elf)
{
    Elf_Scn *section = NULL;
    GElf_Shdr header;

    while ((section = elf_nextscn(elf, section))) {
        if (!gelf_getshdr(section, &header))
            return false;
        if (!(header.sh_flags & SHF_ALLOC) ||
            (header.sh_type != SHT_DYNSYM && header.sh_type != SHT_STRTAB))
            continue;
        Elf_Data *data = elf_rawdata(section, NULL);
        if (!data || !data->d_buf || data->d_size != header.sh_size ||
            !patas__module_holds(module, header.sh_addr, header.sh_size) ||
            memcmp(data->d_buf,
                   (const void *)(module->bias + (uintptr_t)header.sh_addr),
                   data->d_size) != 0)
            return false;
    }
    return true;
}

static bool debug_is_mapped(const struct patas__module *module, Elf *elf)
{
    const uint8_t *found;
    size_t size;

    if (!debug_same_headers(module, elf) || !debug_same_names(module, elf))
        return false;
    return !module->build_id_size || (patas__elf_build_id(elf, &found, &size) &&
                                      size == module->build_id_size &&
                                      !memcmp(found, module->build_id, size));
}

/* Only regular files: a device or a pipe might block for ever. */
static Elf *debug_open(const char *path, int *fd)
{
    struct stat status;

    *fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (*fd < 0)
        return NULL;
    Elf *elf = NULL;
    if (!fstat(*fd, &status) && S_ISREG(status.st_mode))
        elf = elf_begin(*fd, ELF_C_READ_MMAP_PRIVATE, NULL);
    if (elf && elf_kind(elf) == ELF_K_ELF)
        return elf;
    elf_end(elf);
    close(*fd);
    *fd = -1;
    return NULL;
}

/* The checksum of debug links: CRC-32, reflected, polynomial 0xedb88320 (gdb
 * manual, "Debugging Information in Separate Files"). */
static bool debug_crc(int fd, uint32_t *result)
{
    uint32_t table[256], crc = 0xffffffff;
    uint8_t buffer[16384];
    off_t at = 0;

    for (uint32_t i = 0; i < 256; i++) {
        table[i] = i;
        for (int bit = 0; bit < 8; bit++)
            table[i] = table[i] >> 1 ^ (0xedb88320 & -(table[i] & 1));
    }
    for (;;) {
        ssize_t got = pread(fd, buffer, sizeof buffer, at);
        if (got < 0 || at > DEBUG_CRC_MAX)
            return false;
        if (got == 0)
            break;
        for (ssize_t i = 0; i < got; i++)
            crc = crc >> 8 ^ table[(crc ^ buffer[i]) & 0xff];
        at += got;
    }
    *result = ~crc;
    return true;
}

struct debug_wanted {
    const uint8_t *id;
    size_t id_size;
    const char *link;
    GElf_Word crc;
    Elf *elf; /* what was found, and its file */
    int fd;
};

static bool debug_fits(const struct debug_wanted *wanted, Elf *elf, int fd)
{
    const uint8_t *id;
    size_t size;
    uint32_t crc;

    if (wanted->id && patas__elf_build_id(elf, &id, &size))
        return size == wanted->id_size && !memcmp(id, wanted->id, size);
    return wanted->link && debug_crc(fd, &crc) && crc == wanted->crc;
}

static bool debug_try(const struct patas__module *module,
                      struct debug_wanted *wanted, const char *path)
{
    struct stat own, other;
    int fd;
    Elf *elf = debug_open(path, &fd);

    if (!elf)
        return false;
    bool itself = !fstat(fd, &other) && !fstat(module->fd, &own) &&
                  own.st_dev == other.st_dev && own.st_ino == other.st_ino;
    if (!itself && debug_fits(wanted, elf, fd)) {
        wanted->elf = elf;
        wanted->fd = fd;
        return true;
    }
    elf_end(elf);
    close(fd);
    return false;
}

static size_t debug_hex(const uint8_t *id, size_t size, char *out)
{
    for (size_t i = 0; i < size; i++)
        snprintf(out + 2 * i, 3, "%02x", id[i]);
    return 2 * size;
}

static bool debug_by_id(const struct patas__module *module,
                        struct debug_wanted *wanted, const char *root)
{
    char path[DEBUG_PATH_MAX], hex[2 * DEBUG_ID_MAX + 1];

    if (wanted->id_size < 2)
        return false;
    debug_hex(wanted->id, wanted->id_size, hex);
    int length = snprintf(path, sizeof path, "%s/.build-id/%.2s/%s.debug", root,
                          hex, hex + 2);
    return length < (int)sizeof path && debug_try(module, wanted, path);
}

static bool debug_by_link(const struct patas__module *module,
                          struct debug_wanted *wanted, const char *root)
{
    char path[DEBUG_PATH_MAX];
    char *full = realpath(module->path, NULL);
    const char *slash = full ? strrchr(full, '/') : NULL;
    bool found = false;

    /* A link that climbs out of its folder is not followed. */
    if (slash && !strchr(wanted->link, '/')) {
        int folder = (int)(slash - full);
        static const char *const forms[] = {"%s%.*s/%s", "%s%.*s/.debug/%s"};
        for (int i = 0; i < 2 && !found; i++) {
            int length = i == 0 ? snprintf(path, sizeof path, forms[0], root,
                                           folder, full, wanted->link)
                                : snprintf(path, sizeof path, forms[1], root,
                                           folder, full, wanted->link);
            found =
                length < (int)sizeof path && debug_try(module, wanted, path);
        }
    }
    free(full);
    return found;
}

/* libdebuginfod, loaded when it is asked for, and not while a lock is held:
 * a thread in dlopen() may wait for that lock (pending.c). */
static struct {
    void *(*begin)(void);
    int (*find)(void *, const unsigned char *, int, char **);
    void (*end)(void *);
} debug_server;

static void debug_load_server(void)
{
    void *library = dlopen("libdebuginfod.so.1", RTLD_NOW | RTLD_LOCAL);
    if (!library)
        return;
    debug_server.find = (int (*)(void *, const unsigned char *, int, char **))(
        uintptr_t)dlsym(library, "debuginfod_find_debuginfo");
    debug_server.end =
        (void (*)(void *))(uintptr_t)dlsym(library, "debuginfod_end");
    debug_server.begin =
        (void *(*)(void))(uintptr_t)dlsym(library, "debuginfod_begin");
}

static void debug_from_server(const struct patas__module *module,
                              struct debug_wanted *wanted)
{
    char *path = NULL;

    if (!debug_server.begin || !debug_server.find || !debug_server.end)
        return;
    void *client = debug_server.begin();
    if (!client)
        return;
    int fd = debug_server.find(client, wanted->id, (int)wanted->id_size, &path);
    debug_server.end(client);
    if (fd >= 0) {
        close(fd);
        (void)debug_try(module, wanted, path);
    }
    free(path);
}

/* In each folder of the debug path, by what `how` makes of it. */
static bool debug_in_roots(const struct patas__module *module,
                           struct debug_wanted *wanted)
{
    char *roots = strdup(patas__setup.debug_path), *rest = NULL;
    bool found = false;

    for (char *root = roots ? strtok_r(roots, ":", &rest) : NULL;
         root && !found; root = strtok_r(NULL, ":", &rest)) {
        found = (wanted->id && debug_by_id(module, wanted, root)) ||
                (wanted->link && debug_by_link(module, wanted, root));
    }
    free(roots);
    return found;
}

static void debug_find(struct patas__module *module)
{
    struct debug_wanted wanted = {0};

    if (!patas__elf_build_id(module->elf, &wanted.id, &wanted.id_size))
        wanted.id = NULL;
    wanted.link = dwelf_elf_gnu_debuglink(module->elf, &wanted.crc);
    bool found = debug_in_roots(module, &wanted) ||
                 (wanted.link && debug_by_link(module, &wanted, ""));
    if (!found && wanted.id && (patas__setup.flags & PATAS_SYMBOLS_DEBUGINFOD))
        debug_from_server(module, &wanted);
    if (wanted.elf) {
        module->debug_elf = wanted.elf;
        module->debug_fd = wanted.fd;
    }
}

bool patas__debug_common(struct patas__module *module, const char *path,
                         const void *id, size_t id_size)
{
    struct debug_wanted wanted = {.id = id, .id_size = id_size};

    if (id_size > DEBUG_ID_MAX ||
        (patas__setup.flags & PATAS_SYMBOLS_NO_DEBUG) ||
        (!debug_try(module, &wanted, path) && !debug_in_roots(module, &wanted)))
        return false;
    module->common_elf = wanted.elf;
    module->common_fd = wanted.fd;
    return true;
}

void patas__module_open(struct patas__module *module)
{
    GElf_Shdr header;

    if (module->vdso)
        return;
    module->elf = debug_open(module->program ? "/proc/self/exe" : module->path,
                             &module->fd);
    if (module->elf && !debug_is_mapped(module, module->elf)) {
        elf_end(module->elf);
        close(module->fd);
        module->elf = NULL;
        module->fd = -1;
        module->stale = true;
    }
    if (!module->elf || (patas__setup.flags & PATAS_SYMBOLS_NO_DEBUG))
        return;
    if (!patas__elf_section(module->elf, ".symtab", &header) ||
        (!patas__elf_section(module->elf, ".debug_info", &header) &&
         !patas__elf_section(module->elf, ".zdebug_info", &header)))
        debug_find(module);
}

void patas__module_close(struct patas__module *module)
{
    patas__lookup_free(module);
    if (module->versions_owned) {
        for (unsigned i = 0; i <= PATAS__VERSIONS_MAX; i++)
            free(module->versions[i]);
    }
    free(module->symbols);
    free(module->irelatives);
    free(module->mini_strings);
    patas__dwarf_close(module);
    if (module->mini)
        dwfl_end(module->mini);
    elf_end(module->common_elf);
    elf_end(module->debug_elf);
    elf_end(module->elf);
    if (module->common_fd >= 0)
        close(module->common_fd);
    if (module->debug_fd >= 0)
        close(module->debug_fd);
    if (module->fd >= 0)
        close(module->fd);
}

patas_status patas_symbols_setup(const patas_setup *setup, patas_error *error)
{
    const unsigned known = PATAS_SYMBOLS_DEBUGINFOD | PATAS_SYMBOLS_NO_DEBUG;

    if (!setup || setup->size != sizeof *setup || (setup->flags & ~known))
        return patas__symbols_fail(error, PATAS_ERR_ARGUMENT, 0);
    if ((setup->flags & PATAS_SYMBOLS_DEBUGINFOD) && !debug_server.begin)
        debug_load_server();
    patas_status status = patas__symbols_enter(error);
    if (status != PATAS_OK)
        return status;
    char *path =
        strdup(setup->debug_path ? setup->debug_path : debug_path_default);
    if (path) {
        patas__modules_forget();
        if (patas__setup.debug_path != debug_path_default)
            free((char *)(uintptr_t)patas__setup.debug_path);
        patas__setup.debug_path = path;
        patas__setup.flags = setup->flags;
    } else {
        status = patas__symbols_fail(error, PATAS_ERR_NO_MEMORY, ENOMEM);
    }
    patas__symbols_leave();
    return status;
}
