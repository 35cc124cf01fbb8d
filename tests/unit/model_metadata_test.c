/* No key or tensor that changes the mathematics is ignored: it is applied, or the file is refused by name. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/unit/model_run.h"
#include "tests/unit/tiny_model.h"

enum kind { U32, F32, BOOL, TEXT, NUMBERS };

struct key {
    const char *name;
    enum kind kind;
    double number;
    const char *text;
};

static void add_key(struct gguf_writer *w, const struct key *key)
{
    static const int32_t numbers[2] = { 1, 2 };
    if (key->kind == U32)
        gguf_u32(w, key->name, (uint32_t)key->number);
    else if (key->kind == F32)
        gguf_f32(w, key->name, (float)key->number);
    else if (key->kind == BOOL)
        gguf_bool(w, key->name, key->number != 0);
    else if (key->kind == TEXT)
        gguf_text(w, key->name, key->text);
    else
        gguf_i32s(w, key->name, numbers, 2);
}

/* Writes a tiny model with up to three keys more (NULL names end), and a tensor more; path gets the file's name. */
static void write_model(const struct tiny_model *model, const struct key keys[3], const char *tensor, uint32_t cols, const float *values, char *path)
{
    static const float zeros[1024];
    struct gguf_writer w;
    tiny_model_keys(&w, model);
    for (int i = 0; keys && i < 3 && keys[i].name; i++)
        add_key(&w, &keys[i]);
    tiny_model_tensors(&w, model);
    if (tensor)
        gguf_tensor(&w, tensor, KG_F32, cols, 0, values ? values : zeros, cols * sizeof *zeros);
    gguf_end(&w);
    gguf_to_file(w.bytes, w.length, path);
    gguf_free(&w);
}

static enum kg_status load(const struct tiny_model *model, const struct key keys[3], const char *tensor, uint32_t cols, struct kg_error *err)
{
    char path[64];
    struct kg_gguf *file;
    struct kg_device *device;
    struct kg_model *loaded = NULL;
    struct kg_device_options options = { 0 };
    write_model(model, keys, tensor, cols, NULL, path);
    assert_int_equal(kg_gguf_open(path, &file, err), KG_OK);
    unlink(path);
    assert_int_equal(kg_backend_ref.open(&options, &device, err), KG_OK);
    enum kg_status status = kg_model_load(file, &kg_backend_ref, device, NULL, NULL, &loaded, err);
    assert_true((status == KG_OK) == (loaded != NULL));
    kg_model_free(loaded);
    assert_int_equal(kg_backend_ref.memory(device), 0);
    kg_backend_ref.close(device);
    kg_gguf_close(file);
    return status;
}

static void keys_that_change_the_mathematics(void **state)
{
    (void)state;
    static const struct key refused[] = {
        { "llama.logit_scale", F32, 0.5, NULL },
        { "llama.residual_scale", F32, 0.22, NULL },
        { "llama.final_logit_softcapping", F32, 30, NULL },
        { "llama.use_parallel_residual", BOOL, 1, NULL },
        { "llama.expert_count", U32, 8, NULL },
        { "llama.expert_used_count", U32, 2, NULL },
        { "llama.expert_weights_scale", F32, 1, NULL },
        { "llama.pooling_type", U32, 1, NULL },
        { "llama.attention.causal", BOOL, 0, NULL },
        { "llama.attention.clamp_kqv", F32, 8, NULL },
        { "llama.attention.max_alibi_bias", F32, 8, NULL },
        { "llama.attention.sliding_window", U32, TINY_LENGTH - 1, NULL },
        { "llama.attention.sliding_window_pattern", U32, 2, NULL },
        { "llama.attention.value_length", U32, 16, NULL },
        { "llama.attention.temperature_scale", F32, 0.1, NULL },
        { "llama.rope.dimension_sections", NUMBERS, 0, NULL },
        { "llama.rope.scaling.type", TEXT, 0, "longrope" },
        { "llama.rope.scaling.type", TEXT, 0, "dynamic" },
        { "llama.rope.scaling.alpha", F32, 1000, NULL },
        { "llama.rope.scaling.yarn_log_multiplier", F32, 0.1, NULL },
        { "llama.rope.scaling.yarn_ext_factor", F32, 0.5, NULL },
        { "llama.rope.scaling.yarn_attn_factor", F32, 0.5, NULL },
        { "llama.rope.freq_base_swa", F32, 10000, NULL },
        { "llama.something.new", U32, 0, NULL },
        { "llama.logit_scale", TEXT, 0, "one" },
        { "adapter.type", TEXT, 0, "lora" },
        { "kedge.anchor.version", U32, 1, NULL },
        { "split.count", U32, 3, NULL },
        { "general.type", TEXT, 0, "adapter" },
    };
    const struct tiny_model plain = { 0 };
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        struct kg_error err;
        struct key keys[3] = { refused[i] };
        assert_int_equal(load(&plain, keys, NULL, 0, &err), KG_ERR_UNSUPPORTED);
        assert_non_null(strstr(err.text, refused[i].name));
    }
}

