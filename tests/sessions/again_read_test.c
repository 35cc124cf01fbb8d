/* A file is read again in sight of all before it: when, and that it is what a reading by hand gives; nothing else changes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/sessions/again_talk.h"
#include "tests/unit/seeded.h"

static uint32_t told_again(const struct talk *t, const char *path)
{
    for (size_t i = 0; i < kg_session_parts(t->session); i++) {
        const struct kg_part part = kg_session_part(t->session, i);
        if (part.kind == KG_PART_FILE && !part.dropped && strcmp(part.label, path) == 0)
            return part.again;
    }
    return UINT32_MAX;
}

static void after_idling_it_is_what_reading_by_hand_gives(void **state)
{
    struct talk *t = *state;
    talk_add_both(t);
    const struct kg_piece before = *talk_piece(t, "b.h");
    struct kg_block *clean = kg_block_keep(before.block);
    const uint64_t computed = t->session->computed_since, read = talk_idle(t);
    assert_true(!talk_is_again(t, "a.h") && talk_is_again(t, "b.h"));
    assert_true(read == kg_block_tokens(clean) && read == told_again(t, "b.h") && told_again(t, "a.h") == 0);
    talk_is_as_by_hand(t, talk_index_of(t, "b.h"), clean);
    assert_int_equal(talk_piece(t, "b.h")->base, before.base);
    assert_int_equal(t->session->computed_since, computed); /* nobody waited for it */
    assert_int_equal(talk_idle(t), 0);
    kg_block_release(clean);
}

/* It sees what the file includes no longer, and what stands before it. */
static void of_a_file_that_includes_others_too(void **state)
{
    struct talk *t = *state;
    talk_add(t, "a.h", talk_first);
    talk_add_including(t, "b.h", talk_second, talk_third);
    assert_int_equal(talk_piece(t, "b.h")->rule, KG_READ_LINKED);
    struct kg_block *clean = kg_block_keep(talk_piece(t, "b.h")->block);
    assert_true(talk_idle(t) > 0 && talk_is_again(t, "b.h") && talk_piece(t, "b.h")->kept_linked);
    talk_is_as_by_hand(t, talk_index_of(t, "b.h"), clean);
    kg_block_release(clean);
    talk_reopen(t);
    assert_true(talk_is_again(t, "b.h") && talk_piece(t, "b.h")->kept_linked);
    kg_session_drop_file(t->session, "a.h", NULL);
    assert_int_equal(talk_piece(t, "b.h")->rule, KG_READ_LINKED);
    assert_int_equal(talk_ask(t, "What?", NULL) > 100, 0);
    assert_int_equal(talk_piece(t, "b.h")->rule, KG_READ_LINKED); /* the cache had it */
}

/* Nothing stands before it that it has not seen but what is said. */
static void the_first_file_is_read_once(void **state)
{
    struct talk *t = *state;
    talk_add(t, "a.h", talk_first);
    talk_ask(t, "HARBOR?", NULL);
    talk_idle(t); /* the answer's last token */
    assert_int_equal(talk_idle(t), 0);
    assert_false(talk_is_again(t, "a.h"));
}

static void resumed_it_needs_no_reading(void **state)
{
    struct talk *t = *state;
    char *answers[2];
    talk_add_both(t);
    talk_idle(t);
    struct kg_session *alone = talk_read_alone(t, talk_second, strlen(talk_second));
    const struct kg_digest name = talk_piece(t, "b.h")->identity;
    talk_reopen(t);
    assert_true(talk_is_again(t, "b.h"));
    assert_memory_equal(&talk_piece(t, "b.h")->identity, &name, sizeof name);
    talk_is_as_by_hand(t, talk_index_of(t, "b.h"), alone->pieces[alone->count - 1].block);
    const uint64_t asked = talk_ask(t, "HOLLOW?", &answers[0]);
    talk_reopen(t); /* with a turn behind it */
    assert_true(talk_is_again(t, "b.h"));
    assert_int_equal(kg_session_take_back(t->session, NULL), KG_OK);
    assert_true(talk_is_again(t, "b.h"));
    assert_true(talk_ask(t, "HOLLOW?", &answers[1]) <= asked);
    assert_string_equal(answers[0], answers[1]);
    assert_true(asked < 60 && talk_idle(t) == 0); /* of the question */
    for (int i = 0; i < 2; i++)
        free(answers[i]);
    kg_session_close(alone);
}

