/* Memory, and the operations on rows of activations, of every backend. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/conformance.h"
#include "tests/unit/seeded.h"

/* Inputs of an operation on rows: a and b are (rows, cols). */
struct inputs {
    uint32_t rows, cols;
    float *a, *b;
    float eps;
    bool in_place;
};

static struct inputs make_inputs(uint32_t rows, uint32_t cols, double deviation)
{
    struct inputs in = { .rows = rows, .cols = cols, .eps = 1e-6F };
    uint64_t seed = rows + 1000 * cols;
    in.a = test_alloc((size_t)rows * cols, sizeof *in.a);
    in.b = test_alloc((size_t)rows * cols, sizeof *in.b);
    seeded_normals(&seed, deviation, in.a, (size_t)rows * cols);
    seeded_normals(&seed, 1, in.b, (size_t)rows * cols);
    return in;
}

static void free_inputs(struct inputs *in)
{
    free(in->a);
    free(in->b);
}

static void *load(const struct rig *rig, const void *what)
{
    (void)rig;
    struct inputs *in = test_alloc(1, sizeof *in);
    *in = *(const struct inputs *)what;
    return in;
}

static void unload(const struct rig *rig, void *loaded)
{
    (void)rig;
    free(loaded);
}

/* The first input and the result: two buffers, or one if in place. */
struct operands {
    struct kg_buffer *x, *out;
    size_t bytes;
};

static struct operands bring(const struct rig *rig, const struct inputs *in, uint32_t first, uint32_t rows)
{
    struct operands o = { .bytes = (size_t)rows * in->cols * sizeof(float) };
    o.out = rig_result(rig, o.bytes);
    if (in->in_place)
        rig->b->write(rig->d, o.out, 0, in->a + (size_t)first * in->cols, o.bytes);
    o.x = in->in_place ? o.out : rig_upload(rig, in->a + (size_t)first * in->cols, o.bytes);
    return o;
}

static void take(const struct rig *rig, struct operands *o, float *out)
{
    if (o->x != o->out)
        rig_free(rig, o->x);
    rig_take(rig, o->out, out, o->bytes);
}

static void run_rmsnorm(const struct rig *rig, void *loaded, uint32_t first, uint32_t rows, float *out)
{
    const struct inputs *in = loaded;
    struct operands o = bring(rig, in, first, rows);
    struct kg_buffer *weight = rig_upload(rig, in->b, in->cols * sizeof(float));
    rig->b->rmsnorm(rig->d, o.out, o.x, weight, in->eps, rows, in->cols);
    rig_free(rig, weight);
    take(rig, &o, out);
}

static void run_silu_mul(const struct rig *rig, void *loaded, uint32_t first, uint32_t rows, float *out)
{
    const struct inputs *in = loaded;
    struct operands o = bring(rig, in, first, rows);
    struct kg_buffer *up = rig_upload(rig, in->b + (size_t)first * in->cols, o.bytes);
    rig->b->silu_mul(rig->d, o.out, o.x, up, (size_t)rows * in->cols);
    rig_free(rig, up);
    take(rig, &o, out);
}

static void run_add(const struct rig *rig, void *loaded, uint32_t first, uint32_t rows, float *out)
{
    const struct inputs *in = loaded;
    struct operands o = bring(rig, in, first, rows);
    struct kg_buffer *y = rig_upload(rig, in->b + (size_t)first * in->cols, o.bytes);
    rig->b->add(rig->d, o.out, y, (size_t)rows * in->cols);
    rig_free(rig, y);
    take(rig, &o, out);
}

static const struct operation rmsnorm = { "rmsnorm", load, run_rmsnorm, unload };
static const struct operation silu_mul = { "silu_mul", load, run_silu_mul, unload };
static const struct operation add = { "add", load, run_add, unload };

static const uint32_t widths[] = { 1, 3, 15, 16, 17, 64, 80, 100, 128, 576, 896, 1031, 2051, 4864, 8224 };
#define WIDTHS (sizeof widths / sizeof *widths)

