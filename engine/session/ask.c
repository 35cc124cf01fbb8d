/* A question and its answer: the turn is read, the answer generated token by token, both kept. */
#include <stdlib.h>
#include <string.h>

#include "engine/state.h"

/* How often an answer in progress is made durable. */
#define DURABLE_EVERY_S 2.0
/* An answer needs at least this much room to begin. */
#define LEAST_ANSWER 16

struct generating {
    struct kg_session *session;
    const struct kg_question *question;
    struct kg_sampler *sampler;
    float *logits;
    size_t piece; /* of the answer */
    uint32_t opening; /* tokens of it that are not generated */
    struct kg_utf8_stream stream;
    bool thinking;
    double stored_at;
    size_t capacity; /* of the piece's text */
    enum kg_end *end;
};

static enum kg_status add_turn(struct kg_session *session, const struct kg_question *question, struct kg_error *err)
{
    struct kg_ids ids = { 0 };
    enum kg_status status = kg_chat_turn(session->engine->chat, kg_session_role(session), question->text, question->length, &ids, err);
    if (status == KG_OK)
        status = kg_session_make_room(session, ids.count + LEAST_ANSWER, "the question", err);
    struct kg_piece *piece = status == KG_OK ? kg_piece_add(session, KG_BLOCK_TURN, "", question->text, question->length) : NULL;
    if (status == KG_OK && !piece)
        status = kg_fail_nomem(err, "asking a question");
    if (piece) {
        piece->rule = KG_READ_CHAIN;
        status = kg_piece_place(session, session->count - 1, ids.ids, ids.count, -1, NULL, err);
        if (status == KG_OK)
            status = kg_piece_store(session, piece, err);
        if (status != KG_OK)
            kg_session_cut(session, session->count - 1);
    }
    kg_ids_free(&ids);
    return status;
}

static enum kg_status add_answer(struct kg_session *session, uint32_t *opening, struct kg_error *err)
{
    struct kg_ids ids = { 0 };
    enum kg_status status = kg_chat_answer_opening(session->engine->chat, &ids, err);
    struct kg_piece *piece = status == KG_OK ? kg_piece_add(session, KG_BLOCK_ANSWER, "", "", 0) : NULL;
    if (status == KG_OK && !piece)
        status = kg_fail_nomem(err, "answering");
    if (piece) {
        piece->rule = KG_READ_CHAIN;
        piece->partial = piece->growing = true;
        *opening = (uint32_t)ids.count;
        status = kg_piece_place(session, session->count - 1, ids.ids, ids.count, -1, NULL, err);
        if (status == KG_OK)
            status = kg_piece_store(session, piece, err);
        if (status != KG_OK)
            kg_session_cut(session, session->count - 1);
    }
    kg_ids_free(&ids);
    return status;
}

/* Thoughts are shown, but are no part of the answer's text. */
static enum kg_status keep_text(struct generating *g, const char *text, size_t length, struct kg_error *err)
{
    struct kg_piece *piece = &g->session->pieces[g->piece];
    if (piece->length + length + 1 > g->capacity) {
        size_t capacity = 2 * (piece->length + length) + 256;
        char *grown = realloc(piece->text, capacity);
        if (!grown)
            return kg_fail_nomem(err, "keeping an answer");
        piece->text = grown;
        g->capacity = capacity;
    }
    memcpy(piece->text + piece->length, text, length);
    piece->length += length;
    piece->text[piece->length] = '\0';
    return KG_OK;
}

static enum kg_status put_text(struct generating *g, const char *bytes, size_t length, bool flush, struct kg_error *err)
{
    char *out = malloc(3 * (length + 4));
    if (!out)
        return kg_fail_nomem(err, "showing an answer");
    size_t n = kg_utf8_push(&g->stream, bytes, length, flush, out);
    enum kg_status status = n && !g->thinking ? keep_text(g, out, n, err) : KG_OK;
    if (n && g->question->text_out)
        g->question->text_out(g->question->ctx, g->thinking ? KG_TEXT_THOUGHT : KG_TEXT_ANSWER, out, n);
    free(out);
    return status;
}

static enum kg_status put_token(struct generating *g, int32_t id, struct kg_error *err)
{
    const struct kg_special_ids *special = kg_special_ids(g->session->engine->tokenizer);
    if (id == special->think_open || id == special->think_close) {
        enum kg_status status = put_text(g, "", 0, true, err);
        g->thinking = id == special->think_open;
        return status;
    }
    size_t length;
    const char *bytes = kg_token_bytes(g->session->engine->tokenizer, id, false, &length);
    return length ? put_text(g, bytes, length, false, err) : KG_OK;
}

static enum kg_status store_now_and_then(struct generating *g, struct kg_error *err)
{
    double now = kg_seconds();
    if (now - g->stored_at < DURABLE_EVERY_S)
        return KG_OK;
    g->stored_at = now;
    return kg_piece_store(g->session, &g->session->pieces[g->piece], err);
}

