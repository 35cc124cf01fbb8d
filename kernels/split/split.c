#include "kernels/split/split.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

enum { NEITHER = 2 };

struct kg_device {
    struct kg_split_side side[2];
    uint32_t first, layers; /* of layers: on sides[0], and in all */
    uint32_t layer;         /* that is loaded or computed */
    unsigned now;           /* the side that computes */
    uint32_t rows;          /* of the step, 0 outside of one */
    unsigned stepping;      /* the side that has begun it */
    void *between;          /* what is on its way from one side to the other */
    size_t between_bytes;
    bool no_room;
    char describe[320], numerics[768];
};

/* The same buffer on both sides. there: how many of its leading bytes are as they were last written. */
struct kg_buffer {
    struct kg_buffer *on[2];
    size_t bytes, there[2];
};

struct kg_matrix {
    struct kg_matrix *on[2]; /* NULL where it is not used */
};

struct kg_kv {
    struct kg_kv *on[2]; /* NULL for a side that has no layers */
    struct kg_kv_shape shape[2];
};

struct kg_view {
    struct kg_view *on[2];
};

#define SIDE(d, s)         ((d)->side[s].backend)
#define CALL(d, s, f, ...) (SIDE(d, s)->f((d)->side[s].device, ##__VA_ARGS__))

static unsigned side_of(const struct kg_device *d, uint32_t layer)
{
    assert(layer < d->layers);
    return layer >= d->first;
}

static uint32_t layer_on(const struct kg_device *d, uint32_t layer)
{
    return layer >= d->first ? layer - d->first : layer;
}

/* Ends the step of the side that has begun it, so that its memory may be read and written. */
static void pause_step(struct kg_device *d)
{
    if (d->stepping != NEITHER)
        CALL(d, d->stepping, step_end);
    d->stepping = NEITHER;
}

static void *room_between(struct kg_device *d, size_t bytes)
{
    if (d->between_bytes < bytes) {
        free(d->between);
        d->between = malloc(bytes);
        d->between_bytes = d->between ? bytes : 0;
        d->no_room |= !d->between;
    }
    return d->between;
}

/* The leading bytes of a buffer are needed where the device computes now. A side that fails remembers it. */
static struct kg_buffer *use(struct kg_device *d, const struct kg_buffer *buffer, size_t bytes)
{
    struct kg_buffer *b = (struct kg_buffer *)buffer;
    struct kg_error err;
    const unsigned s = d->now;
    assert(bytes <= b->bytes);
    if (b->there[s] < bytes) {
        pause_step(d);
        void *between = room_between(d, bytes);
        if (between && CALL(d, !s, read, b->on[!s], 0, between, bytes, &err) == KG_OK)
            CALL(d, s, write, b->on[s], 0, between, bytes);
        b->there[s] = bytes;
    }
    return b->on[s];
}

/* A buffer that is about to be written there, its leading bytes. */
static struct kg_buffer *make(struct kg_device *d, struct kg_buffer *b, size_t bytes)
{
    const unsigned s = d->now;
    assert(bytes <= b->bytes);
    b->there[s] = b->there[s] < bytes ? bytes : b->there[s];
    b->there[!s] = 0;
    return b->on[s];
}

/* Before an operation, when all that it reads is there. */
static void begin(struct kg_device *d)
{
    if (d->rows == 0 || d->stepping == d->now)
        return;
    pause_step(d);
    CALL(d, d->now, step_begin, d->rows);
    d->stepping = d->now;
}

static size_t floats(size_t rows, size_t cols)
{
    return rows * cols * sizeof(float);
}

static void close_device(struct kg_device *d)
{
    for (unsigned s = 0; s < 2; s++)
        CALL(d, s, close);
    free(d->between);
    free(d);
}

enum kg_status kg_split_open(const struct kg_split_side sides[2], uint32_t first, uint32_t layers, struct kg_device **out, struct kg_error *err)
{
    assert(first < layers && sides[0].backend->choose && sides[1].backend->choose);
    struct kg_device *d = calloc(1, sizeof *d);
    *out = NULL;
    if (!d) {
        for (unsigned s = 0; s < 2; s++)
            sides[s].backend->close(sides[s].device);
        return kg_fail_nomem(err, "opening two devices");
    }
    *d = (struct kg_device){ .side = { sides[0], sides[1] }, .first = first, .layers = layers, .layer = KG_NO_LAYER, .stepping = NEITHER };
    snprintf(d->describe, sizeof d->describe, "%.120s for %u of %u layers; %.120s", CALL(d, 1, describe), layers - first, layers, CALL(d, 0, describe));
    snprintf(d->numerics, sizeof d->numerics, "split %u of %u: %.330s; %.330s", first, layers, CALL(d, 0, numerics), CALL(d, 1, numerics));
    *out = d;
    return KG_OK;
}

