#include "repo-index/store.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "repo-index/imports.h"
#include "repo-index/store_db.h"
#include "repo-index/store_fts.h"
#include "repo-index/words.h"

#define DIGEST_BYTES KG_STORE_DIGEST

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
    return kg_store_each_row(store, "SELECT path, kind, doc, dev, ino, size, mtime, ctime FROM file ORDER BY path", take_file, &sink, err);
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
    return kg_store_each_row(store, "SELECT id, digest FROM doc ORDER BY id", take_digest, &sink, err);
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
    return kg_store_each_row(store, "SELECT id, defined, names FROM doc WHERE names IS NOT NULL ORDER BY id", take_names, &sink, err);
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
    return kg_store_each_row(store, "SELECT f.path, f.size, d.id, d.words, d.lines, d.digest, d.reading FROM file f JOIN doc d ON d.id = f.doc WHERE f.kind = 0 ORDER BY f.path",
                    take_text, &sink, err);
}

enum kg_status kg_store_put_file(struct kg_store *store, const struct kg_store_file *file, struct kg_error *err)
{
    sqlite3_stmt *s = NULL;
    enum kg_status status = kg_store_prepared(store, KG_STORE_PUT_FILE, &s, err);
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
    return kg_store_finish(store, s, err);
}

enum kg_status kg_store_remove_file(struct kg_store *store, const char *path, struct kg_error *err)
{
    sqlite3_stmt *s = NULL;
    enum kg_status status = kg_store_prepared(store, KG_STORE_REMOVE_FILE, &s, err);
    if (status != KG_OK)
        return status;
    sqlite3_bind_blob(s, 1, path, (int)strlen(path), SQLITE_STATIC);
    return kg_store_finish(store, s, err);
}

static enum kg_status find_doc(struct kg_store *store, const struct kg_store_content *content, int64_t *out, struct kg_error *err)
{
    sqlite3_stmt *s = NULL;
    enum kg_status status = kg_store_prepared(store, KG_STORE_FIND_DOC, &s, err);
    if (status != KG_OK)
        return status;
    sqlite3_bind_blob(s, 1, content->digest.bytes, DIGEST_BYTES, SQLITE_STATIC);
    sqlite3_bind_int64(s, 2, content->reading);
    int code = sqlite3_step(s);
    *out = code == SQLITE_ROW ? sqlite3_column_int64(s, 0) : 0;
    sqlite3_reset(s);
    return code == SQLITE_ROW || code == SQLITE_DONE ? KG_OK : kg_store_fail(store, code, err);
}

enum kg_status kg_store_put_doc(struct kg_store *store, const struct kg_store_content *content, int64_t *out, struct kg_error *err)
{
    sqlite3_stmt *s = NULL;
    enum kg_status status = find_doc(store, content, out, err);
    if (status != KG_OK || *out)
        return status;
    if ((status = kg_store_prepared(store, KG_STORE_ADD_DOC, &s, err)) != KG_OK)
        return status;
    sqlite3_bind_blob(s, 1, content->digest.bytes, DIGEST_BYTES, SQLITE_STATIC);
    sqlite3_bind_int64(s, 2, content->reading);
    sqlite3_bind_int64(s, 3, content->terms.words);
    sqlite3_bind_int64(s, 4, content->terms.lines);
    sqlite3_bind_blob(s, 5, content->imports, (int)content->import_length, SQLITE_STATIC);
    sqlite3_bind_int64(s, 6, content->terms.defined);
    sqlite3_bind_blob(s, 7, content->terms.names, (int)(content->terms.name_count * sizeof *content->terms.names), SQLITE_STATIC);
    if ((status = kg_store_finish(store, s, err)) != KG_OK)
        return status;
    *out = sqlite3_last_insert_rowid(store->db);
    if ((status = kg_store_prepared(store, KG_STORE_ADD_WORDS, &s, err)) != KG_OK)
        return status;
    sqlite3_bind_int64(s, 1, *out);
    sqlite3_bind_text(s, 2, content->terms.bytes, (int)content->terms.length, SQLITE_STATIC);
    return kg_store_finish(store, s, err);
}

