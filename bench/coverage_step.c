/* SPDX-License-Identifier: MIT */
/*
 * Two processes of the same layout: in `patched` every function of the library
 * is patched with a bare jump to its original, in `plain` none is. Both enter
 * the function with the same registers and are stepped,
 *
 *     patched   e -> island -> pass-through -> original's stub -> moved head
 *     plain     e -> e+f -> ...
 *
 * the first until it is back in code of the file, the second until it gets
 * there, too. Then registers, flags, vectors and memory must be equal, also if
 * an instruction on the way faults.
 */
#include "coverage.h"

#include <dlfcn.h>
#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    SCRATCH = 16384, /* bytes: data below, stack above */
    VECTORS = 16384, /* room for the processor's XSAVE area */
    SETS = 4,        /* of registers, a function */
    MAX_STEPS = 400,
    XSTATE = 0x202, /* NT_X86_XSTATE */
};

/* Where a run ended. */
enum outcome {
    JOINED,
    FAULTED,
    AT_SYSCALL,
    LOST
};

/* What the processor's registers are called. */
#if defined(__i386__)
typedef long word; /* of user_regs_struct */
#define PC(r)      ((r).eip)
#define STACK(r)   ((r).esp)
#define SYSCALL(r) ((r).orig_eax)
#define ALL(r)                                                 \
    {                                                          \
        &r.eax, &r.ebx, &r.ecx, &r.edx, &r.esi, &r.edi, &r.ebp \
    }
#define SLEEP   __asm__ volatile("int $0x80" : : "a"(SYS_pause) : "memory")
#define SLOT    4   /* off a multiple of 16, behind a call */
#define XMM_END 288 /* in the XSAVE area; xmm0-7 */
#else
typedef unsigned long long word;
#define PC(r)      ((r).rip)
#define STACK(r)   ((r).rsp)
#define SYSCALL(r) ((r).orig_rax)
#define ALL(r)                                                                \
    {                                                                         \
        &r.rax, &r.rbx, &r.rcx, &r.rdx, &r.rsi, &r.rdi, &r.rbp, &r.r8, &r.r9, \
            &r.r10, &r.r11, &r.r12, &r.r13, &r.r14, &r.r15                    \
    }
#define SLEEP \
    __asm__ volatile("syscall" : : "a"(SYS_pause) : "rcx", "r11", "memory")
#define SLOT    8
#define XMM_END 416
#endif

struct tracee {
    pid_t pid;
    uint8_t *scratch; /* its memory, as seen here */
    int scratch_fd;
    struct user_regs_struct saved;
    struct bench_segment text[8];
    uint8_t *text_copy[8];
    uint8_t *data_before[8];
};

struct run {
    enum outcome outcome;
    int signal;
    bool clock; /* rdtsc, rdrand and kin: rax and rdx can't be equal */
    struct user_regs_struct registers;
    size_t vector_size;
    uint8_t vectors[VECTORS];
};

struct stepping {
    struct coverage *result;
    const struct bench_library *library;
    struct tracee patched, plain;
    uint8_t *scratch; /* where both have it */
    uint8_t pattern[SCRATCH];
    uint8_t vectors[VECTORS]; /* what both start with */
    size_t vector_size;
    struct bench_segment *files; /* executable mappings of files */
    size_t file_count;
    volatile int *ready;
    struct bench_stubs stubs; /* made before the processes part, so that the */
    patas_patch **patches;    /* state of libc is the same in both */
    struct run a, b;
};

static bool tracee_read(const struct tracee *tracee, uintptr_t at, void *to,
                        size_t size)
{
    struct iovec here = {to, size}, there = {(void *)at, size};
    return process_vm_readv(tracee->pid, &here, 1, &there, 1, 0) ==
           (ssize_t)size;
}

static void note_files(struct stepping *s)
{
    FILE *maps = fopen("/proc/self/maps", "re");
    char line[1024];
    s->files = calloc(1024, sizeof *s->files);
    while (maps && fgets(line, sizeof line, maps) && s->file_count < 1024) {
        unsigned long from, to, inode;
        char rights[8];
        if (sscanf(line, "%lx-%lx %7s %*s %*s %lu", &from, &to, rights,
                   &inode) == 4 &&
            rights[2] == 'x' && inode)
            s->files[s->file_count++] = (struct bench_segment){from, to - from};
    }
    if (maps)
        fclose(maps);
}

