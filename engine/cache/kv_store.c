#include "engine/cache/kv_store.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "engine/cache/kv_job.h"
#include "engine/cache/kv_lock.h"
#include "engine/cache/kv_stream.h"

#define DEFAULT_BUDGET ((uint64_t)8 << 30)

/* A tenth of what the disk would have free without the cache. */
static uint64_t default_budget(const struct kg_kv_store *store)
{
    struct statvfs fs;
    struct stat st;
    if (statvfs(store->directory, &fs) != 0)
        return DEFAULT_BUDGET;
    uint64_t own = stat(store->path, &st) == 0 ? (uint64_t)st.st_size : 0;
    uint64_t tenth = ((uint64_t)fs.f_bavail * fs.f_frsize + own) / 10;
    return tenth < DEFAULT_BUDGET ? tenth : DEFAULT_BUDGET;
}

static enum kg_status open_in(struct kg_kv_store *store, const char *directory, struct kg_error *err)
{
    char lock[KG_KV_PATH];
    if (strlen(directory) + sizeof "/kv.db.aside-journal.XXXXXX" > KG_PATH_MAX)
        return kg_fail(err, KG_ERR_RANGE, "the name of the cache directory is too long; choose a shorter one");
    enum kg_status status = kg_make_dirs(directory, err);
    if (status != KG_OK)
        return status;
    snprintf(store->directory, sizeof store->directory, "%s", directory);
    kg_kv_file_path(store, "kv.db", "", store->path);
    kg_kv_file_path(store, "kv.lock", "", lock);
    status = kg_kv_lock_open(lock, &store->lock, err);
    if (status == KG_OK)
        status = kg_kv_lock_enter(store->lock, 10000, err);
    if (status != KG_OK)
        return status;
    status = kg_kv_file_open(store, err);
    kg_kv_lock_leave_gate(store->lock);
    return status;
}

enum kg_status kg_kv_store_open(const char *directory, uint64_t budget, struct kg_kv_store **out, struct kg_error *err)
{
    struct kg_kv_store *store = calloc(1, sizeof *store);
    if (!store)
        return kg_fail_nomem(err, "opening the cache");
    store->lock = -1;
    store->last_job = &store->jobs;
    pthread_mutex_init(&store->file, NULL);
    pthread_mutex_init(&store->state, NULL);
    pthread_cond_init(&store->changed, NULL);
    enum kg_status status = open_in(store, directory, err);
    if (status != KG_OK) {
        kg_kv_store_close(store);
        return status;
    }
    store->budget = budget ? budget : default_budget(store);
    *out = store;
    return KG_OK;
}

/* Hits are worth no waiting and no message. */
static void write_last_hits(struct kg_kv_store *store)
{
    bool any = false;
    for (size_t i = 0; i < store->use_count; i++)
        any = any || store->uses[i].hits;
    if (!any || !store->db)
        return;
    kg_db_patience(store->db, 100);
    if (kg_kv_begin(store, NULL) == KG_OK && kg_kv_write_hits(store, NULL) == KG_OK)
        kg_kv_commit(store, NULL);
    kg_db_rollback(store->db);
}

void kg_kv_store_close(struct kg_kv_store *store)
{
    if (!store)
        return;
    kg_kv_stream_end(store);
    kg_kv_writer_end(store);
    write_last_hits(store);
    kg_kv_file_close(store);
    if (store->lock >= 0)
        close(store->lock);
    sqlite3_free(store->uses);
    sqlite3_free(store->page);
    pthread_cond_destroy(&store->changed);
    pthread_mutex_destroy(&store->state);
    pthread_mutex_destroy(&store->file);
    free(store);
}

const char *kg_kv_store_notice(struct kg_kv_store *store)
{
    bool found = false;
    pthread_mutex_lock(&store->state);
    for (int i = 0; i < KG_KV_NOTICES && !found; i++)
        if (store->pending[i]) {
            store->pending[i] = false;
            snprintf(store->shown, sizeof store->shown, "%s", store->notices[i].text);
            found = true;
        }
    pthread_mutex_unlock(&store->state);
    return found ? store->shown : NULL;
}

void kg_kv_store_flush(struct kg_kv_store *store)
{
    kg_kv_drain(store, NULL);
}

static enum kg_status unusable(const struct kg_kv_store *store, struct kg_error *err)
{
    return kg_fail(err, KG_ERR_CORRUPT, "%s is damaged and in use by another kedge; end that one and try again", store->path);
}

