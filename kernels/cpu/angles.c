#include "kernels/cpu/angles.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* What is kept, unless one call needs more. */
#define KEPT_FLOATS ((size_t)2 << 20)
#define KEPT_RANGES 4096

static bool same_rope(const struct kg_rope *a, const struct kg_rope *b)
{
    bool same = a->pairs == b->pairs && a->scale == b->scale;
    for (uint32_t j = 0; same && j < a->pairs; j++)
        same = a->frequency[j] == b->frequency[j];
    return same;
}

void kg_angles_clear(struct kg_angles *angles, atomic_size_t *memory)
{
    free(angles->kept);
    kg_memory_unmap(&angles->numbers, memory);
    *angles = (struct kg_angles){ 0 };
}

/* Place of the first kept range that does not stand before (first, count). */
static uint32_t place_of(const struct kg_angles *angles, const struct kg_angle_range *range)
{
    uint32_t low = 0, high = angles->n;
    while (low < high) {
        const uint32_t middle = low + (high - low) / 2;
        const struct kg_angle_range *kept = &angles->kept[middle];
        if (kept->first < range->first || (kept->first == range->first && kept->count < range->count))
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static const struct kg_angle_range *kept_range(const struct kg_angles *angles, const struct kg_angle_range *range)
{
    const uint32_t at = place_of(angles, range);
    const struct kg_angle_range *kept = &angles->kept[at];
    return at < angles->n && kept->first == range->first && kept->count == range->count ? kept : NULL;
}

static void forget(struct kg_angles *angles, const struct kg_rope *rope)
{
    angles->rope = *rope;
    angles->known = true;
    angles->n = 0;
    angles->used = 0;
}

/* Room for so many more ranges and numbers. Numbers never move while ranges point at them: what is kept is forgotten. */
static enum kg_status make_room(struct kg_angles *angles, const struct kg_rope *rope, uint32_t ranges, size_t floats, atomic_size_t *memory,
                                struct kg_error *err)
{
    if (angles->n + ranges > angles->capacity) {
        const uint32_t capacity = 2 * (angles->n + ranges);
        struct kg_angle_range *grown = realloc(angles->kept, capacity * sizeof *grown);
        if (!grown)
            return kg_fail_nomem(err, "computing the angles of positions");
        angles->kept = grown;
        angles->capacity = capacity;
    }
    if ((angles->used + floats) * sizeof(float) <= angles->numbers.bytes)
        return KG_OK;
    forget(angles, rope);
    kg_memory_unmap(&angles->numbers, memory);
    const size_t enough = 2 * floats > KEPT_FLOATS ? 2 * floats : KEPT_FLOATS;
    return kg_memory_map(&angles->numbers, enough * sizeof(float), memory, "computing the angles of positions", err);
}

struct fill {
    const struct kg_rope *rope;
    int64_t first;
    float *out;
};

static void fill_position(void *context, uint32_t piece, uint32_t thread)
{
    (void)thread;
    const struct fill *fill = context;
    const uint32_t pairs = fill->rope->pairs;
    float *cosines = fill->out + (size_t)piece * 2 * pairs, *sines = cosines + pairs;
    for (uint32_t j = 0; j < pairs; j++) {
        const double angle = (double)(fill->first + piece) * fill->rope->frequency[j], scale = (double)fill->rope->scale;
        cosines[j] = (float)(scale * cos(angle));
        sines[j] = (float)(scale * sin(angle));
    }
}

static const float *compute(struct kg_angles *angles, const struct kg_angle_range *range, struct kg_thread_pool *pool)
{
    struct fill fill = { &angles->rope, range->first, (float *)angles->numbers.bits + angles->used };
    kg_thread_pool_run(pool, fill_position, &fill, range->count);
    const uint32_t at = place_of(angles, range);
    memmove(&angles->kept[at + 1], &angles->kept[at], (angles->n - at) * sizeof *angles->kept);
    angles->kept[at] = *range;
    angles->kept[at].rows = fill.out;
    angles->n++;
    angles->used += (size_t)range->count * 2 * angles->rope.pairs;
    return fill.out;
}

enum kg_status kg_angles_find(struct kg_angles *angles, const struct kg_rope *rope, struct kg_angle_range *ranges, uint32_t n,
                              struct kg_thread_pool *pool, atomic_size_t *memory, struct kg_error *err)
{
    for (uint32_t i = 0; i < n; i++)
        ranges[i].rows = NULL;
    if (rope->layout == KG_ROPE_NONE || rope->pairs == 0)
        return KG_OK;
    assert(rope->pairs <= KG_HEAD_MAX / 2);
    if (!angles->known || !same_rope(&angles->rope, rope) || angles->n > KEPT_RANGES + n)
        forget(angles, rope);
    size_t missing = 0, floats = 0;
    for (uint32_t i = 0; i < n; i++) {
        const bool known = kept_range(angles, &ranges[i]) != NULL;
        missing += known ? 0 : (size_t)ranges[i].count * 2 * rope->pairs;
        floats += (size_t)ranges[i].count * 2 * rope->pairs;
    }
    if (missing) {
        const bool fits = (angles->used + missing) * sizeof(float) <= angles->numbers.bytes;
        enum kg_status status = make_room(angles, rope, n, fits ? missing : floats, memory, err);
        if (status)
            return status;
    }
    for (uint32_t i = 0; i < n; i++) {
        const struct kg_angle_range *kept = kept_range(angles, &ranges[i]);
        ranges[i].rows = kept ? kept->rows : compute(angles, &ranges[i], pool);
    }
    return KG_OK;
}
