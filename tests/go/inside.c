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

typedef void (*enter_fn)(struct patas__go_call *call);

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
}
