/* SPDX-License-Identifier: MIT */
/*
 * bench/coverage LIB... - patch every function of a library, and see.
 *
 * Each library goes through three children: one does the library's real work
 * unpatched and keeps the output; one patches every function with a counting
 * pass-through in one batch, looks at the neighbours, does the same work,
 * restores all and does it again; one single-steps each patched function
 * beside the unpatched one. A crash is a result.
 */
#include "coverage.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "workloads/workload.h"

/* Short names, and what the work is linked with. */
static const struct known {
    const char *name, *file;
    bool debug; /* its inner functions, too */
} known[] = {
    {"c", "libc.so.6", true},
    {"m", "libm.so.6", true},
    {"z", "libz.so.1", false},
    {"sqlite3", "libsqlite3.so.0", false},
    {"xml2", "libxml2.so.2", false},
    {"crypto", "libcrypto.so.3", false},
    {"stdcxx", "libstdc++.so.6", false},
    {"python", "libpython3.11.so.1.0", false},
};
enum {
    KNOWN = sizeof known / sizeof *known
};

struct job {
    const char *path; /* for dlopen */
    const char *work; /* of workloads/, or NULL */
    bool debug, steps;
    double limit; /* seconds until a child counts as hung */
    struct coverage *result;
    int outputs[4]; /* plain, patched, restored, plain again */
};

void coverage_trouble(struct coverage *result, const char *format, ...)
{
    size_t used = strlen(result->trouble), room = sizeof result->trouble;
    va_list arguments;
    if (used + 2 > room)
        return;
    va_start(arguments, format);
    int length =
        vsnprintf(result->trouble + used, room - used - 1, format, arguments);
    va_end(arguments);
    used += (size_t)length < room - used - 1 ? (size_t)length : room - used - 2;
    result->trouble[used] = '\n';
    result->trouble[used + 1] = 0;
}

static void note_refusal(struct coverage *result, const char *name,
                         const patas_error *error)
{
    char text[256];
    result->refused++;
    result->by_reason[error->reason < REASONS ? error->reason : 0]++;
    patas_error_text(error, text, sizeof text);
    if (!result->told)
        coverage_trouble(result, "refused: %s: %s: %s", name,
                         patas_status_name(error->status), text);
}

static void count_forms(struct coverage *result)
{
    patas_stats stats = {.size = sizeof stats};
    if (patas_stats_read(&stats) == PATAS_OK)
        memcpy(result->by_form, stats.by_form, sizeof result->by_form);
}

bool coverage_patch(struct coverage *result,
                    const struct bench_library *library,
                    struct bench_stubs *stubs, patas_patch **patches)
{
    /* Symbols say what is a function, and the pass-through only jumps on. */
    const patas_options options = {
        sizeof options,
        PATAS_PASS_THROUGH | PATAS_ENTRY |
            (result->allow_trap ? PATAS_ALLOW_TRAP : 0u),
        NULL};
    static patas_error refusals[4096];
    static size_t refused[4096];
    patas_error error = {0};
    size_t failed = 0, patched = 0;
    double begin = bench_now();
    patas_batch *batch = patas_batch_begin(&error);
    /* Nothing is called here but patas: all of libc may be about to change. */
    for (size_t i = 0; batch && i < library->count; i++) {
        if (patas_batch_replace_with(batch,
                                     (patas_fn)library->functions[i].address,
                                     bench_stub(stubs, i), &options,
                                     &patches[i], &error) == PATAS_OK) {
            stubs->data[i].original = patas_original(patches[i]);
            patched++;
        } else if (failed < 4096) {
            refused[failed] = i;
            refusals[failed++] = error;
        }
    }
    patas_status status =
        batch ? patas_batch_commit(batch, &error) : error.status;
    result->patch_seconds = bench_now() - begin;
    result->patched = status == PATAS_OK ? patched : 0;
    result->refused = 0;
    memset(result->by_reason, 0, sizeof result->by_reason);
    for (size_t i = 0; i < failed; i++)
        note_refusal(result, library->functions[refused[i]].name, &refusals[i]);
    if (status != PATAS_OK) {
        const struct bench_function *at =
            bench_library_at(library, error.target);
        note_refusal(result, at ? at->name : "the batch", &error);
        return false;
    }
    count_forms(result);
    return true;
}

