/* Weights: matmul and embed of every backend, for every type of weights. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/conformance.h"
#include "tests/unit/quantise.h"
#include "tests/unit/seeded.h"

struct weights {
    enum kg_type type;
    uint32_t rows, cols;
    enum quantise_scales scales;
    unsigned uses;
    uint8_t *memory, *blocks; /* blocks stand at an odd multiple of 4 bytes */
    float *bias;              /* NULL = none */
    float *x;                 /* (CONFORMANCE_ROWS, cols) */
    int32_t *ids;             /* CONFORMANCE_ROWS */
    float scale;              /* of embed */
};

static struct weights make_weights(enum kg_type type, uint32_t rows, uint32_t cols, enum quantise_scales scales, uint64_t seed)
{
    struct weights w = { .type = type, .rows = rows, .cols = cols, .scales = scales, .uses = KG_USE_MATMUL };
    size_t n = (size_t)rows * cols;
    w.memory = test_alloc(quantise_bytes(type, n) + 4, 1);
    w.blocks = w.memory + 4;
    quantise_at_random(type, scales, &seed, n, w.blocks);
    w.x = test_alloc((size_t)CONFORMANCE_ROWS * cols, sizeof *w.x);
    seeded_normals(&seed, 1, w.x, (size_t)CONFORMANCE_ROWS * cols);
    w.ids = test_alloc(CONFORMANCE_ROWS, sizeof *w.ids);
    for (size_t i = 0; i < CONFORMANCE_ROWS; i++)
        w.ids[i] = (int32_t)seeded_below(&seed, rows);
    w.scale = 1.75F;
    return w;
}

static void add_bias(struct weights *w, double deviation)
{
    uint64_t seed = w->rows;
    w->bias = test_alloc(w->rows, sizeof *w->bias);
    seeded_normals(&seed, deviation, w->bias, w->rows);
}

static void free_weights(struct weights *w)
{
    free(w->memory);
    free(w->bias);
    free(w->x);
    free(w->ids);
}

struct loaded {
    const struct weights *w;
    struct kg_matrix *matrix;
    struct kg_buffer *bias;
};

/* What was handed to matrix_create is overwritten at once, unless the backend may keep it. */
static void *load(const struct rig *rig, const void *what)
{
    const struct weights *w = what;
    struct loaded *l = test_alloc(1, sizeof *l);
    struct kg_error err = { 0 };
    size_t bytes = quantise_bytes(w->type, (size_t)w->rows * w->cols);
    uint8_t *copy = test_alloc(bytes + 4, 1);
    memcpy(copy + 4, w->blocks, bytes);
    const void *blocks = w->uses == KG_USE_ROWS ? w->blocks : copy + 4;
    l->w = w;
    if (rig->b->matrix_create(rig->d, w->type, w->rows, w->cols, blocks, w->uses, &l->matrix, &err) != KG_OK)
        fail_msg("cannot create a matrix: %s", err.text);
    memset(copy, 0xff, bytes + 4);
    free(copy);
    l->bias = w->bias ? rig_upload(rig, w->bias, w->rows * sizeof *w->bias) : NULL;
    return l;
}

static void unload(const struct rig *rig, void *loaded)
{
    struct loaded *l = loaded;
    rig->b->matrix_free(rig->d, l->matrix);
    rig_free(rig, l->bias);
    free(l);
}

static void run_matmul(const struct rig *rig, void *loaded, uint32_t first, uint32_t rows, float *out)
{
    const struct loaded *l = loaded;
    const struct weights *w = l->w;
    size_t bytes = (size_t)rows * w->rows * sizeof(float);
    struct kg_buffer *x = rig_upload(rig, w->x + (size_t)first * w->cols, (size_t)rows * w->cols * sizeof(float));
    struct kg_buffer *y = rig_result(rig, bytes);
    rig->b->step_begin(rig->d, rows);
    rig->b->matmul(rig->d, y, l->matrix, x, l->bias, rows);
    rig->b->step_end(rig->d);
    rig_take(rig, y, out, bytes);
    rig_free(rig, x);
}

