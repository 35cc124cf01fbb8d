#include "repo-index/store_db.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "repo-index/store_fts.h"

#define APPLICATION_ID 0x6b676978 /* "kgix" */
#define SCHEMA_VERSION 9
#define PAUSE_MS 5

static const char *const statement_text[KG_STORE_STATEMENTS] = {
    [KG_STORE_PUT_FILE] = "INSERT OR REPLACE INTO file(path, kind, doc, dev, ino, size, mtime, ctime) VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
    [KG_STORE_REMOVE_FILE] = "DELETE FROM file WHERE path = ?1",
    [KG_STORE_FIND_DOC] = "SELECT id FROM doc WHERE digest = ?1 AND reading = ?2",
    [KG_STORE_ADD_DOC] = "INSERT INTO doc(digest, reading, words, lines, imports, defined, names) VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    [KG_STORE_ADD_WORDS] = "INSERT INTO words(rowid, term) VALUES(?1, ?2)",
    [KG_STORE_DOCS_WITH] = "SELECT rowid FROM words WHERE words MATCH ?1",
    [KG_STORE_IMPORTS] = "SELECT imports FROM doc WHERE id = ?1",
    [KG_STORE_PUT_SYMBOLS] = "INSERT OR REPLACE INTO symbols(doc, source, records) SELECT ?1, ?2, ?3 WHERE EXISTS (SELECT 1 FROM doc WHERE id = ?1)",
    [KG_STORE_SYMBOLS] = "SELECT records FROM symbols WHERE doc = ?1",
    [KG_STORE_FIND_COMMIT] = "SELECT id FROM past WHERE oid = ?1",
    [KG_STORE_ADD_COMMIT] = "INSERT INTO past(oid, words, paths) VALUES(?1, ?2, ?3)",
    [KG_STORE_PUT_HISTORY] = "INSERT OR REPLACE INTO history(id, head, log) VALUES(1, ?1, ?2)",
    [KG_STORE_GRAPH_KNOWN] = "SELECT edition FROM graph WHERE id = 1",
    [KG_STORE_PUT_GRAPH] = "INSERT OR REPLACE INTO graph(id, edition, edges) VALUES(1, ?1, ?2)",
    [KG_STORE_COMMIT] = "SELECT words, paths FROM past WHERE id = ?1",
};

static const char schema[] =
    "CREATE TABLE file(path BLOB PRIMARY KEY, kind INTEGER NOT NULL, doc INTEGER NOT NULL, dev INTEGER, ino INTEGER, size INTEGER, mtime INTEGER,"
    " ctime INTEGER) WITHOUT ROWID;"
    "CREATE TABLE doc(id INTEGER PRIMARY KEY, digest BLOB NOT NULL, reading INTEGER NOT NULL, words INTEGER NOT NULL,"
    " lines INTEGER NOT NULL, imports BLOB, defined INTEGER NOT NULL, names BLOB, UNIQUE(digest, reading));"
    "CREATE TABLE symbols(doc INTEGER PRIMARY KEY, source INTEGER NOT NULL, records BLOB);"
    "CREATE TABLE past(id INTEGER PRIMARY KEY, oid BLOB NOT NULL UNIQUE, words BLOB, paths BLOB);"
    "CREATE TABLE history(id INTEGER PRIMARY KEY, head BLOB NOT NULL, log BLOB);"
    "CREATE TABLE graph(id INTEGER PRIMARY KEY, edition BLOB NOT NULL, edges BLOB);"
    "CREATE VIRTUAL TABLE words USING fts5(term, content='', detail=none, columnsize=0, tokenize='kedge');"
    "INSERT INTO words(words, rank) VALUES('automerge', 8); INSERT INTO words(words, rank) VALUES('hashsize', 2097152);";

