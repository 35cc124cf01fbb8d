/* One decoded token through one layer, for the counters of the emulator:
 *
 *   decode HIDDEN HEADS KV_HEADS HEAD INNER DEPTH full|recall [ROWS]
 *
 * ROWS: only the attention of the last so many tokens of DEPTH + 1, at once, as a text is read.
 * Weights are Q4_K, but for V and the down projection, which are Q6_K, as files of 4 bits have them; their values do not
 * matter here. With recall: 4 sinks, a window of 64 and 576 recalled tokens, chosen by an index of 2 bits. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/backend.h"

struct layer {
    uint32_t hidden, heads, kv_heads, head, inner, depth;
    bool recall;
    uint32_t rows;
    const struct kg_backend *b;
    struct kg_device *d;
    struct kg_buffer *stream, *normed, *q, *k, *v, *gate, *up, *chosen;
};

static struct kg_error err;

static void must(enum kg_status status)
{
    if (status == KG_OK)
        return;
    fprintf(stderr, "decode: %s\n", err.text);
    exit(1);
}

static struct kg_buffer *buffer(const struct layer *l, size_t n)
{
    struct kg_buffer *out = NULL;
    must(l->b->buffer_create(l->d, n * sizeof(float), &out, &err));
    return out;
}

/* The matrix is there for this product only, so that large models fit. */
static void multiply(const struct layer *l, struct kg_buffer *out, const struct kg_buffer *x, enum kg_type type, uint32_t rows, uint32_t cols)
{
    uint32_t elements = 1, bytes = 0;
    struct kg_matrix *w = NULL;
    (void)kg_type_layout(type, &elements, &bytes);
    void *blocks = calloc((size_t)rows * cols / elements, bytes);
    if (!blocks)
        exit(1);
    must(l->b->matrix_create(l->d, type, rows, cols, blocks, KG_USE_MATMUL, &w, &err));
    free(blocks);
    l->b->matmul(l->d, out, w, x, NULL, 1);
    must(l->b->wait(l->d, &err));
    l->b->matrix_free(l->d, w);
}

/* Pages of zeros, all of them indexed. */
static struct kg_kv *make_kv(const struct layer *l, uint32_t pages)
{
    struct kg_kv *kv = NULL;
    const struct kg_kv_shape shape = { .layers = 1, .kv_heads = l->kv_heads, .head_size = l->head, .index_bits = 2 };
    void *page = calloc(1, KG_KV_PAGE_BYTES(&shape));
    if (!page)
        exit(1);
    must(l->b->kv_create(l->d, &shape, &kv, &err));
    must(l->b->kv_reserve(l->d, kv, pages, &err));
    for (uint32_t p = 0; p < pages; p++) {
        l->b->kv_import(l->d, kv, p, page);
        l->b->index_import(l->d, kv, p, page, KG_PAGE);
    }
    free(page);
    return kv;
}

static void attend(const struct layer *l)
{
    const uint32_t pages = l->depth / KG_PAGE + 1;
    const struct kg_rope rope = { .layout = KG_ROPE_HALVES, .pairs = l->head / 2, .scale = 1, .frequency = { 1 } };
    const struct kg_attention attention = { l->heads, l->kv_heads, l->head, (float)(1 / sqrt(l->head)), 0, &rope };
    const struct kg_look look = { .sinks = 4, .window = 64, .k = 576 };
    struct kg_kv *kv = make_kv(l, pages);
    struct kg_view *view = NULL;
    uint32_t *numbers = calloc(pages, sizeof *numbers);
    if (!numbers)
        exit(1);
    for (uint32_t p = 0; p < pages; p++)
        numbers[p] = p;
    const struct kg_span span = { numbers, l->depth + 1, 0, 0 };
    must(l->b->view_create(l->d, &view, &err));
    must(l->b->view_set(l->d, view, &span, 1, &err));
    if (l->rows == 1)
        l->b->kv_write(l->d, kv, 0, numbers, l->depth, 0, l->k, l->v, &rope, 1);
    const int32_t position = (int32_t)(l->depth + 1 - l->rows);
    if (l->recall) {
        l->b->choose(l->d, l->chosen, l->q, kv, 0, view, &attention, &look, position, l->rows);
        l->b->attend_chosen(l->d, l->normed, l->q, kv, 0, view, &attention, &look, l->chosen, position, l->rows);
    } else {
        l->b->attend(l->d, l->normed, l->q, kv, 0, view, &attention, position, l->rows);
    }
    must(l->b->wait(l->d, &err));
    l->b->view_free(l->d, view);
    l->b->kv_free(l->d, kv);
    free(numbers);
}

