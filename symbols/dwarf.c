/* SPDX-License-Identifier: MIT */
/*
 * A module's debug information, which may lie in further files:
 *
 *     .gnu_debugaltlink   what dwz found in several files, kept once in one
 *     skeleton units      -gsplit-dwarf: the rest is in a .dwo file each
 *
 * libdw opens them by itself, wherever the file says, whatever is there. So
 * the first is looked for here, by its build-id, and stands empty if there is
 * none; the second is opened if it is a regular file. What is missing is kept
 * to be said: without it there seem to be no inlined copies.
 */
#include "internal.h"

#include <dwarf.h>
#include <elfutils/libdwelf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    DWARF_PATH_MAX = 4096
};

/* The folder that the debug information's own file lies in; "" if it has none.
 */
static void dwarf_folder(const struct patas__module *module, char *folder)
{
    char link[32];
    int fd = module->debug_elf ? module->debug_fd : module->fd;

    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = fd >= 0 ? readlink(link, folder, DWARF_PATH_MAX - 1) : -1;
    folder[length < 0 ? 0 : length] = 0;
    char *slash = strrchr(folder, '/');
    if (slash)
        *slash = 0;
}

/* An ELF file with debug information that has no unit: what references to the
 * common file lead into while that is missing. */
static Dwarf *dwarf_nothing(void)
{
    static struct {
        Elf64_Ehdr head;
        Elf64_Shdr sections[3];
        char names[32];
        uint8_t no_unit[8];
    } file = {
        .head = {.e_ident = {ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64,
                             ELFDATA2LSB, EV_CURRENT},
                 .e_type = ET_REL,
                 .e_machine = EM_X86_64,
                 .e_version = EV_CURRENT,
                 .e_ehsize = sizeof(Elf64_Ehdr),
                 .e_shentsize = sizeof(Elf64_Shdr),
                 .e_shnum = 3,
                 .e_shstrndx = 2},
        .names = "\0.debug_info\0.shstrtab",
    };

    file.head.e_shoff = sizeof file.head;
    file.sections[1] = (Elf64_Shdr){
        .sh_name = 1,
        .sh_type = SHT_PROGBITS,
        .sh_offset = (size_t)(file.no_unit - (uint8_t *)&file),
        .sh_size = sizeof file.no_unit,
        .sh_addralign = 1,
    };
    file.sections[2] = (Elf64_Shdr){
        .sh_name = 1 + sizeof ".debug_info",
        .sh_type = SHT_STRTAB,
        .sh_offset = (size_t)((uint8_t *)file.names - (uint8_t *)&file),
        .sh_size = sizeof file.names,
        .sh_addralign = 1,
    };
    static Elf *elf; /* for all modules */
    if (!elf)
        elf = elf_memory((char *)&file, sizeof file);
    return elf ? dwarf_begin_elf(elf, DWARF_C_READ, NULL) : NULL;
}

static void dwarf_find_common(struct patas__module *module)
{
    const char *name;
    const void *id;
    char folder[DWARF_PATH_MAX], path[2 * DWARF_PATH_MAX];
    ssize_t size = dwelf_dwarf_gnu_debugaltlink(module->dwarf, &name, &id);

    if (size <= 0)
        return;
    dwarf_folder(module, folder);
    int length = *name == '/'
                     ? snprintf(path, sizeof path, "%s", name)
                     : snprintf(path, sizeof path, "%s/%s", folder, name);
    if (length < (int)sizeof path &&
        patas__debug_common(module, path, id, (size_t)size))
        module->common =
            dwarf_begin_elf(module->common_elf, DWARF_C_READ, NULL);
    if (!module->common) {
        module->common_name = strdup(name);
        module->common = dwarf_nothing();
    }
    if (module->common) {
        dwarf_setalt(module->dwarf, module->common);
    } else { /* no memory: libdw would go and look for it */
        dwarf_end(module->dwarf);
        module->dwarf = NULL;
    }
}