/* Neighbours. ------------------------------------------------------------- */

/* A gap keeps its jump after a restore, as islands stay: somebody may just be
 * about to run it. */
enum {
    ENTRY = 1,
    GAP
};
struct image {
    uint8_t *copy[8];
    uint8_t *owned[8]; /* what a patch may change: ENTRY or GAP */
};

static bool take_image(const struct bench_library *library, struct image *image)
{
    for (size_t i = 0; i < library->texts; i++) {
        const struct bench_segment *text = &library->text[i];
        image->copy[i] = malloc(text->size);
        image->owned[i] = calloc(text->size, 1);
        if (!image->copy[i] || !image->owned[i])
            return false;
        memcpy(image->copy[i], (const void *)text->start, text->size);
    }
    return true;
}

static void own(const struct bench_library *library, struct image *image,
                uintptr_t from, size_t size, uint8_t kind)
{
    for (size_t i = 0; i < library->texts; i++)
        for (size_t k = 0; k < size; k++)
            if (from + k - library->text[i].start < library->text[i].size)
                image->owned[i][from + k - library->text[i].start] = kind;
}

#if defined(__aarch64__)
enum {
    JUMP = 4
};

/* One instruction: the first, or the one behind a landing pad that stays. */
static void own_entry(const struct bench_library *library, struct image *image,
                      uintptr_t entry)
{
    uint32_t first;
    memcpy(&first, (const void *)entry, sizeof first);
    bool pad = (first & 0xffffff3f) == 0xd503241f || /* bti */
               (first & 0xffffffbf) == 0xd503233f;   /* paciasp, pacibsp */
    own(library, image, entry + (pad ? 4 : 0), JUMP, ENTRY);
}
#else
enum {
    JUMP = 5
};

/* A short jump owns 2 bytes at the entry and 5 in the padding it leads to. */
static void own_entry(const struct bench_library *library, struct image *image,
                      uintptr_t entry)
{
    const uint8_t *code = (const uint8_t *)entry;
    if (code[0] != 0xeb) {
        own(library, image, entry, JUMP, ENTRY);
        return;
    }
    own(library, image, entry, 2, ENTRY);
    intptr_t rel8 = (int8_t)code[1];
    own(library, image, entry + 2 + (uintptr_t)rel8, JUMP, GAP);
}
#endif

static void mark_owned(const struct bench_library *library, struct image *image,
                       patas_patch **patches)
{
    for (size_t i = 0; i < library->count; i++)
        if (patches[i])
            own_entry(library, image, library->functions[i].address);
    /* The engine's own wrapper outlives every patch of the user's. */
    own(library, image, (uintptr_t)dlsym(RTLD_DEFAULT, "sigaction"), JUMP, GAP);
}

/* Bytes that differ and are owned less than `may`. */
static size_t count_changed(const struct bench_library *library,
                            const struct image *image, uint8_t may)
{
    size_t changed = 0;
    for (size_t i = 0; i < library->texts; i++) {
        const uint8_t *code = (const uint8_t *)library->text[i].start;
        for (size_t k = 0; k < library->text[i].size; k++)
            changed += code[k] != image->copy[i][k] && image->owned[i][k] < may;
    }
    return changed;
}

/* The work. --------------------------------------------------------------- */

static int output_fd;
static size_t output_used;
static uint8_t output_bytes[1 << 16];

static void output_flush(void)
{
    size_t done = 0;
    while (done < output_used) {
        ssize_t wrote =
            write(output_fd, output_bytes + done, output_used - done);
        if (wrote < 0)
            _exit(6);
        done += (size_t)wrote;
    }
    output_used = 0;
}

static void output_emit(const void *bytes, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        output_bytes[output_used++] = ((const uint8_t *)bytes)[i];
        if (output_used == sizeof output_bytes)
            output_flush();
    }
}

static void work_into(void (*work)(bench_emit), int fd)
{
    output_fd = fd;
    work(output_emit);
    output_flush();
}

