/* The key index of a page as the kernels of this backend want it: for one layer and KV head a piece of
 * kg_index_form.bytes. The contents are those that backend.h defines, in another order.
 *
 * A word is 4 codes of one token in the bytes of 32 bits, the unit of vpdpbusd. 64 bytes hold words of 16 tokens, one
 * beside the other and up to 8 of them one above the other in the bits, so that a shift and a mask give them:
 *
 *   codes  u8  (head_size * bits / 32, 2, 16, 4): quad of bytes Q, half of the page, token of the half, byte b
 *              = byte 4 Q + b of that token in backend.h's layout; word i of the quad is (code >> i bits) & mask
 *   m      f16 (positions)
 *   e      u8  (positions)
 *
 * Channels of m and e, and of queries that meet them, stand at positions such that lanes become words: what meets byte b
 * of word 4 s + x stands at position 16 s + 4 b + x. (With 2 bits that is the channel's own number.) Positions without a
 * channel hold 0.
 *
 * Queries meet keys and indexes in fours: (queries / 4, elements / 4, 4 queries, 4 elements), so that a vector holds 4
 * elements of each, and few additions of lanes are left at the end. Queries that are not there are 0. */
#ifndef KG_KERNELS_CPU_KEY_INDEX_H
#define KG_KERNELS_CPU_KEY_INDEX_H

#include <stddef.h>
#include <stdint.h>

#include "kernels/backend.h"

#define KG_INDEX_NO_CHANNEL UINT16_MAX

struct kg_index_form {
    uint32_t head_size, bits;
    uint32_t words;     /* of a token: head_size / 4 */
    uint32_t positions; /* head_size rounded up to a multiple of 32 */
    size_t scales;      /* where m begins */
    size_t bytes;       /* a multiple of 64 */
    uint16_t channel[KG_HEAD_MAX]; /* that stands at a position */
    double reach[256];  /* step[e] * (2^bits - 1) */
    double step[256];
};

/* From a shape with index_bits. */
void kg_index_form(struct kg_index_form *form, const struct kg_kv_shape *shape);

/* One layer and KV head from and to the layout of backend.h (KG_INDEX_HEAD_BYTES). */
void kg_index_from_host(const struct kg_index_form *form, uint8_t *index, const uint8_t *host);
void kg_index_to_host(const struct kg_index_form *form, uint8_t *host, const uint8_t *index);

/* Queries (n, head_size) in fours, by elements, and by positions. */
void kg_queries_in_fours(float *out, const float *q, uint32_t n, uint32_t head_size);
void kg_index_queries(const struct kg_index_form *form, float *out, const float *q, uint32_t n);

/* Floats of n queries in fours. */
static inline size_t kg_fours(uint32_t n, uint32_t elements)
{
    return ((size_t)n + 3) / 4 * 4 * elements;
}

/* Byte `group` of token `slot` in backend.h's layout: where it stands in the piece. */
static inline size_t kg_index_code_at(uint32_t group, uint32_t slot)
{
    return ((size_t)(group / 4) * 2 + slot / 16) * 64 + (size_t)(slot % 16) * 4 + group % 4;
}

#endif
