/* SPDX-License-Identifier: MIT */
/* Who looks at islands from outside: gdb, strace, perf. */
#include "expect.h"
#include "machine.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

KEEP int target(int x)
{
    return x + 1;
}
KEEP int second(int x)
{
    return x * 3;
}
KEEP int fake(int x)
{
    return x + 100;
}
static const patas_fn TARGET = (patas_fn)target, SECOND = (patas_fn)second,
                      FAKE = (patas_fn)fake;

/* ---- other programs ------------------------------------------------------ */

enum {
    OUTPUT = 1 << 20
};
static char output[OUTPUT];

struct child {
    pid_t pid;
    int in, out; /* its standard input, and its output and errors */
};

static struct child start(char *const words[])
{
    int in[2], out[2];
    /* No assertions: main() asks for programs before Check runs. */
    if (pipe2(in, O_CLOEXEC) || pipe2(out, O_CLOEXEC))
        abort();
    pid_t pid = fork();
    if (!pid) {
        dup2(in[0], 0);
        dup2(out[1], 1);
        dup2(out[1], 2);
        setenv("DEBUGINFOD_URLS", "", 1);
        setenv("LC_ALL", "C", 1);
        execvp(words[0], words);
        _exit(127);
    }
    close(in[0]);
    close(out[1]);
    return (struct child){.pid = pid, .in = in[1], .out = out[0]};
}

/* Closes its input, keeps its output, and returns its exit code. */
static int finish(struct child child)
{
    size_t at = 0;
    ssize_t got;
    int status;
    close(child.in);
    while (at + 1 < OUTPUT &&
           (got = read(child.out, output + at, OUTPUT - 1 - at)) > 0)
        at += (size_t)got;
    output[at] = '\0';
    close(child.out);
    if (waitpid(child.pid, &status, 0) != child.pid)
        abort();
    return WIFEXITED(status) ? WEXITSTATUS(status) : 256 + WTERMSIG(status);
}

static int run(char *const words[])
{
    return finish(start(words));
}

static bool present(const char *program)
{
    char *words[] = {(char *)program, (char *)"--version", NULL};
    return run(words) == 0;
}

static const char *temporary(const char *name)
{
    static char path[256];
    snprintf(path, sizeof path, "/tmp/patas-debuggers-%d-%s", (int)getpid(),
             name);
    return path;
}

/* Runs gdb's commands on the program, or on a process. */
static int gdb(const char *commands, char *const program[])
{
    char script[256];
    char *words[16] = {(char *)"gdb",    (char *)"-q", (char *)"-nx",
                       (char *)"-batch", (char *)"-x", script};
    snprintf(script, sizeof script, "%s", temporary("script"));
    FILE *file = fopen(script, "w");
    fprintf(file,
            "set pagination off\nset width 0\nset confirm off\n"
            "handle " MACHINE("SIGILL", "SIGSEGV") " nostop noprint pass\n%s",
            commands);
    fclose(file);
    for (int i = 6; *program; i++)
        words[i] = *program++;
    int code = run(words);
    unlink(script);
    return code;
}

static void map_path(pid_t pid, char path[64])
{
    snprintf(path, 64, "/tmp/perf-%d.map", (int)pid);
}

/* The inferior's own maps stay behind, whoever ran it. */
static void remove_map_of(const char *text)
{
    char path[64];
    const char *process = strstr(text, "process ");
    if (!process)
        return;
    map_path(atoi(process + 8), path);
    unlink(path);
}

/* ---- gdb ----------------------------------------------------------------- */

static const char *const victims[] = {"victim_frame", "victim_room",
                                      "victim_call", "victim_bare"};

static const char walk[] =
    "break stopped\n"
    "run\n"
    "info inferiors\n"
    "tbreak *where_stub\n"
    "continue\n"
    "echo PART stub\\n\n"
    "bt\n"
    "tbreak *where_below\n"
    "continue\n"
    "echo PART below\\n\n"
    "bt\n"
    "tbreak *where_head\n"
    "continue\n"
    "set $n = 0\n"
    "while $n < 12\n"
    "echo PART step\\n\n"
    "bt\n"
    "up\n"
    "printf \"CALLER %#lx %#lx %#lx %#lx\\n\", " MACHINE(
        "$rsp, $rbx, $rbp, $r12", "$esp, $ebx, $ebp, $esi") "\n"
                                                            "stepi\n"
                                                            "set $n = $n + 1\n"
                                                            "end\n"
                                                            "kill\n";

