/* A context as each rule reads it; what two rules read alike is read once. */
#include <stdlib.h>
#include <string.h>

#include "engine/eval/cbr_parts.h"

/* Rows at a time: logits of each are kept where they are scored. */
#define BATCH        256
#define SCORED_BATCH 64

/* Blocks of the pieces, each in sight of the preamble alone, inside it through `look`. */
struct apart {
    struct kg_block **blocks; /* NULL: not read yet */
    uint32_t window;          /* of read anchors */
};

struct kg_cbr_reader {
    struct kg_engine *engine;
    const struct kg_cbr_text *text;
    struct kg_block *preamble;
    struct apart alone, anchored;
    struct kg_sequence *chain, *own;
    struct kg_sequence *context;  /* the last one of another rule */
    struct kg_cbr_rule read_as;   /* its rule */
    bool *anchors, *none;         /* by token id */
    struct kg_look look;
    uint64_t done, total; /* tokens */
    uint32_t ready;       /* of the block being read */
};

const bool *kg_cbr_reader_anchors(const struct kg_cbr_reader *reader)
{
    return reader->anchors;
}

static enum kg_status after_batch(void *ctx, struct kg_block *block, struct kg_error *err)
{
    struct kg_cbr_reader *reader = ctx;
    reader->done += kg_block_ready(block) - reader->ready;
    reader->ready = kg_block_ready(block);
    if (reader->total < reader->done)
        reader->total = reader->done;
    kg_engine_progress(reader->engine, KG_STAGE_READING, reader->text->sources[reader->text->source_count - 1].path, reader->done, reader->total);
    return kg_gguf_intact(reader->engine->file, err);
}

/* Whom the callbacks of a reading reach. */
struct scoring {
    struct kg_cbr_reader *reader;
    enum kg_status (*scored)(void *ctx, uint32_t token, const float *logits, struct kg_error *err);
    void *ctx;
};

static enum kg_status after_scored_batch(void *ctx, struct kg_block *block, struct kg_error *err)
{
    return after_batch(((struct scoring *)ctx)->reader, block, err);
}

static enum kg_status pass_on(void *ctx, uint32_t token, const float *logits, struct kg_error *err)
{
    const struct scoring *scoring = ctx;
    return scoring->scored(scoring->ctx, token, logits, err);
}

static enum kg_status read_last(struct kg_cbr_reader *reader, struct kg_sequence *sequence, const struct kg_reading *look, struct scoring *scoring,
                                uint32_t scored_from, struct kg_error *err)
{
    size_t last = kg_sequence_count(sequence) - 1;
    struct kg_block *block = kg_sequence_block(sequence, last);
    struct kg_reading reading = { .model = reader->engine->model, .pool = reader->engine->pool, .stop = &reader->engine->stop, .batch = BATCH,
                                  .after_batch = after_batch, .ctx = reader };
    if (look) {
        reading.look = look->look;
        reading.anchors = look->anchors;
    }
    if (scoring) {
        reading.batch = SCORED_BATCH;
        reading.scored = pass_on;
        reading.scored_from = scored_from;
        reading.after_batch = after_scored_batch;
        reading.ctx = scoring;
    }
    reader->ready = kg_block_ready(block);
    return kg_sequence_read(sequence, last, kg_block_tokens(block), &reading, NULL, err);
}

static enum kg_status append(struct kg_cbr_reader *reader, struct kg_sequence *sequence, enum kg_block_kind kind, const int32_t *ids, size_t count,
                             struct kg_error *err)
{
    static const struct kg_digest unnamed;
    struct kg_block *block = NULL;
    enum kg_status status = kg_block_create(reader->engine->pool, kind, &unnamed, (int32_t)kg_block_tokens(reader->preamble), ids, count, &block, err);
    if (status == KG_OK)
        status = kg_sequence_append(sequence, block, err);
    kg_block_release(block);
    return status;
}

enum kg_status kg_cbr_reader_append(struct kg_cbr_reader *reader, struct kg_sequence *sequence, enum kg_block_kind kind, const int32_t *ids,
                                    size_t count, const struct kg_reading *look,
                                    enum kg_status (*scored)(void *ctx, uint32_t token, const float *logits, struct kg_error *err),
                                    uint32_t scored_from, void *ctx, struct kg_error *err)
{
    struct scoring scoring = { reader, scored, ctx };
    enum kg_status status = append(reader, sequence, kind, ids, count, err);
    return status == KG_OK ? read_last(reader, sequence, look, scored ? &scoring : NULL, scored_from, err) : status;
}

/* A sequence with the preamble in it. */
static enum kg_status begin(const struct kg_cbr_reader *reader, struct kg_sequence **out, struct kg_error *err)
{
    enum kg_status status = kg_sequence_create(kg_model_shape(reader->engine->model)->trained_length, out, err);
    return status == KG_OK ? kg_sequence_append(*out, reader->preamble, err) : status;
}

