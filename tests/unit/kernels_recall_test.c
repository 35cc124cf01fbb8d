/* The key index, the choice, and attention over the chosen, as kernels/backend.h defines them. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/type.h"
#include "tests/unit/conformance.h"
#include "tests/unit/seeded.h"

#define HEADS  6
#define KV     2
#define HEAD   64
#define TOKENS 400 /* 12 full pages and a half one */
#define PAGES  13

/* Two blocks: a preamble of 40 tokens, and the others far behind it. */
#define PREAMBLE 40

struct scene {
    struct rig rig;
    struct kg_kv *kv;
    struct kg_view *view;
    struct kg_rope rope;
    struct kg_attention attention;
    struct kg_span spans[2];
    uint32_t pages[PAGES + 2];
    float k[TOKENS * KV * HEAD], v[TOKENS * KV * HEAD], q[HEADS * HEAD];
    struct kg_buffer *query;
    int32_t position;
};

static void write_span(struct scene *s, unsigned span, uint32_t first, uint32_t tokens, int32_t base, int32_t local, bool closes)
{
    struct kg_buffer *keys = rig_upload(&s->rig, s->k + (size_t)first * KV * HEAD, (size_t)tokens * KV * HEAD * sizeof *s->k);
    struct kg_buffer *values = rig_upload(&s->rig, s->v + (size_t)first * KV * HEAD, (size_t)tokens * KV * HEAD * sizeof *s->v);
    uint32_t *pages = s->pages + (span ? 2 : 0);
    s->spans[span] = (struct kg_span){ pages, tokens, base, local };
    s->rig.b->kv_write(s->rig.d, s->kv, 0, pages, 0, local, keys, values, &s->rope, tokens);
    s->rig.b->index_write(s->rig.d, s->kv, 0, pages, 0, tokens, closes);
    rig_free(&s->rig, keys);
    rig_free(&s->rig, values);
}

static void set_up(struct scene *s, const struct variant *variant, uint32_t bits, uint64_t seed)
{
    memset(s, 0, sizeof *s);
    s->rig = rig_open(variant, 2);
    if (!s->rig.b->choose) {
        rig_close(&s->rig);
        free(s);
        skip();
    }
    s->rope = (struct kg_rope){ .layout = KG_ROPE_HALVES, .pairs = HEAD / 2, .scale = 1 };
    for (uint32_t j = 0; j < HEAD / 2; j++)
        s->rope.frequency[j] = pow(1e6, -2.0 * j / HEAD);
    s->attention = (struct kg_attention){ .heads = HEADS, .kv_heads = KV, .head_size = HEAD, .scale = 0.125F, .rope = &s->rope };
    seeded_normals(&seed, 1, s->k, sizeof s->k / sizeof *s->k);
    seeded_normals(&seed, 1, s->v, sizeof s->v / sizeof *s->v);
    seeded_normals(&seed, 1, s->q, sizeof s->q / sizeof *s->q);
    for (uint32_t i = 0; i < PAGES + 2; i++)
        s->pages[i] = PAGES + 1 - i;
    struct kg_kv_shape shape = { .layers = 1, .kv_heads = KV, .head_size = HEAD, .index_bits = bits };
    assert_int_equal(s->rig.b->kv_create(s->rig.d, &shape, &s->kv, NULL), KG_OK);
    assert_int_equal(s->rig.b->kv_reserve(s->rig.d, s->kv, PAGES + 2, NULL), KG_OK);
    assert_int_equal(s->rig.b->view_create(s->rig.d, &s->view, NULL), KG_OK);
    write_span(s, 0, 0, PREAMBLE, 0, 0, true);
    write_span(s, 1, PREAMBLE, TOKENS - PREAMBLE, 1000, PREAMBLE, true);
    assert_int_equal(s->rig.b->view_set(s->rig.d, s->view, s->spans, 2, NULL), KG_OK);
    s->query = rig_upload(&s->rig, s->q, sizeof s->q);
    s->position = 1000 + TOKENS - PREAMBLE - 1;
}

static void tear_down(struct scene *s)
{
    rig_free(&s->rig, s->query);
    s->rig.b->view_free(s->rig.d, s->view);
    s->rig.b->kv_free(s->rig.d, s->kv);
    rig_close(&s->rig);
}

static void choose(struct scene *s, const struct kg_look *look, int32_t *chosen)
{
    struct kg_buffer *out = rig_result(&s->rig, (size_t)KV * look->k * sizeof *chosen);
    s->rig.b->choose(s->rig.d, out, s->query, s->kv, 0, s->view, &s->attention, look, s->position, 1);
    rig_take(&s->rig, out, chosen, (size_t)KV * look->k * sizeof *chosen);
}

