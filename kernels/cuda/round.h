/* Activations as products with planes want them: 8 bits in groups of 32. One function, so that x has the same codes whichever
 * kernel rounds it. device->rounded holds the codes of (rows, cols), a byte each, and behind them the (rows, cols / 32) groups. */
#ifndef KG_KERNELS_CUDA_ROUND_H
#define KG_KERNELS_CUDA_ROUND_H

#include <cuda_runtime.h>
#include <stdint.h>

/* Of a group of 32 activations: x is about step * code; `sum` is that of the x as they were, in steps. */
struct __align__(8) kg_rounded {
    float step, sum;
};

/* Codes of x[0 .. 3], a byte each. All lanes of a warp call it; lanes 8i .. 8i + 7 hold a group of 32, four each in order, and all
 * eight get what belongs to the group. What is no number makes the step none; what is so small that its reciprocal is infinite is
 * zero. */
static __device__ __forceinline__ uint32_t kg_round_4(const float x[4], struct kg_rounded *group)
{
    uint32_t bits = 0; /* of the largest magnitude: they are ordered as magnitudes are, and what is no number stands above all */
#pragma unroll
    for (int i = 0; i < 4; i++)
        bits = max(bits, __float_as_uint(x[i]) & 0x7fffffffU);
#pragma unroll
    for (int o = 4; o > 0; o >>= 1)
        bits = max(bits, __shfl_xor_sync(0xffffffffU, bits, o));
    const float most = __uint_as_float(bits);
    const bool finite = bits < 0x7f800000U, usable = finite && most >= 0x1p-120F;
    const float scale = usable ? 127 / most : 0;
    uint32_t codes = 0;
    float sum = 0;
#pragma unroll
    for (int i = 0; i < 4; i++) {
        const float steps = usable ? x[i] * scale : 0;
        codes |= ((uint32_t)__float2int_rn(steps) & 255) << 8 * i;
        sum += steps;
    }
#pragma unroll
    for (int o = 4; o > 0; o >>= 1)
        sum += __shfl_xor_sync(0xffffffffU, sum, o);
    group->step = finite ? usable ? most / 127 : 0 : __uint_as_float(0x7fc00000U);
    group->sum = sum;
    return codes;
}

#endif
