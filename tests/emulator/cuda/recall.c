/* The CUDA backend's key index, choice and attention over what was chosen, against ref. Prints TAP. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/backend.h"
#include "tests/unit/seeded.h"

#define TOKENS_MAX 400
#define PAGES      16

struct scene {
    uint32_t heads, kv_heads, head_size, bits, preamble, tokens, rows, k;
    enum kg_rope_layout layout;
    float soft_cap;
};

static const struct scene scenes[] = {
    { 6, 2, 64, 2, 40, 360, 3, 24, KG_ROPE_HALVES, 0 },      { 9, 1, 32, 1, 17, 300, 2, 100, KG_ROPE_INTERLEAVED, 0 },
    { 2, 2, 128, 4, 5, 333, 2, 16, KG_ROPE_HALVES, 20 },     { 3, 3, 256, 2, 33, 260, 1, 8, KG_ROPE_NONE, 0 },
    { 4, 2, 16, 2, 40, 90, 2, 64, KG_ROPE_INTERLEAVED, 0 }, /* fewer to choose from than k */
};

/* What one backend computed. */
struct outcome {
    uint8_t *index; /* all pages */
    uint32_t indexed[PAGES];
    int32_t *chosen;
    float *out;
};

static int tests, failures;

static void report(bool good, const char *what, const struct scene *s)
{
    printf("%sok %d - %s: %u/%u heads of %u, %u bits\n", good ? "" : "not ", ++tests, what, s->heads, s->kv_heads, s->head_size, s->bits);
    failures += !good;
}

static void must(enum kg_status status, const struct kg_error *err)
{
    if (status == KG_OK)
        return;
    printf("Bail out! %s\n", err->text);
    exit(1);
}

static void *get(size_t n, size_t size)
{
    void *p = calloc(n ? n : 1, size);
    if (!p)
        exit(1);
    return p;
}

struct bench {
    const struct kg_backend *b;
    struct kg_device *d;
    struct kg_kv *kv;
    struct kg_view *view;
    struct kg_rope rope;
    struct kg_attention attention;
    uint32_t pages[2][PAGES];
};

static struct kg_buffer *upload(const struct bench *w, const void *host, size_t bytes)
{
    struct kg_buffer *buffer = NULL;
    struct kg_error err;
    must(w->b->buffer_create(w->d, bytes, &buffer, &err), &err);
    if (host)
        w->b->write(w->d, buffer, 0, host, bytes);
    return buffer;
}

/* Writes a block in two calls, so that a page is indexed that an earlier call began. */
static void write_block(const struct bench *w, const uint32_t *pages, uint32_t tokens, int32_t local, const float *k, const float *v, bool closes)
{
    const size_t width = (size_t)w->attention.kv_heads * w->attention.head_size;
    for (uint32_t first = 0, n = tokens / 3; first < tokens; first += n, n = tokens - first) {
        struct kg_buffer *keys = upload(w, k + first * width, n * width * sizeof *k), *values = upload(w, v + first * width, n * width * sizeof *v);
        w->b->step_begin(w->d, n);
        w->b->kv_write(w->d, w->kv, 1, pages, first, local, keys, values, &w->rope, n);
        w->b->index_write(w->d, w->kv, 1, pages, first, n, closes && first + n == tokens);
        w->b->step_end(w->d);
        w->b->buffer_free(w->d, keys);
        w->b->buffer_free(w->d, values);
    }
}

