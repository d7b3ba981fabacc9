/* SPDX-License-Identifier: MIT */
/*
 * bench/install [N...] - patches and restores a second, and what they cost.
 *
 * For each N a library of N functions is generated (prologues as compilers
 * make them, .eh_frame, 16-byte alignment), built by cc, and loaded by children
 * that patch all of it one by one, or in one batch. Medians of several.
 */
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bench.h"
#include "peers/peer.h"

#if defined(__i386__)
/* Each is entered with 64 bytes' address on the stack, and answers in eax. What
 * has data of its own asks a thunk for its address, or calls and pops. */
static const char *const shapes[] = {
    "endbr32\n push %ebp\n mov %esp,%ebp\n sub $24,%esp\n mov 8(%ebp),%eax\n"
    " mov (%eax),%eax\n leave\n ret\n",
    "push %ebx\n mov 8(%esp),%ebx\n mov (%ebx),%eax\n add $3,%eax\n"
    " pop %ebx\n ret\n",
    "push %edi\n push %esi\n push %ebx\n mov 16(%esp),%ebx\n"
    " mov (%ebx),%ebx\n lea (%ebx,%ebx),%eax\n pop %ebx\n pop %esi\n"
    " pop %edi\n ret\n",
    "sub $28,%esp\n mov %gs:20,%eax\n mov %eax,12(%esp)\n mov 32(%esp),%eax\n"
    " mov (%eax),%eax\n mov 12(%esp),%edx\n sub %gs:20,%edx\n add $28,%esp\n"
    " ret\n",
    "mov 4(%esp),%eax\n mov (%eax),%eax\n test %eax,%eax\n je 1f\n"
    " add $7,%eax\n1: ret\n",
    "mov 4(%esp),%edx\n xor %eax,%eax\n cmpl $9,(%edx)\n seta %al\n ret\n",
    "mov 4(%esp),%eax\n test %eax,%eax\n je 1f\n mov 8(%eax),%eax\n1: ret\n",
    "call pc_of_ecx\n add $_GLOBAL_OFFSET_TABLE_,%ecx\n mov 4(%esp),%edx\n"
    " mov shared@GOTOFF(%ecx),%eax\n add (%edx),%eax\n ret\n",
    "mov 4(%esp),%eax\n add $8,%eax\n ret\n",
    "mov 4(%esp),%eax\n cmpl $16,(%eax)\n ja 1f\n mov $1,%eax\n ret\n"
    "1: mov $2,%eax\n ret\n",
    "mov $7,%eax\n ret\n",
    "push %ebp\n push %edi\n push %esi\n push %ebx\n sub $44,%esp\n"
    " mov 64(%esp),%ebx\n mov (%ebx),%eax\n imul $5,%eax,%eax\n"
    " xor $0x1234,%eax\n add $44,%esp\n pop %ebx\n pop %esi\n pop %edi\n"
    " pop %ebp\n ret\n",
    "push %ebx\n mov 8(%esp),%edx\n mov (%edx),%eax\n shl $2,%eax\n"
    " add 8(%edx),%eax\n xor 16(%edx),%eax\n pop %ebx\n ret\n",
    "call 1f\n1: pop %eax\n add $_GLOBAL_OFFSET_TABLE_+(.-1b),%eax\n"
    " mov 4(%esp),%edx\n lea shared@GOTOFF(%eax),%eax\n cmp %eax,%edx\n"
    " je 2f\n mov 24(%edx),%eax\n2: ret\n",
};
#define SHAPES_NEED "pc_of_ecx: mov (%esp),%ecx\n ret\n"
#define ASSEMBLE    "cc -m32"
#else
/* Each is entered with rdi pointing to 64 bytes, and answers in rax. */
static const char *const shapes[] = {
    "endbr64\n push %rbp\n mov %rsp,%rbp\n sub $32,%rsp\n mov %rdi,-8(%rbp)\n"
    " mov -8(%rbp),%rax\n mov (%rax),%rax\n leave\n ret\n",
    "push %rbx\n mov %rdi,%rbx\n mov (%rbx),%rax\n add $3,%rax\n pop %rbx\n"
    " ret\n",
    "push %r12\n push %rbp\n push %rbx\n mov (%rdi),%rbx\n lea "
    "(%rbx,%rbx),%rax\n"
    " pop %rbx\n pop %rbp\n pop %r12\n ret\n",
    "sub $24,%rsp\n mov %fs:40,%rax\n mov %rax,8(%rsp)\n mov (%rdi),%rax\n"
    " mov 8(%rsp),%rdx\n sub %fs:40,%rdx\n add $24,%rsp\n ret\n",
    "mov (%rdi),%rax\n test %rax,%rax\n je 1f\n add $7,%rax\n1: ret\n",
    "xor %eax,%eax\n cmpq $9,(%rdi)\n seta %al\n ret\n",
    "test %rdi,%rdi\n je 1f\n mov 8(%rdi),%rax\n ret\n1: xor %eax,%eax\n ret\n",
    "mov shared(%rip),%rax\n add (%rdi),%rax\n ret\n",
    "lea 8(%rdi),%rax\n ret\n",
    "cmpq $16,(%rdi)\n ja 1f\n mov $1,%eax\n ret\n1: mov $2,%eax\n ret\n",
    "mov $7,%eax\n ret\n",
    "push %r15\n push %r14\n push %r13\n push %r12\n push %rbp\n push %rbx\n"
    " sub $56,%rsp\n mov %rdi,%rbx\n mov (%rbx),%rax\n imul $5,%rax,%rax\n"
    " xor $0x1234,%rax\n add $56,%rsp\n pop %rbx\n pop %rbp\n pop %r12\n"
    " pop %r13\n pop %r14\n pop %r15\n ret\n",
    "mov %rdi,%rdx\n mov (%rdx),%rax\n shl $2,%rax\n add 8(%rdx),%rax\n"
    " xor 16(%rdx),%rax\n ret\n",
    "cmp shared(%rip),%rdi\n je 1f\n mov 24(%rdi),%rax\n1: ret\n",
};
#define SHAPES_NEED ""
#define ASSEMBLE    "cc"
#endif
enum {
    SHAPES = sizeof shapes / sizeof *shapes,
    ROUNDS = 5
};

