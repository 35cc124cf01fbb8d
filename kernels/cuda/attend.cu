/* Views, and attention over what is in view.
 *
 * A view is cut into parts of at most KG_PART tokens of one span, counted from the span's first token, so that borders do
 * not depend on what else is in view. A block takes one part for one row and one KV head, and leaves maximum, total and
 * weighted sum for each query head; a second kernel joins the parts in the order of the view. What a row does not see, or
 * has not recalled, is skipped, never multiplied by zero. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/cuda/look.h"
#include "kernels/cuda/warp.h"

#define THREADS   KG_LOOK_THREADS
#define WARPS     KG_LOOK_WARPS
#define HEADS     KG_LOOK_HEADS
#define PAIRS_MAX KG_PAIRS_MAX
#define LANES     8                  /* lanes that share a key */
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
        kg_cuda_free(device, &view->memory);
        free(view->image);
    }
    free(view);
}

static uint32_t pieces(uint32_t tokens, uint32_t size)
{
    return tokens / size + (tokens % size != 0);
}

/* A power of two up to `step`, then multiples of it: grids and rooms that change rarely. */
static uint32_t rounded(uint32_t n, uint32_t step)
{
    uint32_t room = 1;
    while (room < n && room < step)
        room *= 2;
    return n <= room ? room : pieces(n, step) * step;
}

/* Room for a view of so many bytes, on both sides; it grows by doubling. */
static enum kg_status make_room(struct kg_device *device, struct kg_view *view, size_t bytes, struct kg_error *err)
{
    if (view->memory.bytes >= bytes)
        return KG_OK;
    size_t room = 4096;
    while (room < bytes)
        room *= 2;
    uint8_t *image = (uint8_t *)calloc(room, 1);
    if (!image)
        return kg_fail_nomem(err, "setting a view");
    free(view->image);
    view->image = image;
    kg_cuda_free(device, &view->memory);
    return kg_cuda_alloc(device, room, &view->memory, "setting a view", err);
}

static void fill_image(struct kg_view *view, const struct kg_cuda_view *head, const struct kg_span *spans, uint32_t n)
{
    struct kg_cuda_span *own = (struct kg_cuda_span *)(view->image + head->spans);
    struct kg_cuda_part *parts = (struct kg_cuda_part *)(view->image + head->parts);
    uint32_t *pages = (uint32_t *)(view->image + head->pages), page = 0, token = 0;
    memcpy(view->image, head, sizeof *head);
    for (uint32_t i = 0; i < n; token += spans[i++].tokens) {
        own[i] = { spans[i].base, spans[i].local, spans[i].tokens, page, token };
        memcpy(pages + page, spans[i].pages, pieces(spans[i].tokens, KG_PAGE) * sizeof *pages);
        page += pieces(spans[i].tokens, KG_PAGE);
        for (uint32_t first = 0; first < spans[i].tokens; first += KG_PART)
            *parts++ = { i, first };
    }
}

enum kg_status kg_cuda_view_set(struct kg_device *device, struct kg_view *view, const struct kg_span *spans, uint32_t n, struct kg_error *err)
{
    struct kg_cuda_view head = { 0, n, 0, sizeof head, 0, 0 };
    uint32_t pages = 0;
    for (uint32_t i = 0; i < n; i++) {
        assert(spans[i].tokens >= 1);
        head.tokens += spans[i].tokens;
        head.part_count += pieces(spans[i].tokens, KG_PART);
        pages += pieces(spans[i].tokens, KG_PAGE);
    }
    head.parts = head.spans + n * (uint32_t)sizeof(struct kg_cuda_span);
    head.pages = head.parts + head.part_count * (uint32_t)sizeof(struct kg_cuda_part);
    const size_t bytes = head.pages + pages * sizeof(uint32_t);
    const enum kg_status status = make_room(device, view, bytes, err);
    view->part_count = view->tokens = 0;
    if (status != KG_OK)
        return status;
    fill_image(view, &head, spans, n);
    kg_cuda_upload(device, view->memory.bits, view->image, bytes);
    view->part_count = head.part_count;
    view->tokens = head.tokens;
    view->part_room = rounded(head.part_count, 8);
    view->token_room = rounded(head.tokens, 8 * KG_PART);
    return KG_OK;
}