/* The result in place is the result elsewhere. */
static void check_both_places(const struct variant *variant, const struct operation *op, struct inputs *in, double tolerance)
{
    size_t n = (size_t)in->rows * in->cols;
    float *elsewhere = test_alloc(n, sizeof *elsewhere), *here = test_alloc(n, sizeof *here);
    char text[60];
    snprintf(text, sizeof text, "%u columns", in->cols);
    if (op != &add) /* which knows no other place */
        check_operation(variant, op, in, in->rows, in->cols, tolerance, text, NULL, elsewhere);
    in->in_place = true;
    check_operation(variant, op, in, in->rows, in->cols, tolerance, text, NULL, here);
    assert_true(op == &add || memcmp(elsewhere, here, n * sizeof *here) == 0);
    free(elsewhere);
    free(here);
}

static void rmsnorm_of_every_width(void **state)
{
    for (size_t c = 0; c < WIDTHS; c++) {
        struct inputs in = make_inputs(CONFORMANCE_ROWS, widths[c], c % 3 == 0 ? 1e-3 : c % 3 == 1 ? 1 : 3000);
        for (size_t i = 0; i < in.cols; i++)
            in.a[2 * in.cols + i] = 0;
        check_both_places(*state, &rmsnorm, &in, 1e-6 * 10);
        free_inputs(&in);
    }
}

/* QK-norm: as many rows as a full batch has heads. */
static void rmsnorm_of_all_heads_of_a_batch(void **state)
{
    struct inputs in = make_inputs(KG_ROWS_MAX * 14, 64, 1);
    size_t n = (size_t)in.rows * in.cols;
    float *want = test_alloc(n, sizeof *want), *got = test_alloc(n, sizeof *got);
    for (uint32_t threads = 1; threads <= conformance_threads(*state); threads++) {
        struct rig ref = rig_open(NULL, 1), rig = rig_open(*state, threads);
        run_rmsnorm(&ref, &in, 0, in.rows, want);
        run_rmsnorm(&rig, &in, 0, in.rows, got);
        for (uint32_t r = 0; r < in.rows; r++)
            assert_true(norm_error(got + (size_t)r * in.cols, want + (size_t)r * in.cols, in.cols) <= 1e-5);
        run_rmsnorm(&rig, &in, in.rows - 1, 1, want);
        assert_memory_equal(want, got + (n - in.cols), in.cols * sizeof *want);
        rig_close(&ref);
        rig_close(&rig);
    }
    free(want);
    free(got);
    free_inputs(&in);
}

static void silu_and_add_of_every_width(void **state)
{
    for (size_t c = 0; c < WIDTHS; c++) {
        struct inputs in = make_inputs(c % 2 ? CONFORMANCE_ROWS : 37, widths[c], 3);
        check_both_places(*state, &silu_mul, &in, 1e-5);
        in.in_place = false;
        check_both_places(*state, &add, &in, 1e-7);
        free_inputs(&in);
    }
}

/* Each element for itself, to both ends of f32: no NaN, no cliff, zero only where f32 ends. */
static void silu_of_extreme_gates(void **state)
{
    static const float gates[] = { 0,    1e-30F, -1e-30F, 1e-3F,  -1e-3F, 1,      -1,      10,    -10,   30,    -30,   80,
                                   -80,  87.5F,  -87.5F,  88.5F,  -88.5F, 100,    -100,    104,   -104,  1000,  -1000, 1e30F,
                                   -1e30F, 0.5F, -0.5F,   3.25F,  -3.25F, 17,     -17,     -86.6F, -87.3F };
    enum { N = sizeof gates / sizeof *gates };
    struct inputs in = make_inputs(1, N, 1);
    float want[N], got[N];
    memcpy(in.a, gates, sizeof gates);
    for (size_t i = 0; i < N; i++)
        in.b[i] = i % 2 ? 1.5F : -0.75F;
    check_operation(*state, &silu_mul, &in, 1, N, -1, "extreme gates", want, got);
    for (size_t i = 0; i < N; i++) {
        if (!(fabs((double)got[i] - (double)want[i]) <= 1e-5 * fabs((double)want[i]) + 2e-36))
            fail_msg("silu(%g) %g is %.9g, should be %.9g", (double)gates[i], (double)in.b[i], (double)got[i], (double)want[i]);
    }
    free_inputs(&in);
}

