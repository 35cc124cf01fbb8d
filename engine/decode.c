/* Decoding with drafts: what a draft proposes is read in one batch with the token before it. As long as the ids that are
 * taken are those of the draft, their logits are there already; at the first other one the rest of the draft goes. */
#include <stdlib.h>
#include <string.h>

#include "engine/state.h"

static struct kg_block *block_of(const struct kg_decoding *d)
{
    return d->session->pieces[d->piece].block;
}

static enum kg_status begin_drafts(struct kg_decoding *d, struct kg_error *err)
{
    struct kg_session *session = d->session;
    const struct kg_sequence *sequence = session->sequence;
    const uint32_t limit = kg_model_shape(session->engine->model)->trained_length;
    enum kg_status status = kg_draft_create(limit, &session->engine->drafts, &d->draft, err);
    const size_t own = kg_piece_index(session, &session->pieces[d->piece]);
    for (size_t i = 0; i <= own && status == KG_OK; i++) {
        const struct kg_block *block = kg_sequence_block(sequence, i);
        kg_draft_give(d->draft, kg_block_ids(block), kg_block_tokens(block));
    }
    return status;
}

static enum kg_status begin(struct kg_decoding *d, struct kg_session *session, size_t piece, struct kg_sampler *sampler, const float *logits,
                            struct kg_error *err)
{
    const struct kg_model *model = session->engine->model;
    *d = (struct kg_decoding){ .session = session, .piece = piece, .sampler = sampler, .rows = 1 };
    d->taken = kg_block_tokens(block_of(d));
    d->best.count = kg_model_is_apart(model) ? kg_sampler_needs(sampler) : 0;
    const size_t rows = session->drafts_off ? 1 : KG_DRAFT_MAX + 1, bytes = kg_model_shape(model)->vocabulary * sizeof *d->logits;
    d->logits = malloc(d->best.count ? bytes : rows * bytes);
    d->best.ids = malloc(rows * d->best.count * sizeof *d->best.ids + 1);
    d->best.logits = malloc(rows * d->best.count * sizeof *d->best.logits + 1);
    if (!d->logits || !d->best.ids || !d->best.logits)
        return kg_fail_nomem(err, "generating a text");
    memcpy(d->logits, logits, bytes);
    return session->drafts_off ? KG_OK : begin_drafts(d, err);
}

enum kg_status kg_decoding_sample(struct kg_decoding *d, const int32_t *recent, size_t recent_count, int32_t *id, struct kg_error *err)
{
    const struct kg_engine *engine = d->session->engine;
    const size_t best = (size_t)d->row * d->best.count;
    if (d->begun && d->best.count)
        *id = kg_sample_best(d->sampler, d->best.ids + best, d->best.logits + best, d->best.count, recent, recent_count);
    else
        *id = kg_sample(d->sampler, d->logits + (size_t)d->row * kg_model_shape(engine->model)->vocabulary, recent, recent_count);
    if (*id < 0)
        return kg_fail(err, KG_ERR_FORMAT, "the model computed no finite number; its file %s is damaged, fetch it again", kg_gguf_path(engine->file));
    return KG_OK;
}

enum kg_status kg_decoding_take(struct kg_decoding *d, int32_t id, struct kg_error *err)
{
    struct kg_block *block = block_of(d);
    struct kg_counts *counts = &d->session->counts;
    counts->decode_tokens++;
    if (d->draft)
        kg_draft_add(d->draft, id);
    if (d->row + 1 < d->rows && kg_block_ids(block)[d->taken] == id) {
        counts->draft_hits++;
        d->row++;
        d->taken++;
        return KG_OK;
    }
    kg_block_cut(block, d->taken);
    d->row = d->rows = 0;
    enum kg_status status = kg_block_extend(block, id, err);
    d->taken = kg_block_tokens(block);
    return status;
}

bool kg_decoding_settled(const struct kg_decoding *d)
{
    return d->row + 1 >= d->rows;
}

uint32_t kg_decoding_room(const struct kg_decoding *d)
{
    const uint32_t end = (uint32_t)d->session->pieces[d->piece].base + d->taken, limit = kg_model_shape(d->session->engine->model)->trained_length;
    return end < limit ? limit - end : 0;
}

static enum kg_status read_rows(struct kg_decoding *d, uint32_t rows, struct kg_error *err)
{
    struct kg_session *session = d->session;
    const struct kg_piece *piece = &session->pieces[d->piece];
    struct kg_look look;
    struct kg_reading reading = kg_session_reading(session, piece->rule, &look);
    reading.last = rows;
    reading.best = d->best.count ? &d->best : NULL;
    const double start = kg_seconds();
    enum kg_status status = kg_sequence_read(session->sequence, kg_piece_index(session, piece), d->taken + rows - 1, &reading, reading.best ? NULL : d->logits, err);
    d->begun = true;
    if (status == KG_OK && d->draft)
        kg_draft_took(d->draft, rows, kg_seconds() - start);
    return status == KG_OK ? kg_gguf_intact(session->engine->file, err) : status;
}

enum kg_status kg_decoding_read(struct kg_decoding *d, uint32_t most, struct kg_error *err)
{
    if (d->row < d->rows)
        return KG_OK;
    struct kg_block *block = block_of(d);
    int32_t ids[KG_DRAFT_MAX];
    const uint32_t room = kg_decoding_room(d), fits = room < most ? room : most;
    const uint32_t n = d->draft && fits > 1 ? kg_draft_propose(d->draft, ids, fits - 1) : 0;
    enum kg_status status = KG_OK;
    for (uint32_t i = 0; i < n && status == KG_OK; i++)
        status = kg_block_extend(block, ids[i], err);
    if (status == KG_OK)
        status = read_rows(d, n + 1, err);
    if (status != KG_OK) {
        kg_block_cut(block, d->taken);
        return status;
    }
    d->session->counts.draft_tokens += n;
    d->row = 0;
    d->rows = n + 1;
    return KG_OK;
}

enum kg_status kg_decode(struct kg_session *session, size_t piece, struct kg_sampler *sampler, const float *logits,
                         enum kg_status (*take)(void *ctx, struct kg_decoding *, struct kg_error *), void *ctx, struct kg_error *err)
{
    struct kg_decoding d;
    enum kg_status status = begin(&d, session, piece, sampler, logits, err);
    if (status == KG_OK)
        status = take(ctx, &d, err);
    kg_block_cut(block_of(&d), d.taken);
    kg_draft_free(d.draft);
    free(d.logits);
    free(d.best.ids);
    free(d.best.logits);
    return status;
}