static bool in_files(const struct stepping *s, uintptr_t at)
{
    for (size_t i = 0; i < s->file_count; i++)
        if (at - s->files[i].start < s->files[i].size)
            return true;
    return false;
}

/* Bytes of the library's text as each process has it; NULL outside. */
static const uint8_t *text_at(const struct stepping *s,
                              const struct tracee *tracee, uintptr_t at)
{
    for (size_t i = 0; i < s->library->texts; i++)
        if (at - s->library->text[i].start < s->library->text[i].size)
            return tracee->text_copy[i] + (at - s->library->text[i].start);
    return NULL;
}

/* Back in the program's own code: not in an island, and not in a jump that a
 * patch put into padding. */
static bool rejoined(const struct stepping *s, uintptr_t pc)
{
    if (!in_files(s, pc))
        return false;
    const uint8_t *mine = text_at(s, &s->patched, pc);
    const uint8_t *old = text_at(s, &s->plain, pc);
    return !mine || *mine == *old || bench_library_at(s->library, pc);
}

/* The tracees. ------------------------------------------------------------ */

static _Noreturn void wait_for_tracer(const struct stepping *s, int which)
{
    s->ready[which] = 1;
    for (;;)
        SLEEP;
}

static void patched_child(struct stepping *s)
{
    if (!coverage_patch(s->result, s->library, &s->stubs, s->patches))
        _exit(4);
    wait_for_tracer(s, 0);
}

static bool start(struct stepping *s, struct tracee *tracee, int which)
{
    tracee->scratch_fd = memfd_create("scratch", MFD_CLOEXEC);
    if (tracee->scratch_fd < 0 || ftruncate(tracee->scratch_fd, SCRATCH))
        return false;
    tracee->scratch = mmap(NULL, SCRATCH, PROT_READ | PROT_WRITE, MAP_SHARED,
                           tracee->scratch_fd, 0);
    if (tracee->scratch == MAP_FAILED)
        return false;
    tracee->pid = fork();
    if (tracee->pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        mmap(s->scratch, SCRATCH, PROT_READ | PROT_WRITE,
             MAP_SHARED | MAP_FIXED, tracee->scratch_fd, 0);
        if (which == 0)
            patched_child(s);
        wait_for_tracer(s, which);
    }
    int status;
    while (!s->ready[which]) {
        if (waitpid(tracee->pid, &status, WNOHANG) == tracee->pid) {
            char text[64];
            struct bench_end end = {WIFEXITED(status), WEXITSTATUS(status),
                                    WIFSIGNALED(status) ? WTERMSIG(status) : 0,
                                    false};
            coverage_trouble(s->result, "patching for the steps: %s",
                             bench_end_text(&end, text));
            return false;
        }
        usleep(1000);
    }
    return ptrace(PTRACE_SEIZE, tracee->pid, 0, PTRACE_O_EXITKILL) == 0 &&
           ptrace(PTRACE_INTERRUPT, tracee->pid, 0, 0) == 0 &&
           waitpid(tracee->pid, &status, __WALL) == tracee->pid &&
           ptrace(PTRACE_GETREGS, tracee->pid, 0, &tracee->saved) == 0;
}

/* Where the thread pointer points. */
static uintptr_t thread_block(const struct tracee *tracee)
{
#if defined(__i386__)
    enum {
        GET_THREAD_AREA = 25 /* PTRACE_GET_THREAD_AREA */
    };
    struct {
        unsigned entry;
        unsigned long base;
        unsigned limit, flags;
    } area = {0};
    uintptr_t entry = (uintptr_t)tracee->saved.xgs >> 3;
    syscall(SYS_ptrace, GET_THREAD_AREA, tracee->pid, entry, &area);
    return area.base;
#else
    return tracee->saved.fs_base;
#endif
}

/* The C library keeps the thread's id in the thread's block, and some functions
 * begin by reading it: it becomes the same in both. */