enum kg_status kg_store_docs_with(struct kg_store *store, const char *term, size_t length, bool prefix, int (*each)(void *ctx, int64_t doc),
                                  void *ctx, struct kg_error *err)
{
    char query[2 * KG_WORD_MAX + 8];
    sqlite3_stmt *s = NULL;
    enum kg_status status = kg_store_prepared(store, KG_STORE_DOCS_WITH, &s, err);
    if (status != KG_OK || length > KG_WORD_MAX + 1 || memchr(term, '"', length) || memchr(term, ' ', length))
        return status;
    int n = snprintf(query, sizeof query, "\"%.*s\"%s", (int)length, term, prefix ? "*" : "");
    sqlite3_bind_text(s, 1, query, n, SQLITE_STATIC);
    int code;
    while ((code = sqlite3_step(s)) == SQLITE_ROW)
        if (each(ctx, sqlite3_column_int64(s, 0)))
            break;
    status = code == SQLITE_ROW || code == SQLITE_DONE ? KG_OK : kg_store_fail(store, code, err);
    sqlite3_reset(s);
    sqlite3_clear_bindings(s);
    return status;
}

/* Calls walk once, unless the doc has no records. */
static enum kg_status give_records(struct kg_store *store, enum kg_store_statement which, int64_t doc, void (*walk)(void *to, const char *records, const char *end),
                                   void *to, struct kg_error *err)
{
    sqlite3_stmt *s = NULL;
    enum kg_status status = kg_store_prepared(store, which, &s, err);
    if (status != KG_OK)
        return status;
    sqlite3_bind_int64(s, 1, doc);
    int code = sqlite3_step(s);
    if (code == SQLITE_ROW && sqlite3_column_bytes(s, 0) > 0) {
        const char *records = sqlite3_column_blob(s, 0);
        walk(to, records, records + sqlite3_column_bytes(s, 0));
    }
    status = code == SQLITE_ROW || code == SQLITE_DONE ? KG_OK : kg_store_fail(store, code, err);
    sqlite3_reset(s);
    return status;
}

struct import_sink {
    int (*each)(void *ctx, char kind, char *name);
    void *ctx;
};

static void walk_imports(void *to, const char *records, const char *end)
{
    const struct import_sink *sink = to;
    char name[KG_IMPORT_NAME + 1];
    char kind;
    while (kg_import_next(&records, end, &kind, name) && sink->each(sink->ctx, kind, name) == 0)
        ;
}

enum kg_status kg_store_imports(struct kg_store *store, int64_t doc, int (*each)(void *ctx, char kind, char *name), void *ctx, struct kg_error *err)
{
    struct import_sink sink = { each, ctx };
    return give_records(store, KG_STORE_IMPORTS, doc, walk_imports, &sink, err);
}

struct symbol_sink {
    int (*each)(void *ctx, const struct kg_symbol_view *symbol);
    void *ctx;
};

static void walk_symbols(void *to, const char *records, const char *end)
{
    const struct symbol_sink *sink = to;
    struct kg_symbol_view symbol;
    while (kg_symbol_next(&records, end, &symbol) && sink->each(sink->ctx, &symbol) == 0)
        ;
}

enum kg_status kg_store_symbols(struct kg_store *store, int64_t doc, int (*each)(void *ctx, const struct kg_symbol_view *symbol), void *ctx, struct kg_error *err)
{
    struct symbol_sink sink = { each, ctx };
    return give_records(store, KG_STORE_SYMBOLS, doc, walk_symbols, &sink, err);
}

enum kg_status kg_store_put_symbols(struct kg_store *store, int64_t doc, enum kg_symbols_source source, const char *records, size_t length,
                                    struct kg_error *err)
{
    sqlite3_stmt *s = NULL;
    enum kg_status status = kg_store_prepared(store, KG_STORE_PUT_SYMBOLS, &s, err);
    if (status != KG_OK)
        return status;
    sqlite3_bind_int64(s, 1, doc);
    sqlite3_bind_int(s, 2, (int)source);
    sqlite3_bind_blob(s, 3, records, (int)length, SQLITE_STATIC);
    return kg_store_finish(store, s, err);
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
    return kg_store_each_row(store, sql, take_unread, &sink, err);
}

