/* Operations on rows of activations. Small ones are done by the calling thread: waking others takes longer. */
#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/cpu/device.h"

#define PIECE ((size_t)16 << 10) /* elements; a multiple of 16, so that lanes are cut alike everywhere */

static uint32_t pieces_of(size_t n)
{
    return (uint32_t)((n + PIECE - 1) / PIECE);
}

static size_t piece_end(uint32_t piece, size_t n)
{
    const size_t end = ((size_t)piece + 1) * PIECE;
    return end < n ? end : n;
}

struct norm {
    const struct kg_isa *isa;
    float *out, eps;
    const float *x, *weight;
    uint32_t rows, cols, rows_in_piece;
};

static void norm_piece(void *context, uint32_t piece, uint32_t thread)
{
    (void)thread;
    const struct norm *n = context;
    const uint32_t begin = piece * n->rows_in_piece, end = begin + n->rows_in_piece < n->rows ? begin + n->rows_in_piece : n->rows;
    for (size_t r = begin; r < end; r++)
        n->isa->rmsnorm(n->out + r * n->cols, n->x + r * n->cols, n->weight, n->eps, n->cols);
}

void kg_cpu_rmsnorm(struct kg_device *device, struct kg_buffer *out, const struct kg_buffer *x, const struct kg_buffer *weight,
                    float eps, uint32_t rows, uint32_t cols)
{
    const size_t n = (size_t)rows * cols;
    struct norm norm = {
        .isa = device->isa,
        .x = kg_cpu_in(x, n, sizeof(float)),
        .weight = kg_cpu_in(weight, cols, sizeof(float)),
        .out = kg_cpu_out(device, out, n, sizeof(float)),
        .eps = eps,
        .rows = rows,
        .cols = cols,
        .rows_in_piece = (uint32_t)(PIECE / cols + 1),
    };
    kg_thread_pool_run(device->pool, norm_piece, &norm, (rows + norm.rows_in_piece - 1) / norm.rows_in_piece);
}

struct elements {
    const struct kg_isa *isa;
    float *out;
    const float *a, *b;
    size_t n;
};

static void add_piece(void *context, uint32_t piece, uint32_t thread)
{
    (void)thread;
    const struct elements *e = context;
    const size_t begin = piece * PIECE;
    e->isa->add(e->out + begin, e->b + begin, piece_end(piece, e->n) - begin);
}

void kg_cpu_add(struct kg_device *device, struct kg_buffer *x, const struct kg_buffer *y, size_t n)
{
    struct elements elements = {
        .isa = device->isa, .out = kg_cpu_out(device, x, n, sizeof(float)), .b = kg_cpu_in(y, n, sizeof(float)), .n = n
    };
    kg_thread_pool_run(device->pool, add_piece, &elements, pieces_of(n));
}

static void silu_piece(void *context, uint32_t piece, uint32_t thread)
{
    (void)thread;
    const struct elements *e = context;
    const size_t begin = piece * PIECE;
    e->isa->silu_mul(e->out + begin, e->a + begin, e->b + begin, piece_end(piece, e->n) - begin);
}

void kg_cpu_silu_mul(struct kg_device *device, struct kg_buffer *out, const struct kg_buffer *gate, const struct kg_buffer *up, size_t n)
{
    struct elements elements = {
        .isa = device->isa,
        .a = kg_cpu_in(gate, n, sizeof(float)),
        .b = kg_cpu_in(up, n, sizeof(float)),
        .out = kg_cpu_out(device, out, n, sizeof(float)),
        .n = n,
    };
    kg_thread_pool_run(device->pool, silu_piece, &elements, pieces_of(n));
}

void kg_cpu_copy_row(struct kg_device *device, struct kg_buffer *out, uint32_t to, const struct kg_buffer *x, uint32_t from,
                     uint32_t cols)
{
    const float *in = kg_cpu_in(x, ((size_t)from + 1) * cols, sizeof *in);
    float *row = kg_cpu_out(device, out, ((size_t)to + 1) * cols, sizeof *row);
    memmove(row + (size_t)to * cols, in + (size_t)from * cols, cols * sizeof *row);
}

