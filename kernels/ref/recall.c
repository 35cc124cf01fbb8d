/* The key index, the choice of tokens, and attention over what was chosen. */
#include <assert.h>
#include <float.h>
#include <math.h>
#include <string.h>

#include "kernels/ref/ref.h"
#include "kernels/type.h"

static uint8_t *index_at(const struct kg_kv *kv, uint32_t page, uint32_t layer, uint32_t head)
{
    const struct kg_kv_shape *s = &kv->shape;
    assert(page < kv->pages && layer < s->layers && head < s->kv_heads);
    return kv->index + ((size_t)page * s->layers + layer) * s->kv_heads * KG_INDEX_HEAD_BYTES(s) + head * KG_INDEX_HEAD_BYTES(s);
}

static uint8_t *indexed_at(const struct kg_kv *kv, uint32_t page, uint32_t layer)
{
    return kv->indexed + (size_t)page * kv->shape.layers + layer;
}

static double step_of(uint8_t e)
{
    return e ? exp2((e - 128) / 8.0) : 0;
}

/* The least e whose step, times `levels`, reaches over the range. */
static uint8_t step_code(double range, double levels)
{
    if (range <= 0)
        return 0;
    int e = 1;
    while (e < 255 && step_of((uint8_t)e) * levels < range)
        e++;
    return (uint8_t)e;
}

static void index_channel(const struct kg_kv *kv, uint32_t page, uint32_t layer, uint32_t head, uint32_t d, double keys[KG_PAGE][KG_HEAD_MAX], uint32_t tokens)
{
    const struct kg_kv_shape *s = &kv->shape;
    const uint32_t bits = s->index_bits, in_byte = 8 / bits;
    const double levels = (double)((1U << bits) - 1);
    uint8_t *at = index_at(kv, page, layer, head);
    uint8_t *codes = at + 3 * (size_t)s->head_size + (size_t)(d / in_byte) * KG_PAGE;
    double low = INFINITY, high = -INFINITY;
    for (uint32_t t = 0; t < tokens; t++) {
        low = fmin(low, keys[t][d]);
        high = fmax(high, keys[t][d]);
    }
    low += 0; /* -0 becomes 0 */
    uint16_t m = kg_f16_from_double(low);
    uint8_t e = step_code(high - low, levels);
    memcpy(at + 2 * (size_t)d, &m, sizeof m);
    at[2 * (size_t)s->head_size + d] = e;
    for (uint32_t t = 0; t < tokens && e; t++)
        codes[t] |= (uint8_t)((uint32_t)fmin(levels, nearbyint((keys[t][d] - low) / step_of(e))) << (d % in_byte * bits));
}

static void get_keys(const struct kg_kv *kv, uint32_t page, uint32_t layer, uint32_t head, uint32_t tokens, double keys[KG_PAGE][KG_HEAD_MAX])
{
    for (uint32_t t = 0; t < tokens; t++)
        kg_ref_kv_get(kv, page, layer, 0, head, t, keys[t]);
}

static bool keys_are_finite(const struct kg_kv *kv, uint32_t page, uint32_t layer, uint32_t tokens)
{
    double keys[KG_PAGE][KG_HEAD_MAX];
    bool finite = true;
    for (uint32_t h = 0; h < kv->shape.kv_heads; h++) {
        get_keys(kv, page, layer, h, tokens, keys);
        for (uint32_t t = 0; t < tokens; t++)
            for (uint32_t d = 0; d < kv->shape.head_size; d++)
                finite = finite && isfinite(keys[t][d]);
    }
    return finite;
}

static void index_page(struct kg_kv *kv, uint32_t page, uint32_t layer, uint32_t tokens)
{
    double keys[KG_PAGE][KG_HEAD_MAX];
    *indexed_at(kv, page, layer) = 0;
    if (!keys_are_finite(kv, page, layer, tokens))
        return;
    for (uint32_t h = 0; h < kv->shape.kv_heads; h++) {
        memset(index_at(kv, page, layer, h), 0, KG_INDEX_HEAD_BYTES(&kv->shape));
        get_keys(kv, page, layer, h, tokens, keys);
        for (uint32_t d = 0; d < kv->shape.head_size; d++)
            index_channel(kv, page, layer, h, d, keys, tokens);
    }
    *indexed_at(kv, page, layer) = (uint8_t)tokens;
}

