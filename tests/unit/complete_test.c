/* Completions and sessions behind others, against a dense reading of the same ids from the beginning. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "engine/complete.h"
#include "engine/tokenizer/chat.h"
#include "tests/unit/model_run.h"
#include "tests/unit/tiny_model.h"

enum { FIM_PREFIX = 1, FIM_SUFFIX = 2, FIM_MIDDLE = 3, POSITIONS = 2048, GENERATED = 24 };

static const char file_text[] = "the file\nsays that\n", prefix[] = "def the(", suffix[] = "):\n  other";

struct world {
    char path[64], cache[64];
    struct kg_engine *engine;
    struct kg_gguf *file;
    struct kg_tokenizer *tokenizer;
    struct kg_chat *chat;
};

/* A factor of the embeddings with which the model goes on and on. */
static const float going_on = 5;

static void write_model(char path[64], bool can_fill, float gain)
{
    struct gguf_writer w;
    const struct tiny_model model = { .left_out = "llama.context_length", .embedding_gain = gain };
    tiny_model_keys(&w, &model);
    gguf_u32(&w, "llama.context_length", POSITIONS);
    if (can_fill) {
        gguf_u32(&w, "tokenizer.ggml.fim_pre_token_id", FIM_PREFIX);
        gguf_u32(&w, "tokenizer.ggml.fim_suf_token_id", FIM_SUFFIX);
        gguf_u32(&w, "tokenizer.ggml.fim_mid_token_id", FIM_MIDDLE);
    }
    tiny_model_tensors(&w, &model);
    gguf_end(&w);
    gguf_to_file(w.bytes, w.length, path);
    gguf_free(&w);
}

static int open_world_of(void **state, float gain)
{
    struct world *w = calloc(1, sizeof *w);
    struct kg_error err;
    write_model(w->path, true, gain);
    strcpy(w->cache, "/tmp/kedge-complete-XXXXXX");
    if (!mkdtemp(w->cache))
        return 1;
    struct kg_engine_options options = { .model_path = w->path, .threads = 2, .cache_dir = w->cache, .state_dir = w->cache,
                                         .index_bits = 4 }; /* heads are too small for an index of fewer */
    *state = w;
    return kg_engine_open(&options, &w->engine, &err) != KG_OK || kg_gguf_open(w->path, &w->file, &err) != KG_OK ||
           kg_tokenizer_create(w->file, &w->tokenizer, &err) != KG_OK || kg_chat_create(w->file, w->tokenizer, &w->chat, &err) != KG_OK;
}

static int open_world(void **state)
{
    return open_world_of(state, going_on);
}

static int close_world(void **state)
{
    struct world *w = *state;
    char command[128];
    kg_engine_close(w->engine);
    kg_chat_free(w->chat);
    kg_tokenizer_free(w->tokenizer);
    kg_gguf_close(w->file);
    unlink(w->path);
    snprintf(command, sizeof command, "rm -r %s", w->cache);
    int result = system(command);
    free(w);
    return result;
}

static struct kg_session *open_session(struct world *w, enum kg_policy policy, bool with_file)
{
    struct kg_session *session = NULL;
    struct kg_error err;
    if (kg_session_open(w->engine, &(struct kg_session_options){ .policy = policy, .unsaved = true }, &session, &err) != KG_OK ||
        (with_file && kg_session_add_file(session, "a.py", file_text, sizeof file_text - 1, false, &err) != KG_OK))
        fail_msg("%s", err.text);
    return session;
}

struct text {
    char bytes[4096];
    size_t length, enough; /* 0 = never */
    unsigned calls;
};

static int keep(void *ctx, const char *text, size_t length)
{
    struct text *t = ctx;
    assert_true(t->length + length < sizeof t->bytes);
    memcpy(t->bytes + t->length, text, length);
    t->length += length;
    t->bytes[t->length] = '\0';
    t->calls++;
    return t->enough && t->length >= t->enough;
}

static struct kg_completion filling(struct text *text)
{
    return (struct kg_completion){ .prefix = prefix, .prefix_length = sizeof prefix - 1, .suffix = suffix, .suffix_length = sizeof suffix - 1,
                                   .max_tokens = GENERATED, .text_out = keep, .ctx = text };
}

