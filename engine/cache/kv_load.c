/* From rows to a block: nothing reaches the block's pages before its checksum and its token ids agree. */
#include <string.h>

#include "engine/cache/kv_job.h"

struct loading {
    struct kg_kv_store *store;
    struct kg_block *block;
    struct kg_kv_layout layout;
    struct kg_kv_found found;
    uint32_t wanted; /* tokens */
    bool damaged;
};

/* The row that the statement stands on, if it is row (page, part) with so many tokens and its checksum agrees. */
static bool take_row(const struct loading *l, sqlite3_stmt *rows, uint32_t page, uint32_t part, uint32_t tokens,
                     struct kg_kv_row *row)
{
    *row = (struct kg_kv_row){
        .key = kg_block_key(l->block)->bytes,
        .page = page,
        .part = part,
        .tokens = tokens,
        .ids = sqlite3_column_blob(rows, 3),
        .payload = sqlite3_column_blob(rows, 4),
        .bytes = kg_kv_part_bytes(&l->layout, part, tokens),
    };
    return sqlite3_column_int64(rows, 0) == KG_KV_ROW_ID(l->found.id, page, part) && sqlite3_column_int64(rows, 1) == tokens &&
           row->ids && sqlite3_column_bytes(rows, 3) == (int)(tokens * sizeof(int32_t)) && row->payload &&
           (size_t)sqlite3_column_bytes(rows, 4) == row->bytes && sqlite3_column_int64(rows, 2) == (sqlite3_int64)kg_kv_row_sum(row);
}

/* How many of the page's stored ids are the block's. */
static uint32_t ids_in_common(const struct kg_block *block, uint32_t first, const void *ids, uint32_t tokens)
{
    const int32_t *own = kg_block_kept_ids(block) + first;
    uint32_t n = 0;
    for (int32_t id; n < tokens && first + n < kg_block_kept(block); n++) {
        memcpy(&id, (const uint8_t *)ids + n * sizeof id, sizeof id);
        if (id != own[n])
            break;
    }
    return n;
}

/* Gathers the parts of one page at store->page; *common = 0 when the rows end, are damaged, or are of another text. */
static enum kg_status gather(struct loading *l, sqlite3_stmt *rows, uint32_t page, uint32_t *common, struct kg_error *err)
{
    uint32_t first = page * KG_PAGE, left = l->found.ready - first, tokens = left < KG_PAGE ? left : KG_PAGE;
    uint32_t agreed = tokens;
    struct kg_kv_row row;
    *common = 0;
    if (tokens < KG_PAGE)
        memset(l->store->page, 0, l->layout.page_bytes);
    for (uint32_t part = 0; part < l->layout.parts; part++) {
        int rc = sqlite3_step(rows);
        if (rc != SQLITE_ROW && rc != SQLITE_DONE)
            return kg_db_fail(l->store->db, rc, "reading the cache", err);
        if (rc == SQLITE_DONE || !take_row(l, rows, page, part, tokens, &row)) {
            l->damaged = sqlite3_errcode(l->store->db) != SQLITE_NOMEM;
            return l->damaged ? KG_OK : kg_fail_nomem(err, "reading the cache");
        }
        uint32_t same = ids_in_common(l->block, first, row.ids, tokens);
        agreed = same < agreed ? same : agreed;
        if (agreed == 0)
            return KG_OK;
        kg_kv_part_unpack(&l->layout, part, tokens, row.payload, l->store->page);
    }
    *common = agreed;
    return KG_OK;
}

/* The index says how many tokens it is of: all that were stored, or none. It goes with the page only as a whole. */
static bool take_page(struct loading *l, uint32_t page, uint32_t common)
{
    uint32_t indexed = 0, left = l->found.ready - page * KG_PAGE, stored = left < KG_PAGE ? left : KG_PAGE;
    const uint8_t *index = l->store->page + l->layout.kv_bytes;
    if (l->layout.index_bytes) {
        memcpy(&indexed, index, sizeof indexed);
        if (indexed != 0 && indexed != stored)
            return false;
        kg_block_index_import(l->block, page, index + sizeof indexed, common == stored ? indexed : 0);
    }
    kg_block_import(l->block, page, l->store->page);
    return true;
}

