/* Files read in sight of what they include, files of which only line anchors stay, and sessions resumed by another policy,
 * with the smallest real model. */
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
#include "engine/state.h"
#include "tests/unit/kv_blocks.h"
#include "tests/unit/model_run.h"

static const char header[] = "#ifndef AREA_H\n#define AREA_H\n\n/* The largest side that is allowed. */\n#define AREA_SIDE_MAX 4711\n\n"
                             "long area(long width, long height);\n\n#endif\n";
static const char source[] = "#include \"area.h\"\n\nlong area(long width, long height)\n{\n    if (width > AREA_SIDE_MAX || height > AREA_SIDE_MAX)\n"
                             "        return -1;\n    return width * height;\n}\n";
static const char other[] = "#define AREA_SIDE_MAX 9999\n\nlong area(long width, long height);\n";

struct world {
    char directory[256], model[KG_PATH_MAX];
    struct kg_engine *engine;
    struct kg_session *session;
    uint32_t read_now;
    const char *stop_at; /* reading of this stops the engine, once; NULL = of nothing */
};

static void stop_there(void *ctx, const struct kg_progress *progress)
{
    struct world *w = ctx;
    if (!w->stop_at || progress->stage != KG_STAGE_READING || !strstr(progress->what, w->stop_at))
        return;
    w->stop_at = NULL;
    kg_engine_stop(w->engine);
}

static int set_up(void **state)
{
    struct world *w = calloc(1, sizeof *w);
    snprintf(w->directory, sizeof w->directory, "%s", kv_directory_make());
    w->read_now = 1000;
    *state = w;
    return 0;
}

static int tear_down(void **state)
{
    struct world *w = *state;
    kg_session_close(w->session);
    kg_engine_close(w->engine);
    kv_directory_remove(w->directory);
    free(w);
    return 0;
}

/* A new engine and a session on the same directories. */
static void open_session(struct world *w, const char *name, enum kg_policy policy)
{
    struct kg_error err = { .text = "" };
    kg_session_close(w->session);
    kg_engine_close(w->engine);
    w->session = NULL;
    w->engine = NULL;
    model_path_or_skip("SmolLM2-135M-Instruct.Q4_1.gguf", w->model);
    const struct kg_engine_options options = { .model_path = w->model, .cache_dir = w->directory, .state_dir = w->directory,
                                               .progress = stop_there, .ctx = w };
    const struct kg_session_options session = { .name = name, .policy = policy, .recall = { .window = 64, .k = 32 } };
    if (kg_engine_open(&options, &w->engine, &err) != KG_OK || kg_session_open(w->engine, &session, &w->session, &err) != KG_OK)
        fail_msg("%s", err.text);
}

static void add(struct world *w, const char *path, const char *text, const char *included)
{
    struct kg_error err = { .text = "" };
    const struct kg_include include = { .path = "area.h", .text = included ? included : "", .length = included ? strlen(included) : 0 };
    if (kg_session_add_linked(w->session, path, text, strlen(text), false, &include, included ? 1 : 0, w->read_now, &err) != KG_OK)
        fail_msg("%s", err.text);
}

struct text {
    char bytes[4096];
    size_t length;
};

static void take(void *ctx, enum kg_text_kind kind, const char *bytes, size_t length)
{
    struct text *text = ctx;
    (void)kind;
    assert_true(text->length + length < sizeof text->bytes);
    memcpy(text->bytes + text->length, bytes, length);
    text->length += length;
}

/* Asks; returns how many tokens were computed for it. */
static uint64_t ask(struct world *w, const char *question, struct text *answer)
{
    struct kg_error err = { .text = "" };
    struct kg_counts counts;
    enum kg_end end;
    struct kg_question asked = { .text = question, .length = strlen(question), .max_tokens = 16, .sampling = kg_sampling_greedy(), .text_out = take,
                                 .ctx = answer };
    memset(answer, 0, sizeof *answer);
    if (kg_session_ask(w->session, &asked, &end, &err) != KG_OK)
        fail_msg("%s", err.text);
    kg_session_counts(w->session, &counts);
    return counts.computed_tokens;
}

struct held {
    const char *title;
    unsigned blocks;
    uint64_t bytes, tokens;
};

static int count(void *ctx, const struct kg_cached_block *block)
{
    struct held *held = ctx;
    if (strcmp(block->kind, "file") == 0 && strcmp(block->title, held->title) == 0) {
        held->blocks++;
        held->bytes += block->bytes;
        held->tokens += block->tokens;
    }
    return 0;
}