void kg_ref_index_write(struct kg_device *device, struct kg_kv *kv, uint32_t layer, const uint32_t *pages, uint32_t first, uint32_t rows, bool closes)
{
    (void)device;
    if (!kv->shape.index_bits)
        return;
    uint32_t end = first + rows, page = first / KG_PAGE;
    for (; (page + 1) * KG_PAGE <= end; page++)
        index_page(kv, pages[page], layer, KG_PAGE);
    if (closes && end % KG_PAGE)
        index_page(kv, pages[page], layer, end % KG_PAGE);
}

void kg_ref_index_forget(struct kg_kv *kv, uint32_t layer, uint32_t page)
{
    if (kv->shape.index_bits)
        *indexed_at(kv, page, layer) = 0;
}

enum kg_status kg_ref_index_export(struct kg_device *device, const struct kg_kv *kv, uint32_t page, void *host, uint32_t *tokens, struct kg_error *err)
{
    (void)device, (void)err;
    memcpy(host, index_at(kv, page, 0, 0), KG_INDEX_PAGE_BYTES(&kv->shape));
    *tokens = KG_PAGE;
    for (uint32_t l = 0; l < kv->shape.layers; l++)
        *tokens = *indexed_at(kv, page, l) < *tokens ? *indexed_at(kv, page, l) : *tokens;
    return KG_OK;
}

void kg_ref_index_import(struct kg_device *device, struct kg_kv *kv, uint32_t page, const void *host, uint32_t tokens)
{
    (void)device;
    assert(tokens <= KG_PAGE);
    memcpy(index_at(kv, page, 0, 0), host, KG_INDEX_PAGE_BYTES(&kv->shape));
    memset(indexed_at(kv, page, 0), (int)tokens, kv->shape.layers);
}

/* Where a token stands: in S or L, so that it is always looked at, or among those that may be chosen. */
static bool is_choosable(const struct kg_kv *kv, uint32_t layer, const struct kg_span *span, uint32_t t, const struct kg_look *look, int64_t position)
{
    int64_t p = (int64_t)span->base + t;
    if (p < look->sinks || p > position - look->window)
        return false;
    return t % KG_PAGE < *indexed_at(kv, span->pages[t / KG_PAGE], layer);
}

static double capped(const struct kg_attention *a, double s)
{
    double cap = (double)a->soft_cap;
    return cap > 0 ? cap * tanh(s / cap) : s;
}

static double exact_dot(const struct kg_kv *kv, uint32_t page, uint32_t layer, uint32_t head, uint32_t slot, const double *q)
{
    double k[KG_HEAD_MAX], dot = 0;
    kg_ref_kv_get(kv, page, layer, 0, head, slot, k);
    for (uint32_t d = 0; d < kv->shape.head_size; d++)
        dot += q[d] * k[d];
    return dot;
}

/* What a query and the index of a page make of each other. */
struct met {
    const uint8_t *codes;
    double offset, a, r[KG_HEAD_MAX];
};

static void meet(struct met *met, const struct kg_kv *kv, uint32_t page, uint32_t layer, uint32_t head, const double *q)
{
    const uint32_t n = kv->shape.head_size;
    const uint8_t *at = index_at(kv, page, layer, head), *steps = at + 2 * (size_t)n;
    double most = 0;
    met->codes = at + 3 * (size_t)n;
    met->offset = 0;
    for (uint32_t d = 0; d < n; d++) {
        uint16_t m;
        memcpy(&m, at + 2 * (size_t)d, sizeof m);
        met->offset += q[d] * kg_f16_to_double(m);
        met->r[d] = q[d] * step_of(steps[d]);
        most = fmax(most, fabs(met->r[d]));
    }
    met->a = most / 127;
    for (uint32_t d = 0; d < n; d++)
        met->r[d] = met->a > 0 ? nearbyint(met->r[d] / met->a) : 0;
}