/* The frames, innermost first, each "name (". */
static void expect_frames(const char *part, const char *const frames[])
{
    for (int i = 0; frames[i]; i++) {
        char number[16];
        snprintf(number, sizeof number, "#%d ", i);
        const char *line = strstr(part, number);
        ck_assert_msg(line != NULL, "no frame %d in %s", i, part);
        size_t length = strcspn(line, "\n");
        char text[512];
        snprintf(text, sizeof text, "%.*s", (int)length, line);
        ck_assert_msg(strstr(text, frames[i]) != NULL, "frame %d: %s, not %s",
                      i, text, frames[i]);
    }
}

/* Cuts the next part off gdb's output; NULL behind the last. */
static char *next_part(char **rest)
{
    char *part = *rest ? strstr(*rest, "PART ") : NULL;
    if (!part)
        return NULL;
    *rest = strstr(part + 5, "PART ");
    if (*rest)
        (*rest)[-1] = '\0';
    return part;
}

/* Is the innermost frame this? Behind the head, in code that nobody described,
 * gdb guesses, and may find the head's address in a word of the stack. */
static bool innermost(const char *part, const char *name)
{
    const char *line = strstr(part, "#0 ");
    const char *found = line ? strstr(line, name) : NULL;
    return found && found < line + strcspn(line, "\n");
}

/* Each instruction of the head gives the caller, and its registers. */
static int check_steps(char *rest, const char *victim)
{
    char head[64], first[256] = "";
    int steps = 0;
    snprintf(head, sizeof head, "%s.patas_head (", victim);
    const char *const frames[] = {
        head, "middle (", "above (", "call_victim (", "main (", NULL};
    for (char *part; (part = next_part(&rest)) && innermost(part, head);) {
        char caller[256];
        expect_frames(part, frames);
        const char *line = strstr(part, "CALLER");
        ck_assert_msg(line != NULL, "%s", part);
        snprintf(caller, sizeof caller, "%.*s", (int)strcspn(line, "\n"), line);
        if (!*first)
            memcpy(first, caller, sizeof first);
        ck_assert_str_eq(first, caller);
        steps++;
    }
    return steps;
}

static void walk_victim(const char *victim, const char *commands)
{
    char script[4096], name[64];
    char *program[] = {(char *)"--args", (char *)INFERIOR, (char *)"stop",
                       (char *)victim, NULL};
    snprintf(script, sizeof script, "%s%s", commands, walk);
    gdb(script, program);
    remove_map_of(output);
    char *rest = output, *part = next_part(&rest);
    ck_assert_msg(part != NULL, "%s", output);
    snprintf(name, sizeof name, "%s.patas_stub (", victim);
    expect_frames(part,
                  (const char *const[]){name, "call_victim (", "main (", NULL});
    part = next_part(&rest);
    ck_assert_msg(part != NULL, "%s", output);
    snprintf(name, sizeof name, "%s.patas_original (", victim);
    expect_frames(part, (const char *const[]){name, "above (", "call_victim (",
                                              "main (", NULL});
    ck_assert_int_ge(check_steps(rest, victim), 2);
}

START_TEST(gdb_finds_the_caller_from_each_instruction_of_an_island)
{
    walk_victim(victims[_i], "");
}
END_TEST

START_TEST(a_stripped_library_announces_too)
{
    char copy[256], preload[512];
    snprintf(copy, sizeof copy, "%s", temporary("libpatas.so.0"));
    char *words[] = {(char *)"strip", (char *)"--strip-unneeded",
                     (char *)"-o",    copy,
                     (char *)LIBRARY, NULL};
    ck_assert_msg(run(words) == 0, "%s", output);
    snprintf(preload, sizeof preload, "set environment LD_PRELOAD %s\n", copy);
    walk_victim("victim_frame", preload);
    unlink(copy);
}
END_TEST

/* Reads what the waiting inferior prints: stub, head, original. */
static void read_addresses(const struct child *child, unsigned long at[3])
{
    char line[256];
    size_t size = 0;
    while (size + 1 < sizeof line && (!size || line[size - 1] != '\n') &&
           read(child->out, line + size, 1) == 1)
        size++;
    line[size] = '\0';
    ck_assert_msg(sscanf(line, "%lx %lx %lx", &at[0], &at[1], &at[2]) == 3,
                  "%s", line);
}

static const char *const pieces[] = {"victim_frame.patas_stub",
                                     "victim_frame.patas_head",
                                     "victim_frame.patas_original"};

