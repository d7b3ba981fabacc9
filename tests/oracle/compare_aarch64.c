/* SPDX-License-Identifier: MIT */
/*
 * C4.1 and C6.2 are sections of the Arm ARM, DDI 0487.
 */
#include <inttypes.h>
#include <stdarg.h>
#include <string.h>
#include <unistd.h>

#include <capstone/capstone.h>

#define PACKAGE         1 /* bfd.h wants to be a part of binutils */
#define PACKAGE_VERSION 1
#include <dis-asm.h>

#include "compare.h"
#include "isa.h"

/* What one of the three says. */
struct view {
    bool is; /* an instruction */
    enum patas__flow flow;
    bool relative; /* names an address ... */
    uint64_t address;
};

enum whose {
    BINUTILS,
    CAPSTONE
};

/* We accept and they refuse; the reverse; where control goes; the address. */
enum kind {
    REFUSED,
    ACCEPTED,
    FLOW,
    ADDRESS
};

struct dispute_class {
    enum whose whose;
    enum kind kind;
    bool (*covers)(uint32_t word);
    const char *what;
    const char *manual;
    uint64_t count;
};

/* ---- what explains a dispute --------------------------------------------- */

static uint32_t bits(uint32_t word, unsigned low, unsigned count)
{
    return word >> low & ((1u << count) - 1);
}

/* The groups whose encodings our decoder doesn't judge (aarch64.h). */
static bool unjudged(uint32_t word)
{
    switch (bits(word, 25, 4)) {
    case 0:
        return word >> 31; /* SME */
    case 2:                /* SVE */
        return true;
    case 8: /* data processing, immediate: judged */
    case 9:
    case 10: /* branches, exceptions, system: judged */
    case 11:
    case 1:
    case 3:
        return false;
    default: /* loads of literals are judged, too */
        return (word & 0x3b000000) != 0x18000000;
    }
}

static bool compare_branch(uint32_t word) /* cbgt and kin */
{
    return (word & 0x7e000000) == 0x74000000;
}

static bool pauth_lr(uint32_t word)
{
    return (word & 0xff80001f) == 0xf380001f || /* autiasppc */
           (word & 0xffc0001f) == 0x5500001f || /* retaasppc */
           (word & 0xfffff800) == 0xd65f0800;   /* retaasppcr */
}

static bool minmax(uint32_t word)
{
    return (word & 0x7fc00000) == 0x11c00000;
}

static bool pairs(uint32_t word) /* sysp, mrrs, msrr */
{
    return (word & 0xffc00000) == 0xd5400000;
}

static bool pstate(uint32_t word) /* msr (immediate), cfinv and kin */
{
    return (word & 0xfff8f01f) == 0xd500401f;
}

static bool barrier(uint32_t word) /* sb */
{
    return (word & 0xfffff0ff) == 0xd50330ff;
}

static bool before_5(uint32_t word)
{
    int major, minor;

    (void)word;
    cs_version(&major, &minor);
    return major < 5;
}

static bool no_register(uint32_t word)
{
    return (word & 0xffd80000) == 0xd5000000;
}

static struct dispute_class dispute_classes[] = {
    {BINUTILS, REFUSED, unjudged, "allocation, which isn't judged there",
     "C4.1, loads, register, SIMD, SVE, SME: it traps wherever it is", 0},
    {CAPSTONE, REFUSED, unjudged, "allocation, which isn't judged there",
     "C4.1, loads, register, SIMD, SVE, SME: it traps wherever it is", 0},
    {BINUTILS, REFUSED, compare_branch, "FEAT_CMPBR is younger than it",
     "C6.2, CB<cc>, CBB<cc>, CBH<cc>", 0},
    {CAPSTONE, REFUSED, compare_branch, "FEAT_CMPBR is younger than it",
     "C6.2, CB<cc>, CBB<cc>, CBH<cc>", 0},
    {BINUTILS, REFUSED, pauth_lr, "FEAT_PAuth_LR is younger than it",
     "C6.2, AUTIASPPC, RETAASPPC, RETAASPPCR", 0},
    {CAPSTONE, REFUSED, pauth_lr, "FEAT_PAuth_LR is younger than it",
     "C6.2, AUTIASPPC, RETAASPPC, RETAASPPCR", 0},
    {BINUTILS, REFUSED, pairs, "FEAT_D128 is younger than it",
     "C6.2, SYSP, MRRS, MSRR", 0},
    {CAPSTONE, REFUSED, pairs, "FEAT_D128 is younger than it",
     "C6.2, SYSP, MRRS, MSRR", 0},
    {CAPSTONE, REFUSED, minmax, "FEAT_CSSC is younger than it",
     "C6.2, SMAX, UMAX, SMIN, UMIN (immediate)", 0},
    {CAPSTONE, REFUSED, pstate, "CRm where it means nothing",
     "C6.2, CFINV, XAFLAG, AXFLAG: CRm is (0)(0)(0)(0)", 0},
    {CAPSTONE, REFUSED, barrier, "CRm where it means nothing",
     "C6.2, SB: CRm is (0)(0)(0)(0)", 0},
    {CAPSTONE, REFUSED, before_5, "what is younger than Debian's",
     "C6.2, pages of FEAT_PAuth, FEAT_BTI and others", 0},
    {BINUTILS, ACCEPTED, no_register, "system registers with op0 0",
     "C6.2, MRS, MSR: op0 is 2 or 3", 0},
    {CAPSTONE, ACCEPTED, no_register, "system registers with op0 0",
     "C6.2, MRS, MSR: op0 is 2 or 3", 0},
};