/* Results of parts: sums (rows, heads, parts that there is room for, head_size), and for each of them (maximum, total). */
struct results {
    float *sums;
    float2 *weights;
};

struct shared {
    float2 angle[PAIRS_MAX];
    float q[HEADS][KG_HEAD_MAX]; /* rotated; later the sum of values */
    float score[HEADS][KG_PART]; /* later the weight */
    uint16_t token[KG_PART];     /* of the part, those that are looked at, in order */
    uint32_t counts[WARPS];
};

/* Is `token` (its number in the view) among k ascending ones with -1 behind the last? */
static __device__ bool is_chosen(const int32_t *chosen, uint32_t k, int32_t token)
{
    uint32_t low = 0, high = k;
    while (low < high) {
        const uint32_t middle = low + (high - low) / 2;
        if (chosen[middle] >= 0 && chosen[middle] < token)
            low = middle + 1;
        else
            high = middle;
    }
    return low < k && chosen[low] == token;
}

/* Lists those of the first `tokens` tokens of a part that are looked at: all; or what may not be chosen, and what was. */
template <bool recall>
static __device__ uint32_t list_tokens(struct shared &s, const struct kg_cuda_pages &pages, const struct kg_cuda_span &span, const uint32_t *list,
                                       uint32_t first, uint32_t tokens, const struct kg_recalled &r, const int32_t *chosen, int64_t position)
{
    uint32_t n = 0;
    for (uint32_t from = 0; from < tokens; from += THREADS) {
        const uint32_t i = from + threadIdx.x, t = first + i, lane = threadIdx.x % 32;
        bool looked_at = i < tokens;
        if (recall && looked_at && kg_choosable(pages, span, list[t / KG_PAGE], t, r.sinks, r.window, position))
            looked_at = is_chosen(chosen, r.k, (int32_t)(span.first + t));
        const uint32_t votes = __ballot_sync(KG_FULL_WARP, looked_at);
        if (lane == 0)
            s.counts[threadIdx.x / 32] = (uint32_t)__popc(votes);
        __syncthreads();
        uint32_t at = n + (uint32_t)__popc(votes & ((1U << lane) - 1));
        for (uint32_t w = 0; w < WARPS; w++) {
            at += w < threadIdx.x / 32 ? s.counts[w] : 0;
            n += s.counts[w];
        }
        if (looked_at)
            s.token[at] = (uint16_t)i;
        __syncthreads();
    }
    return n;
}

static __device__ __forceinline__ const __half2 *slot_of(const struct kg_cuda_pages &pages, const uint32_t *list, uint32_t value, uint32_t head, uint32_t t)
{
    return reinterpret_cast<const __half2 *>(kg_page_at(pages, list[t / KG_PAGE], value, head, t % KG_PAGE));
}

/* score[h][t] = cap(scale q'.k[t]): 8 lanes a key, each two elements of 16. */
static __device__ void score_keys(struct shared &s, const struct kg_cuda_heads &a, const struct kg_cuda_pages &pages, const uint32_t *list, uint32_t kv_head,
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
            const __half2 *key = slot_of(pages, list, 0, kv_head, first + s.token[t]);
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
            if (lane == 0 && t < tokens)
                s.score[h][t] = kg_capped(a, dot[h]);
        }
    }
}

/* Scores become weights exp(score - maximum); the maximum and the total are left for the join. A warp a head. */
static __device__ void weigh(struct shared &s, uint32_t tokens, uint32_t n, float2 *weights, uint32_t part_room)
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
            weights[(size_t)h * part_room] = make_float2(most, total);
    }
}

