/* The key index and the choice of tokens; kernels/backend.h defines both.
 *
 * The choice takes two kernels: scores of all visible tokens, part by part as in attend.cu, each with its part's maximum
 * and total; then, a block for each row and KV head, ranks and the selection. Where one block would take long for the ranks of a
 * long context, more blocks find them first. */
#include <assert.h>
#include <float.h>

#include "kernels/cuda/look.h"
#include "kernels/cuda/select.h"
#include "kernels/cuda/warp.h"

#define THREADS KG_LOOK_THREADS
#define WARPS   KG_LOOK_WARPS
#define HEADS   KG_LOOK_HEADS
#define WORDS   (KG_HEAD_MAX / 4)    /* four channels each */
#define SCRATCH ((size_t)64 << 20)   /* for scores; more rows are done in turns */

/* 2^((e - 128) / 8) */
static __device__ double step_of(uint32_t e)
{
    const double low = e & 2 ? e & 1 ? 1.2968395546510096 : 1.189207115002721 : e & 1 ? 1.0905077326652577 : 1;
    const double high = e & 2 ? e & 1 ? 1.8340080864093424 : 1.681792830507429 : e & 1 ? 1.5422108254079407 : 1.4142135623730951;
    const uint64_t power = (uint64_t)(1023 - 16 + e / 8) << 52;
    return (e & 4 ? high : low) * __longlong_as_double((long long)power);
}

/* The least e whose step, times `levels`, reaches over the range; found from an estimate that is at most a few off. */
static __device__ uint32_t step_code(double range, double levels)
{
    if (!(range > 0))
        return 0;
    const float estimate = ceilf(8 * log2f((float)(range / levels))) + 128;
    int e = estimate < 1 ? 1 : estimate > 255 ? 255 : (int)estimate;
    while (e > 1 && step_of((uint32_t)e - 1) * levels >= range)
        e--;
    while (e < 255 && step_of((uint32_t)e) * levels < range)
        e++;
    return (uint32_t)e;
}

/* Whether this thread's share of a page's keys, of all KV heads, is finite. */
static __device__ bool keys_are_finite(const struct kg_cuda_pages &pages, uint32_t page, uint32_t tokens)
{
    bool finite = true;
    for (uint32_t h = 0; h < pages.kv_heads; h++) {
        const __half *keys = kg_page_at(pages, page, 0, h, 0);
        for (uint32_t i = threadIdx.x; i < tokens * pages.head_size; i += blockDim.x)
            finite = finite && isfinite(__half2float(keys[i]));
    }
    return finite;
}

/* A block a page and KV head: m and e, a thread a channel; then codes, a thread a byte. */
__global__ void __launch_bounds__(KG_HEAD_MAX) kg_index_write(struct kg_cuda_pages pages, const struct kg_cuda_touched *touched)
{
    __shared__ float lows[KG_HEAD_MAX];
    __shared__ double steps[KG_HEAD_MAX];
    __shared__ uint32_t broken; /* threads that saw a key that is not finite */
    const uint32_t head = blockIdx.x, page = touched->page[blockIdx.y], n = pages.head_size, bits = pages.index_bits, in_byte = 8 / bits;
    const uint32_t before = (touched->first / KG_PAGE + blockIdx.y) * KG_PAGE, there = touched->end - before, tokens = there < KG_PAGE ? there : KG_PAGE;
    const uint32_t d = threadIdx.x;
    const double levels = (double)((1U << bits) - 1);
    const __half *keys = kg_page_at(pages, page, 0, head, 0);
    uint8_t *index = kg_index_at(pages, page, head), *codes = index + 3 * (size_t)n;
    if (d == 0)
        broken = 0;
    if (d < n) {
        float low = INFINITY, high = -INFINITY;
        for (uint32_t t = 0; t < tokens; t++) {
            const float k = __half2float(keys[(size_t)t * n + d]);
            low = fminf(low, k);
            high = fmaxf(high, k);
        }
        low += 0.0F; /* -0 becomes 0 */
        const uint32_t e = step_code((double)high - (double)low, levels);
        reinterpret_cast<__half *>(index)[d] = __float2half_rn(low);
        index[2 * (size_t)n + d] = (uint8_t)e;
        lows[d] = low;
        steps[d] = e ? step_of(e) : 0;
    }
    __syncthreads();
    for (uint32_t i = threadIdx.x; i < n / in_byte * KG_PAGE; i += blockDim.x) {
        const uint32_t t = i % KG_PAGE, first = i / KG_PAGE * in_byte;
        uint32_t byte = 0;
        for (uint32_t c = 0; t < tokens && c < in_byte; c++) {
            const double step = steps[first + c], away = (double)__half2float(keys[(size_t)t * n + first + c]) - (double)lows[first + c];
            if (step > 0)
                byte |= (uint32_t)fmin(levels, rint(away / step)) << (c * bits);
        }
        codes[i] = (uint8_t)byte;
    }
    if (head > 0)
        return;
    if (!keys_are_finite(pages, page, tokens))
        atomicAdd(&broken, 1U);
    __syncthreads();
    if (threadIdx.x == 0)
        *kg_indexed_at(pages, page) = broken ? 0 : (uint8_t)tokens;
}

