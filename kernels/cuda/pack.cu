/* Weights on their way to the card: threads copy portions of the file into the ring, the card packs them from there. */
#include <assert.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "kernels/cuda/device.h"
#include "kernels/cuda/pack.h"
extern "C" {
#include "kernels/thread_pool.h"
}

#define MOST_THREADS 16 /* they copy faster than a bus by then */
#define SLICE        ((size_t)128 << 10) /* of one thread at a time */
#define UNIT         64 /* blocks of a tensor that stay together */
#define AHEAD        (4 * KG_RING_PART_BYTES) /* bytes of a file that are asked for before they are needed */

struct portion {
    uint8_t *to;
    const uint8_t *from;
    size_t bytes;
};

static void copy_slice(void *context, uint32_t piece, uint32_t thread)
{
    (void)thread;
    const struct portion *p = (const struct portion *)context;
    const size_t at = piece * SLICE, rest = p->bytes - at;
    memcpy(p->to + at, p->from + at, rest < SLICE ? rest : SLICE);
}

static void copy_portion(struct kg_device *device, struct portion portion)
{
    const uint32_t slices = (uint32_t)((portion.bytes + SLICE - 1) / SLICE);
    if (slices > 1 && !device->loaders && !device->loads_alone) {
        const uint32_t usable = kg_thread_pool_usable_threads();
        device->loads_alone = kg_thread_pool_create(usable < MOST_THREADS ? usable : MOST_THREADS, &device->loaders, NULL) != KG_OK;
    }
    if (slices > 1 && device->loaders)
        kg_thread_pool_run(device->loaders, copy_slice, &portion, slices);
    else
        memcpy(portion.to, portion.from, portion.bytes);
}

/* The system reads what lies ahead while this is copied; advice only, which means nothing for other memory than a file's. */
static void read_ahead(const uint8_t *bytes, size_t length)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE), before = (uintptr_t)bytes % page;
    (void)madvise((void *)(uintptr_t)(bytes - before), length + before, MADV_WILLNEED);
}

static void pack(struct kg_device *device, const struct kg_matrix *m, const uint8_t *staged, size_t first, uint32_t count)
{
    void (*kernel)(uint8_t *, struct kg_planes, const uint4 *, size_t, uint32_t) = NULL;
    switch (m->type) {
    case KG_Q4_0: kernel = kg_pack<KG_Q4_0>; break;
    case KG_Q4_1: kernel = kg_pack<KG_Q4_1>; break;
    case KG_Q5_0: kernel = kg_pack<KG_Q5_0>; break;
    case KG_Q5_1: kernel = kg_pack<KG_Q5_1>; break;
    case KG_Q8_0: kernel = kg_pack<KG_Q8_0>; break;
    case KG_Q4_K: kernel = kg_pack<KG_Q4_K>; break;
    case KG_Q5_K: kernel = kg_pack<KG_Q5_K>; break;
    case KG_Q6_K: kernel = kg_pack<KG_Q6_K>; break;
    default: return;
    }
    const uint32_t blocks = KG_PACK_THREADS / (m->planes.super ? 8 : 1);
    kg_cuda_launch(device, "packing a matrix", kernel, (count + blocks - 1) / blocks, KG_PACK_THREADS, 0, (uint8_t *)m->memory.bits, m->planes,
                   (const uint4 *)staged, first, count);
}

void kg_cuda_fill_matrix(struct kg_device *device, struct kg_matrix *matrix, const void *blocks)
{
    uint32_t elements = 1, block_bytes = 0;
    (void)kg_type_layout(matrix->type, &elements, &block_bytes);
    const uint8_t *from = (const uint8_t *)blocks;
    const size_t all = (size_t)matrix->rows * matrix->cols / elements * block_bytes;
    size_t done = 0, asked = 0;
    device->rounds = device->rounds || !matrix->plain;
    assert(!device->steps.held); /* or portions would be packed when the ring holds others */
    while (done < all && !device->failed) {
        size_t n = all - done;
        uint8_t *staged = kg_cuda_ring(device, (size_t)UNIT * block_bytes, &n);
        if (!staged)
            return;
        const size_t wanted = all - done < n + AHEAD ? all : done + n + AHEAD;
        read_ahead(from + asked, wanted - asked);
        asked = wanted;
        copy_portion(device, { staged, from + done, n });
        if (matrix->plain)
            (void)kg_cuda_ok(device, cudaMemcpyAsync((uint8_t *)matrix->memory.bits + done, staged, n, cudaMemcpyDefault, device->stream), "copying to the device");
        else
            pack(device, matrix, staged, done / block_bytes, (uint32_t)(n / block_bytes));
        done += n;
    }
}

void kg_cuda_loaders_end(struct kg_device *device)
{
    kg_thread_pool_free(device->loaders);
    device->loaders = NULL;
    device->loads_alone = false;
}