static void run_embed(const struct rig *rig, void *loaded, uint32_t first, uint32_t rows, float *out)
{
    const struct loaded *l = loaded;
    size_t bytes = (size_t)rows * l->w->cols * sizeof(float);
    struct kg_buffer *ids = rig_upload(rig, l->w->ids + first, rows * sizeof(int32_t));
    struct kg_buffer *y = rig_result(rig, bytes);
    rig->b->embed(rig->d, y, l->matrix, ids, l->w->scale, rows);
    rig_take(rig, y, out, bytes);
    rig_free(rig, ids);
}

static const struct operation matmul = { "matmul", load, run_matmul, unload };
static const struct operation embed = { "embed", load, run_embed, unload };

/* What rounding x to 8 bits in groups of 32 may cost one product: x[c] is off by at most half a step of its
 * group, evenly distributed, so the product's deviation is  sqrt(sum over c of (step^2 / 12) w[c]^2). */
static double rounding_deviation(const struct weights *w, const float *x, const double *row, double *magnitude)
{
    double variance = 0;
    *magnitude = 0;
    for (uint32_t from = 0; from < w->cols; from += 32) {
        uint32_t to = from + 32 < w->cols ? from + 32 : w->cols;
        double largest = 0, squares = 0;
        for (uint32_t c = from; c < to; c++) {
            largest = fmax(largest, fabs((double)x[c]));
            squares += row[c] * row[c];
            *magnitude += fabs((double)x[c] * row[c]);
        }
        variance += largest / 127 * (largest / 127) / 12 * squares;
    }
    return sqrt(variance);
}

/* Every single product, so that no wrong element hides behind a good norm. */
static void judge_elements(const struct weights *w, const float *want, const float *got, const char *text)
{
    double *row = test_alloc(w->cols, sizeof *row);
    for (uint32_t j = 0; j < w->rows; j++) {
        kg_dequantise(w->type, w->blocks + quantise_bytes(w->type, (size_t)j * w->cols), w->cols, row);
        for (uint32_t r = 0; r < CONFORMANCE_ROWS; r++) {
            double magnitude, off = fabs((double)got[(size_t)r * w->rows + j] - (double)want[(size_t)r * w->rows + j]);
            double deviation = rounding_deviation(w, w->x + (size_t)r * w->cols, row, &magnitude);
            double bias = w->bias ? fabs((double)w->bias[j]) : 0;
            double most = w->type == KG_F32 ? 2e-6 * magnitude : 8 * deviation + 1e-4 * magnitude;
            if (!(off <= most + 1e-6 * bias + 1e-36))
                fail_msg("%s: row %u, element %u is %.9g, should be %.9g, may be off by %.3g", text, r, j,
                         (double)got[(size_t)r * w->rows + j], (double)want[(size_t)r * w->rows + j], most);
        }
    }
    free(row);
}

/* The norm is that of all rows: a single row of a narrow matrix may be small by chance. */
static void check_matmul(const struct variant *variant, const struct weights *w)
{
    char text[120];
    snprintf(text, sizeof text, "%s (%u, %u), scales %d%s", kg_type_name(w->type), w->rows, w->cols, (int)w->scales, w->bias ? ", bias" : "");
    size_t n = (size_t)CONFORMANCE_ROWS * w->rows;
    float *want = test_alloc(n, sizeof *want), *got = test_alloc(n, sizeof *got);
    check_operation(variant, &matmul, w, CONFORMANCE_ROWS, w->rows, -1, text, want, got);
    double error = norm_error(got, want, n), most = w->type == KG_F32 ? 1e-5 : 1e-2;
    if (!(error <= most))
        fail_msg("matmul, %s: differs from ref by %.3g (at most %.3g)", text, error, most);
    judge_elements(w, want, got, text);
    free(want);
    free(got);
}

static const struct {
    uint32_t rows, cols;
} shapes[] = { { 1, 32 },    { 16, 64 },   { 17, 96 },   { 7, 256 },   { 33, 320 }, { 31, 512 },   { 64, 576 },  { 100, 768 },
               { 15, 896 },  { 48, 1024 }, { 49, 1536 }, { 130, 256 }, { 3, 4864 }, { 20, 4096 }, { 257, 512 }, { 2, 8960 } };
