/* SPDX-License-Identifier: MIT */
/*
 * Stage 3 and 5: what the engine asks of an instruction set.
 *
 * An instruction set is a const table of pure functions. Nothing behind one
 * allocates, keeps state, reads memory that it was not given, or asks which
 * machine runs it; so all of them are in every build, under every fuzzer, and
 * plan for files and for other processes as well as for this one. (What depends
 * on the machine that runs is in host.h.)
 */
#ifndef PATAS_ISA_H
#define PATAS_ISA_H

#include "bytes.h"

enum {
    PATAS__INSN_MAX = 15
}; /* longest instruction, bytes (x86) */

/* What an instruction does to the flow of control. */
enum patas__flow {
    PATAS__FLOW_NEXT,    /* goes on behind itself */
    PATAS__FLOW_JUMP,    /* always elsewhere */
    PATAS__FLOW_BRANCH,  /* elsewhere or on: jcc, loop, jrcxz, xbegin */
    PATAS__FLOW_CALL,    /* elsewhere, and the return address is pushed */
    PATAS__FLOW_RETURN,  /* ret, iret, sysret ... */
    PATAS__FLOW_SYSCALL, /* into the kernel, which may back the PC up */
    PATAS__FLOW_STOP     /* never goes on: hlt, ud2, int3 */
};

/* One instruction, decoded. `length` is 0 if the bytes are no instruction. */
struct patas__insn {
    uint64_t address;
    uint64_t target;  /* of a direct jump, branch or call; else 0 */
    uint64_t operand; /* address of a PC-relative memory operand; else 0 */
    uint8_t length;   /* bytes */
    uint8_t flow;     /* enum patas__flow */
    bool has_target;  /* direct: `target` is valid */
    bool has_operand; /* PC-relative memory: `operand` is valid */
    uint8_t rel_at;   /* offset of the field that is relative to the PC ... */
    uint8_t rel_size; /* ... and its size in bytes (1, 2, 4); 0 = none */
    bool landing_pad; /* endbr32, endbr64, bti, paciasp */
    bool padding;     /* a NOP of any length, or int3: fills gaps */
    /* Filled for relocate.c; offsets in bytes from the first. */
    uint8_t opcode_at; /* last opcode byte (behind prefixes and escapes) */
    uint8_t modrm_at;  /* 0 = no ModRM byte */
    uint8_t map;       /* opcode map: 0 one byte, 1 0F, 2 0F38, 3 0F3A, 4.. */
    uint8_t encoding;  /* enum patas__encoding, patas__a64_form */
    uint8_t prefixes;  /* bit set of enum patas__prefix */
    uint8_t rex;       /* the REX byte or 0; for REX2 its payload */
};

enum patas__encoding {
    PATAS__LEGACY,
    PATAS__VEX,
    PATAS__EVEX,
    PATAS__XOP,
    PATAS__REX2,
    PATAS__3DNOW
};

enum patas__prefix {
    PATAS__PREFIX_66 = 1,
    PATAS__PREFIX_67 = 2,
    PATAS__PREFIX_F2 = 4,
    PATAS__PREFIX_F3 = 8,
    PATAS__PREFIX_LOCK = 16,
    PATAS__PREFIX_FS = 32,
    PATAS__PREFIX_GS = 64,
    PATAS__PREFIX_SEGMENT = 128 /* cs ss ds es */
};

enum {
    PATAS__HEAD_MAX = 160
}; /* bytes of a relocated head, at most */

/*
 * A request to move the first instructions of a function.
 *
 * Whole instructions are moved until at least `want` bytes of the original are
 * covered. The result does at `to` what they did at `from` - registers, flags,
 * memory, and the return addresses that they push - and ends by a jump to
 * `from + moved`. It clobbers nothing.
 */
struct patas__move {
    uint64_t from;        /* address of the function's first byte */
    const uint8_t *bytes; /* its bytes ... */
    size_t size;          /* ... of which so many may be read */
    size_t want;          /* bytes to cover, 1 to 16 */
    uint32_t plain;       /* bit k: an instruction begins or ends at from + k,
                             and nothing in front of the last of these is
                             relative to the PC or leaves the straight way, so
                             that it may be copied. 0: not known */
    uint64_t to;          /* where the result will run */
    bool shadow_stack;    /* return addresses may not be pushed by hand */
    bool lose_ip;         /* AArch64: x16 and x17 hold nothing at `from` */
    /* Results. */
    uint8_t code[PATAS__HEAD_MAX];
    size_t code_size;
    size_t moved;     /* bytes of the original covered */
    uint8_t map[32];  /* map[k]: offset in code of the instruction that was
                         at from + k; 0xff where none begins */
    uint64_t trouble; /* on refusal: address of the instruction */
};

struct patas__survey; /* plan.h */
struct patas__plan;
struct patas__image; /* image.h */
struct patas__search;
struct patas__segment;

/* Where the caller is when a function is entered, as compilers describe it in
 * .eh_frame (DWARF 5, 6.4), by DWARF's numbers of registers. */
struct patas__frame_rules {
    uint8_t stack;   /* the stack pointer */
    uint8_t returns; /* the column of the return address */
    uint8_t below;   /* CFA - stack pointer, bytes */
    int8_t unit;     /* offsets count in units of minus that */
    uint8_t entered_size;
    uint8_t entered[5]; /* DW_CFA_... that say so */
};

