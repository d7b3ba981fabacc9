/* SPDX-License-Identifier: MIT */
/* The C library: text, files, processes, threads, signals, memory, jumps. */
#include "workload.h"

#include <argz.h>
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <ftw.h>
#include <glob.h>
#include <iconv.h>
#include <locale.h>
#include <netdb.h>
#include <poll.h>
#include <pthread.h>
#include <regex.h>
#include <search.h>
#include <semaphore.h>
#include <setjmp.h>
#include <signal.h>
#include <spawn.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>
#include <wchar.h>
#include <wctype.h>

static bench_emit out;

static unsigned sum(const void *bytes, size_t size)
{
    unsigned value = 1;
    for (size_t i = 0; i < size; i++)
        value = value * 31 + ((const unsigned char *)bytes)[i];
    return value;
}

static void strings(void)
{
    static char a[5000], b[5000];
    memset(b, 0, sizeof b);
    for (size_t size = 0; size < 4000; size = size * 5 / 4 + 1) {
        for (size_t i = 0; i < sizeof a; i++)
            a[i] = (char)('a' + i % 26);
        a[size] = 0;
        strcpy(b, a);
        memmove(b + 3, b, size);
        memcpy(b + 1, a + 2, size);
        void *end = mempcpy(a + 9, b, size / 2);
        memset(b + size / 3, 'x', size / 4);
        bench_say(out, "%zu %u %u %zu %d %d %zu %zu %td\n", size,
                  sum(a, sizeof a), sum(b, sizeof b), strlen(a),
                  strcmp(a, b) > 0, memcmp(a, b, size) > 0, strcspn(a, "xz"),
                  strnlen(b, 100), (char *)end - a);
    }
    char text[] = "one, two;three  four", *save = NULL;
    for (char *word = strtok_r(text, " ,;", &save); word;
         word = strtok_r(NULL, " ,;", &save))
        bench_say(out, "[%s]", word);
    bench_say(out, "%s %s %s %d %s\n", strstr("haystack", "st"),
              strrchr("a/b/c", '/'), strpbrk("hello", "xl"),
              strcasecmp("AbC", "aBd"), strerror(ENOENT));
    bench_say(out, "%d %d %s\n", strverscmp("a10", "a9") > 0,
              fnmatch("*.[ch]", "x.c", 0), basename("/usr/lib/z"));
}

static void numbers(void)
{
    char *end;
    bench_say(out, "%ld %lu %g %a %g\n", strtol("-0x1fz", &end, 0),
              strtoul("777", NULL, 8), strtod("1e-310", NULL),
              strtod("0x1.8p3", NULL), strtod("1.7976931348623159e308", NULL));
    bench_say(out, "%10.3e|%-8d|%+i|%#o|%05x|%c|%5.2s|%Lf|%g|%%\n", 12345.678,
              42, 7, 8, 255, 'z', "abc", 2.5L, 1e100);
    char positions[64]; /* ISO C has no %1$ */
    const char *volatile posix = "%1$s %2$*3$d %1$.1s";
    snprintf(positions, sizeof positions, posix, "pos", 7, 4);
    bench_say(out, "%s\n", positions);
    srandom(5);
    srand48(9);
    bench_say(out, "%ld %ld %f %d\n", random(), random(), drand48(),
              rand_r(&(unsigned){3}));
    int a, n;
    float b;
    char word[16];
    n = sscanf("12 3.5 monkey [x]", "%d %f %15s [%*c]", &a, &b, word);
    bench_say(out, "%d %d %g %s %lld %d\n", n, a, (double)b, word,
              lldiv(-17, 5).rem, abs(-3));
}

static int by_value(const void *a, const void *b)
{
    return *(const int *)a - *(const int *)b;
}

static int walked;
static void walk(const void *node, VISIT order, int depth)
{
    (void)node;
    walked += (int)order * 3 + depth;
}

static void searches(void)
{
    static int values[3000];
    void *root = NULL;
    for (int i = 0; i < 3000; i++)
        values[i] = i * 7919 % 3001;
    for (int i = 0; i < 500; i++)
        tsearch(&values[i], &root, by_value);
    twalk(root, walk);
    qsort(values, 3000, sizeof *values, by_value);
    int key = 77, *found = bsearch(&key, values, 3000, sizeof key, by_value);
    bench_say(out, "%d %u %td\n", walked, sum(values, sizeof values),
              found ? found - values : -1);
    hcreate(100);
    hsearch((ENTRY){(char *)"key", values}, ENTER);
    bench_say(out, "%d\n", hsearch((ENTRY){(char *)"key", NULL}, FIND) != NULL);
    hdestroy();
    regex_t regex;
    regmatch_t match[3];
    regcomp(&regex, "([a-z]+)([0-9]{2,3})", REG_EXTENDED);
    int none = regexec(&regex, "--abc123--", 3, match, 0);
    bench_say(out, "%d %d %d %d\n", none, match[0].rm_so, match[1].rm_eo,
              match[2].rm_eo);
    regfree(&regex);
    char *argz = NULL;
    size_t size = 0;
    argz_create_sep("a:bb:ccc", ':', &argz, &size);
    bench_say(out, "%zu %zu\n", size, argz_count(argz, size));
    free(argz);
}