#define SHAPES (sizeof shapes / sizeof *shapes)

/* The k-quants have blocks of 256; the next multiple stands in for the other shapes. */
static uint32_t fitting_cols(enum kg_type type, uint32_t cols)
{
    uint32_t elements = 1, bytes = 0;
    assert_true(kg_type_layout(type, &elements, &bytes));
    return (cols + elements - 1) / elements * elements;
}

static void matmul_of_every_type_and_shape(void **state)
{
    for (size_t t = 0; t < QUANTISE_TYPES; t++) {
        for (size_t s = 0; s < SHAPES; s++) {
            if (!conformance_long() && (s + t) % 4 != 0)
                continue;
            uint32_t cols = fitting_cols(quantise_types[t], shapes[s].cols);
            struct weights w = make_weights(quantise_types[t], shapes[s].rows, cols, QUANTISE_PLAIN, 100 * t + s);
            if ((s + t) % 8 < 4)
                add_bias(&w, 0.5);
            if (s % 3 == 0)
                w.uses |= KG_USE_ROWS;
            check_matmul(*state, &w);
            free_weights(&w);
        }
    }
}

static void matmul_of_any_scales(void **state)
{
    for (size_t t = 0; t < QUANTISE_TYPES; t++) {
        for (int scales = QUANTISE_LARGE; scales < QUANTISE_SCALES; scales++) {
            struct weights w = make_weights(quantise_types[t], 37, fitting_cols(quantise_types[t], 544), (enum quantise_scales)scales, t);
            check_matmul(*state, &w);
            free_weights(&w);
        }
    }
}

/* Columns of plain types need not be a multiple of anything. */
static void matmul_of_odd_widths(void **state)
{
    static const enum kg_type plain[] = { KG_F32, KG_F16, KG_BF16 };
    static const uint32_t widths[] = { 1, 3, 33, 100, 255 };
    for (size_t t = 0; t < 3; t++) {
        for (size_t c = 0; c < 5; c++) {
            struct weights w = make_weights(plain[t], 21, widths[c], QUANTISE_PLAIN, c);
            check_matmul(*state, &w);
            free_weights(&w);
        }
    }
}

/* The largest sums of products that 8 bits can give, of either sign: nothing saturates. */
static void matmul_of_extreme_codes(void **state)
{
    static const uint8_t codes[] = { 0x00, 0xff, 0x80, 0x7f, 0x08, 0xf0 };
    for (size_t t = 0; t < QUANTISE_TYPES; t++) {
        for (size_t p = 0; p < sizeof codes; p++) {
            struct weights w = make_weights(quantise_types[t], 33, 512, QUANTISE_PLAIN, t + 10 * p);
            quantise_set_codes(w.type, codes[p], (size_t)w.rows * w.cols, w.blocks);
            for (size_t i = 0; i < (size_t)CONFORMANCE_ROWS * w.cols; i++) {
                size_t row = i / w.cols;
                w.x[i] = (row & 1 ? -1.0F : 1.0F) * (row % 7 == 3 && i & 1 ? -1.0F : 1.0F) * (float)(row + 1);
            }
            float want[CONFORMANCE_ROWS * 33], got[CONFORMANCE_ROWS * 33];
            check_operation(*state, &matmul, &w, CONFORMANCE_ROWS, w.rows, -1, kg_type_name(w.type), want, got);
            judge_elements(&w, want, got, kg_type_name(w.type));
            free_weights(&w);
        }
    }
}

