/* Kernels with one fault each, which the emulator has to find:  faulty NAME runs one of them; faulty lists their names, a
 * tab, and what the message must match. Where that is empty it is the same kernel without the fault, and must pass. */
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <cuda_runtime.h>

#define ALL     0xffffffffU
#define THREADS 64

/* Global memory. */
__global__ void reads_behind_the_end(const float *in, float *out)
{
    out[threadIdx.x] = in[threadIdx.x + 1];
}

__global__ void writes_before_the_beginning(const float *in, float *out)
{
    (out - 1)[threadIdx.x] = in[threadIdx.x];
}

__global__ void reads_misaligned(const float *in, float *out)
{
    const float2 x = reinterpret_cast<const float2 *>(in + 1)[threadIdx.x / 4];
    out[threadIdx.x] = x.x + x.y;
}

__global__ void reads_host_memory(const float *in, float *out)
{
    out[threadIdx.x] = in[threadIdx.x];
}

/* Shared memory. */
__global__ void reads_behind_shared(const float *in, float *out)
{
    __shared__ float s[THREADS];
    s[threadIdx.x] = in[threadIdx.x];
    __syncthreads();
    out[threadIdx.x] = s[threadIdx.x + (in[0] > 1e9F ? 0 : 1)];
}

__global__ void reads_behind_dynamic_shared(const float *in, float *out)
{
    extern __shared__ float d[];
    d[threadIdx.x] = in[threadIdx.x];
    __syncthreads();
    out[threadIdx.x] = d[threadIdx.x ^ THREADS];
}

__global__ void reads_what_nobody_wrote(const float *in, float *out)
{
    __shared__ float s[THREADS];
    if (threadIdx.x != 7)
        s[threadIdx.x] = in[threadIdx.x];
    __syncthreads();
    out[threadIdx.x] = s[threadIdx.x ^ 1];
}

/* What the block before left there. */
__global__ void reads_what_another_block_wrote(const float *in, float *out)
{
    __shared__ float s[THREADS];
    if (blockIdx.x == 0)
        s[threadIdx.x] = in[threadIdx.x];
    __syncthreads();
    out[threadIdx.x] = s[threadIdx.x ^ 1];
}

/* Races. */
template <bool sound> __global__ void shared_write_then_read(const float *in, float *out)
{
    __shared__ float s[THREADS];
    s[threadIdx.x] = in[threadIdx.x];
    if (sound)
        __syncthreads();
    out[threadIdx.x] = s[threadIdx.x ^ 32];
}

template <bool sound> __global__ void shared_read_then_write(const float *in, float *out)
{
    __shared__ float s[THREADS];
    s[threadIdx.x] = in[threadIdx.x];
    __syncthreads();
    const float x = s[threadIdx.x ^ 32];
    if (sound)
        __syncthreads();
    s[threadIdx.x] = x;
    out[threadIdx.x] = x;
}

template <bool sound> __global__ void shared_two_writers(const float *in, float *out)
{
    __shared__ float s[THREADS];
    s[sound ? threadIdx.x : threadIdx.x % 32] = in[threadIdx.x];
    __syncthreads();
    out[threadIdx.x] = s[threadIdx.x % 32];
}

template <bool sound> __global__ void bytes_of_a_word(const float *in, float *out)
{
    __shared__ uint8_t s[2 * THREADS];
    s[threadIdx.x] = static_cast<uint8_t>(in[threadIdx.x]);
    if (!sound)
        s[threadIdx.x + 1] = 0;
    __syncthreads();
    out[threadIdx.x] = s[threadIdx.x ^ 1];
}

/* Within one warp, whose lanes need not run together. */
template <bool sound> __global__ void warp_without_sync(const float *in, float *out)
{
    __shared__ float s[THREADS];
    s[threadIdx.x] = in[threadIdx.x];
    if (sound)
        __syncwarp();
    out[threadIdx.x] = s[threadIdx.x ^ 1];
}

template <bool sound> __global__ void warp_reads_then_writes(const float *in, float *out)
{
    __shared__ float s[THREADS / 32];
    if (threadIdx.x % 32 == 0)
        s[threadIdx.x / 32] = in[threadIdx.x];
    __syncwarp();
    const float x = s[threadIdx.x / 32];
    if (sound)
        __syncwarp();
    if (threadIdx.x % 32 == 5)
        s[threadIdx.x / 32] = x + 1;
    out[threadIdx.x] = x;
}

