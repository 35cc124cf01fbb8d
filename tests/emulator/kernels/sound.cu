/* Kernels without a fault: what they compute on the emulator is what the host computes.  Prints TAP. */
#include <cmath>
#include <cooperative_groups.h>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <mma.h>
#include <vector>

namespace cg = cooperative_groups;

#define ALL 0xffffffffU

static int tests, failures;

static void report(bool good, const char *name, double off)
{
    printf("%sok %d - %s (off by %.3g)\n", good ? "" : "not ", ++tests, name, off);
    failures += !good;
}

static void require(cudaError_t error, const char *what)
{
    if (error == cudaSuccess)
        return;
    printf("not ok %d - %s: %s\n", ++tests, what, cudaGetErrorString(error));
    failures++;
}
#define TRY(call) require(call, #call)

/* Memory of the device with these contents. */
template <class T> struct Buffer {
    T *device = nullptr;
    size_t n;

    explicit Buffer(const std::vector<T> &host) : n(host.size())
    {
        TRY(cudaMalloc(reinterpret_cast<void **>(&device), n * sizeof(T)));
        TRY(cudaMemcpy(device, host.data(), n * sizeof(T), cudaMemcpyHostToDevice));
    }
    Buffer(const Buffer &) = delete;
    ~Buffer() { TRY(cudaFree(device)); }
    std::vector<T> take()
    {
        std::vector<T> host(n);
        TRY(cudaGetLastError());
        TRY(cudaMemcpy(host.data(), device, n * sizeof(T), cudaMemcpyDeviceToHost));
        return host;
    }
};

static uint32_t random_bits(uint32_t &seed)
{
    seed = seed * 1664525U + 1013904223U;
    return seed >> 8 ^ seed << 11;
}

static std::vector<float> numbers(size_t n, uint32_t seed)
{
    std::vector<float> x(n);
    for (float &v : x)
        v = static_cast<float>(random_bits(seed) & 0xffff) / 65536 - 0.5F;
    return x;
}

template <class T> static std::vector<T> rounded(const std::vector<float> &x)
{
    return std::vector<T>(x.begin(), x.end());
}

/* Elementwise: every instruction that a float, half or integer kernel is likely to hold. */
__global__ void floats(const float *a, const float *b, float *out, int n)
{
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n)
        return;
    float x = a[i], y = b[i];
    out[8 * i] = x + y;
    out[8 * i + 1] = x * y - 3;
    out[8 * i + 2] = x / y;
    out[8 * i + 3] = expf(8 * x);
    out[8 * i + 4] = tanhf(3 * x) + (x < y ? sqrtf(fabsf(x)) : fmaxf(x, fminf(y, 0.1F)));
    out[8 * i + 5] = static_cast<float>(rint(static_cast<double>(x) * 1e9)) + floorf(7 * y);
    out[8 * i + 6] = __half2float(__float2half(x)) + __bfloat162float(__float2bfloat16(y));
    out[8 * i + 7] = rsqrtf(fabsf(x) + 1) + log2f(fabsf(y) + 1);
}

static double rounded_to(double x, int bits)
{
    int e;
    (void)frexp(x, &e);
    return ldexp(nearbyint(ldexp(x, bits - e)), e - bits);
}

static void test_floats()
{
    const int n = 1000;
    const std::vector<float> a = numbers(n, 1), b = numbers(n, 2);
    Buffer<float> da(a), db(b), out(std::vector<float>(8 * n));
    floats<<<(n + 255) / 256, 256>>>(da.device, db.device, out.device, n);
    const std::vector<float> got = out.take();
    double off = 0;
    for (int i = 0; i < n; i++) {
        const double x = a[i], y = b[i];
        const double want[] = { x + y,
                                x * y - 3,
                                x / y,
                                exp(8 * x),
                                tanh(3 * x) + (x < y ? sqrt(fabs(x)) : fmax(x, fmin(y, 0.1))),
                                rint(x * 1e9) + floor(7 * y),
                                rounded_to(x, 11) + rounded_to(y, 8),
                                1 / sqrt(fabs(x) + 1) + log2(fabs(y) + 1) };
        for (int k = 0; k < 8; k++)
            if (std::isfinite(want[k]))
                off = fmax(off, fabs(want[k] - got[8 * i + k]) / (fabs(want[k]) + 1));
    }
    report(off < 1e-6, "float arithmetic", off);
}

