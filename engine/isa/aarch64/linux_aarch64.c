/* SPDX-License-Identifier: MIT */
/*
 * host.h for Linux on AArch64.
 *
 * What the kernel leaves on the stack for a handler (arch/arm64 rt_sigframe):
 *
 *     sp -> siginfo      x1
 *           ucontext     x2; flags, link, stack, mask, registers
 *     x30                the restorer
 */
#include "host.h"
#include "os.h"
#include "trap.h"

#include <asm/unistd.h>
#include <linux/ptrace.h>

/* ---- the system ------------------------------------------------------ */

long patas__syscall(long number, long a, long b, long c, long d, long e, long f)
{
    register long x8 __asm__("x8") = number;
    register long x0 __asm__("x0") = a;
    register long x1 __asm__("x1") = b;
    register long x2 __asm__("x2") = c;
    register long x3 __asm__("x3") = d;
    register long x4 __asm__("x4") = e;
    register long x5 __asm__("x5") = f;
    __asm__ volatile("svc #0"
                     : "+r"(x0)
                     : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5)
                     : "memory");
    return x0;
}

/* A program without a C library may have no thread pointer. */
uintptr_t patas__os_thread(void)
{
    uintptr_t pointer;
    __asm__("mrs %0, tpidr_el0" : "=r"(pointer));
    return pointer ? pointer & ~(uintptr_t)1 : (uintptr_t)patas__os_tid() * 2;
}

/* FEAT_GCS: prctl(PR_GET_SHADOW_STACK_STATUS), Linux 6.13. */
bool patas__os_shadow_stack(void)
{
    enum {
        PR_GET_SHADOW_STACK_STATUS_ = 74,
        ENABLED = 1
    };
    uint64_t status = 0;
    long got = patas__syscall(__NR_prctl, PR_GET_SHADOW_STACK_STATUS_,
                              (long)&status, 0, 0, 0, 0);
    return !got && (status & ENABLED);
}

/* ---- code ------------------------------------------------------------ */

/* One instruction, and never more: what is beside it is not written. */
const uint8_t patas__unit_least = 4, patas__unit_most = 8;
const uintptr_t patas__user_top = (uintptr_t)1 << 48;

