/* Views, and attention over what is in view.
 *
 * A view is cut into parts of at most KG_PART tokens of one span, counted from the span's first token, so that borders do
 * not depend on what else is in view. A block takes one part for one row and one KV head, and leaves maximum, total and
 * weighted sum for each query head; a second kernel joins the parts in the order of the view. What a row does not see is
 * skipped, never multiplied by zero. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/cuda/device.h"
#include "kernels/cuda/rotate.h"
#include "kernels/cuda/warp.h"

#define THREADS   128
#define WARPS     (THREADS / 32)
#define HEADS     8   /* query heads that a block takes at a time */
#define LANES     8   /* lanes that share a key */
#define PAIRS_MAX (KG_HEAD_MAX / 2)
#define SCRATCH   ((size_t)64 << 20) /* for results of parts; more rows are done in turns */

enum kg_status kg_cuda_view_create(struct kg_device *device, struct kg_view **out, struct kg_error *err)
{
    (void)device;
    *out = (struct kg_view *)calloc(1, sizeof **out);
    return *out ? KG_OK : kg_fail_nomem(err, "creating a view");
}

void kg_cuda_view_free(struct kg_device *device, struct kg_view *view)
{
    if (view) {
        kg_cuda_free(device, &view->spans);
        kg_cuda_free(device, &view->pages);
        kg_cuda_free(device, &view->parts);
    }
    free(view);
}

/* Copies an array to memory that grows by doubling. */
static enum kg_status put_array(struct kg_device *device, struct kg_cuda_memory *memory, const void *host, size_t bytes, struct kg_error *err)
{
    if (memory->bytes < bytes) {
        kg_cuda_free(device, memory);
        size_t room = 1024;
        while (room < bytes)
            room *= 2;
        const enum kg_status status = kg_cuda_alloc(device, room, memory, "setting a view", err);
        if (status != KG_OK)
            return status;
    }
    kg_cuda_upload(device, memory->bits, host, bytes);
    return KG_OK;
}

/* What is copied to the device, on the host. */
struct lists {
    struct kg_cuda_span *spans;
    struct kg_cuda_part *parts;
    uint32_t *pages;
    size_t page_count, part_count;
};

static uint32_t pieces(uint32_t tokens, uint32_t size)
{
    return tokens / size + (tokens % size != 0);
}

static void fill_lists(struct lists *l, const struct kg_span *spans, uint32_t n)
{
    size_t page = 0, part = 0;
    for (uint32_t i = 0; i < n; i++) {
        const struct kg_cuda_span span = { spans[i].base, spans[i].local, spans[i].tokens, (uint32_t)page };
        l->spans[i] = span;
        memcpy(l->pages + page, spans[i].pages, pieces(spans[i].tokens, KG_PAGE) * sizeof *l->pages);
        page += pieces(spans[i].tokens, KG_PAGE);
        for (uint32_t first = 0; first < spans[i].tokens; first += KG_PART, part++) {
            const struct kg_cuda_part own = { i, first };
            l->parts[part] = own;
        }
    }
}

enum kg_status kg_cuda_view_set(struct kg_device *device, struct kg_view *view, const struct kg_span *spans, uint32_t n, struct kg_error *err)
{
    struct lists l = { NULL, NULL, NULL, 0, 0 };
    for (uint32_t i = 0; i < n; i++) {
        assert(spans[i].tokens >= 1);
        l.page_count += pieces(spans[i].tokens, KG_PAGE);
        l.part_count += pieces(spans[i].tokens, KG_PART);
    }
    l.spans = (struct kg_cuda_span *)malloc((n + 1) * sizeof *l.spans);
    l.parts = (struct kg_cuda_part *)malloc((l.part_count + 1) * sizeof *l.parts);
    l.pages = (uint32_t *)malloc((l.page_count + 1) * sizeof *l.pages);
    enum kg_status status = l.spans && l.parts && l.pages ? KG_OK : kg_fail_nomem(err, "setting a view");
    if (status == KG_OK) {
        fill_lists(&l, spans, n);
        status = put_array(device, &view->spans, l.spans, n * sizeof *l.spans, err);
    }
    if (status == KG_OK)
        status = put_array(device, &view->parts, l.parts, l.part_count * sizeof *l.parts, err);
    if (status == KG_OK)
        status = put_array(device, &view->pages, l.pages, l.page_count * sizeof *l.pages, err);
    view->part_count = status == KG_OK ? (uint32_t)l.part_count : 0;
    free(l.spans);
    free(l.parts);
    free(l.pages);
    return status;
}

