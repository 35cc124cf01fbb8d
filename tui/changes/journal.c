#include "tui/changes/journal.h"

#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/digest.h"
#include "base/paths.h"

#define WAIT_MS 5000
#define STRING(x) #x
#define STRING_OF(x) STRING(x)

struct kg_journal {
    sqlite3 *db;
    struct kg_worktree *tree;
    char path[KG_PATH_MAX];
};

/* undone: 1 = it is. committed: of its files nothing is told by kg_journal_each. before NULL: the file was not there. folders: that
 * were made for a set. Sets that are undone are the last ones, unless a process died while it wrote a newer one. */
static const char schema[] =
    "CREATE TABLE IF NOT EXISTS sets (id INTEGER PRIMARY KEY AUTOINCREMENT, made INTEGER NOT NULL, title TEXT NOT NULL,"
    " undone INTEGER NOT NULL DEFAULT 0, committed INTEGER NOT NULL DEFAULT 0);"
    "CREATE TABLE IF NOT EXISTS files (id INTEGER NOT NULL REFERENCES sets ON DELETE CASCADE, place INTEGER NOT NULL, path TEXT NOT NULL,"
    " before BLOB, after BLOB NOT NULL, digest BLOB NOT NULL, PRIMARY KEY (id, place)) WITHOUT ROWID;"
    "CREATE TABLE IF NOT EXISTS folders (id INTEGER NOT NULL REFERENCES sets ON DELETE CASCADE, path TEXT NOT NULL, PRIMARY KEY (id, path)) WITHOUT ROWID;";

static enum kg_status failed(struct kg_journal *journal, struct kg_error *err)
{
    int code = sqlite3_errcode(journal->db) & 0xff;
    enum kg_status status = code == SQLITE_BUSY || code == SQLITE_LOCKED ? KG_ERR_BUSY
                            : code == SQLITE_NOMEM                      ? KG_ERR_NOMEM
                            : code == SQLITE_FULL                       ? KG_ERR_FULL
                            : code == SQLITE_CORRUPT || code == SQLITE_NOTADB ? KG_ERR_CORRUPT
                                                                              : KG_ERR_IO;
    return kg_fail(err, status, "the journal of changes %s: %s; %s", journal->path, sqlite3_errmsg(journal->db),
                   status == KG_ERR_CORRUPT ? "move it away to begin a new one" : "see that it can be written, as kedge changes no file without it");
}

static enum kg_status run(struct kg_journal *journal, const char *sql, struct kg_error *err)
{
    return sqlite3_exec(journal->db, sql, NULL, NULL, NULL) == SQLITE_OK ? KG_OK : failed(journal, err);
}

enum kg_status kg_journal_open(const char *state_dir, const char *root, struct kg_worktree *tree, struct kg_journal **out, struct kg_error *err)
{
    char place[KG_PATH_MAX];
    char folder[KG_PATH_MAX + 16];
    char hex[65];
    struct kg_digest digest = kg_digest_of(root, strlen(root));
    enum kg_status status = KG_OK;
    *out = NULL;
    if (state_dir)
        snprintf(place, sizeof place, "%s", state_dir);
    else
        status = kg_place_path(KG_PLACE_STATE, NULL, place, err);
    snprintf(folder, sizeof folder, "%s/changes", place);
    if (status == KG_OK)
        status = kg_make_dirs(folder, err);
    struct kg_journal *journal = status == KG_OK ? calloc(1, sizeof *journal) : NULL;
    if (status != KG_OK || !journal)
        return status == KG_OK ? kg_fail_nomem(err, "opening the journal of changes") : status;
    journal->tree = tree;
    kg_digest_hex(&digest, hex);
    int n = snprintf(journal->path, sizeof journal->path, "%s/%.32s.db", folder, hex);
    int fd = n > 0 && n < (int)sizeof journal->path ? open(journal->path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600) : -1;
    if (fd < 0) {
        status = kg_fail(err, KG_ERR_IO, "cannot open the journal of changes %s: %s", journal->path, strerror(errno));
        free(journal);
        return status;
    }
    close(fd);
    if (sqlite3_open_v2(journal->path, &journal->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOFOLLOW, NULL) != SQLITE_OK)
        status = journal->db ? failed(journal, err) : kg_fail_nomem(err, "opening the journal of changes");
    if (status == KG_OK) {
        sqlite3_busy_timeout(journal->db, WAIT_MS);
        status = run(journal, "PRAGMA synchronous=FULL; PRAGMA foreign_keys=ON;", err);
    }
    if (status == KG_OK)
        status = run(journal, schema, err);
    if (status == KG_OK)
        *out = journal;
    else
        kg_journal_close(journal);
    return status;
}

