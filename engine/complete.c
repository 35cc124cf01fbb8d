#include "engine/complete.h"

#include <stdlib.h>
#include <string.h>

#include "engine/fill.h"

struct completing {
    struct kg_session *session;
    const struct kg_completion *completion;
    struct kg_sampler *sampler;
    float *logits;
    size_t piece;
    uint32_t given; /* tokens of it that are not generated */
    struct kg_utf8_stream stream;
    enum kg_end *end;
};

/* A token that stands for nothing in a text ends it: fill-in-the-middle marks, roles. */
static bool ends_text(const struct kg_engine *engine, int32_t id)
{
    size_t length;
    kg_token_bytes(engine->tokenizer, id, false, &length);
    return length == 0 || kg_token_ends_generation(engine->tokenizer, id);
}

static enum kg_status put_text(struct completing *c, const char *bytes, size_t length, bool flush, bool *enough, struct kg_error *err)
{
    char *out = malloc(3 * (length + 4));
    if (!out)
        return kg_fail_nomem(err, "completing a text");
    size_t n = kg_utf8_push(&c->stream, bytes, length, flush, out);
    if (n && c->completion->text_out && c->completion->text_out(c->completion->ctx, out, n))
        *enough = true;
    free(out);
    return KG_OK;
}

static enum kg_status take_all(void *ctx, struct kg_decoding *decoding, struct kg_error *err)
{
    struct completing *c = ctx;
    const struct kg_engine *engine = c->session->engine;
    const struct kg_block *block = c->session->pieces[c->piece].block;
    const uint32_t most = c->completion->max_tokens ? c->completion->max_tokens : UINT32_MAX;
    bool enough = false;
    for (uint32_t n = 0;; n++) {
        int32_t id;
        enum kg_status status = kg_decoding_sample(decoding, kg_block_ids(block) + c->given, n, &id, err);
        if (status != KG_OK)
            return status;
        *c->end = ends_text(engine, id) ? KG_END_MODEL : n >= most ? KG_END_LENGTH : KG_END_FULL;
        if (*c->end != KG_END_FULL || kg_decoding_room(decoding) == 0)
            return put_text(c, "", 0, true, &enough, err);
        size_t length;
        const char *bytes = kg_token_bytes(engine->tokenizer, id, false, &length);
        status = kg_decoding_take(decoding, id, err);
        if (status == KG_OK)
            status = put_text(c, bytes, length, false, &enough, err);
        if (status == KG_OK && enough)
            *c->end = KG_END_MODEL;
        if (status == KG_OK && !enough)
            status = kg_decoding_read(decoding, most - n - 1, err);
        if (status != KG_OK || enough)
            return status;
    }
}

/* Reads what is not read of everything, the last piece for its logits. */
static enum kg_status read_prompt(struct completing *c, struct kg_error *err)
{
    struct kg_session *session = c->session;
    enum kg_status status = kg_session_settle(session, err);
    session->reading_done = session->reading_total = 0;
    for (size_t i = 0; i < session->count && status == KG_OK; i++)
        if (session->pieces[i].block)
            session->reading_total += kg_block_tokens(session->pieces[i].block) - kg_block_ready(session->pieces[i].block);
    for (size_t i = 0; i < c->piece && status == KG_OK; i++)
        if (session->pieces[i].block)
            status = kg_session_read(session, i, NULL, err);
    if (status == KG_OK)
        status = kg_session_read(session, c->piece, c->logits, err);
    kg_session_count_prompt(session);
    return status;
}

static enum kg_status complete(struct kg_fill *fill, struct completing *c, struct kg_error *err)
{
    struct kg_session *session = c->session;
    session->counts = (struct kg_counts){ .open_s = session->counts.open_s };
    session->computed_since = session->restored_since = 0;
    session->prefill_since = session->restore_since = 0;
    enum kg_status status = kg_fill_place(fill, c->completion, &c->given, err);
    if (status != KG_OK)
        return status;
    c->piece = session->count - 1;
    status = read_prompt(c, err);
    double start = kg_seconds();
    if (status == KG_OK)
        status = kg_decode(session, c->piece, c->sampler, c->logits, take_all, c, err);
    session->counts.decode_s = kg_seconds() - start;
    return status;
}

enum kg_status kg_fill_complete(struct kg_fill *fill, const struct kg_completion *completion, enum kg_end *end, struct kg_counts *counts,
                                struct kg_error *err)
{
    const struct kg_engine *engine = fill->session->engine;
    const struct kg_sampling greedy = kg_sampling_greedy();
    struct completing c = { .session = fill->session, .completion = completion, .end = end };
    enum kg_status status = kg_sampler_create(&greedy, kg_vocabulary(engine->tokenizer), &c.sampler, err);
    c.logits = malloc(kg_model_shape(engine->model)->vocabulary * sizeof *c.logits);
    if (status == KG_OK && !c.logits)
        status = kg_fail_nomem(err, "completing a text");
    if (status == KG_OK)
        status = complete(fill, &c, err);
    if (counts)
        kg_session_counts(fill->session, counts);
    if (status == KG_ERR_CANCELLED) {
        *end = KG_END_STOPPED;
        status = KG_OK;
    }
    if (c.sampler)
        kg_sampler_free(c.sampler);
    free(c.logits);
    return status;
}