/* A view on the device. */
struct seen {
    const struct kg_cuda_span *spans;
    const struct kg_cuda_part *parts;
    const uint32_t *pages;
    uint32_t part_count;
};

struct heads {
    uint32_t heads, kv_heads, head_size;
    float scale, soft_cap;
};

/* Results of parts: sums (rows, heads, parts, head_size), and for each of them (maximum, total). */
struct results {
    float *sums;
    float2 *weights;
};

/* Tokens of a part that a position sees. */
static __device__ __forceinline__ uint32_t visible(const struct kg_cuda_span &span, const struct kg_cuda_part &part, int64_t position)
{
    const int64_t seen = position - span.base + 1 - part.first, there = span.tokens - part.first;
    const int64_t n = seen < there ? seen : there;
    return n <= 0 ? 0 : n < KG_PART ? (uint32_t)n : KG_PART;
}

struct shared {
    float2 angle[PAIRS_MAX];
    float q[HEADS][KG_HEAD_MAX]; /* rotated; later the sum of values */
    float score[HEADS][KG_PART]; /* later the weight */
    float total[HEADS];
};

/* Query heads first .. first+n-1 of the group, rotated. */
static __device__ void load_queries(struct shared &s, const struct heads &a, const struct kg_cuda_rope &rope, const float *q, uint32_t n)
{
    for (uint32_t i = threadIdx.x; i < n * (a.head_size / 2); i += THREADS) {
        const uint32_t h = i / (a.head_size / 2), j = i % (a.head_size / 2);
        const float *own = q + (size_t)h * a.head_size;
        if (j < rope.pairs) {
            const uint32_t x = kg_rope_first(rope, j), y = kg_rope_second(rope, j);
            const float2 turned = kg_turn(own[x], own[y], s.angle[j]);
            s.q[h][x] = turned.x;
            s.q[h][y] = turned.y;
        } else {
            s.q[h][2 * j] = own[2 * j];
            s.q[h][2 * j + 1] = own[2 * j + 1];
        }
    }
}

static __device__ __forceinline__ const __half2 *slot_of(const struct kg_cuda_pages &pages, const uint32_t *list, uint32_t value, uint32_t head, uint32_t t)
{
    return reinterpret_cast<const __half2 *>(kg_page_at(pages, list[t / KG_PAGE], value, head, t % KG_PAGE));
}

/* score[h][t] = cap(scale q'.k[t]): 8 lanes a key, each two elements of 16. */
static __device__ void score_keys(struct shared &s, const struct heads &a, const struct kg_cuda_pages &pages, const uint32_t *list, uint32_t kv_head,
                                  uint32_t first, uint32_t tokens, uint32_t n)
{
    const uint32_t lane = threadIdx.x % LANES, pairs = a.head_size / 2;
    const uint32_t first_of_warp = threadIdx.x / 32 * (32 / LANES);
    for (uint32_t from = 0; from + first_of_warp < tokens; from += THREADS / LANES) { /* a warp leaves as one */
        const uint32_t t = from + threadIdx.x / LANES;
        float dot[HEADS];
#pragma unroll
        for (uint32_t h = 0; h < HEADS; h++)
            dot[h] = 0;
        if (t < tokens) {
            const __half2 *key = slot_of(pages, list, 0, kv_head, first + t);
            for (uint32_t j = lane; j < pairs; j += LANES) {
                const float2 k = __half22float2(key[j]);
#pragma unroll
                for (uint32_t h = 0; h < HEADS; h++)
                    if (h < n) {
                        const float2 own = reinterpret_cast<const float2 *>(s.q[h])[j];
                        dot[h] = fmaf(own.x, k.x, fmaf(own.y, k.y, dot[h]));
                    }
            }
        }
#pragma unroll
        for (uint32_t h = 0; h < HEADS; h++) {
            if (h >= n)
                continue;
#pragma unroll
            for (int o = LANES / 2; o > 0; o >>= 1)
                dot[h] += __shfl_xor_sync(KG_FULL_WARP, dot[h], o);
            const float score = dot[h] * a.scale;
            if (lane == 0 && t < tokens)
                s.score[h][t] = a.soft_cap > 0 ? a.soft_cap * tanhf(score / a.soft_cap) : score;
        }
    }
}

