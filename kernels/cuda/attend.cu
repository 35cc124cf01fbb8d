/* Views, and attention over what is in view.
 *
 * A view is cut into parts of at most KG_PART tokens of one span, counted from the span's first token, so that borders do
 * not depend on what else is in view. A block takes one part for one row and one KV head, and leaves maximum, total and
 * weighted sum for each query head. A second kernel joins the parts that are not empty: with as many turns as it has threads an element,
 * turn g adds every turns-th of them from the g-th on in the order of the view, then turns are added in order. What a row does not see, or has
 * not recalled, is skipped, never multiplied by zero. */
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

#define VALUES     8                                /* tokens whose values a thread has on their way at a time */
#define ROOM       (2 * HEADS * THREADS)            /* floats: sums of threads */
#define EARLY      3                                /* of what was chosen, asked for by a thread while it looks for its part */

struct shared {
    float2 angle[PAIRS_MAX];
    __align__(16) float room[ROOM]; /* query heads, rotated; later sums of values */
    __align__(16) float score[HEADS][KG_PART]; /* later the weight */
    const __half *page[KG_PART / KG_PAGE]; /* keys of each page of the part */
    uint32_t chosen[KG_PART / KG_PAGE];    /* a bit a token */
    uint32_t counts[WARPS];
    uint8_t token[KG_PART]; /* of the part, those that are looked at, in order */
};

static_assert(THREADS == KG_PART && HEADS * KG_HEAD_MAX <= ROOM, "a thread has a token of a part");

static __device__ __forceinline__ float (*queries_of(struct shared &s))[KG_HEAD_MAX]
{
    return reinterpret_cast<float (*)[KG_HEAD_MAX]>(s.room);
}

/* Marks those of k chosen tokens (numbers in the view, -1 for none) that are in a part that begins with token `first`. */
static __device__ __forceinline__ void mark_chosen(struct shared &s, const int32_t early[EARLY], const int32_t *chosen, uint32_t k, uint32_t first)
{
#pragma unroll
    for (uint32_t i = 0; i < EARLY; i++) {
        const uint32_t t = (uint32_t)early[i] - first;
        if (t < KG_PART && early[i] >= 0)
            atomicOr(&s.chosen[t / 32], 1U << t % 32);
    }
#pragma unroll 4
    for (uint32_t i = EARLY * THREADS + threadIdx.x; i < k; i += THREADS) {
        const int32_t token = chosen[i];
        const uint32_t t = (uint32_t)token - first;
        if (t < KG_PART && token >= 0)
            atomicOr(&s.chosen[t / 32], 1U << t % 32);
    }
}

/* Lists tokens of a part for which `yes`, a thread a token, and tells how many. */
static __device__ __forceinline__ uint32_t list_tokens(struct shared &s, bool yes)
{
    const uint32_t votes = __ballot_sync(KG_FULL_WARP, yes), lane = threadIdx.x % 32;
    if (lane == 0)
        s.counts[threadIdx.x / 32] = (uint32_t)__popc(votes);
    __syncthreads();
    uint32_t at = (uint32_t)__popc(votes & ((1U << lane) - 1)), n = 0;
#pragma unroll
    for (uint32_t w = 0; w < WARPS; w++) {
        at += w < threadIdx.x / 32 ? s.counts[w] : 0;
        n += s.counts[w];
    }
    if (yes)
        s.token[at] = (uint8_t)threadIdx.x;
    return n;
}

/* The key of a listed token, or with value_away, how far values are from keys, its value. */
static __device__ __forceinline__ const __half *slot_of(const struct shared &s, uint32_t listed, uint32_t head_size, size_t value_away)
{
    const uint32_t t = s.token[listed];
    return s.page[t / KG_PAGE] + value_away + t % KG_PAGE * head_size;
}

