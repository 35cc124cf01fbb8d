#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tui/transcript/markdown.h"
#include "tui/transcript/transcript.h"

/* The rows of a screen, each ended by a newline, blank ones at the end left out; with styles below each if asked for. */
static const char *rows_of(const struct kg_screen *screen, bool styles)
{
    static char out[65536];
    size_t used = 0, end = 0;
    out[0] = '\0';
    for (int row = 0; row < screen->rows; row++) {
        char text[8192];
        kg_screen_row_text(screen, row, text, sizeof text);
        used += (size_t)snprintf(out + used, sizeof out - used, "%s\n", text);
        if (*text)
            end = used;
        if (styles && *text) {
            kg_screen_row_styles(screen, row, text, sizeof text);
            used += (size_t)snprintf(out + used, sizeof out - used, "%s\n", text);
            end = used;
        }
    }
    out[end] = '\0';
    return out;
}

static const char *rendered_bytes(const char *text, size_t length, int columns, bool styles)
{
    struct kg_rich_text *rich = kg_rich_create();
    struct kg_screen *screen = kg_screen_create(60, columns);
    kg_markdown(rich, text, length, "");
    assert_true(kg_rich_whole(rich));
    assert_true(kg_rich_layout(rich, columns, 100));
    for (size_t i = 0; i < kg_rich_rows(rich); i++)
        kg_rich_draw(rich, i, NULL, KG_NOWHERE, screen, (int)i, 0, columns);
    const char *out = rows_of(screen, styles);
    kg_rich_free(rich);
    kg_screen_free(screen);
    return out;
}

static const char *rendered(const char *text, int columns)
{
    return rendered_bytes(text, strlen(text), columns, false);
}

static void markdown_blocks(void **state)
{
    (void)state;
    assert_string_equal(rendered("one two\n\nthree", 20), "one two\n\nthree\n");
    assert_string_equal(rendered("# Title\ntext", 20), "Title\n\ntext\n");
    assert_string_equal(rendered("one\ntwo", 20), "one\ntwo\n");
    assert_string_equal(rendered("text\n```c\nint x;\n\n  int y;\n```\nafter", 20), "text\n\n  int x;\n\n    int y;\n\nafter\n");
    assert_string_equal(rendered("```c\nint open", 20), "  int open\n");
    assert_string_equal(rendered("- a\n- b\n  - c\n- d", 20), "• a\n• b\n  • c\n• d\n");
    assert_string_equal(rendered("9. a long item here\n10. b", 12), "9. a long\n   item here\n10. b\n");
    assert_string_equal(rendered("- a\n\n  more\n\n- b", 20), "• a\n\n  more\n\n• b\n");
    assert_string_equal(rendered("> quoted words", 10), "> quoted\n> words\n");
    assert_string_equal(rendered("- > q", 10), "• > q\n");
    assert_string_equal(rendered("-\n- b", 10), "•\n• b\n");
    assert_string_equal(rendered("a\n\n---\n\nb", 10), "a\n\n────────\n\nb\n");
    assert_string_equal(rendered("```c tui/main.c\nx\n```", 20), "  c tui/main.c\n  x\n");
    assert_string_equal(rendered("", 10), "");
}

static void markdown_styles(void **state)
{
    (void)state;
    assert_string_equal(rendered_bytes("a `b` **c**", 11, 20, true), "a b c\n. c :\n");
    assert_string_equal(rendered_bytes("```\nx\n```", 9, 20, true), "  x\ndd" "k\n");
    assert_string_equal(rendered_bytes("# T", 3, 20, true), "T\nt\n");
}

/* Nothing of a source may vanish. */
static void markdown_hides_nothing(void **state)
{
    (void)state;
    assert_string_equal(rendered("see [here](http://x/y)", 40), "see here (http://x/y)\n");
    assert_string_equal(rendered("[1]: http://x/y", 40), "[1]: http://x/y\n");
    assert_string_equal(rendered("> [1]: http://x/y", 40), "> [1]: http://x/y\n");
    assert_string_equal(rendered("```\n[1]: x\n```", 40), "  [1]: x\n");
    assert_string_equal(rendered("<!-- hidden --> <b>x</b>", 40), "<!-- hidden --> <b>x</b>\n");
    assert_string_equal(rendered("![alt](u)", 40), "image: alt (u)\n");
    assert_string_equal(rendered("| a | b |\n|---|---|\n| 1 | 2 |", 40), "| a | b |\n|---|---|\n| 1 | 2 |\n");
    assert_string_equal(rendered("a &lt; b &#27; &unknown;", 40), "a < b ^[ &unknown;\n");
    assert_string_equal(rendered_bytes("a\0b", 3, 40, false), "a^@b\n");
    assert_string_equal(rendered("a \x1b[2J \xe2\x80\xae", 40), "a ^[[2J <U+202E>\n");
}

