/* The key index of every backend that has one. */
#include <stdlib.h>
#include <string.h>

#include "kernels/type.h"
#include "tests/unit/recall_scene.h"
#include "tests/unit/seeded.h"

/* Keys of all kinds: equal ones, zeros of both signs, the smallest and the largest numbers, steps that fit exactly. */
static void odd_keys(const struct scene *s, uint64_t *seed)
{
    const double sizes[] = { 1, 6e-8, 3e-5, s->shape.type == KG_KV_Q8_0 ? 65440 : 65504, 0, 0.5 };
    for (uint32_t p = 0; p < s->pages; p++) {
        for (uint32_t h = 0; h < s->shape.kv_heads; h++) {
            for (uint32_t d = 0; d < s->shape.head_size; d++) {
                const double size = sizes[seeded_below(seed, 6)];
                const uint32_t kind = seeded_below(seed, 4);
                for (uint32_t t = 0; t < KG_PAGE; t++) {
                    double k = kind == 0 ? seeded_uniform(seed, -size, size) : kind == 1 ? size * (t % 4) / 3 : kind == 2 ? (t % 2 ? -0.0 : 0.0) * size : size;
                    scene_half_at(s, p, false, h, t)[d] = kg_f16_from_double(k);
                }
            }
        }
    }
}

static void index_of(const struct rig *rig, const struct scene *s, bool closes, uint8_t *index, uint32_t *tokens)
{
    struct kg_kv *kv = scene_create_pages(rig, &s->shape, s->pages);
    uint32_t *numbers = test_alloc(s->pages, sizeof *numbers);
    for (uint32_t p = 0; p < s->pages; p++) {
        numbers[p] = s->pages - 1 - p;
        rig->b->kv_import(rig->d, kv, numbers[p], s->bits + p * KG_KV_PAGE_BYTES(&s->shape));
    }
    for (uint32_t l = 0; l < SCENE_LAYERS; l++) {
        rig->b->index_write(rig->d, kv, l, numbers, 0, 45, false);
        rig->b->index_write(rig->d, kv, l, numbers, 45, s->spans[0].tokens - 45, closes);
    }
    for (uint32_t p = 0; p < s->pages; p++)
        assert_int_equal(rig->b->index_export(rig->d, kv, numbers[p], index + p * KG_INDEX_PAGE_BYTES(&s->shape), &tokens[p], NULL), KG_OK);
    rig->b->kv_free(rig->d, kv);
    free(numbers);
}

/* The index is the same to the bit, and what is imported is exported again. */
static void indexes_are_equal(void **state)
{
    const struct variant *variant = *state;
    if (!scene_has_recall(variant))
        skip();
    struct rig ref = rig_open(NULL, 1), rig = rig_open(variant, 2);
    for (size_t h = 0; h < 2 * SCENE_HEADS; h++) {
        struct scene s = { .rows = 1 };
        uint64_t seed = h;
        scene_set_heads(&s, &scene_heads[h / 2]);
        if (!conformance_keeps(variant, &s.shape))
            continue;
        scene_add_span(&s, 3 * KG_PAGE + 13, 0, 0, true);
        scene_fill(&s, h);
        for (s.layer = 0; s.layer < SCENE_LAYERS; s.layer++)
            odd_keys(&s, &seed);
        s.layer = 0;
        scene_keep(&s);
        const size_t bytes = KG_INDEX_PAGE_BYTES(&s.shape);
        uint8_t *want = test_alloc(s.pages, bytes), *got = test_alloc(s.pages, bytes);
        uint32_t *want_tokens = test_alloc(s.pages, sizeof *want_tokens), *got_tokens = test_alloc(s.pages, sizeof *got_tokens);
        index_of(&ref, &s, h % 2, want, want_tokens);
        index_of(&rig, &s, h % 2, got, got_tokens);
        assert_memory_equal(got_tokens, want_tokens, s.pages * sizeof *got_tokens);
        assert_int_equal(got_tokens[2], KG_PAGE);
        assert_int_equal(got_tokens[3], h % 2 ? 13 : 0);
        assert_memory_equal(got, want, (s.pages - 1 + h % 2) * bytes);
        struct kg_kv *kv = scene_create_pages(&rig, &s.shape, 3);
        seeded_shuffle(&seed, (uint32_t *)(void *)want, bytes / 4);
        rig.b->index_import(rig.d, kv, 1, want, 29);
        assert_int_equal(rig.b->index_export(rig.d, kv, 1, got, got_tokens, NULL), KG_OK);
        assert_memory_equal(got, want, bytes);
        assert_int_equal(*got_tokens, 29);
        rig.b->kv_free(rig.d, kv);
        free(want), free(got), free(want_tokens), free(got_tokens);
        scene_free(&s);
    }
    rig_close(&rig);
    rig_close(&ref);
}

/* A page that is written to leaves the index of that layer, others stay. */
static void writing_takes_out_of_the_index(void **state)
{
    if (!scene_has_recall(*state))
        skip();
    struct rig rig = rig_open(*state, 2);
    struct scene s = { .rows = 1 };
    scene_set_heads(&s, &scene_heads[0]);
    struct kg_kv *kv = scene_create_pages(&rig, &s.shape, 4);
    const size_t row = (size_t)s.shape.kv_heads * s.shape.head_size;
    float *x = test_alloc(row * 100, sizeof *x);
    struct kg_buffer *buffer = rig_upload(&rig, x, row * 100 * sizeof *x);
    uint8_t *index = test_alloc(KG_INDEX_PAGE_BYTES(&s.shape), 1);
    const uint32_t pages[] = { 2, 0, 3, 1 };
    uint32_t tokens[2][4];
    for (uint32_t l = 0; l < SCENE_LAYERS; l++) {
        rig.b->kv_write(rig.d, kv, l, pages, 0, 0, buffer, buffer, &s.rope, 100);
        rig.b->index_write(rig.d, kv, l, pages, 0, 100, true);
    }
    for (int after = 0; after < 2; after++) {
        for (uint32_t p = 0; p < 4; p++)
            assert_int_equal(rig.b->index_export(rig.d, kv, pages[p], index, &tokens[after][p], NULL), KG_OK);
        rig.b->kv_write(rig.d, kv, 1, pages, 63, 0, buffer, buffer, &s.rope, 2);
    }
    const uint32_t want[2][4] = { { 32, 32, 32, 4 }, { 32, 0, 0, 4 } };
    assert_memory_equal(tokens, want, sizeof want);
    rig_free(&rig, buffer);
    rig.b->kv_free(rig.d, kv);
    rig_close(&rig);
    free(x);
    free(index);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(indexes_are_equal),
        cmocka_unit_test(writing_takes_out_of_the_index),
    };
    return conformance_main(tests, sizeof tests / sizeof *tests);
}
