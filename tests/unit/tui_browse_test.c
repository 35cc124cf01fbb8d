/* Going through the transcript, colours of code, and what is sent for the clipboard. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "tui/screen/clipboard.h"
#include "tui/transcript/find.h"
#include "tui/transcript/highlight.h"
#include "tui/transcript/transcript.h"

static struct kg_transcript *transcript;
static struct kg_screen *screen;

static void add(enum kg_entry_kind kind, const char *text)
{
    assert_true(kg_transcript_add(transcript, kind, text, strlen(text)));
}

static int make_transcript(void **state)
{
    (void)state;
    transcript = kg_transcript_create();
    screen = kg_screen_create(8, 40);
    kg_transcript_set_window(transcript, 8, 40);
    add(KG_ENTRY_COUNTS, "greeting");
    add(KG_ENTRY_QUESTION, "first question");
    add(KG_ENTRY_ANSWER, "Some text.\n\n```c\nint one;\n\tint two;\n```\n\nmore\n\n```\nplain\n```\n");
    kg_transcript_add_folded(transcript, KG_ENTRY_READING, "read 2 files", "a.c\nneedle.c", 12);
    add(KG_ENTRY_QUESTION, "second question");
    add(KG_ENTRY_ANSWER, "No code here, but a Needle.");
    return 0;
}

static int free_transcript(void **state)
{
    (void)state;
    kg_transcript_free(transcript);
    kg_screen_free(screen);
    return 0;
}

/* The rows of the window; chosen and found cells as styles below them. */
static const char *drawn(bool styles)
{
    static char out[16384];
    char row[2048];
    size_t used = 0;
    kg_screen_clear(screen);
    kg_transcript_draw(transcript, screen, 0);
    for (int i = 0; i < screen->rows; i++) {
        if (styles)
            kg_screen_row_styles(screen, i, row, sizeof row);
        else
            kg_screen_row_text(screen, i, row, sizeof row);
        used += (size_t)snprintf(out + used, sizeof out - used, "%s\n", row);
    }
    return out;
}

static void assert_selected(const char *text, bool is_code)
{
    size_t length;
    bool code;
    const char *selected = kg_transcript_selected(transcript, &length, &code);
    assert_non_null(selected);
    assert_int_equal(length, strlen(text));
    assert_memory_equal(selected, text, length);
    assert_int_equal(code, is_code);
}

static void messages_are_chosen_in_turn(void **state)
{
    size_t length;
    bool code;
    (void)state;
    drawn(false);
    assert_null(kg_transcript_selected(transcript, &length, &code));
    assert_true(kg_transcript_select(transcript, KG_UNIT_MESSAGE, -1));
    assert_selected("No code here, but a Needle.", false);
    assert_true(kg_transcript_select(transcript, KG_UNIT_MESSAGE, -1));
    assert_selected("second question", false);
    assert_non_null(strstr(drawn(true), "*>ppp")); /* marked at the left edge */
    assert_true(kg_transcript_select(transcript, KG_UNIT_MESSAGE, -1));
    assert_selected("a.c\nneedle.c", false);
    assert_true(kg_transcript_select(transcript, KG_UNIT_MESSAGE, -1));
    assert_true(kg_transcript_select(transcript, KG_UNIT_MESSAGE, -1));
    assert_selected("first question", false);
    assert_non_null(strstr(drawn(false), "› first question"));
    assert_false(kg_transcript_select(transcript, KG_UNIT_MESSAGE, -1)); /* the greeting is none */
    assert_selected("first question", false);
    add(KG_ENTRY_QUEUED, "queued");
    kg_transcript_drop_queued(transcript, false);
    assert_selected("first question", false);
    assert_true(kg_transcript_select(transcript, KG_UNIT_MESSAGE, 1));
    kg_transcript_clear(transcript);
    assert_null(kg_transcript_selected(transcript, &length, &code));
    assert_false(kg_transcript_select(transcript, KG_UNIT_MESSAGE, 1));
    assert_false(kg_transcript_select(transcript, KG_UNIT_CODE, -1));
}