static void attend(struct scene *s, const struct kg_look *look, const int32_t *chosen, float *result)
{
    struct kg_buffer *out = rig_result(&s->rig, sizeof s->q);
    if (look) {
        struct kg_buffer *which = rig_upload(&s->rig, chosen, (size_t)KV * look->k * sizeof *chosen);
        s->rig.b->attend_chosen(s->rig.d, out, s->query, s->kv, 0, s->view, &s->attention, look, which, s->position, 1);
        rig_free(&s->rig, which);
    } else {
        s->rig.b->attend(s->rig.d, out, s->query, s->kv, 0, s->view, &s->attention, s->position, 1);
    }
    rig_take(&s->rig, out, result, sizeof s->q);
}

/* Read as the header draws it, codes give back the keys to half a step, and no smaller step would do. */
static void codes_give_back_the_keys(void **state)
{
    for (uint32_t bits = 1; bits <= 4; bits *= 2) {
        struct scene *s = test_alloc(1, sizeof *s);
        set_up(s, *state, bits, bits);
        struct kg_kv_shape shape = { .layers = 1, .kv_heads = KV, .head_size = HEAD, .index_bits = bits };
        uint8_t *index = test_alloc(KG_INDEX_PAGE_BYTES(&shape), 1);
        uint16_t *kv = test_alloc(KG_KV_PAGE_BYTES(&shape), 1);
        uint32_t tokens = 0, levels = (1U << bits) - 1;
        assert_int_equal(s->rig.b->index_export(s->rig.d, s->kv, s->pages[3], index, &tokens, NULL), KG_OK);
        assert_int_equal(s->rig.b->kv_export(s->rig.d, s->kv, s->pages[3], kv, NULL), KG_OK);
        assert_int_equal(tokens, KG_PAGE);
        for (uint32_t h = 0; h < KV; h++) {
            const uint8_t *at = index + h * KG_INDEX_HEAD_BYTES(&shape);
            for (uint32_t d = 0; d < HEAD; d++) {
                uint16_t m;
                memcpy(&m, at + 2 * (size_t)d, sizeof m);
                double low = kg_f16_to_double(m), step = exp2((at[2 * HEAD + d] - 128) / 8.0), least = INFINITY, most = -INFINITY;
                for (uint32_t t = 0; t < KG_PAGE; t++) {
                    double k = kg_f16_to_double(kv[((size_t)h * KG_PAGE + t) * HEAD + d]);
                    uint32_t c = at[3 * HEAD + (size_t)(d * bits / 8) * KG_PAGE + t] >> (d * bits % 8) & levels;
                    assert_true(fabs(low + step * c - k) <= step / 2 + 1e-9);
                    least = fmin(least, k);
                    most = fmax(most, k);
                }
                assert_true(low == least);
                assert_true(step * levels >= most - least && step * exp2(-0.125) * levels < most - least);
            }
        }
        free(index);
        free(kv);
        tear_down(s);
        free(s);
    }
}

/* With room for everything the choice is everything, and the look is the full one. */
static void choosing_all_is_looking_at_all(void **state)
{
    struct scene *s = test_alloc(1, sizeof *s);
    struct kg_look look = { .sinks = 4, .window = 64, .k = TOKENS };
    int32_t chosen[KV * TOKENS];
    float full[HEADS * HEAD], recalled[HEADS * HEAD];
    set_up(s, *state, 2, 7);
    choose(s, &look, chosen);
    for (uint32_t h = 0; h < KV; h++) {
        for (int32_t t = 0; t < TOKENS - 4 - 64; t++)
            assert_int_equal(chosen[h * TOKENS + (uint32_t)t], t + 4);
        assert_int_equal(chosen[h * TOKENS + TOKENS - 4 - 64], -1);
    }
    attend(s, NULL, NULL, full);
    attend(s, &look, chosen, recalled);
    assert_true(norm_error(recalled, full, HEADS * HEAD) < 1e-6);
    tear_down(s);
    free(s);
}

