/* SPDX-License-Identifier: MIT */
/*
 * patas - replace any function of a native program while it runs.
 *
 *     static int seven(void) { return 7; }
 *
 *     patas_patch *patch;
 *     patas_error error;
 *     if (PATAS_REPLACE(rand, seven, &patch, &error) != PATAS_OK) {
 *         char text[512];
 *         patas_error_text(&error, text, sizeof text);
 *         fprintf(stderr, "%s\n", text);
 *     }
 *     ...
 *     patas_restore(patch, NULL);
 *
 * Every caller of `rand`, in every thread and in every library, runs `seven`
 * from the moment patas_replace() returns; nobody is stopped for it, and
 * nobody ever executes half an instruction (docs/safety.md says what is
 * promised and what is not).
 *
 * Rules that hold for every function below unless it says otherwise:
 *
 *   - Any thread may call it; calls that change something wait for each other.
 *   - A call from a signal handler that interrupted patas answers
 *     PATAS_ERR_BUSY. None is async-signal-safe beyond that.
 *   - A failed call changes nothing.
 *   - `error` may be NULL. On success it is left alone; on failure it is
 * filled.
 *   - The library never prints, aborts, exits, or sets errno, and calls no
 *     function of the C library while it writes code, so the C library's own
 *     functions may be replaced, too.
 *   - Addresses and sizes are bytes of this process.
 *
 * This header is C99 and C++11. Since 0.1.
 */
#ifndef PATAS_H
#define PATAS_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__) || defined(__clang__)
#define PATAS_API       __attribute__((visibility("default")))
#define PATAS_NODISCARD __attribute__((warn_unused_result))
#else
#define PATAS_API
#define PATAS_NODISCARD
#endif

#define PATAS_VERSION_MAJOR 0
#define PATAS_VERSION_MINOR 1
#define PATAS_VERSION_PATCH 0

/** Version of the library that runs: major << 16 | minor << 8 | patch. */
PATAS_API unsigned patas_version(void);

/** Any function pointer; ISO C lets all of them pass through this type. */
typedef void (*patas_fn)(void);

/**
 * A live patch. It belongs to the library and lives until it is restored.
 * A handle is never dereferenced blindly: a stale one is PATAS_ERR_STALE.
 */
typedef struct patas_patch patas_patch;

/** Changes that go live together; ended by a commit or an abort. */
typedef struct patas_batch patas_batch;

/** What became of a call. Values are stable. */
typedef enum patas_status {
    PATAS_OK = 0,
    PATAS_ERR_ARGUMENT = 1,    /* an argument can't be meant like that */
    PATAS_ERR_NOT_CODE = 2,    /* the target is no function entry */
    PATAS_ERR_NOT_FOUND = 3,   /* no such function (names) */
    PATAS_ERR_AMBIGUOUS = 4,   /* several functions have that name */
    PATAS_ERR_NO_ROOM = 5,     /* no form of patch fits the first bytes */
    PATAS_ERR_CANNOT_MOVE = 6, /* error->address can't run elsewhere */
    PATAS_ERR_CHANGED = 7,     /* somebody else wrote there meanwhile */
    PATAS_ERR_STALE = 8,       /* the patch is restored already */
    PATAS_ERR_UNLOADED = 9,    /* the module is gone, the patch with it */
    PATAS_ERR_NO_MEMORY = 10,  /* no memory (in reach of the target) */
    PATAS_ERR_BLOCKED = 11,    /* error->tid blocks signals; no trap may
                                  meet it, and only traps would do */
    PATAS_ERR_BUSY = 12,       /* called from within patas */
    PATAS_ERR_DENIED = 13,     /* the system forbids it; error->os_errno */
    PATAS_ERR_OS = 14,         /* any other system error; error->os_errno */
    PATAS_ERR_UNSUPPORTED = 15 /* this target is refused on principle */
} patas_status;

