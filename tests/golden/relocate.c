/* SPDX-License-Identifier: MIT */
/*
 * Heads of functions before and after they moved, as assembly and as bytes:
 * what relocate.c makes of each kind of instruction.
 */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "isa.h"
#include "patas.h"

#define EXE      0x400000u
#define EXE_NEAR 0x500000u
#define LIB      0x7f1200401000u
#define LIB_NEAR 0x7f1210000000u
#define LIB_FAR  0x7f1300000000u /* not in reach of 32 bits */

struct pair {
    const char *promise;
    int bits;
    uint64_t from, to;
    size_t want;
    const char *before, *after; /* hexadecimal */
};

/* clang-format off */
static const struct pair pairs[] = {
    {"what names no address is copied",
     64, EXE, EXE_NEAR, 5,
     "f3 0f 1e fa " /* endbr64 */
     "55 "          /* push %rbp */
     "48 89 e5 "    /* mov %rsp, %rbp */,
     "f3 0f 1e fa "    /* endbr64 */
     "55 "             /* push %rbp */
     "e9 fb ff ef ff " /* jmp 0x400005 */},
    {"the jump back is a literal away when 32 bits don't reach",
     64, LIB, LIB_FAR, 1,
     "53 " /* push %rbx */,
     "53 "                      /* push %rbx */
     "ff 25 00 00 00 00 "       /* jmp *1f(%rip) */
     "01 10 40 00 12 7f 00 00 " /* 1: .quad 0x7f1200401001 */},
    {"nothing follows a return",
     64, EXE, EXE_NEAR, 1,
     "c3 " /* ret */,
     "c3 " /* ret */},
    {"nothing follows a jump",
     64, EXE, EXE_NEAR, 1,
     "ff e0 " /* jmp *%rax */,
     "ff e0 " /* jmp *%rax */},
    {"a trap may be stepped over",
     64, EXE, EXE_NEAR, 1,
     "0f 0b " /* ud2 */,
     "0f 0b "          /* ud2 */
     "e9 fb ff ef ff " /* jmp 0x400002 */},
    {"a system call's successor stays behind it",
     64, EXE, EXE_NEAR, 7,
     "b8 27 00 00 00 " /* mov $39, %eax */
     "0f 05 "          /* syscall */
     "c3 "             /* ret */,
     "b8 27 00 00 00 " /* mov $39, %eax */
     "0f 05 "          /* syscall */
     "e9 fb ff ef ff " /* jmp 0x400007 */},
    {"an operand is re-aimed",
     64, EXE, EXE_NEAR, 5,
     "48 8b 05 39 40 00 00 " /* mov 0x404040(%rip), %rax */,
     "48 8b 05 39 40 f0 ff " /* mov 0x404040(%rip), %rax */
     "e9 fb ff ef ff "       /* jmp 0x400007 */},
    {"an immediate behind the displacement counts",
     64, EXE, EXE_NEAR, 5,
     "83 3d 39 40 00 00 07 " /* cmpl $7, 0x404040(%rip) */,
     "83 3d 39 40 f0 ff 07 " /* cmpl $7, 0x404040(%rip) */
     "e9 fb ff ef ff "       /* jmp 0x400007 */},
    {"... of four bytes, too",
     64, EXE, EXE_NEAR, 5,
     "48 c7 05 35 40 00 00 fe ff ff ff " /* movq $-2, 0x404040(%rip) */,
     "48 c7 05 35 40 f0 ff fe ff ff ff " /* movq $-2, 0x404040(%rip) */
     "e9 fb ff ef ff "                   /* jmp 0x40000b */},
    {"a 32-bit address goes around",
     64, EXE, LIB_FAR, 5,
     "67 8b 05 "    /* .byte 0x67, 0x8b, 0x05 */
     "39 40 00 00 " /* .long 0x404040 - 0x400007 */,
     "67 8b 05 "                /* .byte 0x67, 0x8b, 0x05 */
     "39 40 40 00 "             /* .long 0x404040 - 0x7 */
     "ff 25 00 00 00 00 "       /* jmp *1f(%rip) */
     "07 00 40 00 00 00 00 00 " /* 1: .quad 0x400007 */},
    {"an EVEX operand is re-aimed",
     64, EXE, EXE_NEAR, 5,
     "62 f1 74 48 58 15 36 40 00 00 " /* vaddps 0x404040(%rip), %zmm1, %zmm2 */,
     "62 f1 74 48 58 15 36 40 f0 ff " /* vaddps 0x404040(%rip), %zmm1, %zmm2 */
     "e9 fb ff ef ff "                /* jmp 0x40000a */},
    {"lea out of reach is a constant",
     64, LIB, LIB_FAR, 5,
     "4c 8d 0d 39 30 00 00 " /* lea 0x7f1200404040(%rip), %r9 */,
     "49 b9 40 40 40 00 12 7f 00 00 " /* movabs $0x7f1200404040, %r9 */
     "ff 25 00 00 00 00 "             /* jmp *1f(%rip) */
     "07 10 40 00 12 7f 00 00 "       /* 1: .quad 0x7f1200401007 */},
    {"... of the operand's size",
     64, LIB, LIB_FAR, 5,
     "44 8d 0d 39 30 00 00 " /* lea 0x7f1200404040(%rip), %r9d */,
     "41 b9 40 40 40 00 "       /* mov $0x404040, %r9d */
     "ff 25 00 00 00 00 "       /* jmp *1f(%rip) */
     "07 10 40 00 12 7f 00 00 " /* 1: .quad 0x7f1200401007 */},
    {"... or of half of it",
     64, LIB, LIB_FAR, 5,
     "66 8d 0d 39 30 00 00 " /* lea 0x7f1200404040(%rip), %cx */,
     "66 b9 40 40 "             /* mov $0x4040, %cx */
     "ff 25 00 00 00 00 "       /* jmp *1f(%rip) */
     "07 10 40 00 12 7f 00 00 " /* 1: .quad 0x7f1200401007 */},
    {"a load out of reach brings its own register",
     64, LIB, LIB_FAR, 5,
     "8b 05 3a 30 00 00 " /* mov 0x7f1200404040(%rip), %eax */,
     "48 b8 40 40 40 00 12 7f 00 00 " /* movabs $0x7f1200404040, %rax */
     "8b 00 "                         /* mov (%rax), %eax */
     "ff 25 00 00 00 00 "             /* jmp *1f(%rip) */
     "06 10 40 00 12 7f 00 00 "       /* 1: .quad 0x7f1200401006 */},
    {"... and so does one that extends",
     64, LIB, LIB_FAR, 5,
     "48 0f bf 35 38 30 00 00 " /* movswq 0x7f1200404040(%rip), %rsi */,
     "48 be 40 40 40 00 12 7f 00 00 " /* movabs $0x7f1200404040, %rsi */
     "48 0f bf 36 "                   /* movswq (%rsi), %rsi */
     "ff 25 00 00 00 00 "             /* jmp *1f(%rip) */
     "08 10 40 00 12 7f 00 00 "       /* 1: .quad 0x7f1200401008 */},
    {"others borrow a register",
     64, LIB, LIB_FAR, 5,
     "83 05 39 30 00 00 07 " /* addl $7, 0x7f1200404040(%rip) */,
     "48 8d 64 24 80 "                /* lea -128(%rsp), %rsp */
     "57 "                            /* push %rdi */
     "48 bf 40 40 40 00 12 7f 00 00 " /* movabs $0x7f1200404040, %rdi */
     "83 07 07 "                      /* addl $7, (%rdi) */
     "5f "                            /* pop %rdi */
     "48 8d a4 24 80 00 00 00 "       /* {disp32} lea 128(%rsp), %rsp */
     "ff 25 00 00 00 00 "             /* jmp *1f(%rip) */
     "07 10 40 00 12 7f 00 00 "       /* 1: .quad 0x7f1200401007 */},
    {"... that they don't use",
     64, LIB, LIB_FAR, 5,
     "48 01 3d 39 30 00 00 " /* add %rdi, 0x7f1200404040(%rip) */,
     "48 8d 64 24 80 "                /* lea -128(%rsp), %rsp */
     "56 "                            /* push %rsi */
     "48 be 40 40 40 00 12 7f 00 00 " /* movabs $0x7f1200404040, %rsi */
     "48 01 3e "                      /* add %rdi, (%rsi) */
     "5e "                            /* pop %rsi */
     "48 8d a4 24 80 00 00 00 "       /* {disp32} lea 128(%rsp), %rsp */
     "ff 25 00 00 00 00 "             /* jmp *1f(%rip) */
     "07 10 40 00 12 7f 00 00 "       /* 1: .quad 0x7f1200401007 */},
    {"... at all",
     64, LIB, LIB_FAR, 5,
     "c5 4c 58 3d 38 30 00 00 " /* vaddps 0x7f1200404040(%rip), %ymm6, %ymm15 */,
     "48 8d 64 24 80 "                /* lea -128(%rsp), %rsp */
     "53 "                            /* push %rbx */
     "48 bb 40 40 40 00 12 7f 00 00 " /* movabs $0x7f1200404040, %rbx */
     "c5 4c 58 3b "                   /* vaddps (%rbx), %ymm6, %ymm15 */
     "5b "                            /* pop %rbx */
     "48 8d a4 24 80 00 00 00 "       /* {disp32} lea 128(%rsp), %rsp */
     "ff 25 00 00 00 00 "             /* jmp *1f(%rip) */
     "08 10 40 00 12 7f 00 00 "       /* 1: .quad 0x7f1200401008 */},
    {"push out of reach goes by rax",
     64, LIB, LIB_FAR, 5,
     "ff 35 3a 30 00 00 " /* pushq 0x7f1200404040(%rip) */,
     "50 "                            /* push %rax */
     "48 a1 40 40 40 00 12 7f 00 00 " /* movabs 0x7f1200404040, %rax */
     "48 87 04 24 "                   /* xchg %rax, (%rsp) */
     "ff 25 00 00 00 00 "             /* jmp *1f(%rip) */
     "06 10 40 00 12 7f 00 00 "       /* 1: .quad 0x7f1200401006 */},
    {"pop out of reach leaves what it popped",
     64, LIB, LIB_FAR, 5,
     "8f 05 3a 30 00 00 " /* popq 0x7f1200404040(%rip) */,
     "48 87 04 24 "                   /* xchg %rax, (%rsp) */
     "48 a3 40 40 40 00 12 7f 00 00 " /* movabs %rax, 0x7f1200404040 */
     "48 87 04 24 "                   /* xchg %rax, (%rsp) */
     "48 8d 64 24 08 "                /* lea 8(%rsp), %rsp */
     "ff 25 00 00 00 00 "             /* jmp *1f(%rip) */
     "06 10 40 00 12 7f 00 00 "       /* 1: .quad 0x7f1200401006 */},
    {"a jump through memory out of reach is a return",
     64, LIB, LIB_FAR, 5,
     "ff 25 3a 30 00 00 " /* jmp *0x7f1200404040(%rip) */,
     "48 8d 64 24 80 "                /* lea -128(%rsp), %rsp */
     "50 "                            /* push %rax */
     "48 a1 40 40 40 00 12 7f 00 00 " /* movabs 0x7f1200404040, %rax */
     "48 87 04 24 "                   /* xchg %rax, (%rsp) */
     "c2 80 00 "                      /* ret $128 */},
    {"a short branch is widened",
     64, EXE, EXE_NEAR, 2,
     "74 1e " /* jz .+0x20 */,
     "0f 84 1a 00 f0 ff " /* jz 0x400020 */
     "e9 f7 ff ef ff "    /* jmp 0x400002 */},
    {"a jump is re-aimed",
     64, EXE, EXE_NEAR, 5,
     "e9 fb 0f 00 00 " /* {disp32} jmp 0x401000 */,
     "e9 fb 0f f0 ff " /* jmp 0x401000 */},
    {"a branch out of reach jumps over a jump",
     64, LIB, LIB_FAR, 2,
     "74 1e " /* jz .+0x20 */,
     "75 06 "                   /* jnz 3f */
     "ff 25 06 00 00 00 "       /* jmp *1f(%rip) */
     "ff 25 08 00 00 00 "       /* 3: jmp *2f(%rip) */
     "20 10 40 00 12 7f 00 00 " /* 1: .quad 0x7f1200401020 */
     "02 10 40 00 12 7f 00 00 " /* 2: .quad 0x7f1200401002 */},
    {"a jump out of reach reads a literal",
     64, LIB, LIB_FAR, 2,
     "eb 1e " /* jmp .+0x20 */,
     "ff 25 00 00 00 00 "       /* jmp *1f(%rip) */
     "20 10 40 00 12 7f 00 00 " /* 1: .quad 0x7f1200401020 */},
    {"loop has a local branch",
     64, EXE, EXE_NEAR, 2,
     "e2 1e " /* loop .+0x20 */,
     "e2 02 "          /* loop 1f */
     "eb 05 "          /* jmp 2f */
     "e9 17 00 f0 ff " /* 1: jmp 0x400020 */
     "e9 f4 ff ef ff " /* 2: jmp 0x400002 */},
    {"jrcxz has one, out of reach, too",
     64, LIB, LIB_FAR, 2,
     "e3 1e " /* jrcxz .+0x20 */,
     "e3 02 "                   /* jrcxz 3f */
     "eb 06 "                   /* jmp 4f */
     "ff 25 06 00 00 00 "       /* 3: jmp *1f(%rip) */
     "ff 25 08 00 00 00 "       /* 4: jmp *2f(%rip) */
     "20 10 40 00 12 7f 00 00 " /* 1: .quad 0x7f1200401020 */
     "02 10 40 00 12 7f 00 00 " /* 2: .quad 0x7f1200401002 */},
    {"jecxz keeps its prefix",
     64, EXE, EXE_NEAR, 2,
     "67 e3 1d " /* jecxz .+0x20 */,
     "67 e3 02 "       /* jecxz 1f */
     "eb 05 "          /* jmp 2f */
     "e9 16 00 f0 ff " /* 1: jmp 0x400020 */
     "e9 f4 ff ef ff " /* 2: jmp 0x400003 */},
    {"xbegin is re-aimed",
     64, EXE, EXE_NEAR, 2,
     "c7 f8 1a 00 00 00 " /* xbegin 0x400020 */,
     "c7 f8 1a 00 f0 ff " /* xbegin 0x400020 */
     "e9 fb ff ef ff "    /* jmp 0x400006 */},
    {"xbegin out of reach aborts to a jump",
     64, LIB, LIB_FAR, 2,
     "c7 f8 1a 00 00 00 " /* xbegin 0x7f1200401020 */,
     "c7 f8 02 00 00 00 "       /* xbegin 3f */
     "eb 06 "                   /* jmp 4f */
     "ff 25 06 00 00 00 "       /* 3: jmp *1f(%rip) */
     "ff 25 08 00 00 00 "       /* 4: jmp *2f(%rip) */
     "20 10 40 00 12 7f 00 00 " /* 1: .quad 0x7f1200401020 */
     "06 10 40 00 12 7f 00 00 " /* 2: .quad 0x7f1200401006 */},
    {"a loop in the head stays in the moved code",
     64, EXE, EXE_NEAR, 5,
     "01 c1 " /* 1: add %eax, %ecx */
     "ff c9 " /* dec %ecx */
     "75 fa " /* jnz 1b */,
     "01 c1 "             /* 1: add %eax, %ecx */
     "ff c9 "             /* dec %ecx */
     "0f 85 f6 ff ff ff " /* {disp32} jnz 1b */
     "e9 f7 ff ef ff "    /* jmp 0x400006 */},
    {"... and so does a branch forward",
     64, EXE, EXE_NEAR, 5,
     "74 02 " /* jz 1f */
     "ff c9 " /* dec %ecx */
     "ff c1 " /* 1: inc %ecx */,
     "0f 84 02 00 00 00 " /* {disp32} jz 1f */
     "ff c9 "             /* dec %ecx */
     "ff c1 "             /* 1: inc %ecx */
     "e9 f7 ff ef ff "    /* jmp 0x400006 */},
    {"a call leaves the original's return address",
     64, LIB, LIB_NEAR, 5,
     "e8 fb 0f 00 00 " /* call 0x7f1200402000 */,
     "e8 01 00 00 00 "          /* call 9f */
     "cc "                      /* int3 */
     "48 8d 64 24 08 "          /* 9: lea 8(%rsp), %rsp */
     "ff 35 05 00 00 00 "       /* pushq 1f(%rip) */
     "e9 ea 1f 40 f0 "          /* jmp 0x7f1200402000 */
     "05 10 40 00 12 7f 00 00 " /* 1: .quad 0x7f1200401005 */},
    {"... which may fit an immediate",
     64, EXE, EXE_NEAR, 5,
     "e8 fb 1f 00 00 " /* call 0x402000 */,
     "e8 01 00 00 00 " /* call 9f */
     "cc "             /* int3 */
     "48 8d 64 24 08 " /* 9: lea 8(%rsp), %rsp */
     "68 05 00 40 00 " /* push $0x400005 */
     "e9 eb 1f f0 ff " /* jmp 0x402000 */},
    {"... and its target may be out of reach",
     64, LIB, LIB_FAR, 5,
     "e8 fb 0f 00 00 " /* call 0x7f1200402000 */,
     "e8 01 00 00 00 "          /* call 9f */
     "cc "                      /* int3 */
     "48 8d 64 24 08 "          /* 9: lea 8(%rsp), %rsp */
     "ff 35 06 00 00 00 "       /* pushq 1f(%rip) */
     "ff 25 08 00 00 00 "       /* jmp *2f(%rip) */
     "05 10 40 00 12 7f 00 00 " /* 1: .quad 0x7f1200401005 */
     "00 20 40 00 12 7f 00 00 " /* 2: .quad 0x7f1200402000 */},
    {"call and pop reads the original's address",
     64, EXE, EXE_NEAR, 6,
     "e8 00 00 00 00 " /* call 1f */
     "58 "             /* 1: pop %rax */,
     "68 05 00 40 00 " /* push $0x400005 */
     "e9 00 00 00 00 " /* {disp32} jmp 1f */
     "58 "             /* 1: pop %rax */
     "e9 f6 ff ef ff " /* jmp 0x400006 */},
    {"a call of the entry is recursion and stays one",
     64, EXE, EXE_NEAR, 5,
     "e8 fb ff ff ff " /* call 0x400000 */,
     "e8 01 00 00 00 " /* call 9f */
     "cc "             /* int3 */
     "48 8d 64 24 08 " /* 9: lea 8(%rsp), %rsp */
     "68 05 00 40 00 " /* push $0x400005 */
     "e9 eb ff ef ff " /* jmp 0x400000 */},
    {"the linker's padded call is one",
     64, EXE, EXE_NEAR, 8,
     "66 66 48 e8 " /* .byte 0x66, 0x66, 0x48, 0xe8 */
     "f8 1f 00 00 " /* .long 0x402000 - 0x400008 */,
     "e8 01 00 00 00 " /* call 9f */
     "cc "             /* int3 */
     "48 8d 64 24 08 " /* 9: lea 8(%rsp), %rsp */
     "68 08 00 40 00 " /* push $0x400008 */
     "e9 eb 1f f0 ff " /* jmp 0x402000 */},
    {"a call by register",
     64, EXE, EXE_NEAR, 2,
     "41 ff d3 " /* call *%r11 */,
     "e8 01 00 00 00 " /* call 9f */
     "cc "             /* int3 */
     "48 8d 64 24 08 " /* 9: lea 8(%rsp), %rsp */
     "68 03 00 40 00 " /* push $0x400003 */
     "41 ff e3 "       /* jmp *%r11 */},
    {"a call by memory",
     64, EXE, EXE_NEAR, 2,
     "ff 15 3a 40 00 00 " /* call *0x404040(%rip) */,
     "e8 01 00 00 00 "    /* call 9f */
     "cc "                /* int3 */
     "48 8d 64 24 08 "    /* 9: lea 8(%rsp), %rsp */
     "68 06 00 40 00 "    /* push $0x400006 */
     "ff 25 2a 40 f0 ff " /* jmp *0x404040(%rip) */},
    {"a call by the stack knows that it grew",
     64, EXE, EXE_NEAR, 2,
     "ff 54 24 10 " /* call *0x10(%rsp) */,
     "e8 01 00 00 00 "       /* call 9f */
     "cc "                   /* int3 */
     "48 8d 64 24 08 "       /* 9: lea 8(%rsp), %rsp */
     "68 04 00 40 00 "       /* push $0x400004 */
     "ff a4 24 18 00 00 00 " /* {disp32} jmp *0x18(%rsp) */},
    {"a call by what may be the pushed word reads it first",
     64, EXE, EXE_NEAR, 2,
     "ff 13 " /* call *(%rbx) */,
     "48 8d 64 24 80 "                   /* lea -128(%rsp), %rsp */
     "ff 33 "                            /* pushq (%rbx) */
     "c7 84 24 80 00 00 00 02 00 40 00 " /* movl $0x400002, 128(%rsp) */
     "c7 84 24 84 00 00 00 00 00 00 00 " /* movl $0, 132(%rsp) */
     "48 8d a4 24 80 00 00 00 "          /* {disp32} lea 128(%rsp), %rsp */
     "ff 64 24 80 "                      /* jmp *-128(%rsp) */},
    {"a call by the word below the stack",
     64, EXE, EXE_NEAR, 2,
     "ff 54 24 f8 " /* call *-8(%rsp) */,
     "48 8d 64 24 80 "                   /* lea -128(%rsp), %rsp */
     "ff b4 24 78 00 00 00 "             /* {disp32} pushq 120(%rsp) */
     "c7 84 24 80 00 00 00 04 00 40 00 " /* movl $0x400004, 128(%rsp) */
     "c7 84 24 84 00 00 00 00 00 00 00 " /* movl $0, 132(%rsp) */
     "48 8d a4 24 80 00 00 00 "          /* {disp32} lea 128(%rsp), %rsp */
     "ff 64 24 80 "                      /* jmp *-128(%rsp) */},
    {"i386: the stack holds the original's return address",
     32, EXE, EXE_NEAR, 5,
     "e8 fb 1f 00 00 " /* call 0x402000 */,
     "e8 01 00 00 00 " /* call 9f */
     "cc "             /* int3 */
     "8d 64 24 04 "    /* 9: lea 4(%esp), %esp */
     "68 05 00 40 00 " /* push $0x400005 */
     "e9 ec 1f f0 ff " /* jmp 0x402000 */},
    {"i386: call and pop",
     32, EXE, EXE_NEAR, 6,
     "e8 00 00 00 00 " /* call 1f */
     "5b "             /* 1: pop %ebx */,
     "68 05 00 40 00 " /* push $0x400005 */
     "e9 00 00 00 00 " /* {disp32} jmp 1f */
     "5b "             /* 1: pop %ebx */
     "e9 f6 ff ef ff " /* jmp 0x400006 */},
    {"i386: every address is in reach",
     32, 0x1000, 0xfffff000, 5,
     "e8 fb 0f 00 80 " /* call 0x80002000 */,
     "e8 01 00 00 00 " /* call 9f */
     "cc "             /* int3 */
     "8d 64 24 04 "    /* 9: lea 4(%esp), %esp */
     "68 05 10 00 00 " /* push $0x1005 */
     "e9 ec 2f 00 80 " /* jmp 0x80002000 */},
    {"i386: a call by the thread block",
     32, EXE, EXE_NEAR, 7,
     "65 ff 15 10 00 00 00 " /* call *%gs:0x10 */,
     "e8 01 00 00 00 "       /* call 9f */
     "cc "                   /* int3 */
     "8d 64 24 04 "          /* 9: lea 4(%esp), %esp */
     "68 07 00 40 00 "       /* push $0x400007 */
     "65 ff 25 10 00 00 00 " /* jmp *%gs:0x10 */},
    {"i386: a call by the stack",
     32, EXE, EXE_NEAR, 2,
     "ff 54 24 04 " /* call *4(%esp) */,
     "e8 01 00 00 00 "       /* call 9f */
     "cc "                   /* int3 */
     "8d 64 24 04 "          /* 9: lea 4(%esp), %esp */
     "68 04 00 40 00 "       /* push $0x400004 */
     "ff a4 24 08 00 00 00 " /* {disp32} jmp *8(%esp) */},
    {"i386: a call by what may be the pushed word",
     32, EXE, EXE_NEAR, 2,
     "ff 13 " /* call *(%ebx) */,
     "8d 64 24 fc "             /* lea -4(%esp), %esp */
     "ff 33 "                   /* pushl (%ebx) */
     "c7 44 24 04 02 00 40 00 " /* movl $0x400002, 4(%esp) */
     "c3 "                      /* ret */},
    {"i386: a call by register",
     32, EXE, EXE_NEAR, 2,
     "ff d2 " /* call *%edx */,
     "e8 01 00 00 00 " /* call 9f */
     "cc "             /* int3 */
     "8d 64 24 04 "    /* 9: lea 4(%esp), %esp */
     "68 02 00 40 00 " /* push $0x400002 */
     "ff e2 "          /* jmp *%edx */},
    {"i386: jcxz keeps its prefix",
     32, EXE, EXE_NEAR, 2,
     "67 e3 1d " /* jcxz .+0x20 */,
     "67 e3 02 "       /* jcxz 1f */
     "eb 05 "          /* jmp 2f */
     "e9 16 00 f0 ff " /* 1: jmp 0x400020 */
     "e9 f4 ff ef ff " /* 2: jmp 0x400003 */},
    {"i386: a system call's successor stays behind it",
     32, EXE, EXE_NEAR, 7,
     "b8 14 00 00 00 " /* mov $20, %eax */
     "cd 80 "          /* int $0x80 */,
     "b8 14 00 00 00 " /* mov $20, %eax */
     "cd 80 "          /* int $0x80 */
     "e9 fb ff ef ff " /* jmp 0x400007 */},
    {"i386: an absolute operand is copied",
     32, EXE, EXE_NEAR, 5,
     "ff 05 40 40 40 00 " /* incl 0x404040 */,
     "ff 05 40 40 40 00 " /* incl 0x404040 */
     "e9 fb ff ef ff "    /* jmp 0x400006 */},
    {"bits that would make rdi r15 go: REX.B",
     64, LIB, LIB_FAR, 5,
     "41 01 05 "    /* .byte 0x41, 0x01, 0x05 */
     "39 30 00 00 " /* .long 0x3040 - 7 */,
     "48 8d 64 24 80 "                /* lea -128(%rsp), %rsp */
     "57 "                            /* push %rdi */
     "48 bf 40 40 40 00 12 7f 00 00 " /* movabs $0x7f1200404040, %rdi */
     "40 01 07 "                      /* .byte 0x40, 0x01, 0x07 */
     "5f "                            /* pop %rdi */
     "48 8d a4 24 80 00 00 00 "       /* {disp32} lea 128(%rsp), %rsp */
     "ff 25 00 00 00 00 "             /* jmp *1f(%rip) */
     "07 10 40 00 12 7f 00 00 "       /* 1: .quad 0x7f1200401007 */},
    {"... VEX.B",
     64, LIB, LIB_FAR, 5,
     "c4 c1 78 10 05 " /* .byte 0xc4, 0xc1, 0x78, 0x10, 0x05 */
     "37 30 00 00 "    /* .long 0x3040 - 9 */,
     "48 8d 64 24 80 "                /* lea -128(%rsp), %rsp */
     "57 "                            /* push %rdi */
     "48 bf 40 40 40 00 12 7f 00 00 " /* movabs $0x7f1200404040, %rdi */
     "c4 e1 78 10 07 "                /* .byte 0xc4, 0xe1, 0x78, 0x10, 0x07 */
     "5f "                            /* pop %rdi */
     "48 8d a4 24 80 00 00 00 "       /* {disp32} lea 128(%rsp), %rsp */
     "ff 25 00 00 00 00 "             /* jmp *1f(%rip) */
     "09 10 40 00 12 7f 00 00 "       /* 1: .quad 0x7f1200401009 */},
    {"... EVEX.B",
     64, LIB, LIB_FAR, 5,
     "62 d1 7c 48 10 05 " /* .byte 0x62, 0xd1, 0x7c, 0x48, 0x10, 0x05 */
     "36 30 00 00 "       /* .long 0x3040 - 10 */,
     "48 8d 64 24 80 "                /* lea -128(%rsp), %rsp */
     "57 "                            /* push %rdi */
     "48 bf 40 40 40 00 12 7f 00 00 " /* movabs $0x7f1200404040, %rdi */
     "62 f1 7c 48 10 07 "             /* .byte 0x62, 0xf1, 0x7c, 0x48, 0x10, 0x07 */
     "5f "                            /* pop %rdi */
     "48 8d a4 24 80 00 00 00 "       /* {disp32} lea 128(%rsp), %rsp */
     "ff 25 00 00 00 00 "             /* jmp *1f(%rip) */
     "0a 10 40 00 12 7f 00 00 "       /* 1: .quad 0x7f120040100a */},
    {"... XOP.B",
     64, LIB, LIB_FAR, 5,
     "8f c8 78 c0 0d " /* .byte 0x8f, 0xc8, 0x78, 0xc0, 0x0d */
     "36 30 00 00 "    /* .long 0x3040 - 10 */
     "03 "             /* .byte 0x03 */,
     "48 8d 64 24 80 "                /* lea -128(%rsp), %rsp */
     "57 "                            /* push %rdi */
     "48 bf 40 40 40 00 12 7f 00 00 " /* movabs $0x7f1200404040, %rdi */
     "8f e8 78 c0 0f 03 "             /* .byte 0x8f, 0xe8, 0x78, 0xc0, 0x0f, 0x03 */
     "5f "                            /* pop %rdi */
     "48 8d a4 24 80 00 00 00 "       /* {disp32} lea 128(%rsp), %rsp */
     "ff 25 00 00 00 00 "             /* jmp *1f(%rip) */
     "0a 10 40 00 12 7f 00 00 "       /* 1: .quad 0x7f120040100a */},
    {"... B3 and B4 of REX2",
     64, LIB, LIB_FAR, 5,
     "d5 59 01 05 " /* .byte 0xd5, 0x59, 0x01, 0x05 */
     "38 30 00 00 " /* .long 0x3040 - 8 */,
     "48 8d 64 24 80 "                /* lea -128(%rsp), %rsp */
     "57 "                            /* push %rdi */
     "48 bf 40 40 40 00 12 7f 00 00 " /* movabs $0x7f1200404040, %rdi */
     "d5 48 01 07 "                   /* .byte 0xd5, 0x48, 0x01, 0x07 */
     "5f "                            /* pop %rdi */
     "48 8d a4 24 80 00 00 00 "       /* {disp32} lea 128(%rsp), %rsp */
     "ff 25 00 00 00 00 "             /* jmp *1f(%rip) */
     "08 10 40 00 12 7f 00 00 "       /* 1: .quad 0x7f1200401008 */},
    {"... and REX.B of 3DNow!",
     64, LIB, LIB_FAR, 5,
     "41 0f 0f 0d " /* .byte 0x41, 0x0f, 0x0f, 0x0d */
     "37 30 00 00 " /* .long 0x3040 - 9 */
     "9e "          /* .byte 0x9e */,
     "48 8d 64 24 80 "                /* lea -128(%rsp), %rsp */
     "57 "                            /* push %rdi */
     "48 bf 40 40 40 00 12 7f 00 00 " /* movabs $0x7f1200404040, %rdi */
     "40 0f 0f 0f 9e "                /* .byte 0x40, 0x0f, 0x0f, 0x0f, 0x9e */
     "5f "                            /* pop %rdi */
     "48 8d a4 24 80 00 00 00 "       /* {disp32} lea 128(%rsp), %rsp */
     "ff 25 00 00 00 00 "             /* jmp *1f(%rip) */
     "09 10 40 00 12 7f 00 00 "       /* 1: .quad 0x7f1200401009 */},
    {"a call by r12, which is coded as rsp is",
     64, EXE, EXE_NEAR, 2,
     "41 ff d4 " /* call *%r12 */,
     "e8 01 00 00 00 " /* call 9f */
     "cc "             /* int3 */
     "48 8d 64 24 08 " /* 9: lea 8(%rsp), %rsp */
     "68 03 00 40 00 " /* push $0x400003 */
     "41 ff e4 "       /* jmp *%r12 */},
    {"... and by what it points to",
     64, EXE, EXE_NEAR, 2,
     "41 ff 14 24 " /* call *(%r12) */,
     "48 8d 64 24 80 "                   /* lea -128(%rsp), %rsp */
     "41 ff 34 24 "                      /* pushq (%r12) */
     "c7 84 24 80 00 00 00 04 00 40 00 " /* movl $0x400004, 128(%rsp) */
     "c7 84 24 84 00 00 00 00 00 00 00 " /* movl $0, 132(%rsp) */
     "48 8d a4 24 80 00 00 00 "          /* {disp32} lea 128(%rsp), %rsp */
     "ff 64 24 80 "                      /* jmp *-128(%rsp) */},
    {"a call by the stack and an index",
     64, EXE, EXE_NEAR, 2,
     "ff 54 cc 10 " /* call *0x10(%rsp,%rcx,8) */,
     "48 8d 64 24 80 "                   /* lea -128(%rsp), %rsp */
     "ff b4 cc 90 00 00 00 "             /* {disp32} pushq 0x90(%rsp,%rcx,8) */
     "c7 84 24 80 00 00 00 04 00 40 00 " /* movl $0x400004, 128(%rsp) */
     "c7 84 24 84 00 00 00 00 00 00 00 " /* movl $0, 132(%rsp) */
     "48 8d a4 24 80 00 00 00 "          /* {disp32} lea 128(%rsp), %rsp */
     "ff 64 24 80 "                      /* jmp *-128(%rsp) */},
    {"... r12, which is coded as none is",
     64, EXE, EXE_NEAR, 2,
     "42 ff 54 e4 10 " /* call *0x10(%rsp,%r12,8) */,
     "48 8d 64 24 80 "                   /* lea -128(%rsp), %rsp */
     "42 ff b4 e4 90 00 00 00 "          /* {disp32} pushq 0x90(%rsp,%r12,8) */
     "c7 84 24 80 00 00 00 05 00 40 00 " /* movl $0x400005, 128(%rsp) */
     "c7 84 24 84 00 00 00 00 00 00 00 " /* movl $0, 132(%rsp) */
     "48 8d a4 24 80 00 00 00 "          /* {disp32} lea 128(%rsp), %rsp */
     "ff 64 24 80 "                      /* jmp *-128(%rsp) */},
    {"a call by an index alone",
     64, EXE, EXE_NEAR, 2,
     "ff 14 cd 40 40 40 00 " /* call *0x404040(,%rcx,8) */,
     "48 8d 64 24 80 "                   /* lea -128(%rsp), %rsp */
     "ff 34 cd 40 40 40 00 "             /* pushq 0x404040(,%rcx,8) */
     "c7 84 24 80 00 00 00 07 00 40 00 " /* movl $0x400007, 128(%rsp) */
     "c7 84 24 84 00 00 00 00 00 00 00 " /* movl $0, 132(%rsp) */
     "48 8d a4 24 80 00 00 00 "          /* {disp32} lea 128(%rsp), %rsp */
     "ff 64 24 80 "                      /* jmp *-128(%rsp) */},
    {"a call by an absolute address",
     64, EXE, EXE_NEAR, 2,
     "ff 14 25 40 40 40 00 " /* call *0x404040 */,
     "e8 01 00 00 00 "       /* call 9f */
     "cc "                   /* int3 */
     "48 8d 64 24 08 "       /* 9: lea 8(%rsp), %rsp */
     "68 07 00 40 00 "       /* push $0x400007 */
     "ff 24 25 40 40 40 00 " /* jmp *0x404040 */},
    {"... of the thread block",
     64, EXE, EXE_NEAR, 2,
     "64 ff 14 25 10 00 00 00 " /* call *%fs:0x10 */,
     "e8 01 00 00 00 "          /* call 9f */
     "cc "                      /* int3 */
     "48 8d 64 24 08 "          /* 9: lea 8(%rsp), %rsp */
     "68 08 00 40 00 "          /* push $0x400008 */
     "64 ff 24 25 10 00 00 00 " /* jmp *%fs:0x10 */},
    {"a call by another segment's stack",
     64, EXE, EXE_NEAR, 2,
     "64 ff 54 24 10 " /* call *%fs:0x10(%rsp) */,
     "48 8d 64 24 80 "                   /* lea -128(%rsp), %rsp */
     "64 ff b4 24 90 00 00 00 "          /* {disp32} pushq %fs:0x90(%rsp) */
     "c7 84 24 80 00 00 00 05 00 40 00 " /* movl $0x400005, 128(%rsp) */
     "c7 84 24 84 00 00 00 00 00 00 00 " /* movl $0, 132(%rsp) */
     "48 8d a4 24 80 00 00 00 "          /* {disp32} lea 128(%rsp), %rsp */
     "ff 64 24 80 "                      /* jmp *-128(%rsp) */},
    {"a call by an address of 32 bits",
     64, EXE, EXE_NEAR, 2,
     "67 ff 13 " /* call *(%ebx) */,
     "48 8d 64 24 80 "                   /* lea -128(%rsp), %rsp */
     "67 ff 33 "                         /* pushq (%ebx) */
     "c7 84 24 80 00 00 00 03 00 40 00 " /* movl $0x400003, 128(%rsp) */
     "c7 84 24 84 00 00 00 00 00 00 00 " /* movl $0, 132(%rsp) */
     "48 8d a4 24 80 00 00 00 "          /* {disp32} lea 128(%rsp), %rsp */
     "ff 64 24 80 "                      /* jmp *-128(%rsp) */},
    {"i386: a call by an address of 16 bits",
     32, EXE, EXE_NEAR, 2,
     "67 ff 14 " /* call *(%si) */,
     "8d 64 24 fc "             /* lea -4(%esp), %esp */
     "67 ff 34 "                /* pushl (%si) */
     "c7 44 24 04 03 00 40 00 " /* movl $0x400003, 4(%esp) */
     "c3 "                      /* ret */},
};
/* clang-format on */

