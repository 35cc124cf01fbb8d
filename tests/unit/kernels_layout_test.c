/* Wherever blocks stand, with whatever bases and gaps, and whatever is looked at: the result is that of one dense computation over
 * the same visible tokens with the same relative position for every pair. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/type.h"
#include "tests/unit/conformance.h"
#include "tests/unit/seeded.h"

enum { SPANS_MAX = 5, TOKENS_MAX = 700, HEAD_MAX = 96, ROWS_MAX = 3 };

/* Blocks of `tokens` from `base` on; keys and values by token number over all of them, not rotated. */
struct layout {
    uint32_t spans, tokens[SPANS_MAX], total, rows, heads, kv_heads, head_size;
    int32_t base[SPANS_MAX], local[SPANS_MAX], position;
    bool closed[SPANS_MAX];
    struct kg_rope rope;
    struct kg_look look;
    float *k, *v, *q;
    bool *listed; /* (rows, kv_heads, total) */
};

static void make_layout(struct layout *l, uint64_t *seed)
{
    memset(l, 0, sizeof *l);
    l->kv_heads = 1 + seeded_below(seed, 3);
    l->heads = l->kv_heads * (1 + seeded_below(seed, 3));
    l->head_size = 32 * (1 + seeded_below(seed, 3));
    l->rows = 1 + seeded_below(seed, ROWS_MAX);
    l->spans = 1 + seeded_below(seed, SPANS_MAX);
    l->look = (struct kg_look){ .sinks = 4 + seeded_below(seed, 30), .window = 64 + seeded_below(seed, 100), .k = 1 + seeded_below(seed, 120) };
    l->rope = (struct kg_rope){ .layout = seeded_below(seed, 2) ? KG_ROPE_HALVES : KG_ROPE_INTERLEAVED, .scale = 1 };
    l->rope.pairs = l->head_size / 2 - 4 * seeded_below(seed, 3);
    for (uint32_t j = 0; j < l->rope.pairs; j++)
        l->rope.frequency[j] = pow(1e5, -2.0 * j / l->head_size);
    int32_t end = 0;
    for (uint32_t i = 0; i < l->spans; i++) {
        l->tokens[i] = 1 + seeded_below(seed, TOKENS_MAX / SPANS_MAX - 8);
        l->tokens[i] += i + 1 == l->spans && l->tokens[i] < l->rows ? l->rows : 0;
        l->base[i] = end + (seeded_below(seed, 2) ? (int32_t)seeded_below(seed, 400) : 0);
        l->local[i] = seeded_below(seed, 2) ? l->base[i] : (int32_t)seeded_below(seed, 60);
        l->closed[i] = i + 1 == l->spans || seeded_below(seed, 3) > 0;
        end = l->base[i] + (int32_t)l->tokens[i];
        l->total += l->tokens[i];
    }
    l->position = end - (int32_t)l->rows;
    l->k = test_alloc((size_t)l->total * l->kv_heads * l->head_size, sizeof *l->k);
    l->v = test_alloc((size_t)l->total * l->kv_heads * l->head_size, sizeof *l->v);
    l->q = test_alloc((size_t)l->rows * l->heads * l->head_size, sizeof *l->q);
    l->listed = test_alloc((size_t)l->rows * l->kv_heads * l->total, sizeof *l->listed);
    seeded_normals(seed, 1, l->k, (size_t)l->total * l->kv_heads * l->head_size);
    seeded_normals(seed, 1, l->v, (size_t)l->total * l->kv_heads * l->head_size);
    seeded_normals(seed, 1.5, l->q, (size_t)l->rows * l->heads * l->head_size);
}

static void free_layout(struct layout *l)
{
    free(l->k);
    free(l->v);
    free(l->q);
    free(l->listed);
}

/* q . k with the query ahead of the key by `distance`. */
static double product(const struct layout *l, const float *q, const float *k, double distance)
{
    const struct kg_rope *rope = &l->rope;
    double sum = 0;
    for (uint32_t j = 0; j < rope->pairs; j++) {
        uint32_t a = rope->layout == KG_ROPE_INTERLEAVED ? 2 * j : j, b = rope->layout == KG_ROPE_INTERLEAVED ? 2 * j + 1 : j + rope->pairs;
        double t = distance * rope->frequency[j], x = (double)q[a] * cos(t) - (double)q[b] * sin(t), y = (double)q[a] * sin(t) + (double)q[b] * cos(t);
        sum += x * (double)k[a] + y * (double)k[b];
    }
    for (uint32_t d = 2 * rope->pairs; d < l->head_size; d++)
        sum += (double)q[d] * (double)k[d];
    return sum;
}