/** Why: the detail behind a status, and behind a form that a plan passed by. */
typedef enum patas_reason {
    PATAS_REASON_NONE = 0,
    PATAS_REASON_NULL = 1,             /* a null pointer */
    PATAS_REASON_OPTIONS = 2,          /* unknown size or flag */
    PATAS_REASON_SAME = 3,             /* replacement is the target */
    PATAS_REASON_CYCLE = 4,            /* replacements would run in a ring */
    PATAS_REASON_UNMAPPED = 5,         /* nothing is mapped there */
    PATAS_REASON_NOT_EXECUTABLE = 6,   /* stack, heap or data */
    PATAS_REASON_MID_FUNCTION = 7,     /* inside a function, not its entry */
    PATAS_REASON_MID_INSTRUCTION = 8,  /* inside an instruction */
    PATAS_REASON_INVALID_CODE = 9,     /* no valid instruction there */
    PATAS_REASON_TRUNCATED = 10,       /* the mapping ends inside it */
    PATAS_REASON_VDSO = 11,            /* the kernel's page, shared by all */
    PATAS_REASON_SHARED_FILE = 12,     /* writing would change the file */
    PATAS_REASON_RSEQ = 13,            /* restartable sequence */
    PATAS_REASON_RETURNS_TWICE = 14,   /* vfork, setjmp and kin */
    PATAS_REASON_PATAS_ITSELF = 15,    /* the engine's own code */
    PATAS_REASON_LOADER = 16,          /* the dynamic loader's start code */
    PATAS_REASON_FIRST_TOO_SHORT = 17, /* first instruction under 5 bytes */
    PATAS_REASON_NO_ADDRESS = 18,      /* the island's address isn't free */
    PATAS_REASON_BUDGET = 19,          /* the mapping budget is used up */
    PATAS_REASON_STRICT = 20,          /* PATAS_STRICT forbids traps */
    PATAS_REASON_BRANCH_IN = 21,       /* a known branch enters the window */
    PATAS_REASON_RETURN_IN = 22,       /* a call or system call returns there */
    PATAS_REASON_TOO_SHORT = 23,       /* the function ends too early */
    PATAS_REASON_UNIT = 24,            /* fits no unit written at once */
    PATAS_REASON_TAKEN = 25,           /* another patch owns those bytes */
    PATAS_REASON_NO_PADDING = 26,      /* no padding in reach */
    PATAS_REASON_TRAP_NOT_ALLOWED = 27, /* needs PATAS_ALLOW_TRAP */
    PATAS_REASON_CANNOT_MOVE = 28,      /* an instruction can't be moved */
    PATAS_REASON_OUT_OF_REACH = 29,     /* an operand is out of reach */
    PATAS_REASON_SHADOW_STACK = 30,     /* a moved call needs a free one */
    PATAS_REASON_BREAKPOINT = 31,       /* a debugger's breakpoint is there */
    PATAS_REASON_FOREIGN_PATCH = 32,    /* bytes that patas did not write */
    PATAS_REASON_THREAD_BLOCKS = 33,    /* error->tid blocks SIGILL/SIGTRAP */
    PATAS_REASON_NO_PTRACE = 34,        /* ... and may not be held meanwhile */
    PATAS_REASON_NO_TRAP_HANDLER = 35,  /* the handler can't be installed */
    PATAS_REASON_NO_MEMBARRIER = 36,    /* cores can't be made to see it */
    PATAS_REASON_NO_WRITE = 37,         /* neither mprotect nor /proc works */
    PATAS_REASON_RESTORED = 38,         /* used after its restore */
    PATAS_REASON_REPLACEMENT_GONE = 39, /* its replacement was unloaded */
    PATAS_REASON_BATCH_ENDED = 40,      /* the batch is over */
    PATAS_REASON_IN_PATAS = 41,         /* a handler interrupted patas */
    PATAS_REASON_LIMIT = 42,            /* more than the library can count */
    PATAS_REASON_PROTECTION = 43,       /* the page's protection is unknown */
    PATAS_REASON_PENDING = 44,          /* its batch is not committed yet */
    PATAS_REASON_ALIGNMENT = 45,        /* a pointer in data is aligned */
    PATAS_REASON_CONVENTION = 46 /* is given something where a stub works */
} patas_reason;

