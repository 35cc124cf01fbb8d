#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/model/parameters.h"

enum scaling_type { SCALING_NONE, SCALING_LINEAR, SCALING_YARN };

struct scaling {
    enum scaling_type type;
    double factor;           /* > 0 */
    double attention_factor; /* attn_factor of the file, on top of what the type implies */
    uint32_t original_length;
    double beta_fast, beta_slow; /* YaRN: rotations over the original length between which it blends */
};

static enum kg_status out_of_range(const struct kg_gguf *file, const char *architecture, const char *suffix, double value, struct kg_error *err)
{
    return kg_fail(err, KG_ERR_FORMAT, "%s: %s.%s is %g, which is out of range; convert the model again", kg_gguf_path(file), architecture,
                   suffix, value);
}

/* A factor without a type means linear scaling, as in llama.cpp. */
static enum kg_status read_type(const struct kg_gguf *file, const char *architecture, enum scaling_type *out, struct kg_error *err)
{
    static const char *const names[] = { [SCALING_NONE] = "none", [SCALING_LINEAR] = "linear", [SCALING_YARN] = "yarn" };
    char key[KG_KEY_MAX];
    struct kg_gguf_text type = { 0 };
    *out = SCALING_LINEAR;
    if (!kg_gguf_has(file, kg_parameters_key(key, architecture, "rope.scaling.type")))
        return KG_OK;
    enum kg_status status = kg_gguf_get_text(file, key, &type, err);
    for (int i = SCALING_NONE; status == KG_OK && i <= SCALING_YARN; i++)
        if (strlen(names[i]) == type.length && memcmp(names[i], type.bytes, type.length) == 0) {
            *out = (enum scaling_type)i;
            return KG_OK;
        }
    if (status == KG_OK)
        return kg_fail(err, KG_ERR_UNSUPPORTED, "%s: %s is %.*s; none, linear and yarn are supported, choose another model", kg_gguf_path(file),
                       key, (int)(type.length < 64 ? type.length : 64), type.bytes);
    return status;
}

static enum kg_status read_scaling(const struct kg_gguf *file, const char *architecture, struct scaling *s, struct kg_error *err)
{
    static const struct {
        const char *suffix;
        size_t field;
        double least, most; /* both excluded */
    } reals[] = {
        { "rope.scale_linear", offsetof(struct scaling, factor), -1, 1e6 }, /* the older name */
        { "rope.scaling.factor", offsetof(struct scaling, factor), -1, 1e6 },
        { "rope.scaling.attn_factor", offsetof(struct scaling, attention_factor), 0, 1e6 },
        { "rope.scaling.yarn_beta_fast", offsetof(struct scaling, beta_fast), 0, 1e6 },
        { "rope.scaling.yarn_beta_slow", offsetof(struct scaling, beta_slow), 0, 1e6 },
    };
    enum kg_status status = read_type(file, architecture, &s->type, err);
    for (size_t i = 0; status == KG_OK && i < sizeof reals / sizeof *reals; i++) {
        double *field = (double *)(void *)((char *)s + reals[i].field);
        status = kg_parameters_f64(file, architecture, reals[i].suffix, field, err);
        if (status == KG_OK && !(*field > reals[i].least && *field < reals[i].most))
            return out_of_range(file, architecture, reals[i].suffix, *field, err);
    }
    if (status == KG_OK)
        status = kg_parameters_u32(file, architecture, "rope.scaling.original_context_length", &s->original_length, err);
    if (status == KG_OK && (s->original_length == 0 || s->original_length > INT32_MAX))
        return out_of_range(file, architecture, "rope.scaling.original_context_length", s->original_length, err);
    if (status == KG_OK && s->factor < 0)
        return out_of_range(file, architecture, "rope.scaling.factor", s->factor, err);
    if (s->factor == 0 || s->type == SCALING_NONE) /* 0 stands for no scaling */
        s->factor = 1;
    return status;
}

/* The pair that turns `rotations` times within the original length:  j = dims ln(length / (2 pi rotations)) / (2 ln base) */
static double pair_of(double rotations, uint32_t dims, double base, uint32_t length)
{
    return dims * log(length / (2 * M_PI * rotations)) / (2 * log(base));
}