void kg_cuda_index_write(struct kg_device *device, struct kg_kv *kv, uint32_t layer, const uint32_t *pages, uint32_t first, uint32_t rows, bool closes)
{
    const uint32_t end = first + rows, first_page = first / KG_PAGE, count = end / KG_PAGE - first_page + (closes && end % KG_PAGE != 0);
    if (device->failed || !kv->shape.index_bits || count == 0)
        return;
    const struct kg_cuda_touched *touched = kg_cuda_touched_of(device, kv, pages, first, 0, rows);
    const unsigned threads = (kv->shape.head_size + 31) / 32 * 32;
    kg_cuda_launch(device, "index_write", kg_index_write, dim3(kv->shape.kv_heads, count), threads, 0, kg_cuda_pages_of(kv, layer), touched);
}

struct shared {
    float2 angle[KG_PAIRS_MAX];
    __align__(16) float q[HEADS][KG_HEAD_MAX];
    float score[HEADS][KG_PART];
    uint32_t choosable[KG_PART / KG_PAGE]; /* a bit a token */
    __align__(16) uint32_t rounded[WARPS][HEADS][WORDS]; /* r of one page, four channels a word, zeros behind the last */
    float2 offset[WARPS][HEADS]; /* sum of q m, and a */
};

static_assert(KG_PART / KG_PAGE == WARPS, "a warp takes one page of a part");

/* The step of a channel in f32; 0 for e = 0. Powers of two are exact, so that it is step_of rounded. */
static __device__ __forceinline__ float small_step_of(uint32_t e)
{
    const float low = e & 2 ? e & 1 ? 1.2968395546510096F : 1.189207115002721F : e & 1 ? 1.0905077326652577F : 1;
    const float high = e & 2 ? e & 1 ? 1.8340080864093424F : 1.681792830507429F : e & 1 ? 1.5422108254079407F : 1.4142135623730951F;
    return e ? (e & 4 ? high : low) * __uint_as_float((127 - 16 + e / 8) << 23) : 0;
}

/* m and steps of a lane's channels: words lane and lane + 32 of them. */
struct scales {
    float4 low[WORDS / 32], step[WORDS / 32];
};

static __device__ __forceinline__ void fetch_scales(struct scales &out, const uint8_t *index, uint32_t head_size)
{
#pragma unroll
    for (uint32_t i = 0; i < WORDS / 32; i++) {
        const uint32_t word = threadIdx.x % 32 + 32 * i;
        const bool there = 4 * word < head_size;
        const uint2 m = there ? reinterpret_cast<const uint2 *>(index)[word] : make_uint2(0, 0);
        const uint32_t e = there ? reinterpret_cast<const uint32_t *>(index + 2 * (size_t)head_size)[word] : 0;
        const float2 a = kg_two_of(m.x), b = kg_two_of(m.y);
        out.low[i] = make_float4(a.x, a.y, b.x, b.y);
        out.step[i] = make_float4(small_step_of(e & 255), small_step_of(e >> 8 & 255), small_step_of(e >> 16 & 255), small_step_of(e >> 24));
    }
}

/* Below this a rounds to nothing that a score would show. */
#define LEAST 0x1p-120F