/** The details of a failure: enough for one sentence. */
typedef struct patas_error {
    patas_status status;
    int os_errno;      /* the system's errno value, or 0 */
    uintptr_t target;  /* which target failed */
    uintptr_t address; /* the instruction or thing in the way, or 0 */
    int tid;           /* the thread in the way, or 0 */
    unsigned reason;   /* a patas_reason */
} patas_error;

/** How a replaced function is entered; docs/architecture.md draws them. */
typedef enum patas_form {
    PATAS_FORM_NONE = 0,
    PATAS_FORM_ONE_INSTRUCTION = 1, /* the jump lies in one instruction */
    PATAS_FORM_KEPT_BYTES = 2,      /* only the first instruction changes */
    PATAS_FORM_TRAP_BYTES = 3,      /* inner boundaries trap, and are carried */
    PATAS_FORM_SHORT_JUMP = 4,      /* 2 bytes, to a jump in padding */
    PATAS_FORM_PERMANENT_TRAP = 5,  /* 1 byte that traps: ~1 us a call */
    PATAS_FORM_SLOT = 6,            /* a function pointer in data */
    PATAS_FORM_COUNT = 7
} patas_form;

/** For patas_options.flags. */
enum {
    PATAS_STRICT = 1u << 0,       /* only forms without traps */
    PATAS_ALLOW_TRAP = 1u << 1,   /* a permanent trap, if nothing else fits */
    PATAS_FOLLOW = 1u << 2,       /* follow a function that is a lone jump */
    PATAS_PASS_THROUGH = 1u << 3, /* the replacement never calls the original,
                                     or only jumps to it: for setjmp, vfork */
    PATAS_ENTRY = 1u << 4         /* the caller knows that a function begins
                                     there, from symbols that are not loaded */
};

/** Set size to sizeof(patas_options); zero the rest for the defaults. */
typedef struct patas_options {
    size_t size;
    unsigned flags; /* PATAS_STRICT ... */
    void *context;  /* reaches the replacement in the static chain register */
} patas_options;

/**
 * Make every call of `target` run `replacement` instead.
 *
 * What `target` merely stands for is followed first: a PLT stub, the
 * implementation that the loader chose for an IFUNC. Patches on one target
 * stack: the newest runs.
 *
 * @param target       Entry of the function.
 * @param replacement  A function of the same type. It may call the original
 *                     by patas_original(), at once: `*patch` is written before
 *                     the first call can reach it.
 * @param patch        Receives the handle; NULL after a failure.
 * @param error        Receives the details of a failure, or NULL.
 *
 * @retval PATAS_OK               Live in all threads.
 * @retval PATAS_ERR_ARGUMENT     Null, the target itself, or a ring.
 * @retval PATAS_ERR_NOT_CODE     No function begins there.
 * @retval PATAS_ERR_NO_ROOM      No form fits; patas_plan() says why, each.
 * @retval PATAS_ERR_CANNOT_MOVE  error->address is the instruction.
 * @retval PATAS_ERR_CHANGED      Somebody else writes there.
 * @retval PATAS_ERR_NO_MEMORY    No memory in reach.
 * @retval PATAS_ERR_BLOCKED      error->tid blocks signals and can't be held.
 * @retval PATAS_ERR_BUSY         A signal handler interrupted patas.
 * @retval PATAS_ERR_DENIED       The system forbids to write code.
 * @retval PATAS_ERR_UNSUPPORTED  Refused on principle: the vDSO, shared file
 *                                mappings, rseq, functions that return twice.
 */
PATAS_API PATAS_NODISCARD patas_status patas_replace(patas_fn target,
                                                     patas_fn replacement,
                                                     patas_patch **patch,
                                                     patas_error *error);

/** The same with options; `options` may be NULL and is copied. */
PATAS_API PATAS_NODISCARD patas_status patas_replace_with(
    patas_fn target, patas_fn replacement, const patas_options *options,
    patas_patch **patch, patas_error *error);

