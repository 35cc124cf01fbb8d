#include "engine/model/parameters.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

const char *kg_parameters_key(char out[KG_KEY_MAX], const char *architecture, const char *suffix)
{
    snprintf(out, KG_KEY_MAX, "%s.%s", architecture, suffix);
    return out;
}

enum kg_status kg_parameters_u32(const struct kg_gguf *file, const char *architecture, const char *suffix, uint32_t *out, struct kg_error *err)
{
    char key[KG_KEY_MAX];
    return kg_gguf_has(file, kg_parameters_key(key, architecture, suffix)) ? kg_gguf_get_u32(file, key, out, err) : KG_OK;
}

enum kg_status kg_parameters_f64(const struct kg_gguf *file, const char *architecture, const char *suffix, double *out, struct kg_error *err)
{
    char key[KG_KEY_MAX];
    return kg_gguf_has(file, kg_parameters_key(key, architecture, suffix)) ? kg_gguf_get_f64(file, key, out, err) : KG_OK;
}

/* What is done with ARCH.* keys. One that is not listed is refused: it may change the mathematics. */
enum treatment {
    APPLIED,  /* read and applied here or in rope.c */
    HARMLESS, /* says nothing about the mathematics */
    NEUTRAL   /* not applied; only the value that changes nothing is accepted */
};
static const struct known_key {
    const char *suffix;
    enum treatment treatment;
    double neutral;
} known_keys[] = {
    { "block_count", APPLIED, 0 },
    { "context_length", APPLIED, 0 },
    { "embedding_length", APPLIED, 0 },
    { "feed_forward_length", APPLIED, 0 },
    { "vocab_size", APPLIED, 0 },
    { "embedding_scale", APPLIED, 0 },
    { "attn_logit_softcapping", APPLIED, 0 },
    { "attention.head_count", APPLIED, 0 },
    { "attention.head_count_kv", APPLIED, 0 },
    { "attention.key_length", APPLIED, 0 },
    { "attention.value_length", APPLIED, 0 },
    { "attention.layer_norm_rms_epsilon", APPLIED, 0 },
    { "attention.scale", APPLIED, 0 },
    { "attention.sliding_window", APPLIED, 0 },
    { "rope.freq_base", APPLIED, 0 },
    { "rope.dimension_count", APPLIED, 0 },
    { "rope.scale_linear", APPLIED, 0 },
    { "rope.scaling.type", APPLIED, 0 },
    { "rope.scaling.factor", APPLIED, 0 },
    { "rope.scaling.attn_factor", APPLIED, 0 },
    { "rope.scaling.original_context_length", APPLIED, 0 },
    { "rope.scaling.yarn_beta_fast", APPLIED, 0 },
    { "rope.scaling.yarn_beta_slow", APPLIED, 0 },
    { "rope.scaling.finetuned", HARMLESS, 0 },
    { "rope.scaling.yarn_ext_factor", NEUTRAL, 1 },
    { "rope.scaling.yarn_attn_factor", NEUTRAL, 1 },
    { "rope.scaling.yarn_log_multiplier", NEUTRAL, 0 },
    { "logit_scale", NEUTRAL, 1 },
    { "residual_scale", NEUTRAL, 1 },
    { "final_logit_softcapping", NEUTRAL, 0 },
    { "use_parallel_residual", NEUTRAL, 0 },
    { "expert_count", NEUTRAL, 0 },
    { "expert_used_count", NEUTRAL, 0 },
    { "pooling_type", NEUTRAL, 0 },
    { "attention.causal", NEUTRAL, 1 },
    { "attention.clamp_kqv", NEUTRAL, 0 },
    { "attention.max_alibi_bias", NEUTRAL, 0 },
};

static enum kg_status refuse(const struct kg_gguf *file, const char *key, struct kg_error *err)
{
    return kg_fail(err, KG_ERR_UNSUPPORTED, "%s: %s changes what the model computes in a way that is not supported; choose another model",
                   kg_gguf_path(file), key);
}

