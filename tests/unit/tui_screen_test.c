#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tui/screen/screen.h"
#include "tui/screen/wrap.h"

/* What a text looks like on a screen of one row; escapes in styles as '!'. */
static const char *shown(const char *text, size_t length, char *styles)
{
    static char row[4096];
    struct kg_screen *screen = kg_screen_create(1, 120);
    kg_screen_put(screen, 0, 0, 120, text, length, KG_STYLE_TEXT);
    kg_screen_row_text(screen, 0, row, sizeof row);
    if (styles)
        kg_screen_row_styles(screen, 0, styles, 200);
    kg_screen_free(screen);
    return row;
}

static void control_bytes_are_shown(void **state)
{
    (void)state;
    char styles[200];
    assert_string_equal(shown("a\x1b[2Jb", 6, styles), "a^[[2Jb");
    assert_string_equal(styles, ".!!....");
    assert_string_equal(shown("\0\x7f\r\t|", 5, NULL), "^@^?^M |");
    assert_string_equal(shown("x\nx", 3, NULL), "x^Jx");
    assert_string_equal(shown("\xc2\x9b", 2, NULL), "<U+009B>");
    assert_string_equal(shown("\xff\xc0\xaf\xe2\x82", 5, NULL), "\\xff\\xc0\\xaf\\xe2\\x82");
    assert_string_equal(shown("\xed\xa0\x80", 3, NULL), "\\xed\\xa0\\x80");
}

static void invisible_characters_are_shown(void **state)
{
    (void)state;
    assert_string_equal(shown("a\xe2\x80\xae" "b", 5, NULL), "a<U+202E>b");
    assert_string_equal(shown("a\xe2\x80\x8b" "b", 5, NULL), "a<U+200B>b");
    assert_string_equal(shown("a\xe2\x80\x8d" "b", 5, NULL), "a<U+200D>b");
    assert_string_equal(shown("\xef\xbb\xbf", 3, NULL), "<U+FEFF>");
    assert_string_equal(shown("\xf3\xa0\x81\x81", 4, NULL), "<U+E0041>");
    assert_string_equal(shown("\xef\xb8\x8f", 3, NULL), "<U+FE0F>");
    assert_string_equal(shown("\xe2\x9d\xa4\xef\xb8\x8f\xef\xb8\x8f", 9, NULL), "❤<U+FE0F>");
    assert_string_equal(shown("\xe2\x80\xa8", 3, NULL), "<U+2028>");
}

static void widths(void **state)
{
    (void)state;
    assert_int_equal(kg_text_width("漢字", 6), 4);
    assert_int_equal(kg_text_width("e\xcc\x81x", 4), 2);
    assert_int_equal(kg_text_width("👩‍👩‍👧", strlen("👩‍👩‍👧")), 6);
    assert_string_equal(shown("👩‍👩‍👧.", strlen("👩‍👩‍👧."), NULL), "👩👩👧.");
    assert_string_equal(shown("👍🏽.", strlen("👍🏽."), NULL), "👍.");
    assert_string_equal(shown("🇩🇪", strlen("🇩🇪"), NULL), "DE");
    assert_string_equal(shown("\xcc\x81x", 3, NULL), "◌\xcc\x81x");
    assert_int_equal(kg_text_width("\xe1\x84\x92\xe1\x85\xa1\xe1\x86\xab", 9), 2); /* conjoining Hangul */
    char zalgo[201] = "a";
    for (int i = 0; i < 100; i++)
        memcpy(zalgo + 1 + 2 * i, "\xcc\x81", 2);
    struct kg_glyph glyph;
    kg_glyph_next(zalgo, sizeof zalgo, &glyph);
    assert_int_equal(glyph.bytes, 201);
    assert_int_equal(glyph.width, 1);
}

