/* Weights: rows taken out (embed) and products with them (matmul).
 *
 * A product is made in 8 chains: chain c adds groups of 32 columns c, c + 8, c + 16, ... in order, and the chains are
 * joined as ((c0 + c4) + (c2 + c6)) + ((c1 + c5) + (c3 + c7)). Within a group sums of codes are integers, so exact. Both
 * kernels for planes keep to this, so a row has the same bits whether it is computed alone or among many. */
#include <assert.h>
#include <stdlib.h>

#include "kernels/cuda/device.h"
#include "kernels/cuda/warp.h"

#define THREADS   256
#define CHAINS    8
#define FEW_ROWS  32 /* rows of weights in a block of mul_few: 8 warps, 4 rows each, 8 lanes a row */
#define MANY_ROWS 16 /* ... in a block of mul_many */
#define MANY      64 /* rows of activations in a block of mul_many */

/* Planes on the device; see planes.h. */
struct weights {
    const uint32_t *low, *high;
    const uint8_t *scale, *minimum;
    const __half *d, *m;
    uint32_t rows, groups;
};

/* Rounded activations: (rows, groups, 32) codes and (rows, groups) of what belongs to a group. */
struct activations {
    const uint32_t *codes;
    const struct kg_cuda_group *group;
    uint32_t rows, none;
};

/* What multiplies the sums of a group of weights. */
struct factors {
    float d, m;
    int scale[2], minimum;
};

template <int bits, bool super, bool minimum> static __device__ __forceinline__ struct factors factors_of(const struct weights &w, size_t group)
{
    struct factors f = { 0, 0, { 1, 1 }, 1 };
    const size_t number = super ? group / 8 : group;
    f.d = __half2float(w.d[number]);
    if (minimum)
        f.m = __half2float(w.m[number]);
    if (bits == 6) {
        const char2 both = reinterpret_cast<const char2 *>(w.scale)[group];
        f.scale[0] = both.x;
        f.scale[1] = both.y;
    } else if (super) {
        f.scale[0] = w.scale[group];
        f.minimum = w.minimum[group];
    }
    return f;
}

/* Adds a group: sums of products of codes over its first and second half (all in the first one but for 6 bits). Weights with
 * a minimum are split at the middle of their codes: what is constant in a group is multiplied by the sum of x as it was, so
 * that the error of rounding x meets numbers around 0. */
template <int bits, bool minimum>
static __device__ __forceinline__ float add_group(float chain, const struct factors &f, int first, int second, const struct kg_cuda_group &x)
{
    const int middle = bits == 8 ? 0 : 1 << (bits - 1), all = x.sum[0] + x.sum[1];
    if (minimum) {
        const float scaled = fmaf((float)(f.scale[0] * middle), x.rest, (float)(f.scale[0] * first));
        const float value = fmaf(f.m * (float)f.minimum, (float)all + x.rest, f.d * scaled);
        return fmaf(x.step, value, chain);
    }
    const int scaled = bits == 6 ? f.scale[0] * (first - middle * x.sum[0]) + f.scale[1] * (second - middle * x.sum[1])
                                 : f.scale[0] * (first - middle * all);
    return fmaf(x.step, f.d * (float)scaled, chain);
}

/* Codes of elements 4i .. 4i+3 (low) and 16+4i .. (high) of a group, four bytes a word, from the group's words. */
template <int bits> static __device__ __forceinline__ void unpack(uint32_t packed, const uint32_t *extra, uint32_t i, uint32_t *low, uint32_t *high)
{
    *low = packed & 0x0f0f0f0fU;
    *high = packed >> 4 & 0x0f0f0f0fU;
    if (bits == 5) { /* four bits spread to four bytes */
        *low |= ((extra[0] >> 4 * i & 15) * 0x00204081U & 0x01010101U) << 4;
        *high |= ((extra[0] >> (16 + 4 * i) & 15) * 0x00204081U & 0x01010101U) << 4;
    } else if (bits == 6) {
        *low |= (extra[0] >> 2 * i & 0x03030303U) << 4;
        *high |= (extra[1] >> 2 * i & 0x03030303U) << 4;
    }
}

