/* Operations on rows of activations: norm, sum, gate, copy.
 *
 * A row alone is a few kilobytes, so that time is that of loads which wait for one another: threads are many, and load all that is
 * theirs at once. What a product is likely to follow is also left as codes (kg_cuda_rounded_room), since it lies in registers here. */
#include <assert.h>

#include "kernels/cuda/device.h"
#include "kernels/cuda/round.h"
#include "kernels/cuda/warp.h"

#define THREADS      256
#define WARPS        (THREADS / 32)
#define NARROW       (KG_HEAD_MAX / 32) /* elements of a lane, where a warp takes a row: a head, or what is as short */
#define WIDE_THREADS 512                /* of a block that takes a longer row */
#define HELD         4                  /* pieces of a row that a thread has in registers */
#define FEW          128                /* threads of a block of elements that are independent: more blocks are more processors */

/* V elements that lie together: 4, or 1 where rows are not multiples of 16 bytes. */
template <int V> struct piece {
    float e[V];
};

template <int V> static __device__ __forceinline__ struct piece<V> load(const float *x, size_t i)
{
    struct piece<V> p;
    if constexpr (V == 4) {
        const float4 all = reinterpret_cast<const float4 *>(x)[i];
        p.e[0] = all.x, p.e[1] = all.y, p.e[2] = all.z, p.e[3] = all.w;
    } else {
        p.e[0] = x[i];
    }
    return p;
}

template <int V> static __device__ __forceinline__ void store(float *x, size_t i, const struct piece<V> &p)
{
    if constexpr (V == 4)
        reinterpret_cast<float4 *>(x)[i] = make_float4(p.e[0], p.e[1], p.e[2], p.e[3]);
    else
        x[i] = p.e[0];
}

/* Piece i of all, as kg_round_4 has it. Lanes that are not `own` (of a group as a whole) only take part. */
static __device__ __forceinline__ void round_piece(const struct kg_cuda_rounded &to, const struct piece<4> &p, size_t i, bool own)
{
    struct kg_rounded made;
    const uint32_t codes = kg_round_4(p.e, &made);
    if (!own)
        return;
    to.codes[i] = codes;
    if (threadIdx.x % 8 == 0)
        to.group[i / 8] = made;
}

/* out = x * weight / sqrt(mean(x^2) + eps). Which thread adds up which squares depends on cols only. */
__global__ void __launch_bounds__(THREADS) kg_rmsnorm_narrow(float *out, const float *x, const float *weight, float eps, uint32_t rows, uint32_t cols)
{
    kg_begin();
    const uint32_t row = blockIdx.x * WARPS + threadIdx.x / 32, lane = threadIdx.x % 32;
    if (row >= rows)
        return;
    x += (size_t)row * cols;
    out += (size_t)row * cols;
    float held[NARROW], w[NARROW], sum = 0;
#pragma unroll
    for (uint32_t k = 0; k < NARROW; k++) {
        const uint32_t c = lane + 32 * k;
        held[k] = c < cols ? x[c] : 0;
        w[k] = c < cols ? weight[c] : 0;
    }
#pragma unroll
    for (uint32_t k = 0; k < NARROW; k++)
        sum = fmaf(held[k], held[k], sum);
    const float norm = sqrtf(kg_warp_sum(sum) / (float)cols + eps);
#pragma unroll
    for (uint32_t k = 0; k < NARROW; k++)
        if (lane + 32 * k < cols)
            out[lane + 32 * k] = held[k] * w[k] / norm;
}

static __device__ __forceinline__ float block_sum(float sum, float sums[WIDE_THREADS / 32])
{
    sum = kg_warp_sum(sum);
    if (threadIdx.x % 32 == 0)
        sums[threadIdx.x / 32] = sum;
    __syncthreads();
    sum = 0;
#pragma unroll
    for (uint32_t w = 0; w < WIDE_THREADS / 32; w++)
        sum += sums[w];
    return sum;
}

/* Piece i of the row: y, if there is one, is added to x first. */
template <int V> static __device__ __forceinline__ struct piece<V> take(float *x, const float *y, size_t i)
{
    struct piece<V> p = load<V>(x, i);
    if (y) {
        const struct piece<V> more = load<V>(y, i);
#pragma unroll
        for (int c = 0; c < V; c++)
            p.e[c] += more.e[c];
        store<V>(x, i, p);
    }
    return p;
}

