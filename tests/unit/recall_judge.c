#include "tests/unit/recall_judge.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/type.h"

/* A query head as it meets the index of a page, and what f32 may make of it:
 *
 *   rotation      3 roundings of numbers up to |a| + |b|, the pair's elements: `size`
 *   products      up to 64 in a chain and 2 levels of additions: with the rotation less than 2^-17 of the sum of magnitudes
 *   r             differs by 1 where q' step / a is nearer to a half than the error of that quotient */
struct met {
    double offset, a, magnitude, r[KG_HEAD_MAX];
    bool uncertain[KG_HEAD_MAX];
    const uint8_t *codes;
};

static void meet(struct met *met, const struct scene *s, uint32_t page, uint32_t kv_head, const double *q, const double *size)
{
    const uint32_t n = s->shape.head_size, levels = (1U << s->shape.index_bits) - 1;
    const uint8_t *at = s->index + page * KG_INDEX_PAGE_BYTES(&s->shape) + ((size_t)s->layer * s->shape.kv_heads + kv_head) * KG_INDEX_HEAD_BYTES(&s->shape);
    double step[KG_HEAD_MAX], most = 0;
    *met = (struct met){ .codes = at + 3 * (size_t)n };
    for (uint32_t d = 0; d < n; d++) {
        uint16_t m;
        memcpy(&m, at + 2 * (size_t)d, sizeof m);
        step[d] = at[2 * n + d] ? exp2((at[2 * n + d] - 128) / 8.0) : 0;
        most = fmax(most, fabs(q[d]) * step[d]);
        met->offset += q[d] * kg_f16_to_double(m);
        met->magnitude += size[d] * (fabs(kg_f16_to_double(m)) + step[d] * levels);
    }
    met->a = most / 127;
    for (uint32_t d = 0; d < n && most > 0; d++) {
        const double y = q[d] * step[d] / met->a;
        met->r[d] = nearbyint(y);
        met->uncertain[d] = fabs(fabs(y - met->r[d]) - 0.5) < 127 * 0x1p-20 * (1 + size[d] * step[d] / most);
    }
}

static double score_by_index(const struct scene *s, const struct met *met, uint32_t slot, double *error)
{
    const uint32_t bits = s->shape.index_bits;
    double sum = 0, flips = 0;
    for (uint32_t d = 0; d < s->shape.head_size; d++) {
        const uint32_t c = met->codes[(size_t)(d * bits / 8) * KG_PAGE + slot] >> (d * bits % 8) & ((1U << bits) - 1);
        sum += met->r[d] * c;
        flips += met->uncertain[d] ? c : 0;
    }
    *error = 0x1p-17 * met->magnitude + met->a * flips;
    return met->offset + met->a * sum;
}

static double score_exactly(const struct scene *s, const uint16_t *key, const double *q, const double *size, double *error)
{
    double score = 0, magnitude = 0;
    for (uint32_t d = 0; d < s->shape.head_size; d++) {
        score += q[d] * kg_f16_to_double(key[d]);
        magnitude += size[d] * fabs(kg_f16_to_double(key[d]));
    }
    *error = 0x1p-17 * magnitude;
    return score;
}

static void rotate(const struct scene *s, const float *x, int64_t position, double *q, double *size)
{
    for (uint32_t d = 0; d < s->shape.head_size; d++) {
        q[d] = (double)x[d];
        size[d] = fabs(q[d]);
    }
    for (uint32_t j = 0; j < s->rope.pairs; j++) {
        const bool halves = s->rope.layout == KG_ROPE_HALVES;
        const uint32_t a = halves ? j : 2 * j, b = halves ? j + s->rope.pairs : 2 * j + 1;
        const double angle = (double)position * s->rope.frequency[j], scale = (double)s->rope.scale;
        q[a] = scale * ((double)x[a] * cos(angle) - (double)x[b] * sin(angle));
        q[b] = scale * ((double)x[a] * sin(angle) + (double)x[b] * cos(angle));
        size[a] = size[b] = scale * (fabs((double)x[a]) + fabs((double)x[b]));
    }
}

