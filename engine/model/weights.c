#include <stdio.h>
#include <stdlib.h>

#include "engine/model/parts.h"

/* One loading: what is done of all, and where to report it. */
struct load {
    struct kg_model *model;
    int (*progress)(void *ctx, uint64_t done, uint64_t total);
    void *ctx;
    uint64_t done, total;
};

static enum kg_status check_shape(const struct kg_model *model, const struct kg_gguf_tensor *tensor, const struct kg_tensor_rule *rule,
                                  struct kg_error *err)
{
    uint32_t cols = kg_parameters_dimension(&model->parameters, rule->cols);
    uint32_t rows = kg_parameters_dimension(&model->parameters, rule->rows);
    if (tensor->cols == cols && tensor->rows == rows)
        return KG_OK;
    return kg_fail(err, KG_ERR_FORMAT, "%s: tensor %s has %u x %u elements where its metadata say %u x %u; convert the model again",
                   kg_gguf_path(model->file), tensor->name, tensor->cols, tensor->rows, cols, rows);
}

static enum kg_status load_vector(struct load *load, const struct kg_gguf_tensor *tensor, struct kg_buffer **out, struct kg_error *err)
{
    struct kg_model *model = load->model;
    enum kg_status status = KG_ERR_NOMEM;
    double *exact = calloc(tensor->cols, sizeof *exact);
    float *values = calloc(tensor->cols, sizeof *values);
    if (exact && values) {
        kg_dequantise(tensor->type, tensor->data, tensor->cols, exact);
        for (uint32_t i = 0; i < tensor->cols; i++)
            values[i] = (float)exact[i];
        status = model->backend->buffer_create(model->device, tensor->cols * sizeof *values, out, err);
        if (status == KG_OK)
            model->backend->write(model->device, *out, 0, values, tensor->cols * sizeof *values);
    } else {
        kg_fail_nomem(err, "loading weights");
    }
    free(exact);
    free(values);
    return status;
}

/* The file's pages are not needed any more, but for rows that a backend reads in place. */
static enum kg_status finish(struct load *load, const struct kg_gguf_tensor *tensor, struct kg_error *err)
{
    kg_gguf_forget(load->model->file, tensor);
    load->done += tensor->bytes;
    if (load->progress && load->progress(load->ctx, load->done, load->total))
        return kg_fail(err, KG_ERR_CANCELLED, "loading of %s was stopped", kg_gguf_path(load->model->file));
    return KG_OK;
}

static enum kg_status load_tensor(struct load *load, const char *name, const struct kg_tensor_rule *rule, unsigned uses, struct kg_weight *out,
                                  struct kg_error *err)
{
    struct kg_model *model = load->model;
    enum kg_need need = rule->need[model->architecture->index];
    const struct kg_gguf_tensor *tensor = need == KG_NEVER ? NULL : kg_gguf_tensor_find(model->file, name);
    if (!tensor && need == KG_MUST)
        return kg_fail(err, KG_ERR_FORMAT, "%s has no tensor %s; convert the model again", kg_gguf_path(model->file), name);
    if (!tensor)
        return KG_OK;
    enum kg_status status = check_shape(model, tensor, rule, err);
    if (status == KG_OK && rule->rows == KG_DIM_ONE)
        status = load_vector(load, tensor, &out->vector, err);
    else if (status == KG_OK)
        status = model->backend->matrix_create(model->device, tensor->type, tensor->rows, tensor->cols, tensor->data, uses, &out->matrix, err);
    if (status != KG_OK)
        return status;
    if (uses & KG_USE_MATMUL || rule->rows == KG_DIM_ONE)
        model->weight_bytes += tensor->bytes;
    return finish(load, tensor, err);
}

static enum kg_status load_layer(struct load *load, uint32_t layer, struct kg_error *err)
{
    enum kg_status status = KG_OK;
    if (load->model->backend->layer)
        load->model->backend->layer(load->model->device, layer);
    for (unsigned slot = 0; slot < KG_LAYER_SLOTS && status == KG_OK; slot++) {
        char name[64];
        snprintf(name, sizeof name, "blk.%u.%s", layer, kg_layer_rules[slot].name);
        status = load_tensor(load, name, &kg_layer_rules[slot], KG_USE_MATMUL, &load->model->layers[layer][slot], err);
    }
    return status;
}

enum kg_status kg_model_load_weights(struct kg_model *model, int (*progress)(void *ctx, uint64_t done, uint64_t total), void *ctx,
                                     struct kg_error *err)
{
    uint32_t layers = model->parameters.shape.layers;
    struct load load = { .model = model, .progress = progress, .ctx = ctx };
    bool tied = !kg_gguf_tensor_find(model->file, kg_model_rules[KG_OUT].name);
    model->layers = calloc(layers, sizeof *model->layers);
    if (!model->layers)
        return kg_fail_nomem(err, "loading weights");
    for (size_t i = 0; i < kg_gguf_tensors(model->file); i++)
        load.total += kg_gguf_tensor_at(model->file, i)->bytes;
    enum kg_status status = KG_OK;
    for (uint32_t i = 0; i < layers && status == KG_OK; i++)
        status = load_layer(&load, i, err);
    if (model->backend->layer)
        model->backend->layer(model->device, KG_NO_LAYER);
    for (unsigned slot = 0; slot < KG_MODEL_SLOTS && status == KG_OK; slot++) {
        unsigned uses = slot == KG_OUT ? KG_USE_MATMUL : tied ? KG_USE_MATMUL | KG_USE_ROWS : KG_USE_ROWS;
        status = load_tensor(&load, kg_model_rules[slot].name, &kg_model_rules[slot], uses, &model->weights[slot], err);
    }
    return status == KG_OK ? kg_gguf_intact(model->file, err) : status;
}

static void free_weight(struct kg_model *model, struct kg_weight *weight)
{
    model->backend->matrix_free(model->device, weight->matrix);
    model->backend->buffer_free(model->device, weight->vector);
}

void kg_model_free_weights(struct kg_model *model)
{
    for (uint32_t i = 0; model->layers && i < model->parameters.shape.layers; i++)
        for (unsigned slot = 0; slot < KG_LAYER_SLOTS; slot++)
            free_weight(model, &model->layers[i][slot]);
    for (unsigned slot = 0; slot < KG_MODEL_SLOTS; slot++)
        free_weight(model, &model->weights[slot]);
    free(model->layers);
}