Dwarf *patas__module_dwarf(struct patas__module *module)
{
    if (!module->dwarf_tried) {
        module->dwarf_tried = true;
        Elf *elf = module->debug_elf ? module->debug_elf : module->elf;
        if (elf)
            module->dwarf = dwarf_begin_elf(elf, DWARF_C_READ, NULL);
        if (module->dwarf)
            dwarf_find_common(module);
    }
    return module->dwarf;
}

void patas__dwarf_close(struct patas__module *module)
{
    if (module->dwarf)
        dwarf_end(module->dwarf);
    if (module->common)
        dwarf_end(module->common);
    free(module->common_name);
    free(module->split_name);
}

static const char *unit_string(Dwarf_Die *unit, unsigned name, unsigned older)
{
    Dwarf_Attribute attribute;

    if (!dwarf_attr(unit, name, &attribute) &&
        (!older || !dwarf_attr(unit, older, &attribute)))
        return NULL;
    return dwarf_formstring(&attribute);
}

/* Where libdw looks for `name`: nothing, or a file that can be read at once. */
static bool split_is_harmless(const struct patas__module *module,
                              const char *folder, const char *name)
{
    char own[DWARF_PATH_MAX], path[3 * DWARF_PATH_MAX];
    struct stat status;

    dwarf_folder(module, own);
    const struct {
        const char *first, *second;
    } places[] = {{"", ""}, {own, ""}, {folder, ""}, {own, folder}};
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        int length = snprintf(path, sizeof path, "%s%s%s%s%s", places[i].first,
                              *places[i].first ? "/" : "", places[i].second,
                              *places[i].second ? "/" : "", name);
        if (length >= (int)sizeof path ||
            (!stat(path, &status) && !S_ISREG(status.st_mode)))
            return false;
    }
    return true;
}

/* A skeleton unit becomes the unit of its .dwo file, if that is there. */
void patas__dwarf_split(struct patas__module *module, Dwarf_Die *unit)
{
    const char *name = unit_string(unit, DW_AT_dwo_name, DW_AT_GNU_dwo_name);
    const char *folder = unit_string(unit, DW_AT_comp_dir, 0);
    Dwarf_Die split = {.addr = NULL};
    uint8_t type;

    if (dwarf_cu_info(unit->cu, NULL, &type, NULL, NULL, NULL, NULL, NULL) ||
        type != DW_UT_skeleton || !name)
        return;
    module->split_count++;
    if (!(patas__setup.flags & PATAS_SYMBOLS_NO_DEBUG) &&
        split_is_harmless(module, folder ? folder : "", name) &&
        !dwarf_cu_info(unit->cu, NULL, NULL, NULL, &split, NULL, NULL, NULL) &&
        split.addr) {
        *unit = split;
        return;
    }
    module->split_missing++;
    if (!module->split_name)
        module->split_name = strdup(name);
}

bool patas__dwarf_unit(struct patas__module *module, Dwarf *dwarf,
                       Dwarf_CU **cu, Dwarf_Die *unit)
{
    if (!*cu && dwarf == module->dwarf)
        module->split_count = module->split_missing = 0;
    if (dwarf_get_units(dwarf, *cu, cu, NULL, NULL, unit, NULL) != 0)
        return false;
    patas__dwarf_split(module, unit);
    return true;
}

char *patas__dwarf_missing(const struct patas__module *module)
{
    struct patas__text text = {0};

    if (module->common_name)
        patas__text_add(&text,
                        "a part of the debug info is in %s, which is not "
                        "there or belongs to another build",
                        module->common_name);
    if (module->split_missing)
        patas__text_add(&text,
                        "%s%u of %u .dwo files are not there or belong to "
                        "another build, such as %s",
                        text.length ? "; " : "", module->split_missing,
                        module->split_count,
                        module->split_name ? module->split_name : "?");
    if (text.length)
        patas__text_add(&text, ": there may be more inlined copies, and types "
                               "may be unknown");
    return text.bytes;
}