/* Alone with the file, and everything that was saved in it. KG_ERR_CORRUPT when there is none: nothing to leave then. */
static enum kg_status enter_settled(struct kg_kv_store *store, struct kg_error *err)
{
    kg_kv_drain(store, NULL);
    kg_kv_enter(store);
    if (store->db)
        return KG_OK;
    kg_kv_leave(store);
    return unusable(store, err);
}

uint64_t kg_kv_store_bytes(struct kg_kv_store *store)
{
    uint64_t pages = 0;
    if (enter_settled(store, NULL) != KG_OK)
        return 0;
    enum kg_status status = kg_kv_count(store, KG_KV_PAGES, &pages, NULL);
    kg_kv_leave(store);
    return status == KG_OK ? pages * store->db_page : 0;
}

/* An entry with its own texts. */
struct listed {
    struct kg_kv_entry entry;
    char model[128], kind[32], title[256];
    struct kg_digest key;
    uint32_t parts;
};

static void copy_text(char *out, size_t room, sqlite3_stmt *row, int column)
{
    const char *text = (const char *)sqlite3_column_text(row, column);
    kg_printable(out, room, text ? text : "", text ? strlen(text) : 0);
}

static uint32_t column_count(sqlite3_stmt *row, int column)
{
    sqlite3_int64 n = sqlite3_column_int64(row, column);
    return n < 0 ? 0 : n > UINT32_MAX ? UINT32_MAX : (uint32_t)n;
}

static void take_listed(sqlite3_stmt *row, struct listed *out)
{
    memset(out, 0, sizeof *out);
    const void *key = sqlite3_column_blob(row, 1);
    if (key && sqlite3_column_bytes(row, 1) == (int)sizeof out->key.bytes)
        memcpy(out->key.bytes, key, sizeof out->key.bytes);
    kg_digest_hex(&out->key, out->entry.key);
    copy_text(out->model, sizeof out->model, row, 2);
    copy_text(out->kind, sizeof out->kind, row, 3);
    copy_text(out->title, sizeof out->title, row, 4);
    out->entry.id = sqlite3_column_int64(row, 0);
    out->entry.tokens = column_count(row, 5);
    out->entry.ready = column_count(row, 6);
    out->entry.bytes = (uint64_t)sqlite3_column_int64(row, 7);
    out->entry.created = (uint64_t)sqlite3_column_int64(row, 8);
    out->entry.used = (uint64_t)sqlite3_column_int64(row, 9);
    out->parts = column_count(row, 10);
    struct kg_digest text;
    const void *bytes = sqlite3_column_blob(row, 11);
    if (bytes && sqlite3_column_bytes(row, 11) == (int)sizeof text.bytes) {
        memcpy(text.bytes, bytes, sizeof text.bytes);
        kg_digest_hex(&text, out->entry.text);
    }
}

/* All of them, in memory: whoever shows them may take long, and must not keep others from writing meanwhile. */
static enum kg_status collect(struct kg_kv_store *store, struct listed **out, size_t *count, struct kg_error *err)
{
    sqlite3_stmt *list = kg_kv_statement(store, KG_KV_LIST);
    int rc = list ? SQLITE_ROW : sqlite3_errcode(store->db);
    size_t room = 0;
    struct listed *all = NULL;
    *count = 0;
    while (list && (rc = sqlite3_step(list)) == SQLITE_ROW) {
        if (*count == room) {
            room = room * 2 + 32;
            struct listed *more = sqlite3_realloc64(all, room * sizeof *more);
            if (!more) {
                rc = SQLITE_NOMEM;
                break;
            }
            all = more;
        }
        take_listed(list, &all[(*count)++]);
    }
    enum kg_status status = rc == SQLITE_DONE ? KG_OK : kg_db_fail(store->db, rc, "listing the cache", err);
    sqlite3_reset(list);
    if (status != KG_OK) {
        sqlite3_free(all);
        all = NULL;
    }
    *out = all;
    return status;
}

enum kg_status kg_kv_store_list(struct kg_kv_store *store, int (*each)(void *ctx, const struct kg_kv_entry *), void *ctx,
                                struct kg_error *err)
{
    struct listed *all = NULL;
    size_t count = 0;
    enum kg_status status = enter_settled(store, err);
    if (status != KG_OK)
        return status;
    status = collect(store, &all, &count, err);
    kg_kv_leave(store);
    for (size_t i = 0; i < count && status == KG_OK; i++) {
        all[i].entry.model = all[i].model;
        all[i].entry.kind = all[i].kind;
        all[i].entry.title = all[i].title;
        if (each(ctx, &all[i].entry))
            break;
    }
    sqlite3_free(all);
    return status;
}

/* What was removed is no longer handed to the writer in this process's view. */
static enum kg_status remove_listed(struct kg_kv_store *store, const struct listed *block, struct kg_error *err)
{
    kg_kv_set_handed(store, &block->key, 0, NULL);
    return kg_kv_remove_block(store, block->entry.id, true, err);
}

