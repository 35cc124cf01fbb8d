/* A file that is edited is read again from where the edit begins, and what is kept of it is what a reading of the whole gives. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/state.h"
#include "tests/unit/kv_blocks.h"
#include "tests/unit/model_run.h"

enum { LINES = 40, LINE_MAX_BYTES = 64 };

static const char header[] = "int line_of(int number, int width);\n", other_header[] = "int line_of(int number, int height);\n";

struct world {
    char directory[2][256], model[KG_PATH_MAX];
    struct kg_engine *engine[2];
    struct kg_session *session[2];
    char text[LINES * LINE_MAX_BYTES];
};

/* So many lines of a function each; line `changed` is another one. */
static const char *text_with(struct world *w, int changed)
{
    size_t at = 0;
    for (int i = 0; i < LINES; i++)
        at += (size_t)snprintf(w->text + at, sizeof w->text - at, "int line_%d(int number)\n{\n    return number %c %d;\n}\n", i, i == changed ? '-' : '+', i);
    assert_true(at < sizeof w->text);
    return w->text;
}

static void open_one(struct world *w, int i, const char *name)
{
    struct kg_error err = { .text = "" };
    const struct kg_engine_options options = { .model_path = w->model, .backend = "cpu", .threads = 2, .cache_dir = w->directory[i],
                                               .state_dir = w->directory[i] };
    if (kg_engine_open(&options, &w->engine[i], &err) != KG_OK ||
        kg_session_open(w->engine[i], &(struct kg_session_options){ .name = name, .unsaved = !name }, &w->session[i], &err) != KG_OK)
        fail_msg("%s", err.text);
}

static void close_one(struct world *w, int i)
{
    kg_session_close(w->session[i]);
    kg_engine_close(w->engine[i]);
    w->session[i] = NULL;
    w->engine[i] = NULL;
}

static int set_up(void **state)
{
    struct world *w = calloc(1, sizeof *w);
    *state = w;
    for (int i = 0; i < 2; i++)
        snprintf(w->directory[i], sizeof w->directory[i], "%s", kv_directory_make());
    model_path_or_skip("SmolLM2-135M-Instruct.Q4_1.gguf", w->model);
    open_one(w, 0, "edits");
    open_one(w, 1, NULL);
    return 0;
}

static int tear_down(void **state)
{
    struct world *w = *state;
    for (int i = 0; i < 2; i++) {
        close_one(w, i);
        kv_directory_remove(w->directory[i]);
    }
    free(w);
    return 0;
}

/* Tokens that had to be read for it. */
static uint32_t add(struct world *w, int i, const char *text, const char *included)
{
    struct kg_error err = { .text = "" };
    const struct kg_include include = { .path = "line.h", .text = included ? included : "", .length = included ? strlen(included) : 0 };
    const uint64_t before = w->session[i]->computed_since;
    if (kg_session_add_linked(w->session[i], "line.c", text, strlen(text), false, &include, included != NULL, UINT32_MAX, &err) != KG_OK)
        fail_msg("%s", err.text);
    return (uint32_t)(w->session[i]->computed_since - before);
}

static struct kg_block *block_of(const struct world *w, int i)
{
    const struct kg_session *session = w->session[i];
    assert_int_equal(session->pieces[session->count - 1].kind, KG_BLOCK_FILE);
    return session->pieces[session->count - 1].block;
}

static void are_the_same(const struct world *w)
{
    struct kg_block *a = block_of(w, 0), *b = block_of(w, 1);
    const struct kg_kv_shape *shape = kg_pool_shape(kg_block_pool(a));
    const size_t bytes = KG_KV_PAGE_BYTES(shape), index = KG_INDEX_PAGE_BYTES(shape), slot = (size_t)shape->head_size * 2;
    uint8_t *pages[2] = { calloc(1, bytes), calloc(1, bytes) }, *indexes[2] = { calloc(1, index), calloc(1, index) };
    assert_int_equal(kg_block_tokens(a), kg_block_tokens(b));
    assert_int_equal(kg_block_ready(a), kg_block_tokens(a));
    for (uint32_t page = 0; page * KG_PAGE < kg_block_tokens(a); page++) {
        const uint32_t left = kg_block_tokens(a) - page * KG_PAGE, used = left < KG_PAGE ? left : KG_PAGE;
        uint32_t indexed[2];
        assert_int_equal(kg_block_export(a, page, pages[0], NULL), KG_OK);
        assert_int_equal(kg_block_export(b, page, pages[1], NULL), KG_OK);
        for (size_t s = 0; s < bytes / (KG_PAGE * slot); s++)
            assert_memory_equal(pages[0] + s * KG_PAGE * slot, pages[1] + s * KG_PAGE * slot, used * slot);
        assert_int_equal(kg_block_index_export(a, page, indexes[0], &indexed[0], NULL), KG_OK);
        assert_int_equal(kg_block_index_export(b, page, indexes[1], &indexed[1], NULL), KG_OK);
        assert_int_equal(indexed[0], indexed[1]);
        assert_memory_equal(indexes[0], indexes[1], index);
    }
    for (int i = 0; i < 2; i++) {
        free(pages[i]);
        free(indexes[i]);
    }
}

static void what_stands_before_an_edit_is_kept(void **state)
{
    struct world *w = *state;
    const uint32_t whole = add(w, 0, text_with(w, -1), NULL), late = add(w, 0, text_with(w, 30), NULL);
    assert_true(late > 0 && late < whole / 3);
    assert_true(add(w, 1, text_with(w, 30), NULL) > 2 * late);
    are_the_same(w);
}

static void of_a_file_that_includes_others_too(void **state)
{
    struct world *w = *state;
    const uint32_t whole = add(w, 0, text_with(w, -1), header), late = add(w, 0, text_with(w, 30), header);
    assert_true(late > 0 && late < whole / 3);
    add(w, 1, text_with(w, 30), header);
    are_the_same(w);
    assert_int_equal(add(w, 0, text_with(w, 31), other_header), kg_block_tokens(block_of(w, 0))); /* it sees something else */
}

static void after_the_conversation_was_closed_as_well(void **state)
{
    struct world *w = *state;
    const uint32_t whole = add(w, 0, text_with(w, -1), header);
    close_one(w, 0);
    open_one(w, 0, "edits");
    assert_true(add(w, 0, text_with(w, 30), header) < whole / 3);
    add(w, 1, text_with(w, 30), header);
    are_the_same(w);
}

static void an_edit_at_the_beginning_leaves_nothing(void **state)
{
    struct world *w = *state;
    add(w, 0, text_with(w, -1), NULL);
    assert_int_equal(add(w, 0, text_with(w, 0), NULL), kg_block_tokens(block_of(w, 0)));
    assert_int_equal(add(w, 0, text_with(w, -1), NULL), 0); /* the first text is known */
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(what_stands_before_an_edit_is_kept),
        TEST(of_a_file_that_includes_others_too),
        TEST(after_the_conversation_was_closed_as_well),
        TEST(an_edit_at_the_beginning_leaves_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
