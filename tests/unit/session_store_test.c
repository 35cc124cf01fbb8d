#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>
#include <sqlite3.h>

#include "base/paths.h"
#include "engine/cache/session_store.h"
#include "engine/context/block.h"
#include "tests/unit/kv_blocks.h"

struct world {
    char directory[256], path[300];
    struct kg_session_store *store;
    struct kg_stored_session session;
};

static void reopen(struct world *w)
{
    struct kg_error err = { .text = "" };
    kg_session_store_close(w->store);
    w->store = NULL;
    if (kg_session_store_open(w->directory, &w->store, &err) != KG_OK)
        fail_msg("open: %s", err.text);
}

static int set_up(void **state)
{
    struct world *w = calloc(1, sizeof *w);
    snprintf(w->directory, sizeof w->directory, "%s", kv_directory_make());
    snprintf(w->path, sizeof w->path, "%s/sessions.db", w->directory);
    reopen(w);
    assert_int_equal(kg_session_store_create(w->store, "/repo", "one", "model", &w->session, NULL), KG_OK);
    *state = w;
    return 0;
}

static int tear_down(void **state)
{
    struct world *w = *state;
    kg_session_store_close(w->store);
    kv_directory_remove(w->directory);
    free(w);
    return 0;
}

static int64_t sql(struct world *w, const char *text)
{
    sqlite3 *db = NULL;
    sqlite3_stmt *statement = NULL;
    int64_t number = 0;
    assert_int_equal(sqlite3_open(w->path, &db), SQLITE_OK);
    for (int rc = SQLITE_OK; *text; sqlite3_finalize(statement)) {
        if ((rc = sqlite3_prepare_v2(db, text, -1, &statement, &text)) != SQLITE_OK)
            fail_msg("%s", sqlite3_errmsg(db));
        rc = sqlite3_step(statement);
        if (rc == SQLITE_ROW)
            number = sqlite3_column_int64(statement, 0);
        else if (rc != SQLITE_DONE)
            fail_msg("%s", sqlite3_errmsg(db));
    }
    sqlite3_close(db);
    return number;
}

static char big[5000];
static int32_t many_ids[3000];

static struct kg_stored_part part_of(int kind, const char *label, const char *text, size_t length, uint32_t ids)
{
    for (uint32_t i = 0; i < ids; i++)
        many_ids[i] = (int32_t)(i * 3);
    return (struct kg_stored_part){ .kind = kind, .label = (char *)label, .text = (char *)text, .text_length = length,
                                    .ids = ids ? many_ids : NULL, .id_count = ids, .base = 40, .identity = { { 1, 2, 3 } },
                                    .read_rule = 1 };
}

static void append(struct world *w, int64_t session, struct kg_stored_part part)
{
    struct kg_error err = { .text = "" };
    if (kg_session_store_append(w->store, session, &part, &err) != KG_OK)
        fail_msg("append: %s", err.text);
    assert_true(part.id > 0);
}

struct parts {
    int count, stop_after;
    struct kg_stored_part at[8];
};

static int take(void *ctx, const struct kg_stored_part *part)
{
    struct parts *p = ctx;
    struct kg_stored_part *to = &p->at[p->count++];
    *to = *part;
    to->label = strdup(part->label);
    to->text = malloc(part->text_length + 1);
    to->ids = malloc(part->id_count * sizeof *part->ids + 1);
    assert_int_equal(part->text[part->text_length], '\0');
    memcpy(to->text, part->text, part->text_length);
    memcpy(to->ids, part->ids, part->id_count * sizeof *part->ids);
    return p->count == p->stop_after;
}

static void forget(struct parts *p)
{
    for (int i = 0; i < p->count; i++)
        kg_stored_part_clear(&p->at[i]);
    *p = (struct parts){ 0 };
}