static void code_is_chosen_in_turn(void **state)
{
    (void)state;
    drawn(false);
    assert_true(kg_transcript_select(transcript, KG_UNIT_CODE, -1));
    assert_selected("plain", true);
    assert_true(kg_transcript_select(transcript, KG_UNIT_CODE, -1));
    assert_selected("int one;\n\tint two;", true); /* tabs as they were */
    assert_non_null(strstr(drawn(false), "int one;"));
    assert_non_null(strstr(drawn(true), "*dddwww"));
    assert_false(kg_transcript_select(transcript, KG_UNIT_CODE, -1));
    assert_true(kg_transcript_select(transcript, KG_UNIT_CODE, 1));
    assert_selected("plain", true);
    assert_false(kg_transcript_select(transcript, KG_UNIT_CODE, 1));
    assert_true(kg_transcript_select(transcript, KG_UNIT_MESSAGE, 1));
    assert_selected("a.c\nneedle.c", false);
    size_t length;
    assert_null(kg_transcript_last_code(transcript, &length)); /* of the last answer */
    add(KG_ENTRY_ANSWER, "- item\n\n  ```\n  a:\n  \tb\n  \t \tc\n    \n  ```\n");
    const char *code = kg_transcript_last_code(transcript, &length);
    assert_int_equal(length, 13);
    assert_memory_equal(code, "a:\n\tb\n\t \tc\n  ", 13);
    add(KG_ENTRY_ANSWER, "~~~\nlast\n\n~~~");
    code = kg_transcript_last_code(transcript, &length);
    assert_int_equal(length, 5);
    assert_memory_equal(code, "last\n", 5);
}

static void what_is_chosen_is_in_sight(void **state)
{
    (void)state;
    drawn(false);
    kg_transcript_select(transcript, KG_UNIT_MESSAGE, -1);
    kg_transcript_to_start(transcript);
    kg_transcript_select_seen(transcript);
    assert_selected("first question", false);
    char row[64];
    for (int i = 0; i < 100; i++) {
        snprintf(row, sizeof row, "question %d", i);
        add(KG_ENTRY_QUESTION, row);
    }
    assert_selected("first question", false);
    for (int i = 0; i < 60; i++)
        assert_true(kg_transcript_select(transcript, KG_UNIT_MESSAGE, 1));
    assert_non_null(strstr(drawn(false), "question 55"));
    assert_non_null(strstr(drawn(true), "*"));
    add(KG_ENTRY_NOTICE, "added below"); /* the window stands still */
    assert_non_null(strstr(drawn(false), "question 55"));
}

static void folds_open_one_by_one(void **state)
{
    (void)state;
    add(KG_ENTRY_THOUGHT, "a long thought");
    assert_null(strstr(drawn(false), "a long thought"));
    assert_true(kg_transcript_select(transcript, KG_UNIT_MESSAGE, -1));
    assert_true(kg_transcript_fold_selected(transcript));
    assert_non_null(strstr(drawn(false), "a long thought"));
    assert_null(strstr(drawn(false), "needle.c")); /* the other stays as it is */
    assert_true(kg_transcript_fold_selected(transcript));
    assert_null(strstr(drawn(false), "a long thought"));
    kg_transcript_fold_selected(transcript);
    kg_transcript_unfold(transcript, true); /* all together */
    kg_transcript_to_start(transcript);
    kg_transcript_scroll(transcript, 10);
    assert_non_null(strstr(drawn(false), "needle.c"));
    kg_transcript_unfold(transcript, false);
    kg_transcript_to_end(transcript);
    assert_null(strstr(drawn(false), "a long thought"));
    kg_transcript_select(transcript, KG_UNIT_MESSAGE, -1);
    kg_transcript_select(transcript, KG_UNIT_MESSAGE, -1);
    assert_false(kg_transcript_fold_selected(transcript)); /* an answer */
}

static void look_for(const char *pattern)
{
    kg_transcript_set_pattern(transcript, pattern, strlen(pattern));
}