static int visited;
static int visit(const char *path, const struct stat *info, int flag,
                 struct FTW *where)
{
    visited += flag + where->level + (int)(info->st_mode & 7);
    return path == NULL;
}

static void files(void)
{
    char directory[] = "/tmp/patas-work-XXXXXX", path[64], *line = NULL;
    size_t room = 0;
    umask(022);
    if (!mkdtemp(directory))
        return;
    snprintf(path, sizeof path, "%s/a.txt", directory);
    FILE *file = fopen(path, "w+");
    for (int i = 0; i < 500; i++)
        fprintf(file, "line %d %s\n", i, i % 7 ? "odd" : "even");
    fseek(file, 100, SEEK_SET);
    for (int i = 0; i < 3 && getline(&line, &room, file) > 0; i++)
        bench_say(out, "%s", line);
    ungetc('q', file);
    bench_say(out, "%c %ld %d\n", getc(file), ftell(file), feof(file));
    fclose(file);
    free(line);
    int fd = open(path, O_RDWR);
    struct iovec io = {(char[]){"vector"}, 6};
    pwritev(fd, &io, 1, 3);
    char *map = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, fd, 0);
    bench_say(out, "%.12s %ld\n", map, (long)lseek(fd, 0, SEEK_END));
    munmap(map, 4096);
    ftruncate(fd, 10);
    close(fd);
    struct stat info;
    int known = stat(path, &info);
    bench_say(out, "%d %ld\n", known, (long)info.st_size);
    glob_t matches;
    snprintf(path, sizeof path, "%s/*.txt", directory);
    glob(path, 0, NULL, &matches);
    bench_say(out, "glob %zu\n", matches.gl_pathc);
    globfree(&matches);
    nftw(directory, visit, 8, FTW_PHYS);
    DIR *dir = opendir(directory);
    int entries = 0;
    while (readdir(dir))
        entries++;
    closedir(dir);
    bench_say(out, "%d %d %d\n", visited, entries, access("/nowhere", F_OK));
    snprintf(path, sizeof path, "%s/a.txt", directory);
    int unlinked = unlink(path);
    bench_say(out, "%d %d\n", unlinked, rmdir(directory));
    visited = 0;
}

static void wide(void)
{
    wchar_t text[64];
    setlocale(LC_ALL, "C.UTF-8");
    size_t size =
        mbstowcs(text, "gr\xc3\xbc\xc3\x9f dich \xf0\x9f\x90\x92", 64);
    bench_say(out, "%zu %d %zu\n", size, towupper((wint_t)text[2]) == 0xdc,
              wcslen(text));
    swprintf(text, 64, L"%ls %d", L"wide", 7);
    bench_say(out, "%ls %ld\n", text, wcstol(L"123", NULL, 10));
    iconv_t convert = iconv_open("UTF-16LE", "UTF-8");
    char in[] = "a\xc3\xa4", result[16] = {0}, *from = in, *to = result;
    size_t left = 3, space = sizeof result;
    iconv(convert, &from, &left, &to, &space);
    iconv_close(convert);
    bench_say(out, "%u %zu\n", sum(result, 16), space);
    setlocale(LC_ALL, "C");
}

static void times(void)
{
    time_t when = 951782400;
    struct tm tm, back = {0};
    char text[100];
    setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3", 1);
    tzset();
    localtime_r(&when, &tm);
    strftime(text, sizeof text, "%A %d %B %Y %H:%M:%S %Z %j %U", &tm);
    strptime("2021-07-04 05:06:07", "%Y-%m-%d %H:%M:%S", &back);
    back.tm_isdst = -1;
    bench_say(out, "%s %ld %ld %s", text, (long)mktime(&back),
              (long)timegm(&back), asctime(&tm));
    unsetenv("TZ");
    tzset();
    struct timespec now;
    bench_say(out, "%d %d\n", clock_gettime(CLOCK_MONOTONIC, &now),
              time(NULL) > 0);
}

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t condition = PTHREAD_COND_INITIALIZER;
static pthread_key_t key;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static int total, arrived;
static __thread int mine = 5;

static void make_key(void)
{
    pthread_key_create(&key, free);
}

static void *thread(void *argument)
{
    pthread_once(&once, make_key);
    pthread_setspecific(key, malloc(10));
    for (int i = 0; i < 300; i++) {
        pthread_mutex_lock(&mutex);
        total += (int)(intptr_t)argument + mine;
        pthread_mutex_unlock(&mutex);
    }
    pthread_mutex_lock(&mutex);
    arrived++;
    pthread_cond_broadcast(&condition);
    pthread_mutex_unlock(&mutex);
    return argument;
}

