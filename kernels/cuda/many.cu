/* Products of planes with many rows of activations, by tensor cores.
 *
 * A block of four warps makes 32 T rows of weights times 16 M of activations, a warp half of both. It walks along the columns in steps of
 * four groups: while one step is multiplied, the next is on its way to the other half of shared memory (cp.async, or plain loads before
 * 8.0); factors are made of what came just before they are wanted. Sums of codes begin at MAGIC, the bits of 3 * 2^22 as a float: what the tensor
 * cores leave is then read as a float and needs no conversion, which would take longer than all else. What a stretch of groups gave is
 * added to `out`, which keeps the sum so far. */
#include "kernels/cuda/product.h"

#define STEP    4U /* groups; a stretch is a whole number of steps */
#define THREADS 128U
#define GRID    32768U /* blocks in one dimension, which may be 65,535: what is beyond goes to another one */
#define MAGIC   0x4b400000 /* as a float 12582912, whose last bit is 1 */

/* What a step needs. Rows of weights stand as the lanes of a product want them (row_at). Pieces of 16 bytes are exchanged within a row
 * so that eight rows' pieces of a group lie in different banks. */
template <int bits, bool minimum, int T, int M> struct step {
    static constexpr uint32_t ROWS = 32 * T, COLUMNS = 16 * M, WORDS = bits == 8 ? 32 : 16; /* words of a row */
    uint32_t low[ROWS][WORDS];
    uint32_t high[bits == 5 ? ROWS * STEP : bits == 6 ? ROWS * 2 * STEP : 4]; /* 5: [group][row], 6: [row][group, 2] */
    uint32_t codes[COLUMNS][8 * STEP];
    float x[STEP][COLUMNS][minimum ? 2 : 1];                 /* step, sum */
    float factors[STEP][ROWS][minimum || bits == 6 ? 2 : 1]; /* rows in their own order */
};

/* Rows 2g and 2g + 1 of 16 are rows g and g + 8 of a product, so that a lane's two rows are neighbours. */
static __device__ __forceinline__ uint32_t row_at(uint32_t place)
{
    return (place & ~15U) | (place & 7) << 1 | (place >> 3 & 1);
}

template <int bytes> static __device__ __forceinline__ void fetch(void *to, const void *from)
{
#if __CUDA_ARCH__ >= 800
    const uint32_t at = (uint32_t)__cvta_generic_to_shared(to);
    if (bytes == 16)
        asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" : : "r"(at), "l"(from) : "memory");
    else if (bytes == 8)
        asm volatile("cp.async.ca.shared.global [%0], [%1], 8;" : : "r"(at), "l"(from) : "memory");
    else
        asm volatile("cp.async.ca.shared.global [%0], [%1], 4;" : : "r"(at), "l"(from) : "memory");
#else
    if (bytes == 16)
        *reinterpret_cast<uint4 *>(to) = *reinterpret_cast<const uint4 *>(from);
    else if (bytes == 8)
        *reinterpret_cast<uint2 *>(to) = *reinterpret_cast<const uint2 *>(from);
    else
        *reinterpret_cast<uint32_t *>(to) = *reinterpret_cast<const uint32_t *>(from);
#endif
}

static __device__ __forceinline__ void fetch_wait()
{
#if __CUDA_ARCH__ >= 800
    asm volatile("cp.async.wait_all;" : : : "memory");
#endif
}

/* This thread's number, unknown to the compiler: or it would make hundreds of addresses before the loop, and registers are scarce. */
static __device__ __forceinline__ uint32_t own_thread()
{
    uint32_t thread = threadIdx.x;
    asm volatile("" : "+r"(thread));
    return thread;
}

/* Four matrices of eight rows of 16 bytes: lane l hands in row l % 8 of matrix l / 8; lane 4g + t gets word t of row g of each. */
static __device__ __forceinline__ void load_words(uint32_t out[4], const uint32_t *row)
{
    const uint32_t at = (uint32_t)__cvta_generic_to_shared(row);
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3])
                 : "r"(at)
                 : "memory");
}

