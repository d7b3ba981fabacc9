/* SPDX-License-Identifier: MIT */
/*
 * What threads run through while it is patched. Each answers edi + 1; the
 * bytes stand beside. The boundaries inside the first five bytes are the point.
 */
    .text

.macro begin name skip=0
    .p2align 5
    .if \skip
    .skip \skip, 0x90
    .endif
    .globl \name
    .hidden \name
    .type \name, @function
\name:
    .cfi_startproc
.endm
.macro finish name
    .cfi_endproc
    .size \name, . - \name
.endm

begin t_push                    /* boundaries +1 +3 */
    push %rbx                   /* 53    */
    mov %edi, %ebx              /* 89 fb */
    lea 1(%rbx), %eax
    pop %rbx
    ret
finish t_push

begin t_push_16 5               /* the same across an 8-byte line */
    push %rbx
    mov %edi, %ebx
    lea 1(%rbx), %eax
    pop %rbx
    ret
finish t_push_16

begin t_pushes                  /* +1 +2 +4 */
    push %rbp                   /* 55    */
    push %rbx                   /* 53    */
    push %r12                   /* 41 54 */
    lea 1(%rdi), %eax
    pop %r12
    pop %rbx
    pop %rbp
    ret
finish t_pushes

begin t_pause_one               /* slow between the boundaries: +1 +3 */
    push %rbx                   /* 53    */
    pause                       /* f3 90 */
    pause                       /* f3 90 */
    pop %rbx
    lea 1(%rdi), %eax
    ret
finish t_pause_one

begin t_pause_two               /* +2 +4 */
    mov %edi, %eax              /* 89 f8 */
    pause                       /* f3 90 */
    pause                       /* f3 90 */
    add $1, %eax
    ret
finish t_pause_two

begin t_nops                    /* +1 +2 +3 +4 */
    nop
    nop
    nop
    nop
    nop
    lea 1(%rdi), %eax
    ret
finish t_nops

begin t_mov                     /* +2 */
    mov %edi, %eax              /* 89 f8    */
    add $1, %eax                /* 83 c0 01 */
    ret
finish t_mov

begin t_mov_16 4
    mov %edi, %eax
    add $1, %eax
    ret
finish t_mov_16

begin t_three                   /* +3 */
    lea (%rdi), %rax            /* 48 8d 07 */
    inc %eax                    /* ff c0    */
    ret
finish t_three

begin t_three_16 7
    lea (%rdi), %rax
    inc %eax
    ret
finish t_three_16

begin t_four                    /* +4 */
    endbr64                     /* f3 0f 1e fa */
    lea 1(%rdi), %eax
    ret
finish t_four

begin t_four_sub                /* +4 */
    sub $24, %rsp               /* 48 83 ec 18 */
    .cfi_adjust_cfa_offset 24
    lea 1(%rdi), %eax
    add $24, %rsp
    .cfi_adjust_cfa_offset -24
    ret
finish t_four_sub

begin t_short                   /* shorter than the jump, padding behind */
    lea 1(%rdi), %eax           /* 8d 47 01 */
    ret                         /* c3       */
finish t_short

begin t_loop                    /* a branch from behind to +2 */
    xor %eax, %eax              /* 31 c0    */
1:  add $1, %eax                /* 83 c0 01 */
    cmp $9, %eax
    jne 1b
    lea -8(%rax,%rdi), %eax
    ret
finish t_loop

begin t_loop_one                /* a branch from behind to +1 */
    push %rdi                   /* 57    */
1:  inc %edi                    /* ff c7 */
    test $7, %dil
    jne 1b
    pop %rdi
    lea 1(%rdi), %eax
    ret
finish t_loop_one

begin t_second                  /* +2 is entered from another function */
    mov %edi, %eax              /* 89 f8    */
t_second_inner:
    add $1, %eax                /* 83 c0 01 */
    ret
finish t_second

begin t_second_caller           /* never replaced */
    mov %edi, %eax
    jmp t_second_inner
finish t_second_caller

begin t_jcc                     /* +2 +4, a conditional branch moves */
    test %edi, %edi             /* 85 ff */
    je 1f                       /* 74 xx */
    lea 1(%rdi), %eax
    ret
1:  mov $1, %eax
    ret
finish t_jcc

begin t_tail                    /* a lone jump: one instruction */
    .byte 0xe9
    .long t_tail_end - . - 4
finish t_tail
begin t_tail_two                /* a jump behind a short one */
    mov %edi, %eax              /* 89 f8 */
    jmp 1f                      /* eb xx */
    int3