/* A shuffle makes lanes meet but orders no memory. */
__global__ void shuffle_is_no_barrier(const float *in, float *out)
{
    __shared__ float s[THREADS];
    s[threadIdx.x] = in[threadIdx.x];
    const float x = __shfl_xor_sync(ALL, in[threadIdx.x], 1);
    out[threadIdx.x] = s[threadIdx.x ^ 1] + x;
}

template <bool sound> __global__ void global_between_threads(const float *in, float *out)
{
    out[threadIdx.x] = in[threadIdx.x];
    if (sound)
        __syncthreads();
    if (out[threadIdx.x ^ 32] < -1e9F)
        out[THREADS] = 0;
}

template <bool sound> __global__ void global_between_blocks(const float *, float *out)
{
    if (threadIdx.x == 0)
        out[sound ? blockIdx.x : blockIdx.x / 2] = 1;
}

__global__ void global_read_by_another_block(const float *, float *out)
{
    if (threadIdx.x == 0)
        out[blockIdx.x] = out[1 - blockIdx.x] + 1;
}

template <bool sound> __global__ void atomic_and_plain(const float *, float *out)
{
    unsigned *n = reinterpret_cast<unsigned *>(out);
    if (sound || threadIdx.x != 9)
        atomicAdd(n, 1U);
    else
        *n += 1;
}

/* Barriers, collectives, asynchronous copies. */
template <bool sound> __global__ void async_copy(const float *in, float *out)
{
    __shared__ float4 s[THREADS / 4];
    if (threadIdx.x < THREADS / 4) {
        const unsigned to = static_cast<unsigned>(__cvta_generic_to_shared(&s[threadIdx.x]));
        asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(to), "l"(in + 4 * threadIdx.x));
        asm volatile("cp.async.commit_group;");
        if (sound)
            asm volatile("cp.async.wait_group 0;");
    }
    __syncthreads();
    out[threadIdx.x] = s[threadIdx.x / 4].x;
    asm volatile("cp.async.wait_all;");
}

__global__ void async_copy_into_what_is_read(const float *in, float *out)
{
    __shared__ float4 s[THREADS / 4];
    if (threadIdx.x < THREADS / 4)
        s[threadIdx.x] = reinterpret_cast<const float4 *>(in)[threadIdx.x];
    __syncthreads();
    out[threadIdx.x] = s[threadIdx.x / 4].x;
    if (threadIdx.x < THREADS / 4) {
        const unsigned to = static_cast<unsigned>(__cvta_generic_to_shared(&s[threadIdx.x]));
        asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(to), "l"(in + 4 * threadIdx.x));
    }
    asm volatile("cp.async.wait_all;");
}

__global__ void divergent_barriers(const float *in, float *out)
{
    if (in[threadIdx.x] < 8)
        __syncthreads();
    else
        out[threadIdx.x] = 1;
    __syncthreads();
}

__global__ void divergent_shuffle(const float *in, float *out)
{
    if (threadIdx.x % 2)
        out[threadIdx.x] = __shfl_sync(ALL, in[threadIdx.x], 0);
    else
        out[threadIdx.x] = __ballot_sync(ALL, 1) ? 1.0F : 2.0F;
}

__global__ void lane_outside_of_its_mask(const float *in, float *out)
{
    out[threadIdx.x] = __shfl_sync(0x7fffffffU, in[threadIdx.x], 0);
}