void kg_journal_close(struct kg_journal *journal)
{
    if (!journal)
        return;
    sqlite3_close(journal->db);
    free(journal);
}

static enum kg_status prepare(struct kg_journal *journal, const char *sql, sqlite3_stmt **out, struct kg_error *err)
{
    return sqlite3_prepare_v2(journal->db, sql, -1, out, NULL) == SQLITE_OK ? KG_OK : failed(journal, err);
}

static enum kg_status end_step(struct kg_journal *journal, sqlite3_stmt *statement, enum kg_status status, struct kg_error *err)
{
    if (status == KG_OK && sqlite3_step(statement) != SQLITE_DONE)
        status = failed(journal, err);
    sqlite3_finalize(statement);
    return status;
}

static enum kg_status run_with(struct kg_journal *journal, const char *sql, int64_t id, struct kg_error *err)
{
    sqlite3_stmt *statement = NULL;
    enum kg_status status = prepare(journal, sql, &statement, err);
    if (status == KG_OK)
        sqlite3_bind_int64(statement, 1, id);
    return end_step(journal, statement, status, err);
}

/* Of all that a row holds, so that nothing else is ever put back. */
static struct kg_digest digest_of(const struct kg_journal_file *file)
{
    struct kg_digest parts[3] = { kg_digest_of(file->path, strlen(file->path)), { .bytes = { 0 } }, kg_digest_of(file->after, file->after_length) };
    if (file->before)
        parts[1] = kg_digest_of(file->before, file->before_length);
    return kg_digest_of(parts, sizeof parts);
}

static enum kg_status put_file(struct kg_journal *journal, int64_t id, size_t place, const struct kg_journal_file *file, struct kg_error *err)
{
    sqlite3_stmt *statement = NULL;
    struct kg_digest digest = digest_of(file);
    enum kg_status status = prepare(journal, "INSERT INTO files VALUES (?, ?, ?, ?, ?, ?)", &statement, err);
    if (status == KG_OK) {
        sqlite3_bind_int64(statement, 1, id);
        sqlite3_bind_int64(statement, 2, (int64_t)place);
        sqlite3_bind_text(statement, 3, file->path, -1, SQLITE_STATIC);
        if (file->before)
            sqlite3_bind_blob64(statement, 4, file->before, file->before_length, SQLITE_STATIC);
        sqlite3_bind_blob64(statement, 5, file->after_length ? file->after : "", file->after_length, SQLITE_STATIC);
        sqlite3_bind_blob(statement, 6, digest.bytes, sizeof digest.bytes, SQLITE_STATIC);
        if (file->before && file->before_length == 0) /* a NULL of SQL otherwise */
            sqlite3_bind_zeroblob(statement, 4, 0);
    }
    return end_step(journal, statement, status, err);
}

/* The folders that will be made for a new file. */
static enum kg_status put_folders(struct kg_journal *journal, int64_t id, const struct kg_journal_file *file, struct kg_error *err)
{
    enum kg_status status = KG_OK;
    const char *slash = file->path + (file->before ? 0 : kg_worktree_missing(journal->tree, file->path));
    for (; status == KG_OK && slash && slash > file->path; slash = strchr(slash + 1, '/')) {
        sqlite3_stmt *statement = NULL;
        status = prepare(journal, "INSERT OR IGNORE INTO folders VALUES (?, ?)", &statement, err);
        if (status == KG_OK) {
            sqlite3_bind_int64(statement, 1, id);
            sqlite3_bind_text(statement, 2, file->path, (int)(slash - file->path), SQLITE_STATIC);
        }
        status = end_step(journal, statement, status, err);
    }
    return status;
}

/* Those of them that are empty go, the innermost first. */
static void remove_folders(struct kg_journal *journal, int64_t id)
{
    sqlite3_stmt *rows = NULL;
    if (prepare(journal, "SELECT path FROM folders WHERE id = ? ORDER BY LENGTH(path) DESC", &rows, NULL) != KG_OK)
        return;
    sqlite3_bind_int64(rows, 1, id);
    while (sqlite3_step(rows) == SQLITE_ROW) {
        const char *path = (const char *)sqlite3_column_text(rows, 0);
        if (path)
            kg_worktree_remove_folder(journal->tree, path);
    }
    sqlite3_finalize(rows);
}

