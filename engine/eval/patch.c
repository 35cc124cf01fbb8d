/* A file read again in part, and what the text behind it makes of that. */
#include "engine/eval/patch.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/eval/cbr_parts.h"

#define BATCH        256
#define SCORED_BATCH 64 /* logits of each row are kept */

/* One file, and what is read of it. */
struct patching {
    struct kg_engine *engine;
    const struct kg_patch_options *options;
    struct kg_ids preamble, heading, before, after;
    uint32_t context; /* tokens of `after` before the target's block, which begins with the last one of the context */
    struct kg_sequence *old, *new;   /* preamble, heading, the text as one */
    int32_t *kept, *kept_definition; /* by page of the old reading */
    uint32_t *starts, start_count;   /* of definitions */
    double *change;                  /* by page of the old reading: how much its values differ from the right ones */
    uint32_t read; /* tokens, for the rule at hand */
    bool *none;    /* no token is a line anchor */
};

const char *kg_patch_read_name(enum kg_patch_read read)
{
    static const char *const names[] = { "whole", "apart", "keep", "definition" };
    return names[read];
}

/* Tokens, of which the context may have `tokens` and the old text as many. */
static enum kg_status tokenise(struct patching *p, const struct kg_patch_text *text, struct kg_error *err)
{
    const struct kg_tokenizer *tokenizer = p->engine->tokenizer;
    struct kg_chat *chat = NULL;
    enum kg_status status = kg_chat_create(p->engine->file, tokenizer, &chat, err);
    if (status == KG_OK)
        status = kg_chat_preamble(chat, &p->preamble, err);
    if (status == KG_OK)
        status = kg_chat_heading(chat, KG_ROLE_SYSTEM, text->path, &p->heading, err);
    if (status == KG_OK)
        status = kg_tokenize(tokenizer, text->before, text->before_length, false, &p->before, err);
    if (status == KG_OK)
        status = kg_tokenize(tokenizer, text->after, text->after_length, false, &p->after, err);
    kg_chat_free(chat);
    if (status != KG_OK)
        return status;
    const size_t left = p->after.count > p->options->target ? p->after.count - p->options->target : 0;
    p->context = (uint32_t)(left < p->options->tokens ? left : p->options->tokens);
    if (p->context < 2 * KG_PAGE)
        return kg_fail(err, KG_ERR_RANGE, "%s has %zu tokens, too few for a target of %u and a context before it", text->path, p->after.count, p->options->target);
    p->context--;
    if (p->before.count > p->options->tokens)
        p->before.count = p->options->tokens;
    return KG_OK;
}

/* A line at the left margin behind an empty one or the end of a definition. */
static bool begins_definition(const char *text, size_t at, size_t length)
{
    if (at < 2 || at >= length || text[at - 1] != '\n' || strchr(" \t\n})]#", text[at]))
        return false;
    return text[at - 2] == '\n' || text[at - 2] == '}';
}

static enum kg_status find_starts(struct patching *p, const char *text, size_t length, struct kg_error *err)
{
    size_t at = 0;
    p->starts = calloc((size_t)p->context + 1, sizeof *p->starts);
    if (!p->starts)
        return kg_fail_nomem(err, "finding definitions");
    p->start_count = 1;
    for (uint32_t t = 0; t < p->context && at < length; t++) {
        size_t bytes, i = 0;
        kg_token_bytes(p->engine->tokenizer, p->after.ids[t], true, &bytes);
        while (i < bytes && !begins_definition(text, at + i, length))
            i++;
        if (i < bytes && t > 0)
            p->starts[p->start_count++] = t;
        at += bytes;
    }
    return KG_OK;
}

static enum kg_status compare(struct patching *p, const struct kg_patch_text *text, struct kg_error *err)
{
    const uint32_t pages = (uint32_t)p->before.count / KG_PAGE;
    p->kept = calloc(pages + 1, sizeof *p->kept);
    p->kept_definition = calloc(pages + 1, sizeof *p->kept_definition);
    p->change = calloc(pages + 1, sizeof *p->change);
    if (!p->kept || !p->kept_definition || !p->change)
        return kg_fail_nomem(err, "comparing two texts");
    if (p->before.ids && p->before.count >= p->context && memcmp(p->before.ids, p->after.ids, p->context * sizeof *p->after.ids) == 0)
        return kg_fail(err, KG_ERR_RANGE, "%s does not change in the first %u tokens, which are context; use more --tokens", text->path, p->context);
    enum kg_status status = find_starts(p, text->after, text->after_length, err);
    if (status == KG_OK)
        status = kg_patch_keep(p->before.ids, (uint32_t)p->before.count, p->after.ids, p->context, NULL, 0, p->kept, err);
    return status == KG_OK ? kg_patch_keep(p->before.ids, (uint32_t)p->before.count, p->after.ids, p->context, p->starts, p->start_count,
                                           p->kept_definition, err)
                           : status;
}

