/* n-gram drafts change nothing but the time: answers of real models with and without them, token for token. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "engine/complete.h"
#include "engine/state.h"
#include "tests/unit/kv_blocks.h"
#include "tests/unit/model_run.h"

static const char smallest[] = "SmolLM2-135M-Instruct.Q4_1.gguf", coder[] = "qwen2.5-coder-0.5b-instruct-q4_k_m.gguf";

static const char code[] =
    "#include <stdio.h>\n#include <string.h>\n\n/* Words of a text, and the longest of them. */\nstruct words {\n    size_t count;\n    size_t longest;\n};\n\n"
    "static int is_letter(int c)\n{\n    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');\n}\n\n"
    "struct words count_words(const char *text)\n{\n    struct words words = { 0, 0 };\n    size_t length = 0;\n    for (const char *at = text; *at; at++) {\n"
    "        if (is_letter(*at)) {\n            length++;\n            continue;\n        }\n        if (length > 0)\n            words.count++;\n"
    "        if (length > words.longest)\n            words.longest = length;\n        length = 0;\n    }\n    return words;\n}\n";
static const char copy_question[] = "Print the file words.c again with one change: rename the variable length to letters.";
static const char new_question[] = "Which rivers flow through Asia? Say something about each.";

struct world {
    char directory[256], model[KG_PATH_MAX];
    struct kg_engine *engine;
};

struct answer {
    int32_t *ids;
    uint32_t count;
    char text[16384];
    size_t length, stop_at; /* bytes, 0 = never */
    enum kg_end end;
    struct kg_counts counts;
    struct kg_engine *engine;
};

static void open_engine(struct world *w, const char *model)
{
    struct kg_error err = { .text = "" };
    kg_engine_close(w->engine);
    w->engine = NULL;
    model_path_or_skip(model, w->model);
    const struct kg_engine_options options = { .model_path = w->model, .cache_dir = w->directory, .state_dir = w->directory };
    if (kg_engine_open(&options, &w->engine, &err) != KG_OK)
        fail_msg("%s", err.text);
}

static int set_up(void **state)
{
    struct world *w = calloc(1, sizeof *w);
    snprintf(w->directory, sizeof w->directory, "%s", kv_directory_make());
    *state = w;
    return 0;
}

static int tear_down(void **state)
{
    struct world *w = *state;
    kg_engine_close(w->engine);
    kv_directory_remove(w->directory);
    free(w);
    return 0;
}

static struct kg_session *open_session(struct world *w, const char *name, enum kg_policy policy, bool drafts)
{
    struct kg_session *session = NULL;
    struct kg_error err = { .text = "" };
    const struct kg_session_options options = { .name = name, .policy = policy, .recall = { .window = 64, .k = 48 }, .unsaved = !name,
                                                .drafts_off = !drafts };
    if (kg_session_open(w->engine, &options, &session, &err) != KG_OK ||
        kg_session_add_file(session, "words.c", code, strlen(code), false, &err) != KG_OK)
        fail_msg("%s", err.text);
    return session;
}

static void take(void *ctx, enum kg_text_kind kind, const char *bytes, size_t length)
{
    struct answer *answer = ctx;
    (void)kind;
    assert_true(answer->length + length < sizeof answer->text);
    memcpy(answer->text + answer->length, bytes, length);
    answer->length += length;
    if (answer->stop_at && answer->length >= answer->stop_at)
        kg_engine_stop(answer->engine);
}

static void ask(struct kg_session *session, const char *question, const struct kg_sampling *sampling, uint32_t tokens, size_t stop_at,
                struct answer *out)
{
    struct kg_error err = { .text = "" };
    memset(out, 0, sizeof *out);
    out->stop_at = stop_at;
    out->engine = session->engine;
    const struct kg_question asked = { .text = question, .length = strlen(question), .max_tokens = tokens, .sampling = *sampling, .text_out = take, .ctx = out };
    if (kg_session_ask(session, &asked, &out->end, &err) != KG_OK)
        fail_msg("%s", err.text);
    kg_engine_go(session->engine);
    kg_session_counts(session, &out->counts);
    const struct kg_block *block = session->pieces[session->count - 1].block;
    out->count = kg_block_tokens(block);
    out->ids = malloc(out->count * sizeof *out->ids);
    memcpy(out->ids, kg_block_ids(block), out->count * sizeof *out->ids);
}