/* c = MAGIC + a b for 16 rows of weights and 8 of activations, over 16 codes or over 32. Lane 4g + t holds, of rows g and g + 8
 * of weights and row g of activations, words t (and t + 4); of c, rows g and g + 8 in columns 2t and 2t + 1. */
static __device__ __forceinline__ void multiply_16(int c[4], uint32_t a0, uint32_t a1, uint32_t b, const int from[4])
{
#if __CUDA_ARCH__ >= 800
    asm("mma.sync.aligned.m16n8k16.row.col.s32.s8.s8.s32 {%0,%1,%2,%3}, {%4,%5}, {%6}, {%7,%8,%9,%10};"
        : "=r"(c[0]), "=r"(c[1]), "=r"(c[2]), "=r"(c[3])
        : "r"(a0), "r"(a1), "r"(b), "r"(from[0]), "r"(from[1]), "r"(from[2]), "r"(from[3]));
#else
    asm("mma.sync.aligned.m8n8k16.row.col.s32.s8.s8.s32 {%0,%1}, {%2}, {%3}, {%4,%5};"
        : "=r"(c[0]), "=r"(c[1])
        : "r"(a0), "r"(b), "r"(from[0]), "r"(from[1]));
    asm("mma.sync.aligned.m8n8k16.row.col.s32.s8.s8.s32 {%0,%1}, {%2}, {%3}, {%4,%5};"
        : "=r"(c[2]), "=r"(c[3])
        : "r"(a1), "r"(b), "r"(from[2]), "r"(from[3]));
#endif
}

static __device__ __forceinline__ void multiply_32(int c[4], const uint32_t a[4], uint32_t b0, uint32_t b1)
{
    const int from[4] = { MAGIC, MAGIC, MAGIC, MAGIC };
#if __CUDA_ARCH__ >= 800
    asm("mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%10,%11,%12,%13};"
        : "=r"(c[0]), "=r"(c[1]), "=r"(c[2]), "=r"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1), "r"(from[0]), "r"(from[1]), "r"(from[2]), "r"(from[3]));
#else
    int half[4];
    multiply_16(half, a[0], a[1], b0, from);
    multiply_16(c, a[2], a[3], b1, half);
#endif
}

/* Codes of groups from .. from + 3 on their way. Rows that are not there are the last one. */
template <int bits, bool minimum, int T, int M>
static __device__ __forceinline__ void fetch_weights(struct step<bits, minimum, T, M> &to, const struct kg_weights &w, uint32_t first_row,
                                                     uint32_t from)
{
    using S = struct step<bits, minimum, T, M>;
    const uint32_t thread = own_thread(), pieces = S::WORDS / 4, each = pieces / STEP; /* of 16 bytes, in a row and in a group */
    const uint32_t own = thread % pieces, group = from + own / each;
#pragma unroll
    for (uint32_t i = 0; i < S::ROWS * pieces / THREADS; i++) {
        const uint32_t place = thread / pieces + i * (THREADS / pieces), row = min(first_row + row_at(place), w.rows - 1);
        if (group < w.groups)
            fetch<16>(&to.low[place][4 * (own ^ (bits == 8 ? place % 8 : place / 2 % 4))],
                      w.low + (((size_t)row * w.groups + group) * each + own % each) * 4);
    }
    if (bits == 5)
#pragma unroll
        for (uint32_t i = 0; i < S::ROWS * STEP / THREADS; i++) {
            const uint32_t place = thread / STEP + i * (THREADS / STEP), row = min(first_row + row_at(place), w.rows - 1);
            if (from + thread % STEP < w.groups)
                fetch<4>(&to.high[thread % STEP * S::ROWS + place], w.high + (size_t)row * w.groups + from + thread % STEP);
        }
    if (bits == 6) /* there are eight groups, or a multiple */
#pragma unroll
        for (uint32_t i = 0; i < S::ROWS * 2 / THREADS; i++) {
            const uint32_t place = thread / 2 + i * (THREADS / 2), row = min(first_row + row_at(place), w.rows - 1);
            fetch<16>(&to.high[(place * 2 + (thread % 2 ^ (place >> 2 & 1))) * 4], w.high + ((size_t)row * w.groups + from) * 2 + thread % 2 * 4);
        }
}

