/* Pages of keys and values of every backend: kept, moved in and out, and written with rotation. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/type.h"
#include "tests/unit/conformance.h"
#include "tests/unit/seeded.h"

#define PAGES 12

static struct kg_kv *make_kv(const struct rig *rig, const struct kg_kv_shape *shape, uint32_t pages)
{
    struct kg_kv *kv = NULL;
    struct kg_error err = { 0 };
    if (rig->b->kv_create(rig->d, shape, &kv, &err) != KG_OK || rig->b->kv_reserve(rig->d, kv, pages, &err) != KG_OK)
        fail_msg("cannot create pages: %s", err.text);
    return kv;
}

static void export_page(const struct rig *rig, const struct kg_kv *kv, uint32_t page, void *host)
{
    struct kg_error err = { 0 };
    if (rig->b->kv_export(rig->d, kv, page, host, &err) != KG_OK)
        fail_msg("cannot export page %u: %s", page, err.text);
}

/* Any bits at all: what a page holds is the engine's business. */
static void fill_page(uint8_t *host, size_t bytes, uint64_t seed)
{
    for (size_t i = 0; i < bytes; i++)
        host[i] = (uint8_t)seeded_bits(&seed);
}

static void pages_survive_growth_and_come_back_as_they_were(void **state)
{
    static const struct kg_kv_shape shapes[] = {
        { 1, 1, 2, 0, KG_KV_F16 }, { 3, 5, 80, 0, KG_KV_F16 },  { 2, 2, 128, 0, KG_KV_F16 }, { 4, 3, 64, 0, KG_KV_F16 },
        { 1, 3, 6, 0, KG_KV_F16 }, { 1, 1, 256, 0, KG_KV_F16 }, { 2, 3, 64, 0, KG_KV_Q8_0 },
    };
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++) {
        if (!conformance_keeps(*state, &shapes[s]))
            continue;
        struct rig rig = rig_open(*state, 2);
        size_t bytes = KG_KV_PAGE_BYTES(&shapes[s]);
        uint8_t *page = test_alloc(bytes, 1), *back = test_alloc(bytes, 1);
        struct kg_kv *kv = make_kv(&rig, &shapes[s], 1);
        for (uint32_t n = 1; n <= 40; n += n < 4 ? 1 : 12) {
            assert_int_equal(rig.b->kv_reserve(rig.d, kv, n, NULL), KG_OK);
            assert_int_equal(rig.b->kv_reserve(rig.d, kv, n / 2, NULL), KG_OK); /* never shrinks */
            fill_page(page, bytes, n - 1);
            rig.b->kv_import(rig.d, kv, n - 1, page);
            memset(page, 0, bytes); /* may be reused on return */
            for (uint32_t p = 0; p < n; p++) {
                if (p >= 4 && p % 12 != 3)
                    continue;
                export_page(&rig, kv, p, back);
                fill_page(page, bytes, p);
                assert_memory_equal(page, back, bytes);
            }
        }
        rig.b->kv_free(rig.d, kv);
        rig_close(&rig);
        free(page);
        free(back);
    }
}

/* One call of kv_write on a kv full of a pattern. */
struct writing {
    struct kg_kv_shape shape;
    uint32_t layer, first, rows;
    int32_t local;
    enum kg_rope_layout layout;
    uint32_t pairs;
    float scale;
    double theta;
    float *k, *v;
};

static struct kg_rope make_rope(const struct writing *w)
{
    struct kg_rope rope = { .layout = w->layout, .pairs = w->pairs, .scale = w->scale };
    for (uint32_t j = 0; j < w->pairs; j++)
        rope.frequency[j] = pow(w->theta, -(double)j / w->pairs);
    return rope;
}

/* Writes the rows by calls of `step` rows at most and takes all pages out in the order of the block's list;
 * those of the list have other numbers for every `numbering`. */
