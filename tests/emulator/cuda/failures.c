/* Opens the CUDA backend, computes a product and lets go of everything, whatever fails on the way; for a run in which the
 * emulator makes a call fail. Prints the first message. Exit status: 0 nothing failed, 1 something did and was told, 2 it
 * was not told, or memory was kept. */
#include <stdio.h>
#include <string.h>

#include "kernels/backend.h"

#define N 64

static struct kg_error err;

/* Keeps the first failure of all. */
static bool good(enum kg_status status)
{
    static bool failed;
    if (status != KG_OK && !failed) {
        failed = true;
        printf("%s: %s\n", kg_status_name(status), err.text);
        if (strlen(err.text) < 10)
            printf("no message\n");
    }
    return !failed;
}

struct work {
    struct kg_buffer *x, *out;
    struct kg_matrix *w;
    struct kg_kv *kv;
    struct kg_view *view;
};

static bool create(const struct kg_backend *b, struct kg_device *d, struct work *work)
{
    static uint8_t weights[N * N / 32 * 34];
    const struct kg_kv_shape shape = { .layers = 1, .kv_heads = 1, .head_size = N };
    const uint32_t page = 0;
    const struct kg_span span = { &page, 1, 0, 0 };
    return good(b->buffer_create(d, N * sizeof(float), &work->x, &err)) && good(b->buffer_create(d, N * sizeof(float), &work->out, &err)) &&
           good(b->matrix_create(d, KG_Q8_0, N, N, weights, KG_USE_MATMUL, &work->w, &err)) && good(b->kv_create(d, &shape, &work->kv, &err)) &&
           good(b->kv_reserve(d, work->kv, 1, &err)) && good(b->view_create(d, &work->view, &err)) && good(b->view_set(d, work->view, &span, 1, &err));
}

static void compute(const struct kg_backend *b, struct kg_device *d, const struct work *work)
{
    const struct kg_rope rope = { .layout = KG_ROPE_NONE };
    const struct kg_attention attention = { .heads = 1, .kv_heads = 1, .head_size = N, .scale = 1, .rope = &rope };
    float out[N] = { 1 };
    b->write(d, work->x, 0, out, sizeof out);
    b->step_begin(d, 1);
    b->matmul(d, work->out, work->w, work->x, NULL, 1);
    b->kv_write(d, work->kv, 0, &(uint32_t){ 0 }, 0, 0, work->out, work->out, &rope, 1);
    b->attend(d, work->x, work->out, work->kv, 0, work->view, &attention, 0, 1);
    b->step_end(d);
    (void)(good(b->read(d, work->x, 0, out, sizeof out, &err)) && good(b->wait(d, &err)));
}

int main(void)
{
    const struct kg_backend *b = kg_backend_find("cuda");
    struct kg_device *d = NULL;
    struct work work = { 0 };
    if (!b) {
        printf("the backend is not found\n");
        return 2;
    }
    if (!good(b->open(&(struct kg_device_options){ 0 }, &d, &err)))
        return 1;
    const size_t before = b->memory(d);
    if (create(b, d, &work))
        compute(b, d, &work);
    b->view_free(d, work.view);
    b->kv_free(d, work.kv);
    b->matrix_free(d, work.w);
    b->buffer_free(d, work.out);
    b->buffer_free(d, work.x);
    const bool kept = b->memory(d) > before + ((size_t)1 << 20); /* scratch memory stays */
    b->close(d);
    if (kept)
        printf("memory was kept\n");
    return kept ? 2 : good(KG_OK) ? 0 : 1;
}