/* r, a and the sum of q m of four query heads for one page. */
static __device__ __forceinline__ void round_four(struct shared &s, const struct scales &scales, uint32_t first_head, uint32_t head_size)
{
    const uint32_t lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    float most[KG_FOUR], offset[KG_FOUR];
#pragma unroll
    for (uint32_t h = 0; h < KG_FOUR; h++) {
        most[h] = offset[h] = 0;
#pragma unroll
        for (uint32_t i = 0; i < WORDS / 32; i++) {
            if (4 * (lane + 32 * i) >= head_size)
                continue;
            const float4 q = reinterpret_cast<const float4 *>(s.q[first_head + h])[lane + 32 * i], low = scales.low[i], step = scales.step[i];
            offset[h] = fmaf(q.w, low.w, fmaf(q.z, low.z, fmaf(q.y, low.y, fmaf(q.x, low.x, offset[h]))));
            most[h] = fmaxf(most[h], fmaxf(fmaxf(fabsf(q.x * step.x), fabsf(q.y * step.y)), fmaxf(fabsf(q.z * step.z), fabsf(q.w * step.w))));
        }
    }
#pragma unroll
    for (int o = 16; o > 0; o >>= 1)
#pragma unroll
        for (uint32_t h = 0; h < KG_FOUR; h++) {
            most[h] = fmaxf(most[h], __shfl_xor_sync(KG_FULL_WARP, most[h], o));
            offset[h] += __shfl_xor_sync(KG_FULL_WARP, offset[h], o);
        }
#pragma unroll
    for (uint32_t h = 0; h < KG_FOUR; h++) {
        const float times = most[h] > LEAST ? 127 / most[h] : 0;
#pragma unroll
        for (uint32_t i = 0; i < WORDS / 32; i++) {
            const uint32_t word = lane + 32 * i;
            uint32_t packed = 0;
            if (4 * word < head_size) {
                const float4 q = reinterpret_cast<const float4 *>(s.q[first_head + h])[word], step = scales.step[i];
                packed = ((uint32_t)__float2int_rn(q.x * step.x * times) & 255) | ((uint32_t)__float2int_rn(q.y * step.y * times) & 255) << 8 |
                         ((uint32_t)__float2int_rn(q.z * step.z * times) & 255) << 16 | (uint32_t)__float2int_rn(q.w * step.w * times) << 24;
            }
            s.rounded[warp][first_head + h][word] = packed;
        }
        if (lane == 0)
            s.offset[warp][first_head + h] = make_float2(offset[h], most[h] / 127);
    }
}

#define BATCH 128 /* channels whose codes are on their way at a time */

/* Codes of one token for a batch of channels from `first` on, as they lie in the index: a byte of each group. */
template <uint32_t bits> static __device__ __forceinline__ void fetch_codes(uint32_t byte[BATCH * bits / 8], const uint8_t *codes, uint32_t first, uint32_t head_size)
{
#pragma unroll
    for (uint32_t i = 0; i < BATCH * bits / 8; i++) {
        const uint32_t group = first * bits / 8 + i;
        byte[i] = group < head_size * bits / 8 ? codes[group * KG_PAGE + threadIdx.x % 32] : 0;
    }
}

/* Four of them, a byte each. */
template <uint32_t bits> static __device__ __forceinline__ uint32_t four_codes(const uint32_t byte[BATCH * bits / 8], uint32_t word)
{
    if (bits == 4) {
        const uint32_t both = byte[2 * word] | byte[2 * word + 1] << 16;
        return (both & 0x000f000fU) | (both & 0x00f000f0U) << 4;
    }
    if (bits == 2) {
        const uint32_t twice = (byte[word] | byte[word] << 12) & 0x000f000fU;
        return (twice | twice << 6) & 0x03030303U;
    }
    return (byte[word / 2] >> (word % 2 * 4) & 15) * 0x00204081U & 0x01010101U;
}

/* sum[h] = sum of r c over the channels, of the token of each lane. */
template <uint32_t bits>
static __device__ __forceinline__ void sum_codes(int sum[HEADS], const struct shared &s, const uint32_t byte[BATCH * bits / 8], uint32_t first, uint32_t n)
{
    uint32_t word[BATCH / 4];
#pragma unroll
    for (uint32_t w = 0; w < BATCH / 4; w++)
        word[w] = four_codes<bits>(byte, w);
#pragma unroll
    for (uint32_t h = 0; h < HEADS; h++) {
        if (h >= n)
            continue;
#pragma unroll
        for (uint32_t w = 0; w < BATCH / 16; w++) {
            const uint4 r = reinterpret_cast<const uint4 *>(s.rounded[threadIdx.x / 32][h])[first / 16 + w];
            sum[h] = __dp4a((int)word[4 * w], (int)r.x, sum[h]);
            sum[h] = __dp4a((int)word[4 * w + 1], (int)r.y, sum[h]);
            sum[h] = __dp4a((int)word[4 * w + 2], (int)r.z, sum[h]);
            sum[h] = __dp4a((int)word[4 * w + 3], (int)r.w, sum[h]);
        }
    }
}

