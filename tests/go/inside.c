/* SPDX-License-Identifier: MIT */
/*
 * Runs inside of a Go program, once, where main.main is about to begin: has
 * the engine replace every function by one that counts and goes on to the
 * original, and lets the program go on.
 *
 * One flat image without relocations; it calls nobody but the engine.
 */
#include "inside.h"

#include "../../golang/blob.h"
#include "../../golang/prologue.h"
#include "../../golang/thunk.h"

#ifdef __x86_64__
/* On a stack of its own, since main.main's has little room. All registers
 * come back; Go wants xmm15 to be zero. */
__asm__(".section .text.entry,\"ax\"\n"
        ".globl inside_entry\n"
        "inside_entry:\n"
        "    push %rax\n    push %rbx\n    push %rcx\n    push %rdx\n"
        "    push %rsi\n    push %rdi\n    push %rbp\n    push %r8\n"
        "    push %r9\n    push %r10\n    push %r11\n    push %r12\n"
        "    push %r13\n    push %r14\n    push %r15\n    pushf\n"
        "    cld\n"
        "    mov %rsp, %rbx\n"
        "    lea inside_data(%rip), %rdi\n"
        "    lea inside_stack(%rip), %rsp\n"
        "    call inside_run\n"
        "    mov %rbx, %rsp\n"
        "    xorps %xmm15, %xmm15\n"
        "    popf\n    pop %r15\n    pop %r14\n    pop %r13\n    pop %r12\n"
        "    pop %r11\n    pop %r10\n    pop %r9\n    pop %r8\n"
        "    pop %rbp\n    pop %rdi\n    pop %rsi\n    pop %rdx\n"
        "    pop %rcx\n    pop %rbx\n    pop %rax\n"
        "    jmp *inside_data(%rip)\n" /* .main */
        ".text\n");

static long inside_system(long number, long a, long b, long c, long d)
{
    register long r10 __asm__("r10") = d;
    __asm__ volatile("syscall"
                     : "+a"(number)
                     : "D"(a), "S"(b), "d"(c), "r"(r10)
                     : "rcx", "r11", "memory");
    return number;
}

enum {
    OPEN = 2,
    CLOSE = 3,
    PWRITE = 18
};
#elif defined(__aarch64__)
/* The same. What C keeps holds what Go's functions want kept, but for x28, the
 * goroutine, which signal handlers look at: this file is compiled so that it
 * stays. */
__asm__(".section .text.entry,\"ax\"\n"
        ".globl inside_entry\n"
        "inside_entry:\n"
        "    mov x19, sp\n"
        "    mov x20, x26\n"
        "    mov x21, x29\n"
        "    mov x22, x30\n"
        "    adr x0, inside_data\n"
        "    adr x1, inside_stack\n"
        "    mov sp, x1\n"
        "    bl inside_run\n"
        "    mov sp, x19\n"
        "    mov x26, x20\n"
        "    mov x29, x21\n"
        "    mov x30, x22\n"
        "    ldr x16, inside_data\n" /* .main */
        "    br x16\n"
        /* In place of runtime.exit: its argument is on the stack. */
        "inside_exit:\n"
        "    ldr w19, [sp, #8]\n"
        "    adr x0, inside_data\n"
        "    adr x1, inside_stack\n"
        "    mov sp, x1\n"
        "    bl inside_finish\n"
        "    mov w0, w19\n"
        "    mov x8, #94\n" /* exit_group */
        "    svc #0\n"
        ".text\n");

static long inside_system(long number, long a, long b, long c, long d)
{
    register long x8 __asm__("x8") = number;
    register long x0 __asm__("x0") = a;
    register long x1 __asm__("x1") = b;
    register long x2 __asm__("x2") = c;
    register long x3 __asm__("x3") = d;
    __asm__ volatile("svc #0"
                     : "+r"(x0)
                     : "r"(x8), "r"(x1), "r"(x2), "r"(x3)
                     : "memory");
    return x0;
}
#else
/* The same; where to go on is where `ret` finds it. */
__asm__(".section .text.entry,\"ax\"\n"
        ".globl inside_entry\n"
        "inside_entry:\n"
        "    push %eax\n"
        "    pusha\n    pushf\n"
        "    cld\n"
        "    call 1f\n"
        "1:  pop %ebx\n"
        "    lea inside_data-1b(%ebx), %eax\n"
        "    mov (%eax), %ecx\n" /* .main */
        "    mov %ecx, 36(%esp)\n"
        "    mov %esp, %esi\n"
        "    lea inside_stack-1b(%ebx), %esp\n"
        "    push %eax\n    push %eax\n    push %eax\n    push %eax\n"
        "    call inside_run\n"
        "    mov %esi, %esp\n"
        "    popf\n    popa\n"
        "    ret\n"
        ".text\n");

static long inside_system(long number, long a, long b, long c, long d)
{
    __asm__ volatile("int $0x80"
                     : "+a"(number)
                     : "b"(a), "c"(b), "d"(c), "S"(d), "D"(0L)
                     : "memory");
    return number;
}

enum {
    OPEN = 5,
    CLOSE = 6,
    PWRITE = 181 /* pwrite64, whose offset is two words */
};
#endif

#ifdef __aarch64__
/* An emulator has to see it, and no emulated store sees one to /proc/self/mem.
 */
