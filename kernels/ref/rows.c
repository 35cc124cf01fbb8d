/* Operations on rows of activations: norm, sum, gate, copy, and the best of a row of logits. */
#include <assert.h>
#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "kernels/ref/ref.h"

/* out[c] = x[c] weight[c] / sqrt(mean(x^2) + eps) */
void kg_ref_rmsnorm(struct kg_device *device, struct kg_buffer *out, const struct kg_buffer *x, const struct kg_buffer *weight,
                    float eps, uint32_t rows, uint32_t cols)
{
    (void)device;
    const float *w = kg_ref_at(weight, cols, sizeof *w);
    const float *in = kg_ref_at(x, (size_t)rows * cols, sizeof *in);
    float *y = kg_ref_at(out, (size_t)rows * cols, sizeof *y);
    for (uint32_t r = 0; r < rows; r++, in += cols, y += cols) {
        double squares = 0;
        for (uint32_t c = 0; c < cols; c++)
            squares += (double)in[c] * (double)in[c];
        double norm = sqrt(squares / cols + (double)eps);
        for (uint32_t c = 0; c < cols; c++)
            y[c] = (float)((double)in[c] * (double)w[c] / norm);
    }
}

/* x += y */
void kg_ref_add(struct kg_device *device, struct kg_buffer *x, const struct kg_buffer *y, size_t n)
{
    (void)device;
    float *a = kg_ref_at(x, n, sizeof *a);
    const float *b = kg_ref_at(y, n, sizeof *b);
    for (size_t i = 0; i < n; i++)
        a[i] = (float)((double)a[i] + (double)b[i]);
}

/* out = gate up / (1 + exp(-gate)); for gate far below zero the exponential is infinite and the result zero */
void kg_ref_silu_mul(struct kg_device *device, struct kg_buffer *out, const struct kg_buffer *gate, const struct kg_buffer *up, size_t n)
{
    (void)device;
    float *y = kg_ref_at(out, n, sizeof *y);
    const float *g = kg_ref_at(gate, n, sizeof *g);
    const float *u = kg_ref_at(up, n, sizeof *u);
    for (size_t i = 0; i < n; i++)
        y[i] = (float)((double)g[i] / (1 + exp(-(double)g[i])) * (double)u[i]);
}

void kg_ref_copy_row(struct kg_device *device, struct kg_buffer *out, uint32_t to, const struct kg_buffer *x, uint32_t from,
                     uint32_t cols)
{
    (void)device;
    float *y = kg_ref_at(out, ((size_t)to + 1) * cols, sizeof *y);
    const float *in = kg_ref_at(x, ((size_t)from + 1) * cols, sizeof *in);
    memmove(y + (size_t)to * cols, in + (size_t)from * cols, cols * sizeof *y);
}

/* Does logit i stand before logit j? The larger one; NaN is below everything; of equal ones the smaller id. */
static bool before(const float *logits, uint32_t i, uint32_t j)
{
    float a = isnan(logits[i]) ? -INFINITY : logits[i], b = isnan(logits[j]) ? -INFINITY : logits[j];
    if (a != b)
        return a > b;
    if (isnan(logits[i]) != isnan(logits[j]))
        return isnan(logits[j]);
    return i < j;
}

/* Each pass takes the first, in that order, of those behind the one taken last. */
void kg_ref_top(struct kg_device *device, struct kg_buffer *ids, struct kg_buffer *values, const struct kg_buffer *logits,
                size_t offset, uint32_t n, uint32_t k)
{
    (void)device;
    assert(k >= 1 && k <= n && n <= INT32_MAX);
    int32_t *id = kg_ref_at(ids, k, sizeof *id);
    float *value = kg_ref_at(values, k, sizeof *value);
    const float *row = (const float *)kg_ref_at(logits, offset + n, sizeof *row) + offset;
    for (uint32_t taken = 0; taken < k; taken++) {
        uint32_t best = n;
        for (uint32_t i = 0; i < n; i++) {
            if (taken && !before(row, (uint32_t)id[taken - 1], i))
                continue;
            if (best == n || before(row, i, best))
                best = i;
        }
        id[taken] = (int32_t)best;
        value[taken] = row[best];
    }
}