static size_t read_hex(const char *text, uint8_t *bytes)
{
    size_t size = 0;

    for (char *end; *text; text = end) {
        bytes[size++] = (uint8_t)strtoul(text, &end, 16);
        while (*end == ' ')
            end++;
    }
    return size;
}

static const char *write_hex(const uint8_t *bytes, size_t size, char *text)
{
    char *end = text;

    for (size_t i = 0; i < size; i++)
        end += sprintf(end, "%02x ", bytes[i]);
    return text;
}

/* Says what is wrong with a pair; true if nothing is. */
static bool head_becomes(const struct pair *pair)
{
    const struct patas__isa *isa =
        pair->bits == 64 ? &patas__isa_x86_64 : &patas__isa_i386;
    char got[4 * PATAS__HEAD_MAX] = "refused";
    uint8_t bytes[64];
    struct patas__move move = {.from = pair->from,
                               .bytes = bytes,
                               .size = read_hex(pair->before, bytes),
                               .want = pair->want,
                               .to = pair->to};

    if (isa->relocate(&move) == PATAS_REASON_NONE)
        write_hex(move.code, move.code_size, got);
    if (!strcmp(got, pair->after))
        return true;
    printf("%s:\n  want %s\n  got  %s\n", pair->promise, pair->after, got);
    return false;
}

START_TEST(heads_become_what_was_assembled)
{
    size_t wrong = 0;

    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++)
        wrong += !head_becomes(&pairs[i]);
    ck_assert_uint_eq(wrong, 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("relocate");
    TCase *tcase = tcase_create("golden");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_set_timeout(tcase, 0);
    tcase_add_test(tcase, heads_become_what_was_assembled);
    suite_add_tcase(suite, tcase);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
