/* Speed of a loaded model: prefill and decoding, both at a depth, on ids without meaning and without the cache. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/state.h"

#define REPEATS 5 /* the median counts */

struct run {
    struct kg_engine *engine;
    struct kg_block *block;
    struct kg_sequence *sequence;
    float *logits;
    uint32_t seed;
    const struct kg_look *look; /* NULL: at everything */
};

static int32_t next_id(struct run *run)
{
    run->seed = run->seed * 1664525U + 1013904223U;
    return (int32_t)((run->seed >> 8) % kg_vocabulary(run->engine->tokenizer));
}

static enum kg_status begin(struct run *run, struct kg_error *err)
{
    struct kg_digest unnamed = { { 0 } };
    enum kg_status status = kg_sequence_create(kg_model_shape(run->engine->model)->trained_length, &run->sequence, err);
    int32_t first = next_id(run);
    if (status == KG_OK)
        status = kg_block_create(run->engine->pool, KG_BLOCK_ANSWER, &unnamed, 0, &first, 1, &run->block, err);
    return status == KG_OK ? kg_sequence_append(run->sequence, run->block, err) : status;
}

static void end(struct run *run)
{
    if (run->sequence)
        kg_sequence_free(run->sequence);
    kg_block_release(run->block);
    run->sequence = NULL;
    run->block = NULL;
}

/* Reads until `upto` tokens are ready, `step` at a time, with logits of the last one of each step. */
static enum kg_status read_upto(struct run *run, uint32_t upto, uint32_t step, struct kg_error *err)
{
    struct kg_reading reading = { .model = run->engine->model, .pool = run->engine->pool, .stop = &run->engine->stop,
                                  .look = run->look };
    enum kg_status status = KG_OK;
    while (kg_block_tokens(run->block) < upto && status == KG_OK)
        status = kg_block_extend(run->block, next_id(run), err);
    while (kg_block_ready(run->block) < upto && status == KG_OK) {
        uint32_t left = upto - kg_block_ready(run->block);
        status = kg_sequence_read(run->sequence, 0, kg_block_ready(run->block) + (left < step ? left : step), &reading, run->logits, err);
    }
    return status;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double rates[REPEATS])
{
    qsort(rates, REPEATS, sizeof *rates, by_value);
    return rates[REPEATS / 2];
}

static enum kg_status time_prefill(struct run *run, uint32_t tokens, double *rate, struct kg_error *err)
{
    double rates[REPEATS];
    enum kg_status status = begin(run, err);
    if (status == KG_OK) /* once for first touches */
        status = read_upto(run, tokens < 32 ? tokens : 32, tokens, err);
    end(run);
    for (unsigned i = 0; i < REPEATS && status == KG_OK; i++) {
        status = begin(run, err);
        double start = kg_seconds();
        if (status == KG_OK)
            status = read_upto(run, tokens, tokens, err);
        rates[i] = tokens / (kg_seconds() - start);
        end(run);
    }
    if (status == KG_OK)
        *rate = median(rates);
    return status;
}

/* `tokens` behind a depth that is filled, `step` at a time. */
static enum kg_status time_at_depth(struct run *run, uint32_t depth, uint32_t tokens, uint32_t step, double *rate, struct kg_error *err)
{
    double rates[REPEATS];
    enum kg_status status = KG_OK;
    for (unsigned i = 0; i < REPEATS && status == KG_OK; i++) {
        kg_block_set_ready(run->block, depth);
        double start = kg_seconds();
        status = read_upto(run, depth + tokens, step, err);
        rates[i] = tokens / (kg_seconds() - start);
    }
    if (status == KG_OK)
        *rate = median(rates);
    return status;
}

/* The depth is filled once, looked at in full; everything is read from there. */
static enum kg_status time_behind(struct run *run, const struct kg_look *look, const struct kg_bench_options *options, struct kg_bench_result *out,
                                  struct kg_error *err)
{
    const uint32_t depth = options->depth ? options->depth : 1;
    enum kg_status status = begin(run, err);
    if (status == KG_OK)
        status = read_upto(run, depth, KG_ROWS_MAX, err);
    run->look = look;
    if (status == KG_OK && options->depth && options->prefill)
        status = time_at_depth(run, depth, options->prefill, options->prefill, &out->prefill_tokens_per_s, err);
    if (status == KG_OK && options->decode)
        status = time_at_depth(run, depth, options->decode, 1, &out->decode_tokens_per_s, err);
    run->look = NULL;
    end(run);
    return status;
}

/* Of keys, values and index that a token at this depth reads. */
static double looked_bytes(const struct kg_kv_shape *shape, const struct kg_look *look, uint32_t depth)
{
    const double rows = (double)KG_KV_PAGE_BYTES(shape) / KG_PAGE, index = (double)KG_INDEX_PAGE_BYTES(shape) / KG_PAGE;
    if (!look || depth <= look->sinks + look->window)
        return depth * rows;
    const uint32_t others = depth - look->sinks - look->window;
    return others <= look->k ? depth * rows : (look->sinks + look->window + look->k) * rows + others * index;
}

uint64_t kg_pss_bytes(void)
{
    FILE *file = fopen("/proc/self/smaps_rollup", "re");
    char line[256];
    uint64_t kb = 0;
    while (file && kb == 0 && fgets(line, sizeof line, file))
        if (strncmp(line, "Pss:", 4) == 0)
            kb = strtoull(line + 4, NULL, 10);
    if (file)
        fclose(file);
    return kb << 10;
}

enum kg_status kg_engine_bench(struct kg_engine *engine, const struct kg_bench_options *options, struct kg_bench_result *out, struct kg_error *err)
{
    struct run run = { .engine = engine, .seed = 1 };
    uint64_t needed = options->depth + (options->prefill > options->decode ? options->prefill : options->decode + (uint64_t)1);
    uint32_t limit = kg_model_shape(engine->model)->trained_length;
    memset(out, 0, sizeof *out);
    if (needed > limit)
        return kg_fail(err, KG_ERR_USAGE, "the model has %u positions; choose a smaller depth (-d), or fewer tokens to read (-p) or generate (-n)", limit);
    run.logits = malloc(kg_model_shape(engine->model)->vocabulary * sizeof *run.logits);
    if (!run.logits)
        return kg_fail_nomem(err, "measuring speed");
    enum kg_status status = KG_OK;
    if (options->prefill && !options->depth)
        status = time_prefill(&run, options->prefill, &out->prefill_tokens_per_s, err);
    struct kg_rules rules;
    struct kg_look look;
    if (status == KG_OK)
        status = kg_policy_rules(options->policy, &options->recall, &rules, err);
    const bool recalls = status == KG_OK && rules.look == KG_LOOK_RECALL && kg_pool_shape(engine->pool)->index_bits &&
                         kg_rules_look(&rules, KG_READ_CHAIN, 0, &look);
    out->policy = recalls ? options->policy : KG_POLICY_FULL;
    if (status == KG_OK && (options->decode || (options->prefill && options->depth)))
        status = time_behind(&run, recalls ? &look : NULL, options, out, err);
    free(run.logits);
    if (engine->backend->read_bandwidth)
        out->memory_bytes_per_s = engine->backend->read_bandwidth(engine->device);
    out->decode_bytes_per_s = out->decode_tokens_per_s *
                              ((double)kg_model_weight_bytes(engine->model) +
                               looked_bytes(kg_pool_shape(engine->pool), recalls ? &look : NULL, options->depth));
    out->pss_bytes = kg_pss_bytes();
    return status;
}
