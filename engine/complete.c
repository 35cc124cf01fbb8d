#include "engine/complete.h"

#include <stdlib.h>
#include <string.h>

#include "engine/state.h"

struct completing {
    struct kg_session *session;
    const struct kg_completion *completion;
    struct kg_sampler *sampler;
    float *logits;
    size_t piece;
    uint32_t given; /* tokens of it that are not generated */
    struct kg_utf8_stream stream;
};

enum kg_status kg_engine_can_fill(const struct kg_engine *engine, struct kg_error *err)
{
    const struct kg_special_ids *special = kg_special_ids(engine->tokenizer);
    if (special->fim_prefix >= 0 && special->fim_suffix >= 0 && special->fim_middle >= 0)
        return KG_OK;
    return kg_fail(err, KG_ERR_UNSUPPORTED, "%s has no tokens for fill-in-the-middle; choose a model that was trained for it, such as Qwen2.5-Coder",
                   kg_model_shape(engine->model)->name);
}

static enum kg_status put_ids(const struct kg_engine *engine, const struct kg_completion *c, struct kg_ids *out, struct kg_error *err)
{
    const struct kg_special_ids *special = kg_special_ids(engine->tokenizer);
    enum kg_status status = c->suffix ? kg_engine_can_fill(engine, err) : KG_OK;
    if (status == KG_OK && c->bare && special->bos >= 0)
        status = kg_ids_push(out, special->bos, err);
    if (status == KG_OK && c->path)
        status = kg_chat_heading(engine->chat, KG_ROLE_SYSTEM, c->path, out, err);
    if (status == KG_OK && c->suffix)
        status = kg_ids_push(out, special->fim_prefix, err);
    if (status == KG_OK)
        status = kg_tokenize(engine->tokenizer, c->prefix, c->prefix_length, false, out, err);
    if (status != KG_OK || !c->suffix)
        return status;
    status = kg_ids_push(out, special->fim_suffix, err);
    if (status == KG_OK)
        status = kg_tokenize(engine->tokenizer, c->suffix, c->suffix_length, false, out, err);
    return status == KG_OK ? kg_ids_push(out, special->fim_middle, err) : status;
}

static enum kg_status place(struct completing *c, struct kg_error *err)
{
    struct kg_ids ids = { 0 };
    enum kg_status status = put_ids(c->session->engine, c->completion, &ids, err);
    if (status == KG_OK && ids.count == 0)
        status = kg_fail(err, KG_ERR_USAGE, "there is nothing to complete; give a prefix");
    if (status == KG_OK)
        status = kg_session_make_room(c->session, ids.count + 1, "the completion", err);
    struct kg_piece *piece = status == KG_OK ? kg_piece_add(c->session, KG_BLOCK_TURN, "", "", 0) : NULL;
    if (status == KG_OK && !piece)
        status = kg_fail_nomem(err, "completing a text");
    if (piece) {
        piece->rule = KG_READ_CHAIN;
        piece->growing = true;
        c->piece = c->session->count - 1;
        c->given = (uint32_t)ids.count;
        status = kg_piece_place(c->session, c->piece, ids.ids, ids.count, -1, NULL, err);
    }
    kg_ids_free(&ids);
    return status;
}

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

static enum kg_status take_all(struct completing *c, struct kg_decoding *decoding, enum kg_end *end, struct kg_error *err)
{
    const struct kg_engine *engine = c->session->engine;
    const struct kg_block *block = c->session->pieces[c->piece].block;
    const uint32_t most = c->completion->max_tokens ? c->completion->max_tokens : UINT32_MAX;
    bool enough = false;
    for (uint32_t n = 0;; n++) {
        int32_t id = kg_sample(c->sampler, kg_decoding_logits(decoding), kg_block_ids(block) + c->given, n);
        if (id < 0)
            return kg_fail(err, KG_ERR_FORMAT, "the model computed no finite number; its file %s is damaged, fetch it again", kg_gguf_path(engine->file));
        *end = ends_text(engine, id) ? KG_END_MODEL : n >= most ? KG_END_LENGTH : KG_END_FULL;
        if (*end != KG_END_FULL || kg_decoding_room(decoding) == 0)
            return put_text(c, "", 0, true, &enough, err);
        size_t length;
        const char *bytes = kg_token_bytes(engine->tokenizer, id, false, &length);
        enum kg_status status = kg_decoding_take(decoding, id, err);
        if (status == KG_OK)
            status = put_text(c, bytes, length, false, &enough, err);
        if (status == KG_OK && enough)
            *end = KG_END_MODEL;
        if (status == KG_OK && !enough)
            status = kg_decoding_read(decoding, most - n - 1, err);
        if (status != KG_OK || enough)
            return status;
    }
}