/* A block behind all others, whose keys stand as if it began `local` tokens behind the preamble. */
static enum kg_status append(struct patching *p, struct kg_sequence *sequence, enum kg_block_kind kind, const int32_t *ids, uint32_t count,
                             uint32_t local, struct kg_error *err)
{
    static const struct kg_digest unnamed;
    struct kg_block *block = NULL;
    const int32_t at = kind == KG_BLOCK_PREAMBLE ? 0 : (int32_t)(p->preamble.count + local);
    enum kg_status status = kg_block_create(p->engine->pool, kind, &unnamed, at, ids, count, &block, err);
    if (status == KG_OK)
        status = kg_sequence_append(sequence, block, err);
    kg_block_release(block);
    return status;
}

static enum kg_status read_last(struct patching *p, struct kg_sequence *sequence, struct kg_error *err)
{
    const size_t last = kg_sequence_count(sequence) - 1;
    const struct kg_reading reading = { .model = p->engine->model, .pool = p->engine->pool, .stop = &p->engine->stop, .batch = BATCH };
    return kg_sequence_read(sequence, last, kg_block_tokens(kg_sequence_block(sequence, last)), &reading, NULL, err);
}

static enum kg_status read_text(struct patching *p, struct kg_sequence *sequence, const int32_t *ids, uint32_t count, uint32_t local, struct kg_error *err)
{
    p->read += count;
    enum kg_status status = append(p, sequence, KG_BLOCK_FILE, ids, count, local, err);
    return status == KG_OK ? read_last(p, sequence, err) : status;
}

/* Preamble and heading, those of `from` where there is one. */
static enum kg_status begin(struct patching *p, const struct kg_sequence *from, struct kg_sequence **out, struct kg_error *err)
{
    enum kg_status status = kg_sequence_create(kg_model_shape(p->engine->model)->trained_length, out, err);
    for (size_t i = 0; from && i < 2 && status == KG_OK; i++)
        status = kg_sequence_append(*out, kg_sequence_block(from, i), err);
    if (from || status != KG_OK)
        return status;
    status = append(p, *out, KG_BLOCK_PREAMBLE, p->preamble.ids, (uint32_t)p->preamble.count, 0, err);
    if (status == KG_OK)
        status = read_last(p, *out, err);
    if (status == KG_OK)
        status = append(p, *out, KG_BLOCK_HEADING, p->heading.ids, (uint32_t)p->heading.count, 0, err);
    return status == KG_OK ? read_last(p, *out, err) : status;
}

/* Pages first .. first+pages-1 of the old reading, behind all others. */
static enum kg_status keep_pages(struct patching *p, struct kg_sequence *sequence, uint32_t first, uint32_t pages, struct kg_error *err)
{
    const struct kg_block *old = kg_sequence_block(p->old, 2);
    uint8_t *page = malloc(KG_KV_PAGE_BYTES(kg_pool_shape(p->engine->pool)));
    enum kg_status status = page ? append(p, sequence, KG_BLOCK_FILE, p->before.ids + (size_t)first * KG_PAGE, pages * KG_PAGE, first * KG_PAGE, err)
                                 : kg_fail_nomem(err, "keeping pages");
    struct kg_block *block = status == KG_OK ? kg_sequence_block(sequence, kg_sequence_count(sequence) - 1) : NULL;
    if (status == KG_OK)
        status = kg_block_reserve(block, pages * KG_PAGE, err);
    for (uint32_t i = 0; i < pages && status == KG_OK; i++) {
        status = kg_block_export(old, first + i, page, err);
        if (status == KG_OK)
            kg_block_import(block, i, page);
    }
    if (status == KG_OK)
        kg_block_set_ready(block, pages * KG_PAGE);
    free(page);
    return status;
}

