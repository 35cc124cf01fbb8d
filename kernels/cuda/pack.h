/* Device code that packs blocks of a GGUF tensor into planes (planes.h). A thread takes a group of 32; a block of threads first copies
 * what it needs to shared memory, since blocks of the file are of odd sizes and may lie on the other side of the bus. */
#ifndef KG_KERNELS_CUDA_PACK_H
#define KG_KERNELS_CUDA_PACK_H

#include "kernels/cuda/planes.h"

#define KG_PACK_THREADS 256

/* kernels/type.c has the layouts. */
template <enum kg_type type> static constexpr uint32_t kg_pack_bytes =
    type == KG_Q4_0 ? 18 : type == KG_Q4_1 ? 20 : type == KG_Q5_0 ? 22 : type == KG_Q5_1 ? 24 : type == KG_Q8_0 ? 34 : type == KG_Q4_K ? 144 : type == KG_Q5_K ? 176 : 210;
template <enum kg_type type> static constexpr uint32_t kg_pack_groups =
    type == KG_Q4_K || type == KG_Q5_K || type == KG_Q6_K ? 8 : 1;
template <enum kg_type type> static constexpr uint32_t kg_pack_bits =
    type == KG_Q8_0 ? 8 : type == KG_Q6_K ? 6 : type == KG_Q5_0 || type == KG_Q5_1 || type == KG_Q5_K ? 5 : 4;

/* Code j of group g of a block. */
template <enum kg_type type> static __device__ __forceinline__ uint32_t kg_pack_code(const uint8_t *b, uint32_t g, uint32_t j)
{
    if constexpr (type == KG_Q6_K) {
        const uint32_t half = g / 4, run = g % 4;
        return (b[64 * half + 32 * (run % 2) + j] >> 4 * (run / 2) & 15U) | (b[128 + 32 * half + j] >> 2 * run & 3U) << 4;
    } else if constexpr (kg_pack_groups<type> == 8) {
        const uint8_t *qs = type == KG_Q5_K ? b + 48 : b + 16;
        const uint32_t low = qs[32 * (g / 2) + j] >> 4 * (g % 2) & 15U;
        return type == KG_Q5_K ? low | (b[16 + j] >> g & 1U) << 4 : low;
    } else {
        const uint8_t *qh = b + (type == KG_Q4_1 || type == KG_Q5_1 ? 4 : 2), *qs = kg_pack_bits<type> == 5 ? qh + 4 : qh;
        const uint32_t low = j < 16 ? qs[j] & 15U : qs[j - 16] >> 4;
        return kg_pack_bits<type> == 5 ? low | (qh[j / 8] >> (j % 8) & 1U) << 4 : low;
    }
}

static __device__ __forceinline__ uint16_t kg_pack_number(const uint8_t *b)
{
    return (uint16_t)(b[0] | b[1] << 8);
}

/* d, m, and what k-quants scale groups with. */
template <enum kg_type type>
static __device__ __forceinline__ void kg_pack_factors(uint8_t *bits, const struct kg_planes &p, const uint8_t *b, size_t block, uint32_t g)
{
    uint16_t *d = reinterpret_cast<uint16_t *>(bits + p.d) + block, *m = reinterpret_cast<uint16_t *>(bits + p.m) + block;
    if constexpr (type == KG_Q6_K) {
        reinterpret_cast<uint16_t *>(bits + p.scale)[block * 8 + g] = kg_pack_number(b + 192 + 2 * g);
        if (g == 0)
            *d = kg_pack_number(b + 208);
    } else if constexpr (kg_pack_groups<type> == 8) {
        const uint8_t *s = b + 4;
        bits[p.scale + block * 8 + g] = (uint8_t)(g < 4 ? s[g] & 63U : (s[g + 4] & 15U) | s[g - 4] >> 6 << 4);
        bits[p.minimums + block * 8 + g] = (uint8_t)(g < 4 ? s[g + 4] & 63U : s[g + 4] >> 4 | s[g] >> 6 << 4);
        if (g == 0) {
            *d = kg_pack_number(b);
            *m = kg_pack_number(b + 2) ^ 0x8000U; /* minus dmin */
        }
    } else {
        *d = kg_pack_number(b);
        if (type == KG_Q4_1 || type == KG_Q5_1)
            *m = kg_pack_number(b + 2);
    }
}

template <enum kg_type type>
static __device__ __forceinline__ void kg_pack_group(uint8_t *bits, const struct kg_planes &p, const uint8_t *b, size_t block, uint32_t g)
{
    const size_t group = block * kg_pack_groups<type> + g;
    uint32_t low[8] = {}, high[2] = {};
    kg_pack_factors<type>(bits, p, b, block, g);
    if constexpr (type == KG_Q8_0) {
#pragma unroll
        for (uint32_t j = 0; j < 16; j++)
            low[j / 2] |= (uint32_t)kg_pack_number(b + 2 + 2 * j) << 16 * (j % 2);
        reinterpret_cast<uint4 *>(bits + p.low)[2 * group + 1] = make_uint4(low[4], low[5], low[6], low[7]);
        reinterpret_cast<uint4 *>(bits + p.low)[2 * group] = make_uint4(low[0], low[1], low[2], low[3]);
    } else {
#pragma unroll
        for (uint32_t j = 0; j < 32; j++) {
            const uint32_t code = kg_pack_code<type>(b, g, j);
            low[j % 16 / 4] |= (code & 15) << (8 * (j % 4) + 4 * (j / 16));
            if (kg_pack_bits<type> == 5)
                high[0] |= (code >> 4) << j;
            if (kg_pack_bits<type> == 6)
                high[j / 16] |= (code >> 4) << (8 * (j % 4) + 2 * (j % 16 / 4));
        }
        reinterpret_cast<uint4 *>(bits + p.low)[group] = make_uint4(low[0], low[1], low[2], low[3]);
        if (kg_pack_bits<type> == 5)
            reinterpret_cast<uint32_t *>(bits + p.high)[group] = high[0];
        if (kg_pack_bits<type> == 6)
            reinterpret_cast<uint2 *>(bits + p.high)[group] = make_uint2(high[0], high[1]);
    }
}

/* `count` blocks at `from`, 16 bytes aligned and readable to the end of the last 16 bytes; they are blocks first, first + 1, ... of the
 * matrix. */
template <enum kg_type type>
__global__ void __launch_bounds__(KG_PACK_THREADS) kg_pack(uint8_t *bits, struct kg_planes p, const uint4 *from, size_t first, uint32_t count)
{
    constexpr uint32_t blocks = KG_PACK_THREADS / kg_pack_groups<type>, words = blocks * kg_pack_bytes<type> / 16;
    static_assert(blocks * kg_pack_bytes<type> % 16 == 0, "the next block of threads begins at 16 bytes, too");
    __shared__ uint4 staged[words];
    const uint32_t begin = blockIdx.x * blocks, here = count - begin < blocks ? count - begin : blocks;
    for (uint32_t i = threadIdx.x; i < (here * kg_pack_bytes<type> + 15) / 16; i += KG_PACK_THREADS)
        staged[i] = from[(size_t)blockIdx.x * words + i];
    __syncthreads();
    const uint32_t own = threadIdx.x / kg_pack_groups<type>;
    if (own < here)
        kg_pack_group<type>(bits, p, reinterpret_cast<const uint8_t *>(staged) + own * kg_pack_bytes<type>, first + begin + own, threadIdx.x % kg_pack_groups<type>);
}

#endif
