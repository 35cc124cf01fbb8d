/* Pages of keys and values, and views of them. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "kernels/cpu/device.h"
#include "kernels/type.h"

#define CHUNK_BYTES ((size_t)32 << 20)

enum kg_status kg_cpu_kv_create(struct kg_device *device, const struct kg_kv_shape *shape, struct kg_kv **out, struct kg_error *err)
{
    (void)device;
    assert(shape->layers && shape->kv_heads && shape->head_size && shape->head_size % 2 == 0 && shape->head_size <= KG_HEAD_MAX);
    assert(shape->index_bits * shape->head_size % 32 == 0 && (shape->index_bits < 3 || shape->index_bits == 4));
    assert(shape->type == KG_KV_F16 || shape->head_size % 32 == 0);
    struct kg_kv *kv = calloc(1, sizeof *kv);
    if (!kv)
        return kg_fail_nomem(err, "creating pages of keys and values");
    kv->shape = *shape;
    kv->page_bytes = KG_KV_PAGE_BYTES(shape);
    kv->row_bytes = KG_KV_ROW_BYTES(shape);
    while ((2U << kv->chunk_shift) * kv->page_bytes <= CHUNK_BYTES)
        kv->chunk_shift++;
    kv->chunk_pages = 1U << kv->chunk_shift;
    if (shape->index_bits)
        kg_index_form(&kv->index, shape);
    *out = kv;
    return KG_OK;
}

/* Index of a page and what is held of it in all layers. */
static size_t index_page_bytes(const struct kg_kv *kv)
{
    return kv->shape.index_bits ? kv->shape.layers * (kv->shape.kv_heads * kv->index.bytes + 1) : 0;
}

static void drop_chunk(struct kg_device *device, struct kg_kv *kv, uint32_t i)
{
    kg_memory_unmap(&kv->chunk[i], &device->memory);
    if (kv->shape.index_bits)
        kg_memory_unmap(&kv->index_chunk[i], &device->memory);
}

static enum kg_status map_chunk(struct kg_device *device, struct kg_memory **chunks, uint32_t n, size_t bytes, struct kg_error *err)
{
    static const char what[] = "adding pages of keys and values";
    struct kg_memory *grown = realloc(*chunks, (n + 1) * sizeof *grown);
    if (!grown)
        return kg_fail_nomem(err, what);
    *chunks = grown;
    return kg_memory_map(&grown[n], bytes, &device->memory, what, err);
}

static enum kg_status add_chunk(struct kg_device *device, struct kg_kv *kv, struct kg_error *err)
{
    enum kg_status status = map_chunk(device, &kv->chunk, kv->chunks, kv->chunk_pages * kv->page_bytes, err);
    if (status)
        return status;
    if (kv->shape.index_bits) {
        status = map_chunk(device, &kv->index_chunk, kv->chunks, kv->chunk_pages * index_page_bytes(kv), err);
        if (status) {
            kg_memory_unmap(&kv->chunk[kv->chunks], &device->memory);
            return status;
        }
    }
    kv->chunks++;
    kv->pages += kv->chunk_pages;
    return KG_OK;
}

/* Mapping succeeds far beyond what the machine has, and fails only when a page is written: too late. */
static bool exceeds_memory(const struct kg_kv *kv, uint32_t pages)
{
    long machine_pages = sysconf(_SC_PHYS_PAGES), machine_page = sysconf(_SC_PAGESIZE);
    return machine_pages > 0 && machine_page > 0 &&
           pages > (size_t)machine_pages * (size_t)machine_page / (kv->page_bytes + index_page_bytes(kv));
}

enum kg_status kg_cpu_kv_reserve(struct kg_device *device, struct kg_kv *kv, uint32_t pages, struct kg_error *err)
{
    const uint32_t before = kv->chunks;
    enum kg_status status = KG_OK;
    if (pages > kv->pages && exceeds_memory(kv, pages))
        return kg_fail(err, KG_ERR_NOMEM, "%u pages of keys and values (%zu bytes each) are more than this machine's memory", pages,
                       kv->page_bytes + index_page_bytes(kv));
    while (!status && kv->pages < pages)
        status = add_chunk(device, kv, err);
    while (status && kv->chunks > before) {
        drop_chunk(device, kv, --kv->chunks);
        kv->pages -= kv->chunk_pages;
    }
    return status;
}

void kg_cpu_kv_free(struct kg_device *device, struct kg_kv *kv)
{
    if (!kv)
        return;
    for (uint32_t i = 0; i < kv->chunks; i++)
        drop_chunk(device, kv, i);
    free(kv->chunk);
    free(kv->index_chunk);
    free(kv);
}

enum kg_status kg_cpu_kv_export(struct kg_device *device, const struct kg_kv *kv, uint32_t page, void *host, struct kg_error *err)
{
    memcpy(host, kg_cpu_page_at(kv, page), kv->page_bytes);
    return kg_cpu_wait(device, err);
}

void kg_cpu_kv_import(struct kg_device *device, struct kg_kv *kv, uint32_t page, const void *host)
{
    (void)device;
    memcpy(kg_cpu_page_at(kv, page), host, kv->page_bytes);
}

struct kv_write {
    const struct kg_isa *isa;
    const struct kg_kv *kv;
    const uint32_t *pages;
    const struct kg_rope *rope;
    const float *k, *v, *angles;
    uint32_t layer, first;
};

static void store_row(const struct kv_write *w, uint8_t *row, const float *x)
{
    const uint32_t n = w->kv->shape.head_size;
    double exact[KG_HEAD_MAX];
    if (w->kv->shape.type == KG_KV_F16) {
        w->isa->to_f16((uint16_t *)(void *)row, x, n);
        return;
    }
    for (uint32_t d = 0; d < n; d++)
        exact[d] = (double)x[d];
    kg_q8_0_from_double(row, exact, n);
}

