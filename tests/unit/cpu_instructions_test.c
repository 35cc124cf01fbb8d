/* What the conformance suite cannot see: all instruction sets give the same bits, which is why they have the same name
 * in cache keys; and how the set is chosen. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/conformance.h"
#include "tests/unit/quantise.h"
#include "tests/unit/seeded.h"

#define COLS 768
#define W_ROWS 100

static const char *sets[3]; /* those of this machine, the best one first */
static unsigned set_count;

static struct rig open_rig(const char *instructions)
{
    const struct variant variant = { "cpu", instructions };
    return rig_open(&variant, 2);
}

/* Runs on all and compares bit for bit. */
static void compare(size_t bytes, void (*run)(const struct rig *, void *what, struct kg_buffer *out), void *what, const char *text)
{
    char *first = test_alloc(bytes, 1), *result = test_alloc(bytes, 1);
    for (unsigned i = 0; i < set_count; i++) {
        struct rig rig = open_rig(sets[i]);
        struct kg_buffer *out = rig_result(&rig, bytes);
        run(&rig, what, out);
        rig_take(&rig, out, i == 0 ? first : result, bytes);
        rig_close(&rig);
        if (i > 0 && memcmp(first, result, bytes) != 0)
            fail_msg("%s: %s and %s differ", text, sets[0], sets[i]);
    }
    free(first);
    free(result);
}

struct product {
    enum kg_type type;
    uint32_t rows;
    const void *blocks;
    const float *x, *bias;
};

static void multiply(const struct rig *rig, void *what, struct kg_buffer *out)
{
    const struct product *p = what;
    struct kg_matrix *w = NULL;
    assert_int_equal(rig->b->matrix_create(rig->d, p->type, W_ROWS, COLS, p->blocks, KG_USE_MATMUL, &w, NULL), KG_OK);
    struct kg_buffer *x = rig_upload(rig, p->x, (size_t)p->rows * COLS * sizeof(float));
    struct kg_buffer *bias = rig_upload(rig, p->bias, W_ROWS * sizeof(float));
    rig->b->matmul(rig->d, out, w, x, bias, p->rows);
    rig_free(rig, x);
    rig_free(rig, bias);
    rig->b->matrix_free(rig->d, w);
}

static void products_have_the_same_bits(void **state)
{
    (void)state;
    static const uint32_t rows[] = { 1, 2, 7, 37 };
    if (set_count < 2)
        skip();
    uint64_t seed = 5;
    float *x = test_alloc((size_t)37 * COLS, sizeof *x), bias[W_ROWS];
    seeded_normals(&seed, 1, x, (size_t)37 * COLS);
    seeded_normals(&seed, 1, bias, W_ROWS);
    for (size_t t = 0; t < QUANTISE_TYPES; t++) {
        void *blocks = test_alloc(quantise_bytes(quantise_types[t], (size_t)W_ROWS * COLS), 1);
        quantise_at_random(quantise_types[t], QUANTISE_MIXED, &seed, (size_t)W_ROWS * COLS, blocks);
        for (size_t r = 0; r < 4; r++) {
            struct product product = { quantise_types[t], rows[r], blocks, x, bias };
            compare((size_t)rows[r] * W_ROWS * sizeof(float), multiply, &product, kg_type_name(quantise_types[t]));
        }
        free(blocks);
    }
    free(x);
}

#define ROW_COLS 1003

static void norm_and_gate(const struct rig *rig, void *what, struct kg_buffer *out)
{
    const size_t bytes = (size_t)5 * ROW_COLS * sizeof(float);
    struct kg_buffer *x = rig_upload(rig, what, bytes), *weight = rig_upload(rig, (float *)what + 77, ROW_COLS * sizeof(float));
    rig->b->rmsnorm(rig->d, out, x, weight, 1e-6F, 5, ROW_COLS);
    rig->b->silu_mul(rig->d, x, out, x, (size_t)5 * ROW_COLS);
    rig->b->add(rig->d, out, x, (size_t)5 * ROW_COLS);
    rig_free(rig, x);
    rig_free(rig, weight);
}