static void assert_same(const struct answer *a, const struct answer *b)
{
    assert_int_equal(a->count, b->count);
    assert_memory_equal(a->ids, b->ids, a->count * sizeof *a->ids);
    assert_int_equal(a->length, b->length);
    assert_memory_equal(a->text, b->text, a->length);
    assert_int_equal(a->end, b->end);
    assert_int_equal(a->counts.decode_tokens, b->counts.decode_tokens);
}

/* What is kept of the answer's keys, values and index. */
static void assert_same_block(struct kg_session *a, struct kg_session *b)
{
    const struct kg_block *x = a->pieces[a->count - 1].block, *y = b->pieces[b->count - 1].block;
    const struct kg_kv_shape *shape = kg_pool_shape(kg_block_pool(x));
    const size_t page_bytes = KG_KV_PAGE_BYTES(shape), slot = (size_t)shape->head_size * 2, index_bytes = KG_INDEX_PAGE_BYTES(shape);
    uint8_t *pages[2] = { malloc(page_bytes + index_bytes), malloc(page_bytes + index_bytes) };
    const uint32_t both = kg_block_ready(x) < kg_block_ready(y) ? kg_block_ready(x) : kg_block_ready(y);
    assert_true(kg_block_tokens(x) - both <= 1);
    for (uint32_t page = 0; page * KG_PAGE < both; page++) {
        const uint32_t used = both - page * KG_PAGE < KG_PAGE ? both - page * KG_PAGE : KG_PAGE;
        uint32_t indexed[2];
        assert_int_equal(kg_block_export(x, page, pages[0], NULL), KG_OK);
        assert_int_equal(kg_block_export(y, page, pages[1], NULL), KG_OK);
        for (size_t at = 0; at < page_bytes; at += slot * KG_PAGE)
            assert_memory_equal(pages[0] + at, pages[1] + at, used * slot);
        if (used < KG_PAGE && kg_block_ready(x) != kg_block_ready(y))
            continue; /* the index of one knows a token more */
        assert_int_equal(kg_block_index_export(x, page, pages[0], &indexed[0], NULL), KG_OK);
        assert_int_equal(kg_block_index_export(y, page, pages[1], &indexed[1], NULL), KG_OK);
        assert_int_equal(indexed[0], used);
        assert_int_equal(indexed[1], used);
        assert_memory_equal(pages[0], pages[1], index_bytes);
    }
    free(pages[0]);
    free(pages[1]);
}

/* Two questions one after the other, the second one about what the first one's answer says. Returns how many guesses came true. */
static uint64_t converse(struct world *w, enum kg_policy policy, const struct kg_sampling *sampling, const char *first, uint32_t tokens)
{
    struct kg_session *plain = open_session(w, NULL, policy, false), *drafted = open_session(w, NULL, policy, true);
    const char *const questions[] = { first, "Say that again, shorter." };
    uint64_t hits = 0;
    for (size_t i = 0; i < 2; i++) {
        struct answer a, b;
        ask(plain, questions[i], sampling, i ? tokens / 3 : tokens, 0, &a);
        ask(drafted, questions[i], sampling, i ? tokens / 3 : tokens, 0, &b);
        assert_same(&a, &b);
        assert_same_block(plain, drafted);
        assert_int_equal(a.counts.draft_tokens, 0);
        assert_true(b.counts.draft_hits <= b.counts.draft_tokens && b.counts.draft_hits < b.counts.decode_tokens + 1);
        hits += b.counts.draft_hits;
        free(a.ids);
        free(b.ids);
    }
    kg_session_close(plain);
    kg_session_close(drafted);
    return hits;
}

static void every_policy(struct world *w, uint32_t tokens)
{
    static const enum kg_policy policies[] = { KG_POLICY_RECALL, KG_POLICY_FULL, KG_POLICY_ALONE, KG_POLICY_ANCHOR };
    struct kg_sampling greedy = kg_sampling_greedy(), drawn = kg_sampling_default();
    drawn.seed = 20;
    uint64_t hits = 0;
    for (size_t i = 0; i < sizeof policies / sizeof *policies; i++) {
        hits += converse(w, policies[i], &greedy, copy_question, tokens);
        converse(w, policies[i], &drawn, copy_question, tokens / 2);
    }
    converse(w, KG_POLICY_RECALL, &drawn, new_question, tokens / 2);
    assert_true(hits > tokens / 2);
}

static void the_smallest_model_says_the_same(void **state)
{
    struct world *w = *state;
    open_engine(w, smallest);
    every_policy(w, 240);
}

