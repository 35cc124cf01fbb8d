/* The ten best tokens after a text: what tests compare with other engines. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/state.h"

static void ten_best(const float *logits, uint32_t n, struct kg_logit out[10])
{
    double most = -INFINITY, sum = 0;
    uint32_t found = 0;
    for (uint32_t i = 0; i < n; i++)
        most = logits[i] > most ? (double)logits[i] : most;
    for (uint32_t i = 0; i < n; i++) {
        sum += exp((double)logits[i] - most);
        if (found == 10 && logits[i] <= out[9].logit)
            continue;
        uint32_t at = found < 10 ? found++ : 9;
        for (; at > 0 && out[at - 1].logit < logits[i]; at--)
            out[at] = out[at - 1];
        out[at] = (struct kg_logit){ .id = (int32_t)i, .logit = logits[i] };
    }
    for (uint32_t i = 0; i < found; i++)
        out[i].log_probability = (double)out[i].logit - most - log(sum);
    for (; found < 10; found++)
        out[found] = (struct kg_logit){ .id = -1, .logit = -INFINITY, .log_probability = -INFINITY };
}

static enum kg_status read_as_one(struct kg_engine *engine, const struct kg_ids *ids, float *logits, struct kg_error *err)
{
    struct kg_block *block = NULL;
    struct kg_sequence *sequence = NULL;
    struct kg_reading reading = { .model = engine->model, .pool = engine->pool, .stop = &engine->stop };
    struct kg_digest unnamed = { { 0 } };
    enum kg_status status = kg_sequence_create(kg_model_shape(engine->model)->trained_length, &sequence, err);
    if (status == KG_OK)
        status = kg_block_create(engine->pool, KG_BLOCK_TURN, &unnamed, 0, ids->ids, ids->count, &block, err);
    if (status == KG_OK)
        status = kg_sequence_append(sequence, block, err);
    if (status == KG_OK)
        status = kg_sequence_read(sequence, 0, (uint32_t)ids->count, &reading, logits, err);
    if (sequence)
        kg_sequence_free(sequence);
    kg_block_release(block);
    return status;
}

enum kg_status kg_engine_logits(struct kg_engine *engine, const char *text, size_t length, bool special, struct kg_logit out[10],
                                struct kg_error *err)
{
    struct kg_ids ids = { 0 };
    uint32_t vocabulary = kg_model_shape(engine->model)->vocabulary;
    float *logits = malloc(vocabulary * sizeof *logits);
    enum kg_status status = logits ? KG_OK : kg_fail_nomem(err, "computing logits");
    int32_t bos = kg_special_ids(engine->tokenizer)->bos;
    if (status == KG_OK && bos >= 0)
        status = kg_ids_push(&ids, bos, err);
    if (status == KG_OK)
        status = kg_tokenize(engine->tokenizer, text, length, special, &ids, err);
    if (status == KG_OK && ids.count == 0)
        status = kg_fail(err, KG_ERR_USAGE, "the text is empty; give at least one token");
    if (status == KG_OK)
        status = read_as_one(engine, &ids, logits, err);
    if (status == KG_OK)
        ten_best(logits, vocabulary, out);
    kg_ids_free(&ids);
    free(logits);
    return status;
}