static void matches_are_found(void **state)
{
    (void)state;
    drawn(false);
    kg_transcript_to_start(transcript);
    drawn(false);
    struct kg_transcript_place place = kg_transcript_place(transcript);
    look_for("needle");
    assert_int_equal(kg_transcript_find(transcript, 1), KG_FOUND); /* not the folded one */
    assert_selected("No code here, but a Needle.", false);
    assert_non_null(strstr(drawn(true), "******"));
    assert_int_equal(kg_transcript_find(transcript, 1), KG_FOUND_AROUND); /* itself again */
    kg_transcript_unfold(transcript, true);
    assert_int_equal(kg_transcript_find(transcript, -1), KG_FOUND);
    assert_selected("a.c\nneedle.c", false);
    assert_non_null(strstr(drawn(true), "mmmmmm")); /* the other one is marked as well */
    assert_int_equal(kg_transcript_find(transcript, -1), KG_FOUND_AROUND);
    assert_selected("No code here, but a Needle.", false);
    look_for("Needle"); /* an upper-case letter is meant */
    assert_int_equal(kg_transcript_find(transcript, 1), KG_FOUND_AROUND);
    look_for("nowhere");
    assert_int_equal(kg_transcript_find(transcript, 1), KG_FOUND_NOTHING);
    look_for("");
    assert_int_equal(kg_transcript_find(transcript, 1), KG_FOUND_NOTHING);
    kg_transcript_return(transcript, &place);
    assert_non_null(strstr(drawn(false), "greeting"));
    look_for("question");
    assert_int_equal(kg_transcript_find(transcript, 1), KG_FOUND);
    assert_selected("first question", false);
    assert_int_equal(kg_transcript_find(transcript, 1), KG_FOUND);
    assert_selected("second question", false);
    assert_int_equal(kg_transcript_find(transcript, -1), KG_FOUND);
    assert_selected("first question", false);
}

/* A match that is broken over two rows is marked on both. */
static void matches_go_over_rows(void **state)
{
    char text[100];
    (void)state;
    memset(text, 'a', sizeof text);
    memcpy(text + 34, "xyzxyz", 6);
    kg_transcript_clear(transcript);
    kg_transcript_add(transcript, KG_ENTRY_TABLE, text, sizeof text);
    look_for("xyzxyz");
    assert_string_equal(drawn(true), "  ..................................mm\n  mmmm................................\n  ............................\n\n\n\n\n\n");
    assert_int_equal(kg_transcript_find(transcript, 1), KG_FOUND);
    assert_non_null(strstr(drawn(true), "**\n"));
}

static void a_pattern_is_plain(void **state)
{
    (void)state;
    struct kg_pattern p = { .text = "a.c", .length = 3 };
    assert_int_equal(kg_find_next(&p, "abc a.c A.C", 11, 0), 4);
    assert_int_equal(kg_find_next(&p, "abc a.c A.C", 11, 5), 8);
    assert_true(kg_find_next(&p, "abc a.c A.C", 11, 9) == KG_NOWHERE);
    assert_int_equal(kg_find_before(&p, "abc a.c A.C", 11, KG_NOWHERE), 8);
    assert_int_equal(kg_find_before(&p, "abc a.c A.C", 11, 8), 4);
    assert_true(kg_find_before(&p, "abc a.c A.C", 11, 4) == KG_NOWHERE);
    assert_true(kg_find_before(&p, "ab", 2, KG_NOWHERE) == KG_NOWHERE);
    assert_true(kg_find_next(&p, "a.", 2, 0) == KG_NOWHERE);
    p = (struct kg_pattern){ .text = "A", .length = 1 };
    assert_int_equal(kg_find_next(&p, "aA", 2, 0), 1);
}

static void everything_can_be_written(void **state)
{
    char *text = NULL;
    size_t length;
    (void)state;
    add(KG_ENTRY_ANSWER, "escape \x1b[31m\xe2\x80\xae end");
    drawn(false);
    FILE *memory = open_memstream(&text, &length);
    assert_int_equal(kg_transcript_write(transcript, SIZE_MAX, true, memory), 0);
    fclose(memory);
    assert_non_null(strstr(text, "  greeting\n\n› first question\n\n  Some text.\n"));
    assert_non_null(strstr(text, "        int two;\n"));
    assert_non_null(strstr(text, "  needle.c\n"));
    assert_non_null(strstr(text, "  escape ^[[31m<U+202E> end\n"));
    free(text);
    assert_null(strstr(drawn(false), "needle.c")); /* folded as before */
    memory = open_memstream(&text, &length);
    assert_true(kg_transcript_write(transcript, 2, false, memory) > 10);
    fclose(memory);
    assert_string_equal(text, "\n  escape ^[[31m<U+202E> end\n");
    free(text);
}

struct pieces {
    char styles[512], text[512];
};

static void take(void *ctx, const char *piece, size_t length, unsigned style)
{
    static const char letters[KG_STYLE_COUNT] = { [KG_STYLE_CODE_BLOCK] = '.', [KG_STYLE_KEYWORD] = 'w', [KG_STYLE_STRING] = '"',
                                                  [KG_STYLE_COMMENT] = '#', [KG_STYLE_NUMBER] = '0' };
    struct pieces *pieces = ctx;
    size_t used = strlen(pieces->text);
    memcpy(pieces->text + used, piece, length);
    memset(pieces->styles + used, letters[style], length);
}

