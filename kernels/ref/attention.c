/* Views, and attention over what is in view. */
#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/ref/ref.h"

enum kg_status kg_ref_view_create(struct kg_device *device, struct kg_view **out, struct kg_error *err)
{
    (void)device;
    *out = calloc(1, sizeof **out);
    return *out ? KG_OK : kg_fail_nomem(err, "creating a view");
}

static void clear(struct kg_device *device, struct kg_view *view)
{
    free(view->spans);
    free(view->pages);
    free(view->scores);
    free(view->ranks);
    device->memory -= view->bytes;
    *view = (struct kg_view){ 0 };
}

void kg_ref_view_free(struct kg_device *device, struct kg_view *view)
{
    if (view)
        clear(device, view);
    free(view);
}

static size_t pages_of(const struct kg_span *span)
{
    return ((size_t)span->tokens + KG_PAGE - 1) / KG_PAGE;
}

enum kg_status kg_ref_view_set(struct kg_device *device, struct kg_view *view, const struct kg_span *spans, uint32_t n, struct kg_error *err)
{
    size_t tokens = 0, pages = 0;
    for (uint32_t i = 0; i < n; i++) {
        assert(spans[i].tokens >= 1);
        tokens += spans[i].tokens;
        pages += pages_of(&spans[i]);
    }
    clear(device, view);
    view->spans = calloc(n ? n : 1, sizeof *view->spans);
    view->pages = calloc(pages ? pages : 1, sizeof *view->pages);
    view->scores = calloc(tokens ? tokens : 1, sizeof *view->scores);
    view->ranks = calloc(tokens ? tokens : 1, sizeof *view->ranks);
    if (!view->spans || !view->pages || !view->scores || !view->ranks) {
        clear(device, view);
        return kg_fail_nomem(err, "setting a view");
    }
    view->n = n;
    view->bytes = n * sizeof *view->spans + pages * sizeof *view->pages + 2 * tokens * sizeof *view->scores;
    device->memory += view->bytes;
    uint32_t *next = view->pages;
    for (uint32_t i = 0; i < n; i++) {
        view->spans[i] = spans[i];
        view->spans[i].pages = next;
        memcpy(next, spans[i].pages, pages_of(&spans[i]) * sizeof *next);
        next += pages_of(&spans[i]);
    }
    return KG_OK;
}

/* One query head at one position, and what it reads. */
struct look {
    const struct kg_kv *kv;
    const struct kg_attention *attention;
    const float *q;
    uint32_t layer, kv_head;
    int64_t position;
};

/* Tokens of the span with base + t <= position. */
static uint32_t visible(const struct kg_span *span, int64_t position)
{
    int64_t n = position - span->base + 1;
    return n <= 0 ? 0 : n < span->tokens ? (uint32_t)n : span->tokens;
}

/* s[t] = scale q'.k[t], q' rotated for the position that the span's keys were stored for; then the soft cap */
static void score_span(const struct look *look, const struct kg_span *span, double *scores)
{
    const struct kg_attention *a = look->attention;
    double q[KG_HEAD_MAX];
    kg_ref_rotate(q, look->q, a->head_size, a->rope, look->position - span->base + span->local);
    for (uint32_t t = 0; t < visible(span, look->position); t++) {
        double k[KG_HEAD_MAX], dot = 0;
        kg_ref_kv_get(look->kv, span->pages[t / KG_PAGE], look->layer, 0, look->kv_head, t % KG_PAGE, k);
        for (uint32_t d = 0; d < a->head_size; d++)
            dot += q[d] * k[d];
        double s = dot * (double)a->scale, cap = (double)a->soft_cap;
        scores[t] = cap > 0 ? cap * tanh(s / cap) : s;
    }
}

/* sum[d] += weights[t] v[t][d] */
static void add_values(const struct look *look, const struct kg_span *span, const double *weights, double *sum)
{
    for (uint32_t t = 0; t < visible(span, look->position); t++) {
        double v[KG_HEAD_MAX];
        kg_ref_kv_get(look->kv, span->pages[t / KG_PAGE], look->layer, 1, look->kv_head, t % KG_PAGE, v);
        for (uint32_t d = 0; d < look->attention->head_size; d++)
            sum[d] += weights[t] * v[d];
    }
}

/* out = sum over visible t of w[t] v[t] / sum of w[t], with w[t] = exp(s[t] - max s) */
static void attend_head(const struct look *look, const struct kg_view *view, float *out)
{
    size_t n = 0;
    for (uint32_t i = 0; i < view->n; i++) {
        score_span(look, &view->spans[i], view->scores + n);
        n += visible(&view->spans[i], look->position);
    }
    assert(n > 0);
    double *weights = view->scores, max = -INFINITY, total = 0, sum[KG_HEAD_MAX] = { 0 };
    for (size_t t = 0; t < n; t++)
        max = fmax(max, weights[t]);
    for (size_t t = 0; t < n; t++)
        total += weights[t] = exp(weights[t] - max);
    n = 0;
    for (uint32_t i = 0; i < view->n; i++) {
        add_values(look, &view->spans[i], weights + n, sum);
        n += visible(&view->spans[i], look->position);
    }
    for (uint32_t d = 0; d < look->attention->head_size; d++)
        out[d] = (float)(sum[d] / total);
}

void kg_ref_attend(struct kg_device *device, struct kg_buffer *out, const struct kg_buffer *q, const struct kg_kv *kv, uint32_t layer,
                   const struct kg_view *view, const struct kg_attention *a, int32_t position, uint32_t rows)
{
    (void)device;
    assert(a->heads && a->heads % a->kv_heads == 0 && a->kv_heads == kv->shape.kv_heads && a->head_size == kv->shape.head_size);
    size_t n = (size_t)rows * a->heads * a->head_size;
    const float *in = kg_ref_at(q, n, sizeof *in);
    float *y = kg_ref_at(out, n, sizeof *y);
    for (uint32_t r = 0; r < rows; r++) {
        for (uint32_t h = 0; h < a->heads; h++, in += a->head_size, y += a->head_size) {
            struct look look = { kv, a, in, layer, h / (a->heads / a->kv_heads), (int64_t)position + r };
            attend_head(&look, view, y);
        }
    }
}