template <int bits, bool minimum, int T, int M>
static __device__ __forceinline__ void fetch_activations(struct step<bits, minimum, T, M> &to, const struct kg_activations &x, uint32_t groups,
                                                         uint32_t first_x, uint32_t from)
{
    const uint32_t thread = own_thread(), piece = thread % 8, group = from + thread % STEP, columns = 16 * M;
#pragma unroll
    for (uint32_t i = 0; i < columns * 8 / THREADS; i++) {
        const uint32_t column = thread / 8 + i * (THREADS / 8), row = min(first_x + column, x.rows - 1);
        if (from + piece / 2 < groups)
            fetch<16>(&to.codes[column][4 * (piece ^ column % 8)], x.codes + ((size_t)row * groups + from) * 8 + 4 * piece);
    }
#pragma unroll
    for (uint32_t i = 0; i < columns * STEP / THREADS; i++) {
        const uint32_t column = thread / STEP + i * (THREADS / STEP), row = min(first_x + column, x.rows - 1);
        if (group < groups)
            fetch<minimum ? 8 : 4>(to.x[thread % STEP][column], x.group + (size_t)row * groups + group);
    }
}

/* A word of f16 numbers that holds number `at`. */
static __device__ __forceinline__ const uint32_t *word_of(const __half *numbers, size_t at)
{
    return reinterpret_cast<const uint32_t *>(numbers) + at / 2;
}

static __device__ __forceinline__ float number_of(float word, size_t at)
{
    return __half2float(__ushort_as_half((unsigned short)(__float_as_uint(word) >> (at % 2 ? 16 : 0))));
}

/* Factors of a row (T = 2: two threads a row, two groups each) on their way, as they are in memory: words that stand where this thread
 * then puts the factors. */
template <int bits, bool super, bool minimum, int T, int M>
static __device__ __forceinline__ void fetch_factors(struct step<bits, minimum, T, M> &to, const struct kg_weights &w, uint32_t first_row,
                                                     uint32_t from)
{
    const uint32_t thread = own_thread(), own = thread % (32 * T), first = thread / (32 * T) * T;
    const size_t at = (size_t)min(first_row + own, w.rows - 1) * w.groups + from + first;
    if constexpr (super) { /* there are eight groups, or a multiple */
        fetch<4>(&to.factors[first][own][0], word_of(w.d, at / 8));
        if (bits == 6) {
            fetch<4>(&to.factors[first + 1][own][0], w.scale + 2 * at);
        } else {
            fetch<4>(&to.factors[first][own][1], word_of(w.m, at / 8));
            fetch<4>(&to.factors[first + 1][own][0], w.scale + at / 4 * 4);
            fetch<4>(&to.factors[first + 1][own][1], w.minimum + at / 4 * 4);
        }
    } else {
#pragma unroll
        for (uint32_t i = 0; i < T; i++)
            if (from + first + i < w.groups) {
                fetch<4>(&to.factors[first + i][own][0], word_of(w.d, at + i));
                if (minimum)
                    fetch<4>(&to.factors[first + i][own][1], word_of(w.m, at + i));
            }
    }
}

