/* SPDX-License-Identifier: MIT */
/*
 * First instructions of functions, each kind that there is something to be
 * known about. They are copied to other addresses, so they reach the outside
 * by distances from their own start:
 *
 *     start + 0x40     SHORT: an exit in reach of 8 bits
 *     start + 0x4000   LEAVE: an exit; also what calls call
 *     start + 0x4100   RETURN: a function that returns at once
 *     start + 0x4200   THUNK: mov (%rsp), %rax; ret
 *     start + 0x10000  DATA: random, writable; see relocate.c for pointers
 *
 * Registers: rbx = DATA, rdi, rsi, r12 in DATA, r9 = LEAVE, r10 = RETURN,
 * r13 = rsp - 8, r14 = 1, r15 = 0x100; the others are random, rcx often small.
 */
/* Flags, as in relocate.c. */
#define RETURNS 1 /* comes back to the original's code */
#define KERNEL  2 /* rcx and r11 are the system call's */
#define BAD_FAR 4 /* refused where its operand is out of reach */
#define LOOPS   8 /* goes back */

/* Label 7 is the start. */
#define DATA   7b + 0x10000
#define PLACE  7b + 0x10800
#define SHORT  7b + 0x40
#define LEAVE  7b + 0x4000
#define RETURN 7b + 0x4100
#define THUNK  7b + 0x4200

/* Names in a text are replaced before it becomes one argument. */
#define TEXT_(...)               #__VA_ARGS__
#define TEXT(...)                TEXT_(__VA_ARGS__)
#define always(...)              snippet 0, 0, TEXT(__VA_ARGS__)
#define needs(cpu, ...)          snippet cpu, 0, TEXT(__VA_ARGS__)
#define flagged(flags, ...)      snippet 0, flags, TEXT(__VA_ARGS__)

        .section .note.GNU-stack, "", @progbits

/* snippet: a record { name, start, size, cpu, flags }. */
        .macro  snippet cpu, flags, text
        .pushsection .rodata.names, "a", @progbits
6:      .asciz  "\text"
        .popsection
        .pushsection .text.snippets, "ax", @progbits
7:      \text
8:
        .popsection
        .pushsection .data.rel.ro.snippets, "aw", @progbits
        .quad   6b, 7b
        .long   8b - 7b, \cpu, \flags, 0
        .popsection
        .endm

        .pushsection .data.rel.ro.snippets, "aw", @progbits
        .globl  relocate_snippets
        .hidden relocate_snippets
relocate_snippets:
        .popsection

/* ---- nothing to be done ------------------------------------------------- */
        always(nop)
        always(endbr64; push %rbp; mov %rsp, %rbp)
        always(push %r15; push %r14; push %rbx; sub $0x18, %rsp)
        always(sub $0x88, %rsp; xor %eax, %eax)
        always(push %rax; pop %rdx; pushq $-3; pushq $0x12345678; pop %rax)
        always(pushw $7; popw %ax; push %rsp; pop %rdx)
        always(enter $32, $0; leave)
        always(enter $16, $3)
        always(xchg %rax, %rbx; xchg %rbx, %rax; cqo)
        always(mov %ah, %cl; bswap %rdx; rol %cl, %rax)
        always(adc %rax, %rdx; sbb $3, %ecx; cmc; lahf; sahf)
        always(mov $0x123456789abcdef0, %r11; not %r11)
        always(mov -0x80(%rsp), %rax; mov %rax, -8(%rsp))
        always(movsb; lodsq; stosl; std; cld; scasb)
        always(mov $3, %ecx; rep movsb)
        always(mov $5, %ecx; repne scasb)
        always(lea 0x12345678(%rax,%rcx,8), %r8; imul $77, %rax, %r9)
        always(mov %fs:0, %rax; mov %fs:8, %edx; xor %eax, %eax)
        always(cmp %rax, %rcx; sete %al; cmovbe %rdx, %r8)
        always(nopw 0x0(%rax,%rax,1); data16 nop; rep nop)
        always(fld1; fldpi; faddp; fstpl (%rdi))
        always(movups (%rdi), %xmm1; pxor %xmm1, %xmm2; paddq %xmm2, %xmm9)
        needs(1, vzeroupper; vaddps (%rdi), %ymm3, %ymm4)
        needs(2, vpaddd (%rdi), %zmm17, %zmm31{%k2}{z})

