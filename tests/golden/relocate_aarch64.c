/* SPDX-License-Identifier: MIT */
/*
 * Heads of AArch64 functions before and after they moved, as assembly and as
 * words: what isa/aarch64/relocate.c makes of each kind of instruction.
 */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "isa.h"
#include "patas.h"

#define FROM 0x10401000u
#define SIDE 0x10401040u     /* everything is in reach */
#define NEAR 0x10420000u     /* further than 32 KB */
#define MID  0x14000000u     /* ... 1 MB */
#define FAR  0x50000000u     /* ... 128 MB */
#define AWAY 0x7f1200000000u /* ... 4 GB */

enum {
    WORDS = 12
};

struct pair {
    const char *promise;
    uint64_t to;
    size_t want;
    bool lose_ip;
    uint32_t before[5], after[WORDS]; /* up to a 0 */
};

/* clang-format off */
static const struct pair pairs[] = {
    {"what names no address is copied",
     NEAR, 4, false,
     {
      0xa9be7bfd, /* stp x29, x30, [sp, #-32]! */
     },
     {
      0xa9be7bfd, /* stp x29, x30, [sp, #-32]! */
      0x17ff8400, /* b 0x10401004 */
     }},
    {"... up to 16 bytes",
     NEAR, 16, false,
     {
      0xd503233f, /* paciasp */
      0xa9be7bfd, /* stp x29, x30, [sp, #-32]! */
      0x910003fd, /* mov x29, sp */
      0xf9000bf3, /* str x19, [sp, #16] */
     },
     {
      0xd503233f, /* paciasp */
      0xa9be7bfd, /* stp x29, x30, [sp, #-32]! */
      0x910003fd, /* mov x29, sp */
      0xf9000bf3, /* str x19, [sp, #16] */
      0x17ff8400, /* b 0x10401010 */
     }},
    {"a landing pad stays in front",
     NEAR, 8, false,
     {
      0xd503245f, /* bti c */
      0xa9be7bfd, /* stp x29, x30, [sp, #-32]! */
     },
     {
      0xd503245f, /* bti c */
      0xa9be7bfd, /* stp x29, x30, [sp, #-32]! */
      0x17ff8400, /* b 0x10401008 */
     }},
    {"a system call's successor stays behind it",
     NEAR, 4, false,
     {
      0xd4000001, /* svc #0 */
     },
     {
      0xd4000001, /* svc #0 */
      0x17ff8400, /* b 0x10401004 */
     }},
    {"a return needs no jump back",
     NEAR, 4, false,
     {
      0xd65f03c0, /* ret */
     },
     {
      0xd65f03c0, /* ret */
     }},
    {"nor does a jump",
     NEAR, 4, false,
     {
      0xd61f0060, /* br x3 */
     },
     {
      0xd61f0060, /* br x3 */
     }},
    {"a trap that is stepped over goes on",
     NEAR, 4, false,
     {
      0xd4200020, /* brk #1 */
     },
     {
      0xd4200020, /* brk #1 */
      0x17ff8400, /* b 0x10401004 */
     }},
    {"the jump back beyond 128 MB, x17 being lost",
     FAR, 4, true,
     {
      0xa9be7bfd, /* stp x29, x30, [sp, #-32]! */
     },
     {
      0xa9be7bfd, /* stp x29, x30, [sp, #-32]! */
      0xb0e02011, /* adrp x17, 0x10401000 */
      0x91001231, /* add x17, x17, #4 */
      0xd65f0220, /* ret x17 */
     }},
    {"... and beyond 4 GB",
     AWAY, 4, true,
     {
      0xa9be7bfd, /* stp x29, x30, [sp, #-32]! */
     },
     {
      0xa9be7bfd, /* stp x29, x30, [sp, #-32]! */
      0xd2820091, /* mov x17, #0x1004 */
      0xf2a20811, /* movk x17, #0x1040, lsl #16 */
      0xd65f0220, /* ret x17 */
     }},
    {"a jump",
     MID, 4, false,
     {
      0x14000400, /* b 0x10402000 */
     },
     {
      0x17100800, /* b 0x10402000 */
     }},
    {"a jump beyond 128 MB, x17 being lost",
     FAR, 4, true,
     {
      0x14000400, /* b 0x10402000 */
     },
     {
      0xd0e02011, /* adrp x17, 0x10402000 */
      0xd65f0220, /* ret x17 */
     }},
    {"... whose distance looks like registers",
     FAR, 4, true,
     {
      0x14011210, /* b 0x10445840 */
     },
     {
      0xb0e02231, /* adrp x17, 0x10445000 */
      0x91210231, /* add x17, x17, #0x840 */
      0xd65f0220, /* ret x17 */
     }},
    {"a jump to the entry stays in the copy",
     NEAR, 8, false,
     {
      0xd503201f, /* nop */
      0x17ffffff, /* b 0x10401000 */
     },
     {
      0xd503201f, /* nop */
      0x17ffffff, /* b 0x10420000 */
     }},
    {"a jump over a moved instruction",
     NEAR, 12, false,
     {
      0x14000002, /* b 1f */
      0xd2800020, /* mov x0, #1 */
      0xd2800041, /* 1: mov x1, #2 */
     },
     {
      0x14000002, /* b 1f */
      0xd2800020, /* mov x0, #1 */
      0xd2800041, /* 1: mov x1, #2 */
      0x17ff8400, /* b 0x1040100c */
     }},
    {"a call returns to the original",
     NEAR, 4, false,
     {
      0x94000400, /* bl 0x10402000 */
     },
     {
      0x10f0803e, /* adr x30, 0x10401004 */
      0x17ff87ff, /* b 0x10402000 */
     }},
    {"... from beyond 1 MB",
     MID, 4, false,
     {
      0x94000400, /* bl 0x10402000 */
     },
     {
      0xb0fe201e, /* adrp x30, 0x10401000 */
      0x910013de, /* add x30, x30, #4 */
      0x171007fe, /* b 0x10402000 */
     }},
    {"... from beyond 4 GB",
     AWAY, 4, true,
     {
      0x94000400, /* bl 0x10402000 */
     },
     {
      0xd282009e, /* mov x30, #0x1004 */
      0xf2a2081e, /* movk x30, #0x1040, lsl #16 */
      0xd2840011, /* mov x17, #0x2000 */
      0xf2a20811, /* movk x17, #0x1040, lsl #16 */
      0xd65f0220, /* ret x17 */
     }},
    {"a call of the entry is recursion",
     NEAR, 4, false,
     {
      0x94000000, /* bl 0x10401000 */
     },
     {
      0x10f0803e, /* adr x30, 0x10401004 */
      0x17ff83ff, /* b 0x10401000 */
     }},
    {"a call that reads the PC",
     NEAR, 8, false,
     {
      0x94000001, /* bl 1f */
      0xaa1e03e0, /* 1: mov x0, x30 */
     },
     {
      0x10f0803e, /* adr x30, 0x10401004 */
      0x14000001, /* b 1f */
      0xaa1e03e0, /* 1: mov x0, x30 */
      0x17ff83ff, /* b 0x10401008 */
     }},
    {"a call by pointer",
     NEAR, 4, false,
     {
      0xd63f0100, /* blr x8 */
     },
     {
      0x10f0803e, /* adr x30, 0x10401004 */
      0xd61f0100, /* br x8 */
     }},
    {"... an authenticated one",
     NEAR, 4, false,
     {
      0xd73f0909, /* blraa x8, x9 */
     },
     {
      0x10f0803e, /* adr x30, 0x10401004 */
      0xd71f0909, /* braa x8, x9 */
     }},
    {"... with zero",
     NEAR, 4, false,
     {
      0xd63f0d1f, /* blrabz x8 */
     },
     {
      0x10f0803e, /* adr x30, 0x10401004 */
      0xd61f0d1f, /* brabz x8 */
     }},
    {"a condition",
     NEAR, 4, false,
     {
      0x54000801, /* b.ne 0x10401100 */
     },
     {
      0x54f08801, /* b.ne 0x10401100 */
      0x17ff8400, /* b 0x10401004 */
     }},
    {"... beyond 1 MB: the opposite around a jump",
     MID, 4, false,
     {
      0x54000801, /* b.ne 0x10401100 */
     },
     {
      0x54000040, /* b.eq 1f */
      0x1710043f, /* b 0x10401100 */
      0x171003ff, /* 1: b 0x10401004 */
     }},
    {"a hinted one",
     NEAR, 4, false,
     {
      0x54000818, /* bc.hi 0x10401100 */
     },
     {
      0x54f08818, /* bc.hi 0x10401100 */
      0x17ff8400, /* b 0x10401004 */
     }},
    {"... beyond 1 MB: the opposite around a jump",
     MID, 4, false,
     {
      0x54000818, /* bc.hi 0x10401100 */
     },
     {
      0x54000059, /* bc.ls 1f */
      0x1710043f, /* b 0x10401100 */
      0x171003ff, /* 1: b 0x10401004 */
     }},
    {"a comparison with zero",
     NEAR, 4, false,
     {
      0x34000803, /* cbz w3, 0x10401100 */
     },
     {
      0x34f08803, /* cbz w3, 0x10401100 */
      0x17ff8400, /* b 0x10401004 */
     }},
    {"... beyond 1 MB: the opposite around a jump",
     MID, 4, false,
     {
      0x34000803, /* cbz w3, 0x10401100 */
     },
     {
      0x35000043, /* cbnz w3, 1f */
      0x1710043f, /* b 0x10401100 */
      0x171003ff, /* 1: b 0x10401004 */
     }},
    {"... of 64 bits",
     NEAR, 4, false,
     {
      0xb5000803, /* cbnz x3, 0x10401100 */
     },
     {
      0xb5f08803, /* cbnz x3, 0x10401100 */
      0x17ff8400, /* b 0x10401004 */
     }},
    {"... beyond 1 MB: the opposite around a jump",
     MID, 4, false,
     {
      0xb5000803, /* cbnz x3, 0x10401100 */
     },
     {
      0xb4000043, /* cbz x3, 1f */
      0x1710043f, /* b 0x10401100 */
      0x171003ff, /* 1: b 0x10401004 */
     }},
    {"a test of a bit",
     SIDE, 4, false,
     {
      0xb6480803, /* tbz x3, #41, 0x10401100 */
     },
     {
      0xb6480603, /* tbz x3, #41, 0x10401100 */
      0x17fffff0, /* b 0x10401004 */
     }},
    {"... beyond 32 KB",
     NEAR, 4, false,
     {
      0xb6480803, /* tbz x3, #41, 0x10401100 */
     },
     {
      0xb7480043, /* tbnz x3, #41, 1f */
      0x17ff843f, /* b 0x10401100 */
      0x17ff83ff, /* 1: b 0x10401004 */
     }},
    {"... the other one",
     NEAR, 4, false,
     {
      0x37080803, /* tbnz w3, #1, 0x10401100 */
     },
     {
      0x36080043, /* tbz w3, #1, 1f */
      0x17ff843f, /* b 0x10401100 */
      0x17ff83ff, /* 1: b 0x10401004 */
     }},
    {"always, which has no opposite",
     MID, 4, false,
     {
      0x5400080e, /* b.al 0x10401100 */
     },
     {
      0x17100440, /* b 0x10401100 */
      0x17100400, /* b 0x10401004 */
     }},
    {"... and always again",
     MID, 4, false,
     {
      0x5400080f, /* b.nv 0x10401100 */
     },
     {
      0x17100440, /* b 0x10401100 */
      0x17100400, /* b 0x10401004 */
     }},
    {"a comparison of two registers",
     SIDE, 4, false,
     {
      0x74010802, /* cbgt w2, w1, 0x10401100 */
     },
     {
      0x74010602, /* cbgt w2, w1, 0x10401100 */
      0x17fffff0, /* b 0x10401004 */
     }},
    {"... beyond 1 KB: taken around a jump",
     NEAR, 4, false,
     {
      0x74010802, /* cbgt w2, w1, 0x10401100 */
     },
     {
      0x74010042, /* cbgt w2, w1, .+8 */
      0x14000002, /* b 1f */
      0x17ff843e, /* b 0x10401100 */
      0x17ff83fe, /* 1: b 0x10401004 */
     }},
    {"a condition beyond 128 MB, x17 being lost",
     FAR, 4, true,
     {
      0x54000801, /* b.ne 0x10401100 */
     },
     {
      0x54000080, /* b.eq 1f */
      0xb0e02011, /* adrp x17, 0x10401000 */
      0x91040231, /* add x17, x17, #0x100 */
      0xd65f0220, /* ret x17 */
      0xb0e02011, /* 1: adrp x17, 0x10401000 */
      0x91001231, /* add x17, x17, #4 */
      0xd65f0220, /* ret x17 */
     }},
    {"a loop in the copy",
     NEAR, 12, false,
     {
      0xc85f7c03, /* 1: ldxr x3, [x0] */
      0xc8047c01, /* stxr w4, x1, [x0] */
      0x35ffffc4, /* cbnz w4, 1b */
     },
     {
      0xc85f7c03, /* 1: ldxr x3, [x0] */
      0xc8047c01, /* stxr w4, x1, [x0] */
      0x35ffffc4, /* cbnz w4, 1b */
      0x17ff8400, /* b 0x1040100c */
     }},
    {"an address within 1 MB",
     NEAR, 4, false,
     {
      0x700011a5, /* adr x5, 0x10401237 */
     },
     {
      0x70f091a5, /* adr x5, 0x10401237 */
      0x17ff8400, /* b 0x10401004 */
     }},
    {"... beyond",
     MID, 4, false,
     {
      0x700011a5, /* adr x5, 0x10401237 */
     },
     {
      0xb0fe2005, /* adrp x5, 0x10401000 */
      0x9108dca5, /* add x5, x5, #0x237 */
      0x171003ff, /* b 0x10401004 */
     }},
    {"... beyond 4 GB",
     AWAY, 4, true,
     {
      0x700011a5, /* adr x5, 0x10401237 */
     },
     {
      0xd28246e5, /* mov x5, #0x1237 */
      0xf2a20805, /* movk x5, #0x1040, lsl #16 */
      0xd2820091, /* mov x17, #0x1004 */
      0xf2a20811, /* movk x17, #0x1040, lsl #16 */
      0xd65f0220, /* ret x17 */
     }},
    {"a page",
     MID, 4, false,
     {
      0x90000805, /* adrp x5, 0x10501000 */
     },
     {
      0xb0fe2805, /* adrp x5, 0x10501000 */
      0x17100400, /* b 0x10401004 */
     }},
    {"... within 1 MB",
     NEAR, 4, false,
     {
      0xf00003e5, /* adrp x5, 0x10480000 */
     },
     {
      0x10300005, /* adr x5, 0x10480000 */
      0x17ff8400, /* b 0x10401004 */
     }},
    {"an address that is discarded",
     NEAR, 4, false,
     {
      0x700011bf, /* adr xzr, 0x10401237 */
     },
     {
      0xd503201f, /* nop */
      0x17ff8400, /* b 0x10401004 */
     }},
    {"a literal of 32 bits",
     NEAR, 4, false,
     {
      0x18000826, /* ldr w6, 0x10401104 */
     },
     {
      0x18f08826, /* ldr w6, 0x10401104 */
      0x17ff8400, /* b 0x10401004 */
     }},
    {"... beyond 1 MB: by its own register",
     MID, 4, false,
     {
      0x18000826, /* ldr w6, 0x10401104 */
     },
     {
      0xb0fe2006, /* adrp x6, 0x10401000 */
      0x910410c6, /* add x6, x6, #0x104 */
      0xb94000c6, /* ldr w6, [x6] */
      0x171003fe, /* b 0x10401004 */
     }},
    {"... of 64 bits",
     NEAR, 4, false,
     {
      0x58000826, /* ldr x6, 0x10401104 */
     },
     {
      0x58f08826, /* ldr x6, 0x10401104 */
      0x17ff8400, /* b 0x10401004 */
     }},
    {"... beyond 1 MB: by its own register",
     MID, 4, false,
     {
      0x58000826, /* ldr x6, 0x10401104 */
     },
     {
      0xb0fe2006, /* adrp x6, 0x10401000 */
      0x910410c6, /* add x6, x6, #0x104 */
      0xf94000c6, /* ldr x6, [x6] */
      0x171003fe, /* b 0x10401004 */
     }},
    {"... sign-extended",
     NEAR, 4, false,
     {
      0x98000826, /* ldrsw x6, 0x10401104 */
     },
     {
      0x98f08826, /* ldrsw x6, 0x10401104 */
      0x17ff8400, /* b 0x10401004 */
     }},
    {"... beyond 1 MB: by its own register",
     MID, 4, false,
     {
      0x98000826, /* ldrsw x6, 0x10401104 */
     },
     {
      0xb0fe2006, /* adrp x6, 0x10401000 */
      0x910410c6, /* add x6, x6, #0x104 */
      0xb98000c6, /* ldrsw x6, [x6] */
      0x171003fe, /* b 0x10401004 */
     }},
    {"a literal of 4 SIMD bytes",
     NEAR, 4, false,
     {
      0x1c000827, /* ldr s7, 0x10401104 */
     },
     {
      0x1cf08827, /* ldr s7, 0x10401104 */
      0x17ff8400, /* b 0x10401004 */
     }},
    {"... beyond 1 MB: by x16, put back",
     MID, 4, false,
     {
      0x1c000827, /* ldr s7, 0x10401104 */
     },
     {
      0xf81f0ff0, /* str x16, [sp, #-16]! */
      0xb0fe2010, /* adrp x16, 0x10401000 */
      0x91041210, /* add x16, x16, #0x104 */
      0xbd400207, /* ldr s7, [x16] */
      0xf84107f0, /* ldr x16, [sp], #16 */
      0x171003fc, /* b 0x10401004 */
     }},
    {"... by x17, being lost",
     MID, 4, true,
     {
      0x1c000827, /* ldr s7, 0x10401104 */
     },
     {
      0xb0fe2011, /* adrp x17, 0x10401000 */
      0x91041231, /* add x17, x17, #0x104 */
      0xbd400227, /* ldr s7, [x17] */
      0x171003fe, /* b 0x10401004 */
     }},
    {"... 8",
     NEAR, 4, false,
     {
      0x5c000827, /* ldr d7, 0x10401104 */
     },
     {
      0x5cf08827, /* ldr d7, 0x10401104 */
      0x17ff8400, /* b 0x10401004 */
     }},
    {"... beyond 1 MB: by x16, put back",
     MID, 4, false,
     {
      0x5c000827, /* ldr d7, 0x10401104 */
     },
     {
      0xf81f0ff0, /* str x16, [sp, #-16]! */
      0xb0fe2010, /* adrp x16, 0x10401000 */
      0x91041210, /* add x16, x16, #0x104 */
      0xfd400207, /* ldr d7, [x16] */
      0xf84107f0, /* ldr x16, [sp], #16 */
      0x171003fc, /* b 0x10401004 */
     }},
    {"... by x17, being lost",
     MID, 4, true,
     {
      0x5c000827, /* ldr d7, 0x10401104 */
     },
     {
      0xb0fe2011, /* adrp x17, 0x10401000 */
      0x91041231, /* add x17, x17, #0x104 */
      0xfd400227, /* ldr d7, [x17] */
      0x171003fe, /* b 0x10401004 */
     }},
    {"... 16",
     NEAR, 4, false,
     {
      0x9c000827, /* ldr q7, 0x10401104 */
     },
     {
      0x9cf08827, /* ldr q7, 0x10401104 */
      0x17ff8400, /* b 0x10401004 */
     }},
    {"... beyond 1 MB: by x16, put back",
     MID, 4, false,
     {
      0x9c000827, /* ldr q7, 0x10401104 */
     },
     {
      0xf81f0ff0, /* str x16, [sp, #-16]! */
      0xb0fe2010, /* adrp x16, 0x10401000 */
      0x91041210, /* add x16, x16, #0x104 */
      0x3dc00207, /* ldr q7, [x16] */
      0xf84107f0, /* ldr x16, [sp], #16 */
      0x171003fc, /* b 0x10401004 */
     }},
    {"... by x17, being lost",
     MID, 4, true,
     {
      0x9c000827, /* ldr q7, 0x10401104 */
     },
     {
      0xb0fe2011, /* adrp x17, 0x10401000 */
      0x91041231, /* add x17, x17, #0x104 */
      0x3dc00227, /* ldr q7, [x17] */
      0x171003fe, /* b 0x10401004 */
     }},
    {"a prefetch",
     NEAR, 4, false,
     {
      0xd8000823, /* prfm pldl2strm, 0x10401104 */
     },
     {
      0xd8f08823, /* prfm pldl2strm, 0x10401104 */
      0x17ff8400, /* b 0x10401004 */
     }},
    {"... beyond 1 MB",
     MID, 4, false,
     {
      0xd8000823, /* prfm pldl2strm, 0x10401104 */
     },
     {
      0xf81f0ff0, /* str x16, [sp, #-16]! */
      0xb0fe2010, /* adrp x16, 0x10401000 */
      0x91041210, /* add x16, x16, #0x104 */
      0xf9800203, /* prfm pldl2strm, [x16] */
      0xf84107f0, /* ldr x16, [sp], #16 */
      0x171003fc, /* b 0x10401004 */
     }},
    {"a literal that is discarded is read",
     MID, 4, false,
     {
      0x5800083f, /* ldr xzr, 0x10401104 */
     },
     {
      0xf81f0ff0, /* str x16, [sp, #-16]! */
      0xb0fe2010, /* adrp x16, 0x10401000 */
      0x91041210, /* add x16, x16, #0x104 */
      0xf940021f, /* ldr xzr, [x16] */
      0xf84107f0, /* ldr x16, [sp], #16 */
      0x171003fc, /* b 0x10401004 */
     }},
    {"what has to do with x17 keeps both",
     MID, 8, true,
     {
      0x91000631, /* add x17, x17, #1 */
      0x5c000807, /* ldr d7, 0x10401104 */
     },
     {
      0x91000631, /* add x17, x17, #1 */
      0xf81f0ff0, /* str x16, [sp, #-16]! */
      0xb0fe2010, /* adrp x16, 0x10401000 */
      0x91041210, /* add x16, x16, #0x104 */
      0xfd400207, /* ldr d7, [x16] */
      0xf84107f0, /* ldr x16, [sp], #16 */
      0x171003fc, /* b 0x10401008 */
     }},
};
/* clang-format on */