START_TEST(gdb_attached_later_knows_the_names)
{
    unsigned long at[3];
    char pid[32], commands[512], path[64];
    char *words[] = {(char *)INFERIOR, (char *)"wait", (char *)"victim_frame",
                     NULL};
    char *process[] = {(char *)"-p", pid, NULL};
    struct child inferior = start(words);
    read_addresses(&inferior, at);
    snprintf(pid, sizeof pid, "%d", (int)inferior.pid);
    snprintf(commands, sizeof commands,
             "info symbol %#lx\ninfo symbol %#lx\ninfo symbol %#lx\ndetach\n",
             at[0], at[1], at[2]);
    gdb(commands, process);
    for (int i = 0; i < 3; i++)
        ck_assert_msg(strstr(output, pieces[i]) != NULL, "%s: %s", pieces[i],
                      output);
    ck_assert_int_eq(finish(inferior), 0);
    map_path(inferior.pid, path);
    unlink(path);
}
END_TEST

/* ---- patches made and undone meanwhile ----------------------------------- */

START_TEST(patches_come_and_go_under_gdb)
{
    char *program[] = {(char *)INFERIOR, NULL};
    gdb("run churn 4000 </dev/null\n", program);
    ck_assert_msg(strstr(output, "exited normally") != NULL, "%s", output);
}
END_TEST

static struct child start_churn(void)
{
    char *words[] = {(char *)INFERIOR, (char *)"churn", (char *)"1000", NULL};
    return start(words);
}

START_TEST(gdb_comes_and_goes_while_patches_do)
{
    char pid[32];
    char *process[] = {(char *)"-p", pid, NULL};
    struct child inferior = start_churn();
    snprintf(pid, sizeof pid, "%d", (int)inferior.pid);
    for (int i = 0; i < 3; i++) {
        gdb("thread apply all bt 3\ndetach\n", process);
        ck_assert_msg(strstr(output, "Thread") != NULL, "%s", output);
    }
    ck_assert_msg(finish(inferior) == 0, "%s", output);
}
END_TEST

static bool is_traced(pid_t pid)
{
    char path[64], line[256];
    int tracer = 0;
    snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
    FILE *file = fopen(path, "r");
    while (file && fgets(line, sizeof line, file))
        if (sscanf(line, "TracerPid: %d", &tracer) == 1)
            break;
    if (file)
        fclose(file);
    return tracer != 0;
}

START_TEST(strace_watches_while_patches_come_and_go)
{
    char pid[32];
    char *words[] = {
        (char *)"strace", (char *)"-f", (char *)"-o", (char *)"/dev/null",
        (char *)"-p",     pid,          NULL};
    if (!present("strace")) {
        printf("strace: not here\n");
        return;
    }
    struct child inferior = start_churn();
    snprintf(pid, sizeof pid, "%d", (int)inferior.pid);
    struct child strace = start(words);
    int status;
    while (!is_traced(inferior.pid)) {
        ck_assert_msg(waitpid(strace.pid, &status, WNOHANG) == 0,
                      "strace could not attach");
        usleep(1000);
    }
    ck_assert_msg(finish(inferior) == 0, "%s", output);
    finish(strace);
}
END_TEST

/* ---- perf ---------------------------------------------------------------- */

/* How many lines of this process's map name it. */
static int lines_with(pid_t pid, const char *name)
{
    char path[64], line[1024];
    int count = 0;
    map_path(pid, path);
    FILE *file = fopen(path, "r");
    while (file && fgets(line, sizeof line, file))
        count += strstr(line, name) != NULL;
    if (file)
        fclose(file);
    return count;
}

START_TEST(the_perf_map_has_a_line_for_each_piece)
{
    unsigned long at[3], start_at, size;
    char path[64], line[1024], name[1000];
    int found = 0;
    char *words[] = {(char *)INFERIOR, (char *)"wait", (char *)"victim_frame",
                     NULL};
    struct child inferior = start(words);
    read_addresses(&inferior, at);
    map_path(inferior.pid, path);
    FILE *file = fopen(path, "r");
    ck_assert_msg(file != NULL, "%s: %s", path, strerror(errno));
    while (fgets(line, sizeof line, file)) {
        ck_assert_int_eq(sscanf(line, "%lx %lx %s", &start_at, &size, name), 3);
        for (int i = 0; i < 3; i++)
            if (start_at == at[i]) {
                ck_assert_str_eq(name, pieces[i]);
                ck_assert_uint_ge(size, i == 1 ? 5 : 6);
                ck_assert_uint_le(size, i == 1 ? 160 : 6);
                found++;
            }
    }
    fclose(file);
    unlink(path);
    ck_assert_int_eq(found, 3);
    ck_assert_int_eq(finish(inferior), 0);
}
END_TEST