/* Once they are here. */
template <int bits, bool super, bool minimum, int T, int M>
static __device__ __forceinline__ void convert_factors(struct step<bits, minimum, T, M> &in, const struct kg_weights &w, uint32_t first_row,
                                                       uint32_t from)
{
    const uint32_t thread = own_thread(), own = thread % (32 * T), first = thread / (32 * T) * T;
    const size_t at = (size_t)min(first_row + own, w.rows - 1) * w.groups + from + first;
    if constexpr (super) {
        const float d = number_of(in.factors[first][own][0], at / 8), m = minimum ? number_of(in.factors[first][own][1], at / 8) : 0;
        const uint32_t scales = __float_as_uint(in.factors[first + 1][own][0]) >> (bits != 6 && T == 2 ? 8 * first : 0);
        const uint32_t minima = minimum ? __float_as_uint(in.factors[first + 1][own][1]) >> (T == 2 ? 8 * first : 0) : 0;
#pragma unroll
        for (uint32_t i = 0; i < T; i++) {
            const int one = bits == 6 ? (int8_t)(scales >> 16 * i) : (int)(scales >> 8 * i & 255);
            const int two = bits == 6 ? (int8_t)(scales >> (16 * i + 8)) : (int)(minima >> 8 * i & 255);
            *reinterpret_cast<float2 *>(in.factors[first + i][own]) = kg_factors<bits, minimum>(d, m, one, two);
        }
    } else {
#pragma unroll
        for (uint32_t i = 0; i < T; i++) {
            if (from + first + i >= w.groups)
                break;
            const float d = number_of(in.factors[first + i][own][0], at + i), m = minimum ? number_of(in.factors[first + i][own][1], at + i) : 0;
            const float2 f = kg_factors<bits, minimum>(d, m, 1, 1);
            in.factors[first + i][own][0] = f.x;
            if (minimum)
                in.factors[first + i][own][1] = f.y;
        }
    }
}

/* The codes of 32 of a warp's rows of weights, from `first` on, in a group: of 16 rows four words each. */
template <int bits, bool minimum, int T, int M>
static __device__ __forceinline__ void load_weights(uint32_t a[2][4], const struct step<bits, minimum, T, M> &from, uint32_t first, uint32_t group)
{
    const uint32_t lane = threadIdx.x % 32;
    if constexpr (bits == 8) {
#pragma unroll
        for (uint32_t n = 0; n < 2; n++) { /* rows 0 to 7 and 8 to 15 of the first half, then of the second */
            const uint32_t place = first + 16 * n + lane % 16, piece = 2 * group + lane / 16;
            load_words(a[n], &from.low[place][4 * (piece ^ place % 8)]);
        }
    } else {
        const uint32_t place = first + lane;
        uint32_t packed[4];
        load_words(packed, &from.low[place][4 * (group ^ place / 2 % 4)]);
#pragma unroll
        for (uint32_t i = 0; i < 4; i++) {
            const uint32_t own = first + 8 * i + lane / 4;
            uint32_t extra[2] = { 0, 0 };
            if (bits == 5)
                extra[0] = from.high[group * 32 * T + own];
            if (bits == 6) {
                const uint2 both = *reinterpret_cast<const uint2 *>(&from.high[(own * 2 + (group / 2 ^ (own >> 2 & 1))) * 4 + group % 2 * 2]);
                extra[0] = both.x, extra[1] = both.y;
            }
            kg_unpack<bits>(packed[i], extra, lane % 4, &a[i / 2][i % 2], &a[i / 2][i % 2 + 2]);
        }
    }
}

