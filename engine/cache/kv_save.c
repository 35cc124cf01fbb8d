/* From a block to rows. Every transaction leaves a prefix of the block that is valid by itself. */
#include <string.h>

#include "engine/cache/kv_file.h"

/* Payload bytes of a transaction: with the pages around them it stays below 16 MiB. */
#define TRANSACTION_MAX ((size_t)14 << 20)

struct saving {
    struct kg_kv_store *store;
    const struct kg_block *block;
    const struct kg_kv_label *label;
    struct kg_kv_layout layout;
    struct kg_kv_found found;
    uint32_t common;    /* tokens of the stored prefix that are the block's */
    bool device_failed; /* the failure is not the cache's */
};

static struct kg_digest digest_of_ids(const struct kg_block *block, uint32_t tokens)
{
    return kg_digest_of(kg_block_ids(block), tokens * sizeof(int32_t));
}

/* Compares row by row: another answer to the same question has the same key. */
static enum kg_status compare_rows(struct saving *s, struct kg_error *err)
{
    sqlite3_stmt *row = kg_kv_statement(s->store, KG_KV_IDS);
    if (!row)
        return kg_db_fail(s->store->db, sqlite3_errcode(s->store->db), "reading the cache", err);
    const int32_t *ids = kg_block_ids(s->block);
    uint32_t limit = s->found.ready < kg_block_tokens(s->block) ? s->found.ready : kg_block_tokens(s->block);
    int rc = SQLITE_ROW;
    for (bool same = true; same && s->common < limit;) {
        sqlite3_bind_int64(row, 1, KG_KV_ROW_ID(s->found.id, s->common / KG_PAGE, 0));
        rc = sqlite3_step(row);
        if (rc != SQLITE_ROW)
            break;
        const uint8_t *stored = sqlite3_column_blob(row, 1);
        uint32_t n = (uint32_t)sqlite3_column_bytes(row, 1) / sizeof *ids, first = s->common, i = 0;
        while (stored && i < n && i < KG_PAGE && first + i < limit && memcmp(stored + i * sizeof *ids, &ids[first + i], sizeof *ids) == 0)
            i++;
        same = i == KG_PAGE;
        s->common = first + i;
        sqlite3_reset(row);
    }
    sqlite3_reset(row);
    return rc == SQLITE_ROW || rc == SQLITE_DONE ? KG_OK : kg_db_fail(s->store->db, rc, "reading the cache", err);
}

static enum kg_status examine(struct saving *s, struct kg_error *err)
{
    s->common = 0;
    enum kg_status status = kg_kv_find(s->store, kg_block_key(s->block), &s->found, err);
    if (status != KG_OK || s->found.id == 0)
        return status;
    if (s->found.ids_known && s->found.ready <= kg_block_tokens(s->block)) {
        struct kg_digest digest = digest_of_ids(s->block, s->found.ready);
        if (memcmp(&digest, &s->found.ids_digest, sizeof digest) == 0) {
            s->common = s->found.ready;
            return KG_OK;
        }
    }
    return compare_rows(s, err);
}

static bool is_stored(const struct saving *s)
{
    return s->common >= kg_block_ready(s->block);
}

static enum kg_status new_block(struct saving *s, struct kg_error *err)
{
    const char *const texts[3] = { s->label->model, s->label->kind, s->label->title };
    char printable[3][256];
    sqlite3_stmt *insert = kg_kv_statement(s->store, KG_KV_NEW);
    if (insert) {
        sqlite3_bind_blob(insert, 1, kg_block_key(s->block)->bytes, 32, SQLITE_STATIC);
        for (int i = 0; i < 3; i++) {
            kg_printable(printable[i], sizeof printable[i], texts[i], strlen(texts[i]));
            sqlite3_bind_text(insert, 2 + i, printable[i], -1, SQLITE_STATIC);
        }
        sqlite3_bind_int64(insert, 5, s->layout.parts);
        sqlite3_bind_int64(insert, 6, (sqlite3_int64)kg_kv_now());
    }
    enum kg_status status = kg_kv_run(s->store, insert, err);
    s->found = (struct kg_kv_found){ .id = sqlite3_last_insert_rowid(s->store->db) };
    return status == KG_OK && !kg_kv_id_is_sane(s->found.id) ? kg_fail(err, KG_ERR_CORRUPT, "block numbers ran out") : status;
}

/* Rows of the page in which the block parts from what is stored, and of those behind it. */
static enum kg_status drop_rows_behind(struct saving *s, struct kg_error *err)
{
    sqlite3_stmt *drop = kg_kv_statement(s->store, KG_KV_DROP_ROWS);
    if (drop) {
        sqlite3_bind_int64(drop, 1, KG_KV_ROW_ID(s->found.id, s->common / KG_PAGE, 0));
        sqlite3_bind_int64(drop, 2, KG_KV_ROW_ID(s->found.id + 1, 0, 0) - 1);
    }
    return kg_kv_run(s->store, drop, err);
}