/* All words of a group. */
template <int bits> static __device__ __forceinline__ void load_group(const struct weights &w, size_t group, uint32_t low[4], uint32_t high[4])
{
    const uint4 *words = reinterpret_cast<const uint4 *>(w.low);
    if (bits == 8) {
        const uint4 a = words[2 * group], b = words[2 * group + 1];
        low[0] = a.x, low[1] = a.y, low[2] = a.z, low[3] = a.w;
        high[0] = b.x, high[1] = b.y, high[2] = b.z, high[3] = b.w;
        return;
    }
    const uint4 a = words[group];
    const uint32_t packed[4] = { a.x, a.y, a.z, a.w };
    uint32_t extra[2] = { 0, 0 };
    if (bits == 5)
        extra[0] = w.high[group];
    if (bits == 6) {
        const uint2 both = reinterpret_cast<const uint2 *>(w.high)[group];
        extra[0] = both.x, extra[1] = both.y;
    }
#pragma unroll
    for (uint32_t i = 0; i < 4; i++)
        unpack<bits>(packed[i], extra, i, &low[i], &high[i]);
}

static __device__ __forceinline__ float join_chains(float chain)
{
    chain += __shfl_xor_sync(KG_FULL_WARP, chain, 4);
    chain += __shfl_xor_sync(KG_FULL_WARP, chain, 2);
    return chain + __shfl_xor_sync(KG_FULL_WARP, chain, 1);
}

/* Up to N rows of activations: a lane is a chain of one row of weights, and reads each weight once. */
template <int bits, bool super, bool minimum, int N>
__global__ void __launch_bounds__(THREADS) kg_mul_few(float *out, struct weights w, struct activations x, const float *bias)
{
    const uint32_t own = blockIdx.x * FEW_ROWS + threadIdx.x / CHAINS, row = own < w.rows ? own : w.rows - 1;
    float chain[N];
#pragma unroll
    for (int r = 0; r < N; r++)
        chain[r] = 0;
#pragma unroll(N > 4 ? 1 : 2) /* more groups in flight would need registers that there are not */
    for (uint32_t g = threadIdx.x % CHAINS; g < w.groups; g += CHAINS) {
        const size_t group = (size_t)row * w.groups + g;
        uint32_t low[4], high[4];
        load_group<bits>(w, group, low, high);
        const struct factors f = factors_of<bits, super, minimum>(w, group);
#pragma unroll
        for (int r = 0; r < N; r++) {
            if ((uint32_t)r >= x.rows)
                break;
            const size_t at = (size_t)r * w.groups + g;
            const uint4 *words = reinterpret_cast<const uint4 *>(x.codes) + 2 * at;
            const uint4 a = words[0], b = words[1];
            int first = 0, second = 0;
            first = __dp4a((int)low[0], (int)a.x, first);
            first = __dp4a((int)low[1], (int)a.y, first);
            first = __dp4a((int)low[2], (int)a.z, first);
            first = __dp4a((int)low[3], (int)a.w, first);
            second = __dp4a((int)high[0], (int)b.x, second);
            second = __dp4a((int)high[1], (int)b.y, second);
            second = __dp4a((int)high[2], (int)b.z, second);
            second = __dp4a((int)high[3], (int)b.w, second);
            chain[r] = add_group<bits, minimum>(chain[r], f, bits == 6 ? first : first + second, second, x.group[at]);
        }
    }
#pragma unroll
    for (int r = 0; r < N; r++) {
        const float sum = join_chains(chain[r]);
        if (threadIdx.x % CHAINS == 0 && own < w.rows && (uint32_t)r < x.rows)
            out[(size_t)r * w.rows + row] = bias ? sum + bias[row] : sum;
    }
}

/* c += a b for 16 rows of weights and 8 of activations, over 16 codes or over 32. Lane 4g + t holds, of rows g and g + 8
 * of weights and row g of activations, words t (and t + 4); of c, rows g and g + 8 in columns 2t and 2t + 1. */
