#include "engine/context/block.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "engine/context/pool.h"

struct kg_block {
    struct kg_pool *pool;
    size_t references;
    enum kg_block_kind kind;
    struct kg_pool_member member; /* holds the key */
    int32_t local;
    int32_t *ids;
    uint32_t *pages;
    uint32_t id_count, id_room;
    uint32_t page_count, page_room;
    uint32_t ready;
    bool part;         /* of the block that its key is of, from part_page on */
    uint32_t part_page;
    uint32_t promised; /* 0: nothing is on its way */
    struct kg_block_source source;
    /* of a block that is thinned: which tokens stay, their ids, and whether the others are gone */
    uint32_t *kept;
    int32_t *kept_ids;
    uint32_t kept_count, held; /* held: in the pages, while a thinned block is being restored and after */
    bool thin;
};

static uint32_t pages_for(uint32_t tokens)
{
    return tokens / KG_PAGE + (tokens % KG_PAGE != 0);
}

const char *kg_block_kind_name(enum kg_block_kind kind)
{
    static const char *const names[] = {
        [KG_BLOCK_PREAMBLE] = "preamble", [KG_BLOCK_HEADING] = "heading", [KG_BLOCK_FILE] = "file",
        [KG_BLOCK_MAP] = "map",           [KG_BLOCK_INSTRUCTIONS] = "instructions",
        [KG_BLOCK_TURN] = "turn",         [KG_BLOCK_ANSWER] = "answer", [KG_BLOCK_EXCERPT] = "excerpt",
        [KG_BLOCK_SUMMARY] = "summary",
    };
    return (size_t)kind < sizeof names / sizeof *names ? names[kind] : "unknown";
}

enum kg_status kg_block_create(struct kg_pool *pool, enum kg_block_kind kind, const struct kg_digest *key, int32_t local,
                               const int32_t *ids, size_t count, struct kg_block **out, struct kg_error *err)
{
    if (local < 0 || count > (size_t)(INT32_MAX - local))
        return kg_fail(err, KG_ERR_RANGE, "a text of %zu tokens at position %d ends behind the last position; use a shorter text",
                       count, local);
    struct kg_block *block = calloc(1, sizeof *block);
    int32_t *own = malloc((count ? count : 1) * sizeof *own);
    if (!block || !own) {
        free(block);
        free(own);
        return kg_fail_nomem(err, "adding a text to the context");
    }
    if (count)
        memcpy(own, ids, count * sizeof *own);
    *block = (struct kg_block){ .pool = pool, .references = 1, .kind = kind, .member.key = *key, .local = local, .ids = own,
                                .id_count = (uint32_t)count, .id_room = (uint32_t)(count ? count : 1) };
    kg_pool_block_born(pool, &block->member);
    *out = block;
    return KG_OK;
}

struct kg_block *kg_block_keep(struct kg_block *block)
{
    block->references++;
    return block;
}

static void drop_pages(struct kg_block *block, uint32_t kept)
{
    while (block->page_count > kept)
        kg_pool_give(block->pool, block->pages[--block->page_count]);
}

/* What comes is taken, or waited for no longer. */
static void settle(const struct kg_block *block, bool wanted)
{
    struct kg_block *own = (struct kg_block *)block; /* made by kg_block_create, whoever looks at it */
    if (!own->promised)
        return;
    own->promised = 0;
    kg_block_set_ready(own, own->source.settle(own->source.ctx, own, wanted));
}

void kg_block_release(struct kg_block *block)
{
    if (!block || --block->references)
        return;
    settle(block, false);
    drop_pages(block, 0);
    kg_pool_block_gone(block->pool, &block->member);
    free(block->ids);
    free(block->pages);
    free(block->kept);
    free(block->kept_ids);
    free(block);
}

enum kg_block_kind kg_block_kind(const struct kg_block *block)
{
    return block->kind;
}

const struct kg_digest *kg_block_key(const struct kg_block *block)
{
    return &block->member.key;
}

void kg_block_set_key(struct kg_block *block, const struct kg_digest *key)
{
    settle(block, true);
    kg_pool_block_named(block->pool, &block->member, key);
}

const int32_t *kg_block_ids(const struct kg_block *block)
{
    return block->ids;
}

uint32_t kg_block_tokens(const struct kg_block *block)
{
    return block->id_count;
}

uint32_t kg_block_ready(const struct kg_block *block)
{
    settle(block, true);
    return block->ready;
}

int32_t kg_block_local(const struct kg_block *block)
{
    return block->local;
}

