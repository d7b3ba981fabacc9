/* SPDX-License-Identifier: MIT */
/*
 * host.h for Linux on i386, a 64-bit kernel's 32-bit programs included.
 *
 * What the kernel leaves on the stack for a handler (arch/x86 rt_sigframe_ia32;
 * the arguments are in eax, edx and ecx, too):
 *
 *     esp -> return address   our restorer
 *            number, siginfo *, ucontext *
 *            siginfo
 *            ucontext         flags, link, stack, registers, mask
 */
#include "host.h"
#include "os.h"
#include "trap.h"
#include "valgrind.h"

#include <asm/unistd.h>
#include <linux/ptrace.h>

/* ---- the system ------------------------------------------------------ */

/* Six arguments take every register that there is but esp. */
__asm__(".text\n"
        ".p2align 4\n"
        ".globl patas__syscall\n"
        ".hidden patas__syscall\n"
        ".type patas__syscall, @function\n"
        "patas__syscall:\n"
        "    .cfi_startproc\n"
        "    pushl %ebp\n"
        "    .cfi_adjust_cfa_offset 4\n"
        "    .cfi_rel_offset ebp, 0\n"
        "    pushl %edi\n"
        "    .cfi_adjust_cfa_offset 4\n"
        "    .cfi_rel_offset edi, 0\n"
        "    pushl %esi\n"
        "    .cfi_adjust_cfa_offset 4\n"
        "    .cfi_rel_offset esi, 0\n"
        "    pushl %ebx\n"
        "    .cfi_adjust_cfa_offset 4\n"
        "    .cfi_rel_offset ebx, 0\n"
        "    movl 20(%esp), %eax\n"
        "    movl 24(%esp), %ebx\n"
        "    movl 28(%esp), %ecx\n"
        "    movl 32(%esp), %edx\n"
        "    movl 36(%esp), %esi\n"
        "    movl 40(%esp), %edi\n"
        "    movl 44(%esp), %ebp\n"
        "    int $0x80\n"
        "    popl %ebx\n"
        "    .cfi_adjust_cfa_offset -4\n"
        "    .cfi_restore ebx\n"
        "    popl %esi\n"
        "    .cfi_adjust_cfa_offset -4\n"
        "    .cfi_restore esi\n"
        "    popl %edi\n"
        "    .cfi_adjust_cfa_offset -4\n"
        "    .cfi_restore edi\n"
        "    popl %ebp\n"
        "    .cfi_adjust_cfa_offset -4\n"
        "    .cfi_restore ebp\n"
        "    ret\n"
        "    .cfi_endproc\n"
        ".size patas__syscall, .-patas__syscall\n");

/* The word at gs:0 is the thread pointer (ELF Handling For Thread-Local
 * Storage, 4.2; Go keeps to it). A program without a C library need not have
 * one: then the selector is null, and reading by it a fault. */
uintptr_t patas__os_thread(void)
{
    uint32_t selector;
    uintptr_t pointer = 0;
    __asm__ volatile("mov %%gs, %0" : "=r"(selector));
    if (selector & 0xfffc)
        __asm__ volatile("mov %%gs:0, %0" : "=r"(pointer));
    return pointer && !(pointer & 1) ? pointer : (uintptr_t)patas__os_tid() * 2;
}

/* Linux has them for 64-bit code alone. */
bool patas__os_shadow_stack(void)
{
    return false;
}

/* ---- code ------------------------------------------------------------ */

const uint8_t patas__unit_least = 8, patas__unit_most = 8;

/* Of a 64-bit kernel (asm/page_64_types.h, IA32_PAGE_OFFSET); a 32-bit one has
 * 3 GB, and refuses what lies above them. */
const uintptr_t patas__user_top = 0xffffe000;

/* docs/safety.md lists the processors that this was tried on. The compiler's
 * own would be a call of a library where it doubts that `unit` is aligned. */
