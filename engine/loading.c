/* Weights of the engine's model: at once, or by a thread of their own while a conversation comes out of the cache. */
#include <signal.h>

#include "engine/state.h"

static int at_once(void *ctx, uint64_t done, uint64_t total)
{
    struct kg_engine *engine = ctx;
    kg_engine_progress(engine, KG_STAGE_LOADING, "", done, total);
    return engine->give_up && engine->give_up(engine->ctx);
}

static int behind(void *ctx, uint64_t done, uint64_t total)
{
    struct kg_loading *loading = ctx;
    pthread_mutex_lock(&loading->lock);
    loading->done = done;
    loading->total = total;
    const bool unwanted = loading->unwanted;
    pthread_cond_signal(&loading->changed);
    pthread_mutex_unlock(&loading->lock);
    return unwanted;
}

static void *load(void *ctx)
{
    struct kg_engine *engine = ctx;
    struct kg_loading *loading = &engine->loading;
    const enum kg_status status = kg_model_take_weights(engine->model, behind, loading, &loading->err);
    pthread_mutex_lock(&loading->lock);
    loading->status = status;
    loading->ended = true;
    pthread_cond_signal(&loading->changed);
    pthread_mutex_unlock(&loading->lock);
    return NULL;
}

static bool start(struct kg_engine *engine)
{
    struct kg_loading *loading = &engine->loading;
    sigset_t others, before;
    sigfillset(&others); /* signals are the caller's business ... */
    sigdelset(&others, SIGBUS); /* ... but for the one that a file raises that is cut short (engine/gguf/mapping.h) */
    pthread_mutex_init(&loading->lock, NULL);
    pthread_cond_init(&loading->changed, NULL);
    pthread_sigmask(SIG_SETMASK, &others, &before);
    loading->started = pthread_create(&loading->thread, NULL, load, engine) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    loading->running = loading->started;
    return loading->started;
}

enum kg_status kg_engine_load(struct kg_engine *engine, bool aside, struct kg_error *err)
{
    if (aside && engine->backend->loads_aside && start(engine))
        return KG_OK;
    return kg_model_take_weights(engine->model, at_once, engine, err);
}

static void wait_and_tell(struct kg_engine *engine)
{
    struct kg_loading *loading = &engine->loading;
    uint64_t told = 0;
    pthread_mutex_lock(&loading->lock);
    while (!loading->ended) {
        const uint64_t done = loading->done, total = loading->total;
        if (told == done) {
            pthread_cond_wait(&loading->changed, &loading->lock);
            continue;
        }
        pthread_mutex_unlock(&loading->lock);
        const bool unwanted = at_once(engine, done, total) || atomic_load(&engine->stop);
        pthread_mutex_lock(&loading->lock);
        loading->unwanted = loading->unwanted || unwanted;
        told = done;
    }
    pthread_mutex_unlock(&loading->lock);
}

enum kg_status kg_engine_loaded(struct kg_engine *engine, struct kg_error *err)
{
    struct kg_loading *loading = &engine->loading;
    if (loading->running) {
        const double since = kg_seconds();
        wait_and_tell(engine);
        pthread_join(loading->thread, NULL);
        loading->running = false;
        engine->load_s += kg_seconds() - since;
    }
    if (loading->started && loading->status != KG_OK)
        *err = loading->err;
    return loading->started ? loading->status : KG_OK;
}

void kg_engine_load_end(struct kg_engine *engine)
{
    struct kg_loading *loading = &engine->loading;
    if (loading->running) {
        pthread_mutex_lock(&loading->lock);
        loading->unwanted = true;
        pthread_mutex_unlock(&loading->lock);
        pthread_join(loading->thread, NULL);
        loading->running = false;
    }
    if (loading->started) {
        pthread_cond_destroy(&loading->changed);
        pthread_mutex_destroy(&loading->lock);
        loading->started = false;
    }
}