static void (*load_work(const struct job *job))(bench_emit)
{
    char file[128];
    if (!job->work)
        return NULL;
    snprintf(file, sizeof file, "workloads/%s.so", job->work);
    void *module = dlopen(bench_beside(file), RTLD_NOW | RTLD_GLOBAL);
    if (!module)
        return NULL;
    void *symbol = dlsym(module, "bench_work");
    void (*work)(bench_emit);
    memcpy(&work, &symbol, sizeof work);
    return work;
}

static void plain_child(void *argument)
{
    struct job *job = argument;
    void (*work)(bench_emit) = load_work(job);
    struct bench_library library;
    if (!bench_library_open(&library, job->path, job->debug))
        _exit(3);
    job->result->functions = library.count;
    job->result->debug = library.debug;
    job->result->has_work = work != NULL;
    if (work)
        work_into(work, job->outputs[0]);
}

static void again_child(void *argument)
{
    struct job *job = argument;
    void (*work)(bench_emit) = load_work(job);
    if (work)
        work_into(work, job->outputs[3]);
}

static void count_calls(struct coverage *result,
                        const struct bench_stubs *stubs)
{
    result->calls = result->executed = 0;
    for (size_t i = 0; i < stubs->count; i++) {
        result->calls += stubs->data[i].calls;
        result->executed += stubs->data[i].calls > 0;
    }
}

static void patched_child(void *argument)
{
    struct job *job = argument;
    struct coverage *result = job->result;
    static struct image image;
    struct bench_library library;
    struct bench_stubs stubs;
    patas_error error;
    void (*work)(bench_emit) = load_work(job);
    if (!bench_library_open(&library, job->path, job->debug))
        _exit(3);
    patas_patch **patches = calloc(library.count, sizeof(patas_patch *));
    if (!patches || !bench_stubs_make(&stubs, library.count, true) ||
        !take_image(&library, &image))
        bench_die("memory");
    if (!coverage_patch(result, &library, &stubs, patches))
        _exit(4);
    mark_owned(&library, &image, patches);
    result->neighbours = count_changed(&library, &image, ENTRY);
    for (size_t i = 0; i < stubs.count; i++)
        stubs.data[i].calls = 0;
    if (work)
        work_into(work, job->outputs[1]);
    count_calls(result, &stubs);
    if (patas_restore_all(&error) != PATAS_OK) {
        char text[256];
        patas_error_text(&error, text, sizeof text);
        coverage_trouble(result, "restore_all: %s", text);
    }
    result->left_changed = count_changed(&library, &image, GAP);
    if (work)
        work_into(work, job->outputs[2]);
}

static void step_child(void *argument)
{
    struct job *job = argument;
    struct bench_library library;
    /* What the work brings along is part of the layout. */
    (void)load_work(job);
    if (!bench_library_open(&library, job->path, job->debug))
        _exit(3);
    coverage_step(job->result, &library);
}

static bool same_output(int a, int b)
{
    off_t size = lseek(a, 0, SEEK_END);
    if (size != lseek(b, 0, SEEK_END))
        return false;
    uint8_t x[4096], y[4096];
    for (off_t at = 0; at < size; at += (off_t)sizeof x) {
        ssize_t read_x = pread(a, x, sizeof x, at);
        if (read_x <= 0 || pread(b, y, sizeof y, at) != read_x ||
            memcmp(x, y, (size_t)read_x) != 0)
            return false;
    }
    return true;
}

/* A child's end, unless it is a good one. */
static bool run_part(struct job *job, void (*body)(void *), char text[64])
{
    struct bench_end end = bench_child(body, job, job->limit);
    if (bench_ended_well(&end))
        return true;
    snprintf(text, 64, "%s", bench_end_text(&end, (char[64]){0}));
    return false;
}