/* Whether row r looks at token t of span i, for a KV head; `all`: whatever is visible. */
static bool looks(const struct layout *l, uint32_t r, uint32_t kv_head, uint32_t i, uint32_t t, uint32_t number, bool all)
{
    int32_t at = l->base[i] + (int32_t)t, p = l->position + (int32_t)r;
    if (at > p)
        return false;
    bool indexed = l->closed[i] || t / KG_PAGE < l->tokens[i] / KG_PAGE;
    return all || at < (int32_t)l->look.sinks || at > p - (int32_t)l->look.window || !indexed ||
           l->listed[((size_t)r * l->kv_heads + kv_head) * l->total + number];
}

static void dense_head(const struct layout *l, uint32_t r, uint32_t head, bool all, float *out)
{
    const uint32_t kv_head = head / (l->heads / l->kv_heads), n = l->head_size;
    const float *q = l->q + ((size_t)r * l->heads + head) * n;
    double total = 0, sum[HEAD_MAX] = { 0 };
    for (uint32_t i = 0, number = 0; i < l->spans; i++)
        for (uint32_t t = 0; t < l->tokens[i]; t++, number++) {
            if (!looks(l, r, kv_head, i, t, number, all))
                continue;
            const size_t at = ((size_t)number * l->kv_heads + kv_head) * n;
            double w = exp(product(l, q, l->k + at, (double)l->position + r - l->base[i] - t) / sqrt(n));
            total += w;
            for (uint32_t d = 0; d < n; d++)
                sum[d] += w * (double)l->v[at + d];
        }
    for (uint32_t d = 0; d < n; d++)
        out[d] = (float)(sum[d] / total);
}

/* The layout on a device. */
struct loaded {
    struct rig rig;
    struct kg_kv *kv;
    struct kg_view *view;
    uint32_t pages[TOKENS_MAX / KG_PAGE + 2 * SPANS_MAX];
    struct kg_attention attention;
    struct kg_buffer *query;
};

static void load(struct loaded *d, const struct layout *l, const struct variant *variant, uint64_t *seed)
{
    const struct kg_kv_shape shape = { .layers = 1, .kv_heads = l->kv_heads, .head_size = l->head_size, .index_bits = 2 };
    const uint32_t count = sizeof d->pages / sizeof *d->pages;
    struct kg_span spans[SPANS_MAX];
    d->rig = rig_open(variant, 2);
    assert_int_equal(d->rig.b->kv_create(d->rig.d, &shape, &d->kv, NULL), KG_OK);
    assert_int_equal(d->rig.b->kv_reserve(d->rig.d, d->kv, count, NULL), KG_OK);
    assert_int_equal(d->rig.b->view_create(d->rig.d, &d->view, NULL), KG_OK);
    for (uint32_t i = 0; i < count; i++)
        d->pages[i] = i;
    seeded_shuffle(seed, d->pages, count);
    const uint32_t *next = d->pages;
    size_t number = 0, width = (size_t)l->kv_heads * l->head_size;
    for (uint32_t i = 0; i < l->spans; number += l->tokens[i++]) {
        struct kg_buffer *k = rig_upload(&d->rig, l->k + number * width, l->tokens[i] * width * sizeof *l->k);
        struct kg_buffer *v = rig_upload(&d->rig, l->v + number * width, l->tokens[i] * width * sizeof *l->v);
        spans[i] = (struct kg_span){ next, l->tokens[i], l->base[i], l->local[i] };
        d->rig.b->kv_write(d->rig.d, d->kv, 0, next, 0, l->local[i], k, v, &l->rope, l->tokens[i]);
        d->rig.b->index_write(d->rig.d, d->kv, 0, next, 0, l->tokens[i], l->closed[i]);
        next += (l->tokens[i] + KG_PAGE - 1) / KG_PAGE;
        rig_free(&d->rig, k);
        rig_free(&d->rig, v);
    }
    assert_int_equal(d->rig.b->view_set(d->rig.d, d->view, spans, l->spans, NULL), KG_OK);
    d->attention = (struct kg_attention){ .heads = l->heads, .kv_heads = l->kv_heads, .head_size = l->head_size,
                                          .scale = (float)(1 / sqrt(l->head_size)), .rope = &l->rope };
    d->query = rig_upload(&d->rig, l->q, (size_t)l->rows * l->heads * l->head_size * sizeof *l->q);
}