/* The layer. */
static void compute(const struct layer *l)
{
    const uint32_t width = l->heads * l->head, kv_width = l->kv_heads * l->head;
    l->b->rmsnorm(l->d, l->normed, l->stream, l->stream, 1e-6F, 1, l->hidden);
    multiply(l, l->q, l->normed, KG_Q4_K, width, l->hidden);
    multiply(l, l->k, l->normed, KG_Q4_K, kv_width, l->hidden);
    multiply(l, l->v, l->normed, KG_Q6_K, kv_width, l->hidden);
    attend(l);
    multiply(l, l->stream, l->normed, KG_Q4_K, l->hidden, width);
    l->b->add(l->d, l->stream, l->normed, l->hidden);
    l->b->rmsnorm(l->d, l->normed, l->stream, l->stream, 1e-6F, 1, l->hidden);
    multiply(l, l->gate, l->normed, KG_Q4_K, l->inner, l->hidden);
    multiply(l, l->up, l->normed, KG_Q4_K, l->inner, l->hidden);
    l->b->silu_mul(l->d, l->gate, l->gate, l->up, l->inner);
    multiply(l, l->normed, l->gate, KG_Q6_K, l->hidden, l->inner);
    l->b->add(l->d, l->stream, l->normed, l->hidden);
    must(l->b->wait(l->d, &err));
}

static void run(struct layer *l)
{
    const uint32_t width = l->heads * l->head, kv_width = l->kv_heads * l->head, widest = width > l->hidden ? width : l->hidden;
    struct kg_buffer **all[] = { &l->stream, &l->normed, &l->q, &l->k, &l->v, &l->gate, &l->up, &l->chosen };
    const size_t sizes[] = { l->hidden, widest, width, kv_width, kv_width, l->inner, l->inner, (size_t)l->kv_heads * 576 };
    for (size_t i = 0; i < 8; i++)
        *all[i] = buffer(l, sizes[i] * l->rows);
    if (l->rows > 1)
        attend(l);
    else
        compute(l);
    for (size_t i = 0; i < 8; i++)
        l->b->buffer_free(l->d, *all[i]);
}

int main(int argc, char **argv)
{
    struct layer l = { .b = kg_backend_find("cuda") };
    uint32_t *const numbers[] = { &l.hidden, &l.heads, &l.kv_heads, &l.head, &l.inner, &l.depth };
    if ((argc != 8 && argc != 9) || !l.b) {
        fprintf(stderr, "usage: decode HIDDEN HEADS KV_HEADS HEAD INNER DEPTH full|recall [ROWS], where the CUDA backend is found\n");
        return 2;
    }
    for (int i = 0; i < 6; i++)
        *numbers[i] = (uint32_t)strtoul(argv[i + 1], NULL, 10);
    l.recall = strcmp(argv[7], "recall") == 0;
    l.rows = argc == 9 ? (uint32_t)strtoul(argv[8], NULL, 10) : 1;
    if (l.rows < 1 || l.rows > KG_ROWS_MAX || l.rows > l.depth)
        l.rows = 1;
    must(l.b->open(&(struct kg_device_options){ 0 }, &l.d, &err));
    run(&l);
    l.b->close(l.d);
    return 0;
}