/* ---- PC-relative operands ----------------------------------------------- */
        .irp    r, al, bl, cl, dl, sil, bpl, bh, r8b, r15b
        always(mov DATA+5(%rip), %\r)
        always(mov %\r, DATA+7(%rip))
        always(add DATA+9(%rip), %\r)
        .endr
        flagged(BAD_FAR, mov DATA+5(%rip), %ah)
        flagged(BAD_FAR, cmp %ah, DATA+5(%rip))
        .irp    r, ax, bx, cx, dx, si, di, bp, r8w, r12w, r13w
        always(mov DATA+8(%rip), %\r)
        always(mov %\r, DATA+18(%rip))
        always(lea DATA+18(%rip), %\r)
        .endr
        .irp    r, eax, ebx, ecx, edx, esi, edi, ebp, r8d, r12d, r13d
        always(mov DATA+8(%rip), %\r)
        always(mov %\r, DATA+20(%rip))
        always(lea DATA+20(%rip), %\r)
        always(movzbl DATA+3(%rip), %\r)
        always(movswl DATA+4(%rip), %\r)
        .endr
        .irp    r, rax, rbx, rcx, rdx, rsi, rdi, rbp, r8, r9, r10, r11, r12, \
                   r13, r14, r15
        always(mov DATA+8(%rip), %\r)
        always(mov %\r, DATA+24(%rip))
        always(lea DATA+24(%rip), %\r)
        always(movslq DATA+4(%rip), %\r)
        always(movzwl DATA+2(%rip), %eax; movsbq DATA+1(%rip), %\r)
        always(adc DATA+16(%rip), %\r)
        always(xor %\r, DATA+16(%rip))
        always(cmp DATA+16(%rip), %\r)
        always(test %\r, DATA+16(%rip))
        always(cmovs DATA+16(%rip), %\r)
        always(imul DATA+40(%rip), %\r)
        always(imul $-77, DATA+40(%rip), %\r)
        always(imul $0x12345678, DATA+40(%rip), %\r)
        always(xadd %\r, DATA+48(%rip))
        always(xchg %\r, DATA+56(%rip))
        always(lock cmpxchg %\r, DATA+56(%rip))
        always(bt %\r, %rax; bsf DATA(%rip), %\r)
        .endr
        always(lea DATA(%rip), %rsp; nop)
        always(cmpb $7, DATA(%rip))
        always(cmpw $0x1234, DATA(%rip))
        always(cmpl $7, DATA(%rip))
        always(cmpl $0x12345678, DATA(%rip))
        always(cmpq $-7, DATA(%rip))
        always(cmpq $0x12345678, DATA(%rip))
        always(movb $7, DATA(%rip))
        always(movw $0x1234, DATA(%rip))
        always(movl $0x12345678, DATA(%rip))
        always(movq $-0x12345678, DATA(%rip))
        always(testb $7, DATA(%rip))
        always(testl $0x12345678, DATA(%rip))
        always(andl $0x7f, DATA(%rip); orl $0x12345678, DATA+4(%rip))
        always(lock addl $1, DATA(%rip))
        always(lock incq DATA(%rip); decl DATA(%rip))
        always(negq DATA(%rip); notb DATA(%rip))
        always(mulq DATA(%rip))
        always(imull DATA(%rip))
        always(shlq $3, DATA(%rip); sarl DATA+8(%rip))
        always(rcll %cl, DATA(%rip))
        always(shld $5, %rax, DATA(%rip))
        always(shrd %cl, %rdx, DATA(%rip))
        always(btsl $5, DATA(%rip); btl $3, DATA(%rip))
        always(sete DATA(%rip); setnle DATA+1(%rip))
        always(cmpxchg8b DATA(%rip))
        always(cmpxchg16b DATA(%rip))
        always(movnti %rax, DATA(%rip); prefetcht0 DATA(%rip))
        always(.byte 0x67; lea DATA(%rip), %rax; .byte 0x67; lea DATA(%rip), %ecx)
        always(nopl DATA(%rip))
        always(clflush DATA(%rip))
        always(popcnt DATA(%rip), %rax; popcntw DATA(%rip), %cx)
        always(crc32b DATA(%rip), %eax; crc32q DATA(%rip), %rcx)
        always(movbe DATA(%rip), %rax; movbe %eax, DATA(%rip))
        always(pushq DATA(%rip))
        always(pushq DATA(%rip); popq DATA+8(%rip))
        always(popq DATA+8(%rip); pushq $1)
        always(fldl DATA+16(%rip); fstps DATA(%rip))
        always(fildl DATA(%rip); fistpl DATA+8(%rip))
        always(fnstcw DATA(%rip); stmxcsr DATA+8(%rip); ldmxcsr DATA+8(%rip))
        always(.byte 0x49; .byte 0x8b, 0x05; .long DATA - . - 4)
        always(.byte 0x4d; .byte 0x01, 0x05; .long DATA - . - 4)
        always(.byte 0x41; .byte 0x00, 0x35; .long DATA - . - 4)
        always(.byte 0x41; .byte 0x0f, 0x10, 0x0d; .long DATA - . - 4)
        always(movups DATA(%rip), %xmm0; movaps %xmm1, DATA+16(%rip))
        always(movaps DATA(%rip), %xmm4; movaps %xmm12, DATA+16(%rip))
        always(movss DATA(%rip), %xmm7; movsd %xmm15, DATA(%rip))
        always(addps DATA(%rip), %xmm6; mulsd DATA(%rip), %xmm14)
        always(pshufd $0x1b, DATA(%rip), %xmm3)
        always(shufps $0x1b, DATA(%rip), %xmm7)
        always(cvtsi2sdl DATA(%rip), %xmm5; cvttsd2si DATA(%rip), %rax)
        always(comiss DATA(%rip), %xmm4; ucomisd DATA(%rip), %xmm11)
        always(movq DATA(%rip), %mm7; paddb DATA(%rip), %mm6; emms)
        always(pinsrw $3, DATA(%rip), %xmm4; pextrb $4, %xmm4, DATA(%rip))
        always(pinsrq $1, DATA(%rip), %xmm6; roundps $1, DATA(%rip), %xmm7)
        always(pshufb DATA(%rip), %xmm8; blendvps DATA(%rip), %xmm1)
        always(pcmpestri $0, DATA(%rip), %xmm7)
        always(pcmpistrm $0x40, DATA(%rip), %xmm6)
        always(aesenc DATA(%rip), %xmm4; pclmulqdq $1, DATA(%rip), %xmm7)
        needs(3, sha256rnds2 DATA(%rip), %xmm5)
        needs(1, vmovups DATA(%rip), %ymm4; vmovaps %xmm12, DATA(%rip))
        needs(1, vaddpd DATA(%rip), %ymm7, %ymm6)
        needs(1, vaddpd DATA(%rip), %ymm6, %ymm7)
        needs(1, vaddpd DATA(%rip), %ymm12, %ymm15)
        needs(1, vpshufd $0x1b, DATA(%rip), %xmm7)
        needs(1, vblendvps %xmm6, DATA(%rip), %xmm7, %xmm5)
        needs(1, vbroadcastss DATA(%rip), %ymm4; vzeroupper)
        needs(1, vperm2f128 $1, DATA(%rip), %ymm14, %ymm4)
        needs(1, vcvttss2si DATA(%rip), %rdi; vmovd DATA(%rip), %xmm7)
        needs(1, vpinsrb $3, DATA(%rip), %xmm4, %xmm4)
        needs(1, vfmadd231ps DATA(%rip), %ymm6, %ymm7)
        .irp    r, rax, rcx, rdx, rbx, rbp, rsi, rdi, r8, r12, r14, r15
        needs(4, andn DATA(%rip), %\r, %rax)
        needs(4, andn DATA(%rip), %rdi, %\r)
        needs(4, blsr DATA(%rip), %\r)
        needs(4, bextr %\r, DATA(%rip), %rsi)
        needs(4, mulx DATA(%rip), %\r, %r11)
        needs(4, rorx $7, DATA(%rip), %\r)
        needs(4, shlx %\r, DATA(%rip), %rdi)
        needs(4, pdep DATA(%rip), %rsi, %\r)
        .endr
        needs(4, tzcnt DATA(%rip), %rax; lzcnt DATA(%rip), %edx)
        needs(5, adcx DATA(%rip), %rdi; adox DATA(%rip), %rsi)
        needs(2, vmovdqu64 DATA(%rip), %zmm4)
        needs(2, vmovdqa64 %zmm28, DATA(%rip))
        needs(2, vaddps DATA(%rip), %zmm6, %zmm7)
        needs(2, vaddps DATA(%rip), %zmm7, %zmm22)
        needs(2, vaddps DATA(%rip){1to16}, %zmm31, %zmm12{%k3})
        needs(2, vpternlogd $0x96, DATA(%rip), %zmm23, %zmm30{%k1}{z})
        needs(2, vpcmpud $1, DATA(%rip), %zmm6, %k7)
        needs(2, vaddss DATA(%rip), %xmm20, %xmm6)
        needs(2, vcvttss2usi DATA(%rip), %rdi)
        needs(2, vcvttsd2usi DATA(%rip), %r12)
        needs(1, .byte 0xc4; .byte 0xc1, 0x78, 0x10, 0x0d; .long DATA - . - 4)
        needs(2, .byte 0x62; .byte 0xd1, 0x7c, 0x48, 0x10, 0x15; .long DATA - . - 4)
        needs(2, .byte 0x62; .byte 0xd1, 0x44, 0x48, 0x58, 0x35; .long DATA - . - 4)
        needs(2, kmovw DATA(%rip), %k4; kmovw %k5, DATA(%rip))
        needs(2, vbroadcasti32x4 DATA(%rip), %zmm7)
        needs(2, vpermt2d DATA(%rip), %zmm6, %zmm7)
        needs(2, valignd $3, DATA(%rip), %zmm15, %zmm7)

