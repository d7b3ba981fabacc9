/* SPDX-License-Identifier: MIT */
/* SQLite: 10 000 inserts, joins, windows, JSON, full text, on disk and not. */
#include "workload.h"

#include <sqlite3.h>
#include <stdlib.h>
#include <unistd.h>

static bench_emit out;

static int row(void *unused, int columns, char **values, char **names)
{
    (void)unused;
    for (int i = 0; i < columns; i++)
        bench_say(out, "%s=%s ", names[i], values[i] ? values[i] : "NULL");
    bench_say(out, "\n");
    return 0;
}

static void run(sqlite3 *db, const char *sql)
{
    char *message = NULL;
    if (sqlite3_exec(db, sql, row, NULL, &message) != SQLITE_OK)
        bench_say(out, "error: %s\n", message);
    sqlite3_free(message);
}

static void twice(sqlite3_context *context, int count, sqlite3_value **values)
{
    (void)count;
    sqlite3_result_int64(context, 2 * sqlite3_value_int64(values[0]));
}

static void fill(sqlite3 *db)
{
    sqlite3_stmt *statement;
    run(db, "create table t(id integer primary key, a text, b real, c blob)");
    run(db, "begin");
    sqlite3_prepare_v2(db, "insert into t values(?,?,?,?)", -1, &statement,
                       NULL);
    for (int i = 0; i < 10000; i++) {
        char text[32] = {0};
        snprintf(text, sizeof text, "row %d", i * 7919 % 10007);
        sqlite3_bind_int(statement, 1, i);
        sqlite3_bind_text(statement, 2, text, -1, SQLITE_TRANSIENT);
        sqlite3_bind_double(statement, 3, i * 0.5);
        sqlite3_bind_blob(statement, 4, text, i % 30, SQLITE_TRANSIENT);
        sqlite3_step(statement);
        sqlite3_reset(statement);
    }
    sqlite3_finalize(statement);
    run(db, "commit");
}

static const char *const questions[] = {
    "create index ti on t(a)",
    "select count(*), sum(b), min(a), max(a) from t",
    "select a, b from t where a like 'row 99%' order by a limit 20",
    "select x.id, y.id from t x join t y on x.a = y.a where x.id % 997 = 0",
    "select id, sum(b) over (order by id rows 3 preceding) from t limit 10",
    "with recursive f(i,a,b) as (select 1,0,1 union all select i+1,b,a+b "
    "from f where i<60) select i,b from f where i>50",
    "select json_extract('{\"a\":[1,2,{\"b\":3}]}','$.a[2].b'), "
    "json_group_array(id) from t where id < 12",
    "create virtual table f using fts5(x)",
    "insert into f select a || ' monkey ' || (id % 13) from t where id < 500",
    "select count(*) from f where f match 'monkey AND 7'",
    "create trigger tr after update on t begin insert into l "
    "values(new.id); end",
    "create table l(id)",
    "update t set b = twice(id) where id % 100 = 3",
    "select count(*), total(id) from l",
    "delete from t where id % 2",
    "pragma integrity_check",
    "select hex(c), quote(a), typeof(b), abs(-b), upper(a), round(b,1), "
    "printf('%08.3f|%s|%d', b, a, id), strftime('%Y-%m-%d', id, 'unixepoch')"
    " from t where id between 20 and 40",
    "explain query plan select * from t where a = 'row 5'",
    "select nonsense",
};

static void work_on(const char *name)
{
    sqlite3 *db, *copy;
    sqlite3_open(name, &db);
    sqlite3_create_function(db, "twice", 1, SQLITE_UTF8, NULL, twice, NULL,
                            NULL);
    fill(db);
    for (size_t i = 0; i < sizeof questions / sizeof *questions; i++)
        run(db, questions[i]);
    sqlite3_open(":memory:", &copy);
    sqlite3_backup *backup = sqlite3_backup_init(copy, "main", db, "main");
    sqlite3_backup_step(backup, -1);
    sqlite3_backup_finish(backup);
    run(copy, "select count(*), sum(b) from t");
    run(db, "vacuum");
    sqlite3_close(copy);
    sqlite3_close(db);
}

void bench_work(bench_emit emit)
{
    char name[] = "/tmp/patas-work-XXXXXX";
    out = emit;
    work_on(":memory:");
    close(mkstemp(name));
    work_on(name);
    unlink(name);
    bench_say(emit, "%s\n", sqlite3_libversion());
}
