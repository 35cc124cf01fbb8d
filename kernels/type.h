/* Half-precision numbers (IEEE 754 binary16) and bfloat16, exact: for reference and tests; numbers of 8 bits as all write them.
 * What a GGUF type is in whole is in kernels/backend.h (kg_type_layout, kg_type_name, kg_dequantise). */
#ifndef KG_KERNELS_TYPE_H
#define KG_KERNELS_TYPE_H

#include <math.h>
#include <stdint.h>
#include <string.h>

/* Exponent and fraction moved to their places in an f32 give the value times 2^-112, subnormals included. */
static inline double kg_f16_to_double(uint16_t bits)
{
    uint32_t moved = (bits & 0x7fffU) << 13;
    float tiny;
    memcpy(&tiny, &moved, sizeof tiny);
    double magnitude = (double)tiny * 0x1p112;
    if ((bits & 0x7c00) == 0x7c00)
        magnitude = bits & 0x3ff ? (double)NAN : (double)INFINITY;
    return bits & 0x8000 ? -magnitude : magnitude;
}

/* Nearest, ties to even; beyond 65504 rounded as IEEE 754 says (65520 and up are infinite); NaN becomes a quiet NaN. */
uint16_t kg_f16_from_double(double x);

double kg_bf16_to_double(uint16_t bits);

/* n numbers (a multiple of 32) as keys and values are kept as Q8_0 (kernels/backend.h): n / 32 times 34 bytes. */
void kg_q8_0_from_double(uint8_t *out, const double *x, size_t n);

#endif