enum kg_status kg_store_fail(struct kg_store *store, int code, struct kg_error *err)
{
    const char *text = store->db ? sqlite3_errmsg(store->db) : sqlite3_errstr(code);
    switch (code & 0xff) {
    case SQLITE_NOMEM:
        return kg_fail_nomem(err, "using the index of the repository");
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return kg_fail(err, KG_ERR_BUSY, "the index %s is being written by another process; try again", store->path);
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
    case SQLITE_FORMAT:
    case SQLITE_ERROR: /* tables that are not ours */
    case SQLITE_MISMATCH:
        return kg_fail(err, KG_ERR_CORRUPT, "the index %s is damaged (%s); it will be built again", store->path, text);
    case SQLITE_FULL:
        return kg_fail(err, KG_ERR_FULL, "no room for the index %s; make room, or choose another place with KEDGE_CACHE", store->path);
    default:
        return kg_fail(err, KG_ERR_IO, "cannot use the index %s: %s; mend its permissions, or choose another place with KEDGE_CACHE", store->path, text);
    }
}

enum kg_status kg_store_run(struct kg_store *store, const char *sql, struct kg_error *err)
{
    int code = sqlite3_exec(store->db, sql, NULL, NULL, NULL);
    return code == SQLITE_OK ? KG_OK : kg_store_fail(store, code, err);
}

enum kg_status kg_store_prepared(struct kg_store *store, enum kg_store_statement which, sqlite3_stmt **out, struct kg_error *err)
{
    if (!store->statements[which]) {
        int code = sqlite3_prepare_v3(store->db, statement_text[which], -1, SQLITE_PREPARE_PERSISTENT, &store->statements[which], NULL);
        if (code != SQLITE_OK)
            return kg_store_fail(store, code, err);
    }
    *out = store->statements[which];
    return KG_OK;
}

/* Runs a prepared statement that returns no rows. */
enum kg_status kg_store_finish(struct kg_store *store, sqlite3_stmt *statement, struct kg_error *err)
{
    int code = sqlite3_step(statement);
    enum kg_status status = code == SQLITE_DONE || code == SQLITE_ROW ? KG_OK : kg_store_fail(store, code, err);
    sqlite3_reset(statement);
    sqlite3_clear_bindings(statement);
    return status;
}

int64_t kg_store_number(struct kg_store *store, const char *sql, int *code)
{
    sqlite3_stmt *statement = NULL;
    int64_t value = -1;
    *code = sqlite3_prepare_v2(store->db, sql, -1, &statement, NULL);
    if (*code == SQLITE_OK && (*code = sqlite3_step(statement)) == SQLITE_ROW) {
        value = sqlite3_column_int64(statement, 0);
        *code = SQLITE_OK;
    }
    sqlite3_finalize(statement);
    return value;
}

static void forget_statements(struct kg_store *store)
{
    for (int i = 0; i < KG_STORE_STATEMENTS; i++) {
        sqlite3_finalize(store->statements[i]);
        store->statements[i] = NULL;
    }
}

static void disconnect(struct kg_store *store)
{
    forget_statements(store);
    sqlite3_close(store->db);
    store->db = NULL;
}

static enum kg_status cannot_open(const char *path, struct kg_error *err)
{
    return kg_fail(err, KG_ERR_IO, "cannot open the index %s: %s; mend its permissions, or choose another place with KEDGE_CACHE", path,
                   strerror(errno));
}

/* It gets its name when it is closed already: closing it later would take away the locks of those in this process who have it open. */
static enum kg_status make_file(const char *path, struct kg_error *err)
{
    char temporary[KG_PATH_MAX + 8];
    snprintf(temporary, sizeof temporary, "%s.XXXXXX", path);
    int fd = mkostemp(temporary, O_CLOEXEC); /* 0600 */
    if (fd < 0)
        return cannot_open(path, err);
    close(fd);
    enum kg_status status = link(temporary, path) != 0 && errno != EEXIST ? cannot_open(path, err) : KG_OK;
    unlink(temporary);
    return status;
}

/* The file is made by us before SQLite sees it, so that it and what SQLite puts beside it are never open to others. */
static enum kg_status claim_file(const char *path, struct kg_error *err)
{
    struct stat st;
    enum kg_status status = lstat(path, &st) != 0 && errno == ENOENT ? make_file(path, err) : KG_OK;
    if (status != KG_OK)
        return status;
    if (lstat(path, &st) != 0)
        return cannot_open(path, err);
    if (!S_ISREG(st.st_mode) || ((st.st_mode & 077U) && chmod(path, 0600) != 0))
        return kg_fail(err, KG_ERR_IO, "%s is not a file of ours; remove it, or choose another place with KEDGE_CACHE", path);
    utimensat(AT_FDCWD, path, NULL, AT_SYMLINK_NOFOLLOW); /* used now */
    return KG_OK;
}

