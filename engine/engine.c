#include "engine/engine.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/paths.h"
#include "engine/device.h"
#include "engine/placement.h"
#include "engine/state.h"

/* Raise it when blocks computed by an older kedge must not answer for new ones. */
#define NUMERICS_VERSION "kedge-blocks-3"

double kg_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

void kg_engine_progress(struct kg_engine *engine, enum kg_stage stage, const char *what, uint64_t done, uint64_t total)
{
    if (engine->progress)
        engine->progress(engine->ctx, &(struct kg_progress){ .stage = stage, .what = what, .done = done, .total = total });
}

static int checking(void *ctx, uint64_t done)
{
    struct kg_engine *engine = ctx;
    kg_engine_progress(engine, KG_STAGE_CHECKING, "", done, kg_gguf_bytes(engine->file));
    return engine->give_up && engine->give_up(engine->ctx);
}

/* Behind what is to be said already. */
static void add_notice(struct kg_engine *engine, const char *text)
{
    struct kg_error all;
    if (!text)
        return;
    kg_fail(&all, KG_OK, "%s%s%s", engine->notice, engine->notice[0] ? "; " : "", text);
    snprintf(engine->notice, sizeof engine->notice, "%s", all.text);
}

static enum kg_status open_directories(struct kg_engine *engine, const struct kg_engine_options *options, char cache[KG_PATH_MAX], struct kg_error *err)
{
    enum kg_status status = KG_OK;
    if (options->state_dir)
        snprintf(engine->state_dir, sizeof engine->state_dir, "%s", options->state_dir);
    else
        status = kg_place_path(KG_PLACE_STATE, NULL, engine->state_dir, err);
    if (status == KG_OK && options->cache_dir)
        snprintf(cache, KG_PATH_MAX, "%s", options->cache_dir);
    else if (status == KG_OK)
        status = kg_place_path(KG_PLACE_CACHE, NULL, cache, err);
    return status;
}

/* The cache is a convenience: a store that cannot be opened is a notice, never a failure. */
static void open_cache(struct kg_engine *engine, const struct kg_engine_options *options, const char *directory)
{
    struct kg_error err;
    if (options->cache_off || kg_cache_is_off(options->cache_dir))
        return;
    if (kg_make_dirs(directory, &err) != KG_OK || kg_kv_store_open(directory, options->cache_bytes, &engine->kv_store, &err) != KG_OK) {
        struct kg_error off;
        kg_fail(&off, err.status, "cache is off: %s", err.text);
        add_notice(engine, off.text);
        engine->kv_store = NULL;
        return;
    }
    add_notice(engine, kg_kv_store_notice(engine->kv_store));
}

static enum kg_status name_numerics(struct kg_engine *engine, const char *path, struct kg_error *err)
{
    if (!engine->kv_store)
        return KG_OK;
    enum kg_status status = kg_kv_store_model_digest(engine->kv_store, path, &engine->model_digest, checking, engine, err);
    if (status != KG_OK)
        return status;
    struct kg_digest_stream *stream = kg_digest_begin();
    if (!stream)
        return kg_fail_nomem(err, "naming the model");
    const char *numerics = engine->backend->numerics(engine->device);
    kg_digest_add(stream, NUMERICS_VERSION, sizeof NUMERICS_VERSION);
    kg_digest_add(stream, engine->model_digest.bytes, sizeof engine->model_digest.bytes);
    kg_digest_add(stream, numerics, strlen(numerics) + 1);
    kg_digest_add(stream, &(uint8_t){ (uint8_t)engine->index_bits }, 1);
    if (engine->kv_type != KG_KV_F16)
        kg_digest_add(stream, &(uint8_t){ (uint8_t)engine->kv_type }, 1);
    kg_digest_end(stream, &engine->numerics);
    return KG_OK;
}

static void let_go(void *ctx, const struct kg_digest *key)
{
    struct kg_engine *engine = ctx;
    if (engine->kv_store)
        kg_kv_store_release(engine->kv_store, key);
}

