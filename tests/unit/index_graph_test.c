/* How the files of a large repository are linked: kept, carried over what changes, and made anew. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <sys/file.h>
#include <unistd.h>

#include "index_random.h"

#define FILES 1050 /* large is 1,000 */

static void write_files(const struct index_repo *repo)
{
    char path[64], text[300];
    for (unsigned i = 0; i < FILES; i++) {
        snprintf(path, sizeof path, "d%u/file%u.c", i % 10, i);
        snprintf(text, sizeof text, "#include \"file%u.c\"\n/* delta number%u */\nint delta_function_%u(int argument)\n{\n    return delta_function_%u(%u);\n}\n", i - i % 7, i, i, i / 2, i);
        index_repo_write(repo, path, text);
    }
}

struct answer {
    char text[8192];
    size_t length;
};

static int on_part(void *ctx, const struct kg_context_part *part)
{
    struct answer *answer = ctx;
    answer->length += (size_t)snprintf(answer->text + answer->length, sizeof answer->text - answer->length, "%.100s %.17g %.100s\n", part->path, part->score, part->reason);
    return answer->length >= sizeof answer->text;
}

static struct answer ask(struct kg_index *index, const char *question, const char *open)
{
    struct answer answer = { .length = 0 };
    struct kg_error err = { 0 };
    const struct kg_context_request request = { .question = question, .files = 20, .open = &open, .open_count = open != NULL };
    if (kg_index_context(index, &request, on_part, &answer, &err) != KG_OK)
        fail_msg("%s", err.text);
    return answer;
}

/* The file that is listed first for a question that no file answers, while this one is open. */
static const char *nearest(struct kg_index *index, const char *open)
{
    static struct answer answer;
    answer = ask(index, "zebra", open);
    answer.text[strcspn(answer.text, " ")] = '\0';
    return answer.text;
}

static enum kg_status settle(struct kg_index *index, double drift)
{
    struct kg_error err = { 0 };
    const enum kg_status status = kg_index_settle(index, drift, NULL, NULL, &err);
    assert_true(status == KG_OK || err.text[0]);
    return status;
}

static struct answer ask_anew(const char *question)
{
    struct kg_index *index = index_repo_open(&here);
    index_repo_refresh(index);
    assert_int_equal(settle(index, KG_DRIFT_LARGE), KG_OK);
    const struct answer answer = ask(index, question, NULL);
    kg_index_close(index);
    assert_true(answer.length > 0);
    return answer;
}

static int64_t number_in(const char *sql)
{
    char path[512];
    sqlite3 *db = NULL;
    sqlite3_stmt *row = NULL;
    index_repo_store(&here, path);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(db, sql, -1, &row, NULL), SQLITE_OK);
    int64_t number = sqlite3_step(row) == SQLITE_ROW ? sqlite3_column_int64(row, 0) : -1;
    sqlite3_finalize(row);
    sqlite3_close(db);
    return number;
}

static int64_t kept(void)
{
    return index_repo_graph(&here);
}

static const char question[] = "delta_function_77 number5";

static void a_damaged_one_is_made_again(void **state)
{
    (void)state;
    write_files(&here);
    const struct answer first = ask_anew(question);
    const int64_t bytes = number_in("SELECT length(edges) FROM graph");
    assert_true(bytes > FILES * 4);
    assert_string_equal(ask_anew(question).text, first.text);
    static const char *const damages[] = {
        "UPDATE graph SET edges = substr(edges, 1, length(edges) - 4)",
        "UPDATE graph SET edges = x'00'",
        "UPDATE graph SET edges = substr(edges, 1, 16820) || x'ffffffff' || substr(edges, 16825)", /* 16 and 16 a file: among the first edges */
        "UPDATE graph SET edges = substr(edges, 1, length(edges) - 4) || x'0000c07f'",             /* a weight that is no number */
        "UPDATE graph SET edges = x'ffffffffffffffffffffffffffffffff' || substr(edges, 17)",
        "UPDATE graph SET edges = NULL",
        "UPDATE graph SET edges = 7",
        "UPDATE graph SET edition = x'00'",
        "DELETE FROM graph",
    };
    for (size_t i = 0; i < sizeof damages / sizeof damages[0]; i++) {
        number_in(damages[i]);
        ask_anew(question); /* which finds it */
        if (strcmp(ask_anew(question).text, first.text) != 0)
            fail_msg("another answer after: %s", damages[i]);
        assert_int_equal(number_in("SELECT length(edges) FROM graph"), bytes);
    }
}