static void a_coder_says_the_same(void **state)
{
    struct world *w = *state;
    open_engine(w, coder);
    struct kg_sampling greedy = kg_sampling_greedy(), drawn = kg_sampling_default();
    drawn.seed = 3;
    assert_true(converse(w, KG_POLICY_RECALL, &greedy, copy_question, 330) > 100);
    converse(w, KG_POLICY_ANCHOR, &drawn, copy_question, 60);
}

/* However few tokens are asked for. */
static void an_answer_ends_where_it_should(void **state)
{
    struct world *w = *state;
    const struct kg_sampling greedy = kg_sampling_greedy();
    struct answer whole;
    open_engine(w, smallest);
    struct kg_session *session = open_session(w, NULL, KG_POLICY_RECALL, false);
    ask(session, copy_question, &greedy, 80, 0, &whole);
    kg_session_close(session);
    const uint32_t opening = whole.count - (uint32_t)whole.counts.decode_tokens;
    for (uint32_t tokens = 40; tokens < 72; tokens += 5) {
        struct answer some;
        session = open_session(w, NULL, KG_POLICY_RECALL, true);
        ask(session, copy_question, &greedy, tokens, 0, &some);
        assert_int_equal(some.counts.decode_tokens, tokens);
        assert_int_equal(some.count, opening + tokens);
        assert_memory_equal(some.ids, whole.ids, some.count * sizeof *some.ids);
        free(some.ids);
        kg_session_close(session);
    }
    free(whole.ids);
}

/* Stopped in the middle of a draft, an answer is a beginning of the whole one, and the conversation goes on from there. */
static void a_stopped_answer_is_a_beginning(void **state)
{
    struct world *w = *state;
    const struct kg_sampling greedy = kg_sampling_greedy();
    struct answer whole, again[2];
    open_engine(w, smallest);
    struct kg_session *session = open_session(w, NULL, KG_POLICY_RECALL, false);
    ask(session, copy_question, &greedy, 200, 0, &whole);
    kg_session_close(session);
    for (size_t stop_at = 40; stop_at < 400; stop_at += 60) {
        struct answer stopped;
        session = open_session(w, NULL, KG_POLICY_RECALL, true);
        ask(session, copy_question, &greedy, 200, stop_at, &stopped);
        assert_int_equal(stopped.end, KG_END_STOPPED);
        assert_true(stopped.length >= stop_at && stopped.length <= whole.length && stopped.count < whole.count);
        assert_memory_equal(stopped.text, whole.text, stopped.length);
        assert_memory_equal(stopped.ids, whole.ids, stopped.count * sizeof *stopped.ids);
        ask(session, "Go on.", &greedy, 12, 0, &again[0]);
        kg_session_close(session);
        session = open_session(w, NULL, KG_POLICY_RECALL, false); /* the same, stopped at the same token */
        ask(session, copy_question, &greedy, (uint32_t)stopped.counts.decode_tokens, 0, &again[1]);
        assert_int_equal(again[1].count, stopped.count);
        free(again[1].ids);
        ask(session, "Go on.", &greedy, 12, 0, &again[1]);
        assert_same(&again[0], &again[1]);
        kg_session_close(session);
        free(again[0].ids);
        free(again[1].ids);
        free(stopped.ids);
    }
    free(whole.ids);
}

/* The child writes slowly, so that what it has is stored from time to time, and dies in the middle. */
static void write_and_die(void *ctx, enum kg_text_kind kind, const char *bytes, size_t length)
{
    size_t *written = ctx;
    (void)kind, (void)bytes;
    *written += length;
    nanosleep(&(struct timespec){ .tv_nsec = 50000000 }, NULL);
    if (*written > 300)
        raise(SIGKILL);
}

static void answer_in_a_child(struct world *w)
{
    struct kg_session *session = open_session(w, "killed", KG_POLICY_RECALL, true);
    size_t written = 0;
    enum kg_end end;
    const struct kg_question asked = { .text = copy_question, .length = strlen(copy_question), .sampling = kg_sampling_greedy(),
                                       .text_out = write_and_die, .ctx = &written };
    kg_session_ask(session, &asked, &end, NULL);
    _exit(1);
}

struct stored {
    const struct kg_tokenizer *tokenizer;
    char text[4096];   /* of the ids behind the answer's opening */
    char *answer;      /* the stored text */
    uint32_t opening;
};