/* Pages have a key index where the device can use one. */
static enum kg_status create_pool(struct kg_engine *engine, struct kg_error *err)
{
    struct kg_kv_shape shape = kg_model_shape(engine->model)->kv;
    if (engine->backend->choose && shape.head_size * engine->index_bits % 32 == 0)
        shape.index_bits = engine->index_bits;
    shape.type = engine->kv_type;
    if (shape.type == KG_KV_Q8_0 && shape.head_size % 32 != 0)
        return kg_fail(err, KG_ERR_USAGE, "keys of %u numbers cannot be kept as q8_0, which takes 32 at a time; use f16 (see kv in kedge.conf)",
                       shape.head_size);
    enum kg_status status = kg_pool_create(engine->backend, engine->device, &shape, &engine->pool, err);
    if (status == KG_OK)
        kg_pool_watch(engine->pool, let_go, engine);
    return status;
}

static void unload(struct kg_engine *engine)
{
    if (engine->pool)
        kg_pool_free(engine->pool);
    if (engine->model)
        kg_model_free(engine->model);
    if (engine->device)
        engine->backend->close(engine->device);
    engine->pool = NULL;
    engine->model = NULL;
    engine->device = NULL;
}

static enum kg_status load_on(struct kg_engine *engine, const struct kg_engine_options *options, const char *device, struct kg_error *err)
{
    char shared[KG_ERROR_TEXT];
    enum kg_status status = kg_open_device(device, options->threads, &engine->backend, &engine->device, err);
    if (status == KG_OK)
        status = kg_place_layers(engine->file, options, &engine->backend, &engine->device, shared, err);
    if (status == KG_OK)
        status = name_numerics(engine, options->model_path, err);
    if (status == KG_OK)
        status = kg_model_describe(engine->file, engine->backend, engine->device, &engine->model, err);
    if (status == KG_OK)
        status = create_pool(engine, err);
    if (status == KG_OK && !options->weightless)
        status = kg_engine_load(engine, options->behind, err);
    if (status == KG_OK) /* else another device may do it, all of it */
        add_notice(engine, shared[0] ? shared : NULL);
    return status;
}

/* A card that cannot do it is no reason to fail where nobody asked for it; a broken file is, on every device. */
static enum kg_status load(struct kg_engine *engine, const struct kg_engine_options *options, struct kg_error *err)
{
    const bool free_choice = !options->backend || strcmp(options->backend, "best") == 0;
    const char *device = free_choice ? kg_best_device() : options->backend;
    enum kg_status status = load_on(engine, options, device, err);
    const bool of_card = status == KG_ERR_NOMEM || status == KG_ERR_IO || status == KG_ERR_UNSUPPORTED;
    if (!of_card || !free_choice || strcmp(device, KG_CPU) == 0)
        return status;
    struct kg_error why = *err, notice;
    unload(engine);
    status = load_on(engine, options, KG_CPU, err);
    if (status == KG_OK) {
        kg_fail(&notice, KG_ERR_UNSUPPORTED, "computing on the CPU: %s", why.text);
        add_notice(engine, notice.text);
    }
    return status;
}

static enum kg_status open_model(struct kg_engine *engine, const struct kg_engine_options *options, struct kg_error *err)
{
    char cache[KG_PATH_MAX];
    enum kg_status status = kg_gguf_open(options->model_path, &engine->file, err);
    if (status == KG_OK)
        status = kg_tokenizer_create(engine->file, &engine->tokenizer, err);
    if (status == KG_OK)
        status = open_directories(engine, options, cache, err);
    if (status != KG_OK)
        return status;
    open_cache(engine, options, cache);
    status = load(engine, options, err);
    if (status == KG_OK && kg_vocabulary(engine->tokenizer) > kg_model_shape(engine->model)->vocabulary)
        status = kg_fail(err, KG_ERR_FORMAT, "%s: %u tokens but an embedding of %u rows; get the model again", options->model_path,
                         kg_vocabulary(engine->tokenizer), kg_model_shape(engine->model)->vocabulary);
    return status;
}