/* sum_d q[d] m[d] + a sum_d r[d] c[d] */
static double index_dot(const struct met *met, const struct kg_kv_shape *shape, uint32_t slot)
{
    const uint32_t bits = shape->index_bits, in_byte = 8 / bits;
    double sum = 0;
    for (uint32_t d = 0; d < shape->head_size; d++)
        sum += met->r[d] * (met->codes[(size_t)(d / in_byte) * KG_PAGE + slot] >> (d % in_byte * bits) & ((1U << bits) - 1));
    return met->offset + met->a * sum;
}

static uint32_t visible(const struct kg_span *span, int64_t position)
{
    int64_t n = position - span->base + 1;
    return n <= 0 ? 0 : n < span->tokens ? (uint32_t)n : span->tokens;
}

/* Raises rank[t] of every token that may be chosen to what this query head says. */
static void rank_head(const struct kg_kv *kv, uint32_t layer, const struct kg_view *view, const struct kg_attention *a, const struct kg_look *look,
                      const float *query, uint32_t kv_head, int64_t position, double *scores, double *rank)
{
    struct met met = { 0 };
    double most = -INFINITY, total = 0, q[KG_HEAD_MAX];
    size_t at = 0;
    for (uint32_t i = 0; i < view->n; at += view->spans[i++].tokens) {
        const struct kg_span *span = &view->spans[i];
        kg_ref_rotate(q, query, a->head_size, a->rope, position - span->base + span->local);
        for (uint32_t t = 0; t < visible(span, position); t++) {
            uint32_t page = span->pages[t / KG_PAGE];
            if (t % KG_PAGE == 0)
                meet(&met, kv, page, layer, kv_head, q);
            bool choosable = is_choosable(kv, layer, span, t, look, position);
            double dot = choosable ? index_dot(&met, &kv->shape, t % KG_PAGE) : exact_dot(kv, page, layer, kv_head, t % KG_PAGE, q);
            scores[at + t] = capped(a, (double)a->scale * dot);
            most = fmax(most, scores[at + t]);
        }
    }
    at = 0;
    for (uint32_t i = 0; i < view->n; at += view->spans[i++].tokens)
        for (uint32_t t = 0; t < visible(&view->spans[i], position); t++)
            total += exp(scores[at + t] - most);
    at = 0;
    for (uint32_t i = 0; i < view->n; at += view->spans[i++].tokens)
        for (uint32_t t = 0; t < visible(&view->spans[i], position); t++)
            if (is_choosable(kv, layer, &view->spans[i], t, look, position))
                rank[at + t] = fmax(rank[at + t], scores[at + t] - most - log(total));
}

/* The least rank for what may be chosen, -INFINITY for the rest. */
static void set_ranks(const struct kg_kv *kv, uint32_t layer, const struct kg_view *view, const struct kg_look *look, int64_t position, double *rank)
{
    for (uint32_t i = 0; i < view->n; rank += view->spans[i++].tokens)
        for (uint32_t t = 0; t < view->spans[i].tokens; t++)
            rank[t] = is_choosable(kv, layer, &view->spans[i], t, look, position) ? -DBL_MAX : -INFINITY;
}

/* The k of largest rank, ascending; their ranks are set to -INFINITY on the way. */
static void take_best(double *rank, size_t n, int32_t *chosen, uint32_t k)
{
    uint32_t found = 0;
    for (; found < k; found++) {
        size_t best = 0;
        for (size_t t = 1; t < n; t++)
            best = rank[t] > rank[best] ? t : best;
        if (n == 0 || rank[best] == -INFINITY)
            break;
        rank[best] = -INFINITY;
        uint32_t at = found;
        for (; at > 0 && chosen[at - 1] > (int32_t)best; at--)
            chosen[at] = chosen[at - 1];
        chosen[at] = (int32_t)best;
    }
    for (; found < k; found++)
        chosen[found] = -1;
}