static void unload(struct loaded *d)
{
    rig_free(&d->rig, d->query);
    d->rig.b->view_free(d->rig.d, d->view);
    d->rig.b->kv_free(d->rig.d, d->kv);
    rig_close(&d->rig);
}

static void compare(const struct layout *l, const float *got, bool all, unsigned trial)
{
    float want[HEAD_MAX];
    for (uint32_t r = 0; r < l->rows; r++)
        for (uint32_t h = 0; h < l->heads; h++) {
            dense_head(l, r, h, all, want);
            double error = norm_error(got + ((size_t)r * l->heads + h) * l->head_size, want, l->head_size);
            if (!(error < 4e-3)) /* keys and values are rounded to 11 bits */
                fail_msg("trial %u, row %u, head %u, %s: %g away", trial, r, h, all ? "all" : "recalled", error);
        }
}

/* The list of a row and KV head is ascending, visible, choosable, and as long as it can be. */
static void take_lists(struct layout *l, const int32_t *chosen)
{
    memset(l->listed, 0, (size_t)l->rows * l->kv_heads * l->total * sizeof *l->listed);
    for (uint32_t r = 0; r < l->rows; r++)
        for (uint32_t h = 0; h < l->kv_heads; h++) {
            const int32_t *list = chosen + ((size_t)r * l->kv_heads + h) * l->look.k;
            bool *listed = l->listed + ((size_t)r * l->kv_heads + h) * l->total;
            uint32_t choosable = 0, found = 0;
            for (uint32_t i = 0, number = 0; i < l->spans; i++)
                for (uint32_t t = 0; t < l->tokens[i]; t++, number++)
                    choosable += looks(l, r, h, i, t, number, true) && !looks(l, r, h, i, t, number, false);
            for (; found < l->look.k && list[found] >= 0; found++) {
                assert_true((uint32_t)list[found] < l->total && (found == 0 || list[found] > list[found - 1]));
                listed[list[found]] = true;
            }
            assert_int_equal(found, choosable < l->look.k ? choosable : l->look.k);
        }
}

static void any_layout_is_one_dense_computation(void **state)
{
    const struct variant *variant = *state;
    const unsigned trials = conformance_long() ? 400 : 25;
    uint64_t seed = 20260901;
    for (unsigned trial = 0; trial < trials; trial++) {
        struct layout l;
        struct loaded d;
        make_layout(&l, &seed);
        load(&d, &l, variant, &seed);
        const size_t outs = (size_t)l.rows * l.heads * l.head_size, lists = (size_t)l.rows * l.kv_heads * l.look.k;
        float *got = test_alloc(outs, sizeof *got);
        int32_t *chosen = test_alloc(lists, sizeof *chosen);
        struct kg_buffer *out = rig_result(&d.rig, outs * sizeof *got), *list = rig_result(&d.rig, lists * sizeof *chosen);
        d.rig.b->attend(d.rig.d, out, d.query, d.kv, 0, d.view, &d.attention, l.position, l.rows);
        rig_take(&d.rig, out, got, outs * sizeof *got);
        compare(&l, got, true, trial);
        d.rig.b->choose(d.rig.d, list, d.query, d.kv, 0, d.view, &d.attention, &l.look, l.position, l.rows);
        out = rig_result(&d.rig, outs * sizeof *got);
        d.rig.b->attend_chosen(d.rig.d, out, d.query, d.kv, 0, d.view, &d.attention, &l.look, list, l.position, l.rows);
        rig_take(&d.rig, out, got, outs * sizeof *got);
        rig_take(&d.rig, list, chosen, lists * sizeof *chosen);
        take_lists(&l, chosen);
        compare(&l, got, false, trial);
        free(got);
        free(chosen);
        unload(&d);
        free_layout(&l);
    }
}

static void on_ref(void **state)
{
    (void)state;
    void *ref = NULL;
    any_layout_is_one_dense_computation(&ref);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(any_layout_is_one_dense_computation) };
    const struct CMUnitTest ref[] = { cmocka_unit_test(on_ref) };
    return cmocka_run_group_tests(ref, NULL, NULL) + conformance_main(tests, 1);
}