/* Whatever the bytes are: every glyph takes at least one, holds printable characters only, and its widths add up. */
static void any_bytes_are_glyphs(void **state)
{
    (void)state;
    srand(7);
    for (int round = 0; round < 20000; round++) {
        char bytes[24];
        size_t length = 1 + (size_t)rand() % sizeof bytes;
        for (size_t i = 0; i < length; i++)
            bytes[i] = (char)(rand() % 3 ? 0x80 + rand() % 128 : rand());
        struct kg_glyph glyph;
        for (size_t at = 0; at < length; at += glyph.bytes) {
            kg_glyph_next(bytes + at, length - at, &glyph);
            assert_in_range(glyph.bytes, 1, length - at);
            unsigned width = 0;
            for (unsigned c = 0; c < glyph.cells; c++) {
                width += glyph.cell[c].width;
                for (unsigned i = 0; i < KG_CELL_CHARS && glyph.cell[c].chars[i]; i++) {
                    uint32_t code = glyph.cell[c].chars[i];
                    assert_true(code >= 0x20 && code != 0x7f && !(code >= 0x80 && code < 0xa0));
                }
            }
            assert_int_equal(width, glyph.width);
        }
        for (size_t at = length; at > 0;) {
            size_t before = kg_glyph_boundary_before(bytes, length, at);
            assert_true(before < at);
            at = before;
        }
    }
}

static void wide_characters_never_leave_halves(void **state)
{
    (void)state;
    char row[200];
    struct kg_screen *screen = kg_screen_create(1, 5);
    assert_int_equal(kg_screen_puts(screen, 0, 0, 5, "漢字漢", KG_STYLE_TEXT), 4);
    kg_screen_puts(screen, 0, 1, 5, "x", KG_STYLE_TEXT);
    kg_screen_row_text(screen, 0, row, sizeof row);
    assert_string_equal(row, " x字");
    kg_screen_puts(screen, 0, 2, 3, "y", KG_STYLE_TEXT);
    kg_screen_row_text(screen, 0, row, sizeof row);
    assert_string_equal(row, " xy");
    kg_screen_put_cut(screen, 0, 0, 5, "漢字漢", 9, KG_STYLE_TEXT);
    kg_screen_row_text(screen, 0, row, sizeof row);
    assert_string_equal(row, "漢字…");
    kg_screen_puts(screen, 9, 0, 5, "nowhere", KG_STYLE_TEXT);
    kg_screen_puts(screen, -1, -3, 5, "nowhere", KG_STYLE_TEXT);
    assert_true(kg_screen_resize(screen, 0, 0));
    assert_int_equal(screen->columns, 1);
    kg_screen_puts(screen, 0, 0, 5, "漢", KG_STYLE_TEXT);
    kg_screen_row_text(screen, 0, row, sizeof row);
    assert_string_equal(row, "");
    kg_screen_free(screen);
}

static const char *wrapped(const char *text, int width, bool by_words)
{
    static char out[4096];
    size_t length = strlen(text), at = 0, used = 0;
    for (;;) {
        struct kg_row row;
        kg_wrap_row(text, length, at, width, by_words, &row);
        used += (size_t)snprintf(out + used, sizeof out - used, "%.*s|", (int)(row.end - row.start), text + row.start);
        if (row.next >= length)
            return out;
        assert_true(row.next > at);
        at = row.next;
    }
}

static void rows_end_at_words(void **state)
{
    (void)state;
    assert_string_equal(wrapped("the quick brown fox", 10, true), "the quick|brown fox|");
    assert_string_equal(wrapped("the quick brown fox", 9, true), "the quick|brown fox|");
    assert_string_equal(wrapped("the  quick", 5, true), "the|quick|");
    assert_string_equal(wrapped("abcdefghij", 4, true), "abcd|efgh|ij|");
    assert_string_equal(wrapped("a bcdefghij", 4, true), "a|bcde|fghi|j|");
    assert_string_equal(wrapped("one\n\ntwo", 8, true), "one||two|");
    assert_string_equal(wrapped("one  \ntwo", 3, true), "one|two|");
    assert_string_equal(wrapped("    indented text", 10, true), "    indent|ed text|");
    assert_string_equal(wrapped("漢字漢字", 5, true), "漢字|漢字|");
    assert_string_equal(wrapped("x = 1; y = 2", 5, false), "x = 1|; y =| 2|");
    assert_string_equal(wrapped("\tx", 4, false), "\t|x|");
    assert_string_equal(wrapped("", 4, true), "|");
    assert_string_equal(wrapped("\x1b\x1b\x1b", 4, true), "\x1b\x1b|\x1b|");
    assert_string_equal(wrapped("<\xe2\x80\xae>", 2, true), "<|\xe2\x80\xae|>|");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(control_bytes_are_shown),
        cmocka_unit_test(invisible_characters_are_shown),
        cmocka_unit_test(widths),
        cmocka_unit_test(any_bytes_are_glyphs),
        cmocka_unit_test(wide_characters_never_leave_halves),
        cmocka_unit_test(rows_end_at_words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