/* Scores become weights exp(score - maximum); the maximum and the total are left for the join. A warp a head. */
static __device__ void weigh(struct shared &s, uint32_t tokens, uint32_t n, float2 *weights, uint32_t part_count)
{
    const uint32_t lane = threadIdx.x % 32;
    for (uint32_t h = threadIdx.x / 32; h < n; h += WARPS) {
        float most = -INFINITY, total = 0;
        for (uint32_t t = lane; t < tokens; t += 32)
            most = fmaxf(most, s.score[h][t]);
        most = kg_warp_max(most);
        for (uint32_t t = lane; t < tokens; t += 32) {
            const float weight = expf(s.score[h][t] - most);
            s.score[h][t] = weight;
            total += weight;
        }
        total = kg_warp_sum(total);
        if (lane == 0)
            weights[(size_t)h * part_count] = make_float2(most, total);
    }
}

/* s.q[h] = sum over t of weight[t] v[t]: a warp takes every fourth token, and warps are added in order. */
static __device__ void sum_values(struct shared &s, const struct heads &a, const struct kg_cuda_pages &pages, const uint32_t *list, uint32_t kv_head,
                                  uint32_t first, uint32_t tokens, uint32_t n)
{
    const uint32_t lane = threadIdx.x % 32, warp = threadIdx.x / 32, pairs = a.head_size / 2;
    float2 sum[HEADS][PAIRS_MAX / 32];
#pragma unroll
    for (uint32_t h = 0; h < HEADS; h++)
#pragma unroll
        for (uint32_t i = 0; i < PAIRS_MAX / 32; i++)
            sum[h][i] = make_float2(0, 0);
    for (uint32_t t = warp; t < tokens; t += WARPS) {
        const __half2 *value = slot_of(pages, list, 1, kv_head, first + t);
#pragma unroll
        for (uint32_t i = 0; i < PAIRS_MAX / 32; i++) {
            if (lane + 32 * i >= pairs)
                continue;
            const float2 v = __half22float2(value[lane + 32 * i]);
#pragma unroll
            for (uint32_t h = 0; h < HEADS; h++)
                if (h < n) {
                    sum[h][i].x = fmaf(s.score[h][t], v.x, sum[h][i].x);
                    sum[h][i].y = fmaf(s.score[h][t], v.y, sum[h][i].y);
                }
        }
    }
    for (uint32_t w = 0; w < WARPS; w++) {
        if (w == warp) {
#pragma unroll
            for (uint32_t h = 0; h < HEADS; h++)
#pragma unroll
                for (uint32_t i = 0; i < PAIRS_MAX / 32; i++)
                    if (h < n && lane + 32 * i < pairs) {
                        float2 *own = &reinterpret_cast<float2 *>(s.q[h])[lane + 32 * i];
                        *own = w == 0 ? sum[h][i] : make_float2(own->x + sum[h][i].x, own->y + sum[h][i].y);
                    }
        }
        __syncthreads();
    }
}

__global__ void __launch_bounds__(THREADS) kg_attend_part(struct results out, const float *q, struct kg_cuda_pages pages, struct seen view, struct heads a,
                                                          struct kg_cuda_rope rope, int32_t position)
{
    __shared__ struct shared s;
    const uint32_t kv_head = blockIdx.y, row = blockIdx.z, group = a.heads / a.kv_heads;
    const struct kg_cuda_part part = view.parts[blockIdx.x];
    const struct kg_cuda_span span = view.spans[part.span];
    const int64_t own = (int64_t)position + row;
    const uint32_t tokens = visible(span, part, own), *list = view.pages + span.first_page;
    if (tokens == 0)
        return;
    for (uint32_t j = threadIdx.x; j < rope.pairs; j += THREADS)
        s.angle[j] = kg_angle(rope, j, own - span.base + span.local);
    for (uint32_t from = 0; from < group; from += HEADS) {
        const uint32_t n = group - from < HEADS ? group - from : HEADS;
        const size_t head = (size_t)row * a.heads + (size_t)kv_head * group + from, result = head * view.part_count + blockIdx.x;
        __syncthreads();
        load_queries(s, a, rope, q + head * a.head_size, n);
        __syncthreads();
        score_keys(s, a, pages, list, kv_head, part.first, tokens, n);
        __syncthreads();
        weigh(s, tokens, n, out.weights + result, view.part_count);
        __syncthreads();
        sum_values(s, a, pages, list, kv_head, part.first, tokens, n);
        for (uint32_t i = threadIdx.x; i < n * a.head_size; i += THREADS)
            out.sums[(result + (size_t)(i / a.head_size) * view.part_count) * a.head_size + i % a.head_size] = s.q[i / a.head_size][i % a.head_size];
    }
}