/* The larger one stands before; NaN is below everything; of equal ones the smaller id. */
static bool before(const float *x, uint32_t i, uint32_t j)
{
    if (isnan(x[i]) || isnan(x[j]))
        return isnan(x[i]) == isnan(x[j]) ? i < j : isnan(x[j]);
    return x[i] > x[j] || (x[i] == x[j] && i < j);
}

/* Puts the `k` first of `n` ids to the front, in any order. */
static void partition(const float *x, uint32_t *ids, uint32_t n, uint32_t k)
{
    uint32_t low = 0, high = n;
    while (high - low > 1) {
        const uint32_t pivot = ids[low + (high - low) / 2];
        uint32_t i = low, j = high - 1;
        for (;; i++, j--) {
            while (before(x, ids[i], pivot))
                i++;
            while (before(x, pivot, ids[j]))
                j--;
            if (i >= j)
                break;
            const uint32_t other = ids[i];
            ids[i] = ids[j];
            ids[j] = other;
        }
        /* low .. i-1 stand before the pivot or are it, i .. high-1 behind or are it */
        const uint32_t middle = i == low ? low + 1 : i;
        if (k < middle)
            high = middle;
        else if (k > middle)
            low = middle;
        else
            return;
    }
}

/* Sorts ids by `before`: bottom-up merging, with room for as many more behind them. */
static void sort_ids(const float *x, uint32_t *ids, uint32_t n)
{
    uint32_t *from = ids, *to = ids + n;
    for (uint32_t width = 1; width < n; width *= 2) {
        for (uint32_t begin = 0; begin < n; begin += 2 * width) {
            const uint32_t middle = begin + width < n ? begin + width : n, end = begin + 2 * width < n ? begin + 2 * width : n;
            uint32_t a = begin, b = middle;
            for (uint32_t out = begin; out < end; out++)
                to[out] = b == end || (a < middle && before(x, from[a], from[b])) ? from[a++] : from[b++];
        }
        uint32_t *other = from;
        from = to;
        to = other;
    }
    if (from != ids)
        memcpy(ids, from, n * sizeof *ids);
}

/* Candidates are collected until there are enough for a cut to the k best, of which the last is the new bound. */
void kg_cpu_top(struct kg_device *device, struct kg_buffer *ids, struct kg_buffer *values, const struct kg_buffer *logits,
                size_t offset, uint32_t n, uint32_t k)
{
    assert(k >= 1 && k <= n && n <= INT32_MAX);
    const float *row = (const float *)kg_cpu_in(logits, offset + n, sizeof *row) + offset;
    int32_t *id = kg_cpu_out(device, ids, k, sizeof *id);
    float *value = kg_cpu_out(device, values, k, sizeof *value);
    const uint32_t capacity = 2 * k + 256;
    if (!kg_cpu_scratch(device, &device->scratch, 2 * (size_t)capacity * sizeof(uint32_t)))
        return;
    uint32_t *candidates = device->scratch.bits, count = 0, next = 0;
    float bound = -INFINITY;
    for (;;) {
        next = device->isa->find_above(row, next, n, bound, candidates, &count, capacity);
        if (count > k) {
            partition(row, candidates, count, k);
            count = k;
            bound = row[candidates[0]];
            for (uint32_t i = 1; i < k; i++)
                bound = row[candidates[i]] < bound ? row[candidates[i]] : bound;
        }
        if (next == n)
            break;
    }
    for (uint32_t i = 0; count < k && i < n; i++) {
        if (isnan(row[i]))
            candidates[count++] = i;
    }
    sort_ids(row, candidates, count);
    for (uint32_t i = 0; i < k; i++) {
        id[i] = (int32_t)candidates[i];
        value[i] = row[candidates[i]];
    }
}
