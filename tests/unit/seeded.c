#include "tests/unit/seeded.h"

#include <math.h>

uint64_t seeded_bits(uint64_t *seed)
{
    uint64_t z = *seed += 0x9e3779b97f4a7c15U;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9U;
    z = (z ^ z >> 27) * 0x94d049bb133111ebU;
    return z ^ z >> 31;
}

uint32_t seeded_below(uint64_t *seed, uint32_t limit)
{
    return (uint32_t)((seeded_bits(seed) >> 32) * limit >> 32);
}

double seeded_uniform(uint64_t *seed, double low, double high)
{
    return low + (high - low) * ((double)(seeded_bits(seed) >> 11) * 0x1p-53);
}

double seeded_normal(uint64_t *seed)
{
    double radius = sqrt(-2 * log(1 - seeded_uniform(seed, 0, 1)));
    return radius * cos(seeded_uniform(seed, 0, 2 * 3.14159265358979323846));
}

void seeded_normals(uint64_t *seed, double deviation, float *out, size_t n)
{
    for (size_t i = 0; i < n; i++)
        out[i] = (float)(deviation * seeded_normal(seed));
}

void seeded_shuffle(uint64_t *seed, uint32_t *numbers, size_t n)
{
    for (size_t i = n; i > 1; i--) {
        size_t j = seeded_below(seed, (uint32_t)i);
        uint32_t swapped = numbers[i - 1];
        numbers[i - 1] = numbers[j];
        numbers[j] = swapped;
    }
}