/* out = sum of the parts' sums by exp(their maximum - that of all), through the same sum of totals. */
__global__ void kg_attend_join(float *out, struct results parts, struct seen view, struct heads a, int32_t position)
{
    const size_t own = (size_t)blockIdx.y * a.heads + blockIdx.x;
    const float2 *weights = parts.weights + own * view.part_count;
    float most = -INFINITY, total = 0, sum = 0;
    for (uint32_t p = 0; p < view.part_count; p++)
        if (visible(view.spans[view.parts[p].span], view.parts[p], (int64_t)position + blockIdx.y))
            most = fmaxf(most, weights[p].x);
    if (threadIdx.x >= a.head_size)
        return;
    for (uint32_t p = 0; p < view.part_count; p++) {
        if (!visible(view.spans[view.parts[p].span], view.parts[p], (int64_t)position + blockIdx.y))
            continue;
        const float factor = expf(weights[p].x - most);
        total = fmaf(weights[p].y, factor, total);
        sum = fmaf(parts.sums[(own * view.part_count + p) * a.head_size + threadIdx.x], factor, sum);
    }
    out[own * a.head_size + threadIdx.x] = sum / total;
}

static struct seen seen_of(const struct kg_view *view)
{
    const struct seen seen = { (const struct kg_cuda_span *)view->spans.bits, (const struct kg_cuda_part *)view->parts.bits,
                               (const uint32_t *)view->pages.bits, view->part_count };
    return seen;
}

void kg_cuda_attend(struct kg_device *device, struct kg_buffer *out, const struct kg_buffer *q, const struct kg_kv *kv, uint32_t layer,
                    const struct kg_view *view, const struct kg_attention *attention, int32_t position, uint32_t rows)
{
    const struct heads a = { attention->heads, attention->kv_heads, attention->head_size, attention->scale, attention->soft_cap };
    assert(a.heads && a.heads % a.kv_heads == 0 && a.kv_heads == kv->shape.kv_heads && a.head_size == kv->shape.head_size);
    const size_t width = (size_t)a.heads * a.head_size, results = (size_t)a.heads * view->part_count;
    const float *in = (const float *)kg_cuda_in(q, rows * width, sizeof *in);
    float *y = (float *)kg_cuda_out(device, out, rows * width, sizeof *y);
    const size_t row_bytes = results * (a.head_size * sizeof(float) + sizeof(float2));
    const size_t turn = SCRATCH / row_bytes ? SCRATCH / row_bytes < rows ? SCRATCH / row_bytes : rows : 1;
    const struct kg_cuda_rope rope = kg_cuda_rope_of(device, attention->rope);
    if (!kg_cuda_grow(device, &device->scratch, turn * row_bytes, "attending"))
        return;
    struct results parts = { NULL, (float2 *)device->scratch.bits };
    parts.sums = (float *)(parts.weights + turn * results);
    const unsigned threads = (a.head_size + 31) / 32 * 32;
    for (uint32_t r = 0; r < rows; r += (uint32_t)turn) {
        const uint32_t n = rows - r < turn ? rows - r : (uint32_t)turn;
        const int32_t first = position + (int32_t)r;
        KG_LAUNCH(device, "attend",
                  kg_attend_part<<<dim3(view->part_count, a.kv_heads, n), THREADS, 0, device->stream>>>(parts, in + r * width, kg_cuda_pages_of(kv, layer),
                                                                                                        seen_of(view), a, rope, first));
        KG_LAUNCH(device, "attend", kg_attend_join<<<dim3(a.heads, n), threads, 0, device->stream>>>(y + r * width, parts, seen_of(view), a, first));
    }
}