__global__ void integers(const uint32_t *a, uint32_t *out)
{
    const uint32_t i = threadIdx.x, x = a[2 * i], y = a[2 * i + 1];
    out[8 * i] = x * y + (x >> (y & 31));
    out[8 * i + 1] = __umulhi(x, y) ^ static_cast<uint32_t>(static_cast<int32_t>(x) >> 5);
    out[8 * i + 2] = x / (y | 1) + x % (y | 1);
    out[8 * i + 3] = static_cast<uint32_t>(__dp4a(static_cast<int>(x), static_cast<int>(y), 7));
    out[8 * i + 4] = __popc(x) + 64 * __clz(static_cast<int>(y)) + __brev(x);
    out[8 * i + 5] = __byte_perm(x, y, 0x4261) + __funnelshift_l(x, y, 9);
    out[8 * i + 6] = static_cast<uint32_t>(static_cast<int32_t>(static_cast<int8_t>(x)) - static_cast<int32_t>(static_cast<uint16_t>(y)));
    out[8 * i + 7] = static_cast<uint32_t>((static_cast<uint64_t>(x) << 20 | y) / 1000003) + (x & (y | 0xf0) & ~(x ^ y));
}

static uint32_t bytes_dot(uint32_t x, uint32_t y)
{
    int32_t sum = 7;
    for (int i = 0; i < 32; i += 8)
        sum += static_cast<int8_t>(x >> i) * static_cast<int8_t>(y >> i);
    return static_cast<uint32_t>(sum);
}

static uint32_t reversed(uint32_t x)
{
    uint32_t r = 0;
    for (int i = 0; i < 32; i++)
        r |= (x >> i & 1) << (31 - i);
    return r;
}

static void test_integers()
{
    uint32_t seed = 5, wrong = 0;
    std::vector<uint32_t> a(512);
    for (uint32_t &v : a)
        v = random_bits(seed);
    a[0] = 0xffffffff;
    a[1] = 0x80000000;
    Buffer<uint32_t> da(a), out(std::vector<uint32_t>(8 * 256));
    integers<<<1, 256>>>(da.device, out.device);
    const std::vector<uint32_t> got = out.take();
    for (int i = 0; i < 256; i++) {
        const uint32_t x = a[2 * i], y = a[2 * i + 1];
        const uint32_t permuted = (x >> 8 & 255) | (y >> 16 & 255) << 8 | (x >> 16 & 255) << 16 | (y & 255) << 24; /* bytes 1, 6, 2, 4 */
        const uint32_t want[] = { x * y + (x >> (y & 31)),
                                  static_cast<uint32_t>(static_cast<uint64_t>(x) * y >> 32) ^ static_cast<uint32_t>(static_cast<int32_t>(x) >> 5),
                                  x / (y | 1) + x % (y | 1),
                                  bytes_dot(x, y),
                                  static_cast<uint32_t>(__builtin_popcount(x)) + 64 * (y ? static_cast<uint32_t>(__builtin_clz(y)) : 32) + reversed(x),
                                  permuted + (y << 9 | x >> 23),
                                  static_cast<uint32_t>(static_cast<int8_t>(x) - static_cast<int32_t>(static_cast<uint16_t>(y))),
                                  static_cast<uint32_t>((static_cast<uint64_t>(x) << 20 | y) / 1000003) + (x & (y | 0xf0) & ~(x ^ y)) };
        for (int k = 0; k < 8; k++)
            wrong += want[k] != got[8 * i + k];
    }
    report(wrong == 0, "integer arithmetic", wrong);
}

