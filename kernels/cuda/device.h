/* Private to kernels/cuda: what stands behind the opaque types, and how calls of the CUDA runtime are made.
 *
 * Everything runs on one stream. Any call may fail; the first failure is kept in the device, operations after it do
 * nothing, and `read` and `wait` report it. Sums of floats are made in an order that shapes fix: no atomics, and no
 * contraction of products and sums but where fmaf is written (-fmad=false). */
#ifndef KG_KERNELS_CUDA_DEVICE_H
#define KG_KERNELS_CUDA_DEVICE_H

#include <cuda_fp16.h>
#include <cuda_runtime.h>
#include <stdint.h>

extern "C" {
#include "kernels/backend.h"
}
#include "kernels/cuda/planes.h"
#include "kernels/cuda/step.h"

#define KG_FULL_WARP   0xffffffffU
#define KG_ROPES       8             /* rotations that are known at a time; a model has one or two */
#define KG_RING_PARTS  4             /* of the ring: one is filled while others are on their way */
#define KG_RING_PART_BYTES ((size_t)4 << 20)
#define KG_CHUNK_PAGES 16            /* pages that are allocated together */

/* Memory of the device. */
struct kg_cuda_memory {
    void *bits;
    size_t bytes;
};

/* Where a kernel leaves what it computed as codes, too (round.h); NULL: nowhere. */
struct kg_cuda_rounded {
    uint32_t *codes;
    struct kg_rounded *group;
};

struct kg_device {
    cudaStream_t stream;
    int card;
    uint32_t processors; /* multiprocessors of the card */
    bool failed;
    enum kg_status status;
    char failure[256];
    size_t memory;
    char describe[320], numerics[320];

    uint8_t *ring; /* pinned, KG_RING_PARTS of KG_RING_PART_BYTES: what goes to and comes from the device */
    uint32_t ring_part;
    size_t ring_used;                      /* of that part */
    cudaEvent_t ring_left[KG_RING_PARTS];  /* what was enqueued when a part was full */

    struct kg_cuda_memory scratch, rounded, ropes; /* ropes: (KG_ROPES, KG_HEAD_MAX / 2) f64 */
    struct kg_rope known_ropes[KG_ROPES];
    uint32_t rope_count;

    uint64_t versions;
    uint64_t rounded_version; /* of the buffer whose first rows `rounded` holds; 0 = none */
    uint32_t rounded_rows, rounded_cols;
    bool rounds;        /* there are matrices that want codes */
    uint32_t step_rows; /* of the last step; 0 = there was none */

    struct kg_thread_pool *loaders; /* threads, while weights are loaded; NULL: there are none */
    bool loads_alone;               /* they could not be started */

    /* A sum x += y that is kept back, so that a norm of x can make it in passing; n = 0: none is. */
    struct {
        struct kg_buffer *x;
        const struct kg_buffer *y;
        size_t n;
    } sum;

    struct kg_cuda_steps steps;
};

struct kg_buffer {
    struct kg_device *device;
    struct kg_cuda_memory memory;
    uint64_t version; /* another one whenever the contents change */
};

struct kg_matrix {
    enum kg_type type;
    uint32_t rows, cols;
    bool plain; /* F32, F16, BF16: rows as in the file; else planes */
    struct kg_planes planes;
    struct kg_cuda_memory memory;
};

/* KG_CHUNK_PAGES pages of keys and values, on the card while there is room, else in pinned host memory, where kernels reach them as
 * well; and always on the card their indexes, and behind them for each page and layer how many of its tokens are indexed. */
struct kg_cuda_chunk {
    struct kg_cuda_memory pages, index;
    bool on_host; /* the pages are */
};

struct kg_kv {
    struct kg_kv_shape shape;
    uint32_t chunks; /* that exist */
    struct kg_cuda_chunk *chunk;
    struct kg_cuda_memory table; /* where they are, on the device */
    char notice[256];
};

struct kg_cuda_place {
    uint8_t *pages, *index;
};

/* What kernels know of pages. */
struct kg_cuda_pages {
    const struct kg_cuda_place *chunks;
    size_t page_bytes, index_page_bytes;
    uint32_t layer, layers, kv_heads, head_size, index_bits, none;
};

/* Tokens `first` .. end - 1 of a block, and the pages that they lie in; there is an entry behind the last one's. */
struct kg_cuda_touched {
    uint32_t first, end;
    int32_t local;
    uint32_t page[KG_ROWS_MAX / KG_PAGE + 2];
};

struct kg_cuda_span {
    int32_t base, local;
    uint32_t tokens, first_page; /* in the view's list of pages */
    uint32_t first;              /* its first token's number in the view */
};

