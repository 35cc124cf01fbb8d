/* The key index and the choice of tokens; kernels/backend.h defines both.
 *
 * The choice takes two kernels: scores of all visible tokens, part by part as in attend.cu, each with its part's maximum
 * and total; then, a block for each row and KV head, ranks and a radix selection. */
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
    float q[HEADS][KG_HEAD_MAX];
    float score[HEADS][KG_PART];
    uint32_t choosable[KG_PART / KG_PAGE];  /* a bit a token */
    uint32_t rounded[WARPS][HEADS][WORDS];  /* r of one page, four channels a word */
    float2 offset[WARPS][HEADS];            /* sum of q m, and a */
};

/* r, a and the sum of q m of each query head for one page: a lane has every 32nd word of channels. */
static __device__ void round_queries(struct shared &s, const struct kg_cuda_pages &pages, uint32_t page, uint32_t kv_head, uint32_t n)
{
    const uint32_t lane = threadIdx.x % 32, warp = threadIdx.x / 32, words = pages.head_size / 4;
    const uint8_t *index = kg_index_at(pages, page, kv_head);
    for (uint32_t h = 0; h < n; h++) {
        float product[WORDS / 32][4], most = 0, offset = 0;
#pragma unroll
        for (uint32_t i = 0; i < WORDS / 32; i++)
#pragma unroll
            for (uint32_t c = 0; c < 4; c++) {
                const uint32_t d = 4 * (lane + 32 * i) + c;
                product[i][c] = 0;
                if (lane + 32 * i >= words)
                    continue;
                const uint32_t e = index[2 * (size_t)pages.head_size + d];
                offset = fmaf(s.q[h][d], __half2float(reinterpret_cast<const __half *>(index)[d]), offset);
                product[i][c] = e ? s.q[h][d] * (float)step_of(e) : 0;
                most = fmaxf(most, fabsf(product[i][c]));
            }
        const float a = kg_warp_max(most) / 127;
        offset = kg_warp_sum(offset);
#pragma unroll
        for (uint32_t i = 0; i < WORDS / 32; i++) {
            uint32_t packed = 0;
#pragma unroll
            for (uint32_t c = 0; c < 4; c++)
                packed |= (uint32_t)(a > 0 ? __float2int_rn(product[i][c] / a) & 255 : 0) << (8 * c);
            if (lane + 32 * i < words)
                s.rounded[warp][h][lane + 32 * i] = packed;
        }
        if (lane == 0)
            s.offset[warp][h] = make_float2(offset, a);
    }
}

/* Four codes of one token, a byte each. */
static __device__ __forceinline__ uint32_t codes_at(const uint8_t *codes, uint32_t bits, uint32_t word, uint32_t slot)
{
    if (bits == 4) {
        const uint32_t a = codes[(2 * word) * KG_PAGE + slot], b = codes[(2 * word + 1) * KG_PAGE + slot];
        return (a & 15) | (a & 240) << 4 | (b & 15) << 16 | (b & 240) << 20;
    }
    if (bits == 2) {
        const uint32_t a = codes[word * KG_PAGE + slot];
        return (a & 3) | (a & 12) << 6 | (a & 48) << 12 | (a & 192) << 18;
    }
    const uint32_t a = codes[word / 2 * KG_PAGE + slot] >> (word % 2 * 4) & 15;
    return a * 0x00204081U & 0x01010101U;
}

/* Scores of one page's tokens, a lane each: by the index where they may be chosen, else by the key itself. */
static __device__ void score_page(struct shared &s, const struct kg_cuda_heads &a, const struct kg_cuda_pages &pages, uint32_t page, uint32_t kv_head,
                                  uint32_t at, bool seen, bool choosable, uint32_t n)
{
    const uint32_t lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    int sum[HEADS];
    float dot[HEADS];
#pragma unroll
    for (uint32_t h = 0; h < HEADS; h++) {
        sum[h] = 0;
        dot[h] = 0;
    }
    if (choosable) {
        const uint8_t *codes = kg_index_at(pages, page, kv_head) + 3 * (size_t)a.head_size;
        for (uint32_t w = 0; w < a.head_size / 4; w++) {
            const uint32_t four = codes_at(codes, pages.index_bits, w, lane);
#pragma unroll
            for (uint32_t h = 0; h < HEADS; h++)
                if (h < n)
                    sum[h] = __dp4a((int)four, (int)s.rounded[warp][h][w], sum[h]);
        }
    } else if (seen) {
        const __half2 *key = reinterpret_cast<const __half2 *>(kg_page_at(pages, page, 0, kv_head, lane));
        for (uint32_t j = 0; j < a.head_size / 2; j++) {
            const float2 k = __half22float2(key[j]);
#pragma unroll
            for (uint32_t h = 0; h < HEADS; h++)
                if (h < n)
                    dot[h] = fmaf(s.q[h][2 * j], k.x, fmaf(s.q[h][2 * j + 1], k.y, dot[h]));
        }
    }
#pragma unroll
    for (uint32_t h = 0; h < HEADS; h++)
        if (h < n && seen)
            s.score[h][at + lane] = kg_capped(a, choosable ? fmaf(s.offset[warp][h].y, (float)sum[h], s.offset[warp][h].x) : dot[h]);
}