/* Scores of a page's tokens that may be chosen, by its index. */
template <uint32_t bits>
static __device__ __forceinline__ void score_by_index(struct shared &s, const struct kg_cuda_heads &a, const uint8_t *index, uint32_t at, bool choosable, uint32_t n)
{
    const uint8_t *codes = index + 3 * (size_t)a.head_size;
    uint32_t byte[BATCH * bits / 8];
    struct scales scales;
    int sum[HEADS];
    fetch_scales(scales, index, a.head_size);
    fetch_codes<bits>(byte, codes, 0, a.head_size);
#pragma unroll
    for (uint32_t h = 0; h < HEADS; h += KG_FOUR)
        if (h < n)
            round_four(s, scales, h, a.head_size);
    __syncwarp();
#pragma unroll
    for (uint32_t h = 0; h < HEADS; h++)
        sum[h] = 0;
    sum_codes<bits>(sum, s, byte, 0, n);
    if (a.head_size > BATCH) {
        fetch_codes<bits>(byte, codes, BATCH, a.head_size);
        sum_codes<bits>(sum, s, byte, BATCH, n);
    }
    static_assert(KG_HEAD_MAX == 2 * BATCH, "two batches of channels");
#pragma unroll
    for (uint32_t h = 0; h < HEADS; h++)
        if (h < n && choosable)
            s.score[h][at] = kg_capped(a, fmaf(s.offset[threadIdx.x / 32][h].y, (float)sum[h], s.offset[threadIdx.x / 32][h].x));
}

/* Scores of four query heads for one token of each lane that has one, by its key. */
static __device__ __forceinline__ void score_by_key(struct shared &s, const struct kg_cuda_heads &a, const __half *key, uint32_t at, bool own, uint32_t first_head,
                                                    uint32_t n)
{
    float dot[KG_FOUR] = {};
#pragma unroll 1
    for (uint32_t first = 0; own && first < a.head_size; first += 64) {
        uint4 piece[8];
#pragma unroll
        for (uint32_t i = 0; i < 8; i++)
            piece[i] = kg_eight_of(key, first + 8 * i, a.head_size);
#pragma unroll
        for (uint32_t i = 0; i < 8; i++)
#pragma unroll
            for (uint32_t h = 0; h < KG_FOUR; h++)
                if (first + 8 * i < a.head_size)
                    dot[h] = kg_add_eight(dot[h], &s.q[first_head + h][first + 8 * i], piece[i]);
    }
#pragma unroll
    for (uint32_t h = 0; h < KG_FOUR; h++)
        if (own && first_head + h < n)
            s.score[first_head + h][at] = kg_capped(a, dot[h]);
}

/* Scores (rows, heads, tokens that there is room for) of what may be chosen, more than -INFINITY, which is that of all else; and for each part
 * (rows, heads, parts) maximum and total of exp(score - maximum) over all that is visible. A score that is no number makes its
 * head's total none. */
struct scores {
    float *score;
    float2 *weights;
};

/* A part's results for n heads: a warp a head, a lane every 32nd token. */
static __device__ void hand_out(const struct shared &s, struct scores out, const struct kg_view_rooms &rooms, size_t head, uint32_t first_token, uint32_t there,
                                uint32_t tokens, uint32_t n)
{
    const uint32_t lane = threadIdx.x % 32;
    for (uint32_t h = threadIdx.x / 32; h < n; h += WARPS) {
        float score[KG_PART / 32], most = -INFINITY, total = 0;
        float *own = out.score + (head + h) * rooms.tokens + first_token;
#pragma unroll
        for (uint32_t i = 0; i < KG_PART / 32; i++) {
            score[i] = lane + 32 * i < tokens ? s.score[h][lane + 32 * i] : -INFINITY;
            most = fmaxf(most, score[i]);
        }
        most = kg_warp_max(most);
#pragma unroll
        for (uint32_t i = 0; i < KG_PART / 32; i++) {
            const uint32_t t = lane + 32 * i;
            if (t < there)
                own[t] = t < tokens && (s.choosable[i] >> lane & 1) ? fmaxf(score[i], -FLT_MAX) : -INFINITY;
            total += score[i] != -INFINITY ? expf(score[i] - most) : 0;
        }
        total = kg_warp_sum(total);
        if (lane == 0)
            out.weights[(head + h) * rooms.parts + blockIdx.x] = make_float2(most, total);
    }
}

