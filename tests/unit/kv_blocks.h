/* Blocks whose ids, key and pages follow from a number, and a directory to keep them in: for tests of caches. */
#ifndef KG_TESTS_KV_BLOCKS_H
#define KG_TESTS_KV_BLOCKS_H

#include <stdint.h>

#include "engine/cache/kv_store.h"

/* A new directory under $TMPDIR; the path is static. kv_directory_remove removes what is in it as well. */
const char *kv_directory_make(void);
void kv_directory_remove(const char *directory);

struct kg_pool *kv_pool(uint32_t layers, uint32_t kv_heads, uint32_t head_size);

/* An empty block of number n. Two blocks of one number have the same key; their ids agree up to `fork` and no further
 * when they were made with different `variant`s. */
struct kg_block *kv_block(struct kg_pool *pool, uint32_t n, uint32_t tokens);
struct kg_block *kv_block_variant(struct kg_pool *pool, uint32_t n, uint32_t tokens, uint32_t fork, uint32_t variant);
/* As kv_block, but token `at` is another one. */
struct kg_block *kv_block_with(struct kg_pool *pool, uint32_t n, uint32_t tokens, uint32_t at, int32_t id);
void kv_block_key(uint32_t n, struct kg_digest *key);
/* Fills tokens up to `ready` as if the model had read them. */
void kv_block_fill(struct kg_block *block, uint32_t ready);
/* Whether every ready token holds what kv_block_fill writes. */
bool kv_block_is_right(const struct kg_block *block);

/* Asserts that so many tokens, from the start of a page in both, are ready, and have the same ids, keys, values and index; the blocks may be
 * of two engines. */
void kv_blocks_hold_the_same(const struct kg_block *a, uint32_t a_page, const struct kg_block *b, uint32_t b_page, uint32_t tokens);

/* Loads a block, at once or (streamed) as it is offered; how many of its tokens are there. */
enum kg_status kv_block_load(struct kg_kv_store *store, struct kg_block *block, bool streamed, uint32_t *ready, struct kg_error *err);

extern const struct kg_kv_label kv_label;

#endif
