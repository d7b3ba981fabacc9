/* SPDX-License-Identifier: MIT */
/* debuggers_victims.S for i386. */
        .text

/* A frame pointer, and a register that is saved and overwritten. */
        .globl  victim_frame
        .type   victim_frame, @function
        .p2align 4
victim_frame:
        .cfi_startproc
        push    %ebp
        .cfi_def_cfa_offset 8
        .cfi_offset %ebp, -8
        mov     %esp, %ebp
        .cfi_def_cfa_register %ebp
        push    %ebx
        .cfi_offset %ebx, -12
        xor     %ebx, %ebx
        mov     8(%ebp), %eax
        lea     1(%eax,%ebx), %eax
        pop     %ebx
        pop     %ebp
        .cfi_def_cfa %esp, 4
        ret
        .cfi_endproc
        .size   victim_frame, . - victim_frame

/* The first instruction is long, and moves the stack pointer far. */
        .globl  victim_room
        .type   victim_room, @function
        .p2align 4
victim_room:
        .cfi_startproc
        sub     $0x1008, %esp
        .cfi_def_cfa_offset 0x100c
        mov     0x100c(%esp), %eax
        add     $1, %eax
        add     $0x1008, %esp
        .cfi_def_cfa_offset 4
        ret
        .cfi_endproc
        .size   victim_room, . - victim_room

/* A call is among them: the head pushes the return address by itself. */
        .globl  victim_call
        .type   victim_call, @function
        .p2align 4
victim_call:
        .cfi_startproc
        push    %ebx
        .cfi_def_cfa_offset 8
        .cfi_offset %ebx, -8
        mov     %esp, %ebx
        call    victim_callee
        add     8(%ebx), %eax
        pop     %ebx
        .cfi_def_cfa_offset 4
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
        push    %esi
        push    %ebx
        sub     $24, %esp
        mov     36(%esp), %eax
        add     $1, %eax
        add     $24, %esp
        pop     %ebx
        pop     %esi
        ret
        .size   victim_bare, . - victim_bare

/* int call_victim(int (*victim)(int), int): its registers are what a debugger
 * has to give back. */
        .globl  call_victim
        .type   call_victim, @function
        .p2align 4
call_victim:
        .cfi_startproc
        push    %ebx
        .cfi_def_cfa_offset 8
        .cfi_offset %ebx, -8
        push    %ebp
        .cfi_def_cfa_offset 12
        .cfi_offset %ebp, -12
        push    %esi
        .cfi_def_cfa_offset 16
        .cfi_offset %esi, -16
        mov     16(%esp), %eax
        push    20(%esp)
        .cfi_def_cfa_offset 20
        mov     $0x1111, %ebx
        mov     $0x2222, %ebp
        mov     $0x3333, %esi
        call    *%eax
        add     $4, %esp
        .cfi_def_cfa_offset 16
        pop     %esi
        .cfi_def_cfa_offset 12
        pop     %ebp
        .cfi_def_cfa_offset 8
        pop     %ebx
        .cfi_def_cfa_offset 4
        ret
        .cfi_endproc
        .size   call_victim, . - call_victim

        .section .note.GNU-stack, "", @progbits