static __device__ __forceinline__ void multiply_16(int c[4], uint32_t a0, uint32_t a1, uint32_t b)
{
#if __CUDA_ARCH__ >= 800
    asm("mma.sync.aligned.m16n8k16.row.col.s32.s8.s8.s32 {%0,%1,%2,%3}, {%4,%5}, {%6}, {%0,%1,%2,%3};"
        : "+r"(c[0]), "+r"(c[1]), "+r"(c[2]), "+r"(c[3])
        : "r"(a0), "r"(a1), "r"(b));
#else
    asm("mma.sync.aligned.m8n8k16.row.col.s32.s8.s8.s32 {%0,%1}, {%2}, {%3}, {%0,%1};" : "+r"(c[0]), "+r"(c[1]) : "r"(a0), "r"(b));
    asm("mma.sync.aligned.m8n8k16.row.col.s32.s8.s8.s32 {%0,%1}, {%2}, {%3}, {%0,%1};" : "+r"(c[2]), "+r"(c[3]) : "r"(a1), "r"(b));
#endif
}

static __device__ __forceinline__ void multiply_32(int c[4], const uint32_t low[2], const uint32_t high[2], uint32_t b0, uint32_t b1)
{
#if __CUDA_ARCH__ >= 800
    asm("mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : "+r"(c[0]), "+r"(c[1]), "+r"(c[2]), "+r"(c[3])
        : "r"(low[0]), "r"(low[1]), "r"(high[0]), "r"(high[1]), "r"(b0), "r"(b1));
#else
    multiply_16(c, low[0], low[1], b0);
    multiply_16(c, high[0], high[1], b1);
#endif
}

/* Word t of a group. */
template <int bits> static __device__ __forceinline__ void load_word(const struct weights &w, size_t group, uint32_t t, uint32_t *low, uint32_t *high)
{
    if (bits == 8) {
        *low = w.low[8 * group + t];
        *high = w.low[8 * group + 4 + t];
        return;
    }
    uint32_t extra[2] = { 0, 0 };
    if (bits == 5)
        extra[0] = w.high[group];
    if (bits == 6) {
        const uint2 both = reinterpret_cast<const uint2 *>(w.high)[group];
        extra[0] = both.x, extra[1] = both.y;
    }
    unpack<bits>(w.low[4 * group + t], extra, t, low, high);
}

/* Many rows of activations by tensor cores: a warp is a chain, a block 16 rows of weights and 64 of activations. */
template <int bits, bool super, bool minimum>
__global__ void __launch_bounds__(THREADS) kg_mul_many(float *out, struct weights w, struct activations x, const float *bias)
{
    __shared__ float chains[CHAINS][MANY][MANY_ROWS + 1];
    const uint32_t lane = threadIdx.x % 32, warp = threadIdx.x / 32, g = lane / 4, t = lane % 4;
    const uint32_t first_row = blockIdx.x * MANY_ROWS, first_x = blockIdx.y * MANY;
    uint32_t row[2];
#pragma unroll
    for (uint32_t i = 0; i < 2; i++)
        row[i] = first_row + g + 8 * i < w.rows ? first_row + g + 8 * i : w.rows - 1;
    float chain[MANY / 8][4];
#pragma unroll
    for (uint32_t n = 0; n < MANY / 8; n++)
        chain[n][0] = chain[n][1] = chain[n][2] = chain[n][3] = 0;
    for (uint32_t group = warp; group < w.groups; group += CHAINS) {
        uint32_t low[2], high[2];
        struct factors f[2];
#pragma unroll
        for (uint32_t i = 0; i < 2; i++) {
            load_word<bits>(w, (size_t)row[i] * w.groups + group, t, &low[i], &high[i]);
            f[i] = factors_of<bits, super, minimum>(w, (size_t)row[i] * w.groups + group);
        }
#pragma unroll
        for (uint32_t n = 0; n < MANY / 8; n++) {
            const uint32_t tile = first_x + 8 * n;
            if (tile >= x.rows)
                continue;
            const uint32_t own = tile + g < x.rows ? tile + g : x.rows - 1;
            const uint32_t *codes = x.codes + ((size_t)own * w.groups + group) * 8;
            int c[4] = { 0, 0, 0, 0 }, upper[4] = { 0, 0, 0, 0 };
            if (bits == 6) {
                multiply_16(c, low[0], low[1], codes[t]);
                multiply_16(upper, high[0], high[1], codes[t + 4]);
            } else {
                multiply_32(c, low, high, codes[t], codes[t + 4]);
            }
#pragma unroll
            for (uint32_t j = 0; j < 2; j++) {
                const uint32_t column = tile + 2 * t + j < x.rows ? tile + 2 * t + j : x.rows - 1;
                const struct kg_cuda_group of_x = x.group[(size_t)column * w.groups + group];
#pragma unroll
                for (uint32_t i = 0; i < 2; i++)
                    chain[n][2 * i + j] = add_group<bits, minimum>(chain[n][2 * i + j], f[i], c[2 * i + j], upper[2 * i + j], of_x);
            }
        }
    }
#pragma unroll
    for (uint32_t n = 0; n < MANY / 8; n++)
#pragma unroll
        for (uint32_t i = 0; i < 4; i++)
            chains[warp][8 * n + 2 * t + i % 2][g + 8 * (i / 2)] = chain[n][i];
    __syncthreads();
    for (uint32_t i = threadIdx.x; i < MANY * MANY_ROWS; i += THREADS) {
        const uint32_t a = i / MANY_ROWS, b = i % MANY_ROWS;
        if (first_x + a >= x.rows || first_row + b >= w.rows)
            continue;
        const float even = (chains[0][a][b] + chains[4][a][b]) + (chains[2][a][b] + chains[6][a][b]);
        const float odd = (chains[1][a][b] + chains[5][a][b]) + (chains[3][a][b] + chains[7][a][b]);
        const float sum = even + odd;
        out[(size_t)(first_x + a) * w.rows + first_row + b] = bias ? sum + bias[first_row + b] : sum;
    }
}

