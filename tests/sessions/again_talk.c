#include "tests/sessions/again_talk.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <sqlite3.h>

#include "kernels/type.h"
#include "tests/unit/kv_blocks.h"
#include "tests/unit/tiny_model.h"

const char talk_first[] = "VIOLET_HARBOR 12ab\n/* 4711 */\n", talk_second[] = "static char letters[] = \"qwrtzpsdfgh\";\nVIOLET_HOLLOW 93fe\nshort more;\n",
           talk_third[] = "xylophones jump\n", talk_fourth[] = "double cube;\nlong xylophobia;\n";

const char talk_letters[TALK_LETTERS + 1] =
    "jqxkvzwgjqxkvzwgjqxkvzwgjqxkvzwgjqxkvzwgjqxkvzwgjqxkvzwgjqxkvzwgjqxkvzwgjqxkvzwgjqxkvzwgjqxkvzwgjqxkvzwgjqxkvzwgjqxkvzwgjqxkvzwgjqxkvzwg"
    "jqxkvzwgjqxkvzwgjqxkvzwgjqxkvzwgjqxkvzwgjqxkvzwgjqxkvzwgjqxkvzwgjqxkvzwgjqxkvzwgjqxkvzwgjqxkvzwgjqxkvzwgjqxkvzwgjqxkvzwgjqxkvzwgjqxkvzwg"
    "jqxkvzwgjqxkvzwgjqxkvzwgjqxkvzwgjqxkvzwgjqxkvzwgjqxkvzwgjqxkvzwgjqxkvzwgjqxkvzwgjqxkvzwgjqxkvzwgjqxkvzwgjqxkvzwgjqxkvzwgjqxkvzwgjqxkvzwg";

static void stop_there(void *ctx, const struct kg_progress *progress)
{
    struct talk *t = ctx;
    if (progress->stage == KG_STAGE_READING && t->stop_after >= 0 && t->stop_after-- == 0)
        kg_engine_stop(t->engine[0]);
}

static void open_engine(struct talk *t, int i)
{
    struct kg_error err = { .text = "" };
    const struct kg_engine_options options = { .model_path = t->model, .backend = "cpu", .threads = 1, .cache_dir = t->directory[i], .state_dir = t->directory[i],
                                               .index_bits = 4, .cache_bytes = t->budget, .progress = i ? NULL : stop_there, .ctx = t };
    if (kg_engine_open(&options, &t->engine[i], &err) != KG_OK)
        fail_msg("%s", err.text);
}

void talk_open(struct talk *t, enum kg_policy policy)
{
    struct kg_error err = { .text = "" };
    const struct kg_session_options options = { .name = "talk", .policy = policy, .recall = { .window = 64, .k = 32 } };
    open_engine(t, 0);
    if (kg_session_open(t->engine[0], &options, &t->session, &err) != KG_OK)
        fail_msg("%s", err.text);
}

void talk_close(struct talk *t)
{
    kg_session_close(t->session);
    kg_engine_close(t->engine[0]);
    t->session = NULL;
    t->engine[0] = NULL;
}

void talk_reopen(struct talk *t)
{
    talk_close(t);
    talk_open(t, KG_POLICY_RECALL);
}

static int begin(void **state, uint32_t tokens)
{
    struct talk *t = calloc(1, sizeof *t);
    *state = t;
    t->stop_after = -1;
    for (int i = 0; i < 2; i++)
        snprintf(t->directory[i], sizeof t->directory[i], "%s", kv_directory_make());
    snprintf(t->model, sizeof t->model, "%s/room.gguf", t->directory[1]);
    tiny_model_with_room(t->model, tokens);
    open_engine(t, 1);
    talk_open(t, KG_POLICY_RECALL);
    return 0;
}

int talk_set_up(void **state)
{
    return begin(state, 512); /* a token is hardly more than a byte */
}

int talk_set_up_long(void **state)
{
    return begin(state, 24000);
}

int talk_tear_down(void **state)
{
    struct talk *t = *state;
    talk_close(t);
    kg_engine_close(t->engine[1]);
    for (int i = 0; i < 2; i++)
        kv_directory_remove(t->directory[i]);
    free(t);
    return 0;
}

void talk_add_including(struct talk *t, const char *path, const char *text, const char *included)
{
    struct kg_error err = { .text = "" };
    const struct kg_include include = { .path = "i.h", .text = included ? included : "", .length = included ? strlen(included) : 0 };
    if (kg_session_add_linked(t->session, path, text, strlen(text), false, &include, included != NULL, UINT32_MAX, &err) != KG_OK)
        fail_msg("%s", err.text);
}