static void write_and_export(const struct variant *variant, uint32_t threads, const struct writing *w, uint32_t step, uint64_t numbering,
                             uint8_t *out)
{
    struct rig rig = rig_open(variant, threads);
    struct kg_rope rope = make_rope(w);
    size_t bytes = KG_KV_PAGE_BYTES(&w->shape), width = (size_t)w->shape.kv_heads * w->shape.head_size;
    struct kg_kv *kv = make_kv(&rig, &w->shape, PAGES);
    uint32_t pages[PAGES];
    for (uint32_t p = 0; p < PAGES; p++)
        pages[p] = p;
    seeded_shuffle(&numbering, pages, PAGES);
    for (uint32_t p = 0; p < PAGES; p++) {
        fill_page(out, bytes, p);
        rig.b->kv_import(rig.d, kv, pages[p], out);
    }
    for (uint32_t r = 0; r < w->rows; r += step) {
        uint32_t n = w->rows - r < step ? w->rows - r : step, list[PAGES];
        struct kg_buffer *k = rig_upload(&rig, w->k + r * width, n * width * sizeof(float));
        struct kg_buffer *v = rig_upload(&rig, w->v + r * width, n * width * sizeof(float));
        memcpy(list, pages, sizeof list);
        rig.b->step_begin(rig.d, n);
        rig.b->kv_write(rig.d, kv, w->layer, list, w->first + r, w->local, k, v, &rope, n);
        memset(list, 0xff, sizeof list);
        rig.b->step_end(rig.d);
        rig_free(&rig, k);
        rig_free(&rig, v);
    }
    for (uint32_t p = 0; p < PAGES; p++)
        export_page(&rig, kv, pages[p], out + p * bytes);
    rig.b->kv_free(rig.d, kv);
    rig_close(&rig);
}

static uint16_t half_at(const uint8_t *pages, size_t i)
{
    uint16_t bits;
    memcpy(&bits, pages + 2 * i, sizeof bits);
    return bits;
}

/* A number rounded in f32 first may end on the neighbouring f16, but seldom. */
static void judge_keys(const struct writing *w, const uint8_t *want, const uint8_t *got, const char *text)
{
    size_t halves = PAGES * KG_KV_PAGE_BYTES(&w->shape) / 2, other = 0, n = w->shape.head_size;
    double largest = 0;
    for (size_t i = 0; i < (size_t)w->rows * w->shape.kv_heads * n; i++)
        largest = fmax(largest, fabs((double)w->k[i]));
    for (size_t i = 0; i < halves; i++) {
        uint16_t a = half_at(want, i), b = half_at(got, i);
        if (a == b)
            continue;
        size_t slot = i / n, layer = slot / KG_PAGE / w->shape.kv_heads / 2;
        bool key = slot / KG_PAGE / w->shape.kv_heads % 2 == 0;
        uint32_t t = (uint32_t)(layer / w->shape.layers * KG_PAGE + slot % KG_PAGE);
        if (!key || layer % w->shape.layers != w->layer || t < w->first || t >= w->first + w->rows)
            fail_msg("%s: a %s of layer %zu, token %u, that had to stay or be exact is %04x, should be %04x", text, key ? "key" : "value",
                     layer % w->shape.layers, t, b, a);
        double x = kg_f16_to_double(a), y = kg_f16_to_double(b);
        double ulp = fmax(ldexp(1, ilogb(fmax(fabs(x), fabs(y))) - 10), 0x1p-24);
        if (!(fabs(x - y) <= ulp + 1e-6 * largest))
            fail_msg("%s: token %u, element %zu of key is %.6g, should be %.6g", text, t, i % n, y, x);
        other++;
    }
    if (other > 2 + (size_t)w->rows * w->shape.kv_heads * n / 100)
        fail_msg("%s: %zu elements differ from ref", text, other);
}

