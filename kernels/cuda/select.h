/* Radix selection by one block: the k items of largest key, of equal ones the first, in the order in which they stand. */
#ifndef KG_KERNELS_CUDA_SELECT_H
#define KG_KERNELS_CUDA_SELECT_H

#include <stdint.h>

#define KG_SELECT_THREADS 512
#define KG_SELECT_WARPS   (KG_SELECT_THREADS / 32)

/* Larger means better: NaN is below everything, both zeros are one. */
static __device__ __forceinline__ uint32_t kg_key_of(float x)
{
    const uint32_t bits = __float_as_uint(x == 0 ? 0 : x);
    return isnan(x) ? 0 : bits & 0x80000000U ? ~bits : bits | 0x80000000U;
}

struct kg_select_shared {
    uint32_t bins[256];
    uint32_t counts[KG_SELECT_WARPS];
    uint32_t digit, wanted;
};

/* By the first warp: the largest digit with at least `wanted` items at or above it; `wanted` becomes how many are still
 * to be found at that digit. A lane has 8 bins, highest lanes first. */
static __device__ __forceinline__ void kg_find_digit(struct kg_select_shared &s)
{
    const uint32_t lane = threadIdx.x, wanted = s.wanted;
    uint32_t own = 0;
    for (uint32_t i = 0; i < 8; i++)
        own += s.bins[8 * lane + i];
    uint32_t above = own; /* with those of higher lanes */
#pragma unroll
    for (int o = 1; o < 32; o *= 2) {
        const uint32_t higher = __shfl_down_sync(0xffffffffU, above, o);
        above += lane + o < 32 ? higher : 0;
    }
    uint32_t passed = above - own; /* those of higher lanes only */
    __syncwarp();
    if (passed >= wanted || above < wanted)
        return;
    uint32_t digit = 8 * lane + 7;
    while (passed + s.bins[digit] < wanted)
        passed += s.bins[digit--];
    s.digit = digit;
    s.wanted = wanted - passed;
}

/* How many threads before this one hold `yes`, and how many do in all. All threads of the block take part. */
static __device__ __forceinline__ uint32_t kg_rank_in_block(struct kg_select_shared &s, bool yes, uint32_t *all)
{
    const uint32_t votes = __ballot_sync(0xffffffffU, yes), lane = threadIdx.x % 32;
    if (lane == 0)
        s.counts[threadIdx.x / 32] = (uint32_t)__popc(votes);
    __syncthreads();
    uint32_t before = (uint32_t)__popc(votes & ((1U << lane) - 1)), sum = 0;
    for (uint32_t w = 0; w < KG_SELECT_WARPS; w++) {
        before += w < threadIdx.x / 32 ? s.counts[w] : 0;
        sum += s.counts[w];
    }
    *all = sum;
    __syncthreads();
    return before;
}

/* Calls put(rank, i) for each of the k chosen of n items; 1 <= k <= n. A block of KG_SELECT_THREADS. */
template <class Key, class Put> static __device__ __forceinline__ void kg_select(uint32_t n, uint32_t k, Key key, Put put)
{
    __shared__ struct kg_select_shared s;
    uint32_t bound = 0; /* the leading digits of the k-th key, one more after each pass */
    if (threadIdx.x == 0)
        s.wanted = k;
    for (int shift = 24; shift >= 0; shift -= 8) {
        if (threadIdx.x < 256)
            s.bins[threadIdx.x] = 0;
        __syncthreads();
        for (uint32_t i = threadIdx.x; i < n; i += KG_SELECT_THREADS) {
            const uint32_t own = key(i);
            if (shift == 24 || own >> (shift + 8) == bound)
                atomicAdd(&s.bins[own >> shift & 255], 1U);
        }
        __syncthreads();
        if (threadIdx.x < 32)
            kg_find_digit(s);
        __syncthreads();
        bound = bound << 8 | s.digit;
        __syncthreads();
    }
    const uint32_t equal_wanted = s.wanted;
    uint32_t equal_seen = 0, chosen = 0;
    for (uint32_t from = 0; from < n; from += KG_SELECT_THREADS) {
        const uint32_t i = from + threadIdx.x, own = i < n ? key(i) : 0;
        uint32_t all;
        const bool equal = i < n && own == bound;
        const uint32_t equal_rank = equal_seen + kg_rank_in_block(s, equal, &all);
        equal_seen += all;
        const bool taken = i < n && (own > bound || (equal && equal_rank < equal_wanted));
        const uint32_t rank = chosen + kg_rank_in_block(s, taken, &all);
        chosen += all;
        if (taken)
            put(rank, i);
    }
}

#endif
