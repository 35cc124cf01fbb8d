#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/paths.h"
#include "engine/cache/db.h"
#include "tests/unit/kv_blocks.h"

static const char *const first_steps[] = { "CREATE TABLE a(x)" };
static const char *const first_schema[] = { "CREATE TABLE a(x)", NULL };
static const char *const later_steps[] = { "CREATE TABLE a(x)", "CREATE TABLE b(y); INSERT INTO b SELECT x * 10 FROM a",
                                           "CREATE INDEX c ON b(y)" };
static const char *const later_schema[] = { "CREATE TABLE a(x)", "CREATE TABLE b(y)", "CREATE INDEX c ON b(y)", NULL };
static const char *const broken_steps[] = { "CREATE TABLE a(x)", "CREATE TABLE b(y); INSERT INTO nowhere VALUES(1)",
                                            "CREATE INDEX c ON b(y)" };
static const char *const missing_steps[] = { "CREATE TABLE a(x)", NULL, "CREATE INDEX c ON b(y)" };

static const struct kg_db_format first = { .application_id = 77, .version = 1, .steps = first_steps, .schema = first_schema,
                                           .settings = "PRAGMA synchronous = FULL" };
static const struct kg_db_format later = { .application_id = 77, .version = 3, .steps = later_steps, .schema = later_schema,
                                           .settings = "PRAGMA synchronous = FULL" };
static const struct kg_db_format broken = { .application_id = 77, .version = 3, .steps = broken_steps, .schema = later_schema,
                                            .settings = "PRAGMA synchronous = FULL" };
static const struct kg_db_format missing = { .application_id = 77, .version = 3, .steps = missing_steps, .schema = later_schema,
                                             .settings = "PRAGMA synchronous = FULL" };

static char path[300];

static int set_up(void **state)
{
    static char directory[256];
    snprintf(directory, sizeof directory, "%s", kv_directory_make());
    snprintf(path, sizeof path, "%s/x.db", directory);
    *state = directory;
    return 0;
}

static int tear_down(void **state)
{
    kv_directory_remove(*state);
    return 0;
}

static enum kg_db_state settle(const struct kg_db_format *format, const char *sql, enum kg_status expected)
{
    sqlite3 *db = NULL;
    enum kg_db_state state = KG_DB_DAMAGED;
    struct kg_error err = { .text = "" };
    assert_int_equal(kg_db_make_private(path, &err), KG_OK);
    assert_int_equal(kg_db_connect(path, 100, &db, &err), KG_OK);
    enum kg_status status = kg_db_settle(db, format, &state, &err);
    if (status != expected)
        fail_msg("status %d: %s", status, err.text);
    if (status == KG_OK && sql && kg_db_exec(db, sql, &err) != KG_OK)
        fail_msg("%s", err.text);
    sqlite3_close(db);
    return state;
}

static int64_t number(const char *sql)
{
    sqlite3 *db = NULL;
    sqlite3_int64 n = 0;
    assert_int_equal(kg_db_connect(path, 100, &db, NULL), KG_OK);
    assert_int_equal(kg_db_number(db, sql, &n, NULL), KG_OK);
    sqlite3_close(db);
    return n;
}

static void an_older_file_is_taken_along_step_by_step(void **state)
{
    (void)state;
    assert_int_equal(settle(&first, "INSERT INTO a VALUES(4), (5)", KG_OK), KG_DB_CURRENT);
    assert_int_equal(settle(&later, NULL, KG_OK), KG_DB_CURRENT);
    assert_int_equal(number("SELECT sum(y) FROM b"), 90);
    assert_int_equal(number("PRAGMA user_version"), 3);
    assert_int_equal(settle(&later, NULL, KG_OK), KG_DB_CURRENT);
    assert_int_equal(number("SELECT sum(y) FROM b"), 90);
    assert_int_equal(settle(&first, NULL, KG_OK), KG_DB_NEWER);
}

static void a_step_that_fails_changes_nothing(void **state)
{
    (void)state;
    settle(&first, "INSERT INTO a VALUES(4)", KG_OK);
    settle(&broken, NULL, KG_ERR_IO);
    assert_int_equal(number("PRAGMA user_version"), 1);
    assert_int_equal(number("SELECT count(*) FROM sqlite_schema"), 1);
    assert_int_equal(settle(&later, NULL, KG_OK), KG_DB_CURRENT);
    assert_int_equal(number("SELECT sum(y) FROM b"), 40);
}

static void a_version_without_a_step_is_older(void **state)
{
    (void)state;
    settle(&first, NULL, KG_OK);
    assert_int_equal(settle(&missing, NULL, KG_OK), KG_DB_OLDER);
    assert_int_equal(number("PRAGMA user_version"), 1);
}

static void a_link_or_directory_is_no_file(void **state)
{
    struct kg_error err;
    assert_int_equal(kg_db_make_private(*state, &err), KG_ERR_UNSUPPORTED);
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_int_equal(kg_db_make_private(path, &err), KG_ERR_UNSUPPORTED);
}

static void noise_of_any_length_is_told_from_a_database(void **state)
{
    (void)state;
    static char noise[70000];
    static const size_t lengths[] = { 2, 16, 99, 100, 511, 512, 4096, 70000 };
    for (size_t i = 0; i < sizeof noise; i++)
        noise[i] = (char)(i * 131 + 7);
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        assert_int_equal(kg_write_file(path, noise, lengths[i], 0600, NULL), KG_OK);
        enum kg_db_state found = settle(&first, NULL, KG_OK);
        if (found != KG_DB_FOREIGN && found != KG_DB_DAMAGED)
            fail_msg("%zu bytes are %s", lengths[i], kg_db_state_text(found));
    }
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(an_older_file_is_taken_along_step_by_step),
        TEST(a_step_that_fails_changes_nothing),
        TEST(a_version_without_a_step_is_older),
        TEST(a_link_or_directory_is_no_file),
        TEST(noise_of_any_length_is_told_from_a_database),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
