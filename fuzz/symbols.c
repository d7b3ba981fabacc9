/* SPDX-License-Identifier: MIT */
/*
 * The input is an ELF file that says it is the debug file of a module, whose
 * code is 64 KB of this program's memory: its tables are read, names are looked
 * up and demangled, and the debug information is walked for inlined copies,
 * types and lines. libelf and libdw read it, too: what they do wrong with it is
 * found as well, and then told to them.
 */
#include "why.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum {
    MODULE_SIZE = 65536
};

static ElfW(Phdr) module_headers[1] = {{.p_type = PT_LOAD,
                                        .p_flags = PF_R | PF_X,
                                        .p_memsz = MODULE_SIZE,
                                        .p_filesz = MODULE_SIZE}};

static void ask(struct patas__module *module, uint64_t value, const char *name)
{
    struct patas__why work = {.module = module,
                              .name = name,
                              .plain = name,
                              .value = value,
                              .size = 1};
    const char *file;
    unsigned line;

    (void)patas__source_line(module, value, &file, &line);
    work.why.symbol.address = module->bias + (uintptr_t)value;
    patas__why_clones(&work);
    patas__why_debug(&work);
    patas__why_types(&work, 0);
    patas__arena_free(&work.arena);
    free(work.items);
}

static void ask_all(struct patas__module *module)
{
    for (uint32_t i = 0; i < module->count && i < 8; i++) {
        const char *name = patas__name(module, &module->symbols[i]);
        (void)patas__lookup_first(module, name, patas__base_length(name));
        free(patas__demangle(name));
        ask(module, module->symbols[i].value, name);
    }
    (void)patas__signatures(module);
    (void)patas__lookup_address(module, MODULE_SIZE / 2);
    struct patas__spec spec = {.name = "small_static"};
    struct patas__why gone = {
        .module = module, .name = spec.name, .plain = spec.name};
    (void)patas__why_gone(&gone, &spec);
    patas__arena_free(&gone.arena);
    free(gone.items);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t *memory;
    static char path[] = "input";
    struct patas__module module = {
        .path = path,
        .phdr = module_headers,
        .phdr_count = 1,
        .fd = -1,
        .debug_fd = -1,
    };

    if (!memory) {
        elf_version(EV_CURRENT);
        patas__setup.flags = PATAS_SYMBOLS_NO_DEBUG; /* no other files */
        memory = mmap(NULL, MODULE_SIZE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS,
                      -1, 0);
        if (memory == MAP_FAILED)
            return 0;
    }
    module.bias = (uintptr_t)memory;
    char *copy = malloc(size + 1);
    if (!copy)
        return 0;
    memcpy(copy, data, size);
    module.elf = elf_memory(copy, size);
    if (module.elf && elf_kind(module.elf) == ELF_K_ELF) {
        patas__module_read_tables(&module);
        ask_all(&module);
    }
    patas__module_close(&module);
    free(copy);
    return 0;
}
