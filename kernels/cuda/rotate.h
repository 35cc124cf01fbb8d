/* Device code for rotation by position, and for finding a token's slot in pages. */
#ifndef KG_KERNELS_CUDA_ROTATE_H
#define KG_KERNELS_CUDA_ROTATE_H

#include "kernels/cuda/device.h"

/* The K element (V with value = 1) d = 0 of a token's slot; head_size of them follow. */
static __device__ __forceinline__ __half *kg_page_at(const struct kg_cuda_pages &pages, uint32_t page, uint32_t value, uint32_t head, uint32_t slot)
{
    const size_t heads = ((size_t)pages.layer * 2 + value) * pages.kv_heads + head;
    uint8_t *own = pages.chunks[page / KG_CHUNK_PAGES].pages + page % KG_CHUNK_PAGES * pages.page_bytes;
    return reinterpret_cast<__half *>(own) + (heads * KG_PAGE + slot) * pages.head_size;
}

/* The index of a page for one KV head: m, e, codes. */
static __device__ __forceinline__ uint8_t *kg_index_at(const struct kg_cuda_pages &pages, uint32_t page, uint32_t head)
{
    const size_t head_bytes = pages.index_page_bytes / pages.layers / pages.kv_heads;
    return pages.chunks[page / KG_CHUNK_PAGES].index + page % KG_CHUNK_PAGES * pages.index_page_bytes + ((size_t)pages.layer * pages.kv_heads + head) * head_bytes;
}

/* How many of a page's tokens are indexed. */
static __device__ __forceinline__ uint8_t *kg_indexed_at(const struct kg_cuda_pages &pages, uint32_t page)
{
    return pages.chunks[page / KG_CHUNK_PAGES].index + KG_CHUNK_PAGES * pages.index_page_bytes + page % KG_CHUNK_PAGES * pages.layers +
           pages.layer;
}

static __device__ __forceinline__ uint32_t kg_rope_first(const struct kg_cuda_rope &rope, uint32_t pair)
{
    return rope.layout == KG_ROPE_INTERLEAVED ? 2 * pair : pair;
}

static __device__ __forceinline__ uint32_t kg_rope_second(const struct kg_cuda_rope &rope, uint32_t pair)
{
    return rope.layout == KG_ROPE_INTERLEAVED ? 2 * pair + 1 : pair + rope.pairs;
}

/* (cosine, sine) of position * frequency, times the scale. The angle and its distance to the nearest quarter turn are in
 * double; the polynomials (Cephes, sinf and cosf) are good to an ulp or so of f32 up to an eighth of a turn. */
static __device__ __forceinline__ float2 kg_angle(const struct kg_cuda_rope &rope, uint32_t pair, int64_t position)
{
    const double angle = (double)position * rope.frequency[pair], quarters = rint(angle * 0.63661977236758134);
    const float x = (float)fma(-quarters, 6.123233995736766e-17, fma(-quarters, 1.5707963267948966, angle)), y = x * x;
    float s = fmaf(y, -1.9515295891e-4F, 8.3321608736e-3F), c = fmaf(y, 2.443315711809948e-5F, -1.388731625493765e-3F);
    s = fmaf(x * y, fmaf(y, s, -1.6666654611e-1F), x);
    c = fmaf(y * y, fmaf(y, c, 4.166664568298827e-2F), fmaf(y, -0.5F, 1));
    const int quarter = (int)(long long)quarters & 3;
    const float sine = quarter & 1 ? c : s, cosine = quarter & 1 ? s : c;
    return make_float2((quarter == 1 || quarter == 2 ? -cosine : cosine) * rope.scale, (quarter & 2 ? -sine : sine) * rope.scale);
}

/* A pair turned by an angle. */
static __device__ __forceinline__ float2 kg_turn(float a, float b, float2 angle)
{
    return make_float2(fmaf(a, angle.x, -(b * angle.y)), fmaf(a, angle.y, b * angle.x));
}

#endif
