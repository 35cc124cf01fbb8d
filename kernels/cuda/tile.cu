/* Attention over everything in view, for heads of at most 128 elements, by tensor cores (tile.h).
 *
 * A text of many rows is taken by tiles of 48 or 64 query heads, warps that share what they read of keys and values; each adds up
 * chunks of 64 tokens in the order of the view. A token or a few are too few tiles for that: there a block takes one chunk, and a
 * second kernel adds them up. Both add by the same formulas, so that a row's result is the same however many rows there are. */
#include <assert.h>

#include "kernels/cuda/tile.h"
#include "kernels/cuda/warp.h"

#define CHUNKS      (KG_PART / KG_CHUNK) /* of a part: a block each */
#define THREADS     128                  /* of such a block: eight for each of 16 query heads */
#define WARPS(D)    ((D) > 64 ? 3 : 4)   /* of a block that takes tiles: as many as shared memory has room for */
#define FOLD        128                  /* threads, and chunks at a time */
#define FEW         8                    /* rows */
#define LOADS       16                   /* of a thread that adds up, on their way at a time */
#define SCRATCH     ((size_t)64 << 20)

static_assert(KG_CHUNK == 2 * KG_PAGE && FOLD % LOADS == 0, "a chunk is two pages, and shared memory has room for four");

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

