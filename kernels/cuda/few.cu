/* Products of planes with up to 8 rows of activations: as fast as the weights come.
 *
 * A block has some rows of weights; its warps take pieces of four rows and eight groups, a lane a group, several pieces at a time so
 * that many loads are under way. Lanes leave step and value of each group in shared memory, where a thread adds a stretch, and then
 * one a row adds its stretches. */
#include "kernels/cuda/product.h"

#define WARPS 10 /* of a block, at most */

/* Rows of a block (a multiple of 4), groups of a row that are in shared memory at a time (a multiple of KG_STRETCH, but if it is all of
 * them), and pairs that such a row has there: one is left out behind each stretch, or all stretches would lie in the same bank. */
struct shape {
    uint32_t rows_log2, span, stride, none;
};

/* The group as it is in memory, so that nothing waits for it before it is multiplied. */
struct group {
    uint4 low, more; /* more: with 8 bits */
    uint32_t extra[2];
    __half d, m;
    int first, second;
};

template <int bits, bool super, bool minimum>
static __device__ __forceinline__ void load_group(struct group &to, const struct kg_weights &w, uint32_t group)
{
    const uint4 *words = reinterpret_cast<const uint4 *>(w.low);
    if (bits == 8) {
        to.low = words[2 * group];
        to.more = words[2 * group + 1];
    } else {
        to.low = words[group];
    }
    if (bits == 5)
        to.extra[0] = w.high[group];
    if (bits == 6) {
        const uint2 both = reinterpret_cast<const uint2 *>(w.high)[group];
        const char2 scales = reinterpret_cast<const char2 *>(w.scale)[group];
        to.extra[0] = both.x, to.extra[1] = both.y;
        to.first = scales.x, to.second = scales.y;
    } else {
        to.first = super ? w.scale[group] : 1;
        to.second = super && minimum ? w.minimum[group] : 1;
    }
    to.d = w.d[super ? group / 8 : group];
    if (minimum)
        to.m = w.m[super ? group / 8 : group];
}

template <int bits> static __device__ __forceinline__ void unpack_group(const struct group &of, uint32_t low[4], uint32_t high[4])
{
    const uint32_t words[4] = { of.low.x, of.low.y, of.low.z, of.low.w }, more[4] = { of.more.x, of.more.y, of.more.z, of.more.w };
#pragma unroll
    for (uint32_t i = 0; i < 4; i++)
        if (bits == 8)
            low[i] = words[i], high[i] = more[i];
        else
            kg_unpack<bits>(words[i], of.extra, i, &low[i], &high[i]);
}

/* Step and value of one group of weights and one of activations. */
template <int bits, bool minimum>
static __device__ __forceinline__ float2 multiply(const uint32_t low[4], const uint32_t high[4], const float2 &f, const uint4 *codes,
                                                  const struct kg_rounded &x)
{
    const uint4 a = codes[0], b = codes[1];
    int first = 0, second = 0;
    first = __dp4a((int)low[0], (int)a.x, first);
    second = __dp4a((int)high[0], (int)b.x, second);
    first = __dp4a((int)low[1], (int)a.y, first);
    second = __dp4a((int)high[1], (int)b.y, second);
    first = __dp4a((int)low[2], (int)a.z, first);
    second = __dp4a((int)high[2], (int)b.z, second);
    first = __dp4a((int)low[3], (int)a.w, first);
    second = __dp4a((int)high[3], (int)b.w, second);
    if (bits == 6)
        return make_float2(x.step, fmaf(f.y, (float)second, f.x * (float)first));
    if (minimum)
        return make_float2(x.step, fmaf(f.x, (float)(first + second), f.y * x.sum));
    return make_float2(x.step, f.x * (float)(first + second));
}

/* Values of the block's rows in groups from, from + 1, ... (count of them): pairs[row][r][group]. Loads of `ahead` pieces are under way. */
template <int bits, bool super, bool minimum, int N, int ahead>
static __device__ __forceinline__ void fill(float2 *pairs, const struct shape &shape, const struct kg_weights &w, const struct kg_activations &x,
                                            uint32_t from, uint32_t count)
{
    const uint32_t quads_log2 = shape.rows_log2 - 2, quads = (1U << quads_log2) - 1, pieces = (count + 7) / 8 << quads_log2;
    const uint32_t lane = threadIdx.x % 32, warps = blockDim.x / 32, first_row = blockIdx.x << shape.rows_log2;
    for (uint32_t piece = threadIdx.x / 32; piece < pieces; piece += ahead * warps) {
        struct group groups[ahead];
        if (bits == 8) /* whose words leave no register for what lies between */
            kg_begin();
#pragma unroll
        for (int u = 0; u < ahead; u++) { /* what is not there is the last one, computed all the same: branches would cost more */
            const uint32_t own = min(piece + (uint32_t)u * warps, pieces - 1), row = first_row + (own & quads) * 4 + lane / 8;
            const uint32_t g = min((own >> quads_log2) * 8 + lane % 8, count - 1);
            load_group<bits, super, minimum>(groups[u], w, min(row, w.rows - 1) * w.groups + from + g);
        }
        __syncwarp(); /* no load is put off until others are here */
        if (bits != 8)
            kg_begin(); /* weights were there before the step; warps without a piece meet those that waited at the barrier */
#pragma unroll
        for (int u = 0; u < ahead; u++) {
            const uint32_t own = piece + (uint32_t)u * warps, row = (own & quads) * 4 + lane / 8, g = (own >> quads_log2) * 8 + lane % 8;
            uint32_t low[4], high[4];
            unpack_group<bits>(groups[u], low, high);
            const float d = __half2float(groups[u].d), m = minimum ? __half2float(groups[u].m) : 0;
            const float2 f = kg_factors<bits, minimum>(d, m, groups[u].first, groups[u].second);
#pragma unroll
            for (uint32_t r = 0; r < N; r++) {
                if (N > 1 && r >= x.rows)
                    break;
                const uint32_t at = r * w.groups + from + min(g, count - 1);
                const float2 made = multiply<bits, minimum>(low, high, f, reinterpret_cast<const uint4 *>(x.codes) + 2 * (size_t)at, x.group[at]);
                if (g < count) /* so is the piece */
                    pairs[(row * N + r) * shape.stride + g + g / KG_STRETCH] = made;
            }
        }
    }
}

