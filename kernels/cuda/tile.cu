/* Attention over everything in view, for heads of at most 128 elements, by tensor cores (tile.h).
 *
 * A text of many rows is taken by tiles of 48 or 64 query heads, warps that share what they read of keys and values; each adds up
 * chunks of 64 tokens in the order of the view. A token or a few are too few tiles for that: there a warp takes one chunk, and a
 * second kernel adds them up. Both add by the same formulas, so that a row's result is the same however many rows there are. */
#include <assert.h>

#include "kernels/cuda/tile.h"
#include "kernels/cuda/warp.h"

#define CHUNKS      (KG_PART / KG_CHUNK) /* of a part: one for each warp */
#define THREADS     (32 * CHUNKS)
#define WARPS(D)    ((D) > 64 ? 3 : 4)   /* of a block that takes tiles: as many as shared memory has room for */
#define FOLD        128                  /* threads, and chunks at a time */
#define FEW         8                    /* rows */
#define SCRATCH     ((size_t)64 << 20)

static_assert(KG_CHUNK == 2 * KG_PAGE && CHUNKS == 4, "a chunk is two pages, and shared memory has room for four");

/* Results of chunks: sums (rows, heads, chunks that there is room for, head_size), and for each of them (maximum, total). */
struct chunks {
    float *sums;
    float2 *weights;
    uint32_t room, none;
};

/* Query heads first, first + 1, ... of a KV head: head h of row r is number r * group + h. */
struct tile {
    uint32_t first, rows, group, kv_head, first_row;
    int32_t position, last; /* of row 0, and of the last row that is in the tile */
};

static __device__ struct tile tile_of(uint32_t first, uint32_t size, uint32_t rows, uint32_t group, uint32_t kv_head, int32_t position)
{
    const uint32_t end = first + size < rows * group ? first + size : rows * group;
    const struct tile tile = { first, rows, group, kv_head, first / group, position, position + (int32_t)((end - 1) / group) };
    return tile;
}

/* Rows beyond the last are like it, and nobody takes their results. */
static __device__ __forceinline__ struct kg_tile_rows rows_of(const struct tile &tile, uint32_t first, const float *q, const struct kg_cuda_heads &a)
{
    struct kg_tile_rows out;
#pragma unroll
    for (uint32_t i = 0; i < 2; i++) {
        const uint32_t wanted = first + threadIdx.x % 32 / 4 + 8 * i, all = tile.rows * tile.group, own = wanted < all ? wanted : all - 1;
        const uint32_t row = own / tile.group, head = tile.kv_head * tile.group + own % tile.group;
        out.q[i] = q + ((size_t)row * a.heads + head) * a.head_size;
        out.row[i] = row - tile.first_row;
    }
    return out;
}

/* The position of the row of query head `own` of a tile's KV head. */
static __device__ __forceinline__ int32_t position_of(const struct tile &tile, uint32_t own)
{
    const uint32_t row = own / tile.group;
    return tile.position + (int32_t)(row < tile.rows ? row : tile.rows - 1);
}

/* How many of a span's tokens a position sees. */
static __device__ __forceinline__ uint32_t reach_of(const struct kg_cuda_span &span, int32_t position)
{
    const int32_t n = position - span.base + 1;
    return n <= 0 ? 0 : (uint32_t)n < span.tokens ? (uint32_t)n : span.tokens;
}

/* ... and of a chunk of it. */
static __device__ __forceinline__ uint32_t seen_of(uint32_t reach, uint32_t first)
{
    return reach <= first ? 0 : reach - first < KG_CHUNK ? reach - first : KG_CHUNK;
}

/* Angles of the rows of a tile with regard to a span, where pages will be. */
template <int D>
static __device__ __forceinline__ void turn_tile(struct kg_tile_shared<D> &s, struct kg_queries<D> &queries, uint4 *low, const struct tile &tile,
                                                 uint32_t first, const float *q, const struct kg_cuda_span &span, const struct kg_cuda_rope &rope,
                                                 const struct kg_cuda_heads &a)
{
    float2 *angles = reinterpret_cast<float2 *>(s.page);
    const uint32_t count = (uint32_t)(tile.last - tile.position) - tile.first_row + 1;
    for (uint32_t i = threadIdx.x; i < count * rope.pairs; i += blockDim.x)
        angles[i] = kg_angle(rope, i % rope.pairs, (int64_t)tile.position + tile.first_row + i / rope.pairs - span.base + span.local);
    __syncthreads();
    kg_load_tile<D>(queries, low, rows_of(tile, first, q, a), angles, rope, a.head_size);
    __syncthreads();
}