static size_t count_words(const uint32_t *words)
{
    size_t count = 0;

    while (words[count])
        count++;
    return count;
}

static void print_words(const char *what, const uint32_t *words, size_t count)
{
    printf("  %s", what);
    for (size_t i = 0; i < count; i++)
        printf(" %08x", words[i]);
    printf("\n");
}

/* Says what is wrong with a pair; true if nothing is. */
static bool head_becomes(const struct pair *pair)
{
    size_t before = count_words(pair->before);
    size_t after = count_words(pair->after);
    struct patas__move move = {.from = FROM,
                               .bytes = (const uint8_t *)pair->before,
                               .size = 4 * before,
                               .want = pair->want,
                               .to = pair->to,
                               .lose_ip = pair->lose_ip};
    uint32_t got[PATAS__HEAD_MAX / 4] = {0};
    unsigned reason = patas__isa_aarch64.relocate(&move);

    if (reason == PATAS_REASON_NONE)
        memcpy(got, move.code, move.code_size);
    if (move.code_size == 4 * after && !memcmp(got, pair->after, 4 * after))
        return true;
    printf("%s: reason %u\n", pair->promise, reason);
    print_words("want", pair->after, after);
    print_words("got ", got, move.code_size / 4);
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
    Suite *suite = suite_create("relocate, AArch64");
    TCase *tcase = tcase_create("golden");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_add_test(tcase, heads_become_what_was_assembled);
    suite_add_tcase(suite, tcase);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