/* A NaN anywhere in a row shows in all of its norm, and in its own gate or sum. */
static void what_is_no_number_shows(void **state)
{
    for (size_t c = 0; c < WIDTHS; c++) {
        struct inputs in = make_inputs(3, widths[c], 1);
        uint32_t at = in.cols * 2 / 3;
        float *got = test_alloc((size_t)3 * in.cols, sizeof *got);
        in.a[in.cols + at] = NAN;
        struct rig rig = rig_open(*state, 2);
        run_rmsnorm(&rig, &in, 0, 3, got);
        for (uint32_t i = 0; i < 3 * in.cols; i++)
            assert_int_equal(isfinite(got[i]) != 0, i / in.cols != 1);
        run_silu_mul(&rig, &in, 0, 3, got);
        for (uint32_t i = 0; i < 3 * in.cols; i++)
            assert_int_equal(isfinite(got[i]) != 0, i != in.cols + at);
        in.in_place = true;
        run_add(&rig, &in, 0, 3, got);
        for (uint32_t i = 0; i < 3 * in.cols; i++)
            assert_int_equal(isfinite(got[i]) != 0, i != in.cols + at);
        rig_close(&rig);
        free(got);
        free_inputs(&in);
    }
}

static void rows_are_copied(void **state)
{
    struct rig rig = rig_open(*state, 1);
    float x[5 * 33], out[7 * 33];
    uint64_t seed = 1;
    seeded_normals(&seed, 1, x, 5 * 33);
    struct kg_buffer *from = rig_upload(&rig, x, sizeof x), *to = rig_result(&rig, sizeof out);
    for (uint32_t r = 0; r < 7; r++)
        rig.b->copy_row(rig.d, to, r, from, (3 * r) % 5, 33);
    rig_take(&rig, to, out, sizeof out);
    for (uint32_t r = 0; r < 7; r++)
        assert_memory_equal(out + (size_t)r * 33, x + (size_t)(3 * r) % 5 * 33, 33 * sizeof *x);
    to = rig_result(&rig, sizeof x); /* within one buffer, as the last rows of a batch move to its front */
    rig.b->write(rig.d, to, 0, x, sizeof x);
    rig.b->copy_row(rig.d, to, 4, to, 4, 33);
    for (uint32_t r = 2; r < 5; r++)
        rig.b->copy_row(rig.d, to, r - 2, to, r, 33);
    rig_take(&rig, to, out, sizeof x);
    assert_memory_equal(out, x + (size_t)2 * 33, (size_t)3 * 33 * sizeof *x);
    assert_memory_equal(out + (size_t)3 * 33, x + (size_t)3 * 33, (size_t)2 * 33 * sizeof *x);
    rig_free(&rig, from);
    rig_close(&rig);
}

static void take_top(const struct rig *rig, const float *logits, size_t count, size_t offset, uint32_t n, uint32_t k, int32_t *ids, float *values)
{
    struct kg_buffer *x = rig_upload(rig, logits, count * sizeof *logits);
    struct kg_buffer *i = rig_result(rig, k * sizeof *ids), *v = rig_result(rig, k * sizeof *values);
    rig->b->top(rig->d, i, v, x, offset, n, k);
    rig_take(rig, i, ids, k * sizeof *ids);
    rig_take(rig, v, values, k * sizeof *values);
    rig_free(rig, x);
}

static void check_top(const struct variant *variant, const float *logits, size_t offset, uint32_t n, uint32_t k)
{
    int32_t *want = test_alloc(k, sizeof *want), *ids = test_alloc(k, sizeof *ids);
    float *unused = test_alloc(k, sizeof *unused), *values = test_alloc(k, sizeof *values);
    struct rig ref = rig_open(NULL, 1);
    take_top(&ref, logits, offset + n, offset, n, k, want, unused);
    rig_close(&ref);
    for (uint32_t threads = 1; threads <= conformance_threads(variant); threads++) {
        struct rig rig = rig_open(variant, threads);
        take_top(&rig, logits, offset + n, offset, n, k, ids, values);
        for (uint32_t i = 0; i < k; i++) {
            if (ids[i] != want[i] || memcmp(values + i, logits + offset + ids[i], sizeof *values) != 0)
                fail_msg("top %u of %u: number %u is %d (%g), should be %d", k, n, i, ids[i], (double)values[i], want[i]);
        }
        rig_close(&rig);
    }
    free(want);
    free(ids);
    free(unused);
    free(values);
}