static enum kg_status put_set(struct kg_journal *journal, const char *title, const struct kg_journal_file *files, size_t count, int64_t *id, struct kg_error *err)
{
    sqlite3_stmt *statement = NULL;
    enum kg_status status = prepare(journal, "INSERT INTO sets (made, title) VALUES (?, ?)", &statement, err);
    if (status == KG_OK) {
        sqlite3_bind_int64(statement, 1, (int64_t)time(NULL));
        sqlite3_bind_text(statement, 2, title, -1, SQLITE_STATIC);
    }
    status = end_step(journal, statement, status, err);
    *id = sqlite3_last_insert_rowid(journal->db);
    for (size_t i = 0; i < count && status == KG_OK; i++)
        status = put_file(journal, *id, i, &files[i], err);
    for (size_t i = 0; i < count && status == KG_OK; i++)
        status = put_folders(journal, *id, &files[i], err);
    return status;
}

/* One file from one content to another; NULL: it is not there. */
static enum kg_status move(struct kg_journal *journal, const char *path, const char *from, size_t from_length, const char *to, size_t to_length, struct kg_error *err)
{
    return to ? kg_worktree_write(journal->tree, path, from, from_length, to, to_length, err) : kg_worktree_remove(journal->tree, path, from, from_length, err);
}

/* From before to after (or back) of all files; where one fails, those that were moved are moved back. */
static enum kg_status move_all(struct kg_journal *journal, const struct kg_journal_file *files, size_t count, bool back, bool *restored, struct kg_error *err)
{
    *restored = true;
    enum kg_status status = KG_OK;
    size_t done = 0;
    for (; done < count && status == KG_OK; done++) {
        const struct kg_journal_file *f = &files[back ? count - 1 - done : done];
        status = back ? move(journal, f->path, f->after, f->after_length, f->before, f->before_length, err)
                      : move(journal, f->path, f->before, f->before_length, f->after, f->after_length, err);
    }
    if (status == KG_OK)
        return KG_OK;
    for (done--; done > 0; done--) {
        const struct kg_journal_file *f = &files[back ? count - done : done - 1];
        enum kg_status undone = back ? move(journal, f->path, f->before, f->before_length, f->after, f->after_length, NULL)
                                     : move(journal, f->path, f->after, f->after_length, f->before, f->before_length, NULL);
        *restored = *restored && undone == KG_OK;
    }
    return status;
}

static enum kg_status write_down(struct kg_journal *journal, const char *title, const struct kg_journal_file *files, size_t count, int64_t *id, struct kg_error *err)
{
    enum kg_status status = run(journal, "BEGIN IMMEDIATE", err);
    if (status != KG_OK)
        return status;
    status = put_set(journal, title, files, count, id, err);
    if (status == KG_OK)
        status = run(journal, "COMMIT", err);
    if (status != KG_OK)
        sqlite3_exec(journal->db, "ROLLBACK", NULL, NULL, NULL);
    return status;
}

/* What was undone before this set goes, and what is too old. A journal that is not trimmed is no failure. */
static void trim(struct kg_journal *journal, int64_t id)
{
    run_with(journal, "DELETE FROM sets WHERE (undone = 1 AND id < ?1) OR id <= ?1 - " STRING_OF(KG_JOURNAL_SETS), id, NULL);
}

enum kg_status kg_journal_apply(struct kg_journal *journal, const char *title, const struct kg_journal_file *files, size_t count, struct kg_error *err)
{
    int64_t id = 0;
    enum kg_status status = KG_OK;
    for (size_t i = 0; i < count && status == KG_OK; i++)
        status = kg_worktree_check(journal->tree, files[i].path, files[i].before, files[i].before_length, err);
    if (status == KG_OK)
        status = write_down(journal, title, files, count, &id, err);
    if (status != KG_OK)
        return status;
    bool restored;
    status = move_all(journal, files, count, false, &restored, err);
    if (status != KG_OK && restored) {
        remove_folders(journal, id);
        run_with(journal, "DELETE FROM sets WHERE id = ?", id, NULL);
    } else if (status == KG_OK) {
        trim(journal, id);
    }
    return status;
}

enum kg_status kg_journal_note(struct kg_journal *journal, const char *title, const struct kg_journal_file *files, size_t count, struct kg_error *err)
{
    int64_t id = 0;
    enum kg_status status = write_down(journal, title, files, count, &id, err);
    if (status == KG_OK)
        trim(journal, id);
    return status;
}