enum {
    CLASSES = sizeof dispute_classes / sizeof *dispute_classes
};

/* ---- what they say ------------------------------------------------------ */

static struct {
    csh capstone;
    cs_insn *insn;
    struct disassemble_info info;
    disassembler_ftype disassemble;
    char text[256];
    size_t used;
    uint32_t word;
    bool relative;
    uint64_t address;
    uint64_t compared, instructions, unexplained, shown;
} state;

static int take_text(void *stream, enum disassembler_style style,
                     const char *format, ...)
{
    va_list arguments;
    size_t room = sizeof state.text - state.used;
    int size;

    (void)stream;
    (void)style;
    va_start(arguments, format);
    size = vsnprintf(state.text + state.used, room, format, arguments);
    va_end(arguments);
    if (size > 0)
        state.used += (size_t)size < room ? (size_t)size : room - 1;
    return size;
}

static int take_plain_text(void *stream, const char *format, ...)
{
    (void)stream;
    (void)format;
    return 0;
}

static int give_word(bfd_vma address, bfd_byte *to, unsigned size,
                     struct disassemble_info *info)
{
    (void)address;
    (void)info;
    memcpy(to, &state.word, size < 4 ? size : 4);
    return 0;
}

static void take_address(bfd_vma address, struct disassemble_info *info)
{
    (void)info;
    state.relative = true;
    state.address = address;
}

bool compare_aarch64_open(void)
{
    struct disassemble_info *info = &state.info;

    if (state.disassemble)
        return true;
    init_disassemble_info(info, NULL, take_plain_text, take_text);
    info->arch = bfd_arch_aarch64;
    info->endian = info->endian_code = BFD_ENDIAN_LITTLE;
    info->read_memory_func = give_word;
    info->print_address_func = take_address;
    disassemble_init_for_target(info);
    if (cs_open(CS_ARCH_ARM64, CS_MODE_LITTLE_ENDIAN, &state.capstone))
        return false;
    cs_option(state.capstone, CS_OPT_DETAIL, CS_OPT_ON);
    state.insn = cs_malloc(state.capstone);
    state.disassemble = disassembler(bfd_arch_aarch64, false, 0, NULL);
    return state.disassemble != NULL;
}

static bool begins(const char *text, const char *with)
{
    return strncmp(text, with, strlen(with)) == 0;
}

static enum patas__flow flow_of(const char *name)
{
    static const struct {
        const char *name;
        enum patas__flow flow;
        bool more; /* may follow */
    } names[] = {
        {"b", PATAS__FLOW_JUMP, false},
        {"b.", PATAS__FLOW_BRANCH, true},
        {"bc.", PATAS__FLOW_BRANCH, true},
        {"cbz", PATAS__FLOW_BRANCH, false},
        {"cbnz", PATAS__FLOW_BRANCH, false},
        {"tbz", PATAS__FLOW_BRANCH, false},
        {"tbnz", PATAS__FLOW_BRANCH, false},
        {"bl", PATAS__FLOW_CALL, false},
        {"blr", PATAS__FLOW_CALL, true},
        {"br", PATAS__FLOW_JUMP, false},
        {"bra", PATAS__FLOW_JUMP, true},
        {"ret", PATAS__FLOW_RETURN, true},
        {"eret", PATAS__FLOW_RETURN, true},
        {"drps", PATAS__FLOW_RETURN, false},
        {"svc", PATAS__FLOW_SYSCALL, false},
        {"hvc", PATAS__FLOW_SYSCALL, false},
        {"smc", PATAS__FLOW_SYSCALL, false},
        {"brk", PATAS__FLOW_STOP, false},
        {"hlt", PATAS__FLOW_STOP, false},
        {"udf", PATAS__FLOW_STOP, false},
        {"dcps", PATAS__FLOW_STOP, true},
        {"tcancel", PATAS__FLOW_STOP, false},
    };

    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (names[i].more ? begins(name, names[i].name)
                          : !strcmp(name, names[i].name))
            return names[i].flow;
    return PATAS__FLOW_NEXT;
}

