/* Half-precision numbers (IEEE 754 binary16) and bfloat16, exact and slow: for reference and tests.
 * What a GGUF type is in whole is in kernels/backend.h (kg_type_layout, kg_type_name, kg_dequantise). */
#ifndef KG_KERNELS_TYPE_H
#define KG_KERNELS_TYPE_H

#include <stdint.h>

double kg_f16_to_double(uint16_t bits);

/* Nearest, ties to even; beyond 65504 rounded as IEEE 754 says (65520 and up are infinite); NaN becomes a quiet NaN. */
uint16_t kg_f16_from_double(double x);

double kg_bf16_to_double(uint16_t bits);

#endif