static void rows_have_the_same_bits(void **state)
{
    (void)state;
    if (set_count < 2)
        skip();
    uint64_t seed = 6;
    float *x = test_alloc((size_t)5 * ROW_COLS, sizeof *x);
    seeded_normals(&seed, 8, x, (size_t)5 * ROW_COLS);
    compare((size_t)5 * ROW_COLS * sizeof(float), norm_and_gate, x, "rmsnorm, silu_mul, add");
    free(x);
}

struct look {
    struct kg_attention attention;
    uint32_t rows, tokens;
    const float *numbers;
};

/* Keys written, then looked at by the last rows. */
static void write_and_attend(const struct rig *rig, void *what, struct kg_buffer *out)
{
    const struct look *look = what;
    const struct kg_attention *a = &look->attention;
    const struct kg_kv_shape shape = { .layers = 1, .kv_heads = a->kv_heads, .head_size = a->head_size };
    uint32_t pages[64];
    struct kg_kv *kv = NULL;
    struct kg_view *view = NULL;
    for (uint32_t i = 0; i < 64; i++)
        pages[i] = 63 - i;
    assert_int_equal(rig->b->kv_create(rig->d, &shape, &kv, NULL), KG_OK);
    assert_int_equal(rig->b->kv_reserve(rig->d, kv, 64, NULL), KG_OK);
    assert_int_equal(rig->b->view_create(rig->d, &view, NULL), KG_OK);
    for (uint32_t first = 0; first < look->tokens; first += 64) {
        const uint32_t rows = look->tokens - first < 64 ? look->tokens - first : 64;
        const size_t width = (size_t)a->kv_heads * a->head_size;
        struct kg_buffer *k = rig_upload(rig, look->numbers + first, rows * width * sizeof(float));
        struct kg_buffer *v = rig_upload(rig, look->numbers + 3 * (size_t)first, rows * width * sizeof(float));
        rig->b->kv_write(rig->d, kv, 0, pages, first, 11, k, v, a->rope, rows);
        rig_free(rig, k);
        rig_free(rig, v);
    }
    const struct kg_span span = { pages, look->tokens, 100, 11 };
    assert_int_equal(rig->b->view_set(rig->d, view, &span, 1, NULL), KG_OK);
    struct kg_buffer *q = rig_upload(rig, look->numbers + 17, (size_t)look->rows * a->heads * a->head_size * sizeof(float));
    rig->b->attend(rig->d, out, q, kv, 0, view, a, (int32_t)(100 + look->tokens - look->rows), look->rows);
    rig_free(rig, q);
    rig->b->view_free(rig->d, view);
    rig->b->kv_free(rig->d, kv);
}

static void attention_has_the_same_bits(void **state)
{
    (void)state;
    static const struct {
        uint32_t heads, kv_heads, head_size, rows, tokens, pairs;
        enum kg_rope_layout layout;
        float soft_cap;
    } cases[] = {
        { 14, 2, 64, 1, 1100, 32, KG_ROPE_HALVES, 0 },
        { 9, 3, 64, 70, 600, 32, KG_ROPE_INTERLEAVED, 0 },
        { 6, 1, 128, 33, 513, 64, KG_ROPE_HALVES, 20 },
        { 4, 4, 40, 5, 100, 13, KG_ROPE_INTERLEAVED, 0 },
        { 3, 1, 22, 3, 31, 11, KG_ROPE_HALVES, 5 },
    };
    if (set_count < 2)
        skip();
    const size_t n = (size_t)80 * 14 * 128;
    uint64_t seed = 7;
    float *numbers = test_alloc(n, sizeof *numbers);
    seeded_normals(&seed, 1, numbers, n);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct kg_rope rope = { .layout = cases[i].layout, .pairs = cases[i].pairs, .scale = 1 };
        for (uint32_t j = 0; j < rope.pairs; j++)
            rope.frequency[j] = 1 / (1 + 10.0 * j);
        struct look look = {
            { cases[i].heads, cases[i].kv_heads, cases[i].head_size, 0.125F, cases[i].soft_cap, &rope },
            cases[i].rows,
            cases[i].tokens,
            numbers,
        };
        char text[64];
        snprintf(text, sizeof text, "attention, case %zu", i);
        compare((size_t)look.rows * cases[i].heads * cases[i].head_size * sizeof(float), write_and_attend, &look, text);
    }
    free(numbers);
}

