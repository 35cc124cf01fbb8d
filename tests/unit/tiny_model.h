/* A small random model with a byte-level tokenizer, written in memory, for tests that change something about it. */
#ifndef KG_TESTS_TINY_MODEL_H
#define KG_TESTS_TINY_MODEL_H

#include "tests/unit/gguf_writer.h"

#define TINY_WIDTH      16
#define TINY_HEADS      2
#define TINY_HEAD_SIZE  8
#define TINY_VOCABULARY 260
#define TINY_LENGTH     64

struct tiny_model {
    const char *architecture; /* NULL = llama */
    float query_gain;         /* factors of the weights; 0 = 1 */
    float embedding_gain;
    const char *left_out;     /* a tensor or key that is not written */
    uint32_t heads_stated;    /* 0 = TINY_HEADS */
};

/* Keys and tokenizer; then the caller may add keys; then tensors; then the caller may add tensors and ends. */
void tiny_model_keys(struct gguf_writer *w, const struct tiny_model *model);
void tiny_model_tensors(struct gguf_writer *w, const struct tiny_model *model);

/* The golden model of two layers (512 positions) with room for so many tokens, as a file of its own. */
#define TINY_GOLDEN "tests/golden/tiny/qwen2.gguf"
void tiny_model_with_room(const char *path, uint32_t tokens);

#endif
