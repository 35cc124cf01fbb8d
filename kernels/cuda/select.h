/* Selection by one block: the k items of largest key, of equal ones the first, in the order in which they stand.
 *
 * A histogram over the range of the keys narrows it to that of one bin, until the bin is taken as a whole or has one key. Keys that are
 * close to each other meet different bins, which a histogram of leading digits would not give them. */
#ifndef KG_KERNELS_CUDA_SELECT_H
#define KG_KERNELS_CUDA_SELECT_H

#include <stdint.h>

#include "kernels/cuda/device.h"

#define KG_SELECT_THREADS 1024
#define KG_SELECT_WARPS   (KG_SELECT_THREADS / 32)
#define KG_BINS           (2 * KG_SELECT_THREADS)
#define KG_BIN_BITS       11
#define KG_ITEMS          8 /* of a thread that are on their way at a time */

static_assert(KG_BINS == 1 << KG_BIN_BITS && KG_SELECT_WARPS == 32, "two bins a thread, a lane for each warp");

/* Larger means better: NaN is below everything, both zeros are one. */
static __device__ __forceinline__ uint32_t kg_key_of(float x)
{
    const uint32_t bits = __float_as_uint(x == 0 ? 0 : x);
    return isnan(x) ? 0 : bits & 0x80000000U ? ~bits : bits | 0x80000000U;
}

/* Of keys: the least and the largest, and how many there are. */
struct kg_select_range {
    uint32_t low, high, count;
};

static __device__ __forceinline__ struct kg_select_range kg_no_range()
{
    const struct kg_select_range range = { UINT32_MAX, 0, 0 };
    return range;
}

static __device__ __forceinline__ void kg_widen(struct kg_select_range &range, uint32_t key)
{
    range.low = key < range.low ? key : range.low;
    range.high = key > range.high ? key : range.high;
    range.count++;
}

static __device__ __forceinline__ void kg_merge(struct kg_select_range &range, const struct kg_select_range &other)
{
    range.low = other.low < range.low ? other.low : range.low;
    range.high = other.high > range.high ? other.high : range.high;
    range.count += other.count;
}

static __device__ __forceinline__ void kg_join_warp(struct kg_select_range &range)
{
#pragma unroll
    for (int o = 16; o > 0; o >>= 1) {
        const struct kg_select_range other = { __shfl_xor_sync(KG_FULL_WARP, range.low, o), __shfl_xor_sync(KG_FULL_WARP, range.high, o),
                                               __shfl_xor_sync(KG_FULL_WARP, range.count, o) };
        kg_merge(range, other);
    }
}

static __device__ __forceinline__ uint32_t kg_sum_of_lanes(uint32_t x)
{
#pragma unroll
    for (int o = 16; o > 0; o >>= 1)
        x += __shfl_xor_sync(KG_FULL_WARP, x, o);
    return x;
}

struct kg_select_shared {
    struct kg_select_range of_warps[KG_SELECT_WARPS];
    uint32_t bins[KG_BINS];
    uint32_t counts[KG_SELECT_WARPS][2];
    uint32_t bin, passed, there; /* the bin that has the last one wanted, how many are in higher ones, and in it */
};

/* The range of the keys of all threads of the block, each of which gets it. */
static __device__ __forceinline__ void kg_join_ranges(struct kg_select_shared &s, struct kg_select_range &range)
{
    kg_join_warp(range);
    if (threadIdx.x % 32 == 0)
        s.of_warps[threadIdx.x / 32] = range;
    __syncthreads();
    range = s.of_warps[threadIdx.x % 32];
    kg_join_warp(range);
}

/* The highest bin with at least `wanted` items at or above it. Thread i has the i-th two from above. */
static __device__ __forceinline__ void kg_find_bin(struct kg_select_shared &s, uint32_t wanted)
{
    const uint32_t lane = threadIdx.x % 32, warp = threadIdx.x / 32, upper = KG_BINS - 1 - 2 * threadIdx.x;
    const uint32_t of_upper = s.bins[upper], own = of_upper + s.bins[upper - 1];
    uint32_t above = own; /* with those of threads before */
#pragma unroll
    for (uint32_t o = 1; o < 32; o *= 2) {
        const uint32_t before = __shfl_up_sync(KG_FULL_WARP, above, o);
        above += lane >= o ? before : 0;
    }
    if (lane == 31)
        s.counts[warp][0] = above;
    __syncthreads();
    above += kg_sum_of_lanes(lane < warp ? s.counts[lane][0] : 0);
    const uint32_t passed = above - own;
    if (passed >= wanted || above < wanted)
        return;
    const bool in_upper = passed + of_upper >= wanted;
    s.bin = in_upper ? upper : upper - 1;
    s.passed = in_upper ? passed : passed + of_upper;
    s.there = in_upper ? of_upper : own - of_upper;
}