static void the_best_are_found(void **state)
{
    enum { LONGEST = 151936, OFFSET = 77 };
    static const uint32_t sizes[][2] = { { 1, 1 },      { 2, 2 },       { 7, 3 },        { 64, 64 },        { 1000, 1 },
                                         { 1000, 10 },  { 1001, 1001 }, { 49152, 40 },   { LONGEST, 1 },    { LONGEST, 64 } };
    float *logits = test_alloc(LONGEST + OFFSET, sizeof *logits);
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        uint64_t seed = s;
        seeded_normals(&seed, 4, logits, LONGEST + OFFSET);
        for (size_t i = 0; i < OFFSET; i++)
            logits[i] = 1000; /* of another row */
        check_top(*state, logits, OFFSET, sizes[s][0], sizes[s][1]);
        for (size_t i = 0; i < LONGEST; i++) /* many equal ones, both zeros, and what a broken model computes */
            logits[OFFSET + i] = rintf(logits[OFFSET + i]);
        check_top(*state, logits, OFFSET, sizes[s][0], sizes[s][1]);
        for (size_t i = 0; i < LONGEST; i += 1 + seeded_below(&seed, 9)) {
            static const float odd[] = { NAN, -NAN, INFINITY, -INFINITY, -0.0F };
            logits[OFFSET + i] = odd[seeded_below(&seed, 5)];
        }
        check_top(*state, logits, OFFSET, sizes[s][0], sizes[s][1]);
    }
    for (size_t i = 0; i < 300; i++)
        logits[i] = i % 3 ? NAN : -INFINITY;
    check_top(*state, logits, 0, 300, 300);
    free(logits);
}

static void memory_is_zeroed_written_and_read_in_parts(void **state)
{
    struct rig rig = rig_open(*state, 1);
    unsigned char bytes[1000], back[1000];
    struct kg_buffer *buffer = NULL;
    struct kg_error err = { 0 };
    assert_int_equal(rig.b->buffer_create(rig.d, sizeof bytes, &buffer, &err), KG_OK);
    assert_int_equal(rig.b->read(rig.d, buffer, 0, back, sizeof back, &err), KG_OK);
    memset(bytes, 0, sizeof bytes);
    assert_memory_equal(bytes, back, sizeof bytes);
    for (size_t at = 0; at < sizeof bytes; at += 125) {
        for (size_t i = at; i < at + 125; i++)
            bytes[i] = (unsigned char)(i * 7 + 1);
        unsigned char part[125];
        memcpy(part, bytes + at, sizeof part);
        rig.b->write(rig.d, buffer, at, part, sizeof part);
        memset(part, 0, sizeof part); /* may be reused on return */
    }
    assert_int_equal(rig.b->read(rig.d, buffer, 0, back, sizeof back, &err), KG_OK);
    assert_memory_equal(bytes, back, sizeof bytes);
    assert_int_equal(rig.b->read(rig.d, buffer, 333, back, 5, &err), KG_OK);
    assert_memory_equal(bytes + 333, back, 5);
    assert_int_equal(rig.b->wait(rig.d, &err), KG_OK);
    rig_free(&rig, buffer);
    rig_close(&rig);
}

static void memory_held_is_told_and_given_back(void **state)
{
    struct rig rig = rig_open(*state, 2);
    size_t before = rig.b->memory(rig.d);
    struct kg_buffer *buffer = NULL;
    struct kg_kv *kv = NULL;
    struct kg_matrix *matrix = NULL;
    struct kg_view *view = NULL;
    static const float weights[64 * 256];
    const struct kg_kv_shape shape = { .layers = 2, .kv_heads = 3, .head_size = 64 };
    assert_int_equal(rig.b->buffer_create(rig.d, 1 << 20, &buffer, NULL), KG_OK);
    assert_true(rig.b->memory(rig.d) >= before + (1 << 20));
    assert_int_equal(rig.b->matrix_create(rig.d, KG_F32, 64, 256, weights, KG_USE_MATMUL, &matrix, NULL), KG_OK);
    assert_true(rig.b->memory(rig.d) >= before + (1 << 20) + 64 * 256);
    assert_int_equal(rig.b->kv_create(rig.d, &shape, &kv, NULL), KG_OK);
    assert_int_equal(rig.b->kv_reserve(rig.d, kv, 10, NULL), KG_OK);
    assert_true(rig.b->memory(rig.d) >= before + (1 << 20) + 64 * 256 + 10 * KG_KV_PAGE_BYTES(&shape));
    assert_int_equal(rig.b->view_create(rig.d, &view, NULL), KG_OK);
    uint32_t page = 0;
    assert_int_equal(rig.b->view_set(rig.d, view, &(struct kg_span){ &page, 32, 0, 0 }, 1, NULL), KG_OK);
    rig.b->view_free(rig.d, view);
    rig.b->kv_free(rig.d, kv);
    rig.b->matrix_free(rig.d, matrix);
    rig.b->buffer_free(rig.d, buffer);
    rig.b->view_free(rig.d, NULL);
    rig.b->kv_free(rig.d, NULL);
    rig.b->matrix_free(rig.d, NULL);
    rig.b->buffer_free(rig.d, NULL);
    assert_int_equal(rig.b->memory(rig.d), before);
    rig_close(&rig);
}