/* A lane's pieces of a key, eight elements each. */
#define PIECES (KG_HEAD_MAX / 8 / LANES)
static __device__ __forceinline__ void fetch_key(uint4 piece[PIECES], const struct shared &s, uint32_t listed, uint32_t tokens, uint32_t head_size)
{
#pragma unroll
    for (uint32_t i = 0; i < PIECES; i++)
        piece[i] = make_uint4(0, 0, 0, 0);
    if (listed >= tokens)
        return;
    const __half *key = slot_of(s, listed, head_size, 0);
#pragma unroll
    for (uint32_t i = 0; i < PIECES; i++)
        if (64 * i < head_size)
            piece[i] = kg_eight_of(key, 64 * i + 8 * (threadIdx.x % LANES), head_size);
}

/* score[h][t] = cap(scale q'.k[t]): 8 lanes a key, each eight elements of 64. The next key is on its way meanwhile. */
static __device__ __forceinline__ void score_keys(struct shared &s, const struct kg_cuda_heads &a, uint32_t tokens, uint32_t n)
{
    const uint32_t lane = threadIdx.x % LANES;
    const float (*q)[KG_HEAD_MAX] = queries_of(s);
    uint4 piece[PIECES];
    fetch_key(piece, s, threadIdx.x / LANES, tokens, a.head_size);
#pragma unroll 1
    for (uint32_t from = 0; from + threadIdx.x / 32 * (32 / LANES) < tokens; from += THREADS / LANES) { /* a warp leaves as one */
        const uint32_t t = from + threadIdx.x / LANES;
        uint4 next[PIECES];
        fetch_key(next, s, t + THREADS / LANES, tokens, a.head_size);
#pragma unroll
        for (uint32_t first = 0; first < HEADS; first += KG_FOUR) {
            if (first >= n)
                continue;
            float dot[KG_FOUR] = {};
#pragma unroll
            for (uint32_t i = 0; i < PIECES; i++)
#pragma unroll
                for (uint32_t h = 0; h < KG_FOUR; h++)
                    if (64 * i + 8 * lane < a.head_size)
                        dot[h] = kg_add_eight(dot[h], &q[first + h][64 * i + 8 * lane], piece[i]);
#pragma unroll
            for (int o = LANES / 2; o > 0; o >>= 1)
#pragma unroll
                for (uint32_t h = 0; h < KG_FOUR; h++)
                    dot[h] += __shfl_xor_sync(KG_FULL_WARP, dot[h], o);
#pragma unroll
            for (uint32_t h = 0; h < KG_FOUR; h++)
                if (lane == h && t < tokens)
                    s.score[first + h][t] = kg_capped(a, dot[h]);
        }
#pragma unroll
        for (uint32_t i = 0; i < PIECES; i++)
            piece[i] = next[i];
    }
}

/* Scores become weights exp(score - maximum), and zeros up to a multiple of VALUES; the maximum and the total are left for the join. A warp
 * a head. */
static __device__ __forceinline__ void weigh(struct shared &s, uint32_t tokens, uint32_t n, float2 *weights, uint32_t part_room)
{
    const uint32_t lane = threadIdx.x % 32, h = threadIdx.x / 32;
    static_assert(WARPS == HEADS, "a warp a head");
    if (h >= (n + KG_FOUR - 1) / KG_FOUR * KG_FOUR)
        return;
    float score[KG_PART / 32], most = -INFINITY, total = 0;
#pragma unroll
    for (uint32_t i = 0; i < KG_PART / 32; i++) {
        score[i] = h < n && lane + 32 * i < tokens ? s.score[h][lane + 32 * i] : -INFINITY;
        most = fmaxf(most, score[i]);
    }
    most = kg_warp_max(most);
#pragma unroll
    for (uint32_t i = 0; i < KG_PART / 32; i++) {
        const uint32_t t = lane + 32 * i;
        const float weight = h < n && t < tokens ? expf(score[i] - most) : 0;
        if (t < (tokens + VALUES - 1) / VALUES * VALUES)
            s.score[h][t] = weight;
        total += weight;
    }
    total = kg_warp_sum(total);
    if (lane == 0 && h < n)
        weights[(size_t)h * part_room] = make_float2(most, total);
}

