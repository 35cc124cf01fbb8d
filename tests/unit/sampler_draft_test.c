/* n-gram drafts: what they guess, and when a guess pays. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/sampler/draft.h"
#include "tests/unit/seeded.h"

struct world {
    struct kg_draft_record record;
    struct kg_draft *draft;
    int32_t ids[KG_DRAFT_MAX];
};

static void begin(struct world *w, uint32_t tokens)
{
    kg_draft_free(w->draft);
    assert_int_equal(kg_draft_create(tokens, &w->record, &w->draft, NULL), KG_OK);
}

/* Rows cost `each` of what one costs. */
static void costs(struct world *w, double each)
{
    for (uint32_t rows = 1; rows <= KG_DRAFT_MAX + 1; rows++)
        kg_draft_took(w->draft, rows, 1 + each * (rows - 1));
}

static int set_up(void **state)
{
    struct world *w = calloc(1, sizeof *w);
    begin(w, 4096);
    costs(w, 0.01);
    *state = w;
    return 0;
}

static int tear_down(void **state)
{
    struct world *w = *state;
    kg_draft_free(w->draft);
    free(w);
    return 0;
}

static void give(struct world *w, int32_t from, int32_t upto)
{
    for (; from < upto; from++)
        kg_draft_give(w->draft, &from, 1);
}

static void add(struct world *w, int32_t from, int32_t upto)
{
    for (; from < upto; from++)
        kg_draft_add(w->draft, from);
}

static uint32_t propose(struct world *w)
{
    return kg_draft_propose(w->draft, w->ids, KG_DRAFT_MAX);
}

static void assert_goes_on(struct world *w, int32_t from)
{
    const uint32_t n = propose(w);
    assert_true(n > 0);
    for (uint32_t i = 0; i < n; i++)
        assert_int_equal(w->ids[i], from + (int32_t)i);
}

static void what_stood_there_before_comes_next(void **state)
{
    struct world *w = *state;
    give(w, 100, 200);
    assert_int_equal(propose(w), 0); /* nothing was generated yet */
    kg_draft_add(w->draft, 7);
    assert_int_equal(propose(w), 0);
    add(w, 140, 143);
    assert_goes_on(w, 143);
    add(w, 143, 160);
    assert_goes_on(w, 160);
    assert_int_equal(propose(w), KG_DRAFT_MAX);
    assert_int_equal(kg_draft_propose(w->draft, w->ids, 3), 3);
    assert_int_equal(kg_draft_propose(w->draft, w->ids, 0), 0);
    kg_draft_add(w->draft, 9999);
    kg_draft_add(w->draft, 9998);
    for (int32_t id = 2000; id < 2100; id++) { /* the break is forgotten, and nothing of this was there */
        kg_draft_add(w->draft, id);
    }
    assert_int_equal(propose(w), 0);
}

static void the_longest_match_counts(void **state)
{
    struct world *w = *state;
    static const int32_t text[] = { 1, 2, 3, 4, 50, 51, 9, 3, 4, 60, 61, 9, 8, 3, 4, 70, 71, 9 };
    kg_draft_give(w->draft, text, sizeof text / sizeof *text);
    kg_draft_add(w->draft, 3);
    kg_draft_add(w->draft, 4); /* behind 9: the second one */
    assert_true(propose(w) > 0);
    assert_int_equal(w->ids[0], 60);
    begin(w, 4096);
    kg_draft_give(w->draft, text, sizeof text / sizeof *text);
    kg_draft_add(w->draft, 77);
    kg_draft_add(w->draft, 3);
    kg_draft_add(w->draft, 4); /* all match over two: the newest */
    assert_true(propose(w) > 0);
    assert_int_equal(w->ids[0], 70);
}

static void a_copy_goes_on_behind_a_change(void **state)
{
    struct world *w = *state;
    give(w, 100, 200);
    add(w, 100, 120);
    kg_draft_add(w->draft, 5000); /* in place of 120 */
    assert_goes_on(w, 121);
    add(w, 121, 140);
    kg_draft_add(w->draft, 145); /* 140 .. 144 are left out */
    assert_goes_on(w, 146);
    add(w, 146, 160);
    add(w, 6000, 6010); /* put in before 160 */
    kg_draft_add(w->draft, 160);
    assert_goes_on(w, 161);
}

static void what_repeats_itself_is_its_own_source(void **state)
{
    struct world *w = *state;
    for (int i = 0; i < 8; i++)
        add(w, 40, 43);
    const uint32_t n = propose(w);
    assert_true(n > 6);
    for (uint32_t i = 0; i < n; i++)
        assert_int_equal(w->ids[i], 40 + (int32_t)(i % 3));
}

/* Text where every pair is followed by something else each time. */
static void add_misleading(struct world *w, int32_t rounds)
{
    for (int32_t i = 0; i < rounds; i++) {
        add(w, 10, 12);
        kg_draft_add(w->draft, 1000 + i);
    }
}

