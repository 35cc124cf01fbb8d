/* Device code for what looks at a view: which tokens a row sees, its query heads, its keys. */
#ifndef KG_KERNELS_CUDA_LOOK_H
#define KG_KERNELS_CUDA_LOOK_H

#include "kernels/cuda/device.h"
#include "kernels/cuda/rotate.h"

#define KG_LOOK_THREADS 256
#define KG_LOOK_WARPS   (KG_LOOK_THREADS / 32)
#define KG_LOOK_HEADS   8 /* query heads that a block takes at a time */
#define KG_PAIRS_MAX    (KG_HEAD_MAX / 2)
#define KG_LOOK_PAIRS   (KG_LOOK_HEADS * KG_PAIRS_MAX / KG_LOOK_THREADS) /* pairs of elements of them that a thread turns, at most */
#define KG_FOUR         4 /* query heads whose sums are made side by side, so that none waits for another */

/* A view on the device, and how many parts and tokens results have room for. */
struct kg_view_rooms {
    const struct kg_cuda_view *view;
    uint32_t parts, tokens;
};

/* What is in it. */
struct kg_seen {
    const struct kg_cuda_span *spans;
    const struct kg_cuda_part *parts;
    const uint32_t *pages;
    uint32_t part_count;
};

struct kg_cuda_heads {
    uint32_t heads, kv_heads, head_size;
    float scale, soft_cap;
};

/* kg_look and what was chosen (rows, kv_heads, k). */
struct kg_recalled {
    const int32_t *chosen;
    uint32_t sinks, window, k, none;
};

static inline struct kg_view_rooms kg_rooms_of(const struct kg_view *view)
{
    const struct kg_view_rooms rooms = { (const struct kg_cuda_view *)view->memory.bits, view->part_room, view->token_room };
    return rooms;
}

static __device__ __forceinline__ struct kg_seen kg_see(const struct kg_view_rooms &rooms)
{
    const struct kg_cuda_view *v = rooms.view;
    const uint8_t *begin = reinterpret_cast<const uint8_t *>(v);
    const struct kg_seen seen = { reinterpret_cast<const struct kg_cuda_span *>(begin + v->spans), reinterpret_cast<const struct kg_cuda_part *>(begin + v->parts),
                                  reinterpret_cast<const uint32_t *>(begin + v->pages), v->part_count };
    return seen;
}

static inline struct kg_cuda_heads kg_heads_of(const struct kg_attention *a)
{
    const struct kg_cuda_heads heads = { a->heads, a->kv_heads, a->head_size, a->scale, a->soft_cap };
    return heads;
}

/* Tokens of a part that a position sees. */
static __device__ __forceinline__ uint32_t kg_visible(const struct kg_cuda_span &span, const struct kg_cuda_part &part, int64_t position)
{
    const int64_t seen = position - span.base + 1 - part.first, there = span.tokens - part.first;
    const int64_t n = seen < there ? seen : there;
    return n <= 0 ? 0 : n < KG_PART ? (uint32_t)n : KG_PART;
}

/* Is token t of a span among those that may be chosen: indexed, and in neither S nor L? */
static __device__ __forceinline__ bool kg_choosable(const struct kg_cuda_pages &pages, const struct kg_cuda_span &span, uint32_t page, uint32_t t,
                                                    uint32_t sinks, uint32_t window, int64_t position)
{
    const int64_t p = (int64_t)span.base + t;
    return p >= sinks && p <= position - window && t % KG_PAGE < *kg_indexed_at(pages, page);
}

static __device__ __forceinline__ float kg_capped(const struct kg_cuda_heads &a, float dot)
{
    const float score = dot * a.scale;
    return a.soft_cap > 0 ? a.soft_cap * tanhf(score / a.soft_cap) : score;
}

/* Pair i of several query heads, of which head i / pairs has it; its place in that head. */
static __device__ __forceinline__ void kg_pair_of(uint32_t i, const struct kg_cuda_heads &a, const struct kg_cuda_rope &rope, uint32_t *head, uint32_t *first,
                                                  uint32_t *second)
{
    const uint32_t pairs = a.head_size / 2, j = i % pairs;
    *head = i / pairs;
    *first = j < rope.pairs ? kg_rope_first(rope, j) : 2 * j;
    *second = j < rope.pairs ? kg_rope_second(rope, j) : 2 * j + 1;
}

