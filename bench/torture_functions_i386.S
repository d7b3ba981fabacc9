/* SPDX-License-Identifier: MIT */
/*
 * torture_functions.S for i386: x comes in eax (regparm, as torture.h says),
 * and must come through islands unharmed. Each answers eax + 1.
 */
#include <asm/unistd.h>

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
/* Instructions of a length that the assembler wouldn't choose. */
.macro inc_eax
    .byte 0xff, 0xc0
.endm

begin t_push                    /* boundaries +1 +3 */
    push %ebx                   /* 53    */
    mov %eax, %ebx              /* 89 c3 */
    lea 1(%ebx), %eax
    pop %ebx
    ret
finish t_push

begin t_push_16 5               /* the same across an 8-byte line */
    push %ebx
    mov %eax, %ebx
    lea 1(%ebx), %eax
    pop %ebx
    ret
finish t_push_16

begin t_pushes                  /* +1 +2 +4 */
    push %ebp                   /* 55    */
    push %ebx                   /* 53    */
    mov %eax, %ecx              /* 89 c1 */
    lea 1(%ecx), %eax
    pop %ebx
    pop %ebp
    nop
    nop
    ret
finish t_pushes

begin t_pause_one               /* slow between the boundaries: +1 +3 */
    push %ebx                   /* 53    */
    pause                       /* f3 90 */
    pause                       /* f3 90 */
    pop %ebx
    lea 1(%eax), %eax
    ret
finish t_pause_one

begin t_pause_two               /* +2 +4 */
    mov %eax, %eax              /* 89 c0 */
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
    lea 1(%eax), %eax
    ret
finish t_nops

begin t_mov                     /* +2 */
    mov %eax, %eax              /* 89 c0    */
    add $1, %eax                /* 83 c0 01 */
    ret
finish t_mov

begin t_mov_16 4
    mov %eax, %eax
    add $1, %eax
    ret
finish t_mov_16

begin t_three                   /* +3 */
    .byte 0x8d, 0x40, 0x00      /* lea 0(%eax), %eax */
    inc_eax                     /* ff c0 */
    ret
finish t_three

begin t_three_16 7
    .byte 0x8d, 0x40, 0x00
    inc_eax
    ret
finish t_three_16

begin t_four                    /* +4 */
    endbr32                     /* f3 0f 1e fb */
    lea 1(%eax), %eax
    ret
finish t_four

begin t_four_sub                /* +4 */
    lea -24(%esp), %esp         /* 8d 64 24 e8 */
    .cfi_adjust_cfa_offset 24
    lea 1(%eax), %eax
    lea 24(%esp), %esp
    .cfi_adjust_cfa_offset -24
    ret
finish t_four_sub

begin t_short                   /* shorter than the jump, padding behind */
    lea 1(%eax), %eax           /* 8d 40 01 */
    ret                         /* c3       */
finish t_short

begin t_loop                    /* a branch from behind to +2 */
    xor %ecx, %ecx              /* 31 c9    */
1:  add $1, %ecx                /* 83 c1 01 */
    cmp $9, %ecx
    jne 1b
    lea -8(%eax,%ecx), %eax
    ret
finish t_loop

begin t_loop_one                /* a branch from behind to +1 */
    push %eax                   /* 50    */
1:  inc_eax                     /* ff c0 */
    test $7, %al
    jne 1b
    pop %eax
    lea 1(%eax), %eax
    nop
    nop
    ret
finish t_loop_one

begin t_second                  /* +2 is entered from another function */
    mov %eax, %eax              /* 89 c0    */
t_second_inner:
    add $1, %eax                /* 83 c0 01 */
    ret
finish t_second

begin t_second_caller           /* never replaced */
    mov %eax, %eax
    jmp t_second_inner
finish t_second_caller

begin t_jcc                     /* +2 +4, a conditional branch moves */
    test %eax, %eax             /* 85 c0 */
    je 1f                       /* 74 xx */
    lea 1(%eax), %eax
    ret
1:  mov $1, %eax
    ret
finish t_jcc

begin t_tail                    /* a lone jump: one instruction */
    .byte 0xe9
    .long t_tail_end - . - 4
finish t_tail
begin t_tail_two                /* a jump behind a short one */
    mov %eax, %eax              /* 89 c0 */
    jmp 1f                      /* eb xx */
    int3
1:  .byte 0xe9
    .long t_tail_end - . - 4