static void values_that_change_nothing(void **state)
{
    (void)state;
    static const struct key accepted[] = {
        { "llama.logit_scale", F32, 1, NULL },
        { "llama.expert_count", U32, 0, NULL },
        { "llama.use_parallel_residual", BOOL, 0, NULL },
        { "llama.attention.causal", BOOL, 1, NULL },
        { "llama.attention.sliding_window", U32, TINY_LENGTH, NULL },
        { "llama.attention.key_length", U32, TINY_HEAD_SIZE, NULL },
        { "llama.attention.value_length", U32, TINY_HEAD_SIZE, NULL },
        { "llama.rope.scaling.finetuned", BOOL, 1, NULL },
        { "llama.rope.scaling.type", TEXT, 0, "none" },
        { "llama.vocab_size", U32, TINY_VOCABULARY, NULL },
        { "general.type", TEXT, 0, "model" },
        { "general.sampling.temp", F32, 0.5, NULL },
        { "split.count", U32, 1, NULL },
        { "quantize.imatrix.file", TEXT, 0, "imatrix.dat" },
    };
    const struct tiny_model plain = { 0 };
    for (size_t i = 0; i < sizeof accepted / sizeof *accepted; i++) {
        struct kg_error err = { .text = "" };
        struct key keys[3] = { accepted[i] };
        enum kg_status status = load(&plain, keys, NULL, 0, &err);
        assert_string_equal(err.text, "");
        assert_int_equal(status, KG_OK);
    }
}

static void values_out_of_range(void **state)
{
    (void)state;
    static const struct key wrong[] = {
        { "llama.attention.key_length", U32, 7, NULL },
        { "llama.attention.key_length", U32, 512, NULL },
        { "llama.rope.dimension_count", U32, 10, NULL },
        { "llama.rope.dimension_count", U32, 0, NULL },
        { "llama.rope.freq_base", F32, -1, NULL },
        { "llama.rope.freq_base", F32, (double)NAN, NULL },
        { "llama.rope.scaling.factor", F32, -2, NULL },
        { "llama.rope.scaling.factor", U32, 2, NULL },
        { "llama.rope.scaling.attn_factor", F32, 0, NULL },
        { "llama.rope.scaling.original_context_length", U32, 0, NULL },
        { "llama.attention.scale", F32, -1, NULL },
        { "llama.attn_logit_softcapping", F32, -1, NULL },
        { "llama.embedding_scale", F32, (double)INFINITY, NULL },
        { "llama.vocab_size", U32, TINY_VOCABULARY + 1, NULL },
    };
    const struct tiny_model plain = { 0 };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct kg_error err;
        struct key keys[3] = { wrong[i] };
        assert_int_equal(load(&plain, keys, NULL, 0, &err), KG_ERR_FORMAT);
        assert_non_null(strstr(err.text, wrong[i].name));
    }
    struct kg_error err;
    const struct tiny_model heads = { .heads_stated = 3 };
    assert_int_equal(load(&heads, NULL, NULL, 0, &err), KG_ERR_FORMAT);
}