START_TEST(perf_names_samples_inside_islands)
{
    char data[256], path[64];
    snprintf(data, sizeof data, "%s", temporary("perf.data"));
    char *record[] = {(char *)"perf",
                      (char *)"record",
                      (char *)"-q",
                      (char *)"-e",
                      (char *)"cpu-clock",
                      (char *)"-o",
                      data,
                      (char *)INFERIOR,
                      (char *)"spin",
                      (char *)"victim_frame",
                      NULL};
    char *report[] = {(char *)"perf",
                      (char *)"report",
                      (char *)"--stdio",
                      (char *)"-F",
                      (char *)"pid,sym",
                      (char *)"-i",
                      data,
                      NULL};
    if (!present("perf") || run(record)) {
        printf("perf: can't sample here\n");
        unlink(data);
        return;
    }
    int code = run(report);
    const char *name = strstr(output, "victim_frame.patas_");
    /* "PID:command ... [.] name" */
    const char *line = name;
    while (line && line > output && line[-1] != '\n')
        line--;
    if (line) {
        map_path(atoi(line), path);
        unlink(path);
    }
    unlink(data);
    ck_assert_int_eq(code, 0);
    ck_assert_msg(name != NULL, "%s", output);
}
END_TEST

/* ---- the function itself ------------------------------------------------- */

START_TEST(what_is_announced_is_what_was_asked_for)
{
    patas_patch *patch, *other;
    char path[64];
    map_path(getpid(), path);
    REFUSED(patas_announce(1u << 7, &error), PATAS_ERR_ARGUMENT,
            PATAS_REASON_OPTIONS);
    OK(patas_replace(TARGET, FAKE, &patch, &error));
    ck_assert_int_eq(access(path, F_OK), -1);
    /* What is there already, */
    OK(patas_announce(PATAS_ANNOUNCE_PERF, &error));
    ck_assert_int_eq(lines_with(getpid(), "_stub"), 1);
    ck_assert_int_eq(lines_with(getpid(), "_head"), 1);
    /* each once, */
    OK(patas_restore(patch, &error));
    OK(patas_replace(TARGET, FAKE, &patch, &error));
    OK(patas_announce(PATAS_ANNOUNCE_PERF, &error));
    ck_assert_int_eq(lines_with(getpid(), "_stub"), 1);
    /* nothing while it is off, */
    OK(patas_announce(0, &error));
    OK(patas_replace(SECOND, FAKE, &other, &error));
    ck_assert_int_eq(lines_with(getpid(), "_stub"), 1);
    /* and then what is missing. */
    OK(patas_announce(PATAS_ANNOUNCE_PERF, &error));
    ck_assert_int_eq(lines_with(getpid(), "_stub"), 2);
    ck_assert_int_eq(lines_with(getpid(), "_head"), 2);
    unlink(path);
}
END_TEST

/* Processes get the numbers of others that are gone. */
START_TEST(what_another_process_left_goes_and_what_this_one_wrote_stays)
{
    static const char line[] = "1000 10 somebody_else\n";
    patas_patch *patch;
    char path[64];
    map_path(getpid(), path);
    for (int old = 0; old < 2; old++) {
        const struct timespec hour_ago = {.tv_sec = time(NULL) - 3600};
        int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC | O_TRUNC, 0644);
        ck_assert_int_eq(write(fd, line, sizeof line - 1), sizeof line - 1);
        if (old)
            futimens(fd, (const struct timespec[]){hour_ago, hour_ago});
        close(fd);
        OK(patas_announce(PATAS_ANNOUNCE_PERF, &error));
        ck_assert_int_eq(lines_with(getpid(), "somebody_else"), !old);
        OK(patas_replace(TARGET, FAKE, &patch, &error));
        ck_assert_int_eq(lines_with(getpid(), "somebody_else"), !old);
        OK(patas_restore(patch, &error));
    }
    unlink(path);
}
END_TEST