/* ---- branches ----------------------------------------------------------- */
        .irp    cc, o, no, b, ae, e, ne, be, a, s, ns, p, np, l, ge, le, g
        always(j\cc SHORT)
        always(j\cc LEAVE)
        always(j\cc SHORT; inc %eax; j\cc SHORT; j\cc SHORT; j\cc SHORT; j\cc SHORT; j\cc SHORT; j\cc SHORT; j\cc SHORT)
        always(j\cc 1f; not %rax; 1: not %rdx; nop)
        .endr
        .irp    op, loop, loope, loopne, jrcxz, jecxz
        always(\op SHORT)
        always(\op SHORT; \op SHORT; \op SHORT; \op SHORT; \op SHORT)
        always(inc %eax; \op 1f; not %rdx; 1: nop)
        .endr
        always(.byte 0x67; loop SHORT)
        always(.byte 0x67; loopne SHORT; inc %eax)
        flagged(LOOPS, mov $9, %ecx; 1: add %rcx, %rax; loop 1b)
        flagged(LOOPS, movzbl %cl, %ecx; 1: add %rcx, %rax; dec %ecx; jg 1b)
        flagged(LOOPS, 1: shr $1, %rax; jnz 1b; nop)
        flagged(LOOPS, 1: shr $1, %rax; jnz 1b; jmp SHORT)
        flagged(LOOPS, 1: dec %cl; je SHORT; jmp 1b)
        always(jmp SHORT)
        always(jmp LEAVE)
        always(jmp 1f; 1: inc %eax; jmp 2f; 2: nop)
        always(jmp 1f; .byte 0x0f, 0x0b; 1: dec %eax)
        always(.byte 0xf2; jmp LEAVE)
        always(.byte 0xf2; je LEAVE)
        always(.byte 0x3e; je LEAVE; .byte 0x2e; jne SHORT)
        always(jmp *%r9)
        always(jmp *PLACE(%rip))
        always(.byte 0xf2; jmp *PLACE(%rip))
        always(notrack jmp *PLACE(%rip))
        always(jmp *0x800(%rbx))
        always(jmp *0x10(%rsp))
        always(push %r9; ret)
        always(push %r9; ret $16)
        always(lea SHORT(%rip), %rax; jmp *%rax)
        needs(6, xbegin SHORT; xend)
        needs(6, xbegin SHORT; xabort $3)
        needs(6, xbegin 1f; xabort $3; 1: nop)