finish t_tail_two
begin t_tail_end
    lea 1(%eax), %eax
    ret
finish t_tail_end

begin t_one                     /* the jump lies in one instruction */
    mov $1, %edx                /* ba 01 00 00 00 */
    add %edx, %eax
    ret
finish t_one

begin t_one_rip                 /* a call that reads the PC */
    call 1f                     /* e8 00 00 00 00 */
1:  pop %edx
    mov 2f-1b(%edx), %edx
    add %edx, %eax
    ret
    .p2align 2
2:  .long 1
finish t_one_rip

begin t_call                    /* the return address is +3 */
    push %ebx                   /* 53    */
    .cfi_adjust_cfa_offset 4
    call *%edx                  /* ff d2 */
    pop %ebx
    .cfi_adjust_cfa_offset -4
    ret
finish t_call

begin t_read_one                /* sleeps in the kernel; comes back to +3 */
    push %ebx                   /* 53    */
    int $0x80                   /* cd 80 */
    pop %ebx
    ret
finish t_read_one

begin t_read_two                /* ... to +4 */
    mov %edi, %edi              /* 89 ff */
    int $0x80                   /* cd 80 */
    ret
finish t_read_two

begin t_read_first              /* ... to +2 */
    int $0x80                   /* cd 80 */
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
    lea 1(%eax), %eax           /* 8d 40 01 */
    ret                         /* c3       */
finish t_packed_a
t_packed_b:
    .cfi_startproc
    mov %eax, %eax              /* 89 c0 */
    inc_eax                     /* ff c0 */
    ret                         /* c3    */
finish t_packed_b
t_packed_loop:
    .cfi_startproc
    xor %ecx, %ecx              /* 31 c9 */
1:  .byte 0xff, 0xc1            /* inc %ecx */
    cmp $5, %ecx
    jne 1b
    lea -4(%eax,%ecx), %eax
    ret
finish t_packed_loop
    .p2align 6, 0x90

/* Packed, and no padding within the reach of a short jump. */
.macro crowd from to
    .rept \to - \from
    lea 1(%eax), %eax
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
    push %eax                   /* 50       */
1:  inc_eax                     /* ff c0    */
    test $7, %al
    jne 1b
    pop %eax
    lea 1(%eax), %eax
    nop
    nop
    ret
finish t_crowd
    .globl t_crowd_two
    .hidden t_crowd_two
    .type t_crowd_two, @function
t_crowd_two:
    .cfi_startproc
    lea 1(%eax), %eax           /* 8d 40 01 */
    ret                         /* c3       */
finish t_crowd_two
    .type t_crowd_after, @function
t_crowd_after:
    .cfi_startproc
    crowd 0 40
finish t_crowd_after
    .p2align 6, 0x90

/* long t_call_read(fn, fd): read(torture_fd, &byte, 1) by way of fn. The number
 * of the system call is where x is, so fd is a variable. */
    .p2align 4
    .globl t_call_read
    .hidden t_call_read
    .type t_call_read, @function
t_call_read:
    .cfi_startproc
    push %ebx
    .cfi_adjust_cfa_offset 4
    .cfi_rel_offset ebx, 0
    push %esi
    .cfi_adjust_cfa_offset 4
    .cfi_rel_offset esi, 0
    sub $20, %esp
    .cfi_adjust_cfa_offset 20
    mov %eax, %esi
    call 1f
1:  pop %ebx
    mov torture_fd-1b(%ebx), %ebx
    lea 8(%esp), %ecx
    mov $1, %edx
    mov $__NR_read, %eax
    call *%esi
    add $20, %esp
    .cfi_adjust_cfa_offset -20
    pop %esi
    .cfi_adjust_cfa_offset -4
    .cfi_restore esi
    pop %ebx
    .cfi_adjust_cfa_offset -4
    .cfi_restore ebx
    ret
finish t_call_read

/* long t_call_with(fn, x): fn finds t_helper in edx. */
    .p2align 4
    .globl t_call_with
    .hidden t_call_with
    .type t_call_with, @function
t_call_with:
    .cfi_startproc
    sub $12, %esp
    .cfi_adjust_cfa_offset 12
    mov %eax, %ecx
    mov %edx, %eax
    call 1f
1:  pop %edx
    lea t_helper-1b(%edx), %edx
    call *%ecx
    add $12, %esp
    .cfi_adjust_cfa_offset -12
    ret
finish t_call_with

    .section .note.GNU-stack, "", @progbits