static struct kg_fill *open_fill(const struct kg_session *session, const struct kg_fill_options *options)
{
    struct kg_fill *fill = NULL;
    struct kg_error err;
    if (kg_fill_open(session, options, &fill, &err) != KG_OK)
        fail_msg("%s", err.text);
    return fill;
}

static enum kg_end go_on(struct kg_fill *fill, const struct kg_completion *completion, struct kg_counts *counts)
{
    enum kg_end end = KG_END_STOPPED;
    struct kg_error err;
    struct text *text = completion->ctx;
    text->length = text->calls = 0;
    text->bytes[0] = '\0';
    if (kg_fill_complete(fill, completion, &end, counts, &err) != KG_OK)
        fail_msg("%s", err.text);
    return end;
}

static enum kg_end complete_so(const struct kg_session *session, const struct kg_fill_options *options, const struct kg_completion *completion,
                               struct kg_counts *counts)
{
    struct kg_fill *fill = open_fill(session, options);
    enum kg_end end = go_on(fill, completion, counts);
    kg_fill_close(fill);
    return end;
}

static enum kg_end complete(const struct kg_session *session, const struct kg_completion *completion, struct kg_counts *counts)
{
    return complete_so(session, &(struct kg_fill_options){ 0 }, completion, counts);
}

static enum kg_status failure(const struct kg_session *session, bool bare, const struct kg_completion *completion)
{
    struct kg_fill *fill = open_fill(session, &(struct kg_fill_options){ .bare = bare });
    struct kg_error err;
    enum kg_end end;
    enum kg_status status = kg_fill_complete(fill, completion, &end, NULL, &err);
    kg_fill_close(fill);
    return status;
}

static void put_text(struct world *w, struct kg_ids *ids, const char *text)
{
    assert_int_equal(kg_tokenize(w->tokenizer, text, strlen(text), false, ids, NULL), KG_OK);
}

static void put_filling(struct world *w, struct kg_ids *ids, enum kg_fill_order order)
{
    kg_ids_push(ids, FIM_PREFIX, NULL);
    put_text(w, ids, order == KG_FILL_PREFIX_FIRST ? prefix : "");
    kg_ids_push(ids, FIM_SUFFIX, NULL);
    put_text(w, ids, suffix);
    kg_ids_push(ids, FIM_MIDDLE, NULL);
    put_text(w, ids, order == KG_FILL_PREFIX_FIRST ? "" : prefix);
}

/* The likeliest tokens behind the ids, each found by reading everything anew, until one that is no text. */
static enum kg_end continue_densely(struct world *w, struct kg_ids *ids, struct text *text)
{
    struct model_run run;
    struct kg_utf8_stream stream = { .count = 0 };
    char out[64];
    float logits[TINY_VOCABULARY];
    model_run_open(&run, w->path, kg_backend_find("cpu"), NULL, POSITIONS);
    enum kg_end end = KG_END_LENGTH;
    text->length = 0;
    for (unsigned n = 0; n < GENERATED; n++) {
        int32_t best = 0;
        model_run_rewind(&run);
        model_run_read(&run, ids->ids, (uint32_t)ids->count, 64, logits, 1);
        for (int32_t id = 1; id < TINY_VOCABULARY; id++)
            best = logits[id] > logits[best] ? id : best;
        if (best >= 256 + 2 || (best >= FIM_PREFIX && best <= FIM_MIDDLE)) {
            end = KG_END_MODEL;
            break;
        }
        size_t length;
        const char *bytes = kg_token_bytes(w->tokenizer, best, false, &length);
        kg_ids_push(ids, best, NULL);
        keep(text, out, kg_utf8_push(&stream, bytes, length, false, out));
    }
    keep(text, out, kg_utf8_push(&stream, "", 0, true, out));
    model_run_close(&run);
    kg_ids_free(ids);
    return end;
}

static void expect_same(const struct text *got, const struct text *expected)
{
    assert_int_equal(got->length, expected->length);
    assert_memory_equal(got->bytes, expected->bytes, expected->length);
}

