/* Private to engine/model: a loaded model. */
#ifndef KG_ENGINE_MODEL_PARTS_H
#define KG_ENGINE_MODEL_PARTS_H

#include "engine/model/parameters.h"

/* Rows of the output matrix's product that are computed at a time: a vocabulary is too wide for KG_ROWS_MAX rows. */
#define KG_LOGIT_ROWS 32

/* At most one of the two; none for a tensor that the file does not have. */
struct kg_weight {
    struct kg_matrix *matrix;
    struct kg_buffer *vector;
};

/* Intermediate results, for KG_ROWS_MAX rows. */
enum kg_scratch {
    KG_S_STREAM, /* width: the residual stream */
    KG_S_NORMED, /* width */
    KG_S_QUERY,  /* heads * head size */
    KG_S_KEY,    /* KV heads * head size */
    KG_S_VALUE,  /* KV heads * head size */
    KG_S_SEEN,   /* heads * head size: what attention brings */
    KG_S_GATE,   /* feed_forward */
    KG_S_UP,     /* feed_forward */
    KG_S_DELTA,  /* width: what is added to the stream */
    KG_SCRATCH
};

struct kg_model {
    const struct kg_gguf *file;
    const struct kg_backend *backend;
    struct kg_device *device;
    const struct kg_architecture *architecture;
    struct kg_parameters parameters;
    struct kg_weight (*layers)[KG_LAYER_SLOTS];
    struct kg_weight weights[KG_MODEL_SLOTS];
    struct kg_buffer *scratch[KG_SCRATCH];
    struct kg_buffer *ids;    /* int32, KG_ROWS_MAX */
    struct kg_buffer *logits; /* KG_LOGIT_ROWS * vocabulary */
    struct kg_view *view;
    struct kg_buffer *chosen; /* int32 (rows, KV heads, k) of the pass that needed most; NULL before the first one */
    size_t chosen_bytes;
    struct kg_buffer *best, *best_ids, *best_logits; /* ids and logits of each row (rows, 2, count), and of one; NULL before the first ones */
    uint32_t best_count;
    size_t weight_bytes;
};

/* weights.c: layers and weights from the file. */
enum kg_status kg_model_load_weights(struct kg_model *model, int (*progress)(void *ctx, uint64_t done, uint64_t total), void *ctx,
                                     struct kg_error *err);
void kg_model_free_weights(struct kg_model *model);

#endif
