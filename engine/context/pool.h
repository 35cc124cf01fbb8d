/* What blocks ask of their pool: pages, one at a time, and the device that holds them. */
#ifndef KG_ENGINE_POOL_H
#define KG_ENGINE_POOL_H

#include "engine/context/block.h"

/* Grows the device's memory when no page is free. The content of a page taken is undefined. */
enum kg_status kg_pool_take(struct kg_pool *pool, uint32_t *page, struct kg_error *err);
void kg_pool_give(struct kg_pool *pool, uint32_t page);

/* The device is used by one thread at a time: whoever computes with it stands between these two; everything below does so by
 * itself. */
void kg_pool_enter(struct kg_pool *pool);
void kg_pool_leave(struct kg_pool *pool);

/* Knows its blocks, so that it is never freed below them, and their keys. */
struct kg_pool_member {
    struct kg_pool_member *before, *behind;
    struct kg_digest key;
};
void kg_pool_block_born(struct kg_pool *pool, struct kg_pool_member *member);
void kg_pool_block_named(struct kg_pool *pool, struct kg_pool_member *member, const struct kg_digest *key);
void kg_pool_block_gone(struct kg_pool *pool, struct kg_pool_member *member);

enum kg_status kg_pool_export(struct kg_pool *pool, uint32_t page, void *host, struct kg_error *err);
void kg_pool_import(struct kg_pool *pool, uint32_t page, const void *host);
enum kg_status kg_pool_index_export(struct kg_pool *pool, uint32_t page, void *host, uint32_t *tokens, struct kg_error *err);
void kg_pool_index_import(struct kg_pool *pool, uint32_t page, const void *host, uint32_t tokens);

/* Indexes tokens first .. first + rows - 1 of the block that stands in `pages`; first at the start of a page. Nothing where the
 * pages have no index. */
void kg_pool_index(struct kg_pool *pool, const uint32_t *pages, uint32_t first, uint32_t rows);

#endif
