/* Weights as the kernels of this backend want them.
 *
 * 16 rows of a matrix (16 results) stand side by side: a tile. Vector lane l of every load belongs to row l, so
 * a row's sum grows in its own lane and no lanes are ever added together. A tile is a sequence of records along
 * the columns, all tiles stand one behind the other, and decoding reads the whole from the first byte to the last.
 *
 * Quantised types keep their codes as unsigned numbers u and their bits per code. A step is 32 columns. Columns
 * 4g .. 4g+3 of a step (group g = 0..7) fill the 32 bits of a lane, the unit of vpdpbusd:
 *
 *   codes, 4 bits (256 bytes): vector p = 0..3; byte j of lane l has column 4p+j of row l in its low half
 *                              and column 4(p+4)+j in its high half
 *   codes, 8 bits (512 bytes): vector g = 0..7; byte j of lane l is column 4g+j (Q8_0: plus 128)
 *   plane, 1 bit  (64 bytes):  bit g of byte j of lane l is the fifth bit of column 4g+j
 *   plane, 2 bits (128 bytes): vector h = 0..1; bits 2i and 2i+1 of byte j of lane l are the bits above the
 *                              fourth of column 4(4h+i)+j
 *
 * Records, each a multiple of 64 bytes (f16 x 16 is one number per lane):
 *
 *   Q4_0 Q5_0 Q8_0   2 steps: { f16 d x 16 } of both, codes of both, planes of both
 *   Q4_1 Q5_1        1 step:  f16 d x 16, f16 m x 16, codes, plane
 *   Q4_K Q5_K        8 steps: f16 d x 16, f16 dmin x 16, { u8 scale x 16 } of all, { u8 min x 16 } of all, codes, planes
 *   Q6_K             8 steps: f32 d x 16, { i8 scale x 16 } of all half steps, codes, planes
 *   F32 F16 BF16     1 column: the number x 16
 *
 * Rows and steps that the matrix does not have are zero. Bytes compared with the file: Q4_K +2.8 %, Q5_K +2.3 %,
 * Q6_K +1 %, others none.
 */
#ifndef KG_KERNELS_CPU_PACKED_H
#define KG_KERNELS_CPU_PACKED_H

#include <stddef.h>
#include <stdint.h>

#include "kernels/backend.h"

#define KG_LANES 16 /* rows in a tile */
#define KG_STEP  32 /* columns in a step, and those that share a scale in quantised activations */

/* Where the parts of a record are, in bytes from its start; sizes are for one step. */
struct kg_packed_layout {
    uint32_t columns; /* in a record */
    uint32_t bytes;   /* of a record */
    uint32_t codes, code_bytes;
    uint32_t plane, plane_bytes;
};

enum {
    /* start of the codes in a record: behind the scales */
    KG_CODES_PAIR = 64,
    KG_CODES_SINGLE = 64,
    KG_CODES_K = 320,
    /* start of scales and of mins (Q6_K: scales only) of the K types */
    KG_SCALES_K = 64,
    KG_MINS_K = 192
};

/* A known type's layout. Here, so that kernels that are compiled for one type see constants. */
static inline struct kg_packed_layout kg_packed_layout(enum kg_type type)
{
    switch (type) {
    case KG_F32:
        return (struct kg_packed_layout){ .columns = 1, .bytes = 64 };
    case KG_F16:
    case KG_BF16:
        return (struct kg_packed_layout){ .columns = 1, .bytes = 32 };
    case KG_Q4_0:
        return (struct kg_packed_layout){ 64, 64 + 512, KG_CODES_PAIR, 256, 0, 0 };
    case KG_Q5_0:
        return (struct kg_packed_layout){ 64, 64 + 640, KG_CODES_PAIR, 256, 64 + 512, 64 };
    case KG_Q8_0:
        return (struct kg_packed_layout){ 64, 64 + 1024, KG_CODES_PAIR, 512, 0, 0 };
    case KG_Q4_1:
        return (struct kg_packed_layout){ 32, 64 + 256, KG_CODES_SINGLE, 256, 0, 0 };
    case KG_Q5_1:
        return (struct kg_packed_layout){ 32, 64 + 320, KG_CODES_SINGLE, 256, 64 + 256, 64 };
    case KG_Q4_K:
        return (struct kg_packed_layout){ 256, 320 + 2048, KG_CODES_K, 256, 0, 0 };
    case KG_Q5_K:
        return (struct kg_packed_layout){ 256, 320 + 2560, KG_CODES_K, 256, 320 + 2048, 64 };
    case KG_Q6_K:
        return (struct kg_packed_layout){ 256, 320 + 3072, KG_CODES_K, 256, 320 + 2048, 128 };
    }
    return (struct kg_packed_layout){ 0 };
}

/* The code that stands for the middle of the range: for types without a minimum the number 0. */
static inline int32_t kg_packed_zero(enum kg_type type)
{
    switch (type) {
    case KG_Q4_0:
    case KG_Q4_1:
    case KG_Q4_K:
        return 8;
    case KG_Q5_0:
    case KG_Q5_1:
    case KG_Q5_K:
        return 16;
    case KG_Q6_K:
        return 32;
    case KG_Q8_0:
        return 128;
    default:
        return 0;
    }
}

uint32_t kg_packed_records(enum kg_type type, uint32_t cols);
size_t kg_packed_tile_bytes(enum kg_type type, uint32_t cols);

/* Packs rows 16 tile .. of a (rows, cols) tensor in file order; the last tile is filled with zero rows. */
void kg_pack_tile(enum kg_type type, uint32_t rows, uint32_t cols, const void *blocks, uint32_t tile, void *out);

/* Lane `lane` of a tile as numbers, exact: cols of them. */
void kg_unpack_row(enum kg_type type, uint32_t cols, const void *tile, uint32_t lane, double *out);

#endif