/* A sum over a block: static shared memory, shuffles, barriers, lanes that leave early. */
template <int THREADS> __global__ void reduce(const float *x, float *out, int n)
{
    __shared__ float sums[THREADS / 32];
    float v = 0;
    for (int i = threadIdx.x; i < n; i += THREADS)
        v += x[blockIdx.x * n + i];
    for (int o = 16; o > 0; o >>= 1)
        v += __shfl_xor_sync(ALL, v, o);
    if (threadIdx.x % 32 == 0)
        sums[threadIdx.x / 32] = v;
    __syncthreads();
    if (threadIdx.x >= 32)
        return;
    v = threadIdx.x < THREADS / 32 ? sums[threadIdx.x] : 0;
    for (int o = 16; o > 0; o >>= 1)
        v += __shfl_down_sync(ALL, v, o);
    if (threadIdx.x == 0)
        out[blockIdx.x] = v;
}

__global__ void reduce_by_groups(const float *x, float *out, int n)
{
    cg::thread_block block = cg::this_thread_block();
    cg::thread_block_tile<32> tile = cg::tiled_partition<32>(block);
    __shared__ float sums[8];
    float v = 0;
    for (int i = block.thread_rank(); i < n; i += block.size())
        v += x[i];
    for (int k = tile.size() / 2; k > 0; k /= 2)
        v += tile.shfl_down(v, k);
    if (tile.thread_rank() == 0)
        sums[block.thread_rank() / 32] = v;
    block.sync();
    if (block.thread_rank() == 0) {
        float sum = 0;
        for (unsigned i = 0; i < block.size() / 32; i++)
            sum += sums[i];
        *out = sum;
    }
}

static void test_reductions()
{
    const int blocks = 64, n = 5000;
    const std::vector<float> x = numbers(static_cast<size_t>(blocks) * n, 3);
    Buffer<float> dx(x), out(std::vector<float>(blocks + 1));
    reduce<256><<<blocks, 256>>>(dx.device, out.device, n);
    reduce_by_groups<<<1, 256>>>(dx.device, out.device + blocks, n);
    const std::vector<float> got = out.take();
    double off = 0;
    for (int b = 0; b <= blocks; b++) {
        double sum = 0;
        for (int i = 0; i < n; i++)
            sum += x[static_cast<size_t>(b % blocks) * n + i];
        off = fmax(off, fabs(sum - got[b]));
    }
    report(off < 1e-2, "sums over blocks, by shuffles and cooperative groups", off);
}

/* Votes, and integer atomics on global and shared memory. */
__global__ void counts(const uint32_t *x, uint32_t *out)
{
    __shared__ uint32_t bins[16];
    if (threadIdx.x < 16)
        bins[threadIdx.x] = 0;
    __syncthreads();
    atomicAdd(&bins[x[threadIdx.x] % 16], 1U);
    const uint32_t odd = __ballot_sync(ALL, x[threadIdx.x] & 1);
    if (threadIdx.x % 32 == 0)
        atomicAdd(&out[16], static_cast<uint32_t>(__popc(odd)));
    atomicMax(&out[17], x[threadIdx.x]);
    const bool together = __any_sync(ALL, threadIdx.x == 5) && !__all_sync(ALL, threadIdx.x != 6);
    if (together)
        atomicAdd(&out[18], 1U);
    __syncthreads();
    if (threadIdx.x < 16)
        out[threadIdx.x] = bins[threadIdx.x];
}

static void test_counts()
{
    uint32_t seed = 8, wrong = 0, want[19] = { 0 };
    std::vector<uint32_t> x(256);
    for (uint32_t &v : x) {
        v = random_bits(seed);
        want[v % 16]++;
        want[16] += v & 1;
        want[17] = v > want[17] ? v : want[17];
    }
    want[18] = 32;
    Buffer<uint32_t> dx(x), out(std::vector<uint32_t>(19));
    counts<<<1, 256>>>(dx.device, out.device);
    const std::vector<uint32_t> got = out.take();
    for (int i = 0; i < 19; i++)
        wrong += got[i] != want[i];
    report(wrong == 0, "votes and atomics", wrong);
}