/* Codes and step of each group of 32 of x: a warp a group. What is no number makes the step none; what is so small that
 * its reciprocal is infinite is zero. */
__global__ void __launch_bounds__(THREADS) kg_round_rows(int8_t *codes, struct kg_cuda_group *group, const float *x, uint32_t groups)
{
    const uint32_t own = blockIdx.x * (THREADS / 32) + threadIdx.x / 32, lane = threadIdx.x % 32;
    if (own >= groups)
        return;
    const float value = x[(size_t)own * KG_GROUP + lane];
    float most = fabsf(value);
    const bool finite = __all_sync(KG_FULL_WARP, most <= 3.402823466e38F);
#pragma unroll
    for (int o = 16; o > 0; o >>= 1)
        most = fmaxf(most, __shfl_xor_sync(KG_FULL_WARP, most, o));
    const bool usable = finite && most >= 0x1p-120F;
    const float steps = usable ? value * (127 / most) : 0;
    const int code = __float2int_rn(steps);
    codes[(size_t)own * KG_GROUP + lane] = (int8_t)code;
    const float rest = kg_warp_sum(steps - (float)code);
    int sum = code;
#pragma unroll
    for (int o = 8; o > 0; o >>= 1)
        sum += __shfl_xor_sync(KG_FULL_WARP, sum, o);
    const int second = __shfl_sync(KG_FULL_WARP, sum, 16);
    if (lane == 0) {
        const struct kg_cuda_group made = { finite ? usable ? most / 127 : 0 : NAN, rest, { (int16_t)sum, (int16_t)second } };
        group[own] = made;
    }
}

template <enum kg_type type> static __device__ __forceinline__ float plain_at(const void *w, size_t i)
{
    if (type == KG_F32)
        return reinterpret_cast<const float *>(w)[i];
    if (type == KG_F16)
        return __half2float(reinterpret_cast<const __half *>(w)[i]);
    return __uint_as_float((uint32_t)reinterpret_cast<const uint16_t *>(w)[i] << 16);
}

