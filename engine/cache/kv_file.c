#include "engine/cache/kv_file.h"

#include <errno.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "engine/cache/kv_lock.h"

#define TABLE_BLOCK                                                                                                          \
    "CREATE TABLE block(id INTEGER PRIMARY KEY AUTOINCREMENT, key BLOB NOT NULL UNIQUE, model TEXT NOT NULL, kind TEXT NOT NULL," \
    " title TEXT NOT NULL, tokens INTEGER NOT NULL, ready INTEGER NOT NULL, parts INTEGER NOT NULL, ids_digest BLOB NOT NULL," \
    " bytes INTEGER NOT NULL, created INTEGER NOT NULL, used INTEGER NOT NULL, worth REAL NOT NULL"
/* ids before kv: they are read without touching the payload's own pages */
#define TABLE_PAGE                                                                                                          \
    "CREATE TABLE page(id INTEGER PRIMARY KEY, tokens INTEGER NOT NULL, sum INTEGER NOT NULL, ids BLOB NOT NULL, kv BLOB NOT NULL)"
#define TABLE_MODEL                                                                                                          \
    "CREATE TABLE model_file(id INTEGER PRIMARY KEY AUTOINCREMENT, device INTEGER NOT NULL, inode INTEGER NOT NULL,"         \
    " size INTEGER NOT NULL, mtime INTEGER NOT NULL, ctime INTEGER NOT NULL, digest BLOB NOT NULL, sum INTEGER NOT NULL,"    \
    " UNIQUE(device, inode))"

/* of the whole text that the block is of, or of which it is a part; empty where nobody said */
#define COLUMN_TEXT "text BLOB NOT NULL DEFAULT x''"

static const char *const steps[] = { TABLE_BLOCK ")" ";" TABLE_PAGE ";" TABLE_MODEL, "ALTER TABLE block ADD COLUMN " COLUMN_TEXT };
static const char *const schema[] = { TABLE_BLOCK ", " COLUMN_TEXT ")", TABLE_PAGE, TABLE_MODEL, NULL };

static const struct kg_db_format format = {
    .application_id = 0x6b676b76, /* kgkv */
    .version = 2,
    .steps = steps,
    .schema = schema,
    .creation = "PRAGMA page_size = 65536; PRAGMA auto_vacuum = INCREMENTAL",
    /* no memory mapping: a file cut short by others must be an error, not a signal */
    .settings = "PRAGMA journal_mode = TRUNCATE; PRAGMA synchronous = FULL; PRAGMA secure_delete = OFF; PRAGMA cache_size = -2048;"
                " PRAGMA temp_store = MEMORY; PRAGMA mmap_size = 0; PRAGMA cell_size_check = ON",
};

/* Without opening there is no cache at all; a block that has to wait for long is computed instead. */
enum { OPEN_MS = 10000, WORK_MS = 2000 };

/* The worth of a block halves in a week without use. */
#define HALF_LIFE 604800.0

static void decay(sqlite3_context *context, int count, sqlite3_value **values)
{
    (void)count;
    double age = sqlite3_value_double(values[0]);
    sqlite3_result_double(context, exp2(-(age > 0 ? age : 0) / HALF_LIFE));
}

uint64_t kg_kv_now(void)
{
    time_t now = time(NULL);
    return now > 0 ? (uint64_t)now : 0;
}

int64_t kg_kv_monotonic(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec;
}

void kg_kv_file_path(const struct kg_kv_store *store, const char *leaf, const char *suffix, char out[KG_KV_PATH])
{
    snprintf(out, KG_KV_PATH, "%s/%.16s%.16s", store->directory, leaf, suffix);
}

/* The database first: an empty new one makes SQLite drop a journal that is left behind. */
static enum kg_status set_aside(struct kg_kv_store *store, struct kg_error *err)
{
    static const char *const suffixes[] = { "", "-journal", "-wal", "-shm" };
    char from[KG_KV_PATH], to[KG_KV_PATH];
    for (size_t i = 0; i < sizeof suffixes / sizeof *suffixes; i++) {
        kg_kv_file_path(store, "kv.db", suffixes[i], from);
        kg_kv_file_path(store, "kv.db.aside", suffixes[i], to);
        if (rename(from, to) == 0)
            continue;
        if (i == 0)
            return kg_fail(err, KG_ERR_IO, "cannot rename %s: %s; move it away", from, strerror(errno));
        unlink(to);
    }
    return KG_OK;
}

void kg_kv_file_close(struct kg_kv_store *store)
{
    for (int i = 0; i < KG_KV_SQL_COUNT; i++) {
        sqlite3_finalize(store->statements[i]);
        store->statements[i] = NULL;
    }
    sqlite3_close(store->db);
    store->db = NULL;
}