/* Narrows the range to keys of which `wanted`, as it is then, are chosen, and all keys above it: either all of them, or they are equal. */
template <class Key>
static __device__ __forceinline__ void kg_narrow(struct kg_select_shared &s, struct kg_select_range &range, uint32_t *wanted, uint32_t n, Key key)
{
    while (range.count > *wanted && range.low < range.high) {
        const uint32_t width = range.high - range.low, shift = width < KG_BINS ? 0 : 32 - KG_BIN_BITS - (uint32_t)__clz((int)width);
        s.bins[threadIdx.x] = s.bins[threadIdx.x + KG_SELECT_THREADS] = 0;
        __syncthreads();
        for (uint32_t first = threadIdx.x; first < n; first += KG_ITEMS * KG_SELECT_THREADS) {
            uint32_t own[KG_ITEMS];
#pragma unroll
            for (uint32_t i = 0; i < KG_ITEMS; i++)
                own[i] = first + i * KG_SELECT_THREADS < n ? key(first + i * KG_SELECT_THREADS) : 0;
#pragma unroll
            for (uint32_t i = 0; i < KG_ITEMS; i++)
                if (first + i * KG_SELECT_THREADS < n && own[i] >= range.low && own[i] <= range.high)
                    atomicAdd(&s.bins[(own[i] - range.low) >> shift], 1U);
        }
        __syncthreads();
        kg_find_bin(s, *wanted);
        __syncthreads();
        range.low += s.bin << shift;
        range.high = range.high - range.low < 1U << shift ? range.high : range.low + ((1U << shift) - 1);
        range.count = s.there;
        *wanted -= s.passed;
    }
}

/* Calls put(rank, i) for each of the k chosen of n items; 1 <= k <= range.count, which is how many of them are in the range of keys. A block
 * of KG_SELECT_THREADS. */
template <class Key, class Put>
static __device__ __forceinline__ void kg_select(struct kg_select_shared &s, uint32_t n, uint32_t k, struct kg_select_range range, Key key, Put put)
{
    const uint32_t lane = threadIdx.x % 32, warp = threadIdx.x / 32, below = (1U << lane) - 1;
    const uint32_t of_warp = (n + KG_SELECT_THREADS - 1) / KG_SELECT_THREADS * 32, begin = warp * of_warp, end = begin + of_warp < n ? begin + of_warp : n;
    kg_narrow(s, range, &k, n, key);
    uint32_t above = 0, within = 0; /* of the items of this warp, which stand together */
    for (uint32_t first = begin + lane; first < end; first += KG_ITEMS * 32)
#pragma unroll
        for (uint32_t i = 0; i < KG_ITEMS; i++) {
            const uint32_t own = first + 32 * i < end ? key(first + 32 * i) : 0;
            above += first + 32 * i < end && own > range.high;
            within += first + 32 * i < end && own >= range.low && own <= range.high;
        }
    above = kg_sum_of_lanes(above);
    within = kg_sum_of_lanes(within);
    if (lane == 0) {
        s.counts[warp][0] = above;
        s.counts[warp][1] = within;
    }
    __syncthreads();
    above = kg_sum_of_lanes(lane < warp ? s.counts[lane][0] : 0); /* now of the warps before */
    within = kg_sum_of_lanes(lane < warp ? s.counts[lane][1] : 0);
    for (uint32_t from = begin; from < end; from += KG_ITEMS * 32) {
        uint32_t own[KG_ITEMS];
#pragma unroll
        for (uint32_t i = 0; i < KG_ITEMS; i++)
            own[i] = from + 32 * i + lane < end ? key(from + 32 * i + lane) : 0;
#pragma unroll
        for (uint32_t i = 0; i < KG_ITEMS; i++) {
            const bool there = from + 32 * i + lane < end, higher = there && own[i] > range.high;
            const bool equal = there && own[i] >= range.low && own[i] <= range.high;
            const uint32_t higher_votes = __ballot_sync(KG_FULL_WARP, higher), equal_votes = __ballot_sync(KG_FULL_WARP, equal);
            const uint32_t equal_before = within + (uint32_t)__popc(equal_votes & below);
            if (higher || (equal && equal_before < k))
                put(above + (uint32_t)__popc(higher_votes & below) + (equal_before < k ? equal_before : k), from + 32 * i + lane);
            above += (uint32_t)__popc(higher_votes);
            within += (uint32_t)__popc(equal_votes);
        }
    }
}

/* ... of n items that all are in the range. */
template <class Key, class Put> static __device__ __forceinline__ void kg_select_of_all(struct kg_select_shared &s, uint32_t n, uint32_t k, Key key, Put put)
{
    struct kg_select_range range = kg_no_range();
#pragma unroll 4
    for (uint32_t i = threadIdx.x; i < n; i += KG_SELECT_THREADS)
        kg_widen(range, key(i));
    kg_join_ranges(s, range);
    kg_select(s, n, k, range, key, put);
}

#endif