void talk_add(struct talk *t, const char *path, const char *text)
{
    talk_add_including(t, path, text, NULL);
}

void talk_add_both(struct talk *t)
{
    talk_add(t, "a.h", talk_first);
    talk_add(t, "b.h", talk_second);
}

uint64_t talk_idle(struct talk *t)
{
    struct kg_error err = { .text = "" };
    uint64_t computed = 0, all = 0;
    size_t next = 0;
    do {
        if (kg_session_read_again(t->session, &next, &computed, &err) != KG_OK)
            fail_msg("%s", err.text);
        all += computed;
    } while (next);
    return all;
}

uint64_t talk_ask(struct talk *t, const char *question, char **answer)
{
    struct kg_error err = { .text = "" };
    const uint64_t before = t->session->computed_ever;
    enum kg_end end;
    const struct kg_question asked = { .text = question, .length = strlen(question), .max_tokens = 4, .sampling = kg_sampling_greedy() };
    if (kg_session_ask(t->session, &asked, &end, &err) != KG_OK)
        fail_msg("%s", err.text);
    if (answer)
        *answer = strdup(t->session->pieces[t->session->count - 1].text);
    return t->session->computed_ever - before;
}

void talk_stop(void *ctx, enum kg_text_kind kind, const char *text, size_t length)
{
    struct talk *t = ctx;
    (void)kind, (void)text, (void)length;
    kg_engine_stop(t->engine[0]);
}

void talk_ask_and_stop(struct talk *t)
{
    struct kg_error err = { .text = "" };
    enum kg_end end = KG_END_MODEL;
    const struct kg_question asked = { .text = "HARBOR?", .length = 7, .max_tokens = 64, .sampling = kg_sampling_greedy(), .text_out = talk_stop, .ctx = t };
    if (kg_session_ask(t->session, &asked, &end, &err) != KG_OK)
        fail_msg("%s", err.text);
    assert_int_equal(end, KG_END_STOPPED);
    kg_engine_go(t->engine[0]);
}

size_t talk_index_of(const struct talk *t, const char *path)
{
    for (size_t i = 0; i < t->session->count; i++)
        if (t->session->pieces[i].kind == KG_BLOCK_FILE && t->session->pieces[i].block && !t->session->pieces[i].continues &&
            strcmp(t->session->pieces[i].label, path) == 0)
            return i;
    fail_msg("%s is not there", path);
    return 0;
}

struct kg_piece *talk_piece(const struct talk *t, const char *path)
{
    return &t->session->pieces[talk_index_of(t, path)];
}

bool talk_is_again(const struct talk *t, const char *path)
{
    return talk_piece(t, path)->rule == KG_READ_AGAIN;
}

/* Keys or values (f16) of one token in one head: the same, or all but that. */
static bool is_near(const uint8_t *a, const uint8_t *b, size_t bytes)
{
    for (size_t i = 0; i < bytes; i += 2) {
        uint16_t x, y;
        memcpy(&x, a + i, 2);
        memcpy(&y, b + i, 2);
        if (fabs(kg_f16_to_double(x) - kg_f16_to_double(y)) > 4e-3 * (1 + fabs(kg_f16_to_double(x))))
            return false;
    }
    return true;
}

/* How many rows of keys and values of one text are not even near each other. */
static uint32_t count_far(const struct kg_block *a, const struct kg_block *b)
{
    const struct kg_kv_shape *shape = kg_pool_shape(kg_block_pool(a));
    const size_t bytes = KG_KV_PAGE_BYTES(shape), row = KG_KV_ROW_BYTES(shape);
    const uint32_t tokens = kg_block_tokens(a);
    uint8_t *pages[2] = { calloc(1, bytes + 1), calloc(1, bytes + 1) };
    uint32_t far = 0;
    for (uint32_t page = 0; page * KG_PAGE < tokens; page++) {
        const uint32_t left = tokens - page * KG_PAGE, used = left < KG_PAGE ? left : KG_PAGE;
        assert_int_equal(kg_block_export(a, page, pages[0], NULL), KG_OK);
        assert_int_equal(kg_block_export(b, page, pages[1], NULL), KG_OK);
        for (size_t s = 0; s < bytes / (KG_PAGE * row); s++)
            for (size_t t = s * KG_PAGE; t < s * KG_PAGE + used; t++)
                far += !is_near(pages[0] + t * row, pages[1] + t * row, row);
    }
    free(pages[0]);
    free(pages[1]);
    return far;
}

