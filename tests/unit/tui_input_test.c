#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tui/input/editor.h"
#include "tui/input/keys.h"

static char log_text[65536];

static void note(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    size_t used = strlen(log_text);
    vsnprintf(log_text + used, sizeof log_text - used, format, args);
    va_end(args);
}

static void write_key(void *ctx, const struct kg_key *key)
{
    (void)ctx;
    static const char *const names[] = { "", "paste", "ctrl", "enter", "tab", "escape", "backspace", "delete", "up", "down", "left",
                                         "right", "home", "end", "pageup", "pagedown", "insert", "f" };
    note("%s%s%s", key->modifiers & KG_SHIFT ? "S-" : "", key->modifiers & KG_ALT ? "A-" : "", key->modifiers & KG_CONTROL ? "C-" : "");
    if (key->code == KG_KEY_TEXT)
        note("'%.*s' ", (int)key->length, key->text);
    else if (key->code == KG_KEY_PASTE)
        note("paste(%.*s) ", (int)key->length, key->text);
    else if (key->code == KG_KEY_CTRL)
        note("^%c ", key->letter);
    else if (key->code == KG_KEY_FUNCTION)
        note("f%d ", key->letter);
    else if (key->code == KG_KEY_MOUSE)
        note("mouse-%c(%d,%d) ", key->letter, key->row, key->column);
    else
        note("%s ", names[key->code]);
}

/* The same keys must come whatever pieces the bytes arrive in. */
static const char *keys_of(const char *bytes, size_t length)
{
    char whole[65536];
    for (int piecewise = 0; piecewise < 2; piecewise++) {
        log_text[0] = '\0';
        struct kg_keys *keys = kg_keys_create(write_key, NULL);
        kg_keys_teach(keys, "\x1b[[Z", KG_KEY_FUNCTION, 0);
        if (piecewise)
            for (size_t i = 0; i < length; i++)
                kg_keys_feed(keys, bytes + i, 1);
        else
            kg_keys_feed(keys, bytes, length);
        kg_keys_timeout(keys);
        assert_false(kg_keys_pending(keys));
        kg_keys_free(keys);
        if (!piecewise)
            strcpy(whole, log_text);
    }
    if (!strstr(whole, "'")) /* typed text comes in runs */
        assert_string_equal(whole, log_text);
    strcpy(log_text, whole);
    return log_text;
}
#define KEYS(literal) keys_of(literal, sizeof(literal) - 1)

static void keys_are_decoded(void **state)
{
    (void)state;
    assert_string_equal(KEYS("ab\xc3\xa4"), "'ab\xc3\xa4' ");
    assert_string_equal(KEYS("\r\n\t\x7f\b\x01\x1f\x00"), "enter ^j tab backspace backspace ^a ^_ ^@ ");
    assert_string_equal(KEYS("\x1b[A\x1bOB\x1b[1;5C\x1b[1;3D\x1b[H\x1bOF"), "up down C-right A-left home end ");
    assert_string_equal(KEYS("\x1b[5~\x1b[6;5~\x1b[3~\x1b[1~\x1b[8~"), "pageup C-pagedown delete home end ");
    assert_string_equal(KEYS("\x1b[15~\x1bOP\x1b[[B\x1b[24~"), "f5 f1 f2 f12 ");
    assert_string_equal(KEYS("\x1bOa\x1b[a\x1b[5^"), "C-up S-up C-pageup ");
    assert_string_equal(KEYS("\x1b[Z"), "S-tab ");
    assert_string_equal(KEYS("\x1b\r\x1b\x7f"), "A-enter A-backspace ");
    assert_string_equal(KEYS("\x1b" "b"), "A-'b' ");
    assert_string_equal(KEYS("\x1b\xc3\xa4"), "A-'\xc3\xa4' ");
    assert_string_equal(KEYS("\x1b\x1b[A"), "A-up ");
    assert_string_equal(KEYS("\x1b[<0;12;3M\x1b[<0;12;3m\x1b[<64;200;100M\x1b[<69;1;1M"), "mouse-c(2,11) mouse-u(99,199) S-mouse-d(0,0) ");
    assert_string_equal(KEYS("\x1b[M !!\x1b[Ma(\""), "mouse-c(0,0) mouse-d(1,7) ");
    assert_string_equal(KEYS("\x1b[13;2u\x1b[27;5;106~\x1b[98;3u"), "S-enter ^j A-'b' ");
}