static void threads(void)
{
    pthread_t all[4];
    void *result;
    long back = 0;
    total = arrived = 0;
    for (intptr_t i = 0; i < 4; i++)
        pthread_create(&all[i], NULL, thread, (void *)i);
    pthread_mutex_lock(&mutex);
    while (arrived < 4)
        pthread_cond_wait(&condition, &mutex);
    pthread_mutex_unlock(&mutex);
    for (int i = 0; i < 4; i++) {
        pthread_join(all[i], &result);
        back += (intptr_t)result;
    }
    sem_t semaphore;
    sem_init(&semaphore, 0, 1);
    sem_wait(&semaphore);
    bench_say(out, "threads %d %ld %d\n", total, back, sem_trywait(&semaphore));
    sem_destroy(&semaphore);
}

static sigjmp_buf jump;
static volatile int signals;
static volatile int *volatile nowhere;
static void on_signal(int number)
{
    signals += number;
    if (number == SIGSEGV)
        siglongjmp(jump, 1);
}

static ucontext_t main_context, side_context;
static void side(void)
{
    signals += 1000;
    swapcontext(&side_context, &main_context);
}

static void jumps(void)
{
    static char stack[65536];
    jmp_buf plain;
    volatile int times_here = 0;
    struct sigaction action = {.sa_handler = on_signal}, old;
    signals = 0;
    sigaction(SIGUSR1, &action, NULL);
    raise(SIGUSR1);
    sigaction(SIGSEGV, &action, &old);
    if (!sigsetjmp(jump, 1))
        *nowhere = 1;
    sigaction(SIGSEGV, &old, NULL);
    if (setjmp(plain) < 5) {
        times_here++;
        longjmp(plain, times_here);
    }
    getcontext(&side_context);
    side_context.uc_stack.ss_sp = stack;
    side_context.uc_stack.ss_size = sizeof stack;
    side_context.uc_link = &main_context;
    makecontext(&side_context, side, 0);
    swapcontext(&main_context, &side_context);
    bench_say(out, "jumps %d %d\n", signals, times_here);
}

static void processes(void)
{
    extern char **environ;
    int status = 0, ends[2];
    pid_t child;
    char text[64] = "",
         *words[] = {(char *)"sh", (char *)"-c", (char *)"exit 7", NULL};
    posix_spawnp(&child, "sh", NULL, NULL, words, environ);
    waitpid(child, &status, 0);
    bench_say(out, "spawn %d\n", WEXITSTATUS(status));
    child = vfork();
    if (!child)
        _exit(3);
    waitpid(child, &status, 0);
    bench_say(out, "vfork %d\n", WEXITSTATUS(status));
    pipe(ends);
    child = fork();
    if (!child) {
        write(ends[1], "from the child", 15);
        _exit(4);
    }
    ssize_t got = read(ends[0], text, sizeof text);
    waitpid(child, &status, 0);
    bench_say(out, "fork %d %zd %s\n", WEXITSTATUS(status), got, text);
    FILE *pipe_file = popen("echo popen", "r");
    bench_say(out, "%s", fgets(text, sizeof text, pipe_file));
    bench_say(out, "%d %d\n", pclose(pipe_file), system("exit 2") >> 8);
    close(ends[0]);
    close(ends[1]);
}

static void network(void)
{
    int pair[2];
    char text[64] = "";
    struct addrinfo hints = {.ai_flags = AI_NUMERICHOST}, *found = NULL;
    socketpair(AF_UNIX, SOCK_STREAM, 0, pair);
    send(pair[0], "hello", 6, 0);
    struct pollfd polled = {pair[1], POLLIN, 0};
    int ready = poll(&polled, 1, 1000);
    recv(pair[1], text, sizeof text, 0);
    bench_say(out, "%d %s\n", ready, text);
    char six[64];
    int failed = getaddrinfo("192.0.2.7", "80", &hints, &found);
    if (!failed)
        getnameinfo(found->ai_addr, found->ai_addrlen, text, sizeof text, NULL,
                    0, NI_NUMERICHOST);
    bench_say(out, "%d %s %s %x\n", failed, text,
              inet_ntop(AF_INET6, &in6addr_loopback, six, sizeof six),
              htonl(0x01020304));
    freeaddrinfo(found);
    close(pair[0]);
    close(pair[1]);
}

static void memory(void)
{
    static char *blocks[500];
    unsigned state = 1, check = 0;
    for (int i = 0; i < 20000; i++) {
        state = state * 1103515245 + 12345;
        size_t k = state >> 16 & 0x1ff;
        if (k >= 500)
            continue;
        size_t size = (state >> 8) % 3000 + 1;
        blocks[k] = i % 3 ? realloc(blocks[k], size)
                          : (free(blocks[k]), calloc(1, size));
        memset(blocks[k], (int)k, size);
        check += (unsigned char)blocks[k][size / 2];
    }
    for (int k = 0; k < 500; k++) {
        free(blocks[k]);
        blocks[k] = NULL;
    }
    void *aligned = NULL;
    bench_say(out, "memory %u %d %d\n", check,
              posix_memalign(&aligned, 4096, 100),
              (int)((uintptr_t)aligned % 4096));
    free(aligned);
}

void bench_work(bench_emit emit)
{
    static void (*const parts[])(void) = {
        strings, numbers, searches, files,     wide,    times,
        threads, jumps,   memory,   processes, network,
    };
    out = emit;
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        walked = 0;
        parts[i]();
    }
}
