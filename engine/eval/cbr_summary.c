/* Sums over texts, ratios of sums, and how far they would move with other texts, tokens and questions. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/eval/cbr_parts.h"

#define RESAMPLES 1000
#define BLOCK     32 /* target tokens that are drawn together, since neighbours are alike */

/* What ratios are made of. */
struct sums {
    double target, nll, full, window, own;
    double cross_nll, cross_full, cross_own; /* of texts that count */
    double constants, constants_full, constants_own, constants_asked;
    double tokens, tokens_full, tokens_own, tokens_asked; /* of prototypes */
};

struct study {
    struct kg_cbr_result *const *results;
    size_t count, row;
};

static double cross_worth(const struct kg_cbr_result *result)
{
    double worth = 0;
    for (uint32_t t = 0; t < result->target; t++)
        worth += result->own.nll[t] - result->full.nll[t];
    return worth / result->target;
}

static bool counts_in_cross(const struct study *study, size_t text)
{
    return study->results[text]->others && (study->count == 1 || cross_worth(study->results[text]) >= KG_CBR_CROSS);
}

static void add_tokens(const struct study *study, size_t text, uint32_t from, uint32_t upto, struct sums *sums)
{
    const struct kg_cbr_result *result = study->results[text];
    const double *nll = result->rows[study->row].score.nll;
    struct sums add = { 0 };
    for (uint32_t t = from; t < upto; t++) {
        add.nll += nll[t];
        add.full += result->full.nll[t];
        add.window += result->window.nll[t];
        add.own += result->own.nll[t];
    }
    sums->target += upto - from;
    sums->nll += add.nll;
    sums->full += add.full;
    sums->window += add.window;
    sums->own += add.own;
    if (counts_in_cross(study, text)) {
        sums->cross_nll += add.nll;
        sums->cross_full += add.full;
        sums->cross_own += add.own;
    }
}

static void add_question(const struct study *study, size_t text, size_t question, struct sums *sums)
{
    const struct kg_cbr_result *result = study->results[text];
    const struct kg_cbr_question *asked = &result->questions[question];
    const uint32_t right = result->rows[study->row].score.right[question], full = result->full.right[question], own = result->own.right[question];
    if (asked->constant) {
        sums->constants_asked += 1;
        sums->constants += right == asked->tokens;
        sums->constants_full += full == asked->tokens;
        sums->constants_own += own == asked->tokens;
    } else {
        sums->tokens_asked += asked->tokens;
        sums->tokens += right;
        sums->tokens_full += full;
        sums->tokens_own += own;
    }
}

static void add_text(const struct study *study, size_t text, struct sums *sums)
{
    add_tokens(study, text, 0, study->results[text]->target, sums);
    for (size_t i = 0; i < study->results[text]->question_count; i++)
        add_question(study, text, i, sums);
}

/* As many questions of a kind as the text has, drawn with return. */
static void draw_questions(const struct study *study, size_t text, bool constant, uint64_t *random, struct sums *sums)
{
    const struct kg_cbr_result *result = study->results[text];
    size_t first = 0, count = 0; /* those of a kind stand together */
    for (size_t i = 0; i < result->question_count; i++) {
        if (result->questions[i].constant != constant)
            continue;
        first = count ? first : i;
        count++;
    }
    for (size_t i = 0; i < count; i++)
        add_question(study, text, first + kg_cbr_below(random, (uint32_t)count), sums);
}

/* As many blocks and questions as the text has, drawn with return. */
static void draw_text(const struct study *study, size_t text, uint64_t *random, struct sums *sums)
{
    const struct kg_cbr_result *result = study->results[text];
    const uint32_t blocks = (result->target + BLOCK - 1) / BLOCK;
    for (uint32_t i = 0; i < blocks; i++) {
        const uint32_t from = kg_cbr_below(random, blocks) * BLOCK, left = result->target - from;
        add_tokens(study, text, from, from + (left < BLOCK ? left : BLOCK), sums);
    }
    draw_questions(study, text, true, random, sums);
    draw_questions(study, text, false, random, sums);
}