static void same_thread_id(struct tracee *tracee)
{
    uint32_t block[1024], id = 4242;
    uintptr_t at = thread_block(tracee);
    if (!tracee_read(tracee, at, block, sizeof block))
        return;
    for (size_t i = 0; i < 1024; i++)
        if (block[i] == (uint32_t)tracee->pid) {
            struct iovec here = {&id, sizeof id};
            struct iovec there = {(void *)(at + 4 * i), sizeof id};
            process_vm_writev(tracee->pid, &here, 1, &there, 1, 0);
        }
}

static bool copy_memory(const struct stepping *s, struct tracee *tracee)
{
    same_thread_id(tracee);
    for (size_t i = 0; i < s->library->texts; i++) {
        const struct bench_segment *text = &s->library->text[i];
        tracee->text_copy[i] = malloc(text->size);
        if (!tracee_read(tracee, text->start, tracee->text_copy[i], text->size))
            return false;
    }
    for (size_t i = 0; i < s->library->datas; i++) {
        const struct bench_segment *data = &s->library->data[i];
        tracee->data_before[i] = malloc(data->size);
        if (!tracee_read(tracee, data->start, tracee->data_before[i],
                         data->size))
            return false;
    }
    return true;
}

/* One run. ---------------------------------------------------------------- */

static struct user_regs_struct registers_for(const struct stepping *s,
                                             uint64_t *seed, int set,
                                             const struct tracee *tracee)
{
    struct user_regs_struct r = tracee->saved;
    word *all[] = ALL(r);
    uintptr_t middle = (uintptr_t)s->scratch + SCRATCH / 4;
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        uint64_t random = bench_random(seed);
        if (set == 3 || (set == 2 && random % 2))
            *all[i] = (word)random;
        else if (set == 1 && random % 2)
            *all[i] = (word)((random >> 32) % 16);
        else
            *all[i] = (word)(middle + (random >> 32) % 2048);
    }
    STACK(r) = (word)((uintptr_t)s->scratch + SCRATCH - 4096 +
                      bench_random(seed) % 64 * 16 + 16 - SLOT);
    /* CF PF AF ZF SF OF at random, IF as it must be, DF as the ABI says */
    r.eflags = (word)(0x202 | (bench_random(seed) & 0x8d5));
    SYSCALL(r) = (word)-1;
    return r;
}

static bool reset(struct stepping *s, struct tracee *tracee,
                  const struct user_regs_struct *registers, uintptr_t pc)
{
    struct user_regs_struct r = *registers;
    struct iovec vectors = {s->vectors, s->vector_size};
    PC(r) = (word)pc;
#if !defined(__i386__)
    r.fs_base = tracee->saved.fs_base;
#endif
    memcpy(tracee->scratch, s->pattern, SCRATCH);
    return ptrace(PTRACE_SETREGS, tracee->pid, 0, &r) == 0 &&
           ptrace(PTRACE_SETREGSET, tracee->pid, XSTATE, &vectors) == 0;
}

/* What stands at the PC: 1 = a system call, 2 = a clock or random number. */
static int kind_at(const struct tracee *tracee, uintptr_t pc)
{
    errno = 0;
    long code = ptrace(PTRACE_PEEKTEXT, tracee->pid, (void *)pc, 0);
    if (errno)
        return 0;
    if ((code & 0xffff) == 0x050f || (code & 0xffff) == 0x340f ||
        (SLOT == 4 && (code & 0xffff) == 0x80cd))
        return 1;
    if ((code & 0xffff) == 0x310f || (code & 0xffffff) == 0xf9010f ||
        ((code & 0xffff) == 0xc70f && (code >> 16 & 0xc0) == 0xc0))
        return 2;
    return 0;
}

