/* SPDX-License-Identifier: MIT */
/*
 * Two functions of SQLite replaced inside Debian's sqlite3:
 *
 *     LD_PRELOAD=libfake_sqlite.so sqlite3 :memory: "select 'a secret';"
 *
 *   - sqlite3_column_text, by which every text leaves the library: what says
 *     "secret" is not let out. Its replacement calls the original.
 *   - the system clock of SQLite's file layer, a static function without a
 *     name: the library is stripped. Its address stands in a public struct, and
 *     its code is replaced, not that pointer: whoever copied it is reached too.
 */
#include <patas.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static patas_patch *column_text, *system_clock;

static const unsigned char *redacted(sqlite3_stmt *row, int column)
{
    const unsigned char *(*original)(sqlite3_stmt *, int) =
        (const unsigned char *(*)(sqlite3_stmt *, int))patas_original(
            column_text);
    const unsigned char *text = original(row, column);

    if (text && strstr((const char *)text, "secret"))
        return (const unsigned char *)"(redacted)";
    return text;
}

/* Milliseconds since noon in Greenwich on November 24, 4714 B.C. */
static int moon_landing(sqlite3_vfs *vfs, sqlite3_int64 *time)
{
    (void)vfs;
    *time = 210866760000000LL + -14182940LL * 1000; /* 1970 + seconds */
    return SQLITE_OK;
}

static void must(patas_status status, const patas_error *error)
{
    char text[512];

    if (!status)
        return;
    patas_error_text(error, text, sizeof text);
    fprintf(stderr, "%s\n", text);
    exit(1);
}

__attribute__((constructor)) static void replace(void)
{
    sqlite3_vfs *vfs = sqlite3_vfs_find(NULL); /* starts SQLite, */
    patas_error error;

    sqlite3_shutdown(); /* which sqlite3 wants to set up itself */
    must(PATAS_REPLACE(sqlite3_column_text, redacted, &column_text, &error),
         &error);
    must(PATAS_REPLACE(vfs->xCurrentTimeInt64, moon_landing, &system_clock,
                       &error),
         &error);
}