struct figures {
    double install, restore;                /* a second */
    double bytes, bytes_after, copied_text; /* a patch */
    long mappings;
    size_t done, wrong;
    char trouble[256];
    size_t by_form[PATAS_FORM_COUNT];
};

struct job {
    char library[300];
    size_t count;
    bool batch, peer;
    struct figures *figures;
};

static bool generate(const char *directory, size_t count, char library[300])
{
    char source[300], command[1000];
    uint64_t seed = 42;
    snprintf(source, sizeof source, "%s/functions.s", directory);
    snprintf(library, 300, "%s/patas-bench-functions.so", directory);
    FILE *file = fopen(source, "we");
    if (!file)
        return false;
    fprintf(file, ".text\n");
    for (size_t i = 0; i < count; i++)
        fprintf(file,
                ".p2align 4\n.globl f%zu\n.type f%zu,@function\n"
                "f%zu: .cfi_startproc\n %s .cfi_endproc\n.size f%zu,.-f%zu\n",
                i, i, i, shapes[bench_random(&seed) % SHAPES], i, i);
    fprintf(file, "%s", SHAPES_NEED);
    fprintf(file, ".section .rodata\n.globl table\n.p2align 3\ntable:\n");
    for (size_t i = 0; i < count; i++)
        fprintf(file, ".long f%zu - table\n", i);
    fprintf(file, ".data\n.local shared\n.comm shared,64,16\n"
                  ".section .note.GNU-stack,\"\",@progbits\n");
    if (fclose(file))
        return false;
    snprintf(command, sizeof command,
             ASSEMBLE
             " -shared -nostdlib -Wl,-Bsymbolic -Wl,--eh-frame-hdr -o '%s' "
             "'%s'",
             library, source);
    bool built = system(command) == 0;
    unlink(source);
    return built;
}

static long fake(const long *argument)
{
    (void)argument;
    return -77;
}

struct work {
    const struct job *job;
    patas_fn *functions;
    patas_patch **patches;
    size_t private_before, private_all_before, mappings_before;
};

static void load(struct work *work)
{
    void *library = dlopen(work->job->library, RTLD_NOW | RTLD_LOCAL);
    if (!library)
        bench_die(dlerror());
    const int32_t *table = dlsym(library, "table");
    size_t count = work->job->count;
    work->functions = malloc(count * sizeof *work->functions);
    work->patches = malloc(count * sizeof(patas_patch *));
    for (size_t i = 0; i < count; i++) {
        work->functions[i] =
            (patas_fn)((uintptr_t)table + (uintptr_t)(intptr_t)table[i]);
        work->patches[i] = NULL;
    }
}

static void note_error(struct figures *figures, const char *what,
                       const patas_error *error)
{
    char text[200];
    if (figures->wrong++)
        return;
    patas_error_text(error, text, sizeof text);
    snprintf(figures->trouble, sizeof figures->trouble, "%s: %s", what, text);
}