static enum kg_status generate(struct completing *c, enum kg_end *end, struct kg_error *err)
{
    struct kg_decoding decoding;
    enum kg_status status = kg_decoding_begin(&decoding, c->session, c->piece, err);
    if (status == KG_OK) {
        memcpy(decoding.logits, c->logits, kg_model_shape(c->session->engine->model)->vocabulary * sizeof *c->logits);
        status = take_all(c, &decoding, end, err);
    }
    kg_decoding_end(&decoding);
    return status;
}

static void count(struct kg_session *session, struct kg_counts *counts)
{
    counts->prompt_tokens = kg_sequence_tokens(session->sequence);
    counts->computed_tokens = session->computed_since < counts->prompt_tokens ? session->computed_since : counts->prompt_tokens;
    counts->reused_tokens = counts->prompt_tokens - counts->computed_tokens;
    counts->restored_bytes = session->restored_since;
    counts->prefill_s = session->prefill_since;
}

static enum kg_status complete(struct completing *c, enum kg_end *end, struct kg_error *err)
{
    struct kg_session *session = c->session;
    enum kg_status status = kg_session_read_all(session, err);
    if (status == KG_OK)
        status = place(c, err);
    if (status != KG_OK)
        return status;
    session->reading_done = 0;
    session->reading_total = c->given;
    status = kg_session_read(session, c->piece, c->logits, err);
    count(session, &session->counts);
    double start = kg_seconds();
    if (status == KG_OK)
        status = generate(c, end, err);
    session->counts.decode_s = kg_seconds() - start;
    return status;
}

/* A session that holds nothing but what the completion sees. */
static enum kg_status open_place(const struct kg_session *session, bool bare, struct kg_session **out, struct kg_error *err)
{
    enum kg_status status = kg_session_fork(session, out, err);
    if (status != KG_OK || !bare)
        return status;
    while ((*out)->count) {
        struct kg_piece *piece = &(*out)->pieces[(*out)->count - 1];
        kg_piece_drop(*out, piece);
        kg_piece_clear(piece);
        (*out)->count--;
    }
    (*out)->rules.look = KG_LOOK_ALL; /* without a preamble there are no first tokens that a look could keep in sight */
    return KG_OK;
}

enum kg_status kg_session_complete(const struct kg_session *session, const struct kg_completion *completion, enum kg_end *end,
                                   struct kg_counts *counts, struct kg_error *err)
{
    const struct kg_engine *engine = session->engine;
    const struct kg_sampling greedy = kg_sampling_greedy();
    struct completing c = { .completion = completion };
    enum kg_status status = open_place(session, completion->bare, &c.session, err);
    if (status == KG_OK)
        status = kg_sampler_create(&greedy, kg_vocabulary(engine->tokenizer), &c.sampler, err);
    c.logits = malloc(kg_model_shape(engine->model)->vocabulary * sizeof *c.logits);
    if (status == KG_OK && !c.logits)
        status = kg_fail_nomem(err, "completing a text");
    if (status == KG_OK) {
        c.session->reading = "the completion";
        status = complete(&c, end, err);
        if (counts)
            kg_session_counts(c.session, counts);
    }
    if (status == KG_ERR_CANCELLED) {
        *end = KG_END_STOPPED;
        status = KG_OK;
    }
    if (c.sampler)
        kg_sampler_free(c.sampler);
    free(c.logits);
    kg_session_close(c.session);
    return status;
}