static struct view view_ours(const uint8_t *bytes, uint64_t address)
{
    struct patas__insn insn;

    if (!patas__isa_aarch64.decode(bytes, 4, address, &insn))
        return (struct view){0};
    return (struct view){true, (enum patas__flow)insn.flow,
                         insn.has_target || insn.has_operand,
                         insn.target | insn.operand};
}

static struct view view_binutils(uint32_t word, uint64_t address)
{
    state.word = word;
    state.used = 0;
    state.relative = false;
    state.address = 0;
    state.disassemble(address, &state.info);
    state.text[strcspn(state.text, "\t ")] = 0;
    if (!strcmp(state.text, ".inst"))
        return (struct view){0};
    return (struct view){true, flow_of(state.text), state.relative,
                         state.address};
}

/* Its immediates are addresses where a label is. */
static struct view view_capstone(const uint8_t *bytes, uint64_t address)
{
    cs_insn *insn = state.insn;
    size_t size = 4;
    struct view view = {0};
    bool load, label;

    if (!cs_disasm_iter(state.capstone, &bytes, &size, &address, insn))
        return view;
    const cs_arm64 *arm64 = &insn->detail->arm64;
    view.is = true;
    view.flow = flow_of(insn->mnemonic);
    load = !strcmp(insn->mnemonic, "ldr") || !strcmp(insn->mnemonic, "ldrsw") ||
           !strcmp(insn->mnemonic, "prfm");
    label = load || !strcmp(insn->mnemonic, "adr") ||
            !strcmp(insn->mnemonic, "adrp") || view.flow == PATAS__FLOW_JUMP ||
            view.flow == PATAS__FLOW_CALL || view.flow == PATAS__FLOW_BRANCH;
    if (!label || arm64->op_count == 0 ||
        arm64->operands[arm64->op_count - 1].type != ARM64_OP_IMM)
        return view;
    if (load && arm64->op_count > 1 &&
        arm64->operands[arm64->op_count - 2].type == ARM64_OP_MEM)
        return view; /* ldr x0, [x1], #8 */
    view.relative = true;
    view.address = (uint64_t)arm64->operands[arm64->op_count - 1].imm;
    return view;
}

/* ---- comparing ---------------------------------------------------------- */

static bool agree(const struct view *a, const struct view *b)
{
    return a->is == b->is && a->flow == b->flow && a->relative == b->relative &&
           a->address == b->address;
}

static enum kind kind_of(const struct view *ours, const struct view *theirs)
{
    if (!theirs->is)
        return REFUSED;
    if (!ours->is)
        return ACCEPTED;
    return ours->flow != theirs->flow ? FLOW : ADDRESS;
}

static bool explained(enum whose whose, enum kind kind, uint32_t word)
{
    for (size_t i = 0; i < CLASSES; i++) {
        struct dispute_class *class = &dispute_classes[i];

        if (class->whose == whose && class->kind == kind &&
            class->covers(word)) {
            class->count++;
            return true;
        }
    }
    return false;
}

static void show(uint32_t word, uint64_t address, const struct view views[3])
{
    static const char *const names[] = {"patas", "binutils", "Capstone"};

    if (state.shown++ >= 10)
        return;
    printf("unexplained: %08x at %#" PRIx64 "\n", word, address);
    for (int i = 0; i < 3; i++)
        printf("    %-8s %s, flow %u, address %#" PRIx64 "\n", names[i],
               views[i].is ? "is" : "is none", views[i].flow, views[i].address);
}

void compare_aarch64_one(const uint8_t *bytes, uint64_t address)
{
    uint32_t word = patas__load32(bytes);
    struct view views[3];
    bool fine = true;

    views[0] = view_ours(bytes, address);
    views[1] = view_binutils(word, address);
    views[2] = view_capstone(bytes, address);
    state.compared++;
    state.instructions += views[0].is;
    for (int i = 1; i < 3; i++)
        fine &= agree(&views[0], &views[i]) ||
                explained(i == 1 ? BINUTILS : CAPSTONE,
                          kind_of(&views[0], &views[i]), word);
    if (!fine) {
        state.unexplained++;
        show(word, address, views);
    }
}