/* s.q[h] = sum over t of weight[t] v[t]: a warp takes every fourth token, and warps are added in order. */
static __device__ void sum_values(struct shared &s, const struct kg_cuda_heads &a, const struct kg_cuda_pages &pages, const uint32_t *list, uint32_t kv_head,
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
        const __half2 *value = slot_of(pages, list, 1, kv_head, first + s.token[t]);
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

template <bool recall>
__global__ void __launch_bounds__(THREADS) kg_attend_part(struct results out, const float *q, struct kg_cuda_pages pages, struct kg_view_rooms rooms,
                                                          struct kg_cuda_heads a, struct kg_cuda_rope rope, const int32_t *position,
                                                          struct kg_recalled recalled)
{
    __shared__ struct shared s;
    const struct kg_seen view = kg_see(rooms);
    if (blockIdx.x >= view.part_count)
        return;
    const uint32_t kv_head = blockIdx.y, row = blockIdx.z, group = a.heads / a.kv_heads;
    const struct kg_cuda_part part = view.parts[blockIdx.x];
    const struct kg_cuda_span span = view.spans[part.span];
    const int64_t own = (int64_t)*position + row;
    const uint32_t *list = view.pages + span.first_page;
    const size_t first_result = ((size_t)row * a.heads + (size_t)kv_head * group) * rooms.parts + blockIdx.x;
    const int32_t *chosen = recall ? recalled.chosen + ((size_t)row * a.kv_heads + kv_head) * recalled.k : NULL;
    uint32_t tokens = kg_visible(span, part, own);
    if (tokens)
        tokens = list_tokens<recall>(s, pages, span, list, part.first, tokens, recalled, chosen, own);
    if (tokens == 0) {
        for (uint32_t h = threadIdx.x; h < group; h += THREADS)
            out.weights[first_result + (size_t)h * rooms.parts] = make_float2(-INFINITY, 0);
        return;
    }
    for (uint32_t j = threadIdx.x; j < rope.pairs; j += THREADS)
        s.angle[j] = kg_angle(rope, j, own - span.base + span.local);
    for (uint32_t from = 0; from < group; from += HEADS) {
        const uint32_t n = group - from < HEADS ? group - from : HEADS;
        const size_t head = (size_t)row * a.heads + (size_t)kv_head * group + from, result = first_result + (size_t)from * rooms.parts;
        __syncthreads();
        kg_load_queries(s.q, s.angle, a, rope, q + head * a.head_size, n);
        __syncthreads();
        score_keys(s, a, pages, list, kv_head, part.first, tokens, n);
        __syncthreads();
        weigh(s, tokens, n, out.weights + result, rooms.parts);
        __syncthreads();
        sum_values(s, a, pages, list, kv_head, part.first, tokens, n);
        for (uint32_t i = threadIdx.x; i < n * a.head_size; i += THREADS)
            out.sums[(result + (size_t)(i / a.head_size) * rooms.parts) * a.head_size + i % a.head_size] = s.q[i / a.head_size][i % a.head_size];
    }
}

/* out = sum of the parts' sums by exp(their maximum - that of all), through the same sum of totals. A part with nothing in
 * it has the total 0. */
__global__ void kg_attend_join(float *out, struct results parts, struct kg_view_rooms rooms, uint32_t head_size)
{
    const uint32_t part_count = rooms.view->part_count;
    const size_t own = (size_t)blockIdx.y * gridDim.x + blockIdx.x;
    const float2 *weights = parts.weights + own * rooms.parts;
    float most = -INFINITY, total = 0, sum = 0;
    for (uint32_t p = 0; p < part_count; p++)
        most = fmaxf(most, weights[p].x);
    if (threadIdx.x >= head_size)
        return;
    for (uint32_t p = 0; p < part_count; p++) {
        if (weights[p].y == 0)
            continue;
        const float factor = expf(weights[p].x - most);
        total = fmaf(weights[p].y, factor, total);
        sum = fmaf(parts.sums[(own * rooms.parts + p) * head_size + threadIdx.x], factor, sum);
    }
    out[own * head_size + threadIdx.x] = sum / total;
}

/* Over everything in view, or with `recalled` over what it says. */
static void attend(struct kg_device *device, struct kg_buffer *out, const struct kg_buffer *q, const struct kg_kv *kv, uint32_t layer,
                   const struct kg_view *view, const struct kg_attention *attention, int32_t position, uint32_t rows, const struct kg_recalled *recalled)
{
    const struct kg_cuda_heads a = kg_heads_of(attention);
    assert(a.heads && a.heads % a.kv_heads == 0 && a.kv_heads == kv->shape.kv_heads && a.head_size == kv->shape.head_size);
    const size_t width = (size_t)a.heads * a.head_size, results = (size_t)a.heads * view->part_room;
    const float *in = (const float *)kg_cuda_in(q, rows * width, sizeof *in);
    float *y = (float *)kg_cuda_out(device, out, rows * width, sizeof *y);
    if (device->failed || view->part_count == 0) /* a view that could not be set is empty */
        return;
    if (!recalled && a.head_size <= KG_TILE_HEAD) {
        kg_cuda_attend_tiles(device, y, in, kv, layer, view, attention, position, rows);
        return;
    }
    const size_t row_bytes = results * (a.head_size * sizeof(float) + sizeof(float2));
    const size_t turn = SCRATCH / row_bytes ? SCRATCH / row_bytes < rows ? SCRATCH / row_bytes : rows : 1;
    const struct kg_cuda_rope rope = kg_cuda_rope_of(device, attention->rope);
    if (!kg_cuda_grow(device, &device->scratch, turn * row_bytes, "attending"))
        return;
    struct results parts = { NULL, (float2 *)device->scratch.bits };
    parts.sums = (float *)(parts.weights + turn * results);
    const struct kg_cuda_pages pages = kg_cuda_pages_of(kv, layer);
    const struct kg_view_rooms rooms = kg_rooms_of(view);
    const unsigned threads = (a.head_size + 31) / 32 * 32;
    struct kg_recalled r = { NULL, 0, 0, 0, 0 };
    if (recalled)
        r = *recalled;
    for (uint32_t first = 0; first < rows; first += (uint32_t)turn) {
        const uint32_t n = rows - first < turn ? rows - first : (uint32_t)turn;
        const dim3 grid(rooms.parts, a.kv_heads, n);
        const float *query = in + first * width;
        const int32_t *at = kg_cuda_now(device, position + (int32_t)first);
        if (recalled)
            kg_cuda_launch(device, "attend_chosen", kg_attend_part<true>, grid, THREADS, 0, parts, query, pages, rooms, a, rope, at, r);
        else
            kg_cuda_launch(device, "attend", kg_attend_part<false>, grid, THREADS, 0, parts, query, pages, rooms, a, rope, at, r);
        kg_cuda_launch(device, "attend", kg_attend_join, dim3(a.heads, n), threads, 0, y + first * width, parts, rooms, a.head_size);
        r.chosen += recalled ? (size_t)n * a.kv_heads * r.k : 0;
    }
}

void kg_cuda_attend(struct kg_device *device, struct kg_buffer *out, const struct kg_buffer *q, const struct kg_kv *kv, uint32_t layer,
                    const struct kg_view *view, const struct kg_attention *attention, int32_t position, uint32_t rows)
{
    attend(device, out, q, kv, layer, view, attention, position, rows, NULL);
}

void kg_cuda_attend_chosen(struct kg_device *device, struct kg_buffer *out, const struct kg_buffer *q, const struct kg_kv *kv, uint32_t layer,
                           const struct kg_view *view, const struct kg_attention *attention, const struct kg_look *look, const struct kg_buffer *chosen,
                           int32_t position, uint32_t rows)
{
    const size_t n = (size_t)rows * attention->kv_heads * look->k;
    const struct kg_recalled recalled = { (const int32_t *)kg_cuda_in(chosen, n, sizeof(int32_t)), look->sinks, look->window, look->k, 0 };
    attend(device, out, q, kv, layer, view, attention, position, rows, &recalled);
}
