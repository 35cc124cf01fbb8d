#include "tests/unit/kv_blocks.h"

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <xxhash.h>

#include "tests/unit/kv_memory.h"

const struct kg_kv_label kv_label = { .model = "test model", .kind = "file", .title = "src/a.c" };

static void must(bool good)
{
    if (!good)
        abort();
}

const char *kv_directory_make(void)
{
    static char path[256];
    const char *base = getenv("TMPDIR");
    snprintf(path, sizeof path, "%s/kedge-test-XXXXXX", base && strlen(base) < 200 ? base : "/tmp");
    must(mkdtemp(path) != NULL);
    return path;
}

void kv_directory_remove(const char *directory)
{
    DIR *open = opendir(directory);
    struct dirent *entry;
    char path[1024];
    while (open && (entry = readdir(open)) != NULL) {
        snprintf(path, sizeof path, "%s/%s", directory, entry->d_name);
        unlink(path);
    }
    if (open)
        closedir(open);
    rmdir(directory);
}

struct kg_pool *kv_pool(uint32_t layers, uint32_t kv_heads, uint32_t head_size)
{
    struct kg_kv_shape shape = { .layers = layers, .kv_heads = kv_heads, .head_size = head_size, .index_bits = 2 };
    struct kg_pool *pool = NULL;
    must(kg_pool_create(&kv_memory_backend, NULL, &shape, &pool, NULL) == KG_OK);
    return pool;
}

void kv_block_key(uint32_t n, struct kg_digest *key)
{
    *key = kg_digest_of(&n, sizeof n);
}

static struct kg_block *make_block(struct kg_pool *pool, uint32_t n, int32_t *ids, uint32_t tokens)
{
    struct kg_digest key;
    struct kg_block *block = NULL;
    kv_block_key(n, &key);
    must(kg_block_create(pool, KG_BLOCK_FILE, &key, 5, ids, tokens, &block, NULL) == KG_OK);
    free(ids);
    return block;
}

static int32_t *make_ids(uint32_t n, uint32_t tokens, uint32_t fork, uint32_t variant)
{
    int32_t *ids = malloc((tokens + 1) * sizeof *ids);
    must(ids != NULL);
    for (uint32_t i = 0; i < tokens; i++)
        ids[i] = (int32_t)((n * 7919 + i * 31 + (i < fork ? 0 : variant)) % 100000);
    return ids;
}

struct kg_block *kv_block_variant(struct kg_pool *pool, uint32_t n, uint32_t tokens, uint32_t fork, uint32_t variant)
{
    return make_block(pool, n, make_ids(n, tokens, fork, variant), tokens);
}

struct kg_block *kv_block_with(struct kg_pool *pool, uint32_t n, uint32_t tokens, uint32_t at, int32_t id)
{
    int32_t *ids = make_ids(n, tokens, tokens, 0);
    ids[at] = id;
    return make_block(pool, n, ids, tokens);
}

struct kg_block *kv_block(struct kg_pool *pool, uint32_t n, uint32_t tokens)
{
    return kv_block_variant(pool, n, tokens, tokens, 0);
}

/* A token's keys and values follow from the block's key and the ids up to it, as they do in a model. */
static void expected_page(const struct kg_block *block, uint32_t page, uint32_t tokens, uint8_t *out)
{
    const struct kg_kv_shape *shape = kg_pool_shape(kg_block_pool(block));
    size_t slot = (size_t)shape->head_size * 2, strips = (size_t)shape->layers * 2 * shape->kv_heads;
    for (uint32_t t = 0; t < tokens; t++) {
        uint64_t state = XXH3_64bits_withSeed(kg_block_ids(block), (page * KG_PAGE + t + 1) * sizeof(int32_t), kg_block_key(block)->bytes[0]);
        for (size_t s = 0; s < strips; s++) {
            uint8_t *at = out + (s * KG_PAGE + t) * slot;
            for (size_t i = 0; i < slot; i++) {
                state = state * 6364136223846793005ULL + 1442695040888963407ULL;
                at[i] = (uint8_t)(state >> 56);
            }
        }
    }
}

/* The index follows from the ids of its page. Every third page has none yet, as one that is being filled. */
static uint32_t expected_index(const struct kg_block *block, uint32_t page, uint32_t tokens, uint8_t *out)
{
    const size_t bytes = KG_INDEX_PAGE_BYTES(kg_pool_shape(kg_block_pool(block)));
    for (size_t i = 0; i < bytes; i++)
        out[i] = (uint8_t)(kg_block_ids(block)[page * KG_PAGE + i % tokens] + (int32_t)i);
    return page % 3 == 2 ? 0 : tokens;
}

