/* Prefill: reads what a session's blocks still lack, by each one's read rule, and keeps it in the cache as it comes. */
#include <stdlib.h>
#include <string.h>

#include "engine/state.h"

void kg_session_save_block(struct kg_session *session, const struct kg_piece *piece)
{
    struct kg_engine *engine = session->engine;
    if (!engine->kv_store || piece->growing || piece->secret || session->sees_secret)
        return;
    const struct kg_piece *first = piece; /* of the file; what it includes is a piece by itself */
    while (first->continues)
        first--;
    struct kg_kv_label label = {
        .text = piece->kind == KG_BLOCK_FILE ? &first->content : NULL,
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
    session->computed_ever += read;
    session->reading_done += read;
    kg_engine_progress(session->engine, KG_STAGE_READING, session->reading ? session->reading : batch->piece->label, session->reading_done,
                       session->reading_total);
    kg_session_save_block(session, batch->piece);
    return kg_gguf_intact(session->engine->file, err);
}

struct kg_reading kg_session_reading(struct kg_session *session, enum kg_read_rule rule, struct kg_look *look)
{
    struct kg_engine *engine = session->engine;
    uint32_t preamble = kg_block_tokens(session->pieces[0].block);
    return (struct kg_reading){ .model = engine->model, .pool = engine->pool, .stop = &engine->stop,
                                .look = kg_rules_look(&session->rules, rule, preamble, look) ? look : NULL,
                                .anchors = kg_rules_anchors(&session->rules, rule) ? engine->anchors : NULL };
}

/* What a piece sees that is not read as a part of the chain: the preamble, what the file includes, the file's parts before it. */
static enum kg_status own_sequence(struct kg_session *session, size_t at, struct kg_sequence **out, size_t *index, struct kg_error *err)
{
    const struct kg_piece *piece = &session->pieces[at];
    size_t first = at;
    while (session->pieces[first].continues)
        first--;
    enum kg_status status = kg_sequence_create(kg_model_shape(session->engine->model)->trained_length, out, err);
    if (status == KG_OK && piece->kind != KG_BLOCK_PREAMBLE)
        status = kg_sequence_append(*out, session->pieces[0].block, err);
    for (size_t i = 0; i < piece->included_count && status == KG_OK; i++)
        status = kg_sequence_append(*out, piece->included[i].block, err);
    for (size_t i = first; i <= at && status == KG_OK; i++)
        status = kg_sequence_append(*out, session->pieces[i].block, err);
    if (status == KG_OK)
        *index = kg_sequence_count(*out) - 1;
    return status;
}

/* Of a file that is looked at through its line anchors the rest is dropped, once it is read. */
static enum kg_status thin(struct kg_session *session, const struct kg_piece *piece, struct kg_error *err)
{
    if (piece->rule != KG_READ_ANCHORS || kg_block_is_thin(piece->block) || kg_block_ready(piece->block) < kg_block_tokens(piece->block))
        return KG_OK;
    enum kg_status status = kg_block_thin(piece->block, err);
    if (status == KG_OK)
        kg_session_save_block(session, piece);
    return status;
}

enum kg_status kg_session_read_block(struct kg_session *session, const struct kg_piece *piece, struct kg_sequence *sequence, size_t index,
                                     float *logits, struct kg_error *err)
{
    struct kg_look look;
    struct batch_context batch = { .session = session, .piece = piece, .ready = kg_block_ready(piece->block) };
    struct kg_reading reading = kg_session_reading(session, piece->rule, &look);
    reading.batch = KG_READING_BATCH;
    reading.after_batch = after_batch;
    reading.ctx = &batch;
    double start = kg_seconds();
    enum kg_status status = kg_sequence_read(sequence, index, kg_block_tokens(piece->block), &reading, logits, err);
    if (status == KG_OK)
        status = thin(session, piece, err);
    session->prefill_since += kg_seconds() - start;
    return status;
}

/* What stands before a block that is not read to its end may have changed since it was placed: then it is another reading, and
 * what is there of it saw something else. */
static enum kg_status name_anew(struct kg_session *session, size_t at, struct kg_error *err)
{
    struct kg_piece *piece = &session->pieces[at];
    struct kg_digest now = kg_piece_identity(session, at, piece->base, kg_block_ids(piece->block), kg_block_tokens(piece->block));
    if (piece->growing || memcmp(&now, &piece->identity, sizeof now) == 0)
        return KG_OK;
    struct kg_digest name = kg_block_name(session->engine, &now);
    kg_block_set_ready(piece->block, 0);
    kg_block_set_key(piece->block, &name);
    piece->identity = now;
    return kg_piece_store(session, piece, err);
}

static enum kg_status read_chain(struct kg_session *session, size_t at, float *logits, struct kg_error *err)
{
    const struct kg_piece *piece = &session->pieces[at];
    enum kg_status status = name_anew(session, at, err);
    return status == KG_OK ? kg_session_read_block(session, piece, session->sequence, kg_piece_index(session, piece), logits, err) : status;
}

/* What a part of a file is read behind is the first reading of those before it. */
static enum kg_status place_first_readings(struct kg_session *session, size_t at, struct kg_error *err)
{
    enum kg_status status = KG_OK;
    size_t i = at;
    while (session->pieces[i].continues)
        i--;
    for (; i < at && status == KG_OK; i++) {
        struct kg_piece *piece = &session->pieces[i];
        if (piece->rule != KG_READ_AGAIN)
            continue;
        status = kg_piece_place_clean(session, i, err);
        if (status == KG_OK && kg_block_ready(piece->block) < kg_block_tokens(piece->block) && piece->rule == KG_READ_LINKED)
            status = kg_piece_place_alone(session, i, err);
        if (status == KG_OK)
            status = kg_piece_store(session, piece, err);
        if (status != KG_OK)
            return status;
        session->reading_total += kg_block_tokens(piece->block) - kg_block_ready(piece->block);
        status = kg_session_read(session, i, NULL, err);
    }
    return status;
}

/* What the file includes comes first, whoever left it unread. */
static enum kg_status read_apart(struct kg_session *session, size_t at, float *logits, struct kg_error *err)
{
    struct kg_piece *piece = &session->pieces[at];
    struct kg_sequence *own = NULL;
    size_t index = 0;
    enum kg_status status = place_first_readings(session, at, err);
    if (status == KG_OK && piece->continues && piece->rule == KG_READ_ALONE) /* those before it may be other readings by now */
        status = name_anew(session, at, err);
    if (status == KG_OK && piece->included_count)
        status = kg_included_read(session, piece, err);
    if (status == KG_OK)
        status = own_sequence(session, at, &own, &index, err);
    if (status == KG_OK)
        status = kg_session_read_block(session, piece, own, index, logits, err);
    kg_sequence_free(own);
    if (status == KG_OK)
        kg_piece_forget_included(piece);
    return status;
}

enum kg_status kg_session_read(struct kg_session *session, size_t at, float *logits, struct kg_error *err)
{
    struct kg_piece *piece = &session->pieces[at];
    uint32_t tokens = kg_block_tokens(piece->block);
    if (kg_block_known(piece->block) >= tokens && !logits) {
        kg_piece_forget_included(piece);
        return thin(session, piece, err); /* which failed when it was read, perhaps */
    }
    if (logits && kg_block_ready(piece->block) >= tokens)
        kg_block_set_ready(piece->block, tokens - 1); /* its last token is computed again for its logits */
    return piece->rule == KG_READ_CHAIN ? read_chain(session, at, logits, err) : read_apart(session, at, logits, err);
}

/* Tokens that have to be read, as far as the cache keeps its promises. */
static uint64_t unknown(const struct kg_session *session)
{
    uint64_t tokens = 0;
    for (size_t i = 0; i < session->count; i++)
        if (session->pieces[i].block)
            tokens += kg_block_tokens(session->pieces[i].block) - kg_block_known(session->pieces[i].block);
    return tokens;
}

enum kg_status kg_session_read_all(struct kg_session *session, struct kg_error *err)
{
    enum kg_status status = kg_again_check(session, err);
    if (status == KG_OK && unknown(session))
        status = kg_session_settle(session, err);
    session->reading_done = 0;
    session->reading_total = status == KG_OK ? unknown(session) : 0;
    for (size_t i = 0; i < session->count && status == KG_OK; i++)
        if (session->pieces[i].block)
            status = kg_session_read(session, i, NULL, err);
    return status;
}