static bool swap4(uintptr_t unit, const uint8_t *old, const uint8_t *new)
{
    uint32_t expected = patas__load32(old);
    return __atomic_compare_exchange_n((uint32_t *)unit, &expected,
                                       patas__load32(new), false,
                                       __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
}

static bool swap8(uintptr_t unit, const uint8_t *old, const uint8_t *new)
{
    uint64_t expected = patas__load64(old);
    return __atomic_compare_exchange_n((uint64_t *)unit, &expected,
                                       patas__load64(new), false,
                                       __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
}

bool patas__unit_swap(uintptr_t unit, unsigned size, const uint8_t *old,
                      const uint8_t *new)
{
    return size == 4 ? swap4(unit, old, new) : swap8(unit, old, new);
}

/*
 * Arm ARM B2.7.4.1, "Concurrent modification and execution of instructions": to
 * the point of unification, line by line; CTR_EL0 says how long a line is, and
 * which of the two steps the hardware does by itself (IDC, DIC).
 */
void patas__code_written(uintptr_t code, size_t size)
{
    enum {
        IDC = 1 << 28,
        DIC = 1 << 29
    };
    uint64_t type;
    __asm__("mrs %0, ctr_el0" : "=r"(type));
    const uintptr_t data = (uintptr_t)4 << (type >> 16 & 15);
    const uintptr_t instructions = (uintptr_t)4 << (type & 15);
    const uintptr_t end = code + size;
    if (!(type & IDC))
        for (uintptr_t at = code & ~(data - 1); at < end; at += data)
            __asm__ volatile("dc cvau, %0" ::"r"(at) : "memory");
    __asm__ volatile("dsb ish" ::: "memory");
    if (!(type & DIC))
        for (uintptr_t at = code & ~(instructions - 1); at < end;
             at += instructions)
            __asm__ volatile("ic ivau, %0" ::"r"(at) : "memory");
    __asm__ volatile("dsb ish\n\tisb" ::: "memory");
}

/* The emulator that the tests run in answers what it doesn't know. */
bool patas__translated(void)
{
    return false;
}

bool patas__pads_stay(void)
{
    enum {
        AT_HWCAP2_ = 26,
        HAS_BTI = 1 << 17
    };
    static int8_t stay; /* 0 = not asked yet, else -1 or 1 */
    if (!stay)
        stay = patas__os_auxv(AT_HWCAP2_) & HAS_BTI ? 1 : -1;
    return stay > 0;
}

/* ---- traps ----------------------------------------------------------- */

/* `brk` raises SIGTRAP; what is not allocated, SIGILL. */
const uint8_t patas__trap_signals[2] = {PATAS__SIGILL, PATAS__SIGTRAP};
const uintptr_t patas__libc_flags = 0;

/* No displacement has a byte that traps; the one trap is `brk`. */
const uint8_t *patas__trap_bytes(unsigned *count)
{
    static const uint8_t none[1];
    *count = 0;
    return none;
}

bool patas__trap_is(uint8_t byte)
{
    (void)byte;
    return false;
}

/* ---- threads that are held ------------------------------------------- */

/* struct user_pt_regs: x0 to x30, sp, pc, pstate. */
enum {
    REGS_ = 34,
    REGS_PC_ = 32,
    NT_PRSTATUS_ = 1
};

static long thread_registers(long request, int tid, uint64_t regs[REGS_])
{
    const struct {
        void *base;
        size_t size;
    } vector = {regs, REGS_ * sizeof *regs};
    return patas__syscall(__NR_ptrace, request, tid, NT_PRSTATUS_,
                          (long)&vector, 0, 0);
}

long patas__thread_pc(int tid, uintptr_t *pc)
{
    uint64_t regs[REGS_] = {0};
    long failed = thread_registers(PTRACE_GETREGSET, tid, regs);
    *pc = (uintptr_t)regs[REGS_PC_];
    return failed;
}

long patas__thread_resume_at(int tid, uintptr_t pc)
{
    uint64_t regs[REGS_] = {0};
    long failed = thread_registers(PTRACE_GETREGSET, tid, regs);
    regs[REGS_PC_] = pc;
    return failed ? failed : thread_registers(PTRACE_SETREGSET, tid, regs);
}

/* ---- signals --------------------------------------------------------- */

/* struct ucontext of the kernel, with struct sigcontext in it. */
struct patas__frame {
    uint64_t flags;
    uint64_t link; /* 0 from the kernel, which never reads it */
    uint64_t stack[3];
    uint64_t mask;
    uint64_t unused[15];
    uint64_t pad, fault; /* they begin at a multiple of 16 */
    uint64_t x[31];
    uint64_t sp, pc, pstate;
};
_Static_assert(offsetof(struct patas__frame, mask) == 40, "uc_sigmask");
_Static_assert(offsetof(struct patas__frame, pc) == 440, "sigcontext.pc");

enum {
    SI_CODE_BREAKPOINT = 1
};

/* The entry keeps the arguments and the return address across the question, and
 * leaves no trace of itself before it goes on to a chained handler. */
__asm__(".text\n"
        ".p2align 4\n"
        ".globl patas__trap_entry\n"
        ".hidden patas__trap_entry\n"
        ".type patas__trap_entry, %function\n"
        "patas__trap_entry:\n"
        "    .cfi_startproc\n"
        "    hint #34\n" /* bti c */
        "    stp x0, x1, [sp, #-32]!\n"
        "    .cfi_adjust_cfa_offset 32\n"
        "    stp x2, x30, [sp, #16]\n"
        "    .cfi_offset x30, -8\n"
        "    bl patas__trap_handle\n"
        "    mov x16, x0\n"
        "    ldp x2, x30, [sp, #16]\n"
        "    .cfi_restore x30\n"
        "    ldp x0, x1, [sp], #32\n"
        "    .cfi_adjust_cfa_offset -32\n"
        "    cbz x16, 1f\n"
        "    br x16\n"
        "1:  ret\n"
        "    .cfi_endproc\n"
        ".size patas__trap_entry, .-patas__trap_entry\n");

/* No .cfi, and a NOP in front that belongs to no function: unwinders know the
 * frame by these very instructions (libgcc, linux-unwind.h). */
__asm__(".text\n"
        ".p2align 4\n"
        "    nop\n"
        ".globl patas__trap_restorer\n"
        ".hidden patas__trap_restorer\n"
        ".type patas__trap_restorer, %function\n"
        "patas__trap_restorer:\n"
        "    mov x8, #139\n" /* rt_sigreturn */
        "    svc #0\n"
        ".size patas__trap_restorer, .-patas__trap_restorer\n"
        "    nop\n");

__asm__(".text\n"
        ".p2align 4\n"
        ".globl patas__trap_leave\n"
        ".hidden patas__trap_leave\n"
        ".type patas__trap_leave, %function\n"
        "patas__trap_leave:\n"
        "    hint #34\n"
        "    mov x0, #1\n"
        "    mov x8, #93\n" /* exit */
        "    svc #0\n"
        "    brk #1\n"
        ".size patas__trap_leave, .-patas__trap_leave\n");

/*
 * long patas__trap_spawn(flags, stack_top, alive, run, argument):
 * clone(flags, stack, parent_tid, tls, child_tid). The child has what it has to
 * run in registers, which are copied.
 */
__asm__(".text\n"
        ".p2align 4\n"
        ".globl patas__trap_spawn\n"
        ".hidden patas__trap_spawn\n"
        ".type patas__trap_spawn, %function\n"
        "patas__trap_spawn:\n"
        "    .cfi_startproc\n"
        "    hint #34\n"
        "    and x1, x1, #-16\n"
        "    mov x10, x3\n"
        "    mov x11, x4\n"
        "    mov x4, x2\n" /* child_tid; also parent_tid, not asked for */
        "    mov x3, xzr\n"
        "    mov x8, #220\n" /* clone */
        "    svc #0\n"
        "    cbz x0, 1f\n"
        "    ret\n"
        "1:  .cfi_undefined x30\n"
        "    mov x29, xzr\n"
        "    mov x30, xzr\n"
        "    mov x0, x11\n"
        "    blr x10\n"
        "    mov x0, xzr\n"
        "    mov x8, #93\n" /* exit */
        "    svc #0\n"
        "    brk #1\n"
        "    .cfi_endproc\n"
        ".size patas__trap_spawn, .-patas__trap_spawn\n");

/* `brk` leaves the PC at itself. */
uintptr_t patas__frame_trap(int number, const struct patas__signal_info *info,
                            const void *context)
{
    const struct patas__frame *frame = context;

    if (number == PATAS__SIGILL)
        return info->code > 0 ? (uintptr_t)frame->pc : 0;
    return number == PATAS__SIGTRAP && info->code == SI_CODE_BREAKPOINT
               ? (uintptr_t)frame->pc
               : 0;
}

bool patas__frame_still_traps(int number, uintptr_t pc)
{
    if (pc % 4 || !patas__trap_readable(pc))
        return true;
    uint32_t word = *(const volatile uint32_t *)pc;
    if (number == PATAS__SIGTRAP)
        return (word & 0xffe0001f) == 0xd4200000; /* brk */
    return !(word >> 16);                         /* udf */
}

void patas__frame_resume_at(void *context, uintptr_t pc)
{
    struct patas__frame *frame = context;

    frame->pc = pc;
}

uint64_t *patas__frame_mask(void *context)
{
    struct patas__frame *frame = context;

    return &frame->mask;
}

uintptr_t patas__frame_depth(void *context)
{
    struct patas__frame *frame = context;

    return (uintptr_t)frame->link++;
}
