/* Random numbers that are the same in every run (splitmix64): `seed` is the whole state. */
#ifndef KG_TESTS_SEEDED_H
#define KG_TESTS_SEEDED_H

#include <stddef.h>
#include <stdint.h>

uint64_t seeded_bits(uint64_t *seed);
uint32_t seeded_below(uint64_t *seed, uint32_t limit); /* 0 .. limit-1 */
double seeded_uniform(uint64_t *seed, double low, double high);
double seeded_normal(uint64_t *seed); /* mean 0, deviation 1 */
void seeded_normals(uint64_t *seed, double deviation, float *out, size_t n);
void seeded_shuffle(uint64_t *seed, uint32_t *numbers, size_t n);

#endif