static void install(struct work *work)
{
    struct figures *figures = work->job->figures;
    patas_error error = {0};
    size_t count = work->job->count;
    patas_batch *batch = work->job->batch ? patas_batch_begin(&error) : NULL;
    for (size_t i = 0; i < count; i++) {
        patas_status status =
            batch
                ? patas_batch_replace(batch, work->functions[i], (patas_fn)fake,
                                      &work->patches[i], &error)
                : patas_replace(work->functions[i], (patas_fn)fake,
                                &work->patches[i], &error);
        if (status != PATAS_OK)
            note_error(figures, "replace", &error);
        else
            figures->done++;
    }
    if (batch && patas_batch_commit(batch, &error) != PATAS_OK)
        note_error(figures, "commit", &error);
}

static void uninstall(struct work *work)
{
    struct figures *figures = work->job->figures;
    patas_error error = {0};
    if (work->job->batch) {
        if (patas_restore_all(&error) != PATAS_OK)
            note_error(figures, "restore_all", &error);
        return;
    }
    for (size_t i = 0; i < work->job->count; i++)
        if (work->patches[i] &&
            patas_restore(work->patches[i], &error) != PATAS_OK)
            note_error(figures, "restore", &error);
}

static void check(struct work *work, bool patched)
{
    long argument[8] = {5, 6, 7, 8};
    argument[0] = (long)(intptr_t)argument;
    for (size_t i = 0; i < work->job->count; i++) {
        long (*call)(long *) = (long (*)(long *))work->functions[i];
        if ((call(argument) == -77) != patched)
            work->job->figures->wrong++;
    }
}

static void note_memory(struct work *work, double *bytes)
{
    size_t count = work->job->count;
    size_t now = bench_private_bytes("patas-bench-functions");
    size_t all = bench_private_bytes(NULL);
    *bytes = ((double)now - (double)work->private_before) / (double)count;
    work->job->figures->copied_text =
        ((double)all - (double)now -
         ((double)work->private_all_before - (double)work->private_before)) /
        (double)count;
}

static void measure(void *argument)
{
    const struct job *job = argument;
    struct figures *figures = job->figures;
    struct work work = {.job = job};
    patas_stats stats = {.size = sizeof stats};
    double count = (double)job->count;
    load(&work);
    check(&work, false);
    (void)bench_private_bytes(NULL);
    work.mappings_before = bench_mappings();
    work.private_before = bench_private_bytes("patas-bench-functions");
    work.private_all_before = bench_private_bytes(NULL);
    double begin = bench_now();
    install(&work);
    figures->install = count / (bench_now() - begin);
    note_memory(&work, &figures->bytes);
    figures->mappings = (long)bench_mappings() - (long)work.mappings_before;
    if (patas_stats_read(&stats) == PATAS_OK)
        memcpy(figures->by_form, stats.by_form, sizeof stats.by_form);
    check(&work, true);
    begin = bench_now();
    uninstall(&work);
    figures->restore = count / (bench_now() - begin);
    double copied = figures->copied_text;
    note_memory(&work, &figures->bytes_after);
    figures->copied_text = copied;
    check(&work, false);
}

static void measure_peer(void *argument)
{
    const struct job *job = argument;
    struct figures *figures = job->figures;
    struct work work = {.job = job};
    peer_replace_fn replace = peer_load();
    if (!replace)
        exit(3);
    load(&work);
    check(&work, false);
    work.mappings_before = bench_mappings();
    work.private_before = bench_private_bytes("patas-bench-functions");
    work.private_all_before = bench_private_bytes(NULL);
    double begin = bench_now();
    for (size_t i = 0; i < job->count; i++) {
        void *original;
        figures->done += replace((void *)(uintptr_t)work.functions[i],
                                 (void *)(uintptr_t)fake, &original) == 0;
    }
    figures->install = (double)job->count / (bench_now() - begin);
    note_memory(&work, &figures->bytes);
    figures->mappings = (long)bench_mappings() - (long)work.mappings_before;
    begin = bench_now();
    peer_restore();
    figures->restore = (double)job->count / (bench_now() - begin);
    note_memory(&work, &figures->bytes_after);
}

/* The median of each figure by itself. */
static struct figures median(struct figures *all, size_t rounds)
{
    struct figures result = all[0];
    double values[ROUNDS];
#define MEDIAN(field)                   \
    for (size_t i = 0; i < rounds; i++) \
        values[i] = all[i].field;       \
    result.field = bench_median(values, rounds);
    MEDIAN(install)
    MEDIAN(restore)
    MEDIAN(bytes)
    MEDIAN(bytes_after)
    MEDIAN(copied_text)
#undef MEDIAN
    for (size_t i = 1; i < rounds; i++)
        result.wrong += all[i].wrong;
    return result;
}

static void print(const char *name, size_t count, const char *mode,
                  const struct figures *f)
{
    printf("%-7s %7zu %-6s %12.0f %12.0f %8.0f (%4.0f) %8.0f %6ld  ", name,
           count, mode, f->install, f->restore, f->bytes, f->bytes_after,
           f->copied_text, f->mappings);
    for (int i = 1; i < PATAS_FORM_COUNT; i++)
        if (f->by_form[i])
            printf("%zu %s  ", f->by_form[i], patas_form_name((patas_form)i));
    if (f->done != count)
        printf("(%zu done) ", f->done);
    printf("\n");
    if (f->wrong)
        printf("  WRONG: %zu %s\n", f->wrong, f->trouble);
    fflush(stdout);
}

