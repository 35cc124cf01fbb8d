#include "repo-index/store.h"

#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "repo-index/store_fts.h"
#include "repo-index/words.h"

#define APPLICATION_ID 0x6b676978 /* "kgix" */
#define SCHEMA_VERSION 9
#define BUSY_MS 10000
#define PAUSE_MS 5
#define DIGEST_BYTES KG_STORE_DIGEST

enum statement { PUT_FILE, REMOVE_FILE, FIND_DOC, ADD_DOC, ADD_WORDS, DOCS_WITH, IMPORTS, PUT_SYMBOLS, SYMBOLS, FIND_COMMIT, ADD_COMMIT, PUT_HISTORY, COMMIT, GRAPH_KNOWN, PUT_GRAPH, STATEMENTS };

struct kg_store {
    sqlite3 *db;
    sqlite3_stmt *statements[STATEMENTS];
    char path[KG_PATH_MAX];
    uint64_t own_changes;
};

static const char *const statement_text[STATEMENTS] = {
    [PUT_FILE] = "INSERT OR REPLACE INTO file(path, kind, doc, dev, ino, size, mtime, ctime) VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
    [REMOVE_FILE] = "DELETE FROM file WHERE path = ?1",
    [FIND_DOC] = "SELECT id FROM doc WHERE digest = ?1 AND reading = ?2",
    [ADD_DOC] = "INSERT INTO doc(digest, reading, words, lines, imports, defined, names) VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    [ADD_WORDS] = "INSERT INTO words(rowid, term) VALUES(?1, ?2)",
    [DOCS_WITH] = "SELECT rowid FROM words WHERE words MATCH ?1",
    [IMPORTS] = "SELECT imports FROM doc WHERE id = ?1",
    [PUT_SYMBOLS] = "INSERT OR REPLACE INTO symbols(doc, source, records) SELECT ?1, ?2, ?3 WHERE EXISTS (SELECT 1 FROM doc WHERE id = ?1)",
    [SYMBOLS] = "SELECT records FROM symbols WHERE doc = ?1",
    [FIND_COMMIT] = "SELECT id FROM past WHERE oid = ?1",
    [ADD_COMMIT] = "INSERT INTO past(oid, words, paths) VALUES(?1, ?2, ?3)",
    [PUT_HISTORY] = "INSERT OR REPLACE INTO history(id, head, log) VALUES(1, ?1, ?2)",
    [GRAPH_KNOWN] = "SELECT edition FROM graph WHERE id = 1",
    [PUT_GRAPH] = "INSERT OR REPLACE INTO graph(id, edition, edges) VALUES(1, ?1, ?2)",
    [COMMIT] = "SELECT words, paths FROM past WHERE id = ?1",
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

static enum kg_status failed(struct kg_store *store, int code, struct kg_error *err)
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

static enum kg_status run(struct kg_store *store, const char *sql, struct kg_error *err)
{
    int code = sqlite3_exec(store->db, sql, NULL, NULL, NULL);
    return code == SQLITE_OK ? KG_OK : failed(store, code, err);
}

static enum kg_status prepared(struct kg_store *store, enum statement which, sqlite3_stmt **out, struct kg_error *err)
{
    if (!store->statements[which]) {
        int code = sqlite3_prepare_v3(store->db, statement_text[which], -1, SQLITE_PREPARE_PERSISTENT, &store->statements[which], NULL);
        if (code != SQLITE_OK)
            return failed(store, code, err);
    }
    *out = store->statements[which];
    return KG_OK;
}

/* Runs a prepared statement that returns no rows. */
static enum kg_status finish(struct kg_store *store, sqlite3_stmt *statement, struct kg_error *err)
{
    int code = sqlite3_step(statement);
    enum kg_status status = code == SQLITE_DONE || code == SQLITE_ROW ? KG_OK : failed(store, code, err);
    sqlite3_reset(statement);
    sqlite3_clear_bindings(statement);
    return status;
}

static int64_t pragma_number(struct kg_store *store, const char *sql, int *code)
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
    for (int i = 0; i < STATEMENTS; i++) {
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
        return failed(store, code, err);
    sqlite3_busy_timeout(store->db, BUSY_MS);
    sqlite3_db_config(store->db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    sqlite3_db_config(store->db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
    if (!kg_store_add_tokenizer(store->db))
        return kg_fail(err, KG_ERR_UNSUPPORTED, "this SQLite has no FTS5; install one that has");
    return run(store, "PRAGMA secure_delete = OFF; PRAGMA synchronous = NORMAL; PRAGMA cache_size = -16384; PRAGMA temp_store = MEMORY;"
                      "PRAGMA journal_size_limit = 16777216", err);
}

/* Of several who do it at once, SQLite lets one wait for the others, and tells these at once that the file is busy. */
static enum kg_status use_wal(struct kg_store *store, struct kg_error *err)
{
    enum kg_status status = KG_ERR_BUSY;
    for (int tries = 0; tries < BUSY_MS / PAUSE_MS && status == KG_ERR_BUSY; tries++) {
        if (tries > 0)
            sqlite3_sleep(PAUSE_MS);
        status = run(store, "PRAGMA journal_mode = WAL", err);
    }
    return status;
}

static enum kg_status make_schema(struct kg_store *store, struct kg_error *err)
{
    char stamp[160];
    int code;
    enum kg_status status = use_wal(store, err);
    if (status == KG_OK)
        status = run(store, "BEGIN IMMEDIATE", err);
    if (status != KG_OK)
        return status;
    /* another process may have been faster */
    if (pragma_number(store, "PRAGMA user_version", &code) != SCHEMA_VERSION || code != SQLITE_OK) {
        status = run(store, schema, err);
        snprintf(stamp, sizeof stamp, "PRAGMA application_id = %d; PRAGMA user_version = %d", APPLICATION_ID, SCHEMA_VERSION);
        status = status == KG_OK ? run(store, stamp, err) : status;
    }
    if (status == KG_OK)
        return kg_store_commit(store, err);
    kg_store_rollback(store);
    return status;
}

static enum kg_status check_tables(struct kg_store *store, bool *empty, struct kg_error *err)
{
    int code;
    int64_t version = pragma_number(store, "PRAGMA user_version", &code);
    int64_t tables = code == SQLITE_OK ? pragma_number(store, "SELECT count(*) FROM sqlite_schema", &code) : 0;
    if (code != SQLITE_OK)
        return failed(store, code, err);
    *empty = version == 0 && tables == 0;
    if (*empty)
        return KG_OK;
    if (version != SCHEMA_VERSION || pragma_number(store, "PRAGMA application_id", &code) != APPLICATION_ID)
        return kg_fail(err, KG_ERR_CORRUPT, "the index %s is of another version; it will be built again", store->path);
    pragma_number(store, "SELECT 1 FROM file, doc, symbols, past, history, graph LIMIT 1", &code);
    if (code == SQLITE_OK || code == SQLITE_DONE)
        pragma_number(store, "SELECT rowid FROM words WHERE words MATCH 'a'", &code);
    return code == SQLITE_OK || code == SQLITE_DONE ? KG_OK : failed(store, code, err);
}

/* KG_ERR_CORRUPT unless the tables are those that we make and can be read. In one transaction: another process may be about to
 * make them. */
static enum kg_status check_schema(struct kg_store *store, bool *empty, struct kg_error *err)
{
    enum kg_status status = run(store, "BEGIN", err);
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
        return failed(store, code, err);
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
    int64_t others = pragma_number(store, "PRAGMA data_version", &code);
    *out = (uint64_t)others * 1000003U + store->own_changes;
    return code == SQLITE_OK ? KG_OK : failed(store, code, err);
}

enum kg_status kg_store_begin_read(struct kg_store *store, struct kg_error *err)
{
    return run(store, "BEGIN", err);
}

enum kg_status kg_store_begin(struct kg_store *store, struct kg_error *err)
{
    return run(store, "BEGIN IMMEDIATE", err);
}

enum kg_status kg_store_commit(struct kg_store *store, struct kg_error *err)
{
    store->own_changes += sqlite3_txn_state(store->db, NULL) == SQLITE_TXN_WRITE;
    enum kg_status status = run(store, "COMMIT", err);
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
static enum kg_status each_row(struct kg_store *store, const char *sql, int (*take)(void *to, sqlite3_stmt *row), void *to, struct kg_error *err)
{
    sqlite3_stmt *statement = NULL;
    int code = sqlite3_prepare_v2(store->db, sql, -1, &statement, NULL);
    while (code == SQLITE_OK || code == SQLITE_ROW) {
        code = sqlite3_step(statement);
        if (code != SQLITE_ROW || take(to, statement))
            break;
    }
    enum kg_status status = code == SQLITE_DONE || code == SQLITE_ROW ? KG_OK : failed(store, code, err);
    sqlite3_finalize(statement);
    return status;
}

/* A path in a row, NULL unless it is one that the walk could have given: a damaged file must not name others. */
static const char *path_in(sqlite3_stmt *row, int column, char out[KG_PATH_MAX])
{
    int length = sqlite3_column_bytes(row, column);
    const void *bytes = sqlite3_column_blob(row, column);
    if (!bytes || length <= 0 || length >= KG_PATH_MAX || memchr(bytes, '\0', (size_t)length))
        return NULL;
    memcpy(out, bytes, (size_t)length);
    out[length] = '\0';
    return out;
}

struct file_sink {
    int (*each)(void *ctx, const struct kg_store_file *file);
    void *ctx;
};

static int take_file(void *to, sqlite3_stmt *row)
{
    const struct file_sink *sink = to;
    char path[KG_PATH_MAX];
    struct kg_store_file file = {
        .path = path_in(row, 0, path),
        .kind = (enum kg_file_kind)sqlite3_column_int(row, 1),
        .doc = sqlite3_column_int64(row, 2),
        .stat = { .dev = (uint64_t)sqlite3_column_int64(row, 3), .ino = (uint64_t)sqlite3_column_int64(row, 4),
                  .size = (uint64_t)sqlite3_column_int64(row, 5), .mtime = sqlite3_column_int64(row, 6), .ctime = sqlite3_column_int64(row, 7) },
    };
    return file.path ? sink->each(sink->ctx, &file) : 0;
}

enum kg_status kg_store_files(struct kg_store *store, int (*each)(void *ctx, const struct kg_store_file *file), void *ctx, struct kg_error *err)
{
    struct file_sink sink = { each, ctx };
    return each_row(store, "SELECT path, kind, doc, dev, ino, size, mtime, ctime FROM file ORDER BY path", take_file, &sink, err);
}

struct digest_sink {
    int (*each)(void *ctx, int64_t doc, const unsigned char digest[KG_STORE_DIGEST]);
    void *ctx;
};

static int take_digest(void *to, sqlite3_stmt *row)
{
    const struct digest_sink *sink = to;
    const unsigned char *digest = sqlite3_column_blob(row, 1);
    if (!digest || sqlite3_column_bytes(row, 1) != KG_STORE_DIGEST)
        return 0;
    return sink->each(sink->ctx, sqlite3_column_int64(row, 0), digest);
}

enum kg_status kg_store_digests(struct kg_store *store, int (*each)(void *ctx, int64_t doc, const unsigned char digest[KG_STORE_DIGEST]), void *ctx,
                                struct kg_error *err)
{
    struct digest_sink sink = { each, ctx };
    return each_row(store, "SELECT id, digest FROM doc ORDER BY id", take_digest, &sink, err);
}

struct names_sink {
    int (*each)(void *ctx, const struct kg_store_names *names);
    void *ctx;
};

static int take_names(void *to, sqlite3_stmt *row)
{
    const struct names_sink *sink = to;
    struct kg_store_names out = { .doc = sqlite3_column_int64(row, 0), .count = (uint32_t)sqlite3_column_bytes(row, 2) / sizeof *out.names };
    int64_t defined = sqlite3_column_int64(row, 1);
    uint32_t names[2 * KG_NAMES_MAX]; /* a blob's bytes lie anywhere */
    if (out.count == 0 || out.count > 2 * KG_NAMES_MAX || defined < 0 || defined > out.count)
        return 0;
    memcpy(names, sqlite3_column_blob(row, 2), out.count * sizeof *names);
    out.names = names;
    out.defined = (uint32_t)defined;
    return sink->each(sink->ctx, &out);
}

enum kg_status kg_store_names(struct kg_store *store, int (*each)(void *ctx, const struct kg_store_names *names), void *ctx, struct kg_error *err)
{
    struct names_sink sink = { each, ctx };
    return each_row(store, "SELECT id, defined, names FROM doc WHERE names IS NOT NULL ORDER BY id", take_names, &sink, err);
}

struct text_sink {
    int (*each)(void *ctx, const struct kg_store_text *text);
    void *ctx;
};

static int take_text(void *to, sqlite3_stmt *row)
{
    static const unsigned char none[DIGEST_BYTES];
    const struct text_sink *sink = to;
    char path[KG_PATH_MAX];
    struct kg_store_text text = {
        .path = path_in(row, 0, path),
        .bytes = (uint64_t)sqlite3_column_int64(row, 1),
        .doc = sqlite3_column_int64(row, 2),
        .words = (uint32_t)sqlite3_column_int64(row, 3),
        .lines = (uint32_t)sqlite3_column_int64(row, 4),
        .digest = sqlite3_column_bytes(row, 5) == DIGEST_BYTES ? sqlite3_column_blob(row, 5) : none,
        .reading = (uint32_t)sqlite3_column_int64(row, 6),
    };
    return text.path ? sink->each(sink->ctx, &text) : 0;
}

enum kg_status kg_store_texts(struct kg_store *store, int (*each)(void *ctx, const struct kg_store_text *text), void *ctx, struct kg_error *err)
{
    struct text_sink sink = { each, ctx };
    return each_row(store, "SELECT f.path, f.size, d.id, d.words, d.lines, d.digest, d.reading FROM file f JOIN doc d ON d.id = f.doc WHERE f.kind = 0 ORDER BY f.path",
                    take_text, &sink, err);
}

enum kg_status kg_store_put_file(struct kg_store *store, const struct kg_store_file *file, struct kg_error *err)
{
    sqlite3_stmt *s = NULL;
    enum kg_status status = prepared(store, PUT_FILE, &s, err);
    if (status != KG_OK)
        return status;
    sqlite3_bind_blob(s, 1, file->path, (int)strlen(file->path), SQLITE_STATIC);
    sqlite3_bind_int(s, 2, (int)file->kind);
    sqlite3_bind_int64(s, 3, file->doc);
    sqlite3_bind_int64(s, 4, (int64_t)file->stat.dev);
    sqlite3_bind_int64(s, 5, (int64_t)file->stat.ino);
    sqlite3_bind_int64(s, 6, (int64_t)file->stat.size);
    sqlite3_bind_int64(s, 7, file->stat.mtime);
    sqlite3_bind_int64(s, 8, file->stat.ctime);
    return finish(store, s, err);
}

enum kg_status kg_store_remove_file(struct kg_store *store, const char *path, struct kg_error *err)
{
    sqlite3_stmt *s = NULL;
    enum kg_status status = prepared(store, REMOVE_FILE, &s, err);
    if (status != KG_OK)
        return status;
    sqlite3_bind_blob(s, 1, path, (int)strlen(path), SQLITE_STATIC);
    return finish(store, s, err);
}

static enum kg_status find_doc(struct kg_store *store, const struct kg_store_content *content, int64_t *out, struct kg_error *err)
{
    sqlite3_stmt *s = NULL;
    enum kg_status status = prepared(store, FIND_DOC, &s, err);
    if (status != KG_OK)
        return status;
    sqlite3_bind_blob(s, 1, content->digest.bytes, DIGEST_BYTES, SQLITE_STATIC);
    sqlite3_bind_int64(s, 2, content->reading);
    int code = sqlite3_step(s);
    *out = code == SQLITE_ROW ? sqlite3_column_int64(s, 0) : 0;
    sqlite3_reset(s);
    return code == SQLITE_ROW || code == SQLITE_DONE ? KG_OK : failed(store, code, err);
}

enum kg_status kg_store_put_doc(struct kg_store *store, const struct kg_store_content *content, int64_t *out, struct kg_error *err)
{
    sqlite3_stmt *s = NULL;
    enum kg_status status = find_doc(store, content, out, err);
    if (status != KG_OK || *out)
        return status;
    if ((status = prepared(store, ADD_DOC, &s, err)) != KG_OK)
        return status;
    sqlite3_bind_blob(s, 1, content->digest.bytes, DIGEST_BYTES, SQLITE_STATIC);
    sqlite3_bind_int64(s, 2, content->reading);
    sqlite3_bind_int64(s, 3, content->terms.words);
    sqlite3_bind_int64(s, 4, content->terms.lines);
    sqlite3_bind_blob(s, 5, content->imports, (int)content->import_length, SQLITE_STATIC);
    sqlite3_bind_int64(s, 6, content->terms.defined);
    sqlite3_bind_blob(s, 7, content->terms.names, (int)(content->terms.name_count * sizeof *content->terms.names), SQLITE_STATIC);
    if ((status = finish(store, s, err)) != KG_OK)
        return status;
    *out = sqlite3_last_insert_rowid(store->db);
    if ((status = prepared(store, ADD_WORDS, &s, err)) != KG_OK)
        return status;
    sqlite3_bind_int64(s, 1, *out);
    sqlite3_bind_text(s, 2, content->terms.bytes, (int)content->terms.length, SQLITE_STATIC);
    return finish(store, s, err);
}

enum kg_status kg_store_docs_with(struct kg_store *store, const char *term, size_t length, bool prefix, int (*each)(void *ctx, int64_t doc),
                                  void *ctx, struct kg_error *err)
{
    char query[2 * KG_WORD_MAX + 8];
    sqlite3_stmt *s = NULL;
    enum kg_status status = prepared(store, DOCS_WITH, &s, err);
    if (status != KG_OK || length > KG_WORD_MAX + 1 || memchr(term, '"', length) || memchr(term, ' ', length))
        return status;
    int n = snprintf(query, sizeof query, "\"%.*s\"%s", (int)length, term, prefix ? "*" : "");
    sqlite3_bind_text(s, 1, query, n, SQLITE_STATIC);
    int code;
    while ((code = sqlite3_step(s)) == SQLITE_ROW)
        if (each(ctx, sqlite3_column_int64(s, 0)))
            break;
    status = code == SQLITE_ROW || code == SQLITE_DONE ? KG_OK : failed(store, code, err);
    sqlite3_reset(s);
    sqlite3_clear_bindings(s);
    return status;
}

static enum kg_status give_records(struct kg_store *store, enum statement which, int64_t doc, int (*take)(void *ctx, const char *records, size_t length),
                                   void *ctx, struct kg_error *err)
{
    sqlite3_stmt *s = NULL;
    enum kg_status status = prepared(store, which, &s, err);
    if (status != KG_OK)
        return status;
    sqlite3_bind_int64(s, 1, doc);
    int code = sqlite3_step(s);
    if (code == SQLITE_ROW && sqlite3_column_bytes(s, 0) > 0)
        take(ctx, sqlite3_column_blob(s, 0), (size_t)sqlite3_column_bytes(s, 0));
    status = code == SQLITE_ROW || code == SQLITE_DONE ? KG_OK : failed(store, code, err);
    sqlite3_reset(s);
    return status;
}

enum kg_status kg_store_imports(struct kg_store *store, int64_t doc, int (*take)(void *ctx, const char *records, size_t length), void *ctx,
                                struct kg_error *err)
{
    return give_records(store, IMPORTS, doc, take, ctx, err);
}

enum kg_status kg_store_symbols(struct kg_store *store, int64_t doc, int (*take)(void *ctx, const char *records, size_t length), void *ctx,
                                struct kg_error *err)
{
    return give_records(store, SYMBOLS, doc, take, ctx, err);
}

enum kg_status kg_store_put_symbols(struct kg_store *store, int64_t doc, enum kg_symbols_source source, const char *records, size_t length,
                                    struct kg_error *err)
{
    sqlite3_stmt *s = NULL;
    enum kg_status status = prepared(store, PUT_SYMBOLS, &s, err);
    if (status != KG_OK)
        return status;
    sqlite3_bind_int64(s, 1, doc);
    sqlite3_bind_int(s, 2, (int)source);
    sqlite3_bind_blob(s, 3, records, (int)length, SQLITE_STATIC);
    return finish(store, s, err);
}

struct unread_sink {
    int (*each)(void *ctx, const struct kg_store_unread *unread);
    void *ctx;
};

static int take_unread(void *to, sqlite3_stmt *row)
{
    const struct unread_sink *sink = to;
    char path[KG_PATH_MAX];
    struct kg_store_unread unread = { .path = path_in(row, 0, path), .doc = sqlite3_column_int64(row, 1) };
    const void *digest = sqlite3_column_blob(row, 2);
    if (!unread.path || !digest || sqlite3_column_bytes(row, 2) != DIGEST_BYTES)
        return 0;
    memcpy(unread.digest, digest, DIGEST_BYTES);
    return sink->each(sink->ctx, &unread);
}

enum kg_status kg_store_unread(struct kg_store *store, enum kg_symbols_source source, int (*each)(void *ctx, const struct kg_store_unread *unread), void *ctx,
                               struct kg_error *err)
{
    struct unread_sink sink = { each, ctx };
    char sql[300];
    snprintf(sql, sizeof sql,
             "SELECT min(f.path), d.id, d.digest FROM file f JOIN doc d ON d.id = f.doc LEFT JOIN symbols s ON s.doc = d.id"
             " WHERE f.kind = 0 AND (s.doc IS NULL OR s.source < %d) GROUP BY d.id ORDER BY 1", (int)source);
    return each_row(store, sql, take_unread, &sink, err);
}

enum kg_status kg_store_find_commit(struct kg_store *store, const void *oid, size_t length, int64_t *out, struct kg_error *err)
{
    sqlite3_stmt *s = NULL;
    enum kg_status status = prepared(store, FIND_COMMIT, &s, err);
    if (status != KG_OK)
        return status;
    sqlite3_bind_blob(s, 1, oid, (int)length, SQLITE_STATIC);
    int code = sqlite3_step(s);
    *out = code == SQLITE_ROW ? sqlite3_column_int64(s, 0) : 0;
    sqlite3_reset(s);
    return code == SQLITE_ROW || code == SQLITE_DONE ? KG_OK : failed(store, code, err);
}

enum kg_status kg_store_add_commit(struct kg_store *store, const void *oid, size_t length, const struct kg_store_commit *commit, int64_t *out, struct kg_error *err)
{
    sqlite3_stmt *s = NULL;
    enum kg_status status = prepared(store, ADD_COMMIT, &s, err);
    if (status != KG_OK)
        return status;
    sqlite3_bind_blob(s, 1, oid, (int)length, SQLITE_STATIC);
    sqlite3_bind_blob(s, 2, commit->words, (int)(commit->word_count * sizeof *commit->words), SQLITE_STATIC);
    sqlite3_bind_blob(s, 3, commit->paths, (int)commit->paths_length, SQLITE_STATIC);
    status = finish(store, s, err);
    *out = sqlite3_last_insert_rowid(store->db);
    return status;
}

enum kg_status kg_store_put_history(struct kg_store *store, const void *head, size_t length, const int64_t *log, size_t count, struct kg_error *err)
{
    sqlite3_stmt *s = NULL;
    enum kg_status status = prepared(store, PUT_HISTORY, &s, err);
    if (status != KG_OK)
        return status;
    sqlite3_bind_blob(s, 1, length ? head : "", (int)length, SQLITE_STATIC);
    sqlite3_bind_blob(s, 2, log, (int)(count * sizeof *log), SQLITE_STATIC);
    return finish(store, s, err);
}

struct history_sink {
    struct kg_store_history *out;
    bool failed;
};

static int take_history(void *to, sqlite3_stmt *row)
{
    struct history_sink *sink = to;
    size_t head = (size_t)sqlite3_column_bytes(row, 0), log = (size_t)sqlite3_column_bytes(row, 1);
    if (head > sizeof sink->out->head || log % sizeof(int64_t) != 0)
        return 1;
    sink->out->log = malloc(log + 1);
    sink->failed = !sink->out->log;
    if (sink->failed)
        return 1;
    if (head)
        memcpy(sink->out->head, sqlite3_column_blob(row, 0), head);
    if (log)
        memcpy(sink->out->log, sqlite3_column_blob(row, 1), log);
    sink->out->head_length = head;
    sink->out->count = log / sizeof(int64_t);
    return 1;
}

enum kg_status kg_store_history(struct kg_store *store, struct kg_store_history *out, struct kg_error *err)
{
    struct history_sink sink = { .out = out };
    *out = (struct kg_store_history){ 0 };
    enum kg_status status = each_row(store, "SELECT head, log FROM history WHERE id = 1", take_history, &sink, err);
    return status == KG_OK && sink.failed ? kg_fail_nomem(err, "reading the history of the repository") : status;
}

enum kg_status kg_store_commit_of(struct kg_store *store, int64_t id, void (*take)(void *ctx, const struct kg_store_commit *commit), void *ctx, struct kg_error *err)
{
    sqlite3_stmt *s = NULL;
    enum kg_status status = prepared(store, COMMIT, &s, err);
    if (status != KG_OK)
        return status;
    sqlite3_bind_int64(s, 1, id);
    int code = sqlite3_step(s);
    if (code == SQLITE_ROW) {
        struct kg_store_commit commit = { .words = sqlite3_column_blob(s, 0), .word_count = (size_t)sqlite3_column_bytes(s, 0) / sizeof(uint32_t),
                                          .paths = sqlite3_column_blob(s, 1), .paths_length = (size_t)sqlite3_column_bytes(s, 1) };
        if (commit.paths_length && commit.paths[commit.paths_length - 1] == '\0')
            take(ctx, &commit);
    }
    status = code == SQLITE_ROW || code == SQLITE_DONE ? KG_OK : failed(store, code, err);
    sqlite3_reset(s);
    return status;
}

#define SPARE_COMMITS 20000

enum kg_status kg_store_collect_commits(struct kg_store *store, const struct kg_store_history *history, struct kg_error *err)
{
    int code;
    int64_t all = pragma_number(store, "SELECT count(*) FROM past", &code);
    if (code != SQLITE_OK || all <= (int64_t)history->count + SPARE_COMMITS)
        return code == SQLITE_OK ? KG_OK : failed(store, code, err);
    int64_t first = INT64_MAX;
    for (size_t i = 0; i < history->count; i++)
        first = history->log[i] < first ? history->log[i] : first;
    char sql[160];
    snprintf(sql, sizeof sql, "DELETE FROM past WHERE id IN (SELECT id FROM past WHERE id < %lld ORDER BY id LIMIT %lld)", (long long)first,
             (long long)(all - (int64_t)history->count - SPARE_COMMITS / 2));
    return run(store, sql, err);
}

enum kg_status kg_store_graph_known(struct kg_store *store, struct kg_store_graph *out, struct kg_error *err)
{
    sqlite3_stmt *s = NULL;
    *out = (struct kg_store_graph){ 0 };
    enum kg_status status = prepared(store, GRAPH_KNOWN, &s, err);
    if (status != KG_OK)
        return status;
    int code = sqlite3_step(s);
    if (code == SQLITE_ROW) {
        const void *edition = sqlite3_column_blob(s, 0);
        out->any = edition && sqlite3_column_bytes(s, 0) == DIGEST_BYTES;
        if (out->any)
            memcpy(out->edition, edition, DIGEST_BYTES);
    }
    status = code == SQLITE_ROW || code == SQLITE_DONE ? KG_OK : failed(store, code, err);
    sqlite3_reset(s);
    return status;
}

/* Into place: a column would be copied twice on its way. */
enum kg_status kg_store_graph(struct kg_store *store, size_t most, void *(*room)(void *ctx, size_t length), void *ctx, struct kg_error *err)
{
    sqlite3_blob *blob = NULL;
    int code = sqlite3_blob_open(store->db, "main", "graph", "edges", 1, 0, &blob);
    if (code == SQLITE_ERROR) /* no such row, or no bytes in it */
        return KG_OK;
    if (code != SQLITE_OK)
        return failed(store, code, err);
    const size_t all = (size_t)sqlite3_blob_bytes(blob), length = all < most ? all : most;
    void *bytes = room(ctx, length);
    code = bytes ? sqlite3_blob_read(blob, bytes, (int)length, 0) : SQLITE_OK;
    enum kg_status status = code == SQLITE_OK ? KG_OK : failed(store, code, err);
    sqlite3_blob_close(blob);
    return status;
}

#define GRAPH_BUSY_MS 50 /* who asks for keys meanwhile waits for no more; it is tried again later */

enum kg_status kg_store_put_graph(struct kg_store *store, const unsigned char *edition, const void *edges, size_t length, struct kg_error *err)
{
    sqlite3_stmt *s = NULL;
    sqlite3_busy_timeout(store->db, GRAPH_BUSY_MS);
    enum kg_status status = kg_store_begin(store, err);
    sqlite3_busy_timeout(store->db, BUSY_MS);
    if (status == KG_OK)
        status = prepared(store, PUT_GRAPH, &s, err);
    if (status == KG_OK) {
        sqlite3_bind_blob(s, 1, edition, DIGEST_BYTES, SQLITE_STATIC);
        sqlite3_bind_blob64(s, 2, edges, length, SQLITE_STATIC);
        status = finish(store, s, err);
    }
    if (status == KG_OK)
        return kg_store_commit(store, err);
    kg_store_rollback(store);
    return status;
}

enum kg_status kg_store_drop_graph(struct kg_store *store, struct kg_error *err)
{
    return run(store, "DELETE FROM graph", err);
}

#define SPARE_DOCS 1000     /* texts without a file that are kept in any case */
#define COLLECT_MAX 8192    /* texts dropped at once: their terms are in memory meanwhile */

struct doc_list {
    int64_t ids[COLLECT_MAX];
    size_t count;
};

static int take_doc(void *to, sqlite3_stmt *row)
{
    struct doc_list *list = to;
    list->ids[list->count++] = sqlite3_column_int64(row, 0);
    return list->count == COLLECT_MAX;
}

enum kg_status kg_store_collect(struct kg_store *store, struct kg_error *err)
{
    int code;
    int64_t all = pragma_number(store, "SELECT count(*) FROM doc", &code);
    int64_t used = code == SQLITE_OK ? pragma_number(store, "SELECT count(DISTINCT doc) FROM file WHERE kind = 0", &code) : 0;
    if (code != SQLITE_OK)
        return failed(store, code, err);
    if (all - used <= used + SPARE_DOCS)
        return KG_OK;
    struct doc_list *list = calloc(1, sizeof *list);
    if (!list)
        return kg_fail_nomem(err, "tidying the index of the repository");
    /* a larger id is a later text, of which the last stays, or the next one would get its id; half of what is allowed to stay, stays */
    char sql[200];
    snprintf(sql, sizeof sql, "SELECT id FROM doc WHERE id NOT IN (SELECT doc FROM file WHERE kind = 0) AND id < (SELECT max(id) FROM doc) ORDER BY id LIMIT %lld",
             (long long)(all - used - (used + SPARE_DOCS) / 2));
    enum kg_status status = each_row(store, sql, take_doc, list, err);
    if (status == KG_OK && (code = kg_store_forget_words(store->db, list->ids, list->count)) != SQLITE_OK)
        status = failed(store, code, err);
    for (size_t i = 0; i < list->count && status == KG_OK; i++) {
        snprintf(sql, sizeof sql, "DELETE FROM doc WHERE id = %1$lld; DELETE FROM symbols WHERE doc = %1$lld", (long long)list->ids[i]);
        status = run(store, sql, err);
    }
    free(list);
    return status;
}