static void assert_highlighted(const char *language, const char *text, const char *styles)
{
    struct pieces pieces = { 0 };
    kg_highlight(language, strlen(language), text, strlen(text), take, &pieces);
    assert_string_equal(pieces.text, text);
    assert_string_equal(pieces.styles, styles);
}

static void code_is_coloured(void **state)
{
    (void)state;
    assert_highlighted("c", "#include <a.h>\nint x = 0x1f; // no\n", "wwwwwwww.......www.....0000..#####.");
    assert_highlighted("C", "char c = '\\''; /* a\nb */ return \"x\\\"y\";", "wwww.....\"\"\"\".." "#########.wwwwww.\"\"\"\"\"\".");
    assert_highlighted("c", "intx /* open", "....." "#######");
    assert_highlighted("c", "\"open\nint", "\"\"\"\"\"." "www");
    assert_highlighted("python", "def f(): # c\n  '''a\nb''' 1.5", "www......###...\"\"\"\"\"\"\"\"\"." "000");
    assert_highlighted("py", "'''open\n", "\"\"\"\"\"\"\"\"");
    assert_highlighted("sh", "if x; then echo 'a\nb' # c", "ww....wwww......\"\"\"\"\".###");
    assert_highlighted("sql", "SELECT a -- c", "wwwwww...####");
    assert_highlighted("js", "const s = `a\nb`", "wwwww.....\"\"\"\"\"");
    assert_highlighted("brainfuck", "int 1 // x", "..........");
    assert_highlighted("", "int 1", ".....");
}

/* Whatever the bytes, the pieces make up the text: checked by their sum, with every language's first name. */
static void sum(void *ctx, const char *piece, size_t length, unsigned style)
{
    size_t *all = ctx;
    (void)piece;
    assert_true(length > 0 && style < KG_STYLE_COUNT);
    *all += length;
}

static void any_bytes_are_coloured(void **state)
{
    static const char *const names[] = { "c", "cpp", "python", "sh", "js", "go", "rust", "java", "ruby", "lua", "sql", "json", "yaml" };
    static const char bytes[] = "/*/\"'`#\\-\n a1.";
    char text[64];
    (void)state;
    srand(7);
    for (int i = 0; i < 20000; i++) {
        size_t length = (size_t)rand() % sizeof text, all = 0;
        for (size_t k = 0; k < length; k++)
            text[k] = i % 4 ? bytes[(size_t)rand() % (sizeof bytes - 1)] : (char)rand();
        const char *name = names[(size_t)i % 13];
        kg_highlight(name, strlen(name), text, length, sum, &all);
        assert_int_equal(all, length);
    }
}

static void assert_copied(const char *text, enum kg_clipboard_way way, const char *sequence)
{
    size_t bytes;
    char *made = kg_clipboard_sequence(text, strlen(text), way, &bytes);
    assert_non_null(made);
    assert_int_equal(bytes, strlen(sequence));
    assert_memory_equal(made, sequence, bytes);
    free(made);
}

static void a_copy_is_osc_52(void **state)
{
    (void)state;
    assert_copied("", KG_CLIPBOARD_DIRECT, "\x1b]52;c;\x07");
    assert_copied("a", KG_CLIPBOARD_DIRECT, "\x1b]52;c;YQ==\x07");
    assert_copied("ab\tc", KG_CLIPBOARD_DIRECT, "\x1b]52;c;YWIJYw==\x07");
    assert_copied("light work.", KG_CLIPBOARD_DIRECT, "\x1b]52;c;bGlnaHQgd29yay4=\x07");
    assert_copied("ü漢\n", KG_CLIPBOARD_DIRECT, "\x1b]52;c;w7zmvKIK\x07");
    assert_copied("ab", KG_CLIPBOARD_TMUX, "\x1b]52;c;YWI=\x07\x1bPtmux;\x1b\x1b]52;c;YWI=\x07\x1b\\");
    assert_copied("ab", KG_CLIPBOARD_SCREEN, "\x1bP\x1b]52;c;YWI=\x07\x1b\\");
}

