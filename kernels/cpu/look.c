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

/* Those of the chosen tokens from *next on that are in first .. last-1; the first one of them stands in a slot. */
static uint32_t list_chosen(uint32_t *slots, uint32_t n, const int32_t *chosen, uint32_t *next, uint32_t end, uint32_t first, uint32_t last,
                            uint32_t slot)
{
    uint32_t i = *next;
    while (i < end && (uint32_t)chosen[i] < first)
        i++;
    for (; i < end && (uint32_t)chosen[i] < last; i++)
        slots[n++] = (uint32_t)chosen[i] + (slot - first);
    *next = i;
    return n;
}

uint32_t kg_cpu_list(uint32_t *slots, const struct kg_slots *choosable, const struct kg_view *view, const int32_t *chosen, uint32_t k,
                     int64_t position)
{
    uint32_t n = 0, next = 0, chosen_end = 0;
    while (chosen_end < k && chosen[chosen_end] >= 0)
        chosen_end++;
    for (uint32_t i = 0; i < view->n_spans; i++) {
        const uint32_t visible = kg_cpu_visible(&view->spans[i], position), first_page = view->places[i].page, first_token = view->places[i].token;
        for (uint32_t t = 0, end; t < visible; t = end) {
            const struct kg_slots *range = &choosable[first_page + t / KG_PAGE];
            const uint32_t slot = first_page * KG_PAGE + t, token = first_token + t;
            for (end = t; end + KG_PAGE <= visible && range->begin == 0 && range->end == KG_PAGE; range++)
                end += KG_PAGE;
            if (end > t) { /* pages that may be chosen whole */
                n = list_chosen(slots, n, chosen, &next, chosen_end, token, first_token + end, slot);
                continue;
            }
            end = visible - t < KG_PAGE ? visible : t + KG_PAGE;
            n = list_range(slots, n, slot, slot + range->begin);
            n = list_chosen(slots, n, chosen, &next, chosen_end, token + range->begin, token + range->end, slot + range->begin);
            n = list_range(slots, n, slot + range->end, slot + (end - t));
        }
    }
    return n;
}

static const uint8_t *row_at(const struct kg_cpu_row *row, uint32_t slot, unsigned value)
{
    const uint32_t page = row->view->pages[slot / KG_PAGE];
    return kg_cpu_kv_at(row->kv, page, row->layer, value, row->kv_head) + slot % KG_PAGE * row->kv->row_bytes;
}

/* Rows that are no f16, as f16. */
static void expand(const struct kg_cpu_row *row, const uint32_t *slots, uint32_t n, unsigned value, const uint16_t **out, uint16_t *halves)
{
    const uint32_t head_size = row->attention->head_size;
    for (uint32_t i = 0; i < n; i++, halves += head_size) {
        const uint8_t *ahead = i + KG_KEYS_AHEAD < n ? row_at(row, slots[i + KG_KEYS_AHEAD], value) : NULL;
        for (size_t at = 0; ahead && at < row->kv->row_bytes; at += 64)
            __builtin_prefetch(ahead + at);
        out[i] = kg_cpu_halves(row->isa, row->kv, row_at(row, slots[i], value), 1, halves);
    }
}

/* Keys of n slots and of `ahead` that are to be fetched behind them, and values. */
static void find(const struct kg_cpu_row *row, const uint32_t *slots, uint32_t n, uint32_t ahead, struct kg_cpu_listed *out)
{
    const size_t head_size = row->attention->head_size, to_value = (size_t)row->kv->shape.kv_heads * KG_PAGE * head_size;
    const uint16_t *keys = NULL;
    for (uint32_t i = 0, page = UINT32_MAX; i < n + ahead; i++) {
        if (slots[i] / KG_PAGE != page) {
            page = slots[i] / KG_PAGE;
            keys = (const uint16_t *)(const void *)row_at(row, page * KG_PAGE, 0);
        }
        out->key[i] = keys + slots[i] % KG_PAGE * head_size;
    }
    for (uint32_t i = 0; i < n; i++)
        out->value[i] = out->key[i] + to_value;
    out->keys.values = out->value;
}

void kg_cpu_score_listed(const struct kg_cpu_row *row, const uint32_t *slots, uint32_t n, uint32_t following, float *q, struct kg_cpu_listed *out)
{
    const struct kg_view *view = row->view;
    const uint32_t head_size = row->attention->head_size;
    const bool f16 = row->kv->shape.type == KG_KV_F16;
    const uint32_t ahead = !f16 ? 0 : following < KG_KEYS_AHEAD ? following : KG_KEYS_AHEAD;
    struct kg_listed *all = &out->keys;
    all->values = NULL;
    if (f16)
        find(row, slots, n, ahead, out);
    else
        expand(row, slots, n, 0, out->key, out->halves);
    all->keys = out->key;
    all->n = n;
    all->head_size = head_size;
    all->queries = row->attention->heads / row->attention->kv_heads;
    all->q = q;
    float *turned = q + kg_fours(all->queries, head_size);
    for (uint32_t begin = 0, end; begin < n; begin = end) {
        const uint32_t span = view->page_spans[slots[begin] / KG_PAGE];
        for (end = begin + 1; end < n && view->page_spans[slots[end] / KG_PAGE] == span; end++) {}
        kg_cpu_turn(row->isa, view, span, row->attention, row->q, row->row, row->kv_head, row->attention->scale, turned);
        kg_queries_in_fours(q, turned, all->queries, head_size);
        struct kg_listed some = *all;
        some.keys += begin;
        some.values = some.values ? some.values + begin : NULL;
        some.scores += begin;
        some.n = end - begin;
        some.following = n + ahead - end;
        row->isa->listed_scores(&some);
    }
}

void kg_cpu_add_listed(const struct kg_cpu_row *row, const uint32_t *slots, struct kg_cpu_listed *listed, float *acc, uint32_t padded)
{
    if (row->kv->shape.type != KG_KV_F16)
        expand(row, slots, listed->keys.n, 1, listed->value, listed->halves);
    listed->keys.values = listed->value;
    row->isa->listed_values(&listed->keys, acc, padded);
}