static void any_bytes_are_rendered(void **state)
{
    (void)state;
    static const char alphabet[] = "`````~~~>>>---***___###[[]]():123.  \n\n\n\t<!&;ab\\\x1b\xff\xc3\xa4";
    srand(5);
    for (int round = 0; round < 3000; round++) {
        char text[300];
        size_t length = (size_t)rand() % sizeof text;
        for (size_t i = 0; i < length; i++)
            text[i] = alphabet[(size_t)rand() % (sizeof alphabet - 1)];
        struct kg_rich_text *rich = kg_rich_create();
        kg_markdown(rich, text, length, "  ");
        for (int width = 1; width < 60; width += 7) {
            struct kg_screen *screen = kg_screen_create(3, width);
            assert_true(kg_rich_layout(rich, width, 40));
            for (size_t i = 0; i < kg_rich_rows(rich); i++)
                kg_rich_draw(rich, i, NULL, KG_NOWHERE, screen, (int)i % 3, 0, width);
            kg_screen_free(screen);
        }
        kg_rich_free(rich);
    }
}

static void add(struct kg_transcript *transcript, enum kg_entry_kind kind, const char *text)
{
    assert_true(kg_transcript_add(transcript, kind, text, strlen(text)));
}

static const char *window(struct kg_transcript *transcript, int rows, int columns)
{
    struct kg_screen *screen = kg_screen_create(rows, columns);
    kg_transcript_set_window(transcript, rows, columns);
    kg_transcript_draw(transcript, screen, 0);
    const char *out = rows_of(screen, false);
    kg_screen_free(screen);
    return out;
}

static void entries_stand_one_under_another(void **state)
{
    (void)state;
    struct kg_transcript *t = kg_transcript_create();
    add(t, KG_ENTRY_QUESTION, "what does it do?");
    kg_transcript_add_folded(t, KG_ENTRY_READING, "read 2 files, 30 tokens: a (named), b (named)", "read a\nread b", 13);
    kg_transcript_append(t, KG_ENTRY_THOUGHT, "let me ", 7);
    kg_transcript_append(t, KG_ENTRY_THOUGHT, "see", 3);
    add(t, KG_ENTRY_QUEUED, "and then?");
    kg_transcript_append(t, KG_ENTRY_ANSWER, "It *does", 8);
    kg_transcript_append(t, KG_ENTRY_ANSWER, "* it.", 5);
    assert_string_equal(window(t, 20, 40), "› what does it do?\n\n  read 2 files, 30 tokens: a (named),…\n\n  thought for 3 words\n\n"
                                           "  It does it.\n\n› and then?  (queued)\n");
    kg_transcript_unfold(t, true);
    assert_string_equal(window(t, 20, 40), "› what does it do?\n\n  read a\n  read b\n\n  let me see\n\n  It does it.\n\n› and then?  (queued)\n");
    kg_transcript_drop_queued(t, false);
    size_t length;
    assert_null(kg_transcript_last(t, KG_ENTRY_QUEUED, &length));
    assert_string_equal(kg_transcript_last(t, KG_ENTRY_ANSWER, &length), "It *does* it.");
    kg_transcript_clear(t);
    assert_string_equal(window(t, 20, 40), "");
    kg_transcript_free(t);
}

/* A notice in the middle of an answer does not cut it in two. */
static void answers_grow_above_notices(void **state)
{
    (void)state;
    struct kg_transcript *t = kg_transcript_create();
    add(t, KG_ENTRY_QUESTION, "q");
    kg_transcript_append(t, KG_ENTRY_ANSWER, "one ", 4);
    add(t, KG_ENTRY_NOTICE, "noticed");
    kg_transcript_append(t, KG_ENTRY_ANSWER, "two", 3);
    assert_string_equal(window(t, 20, 40), "› q\n\n  one two\n\n  noticed\n");
    kg_transcript_free(t);
}

