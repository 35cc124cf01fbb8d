/* The keys of vi, as vim answers them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tui/input/vi.h"

static enum kg_vi_wish wish; /* of the last key */

/* Keys as they are typed; \x1b is Escape, and text goes in while inserting. */
static void type(struct kg_vi *vi, struct kg_editor *editor, const char *keys)
{
    for (size_t n; *keys; keys += n) {
        for (n = 1; ((unsigned char)keys[n] & 0xc0) == 0x80;)
            n++;
        wish = KG_VI_DONE;
        if (*keys == '\x1b')
            kg_vi_escape(vi, editor);
        else if (kg_vi_commands(vi))
            wish = kg_vi_take(vi, editor, keys, n);
        else
            kg_editor_insert(editor, keys, n);
    }
}

/* What becomes of a text ('|' stands before the cursor) by the keys, which begin among commands. */
static const char *after(const char *text, const char *keys)
{
    static char out[4096];
    size_t length;
    struct kg_editor *editor = kg_editor_create();
    struct kg_vi *vi = kg_vi_create();
    const char *bar = strchr(text, '|');
    assert_non_null(bar);
    kg_editor_insert(editor, text, (size_t)(bar - text));
    kg_editor_insert(editor, bar + 1, strlen(bar + 1));
    kg_vi_begin(vi, editor);
    kg_vi_escape(vi, editor);
    kg_editor_place(editor, (size_t)(bar - text));
    kg_vi_settle(vi, editor);
    type(vi, editor, keys);
    size_t cursor = kg_editor_cursor(editor);
    const char *now = kg_editor_text(editor, &length);
    snprintf(out, sizeof out, "%.*s|%s", (int)cursor, now, now + cursor);
    kg_vi_free(vi);
    kg_editor_free(editor);
    return out;
}

struct example {
    const char *text, *keys, *result;
};

static void check(const struct example *examples, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const char *result = after(examples[i].text, examples[i].keys);
        if (strcmp(result, examples[i].result) != 0)
            fail_msg("%s with %s: %s, not %s", examples[i].text, examples[i].keys, result, examples[i].result);
    }
}
#define CHECK(examples) check(examples, sizeof(examples) / sizeof *(examples))

static void motions_go_where_they_do_in_vi(void **state)
{
    static const struct example examples[] = {
        { "one |two", "h", "one| two" },
        { "|ab\ncd", "lll", "a|b\ncd" },
        { "ab\n|cd", "h", "ab\n|cd" },
        { "  one |two", "0", "|  one two" },
        { "  one |two", "^", "  |one two" },
        { "|one two\nx", "$", "one tw|o\nx" },
        { "|one, two", "w", "one|, two" },
        { "|one, two", "W", "one, |two" },
        { "|one, two three", "3w", "one, two |three" },
        { "one|\n\n  two", "w", "one\n|\n  two" },
        { "one\n|\n  two", "w", "one\n\n  |two" },
        { "one, two|", "b", "one, |two" },
        { "one, |two", "b", "one|, two" },
        { "one, |two", "B", "|one, two" },
        { "one, tw|o", "2b", "one|, two" },
        { "|one two", "e", "on|e two" },
        { "on|e two", "e", "one tw|o" },
        { "|one.x two", "E", "one.|x two" },
        { "|a(b, c)", "fc", "a(b, |c)" },
        { "|a(b, c)", "tc", "a(b,| c)" },
        { "|abcabc", "fc;", "abcab|c" },
        { "|abcabc", "tc;", "abca|bc" },
        { "|abcabc", "fc;,", "ab|cabc" },
        { "abcab|c", "Fa", "abc|abc" },
        { "abcab|c", "Ta", "abca|bc" },
        { "|a ä b ä", "2fä", "a ä b |ä" },
        { "|abc", "fx", "|abc" },
        { "f|(a, (b))", "%", "f(a, (b)|)" },
        { "f(a, (b)|)", "%", "f|(a, (b))" },
        { "|x = [1]", "%", "x = [1|]" },
        { "a\nb\n  |c", "gg", "|a\nb\n  c" },
        { "|a\nb\n  c", "G", "a\nb\n  |c" },
        { "|a\nb\nc", "2G", "a\n|b\nc" },
        { "|a\nb\n\nc", "}", "a\nb\n|\nc" },
        { "a\n\nb\n|c", "{", "a\n|\nb\nc" },
        { "|漢字 かな", "w", "漢字 |かな" },
        { "|abcdefghijkl", "10l", "abcdefghij|kl" },
    };
    (void)state;
    CHECK(examples);
}