START_TEST(members_of_a_batch_and_context_thunks_are_announced)
{
    patas_patch *patch, *other;
    patas_options options = {.size = sizeof options, .context = &options};
    char path[64];
    OK(patas_announce(PATAS_ANNOUNCE_PERF | PATAS_ANNOUNCE_GDB, &error));
    patas_batch *batch = patas_batch_begin(NULL);
    OK(patas_batch_replace(batch, TARGET, FAKE, &patch, &error));
    OK(patas_batch_replace_with(batch, SECOND, FAKE, &options, &other, &error));
    ck_assert_int_eq(lines_with(getpid(), ".patas_"), 0);
    OK(patas_batch_commit(batch, &error));
    ck_assert_int_eq(lines_with(getpid(), ".patas_stub"), 2);
    ck_assert_int_eq(lines_with(getpid(), ".patas_head"), 2);
    ck_assert_int_eq(lines_with(getpid(), ".patas_context"), 1);
    map_path(getpid(), path);
    unlink(path);
}
END_TEST

START_TEST(a_child_writes_a_map_of_its_own)
{
    patas_patch *patch, *other;
    char path[64];
    int status;
    OK(patas_announce(PATAS_ANNOUNCE_PERF, &error));
    OK(patas_replace(TARGET, FAKE, &patch, &error));
    pid_t child = fork();
    if (!child)
        _exit(patas_replace(SECOND, FAKE, &other, NULL) == PATAS_OK ? 0 : 1);
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_int_eq(status, 0);
    ck_assert_int_eq(lines_with(getpid(), "_stub"), 1);
    ck_assert_int_eq(lines_with(child, "_stub"), 2);
    map_path(getpid(), path);
    unlink(path);
    map_path(child, path);
    unlink(path);
}
END_TEST

/* Somebody else's name, or a name for somebody else's file. */
static void refuse_map(const char *file, const char *path, int why)
{
    struct stat about;
    patas_patch *patch;
    patas_error details = {0};
    ck_assert_int_eq(patas_announce(PATAS_ANNOUNCE_PERF, &details),
                     PATAS_ERR_DENIED);
    ck_assert_int_eq(details.os_errno, why);
    unlink(path);
    OK(patas_replace(TARGET, FAKE, &patch, &error)); /* and nothing is on */
    ck_assert_int_eq(access(path, F_OK), -1);
    OK(patas_restore(patch, &error));
    ck_assert_int_eq(stat(file, &about), 0);
    ck_assert_int_eq((int)about.st_size, 0);
}

START_TEST(no_other_file_is_written_to)
{
    char path[64], file[256];
    map_path(getpid(), path);
    snprintf(file, sizeof file, "%s", temporary("file"));
    close(open(file, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
    ck_assert_int_eq(symlink(file, path), 0);
    refuse_map(file, path, ELOOP);
    ck_assert_int_eq(link(file, path), 0);
    refuse_map(file, path, EPERM);
    ck_assert_int_eq(mkfifo(path, 0600), 0);
    refuse_map(file, path, ENXIO);
    unlink(file);
}
END_TEST

/* ---- which of them can run ----------------------------------------------- */

static bool gdb_works(void)
{
    char *program[] = {(char *)INFERIOR, NULL};
    if (!present("gdb")) {
        printf("skipped: there is no gdb\n");
        return false;
    }
    gdb("run churn 1 </dev/null\n", program);
    if (strstr(output, "exited normally"))
        return true;
    printf("skipped: gdb can't run a program here: %s\n", output);
    return false;
}

int main(void)
{
    Suite *suite = suite_create("debuggers");
    TCase *own = tcase_create("announce"), *gdbs = tcase_create("gdb");
    tcase_add_test(own, what_is_announced_is_what_was_asked_for);
    tcase_add_test(
        own, what_another_process_left_goes_and_what_this_one_wrote_stays);
    tcase_add_test(own, members_of_a_batch_and_context_thunks_are_announced);
    tcase_add_test(own, a_child_writes_a_map_of_its_own);
    tcase_add_test(own, no_other_file_is_written_to);
    tcase_add_test(own, the_perf_map_has_a_line_for_each_piece);
    tcase_add_test(own, perf_names_samples_inside_islands);
    tcase_add_test(own, strace_watches_while_patches_come_and_go);
    tcase_add_loop_test(gdbs,
                        gdb_finds_the_caller_from_each_instruction_of_an_island,
                        0, sizeof victims / sizeof *victims);
    tcase_add_test(gdbs, a_stripped_library_announces_too);
    tcase_add_test(gdbs, gdb_attached_later_knows_the_names);
    tcase_add_test(gdbs, patches_come_and_go_under_gdb);
    tcase_add_test(gdbs, gdb_comes_and_goes_while_patches_do);
    bool works = gdb_works();
    suite_add_tcase(suite, own);
    if (works)
        suite_add_tcase(suite, gdbs);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    if (failed)
        return EXIT_FAILURE;
    return works ? EXIT_SUCCESS : 77;
}