/* The same of numbers of 8 bits: what was not rotated is exact; a key may have the neighbouring code or scale, but seldom. */
static void judge_q8_0(const struct writing *w, const uint8_t *want, const uint8_t *got, const char *text)
{
    const size_t bytes = KG_KV_ROW_BYTES(&w->shape), rows = PAGES * KG_KV_PAGE_BYTES(&w->shape) / bytes;
    size_t other = 0;
    for (size_t i = 0; i < rows; i++, want += bytes, got += bytes) {
        const size_t strip = i / KG_PAGE / w->shape.kv_heads, layer = strip / 2 % w->shape.layers;
        const uint32_t t = (uint32_t)(strip / 2 / w->shape.layers * KG_PAGE + i % KG_PAGE);
        const bool rotated = strip % 2 == 0 && layer == w->layer && t >= w->first && t < w->first + w->rows && w->layout != KG_ROPE_NONE;
        double x[KG_HEAD_MAX], y[KG_HEAD_MAX];
        if (memcmp(want, got, bytes) == 0)
            continue;
        if (!rotated)
            fail_msg("%s: a row of layer %zu, token %u, that had to stay or be exact is another one", text, layer, t);
        kg_dequantise(KG_Q8_0, want, w->shape.head_size, x);
        kg_dequantise(KG_Q8_0, got, w->shape.head_size, y);
        for (uint32_t d = 0; d < w->shape.head_size; d++) {
            const double scale = kg_f16_to_double(half_at(want + (size_t)d / 32 * 34, 0));
            if (!(fabs(x[d] - y[d]) <= 1.2 * scale))
                fail_msg("%s: token %u, element %u of key is %.6g, should be %.6g", text, t, d, y[d], x[d]);
            other += fabs(x[d] - y[d]) > 0.5 * scale;
        }
    }
    if (other > 2 + (size_t)w->rows * w->shape.kv_heads * w->shape.head_size / 1000)
        fail_msg("%s: %zu codes differ from those of ref", text, other);
}

static void check_writing(const struct variant *variant, const struct writing *w)
{
    char text[120];
    snprintf(text, sizeof text, "%u heads of %u, %u rows from %u, local %d, layout %d, %u pairs", w->shape.kv_heads, w->shape.head_size,
             w->rows, w->first, w->local, (int)w->layout, w->pairs);
    size_t bytes = PAGES * KG_KV_PAGE_BYTES(&w->shape);
    uint8_t *want = test_alloc(bytes, 1), *got = test_alloc(bytes, 1), *again = test_alloc(bytes, 1);
    write_and_export(NULL, 1, w, w->rows, 1, want);
    write_and_export(variant, 1, w, w->rows, 2, got);
    (w->shape.type == KG_KV_Q8_0 ? judge_q8_0 : judge_keys)(w, want, got, text);
    static const uint32_t steps[] = { 1, 3, 32, KG_ROWS_MAX };
    for (uint32_t i = 0; i < 4; i++) {
        write_and_export(variant, i % CONFORMANCE_THREADS + 1, w, steps[i], 3 + i, again);
        if (memcmp(got, again, bytes) != 0)
            fail_msg("%s: other bits by calls of %u rows, %u threads and other page numbers", text, steps[i], i % CONFORMANCE_THREADS + 1);
    }
    const struct variant *twin = conformance_twin(variant);
    if (twin) {
        write_and_export(twin, 1, w, w->rows, 2, again);
        if (memcmp(got, again, bytes) != 0)
            fail_msg("%s: other bits by %s", text, twin->instructions);
    }
    free(want);
    free(got);
    free(again);
}

static struct writing make_writing(uint32_t layers, uint32_t kv_heads, uint32_t head_size, uint32_t first, uint32_t rows, int32_t local)
{
    struct writing w = { { layers, kv_heads, head_size, 0, KG_KV_F16 }, layers / 2, first, rows, local, KG_ROPE_HALVES, head_size / 2, 1, 10000, NULL, NULL };
    uint64_t seed = head_size + 7 * rows;
    size_t n = (size_t)rows * kv_heads * head_size;
    w.k = test_alloc(n, sizeof *w.k);
    w.v = test_alloc(n, sizeof *w.v);
    seeded_normals(&seed, 2, w.k, n);
    seeded_normals(&seed, 1, w.v, n);
    return w;
}

static void free_writing(struct writing *w)
{
    free(w->k);
    free(w->v);
}

