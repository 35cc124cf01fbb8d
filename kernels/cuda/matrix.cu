/* Weights: rows taken out (embed) and products with them (matmul): which kernel makes them, activations rounded for planes
 * (few.cu, many.cu), and products of F32, F16 and BF16. */
#include <assert.h>
#include <stdlib.h>

#include "kernels/cuda/device.h"
#include "kernels/cuda/product.h"
#include "kernels/cuda/warp.h"

#define THREADS   256
#define CHAINS    8
#define ROWS      32 /* rows of weights in a block of mul_plain: 8 warps, 4 rows each, 8 lanes a row */

/* ((c0 + c4) + (c2 + c6)) + ((c1 + c5) + (c3 + c7)) */
static __device__ __forceinline__ float join_chains(float chain)
{
    chain += __shfl_xor_sync(KG_FULL_WARP, chain, 4);
    chain += __shfl_xor_sync(KG_FULL_WARP, chain, 2);
    return chain + __shfl_xor_sync(KG_FULL_WARP, chain, 1);
}

/* Codes and step of each group of 32 of x, a thread four of them. Their number is a multiple of 32. */
__global__ void __launch_bounds__(THREADS) kg_round_rows(uint32_t *codes, struct kg_rounded *group, const float *x, uint32_t groups)
{
    kg_begin();
    const uint32_t own = blockIdx.x * THREADS + threadIdx.x;
    const bool there = own / 8 < groups;
    const float4 four = there ? reinterpret_cast<const float4 *>(x)[own] : make_float4(0, 0, 0, 0);
    const float values[4] = { four.x, four.y, four.z, four.w };
    struct kg_rounded made;
    const uint32_t word = kg_round_4(values, &made);
    if (!there)
        return;
    codes[own] = word;
    if (own % 8 == 0)
        group[own / 8] = made;
}

template <enum kg_type type> static __device__ __forceinline__ float plain_at(const void *w, size_t i)
{
    if (type == KG_F32)
        return reinterpret_cast<const float *>(w)[i];
    if (type == KG_F16)
        return __half2float(reinterpret_cast<const __half *>(w)[i]);
    return __uint_as_float((uint32_t)reinterpret_cast<const uint16_t *>(w)[i] << 16);
}

/* F32, F16, BF16: activations stay f32, any number of columns. A lane is a chain: it adds the
 * columns of groups c, c + 8, c + 16, ... in order. */
template <enum kg_type type, int N>
__global__ void __launch_bounds__(THREADS) kg_mul_plain(float *out, const void *w, const float *x, const float *bias, uint32_t rows, uint32_t cols, uint32_t n)
{
    const uint32_t own = blockIdx.x * ROWS + threadIdx.x / CHAINS, row = own < rows ? own : rows - 1, first = blockIdx.y * N;
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
static __device__ float element_at(const struct kg_weights &w, const struct kg_planes &p, size_t row, uint32_t c)
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

__global__ void kg_embed_planes(float *out, struct kg_weights w, struct kg_planes p, const int32_t *ids, float scale)
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
    const enum kg_status status = kg_cuda_alloc(device, bytes, &matrix->memory, "storing a matrix", err);
    if (status != KG_OK) {
        kg_cuda_matrix_free(device, matrix);
        return status;
    }
    kg_cuda_fill_matrix(device, matrix, blocks);
    *out = matrix;
    return KG_OK;
}

void kg_cuda_matrix_free(struct kg_device *device, struct kg_matrix *matrix)
{
    if (matrix)
        kg_cuda_free(device, &matrix->memory);
    free(matrix);
}

static struct kg_weights weights_of(const struct kg_matrix *matrix)
{
    const uint8_t *bits = (const uint8_t *)matrix->memory.bits;
    const struct kg_planes *p = &matrix->planes;
    const struct kg_weights w = {
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

template <enum kg_type type>
static void enqueue_plain(struct kg_device *device, const struct kg_matrix *w, float *out, const float *x, const float *bias, uint32_t rows)
{
    const unsigned blocks = (w->rows + ROWS - 1) / ROWS;
    const void *bits = w->memory.bits;
    if (rows == 1)
        kg_cuda_launch(device, "matmul", kg_mul_plain<type, 1>, blocks, THREADS, 0, out, bits, x, bias, w->rows, w->cols, rows);
    else
        kg_cuda_launch(device, "matmul", kg_mul_plain<type, 8>, dim3(blocks, (rows + 7) / 8), THREADS, 0, out, bits, x, bias, w->rows, w->cols, rows);
}

/* The first rows of x as codes; kept until x changes, since several products follow one norm. */
static bool round_rows(struct kg_device *device, const struct kg_buffer *buffer, const float *x, uint32_t rows, uint32_t cols, struct kg_activations *out)
{
    const size_t codes = (size_t)rows * cols, groups = codes / KG_GROUP;
    const bool known = device->rounded_version == buffer->version && device->rounded_rows == rows && device->rounded_cols == cols;
    if (!kg_cuda_grow(device, &device->rounded, codes + groups * sizeof(struct kg_rounded), "rounding activations"))
        return false;
    uint32_t *made = (uint32_t *)device->rounded.bits;
    struct kg_rounded *group = (struct kg_rounded *)(made + codes / 4); /* codes is a multiple of 32 */
    out->codes = made;
    out->group = group;
    out->rows = rows;
    if (known)
        return true;
    const unsigned blocks = (unsigned)((codes / 4 + THREADS - 1) / THREADS);
    kg_cuda_launch_early(device, "rounding activations", kg_round_rows, blocks, THREADS, 0, made, group, x, (uint32_t)groups);
    device->rounded_version = buffer->version;
    device->rounded_rows = rows;
    device->rounded_cols = cols;
    return !device->failed;
}

static void multiply_planes(struct kg_device *device, const struct kg_matrix *w, float *out, const struct kg_activations *x, const float *bias)
{
    const struct kg_product p = { device, w->type, weights_of(w), *x, out, bias };
    if (x->rows <= KG_FEW)
        kg_cuda_mul_few(&p);
    else
        kg_cuda_mul_many(&p);
}

void kg_cuda_matmul(struct kg_device *device, struct kg_buffer *out, const struct kg_matrix *w, const struct kg_buffer *x, const struct kg_buffer *bias,
                    uint32_t rows)
{
    assert(out != x);
    const float *in = (const float *)kg_cuda_in(x, (size_t)rows * w->cols, sizeof *in);
    const float *added = bias ? (const float *)kg_cuda_in(bias, w->rows, sizeof *added) : NULL;
    float *y = (float *)kg_cuda_out(device, out, (size_t)rows * w->rows, sizeof *y);
    struct kg_activations rounded = { NULL, NULL, rows, 0 };
    if (device->failed)
        return;
    if (w->type == KG_F32)
        enqueue_plain<KG_F32>(device, w, y, in, added, rows);
    else if (w->type == KG_F16)
        enqueue_plain<KG_F16>(device, w, y, in, added, rows);
    else if (w->type == KG_BF16)
        enqueue_plain<KG_BF16>(device, w, y, in, added, rows);
    else if (round_rows(device, x, in, rows, w->cols, &rounded))
        multiply_planes(device, w, y, &rounded, added);
}