/* F32, F16, BF16: activations stay f32, any number of columns. A lane is a chain, as in mul_few. */
template <enum kg_type type, int N>
__global__ void __launch_bounds__(THREADS) kg_mul_plain(float *out, const void *w, const float *x, const float *bias, uint32_t rows, uint32_t cols, uint32_t n)
{
    const uint32_t own = blockIdx.x * FEW_ROWS + threadIdx.x / CHAINS, row = own < rows ? own : rows - 1, first = blockIdx.y * N;
    float chain[N];
#pragma unroll
    for (int r = 0; r < N; r++)
        chain[r] = 0;
    for (uint32_t from = threadIdx.x % CHAINS * KG_GROUP; from < cols; from += CHAINS * KG_GROUP) {
        for (uint32_t c = from; c < from + KG_GROUP && c < cols; c++) {
            const float weight = plain_at<type>(w, (size_t)row * cols + c);
#pragma unroll
            for (int r = 0; r < N; r++)
                chain[r] = fmaf(x[(size_t)(first + r < n ? first + r : first) * cols + c], weight, chain[r]);
        }
    }
#pragma unroll
    for (int r = 0; r < N; r++) {
        const float sum = join_chains(chain[r]);
        if (threadIdx.x % CHAINS == 0 && own < rows && first + r < n)
            out[(size_t)(first + r) * rows + row] = bias ? sum + bias[row] : sum;
    }
}

/* One element of planes, in f32: exact but for one rounding where there is a minimum or 6 bits. */
static __device__ float element_at(const struct weights &w, const struct kg_planes &p, size_t row, uint32_t c)
{
    const size_t group = row * w.groups + c / KG_GROUP, number = p.super ? group / 8 : group;
    const uint32_t j = c % KG_GROUP;
    const float d = __half2float(w.d[number]);
    if (p.bits == 8)
        return d * (float)reinterpret_cast<const int8_t *>(w.low)[group * 32 + j];
    int code = reinterpret_cast<const uint8_t *>(w.low)[group * 16 + j % 16] >> (j / 16 * 4) & 15;
    if (p.bits == 5)
        code |= (w.high[group] >> j & 1) << 4;
    if (p.bits == 6)
        code |= (reinterpret_cast<const uint8_t *>(w.high)[group * 8 + j / 16 * 4 + j % 4] >> (2 * (j % 16 / 4)) & 3) << 4;
    code -= (int)p.middle;
    if (p.bits == 6)
        return d * (float)(reinterpret_cast<const int8_t *>(w.scale)[group * 2 + j / 16] * code);
    const float value = d * (float)(p.super ? w.scale[group] * code : code);
    return p.minimum ? value + __half2float(w.m[number]) * (float)(p.super ? w.minimum[group] : 1) : value;
}

__global__ void kg_embed_planes(float *out, struct weights w, struct kg_planes p, const int32_t *ids, float scale)
{
    const uint32_t c = blockIdx.x * THREADS + threadIdx.x, cols = w.groups * KG_GROUP;
    if (c < cols)
        out[(size_t)blockIdx.y * cols + c] = element_at(w, p, (size_t)ids[blockIdx.y], c) * scale;
}

template <enum kg_type type> __global__ void kg_embed_plain(float *out, const void *w, const int32_t *ids, float scale, uint32_t cols)
{
    const uint32_t c = blockIdx.x * THREADS + threadIdx.x;
    if (c < cols)
        out[(size_t)blockIdx.y * cols + c] = plain_at<type>(w, (size_t)ids[blockIdx.y] * cols + c) * scale;
}

static enum kg_status upload_planes(struct kg_device *device, struct kg_matrix *matrix, const void *blocks, struct kg_error *err)
{
    uint8_t *packed = (uint8_t *)malloc(matrix->planes.bytes);
    if (!packed)
        return kg_fail_nomem(err, "storing a matrix");
    kg_planes_pack(matrix->type, &matrix->planes, blocks, packed);
    kg_cuda_upload(device, matrix->memory.bits, packed, matrix->planes.bytes);
    free(packed);
    return KG_OK;
}

