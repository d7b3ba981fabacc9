/* SPDX-License-Identifier: MIT */
/*
 * The trap stage's machine: Linux on x86-64.
 *
 * What the kernel leaves on the stack for a handler (arch/x86 rt_sigframe):
 *
 *     rsp -> return address   our restorer
 *            ucontext         rdx; flags, link, stack, registers, mask
 *            siginfo          rsi
 */
#include "../../os.h"
#include "../../trap.h"
#include "../../trap_host.h"

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