/* Blocks of that file in the cache; the session is closed for it. */
static struct held stored(struct world *w, const char *title)
{
    struct held held = { .title = title };
    kg_session_close(w->session);
    kg_engine_close(w->engine);
    w->session = NULL;
    w->engine = NULL;
    assert_int_equal(kg_cache_list(w->directory, count, &held, NULL), KG_OK);
    return held;
}

static void a_linked_file_is_known_by_what_it_saw(void **state)
{
    struct world *w = *state;
    struct text first, again, changed;
    open_session(w, "one", KG_POLICY_RECALL);
    add(w, "area.c", source, header);
    assert_int_equal(kg_session_parts(w->session), 1); /* what it includes is no part of the conversation */
    uint64_t computed = ask(w, "What is the largest side?", &first);
    assert_true(computed > 80);
    open_session(w, "two", KG_POLICY_RECALL);
    add(w, "area.c", source, header);
    uint64_t question = ask(w, "What is the largest side?", &again);
    assert_true(question < 40);
    assert_memory_equal(&first, &again, sizeof first);
    /* in the sight of something else, or of nothing, it is another reading */
    open_session(w, "three", KG_POLICY_RECALL);
    add(w, "area.c", source, other);
    assert_true(ask(w, "What is the largest side?", &changed) > question + 60);
    open_session(w, "four", KG_POLICY_RECALL);
    add(w, "area.c", source, NULL);
    assert_true(ask(w, "What is the largest side?", &changed) > question + 60);
    open_session(w, "five", KG_POLICY_ALONE);
    add(w, "area.c", source, header);
    assert_true(ask(w, "What is the largest side?", &changed) < 40); /* alone, as it was read just now; the question looks otherwise */
    assert_int_equal(stored(w, "area.c").blocks, 3);
    assert_int_equal(stored(w, "area.h").blocks, 2);
}

/* What it includes would have to be read first: not now. Once that is known, it is no longer alone. */
static void a_linked_file_does_not_wait_for_much(void **state)
{
    struct world *w = *state;
    struct text answer;
    w->read_now = 20;
    open_session(w, "one", KG_POLICY_RECALL);
    add(w, "area.c", source, header);
    ask(w, "What is the largest side?", &answer);
    assert_int_equal(stored(w, "area.h").blocks, 0);
    assert_int_equal(stored(w, "area.c").blocks, 1);
    open_session(w, "two", KG_POLICY_RECALL);
    add(w, "area.h", header, NULL);
    add(w, "area.c", source, header);
    ask(w, "What is the largest side?", &answer);
    assert_int_equal(stored(w, "area.h").blocks, 1);
    assert_int_equal(stored(w, "area.c").blocks, 2);
    /* and a file that is known needs nobody */
    open_session(w, "three", KG_POLICY_RECALL);
    add(w, "area.c", source, header);
    assert_true(ask(w, "What is the largest side?", &answer) < 40);
}

static void forget_everything(struct world *w)
{
    stored(w, "");
    assert_int_equal(kg_cache_remove(w->directory, 0, NULL), KG_OK);
}

/* Stopped while what a file includes is read, it is read in sight of all of it afterwards, and answers as ever. */
static void a_stopped_reading_of_includes_goes_on(void **state)
{
    struct world *w = *state;
    struct text clean, after;
    struct kg_error err = { .text = "" };
    const struct kg_include include = { .path = "area.h", .text = header, .length = strlen(header) };
    open_session(w, "one", KG_POLICY_RECALL);
    add(w, "area.c", source, header);
    ask(w, "What is the largest side?", &clean);
    forget_everything(w);
    open_session(w, "two", KG_POLICY_RECALL);
    w->stop_at = "area.h";
    assert_int_equal(kg_session_add_linked(w->session, "area.c", source, strlen(source), false, &include, 1, 1000, &err), KG_ERR_CANCELLED);
    assert_null(w->stop_at);
    kg_engine_go(w->engine);
    ask(w, "What is the largest side?", &after);
    assert_memory_equal(&clean, &after, sizeof clean);
    assert_int_equal(stored(w, "area.h").blocks, 1);
    open_session(w, "three", KG_POLICY_RECALL);
    add(w, "area.c", source, header);
    assert_true(ask(w, "What is the largest side?", &after) < 40);
    assert_memory_equal(&clean, &after, sizeof clean);
}

/* A question that was stopped before it was read saw nothing yet: what it is kept under follows from what it sees in the end. */
/* Bytes of all that is kept are wrong from now on; nobody sees it before they are needed. */
static void spoil(const struct world *w)
{
    char path[300];
    sqlite3 *db = NULL;
    snprintf(path, sizeof path, "%s/kv.db", w->directory);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, "UPDATE page SET kv = zeroblob(length(kv))", NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
}