/* All of them, or the block of that number. */
static enum kg_status remove_each(struct kg_kv_store *store, const int64_t *id, struct kg_error *err)
{
    struct listed *all = NULL;
    size_t count = 0, removed = 0;
    enum kg_status status = collect(store, &all, &count, err);
    for (size_t i = 0; i < count && status == KG_OK; i++)
        if (!id || all[i].entry.id == *id) {
            status = remove_listed(store, &all[i], err);
            removed++;
        }
    sqlite3_free(all);
    if (status == KG_OK && id && !removed)
        return kg_fail(err, KG_ERR_NOT_FOUND, "the cache has no block %lld; 'kedge cache ls' lists them", (long long)*id);
    return status == KG_OK ? kg_kv_give_back(store, 0, err) : status;
}

enum kg_status kg_kv_store_remove(struct kg_kv_store *store, int64_t id, struct kg_error *err)
{
    enum kg_status status = enter_settled(store, err);
    if (status != KG_OK)
        return status;
    status = remove_each(store, &id, err);
    kg_kv_leave(store);
    return status;
}

/* Zeroes a file and removes it; one that is not there is fine. */
static enum kg_status wipe(const char *path, struct kg_error *err)
{
    static const char zeros[1 << 16];
    struct stat st;
    int fd = open(path, O_WRONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0)
        return errno == ENOENT ? KG_OK : kg_fail(err, KG_ERR_IO, "cannot overwrite %s: %s", path, strerror(errno));
    bool good = fstat(fd, &st) == 0 && S_ISREG(st.st_mode);
    for (off_t left = good ? st.st_size : 0; good && left > 0;) {
        ssize_t n = write(fd, zeros, left < (off_t)sizeof zeros ? (size_t)left : sizeof zeros);
        good = n > 0 || (n < 0 && errno == EINTR);
        left -= n > 0 ? n : 0;
    }
    good = good && fsync(fd) == 0;
    int cause = errno;
    close(fd);
    if (!good || unlink(path) != 0)
        return kg_fail(err, KG_ERR_IO, "cannot remove %s: %s", path, strerror(good ? errno : cause));
    return KG_OK;
}

/* The journal last: without the database it is nothing. */
static enum kg_status wipe_all(struct kg_kv_store *store, struct kg_error *err)
{
    static const char *const suffixes[] = { "", "-journal", "-wal", "-shm" };
    char path[KG_KV_PATH];
    enum kg_status status = KG_OK;
    for (size_t i = 0; i < sizeof suffixes / sizeof *suffixes && status == KG_OK; i++) {
        kg_kv_file_path(store, "kv.db", suffixes[i], path);
        status = wipe(path, err);
        kg_kv_file_path(store, "kv.db.aside", suffixes[i], path);
        if (status == KG_OK)
            status = wipe(path, err);
    }
    return status;
}

enum kg_status kg_kv_store_remove_all(struct kg_kv_store *store, struct kg_error *err)
{
    kg_kv_drain(store, NULL);
    kg_kv_stream_rest(store);
    kg_kv_enter(store);
    enum kg_status status = kg_kv_lock_enter(store->lock, 10000, err);
    if (status == KG_OK && kg_kv_lock_alone(store->lock)) {
        kg_kv_file_close(store);
        kg_kv_forget_uses(store);
        status = wipe_all(store, err);
        if (status == KG_OK)
            status = kg_kv_file_open(store, err);
        kg_kv_lock_share(store->lock);
    } else if (status == KG_OK) {
        status = store->db ? remove_each(store, NULL, err) : unusable(store, err);
    }
    kg_kv_lock_leave_gate(store->lock);
    kg_kv_leave(store);
    return status;
}