/** patas_replace(), and the compiler refuses two different function types. */
#if defined(__cplusplus)
} /* extern "C" */
template <typename F>
static inline patas_status patas__replace_typed(F *target, F *replacement,
                                                patas_patch **patch,
                                                patas_error *error)
{
    return patas_replace(reinterpret_cast<patas_fn>(target),
                         reinterpret_cast<patas_fn>(replacement), patch, error);
}
extern "C" {
#define PATAS_REPLACE(target, replacement, patch, error) \
    patas__replace_typed((target), (replacement), (patch), (error))
#else
/* Two pointers to different types make `?:` a constraint violation under
 * -pedantic-errors and a warning else; assigning one to the other inside
 * sizeof makes it an error in every mode by way of a negative array size. */
#define PATAS__SAME_TYPE(a, b)                                         \
    ((void)sizeof(char[__builtin_types_compatible_p(__typeof__(&*(a)), \
                                                    __typeof__(&*(b))) \
                           ? 1                                         \
                           : -1]))
#define PATAS_REPLACE(target, replacement, patch, error)                 \
    (PATAS__SAME_TYPE(target, replacement),                              \
     patas_replace((patas_fn)(target), (patas_fn)(replacement), (patch), \
                   (error)))
#endif

/**
 * A function that does what was there before this patch: the function itself,
 * or the patch below in a stack. It stays the same for the patch's life and
 * stays callable after its restore while the target's module is loaded; it
 * then goes on to what was below.
 *
 * @return NULL for a stale handle. Lock-free; safe in signal handlers.
 */
PATAS_API patas_fn patas_original(const patas_patch *patch);

/** Off, kept: calls run what is below. One pointer store; no code changes. */
PATAS_API patas_status patas_suspend(patas_patch *patch, patas_error *error);

/** On again, at its old place in the stack. One pointer store. */
PATAS_API patas_status patas_resume(patas_patch *patch, patas_error *error);

/**
 * Gone. The last patch of a target puts the old bytes back.
 *
 * @retval PATAS_ERR_STALE     It is restored already.
 * @retval PATAS_ERR_UNLOADED  The target's module is gone; so is the patch.
 * @retval PATAS_ERR_CHANGED   The bytes are no longer ours and are left alone,
 *                             and so is the patch; patas_suspend() makes it
 *                             harmless meanwhile.
 */
PATAS_API patas_status patas_restore(patas_patch *patch, patas_error *error);

/** Every patch, newest first. All that can go, goes; the first failure is
 *  reported. */
PATAS_API patas_status patas_restore_all(patas_error *error);

/** A point in time, for patas_restore_since(): a test's setup. */
PATAS_API unsigned patas_mark(void);

/** Restores what was patched after the mark: a test's teardown. */
PATAS_API patas_status patas_restore_since(unsigned mark, patas_error *error);

/**
 * A batch: all or nothing, one commit however many members.
 *
 * patas_batch_replace() checks and plans; nothing is live before
 * patas_batch_commit(). What it gave answers patas_original() already; the
 * function that this names may be called from the commit on. The commit ends
 * the batch whatever it returns; so does the abort. A batch is used by one
 * thread at a time. Until it ends it keeps the modules of its targets loaded.
 */
PATAS_API patas_batch *patas_batch_begin(patas_error *error);
PATAS_API PATAS_NODISCARD patas_status patas_batch_replace(patas_batch *batch,
                                                           patas_fn target,
                                                           patas_fn replacement,
                                                           patas_patch **patch,
                                                           patas_error *error);
PATAS_API PATAS_NODISCARD patas_status patas_batch_replace_with(
    patas_batch *batch, patas_fn target, patas_fn replacement,
    const patas_options *options, patas_patch **patch, patas_error *error);
PATAS_API PATAS_NODISCARD patas_status patas_batch_restore(patas_batch *batch,
                                                           patas_patch *patch,
                                                           patas_error *error);
PATAS_API PATAS_NODISCARD patas_status patas_batch_commit(patas_batch *batch,
                                                          patas_error *error);
PATAS_API void patas_batch_abort(patas_batch *batch);

/**
 * Replace a function pointer in data: an entry of a vtable, of an `ops`
 * struct, of a GOT; in read-only memory, too. patas_original() is the pointer
 * that was there. Slots stack like functions do.
 *
 * @param slot  Aligned address of the pointer.
 */
PATAS_API PATAS_NODISCARD patas_status patas_replace_slot(patas_fn *slot,
                                                          patas_fn replacement,
                                                          patas_patch **patch,
                                                          patas_error *error);

/** What patas_replace() would do, and why. */
typedef struct patas_plan_info {
    size_t size;       /* in: sizeof(patas_plan_info) */
    uintptr_t target;  /* as asked */
    uintptr_t entry;   /* what was followed to */
    size_t extent;     /* bytes from entry known to be this function's */
    size_t padding;    /* bytes of padding behind it */
    uintptr_t island;  /* where calls will go first */
    patas_form form;   /* the form chosen, or PATAS_FORM_NONE */
    unsigned written;  /* bytes changed, at most 5 */
    unsigned moved;    /* bytes of code that run elsewhere from then on */
    uint8_t before[8]; /* the first bytes, */
    uint8_t after[8];  /* and what they would be */
    uint8_t passed_by[PATAS_FORM_COUNT]; /* a patas_reason a form, 0 = none */
    uintptr_t in_the_way; /* the instruction or branch that a reason means */
    unsigned patches;     /* patches on this target now */
} patas_plan_info;

/**
 * Dry run: decide all, change nothing.
 *
 * Set info->size first. On a refusal `info` still tells what is known.
 */
PATAS_API patas_status patas_plan(patas_fn target, patas_plan_info *info,
                                  patas_error *error);
PATAS_API patas_status patas_plan_with(patas_fn target,
                                       const patas_options *options,
                                       patas_plan_info *info,
                                       patas_error *error);

/** The plan in words. Returns the length the whole text has, as snprintf(). */
PATAS_API size_t patas_plan_text(const patas_plan_info *info, char *text,
                                 size_t size);

/** "PATAS_ERR_NO_ROOM" and so on; never NULL. */
PATAS_API const char *patas_status_name(patas_status status);

/** "kept bytes" and so on; never NULL. */
PATAS_API const char *patas_form_name(patas_form form);

/**
 * One sentence: what, why, what to do, and that nothing was changed.
 *
 * @return The length that the whole text has, as snprintf() does; `text` is
 *         always terminated if size > 0.
 */
PATAS_API size_t patas_error_text(const patas_error *error, char *text,
                                  size_t size);

/** For patas_announce(). */
enum {
    PATAS_ANNOUNCE_GDB = 1u << 0, /* gdb's interface for generated code */
    PATAS_ANNOUNCE_PERF = 1u << 1 /* /tmp/perf-PID.map */
};

/**
 * Tell debuggers and profilers what islands are: names, such as
 * `malloc.patas_head`, and for gdb where the caller is, at each instruction.
 *
 * From then on, for all that is patched already and for all that will be; a
 * change of patches takes a little longer for it. A patch never fails because
 * it could not be announced; the next change makes up for it.
 *
 * @param how  What is on from now on; the rest is off, and 0 is all off. What
 *             was told before stays told.
 *
 * @retval PATAS_ERR_ARGUMENT   `how` has an unknown bit.
 * @retval PATAS_ERR_NO_MEMORY  Part may be announced; nothing is on that was
 *                              off.
 * @retval PATAS_ERR_DENIED     The perf map can't be written:
 *                              error->os_errno says why.
 * @retval PATAS_ERR_BUSY       A signal handler interrupted patas.
 */
PATAS_API patas_status patas_announce(unsigned how, patas_error *error);

/** Counters of this process, for tests, benches and monitoring. */
typedef struct patas_stats {
    size_t size;    /* in: sizeof(patas_stats) */
    size_t patches; /* live now */
    size_t targets; /* distinct targets seen; their islands stay */
    size_t by_form[PATAS_FORM_COUNT]; /* targets by the form they have */
    size_t code_bytes;                /* island memory mapped */
    size_t data_bytes;                /* registry and slots mapped */
    size_t mappings;                  /* mappings made for islands */
    uint64_t traps_carried; /* arrivals mid-window carried by the handler */
    uint64_t threads_moved; /* ... moved while a helper held the thread */
    uint64_t threads_held;  /* threads held by the helper, ever */
    uint64_t commits;       /* batches that wrote code */
} patas_stats;

PATAS_API patas_status patas_stats_read(patas_stats *stats);

/**
 * The context value of patas_options, read by the replacement.
 *
 *     PATAS_CONTEXT_ENTRY(on_read, on_read_body);  // defines on_read
 *     ssize_t on_read_body(int fd, void *buffer, size_t n)
 *     {
 *         struct me *me = patas_context();
 *
 * `on_read` is what is given to patas_replace_with(). It saves the register
 * that holds the value (r10 on x86-64, the static chain register of the System
 * V ABI, 3.2.3; ecx on i386, so there no function that takes an argument in ecx
 * can have one: fastcall, thiscall, regparm(3); x15 on AArch64) to a
 * thread-local place and jumps on; the body reads it first of all, before it
 * calls anything.
 */
PATAS_API extern void patas__context_enter(void);
PATAS_API void *patas_context(void);
#if defined(__x86_64__) && defined(__GNUC__)
#define PATAS_CONTEXT_ENTRY(name, body)                         \
    void name(void);                                            \
    __asm__(".text\n.p2align 4\n.globl " #name "\n.type " #name \
            ",@function\n" #name ":\n"                          \
            "  pushq %r10\n"                                    \
            "  call patas__context_enter@PLT\n"                 \
            "  leaq 8(%rsp), %rsp\n"                            \
            "  jmp " #body "\n.size " #name ", .-" #name "\n")
#elif defined(__i386__) && defined(__GNUC__)
#define PATAS_CONTEXT_ENTRY(name, body)                         \
    void name(void);                                            \
    __asm__(".text\n.p2align 4\n.globl " #name "\n.type " #name \
            ",@function\n" #name ":\n"                          \
            "  pushl %ecx\n"                                    \
            "  call 1f\n"                                       \
            "1: popl %ecx\n"                                    \
            "  addl $_GLOBAL_OFFSET_TABLE_+(.-1b), %ecx\n"      \
            "  call *patas__context_enter@GOT(%ecx)\n"          \
            "  leal 4(%esp), %esp\n"                            \
            "  jmp " #body "\n.size " #name ", .-" #name "\n")
#elif defined(__aarch64__) && defined(__GNUC__)
#define PATAS_CONTEXT_ENTRY(name, body)                         \
    void name(void);                                            \
    __asm__(".text\n.p2align 4\n.globl " #name "\n.type " #name \
            ",%function\n" #name ":\n"                          \
            "  hint #34\n" /* bti c */                          \
            "  stp x15, x30, [sp, #-16]!\n"                     \
            "  bl patas__context_enter\n"                       \
            "  ldp x15, x30, [sp], #16\n"                       \
            "  b " #body "\n.size " #name ", .-" #name "\n")
#endif

/**
 * Until the end of this C block:
 *
 *     {
 *         PATAS_SCOPED(rand, seven);
 *         ...
 *     }   // restored here
 *
 * PATAS_SCOPED_AS(name, rand, seven) does the same by a variable `name`, whose
 * `status` and `error` tell how it went; a failure patches nothing.
 */
struct patas_scope {
    patas_patch *patch;
    patas_status status;
    patas_error error;
};
static inline void patas_scope_end(struct patas_scope *scope)
{
    if (scope->patch)
        (void)patas_restore(scope->patch, NULL);
}
#if defined(__GNUC__)
#define PATAS__CONCAT2(a, b) a##b
#define PATAS__CONCAT(a, b)  PATAS__CONCAT2(a, b)
#define PATAS_SCOPED(target, replacement) \
    PATAS_SCOPED_AS(PATAS__CONCAT(patas__scope_, __LINE__), target, replacement)
#define PATAS_SCOPED_AS(name, target, replacement)                             \
    __attribute__((cleanup(patas_scope_end), unused)) struct patas_scope name; \
    name.patch = NULL;                                                         \
    name.status = PATAS_REPLACE(target, replacement, &name.patch, &name.error)
#endif

#ifdef __cplusplus
}
#endif

#endif /* PATAS_H */