static const struct {
    const char *name;
    void (*kernel)(const float *in, float *out);
    unsigned blocks;
    const char *message; /* a pattern; empty: there is no fault */
} cases[] = {
    { "reads behind the end", reads_behind_the_end, 1, "read of 4 bytes" },
    { "writes before the beginning", writes_before_the_beginning, 1, "write of 4 bytes" },
    { "reads misaligned", reads_misaligned, 1, "no multiple of its size" },
    { "reads host memory", reads_host_memory, 1, "no memory of the device" },
    { "reads behind shared memory", reads_behind_shared, 1, "nobody wrote|of shared memory, which has" },
    { "reads behind dynamic shared memory", reads_behind_dynamic_shared, 1, "of shared memory, which has" },
    { "reads what nobody wrote", reads_what_nobody_wrote, 1, "nobody wrote" },
    { "reads what another block wrote", reads_what_another_block_wrote, 2, "nobody wrote" },
    { "shared: write, read", shared_write_then_read<false>, 1, "race: |nobody wrote" },
    { "shared: read, write", shared_read_then_write<false>, 1, "race: " },
    { "shared: two writers", shared_two_writers<false>, 1, "race: write" },
    { "shared: bytes of a word", bytes_of_a_word<false>, 1, "race: write" },
    { "warp: without syncwarp", warp_without_sync<false>, 1, "race: |nobody wrote" },
    { "warp: read, write", warp_reads_then_writes<false>, 1, "race: " },
    { "warp: a shuffle is no barrier", shuffle_is_no_barrier, 1, "race: |nobody wrote" },
    { "global: between threads", global_between_threads<false>, 1, "race: .* global" },
    { "global: between blocks", global_between_blocks<false>, 2, "race: write of global" },
    { "global: read by another block", global_read_by_another_block, 2, "race: .* global" },
    { "global: atomic and plain", atomic_and_plain<false>, 1, "race: .* global" },
    { "cp.async without a wait", async_copy<false>, 1, "cp.async without a wait" },
    { "cp.async into what is read", async_copy_into_what_is_read, 1, "race: |cp.async without a wait" },
    { "divergent barriers", divergent_barriers, 1, "different barriers" },
    { "divergent shuffle", divergent_shuffle, 1, "different collective operations" },
    { "lane outside of its mask", lane_outside_of_its_mask, 1, "which lacks it" },
    { "sound shared: write, read", shared_write_then_read<true>, 1, "" },
    { "sound shared: read, write", shared_read_then_write<true>, 1, "" },
    { "sound shared: two writers", shared_two_writers<true>, 1, "" },
    { "sound shared: bytes of a word", bytes_of_a_word<true>, 1, "" },
    { "sound warp: syncwarp", warp_without_sync<true>, 1, "" },
    { "sound warp: read, write", warp_reads_then_writes<true>, 1, "" },
    { "sound global: between threads", global_between_threads<true>, 1, "" },
    { "sound global: between blocks", global_between_blocks<true>, 2, "" },
    { "sound global: atomics", atomic_and_plain<true>, 1, "" },
    { "sound cp.async", async_copy<true>, 1, "" },
};

/* What the host does wrong. */
static int copy_beyond(float *device)
{
    float host[2 * THREADS] = { 0 };
    return cudaMemcpy(device, host, sizeof host, cudaMemcpyHostToDevice);
}

static int launch_too_many(float *device)
{
    shared_write_then_read<true><<<1, 2048>>>(device, device);
    return cudaGetLastError() == cudaErrorInvalidConfiguration ? 0 : 2;
}

/* Two nodes of a graph that write to the same place, with nothing that says which is first. */
static int unordered_nodes(float *device)
{
    const float *in = device;
    void *arguments[] = { &in, &device };
    cudaKernelNodeParams node = {};
    cudaGraph_t graph = nullptr;
    cudaGraphExec_t executable = nullptr;
    cudaGraphNode_t first = nullptr, second = nullptr;
    node.func = reinterpret_cast<void *>(shared_write_then_read<true>);
    node.gridDim = dim3(1);
    node.blockDim = dim3(THREADS);
    node.kernelParams = arguments;
    return cudaGraphCreate(&graph, 0) || cudaGraphAddKernelNode(&first, graph, nullptr, 0, &node) ||
           cudaGraphAddKernelNode(&second, graph, nullptr, 0, &node) || cudaGraphInstantiate(&executable, graph, 0);
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        for (const auto &c : cases)
            printf("%s\t%s\n", c.name, c.message);
        puts("copy beyond the end\tnot within memory of the device");
        puts("launch of too many threads\t");
        puts("nodes that nothing orders\tdo not follow each other");
        return 0;
    }
    float host[THREADS], *in = nullptr, *out = nullptr;
    for (int i = 0; i < THREADS; i++)
        host[i] = static_cast<float>(i);
    if (cudaMalloc(reinterpret_cast<void **>(&in), sizeof host) || cudaMalloc(reinterpret_cast<void **>(&out), sizeof host) ||
        cudaMemcpy(in, host, sizeof host, cudaMemcpyHostToDevice) || cudaMemcpy(out, host, sizeof host, cudaMemcpyHostToDevice))
        return 2;
    if (strcmp(argv[1], "copy beyond the end") == 0)
        return copy_beyond(out);
    if (strcmp(argv[1], "launch of too many threads") == 0)
        return launch_too_many(out);
    if (strcmp(argv[1], "nodes that nothing orders") == 0)
        return unordered_nodes(out);
    for (const auto &c : cases) {
        if (strcmp(argv[1], c.name) != 0)
            continue;
        c.kernel<<<c.blocks, THREADS, THREADS * sizeof(float)>>>(c.kernel == reads_host_memory ? host : in, out);
        return cudaDeviceSynchronize() || cudaGetLastError() ? 2 : 0;
    }
    fprintf(stderr, "faulty: no kernel is called '%s'\n", argv[1]);
    return 2;
}