/* Of any type that holds a number. */
static enum kg_status check_neutral(const struct kg_gguf *file, const char *key, double neutral, struct kg_error *err)
{
    double value = 0;
    uint32_t integer = 0;
    bool truth = false;
    if (kg_gguf_get_bool(file, key, &truth, NULL) == KG_OK)
        value = truth;
    else if (kg_gguf_get_u32(file, key, &integer, NULL) == KG_OK)
        value = integer;
    else if (kg_gguf_get_f64(file, key, &value, NULL) != KG_OK)
        return refuse(file, key, err);
    return value == neutral ? KG_OK : refuse(file, key, err);
}

static enum kg_status check_own_key(const struct kg_gguf *file, const char *key, const char *suffix, struct kg_error *err)
{
    for (size_t i = 0; i < sizeof known_keys / sizeof *known_keys; i++)
        if (strcmp(known_keys[i].suffix, suffix) == 0)
            return known_keys[i].treatment == NEUTRAL ? check_neutral(file, key, known_keys[i].neutral, err) : KG_OK;
    return kg_fail(err, KG_ERR_UNSUPPORTED, "%s: it is not known what %s does to the mathematics; choose another model", kg_gguf_path(file), key);
}

static bool starts_with(const char *text, const char *start)
{
    return strncmp(text, start, strlen(start)) == 0;
}

/* Files that are a part of a model, or something laid over one. */
static enum kg_status check_foreign_key(const struct kg_gguf *file, const char *key, struct kg_error *err)
{
    static const char *const additions[] = { "adapter.", "control_vector.", "controlvector.", "clip.", "diffusion.", "kedge." };
    for (size_t i = 0; i < sizeof additions / sizeof *additions; i++)
        if (starts_with(key, additions[i]))
            return refuse(file, key, err);
    if (strcmp(key, "split.count") == 0) {
        uint32_t parts = 0;
        enum kg_status status = kg_gguf_get_u32(file, key, &parts, err);
        if (status == KG_OK && parts > 1)
            return kg_fail(err, KG_ERR_UNSUPPORTED, "%s is one of %u parts (split.count); join them with llama-gguf-split --merge",
                           kg_gguf_path(file), parts);
        return status;
    }
    if (strcmp(key, "general.type") == 0) {
        struct kg_gguf_text type = { 0 };
        enum kg_status status = kg_gguf_get_text(file, key, &type, err);
        if (status == KG_OK && (type.length != 5 || memcmp(type.bytes, "model", 5) != 0))
            return kg_fail(err, KG_ERR_UNSUPPORTED, "%s is no model (general.type is %.*s); name the model's file", kg_gguf_path(file),
                           (int)(type.length < 64 ? type.length : 64), type.bytes);
        return status;
    }
    return KG_OK;
}

static enum kg_status check_keys(const struct kg_gguf *file, const struct kg_architecture *architecture, struct kg_error *err)
{
    size_t prefix = strlen(architecture->name);
    for (size_t i = 0; i < kg_gguf_keys(file); i++) {
        const char *key = kg_gguf_key(file, i);
        bool own = strncmp(key, architecture->name, prefix) == 0 && key[prefix] == '.';
        enum kg_status status = own ? check_own_key(file, key, key + prefix + 1, err) : check_foreign_key(file, key, err);
        if (status != KG_OK)
            return status;
    }
    return KG_OK;
}

/* The bounds keep scratch memory, which grows with them, within reason. */
static const struct {
    const char *suffix;
    size_t field;
    uint32_t least, most;
} sizes[] = {
    { "block_count", offsetof(struct kg_model_shape, layers), 1, 1024 },
    { "embedding_length", offsetof(struct kg_model_shape, width), 1, 65536 },
    { "feed_forward_length", offsetof(struct kg_model_shape, feed_forward), 1, 262144 },
    { "attention.head_count", offsetof(struct kg_model_shape, heads), 1, 1024 },
    { "context_length", offsetof(struct kg_model_shape, trained_length), 1, INT32_MAX },
};

static enum kg_status out_of_range(const struct kg_gguf *file, const char *what, double value, struct kg_error *err)
{
    return kg_fail(err, KG_ERR_FORMAT, "%s: %s is %g, which is out of range; convert the model again", kg_gguf_path(file), what, value);
}