struct set {
    int64_t id;
    struct kg_journal_file *files;
    size_t count, settled; /* settled: of them, the last ones that need nothing */
};

static void free_set(struct set *set)
{
    for (size_t i = 0; i < set->count; i++) {
        free((char *)set->files[i].path);
        free((char *)set->files[i].before);
        free((char *)set->files[i].after);
    }
    free(set->files);
    *set = (struct set){ 0 };
}

static char *column(sqlite3_stmt *row, int index, size_t *length)
{
    size_t n = (size_t)sqlite3_column_bytes(row, index);
    const void *bytes = sqlite3_column_blob(row, index);
    char *copy = malloc(n + 1);
    if (!copy)
        return NULL;
    if (n)
        memcpy(copy, bytes, n);
    copy[n] = '\0';
    *length = n;
    return copy;
}

/* A row as it was written: its digest is that of its content. */
static enum kg_status read_file(sqlite3_stmt *row, struct kg_journal_file *out, struct kg_error *err)
{
    size_t length;
    out->path = column(row, 0, &length);
    if (sqlite3_column_type(row, 1) != SQLITE_NULL)
        out->before = column(row, 1, &out->before_length);
    out->after = column(row, 2, &out->after_length);
    if (!out->path || !out->after || (!out->before && sqlite3_column_type(row, 1) != SQLITE_NULL))
        return kg_fail_nomem(err, "reading the journal of changes");
    struct kg_digest digest = digest_of(out);
    if (strlen(out->path) != length || sqlite3_column_bytes(row, 3) != sizeof digest.bytes || memcmp(sqlite3_column_blob(row, 3), digest.bytes, sizeof digest.bytes) != 0)
        return kg_fail(err, KG_ERR_CORRUPT, "the journal of changes is damaged: %s cannot be put back from it", out->path);
    return KG_OK;
}

static enum kg_status read_files(struct kg_journal *journal, struct set *set, struct kg_error *err)
{
    sqlite3_stmt *rows = NULL;
    enum kg_status status = prepare(journal, "SELECT path, before, after, digest FROM files WHERE id = ? ORDER BY place", &rows, err);
    int code = SQLITE_DONE;
    if (status == KG_OK)
        sqlite3_bind_int64(rows, 1, set->id);
    while (status == KG_OK && (code = sqlite3_step(rows)) == SQLITE_ROW) {
        struct kg_journal_file *grown = realloc(set->files, (set->count + 1) * sizeof *grown);
        if (!grown) {
            status = kg_fail_nomem(err, "reading the journal of changes");
            break;
        }
        set->files = grown;
        grown[set->count] = (struct kg_journal_file){ 0 };
        status = read_file(rows, &grown[set->count++], err);
    }
    if (status == KG_OK && code != SQLITE_DONE)
        status = failed(journal, err);
    sqlite3_finalize(rows);
    return status;
}

static enum kg_status find_set(struct kg_journal *journal, const char *sql, struct set *set, struct kg_journal_done *out, struct kg_error *err)
{
    sqlite3_stmt *row = NULL;
    *set = (struct set){ 0 };
    enum kg_status status = prepare(journal, sql, &row, err);
    if (status != KG_OK)
        return status;
    int code = sqlite3_step(row);
    if (code == SQLITE_ROW) {
        const char *title = (const char *)sqlite3_column_text(row, 1);
        set->id = sqlite3_column_int64(row, 0);
        kg_printable(out->title, sizeof out->title, title ? title : "", title ? strlen(title) : 0);
    } else {
        status = code == SQLITE_DONE ? KG_ERR_NOT_FOUND : failed(journal, err);
    }
    sqlite3_finalize(row);
    return status;
}

/* A file that already is what it is to become needs nothing: a process may have died half way. */
static enum kg_status settle(struct kg_journal *journal, struct set *set, bool back, struct kg_error *err)
{
    for (size_t i = 0; i < set->count - set->settled;) {
        struct kg_journal_file f = set->files[i];
        enum kg_status from = back ? kg_worktree_check(journal->tree, f.path, f.after, f.after_length, err)
                                   : kg_worktree_check(journal->tree, f.path, f.before, f.before_length, err);
        enum kg_status to = from == KG_OK ? KG_ERR_CHANGED
                            : back        ? kg_worktree_check(journal->tree, f.path, f.before, f.before_length, NULL)
                                          : kg_worktree_check(journal->tree, f.path, f.after, f.after_length, NULL);
        if (from != KG_OK && to != KG_OK)
            return from;
        if (to == KG_OK) {
            size_t last = set->count - ++set->settled;
            set->files[i] = set->files[last];
            set->files[last] = f;
        } else {
            i++;
        }
    }
    return KG_OK;
}