/* Keys (values) of tokens first .. of a span, into two pages. `reach`: tokens of the span that somebody sees. */
template <int D>
static __device__ void fetch_chunk(__half (*to)[KG_PAGE][KG_STRIDE(D)], const struct kg_cuda_pages &pages, const uint32_t *list, uint32_t value,
                                   uint32_t kv_head, uint32_t first, uint32_t reach)
{
#pragma unroll
    for (uint32_t p = 0; p < 2; p++) {
        const uint32_t from = first + p * KG_PAGE, limit = from < reach ? reach - from : 0;
        const __half *page = kg_page_at(pages, list[limit ? from / KG_PAGE : 0], value, kv_head, 0);
        kg_fetch_page<D>(to[p], page, pages.head_size, limit, threadIdx.x, 32 * WARPS(D));
    }
    kg_fetch_commit();
}

/* What a warp adds up: both rows of each lane. Maximum and total of a row are in shared memory. */
template <int D> struct folded {
    float sum[D / 8][4];
    float2 *state;
};

/* A chunk of values, by weights, onto what is there; see kg_attend_fold. */
template <int D>
static __device__ __forceinline__ void fold_chunk(struct folded<D> &f, float score[8][4], const __half (*values)[KG_PAGE][KG_STRIDE(D)],
                                                  const uint32_t broken[2], const uint32_t seen[2], const float *unit, const struct kg_cuda_heads &a)
{
    uint32_t high[4][4], low[4][4];
    float most[2], total[2], before[2], now[2];
    kg_tile_weights(high, low, most, total, score, seen, unit, a);
#pragma unroll
    for (uint32_t i = 0; i < 2; i++) {
        float2 *state = &f.state[threadIdx.x % 32 / 4 + 8 * i];
        const float2 had = *state;
        const float higher = fmaxf(had.x, most[i]);
        before[i] = expf(had.x - higher);
        now[i] = expf(most[i] - higher);
        total[i] = kg_sees_broken(broken, seen[i]) ? NAN : total[i];
        __syncwarp();
        if (seen[i] && threadIdx.x % 4 == 0)
            *state = make_float2(higher, fmaf(total[i], now[i], had.y * before[i]));
    }
#pragma unroll
    for (uint32_t b = 0; b < D / 32; b++) {
        if (b / 2 * 64 >= a.head_size) /* also a place behind which values of the next elements are not loaded beforehand */
            break;
        float sum[4][4] = {};
#pragma unroll
        for (uint32_t k = 0; k < 4; k++)
            kg_tile_values<D>(sum, high[k], low[k], values[k / 2], k % 2 * 16, b / 2 * 64 + b % 2 * 4);
#pragma unroll
        for (uint32_t j = 0; j < 4; j++)
#pragma unroll
            for (uint32_t c = 0; c < 4; c++)
                if (seen[c / 2])
                    f.sum[4 * b + j][c] = fmaf(sum[j][c] * KG_WEIGHT, now[c / 2], f.sum[4 * b + j][c] * before[c / 2]);
    }
}

/* One span. Keys of the next chunk and values of this one are on their way while others are multiplied. */
template <int D>
static __device__ void fold_span(struct folded<D> &f, struct kg_tile_shared<D> &s, const struct kg_queries<D> &queries, const uint32_t reaches[2],
                                 const uint32_t *list, uint32_t reach, const struct kg_cuda_pages &pages, uint32_t kv_head,
                                 const struct kg_cuda_heads &a)
{
#pragma unroll 1
    for (uint32_t p = 0; p < 4; p++)
        kg_clear_rest<D>(s.page[p], a.head_size, threadIdx.x, 32 * WARPS(D));
    fetch_chunk<D>(s.page, pages, list, 0, kv_head, 0, reach);
#pragma unroll 1
    for (uint32_t first = 0; first < reach; first += KG_CHUNK) {
        float score[8][4];
        const uint32_t seen[2] = { seen_of(reaches[0], first), seen_of(reaches[1], first) };
        fetch_chunk<D>(s.page + 2, pages, list, 1, kv_head, first, reach);
        if (threadIdx.x < 2)
            s.broken[0][threadIdx.x] = 0;
        kg_fetch_wait<1>();
        __syncthreads();
        kg_tile_scores<D>(score, queries, s.page[0], a.head_size);
        kg_tile_scores<D>(score + 4, queries, s.page[1], a.head_size);
        __syncthreads();
        if (first + KG_CHUNK < reach)
            fetch_chunk<D>(s.page, pages, list, 0, kv_head, first + KG_CHUNK, reach);
        else
            kg_fetch_commit();
        kg_fetch_wait<1>();
        kg_mend_page<D>(s.page[2], a.head_size, &s.broken[0][0], threadIdx.x, 32 * WARPS(D));
        kg_mend_page<D>(s.page[3], a.head_size, &s.broken[0][1], threadIdx.x, 32 * WARPS(D));
        __syncthreads();
        fold_chunk<D>(f, score, s.page + 2, s.broken[0], seen, queries.unit, a);
        __syncthreads();
    }
    kg_fetch_wait<0>();
}