/* sum[n][m]: of rows 2g and 2g + 1 of the n-th 16 of weights, in columns 2t and 2t + 1 of the m-th eight: adds one group. */
template <int bits, bool minimum, int T, int M>
static __device__ __forceinline__ void add_group(float sum[T][M][4], const struct step<bits, minimum, T, M> &from, uint32_t group)
{
    const uint32_t lane = threadIdx.x % 32, warp = threadIdx.x / 32, g = lane / 4, t = lane % 4, first = warp % 2 * 8 * M;
    uint32_t a[2][4], b[M][2];
    float step[M][2], x[M][2];
#pragma unroll
    for (uint32_t m = 0; m < M; m += 2) {
        const uint32_t column = first + 8 * m + lane / 16 * 8 + lane % 8, piece = 2 * group + lane / 8 % 2;
        uint32_t words[4];
        load_words(words, &from.codes[column][4 * (piece ^ column % 8)]);
        b[m][0] = words[0], b[m][1] = words[1];
        b[m + 1][0] = words[2], b[m + 1][1] = words[3];
    }
#pragma unroll
    for (uint32_t m = 0; m < M; m++) {
        const float *own = from.x[group][first + 8 * m + 2 * t];
        if (minimum) {
            const float4 both = *reinterpret_cast<const float4 *>(own);
            step[m][0] = both.x, x[m][0] = both.y, step[m][1] = both.z, x[m][1] = both.w;
        } else {
            const float2 both = *reinterpret_cast<const float2 *>(own);
            step[m][0] = both.x, step[m][1] = both.y;
        }
    }
#pragma unroll
    for (uint32_t n = 0; n < T; n++) {
        if (n % 2 == 0)
            load_weights<bits, minimum, T, M>(a, from, warp / 2 * 16 * T + 16 * n, group);
        const float *own = from.factors[group][warp / 2 * 16 * T + 16 * n + 2 * g];
        float f[2][2];
        if (minimum || bits == 6) {
            const float4 both = *reinterpret_cast<const float4 *>(own);
            f[0][0] = both.x, f[0][1] = both.y, f[1][0] = both.z, f[1][1] = both.w;
        } else {
            const float2 both = *reinterpret_cast<const float2 *>(own);
            f[0][0] = both.x, f[1][0] = both.y;
        }
#pragma unroll
        for (uint32_t m = 0; m < M; m++) {
            const float magic = __int_as_float(MAGIC);
            int c[4], second[4];
            if (bits == 6) {
                const int begin[4] = { MAGIC, MAGIC, MAGIC, MAGIC };
                multiply_16(c, a[n % 2][0], a[n % 2][1], b[m][0], begin);
                multiply_16(second, a[n % 2][2], a[n % 2][3], b[m][1], begin);
            } else {
                multiply_32(c, a[n % 2], b[m][0], b[m][1]);
            }
#pragma unroll
            for (uint32_t j = 0; j < 4; j++) {
                const float all = __int_as_float(c[j]) - magic;
                float value = f[j / 2][0] * all;
                if (bits == 6)
                    value = fmaf(f[j / 2][1], __int_as_float(second[j]) - magic, value);
                else if (minimum)
                    value = fmaf(f[j / 2][0], all, f[j / 2][1] * x[m][j % 2]);
                sum[n][m][j] = fmaf(step[m][j % 2], value, sum[n][m][j]);
            }
        }
    }
}

/* What a stretch gave goes to out, where the stretches before it are already (unless it is the first), and at last the bias. Loads of
 * 16 rows go together, without branches between them. */
template <int T, int M>
static __device__ __forceinline__ void add_stretch(float *out, float sum[T][M][4], const struct kg_weights &w, uint32_t columns, uint32_t first_row,
                                                   uint32_t first_x, bool first, const float *bias)
{
    const uint32_t thread = own_thread(), lane = thread % 32, warp = thread / 32;
    const uint32_t own_column = first_x + warp % 2 * 8 * M + lane % 4 * 2;
    uint32_t row = first_row + warp / 2 * 16 * T + lane / 4 * 2;
    float *to = out + (size_t)own_column * w.rows + row;
#pragma unroll
    for (uint32_t n = 0; n < T; n++, row += 16, to += 16) {
        float before[4 * M];
#pragma unroll
        for (uint32_t i = 0; i < 4 * M; i++) {
            const uint32_t column = i / 4 * 8 + i % 2;
            before[i] = 0;
            if (!first && row + i / 2 % 2 < w.rows && own_column + column < columns)
                before[i] = to[(size_t)column * w.rows + i / 2 % 2];
        }
        float added[2] = { 0, 0 };
#pragma unroll
        for (uint32_t i = 0; i < 2; i++)
            if (bias && row + i < w.rows)
                added[i] = bias[row + i];
#pragma unroll
        for (uint32_t i = 0; i < 4 * M; i++) {
            const uint32_t column = i / 4 * 8 + i % 2;
            const float total = first ? sum[n][i / 4][i % 4] : before[i] + sum[n][i / 4][i % 4];
            if (row + i / 2 % 2 < w.rows && own_column + column < columns)
                to[(size_t)column * w.rows + i / 2 % 2] = bias ? total + added[i / 2 % 2] : total;
            sum[n][i / 4][i % 4] = 0;
        }
    }
}

