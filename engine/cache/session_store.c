#include "engine/cache/session_store.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <xxhash.h>

#include "base/paths.h"
#include "engine/cache/db.h"
#include "engine/cache/session_said.h"
#include "engine/context/block.h"

#define TABLE_SESSION                                                                                                           \
    "CREATE TABLE session(id INTEGER PRIMARY KEY AUTOINCREMENT, repository TEXT NOT NULL, name TEXT NOT NULL, model TEXT NOT NULL," \
    " created INTEGER NOT NULL, used INTEGER NOT NULL, UNIQUE(repository, name))"
/* texts and token ids of files: the same for every session that holds the file */
#define TABLE_CONTENT "CREATE TABLE content(id INTEGER PRIMARY KEY, digest BLOB NOT NULL UNIQUE, bytes BLOB NOT NULL)"
/* text and ids, or where they are in content; sum covers what they say, wherever it is kept */
#define PART_COLUMNS                                                                                                              \
    "CREATE TABLE part(id INTEGER PRIMARY KEY AUTOINCREMENT, session INTEGER NOT NULL REFERENCES session(id), kind INTEGER NOT NULL," \
    " label TEXT NOT NULL, text BLOB, ids BLOB, text_at INTEGER REFERENCES content(id), ids_at INTEGER REFERENCES content(id),"   \
    " base INTEGER NOT NULL, identity BLOB NOT NULL, read_rule INTEGER NOT NULL, dropped INTEGER NOT NULL,"                       \
    " partial INTEGER NOT NULL, sum INTEGER NOT NULL"
#define TABLE_PART PART_COLUMNS ")"
/* where and how SQLite writes a column that is added */
#define COLUMN_APPENDED "appended INTEGER NOT NULL DEFAULT 0"
#define INDEX_SESSION "CREATE INDEX part_of_session ON part(session, id)"
#define INDEX_TEXT    "CREATE INDEX part_by_text ON part(text_at)"
#define INDEX_IDS     "CREATE INDEX part_by_ids ON part(ids_at)"

#define TABLE_PINNED  "CREATE TABLE pinned(session INTEGER NOT NULL REFERENCES session(id), label TEXT NOT NULL, PRIMARY KEY(session, label)) WITHOUT ROWID"

static const char *const steps[] = { TABLE_SESSION ";" TABLE_CONTENT ";" TABLE_PART ";" INDEX_SESSION ";" INDEX_TEXT ";" INDEX_IDS,
                                     KG_SAID_TABLE ";" TABLE_PINNED ";" KG_SAID_FILL, "ALTER TABLE part ADD COLUMN " COLUMN_APPENDED };
static const char *const schema[] = { TABLE_SESSION, TABLE_CONTENT, PART_COLUMNS ", " COLUMN_APPENDED ")", INDEX_SESSION, INDEX_TEXT, INDEX_IDS, KG_SAID_TABLE, TABLE_PINNED, NULL };

static const struct kg_db_format format = {
    .application_id = 0x6b677373, /* kgss */
    .version = 3,
    .steps = steps,
    .schema = schema,
    .creation = "PRAGMA auto_vacuum = INCREMENTAL",
    .settings = "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA secure_delete = ON; PRAGMA foreign_keys = ON;"
                " PRAGMA mmap_size = 0; PRAGMA cell_size_check = ON",
};

/* Bytes of a name that a number is put behind. */
#define NUMBERED_MOST 100

/* From this size on a file's text and ids are kept in content. */
#define SHARED_MIN 256

struct kg_session_store {
    sqlite3 *db;
    bool together; /* a transaction is open for several calls */
};

void kg_stored_part_clear(struct kg_stored_part *part)
{
    free(part->label);
    free(part->text);
    free(part->ids);
    part->label = part->text = NULL;
    part->ids = NULL;
}

static enum kg_status refuse(const char *path, enum kg_db_state state, struct kg_error *err)
{
    switch (state) {
    case KG_DB_NEWER:
        return kg_fail(err, KG_ERR_UNSUPPORTED, "%s was written by a newer kedge and was left as it is; use that version", path);
    case KG_DB_DAMAGED:
        return kg_fail(err, KG_ERR_CORRUPT, "%s is damaged and was left as it is; restore it, or move it away to begin anew", path);
    default:
        return kg_fail(err, KG_ERR_FORMAT, "%s is %s and was left as it is; move it away", path, kg_db_state_text(state));
    }
}