static void scrolling_follows_until_moved(void **state)
{
    (void)state;
    struct kg_transcript *t = kg_transcript_create();
    char text[64];
    for (int i = 0; i < 10; i++) {
        snprintf(text, sizeof text, "line %d", i);
        add(t, KG_ENTRY_NOTICE, text);
    }
    assert_string_equal(window(t, 3, 20), "  line 7\n  line 8\n  line 9\n");
    assert_false(kg_transcript_more_below(t));
    kg_transcript_scroll(t, -2);
    assert_string_equal(window(t, 3, 20), "  line 5\n  line 6\n  line 7\n");
    assert_true(kg_transcript_more_below(t));
    add(t, KG_ENTRY_NOTICE, "line 10");
    assert_string_equal(window(t, 3, 20), "  line 5\n  line 6\n  line 7\n");
    kg_transcript_scroll(t, 2);
    assert_true(kg_transcript_more_below(t));
    kg_transcript_scroll(t, 5);
    assert_false(kg_transcript_more_below(t));
    add(t, KG_ENTRY_NOTICE, "line 11");
    assert_string_equal(window(t, 3, 20), "  line 9\n  line 10\n  line 11\n");
    kg_transcript_to_start(t);
    assert_string_equal(window(t, 3, 20), "  line 0\n  line 1\n  line 2\n");
    kg_transcript_scroll(t, -100);
    assert_string_equal(window(t, 3, 20), "  line 0\n  line 1\n  line 2\n");
    kg_transcript_to_end(t);
    assert_string_equal(window(t, 3, 20), "  line 9\n  line 10\n  line 11\n");
    kg_transcript_free(t);
}

static void resizing_keeps_the_place(void **state)
{
    (void)state;
    struct kg_transcript *t = kg_transcript_create();
    char text[4096] = "";
    for (int i = 0; i < 100; i++)
        snprintf(text + strlen(text), 20, "word%03d ", i);
    add(t, KG_ENTRY_ANSWER, text);
    add(t, KG_ENTRY_ANSWER, text);
    window(t, 5, 80);
    kg_transcript_to_start(t);
    kg_transcript_scroll(t, 4);
    char first[16];
    snprintf(first, sizeof first, "%.9s", window(t, 5, 80));
    for (int columns = 12; columns < 90; columns += 11) {
        const char *now = window(t, 5, columns);
        char row[128];
        snprintf(row, sizeof row, "%.*s", (int)strcspn(now, "\n"), now);
        assert_non_null(strstr(row, "word")); /* the row at the top holds the place that was there */
    }
    assert_memory_equal(window(t, 5, 80), first, 9);
    kg_transcript_free(t);
}

static void any_scrolling_is_sound(void **state)
{
    (void)state;
    struct kg_transcript *t = kg_transcript_create();
    srand(9);
    for (int round = 0; round < 4000; round++) {
        static const char *const texts[] = { "a", "some words that are longer than a row", "```\ncode\ncode\n```", "", "x\n\ny", "漢字漢字" };
        const char *text = texts[rand() % 6];
        switch (rand() % 10) {
        case 0:
            kg_transcript_to_start(t);
            break;
        case 1:
            kg_transcript_to_end(t);
            break;
        case 2:
            kg_transcript_unfold(t, rand() % 2);
            break;
        case 3:
            kg_transcript_drop_queued(t, rand() % 2);
            break;
        case 4:
        case 5:
            kg_transcript_scroll(t, rand() % 40 - 20);
            break;
        case 6:
            kg_transcript_append(t, (enum kg_entry_kind)(rand() % 3), text, strlen(text));
            break;
        default:
            add(t, (enum kg_entry_kind)(rand() % 9), text);
        }
        if (rand() % 300 == 0)
            kg_transcript_clear(t);
        window(t, 1 + rand() % 10, 1 + rand() % 50);
    }
    kg_transcript_to_end(t);
    add(t, KG_ENTRY_QUEUED, "the end");
    assert_non_null(strstr(window(t, 5, 50), "the end"));
    kg_transcript_free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(markdown_blocks),
        cmocka_unit_test(markdown_styles),
        cmocka_unit_test(markdown_hides_nothing),
        cmocka_unit_test(any_bytes_are_rendered),
        cmocka_unit_test(entries_stand_one_under_another),
        cmocka_unit_test(answers_grow_above_notices),
        cmocka_unit_test(scrolling_follows_until_moved),
        cmocka_unit_test(resizing_keeps_the_place),
        cmocka_unit_test(any_scrolling_is_sound),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