static void guesses_that_fail_are_no_longer_made(void **state)
{
    struct world *w = *state;
    costs(w, 0.2);
    costs(w, 0.2);
    give(w, 10, 13);
    add(w, 10, 12);
    kg_draft_add(w->draft, 900);
    uint32_t proposed = 0;
    for (int32_t i = 0; i < 200; i++) {
        add(w, 10, 12);
        proposed = i >= 100 ? proposed + propose(w) : 0;
        kg_draft_add(w->draft, 1000 + i);
    }
    assert_int_equal(proposed, 0);
    /* they are counted all the same, and made again when they come true */
    for (int32_t i = 0; i < 100; i++) {
        add(w, 10, 12);
        kg_draft_add(w->draft, 1199);
        kg_draft_add(w->draft, 3000 + i);
    }
    add(w, 10, 12);
    assert_true(propose(w) > 0);
}

static void a_draft_has_the_length_that_pays(void **state)
{
    struct world *w = *state;
    memset(&w->record, 0, sizeof w->record);
    begin(w, 4096);
    give(w, 100, 300);
    add(w, 100, 150);
    assert_int_equal(propose(w), 0); /* it is not known what one token takes */
    kg_draft_took(w->draft, 1, 1);
    assert_true(propose(w) > 0); /* tried */
    for (int i = 0; i < 60; i++)
        costs(w, 1);
    assert_int_equal(propose(w), 0);
    for (int i = 0; i < 2000; i++) /* that was long ago: tried again */
        kg_draft_took(w->draft, 1, 1);
    assert_true(propose(w) > 0);
    for (int i = 0; i < 60; i++)
        costs(w, 0.05);
    assert_int_equal(propose(w), KG_DRAFT_MAX);
    for (int i = 0; i < 60; i++) /* a device that takes eight rows at once and then as many again */
        for (uint32_t rows = 1; rows <= KG_DRAFT_MAX + 1; rows++)
            kg_draft_took(w->draft, rows, rows <= 8 ? 1 : 4);
    assert_int_equal(propose(w), 7);
    memset(&w->record, 0, sizeof w->record);
    kg_draft_took(w->draft, 1, 1);
    kg_draft_took(w->draft, 16, 10); /* between the two it is guessed */
    assert_true(propose(w) < KG_DRAFT_MAX);
}

static void one_slow_read_is_not_believed(void **state)
{
    struct world *w = *state;
    give(w, 100, 300);
    add(w, 100, 150);
    kg_draft_took(w->draft, KG_DRAFT_MAX + 1, 1000);
    assert_true(w->record.seconds[KG_DRAFT_MAX + 1] < 2);
    kg_draft_took(w->draft, 2, 0);
    assert_true(w->record.seconds[2] > 1);
    assert_true(propose(w) > 0);
}

/* Whatever is thrown at it, what is proposed stands somewhere in the text, in one piece. */
static void random_texts(void **state)
{
    struct world *w = *state;
    enum { TOKENS = 3000 };
    static int32_t text[TOKENS];
    uint64_t seed = 11;
    uint32_t proposals = 0;
    for (int round = 0; round < 20; round++) {
        const uint32_t alphabet = 2 + (uint32_t)seeded_below(&seed, round % 2 ? 6 : 300);
        begin(w, round % 3 ? TOKENS : TOKENS / 2); /* a text may outgrow it */
        for (uint32_t n = 0; n < TOKENS; n++) {
            const bool copies = n > 20 && seeded_below(&seed, 20);
            text[n] = copies ? text[n - 17] : (int32_t)seeded_below(&seed, alphabet) - 1;
            if (n < 200)
                kg_draft_give(w->draft, &text[n], 1);
            else
                kg_draft_add(w->draft, text[n]);
            const uint32_t proposed = propose(w);
            proposals += proposed > 0;
            bool stood = proposed == 0;
            for (uint32_t at = 1; at <= n && !stood; at++) {
                stood = true;
                for (uint32_t i = 0; i < proposed && stood; i++)
                    stood = w->ids[i] == (at + i <= n ? text[at + i] : w->ids[at + i - n - 1]);
            }
            assert_true(stood);
        }
    }
    assert_true(proposals > 1000);
}

static void what_outgrows_it_is_not_followed(void **state)
{
    struct world *w = *state;
    begin(w, 60);
    give(w, 100, 150);
    add(w, 100, 108);
    assert_goes_on(w, 108);
    add(w, 108, 130);
    assert_int_equal(propose(w), 0);
    add_misleading(w, 100);
    assert_int_equal(propose(w), 0);
    begin(w, 0);
    add(w, 1, 5);
    assert_int_equal(propose(w), 0);
    begin(w, UINT32_MAX);
    add(w, 1, 5);
    add(w, 1, 5);
    assert_true(propose(w) > 4);
    assert_int_equal(w->ids[0], 1);
    assert_int_equal(w->ids[4], 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_stood_there_before_comes_next, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_longest_match_counts, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_copy_goes_on_behind_a_change, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_repeats_itself_is_its_own_source, set_up, tear_down),
        cmocka_unit_test_setup_teardown(guesses_that_fail_are_no_longer_made, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_draft_has_the_length_that_pays, set_up, tear_down),
        cmocka_unit_test_setup_teardown(one_slow_read_is_not_believed, set_up, tear_down),
        cmocka_unit_test_setup_teardown(random_texts, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_outgrows_it_is_not_followed, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