/* Steps until `join` (0: until the run is back in the file's code). */
static void step_until(struct stepping *s, struct tracee *tracee,
                       uintptr_t join, enum outcome wanted, struct run *run)
{
    struct iovec vectors = {run->vectors, VECTORS};
    run->outcome = LOST;
    run->signal = 0;
    run->clock = false;
    ptrace(PTRACE_GETREGS, tracee->pid, 0, &run->registers);
    for (int step = 0; step < MAX_STEPS; step++) {
        uintptr_t pc = (uintptr_t)PC(run->registers);
        int kind = kind_at(tracee, pc), status;
        run->clock |= kind == 2;
        if (kind == 1 && (!join || wanted == AT_SYSCALL)) {
            run->outcome = AT_SYSCALL;
            break;
        }
        if (ptrace(PTRACE_SINGLESTEP, tracee->pid, 0, 0) ||
            waitpid(tracee->pid, &status, __WALL) < 0 || !WIFSTOPPED(status))
            return;
        ptrace(PTRACE_GETREGS, tracee->pid, 0, &run->registers);
        pc = (uintptr_t)PC(run->registers);
        if (WSTOPSIG(status) != SIGTRAP) {
            run->outcome = FAULTED;
            run->signal = WSTOPSIG(status);
            break;
        }
        if (join ? pc == join && wanted == JOINED : rejoined(s, pc)) {
            run->outcome = JOINED;
            break;
        }
    }
    ptrace(PTRACE_GETREGSET, tracee->pid, XSTATE, &vectors);
    run->vector_size = vectors.iov_len;
}

/* The name of what differs, or NULL. */
static const char *difference(const struct stepping *s)
{
    struct user_regs_struct x = s->a.registers, y = s->b.registers;
    word *a[] = ALL(x), *b[] = ALL(y); /* 0, 2, 3: what clocks write */
    static const struct {
        const char *name;
        size_t offset;
    } fields[] = {
#define FIELD(name) {#name, offsetof(struct user_regs_struct, name)}
#if defined(__i386__)
        FIELD(eax), FIELD(ebx), FIELD(ecx), FIELD(edx), FIELD(esi),
        FIELD(edi), FIELD(ebp), FIELD(esp), FIELD(eip), FIELD(eflags),
#else
        FIELD(rax), FIELD(rbx), FIELD(rcx),    FIELD(rdx), FIELD(rsi),
        FIELD(rdi), FIELD(rbp), FIELD(rsp),    FIELD(r8),  FIELD(r9),
        FIELD(r10), FIELD(r11), FIELD(r12),    FIELD(r13), FIELD(r14),
        FIELD(r15), FIELD(rip), FIELD(eflags),
#endif
#undef FIELD
    };
    if (s->a.outcome != s->b.outcome || s->a.signal != s->b.signal)
        return "where it ends";
    if (s->a.outcome != JOINED)
        PC(x) = PC(y);
    if (s->a.clock)
        *a[0] = *b[0], *a[2] = *b[2], *a[3] = *b[3], x.eflags = y.eflags;
    x.eflags &= ~(word)0x10100; /* TF, RF */
    y.eflags &= ~(word)0x10100;
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
        if (memcmp((uint8_t *)&x + fields[i].offset,
                   (uint8_t *)&y + fields[i].offset, sizeof(word)) != 0)
            return fields[i].name;
    if (s->a.vector_size != s->b.vector_size ||
        memcmp(s->a.vectors + 32, s->b.vectors + 32, 464 - 32) != 0 ||
        memcmp(s->a.vectors + 512, s->b.vectors + 512,
               s->a.vector_size - 512) != 0)
        return "vectors";
    if (memcmp(s->patched.scratch, s->plain.scratch, SCRATCH) != 0)
        return "memory";
    return NULL;
}

/* Where the patched process begins: the entry, or, where a trap stands there
 * for good (a signal can't be stepped), what the trap leads to. */
static uintptr_t begin_at(struct stepping *s,
                          const struct bench_function *function)
{
    const uint8_t *code = text_at(s, &s->patched, function->address);
    const uint8_t *old = text_at(s, &s->plain, function->address);
    size_t index = (size_t)(function - s->library->functions);
    uintptr_t original = 0;
    if (!code || *code == *old || *code == 0xe9 || *code == 0xeb)
        return function->address;
    if (!tracee_read(&s->patched, (uintptr_t)&s->stubs.data[index].original,
                     &original, sizeof original) ||
        !original)
        return function->address;
    return original;
}