/* Products of tiles in half2, each thread one element. */
#define TILE 16
__global__ void multiply_half2(const __half *a, const __half *b, float *c, int cols, int depth)
{
    __shared__ __half2 as[TILE][TILE + 1], bs[TILE][TILE + 1];
    float sum = 0;
    for (int k = 0; k < depth; k += 2 * TILE) {
        as[threadIdx.y][threadIdx.x] = *reinterpret_cast<const __half2 *>(a + (blockIdx.y * TILE + threadIdx.y) * depth + k + 2 * threadIdx.x);
        bs[threadIdx.y][threadIdx.x] = *reinterpret_cast<const __half2 *>(b + (blockIdx.x * TILE + threadIdx.y) * depth + k + 2 * threadIdx.x);
        __syncthreads();
        __half2 part = __float2half2_rn(0);
        for (int i = 0; i < TILE; i++)
            part = __hfma2(as[threadIdx.y][i], bs[threadIdx.x][i], part);
        sum += __low2float(part) + __high2float(part);
        __syncthreads();
    }
    c[(blockIdx.y * TILE + threadIdx.y) * cols + blockIdx.x * TILE + threadIdx.x] = sum;
}

/* C (rows, cols) = A (rows, depth) B (cols, depth)^T */
template <class T> static double product_off(const std::vector<T> &a, const std::vector<T> &b, const std::vector<float> &c, int rows, int cols, int depth)
{
    double off = 0;
    for (int r = 0; r < rows; r++)
        for (int n = 0; n < cols; n++) {
            double sum = 0;
            for (int k = 0; k < depth; k++)
                sum += static_cast<double>(static_cast<float>(a[r * depth + k])) * static_cast<double>(static_cast<float>(b[n * depth + k]));
            const double difference = fabs(sum - c[r * cols + n]);
            off = difference <= off ? off : difference;
        }
    return off;
}

static void test_half2()
{
    const int rows = 64, cols = 96, depth = 256;
    const std::vector<__half> a = rounded<__half>(numbers(rows * depth, 4)), b = rounded<__half>(numbers(cols * depth, 5));
    Buffer<__half> da(a), db(b);
    Buffer<float> c(std::vector<float>(rows * cols));
    multiply_half2<<<dim3(cols / TILE, rows / TILE), dim3(TILE, TILE)>>>(da.device, db.device, c.device, cols, depth);
    const double off = product_off(a, b, c.take(), rows, cols, depth);
    report(off < 2e-2, "products in half2", off);
}

/* mma.sync, with A (16, 16) and B (8, 16) as rows; ldmatrix for A where `by_ldmatrix`. */
template <class T, bool bf16, bool by_ldmatrix> __global__ void multiply_mma(const T *a, const T *b, float *c)
{
    const int lane = threadIdx.x, g = lane / 4, t = lane % 4;
    uint32_t fa[4], fb[2];
    float fc[4] = { 0, 0, 0, 0 };
    if (by_ldmatrix) {
        __shared__ __align__(16) uint32_t rows[16 * 8];
        for (int i = lane; i < 16 * 8; i += 32)
            rows[i] = reinterpret_cast<const uint32_t *>(a)[i];
        __syncwarp();
        const unsigned at = static_cast<unsigned>(__cvta_generic_to_shared(&rows[(lane % 16) * 8 + lane / 16 * 4]));
        asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                     : "=r"(fa[0]), "=r"(fa[1]), "=r"(fa[2]), "=r"(fa[3])
                     : "r"(at));
    } else {
        for (int i = 0; i < 4; i++)
            fa[i] = *reinterpret_cast<const uint32_t *>(a + (g + i % 2 * 8) * 16 + t * 2 + i / 2 * 8);
    }
    for (int i = 0; i < 2; i++)
        fb[i] = *reinterpret_cast<const uint32_t *>(b + g * 16 + t * 2 + i * 8);
    if (bf16)
        asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
                     : "+f"(fc[0]), "+f"(fc[1]), "+f"(fc[2]), "+f"(fc[3])
                     : "r"(fa[0]), "r"(fa[1]), "r"(fa[2]), "r"(fa[3]), "r"(fb[0]), "r"(fb[1]));
    else
        asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
                     : "+f"(fc[0]), "+f"(fc[1]), "+f"(fc[2]), "+f"(fc[3])
                     : "r"(fa[0]), "r"(fa[1]), "r"(fa[2]), "r"(fa[3]), "r"(fb[0]), "r"(fb[1]));
    for (int i = 0; i < 4; i++)
        c[(g + i / 2 * 8) * 8 + t * 2 + i % 2] = fc[i];
}

