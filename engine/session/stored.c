/* The copy of a conversation's pieces in sessions.db: what stands here and what is stored there never part for good. */
#include <stdlib.h>
#include <string.h>

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

static int again_rule(const struct kg_piece *piece)
{
    return -(int)(1 + (KG_AGAIN_PAGE << 1 | piece->kept_linked));
}

/* Or was, when it was resumed, and is in its first reading since: answers behind it may have seen it so. */
static bool is_read_again(const struct kg_piece *piece)
{
    const bool apart = piece->rule == KG_READ_LINKED || piece->rule == KG_READ_ALONE;
    return piece->rule == KG_READ_AGAIN || (apart && kg_is_named(&piece->lost) && memcmp(&piece->identity, &piece->kept_of, sizeof piece->identity) == 0);
}

static enum kg_status store(struct kg_session *session, struct kg_piece *piece, struct kg_error *err)
{
    if (piece->secret)
        return KG_OK;
    const bool kept = piece->rule == KG_READ_KEPT, again = is_read_again(piece);
    struct kg_stored_part part = {
        .id = piece->stored_id,
        .kind = (int)piece->kind,
        .label = piece->label,
        .text = piece->text,
        .text_length = piece->length,
        .base = piece->base,
        .identity = kept || again ? piece->kept_of : piece->identity,
        .read_rule = kept ? kept_rule(piece) : again ? again_rule(piece) : kg_piece_stored_rule(session, piece->rule),
        .dropped = piece->gave_way ? 1 + (int)piece->gave_way : piece->dropped,
        .ids = piece->ids,
        .id_count = piece->ids ? piece->id_count : 0,
        .partial = piece->partial,
    };
    if (piece->block && !piece->dropped) {
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
    session->touched = true;
    if (session->behind)
        return session->together ? KG_OK : catch_up(session, err);
    enum kg_status status = store(session, piece, err);
    session->behind = status != KG_OK;
    return session->together ? KG_OK : status;
}

/* What was there before the change stands as it stood. */
static void undo(struct kg_session *session, const struct kg_change *change, size_t before)
{
    kg_session_cut(session, before);
    session->together = true;
    if (change->undo)
        change->undo(change->ctx, session);
    session->together = false;
}

/* Into the transaction that is open, or, where something of it could not be stored, all at once behind it. */
static enum kg_status store_change(struct kg_session *session, bool made, size_t before, struct kg_error *err)
{
    if (!made && !session->touched && !session->behind) { /* refused before anything was stored */
        (void)kg_session_store_end(session->engine->session_store, false, NULL);
        return KG_OK;
    }
    const bool good = made && !session->behind;
    const enum kg_status ended = kg_session_store_end(session->engine->session_store, good, good ? err : NULL);
    if (good && ended == KG_OK)
        return KG_OK;
    for (size_t i = before; i < session->count; i++)
        session->pieces[i].stored_id = 0;
    return catch_up(session, err);
}

enum kg_status kg_session_together(struct kg_session *session, const struct kg_change *change, struct kg_error *err)
{
    if (session->together)
        return change->make(change->ctx, session, err);
    const size_t before = session->count;
    struct kg_error lost;
    enum kg_status status = kg_session_catch_up(session, err);
    if (status == KG_OK && session->stored_id)
        status = kg_session_store_begin(session->engine->session_store, err);
    if (status != KG_OK)
        return status;
    session->together = true;
    session->touched = false;
    status = change->make(change->ctx, session, err);
    session->together = false;
    const bool made = status == KG_OK;
    if (!made)
        undo(session, change, before);
    if (!session->stored_id)
        return status;
    const enum kg_status stored = store_change(session, made, before, made ? err : &lost);
    if (made && stored != KG_OK)
        undo(session, change, before);
    return made ? stored : status;
}

struct dropping {
    size_t first, end;
    bool *leaves; /* of each of them */
};

static enum kg_status mark_dropped(void *ctx, struct kg_session *session, struct kg_error *err)
{
    const struct dropping *dropping = ctx;
    enum kg_status status = KG_OK;
    for (size_t i = dropping->first; i < dropping->end && status == KG_OK; i++) {
        if (!dropping->leaves[i - dropping->first])
            continue;
        session->pieces[i].dropped = true;
        status = kg_piece_store(session, &session->pieces[i], err);
    }
    return status;
}

static void unmark_dropped(void *ctx, struct kg_session *session)
{
    const struct dropping *dropping = ctx;
    for (size_t i = dropping->first; i < dropping->end; i++)
        if (dropping->leaves[i - dropping->first])
            session->pieces[i].dropped = false;
}

enum kg_status kg_session_drop(struct kg_session *session, size_t first, size_t end, bool (*wanted)(const struct kg_piece *), struct kg_error *err)
{
    struct dropping dropping = { .first = first, .end = end, .leaves = calloc(end - first + 1, sizeof(bool)) };
    if (!dropping.leaves)
        return kg_fail_nomem(err, "dropping a part of a conversation");
    for (size_t i = first; i < end; i++)
        dropping.leaves[i - first] = !session->pieces[i].dropped && (!wanted || wanted(&session->pieces[i]));
    enum kg_status status = kg_session_together(session, &(struct kg_change){ .make = mark_dropped, .undo = unmark_dropped, .ctx = &dropping }, err);
    for (size_t i = first; i < end && status == KG_OK; i++) {
        if (!dropping.leaves[i - first])
            continue;
        kg_again_supersede(session, &session->pieces[i]);
        kg_piece_drop(session, &session->pieces[i]);
    }
    free(dropping.leaves);
    struct kg_error later;
    if (status == KG_OK)
        (void)kg_again_check(session, &later); /* they are dropped; what fails is tried again before anything is read */
    return status;
}