struct patas__isa {
    const char *name;
    uint16_t machine;     /* ELF's EM_... */
    uint8_t pointer_size; /* bytes */
    uint8_t max_insn;     /* longest instruction, bytes */
    uint8_t step;         /* instructions begin at multiples of that */

    /* Sizes of generated code, bytes. */
    uint8_t jump;  /* to an address in reach: what an entry becomes */
    uint8_t stub;  /* jump to where a slot says */
    uint8_t thunk; /* the same, and a context value is loaded in front of it */

    /* Decodes the instruction at `address`. True, and insn->length > 0, if the
     * bytes are an instruction that ends within `size`. */
    bool (*decode)(const uint8_t *bytes, size_t size, uint64_t address,
                   struct patas__insn *insn);

    /* Carries a move out. Returns a patas_reason: NONE, or why not
     * (CANNOT_MOVE, OUT_OF_REACH, SHADOW_STACK, INVALID_CODE, TRUNCATED). */
    unsigned (*relocate)(struct patas__move *move);

    /* GNU_PROPERTY_..._FEATURE_1_AND, of which bit 0 says that the code has
     * landing pads. */
    uint32_t property;

    /* Numbers of relocations that fill a GOT slot. */
    uint16_t reloc_glob_dat, reloc_jump_slot, reloc_irelative;

    /* Is there a PLT's stub, or what looks like one, at `address`? It goes to
     * where the word at `*slot` says; `*size` is its length up to the jump's
     * end. */
    bool (*plt_stub)(const struct patas__image *image, uint64_t address,
                     uint64_t *slot, uint64_t *size);
    /* Is there the code in front of the first stub? */
    bool (*plt_begins)(const struct patas__image *image, uint64_t address);
    /* Is `value`, which is in `slot`, on the way to the loader still? */
    bool (*plt_unbound)(const struct patas__image *image, uint64_t slot,
                        uint64_t value);

    /* Looks through search->code for what leads into the window, whether or not
     * it is known to be code; patas__search_hit() takes what is found. What
     * find_near() sees may be left out. */
    void (*find_branches)(struct patas__search *search);

    /* The same for what is short - what each_branch() leaves out - and for what
     * stands within PATAS__NEAR bytes of its target. */
    void (*find_near)(struct patas__search *search);

    /* Tells of every direct branch or call whose target is further away than a
     * short branch reaches, and of any others it likes; byte by byte where
     * instructions have no fixed places. */
    void (*each_branch)(const struct patas__segment *code,
                        void (*each)(void *data, uint64_t source,
                                     uint64_t target, bool call),
                        void *data);

    struct patas__frame_rules frame;
    /* By how many bytes the stack pointer is lower behind an instruction;
     * `*known` becomes false where that can't be told. */
    int64_t (*frame_effect)(const uint8_t *bytes,
                            const struct patas__insn *insn, bool *known);

    /* A debugger's breakpoint is an instruction of these first bits. */
    uint32_t breakpoint, breakpoint_mask;
    /* In front of code that the kernel restarts (rseq(2)). */
    uint32_t rseq_signature;

    /* How far away a jump may lead, bytes, and code whose operands are to stay
     * in reach, too; both some less than what instructions can. */
    uint32_t reach, near;
    uint32_t forms; /* bit k: there is the patas_form k */

    /*
     * May this form serve? A patas_reason; `*trouble` is what is in the way.
     * `unit` is the size of the aligned units that can be written at once.
     * `*plan` has its form; the rest is zero.
     */
    unsigned (*plan)(const struct patas__survey *survey, unsigned flags,
                     unsigned unit, struct patas__plan *plan,
                     uint64_t *trouble);

    /* What a form makes of the bytes at `at`: of all of the jump, also of
     * those that it keeps. `to` is the stub, or a short jump's gap; `trap` a
     * byte of patas__trap_bytes(). Returns how many they are. */
    unsigned (*form_bytes)(unsigned form, uint64_t at, uint64_t to,
                           uint8_t trap, uint8_t bytes[8]);

    /* Generated code, for the address `at`. What it names is in reach: the
     * island sees to that. */
    void (*put_jump)(uint8_t *code, uint64_t at, uint64_t to);
    /* `pad`: the landing pad that runs in front of a target's stub, whose
     * effect the stub undoes; or NULL. */
    void (*put_stub)(uint8_t *code, uint64_t at, uint64_t slot,
                     const uint8_t *pad);
    void (*put_thunk)(uint8_t *code, uint64_t at, uint64_t slot,
                      uint64_t context);

    /* ... and back: the slots that it names. */
    uint64_t (*stub_slot)(const uint8_t *code, uint64_t at);
    void (*thunk_slots)(const uint8_t *code, uint64_t at, uint64_t *slot,
                        uint64_t *context);
};

enum {
    PATAS__JUMP_MAX = 8,
    PATAS__STUB_MAX = 16,
    PATAS__THUNK_MAX = 32
}; /* of any instruction set */

PATAS__HIDDEN extern const struct patas__isa patas__isa_x86_64;
PATAS__HIDDEN extern const struct patas__isa patas__isa_i386;
PATAS__HIDDEN extern const struct patas__isa patas__isa_aarch64;

/* The one we run on. */
PATAS__HIDDEN const struct patas__isa *patas__isa_host(void)
    __attribute__((const));

#endif