static int keep_answer(void *ctx, const struct kg_stored_part *part)
{
    struct stored *stored = ctx;
    size_t at = 0;
    if (part->kind != KG_BLOCK_ANSWER)
        return 0;
    assert_true(part->partial);
    for (size_t i = stored->opening; i < part->id_count; i++) {
        size_t length;
        const char *bytes = kg_token_bytes(stored->tokenizer, part->ids[i], false, &length);
        assert_true(at + length < sizeof stored->text);
        memcpy(stored->text + at, bytes, length);
        at += length;
    }
    stored->text[at] = '\0';
    stored->answer = strdup(part->text);
    return 0;
}

/* Of an answer whose process was killed there is what was said so far: as text and as ids, and no guess among them. */
static void a_killed_answer_holds_what_was_said(void **state)
{
    struct world *w = *state;
    const struct kg_sampling greedy = kg_sampling_greedy();
    struct answer whole;
    int how = 0;
    open_engine(w, smallest);
    struct kg_session *session = open_session(w, NULL, KG_POLICY_RECALL, false);
    ask(session, copy_question, &greedy, 200, 0, &whole);
    struct stored stored = { .tokenizer = w->engine->tokenizer, .opening = whole.count - (uint32_t)whole.counts.decode_tokens };
    kg_session_close(session);
    kg_engine_close(w->engine); /* its threads do not live on in a child */
    w->engine = NULL;
    pid_t child = fork();
    if (child == 0) {
        open_engine(w, smallest);
        answer_in_a_child(w);
    }
    assert_int_equal(waitpid(child, &how, 0), child);
    assert_true(WIFSIGNALED(how) && WTERMSIG(how) == SIGKILL);
    open_engine(w, smallest);
    stored.tokenizer = w->engine->tokenizer;
    struct kg_session_store *store = NULL;
    struct kg_stored_session found;
    assert_int_equal(kg_session_store_open(w->directory, &store, NULL), KG_OK);
    assert_int_equal(kg_session_store_find(store, "", "killed", &found, NULL), KG_OK);
    assert_int_equal(kg_session_store_parts(store, found.id, keep_answer, &stored, NULL), KG_OK);
    kg_session_store_close(store);
    assert_non_null(stored.answer);
    const size_t length = strlen(stored.answer);
    assert_true(length > 50 && length < whole.length); /* it was stored at least once while it grew */
    assert_memory_equal(stored.answer, whole.text, length);
    assert_string_equal(stored.answer, stored.text);
    free(stored.answer);
    free(whole.ids);
}

static int keep_text(void *ctx, const char *text, size_t length)
{
    take(ctx, KG_TEXT_ANSWER, text, length);
    return 0;
}

static void completions_are_the_same(void **state)
{
    struct world *w = *state;
    struct answer answers[2] = { 0 };
    struct kg_error err = { .text = "" };
    open_engine(w, coder);
    for (int drafts = 0; drafts < 2; drafts++) {
        struct kg_session *session = open_session(w, NULL, KG_POLICY_RECALL, drafts);
        static const char prefix[] = "/* The same as in words.c, for other programs. */\n#include <stdio.h>\n#include <string.h>\n\n", suffix[] = "\n";
        const struct kg_completion completion = { .path = "copy.c", .prefix = prefix, .prefix_length = strlen(prefix), .suffix = suffix,
                                                  .suffix_length = strlen(suffix), .max_tokens = 60, .text_out = keep_text, .ctx = &answers[drafts] };
        const struct kg_fill_options options = { .order = KG_FILL_PREFIX_FIRST };
        struct kg_fill *fill = NULL;
        if (kg_fill_open(session, &options, &fill, &err) != KG_OK ||
            kg_fill_complete(fill, &completion, &answers[drafts].end, &answers[drafts].counts, &err) != KG_OK)
            fail_msg("%s", err.text);
        kg_fill_close(fill);
        kg_session_close(session);
    }
    assert_true(answers[0].length > 20);
    assert_same(&answers[0], &answers[1]);
    assert_true(answers[1].counts.draft_tokens > 0);
    assert_int_equal(answers[0].counts.draft_tokens, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_smallest_model_says_the_same, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_coder_says_the_same, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_answer_ends_where_it_should, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_stopped_answer_is_a_beginning, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_killed_answer_holds_what_was_said, set_up, tear_down),
        cmocka_unit_test_setup_teardown(completions_are_the_same, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
