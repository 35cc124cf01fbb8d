/* The reference against closed forms that share nothing with it: complex numbers for rotation, sorting for top,
 * a dense computation over relative positions for spans. */
#include <complex.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/type.h"
#include "tests/unit/conformance.h"
#include "tests/unit/seeded.h"

#define HEAD  32
#define PAIRS 12
#define HEADS 6
#define KV    2

static struct kg_rope make_rope(enum kg_rope_layout layout)
{
    struct kg_rope rope = { .layout = layout, .pairs = PAIRS, .scale = 1.25F };
    for (uint32_t j = 0; j < PAIRS; j++)
        rope.frequency[j] = exp(-0.75 * j);
    return rope;
}

/* The product of q at position p and k at position p - distance, never rotating either: each pair is a complex number,
 * and the product's real part turns by the distance. */
static double turned_product(const double *q, const double *k, const struct kg_rope *rope, double distance)
{
    double sum = 0;
    for (uint32_t j = 0; j < PAIRS; j++) {
        uint32_t a = rope->layout == KG_ROPE_HALVES ? j : 2 * j, b = rope->layout == KG_ROPE_HALVES ? j + PAIRS : 2 * j + 1;
        double complex product = (q[a] + I * q[b]) * conj(k[a] + I * k[b]) * cexp(I * (distance * rope->frequency[j]));
        sum += creal(product) * (double)rope->scale * (double)rope->scale;
    }
    for (uint32_t d = 2 * PAIRS; d < HEAD; d++)
        sum += q[d] * k[d];
    return sum;
}

/* Blocks of a sequence, each read at its own place: `local` is where its keys were stored, `base` where it stands. */
static const struct {
    uint32_t tokens;
    int32_t base, local;
} blocks[] = { { 5, 0, 0 }, { 40, 5, 5 }, { 33, 1000, 5 }, { 70, 60000, 5 }, { 9, 60070, 75 } };
#define BLOCKS (sizeof blocks / sizeof *blocks)
#define TOKENS (5 + 40 + 33 + 70 + 9)

struct text {
    double k[TOKENS][KV][HEAD], v[TOKENS][KV][HEAD]; /* values exact in f16 */
    double place[TOKENS];
    float q[HEADS * HEAD];
};

static void make_text(struct text *text)
{
    uint64_t seed = 11;
    size_t t = 0;
    for (size_t b = 0; b < BLOCKS; b++) {
        for (uint32_t i = 0; i < blocks[b].tokens; i++, t++) {
            text->place[t] = blocks[b].base + (double)i;
            for (size_t j = 0; j < (size_t)KV * HEAD; j++) {
                text->k[t][j / HEAD][j % HEAD] = seeded_normal(&seed);
                text->v[t][j / HEAD][j % HEAD] = kg_f16_to_double(kg_f16_from_double(seeded_normal(&seed)));
            }
        }
    }
    seeded_normals(&seed, 1, text->q, (size_t)HEADS * HEAD);
}

static void dense_attention(const struct text *text, const struct kg_rope *rope, double cap, double position, double *out)
{
    for (size_t h = 0; h < HEADS; h++) {
        double total = 0, q[HEAD], *sum = out + h * HEAD;
        for (size_t d = 0; d < HEAD; d++) {
            q[d] = (double)text->q[h * HEAD + d];
            sum[d] = 0;
        }
        for (size_t t = 0; t < TOKENS; t++) {
            size_t g = h / (HEADS / KV);
            if (text->place[t] > position)
                continue;
            double s = 0.2 * turned_product(q, text->k[t][g], rope, position - text->place[t]);
            double weight = exp(cap > 0 ? cap * tanh(s / cap) : s);
            total += weight;
            for (size_t d = 0; d < HEAD; d++)
                sum[d] += weight * text->v[t][g][d];
        }
        for (size_t d = 0; d < HEAD; d++)
            sum[d] /= total;
    }
}