static void tensors_that_are_not_known(void **state)
{
    (void)state;
    static const char *const refused[] = { "blk.0.attn_q_norm.weight",  "blk.1.attn_norm.weight", "blk.00.attn_q.bias", "blk.0.attn_q.scale",
                                           "blk.0.ffn_gate_inp.weight", "blk.0.attn_rot_embd",    "rope_factors_long",  "blk.0.attn_post_norm.weight",
                                           "output.bias",               "attn_q.bias",            "token_embd.weight.lora_a" };
    const struct tiny_model plain = { 0 };
    struct kg_error err;
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        assert_int_equal(load(&plain, NULL, refused[i], TINY_WIDTH, &err), KG_ERR_UNSUPPORTED);
        assert_non_null(strstr(err.text, refused[i]));
    }
    assert_int_equal(load(&plain, NULL, "blk.0.attn_q.bias", TINY_WIDTH, &err), KG_OK);
    assert_int_equal(load(&plain, NULL, "blk.0.attn_q.bias", TINY_WIDTH + 1, &err), KG_ERR_FORMAT);
    assert_int_equal(load(&plain, NULL, "rope_freqs.weight", 4, &err), KG_ERR_FORMAT); /* zeros would divide */
    const struct tiny_model qwen3 = { .architecture = "qwen3" }, gemma = { .architecture = "gemma3" };
    assert_int_equal(load(&qwen3, NULL, NULL, 0, &err), KG_ERR_FORMAT);
    assert_non_null(strstr(err.text, "attn_q_norm"));
    assert_int_equal(load(&gemma, NULL, NULL, 0, &err), KG_ERR_UNSUPPORTED);
    assert_non_null(strstr(err.text, "gemma3"));
}

static void things_that_are_missing(void **state)
{
    (void)state;
    static const char *const needed[] = { "general.architecture", "llama.block_count", "llama.context_length", "llama.embedding_length",
                                          "llama.feed_forward_length", "llama.attention.head_count", "llama.attention.layer_norm_rms_epsilon",
                                          "token_embd.weight", "output_norm.weight", "blk.0.attn_q.weight", "blk.0.ffn_down.weight" };
    struct kg_error err;
    for (size_t i = 0; i < sizeof needed / sizeof *needed; i++) {
        const struct tiny_model model = { .left_out = needed[i] };
        assert_int_not_equal(load(&model, NULL, NULL, 0, &err), KG_OK);
        assert_non_null(strstr(err.text, needed[i]));
    }
    const struct tiny_model tied = { .left_out = "output.weight" }, no_tokenizer = { .left_out = "tokenizer.ggml.tokens" };
    assert_int_equal(load(&tied, NULL, NULL, 0, &err), KG_OK);
    assert_int_equal(load(&no_tokenizer, NULL, NULL, 0, &err), KG_OK);
}

#define COUNT 40

/* Logits of the last of COUNT tokens. */
static void logits_with(const struct tiny_model *model, const struct key keys[3], const char *tensor, uint32_t cols, const float *values, float out[TINY_VOCABULARY])
{
    char path[64];
    struct model_run run;
    int32_t ids[COUNT];
    for (int i = 0; i < COUNT; i++)
        ids[i] = i * 37 % TINY_VOCABULARY;
    write_model(model, keys, tensor, cols, values, path);
    model_run_open(&run, path, &kg_backend_ref, NULL, COUNT);
    unlink(path);
    model_run_read(&run, ids, COUNT, COUNT, out, 1);
    model_run_close(&run);
}

static double distance(const float *a, const float *b)
{
    double worst = 0;
    for (int i = 0; i < TINY_VOCABULARY; i++)
        worst = fmax(worst, fabs((double)a[i] - (double)b[i]));
    return worst;
}