static void expect_dense(struct world *w, const struct kg_session *session, const struct kg_fill_options *options, const struct kg_completion *completion,
                         struct kg_ids *ids, unsigned ends[KG_END_FULL + 1])
{
    struct text expected = { .length = 0 };
    enum kg_end end = continue_densely(w, ids, &expected);
    assert_int_equal(complete_so(session, options, completion, NULL), end);
    expect_same(completion->ctx, &expected);
    ends[end]++;
}

static void test_bare(void **state)
{
    unsigned ends[KG_END_FULL + 1] = { 0 };
    (void)state;
    for (float gain = 1; gain < 9; gain++) {
        void *world;
        assert_int_equal(open_world_of(&world, gain), 0);
        struct kg_session *session = open_session(world, KG_POLICY_ALONE, true);
        struct text text;
        struct kg_ids ids = { 0 };
        struct kg_completion completion = filling(&text);
        struct kg_fill_options options = { .bare = true };
        put_filling(world, &ids, options.order);
        expect_dense(world, session, &options, &completion, &ids, ends);
        options.order = KG_FILL_PREFIX_FIRST;
        put_filling(world, &ids, options.order);
        expect_dense(world, session, &options, &completion, &ids, ends);
        completion.suffix = NULL; /* plainly on from the prefix */
        put_text(world, &ids, prefix);
        expect_dense(world, session, &options, &completion, &ids, ends);
        kg_session_close(session);
        assert_int_equal(close_world(&world), 0);
    }
    assert_true(ends[KG_END_MODEL] && ends[KG_END_LENGTH]);
}

/* Read as a chain, a session is one text, which the completion goes on with. */
static void test_behind_files(void **state)
{
    struct world *w = *state;
    struct kg_session *session = open_session(w, KG_POLICY_FULL, true);
    struct text text = { .length = 0 }, expected = { .length = 0 };
    struct kg_ids ids = { 0 };
    struct kg_counts counts;
    struct kg_completion completion = filling(&text);
    completion.path = "b.py";
    assert_int_equal(complete(session, &completion, &counts), KG_END_LENGTH);
    kg_chat_preamble(w->chat, &ids, NULL);
    kg_chat_heading(w->chat, KG_ROLE_SYSTEM, "a.py", &ids, NULL);
    put_text(w, &ids, file_text);
    size_t in_front = ids.count;
    kg_chat_heading(w->chat, KG_ROLE_SYSTEM, "b.py", &ids, NULL);
    put_filling(w, &ids, KG_FILL_SUFFIX_FIRST);
    assert_int_equal(counts.reused_tokens, in_front);
    assert_int_equal(counts.computed_tokens, ids.count - in_front);
    assert_int_equal(counts.decode_tokens, GENERATED);
    continue_densely(w, &ids, &expected);
    expect_same(&text, &expected);
    kg_session_close(session);
}

/* It sees nothing of a conversation, changes nothing in it, and leaves nothing in the cache. */
static void test_leaves_no_trace(void **state)
{
    struct world *w = *state;
    struct kg_session *session = open_session(w, KG_POLICY_ALONE, true);
    struct text before = { .length = 0 }, after = { .length = 0 };
    struct kg_completion completion = filling(&before);
    struct kg_question question = { .text = "the", .length = 3, .max_tokens = 4, .sampling = kg_sampling_greedy() };
    struct kg_counts counts;
    enum kg_end end;
    complete(session, &completion, NULL);
    assert_int_equal(kg_session_parts(session), 1);
    assert_int_equal(kg_session_ask(session, &question, &end, NULL), KG_OK);
    kg_session_counts(session, &counts);
    completion.ctx = &after;
    complete(session, &completion, NULL);
    expect_same(&after, &before);
    assert_int_equal(kg_session_parts(session), 3);
    uint32_t tokens = counts.context_tokens;
    kg_session_counts(session, &counts);
    assert_int_equal(counts.context_tokens, tokens);
    kg_session_close(session);
}

static int count_block(void *ctx, const struct kg_cached_block *block)
{
    unsigned *turns = ctx;
    *turns += strcmp(block->kind, "turn") == 0 || strcmp(block->kind, "answer") == 0;
    return 0;
}