/* Keys and values of the text through kv_write, each block in pages of its own. */
static void write_blocks(const struct rig *rig, struct kg_kv *kv, const struct text *text, const struct kg_rope *rope, struct kg_span *spans,
                         uint32_t *pages)
{
    size_t t = 0;
    uint32_t next = 0;
    for (size_t b = 0; b < BLOCKS; b++) {
        uint32_t n = blocks[b].tokens;
        float k[70 * KV * HEAD], v[70 * KV * HEAD];
        for (size_t i = 0; i < (size_t)n * KV * HEAD; i++) {
            k[i] = (float)((const double *)text->k[t])[i];
            v[i] = (float)((const double *)text->v[t])[i];
        }
        spans[b] = (struct kg_span){ pages + next, n, blocks[b].base, blocks[b].local };
        for (uint32_t p = 0; p * KG_PAGE < n; p++, next++)
            pages[next] = 15 - next;
        struct kg_buffer *keys = rig_upload(rig, k, (size_t)n * KV * HEAD * sizeof *k), *values = rig_upload(rig, v, (size_t)n * KV * HEAD * sizeof *v);
        rig->b->kv_write(rig->d, kv, 1, spans[b].pages, 0, blocks[b].local, keys, values, rope, n);
        rig_free(rig, keys);
        rig_free(rig, values);
        t += n;
    }
}

/* Looking at blocks where they stand equals a dense computation with the same relative position for every pair, but for the
 * rounding of keys to f16. */
static void spans_equal_a_dense_computation(void **state)
{
    (void)state;
    struct text *text = test_alloc(1, sizeof *text);
    make_text(text);
    struct rig rig = rig_open(NULL, 1);
    for (int layout = KG_ROPE_INTERLEAVED; layout <= KG_ROPE_HALVES; layout++) {
        for (int32_t position = 60030; position <= 60078; position += 16) {
            double want[HEADS * HEAD];
            float got[HEADS * HEAD], expected[HEADS * HEAD];
            struct kg_rope rope = make_rope((enum kg_rope_layout)layout);
            struct kg_attention attention = { HEADS, KV, HEAD, 0.2F, position % 32 ? 3.0F : 0.0F, &rope };
            struct kg_kv *kv = NULL;
            struct kg_view *view = NULL;
            struct kg_span spans[BLOCKS];
            uint32_t pages[16];
            assert_int_equal(rig.b->kv_create(rig.d, &(struct kg_kv_shape){ .layers = 2, .kv_heads = KV, .head_size = HEAD }, &kv, NULL), KG_OK);
            assert_int_equal(rig.b->kv_reserve(rig.d, kv, 16, NULL), KG_OK);
            assert_int_equal(rig.b->view_create(rig.d, &view, NULL), KG_OK);
            write_blocks(&rig, kv, text, &rope, spans, pages);
            assert_int_equal(rig.b->view_set(rig.d, view, spans, BLOCKS, NULL), KG_OK);
            struct kg_buffer *q = rig_upload(&rig, text->q, sizeof text->q), *out = rig_result(&rig, sizeof got);
            rig.b->attend(rig.d, out, q, kv, 1, view, &attention, position, 1);
            rig_take(&rig, out, got, sizeof got);
            dense_attention(text, &rope, (double)attention.soft_cap, position, want);
            for (size_t i = 0; i < (size_t)HEADS * HEAD; i++)
                expected[i] = (float)want[i];
            assert_true(norm_error(got, expected, (size_t)HEADS * HEAD) < 1e-3);
            rig_free(&rig, q);
            rig.b->view_free(rig.d, view);
            rig.b->kv_free(rig.d, kv);
        }
    }
    rig_close(&rig);
    free(text);
}

/* Only the distance counts: one key stored for `local`, looked at from the same distance anywhere, gives one score. It is
 * read off the weight that a second key, of score zero, leaves:  w = 1 / (1 + exp(-s)). */
