/* Cosines and sines of rotary positions, kept from layer to layer.
 *
 * A batch needs the same few ranges of positions in every layer: those at which its keys are stored, and for each
 * span in view those to which its queries are turned. Each range is computed once (in double, on all threads) and
 * found again as long as the rotation stays the same.
 */
#ifndef KG_KERNELS_CPU_ANGLES_H
#define KG_KERNELS_CPU_ANGLES_H

#include <stdbool.h>

#include "kernels/backend.h"
#include "kernels/cpu/memory.h"
#include "kernels/thread_pool.h"

/* Positions first .. first+count-1. */
struct kg_angle_range {
    int64_t first;
    uint32_t count;
    /* Set by kg_angles_find, valid until its next call: for each position `pairs` cosines, then as many sines, all
     * times rope->scale. NULL for KG_ROPE_NONE. */
    const float *rows;
};

struct kg_angles {
    struct kg_rope rope; /* what the numbers are for */
    bool known;
    struct kg_angle_range *kept; /* sorted by first, then count */
    uint32_t n, capacity;
    struct kg_memory numbers;
    size_t used; /* floats */
};

/* Fills in the rows of n ranges. *memory counts bytes. */
enum kg_status kg_angles_find(struct kg_angles *, const struct kg_rope *, struct kg_angle_range *ranges, uint32_t n,
                              struct kg_thread_pool *, atomic_size_t *memory, struct kg_error *err);

void kg_angles_clear(struct kg_angles *, atomic_size_t *memory);

#endif