/* Element of a head that column c of a lane's sum j stands for. */
static __device__ __forceinline__ uint32_t element_of(uint32_t j, uint32_t c)
{
    return j / 8 * 64 + 16 * (threadIdx.x % 4) + 8 * c + j % 8;
}

/* Many rows: a block a tile of query heads and a KV head, over all spans. */
template <int D>
__global__ void __launch_bounds__(32 * WARPS(D), 1)
kg_attend_tiles(float *out, const float *q, struct kg_cuda_pages pages, struct kg_view_rooms rooms, struct kg_cuda_heads a, struct kg_cuda_rope rope,
                const int32_t *position, uint32_t rows_in_all)
{
    __shared__ __align__(16) struct kg_tile_shared<D> s;
    __shared__ uint4 low[D / 16][32 * WARPS(D)];
    const struct kg_seen view = kg_see(rooms);
    __shared__ struct tile tile; /* registers are scarce */
    if (threadIdx.x == 0)
        tile = tile_of(blockIdx.x * WARPS(D) * KG_TILE, WARPS(D) * KG_TILE, rows_in_all, a.heads / a.kv_heads, blockIdx.y, *position);
    __syncthreads();
    struct folded<D> f = { {}, s.state[threadIdx.x / 32] };
    if (threadIdx.x % 32 < KG_TILE)
        f.state[threadIdx.x % 32] = make_float2(-INFINITY, 0);
    __syncwarp();
#pragma unroll 1
    for (uint32_t i = 0; i < rooms.view->span_count; i++) {
        const struct kg_cuda_span span = view.spans[i];
        const uint32_t reach = reach_of(span, tile.last), first = tile.first + threadIdx.x / 32 * KG_TILE, own = first + threadIdx.x % 32 / 4;
        if (reach == 0)
            continue;
        const uint32_t reaches[2] = { reach_of(span, position_of(tile, own)), reach_of(span, position_of(tile, own + 8)) };
        struct kg_queries<D> queries;
        queries.low = &low[0][threadIdx.x];
        queries.stride = 32 * WARPS(D);
        queries.unit = s.unit[threadIdx.x / 32];
        turn_tile<D>(s, queries, &low[0][threadIdx.x], tile, first, q, span, rope, a);
        fold_span<D>(f, s, queries, reaches, view.pages + span.first_page, reach, pages, tile.kv_head, a);
    }
    __syncwarp();
#pragma unroll
    for (uint32_t i = 0; i < 2; i++) {
        const uint32_t own = tile.first + threadIdx.x / 32 * KG_TILE + threadIdx.x % 32 / 4 + 8 * i;
        if (own >= rows_in_all * tile.group)
            continue;
        const float share = 1 / f.state[threadIdx.x % 32 / 4 + 8 * i].y;
        float *to = out + ((size_t)(own / tile.group) * a.heads + tile.kv_head * tile.group + own % tile.group) * a.head_size;
#pragma unroll
        for (uint32_t j = 0; j < D / 8; j++)
#pragma unroll
            for (uint32_t c = 0; c < 2; c++)
                if (element_of(j, c) < a.head_size)
                    to[element_of(j, c)] = f.sum[j][2 * i + c] * share;
    }
}