/* At most KG_PART tokens of a span, from token `first` on. */
#define KG_PART 256
struct kg_cuda_part {
    uint32_t span, first;
};

/* A view on the device: this, and behind it arrays of spans, parts and pages that begin at so many bytes from here. */
struct kg_cuda_view {
    uint32_t part_count, span_count, tokens;
    uint32_t spans, parts, pages;
};

/* part_room, token_room: at least as many as there are, numbers that change rarely. */
struct kg_view {
    struct kg_cuda_memory memory;
    uint8_t *image; /* of the memory, on the host */
    uint32_t part_count, tokens, part_room, token_room;
};

struct kg_cuda_rope {
    enum kg_rope_layout layout;
    uint32_t pairs;
    float scale;
    uint32_t none;
    const double *frequency;
};

/* True if it succeeded and nothing failed before. `what` completes "... failed". */
bool kg_cuda_ok(struct kg_device *device, cudaError_t error, const char *what);

/* For calls that return a status: fills *err from a runtime error. */
enum kg_status kg_cuda_fail(struct kg_error *err, cudaError_t error, const char *what);

/* Memory counted in device->memory; not cleared. */
enum kg_status kg_cuda_alloc(struct kg_device *device, size_t bytes, struct kg_cuda_memory *out, const char *what, struct kg_error *err);
void kg_cuda_free(struct kg_device *device, struct kg_cuda_memory *memory);
/* Pinned host memory, which kernels reach through the bus; not counted. */
enum kg_status kg_cuda_pin(size_t bytes, struct kg_cuda_memory *out, const char *what, struct kg_error *err);
void kg_cuda_unpin(struct kg_device *device, struct kg_cuda_memory *memory);

/* At least so many bytes; what was there is lost if it grows. False, and remembered, if there is no room. */
bool kg_cuda_grow(struct kg_device *device, struct kg_cuda_memory *memory, size_t bytes, const char *what);

/* By way of the ring, in the order of the stream; host memory is free on return. The other side may be pinned host memory, too. */
void kg_cuda_upload(struct kg_device *device, void *to, const void *host, size_t bytes);
enum kg_status kg_cuda_download(struct kg_device *device, void *host, const void *from, size_t bytes, struct kg_error *err);
enum kg_status kg_cuda_wait(struct kg_device *device, struct kg_error *err);

/* Bytes of the ring that nothing uses any more, at an address that is a multiple of 256: *bytes of them, or as many units as there is
 * room for, which *bytes becomes (a unit is far smaller than a part). They are for what is enqueued before the next call. NULL if
 * something failed. */
uint8_t *kg_cuda_ring(struct kg_device *device, size_t unit, size_t *bytes);

/* Makes the sum that is kept back. */
void kg_cuda_make_sum(struct kg_device *device);
/* What is to be added to the first n elements of x by the caller; NULL: nothing, and what is kept back is of others. */
const struct kg_buffer *kg_cuda_take_sum(struct kg_device *device, const struct kg_buffer *x, size_t n);
/* Room for the codes of what a kernel is about to leave in this buffer, which are taken for made; none where nobody would want them. */
struct kg_cuda_rounded kg_cuda_rounded_room(struct kg_device *device, const struct kg_buffer *buffer, uint32_t rows, uint32_t cols);

/* The first element, after checking that `count` elements of `size` bytes lie in the buffer; for results the contents change. */
const void *kg_cuda_in(const struct kg_buffer *buffer, size_t count, size_t size);
void *kg_cuda_out(struct kg_device *device, struct kg_buffer *buffer, size_t count, size_t size);

/* The rotation with its frequencies on the device. */
struct kg_cuda_rope kg_cuda_rope_of(struct kg_device *device, const struct kg_rope *rope);

struct kg_cuda_pages kg_cuda_pages_of(const struct kg_kv *kv, uint32_t layer);
/* On the device. */
const struct kg_cuda_touched *kg_cuda_touched_of(struct kg_device *device, const struct kg_kv *kv, const uint32_t *pages, uint32_t first, int32_t local,
                                                 uint32_t rows);

enum kg_status kg_cuda_matrix_create(struct kg_device *, enum kg_type, uint32_t rows, uint32_t cols, const void *blocks, unsigned uses,
                                     struct kg_matrix **out, struct kg_error *);