/* This thread's two elements of the values of VALUES tokens from `first` on, zeros where there is none. */
static __device__ __forceinline__ void fetch_values(uint32_t value[VALUES], const struct shared &s, uint32_t first, uint32_t tokens, uint32_t head_size,
                                                    size_t value_away, uint32_t pair)
{
#pragma unroll
    for (uint32_t i = 0; i < VALUES; i++)
        value[i] = first + i < tokens ? reinterpret_cast<const uint32_t *>(slot_of(s, first + i, head_size, value_away))[pair] : 0;
}

/* sums (n, head_size; part_room heads apart) = sum over t of weight[t] v[t]: threads that have the same two elements take VALUES tokens in
 * turns, and are added in order. `value` holds what a thread begins with. */
static __device__ __forceinline__ void sum_values(struct shared &s, uint32_t value[VALUES], float *sums, size_t stride, const struct kg_cuda_heads &a,
                                                  size_t value_away, uint32_t tokens, uint32_t n)
{
    const uint32_t pairs = a.head_size / 2, pair = threadIdx.x % pairs, turn = threadIdx.x / pairs, turns = THREADS / pairs;
    float2 sum[HEADS];
#pragma unroll
    for (uint32_t h = 0; h < HEADS; h++)
        sum[h] = make_float2(0, 0);
#pragma unroll 1
    for (uint32_t first = VALUES * turn; turn < turns && first < tokens; first += VALUES * turns) {
        uint32_t next[VALUES];
        fetch_values(next, s, first + VALUES * turns, tokens, a.head_size, value_away, pair);
#pragma unroll
        for (uint32_t from = 0; from < HEADS; from += KG_FOUR) {
            if (from >= n)
                continue;
#pragma unroll
            for (uint32_t i = 0; i < VALUES; i += 4) {
                if (first + i >= tokens)
                    continue;
                const float2 v[4] = { kg_two_of(value[i]), kg_two_of(value[i + 1]), kg_two_of(value[i + 2]), kg_two_of(value[i + 3]) };
#pragma unroll
                for (uint32_t h = from; h < from + KG_FOUR; h++) {
                    const float4 weight = *reinterpret_cast<const float4 *>(&s.score[h][first + i]);
                    sum[h].x = fmaf(weight.w, v[3].x, fmaf(weight.z, v[2].x, fmaf(weight.y, v[1].x, fmaf(weight.x, v[0].x, sum[h].x))));
                    sum[h].y = fmaf(weight.w, v[3].y, fmaf(weight.z, v[2].y, fmaf(weight.y, v[1].y, fmaf(weight.x, v[0].y, sum[h].y))));
                }
            }
        }
#pragma unroll
        for (uint32_t i = 0; i < VALUES; i++)
            value[i] = next[i];
    }
#pragma unroll
    for (uint32_t h = 0; h < HEADS; h++)
        if (h < n && turn < turns)
            reinterpret_cast<float2 *>(s.room)[(turn * HEADS + h) * pairs + pair] = sum[h];
    __syncthreads();
    for (uint32_t i = threadIdx.x; i < n * pairs; i += THREADS) {
        float2 all = reinterpret_cast<const float2 *>(s.room)[i];
        for (uint32_t g = 1; g < turns; g++) {
            const float2 more = reinterpret_cast<const float2 *>(s.room)[g * HEADS * pairs + i];
            all = make_float2(all.x + more.x, all.y + more.y);
        }
        reinterpret_cast<float2 *>(sums + i / pairs * stride)[i % pairs] = all;
    }
}