template <int bits, bool super, bool minimum, int N, int ahead>
__global__ void __launch_bounds__(WARPS * 32, 2)
    kg_mul_few(float *out, struct kg_weights w, struct kg_activations x, const float *bias, struct shape shape)
{
    extern __shared__ float2 pairs[];
    const uint32_t sums_of = N << shape.rows_log2; /* that the block makes: rows of weights times N */
    float *stretches = reinterpret_cast<float *>(pairs + sums_of * shape.stride), total = 0;
    for (uint32_t from = 0; from < w.groups; from += shape.span) {
        const uint32_t count = min(shape.span, w.groups - from), each = (count + KG_STRETCH - 1) / KG_STRETCH;
        fill<bits, super, minimum, N, ahead>(pairs, shape, w, x, from, count);
        __syncthreads();
        for (uint32_t i = threadIdx.x; i < sums_of * each; i += blockDim.x) {
            const uint32_t own = i / each, stretch = i % each;
            if (own % N >= x.rows)
                continue;
            const float2 *pair = pairs + own * shape.stride + stretch * (KG_STRETCH + 1);
            const uint32_t n = min(KG_STRETCH, count - stretch * KG_STRETCH);
            float sum = 0;
#pragma unroll 8
            for (uint32_t g = 0; g < n; g++)
                sum = fmaf(pair[g].x, pair[g].y, sum);
            stretches[i] = sum;
        }
        __syncthreads();
        if (threadIdx.x < sums_of && threadIdx.x % N < x.rows)
            for (uint32_t i = 0; i < each; i++) {
                const float sum = stretches[threadIdx.x * each + i];
                total = from + i ? total + sum : sum;
            }
    }
    const uint32_t row = (blockIdx.x << shape.rows_log2) + threadIdx.x / N, r = threadIdx.x % N;
    if (threadIdx.x < sums_of && row < w.rows && r < x.rows)
        out[(size_t)r * w.rows + row] = bias ? total + bias[row] : total;
}

static struct shape shape_of(uint32_t rows, uint32_t groups, uint32_t n)
{
    const uint32_t most = 1024 / n; /* groups, so that four rows take some 32 KB */
    struct shape s = { 2, groups < most ? groups : most, 0, 0 };
    s.stride = s.span + s.span / KG_STRETCH + 1;
    /* More rows a block, where there are blocks enough: fewer of them begin and end, and a warp has several pieces. */
    while (s.rows_log2 < 4 && rows >> s.rows_log2 >= 2048 && s.span << s.rows_log2 < 512 && s.span == groups && (s.stride * n << s.rows_log2) <= 1024)
        s.rows_log2++;
    return s;
}

template <int bits, bool super, bool minimum, int N, int ahead> static void enqueue(const struct kg_product *p, const struct shape &s, uint32_t each)
{
    const uint32_t pieces = (s.span + 7) / 8 << (s.rows_log2 - 2), sums = N << s.rows_log2, stretches = (s.span + KG_STRETCH - 1) / KG_STRETCH;
    const uint32_t warps = (pieces + each - 1) / each, threads = 32 * warps < sums ? (sums + 31) / 32 * 32 : 32 * warps;
    const uint32_t blocks = ((p->w.rows - 1) >> s.rows_log2) + 1;
    const size_t shared = (size_t)sums * (s.stride * sizeof(float2) + stretches * sizeof(float));
    kg_cuda_launch_early(p->device, "matmul", kg_mul_few<bits, super, minimum, N, ahead>, blocks, threads, shared, p->out, p->w, p->x, p->bias, s);
}

/* A warp takes all its pieces at once, two or four, or (of long rows) four at a time. */
template <int bits, bool super, bool minimum> static void enqueue_one(const struct kg_product *p)
{
    const struct shape s = shape_of(p->w.rows, p->w.groups, 1);
    const uint32_t pieces = (s.span + 7) / 8 << (s.rows_log2 - 2);
    if (pieces <= 2 * WARPS)
        enqueue<bits, super, minimum, 1, 2>(p, s, 2);
    else
        enqueue<bits, super, minimum, 1, 4>(p, s, (pieces + 4 * WARPS - 1) / (4 * WARPS) * 4);
}

template <int bits, bool super, bool minimum, int N, int ahead> static void enqueue_several(const struct kg_product *p)
{
    const struct shape s = shape_of(p->w.rows, p->w.groups, N);
    const uint32_t pieces = (s.span + 7) / 8 << (s.rows_log2 - 2);
    enqueue<bits, super, minimum, N, ahead>(p, s, (pieces + ahead * WARPS - 1) / (ahead * WARPS) * ahead);
}

template <int bits, bool super, bool minimum> static void enqueue_any(const struct kg_product *p)
{
    if (p->x.rows == 1)
        enqueue_one<bits, super, minimum>(p);
    else if (p->x.rows <= 4)
        enqueue_several<bits, super, minimum, 4, 2>(p);
    else
        enqueue_several<bits, super, minimum, KG_FEW, 1>(p);
}

void kg_cuda_mul_few(const struct kg_product *p)
{
    KG_FOR_PLANES(enqueue_any, p)
}