static void the_environment_chooses_where_options_do_not(void **state)
{
    (void)state;
    struct kg_device *device = NULL;
    struct kg_error err = { 0 };
    struct kg_device_options options = { .threads = 1 };
    setenv("KEDGE_ISA", "avx2", 1);
    assert_int_equal(kg_backend_cpu.open(&options, &device, &err), KG_OK);
    assert_string_equal(kg_backend_cpu.describe(device), "CPU, AVX2, 1 thread");
    kg_backend_cpu.close(device);
    for (unsigned i = 0; i < set_count; i++) {
        options.instructions = sets[i];
        assert_int_equal(kg_backend_cpu.open(&options, &device, &err), KG_OK);
        assert_string_equal(kg_backend_cpu.describe(device), strcmp(sets[i], "avx512") == 0    ? "CPU, AVX-512 VNNI, 1 thread"
                                                             : strcmp(sets[i], "avxvnni") == 0 ? "CPU, AVX2 VNNI, 1 thread"
                                                                                               : "CPU, AVX2, 1 thread");
        kg_backend_cpu.close(device);
    }
    setenv("KEDGE_ISA", "sse", 1);
    options.instructions = NULL;
    assert_int_equal(kg_backend_cpu.open(&options, &device, &err), KG_ERR_UNSUPPORTED);
    assert_non_null(strstr(err.text, "avx2"));
    unsetenv("KEDGE_ISA");
    options.threads = 1U << 20;
    assert_int_equal(kg_backend_cpu.open(&options, &device, &err), KG_ERR_RANGE);
}

/* Several products of one input share its rounded copy: it must not outlive a change of the input. */
static void products_follow_a_changed_input(void **state)
{
    (void)state;
    uint64_t seed = 8;
    float *x = test_alloc(2 * COLS, sizeof *x), first[W_ROWS], again[W_ROWS], other[W_ROWS];
    void *blocks = test_alloc(quantise_bytes(KG_Q4_K, (size_t)W_ROWS * COLS), 1);
    seeded_normals(&seed, 1, x, 2 * COLS);
    quantise_at_random(KG_Q4_K, QUANTISE_PLAIN, &seed, (size_t)W_ROWS * COLS, blocks);
    struct rig rig = open_rig("avx2");
    struct kg_matrix *w = NULL;
    assert_int_equal(rig.b->matrix_create(rig.d, KG_Q4_K, W_ROWS, COLS, blocks, KG_USE_MATMUL, &w, NULL), KG_OK);
    float *const results[] = { first, other, again };
    struct kg_buffer *in = rig_upload(&rig, x, COLS * sizeof *x);
    for (int i = 0; i < 3; i++) {
        struct kg_buffer *out = rig_result(&rig, sizeof first);
        rig.b->write(rig.d, in, 0, i == 1 ? x + COLS : x, COLS * sizeof *x);
        rig.b->matmul(rig.d, out, w, in, NULL, 1);
        rig_take(&rig, out, results[i], sizeof first);
    }
    assert_memory_equal(first, again, sizeof first);
    assert_memory_not_equal(first, other, sizeof first);
    rig_free(&rig, in);
    rig.b->matrix_free(rig.d, w);
    rig_close(&rig);
    free(x);
    free(blocks);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(products_have_the_same_bits),
        cmocka_unit_test(rows_have_the_same_bits),
        cmocka_unit_test(attention_has_the_same_bits),
        cmocka_unit_test(the_environment_chooses_where_options_do_not),
        cmocka_unit_test(products_follow_a_changed_input),
    };
    static const char *const all[] = { "avx512", "avxvnni", "avx2" };
    for (unsigned i = 0; i < sizeof all / sizeof *all; i++) {
        struct kg_device *device = NULL;
        if (kg_backend_cpu.open(&(struct kg_device_options){ .threads = 1, .instructions = all[i] }, &device, NULL) == KG_OK)
            sets[set_count++] = all[i];
        kg_backend_cpu.close(device);
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
