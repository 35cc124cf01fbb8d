/* From rows to a block, at once. */
#include <string.h>

#include "engine/cache/kv_job.h"
#include "engine/cache/kv_page.h"

struct loading {
    struct kg_kv_store *store;
    struct kg_block *block;
    struct kg_kv_layout layout;
    struct kg_kv_found found;
    uint32_t wanted; /* tokens */
    bool damaged;
};

/* From the first page on, even where the block has its own: keys and values follow from all ids before them. */
static enum kg_status load_pages(struct loading *l, sqlite3_stmt *rows, struct kg_error *err)
{
    struct kg_kv_pages pages = { .db = l->store->db, .rows = rows, .layout = &l->layout, .key = kg_block_key(l->block),
                                 .ids = kg_block_kept_ids(l->block), .count = kg_block_kept(l->block), .id = l->found.id,
                                 .stored = l->found.ready, .from = kg_block_part_page(l->block), .page = l->store->page };
    uint32_t common = KG_PAGE, indexed = 0;
    enum kg_status status = KG_OK;
    for (uint32_t page = 0; status == KG_OK && common == KG_PAGE && page * KG_PAGE < l->wanted; page++) {
        status = kg_kv_page_get(&pages, page, &common, &indexed, err);
        uint32_t upto = page * KG_PAGE + common;
        if (status != KG_OK || common == 0 || upto <= kg_block_held(l->block))
            continue;
        status = kg_block_reserve_held(l->block, upto, err);
        if (status != KG_OK)
            continue;
        if (l->layout.index_bytes)
            kg_block_index_import(l->block, page, kg_kv_page_index(&pages), indexed);
        kg_block_import(l->block, page, pages.page);
        kg_block_set_held(l->block, upto);
    }
    l->damaged = pages.damaged;
    return status;
}

/* Inside one read transaction. */
static enum kg_status load(struct loading *l, struct kg_error *err)
{
    enum kg_status status = kg_kv_find(l->store, kg_block_key(l->block), &l->found, err);
    if (status != KG_OK || l->found.id == 0)
        return status;
    const uint32_t there = kg_kv_ready_from(&l->found, kg_block_part_page(l->block));
    l->wanted = there < kg_block_kept(l->block) ? there : kg_block_kept(l->block);
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
    if (before == 0 && !kg_block_is_part(l->block))
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