/* ---- calls -------------------------------------------------------------- */
        .irp    goal, LEAVE, RETURN, THUNK
        flagged(RETURNS, call \goal)
        flagged(RETURNS, push %rbx; call \goal; nop; nop)
        flagged(RETURNS, .byte 0x66, 0x66, 0x48, 0xe8; .long \goal - . - 4)
        flagged(RETURNS, .byte 0xf2; call \goal)
        .endr
        always(call 1f; 1: pop %rax)
        always(call 1f; 1: pop %rax; add %rax, %rdx; nop; nop; nop)
        always(nop; call 1f; .quad 0x0b0f0b0f0b0f0b0f; 1: pop %rax)
        .irp    r, r9, r10
        flagged(RETURNS, call *%\r)
        flagged(RETURNS, notrack call *%\r)
        flagged(RETURNS, mov %\r, %rax; call *%rax; call *%\r; nop)
        .endr
        .irp    offset, 0, 8
        flagged(RETURNS, call *-0x200+\offset(%r12))
        flagged(RETURNS, mov %r14, %r12; call *0x8+\offset(%rsp,%r12,8))
        flagged(RETURNS, mov PLACE+\offset(%rip), %r12; call *%r12)
        flagged(RETURNS, call *PLACE+\offset(%rip))
        flagged(RETURNS, nop; call *PLACE+\offset(%rip); nop)
        flagged(RETURNS, call *0x800+\offset(%rbx))
        flagged(RETURNS, call *\offset(%rbx,%r15,8))
        flagged(RETURNS, call *0x10+\offset(%rsp))
        flagged(RETURNS, push %rax; call *0x18+\offset(%rsp); nop; nop)
        flagged(RETURNS, call *0x210+\offset(%rsp))
        flagged(RETURNS, call *-0x18+\offset(%rsp))
        flagged(RETURNS, call *0x8+\offset(%rsp,%r14,8))
        flagged(RETURNS, call *-0x20+\offset(%rsp,%r14,8))
        flagged(RETURNS, lea 0x10+\offset(%rsp), %rax; call *(%rax))
        .endr
        always(call *-8(%rsp))
        always(call *(%r13))
        always(call *-8(%r13,%r14,8))
        always(mov %r9, (%rsp); call *(%rsp))

