/* Device code for attention by tensor cores: 16 query heads (of one KV head, of one row or of several) against a chunk of 64 tokens.
 *
 * Queries and weights are two f16 numbers each, so that products with f16 keys and values are those of f32. Every sum is made in an order
 * that a query head and its chunk fix, whoever shares the tile: 16 elements or tokens a step, in order. Tokens that a row does not see
 * have the weight 0; a value that is no number is taken as 0 and makes the total of those rows none that see it.
 *
 * In a product of 16 x 16 by 16 x 8, lane 4g + t holds rows g and g + 8 of the one, column g of the other, and of the result
 * rows g and g + 8 in columns 2t and 2t + 1. Which element of a head is which place is chosen so that lanes read 16 or 8 bytes at a time:
 * elements 32b + 8t .. 32b + 8t + 7 of queries and keys, and 8g .. 8g + 3, or + 4 .. + 7, of each 64 of values. */
#ifndef KG_KERNELS_CUDA_TILE_H
#define KG_KERNELS_CUDA_TILE_H

#include "kernels/cuda/look.h"

#define KG_CHUNK      64 /* tokens */
#define KG_TILE       16 /* query heads */
#define KG_LANES      16 /* threads that fetch one token */
#define KG_STRIDE(D)  ((D) + 8) /* of a token in shared memory, so that lanes meet different banks */

/* Room for four pages of one KV head's keys or values; before that for the angles of rows. D: elements of a head, rounded up. */
template <int D> struct kg_tile_shared {
    __half page[4][KG_PAGE][KG_STRIDE(D)];
    uint32_t broken[2]; /* a bit a token of a chunk: a value of it is no number */
    float unit[4][KG_TILE];
    float2 state[4][KG_TILE]; /* maximum and total of what is added up */
};

/* Query heads as a lane holds them: what they are to f16, and what that lacks, in shared memory. */
template <int D> struct kg_queries {
    uint32_t high[D / 16][4];
    const uint4 *low; /* of steps of 16 elements, `stride` apart */
    uint32_t stride;
    float *unit; /* of the warp's rows: a power of two that they were divided by, so that small numbers keep all their bits; in shared memory, too */
};

/* The two rows of a tile that a lane has. */
struct kg_tile_rows {
    const float *q[2];
    uint32_t row[2]; /* among those of the block */
};

/* What is loaded from shared memory behind this is not loaded before it: registers are scarce. */
static __device__ __forceinline__ void kg_load_later()
{
    asm volatile("" : : : "memory");
}

static __device__ __forceinline__ uint32_t kg_two_halves(__half a, __half b)
{
    return (uint32_t)__half_as_ushort(a) | (uint32_t)__half_as_ushort(b) << 16;
}

/* x = high + low, but for 2^-22 of it. */
static __device__ __forceinline__ void kg_two_parts(float x, float y, uint32_t *high, uint32_t *low)
{
    const __half a = __float2half_rn(x), b = __float2half_rn(y);
    *high = kg_two_halves(a, b);
    *low = kg_two_halves(__float2half_rn(x - __half2float(a)), __float2half_rn(y - __half2float(b)));
}

