#include "engine/model/parts.h"

#include <stdlib.h>

static const enum kg_dimension scratch_cols[KG_SCRATCH] = {
    [KG_S_STREAM] = KG_DIM_WIDTH,      [KG_S_NORMED] = KG_DIM_WIDTH,    [KG_S_QUERY] = KG_DIM_QUERIES,
    [KG_S_KEY] = KG_DIM_KEYS,          [KG_S_VALUE] = KG_DIM_KEYS,      [KG_S_SEEN] = KG_DIM_QUERIES,
    [KG_S_GATE] = KG_DIM_FEED_FORWARD, [KG_S_UP] = KG_DIM_FEED_FORWARD, [KG_S_DELTA] = KG_DIM_WIDTH,
};

static size_t scratch_bytes(const struct kg_model *model, unsigned scratch)
{
    return (size_t)KG_ROWS_MAX * kg_parameters_dimension(&model->parameters, scratch_cols[scratch]) * sizeof(float);
}

static size_t logits_bytes(const struct kg_model *model)
{
    return (size_t)KG_LOGIT_ROWS * model->parameters.shape.vocabulary * sizeof(float);
}

size_t kg_model_scratch_bytes(const struct kg_model *model)
{
    size_t bytes = logits_bytes(model);
    for (unsigned i = 0; i < KG_SCRATCH; i++)
        bytes += scratch_bytes(model, i);
    return bytes;
}

static enum kg_status create_scratch(struct kg_model *model, struct kg_error *err)
{
    const struct kg_backend *b = model->backend;
    enum kg_status status = b->view_create(model->device, &model->view, err);
    for (unsigned i = 0; i < KG_SCRATCH && status == KG_OK; i++)
        status = b->buffer_create(model->device, scratch_bytes(model, i), &model->scratch[i], err);
    if (status == KG_OK)
        status = b->buffer_create(model->device, KG_ROWS_MAX * sizeof(int32_t), &model->ids, err);
    if (status == KG_OK)
        status = b->buffer_create(model->device, logits_bytes(model), &model->logits, err);
    return status;
}

static enum kg_status describe(struct kg_model *model, struct kg_error *err)
{
    enum kg_status status = kg_architecture_of(model->file, &model->architecture, err);
    if (status == KG_OK)
        status = kg_parameters_read(model->file, model->architecture, &model->parameters, err);
    if (status == KG_OK)
        status = kg_architecture_check_tensors(model->architecture, model->file, model->parameters.shape.layers, err);
    model->parameters.attention.rope = &model->parameters.rope;
    return status;
}

enum kg_status kg_model_describe(const struct kg_gguf *file, const struct kg_backend *backend, struct kg_device *device,
                                 struct kg_model **out, struct kg_error *err)
{
    *out = NULL;
    struct kg_model *model = calloc(1, sizeof *model);
    if (!model)
        return kg_fail_nomem(err, "loading a model");
    model->file = file;
    model->backend = backend;
    model->device = device;
    enum kg_status status = describe(model, err);
    if (status == KG_OK)
        *out = model;
    else
        kg_model_free(model);
    return status;
}

enum kg_status kg_model_take_weights(struct kg_model *model, int (*progress)(void *ctx, uint64_t done, uint64_t total), void *ctx,
                                     struct kg_error *err)
{
    enum kg_status status = kg_model_load_weights(model, progress, ctx, err);
    return status == KG_OK ? create_scratch(model, err) : status;
}

enum kg_status kg_model_load(const struct kg_gguf *file, const struct kg_backend *backend, struct kg_device *device,
                             int (*progress)(void *ctx, uint64_t done, uint64_t total), void *ctx,
                             struct kg_model **out, struct kg_error *err)
{
    struct kg_model *model = NULL;
    *out = NULL;
    enum kg_status status = kg_model_describe(file, backend, device, &model, err);
    if (!model)
        return status;
    status = kg_model_take_weights(model, progress, ctx, err);
    if (status == KG_OK)
        *out = model;
    else
        kg_model_free(model);
    return status;
}

void kg_model_free(struct kg_model *model)
{
    if (!model)
        return;
    const struct kg_backend *b = model->backend;
    kg_model_free_weights(model);
    for (unsigned i = 0; i < KG_SCRATCH; i++)
        b->buffer_free(model->device, model->scratch[i]);
    b->buffer_free(model->device, model->ids);
    b->buffer_free(model->device, model->logits);
    b->buffer_free(model->device, model->chosen);
    b->buffer_free(model->device, model->best);
    b->buffer_free(model->device, model->best_ids);
    b->buffer_free(model->device, model->best_logits);
    b->view_free(model->device, model->view);
    free(model);
}

const struct kg_model_shape *kg_model_shape(const struct kg_model *model)
{
    return &model->parameters.shape;
}

bool kg_model_is_apart(const struct kg_model *model)
{
    return model->backend->room || model->backend->layer;
}

size_t kg_model_weight_bytes(const struct kg_model *model)
{
    return model->weight_bytes;
}
