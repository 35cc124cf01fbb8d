#include "engine/cache/kv_page.h"

#include <string.h>

#include "engine/cache/db.h"

/* The row that the statement stands on, if it is row (page, part) with so many tokens and its checksum agrees. */
static bool take_row(const struct kg_kv_pages *p, uint32_t page, uint32_t part, uint32_t tokens, struct kg_kv_row *row)
{
    *row = (struct kg_kv_row){
        .key = p->key->bytes,
        .page = p->from + page,
        .part = part,
        .tokens = tokens,
        .ids = sqlite3_column_blob(p->rows, 3),
        .payload = sqlite3_column_blob(p->rows, 4),
        .bytes = kg_kv_part_bytes(p->layout, part, tokens),
    };
    return sqlite3_column_int64(p->rows, 0) == KG_KV_ROW_ID(p->id, p->from + page, part) && sqlite3_column_int64(p->rows, 1) == tokens &&
           row->ids && sqlite3_column_bytes(p->rows, 3) == (int)(tokens * sizeof(int32_t)) && row->payload &&
           (size_t)sqlite3_column_bytes(p->rows, 4) == row->bytes && sqlite3_column_int64(p->rows, 2) == (sqlite3_int64)kg_kv_row_sum(row);
}

/* How many of the page's stored ids are the text's. */
static uint32_t ids_in_common(const struct kg_kv_pages *p, uint32_t first, const void *ids, uint32_t tokens)
{
    uint32_t n = 0;
    for (int32_t id; n < tokens && first + n < p->count; n++) {
        memcpy(&id, (const uint8_t *)ids + n * sizeof id, sizeof id);
        if (id != p->ids[first + n])
            break;
    }
    return n;
}

const uint8_t *kg_kv_page_index(const struct kg_kv_pages *p)
{
    return p->page + p->layout->kv_bytes + sizeof(uint32_t);
}

/* The index says how many tokens it is of: all that were stored, or none. It goes with the page only as a whole. */
static void take_index(struct kg_kv_pages *p, uint32_t tokens, uint32_t *common, uint32_t *indexed)
{
    *indexed = 0;
    if (!p->layout->index_bytes)
        return;
    memcpy(indexed, p->page + p->layout->kv_bytes, sizeof *indexed);
    if (*indexed != 0 && *indexed != tokens) {
        p->damaged = true;
        *common = 0;
    }
    *indexed = *common == tokens ? *indexed : 0;
}

static enum kg_status gather(struct kg_kv_pages *p, uint32_t page, uint32_t tokens, uint32_t *common, struct kg_error *err)
{
    struct kg_kv_row row;
    uint32_t agreed = tokens;
    *common = 0;
    for (uint32_t part = 0; part < p->layout->parts; part++) {
        int rc = sqlite3_step(p->rows);
        if (rc != SQLITE_ROW && rc != SQLITE_DONE)
            return kg_db_fail(p->db, rc, "reading the cache", err);
        if (rc == SQLITE_DONE || !take_row(p, page, part, tokens, &row)) {
            p->damaged = sqlite3_errcode(p->db) != SQLITE_NOMEM;
            return p->damaged ? KG_OK : kg_fail_nomem(err, "reading the cache");
        }
        uint32_t same = ids_in_common(p, page * KG_PAGE, row.ids, tokens);
        agreed = same < agreed ? same : agreed;
        if (agreed == 0)
            return KG_OK;
        kg_kv_part_unpack(p->layout, part, tokens, row.payload, p->page);
    }
    *common = agreed;
    return KG_OK;
}

enum kg_status kg_kv_page_get(struct kg_kv_pages *p, uint32_t page, uint32_t *common, uint32_t *indexed, struct kg_error *err)
{
    uint32_t left = p->stored - (p->from + page) * KG_PAGE, tokens = left < KG_PAGE ? left : KG_PAGE;
    if (tokens < KG_PAGE)
        memset(p->page, 0, p->layout->page_bytes);
    sqlite3_bind_int64(p->rows, 1, KG_KV_ROW_ID(p->id, p->from + page, 0));
    sqlite3_bind_int64(p->rows, 2, KG_KV_ROW_ID(p->id, p->from + page + 1, 0) - 1);
    enum kg_status status = gather(p, page, tokens, common, err);
    sqlite3_reset(p->rows);
    if (status == KG_OK && *common)
        take_index(p, tokens, common, indexed);
    return status;
}