static void what_changes_counts_at_once(void **state)
{
    (void)state;
    write_files(&here);
    struct kg_index *index = index_repo_open(&here);
    index_repo_refresh(index);
    assert_int_equal(settle(index, KG_DRIFT_LARGE), KG_OK);
    const int64_t then = kept();
    assert_string_equal(nearest(index, "d8/file8.c"), "d7/file7.c");
    assert_null(strstr(ask(index, "zebra", "d8/file8.c").text, "d3/file903.c"));
    /* edited */
    index_repo_write(&here, "d8/file8.c", "#include \"file903.c\"\nint delta_function_8(int argument)\n{\n    return 8;\n}\n");
    index_repo_refresh(index);
    assert_string_equal(nearest(index, "d8/file8.c"), "d3/file903.c");
    assert_non_null(strstr(ask(index, "zebra", "d3/file903.c").text, "d8/file8.c"));
    /* new, in front of all others */
    index_repo_write(&here, "a.c", "#include \"file901.c\"\n");
    index_repo_refresh(index);
    assert_string_equal(nearest(index, "a.c"), "d1/file901.c");
    assert_string_equal(nearest(index, "d8/file8.c"), "d3/file903.c");
    /* gone */
    index_repo_sh(&here, "rm d3/file903.c");
    index_repo_refresh(index);
    assert_null(strstr(ask(index, "zebra", "d8/file8.c").text, "d3/file903.c"));
    const struct answer before = ask(index, question, NULL);
    assert_string_equal(ask(index, question, NULL).text, before.text);
    kg_index_close(index);
    assert_string_equal(ask_anew(question).text, before.text);
    assert_int_equal(kept(), then);
}

static void many_changes_have_it_made_anew(void **state)
{
    (void)state;
    char path[64];
    write_files(&here);
    ask_anew(question);
    const int64_t then = kept();
    for (unsigned i = 0; i < FILES / 100; i++) {
        snprintf(path, sizeof path, "e/file%u.c", i);
        index_repo_write(&here, path, path);
    }
    ask_anew(question);
    assert_int_equal(kept(), then);
    index_repo_write(&here, "e/one_more.c", "int one_more;\n");
    ask_anew(question);
    assert_int_not_equal(kept(), then);
    /* contents that were known before */
    const int64_t later = kept();
    index_repo_sh(&here, "mv d1 f");
    ask_anew(question);
    assert_int_not_equal(kept(), later);
    struct kg_index *index = index_repo_open(&here);
    assert_string_equal(nearest(index, "f/file1.c"), "d0/file0.c");
    kg_index_close(index);
}

/* A few at a time, none of which is many, and none of which is new. */
static void few_changes_add_up(void **state)
{
    (void)state;
    write_files(&here);
    ask_anew(question);
    const int64_t then = kept();
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(kept(), then);
        index_repo_sh(&here, "mkdir -p e; for i in 0 1 2 3; do mv d$i/file%u$i.c e; done", 10 + i);
        ask_anew(question);
    }
    assert_int_not_equal(kept(), then);
}

static int stop(void *ctx, uint32_t done, uint32_t found)
{
    (void)ctx;
    return done == 0 && found == 0;
}

static int count_calls(void *ctx, uint32_t done, uint32_t found)
{
    unsigned *calls = ctx;
    ++*calls;
    return done > found;
}

static void what_was_stopped_is_still_due(void **state)
{
    (void)state;
    unsigned calls = 0;
    write_files(&here);
    struct kg_index *index = index_repo_open(&here);
    index_repo_refresh(index);
    assert_int_equal(settle(index, KG_DRIFT_LARGE), KG_OK);
    const int64_t then = kept();
    index_repo_sh(&here, "for i in 0 1 2 3 4; do mv d$i e$i; done");
    index_repo_refresh(index);
    assert_int_equal(kg_index_settle(index, KG_DRIFT_LARGE, stop, NULL, NULL), KG_ERR_CANCELLED);
    index_repo_refresh(index);
    assert_int_equal(kept(), then);
    assert_int_equal(settle(index, KG_DRIFT_LARGE), KG_OK);
    assert_int_not_equal(kept(), then);
    assert_int_equal(kg_index_settle(index, KG_DRIFT_LARGE, count_calls, &calls, NULL), KG_OK);
    assert_int_equal(calls, 0);
    kg_index_close(index);
}