template <int bits, bool super, bool minimum, int T, int M>
static __device__ __forceinline__ void fetch_step(struct step<bits, minimum, T, M> &to, const struct kg_weights &w, const struct kg_activations &x,
                                                  uint32_t first_row, uint32_t first_x, uint32_t from)
{
    fetch_weights<bits, minimum, T, M>(to, w, first_row, from);
    fetch_factors<bits, super, minimum, T, M>(to, w, first_row, from);
    fetch_activations<bits, minimum, T, M>(to, x, w.groups, first_x, from);
}

/* Blocks that a multiprocessor is to hold: more of the largest tiles spill registers on some, of which 8.6 and 8.9 have shared memory for two. */
#if __CUDA_ARCH__ == 860 || __CUDA_ARCH__ == 890 || __CUDA_ARCH__ == 1000
#define RESIDENT(T) ((T) == 4 ? 2 : 4)
#else
#define RESIDENT(T) 4
#endif

template <int bits, bool super, bool minimum, int T, int M>
__global__ void __launch_bounds__(THREADS, RESIDENT(T))
    kg_mul_many(float *out, struct kg_weights w, struct kg_activations x, const float *bias)
{
    __shared__ __align__(16) struct step<bits, minimum, T, M> steps[2];
    const uint32_t first_x = blockIdx.x * 16 * M, first_row = (blockIdx.z * GRID + blockIdx.y) * 32 * T;
    if (first_row >= w.rows)
        return;
    float sum[T][M][4];
#pragma unroll
    for (uint32_t i = 0; i < T * M * 4; i++)
        sum[i / 4 / M][i / 4 % M][i % 4] = 0;
    fetch_step<bits, super, minimum, T, M>(steps[0], w, x, first_row, first_x, 0);
    for (uint32_t from = 0; from < w.groups; from += STEP) {
        struct step<bits, minimum, T, M> &now = steps[from / STEP % 2];
        const bool more = from + STEP < w.groups;
        fetch_wait();
        convert_factors<bits, super, minimum, T, M>(now, w, first_row, from);
        __syncthreads(); /* this step is here, and nobody reads the one before */
        if (more)
            fetch_step<bits, super, minimum, T, M>(steps[from / STEP % 2 ^ 1], w, x, first_row, first_x, from + STEP);
#pragma unroll 1 /* registers are scarce */
        for (uint32_t group = 0; group < STEP && from + group < w.groups; group++)
            add_group<bits, minimum, T, M>(sum, now, group);
        if (!more || (from + STEP) % KG_STRETCH == 0)
            add_stretch<T, M>(out, sum, w, x.rows, first_row, first_x, from < KG_STRETCH, more ? NULL : bias);
    }
}

/* Blocks with the same weights are neighbours. */
template <int T, int M> static dim3 grid_of(const struct kg_product *p)
{
    const uint32_t all = (p->w.rows - 1) / (32 * T) + 1;
    return dim3((p->x.rows + 16 * M - 1) / (16 * M), all < GRID ? all : GRID, (all - 1) / GRID + 1);
}

template <int bits, bool super, bool minimum, int T, int M> static void enqueue_tiles(const struct kg_product *p)
{
    kg_cuda_launch(p->device, "matmul", kg_mul_many<bits, super, minimum, T, M>, grid_of<T, M>(p), THREADS, 0, p->out, p->w, p->x, p->bias);
}

/* Large tiles read and unpack less for each product; but there should be two or three for each multiprocessor. */
template <int bits, bool super, bool minimum> static void enqueue(const struct kg_product *p)
{
    const dim3 large = grid_of<4, 4>(p), middle = grid_of<2, 4>(p);
    const uint32_t processors = p->device->processors;
    if constexpr (bits == 4) { /* more bits would need more registers and shared memory than there are */
        if (large.x * large.y >= 3 * processors) {
            enqueue_tiles<bits, super, minimum, 4, 4>(p);
            return;
        }
    }
    if (middle.x * middle.y >= 2 * processors)
        enqueue_tiles<bits, super, minimum, 2, 4>(p);
    else
        enqueue_tiles<bits, super, minimum, 2, 2>(p);
}

void kg_cuda_mul_many(const struct kg_product *p)
{
    KG_FOR_PLANES(enqueue, p)
}