/* What a resumed conversation was promised and does not get is read again: the linked file alone, as nobody has its header. */
static void a_broken_promise_costs_time_only(void **state)
{
    struct world *w = *state;
    struct text first, second, third;
    open_session(w, "spoilt", KG_POLICY_RECALL);
    add(w, "area.c", source, header);
    ask(w, "What does area return for a width of 5000?", &first);
    kg_session_close(w->session);
    kg_engine_close(w->engine);
    w->session = NULL;
    w->engine = NULL;
    spoil(w);
    open_session(w, "spoilt", KG_POLICY_RECALL);
    const uint64_t computed = ask(w, "Why?", &second);
    struct kg_counts counts;
    kg_session_counts(w->session, &counts);
    assert_true(second.length > 0 && computed == counts.prompt_tokens && counts.restored_bytes == 0);
    open_session(w, "spoilt", KG_POLICY_RECALL);
    assert_true(ask(w, "Really?", &third) < 40 && third.length > 0); /* kept anew */
}

/* An answer is outdated once what it saw is gone, and only then. */
static void answers_know_what_they_saw(void **state)
{
    struct world *w = *state;
    struct text answer;
    struct kg_error err = { .text = "" };
    open_session(w, "known", KG_POLICY_RECALL);
    add(w, "one.c", "int one;\n", NULL);
    add(w, "two.c", "int two;\n", NULL);
    assert_int_equal(kg_session_drop_file(w->session, "two.c", &err), KG_OK);
    ask(w, "What is here?", &answer);
    const size_t last = kg_session_parts(w->session) - 1;
    assert_int_equal(kg_session_part(w->session, last).kind, KG_PART_ANSWER);
    assert_null(kg_session_outdated(w->session, last)); /* it came after */
    add(w, "three.c", "int three;\n", NULL);
    assert_null(kg_session_outdated(w->session, last));
    open_session(w, "known", KG_POLICY_RECALL);
    assert_null(kg_session_outdated(w->session, last));
    add(w, "one.c", "int one, more;\n", NULL); /* replaces it */
    assert_non_null(kg_session_outdated(w->session, last));
    ask(w, "And now?", &answer);
    assert_non_null(kg_session_outdated(w->session, last));
    assert_null(kg_session_outdated(w->session, kg_session_parts(w->session) - 1));
    open_session(w, "known", KG_POLICY_RECALL);
    assert_non_null(kg_session_outdated(w->session, last));
    assert_null(kg_session_outdated(w->session, kg_session_parts(w->session) - 1));
}

static void what_was_dropped_meanwhile_is_not_seen(void **state)
{
    struct world *w = *state;
    struct text clean, after;
    open_session(w, "one", KG_POLICY_RECALL);
    add(w, "area.c", source, NULL);
    ask(w, "What is the largest side?", &clean);
    forget_everything(w);
    open_session(w, "two", KG_POLICY_RECALL);
    add(w, "area.c", source, NULL);
    kg_engine_stop(w->engine);
    struct kg_question question = { .text = "What is the largest side?", .length = 25, .max_tokens = 4, .sampling = kg_sampling_greedy() };
    enum kg_end end;
    assert_int_equal(kg_session_ask(w->session, &question, &end, NULL), KG_OK);
    assert_int_equal(end, KG_END_STOPPED);
    kg_engine_go(w->engine);
    assert_int_equal(kg_session_drop_file(w->session, "area.c", NULL), KG_OK);
    ask(w, "Hello?", &after);
    open_session(w, "three", KG_POLICY_RECALL);
    add(w, "area.c", source, NULL);
    ask(w, "What is the largest side?", &after);
    assert_memory_equal(&clean, &after, sizeof clean);
}

static void a_resumed_session_goes_on_as_it_was(void **state)
{
    struct world *w = *state;
    struct text answers[4];
    open_session(w, "one", KG_POLICY_RECALL);
    add(w, "area.c", source, header);
    ask(w, "What is the largest side?", &answers[0]);
    ask(w, "And if it is larger?", &answers[1]);
    open_session(w, "two", KG_POLICY_RECALL);
    add(w, "area.c", source, header);
    ask(w, "What is the largest side?", &answers[2]);
    open_session(w, "two", KG_POLICY_RECALL);
    assert_true(ask(w, "And if it is larger?", &answers[3]) < 40);
    assert_memory_equal(&answers[0], &answers[2], sizeof answers[0]);
    assert_memory_equal(&answers[1], &answers[3], sizeof answers[1]);
    /* without the cache it still answers, having read everything again */
    kg_session_close(w->session);
    w->session = NULL;
    kg_engine_close(w->engine);
    w->engine = NULL;
    assert_int_equal(kg_cache_remove(w->directory, 0, NULL), KG_OK);
    open_session(w, "one", KG_POLICY_RECALL);
    assert_true(ask(w, "Why?", &answers[0]) > 100);
    /* by another policy the chain is read again */
    open_session(w, "two", KG_POLICY_FULL);
    assert_true(ask(w, "Why?", &answers[0]) > 100);
}