static void operators_take_what_motions_pass(void **state)
{
    static const struct example examples[] = {
        { "|one two three", "dw", "|two three" },
        { "|one two three", "d2w", "|three" },
        { "|one two three", "2dw", "|three" },
        { "a b c d e |f g", "2d2b", "a |f g" },
        { "one |two\nx", "dw", "one| \nx" },
        { "|one\ntwo", "dw", "|\ntwo" },
        { "|one two", "de", "| two" },
        { "|one two", "cwx\x1b", "|x two" },
        { "|one  two", "cwxy\x1b", "x|y  two" },
        { "|one.b two", "cWx\x1b", "|x two" },
        { "o|ne two", "D", "|o" },
        { "o|ne two", "d$", "|o" },
        { "one |two", "d0", "|two" },
        { "one |two", "Cx\x1b", "one |x" },
        { "|f(a, b)", "df,", "| b)" },
        { "|f(a, b)", "dt,", "|, b)" },
        { "f|(a, b)x", "d%", "f|x" },
        { "a\n|b\nc\nd", "dd", "a\n|c\nd" },
        { "a\nb\n|c", "dd", "a\n|b" },
        { "|a", "dd", "|" },
        { "a\nb\n|", "dd", "a\n|b" },
        { "a\nb\n|", "dk", "|a" },
        { "a\n|b\n", "dd", "a\n|" },
        { "a\n|b\n", "dj", "|a" },
        { "a\nb\n|", "ck", "a\n|" },
        { "a\nb\n|", "dkp", "a\n|b\n" },
        { "|abc", "r\b", "|abc" },
        { "|abc", "r\x12", "|abc" },
        { "a\n|b\nc\nd", "2dd", "a\n|d" },
        { "a\n|b\nc\nd", "dj", "a\n|d" },
        { "a\n|b\nc\nd", "dk", "|c\nd" },
        { "a\n|b\nc\nd", "dG", "|a" },
        { "a\n|b\nc\nd", "dgg", "|c\nd" },
        { "a\n  |b\nc", "ccx\x1b", "a\n|x\nc" },
        { "a\n|b c\nd", "Sx\x1b", "a\n|x\nd" },
        { "|abc", "x", "|bc" },
        { "a|bc", "2x", "|a" },
        { "ab|c", "X", "a|c" },
        { "|abc", "sx\x1b", "|xbc" },
        { "|abc", "2sx\x1b", "|xc" },
        { "|abc", "rx", "|xbc" },
        { "|abc", "2rä", "ä|äc" },
        { "|abc", "9rx", "|abc" },
        { "|aBä", "3~", "Ab|Ä" },
        { "|a\n  b\nc", "J", "a| b\nc" },
        { "|a\nb\nc", "3J", "a b| c" },
        { "|e\xcc\x81x", "x", "|x" },
    };
    (void)state;
    CHECK(examples);
}

static void objects_are_taken_whole(void **state)
{
    static const struct example examples[] = {
        { "one t|wo three", "diw", "one | three" },
        { "one t|wo three", "daw", "one |three" },
        { "one tw|o", "daw", "on|e" },
        { "f(\"a |b\", c)", "ci\"x\x1b", "f(\"|x\", c)" },
        { "f|(\"a b\", c)", "di\"", "f(\"|\", c)" },
        { "f(\"a |b\", c)", "da\"", "f(|, c)" },
        { "f(a, |g(b))", "di(", "f(|)" },
        { "f(a, g(|b))", "di(", "f(a, g(|))" },
        { "f(a, g(b)|)", "dib", "f(|)" },
        { "f(a, g(|b))", "da)", "f(a, g|)" },
        { "{ a; |b }", "ciB x \x1b", "{ x| }" },
        { "x[|1]", "yi[P", "x[|11]" },
        { "a\n\nb\n|c\n\nd", "dip", "a\n\n|\nd" },
        { "a\n\n|b\nc\n\nd", "dap", "a\n\n|d" },
        { "plain |text", "di(", "plain |text" },
    };
    (void)state;
    CHECK(examples);
}

static void what_is_kept_is_put(void **state)
{
    static const struct example examples[] = {
        { "|one two", "ywP", "one| one two" },
        { "|ab", "xp", "b|a" },
        { "|a\nb", "ddp", "b\n|a" },
        { "a\n|b\nc", "yyP", "a\n|b\nb\nc" },
        { "a\n|b", "yyp", "a\nb\n|b" },
        { "|a", "yy3p", "a\n|a\na\na" },
        { "|ab c", "yw2P", "ab ab| ab c" },
        { "a|b", "Yp", "ab\n|ab" },
        { "|abc", "p", "|abc" },
        { "one |two", "yb", "|one two" },
        { "a\n|b\nc", "ykP", "|a\nb\na\nb\nc" },
    };
    (void)state;
    CHECK(examples);
}

static void text_is_inserted(void **state)
{
    static const struct example examples[] = {
        { "a|b", "ix\x1b", "a|xb" },
        { "|ab", "ax\x1b", "a|xb" },
        { "|ab\nc", "Ax\x1b", "ab|x\nc" },
        { "  a|b", "Ix\x1b", "  |xab" },
        { "|ab\nc", "ox\x1b", "ab\n|x\nc" },
        { "ab\n|c", "Ox\x1b", "ab\n|x\nc" },
        { "|", "3iab\x1b", "ababa|b" },
        { "|ab", "a\x1b", "|ab" },
        { "|x", "2A, y\x1b", "x, y, |y" },
    };
    (void)state;
    CHECK(examples);
}