/* Rows of zeros, of one outlier, of very large and of very small numbers: each stands for itself. */
static void matmul_of_uneven_activations(void **state)
{
    for (size_t t = 0; t < QUANTISE_TYPES; t++) {
        struct weights w = make_weights(quantise_types[t], 64, 512, QUANTISE_PLAIN, 7 * t);
        static const float factors[] = { 1, 0, 1e6F, 1e-6F, 1 };
        for (size_t r = 0; r < CONFORMANCE_ROWS; r++) {
            for (size_t c = 0; c < w.cols; c++)
                w.x[r * w.cols + c] *= factors[r % 5];
            if (r % 5 == 4)
                w.x[r * w.cols + 3 * r] = 1000;
        }
        float want[CONFORMANCE_ROWS * 64], got[CONFORMANCE_ROWS * 64];
        check_operation(*state, &matmul, &w, CONFORMANCE_ROWS, w.rows, w.type == KG_F32 ? 1e-5 : -1, kg_type_name(w.type), want, got);
        judge_elements(&w, want, got, kg_type_name(w.type));
        for (size_t r = 0; r < CONFORMANCE_ROWS; r++) { /* an outlier's group is coarser than the norm allows */
            double error = norm_error(got + r * w.rows, want + r * w.rows, w.rows);
            if (r % 5 != 4 && !(error <= 1e-2))
                fail_msg("matmul, %s: row %zu differs from ref by %.3g", kg_type_name(w.type), r, error);
        }
        free_weights(&w);
    }
}

/* What is no number stays none, in its row only: a broken model must show, not write. */
static void matmul_of_what_is_no_number(void **state)
{
    static const float odd[] = { NAN, INFINITY, -INFINITY, -NAN };
    for (size_t t = 0; t < QUANTISE_TYPES; t++) {
        struct weights w = make_weights(quantise_types[t], 33, 512, QUANTISE_PLAIN, t + 3);
        float clean[CONFORMANCE_ROWS * 33], got[CONFORMANCE_ROWS * 33];
        check_operation(*state, &matmul, &w, CONFORMANCE_ROWS, w.rows, -1, kg_type_name(w.type), NULL, clean);
        for (size_t r = 1; r < CONFORMANCE_ROWS; r += 3)
            w.x[r * w.cols + 37 * r % w.cols] = odd[r % 4];
        check_operation(*state, &matmul, &w, CONFORMANCE_ROWS, w.rows, -1, kg_type_name(w.type), NULL, got);
        for (size_t i = 0; i < (size_t)CONFORMANCE_ROWS * w.rows; i++) {
            bool broken = i / w.rows % 3 == 1;
            if (broken ? isfinite(got[i]) : memcmp(&got[i], &clean[i], sizeof *got) != 0)
                fail_msg("matmul, %s: row %zu, element %zu is %g", kg_type_name(w.type), i / w.rows, i % w.rows, (double)got[i]);
        }
        free_weights(&w);
    }
}

/* Numbers so small that a scale or its reciprocal leaves the range of f32 give a result as small, not NaN. */
static void matmul_of_subnormal_activations(void **state)
{
    for (size_t t = 0; t < QUANTISE_TYPES; t++) {
        struct weights w = make_weights(quantise_types[t], 20, 256, QUANTISE_PLAIN, t);
        for (size_t i = 0; i < (size_t)CONFORMANCE_ROWS * w.cols; i++)
            w.x[i] *= i / w.cols % 2 ? 1e-38F : 1e-43F;
        float got[CONFORMANCE_ROWS * 20];
        check_operation(*state, &matmul, &w, CONFORMANCE_ROWS, w.rows, -1, kg_type_name(w.type), NULL, got);
        for (size_t i = 0; i < (size_t)CONFORMANCE_ROWS * w.rows; i++)
            assert_true(fabs((double)got[i]) < 1e-34);
        free_weights(&w);
    }
}