template <uint32_t bits>
__global__ void __launch_bounds__(THREADS, bits == 4 ? 1 : 2) kg_score_part(struct scores out, const float *q, struct kg_cuda_pages pages, struct kg_view_rooms rooms,
                                                         struct kg_cuda_heads a, struct kg_cuda_rope rope, struct kg_recalled r, const int32_t *position)
{
    __shared__ struct shared s;
    const uint32_t kv_head = blockIdx.y, row = blockIdx.z, group = a.heads / a.kv_heads, lane = threadIdx.x % 32, p = threadIdx.x / 32;
    const double frequency = kg_fetch_frequency(rope);
    const int64_t own = (int64_t)*position + row;
    const size_t head = (size_t)row * a.heads + (size_t)kv_head * group;
    const struct kg_seen view = kg_see(rooms);
    if (blockIdx.x >= view.part_count)
        return;
    float2 pairs[KG_LOOK_PAIRS];
    kg_fetch_queries(pairs, a, rope, q + head * a.head_size, group < HEADS ? group : HEADS);
    const struct kg_cuda_part part = view.parts[blockIdx.x];
    const struct kg_cuda_span span = view.spans[part.span];
    const uint32_t tokens = kg_visible(span, part, own), there = span.tokens - part.first < KG_PART ? span.tokens - part.first : KG_PART;
    const uint32_t t = p * KG_PAGE + lane, page = p * KG_PAGE < tokens ? view.pages[span.first_page + part.first / KG_PAGE + p] : 0;
    const bool seen = t < tokens, choosable = seen && kg_choosable(pages, span, page, part.first + t, r.sinks, r.window, own);
    const uint32_t votes = __ballot_sync(KG_FULL_WARP, choosable), others = __ballot_sync(KG_FULL_WARP, seen && !choosable);
    if (lane == 0)
        s.choosable[p] = votes;
    kg_find_angles(s.angle, rope, frequency, own - span.base + span.local);
    for (uint32_t from = 0; from < group; from += HEADS) {
        const uint32_t n = group - from < HEADS ? group - from : HEADS;
        if (from)
            kg_fetch_queries(pairs, a, rope, q + (head + from) * a.head_size, n);
        __syncthreads();
        kg_turn_queries(s.q, pairs, s.angle, a, rope, n);
        __syncthreads();
        if (votes)
            score_by_index<bits>(s, a, kg_index_at(pages, page, kv_head), t, choosable, n);
        if (others)
            for (uint32_t h = 0; h < n; h += KG_FOUR)
                score_by_key(s, a, kg_page_at(pages, page, 0, kv_head, lane), t, seen && !choosable, h, n);
        __syncthreads();
        hand_out(s, out, rooms, head + from, span.first + part.first, there, tokens, n);
    }
}

/* Log-sum-exp of each query head over all parts: a warp of `warps` a head. */
template <uint32_t warps>
static __device__ void sum_parts(float *log_sum, const float2 *weights, uint32_t part_room, uint32_t part_count, uint32_t group)
{
    const uint32_t lane = threadIdx.x % 32;
    for (uint32_t h = threadIdx.x / 32; h < group; h += warps) {
        const float2 *own = weights + (size_t)h * part_room;
        float most = -INFINITY, total = 0;
#pragma unroll 4
        for (uint32_t p = lane; p < part_count; p += 32)
            most = fmaxf(most, own[p].x);
        most = kg_warp_max(most);
#pragma unroll 4
        for (uint32_t p = lane; p < part_count; p += 32) {
            const float2 weight = own[p];
            total = weight.y == 0 ? total : fmaf(weight.y, expf(weight.x - most), total);
        }
        total = kg_warp_sum(total);
        if (lane == 0)
            log_sum[h] = most + logf(total);
    }
}

#define RANKS        4 /* of a thread at a time */
#define RANK_THREADS 256
#define RANK_WARPS   (RANK_THREADS / 32)
#define RANK_TILE    (RANKS * RANK_THREADS) /* tokens */
#define RANKED       4096 /* so many tokens are ranked by more blocks than the one that chooses, if */
#define RANKED_LISTS 32   /* there are not more lists than this */

