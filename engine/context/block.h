/* Blocks, pages and sequences: what a conversation is made of (DESIGN.md sections 3 and 4).
 *
 * A pool owns the pages of one kg_kv. A block is a text read as one: its ids, the pages that hold its keys and
 * values at block-local positions, and the key under which the cache knows it. Blocks are counted references,
 * so one block may stand in several sequences. A sequence is an ordered list of (block, base).
 *
 *   position  0        P                      P+n1        P+n1+n2
 *             | preamble | heading | file a ... | heading | file b ... | turn | answer ...
 *   a block's own keys are stored as if it stood at P, the end of the preamble; the preamble's at 0
 */
#ifndef KG_ENGINE_BLOCK_H
#define KG_ENGINE_BLOCK_H

#include "base/digest.h"
#include "engine/model/model.h"

struct kg_pool;
struct kg_block;
struct kg_sequence;

enum kg_status kg_pool_create(const struct kg_backend *backend, struct kg_device *device, const struct kg_kv_shape *shape,
                              struct kg_pool **out, struct kg_error *err);
void kg_pool_free(struct kg_pool *pool); /* all blocks must be gone */
struct kg_kv *kg_pool_kv(struct kg_pool *pool);
const struct kg_kv_shape *kg_pool_shape(const struct kg_pool *pool);
const char *kg_pool_notice(struct kg_pool *pool); /* of the device, about where pages are; NULL: nothing to tell */
/* gone is called when no block of the pool has this key any more. */
void kg_pool_watch(struct kg_pool *pool, void (*gone)(void *ctx, const struct kg_digest *key), void *ctx);
size_t kg_pool_pages_used(const struct kg_pool *pool);
/* Fills a page that a block has reserved, as kg_block_import and kg_block_index_import do (index: of pools with one), from
 * whatever thread; waits while the device computes. */
void kg_pool_fill(struct kg_pool *pool, uint32_t page, const void *host, const void *index, uint32_t indexed);

enum kg_block_kind {
    KG_BLOCK_PREAMBLE,
    KG_BLOCK_HEADING,
    KG_BLOCK_FILE,
    KG_BLOCK_MAP,
    KG_BLOCK_INSTRUCTIONS,
    KG_BLOCK_TURN,
    KG_BLOCK_ANSWER,
    KG_BLOCK_EXCERPT, /* of a text that is completed: what stands around the cursor */
    KG_BLOCK_SUMMARY  /* of turns and answers, which it stands for */
};
const char *kg_block_kind_name(enum kg_block_kind kind);

/* One reference for the caller. The ids are copied (count may be 0); pages are taken as they are read. The pool must
 * outlive the block. KG_ERR_RANGE when local is negative or the block would end behind the largest position there is. */
enum kg_status kg_block_create(struct kg_pool *pool, enum kg_block_kind kind, const struct kg_digest *key, int32_t local,
                               const int32_t *ids, size_t count, struct kg_block **out, struct kg_error *err);
struct kg_block *kg_block_keep(struct kg_block *block);
void kg_block_release(struct kg_block *block); /* NULL is fine */

enum kg_block_kind kg_block_kind(const struct kg_block *block);
const struct kg_digest *kg_block_key(const struct kg_block *block);
void kg_block_set_key(struct kg_block *block, const struct kg_digest *key); /* an answer gets its own when it is complete */
const int32_t *kg_block_ids(const struct kg_block *block);
uint32_t kg_block_tokens(const struct kg_block *block); /* ids in it */
/* The first so many have their keys and values; waits for what was promised. */
uint32_t kg_block_ready(const struct kg_block *block);
int32_t kg_block_local(const struct kg_block *block);
struct kg_pool *kg_block_pool(const struct kg_block *block);
const uint32_t *kg_block_pages(const struct kg_block *block); /* until the next reserve or set_ready */
enum kg_status kg_block_extend(struct kg_block *block, int32_t id, struct kg_error *err); /* a growing answer */
/* Its inverse: the block has the first `tokens` of its tokens, and is as if the others had never been read. */
void kg_block_cut(struct kg_block *block, uint32_t tokens);
/* Pages for the first `tokens` tokens of those in it; before they are written. */
enum kg_status kg_block_reserve(struct kg_block *block, uint32_t tokens, struct kg_error *err);
/* After they are written; pages behind the last ready token go back to the pool. */
void kg_block_set_ready(struct kg_block *block, uint32_t tokens);

/* Keys and values that another thread fills in: promise says, once pages for so many tokens are reserved, that they will come.
 * settle is called once, on the block's thread, by whatever needs the block's tokens or pages, or changes them, or lets go of
 * the last reference: it waits until they are there or, where they are not wanted any more, for their end, and says how many
 * came. Until then kg_block_known tells how many were promised; later it is what is ready. */
struct kg_block_source {
    uint32_t (*settle)(void *ctx, struct kg_block *block, bool wanted);
    void *ctx;
};
void kg_block_promise(struct kg_block *block, uint32_t tokens, const struct kg_block_source *source);
bool kg_block_is_promised(const struct kg_block *block);
uint32_t kg_block_known(const struct kg_block *block);

