/* The choice of tokens of every backend that has recall. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/recall_judge.h"

static const struct operation choose = { "choose", scene_load, scene_choose, scene_unload };

static void check_choice(const struct variant *variant, struct scene *s, uint64_t seed)
{
    char text[160];
    (void)seed;
    const uint32_t width = s->attention.kv_heads * s->look.k;
    const bool exact = strcmp(variant->backend, "ref") == 0;
    int32_t *got = test_alloc((size_t)s->rows * width, sizeof *got);
    scene_describe(s, text, sizeof text);
    check_operation(variant, &choose, s, s->rows, width, -1, text, NULL, (float *)(void *)got);
    for (uint32_t r = 0; r < s->rows; r += conformance_long() ? 1 : 1 + s->rows / 3)
        for (uint32_t h = 0; h < s->attention.kv_heads; h++)
            judge_choice(s, r, h, got + (size_t)r * width + (size_t)h * s->look.k, exact);
    free(got);
}

/* The first tokens of all. */
static void a_beginning(struct scene *s)
{
    s->name = "a beginning";
    s->look.k = 3;
    scene_add_span(s, s->rows, 0, 0, true);
}

/* Nothing that is always looked at, and scores of some thousands. */
static void far_scores(struct scene *s)
{
    s->name = "far scores";
    s->position = 9000;
    s->deviation = 200;
    scene_add_span(s, 210, 100, 40, true);
    scene_add_span(s, 70, 700, 40, true);
}

/* The same with tokens that are always looked at. */
static void far_scores_in_a_chain(struct scene *s)
{
    scene_chain(s);
    s->name = "far scores in a chain";
    s->deviation = 200;
}

/* More than there is to choose. */
static void a_wide_choice(struct scene *s)
{
    s->name = "a wide choice";
    s->position = 400;
    s->look = (struct kg_look){ .sinks = 4, .window = 64, .k = 330 + s->rows / 2 };
    scene_add_span(s, 400 + s->rows, 0, 0, true);
}

static void choice_in_a_beginning(void **state)
{
    scene_over(state, a_beginning, CONFORMANCE_ROWS, check_choice);
}

static void choice_in_a_chain(void **state)
{
    scene_over(state, scene_chain, CONFORMANCE_ROWS, check_choice);
}

static void choice_among_files(void **state)
{
    scene_over(state, scene_files, 33, check_choice);
}

static void choice_among_many_blocks(void **state)
{
    scene_over(state, scene_many_blocks, 9, check_choice);
}

static void choice_in_a_long_text(void **state)
{
    scene_over(state, scene_long_text, 4, check_choice);
}

static void choice_of_nearly_all(void **state)
{
    scene_over(state, a_wide_choice, 11, check_choice);
}

static void choice_by_far_scores(void **state)
{
    scene_over(state, far_scores, 3, check_choice);
    scene_over(state, far_scores_in_a_chain, 12, check_choice);
}

/* Spans behind a row's position change nothing but the numbers of tokens behind them. */
static void what_is_not_seen_does_not_count(void **state)
{
    if (!scene_has_recall(*state))
        skip();
    for (size_t h = 0; h < 4; h++) {
        struct scene s = { .rows = 3 };
        scene_set_heads(&s, &scene_heads[h]);
        scene_files(&s);
        scene_fill(&s, h);
        const uint32_t hidden = s.span_count - 2, tokens = s.spans[hidden].tokens;
        const size_t n = (size_t)s.rows * s.attention.kv_heads * s.look.k;
        assert_true(s.spans[hidden].base > s.position + (int32_t)s.rows);
        int32_t *with = test_alloc(n, sizeof *with), *without = test_alloc(n, sizeof *without);
        struct rig rig = rig_open(*state, 2);
        void *loaded = scene_load(&rig, &s);
        scene_choose(&rig, loaded, 0, s.rows, (float *)(void *)with);
        scene_unload(&rig, loaded);
        const int32_t behind = (int32_t)(scene_tokens(&s) - s.spans[hidden + 1].tokens);
        s.spans[hidden] = s.spans[hidden + 1];
        s.first_page[hidden] = s.first_page[hidden + 1];
        s.closes[hidden] = s.closes[hidden + 1];
        s.span_count--;
        loaded = scene_load(&rig, &s);
        scene_choose(&rig, loaded, 0, s.rows, (float *)(void *)without);
        scene_unload(&rig, loaded);
        rig_close(&rig);
        for (size_t i = 0; i < n; i++)
            assert_int_equal(without[i], with[i] >= behind ? with[i] - (int32_t)tokens : with[i]);
        free(with);
        free(without);
        scene_free(&s);
    }
}