static enum kg_status read_preamble(struct kg_cbr_reader *reader, struct kg_error *err)
{
    static const struct kg_digest unnamed;
    struct kg_sequence *sequence = NULL;
    enum kg_status status = kg_block_create(reader->engine->pool, KG_BLOCK_PREAMBLE, &unnamed, 0, reader->text->preamble.ids,
                                            reader->text->preamble.count, &reader->preamble, err);
    if (status == KG_OK)
        status = begin(reader, &sequence, err);
    if (status == KG_OK)
        status = read_last(reader, sequence, NULL, NULL, 0, err);
    kg_sequence_free(sequence);
    return status;
}

static void forget(struct apart *apart, size_t count)
{
    for (size_t i = 0; apart->blocks && i < count; i++) {
        kg_block_release(apart->blocks[i]);
        apart->blocks[i] = NULL;
    }
}

enum kg_status kg_cbr_reader_create(struct kg_engine *engine, const struct kg_cbr_text *text, struct kg_cbr_reader **out, struct kg_error *err)
{
    const uint32_t vocabulary = kg_model_shape(engine->model)->vocabulary;
    struct kg_cbr_reader *reader = calloc(1, sizeof *reader);
    if (!reader)
        return kg_fail_nomem(err, "reading a context");
    reader->engine = engine;
    reader->text = text;
    reader->alone.blocks = calloc(text->piece_count, sizeof *reader->alone.blocks);
    reader->anchored.blocks = calloc(text->piece_count, sizeof *reader->anchored.blocks);
    reader->none = calloc(vocabulary, sizeof *reader->none);
    if (!reader->alone.blocks || !reader->anchored.blocks || !reader->none) {
        kg_cbr_reader_free(reader);
        return kg_fail_nomem(err, "reading a context");
    }
    enum kg_status status = kg_line_anchors(engine->tokenizer, vocabulary, &reader->anchors, err);
    if (status == KG_OK)
        status = read_preamble(reader, err);
    if (status != KG_OK) {
        kg_cbr_reader_free(reader);
        return status;
    }
    *out = reader;
    return KG_OK;
}

void kg_cbr_reader_free(struct kg_cbr_reader *reader)
{
    if (!reader)
        return;
    kg_sequence_free(reader->chain);
    kg_sequence_free(reader->own);
    kg_sequence_free(reader->context);
    forget(&reader->alone, reader->text->piece_count);
    forget(&reader->anchored, reader->text->piece_count);
    kg_block_release(reader->preamble);
    free(reader->alone.blocks);
    free(reader->anchored.blocks);
    free(reader->anchors);
    free(reader->none);
    free(reader);
}

void kg_cbr_reader_look(struct kg_cbr_reader *reader, enum kg_cbr_look look, uint32_t window, uint32_t k, struct kg_reading *out)
{
    *out = (struct kg_reading){ .look = look == KG_CBR_ALL ? NULL : &reader->look, .anchors = look == KG_CBR_LINES ? reader->anchors : NULL };
    reader->look = (struct kg_look){ .sinks = kg_cbr_sinks(reader->text), .window = window, .k = look == KG_CBR_RECALL ? k : 1 };
}

void kg_cbr_reader_look_window(struct kg_cbr_reader *reader, struct kg_reading *out)
{
    kg_cbr_reader_look(reader, KG_CBR_LINES, KG_CBR_WINDOW, 0, out);
    out->anchors = reader->none;
}

/* Piece i in sight of the preamble, into apart. */
static enum kg_status read_apart(struct kg_cbr_reader *reader, struct apart *apart, size_t i, const struct kg_reading *look, struct kg_error *err)
{
    const struct kg_cbr_piece *piece = &reader->text->pieces[i];
    struct kg_sequence *sequence = NULL;
    if (apart->blocks[i])
        return KG_OK;
    enum kg_status status = begin(reader, &sequence, err);
    if (status == KG_OK)
        status = kg_cbr_reader_append(reader, sequence, piece->kind, piece->ids, piece->count, look, NULL, 0, NULL, err);
    if (status == KG_OK)
        apart->blocks[i] = kg_block_keep(kg_sequence_block(sequence, 1));
    kg_sequence_free(sequence);
    return status;
}

/* Pieces from .. upto-1, each read apart. */
static enum kg_status put_together(struct kg_cbr_reader *reader, struct apart *apart, size_t from, size_t upto, const struct kg_reading *look,
                                   struct kg_sequence *sequence, struct kg_error *err)
{
    enum kg_status status = KG_OK;
    for (size_t i = from; i < upto && status == KG_OK; i++) {
        status = read_apart(reader, apart, i, look, err);
        if (status == KG_OK)
            status = kg_sequence_append(sequence, apart->blocks[i], err);
    }
    return status;
}

static enum kg_status read_chain(struct kg_cbr_reader *reader, struct kg_error *err)
{
    enum kg_status status = begin(reader, &reader->chain, err);
    for (size_t i = 0; i < reader->text->piece_count && status == KG_OK; i++) {
        const struct kg_cbr_piece *piece = &reader->text->pieces[i];
        status = kg_cbr_reader_append(reader, reader->chain, piece->kind, piece->ids, piece->count, NULL, NULL, 0, NULL, err);
    }
    return status;
}

