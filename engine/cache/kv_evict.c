/* Room: what the budget leaves, which blocks go first, and giving bytes back to the file system. */
#include <string.h>

#include "engine/cache/kv_file.h"
#include "engine/cache/kv_job.h"

/* Rows removed in one transaction: their b-tree pages go into the journal; with overwriting, their payload as well. */
enum { ROWS_AT_ONCE = 128, ROWS_OVERWRITTEN_AT_ONCE = 12 };
#define SLACK ((uint64_t)16 << 20)

/* The last row of a block, or the one before its first. */
static enum kg_status last_row(struct kg_kv_store *store, int64_t id, int64_t *row, struct kg_error *err)
{
    sqlite3_stmt *last = kg_kv_statement(store, KG_KV_LAST_ROW);
    if (last) {
        sqlite3_bind_int64(last, 1, KG_KV_ROW_ID(id, 0, 0));
        sqlite3_bind_int64(last, 2, KG_KV_ROW_ID(id + 1, 0, 0) - 1);
    }
    int rc = last ? sqlite3_step(last) : sqlite3_errcode(store->db);
    *row = KG_KV_ROW_ID(id, 0, 0) - 1;
    if (rc == SQLITE_ROW && sqlite3_column_type(last, 0) == SQLITE_INTEGER)
        *row = sqlite3_column_int64(last, 0);
    enum kg_status status = rc == SQLITE_ROW ? KG_OK : kg_db_fail(store->db, rc, "reading the cache", err);
    sqlite3_reset(last);
    return status;
}

static enum kg_status run_with(struct kg_kv_store *store, enum kg_kv_sql which, int64_t a, int64_t b, struct kg_error *err)
{
    sqlite3_stmt *statement = kg_kv_statement(store, which);
    if (statement) {
        sqlite3_bind_int64(statement, 1, a);
        if (sqlite3_bind_parameter_count(statement) > 1)
            sqlite3_bind_int64(statement, 2, b);
    }
    return kg_kv_run(store, statement, err);
}

/* One transaction: the last rows, or what is left of the block. What remains is a valid prefix. before: the last row then, from the
 * time before. */
static enum kg_status remove_some(struct kg_kv_store *store, int64_t id, uint32_t rows, int64_t *before, bool *gone, struct kg_error *err)
{
    int64_t last = 0, start = KG_KV_ROW_ID(id, 0, 0);
    enum kg_status status = kg_kv_begin(store, err);
    if (status == KG_OK)
        status = last_row(store, id, &last, err);
    if (status == KG_OK && last >= *before) /* in a b-tree out of order, what is found by one way is not by another */
        status = kg_fail(err, KG_ERR_CORRUPT, "%s is damaged: what is removed from it stays", store->path);
    *before = last;
    int64_t from = KG_KV_ROW_ID(id, (uint64_t)(last - start) >> KG_KV_PART_BITS, 0);
    int64_t pages = (int64_t)rows / ((last & ((1 << KG_KV_PART_BITS) - 1)) + 1) - 1;
    from -= (pages > 0 ? pages : 0) * ((int64_t)1 << KG_KV_PART_BITS);
    *gone = last < start || from <= start;
    if (status == KG_OK)
        status = run_with(store, KG_KV_DROP_ROWS, *gone ? start : from, KG_KV_ROW_ID(id + 1, 0, 0) - 1, err);
    if (status == KG_OK)
        status = *gone ? run_with(store, KG_KV_FORGET, id, 0, err)
                       : run_with(store, KG_KV_SHRINK, id, ((from - start) >> KG_KV_PART_BITS) * KG_PAGE, err);
    if (status == KG_OK)
        status = kg_kv_commit(store, err);
    kg_db_rollback(store->db);
    return status;
}

enum kg_status kg_kv_remove_block(struct kg_kv_store *store, int64_t id, bool overwrite, struct kg_error *err)
{
    bool gone = false;
    int64_t last = INT64_MAX;
    if (!kg_kv_id_is_sane(id)) /* it never had rows */
        return run_with(store, KG_KV_FORGET, id, 0, err);
    enum kg_status status = overwrite ? kg_db_exec(store->db, "PRAGMA secure_delete = ON", err) : KG_OK;
    while (status == KG_OK && !gone)
        status = remove_some(store, id, overwrite ? ROWS_OVERWRITTEN_AT_ONCE : ROWS_AT_ONCE, &last, &gone, err);
    if (overwrite)
        sqlite3_exec(store->db, "PRAGMA secure_delete = OFF", NULL, NULL, NULL);
    return status;
}

static enum kg_status measure(struct kg_kv_store *store, uint64_t *file, uint64_t *free_bytes, struct kg_error *err)
{
    enum kg_status status = kg_kv_count(store, KG_KV_PAGES, file, err);
    if (status == KG_OK)
        status = kg_kv_count(store, KG_KV_FREE_PAGES, free_bytes, err);
    *file *= store->db_page;
    *free_bytes *= store->db_page;
    return status;
}

