/* Private to kernels/cpu: what stands behind the opaque types. Every operation is done when it returns. */
#ifndef KG_KERNELS_CPU_DEVICE_H
#define KG_KERNELS_CPU_DEVICE_H

#include <assert.h>

#include "kernels/backend.h"
#include "kernels/cpu/angles.h"
#include "kernels/cpu/isa.h"
#include "kernels/cpu/key_index.h"
#include "kernels/cpu/memory.h"
#include "kernels/thread_pool.h"

struct kg_device {
    const struct kg_isa *isa;
    struct kg_thread_pool *pool;
    atomic_size_t memory; /* bytes held */
    struct kg_memory_stock weights;
    char describe[64];

    /* The activations rounded last, and what they were: several products in a row share their input. */
    struct kg_activations activations;
    struct kg_memory activations_memory;
    uint64_t rounded_version; /* of the buffer; 0 = none */
    int32_t offsets_zero;     /* which zero of codes activations.offsets are for; 0 = none */

    uint64_t versions; /* the last number given to a buffer's contents */
    struct kg_angles angles;
    struct kg_memory scratch; /* of the operation that runs */
    bool failed;              /* an operation did not get its memory: reported by read, wait and kv_export */
};

enum kg_status kg_cpu_wait(struct kg_device *, struct kg_error *);

struct kg_buffer {
    struct kg_memory memory;
    uint64_t version; /* changes with the contents */
};

struct kg_matrix {
    enum kg_type type;
    uint32_t rows, cols;
    const uint8_t *blocks; /* the tensor itself, when rows are all that is asked for; else NULL */
    void *tiles;
    size_t tile_bytes, bytes;
    struct kg_memory_chunk *chunk; /* that holds the tiles */
};

/* Pages in chunks that never move: page p is page p % chunk_pages of chunk p / chunk_pages, 2^chunk_shift being their number. */
struct kg_kv {
    struct kg_kv_shape shape;
    size_t page_bytes, row_bytes;
    uint32_t pages, chunk_pages, chunk_shift, chunks;
    struct kg_memory *chunk;
    /* Chunk by chunk the index of the same pages, NULL without one: pieces (layers, KV heads, chunk_pages), so that scanning
     * pages with neighbouring numbers reads straight ahead, then how many tokens are indexed (layers, chunk_pages; u8). */
    struct kg_memory *index_chunk;
    struct kg_index_form index;
};

/* KG_SEGMENT keys (or the last ones) of a span, from key `first` on. */
struct kg_view_segment {
    uint32_t span, first;
};

/* Where a span begins, counted over those before it. */
struct kg_view_place {
    uint32_t page, token;
};

struct kg_view {
    struct kg_span *spans;
    struct kg_angle_range *ranges;    /* scratch: one for each span */
    struct kg_view_segment *segments; /* of all spans in order */
    struct kg_view_place *places;     /* of each span */
    uint32_t *pages;                  /* those of all spans, one behind the other */
    uint32_t *page_spans;             /* the span of each of them */
    uint32_t n_spans, n_segments, n_pages;
    size_t bytes;
};

/* The first of `count` elements of `size` bytes, which the buffer must hold. */
const void *kg_cpu_in(const struct kg_buffer *buffer, size_t count, size_t size);
/* The same for a buffer whose contents change now. */
void *kg_cpu_out(struct kg_device *device, struct kg_buffer *buffer, size_t count, size_t size);

/* Enlarges scratch memory to at least `bytes`; contents are lost. False (and device->failed) when there is none. */
bool kg_cpu_scratch(struct kg_device *device, struct kg_memory *memory, size_t bytes);

double kg_cpu_read_bandwidth(struct kg_device *);

enum kg_status kg_cpu_matrix_create(struct kg_device *, enum kg_type, uint32_t rows, uint32_t cols, const void *blocks,
                                    unsigned uses, struct kg_matrix **out, struct kg_error *);
void kg_cpu_matrix_free(struct kg_device *, struct kg_matrix *);
void kg_cpu_embed(struct kg_device *, struct kg_buffer *out, const struct kg_matrix *, const struct kg_buffer *ids, float scale,
                  uint32_t rows);
void kg_cpu_matmul(struct kg_device *, struct kg_buffer *out, const struct kg_matrix *, const struct kg_buffer *x,
                   const struct kg_buffer *bias, uint32_t rows);

void kg_cpu_rmsnorm(struct kg_device *, struct kg_buffer *out, const struct kg_buffer *x, const struct kg_buffer *weight,
                    float eps, uint32_t rows, uint32_t cols);
void kg_cpu_add(struct kg_device *, struct kg_buffer *x, const struct kg_buffer *y, size_t n);
void kg_cpu_silu_mul(struct kg_device *, struct kg_buffer *out, const struct kg_buffer *gate, const struct kg_buffer *up, size_t n);
void kg_cpu_copy_row(struct kg_device *, struct kg_buffer *out, uint32_t to, const struct kg_buffer *x, uint32_t from,
                     uint32_t cols);
void kg_cpu_top(struct kg_device *, struct kg_buffer *ids, struct kg_buffer *values, const struct kg_buffer *logits,
                size_t offset, uint32_t n, uint32_t k);