static void parts_come_back_as_they_were(void **state)
{
    struct world *w = *state;
    struct parts p = { 0 };
    memset(big, 'b', sizeof big);
    append(w, w->session.id, part_of(KG_BLOCK_TURN, "", "what?\0\xff", 7, 5));
    append(w, w->session.id, part_of(KG_BLOCK_FILE, "src/a b.c", big, sizeof big, 3000));
    append(w, w->session.id, part_of(KG_BLOCK_ANSWER, "", NULL, 0, 0));
    append(w, w->session.id, part_of(KG_BLOCK_TURN, "", big, sizeof big, 3000));
    reopen(w);
    assert_int_equal(kg_session_store_parts(w->store, w->session.id, take, &p, NULL), KG_OK);
    assert_int_equal(p.count, 4);
    assert_int_equal(p.at[0].kind, KG_BLOCK_TURN);
    assert_int_equal(p.at[0].text_length, 7);
    assert_memory_equal(p.at[0].text, "what?\0\xff", 7);
    assert_int_equal(p.at[0].id_count, 5);
    assert_int_equal(p.at[0].ids[4], 12);
    assert_int_equal(p.at[0].base, 40);
    assert_int_equal(p.at[0].identity.bytes[2], 3);
    assert_int_equal(p.at[0].read_rule, 1);
    assert_string_equal(p.at[1].label, "src/a b.c");
    assert_int_equal(p.at[1].text_length, sizeof big);
    assert_memory_equal(p.at[1].text, big, sizeof big);
    assert_int_equal(p.at[1].id_count, 3000);
    assert_int_equal(p.at[1].ids[2999], 8997);
    assert_int_equal(p.at[2].text_length, 0);
    assert_int_equal(p.at[2].id_count, 0);
    assert_memory_equal(p.at[3].text, big, sizeof big);
    forget(&p);
    p.stop_after = 2;
    assert_int_equal(kg_session_store_parts(w->store, w->session.id, take, &p, NULL), KG_OK);
    assert_int_equal(p.count, 2);
    forget(&p);
    assert_int_equal(kg_session_store_parts(w->store, 999, take, &p, NULL), KG_OK);
    assert_int_equal(p.count, 0);
}

static void an_answer_is_updated_as_it_grows(void **state)
{
    struct world *w = *state;
    struct parts p = { 0 };
    struct kg_stored_part answer = part_of(KG_BLOCK_ANSWER, "", "a", 1, 1);
    answer.partial = true;
    assert_int_equal(kg_session_store_append(w->store, w->session.id, &answer, NULL), KG_OK);
    memset(big, 'x', sizeof big);
    for (uint32_t n = 2; n < 400; n += 40) {
        answer.text = big;
        answer.text_length = answer.id_count = n;
        assert_int_equal(kg_session_store_update(w->store, &answer, NULL), KG_OK);
    }
    answer.partial = false;
    answer.dropped = true;
    answer.read_rule = 7;
    answer.base = 4711;
    answer.identity.bytes[31] = 9;
    assert_int_equal(kg_session_store_update(w->store, &answer, NULL), KG_OK);
    reopen(w);
    assert_int_equal(kg_session_store_parts(w->store, w->session.id, take, &p, NULL), KG_OK);
    assert_int_equal(p.count, 1);
    assert_int_equal(p.at[0].text_length, 362);
    assert_int_equal(p.at[0].id_count, 362);
    assert_true(p.at[0].dropped);
    assert_false(p.at[0].partial);
    assert_int_equal(p.at[0].read_rule, 7);
    assert_int_equal(p.at[0].base, 4711);
    assert_int_equal(p.at[0].identity.bytes[31], 9);
    assert_int_equal(p.at[0].id, answer.id);
    forget(&p);
    struct kg_error err;
    answer.id = 12345;
    assert_int_equal(kg_session_store_update(w->store, &answer, &err), KG_ERR_NOT_FOUND);
    assert_int_equal(kg_session_store_append(w->store, 12345, &answer, &err), KG_ERR_NOT_FOUND);
}

