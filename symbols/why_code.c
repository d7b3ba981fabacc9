/* SPDX-License-Identifier: MIT */
/*
 * Direct calls and jumps to a function, by its module's code.
 *
 *     x86        e8 rel32   call     e9 rel32          jmp
 *                                    0f 80..8f rel32   jcc
 *     AArch64    bl                  b, b.cond, cbz, cbnz, tbz, tbnz
 *
 * One that would lead there is looked for wherever an instruction may begin,
 * and believed if decoding from the function's start arrives at it.
 */
#include "why.h"

#include "insn.h"

#include <string.h>

struct code_site {
    uint64_t at;
    bool call;
};

typedef void code_visit(void *data, struct patas__module *module,
                        const struct code_site *site);

struct code_scan {
    struct patas__module *module;
    uint64_t value, size; /* the function that is looked for */
    code_visit *visit;
    void *data;
};

/* Whether an instruction begins at `at`, as the function around it is read. */
static bool code_begins(struct patas__module *module, uint64_t at)
{
    const struct patas__symbol *symbol = patas__lookup_address(module, at);
    struct patas__instruction insn;

    if (!symbol)
        return true;
    for (uint64_t pc = symbol->value; pc < at; pc += insn.length) {
        const uint8_t *bytes = (const uint8_t *)(module->bias + (uintptr_t)pc);
        uint64_t left = at - pc + PATAS__INSN_LONGEST;
        if (!patas__module_holds(module, pc, left))
            left = at - pc + 5;
        if (!patas__instruction_at(bytes, (size_t)left, pc, &insn))
            return true; /* data between code: no proof either way */
        if (pc + insn.length > at)
            return false;
    }
    return true;
}

static void code_hit(const struct code_scan *scan, uint64_t at, bool call)
{
    struct code_site site = {at, call};

    /* A loop inside of the function is no caller. */
    if (!call && at - scan->value < (scan->size ? scan->size : 1))
        return;
    if (code_begins(scan->module, at))
        scan->visit(scan->data, scan->module, &site);
}

static void code_scan_bytes(const struct code_scan *scan, const uint8_t *bytes,
                            uint64_t start, uint64_t size)
{
    struct patas__branch branch;

    for (uint64_t i = 0; i < size; i += PATAS__INSN_STEP)
        if (patas__branch_at(bytes, (size_t)i, (size_t)size, start, &branch) &&
            branch.target == scan->value)
            code_hit(scan, branch.at, branch.call);
}

static void code_run(const struct code_scan *scan)
{
    const struct patas__module *module = scan->module;

    for (unsigned i = 0; i < module->phdr_count; i++) {
        const ElfW(Phdr) *phdr = &module->phdr[i];
        if (phdr->p_type == PT_LOAD && (phdr->p_flags & PF_X) &&
            (phdr->p_flags & PF_R))
            code_scan_bytes(scan,
                            (const uint8_t *)(module->bias + phdr->p_vaddr),
                            phdr->p_vaddr, phdr->p_filesz);
    }
}

static void code_report(void *data, struct patas__module *module,
                        const struct code_site *site)
{
    struct patas__why *work = data;
    const struct patas__symbol *in = patas__lookup_address(module, site->at);
    const char *name = in ? patas__name(module, in) : "", *file = "";
    unsigned line = 0;

    if (!patas__source_line(module, site->at, &file, &line))
        file = "";
    patas__why_add(work, site->call ? PATAS_WHY_CALL : PATAS_WHY_TAIL_CALL,
                   module->bias + (uintptr_t)site->at, name, file, line,
                   site->call ? ""
                              : "jumps there: it is reached, but the caller "
                                "that is seen is the caller's caller");
}

void patas__why_code(struct patas__why *work)
{
    struct code_scan scan = {work->module, work->value, work->size, code_report,
                             work};
    code_run(&scan);
}

static void code_count(void *data, struct patas__module *module,
                       const struct code_site *site)
{
    (void)module, (void)site;
    ++*(size_t *)data;
}

size_t patas__count_calls(struct patas__module *module, uint64_t value,
                          uint64_t size)
{
    size_t count = 0;
    struct code_scan scan = {module, value, size, code_count, &count};

    code_run(&scan);
    return count;
}