/* Scores (rows, heads, tokens that there is room for) of what may be chosen, more than -INFINITY, which is that of all else; and for each part
 * (rows, heads, parts) maximum and total of exp(score - maximum) over all that is visible. A score that is no number makes its
 * head's total none. */
struct scores {
    float *score;
    float2 *weights;
};

/* A part's results for n heads: a warp a head. */
static __device__ void hand_out(const struct shared &s, struct scores out, const struct kg_view_rooms &rooms, size_t head, uint32_t first_token, uint32_t there,
                                uint32_t tokens, uint32_t n)
{
    const uint32_t lane = threadIdx.x % 32;
    for (uint32_t h = threadIdx.x / 32; h < n; h += WARPS) {
        float most = -INFINITY, total = 0;
        float *own = out.score + (head + h) * rooms.tokens + first_token;
        for (uint32_t t = lane; t < tokens; t += 32)
            most = fmaxf(most, s.score[h][t]);
        most = kg_warp_max(most);
        for (uint32_t t = lane; t < there; t += 32) {
            own[t] = t < tokens && (s.choosable[t / KG_PAGE] >> (t % KG_PAGE) & 1) ? fmaxf(s.score[h][t], -FLT_MAX) : -INFINITY;
            total += t < tokens && s.score[h][t] != -INFINITY ? expf(s.score[h][t] - most) : 0;
        }
        total = kg_warp_sum(total);
        if (lane == 0)
            out.weights[(head + h) * rooms.parts + blockIdx.x] = make_float2(most, total);
    }
}

__global__ void __launch_bounds__(THREADS) kg_score_part(struct scores out, const float *q, struct kg_cuda_pages pages, struct kg_view_rooms rooms,
                                                         struct kg_cuda_heads a, struct kg_cuda_rope rope, struct kg_recalled r, const int32_t *position)
{
    __shared__ struct shared s;
    const struct kg_seen view = kg_see(rooms);
    const uint32_t kv_head = blockIdx.y, row = blockIdx.z, group = a.heads / a.kv_heads, lane = threadIdx.x % 32;
    if (blockIdx.x >= view.part_count)
        return;
    const struct kg_cuda_part part = view.parts[blockIdx.x];
    const struct kg_cuda_span span = view.spans[part.span];
    const int64_t own = (int64_t)*position + row;
    const uint32_t *list = view.pages + span.first_page + part.first / KG_PAGE;
    const uint32_t tokens = kg_visible(span, part, own), there = span.tokens - part.first < KG_PART ? span.tokens - part.first : KG_PART;
    for (uint32_t j = threadIdx.x; j < rope.pairs; j += THREADS)
        s.angle[j] = kg_angle(rope, j, own - span.base + span.local);
    for (uint32_t from = 0; from < group; from += HEADS) {
        const uint32_t n = group - from < HEADS ? group - from : HEADS;
        const size_t head = (size_t)row * a.heads + (size_t)kv_head * group + from;
        __syncthreads();
        kg_load_queries(s.q, s.angle, a, rope, q + head * a.head_size, n);
        __syncthreads();
        for (uint32_t p = threadIdx.x / 32; p * KG_PAGE < tokens; p += WARPS) {
            const uint32_t page = list[p], t = part.first + p * KG_PAGE + lane;
            const bool seen = p * KG_PAGE + lane < tokens, choosable = seen && kg_choosable(pages, span, page, t, r.sinks, r.window, own);
            const uint32_t votes = __ballot_sync(KG_FULL_WARP, choosable);
            if (votes)
                round_queries(s, pages, page, kv_head, n);
            if (lane == 0)
                s.choosable[p] = votes;
            __syncwarp();
            score_page(s, a, pages, page, kv_head, p * KG_PAGE, seen, choosable, n);
            __syncwarp();
        }
        __syncthreads();
        hand_out(s, out, rooms, head, span.first + part.first, there, tokens, n);
    }
}