/* Its memory from blocks in file order: by way of the ring, filled by several threads; planes are packed on the card. */
void kg_cuda_fill_matrix(struct kg_device *, struct kg_matrix *, const void *blocks);
void kg_cuda_loaders_end(struct kg_device *);
void kg_cuda_matrix_free(struct kg_device *, struct kg_matrix *);
void kg_cuda_embed(struct kg_device *, struct kg_buffer *out, const struct kg_matrix *, const struct kg_buffer *ids, float scale, uint32_t rows);
void kg_cuda_matmul(struct kg_device *, struct kg_buffer *out, const struct kg_matrix *, const struct kg_buffer *x, const struct kg_buffer *bias,
                    uint32_t rows);

void kg_cuda_rmsnorm(struct kg_device *, struct kg_buffer *out, const struct kg_buffer *x, const struct kg_buffer *weight, float eps, uint32_t rows,
                     uint32_t cols);
void kg_cuda_add(struct kg_device *, struct kg_buffer *x, const struct kg_buffer *y, size_t n);
void kg_cuda_enqueue_add(struct kg_device *, float *x, const float *y, size_t n);
void kg_cuda_silu_mul(struct kg_device *, struct kg_buffer *out, const struct kg_buffer *gate, const struct kg_buffer *up, size_t n);
void kg_cuda_copy_row(struct kg_device *, struct kg_buffer *out, uint32_t to, const struct kg_buffer *x, uint32_t from, uint32_t cols);
void kg_cuda_top(struct kg_device *, struct kg_buffer *ids, struct kg_buffer *values, const struct kg_buffer *logits, size_t offset, uint32_t n,
                 uint32_t k);

/* Bytes of the card that nobody uses, and those of them that operations may need. */
enum kg_status kg_cuda_room(struct kg_device *, size_t *bytes, size_t *kept, struct kg_error *);
enum kg_status kg_cuda_kv_create(struct kg_device *, const struct kg_kv_shape *, struct kg_kv **out, struct kg_error *);
enum kg_status kg_cuda_kv_reserve(struct kg_device *, struct kg_kv *, uint32_t pages, struct kg_error *);
void kg_cuda_kv_free(struct kg_device *, struct kg_kv *);
enum kg_status kg_cuda_kv_export(struct kg_device *, const struct kg_kv *, uint32_t page, void *host, struct kg_error *);
void kg_cuda_kv_import(struct kg_device *, struct kg_kv *, uint32_t page, const void *host);
/* NULL while all of them are on the card. */
const char *kg_cuda_kv_notice(struct kg_device *, const struct kg_kv *);
void kg_cuda_kv_write(struct kg_device *, struct kg_kv *, uint32_t layer, const uint32_t *pages, uint32_t first, int32_t local,
                      const struct kg_buffer *k, const struct kg_buffer *v, const struct kg_rope *rope, uint32_t rows);

void kg_cuda_index_write(struct kg_device *, struct kg_kv *, uint32_t layer, const uint32_t *pages, uint32_t first, uint32_t rows, bool closes);
enum kg_status kg_cuda_index_export(struct kg_device *, const struct kg_kv *, uint32_t page, void *host, uint32_t *tokens, struct kg_error *);
void kg_cuda_index_import(struct kg_device *, struct kg_kv *, uint32_t page, const void *host, uint32_t tokens);

enum kg_status kg_cuda_view_create(struct kg_device *, struct kg_view **out, struct kg_error *);
enum kg_status kg_cuda_view_set(struct kg_device *, struct kg_view *, const struct kg_span *spans, uint32_t n, struct kg_error *);
void kg_cuda_view_free(struct kg_device *, struct kg_view *);
void kg_cuda_attend(struct kg_device *, struct kg_buffer *out, const struct kg_buffer *q, const struct kg_kv *, uint32_t layer, const struct kg_view *,
                    const struct kg_attention *, int32_t position, uint32_t rows);
/* The same for heads of at most KG_TILE_HEAD elements, of a view that is not empty; device memory is checked. */
#define KG_TILE_HEAD 128
void kg_cuda_attend_tiles(struct kg_device *, float *out, const float *q, const struct kg_kv *, uint32_t layer, const struct kg_view *,
                          const struct kg_attention *, int32_t position, uint32_t rows);
void kg_cuda_choose(struct kg_device *, struct kg_buffer *chosen, const struct kg_buffer *q, const struct kg_kv *, uint32_t layer, const struct kg_view *,
                    const struct kg_attention *, const struct kg_look *, int32_t position, uint32_t rows);
void kg_cuda_attend_chosen(struct kg_device *, struct kg_buffer *out, const struct kg_buffer *q, const struct kg_kv *, uint32_t layer,
                           const struct kg_view *, const struct kg_attention *, const struct kg_look *, const struct kg_buffer *chosen, int32_t position,
                           uint32_t rows);

#endif