static void keys_are_written_in_every_shape(void **state)
{
    static const uint32_t shapes[][5] = { /* layers, kv heads, head size, first, rows */
                                          { 1, 1, 64, 0, 1 },   { 2, 3, 64, 31, 2 },  { 3, 2, 128, 5, 70 },  { 1, 5, 80, 32, 32 }, { 2, 1, 2, 100, 65 },
                                          { 1, 7, 96, 17, 90 }, { 2, 2, 256, 1, 63 }, { 1, 1, 40, 0, 33 },   { 1, 3, 6, 3, 200 },  { 2, 2, 64, 200, 184 } };
    static const int32_t locals[] = { 0, 17, 3000, 131000 };
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++) {
        for (size_t l = 0; l < 4; l++) {
            struct writing w = make_writing(shapes[s][0], shapes[s][1], shapes[s][2], shapes[s][3], shapes[s][4], locals[l]);
            w.theta = l % 2 ? 1e6 : 1e4;
            check_writing(*state, &w);
            w.layout = KG_ROPE_INTERLEAVED;
            w.scale = 1.1875F;
            check_writing(*state, &w);
            w.pairs = w.pairs > 4 ? w.pairs / 2 - 1 : 1; /* partial, no multiple of anything */
            check_writing(*state, &w);
            w.layout = KG_ROPE_HALVES;
            check_writing(*state, &w);
            free_writing(&w);
        }
    }
}

static void keys_of_8_bits_are_written(void **state)
{
    static const float odd[] = { 0, -0.0F, 3e-9F, -65504, 1e6F, 1e30F, INFINITY, NAN, 1e-40F };
    for (uint32_t h = 0; h < 3; h++) {
        struct writing w = make_writing(2, h + 1, 32 << h, 31 * h, 40, 3000);
        w.shape.type = KG_KV_Q8_0;
        if (conformance_keeps(*state, &w.shape)) {
            check_writing(*state, &w);
            w.layout = KG_ROPE_NONE;
            for (size_t i = 0; i < (size_t)w.rows * w.shape.kv_heads * w.shape.head_size; i += 37)
                w.k[i] = w.v[i] = odd[i % (sizeof odd / sizeof *odd)];
            check_writing(*state, &w);
        }
        free_writing(&w);
    }
}

/* Without rotation keys and values are the nearest halves, exactly: ties, subnormals, and beyond 65504. */
static void unrotated_keys_and_values_are_the_nearest_halves(void **state)
{
    static const float odd[] = { 0,      -0.0F,   65504,   65519.996F, 65520,    -65520,   1e6F,     -1e30F,    INFINITY,      1 + 0x1p-11F,
                                 1 + 0x3p-11F, 0x1p-24F, 0x1p-25F, 0x3p-25F,  -0x1p-26F, 0x1p-14F, 0x1.ffep-15F, 6.1e-5F, 1e-40F, 2049 };
    struct writing w = make_writing(1, 2, 64, 3, 60, 5);
    w.layout = KG_ROPE_NONE;
    w.pairs = 0;
    for (size_t i = 0; i < (size_t)60 * 2 * 64; i += 3)
        w.k[i] = w.v[i] = odd[i % (sizeof odd / sizeof *odd)];
    check_writing(*state, &w);
    uint8_t *pages = test_alloc(PAGES, KG_KV_PAGE_BYTES(&w.shape));
    write_and_export(*state, 2, &w, 60, 9, pages);
    for (uint32_t r = 0; r < w.rows; r++) {
        uint32_t t = w.first + r;
        for (size_t i = 0; i < 128; i++) {
            size_t at = ((size_t)t / KG_PAGE * 4 + i / 64) * KG_PAGE * 64 + (size_t)t % KG_PAGE * 64 + i % 64;
            assert_int_equal(half_at(pages, at), kg_f16_from_double((double)w.k[(size_t)r * 128 + i]));
            assert_int_equal(half_at(pages, at + (size_t)2 * KG_PAGE * 64), kg_f16_from_double((double)w.v[(size_t)r * 128 + i]));
        }
    }
    free(pages);
    free_writing(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pages_survive_growth_and_come_back_as_they_were),
        cmocka_unit_test(keys_are_written_in_every_shape),
        cmocka_unit_test(keys_of_8_bits_are_written),
        cmocka_unit_test(unrotated_keys_and_values_are_the_nearest_halves),
    };
    return conformance_main(tests, sizeof tests / sizeof *tests);
}
