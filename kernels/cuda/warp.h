/* Device code that several operations share: sums and maxima over a warp. All lanes get the result, made in the same order. */
#ifndef KG_KERNELS_CUDA_WARP_H
#define KG_KERNELS_CUDA_WARP_H

static __device__ __forceinline__ float kg_warp_sum(float x)
{
#pragma unroll
    for (int o = 16; o > 0; o >>= 1)
        x += __shfl_xor_sync(0xffffffffU, x, o);
    return x;
}

/* A NaN is passed over, and shows elsewhere. */
static __device__ __forceinline__ float kg_warp_max(float x)
{
#pragma unroll
    for (int o = 16; o > 0; o >>= 1)
        x = fmaxf(x, __shfl_xor_sync(0xffffffffU, x, o));
    return x;
}

#endif