/* A block of which the keys and values are those of another one from its page `page` on: in caches that one is looked for, whose
 * key it has, and the block itself is never stored. Said before anything is read. */
void kg_block_set_part(struct kg_block *block, uint32_t page);
bool kg_block_is_part(const struct kg_block *block);
uint32_t kg_block_part_page(const struct kg_block *block); /* 0 of one that is no part */

/* Of a block that others look at through its line anchors alone, the rest is dropped once it is read: set_kept says before
 * anything is read which tokens stay (numbers, ascending, copied), thin drops the others when all tokens are ready, and gives
 * their pages back. What stays is in no index, so that it is always looked at. */
enum kg_status kg_block_set_kept(struct kg_block *block, const uint32_t *kept, uint32_t count, struct kg_error *err);
enum kg_status kg_block_thin(struct kg_block *block, struct kg_error *err);
bool kg_block_is_thin(const struct kg_block *block);
/* What is kept, for caches: ids of the tokens that stay (all of them unless set_kept was called), how many, and how many of
 * those the pages hold: `ready` of them, but of a block that is yet to be thinned none. set_held: after they are written; a
 * thinned block of which not all are there is not ready at all. */
const int32_t *kg_block_kept_ids(const struct kg_block *block);
uint32_t kg_block_kept(const struct kg_block *block);
uint32_t kg_block_held(const struct kg_block *block);
enum kg_status kg_block_reserve_held(struct kg_block *block, uint32_t tokens, struct kg_error *err);
void kg_block_set_held(struct kg_block *block, uint32_t tokens);

/* One reserved page of the block (0 = its first), all layers, KG_KV_PAGE_BYTES of the pool's shape. */
enum kg_status kg_block_export(const struct kg_block *block, uint32_t page, void *host, struct kg_error *err);
void kg_block_import(struct kg_block *block, uint32_t page, const void *host);
/* Its index, KG_INDEX_PAGE_BYTES of the pool's shape, and how many of its tokens are indexed. For pools with an index. */
enum kg_status kg_block_index_export(const struct kg_block *block, uint32_t page, void *host, uint32_t *tokens, struct kg_error *err);
void kg_block_index_import(struct kg_block *block, uint32_t page, const void *host, uint32_t tokens);

enum kg_status kg_sequence_create(uint32_t positions, struct kg_sequence **out, struct kg_error *err);
void kg_sequence_free(struct kg_sequence *sequence);
/* Takes its own reference. KG_ERR_FULL when the block would end behind the last position. Blocks are kept in the order
 * of their bases; KG_ERR_RANGE when place would lay one over another. */
enum kg_status kg_sequence_append(struct kg_sequence *sequence, struct kg_block *block, struct kg_error *err);
enum kg_status kg_sequence_place(struct kg_sequence *sequence, struct kg_block *block, int32_t base, struct kg_error *err);
void kg_sequence_remove(struct kg_sequence *sequence, size_t index); /* leaves a gap, the others keep their bases */
size_t kg_sequence_count(const struct kg_sequence *sequence);
struct kg_block *kg_sequence_block(const struct kg_sequence *sequence, size_t index);
int32_t kg_sequence_base(const struct kg_sequence *sequence, size_t index);
int32_t kg_sequence_end(const struct kg_sequence *sequence); /* first position behind everything */
uint32_t kg_sequence_tokens(const struct kg_sequence *sequence);

/* Reads tokens ready .. upto - 1 of the block at `index`, seeing the `ready` tokens of all blocks before it in
 * the sequence, as `look` says, in batches. logits (last, vocabulary; may be NULL) get those of the last tokens before upto,
 * which are computed again when they were ready before. after_batch (may be NULL) is called after each batch with ready
 * advanced; a status other than KG_OK ends the reading with that status. When a batch fails or is stopped, ready stays at the batches before it.
 * KG_ERR_FULL: upto lies behind the sequence's last position or the model's trained length. */
struct kg_reading {
    struct kg_model *model;
    struct kg_pool *pool;
    const atomic_bool *stop;
    uint32_t batch; /* rows at a time, 1 .. KG_ROWS_MAX; 0 = KG_ROWS_MAX */
    uint32_t last;  /* logits are those of so many tokens; 0 = of one. With more than one everything must fit into one batch */
    const struct kg_best *best; /* what is asked for of them in place of all logits, which are NULL then; may be NULL */
    const struct kg_look *look; /* NULL = at everything; needs a pool with an index */
    /* For each token id whether what it stands for is looked at in place of what the index finds (line anchors,
     * DESIGN.md section 4); NULL = by the index. */
    const bool *anchors;
    /* May be NULL: gets the logits (vocabulary) behind each token that is read, from token scored_from of the block on;
     * then there are no others. */
    enum kg_status (*scored)(void *ctx, uint32_t token, const float *logits, struct kg_error *err);
    uint32_t scored_from;
    enum kg_status (*after_batch)(void *ctx, struct kg_block *block, struct kg_error *err);
    void *ctx;
};
enum kg_status kg_sequence_read(const struct kg_sequence *sequence, size_t index, uint32_t upto,
                                const struct kg_reading *reading, float *logits, struct kg_error *err);

#endif
