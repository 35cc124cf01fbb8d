#include "tests/unit/tiny_model.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/paths.h"

static bool wanted(const struct tiny_model *model, const char *name)
{
    return !model->left_out || strcmp(model->left_out, name) != 0;
}

static void number(struct gguf_writer *w, const struct tiny_model *model, const char *suffix, uint32_t value)
{
    char key[96];
    snprintf(key, sizeof key, "%s.%s", model->architecture ? model->architecture : "llama", suffix);
    if (wanted(model, key))
        gguf_u32(w, key, value);
}

/* GPT-2's stand-in for a byte: itself where it is printable, else a character from U+0100 on. */
static void stand_in(unsigned byte, char out[3])
{
    unsigned code = byte, next = 256;
    for (unsigned b = 0; b <= byte; b++)
        if (!((b >= 33 && b < 127) || (b >= 161 && b < 173) || b >= 174))
            code = b == byte ? next : code, next++;
    if (code < 0x80)
        snprintf(out, 3, "%c", (int)code);
    else
        snprintf(out, 3, "%c%c", (int)(0xc0 | code >> 6), (int)(0x80 | (code & 0x3f)));
}

static void tokenizer(struct gguf_writer *w, const struct tiny_model *model)
{
    static const char *const merges[] = { "t h", "th e" };
    static const char *const others[] = { "th", "the", "<|im_start|>", "<|im_end|>" };
    static char bytes[256][3];
    const char *tokens[TINY_VOCABULARY];
    int32_t types[TINY_VOCABULARY];
    for (unsigned i = 0; i < TINY_VOCABULARY; i++) {
        if (i < 256)
            stand_in(i, bytes[i]);
        tokens[i] = i < 256 ? bytes[i] : others[i - 256];
        types[i] = i < 258 ? 1 : 3;
    }
    gguf_text(w, "tokenizer.ggml.model", "gpt2");
    gguf_text(w, "tokenizer.ggml.pre", "gpt-2");
    if (wanted(model, "tokenizer.ggml.tokens"))
        gguf_texts(w, "tokenizer.ggml.tokens", tokens, TINY_VOCABULARY);
    gguf_i32s(w, "tokenizer.ggml.token_type", types, TINY_VOCABULARY);
    gguf_texts(w, "tokenizer.ggml.merges", merges, 2);
    gguf_u32(w, "tokenizer.ggml.eos_token_id", 259);
}

void tiny_model_keys(struct gguf_writer *w, const struct tiny_model *model)
{
    char key[96];
    const char *architecture = model->architecture ? model->architecture : "llama";
    gguf_start(w, 3);
    if (wanted(model, "general.architecture"))
        gguf_text(w, "general.architecture", architecture);
    gguf_text(w, "general.name", "tiny");
    number(w, model, "block_count", 1);
    number(w, model, "context_length", TINY_LENGTH);
    number(w, model, "embedding_length", TINY_WIDTH);
    number(w, model, "feed_forward_length", 2 * TINY_WIDTH);
    number(w, model, "attention.head_count", model->heads_stated ? model->heads_stated : TINY_HEADS);
    number(w, model, "attention.head_count_kv", 1);
    snprintf(key, sizeof key, "%s.attention.layer_norm_rms_epsilon", architecture);
    if (wanted(model, key))
        gguf_f32(w, key, 1e-5F);
    tokenizer(w, model);
}

/* Even in [-1, 1), times gain; the same for the same seed. */
static void matrix(struct gguf_writer *w, const struct tiny_model *model, const char *name, uint32_t cols, uint32_t rows, uint32_t seed, float gain)
{
    size_t n = (size_t)cols * (rows ? rows : 1);
    float *data = malloc(n * sizeof *data);
    if (!data)
        abort();
    for (size_t i = 0; i < n; i++) {
        seed = seed * 1664525U + 1013904223U;
        data[i] = ((float)(seed >> 8) / 8388608.0F - 1.0F) * gain;
    }
    if (wanted(model, name))
        gguf_tensor(w, name, 0, cols, rows, data, n * sizeof *data);
    free(data);
}

void tiny_model_tensors(struct gguf_writer *w, const struct tiny_model *model)
{
    float query = model->query_gain != 0 ? model->query_gain : 1, embedding = model->embedding_gain != 0 ? model->embedding_gain : 1;
    matrix(w, model, "token_embd.weight", TINY_WIDTH, TINY_VOCABULARY, 1, embedding);
    matrix(w, model, "output.weight", TINY_WIDTH, TINY_VOCABULARY, 2, 1);
    matrix(w, model, "output_norm.weight", TINY_WIDTH, 0, 3, 1);
    matrix(w, model, "blk.0.attn_norm.weight", TINY_WIDTH, 0, 4, 1);
    matrix(w, model, "blk.0.attn_q.weight", TINY_WIDTH, TINY_HEADS * TINY_HEAD_SIZE, 5, query);
    matrix(w, model, "blk.0.attn_k.weight", TINY_WIDTH, TINY_HEAD_SIZE, 6, 1);
    matrix(w, model, "blk.0.attn_v.weight", TINY_WIDTH, TINY_HEAD_SIZE, 7, 1);
    matrix(w, model, "blk.0.attn_output.weight", TINY_HEADS * TINY_HEAD_SIZE, TINY_WIDTH, 8, 1);
    matrix(w, model, "blk.0.ffn_norm.weight", TINY_WIDTH, 0, 9, 1);
    matrix(w, model, "blk.0.ffn_gate.weight", TINY_WIDTH, 2 * TINY_WIDTH, 10, 1);
    matrix(w, model, "blk.0.ffn_up.weight", TINY_WIDTH, 2 * TINY_WIDTH, 11, 1);
    matrix(w, model, "blk.0.ffn_down.weight", 2 * TINY_WIDTH, TINY_WIDTH, 12, 1);
}

void tiny_model_with_room(const char *path, uint32_t tokens)
{
    static const char key[] = "qwen2.context_length";
    struct kg_error err = { .text = "" };
    char *model = NULL;
    size_t length = 0;
    if (kg_read_file(TINY_GOLDEN, 1 << 20, &model, &length, &err) != KG_OK)
        fail_msg("%s", err.text);
    char *at = memmem(model, length, key, sizeof key - 1);
    assert_non_null(at);
    memcpy(at + sizeof key - 1 + sizeof(uint32_t), &tokens, sizeof tokens); /* behind its type */
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(model, 1, length, file), length);
    assert_int_equal(fclose(file), 0);
    free(model);
}
