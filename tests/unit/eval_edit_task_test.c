/* Task files of kedge eval edit: what is read from a whole one, and that none of its beginnings is read beyond its end. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "engine/eval/edit_task.h"

static const char whole[] = "language: javascript\nkind: rename\nregion: lib/b.js 2-2\n\nRename x.\n\nEverywhere.\n"
                            "-- a.js --\nlet x;\n-- lib/b.js --\none\ntwo\n-- check.sh --\ntrue\n-- check/empty.js --\n"
                            "-- solution.patch --\n--- a/a.js\n";
static char path[64];

static int make_path(void **state)
{
    (void)state;
    strcpy(path, "/tmp/kedge-task-XXXXXX");
    int fd = mkstemp(path);
    close(fd);
    return fd < 0;
}

static int remove_path(void **state)
{
    (void)state;
    return unlink(path);
}

static void put(const char *bytes, size_t length)
{
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, length, file), length);
    fclose(file);
}

static enum kg_status read_back(struct kg_edit_tasks *tasks, struct kg_error *err)
{
    enum kg_status status = kg_edit_tasks_read(path, tasks, err);
    assert_int_equal(tasks->count, status == KG_OK);
    return status;
}

static void test_whole(void **state)
{
    struct kg_edit_tasks tasks;
    struct kg_error err;
    (void)state;
    put(whole, sizeof whole - 1);
    assert_int_equal(read_back(&tasks, &err), KG_OK);
    const struct kg_edit_task *task = tasks.tasks;
    assert_string_equal(task->language, "javascript");
    assert_string_equal(task->kind, "rename");
    assert_string_equal(task->request, "Rename x.\n\nEverywhere.");
    assert_int_equal(task->file_count, 2);
    assert_string_equal(task->files[0].path, "a.js");
    assert_string_equal(task->files[0].text, "let x;\n");
    assert_int_equal(task->files[0].length, 7);
    assert_int_equal(task->files[0].first, 0);
    assert_string_equal(task->files[1].path, "lib/b.js");
    assert_string_equal(task->files[1].text, "one\ntwo\n");
    assert_int_equal(task->files[1].first, 2);
    assert_int_equal(task->files[1].last, 2);
    assert_int_equal(task->check_count, 2);
    assert_string_equal(task->checks[1].path, "check/empty.js");
    assert_string_equal(task->checks[1].text, "");
    assert_string_equal(task->solution, "--- a/a.js\n");
    kg_edit_tasks_free(&tasks);
}

static void test_every_beginning(void **state)
{
    struct kg_edit_tasks tasks;
    struct kg_error err;
    (void)state;
    const size_t needed = (size_t)(strstr(whole, "solution.patch --") - whole) + sizeof "solution.patch --" - 1;
    for (size_t length = 0; length < sizeof whole; length++) {
        put(whole, length);
        enum kg_status status = read_back(&tasks, &err);
        if ((status == KG_OK) != (length >= needed))
            fail_msg("%zu bytes: %d %s", length, status, err.text);
        kg_edit_tasks_free(&tasks);
    }
}

static void expect_refusal(const char *bytes, size_t length, enum kg_status status)
{
    struct kg_edit_tasks tasks;
    struct kg_error err;
    put(bytes, length);
    assert_int_equal(read_back(&tasks, &err), status);
    assert_null(tasks.tasks);
}

static void test_hostile(void **state)
{
    static const char *const regions[] = { "", "x", " 1-1", "a.js", "a.js ", "a.js 1", "a.js -1-1", "a.js 1-2", "a.js 0-1", "a.js 2-1", "a.js 1-1 ",
                                           "a.js 1-99999999999999999999", "a.js 18446744073709551617-1", "check.sh 1-1" };
    static const char *const paths[] = { "/a", "../a", "a/../b", "a/", "a//b", ".git/config", "a/.b", "a b", "a\\b", "a\x1b" };
    char text[1024];
    (void)state;
    for (size_t i = 0; i < sizeof regions / sizeof *regions; i++) {
        int n = snprintf(text, sizeof text, "region: %s\n%s", regions[i], whole);
        expect_refusal(text, (size_t)n, KG_ERR_FORMAT);
    }
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        int n = snprintf(text, sizeof text, "%s-- %s --\nx\n", whole, paths[i]);
        expect_refusal(text, (size_t)n, KG_ERR_FORMAT);
    }
    char nul[sizeof whole];
    memcpy(nul, whole, sizeof whole);
    nul[sizeof whole - 3] = '\0';
    expect_refusal(nul, sizeof whole - 1, KG_ERR_FORMAT);
    char *many = malloc(KG_EDIT_TASK_MAX + 2);
    assert_non_null(many);
    memset(many, '\n', KG_EDIT_TASK_MAX + 1);
    memcpy(many, whole, sizeof whole - 1);
    expect_refusal(many, KG_EDIT_TASK_MAX + 1, KG_ERR_RANGE);
    size_t length = sizeof whole - 1;
    for (int i = 0; i < KG_EDIT_TASK_FILES; i++)
        length += (size_t)snprintf(many + length, 32, "-- f%d --\n", i);
    expect_refusal(many, length, KG_ERR_RANGE);
    free(many);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_whole, make_path, remove_path),
        cmocka_unit_test_setup_teardown(test_every_beginning, make_path, remove_path),
        cmocka_unit_test_setup_teardown(test_hostile, make_path, remove_path),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