/* Whether the rows of a block are what its entry says, all of them and no more. */
static enum kg_status check_rows(struct kg_kv_store *store, const struct listed *block, bool *good, struct kg_error *err)
{
    sqlite3_stmt *rows = kg_kv_statement(store, KG_KV_ROWS);
    int rc = rows ? SQLITE_OK : sqlite3_errcode(store->db);
    uint32_t page = 0, part = 0, ready = block->entry.ready;
    *good = block->parts > 0 && block->parts < 1U << KG_KV_PART_BITS && kg_kv_id_is_sane(block->entry.id);
    if (rows && *good) {
        sqlite3_bind_int64(rows, 1, KG_KV_ROW_ID(block->entry.id, 0, 0));
        sqlite3_bind_int64(rows, 2, KG_KV_ROW_ID(block->entry.id + 1, 0, 0) - 1);
    }
    while (rows && *good && (rc = sqlite3_step(rows)) == SQLITE_ROW) {
        uint32_t tokens = page * KG_PAGE >= ready ? 0 : ready - page * KG_PAGE < KG_PAGE ? ready - page * KG_PAGE : KG_PAGE;
        struct kg_kv_row row = { .key = block->key.bytes, .page = page, .part = part, .tokens = tokens,
                                 .ids = sqlite3_column_blob(rows, 3), .payload = sqlite3_column_blob(rows, 4),
                                 .bytes = (size_t)sqlite3_column_bytes(rows, 4) };
        *good = tokens > 0 && sqlite3_column_int64(rows, 0) == KG_KV_ROW_ID(block->entry.id, page, part) &&
                sqlite3_column_int64(rows, 1) == tokens && row.ids && row.payload &&
                sqlite3_column_bytes(rows, 3) == (int)(tokens * sizeof(int32_t)) &&
                sqlite3_column_int64(rows, 2) == (sqlite3_int64)kg_kv_row_sum(&row);
        part = part + 1 == block->parts ? 0 : part + 1;
        page += part == 0;
    }
    if (rc == SQLITE_DONE)
        *good = *good && part == 0 && (uint64_t)page * KG_PAGE >= ready && ready > 0;
    bool read = rc == SQLITE_OK || rc == SQLITE_ROW || rc == SQLITE_DONE;
    enum kg_status status = read ? KG_OK : kg_db_fail(store->db, rc, "checking the cache", err);
    sqlite3_reset(rows);
    return status;
}

/* SQLite's check tells of a page that it could not read in the same words as of one that is wrong. */
static bool is_about_reading(const char *text)
{
    static const char code[] = "error code=";
    const char *at = strstr(text, code);
    return strstr(text, "failed to get page") || (at && (strtol(at + sizeof code - 1, NULL, 10) & 0xff) != SQLITE_CORRUPT);
}

static enum kg_status check_structure(struct kg_kv_store *store, struct kg_error *err)
{
    sqlite3_stmt *check = NULL;
    int rc = sqlite3_prepare_v2(store->db, "PRAGMA integrity_check(1)", -1, &check, NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_step(check);
    const char *text = rc == SQLITE_ROW ? (const char *)sqlite3_column_text(check, 0) : NULL;
    enum kg_status status = KG_OK;
    if (!text)
        status = kg_db_fail(store->db, rc == SQLITE_ROW ? SQLITE_NOMEM : rc, "checking the cache", err);
    else if (strcmp(text, "ok") != 0)
        status = kg_fail(err, is_about_reading(text) ? KG_ERR_IO : KG_ERR_CORRUPT, "%s: %s", store->path, text);
    sqlite3_finalize(check);
    return status;
}

static enum kg_status verify_each(struct kg_kv_store *store, const struct listed *all, size_t count, uint64_t *checked,
                                  uint64_t *bad, struct kg_error *err)
{
    enum kg_status status = KG_OK;
    for (size_t i = 0; i < count && status == KG_OK; i++) {
        bool good = true;
        status = check_rows(store, &all[i], &good, err);
        *checked += status == KG_OK;
        if (status == KG_OK && !good) {
            ++*bad;
            kg_kv_set_handed(store, &all[i].key, 0, NULL);
            status = kg_kv_remove_block(store, all[i].entry.id, false, err);
        }
    }
    if (status == KG_OK)
        status = kg_kv_run(store, kg_kv_statement(store, KG_KV_DROP_ORPHANS), err);
    return status == KG_OK ? kg_kv_give_back(store, 0, err) : status;
}

static enum kg_status verify(struct kg_kv_store *store, uint64_t *checked, uint64_t *bad, struct kg_error *err)
{
    struct listed *all = NULL;
    size_t count = 0;
    enum kg_status status = collect(store, &all, &count, err);
    if (status == KG_OK)
        status = check_structure(store, err);
    if (status == KG_OK)
        status = verify_each(store, all, count, checked, bad, err);
    sqlite3_free(all);
    if (status != KG_ERR_CORRUPT)
        return status;
    /* the file's own structure is broken: every block goes with it */
    *bad += count - *checked;
    *checked = count;
    kg_kv_file_damaged(store);
    return KG_OK;
}

enum kg_status kg_kv_store_verify(struct kg_kv_store *store, uint64_t *checked, uint64_t *bad, struct kg_error *err)
{
    *checked = *bad = 0;
    enum kg_status status = enter_settled(store, err);
    if (status != KG_OK)
        return status;
    status = verify(store, checked, bad, err);
    kg_kv_leave(store);
    return status;
}
