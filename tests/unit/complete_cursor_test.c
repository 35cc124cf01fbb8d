/* What surrounds a cursor, where a completion ends, and how a ghost is taken. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tui/complete/around.h"
#include "tui/complete/ending.h"
#include "tui/complete/ghost.h"
#include "tui/complete/place.h"

static char *lines(size_t count, size_t width, size_t *length)
{
    char *text = malloc(count * (width + 1) + 1);
    assert_non_null(text);
    for (size_t i = 0; i < count * (width + 1); i++)
        text[i] = (char)(i % (width + 1) == width ? '\n' : 'a' + i % 23);
    *length = count * (width + 1);
    text[*length] = '\0';
    return text;
}

static size_t newlines(const char *text, size_t from, size_t to)
{
    size_t n = 0;
    for (size_t i = from; i < to; i++)
        n += text[i] == '\n';
    return n;
}

static void test_lines_around(void **state)
{
    size_t length;
    char *text = lines(1000, 20, &length);
    (void)state;
    for (size_t cursor = 0; cursor <= length; cursor += 397) {
        struct kg_around around = kg_around_cursor(text, length, cursor);
        size_t before = newlines(text, around.from, cursor), behind = newlines(text, cursor, around.to);
        assert_true(around.from <= cursor && around.to >= cursor && around.to <= length);
        assert_true(around.from == 0 || (text[around.from - 1] == '\n' && before >= 96 && before < 160));
        assert_true(around.to == length || (text[around.to - 1] == '\n' && behind >= 48 && behind < 64));
    }
    free(text);
}

/* While somebody writes, neither its beginning nor what is behind the cursor changes, but for a step now and then. */
static void test_writing_changes_little(void **state)
{
    size_t length, cursor, moved = 0;
    char *text = lines(1000, 20, &length), *written = malloc(length + 4096);
    struct kg_around before = { 0 };
    (void)state;
    cursor = 500 * 21;
    memcpy(written, text, length + 1);
    for (unsigned i = 0; i < 2000; i++) {
        memmove(written + cursor + 1, written + cursor, length - cursor + 1);
        written[cursor++] = i % 20 == 19 ? '\n' : 'x';
        length++;
        struct kg_around around = kg_around_cursor(written, length, cursor);
        if (i > 0) {
            assert_int_equal(around.to - cursor, before.to);
            moved += around.from != before.from;
        }
        before = (struct kg_around){ .from = around.from, .to = around.to - cursor };
    }
    assert_true(moved >= 1 && moved <= 2); /* a hundred lines are two steps at most */
    free(text);
    free(written);
}

static void test_long_lines(void **state)
{
    static const size_t widths[] = { 200, 3000, 9000, 100000 };
    (void)state;
    for (size_t w = 0; w < 4; w++) {
        size_t length;
        char *text = lines(40, widths[w], &length);
        for (size_t i = 0; i + 1 < length; i += 2)
            if (text[i] != '\n' && text[i + 1] != '\n')
                memcpy(text + i, "\xc3\xa9", 2);
        for (size_t cursor = 0; cursor <= length; cursor += length / 37 + 1) {
            while (cursor < length && ((unsigned char)text[cursor] & 0xc0) == 0x80)
                cursor++;
            struct kg_around around = kg_around_cursor(text, length, cursor);
            assert_true(around.from <= cursor && cursor - around.from <= KG_AROUND_BEFORE);
            assert_true(around.to >= cursor && around.to <= length && around.to - cursor <= KG_AROUND_BEHIND);
            assert_true(around.from == cursor || ((unsigned char)text[around.from] & 0xc0) != 0x80);
            assert_true(around.to == length || around.to == cursor || ((unsigned char)text[around.to] & 0xc0) != 0x80);
        }
        free(text);
    }
}

static void test_places(void **state)
{
    static const char text[] = "ab\r\n\xc3\xa9x\nlast";
    static const struct {
        size_t line, column, offset;
    } cases[] = { { 1, 1, 0 }, { 1, 3, 2 }, { 1, 4, 2 }, { 1, 99, 2 }, { 2, 1, 4 }, { 2, 2, 4 }, { 2, 3, 6 }, { 2, 9, 7 }, { 3, 2, 9 }, { 9, 1, 12 } };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        assert_int_equal(kg_place_in(text, sizeof text - 1, cases[i].line, cases[i].column), cases[i].offset);
    assert_int_equal(kg_place_in("", 0, 1, 1), 0);
}