/* YaRN (arXiv 2309.00071): fast pairs keep their frequency, slow ones are interpolated, a ramp lies between; queries and
 * keys grow by 0.1 ln(factor) + 1 each.
 *
 *   kept   1 |-----.
 *            |      `-.
 *          0 |         `------   pair
 *            0     low high
 */
static void apply_yarn(struct kg_rope *rope, const struct scaling *s, double base)
{
    uint32_t dims = 2 * rope->pairs;
    double low = fmax(0, floor(pair_of(s->beta_fast, dims, base, s->original_length)));
    double high = fmin(dims - 1, ceil(pair_of(s->beta_slow, dims, base, s->original_length)));
    for (uint32_t j = 0; j < rope->pairs; j++) {
        double kept = 1 - fmin(1, fmax(0, (j - low) / fmax(0.001, high - low)));
        rope->frequency[j] *= kept + (1 - kept) / s->factor;
    }
    if (s->factor > 1)
        rope->scale *= (float)(0.1 * log(s->factor) + 1);
}

/* llama3's scaling comes as one divisor for each pair. */
static enum kg_status apply_factors(const struct kg_gguf *file, struct kg_rope *rope, struct kg_error *err)
{
    const struct kg_gguf_tensor *tensor = kg_gguf_tensor_find(file, kg_model_rules[KG_ROPE_FACTORS].name);
    double factors[KG_HEAD_MAX / 2];
    if (!tensor)
        return KG_OK;
    if (tensor->cols != rope->pairs || tensor->rows != 1)
        return kg_fail(err, KG_ERR_FORMAT, "%s: tensor %s has %u x %u elements for %u pairs; convert the model again", kg_gguf_path(file),
                       tensor->name, tensor->cols, tensor->rows, rope->pairs);
    kg_dequantise(tensor->type, tensor->data, tensor->cols, factors);
    for (uint32_t j = 0; j < rope->pairs; j++) {
        if (!(factors[j] > 1e-6 && factors[j] < 1e6))
            return kg_fail(err, KG_ERR_FORMAT, "%s: element %u of %s is %g, which is out of range; convert the model again", kg_gguf_path(file),
                           j, tensor->name, factors[j]);
        rope->frequency[j] /= factors[j];
    }
    return KG_OK;
}

enum kg_status kg_parameters_rope(const struct kg_gguf *file, const struct kg_architecture *architecture, struct kg_parameters *out,
                                  struct kg_error *err)
{
    struct kg_rope *rope = &out->rope;
    struct kg_model_shape *shape = &out->shape;
    struct scaling s = { .factor = 0, .attention_factor = 1, .original_length = shape->trained_length, .beta_fast = 32, .beta_slow = 1 };
    uint32_t dims = shape->head_size;
    double base = 10000;
    enum kg_status status = kg_parameters_u32(file, architecture->name, "rope.dimension_count", &dims, err);
    if (status == KG_OK && (dims == 0 || dims % 2 != 0 || dims > shape->head_size))
        return out_of_range(file, architecture->name, "rope.dimension_count", dims, err);
    if (status == KG_OK)
        status = kg_parameters_f64(file, architecture->name, "rope.freq_base", &base, err);
    if (status == KG_OK && !(base > 1 && base < 1e15))
        return out_of_range(file, architecture->name, "rope.freq_base", base, err);
    if (status == KG_OK)
        status = read_scaling(file, architecture->name, &s, err);
    if (status != KG_OK)
        return status;
    *rope = (struct kg_rope){ .layout = architecture->rope, .pairs = dims / 2, .scale = (float)s.attention_factor };
    for (uint32_t j = 0; j < rope->pairs; j++)
        rope->frequency[j] = pow(base, -2.0 * j / dims);
    if (s.type == SCALING_YARN)
        apply_yarn(rope, &s, base);
    for (uint32_t j = 0; s.type == SCALING_LINEAR && j < rope->pairs; j++)
        rope->frequency[j] /= s.factor;
    double stretched = s.type == SCALING_YARN ? floor(s.factor * s.original_length) : 0;
    if (stretched > shape->trained_length)
        shape->trained_length = stretched < INT32_MAX ? (uint32_t)stretched : INT32_MAX;
    return apply_factors(file, rope, err);
}