static enum kg_status read_apart(struct patching *p, struct kg_sequence *sequence, const int32_t *ids, uint32_t count, uint32_t local,
                                 struct kg_error *err)
{
    struct kg_sequence *own = NULL;
    enum kg_status status = begin(p, p->old, &own, err);
    if (status == KG_OK)
        status = read_text(p, own, ids, count, local, err);
    if (status == KG_OK)
        status = kg_sequence_append(sequence, kg_sequence_block(own, 2), err);
    kg_sequence_free(own);
    return status;
}

/* The first page that is kept from token `at` on, or `pages`. */
static uint32_t next_kept(const int32_t *kept, uint32_t pages, uint32_t at)
{
    uint32_t page = 0;
    while (page < pages && (kept[page] < 0 || (uint32_t)kept[page] < at))
        page++;
    return page;
}

/* The context, put together from what is kept and what is read. */
static enum kg_status put_together(struct patching *p, enum kg_patch_read read, const int32_t *kept, struct kg_sequence **out, struct kg_error *err)
{
    const uint32_t pages = (uint32_t)p->before.count / KG_PAGE;
    enum kg_status status = begin(p, p->old, out, err);
    for (uint32_t at = 0; at < p->context && status == KG_OK;) {
        const uint32_t page = next_kept(kept, pages, at), end = page < pages ? (uint32_t)kept[page] : p->context;
        uint32_t run = 1;
        if (end > at) {
            status = read == KG_PATCH_APART ? read_apart(p, *out, p->after.ids + at, end - at, at, err)
                                            : read_text(p, *out, p->after.ids + at, end - at, at, err);
            at = end;
            continue;
        }
        while (page + run < pages && kept[page + run] == kept[page] + (int32_t)(run * KG_PAGE))
            run++;
        status = keep_pages(p, *out, page, run, err);
        at += run * KG_PAGE;
    }
    return status;
}

/* Squares of values and of their differences, summed over all layers and heads of one token in two pages. */
static void compare_values(const struct kg_kv_shape *shape, const uint8_t *a, uint32_t a_slot, const uint8_t *b, uint32_t b_slot, double *difference,
                           double *size)
{
    const enum kg_type type = shape->type == KG_KV_Q8_0 ? KG_Q8_0 : KG_F16;
    const size_t row = KG_KV_ROW_BYTES(shape), strip = KG_PAGE * row;
    double x[KG_HEAD_MAX], y[KG_HEAD_MAX];
    for (uint32_t l = 0; l < shape->layers; l++)
        for (uint32_t h = 0; h < shape->kv_heads; h++) {
            const size_t at = ((size_t)(2 * l + 1) * shape->kv_heads + h) * strip;
            kg_dequantise(type, a + at + a_slot * row, shape->head_size, x);
            kg_dequantise(type, b + at + b_slot * row, shape->head_size, y);
            for (uint32_t d = 0; d < shape->head_size; d++) {
                *difference += (x[d] - y[d]) * (x[d] - y[d]);
                *size += y[d] * y[d];
            }
        }
}

static enum kg_status change_of(struct patching *p, uint32_t page, uint8_t *room, double *out, struct kg_error *err)
{
    const struct kg_kv_shape *shape = kg_pool_shape(p->engine->pool);
    const struct kg_block *old = kg_sequence_block(p->old, 2), *new = kg_sequence_block(p->new, 2);
    uint8_t *other = room + KG_KV_PAGE_BYTES(shape);
    uint32_t exported = UINT32_MAX;
    double difference = 0, size = 0;
    enum kg_status status = kg_block_export(old, page, room, err);
    for (uint32_t t = 0; t < KG_PAGE && status == KG_OK; t++) {
        const uint32_t at = (uint32_t)p->kept[page] + t;
        if (at / KG_PAGE != exported)
            status = kg_block_export(new, at / KG_PAGE, other, err);
        exported = at / KG_PAGE;
        if (status == KG_OK)
            compare_values(shape, room, t, other, at % KG_PAGE, &difference, &size);
    }
    *out = size > 0 ? difference / size : 0;
    return status;
}

