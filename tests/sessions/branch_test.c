/* Conversations that go on from an earlier place, with a real model: what stands before is not read again. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <sqlite3.h>

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

static void open_by(struct world *w, const char *name, enum kg_policy policy)
{
    struct kg_error err = { .text = "" };
    close_all(w);
    model_path_or_skip("SmolLM2-135M-Instruct.Q4_1.gguf", w->model);
    const struct kg_engine_options options = { .model_path = w->model, .cache_dir = w->directory, .state_dir = w->directory };
    if (kg_engine_open(&options, &w->engine, &err) != KG_OK ||
        kg_session_open(w->engine, &(struct kg_session_options){ .name = name, .policy = policy }, &w->session, &err) != KG_OK)
        fail_msg("%s", err.text);
}

static void open_named(struct world *w, const char *name)
{
    open_by(w, name, (enum kg_policy){ 0 });
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

static uint32_t in_context(struct world *w, enum kg_part_kind kind, bool summarised)
{
    uint32_t count = 0;
    for (size_t i = 0; i < kg_session_parts(w->session); i++) {
        struct kg_part part = kg_session_part(w->session, i);
        count += part.kind == kind && (summarised ? part.summarised : !part.dropped);
    }
    return count;
}

static struct kg_compaction compact(struct world *w)
{
    struct kg_compaction done;
    struct kg_error err = { .text = "" };
    if (kg_session_compact(w->session, &(struct kg_question){ .sampling = kg_sampling_greedy() }, &done, &err) != KG_OK)
        fail_msg("%s", err.text);
    return done;
}

/* What was said gives way to a summary, and comes back as it was. */
static void old_turns_are_summarised(void **state)
{
    struct world *w = *state;
    char third[8192], again[8192];
    struct kg_compaction done;
    hold(w);
    assert_int_equal(kg_session_uncompact(w->session, NULL), KG_ERR_NOT_FOUND);
    ask(w, "And the limit? Tell me all that you know of it.");
    assert_int_equal(kg_session_branch(w->session, SIZE_MAX, "twin", NULL), KG_OK);
    snprintf(third, sizeof third, "%s", ask(w, "Are you sure?"));
    open_named(w, "talk");
    done = compact(w);
    assert_int_equal(done.questions, 1);
    assert_int_equal(done.left_out, 0);
    assert_int_equal(in_context(w, KG_PART_TURN, false), 1);
    assert_int_equal(in_context(w, KG_PART_ANSWER, false), 1);
    assert_int_equal(in_context(w, KG_PART_SUMMARY, false), 1);
    assert_int_equal(in_context(w, KG_PART_TURN, true), 1);
    assert_int_equal(in_context(w, KG_PART_FILE, false), 1);
    part_of(w, "What does wheel_member return for 0?"); /* readable */
    snprintf(again, sizeof again, "%s", ask(w, "So what is it?"));

    open_named(w, "talk"); /* as compacted as it was */
    assert_int_equal(in_context(w, KG_PART_TURN, true), 1);
    assert_int_equal(in_context(w, KG_PART_SUMMARY, false), 1);
    assert_int_equal(kg_session_take_back(w->session, NULL), KG_OK);
    assert_string_equal(ask(w, "So what is it?"), again);
    assert_true(w->counts.computed_tokens <= last_turn_tokens(w) + OPENING);
    done = compact(w); /* the summary as well */
    assert_int_equal(done.questions, 1);
    assert_int_equal(in_context(w, KG_PART_SUMMARY, false), 1);
    assert_int_equal(in_context(w, KG_PART_SUMMARY, true), 1);
    assert_int_equal(in_context(w, KG_PART_TURN, true), 2);
    assert_int_equal(kg_session_uncompact(w->session, NULL), KG_OK);
    assert_int_equal(in_context(w, KG_PART_TURN, true), 1);
    open_named(w, "talk");
    assert_int_equal(in_context(w, KG_PART_TURN, true), 1);
    assert_int_equal(kg_session_uncompact(w->session, NULL), KG_OK);
    assert_int_equal(kg_session_uncompact(w->session, NULL), KG_ERR_NOT_FOUND);
    assert_int_equal(in_context(w, KG_PART_TURN, true), 0);
    assert_int_equal(kg_session_take_back(w->session, NULL), KG_OK); /* "So what is it?" */
    assert_string_equal(ask(w, "Are you sure?"), third); /* as if nothing had ever been summarised */
    assert_true(w->counts.computed_tokens <= last_turn_tokens(w) + OPENING);
}

