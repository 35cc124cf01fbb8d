#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "engine/context/pool.h"

struct place {
    struct kg_block *block;
    int32_t base;
};

struct kg_sequence {
    struct place *places; /* in the order of their bases */
    size_t count, room;
    uint32_t positions;
};

enum kg_status kg_sequence_create(uint32_t positions, struct kg_sequence **out, struct kg_error *err)
{
    struct kg_sequence *sequence = calloc(1, sizeof *sequence);
    if (!sequence)
        return kg_fail_nomem(err, "setting up a conversation");
    sequence->positions = positions < INT32_MAX ? positions : INT32_MAX;
    *out = sequence;
    return KG_OK;
}

void kg_sequence_free(struct kg_sequence *sequence)
{
    if (!sequence)
        return;
    for (size_t i = 0; i < sequence->count; i++)
        kg_block_release(sequence->places[i].block);
    free(sequence->places);
    free(sequence);
}

/* First position behind a block; 64 bits, as a growing block may have run over its limit. */
static int64_t end_of(const struct place *place)
{
    return (int64_t)place->base + kg_block_tokens(place->block);
}

static enum kg_status full(const struct kg_sequence *sequence, int64_t end, struct kg_error *err)
{
    return kg_fail(err, KG_ERR_FULL,
                   "the context would end at position %lld, but it holds %u; drop files or start a new conversation",
                   (long long)end, sequence->positions);
}

enum kg_status kg_sequence_place(struct kg_sequence *sequence, struct kg_block *block, int32_t base, struct kg_error *err)
{
    struct place place = { block, base };
    if (base < 0)
        return kg_fail(err, KG_ERR_RANGE, "a text cannot stand at position %d", base);
    if (end_of(&place) > sequence->positions)
        return full(sequence, end_of(&place), err);
    size_t at = sequence->count;
    while (at > 0 && sequence->places[at - 1].base > base)
        at--;
    /* two texts may share a base only when the one before is empty */
    if ((at > 0 && end_of(&sequence->places[at - 1]) > base) ||
        (at < sequence->count && end_of(&place) > sequence->places[at].base))
        return kg_fail(err, KG_ERR_RANGE, "a text at positions %d to %lld would lie over another one", base, (long long)end_of(&place));
    if (sequence->count == sequence->room) {
        size_t room = sequence->room + sequence->room / 2 + 16;
        struct place *places = realloc(sequence->places, room * sizeof *places);
        if (!places)
            return kg_fail_nomem(err, "adding a text to the conversation");
        sequence->places = places;
        sequence->room = room;
    }
    memmove(&sequence->places[at + 1], &sequence->places[at], (sequence->count - at) * sizeof place);
    sequence->places[at] = (struct place){ kg_block_keep(block), base };
    sequence->count++;
    return KG_OK;
}

enum kg_status kg_sequence_append(struct kg_sequence *sequence, struct kg_block *block, struct kg_error *err)
{
    int64_t end = sequence->count ? end_of(&sequence->places[sequence->count - 1]) : 0;
    if (end > sequence->positions)
        return full(sequence, end + kg_block_tokens(block), err);
    return kg_sequence_place(sequence, block, (int32_t)end, err);
}

void kg_sequence_remove(struct kg_sequence *sequence, size_t index)
{
    assert(index < sequence->count);
    kg_block_release(sequence->places[index].block);
    sequence->count--;
    memmove(&sequence->places[index], &sequence->places[index + 1], (sequence->count - index) * sizeof *sequence->places);
}

size_t kg_sequence_count(const struct kg_sequence *sequence)
{
    return sequence->count;
}

struct kg_block *kg_sequence_block(const struct kg_sequence *sequence, size_t index)
{
    assert(index < sequence->count);
    return sequence->places[index].block;
}

int32_t kg_sequence_base(const struct kg_sequence *sequence, size_t index)
{
    assert(index < sequence->count);
    return sequence->places[index].base;
}

int32_t kg_sequence_end(const struct kg_sequence *sequence)
{
    int64_t end = sequence->count ? end_of(&sequence->places[sequence->count - 1]) : 0;
    return end < INT32_MAX ? (int32_t)end : INT32_MAX;
}

uint32_t kg_sequence_tokens(const struct kg_sequence *sequence)
{
    uint32_t tokens = 0;
    for (size_t i = 0; i < sequence->count; i++)
        tokens += kg_block_tokens(sequence->places[i].block);
    return tokens;
}