static void scales_and_caps_are_applied(void **state)
{
    (void)state;
    const struct tiny_model plain = { 0 }, queries = { .query_gain = 4 }, embedding = { .embedding_gain = 2 };
    const struct key scale[3] = { { "llama.attention.scale", F32, 4 / sqrt(TINY_HEAD_SIZE), NULL } };
    const struct key embed[3] = { { "llama.embedding_scale", F32, 2, NULL } };
    const struct key no_cap[3] = { { "llama.attn_logit_softcapping", F32, 1e6, NULL } };
    const struct key cap[3] = { { "llama.attn_logit_softcapping", F32, 1, NULL } };
    float base[TINY_VOCABULARY], other[TINY_VOCABULARY], same[TINY_VOCABULARY];
    logits_with(&plain, NULL, NULL, 0, NULL, base);
    logits_with(&queries, NULL, NULL, 0, NULL, other);
    logits_with(&plain, scale, NULL, 0, NULL, same);
    assert_true(distance(base, other) > 0.05 && distance(other, same) < 1e-5);
    logits_with(&embedding, NULL, NULL, 0, NULL, other);
    logits_with(&plain, embed, NULL, 0, NULL, same);
    assert_true(distance(base, other) > 0.05 && distance(other, same) < 1e-5);
    logits_with(&plain, no_cap, NULL, 0, NULL, same);
    assert_true(distance(base, same) < 1e-5);
    logits_with(&plain, cap, NULL, 0, NULL, other);
    assert_true(distance(base, other) > 0.005);
}

/* Ways to say the same rotation. */
static void rotation_is_applied(void **state)
{
    (void)state;
    static const float halves[4] = { 2, 2, 2, 2 }, first_only[4] = { 1, 9e5F, 9e5F, 9e5F };
    const struct tiny_model plain = { 0 };
    const struct key linear[3] = { { "llama.rope.scaling.type", TEXT, 0, "linear" }, { "llama.rope.scaling.factor", F32, 2, NULL } };
    const struct key untyped[3] = { { "llama.rope.scaling.factor", F32, 2, NULL } };
    const struct key older[3] = { { "llama.rope.scale_linear", F32, 2, NULL } };
    const struct key none[3] = { { "llama.rope.scaling.type", TEXT, 0, "none" }, { "llama.rope.scaling.factor", F32, 2, NULL } };
    const struct key yarn[3] = { { "llama.rope.scaling.type", TEXT, 0, "yarn" }, { "llama.rope.scaling.factor", F32, 1, NULL } };
    const struct key partial[3] = { { "llama.rope.dimension_count", U32, 2, NULL } };
    const struct key base_other[3] = { { "llama.rope.freq_base", F32, 100, NULL } };
    const struct key grown[3] = { { "llama.rope.scaling.attn_factor", F32, 2, NULL } };
    float base[TINY_VOCABULARY], other[TINY_VOCABULARY], same[TINY_VOCABULARY];
    logits_with(&plain, NULL, NULL, 0, NULL, base);
    logits_with(&plain, NULL, "rope_freqs.weight", 4, halves, other);
    assert_true(distance(base, other) > 0.005);
    const struct key *ways[] = { linear, untyped, older };
    for (size_t i = 0; i < 3; i++) {
        logits_with(&plain, ways[i], NULL, 0, NULL, same);
        assert_true(distance(other, same) < 1e-5);
    }
    const struct key *unscaled[] = { none, yarn };
    for (size_t i = 0; i < 2; i++) {
        logits_with(&plain, unscaled[i], NULL, 0, NULL, same);
        assert_true(distance(base, same) < 1e-5);
    }
    logits_with(&plain, partial, NULL, 0, NULL, same);
    logits_with(&plain, NULL, "rope_freqs.weight", 4, first_only, other);
    assert_true(distance(base, same) > 0.005 && distance(other, same) < 1e-3);
    logits_with(&plain, base_other, NULL, 0, NULL, other);
    assert_true(distance(base, other) > 0.005);
    /* a rotation that doubles queries and keys is a scale of 4 */
    const struct key scale[3] = { { "llama.attention.scale", F32, 4 / sqrt(TINY_HEAD_SIZE), NULL } };
    logits_with(&plain, grown, NULL, 0, NULL, other);
    logits_with(&plain, scale, NULL, 0, NULL, same);
    assert_true(distance(base, other) > 0.05 && distance(other, same) < 1e-4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_that_change_the_mathematics),
        cmocka_unit_test(values_that_change_nothing),
        cmocka_unit_test(values_out_of_range),
        cmocka_unit_test(tensors_that_are_not_known),
        cmocka_unit_test(things_that_are_missing),
        cmocka_unit_test(scales_and_caps_are_applied),
        cmocka_unit_test(rotation_is_applied),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