static void products_depend_on_the_distance_only(void **state)
{
    (void)state;
    struct rig rig = rig_open(NULL, 1);
    struct kg_rope rope = make_rope(KG_ROPE_HALVES);
    struct kg_attention attention = { 1, 1, HEAD, 0.125F, 0, &rope };
    struct kg_kv *kv = NULL;
    struct kg_view *view = NULL;
    float k[2 * HEAD] = { 0 }, v[2 * HEAD] = { 0 }, q[HEAD], out[HEAD];
    double exact_q[HEAD], exact_k[HEAD];
    uint64_t seed = 2;
    seeded_normals(&seed, 1, k, HEAD);
    seeded_normals(&seed, 1, q, HEAD);
    for (size_t d = 0; d < HEAD; d++) {
        exact_q[d] = (double)q[d];
        exact_k[d] = (double)k[d];
    }
    v[0] = 1;
    assert_int_equal(rig.b->kv_create(rig.d, &(struct kg_kv_shape){ .layers = 1, .kv_heads = 1, .head_size = HEAD }, &kv, NULL), KG_OK);
    assert_int_equal(rig.b->kv_reserve(rig.d, kv, 1, NULL), KG_OK);
    assert_int_equal(rig.b->view_create(rig.d, &view, NULL), KG_OK);
    struct kg_buffer *keys = rig_upload(&rig, k, sizeof k), *values = rig_upload(&rig, v, sizeof v), *query = rig_upload(&rig, q, sizeof q);
    for (int32_t i = 0; i < 60; i++) {
        int32_t local = i * 37, base = i * 1999, distance = 1 + i % 4 * 250;
        uint32_t page = 0;
        rig.b->kv_write(rig.d, kv, 0, &page, 0, local, keys, values, &rope, 2);
        assert_int_equal(rig.b->view_set(rig.d, view, &(struct kg_span){ &page, 2, base, local }, 1, NULL), KG_OK);
        struct kg_buffer *result = rig_result(&rig, sizeof out);
        rig.b->attend(rig.d, result, query, kv, 0, view, &attention, base + distance, 1);
        rig_take(&rig, result, out, sizeof out);
        double score = 0.125 * turned_product(exact_q, exact_k, &rope, distance);
        assert_true(fabs((double)out[0] - 1 / (1 + exp(-score))) < 5e-4);
    }
    rig_free(&rig, keys);
    rig_free(&rig, values);
    rig_free(&rig, query);
    rig.b->view_free(rig.d, view);
    rig.b->kv_free(rig.d, kv);
    rig_close(&rig);
}

/* Sums of small integers are exact. */
static void products_of_integers_are_exact(void **state)
{
    (void)state;
    enum { ROWS = 5, COLS = 300, OUT = 7 };
    float x[ROWS * COLS], w[OUT * COLS], bias[OUT], got[ROWS * OUT];
    struct rig rig = rig_open(NULL, 1);
    uint64_t seed = 3;
    for (size_t i = 0; i < (size_t)ROWS * COLS; i++)
        x[i] = (float)seeded_below(&seed, 200) - 100;
    for (size_t i = 0; i < (size_t)OUT * COLS; i++)
        w[i] = (float)seeded_below(&seed, 200) - 100;
    for (size_t i = 0; i < OUT; i++)
        bias[i] = (float)i - 3;
    struct kg_matrix *matrix = NULL;
    assert_int_equal(rig.b->matrix_create(rig.d, KG_F32, OUT, COLS, w, KG_USE_MATMUL, &matrix, NULL), KG_OK);
    struct kg_buffer *in = rig_upload(&rig, x, sizeof x), *b = rig_upload(&rig, bias, sizeof bias), *out = rig_result(&rig, sizeof got);
    rig.b->matmul(rig.d, out, matrix, in, b, ROWS);
    rig_take(&rig, out, got, sizeof got);
    for (size_t r = 0; r < ROWS; r++) {
        for (size_t j = 0; j < OUT; j++) {
            long sum = (long)bias[j];
            for (size_t c = 0; c < COLS; c++)
                sum += (long)x[r * COLS + c] * (long)w[j * COLS + c];
            assert_true(got[r * OUT + j] == (float)sum);
        }
    }
    rig.b->matrix_free(rig.d, matrix);
    rig_free(&rig, in);
    rig_free(&rig, b);
    rig_close(&rig);
}