/* A key or a query that is no number shows wherever it stands, and lists are lists all the same. */
static void broken_numbers_show(void **state)
{
    static const uint32_t where[] = { 1, 40, 100, 132 }; /* in S, to be chosen from, in L, in L of later rows */
    if (!scene_has_recall(*state))
        skip();
    for (uint32_t i = 0; i < 16; i++) {
        struct scene s = { .rows = 3 };
        scene_set_heads(&s, &scene_heads[0]);
        scene_chain(&s);
        scene_fill(&s, i);
        const uint32_t t = where[i % 4], head = 8; /* of the second KV head */
        const size_t n = s.shape.head_size, width = s.attention.heads * n, list = (size_t)s.shape.kv_heads * s.look.k;
        const bool key = i < 8;
        if (key)
            scene_half_at(&s, t / KG_PAGE, false, 1, t % KG_PAGE)[i] = i < 4 ? 0x7e00 : 0x7c00; /* infinite: no weight, or none is a number */
        for (uint32_t r = 0; r < s.rows && !key; r++)
            s.q[r * width + head * n + i] = i % 2 ? NAN : INFINITY;
        scene_keep(&s);
        free(s.index);
        free(s.indexed);
        scene_take_index(&s);
        float *y = test_alloc(s.rows * width, sizeof *y);
        int32_t *chosen = test_alloc(s.rows * list, sizeof *chosen);
        struct judged *tokens = test_alloc(scene_tokens(&s), sizeof *tokens);
        double *scratch = test_alloc(2UL * scene_tokens(&s), sizeof *scratch);
        bool *taken = test_alloc(scene_tokens(&s), sizeof *taken);
        struct rig rig = rig_open(*state, 2);
        void *loaded = scene_load(&rig, &s);
        scene_choose(&rig, loaded, 0, s.rows, (float *)(void *)chosen);
        s.lists = chosen;
        scene_attend(&rig, loaded, 0, s.rows, y);
        for (uint32_t r = 0; r < s.rows; r++) {
            const bool seen = !key || (int32_t)t <= s.position + (int32_t)r;
            for (uint32_t h = 0; h < s.attention.heads; h++) {
                uint32_t finite = 0;
                for (uint32_t d = 0; d < n; d++)
                    finite += isfinite(y[r * width + h * n + d]) != 0;
                if (!seen || (key ? h < 7 : h != head))
                    assert_int_equal(finite, n);
                else if (!key || i < 4)
                    assert_int_equal(finite, 0);
            }
            for (uint32_t h = 0; h < s.shape.kv_heads; h++) {
                judge_scores(&s, (int64_t)s.position + r, h, s.q, tokens, scratch, scratch + scene_tokens(&s));
                judge_list(&s, tokens, chosen + r * list + h * s.look.k, taken);
            }
        }
        scene_unload(&rig, loaded);
        rig_close(&rig);
        free(y), free(tokens), free(scratch), free(taken);
        scene_free(&s);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(choice_in_a_beginning),
        cmocka_unit_test(choice_in_a_chain),
        cmocka_unit_test(choice_among_files),
        cmocka_unit_test(choice_among_many_blocks),
        cmocka_unit_test(choice_in_a_long_text),
        cmocka_unit_test(choice_of_nearly_all),
        cmocka_unit_test(choice_by_far_scores),
        cmocka_unit_test(what_is_not_seen_does_not_count),
        cmocka_unit_test(broken_numbers_show),
    };
    return conformance_main(tests, sizeof tests / sizeof *tests);
}