static void a_cleared_session_keeps_what_was_read(void **state)
{
    struct world *w = *state;
    struct text before, after;
    open_session(w, NULL, KG_POLICY_RECALL);
    add(w, "area.c", source, header);
    ask(w, "What is the largest side?", &before);
    assert_int_equal(kg_session_clear(w->session, NULL), KG_OK);
    assert_int_equal(kg_session_parts(w->session), 1);
    assert_true(ask(w, "What is the largest side?", &after) < 40);
    assert_memory_equal(&before, &after, sizeof before);
}

/* Some 7,500 tokens of this repository's own C. */
static char *long_text(void)
{
    static const char *const files[] = { "kernels/cpu/attend.c", "kernels/cpu/attend_chosen.c" };
    enum { ROOM = 1 << 16 };
    char *text = calloc(1, ROOM);
    size_t length = 0;
    assert_non_null(text);
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        FILE *file = fopen(files[i], "r");
        assert_non_null(file);
        length += fread(text + length, 1, ROOM - 1 - length, file);
        fclose(file);
    }
    assert_true(length > 20000);
    text[length < 21000 ? length : 21000] = '\0';
    return text;
}

/* Pages of a file that was read, in memory. */
static size_t pages_of(struct world *w, const char *name, enum kg_policy policy, const char *text)
{
    open_session(w, name, policy);
    const size_t before = kg_pool_pages_used(w->engine->pool);
    add(w, "attend.c", text, NULL);
    return kg_pool_pages_used(w->engine->pool) - before;
}

static void anchors_keep_little(void **state)
{
    struct world *w = *state;
    struct text first, again;
    char *text = long_text();
    const size_t pages = pages_of(w, "full", KG_POLICY_ALONE, text);
    struct held whole = stored(w, "attend.c");
    const size_t thin_pages = pages_of(w, "one", KG_POLICY_ANCHOR, text);
    ask(w, "What does a task hold?", &first);
    open_session(w, "two", KG_POLICY_ANCHOR);
    add(w, "attend.c", text, NULL);
    assert_true(ask(w, "What does a task hold?", &again) < 40);
    assert_memory_equal(&first, &again, sizeof first);
    struct held all = stored(w, "attend.c");
    assert_int_equal(all.blocks, 2);
    assert_true(whole.tokens > 6000 && pages > 6000 / KG_PAGE);
    assert_true((all.bytes - whole.bytes) * 100 < whole.bytes * 15);
    assert_true(thin_pages * 100 < pages * 15);
    print_message("anchors: %zu of %zu pages in memory, %llu of %llu bytes stored\n", thin_pages, pages,
                  (unsigned long long)(all.bytes - whole.bytes), (unsigned long long)whole.bytes);
    free(text);
}

static void what_cannot_be_is_refused(void **state)
{
    struct world *w = *state;
    struct kg_error err = { .text = "" };
    struct kg_session *session = NULL;
    open_session(w, NULL, KG_POLICY_RECALL);
    assert_int_equal(kg_session_open(w->engine, &(struct kg_session_options){ .unsaved = true, .recall = { .window = 10 } }, &session, &err), KG_ERR_USAGE);
    assert_non_null(strstr(err.text, "window"));
    assert_int_equal(kg_session_open(w->engine, &(struct kg_session_options){ .unsaved = true, .recall = { .k = 5000 } }, &session, &err), KG_ERR_USAGE);
    const struct kg_engine_options options = { .model_path = w->model, .cache_off = true, .index_bits = 3 };
    struct kg_engine *engine = NULL;
    assert_int_equal(kg_engine_open(&options, &engine, &err), KG_ERR_USAGE);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(a_linked_file_is_known_by_what_it_saw),
        TEST(a_linked_file_does_not_wait_for_much),
        TEST(a_stopped_reading_of_includes_goes_on),
        TEST(a_broken_promise_costs_time_only),
        TEST(answers_know_what_they_saw),
        TEST(what_was_dropped_meanwhile_is_not_seen),
        TEST(a_resumed_session_goes_on_as_it_was),
        TEST(a_cleared_session_keeps_what_was_read),
        TEST(anchors_keep_little),
        TEST(what_cannot_be_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