void kg_ref_choose(struct kg_device *device, struct kg_buffer *chosen, const struct kg_buffer *q, const struct kg_kv *kv, uint32_t layer,
                   const struct kg_view *view, const struct kg_attention *a, const struct kg_look *look, int32_t position, uint32_t rows)
{
    (void)device;
    assert(kv->shape.index_bits && look->k >= 1 && look->k <= KG_RECALL_MAX && look->sinks >= 4 && look->window >= 2 * KG_PAGE);
    const uint32_t group = a->heads / a->kv_heads;
    const float *in = kg_ref_at(q, (size_t)rows * a->heads * a->head_size, sizeof *in);
    int32_t *out = kg_ref_at(chosen, (size_t)rows * a->kv_heads * look->k, sizeof *out);
    size_t tokens = 0;
    for (uint32_t i = 0; i < view->n; i++)
        tokens += view->spans[i].tokens;
    for (uint32_t r = 0; r < rows; r++) {
        for (uint32_t h = 0; h < a->kv_heads; h++, out += look->k) {
            set_ranks(kv, layer, view, look, (int64_t)position + r, view->ranks);
            for (uint32_t g = 0; g < group; g++)
                rank_head(kv, layer, view, a, look, in + ((size_t)r * a->heads + (size_t)h * group + g) * a->head_size, h, (int64_t)position + r,
                          view->scores, view->ranks);
            take_best(view->ranks, tokens, out, look->k);
        }
    }
}

/* One query head over what it looks at: softmax of exact scores, sum of exact values. */
static void attend_head(const struct kg_kv *kv, uint32_t layer, const struct kg_view *view, const struct kg_attention *a, const struct kg_look *look,
                        const float *query, uint32_t kv_head, int64_t position, const int32_t *chosen, float *out)
{
    double most = -INFINITY, total = 0, sum[KG_HEAD_MAX] = { 0 }, q[KG_HEAD_MAX];
    size_t at = 0;
    uint32_t next = 0;
    for (uint32_t i = 0; i < view->n; at += view->spans[i++].tokens) {
        const struct kg_span *span = &view->spans[i];
        kg_ref_rotate(q, query, a->head_size, a->rope, position - span->base + span->local);
        for (uint32_t t = 0; t < visible(span, position); t++) {
            view->scores[at + t] = -INFINITY;
            while (next < look->k && chosen[next] >= 0 && (size_t)chosen[next] < at + t)
                next++;
            bool taken = next < look->k && chosen[next] == (int32_t)(at + t);
            if (!taken && is_choosable(kv, layer, span, t, look, position))
                continue;
            view->scores[at + t] = capped(a, (double)a->scale * exact_dot(kv, span->pages[t / KG_PAGE], layer, kv_head, t % KG_PAGE, q));
            most = fmax(most, view->scores[at + t]);
        }
    }
    at = 0;
    for (uint32_t i = 0; i < view->n; at += view->spans[i++].tokens) {
        for (uint32_t t = 0; t < visible(&view->spans[i], position); t++) {
            if (view->scores[at + t] == -INFINITY)
                continue;
            double w = exp(view->scores[at + t] - most), v[KG_HEAD_MAX];
            kg_ref_kv_get(kv, view->spans[i].pages[t / KG_PAGE], layer, 1, kv_head, t % KG_PAGE, v);
            total += w;
            for (uint32_t d = 0; d < a->head_size; d++)
                sum[d] += w * v[d];
        }
    }
    for (uint32_t d = 0; d < a->head_size; d++)
        out[d] = (float)(sum[d] / total);
}

void kg_ref_attend_chosen(struct kg_device *device, struct kg_buffer *out, const struct kg_buffer *q, const struct kg_kv *kv, uint32_t layer,
                          const struct kg_view *view, const struct kg_attention *a, const struct kg_look *look, const struct kg_buffer *chosen,
                          int32_t position, uint32_t rows)
{
    (void)device;
    const uint32_t group = a->heads / a->kv_heads;
    const float *in = kg_ref_at(q, (size_t)rows * a->heads * a->head_size, sizeof *in);
    const int32_t *of = kg_ref_at(chosen, (size_t)rows * a->kv_heads * look->k, sizeof *of);
    float *y = kg_ref_at(out, (size_t)rows * a->heads * a->head_size, sizeof *y);
    for (uint32_t r = 0; r < rows; r++)
        for (uint32_t h = 0; h < a->heads; h++, in += a->head_size, y += a->head_size)
            attend_head(kv, layer, view, a, look, in, h / group, (int64_t)position + r, of + ((size_t)r * a->kv_heads + h / group) * look->k, y);
}