static void what_is_not_seen_is_copied_visibly(void **state)
{
    (void)state;
    assert_copied("\x1b\x07", KG_CLIPBOARD_DIRECT, "\x1b]52;c;XlteRw==\x07");                 /* ^[^G */
    assert_copied("\xe2\x80\xae", KG_CLIPBOARD_DIRECT, "\x1b]52;c;PFUrMjAyRT4=\x07");          /* <U+202E> */
    assert_copied("\xe2\x80\x8b\xff", KG_CLIPBOARD_DIRECT, "\x1b]52;c;PFUrMjAwQj5ceGZm\x07");  /* <U+200B>\xff */
    assert_copied("a\r\nb", KG_CLIPBOARD_DIRECT, "\x1b]52;c;YQpi\x07");
    assert_copied("\xf0\x9f\x87\xa9\xf0\x9f\x87\xaa", KG_CLIPBOARD_DIRECT, "\x1b]52;c;8J+HqfCfh6o=\x07"); /* a flag stays one */
}

static void long_copies_are_cut_for_screen_only(void **state)
{
    size_t bytes, length = 3000, joined = 0;
    char *text = malloc(KG_CLIPBOARD_MOST + 1), *direct, *wrapped, *inside = malloc(16384);
    (void)state;
    memset(text, 'x', KG_CLIPBOARD_MOST + 1);
    direct = kg_clipboard_sequence(text, length, KG_CLIPBOARD_DIRECT, &bytes);
    assert_int_equal(bytes, 7 + 4000 + 1);
    wrapped = kg_clipboard_sequence(text, length, KG_CLIPBOARD_SCREEN, &bytes);
    for (size_t at = 0; at < bytes;) { /* what screen hands on, put together again */
        assert_memory_equal(wrapped + at, "\x1bP", 2);
        char *end = memmem(wrapped + at, bytes - at, "\x1b\\", 2);
        assert_non_null(end);
        size_t n = (size_t)(end - wrapped) - at - 2;
        assert_true(n <= 510);
        memcpy(inside + joined, wrapped + at + 2, n);
        joined += n;
        at += n + 4;
    }
    assert_int_equal(joined, 4008);
    assert_memory_equal(inside, direct, joined);
    assert_null(kg_clipboard_sequence(text, KG_CLIPBOARD_MOST + 1, KG_CLIPBOARD_DIRECT, &bytes));
    free(direct);
    free(wrapped);
    free(inside);
    free(text);
}

static double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

/* 100,000 lines: scrolled over by pages, searched through, and 60 frames a second on the way. */
static void a_long_transcript_is_fast(void **state)
{
    char *text = malloc(1 << 20);
    double worst = 0, begun;
    (void)state;
    for (int message = 0; message < 100; message++) {
        size_t n = 0;
        for (int i = 0; i < 1000; i++)
            n += (size_t)sprintf(text + n, "- line %d of message %d\n", i, message);
        kg_transcript_add(transcript, KG_ENTRY_ANSWER, text, n);
    }
    kg_screen_resize(screen, 60, 200);
    kg_transcript_set_window(transcript, 60, 200);
    for (int i = 0; i < 1700; i++) {
        begun = seconds();
        kg_transcript_scroll(transcript, -59);
        kg_screen_clear(screen);
        kg_transcript_draw(transcript, screen, 0);
        double spent = seconds() - begun;
        worst = spent > worst ? spent : worst;
    }
    assert_non_null(strstr(drawn(false), "greeting"));
    look_for("line 999 of message 99");
    begun = seconds();
    assert_int_equal(kg_transcript_find(transcript, 1), KG_FOUND);
    print_message("slowest page of 100,000 lines %.1f ms; found in the last one after %.1f ms\n", worst * 1000, (seconds() - begun) * 1000);
    free(text);
}

int main(void)
{
#define BROWSE_TEST(f) cmocka_unit_test_setup_teardown(f, make_transcript, free_transcript)
    const struct CMUnitTest tests[] = {
        BROWSE_TEST(messages_are_chosen_in_turn),
        BROWSE_TEST(code_is_chosen_in_turn),
        BROWSE_TEST(what_is_chosen_is_in_sight),
        BROWSE_TEST(folds_open_one_by_one),
        BROWSE_TEST(matches_are_found),
        BROWSE_TEST(matches_go_over_rows),
        cmocka_unit_test(a_pattern_is_plain),
        BROWSE_TEST(everything_can_be_written),
        cmocka_unit_test(code_is_coloured),
        cmocka_unit_test(any_bytes_are_coloured),
        cmocka_unit_test(a_copy_is_osc_52),
        cmocka_unit_test(what_is_not_seen_is_copied_visibly),
        cmocka_unit_test(long_copies_are_cut_for_screen_only),
        BROWSE_TEST(a_long_transcript_is_fast),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
