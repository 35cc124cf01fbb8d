#include <stdlib.h>

#include "engine/complete.h"
#include "engine/state.h"

static enum kg_status share_piece(struct kg_session *session, const struct kg_piece *from, struct kg_error *err)
{
    struct kg_piece *piece = kg_piece_add(session, from->kind, from->label, from->text, from->length);
    if (!piece)
        return kg_fail_nomem(err, "starting a session");
    char *label = piece->label, *text = piece->text;
    *piece = *from;
    piece->label = label;
    piece->text = text;
    piece->stored_id = 0;
    piece->ids = NULL;
    piece->included = NULL;
    piece->included_count = 0;
    piece->first = from->block && from->first ? kg_block_keep(from->first) : NULL;
    if (!from->block)
        return KG_OK;
    kg_block_keep(piece->block);
    enum kg_status status = KG_OK;
    if (from->included)
        status = kg_piece_include(piece, &(struct kg_linked){ .blocks = from->included, .count = from->included_count }, err);
    return status == KG_OK ? kg_sequence_place(session->sequence, piece->block, piece->base, err) : status;
}

struct kg_session *kg_session_fork_empty(const struct kg_session *session, struct kg_error *err)
{
    struct kg_session *fork = calloc(1, sizeof *fork);
    if (!fork) {
        kg_fail_nomem(err, "starting a session");
        return NULL;
    }
    fork->engine = session->engine;
    fork->policy = session->policy;
    fork->recall = session->recall;
    fork->rules = session->rules;
    fork->drafts_off = session->drafts_off;
    fork->lock = -1;
    fork->sees_secret = true; /* so that nothing is stored */
    if (kg_sequence_create(kg_model_shape(session->engine->model)->trained_length, &fork->sequence, err) == KG_OK)
        return fork;
    kg_session_close(fork);
    return NULL;
}

enum kg_status kg_session_fork(const struct kg_session *session, struct kg_session **out, struct kg_error *err)
{
    struct kg_session *fork = kg_session_fork_empty(session, err);
    if (!fork)
        return KG_ERR_NOMEM;
    enum kg_status status = KG_OK;
    for (size_t i = 0; i < session->count && session->pieces[i].kind != KG_BLOCK_TURN && status == KG_OK; i++)
        status = share_piece(fork, &session->pieces[i], err);
    if (status != KG_OK) {
        kg_session_close(fork);
        return status;
    }
    *out = fork;
    return KG_OK;
}