static double over(double above, double below)
{
    return below > 0 ? above / below : NAN;
}

enum ratio { CBR, CROSS_CBR, CONSTANTS_KEPT, PROTOTYPES_KEPT, RATIOS };

static void take_ratios(const struct sums *s, double out[RATIOS])
{
    out[CBR] = over(s->window - s->nll, s->window - s->full);
    out[CROSS_CBR] = over(s->cross_own - s->cross_nll, s->cross_own - s->cross_full);
    out[CONSTANTS_KEPT] = over(s->constants, s->constants_full);
    out[PROTOTYPES_KEPT] = over(s->tokens, s->tokens_full);
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* The 2.5th and 97.5th of 100, of those that are numbers. */
static void set_interval(double *values, struct kg_cbr_estimate *out)
{
    size_t n = 0;
    for (size_t i = 0; i < RESAMPLES; i++)
        if (!isnan(values[i]))
            values[n++] = values[i];
    out->low = out->high = NAN;
    if (isnan(out->value) || n < RESAMPLES - RESAMPLES / 40)
        return;
    qsort(values, n, sizeof *values, by_value);
    out->low = values[n / 40];
    out->high = values[n - 1 - n / 40];
}

static void bootstrap(const struct study *study, uint64_t seed, struct kg_cbr_estimate *const out[RATIOS])
{
    double values[RATIOS][RESAMPLES];
    for (size_t i = 0; i < RESAMPLES; i++) {
        struct sums sums = { 0 };
        double ratios[RATIOS];
        for (size_t k = 0; k < study->count; k++)
            draw_text(study, study->count > 1 ? kg_cbr_below(&seed, (uint32_t)study->count) : 0, &seed, &sums);
        take_ratios(&sums, ratios);
        for (size_t r = 0; r < RATIOS; r++)
            values[r][i] = ratios[r];
    }
    for (size_t r = 0; r < RATIOS; r++)
        set_interval(values[r], out[r]);
}

void kg_cbr_summarise(struct kg_cbr_result *const *results, size_t count, size_t row, uint64_t seed, struct kg_cbr_summary *out)
{
    const struct study study = { results, count, row };
    struct sums sums = { 0 };
    double ratios[RATIOS], keys = 0, bytes = 0, bytes_full = 0;
    struct kg_cbr_estimate *const estimates[RATIOS] = { &out->cbr, &out->cross_cbr, &out->constants_kept, &out->prototypes_kept };
    memset(out, 0, sizeof *out);
    for (size_t i = 0; i < count; i++) {
        add_text(&study, i, &sums);
        keys += results[i]->rows[row].keys;
        bytes += results[i]->rows[row].bytes;
        bytes_full += results[i]->bytes_full;
        out->context += results[i]->context;
        out->seconds += results[i]->rows[row].seconds;
        out->cross_texts += counts_in_cross(&study, i);
    }
    take_ratios(&sums, ratios);
    for (size_t r = 0; r < RATIOS; r++)
        estimates[r]->value = ratios[r];
    bootstrap(&study, seed, estimates);
    out->target = (uint64_t)sums.target;
    out->nll = sums.nll / sums.target;
    out->nll_full = sums.full / sums.target;
    out->nll_window = sums.window / sums.target;
    out->nll_own = sums.own / sums.target;
    out->constants_asked = (uint64_t)sums.constants_asked;
    out->constants = (uint64_t)sums.constants;
    out->constants_full = (uint64_t)sums.constants_full;
    out->constants_own = (uint64_t)sums.constants_own;
    out->prototype_tokens = (uint64_t)sums.tokens_asked;
    out->prototypes_right = (uint64_t)sums.tokens;
    out->prototypes_full_right = (uint64_t)sums.tokens_full;
    out->prototypes_own_right = (uint64_t)sums.tokens_own;
    out->keys_per_token = keys / sums.target;
    out->bytes_per_token = bytes / sums.target;
    out->bytes_per_token_full = bytes_full / sums.target;
}