/* Log-sum-exp of each query head over all parts: a warp a head. */
static __device__ void sum_parts(float *log_sum, const float2 *weights, uint32_t part_room, uint32_t part_count, uint32_t group)
{
    const uint32_t lane = threadIdx.x % 32;
    for (uint32_t h = threadIdx.x / 32; h < group; h += KG_SELECT_WARPS) {
        const float2 *own = weights + (size_t)h * part_room;
        float most = -INFINITY, total = 0;
        for (uint32_t p = lane; p < part_count; p += 32)
            most = fmaxf(most, own[p].x);
        most = kg_warp_max(most);
        for (uint32_t p = lane; p < part_count; p += 32)
            total = own[p].y == 0 ? total : fmaf(own[p].y, expf(own[p].x - most), total);
        total = kg_warp_sum(total);
        if (lane == 0)
            log_sum[h] = most + logf(total);
    }
}

/* Ranks stand in for the scores of the first head of the group; then the k best. */
__global__ void __launch_bounds__(KG_SELECT_THREADS) kg_choose(int32_t *chosen, struct scores in, struct kg_view_rooms rooms, uint32_t group, uint32_t k)
{
    extern __shared__ float log_sum[]; /* of each query head of the group */
    __shared__ uint32_t found;
    const size_t own = (size_t)blockIdx.y * gridDim.x + blockIdx.x;
    const uint32_t tokens = rooms.view->tokens;
    float *rank = in.score + own * group * rooms.tokens;
    chosen += own * k;
    if (threadIdx.x == 0)
        found = 0;
    sum_parts(log_sum, in.weights + own * group * rooms.parts, rooms.parts, rooms.view->part_count, group);
    __syncthreads();
    uint32_t count = 0;
    for (uint32_t t = threadIdx.x; t < tokens; t += KG_SELECT_THREADS) {
        const bool choosable = rank[t] > -INFINITY;
        float best = choosable ? -FLT_MAX : -INFINITY;
        for (uint32_t h = 0; choosable && h < group; h++)
            best = fmaxf(best, rank[(size_t)h * rooms.tokens + t] - log_sum[h]);
        rank[t] = best;
        count += choosable;
    }
    atomicAdd(&found, count);
    __syncthreads();
    const uint32_t wanted = found < k ? found : k;
    for (uint32_t i = wanted + threadIdx.x; i < k; i += KG_SELECT_THREADS)
        chosen[i] = -1;
    if (wanted == 0)
        return;
    kg_select(
        tokens, wanted, [&](uint32_t t) { return kg_key_of(rank[t]); }, [&](uint32_t at, uint32_t t) { chosen[at] = (int32_t)t; });
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
    const size_t row_bytes = a.heads * (rooms.parts * sizeof(float2) + rooms.tokens * sizeof(float));
    const size_t turn = SCRATCH / row_bytes ? SCRATCH / row_bytes < rows ? SCRATCH / row_bytes : rows : 1;
    const struct kg_cuda_rope rope = kg_cuda_rope_of(device, attention->rope);
    const struct kg_recalled r = { NULL, look->sinks, look->window, look->k, 0 };
    if (!kg_cuda_grow(device, &device->scratch, turn * row_bytes, "choosing tokens"))
        return;
    struct scores scores = { NULL, (float2 *)device->scratch.bits };
    scores.score = (float *)(scores.weights + turn * a.heads * rooms.parts);
    for (uint32_t first = 0; first < rows; first += (uint32_t)turn) {
        const uint32_t n = rows - first < turn ? rows - first : (uint32_t)turn;
        const int32_t *at = kg_cuda_now(device, position + (int32_t)first);
        kg_cuda_launch(device, "choose", kg_score_part, dim3(rooms.parts, a.kv_heads, n), THREADS, 0, scores, in + (size_t)first * a.heads * a.head_size,
                       kg_cuda_pages_of(kv, layer), rooms, a, rope, r, at);
        kg_cuda_launch(device, "choose", kg_choose, dim3(a.kv_heads, n), KG_SELECT_THREADS, group * sizeof(float), out + (size_t)first * a.kv_heads * look->k,
                       scores, rooms, group, look->k);
    }
}
