/* What was read again stands there only as long as all before it is what it saw: whatever goes, changes, is lost or damaged. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <sqlite3.h>

#include "engine/cache/kv_file.h"
#include "engine/fill.h"
#include "tests/faults/killed_process.h"
#include "tests/sessions/again_talk.h"
#include "tests/unit/seeded.h"

enum { FILES = 4, TEXT_MAX = 160 };

/* The last token of an answer that was as long as it may be is not read. */
static uint32_t last_tokens(const struct talk *t)
{
    return kg_block_tokens(t->session->pieces[t->session->count - 1].block);
}

/* A file stood between the two and has left a gap, which has to be closed for a question of such a length. */
static size_t leave_gap(struct talk *t)
{
    static const char gap[] = "qwrtzpsdfghjklyxcvbnmqwrtzpsdfghjklyxcvbnmqwrtzpsdfghjklyxcvbnmqwrtzpsdfg\n";
    talk_add(t, "a.h", "VIOLET_HARBOR 12ab\n");
    talk_add(t, "gap.txt", gap);
    talk_add(t, "b.h", "VIOLET_HOLLOW 93fe\n");
    assert_int_equal(kg_session_drop_file(t->session, "gap.txt", NULL), KG_OK);
    talk_idle(t);
    assert_true(talk_is_again(t, "b.h"));
    return kg_model_shape(t->engine[0]->model)->trained_length - (uint32_t)kg_sequence_end(t->session->sequence) + 8;
}

/* The first reading is wanted only when the question has moved it, and is damaged. */
static void what_is_brought_back_late_may_be_damaged(void **state)
{
    struct talk *t = *state;
    char question[sizeof talk_letters];
    snprintf(question, leave_gap(t), "%s", talk_letters);
    kg_kv_store_flush(t->engine[0]->kv_store);
    talk_change_cache(t, "UPDATE page SET kv = zeroblob(length(kv))");
    const unsigned moved = t->session->counts.moved;
    talk_ask(t, question, NULL);
    assert_true(t->session->counts.moved > moved && !talk_is_again(t, "b.h"));
    talk_files_are_right(t, false);
}

static void a_completion_sees_it_only_as_it_saw_what_stands(void **state)
{
    struct talk *t = *state, of_fill;
    struct kg_fill *fill = NULL;
    enum kg_end end;
    const size_t length = leave_gap(t);
    of_fill = *t;
    assert_int_equal(kg_fill_open(t->session, &(struct kg_fill_options){ .stored = true }, &fill, NULL), KG_OK);
    of_fill.session = fill->session;
    assert_true(talk_is_again(&of_fill, "b.h"));
    const struct kg_completion completion = { .prefix = talk_letters, .prefix_length = length, .max_tokens = 4 };
    assert_int_equal(kg_fill_complete(fill, &completion, &end, NULL, NULL), KG_OK);
    assert_true(fill->session->counts.moved > 0 && !talk_is_again(&of_fill, "b.h"));
    talk_files_are_right(&of_fill, false);
    assert_true(talk_is_again(t, "b.h"));
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
    struct talk *t = *state;
    char before[sizeof talk_letters], after[sizeof talk_letters], sql[128];
    struct of_file file = { .title = "b.h" };
    struct kg_fill *fill;
    memcpy(before, talk_letters, sizeof talk_letters);
    memcpy(after, talk_letters, sizeof talk_letters);
    memset(after + 100, 'k', 10);
    talk_add_both(t);
    talk_idle(t);
    fill = open_fill(t->session);
    const uint64_t whole = fill_in(fill, before);
    assert_in_range(fill_in(fill, after), 1, whole - 64); /* it goes on from a part of it */
    kg_fill_close(fill);
    talk_close(t);
    assert_int_equal(kg_cache_list(t->directory[0], take_ids, &file, NULL), KG_OK);
    snprintf(sql, sizeof sql, "UPDATE page SET kv = zeroblob(length(kv)) WHERE id >> 32 = %lld", (long long)file.ids[1]);
    talk_change_cache(t, sql);
    talk_open(t, KG_POLICY_RECALL);
    assert_true(talk_is_again(t, "b.h"));
    fill = open_fill(t->session);
    assert_in_range(fill_in(fill, before), 1, whole - 64);
    assert_int_equal(fill_in(fill, after), whole);
    kg_fill_close(fill);
}