static const char *describe(struct kg_device *d)
{
    return d->describe;
}

static const char *numerics(struct kg_device *d)
{
    return d->numerics;
}

static void buffer_free(struct kg_device *d, struct kg_buffer *b)
{
    for (unsigned s = 0; b && s < 2; s++)
        CALL(d, s, buffer_free, b->on[s]);
    free(b);
}

static enum kg_status buffer_create(struct kg_device *d, size_t bytes, struct kg_buffer **out, struct kg_error *err)
{
    struct kg_buffer *b = calloc(1, sizeof *b);
    if (!b)
        return kg_fail_nomem(err, "creating a buffer");
    *b = (struct kg_buffer){ .bytes = bytes, .there = { bytes, bytes } };
    enum kg_status status = CALL(d, 0, buffer_create, bytes, &b->on[0], err);
    if (status == KG_OK)
        status = CALL(d, 1, buffer_create, bytes, &b->on[1], err);
    if (status != KG_OK) {
        buffer_free(d, b);
        return status;
    }
    *out = b;
    return KG_OK;
}

static void write_buffer(struct kg_device *d, struct kg_buffer *b, size_t offset, const void *host, size_t bytes)
{
    pause_step(d);
    for (unsigned s = 0; s < 2; s++) {
        CALL(d, s, write, b->on[s], offset, host, bytes);
        if (b->there[s] >= offset && b->there[s] < offset + bytes)
            b->there[s] = offset + bytes;
    }
}

static enum kg_status wait_devices(struct kg_device *d, struct kg_error *err)
{
    pause_step(d);
    if (d->no_room)
        return kg_fail_nomem(err, "copying between two devices");
    const enum kg_status status = CALL(d, 0, wait, err);
    return status == KG_OK ? CALL(d, 1, wait, err) : status;
}

static enum kg_status read_buffer(struct kg_device *d, const struct kg_buffer *b, size_t offset, void *host, size_t bytes, struct kg_error *err)
{
    pause_step(d);
    const unsigned s = b->there[1] >= offset + bytes;
    const enum kg_status status = CALL(d, s, read, b->on[s], offset, host, bytes, err);
    if (status != KG_OK || d->no_room)
        return status != KG_OK ? status : wait_devices(d, err);
    return CALL(d, !s, wait, err); /* what it computed may have gone into this */
}

static size_t memory(struct kg_device *d)
{
    return CALL(d, 0, memory) + CALL(d, 1, memory);
}

static void set_layer(struct kg_device *d, uint32_t layer)
{
    d->layer = layer;
    if (layer != KG_NO_LAYER)
        d->now = side_of(d, layer);
}

static void matrix_free(struct kg_device *d, struct kg_matrix *w)
{
    for (unsigned s = 0; w && s < 2; s++)
        if (w->on[s])
            CALL(d, s, matrix_free, w->on[s]);
    free(w);
}

static enum kg_status matrix_create(struct kg_device *d, enum kg_type type, uint32_t rows, uint32_t cols, const void *blocks, unsigned uses,
                                    struct kg_matrix **out, struct kg_error *err)
{
    unsigned on[2] = { uses & KG_USE_ROWS, uses & KG_USE_MATMUL }; /* of no layer: the embedding, the output */
    if (d->layer != KG_NO_LAYER) {
        on[side_of(d, d->layer)] = uses;
        on[!side_of(d, d->layer)] = 0;
    }
    struct kg_matrix *w = calloc(1, sizeof *w);
    if (!w)
        return kg_fail_nomem(err, "storing a matrix");
    enum kg_status status = KG_OK;
    for (unsigned s = 0; s < 2 && status == KG_OK; s++)
        if (on[s])
            status = CALL(d, s, matrix_create, type, rows, cols, blocks, on[s], &w->on[s], err);
    if (status != KG_OK) {
        matrix_free(d, w);
        return status;
    }
    *out = w;
    return KG_OK;
}

