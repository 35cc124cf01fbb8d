/* The k best of a row of logits: each block finds the k best of a piece, one block those of all pieces,
 * and a last one sorts them. */
#include <assert.h>

#include "kernels/cuda/device.h"
#include "kernels/cuda/select.h"

#define PIECE 8192 /* logits of one block */
#define SORTED_SHARED 1024

/* Candidates: ids of logits, or all of them where ids is NULL. */
struct candidates {
    const float *logits;
    const int32_t *ids;
    uint32_t n, none;
};

static __device__ __forceinline__ uint32_t id_of(const struct candidates &c, uint32_t i)
{
    return c.ids ? (uint32_t)c.ids[i] : i;
}

/* Block b leaves the ids of the k best of candidates b * piece .. in their order, at out + b * k. */
__global__ void __launch_bounds__(KG_SELECT_THREADS) kg_top_select(int32_t *out, struct candidates c, uint32_t piece, uint32_t k)
{
    const uint32_t first = blockIdx.x * piece, n = c.n - first < piece ? c.n - first : piece, wanted = k < n ? k : n;
    out += (size_t)blockIdx.x * k;
    __shared__ struct kg_select_shared s;
    kg_select_of_all(
        s, n, wanted, [&](uint32_t i) { return kg_key_of(c.logits[id_of(c, first + i)]); },
        [&](uint32_t at, uint32_t i) { out[at] = (int32_t)id_of(c, first + i); });
}

/* Bitonic sort of `room` keys (a power of two), largest first. */
static __device__ void sort_keys(uint64_t *keys, uint32_t room)
{
    for (uint32_t size = 2; size <= room; size *= 2)
        for (uint32_t step = size / 2; step > 0; step /= 2) {
            for (uint32_t i = threadIdx.x; i < room; i += blockDim.x) {
                const uint32_t other = i ^ step;
                if (other < i)
                    continue;
                const uint64_t a = keys[i], b = keys[other];
                if ((a < b) == ((i & size) == 0)) {
                    keys[i] = b;
                    keys[other] = a;
                }
            }
            __syncthreads();
        }
}

/* Of equal logits the smaller id is first, so the id's complement follows the key. More than fit in shared memory are
 * sorted in `scratch`. */
__global__ void __launch_bounds__(KG_SELECT_THREADS) kg_top_sort(int32_t *ids, float *values, const float *logits, const int32_t *chosen, uint32_t k, uint32_t room,
                                                                 uint64_t *scratch)
{
    __shared__ uint64_t small[SORTED_SHARED];
    uint64_t *keys = room <= SORTED_SHARED ? small : scratch;
    for (uint32_t i = threadIdx.x; i < room; i += blockDim.x)
        keys[i] = i < k ? (uint64_t)kg_key_of(logits[chosen[i]]) << 32 | (uint32_t)~chosen[i] : 0;
    __syncthreads();
    sort_keys(keys, room);
    for (uint32_t i = threadIdx.x; i < k; i += blockDim.x) {
        const int32_t id = (int32_t)~(uint32_t)keys[i];
        ids[i] = id;
        values[i] = logits[id];
    }
}

void kg_cuda_top(struct kg_device *device, struct kg_buffer *ids, struct kg_buffer *values, const struct kg_buffer *logits, size_t offset, uint32_t n,
                 uint32_t k)
{
    assert(k >= 1 && k <= n && n <= INT32_MAX);
    const float *row = (const float *)kg_cuda_in(logits, offset + n, sizeof *row) + offset;
    int32_t *id = (int32_t *)kg_cuda_out(device, ids, k, sizeof *id);
    float *value = (float *)kg_cuda_out(device, values, k, sizeof *value);
    const uint32_t blocks = (n + PIECE - 1) / PIECE, kept = k < PIECE ? k : PIECE, last = n - (blocks - 1) * PIECE;
    const uint32_t found = (blocks - 1) * kept + (kept < last ? kept : last);
    uint32_t room = 1;
    while (room < k)
        room *= 2;
    const size_t keys = room > SORTED_SHARED ? room * sizeof(uint64_t) : 0;
    if (!kg_cuda_grow(device, &device->scratch, keys + ((size_t)blocks * kept + k) * sizeof(int32_t), "finding the best"))
        return;
    uint64_t *scratch = (uint64_t *)device->scratch.bits;
    int32_t *chosen = (int32_t *)((uint8_t *)scratch + keys), *of_pieces = chosen + k;
    const struct candidates all = { row, NULL, n, 0 }, best = { row, of_pieces, found, 0 };
    kg_cuda_launch(device, "top", kg_top_select, blocks, KG_SELECT_THREADS, 0, blocks > 1 ? of_pieces : chosen, all, PIECE, kept);
    if (blocks > 1)
        kg_cuda_launch(device, "top", kg_top_select, 1, KG_SELECT_THREADS, 0, chosen, best, found, k);
    kg_cuda_launch(device, "top", kg_top_sort, 1, KG_SELECT_THREADS, 0, id, value, row, chosen, k, room, scratch);
}