/* Keys (values) of tokens first .. of a span, into two pages, by so many threads. `reach`: tokens of the span that somebody sees. */
template <int D, uint32_t threads>
static __device__ void fetch_chunk(__half (*to)[KG_PAGE][KG_STRIDE(D)], const struct kg_cuda_pages &pages, const uint32_t *list, uint32_t value,
                                   uint32_t kv_head, uint32_t first, uint32_t reach)
{
#pragma unroll
    for (uint32_t p = 0; p < 2; p++) {
        const uint32_t from = first + p * KG_PAGE, limit = from < reach ? reach - from : 0;
        const __half *page = kg_page_at(pages, list[limit ? from / KG_PAGE : 0], value, kv_head, 0);
        kg_fetch_page<D>(to[p], page, pages.head_size, limit, threadIdx.x, threads);
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
    fetch_chunk<D, 32 * WARPS(D)>(s.page, pages, list, 0, kv_head, 0, reach);
#pragma unroll 1
    for (uint32_t first = 0; first < reach; first += KG_CHUNK) {
        float score[8][4];
        const uint32_t seen[2] = { seen_of(reaches[0], first), seen_of(reaches[1], first) };
        fetch_chunk<D, 32 * WARPS(D)>(s.page + 2, pages, list, 1, kv_head, first, reach);
        if (threadIdx.x < 2)
            s.broken[threadIdx.x] = 0;
        kg_fetch_wait<1>();
        __syncthreads();
        kg_tile_scores<D>(score, queries, s.page[0], a.head_size);
        kg_tile_scores<D>(score + 4, queries, s.page[1], a.head_size);
        __syncthreads();
        if (first + KG_CHUNK < reach)
            fetch_chunk<D, 32 * WARPS(D)>(s.page, pages, list, 0, kv_head, first + KG_CHUNK, reach);
        else
            kg_fetch_commit();
        kg_fetch_wait<1>();
        kg_mend_page<D>(s.page[2], a.head_size, &s.broken[0], threadIdx.x, 32 * WARPS(D));
        kg_mend_page<D>(s.page[3], a.head_size, &s.broken[1], threadIdx.x, 32 * WARPS(D));
        __syncthreads();
        fold_chunk<D>(f, score, s.page + 2, s.broken, seen, queries.unit, a);
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

/* The row and head, counted over rows, of query head `own` of a tile's KV head. */
static __device__ __forceinline__ size_t result_of(const struct tile &tile, uint32_t own, const struct kg_cuda_heads &a)
{
    return (size_t)(own / tile.group) * a.heads + tile.kv_head * tile.group + own % tile.group;
}

/* What a block that takes a chunk holds: pages of keys, then of values; queries, turned and divided by their units. */
template <int D> struct chunk_shared {
    __half page[4][KG_PAGE][KG_STRIDE(D)];
    uint4 low[D / 16][32]; /* the same for all warps; before that angles of rows */
    float turned[KG_TILE][D + 2]; /* so that lanes meet different banks */
    float unit[KG_TILE];
    uint32_t broken[2];
};

/* Sixteen query heads, eight threads each: this thread's pairs, on their way while it looks for its chunk. */
template <int D>
static __device__ __forceinline__ void fetch_tile(float2 own[D / 16], const struct tile &tile, const float *q, const struct kg_cuda_heads &a,
                                                  const struct kg_cuda_rope &rope)
{
    const uint32_t wanted = tile.first + threadIdx.x / 8, all = tile.rows * tile.group, number = wanted < all ? wanted : all - 1;
    q += result_of(tile, number, a) * a.head_size;
#pragma unroll
    for (uint32_t i = 0; i < D / 16; i++) {
        const uint32_t j = threadIdx.x % 8 + 8 * i;
        const bool turns = j < rope.pairs;
        own[i] = make_float2(0, 0);
        if (2 * j < a.head_size)
            own[i] = make_float2(q[turns ? kg_rope_first(rope, j) : 2 * j], q[turns ? kg_rope_second(rope, j) : 2 * j + 1]);
    }
}

/* ... turned and divided by a unit, as kg_load_tile has them. Angles are there; results are after the next barrier. */
template <int D>
static __device__ __forceinline__ void place_tile(struct chunk_shared<D> &s, const float2 own[D / 16], const struct tile &tile,
                                                  const struct kg_cuda_rope &rope)
{
    const uint32_t h = threadIdx.x / 8, wanted = tile.first + h, all = tile.rows * tile.group, number = wanted < all ? wanted : all - 1;
    const float2 *angle = reinterpret_cast<const float2 *>(s.low) + (number / tile.group - tile.first_row) * rope.pairs;
    float most = 0;
#pragma unroll
    for (uint32_t i = 0; i < D / 16; i++)
        most = fmaxf(most, fmaxf(fabsf(own[i].x), fabsf(own[i].y)));
#pragma unroll
    for (int o = 4; o > 0; o >>= 1)
        most = fmaxf(most, __shfl_xor_sync(KG_FULL_WARP, most, o));
    const float unit = kg_unit_for(most, rope.scale), times = 1 / unit;
    if (threadIdx.x % 8 == 0)
        s.unit[h] = unit;
#pragma unroll
    for (uint32_t i = 0; i < D / 16; i++) {
        const uint32_t j = threadIdx.x % 8 + 8 * i;
        const bool turns = j < rope.pairs;
        const float2 turned = turns ? kg_turn(own[i].x, own[i].y, angle[j]) : own[i];
        s.turned[h][turns ? kg_rope_first(rope, j) : 2 * j] = turned.x * times;
        s.turned[h][turns ? kg_rope_second(rope, j) : 2 * j + 1] = turned.y * times;
    }
}

/* Queries as a lane of each warp holds them. */
template <int D> static __device__ __forceinline__ void load_queries(struct kg_queries<D> &out, struct chunk_shared<D> &s)
{
    const uint32_t lane = threadIdx.x % 32, g = lane / 4, t = lane % 4;
#pragma unroll
    for (uint32_t step = 0; step < D / 16; step++) {
        uint32_t rest[4];
#pragma unroll
        for (uint32_t w = 0; w < 4; w++) {
            const float2 x = *reinterpret_cast<const float2 *>(&s.turned[g + 8 * (w % 2)][step / 2 * 32 + 8 * t + step % 2 * 4 + w / 2 * 2]);
            kg_two_parts(x.x, x.y, &out.high[step][w], &rest[w]);
        }
        if (threadIdx.x < 32)
            s.low[step][lane] = make_uint4(rest[0], rest[1], rest[2], rest[3]);
    }
    out.low = &s.low[0][lane];
    out.stride = 32;
    out.unit = s.unit;
}

/* Few rows: a block a chunk of the view, a KV head and a tile of 16 query heads. All that it reads is on its way at once; scores and weights
 * are made by each warp, sums of values by a warp for every 32 elements. */
template <int D>
__global__ void __launch_bounds__(THREADS, 1)
kg_attend_chunk(struct chunks out, const float *q, struct kg_cuda_pages pages, struct kg_view_rooms rooms, struct kg_cuda_heads a, struct kg_cuda_rope rope,
                const int32_t *position, uint32_t rows_in_all)
{
    __shared__ __align__(16) struct chunk_shared<D> s;
    static_assert(sizeof s.low >= FEW * (D / 2) * sizeof(float2) && D / 32 <= THREADS / 32, "room for angles, and a warp for 32 elements");
    const struct tile tile = tile_of(blockIdx.z * KG_TILE, KG_TILE, rows_in_all, a.heads / a.kv_heads, blockIdx.y, *position);
    const struct kg_seen view = kg_see(rooms);
    if (blockIdx.x / CHUNKS >= view.part_count)
        return;
    float2 pairs[D / 16];
    fetch_tile<D>(pairs, tile, q, a, rope);
    const struct kg_cuda_part part = view.parts[blockIdx.x / CHUNKS];
    const struct kg_cuda_span span = view.spans[part.span];
    const uint32_t warp = threadIdx.x / 32, lane = threadIdx.x % 32, first = part.first + blockIdx.x % CHUNKS * KG_CHUNK, reach = reach_of(span, tile.last);
    const uint32_t seen[2] = { seen_of(reach_of(span, position_of(tile, tile.first + lane / 4)), first),
                               seen_of(reach_of(span, position_of(tile, tile.first + lane / 4 + 8)), first) };
    if (first >= reach) {
        if (threadIdx.x < KG_TILE && tile.first + threadIdx.x < rows_in_all * tile.group)
            out.weights[result_of(tile, tile.first + threadIdx.x, a) * out.room + blockIdx.x] = make_float2(-INFINITY, 0);
        return;
    }
    const uint32_t *list = view.pages + span.first_page;
    struct kg_queries<D> queries;
    float score[8][4], most[2], total[2], sum[4][4] = {};
    uint32_t high[4][4], low[4][4];
    fetch_chunk<D, THREADS>(s.page, pages, list, 0, tile.kv_head, first, reach);
    fetch_chunk<D, THREADS>(s.page + 2, pages, list, 1, tile.kv_head, first, reach);
#pragma unroll 1
    for (uint32_t p = 0; p < 4; p++)
        kg_clear_rest<D>(s.page[p], a.head_size, threadIdx.x, THREADS);
    if (threadIdx.x < 2)
        s.broken[threadIdx.x] = 0;
    const uint32_t count = (uint32_t)(tile.last - tile.position) - tile.first_row + 1;
    for (uint32_t i = threadIdx.x; i < count * rope.pairs; i += THREADS)
        reinterpret_cast<float2 *>(s.low)[i] = kg_angle(rope, i % rope.pairs, (int64_t)tile.position + tile.first_row + i / rope.pairs - span.base + span.local);
    __syncthreads();
    place_tile<D>(s, pairs, tile, rope);
    __syncthreads();
    load_queries<D>(queries, s);
    kg_fetch_wait<1>();
    __syncthreads();
    kg_tile_scores<D>(score, queries, s.page[0], a.head_size);
    kg_tile_scores<D>(score + 4, queries, s.page[1], a.head_size);
    kg_tile_weights(high, low, most, total, score, seen, queries.unit, a);
    kg_fetch_wait<0>();
    kg_mend_page<D>(s.page[2], a.head_size, &s.broken[0], threadIdx.x, THREADS);
    kg_mend_page<D>(s.page[3], a.head_size, &s.broken[1], threadIdx.x, THREADS);
    __syncthreads();
    if (warp < D / 32)
#pragma unroll
        for (uint32_t k = 0; k < 4; k++)
            kg_tile_values<D>(sum, high[k], low[k], s.page[2 + k / 2], k % 2 * 16, warp / 2 * 64 + warp % 2 * 4);
#pragma unroll
    for (uint32_t i = 0; i < 2; i++) {
        const uint32_t own = tile.first + lane / 4 + 8 * i;
        if (own >= rows_in_all * tile.group)
            continue;
        const size_t at = result_of(tile, own, a) * out.room + blockIdx.x;
        if (warp == 0 && lane % 4 == 0)
            out.weights[at] = make_float2(most[i], seen[i] == 0 ? 0 : kg_sees_broken(s.broken, seen[i]) ? NAN : total[i]);
#pragma unroll
        for (uint32_t j = 0; seen[i] && j < 4; j++)
#pragma unroll
            for (uint32_t c = 0; c < 2; c++)
                if (warp < D / 32 && element_of(4 * warp + j, c) < a.head_size)
                    out.sums[at * a.head_size + element_of(4 * warp + j, c)] = sum[j][2 * i + c] * KG_WEIGHT;
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
        for (uint32_t c = 0; c < n; c += LOADS) { /* behind the last there is nothing up to FOLD */
            float x[LOADS];
#pragma unroll
            for (uint32_t i = 0; i < LOADS; i++)
                x[i] = d < head_size && step[c + i].w != 0 ? in.sums[(own * in.room + first + c + i) * head_size + d] : 0;
#pragma unroll
            for (uint32_t i = 0; i < LOADS; i++) {
                const float4 factors = step[c + i];
                if (factors.w == 0)
                    continue;
                total = fmaf(factors.z, factors.y, total * factors.x);
                sum = fmaf(x[i], factors.y, sum * factors.x);
            }
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
        const dim3 grid(rooms.parts * CHUNKS, a.kv_heads, (n * group + KG_TILE - 1) / KG_TILE);
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
