/* The key index in forms that the engine does not have, and scores by it as kernels/backend.h defines them. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/type.h"
#include "tests/bench/recall_study.h"

#define LANES 16 /* head sizes are multiples of it */

struct study_index {
    const struct study_form *form;
    uint32_t tokens, pages, head_size;
    float *least, *step; /* (pages, head_size) */
    float *codes;        /* (pages, head_size, form->page): what a step is multiplied with, or the keys */
};

struct study_index *study_index_create(const struct study_form *form, uint32_t tokens, uint32_t head_size)
{
    struct study_index *x = study_alloc(1, sizeof *x);
    x->form = form;
    x->tokens = tokens;
    x->pages = (tokens + form->page - 1) / form->page;
    x->head_size = head_size;
    x->least = study_alloc((size_t)x->pages * head_size, sizeof *x->least);
    x->step = study_alloc((size_t)x->pages * head_size, sizeof *x->step);
    x->codes = study_alloc((size_t)x->pages * head_size * form->page, sizeof *x->codes);
    return x;
}

void study_index_free(struct study_index *index)
{
    free(index->least);
    free(index->step);
    free(index->codes);
    free(index);
}

double study_form_bytes(const struct study_form *form, uint32_t head_size)
{
    if (!form->bits)
        return 2.0 * head_size;
    const uint32_t bits = form->planes ? form->planes : form->bits;
    return head_size * ((form->least == STUDY_LEAST_F16 ? 3.0 : 2.0) / form->page + bits / 8.0);
}

static double step_of(int e)
{
    return e ? exp2((e - 128) / 8.0) : 0;
}

/* The least e >= `from` whose step, times `levels`, reaches over the range. */
static int step_code(double range, double levels, int from)
{
    int e = (int)fmax(from, ceil(8 * log2(range / levels)) + 127);
    while (e < 255 && step_of(e) * levels < range)
        e++;
    return e < 255 ? e : 255;
}

/* The upper byte of f16 that is not above x. */
static double least_e5m2(double x)
{
    const uint16_t bits = kg_f16_from_double(x);
    if (x >= 0 || !(bits & 0xff))
        return kg_f16_to_double(bits & 0xff00);
    return kg_f16_to_double((uint16_t)((bits & 0xff00) + 0x100));
}

/* m and e of one channel whose keys lie in low .. high. */
static double set_channel(const struct study_form *form, double low, double high, int *e)
{
    const double levels = (double)((1U << form->bits) - 1);
    const double least = form->least == STUDY_LEAST_E5M2 ? least_e5m2(low) : low;
    *e = high > least ? step_code(high - least, levels, 1) : 0;
    if (form->least != STUDY_LEAST_STEPS)
        return least;
    for (*e = *e ? *e : step_code(fmax(fabs(low) / 127, 1e-6), 1, 1); *e < 255; ++*e) {
        const double step = step_of(*e), m = step * fmin(127, floor(low / step));
        if (m >= -128 * step && m + levels * step >= high)
            return m;
    }
    return low;
}

static void build_channel(struct study_index *x, uint32_t page, uint32_t d, const float *keys)
{
    const struct study_form *form = x->form;
    const uint32_t first = page * form->page, n = x->tokens - first < form->page ? x->tokens - first : form->page;
    const uint32_t hidden = form->planes ? form->bits - form->planes : 0;
    float *codes = x->codes + ((size_t)page * x->head_size + d) * form->page;
    double low = INFINITY, high = -INFINITY;
    for (uint32_t t = 0; t < n; t++) {
        codes[t] = keys[(size_t)(first + t) * x->head_size + d];
        low = (double)codes[t] < low ? (double)codes[t] : low;
        high = (double)codes[t] > high ? (double)codes[t] : high;
    }
    if (!form->bits)
        return;
    int e;
    const double least = set_channel(form, low, high, &e), step = step_of(e), levels = (double)((1U << form->bits) - 1);
    x->least[(size_t)page * x->head_size + d] = (float)least;
    x->step[(size_t)page * x->head_size + d] = (float)step;
    for (uint32_t t = 0; t < n; t++) {
        const double whole = e ? nearbyint(((double)codes[t] - least) / step) : 0, c = whole < levels ? whole : levels;
        /* of bits that are not read the middle is taken */
        codes[t] = (float)((double)((uint32_t)c >> hidden << hidden) + ((double)(1U << hidden) - 1) / 2);
    }
}

void study_index_build(struct study_index *index, const float *keys)
{
    for (uint32_t page = 0; page < index->pages; page++)
        for (uint32_t d = 0; d < index->head_size; d++)
            build_channel(index, page, d, keys);
}

/* What each channel's code is multiplied with; returns what is added to the sum. */
static float weights_of(const struct study_index *x, uint32_t page, const float *q, float *w)
{
    const float *least = x->least + (size_t)page * x->head_size, *step = x->step + (size_t)page * x->head_size;
    float offset[LANES] = { 0 }, most[LANES] = { 0 };
    if (!x->form->bits) {
        memcpy(w, q, x->head_size * sizeof *w);
        return 0;
    }
    for (uint32_t d = 0; d < x->head_size; d += LANES)
        for (uint32_t i = 0; i < LANES; i++) {
            const float size = fabsf(q[d + i] * step[d + i]);
            offset[i] += q[d + i] * least[d + i];
            most[i] = size > most[i] ? size : most[i];
        }
    for (uint32_t i = 1; i < LANES; i++) {
        offset[0] += offset[i];
        most[0] = most[i] > most[0] ? most[i] : most[0];
    }
    const float a = most[0] / 127, per_a = a > 0 ? 1 / a : 0;
    for (uint32_t d = 0; d < x->head_size; d++)
        w[d] = a * nearbyintf(q[d] * step[d] * per_a);
    return offset[0];
}

/* Scores of `lanes` tokens of a page; called with constants, so that the sums stay in registers. */
static inline void score_lanes(const struct study_index *x, const float *codes, const float *w, float offset, float scale, uint32_t lanes, float *scores)
{
    float sum[2 * LANES] = { 0 };
    for (uint32_t d = 0; d < x->head_size; d++)
        for (uint32_t i = 0; i < lanes; i++)
            sum[i] += w[d] * codes[(size_t)d * x->form->page + i];
    for (uint32_t i = 0; i < lanes; i++)
        scores[i] = scale * (offset + sum[i]);
}

void study_scores(const struct study_index *x, const struct kg_attention *a, const float *q, uint32_t tokens, float *scores)
{
    const uint32_t n = x->form->page;
    float w[KG_HEAD_MAX];
    for (uint32_t page = 0; page * n < tokens; page++) {
        const float offset = weights_of(x, page, q, w);
        const float *codes = x->codes + (size_t)page * x->head_size * n;
        uint32_t t = 0;
        for (; t + 2 * LANES <= n; t += 2 * LANES)
            score_lanes(x, codes + t, w, offset, a->scale, 2 * LANES, scores + page * n + t);
        if (t < n)
            score_lanes(x, codes + t, w, offset, a->scale, LANES, scores + page * n + t);
    }
    for (uint32_t t = 0; t < tokens && a->soft_cap > 0; t++)
        scores[t] = a->soft_cap * tanhf(scores[t] / a->soft_cap);
}