1:  .byte 0xe9
    .long t_tail_end - . - 4
finish t_tail_two
begin t_tail_end
    lea 1(%rdi), %eax
    ret
finish t_tail_end

begin t_one                     /* the jump lies in one instruction */
    mov $1, %eax                /* b8 01 00 00 00 */
    add %edi, %eax
    ret
finish t_one

begin t_one_rip                 /* ... relative to the PC */
    mov 1f(%rip), %eax          /* 8b 05 xx xx xx xx */
    add %edi, %eax
    ret
    .p2align 2
1:  .long 1
finish t_one_rip

begin t_call                    /* the return address is +3 */
    push %rbx                   /* 53    */
    .cfi_adjust_cfa_offset 8
    call *%rdx                  /* ff d2 */
    pop %rbx
    .cfi_adjust_cfa_offset -8
    ret
finish t_call

begin t_read_one                /* sleeps in the kernel; comes back to +3 */
    push %rbx                   /* 53    */
    syscall                     /* 0f 05 */
    pop %rbx
    ret
finish t_read_one

begin t_read_two                /* ... to +4 */
    mov %edi, %edi              /* 89 ff */
    syscall                     /* 0f 05 */
    ret
finish t_read_two

begin t_read_first              /* ... to +2 */
    syscall                     /* 0f 05 */
    nop
    ret
finish t_read_first

/* Packed: the next function follows at once, and padding behind the last. */
    .p2align 5
    .globl t_packed_a, t_packed_b, t_packed_loop
    .hidden t_packed_a, t_packed_b, t_packed_loop
    .type t_packed_a, @function
    .type t_packed_b, @function
    .type t_packed_loop, @function
t_packed_a:
    .cfi_startproc
    lea 1(%rdi), %eax           /* 8d 47 01 */
    ret                         /* c3       */
finish t_packed_a
t_packed_b:
    .cfi_startproc
    mov %edi, %eax              /* 89 f8 */
    inc %eax                    /* ff c0 */
    ret                         /* c3    */
finish t_packed_b
t_packed_loop:
    .cfi_startproc
    xor %eax, %eax              /* 31 c0 */
1:  inc %eax                    /* ff c0 */
    cmp $5, %eax
    jne 1b
    lea -4(%rax,%rdi), %eax
    ret
finish t_packed_loop
    .p2align 6, 0x90

/* Packed, and no padding within the reach of a short jump. */
.macro crowd from to
    .rept \to - \from
    lea 1(%rdi), %eax
    ret
    .endr
.endm
    .p2align 5
    .type t_crowd_before, @function
t_crowd_before:
    .cfi_startproc
    crowd 0 40
finish t_crowd_before
    .globl t_crowd
    .hidden t_crowd
    .type t_crowd, @function
t_crowd:
    .cfi_startproc
    push %rdi                   /* 57       */
1:  inc %edi                    /* ff c7    */
    test $7, %dil
    jne 1b
    pop %rdi
    lea 1(%rdi), %eax
    ret
finish t_crowd
    .globl t_crowd_two
    .hidden t_crowd_two
    .type t_crowd_two, @function
t_crowd_two:
    .cfi_startproc
    lea 1(%rdi), %eax           /* 8d 47 01 */
    ret                         /* c3       */
finish t_crowd_two
    .type t_crowd_after, @function
t_crowd_after:
    .cfi_startproc
    crowd 0 40
finish t_crowd_after
    .p2align 6, 0x90

/* long t_call_read(fn, fd): read(fd, &byte, 1) by way of fn. */
    .p2align 4
    .globl t_call_read
    .hidden t_call_read
    .type t_call_read, @function
t_call_read:
    .cfi_startproc
    sub $24, %rsp
    .cfi_adjust_cfa_offset 24
    mov %rdi, %r8
    mov %esi, %edi
    lea 8(%rsp), %rsi
    mov $1, %edx
    xor %eax, %eax
    call *%r8
    add $24, %rsp
    .cfi_adjust_cfa_offset -24
    ret
finish t_call_read

/* long t_call_with(fn, x): fn finds t_helper in rdx. */
    .p2align 4
    .globl t_call_with
    .hidden t_call_with
    .type t_call_with, @function
t_call_with:
    .cfi_startproc
    sub $8, %rsp
    .cfi_adjust_cfa_offset 8
    mov %rdi, %r8
    mov %rsi, %rdi
    lea t_helper(%rip), %rdx
    call *%r8
    add $8, %rsp
    .cfi_adjust_cfa_offset -8
    ret
finish t_call_with

    .section .note.GNU-stack, "", @progbits