/* Asked behind another session, a question gets the answer that it would get there, and neither sees the other. */
static void test_forks(void **state)
{
    struct world *w = *state;
    struct text first = { .length = 0 };
    struct kg_session *base = open_session(w, KG_POLICY_ALONE, true), *forks[3], *own;
    struct kg_counts counts;
    unsigned turns = 0;
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(kg_session_fork(base, &forks[i], NULL), KG_OK);
    kg_session_counts(base, &counts);
    uint32_t in_front = counts.context_tokens;
    kg_session_close(base); /* before those that share its blocks */
    for (unsigned i = 0; i < 3; i++) {
        struct text text = { .length = 0 };
        struct kg_question question = { .text = i == 1 ? "other" : "the", .length = i == 1 ? 5 : 3, .max_tokens = 12, .sampling = kg_sampling_greedy() };
        enum kg_end end;
        assert_int_equal(kg_session_ask(forks[i], &question, &end, NULL), KG_OK);
        struct kg_part answer = kg_session_part(forks[i], 2);
        assert_int_equal(kg_session_parts(forks[i]), 3);
        keep(&text, answer.text, answer.length);
        if (i == 0)
            first = text;
        if (i == 2)
            expect_same(&text, &first);
        kg_session_counts(forks[i], &counts);
        assert_int_equal(counts.reused_tokens, in_front);
        assert_true(counts.computed_tokens < 60);
    }
    assert_true(first.length > 0);
    for (unsigned i = 0; i < 3; i++)
        kg_session_close(forks[i]);
    kg_cache_list(w->cache, count_block, &turns, NULL);
    assert_int_equal(turns, 0);
    own = open_session(w, KG_POLICY_ALONE, true);
    struct kg_question question = { .text = "the", .length = 3, .max_tokens = 12, .sampling = kg_sampling_greedy() };
    enum kg_end end;
    assert_int_equal(kg_session_ask(own, &question, &end, NULL), KG_OK);
    struct kg_part answer = kg_session_part(own, 2);
    assert_int_equal(answer.length, first.length);
    assert_memory_equal(answer.text, first.bytes, first.length);
    kg_session_close(own);
}

/* As one text in its order. */
static const struct kg_fill_options in_order = { .order = KG_FILL_PREFIX_FIRST };

/* The answer, or what is filled in, in a session that looks so at a text that is longer than its window. */
static struct text looking(struct world *w, enum kg_policy policy, uint32_t k, bool forked, bool filled)
{
    struct kg_session *session = NULL, *fork = NULL;
    struct kg_session_options options = { .policy = policy, .recall = { .window = 64, .k = k }, .unsaved = true };
    char text[1200];
    struct text got = { .length = 0 };
    struct kg_completion completion = filling(&got);
    struct kg_question question = { .text = "the", .length = 3, .max_tokens = 24, .sampling = kg_sampling_greedy() };
    enum kg_end end;
    for (size_t i = 0; i < sizeof text; i++)
        text[i] = (char)('a' + (i * i + i / 7) % 25);
    assert_int_equal(kg_session_open(w->engine, &options, &session, NULL), KG_OK);
    assert_int_equal(kg_session_add_file(session, "a.py", text, sizeof text, false, NULL), KG_OK);
    assert_int_equal(kg_session_fork(session, &fork, NULL), KG_OK);
    if (filled) {
        complete_so(session, &in_order, &completion, NULL);
    } else {
        assert_int_equal(kg_session_ask(forked ? fork : session, &question, &end, NULL), KG_OK);
        struct kg_part answer = kg_session_part(forked ? fork : session, 2);
        keep(&got, answer.text, answer.length);
    }
    kg_session_close(fork);
    kg_session_close(session);
    return got;
}

/* A fork and a completion look at what stands in front as the session does. */
static void test_looks(void **state)
{
    struct world *w = *state;
    struct text recalled = looking(w, KG_POLICY_RECALL, 1, false, false), forked = looking(w, KG_POLICY_RECALL, 1, true, false);
    struct text all = looking(w, KG_POLICY_ALONE, 1, false, false), much = looking(w, KG_POLICY_RECALL, 4096, false, false);
    expect_same(&forked, &recalled);
    expect_same(&much, &all);
    assert_string_not_equal(recalled.bytes, all.bytes);
    recalled = looking(w, KG_POLICY_RECALL, 1, false, true);
    all = looking(w, KG_POLICY_ALONE, 1, false, true);
    much = looking(w, KG_POLICY_RECALL, 4096, false, true);
    expect_same(&much, &all);
    assert_string_not_equal(recalled.bytes, all.bytes);
}