static void kv_free(struct kg_device *d, struct kg_kv *kv)
{
    for (unsigned s = 0; kv && s < 2; s++)
        if (kv->on[s])
            CALL(d, s, kv_free, kv->on[s]);
    free(kv);
}

static enum kg_status kv_create(struct kg_device *d, const struct kg_kv_shape *shape, struct kg_kv **out, struct kg_error *err)
{
    assert(shape->layers == d->layers);
    struct kg_kv *kv = calloc(1, sizeof *kv);
    if (!kv)
        return kg_fail_nomem(err, "creating pages");
    enum kg_status status = KG_OK;
    for (unsigned s = 0; s < 2 && status == KG_OK; s++) {
        kv->shape[s] = *shape;
        kv->shape[s].layers = s ? d->layers - d->first : d->first;
        if (kv->shape[s].layers)
            status = CALL(d, s, kv_create, &kv->shape[s], &kv->on[s], err);
    }
    if (status != KG_OK) {
        kv_free(d, kv);
        return status;
    }
    *out = kv;
    return KG_OK;
}

/* What one side has more than the other, after a failure, stays for the next time. */
static enum kg_status kv_reserve(struct kg_device *d, struct kg_kv *kv, uint32_t pages, struct kg_error *err)
{
    enum kg_status status = KG_OK;
    for (unsigned s = 0; s < 2 && status == KG_OK; s++)
        if (kv->on[s])
            status = CALL(d, s, kv_reserve, kv->on[s], pages, err);
    return status;
}

/* Where a side's layers begin in a page, and in its index. */
static size_t page_offset(const struct kg_kv *kv, unsigned side)
{
    return side ? KG_KV_PAGE_BYTES(&kv->shape[0]) : 0;
}

static size_t index_offset(const struct kg_kv *kv, unsigned side)
{
    return side ? KG_INDEX_PAGE_BYTES(&kv->shape[0]) : 0;
}

static enum kg_status kv_export(struct kg_device *d, const struct kg_kv *kv, uint32_t page, void *host, struct kg_error *err)
{
    enum kg_status status = KG_OK;
    for (unsigned s = 0; s < 2 && status == KG_OK; s++)
        if (kv->on[s])
            status = CALL(d, s, kv_export, kv->on[s], page, (char *)host + page_offset(kv, s), err);
    return status;
}

static void kv_import(struct kg_device *d, struct kg_kv *kv, uint32_t page, const void *host)
{
    for (unsigned s = 0; s < 2; s++)
        if (kv->on[s])
            CALL(d, s, kv_import, kv->on[s], page, (const char *)host + page_offset(kv, s));
}

/* A token is indexed in every layer only where it is so on both sides. */
static enum kg_status index_export(struct kg_device *d, const struct kg_kv *kv, uint32_t page, void *host, uint32_t *tokens, struct kg_error *err)
{
    enum kg_status status = KG_OK;
    *tokens = KG_PAGE;
    for (unsigned s = 0; s < 2 && status == KG_OK; s++) {
        uint32_t own = KG_PAGE;
        if (kv->on[s])
            status = CALL(d, s, index_export, kv->on[s], page, (char *)host + index_offset(kv, s), &own, err);
        *tokens = own < *tokens ? own : *tokens;
    }
    return status;
}

static void index_import(struct kg_device *d, struct kg_kv *kv, uint32_t page, const void *host, uint32_t tokens)
{
    for (unsigned s = 0; s < 2; s++)
        if (kv->on[s])
            CALL(d, s, index_import, kv->on[s], page, (const char *)host + index_offset(kv, s), tokens);
}

static const char *kv_notice(struct kg_device *d, const struct kg_kv *kv)
{
    const char *notice = NULL;
    for (unsigned s = 0; s < 2 && !notice; s++)
        if (kv->on[s] && SIDE(d, s)->kv_notice)
            notice = CALL(d, s, kv_notice, kv->on[s]);
    return notice;
}

static void view_free(struct kg_device *d, struct kg_view *view)
{
    for (unsigned s = 0; view && s < 2; s++)
        CALL(d, s, view_free, view->on[s]);
    free(view);
}