static enum kg_status open_at(struct kg_session_store *store, const char *path, struct kg_error *err)
{
    enum kg_db_state state = KG_DB_CURRENT;
    enum kg_status status = kg_db_make_private(path, err);
    if (status == KG_OK)
        status = kg_db_connect(path, 10000, &store->db, err);
    if (status == KG_OK)
        status = kg_db_settle(store->db, &format, &state, err);
    if (status == KG_OK && state != KG_DB_CURRENT) {
        sqlite3_db_config(store->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
        status = refuse(path, state, err);
    }
    return status;
}

enum kg_status kg_session_store_open(const char *directory, struct kg_session_store **out, struct kg_error *err)
{
    char path[KG_PATH_MAX];
    int n = snprintf(path, sizeof path, "%s/sessions.db", directory);
    if (n < 0 || n >= (int)sizeof path)
        return kg_fail(err, KG_ERR_RANGE, "the name of the state directory is too long; choose a shorter one");
    enum kg_status status = kg_make_dirs(directory, err);
    if (status != KG_OK)
        return status;
    struct kg_session_store *store = calloc(1, sizeof *store);
    if (!store)
        return kg_fail_nomem(err, "opening the sessions");
    status = open_at(store, path, err);
    if (status != KG_OK) {
        kg_session_store_close(store);
        return status;
    }
    *out = store;
    return KG_OK;
}

void kg_session_store_close(struct kg_session_store *store)
{
    if (!store)
        return;
    sqlite3_close(store->db);
    free(store);
}

static sqlite3_int64 now(void)
{
    return (sqlite3_int64)time(NULL);
}

static enum kg_status fail(struct kg_session_store *store, const char *what, struct kg_error *err)
{
    return kg_db_fail(store->db, sqlite3_errcode(store->db), what, err);
}

/* A new statement; bind by position, then run or finalize. */
static sqlite3_stmt *prepare(struct kg_session_store *store, const char *sql)
{
    sqlite3_stmt *statement = NULL;
    sqlite3_prepare_v2(store->db, sql, -1, &statement, NULL);
    return statement;
}

/* Steps a statement that returns one row or none; the caller finalizes it. What cannot be read is not what is not there. */
static enum kg_status step(struct kg_session_store *store, sqlite3_stmt *statement, const char *what, bool *there, struct kg_error *err)
{
    const int rc = statement ? sqlite3_step(statement) : SQLITE_ERROR;
    *there = rc == SQLITE_ROW;
    return rc == SQLITE_ROW || rc == SQLITE_DONE ? KG_OK : fail(store, what, err);
}

/* Steps a statement that returns no row, and frees it. NULL stands for one that could not be prepared. */
static enum kg_status run(struct kg_session_store *store, sqlite3_stmt *statement, const char *what, struct kg_error *err)
{
    int rc = statement ? sqlite3_step(statement) : SQLITE_ERROR;
    enum kg_status status = rc == SQLITE_DONE || rc == SQLITE_ROW ? KG_OK : fail(store, what, err);
    sqlite3_finalize(statement);
    return status;
}

/* SQLite takes a transaction back by itself when it fails badly: then nothing more belongs to it. */
static enum kg_status begin(struct kg_session_store *store, struct kg_error *err)
{
    if (store->together && sqlite3_get_autocommit(store->db))
        return kg_fail(err, KG_ERR_IO, "storing a conversation failed half way, and nothing of the change is stored; try it again");
    return store->together ? KG_OK : kg_db_begin(store->db, err);
}

static enum kg_status end(struct kg_session_store *store, enum kg_status status, struct kg_error *err)
{
    if (store->together)
        return status;
    if (status == KG_OK)
        status = kg_db_exec(store->db, "COMMIT", err);
    kg_db_rollback(store->db);
    return status;
}

enum kg_status kg_session_store_begin(struct kg_session_store *store, struct kg_error *err)
{
    enum kg_status status = begin(store, err);
    store->together = status == KG_OK;
    return status;
}

enum kg_status kg_session_store_end(struct kg_session_store *store, bool commit, struct kg_error *err)
{
    store->together = false;
    if (commit)
        return end(store, KG_OK, err);
    kg_db_rollback(store->db);
    return KG_OK;
}

/* name and repository as struct kg_stored_session holds them. */
static enum kg_status check_name(const char *repository, const char *name, struct kg_error *err)
{
    size_t length = strlen(name);
    if (length == 0 || length >= sizeof((struct kg_stored_session *)0)->name)
        return kg_fail(err, KG_ERR_RANGE, "a session's name has 1 to 127 bytes, not %zu; choose another", length);
    if (repository && strlen(repository) >= sizeof((struct kg_stored_session *)0)->repository)
        return kg_fail(err, KG_ERR_RANGE, "the repository's path is too long for a session");
    return KG_OK;
}

enum kg_status kg_session_store_find(struct kg_session_store *store, const char *repository, const char *name,
                                     struct kg_stored_session *out, struct kg_error *err)
{
    sqlite3_stmt *find = prepare(store, "SELECT " KG_SESSION_COLUMNS " FROM session s WHERE s.repository = ?1 AND s.name = ?2");
    if (find) {
        sqlite3_bind_text(find, 1, repository, -1, SQLITE_STATIC);
        sqlite3_bind_text(find, 2, name, -1, SQLITE_STATIC);
    }
    static const char what[] = "looking for a session";
    bool there;
    enum kg_status status = step(store, find, what, &there, err);
    if (status == KG_OK && !there)
        status = kg_fail(err, KG_ERR_NOT_FOUND, "there is no session '%s' here; list them to see what there is", name);
    else if (status == KG_OK && !kg_session_take(find, out))
        status = kg_fail_nomem(err, what);
    sqlite3_finalize(find);
    return status;
}

static enum kg_status name_is_taken(const char *name, struct kg_error *err)
{
    return kg_fail(err, KG_ERR_USAGE, "there is a session '%s' already; choose another name", name);
}

/* KG_ERR_USAGE: a session of this name is there. */
static enum kg_status is_free(struct kg_session_store *store, const char *repository, const char *name, struct kg_stored_session *room, struct kg_error *err)
{
    const enum kg_status status = kg_session_store_find(store, repository, name, room, err);
    if (status == KG_OK)
        return name_is_taken(name, err);
    return status == KG_ERR_NOT_FOUND ? KG_OK : status;
}

enum kg_status kg_session_store_create(struct kg_session_store *store, const char *repository, const char *name, const char *model,
                                       struct kg_stored_session *out, struct kg_error *err)
{
    enum kg_status status = check_name(repository, name, err);
    if (status == KG_OK)
        status = begin(store, err);
    if (status == KG_OK)
        status = is_free(store, repository, name, out, err);
    if (status == KG_OK) {
        sqlite3_stmt *insert = prepare(store, "INSERT INTO session(repository, name, model, created, used)"
                                              " VALUES(?1, ?2, ?3, ?4, ?4)");
        if (insert) {
            sqlite3_bind_text(insert, 1, repository, -1, SQLITE_STATIC);
            sqlite3_bind_text(insert, 2, name, -1, SQLITE_STATIC);
            sqlite3_bind_text(insert, 3, model, -1, SQLITE_STATIC);
            sqlite3_bind_int64(insert, 4, now());
        }
        status = run(store, insert, "creating a session", err);
    }
    if (status == KG_OK)
        status = kg_session_store_find(store, repository, name, out, err);
    return end(store, status, err);
}

static enum kg_status not_there(int64_t session, struct kg_error *err)
{
    return kg_fail(err, KG_ERR_NOT_FOUND, "session %lld is gone; another kedge deleted it", (long long)session);
}

enum kg_status kg_session_store_rename(struct kg_session_store *store, int64_t session, const char *name, struct kg_error *err)
{
    bool taken = false;
    enum kg_status status = check_name(NULL, name, err);
    if (status == KG_OK)
        status = begin(store, err);
    if (status != KG_OK)
        return status;
    sqlite3_stmt *other = prepare(store, "SELECT 1 FROM session a JOIN session b ON a.repository = b.repository"
                                         " WHERE a.id = ?1 AND b.name = ?2 AND b.id <> a.id");
    if (other) {
        sqlite3_bind_int64(other, 1, session);
        sqlite3_bind_text(other, 2, name, -1, SQLITE_STATIC);
    }
    status = step(store, other, "renaming a session", &taken, err);
    sqlite3_finalize(other);
    if (status == KG_OK && taken)
        status = name_is_taken(name, err);
    if (status == KG_OK) {
        sqlite3_stmt *rename = prepare(store, "UPDATE session SET name = ?2 WHERE id = ?1");
        if (rename) {
            sqlite3_bind_int64(rename, 1, session);
            sqlite3_bind_text(rename, 2, name, -1, SQLITE_STATIC);
        }
        status = run(store, rename, "renaming a session", err);
    }
    if (status == KG_OK && sqlite3_changes(store->db) == 0)
        status = not_there(session, err);
    return end(store, status, err);
}

static enum kg_status run_with_id(struct kg_session_store *store, const char *sql, int64_t id, const char *what, struct kg_error *err)
{
    sqlite3_stmt *statement = prepare(store, sql);
    if (statement)
        sqlite3_bind_int64(statement, 1, id);
    return run(store, statement, what, err);
}

#define DROP_UNUSED                                                                                      \
    "DELETE FROM content WHERE NOT EXISTS (SELECT 1 FROM part WHERE text_at = content.id)"                \
    " AND NOT EXISTS (SELECT 1 FROM part WHERE ids_at = content.id)"

enum kg_status kg_session_store_delete(struct kg_session_store *store, int64_t session, struct kg_error *err)
{
    static const char what[] = "deleting a session";
    enum kg_status status = begin(store, err);
    if (status == KG_OK)
        status = run_with_id(store, KG_SAID_FORGET, session, what, err);
    const bool said = status == KG_OK && sqlite3_changes(store->db) > 0;
    if (status == KG_OK)
        status = run_with_id(store, "DELETE FROM pinned WHERE session = ?1", session, what, err);
    if (status == KG_OK)
        status = run_with_id(store, "DELETE FROM part WHERE session = ?1", session, what, err);
    if (status == KG_OK)
        status = run_with_id(store, "DELETE FROM session WHERE id = ?1", session, what, err);
    if (status == KG_OK && sqlite3_changes(store->db) == 0)
        status = not_there(session, err);
    if (status == KG_OK)
        status = kg_db_exec(store->db, DROP_UNUSED, err);
    if (status == KG_OK && said)
        status = kg_db_exec(store->db, KG_SAID_MERGE, err);
    status = end(store, status, err);
    /* what follows makes the file smaller and the log empty, if nobody reads meanwhile; the deletion stands without it */
    if (status == KG_OK)
        sqlite3_exec(store->db, "PRAGMA incremental_vacuum; PRAGMA wal_checkpoint(TRUNCATE)", NULL, NULL, NULL);
    return status;
}

enum kg_status kg_session_store_list(struct kg_session_store *store, const char *repository,
                                     int (*each)(void *ctx, const struct kg_stored_session *), void *ctx, struct kg_error *err)
{
    sqlite3_stmt *list = prepare(store, "SELECT " KG_SESSION_COLUMNS " FROM session s WHERE ?1 IS NULL OR s.repository = ?1"
                                        " ORDER BY s.used DESC, s.id DESC");
    if (list && repository)
        sqlite3_bind_text(list, 1, repository, -1, SQLITE_STATIC);
    int rc = list ? SQLITE_ROW : SQLITE_ERROR;
    struct kg_stored_session session;
    while (list && (rc = sqlite3_step(list)) == SQLITE_ROW) {
        if (!kg_session_take(list, &session))
            rc = SQLITE_NOMEM;
        if (rc == SQLITE_NOMEM || each(ctx, &session))
            break;
    }
    enum kg_status status = rc == SQLITE_ROW || rc == SQLITE_DONE ? KG_OK : fail(store, "listing sessions", err);
    sqlite3_finalize(list);
    return status;
}

static sqlite3_int64 sum_of(int64_t session, const struct kg_stored_part *part)
{
    const int64_t numbers[] = { session, part->id, part->kind, part->base, part->read_rule, part->dropped, part->partial,
                                (int64_t)part->text_length, (int64_t)part->id_count };
    const char *label = part->label ? part->label : "";
    XXH64_hash_t sum = XXH3_64bits(numbers, sizeof numbers);
    sum = XXH3_64bits_withSeed(part->identity.bytes, sizeof part->identity.bytes, sum);
    sum = XXH3_64bits_withSeed(label, strlen(label), sum);
    if (part->text_length)
        sum = XXH3_64bits_withSeed(part->text, part->text_length, sum);
    return (sqlite3_int64)(part->id_count ? XXH3_64bits_withSeed(part->ids, part->id_count * sizeof *part->ids, sum) : sum);
}

/* Looks for the bytes in content. *at = 0 when they are not there. Bytes that differ from what their digest says are
 * written anew: a damaged copy must not serve another session. */
static enum kg_status find_content(struct kg_session_store *store, const struct kg_digest *digest, const void *bytes, size_t length,
                                   sqlite3_int64 *at, struct kg_error *err)
{
    bool there = false, same = true;
    sqlite3_stmt *find = prepare(store, "SELECT id, bytes FROM content WHERE digest = ?1");
    *at = 0;
    if (find)
        sqlite3_bind_blob(find, 1, digest->bytes, sizeof digest->bytes, SQLITE_STATIC);
    enum kg_status status = step(store, find, "storing a file", &there, err);
    if (there) {
        const void *stored = sqlite3_column_blob(find, 1);
        *at = sqlite3_column_int64(find, 0);
        same = stored && (size_t)sqlite3_column_bytes(find, 1) == length && memcmp(stored, bytes, length) == 0;
    }
    sqlite3_finalize(find);
    if (status != KG_OK || same)
        return status;
    sqlite3_stmt *mend = prepare(store, "UPDATE content SET bytes = ?2 WHERE id = ?1");
    if (mend) {
        sqlite3_bind_int64(mend, 1, *at);
        sqlite3_bind_blob64(mend, 2, bytes, length, SQLITE_STATIC);
    }
    return run(store, mend, "storing a file", err);
}

static enum kg_status put_content(struct kg_session_store *store, const void *bytes, size_t length, sqlite3_int64 *at,
                                  struct kg_error *err)
{
    struct kg_digest digest = kg_digest_of(bytes, length);
    enum kg_status status = find_content(store, &digest, bytes, length, at, err);
    if (status != KG_OK || *at)
        return status;
    sqlite3_stmt *insert = prepare(store, "INSERT INTO content(digest, bytes) VALUES(?1, ?2)");
    if (insert) {
        sqlite3_bind_blob(insert, 1, digest.bytes, sizeof digest.bytes, SQLITE_STATIC);
        sqlite3_bind_blob64(insert, 2, bytes, length, SQLITE_STATIC);
    }
    status = run(store, insert, "storing a file", err);
    *at = sqlite3_last_insert_rowid(store->db);
    return status;
}

/* Binds bytes to `column`, or where they are kept in content to `column + 2`. */
static enum kg_status bind_bytes(struct kg_session_store *store, sqlite3_stmt *statement, int column, int kind, const void *bytes,
                                 size_t length, struct kg_error *err)
{
    sqlite3_int64 at = 0;
    if (kind == KG_BLOCK_TURN || kind == KG_BLOCK_ANSWER || length < SHARED_MIN) {
        sqlite3_bind_blob64(statement, column, length ? bytes : "", length, SQLITE_STATIC);
        return KG_OK;
    }
    enum kg_status status = put_content(store, bytes, length, &at, err);
    sqlite3_bind_int64(statement, column + 2, at);
    return status;
}

/* All that may change of a part, and its checksum. */
static enum kg_status write_part(struct kg_session_store *store, int64_t session, const struct kg_stored_part *part,
                                 struct kg_error *err)
{
    sqlite3_stmt *update = prepare(store, "UPDATE part SET text = ?2, ids = ?3, text_at = ?4, ids_at = ?5, identity = ?6,"
                                          " read_rule = ?7, dropped = ?8, partial = ?9, sum = ?10, base = ?11 WHERE id = ?1");
    if (!update)
        return fail(store, "storing a conversation", err);
    enum kg_status status = bind_bytes(store, update, 2, part->kind, part->text, part->text_length, err);
    if (status == KG_OK)
        status = bind_bytes(store, update, 3, part->kind, part->ids, part->id_count * sizeof *part->ids, err);
    sqlite3_bind_int64(update, 1, part->id);
    sqlite3_bind_blob(update, 6, part->identity.bytes, sizeof part->identity.bytes, SQLITE_STATIC);
    sqlite3_bind_int(update, 7, part->read_rule);
    sqlite3_bind_int(update, 8, part->dropped);
    sqlite3_bind_int(update, 9, part->partial);
    sqlite3_bind_int64(update, 10, sum_of(session, part));
    sqlite3_bind_int(update, 11, part->base);
    if (status != KG_OK) {
        sqlite3_finalize(update);
        return status;
    }
    status = run(store, update, "storing a conversation", err);
    return status == KG_OK ? kg_said_put(store->db, part, err) : status;
}

static enum kg_status touch(struct kg_session_store *store, int64_t session, struct kg_error *err)
{
    sqlite3_stmt *used = prepare(store, "UPDATE session SET used = ?2 WHERE id = ?1");
    if (used) {
        sqlite3_bind_int64(used, 1, session);
        sqlite3_bind_int64(used, 2, now());
    }
    enum kg_status status = run(store, used, "storing a conversation", err);
    return status == KG_OK && sqlite3_changes(store->db) == 0 ? not_there(session, err) : status;
}

/* Its place in the conversation: the number comes from the file. */
static enum kg_status insert_part(struct kg_session_store *store, int64_t session, struct kg_stored_part *part, struct kg_error *err)
{
    sqlite3_stmt *insert = prepare(store, "INSERT INTO part(session, kind, label, base, identity, read_rule, dropped, partial, sum, appended)"
                                          " VALUES(?1, ?2, ?3, 0, x'', 0, 0, 0, 0, ?4)");
    if (insert) {
        sqlite3_bind_int64(insert, 1, session);
        sqlite3_bind_int(insert, 2, part->kind);
        sqlite3_bind_text(insert, 3, part->label ? part->label : "", -1, SQLITE_STATIC);
        sqlite3_bind_int64(insert, 4, (sqlite3_int64)part->said);
    }
    enum kg_status status = run(store, insert, "storing a conversation", err);
    part->id = sqlite3_last_insert_rowid(store->db);
    return status;
}

enum kg_status kg_session_store_append(struct kg_session_store *store, int64_t session, struct kg_stored_part *part,
                                       struct kg_error *err)
{
    struct kg_stored_part stored = *part;
    stored.said = (uint64_t)now();
    enum kg_status status = begin(store, err);
    if (status == KG_OK)
        status = touch(store, session, err);
    if (status == KG_OK)
        status = insert_part(store, session, &stored, err);
    if (status == KG_OK)
        status = write_part(store, session, &stored, err);
    status = end(store, status, err);
    if (status == KG_OK) {
        part->id = stored.id;
        part->said = stored.said;
    }
    return status;
}

/* What an update leaves as it is, into `whole`, whose label the caller frees: the checksum covers it. */
static enum kg_status read_fixed(struct kg_session_store *store, int64_t *session, struct kg_stored_part *whole, struct kg_error *err)
{
    sqlite3_stmt *find = prepare(store, "SELECT session, kind, label FROM part WHERE id = ?1");
    whole->label = NULL;
    if (find)
        sqlite3_bind_int64(find, 1, whole->id);
    bool there = false;
    enum kg_status status = step(store, find, "storing a conversation", &there, err);
    if (there) {
        const char *label = (const char *)sqlite3_column_text(find, 2);
        *session = sqlite3_column_int64(find, 0);
        whole->kind = sqlite3_column_int(find, 1);
        whole->label = label ? strdup(label) : NULL;
    }
    sqlite3_finalize(find);
    if (status == KG_OK && !there)
        return kg_fail(err, KG_ERR_NOT_FOUND, "part %lld of a conversation is gone; another kedge deleted it", (long long)whole->id);
    return status == KG_OK && !whole->label ? kg_fail_nomem(err, "storing a conversation") : status;
}

enum kg_status kg_session_store_update(struct kg_session_store *store, const struct kg_stored_part *part, struct kg_error *err)
{
    int64_t session = 0;
    struct kg_stored_part whole = *part;
    whole.label = NULL;
    enum kg_status status = begin(store, err);
    if (status == KG_OK)
        status = read_fixed(store, &session, &whole, err);
    if (status == KG_OK)
        status = touch(store, session, err);
    if (status == KG_OK)
        status = write_part(store, session, &whole, err);
    if (status == KG_OK && whole.kind != KG_BLOCK_TURN && whole.kind != KG_BLOCK_ANSWER)
        status = kg_db_exec(store->db, DROP_UNUSED, err);
    free(whole.label);
    return end(store, status, err);
}

/* A copy with a NUL behind it, never NULL for want of bytes. */
static void *copy_bytes(sqlite3_stmt *row, int column, size_t *length)
{
    const void *bytes = sqlite3_column_blob(row, column);
    *length = (size_t)sqlite3_column_bytes(row, column);
    char *copy = bytes || !*length ? calloc(1, *length + sizeof(int32_t)) : NULL;
    if (copy && *length)
        memcpy(copy, bytes, *length);
    return copy;
}

/* KG_ERR_CORRUPT when the part is not what was stored. */
static enum kg_status take_part(sqlite3_stmt *row, int64_t session, struct kg_stored_part *part, struct kg_error *err)
{
    size_t id_bytes = 0;
    const char *label = (const char *)sqlite3_column_text(row, 2);
    const void *identity = sqlite3_column_blob(row, 6);
    bool whole = identity && sqlite3_column_bytes(row, 6) == (int)sizeof part->identity.bytes;
    *part = (struct kg_stored_part){
        .id = sqlite3_column_int64(row, 0),
        .kind = sqlite3_column_int(row, 1),
        .label = label ? strdup(label) : NULL,
        .base = sqlite3_column_int(row, 5),
        .read_rule = sqlite3_column_int(row, 7),
        .dropped = sqlite3_column_int(row, 8),
        .partial = sqlite3_column_int(row, 9) != 0,
        .said = (uint64_t)sqlite3_column_int64(row, 11),
    };
    if (whole)
        memcpy(part->identity.bytes, identity, sizeof part->identity.bytes);
    part->text = copy_bytes(row, 3, &part->text_length);
    part->ids = copy_bytes(row, 4, &id_bytes);
    part->id_count = id_bytes / sizeof *part->ids;
    if (!part->label || !part->text || !part->ids || sqlite3_errcode(sqlite3_db_handle(row)) == SQLITE_NOMEM)
        return kg_fail_nomem(err, "reading a conversation");
    if (!whole || id_bytes % sizeof *part->ids || sqlite3_column_int64(row, 10) != sum_of(session, part))
        return kg_fail(err, KG_ERR_CORRUPT, "a part of this conversation is damaged on disk and was left out; the rest is there");
    return KG_OK;
}

enum kg_status kg_session_store_parts(struct kg_session_store *store, int64_t session,
                                      int (*each)(void *ctx, const struct kg_stored_part *), void *ctx, struct kg_error *err)
{
    struct kg_stored_part part;
    bool damaged = false, more = true;
    sqlite3_stmt *rows = prepare(store, "SELECT p.id, p.kind, p.label, coalesce(p.text, t.bytes), coalesce(p.ids, i.bytes), p.base,"
                                        " p.identity, p.read_rule, p.dropped, p.partial, p.sum, p.appended FROM part p"
                                        " LEFT JOIN content t ON t.id = p.text_at LEFT JOIN content i ON i.id = p.ids_at"
                                        " WHERE p.session = ?1 ORDER BY p.id");
    if (rows)
        sqlite3_bind_int64(rows, 1, session);
    int rc = rows ? SQLITE_ROW : SQLITE_ERROR;
    enum kg_status status = KG_OK;
    while (rows && more && status == KG_OK && (rc = sqlite3_step(rows)) == SQLITE_ROW) {
        status = take_part(rows, session, &part, err);
        damaged = damaged || status == KG_ERR_CORRUPT;
        if (status == KG_OK)
            more = each(ctx, &part) == 0;
        status = status == KG_ERR_CORRUPT ? KG_OK : status;
        kg_stored_part_clear(&part);
    }
    if (status == KG_OK && rc != SQLITE_ROW && rc != SQLITE_DONE)
        status = fail(store, "reading a conversation", err);
    sqlite3_finalize(rows);
    return status == KG_OK && damaged ? KG_ERR_CORRUPT : status;
}

static sqlite3_stmt *prepare_for(struct kg_session_store *store, const char *sql, int64_t session, const char *label)
{
    sqlite3_stmt *statement = prepare(store, sql);
    if (statement) {
        sqlite3_bind_int64(statement, 1, session);
        sqlite3_bind_text(statement, 2, label, -1, SQLITE_STATIC);
    }
    return statement;
}

enum kg_status kg_session_store_pin(struct kg_session_store *store, int64_t session, const char *label, bool pinned, struct kg_error *err)
{
    static const char add[] = "INSERT OR IGNORE INTO pinned(session, label) VALUES(?1, ?2)", drop[] = "DELETE FROM pinned WHERE session = ?1 AND label = ?2";
    return run(store, prepare_for(store, pinned ? add : drop, session, label), "pinning a file", err);
}

enum kg_status kg_session_store_pinned(struct kg_session_store *store, int64_t session, int (*each)(void *ctx, const char *label), void *ctx,
                                       struct kg_error *err)
{
    sqlite3_stmt *rows = prepare_for(store, "SELECT label FROM pinned WHERE session = ?1 ORDER BY label", session, "");
    int rc = rows ? SQLITE_ROW : SQLITE_ERROR;
    while (rows && (rc = sqlite3_step(rows)) == SQLITE_ROW) {
        const char *label = (const char *)sqlite3_column_text(rows, 0);
        rc = label ? rc : SQLITE_NOMEM;
        if (!label || each(ctx, label))
            break;
    }
    enum kg_status status = rc == SQLITE_ROW || rc == SQLITE_DONE ? KG_OK : fail(store, "reading what is pinned", err);
    sqlite3_finalize(rows);
    return status;
}

enum kg_status kg_session_store_search(struct kg_session_store *store, const char *repository, const char *words,
                                       int (*each)(void *ctx, const struct kg_stored_hit *), void *ctx, struct kg_error *err)
{
    return kg_said_search(store->db, repository, words, each, ctx, err);
}

struct copying {
    struct kg_session_store *store;
    int64_t until, into;
    void (*copied)(void *ctx, int64_t old_part, int64_t new_part);
    void *ctx;
    enum kg_status status;
    struct kg_error *err;
};

static int copy_part(void *ctx, const struct kg_stored_part *part)
{
    struct copying *copying = ctx;
    struct kg_stored_part copy = *part;
    if (copying->until && part->id >= copying->until)
        return 1;
    copying->status = insert_part(copying->store, copying->into, &copy, copying->err);
    if (copying->status == KG_OK)
        copying->status = write_part(copying->store, copying->into, &copy, copying->err);
    if (copying->status == KG_OK && copying->copied)
        copying->copied(copying->ctx, part->id, copy.id);
    return copying->status != KG_OK;
}

/* Inside a transaction: a session under the first of these names that is free, with the model of another. */
static enum kg_status create_like(struct kg_session_store *store, int64_t session, const char *name, struct kg_stored_session *out, struct kg_error *err)
{
    char repository[sizeof out->repository] = "", model[sizeof out->model] = "", numbered[sizeof out->name];
    sqlite3_stmt *find = prepare_for(store, "SELECT repository, model FROM session WHERE id = ?1", session, "");
    bool there = false;
    enum kg_status status = step(store, find, "copying a session", &there, err);
    if (there) {
        const char *from = (const char *)sqlite3_column_text(find, 0), *of = (const char *)sqlite3_column_text(find, 1);
        snprintf(repository, sizeof repository, "%s", from ? from : "");
        snprintf(model, sizeof model, "%s", of ? of : "");
        status = from && of ? check_name(repository, name, err) : kg_fail_nomem(err, "copying a session");
    }
    sqlite3_finalize(find);
    if (status == KG_OK && !there)
        status = not_there(session, err);
    if (status != KG_OK)
        return status;
    snprintf(numbered, sizeof numbered, "%s", name);
    size_t kept = strlen(name) < NUMBERED_MOST ? strlen(name) : NUMBERED_MOST;
    while (kept && ((unsigned char)name[kept] & 0xc0U) == 0x80) /* whole characters */
        kept--;
    for (unsigned n = 2; (status = is_free(store, repository, numbered, out, err)) == KG_ERR_USAGE; n++)
        snprintf(numbered, sizeof numbered, "%.*s (%u)", (int)kept, name, n);
    if (status != KG_OK)
        return status;
    return kg_session_store_create(store, repository, numbered, model, out, err);
}

enum kg_status kg_session_store_copy(struct kg_session_store *store, int64_t session, int64_t until, const char *name, struct kg_stored_session *out,
                                     void (*copied)(void *ctx, int64_t old_part, int64_t new_part), void *ctx, struct kg_error *err)
{
    struct copying copying = { .store = store, .until = until, .copied = copied, .ctx = ctx, .status = KG_OK, .err = err };
    enum kg_status status = kg_session_store_begin(store, err);
    if (status != KG_OK)
        return status;
    status = create_like(store, session, name, out, err);
    copying.into = out->id;
    if (status == KG_OK) {
        status = kg_session_store_parts(store, session, copy_part, &copying, err);
        status = copying.status != KG_OK ? copying.status : status == KG_ERR_CORRUPT ? KG_OK : status; /* what is damaged stays behind */
    }
    if (status == KG_OK) {
        sqlite3_stmt *pins = prepare(store, "INSERT INTO pinned(session, label) SELECT ?2, label FROM pinned WHERE session = ?1");
        if (pins) {
            sqlite3_bind_int64(pins, 1, session);
            sqlite3_bind_int64(pins, 2, out->id);
        }
        status = run(store, pins, "copying a session", err);
    }
    enum kg_status ended = kg_session_store_end(store, status == KG_OK, err);
    status = status == KG_OK ? ended : status;
    if (status == KG_OK) { /* with its parts counted */
        char repository[sizeof out->repository], new_name[sizeof out->name];
        strcpy(repository, out->repository);
        strcpy(new_name, out->name);
        status = kg_session_store_find(store, repository, new_name, out, err);
    }
    return status;
}