/* A text of so many bytes in which little repeats. */
static void make_text(char *out, size_t length, unsigned seed)
{
    for (size_t i = 0; i < length; i++)
        out[i] = (char)('a' + (i * i + seed * i + i / 7) % 25);
    out[length] = '\0';
}

/* A moment of writing: how many bytes stand before the cursor, and which of the others behind it. */
struct step {
    size_t prefix, suffix_from, suffix_to;
};

/* Completed again and again while it is written, a text gets what it gets when it is completed once, and only what is new is read. */
static void test_goes_on(void **state)
{
    static const struct step steps[] = { { 300, 0, 150 }, { 301, 0, 150 }, { 310, 0, 150 }, { 310, 0, 150 }, { 260, 0, 150 }, { 384, 0, 150 },
                                         { 385, 0, 150 }, { 500, 0, 150 }, { 500, 3, 150 }, { 500, 3, 140 }, { 20, 0, 150 },  { 300, 0, 150 } };
    static const enum kg_policy policies[] = { KG_POLICY_ALONE, KG_POLICY_RECALL, KG_POLICY_FULL };
    struct world *w = *state;
    char before[600], behind[200];
    make_text(before, 500, 3);
    make_text(behind, 150, 11);
    for (size_t p = 0; p < 3; p++) {
        struct kg_session *session = open_session(w, policies[p], true);
        struct kg_fill *fill = open_fill(session, &(struct kg_fill_options){ 0 });
        for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
            struct text one = { .length = 0 }, again = { .length = 0 };
            struct kg_counts once, counts;
            struct kg_completion completion = filling(&one);
            completion.prefix = before;
            completion.prefix_length = steps[i].prefix;
            completion.suffix = behind + steps[i].suffix_from;
            completion.suffix_length = steps[i].suffix_to - steps[i].suffix_from;
            enum kg_end end = complete(session, &completion, &once);
            completion.ctx = &again;
            assert_int_equal(go_on(fill, &completion, &counts), end);
            expect_same(&again, &one);
            assert_int_equal(counts.prompt_tokens, once.prompt_tokens);
            bool same_suffix = i > 0 && steps[i].suffix_from == steps[i - 1].suffix_from && steps[i].suffix_to == steps[i - 1].suffix_to;
            size_t written = i > 0 && steps[i].prefix > steps[i - 1].prefix ? steps[i].prefix - steps[i - 1].prefix : 0;
            if (same_suffix) /* the last token may become another one, and is read for its logits in any case */
                assert_true(counts.computed_tokens >= 1 && counts.computed_tokens <= written + 4);
            else
                assert_true(counts.computed_tokens <= once.computed_tokens);
        }
        kg_fill_close(fill);
        kg_session_close(session);
    }
}

/* Stopped while it reads or writes, a completion leaves what is right. */
static void test_stops(void **state)
{
    struct world *w = *state;
    char before[600];
    struct kg_session *session = open_session(w, KG_POLICY_RECALL, true);
    struct kg_fill *fill = open_fill(session, &(struct kg_fill_options){ 0 });
    make_text(before, 500, 3);
    for (size_t length = 100; length < 500; length += 57) {
        struct text one = { .length = 0 }, again = { .length = 0 };
        struct kg_completion completion = filling(&one);
        completion.prefix = before;
        completion.prefix_length = length;
        kg_engine_stop(w->engine);
        assert_int_equal(go_on(fill, &completion, NULL), KG_END_STOPPED);
        kg_engine_go(w->engine);
        enum kg_end end = complete(session, &completion, NULL);
        completion.ctx = &again;
        assert_int_equal(go_on(fill, &completion, NULL), end);
        expect_same(&again, &one);
    }
    kg_fill_close(fill);
    kg_session_close(session);
}