static void changes_are_undone_and_done_again(void **state)
{
    static const struct example examples[] = {
        { "|one two", "dwu", "|one two" },
        { "|one two three", "dwdwuu", "|one two three" },
        { "|one two three", "dwdw2u", "|one two three" },
        { "|one two three", "dwdwuu\x12", "|two three" },
        { "|one two three", "dwdwuu\x12\x12", "|three" },
        { "|one two", "dwux\x12", "|ne two" }, /* a change forgets what was undone */
        { "|a", "ione two three \x1bu", "|a" }, /* one insertion is one change */
        { "|a", "ox y z\x1bu", "|a" },
        { "|a\nb", "ccx y\x1bu", "|a\nb" },
        { "|one two three", "dw.", "|three" },
        { "|one two three four", "dw2.", "|four" },
        { "|one two three four", "2dw.", "|" },
        { "|one two", "cwx\x1bw.", "x |x" },
        { "|a b", "A!\x1b.", "a b!|!" },
        { "|a\nb\nc", "dd.", "|c" },
        { "|abcd", "x..", "|d" },
        { "|abcd", "rxl.", "x|xcd" },
        { "|a(b) c(d)", "f(ci(x\x1b" "f(.", "a(x) c(|x)" },
        { "|a;b;c", "f;r5;.", "a5b|5c" },
        { "|ab", "ix\x1b.u", "|xab" },
        { "|a\nb", "Jx.u", "a|b" },
        { "|one two", "yw.", "|one two" },
    };
    (void)state;
    CHECK(examples);
}

static void unknown_commands_are_told(void **state)
{
    static const char *const unknown[] = { "Q", "dz", "dr", "gz", "d\x1bz", "p", ".", "fz", "100l", "ä" };
    (void)state;
    for (size_t i = 0; i < sizeof unknown / sizeof *unknown; i++) {
        assert_string_equal(after("|a", unknown[i]), "|a");
        assert_int_equal(wish, KG_VI_BELL);
    }
    after("|a", "3j");
    assert_int_equal(wish, KG_VI_DOWN);
    after("|a", "k");
    assert_int_equal(wish, KG_VI_UP);
    after("|a", "/");
    assert_int_equal(wish, KG_VI_FIND);
    assert_string_equal(after("|abc", "d\x1bx"), "|bc");
    assert_string_equal(after("|abc", "2\x1bx"), "|bc");
}

/* Whatever is typed, the cursor is in the text, on a character of it, and undo brings everything back. */
static void any_keys_are_taken(void **state)
{
    static const char keys[] = "hjkl0^$wWbBeEfFtT;,GgGg%{}dcydcyxXsSr~DCYJpPuuiaIAoO..123456789wwbbdd(\"\x1b\x1b\x1b\x1b\x12 \nab\xc3\xa4";
    (void)state;
    srand(5);
    for (int round = 0; round < 3000; round++) {
        struct kg_editor *editor = kg_editor_create();
        struct kg_vi *vi = kg_vi_create();
        static const char text[] = "int main(void)\n{\n\treturn f(\"a b\", {1, [2]}); /* ünï 漢字 */\n}\n\n\nlast e\xcc\x81 \xff line";
        kg_editor_insert(editor, text, sizeof text - 1);
        kg_vi_begin(vi, editor);
        for (int i = 0; i < 60; i++) {
            char key[3] = { keys[(size_t)rand() % (sizeof keys - 1)] };
            if ((unsigned char)key[0] >= 0x80)
                strcpy(key, "\xc3\xa4");
            type(vi, editor, key);
            size_t length, cursor = kg_editor_cursor(editor);
            const char *now = kg_editor_text(editor, &length);
            assert_true(cursor <= length && now[length] == '\0');
            bool end = cursor == length || now[cursor] == '\n', start = cursor == 0 || now[cursor - 1] == '\n';
            assert_true(!kg_vi_commands(vi) || !end || start);
            if (length > 100000)
                break;
        }
        type(vi, editor, "\x1b\x1b");
        while (kg_editor_undo(editor))
            ;
        assert_string_equal(kg_editor_text(editor, NULL), "");
        while (kg_editor_redo(editor))
            ;
        kg_vi_free(vi);
        kg_editor_free(editor);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(motions_go_where_they_do_in_vi),
        cmocka_unit_test(operators_take_what_motions_pass),
        cmocka_unit_test(objects_are_taken_whole),
        cmocka_unit_test(what_is_kept_is_put),
        cmocka_unit_test(text_is_inserted),
        cmocka_unit_test(changes_are_undone_and_done_again),
        cmocka_unit_test(unknown_commands_are_told),
        cmocka_unit_test(any_keys_are_taken),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
