#include "kernels/cpu/key_index.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#include "kernels/cpu/device.h"

void kg_index_form(struct kg_index_form *form, const struct kg_kv_shape *shape)
{
    const uint32_t bits = shape->index_bits, in_byte = 8 / bits;
    *form = (struct kg_index_form){
        .head_size = shape->head_size,
        .bits = bits,
        .words = shape->head_size / 4,
        .positions = (shape->head_size + 31) / 32 * 32,
    };
    form->scales = (size_t)shape->head_size * bits / 8 * KG_PAGE;
    form->bytes = (form->scales + 3 * (size_t)form->positions + 63) / 64 * 64;
    for (uint32_t p = 0; p < form->positions; p++) {
        const uint32_t word = p / 16 * 4 + p % 4;
        const bool there = word < form->words;
        form->channel[p] = there ? (uint16_t)(4 * in_byte * (word / in_byte) + in_byte * (p % 16 / 4) + word % in_byte) : KG_INDEX_NO_CHANNEL;
    }
    for (uint32_t e = 0; e < 256; e++) {
        form->step[e] = e ? exp2(((int)e - 128) / 8.0) : 0;
        form->reach[e] = form->step[e] * (double)((1U << bits) - 1);
    }
}

void kg_index_from_host(const struct kg_index_form *form, uint8_t *index, const uint8_t *host)
{
    const size_t n = form->head_size;
    uint8_t *m = index + form->scales, *e = m + 2 * (size_t)form->positions;
    memset(m, 0, 3 * (size_t)form->positions);
    for (uint32_t p = 0; p < form->positions; p++) {
        const uint16_t d = form->channel[p];
        if (d == KG_INDEX_NO_CHANNEL)
            continue;
        memcpy(m + 2 * (size_t)p, host + 2 * (size_t)d, 2);
        e[p] = host[2 * n + d];
    }
    for (uint32_t group = 0; group < n * form->bits / 8; group++)
        for (uint32_t t = 0; t < KG_PAGE; t++)
            index[kg_index_code_at(group, t)] = host[3 * n + (size_t)group * KG_PAGE + t];
}

void kg_index_to_host(const struct kg_index_form *form, uint8_t *host, const uint8_t *index)
{
    const size_t n = form->head_size;
    const uint8_t *m = index + form->scales, *e = m + 2 * (size_t)form->positions;
    for (uint32_t p = 0; p < form->positions; p++) {
        const uint16_t d = form->channel[p];
        if (d == KG_INDEX_NO_CHANNEL)
            continue;
        memcpy(host + 2 * (size_t)d, m + 2 * (size_t)p, 2);
        host[2 * n + d] = e[p];
    }
    for (uint32_t group = 0; group < n * form->bits / 8; group++)
        for (uint32_t t = 0; t < KG_PAGE; t++)
            host[3 * n + (size_t)group * KG_PAGE + t] = index[kg_index_code_at(group, t)];
}

void kg_queries_in_fours(float *out, const float *q, uint32_t n, uint32_t head_size)
{
    memset(out + (size_t)n / 4 * 4 * head_size, 0, (kg_fours(n, head_size) - (size_t)n / 4 * 4 * head_size) * sizeof *out);
    for (uint32_t i = 0; i < n; i++) {
        float *to = out + (size_t)i / 4 * 4 * head_size + (size_t)i % 4 * 4;
        for (uint32_t d = 0; d < head_size; d += 4, q += 4, to += 16)
            memcpy(to, q, 4 * sizeof *out);
    }
}

void kg_index_queries(const struct kg_index_form *form, float *out, const float *q, uint32_t n)
{
    if (form->bits == 2 && form->positions == form->head_size) {
        kg_queries_in_fours(out, q, n, form->head_size);
        return;
    }
    memset(out, 0, kg_fours(n, form->positions) * sizeof *out);
    for (uint32_t i = 0; i < n; i++, q += form->head_size) {
        float *to = out + (size_t)i / 4 * 4 * form->positions + (size_t)i % 4 * 4;
        for (uint32_t p = 0; p < form->positions; p++)
            if (form->channel[p] != KG_INDEX_NO_CHANNEL)
                to[(size_t)p / 4 * 16 + p % 4] = q[form->channel[p]];
    }
}