static void a_file_is_stored_once(void **state)
{
    struct world *w = *state;
    struct kg_stored_session other;
    memset(big, 'f', sizeof big);
    assert_int_equal(kg_session_store_create(w->store, "/repo", "two", "model", &other, NULL), KG_OK);
    append(w, w->session.id, part_of(KG_BLOCK_FILE, "a.c", big, sizeof big, 3000));
    append(w, other.id, part_of(KG_BLOCK_FILE, "copy/of/a.c", big, sizeof big, 3000));
    append(w, other.id, part_of(KG_BLOCK_FILE, "a.c", big, sizeof big, 3000));
    assert_int_equal(sql(w, "SELECT count(*) FROM content"), 2); /* text and ids */
    assert_int_equal(sql(w, "SELECT sum(length(bytes)) FROM content"), sizeof big + 12000);
    assert_int_equal(kg_session_store_delete(w->store, w->session.id, NULL), KG_OK);
    assert_int_equal(sql(w, "SELECT count(*) FROM content"), 2);
    assert_int_equal(kg_session_store_delete(w->store, other.id, NULL), KG_OK);
    assert_int_equal(sql(w, "SELECT count(*) FROM content"), 0);
    assert_int_equal(sql(w, "SELECT count(*) FROM part"), 0);
    struct kg_error err;
    assert_int_equal(kg_session_store_delete(w->store, other.id, &err), KG_ERR_NOT_FOUND);
}

static void what_was_deleted_is_overwritten(void **state)
{
    struct world *w = *state;
    char *bytes = NULL;
    size_t length = 0;
    memset(big, 'q', sizeof big);
    memcpy(big, "the secret of the matter", 24);
    append(w, w->session.id, part_of(KG_BLOCK_FILE, "a.c", big, sizeof big, 10));
    append(w, w->session.id, part_of(KG_BLOCK_TURN, "", big, sizeof big, 10));
    append(w, w->session.id, part_of(KG_BLOCK_ANSWER, "", "xyzzy", 5, 10));
    assert_int_equal(kg_session_store_delete(w->store, w->session.id, NULL), KG_OK);
    assert_int_equal(kg_read_file(w->path, 1 << 26, &bytes, &length, NULL), KG_OK);
    assert_null(memmem(bytes, length, "the secret of the matter", 24));
    assert_null(memmem(bytes, length, "xyz", 3)); /* nor as words that can be found */
    free(bytes);
    char log[320];
    struct stat st;
    snprintf(log, sizeof log, "%s-wal", w->path);
    assert_true(stat(log, &st) != 0 || st.st_size == 0);
}

/* What others said is written anew only where something that was said goes. */
static void a_conversation_without_words_goes_quickly(void **state)
{
    static const char pages[] = "SELECT count(*) FROM said_data";
    struct world *w = *state;
    struct kg_stored_session empty, spoken;
    assert_int_equal(kg_session_store_create(w->store, "/repo", "empty", "model", &empty, NULL), KG_OK);
    assert_int_equal(kg_session_store_create(w->store, "/repo", "spoken", "model", &spoken, NULL), KG_OK);
    append(w, empty.id, part_of(KG_BLOCK_PREAMBLE, "", "", 0, 10));
    append(w, w->session.id, part_of(KG_BLOCK_TURN, "", "first question", 14, 10));
    append(w, spoken.id, part_of(KG_BLOCK_TURN, "", "second question", 15, 10));
    int64_t before = sql(w, pages);
    assert_int_equal(kg_session_store_delete(w->store, empty.id, NULL), KG_OK);
    assert_int_equal(sql(w, pages), before);
    assert_int_equal(kg_session_store_delete(w->store, spoken.id, NULL), KG_OK);
    assert_true(sql(w, pages) < before);
}

