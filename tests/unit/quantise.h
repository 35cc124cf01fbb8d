/* Makes blocks of every tensor type for tests: from given values, or at random. */
#ifndef KG_TESTS_QUANTISE_H
#define KG_TESTS_QUANTISE_H

#include <stddef.h>
#include <stdint.h>

#include "kernels/backend.h"

/* The types that backends read, all of them. */
#define QUANTISE_TYPES 11
extern const enum kg_type quantise_types[QUANTISE_TYPES];

/* Bytes of n elements (a multiple of the type's block). */
size_t quantise_bytes(enum kg_type type, size_t n);

/* Rounds each value to the nearest code, scales chosen by the largest value of a group. */
void quantise(enum kg_type type, const double *x, size_t n, void *blocks);

/* Blocks with random bits in every code, minor scale and minimum, and finite f16 scales of this kind;
 * F32, F16 and BF16 get normally distributed values of such sizes. */
enum quantise_scales {
    QUANTISE_PLAIN, /* around 0.01, either sign */
    QUANTISE_LARGE, /* up to the largest f16, 65504 */
    QUANTISE_SMALL, /* subnormal f16 */
    QUANTISE_MIXED, /* each block of one of these kinds, or zero */
    QUANTISE_SCALES
};
void quantise_at_random(enum kg_type type, enum quantise_scales scales, uint64_t *seed, size_t n, void *blocks);

/* Sets every byte of codes, leaving scales as they are; nothing for types without codes. */
void quantise_set_codes(enum kg_type type, uint8_t byte, size_t n, void *blocks);

#endif