static struct kg_span span_of(const struct place *place, uint32_t tokens)
{
    return (struct kg_span){ .pages = kg_block_pages(place->block), .tokens = tokens, .base = place->base,
                             .local = kg_block_local(place->block) };
}

/* The last token of a batch that starts at `first`. All but the last batch end at the end of a page, so that a page
 * is stored once and not for every batch that touches it. */
static uint32_t batch_end(uint32_t first, uint32_t upto, uint32_t batch)
{
    if (upto - first <= batch)
        return upto;
    uint32_t end = first + batch;
    return end - end % KG_PAGE > first ? end - end % KG_PAGE : end;
}

/* A reading on its way through its block. */
struct run {
    const struct kg_reading *reading;
    const struct place *place;
    struct kg_span *spans; /* of the `seen` blocks before it, and room for its own */
    uint32_t seen;
    uint32_t tokens;       /* in those blocks */
    float *scores;         /* (rows of a batch, vocabulary), when there is someone to take them */
    int32_t *listed;       /* numbers of the line anchors among the tokens seen, when they are looked at */
    uint32_t listed_count, listed_upto; /* of the block's own tokens those before listed_upto were asked */
};

static void list_anchors(struct run *run, const struct kg_block *block, uint32_t first_number, uint32_t from, uint32_t upto)
{
    const int32_t *ids = kg_block_ids(block);
    for (uint32_t t = from; t < upto; t++)
        if (run->reading->anchors[ids[t]])
            run->listed[run->listed_count++] = (int32_t)(first_number + t);
}

static enum kg_status give_scores(const struct run *run, uint32_t from, uint32_t end, struct kg_error *err)
{
    const struct kg_reading *reading = run->reading;
    size_t row = kg_model_shape(reading->model)->vocabulary;
    enum kg_status status = KG_OK;
    for (uint32_t t = from; t < end && status == KG_OK; t++)
        status = reading->scored(reading->ctx, t, run->scores + (t - from) * row, err);
    return status;
}

static uint32_t last_of(const struct kg_reading *reading)
{
    return reading->last ? reading->last : 1;
}

/* `asked`: for the logits of its last tokens. */
static enum kg_status read_batch(struct run *run, uint32_t first, uint32_t end, bool asked, float *logits, struct kg_error *err)
{
    const struct kg_reading *reading = run->reading;
    const struct place *place = run->place;
    struct kg_block *block = place->block;
    uint32_t ready = kg_block_ready(block), scored = asked ? end - last_of(reading) : end;
    enum kg_status status = kg_block_reserve(block, end, err);
    if (status != KG_OK)
        return status;
    if (reading->scored)
        scored = reading->scored_from < first ? first : reading->scored_from < end ? reading->scored_from : end;
    if (run->listed)
        list_anchors(run, block, run->tokens, run->listed_upto, end);
    if (run->listed_count > KG_RECALL_MAX)
        return kg_fail(err, KG_ERR_RANGE, "%u line ends are too many to be looked at (%d can be); use --policy recall, or drop files", run->listed_count,
                       KG_RECALL_MAX);
    run->listed_upto = end;
    run->spans[run->seen] = span_of(place, end);
    struct kg_pass pass = {
        .ids = kg_block_ids(block) + first,
        .rows = end - first,
        .first = first,
        .local = kg_block_local(block),
        .position = place->base + (int32_t)first,
        .pages = kg_block_pages(block),
        .spans = run->spans,
        .span_count = run->seen + 1,
        .logits_from = scored - first,
        .stop = reading->stop,
        .closes = end == kg_block_tokens(block),
        .look = reading->look,
        .listed = run->listed,
        .listed_count = run->listed_count,
        .best = asked ? reading->best : NULL,
    };
    kg_pool_enter(reading->pool);
    status = kg_model_forward(reading->model, kg_pool_kv(reading->pool), &pass, reading->scored ? run->scores : asked ? logits : NULL, err);
    kg_pool_leave(reading->pool);
    /* a pass that failed may have written some layers of its tokens: they are ready no longer */
    kg_block_set_ready(block, status != KG_OK ? first : end > ready ? end : ready);
    return status == KG_OK && reading->scored ? give_scores(run, scored, end, err) : status;
}