template <class T, bool bf16, bool by_ldmatrix> static void test_mma(const char *name)
{
    const std::vector<T> a = rounded<T>(numbers(256, 6)), b = rounded<T>(numbers(128, 7));
    Buffer<T> da(a), db(b);
    Buffer<float> c(std::vector<float>(128));
    multiply_mma<T, bf16, by_ldmatrix><<<1, 32>>>(da.device, db.device, c.device);
    const double off = product_off(a, b, c.take(), 16, 8, 16);
    report(off < 1e-5, name, off);
}

/* The three shapes for bytes; each gives the (16, 8) product of A (16, 32) and B (8, 32) as rows. */
template <int shape> __global__ void multiply_bytes(const int8_t *a, const int8_t *b, int32_t *c)
{
    const int lane = threadIdx.x, g = lane / 4, t = lane % 4;
    const uint32_t *wa = reinterpret_cast<const uint32_t *>(a), *wb = reinterpret_cast<const uint32_t *>(b);
    const uint32_t fa[4] = { wa[g * 8 + t], wa[(g + 8) * 8 + t], wa[g * 8 + t + 4], wa[(g + 8) * 8 + t + 4] };
    const uint32_t fb[2] = { wb[g * 8 + t], wb[g * 8 + t + 4] };
    int32_t fc[4] = { 0, 0, 0, 0 };
    if (shape == 0) {
        asm("mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
            : "+r"(fc[0]), "+r"(fc[1]), "+r"(fc[2]), "+r"(fc[3])
            : "r"(fa[0]), "r"(fa[1]), "r"(fa[2]), "r"(fa[3]), "r"(fb[0]), "r"(fb[1]));
    } else if (shape == 1) {
        for (int k = 0; k < 2; k++)
            asm("mma.sync.aligned.m16n8k16.row.col.s32.s8.s8.s32 {%0,%1,%2,%3}, {%4,%5}, {%6}, {%0,%1,%2,%3};"
                : "+r"(fc[0]), "+r"(fc[1]), "+r"(fc[2]), "+r"(fc[3])
                : "r"(fa[2 * k]), "r"(fa[2 * k + 1]), "r"(fb[k]));
    } else {
        for (int k = 0; k < 4; k++)
            asm("mma.sync.aligned.m8n8k16.row.col.s32.s8.s8.s32 {%0,%1}, {%2}, {%3}, {%0,%1};"
                : "+r"(fc[k % 2 * 2]), "+r"(fc[k % 2 * 2 + 1])
                : "r"(fa[k]), "r"(fb[k / 2]));
    }
    for (int i = 0; i < 4; i++)
        c[(g + i / 2 * 8) * 8 + t * 2 + i % 2] = fc[i];
}