/* Taken out exactly but for the rounding of a product and a difference to f32. */
static void check_embed(const struct variant *variant, const struct weights *w)
{
    char text[120];
    snprintf(text, sizeof text, "%s (%u, %u), uses %u", kg_type_name(w->type), w->rows, w->cols, w->uses);
    size_t n = (size_t)CONFORMANCE_ROWS * w->cols;
    float *want = test_alloc(n, sizeof *want), *got = test_alloc(n, sizeof *got);
    check_operation(variant, &embed, w, CONFORMANCE_ROWS, w->cols, 1e-6, text, want, got);
    for (size_t from = 0; from < n; from += 32) { /* within one block of any quantised type */
        size_t to = from + 32 < n ? from + 32 : n;
        double largest = 0;
        for (size_t i = from; i < to; i++)
            largest = fmax(largest, fabs((double)want[i]));
        for (size_t i = from; i < to; i++) {
            if (!(fabs((double)got[i] - (double)want[i]) <= 4e-6 * largest))
                fail_msg("embed, %s: element %zu is %.9g, should be %.9g", text, i, (double)got[i], (double)want[i]);
        }
    }
    free(want);
    free(got);
}

static void embed_of_every_type(void **state)
{
    static const unsigned uses[] = { KG_USE_ROWS, KG_USE_ROWS | KG_USE_MATMUL };
    for (size_t t = 0; t < QUANTISE_TYPES; t++) {
        for (unsigned u = 0; u < 2; u++) {
            for (int scales = 0; scales < QUANTISE_SCALES; scales++) {
                uint32_t cols = fitting_cols(quantise_types[t], u ? 576 : 864);
                struct weights w = make_weights(quantise_types[t], 41, cols, (enum quantise_scales)scales, t + u);
                w.uses = uses[u];
                check_embed(*state, &w);
                free_weights(&w);
            }
        }
    }
}

/* As many rows as a vocabulary has: tiles may be others than those of small matrices. */
static void matmul_of_a_vocabulary(void **state)
{
    static const struct {
        enum kg_type type;
        uint32_t cols;
    } vocabularies[] = { { KG_Q4_0, 32 }, { KG_Q4_1, 160 }, { KG_Q8_0, 32 } };
    for (size_t v = 0; v < sizeof vocabularies / sizeof *vocabularies; v++) {
        struct weights w = make_weights(vocabularies[v].type, 51203, vocabularies[v].cols, QUANTISE_PLAIN, v);
        if (v % 2)
            add_bias(&w, 0.5);
        check_matmul(*state, &w);
        free_weights(&w);
    }
}

/* The largest batch, wider than any tile. */
static void matmul_of_a_full_batch(void **state)
{
    struct weights w = make_weights(KG_Q4_K, 40, 512, QUANTISE_PLAIN, 5);
    uint64_t seed = 9;
    free(w.x);
    w.x = test_alloc((size_t)KG_ROWS_MAX * w.cols, sizeof *w.x);
    seeded_normals(&seed, 1, w.x, (size_t)KG_ROWS_MAX * w.cols);
    float *part = test_alloc((size_t)KG_ROWS_MAX * w.rows, sizeof *part), *all = test_alloc((size_t)KG_ROWS_MAX * w.rows, sizeof *all);
    struct rig rig = rig_open(*state, 2);
    void *loaded = load(&rig, &w);
    run_matmul(&rig, loaded, 0, KG_ROWS_MAX, all);
    for (uint32_t first = 0; first < KG_ROWS_MAX; first += 57) {
        uint32_t rows = first + 57 < KG_ROWS_MAX ? 57 : KG_ROWS_MAX - first;
        run_matmul(&rig, loaded, first, rows, part);
        assert_memory_equal(part, all + (size_t)first * w.rows, (size_t)rows * w.rows * sizeof *part);
    }
    unload(&rig, loaded);
    rig_close(&rig);
    free(part);
    free(all);
    free_weights(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(matmul_of_every_type_and_shape),
        cmocka_unit_test(matmul_of_any_scales),
        cmocka_unit_test(matmul_of_odd_widths),
        cmocka_unit_test(matmul_of_extreme_codes),
        cmocka_unit_test(matmul_of_uneven_activations),
        cmocka_unit_test(matmul_of_subnormal_activations),
        cmocka_unit_test(matmul_of_what_is_no_number),
        cmocka_unit_test(matmul_of_a_vocabulary),
        cmocka_unit_test(matmul_of_a_full_batch),
        cmocka_unit_test(embed_of_every_type),
    };
    return conformance_main(tests, sizeof tests / sizeof *tests);
}
