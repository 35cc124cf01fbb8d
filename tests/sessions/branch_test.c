/* Conversations that go on from an earlier place, with a real model: what stands before is not read again. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/engine.h"
#include "tests/unit/kv_blocks.h"
#include "tests/unit/model_run.h"

static const char file[] = "int wheel_member(int n)\n{\n    return n == 0 ? 4711 : n;\n}\n\nint wheel_limit(void)\n{\n    return 99;\n}\n";

struct world {
    char directory[256], model[KG_PATH_MAX];
    struct kg_engine *engine;
    struct kg_session *session;
    char text[8192];
    size_t length;
    struct kg_counts counts;
};

static int set_up(void **state)
{
    struct world *w = calloc(1, sizeof *w);
    snprintf(w->directory, sizeof w->directory, "%s", kv_directory_make());
    *state = w;
    return 0;
}

static void close_all(struct world *w)
{
    kg_session_close(w->session);
    kg_engine_close(w->engine);
    w->session = NULL;
    w->engine = NULL;
}

static int tear_down(void **state)
{
    struct world *w = *state;
    close_all(w);
    kv_directory_remove(w->directory);
    free(w);
    return 0;
}

static void open_named(struct world *w, const char *name)
{
    struct kg_error err = { .text = "" };
    close_all(w);
    model_path_or_skip("SmolLM2-135M-Instruct.Q4_1.gguf", w->model);
    const struct kg_engine_options options = { .model_path = w->model, .cache_dir = w->directory, .state_dir = w->directory };
    if (kg_engine_open(&options, &w->engine, &err) != KG_OK ||
        kg_session_open(w->engine, &(struct kg_session_options){ .name = name }, &w->session, &err) != KG_OK)
        fail_msg("%s", err.text);
}

static void take(void *ctx, enum kg_text_kind kind, const char *bytes, size_t length)
{
    struct world *w = ctx;
    (void)kind;
    assert_true(w->length + length < sizeof w->text);
    memcpy(w->text + w->length, bytes, length);
    w->length += length;
    w->text[w->length] = '\0';
}

static const char *ask(struct world *w, const char *question)
{
    enum kg_end end;
    struct kg_error err = { .text = "" };
    w->length = 0;
    w->text[0] = '\0';
    if (kg_session_ask(w->session, &(struct kg_question){ .text = question, .length = strlen(question), .max_tokens = 12, .sampling = kg_sampling_greedy(),
                                                          .text_out = take, .ctx = w }, &end, &err) != KG_OK)
        fail_msg("%s", err.text);
    kg_session_counts(w->session, &w->counts);
    return w->text;
}

static uint32_t last_turn_tokens(struct world *w)
{
    for (size_t i = kg_session_parts(w->session); i-- > 0;)
        if (kg_session_part(w->session, i).kind == KG_PART_TURN)
            return kg_session_part(w->session, i).tokens;
    return 0;
}

/* An assistant's role is opened by these: <|im_start|>assistant and a newline. */
#define OPENING 4

static size_t part_of(struct world *w, const char *text)
{
    for (size_t i = 0; i < kg_session_parts(w->session); i++) {
        struct kg_part part = kg_session_part(w->session, i);
        if (part.text && strcmp(part.text, text) == 0)
            return i;
    }
    fail_msg("'%s' is not in the conversation", text);
    return 0;
}

static void hold(struct world *w)
{
    open_named(w, "talk");
    assert_int_equal(kg_session_add_file(w->session, "wheel.c", file, strlen(file), false, NULL), KG_OK);
    ask(w, "What does wheel_member return for 0?");
}

/* An earlier message is edited: not one token before it is computed, in this process or in a later one. */
static void nothing_before_an_edited_message_is_read(void **state)
{
    struct world *w = *state;
    char second[8192];
    hold(w);
    snprintf(second, sizeof second, "%s", ask(w, "And the limit?"));
    ask(w, "Are you sure?");
    assert_int_equal(kg_session_branch(w->session, part_of(w, "And the limit?"), NULL, NULL), KG_OK);
    assert_string_equal(kg_session_name(w->session), "talk (2)");
    assert_int_equal(kg_session_parts(w->session), 3);
    assert_string_equal(ask(w, "And the limit?"), second); /* it is as if the others had never been */
    assert_int_equal(w->counts.computed_tokens, OPENING); /* the same question was read before */
    assert_int_equal(kg_session_branch(w->session, part_of(w, "And the limit?"), "other words", NULL), KG_OK);
    ask(w, "And what is the limit of a wheel?");
    assert_int_equal(w->counts.computed_tokens, last_turn_tokens(w) + OPENING);

    open_named(w, "talk");
    assert_int_equal(kg_session_parts(w->session), 7); /* as it was */
    assert_int_equal(kg_session_branch(w->session, part_of(w, "And the limit?"), NULL, NULL), KG_OK);
    assert_string_equal(kg_session_name(w->session), "talk (3)");
    ask(w, "Which file is it?");
    assert_int_equal(w->counts.computed_tokens, last_turn_tokens(w) + OPENING);
    open_named(w, "other words");
    part_of(w, "And what is the limit of a wheel?");
    ask(w, "Why?");
    assert_int_equal(w->counts.computed_tokens, last_turn_tokens(w) + OPENING);
}

static void a_fork_goes_on_by_itself(void **state)
{
    struct world *w = *state;
    hold(w);
    assert_int_equal(kg_session_branch(w->session, SIZE_MAX, NULL, NULL), KG_OK);
    ask(w, "Only in the fork");
    open_named(w, "talk");
    assert_int_equal(kg_session_parts(w->session), 3);
    open_named(w, "talk (2)");
    assert_int_equal(kg_session_parts(w->session), 5);
    part_of(w, "Only in the fork");
}

static void a_question_is_asked_again_in_its_place(void **state)
{
    struct world *w = *state;
    char second[8192];
    hold(w);
    assert_int_equal(kg_session_branch(w->session, 1, NULL, NULL), KG_OK);
    assert_int_equal(kg_session_take_back(w->session, NULL), KG_ERR_NOT_FOUND);
    hold(w);
    snprintf(second, sizeof second, "%s", ask(w, "And the limit?"));
    uint32_t tokens = w->counts.context_tokens;
    assert_int_equal(kg_session_take_back(w->session, NULL), KG_OK);
    assert_string_equal(ask(w, "And the limit?"), second);
    assert_int_equal(w->counts.computed_tokens, OPENING);
    assert_int_equal(w->counts.context_tokens, tokens);
    open_named(w, "talk");
    size_t parts = kg_session_parts(w->session), dropped = 0;
    for (size_t i = 0; i < parts; i++)
        dropped += kg_session_part(w->session, i).dropped;
    assert_int_equal(dropped, 2); /* readable still */
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(nothing_before_an_edited_message_is_read),
        TEST(a_fork_goes_on_by_itself),
        TEST(a_question_is_asked_again_in_its_place),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