static enum kg_status check_reading(const struct kg_sequence *sequence, size_t index, uint32_t first, uint32_t upto,
                                    const struct kg_reading *reading, struct kg_error *err)
{
    const struct place *place = &sequence->places[index];
    const struct kg_model_shape *shape = kg_model_shape(reading->model);
    int32_t local = kg_block_local(place->block);
    int64_t end = (int64_t)(place->base > local ? place->base : local) + upto;
    const int32_t *ids = kg_block_ids(place->block);
    if (end > sequence->positions)
        return full(sequence, end, err);
    if (end > shape->trained_length)
        return kg_fail(err, KG_ERR_FULL, "the context would end at position %lld, but %s was trained for %u; drop files",
                       (long long)end, shape->name, shape->trained_length);
    if (index + 1 < sequence->count && place->base + (int64_t)upto > sequence->places[index + 1].base)
        return kg_fail(err, KG_ERR_RANGE, "a text that grew to %u tokens would lie over the one behind it", upto);
    for (uint32_t t = first; t < upto; t++)
        if (ids[t] < 0 || (uint32_t)ids[t] >= shape->vocabulary)
            return kg_fail(err, KG_ERR_RANGE, "token id %d is not in the vocabulary of %s; was it made by another model?", ids[t],
                           shape->name);
    return KG_OK;
}

static uint32_t batch_rows(const struct kg_reading *reading)
{
    return reading->batch && reading->batch < KG_ROWS_MAX ? reading->batch : KG_ROWS_MAX;
}

static enum kg_status read_batches(struct run *run, uint32_t first, uint32_t upto, bool asked, float *logits, struct kg_error *err)
{
    const struct kg_reading *reading = run->reading;
    for (run->listed_upto = 0; first < upto;) {
        uint32_t end = batch_end(first, upto, batch_rows(reading));
        enum kg_status status = read_batch(run, first, end, asked && end == upto, logits, err);
        if (status == KG_OK && reading->after_batch)
            status = reading->after_batch(reading->ctx, run->place->block, err);
        if (status != KG_OK)
            return status;
        first = end;
    }
    return KG_OK;
}

/* What stands before the block, and room for what comes of it. */
static enum kg_status prepare(struct run *run, const struct kg_sequence *sequence, size_t index, struct kg_error *err)
{
    const struct kg_reading *reading = run->reading;
    run->spans = malloc((index + 1) * sizeof *run->spans);
    if (reading->scored)
        run->scores = malloc((size_t)batch_rows(reading) * kg_model_shape(reading->model)->vocabulary * sizeof *run->scores);
    if (reading->look && reading->anchors)
        run->listed = malloc(((size_t)kg_sequence_tokens(sequence) + 1) * sizeof *run->listed);
    if (!run->spans || (reading->scored && !run->scores) || (reading->look && reading->anchors && !run->listed))
        return kg_fail_nomem(err, "reading a text");
    for (size_t i = 0; i < index; i++) {
        const struct kg_block *block = sequence->places[i].block;
        uint32_t keys = kg_block_is_thin(block) ? kg_block_held(block) : kg_block_ready(block);
        if (!keys)
            continue;
        run->spans[run->seen++] = span_of(&sequence->places[i], keys);
        if (run->listed && !kg_block_is_thin(block))
            list_anchors(run, block, run->tokens, 0, keys);
        run->tokens += keys;
    }
    return KG_OK;
}

enum kg_status kg_sequence_read(const struct kg_sequence *sequence, size_t index, uint32_t upto,
                                const struct kg_reading *reading, float *logits, struct kg_error *err)
{
    assert(index < sequence->count);
    const struct place *place = &sequence->places[index];
    const bool asked = logits || reading->best;
    assert(upto <= kg_block_tokens(place->block) && kg_block_pool(place->block) == reading->pool);
    assert(!(asked && reading->scored) && !(logits && reading->best));
    assert(!asked || last_of(reading) <= (upto ? upto : 1));
    uint32_t first = kg_block_ready(place->block), least = asked && upto ? upto - last_of(reading) : upto;
    if (first > least)
        first = least;
    assert(last_of(reading) == 1 || upto - first <= batch_rows(reading));
    enum kg_status status = check_reading(sequence, index, first, upto, reading, err);
    if (status != KG_OK || first == upto)
        return status;
    struct run run = { .reading = reading, .place = place };
    status = prepare(&run, sequence, index, err);
    if (status == KG_OK)
        status = read_batches(&run, first, upto, asked, logits, err);
    free(run.spans);
    free(run.scores);
    free(run.listed);
    return status;
}