/* A row of equal size has itself as its norm; silu(0) = 0, silu(ln 3) = 3/4 ln 3, silu of much is itself. */
static void norms_and_gates_have_known_values(void **state)
{
    (void)state;
    struct rig rig = rig_open(NULL, 1);
    const float x[4] = { 3, -3, 3, -3 }, weight[4] = { 1, 2, -0.5F, 4 }, gate[4] = { 0, 1.09861229F, 50, -50 }, up[4] = { 7, 4, 2, 1 };
    float got[4];
    struct kg_buffer *in = rig_upload(&rig, x, sizeof x), *w = rig_upload(&rig, weight, sizeof weight), *out = rig_result(&rig, sizeof got);
    rig.b->rmsnorm(rig.d, out, in, w, 7, 1, 4); /* sqrt(9 + 7) = 4 */
    rig_take(&rig, out, got, sizeof got);
    const float norms[4] = { 0.75F, -1.5F, -0.375F, -3 };
    assert_memory_equal(got, norms, sizeof got);
    struct kg_buffer *g = rig_upload(&rig, gate, sizeof gate), *u = rig_upload(&rig, up, sizeof up);
    out = rig_result(&rig, sizeof got);
    rig.b->silu_mul(rig.d, out, g, u, 4);
    rig_take(&rig, out, got, sizeof got);
    assert_true(got[0] == 0 && fabs((double)got[1] - 3 * log(3)) < 1e-6 && got[2] == 100 && got[3] < 0 && got[3] > -1e-19F);
    rig_free(&rig, in);
    rig_free(&rig, w);
    rig_free(&rig, g);
    rig_free(&rig, u);
    rig_close(&rig);
}

static const float *sorted_logits;

static int larger_first(const void *a, const void *b)
{
    int32_t i = *(const int32_t *)a, j = *(const int32_t *)b;
    float x = sorted_logits[i], y = sorted_logits[j];
    return x != y ? (x > y ? -1 : 1) : i < j ? -1 : 1;
}

static void top_sorts(void **state)
{
    (void)state;
    enum { N = 500 };
    float logits[N], values[N];
    int32_t sorted[N], ids[N];
    uint64_t seed = 5;
    for (int32_t i = 0; i < N; i++) {
        logits[i] = (float)seeded_below(&seed, 90) - 45;
        sorted[i] = i;
    }
    sorted_logits = logits;
    qsort(sorted, N, sizeof *sorted, larger_first);
    struct rig rig = rig_open(NULL, 1);
    struct kg_buffer *x = rig_upload(&rig, logits, sizeof logits), *i = rig_result(&rig, sizeof ids), *v = rig_result(&rig, sizeof values);
    rig.b->top(rig.d, i, v, x, 0, N, N);
    rig_take(&rig, i, ids, sizeof ids);
    rig_take(&rig, v, values, sizeof values);
    assert_memory_equal(ids, sorted, sizeof ids);
    for (size_t k = 0; k < N; k++)
        assert_true(values[k] == logits[ids[k]]);
    rig_free(&rig, x);
    rig_close(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(spans_equal_a_dense_computation), cmocka_unit_test(products_depend_on_the_distance_only),
        cmocka_unit_test(products_of_integers_are_exact),  cmocka_unit_test(norms_and_gates_have_known_values),
        cmocka_unit_test(top_sorts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