/* A key that points along a query head is among the few that are chosen, wherever it stands; and what is left out counts. */
static void the_key_that_matters_is_chosen(void **state)
{
    for (int32_t wanted = 4; wanted < TOKENS - 64; wanted += 29) {
        struct scene *s = test_alloc(1, sizeof *s);
        struct kg_look look = { .sinks = 4, .window = 64, .k = 8 };
        int32_t chosen[KV * 8];
        float full[HEADS * HEAD], recalled[HEADS * HEAD];
        set_up(s, *state, 2, 11);
        bool second = wanted >= PREAMBLE;
        int64_t distance = (int64_t)s->position - (second ? 1000 + wanted - PREAMBLE : wanted);
        for (uint32_t d = 0; d < HEAD / 2; d++) { /* query head 4 belongs to KV head 1; turned back by the distance */
            double angle = (double)distance * s->rope.frequency[d], a = (double)s->q[4 * HEAD + d], b = (double)s->q[4 * HEAD + d + HEAD / 2];
            float *k = s->k + ((size_t)wanted * KV + 1) * HEAD;
            k[d] = (float)(3 * (a * cos(angle) - b * sin(angle)));
            k[d + HEAD / 2] = (float)(3 * (a * sin(angle) + b * cos(angle)));
        }
        write_span(s, 0, 0, PREAMBLE, 0, 0, true);
        write_span(s, 1, PREAMBLE, TOKENS - PREAMBLE, 1000, PREAMBLE, true);
        choose(s, &look, chosen);
        bool found = false;
        for (uint32_t i = 0; i < look.k; i++)
            found = found || chosen[look.k + i] == wanted;
        assert_true(found);
        attend(s, NULL, NULL, full);
        attend(s, &look, chosen, recalled);
        assert_true(norm_error(recalled + (size_t)4 * HEAD, full + (size_t)4 * HEAD, HEAD) < 1e-3);
        assert_true(norm_error(recalled, full, HEADS * HEAD) > 1e-3);
        tear_down(s);
        free(s);
    }
}

/* An index that was exported and imported elsewhere chooses the same; what is in no index is looked at as it is. */
static void an_index_moves_and_is_forgotten(void **state)
{
    struct scene *s = test_alloc(1, sizeof *s);
    struct kg_look look = { .sinks = 4, .window = 64, .k = 8 };
    struct kg_kv_shape shape = { .layers = 1, .kv_heads = KV, .head_size = HEAD, .index_bits = 2 };
    int32_t before[KV * 8], after[KV * 8];
    float full[HEADS * HEAD], seen[HEADS * HEAD];
    uint8_t *index = test_alloc(KG_INDEX_PAGE_BYTES(&shape), 1);
    uint32_t tokens = 0;
    set_up(s, *state, 2, 13);
    choose(s, &look, before);
    for (uint32_t p = 0; p < PAGES + 2; p++) {
        assert_int_equal(s->rig.b->index_export(s->rig.d, s->kv, p, index, &tokens, NULL), KG_OK);
        s->rig.b->index_import(s->rig.d, s->kv, p, index, tokens);
    }
    choose(s, &look, after);
    assert_memory_equal(before, after, sizeof before);
    for (uint32_t p = 0; p < PAGES + 2; p++)
        s->rig.b->index_import(s->rig.d, s->kv, p, index, 0);
    choose(s, &look, after);
    for (uint32_t i = 0; i < KV * look.k; i++)
        assert_int_equal(after[i], -1);
    attend(s, NULL, NULL, full);
    attend(s, &look, after, seen);
    assert_true(norm_error(seen, full, HEADS * HEAD) < 1e-6);
    free(index);
    tear_down(s);
    free(s);
}

/* A view that could not be set is empty: nothing is chosen, and nothing is read that is not there. */
static void an_empty_view_has_nothing_to_choose(void **state)
{
    struct scene *s = test_alloc(1, sizeof *s);
    set_up(s, *state, 2, 5);
    const struct kg_look look = { .sinks = 4, .window = 64, .k = 16 };
    int32_t chosen[KV * 16], untouched;
    memset(&untouched, 0xd7, sizeof untouched);
    assert_int_equal(s->rig.b->view_set(s->rig.d, s->view, s->spans, 0, NULL), KG_OK);
    choose(s, &look, chosen);
    for (size_t i = 0; i < KV * 16; i++)
        assert_true(chosen[i] == -1 || chosen[i] == untouched);
    tear_down(s);
    free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(codes_give_back_the_keys),
        cmocka_unit_test(choosing_all_is_looking_at_all),
        cmocka_unit_test(the_key_that_matters_is_chosen),
        cmocka_unit_test(an_index_moves_and_is_forgotten),
        cmocka_unit_test(an_empty_view_has_nothing_to_choose),
    };
    return conformance_main(tests, sizeof tests / sizeof *tests);
}
