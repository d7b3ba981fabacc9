/* SPDX-License-Identifier: MIT */
/*
 * host.h for Linux on x86-64.
 *
 * What the kernel leaves on the stack for a handler (arch/x86 rt_sigframe):
 *
 *     rsp -> return address   our restorer
 *            ucontext         rdx; flags, link, stack, registers, mask
 *            siginfo          rsi
 */
#include "host.h"
#include "os.h"
#include "trap.h"
#include "valgrind.h"

#include <asm/unistd.h>
#include <linux/ptrace.h>

/* ---- the system ------------------------------------------------------ */

long patas__syscall(long number, long a, long b, long c, long d, long e, long f)
{
    long result;
    register long r10 __asm__("r10") = d;
    register long r8 __asm__("r8") = e;
    register long r9 __asm__("r9") = f;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8),
                       "r"(r9)
                     : "rcx", "r11", "memory");
    return result;
}

/* The thread pointer is the FS base (System V ABI x86-64, 3.4.6). Linux lets
 * programs read it by rdfsbase from 5.9 on, and says so in AT_HWCAP2; a program
 * without a C library may have none. */
uintptr_t patas__os_thread(void)
{
    enum {
        AT_HWCAP2_ = 26,
        HAS_FSGSBASE = 2
    };
    static int8_t readable; /* 0 = not asked yet, else -1 or 1 */
    if (!readable)
        readable = patas__os_auxv(AT_HWCAP2_) & HAS_FSGSBASE &&
                           !valgrind_is_here() /* which doesn't know it */
                       ? 1
                       : -1;
    uintptr_t base = 0;
    if (readable > 0)
        __asm__("rdfsbase %0" : "=r"(base));
    return base ? base : (uintptr_t)patas__os_tid() * 2;
}

bool patas__os_shadow_stack(void)
{
    enum {
        ARCH_SHSTK_STATUS_ = 0x5005 /* older headers lack it */
    };
    uint64_t features = 0;
    long got = patas__syscall(__NR_arch_prctl, ARCH_SHSTK_STATUS_,
                              (long)&features, 0, 0, 0, 0);
    return !got && (features & 1);
}

/* ---- code ------------------------------------------------------------ */

const uint8_t patas__unit_least = 8, patas__unit_most = 16;
const uintptr_t patas__user_top = 0x7ffffffff000;