template <bool recall>
__global__ void __launch_bounds__(THREADS) kg_attend_part(struct results out, const float *q, struct kg_cuda_pages pages, struct kg_view_rooms rooms,
                                                          struct kg_cuda_heads a, struct kg_cuda_rope rope, const int32_t *position,
                                                          struct kg_recalled recalled)
{
    __shared__ struct shared s;
    const uint32_t kv_head = blockIdx.y, row = blockIdx.z, group = a.heads / a.kv_heads, i = threadIdx.x;
    const double frequency = kg_fetch_frequency(rope);
    const int64_t own = (int64_t)*position + row;
    const size_t head = (size_t)row * a.heads + (size_t)kv_head * group, first_result = head * rooms.parts + blockIdx.x;
    const int32_t *chosen = recall ? recalled.chosen + ((size_t)row * a.kv_heads + kv_head) * recalled.k : NULL;
    int32_t early[EARLY];
#pragma unroll
    for (uint32_t e = 0; e < EARLY; e++)
        early[e] = recall && e * THREADS + i < recalled.k ? chosen[e * THREADS + i] : -1;
    const struct kg_seen view = kg_see(rooms);
    if (blockIdx.x >= view.part_count)
        return;
    float2 pairs[KG_LOOK_PAIRS];
    kg_fetch_queries(pairs, a, rope, q + head * a.head_size, group < HEADS ? group : HEADS);
    const struct kg_cuda_part part = view.parts[blockIdx.x];
    const struct kg_cuda_span span = view.spans[part.span];
    uint32_t tokens = kg_visible(span, part, own);
    const uint32_t *list = view.pages + span.first_page + part.first / KG_PAGE;
    bool looked_at = i < tokens, choosable = false;
    if (recall && looked_at)
        choosable = kg_choosable(pages, span, list[i / KG_PAGE], part.first + i, recalled.sinks, recalled.window, own);
    if (i < KG_PART / KG_PAGE) {
        s.chosen[i] = 0;
        s.page[i] = i * KG_PAGE < tokens ? kg_page_at(pages, list[i], 0, kv_head, 0) : NULL;
    }
    kg_find_angles(s.angle, rope, frequency, own - span.base + span.local);
    __syncthreads();
    if (recall && tokens) {
        mark_chosen(s, early, chosen, recalled.k, span.first + part.first);
        __syncthreads();
    }
    if (choosable)
        looked_at = s.chosen[i / 32] >> i % 32 & 1;
    tokens = list_tokens(s, looked_at);
    if (tokens == 0) {
        for (uint32_t h = i; h < group; h += THREADS)
            out.weights[first_result + (size_t)h * rooms.parts] = make_float2(-INFINITY, 0);
        return;
    }
    const size_t value_away = (size_t)a.kv_heads * KG_PAGE * a.head_size;
    for (uint32_t from = 0; from < group; from += HEADS) {
        const uint32_t n = group - from < HEADS ? group - from : HEADS;
        const size_t result = first_result + (size_t)from * rooms.parts;
        uint32_t value[VALUES];
        if (from)
            kg_fetch_queries(pairs, a, rope, q + (head + from) * a.head_size, n);
        __syncthreads();
        fetch_values(value, s, i / (a.head_size / 2) * VALUES, tokens, a.head_size, value_away, i % (a.head_size / 2));
        kg_turn_queries(queries_of(s), pairs, s.angle, a, rope, n);
        __syncthreads();
        score_keys(s, a, tokens, n);
        __syncthreads();
        weigh(s, tokens, n, out.weights + result, rooms.parts);
        __syncthreads();
        sum_values(s, value, out.sums + result * a.head_size, (size_t)rooms.parts * a.head_size, a, value_away, tokens, n);
    }
}

#define JOIN  512 /* threads */
#define PARTS 128 /* that are added up at a time: more than 32,000 tokens */
#define LOADS 8   /* of a thread on their way at a time */

/* Where sums of parts are that are not empty, and what they are multiplied by. */
struct joined {
    float2 weight[PARTS]; /* factor, total */
    uint32_t part[PARTS];
    uint32_t counts[PARTS / 32];
    float most[JOIN / 32];
    float sum[JOIN], total[JOIN / 2];
};

