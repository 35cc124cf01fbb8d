#include "engine/cache/db.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/paths.h"

const char *kg_db_state_text(enum kg_db_state state)
{
    static const char *const texts[] = {
        [KG_DB_CURRENT] = "of this format",
        [KG_DB_OLDER] = "of an older format",
        [KG_DB_NEWER] = "of a newer format",
        [KG_DB_FOREIGN] = "not a file of kedge",
        [KG_DB_DAMAGED] = "damaged",
    };
    return texts[state];
}

static enum kg_status status_of(int rc)
{
    switch (rc & 0xff) {
    case SQLITE_NOMEM:
        return KG_ERR_NOMEM;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return KG_ERR_BUSY;
    case SQLITE_FULL:
        return KG_ERR_FULL;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
    case SQLITE_CONSTRAINT: /* no statement of ours breaks one unless the tables contradict each other */
        return KG_ERR_CORRUPT;
    default:
        return KG_ERR_IO;
    }
}

enum kg_status kg_db_fail(sqlite3 *db, int rc, const char *what, struct kg_error *err)
{
    enum kg_status status = status_of(rc);
    const char *file = db ? sqlite3_db_filename(db, "main") : NULL;
    const char *advice = status == KG_ERR_FULL ? "; make room on that disk"
                         : status == KG_ERR_BUSY ? "; another kedge holds it, try again"
                         : status == KG_ERR_CORRUPT ? "; the file is damaged"
                                                    : "";
    if (status == KG_ERR_NOMEM)
        return kg_fail_nomem(err, what);
    return kg_fail(err, status, "%s failed on %s: %s%s", what, file && file[0] ? file : "a database",
                   db ? sqlite3_errmsg(db) : sqlite3_errstr(rc), advice);
}

/* The file gets its name when it is closed already, so that no descriptor of ours is ever open on a database. */
static enum kg_status make_file(const char *path, struct kg_error *err)
{
    char temporary[KG_PATH_MAX], directory[KG_PATH_MAX];
    int n = snprintf(temporary, sizeof temporary, "%s.XXXXXX", path);
    if (n < 0 || n >= (int)sizeof temporary)
        return kg_fail(err, KG_ERR_RANGE, "cannot create %s: its name is too long", path);
    int fd = mkostemp(temporary, O_CLOEXEC); /* 0600 */
    if (fd < 0)
        return kg_fail(err, KG_ERR_IO, "cannot create %s: %s; choose another directory or mend its permissions", path,
                       strerror(errno));
    close(fd);
    int made = link(temporary, path) == 0 ? 0 : errno;
    unlink(temporary);
    if (made != 0 && made != EEXIST)
        return kg_fail(err, KG_ERR_IO, "cannot create %s: %s; choose another directory", path, strerror(made));
    snprintf(directory, sizeof directory, "%s", path);
    fd = open(dirname(directory), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0) {
        fsync(fd);
        close(fd);
    }
    return KG_OK;
}

enum kg_status kg_db_make_private(const char *path, struct kg_error *err)
{
    struct stat st;
    if (stat(path, &st) != 0)
        return errno == ENOENT ? make_file(path, err) : kg_fail(err, KG_ERR_IO, "cannot examine %s: %s", path, strerror(errno));
    if (!S_ISREG(st.st_mode))
        return kg_fail(err, KG_ERR_UNSUPPORTED, "%s is not a regular file; move it away", path);
    if ((st.st_mode & 077U) && chmod(path, st.st_mode & 0700U) != 0)
        return kg_fail(err, KG_ERR_IO, "cannot make %s private: %s; it must belong to you", path, strerror(errno));
    return KG_OK;
}

/* SQLite's own waiting pauses for longer and longer and so loses against a busy writer. */
#define PAUSE_MS 3

static int wait_again(void *busy_ms, int tries)
{
    if (tries >= (int)(intptr_t)busy_ms / PAUSE_MS)
        return 0;
    sqlite3_sleep(PAUSE_MS);
    return 1;
}