template <int V>
static __device__ __forceinline__ void put(float *out, const struct kg_cuda_rounded &to, const struct piece<V> &x, const struct piece<V> &w, float norm,
                                           size_t row, uint32_t i, uint32_t n)
{
    struct piece<V> p;
#pragma unroll
    for (int c = 0; c < V; c++)
        p.e[c] = x.e[c] * w.e[c] / norm;
    if (i < n)
        store<V>(out, row * n + i, p);
    if constexpr (V == 4)
        if (to.codes)
            round_piece(to, p, row * n + i, i < n);
}

/* The same of wide rows, a block each. With y, of x + y, which x becomes; to.codes: rounded as well. */
template <int V>
__global__ void __launch_bounds__(WIDE_THREADS) kg_rmsnorm_wide(float *out, float *x, const float *y, const float *weight, float eps, uint32_t cols,
                                                                struct kg_cuda_rounded to)
{
    kg_begin();
    __shared__ float sums[WIDE_THREADS / 32];
    const uint32_t n = cols / V, own = threadIdx.x, first = own / 32 * 32; /* of the warp, whose lanes stay together */
    const size_t row = blockIdx.x;
    x += row * cols;
    y = y ? y + row * cols : y;
    struct piece<V> held[HELD] = {}, more[HELD] = {}, w[HELD] = {};
#pragma unroll
    for (uint32_t k = 0; k < HELD; k++)
        if (own + k * WIDE_THREADS < n) {
            held[k] = load<V>(x, own + k * WIDE_THREADS);
            w[k] = load<V>(weight, own + k * WIDE_THREADS);
            if (y)
                more[k] = load<V>(y, own + k * WIDE_THREADS);
        }
    float sum = 0;
#pragma unroll
    for (uint32_t k = 0; k < HELD; k++) {
        if (y) {
#pragma unroll
            for (int c = 0; c < V; c++)
                held[k].e[c] += more[k].e[c];
            if (own + k * WIDE_THREADS < n)
                store<V>(x, own + k * WIDE_THREADS, held[k]);
        }
#pragma unroll
        for (int c = 0; c < V; c++)
            sum = fmaf(held[k].e[c], held[k].e[c], sum);
    }
    for (uint32_t i = own + HELD * WIDE_THREADS; i < n; i += WIDE_THREADS) {
        const struct piece<V> p = take<V>(x, y, i);
#pragma unroll
        for (int c = 0; c < V; c++)
            sum = fmaf(p.e[c], p.e[c], sum);
    }
    const float norm = sqrtf(block_sum(sum, sums) / (float)cols + eps);
#pragma unroll
    for (uint32_t k = 0; k < HELD; k++)
        if (first + k * WIDE_THREADS < n)
            put<V>(out, to, held[k], w[k], norm, row, own + k * WIDE_THREADS, n);
    for (uint32_t i = own + HELD * WIDE_THREADS; i - own + first < n; i += WIDE_THREADS) {
        const uint32_t at = i < n ? i : own;
        put<V>(out, to, load<V>(x, at), load<V>(weight, at), norm, row, i, n);
    }
}

/* n pieces, as in kg_silu_mul. */
template <int V> __global__ void __launch_bounds__(FEW) kg_add(float *x, const float *y, size_t n)
{
    kg_begin();
    const size_t i = (size_t)blockIdx.x * FEW + threadIdx.x;
    if (i < n)
        (void)take<V>(x, y, i);
}

/* gate / (1 + exp(-gate)) * up; far below zero the exponential is infinite and the result zero */
template <int V> __global__ void __launch_bounds__(FEW) kg_silu_mul(float *out, const float *gate, const float *up, size_t n, struct kg_cuda_rounded to)
{
    kg_begin();
    const size_t i = (size_t)blockIdx.x * FEW + threadIdx.x;
    struct piece<V> p = {};
    if (i < n) {
        const struct piece<V> g = load<V>(gate, i), u = load<V>(up, i);
#pragma unroll
        for (int c = 0; c < V; c++)
            p.e[c] = g.e[c] / (1 + expf(-g.e[c])) * u.e[c];
        store<V>(out, i, p);
    }
    if constexpr (V == 4)
        if (to.codes)
            round_piece(to, p, i, i < n);
}

