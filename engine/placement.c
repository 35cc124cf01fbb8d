#include "engine/placement.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/device.h"
#include "engine/model/model.h"
#include "kernels/split/split.h"

/* Room that is left for a context: the index of so many tokens, and their keys and values. More of them are made room for by
 * host memory; for the index there is no other place. */
#define INDEXED 32768
#define KEPT    4096

/* A tensor on a card: planes are up to a sixteenth larger than the file's blocks. */
static size_t on_card(size_t bytes)
{
    return bytes + bytes / 16;
}

/* Bytes of the tensors whose names begin so. */
static size_t tensor_bytes(const struct kg_gguf *file, const char *prefix)
{
    size_t bytes = 0;
    for (size_t i = 0; i < kg_gguf_tensors(file); i++) {
        const struct kg_gguf_tensor *tensor = kg_gguf_tensor_at(file, i);
        if (strncmp(tensor->name, prefix, strlen(prefix)) == 0)
            bytes += on_card(tensor->bytes);
    }
    return bytes;
}

/* The output matrix, which may be the embedding. */
static size_t output_bytes(const struct kg_gguf *file)
{
    const size_t own = tensor_bytes(file, "output.");
    return own ? own : tensor_bytes(file, "token_embd.");
}

/* Keys, values and index of one layer, for a context. */
static size_t context_bytes(const struct kg_model_shape *shape, uint32_t index_bits)
{
    struct kg_kv_shape one = shape->kv;
    one.layers = 1;
    one.index_bits = one.head_size * index_bits % 32 == 0 ? index_bits : 0;
    const size_t tokens = shape->trained_length < INDEXED ? shape->trained_length : INDEXED, kept = tokens < KEPT ? tokens : KEPT;
    return tokens / KG_PAGE * KG_INDEX_PAGE_BYTES(&one) + kept / KG_PAGE * KG_KV_PAGE_BYTES(&one);
}

/* How many of the last layers fit, with what is needed besides; 0 if not even the output does. */
static uint32_t layers_that_fit(const struct kg_gguf *file, const struct kg_model *model, uint32_t index_bits, size_t room)
{
    const struct kg_model_shape *shape = kg_model_shape(model);
    const size_t others = output_bytes(file) + kg_model_scratch_bytes(model), context = context_bytes(shape, index_bits);
    uint32_t n = 0;
    size_t used = others;
    while (n < shape->layers) {
        char name[32];
        snprintf(name, sizeof name, "blk.%u.", shape->layers - 1 - n);
        used += tensor_bytes(file, name) + context;
        if (used > room)
            break;
        n++;
    }
    return n;
}

static bool is_auto(const char *layers)
{
    return !layers || strcmp(layers, "auto") == 0;
}

/* What a person says; UINT32_MAX where that is auto. */
static enum kg_status said_layers(const char *said, uint32_t *out, struct kg_error *err)
{
    *out = UINT32_MAX;
    if (is_auto(said))
        return KG_OK;
    const size_t digits = strspn(said, "0123456789");
    if (digits < 1 || digits > 4 || said[digits])
        return kg_fail(err, KG_ERR_USAGE, "'%.40s' is no number of layers for the card; use auto, or a number", said);
    *out = (uint32_t)strtoul(said, NULL, 10);
    return KG_OK;
}

static enum kg_status wanted_layers(const struct kg_gguf *file, const struct kg_model *model, const struct kg_engine_options *options,
                                    const struct kg_backend *backend, struct kg_device *device, uint32_t said, uint32_t *out, struct kg_error *err)
{
    const uint32_t layers = kg_model_shape(model)->layers;
    size_t bytes = 0, kept = 0;
    if (!is_auto(options->gpu_layers)) {
        *out = said < layers ? said : layers;
        return KG_OK;
    }
    const enum kg_status status = backend->room(device, &bytes, &kept, err);
    if (status != KG_OK)
        return status;
    *out = layers_that_fit(file, model, options->index_bits ? options->index_bits : KG_INDEX_BITS, bytes > kept ? bytes - kept : 0);
    if (*out == 0)
        return kg_fail(err, KG_ERR_NOMEM, "the CUDA device has not room for a layer and the output of %s (%zu bytes are free); use a smaller model, or compute on the CPU",
                       kg_gguf_path(file), bytes);
    return KG_OK;
}

/* All on the CPU. */
static enum kg_status leave_card(const struct kg_engine_options *options, const struct kg_backend **backend, struct kg_device **device, struct kg_error *err)
{
    (*backend)->close(*device);
    return kg_open_device(KG_CPU, options->threads, backend, device, err);
}

static enum kg_status share(uint32_t first, uint32_t layers, const struct kg_engine_options *options, const struct kg_backend **backend,
                            struct kg_device **device, struct kg_error *err)
{
    struct kg_split_side sides[2] = { { NULL, NULL }, { *backend, *device } };
    enum kg_status status = kg_open_device(KG_CPU, options->threads, &sides[0].backend, &sides[0].device, err);
    if (status != KG_OK)
        return status;
    *backend = &kg_backend_split;
    return kg_split_open(sides, first, layers, device, err);
}

enum kg_status kg_place_layers(const struct kg_gguf *file, const struct kg_engine_options *options, const struct kg_backend **backend,
                               struct kg_device **device, char *notice, struct kg_error *err)
{
    struct kg_model *model = NULL;
    uint32_t said, wanted = 0;
    notice[0] = '\0';
    enum kg_status status = said_layers(options->gpu_layers, &said, err);
    if (status == KG_OK && !(*backend)->room && !is_auto(options->gpu_layers) && said > 0)
        snprintf(notice, KG_ERROR_TEXT, "--gpu-layers %u has no effect: no card computes (see --device)", said);
    if (status != KG_OK || !(*backend)->room)
        return status;
    status = kg_model_describe(file, *backend, *device, &model, err);
    if (status != KG_OK)
        return status;
    const uint32_t layers = kg_model_shape(model)->layers;
    status = wanted_layers(file, model, options, *backend, *device, said, &wanted, err);
    kg_model_free(model);
    if (status != KG_OK || wanted == layers)
        return status;
    if (wanted == 0)
        return leave_card(options, backend, device, err);
    status = share(layers - wanted, layers, options, backend, device, err);
    if (status == KG_OK)
        snprintf(notice, KG_ERROR_TEXT, "the card computes %u of %u layers, the CPU the others: %s", wanted, layers,
                 is_auto(options->gpu_layers) ? "it has no room for more (--gpu-layers)" : "--gpu-layers says so");
    return status;
}