void kg_block_set_part(struct kg_block *block, uint32_t page)
{
    assert(!block->kept && block->ready == 0 && !block->promised);
    block->part = true;
    block->part_page = page;
}

bool kg_block_is_part(const struct kg_block *block)
{
    return block->part;
}

uint32_t kg_block_part_page(const struct kg_block *block)
{
    return block->part_page;
}

void kg_block_promise(struct kg_block *block, uint32_t tokens, const struct kg_block_source *source)
{
    assert(!block->kept && block->ready == 0 && !block->promised && tokens && pages_for(tokens) <= block->page_count);
    block->promised = tokens;
    block->source = *source;
}

bool kg_block_is_promised(const struct kg_block *block)
{
    return block->promised != 0;
}

uint32_t kg_block_known(const struct kg_block *block)
{
    return block->promised ? block->promised : block->ready;
}

struct kg_pool *kg_block_pool(const struct kg_block *block)
{
    return block->pool;
}

const uint32_t *kg_block_pages(const struct kg_block *block)
{
    settle(block, true);
    return block->pages;
}

enum kg_status kg_block_extend(struct kg_block *block, int32_t id, struct kg_error *err)
{
    settle(block, true);
    if (block->id_count >= (uint32_t)(INT32_MAX - block->local))
        return kg_fail(err, KG_ERR_RANGE, "the answer reached the last position there is; start a new session");
    if (block->id_count == block->id_room) {
        uint32_t room = block->id_room + block->id_room / 2 + KG_PAGE;
        int32_t *ids = realloc(block->ids, room * sizeof *ids);
        if (!ids)
            return kg_fail_nomem(err, "extending an answer");
        block->ids = ids;
        block->id_room = room;
    }
    block->ids[block->id_count++] = id;
    return KG_OK;
}

void kg_block_cut(struct kg_block *block, uint32_t tokens)
{
    settle(block, true); /* a promise is of the ids that were there */
    assert(tokens <= block->id_count && !block->kept);
    block->id_count = tokens;
    if (block->ready <= tokens)
        return;
    kg_block_set_ready(block, tokens);
    if (tokens % KG_PAGE)
        kg_pool_index(block->pool, block->pages, tokens - tokens % KG_PAGE, tokens % KG_PAGE);
}

enum kg_status kg_block_reserve(struct kg_block *block, uint32_t tokens, struct kg_error *err)
{
    assert(tokens <= block->id_count && !kg_block_is_thin(block));
    return kg_block_reserve_held(block, tokens, err);
}

enum kg_status kg_block_reserve_held(struct kg_block *block, uint32_t tokens, struct kg_error *err)
{
    settle(block, true);
    uint32_t wanted = pages_for(tokens);
    if (wanted > block->page_room) {
        uint32_t room = pages_for(block->id_room) > wanted ? pages_for(block->id_room) : wanted;
        uint32_t *pages = realloc(block->pages, room * sizeof *pages);
        if (!pages)
            return kg_fail_nomem(err, "enlarging a text in the context");
        block->pages = pages;
        block->page_room = room;
    }
    uint32_t before = block->page_count;
    while (block->page_count < wanted) {
        enum kg_status status = kg_pool_take(block->pool, &block->pages[block->page_count], err);
        if (status != KG_OK) {
            drop_pages(block, before);
            return status;
        }
        block->page_count++;
    }
    return KG_OK;
}

void kg_block_set_ready(struct kg_block *block, uint32_t tokens)
{
    settle(block, true);
    assert(pages_for(tokens) <= block->page_count && !kg_block_is_thin(block));
    block->ready = tokens;
    drop_pages(block, pages_for(tokens));
}

enum kg_status kg_block_export(const struct kg_block *block, uint32_t page, void *host, struct kg_error *err)
{
    settle(block, true);
    assert(page < block->page_count);
    return kg_pool_export(block->pool, block->pages[page], host, err);
}

void kg_block_import(struct kg_block *block, uint32_t page, const void *host)
{
    settle(block, true);
    assert(page < block->page_count);
    kg_pool_import(block->pool, block->pages[page], host);
}

enum kg_status kg_block_index_export(const struct kg_block *block, uint32_t page, void *host, uint32_t *tokens, struct kg_error *err)
{
    settle(block, true);
    assert(page < block->page_count);
    return kg_pool_index_export(block->pool, block->pages[page], host, tokens, err);
}

void kg_block_index_import(struct kg_block *block, uint32_t page, const void *host, uint32_t tokens)
{
    settle(block, true);
    assert(page < block->page_count);
    kg_pool_index_import(block->pool, block->pages[page], host, tokens);
}