/* Ranks of tokens first + threadIdx.x and every `threads`th behind it, below `end`, stand in for the scores of the first head; widens the
 * range by their keys. */
template <uint32_t threads>
static __device__ __forceinline__ void find_ranks(struct kg_select_range &range, float *score, const float *log_sum, uint32_t first, uint32_t end,
                                                  uint32_t room, uint32_t group)
{
    for (first += threadIdx.x; first < end; first += RANKS * threads) {
        float best[RANKS], own[RANKS];
#pragma unroll
        for (uint32_t i = 0; i < RANKS; i++)
            own[i] = -INFINITY, best[i] = -FLT_MAX;
#pragma unroll 4
        for (uint32_t h = 0; h < group; h++)
#pragma unroll
            for (uint32_t i = 0; i < RANKS; i++) {
                own[i] = first + i * threads < end ? score[(size_t)h * room + first + i * threads] : -INFINITY;
                best[i] = fmaxf(best[i], own[i] - log_sum[h]);
            }
#pragma unroll
        for (uint32_t i = 0; i < RANKS; i++) {
            const bool choosable = own[i] > -INFINITY; /* the same for all heads */
            if (first + i * threads < end)
                score[first + i * threads] = choosable ? best[i] : -INFINITY;
            if (choosable)
                kg_widen(range, kg_key_of(best[i]));
        }
    }
}

/* A block a tile of tokens: their ranks, and the range of each warp's keys (rows, kv_heads, tiles that there is room for, RANK_WARPS). */
__global__ void __launch_bounds__(RANK_THREADS) kg_rank(struct kg_select_range *ranges, struct scores in, struct kg_view_rooms rooms, uint32_t group)
{
    extern __shared__ float log_sum[]; /* of each query head of the group */
    const size_t own = (size_t)blockIdx.z * gridDim.y + blockIdx.y;
    const uint32_t tokens = rooms.view->tokens, first = blockIdx.x * RANK_TILE;
    if (first >= tokens)
        return;
    sum_parts<RANK_WARPS>(log_sum, in.weights + own * group * rooms.parts, rooms.parts, rooms.view->part_count, group);
    __syncthreads();
    struct kg_select_range range = kg_no_range();
    find_ranks<RANK_THREADS>(range, in.score + own * group * rooms.tokens, log_sum, first, tokens - first < RANK_TILE ? tokens : first + RANK_TILE,
                             rooms.tokens, group);
    kg_join_warp(range);
    if (threadIdx.x % 32 == 0)
        ranges[(own * gridDim.x + blockIdx.x) * RANK_WARPS + threadIdx.x / 32] = range;
}

/* Ranks, or those that kg_rank found; then the k best. */
template <bool ranked>
__global__ void __launch_bounds__(KG_SELECT_THREADS) kg_choose(int32_t *chosen, const struct kg_select_range *ranges, struct scores in, struct kg_view_rooms rooms,
                                                               uint32_t group, uint32_t k)
{
    extern __shared__ float log_sum[]; /* of each query head of the group */
    __shared__ struct kg_select_shared s;
    const size_t own = (size_t)blockIdx.y * gridDim.x + blockIdx.x;
    const uint32_t tokens = rooms.view->tokens;
    float *rank = in.score + own * group * rooms.tokens;
    struct kg_select_range range = kg_no_range();
    chosen += own * k;
    if (ranked) {
        ranges += own * ((rooms.tokens + RANK_TILE - 1) / RANK_TILE) * RANK_WARPS;
        for (uint32_t i = threadIdx.x; i < (tokens + RANK_TILE - 1) / RANK_TILE * RANK_WARPS; i += KG_SELECT_THREADS)
            kg_merge(range, ranges[i]);
    } else {
        sum_parts<KG_SELECT_WARPS>(log_sum, in.weights + own * group * rooms.parts, rooms.parts, rooms.view->part_count, group);
        __syncthreads();
        find_ranks<KG_SELECT_THREADS>(range, rank, log_sum, 0, tokens, rooms.tokens, group);
    }
    kg_join_ranges(s, range);
    const uint32_t wanted = range.count < k ? range.count : k;
    for (uint32_t i = wanted + threadIdx.x; i < k; i += KG_SELECT_THREADS)
        chosen[i] = -1;
    if (wanted == 0)
        return;
    kg_select(
        s, tokens, wanted, range, [&](uint32_t t) { return kg_key_of(rank[t]); }, [&](uint32_t at, uint32_t t) { chosen[at] = (int32_t)t; });
}