/* Scores of all that a query head sees, by the header. */
void judge_scores(const struct scene *s, int64_t position, uint32_t kv_head, const float *x, struct judged *tokens, double *scores, double *errors)
{
    const double scale = (double)s->attention.scale, cap = (double)s->attention.soft_cap;
    double q[KG_HEAD_MAX], size[KG_HEAD_MAX];
    struct met met = { 0 };
    uint32_t at = 0;
    for (uint32_t i = 0; i < s->span_count; at += s->spans[i++].tokens) {
        const struct kg_span *span = &s->spans[i];
        rotate(s, x, position - span->base + span->local, q, size);
        for (uint32_t t = 0; t < span->tokens && (int64_t)span->base + t <= position; t++) {
            const int64_t p = (int64_t)span->base + t;
            const uint32_t page = s->first_page[i] + t / KG_PAGE;
            bool *choosable = &tokens[at + t].choosable;
            double error;
            if (t % KG_PAGE == 0)
                meet(&met, s, page, kv_head, q, size);
            *choosable = p >= s->look.sinks && p <= position - s->look.window && t % KG_PAGE < s->indexed[page];
            const double score = scale * (*choosable ? score_by_index(s, &met, t % KG_PAGE, &error)
                                                     : score_exactly(s, scene_half_at(s, page, false, kv_head, t % KG_PAGE), q, size, &error));
            scores[at + t] = cap > 0 ? cap * tanh(score / cap) : score;
            errors[at + t] = scale * error + cap * 0x1p-20;
        }
    }
}

/* What it adds to the ranks. exp may be wrong by 1.1e-4 of itself, and so may the sum. */
static void judge_head(const struct scene *s, uint32_t row, uint32_t kv_head, uint32_t head, struct judged *tokens, double *scores, double *errors)
{
    const uint32_t n = scene_tokens(s);
    double most = -INFINITY, total = 0, error = 0;
    for (uint32_t t = 0; t < n; t++)
        scores[t] = -INFINITY;
    judge_scores(s, (int64_t)s->position + row, kv_head, s->q + ((size_t)row * s->attention.heads + head) * s->shape.head_size, tokens, scores, errors);
    for (uint32_t t = 0; t < n; t++)
        most = fmax(most, scores[t]);
    for (uint32_t t = 0; t < n; t++) {
        total += exp(scores[t] - most);
        error += scores[t] > -INFINITY ? exp(scores[t] - most) * errors[t] : 0;
    }
    for (uint32_t t = 0; t < n; t++) {
        if (scores[t] == -INFINITY || !(total > 0))
            continue;
        tokens[t].rank = fmax(tokens[t].rank, scores[t] - most - log(total));
        tokens[t].error = fmax(tokens[t].error, errors[t] + error / total + 1.2e-4 + 0x1p-21 * fabs(most));
    }
}

/* A list is ascending, of tokens that may be chosen, and as long as it can be. */
void judge_list(const struct scene *s, const struct judged *tokens, const int32_t *list, bool *taken)
{
    const uint32_t n = scene_tokens(s);
    uint32_t choosable = 0, count = 0;
    for (uint32_t t = 0; t < n; t++)
        choosable += tokens[t].choosable;
    for (; count < s->look.k && list[count] >= 0; count++) {
        assert_true((uint32_t)list[count] < n && tokens[list[count]].choosable);
        assert_true(count == 0 || list[count - 1] < list[count]);
        taken[list[count]] = true;
    }
    for (uint32_t i = count; i < s->look.k; i++)
        assert_int_equal(list[i], -1);
    assert_int_equal(count, choosable < s->look.k ? choosable : s->look.k);
}

/* Is the list what the header asks for, but for ranks that f32 cannot tell apart? For ref they all can. */
void judge_choice(const struct scene *s, uint32_t row, uint32_t kv_head, const int32_t *list, bool exact)
{
    const uint32_t n = scene_tokens(s), group = s->attention.heads / s->attention.kv_heads;
    struct judged *tokens = test_alloc(n, sizeof *tokens);
    double *scores = test_alloc(n, sizeof *scores), *errors = test_alloc(n, sizeof *errors);
    bool *taken = test_alloc(n, sizeof *taken);
    for (uint32_t t = 0; t < n; t++)
        tokens[t].rank = -INFINITY;
    for (uint32_t g = 0; g < group; g++)
        judge_head(s, row, kv_head, kv_head * group + g, tokens, scores, errors);
    judge_list(s, tokens, list, taken);
    double least = INFINITY; /* of what was taken, as large as it may be */
    uint32_t last = 0;
    for (uint32_t t = 0; t < n; t++) {
        const double reach = tokens[t].rank + (exact ? 1e-9 : tokens[t].error);
        last = taken[t] && reach <= least ? t : last;
        least = taken[t] ? fmin(least, reach) : least;
    }
    for (uint32_t t = 0; t < n; t++) {
        if (tokens[t].choosable && !taken[t] && tokens[t].rank - (exact ? 1e-9 : tokens[t].error) > least)
            fail_msg("%s: row %u, KV head %u: token %u (rank %.9g +- %.2g) was left out for token %u (%.9g +- %.2g)", s->name, row, kv_head, t,
                     tokens[t].rank, tokens[t].error, last, tokens[last].rank, tokens[last].error);
    }
    free(tokens);
    free(scores);
    free(errors);
    free(taken);
}