static enum kg_status try_open(struct kg_kv_store *store, enum kg_db_state *state, struct kg_error *err)
{
    *state = KG_DB_CURRENT;
    enum kg_status status = kg_db_make_private(store->path, err);
    if (status == KG_OK)
        status = kg_db_connect(store->path, OPEN_MS, &store->db, err);
    if (status == KG_OK && sqlite3_create_function_v2(store->db, "kg_decay", 1, SQLITE_UTF8 | SQLITE_DETERMINISTIC, NULL, decay,
                                                      NULL, NULL, NULL) != SQLITE_OK)
        status = kg_fail_nomem(err, "opening the cache");
    if (status == KG_OK)
        status = kg_db_settle(store->db, &format, state, err);
    sqlite3_int64 size = 0;
    if (status == KG_OK && *state == KG_DB_CURRENT)
        status = kg_db_number(store->db, "PRAGMA page_size", &size, err);
    store->db_page = (uint64_t)size;
    if (status == KG_OK)
        kg_db_patience(store->db, WORK_MS);
    if (status != KG_OK || *state != KG_DB_CURRENT)
        kg_kv_file_close(store);
    return status;
}

enum kg_status kg_kv_file_open(struct kg_kv_store *store, struct kg_error *err)
{
    enum kg_db_state state;
    enum kg_status status = try_open(store, &state, err);
    if (status != KG_OK || state == KG_DB_CURRENT)
        return status;
    const char *what = kg_db_state_text(state);
    if (!kg_kv_lock_alone(store->lock))
        return kg_fail(err, KG_ERR_BUSY, "%s is %s and another kedge uses it; nothing is cached until that one ends", store->path,
                       what);
    status = set_aside(store, err);
    if (status == KG_OK)
        status = try_open(store, &state, err);
    kg_kv_lock_share(store->lock);
    if (status != KG_OK)
        return status;
    if (state != KG_DB_CURRENT)
        return kg_fail(err, KG_ERR_IO, "cannot create %s: what was just made is %s", store->path, kg_db_state_text(state));
    kg_kv_note(store, KG_KV_ASIDE, "%s was %s; it is kept as kv.db.aside (delete it when you like) and a new cache was begun",
               store->path, what);
    return KG_OK;
}

void kg_kv_file_damaged(struct kg_kv_store *store)
{
    struct kg_error err = { .text = "" };
    kg_kv_file_close(store);
    kg_kv_forget_uses(store);
    enum kg_status status = kg_kv_lock_enter(store->lock, 1000, &err);
    if (status == KG_OK) {
        if (kg_kv_lock_alone(store->lock)) {
            status = set_aside(store, &err);
            kg_kv_lock_share(store->lock);
            if (status == KG_OK)
                status = kg_kv_file_open(store, &err);
        } else {
            status = kg_fail(&err, KG_ERR_BUSY, "another kedge uses it");
        }
        kg_kv_lock_leave_gate(store->lock);
    }
    pthread_mutex_lock(&store->state);
    store->paused_until = 0; /* what failed was the old file */
    pthread_mutex_unlock(&store->state);
    if (status == KG_OK)
        kg_kv_note(store, KG_KV_ASIDE,
                   "%s was damaged; it is kept as kv.db.aside (delete it when you like) and a new cache was begun", store->path);
    else
        kg_kv_note(store, KG_KV_ASIDE, "%s is damaged and could not be replaced (%s); nothing is cached until kedge starts again",
                   store->path, err.text);
}

sqlite3_stmt *kg_kv_prepare(sqlite3 *db, enum kg_kv_sql which)
{
    static const char *const texts[KG_KV_SQL_COUNT] = {
#define KG_KV_SQL_TEXT(name, text) [KG_KV_##name] = (text),
        KG_KV_SQL(KG_KV_SQL_TEXT)
#undef KG_KV_SQL_TEXT
    };
    sqlite3_stmt *statement = NULL;
    return sqlite3_prepare_v3(db, texts[which], -1, SQLITE_PREPARE_PERSISTENT, &statement, NULL) == SQLITE_OK ? statement : NULL;
}

sqlite3_stmt *kg_kv_statement(struct kg_kv_store *store, enum kg_kv_sql which)
{
    sqlite3_stmt **statement = &store->statements[which];
    if (!*statement)
        *statement = kg_kv_prepare(store->db, which);
    return *statement;
}

enum kg_status kg_kv_run(struct kg_kv_store *store, sqlite3_stmt *statement, struct kg_error *err)
{
    int rc = statement ? sqlite3_step(statement) : sqlite3_errcode(store->db);
    enum kg_status status = rc == SQLITE_DONE || rc == SQLITE_ROW ? KG_OK : kg_db_fail(store->db, rc, "writing the cache", err);
    if (statement) {
        sqlite3_reset(statement);
        sqlite3_clear_bindings(statement);
    }
    return status;
}