void kv_block_fill(struct kg_block *block, uint32_t ready)
{
    uint8_t *bytes = malloc(KG_KV_PAGE_BYTES(kg_pool_shape(kg_block_pool(block))));
    uint8_t *index = malloc(KG_INDEX_PAGE_BYTES(kg_pool_shape(kg_block_pool(block))));
    must(bytes && index && kg_block_reserve(block, ready, NULL) == KG_OK);
    for (uint32_t page = kg_block_ready(block) / KG_PAGE; page * KG_PAGE < ready; page++) {
        uint32_t left = ready - page * KG_PAGE;
        memset(bytes, 0x5a, KG_KV_PAGE_BYTES(kg_pool_shape(kg_block_pool(block))));
        expected_page(block, page, left < KG_PAGE ? left : KG_PAGE, bytes);
        kg_block_import(block, page, bytes);
        uint32_t indexed = expected_index(block, page, left < KG_PAGE ? left : KG_PAGE, index);
        kg_block_index_import(block, page, index, indexed);
    }
    kg_block_set_ready(block, ready);
    free(bytes);
    free(index);
}

enum kg_status kv_block_load(struct kg_kv_store *store, struct kg_block *block, bool streamed, uint32_t *ready, struct kg_error *err)
{
    if (!streamed)
        return kg_kv_store_load(store, block, ready, err);
    uint32_t known = 0;
    enum kg_status status = kg_kv_store_offer(store, block, &known, err);
    *ready = kg_block_ready(block);
    return status;
}

/* A page of which less was taken than was stored has no index. */
static bool index_is_right(const struct kg_block *block, uint32_t page, uint32_t tokens)
{
    const size_t bytes = KG_INDEX_PAGE_BYTES(kg_pool_shape(kg_block_pool(block)));
    uint8_t *expected = malloc(2 * bytes);
    uint32_t found = 0, indexed;
    must(expected != NULL);
    indexed = expected_index(block, page, tokens, expected);
    bool right = kg_block_index_export(block, page, expected + bytes, &found, NULL) == KG_OK;
    right = right && (found == indexed || (found == 0 && tokens < KG_PAGE)) && (found == 0 || memcmp(expected, expected + bytes, bytes) == 0);
    free(expected);
    return right;
}

bool kv_block_is_right(const struct kg_block *block)
{
    const struct kg_kv_shape *shape = kg_pool_shape(kg_block_pool(block));
    size_t bytes = KG_KV_PAGE_BYTES(shape), slot = (size_t)shape->head_size * 2, strips = (size_t)shape->layers * 2 * shape->kv_heads;
    uint8_t *expected = malloc(bytes), *found = malloc(bytes);
    bool right = expected && found;
    for (uint32_t page = 0; right && page * KG_PAGE < kg_block_ready(block); page++) {
        uint32_t left = kg_block_ready(block) - page * KG_PAGE, tokens = left < KG_PAGE ? left : KG_PAGE;
        expected_page(block, page, tokens, expected);
        right = kg_block_export(block, page, found, NULL) == KG_OK;
        right = right && index_is_right(block, page, tokens);
        for (size_t s = 0; right && s < strips; s++)
            right = memcmp(expected + s * KG_PAGE * slot, found + s * KG_PAGE * slot, tokens * slot) == 0;
    }
    free(expected);
    free(found);
    return right;
}

void kv_blocks_hold_the_same(const struct kg_block *a, uint32_t a_page, const struct kg_block *b, uint32_t b_page, uint32_t tokens)
{
    const struct kg_kv_shape *shape = kg_pool_shape(kg_block_pool(a));
    const size_t bytes = KG_KV_PAGE_BYTES(shape), index = KG_INDEX_PAGE_BYTES(shape), row = KG_KV_ROW_BYTES(shape);
    uint8_t *pages[2] = { calloc(1, bytes), calloc(1, bytes) }, *indexes[2] = { calloc(1, index), calloc(1, index) };
    assert_memory_equal(kg_block_ids(a) + a_page * KG_PAGE, kg_block_ids(b) + b_page * KG_PAGE, tokens * sizeof(int32_t));
    assert_true(kg_block_ready(a) >= a_page * KG_PAGE + tokens && kg_block_ready(b) >= b_page * KG_PAGE + tokens);
    for (uint32_t page = 0; page * KG_PAGE < tokens; page++) {
        const uint32_t left = tokens - page * KG_PAGE, used = left < KG_PAGE ? left : KG_PAGE;
        uint32_t indexed[2];
        assert_int_equal(kg_block_export(a, a_page + page, pages[0], NULL), KG_OK);
        assert_int_equal(kg_block_export(b, b_page + page, pages[1], NULL), KG_OK);
        for (size_t s = 0; s < bytes / (KG_PAGE * row); s++)
            assert_memory_equal(pages[0] + s * KG_PAGE * row, pages[1] + s * KG_PAGE * row, used * row);
        assert_int_equal(kg_block_index_export(a, a_page + page, indexes[0], &indexed[0], NULL), KG_OK);
        assert_int_equal(kg_block_index_export(b, b_page + page, indexes[1], &indexed[1], NULL), KG_OK);
        assert_int_equal(indexed[0], indexed[1]);
        assert_memory_equal(indexes[0], indexes[1], index);
    }
    for (int i = 0; i < 2; i++) {
        free(pages[i]);
        free(indexes[i]);
    }
}