/* The own head is read right behind the other files, as a conversation reads a file that includes them; its heading comes in between later. */
static enum kg_status read_linked(struct kg_cbr_reader *reader, struct kg_error *err)
{
    const size_t last = reader->text->piece_count - 1;
    const struct kg_cbr_piece *piece = &reader->text->pieces[last];
    struct kg_sequence *context = reader->context;
    enum kg_status status = put_together(reader, &reader->alone, 0, last - 1, NULL, context, err);
    if (status == KG_OK)
        status = kg_cbr_reader_append(reader, context, piece->kind, piece->ids, piece->count, NULL, NULL, 0, NULL, err);
    if (status != KG_OK)
        return status;
    struct kg_block *head = kg_block_keep(kg_sequence_block(context, kg_sequence_count(context) - 1));
    kg_sequence_remove(context, kg_sequence_count(context) - 1);
    status = put_together(reader, &reader->alone, last - 1, last, NULL, context, err);
    if (status == KG_OK)
        status = kg_sequence_append(context, head, err);
    kg_block_release(head);
    return status;
}

static enum kg_status read_anchored(struct kg_cbr_reader *reader, const struct kg_cbr_rule *rule, struct kg_error *err)
{
    struct kg_reading look;
    if (reader->anchored.window != rule->window)
        forget(&reader->anchored, reader->text->piece_count);
    reader->anchored.window = rule->window;
    kg_cbr_reader_look(reader, KG_CBR_LINES, rule->window, 0, &look);
    return put_together(reader, &reader->anchored, 0, reader->text->piece_count, &look, reader->context, err);
}

/* Whether a context that was read as `a` serves for `b` as well. */
static bool reads_alike(const struct kg_cbr_rule *a, const struct kg_cbr_rule *b)
{
    return a->read == b->read && (a->read != KG_CBR_ANCHORS || a->window == b->window);
}

enum kg_status kg_cbr_reader_context(struct kg_cbr_reader *reader, const struct kg_cbr_rule *rule, struct kg_sequence **out, struct kg_error *err)
{
    enum kg_status status = KG_OK;
    if (rule->read == KG_CBR_CHAIN) {
        if (!reader->chain)
            status = read_chain(reader, err);
        *out = reader->chain;
        return status;
    }
    if (!reader->context || !reads_alike(&reader->read_as, rule)) {
        kg_sequence_free(reader->context);
        reader->context = NULL;
        reader->read_as = *rule;
        status = begin(reader, &reader->context, err);
        if (status == KG_OK)
            status = rule->read == KG_CBR_LINKED    ? read_linked(reader, err)
                     : rule->read == KG_CBR_ANCHORS ? read_anchored(reader, rule, err)
                                                    : put_together(reader, &reader->alone, 0, reader->text->piece_count, NULL, reader->context, err);
    }
    *out = reader->context;
    return status;
}

enum kg_status kg_cbr_reader_own(struct kg_cbr_reader *reader, struct kg_sequence **out, struct kg_error *err)
{
    enum kg_status status = KG_OK;
    size_t pieces = reader->text->piece_count;
    if (!reader->own) {
        status = begin(reader, &reader->own, err);
        if (status == KG_OK)
            status = put_together(reader, &reader->alone, pieces - 2, pieces, NULL, reader->own, err);
    }
    *out = reader->own;
    return status;
}

static uint64_t tokens_of(const struct kg_cbr_text *text, size_t from, size_t upto)
{
    uint64_t tokens = 0;
    for (size_t i = from; i < upto; i++)
        tokens += text->pieces[i].count;
    return tokens;
}

void kg_cbr_reader_plan(struct kg_cbr_reader *reader, const struct kg_cbr_rule *rules, size_t count)
{
    const struct kg_cbr_text *text = reader->text;
    const size_t pieces = text->piece_count;
    const uint64_t own = tokens_of(text, pieces - 2, pieces), others = tokens_of(text, 0, pieces - 2), head = text->pieces[pieces - 1].count;
    uint64_t target = text->turn.count + text->target.count, questions = 0;
    for (size_t i = 0; i < text->asking_count; i++)
        questions += text->askings[i].ids.count;
    /* chain, own; targets of full, window and own */
    uint64_t total = 2 * own + others + 3 * target + 2 * questions;
    bool apart = false;
    for (size_t i = 0; i < count; i++) {
        const bool again = i == 0 || !reads_alike(&rules[i - 1], &rules[i]);
        if (rules[i].read == KG_CBR_CHAIN && rules[i].look == KG_CBR_ALL)
            continue;
        total += target + questions;
        if (rules[i].read == KG_CBR_ANCHORS && again)
            total += own + others;
        if (rules[i].read == KG_CBR_LINKED && again)
            total += head;
        apart = apart || rules[i].read == KG_CBR_ALONE || rules[i].read == KG_CBR_LINKED;
    }
    reader->done = 0;
    reader->total = total + (apart ? others : 0);
}
