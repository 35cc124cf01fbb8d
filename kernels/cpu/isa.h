/* What one instruction set has to offer: the inner loops of all operations, as a table that is chosen when the
 * device is opened. They work on plain memory and in one thread; device.c and its neighbours cut the work.
 *
 * All tables give the same bits. Sums of f32 are formed in 16 lanes in the same order (two vectors of 8 in
 * AVX2), products are fused where the source says so and nowhere else, and sums of products of codes are integers.
 */
#ifndef KG_KERNELS_CPU_ISA_H
#define KG_KERNELS_CPU_ISA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kernels/cpu/key_index.h"
#include "kernels/cpu/packed.h"

/* An integer below 2^22 (or its negative) plus KG_LIFT is as bits the f32 number KG_LIFTED plus that integer. */
#define KG_LIFT   0x4b400000
#define KG_LIFTED 12582912.0F

/* Rows of activations rounded to 8 bits per step: x = scale * q, scale = max |x| / 127.
 *
 * Rows are in groups that one pass of a kernel takes: of KG_GROUP rows as long as there are so many, then 8 if more are
 * left, then what is left. Numbers of step s of row r in the group of n rows from row f on stand at index
 * f * steps + s * n + (r - f);
 * in q these are 32 bytes each, in half_sums and offsets 2 numbers each. */
#define KG_GROUP 16
struct kg_activations {
    uint32_t rows, cols;
    uint32_t steps; /* of KG_STEP columns, rounded up to an even number; a step behind the last column is zero */
    int8_t *q;
    float *scales;
    float *sums;         /* of x */
    int32_t *half_sums;  /* of q over the columns 0..15 and 16..31 */
    /* What integer sums start from: KG_LIFT - zero times the sum of q. For Q6_K of the first half, then, without KG_LIFT, of
     * the second; else of the step. */
    int32_t *offsets;
};

/* The group that holds a row: its first row and its number of rows. */
static inline void kg_activations_group(uint32_t rows, uint32_t row, uint32_t *first, uint32_t *n)
{
    const uint32_t whole = rows / KG_GROUP * KG_GROUP, eight = rows - whole > 8 ? whole + 8 : whole;
    *first = row < whole ? row / KG_GROUP * KG_GROUP : row < eight ? whole : eight;
    *n = row < whole ? KG_GROUP : row < eight ? 8 : rows - eight;
}

/* out (rows of x, w_rows) = x * w^T + bias for a range of tiles and of rows. */
struct kg_product {
    const uint8_t *tiles;
    size_t tile_bytes;
    uint32_t records; /* in a tile */
    uint32_t w_rows, cols;
    const struct kg_activations *x; /* quantised weights */
    const float *plain_x;           /* F32, F16, BF16 */
    uint32_t rows;
    float *out;
    const float *bias; /* or NULL */
};

/* Query heads that look at one KV head: what attention computes for keys 0 .. KG_SEGMENT-1 from a segment's start. */
#define KG_SEGMENT_PAGES 16
#define KG_SEGMENT       (KG_SEGMENT_PAGES * KG_PAGE)

struct kg_segment {
    const uint16_t *keys[KG_SEGMENT_PAGES]; /* (KG_PAGE, head_size) each */
    const uint16_t *values[KG_SEGMENT_PAGES];
    uint32_t head_size, padded_size; /* padded to a multiple of 16 */
    uint32_t queries;
    const float *q;          /* (queries, head_size), rotated and scaled */
    const uint32_t *visible; /* keys that each query sees, 0 .. KG_SEGMENT */
    float soft_cap;
    float *scores; /* scratch (queries, KG_SEGMENT) */
    float *tile;   /* scratch (head_size, KG_PAGE) */
    /* Results: w[t] = exp(s[t] - max), max, the sum of w, and acc[d] = sum of w[t] v[t][d] (queries, padded_size).
     * A query that sees nothing has sum 0, and its max and acc mean nothing. */
    float *max, *sum, *acc;
};

#define KG_LOG2_E 1.44269504F

/* Slots begin .. end-1 of a page. */
struct kg_slots {
    uint8_t begin, end;
};

/* Queries that meet the index of some pages of a segment. Scores are in units of log2, less a reference for each query. */
struct kg_index_scan {
    const struct kg_index_form *form;
    const uint8_t *const *index; /* of at most KG_SEGMENT_PAGES pages, one layer and KV head */
    const uint8_t *const *ahead; /* what is likely to be scanned next, to be fetched */
    uint32_t pages, ahead_pages, queries;
    const float *q; /* (queries, positions of the form) in fours, rotated and scaled, also by log2 e unless there is a soft cap */
    const float *references;
    float soft_cap;
    const struct kg_slots *ranges; /* of each query in the only page; NULL for all slots */
    float *scores; /* result (queries, pages, KG_PAGE); queries are `stride` apart */
    size_t stride;
    float *sums; /* (queries, 16): 2^score of those slots is added, to lane slot % 16 */
};

