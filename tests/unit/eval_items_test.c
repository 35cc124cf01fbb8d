/* Data files of evaluations, plain and compressed, whole and hostile. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include <cmocka.h>

#include "engine/eval/eval.h"

static const char *const needed[] = { "task_id", "prompt", NULL };
static char path[64];

static int make_path(void **state)
{
    (void)state;
    strcpy(path, "/tmp/kedge-items-XXXXXX");
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

static void put_compressed(const char *bytes, size_t length, size_t times)
{
    gzFile file = gzopen(path, "wb1");
    while (times--)
        assert_int_equal(gzwrite(file, bytes, (unsigned)length), length);
    gzclose(file);
}

static void expect(enum kg_status status, const char *says)
{
    struct kg_eval_items items = { 0 };
    struct kg_error err = { .text = "" };
    assert_int_equal(kg_eval_items_read(path, needed, &items, &err), status);
    if (!strstr(err.text, says))
        fail_msg("'%s' says nothing of '%s'", err.text, says);
    assert_null(items.items);
}

static const char two[] = "{\"task_id\": \"a/0\", \"prompt\": \"x\\n\\u00e9\", \"more\": [1, {}]}\r\n\n  \n{\"prompt\": \"\", \"task_id\": \"a/1\", \"test\": \"t\"}";

static void expect_two(void)
{
    struct kg_eval_items items;
    struct kg_error err;
    if (kg_eval_items_read(path, needed, &items, &err) != KG_OK)
        fail_msg("%s", err.text);
    assert_int_equal(items.count, 2);
    assert_string_equal(items.items[0].task_id, "a/0");
    assert_string_equal(items.items[0].prompt, "x\n\xc3\xa9");
    assert_string_equal(items.items[1].prompt, "");
    assert_null(items.items[1].test); /* not asked for */
    kg_eval_items_free(&items);
    assert_int_equal(items.count, 0);
}

static void test_plain_and_compressed(void **state)
{
    (void)state;
    put(two, sizeof two - 1);
    expect_two();
    put_compressed(two, sizeof two - 1, 1);
    expect_two();
}

static void test_lines_that_are_wrong(void **state)
{
    (void)state;
    static const struct {
        const char *text, *says;
    } lines[] = {
        { "{\"task_id\": \"a\", \"prompt\": \"b\"}\n{\"task_id\": \"a\"}", "line 2 has no text named prompt" },
        { "{\"task_id\": 5, \"prompt\": \"b\"}", "line 1 has no text named task_id" },
        { "[\"task_id\"]", "line 1 has no text named task_id" },
        { "\n\nhello", "line 3 is no JSON" },
        { "{\"task_id\": \"a\", \"prompt\": \"b\"", "line 1 is no JSON" },
        { "", "holds no items" },
        { "\n \n", "holds no items" },
    };
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        put(lines[i].text, strlen(lines[i].text));
        expect(KG_ERR_FORMAT, lines[i].says);
    }
    put("\0\xff", 2);
    expect(KG_ERR_FORMAT, "line 1 is no JSON");
}

static void test_too_much(void **state)
{
    (void)state;
    size_t length = KG_EVAL_LINE_MAX + 64;
    char *line = malloc(length + 1);
    memset(line, ' ', length);
    memcpy(line, "{\"task_id\": \"a\", \"prompt\": \"", 28);
    line[length - 2] = '"';
    line[length - 1] = '}';
    put(line, length);
    expect(KG_ERR_RANGE, "line 1 has more than");
    /* 100 MiB in 100 KiB */
    memset(line, '\n', length);
    put_compressed(line, (size_t)1 << 20, 100);
    expect(KG_ERR_RANGE, "more than 64 MiB");
    memset(line, '[', length);
    put(line, KG_EVAL_LINE_MAX); /* deep */
    expect(KG_ERR_FORMAT, "no JSON");
    free(line);
}

/* Cut anywhere, or with any bit flipped behind the header, a compressed file is refused; some bits are padding. */
static void test_damaged(void **state)
{
    (void)state;
    put_compressed(two, sizeof two - 1, 1);
    char whole[1024], changed[1024];
    size_t refused = 0;
    FILE *file = fopen(path, "rb");
    size_t length = fread(whole, 1, sizeof whole, file);
    fclose(file);
    for (size_t n = 2; n < length; n++) {
        put(whole, n);
        expect(KG_ERR_FORMAT, "");
    }
    for (size_t bit = 80; bit < 8 * length; bit++) {
        memcpy(changed, whole, length);
        changed[bit / 8] = (char)(changed[bit / 8] ^ 1 << bit % 8);
        put(changed, length);
        struct kg_eval_items items;
        enum kg_status status = kg_eval_items_read(path, needed, &items, NULL);
        refused += status == KG_ERR_FORMAT;
        if (status == KG_OK) {
            kg_eval_items_free(&items);
            expect_two();
        }
    }
    assert_true(refused >= 8 * (length - 10) - 7);
}

static void test_what_is_no_file(void **state)
{
    (void)state;
    struct kg_eval_items items;
    struct kg_error err;
    assert_int_equal(kg_eval_items_read("/nonexistent/x", needed, &items, &err), KG_ERR_NOT_FOUND);
    assert_int_equal(kg_eval_items_read("/tmp", needed, &items, &err), KG_ERR_USAGE);
    unlink(path);
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_int_equal(kg_eval_items_read(path, needed, &items, &err), KG_ERR_USAGE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_plain_and_compressed, make_path, remove_path),
        cmocka_unit_test_setup_teardown(test_lines_that_are_wrong, make_path, remove_path),
        cmocka_unit_test_setup_teardown(test_too_much, make_path, remove_path),
        cmocka_unit_test_setup_teardown(test_damaged, make_path, remove_path),
        cmocka_unit_test_setup_teardown(test_what_is_no_file, make_path, remove_path),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