static void escape_alone_and_broken_sequences(void **state)
{
    (void)state;
    assert_string_equal(KEYS("\x1b"), "escape ");
    assert_string_equal(KEYS("\x1b\x1b"), "escape escape ");
    assert_string_equal(KEYS("\x1b["), "A-'[' ");
    assert_string_equal(KEYS("\x1bO"), "A-'O' ");
    assert_string_equal(KEYS("\x1b[99"), "");
    assert_string_equal(KEYS("\x1b]11;rgb:0000/0000/0000\x07\x01"), "^a ");
    assert_string_equal(KEYS("\x1b[?62;c\x1b[?2026;2$y\x01"), "^a ");
    assert_string_equal(KEYS("\x1b[<0;0;1M\x1b[<0;5M\x1b[<0;1;1m\x1b[<35;1;1M\x1b[<2;1;1M\x1b[M!\x01"), "'!' ^a ");
    assert_string_equal(KEYS("\xff"), "'\xef\xbf\xbd' ");
    assert_string_equal(KEYS("\xe2\x82"), "'\xef\xbf\xbd' ");
    struct kg_keys *keys = kg_keys_create(write_key, NULL);
    log_text[0] = '\0';
    kg_keys_feed(keys, "\x1b", 1);
    assert_true(kg_keys_pending(keys));
    assert_string_equal(log_text, "");
    kg_keys_timeout(keys);
    kg_keys_feed(keys, "[A", 2);
    assert_string_equal(log_text, "escape '[A' ");
    kg_keys_free(keys);
}

static void pastes_come_whole(void **state)
{
    (void)state;
    assert_string_equal(KEYS("\x1b[200~a\r\nb\rc\x1b[A\x1b[201~\x01"), "paste(a\nb\nc\x1b[A) ^a ");
    assert_string_equal(KEYS("\x1b[200~\x1b[201~\x01"), "paste() ^a ");
}

static void any_bytes_are_keys(void **state)
{
    (void)state;
    static const char alphabet[] = "\x1b\x1b\x1b[[[OO]P;;0123456789~uABZ\x07\\\r\n\xc3\xa4\xff<?^$@ab\x7f";
    srand(11);
    for (int round = 0; round < 5000; round++) {
        char bytes[40];
        size_t length = (size_t)rand() % sizeof bytes;
        for (size_t i = 0; i < length; i++)
            bytes[i] = alphabet[(size_t)rand() % (sizeof alphabet - 1)];
        log_text[0] = '\0';
        struct kg_keys *keys = kg_keys_create(write_key, NULL);
        kg_keys_feed(keys, bytes, length);
        kg_keys_timeout(keys);
        kg_keys_feed(keys, "\x1b[201~", 6);
        log_text[0] = '\0';
        kg_keys_feed(keys, "\x01", 1);
        assert_non_null(strstr(log_text, "^a"));
        kg_keys_free(keys);
    }
}

/* Text with '|' for the cursor. */
static const char *edited(const struct kg_editor *editor)
{
    static char out[4096];
    size_t length, cursor = kg_editor_cursor(editor);
    const char *text = kg_editor_text(editor, &length);
    assert_int_equal(text[length], 0);
    snprintf(out, sizeof out, "%.*s|%s", (int)cursor, text, text + cursor);
    return out;
}

static struct kg_editor *editor_with(const char *text)
{
    struct kg_editor *editor = kg_editor_create();
    kg_editor_insert(editor, text, strlen(text));
    return editor;
}

