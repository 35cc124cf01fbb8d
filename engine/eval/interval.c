#include "engine/eval/eval.h"

#include <stdlib.h>

#define RESAMPLES 10000

/* splitmix64: the same on every machine */
static uint64_t next(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
}

static int by_size(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

void kg_eval_interval(size_t passed, size_t total, uint64_t seed, double *low, double *high)
{
    uint32_t drawn[RESAMPLES];
    const size_t beyond = RESAMPLES / 40; /* on each side */
    *low = *high = 0;
    for (size_t r = 0; r < RESAMPLES && total; r++) {
        drawn[r] = 0;
        for (size_t i = 0; i < total; i++)
            drawn[r] += (size_t)((double)(next(&seed) >> 11) * 0x1p-53 * (double)total) < passed;
    }
    if (!total)
        return;
    qsort(drawn, RESAMPLES, sizeof *drawn, by_size);
    *low = (double)drawn[beyond] / (double)total;
    *high = (double)drawn[RESAMPLES - 1 - beyond] / (double)total;
}