enum kg_status kg_cuda_matrix_create(struct kg_device *device, enum kg_type type, uint32_t rows, uint32_t cols, const void *blocks, unsigned uses,
                                     struct kg_matrix **out, struct kg_error *err)
{
    (void)uses; /* one copy serves both */
    uint32_t elements = 1, block_bytes = 0;
    if (!kg_type_layout(type, &elements, &block_bytes))
        return kg_fail(err, KG_ERR_UNSUPPORTED, "weights of type number %d cannot be read; use a file in another quantisation", (int)type);
    assert(rows && cols && cols % elements == 0);
    struct kg_matrix *matrix = (struct kg_matrix *)calloc(1, sizeof *matrix);
    if (!matrix)
        return kg_fail_nomem(err, "storing a matrix");
    matrix->type = type;
    matrix->rows = rows;
    matrix->cols = cols;
    matrix->plain = !kg_planes_layout(type, rows, cols, &matrix->planes);
    const size_t bytes = matrix->plain ? (size_t)rows * cols * block_bytes : matrix->planes.bytes;
    enum kg_status status = kg_cuda_alloc(device, bytes, &matrix->memory, "storing a matrix", err);
    if (status == KG_OK && matrix->plain)
        kg_cuda_upload(device, matrix->memory.bits, blocks, bytes);
    else if (status == KG_OK)
        status = upload_planes(device, matrix, blocks, err);
    if (status != KG_OK) {
        kg_cuda_matrix_free(device, matrix);
        return status;
    }
    *out = matrix;
    return KG_OK;
}

void kg_cuda_matrix_free(struct kg_device *device, struct kg_matrix *matrix)
{
    if (matrix)
        kg_cuda_free(device, &matrix->memory);
    free(matrix);
}

static struct weights weights_of(const struct kg_matrix *matrix)
{
    const uint8_t *bits = (const uint8_t *)matrix->memory.bits;
    const struct kg_planes *p = &matrix->planes;
    const struct weights w = {
        .low = (const uint32_t *)(bits + p->low),
        .high = (const uint32_t *)(bits + p->high),
        .scale = bits + p->scale,
        .minimum = bits + p->minimums,
        .d = (const __half *)(bits + p->d),
        .m = (const __half *)(bits + p->m),
        .rows = p->rows,
        .groups = p->groups,
    };
    return w;
}

void kg_cuda_embed(struct kg_device *device, struct kg_buffer *out, const struct kg_matrix *w, const struct kg_buffer *ids, float scale, uint32_t rows)
{
    const int32_t *id = (const int32_t *)kg_cuda_in(ids, rows, sizeof *id);
    float *y = (float *)kg_cuda_out(device, out, (size_t)rows * w->cols, sizeof *y);
    const dim3 grid((w->cols + THREADS - 1) / THREADS, rows);
    const void *bits = w->memory.bits;
    if (device->failed)
        return;
    if (!w->plain)
        kg_cuda_launch(device, "embed", kg_embed_planes, grid, THREADS, 0, y, weights_of(w), w->planes, id, scale);
    else if (w->type == KG_F32)
        kg_cuda_launch(device, "embed", kg_embed_plain<KG_F32>, grid, THREADS, 0, y, bits, id, scale, w->cols);
    else if (w->type == KG_F16)
        kg_cuda_launch(device, "embed", kg_embed_plain<KG_F16>, grid, THREADS, 0, y, bits, id, scale, w->cols);
    else
        kg_cuda_launch(device, "embed", kg_embed_plain<KG_BF16>, grid, THREADS, 0, y, bits, id, scale, w->cols);
}

/* One product that is enqueued. */
struct product {
    struct kg_device *device;
    const struct kg_matrix *w;
    float *out;
    const float *bias;
    struct activations x;
};

template <int bits, bool super, bool minimum> static void enqueue_planes(const struct product *p)
{
    const struct weights w = weights_of(p->w);
    const unsigned few = (w.rows + FEW_ROWS - 1) / FEW_ROWS;
    const dim3 many((w.rows + MANY_ROWS - 1) / MANY_ROWS, (p->x.rows + MANY - 1) / MANY);
    if (p->x.rows == 1)
        kg_cuda_launch(p->device, "matmul", kg_mul_few<bits, super, minimum, 1>, few, THREADS, 0, p->out, w, p->x, p->bias);
    else if (p->x.rows <= 4)
        kg_cuda_launch(p->device, "matmul", kg_mul_few<bits, super, minimum, 4>, few, THREADS, 0, p->out, w, p->x, p->bias);
    else if (p->x.rows <= 8)
        kg_cuda_launch(p->device, "matmul", kg_mul_few<bits, super, minimum, 8>, few, THREADS, 0, p->out, w, p->x, p->bias);
    else
        kg_cuda_launch(p->device, "matmul", kg_mul_many<bits, super, minimum>, many, THREADS, 0, p->out, w, p->x, p->bias);
}