static enum kg_status measure_changes(struct patching *p, struct kg_error *err)
{
    uint8_t *room = malloc(2 * KG_KV_PAGE_BYTES(kg_pool_shape(p->engine->pool)));
    enum kg_status status = room ? KG_OK : kg_fail_nomem(err, "comparing readings");
    for (uint32_t page = 0; page < p->before.count / KG_PAGE && status == KG_OK; page++)
        if (p->kept[page] >= 0)
            status = change_of(p, page, room, &p->change[page], err);
    free(room);
    return status;
}

/* Pages are read again from the most changed one on. */
static void drop_changed(const struct patching *p, uint32_t percent, int32_t *kept)
{
    const uint32_t pages = (uint32_t)p->before.count / KG_PAGE;
    uint32_t first = 0, behind = 0;
    while (first < pages && p->kept[first] == (int32_t)(first * KG_PAGE))
        first++;
    for (uint32_t page = first; page < pages; page++)
        behind += kept[page] >= 0;
    for (uint32_t left = (behind * percent + 99) / 100; left > 0; left--) {
        uint32_t most = pages;
        for (uint32_t page = first; page < pages; page++)
            if (kept[page] >= 0 && (most == pages || p->change[page] > p->change[most]))
                most = page;
        kept[most] = -1;
    }
}

struct scored {
    const struct patching *p;
    double *nll;
};

static enum kg_status score_token(void *ctx, uint32_t token, const float *logits, struct kg_error *err)
{
    const struct scored *scored = ctx;
    const struct kg_model_shape *shape = kg_model_shape(scored->p->engine->model);
    bool best;
    if (token == scored->p->options->target)
        return KG_OK;
    scored->nll[token] = kg_cbr_likelihood(logits, shape->vocabulary, scored->p->after.ids[scored->p->context + token + 1], &best);
    if (!isfinite(scored->nll[token]))
        return kg_fail(err, KG_ERR_FORMAT, "%s computed no finite number; its file may be damaged, fetch it again", shape->name);
    return KG_OK;
}

/* The target behind a context, which is left as it was. */
static enum kg_status score(struct patching *p, struct kg_sequence *sequence, const struct kg_look *look, struct kg_cbr_score *out, struct kg_error *err)
{
    const uint32_t target = p->options->target;
    *out = (struct kg_cbr_score){ .nll = calloc(target, sizeof *out->nll), .right = calloc(1, sizeof *out->right) };
    if (!out->nll || !out->right)
        return kg_fail_nomem(err, "measuring a target");
    struct scored scored = { p, out->nll };
    const struct kg_reading reading = { .model = p->engine->model, .pool = p->engine->pool, .stop = &p->engine->stop, .batch = SCORED_BATCH, .look = look,
                                        .anchors = look ? p->none : NULL, .scored = score_token, .ctx = &scored };
    enum kg_status status = append(p, sequence, KG_BLOCK_ANSWER, p->after.ids + p->context, target + 1, 0, err);
    const size_t last = kg_sequence_count(sequence) - 1;
    if (status != KG_OK)
        return status;
    status = kg_sequence_read(sequence, last, target + 1, &reading, NULL, err);
    kg_sequence_remove(sequence, last);
    return status;
}

static enum kg_status copy_score(const struct kg_cbr_result *result, const struct kg_cbr_score *from, struct kg_cbr_score *to, struct kg_error *err)
{
    *to = (struct kg_cbr_score){ .nll = calloc(result->target, sizeof *to->nll), .right = calloc(1, sizeof *to->right) };
    if (!to->nll || !to->right)
        return kg_fail_nomem(err, "measuring a target");
    memcpy(to->nll, from->nll, result->target * sizeof *to->nll);
    return KG_OK;
}

static enum kg_status measure_rule(struct patching *p, const struct kg_patch_rule *rule, const struct kg_cbr_result *result, struct kg_cbr_score *out,
                                   struct kg_error *err)
{
    const size_t pages = p->before.count / KG_PAGE;
    struct kg_sequence *sequence = NULL;
    int32_t *kept = calloc(pages + 1, sizeof *kept);
    if (!kept)
        return kg_fail_nomem(err, "measuring a rule");
    memcpy(kept, rule->read == KG_PATCH_DEFINITION ? p->kept_definition : p->kept, pages * sizeof *kept);
    drop_changed(p, rule->percent, kept);
    p->read = rule->read == KG_PATCH_WHOLE ? p->context : 0;
    enum kg_status status = KG_OK;
    if (rule->read == KG_PATCH_WHOLE) {
        status = copy_score(result, &result->full, out, err);
    } else {
        status = put_together(p, rule->read, kept, &sequence, err);
        if (status == KG_OK)
            status = score(p, sequence, NULL, out, err);
    }
    kg_sequence_free(sequence);
    free(kept);
    return status;
}