static bool run_job(struct job *job)
{
    struct coverage *r = job->result;
    bool good = true;
    for (int i = 0; i < 4; i++)
        job->outputs[i] = memfd_create("output", MFD_CLOEXEC);
    if (!run_part(job, plain_child, r->work_end)) {
        coverage_trouble(r, "the unpatched work fails: %s", r->work_end);
        return false;
    }
    if (r->has_work)
        good = run_part(job, again_child, r->work_end);
    good &= run_part(job, patched_child, r->patch_end);
    if (r->has_work) {
        r->output_bytes = (size_t)lseek(job->outputs[0], 0, SEEK_END);
        r->same_twice = same_output(job->outputs[0], job->outputs[3]);
        r->same_patched = same_output(job->outputs[0], job->outputs[1]);
        r->same_restored = same_output(job->outputs[0], job->outputs[2]);
        r->outputs_known = true;
        good &= r->same_twice && r->same_patched && r->same_restored &&
                r->output_bytes > 0;
    }
    /* The layout is another in each child; the worse one counts. */
    size_t patched = r->patched, refused = r->refused;
    r->told = refused > 0;
    if (job->steps)
        good &= run_part(job, step_child, r->step_end);
    if (patched < r->patched)
        r->patched = patched;
    if (refused > r->refused)
        r->refused = refused;
    for (int i = 0; i < 4; i++)
        close(job->outputs[i]);
    return good && r->patched == r->functions && !r->refused &&
           !r->neighbours && !r->left_changed && !r->wrong &&
           !r->data_bytes_wrong && (!job->steps || r->stepped == r->functions);
}

/* The report. ------------------------------------------------------------- */

static const char *work_text(const struct coverage *r, char text[64])
{
    if (r->patch_end[0])
        return r->patch_end;
    if (!r->has_work)
        return "no workload";
    if (!r->output_bytes)
        return "no output";
    if (!r->same_twice)
        return "not repeatable";
    if (!r->same_patched)
        return "DIFFERENT";
    if (!r->same_restored)
        return "DIFFERENT after";
    snprintf(text, 64, "identical");
    return text;
}

static void print_head(void)
{
    printf("%-22s %6s %7s %8s %5s %6s %6s %5s %5s %5s %4s %-15s %8s %8s %6s\n",
           "library", "n", "patched", "%", "one", "kept", "trap", "short",
           "perm", "refus", "nbr", "work", "executed", "stepped", "wrong");
}

static void print_row(const char *name, const struct coverage *r)
{
    char text[64], label[48];
    snprintf(label, sizeof label, "%s%s", name, r->debug ? "+dbg" : "");
    printf(
        "%-22s %6zu %7zu %7.2f%% %5zu %6zu %6zu %5zu %5zu %5zu %4zu %-15s %8zu "
        "%8zu %6zu\n",
        label, r->functions, r->patched,
        r->functions ? 100.0 * (double)r->patched / (double)r->functions : 0.0,
        r->by_form[PATAS_FORM_ONE_INSTRUCTION],
        r->by_form[PATAS_FORM_KEPT_BYTES], r->by_form[PATAS_FORM_TRAP_BYTES],
        r->by_form[PATAS_FORM_SHORT_JUMP],
        r->by_form[PATAS_FORM_PERMANENT_TRAP], r->refused,
        r->neighbours + r->left_changed, work_text(r, text), r->executed,
        r->stepped - r->undecided, r->wrong + r->data_bytes_wrong);
    if (r->step_end[0])
        printf("  single steps: %s\n", r->step_end);
    if (r->undecided)
        printf("  single steps without a verdict: %zu\n", r->undecided);
    for (const char *line = r->trouble; *line;) {
        size_t length = strcspn(line, "\n");
        printf("  %.*s\n", (int)length, line);
        line += length + (line[length] == '\n');
    }
    fflush(stdout);
}

static void print_json(const char *name, const struct coverage *r, bool good,
                       bool first)
{
    char text[64];
    printf("%s\n  {\"library\": \"%s\", \"debug_symbols\": %s, "
           "\"functions\": %zu, \"patched\": %zu, \"refused\": %zu,\n"
           "   \"forms\": {",
           first ? "" : ",", name, r->debug ? "true" : "false", r->functions,
           r->patched, r->refused);
    for (int i = 1; i < PATAS_FORM_COUNT; i++)
        printf("%s\"%s\": %zu", i > 1 ? ", " : "",
               patas_form_name((patas_form)i), r->by_form[i]);
    printf("},\n   \"reasons\": {");
    bool comma = false;
    for (int i = 0; i < REASONS; i++) {
        if (r->by_reason[i])
            printf("%s\"%d\": %zu", comma ? ", " : "", i, r->by_reason[i]);
        comma |= r->by_reason[i] > 0;
    }
    printf("},\n   \"neighbour_bytes_changed\": %zu, "
           "\"bytes_left_changed\": %zu, \"work\": \"%s\", "
           "\"output_bytes\": %zu, \"executed\": %zu, \"calls\": %llu,\n"
           "   \"stepped\": %zu, \"undecided\": %zu, \"compared\": %zu, "
           "\"wrong\": %zu, \"patch_seconds\": %.6f, \"good\": %s}",
           r->neighbours, r->left_changed, work_text(r, text), r->output_bytes,
           r->executed, (unsigned long long)r->calls, r->stepped, r->undecided,
           r->compared, r->wrong + r->data_bytes_wrong, r->patch_seconds,
           good ? "true" : "false");
}

