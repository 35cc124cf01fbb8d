/* One text measured under rules. */
#include "engine/eval/cbr.h"

#include <stdlib.h>
#include <string.h>

#include "engine/eval/cbr_parts.h"

_Static_assert(KG_CBR_WINDOW_MIN == 2 * KG_PAGE && KG_CBR_K_MAX == KG_RECALL_MAX, "as in kg_look");

static const char *const read_names[] = { [KG_CBR_ALONE] = "alone", [KG_CBR_LINKED] = "linked", [KG_CBR_CHAIN] = "chain", [KG_CBR_ANCHORS] = "anchors" };
static const char *const look_names[] = { [KG_CBR_ALL] = "all", [KG_CBR_RECALL] = "recall", [KG_CBR_LINES] = "anchors" };

enum kg_status kg_cbr_read_parse(const char *name, enum kg_cbr_read *out, struct kg_error *err)
{
    for (size_t i = 0; i < sizeof read_names / sizeof *read_names; i++)
        if (strcmp(name, read_names[i]) == 0) {
            *out = (enum kg_cbr_read)i;
            return KG_OK;
        }
    return kg_fail(err, KG_ERR_USAGE, "there is no read rule '%s'; use alone, linked, chain or anchors", name);
}

enum kg_status kg_cbr_look_parse(const char *name, enum kg_cbr_look *out, struct kg_error *err)
{
    for (size_t i = 0; i < sizeof look_names / sizeof *look_names; i++)
        if (strcmp(name, look_names[i]) == 0) {
            *out = (enum kg_cbr_look)i;
            return KG_OK;
        }
    return kg_fail(err, KG_ERR_USAGE, "there is no look rule '%s'; use all, recall or anchors", name);
}

const char *kg_cbr_read_name(enum kg_cbr_read read)
{
    return read_names[read];
}

const char *kg_cbr_look_name(enum kg_cbr_look look)
{
    return look_names[look];
}

bool kg_cbr_uses_window(const struct kg_cbr_rule *rule)
{
    return rule->look != KG_CBR_ALL || rule->read == KG_CBR_ANCHORS;
}

bool kg_cbr_uses_k(const struct kg_cbr_rule *rule)
{
    return rule->look == KG_CBR_RECALL;
}

static enum kg_status begin_result(const struct kg_cbr_text *text, size_t count, struct kg_cbr_result **out, struct kg_error *err)
{
    struct kg_cbr_result *result = calloc(1, sizeof *result);
    if (!result)
        return kg_fail_nomem(err, "measuring a text");
    *out = result;
    result->rows = calloc(count + 1, sizeof *result->rows);
    result->questions = calloc(text->asking_count + 1, sizeof *result->questions);
    if (!result->rows || !result->questions)
        return kg_fail_nomem(err, "measuring a text");
    result->count = count;
    result->target = text->options.target;
    result->context = (uint32_t)(text->preamble.count + text->turn.count) + text->lead;
    for (size_t i = 0; i < text->piece_count; i++)
        result->context += text->pieces[i].count;
    result->others = text->source_count > 1;
    result->question_count = text->asking_count;
    for (size_t i = 0; i < text->asking_count; i++)
        result->questions[i] = (struct kg_cbr_question){ text->askings[i].constant, text->askings[i].asked };
    return KG_OK;
}

static enum kg_status copy_score(const struct kg_cbr_result *result, const struct kg_cbr_score *from, struct kg_cbr_score *to, struct kg_error *err)
{
    *to = (struct kg_cbr_score){ .nll = calloc(result->target, sizeof *to->nll), .right = calloc(result->question_count + 1, sizeof *to->right) };
    if (!to->nll || !to->right)
        return kg_fail_nomem(err, "measuring a text");
    memcpy(to->nll, from->nll, result->target * sizeof *to->nll);
    memcpy(to->right, from->right, result->question_count * sizeof *to->right);
    return KG_OK;
}