/* Old and new text as one, and what their targets say. */
static enum kg_status read_both(struct patching *p, struct kg_cbr_result *result, struct kg_error *err)
{
    const struct kg_look window = { .sinks = p->preamble.count > 4 ? (uint32_t)p->preamble.count : 4, .window = KG_CBR_WINDOW, .k = 1 };
    enum kg_status status = begin(p, NULL, &p->old, err);
    if (status == KG_OK)
        status = read_text(p, p->old, p->before.ids, (uint32_t)p->before.count, 0, err);
    if (status == KG_OK)
        status = begin(p, p->old, &p->new, err);
    if (status == KG_OK)
        status = read_text(p, p->new, p->after.ids, p->context, 0, err);
    if (status == KG_OK)
        status = score(p, p->new, NULL, &result->full, err);
    if (status == KG_OK)
        status = copy_score(result, &result->full, &result->own, err);
    if (status == KG_OK)
        status = score(p, p->new, &window, &result->window, err);
    return status == KG_OK ? measure_changes(p, err) : status;
}

static enum kg_status measure(struct patching *p, const struct kg_patch_rule *rules, size_t count, struct kg_cbr_result *result, uint32_t *reread,
                              struct kg_error *err)
{
    enum kg_status status = read_both(p, result, err);
    for (size_t i = 0; i < count && status == KG_OK; i++) {
        const double start = kg_seconds();
        status = measure_rule(p, &rules[i], result, &result->rows[i].score, err);
        result->rows[i].seconds = kg_seconds() - start;
        if (reread)
            reread[i] = p->read;
    }
    return status;
}

static void clear(struct patching *p)
{
    kg_sequence_free(p->old);
    kg_sequence_free(p->new);
    kg_ids_free(&p->preamble);
    kg_ids_free(&p->heading);
    kg_ids_free(&p->before);
    kg_ids_free(&p->after);
    free(p->kept);
    free(p->kept_definition);
    free(p->starts);
    free(p->change);
    free(p->none);
}

static struct kg_cbr_result *new_result(const struct patching *p, size_t count)
{
    struct kg_cbr_result *result = calloc(1, sizeof *result);
    struct kg_cbr_row *rows = calloc(count + 1, sizeof *rows);
    if (!result || !rows) {
        free(result);
        free(rows);
        return NULL;
    }
    *result = (struct kg_cbr_result){ .context = (uint32_t)(p->preamble.count + p->heading.count) + p->context, .target = p->options->target,
                                      .count = count, .rows = rows };
    return result;
}

static enum kg_status measure_file(struct patching *p, const struct kg_patch_rule *rules, size_t count, struct kg_cbr_result **out, uint32_t *reread,
                                   struct kg_error *err)
{
    struct kg_cbr_result *result = new_result(p, count);
    if (!result)
        return kg_fail_nomem(err, "measuring an edit");
    enum kg_status status = measure(p, rules, count, result, reread, err);
    if (status == KG_OK)
        *out = result;
    else
        kg_cbr_result_free(result);
    return status;
}

enum kg_status kg_patch_measure(struct kg_engine *engine, const struct kg_patch_text *text, const struct kg_patch_options *options,
                                const struct kg_patch_rule *rules, size_t count, struct kg_cbr_result **out, uint32_t *reread, struct kg_error *err)
{
    struct patching p = { .engine = engine, .options = options };
    if (!kg_pool_shape(engine->pool)->index_bits)
        return kg_fail(err, KG_ERR_UNSUPPORTED, "there is no key index on %s, without which no window can be looked at; use another --device",
                       engine->backend->name);
    p.none = calloc(kg_model_shape(engine->model)->vocabulary, sizeof *p.none);
    enum kg_status status = p.none ? tokenise(&p, text, err) : kg_fail_nomem(err, "measuring an edit");
    if (status == KG_OK)
        status = compare(&p, text, err);
    if (status == KG_OK)
        status = measure_file(&p, rules, count, out, reread, err);
    clear(&p);
    return status;
}