static enum kg_status step(struct kg_journal *journal, bool back, void (*each)(void *ctx, const char *path), void *ctx, struct kg_journal_done *out,
                           struct kg_error *err)
{
    struct set set;
    bool restored;
    *out = (struct kg_journal_done){ 0 };
    enum kg_status status = find_set(journal, back ? "SELECT id, title FROM sets WHERE undone = 0 ORDER BY id DESC LIMIT 1"
                                                   : "SELECT id, title FROM sets WHERE undone = 1 AND id > (SELECT COALESCE(MAX(id), 0) FROM sets WHERE undone = 0)"
                                                     " ORDER BY id LIMIT 1", &set, out, err);
    if (status == KG_ERR_NOT_FOUND)
        return kg_fail(err, KG_ERR_NOT_FOUND, back ? "there is no change to undo in this repository" : "there is no undone change to do again");
    if (status == KG_OK)
        status = read_files(journal, &set, err);
    if (status == KG_OK)
        status = settle(journal, &set, back, err);
    if (status == KG_OK)
        status = move_all(journal, set.files, set.count - set.settled, back, &restored, err);
    if (status == KG_OK && back)
        remove_folders(journal, set.id);
    if (status == KG_OK)
        status = run_with(journal, back ? "UPDATE sets SET undone = 1 WHERE id = ?" : "UPDATE sets SET undone = 0 WHERE id = ?", set.id, err);
    if (status == KG_OK) {
        out->files = set.count;
        if (set.count)
            kg_printable(out->first, sizeof out->first, set.files[0].path, strlen(set.files[0].path));
        for (size_t i = 0; i < set.count && each; i++)
            each(ctx, set.files[i].path);
    }
    free_set(&set);
    return status;
}

enum kg_status kg_journal_undo(struct kg_journal *journal, void (*each)(void *ctx, const char *path), void *ctx, struct kg_journal_done *out, struct kg_error *err)
{
    return step(journal, true, each, ctx, out, err);
}

enum kg_status kg_journal_redo(struct kg_journal *journal, void (*each)(void *ctx, const char *path), void *ctx, struct kg_journal_done *out, struct kg_error *err)
{
    return step(journal, false, each, ctx, out, err);
}

enum kg_status kg_journal_each(struct kg_journal *journal, int (*each)(void *ctx, const struct kg_journal_file *file), void *ctx, struct kg_error *err)
{
    sqlite3_stmt *rows = NULL;
    enum kg_status status = prepare(journal,
                                    "WITH live AS (SELECT files.* FROM files JOIN sets USING (id) WHERE undone = 0 AND committed = 0)"
                                    " SELECT path, before, after, digest, id = (SELECT MIN(id) FROM live b WHERE b.path = live.path),"
                                    " id = (SELECT MAX(id) FROM live b WHERE b.path = live.path) FROM live ORDER BY path, id",
                                    &rows, err);
    int code = SQLITE_DONE;
    bool stopped = false;
    struct kg_journal_file file = { 0 }; /* of a path: before from the first set, after from the last */
    while (status == KG_OK && !stopped && (code = sqlite3_step(rows)) == SQLITE_ROW) {
        struct kg_journal_file row = { 0 };
        status = read_file(rows, &row, err);
        bool first = sqlite3_column_int(rows, 4);
        free((char *)(first ? file.before : row.before));
        free((char *)file.path);
        free((char *)file.after);
        file = (struct kg_journal_file){ .path = row.path, .before = first ? row.before : file.before,
                                         .before_length = first ? row.before_length : file.before_length, .after = row.after, .after_length = row.after_length };
        stopped = status == KG_OK && sqlite3_column_int(rows, 5) && each(ctx, &file);
    }
    free((char *)file.path);
    free((char *)file.before);
    free((char *)file.after);
    if (status == KG_OK && !stopped && code != SQLITE_DONE)
        status = failed(journal, err);
    sqlite3_finalize(rows);
    return status;
}

enum kg_status kg_journal_committed(struct kg_journal *journal, struct kg_error *err)
{
    return run(journal, "UPDATE sets SET committed = 1 WHERE undone = 0", err);
}