static void test_byte_mma()
{
    uint32_t seed = 11, wrong = 0;
    std::vector<int8_t> a(16 * 32), b(8 * 32);
    for (int8_t &v : a)
        v = static_cast<int8_t>(random_bits(seed));
    for (int8_t &v : b)
        v = static_cast<int8_t>(random_bits(seed));
    Buffer<int8_t> da(a), db(b);
    Buffer<int32_t> c(std::vector<int32_t>(3 * 128));
    multiply_bytes<0><<<1, 32>>>(da.device, db.device, c.device);
    multiply_bytes<1><<<1, 32>>>(da.device, db.device, c.device + 128);
    multiply_bytes<2><<<1, 32>>>(da.device, db.device, c.device + 256);
    const std::vector<int32_t> got = c.take();
    for (int i = 0; i < 3 * 128; i++) {
        int32_t sum = 0;
        for (int k = 0; k < 32; k++)
            sum += a[i % 128 / 8 * 32 + k] * b[i % 8 * 32 + k];
        wrong += sum != got[i];
    }
    report(wrong == 0, "mma.sync of bytes in three shapes", wrong);
}

__global__ void multiply_wmma(const __half *a, const __half *b, float *c)
{
    using namespace nvcuda;
    wmma::fragment<wmma::matrix_a, 16, 16, 16, __half, wmma::row_major> fa;
    wmma::fragment<wmma::matrix_b, 16, 16, 16, __half, wmma::col_major> fb;
    wmma::fragment<wmma::accumulator, 16, 16, 16, float> fc;
    wmma::fill_fragment(fc, 0);
    wmma::load_matrix_sync(fa, a, 16);
    wmma::load_matrix_sync(fb, b, 16);
    wmma::mma_sync(fc, fa, fb, fc);
    wmma::store_matrix_sync(c, fc, 16, wmma::mem_row_major);
}

static void test_wmma()
{
    const std::vector<__half> a = rounded<__half>(numbers(256, 12)), b = rounded<__half>(numbers(256, 13));
    Buffer<__half> da(a), db(b);
    Buffer<float> c(std::vector<float>(256));
    multiply_wmma<<<1, 32>>>(da.device, db.device, c.device);
    const double off = product_off(a, b, c.take(), 16, 16, 16);
    report(off < 1e-5, "wmma", off);
}

/* cp.async in two stages, each waited for before it is read. */
__global__ void copy_in_stages(const float4 *in, float4 *out, int stages)
{
    extern __shared__ float4 ring[];
    for (int s = 0; s <= stages; s++) {
        if (s < stages) {
            const unsigned to = static_cast<unsigned>(__cvta_generic_to_shared(&ring[s % 2 * 64 + threadIdx.x]));
            asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(to), "l"(in + s * 64 + threadIdx.x));
        }
        asm volatile("cp.async.commit_group;");
        asm volatile("cp.async.wait_group 1;");
        __syncthreads();
        if (s > 0)
            out[(s - 1) * 64 + threadIdx.x] = ring[(s - 1) % 2 * 64 + 63 - threadIdx.x];
        __syncthreads();
    }
}

static void test_async_copies()
{
    const int stages = 5;
    const std::vector<float> x = numbers(stages * 256, 14);
    Buffer<float> in(x), out(std::vector<float>(stages * 256));
    copy_in_stages<<<1, 64, 2 * 64 * sizeof(float4)>>>(reinterpret_cast<float4 *>(in.device), reinterpret_cast<float4 *>(out.device), stages);
    const std::vector<float> got = out.take();
    int wrong = 0;
    for (int i = 0; i < stages * 256; i++)
        wrong += got[i] != x[i / 256 * 256 + (63 - i % 256 / 4) * 4 + i % 4];
    report(wrong == 0, "cp.async in stages", wrong);
}

