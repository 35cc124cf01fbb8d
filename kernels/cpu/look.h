/* What a row of queries sees of a view, and its queries as they meet the keys of a span. */
#ifndef KG_KERNELS_CPU_LOOK_H
#define KG_KERNELS_CPU_LOOK_H

#include "kernels/cpu/device.h"

/* Finds the angles that kg_cpu_turn needs. False (and device->failed) when there is no memory. */
bool kg_cpu_turn_begin(struct kg_device *, const struct kg_view *, const struct kg_rope *, int32_t position, uint32_t rows);

/* out (group, head_size): those query heads of row `row` of q that look at a KV head, rotated for the keys of a span and
 * multiplied by `factor`. */
void kg_cpu_turn(const struct kg_isa *, const struct kg_view *, uint32_t span, const struct kg_attention *, const float *q, uint32_t row,
                 uint32_t kv_head, float factor, float *out);

/* Keys of the span that a row sees: so many from its first one on. */
static inline uint32_t kg_cpu_visible(const struct kg_span *span, int64_t position)
{
    const int64_t n = position - span->base + 1;
    return n <= 0 ? 0 : n < span->tokens ? (uint32_t)n : span->tokens;
}

/* Fills in, for all pages of the view and the row at `position`, the slots whose tokens may be chosen (backend.h: neither in
 * S nor in L, and in the index): begin .. end-1, both 0 if there are none. All others are always looked at, as far as they
 * are visible. Returns the number of tokens that may be chosen. */
uint32_t kg_cpu_choosable(struct kg_slots *pages, const struct kg_kv *, uint32_t layer, const struct kg_view *, const struct kg_look *,
                          int64_t position);

/* Slots of the view, counted over its pages, that a row looks at, in their order: the visible ones that are not choosable,
 * and those of the chosen tokens (k numbers as attend_chosen takes them) that are. Returns their number. */
uint32_t kg_cpu_list(uint32_t *slots, const struct kg_slots *choosable, const struct kg_view *, const int32_t *chosen, uint32_t k,
                     int64_t position);

/* One row and those of its query heads that look at one KV head. */
struct kg_cpu_row {
    const struct kg_isa *isa;
    const struct kg_kv *kv;
    const struct kg_view *view;
    const struct kg_attention *attention;
    const float *q; /* of all rows and heads */
    uint32_t layer, row, kv_head;
};

/* What is computed of at most KG_LISTED slots at a time. */
#define KG_LISTED       128
#define KG_LISTED_FLOATS (KG_LISTED + 16) /* for scores of a query */

struct kg_cpu_listed {
    struct kg_listed keys; /* scores and stride are the caller's */
    const uint16_t *key[KG_LISTED + KG_KEYS_AHEAD], *value[KG_LISTED];
    uint16_t *halves; /* the caller's: room for keys or values that are kept otherwise */
};

/* Elements of `halves`; 0 where they are kept as f16. */
static inline size_t kg_cpu_listed_halves(const struct kg_kv *kv)
{
    return kv->shape.type == KG_KV_F16 ? 0 : (size_t)KG_LISTED * kv->shape.head_size;
}

/* Fills in keys and values and computes scores of n slots; `following` more are behind them, for a later call. q: scratch for
 * the query heads of a KV head twice, in fours. */
void kg_cpu_score_listed(const struct kg_cpu_row *, const uint32_t *slots, uint32_t n, uint32_t following, float *q, struct kg_cpu_listed *);

/* Afterwards: sums of the values by what the scores have become. acc as in listed_values. */
void kg_cpu_add_listed(const struct kg_cpu_row *, const uint32_t *slots, struct kg_cpu_listed *, float *acc, uint32_t padded);

#endif
