/* The copy of a conversation's pieces in sessions.db: what stands here and what is stored there never part for good. */
#include <stdlib.h>

#include "engine/state.h"

int kg_piece_stored_rule(const struct kg_session *session, enum kg_read_rule rule)
{
    return (int)(kg_rules_code(&session->rules, rule) << 2 | (uint32_t)rule);
}

static int kept_rule(const struct kg_piece *piece)
{
    const uint32_t most = (1U << KG_KEPT_CHANGED_BITS) - 1, changed = piece->kept_changed < most ? piece->kept_changed : most;
    return -(int)(1 + (changed << (1 + KG_KEPT_PAGE_BITS) | (piece->kept_first / KG_PAGE) << 1 | piece->kept_linked));
}

static enum kg_status store(struct kg_session *session, struct kg_piece *piece, struct kg_error *err)
{
    if (piece->secret)
        return KG_OK;
    const bool kept = piece->rule == KG_READ_KEPT;
    struct kg_stored_part part = {
        .id = piece->stored_id,
        .kind = (int)piece->kind,
        .label = piece->label,
        .text = piece->text,
        .text_length = piece->length,
        .base = piece->base,
        .identity = kept ? piece->kept_of : piece->identity,
        .read_rule = kept ? kept_rule(piece) : kg_piece_stored_rule(session, piece->rule),
        .dropped = piece->gave_way ? 1 + (int)piece->gave_way : piece->dropped,
        .ids = piece->ids,
        .id_count = piece->ids ? piece->id_count : 0,
        .partial = piece->partial,
    };
    if (piece->block) {
        part.ids = (int32_t *)kg_block_ids(piece->block); /* only read by the store */
        part.id_count = kg_block_tokens(piece->block);
    }
    if (piece->stored_id)
        return kg_session_store_update(session->engine->session_store, &part, err);
    enum kg_status status = kg_session_store_append(session->engine->session_store, session->stored_id, &part, err);
    if (status == KG_OK) {
        piece->stored_id = part.id;
        piece->said = part.said;
    }
    return status;
}

static enum kg_status store_all(struct kg_session *session, struct kg_error *err)
{
    enum kg_status status = KG_OK;
    for (size_t i = 0; i < session->count && status == KG_OK; i++)
        status = store(session, &session->pieces[i], err);
    return status;
}

/* Everything as it stands here, all of it or nothing. */
static enum kg_status catch_up(struct kg_session *session, struct kg_error *err)
{
    struct kg_session_store *sessions = session->engine->session_store;
    session->behind = true;
    enum kg_status status = kg_session_store_begin(sessions, err);
    if (status != KG_OK)
        return status;
    const size_t count = session->count;
    int64_t *before = malloc((count + 1) * sizeof *before);
    for (size_t i = 0; i < count && before; i++)
        before[i] = session->pieces[i].stored_id;
    status = before ? store_all(session, err) : kg_fail_nomem(err, "storing a conversation");
    enum kg_status ended = kg_session_store_end(sessions, status == KG_OK, status == KG_OK ? err : NULL);
    status = status == KG_OK ? ended : status;
    for (size_t i = 0; i < count && before && status != KG_OK; i++)
        session->pieces[i].stored_id = before[i];
    free(before);
    session->behind = status != KG_OK;
    return status;
}

enum kg_status kg_session_catch_up(struct kg_session *session, struct kg_error *err)
{
    return session->stored_id && session->behind ? catch_up(session, err) : KG_OK;
}

enum kg_status kg_piece_store(struct kg_session *session, struct kg_piece *piece, struct kg_error *err)
{
    if (!session->stored_id)
        return KG_OK;
    if (session->behind && !session->together)
        return catch_up(session, err);
    enum kg_status status = store(session, piece, err);
    session->behind = session->behind || status != KG_OK;
    return status;
}

enum kg_status kg_session_together(struct kg_session *session, enum kg_status (*change)(void *ctx, struct kg_session *session, struct kg_error *err),
                                   void *ctx, struct kg_error *err)
{
    const size_t before = session->count;
    enum kg_status status = kg_session_catch_up(session, err);
    if (status == KG_OK && session->stored_id)
        status = kg_session_store_begin(session->engine->session_store, err);
    if (status != KG_OK)
        return status;
    session->together = true;
    status = change(ctx, session, err);
    session->together = false;
    if (!session->stored_id) {
        if (status != KG_OK)
            kg_session_cut(session, before);
        return status;
    }
    const bool good = status == KG_OK && !session->behind;
    const enum kg_status ended = kg_session_store_end(session->engine->session_store, good, good ? err : NULL);
    if (good && ended == KG_OK)
        return KG_OK;
    for (size_t i = before; i < session->count; i++)
        session->pieces[i].stored_id = 0;
    if (status != KG_OK)
        kg_session_cut(session, before);
    struct kg_error lost;
    const enum kg_status caught_up = catch_up(session, status == KG_OK ? err : &lost);
    if (caught_up != KG_OK)
        kg_session_cut(session, before);
    return status == KG_OK ? caught_up : status;
}