static void write_token(void *context, uint32_t piece, uint32_t thread)
{
    (void)thread;
    const struct kv_write *w = context;
    const uint32_t heads = w->kv->shape.kv_heads, n = w->kv->shape.head_size, t = w->first + piece;
    const float *cosines = w->angles ? w->angles + (size_t)piece * 2 * w->rope->pairs : NULL;
    const float *sines = cosines ? cosines + w->rope->pairs : NULL;
    for (uint32_t h = 0; h < heads; h++) {
        const size_t from = ((size_t)piece * heads + h) * n, to = t % KG_PAGE * w->kv->row_bytes;
        float rotated[KG_HEAD_MAX];
        w->isa->rotate(rotated, w->k + from, 1, n, w->rope->layout, w->rope->pairs, cosines, sines, 1);
        store_row(w, kg_cpu_kv_at(w->kv, w->pages[t / KG_PAGE], w->layer, 0, h) + to, rotated);
        store_row(w, kg_cpu_kv_at(w->kv, w->pages[t / KG_PAGE], w->layer, 1, h) + to, w->v + from);
    }
}

void kg_cpu_kv_write(struct kg_device *device, struct kg_kv *kv, uint32_t layer, const uint32_t *pages, uint32_t first, int32_t local,
                     const struct kg_buffer *k, const struct kg_buffer *v, const struct kg_rope *rope, uint32_t rows)
{
    const size_t n = (size_t)rows * kv->shape.kv_heads * kv->shape.head_size;
    assert(2 * rope->pairs <= kv->shape.head_size || rope->layout == KG_ROPE_NONE);
    struct kg_angle_range range = { .first = (int64_t)local + first, .count = rows };
    if (kg_angles_find(&device->angles, rope, &range, 1, device->pool, &device->memory, NULL)) {
        device->failed = true;
        return;
    }
    struct kv_write write = {
        .isa = device->isa,
        .kv = kv,
        .pages = pages,
        .rope = rope,
        .k = kg_cpu_in(k, n, sizeof(float)),
        .v = kg_cpu_in(v, n, sizeof(float)),
        .angles = range.rows,
        .layer = layer,
        .first = first,
    };
    kg_cpu_index_forget(kv, layer, pages, first, rows);
    kg_thread_pool_run(device->pool, write_token, &write, rows);
}

enum kg_status kg_cpu_view_create(struct kg_device *device, struct kg_view **out, struct kg_error *err)
{
    (void)device;
    *out = calloc(1, sizeof **out);
    return *out ? KG_OK : kg_fail_nomem(err, "creating a view");
}

static void clear(struct kg_device *device, struct kg_view *view)
{
    free(view->spans);
    free(view->ranges);
    free(view->segments);
    free(view->pages);
    free(view->places);
    free(view->page_spans);
    device->memory -= view->bytes;
    *view = (struct kg_view){ 0 };
}

void kg_cpu_view_free(struct kg_device *device, struct kg_view *view)
{
    if (view)
        clear(device, view);
    free(view);
}

static size_t pages_of(const struct kg_span *span)
{
    return ((size_t)span->tokens + KG_PAGE - 1) / KG_PAGE;
}

static size_t segments_of(const struct kg_span *span)
{
    return ((size_t)span->tokens + KG_SEGMENT - 1) / KG_SEGMENT;
}

static void copy_spans(struct kg_view *view, const struct kg_span *spans)
{
    struct kg_view_place place = { 0, 0 };
    struct kg_view_segment *next_segment = view->segments;
    for (uint32_t i = 0; i < view->n_spans; i++) {
        const uint32_t pages = (uint32_t)pages_of(&spans[i]);
        view->spans[i] = spans[i];
        view->spans[i].pages = view->pages + place.page;
        view->places[i] = place;
        memcpy(view->pages + place.page, spans[i].pages, pages * sizeof *view->pages);
        for (uint32_t p = 0; p < pages; p++)
            view->page_spans[place.page + p] = i;
        for (uint32_t s = 0; s < segments_of(&spans[i]); s++)
            *next_segment++ = (struct kg_view_segment){ .span = i, .first = s * KG_SEGMENT };
        place.page += pages;
        place.token += spans[i].tokens;
    }
}

enum kg_status kg_cpu_view_set(struct kg_device *device, struct kg_view *view, const struct kg_span *spans, uint32_t n, struct kg_error *err)
{
    size_t segments = 0, pages = 0;
    for (uint32_t i = 0; i < n; i++) {
        assert(spans[i].tokens >= 1);
        segments += segments_of(&spans[i]);
        pages += pages_of(&spans[i]);
    }
    clear(device, view);
    view->spans = calloc(n + 1UL, sizeof *view->spans);
    view->ranges = calloc(n + 1UL, sizeof *view->ranges);
    view->places = calloc(n + 1UL, sizeof *view->places);
    view->segments = calloc(segments + 1, sizeof *view->segments);
    view->pages = calloc(pages + 1, sizeof *view->pages);
    view->page_spans = calloc(pages + 1, sizeof *view->page_spans);
    if (!view->spans || !view->ranges || !view->places || !view->segments || !view->pages || !view->page_spans) {
        clear(device, view);
        return kg_fail_nomem(err, "setting a view");
    }
    view->n_spans = n;
    view->n_segments = (uint32_t)segments;
    view->n_pages = (uint32_t)pages;
    view->bytes = n * (sizeof *view->spans + sizeof *view->ranges + sizeof *view->places) + segments * sizeof *view->segments +
                  pages * (sizeof *view->pages + sizeof *view->page_spans);
    device->memory += view->bytes;
    copy_spans(view, spans);
    return KG_OK;
}