/* What every rule is compared with. */
static enum kg_status measure_references(struct kg_cbr_reader *reader, const struct kg_cbr_text *text, const struct kg_model_shape *shape,
                                         struct kg_cbr_result *result, struct kg_error *err)
{
    const struct kg_cbr_rule full = { .read = KG_CBR_CHAIN, .look = KG_CBR_ALL };
    struct kg_sequence *sequence;
    struct kg_reading all, window;
    kg_cbr_reader_look(reader, KG_CBR_ALL, 0, 0, &all);
    enum kg_status status = kg_cbr_reader_own(reader, &sequence, err);
    if (status == KG_OK)
        status = kg_cbr_score_make(reader, text, shape, sequence, &all, true, &result->own, err);
    if (status == KG_OK)
        status = kg_cbr_reader_context(reader, &full, &sequence, err);
    if (status == KG_OK)
        status = kg_cbr_score_make(reader, text, shape, sequence, &all, true, &result->full, err);
    kg_cbr_reader_look_window(reader, &window);
    return status == KG_OK ? kg_cbr_score_make(reader, text, shape, sequence, &window, false, &result->window, err) : status;
}

static enum kg_status measure_rule(struct kg_cbr_reader *reader, const struct kg_cbr_text *text, const struct kg_model_shape *shape,
                                   struct kg_cbr_result *result, struct kg_cbr_row *row, struct kg_error *err)
{
    const struct kg_cbr_rule *rule = &row->rule;
    struct kg_sequence *sequence;
    struct kg_reading look;
    if (rule->read == KG_CBR_CHAIN && rule->look == KG_CBR_ALL)
        return copy_score(result, &result->full, &row->score, err);
    enum kg_status status = kg_cbr_reader_context(reader, rule, &sequence, err);
    kg_cbr_reader_look(reader, rule->look, rule->window, rule->k, &look);
    return status == KG_OK ? kg_cbr_score_make(reader, text, shape, sequence, &look, true, &row->score, err) : status;
}

static enum kg_status measure(struct kg_engine *engine, struct kg_cbr_reader *reader, const struct kg_cbr_text *text, const struct kg_cbr_rule *rules, size_t count,
                              struct kg_cbr_result *result, struct kg_error *err)
{
    const struct kg_model_shape *shape = kg_model_shape(engine->model);
    const struct kg_kv_shape *kv = kg_pool_shape(engine->pool);
    const struct kg_cbr_rule full = { .read = KG_CBR_CHAIN, .look = KG_CBR_ALL };
    kg_cbr_reader_plan(reader, rules, count);
    enum kg_status status = measure_references(reader, text, shape, result, err);
    result->bytes_full = kg_cbr_cost(text, kv, &full, kg_cbr_reader_anchors(reader)).bytes;
    for (size_t i = 0; i < count && status == KG_OK; i++) {
        struct kg_cbr_row *row = &result->rows[i];
        row->rule = rules[i];
        const struct kg_cbr_cost cost = kg_cbr_cost(text, kv, &row->rule, kg_cbr_reader_anchors(reader));
        row->keys = cost.keys;
        row->bytes = cost.bytes;
        const double start = kg_seconds();
        status = measure_rule(reader, text, shape, result, row, err);
        row->seconds = kg_seconds() - start;
    }
    return status;
}

enum kg_status kg_cbr_measure(struct kg_engine *engine, const struct kg_cbr_text *text, const struct kg_cbr_rule *rules, size_t count,
                              struct kg_cbr_result **out, struct kg_error *err)
{
    struct kg_cbr_result *result = NULL;
    struct kg_cbr_reader *reader = NULL;
    const struct kg_kv_shape *shape = kg_pool_shape(engine->pool);
    if (!shape->index_bits) /* without an index everything would be looked at */
        return kg_fail(err, KG_ERR_UNSUPPORTED, "there is no key index of %u bits for heads of %u elements on %s; use other --bits or another --device",
                       engine->index_bits, shape->head_size, engine->backend->name);
    enum kg_status status = begin_result(text, count, &result, err);
    if (!result)
        return status;
    if (status == KG_OK)
        status = kg_cbr_reader_create(engine, text, &reader, err);
    if (status == KG_OK)
        status = measure(engine, reader, text, rules, count, result, err);
    kg_cbr_reader_free(reader);
    if (status == KG_OK)
        *out = result;
    else
        kg_cbr_result_free(result);
    return status;
}

static void free_score(struct kg_cbr_score *score)
{
    free(score->nll);
    free(score->right);
}

void kg_cbr_result_free(struct kg_cbr_result *result)
{
    if (!result)
        return;
    free_score(&result->full);
    free_score(&result->window);
    free_score(&result->own);
    for (size_t i = 0; i < result->count; i++)
        free_score(&result->rows[i].score);
    free(result->rows);
    free(result->questions);
    free(result);
}