template <enum kg_type type> static void enqueue_plain(const struct product *p, const float *x, uint32_t rows)
{
    const struct kg_matrix *w = p->w;
    const unsigned blocks = (w->rows + FEW_ROWS - 1) / FEW_ROWS;
    if (rows == 1)
        kg_cuda_launch(p->device, "matmul", kg_mul_plain<type, 1>, blocks, THREADS, 0, p->out, w->memory.bits, x, p->bias, w->rows, w->cols, rows);
    else
        kg_cuda_launch(p->device, "matmul", kg_mul_plain<type, 8>, dim3(blocks, (rows + 7) / 8), THREADS, 0, p->out, w->memory.bits, x, p->bias, w->rows, w->cols, rows);
}

/* The first rows of x as codes; kept until x changes, since several products follow one norm. */
static bool round_rows(struct kg_device *device, const struct kg_buffer *buffer, const float *x, uint32_t rows, uint32_t cols, struct activations *out)
{
    const size_t codes = (size_t)rows * cols, groups = codes / KG_GROUP;
    const bool known = device->rounded_version == buffer->version && device->rounded_rows == rows && device->rounded_cols == cols;
    if (!kg_cuda_grow(device, &device->rounded, codes + groups * sizeof(struct kg_cuda_group), "rounding activations"))
        return false;
    int8_t *made = (int8_t *)device->rounded.bits;
    struct kg_cuda_group *group = (struct kg_cuda_group *)(made + codes); /* codes is a multiple of 32 */
    out->codes = (const uint32_t *)made;
    out->group = group;
    out->rows = rows;
    if (known)
        return true;
    const unsigned blocks = (unsigned)((groups + THREADS / 32 - 1) / (THREADS / 32));
    kg_cuda_launch(device, "rounding activations", kg_round_rows, blocks, THREADS, 0, made, group, x, (uint32_t)groups);
    device->rounded_version = buffer->version;
    device->rounded_rows = rows;
    device->rounded_cols = cols;
    return !device->failed;
}

void kg_cuda_matmul(struct kg_device *device, struct kg_buffer *out, const struct kg_matrix *w, const struct kg_buffer *x, const struct kg_buffer *bias,
                    uint32_t rows)
{
    assert(out != x);
    const float *in = (const float *)kg_cuda_in(x, (size_t)rows * w->cols, sizeof *in);
    struct product p = { device, w, NULL, bias ? (const float *)kg_cuda_in(bias, w->rows, sizeof(float)) : NULL, { NULL, NULL, rows, 0 } };
    p.out = (float *)kg_cuda_out(device, out, (size_t)rows * w->rows, sizeof(float));
    if (device->failed || (!w->plain && !round_rows(device, x, in, rows, w->cols, &p.x)))
        return;
    switch (w->type) {
    case KG_F32: enqueue_plain<KG_F32>(&p, in, rows); break;
    case KG_F16: enqueue_plain<KG_F16>(&p, in, rows); break;
    case KG_BF16: enqueue_plain<KG_BF16>(&p, in, rows); break;
    case KG_Q4_0: enqueue_planes<4, false, false>(&p); break;
    case KG_Q4_1: enqueue_planes<4, false, true>(&p); break;
    case KG_Q5_0: enqueue_planes<5, false, false>(&p); break;
    case KG_Q5_1: enqueue_planes<5, false, true>(&p); break;
    case KG_Q8_0: enqueue_planes<8, false, false>(&p); break;
    case KG_Q4_K: enqueue_planes<4, true, true>(&p); break;
    case KG_Q5_K: enqueue_planes<5, true, true>(&p); break;
    case KG_Q6_K: enqueue_planes<6, true, false>(&p); break;
    }
}