static void it_goes_back_when_a_file_before_it_goes(void **state)
{
    struct talk *t = *state;
    talk_add_both(t);
    talk_idle(t);
    const uint64_t ever = t->session->computed_ever;
    assert_int_equal(kg_session_drop_file(t->session, "a.h", NULL), KG_OK);
    assert_false(talk_is_again(t, "b.h"));
    talk_files_are_right(t, true);
    assert_int_equal(t->session->computed_ever, ever);
    talk_reopen(t);
    assert_false(talk_is_again(t, "b.h"));
    talk_files_are_right(t, true);
    assert_int_equal(t->session->computed_ever, 0);
}

static void it_goes_back_when_a_file_before_it_is_edited(void **state)
{
    struct talk *t = *state;
    char edited[TEXT_MAX];
    talk_add_both(t);
    talk_idle(t);
    snprintf(edited, sizeof edited, "%s/* VIOLET_HAT */\n", talk_first);
    talk_add(t, "a.h", edited);
    assert_false(talk_is_again(t, "b.h"));
    talk_files_are_right(t, false);
    assert_true(talk_piece(t, "a.h")->base > talk_piece(t, "b.h")->base);
    if (!kg_file_is_patched(t->session, talk_index_of(t, "a.h")))
        assert_true(talk_idle(t) > 0 && talk_is_again(t, "a.h"));
    talk_files_are_right(t, true);
}

/* As one that was never read again. */
static void an_edit_of_it_is_one_of_its_first_reading(void **state)
{
    struct talk *t = *state;
    char edited[TEXT_MAX];
    snprintf(edited, sizeof edited, "%s/* k */\n", talk_second);
    uint64_t computed[2];
    for (int again = 0; again < 2; again++) {
        talk_add_both(t);
        if (again)
            talk_idle(t);
        assert_int_equal(talk_is_again(t, "b.h"), again);
        const uint64_t before = t->session->computed_ever;
        talk_add(t, "b.h", edited);
        computed[again] = t->session->computed_ever - before;
        assert_false(talk_is_again(t, "b.h"));
        talk_files_are_right(t, false);
        assert_int_equal(kg_session_drop_file(t->session, "b.h", NULL), KG_OK);
        talk_close(t);
        kg_cache_remove(t->directory[0], 0, NULL);
        talk_open(t, KG_POLICY_RECALL);
        assert_int_equal(kg_session_drop_file(t->session, "a.h", NULL), KG_OK);
    }
    assert_true(computed[0] > 0 && computed[0] == computed[1]);
}

/* Both are closed and opened again. */
static void lose(struct talk *t, const char *title, bool first_reading, bool read_again)
{
    struct of_file file = { .title = title };
    talk_close(t);
    assert_int_equal(kg_cache_list(t->directory[0], take_ids, &file, NULL), KG_OK);
    for (int i = 0; i < 2; i++) {
        assert_true(file.ids[i] > 0);
        if (i ? read_again : first_reading)
            assert_int_equal(kg_cache_remove(t->directory[0], file.ids[i], NULL), KG_OK);
    }
    talk_open(t, KG_POLICY_RECALL);
}

/* What the cache has lost of it is the first thing that may go: the first reading is there. */
static void when_the_cache_has_lost_it_the_first_reading_serves(void **state)
{
    struct talk *t = *state;
    talk_add_both(t);
    talk_idle(t);
    talk_ask(t, "HOLLOW?", NULL);
    lose(t, "b.h", false, true);
    assert_false(talk_is_again(t, "b.h"));
    assert_int_equal(kg_session_read_all(t->session, NULL), KG_OK);
    talk_files_are_right(t, false);
    assert_true(t->session->computed_ever <= last_tokens(t)); /* the turn is what it was as well */
    assert_true(talk_idle(t) > 0 && talk_is_again(t, "b.h"));
    talk_close(t);
    assert_int_equal(kg_cache_remove(t->directory[0], 0, NULL), KG_OK);
    talk_open(t, KG_POLICY_RECALL);
    assert_false(talk_is_again(t, "b.h"));
    assert_true(talk_ask(t, "HOLLOW?", NULL) > kg_block_tokens(talk_piece(t, "b.h")->block));
    talk_files_are_right(t, false);
}

