/* What a row of queries sees of a view, and its queries as they meet the keys of a span. */
#ifndef KG_KERNELS_CPU_LOOK_H
#define KG_KERNELS_CPU_LOOK_H

#include "kernels/cpu/device.h"

/* Finds the angles that kg_cpu_turn needs. False (and device->failed) when there is no memory. */
bool kg_cpu_turn_begin(struct kg_device *, const struct kg_view *, const struct kg_rope *, int32_t position, uint32_t rows);

/* out (group, head_size): those query heads of row `row` of q that look at a KV head, rotated for the keys of a span and
 * multiplied by the scale of scores. */
void kg_cpu_turn(const struct kg_isa *, const struct kg_view *, uint32_t span, const struct kg_attention *, const float *q, uint32_t row,
                 uint32_t kv_head, float *out);

/* Keys of the span that a row sees: so many from its first one on. */
static inline uint32_t kg_cpu_visible(const struct kg_span *span, int64_t position)
{
    const int64_t n = position - span->base + 1;
    return n <= 0 ? 0 : n < span->tokens ? (uint32_t)n : span->tokens;
}

/* Of a page in view: the slots begin .. end-1 hold tokens that may be chosen (backend.h: neither in S nor in L, and in the
 * index), those before and behind hold such as are always looked at, as far as they are visible. */
struct kg_choosable {
    uint8_t begin, end;
};

/* Fills in all pages of the view for the row at `position`; returns how many tokens may be chosen. */
uint32_t kg_cpu_choosable(struct kg_choosable *pages, const struct kg_kv *, uint32_t layer, const struct kg_view *, const struct kg_look *,
                          int64_t position);

#endif