static bool swap8(uintptr_t unit, const uint8_t *old, const uint8_t *new)
{
    uint64_t expected = patas__load64(old);
    return __atomic_compare_exchange_n((uint64_t *)unit, &expected,
                                       patas__load64(new), false,
                                       __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
}

static bool swap16(uintptr_t unit, const uint8_t *old, const uint8_t *new)
{
    bool done;
    uint64_t low = patas__load64(old), high = patas__load64(old + 8);
    __asm__ volatile("lock cmpxchg16b %1"
                     : "=@ccz"(done), "+m"(*(uint8_t(*)[16])unit), "+a"(low),
                       "+d"(high)
                     : "b"(patas__load64(new)), "c"(patas__load64(new + 8))
                     : "memory");
    return done;
}

/* lock cmpxchg / cmpxchg16b: atomic to data and, aligned, to instruction
 * fetch (docs/safety.md lists the processors that this was tried on). */
bool patas__unit_swap(uintptr_t unit, unsigned size, const uint8_t *old,
                      const uint8_t *new)
{
    return size == 8 ? swap8(unit, old, new) : swap16(unit, old, new);
}

/* Caches are coherent (SDM volume 3, 11.6). */
void patas__code_written(uintptr_t code, size_t size)
{
    if (valgrind_is_here())
        (void)valgrind_ask(VALGRIND_DISCARD, code, size);
}

bool patas__translated(void)
{
    return valgrind_is_here();
}

/* Linux has no IBT for programs. */
bool patas__pads_stay(void)
{
    return false;
}

/* ---- threads that are held ------------------------------------------- */

enum {
    USER_PC = 16 * 8 /* struct user_regs_struct: 16th, rip */
};

long patas__thread_pc(int tid, uintptr_t *pc)
{
    return patas__syscall(__NR_ptrace, PTRACE_PEEKUSR, tid, USER_PC, (long)pc,
                          0, 0);
}

long patas__thread_resume_at(int tid, uintptr_t pc)
{
    return patas__syscall(__NR_ptrace, PTRACE_POKEUSR, tid, USER_PC, (long)pc,
                          0, 0);
}

/* ---- signals --------------------------------------------------------- */

const uint8_t patas__trap_signals[2] = {PATAS__SIGILL, PATAS__SIGTRAP};
const uintptr_t patas__libc_flags = PATAS__SA_RESTORER;

/* struct ucontext of the kernel, with struct sigcontext in it. */
struct patas__frame {
    uint64_t flags;
    uint64_t link; /* 0 from the kernel, which never reads it */
    uint64_t stack[3];
    uint64_t r8_to_r15[8];
    uint64_t rdi, rsi, rbp, rbx, rdx, rax, rcx;
    uint64_t rsp, rip, eflags;
    uint64_t segments, error, trap, old_mask, cr2, fpstate, reserved[8];
    uint64_t mask;
};
_Static_assert(offsetof(struct patas__frame, rip) == 168, "sigcontext.rip");
_Static_assert(offsetof(struct patas__frame, mask) == 296, "uc_sigmask");

enum {
    SI_CODE_KERNEL = 0x80,
    SI_CODE_BREAKPOINT = 1
};

/*
 * The entry keeps the three arguments across the question, and leaves no trace
 * of itself on the stack before it goes on to a chained handler. The stack is
 * 8 off a multiple of 16 here, as behind any call, so three pushes align it.
 */
__asm__(".text\n"
        ".p2align 4\n"
        ".globl patas__trap_entry\n"
        ".hidden patas__trap_entry\n"
        ".type patas__trap_entry, @function\n"
        "patas__trap_entry:\n"
        "    .cfi_startproc\n"
        "    endbr64\n"
        "    pushq %rdi\n"
        "    .cfi_adjust_cfa_offset 8\n"
        "    pushq %rsi\n"
        "    .cfi_adjust_cfa_offset 8\n"
        "    pushq %rdx\n"
        "    .cfi_adjust_cfa_offset 8\n"
        "    call patas__trap_handle\n"
        "    popq %rdx\n"
        "    .cfi_adjust_cfa_offset -8\n"
        "    popq %rsi\n"
        "    .cfi_adjust_cfa_offset -8\n"
        "    popq %rdi\n"
        "    .cfi_adjust_cfa_offset -8\n"
        "    testq %rax, %rax\n"
        "    jz 1f\n"
        "    movq %rax, %r11\n"
        "    xorl %eax, %eax\n"
        "    jmp *%r11\n"
        "1:  ret\n"
        "    .cfi_endproc\n"
        ".size patas__trap_entry, .-patas__trap_entry\n");

/*
 * No .cfi here, and a NOP in front that belongs to no function: libgcc and gdb
 * know the frame by these very bytes, and only where no unwind entry covers
 * the address or the one before it.
 */
__asm__(".text\n"
        ".p2align 4\n"
        "    nop\n"
        ".globl patas__trap_restorer\n"
        ".hidden patas__trap_restorer\n"
        ".type patas__trap_restorer, @function\n"
        "patas__trap_restorer:\n"
        "    movq $15, %rax\n" /* rt_sigreturn */
        "    syscall\n"
        ".size patas__trap_restorer, .-patas__trap_restorer\n"
        "    nop\n");

__asm__(".text\n"
        ".p2align 4\n"
        ".globl patas__trap_leave\n"
        ".hidden patas__trap_leave\n"
        ".type patas__trap_leave, @function\n"
        "patas__trap_leave:\n"
        "    endbr64\n"
        "    movl $1, %edi\n"
        "    movl $60, %eax\n" /* exit */
        "    syscall\n"
        "    hlt\n"
        ".size patas__trap_leave, .-patas__trap_leave\n");

/*
 * long patas__trap_spawn(flags, stack_top, alive, run, argument):
 * clone(flags, stack, parent_tid, child_tid, tls). The child finds what it has
 * to run on its own stack, since its registers are all that it shares else.
 */
__asm__(".text\n"
        ".p2align 4\n"
        ".globl patas__trap_spawn\n"
        ".hidden patas__trap_spawn\n"
        ".type patas__trap_spawn, @function\n"
        "patas__trap_spawn:\n"
        "    .cfi_startproc\n"
        "    endbr64\n"
        "    andq $-16, %rsi\n"
        "    subq $16, %rsi\n"
        "    movq %rcx, (%rsi)\n"
        "    movq %r8, 8(%rsi)\n"
        "    movq %rdx, %r10\n" /* child_tid; also parent_tid, not asked for */
        "    xorl %r8d, %r8d\n"
        "    movl $56, %eax\n" /* clone */
        "    syscall\n"
        "    testq %rax, %rax\n"
        "    jz 1f\n"
        "    ret\n"
        "1:  .cfi_undefined rip\n"
        "    xorl %ebp, %ebp\n"
        "    popq %rax\n"
        "    popq %rdi\n"
        "    call *%rax\n"
        "    xorl %edi, %edi\n"
        "    movl $60, %eax\n" /* exit */
        "    syscall\n"
        "    hlt\n"
        "    .cfi_endproc\n"
        ".size patas__trap_spawn, .-patas__trap_spawn\n");

__asm__(".text\n"
        ".p2align 4\n"
        ".globl patas__trap_probe\n"
        ".hidden patas__trap_probe\n"
        ".type patas__trap_probe, @function\n"
        "patas__trap_probe:\n"
        "    .cfi_startproc\n"
        "    endbr64\n"
        "    pushq %rbx\n"
        "    .cfi_adjust_cfa_offset 8\n"
        "    pushq %rbp\n"
        "    .cfi_adjust_cfa_offset 8\n"
        "    pushq %r12\n"
        "    .cfi_adjust_cfa_offset 8\n"
        "    pushq %r13\n"
        "    .cfi_adjust_cfa_offset 8\n"
        "    pushq %r14\n"
        "    .cfi_adjust_cfa_offset 8\n"
        "    pushq %r15\n"
        "    .cfi_adjust_cfa_offset 8\n"
        "    movq %rsp, (%rsi)\n"
        "    movq %rdi, -64(%rsp)\n"
        "    xorl %eax, %eax\n"
        "    xorl %ebx, %ebx\n"
        "    xorl %ecx, %ecx\n"
        "    xorl %edx, %edx\n"
        "    xorl %esi, %esi\n"
        "    xorl %edi, %edi\n"
        "    xorl %ebp, %ebp\n"
        "    xorl %r8d, %r8d\n"
        "    xorl %r9d, %r9d\n"
        "    xorl %r10d, %r10d\n"
        "    xorl %r11d, %r11d\n"
        "    xorl %r12d, %r12d\n"
        "    xorl %r13d, %r13d\n"
        "    xorl %r14d, %r14d\n"
        "    xorl %r15d, %r15d\n"
        "    notrack jmp *-64(%rsp)\n"
        ".globl patas__trap_probe_end\n"
        ".hidden patas__trap_probe_end\n"
        ".type patas__trap_probe_end, @function\n"
        "patas__trap_probe_end:\n"
        "    popq %r15\n"
        "    .cfi_adjust_cfa_offset -8\n"
        "    popq %r14\n"
        "    .cfi_adjust_cfa_offset -8\n"
        "    popq %r13\n"
        "    .cfi_adjust_cfa_offset -8\n"
        "    popq %r12\n"
        "    .cfi_adjust_cfa_offset -8\n"
        "    popq %rbp\n"
        "    .cfi_adjust_cfa_offset -8\n"
        "    popq %rbx\n"
        "    .cfi_adjust_cfa_offset -8\n"
        "    ret\n"
        "    .cfi_endproc\n"
        ".size patas__trap_probe_end, .-patas__trap_probe_end\n"
        ".size patas__trap_probe, .-patas__trap_probe\n");

/*
 * An invalid opcode leaves the PC at its first byte; the int3 that a CC is
 * leaves it behind. The kernel marks an int3 with SI_KERNEL, which for SIGTRAP
 * nothing else has on x86 but `cd 03`; single steps, watchpoints and icebp
 * have codes of their own. An emulated kernel may say TRAP_BRKPT for an int3,
 * as the real one does for icebp, so then the byte has to tell.
 */
uintptr_t patas__frame_trap(int number, const struct patas__signal_info *info,
                            const void *context)
{
    const struct patas__frame *frame = context;
    uintptr_t pc = (uintptr_t)frame->rip;

    if (number == PATAS__SIGILL)
        return info->code > 0 ? pc : 0;
    if (number != PATAS__SIGTRAP)
        return 0;
    if (info->code == SI_CODE_KERNEL)
        return pc - 1;
    if (info->code == SI_CODE_BREAKPOINT && patas__trap_readable(pc - 1) &&
        *(const volatile uint8_t *)(pc - 1) == 0xcc)
        return pc - 1;
    return 0;
}

/* `cd 03` in front of the PC, or `cc`; ud2, ud1 and ud0 (SDM volume 2, UD), by
 * which compilers and virtual machines mean to trap; a byte that we plant. */
bool patas__frame_still_traps(int number, uintptr_t pc)
{
    const volatile uint8_t *at = (const volatile uint8_t *)pc;

    if (!patas__trap_readable(pc))
        return true;
    if (number == PATAS__SIGTRAP)
        return at[0] == 0xcc ||
               (at[0] == 3 && patas__trap_readable(pc - 1) && at[-1] == 0xcd);
    if (at[0] == 0x0f && patas__trap_readable(pc + 1))
        return at[1] == 0x0b || at[1] == 0xb9 || at[1] == 0xff;
    return at[0] != 0xcc && patas__trap_is(at[0]);
}

void patas__frame_resume_at(void *context, uintptr_t pc)
{
    struct patas__frame *frame = context;

    frame->rip = pc;
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

void patas__frame_return(void *context, uintptr_t stack)
{
    struct patas__frame *frame = context;

    frame->rsp = stack;
    frame->rip = (uintptr_t)patas__trap_probe_end;
}

uintptr_t patas__frame_pc(const void *context)
{
    const struct patas__frame *frame = context;

    return (uintptr_t)frame->rip;
}