static enum kg_status put_page(struct saving *s, uint32_t page, uint32_t tokens, struct kg_error *err)
{
    struct kg_kv_store *store = s->store;
    enum kg_status status = kg_block_export(s->block, page, store->page, err);
    s->device_failed = status != KG_OK;
    for (uint32_t part = 0; part < s->layout.parts && status == KG_OK; part++) {
        struct kg_kv_row row = {
            .key = kg_block_key(s->block)->bytes,
            .page = page,
            .part = part,
            .tokens = tokens,
            .ids = kg_block_ids(s->block) + (size_t)page * KG_PAGE,
            .payload = store->page,
            .bytes = kg_kv_part_bytes(&s->layout, part, tokens),
        };
        if (s->layout.parts > 1 || tokens < KG_PAGE) {
            kg_kv_part_pack(&s->layout, part, tokens, store->page, store->part);
            row.payload = store->part;
        }
        sqlite3_stmt *put = kg_kv_statement(store, KG_KV_PUT_ROW);
        if (put) {
            sqlite3_bind_int64(put, 1, KG_KV_ROW_ID(s->found.id, page, part));
            sqlite3_bind_int64(put, 2, tokens);
            sqlite3_bind_int64(put, 3, (sqlite3_int64)kg_kv_row_sum(&row));
            sqlite3_bind_blob(put, 4, row.ids, (int)(tokens * sizeof(int32_t)), SQLITE_STATIC);
            sqlite3_bind_blob(put, 5, row.payload, (int)row.bytes, SQLITE_STATIC);
        }
        status = kg_kv_run(store, put, err);
    }
    return status;
}

static enum kg_status describe(struct saving *s, uint32_t upto, struct kg_error *err)
{
    struct kg_digest digest = digest_of_ids(s->block, upto);
    sqlite3_stmt *grow = kg_kv_statement(s->store, KG_KV_GROW);
    if (grow) {
        sqlite3_bind_int64(grow, 1, s->found.id);
        sqlite3_bind_int64(grow, 2, kg_block_tokens(s->block));
        sqlite3_bind_int64(grow, 3, upto);
        sqlite3_bind_blob(grow, 4, digest.bytes, sizeof digest.bytes, SQLITE_STATIC);
        sqlite3_bind_int64(grow, 5, (sqlite3_int64)(upto * (s->layout.token_bytes + sizeof(int32_t))));
        sqlite3_bind_int64(grow, 6, s->layout.parts);
    }
    return kg_kv_run(s->store, grow, err);
}

/* Inside a transaction: as many pages as it may hold. *upto = how far the block is stored then. */
static enum kg_status put_pages(struct saving *s, uint32_t *upto, struct kg_error *err)
{
    uint32_t ready = kg_block_ready(s->block);
    size_t bytes = 0;
    enum kg_status status = s->found.id ? KG_OK : new_block(s, err);
    if (status == KG_OK && s->common < s->found.ready)
        status = drop_rows_behind(s, err);
    *upto = s->common;
    for (uint32_t page = s->common / KG_PAGE; status == KG_OK && *upto < ready; page++) {
        uint32_t left = ready - page * KG_PAGE, tokens = left < KG_PAGE ? left : KG_PAGE;
        if (bytes && bytes + s->layout.page_bytes > TRANSACTION_MAX)
            break;
        status = put_page(s, page, tokens, err);
        *upto = page * KG_PAGE + tokens;
        bytes += tokens * s->layout.token_bytes;
    }
    if (status == KG_OK)
        status = describe(s, *upto, err);
    return status == KG_OK ? kg_kv_write_hits(s->store, err) : status;
}

/* One transaction. What is stored is looked at again inside it: another process may save the same block. */
static enum kg_status save_some(struct saving *s, uint32_t *upto, struct kg_error *err)
{
    enum kg_status status = kg_kv_begin(s->store, err);
    if (status == KG_OK)
        status = examine(s, err);
    *upto = s->common;
    if (status == KG_OK && !is_stored(s))
        status = put_pages(s, upto, err);
    if (status == KG_OK)
        status = kg_kv_commit(s->store, err);
    if (status == KG_OK)
        kg_kv_hits_written(s->store);
    kg_db_rollback(s->store->db);
    return status;
}

static enum kg_status save(struct saving *s, struct kg_error *err)
{
    uint32_t ready = kg_block_ready(s->block), upto = 0;
    enum kg_status status = kg_kv_buffers(s->store, &s->layout, err);
    if (status == KG_OK)
        status = examine(s, err);
    for (bool first = true; status == KG_OK && !is_stored(s); first = false) {
        if (!first && s->common < upto)
            break; /* another process stores another text under this key: the last one wins */
        size_t left = (ready - s->common / KG_PAGE * KG_PAGE) * s->layout.token_bytes;
        bool room = false;
        status = kg_kv_make_room(s->store, left < TRANSACTION_MAX ? left : TRANSACTION_MAX, &room, err);
        if (status == KG_OK && !room) {
            kg_kv_note(s->store, KG_KV_BUDGET, "the cache's budget of %llu MB is filled by what is open; raise it to keep more",
                       (unsigned long long)(s->store->budget / 1000000));
            break;
        }
        if (status == KG_OK)
            status = save_some(s, &upto, err);
        if (status == KG_OK)
            status = kg_kv_use(s->store, s->found.id, kg_block_key(s->block), false, err);
        if (status == KG_OK)
            status = examine(s, err);
    }
    return status;
}

enum kg_status kg_kv_store_save(struct kg_kv_store *store, const struct kg_block *block, const struct kg_kv_label *label,
                                struct kg_error *err)
{
    struct kg_error why = { .text = "" };
    struct saving s = { .store = store, .block = block, .label = label,
                        .layout = kg_kv_layout_of(kg_pool_shape(kg_block_pool(block))) };
    if (!store->db || kg_block_ready(block) == 0 || kg_kv_monotonic() < store->paused_until ||
        s.layout.parts >= 1U << KG_KV_PART_BITS || kg_block_ready(block) / KG_PAGE >= 1U << KG_KV_PAGE_BITS)
        return KG_OK;
    enum kg_status status = save(&s, &why);
    if (s.device_failed) {
        if (err)
            *err = why;
        return status;
    }
    return kg_kv_excuse(store, status, &why, err);
}