enum kg_status kg_cpu_kv_create(struct kg_device *, const struct kg_kv_shape *, struct kg_kv **out, struct kg_error *);
enum kg_status kg_cpu_kv_reserve(struct kg_device *, struct kg_kv *, uint32_t pages, struct kg_error *);
void kg_cpu_kv_free(struct kg_device *, struct kg_kv *);
enum kg_status kg_cpu_kv_export(struct kg_device *, const struct kg_kv *, uint32_t page, void *host, struct kg_error *);
void kg_cpu_kv_import(struct kg_device *, struct kg_kv *, uint32_t page, const void *host);
void kg_cpu_kv_write(struct kg_device *, struct kg_kv *, uint32_t layer, const uint32_t *pages, uint32_t first, int32_t local,
                     const struct kg_buffer *k, const struct kg_buffer *v, const struct kg_rope *rope, uint32_t rows);

static inline uint8_t *kg_cpu_page_at(const struct kg_kv *kv, uint32_t page)
{
    assert(page < kv->pages);
    return (uint8_t *)kv->chunk[page >> kv->chunk_shift].bits + (page & (kv->chunk_pages - 1)) * kv->page_bytes;
}

/* K (V with value = 1) of one page, layer and head: KG_PAGE rows of row_bytes. */
static inline uint8_t *kg_cpu_kv_at(const struct kg_kv *kv, uint32_t page, uint32_t layer, unsigned value, uint32_t head)
{
    const struct kg_kv_shape *s = &kv->shape;
    assert(layer < s->layers && head < s->kv_heads);
    return kg_cpu_page_at(kv, page) + (((size_t)layer * 2 + value) * s->kv_heads + head) * KG_PAGE * kv->row_bytes;
}

/* The kernels read f16: n rows as they stand or, of another type, expanded into `room` (n, head_size). */
static inline const uint16_t *kg_cpu_halves(const struct kg_isa *isa, const struct kg_kv *kv, const uint8_t *rows, uint32_t n, uint16_t *room)
{
    if (kv->shape.type == KG_KV_F16)
        return (const uint16_t *)(const void *)rows;
    isa->expand_q8_0(room, rows, (size_t)n * kv->shape.head_size);
    return room;
}

/* The index of one page, layer and head, in the form kv->index. */
static inline uint8_t *kg_cpu_index_at(const struct kg_kv *kv, uint32_t page, uint32_t layer, uint32_t head)
{
    assert(page < kv->pages && layer < kv->shape.layers && head < kv->shape.kv_heads);
    const size_t piece = (((size_t)layer * kv->shape.kv_heads + head) << kv->chunk_shift) + (page & (kv->chunk_pages - 1));
    return (uint8_t *)kv->index_chunk[page >> kv->chunk_shift].bits + piece * kv->index.bytes;
}

/* How many of a page's tokens are in the index of a layer. */
static inline uint8_t *kg_cpu_indexed_at(const struct kg_kv *kv, uint32_t page, uint32_t layer)
{
    assert(page < kv->pages && layer < kv->shape.layers);
    const size_t pieces = ((size_t)kv->shape.layers * kv->shape.kv_heads) << kv->chunk_shift;
    return (uint8_t *)kv->index_chunk[page >> kv->chunk_shift].bits + pieces * kv->index.bytes + ((size_t)layer << kv->chunk_shift) +
           (page & (kv->chunk_pages - 1));
}

void kg_cpu_index_forget(struct kg_kv *, uint32_t layer, const uint32_t *pages, uint32_t first, uint32_t rows);
void kg_cpu_index_write(struct kg_device *, struct kg_kv *, uint32_t layer, const uint32_t *pages, uint32_t first, uint32_t rows,
                        bool closes);
enum kg_status kg_cpu_index_export(struct kg_device *, const struct kg_kv *, uint32_t page, void *host, uint32_t *tokens,
                                   struct kg_error *);
void kg_cpu_index_import(struct kg_device *, struct kg_kv *, uint32_t page, const void *host, uint32_t tokens);

enum kg_status kg_cpu_view_create(struct kg_device *, struct kg_view **out, struct kg_error *);
enum kg_status kg_cpu_view_set(struct kg_device *, struct kg_view *, const struct kg_span *spans, uint32_t n, struct kg_error *);
void kg_cpu_view_free(struct kg_device *, struct kg_view *);
void kg_cpu_attend(struct kg_device *, struct kg_buffer *out, const struct kg_buffer *q, const struct kg_kv *, uint32_t layer,
                   const struct kg_view *, const struct kg_attention *, int32_t position, uint32_t rows);
void kg_cpu_choose(struct kg_device *, struct kg_buffer *chosen, const struct kg_buffer *q, const struct kg_kv *, uint32_t layer,
                   const struct kg_view *, const struct kg_attention *, const struct kg_look *, int32_t position, uint32_t rows);
void kg_cpu_attend_chosen(struct kg_device *, struct kg_buffer *out, const struct kg_buffer *q, const struct kg_kv *, uint32_t layer,
                          const struct kg_view *, const struct kg_attention *, const struct kg_look *, const struct kg_buffer *chosen,
                          int32_t position, uint32_t rows);

#endif