/* What turns and answers, also stopped ones, saw of it stays what they saw, and a file that includes nothing comes back as it was. */
static void when_it_is_lost_what_stands_behind_it_is_not_read(void **state)
{
    struct talk *t = *state;
    for (int both = 0; both < 2; both++) {
        talk_add_both(t);
        talk_add(t, "c.h", "VIOLET_HOLSTER 17\nVIOLET_HARBINGER 18\n");
        talk_idle(t);
        talk_ask_and_stop(t);
        talk_ask(t, "HOLLOW?", NULL);
        assert_true(talk_is_again(t, "b.h") && talk_is_again(t, "c.h"));
        const uint32_t tokens = both ? kg_block_tokens(talk_piece(t, "b.h")->block) : 0;
        lose(t, "b.h", both, true);
        assert_false(talk_is_again(t, "b.h") || talk_is_again(t, "c.h"));
        assert_int_equal(kg_session_read_all(t->session, NULL), KG_OK);
        talk_files_are_right(t, false);
        assert_in_range(t->session->computed_ever, tokens, tokens + last_tokens(t));
        talk_nothing_is_outdated(t);
        talk_reopen(t); /* that it was lost is known then, too */
        assert_int_equal(kg_session_read_all(t->session, NULL), KG_OK);
        assert_in_range(t->session->computed_ever, 0, last_tokens(t));
        talk_nothing_is_outdated(t);
        talk_close(t);
        assert_int_equal(kg_sessions_remove(t->directory[0], "", "talk", NULL), KG_OK);
        talk_open(t, KG_POLICY_RECALL);
    }
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

static void branch_or_not(struct talk *t, uint64_t *seed)
{
    const size_t parts = kg_session_parts(t->session);
    if (parts > 1)
        assert_int_equal(kg_session_branch(t->session, 1 + seeded_below(seed, (uint32_t)parts), "talk", NULL), KG_OK);
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

static void lose_something(const struct talk *t, uint64_t *seed)
{
    struct ids ids = { .count = 0 };
    assert_int_equal(kg_cache_list(t->directory[0], take_any, &ids, NULL), KG_OK);
    if (ids.count)
        assert_int_equal(kg_cache_remove(t->directory[0], ids.ids[seeded_below(seed, (uint32_t)ids.count)], NULL), KG_OK);
}

static enum kg_status read_again(struct talk *t, bool once, struct kg_error *err)
{
    size_t next = 0;
    enum kg_status status;
    do
        status = kg_session_read_again(t->session, &next, NULL, err);
    while (status == KG_OK && next && !once);
    return status;
}

/* Every file in context, as any other conversation finds it in the cache. */
static void others_find_first_readings(const struct talk *t)
{
    for (size_t i = 0; i < t->session->count; i++) {
        const struct kg_piece *piece = &t->session->pieces[i];
        struct kg_session *other = NULL;
        if (piece->kind != KG_BLOCK_FILE || !piece->block || piece->continues || kg_file_is_patched(t->session, i))
            continue;
        assert_int_equal(kg_session_open(t->engine[0], &(struct kg_session_options){ .unsaved = true }, &other, NULL), KG_OK);
        assert_int_equal(kg_session_add_file(other, piece->label, piece->text, piece->length, false, NULL), KG_OK);
        struct kg_session *alone = talk_read_alone(t, piece->text, piece->length);
        talk_blocks_are_the_same(other->pieces[other->count - 1].block, alone->pieces[alone->count - 1].block);
        kg_session_close(other);
        kg_session_close(alone);
    }
}

static void what_was_lost_does_not_outdate_what_is_said_behind_it(void **state)
{
    struct talk *t = *state;
    talk_add_both(t);
    talk_add(t, "c.h", "VIOLET_HOLSTER 17\nVIOLET_HARBINGER 18\n");
    talk_idle(t);
    lose(t, "c.h", false, true);
    assert_int_equal(kg_session_drop_file(t->session, "a.h", NULL), KG_OK);
    talk_idle(t);
    assert_true(!talk_is_again(t, "b.h") && talk_is_again(t, "c.h"));
    talk_ask(t, "HOLLOW?", NULL);
    talk_nothing_is_outdated(t);
    talk_reopen(t);
    talk_nothing_is_outdated(t);
}

static bool is_used(const struct talk *t, const char *title, int again)
{
    struct of_file file = { .title = title };
    kg_kv_store_flush(t->engine[0]->kv_store);
    assert_int_equal(kg_cache_list(t->directory[0], take_ids, &file, NULL), KG_OK);
    assert_true(file.ids[again] > 0);
    return kg_kv_in_use(t->engine[0]->kv_store, file.ids[again]);
}

/* As long as it may be wanted back: here, in a fork, and in a conversation that is gone on with. */
static void the_cache_keeps_the_first_reading(void **state)
{
    struct talk *t = *state;
    talk_add_both(t);
    talk_idle(t);
    for (int resumed = 0; resumed < 2; resumed++) {
        assert_true(is_used(t, "b.h", 0) && is_used(t, "b.h", 1));
        struct kg_fill *fill = open_fill(t->session);
        kg_fill_close(fill);
        assert_true(is_used(t, "b.h", 0) && is_used(t, "b.h", 1));
        talk_reopen(t);
    }
    assert_int_equal(kg_session_drop_file(t->session, "a.h", NULL), KG_OK);
    assert_true(is_used(t, "b.h", 0) && !is_used(t, "b.h", 1));
    assert_int_equal(kg_session_drop_file(t->session, "b.h", NULL), KG_OK);
    assert_false(is_used(t, "b.h", 0));
}

static int count_again(void *ctx, const struct kg_cached_block *block)
{
    *(unsigned *)ctx += strcmp(block->kind, KG_KV_AGAIN) == 0;
    return 0;
}

static void what_stands_no_longer_is_removed(void **state)
{
    struct talk *t = *state;
    char edited[TEXT_MAX];
    talk_add_both(t);
    talk_add(t, "c.h", talk_third);
    talk_add(t, "d.h", talk_fourth);
    for (int edit = 0; edit < 4; edit++) {
        unsigned count = 0;
        talk_idle(t);
        kg_kv_store_flush(t->engine[0]->kv_store);
        assert_int_equal(kg_cache_list(t->directory[0], count_again, &count, NULL), KG_OK);
        assert_int_equal(count, talk_files_are_right(t, true));
        snprintf(edited, sizeof edited, "%s/* %d */\n", talk_first, edit);
        talk_add(t, "a.h", edited);
    }
}

/* The summary is taken back: what was read again is there. */
static void what_comes_back_was_not_removed(void **state)
{
    struct talk *t = *state;
    struct kg_error err;
    struct kg_compaction compaction;
    const struct kg_question asked = { .sampling = kg_sampling_greedy() };
    talk_add(t, "a.h", talk_first);
    talk_ask(t, "HARBOR?", NULL);
    talk_ask(t, "HOLLOW?", NULL);
    talk_add(t, "b.h", talk_letters);
    assert_true(talk_idle(t) > 300);
    assert_int_equal(kg_session_compact(t->session, &asked, &compaction, &err), KG_OK);
    assert_false(talk_is_again(t, "b.h"));
    assert_int_equal(kg_session_uncompact(t->session, &err), KG_OK);
    assert_true(talk_idle(t) < 100 && talk_is_again(t, "b.h"));
}

/* What a branch does not want any more, the conversation that it came from may. */
static void another_conversation_keeps_what_was_read_again(void **state)
{
    struct talk *t = *state;
    talk_add_both(t);
    assert_true(talk_idle(t) > 0);
    assert_int_equal(kg_session_branch(t->session, SIZE_MAX, "other", NULL), KG_OK);
    assert_int_equal(kg_session_drop_file(t->session, "a.h", NULL), KG_OK);
    talk_idle(t);
    talk_reopen(t);
    assert_true(talk_is_again(t, "b.h"));
    assert_int_equal(talk_idle(t), 0);
}

/* A file of some 6,000 tokens. */
static void add_large(struct talk *t, const char *path, uint64_t seed, const char *included)
{
    static char text[6041];
    size_t at = 0;
    while (at < 6000)
        for (unsigned k = 0; k < 40; k++)
            text[at++] = k == 39 ? '\n' : (char)('a' + seeded_below(&seed, 26));
    text[at] = '\0';
    talk_add_including(t, path, text, included);
}

/* Where three files fill most of the cache nothing is read again, and what has been read stays. */
static void what_does_not_fit_is_read_once(void **state)
{
    struct talk *t = *state;
    for (int roomy = 0; roomy < 2; roomy++) {
        talk_close(t);
        assert_int_equal(kg_sessions_remove(t->directory[0], "", "talk", NULL), KG_OK);
        assert_int_equal(kg_cache_remove(t->directory[0], 0, NULL), KG_OK);
        t->budget = roomy ? 20000000 : 4500000;
        talk_open(t, KG_POLICY_RECALL);
        add_large(t, "a.h", 1, NULL);
        add_large(t, "b.h", 2, talk_third);
        add_large(t, "c.h", 3, talk_third);
        assert_int_equal(talk_idle(t) > 0, roomy);
        assert_int_equal(kg_session_drop_file(t->session, "a.h", NULL), KG_OK);
        assert_true(talk_ask(t, "HOLLOW?", NULL) < 60);
        assert_int_equal(talk_piece(t, "b.h")->rule, KG_READ_LINKED);
        assert_null(kg_kv_store_notice(t->engine[0]->kv_store));
        talk_reopen(t);
        assert_int_equal(kg_session_read_all(t->session, NULL), KG_OK);
        assert_true(t->session->computed_ever <= last_tokens(t));
    }
}

/* The person or time does something; nothing of it may fail but for want of room, or of what it is done to. */
static void do_something(struct talk *t, uint64_t *seed)
{
    char path[] = "0.h", text[TEXT_MAX];
    struct kg_error err = { .text = "" };
    enum kg_end end;
    const struct kg_question asked = { .text = "what?", .length = 5, .max_tokens = 3, .sampling = kg_sampling_greedy() },
                             stopped = { .text = "who?", .length = 4, .max_tokens = 9, .sampling = kg_sampling_greedy(), .text_out = talk_stop, .ctx = t };
    struct kg_compaction compaction;
    enum kg_status status = KG_OK;
    path[0] = (char)('0' + seeded_below(seed, FILES));
    switch (seeded_below(seed, 12)) {
    case 0:
    case 1:
    case 2:
        random_text(seed, text);
        status = kg_session_add_file(t->session, path, text, strlen(text), false, &err);
        break;
    case 3:
        status = kg_session_drop_file(t->session, path, &err);
        break;
    case 4:
        t->stop_after = seeded_below(seed, 4) ? -1 : (int)seeded_below(seed, 3);
        status = kg_session_ask(t->session, seeded_below(seed, 4) ? &asked : &stopped, &end, &err);
        kg_engine_go(t->engine[0]);
        t->stop_after = -1;
        break;
    case 5:
        status = kg_session_take_back(t->session, &err);
        break;
    case 6:
        t->stop_after = (int)seeded_below(seed, 3);
        status = read_again(t, seeded_below(seed, 3) == 0, &err);
        kg_engine_go(t->engine[0]);
        t->stop_after = -1;
        break;
    case 7:
        status = seeded_below(seed, 2) ? kg_session_compact(t->session, &asked, &compaction, &err) : kg_session_uncompact(t->session, &err);
        status = status == KG_ERR_FORMAT ? KG_OK : status; /* it wrote no summary */
        break;
    case 8:
        branch_or_not(t, seed);
        break;
    case 9:
        talk_close(t);
        if (seeded_below(seed, 2))
            lose_something(t, seed);
        talk_open(t, KG_POLICY_RECALL);
        break;
    default:
        status = read_again(t, false, &err);
        break;
    }
    if (status != KG_OK && status != KG_ERR_FULL && status != KG_ERR_NOT_FOUND && status != KG_ERR_CANCELLED)
        fail_msg("%s", err.text);
}

static void whatever_is_done_it_stands_only_where_it_saw_all_before_it(void **state)
{
    struct talk *t = *state;
    const char *rounds = getenv("CHECK_LONG");
    uint64_t seed = 3;
    unsigned again = 0, moved = 0, moved_before = 0;
    for (int round = rounds && *rounds == '1' ? 3000 : 250; round > 0; round--) {
        do_something(t, &seed);
        struct kg_counts counts;
        kg_session_counts(t->session, &counts);
        moved += counts.moved > moved_before;
        moved_before = counts.moved;
        assert_int_equal(kg_session_read_all(t->session, NULL), KG_OK);
        again += talk_files_are_right(t, false);
        if (round % 8 == 0)
            others_find_first_readings(t);
    }
    printf("# %u times one was right that was read again; gaps were closed %u times\n", again, moved);
    assert_true(again > 20 && moved > 0);
}

/* Until it is killed. */
static void read_in_child(void *ctx, int tell)
{
    struct talk *t = ctx;
    talk_open(t, KG_POLICY_RECALL);
    if (write(tell, "x", 1) == 1)
        talk_idle(t);
    kg_kv_store_flush(t->engine[0]->kv_store); /* which waits a while for more to write */
    pause();
}

static void a_process_that_dies_leaves_one_reading_or_the_other(void **state)
{
    struct talk *t = *state;
    const char *rounds = getenv("CHECK_LONG");
    uint64_t seed = 7;
    unsigned old = 0, new = 0;
    for (int round = rounds && *rounds == '1' ? 200 : 12; round > 0; round--) {
        talk_add_both(t);
        talk_add(t, "c.h", talk_third);
        talk_add(t, "d.h", talk_fourth);
        talk_close(t);
        close(killed_process(read_in_child, t, KILLED_FROM_WORD, seeded_below(&seed, 500000)));
        talk_open(t, KG_POLICY_RECALL);
        const unsigned again = talk_files_are_right(t, false);
        assert_int_equal(t->session->computed_ever, 0);
        old += !again;
        new += again > 0;
        talk_idle(t);
        assert_int_equal(talk_files_are_right(t, true), 3);
        assert_int_equal(kg_session_clear(t->session, NULL), KG_OK);
        assert_int_equal(kg_session_rename(t->session, "other", NULL), KG_OK);
        talk_close(t);
        assert_int_equal(kg_sessions_remove(t->directory[0], "", "talk", NULL), KG_OK);
        assert_int_equal(kg_sessions_remove(t->directory[0], "", "other", NULL), KG_OK);
        assert_int_equal(kg_cache_remove(t->directory[0], 0, NULL), KG_OK);
        talk_open(t, KG_POLICY_RECALL);
    }
    printf("# killed %u times before a file was read again, %u times behind\n", old, new);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TALK_TEST(what_is_brought_back_late_may_be_damaged),
        TALK_TEST(a_completion_sees_it_only_as_it_saw_what_stands),
        TALK_LONG_TEST(a_completion_keeps_nothing_that_saw_what_is_lost),
        TALK_TEST(it_goes_back_when_a_file_before_it_goes),
        TALK_TEST(it_goes_back_when_a_file_before_it_is_edited),
        TALK_TEST(an_edit_of_it_is_one_of_its_first_reading),
        TALK_TEST(when_the_cache_has_lost_it_the_first_reading_serves),
        TALK_TEST(when_it_is_lost_what_stands_behind_it_is_not_read),
        TALK_TEST(what_was_lost_does_not_outdate_what_is_said_behind_it),
        TALK_TEST(the_cache_keeps_the_first_reading),
        TALK_TEST(what_stands_no_longer_is_removed),
        TALK_LONG_TEST(what_comes_back_was_not_removed),
        TALK_TEST(another_conversation_keeps_what_was_read_again),
        TALK_LONG_TEST(what_does_not_fit_is_read_once),
        TALK_TEST(whatever_is_done_it_stands_only_where_it_saw_all_before_it),
        TALK_TEST(a_process_that_dies_leaves_one_reading_or_the_other),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