static uint64_t random_next(uint64_t *seed)
{
    uint64_t value = *seed += 0x9e3779b97f4a7c15; /* splitmix64 */

    value = (value ^ value >> 30) * 0xbf58476d1ce4e5b9;
    value = (value ^ value >> 27) * 0x94d049bb133111eb;
    return value ^ value >> 31;
}

/* Any word; one of the groups that are judged; or an instruction of those with
 * a bit or two of the others. */
static uint32_t random_word(uint64_t random)
{
    static const uint32_t known[] = {
        0x14000000, 0x94000000, 0x54000000, 0x54000010, 0x34000000, 0x36000000,
        0xd61f0000, 0xd63f0000, 0xd65f03c0, 0xd61f081f, 0xd71f0800, 0xd65f0bff,
        0xd69f03e0, 0xd69f0bff, 0xd6bf03e0, 0xd4000001, 0xd4200000, 0xd4400000,
        0xd4a00001, 0xd503201f, 0xd503305f, 0xd503309f, 0xd50330df, 0xd50330ff,
        0xd500401f, 0xd5031000, 0xd5080000, 0xd5100000, 0xd5300000, 0x10000000,
        0x90000000, 0x18000000, 0x58000000, 0x98000000, 0xd8000000, 0x1c000000,
        0x11000000, 0x91800000, 0x92400000, 0x12000000, 0xd2800000, 0x13000000,
        0x93400000, 0x13800000, 0x93c00000, 0x00000000, 0xd503233f, 0xd503241f};
    uint32_t word = (uint32_t)random;

    switch (random >> 62) {
    case 0:
        return word;
    case 1:
        return (word & 0xe3ffffff) |
               (random & 1ull << 61 ? 0x10000000 : 0x14000000);
    case 2:
        word = known[(random >> 32) % (sizeof known / sizeof *known)];
        return word | ((uint32_t)random & 0x00ffffff);
    default:
        word = known[(random >> 32) % (sizeof known / sizeof *known)];
        return word ^ 1u << (random & 31) ^ 1u << (random >> 5 & 31) ^
               ((uint32_t)random & 0x3e0);
    }
}

void compare_aarch64_random(uint64_t seed, uint64_t count)
{
    for (uint64_t i = 0; i < count; i++) {
        uint8_t bytes[4];
        uint64_t random = random_next(&seed);

        patas__store32(bytes, random_word(random_next(&seed)));
        compare_aarch64_one(bytes, 0x7f0000000000 + (random & 0xfffffffc));
    }
}

bool compare_aarch64_save(int file)
{
    uint64_t counts[3 + CLASSES] = {state.compared, state.instructions,
                                    state.unexplained};

    for (size_t i = 0; i < CLASSES; i++)
        counts[3 + i] = dispute_classes[i].count;
    return write(file, counts, sizeof counts) == sizeof counts;
}

bool compare_aarch64_add(int file)
{
    uint64_t counts[3 + CLASSES];

    if (read(file, counts, sizeof counts) != sizeof counts)
        return false;
    state.compared += counts[0];
    state.instructions += counts[1];
    state.unexplained += counts[2];
    for (size_t i = 0; i < CLASSES; i++)
        dispute_classes[i].count += counts[3 + i];
    return true;
}

uint64_t compare_aarch64_report(FILE *to)
{
    int major, minor;

    if (state.compared == 0)
        return 0;
    cs_version(&major, &minor);
    fprintf(to,
            "AArch64, binutils %s, Capstone %d.%d: %" PRIu64
            " compared, %" PRIu64 " instructions, %" PRIu64 " unexplained\n",
            COMPARE_BINUTILS, major, minor, state.compared, state.instructions,
            state.unexplained);
    for (size_t i = 0; i < CLASSES; i++) {
        static const char *const kinds[] = {"refuses", "accepts", "flow",
                                            "address"};
        const struct dispute_class *class = &dispute_classes[i];

        if (class->count)
            fprintf(to, "%12" PRIu64 "  %-8s %s: %s (%s)\n", class->count,
                    class->whose == BINUTILS ? "binutils" : "Capstone",
                    kinds[class->kind], class->what, class->manual);
    }
    return state.unexplained;
}