/* Blocks of which some tokens stay. */

enum kg_status kg_block_set_kept(struct kg_block *block, const uint32_t *kept, uint32_t count, struct kg_error *err)
{
    assert(block->ready == 0 && !block->kept);
    block->kept = malloc((count + 1) * sizeof *block->kept);
    block->kept_ids = malloc((count + 1) * sizeof *block->kept_ids);
    if (!block->kept || !block->kept_ids)
        return kg_fail_nomem(err, "adding a text to the context");
    for (uint32_t i = 0; i < count; i++) {
        assert(kept[i] < block->id_count && (i == 0 || kept[i] > kept[i - 1]));
        block->kept[i] = kept[i];
        block->kept_ids[i] = block->ids[kept[i]];
    }
    block->kept_count = count;
    return KG_OK;
}

bool kg_block_is_thin(const struct kg_block *block)
{
    return block->thin;
}

const int32_t *kg_block_kept_ids(const struct kg_block *block)
{
    return block->kept ? block->kept_ids : block->ids;
}

uint32_t kg_block_kept(const struct kg_block *block)
{
    return block->kept ? block->kept_count : block->id_count;
}

uint32_t kg_block_held(const struct kg_block *block)
{
    return block->kept ? block->held : kg_block_ready(block);
}

void kg_block_set_held(struct kg_block *block, uint32_t tokens)
{
    if (!block->kept) {
        kg_block_set_ready(block, tokens);
        return;
    }
    assert(pages_for(tokens) <= block->page_count && tokens <= block->kept_count && (block->ready == 0 || block->thin));
    block->held = tokens;
    block->thin = tokens == block->kept_count;
    block->ready = block->thin ? block->id_count : 0;
    drop_pages(block, pages_for(tokens));
}

/* One slot of a page in host memory to another, in all strips (kernels/backend.h: layer, K or V, KV head). */
static void copy_slot(const struct kg_kv_shape *shape, const uint8_t *from, uint32_t slot, uint8_t *to, uint32_t to_slot)
{
    const size_t bytes = KG_KV_ROW_BYTES(shape), strip = KG_PAGE * bytes, strips = (size_t)shape->layers * 2 * shape->kv_heads;
    for (size_t i = 0; i < strips; i++)
        memcpy(to + i * strip + to_slot * bytes, from + i * strip + slot * bytes, bytes);
}

/* The first `filled` kept tokens end in this page; it goes to where they belong. */
static void put_kept(struct kg_block *block, uint32_t filled, const uint8_t *page, const uint8_t *no_index)
{
    uint32_t at = block->pages[(filled - 1) / KG_PAGE];
    kg_pool_import(block->pool, at, page);
    if (no_index)
        kg_pool_index_import(block->pool, at, no_index, 0);
}

static enum kg_status move_kept(struct kg_block *block, uint8_t *from, uint8_t *to, const uint8_t *no_index, struct kg_error *err)
{
    uint32_t exported = UINT32_MAX; /* pages before this one are free to be written */
    for (uint32_t i = 0; i < block->kept_count; i++) {
        const uint32_t page = block->kept[i] / KG_PAGE;
        enum kg_status status = page == exported ? KG_OK : kg_pool_export(block->pool, block->pages[page], from, err);
        if (status != KG_OK)
            return status;
        exported = page;
        copy_slot(kg_pool_shape(block->pool), from, block->kept[i] % KG_PAGE, to, i % KG_PAGE);
        if (i % KG_PAGE == KG_PAGE - 1 || i + 1 == block->kept_count)
            put_kept(block, i + 1, to, no_index);
    }
    return KG_OK;
}

enum kg_status kg_block_thin(struct kg_block *block, struct kg_error *err)
{
    assert(block->kept && block->ready == block->id_count && !block->thin);
    const struct kg_kv_shape *shape = kg_pool_shape(block->pool);
    const size_t bytes = KG_KV_PAGE_BYTES(shape), index_bytes = KG_INDEX_PAGE_BYTES(shape);
    uint8_t *memory = calloc(2 * bytes + index_bytes, 1);
    if (!memory)
        return kg_fail_nomem(err, "dropping what is not looked at any more");
    enum kg_status status = move_kept(block, memory, memory + bytes, index_bytes ? memory + 2 * bytes : NULL, err);
    free(memory);
    block->ready = 0; /* a failure may have moved some: it has to be read again */
    kg_block_set_held(block, status == KG_OK ? block->kept_count : 0);
    return status;
}
