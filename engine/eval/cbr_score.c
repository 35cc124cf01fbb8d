/* Target and questions behind a context that has been read. */
#include <math.h>
#include <stdlib.h>

#include "engine/eval/cbr_parts.h"

double kg_cbr_likelihood(const float *logits, uint32_t vocabulary, int32_t id, bool *best)
{
    uint32_t top = 0;
    for (uint32_t i = 1; i < vocabulary; i++)
        if (logits[i] > logits[top])
            top = i;
    double sum = 0;
    for (uint32_t i = 0; i < vocabulary; i++)
        sum += exp((double)logits[i] - (double)logits[top]);
    *best = top == (uint32_t)id;
    return log(sum) + (double)logits[top] - (double)logits[id];
}

struct scored {
    const int32_t *ids;
    uint32_t first, count; /* ids[first .. first+count-1] are scored */
    uint32_t vocabulary;
    const char *model;
    double *nll; /* may be NULL */
    uint32_t right;
};

static enum kg_status score_token(void *ctx, uint32_t token, const float *logits, struct kg_error *err)
{
    struct scored *scored = ctx;
    if (token + 1 < scored->first || token + 1 - scored->first >= scored->count)
        return KG_OK;
    bool best;
    double nll = kg_cbr_likelihood(logits, scored->vocabulary, scored->ids[token + 1], &best);
    if (!isfinite(nll))
        return kg_fail(err, KG_ERR_FORMAT, "%s computed no finite number; its file may be damaged, fetch it again", scored->model);
    if (scored->nll)
        scored->nll[token + 1 - scored->first] = nll;
    scored->right += best;
    return KG_OK;
}

static enum kg_status ask(struct kg_cbr_reader *reader, const struct kg_cbr_asking *asking, const struct kg_model_shape *shape,
                          struct kg_sequence *sequence, const struct kg_reading *look, uint32_t *right, struct kg_error *err)
{
    struct scored scored = { .ids = asking->ids.ids, .first = asking->first, .count = asking->asked, .vocabulary = shape->vocabulary,
                             .model = shape->name };
    size_t before = kg_sequence_count(sequence);
    /* (the last token of a question predicts nothing that is asked) */
    enum kg_status status = kg_cbr_reader_append(reader, sequence, KG_BLOCK_ANSWER, asking->ids.ids, asking->ids.count - 1, look, score_token,
                                                 asking->first - 1, &scored, err);
    while (kg_sequence_count(sequence) > before)
        kg_sequence_remove(sequence, kg_sequence_count(sequence) - 1);
    *right = scored.right;
    return status;
}

static enum kg_status score_target(struct kg_cbr_reader *reader, const struct kg_cbr_text *text, const struct kg_model_shape *shape,
                                   struct kg_sequence *sequence, const struct kg_reading *look, const struct kg_cbr_score *out, struct kg_error *err)
{
    struct scored scored = { .ids = text->target.ids, .first = text->lead, .count = text->options.target, .vocabulary = shape->vocabulary,
                             .model = shape->name, .nll = out->nll };
    enum kg_status status = KG_OK;
    if (text->turn.count)
        status = kg_cbr_reader_append(reader, sequence, KG_BLOCK_TURN, text->turn.ids, text->turn.count, look, NULL, 0, NULL, err);
    return status == KG_OK ? kg_cbr_reader_append(reader, sequence, KG_BLOCK_ANSWER, text->target.ids, text->target.count, look, score_token,
                                                  text->lead - 1, &scored, err)
                           : status;
}

enum kg_status kg_cbr_score_make(struct kg_cbr_reader *reader, const struct kg_cbr_text *text, const struct kg_model_shape *shape,
                                 struct kg_sequence *sequence, const struct kg_reading *look, bool with_questions, struct kg_cbr_score *out,
                                 struct kg_error *err)
{
    size_t before = kg_sequence_count(sequence), questions = with_questions ? text->asking_count : 0;
    *out = (struct kg_cbr_score){ .nll = calloc(text->options.target, sizeof *out->nll), .right = calloc(questions + 1, sizeof *out->right) };
    if (!out->nll || !out->right)
        return kg_fail_nomem(err, "measuring a target");
    enum kg_status status = score_target(reader, text, shape, sequence, look, out, err);
    for (size_t i = 0; i < questions && status == KG_OK; i++)
        status = ask(reader, &text->askings[i], shape, sequence, look, &out->right[i], err);
    while (kg_sequence_count(sequence) > before)
        kg_sequence_remove(sequence, kg_sequence_count(sequence) - 1);
    return status;
}