/* Attention of one query over keys in f16, an online softmax per warp. */
template <int HEAD> __global__ void attend(const float *q, const __half *keys, const __half *values, float *out, int tokens, float scale)
{
    extern __shared__ __align__(16) unsigned char shared[];
    const int warps = blockDim.x / 32, warp = threadIdx.x / 32, lane = threadIdx.x % 32, head = blockIdx.x;
    float *sums = reinterpret_cast<float *>(shared), *most = sums + warps * HEAD, *totals = most + warps;
    const float4 own = reinterpret_cast<const float4 *>(q + head * HEAD)[lane];
    float max = -INFINITY, total = 0;
    float4 sum = make_float4(0, 0, 0, 0);
    for (int t = warp; t < tokens; t += warps) {
        const __half2 *k = reinterpret_cast<const __half2 *>(keys + (head * tokens + t) * HEAD + lane * 4);
        const __half2 *v = reinterpret_cast<const __half2 *>(values + (head * tokens + t) * HEAD + lane * 4);
        const float2 a = __half22float2(k[0]), b = __half22float2(k[1]), c = __half22float2(v[0]), d = __half22float2(v[1]);
        float dot = own.x * a.x + own.y * a.y + own.z * b.x + own.w * b.y;
        for (int o = 16; o; o >>= 1)
            dot += __shfl_xor_sync(ALL, dot, o);
        dot *= scale;
        const float higher = fmaxf(max, dot), keep = __expf(max - higher), weight = __expf(dot - higher);
        sum = make_float4(sum.x * keep + weight * c.x, sum.y * keep + weight * c.y, sum.z * keep + weight * d.x, sum.w * keep + weight * d.y);
        total = total * keep + weight;
        max = higher;
    }
    reinterpret_cast<float4 *>(sums + warp * HEAD)[lane] = sum;
    if (lane == 0) {
        most[warp] = max;
        totals[warp] = total;
    }
    __syncthreads();
    for (int i = 0; i < warps; i++)
        max = fmaxf(max, most[i]);
    for (int d = threadIdx.x; d < HEAD; d += blockDim.x) {
        float above = 0, below = 0;
        for (int i = 0; i < warps; i++) {
            above += sums[i * HEAD + d] * __expf(most[i] - max);
            below += totals[i] * __expf(most[i] - max);
        }
        out[head * HEAD + d] = above / below;
    }
}

static void test_attention()
{
    const int heads = 8, tokens = 133, head = 128, warps = 4;
    std::vector<float> q = numbers(heads * head, 15);
    for (float &v : q)
        v *= 4;
    const std::vector<__half> k = rounded<__half>(numbers(heads * tokens * head, 16)), v = rounded<__half>(numbers(heads * tokens * head, 17));
    Buffer<float> dq(q), out(std::vector<float>(heads * head));
    Buffer<__half> dk(k), dv(v);
    attend<head><<<heads, warps * 32, (warps * head + 2 * warps) * sizeof(float)>>>(dq.device, dk.device, dv.device, out.device, tokens, 0.3F);
    const std::vector<float> got = out.take();
    double off = 0;
    for (int h = 0; h < heads; h++) {
        std::vector<double> sum(head);
        double total = 0;
        for (int t = 0; t < tokens; t++) {
            double dot = 0;
            for (int d = 0; d < head; d++)
                dot += static_cast<double>(q[h * head + d]) * __half2float(k[(h * tokens + t) * head + d]);
            total += exp(0.3 * dot);
            for (int d = 0; d < head; d++)
                sum[d] += exp(0.3 * dot) * __half2float(v[(h * tokens + t) * head + d]);
        }
        for (int d = 0; d < head; d++)
            off = fmax(off, fabs(sum[d] / total - got[h * head + d]));
    }
    report(off < 1e-5, "attention with an online softmax", off);
}

__global__ void scale(float *x, int n, float by)
{
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n)
        x[i] *= by;
}

/* A node that does what kernel<<<grid, threads>>>(arguments) does, behind the last one. */
template <class... P>
static void add_node(cudaGraph_t graph, cudaGraphNode_t *last, void (*kernel)(P...), unsigned grid, unsigned threads, P... arguments)
{
    void *pointers[] = { &arguments... };
    cudaKernelNodeParams node = {};
    node.func = reinterpret_cast<void *>(kernel);
    node.gridDim = dim3(grid);
    node.blockDim = dim3(threads);
    node.kernelParams = pointers;
    const cudaGraphNode_t before = *last;
    TRY(cudaGraphAddKernelNode(last, graph, &before, before ? 1 : 0, &node));
}