static __device__ __forceinline__ float block_max(struct joined &s, float x)
{
    x = kg_warp_max(x);
    if (threadIdx.x % 32 == 0)
        s.most[threadIdx.x / 32] = x;
    __syncthreads();
    return kg_warp_max(threadIdx.x % 32 < JOIN / 32 ? s.most[threadIdx.x % 32] : -INFINITY);
}

/* Lists parts from `first` on that are not empty, a thread a part, and tells how many. */
static __device__ __forceinline__ uint32_t list_parts(struct joined &s, const float2 *weights, uint32_t first, uint32_t part_count, float most)
{
    const uint32_t p = first + threadIdx.x, lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    const float2 own = threadIdx.x < PARTS && p < part_count ? weights[p] : make_float2(-INFINITY, 0);
    const uint32_t votes = __ballot_sync(KG_FULL_WARP, own.y != 0);
    if (lane == 0 && warp < PARTS / 32)
        s.counts[warp] = (uint32_t)__popc(votes);
    __syncthreads();
    uint32_t at = (uint32_t)__popc(votes & ((1U << lane) - 1)), n = 0;
#pragma unroll
    for (uint32_t w = 0; w < PARTS / 32; w++) {
        at += w < warp ? s.counts[w] : 0;
        n += s.counts[w];
    }
    if (own.y != 0) {
        s.weight[at] = make_float2(expf(own.x - most), own.y);
        s.part[at] = p;
    }
    __syncthreads();
    return n;
}

/* out = sum of the parts' sums by exp(their maximum - that of all), through the same sum of totals. A part with nothing in
 * it has the total 0 and is passed over as if it were not there. Threads that have the same element take parts in turns. */
__global__ void __launch_bounds__(JOIN) kg_attend_join(float *out, struct results parts, struct kg_view_rooms rooms, uint32_t head_size)
{
    __shared__ struct joined s;
    const uint32_t part_count = rooms.view->part_count, d = threadIdx.x % head_size, turn = threadIdx.x / head_size, turns = JOIN / head_size;
    const size_t own = (size_t)blockIdx.y * gridDim.x + blockIdx.x;
    const float2 *weights = parts.weights + own * rooms.parts;
    const float *sums = parts.sums + own * rooms.parts * head_size + d;
    float most = -INFINITY, total = 0, sum = 0;
    uint32_t passed = 0; /* parts that are not empty, before */
#pragma unroll 4
    for (uint32_t p = threadIdx.x; p < part_count; p += JOIN)
        most = fmaxf(most, weights[p].x);
    most = block_max(s, most);
    for (uint32_t first = 0; first < part_count; first += PARTS) {
        const uint32_t n = list_parts(s, weights, first, part_count, most), skew = passed % turns;
        for (uint32_t i = turn >= skew ? turn - skew : turn + turns - skew; turn < turns && i < n; i += LOADS * turns) {
            float x[LOADS];
#pragma unroll
            for (uint32_t l = 0; l < LOADS; l++)
                x[l] = i + l * turns < n ? sums[(size_t)s.part[i + l * turns] * head_size] : 0;
#pragma unroll
            for (uint32_t l = 0; l < LOADS; l++)
                if (i + l * turns < n) {
                    const float2 weight = s.weight[i + l * turns];
                    total = fmaf(weight.y, weight.x, total);
                    sum = fmaf(x[l], weight.x, sum);
                }
        }
        passed += n;
        __syncthreads();
    }
    s.sum[threadIdx.x] = sum;
    if (d == 0 && turn < turns)
        s.total[turn] = total;
    __syncthreads();
    if (turn > 0)
        return;
    for (uint32_t g = 1; g < turns; g++) {
        sum += s.sum[g * head_size + d];
        total += s.total[g];
    }
    out[own * head_size + d] = sum / total;
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
        kg_cuda_launch(device, "attend", kg_attend_join, dim3(a.heads, n), JOIN, 0, y + first * width, parts, rooms, a.head_size);
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