static void a_device_says_what_it_is(void **state)
{
    const struct variant *variant = *state;
    struct rig one = rig_open(variant, 1), three = rig_open(variant, 3);
    assert_string_equal(one.b->name, variant->backend);
    assert_true(strlen(one.b->describe(one.d)) > 3 && strlen(one.b->numerics(one.d)) > 2);
    assert_string_equal(one.b->numerics(one.d), three.b->numerics(three.d));
    if (one.b->read_bandwidth && conformance_long())
        assert_true(one.b->read_bandwidth(one.d) > 1e8);
    rig_close(&one);
    rig_close(&three);
    struct kg_device *device = NULL;
    struct kg_error err = { 0 };
    if (variant->instructions) {
        assert_int_equal(one.b->open(&(struct kg_device_options){ .threads = 1, .instructions = "abacus" }, &device, &err), KG_ERR_UNSUPPORTED);
        assert_non_null(strstr(err.text, "abacus"));
    }
}

static void what_is_too_large_is_refused(void **state)
{
    struct rig rig = rig_open(*state, 1);
    struct kg_buffer *buffer = NULL;
    struct kg_kv *kv = NULL;
    struct kg_error err = { 0 };
    size_t before = rig.b->memory(rig.d);
    assert_int_not_equal(rig.b->buffer_create(rig.d, SIZE_MAX / 2, &buffer, &err), KG_OK);
    assert_true(strlen(err.text) > 0);
    const struct kg_kv_shape shape = { .layers = 100, .kv_heads = 64, .head_size = 256 };
    assert_int_equal(rig.b->kv_create(rig.d, &shape, &kv, &err), KG_OK);
    size_t held = rig.b->memory(rig.d);
    err.text[0] = 0;
    assert_int_not_equal(rig.b->kv_reserve(rig.d, kv, UINT32_MAX, &err), KG_OK);
    assert_true(strlen(err.text) > 0);
    assert_int_equal(rig.b->memory(rig.d), held);
    rig.b->kv_free(rig.d, kv);
    assert_int_equal(rig.b->memory(rig.d), before);
    rig_close(&rig);
}

static void unknown_names_find_nothing(void **state)
{
    const struct variant *variant = *state;
    assert_ptr_equal(kg_backend_find("abacus"), NULL);
    assert_ptr_equal(kg_backend_find(""), NULL);
    assert_string_equal(kg_backend_find(variant->backend)->name, variant->backend);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(memory_is_zeroed_written_and_read_in_parts),
        cmocka_unit_test(memory_held_is_told_and_given_back),
        cmocka_unit_test(a_device_says_what_it_is),
        cmocka_unit_test(what_is_too_large_is_refused),
        cmocka_unit_test(unknown_names_find_nothing),
        cmocka_unit_test(rmsnorm_of_every_width),
        cmocka_unit_test(rmsnorm_of_all_heads_of_a_batch),
        cmocka_unit_test(silu_and_add_of_every_width),
        cmocka_unit_test(silu_of_extreme_gates),
        cmocka_unit_test(what_is_no_number_shows),
        cmocka_unit_test(rows_are_copied),
        cmocka_unit_test(the_best_are_found),
    };
    return conformance_main(tests, sizeof tests / sizeof *tests);
}
