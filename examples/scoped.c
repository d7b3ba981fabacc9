/* SPDX-License-Identifier: MIT */
/*
 * A unit test of an error path that no disk would take on demand: save() must
 * report that the text did not reach the disk. No linker flag, no wrapper, no
 * change to save().
 */
#include <errno.h>
#include <patas.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The code under test. */
static int save(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");
    int failed;

    if (!file)
        return -1;
    failed = fputs(text, file) == EOF || fflush(file) || fsync(fileno(file));
    return fclose(file) || failed ? -1 : 0;
}

/* The fakes. */
static int fsync_fails(int fd)
{
    (void)fd;
    errno = EIO;
    return -1;
}

static FILE *fopen_fails(const char *path, const char *mode)
{
    (void)path, (void)mode;
    errno = EMFILE;
    return NULL;
}

static void check(int holds, const char *what)
{
    printf("%s: %s\n", holds ? "ok" : "FAILED", what);
    if (!holds)
        exit(1);
}

static void test_a_scope_ends_with_its_block(const char *path)
{
    {
        PATAS_SCOPED(fsync, fsync_fails);
        check(save(path, "text") == -1, "a disk error is reported");
    }
    check(save(path, "text") == 0, "behind the block the disk works again");
}

/* setup() and teardown() of a test framework: a mark, and back to it. */
static void test_a_teardown_restores_all_since_its_mark(const char *path)
{
    unsigned mark = patas_mark();
    patas_patch *patch;

    check(!PATAS_REPLACE(fsync, fsync_fails, &patch, NULL) &&
              !PATAS_REPLACE(fopen, fopen_fails, &patch, NULL),
          "two functions are replaced");
    check(save(path, "text") == -1, "no file can be opened");
    patas_restore_since(mark, NULL);
    check(save(path, "text") == 0, "after the teardown both work again");
}

int main(void)
{
    char path[] = "/tmp/patas-scoped-XXXXXX";
    int fd = mkstemp(path);

    check(fd >= 0, "there is a file to write to");
    close(fd);
    test_a_scope_ends_with_its_block(path);
    test_a_teardown_restores_all_since_its_mark(path);
    unlink(path);
    return 0;
}
