/* SPDX-License-Identifier: MIT */
/*
 * 32-bit heads of functions, run by a 32-bit process or in compatibility mode;
 * as in relocate_snippets.S. Registers: ebx = DATA, esi, edi in DATA, edx = LEAVE,
 * ebp = RETURN; eax and ecx are random, ecx often small.
 */
#define RETURNS 1 /* comes back to the original's code */
#define LOOPS   8 /* goes back */

#define SHORT  7b + 0x40
#define LEAVE  7b + 0x4000
#define RETURN 7b + 0x4100
#define THUNK  7b + 0x4200

#if defined(__i386__)
#define CODE    .code32
#define POINTER .long
#else
#define CODE    .code64
#define POINTER .quad
#endif

#define TEXT_(...)          #__VA_ARGS__
#define TEXT(...)           TEXT_(__VA_ARGS__)
#define always(...)         snippet 0, TEXT(__VA_ARGS__)
#define flagged(flags, ...) snippet flags, TEXT(__VA_ARGS__)

        .section .note.GNU-stack, "", @progbits

        .macro  snippet flags, text
        .pushsection .rodata.names, "a", @progbits
6:      .asciz  "\text"
        .popsection
        .pushsection .text.snippets, "ax", @progbits
        .code32
7:      \text
8:
        CODE
        .popsection
        .pushsection .data.rel.ro.snippets, "aw", @progbits
        POINTER 6b, 7b
        .long   8b - 7b, 0, \flags, 0
        .popsection
        .endm

        .pushsection .data.rel.ro.snippets, "aw", @progbits
        .globl  relocate_32_snippets
        .hidden relocate_32_snippets
relocate_32_snippets:
        .popsection

        always(push %ebp; mov %esp, %ebp; sub $0x18, %esp)
        always(endbr32; push %esi; push %ebx)
        always(inc %eax; dec %ecx; inc %esi; dec %edi; nop)
        always(pusha; popa; pushf; popf)
        always(daa; aas; aam; aad; das; aaa)
        always(enter $16, $0; leave)
        always(mov (%ebx), %eax; mov %eax, 4(%ebx); addl $7, 8(%ebx))
        always(movups (%ebx), %xmm0; movups %xmm0, 16(%ebx))
        always(movsb; lodsl; stosl; std; cld)
        always(push $0x12345678; pop %eax; pushw $3; popw %cx)
        always(imul $77, (%ebx), %eax; shld $3, %eax, (%ebx))
        .irp    cc, o, no, b, ae, e, ne, be, a, s, ns, p, np, l, ge, le, g
        always(j\cc SHORT)
        always(j\cc LEAVE)
        always(j\cc SHORT; inc %eax; j\cc SHORT; j\cc SHORT; j\cc SHORT; j\cc SHORT)
        always(j\cc 1f; not %eax; 1: not %ecx; nop)
        .endr
        .irp    op, loop, loope, loopne, jecxz, jcxz
        always(\op SHORT)
        always(\op SHORT; \op SHORT; \op SHORT; \op SHORT; \op SHORT)
        always(inc %eax; \op 1f; not %eax; 1: nop)
        .endr
        always(.byte 0x67; loop SHORT)
        always(.byte 0x67; loopne SHORT; inc %eax)
        flagged(LOOPS, movzbl %cl, %ecx; 1: add %ecx, %eax; dec %ecx; jg 1b)
        flagged(LOOPS, 1: shr $1, %eax; jnz 1b; jmp SHORT)
        always(jmp SHORT)
        always(jmp LEAVE)
        always(jmp 1f; 1: inc %eax; jmp 2f; 2: nop)
        always(jmp *%edx)
        always(jmp *0x800(%ebx))
        always(jmp *0x10(%esp))
        always(push %edx; ret)
        always(call 1f; 1: pop %eax)
        always(call 1f; 1: pop %eax; add %eax, %ecx; nop; nop; nop)
        always(nop; call 1f; .long 0x0b0f0b0f; 1: pop %ecx)
        .irp    goal, LEAVE, RETURN, THUNK
        flagged(RETURNS, call \goal)
        flagged(RETURNS, push %ebx; call \goal; nop; nop)
        flagged(RETURNS, inc %ecx; call \goal; add $0x1234, %eax)
        .endr
        .irp    r, edx, ebp
        flagged(RETURNS, call *%\r)
        flagged(RETURNS, notrack call *%\r)
        .endr
        .irp    offset, 0, 4
        flagged(RETURNS, call *0x800+\offset(%ebx))
        flagged(RETURNS, lea 0x200(%ebx), %eax; call *0x600+\offset(%eax))
        flagged(RETURNS, call *0x10+\offset(%esp))
        flagged(RETURNS, call *0x210+\offset(%esp))
        flagged(RETURNS, push %eax; call *0x14+\offset(%esp); nop; nop)
        flagged(RETURNS, xor %ecx, %ecx; call *0x10+\offset(%esp,%ecx,4))
        .endr
        always(call *-4(%esp))
        always(lea -4(%esp), %eax; call *(%eax))
        always(mov $20, %eax; int $0x80)
        always(mov $20, %eax; int $0x80; inc %ecx)

        .pushsection .data.rel.ro.snippets, "aw", @progbits
        POINTER 0, 0
        .long   0, 0, 0, 0
        .popsection

