/* One page of a block out of kv.db: nothing is handed on before its checksum and its token ids agree. */
#ifndef KG_ENGINE_KV_PAGE_H
#define KG_ENGINE_KV_PAGE_H

#include <sqlite3.h>

#include "base/status.h"
#include "engine/cache/kv_row.h"

/* A block in the file, and the text that it should be of. */
struct kg_kv_pages {
    sqlite3 *db;
    sqlite3_stmt *rows; /* KG_KV_ROWS */
    const struct kg_kv_layout *layout;
    const struct kg_digest *key;
    const int32_t *ids;
    uint32_t count;  /* ids */
    int64_t id;
    uint32_t stored; /* tokens in the file */
    uint32_t from;   /* page of the file that the text begins with */
    uint8_t *page;   /* room for one: K and V, then the index behind the number of its tokens */
    bool damaged;    /* the rows are not what they should be */
};

/* Page `page` of the text into pages->page. *common: how many of its ids are the text's, 0 when its rows are missing, damaged, or of
 * another text. *indexed: tokens in its index, 0 unless that covers all that were stored and all of those are the text's. */
enum kg_status kg_kv_page_get(struct kg_kv_pages *pages, uint32_t page, uint32_t *common, uint32_t *indexed, struct kg_error *err);
/* Where the index lies in `page`. */
const uint8_t *kg_kv_page_index(const struct kg_kv_pages *pages);

#endif