static void a_branch_before_a_summary_has_what_it_stands_for(void **state)
{
    struct world *w = *state;
    char second[8192];
    hold(w);
    snprintf(second, sizeof second, "%s", ask(w, "And the limit?"));
    ask(w, "Thank you.");
    compact(w);
    assert_int_equal(in_context(w, KG_PART_TURN, true), 2);
    assert_int_equal(kg_session_branch(w->session, part_of(w, "And the limit?"), NULL, NULL), KG_OK);
    assert_int_equal(in_context(w, KG_PART_TURN, true), 0);
    assert_string_equal(ask(w, "And the limit?"), second);
    assert_int_equal(w->counts.computed_tokens, OPENING);
}

/* Alone it has no other to keep; stopped, or with nothing to do, nothing changes. */
static void what_cannot_be_summarised_stays(void **state)
{
    struct world *w = *state;
    struct kg_compaction done;
    const struct kg_question how = { .sampling = kg_sampling_greedy() };
    open_named(w, "talk");
    assert_int_equal(kg_session_compact(w->session, &how, &done, NULL), KG_ERR_NOT_FOUND);
    hold(w);
    uint32_t tokens = w->counts.context_tokens;
    kg_engine_stop(w->engine);
    assert_int_equal(kg_session_compact(w->session, &how, &done, NULL), KG_ERR_CANCELLED);
    kg_engine_go(w->engine);
    kg_session_counts(w->session, &w->counts);
    assert_int_equal(w->counts.context_tokens, tokens);
    done = compact(w);
    assert_int_equal(done.questions, 1);
    assert_int_equal(in_context(w, KG_PART_TURN, false), 0);
    assert_int_equal(in_context(w, KG_PART_ANSWER, false), 0);
    ask(w, "Go on");
    open_named(w, "talk");
    assert_int_equal(in_context(w, KG_PART_TURN, false), 1);
    assert_int_equal(kg_session_uncompact(w->session, NULL), KG_OK);
    assert_int_equal(in_context(w, KG_PART_TURN, false), 2);
}

/* The context is full, the gaps are closed, and what was summarised finds another place. */
static void what_comes_back_finds_its_place(void **state)
{
    struct world *w = *state;
    struct kg_error err;
    char second[8192], question[2048] = "";
    if (!getenv("CHECK_LONG") || strcmp(getenv("CHECK_LONG"), "1") != 0)
        skip(); /* it reads 8,000 tokens */
    hold(w);
    snprintf(second, sizeof second, "%s", ask(w, "And the limit? Say all that you know about it, please."));
    ask(w, "Thank you.");
    compact(w);
    size_t length = 0;
    char *filler = calloc(1, 100000);
    kg_session_counts(w->session, &w->counts);
    for (uint32_t i = 0; i < (w->counts.context_limit - w->counts.context_tokens - 200) / 6; i++)
        length += (size_t)sprintf(filler + length, "int v%u;\n", i % 100);
    while (kg_session_add_file(w->session, "filler.c", filler, length, false, &err) == KG_ERR_FULL)
        length = length * 99 / 100;
    for (int large = 1; large >= 0; large--) /* until nothing more fits, first by much and then by little */
        for (enum kg_status status = KG_OK; status == KG_OK;) {
            enum kg_end end;
            const char *text = large ? question : "More.";
            memset(question, 'x', large ? sizeof question - 1 : 1);
            status = kg_session_ask(w->session, &(struct kg_question){ .text = text, .length = strlen(text), .max_tokens = 1, .sampling = kg_sampling_greedy() }, &end, &err);
            assert_true(status == KG_OK || status == KG_ERR_FULL);
        }
    kg_session_counts(w->session, &w->counts);
    assert_true(w->counts.moved >= 1);
    assert_int_equal(kg_session_uncompact(w->session, &err), KG_ERR_FULL);
    assert_int_equal(in_context(w, KG_PART_SUMMARY, false), 1); /* nothing has changed */
    assert_int_equal(kg_session_drop_file(w->session, "filler.c", NULL), KG_OK);
    assert_int_equal(kg_session_uncompact(w->session, &err), KG_OK);
    assert_int_equal(in_context(w, KG_PART_TURN, true), 0);
    ask(w, "Go on");
    open_named(w, "talk");
    assert_int_equal(in_context(w, KG_PART_TURN, true), 0);
    assert_int_equal(kg_session_branch(w->session, part_of(w, "And the limit? Say all that you know about it, please."), NULL, NULL), KG_OK);
    assert_string_equal(ask(w, "And the limit? Say all that you know about it, please."), second);
    free(filler);
}

/* Another program's connection to sessions.db. */
static void run_sql(struct world *w, const char *sql)
{
    char path[300];
    sqlite3 *db = NULL;
    snprintf(path, sizeof path, "%s/sessions.db", w->directory);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    if (sqlite3_exec(db, sql, NULL, NULL, NULL) != SQLITE_OK)
        fail_msg("%s", sqlite3_errmsg(db));
    sqlite3_close(db);
}