static enum kg_status view_create(struct kg_device *d, struct kg_view **out, struct kg_error *err)
{
    struct kg_view *view = calloc(1, sizeof *view);
    if (!view)
        return kg_fail_nomem(err, "creating a view");
    enum kg_status status = CALL(d, 0, view_create, &view->on[0], err);
    if (status == KG_OK)
        status = CALL(d, 1, view_create, &view->on[1], err);
    if (status != KG_OK) {
        view_free(d, view);
        return status;
    }
    *out = view;
    return KG_OK;
}

static enum kg_status view_set(struct kg_device *d, struct kg_view *view, const struct kg_span *spans, uint32_t n, struct kg_error *err)
{
    const enum kg_status status = CALL(d, 0, view_set, view->on[0], spans, n, err);
    return status == KG_OK ? CALL(d, 1, view_set, view->on[1], spans, n, err) : status;
}

static void step_begin(struct kg_device *d, uint32_t rows)
{
    assert(rows >= 1 && rows <= KG_ROWS_MAX);
    d->rows = rows;
}

static void step_end(struct kg_device *d)
{
    pause_step(d);
    d->rows = 0;
}

static void embed(struct kg_device *d, struct kg_buffer *out, const struct kg_matrix *w, const struct kg_buffer *ids, float scale, uint32_t rows)
{
    d->now = 0;
    const struct kg_buffer *in = use(d, ids, rows * sizeof(int32_t));
    begin(d);
    /* how wide it is, the side knows: all that the buffer has room for counts as written */
    CALL(d, 0, embed, make(d, out, out->bytes), w->on[0], in, scale, rows);
}

static void rmsnorm(struct kg_device *d, struct kg_buffer *out, const struct kg_buffer *x, const struct kg_buffer *weight, float eps, uint32_t rows,
                    uint32_t cols)
{
    const struct kg_buffer *in = use(d, x, floats(rows, cols)), *by = use(d, weight, floats(1, cols));
    begin(d);
    CALL(d, d->now, rmsnorm, make(d, out, floats(rows, cols)), in, by, eps, rows, cols);
}

static void matmul(struct kg_device *d, struct kg_buffer *out, const struct kg_matrix *w, const struct kg_buffer *x, const struct kg_buffer *bias, uint32_t rows)
{
    const struct kg_buffer *in = use(d, x, x->there[!d->now]), *to_add = bias ? use(d, bias, bias->bytes) : NULL;
    begin(d);
    assert(w->on[d->now]);
    CALL(d, d->now, matmul, make(d, out, out->bytes), w->on[d->now], in, to_add, rows);
}

static void add(struct kg_device *d, struct kg_buffer *x, const struct kg_buffer *y, size_t n)
{
    const struct kg_buffer *in = use(d, y, floats(n, 1));
    (void)use(d, x, floats(n, 1));
    begin(d);
    CALL(d, d->now, add, make(d, x, floats(n, 1)), in, n);
}

static void silu_mul(struct kg_device *d, struct kg_buffer *out, const struct kg_buffer *gate, const struct kg_buffer *up, size_t n)
{
    const struct kg_buffer *g = use(d, gate, floats(n, 1)), *u = use(d, up, floats(n, 1));
    begin(d);
    CALL(d, d->now, silu_mul, make(d, out, floats(n, 1)), g, u, n);
}

static void kv_write(struct kg_device *d, struct kg_kv *kv, uint32_t layer, const uint32_t *pages, uint32_t first, int32_t local, const struct kg_buffer *k,
                     const struct kg_buffer *v, const struct kg_rope *rope, uint32_t rows)
{
    d->now = side_of(d, layer);
    const size_t bytes = floats(rows, (size_t)kv->shape[0].kv_heads * kv->shape[0].head_size);
    const struct kg_buffer *keys = use(d, k, bytes), *values = use(d, v, bytes);
    begin(d);
    CALL(d, d->now, kv_write, kv->on[d->now], layer_on(d, layer), pages, first, local, keys, values, rope, rows);
}

static void index_write(struct kg_device *d, struct kg_kv *kv, uint32_t layer, const uint32_t *pages, uint32_t first, uint32_t rows, bool closes)
{
    d->now = side_of(d, layer);
    begin(d);
    CALL(d, d->now, index_write, kv->on[d->now], layer_on(d, layer), pages, first, rows, closes);
}