/* Few rows: a block a part of the view, a KV head and a tile of 16 query heads; a warp a chunk, with a page of shared memory of its own. */
template <int D>
__global__ void __launch_bounds__(THREADS, 1)
kg_attend_chunk(struct chunks out, const float *q, struct kg_cuda_pages pages, struct kg_view_rooms rooms, struct kg_cuda_heads a, struct kg_cuda_rope rope,
                const int32_t *position, uint32_t rows_in_all)
{
    __shared__ __align__(16) struct kg_tile_shared<D> s;
    __shared__ uint4 low[D / 16][32]; /* the same for all warps */
    const struct kg_seen view = kg_see(rooms);
    if (blockIdx.x >= view.part_count)
        return;
    const struct kg_cuda_part part = view.parts[blockIdx.x];
    const struct kg_cuda_span span = view.spans[part.span];
    const struct tile tile = tile_of(blockIdx.z * KG_TILE, KG_TILE, rows_in_all, a.heads / a.kv_heads, blockIdx.y, *position);
    const uint32_t warp = threadIdx.x / 32, lane = threadIdx.x % 32, first = part.first + warp * KG_CHUNK, reach = reach_of(span, tile.last);
    const uint32_t seen[2] = { seen_of(reach_of(span, position_of(tile, tile.first + lane / 4)), first),
                               seen_of(reach_of(span, position_of(tile, tile.first + lane / 4 + 8)), first) };
    const uint32_t *list = view.pages + span.first_page;
    float most[2] = { -INFINITY, -INFINITY }, total[2] = { 0, 0 }, sum[D / 32][4][4] = {};
    if (part.first < reach) { /* the block as one */
        struct kg_queries<D> queries;
        queries.low = &low[0][lane];
        queries.stride = 32;
        queries.unit = s.unit[warp];
        turn_tile<D>(s, queries, warp == 0 ? &low[0][lane] : NULL, tile, tile.first, q, span, rope, a);
        if (first < reach) {
            float score[8][4];
            uint32_t high[4][4], low[4][4];
            kg_clear_rest<D>(s.page[warp], a.head_size, lane, 32);
            if (lane < 2)
                s.broken[warp][lane] = 0;
#pragma unroll
            for (uint32_t step = 0; step < 4; step++) { /* keys of two pages, then values */
                const uint32_t from = first + step % 2 * KG_PAGE, limit = from < reach ? reach - from : 0;
                __syncwarp();
                kg_fetch_page<D>(s.page[warp], kg_page_at(pages, list[limit ? from / KG_PAGE : 0], step / 2, tile.kv_head, 0), a.head_size, limit, lane, 32);
                kg_fetch_commit();
                kg_fetch_wait<0>();
                if (step >= 2)
                    kg_mend_page<D>(s.page[warp], a.head_size, &s.broken[warp][step % 2], lane, 32);
                __syncwarp();
                if (step < 2)
                    kg_tile_scores<D>(score + 4 * step, queries, s.page[warp], a.head_size);
                if (step == 1)
                    kg_tile_weights(high, low, most, total, score, seen, queries.unit, a);
#pragma unroll
                for (uint32_t k = 0; step >= 2 && k < 2; k++)
#pragma unroll
                    for (uint32_t b = 0; b < D / 32; b++)
                        kg_tile_values<D>(sum[b], high[step % 2 * 2 + k], low[step % 2 * 2 + k], s.page[warp], 16 * k, b / 2 * 64 + b % 2 * 4);
            }
        }
    }
#pragma unroll
    for (uint32_t i = 0; i < 2; i++) {
        const uint32_t own = tile.first + lane / 4 + 8 * i;
        if (own >= rows_in_all * tile.group)
            continue;
        const size_t at = ((size_t)(own / tile.group) * a.heads + tile.kv_head * tile.group + own % tile.group) * out.room + blockIdx.x * CHUNKS + warp;
        if (lane % 4 == 0)
            out.weights[at] = make_float2(most[i], seen[i] == 0 ? 0 : kg_sees_broken(s.broken[warp], seen[i]) ? NAN : total[i]);
#pragma unroll
        for (uint32_t j = 0; seen[i] && j < D / 8; j++)
#pragma unroll
            for (uint32_t c = 0; c < 2; c++)
                if (element_of(j, c) < a.head_size)
                    out.sums[at * a.head_size + element_of(j, c)] = sum[j / 4][j % 4][2 * i + c] * KG_WEIGHT;
    }
}

/* The largest of all threads up to this one, and before them of `carry`; *before: of those up to the one before. */
static __device__ float running_max(float x, float carry, float *before, float *of_warps)
{
    const uint32_t lane = threadIdx.x % 32, warp = threadIdx.x / 32;
#pragma unroll
    for (uint32_t o = 1; o < 32; o *= 2) {
        const float lower = __shfl_up_sync(KG_FULL_WARP, x, o);
        x = lane >= o ? fmaxf(x, lower) : x;
    }
    if (lane == 31)
        of_warps[warp] = x;
    __syncthreads();
    float below = carry;
    for (uint32_t w = 0; w < warp; w++)
        below = fmaxf(below, of_warps[w]);
    const float lower = __shfl_up_sync(KG_FULL_WARP, x, 1);
    *before = lane ? fmaxf(below, lower) : below;
    return fmaxf(below, x);
}