static void no_question_links_files(void **state)
{
    (void)state;
    write_files(&here);
    struct kg_index *index = index_repo_open(&here);
    index_repo_refresh(index);
    assert_string_equal(nearest(index, "d8/file8.c"), "d7/file7.c"); /* by what it includes */
    const struct answer unlinked = ask(index, question, NULL);
    assert_int_equal(kept(), -1);
    assert_int_equal(settle(index, KG_DRIFT_LARGE), KG_OK);
    const struct answer linked = ask(index, question, NULL);
    assert_string_not_equal(linked.text, unlinked.text);
    number_in("UPDATE graph SET edges = x'00'");
    struct kg_index *other = index_repo_open(&here);
    assert_string_equal(ask(other, question, NULL).text, unlinked.text);
    kg_index_close(other);
    assert_int_equal(kept(), -1);
    kg_index_close(index);
}

static void what_cannot_be_written_is_made_once(void **state)
{
    (void)state;
    unsigned calls = 0;
    write_files(&here);
    const struct answer linked = ask_anew(question);
    number_in("DELETE FROM graph");
    number_in("CREATE TRIGGER full BEFORE INSERT ON graph BEGIN SELECT RAISE(ABORT, 'full'); END");
    struct kg_index *index = index_repo_open(&here);
    index_repo_refresh(index);
    assert_int_equal(settle(index, KG_DRIFT_LARGE), KG_ERR_IO);
    assert_string_equal(ask(index, question, NULL).text, linked.text);
    assert_int_equal(kg_index_settle(index, 0, count_calls, &calls, NULL), KG_ERR_IO);
    index_repo_write(&here, "a.c", "int a;\n");
    index_repo_refresh(index);
    assert_int_equal(kg_index_settle(index, KG_DRIFT_LARGE, count_calls, &calls, NULL), KG_ERR_IO);
    index_repo_sh(&here, "rm a.c");
    index_repo_refresh(index);
    number_in("DROP TRIGGER full");
    assert_int_equal(kg_index_settle(index, 0, count_calls, &calls, NULL), KG_OK);
    assert_int_equal(calls, 0);
    assert_int_not_equal(kept(), -1);
    assert_string_equal(ask(index, question, NULL).text, linked.text);
    kg_index_close(index);
}

static void what_another_one_made_again_stays(void **state)
{
    (void)state;
    write_files(&here);
    ask_anew(question);
    number_in("UPDATE graph SET edges = substr(edges, 1, length(edges) - 4)");
    struct kg_index *index = index_repo_open(&here), *other = index_repo_open(&here);
    ask(index, question, NULL);
    index_repo_write(&here, "a.c", "#include \"file901.c\"\n");
    index_repo_refresh(other);
    assert_int_equal(settle(other, 0), KG_OK);
    const int64_t sound = kept();
    assert_int_not_equal(sound, -1);
    assert_string_equal(ask(index, question, NULL).text, ask(other, question, NULL).text);
    /* found damaged again, and made anew of the same files before it is closed */
    number_in("UPDATE graph SET edition = x'0123456789abcdef0123456789abcdef', edges = x'00'");
    ask(index, question, NULL);
    assert_int_equal(settle(other, 0), KG_OK);
    kg_index_close(index);
    assert_int_equal(kept(), sound);
    kg_index_close(other);
}

/* Ids of texts begin again, and mean others then. */
static void an_emptied_index_is_linked_anew(void **state)
{
    (void)state;
    write_files(&here);
    struct kg_index *index = index_repo_open(&here);
    index_repo_refresh(index);
    assert_int_equal(settle(index, 0), KG_OK);
    const struct answer first = ask(index, question, NULL);
    const int64_t then = kept();
    number_in("DROP TABLE file");
    index_repo_sh(&here, "mv d0/file0.c t; mv d9/file1049.c d0/file0.c; mv t d9/file1049.c");
    index_repo_refresh(index);
    assert_int_equal(settle(index, 0), KG_OK);
    assert_int_not_equal(kept(), then);
    index_repo_sh(&here, "mv d0/file0.c t; mv d9/file1049.c d0/file0.c; mv t d9/file1049.c");
    index_repo_refresh(index);
    assert_int_equal(settle(index, 0), KG_OK);
    assert_int_equal(kept(), then);
    assert_string_equal(ask(index, question, NULL).text, first.text);
    kg_index_close(index);
}

