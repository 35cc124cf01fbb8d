/* Weights that come behind: a conversation is opened beside them, and everything is as if they had been there before. */
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

static const char source[] = "int area(int width, int height)\n{\n    return width * height;\n}\n\nint twice(int number)\n{\n    return 2 * number;\n}\n";

struct world {
    char directory[256], model[KG_PATH_MAX];
    struct kg_engine_options options;
    unsigned told; /* of weights that are loaded */
    unsigned most; /* after so many nothing more is wanted; 0 = all is */
};

static void tell(void *ctx, const struct kg_progress *progress)
{
    struct world *w = ctx;
    w->told += progress->stage == KG_STAGE_LOADING;
}

static int give_up(void *ctx)
{
    const struct world *w = ctx;
    return w->most && w->told >= w->most;
}

static int set_up(void **state)
{
    struct world *w = calloc(1, sizeof *w);
    snprintf(w->directory, sizeof w->directory, "%s", kv_directory_make());
    *state = w;
    model_path_or_skip("SmolLM2-135M-Instruct.Q4_1.gguf", w->model);
    w->options = (struct kg_engine_options){ .model_path = w->model, .backend = "cpu", .threads = 2, .cache_dir = w->directory,
                                             .state_dir = w->directory, .progress = tell, .give_up = give_up, .ctx = w };
    return 0;
}

static int tear_down(void **state)
{
    struct world *w = *state;
    kv_directory_remove(w->directory);
    free(w);
    return 0;
}

static void good(enum kg_status status, const struct kg_error *err)
{
    if (status != KG_OK)
        fail_msg("%s", err->text);
}

/* One page of keys and values of the answer to a question in the named conversation. */
static uint8_t *page_of_answer(struct world *w, const char *name, bool behind, const char *question, uint32_t *computed)
{
    struct kg_engine *engine = NULL;
    struct kg_session *session = NULL;
    struct kg_error err = { .text = "" };
    enum kg_end end;
    w->options.behind = behind;
    good(kg_engine_open(&w->options, &engine, &err), &err);
    good(kg_session_open(engine, &(struct kg_session_options){ .name = name }, &session, &err), &err);
    const unsigned told = w->told;
    good(kg_engine_loaded(engine, &err), &err);
    assert_true(!behind || w->told > told);
    good(kg_engine_loaded(engine, &err), &err); /* asked twice, it says the same */
    good(kg_session_add_file(session, "area.c", source, strlen(source), false, &err), &err);
    const struct kg_question asked = { .text = question, .length = strlen(question), .max_tokens = 12, .sampling = kg_sampling_greedy() };
    good(kg_session_ask(session, &asked, &end, &err), &err);
    struct kg_counts counts;
    kg_session_counts(session, &counts);
    *computed = (uint32_t)counts.computed_tokens;
    const struct kg_block *block = session->pieces[session->count - 1].block;
    const size_t bytes = KG_KV_PAGE_BYTES(kg_pool_shape(engine->pool)), strips = bytes / (KG_PAGE * KG_KV_ROW_BYTES(kg_pool_shape(engine->pool)));
    uint8_t *page = malloc(bytes);
    assert_non_null(page);
    good(kg_block_export(block, 0, page, &err), &err);
    for (size_t s = 0; s < strips; s++) /* what nobody wrote may be anything */
        memset(page + (s * KG_PAGE + kg_block_ready(block)) * (bytes / strips / KG_PAGE), 0, (KG_PAGE - kg_block_ready(block)) * (bytes / strips / KG_PAGE));
    kg_session_close(session);
    kg_engine_close(engine);
    return page;
}

static void goes_on_alike(struct world *w, size_t row_bytes)
{
    uint32_t first, second;
    uint8_t *pages[4];
    pages[0] = page_of_answer(w, "one", false, "What does twice return?", &first);
    pages[1] = page_of_answer(w, "two", true, "What does twice return?", &second);
    assert_true(first > second); /* file and question came from the cache, the answer is computed */
    pages[2] = page_of_answer(w, "one", false, "And what does area return?", &first);
    pages[3] = page_of_answer(w, "two", true, "And what does area return?", &second);
    assert_true(first > second);
    const size_t bytes = (size_t)30 * 2 * 3 * KG_PAGE * row_bytes; /* of this model */
    assert_memory_equal(pages[0], pages[1], bytes);
    assert_memory_equal(pages[2], pages[3], bytes);
    for (size_t i = 0; i < 4; i++)
        free(pages[i]);
}

static void a_conversation_opened_beside_weights_goes_on_alike(void **state)
{
    goes_on_alike(*state, (size_t)64 * 2);
}

static void and_one_that_is_kept_as_numbers_of_8_bits(void **state)
{
    struct world *w = *state;
    w->options.kv = "q8_0";
    goes_on_alike(w, (size_t)64 / 32 * 34);
}

static void who_gives_up_is_told_so(void **state)
{
    struct world *w = *state;
    struct kg_engine *engine = NULL;
    struct kg_error err = { .text = "" };
    w->options.behind = true;
    w->most = 1;
    good(kg_engine_open(&w->options, &engine, &err), &err);
    enum kg_status status = kg_engine_loaded(engine, &err);
    assert_true(status == KG_OK || status == KG_ERR_CANCELLED); /* it may have been done by then */
    assert_true(status == KG_OK || strstr(err.text, "stopped"));
    assert_int_equal(kg_engine_loaded(engine, &err), status);
    kg_engine_close(engine);
}

/* It may have been done before it is stopped, though not every time. */
static void who_waits_can_be_stopped(void **state)
{
    struct world *w = *state;
    enum kg_status status = KG_OK;
    w->options.behind = true;
    for (unsigned tries = 0; tries < 10 && status == KG_OK; tries++) {
        struct kg_engine *engine = NULL;
        struct kg_error err = { .text = "" };
        good(kg_engine_open(&w->options, &engine, &err), &err);
        kg_engine_stop(engine);
        status = kg_engine_loaded(engine, &err);
        kg_engine_close(engine);
    }
    assert_int_equal(status, KG_ERR_CANCELLED);
}

static void nobody_has_to_wait(void **state)
{
    struct world *w = *state;
    struct kg_session *session = NULL;
    struct kg_engine *engine = NULL;
    struct kg_error err = { .text = "" };
    w->options.behind = true;
    good(kg_engine_open(&w->options, &engine, &err), &err);
    good(kg_session_open(engine, &(struct kg_session_options){ .unsaved = true }, &session, &err), &err);
    kg_session_close(session);
    kg_engine_close(engine);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_conversation_opened_beside_weights_goes_on_alike, set_up, tear_down),
        cmocka_unit_test_setup_teardown(and_one_that_is_kept_as_numbers_of_8_bits, set_up, tear_down),
        cmocka_unit_test_setup_teardown(who_gives_up_is_told_so, set_up, tear_down),
        cmocka_unit_test_setup_teardown(who_waits_can_be_stopped, set_up, tear_down),
        cmocka_unit_test_setup_teardown(nobody_has_to_wait, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