enum kg_status kg_kv_give_back(struct kg_kv_store *store, uint64_t kept, struct kg_error *err)
{
    uint64_t file = 0, free_bytes = 0, before = UINT64_MAX;
    enum kg_status status = measure(store, &file, &free_bytes, err);
    while (status == KG_OK && free_bytes > kept && free_bytes < before) {
        before = free_bytes;
        status = kg_db_exec(store->db, "PRAGMA incremental_vacuum(64)", err);
        if (status == KG_OK)
            status = measure(store, &file, &free_bytes, err);
    }
    return status;
}

/* Blocks of least value that no open session uses, until together they hold `bytes`; as many as fit into ids. */
static enum kg_status pick_victims(struct kg_kv_store *store, uint64_t bytes, int64_t *ids, size_t room, size_t *count,
                                   struct kg_error *err)
{
    sqlite3_stmt *blocks = kg_kv_statement(store, KG_KV_BLOCKS);
    int rc = blocks ? SQLITE_ROW : sqlite3_errcode(store->db);
    uint64_t found = 0;
    *count = 0;
    if (blocks)
        sqlite3_bind_int64(blocks, 1, (sqlite3_int64)kg_kv_now());
    while (blocks && *count < room && found < bytes && (rc = sqlite3_step(blocks)) == SQLITE_ROW) {
        int64_t id = sqlite3_column_int64(blocks, 0);
        if (kg_kv_in_use(store, id))
            continue;
        sqlite3_int64 held = sqlite3_column_int64(blocks, 1);
        ids[(*count)++] = id;
        found += held > 0 ? (uint64_t)held : 0;
    }
    enum kg_status status = rc == SQLITE_ROW || rc == SQLITE_DONE ? KG_OK : kg_db_fail(store->db, rc, "reading the cache", err);
    sqlite3_reset(blocks);
    return status;
}

enum kg_status kg_kv_make_room(struct kg_kv_store *store, uint64_t bytes, bool *room, struct kg_error *err)
{
    /* rows do not fill the last pages that they begin */
    uint64_t file = 0, free_bytes = 0, needed = bytes + bytes / 8 + 8 * store->db_page;
    size_t count = 1;
    bool evicted = false;
    enum kg_status status = measure(store, &file, &free_bytes, err);
    while (status == KG_OK && count && file - free_bytes + needed > store->budget) {
        int64_t ids[64];
        status = pick_victims(store, file - free_bytes + needed - store->budget, ids, sizeof ids / sizeof *ids, &count, err);
        for (size_t i = 0; i < count && status == KG_OK; i++)
            status = kg_kv_remove_block(store, ids[i], false, err);
        evicted = evicted || count;
        if (status == KG_OK)
            status = measure(store, &file, &free_bytes, err);
    }
    uint64_t used = file - free_bytes, left = store->budget > used ? store->budget - used : 0;
    *room = status == KG_OK && needed <= left;
    /* free pages are what the next rows are written to, up to a point */
    if (status == KG_OK && (evicted || file > store->budget))
        status = kg_kv_give_back(store, left < needed + SLACK ? left : needed + SLACK, err);
    return status;
}

static enum kg_status count_used(struct kg_kv_store *store, uint64_t *bytes, struct kg_error *err)
{
    sqlite3_stmt *blocks = kg_kv_statement(store, KG_KV_BLOCKS);
    int rc = blocks ? SQLITE_ROW : sqlite3_errcode(store->db);
    *bytes = 0;
    if (blocks)
        sqlite3_bind_int64(blocks, 1, (sqlite3_int64)kg_kv_now());
    while (blocks && (rc = sqlite3_step(blocks)) == SQLITE_ROW) {
        const sqlite3_int64 held = sqlite3_column_int64(blocks, 1);
        if (held > 0 && kg_kv_in_use(store, sqlite3_column_int64(blocks, 0)))
            *bytes += (uint64_t)held;
    }
    enum kg_status status = rc == SQLITE_DONE ? KG_OK : kg_db_fail(store->db, rc, "reading the cache", err);
    sqlite3_reset(blocks);
    return status;
}

enum kg_status kg_kv_store_fits(struct kg_kv_store *store, uint64_t bytes, bool *fits, struct kg_error *err)
{
    struct kg_error why = { .text = "" };
    uint64_t used = 0;
    kg_kv_drain(store, NULL);
    kg_kv_enter(store);
    enum kg_status status = store->db ? count_used(store, &used, &why) : KG_OK;
    *fits = store->db && status == KG_OK && used + bytes <= store->budget / 4 * 3;
    status = kg_kv_excuse(store, status, &why, err);
    kg_kv_leave(store);
    return status;
}

enum kg_status kg_kv_store_remove_unused(struct kg_kv_store *store, const struct kg_digest *key, struct kg_error *err)
{
    struct kg_kv_found found = { .id = 0 };
    struct kg_error why = { .text = "" };
    kg_kv_drain(store, key);
    kg_kv_enter(store);
    enum kg_status status = store->db ? kg_kv_find(store, key, &found, &why) : KG_OK;
    if (status == KG_OK && found.id && !kg_kv_in_use(store, found.id)) {
        kg_kv_set_handed(store, key, 0, NULL);
        status = kg_kv_remove_block(store, found.id, false, &why);
    }
    if (status == KG_ERR_BUSY)
        status = KG_OK;
    status = kg_kv_excuse(store, status, &why, err);
    kg_kv_leave(store);
    return status;
}