static void a_damaged_part_is_left_out_and_said(void **state)
{
    struct world *w = *state;
    static const char *const changes[] = {
        "UPDATE part SET text = x'00' WHERE id = 2",
        "UPDATE part SET base = base + 1 WHERE id = 2",
        "UPDATE part SET ids = x'010203' WHERE id = 2",
        "UPDATE part SET identity = x'' WHERE id = 2",
        "UPDATE part SET label = 'b' WHERE id = 2",
        "UPDATE part SET sum = 0 WHERE id = 2",
        "UPDATE part SET read_rule = 5, kind = 'x' WHERE id = 2",
    };
    for (size_t i = 0; i < sizeof changes / sizeof *changes; i++) {
        struct parts p = { 0 };
        struct kg_error err;
        for (int k = 0; k < 3; k++)
            append(w, w->session.id, part_of(KG_BLOCK_TURN, "", "text", 4, 10));
        sql(w, changes[i]);
        assert_int_equal(kg_session_store_parts(w->store, w->session.id, take, &p, &err), KG_ERR_CORRUPT);
        assert_int_equal(p.count, 2);
        assert_int_equal(p.at[1].id, 3);
        forget(&p);
        sql(w, "DELETE FROM part; DELETE FROM sqlite_sequence WHERE name = 'part'");
    }
    /* a file's damaged copy is mended by the next session that brings the file */
    struct parts p = { 0 };
    memset(big, 'f', sizeof big);
    append(w, w->session.id, part_of(KG_BLOCK_FILE, "a.c", big, sizeof big, 10));
    sql(w, "UPDATE content SET bytes = x'00'");
    assert_int_equal(kg_session_store_parts(w->store, w->session.id, take, &p, NULL), KG_ERR_CORRUPT);
    assert_int_equal(p.count, 0);
    append(w, w->session.id, part_of(KG_BLOCK_FILE, "a.c", big, sizeof big, 10));
    assert_int_equal(kg_session_store_parts(w->store, w->session.id, take, &p, NULL), KG_OK);
    assert_int_equal(p.count, 2);
    forget(&p);
}

static void sessions_are_found_by_name_within_a_repository(void **state)
{
    struct world *w = *state;
    struct kg_stored_session found, other;
    struct kg_error err;
    assert_int_equal(kg_session_store_create(w->store, "/repo", "one", "m", &other, &err), KG_ERR_USAGE);
    assert_int_equal(kg_session_store_create(w->store, "", "one", "m", &other, &err), KG_OK);
    assert_int_equal(kg_session_store_find(w->store, "/repo", "one", &found, NULL), KG_OK);
    assert_int_equal(found.id, w->session.id);
    assert_string_equal(found.repository, "/repo");
    assert_string_equal(found.model, "model");
    assert_true(found.created > 1600000000 && found.used >= found.created);
    assert_int_equal(found.parts, 0);
    assert_int_equal(kg_session_store_find(w->store, "/else", "one", &found, &err), KG_ERR_NOT_FOUND);
    assert_int_equal(kg_session_store_rename(w->store, other.id, "one", NULL), KG_OK); /* its own name */
    assert_int_equal(kg_session_store_rename(w->store, w->session.id, "uno", NULL), KG_OK);
    assert_int_equal(kg_session_store_find(w->store, "/repo", "one", &found, &err), KG_ERR_NOT_FOUND);
    assert_int_equal(kg_session_store_create(w->store, "/repo", "one", "m", &other, &err), KG_OK);
    assert_int_equal(kg_session_store_rename(w->store, other.id, "uno", &err), KG_ERR_USAGE);
    assert_int_equal(kg_session_store_rename(w->store, 999, "tres", &err), KG_ERR_NOT_FOUND);
    memset(big, 'n', sizeof big);
    big[128] = '\0';
    assert_int_equal(kg_session_store_create(w->store, "/repo", big, "m", &other, &err), KG_ERR_RANGE);
    assert_int_equal(kg_session_store_rename(w->store, w->session.id, "", &err), KG_ERR_RANGE);
    big[127] = '\0';
    assert_int_equal(kg_session_store_create(w->store, "/repo", big, "m", &other, &err), KG_OK);
    assert_string_equal(other.name, big);
}

struct names {
    char text[200];
    int stop_after, count;
};

static int take_name(void *ctx, const struct kg_stored_session *session)
{
    struct names *n = ctx;
    snprintf(n->text + strlen(n->text), sizeof n->text - strlen(n->text), "%s:%u ", session->name, session->parts);
    return ++n->count == n->stop_after;
}

