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
                 uint32_t kv_head, float factor, float *out)
{
    const uint32_t group = a->heads / a->kv_heads;
    const float *angles = view->ranges[span].rows;
    const float *cosines = angles ? angles + (size_t)row * 2 * a->rope->pairs : NULL;
    isa->rotate(out, q + ((size_t)row * a->heads + (size_t)kv_head * group) * a->head_size, group, a->head_size, a->rope->layout, a->rope->pairs,
                cosines, cosines ? cosines + a->rope->pairs : NULL, factor);
}

static uint32_t clamped(int64_t n, uint32_t most)
{
    return n <= 0 ? 0 : n < most ? (uint32_t)n : most;
}

uint32_t kg_cpu_choosable(struct kg_slots *pages, const struct kg_kv *kv, uint32_t layer, const struct kg_view *view, const struct kg_look *look,
                          int64_t position)
{
    uint32_t total = 0;
    for (uint32_t i = 0; i < view->n_spans; i++) {
        const struct kg_span *span = &view->spans[i];
        const uint32_t begin = clamped((int64_t)look->sinks - span->base, span->tokens);
        const uint32_t end = clamped(position - look->window - span->base + 1, span->tokens);
        for (uint32_t t = 0; t < span->tokens; t += KG_PAGE, pages++) {
            *pages = (struct kg_slots){ 0, 0 };
            if (begin >= t + KG_PAGE || end <= t)
                continue;
            const uint8_t indexed = *kg_cpu_indexed_at(kv, span->pages[t / KG_PAGE], layer);
            const uint32_t first = begin > t ? begin - t : 0, last = end - t < indexed ? end - t : indexed;
            if (first >= last)
                continue;
            *pages = (struct kg_slots){ (uint8_t)first, (uint8_t)last };
            total += last - first;
        }
    }
    return total;
}

static uint32_t list_range(uint32_t *slots, uint32_t n, uint32_t begin, uint32_t end)
{
    for (uint32_t s = begin; s < end; s++)
        slots[n++] = s;
    return n;
}

uint32_t kg_cpu_list(uint32_t *slots, const struct kg_slots *choosable, const struct kg_view *view, const int32_t *chosen, uint32_t k,
                     int64_t position)
{
    uint32_t n = 0, next = 0, chosen_end = 0;
    while (chosen_end < k && chosen[chosen_end] >= 0)
        chosen_end++;
    for (uint32_t i = 0; i < view->n_spans; i++) {
        const uint32_t visible = kg_cpu_visible(&view->spans[i], position);
        for (uint32_t t = 0; t < visible; t += KG_PAGE) {
            const uint32_t page = view->places[i].page + t / KG_PAGE, slot = page * KG_PAGE, token = view->places[i].token + t;
            const struct kg_slots range = choosable[page];
            const uint32_t seen = visible - t < KG_PAGE ? visible - t : KG_PAGE;
            if (range.begin == 0 && range.end == seen && (next == chosen_end || (uint32_t)chosen[next] >= token + seen))
                continue;
            n = list_range(slots, n, slot, slot + range.begin);
            while (next < chosen_end && (uint32_t)chosen[next] < token + range.begin)
                next++;
            for (; next < chosen_end && (uint32_t)chosen[next] < token + range.end; next++)
                slots[n++] = slot + ((uint32_t)chosen[next] - token);
            n = list_range(slots, n, slot + range.end, slot + seen);
        }
    }
    return n;
}

void kg_cpu_score_listed(const struct kg_cpu_row *row, const uint32_t *slots, uint32_t n, uint32_t following, float *q, struct kg_cpu_listed *out)
{
    const struct kg_view *view = row->view;
    const struct kg_kv *kv = row->kv;
    const uint32_t head_size = row->attention->head_size, layer = row->layer, kv_head = row->kv_head;
    const uint32_t ahead = following < KG_KEYS_AHEAD ? following : KG_KEYS_AHEAD;
    const size_t to_value = (size_t)kv->shape.kv_heads * KG_PAGE * head_size;
    for (uint32_t i = 0; i < n + ahead; i++)
        out->key[i] = kg_cpu_kv_at(kv, view->pages[slots[i] / KG_PAGE], layer, 0, kv_head) + (size_t)(slots[i] % KG_PAGE) * head_size;
    for (uint32_t i = 0; i < n; i++)
        out->value[i] = out->key[i] + to_value;
    struct kg_listed *all = &out->keys;
    all->keys = out->key;
    all->values = out->value;
    all->n = n;
    all->head_size = head_size;
    all->queries = row->attention->heads / row->attention->kv_heads;
    all->q = q;
    float *turned = q + kg_fours(all->queries, head_size);
    for (uint32_t begin = 0, end; begin < n; begin = end) {
        const uint32_t span = view->page_spans[slots[begin] / KG_PAGE];
        for (end = begin + 1; end < n && view->page_spans[slots[end] / KG_PAGE] == span; end++) {}
        kg_cpu_turn(row->isa, view, span, row->attention, row->q, row->row, kv_head, row->attention->scale, turned);
        kg_queries_in_fours(q, turned, all->queries, head_size);
        struct kg_listed some = *all;
        some.keys += begin;
        some.values += begin;
        some.scores += begin;
        some.n = end - begin;
        some.following = n + ahead - end;
        row->isa->listed_scores(&some);
    }
}
