/* A file is read again in sight of all before it: it is what a reading by hand gives, stands there only as long as all before it is what
 * it saw, and nothing else changes. */
#include <fcntl.h>
#include <math.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>
#include <sqlite3.h>

#include "engine/fill.h"
#include "engine/state.h"
#include "kernels/type.h"
#include "tests/unit/kv_blocks.h"
#include "tests/unit/seeded.h"
#include "tests/unit/tiny_model.h"

enum { FILES = 4, TEXT_MAX = 160 };

static const char first[] = "VIOLET_HARBOR 12ab\n/* 4711 */\n", second[] = "static char letters[] = \"qwrtzpsdfgh\";\nVIOLET_HOLLOW 93fe\nshort more;\n",
                  third[] = "xylophones jump\n", fourth[] = "double cube;\nlong xylophobia;\n";

static const char letters[] = "jqxkvzwgjqxkvzwgjqxkvzwgjqxkvzwgjqxkvzwgjqxkvzwgjqxkvzwgjqxkvzwgjqxkvzwgjqxkvzwgjqxkvzwgjqxkvzwgjqxkvzwgjqxkvzwgjqxkvzwgjqxkvzwgjqxkvzwg"
                              "jqxkvzwgjqxkvzwgjqxkvzwgjqxkvzwgjqxkvzwgjqxkvzwgjqxkvzwgjqxkvzwgjqxkvzwgjqxkvzwgjqxkvzwgjqxkvzwgjqxkvzwgjqxkvzwgjqxkvzwgjqxkvzwgjqxkvzwg"
                              "jqxkvzwgjqxkvzwgjqxkvzwgjqxkvzwgjqxkvzwgjqxkvzwgjqxkvzwgjqxkvzwgjqxkvzwgjqxkvzwgjqxkvzwgjqxkvzwgjqxkvzwgjqxkvzwgjqxkvzwgjqxkvzwgjqxkvzwg";

struct world {
    char directory[2][256], model[300];
    struct kg_engine *engine[2]; /* the second one reads by hand */
    struct kg_session *session;
    int stop_after; /* batches; less than 0: never */
};

static void stop_there(void *ctx, const struct kg_progress *progress)
{
    struct world *w = ctx;
    if (progress->stage == KG_STAGE_READING && w->stop_after >= 0 && w->stop_after-- == 0)
        kg_engine_stop(w->engine[0]);
}

static void open_engine(struct world *w, int i)
{
    struct kg_error err = { .text = "" };
    const struct kg_engine_options options = { .model_path = w->model, .backend = "cpu", .threads = 1, .cache_dir = w->directory[i], .state_dir = w->directory[i],
                                               .index_bits = 4, .progress = i ? NULL : stop_there, .ctx = w };
    if (kg_engine_open(&options, &w->engine[i], &err) != KG_OK)
        fail_msg("%s", err.text);
}

static void open_as(struct world *w, enum kg_policy policy)
{
    struct kg_error err = { .text = "" };
    const struct kg_session_options options = { .name = "talk", .policy = policy, .recall = { .window = 64, .k = 32 } };
    open_engine(w, 0);
    if (kg_session_open(w->engine[0], &options, &w->session, &err) != KG_OK)
        fail_msg("%s", err.text);
}

static void close_it(struct world *w)
{
    kg_session_close(w->session);
    kg_engine_close(w->engine[0]);
    w->session = NULL;
    w->engine[0] = NULL;
}

static void reopen(struct world *w)
{
    close_it(w);
    open_as(w, KG_POLICY_RECALL);
}

static int begin(void **state, uint32_t tokens)
{
    struct world *w = calloc(1, sizeof *w);
    *state = w;
    w->stop_after = -1;
    for (int i = 0; i < 2; i++)
        snprintf(w->directory[i], sizeof w->directory[i], "%s", kv_directory_make());
    snprintf(w->model, sizeof w->model, "%s/room.gguf", w->directory[1]);
    tiny_model_with_room(w->model, tokens);
    open_engine(w, 1);
    open_as(w, KG_POLICY_RECALL);
    return 0;
}

static int set_up(void **state)
{
    return begin(state, 512); /* a token is hardly more than a byte */
}

static int set_up_long(void **state)
{
    return begin(state, 24000);
}

static int tear_down(void **state)
{
    struct world *w = *state;
    close_it(w);
    kg_engine_close(w->engine[1]);
    for (int i = 0; i < 2; i++)
        kv_directory_remove(w->directory[i]);
    free(w);
    return 0;
}

static void add_with(struct world *w, const char *path, const char *text, const char *included)
{
    struct kg_error err = { .text = "" };
    const struct kg_include include = { .path = "i.h", .text = included ? included : "", .length = included ? strlen(included) : 0 };
    if (kg_session_add_linked(w->session, path, text, strlen(text), false, &include, included != NULL, UINT32_MAX, &err) != KG_OK)
        fail_msg("%s", err.text);
}

static void add(struct world *w, const char *path, const char *text)
{
    add_with(w, path, text, NULL);
}

/* Tokens that were read for it. */
static uint64_t idle(struct world *w)
{
    struct kg_error err = { .text = "" };
    uint64_t computed = 0, all = 0;
    size_t next = 0;
    do {
        if (kg_session_read_again(w->session, &next, &computed, &err) != KG_OK)
            fail_msg("%s", err.text);
        all += computed;
    } while (next);
    return all;
}

/* Tokens that were read for a question; *answer (may be NULL) is freed by the caller. */
static uint64_t ask(struct world *w, const char *question, char **answer)
{
    struct kg_error err = { .text = "" };
    const uint64_t before = w->session->computed_ever;
    enum kg_end end;
    const struct kg_question asked = { .text = question, .length = strlen(question), .max_tokens = 4, .sampling = kg_sampling_greedy() };
    if (kg_session_ask(w->session, &asked, &end, &err) != KG_OK)
        fail_msg("%s", err.text);
    if (answer)
        *answer = strdup(w->session->pieces[w->session->count - 1].text);
    return w->session->computed_ever - before;
}