template <uint32_t bits>
static void score_parts(struct kg_device *device, dim3 grid, struct scores scores, const float *q, const struct kg_kv *kv, uint32_t layer,
                        const struct kg_view_rooms &rooms, const struct kg_cuda_heads &a, const struct kg_cuda_rope &rope, const struct kg_recalled &r,
                        const int32_t *position)
{
    kg_cuda_launch(device, "choose", kg_score_part<bits>, grid, THREADS, 0, scores, q, kg_cuda_pages_of(kv, layer), rooms, a, rope, r, position);
}

void kg_cuda_choose(struct kg_device *device, struct kg_buffer *chosen, const struct kg_buffer *q, const struct kg_kv *kv, uint32_t layer,
                    const struct kg_view *view, const struct kg_attention *attention, const struct kg_look *look, int32_t position, uint32_t rows)
{
    const struct kg_cuda_heads a = kg_heads_of(attention);
    const uint32_t group = a.heads / a.kv_heads;
    assert(kv->shape.index_bits && look->k >= 1 && look->k <= KG_RECALL_MAX && look->sinks >= 4 && look->window >= 2 * KG_PAGE);
    const float *in = (const float *)kg_cuda_in(q, (size_t)rows * a.heads * a.head_size, sizeof *in);
    int32_t *out = (int32_t *)kg_cuda_out(device, chosen, (size_t)rows * a.kv_heads * look->k, sizeof *out);
    if (device->failed || view->tokens == 0) /* a view that could not be set is empty */
        return;
    const struct kg_view_rooms rooms = kg_rooms_of(view);
    const uint32_t tiles = (rooms.tokens + RANK_TILE - 1) / RANK_TILE;
    const size_t ranges_of_row = (size_t)a.kv_heads * tiles * RANK_WARPS;
    const size_t row_bytes = a.heads * (rooms.parts * sizeof(float2) + rooms.tokens * sizeof(float)) + ranges_of_row * sizeof(struct kg_select_range);
    const size_t turn = SCRATCH / row_bytes ? SCRATCH / row_bytes < rows ? SCRATCH / row_bytes : rows : 1;
    const struct kg_cuda_rope rope = kg_cuda_rope_of(device, attention->rope);
    const struct kg_recalled r = { NULL, look->sinks, look->window, look->k, 0 };
    if (!kg_cuda_grow(device, &device->scratch, turn * row_bytes, "choosing tokens"))
        return;
    struct scores scores = { NULL, (float2 *)device->scratch.bits };
    scores.score = (float *)(scores.weights + turn * a.heads * rooms.parts);
    struct kg_select_range *ranges = (struct kg_select_range *)(scores.score + turn * a.heads * rooms.tokens);
    for (uint32_t first = 0; first < rows; first += (uint32_t)turn) {
        const uint32_t n = rows - first < turn ? rows - first : (uint32_t)turn;
        const int32_t *at = kg_cuda_now(device, position + (int32_t)first);
        const auto score = kv->shape.index_bits == 4 ? score_parts<4> : kv->shape.index_bits == 2 ? score_parts<2> : score_parts<1>;
        score(device, dim3(rooms.parts, a.kv_heads, n), scores, in + (size_t)first * a.heads * a.head_size, kv, layer, rooms, a, rope, r, at);
        int32_t *list = out + (size_t)first * a.kv_heads * look->k;
        const dim3 lists(a.kv_heads, n);
        if (rooms.tokens > RANKED && n * a.kv_heads <= RANKED_LISTS) {
            kg_cuda_launch(device, "choose", kg_rank, dim3(tiles, a.kv_heads, n), RANK_THREADS, group * sizeof(float), ranges, scores, rooms, group);
            kg_cuda_launch(device, "choose", kg_choose<true>, lists, KG_SELECT_THREADS, group * sizeof(float), list, ranges, scores, rooms, group, look->k);
        } else {
            kg_cuda_launch(device, "choose", kg_choose<false>, lists, KG_SELECT_THREADS, group * sizeof(float), list, ranges, scores, rooms, group, look->k);
        }
    }
}