/* What it was before serves every other conversation. */
static void the_first_reading_stays_in_the_cache(void **state)
{
    struct talk *t = *state;
    struct kg_session *other = NULL;
    talk_add_both(t);
    talk_idle(t);
    assert_int_equal(kg_session_open(t->engine[0], &(struct kg_session_options){ .unsaved = true }, &other, NULL), KG_OK);
    const uint64_t ever = other->computed_ever;
    assert_int_equal(kg_session_add_file(other, "b.h", talk_second, strlen(talk_second), false, NULL), KG_OK);
    assert_int_equal(other->computed_ever, ever);
    struct kg_session *alone = talk_read_alone(t, talk_second, strlen(talk_second));
    talk_blocks_are_the_same(other->pieces[other->count - 1].block, alone->pieces[alone->count - 1].block);
    kg_session_close(other);
    kg_session_close(alone);
}

/* A question while it is read is answered by what stands there; what was read until then is not read again. */
static void it_ends_when_a_question_comes(void **state)
{
    struct talk *t = *state;
    struct kg_error err;
    uint64_t computed = 0;
    talk_add(t, "a.h", talk_first);
    talk_add(t, "b.h", talk_letters);
    t->stop_after = 0;
    assert_int_equal(kg_session_read_again(t->session, &(size_t){ 0 }, &computed, &err), KG_ERR_CANCELLED);
    assert_true(computed > 0 && computed < kg_block_tokens(talk_piece(t, "b.h")->block) && !talk_is_again(t, "b.h"));
    kg_engine_go(t->engine[0]);
    assert_true(talk_ask(t, "HOLLOW?", NULL) < 60);
    talk_files_are_right(t, false);
    talk_nothing_is_outdated(t);
    computed += talk_idle(t);
    assert_int_equal(computed, told_again(t, "b.h"));
    assert_int_equal(talk_files_are_right(t, true), 1);
    talk_nothing_is_outdated(t); /* the turn saw it as it was */
    talk_reopen(t);
    assert_true(talk_is_again(t, "b.h"));
    assert_true(talk_ask(t, "STOOL?", NULL) < 60);
    talk_nothing_is_outdated(t);
    assert_int_equal(kg_session_drop_file(t->session, "a.h", &err), KG_OK);
    unsigned outdated = 0;
    for (size_t i = 0; i < kg_session_parts(t->session); i++)
        outdated += kg_session_outdated(t->session, i) != NULL;
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
    struct talk *t = *state;
    size_t next = 0;
    int64_t id = 0;
    talk_add(t, "a.h", "VIOLET_HARBOR 12ab\nAMBER_STONE 99\n");
    talk_add(t, "b.h", talk_second);
    talk_add(t, "c.h", "qwrtzpsdfghjklyxcvbnmqwrtzpsdfghjklyxcvbnm\nAMBER_STOOL 88\n");
    assert_int_equal(kg_session_read_again(t->session, &next, NULL, NULL), KG_OK);
    assert_true(next > 0 && talk_is_again(t, "b.h") && !talk_is_again(t, "c.h"));
    assert_int_equal(kg_session_read_again(t->session, &next, NULL, NULL), KG_OK);
    assert_true(next > 0 && talk_is_again(t, "c.h"));
    assert_int_equal(kg_session_read_again(t->session, &next, NULL, NULL), KG_OK);
    assert_int_equal(next, 0);
    assert_int_equal(kg_session_drop_file(t->session, "a.h", NULL), KG_OK);
    talk_add(t, "d.h", "VIOLET_HARBOR 12ab\nAMBER_STONE 99\n"); /* the text that was read first */
    talk_add(t, "e.h", "double cube;\nAMBER_STOOD 77\n");
    kg_kv_store_flush(t->engine[0]->kv_store);
    assert_int_equal(kg_cache_list(t->directory[0], take_first, &id, NULL), KG_OK);
    assert_true(id > 0);
    assert_int_equal(kg_cache_remove(t->directory[0], id, NULL), KG_OK);
    talk_idle(t);
    assert_true(talk_is_again(t, "c.h") && !talk_is_again(t, "d.h") && !talk_is_again(t, "e.h"));
    talk_files_are_right(t, false);
    talk_reopen(t);
    assert_int_equal(kg_session_read_all(t->session, NULL), KG_OK);
    talk_idle(t);
    assert_int_equal(talk_files_are_right(t, true), 3);
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

static int take_second_part(void *ctx, const struct kg_cached_block *block)
{
    int64_t *id = ctx;
    if (strcmp(block->title, "b.c") == 0 && strcmp(block->kind, KG_KV_AGAIN) != 0 && block->tokens < 4096)
        *id = block->id;
    return 0;
}

static void is_as_alone(const struct talk *t, const char *path, const struct kg_session *alone)
{
    const struct kg_piece *parts = talk_piece(t, path), *others = &alone->pieces[alone->count - 2];
    for (size_t i = 0; i < 2; i++)
        talk_blocks_are_the_same(parts[i].block, others[i].block);
}

/* A part a call, each in sight of all before it as it stands; resumed in between, too. */
static void a_long_file_is_read_again_part_after_part(void **state)
{
    struct talk *t = *state;
    char *text = write_long("VIOLET_HOLLOW 93fe\n\n", "AMBER_STOOL 88\n\n");
    struct kg_session *alone = talk_read_alone(t, text, strlen(text));
    const struct kg_piece *clean = &alone->pieces[alone->count - 2];
    talk_add(t, "a.h", talk_first);
    talk_add(t, "b.c", text);
    const size_t at = talk_index_of(t, "b.c");
    assert_true(t->session->pieces[at + 1].continues);
    for (size_t read = 1; read <= 2; read++) {
        size_t next = 0;
        assert_int_equal(kg_session_read_again(t->session, &next, NULL, NULL), KG_OK);
        assert_true(next > 0);
        talk_reopen(t);
        assert_int_equal(t->session->computed_ever, 0);
        for (size_t part = 0; part < 2; part++) {
            assert_int_equal(t->session->pieces[at + part].rule == KG_READ_AGAIN, part < read);
            if (part < read)
                talk_is_as_by_hand(t, at + part, clean[part].block);
            else
                talk_blocks_are_the_same(t->session->pieces[at + part].block, clean[part].block);
        }
    }
    assert_int_equal(talk_idle(t), 0);
    assert_int_equal(told_again(t, "b.c"), kg_block_tokens(clean[0].block) + kg_block_tokens(clean[1].block));
    assert_int_equal(kg_session_drop_file(t->session, "a.h", NULL), KG_OK);
    is_as_alone(t, "b.c", alone);
    assert_int_equal(t->session->computed_ever, 0);
    kg_session_close(alone);
    free(text);
}

static void lose_second_part(struct talk *t)
{
    int64_t part = 0;
    talk_close(t);
    assert_int_equal(kg_cache_list(t->directory[0], take_second_part, &part, NULL), KG_OK);
    assert_true(part > 0);
    assert_int_equal(kg_cache_remove(t->directory[0], part, NULL), KG_OK);
    talk_open(t, KG_POLICY_RECALL);
}

/* Its later parts see the first reading of those before them, whenever they are read, and all of it: some of that may be damaged. */
static void a_part_is_read_behind_first_readings(void **state)
{
    struct talk *t = *state;
    char *text = write_long("", "");
    struct kg_session *alone = talk_read_alone(t, text, strlen(text)), *other = NULL;
    for (int damaged = 0; damaged < 2; damaged++) {
        talk_add(t, "a.h", talk_first);
        talk_add(t, "b.c", text);
        assert_int_equal(kg_session_read_again(t->session, &(size_t){ 0 }, NULL, NULL), KG_OK);
        const uint32_t tokens = kg_block_tokens(talk_piece(t, "b.c")[1].block);
        lose_second_part(t);
        if (damaged) {
            talk_close(t);
            talk_change_cache(t, "UPDATE page SET sum = sum + 1 WHERE id IN (SELECT page.id FROM page, block WHERE page.id >> 32 = block.id"
                                 " AND title = 'b.c' AND kind = 'file' ORDER BY page.id DESC LIMIT 20)");
            talk_open(t, KG_POLICY_RECALL);
        }
        assert_true(talk_is_again(t, "b.c"));
        assert_int_equal(kg_session_read_all(t->session, NULL), KG_OK);
        assert_true(damaged ? t->session->computed_ever > tokens : t->session->computed_ever == tokens);
        assert_int_equal(t->session->reading_done, t->session->reading_total);
        is_as_alone(t, "b.c", alone);
        assert_int_equal(kg_session_open(t->engine[0], &(struct kg_session_options){ .unsaved = true }, &other, NULL), KG_OK);
        const uint64_t ever = other->computed_ever;
        assert_int_equal(kg_session_add_file(other, "b.c", text, strlen(text), false, NULL), KG_OK);
        assert_int_equal(other->computed_ever, ever);
        for (size_t i = 1; i <= 2; i++)
            talk_blocks_are_the_same(other->pieces[other->count - i].block, alone->pieces[alone->count - i].block);
        kg_session_close(other);
        talk_idle(t);
        assert_true(talk_is_again(t, "b.c") && talk_piece(t, "b.c")[1].rule == KG_READ_AGAIN);
        talk_close(t);
        assert_int_equal(kg_sessions_remove(t->directory[0], "", "talk", NULL), KG_OK);
        assert_int_equal(kg_cache_remove(t->directory[0], 0, NULL), KG_OK);
        talk_open(t, KG_POLICY_RECALL);
    }
    kg_session_close(alone);
    free(text);
}

/* Lost while the part before it is read again, it is another reading from then on; whose name says what it sees, also where that is
 * another one as well. */
static void a_part_is_named_by_first_readings(void **state)
{
    struct talk *t = *state;
    char *text = write_long("", "");
    for (int both = 0; both < 2; both++) {
        talk_add(t, "a.h", talk_first);
        talk_add_including(t, "b.c", text, talk_third);
        assert_int_equal(kg_session_read_again(t->session, &(size_t){ 0 }, NULL, NULL), KG_OK);
        lose_second_part(t);
        if (both) {
            talk_close(t);
            talk_change_cache(t, "DELETE FROM block WHERE title = 'b.c' AND kind = 'file'");
            talk_open(t, KG_POLICY_RECALL);
        }
        const size_t at = talk_index_of(t, "b.c") + 1;
        const struct kg_piece *part = &t->session->pieces[at];
        assert_true(talk_is_again(t, "b.c") && part->rule == KG_READ_ALONE);
        assert_int_equal(kg_session_read_all(t->session, NULL), KG_OK);
        assert_true(part[-1].rule == (both ? KG_READ_ALONE : KG_READ_LINKED));
        const struct kg_digest name = kg_piece_identity(t->session, at, part->base, kg_block_ids(part->block), kg_block_tokens(part->block));
        assert_memory_equal(&name, &part->identity, sizeof name);
        talk_close(t);
        assert_int_equal(kg_sessions_remove(t->directory[0], "", "talk", NULL), KG_OK);
        assert_int_equal(kg_cache_remove(t->directory[0], 0, NULL), KG_OK);
        talk_open(t, KG_POLICY_RECALL);
    }
    free(text);
}

/* Until all of it is read, and nothing behind it. */
static void a_long_file_is_read_once_first(void **state)
{
    struct talk *t = *state;
    char *text = write_long("VIOLET_HOLLOW 93fe\n\n", "AMBER_STOOL 88\n\n");
    struct kg_session *alone = talk_read_alone(t, text, strlen(text));
    talk_add(t, "a.h", "VIOLET_HARBOR 12ab\nAMBER_STONE 99\nCOPPER_MINTAGE_HIGH 31\n");
    t->stop_after = 34; /* in its second part */
    assert_int_equal(kg_session_add_file(t->session, "b.c", text, strlen(text), false, NULL), KG_ERR_CANCELLED);
    kg_engine_go(t->engine[0]);
    const struct kg_piece *parts = talk_piece(t, "b.c");
    assert_true(parts[1].continues && kg_block_ready(parts[0].block) == kg_block_tokens(parts[0].block) && kg_block_ready(parts[1].block) < kg_block_tokens(parts[1].block));
    assert_int_equal(talk_idle(t), 0);
    talk_reopen(t);
    assert_int_equal(talk_idle(t), 0);
    assert_int_equal(kg_session_read_all(t->session, NULL), KG_OK);
    is_as_alone(t, "b.c", alone);
    assert_int_equal(talk_idle(t), kg_block_tokens(talk_piece(t, "b.c")[0].block) + kg_block_tokens(talk_piece(t, "b.c")[1].block));
    kg_session_close(alone);
    free(text);
}

/* Also where it was stopped before a file was read again, and goes on before or behind that. */
static void what_a_stopped_answer_saw_stays(void **state)
{
    struct talk *t = *state;
    for (int idle_first = 0; idle_first < 2; idle_first++) {
        talk_add_both(t);
        assert_false(talk_is_again(t, "b.h"));
        talk_ask_and_stop(t);
        const size_t stopped = t->session->count - 1;
        const struct kg_digest name = t->session->pieces[stopped].identity;
        assert_true(t->session->pieces[stopped].partial && !t->session->pieces[stopped].growing);
        if (idle_first)
            talk_idle(t);
        talk_ask(t, "HOLLOW?", NULL);
        if (!idle_first)
            talk_idle(t);
        for (int resumed = 0; resumed < 2; resumed++) {
            assert_true(talk_is_again(t, "b.h") && t->session->pieces[stopped].partial);
            assert_memory_equal(&name, &t->session->pieces[stopped].identity, sizeof name);
            talk_nothing_is_outdated(t);
            talk_reopen(t);
            assert_int_equal(kg_session_read_all(t->session, NULL), KG_OK);
            assert_true(t->session->computed_ever <= 1); /* the last token of an answer that was as long as it may be */
        }
        talk_close(t);
        assert_int_equal(kg_sessions_remove(t->directory[0], "", "talk", NULL), KG_OK);
        talk_open(t, KG_POLICY_RECALL);
    }
}

static void by_another_policy_nothing_is_read_again(void **state)
{
    struct talk *t = *state;
    talk_add_both(t);
    talk_idle(t);
    for (int policy = KG_POLICY_FULL; policy <= KG_POLICY_ALONE; policy++) {
        talk_close(t);
        talk_open(t, (enum kg_policy)policy);
        assert_false(talk_is_again(t, "b.h"));
        assert_true(talk_ask(t, "HOLLOW?", NULL) > 0);
        assert_int_equal(talk_idle(t), 0);
    }
}

static void nothing_is_read_again_behind_a_secret(void **state)
{
    struct talk *t = *state;
    assert_int_equal(kg_session_add_file(t->session, "a.h", talk_first, strlen(talk_first), true, NULL), KG_OK);
    talk_add(t, "b.h", talk_second);
    assert_int_equal(talk_idle(t), 0);
    assert_false(talk_is_again(t, "b.h"));
}

/* In a conversation that begins anew, the files are as any other finds them; one that goes on has them as they are. */
static void what_begins_anew_begins_with_the_first_reading(void **state)
{
    struct talk *t = *state;
    talk_add_both(t);
    talk_idle(t);
    talk_ask(t, "HOLLOW?", NULL);
    assert_int_equal(kg_session_branch(t->session, 2, NULL, NULL), KG_OK);
    assert_true(talk_is_again(t, "b.h"));
    talk_files_are_right(t, true);
    const uint64_t ever = t->session->computed_ever;
    assert_int_equal(kg_session_clear(t->session, NULL), KG_OK);
    assert_false(talk_is_again(t, "b.h"));
    talk_ask(t, "HOLLOW?", NULL);
    talk_files_are_right(t, false);
    assert_true(t->session->computed_ever < ever);
    talk_idle(t);
    assert_true(talk_is_again(t, "b.h"));
    talk_files_are_right(t, true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TALK_TEST(after_idling_it_is_what_reading_by_hand_gives),
        TALK_TEST(of_a_file_that_includes_others_too),
        TALK_TEST(the_first_file_is_read_once),
        TALK_TEST(resumed_it_needs_no_reading),
        TALK_TEST(the_first_reading_stays_in_the_cache),
        TALK_LONG_TEST(it_ends_when_a_question_comes),
        TALK_TEST(one_file_a_call_is),
        TALK_LONG_TEST(a_long_file_is_read_again_part_after_part),
        TALK_LONG_TEST(a_part_is_read_behind_first_readings),
        TALK_LONG_TEST(a_part_is_named_by_first_readings),
        TALK_LONG_TEST(a_long_file_is_read_once_first),
        TALK_TEST(what_a_stopped_answer_saw_stays),
        TALK_TEST(by_another_policy_nothing_is_read_again),
        TALK_TEST(nothing_is_read_again_behind_a_secret),
        TALK_TEST(what_begins_anew_begins_with_the_first_reading),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