static void sessions_are_listed_last_used_first(void **state)
{
    struct world *w = *state;
    struct kg_stored_session two, out;
    struct names n = { .text = "" };
    assert_int_equal(kg_session_store_create(w->store, "/repo", "two", "m", &two, NULL), KG_OK);
    assert_int_equal(kg_session_store_create(w->store, "/other", "three", "m", &out, NULL), KG_OK);
    sql(w, "UPDATE session SET used = 1000 + id");
    append(w, two.id, part_of(KG_BLOCK_TURN, "", "q", 1, 1));
    append(w, two.id, part_of(KG_BLOCK_TURN, "", "q", 1, 1));
    assert_int_equal(kg_session_store_list(w->store, "/repo", take_name, &n, NULL), KG_OK);
    assert_string_equal(n.text, "two:2 one:0 ");
    n = (struct names){ .text = "" };
    assert_int_equal(kg_session_store_list(w->store, NULL, take_name, &n, NULL), KG_OK);
    assert_string_equal(n.text, "two:2 three:0 one:0 ");
    n = (struct names){ .text = "", .stop_after = 1 };
    assert_int_equal(kg_session_store_list(w->store, NULL, take_name, &n, NULL), KG_OK);
    assert_string_equal(n.text, "two:2 ");
}

static void the_file_is_private_durable_and_small_again(void **state)
{
    struct world *w = *state;
    struct stat st;
    assert_int_equal(stat(w->path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    char log[320];
    snprintf(log, sizeof log, "%s-wal", w->path);
    assert_int_equal(stat(log, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(sql(w, "PRAGMA user_version"), 3);
    static char megabyte[1 << 20];
    memset(megabyte, 'm', sizeof megabyte);
    append(w, w->session.id, part_of(KG_BLOCK_FILE, "m", megabyte, sizeof megabyte, 1));
    assert_int_equal(kg_session_store_delete(w->store, w->session.id, NULL), KG_OK);
    assert_int_equal(stat(w->path, &st), 0);
    assert_true(st.st_size < 1 << 17);
}

static void what_is_not_ours_is_refused_and_left_alone(void **state)
{
    struct world *w = *state;
    static const struct {
        const char *change;
        enum kg_status status;
    } cases[] = {
        { "PRAGMA user_version = 4", KG_ERR_UNSUPPORTED },
        { "PRAGMA user_version = 3; PRAGMA application_id = 5", KG_ERR_FORMAT },
        { "PRAGMA application_id = 1801941875; CREATE TABLE more(a)", KG_ERR_FORMAT },
    };
    struct kg_error err;
    append(w, w->session.id, part_of(KG_BLOCK_TURN, "", "text", 4, 10));
    kg_session_store_close(w->store);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *before = NULL, *after = NULL;
        size_t length = 0, length_after = 0;
        sql(w, cases[i].change);
        assert_int_equal(kg_read_file(w->path, 1 << 26, &before, &length, NULL), KG_OK);
        assert_int_equal(kg_session_store_open(w->directory, &w->store, &err), cases[i].status);
        assert_non_null(strstr(err.text, "sessions.db"));
        assert_int_equal(kg_read_file(w->path, 1 << 26, &after, &length_after, NULL), KG_OK);
        assert_int_equal(length, length_after);
        assert_memory_equal(before, after, length);
        free(before);
        free(after);
    }
    assert_int_equal(kg_write_file(w->path, "this is a letter, not a database", 32, 0600, NULL), KG_OK);
    assert_int_equal(kg_session_store_open(w->directory, &w->store, &err), KG_ERR_FORMAT);
    char *text = NULL;
    size_t length = 0;
    assert_int_equal(kg_read_file(w->path, 1 << 26, &text, &length, NULL), KG_OK);
    assert_string_equal(text, "this is a letter, not a database");
    free(text);
    w->store = NULL;
}

struct hits {
    int count;
    int64_t parts[16];
    char names[16][128];
};

static int take_hit(void *ctx, const struct kg_stored_hit *hit)
{
    struct hits *hits = ctx;
    hits->parts[hits->count] = hit->part;
    snprintf(hits->names[hits->count++], sizeof hits->names[0], "%s", hit->session->name);
    return 0;
}

static int found(struct world *w, const char *repository, const char *words, struct hits *out)
{
    *out = (struct hits){ 0 };
    assert_int_equal(kg_session_store_search(w->store, repository, words, take_hit, out, NULL), KG_OK);
    return out->count;
}

static void what_was_said_is_found(void **state)
{
    struct world *w = *state;
    struct kg_stored_session other;
    struct hits hits;
    assert_int_equal(kg_session_store_create(w->store, "/other", "parsing", "model", &other, NULL), KG_OK);
    append(w, w->session.id, part_of(KG_BLOCK_FILE, "src/parse_header.c", "int secret_content;", 19, 5));
    append(w, w->session.id, part_of(KG_BLOCK_TURN, "", "Why does Parse_Header fail?", 27, 5));
    append(w, other.id, part_of(KG_BLOCK_ANSWER, "", "Caf\xc3\xa9 \xe6\xbc\xa2\xe5\xad\x97\xe3\x81\x8b 100% \"quoted\" a_b", 33, 5));
    assert_int_equal(found(w, NULL, "parse_header", &hits), 2);
    assert_string_equal(hits.names[0], "one");
    assert_int_equal(found(w, NULL, "se_hea", &hits), 2);
    assert_int_equal(found(w, NULL, "header why", &hits), 1);
    assert_int_equal(found(w, NULL, "header why not", &hits), 0);
    assert_int_equal(found(w, NULL, "secret_content", &hits), 0); /* of files the path */
    assert_int_equal(found(w, NULL, "pars", &hits), 3);
    assert_int_equal(found(w, "/other", "pars", &hits), 1);
    assert_int_equal(hits.parts[0], 0); /* the name */
    assert_int_equal(found(w, NULL, "CAF\xc3\x89", &hits), 1);
    assert_int_equal(found(w, NULL, "\xe5\xad\x97", &hits), 1);
    assert_int_equal(found(w, NULL, "0%", &hits), 1);
    assert_int_equal(found(w, NULL, "1%0", &hits), 0);
    assert_int_equal(found(w, NULL, "\"quoted\"", &hits), 1);
    assert_int_equal(found(w, NULL, "a_b", &hits), 1);
    assert_int_equal(found(w, NULL, "AND OR NOT ( * NEAR", &hits), 0);
    assert_int_equal(found(w, NULL, "  ", &hits), 0);
    struct parts p = { 0 };
    assert_int_equal(kg_session_store_parts(w->store, other.id, take, &p, NULL), KG_OK);
    p.at[0].text[0] = 'c';
    p.at[0].text[1] = 'u';
    assert_int_equal(kg_session_store_update(w->store, &p.at[0], NULL), KG_OK);
    forget(&p);
    assert_int_equal(found(w, NULL, "caf\xc3\xa9", &hits), 0);
    assert_int_equal(found(w, NULL, "cuf\xc3\xa9", &hits), 1);
    assert_int_equal(kg_session_store_delete(w->store, other.id, NULL), KG_OK);
    assert_int_equal(found(w, NULL, "cuf\xc3\xa9", &hits), 0);
}

/* Files of the versions before are taken over, and what was said in them is found; nobody knows when that was. */
static void older_files_are_taken_over(void **state)
{
    static const char *const changes[] = { "ALTER TABLE part DROP COLUMN appended; PRAGMA user_version = 2",
                                           "DROP TABLE said; DROP TABLE pinned; ALTER TABLE part DROP COLUMN appended; PRAGMA user_version = 1" };
    struct world *w = *state;
    struct hits hits;
    append(w, w->session.id, part_of(KG_BLOCK_TURN, "", "an old question", 15, 5));
    for (size_t i = 0; i < 2; i++) {
        struct parts p = { 0 };
        kg_session_store_close(w->store);
        w->store = NULL;
        sql(w, changes[i]);
        reopen(w);
        assert_int_equal(found(w, NULL, "old quest", &hits), 1);
        assert_int_equal(kg_session_store_parts(w->store, w->session.id, take, &p, NULL), KG_OK);
        assert_int_equal(p.count, 1);
        assert_int_equal(p.at[0].said, 0);
        forget(&p);
    }
}

/* It stays what it was when the part changes, and in a copy. */
static void when_it_was_said_is_kept(void **state)
{
    struct world *w = *state;
    struct parts p = { 0 };
    struct kg_stored_session copy;
    uint64_t before = (uint64_t)time(NULL);
    struct kg_stored_part part = part_of(KG_BLOCK_TURN, "", "a question", 10, 5);
    assert_int_equal(kg_session_store_append(w->store, w->session.id, &part, NULL), KG_OK);
    assert_in_range(part.said, before, (uint64_t)time(NULL));
    kg_session_store_close(w->store);
    w->store = NULL;
    sql(w, "UPDATE part SET appended = 12345");
    reopen(w);
    part.dropped = 1;
    assert_int_equal(kg_session_store_update(w->store, &part, NULL), KG_OK);
    assert_int_equal(kg_session_store_copy(w->store, w->session.id, 0, "copy", &copy, NULL, NULL, NULL), KG_OK);
    assert_int_equal(kg_session_store_parts(w->store, copy.id, take, &p, NULL), KG_OK);
    assert_int_equal(p.count, 1);
    assert_int_equal(p.at[0].said, 12345);
    assert_int_equal(p.at[0].dropped, 1);
    forget(&p);
}

struct copied {
    int count;
    int64_t from[8], to[8];
};

static void take_copy(void *ctx, int64_t from, int64_t to)
{
    struct copied *copied = ctx;
    copied->from[copied->count] = from;
    copied->to[copied->count++] = to;
}

static int take_label(void *ctx, const char *label)
{
    strcat(ctx, label);
    return 0;
}

static void a_session_is_copied(void **state)
{
    struct world *w = *state;
    struct kg_stored_session copy, second;
    struct copied copied = { 0 };
    struct parts p = { 0 };
    struct hits hits;
    char labels[64] = "";
    append(w, w->session.id, part_of(KG_BLOCK_FILE, "a.c", "file", 4, 5));
    append(w, w->session.id, part_of(KG_BLOCK_TURN, "", "first words", 11, 5));
    struct kg_stored_part third = part_of(KG_BLOCK_TURN, "", "second words", 12, 5);
    third.dropped = 3;
    assert_int_equal(kg_session_store_append(w->store, w->session.id, &third, NULL), KG_OK);
    assert_int_equal(kg_session_store_pin(w->store, w->session.id, "a.c", true, NULL), KG_OK);
    assert_int_equal(kg_session_store_pin(w->store, w->session.id, "a.c", true, NULL), KG_OK);
    assert_int_equal(kg_session_store_copy(w->store, w->session.id, third.id, "one", &copy, take_copy, &copied, NULL), KG_OK);
    assert_string_equal(copy.name, "one (2)");
    assert_string_equal(copy.title, "first words");
    assert_int_equal(copy.turns, 1);
    assert_int_equal(copied.count, 2);
    assert_int_equal(kg_session_store_parts(w->store, copy.id, take, &p, NULL), KG_OK);
    assert_int_equal(p.count, 2);
    assert_int_equal(p.at[1].id, copied.to[1]);
    assert_memory_equal(p.at[1].text, "first words", 11);
    forget(&p);
    assert_int_equal(kg_session_store_copy(w->store, w->session.id, 0, "one", &second, NULL, NULL, NULL), KG_OK);
    assert_string_equal(second.name, "one (3)");
    assert_int_equal(kg_session_store_parts(w->store, second.id, take, &p, NULL), KG_OK);
    assert_int_equal(p.count, 3);
    assert_int_equal(p.at[2].dropped, 3);
    forget(&p);
    assert_int_equal(found(w, NULL, "second words", &hits), 2);
    assert_int_equal(kg_session_store_pinned(w->store, second.id, take_label, labels, NULL), KG_OK);
    assert_string_equal(labels, "a.c");
    assert_int_equal(kg_session_store_pin(w->store, second.id, "a.c", false, NULL), KG_OK);
    assert_int_equal(sql(w, "SELECT count(*) FROM pinned"), 2);
    assert_int_equal(kg_session_store_delete(w->store, w->session.id, NULL), KG_OK);
    assert_int_equal(sql(w, "SELECT count(*) FROM pinned"), 1);
    assert_int_equal(kg_session_store_copy(w->store, w->session.id, 0, "gone", &second, NULL, NULL, NULL), KG_ERR_NOT_FOUND);
}

/* 98 bytes and characters of three: the number comes behind whole ones. */
static void a_long_name_is_numbered_behind_a_whole_character(void **state)
{
    struct world *w = *state;
    struct kg_stored_session copy, again;
    char name[128] = "";
    for (size_t i = 0; i < 98; i++)
        strcat(name, "n");
    strcat(name, "\xe2\x82\xac\xe2\x82\xac");
    assert_int_equal(kg_session_store_copy(w->store, w->session.id, 0, name, &copy, NULL, NULL, NULL), KG_OK);
    assert_string_equal(copy.name, name);
    assert_int_equal(kg_session_store_copy(w->store, w->session.id, 0, name, &again, NULL, NULL, NULL), KG_OK);
    assert_memory_equal(again.name, name, 98);
    assert_string_equal(again.name + 98, " (2)");
}

static void what_is_done_together_is_done_or_not(void **state)
{
    struct world *w = *state;
    struct parts p = { 0 };
    assert_int_equal(kg_session_store_begin(w->store, NULL), KG_OK);
    append(w, w->session.id, part_of(KG_BLOCK_TURN, "", "one", 3, 5));
    append(w, w->session.id, part_of(KG_BLOCK_TURN, "", "two", 3, 5));
    assert_int_equal(kg_session_store_end(w->store, false, NULL), KG_OK);
    assert_int_equal(kg_session_store_parts(w->store, w->session.id, take, &p, NULL), KG_OK);
    assert_int_equal(p.count, 0);
    assert_int_equal(kg_session_store_begin(w->store, NULL), KG_OK);
    append(w, w->session.id, part_of(KG_BLOCK_TURN, "", "one", 3, 5));
    append(w, w->session.id, part_of(KG_BLOCK_TURN, "", "two", 3, 5));
    assert_int_equal(kg_session_store_end(w->store, true, NULL), KG_OK);
    reopen(w);
    assert_int_equal(kg_session_store_parts(w->store, w->session.id, take, &p, NULL), KG_OK);
    assert_int_equal(p.count, 2);
    forget(&p);
}

static void two_stores_write_one_file(void **state)
{
    struct world *w = *state;
    struct kg_session_store *second = NULL;
    struct parts p = { 0 };
    assert_int_equal(kg_session_store_open(w->directory, &second, NULL), KG_OK);
    struct kg_stored_part part = part_of(KG_BLOCK_TURN, "", "second", 6, 1);
    append(w, w->session.id, part_of(KG_BLOCK_TURN, "", "first", 5, 1));
    assert_int_equal(kg_session_store_append(second, w->session.id, &part, NULL), KG_OK);
    assert_int_equal(kg_session_store_parts(w->store, w->session.id, take, &p, NULL), KG_OK);
    assert_int_equal(p.count, 2);
    assert_memory_equal(p.at[1].text, "second", 6);
    forget(&p);
    kg_session_store_close(second);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(parts_come_back_as_they_were),
        TEST(an_answer_is_updated_as_it_grows),
        TEST(a_file_is_stored_once),
        TEST(what_was_deleted_is_overwritten),
        TEST(a_conversation_without_words_goes_quickly),
        TEST(a_damaged_part_is_left_out_and_said),
        TEST(sessions_are_found_by_name_within_a_repository),
        TEST(sessions_are_listed_last_used_first),
        TEST(the_file_is_private_durable_and_small_again),
        TEST(what_is_not_ours_is_refused_and_left_alone),
        TEST(two_stores_write_one_file),
        TEST(what_was_said_is_found),
        TEST(older_files_are_taken_over),
        TEST(when_it_was_said_is_kept),
        TEST(a_session_is_copied),
        TEST(a_long_name_is_numbered_behind_a_whole_character),
        TEST(what_is_done_together_is_done_or_not),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
