/* How fast all threads together read memory. */
#include <stdatomic.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "kernels/cpu/device.h"

#define PIECE_BYTES ((size_t)1 << 20)
#define LEAST_BYTES ((size_t)128 << 20)
#define MOST_BYTES  ((size_t)1 << 30)
#define SECONDS     0.3
#define RUNS_MIN    3

struct reading {
    const struct kg_isa *isa;
    const char *bits;
    _Atomic uint64_t sum; /* so that no load is left out */
};

static void read_piece(void *context, uint32_t piece, uint32_t thread)
{
    (void)thread;
    struct reading *reading = context;
    atomic_fetch_add(&reading->sum, reading->isa->read_all(reading->bits + piece * PIECE_BYTES, PIECE_BYTES));
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

double kg_cpu_read_bandwidth(struct kg_device *device)
{
    const long cache = sysconf(_SC_LEVEL3_CACHE_SIZE);
    size_t bytes = cache > 0 ? 4 * (size_t)cache / PIECE_BYTES * PIECE_BYTES : LEAST_BYTES;
    bytes = bytes < LEAST_BYTES ? LEAST_BYTES : bytes > MOST_BYTES ? MOST_BYTES : bytes;
    struct kg_memory memory;
    if (kg_memory_map(&memory, bytes, &device->memory, "measuring", NULL))
        return 0;
    memset(memory.bits, 1, bytes); /* untouched pages would all be one page of zeros */
    struct reading reading = { .isa = device->isa, .bits = memory.bits };
    double best = 0;
    const double start = now();
    for (int run = 0; run < RUNS_MIN || now() - start < SECONDS; run++) {
        const double begin = now();
        kg_thread_pool_run(device->pool, read_piece, &reading, (uint32_t)(bytes / PIECE_BYTES));
        const double rate = (double)bytes / (now() - begin);
        best = rate > best ? rate : best;
    }
    kg_memory_unmap(&memory, &device->memory);
    return best;
}