static size_t query_bytes(const struct kg_attention *a, uint32_t rows)
{
    return floats(rows, (size_t)a->heads * a->head_size);
}

static void attend(struct kg_device *d, struct kg_buffer *out, const struct kg_buffer *q, const struct kg_kv *kv, uint32_t layer, const struct kg_view *view,
                   const struct kg_attention *a, int32_t position, uint32_t rows)
{
    d->now = side_of(d, layer);
    const struct kg_buffer *in = use(d, q, query_bytes(a, rows));
    begin(d);
    CALL(d, d->now, attend, make(d, out, query_bytes(a, rows)), in, kv->on[d->now], layer_on(d, layer), view->on[d->now], a, position, rows);
}

static void choose(struct kg_device *d, struct kg_buffer *chosen, const struct kg_buffer *q, const struct kg_kv *kv, uint32_t layer, const struct kg_view *view,
                   const struct kg_attention *a, const struct kg_look *look, int32_t position, uint32_t rows)
{
    d->now = side_of(d, layer);
    const struct kg_buffer *in = use(d, q, query_bytes(a, rows));
    begin(d);
    CALL(d, d->now, choose, make(d, chosen, (size_t)rows * a->kv_heads * look->k * sizeof(int32_t)), in, kv->on[d->now], layer_on(d, layer),
         view->on[d->now], a, look, position, rows);
}

static void attend_chosen(struct kg_device *d, struct kg_buffer *out, const struct kg_buffer *q, const struct kg_kv *kv, uint32_t layer,
                          const struct kg_view *view, const struct kg_attention *a, const struct kg_look *look, const struct kg_buffer *chosen,
                          int32_t position, uint32_t rows)
{
    d->now = side_of(d, layer);
    const struct kg_buffer *in = use(d, q, query_bytes(a, rows));
    const struct kg_buffer *list = use(d, chosen, (size_t)rows * a->kv_heads * look->k * sizeof(int32_t));
    begin(d);
    CALL(d, d->now, attend_chosen, make(d, out, query_bytes(a, rows)), in, kv->on[d->now], layer_on(d, layer), view->on[d->now], a, look, list, position, rows);
}

static void copy_row(struct kg_device *d, struct kg_buffer *out, uint32_t to, const struct kg_buffer *x, uint32_t from, uint32_t cols)
{
    const struct kg_buffer *in = use(d, x, floats((size_t)from + 1, cols));
    (void)use(d, out, floats(to, cols)); /* the rows before it stay */
    begin(d);
    CALL(d, d->now, copy_row, make(d, out, floats((size_t)to + 1, cols)), to, in, from, cols);
}

static void top(struct kg_device *d, struct kg_buffer *ids, struct kg_buffer *values, const struct kg_buffer *logits, size_t offset, uint32_t n, uint32_t k)
{
    const struct kg_buffer *in = use(d, logits, floats(offset + n, 1));
    begin(d);
    struct kg_buffer *number = make(d, ids, k * sizeof(int32_t)), *value = make(d, values, floats(k, 1));
    CALL(d, d->now, top, number, value, in, offset, n, k);
}

const struct kg_backend kg_backend_split = {
    .name = "split",
    .close = close_device,
    .describe = describe,
    .numerics = numerics,
    .buffer_create = buffer_create,
    .buffer_free = buffer_free,
    .write = write_buffer,
    .read = read_buffer,
    .wait = wait_devices,
    .memory = memory,
    .layer = set_layer,
    .matrix_create = matrix_create,
    .matrix_free = matrix_free,
    .kv_create = kv_create,
    .kv_reserve = kv_reserve,
    .kv_free = kv_free,
    .kv_export = kv_export,
    .kv_import = kv_import,
    .kv_notice = kv_notice,
    .view_create = view_create,
    .view_set = view_set,
    .view_free = view_free,
    .step_begin = step_begin,
    .step_end = step_end,
    .embed = embed,
    .rmsnorm = rmsnorm,
    .matmul = matmul,
    .add = add,
    .silu_mul = silu_mul,
    .kv_write = kv_write,
    .attend = attend,
    .index_write = index_write,
    .index_export = index_export,
    .index_import = index_import,
    .choose = choose,
    .attend_chosen = attend_chosen,
    .copy_row = copy_row,
    .top = top,
};