enum kg_status kg_kv_count(struct kg_kv_store *store, enum kg_kv_sql which, uint64_t *out, struct kg_error *err)
{
    sqlite3_stmt *statement = kg_kv_statement(store, which);
    int rc = statement ? sqlite3_step(statement) : sqlite3_errcode(store->db);
    *out = rc == SQLITE_ROW ? (uint64_t)sqlite3_column_int64(statement, 0) : 0;
    enum kg_status status = rc == SQLITE_ROW ? KG_OK : kg_db_fail(store->db, rc, "reading the cache", err);
    sqlite3_reset(statement);
    return status;
}

enum kg_status kg_kv_begin(struct kg_kv_store *store, struct kg_error *err)
{
    return kg_db_begin(store->db, err);
}

enum kg_status kg_kv_commit(struct kg_kv_store *store, struct kg_error *err)
{
    return kg_db_exec(store->db, "COMMIT", err);
}

enum kg_status kg_kv_find(struct kg_kv_store *store, const struct kg_digest *key, struct kg_kv_found *out, struct kg_error *err)
{
    memset(out, 0, sizeof *out);
    sqlite3_stmt *find = kg_kv_statement(store, KG_KV_FIND);
    if (find)
        sqlite3_bind_blob(find, 1, key->bytes, sizeof key->bytes, SQLITE_STATIC);
    int rc = find ? sqlite3_step(find) : sqlite3_errcode(store->db);
    if (rc == SQLITE_ROW) {
        sqlite3_int64 id = sqlite3_column_int64(find, 0), ready = sqlite3_column_int64(find, 1);
        const void *digest = sqlite3_column_blob(find, 2);
        const char *title = (const char *)sqlite3_column_text(find, 3);
        out->id = kg_kv_id_is_sane(id) ? id : 0;
        out->ready = ready > 0 && ready <= INT32_MAX ? (uint32_t)ready : 0;
        out->ids_known = digest && sqlite3_column_bytes(find, 2) == (int)sizeof out->ids_digest;
        if (out->ids_known)
            memcpy(out->ids_digest.bytes, digest, sizeof out->ids_digest.bytes);
        kg_printable(out->title, sizeof out->title, title ? title : "", title ? strlen(title) : 0);
    }
    enum kg_status status = rc == SQLITE_ROW || rc == SQLITE_DONE ? KG_OK : kg_db_fail(store->db, rc, "reading the cache", err);
    sqlite3_reset(find);
    return status;
}

bool kg_kv_thread(pthread_t *out, void *(*run)(void *store), struct kg_kv_store *store)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    bool started = pthread_create(out, NULL, run, store) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return started;
}

enum kg_status kg_kv_page_buffer(struct kg_kv_store *store, const struct kg_kv_layout *layout, struct kg_error *err)
{
    if (store->page_room >= layout->page_bytes)
        return KG_OK;
    uint8_t *page = sqlite3_malloc64(layout->page_bytes);
    if (!page)
        return kg_fail_nomem(err, "using the cache");
    sqlite3_free(store->page);
    store->page = page;
    store->page_room = layout->page_bytes;
    return KG_OK;
}

void kg_kv_note(struct kg_kv_store *store, enum kg_kv_notice kind, const char *text, ...)
{
    va_list args;
    pthread_mutex_lock(&store->state);
    if (!store->seen[kind]) {
        va_start(args, text);
        kg_failv(&store->notices[kind], KG_OK, text, args);
        va_end(args);
        store->pending[kind] = true;
        store->seen[kind] = kind != KG_KV_ASIDE && kind != KG_KV_DAMAGED;
    }
    pthread_mutex_unlock(&store->state);
}

/* How long nothing is saved after a disk was full or failed, or the budget was filled by what is in use. */
#define PAUSE_S 60

void kg_kv_pause(struct kg_kv_store *store, bool for_room)
{
    pthread_mutex_lock(&store->state);
    store->paused_until = kg_kv_monotonic() + PAUSE_S;
    store->paused_for_room = for_room;
    pthread_mutex_unlock(&store->state);
}

bool kg_kv_accepts(struct kg_kv_store *store)
{
    pthread_mutex_lock(&store->state);
    bool accepts = kg_kv_monotonic() >= store->paused_until;
    pthread_mutex_unlock(&store->state);
    return accepts;
}

enum kg_status kg_kv_excuse(struct kg_kv_store *store, enum kg_status status, const struct kg_error *why, struct kg_error *err)
{
    switch (status) {
    case KG_OK:
        break;
    case KG_ERR_NOMEM:
        if (err)
            *err = *why;
        return status;
    case KG_ERR_CORRUPT:
        kg_kv_file_damaged(store);
        break;
    case KG_ERR_BUSY:
        kg_kv_note(store, KG_KV_BUSY, "another kedge is using the cache; what was read just now was not taken from it or saved");
        break;
    case KG_ERR_FULL:
        kg_kv_pause(store, false);
        kg_kv_note(store, KG_KV_DISK_FULL, "the disk of %s is full; what is read now is not saved until there is room", store->path);
        break;
    default:
        kg_kv_pause(store, false);
        kg_kv_note(store, KG_KV_FAILED, "the cache does not work now: %s", why->text);
    }
    return KG_OK;
}