static __device__ __forceinline__ void kg_multiply_tile(float c[4], const uint32_t a[4], uint32_t b0, uint32_t b1)
{
#if __CUDA_ARCH__ >= 800
    asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
#else
    asm("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5}, {%6}, {%0,%1,%2,%3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(b0));
    asm("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5}, {%6}, {%0,%1,%2,%3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a[2]), "r"(a[3]), "r"(b1));
#endif
}

/* A piece of `bytes` (16 or 4) on its way to shared memory, zeros where it is not there. */
template <int bytes> static __device__ __forceinline__ void kg_fetch(__half *to, const __half *from, bool there)
{
#if __CUDA_ARCH__ >= 800
    const uint32_t at = (uint32_t)__cvta_generic_to_shared(to), size = there ? bytes : 0;
    if (bytes == 16)
        asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" : : "r"(at), "l"(from), "r"(size) : "memory");
    else
        asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;" : : "r"(at), "l"(from), "r"(size) : "memory");
#else
    if (bytes == 16)
        *reinterpret_cast<uint4 *>(to) = there ? *reinterpret_cast<const uint4 *>(from) : make_uint4(0, 0, 0, 0);
    else
        *reinterpret_cast<uint32_t *>(to) = there ? *reinterpret_cast<const uint32_t *>(from) : 0;
#endif
}

static __device__ __forceinline__ void kg_fetch_commit()
{
#if __CUDA_ARCH__ >= 800
    asm volatile("cp.async.commit_group;" : : : "memory");
#endif
}

template <int left> static __device__ __forceinline__ void kg_fetch_wait()
{
#if __CUDA_ARCH__ >= 800
    asm volatile("cp.async.wait_group %0;" : : "n"(left) : "memory");
#endif
}

/* The first `limit` tokens of a page, by `threads` of which this is number `own`. */
template <int D>
static __device__ __forceinline__ void kg_fetch_page(__half (*to)[KG_STRIDE(D)], const __half *from, uint32_t head_size, uint32_t limit,
                                                     uint32_t own, uint32_t threads)
{
    const bool wide = head_size % 8 == 0;
    const uint32_t size = wide ? 8 : 2;
#pragma unroll 1
    for (uint32_t token = own / KG_LANES; token < KG_PAGE; token += threads / KG_LANES)
#pragma unroll 1
        for (uint32_t d = own % KG_LANES * size; d < head_size; d += KG_LANES * size)
            if (wide)
                kg_fetch<16>(&to[token][d], from + (size_t)token * head_size + d, token < limit);
            else
                kg_fetch<4>(&to[token][d], from + (size_t)token * head_size + d, token < limit);
}

/* Of the pieces that this thread fetched itself: what is no number becomes 0, and its token a bit of `broken`. */
template <int D>
static __device__ __forceinline__ void kg_mend_page(__half (*page)[KG_STRIDE(D)], uint32_t head_size, uint32_t *broken, uint32_t own, uint32_t threads)
{
    const uint32_t size = head_size % 8 == 0 ? 8 : 2;
#pragma unroll 1
    for (uint32_t token = own / KG_LANES; token < KG_PAGE; token += threads / KG_LANES)
#pragma unroll 1
        for (uint32_t d = own % KG_LANES * size; d < head_size; d += KG_LANES * size) {
            uint32_t *words = reinterpret_cast<uint32_t *>(&page[token][d]), odd = 0;
            for (uint32_t w = 0; w < size / 2; w++)
                odd |= (words[w] & 0x7c00U) == 0x7c00U || (words[w] & 0x7c000000U) == 0x7c000000U;
            if (!odd)
                continue;
            for (uint32_t w = 0; w < size / 2; w++)
                words[w] &= ((words[w] & 0x7c00U) == 0x7c00U ? 0 : 0xffffU) | ((words[w] & 0x7c000000U) == 0x7c000000U ? 0 : 0xffff0000U);
            atomicOr(broken, 1U << token);
        }
}

/* Elements that the head does not have. */
template <int D> static __device__ __forceinline__ void kg_clear_rest(__half (*page)[KG_STRIDE(D)], uint32_t head_size, uint32_t own, uint32_t threads)
{
#pragma unroll 1
    for (uint32_t token = own / KG_LANES; token < KG_PAGE; token += threads / KG_LANES)
#pragma unroll 1
        for (uint32_t d = head_size + own % KG_LANES * 2; d < D; d += KG_LANES * 2)
            *reinterpret_cast<uint32_t *>(&page[token][d]) = 0;
}

/* One element of a query head, rotated. */
static __device__ __forceinline__ float kg_turned(const float *q, const float2 *angle, const struct kg_cuda_rope &rope, uint32_t head_size, uint32_t d)
{
    if (d >= 2 * rope.pairs)
        return d < head_size ? q[d] : 0;
    const uint32_t j = rope.layout == KG_ROPE_INTERLEAVED ? d / 2 : d < rope.pairs ? d : d - rope.pairs;
    const float2 turned = kg_turn(q[kg_rope_first(rope, j)], q[kg_rope_second(rope, j)], angle[j]);
    return d == kg_rope_first(rope, j) ? turned.x : turned.y;
}

/* The power of two that a row of queries is divided by, of which `most` is the largest: rotated they stay below 2^15. */
static __device__ __forceinline__ float kg_unit_for(float most, float scale)
{
    const int exponent = (int)(__float_as_uint(most * fmaxf(scale, 1)) >> 23) - 13; /* biased, of the unit; that of 1 is 127 */
    return __uint_as_float((uint32_t)(exponent < 1 ? 1 : exponent > 240 ? 240 : exponent) << 23);
}

static __device__ __forceinline__ float kg_unit_of(const float *q, uint32_t head_size, float scale)
{
    float most = 0;
#pragma unroll 1
    for (uint32_t d = threadIdx.x % 4; d < head_size; d += 4)
        most = fmaxf(most, fabsf(q[d]));
    most = fmaxf(most, __shfl_xor_sync(KG_FULL_WARP, most, 1));
    return kg_unit_for(fmaxf(most, __shfl_xor_sync(KG_FULL_WARP, most, 2)), scale);
}

template <int D>
static __device__ __forceinline__ void kg_load_tile(struct kg_queries<D> &out, uint4 *low, const struct kg_tile_rows &rows, const float2 *angles,
                                                    const struct kg_cuda_rope &rope, uint32_t head_size)
{
    uint32_t t = threadIdx.x % 4;
    float times[2];
#pragma unroll
    for (uint32_t i = 0; i < 2; i++) {
        const float unit = kg_unit_of(rows.q[i], head_size, rope.scale);
        times[i] = 1 / unit;
        if (t == 0)
            out.unit[threadIdx.x % 32 / 4 + 8 * i] = unit;
    }
#pragma unroll
    for (uint32_t step = 0; step < D / 16; step++) {
        uint32_t rest[4];
#pragma unroll
        for (uint32_t w = 0; w < 4; w++) { /* row w % 2, elements w / 2 */
            asm volatile("" : "+r"(t) : : "memory"); /* or hundreds of addresses would be made beforehand, and kept from span to span */
            const uint32_t i = w % 2, d = step / 2 * 32 + 8 * t + step % 2 * 4 + w / 2 * 2;
            const float2 *angle = angles + rows.row[i] * rope.pairs;
            const float x = kg_turned(rows.q[i], angle, rope, head_size, d), y = kg_turned(rows.q[i], angle, rope, head_size, d + 1);
            kg_two_parts(x * times[i], y * times[i], &out.high[step][w], &rest[w]);
        }
        low[step * out.stride] = make_uint4(rest[0], rest[1], rest[2], rest[3]);
    }
}

/* Products with the keys of one page: four times eight tokens. */
template <int D>
static __device__ __forceinline__ void kg_tile_scores(float score[4][4], const struct kg_queries<D> &q, const __half (*page)[KG_STRIDE(D)], uint32_t head_size)
{
    const uint32_t g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
#pragma unroll
    for (uint32_t n = 0; n < 4; n++)
        score[n][0] = score[n][1] = score[n][2] = score[n][3] = 0;
#pragma unroll
    for (uint32_t b = 0; b < D / 32; b++) {
        if (32 * b >= head_size) /* also a place behind which keys are not loaded beforehand: registers are scarce */
            break;
        const uint4 first = q.low[2 * b * q.stride], second = q.low[(2 * b + 1) * q.stride];
        const uint32_t low[2][4] = { { first.x, first.y, first.z, first.w }, { second.x, second.y, second.z, second.w } };
#pragma unroll
        for (uint32_t n = 0; n < 4; n++) {
            const uint4 k = *reinterpret_cast<const uint4 *>(&page[8 * n + g][32 * b + 8 * t]);
            kg_multiply_tile(score[n], q.high[2 * b], k.x, k.y);
            kg_multiply_tile(score[n], low[0], k.x, k.y);
            kg_multiply_tile(score[n], q.high[2 * b + 1], k.z, k.w);
            kg_multiply_tile(score[n], low[1], k.z, k.w);
        }
    }
}

/* Scores become weights exp(score - maximum) of the first `seen` tokens, in two parts; maximum and total of both rows. Weights are in
 * units of KG_WEIGHT. */
#define KG_WEIGHT 0x1p-14F
static __device__ __forceinline__ void kg_tile_weights(uint32_t high[4][4], uint32_t low[4][4], float most[2], float total[2], float score[8][4],
                                                       const uint32_t seen[2], const float *unit, const struct kg_cuda_heads &a)
{
    const uint32_t t = threadIdx.x % 4;
#pragma unroll
    for (uint32_t i = 0; i < 2; i++) {
        const float own = unit[threadIdx.x % 32 / 4 + 8 * i];
        most[i] = -INFINITY;
        total[i] = 0;
#pragma unroll
        for (uint32_t n = 0; n < 8; n++)
#pragma unroll
            for (uint32_t c = 0; c < 2; c++)
                if (8 * n + 2 * t + c < seen[i]) {
                    score[n][2 * i + c] = kg_capped(a, score[n][2 * i + c] * own);
                    most[i] = fmaxf(most[i], score[n][2 * i + c]);
                }
        most[i] = fmaxf(most[i], __shfl_xor_sync(KG_FULL_WARP, most[i], 1));
        most[i] = fmaxf(most[i], __shfl_xor_sync(KG_FULL_WARP, most[i], 2));
#pragma unroll
        for (uint32_t n = 0; n < 8; n++) {
            float weight[2];
#pragma unroll
            for (uint32_t c = 0; c < 2; c++) {
                weight[c] = 8 * n + 2 * t + c < seen[i] ? expf(score[n][2 * i + c] - most[i]) : 0;
                total[i] += weight[c];
            }
            kg_two_parts(weight[0] / KG_WEIGHT, weight[1] / KG_WEIGHT, &high[n / 2][n % 2 * 2 + i], &low[n / 2][n % 2 * 2 + i]);
        }
        total[i] += __shfl_xor_sync(KG_FULL_WARP, total[i], 1);
        total[i] += __shfl_xor_sync(KG_FULL_WARP, total[i], 2);
    }
}

/* sum += weights of 16 tokens times 32 elements of their values, four of each eight: element 8n + j from `element` on is column n of
 * sum[j]. */
template <int D>
static __device__ __forceinline__ void kg_tile_values(float sum[4][4], const uint32_t high[4], const uint32_t low[4], const __half (*page)[KG_STRIDE(D)],
                                                      uint32_t token, uint32_t element)
{
    kg_load_later();
    const uint32_t g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
    const __half (*own)[KG_STRIDE(D)] = page + token + 2 * t;
    element += 8 * g;
    const uint2 a = *reinterpret_cast<const uint2 *>(&own[0][element]), b = *reinterpret_cast<const uint2 *>(&own[1][element]);
    const uint2 c = *reinterpret_cast<const uint2 *>(&own[8][element]), d = *reinterpret_cast<const uint2 *>(&own[9][element]);
#pragma unroll
    for (uint32_t j = 0; j < 4; j++) {
        const uint32_t pick = j % 2 ? 0x7632 : 0x5410;
        const uint32_t b0 = j < 2 ? __byte_perm(a.x, b.x, pick) : __byte_perm(a.y, b.y, pick);
        const uint32_t b1 = j < 2 ? __byte_perm(c.x, d.x, pick) : __byte_perm(c.y, d.y, pick);
        kg_multiply_tile(sum[j], high, b0, b1);
        kg_multiply_tile(sum[j], low, b0, b1);
    }
}

/* Of `seen` tokens, is one broken? */
static __device__ __forceinline__ bool kg_sees_broken(const uint32_t broken[2], uint32_t seen)
{
    const uint64_t all = broken[0] | (uint64_t)broken[1] << 32;
    return (all & (seen >= 64 ? ~0ULL : (1ULL << seen) - 1)) != 0;
}

#endif