/* 2^(i / 8), i = 0 .. 7 */
#define KG_EIGHTHS                                                                                             \
    1, 1.0905077326652577F, 1.189207115002721F, 1.2968395546510096F, 1.4142135623730951F, 1.5422108254079408F, \
        1.681792830507429F, 1.8340080864093424F

/* Queries that look at n keys, which may stand anywhere. Keys are fetched KG_KEYS_AHEAD before they are needed. */
#define KG_KEYS_AHEAD 8
struct kg_listed {
    const uint16_t *const *keys; /* head_size each */
    const uint16_t *const *values; /* may be NULL for scores alone */
    uint32_t n, head_size, queries; /* head_size a multiple of 4 */
    uint32_t following;             /* keys behind them, that are looked at next: to be fetched */
    const float *q; /* (queries, head_size) in fours (key_index.h), rotated and scaled */
    float *scores;  /* (queries, n, and up to 15 behind, which change); rows are `stride` apart */
    size_t stride;
};

struct kg_isa {
    const char *name;     /* as in options->instructions */
    const char *describe; /* for people */

    void (*quantise)(struct kg_activations *out, const float *x, uint32_t row); /* x: that row */
    /* By enum kg_type: tiles and rows from begin to end; begins of rows are multiples of 16. */
    void (*products[KG_BF16 + 1])(const struct kg_product *, uint32_t tile_begin, uint32_t tile_end, uint32_t row_begin,
                                  uint32_t row_end);

    void (*rmsnorm)(float *out, const float *x, const float *weight, float eps, uint32_t cols);
    void (*add)(float *x, const float *y, size_t n);
    void (*silu_mul)(float *out, const float *gate, const float *up, size_t n);
    /* out (n heads of head_size) = factor * (x turned by the angles): cosine and sine of each pair. out may be x. */
    void (*rotate)(float *out, const float *x, uint32_t heads, uint32_t head_size, enum kg_rope_layout layout, uint32_t pairs,
                   const float *cosines, const float *sines, float factor);
    void (*to_f16)(uint16_t *out, const float *x, size_t n);
    /* n numbers kept as KG_KV_Q8_0, n a multiple of 32. */
    void (*expand_q8_0)(uint16_t *out, const uint8_t *blocks, size_t n);
    void (*segment)(const struct kg_segment *);
    /* Joins a segment's result (m, s, a) to those before it (max, sum, acc of n elements); s > 0. */
    void (*join)(float *max, float *sum, float *acc, float m, float s, const float *a, uint32_t n);
    void (*divide)(float *out, const float *acc, float sum, uint32_t n);
    /* Fills in the index of a page's keys (KG_PAGE, head_size); false, and no index, if one of them is not finite. */
    bool (*index_page)(const struct kg_index_form *, uint8_t *out, const uint16_t *keys, uint32_t tokens);
    void (*index_scan)(const struct kg_index_scan *);
    void (*sum_lanes)(float *out, const float *sums, uint32_t n); /* of n times 16 lanes */
    void (*listed_scores)(const struct kg_listed *);
    /* Caps scores and turns them into weights exp(s - max): max and sum of each query. */
    void (*listed_weights)(const struct kg_listed *, float soft_cap, float *max, float *sum);
    void (*listed_values)(const struct kg_listed *, float *acc, uint32_t padded); /* acc (queries, padded) = weights * values */
    /* Caps n scores and gives their maximum and the sum of exp(s - max). */
    void (*sum_exp)(float *scores, uint32_t n, float soft_cap, float *max, float *sum);
    /* The largest of n maxima, and the sum for it. */
    float (*join_sums)(const float *max, const float *sum, uint32_t n, float *most);
    /* out[t] = max over queries of scores[query][t] - log_sums[query], at least -FLT_MAX; NaN is left out. n is rounded up to
     * a multiple of 16. */
    void (*rank)(float *out, const float *scores, size_t stride, const float *log_sums, uint32_t queries, uint32_t n);
    /* Lane by lane the maximum of `each` vectors of 16 after the other (the last may be fewer). No NaN. */
    void (*maxima)(float *out, const float *x, uint32_t vectors, uint32_t each);
    uint32_t (*count_above)(const float *x, uint32_t vectors, float least); /* above or equal */
    /* Appends to `ids` the indices of elements above or equal to `least` from begin on, until there are `capacity`
     * of them or n is reached; returns where it stopped. *count grows; what lies behind them may change. NaN is above
     * nothing. */
    uint32_t (*find_above)(const float *x, uint32_t begin, uint32_t n, float least, uint32_t *ids, uint32_t *count, uint32_t capacity);
    uint64_t (*read_all)(const void *bits, size_t bytes); /* bytes a multiple of 512, aligned to 64 */
};

extern const struct kg_isa kg_isa_avx2, kg_isa_avxvnni, kg_isa_avx512;

#endif