enum kg_status kg_engine_open(const struct kg_engine_options *options, struct kg_engine **out, struct kg_error *err)
{
    double start = kg_seconds();
    struct kg_engine *engine = calloc(1, sizeof *engine);
    struct kg_error *told = calloc(1, sizeof *told);
    if (!engine || !told) {
        free(engine);
        free(told);
        return kg_fail_nomem(err, "opening the engine");
    }
    engine->told = told;
    engine->progress = options->progress;
    engine->give_up = options->give_up;
    engine->ctx = options->ctx;
    if (options->kv && strcmp(options->kv, "q8_0") == 0)
        engine->kv_type = KG_KV_Q8_0;
    else if (options->kv && strcmp(options->kv, "f16") != 0) {
        kg_engine_close(engine);
        return kg_fail(err, KG_ERR_USAGE, "keys and values cannot be kept as '%.40s'; use f16 or q8_0", options->kv);
    }
    engine->index_bits = options->index_bits ? options->index_bits : KG_INDEX_BITS;
    if (engine->index_bits != 1 && engine->index_bits != 2 && engine->index_bits != 4) {
        kg_engine_close(engine);
        return kg_fail(err, KG_ERR_USAGE, "a key index cannot have %u bits a number; use 1, 2 or 4", options->index_bits);
    }
    enum kg_status status = open_model(engine, options, err);
    if (status == KG_OK)
        status = kg_gguf_intact(engine->file, err);
    if (status != KG_OK) {
        kg_engine_close(engine);
        return status;
    }
    engine->load_s = kg_seconds() - start;
    *out = engine;
    return KG_OK;
}

void kg_engine_close(struct kg_engine *engine)
{
    if (!engine)
        return;
    kg_engine_load_end(engine);
    if (engine->pool)
        kg_pool_free(engine->pool); /* tells the store what it lets go */
    engine->pool = NULL;
    if (engine->kv_store)
        kg_kv_store_close(engine->kv_store);
    if (engine->session_store)
        kg_session_store_close(engine->session_store);
    unload(engine);
    if (engine->chat)
        kg_chat_free(engine->chat);
    if (engine->tokenizer)
        kg_tokenizer_free(engine->tokenizer);
    if (engine->file)
        kg_gguf_close(engine->file);
    free(engine->anchors);
    free(engine->told);
    free(engine);
}

void kg_engine_stop(struct kg_engine *engine)
{
    atomic_store(&engine->stop, true);
}

void kg_engine_go(struct kg_engine *engine)
{
    atomic_store(&engine->stop, false);
}

/* What happened, and where the device had to put what is read. */
static const char *notice_of(const struct kg_engine *engine)
{
    const char *pages = kg_pool_notice(engine->pool);
    kg_fail(engine->told, KG_OK, "%s%s%s", engine->notice, engine->notice[0] && pages ? "; " : "", pages ? pages : "");
    return engine->told->text[0] ? engine->told->text : NULL;
}

void kg_engine_facts(const struct kg_engine *engine, struct kg_engine_facts *out)
{
    const struct kg_model_shape *shape = kg_model_shape(engine->model);
    memset(out, 0, sizeof *out);
    snprintf(out->model, sizeof out->model, "%s", shape->name);
    snprintf(out->device, sizeof out->device, "%s", engine->backend->describe(engine->device));
    out->trained_length = shape->trained_length;
    const struct kg_kv_shape *kv = kg_pool_shape(engine->pool);
    out->kv_bytes_per_token = (KG_KV_PAGE_BYTES(kv) + KG_INDEX_PAGE_BYTES(kv)) / KG_PAGE;
    out->load_s = engine->load_s;
    out->caches = engine->kv_store != NULL;
    out->notice = notice_of(engine);
}