static bool run(struct job *job, const char *name, size_t rounds)
{
    struct figures *all = bench_shared(ROUNDS * sizeof *all);
    for (size_t i = 0; i < rounds; i++) {
        job->figures = &all[i];
        struct bench_end end =
            bench_child(job->peer ? measure_peer : measure, job, 1200);
        char text[64];
        if (bench_ended_well(&end))
            continue;
        printf("%-7s %7zu %-6s %s\n", name, job->count,
               job->batch ? "batch" : "single",
               job->peer && end.exited && end.status == 3
                   ? peer_how_to_install()
                   : bench_end_text(&end, text));
        return job->peer;
    }
    struct figures middle = median(all, rounds);
    print(name, job->count, job->batch ? "batch" : "single", &middle);
    return middle.wrong == 0;
}

static bool run_size(const char *directory, size_t count, bool peer)
{
    struct job job = {.count = count};
    bool good = true;
    size_t rounds = count > 50000 ? 3 : ROUNDS;
    if (!generate(directory, count, job.library)) {
        printf("%zu functions can't be generated: it takes cc\n", count);
        return false;
    }
    for (int batch = 0; batch < 2; batch++) {
        job.batch = batch;
        good &= run(&job, "patas", batch || count < 50000 ? rounds : 1);
    }
    job.batch = false;
    job.peer = true;
    if (peer)
        good &= run(&job, "retour", count > 50000 ? 1 : 3);
    unlink(job.library);
    return good;
}

/* For a peer that works from outside: says where the functions are, and then
 * answers to `check`, `memory` and `time`, a line each. */
static int serve(const char *directory, size_t count)
{
    static struct figures figures;
    struct job job = {.count = count, .figures = &figures};
    struct work work = {.job = &job};
    long argument[8] = {5};
    char line[64];
    if (!count || !generate(directory, count, job.library))
        return 2;
    load(&work);
    unlink(job.library);
    check(&work, false);
    printf("%p %zu\n", (void *)(uintptr_t)fake, count);
    for (size_t i = 0; i < count; i++)
        printf("%p\n", (void *)(uintptr_t)work.functions[i]);
    fflush(stdout);
    while (fgets(line, sizeof line, stdin)) {
        long (*volatile call)(long *) = (long (*)(long *))work.functions[0];
        size_t patched = 0;
        double begin = bench_now();
        if (line[0] == 't') {
            for (int i = 0; i < 1000000; i++)
                call(argument);
            printf("%.3f\n", (bench_now() - begin) * 1000);
        } else if (line[0] == 'm') {
            printf("%zu\n", bench_private_bytes("patas-bench-functions"));
        } else {
            for (size_t i = 0; i < count; i++)
                patched +=
                    ((long (*)(long *))work.functions[i])(argument) == -77;
            printf("%zu\n", patched);
        }
        fflush(stdout);
    }
    return 0;
}

int main(int argument_count, char **arguments)
{
    static const size_t usual[] = {10, 1000, 20000, 200000};
    const char *temporary = getenv("TMPDIR");
    char directory[200];
    bool good = true, peer = peer_load() != NULL;
    snprintf(directory, sizeof directory, "%s/patas-install-XXXXXX",
             temporary && *temporary ? temporary : "/tmp");
    if (!mkdtemp(directory))
        bench_die(directory);
    if (argument_count == 3 && !strcmp(arguments[1], "--serve")) {
        int result = serve(directory, strtoul(arguments[2], NULL, 10));
        rmdir(directory);
        return result;
    }
    printf("%-7s %7s %-6s %12s %12s %8s %6s %8s %6s  forms\n", "library", "N",
           "mode", "patches/s", "restores/s", "B/patch", "(left)", "B text",
           "maps");
    if (argument_count < 2)
        for (size_t i = 0; i < sizeof usual / sizeof *usual; i++)
            good &= run_size(directory, usual[i], peer);
    for (int i = 1; i < argument_count; i++) {
        size_t count = (size_t)strtoul(arguments[i], NULL, 10);
        if (count < 1 || count > 1000000) {
            printf("usage: install [N...]\n");
            good = false;
            break;
        }
        good &= run_size(directory, count, peer);
    }
    if (!peer)
        printf("peer retour: not installed (%s)\n", peer_how_to_install());
    printf("peer frida: python3 bench/peers/frida_peer.py <this program>\n");
    rmdir(directory);
    return good ? 0 : 1;
}
