/* SPDX-License-Identifier: MIT */
/*
 * Functions whose moved first instructions do something to the stack, and the
 * caller that a debugger has to find from each of them.
 */
        .text

/* A frame pointer, and a register that is saved and overwritten. */
        .globl  victim_frame
        .type   victim_frame, @function
        .p2align 4
victim_frame:
        .cfi_startproc
        push    %rbp
        .cfi_def_cfa_offset 16
        .cfi_offset %rbp, -16
        mov     %rsp, %rbp
        .cfi_def_cfa_register %rbp
        push    %rbx
        .cfi_offset %rbx, -24
        xor     %ebx, %ebx
        lea     1(%rdi,%rbx), %eax
        pop     %rbx
        pop     %rbp
        .cfi_def_cfa %rsp, 8
        ret
        .cfi_endproc
        .size   victim_frame, . - victim_frame

/* The first instruction is long, and moves the stack pointer far. */
        .globl  victim_room
        .type   victim_room, @function
        .p2align 4
victim_room:
        .cfi_startproc
        sub     $0x1008, %rsp
        .cfi_def_cfa_offset 0x1010
        lea     1(%rdi), %eax
        add     $0x1008, %rsp
        .cfi_def_cfa_offset 8
        ret
        .cfi_endproc
        .size   victim_room, . - victim_room

/* A call is among them: the head pushes the return address by itself. */
        .globl  victim_call
        .type   victim_call, @function
        .p2align 4
victim_call:
        .cfi_startproc
        push    %rbx
        .cfi_def_cfa_offset 16
        .cfi_offset %rbx, -16
        mov     %edi, %ebx
        call    victim_callee
        add     %ebx, %eax
        pop     %rbx
        .cfi_def_cfa_offset 8
        ret
        .cfi_endproc
        .size   victim_call, . - victim_call
        .type   victim_callee, @function
victim_callee:
        .cfi_startproc
        mov     $1, %eax
        ret
        .cfi_endproc
        .size   victim_callee, . - victim_callee

/* Nobody described it: the instructions themselves have to tell. */
        .globl  victim_bare
        .type   victim_bare, @function
        .p2align 4
victim_bare:
        push    %r12
        push    %rbx
        sub     $24, %rsp
        lea     1(%rdi), %eax
        add     $24, %rsp
        pop     %rbx
        pop     %r12
        ret
        .size   victim_bare, . - victim_bare

/* int call_victim(int (*victim)(int), int): its registers are what a debugger
 * has to give back. */
        .globl  call_victim
        .type   call_victim, @function
        .p2align 4
call_victim:
        .cfi_startproc
        push    %rbx
        .cfi_def_cfa_offset 16
        .cfi_offset %rbx, -16
        push    %rbp
        .cfi_def_cfa_offset 24
        .cfi_offset %rbp, -24
        push    %r12
        .cfi_def_cfa_offset 32
        .cfi_offset %r12, -32
        mov     %rdi, %rax
        mov     %esi, %edi
        mov     $0x1111, %ebx
        mov     $0x2222, %ebp
        mov     $0x3333, %r12d
        call    *%rax
        pop     %r12
        .cfi_def_cfa_offset 24
        pop     %rbp
        .cfi_def_cfa_offset 16
        pop     %rbx
        .cfi_def_cfa_offset 8
        ret
        .cfi_endproc
        .size   call_victim, . - call_victim

        .section .note.GNU-stack, "", @progbits