/* A lock of the whole file where refreshes take turns is what flock is on some file systems. */
static void linking_has_a_lock_of_its_own(void **state)
{
    (void)state;
    char path[600];
    write_files(&here);
    struct kg_index *index = index_repo_open(&here);
    index_repo_refresh(index);
    index_repo_store(&here, path);
    strcat(path, ".turn");
    int turn = open(path, O_RDWR);
    struct flock range = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
    assert_int_equal(fcntl(turn, F_OFD_SETLK, &range), 0);
    strcpy(strrchr(path, '.'), ".settle");
    int other = open(path, O_RDWR);
    assert_int_equal(flock(other, LOCK_EX), 0);
    assert_int_equal(settle(index, 0), KG_ERR_BUSY);
    assert_int_equal(kept(), -1);
    close(other);
    assert_int_equal(settle(index, 0), KG_OK);
    assert_int_not_equal(kept(), -1);
    close(turn);
    kg_index_close(index);
}

static int stop_at_fifth(void *ctx, uint32_t done, uint32_t found)
{
    unsigned *calls = ctx;
    assert_int_equal(done | found, 0);
    return ++*calls == 5;
}

static void making_it_can_be_stopped(void **state)
{
    (void)state;
    unsigned calls = 0;
    struct kg_error err = { 0 };
    write_files(&here);
    struct kg_index *index = index_repo_open(&here);
    index_repo_refresh(index);
    assert_int_equal(settle(index, 0), KG_OK);
    index_repo_write(&here, "a.c", "int a;\n");
    index_repo_refresh(index);
    const int64_t then = kept();
    assert_int_equal(kg_index_settle(index, 0, stop_at_fifth, &calls, &err), KG_ERR_CANCELLED);
    assert_int_equal(kept(), then);
    ask(index, question, NULL);
    assert_int_equal(settle(index, 0), KG_OK);
    assert_int_not_equal(kept(), then);
    kg_index_close(index);
}

static void settle_whatever(struct kg_index *index)
{
    assert_int_equal(settle(index, 0), KG_OK);
}

/* As in index_equal_test.c, for a repository so large that what is kept serves in between. */
static void settled_it_equals_one_from_nothing(void **state)
{
    (void)state;
    const char *value = getenv("CHECK_LONG");
    for (uint64_t seed = 1; seed <= (value && strcmp(value, "1") == 0 ? 40 : 2); seed++) {
        struct index_repo repo;
        char when[64];
        index_repo_make(&repo);
        write_files(&repo);
        struct index_random life = { .repo = &repo, .seed = seed };
        struct kg_index *index = index_repo_open(&repo);
        for (unsigned steps = 30; steps-- > 0;) {
            index_random_step(&life);
            if (index_random_below(&life, 6) == 0)
                index_repo_refresh(index);
            const struct answer once = ask(index, question, NULL);
            assert_string_equal(ask(index, question, NULL).text, once.text);
        }
        index_repo_refresh(index);
        snprintf(when, sizeof when, "history %llu", (unsigned long long)seed);
        index_equals_new(&repo, index, settle_whatever, when);
        kg_index_close(index);
        index_repo_remove(&repo);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        INDEX_TEST(a_damaged_one_is_made_again),
        INDEX_TEST(what_changes_counts_at_once),
        INDEX_TEST(many_changes_have_it_made_anew),
        INDEX_TEST(few_changes_add_up),
        INDEX_TEST(what_was_stopped_is_still_due),
        INDEX_TEST(no_question_links_files),
        INDEX_TEST(what_cannot_be_written_is_made_once),
        INDEX_TEST(what_another_one_made_again_stays),
        INDEX_TEST(an_emptied_index_is_linked_anew),
        INDEX_TEST(linking_has_a_lock_of_its_own),
        INDEX_TEST(making_it_can_be_stopped),
        cmocka_unit_test(settled_it_equals_one_from_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
