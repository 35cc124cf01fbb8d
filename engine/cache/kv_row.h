/* What a row of kv.db holds: the used slots of one page or the page's key index, cut so that no row exceeds 1 MiB.
 *
 *   page   strip 0 (layer 0, K, head 0) | strip 1 (layer 0, K, head 1) | ... | layer 0, V, head 0 | ... | layer 1 ... | index
 *   strip  KG_PAGE slots, each a row of keys or values (kernels/backend.h), of which a row keeps the first `tokens`
 *   index  where the shape has one: u32 how many tokens are indexed, 0 or `tokens`, then KG_INDEX_PAGE_BYTES
 *   part   consecutive strips, as many as fit into 1 MiB when all slots are used; behind them 1 MiB of the index each
 */
#ifndef KG_ENGINE_KV_ROW_H
#define KG_ENGINE_KV_ROW_H

#include "base/digest.h"
#include "kernels/backend.h"

#define KG_KV_ROW_MAX ((size_t)1 << 20)

struct kg_kv_layout {
    uint32_t strips, slot_bytes, part_strips;
    uint32_t kv_parts, parts;     /* of K and V; and in all */
    size_t kv_bytes, index_bytes; /* of a page in host memory; index_bytes with its number of tokens, or 0 */
    size_t page_bytes;            /* both */
};
struct kg_kv_layout kg_kv_layout_of(const struct kg_kv_shape *shape);

/* Rows are numbered so that those of a block lie together, in order. */
#define KG_KV_PART_BITS 10
#define KG_KV_PAGE_BITS 22
#define KG_KV_ROW_ID(block, page, part) \
    ((int64_t)(((uint64_t)(block) << (KG_KV_PAGE_BITS + KG_KV_PART_BITS)) | ((uint64_t)(page) << KG_KV_PART_BITS) | (uint64_t)(part)))

size_t kg_kv_part_bytes(const struct kg_kv_layout *layout, uint32_t part, uint32_t tokens);
/* Of all parts of a page. */
size_t kg_kv_page_payload(const struct kg_kv_layout *layout, uint32_t tokens);
/* Between a page in host memory and the bytes of one part. unpack leaves the slots behind `tokens` as they are. */
void kg_kv_part_pack(const struct kg_kv_layout *layout, uint32_t part, uint32_t tokens, const uint8_t *page, uint8_t *out);
void kg_kv_part_unpack(const struct kg_kv_layout *layout, uint32_t part, uint32_t tokens, const uint8_t *in, uint8_t *page);

/* xxh3 over what the row is as well as what it holds. */
struct kg_kv_row {
    const uint8_t *key; /* 32 bytes */
    uint32_t page, part, tokens;
    const void *ids; /* tokens * 4 bytes */
    const void *payload;
    size_t bytes;
};
uint64_t kg_kv_row_sum(const struct kg_kv_row *row);

#endif
