/* Pages of keys and values, and the rotation of a head. */
#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/ref/ref.h"
#include "kernels/type.h"

static size_t page_bytes(const struct kg_kv *kv)
{
    return KG_KV_PAGE_BYTES(&kv->shape);
}

enum kg_status kg_ref_kv_create(struct kg_device *device, const struct kg_kv_shape *shape, struct kg_kv **out, struct kg_error *err)
{
    (void)device;
    assert(shape->layers && shape->kv_heads && shape->head_size && shape->head_size % 2 == 0 && shape->head_size <= KG_HEAD_MAX);
    assert(shape->index_bits * shape->head_size % 32 == 0 && (shape->index_bits < 3 || shape->index_bits == 4));
    assert(shape->type == KG_KV_F16 || shape->head_size % 32 == 0);
    struct kg_kv *kv = calloc(1, sizeof *kv);
    if (!kv)
        return kg_fail_nomem(err, "creating pages");
    kv->shape = *shape;
    *out = kv;
    return KG_OK;
}

static void free_pages(struct kg_device *device, struct kg_kv *kv)
{
    kg_ref_free(device, kv->bits, kv->pages * page_bytes(kv));
    kg_ref_free(device, kv->index, kv->pages * KG_INDEX_PAGE_BYTES(&kv->shape));
    kg_ref_free(device, kv->indexed, (size_t)kv->pages * kv->shape.layers);
}

enum kg_status kg_ref_kv_reserve(struct kg_device *device, struct kg_kv *kv, uint32_t pages, struct kg_error *err)
{
    if (pages <= kv->pages)
        return KG_OK;
    struct kg_kv grown = { .shape = kv->shape, .pages = pages };
    const char *what = "adding pages of keys and values";
    const size_t index = KG_INDEX_PAGE_BYTES(&kv->shape), marks = kv->shape.layers;
    grown.bits = kg_ref_alloc(device, pages, page_bytes(kv), what, err);
    grown.index = kg_ref_alloc(device, pages, index, what, err);
    grown.indexed = kg_ref_alloc(device, pages, marks, what, err);
    struct kg_kv *surplus = grown.bits && grown.index && grown.indexed ? kv : &grown;
    if (surplus == kv && kv->pages) {
        memcpy(grown.bits, kv->bits, kv->pages * page_bytes(kv));
        memcpy(grown.index, kv->index, kv->pages * index);
        memcpy(grown.indexed, kv->indexed, kv->pages * marks);
    }
    free_pages(device, surplus);
    if (surplus == &grown)
        return KG_ERR_NOMEM;
    *kv = grown;
    return KG_OK;
}

void kg_ref_kv_free(struct kg_device *device, struct kg_kv *kv)
{
    if (kv)
        free_pages(device, kv);
    free(kv);
}

enum kg_status kg_ref_kv_export(struct kg_device *device, const struct kg_kv *kv, uint32_t page, void *host, struct kg_error *err)
{
    (void)device, (void)err;
    assert(page < kv->pages);
    memcpy(host, kv->bits + page * page_bytes(kv), page_bytes(kv));
    return KG_OK;
}

void kg_ref_kv_import(struct kg_device *device, struct kg_kv *kv, uint32_t page, const void *host)
{
    (void)device;
    assert(page < kv->pages);
    memcpy(kv->bits + page * page_bytes(kv), host, page_bytes(kv));
}

/*  page | layer | K V | KV head | slot | element  */
static uint8_t *row_at(const struct kg_kv *kv, uint32_t page, uint32_t layer, unsigned value, uint32_t head, uint32_t slot)
{
    const struct kg_kv_shape *s = &kv->shape;
    assert(page < kv->pages && layer < s->layers && head < s->kv_heads && slot < KG_PAGE);
    size_t at = ((size_t)page * s->layers + layer) * 2 + value;
    return kv->bits + ((at * s->kv_heads + head) * KG_PAGE + slot) * KG_KV_ROW_BYTES(s);
}

void kg_ref_kv_get(const struct kg_kv *kv, uint32_t page, uint32_t layer, unsigned value, uint32_t head, uint32_t slot, double *out)
{
    const struct kg_kv_shape *s = &kv->shape;
    const bool q8_0 = s->type == KG_KV_Q8_0;
    kg_dequantise(q8_0 ? KG_Q8_0 : KG_F16, row_at(kv, page, layer, value, head, slot), s->head_size, out);
    for (uint32_t d = 0; d < s->head_size && q8_0; d++)
        out[d] = kg_f16_to_double(kg_f16_from_double(out[d]));
}

static void put_row(const struct kg_kv *kv, uint8_t *row, const double *x)
{
    if (kv->shape.type == KG_KV_Q8_0) {
        kg_q8_0_from_double(row, x, kv->shape.head_size);
        return;
    }
    for (uint32_t d = 0; d < kv->shape.head_size; d++) {
        uint16_t half = kg_f16_from_double(x[d]);
        memcpy(row + 2 * (size_t)d, &half, sizeof half);
    }
}

/* Pair j = (a, b) turns by the angle t = position frequency[j]:  a' = scale (a cos t - b sin t),
 * b' = scale (a sin t + b cos t). Elements behind the pairs stay. */
void kg_ref_rotate(double *out, const float *x, uint32_t n, const struct kg_rope *rope, int64_t position)
{
    for (uint32_t i = 0; i < n; i++)
        out[i] = (double)x[i];
    if (rope->layout == KG_ROPE_NONE)
        return;
    assert(2 * rope->pairs <= n);
    for (uint32_t j = 0; j < rope->pairs; j++) {
        uint32_t a = rope->layout == KG_ROPE_INTERLEAVED ? 2 * j : j;
        uint32_t b = rope->layout == KG_ROPE_INTERLEAVED ? 2 * j + 1 : j + rope->pairs;
        double t = (double)position * rope->frequency[j];
        out[a] = (double)rope->scale * ((double)x[a] * cos(t) - (double)x[b] * sin(t));
        out[b] = (double)rope->scale * ((double)x[a] * sin(t) + (double)x[b] * cos(t));
    }
}

void kg_ref_kv_write(struct kg_device *device, struct kg_kv *kv, uint32_t layer, const uint32_t *pages, uint32_t first, int32_t local,
                     const struct kg_buffer *k, const struct kg_buffer *v, const struct kg_rope *rope, uint32_t rows)
{
    (void)device;
    const uint32_t heads = kv->shape.kv_heads, n = kv->shape.head_size;
    const float *key = kg_ref_at(k, (size_t)rows * heads * n, sizeof *key);
    const float *value = kg_ref_at(v, (size_t)rows * heads * n, sizeof *value);
    for (uint32_t r = 0; r < rows; r++) {
        uint32_t t = first + r;
        kg_ref_index_forget(kv, layer, pages[t / KG_PAGE]);
        for (uint32_t h = 0; h < heads; h++, key += n, value += n) {
            double row[KG_HEAD_MAX] = { 0 };
            kg_ref_rotate(row, key, n, rope, (int64_t)local + t);
            put_row(kv, row_at(kv, pages[t / KG_PAGE], layer, 0, h, t % KG_PAGE), row);
            for (uint32_t d = 0; d < n; d++)
                row[d] = (double)value[d];
            put_row(kv, row_at(kv, pages[t / KG_PAGE], layer, 1, h, t % KG_PAGE), row);
        }
    }
}
