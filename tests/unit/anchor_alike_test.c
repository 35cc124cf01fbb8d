/* Which pages of a text go on like a text before it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "engine/anchor/alike.h"
#include "kernels/backend.h"

#define NEWLINE 1
#define TOKENS  (4 * KG_PAGE)

struct texts {
    int32_t ids[3][TOKENS];
    struct kg_alike_text list[3];
    bool newline[100000], pages[4];
};

/* Texts of which no two tokens are the same. */
static void set_up(struct texts *t)
{
    memset(t, 0, sizeof *t);
    t->newline[NEWLINE] = true;
    for (size_t i = 0; i < 3; i++) {
        for (uint32_t k = 0; k < TOKENS; k++)
            t->ids[i][k] = (int32_t)(1000 * (i + 1) + k);
        t->list[i] = (struct kg_alike_text){ t->ids[i], TOKENS };
    }
}

static void copy_run(struct texts *t, size_t from_text, uint32_t from, size_t to_text, uint32_t to, uint32_t n)
{
    memmove(&t->ids[to_text][to], &t->ids[from_text][from], n * sizeof(int32_t));
}

/* The pages, as bits from the first one on. */
static unsigned alike(struct texts *t, size_t count)
{
    unsigned bits = 0;
    memset(t->pages, 1, sizeof t->pages);
    assert_int_equal(kg_alike_pages(t->list, count, t->newline, t->pages, NULL), KG_OK);
    for (unsigned p = 0; p < 4; p++)
        bits |= (unsigned)t->pages[p] << p;
    return bits;
}

static void what_follows_a_run_is_marked_to_the_lines_end(void **state)
{
    struct texts t;
    (void)state;
    set_up(&t);
    assert_int_equal(alike(&t, 3), 0);
    assert_int_equal(alike(&t, 1), 0);
    copy_run(&t, 0, 10, 2, 20, KG_ALIKE_RUN - 1);
    assert_int_equal(alike(&t, 3), 0); /* too short */
    copy_run(&t, 0, 10, 2, 20, KG_ALIKE_RUN);
    t.ids[2][30] = NEWLINE;
    assert_int_equal(alike(&t, 3), 1);
    assert_int_equal(alike(&t, 2), 0); /* what a later text has does not count */
    t.ids[2][30] = 3030;
    t.ids[2][KG_PAGE] = NEWLINE;
    assert_int_equal(alike(&t, 3), 3); /* the line ends with the next page's first token */
    t.ids[2][KG_PAGE] = 3000 + KG_PAGE;
    assert_int_equal(20 + KG_ALIKE_RUN + KG_ALIKE_LINE > 2 * KG_PAGE, 1);
    assert_int_equal(alike(&t, 3), 7); /* a line without an end */
}

static void a_page_that_ends_with_the_run_is_not_marked(void **state)
{
    struct texts t;
    (void)state;
    set_up(&t);
    copy_run(&t, 1, 50, 2, KG_PAGE - KG_ALIKE_RUN, KG_ALIKE_RUN);
    t.ids[2][KG_PAGE] = NEWLINE;
    assert_int_equal(alike(&t, 3), 2);
    copy_run(&t, 1, 50, 2, TOKENS - KG_ALIKE_RUN, KG_ALIKE_RUN); /* nothing follows */
    assert_int_equal(alike(&t, 3), 2);
}

static void what_is_not_rare_is_not_marked(void **state)
{
    struct texts t;
    (void)state;
    set_up(&t);
    for (uint32_t i = 0; i < KG_ALIKE_RARE - 1; i++)
        copy_run(&t, 0, 0, 1, 10 + 20 * i, KG_ALIKE_RUN);
    copy_run(&t, 0, 0, 2, 40, KG_ALIKE_RUN);
    t.ids[2][40 + KG_ALIKE_RUN] = NEWLINE;
    assert_int_equal(alike(&t, 3), 0);
    t.ids[1][10] = 77;
    assert_int_equal(alike(&t, 3), 2);
    /* a text that repeats itself only is like none before it */
    set_up(&t);
    copy_run(&t, 2, 0, 2, 60, KG_ALIKE_RUN);
    assert_int_equal(alike(&t, 3), 0);
}

static void short_texts_have_nothing(void **state)
{
    struct texts t;
    (void)state;
    set_up(&t);
    copy_run(&t, 0, 0, 1, 0, KG_ALIKE_RUN);
    t.list[1].count = KG_ALIKE_RUN;
    assert_int_equal(kg_alike_pages(t.list, 2, t.newline, t.pages, NULL), KG_OK);
    assert_false(t.pages[0]);
    t.list[1].count = KG_ALIKE_RUN + 1;
    assert_int_equal(kg_alike_pages(t.list, 2, t.newline, t.pages, NULL), KG_OK);
    assert_true(t.pages[0]);
    t.list[0].count = 0;
    assert_int_equal(kg_alike_pages(t.list, 2, t.newline, t.pages, NULL), KG_OK);
    assert_false(t.pages[0]);
    t.list[1].count = 0;
    assert_int_equal(kg_alike_pages(t.list, 2, t.newline, t.pages, NULL), KG_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_follows_a_run_is_marked_to_the_lines_end),
        cmocka_unit_test(a_page_that_ends_with_the_run_is_not_marked),
        cmocka_unit_test(what_is_not_rare_is_not_marked),
        cmocka_unit_test(short_texts_have_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