static void step_function(struct stepping *s,
                          const struct bench_function *function)
{
    uint64_t seed = function->address - s->library->base;
    bool decided = false;
    for (int set = 0; set < SETS; set++) {
        struct user_regs_struct registers =
            registers_for(s, &seed, set, &s->plain);
        if (!reset(s, &s->patched, &registers, begin_at(s, function)) ||
            !reset(s, &s->plain, &registers, function->address)) {
            coverage_trouble(s->result, "%s: ptrace: %s", function->name,
                             strerror(errno));
            break;
        }
        step_until(s, &s->patched, 0, JOINED, &s->a);
        if (s->a.outcome == LOST)
            continue;
        step_until(s, &s->plain,
                   s->a.outcome == JOINED ? (uintptr_t)PC(s->a.registers) : 1,
                   s->a.outcome, &s->b);
        decided = true;
        const char *which = difference(s);
        s->result->compared++;
        if (which) {
            s->result->wrong++;
            coverage_trouble(
                s->result, "%s+0x%zx, set %d: %s differs (pc 0x%llx, 0x%llx)",
                function->name, function->address - s->library->base, set,
                which, (unsigned long long)PC(s->a.registers),
                (unsigned long long)PC(s->b.registers));
            break;
        }
    }
    s->result->stepped++;
    s->result->undecided += !decided;
}

/* Bytes of the library's data that only one of the two processes changed. */
static void compare_data(struct stepping *s)
{
    for (size_t i = 0; i < s->library->datas; i++) {
        const struct bench_segment *data = &s->library->data[i];
        uint8_t *x = malloc(data->size), *y = malloc(data->size);
        if (tracee_read(&s->patched, data->start, x, data->size) &&
            tracee_read(&s->plain, data->start, y, data->size))
            for (size_t at = 0; at < data->size; at++)
                if (s->patched.data_before[i][at] ==
                        s->plain.data_before[i][at] &&
                    x[at] != y[at])
                    s->result->data_bytes_wrong++;
        free(x);
        free(y);
    }
}

static bool prepare(struct stepping *s)
{
    uint64_t seed = 1;
    s->scratch = mmap(NULL, SCRATCH, PROT_READ | PROT_WRITE,
                      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    s->ready = bench_shared(4096);
    for (size_t i = 0; i < SCRATCH; i++)
        s->pattern[i] = (uint8_t)bench_random(&seed);
    note_files(s);
    s->patches = calloc(s->library->count, sizeof(patas_patch *));
    if (!s->patches || !bench_stubs_make(&s->stubs, s->library->count, false))
        return false;
    if (!start(s, &s->plain, 1) || !start(s, &s->patched, 0) ||
        !copy_memory(s, &s->plain) || !copy_memory(s, &s->patched))
        return false;
    struct iovec vectors = {s->vectors, VECTORS};
    if (ptrace(PTRACE_GETREGSET, s->plain.pid, XSTATE, &vectors))
        return false;
    s->vector_size = vectors.iov_len;
    for (size_t i = 160; i < XMM_END; i++)
        s->vectors[i] = (uint8_t)bench_random(&seed);
    s->vectors[512] |= 7; /* XSTATE_BV: x87, SSE, AVX */
    for (size_t i = 576; i < 576 + XMM_END - 160 && i < s->vector_size;
         i++) /* ymm, high */
        s->vectors[i] = (uint8_t)bench_random(&seed);
    return true;
}

void coverage_step(struct coverage *result, const struct bench_library *library)
{
    struct stepping *s = calloc(1, sizeof *s);
    s->result = result;
    s->library = library;
    if (!prepare(s)) {
        coverage_trouble(result, "the single steps can't be set up: %s",
                         strerror(errno));
        _exit(5);
    }
    /* The engine's own wrapper lies on sigaction, and is C. */
    uintptr_t wrapped = (uintptr_t)dlsym(RTLD_DEFAULT, "sigaction");
    for (size_t i = 0; i < library->count; i++)
        if (library->functions[i].address != wrapped)
            step_function(s, &library->functions[i]);
        else
            result->stepped++;
    compare_data(s);
    kill(s->patched.pid, SIGKILL);
    kill(s->plain.pid, SIGKILL);
}