/* A block a row and head: chunk after chunk, what is there times exp(its maximum - the new one), and the chunk times exp(its own - the new
 * one). Chunks of which nothing is seen are passed over. */
__global__ void __launch_bounds__(FOLD) kg_attend_fold(float *out, struct chunks in, struct kg_view_rooms rooms, uint32_t head_size)
{
    __shared__ float of_warps[FOLD / 32], last;
    __shared__ float4 step[FOLD]; /* factors, total, and whether there is anything */
    const size_t own = (size_t)blockIdx.y * gridDim.x + blockIdx.x;
    const uint32_t count = rooms.view->part_count * CHUNKS, d = threadIdx.x;
    float carry = -INFINITY, total = 0, sum = 0;
    for (uint32_t first = 0; first < count; first += FOLD) {
        const uint32_t n = count - first < FOLD ? count - first : FOLD;
        const float2 weight = d < n ? in.weights[own * in.room + first + d] : make_float2(-INFINITY, 0);
        float before;
        const float now = running_max(weight.x, carry, &before, of_warps);
        step[d] = make_float4(expf(before - now), expf(weight.x - now), weight.y, weight.y == 0 ? 0 : 1);
        if (d == FOLD - 1)
            last = now;
        __syncthreads();
        carry = last;
        for (uint32_t c = 0; c < n; c++) {
            const float4 factors = step[c];
            if (factors.w == 0)
                continue;
            total = fmaf(factors.z, factors.y, total * factors.x);
            if (d < head_size)
                sum = fmaf(in.sums[(own * in.room + first + c) * head_size + d], factors.y, sum * factors.x);
        }
        __syncthreads();
    }
    if (d < head_size)
        out[own * head_size + d] = sum * (1 / total);
}

template <int D>
static void attend(struct kg_device *device, float *out, const float *q, const struct kg_kv *kv, uint32_t layer, const struct kg_view *view,
                   const struct kg_attention *attention, int32_t position, uint32_t rows)
{
    const struct kg_cuda_heads a = kg_heads_of(attention);
    const struct kg_cuda_pages pages = kg_cuda_pages_of(kv, layer);
    const struct kg_view_rooms rooms = kg_rooms_of(view);
    const struct kg_cuda_rope rope = kg_cuda_rope_of(device, attention->rope);
    const uint32_t group = a.heads / a.kv_heads;
    if (rows > FEW) {
        const dim3 grid((rows * group + WARPS(D) * KG_TILE - 1) / (WARPS(D) * KG_TILE), a.kv_heads);
        kg_cuda_launch(device, "attend", kg_attend_tiles<D>, grid, 32 * WARPS(D), 0, out, q, pages, rooms, a, rope, kg_cuda_now(device, position), rows);
        return;
    }
    const size_t width = (size_t)a.heads * a.head_size, results = (size_t)a.heads * rooms.parts * CHUNKS;
    const size_t row_bytes = results * (a.head_size * sizeof(float) + sizeof(float2));
    const size_t turn = SCRATCH / row_bytes ? SCRATCH / row_bytes < rows ? SCRATCH / row_bytes : rows : 1;
    if (!kg_cuda_grow(device, &device->scratch, turn * row_bytes, "attending"))
        return;
    struct chunks chunks = { NULL, (float2 *)device->scratch.bits, rooms.parts * CHUNKS, 0 };
    chunks.sums = (float *)(chunks.weights + turn * results);
    for (uint32_t first = 0; first < rows; first += (uint32_t)turn) {
        const uint32_t n = rows - first < turn ? rows - first : (uint32_t)turn;
        const int32_t *at = kg_cuda_now(device, position + (int32_t)first);
        const dim3 grid(rooms.parts, a.kv_heads, (n * group + KG_TILE - 1) / KG_TILE);
        kg_cuda_launch(device, "attend", kg_attend_chunk<D>, grid, THREADS, 0, chunks, q + first * width, pages, rooms, a, rope, at, n);
        kg_cuda_launch(device, "attend", kg_attend_fold, dim3(a.heads, n), FOLD, 0, out + first * width, chunks, rooms, a.head_size);
    }
}

void kg_cuda_attend_tiles(struct kg_device *device, float *out, const float *q, const struct kg_kv *kv, uint32_t layer, const struct kg_view *view,
                          const struct kg_attention *attention, int32_t position, uint32_t rows)
{
    assert(attention->head_size <= KG_TILE_HEAD);
    if (attention->head_size <= 64)
        attend<64>(device, out, q, kv, layer, view, attention, position, rows);
    else
        attend<128>(device, out, q, kv, layer, view, attention, position, rows);
}
