/* Device code for what looks at a view: which tokens a row sees, its query heads, its keys. */
#ifndef KG_KERNELS_CUDA_LOOK_H
#define KG_KERNELS_CUDA_LOOK_H

#include "kernels/cuda/device.h"
#include "kernels/cuda/rotate.h"

#define KG_LOOK_THREADS 128
#define KG_LOOK_WARPS   (KG_LOOK_THREADS / 32)
#define KG_LOOK_HEADS   8 /* query heads that a block takes at a time */
#define KG_PAIRS_MAX    (KG_HEAD_MAX / 2)

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

/* n query heads, rotated by the angles of all pairs. */
static __device__ __forceinline__ void kg_load_queries(float (*out)[KG_HEAD_MAX], const float2 *angle, const struct kg_cuda_heads &a,
                                                       const struct kg_cuda_rope &rope, const float *q, uint32_t n)
{
    for (uint32_t i = threadIdx.x; i < n * (a.head_size / 2); i += KG_LOOK_THREADS) {
        const uint32_t h = i / (a.head_size / 2), j = i % (a.head_size / 2);
        const float *own = q + (size_t)h * a.head_size;
        if (j < rope.pairs) {
            const uint32_t x = kg_rope_first(rope, j), y = kg_rope_second(rope, j);
            const float2 turned = kg_turn(own[x], own[y], angle[j]);
            out[h][x] = turned.x;
            out[h][y] = turned.y;
        } else {
            out[h][2 * j] = own[2 * j];
            out[h][2 * j + 1] = own[2 * j + 1];
        }
    }
}

#endif