static void cursor_moves_by_graphemes_and_words(void **state)
{
    (void)state;
    struct kg_editor *editor = editor_with("ae\xcc\x81 👩‍👩‍👧 foo_bar(x)");
    kg_editor_move(editor, KG_MOVE_WORD_LEFT);
    assert_string_equal(edited(editor), "ae\xcc\x81 👩‍👩‍👧 foo_bar(|x)");
    kg_editor_move(editor, KG_MOVE_WORD_LEFT);
    kg_editor_move(editor, KG_MOVE_LEFT);
    kg_editor_move(editor, KG_MOVE_LEFT);
    assert_string_equal(edited(editor), "ae\xcc\x81 |👩‍👩‍👧 foo_bar(x)");
    kg_editor_erase(editor, KG_MOVE_RIGHT, false);
    kg_editor_move(editor, KG_MOVE_LEFT);
    kg_editor_erase(editor, KG_MOVE_LEFT, false);
    assert_string_equal(edited(editor), "a|  foo_bar(x)");
    kg_editor_move(editor, KG_MOVE_WORD_RIGHT);
    assert_string_equal(edited(editor), "a  foo_bar|(x)");
    kg_editor_move(editor, KG_MOVE_LINE_START);
    kg_editor_move(editor, KG_MOVE_LEFT);
    assert_string_equal(edited(editor), "|a  foo_bar(x)");
    kg_editor_free(editor);
}

static void earlier_kills_are_yanked(void **state)
{
    (void)state;
    struct kg_editor *editor = kg_editor_create();
    char word[16];
    assert_false(kg_editor_yank_pop(editor));
    kg_editor_yank(editor); /* nothing yet */
    assert_false(kg_editor_yank_pop(editor));
    for (int i = 0; i < KG_EDITOR_KILLS + 4; i++) { /* the oldest four are forgotten */
        snprintf(word, sizeof word, "w%d", i);
        kg_editor_insert(editor, word, strlen(word));
        kg_editor_erase(editor, KG_MOVE_LINE_START, true);
        kg_editor_move(editor, KG_MOVE_END); /* not in a row */
    }
    kg_editor_insert(editor, "a  b", 4);
    kg_editor_move(editor, KG_MOVE_LEFT);
    kg_editor_move(editor, KG_MOVE_LEFT);
    kg_editor_yank(editor);
    assert_string_equal(kg_editor_text(editor, NULL), "a w19 b");
    assert_true(kg_editor_yank_pop(editor));
    assert_string_equal(kg_editor_text(editor, NULL), "a w18 b");
    for (int i = 0; i < KG_EDITOR_KILLS - 2; i++)
        assert_true(kg_editor_yank_pop(editor));
    assert_string_equal(kg_editor_text(editor, NULL), "a w4 b");
    assert_true(kg_editor_yank_pop(editor)); /* around */
    assert_string_equal(kg_editor_text(editor, NULL), "a w19 b");
    kg_editor_undo(editor);
    assert_string_equal(kg_editor_text(editor, NULL), "a w4 b");
    assert_false(kg_editor_yank_pop(editor)); /* only behind a yank */
    kg_editor_free(editor);
}

static void kills_are_yanked(void **state)
{
    (void)state;
    struct kg_editor *editor = editor_with("one two three\nfour");
    kg_editor_move(editor, KG_MOVE_START);
    kg_editor_erase(editor, KG_MOVE_WORD_RIGHT, true);
    kg_editor_erase(editor, KG_MOVE_WORD_RIGHT, true);
    assert_string_equal(edited(editor), "| three\nfour");
    kg_editor_kill_line(editor);
    kg_editor_kill_line(editor);
    assert_string_equal(edited(editor), "|four");
    kg_editor_move(editor, KG_MOVE_END);
    kg_editor_yank(editor);
    assert_string_equal(edited(editor), "fourone two three\n|");
    kg_editor_erase(editor, KG_MOVE_WORD_LEFT, true);
    kg_editor_erase(editor, KG_MOVE_WORD_LEFT, true);
    kg_editor_yank(editor);
    assert_string_equal(edited(editor), "fourone two three\n|");
    kg_editor_free(editor);
}