enum kg_status kg_store_find_commit(struct kg_store *store, const void *oid, size_t length, int64_t *out, struct kg_error *err)
{
    sqlite3_stmt *s = NULL;
    enum kg_status status = kg_store_prepared(store, KG_STORE_FIND_COMMIT, &s, err);
    if (status != KG_OK)
        return status;
    sqlite3_bind_blob(s, 1, oid, (int)length, SQLITE_STATIC);
    int code = sqlite3_step(s);
    *out = code == SQLITE_ROW ? sqlite3_column_int64(s, 0) : 0;
    sqlite3_reset(s);
    return code == SQLITE_ROW || code == SQLITE_DONE ? KG_OK : kg_store_fail(store, code, err);
}

enum kg_status kg_store_add_commit(struct kg_store *store, const void *oid, size_t length, const struct kg_store_commit *commit, int64_t *out, struct kg_error *err)
{
    sqlite3_stmt *s = NULL;
    enum kg_status status = kg_store_prepared(store, KG_STORE_ADD_COMMIT, &s, err);
    if (status != KG_OK)
        return status;
    sqlite3_bind_blob(s, 1, oid, (int)length, SQLITE_STATIC);
    sqlite3_bind_blob(s, 2, commit->words, (int)(commit->word_count * sizeof *commit->words), SQLITE_STATIC);
    sqlite3_bind_blob(s, 3, commit->paths, (int)commit->paths_length, SQLITE_STATIC);
    status = kg_store_finish(store, s, err);
    *out = sqlite3_last_insert_rowid(store->db);
    return status;
}

enum kg_status kg_store_put_history(struct kg_store *store, const void *head, size_t length, const int64_t *log, size_t count, struct kg_error *err)
{
    sqlite3_stmt *s = NULL;
    enum kg_status status = kg_store_prepared(store, KG_STORE_PUT_HISTORY, &s, err);
    if (status != KG_OK)
        return status;
    sqlite3_bind_blob(s, 1, length ? head : "", (int)length, SQLITE_STATIC);
    sqlite3_bind_blob(s, 2, log, (int)(count * sizeof *log), SQLITE_STATIC);
    return kg_store_finish(store, s, err);
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
    enum kg_status status = kg_store_each_row(store, "SELECT head, log FROM history WHERE id = 1", take_history, &sink, err);
    return status == KG_OK && sink.failed ? kg_fail_nomem(err, "reading the history of the repository") : status;
}

enum kg_status kg_store_commit_of(struct kg_store *store, int64_t id, void (*take)(void *ctx, const struct kg_store_commit *commit), void *ctx, struct kg_error *err)
{
    sqlite3_stmt *s = NULL;
    enum kg_status status = kg_store_prepared(store, KG_STORE_COMMIT, &s, err);
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
    status = code == SQLITE_ROW || code == SQLITE_DONE ? KG_OK : kg_store_fail(store, code, err);
    sqlite3_reset(s);
    return status;
}

#define SPARE_COMMITS 20000

enum kg_status kg_store_collect_commits(struct kg_store *store, const struct kg_store_history *history, struct kg_error *err)
{
    int code;
    int64_t all = kg_store_number(store, "SELECT count(*) FROM past", &code);
    if (code != SQLITE_OK || all <= (int64_t)history->count + SPARE_COMMITS)
        return code == SQLITE_OK ? KG_OK : kg_store_fail(store, code, err);
    int64_t first = INT64_MAX;
    for (size_t i = 0; i < history->count; i++)
        first = history->log[i] < first ? history->log[i] : first;
    char sql[160];
    snprintf(sql, sizeof sql, "DELETE FROM past WHERE id IN (SELECT id FROM past WHERE id < %lld ORDER BY id LIMIT %lld)", (long long)first,
             (long long)(all - (int64_t)history->count - SPARE_COMMITS / 2));
    return kg_store_run(store, sql, err);
}