static int64_t count_sql(struct world *w, const char *condition)
{
    char path[300], sql[200];
    sqlite3 *db = NULL;
    sqlite3_stmt *count = NULL;
    snprintf(path, sizeof path, "%s/sessions.db", w->directory);
    snprintf(sql, sizeof sql, "SELECT count(*) FROM part WHERE %s", condition);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(db, sql, -1, &count, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(count), SQLITE_ROW);
    int64_t n = sqlite3_column_int64(count, 0);
    sqlite3_finalize(count);
    sqlite3_close(db);
    return n;
}

/* The file refuses what `refused` is true of, at once or when it is committed: the conversation goes on as it was. */
static void is_as_it_was(struct world *w, const char *refused, const char *when)
{
    char sql[400];
    struct kg_compaction done;
    hold(w);
    ask(w, "And the limit?");
    uint32_t tokens = w->counts.context_tokens;
    snprintf(sql, sizeof sql, "CREATE TABLE none(id INTEGER PRIMARY KEY); ALTER TABLE part ADD COLUMN refused INTEGER GENERATED ALWAYS AS "
                              "(CASE WHEN %s THEN 1 END) VIRTUAL REFERENCES none(id) %s", refused, when);
    run_sql(w, sql);
    assert_int_not_equal(kg_session_compact(w->session, &(struct kg_question){ .sampling = kg_sampling_greedy() }, &done, NULL), KG_OK);
    run_sql(w, "INSERT INTO none VALUES(1)");
    assert_int_equal(in_context(w, KG_PART_TURN, false), 2);
    assert_int_equal(in_context(w, KG_PART_SUMMARY, false), 0);
    kg_session_counts(w->session, &w->counts);
    assert_int_equal(w->counts.context_tokens, tokens);
    ask(w, "Are you sure?");
    assert_int_equal(count_sql(w, "kind = 5 AND dropped = 0"), 3);
    assert_int_equal(count_sql(w, "kind = 8"), 0);
}

static void a_summary_that_cannot_be_stored_changes_nothing(void **state)
{
    is_as_it_was(*state, "kind = 8 OR (kind = 5 AND dropped = 0)", "");
}

static void a_summary_that_cannot_be_committed_changes_nothing(void **state)
{
    is_as_it_was(*state, "kind = 8", "DEFERRABLE INITIALLY DEFERRED");
}

/* As a process leaves it that dies after it copied the parts for a branch. */
static void what_no_summary_stands_for_is_in_context(void **state)
{
    struct world *w = *state;
    hold(w);
    ask(w, "And the limit?");
    compact(w);
    assert_int_equal(in_context(w, KG_PART_TURN, false), 1);
    close_all(w);
    run_sql(w, "DELETE FROM part WHERE kind = 8");
    open_named(w, "talk");
    assert_int_equal(in_context(w, KG_PART_TURN, false), 2);
    assert_int_equal(in_context(w, KG_PART_TURN, true), 0);
    ask(w, "Why?");
    open_named(w, "talk");
    assert_int_equal(in_context(w, KG_PART_TURN, false), 3);
}

/* What comes back is read by the rules of today, as what never went. */
static void what_comes_back_under_another_policy_is_read_again(void **state)
{
    struct world *w = *state;
    hold(w);
    ask(w, "And the limit?");
    assert_int_equal(kg_session_branch(w->session, SIZE_MAX, "twin", NULL), KG_OK);
    open_named(w, "talk");
    compact(w);
    open_by(w, "talk", KG_POLICY_FULL);
    assert_int_equal(kg_session_uncompact(w->session, NULL), KG_OK);
    ask(w, "Why?");
    open_by(w, "twin", KG_POLICY_FULL);
    ask(w, "Why?");
    assert_true(w->counts.computed_tokens <= last_turn_tokens(w) + OPENING);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(nothing_before_an_edited_message_is_read),
        TEST(a_fork_goes_on_by_itself),
        TEST(a_question_is_asked_again_in_its_place),
        TEST(old_turns_are_summarised),
        TEST(a_branch_before_a_summary_has_what_it_stands_for),
        TEST(what_cannot_be_summarised_stays),
        TEST(what_comes_back_finds_its_place),
        TEST(a_summary_that_cannot_be_stored_changes_nothing),
        TEST(a_summary_that_cannot_be_committed_changes_nothing),
        TEST(what_no_summary_stands_for_is_in_context),
        TEST(what_comes_back_under_another_policy_is_read_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