/* From the first page on, even where the block has its own: keys and values follow from all ids before them. */
static enum kg_status load_pages(struct loading *l, sqlite3_stmt *rows, struct kg_error *err)
{
    uint32_t common = KG_PAGE;
    enum kg_status status = KG_OK;
    sqlite3_bind_int64(rows, 1, KG_KV_ROW_ID(l->found.id, 0, 0));
    sqlite3_bind_int64(rows, 2, KG_KV_ROW_ID(l->found.id + 1, 0, 0) - 1);
    for (uint32_t page = 0; status == KG_OK && common == KG_PAGE && page * KG_PAGE < l->wanted; page++) {
        status = gather(l, rows, page, &common, err);
        uint32_t upto = page * KG_PAGE + common;
        if (status != KG_OK || common == 0 || upto <= kg_block_held(l->block))
            continue;
        status = kg_block_reserve_held(l->block, upto, err);
        if (status == KG_OK && !take_page(l, page, common)) {
            kg_block_set_held(l->block, kg_block_held(l->block));
            l->damaged = true;
            break;
        }
        if (status == KG_OK)
            kg_block_set_held(l->block, upto);
    }
    return status;
}

/* Inside one read transaction. */
static enum kg_status load(struct loading *l, struct kg_error *err)
{
    enum kg_status status = kg_kv_find(l->store, kg_block_key(l->block), &l->found, err);
    if (status != KG_OK || l->found.id == 0)
        return status;
    l->wanted = l->found.ready < kg_block_kept(l->block) ? l->found.ready : kg_block_kept(l->block);
    uint32_t before = kg_block_held(l->block);
    if (before < l->wanted) {
        status = kg_kv_page_buffer(l->store, &l->layout, err);
        sqlite3_stmt *rows = status == KG_OK ? kg_kv_statement(l->store, KG_KV_ROWS) : NULL;
        if (status == KG_OK && !rows)
            status = kg_db_fail(l->store->db, sqlite3_errcode(l->store->db), "reading the cache", err);
        if (status == KG_OK)
            status = load_pages(l, rows, err);
        sqlite3_reset(rows);
    }
    /* pages that were read are the block's, whatever came behind them */
    enum kg_status used = kg_kv_use(l->store, kg_block_key(l->block), l->found.id, kg_block_held(l->block) > before,
                                    status == KG_OK ? err : NULL);
    return status == KG_OK ? used : status;
}

/* What was loaded need not be saved again, and what was not there must be. */
static void note_loaded(const struct loading *l)
{
    uint32_t ready = kg_block_held(l->block);
    struct kg_digest ids = kg_digest_of(kg_block_kept_ids(l->block), ready * sizeof(int32_t));
    kg_kv_set_handed(l->store, kg_block_key(l->block), ready, &ids);
}

static enum kg_status load_or_excuse(struct loading *l, struct kg_error *err)
{
    struct kg_kv_store *store = l->store;
    struct kg_error why = { .text = "" };
    uint32_t before = kg_block_held(l->block);
    if (!store->db)
        return KG_OK;
    enum kg_status status = kg_db_exec(store->db, "BEGIN", &why);
    if (status == KG_OK)
        status = load(l, &why);
    kg_db_rollback(store->db);
    if (kg_block_held(l->block) > kg_block_ready(l->block)) /* a part of a thinned block is nothing */
        kg_block_set_held(l->block, 0);
    if (before == 0)
        note_loaded(l);
    if (status == KG_OK && l->damaged) {
        kg_kv_note(store, KG_KV_DAMAGED, "the cached reading of '%s' was damaged; it was removed and is read again", l->found.title);
        kg_kv_set_handed(store, kg_block_key(l->block), 0, NULL);
        status = kg_kv_remove_block(store, l->found.id, false, &why);
    }
    return kg_kv_excuse(store, status, &why, err);
}

enum kg_status kg_kv_store_load(struct kg_kv_store *store, struct kg_block *block, uint32_t *ready, struct kg_error *err)
{
    struct loading l = { .store = store, .block = block, .layout = kg_kv_layout_of(kg_pool_shape(kg_block_pool(block))) };
    enum kg_status status = KG_OK;
    if (kg_block_kept(block) && kg_block_ready(block) <= kg_block_held(block)) { /* one that is yet to be thinned holds other rows */
        kg_kv_drain(store, kg_block_key(block));
        kg_kv_enter(store);
        status = load_or_excuse(&l, err);
        kg_kv_leave(store);
    }
    *ready = kg_block_ready(block);
    return status;
}