bool patas__unit_swap(uintptr_t unit, unsigned size, const uint8_t *old,
                      const uint8_t *new)
{
    uint64_t expected = patas__load64(old);
    bool same;
    (void)size;
    __asm__ volatile("lock cmpxchg8b %1"
                     : "=@ccz"(same), "+m"(*(volatile uint64_t *)unit),
                       "+A"(expected)
                     : "b"(patas__load32(new)), "c"(patas__load32(new + 4))
                     : "memory");
    return same;
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
    USER_PC = 12 * 4 /* struct user_regs_struct: 13th, eip */
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

const uint8_t patas__trap_signals[2] = {PATAS__SIGSEGV, PATAS__SIGTRAP};

/* The vDSO has what a handler returns to. */
const uintptr_t patas__libc_flags = 0;

/* struct ucontext_ia32 of the kernel, with struct sigcontext_32 in it. */
struct patas__frame {
    uint32_t flags;
    uint32_t link; /* 0 from the kernel, which never reads it */
    uint32_t stack[3];
    uint32_t gs, fs, es, ds;
    uint32_t edi, esi, ebp, esp, ebx, edx, ecx, eax;
    uint32_t trap, error, eip, cs, eflags, esp_at_signal, ss;
    uint32_t fpstate, old_mask, cr2;
    uint64_t mask;
};
_Static_assert(offsetof(struct patas__frame, eip) == 76, "sigcontext.eip");
_Static_assert(offsetof(struct patas__frame, mask) == 108, "uc_sigmask");

enum {
    SI_CODE_KERNEL = 0x80,
    SI_CODE_BREAKPOINT = 1,
    TRAP_PROTECTION = 13, /* SDM volume 3, table 6-1: #GP */
    INSN_HLT = 0xf4,
    INSN_INT3 = 0xcc
};

/*
 * The entry leaves no trace of itself on the stack before it goes on to a
 * chained handler. The stack is 4 off a multiple of 16 here, as behind any
 * call, so three words align it. Another handler may have called it as the
 * function that it is: no register is free to jump by.
 */
__asm__(".text\n"
        ".p2align 4\n"
        ".globl patas__trap_entry\n"
        ".hidden patas__trap_entry\n"
        ".type patas__trap_entry, @function\n"
        "patas__trap_entry:\n"
        "    .cfi_startproc\n"
        "    movl 4(%esp), %eax\n"
        "    movl 8(%esp), %edx\n"
        "    movl 12(%esp), %ecx\n"
        "    pushl %ecx\n"
        "    .cfi_adjust_cfa_offset 4\n"
        "    pushl %edx\n"
        "    .cfi_adjust_cfa_offset 4\n"
        "    pushl %eax\n"
        "    .cfi_adjust_cfa_offset 4\n"
        "    call patas__trap_handle\n"
        "    addl $12, %esp\n"
        "    .cfi_adjust_cfa_offset -12\n"
        "    testl %eax, %eax\n"
        "    jz 1f\n"
        "    pushl %eax\n"
        "    .cfi_adjust_cfa_offset 4\n"
        "    movl 8(%esp), %eax\n"
        "    movl 12(%esp), %edx\n"
        "    movl 16(%esp), %ecx\n"
        "    ret\n"
        "    .cfi_adjust_cfa_offset -4\n"
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
        "    movl $173, %eax\n" /* rt_sigreturn */
        "    int $0x80\n"
        ".size patas__trap_restorer, .-patas__trap_restorer\n"
        "    nop\n");

__asm__(".text\n"
        ".p2align 4\n"
        ".globl patas__trap_leave\n"
        ".hidden patas__trap_leave\n"
        ".type patas__trap_leave, @function\n"
        "patas__trap_leave:\n"
        "    movl $1, %ebx\n"
        "    movl $1, %eax\n" /* exit */
        "    int $0x80\n"
        "    hlt\n"
        ".size patas__trap_leave, .-patas__trap_leave\n");

/*
 * long patas__trap_spawn(flags, stack_top, alive, run, argument):
 * clone(flags, stack, parent_tid, tls, child_tid). The child has a copy of the
 * registers, and its argument on its own stack.
 *
 *     20(%esp) flags, 28 stack_top, 32 alive, 36 run, 40 argument
 */
__asm__(".text\n"
        ".p2align 4\n"
        ".globl patas__trap_spawn\n"
        ".hidden patas__trap_spawn\n"
        ".type patas__trap_spawn, @function\n"
        "patas__trap_spawn:\n"
        "    .cfi_startproc\n"
        "    pushl %ebp\n"
        "    .cfi_adjust_cfa_offset 4\n"
        "    .cfi_rel_offset ebp, 0\n"
        "    pushl %edi\n"
        "    .cfi_adjust_cfa_offset 4\n"
        "    .cfi_rel_offset edi, 0\n"
        "    pushl %esi\n"
        "    .cfi_adjust_cfa_offset 4\n"
        "    .cfi_rel_offset esi, 0\n"
        "    pushl %ebx\n"
        "    .cfi_adjust_cfa_offset 4\n"
        "    .cfi_rel_offset ebx, 0\n"
        "    movl 28(%esp), %ecx\n"
        "    andl $-16, %ecx\n"
        "    subl $16, %ecx\n"
        "    movl 40(%esp), %eax\n"
        "    movl %eax, (%ecx)\n"
        "    movl 20(%esp), %ebx\n"
        "    xorl %edx, %edx\n" /* parent_tid, not asked for */
        "    xorl %esi, %esi\n" /* tls, not asked for */
        "    movl 32(%esp), %edi\n"
        "    movl 36(%esp), %ebp\n"
        "    movl $120, %eax\n" /* clone */
        "    int $0x80\n"
        "    testl %eax, %eax\n"
        "    jz 1f\n"
        "    popl %ebx\n"
        "    .cfi_remember_state\n"
        "    .cfi_adjust_cfa_offset -4\n"
        "    .cfi_restore ebx\n"
        "    popl %esi\n"
        "    .cfi_adjust_cfa_offset -4\n"
        "    .cfi_restore esi\n"
        "    popl %edi\n"
        "    .cfi_adjust_cfa_offset -4\n"
        "    .cfi_restore edi\n"
        "    popl %ebp\n"
        "    .cfi_adjust_cfa_offset -4\n"
        "    .cfi_restore ebp\n"
        "    ret\n"
        "1:  .cfi_restore_state\n"
        "    .cfi_undefined eip\n"
        "    movl %ebp, %eax\n"
        "    xorl %ebp, %ebp\n"
        "    call *%eax\n"
        "    xorl %ebx, %ebx\n"
        "    movl $1, %eax\n" /* exit */
        "    int $0x80\n"
        "    hlt\n"
        "    .cfi_endproc\n"
        ".size patas__trap_spawn, .-patas__trap_spawn\n");

/*
 * Both are promised for ever: an instruction that user code may not run, in its
 * one encoding, and int3. A debugger swallows the latter's SIGTRAP, so hlt goes
 * first. What else may trap in 32-bit code depends on what ioperm() and iopl()
 * allow; two will do, since every address is in reach.
 */
const uint8_t *patas__trap_bytes(unsigned *count)
{
    static const uint8_t bytes[] = {INSN_HLT, INSN_INT3};

    *count = sizeof bytes;
    return bytes;
}

bool patas__trap_is(uint8_t byte)
{
    return byte == INSN_HLT || byte == INSN_INT3;
}

/* A privileged instruction leaves the PC at its first byte, and has SI_KERNEL
 * for a code, as no page fault has. int3 leaves it behind (linux_x86_64.c). */
uintptr_t patas__frame_trap(int number, const struct patas__signal_info *info,
                            const void *context)
{
    const struct patas__frame *frame = context;
    uintptr_t pc = frame->eip;

    if (number == PATAS__SIGSEGV)
        return info->code == SI_CODE_KERNEL && frame->trap == TRAP_PROTECTION
                   ? pc
                   : 0;
    if (number != PATAS__SIGTRAP)
        return 0;
    if (info->code == SI_CODE_KERNEL)
        return pc - 1;
    if (info->code == SI_CODE_BREAKPOINT && patas__trap_readable(pc - 1) &&
        *(const volatile uint8_t *)(pc - 1) == INSN_INT3)
        return pc - 1;
    return 0;
}

/* `cd 03` in front of the PC, or `cc`; `f4`. Whatever else is privileged is
 * tried again, once. */
bool patas__frame_still_traps(int number, uintptr_t pc)
{
    const volatile uint8_t *at = (const volatile uint8_t *)pc;

    if (!patas__trap_readable(pc))
        return true;
    if (number == PATAS__SIGTRAP)
        return at[0] == INSN_INT3 ||
               (at[0] == 3 && patas__trap_readable(pc - 1) && at[-1] == 0xcd);
    return at[0] == INSN_HLT;
}

void patas__frame_resume_at(void *context, uintptr_t pc)
{
    struct patas__frame *frame = context;

    frame->eip = pc;
}

uint64_t *patas__frame_mask(void *context)
{
    struct patas__frame *frame = context;

    return &frame->mask;
}

uintptr_t patas__frame_depth(void *context)
{
    struct patas__frame *frame = context;

    return frame->link++;
}