void kg_cpu_index_forget(struct kg_kv *kv, uint32_t layer, const uint32_t *pages, uint32_t first, uint32_t rows)
{
    if (!kv->shape.index_bits)
        return;
    for (uint32_t p = first / KG_PAGE; p <= (first + rows - 1) / KG_PAGE; p++)
        *kg_cpu_indexed_at(kv, pages[p], layer) = 0;
}

struct index_write {
    const struct kg_isa *isa;
    const struct kg_kv *kv;
    const uint32_t *pages; /* from the first one on */
    uint32_t layer;
    uint32_t last, last_tokens; /* of the pages; all others are full */
};

static void index_page(void *context, uint32_t piece, uint32_t thread)
{
    (void)thread;
    const struct index_write *w = context;
    const uint32_t page = w->pages[piece], tokens = piece == w->last ? w->last_tokens : KG_PAGE;
    uint16_t room[KG_PAGE * KG_HEAD_MAX];
    bool finite = true;
    for (uint32_t h = 0; h < w->kv->shape.kv_heads && finite; h++) {
        const uint16_t *keys = kg_cpu_halves(w->isa, w->kv, kg_cpu_kv_at(w->kv, page, w->layer, 0, h), KG_PAGE, room);
        finite = w->isa->index_page(&w->kv->index, kg_cpu_index_at(w->kv, page, w->layer, h), keys, tokens);
    }
    *kg_cpu_indexed_at(w->kv, page, w->layer) = (uint8_t)(finite ? tokens : 0);
}

void kg_cpu_index_write(struct kg_device *device, struct kg_kv *kv, uint32_t layer, const uint32_t *pages, uint32_t first, uint32_t rows,
                        bool closes)
{
    if (!kv->shape.index_bits)
        return;
    const uint32_t begin = first / KG_PAGE, full = (first + rows) / KG_PAGE, rest = (first + rows) % KG_PAGE;
    struct index_write write = { device->isa, kv, pages + begin, layer, full - begin, rest };
    kg_thread_pool_run(device->pool, index_page, &write, full - begin + (closes && rest ? 1 : 0));
}

enum kg_status kg_cpu_index_export(struct kg_device *device, const struct kg_kv *kv, uint32_t page, void *host, uint32_t *tokens,
                                   struct kg_error *err)
{
    (void)device, (void)err;
    uint8_t *next = host;
    *tokens = KG_PAGE;
    for (uint32_t l = 0; l < kv->shape.layers; l++) {
        const uint8_t indexed = *kg_cpu_indexed_at(kv, page, l);
        *tokens = indexed < *tokens ? indexed : *tokens;
        for (uint32_t h = 0; h < kv->shape.kv_heads; h++, next += KG_INDEX_HEAD_BYTES(&kv->shape))
            kg_index_to_host(&kv->index, next, kg_cpu_index_at(kv, page, l, h));
    }
    return KG_OK;
}

void kg_cpu_index_import(struct kg_device *device, struct kg_kv *kv, uint32_t page, const void *host, uint32_t tokens)
{
    (void)device;
    assert(tokens <= KG_PAGE);
    const uint8_t *next = host;
    for (uint32_t l = 0; l < kv->shape.layers; l++) {
        *kg_cpu_indexed_at(kv, page, l) = (uint8_t)tokens;
        for (uint32_t h = 0; h < kv->shape.kv_heads; h++, next += KG_INDEX_HEAD_BYTES(&kv->shape))
            kg_index_from_host(&kv->index, kg_cpu_index_at(kv, page, l, h), next);
    }
}