static void set_up(struct bench *w, const struct scene *s)
{
    struct kg_error err;
    const struct kg_kv_shape shape = { .layers = 2, .kv_heads = s->kv_heads, .head_size = s->head_size, .index_bits = s->bits };
    w->rope = (struct kg_rope){ .layout = s->layout, .pairs = s->layout == KG_ROPE_NONE ? 0 : s->head_size / 2, .scale = 1 };
    for (uint32_t j = 0; j < w->rope.pairs; j++)
        w->rope.frequency[j] = pow(1e5, -(double)j / w->rope.pairs);
    w->attention = (struct kg_attention){ s->heads, s->kv_heads, s->head_size, (float)(1 / sqrt(s->head_size)), s->soft_cap, &w->rope };
    must(w->b->open(&(struct kg_device_options){ .threads = 1 }, &w->d, &err), &err);
    must(w->b->kv_create(w->d, &shape, &w->kv, &err), &err);
    must(w->b->kv_reserve(w->d, w->kv, PAGES, &err), &err);
    must(w->b->view_create(w->d, &w->view, &err), &err);
    for (uint32_t p = 0; p < PAGES; p++)
        w->pages[p >= 2][p >= 2 ? p - 2 : p] = PAGES - 1 - p;
}

static void tear_down(struct bench *w)
{
    w->b->view_free(w->d, w->view);
    w->b->kv_free(w->d, w->kv);
    w->b->close(w->d);
}

static void take(const struct bench *w, struct kg_buffer *buffer, void *host, size_t bytes)
{
    struct kg_error err;
    must(w->b->read(w->d, buffer, 0, host, bytes, &err), &err);
    w->b->buffer_free(w->d, buffer);
}

/* A closed preamble, and a block far behind it that still grows. With `chosen` that choice is looked at, else the own. */
static struct outcome run(const struct kg_backend *b, const struct scene *s, uint32_t rows, const int32_t *chosen)
{
    struct bench w = { .b = b };
    struct kg_error err;
    uint64_t seed = s->head_size + s->bits;
    const size_t width = (size_t)s->kv_heads * s->head_size, all = (s->preamble + s->tokens) * width, queries = (size_t)rows * s->heads * s->head_size;
    float *k = get(all, sizeof *k), *v = get(all, sizeof *v), *q = get((size_t)s->rows * s->heads * s->head_size, sizeof *q);
    seeded_normals(&seed, 1, k, all);
    seeded_normals(&seed, 1, v, all);
    seeded_normals(&seed, 1.5, q, (size_t)s->rows * s->heads * s->head_size);
    set_up(&w, s);
    write_block(&w, w.pages[0], s->preamble, 0, k, v, true);
    write_block(&w, w.pages[1], s->tokens, (int32_t)s->preamble, k + s->preamble * width, v + s->preamble * width, false);
    const struct kg_span spans[] = { { w.pages[0], s->preamble, 0, 0 }, { w.pages[1], s->tokens, 1000, (int32_t)s->preamble } };
    const struct kg_look look = { .sinks = 4, .window = 64, .k = s->k };
    const int32_t position = 1000 + (int32_t)(s->tokens - s->rows);
    must(w.b->view_set(w.d, w.view, spans, 2, &err), &err);
    const size_t choice = (size_t)rows * s->kv_heads * s->k;
    struct outcome o = { get(PAGES, KG_INDEX_PAGE_BYTES((&(struct kg_kv_shape){ 2, s->kv_heads, s->head_size, s->bits }))), { 0 },
                         get(choice, sizeof *o.chosen), get(queries, sizeof *o.out) };
    struct kg_buffer *query = upload(&w, q, queries * sizeof *q), *picked = upload(&w, chosen, choice * sizeof *chosen), *out = upload(&w, NULL, queries * sizeof *q);
    if (!chosen)
        w.b->choose(w.d, picked, query, w.kv, 1, w.view, &w.attention, &look, position, rows);
    w.b->attend_chosen(w.d, out, query, w.kv, 1, w.view, &w.attention, &look, picked, position, rows);
    take(&w, out, o.out, queries * sizeof *o.out);
    take(&w, picked, o.chosen, choice * sizeof *o.chosen);
    w.b->buffer_free(w.d, query);
    const size_t page_bytes = KG_INDEX_PAGE_BYTES((&(struct kg_kv_shape){ 2, s->kv_heads, s->head_size, s->bits }));
    for (uint32_t p = 0; p < (s->preamble + 31) / 32; p++)
        must(w.b->index_export(w.d, w.kv, w.pages[0][p], o.index + p * page_bytes, &o.indexed[p], &err), &err);
    for (uint32_t p = 0; p < s->tokens / 32; p++)
        must(w.b->index_export(w.d, w.kv, w.pages[1][p], o.index + (2 + p) * page_bytes, &o.indexed[2 + p], &err), &err);
    tear_down(&w);
    free(k);
    free(v);
    free(q);
    return o;
}