/* ---- the kernel --------------------------------------------------------- */
        flagged(KERNEL, mov $39, %eax; syscall)
        flagged(KERNEL, mov $39, %eax; syscall; inc %edx)
        flagged(0, mov $20, %eax; int $0x80)

        .pushsection .data.rel.ro.snippets, "aw", @progbits
        .quad   0, 0, 0, 0
        .popsection

/*
 * void relocate_run(struct relocate_state *state, const void *entry);
 *
 * Enters with all of `state` in the registers; whatever ends in
 * relocate_left comes back with all registers in it.
 */
        .text
        .globl  relocate_run, relocate_left
        .hidden relocate_run, relocate_left
        .type   relocate_run, @function
relocate_run:
        push    %rbx
        push    %rbp
        push    %r12
        push    %r13
        push    %r14
        push    %r15
        mov     %rsp, own_stack(%rip)
        mov     %rdi, own_state(%rip)
        mov     %rsi, own_entry(%rip)
        mov     $0xe7, %eax
        xor     %edx, %edx
        xrstor64 0x100(%rdi)
        mov     %rdi, %rsp
        mov     0x00(%rsp), %rax
        mov     0x08(%rsp), %rcx
        mov     0x10(%rsp), %rdx
        mov     0x18(%rsp), %rbx
        mov     0x28(%rsp), %rbp
        mov     0x30(%rsp), %rsi
        mov     0x38(%rsp), %rdi
        mov     0x40(%rsp), %r8
        mov     0x48(%rsp), %r9
        mov     0x50(%rsp), %r10
        mov     0x58(%rsp), %r11
        mov     0x60(%rsp), %r12
        mov     0x68(%rsp), %r13
        mov     0x70(%rsp), %r14
        mov     0x78(%rsp), %r15
        lea     0x80(%rsp), %rsp
        popfq           /* single steps may begin, behind the next */
        mov     -0x68(%rsp), %rsp
        jmp     *own_entry(%rip)

relocate_left:
        mov     %rsp, left_stack(%rip)
        mov     own_state(%rip), %rsp
        lea     0x88(%rsp), %rsp
        pushfq
        mov     %r15, -8(%rsp)
        mov     %rax, -0x80(%rsp)
        mov     %rcx, -0x78(%rsp)
        mov     %rdx, -0x70(%rsp)
        mov     %rbx, -0x68(%rsp)
        mov     %rbp, -0x58(%rsp)
        mov     %rsi, -0x50(%rsp)
        mov     %rdi, -0x48(%rsp)
        mov     %r8, -0x40(%rsp)
        mov     %r9, -0x38(%rsp)
        mov     %r10, -0x30(%rsp)
        mov     %r11, -0x28(%rsp)
        mov     %r12, -0x20(%rsp)
        mov     %r13, -0x18(%rsp)
        mov     %r14, -0x10(%rsp)
        mov     left_stack(%rip), %rax
        mov     %rax, -0x60(%rsp)
        mov     %rsp, %rdi
        mov     own_stack(%rip), %rsp
        pushq   $2
        popfq
        mov     $0xe7, %eax
        xor     %edx, %edx
        xsave64 0x80(%rdi)
        pop     %r15
        pop     %r14
        pop     %r13
        pop     %r12
        pop     %rbp
        pop     %rbx
        ret
        .size   relocate_run, . - relocate_run

        .local  own_stack, own_state, own_entry, left_stack
        .comm   own_stack, 8, 8
        .comm   own_state, 8, 8
        .comm   own_entry, 8, 8
        .comm   left_stack, 8, 8