enum kg_status kg_store_graph_known(struct kg_store *store, struct kg_store_graph *out, struct kg_error *err)
{
    sqlite3_stmt *s = NULL;
    *out = (struct kg_store_graph){ 0 };
    enum kg_status status = kg_store_prepared(store, KG_STORE_GRAPH_KNOWN, &s, err);
    if (status != KG_OK)
        return status;
    int code = sqlite3_step(s);
    if (code == SQLITE_ROW) {
        const void *edition = sqlite3_column_blob(s, 0);
        out->any = edition && sqlite3_column_bytes(s, 0) == DIGEST_BYTES;
        if (out->any)
            memcpy(out->edition, edition, DIGEST_BYTES);
    }
    status = code == SQLITE_ROW || code == SQLITE_DONE ? KG_OK : kg_store_fail(store, code, err);
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
        return kg_store_fail(store, code, err);
    const size_t all = (size_t)sqlite3_blob_bytes(blob), length = all < most ? all : most;
    void *bytes = room(ctx, length);
    code = bytes ? sqlite3_blob_read(blob, bytes, (int)length, 0) : SQLITE_OK;
    enum kg_status status = code == SQLITE_OK ? KG_OK : kg_store_fail(store, code, err);
    sqlite3_blob_close(blob);
    return status;
}

#define GRAPH_BUSY_MS 50 /* who asks for keys meanwhile waits for no more; it is tried again later */

enum kg_status kg_store_put_graph(struct kg_store *store, const unsigned char *edition, const void *edges, size_t length, struct kg_error *err)
{
    sqlite3_stmt *s = NULL;
    sqlite3_busy_timeout(store->db, GRAPH_BUSY_MS);
    enum kg_status status = kg_store_begin(store, err);
    sqlite3_busy_timeout(store->db, KG_STORE_BUSY_MS);
    if (status == KG_OK)
        status = kg_store_prepared(store, KG_STORE_PUT_GRAPH, &s, err);
    if (status == KG_OK) {
        sqlite3_bind_blob(s, 1, edition, DIGEST_BYTES, SQLITE_STATIC);
        sqlite3_bind_blob64(s, 2, edges, length, SQLITE_STATIC);
        status = kg_store_finish(store, s, err);
    }
    if (status == KG_OK)
        return kg_store_commit(store, err);
    kg_store_rollback(store);
    return status;
}

enum kg_status kg_store_drop_graph(struct kg_store *store, struct kg_error *err)
{
    return kg_store_run(store, "DELETE FROM graph", err);
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
    int64_t all = kg_store_number(store, "SELECT count(*) FROM doc", &code);
    int64_t used = code == SQLITE_OK ? kg_store_number(store, "SELECT count(DISTINCT doc) FROM file WHERE kind = 0", &code) : 0;
    if (code != SQLITE_OK)
        return kg_store_fail(store, code, err);
    if (all - used <= used + SPARE_DOCS)
        return KG_OK;
    struct doc_list *list = calloc(1, sizeof *list);
    if (!list)
        return kg_fail_nomem(err, "tidying the index of the repository");
    /* a larger id is a later text, of which the last stays, or the next one would get its id; half of what is allowed to stay, stays */
    char sql[200];
    snprintf(sql, sizeof sql, "SELECT id FROM doc WHERE id NOT IN (SELECT doc FROM file WHERE kind = 0) AND id < (SELECT max(id) FROM doc) ORDER BY id LIMIT %lld",
             (long long)(all - used - (used + SPARE_DOCS) / 2));
    enum kg_status status = kg_store_each_row(store, sql, take_doc, list, err);
    if (status == KG_OK && (code = kg_store_forget_words(store->db, list->ids, list->count)) != SQLITE_OK)
        status = kg_store_fail(store, code, err);
    for (size_t i = 0; i < list->count && status == KG_OK; i++) {
        snprintf(sql, sizeof sql, "DELETE FROM doc WHERE id = %1$lld; DELETE FROM symbols WHERE doc = %1$lld", (long long)list->ids[i]);
        status = kg_store_run(store, sql, err);
    }
    free(list);
    return status;
}
