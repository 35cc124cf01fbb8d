#include "engine/context/pool.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

struct kg_pool {
    const struct kg_backend *backend;
    struct kg_device *device;
    struct kg_kv_shape shape;
    struct kg_kv *kv;
    uint32_t *free_pages; /* a stack with room for all of them: giving a page back never fails */
    uint32_t free_count, capacity;
    struct kg_pool_member blocks; /* a ring, in which this one is no block */
    void (*gone)(void *ctx, const struct kg_digest *key);
    void *ctx;
    pthread_mutex_t turn; /* on the device */
};

enum kg_status kg_pool_create(const struct kg_backend *backend, struct kg_device *device, const struct kg_kv_shape *shape,
                              struct kg_pool **out, struct kg_error *err)
{
    struct kg_pool *pool = calloc(1, sizeof *pool);
    if (!pool)
        return kg_fail_nomem(err, "setting up the context");
    pool->backend = backend;
    pool->device = device;
    pool->shape = *shape;
    enum kg_status status = backend->kv_create(device, shape, &pool->kv, err);
    if (status != KG_OK) {
        free(pool);
        return status;
    }
    pthread_mutex_init(&pool->turn, NULL);
    pool->blocks.before = pool->blocks.behind = &pool->blocks;
    *out = pool;
    return KG_OK;
}

void kg_pool_free(struct kg_pool *pool)
{
    if (!pool)
        return;
    assert(pool->blocks.behind == &pool->blocks);
    pool->backend->kv_free(pool->device, pool->kv);
    pthread_mutex_destroy(&pool->turn);
    free(pool->free_pages);
    free(pool);
}

void kg_pool_enter(struct kg_pool *pool)
{
    pthread_mutex_lock(&pool->turn);
}

void kg_pool_leave(struct kg_pool *pool)
{
    pthread_mutex_unlock(&pool->turn);
}

struct kg_kv *kg_pool_kv(struct kg_pool *pool)
{
    return pool->kv;
}

const struct kg_kv_shape *kg_pool_shape(const struct kg_pool *pool)
{
    return &pool->shape;
}

const char *kg_pool_notice(struct kg_pool *pool)
{
    return pool->backend->kv_notice ? pool->backend->kv_notice(pool->device, pool->kv) : NULL;
}

size_t kg_pool_pages_used(const struct kg_pool *pool)
{
    return pool->capacity - pool->free_count;
}

/* By a quarter: a page is up to some MiB, and memory that no token needs is taken from the person's other programs. */
static enum kg_status grow(struct kg_pool *pool, struct kg_error *err)
{
    uint32_t more = pool->capacity / 4 < 16 ? 16 : pool->capacity / 4;
    if (pool->capacity > UINT32_MAX - more)
        return kg_fail(err, KG_ERR_FULL, "the context has no page numbers left; drop files from it");
    uint32_t capacity = pool->capacity + more;
    uint32_t *pages = realloc(pool->free_pages, capacity * sizeof *pages);
    if (!pages)
        return kg_fail_nomem(err, "enlarging the context");
    pool->free_pages = pages;
    kg_pool_enter(pool);
    enum kg_status status = pool->backend->kv_reserve(pool->device, pool->kv, capacity, err);
    kg_pool_leave(pool);
    if (status != KG_OK)
        return status;
    for (uint32_t page = capacity; page > pool->capacity; page--)
        pool->free_pages[pool->free_count++] = page - 1;
    pool->capacity = capacity;
    return KG_OK;
}

enum kg_status kg_pool_take(struct kg_pool *pool, uint32_t *page, struct kg_error *err)
{
    if (pool->free_count == 0) {
        enum kg_status status = grow(pool, err);
        if (status != KG_OK)
            return status;
    }
    *page = pool->free_pages[--pool->free_count];
    return KG_OK;
}

void kg_pool_give(struct kg_pool *pool, uint32_t page)
{
    assert(pool->free_count < pool->capacity && page < pool->capacity);
    pool->free_pages[pool->free_count++] = page;
}

void kg_pool_watch(struct kg_pool *pool, void (*gone)(void *ctx, const struct kg_digest *key), void *ctx)
{
    pool->gone = gone;
    pool->ctx = ctx;
}

void kg_pool_block_born(struct kg_pool *pool, struct kg_pool_member *member)
{
    member->before = pool->blocks.before;
    member->behind = &pool->blocks;
    member->before->behind = pool->blocks.before = member;
}

static void take_out(struct kg_pool *pool, struct kg_pool_member *member)
{
    member->before->behind = member->behind;
    member->behind->before = member->before;
    const struct kg_pool_member *other = pool->blocks.behind;
    while (other != &pool->blocks && memcmp(other->key.bytes, member->key.bytes, sizeof member->key.bytes) != 0)
        other = other->behind;
    if (pool->gone && other == &pool->blocks)
        pool->gone(pool->ctx, &member->key);
}

void kg_pool_block_named(struct kg_pool *pool, struct kg_pool_member *member, const struct kg_digest *key)
{
    take_out(pool, member);
    member->key = *key;
    kg_pool_block_born(pool, member);
}

void kg_pool_block_gone(struct kg_pool *pool, struct kg_pool_member *member)
{
    take_out(pool, member);
}

enum kg_status kg_pool_export(struct kg_pool *pool, uint32_t page, void *host, struct kg_error *err)
{
    kg_pool_enter(pool);
    enum kg_status status = pool->backend->kv_export(pool->device, pool->kv, page, host, err);
    kg_pool_leave(pool);
    return status;
}

void kg_pool_import(struct kg_pool *pool, uint32_t page, const void *host)
{
    kg_pool_enter(pool);
    pool->backend->kv_import(pool->device, pool->kv, page, host);
    kg_pool_leave(pool);
}

enum kg_status kg_pool_index_export(struct kg_pool *pool, uint32_t page, void *host, uint32_t *tokens, struct kg_error *err)
{
    kg_pool_enter(pool);
    enum kg_status status = pool->backend->index_export(pool->device, pool->kv, page, host, tokens, err);
    kg_pool_leave(pool);
    return status;
}

void kg_pool_index_import(struct kg_pool *pool, uint32_t page, const void *host, uint32_t tokens)
{
    kg_pool_enter(pool);
    pool->backend->index_import(pool->device, pool->kv, page, host, tokens);
    kg_pool_leave(pool);
}

void kg_pool_fill(struct kg_pool *pool, uint32_t page, const void *host, const void *index, uint32_t indexed)
{
    if (pool->shape.index_bits)
        kg_pool_index_import(pool, page, index, indexed);
    kg_pool_import(pool, page, host);
}

void kg_pool_index(struct kg_pool *pool, const uint32_t *pages, uint32_t first, uint32_t rows)
{
    assert(first % KG_PAGE == 0);
    kg_pool_enter(pool);
    for (uint32_t layer = 0; pool->backend->index_write && layer < pool->shape.layers; layer++)
        pool->backend->index_write(pool->device, pool->kv, layer, pages, first, rows, true);
    kg_pool_leave(pool);
}
