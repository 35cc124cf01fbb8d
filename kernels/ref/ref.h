/* Private to kernels/ref: what stands behind the opaque types. "Device memory" is host memory, and every
 * operation is done when it returns. Sums, products and functions are in double; each result is rounded once,
 * to the f32 or f16 that the contract stores. Scratch memory is allocated where a status can be returned, so
 * that no operation can fail. */
#ifndef KG_KERNELS_REF_REF_H
#define KG_KERNELS_REF_REF_H

#include "kernels/backend.h"

struct kg_device {
    size_t memory; /* bytes held */
};

struct kg_buffer {
    size_t bytes;
    void *bits;
};

struct kg_matrix {
    enum kg_type type;
    uint32_t rows, cols;
    size_t row_bytes;
    uint8_t *blocks; /* a copy of the tensor */
    double *row;     /* scratch: one row expanded */
};

struct kg_kv {
    struct kg_kv_shape shape;
    uint32_t pages;
    uint8_t *bits;    /* pages in the layout of KG_KV_PAGE_BYTES */
    uint8_t *index;   /* pages in the layout of KG_INDEX_PAGE_BYTES; NULL without an index */
    uint8_t *indexed; /* (pages, layers): tokens of the page that are in the index */
};

struct kg_view {
    struct kg_span *spans;
    uint32_t n;
    uint32_t *pages; /* those of all spans, one behind the other */
    double *scores;  /* scratch: one for every token in view */
    double *ranks;   /* the same again */
    size_t bytes;
};

/* Zeroed memory counted in device->memory; NULL with *err filled. */
void *kg_ref_alloc(struct kg_device *device, size_t count, size_t size, const char *what, struct kg_error *err);
void kg_ref_free(struct kg_device *device, void *bits, size_t bytes);

/* The first element, after checking that `count` elements of `size` bytes lie in the buffer. */
void *kg_ref_at(const struct kg_buffer *buffer, size_t count, size_t size);

enum kg_status kg_ref_matrix_create(struct kg_device *, enum kg_type, uint32_t rows, uint32_t cols, const void *blocks,
                                    unsigned uses, struct kg_matrix **out, struct kg_error *);
void kg_ref_matrix_free(struct kg_device *, struct kg_matrix *);
void kg_ref_embed(struct kg_device *, struct kg_buffer *out, const struct kg_matrix *, const struct kg_buffer *ids, float scale,
                  uint32_t rows);
void kg_ref_matmul(struct kg_device *, struct kg_buffer *out, const struct kg_matrix *, const struct kg_buffer *x,
                   const struct kg_buffer *bias, uint32_t rows);

void kg_ref_rmsnorm(struct kg_device *, struct kg_buffer *out, const struct kg_buffer *x, const struct kg_buffer *weight,
                    float eps, uint32_t rows, uint32_t cols);
void kg_ref_add(struct kg_device *, struct kg_buffer *x, const struct kg_buffer *y, size_t n);
void kg_ref_silu_mul(struct kg_device *, struct kg_buffer *out, const struct kg_buffer *gate, const struct kg_buffer *up, size_t n);
void kg_ref_copy_row(struct kg_device *, struct kg_buffer *out, uint32_t to, const struct kg_buffer *x, uint32_t from,
                     uint32_t cols);
void kg_ref_top(struct kg_device *, struct kg_buffer *ids, struct kg_buffer *values, const struct kg_buffer *logits,
                size_t offset, uint32_t n, uint32_t k);

enum kg_status kg_ref_kv_create(struct kg_device *, const struct kg_kv_shape *, struct kg_kv **out, struct kg_error *);
enum kg_status kg_ref_kv_reserve(struct kg_device *, struct kg_kv *, uint32_t pages, struct kg_error *);
void kg_ref_kv_free(struct kg_device *, struct kg_kv *);
enum kg_status kg_ref_kv_export(struct kg_device *, const struct kg_kv *, uint32_t page, void *host, struct kg_error *);
void kg_ref_kv_import(struct kg_device *, struct kg_kv *, uint32_t page, const void *host);
void kg_ref_kv_write(struct kg_device *, struct kg_kv *, uint32_t layer, const uint32_t *pages, uint32_t first, int32_t local,
                     const struct kg_buffer *k, const struct kg_buffer *v, const struct kg_rope *rope, uint32_t rows);

/* K (V with value = 1) of a token's slot as it is read: head_size numbers. */
void kg_ref_kv_get(const struct kg_kv *, uint32_t page, uint32_t layer, unsigned value, uint32_t head, uint32_t slot, double *out);

/* out = x rotated for a position; n elements. */
void kg_ref_rotate(double *out, const float *x, uint32_t n, const struct kg_rope *rope, int64_t position);

enum kg_status kg_ref_view_create(struct kg_device *, struct kg_view **out, struct kg_error *);
enum kg_status kg_ref_view_set(struct kg_device *, struct kg_view *, const struct kg_span *spans, uint32_t n, struct kg_error *);
void kg_ref_view_free(struct kg_device *, struct kg_view *);
void kg_ref_attend(struct kg_device *, struct kg_buffer *out, const struct kg_buffer *q, const struct kg_kv *, uint32_t layer,
                   const struct kg_view *, const struct kg_attention *, int32_t position, uint32_t rows);

void kg_ref_index_write(struct kg_device *, struct kg_kv *, uint32_t layer, const uint32_t *pages, uint32_t first, uint32_t rows,
                        bool closes);
void kg_ref_index_forget(struct kg_kv *, uint32_t layer, uint32_t page);
enum kg_status kg_ref_index_export(struct kg_device *, const struct kg_kv *, uint32_t page, void *host, uint32_t *tokens,
                                   struct kg_error *);
void kg_ref_index_import(struct kg_device *, struct kg_kv *, uint32_t page, const void *host, uint32_t tokens);
void kg_ref_choose(struct kg_device *, struct kg_buffer *chosen, const struct kg_buffer *q, const struct kg_kv *, uint32_t layer,
                   const struct kg_view *, const struct kg_attention *, const struct kg_look *, int32_t position, uint32_t rows);
void kg_ref_attend_chosen(struct kg_device *, struct kg_buffer *out, const struct kg_buffer *q, const struct kg_kv *, uint32_t layer,
                          const struct kg_view *, const struct kg_attention *, const struct kg_look *, const struct kg_buffer *chosen,
                          int32_t position, uint32_t rows);

#endif