/* The same node with another argument, from now on. */
static void amend_scale(cudaGraphExec_t exec, cudaGraphNode_t node, float *x, int n, float by)
{
    void *pointers[] = { &x, &n, &by };
    cudaKernelNodeParams changed = {};
    changed.func = reinterpret_cast<void *>(scale);
    changed.gridDim = dim3(n / 256);
    changed.blockDim = dim3(256);
    changed.kernelParams = pointers;
    TRY(cudaGraphExecKernelNodeSetParams(exec, node, &changed));
}

/* A graph launched three times, once with another argument, behind a copy from pinned memory; and another stream that waits for an event. */
static void test_graphs()
{
    const int n = 4096;
    float *pinned = nullptr, *x = nullptr, *sum = nullptr;
    cudaStream_t stream = nullptr, other = nullptr;
    cudaEvent_t done = nullptr;
    cudaGraph_t graph = nullptr;
    cudaGraphExec_t exec = nullptr;
    cudaGraphNode_t last = nullptr;
    TRY(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
    TRY(cudaStreamCreateWithFlags(&other, cudaStreamNonBlocking));
    TRY(cudaEventCreateWithFlags(&done, cudaEventDisableTiming));
    TRY(cudaMallocHost(reinterpret_cast<void **>(&pinned), n * sizeof *pinned));
    TRY(cudaMalloc(reinterpret_cast<void **>(&x), n * sizeof *x));
    TRY(cudaMalloc(reinterpret_cast<void **>(&sum), sizeof *sum));
    for (int i = 0; i < n; i++)
        pinned[i] = 1;
    TRY(cudaMemcpyAsync(x, pinned, n * sizeof *x, cudaMemcpyHostToDevice, stream));
    TRY(cudaGraphCreate(&graph, 0));
    add_node(graph, &last, scale, n / 256, 256, x, n, 2.0F);
    const cudaGraphNode_t first = last;
    add_node(graph, &last, reduce_by_groups, 1, 256, static_cast<const float *>(x), sum, n);
    TRY(cudaGraphInstantiate(&exec, graph, 0));
    for (int i = 0; i < 2; i++)
        TRY(cudaGraphLaunch(exec, stream));
    amend_scale(exec, first, x, n, 3); /* not for what was launched */
    TRY(cudaGraphLaunch(exec, stream));
    TRY(cudaEventRecord(done, stream));
    TRY(cudaStreamWaitEvent(other, done, 0));
    TRY(cudaMemcpyAsync(pinned, sum, sizeof *sum, cudaMemcpyDeviceToHost, other));
    const bool lazy = pinned[0] == 1; /* nobody has waited yet */
    TRY(cudaStreamSynchronize(other));
    report(lazy && pinned[0] == 12.0F * n, "streams, events and a graph", fabs(pinned[0] - 12.0F * n));
    TRY(cudaGraphExecDestroy(exec));
    TRY(cudaGraphDestroy(graph));
    TRY(cudaEventDestroy(done));
    TRY(cudaFree(sum));
    TRY(cudaFree(x));
    TRY(cudaFreeHost(pinned));
    TRY(cudaStreamDestroy(other));
    TRY(cudaStreamDestroy(stream));
}

int main()
{
    test_floats();
    test_integers();
    test_reductions();
    test_counts();
    test_half2();
    test_mma<__half, false, false>("mma.sync of f16");
    test_mma<__half, false, true>("mma.sync of f16 by ldmatrix");
    test_mma<__nv_bfloat16, true, false>("mma.sync of bf16");
    test_byte_mma();
    test_wmma();
    test_async_copies();
    test_attention();
    test_graphs();
    return failures != 0;
}
