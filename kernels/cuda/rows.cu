/* Operations on rows of activations: norm, sum, gate, copy. */
#include <assert.h>

#include "kernels/cuda/device.h"
#include "kernels/cuda/warp.h"

#define THREADS 256
#define WARPS   (THREADS / 32)

/* out = x * weight / sqrt(mean(x^2) + eps). `wide`: a block a row, else a warp a row. Lanes take every 32nd (256th)
 * element; which of both is used depends on cols only. */
template <bool wide> static __device__ float sum_of_squares(const float *x, uint32_t cols, uint32_t first, uint32_t step)
{
    __shared__ float sums[WARPS];
    float sum = 0;
    for (uint32_t c = first; c < cols; c += step)
        sum = fmaf(x[c], x[c], sum);
    sum = kg_warp_sum(sum);
    if (!wide)
        return sum;
    if (threadIdx.x % 32 == 0)
        sums[threadIdx.x / 32] = sum;
    __syncthreads();
    sum = 0;
    for (uint32_t w = 0; w < WARPS; w++)
        sum += sums[w];
    return sum;
}

template <bool wide> __global__ void kg_rmsnorm(float *out, const float *x, const float *weight, float eps, uint32_t rows, uint32_t cols)
{
    const uint32_t row = wide ? blockIdx.x : blockIdx.x * WARPS + threadIdx.x / 32;
    const uint32_t first = wide ? threadIdx.x : threadIdx.x % 32, step = wide ? THREADS : 32;
    if (row >= rows)
        return;
    x += (size_t)row * cols;
    out += (size_t)row * cols;
    const float norm = sqrtf(sum_of_squares<wide>(x, cols, first, step) / (float)cols + eps);
    for (uint32_t c = first; c < cols; c += step)
        out[c] = x[c] * weight[c] / norm;
}

__global__ void kg_add(float *x, const float *y, size_t n)
{
    for (size_t i = (size_t)blockIdx.x * THREADS + threadIdx.x; i < n; i += (size_t)gridDim.x * THREADS)
        x[i] += y[i];
}

/* gate / (1 + exp(-gate)) * up; far below zero the exponential is infinite and the result zero */
__global__ void kg_silu_mul(float *out, const float *gate, const float *up, size_t n)
{
    for (size_t i = (size_t)blockIdx.x * THREADS + threadIdx.x; i < n; i += (size_t)gridDim.x * THREADS)
        out[i] = gate[i] / (1 + expf(-gate[i])) * up[i];
}

/* A kernel, since a copy by the runtime would be no launch that a step can hold. */
__global__ void kg_copy(float *out, const float *x, uint32_t n)
{
    for (uint32_t i = blockIdx.x * THREADS + threadIdx.x; i < n; i += gridDim.x * THREADS)
        out[i] = x[i];
}

static unsigned blocks_for(size_t n)
{
    const size_t blocks = (n + THREADS - 1) / THREADS;
    return (unsigned)(blocks < 4096 ? blocks : 4096);
}

void kg_cuda_rmsnorm(struct kg_device *device, struct kg_buffer *out, const struct kg_buffer *x, const struct kg_buffer *weight, float eps, uint32_t rows,
                     uint32_t cols)
{
    const float *in = (const float *)kg_cuda_in(x, (size_t)rows * cols, sizeof(float)), *w = (const float *)kg_cuda_in(weight, cols, sizeof(float));
    float *y = (float *)kg_cuda_out(device, out, (size_t)rows * cols, sizeof(float));
    if (device->failed)
        return;
    if (cols > 256)
        kg_cuda_launch(device, "rmsnorm", kg_rmsnorm<true>, rows, THREADS, 0, y, in, w, eps, rows, cols);
    else
        kg_cuda_launch(device, "rmsnorm", kg_rmsnorm<false>, (rows + WARPS - 1) / WARPS, THREADS, 0, y, in, w, eps, rows, cols);
}

void kg_cuda_add(struct kg_device *device, struct kg_buffer *x, const struct kg_buffer *y, size_t n)
{
    const float *b = (const float *)kg_cuda_in(y, n, sizeof(float));
    float *a = (float *)kg_cuda_out(device, x, n, sizeof(float));
    if (!device->failed)
        kg_cuda_launch(device, "add", kg_add, blocks_for(n), THREADS, 0, a, b, n);
}

void kg_cuda_silu_mul(struct kg_device *device, struct kg_buffer *out, const struct kg_buffer *gate, const struct kg_buffer *up, size_t n)
{
    const float *g = (const float *)kg_cuda_in(gate, n, sizeof(float)), *u = (const float *)kg_cuda_in(up, n, sizeof(float));
    float *y = (float *)kg_cuda_out(device, out, n, sizeof(float));
    if (!device->failed)
        kg_cuda_launch(device, "silu_mul", kg_silu_mul, blocks_for(n), THREADS, 0, y, g, u, n);
}

void kg_cuda_copy_row(struct kg_device *device, struct kg_buffer *out, uint32_t to, const struct kg_buffer *x, uint32_t from, uint32_t cols)
{
    const float *in = (const float *)kg_cuda_in(x, ((size_t)from + 1) * cols, sizeof(float)) + (size_t)from * cols;
    float *row = (float *)kg_cuda_out(device, out, ((size_t)to + 1) * cols, sizeof(float)) + (size_t)to * cols;
    if (!device->failed && in != row)
        kg_cuda_launch(device, "copy_row", kg_copy, blocks_for(cols), THREADS, 0, row, in, cols);
}
