/* The key index of a page as the kernels of this backend want it: for one layer and KV head a piece of
 * kg_index_form.bytes. The contents are those that backend.h defines, in another order.
 *
 * A word is 4 codes of one token in the bytes of 32 bits, the unit of vpdpbusd. 64 bytes hold words of 16 tokens, one
 * beside the other and up to 8 of them one above the other in the bits, so that a shift and a mask give them:
 *
 *   m      f16 (positions)
 *   e      u8  (positions)
 *   codes  u8  (head_size * bits / 32, 2, 16, 4): quad of bytes Q, half of the page, token of the half, byte b
 *              = byte 4 Q + b of that token in backend.h's layout; word i of the quad is (code >> i bits) & mask
 *
 * Channels of m and e, and of queries that meet them, stand at positions such that rounding 64 of them to 8 bits and
 * packing them leaves the 16 words that belong to the codes: words 16 B + 4 j + k, byte b, come from position
 * 64 B + 16 k + 4 j + b. Positions without a channel hold 0. */
#ifndef KG_KERNELS_CPU_KEY_INDEX_H
#define KG_KERNELS_CPU_KEY_INDEX_H

#include <stddef.h>
#include <stdint.h>

#include "kernels/backend.h"

#define KG_INDEX_NO_CHANNEL UINT16_MAX

struct kg_index_form {
    uint32_t head_size, bits;
    uint32_t words;     /* of a token: head_size / 4 */
    uint32_t positions; /* head_size rounded up to a multiple of 64 */
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

/* Byte `group` of token `slot` in backend.h's layout: where it stands in the piece. */
static inline size_t kg_index_code_at(const struct kg_index_form *form, uint32_t group, uint32_t slot)
{
    return 3 * (size_t)form->positions + ((size_t)(group / 4) * 2 + slot / 16) * 64 + (size_t)(slot % 16) * 4 + group % 4;
}

#endif