static void test_names(void **state)
{
    static const struct {
        const char *text, *file;
        size_t line, column;
    } cases[] = { { "a.c", "a.c", 0, 0 },     { "a.c:7", "a.c", 7, 0 },      { "a.c:7:12", "a.c", 7, 12 }, { "/x/y:z:7:12", "/x/y:z", 7, 12 },
                  { "a:b", "a:b", 0, 0 },     { "a.c:", "a.c:", 0, 0 },      { ":7", ":7", 0, 0 },         { "a.c:7x", "a.c:7x", 0, 0 },
                  { "a:1:2:3", "a:1", 2, 3 } };
    struct kg_file_place place;
    struct kg_error err;
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(kg_file_place_parse(cases[i].text, &place, &err), KG_OK);
        assert_string_equal(place.file, cases[i].file);
        assert_int_equal(place.line, cases[i].line);
        assert_int_equal(place.column, cases[i].column);
    }
    assert_int_equal(kg_file_place_parse("", &place, &err), KG_ERR_USAGE);
    char *much = malloc(2 * KG_PATH_MAX);
    memset(much, 'x', 2 * KG_PATH_MAX);
    much[2 * KG_PATH_MAX - 1] = '\0';
    assert_int_equal(kg_file_place_parse(much, &place, &err), KG_ERR_RANGE);
    free(much);
}

/* In pieces of every size the same is given, and nothing that was given is taken back. */
static void expect_given(const char *output, const char *suffix, unsigned limit, const char *expected, bool ended)
{
    size_t length = strlen(output);
    for (size_t piece = 1; piece <= length; piece++) {
        struct kg_ending ending = { .suffix = suffix, .suffix_length = strlen(suffix), .lines = limit };
        size_t given = 0;
        bool end = false;
        for (size_t at = 0; at < length && !end; at += piece) {
            end = kg_ending_take(&ending, output + at, at + piece > length ? length - at : piece);
            assert_true(ending.given >= given && ending.given <= ending.length);
            given = ending.given;
        }
        assert_int_equal(end, ended);
        kg_ending_finish(&ending);
        assert_int_equal(ending.given, strlen(expected));
        assert_memory_equal(ending.text, expected, ending.given);
        kg_ending_clear(&ending);
    }
}

static void test_endings(void **state)
{
    (void)state;
    expect_given("one\ntwo\nthree", "", 0, "one\ntwo\nthree", false);
    expect_given("one\ntwo\nthree", "", 1, "one", true);
    expect_given("\n  one\ntwo", "", 1, "\n  one", true);
    expect_given("one\ntwo\n", "", 2, "one\ntwo", true);
    expect_given("one;\n}\nmore", "\n}\n", 0, "one;", true);
    expect_given("one;\n}", "\n}\n", 0, "one;", false);
    expect_given("one;\n    }\n}", "\n\n}  \n", 0, "one;\n    }", false);
    expect_given("}\nx", "\n}\n", 0, "}\nx", false); /* the line of the cursor is its own */
    expect_given("one\nreturn 0 + x", "\nreturn 0;\n", 0, "one\nreturn 0 + x", false);
    expect_given("a\tb\x1b[31mc", "", 0, "a\tb", true);
    expect_given("a\rb", "", 0, "a", true);
    expect_given("a\x7f", "", 0, "a", true);
}

static void test_hidden_characters_end_it(void **state)
{
    static const char *const hidden[] = { "\xe2\x80\xae", "\xe2\x80\x8b", "\xc2\x9b", "\xef\xbb\xbf" };
    (void)state;
    for (size_t i = 0; i < 4; i++) {
        char text[32];
        struct kg_ending ending = { .suffix = "" };
        snprintf(text, sizeof text, "ab%scd", hidden[i]);
        assert_true(kg_ending_take(&ending, text, strlen(text)));
        assert_int_equal(ending.given, 2);
        kg_ending_clear(&ending);
    }
}

static void test_ghosts(void **state)
{
    struct kg_ghost ghost = { 0 };
    (void)state;
    kg_ghost_add(&ghost, "  foo_1(bar,", 12);
    kg_ghost_add(&ghost, " x);\n    next\n\nlast", 19);
    assert_int_equal(kg_ghost_word(&ghost), 7);
    assert_int_equal(kg_ghost_line(&ghost), 16);
    assert_false(kg_ghost_agrees(&ghost, "f", 1));
    assert_true(kg_ghost_agrees(&ghost, "  fo", 4));
    assert_int_equal(kg_ghost_word(&ghost), 3);
    kg_ghost_taken(&ghost, 3);
    assert_int_equal(kg_ghost_word(&ghost), 1);
    kg_ghost_taken(&ghost, kg_ghost_line(&ghost));
    assert_int_equal(kg_ghost_line(&ghost), 9);
    kg_ghost_taken(&ghost, 9);
    assert_int_equal(kg_ghost_word(&ghost), 6);
    assert_int_equal(kg_ghost_line(&ghost), 6);
    assert_false(kg_ghost_agrees(&ghost, "\n\nlasting", 9));
    assert_true(kg_ghost_agrees(&ghost, "\n\nlast", 6));
    assert_int_equal(ghost.length, 0);
    assert_int_equal(kg_ghost_word(&ghost), 0);
    kg_ghost_free(&ghost);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lines_around), cmocka_unit_test(test_writing_changes_little), cmocka_unit_test(test_long_lines),
        cmocka_unit_test(test_places),       cmocka_unit_test(test_names),                  cmocka_unit_test(test_endings),
        cmocka_unit_test(test_hidden_characters_end_it), cmocka_unit_test(test_ghosts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
