/* Prefill: reads what a session's blocks still lack, by each one's read rule, and keeps it in the cache as it comes. */
#include <stdlib.h>
#include <string.h>

#include "engine/state.h"

/* Rows at a time: small enough that progress moves and that a crash loses little, large enough for full speed. */
#define BATCH 256

void kg_session_save_block(struct kg_session *session, const struct kg_piece *piece)
{
    struct kg_engine *engine = session->engine;
    if (!engine->kv_store || piece->growing || piece->secret || session->sees_secret)
        return;
    struct kg_kv_label label = {
        .model = kg_model_shape(engine->model)->name,
        .kind = kg_block_kind_name(piece->kind),
        .title = piece->label[0] ? piece->label : piece->text,
    };
    struct kg_error unsaved;
    if (kg_kv_store_save(engine->kv_store, piece->block, &label, &unsaved) != KG_OK && !engine->notice[0])
        memcpy(engine->notice, unsaved.text, sizeof engine->notice);
}

struct batch_context {
    struct kg_session *session;
    const struct kg_piece *piece;
    uint32_t ready;
};

static enum kg_status after_batch(void *ctx, struct kg_block *block, struct kg_error *err)
{
    struct batch_context *batch = ctx;
    struct kg_session *session = batch->session;
    uint32_t read = kg_block_ready(block) - batch->ready;
    batch->ready = kg_block_ready(block);
    session->computed_since += read;
    session->reading_done += read;
    kg_engine_progress(session->engine, KG_STAGE_READING, session->reading ? session->reading : batch->piece->label, session->reading_done,
                       session->reading_total);
    kg_session_save_block(session, batch->piece);
    return kg_gguf_intact(session->engine->file, err);
}

/* A sequence of what a block read alone sees: the preamble, and for a later part of a file the parts before it. */
static enum kg_status own_sequence(struct kg_session *session, size_t piece, struct kg_sequence **out, size_t *index, struct kg_error *err)
{
    size_t first = piece;
    while (session->pieces[first].continues)
        first--;
    enum kg_status status = kg_sequence_create(kg_model_shape(session->engine->model)->trained_length, out, err);
    if (status == KG_OK && session->pieces[piece].kind != KG_BLOCK_PREAMBLE)
        status = kg_sequence_append(*out, session->pieces[0].block, err);
    for (size_t i = first; i <= piece && status == KG_OK; i++)
        status = kg_sequence_append(*out, session->pieces[i].block, err);
    if (status == KG_OK)
        *index = kg_sequence_count(*out) - 1;
    return status;
}

enum kg_status kg_session_read(struct kg_session *session, size_t at, float *logits, struct kg_error *err)
{
    struct kg_engine *engine = session->engine;
    struct kg_piece *piece = &session->pieces[at];
    uint32_t tokens = kg_block_tokens(piece->block);
    if (kg_block_ready(piece->block) >= tokens && !logits)
        return KG_OK;
    if (logits && kg_block_ready(piece->block) >= tokens)
        kg_block_set_ready(piece->block, tokens - 1); /* its last token is computed again for its logits */
    struct kg_sequence *own = NULL;
    size_t index = kg_piece_index(session, piece);
    enum kg_status status = KG_OK;
    if (piece->rule == KG_READ_ALONE)
        status = own_sequence(session, at, &own, &index, err);
    struct batch_context batch = { .session = session, .piece = piece, .ready = kg_block_ready(piece->block) };
    struct kg_reading reading = { .model = engine->model, .pool = engine->pool, .stop = &engine->stop, .batch = BATCH,
                                  .after_batch = after_batch, .ctx = &batch };
    double start = kg_seconds();
    if (status == KG_OK)
        status = kg_sequence_read(own ? own : session->sequence, index, tokens, &reading, logits, err);
    session->prefill_since += kg_seconds() - start;
    if (own)
        kg_sequence_free(own);
    return status;
}

enum kg_status kg_session_read_all(struct kg_session *session, struct kg_error *err)
{
    session->reading_done = session->reading_total = 0;
    for (size_t i = 0; i < session->count; i++)
        if (session->pieces[i].block)
            session->reading_total += kg_block_tokens(session->pieces[i].block) - kg_block_ready(session->pieces[i].block);
    enum kg_status status = KG_OK;
    for (size_t i = 0; i < session->count && status == KG_OK; i++)
        if (session->pieces[i].block)
            status = kg_session_read(session, i, NULL, err);
    return status;
}