/* This thread's pairs of n query heads, on their way while it looks for its part of the view. */
static __device__ __forceinline__ void kg_fetch_queries(float2 own[KG_LOOK_PAIRS], const struct kg_cuda_heads &a, const struct kg_cuda_rope &rope,
                                                        const float *q, uint32_t n)
{
#pragma unroll
    for (uint32_t i = 0; i < KG_LOOK_PAIRS; i++) {
        const uint32_t pair = threadIdx.x + i * KG_LOOK_THREADS;
        uint32_t h, x, y;
        own[i] = make_float2(0, 0);
        if (pair >= n * (a.head_size / 2))
            continue;
        kg_pair_of(pair, a, rope, &h, &x, &y);
        own[i] = make_float2(q[(size_t)h * a.head_size + x], q[(size_t)h * a.head_size + y]);
    }
}

/* ... turned by the angles of all pairs; zeros for heads up to a multiple of KG_FOUR, and behind a head that is not whole pieces of eight. */
static __device__ __forceinline__ void kg_turn_queries(float (*out)[KG_HEAD_MAX], const float2 own[KG_LOOK_PAIRS], const float2 *angle,
                                                       const struct kg_cuda_heads &a, const struct kg_cuda_rope &rope, uint32_t n)
{
    const uint32_t pairs = a.head_size / 2, all = (n + KG_FOUR - 1) / KG_FOUR * KG_FOUR * pairs;
#pragma unroll
    for (uint32_t i = 0; i < KG_LOOK_PAIRS; i++) {
        const uint32_t pair = threadIdx.x + i * KG_LOOK_THREADS;
        uint32_t h, x, y;
        if (pair >= all)
            continue;
        kg_pair_of(pair, a, rope, &h, &x, &y);
        const float2 turned = pair % pairs < rope.pairs && h < n ? kg_turn(own[i].x, own[i].y, angle[pair % pairs]) : own[i];
        out[h][x] = turned.x;
        out[h][y] = turned.y;
    }
    if (a.head_size % 8 && threadIdx.x < 8 * KG_LOOK_HEADS && a.head_size + threadIdx.x % 8 < KG_HEAD_MAX)
        out[threadIdx.x / 8][a.head_size + threadIdx.x % 8] = 0;
}

/* The frequency of this thread's pair, and later its angle. */
static __device__ __forceinline__ double kg_fetch_frequency(const struct kg_cuda_rope &rope)
{
    return threadIdx.x < rope.pairs ? rope.frequency[threadIdx.x] : 0;
}

static __device__ __forceinline__ void kg_find_angles(float2 *angle, const struct kg_cuda_rope &rope, double frequency, int64_t position)
{
    struct kg_cuda_rope own = rope;
    own.frequency = &frequency;
    if (threadIdx.x < rope.pairs)
        angle[threadIdx.x] = kg_angle(own, 0, position);
}

/* Eight elements of a head, two a word, of which not all need be there. */
static __device__ __forceinline__ uint4 kg_eight_of(const __half *head, uint32_t first, uint32_t head_size)
{
    if (head_size % 8 == 0)
        return first < head_size ? *reinterpret_cast<const uint4 *>(head + first) : make_uint4(0, 0, 0, 0);
    const uint32_t *own = reinterpret_cast<const uint32_t *>(head + first);
    return make_uint4(first < head_size ? own[0] : 0, first + 2 < head_size ? own[1] : 0, first + 4 < head_size ? own[2] : 0, first + 6 < head_size ? own[3] : 0);
}

static __device__ __forceinline__ float2 kg_two_of(uint32_t word)
{
    return __half22float2(*reinterpret_cast<const __half2 *>(&word));
}

/* dot += eight products, one after the other. */
static __device__ __forceinline__ float kg_add_eight(float dot, const float *q, const uint4 &key)
{
    const float4 low = *reinterpret_cast<const float4 *>(q), high = *reinterpret_cast<const float4 *>(q + 4);
    float2 k = kg_two_of(key.x);
    dot = fmaf(low.y, k.y, fmaf(low.x, k.x, dot));
    k = kg_two_of(key.y);
    dot = fmaf(low.w, k.y, fmaf(low.z, k.x, dot));
    k = kg_two_of(key.z);
    dot = fmaf(high.y, k.y, fmaf(high.x, k.x, dot));
    k = kg_two_of(key.w);
    return fmaf(high.w, k.y, fmaf(high.z, k.x, dot));
}

#endif
