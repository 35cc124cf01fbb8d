/* kedge eval patch: which pages of an old reading stay, and that reading everything behind an edit again is reading the whole. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/eval/patch.h"
#include "engine/state.h"

enum { PAGES = 6, TOKENS = PAGES * KG_PAGE };

static void count_up(int32_t *ids, uint32_t count, int32_t from)
{
    for (uint32_t i = 0; i < count; i++)
        ids[i] = from + (int32_t)i;
}

static void a_text_that_did_not_change_is_kept(void **state)
{
    (void)state;
    int32_t ids[TOKENS], kept[PAGES];
    count_up(ids, TOKENS, 100);
    assert_int_equal(kg_patch_keep(ids, TOKENS, ids, TOKENS, NULL, 0, kept, NULL), KG_OK);
    for (int32_t p = 0; p < PAGES; p++)
        assert_int_equal(kept[p], p * KG_PAGE);
}

static void what_is_put_in_moves_what_stands_behind(void **state)
{
    (void)state;
    int32_t before[TOKENS], after[TOKENS + 5], kept[PAGES];
    count_up(before, TOKENS, 100);
    memcpy(after, before, 40 * sizeof *after);
    count_up(after + 40, 5, 5000);
    memcpy(after + 45, before + 40, (TOKENS - 40) * sizeof *after);
    assert_int_equal(kg_patch_keep(before, TOKENS, after, TOKENS + 5, NULL, 0, kept, NULL), KG_OK);
    assert_true(kept[0] == 0 && kept[1] == -1);
    for (int32_t p = 2; p < PAGES; p++)
        assert_int_equal(kept[p], p * KG_PAGE + 5);
    assert_int_equal(kg_patch_keep(after, TOKENS, before, TOKENS, NULL, 0, kept, NULL), KG_OK); /* taken out again */
    assert_true(kept[0] == 0 && kept[1] == -1);
    for (int32_t p = 2; p < PAGES; p++)
        assert_int_equal(kept[p], p * KG_PAGE - 5);
}

static void of_a_changed_definition_nothing_is_kept(void **state)
{
    (void)state;
    const uint32_t starts[] = { 0, 30, 130 };
    int32_t before[TOKENS], after[TOKENS], kept[PAGES];
    count_up(before, TOKENS, 100);
    memcpy(after, before, sizeof after);
    after[100] = 7;
    assert_int_equal(kg_patch_keep(before, TOKENS, after, TOKENS, NULL, 0, kept, NULL), KG_OK);
    assert_true(kept[0] == 0 && kept[1] == 32 && kept[2] == 64 && kept[3] == -1 && kept[4] == 128);
    assert_int_equal(kg_patch_keep(before, TOKENS, after, TOKENS, starts, 3, kept, NULL), KG_OK);
    assert_true(kept[0] == -1 && kept[1] == -1 && kept[2] == -1 && kept[3] == -1 && kept[4] == -1 && kept[5] == 160);
}

static const char before[] =
    "int one(int a)\n{\n    return a + 1;\n}\n\nint two(int a)\n{\n    return a + 2;\n}\n\nint three(int a)\n{\n    return a + 3;\n}\n\nint four(int a)\n{\n"
    "    return a + 4;\n}\n\nint five(int a)\n{\n    return a + 5;\n}\n";
static const struct kg_patch_options options = { .tokens = 200, .target = 24 };

static struct kg_engine *open_tiny(void)
{
    struct kg_engine *engine = NULL;
    struct kg_error err = { .text = "" };
    if (kg_engine_open(&(struct kg_engine_options){ .model_path = "tests/golden/tiny/qwen2.gguf", .backend = "ref", .cache_off = true, .index_bits = 4 },
                       &engine, &err) != KG_OK)
        fail_msg("%s", err.text);
    return engine;
}

static void reading_all_behind_again_is_reading_the_whole(void **state)
{
    (void)state;
    static const struct kg_patch_rule rules[] = { { KG_PATCH_WHOLE, 0 }, { KG_PATCH_KEEP, 100 }, { KG_PATCH_KEEP, 0 }, { KG_PATCH_APART, 0 } };
    struct kg_engine *engine = open_tiny();
    struct kg_cbr_result *result = NULL;
    struct kg_error err = { .text = "" };
    uint32_t reread[4];
    char after[sizeof before];
    memcpy(after, before, sizeof before);
    strstr(after, "a + 2")[2] = '*';
    const struct kg_patch_text text = { "n.c", before, after, strlen(before), strlen(after) };
    if (kg_patch_measure(engine, &text, &options, rules, 4, &result, reread, &err) != KG_OK)
        fail_msg("%s", err.text);
    double apart = 0;
    for (uint32_t t = 0; t < options.target; t++) {
        assert_true(result->rows[0].score.nll[t] == result->full.nll[t]);
        assert_true(fabs(result->rows[1].score.nll[t] - result->full.nll[t]) < 1e-3);
        apart += fabs(result->rows[3].score.nll[t] - result->full.nll[t]);
    }
    assert_true(apart > 1e-3);
    assert_true(reread[0] > reread[1] && reread[1] > reread[2] && reread[2] == reread[3]);
    assert_true(reread[2] >= KG_PAGE && reread[2] < 3 * KG_PAGE);
    kg_cbr_result_free(result);
    assert_int_equal(kg_pool_pages_used(engine->pool), 0);
    kg_engine_close(engine);
}

static void what_cannot_be_measured_is_refused(void **state)
{
    (void)state;
    static const struct kg_patch_rule rule = { KG_PATCH_KEEP, 0 };
    struct kg_engine *engine = open_tiny();
    struct kg_cbr_result *result = NULL;
    struct kg_error err = { .text = "" };
    const struct kg_patch_text same = { "n.c", before, before, strlen(before), strlen(before) }, little = { "n.c", before, "int", strlen(before), 3 };
    assert_int_equal(kg_patch_measure(engine, &same, &options, &rule, 1, &result, NULL, &err), KG_ERR_RANGE);
    assert_non_null(strstr(err.text, "does not change"));
    assert_int_equal(kg_patch_measure(engine, &little, &options, &rule, 1, &result, NULL, &err), KG_ERR_RANGE);
    assert_non_null(strstr(err.text, "too few"));
    assert_null(result);
    kg_engine_close(engine);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_text_that_did_not_change_is_kept),
        cmocka_unit_test(what_is_put_in_moves_what_stands_behind),
        cmocka_unit_test(of_a_changed_definition_nothing_is_kept),
        cmocka_unit_test(reading_all_behind_again_is_reading_the_whole),
        cmocka_unit_test(what_cannot_be_measured_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