static void every_change_is_undone(void **state)
{
    (void)state;
    struct kg_editor *editor = kg_editor_create();
    for (const char *c = "hello wide world"; *c; c++)
        kg_editor_insert(editor, c, 1);
    kg_editor_undo(editor);
    assert_string_equal(edited(editor), "hello wide |");
    kg_editor_undo(editor);
    assert_string_equal(edited(editor), "hello |");
    kg_editor_erase(editor, KG_MOVE_START, true);
    kg_editor_undo(editor);
    kg_editor_undo(editor);
    kg_editor_undo(editor);
    assert_string_equal(edited(editor), "|");
    srand(3);
    for (int round = 0; round < 3000; round++) {
        static const char *const words[] = { "x", "漢", "e\xcc\x81", " ", "\n", "\xff", "a word " };
        const char *word = words[rand() % 7];
        switch (rand() % 6) {
        case 0:
            kg_editor_erase(editor, (enum kg_motion)(rand() % 8), rand() % 2);
            break;
        case 1:
            kg_editor_yank(editor);
            break;
        case 2:
            kg_editor_move(editor, (enum kg_motion)(rand() % 8));
            break;
        case 3:
            kg_editor_move_row(editor, rand() % 2 ? 1 : -1, 2 + rand() % 20);
            break;
        default:
            kg_editor_insert(editor, word, strlen(word));
        }
        size_t length;
        kg_editor_text(editor, &length);
        assert_true(kg_editor_cursor(editor) <= length);
        if (length > 500)
            kg_editor_set(editor, "", 0);
        if (rand() % 3 == 0)
            kg_editor_undo(editor);
    }
    kg_editor_free(editor);
    editor = editor_with("first");
    kg_editor_set(editor, "second", 6);
    kg_editor_undo(editor);
    assert_string_equal(edited(editor), "first|");
    kg_editor_free(editor);
}

static void cursor_moves_by_rows(void **state)
{
    (void)state;
    struct kg_editor *editor = editor_with("the quick brown fox\nab\njumps over");
    assert_true(kg_editor_move_row(editor, -1, 10));
    assert_string_equal(edited(editor), "the quick brown fox\nab|\njumps over");
    assert_true(kg_editor_move_row(editor, -1, 10));
    assert_string_equal(edited(editor), "the quick brown fox|\nab\njumps over");
    assert_true(kg_editor_move_row(editor, -1, 10));
    assert_string_equal(edited(editor), "the quic|k brown fox\nab\njumps over");
    assert_false(kg_editor_move_row(editor, -1, 10));
    for (int i = 0; i < 3; i++)
        assert_true(kg_editor_move_row(editor, 1, 10));
    assert_string_equal(edited(editor), "the quick brown fox\nab\njumps over|");
    assert_false(kg_editor_move_row(editor, 1, 10));
    kg_editor_set(editor, "x\n", 2);
    assert_true(kg_editor_move_row(editor, -1, 10));
    assert_true(kg_editor_move_row(editor, 1, 10));
    assert_string_equal(edited(editor), "x\n|");
    assert_false(kg_editor_move_row(editor, 1, 10));
    kg_editor_free(editor);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_are_decoded),
        cmocka_unit_test(escape_alone_and_broken_sequences),
        cmocka_unit_test(pastes_come_whole),
        cmocka_unit_test(any_bytes_are_keys),
        cmocka_unit_test(cursor_moves_by_graphemes_and_words),
        cmocka_unit_test(kills_are_yanked),
        cmocka_unit_test(earlier_kills_are_yanked),
        cmocka_unit_test(every_change_is_undone),
        cmocka_unit_test(cursor_moves_by_rows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