static size_t index_of(const struct world *w, const char *path)
{
    for (size_t i = 0; i < w->session->count; i++)
        if (w->session->pieces[i].kind == KG_BLOCK_FILE && w->session->pieces[i].block && !w->session->pieces[i].continues &&
            strcmp(w->session->pieces[i].label, path) == 0)
            return i;
    fail_msg("%s is not there", path);
    return 0;
}

static struct kg_piece *piece_of(const struct world *w, const char *path)
{
    return &w->session->pieces[index_of(w, path)];
}

static bool is_again(const struct world *w, const char *path)
{
    return piece_of(w, path)->rule == KG_READ_AGAIN;
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

/* So many tokens, from the start of a page in both, be they of two engines. How many rows of keys and values are not even near each other;
 * exact: all are the same, and their index is. */
static uint32_t compare(const struct kg_block *a, uint32_t a_page, const struct kg_block *b, uint32_t b_page, uint32_t tokens, bool exact)
{
    const struct kg_kv_shape *shape = kg_pool_shape(kg_block_pool(a));
    const size_t bytes = KG_KV_PAGE_BYTES(shape), index = KG_INDEX_PAGE_BYTES(shape), row = KG_KV_ROW_BYTES(shape);
    uint8_t *pages[2] = { calloc(1, bytes + 1), calloc(1, bytes + 1) }, *indexes[2] = { calloc(1, index + 1), calloc(1, index + 1) };
    uint32_t far = 0;
    assert_memory_equal(kg_block_ids(a) + a_page * KG_PAGE, kg_block_ids(b) + b_page * KG_PAGE, tokens * sizeof(int32_t));
    for (uint32_t page = 0; page * KG_PAGE < tokens; page++) {
        const uint32_t left = tokens - page * KG_PAGE, used = left < KG_PAGE ? left : KG_PAGE;
        uint32_t indexed[2];
        assert_int_equal(kg_block_export(a, a_page + page, pages[0], NULL), KG_OK);
        assert_int_equal(kg_block_export(b, b_page + page, pages[1], NULL), KG_OK);
        for (size_t s = 0; s < bytes / (KG_PAGE * row); s++)
            for (size_t t = s * KG_PAGE; t < s * KG_PAGE + used; t++) {
                far += !is_near(pages[0] + t * row, pages[1] + t * row, row);
                if (exact)
                    assert_memory_equal(pages[0] + t * row, pages[1] + t * row, row);
            }
        assert_int_equal(kg_block_index_export(a, a_page + page, indexes[0], &indexed[0], NULL), KG_OK);
        assert_int_equal(kg_block_index_export(b, b_page + page, indexes[1], &indexed[1], NULL), KG_OK);
        assert_int_equal(indexed[0], indexed[1]);
        if (exact)
            assert_memory_equal(indexes[0], indexes[1], index);
    }
    for (int i = 0; i < 2; i++) {
        free(pages[i]);
        free(indexes[i]);
    }
    return far;
}

static void are_the_same(const struct kg_block *a, const struct kg_block *b)
{
    assert_int_equal(kg_block_tokens(a), kg_block_tokens(b));
    assert_int_equal(kg_block_ready(a), kg_block_tokens(a));
    assert_int_equal(kg_block_ready(b), kg_block_tokens(b));
    compare(a, 0, b, 0, kg_block_tokens(a), true);
}

/* A file's reading alone, by the other engine. */
static struct kg_session *read_alone(const struct world *w, const char *text, size_t length)
{
    struct kg_session *session = NULL;
    struct kg_error err = { .text = "" };
    if (kg_session_open(w->engine[1], &(struct kg_session_options){ .unsaved = true }, &session, &err) != KG_OK ||
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

/* A piece is what reading by hand gives behind all that stands there now, and not what is in `clean`. */
static void is_as_by_hand(const struct world *w, size_t at, const struct kg_block *clean)
{
    static const struct kg_digest unnamed;
    const struct kg_piece *piece = &w->session->pieces[at];
    const struct kg_engine *engine = w->engine[0];
    const struct kg_reading reading = { .model = engine->model, .pool = engine->pool, .stop = &engine->stop };
    const uint32_t tokens = kg_block_tokens(piece->block);
    struct kg_sequence *sequence = NULL;
    struct kg_block *block = NULL;
    assert_int_equal(kg_sequence_create(kg_model_shape(engine->model)->trained_length, &sequence, NULL), KG_OK);
    for (size_t i = 0; i < w->session->count; i++)
        if (w->session->pieces[i].block && w->session->pieces[i].base < piece->base)
            assert_int_equal(kg_sequence_place(sequence, w->session->pieces[i].block, w->session->pieces[i].base, NULL), KG_OK);
    assert_int_equal(kg_block_create(engine->pool, KG_BLOCK_FILE, &unnamed, kg_block_local(piece->block), kg_block_ids(piece->block), tokens, &block, NULL), KG_OK);
    assert_int_equal(kg_sequence_place(sequence, block, piece->base, NULL), KG_OK);
    assert_int_equal(kg_sequence_read(sequence, kg_sequence_count(sequence) - 1, tokens, &reading, NULL, NULL), KG_OK);
    assert_int_equal(compare(piece->block, 0, block, 0, tokens, true), 0);
    assert_true(compare(piece->block, 0, clean, 0, tokens, false) > 0);
    kg_block_release(block);
    kg_sequence_free(sequence);
}

/* Every file, of one part and including nothing: in its first reading, or as by hand in sight of what stands before it now. How many were
 * read again; all: none is left that could be. */
static unsigned all_are_right(const struct world *w, bool all)
{
    unsigned again = 0;
    for (size_t i = 0; i < w->session->count; i++) {
        const struct kg_piece *piece = &w->session->pieces[i];
        if (piece->kind != KG_BLOCK_FILE || !piece->block || piece->continues || kg_file_is_patched(w->session, i))
            continue;
        const bool can = is_behind_another(w->session, i);
        struct kg_session *alone = read_alone(w, piece->text, piece->length);
        const struct kg_block *clean = alone->pieces[alone->count - 1].block;
        assert_int_equal(kg_block_ready(piece->block), kg_block_tokens(piece->block));
        if (piece->rule == KG_READ_AGAIN)
            is_as_by_hand(w, i, clean);
        else
            are_the_same(piece->block, clean);
        again += piece->rule == KG_READ_AGAIN;
        assert_true(piece->rule != KG_READ_AGAIN || can);
        assert_true(!all || can == (piece->rule == KG_READ_AGAIN));
        kg_session_close(alone);
    }
    return again;
}

static uint32_t told_again(const struct world *w, const char *path)
{
    for (size_t i = 0; i < kg_session_parts(w->session); i++) {
        const struct kg_part part = kg_session_part(w->session, i);
        if (part.kind == KG_PART_FILE && !part.dropped && strcmp(part.label, path) == 0)
            return part.again;
    }
    return UINT32_MAX;
}

/* Both files, the second of which has a name that begins like one of the first. */
static void add_both(struct world *w)
{
    add(w, "a.h", first);
    add(w, "b.h", second);
}

static void after_idling_it_is_what_reading_by_hand_gives(void **state)
{
    struct world *w = *state;
    add_both(w);
    const struct kg_piece before = *piece_of(w, "b.h");
    struct kg_block *clean = kg_block_keep(before.block);
    const uint64_t computed = w->session->computed_since, read = idle(w);
    assert_true(!is_again(w, "a.h") && is_again(w, "b.h"));
    assert_true(read == kg_block_tokens(clean) && read == told_again(w, "b.h") && told_again(w, "a.h") == 0);
    is_as_by_hand(w, index_of(w, "b.h"), clean);
    assert_int_equal(piece_of(w, "b.h")->base, before.base);
    assert_int_equal(w->session->computed_since, computed); /* nobody waited for it */
    assert_int_equal(idle(w), 0);
    kg_block_release(clean);
}

/* It sees what the file includes no longer, and what stands before it. */
static void of_a_file_that_includes_others_too(void **state)
{
    struct world *w = *state;
    add(w, "a.h", first);
    add_with(w, "b.h", second, third);
    assert_int_equal(piece_of(w, "b.h")->rule, KG_READ_LINKED);
    struct kg_block *clean = kg_block_keep(piece_of(w, "b.h")->block);
    assert_true(idle(w) > 0 && is_again(w, "b.h") && piece_of(w, "b.h")->kept_linked);
    is_as_by_hand(w, index_of(w, "b.h"), clean);
    kg_block_release(clean);
    reopen(w);
    assert_true(is_again(w, "b.h") && piece_of(w, "b.h")->kept_linked);
    kg_session_drop_file(w->session, "a.h", NULL);
    assert_int_equal(piece_of(w, "b.h")->rule, KG_READ_LINKED);
    assert_int_equal(ask(w, "What?", NULL) > 100, 0);
    assert_int_equal(piece_of(w, "b.h")->rule, KG_READ_LINKED); /* the cache had it */
}

/* Nothing stands before it that it has not seen but what is said. */
static void the_first_file_is_read_once(void **state)
{
    struct world *w = *state;
    add(w, "a.h", first);
    ask(w, "HARBOR?", NULL);
    idle(w); /* the answer's last token */
    assert_int_equal(idle(w), 0);
    assert_false(is_again(w, "a.h"));
}

static void resumed_it_needs_no_reading(void **state)
{
    struct world *w = *state;
    char *answers[2];
    add_both(w);
    idle(w);
    struct kg_session *alone = read_alone(w, second, strlen(second));
    const struct kg_digest name = piece_of(w, "b.h")->identity;
    reopen(w);
    assert_true(is_again(w, "b.h"));
    assert_memory_equal(&piece_of(w, "b.h")->identity, &name, sizeof name);
    is_as_by_hand(w, index_of(w, "b.h"), alone->pieces[alone->count - 1].block);
    const uint64_t asked = ask(w, "HOLLOW?", &answers[0]);
    reopen(w); /* with a turn behind it */
    assert_true(is_again(w, "b.h"));
    assert_int_equal(kg_session_take_back(w->session, NULL), KG_OK);
    assert_true(is_again(w, "b.h"));
    assert_true(ask(w, "HOLLOW?", &answers[1]) <= asked);
    assert_string_equal(answers[0], answers[1]);
    assert_true(asked < 60 && idle(w) == 0); /* of the question */
    for (int i = 0; i < 2; i++)
        free(answers[i]);
    kg_session_close(alone);
}

/* What it was before serves every other conversation. */
static void the_first_reading_stays_in_the_cache(void **state)
{
    struct world *w = *state;
    struct kg_session *other = NULL;
    add_both(w);
    idle(w);
    assert_int_equal(kg_session_open(w->engine[0], &(struct kg_session_options){ .unsaved = true }, &other, NULL), KG_OK);
    const uint64_t ever = other->computed_ever;
    assert_int_equal(kg_session_add_file(other, "b.h", second, strlen(second), false, NULL), KG_OK);
    assert_int_equal(other->computed_ever, ever);
    struct kg_session *alone = read_alone(w, second, strlen(second));
    are_the_same(other->pieces[other->count - 1].block, alone->pieces[alone->count - 1].block);
    kg_session_close(other);
    kg_session_close(alone);
}

static void nothing_is_outdated(const struct world *w)
{
    for (size_t i = 0; i < kg_session_parts(w->session); i++)
        assert_null(kg_session_outdated(w->session, i));
}

/* A question while it is read is answered by what stands there; what was read until then is not read again. */
static void it_ends_when_a_question_comes(void **state)
{
    struct world *w = *state;
    struct kg_error err;
    uint64_t computed = 0;
    add(w, "a.h", first);
    add(w, "b.h", letters);
    w->stop_after = 0;
    assert_int_equal(kg_session_read_again(w->session, &(size_t){ 0 }, &computed, &err), KG_ERR_CANCELLED);
    assert_true(computed > 0 && computed < kg_block_tokens(piece_of(w, "b.h")->block) && !is_again(w, "b.h"));
    kg_engine_go(w->engine[0]);
    assert_true(ask(w, "HOLLOW?", NULL) < 60);
    all_are_right(w, false);
    nothing_is_outdated(w);
    computed += idle(w);
    assert_int_equal(computed, told_again(w, "b.h"));
    assert_int_equal(all_are_right(w, true), 1);
    nothing_is_outdated(w); /* the turn saw it as it was */
    reopen(w);
    assert_true(is_again(w, "b.h"));
    assert_true(ask(w, "STOOL?", NULL) < 60);
    nothing_is_outdated(w);
    assert_int_equal(kg_session_drop_file(w->session, "a.h", &err), KG_OK);
    unsigned outdated = 0;
    for (size_t i = 0; i < kg_session_parts(w->session); i++)
        outdated += kg_session_outdated(w->session, i) != NULL;
    assert_int_equal(outdated, 4); /* two questions and their answers */
}

static int take_first(void *ctx, const struct kg_cached_block *block)
{
    int64_t *id = ctx;
    if (strcmp(block->title, "a.h") == 0 && strcmp(block->kind, "file") == 0)
        *id = block->id;
    return 0;
}

/* One file a call, in order; behind one that the cache does not have as it was none is, until it has it. */
static void one_file_a_call_is(void **state)
{
    struct world *w = *state;
    size_t next = 0;
    int64_t id = 0;
    add(w, "a.h", "VIOLET_HARBOR 12ab\nAMBER_STONE 99\n");
    add(w, "b.h", second);
    add(w, "c.h", "qwrtzpsdfghjklyxcvbnmqwrtzpsdfghjklyxcvbnm\nAMBER_STOOL 88\n");
    assert_int_equal(kg_session_read_again(w->session, &next, NULL, NULL), KG_OK);
    assert_true(next > 0 && is_again(w, "b.h") && !is_again(w, "c.h"));
    assert_int_equal(kg_session_read_again(w->session, &next, NULL, NULL), KG_OK);
    assert_true(next > 0 && is_again(w, "c.h"));
    assert_int_equal(kg_session_read_again(w->session, &next, NULL, NULL), KG_OK);
    assert_int_equal(next, 0);
    assert_int_equal(kg_session_drop_file(w->session, "a.h", NULL), KG_OK);
    add(w, "d.h", "VIOLET_HARBOR 12ab\nAMBER_STONE 99\n"); /* the text that was read first */
    add(w, "e.h", "double cube;\nAMBER_STOOD 77\n");
    kg_kv_store_flush(w->engine[0]->kv_store);
    assert_int_equal(kg_cache_list(w->directory[0], take_first, &id, NULL), KG_OK);
    assert_true(id > 0);
    assert_int_equal(kg_cache_remove(w->directory[0], id, NULL), KG_OK);
    idle(w);
    assert_true(is_again(w, "c.h") && !is_again(w, "d.h") && !is_again(w, "e.h"));
    all_are_right(w, false);
    reopen(w);
    assert_int_equal(kg_session_read_all(w->session, NULL), KG_OK);
    idle(w);
    assert_int_equal(all_are_right(w, true), 3);
}

static char *write_long(const char *early, const char *late)
{
    char *text = malloc(12000);
    uint64_t seed = 9;
    size_t at = 0;
    for (int line = 0; at < 9600; line++) {
        at += (size_t)snprintf(text + at, 12000 - at, "%s", line == 50 ? early : line == 235 ? late : "");
        for (unsigned k = 0; k < 40; k++)
            text[at++] = k == 39 ? '\n' : (char)('a' + seeded_below(&seed, 26));
    }
    text[at] = '\0';
    return text;
}

static void is_as_alone(const struct world *w, const char *path, const struct kg_session *alone)
{
    const struct kg_piece *parts = piece_of(w, path), *others = &alone->pieces[alone->count - 2];
    for (size_t i = 0; i < 2; i++)
        are_the_same(parts[i].block, others[i].block);
}

/* Its later parts saw the first reading of those before them, whenever they are read. */
static void a_long_file_is_read_once(void **state)
{
    struct world *w = *state;
    char *text = write_long("VIOLET_HOLLOW 93fe\n\n", "AMBER_STOOL 88\n\n");
    struct kg_session *alone = read_alone(w, text, strlen(text));
    add(w, "a.h", "VIOLET_HARBOR 12ab\nAMBER_STONE 99\nCOPPER_MINTAGE_HIGH 31\n");
    w->stop_after = 34; /* in its second part */
    assert_int_equal(kg_session_add_file(w->session, "b.c", text, strlen(text), false, NULL), KG_ERR_CANCELLED);
    kg_engine_go(w->engine[0]);
    const struct kg_piece *parts = piece_of(w, "b.c");
    assert_true(parts[1].continues && kg_block_ready(parts[0].block) == kg_block_tokens(parts[0].block) && kg_block_ready(parts[1].block) < kg_block_tokens(parts[1].block));
    assert_int_equal(idle(w), 0);
    assert_int_equal(kg_session_read_all(w->session, NULL), KG_OK);
    for (int resumed = 0; resumed < 2; resumed++) {
        assert_int_equal(idle(w), 0);
        assert_int_equal(told_again(w, "b.c"), 0);
        is_as_alone(w, "b.c", alone);
        add(w, "c.h", "double cube;\nCOPPER_MINTAGE_LOW 32\n");
        idle(w);
        assert_true(is_again(w, "c.h"));
        assert_int_equal(kg_session_drop_file(w->session, "c.h", NULL), KG_OK);
        reopen(w);
    }
    kg_session_close(alone);
    free(text);
}

static void stop_it(void *ctx, enum kg_text_kind kind, const char *text, size_t length)
{
    struct world *w = ctx;
    (void)kind, (void)text, (void)length;
    kg_engine_stop(w->engine[0]);
}

static void ask_and_stop(struct world *w)
{
    struct kg_error err = { .text = "" };
    enum kg_end end = KG_END_MODEL;
    const struct kg_question asked = { .text = "HARBOR?", .length = 7, .max_tokens = 64, .sampling = kg_sampling_greedy(), .text_out = stop_it, .ctx = w };
    if (kg_session_ask(w->session, &asked, &end, &err) != KG_OK)
        fail_msg("%s", err.text);
    assert_int_equal(end, KG_END_STOPPED);
    kg_engine_go(w->engine[0]);
}

/* The last token of an answer that was as long as it may be is not read. */
static uint32_t last_tokens(const struct world *w)
{
    return kg_block_tokens(w->session->pieces[w->session->count - 1].block);
}

/* Also where it was stopped before a file was read again, and goes on before or behind that. */
static void what_a_stopped_answer_saw_stays(void **state)
{
    struct world *w = *state;
    for (int idle_first = 0; idle_first < 2; idle_first++) {
        add_both(w);
        assert_false(is_again(w, "b.h"));
        ask_and_stop(w);
        const size_t stopped = w->session->count - 1;
        const struct kg_digest name = w->session->pieces[stopped].identity;
        assert_true(w->session->pieces[stopped].partial && !w->session->pieces[stopped].growing);
        if (idle_first)
            idle(w);
        ask(w, "HOLLOW?", NULL);
        if (!idle_first)
            idle(w);
        for (int resumed = 0; resumed < 2; resumed++) {
            assert_true(is_again(w, "b.h") && w->session->pieces[stopped].partial);
            assert_memory_equal(&name, &w->session->pieces[stopped].identity, sizeof name);
            nothing_is_outdated(w);
            reopen(w);
            assert_int_equal(kg_session_read_all(w->session, NULL), KG_OK);
            assert_true(w->session->computed_ever <= 1); /* the last token of an answer that was as long as it may be */
        }
        close_it(w);
        assert_int_equal(kg_sessions_remove(w->directory[0], "", "talk", NULL), KG_OK);
        open_as(w, KG_POLICY_RECALL);
    }
}

/* A file stood between the two and has left a gap, which has to be closed for a question of such a length. */
static size_t leave_gap(struct world *w)
{
    static const char gap[] = "qwrtzpsdfghjklyxcvbnmqwrtzpsdfghjklyxcvbnmqwrtzpsdfghjklyxcvbnmqwrtzpsdfg\n";
    add(w, "a.h", "VIOLET_HARBOR 12ab\n");
    add(w, "gap.txt", gap);
    add(w, "b.h", "VIOLET_HOLLOW 93fe\n");
    assert_int_equal(kg_session_drop_file(w->session, "gap.txt", NULL), KG_OK);
    idle(w);
    assert_true(is_again(w, "b.h"));
    return kg_model_shape(w->engine[0]->model)->trained_length - (uint32_t)kg_sequence_end(w->session->sequence) + 8;
}

static void change_cache(const struct world *w, const char *sql)
{
    char path[300];
    sqlite3 *db = NULL;
    snprintf(path, sizeof path, "%s/kv.db", w->directory[0]);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    assert_true(sqlite3_changes(db) > 0);
    sqlite3_close(db);
}

/* The first reading is wanted only when the question has moved it, and is damaged. */
static void what_is_brought_back_late_may_be_damaged(void **state)
{
    struct world *w = *state;
    char question[sizeof letters];
    snprintf(question, leave_gap(w), "%s", letters);
    kg_kv_store_flush(w->engine[0]->kv_store);
    change_cache(w, "UPDATE page SET kv = zeroblob(length(kv))");
    const unsigned moved = w->session->counts.moved;
    ask(w, question, NULL);
    assert_true(w->session->counts.moved > moved && !is_again(w, "b.h"));
    all_are_right(w, false);
}

static void a_completion_sees_it_only_as_it_saw_what_stands(void **state)
{
    struct world *w = *state, of_fill;
    struct kg_fill *fill = NULL;
    enum kg_end end;
    const size_t length = leave_gap(w);
    of_fill = *w;
    assert_int_equal(kg_fill_open(w->session, &(struct kg_fill_options){ .stored = true }, &fill, NULL), KG_OK);
    of_fill.session = fill->session;
    assert_true(is_again(&of_fill, "b.h"));
    const struct kg_completion completion = { .prefix = letters, .prefix_length = length, .max_tokens = 4 };
    assert_int_equal(kg_fill_complete(fill, &completion, &end, NULL, NULL), KG_OK);
    assert_true(fill->session->counts.moved > 0 && !is_again(&of_fill, "b.h"));
    all_are_right(&of_fill, false);
    assert_true(is_again(w, "b.h"));
    kg_fill_close(fill);
}

struct of_file {
    const char *title;
    int64_t ids[2]; /* of its first reading, and of what was read again */
};

static int take_ids(void *ctx, const struct kg_cached_block *block)
{
    struct of_file *file = ctx;
    if (strcmp(block->title, file->title) == 0)
        file->ids[strcmp(block->kind, KG_KV_AGAIN) == 0] = block->id;
    return 0;
}

/* Tokens that were read for it. */
static uint64_t fill_in(struct kg_fill *fill, const char *text)
{
    const struct kg_completion completion = { .prefix = text, .prefix_length = strlen(text), .max_tokens = 4 };
    const uint64_t before = fill->session->computed_ever;
    enum kg_end end;
    assert_int_equal(kg_fill_complete(fill, &completion, &end, NULL, NULL), KG_OK);
    return fill->session->computed_ever - before;
}

static struct kg_fill *open_fill(const struct kg_session *session)
{
    struct kg_fill *fill = NULL;
    assert_int_equal(kg_fill_open(session, &(struct kg_fill_options){ .stored = true }, &fill, NULL), KG_OK);
    return fill;
}

/* Known under the name of all that it saw, it stays when that is lost; what is typed then goes on from no part of it. */
static void a_completion_keeps_nothing_that_saw_what_is_lost(void **state)
{
    struct world *w = *state;
    char before[sizeof letters], after[sizeof letters], sql[128];
    struct of_file file = { .title = "b.h" };
    struct kg_fill *fill;
    memcpy(before, letters, sizeof letters);
    memcpy(after, letters, sizeof letters);
    memset(after + 100, 'k', 10);
    add_both(w);
    idle(w);
    fill = open_fill(w->session);
    const uint64_t whole = fill_in(fill, before);
    assert_in_range(fill_in(fill, after), 1, whole - 64); /* it goes on from a part of it */
    kg_fill_close(fill);
    close_it(w);
    assert_int_equal(kg_cache_list(w->directory[0], take_ids, &file, NULL), KG_OK);
    snprintf(sql, sizeof sql, "UPDATE page SET kv = zeroblob(length(kv)) WHERE id >> 32 = %lld", (long long)file.ids[1]);
    change_cache(w, sql);
    open_as(w, KG_POLICY_RECALL);
    assert_true(is_again(w, "b.h"));
    fill = open_fill(w->session);
    assert_in_range(fill_in(fill, before), 1, whole - 64);
    assert_int_equal(fill_in(fill, after), whole);
    kg_fill_close(fill);
}

static void it_goes_back_when_a_file_before_it_goes(void **state)
{
    struct world *w = *state;
    add_both(w);
    idle(w);
    const uint64_t ever = w->session->computed_ever;
    assert_int_equal(kg_session_drop_file(w->session, "a.h", NULL), KG_OK);
    assert_false(is_again(w, "b.h"));
    all_are_right(w, true);
    assert_int_equal(w->session->computed_ever, ever);
    reopen(w);
    assert_false(is_again(w, "b.h"));
    all_are_right(w, true);
    assert_int_equal(w->session->computed_ever, 0);
}

static void it_goes_back_when_a_file_before_it_is_edited(void **state)
{
    struct world *w = *state;
    char edited[TEXT_MAX];
    add_both(w);
    idle(w);
    snprintf(edited, sizeof edited, "%s/* VIOLET_HAT */\n", first);
    add(w, "a.h", edited);
    assert_false(is_again(w, "b.h"));
    all_are_right(w, false);
    assert_true(piece_of(w, "a.h")->base > piece_of(w, "b.h")->base);
    if (!kg_file_is_patched(w->session, index_of(w, "a.h")))
        assert_true(idle(w) > 0 && is_again(w, "a.h"));
    all_are_right(w, true);
}

/* As one that was never read again. */
static void an_edit_of_it_is_one_of_its_first_reading(void **state)
{
    struct world *w = *state;
    char edited[TEXT_MAX];
    snprintf(edited, sizeof edited, "%s/* k */\n", second);
    uint64_t computed[2];
    for (int again = 0; again < 2; again++) {
        add_both(w);
        if (again)
            idle(w);
        assert_int_equal(is_again(w, "b.h"), again);
        const uint64_t before = w->session->computed_ever;
        add(w, "b.h", edited);
        computed[again] = w->session->computed_ever - before;
        assert_false(is_again(w, "b.h"));
        all_are_right(w, false);
        assert_int_equal(kg_session_drop_file(w->session, "b.h", NULL), KG_OK);
        close_it(w);
        kg_cache_remove(w->directory[0], 0, NULL);
        open_as(w, KG_POLICY_RECALL);
        assert_int_equal(kg_session_drop_file(w->session, "a.h", NULL), KG_OK);
    }
    assert_true(computed[0] > 0 && computed[0] == computed[1]);
}

/* Both are closed and opened again. */
static void lose(struct world *w, const char *title, bool first_reading, bool read_again)
{
    struct of_file file = { .title = title };
    close_it(w);
    assert_int_equal(kg_cache_list(w->directory[0], take_ids, &file, NULL), KG_OK);
    for (int i = 0; i < 2; i++) {
        assert_true(file.ids[i] > 0);
        if (i ? read_again : first_reading)
            assert_int_equal(kg_cache_remove(w->directory[0], file.ids[i], NULL), KG_OK);
    }
    open_as(w, KG_POLICY_RECALL);
}

/* What the cache has lost of it is the first thing that may go: the first reading is there. */
static void when_the_cache_has_lost_it_the_first_reading_serves(void **state)
{
    struct world *w = *state;
    add_both(w);
    idle(w);
    ask(w, "HOLLOW?", NULL);
    lose(w, "b.h", false, true);
    assert_false(is_again(w, "b.h"));
    assert_int_equal(kg_session_read_all(w->session, NULL), KG_OK);
    all_are_right(w, false);
    assert_true(w->session->computed_ever <= last_tokens(w)); /* the turn is what it was as well */
    assert_true(idle(w) > 0 && is_again(w, "b.h"));
    close_it(w);
    assert_int_equal(kg_cache_remove(w->directory[0], 0, NULL), KG_OK);
    open_as(w, KG_POLICY_RECALL);
    assert_false(is_again(w, "b.h"));
    assert_true(ask(w, "HOLLOW?", NULL) > kg_block_tokens(piece_of(w, "b.h")->block));
    all_are_right(w, false);
}

/* What turns and answers, also stopped ones, saw of it stays what they saw, and a file that includes nothing comes back as it was. */
static void when_it_is_lost_what_stands_behind_it_is_not_read(void **state)
{
    struct world *w = *state;
    for (int both = 0; both < 2; both++) {
        add_both(w);
        add(w, "c.h", "VIOLET_HOLSTER 17\nVIOLET_HARBINGER 18\n");
        idle(w);
        ask_and_stop(w);
        ask(w, "HOLLOW?", NULL);
        assert_true(is_again(w, "b.h") && is_again(w, "c.h"));
        const uint32_t tokens = both ? kg_block_tokens(piece_of(w, "b.h")->block) : 0;
        lose(w, "b.h", both, true);
        assert_false(is_again(w, "b.h") || is_again(w, "c.h"));
        assert_int_equal(kg_session_read_all(w->session, NULL), KG_OK);
        all_are_right(w, false);
        assert_in_range(w->session->computed_ever, tokens, tokens + last_tokens(w));
        nothing_is_outdated(w);
        close_it(w);
        assert_int_equal(kg_sessions_remove(w->directory[0], "", "talk", NULL), KG_OK);
        open_as(w, KG_POLICY_RECALL);
    }
}

static void by_another_policy_nothing_is_read_again(void **state)
{
    struct world *w = *state;
    add_both(w);
    idle(w);
    for (int policy = KG_POLICY_FULL; policy <= KG_POLICY_ALONE; policy++) {
        close_it(w);
        open_as(w, (enum kg_policy)policy);
        assert_false(is_again(w, "b.h"));
        assert_true(ask(w, "HOLLOW?", NULL) > 0);
        assert_int_equal(idle(w), 0);
    }
}

static void nothing_is_read_again_behind_a_secret(void **state)
{
    struct world *w = *state;
    assert_int_equal(kg_session_add_file(w->session, "a.h", first, strlen(first), true, NULL), KG_OK);
    add(w, "b.h", second);
    assert_int_equal(idle(w), 0);
    assert_false(is_again(w, "b.h"));
}

/* In a conversation that begins anew, the files are as any other finds them; one that goes on has them as they are. */
static void what_begins_anew_begins_with_the_first_reading(void **state)
{
    struct world *w = *state;
    add_both(w);
    idle(w);
    ask(w, "HOLLOW?", NULL);
    assert_int_equal(kg_session_branch(w->session, 2, NULL, NULL), KG_OK);
    assert_true(is_again(w, "b.h"));
    all_are_right(w, true);
    const uint64_t ever = w->session->computed_ever;
    assert_int_equal(kg_session_clear(w->session, NULL), KG_OK);
    assert_false(is_again(w, "b.h"));
    ask(w, "HOLLOW?", NULL);
    all_are_right(w, false);
    assert_true(w->session->computed_ever < ever);
    idle(w);
    assert_true(is_again(w, "b.h"));
    all_are_right(w, true);
}

static const char *random_text(uint64_t *seed, char text[TEXT_MAX])
{
    static const char *const stems[] = { "violet_h", "amber_st", "copper_m" };
    size_t at = 0;
    for (unsigned line = 2 + (unsigned)seeded_below(seed, 3); line > 0; line--) {
        if (seeded_below(seed, 2))
            at += (size_t)snprintf(text + at, TEXT_MAX - at, "%s", stems[seeded_below(seed, 3)]);
        for (unsigned k = 3 + (unsigned)seeded_below(seed, 22); k > 0; k--)
            text[at++] = (char)('a' + seeded_below(seed, 26));
        text[at++] = '\n';
    }
    text[at] = '\0';
    return text;
}

static void branch_or_not(struct world *w, uint64_t *seed)
{
    const size_t parts = kg_session_parts(w->session);
    if (parts > 1)
        assert_int_equal(kg_session_branch(w->session, 1 + seeded_below(seed, (uint32_t)parts), "talk", NULL), KG_OK);
}

struct ids {
    int64_t ids[1024];
    size_t count;
};

static int take_any(void *ctx, const struct kg_cached_block *block)
{
    struct ids *ids = ctx;
    if (ids->count < 1024)
        ids->ids[ids->count++] = block->id;
    return 0;
}

static void lose_something(const struct world *w, uint64_t *seed)
{
    struct ids ids = { .count = 0 };
    assert_int_equal(kg_cache_list(w->directory[0], take_any, &ids, NULL), KG_OK);
    if (ids.count)
        assert_int_equal(kg_cache_remove(w->directory[0], ids.ids[seeded_below(seed, (uint32_t)ids.count)], NULL), KG_OK);
}

static enum kg_status read_again(struct world *w, bool once, struct kg_error *err)
{
    size_t next = 0;
    enum kg_status status;
    do
        status = kg_session_read_again(w->session, &next, NULL, err);
    while (status == KG_OK && next && !once);
    return status;
}

/* Every file in context, as any other conversation finds it in the cache. */
static void others_find_first_readings(const struct world *w)
{
    for (size_t i = 0; i < w->session->count; i++) {
        const struct kg_piece *piece = &w->session->pieces[i];
        struct kg_session *other = NULL;
        if (piece->kind != KG_BLOCK_FILE || !piece->block || piece->continues || kg_file_is_patched(w->session, i))
            continue;
        assert_int_equal(kg_session_open(w->engine[0], &(struct kg_session_options){ .unsaved = true }, &other, NULL), KG_OK);
        assert_int_equal(kg_session_add_file(other, piece->label, piece->text, piece->length, false, NULL), KG_OK);
        struct kg_session *alone = read_alone(w, piece->text, piece->length);
        are_the_same(other->pieces[other->count - 1].block, alone->pieces[alone->count - 1].block);
        kg_session_close(other);
        kg_session_close(alone);
    }
}

/* The person or time does something; nothing of it may fail but for want of room, or of what it is done to. */
static void do_something(struct world *w, uint64_t *seed)
{
    char path[] = "0.h", text[TEXT_MAX];
    struct kg_error err = { .text = "" };
    enum kg_end end;
    const struct kg_question asked = { .text = "what?", .length = 5, .max_tokens = 3, .sampling = kg_sampling_greedy() },
                             stopped = { .text = "who?", .length = 4, .max_tokens = 9, .sampling = kg_sampling_greedy(), .text_out = stop_it, .ctx = w };
    struct kg_compaction compaction;
    enum kg_status status = KG_OK;
    path[0] = (char)('0' + seeded_below(seed, FILES));
    switch (seeded_below(seed, 12)) {
    case 0:
    case 1:
    case 2:
        random_text(seed, text);
        status = kg_session_add_file(w->session, path, text, strlen(text), false, &err);
        break;
    case 3:
        status = kg_session_drop_file(w->session, path, &err);
        break;
    case 4:
        w->stop_after = seeded_below(seed, 4) ? -1 : (int)seeded_below(seed, 3);
        status = kg_session_ask(w->session, seeded_below(seed, 4) ? &asked : &stopped, &end, &err);
        kg_engine_go(w->engine[0]);
        w->stop_after = -1;
        break;
    case 5:
        status = kg_session_take_back(w->session, &err);
        break;
    case 6:
        w->stop_after = (int)seeded_below(seed, 3);
        status = read_again(w, seeded_below(seed, 3) == 0, &err);
        kg_engine_go(w->engine[0]);
        w->stop_after = -1;
        break;
    case 7:
        status = seeded_below(seed, 2) ? kg_session_compact(w->session, &asked, &compaction, &err) : kg_session_uncompact(w->session, &err);
        status = status == KG_ERR_FORMAT ? KG_OK : status; /* it wrote no summary */
        break;
    case 8:
        branch_or_not(w, seed);
        break;
    case 9:
        close_it(w);
        if (seeded_below(seed, 2))
            lose_something(w, seed);
        open_as(w, KG_POLICY_RECALL);
        break;
    default:
        status = read_again(w, false, &err);
        break;
    }
    if (status != KG_OK && status != KG_ERR_FULL && status != KG_ERR_NOT_FOUND && status != KG_ERR_CANCELLED)
        fail_msg("%s", err.text);
}

static void whatever_is_done_it_stands_only_where_it_saw_all_before_it(void **state)
{
    struct world *w = *state;
    const char *rounds = getenv("CHECK_LONG");
    uint64_t seed = 3;
    unsigned again = 0, moved = 0, moved_before = 0;
    for (int round = rounds && *rounds == '1' ? 3000 : 250; round > 0; round--) {
        do_something(w, &seed);
        struct kg_counts counts;
        kg_session_counts(w->session, &counts);
        moved += counts.moved > moved_before;
        moved_before = counts.moved;
        assert_int_equal(kg_session_read_all(w->session, NULL), KG_OK);
        again += all_are_right(w, false);
        if (round % 8 == 0)
            others_find_first_readings(w);
    }
    printf("# %u times one was right that was read again; gaps were closed %u times\n", again, moved);
    assert_true(again > 20 && moved > 0);
}

/* Until it is killed. */
static void read_in_child(struct world *w, int ready)
{
    open_as(w, KG_POLICY_RECALL);
    if (write(ready, "x", 1) == 1)
        idle(w);
    kg_kv_store_flush(w->engine[0]->kv_store); /* which waits a while for more to write */
    pause();
    _exit(1);
}

static void a_process_that_dies_leaves_one_reading_or_the_other(void **state)
{
    struct world *w = *state;
    const char *rounds = getenv("CHECK_LONG");
    uint64_t seed = 7;
    unsigned old = 0, new = 0;
    for (int round = rounds && *rounds == '1' ? 200 : 12; round > 0; round--) {
        char sign;
        int ready[2];
        add_both(w);
        add(w, "c.h", third);
        add(w, "d.h", fourth);
        close_it(w);
        assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
        const pid_t child = fork();
        if (child == 0)
            read_in_child(w, ready[1]);
        close(ready[1]);
        assert_int_equal(read(ready[0], &sign, 1), 1);
        close(ready[0]);
        usleep(seeded_below(&seed, 500000));
        kill(child, SIGKILL);
        assert_int_equal(waitpid(child, NULL, 0), child);
        open_as(w, KG_POLICY_RECALL);
        const unsigned again = all_are_right(w, false);
        assert_int_equal(w->session->computed_ever, 0);
        old += !again;
        new += again > 0;
        idle(w);
        assert_int_equal(all_are_right(w, true), 3);
        assert_int_equal(kg_session_clear(w->session, NULL), KG_OK);
        assert_int_equal(kg_session_rename(w->session, "other", NULL), KG_OK);
        close_it(w);
        assert_int_equal(kg_sessions_remove(w->directory[0], "", "talk", NULL), KG_OK);
        assert_int_equal(kg_sessions_remove(w->directory[0], "", "other", NULL), KG_OK);
        assert_int_equal(kg_cache_remove(w->directory[0], 0, NULL), KG_OK);
        open_as(w, KG_POLICY_RECALL);
    }
    printf("# killed %u times before a file was read again, %u times behind\n", old, new);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(after_idling_it_is_what_reading_by_hand_gives),
        TEST(of_a_file_that_includes_others_too),
        TEST(the_first_file_is_read_once),
        TEST(resumed_it_needs_no_reading),
        TEST(the_first_reading_stays_in_the_cache),
        cmocka_unit_test_setup_teardown(it_ends_when_a_question_comes, set_up_long, tear_down),
        TEST(one_file_a_call_is),
        cmocka_unit_test_setup_teardown(a_long_file_is_read_once, set_up_long, tear_down),
        TEST(what_a_stopped_answer_saw_stays),
        TEST(what_is_brought_back_late_may_be_damaged),
        TEST(a_completion_sees_it_only_as_it_saw_what_stands),
        cmocka_unit_test_setup_teardown(a_completion_keeps_nothing_that_saw_what_is_lost, set_up_long, tear_down),
        TEST(it_goes_back_when_a_file_before_it_goes),
        TEST(it_goes_back_when_a_file_before_it_is_edited),
        TEST(an_edit_of_it_is_one_of_its_first_reading),
        TEST(when_the_cache_has_lost_it_the_first_reading_serves),
        TEST(when_it_is_lost_what_stands_behind_it_is_not_read),
        TEST(by_another_policy_nothing_is_read_again),
        TEST(nothing_is_read_again_behind_a_secret),
        TEST(what_begins_anew_begins_with_the_first_reading),
        TEST(whatever_is_done_it_stands_only_where_it_saw_all_before_it),
        TEST(a_process_that_dies_leaves_one_reading_or_the_other),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