static void add_up(struct coverage *total, const struct coverage *r)
{
    total->functions += r->functions;
    total->patched += r->patched;
    total->refused += r->refused;
    for (int i = 0; i < PATAS_FORM_COUNT; i++)
        total->by_form[i] += r->by_form[i];
    for (int i = 0; i < REASONS; i++)
        total->by_reason[i] += r->by_reason[i];
    total->neighbours += r->neighbours;
    total->left_changed += r->left_changed;
    total->output_bytes += r->output_bytes;
    total->executed += r->executed;
    total->calls += r->calls;
    total->stepped += r->stepped;
    total->undecided += r->undecided;
    total->wrong += r->wrong;
    total->data_bytes_wrong += r->data_bytes_wrong;
    if (r->has_work && !(r->same_patched && r->same_restored && r->same_twice))
        snprintf(total->patch_end, 64, "NOT identical");
}

static struct job job_for(const char *name)
{
    struct job job = {.path = name, .steps = true, .limit = 600};
    for (size_t i = 0; i < KNOWN; i++)
        if (!strcmp(name, known[i].name) || strstr(name, known[i].file)) {
            if (!strchr(name, '/'))
                job.path = known[i].file;
            job.work = known[i].name;
            job.debug = known[i].debug;
        }
    return job;
}

static void usage(void)
{
    printf("usage: coverage [--json] [--no-steps] [--debug] [--no-trap] "
           "LIB...\n"
           "  LIB is a path, a soname, or one of:");
    for (size_t i = 0; i < KNOWN; i++)
        printf(" %s", known[i].name);
    printf(", all\n  --json      one JSON array\n"
           "  --no-steps  leave the single-step comparison out\n"
           "  --debug     .symtab of the separate debug file, for any LIB\n"
           "  --no-trap   no permanent trap where nothing else fits (column "
           "perm)\n"
           "Exit status: 0 if every function was patched, nothing else changed,"
           "\nand the work's output was the same; 1 if not.\n");
}

int main(int count, char **arguments)
{
    const char *names[64];
    size_t libraries = 0;
    bool json = false, steps = true, debug = false, trap = true, good = true;
    for (int i = 1; i < count; i++) {
        const char *word = arguments[i];
        if (!strcmp(word, "--json"))
            json = true;
        else if (!strcmp(word, "--no-steps"))
            steps = false;
        else if (!strcmp(word, "--debug"))
            debug = true;
        else if (!strcmp(word, "--no-trap"))
            trap = false;
        else if (!strcmp(word, "all"))
            for (size_t k = 0; k < KNOWN; k++)
                names[libraries++] = known[k].file;
        else if (word[0] == '-' || libraries > 50)
            return usage(), 2;
        else
            names[libraries++] = word;
    }
    if (!libraries)
        return usage(), 2;
    struct coverage *total = bench_shared(sizeof *total);
    total->has_work = total->same_twice = true;
    total->same_patched = total->same_restored = true;
    if (json)
        printf("[");
    else
        print_head();
    for (size_t i = 0; i < libraries; i++) {
        struct job job = job_for(names[i]);
        job.result = bench_shared(sizeof *job.result);
        job.steps = steps;
        job.debug |= debug;
        job.result->allow_trap = trap;
        bool fine = run_job(&job);
        good &= fine;
        const char *slash = strrchr(job.path, '/');
        const char *name = slash ? slash + 1 : job.path;
        if (json)
            print_json(name, job.result, fine, i == 0);
        else
            print_row(name, job.result);
        add_up(total, job.result);
    }
    if (json)
        printf("\n]\n");
    else if (libraries > 1)
        print_row("total", total);
    return good ? 0 : 1;
}