void kg_db_patience(sqlite3 *db, int busy_ms)
{
    sqlite3_busy_handler(db, wait_again, (void *)(intptr_t)busy_ms);
}

enum kg_status kg_db_connect(const char *path, int busy_ms, sqlite3 **out, struct kg_error *err)
{
    sqlite3 *db = NULL;
    int rc = sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE, NULL);
    enum kg_status status = rc == SQLITE_OK ? KG_OK : kg_db_fail(db, rc, "opening", err);
    if (status != KG_OK) {
        sqlite3_close(db);
        return status;
    }
    kg_db_patience(db, busy_ms);
    /* a file that somebody prepared must not run SQL of its own */
    sqlite3_db_config(db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    sqlite3_db_config(db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
    sqlite3_db_config(db, SQLITE_DBCONFIG_ENABLE_TRIGGER, 0, NULL);
    *out = db;
    return KG_OK;
}

enum kg_status kg_db_exec(sqlite3 *db, const char *sql, struct kg_error *err)
{
    int rc = sqlite3_exec(db, sql, NULL, NULL, NULL);
    return rc == SQLITE_OK ? KG_OK : kg_db_fail(db, rc, "a transaction", err);
}

enum kg_status kg_db_number(sqlite3 *db, const char *sql, sqlite3_int64 *out, struct kg_error *err)
{
    sqlite3_stmt *statement = NULL;
    int rc = sqlite3_prepare_v2(db, sql, -1, &statement, NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_step(statement);
    *out = rc == SQLITE_ROW ? sqlite3_column_int64(statement, 0) : 0;
    sqlite3_finalize(statement);
    return rc == SQLITE_ROW || rc == SQLITE_DONE ? KG_OK : kg_db_fail(db, rc, "a query", err);
}

enum kg_status kg_db_begin(sqlite3 *db, struct kg_error *err)
{
    kg_db_rollback(db);
    return kg_db_exec(db, "BEGIN IMMEDIATE", err);
}

void kg_db_rollback(sqlite3 *db)
{
    if (!sqlite3_get_autocommit(db))
        sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
}

/* Whether the file holds exactly the tables and indexes that we make. */
static enum kg_status same_schema(sqlite3 *db, const struct kg_db_format *format, bool *same, struct kg_error *err)
{
    sqlite3_stmt *statement = NULL;
    size_t n = 0;
    /* what a virtual table keeps its rows in is SQLite's, and differs from version to version */
    static const char query[] = "SELECT sql FROM sqlite_schema s WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite^_%' ESCAPE '^'"
                                " AND NOT EXISTS (SELECT 1 FROM pragma_table_list t WHERE t.name = s.name AND t.type = 'shadow')"
                                " ORDER BY s.rowid";
    int rc = sqlite3_prepare_v2(db, query, -1, &statement, NULL);
    *same = true;
    while (rc == SQLITE_OK && (rc = sqlite3_step(statement)) == SQLITE_ROW) {
        const char *sql = (const char *)sqlite3_column_text(statement, 0);
        *same = *same && sql && format->schema[n] && strcmp(sql, format->schema[n]) == 0;
        n += format->schema[n] != NULL;
        rc = sql ? SQLITE_OK : SQLITE_NOMEM;
    }
    *same = *same && format->schema[n] == NULL;
    sqlite3_finalize(statement);
    return rc == SQLITE_DONE ? KG_OK : kg_db_fail(db, rc, "reading the schema", err);
}

struct header {
    sqlite3_int64 application_id, version, objects;
};

static enum kg_status read_header(sqlite3 *db, struct header *header, struct kg_error *err)
{
    enum kg_status status = kg_db_number(db, "PRAGMA application_id", &header->application_id, err);
    if (status == KG_OK)
        status = kg_db_number(db, "PRAGMA user_version", &header->version, err);
    if (status == KG_OK)
        status = kg_db_number(db, "SELECT count(*) FROM sqlite_schema", &header->objects, err);
    return status;
}

static enum kg_status migrate(sqlite3 *db, const struct kg_db_format *format, int from, struct kg_error *err)
{
    char stamp[96];
    enum kg_status status = KG_OK;
    for (int v = from; v < format->version && status == KG_OK; v++)
        status = kg_db_exec(db, format->steps[v], err);
    snprintf(stamp, sizeof stamp, "PRAGMA application_id = %d; PRAGMA user_version = %d", format->application_id, format->version);
    return status == KG_OK ? kg_db_exec(db, stamp, err) : status;
}

/* Inside a transaction that holds the write lock. */
static enum kg_status settle_locked(sqlite3 *db, const struct kg_db_format *format, enum kg_db_state *state, struct kg_error *err)
{
    struct header header = { 0, 0, 0 };
    bool same = true;
    enum kg_status status = read_header(db, &header, err);
    if (status != KG_OK)
        return status;
    bool fresh = header.application_id == 0 && header.version == 0 && header.objects == 0;
    *state = fresh                                              ? KG_DB_CURRENT
             : header.application_id != format->application_id ? KG_DB_FOREIGN
             : header.version > format->version                 ? KG_DB_NEWER
             : header.version < 1                               ? KG_DB_FOREIGN
                                                                : KG_DB_CURRENT;
    if (*state != KG_DB_CURRENT)
        return KG_OK;
    for (int v = (int)header.version; v < format->version; v++)
        if (!format->steps[v]) {
            *state = KG_DB_OLDER;
            return KG_OK;
        }
    if (header.version < format->version)
        status = migrate(db, format, (int)header.version, err);
    if (status == KG_OK)
        status = same_schema(db, format, &same, err);
    if (status == KG_OK && !same)
        *state = KG_DB_FOREIGN;
    return status;
}

static enum kg_status settle_by_writing(sqlite3 *db, const struct kg_db_format *format, bool empty, enum kg_db_state *state,
                                        struct kg_error *err)
{
    enum kg_status status = empty && format->creation ? kg_db_exec(db, format->creation, err) : KG_OK;
    if (status == KG_OK)
        status = kg_db_exec(db, "BEGIN IMMEDIATE", err);
    if (status == KG_OK)
        status = settle_locked(db, format, state, err);
    if (status == KG_OK && *state == KG_DB_CURRENT)
        status = kg_db_exec(db, "COMMIT", err);
    kg_db_rollback(db);
    return status;
}

/* A change of journal mode does not wait for other connections by itself. */
static enum kg_status apply_settings(sqlite3 *db, const char *settings, struct kg_error *err)
{
    enum kg_status status;
    for (int tries = 0; (status = kg_db_exec(db, settings, err)) == KG_ERR_BUSY && tries < 100; tries++)
        sqlite3_sleep(20);
    return status;
}

enum kg_status kg_db_settle(sqlite3 *db, const struct kg_db_format *format, enum kg_db_state *state, struct kg_error *err)
{
    struct header header;
    bool same = false;
    /* the usual case needs no write lock */
    enum kg_status status = read_header(db, &header, err);
    if (status == KG_OK && header.application_id == format->application_id && header.version == format->version) {
        status = same_schema(db, format, &same, err);
        *state = same ? KG_DB_CURRENT : KG_DB_FOREIGN;
    } else if (status == KG_OK) {
        status = settle_by_writing(db, format, header.objects == 0, state, err);
    }
    if (status == KG_OK && *state == KG_DB_CURRENT)
        status = apply_settings(db, format->settings, err);
    if (status == KG_ERR_CORRUPT) {
        *state = (sqlite3_errcode(db) & 0xff) == SQLITE_NOTADB ? KG_DB_FOREIGN : KG_DB_DAMAGED;
        return KG_OK;
    }
    return status;
}
