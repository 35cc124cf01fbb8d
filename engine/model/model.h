/* A model on a device: architectures as data (llama, qwen2, qwen3), weights, and the forward pass.
 *
 * Every metadata key or tensor that changes the mathematics is applied, or the file is refused by name
 * (KG_ERR_UNSUPPORTED). The model owns its weights and scratch memory; the pages belong to the caller.
 * Used by one thread at a time.
 */
#ifndef KG_ENGINE_MODEL_H
#define KG_ENGINE_MODEL_H

#include <stdatomic.h>

#include "engine/gguf/gguf.h"
#include "kernels/backend.h"

struct kg_model;

struct kg_model_shape {
    char architecture[16];
    char name[128]; /* general.name or the file's name; printable */
    uint32_t layers, width, feed_forward, heads, kv_heads, head_size, vocabulary;
    uint32_t trained_length; /* positions; nothing is ever placed beyond */
    struct kg_kv_shape kv;
};

/* progress (may be NULL) gets bytes of weights done and in all; nonzero stops. The file must outlive the model. */
enum kg_status kg_model_load(const struct kg_gguf *file, const struct kg_backend *backend, struct kg_device *device,
                             int (*progress)(void *ctx, uint64_t done, uint64_t total), void *ctx,
                             struct kg_model **out, struct kg_error *err);
/* Its shape alone: nothing can be computed with it (KG_ERR_USAGE) before it has its weights. */
enum kg_status kg_model_describe(const struct kg_gguf *file, const struct kg_backend *backend, struct kg_device *device,
                                 struct kg_model **out, struct kg_error *err);
/* The weights of a model that was described; progress as above. After a failure it can be freed and nothing else. */
enum kg_status kg_model_take_weights(struct kg_model *model, int (*progress)(void *ctx, uint64_t done, uint64_t total), void *ctx,
                                     struct kg_error *err);
void kg_model_free(struct kg_model *model);
const struct kg_model_shape *kg_model_shape(const struct kg_model *model);
size_t kg_model_scratch_bytes(const struct kg_model *model); /* of intermediate results on its device; known without weights, too */
size_t kg_model_weight_bytes(const struct kg_model *model); /* bytes of weights read for one token of decoding */
/* Whether its device has a memory of its own, from where a few of the logits come sooner than all. */
bool kg_model_is_apart(const struct kg_model *model);

/* The best logits of some rows, in place of all: ids and logits (rows, count), best first, equal ones by smaller id. */
struct kg_best {
    uint32_t count; /* 1 .. the vocabulary */
    int32_t *ids;
    float *logits;
};
#define KG_BEST_ROWS 16 /* at most */

/* Consecutive tokens of one block, read into its pages and seen at `position` of a sequence.
 *
 *   spans   what the batch looks at; the last one is the block itself, its tokens = first + rows,
 *           its base = position - first, its local = local
 */
struct kg_pass {
    const int32_t *ids; /* rows ids, each < vocabulary */
    uint32_t rows;      /* 1 .. KG_ROWS_MAX */
    uint32_t first;     /* index in the block of the first one */
    int32_t local;      /* position for which the block's first key is rotated */
    int32_t position;   /* position in the sequence of the first one */
    const uint32_t *pages;
    const struct kg_span *spans;
    uint32_t span_count;
    uint32_t logits_from; /* logits of rows logits_from .. rows-1; == rows for none */
    bool closes;          /* the block ends with these tokens, for now: the page that it ends in is indexed as well */
    const struct kg_look *look; /* how the rows look at what they see; NULL = at everything. The pages must have an index */
    /* What is looked at beside S, L and what is in no index: NULL = what the index finds best, else tokens by their number
     * in the view, ascending, at most KG_RECALL_MAX (look->k does not count). */
    const int32_t *listed;
    uint32_t listed_count;
    const struct kg_best *best; /* what is asked for of those rows, at most KG_BEST_ROWS; NULL = all logits */
    const atomic_bool *stop; /* may be NULL; looked at between layers: KG_ERR_CANCELLED, the pages written are to be discarded */
};

/* logits (rows - logits_from, vocabulary) in host memory, NULL when none are asked for, or the best. */
enum kg_status kg_model_forward(struct kg_model *model, struct kg_kv *kv, const struct kg_pass *pass, float *logits, struct kg_error *err);

#endif