static enum kg_status connect_file(struct kg_store *store, struct kg_error *err)
{
    enum kg_status status = claim_file(store->path, err);
    if (status != KG_OK)
        return status;
    int code = sqlite3_open_v2(store->path, &store->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_PRIVATECACHE, NULL);
    if (code != SQLITE_OK)
        return kg_store_fail(store, code, err);
    sqlite3_busy_timeout(store->db, KG_STORE_BUSY_MS);
    sqlite3_db_config(store->db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    sqlite3_db_config(store->db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
    if (!kg_store_add_tokenizer(store->db))
        return kg_fail(err, KG_ERR_UNSUPPORTED, "this SQLite has no FTS5; install one that has");
    return kg_store_run(store, "PRAGMA secure_delete = OFF; PRAGMA synchronous = NORMAL; PRAGMA cache_size = -16384; PRAGMA temp_store = MEMORY;"
                               "PRAGMA journal_size_limit = 16777216", err);
}

/* Of several who do it at once, SQLite lets one wait for the others, and tells these at once that the file is busy. */
static enum kg_status use_wal(struct kg_store *store, struct kg_error *err)
{
    enum kg_status status = KG_ERR_BUSY;
    for (int tries = 0; tries < KG_STORE_BUSY_MS / PAUSE_MS && status == KG_ERR_BUSY; tries++) {
        if (tries > 0)
            sqlite3_sleep(PAUSE_MS);
        status = kg_store_run(store, "PRAGMA journal_mode = WAL", err);
    }
    return status;
}

static enum kg_status make_schema(struct kg_store *store, struct kg_error *err)
{
    char stamp[160];
    int code;
    enum kg_status status = use_wal(store, err);
    if (status == KG_OK)
        status = kg_store_run(store, "BEGIN IMMEDIATE", err);
    if (status != KG_OK)
        return status;
    /* another process may have been faster */
    if (kg_store_number(store, "PRAGMA user_version", &code) != SCHEMA_VERSION || code != SQLITE_OK) {
        status = kg_store_run(store, schema, err);
        snprintf(stamp, sizeof stamp, "PRAGMA application_id = %d; PRAGMA user_version = %d", APPLICATION_ID, SCHEMA_VERSION);
        status = status == KG_OK ? kg_store_run(store, stamp, err) : status;
    }
    if (status == KG_OK)
        return kg_store_commit(store, err);
    kg_store_rollback(store);
    return status;
}

static enum kg_status check_tables(struct kg_store *store, bool *empty, struct kg_error *err)
{
    int code;
    int64_t version = kg_store_number(store, "PRAGMA user_version", &code);
    int64_t tables = code == SQLITE_OK ? kg_store_number(store, "SELECT count(*) FROM sqlite_schema", &code) : 0;
    if (code != SQLITE_OK)
        return kg_store_fail(store, code, err);
    *empty = version == 0 && tables == 0;
    if (*empty)
        return KG_OK;
    if (version != SCHEMA_VERSION || kg_store_number(store, "PRAGMA application_id", &code) != APPLICATION_ID)
        return kg_fail(err, KG_ERR_CORRUPT, "the index %s is of another version; it will be built again", store->path);
    kg_store_number(store, "SELECT 1 FROM file, doc, symbols, past, history, graph LIMIT 1", &code);
    if (code == SQLITE_OK || code == SQLITE_DONE)
        kg_store_number(store, "SELECT rowid FROM words WHERE words MATCH 'a'", &code);
    return code == SQLITE_OK || code == SQLITE_DONE ? KG_OK : kg_store_fail(store, code, err);
}

/* KG_ERR_CORRUPT unless the tables are those that we make and can be read. In one transaction: another process may be about to
 * make them. */
static enum kg_status check_schema(struct kg_store *store, bool *empty, struct kg_error *err)
{
    enum kg_status status = kg_store_run(store, "BEGIN", err);
    if (status == KG_OK)
        status = check_tables(store, empty, err);
    kg_store_rollback(store);
    return status;
}

enum kg_status kg_store_reset(struct kg_store *store, struct kg_error *err)
{
    int code = SQLITE_NOTADB;
    forget_statements(store);
    if (store->db) {
        sqlite3_exec(store->db, "ROLLBACK", NULL, NULL, NULL);
        /* SQLite's own way to empty a file that others may have open, and that may be broken */
        code = sqlite3_db_config(store->db, SQLITE_DBCONFIG_RESET_DATABASE, 1, NULL);
        if (code == SQLITE_OK)
            code = sqlite3_exec(store->db, "VACUUM", NULL, NULL, NULL);
        sqlite3_db_config(store->db, SQLITE_DBCONFIG_RESET_DATABASE, 0, NULL);
    }
    if (code == SQLITE_BUSY)
        return kg_store_fail(store, code, err);
    disconnect(store);
    if (code != SQLITE_OK) {
        char beside[KG_PATH_MAX + 8];
        unlink(store->path);
        snprintf(beside, sizeof beside, "%s-wal", store->path);
        unlink(beside);
        snprintf(beside, sizeof beside, "%s-shm", store->path);
        unlink(beside);
    }
    enum kg_status status = connect_file(store, err);
    return status == KG_OK ? make_schema(store, err) : status;
}

enum kg_status kg_store_open(const char *path, struct kg_store **out, struct kg_error *err)
{
    struct kg_store *store = calloc(1, sizeof *store);
    if (!store)
        return kg_fail_nomem(err, "opening the index of the repository");
    snprintf(store->path, sizeof store->path, "%s", path);
    bool empty = false;
    enum kg_status status = connect_file(store, err);
    if (status == KG_OK)
        status = check_schema(store, &empty, err);
    if (status == KG_OK && empty)
        status = make_schema(store, err);
    if (status == KG_ERR_CORRUPT)
        status = kg_store_reset(store, err);
    if (status != KG_OK) {
        kg_store_close(store);
        return status;
    }
    *out = store;
    return KG_OK;
}

void kg_store_close(struct kg_store *store)
{
    if (!store)
        return;
    disconnect(store);
    free(store);
}

enum kg_status kg_store_version(struct kg_store *store, uint64_t *out, struct kg_error *err)
{
    int code;
    int64_t others = kg_store_number(store, "PRAGMA data_version", &code);
    *out = (uint64_t)others * 1000003U + store->own_changes;
    return code == SQLITE_OK ? KG_OK : kg_store_fail(store, code, err);
}

enum kg_status kg_store_begin_read(struct kg_store *store, struct kg_error *err)
{
    return kg_store_run(store, "BEGIN", err);
}

enum kg_status kg_store_begin(struct kg_store *store, struct kg_error *err)
{
    return kg_store_run(store, "BEGIN IMMEDIATE", err);
}

enum kg_status kg_store_commit(struct kg_store *store, struct kg_error *err)
{
    store->own_changes += sqlite3_txn_state(store->db, NULL) == SQLITE_TXN_WRITE;
    enum kg_status status = kg_store_run(store, "COMMIT", err);
    if (status != KG_OK)
        kg_store_rollback(store);
    return status;
}

void kg_store_rollback(struct kg_store *store)
{
    if (store->db && !sqlite3_get_autocommit(store->db))
        sqlite3_exec(store->db, "ROLLBACK", NULL, NULL, NULL);
}

/* Steps through the rows of a statement of its own; take returns nonzero to stop. */
enum kg_status kg_store_each_row(struct kg_store *store, const char *sql, int (*take)(void *to, sqlite3_stmt *row), void *to, struct kg_error *err)
{
    sqlite3_stmt *statement = NULL;
    int code = sqlite3_prepare_v2(store->db, sql, -1, &statement, NULL);
    while (code == SQLITE_OK || code == SQLITE_ROW) {
        code = sqlite3_step(statement);
        if (code != SQLITE_ROW || take(to, statement))
            break;
    }
    enum kg_status status = code == SQLITE_DONE || code == SQLITE_ROW ? KG_OK : kg_store_fail(store, code, err);
    sqlite3_finalize(statement);
    return status;
}