/*
 * void relocate_32_run(struct relocate_32_state *state, uint32_t entry);
 *
 * `state` holds the registers in the order of their numbers, each in 64 bits,
 * and the flags. 0x23 is the code segment of 32-bit programs.
 */
        .text
        .globl  relocate_32_run, relocate_32_left
        .hidden relocate_32_run, relocate_32_left
        .type   relocate_32_run, @function
#if defined(__i386__)
relocate_32_run:
        push    %ebx
        push    %ebp
        push    %esi
        push    %edi
        mov     %esp, own_stack
        mov     20(%esp), %eax
        mov     24(%esp), %ecx
        mov     %eax, own_state
        mov     %ecx, own_far
        mov     %eax, %esp
        mov     0x00(%esp), %eax
        mov     0x08(%esp), %ecx
        mov     0x10(%esp), %edx
        mov     0x18(%esp), %ebx
        mov     0x28(%esp), %ebp
        mov     0x30(%esp), %esi
        mov     0x38(%esp), %edi
        lea     0x40(%esp), %esp
        popf            /* single steps may begin, behind the next */
        mov     -0x24(%esp), %esp
        jmp     *own_far

relocate_32_left:
        mov     %esp, left_stack
        mov     own_state, %esp
        lea     0x44(%esp), %esp
        pushf
        mov     %eax, -0x40(%esp)
        mov     %ecx, -0x38(%esp)
        mov     %edx, -0x30(%esp)
        mov     %ebx, -0x28(%esp)
        mov     left_stack, %eax
        mov     %eax, -0x20(%esp)
        mov     %ebp, -0x18(%esp)
        mov     %esi, -0x10(%esp)
        mov     %edi, -0x08(%esp)
        mov     own_stack, %esp
        push    $2
        popf
        pop     %edi
        pop     %esi
        pop     %ebp
        pop     %ebx
        ret
#else
relocate_32_run:
        push    %rbx
        push    %rbp
        push    %r12
        push    %r13
        push    %r14
        push    %r15
        mov     %rsp, own_stack(%rip)
        mov     %rdi, own_state(%rip)
        mov     %esi, own_far(%rip)
        mov     $0x2b, %eax
        mov     %eax, %ds
        mov     %eax, %es
        mov     %rdi, %rsp
        mov     0x00(%rsp), %rax
        mov     0x08(%rsp), %rcx
        mov     0x10(%rsp), %rdx
        mov     0x18(%rsp), %rbx
        mov     0x28(%rsp), %rbp
        mov     0x30(%rsp), %rsi
        mov     0x38(%rsp), %rdi
        lea     0x40(%rsp), %rsp
        popfq           /* single steps may begin, behind the next */
        mov     -0x28(%rsp), %rsp
        ljmp    *own_far(%rip)

relocate_32_left:
        mov     %rsp, left_stack(%rip)
        mov     own_state(%rip), %rsp
        lea     0x48(%rsp), %rsp
        pushfq
        mov     %rax, -0x40(%rsp)
        mov     %rcx, -0x38(%rsp)
        mov     %rdx, -0x30(%rsp)
        mov     %rbx, -0x28(%rsp)
        mov     left_stack(%rip), %rax
        mov     %rax, -0x20(%rsp)
        mov     %rbp, -0x18(%rsp)
        mov     %rsi, -0x10(%rsp)
        mov     %rdi, -0x08(%rsp)
        mov     own_stack(%rip), %rsp
        pushq   $2
        popfq
        xor     %eax, %eax
        mov     %eax, %ds
        mov     %eax, %es
        pop     %r15
        pop     %r14
        pop     %r13
        pop     %r12
        pop     %rbp
        pop     %rbx
        ret
#endif
        .size   relocate_32_run, . - relocate_32_run

        .data
        .p2align 3
own_far:
        .long   0
        .word   0x23, 0
        .local  own_stack, own_state, left_stack
        .comm   own_stack, 8, 8
        .comm   own_state, 8, 8
        .comm   left_stack, 8, 8