/* A kernel, since a copy by the runtime would be no launch that a step can hold. */
__global__ void kg_copy(float *out, const float *x, uint32_t n)
{
    kg_begin();
    const uint32_t i = blockIdx.x * THREADS + threadIdx.x;
    if (i < n)
        out[i] = x[i];
}

static unsigned blocks_for(size_t n, unsigned threads)
{
    return (unsigned)((n + threads - 1) / threads);
}

void kg_cuda_rmsnorm(struct kg_device *device, struct kg_buffer *out, const struct kg_buffer *x, const struct kg_buffer *weight, float eps, uint32_t rows,
                     uint32_t cols)
{
    const size_t n = (size_t)rows * cols;
    const float *w = (const float *)kg_cuda_in(weight, cols, sizeof(float));
    const bool narrow = cols <= KG_HEAD_MAX;
    const struct kg_buffer *y = !narrow && out != x ? kg_cuda_take_sum(device, x, n) : NULL;
    const float *more = y ? (const float *)kg_cuda_in(y, n, sizeof(float)) : NULL;
    float *in = (float *)kg_cuda_in(x, n, sizeof(float)), *to = (float *)kg_cuda_out(device, out, n, sizeof(float));
    if (device->failed)
        return;
    if (narrow) {
        kg_cuda_launch_early(device, "rmsnorm", kg_rmsnorm_narrow, blocks_for(rows, WARPS), THREADS, 0, to, in, w, eps, rows, cols);
        return;
    }
    struct kg_cuda_rounded codes = { NULL, NULL };
    if (out != x) /* QK-norm is in place, and the codes of what came before it are still wanted */
        codes = kg_cuda_rounded_room(device, out, rows, cols);
    if (cols % 4 == 0)
        kg_cuda_launch_early(device, "rmsnorm", kg_rmsnorm_wide<4>, rows, WIDE_THREADS, 0, to, in, more, w, eps, cols, codes);
    else
        kg_cuda_launch_early(device, "rmsnorm", kg_rmsnorm_wide<1>, rows, WIDE_THREADS, 0, to, in, more, w, eps, cols, codes);
}

/* Sums of a and b, on the device. */
void kg_cuda_enqueue_add(struct kg_device *device, float *a, const float *b, size_t n)
{
    if (n % 4 == 0)
        kg_cuda_launch_early(device, "add", kg_add<4>, blocks_for(n / 4, FEW), FEW, 0, a, b, n / 4);
    else
        kg_cuda_launch_early(device, "add", kg_add<1>, blocks_for(n, FEW), FEW, 0, a, b, n);
}

void kg_cuda_silu_mul(struct kg_device *device, struct kg_buffer *out, const struct kg_buffer *gate, const struct kg_buffer *up, size_t n)
{
    const float *g = (const float *)kg_cuda_in(gate, n, sizeof(float)), *u = (const float *)kg_cuda_in(up, n, sizeof(float));
    float *y = (float *)kg_cuda_out(device, out, n, sizeof(float));
    const uint32_t rows = device->step_rows ? device->step_rows : 1; /* what a product follows for, if all of the step's rows are here */
    if (device->failed)
        return;
    const struct kg_cuda_rounded none = { NULL, NULL };
    const struct kg_cuda_rounded codes = n % rows == 0 ? kg_cuda_rounded_room(device, out, rows, (uint32_t)(n / rows)) : none;
    if (n % 4 == 0)
        kg_cuda_launch_early(device, "silu_mul", kg_silu_mul<4>, blocks_for(n / 4, FEW), FEW, 0, y, g, u, n / 4, codes);
    else
        kg_cuda_launch_early(device, "silu_mul", kg_silu_mul<1>, blocks_for(n, FEW), FEW, 0, y, g, u, n, codes);
}

void kg_cuda_copy_row(struct kg_device *device, struct kg_buffer *out, uint32_t to, const struct kg_buffer *x, uint32_t from, uint32_t cols)
{
    const float *in = (const float *)kg_cuda_in(x, ((size_t)from + 1) * cols, sizeof(float)) + (size_t)from * cols;
    float *row = (float *)kg_cuda_out(device, out, ((size_t)to + 1) * cols, sizeof(float)) + (size_t)to * cols;
    if (!device->failed && in != row)
        kg_cuda_launch_early(device, "copy_row", kg_copy, blocks_for(cols, THREADS), THREADS, 0, row, in, cols);
}