static void let_go(struct outcome *o)
{
    free(o->index);
    free(o->chosen);
    free(o->out);
}

/* Layer 1 of every indexed page, but for the keys that f32 rotation rounds to a neighbouring half: few codes differ. */
static bool same_index(const struct scene *s, const struct outcome *a, const struct outcome *b)
{
    const size_t head = KG_INDEX_HEAD_BYTES((&(struct kg_kv_shape){ 2, s->kv_heads, s->head_size, s->bits })), layer = s->kv_heads * head;
    size_t other = 0, n = 0;
    for (uint32_t p = 0; p < 2 + s->tokens / 32; p++) {
        if (p == 1 && s->preamble <= 32)
            continue;
        for (size_t i = layer; i < 2 * layer; i++, n++)
            other += a->index[p * 2 * layer + i] != b->index[p * 2 * layer + i];
    }
    return n > 0 && other * 100 <= n;
}

/* Tokens in one choice and not in the other. */
static uint32_t differing(const int32_t *a, const int32_t *b, uint32_t k)
{
    uint32_t n = 0, j = 0;
    for (uint32_t i = 0; i < k; i++) {
        while (j < k && b[j] >= 0 && b[j] < a[i])
            j++;
        n += a[i] >= 0 && (j == k || b[j] != a[i]);
    }
    return n;
}

static bool ascending(const int32_t *chosen, uint32_t k)
{
    bool good = true;
    for (uint32_t i = 1; i < k; i++)
        good = good && (chosen[i] == -1 || (chosen[i - 1] >= 0 && chosen[i] > chosen[i - 1]));
    return good;
}

static double off(const float *got, const float *want, size_t n)
{
    double difference = 0, size = 0;
    for (size_t i = 0; i < n; i++) {
        difference += ((double)got[i] - (double)want[i]) * ((double)got[i] - (double)want[i]);
        size += (double)want[i] * (double)want[i];
    }
    return sqrt(difference / size);
}

static void check(const struct kg_backend *cuda, const struct scene *s)
{
    struct outcome want = run(&kg_backend_ref, s, s->rows, NULL), got = run(cuda, s, s->rows, NULL), same = run(cuda, s, s->rows, want.chosen);
    struct outcome alone = run(cuda, s, 1, NULL);
    const size_t width = (size_t)s->heads * s->head_size, row = (size_t)s->kv_heads * s->k;
    report(same_index(s, &want, &got), "the index is that of ref", s);
    bool good = true, full = true;
    for (uint32_t i = 0; i < s->rows * s->kv_heads; i++) {
        const int32_t *a = want.chosen + (size_t)i * s->k, *b = got.chosen + (size_t)i * s->k;
        good = good && ascending(b, s->k) && differing(a, b, s->k) <= 1 + s->k / 20;
        full = full && (a[s->k - 1] == -1) == (b[s->k - 1] == -1);
    }
    report(good && full, "the choice is that of ref, but for ties", s);
    report(off(same.out, want.out, s->rows * width) < 2e-3, "attention over ref's choice is that of ref", s);
    report(memcmp(alone.chosen, got.chosen, row * sizeof *got.chosen) == 0 && memcmp(alone.out, got.out, width * sizeof *got.out) == 0,
           "a row alone has the bits of a row among many", s);
    let_go(&want);
    let_go(&got);
    let_go(&same);
    let_go(&alone);
}

int main(void)
{
    const struct kg_backend *cuda = kg_backend_find("cuda");
    if (!cuda) {
        printf("Bail out! the CUDA backend is not found\n");
        return 1;
    }
    for (size_t i = 0; i < sizeof scenes / sizeof *scenes; i++)
        check(cuda, &scenes[i]);
    return failures != 0;
}
