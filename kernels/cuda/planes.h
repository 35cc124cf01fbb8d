/* Quantised weights as kernels/cuda keeps them: what a GGUF block holds together lies in planes of their own, aligned for
 * loads of 16 bytes by neighbouring lanes (pack.h). Plain C, used on the host and, for its struct, in kernels.
 *
 * Columns come in groups of 32. The value of an element with code c in a group is
 *
 *   d * scale * (c - middle)  +  m * minimum
 *
 * plane     bytes a group   holds
 * low       16 (32)         4 low bits of codes: byte j has element j in its low half, j + 16 in its high half;
 *                           with 8 bits: the codes, signed
 * high      0, 4, 8         5 bits: bit j is the fifth bit of element j
 *                           6 bits: bits 2w and 2w + 1 of byte b are the high bits of element 4w + b; of 16 + 4w + b in byte 4 + b
 * scale     0, 1, 2         k-quants: the group's 6 bits; with 6 bits: two signed bytes, one for each 16 elements
 * minimum   0, 1            k-quants with a minimum
 * d, m      f16             one a group, k-quants: one for 8 groups. m is minus the file's dmin for k-quants
 */
#ifndef KG_KERNELS_CUDA_PLANES_H
#define KG_KERNELS_CUDA_PLANES_H

#include <stdint.h>

#include "kernels/backend.h"

#ifdef __cplusplus
extern "C" {
#endif

#define KG_GROUP 32 /* columns whose activations share a step */

struct kg_planes {
    uint32_t bits;    /* of a code: 4, 5, 6, 8 */
    uint32_t middle;  /* what is subtracted from a code */
    uint32_t super;   /* 0 or 1 (an argument of kernels has no padding): scales of groups are bytes, d and m stand for 8 groups */
    uint32_t minimum; /* 0 or 1: there is m */
    uint32_t rows, groups;
    size_t low, high, scale, minimums, d, m; /* where planes begin, in bytes; multiples of 256 */
    size_t bytes;
};

/* False for types that have no planes (F32, F16, BF16). cols is a multiple of the type's block. */
bool kg_planes_layout(enum kg_type type, uint32_t rows, uint32_t cols, struct kg_planes *out);

#ifdef __cplusplus
}
#endif
#endif