static enum kg_status take_all(void *ctx, struct kg_decoding *decoding, struct kg_error *err)
{
    struct generating *g = ctx;
    const struct kg_engine *engine = g->session->engine;
    const struct kg_block *block = g->session->pieces[g->piece].block;
    const uint32_t most = g->question->max_tokens ? g->question->max_tokens : UINT32_MAX;
    for (uint32_t n = 0;; n++) {
        if (n >= most) {
            *g->end = KG_END_LENGTH;
            return KG_OK;
        }
        int32_t id;
        enum kg_status status = kg_decoding_sample(decoding, kg_block_ids(block) + g->opening, decoding->taken - g->opening, &id, err);
        if (status != KG_OK)
            return status;
        if (kg_token_ends_generation(engine->tokenizer, id)) {
            *g->end = KG_END_MODEL;
            return KG_OK;
        }
        if (kg_decoding_room(decoding) == 0) {
            *g->end = KG_END_FULL;
            return KG_OK;
        }
        status = kg_decoding_take(decoding, id, err);
        if (status == KG_OK)
            status = put_token(g, id, err);
        if (status == KG_OK && kg_decoding_settled(decoding))
            status = store_now_and_then(g, err);
        if (status == KG_OK && n + 1 < most)
            status = kg_decoding_read(decoding, most - n - 1, err);
        if (status != KG_OK)
            return status;
    }
}

/* The answer is complete as it stands: named by all that it saw and says, stored in both stores. */
static enum kg_status finish_answer(struct generating *g, enum kg_end end, struct kg_error *err)
{
    struct kg_session *session = g->session;
    struct kg_piece *piece = &session->pieces[g->piece];
    enum kg_status status = put_text(g, "", 0, true, err);
    piece->partial = end == KG_END_STOPPED;
    piece->growing = false;
    piece->identity = kg_piece_identity(session, g->piece, piece->base, kg_block_ids(piece->block), kg_block_tokens(piece->block));
    struct kg_digest name = kg_block_name(session->engine, &piece->identity);
    kg_block_set_key(piece->block, &name);
    kg_session_save_block(session, piece);
    enum kg_status stored = kg_piece_store(session, piece, err);
    return status == KG_OK ? stored : status;
}

void kg_session_count_prompt(struct kg_session *session)
{
    struct kg_counts *counts = &session->counts;
    counts->prompt_tokens = kg_sequence_tokens(session->sequence);
    counts->computed_tokens = session->computed_since < counts->prompt_tokens ? session->computed_since : counts->prompt_tokens;
    counts->reused_tokens = counts->prompt_tokens - counts->computed_tokens;
    counts->restored_bytes = session->restored_since;
    counts->prefill_s = session->prefill_since;
    counts->restore_s = session->restore_since;
    session->computed_since = session->restored_since = 0;
    session->prefill_since = session->restore_since = 0;
}

static enum kg_status answer(struct generating *g, struct kg_error *err)
{
    struct kg_session *session = g->session;
    enum kg_status status = kg_session_settle(session, err);
    if (status == KG_OK)
        status = kg_session_read_all(session, err);
    if (status == KG_OK)
        status = add_answer(session, &g->opening, err);
    if (status != KG_OK)
        return status;
    g->piece = session->count - 1;
    g->stored_at = kg_seconds();
    status = kg_session_read(session, g->piece, g->logits, err);
    kg_session_count_prompt(session);
    double start = kg_seconds();
    if (status == KG_OK)
        status = kg_decode(session, g->piece, g->sampler, g->logits, take_all, g, err);
    session->counts.decode_s += kg_seconds() - start;
    if (status == KG_ERR_CANCELLED)
        *g->end = KG_END_STOPPED;
    struct kg_error unfinished;
    enum kg_status finished = finish_answer(g, status == KG_OK ? *g->end : KG_END_STOPPED, status == KG_OK ? err : &unfinished);
    return status == KG_OK ? finished : status;
}

enum kg_status kg_session_ask(struct kg_session *session, const struct kg_question *question, enum kg_end *end, struct kg_error *err)
{
    uint32_t vocabulary = kg_vocabulary(session->engine->tokenizer);
    struct generating g = { .session = session, .question = question, .end = end };
    session->counts.decode_s = 0;
    session->counts.decode_tokens = session->counts.draft_tokens = session->counts.draft_hits = 0;
    session->reading = "the question";
    enum kg_status status = kg_sampler_create(&question->sampling, vocabulary, &g.sampler, err);
    g.logits = malloc(kg_model_shape(session->engine->model)->vocabulary * sizeof *g.logits);
    if (status == KG_OK && !g.logits)
        status = kg_fail_nomem(err, "answering");
    if (status == KG_OK)
        status = add_turn(session, question, err);
    if (status == KG_OK)
        status = answer(&g, err);
    session->reading = NULL;
    if (status == KG_ERR_CANCELLED) {
        *end = KG_END_STOPPED;
        status = KG_OK;
    }
    if (g.sampler)
        kg_sampler_free(g.sampler);
    free(g.logits);
    return status;
}