void talk_blocks_are_the_same(const struct kg_block *a, const struct kg_block *b)
{
    assert_int_equal(kg_block_tokens(a), kg_block_tokens(b));
    assert_int_equal(kg_block_ready(a), kg_block_tokens(a));
    assert_int_equal(kg_block_ready(b), kg_block_tokens(b));
    kv_blocks_hold_the_same(a, 0, b, 0, kg_block_tokens(a));
}

struct kg_session *talk_read_alone(const struct talk *t, const char *text, size_t length)
{
    struct kg_session *session = NULL;
    struct kg_error err = { .text = "" };
    if (kg_session_open(t->engine[1], &(struct kg_session_options){ .unsaved = true }, &session, &err) != KG_OK ||
        kg_session_add_file(session, "x", text, length, false, &err) != KG_OK)
        fail_msg("%s", err.text);
    return session;
}

static bool is_behind_another(const struct kg_session *session, size_t at)
{
    for (size_t i = 0; i < at; i++)
        if (session->pieces[i].kind == KG_BLOCK_FILE && session->pieces[i].block)
            return true;
    return false;
}

void talk_is_as_by_hand(const struct talk *t, size_t at, const struct kg_block *clean)
{
    static const struct kg_digest unnamed;
    const struct kg_piece *piece = &t->session->pieces[at];
    const struct kg_engine *engine = t->engine[0];
    const struct kg_reading reading = { .model = engine->model, .pool = engine->pool, .stop = &engine->stop };
    const uint32_t tokens = kg_block_tokens(piece->block);
    struct kg_sequence *sequence = NULL;
    struct kg_block *block = NULL;
    assert_int_equal(kg_sequence_create(kg_model_shape(engine->model)->trained_length, &sequence, NULL), KG_OK);
    for (size_t i = 0; i < t->session->count; i++)
        if (t->session->pieces[i].block && t->session->pieces[i].base < piece->base)
            assert_int_equal(kg_sequence_place(sequence, t->session->pieces[i].block, t->session->pieces[i].base, NULL), KG_OK);
    assert_int_equal(kg_block_create(engine->pool, KG_BLOCK_FILE, &unnamed, kg_block_local(piece->block), kg_block_ids(piece->block), tokens, &block, NULL), KG_OK);
    assert_int_equal(kg_sequence_place(sequence, block, piece->base, NULL), KG_OK);
    assert_int_equal(kg_sequence_read(sequence, kg_sequence_count(sequence) - 1, tokens, &reading, NULL, NULL), KG_OK);
    kv_blocks_hold_the_same(piece->block, 0, block, 0, tokens);
    assert_memory_equal(kg_block_ids(piece->block), kg_block_ids(clean), tokens * sizeof(int32_t));
    assert_true(count_far(piece->block, clean) > 0);
    kg_block_release(block);
    kg_sequence_free(sequence);
}

unsigned talk_files_are_right(const struct talk *t, bool all)
{
    unsigned again = 0;
    for (size_t i = 0; i < t->session->count; i++) {
        const struct kg_piece *piece = &t->session->pieces[i];
        if (piece->kind != KG_BLOCK_FILE || !piece->block || piece->continues || kg_file_is_patched(t->session, i))
            continue;
        const bool can = is_behind_another(t->session, i);
        struct kg_session *alone = talk_read_alone(t, piece->text, piece->length);
        const struct kg_block *clean = alone->pieces[alone->count - 1].block;
        assert_int_equal(kg_block_ready(piece->block), kg_block_tokens(piece->block));
        if (piece->rule == KG_READ_AGAIN)
            talk_is_as_by_hand(t, i, clean);
        else
            talk_blocks_are_the_same(piece->block, clean);
        again += piece->rule == KG_READ_AGAIN;
        assert_true(piece->rule != KG_READ_AGAIN || can);
        assert_true(!all || can == (piece->rule == KG_READ_AGAIN));
        kg_session_close(alone);
    }
    return again;
}

void talk_nothing_is_outdated(const struct talk *t)
{
    for (size_t i = 0; i < kg_session_parts(t->session); i++)
        assert_null(kg_session_outdated(t->session, i));
}

void talk_change_cache(const struct talk *t, const char *sql)
{
    char path[300];
    sqlite3 *db = NULL;
    snprintf(path, sizeof path, "%s/kv.db", t->directory[0]);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    assert_true(sqlite3_changes(db) > 0);
    sqlite3_close(db);
}
