/* Private to engine/model: architectures as data. Which tensors a file of each may and must hold, of which shape, and
 * how its heads are rotated. */
#ifndef KG_ENGINE_ARCHITECTURE_H
#define KG_ENGINE_ARCHITECTURE_H

#include "engine/gguf/gguf.h"
#include "kernels/backend.h"

/* Weights of one layer. */
enum kg_layer_slot {
    KG_ATTN_NORM,
    KG_ATTN_Q, KG_ATTN_K, KG_ATTN_V, KG_ATTN_OUT,
    KG_ATTN_Q_BIAS, KG_ATTN_K_BIAS, KG_ATTN_V_BIAS, KG_ATTN_OUT_BIAS,
    KG_ATTN_Q_NORM, KG_ATTN_K_NORM,
    KG_FFN_NORM,
    KG_FFN_GATE, KG_FFN_UP, KG_FFN_DOWN,
    KG_FFN_GATE_BIAS, KG_FFN_UP_BIAS, KG_FFN_DOWN_BIAS,
    KG_LAYER_SLOTS
};

/* Weights of the whole model. */
enum kg_model_slot { KG_EMBEDDING, KG_OUT_NORM, KG_OUT, KG_ROPE_FACTORS, KG_MODEL_SLOTS };

/* A dimension of a tensor, in terms of the model's shape. */
enum kg_dimension {
    KG_DIM_ONE, /* as rows: a vector */
    KG_DIM_WIDTH,
    KG_DIM_QUERIES, /* heads * head size */
    KG_DIM_KEYS,    /* KV heads * head size */
    KG_DIM_HEAD,
    KG_DIM_FEED_FORWARD,
    KG_DIM_VOCABULARY,
    KG_DIM_PAIRS, /* rotated pairs in a head */
    KG_DIMENSIONS
};

enum kg_need { KG_NEVER, KG_MAYBE, KG_MUST };

struct kg_tensor_rule {
    const char *name; /* behind "blk.N." for those of a layer */
    enum kg_dimension cols, rows;
    enum kg_need need[3]; /* by architecture */
};

struct kg_architecture {
    const char *name;
    unsigned index; /* into need */
    enum kg_rope_layout rope;
};

extern const struct kg_tensor_rule kg_layer_rules[KG_LAYER_SLOTS];
extern const struct kg_tensor_rule kg_model_rules[KG_MODEL_SLOTS];

/* That of general.architecture; KG_ERR_UNSUPPORTED names it and those there are. */
enum kg_status kg_architecture_of(const struct kg_gguf *file, const struct kg_architecture **out, struct kg_error *err);

/* KG_ERR_UNSUPPORTED names the first tensor that a model of so many layers does not have. */
enum kg_status kg_architecture_check_tensors(const struct kg_architecture *architecture, const struct kg_gguf *file, uint32_t layers,
                                             struct kg_error *err);

#endif