/* What was read of whole pieces is found again by whoever comes next, when it is to be stored, and says the same. */
static void test_is_stored(void **state)
{
    struct world *w = *state;
    char before[600];
    struct kg_counts counts;
    struct text first = { .length = 0 }, second = { .length = 0 };
    struct kg_completion completion = filling(&first);
    make_text(before, 500, 3);
    completion.prefix = before;
    completion.prefix_length = 500;
    for (unsigned stored = 0; stored < 2; stored++) {
        const struct kg_fill_options options = { .stored = stored };
        struct kg_session *session = open_session(w, KG_POLICY_RECALL, true);
        completion.ctx = &first;
        complete_so(session, &options, &completion, &counts);
        uint64_t computed = counts.computed_tokens;
        completion.ctx = &second;
        complete_so(session, &options, &completion, &counts);
        expect_same(&second, &first);
        assert_int_equal(counts.prompt_tokens, counts.computed_tokens + counts.reused_tokens);
        if (stored)
            assert_true(counts.computed_tokens < 200 && counts.restored_bytes > 0);
        else
            assert_int_equal(counts.computed_tokens, computed);
        kg_session_close(session);
    }
}

static void test_ends(void **state)
{
    struct world *w = *state;
    struct kg_session *session = open_session(w, KG_POLICY_ALONE, false);
    struct text text = { .enough = 3 };
    struct kg_completion completion = filling(&text);
    struct kg_counts counts;
    assert_int_equal(complete_so(session, &in_order, &completion, &counts), KG_END_MODEL);
    assert_true(text.length >= 3 && text.length < 8);
    assert_true(counts.decode_tokens < GENERATED);
    text.enough = 0;
    completion.max_tokens = 1;
    assert_int_equal(complete_so(session, &in_order, &completion, &counts), KG_END_LENGTH);
    assert_int_equal(counts.decode_tokens, 1);
    completion.max_tokens = 0;
    assert_int_equal(complete_so(session, &in_order, &completion, &counts), KG_END_FULL);
    assert_int_equal(counts.context_tokens, POSITIONS);
    kg_engine_stop(w->engine);
    assert_int_equal(complete_so(session, &in_order, &completion, NULL), KG_END_STOPPED);
    assert_int_equal(text.length, 0);
    kg_engine_go(w->engine);
    char *much = malloc(POSITIONS);
    memset(much, 'x', POSITIONS);
    completion.prefix = much;
    completion.prefix_length = POSITIONS;
    assert_int_equal(failure(session, false, &completion), KG_ERR_FULL);
    completion = (struct kg_completion){ .prefix = "" };
    assert_int_equal(failure(session, true, &completion), KG_ERR_USAGE);
    free(much);
    kg_session_close(session);
}

static void test_model_that_cannot_fill(void **state)
{
    char path[64];
    struct kg_engine *engine = NULL;
    struct kg_session *session = NULL;
    struct kg_error err;
    struct text text = { .length = 0 };
    struct kg_completion completion = filling(&text);
    (void)state;
    write_model(path, false, going_on);
    assert_int_equal(kg_engine_open(&(struct kg_engine_options){ .model_path = path, .cache_off = true }, &engine, &err), KG_OK);
    assert_int_equal(kg_session_open(engine, &(struct kg_session_options){ .unsaved = true }, &session, &err), KG_OK);
    assert_int_equal(kg_engine_can_fill(engine, &err), KG_ERR_UNSUPPORTED);
    assert_int_equal(failure(session, false, &completion), KG_ERR_UNSUPPORTED);
    completion.suffix = NULL;
    complete(session, &completion, NULL);
    kg_session_close(session);
    kg_engine_close(engine);
    unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bare),
        cmocka_unit_test_setup_teardown(test_behind_files, open_world, close_world),
        cmocka_unit_test_setup_teardown(test_leaves_no_trace, open_world, close_world),
        cmocka_unit_test_setup_teardown(test_forks, open_world, close_world),
        cmocka_unit_test_setup_teardown(test_looks, open_world, close_world),
        cmocka_unit_test_setup_teardown(test_goes_on, open_world, close_world),
        cmocka_unit_test_setup_teardown(test_stops, open_world, close_world),
        cmocka_unit_test_setup_teardown(test_is_stored, open_world, close_world),
        cmocka_unit_test_setup_teardown(test_ends, open_world, close_world),
        cmocka_unit_test(test_model_that_cannot_fill),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
