/* Private to the products of planes with rounded activations (matrix.cu, few.cu, many.cu): what both kernels compute of a group, and
 * in which order they add.
 *
 * Codes are taken around their middle, as signed bytes times a power of two that the factors give back, so that a group's sum of
 * products of codes is an exact integer below 2^22. What the middle stands for meets the sum of x as it was: the error of rounding x
 * meets numbers around 0. The groups of a stretch of KG_STRETCH are added in order,
 *
 *   s = fmaf(step, value, s)        value = a * sum + c * x, or for two scales  a * first + c * second
 *
 * and the sums of stretches in order. Both kernels keep to this, so a row has the same bits whether it is computed alone or among many. */
#ifndef KG_KERNELS_CUDA_PRODUCT_H
#define KG_KERNELS_CUDA_PRODUCT_H

#include "kernels/cuda/device.h"
#include "kernels/cuda/round.h"

#define KG_STRETCH 32U /* groups */

/* Planes on the device; see planes.h. Groups are numbered in 32 bits: 2^32 of them would be 64 GB. */
struct kg_weights {
    const uint32_t *low, *high;
    const uint8_t *scale, *minimum;
    const __half *d, *m;
    uint32_t rows, groups;
};

/* Rounded activations: (rows, groups, 32) codes and (rows, groups) of what belongs to a group. */
struct kg_activations {
    const uint32_t *codes;
    const struct kg_rounded *group;
    uint32_t rows, none;
};

/* One product that is enqueued. */
struct kg_product {
    struct kg_device *device;
    enum kg_type type; /* one with planes */
    struct kg_weights w;
    struct kg_activations x;
    float *out;
    const float *bias; /* NULL = none */
};

#define KG_FEW 8 /* rows of activations at most */
void kg_cuda_mul_few(const struct kg_product *p);
void kg_cuda_mul_many(const struct kg_product *p);

/* Calls MUL<bits, super, minimum>(p) for the type's planes. */
#define KG_FOR_PLANES(MUL, p)                                                                                                                        \
    switch ((p)->type) {                                                                                                                             \
    case KG_Q4_0: MUL<4, false, false>(p); break;                                                                                                    \
    case KG_Q4_1: MUL<4, false, true>(p); break;                                                                                                     \
    case KG_Q5_0: MUL<5, false, false>(p); break;                                                                                                    \
    case KG_Q5_1: MUL<5, false, true>(p); break;                                                                                                     \
    case KG_Q8_0: MUL<8, false, false>(p); break;                                                                                                    \
    case KG_Q4_K: MUL<4, true, true>(p); break;                                                                                                      \
    case KG_Q5_K: MUL<5, true, true>(p); break;                                                                                                      \
    case KG_Q6_K: MUL<6, true, false>(p); break;                                                                                                     \
    default: break;                                                                                                                                  \
    }

/* What gives back that codes come multiplied by 16, 8, 4 or 1. */
template <int bits> static __device__ __forceinline__ float kg_code_unit()
{
    return bits == 8 ? 1.0F : 1.0F / (float)(1 << (8 - bits));
}

/* What multiplies a group's sums, from d and m and two bytes: scale and minimum, with 6 bits both scales. Products of an f16 and a byte
 * are exact, so that only c is rounded, once. */
template <int bits, bool minimum> static __device__ __forceinline__ float2 kg_factors(float d, float m, int first, int second)
{
    const float a = d * (float)first;
    if (bits == 6)
        return make_float2(a * kg_code_unit<bits>(), d * (float)second * kg_code_unit<bits>());
    return make_float2(a * kg_code_unit<bits>(), minimum ? fmaf(a, (float)(1 << (bits - 1)), m * (float)second) : 0);
}

/* Codes of elements 4i .. 4i + 3 (low) and 16 + 4i .. (high) of a group, four bytes a word, from the group's words. */
template <int bits>
static __device__ __forceinline__ void kg_unpack(uint32_t packed, const uint32_t extra[2], uint32_t i, uint32_t *low, uint32_t *high)
{
    if (bits == 4) {
        *low = packed << 4 & 0xf0f0f0f0U;
        *high = packed & 0xf0f0f0f0U;
    } else if (bits == 5) { /* four bits spread to four bytes */
        *low = (packed << 3 & 0x78787878U) | ((extra[0] >> 4 * i & 15) * 0x10204080U & 0x80808080U);
        *high = (packed >> 1 & 0x78787878U) | ((extra[0] >> (16 + 4 * i) & 15) * 0x10204080U & 0x80808080U);
    } else {
        *low = (packed << 2 & 0x3c3c3c3cU) | (extra[0] << (6 - 2 * i) & 0xc0c0c0c0U);
        *high = (packed >> 2 & 0x3c3c3c3cU) | (extra[1] << (6 - 2 * i) & 0xc0c0c0c0U);
    }
    *low ^= 0x80808080U; /* less the middle */
    *high ^= 0x80808080U;
}

#endif
