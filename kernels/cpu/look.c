#include "kernels/cpu/look.h"

bool kg_cpu_turn_begin(struct kg_device *device, const struct kg_view *view, const struct kg_rope *rope, int32_t position, uint32_t rows)
{
    for (uint32_t i = 0; i < view->n_spans; i++) {
        const struct kg_span *span = &view->spans[i];
        view->ranges[i] = (struct kg_angle_range){ .first = (int64_t)position - span->base + span->local, .count = rows };
    }
    if (kg_angles_find(&device->angles, rope, view->ranges, view->n_spans, device->pool, &device->memory, NULL)) {
        device->failed = true;
        return false;
    }
    return true;
}

void kg_cpu_turn(const struct kg_isa *isa, const struct kg_view *view, uint32_t span, const struct kg_attention *a, const float *q, uint32_t row,
                 uint32_t kv_head, float *out)
{
    const uint32_t group = a->heads / a->kv_heads;
    const float *angles = view->ranges[span].rows;
    const float *cosines = angles ? angles + (size_t)row * 2 * a->rope->pairs : NULL;
    isa->rotate(out, q + ((size_t)row * a->heads + (size_t)kv_head * group) * a->head_size, group, a->head_size, a->rope->layout, a->rope->pairs,
                cosines, cosines ? cosines + a->rope->pairs : NULL, a->scale);
}

static uint32_t clamped(int64_t n, uint32_t most)
{
    return n <= 0 ? 0 : n < most ? (uint32_t)n : most;
}

uint32_t kg_cpu_choosable(struct kg_choosable *pages, const struct kg_kv *kv, uint32_t layer, const struct kg_view *view, const struct kg_look *look,
                          int64_t position)
{
    uint32_t total = 0;
    for (uint32_t i = 0; i < view->n_spans; i++) {
        const struct kg_span *span = &view->spans[i];
        const uint32_t begin = clamped((int64_t)look->sinks - span->base, span->tokens);
        const uint32_t end = clamped(position - look->window - span->base + 1, span->tokens);
        for (uint32_t t = 0; t < span->tokens; t += KG_PAGE, pages++) {
            *pages = (struct kg_choosable){ 0, 0 };
            if (begin >= t + KG_PAGE || end <= t)
                continue;
            const uint8_t indexed = *kg_cpu_indexed_at(kv, span->pages[t / KG_PAGE], layer);
            const uint32_t first = begin > t ? begin - t : 0, last = end - t < indexed ? end - t : indexed;
            if (first >= last)
                continue;
            *pages = (struct kg_choosable){ (uint8_t)first, (uint8_t)last };
            total += last - first;
        }
    }
    return total;
}