static enum kg_status read_sizes(const struct kg_gguf *file, const char *architecture, struct kg_model_shape *shape, struct kg_error *err)
{
    char key[KG_KEY_MAX];
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        uint32_t value = 0;
        enum kg_status status = kg_gguf_get_u32(file, kg_parameters_key(key, architecture, sizes[i].suffix), &value, err);
        if (status != KG_OK)
            return status;
        if (value < sizes[i].least || value > sizes[i].most)
            return out_of_range(file, key, value, err);
        memcpy((char *)shape + sizes[i].field, &value, sizeof value);
    }
    const struct kg_gguf_tensor *embedding = kg_gguf_tensor_find(file, kg_model_rules[KG_EMBEDDING].name);
    if (!embedding)
        return kg_fail(err, KG_ERR_FORMAT, "%s has no tensor %s; convert the model again", kg_gguf_path(file), kg_model_rules[KG_EMBEDDING].name);
    shape->vocabulary = embedding->rows;
    if (shape->vocabulary > INT32_MAX)
        return out_of_range(file, "the vocabulary", shape->vocabulary, err);
    return KG_OK;
}

/* Every id of the tokenizer must have its row. */
static enum kg_status check_vocabulary(const struct kg_gguf *file, const char *architecture, uint32_t rows, struct kg_error *err)
{
    uint32_t stated = rows;
    size_t tokens = rows;
    enum kg_status status = kg_parameters_u32(file, architecture, "vocab_size", &stated, err);
    if (status == KG_OK && kg_gguf_has(file, "tokenizer.ggml.tokens"))
        status = kg_gguf_array_count(file, "tokenizer.ggml.tokens", &tokens, err);
    if (status == KG_OK && (stated != rows || tokens != rows))
        return kg_fail(err, KG_ERR_FORMAT, "%s: %s.vocab_size says %u, the tokenizer has %zu tokens, and token_embd.weight %u rows; convert the model again",
                       kg_gguf_path(file), architecture, stated, tokens, rows);
    return status;
}

static enum kg_status read_heads(const struct kg_gguf *file, const char *architecture, struct kg_model_shape *shape, struct kg_error *err)
{
    char key[KG_KEY_MAX];
    uint32_t values = 0;
    shape->kv_heads = shape->heads;
    enum kg_status status = kg_parameters_u32(file, architecture, "attention.head_count_kv", &shape->kv_heads, err);
    if (status == KG_OK && (shape->kv_heads == 0 || shape->heads % shape->kv_heads != 0))
        return out_of_range(file, kg_parameters_key(key, architecture, "attention.head_count_kv"), shape->kv_heads, err);
    shape->head_size = shape->width / shape->heads;
    if (status == KG_OK)
        status = kg_parameters_u32(file, architecture, "attention.key_length", &shape->head_size, err);
    if (status == KG_OK && (shape->head_size == 0 || shape->head_size % 2 != 0 || shape->head_size > KG_HEAD_MAX))
        return out_of_range(file, kg_parameters_key(key, architecture, "attention.key_length"), shape->head_size, err);
    values = shape->head_size;
    if (status == KG_OK)
        status = kg_parameters_u32(file, architecture, "attention.value_length", &values, err);
    if (status == KG_OK && values != shape->head_size)
        return kg_fail(err, KG_ERR_UNSUPPORTED, "%s: %s is %u, but keys have %u elements; choose another model", kg_gguf_path(file),
                       kg_parameters_key(key, architecture, "attention.value_length"), values, shape->head_size);
    shape->kv = (struct kg_kv_shape){ .layers = shape->layers, .kv_heads = shape->kv_heads, .head_size = shape->head_size };
    return status;
}