static void write_code(uint64_t at, const uint8_t *bytes, long size)
{
    enum {
        MPROTECT = 226,
        PAGE = 4096,
        READ_EXEC = 5,
        READ_WRITE_EXEC = 7
    };
    uint64_t page = at & ~(uint64_t)(PAGE - 1);
    inside_system(MPROTECT, (long)page, 2 * PAGE, READ_WRITE_EXEC, 0);
    for (long i = 0; i < size; i++)
        ((volatile uint8_t *)(uintptr_t)at)[i] = bytes[i];
    inside_system(MPROTECT, (long)page, 2 * PAGE, READ_EXEC, 0);
    __builtin___clear_cache((char *)(uintptr_t)at,
                            (char *)(uintptr_t)at + size);
}
#else
/* Past the protection of the page, which stays as it is. */
static void write_code(uint64_t at, const uint8_t *bytes, long size)
{
    enum {
        READ_WRITE = 2
    };
    static const char path[] = "/proc/self/mem";
    long fd = inside_system(OPEN, (long)path, READ_WRITE, 0, 0);
    inside_system(PWRITE, fd, (long)bytes, size, (long)at);
    inside_system(CLOSE, fd, 0, 0, 0);
}
#endif

typedef void (*enter_fn)(struct patas__go_call *call);

#ifdef __aarch64__
static enum inside_way way_back(uintptr_t again, uintptr_t last, uintptr_t head)
{
    uint32_t word = patas__load32((const uint8_t *)again);
    int64_t away = (int64_t)((uint64_t)(word & 0x3ffffff) << 38) >> 36;
    (void)last;
    return word >> 26 == 5 && again + (uintptr_t)away == head ? INSIDE_JUMPS
                                                              : INSIDE_LOST;
}
#else
static uintptr_t target_of(uintptr_t jump)
{
    int32_t away = (int32_t)patas__load32((const uint8_t *)jump + 1);
    return jump + 5 + (uintptr_t)(intptr_t)away;
}

/* A jump to `head`, or to another one that leads there. */
static bool leads_to(uintptr_t at, uintptr_t head)
{
    if (*(const uint8_t *)at != 0xe9)
        return false;
    uintptr_t to = target_of(at);
    const uint8_t *bytes = (const uint8_t *)to;
    return to == head || (bytes[0] == 0xe9 && target_of(to) == head) ||
           (bytes[0] == 0xff && bytes[1] == 0x25 && !patas__load32(bytes + 2) &&
            patas__load64(bytes + 6) == head);
}

static enum inside_way way_back(uintptr_t again, uintptr_t last, uintptr_t head)
{
    uint8_t first = *(const uint8_t *)again;
    if (leads_to(again, head))
        return INSIDE_JUMPS;
    if (*(const uint8_t *)last == 0xe9)
        return leads_to(target_of(last) + (again - last), head) ? INSIDE_MOVES
                                                                : INSIDE_LOST;
    return first == 0xe9 || first == 0xeb ? INSIDE_LOST : INSIDE_TRAPS;
}
#endif

static void count_calls(enter_fn enter, struct patas__go_call *call,
                        struct inside_function *function)
{
    /* Of its calls, none gets as far as to be below zero. */
    uint64_t values[PATAS__GO_FIELDS];
    for (unsigned i = 0; i < PATAS__GO_FIELDS; i++)
        values[i] = 0;
    for (unsigned i = 0; i < 8; i++)
        call->in[i] = 0;
    call->op = PATAS__GO_SHAPE;
    call->in[0] = function->entry;
    enter(call);
    uintptr_t again = (uintptr_t)call->out[4], last = (uintptr_t)call->out[7];
    function->checked = !call->status && call->out[1] == PATAS__GO_CHECKED;
    call->op = PATAS__GO_REPLACE;
    call->in[1] = (uintptr_t)values; /* never called */
    call->in[3] = PATAS__GO_TIMES;
    call->in[4] = (uintptr_t)values;
    enter(call);
    function->refusal = (uint32_t)call->refusal;
    function->status = (uint32_t)call->status;
    /* Some of the functions in assembly have a check, too. */
    function->checked &= call->refusal != PATAS__GO_ASM;
    if (call->status)
        return;
    function->counter = call->out[4];
    if (function->checked)
        function->way = way_back(again, last, (uintptr_t)call->out[5]);
}

#ifdef __aarch64__
__attribute__((visibility("hidden"))) extern const char inside_exit[];

/* Nobody else sees the program's end, and its memory then. */
static void lead_exit(const struct inside *inside)
{
    uint8_t jump[INSIDE_JUMP];
    inside_jump(jump, inside->exit, (uintptr_t)inside_exit);
    write_code(inside->exit, jump, sizeof jump);
}

__attribute__((used)) void inside_finish(struct inside *inside)
{
    struct inside_function *functions =
        (struct inside_function *)(uintptr_t)inside->functions;
    for (uint64_t i = 0; i < inside->count; i++)
        if (functions[i].counter)
            functions[i].calls = *(uint64_t *)(uintptr_t)functions[i].counter;
}
#else
static void lead_exit(const struct inside *inside)
{
    (void)inside;
}
#endif

__attribute__((used)) void inside_run(struct inside *inside)
{
    static struct patas__go_call call;
    enter_fn enter = (enter_fn)(uintptr_t)inside->enter;
    struct inside_function *functions =
        (struct inside_function *)(uintptr_t)inside->functions;
    write_code(inside->main, inside->saved, INSIDE_JUMP);
    call.op = PATAS__GO_START;
    enter(&call);
    if (call.status)
        return;
    inside->layout = call.out[0];
    for (uint64_t pc = call.out[2]; inside->count < INSIDE_FUNCTIONS;) {
        call.op = PATAS__GO_FUNC;
        call.in[0] = pc;
        enter(&call);
        if (call.status)
            break;
        struct inside_function *function = &functions[inside->count++];
        function->entry = call.out[0];
        pc = function->end = call.out[1];
        count_calls(enter, &call, function);
    }
    inside->done = INSIDE_MAGIC;
    lead_exit(inside);
}