static enum kg_status read_attention(const struct kg_gguf *file, const char *architecture, struct kg_parameters *out, struct kg_error *err)
{
    const struct kg_model_shape *shape = &out->shape;
    char key[KG_KEY_MAX];
    uint32_t window = 0;
    double scale = 0, cap = 0;
    enum kg_status status = kg_parameters_f64(file, architecture, "attention.scale", &scale, err);
    if (status == KG_OK)
        status = kg_parameters_f64(file, architecture, "attn_logit_softcapping", &cap, err);
    if (status == KG_OK)
        status = kg_parameters_u32(file, architecture, "attention.sliding_window", &window, err);
    if (status != KG_OK)
        return status;
    if (scale < 0 || scale > 1e6)
        return out_of_range(file, kg_parameters_key(key, architecture, "attention.scale"), scale, err);
    if (cap < 0 || cap > 1e30)
        return out_of_range(file, kg_parameters_key(key, architecture, "attn_logit_softcapping"), cap, err);
    if (window != 0 && window < shape->trained_length)
        return refuse(file, kg_parameters_key(key, architecture, "attention.sliding_window"), err);
    /* 0 stands for the usual one */
    out->attention = (struct kg_attention){ .heads = shape->heads, .kv_heads = shape->kv_heads, .head_size = shape->head_size,
                                            .scale = (float)(scale > 0 ? scale : 1 / sqrt(shape->head_size)), .soft_cap = (float)cap };
    return KG_OK;
}

static enum kg_status read_scalars(const struct kg_gguf *file, const char *architecture, struct kg_parameters *out, struct kg_error *err)
{
    char key[KG_KEY_MAX];
    double eps = 0, scale = 1;
    enum kg_status status = kg_gguf_get_f64(file, kg_parameters_key(key, architecture, "attention.layer_norm_rms_epsilon"), &eps, err);
    if (status == KG_OK && (eps <= 0 || eps >= 1))
        return out_of_range(file, key, eps, err);
    if (status == KG_OK)
        status = kg_parameters_f64(file, architecture, "embedding_scale", &scale, err);
    if (status == KG_OK && !(fabs(scale) < 1e6))
        return out_of_range(file, kg_parameters_key(key, architecture, "embedding_scale"), scale, err);
    out->norm_eps = (float)eps;
    out->embedding_scale = (float)(scale != 0 ? scale : 1); /* 0 stands for none */
    return status;
}

static void read_name(const struct kg_gguf *file, const struct kg_architecture *architecture, struct kg_model_shape *shape)
{
    struct kg_gguf_text name = { 0 };
    const char *path = kg_gguf_path(file), *slash = strrchr(path, '/');
    snprintf(shape->architecture, sizeof shape->architecture, "%s", architecture->name);
    if (kg_gguf_get_text(file, "general.name", &name, NULL) != KG_OK || name.length == 0) {
        name.bytes = slash ? slash + 1 : path;
        name.length = strlen(name.bytes);
    }
    kg_printable(shape->name, sizeof shape->name, name.bytes, name.length);
}

enum kg_status kg_parameters_read(const struct kg_gguf *file, const struct kg_architecture *architecture, struct kg_parameters *out,
                                  struct kg_error *err)
{
    *out = (struct kg_parameters){ 0 };
    read_name(file, architecture, &out->shape);
    enum kg_status status = check_keys(file, architecture, err);
    if (status == KG_OK)
        status = read_sizes(file, architecture->name, &out->shape, err);
    if (status == KG_OK)
        status = check_vocabulary(file, architecture->name, out->shape.vocabulary, err);
    if (status == KG_OK)
        status = read_heads(file, architecture->name, &out->shape, err);
    if (status == KG_OK)
        status = read_scalars(file, architecture->name, out, err);
    if (status == KG_OK)
        status = kg_parameters_rope(file, architecture, out, err);
    if (status == KG_OK)
        status = read_attention(file, architecture->name, out, err);
    return status;
}

uint32_t kg_parameters_dimension(const struct kg_parameters *parameters, enum kg_dimension dimension)
{
    const struct kg_model_shape *shape = &parameters->shape;
    const uint32_t dimensions[KG_DIMENSIONS] = {
        [KG_DIM_ONE] = 1,
        [KG_DIM_WIDTH] = shape->width,
        [KG_DIM_QUERIES] = shape->heads * shape->head_size,
        [KG_DIM_KEYS] = shape->kv_heads * shape->head_size,
        [KG_DIM_HEAD] = shape->head_size,
        [KG_DIM_FEED_FORWARD] = shape->feed_forward,
        [KG_DIM_VOCABULARY] = shape->vocabulary,
        [KG_DIM_PAIRS] = parameters->rope.pairs,
    };
    return dimensions[dimension];
}
