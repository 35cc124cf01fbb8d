/* The whole screen without a terminal: commands, completion, history, queues, status line, input. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "tui/input/history.h"
#include "tui/input/mention.h"
#include "tui/interface/figures.h"
#include "tui/interface/speed.h"
#include "tui/interface/view.h"

static const struct kg_input_command commands[] = {
    { "/add", "PATH", "read a file", KG_WANTED_PATHS },
    { "/all", "", "everything", KG_WANTED_NOTHING },
    { "/help", "", "commands and keys", KG_WANTED_NOTHING },
    { NULL, NULL, NULL, KG_WANTED_NOTHING },
};

struct scene {
    struct kg_view view;
    struct kg_status_line status;
    struct kg_editor *editor;
    struct kg_completion *completion;
    struct kg_screen *screen;
};

static int set_scene(void **state)
{
    struct scene *s = calloc(1, sizeof *s);
    s->editor = kg_editor_create();
    s->completion = kg_completion_create(commands);
    s->screen = kg_screen_create(10, 40);
    s->view = (struct kg_view){ .transcript = kg_transcript_create(), .editor = s->editor, .completion = s->completion, .status = &s->status, .placeholder = "ask", .prompt = "› " };
    *state = s;
    return 0;
}

static int clear_scene(void **state)
{
    struct scene *s = *state;
    kg_transcript_free(s->view.transcript);
    kg_editor_free(s->editor);
    kg_completion_free(s->completion);
    kg_screen_free(s->screen);
    free(s);
    return 0;
}

static void write_text(struct scene *s, const char *text)
{
    kg_editor_set(s->editor, text, strlen(text));
}

/* The rows of the screen from one on, '^' at the cursor's place. */
static const char *drawn(struct scene *s, int from)
{
    static char out[65536];
    char row[8192];
    size_t used = 0;
    kg_view_draw(&s->view, s->screen);
    for (int i = from; i < s->screen->rows; i++) {
        kg_screen_row_text(s->screen, i, row, sizeof row);
        used += (size_t)snprintf(out + used, sizeof out - used, "%s\n", row);
    }
    return out;
}

static void input_grows_to_a_third(void **state)
{
    struct scene *s = *state;
    assert_string_equal(drawn(s, 8), " ready\n› ask\n");
    assert_int_equal(s->screen->cursor_row, 9);
    assert_int_equal(s->screen->cursor_column, 2);
    write_text(s, "one\ntwo");
    assert_string_equal(drawn(s, 7), " ready\n› one\n  two\n");
    write_text(s, "one\ntwo\nthree\nfour\n");
    assert_string_equal(drawn(s, 6), " ready\n› three\n  four\n\n");
    assert_int_equal(s->screen->cursor_row, 9);
    kg_editor_move(s->editor, KG_MOVE_START);
    assert_string_equal(drawn(s, 6), " ready\n› one\n  two\n  three\n");
    assert_int_equal(s->screen->cursor_row, 7);
    for (int i = 0; i < 3; i++)
        kg_editor_move_row(s->editor, 1, 37);
    assert_string_equal(drawn(s, 6), " ready\n› two\n  three\n  four\n");
    write_text(s, "a very long line of words that does not fit in one row");
    assert_string_equal(drawn(s, 7), " ready\n› a very long line of words that does\n  not fit in one row\n");
    assert_int_equal(s->screen->cursor_column, 20);
}

static void any_size_is_drawn(void **state)
{
    struct scene *s = *state;
    kg_transcript_add(s->view.transcript, KG_ENTRY_ANSWER, "some text\n\n```\ncode\n```\n漢字", 28);
    snprintf(s->status.model, sizeof s->status.model, "a model");
    snprintf(s->status.what, sizeof s->status.what, "file");
    s->status.context_limit = 100;
    for (int round = 0; round < 2; round++, write_text(s, "/a"), kg_completion_update(s->completion, s->editor, &(const char *){ NULL }, &(uint32_t){ 0 }))
        for (int rows = 1; rows < 30; rows++)
            for (int columns = 1; columns < 60; columns++) {
                kg_screen_resize(s->screen, rows, columns);
                s->status.doing = (enum kg_doing)((rows + columns) % 9);
                drawn(s, 0);
                assert_in_range(s->screen->cursor_row, 0, rows - 1);
                assert_in_range(s->screen->cursor_column, 0, columns - 1);
            }
}

static void status_gives_way_on_narrow_screens(void **state)
{
    struct scene *s = *state;
    s->status = (struct kg_status_line){ .doing = KG_DOING_READING, .done = 1024, .total = 2310, .context_tokens = 2340, .context_limit = 8192, .reused_tokens = 1200, .rate = 34.12,
                                         .model = "model", .device = "cpu", .what = "tui/main.c" };
    kg_screen_resize(s->screen, 2, 120);
    assert_string_equal(drawn(s, 0), " reading tui/main.c 1,024 of 2,310 tokens              cpu · model · reused 1,200 · 34 tokens/s · 2,340 of 8,192 tokens\n› ask\n");
    kg_screen_resize(s->screen, 2, 70);
    assert_string_equal(drawn(s, 0), " reading tui/main.c 1,024 of 2,310 tokens       2,340 of 8,192 tokens\n› ask\n");
    kg_screen_resize(s->screen, 2, 30);
    assert_string_equal(drawn(s, 0), " reading tui/main.c 1,024 of…\n› ask\n");
    s->status.doing = KG_DOING_LOADING;
    s->status.total = 4096;
    s->status.seconds = 12;
    s->status.context_limit = 0;
    s->status.model[0] = s->status.device[0] = '\0';
    assert_string_equal(drawn(s, 0), " loading 25 %, 12 s\n› ask\n");
    s->status.hint = "Ctrl-C again quits";
    assert_string_equal(drawn(s, 0), " Ctrl-C again quits\n› ask\n");
}

static enum kg_wanted update(struct scene *s, char *pattern, uint32_t *ticket)
{
    const char *p = "";
    enum kg_wanted wanted = kg_completion_update(s->completion, s->editor, &p, ticket);
    snprintf(pattern, 100, "%s", p);
    return wanted;
}

static void commands_are_completed(void **state)
{
    struct scene *s = *state;
    char pattern[100];
    uint32_t ticket;
    write_text(s, "/a");
    assert_int_equal(update(s, pattern, &ticket), KG_WANTED_NOTHING);
    assert_string_equal(drawn(s, 6), "  /add  PATH  read a file\n  /all  everything\n ready\n› /a\n");
    assert_true(kg_completion_choose(s->completion, s->editor, 1));
    update(s, pattern, &ticket);
    assert_string_equal(kg_editor_text(s->editor, NULL), "/add");
    assert_true(kg_completion_choose(s->completion, s->editor, 1));
    update(s, pattern, &ticket);
    assert_string_equal(kg_editor_text(s->editor, NULL), "/all");
    assert_true(kg_completion_choose(s->completion, s->editor, -1));
    update(s, pattern, &ticket);
    assert_string_equal(kg_editor_text(s->editor, NULL), "/add");
    write_text(s, "/h");
    update(s, pattern, &ticket);
    assert_true(kg_completion_choose(s->completion, s->editor, 1));
    assert_string_equal(kg_editor_text(s->editor, NULL), "/help");
    update(s, pattern, &ticket);
    write_text(s, "/x");
    update(s, pattern, &ticket);
    assert_false(kg_completion_choose(s->completion, s->editor, 1));
    write_text(s, "no /command");
    update(s, pattern, &ticket);
    assert_int_equal(kg_completion_count(s->completion), 0);
}

static void paths_are_completed(void **state)
{
    struct scene *s = *state;
    char pattern[100];
    uint32_t ticket = 0, older;
    write_text(s, "what is @tu");
    assert_int_equal(update(s, pattern, &ticket), KG_WANTED_PLACES);
    assert_string_equal(pattern, "tu");
    older = ticket;
    write_text(s, "what is @tui");
    assert_int_equal(update(s, pattern, &ticket), KG_WANTED_PLACES);
    kg_completion_offer(s->completion, older, "too late", NULL, "");
    assert_int_equal(kg_completion_count(s->completion), 0);
    kg_completion_offer(s->completion, ticket, "tui/a b.c", NULL, "");
    kg_completion_choose(s->completion, s->editor, 1);
    assert_string_equal(kg_editor_text(s->editor, NULL), "what is @\"tui/a b.c\" ");
    update(s, pattern, &ticket);
    assert_int_equal(kg_completion_count(s->completion), 0);
    write_text(s, "/add tu");
    assert_int_equal(update(s, pattern, &ticket), KG_WANTED_PATHS);
    assert_string_equal(pattern, "tu");
    kg_completion_offer(s->completion, ticket, "tui/main.c", NULL, "");
    kg_completion_offer(s->completion, ticket, "tui/x.c", NULL, "");
    kg_completion_choose(s->completion, s->editor, 1);
    assert_string_equal(kg_editor_text(s->editor, NULL), "/add tui/main.c");
    assert_int_equal(update(s, pattern, &ticket), KG_WANTED_NOTHING);
    assert_true(kg_completion_dismiss(s->completion));
    assert_false(kg_completion_dismiss(s->completion));
    write_text(s, "/edit it as @add");
    assert_int_equal(update(s, pattern, &ticket), KG_WANTED_PLACES);
    assert_string_equal(pattern, "add");
    const char *help;
    kg_completion_offer(s->completion, ticket, "a b.c:3-9", "add_numbers", "function  a b.c:3");
    assert_string_equal(kg_completion_shown(s->completion, 0, &help), "add_numbers");
    assert_string_equal(help, "function  a b.c:3");
    kg_completion_choose(s->completion, s->editor, 1);
    assert_string_equal(kg_editor_text(s->editor, NULL), "/edit it as @\"a b.c:3-9\" ");
    write_text(s, "@a");
    assert_int_equal(update(s, pattern, &ticket), KG_WANTED_PLACES);
    kg_completion_offer(s->completion, ticket, "a\nb.c", NULL, "");
    kg_completion_offer(s->completion, ticket, "a\nb.c:3-9", "add", "function  a\nb.c:3");
    assert_int_equal(kg_completion_count(s->completion), 0);
    kg_completion_offer(s->completion, ticket, "a\rb.c", NULL, "");
    kg_completion_offer(s->completion, ticket, "a\rb.c", NULL, ""); /* as it comes when more is known */
    assert_int_equal(kg_completion_count(s->completion), 1);
    kg_completion_offer(s->completion, ticket, "a:3", "b", "");
    kg_completion_offer(s->completion, ticket, "a:3", "b", "");
    kg_completion_offer(s->completion, ticket, "a:3", "c", "");
    assert_int_equal(kg_completion_count(s->completion), 3);
    kg_completion_choose(s->completion, s->editor, 1);
    assert_string_equal(kg_editor_text(s->editor, NULL), "@\"a\rb.c\"");
    write_text(s, "mail@example.org");
    assert_int_equal(update(s, pattern, &ticket), KG_WANTED_NOTHING);
}

static void long_words_leave_room_for_what_others_are(void **state)
{
    struct scene *s = *state;
    char pattern[100];
    uint32_t ticket = 0;
    write_text(s, "@a");
    update(s, pattern, &ticket);
    kg_completion_offer(s->completion, ticket, "a/path/as/long/as/some/are.c", NULL, "");
    kg_completion_offer(s->completion, ticket, "b.c:3-9", "add", "function  b.c:3");
    assert_string_equal(drawn(s, 6), "  a/path/as/long/as/some/are.c\n  add                       function  …\n ready\n› @a\n");
    kg_completion_offer(s->completion, ticket, "b.md:1", "a heading of so many words that nothing stands beside it", "heading  b.md:1");
    assert_string_equal(drawn(s, 5), "  a/path/as/long/as/some/are.c\n  add                       function  …\n"
                                     "  a heading of so many wo…  heading  b…\n ready\n› @a\n");
}

static void mentions_are_found(void **state)
{
    (void)state;
    static const char text[] = "see @a/b.c, (@c) x@y @\"d e\" @";
    static const char *const paths[] = { "a/b.c,", "c)", "d e", "" };
    struct kg_mention mention;
    size_t at = 0;
    for (int i = 0; i < 4; i++, at = mention.end) {
        assert_true(kg_mention_next(text, sizeof text - 1, at, &mention));
        assert_int_equal(mention.path_length, strlen(paths[i]));
        assert_memory_equal(text + mention.path, paths[i], mention.path_length);
    }
    assert_false(kg_mention_next(text, sizeof text - 1, at, &mention));
}

static void what_a_mention_cannot_name_has_none(void **state)
{
    (void)state;
    static const char *const named[] = { "a", "a\"b", "a b", "a\tb", "a\rb", "a:3-9", "\x1b[m", "\xff" }, *const nameless[] = { "a\nb", "a \"b", "\"a" };
    struct kg_mention mention;
    char word[32];
    for (size_t i = 0; i < sizeof named / sizeof named[0]; i++) {
        size_t n = kg_mention_of(named[i], word, sizeof word);
        assert_true(kg_mention_next(word, n, 0, &mention));
        assert_int_equal(mention.path_length, strlen(named[i]));
        assert_memory_equal(word + mention.path, named[i], mention.path_length);
        assert_int_equal(mention.end, n);
    }
    for (size_t i = 0; i < sizeof nameless / sizeof nameless[0]; i++)
        assert_int_equal(kg_mention_of(nameless[i], word, sizeof word), 0);
}

static void history_is_searched(void **state)
{
    (void)state;
    struct kg_history *history;
    struct kg_error err;
    size_t length, at = KG_HISTORY_MOST;
    assert_int_equal(kg_history_open(NULL, &history, &err), KG_OK);
    assert_null(kg_history_find(history, "a", 1, &at, &length));
    kg_history_add(history, "what is Main?", 13, &err);
    kg_history_add(history, "other", 5, &err);
    kg_history_add(history, "in main.c", 9, &err);
    assert_string_equal(kg_history_find(history, "main", 4, &at, &length), "in main.c");
    assert_int_equal(length, 9);
    assert_string_equal(kg_history_find(history, "main", 4, &at, &length), "what is Main?");
    assert_null(kg_history_find(history, "main", 4, &at, &length));
    at = KG_HISTORY_MOST;
    assert_string_equal(kg_history_find(history, "Main", 4, &at, &length), "what is Main?");
    kg_history_close(history);
}

static void history_is_kept_and_walked(void **state)
{
    (void)state;
    char path[] = "/tmp/kedge-history-XXXXXX";
    struct kg_history *history;
    struct kg_error err;
    struct stat st;
    size_t length;
    close(mkstemp(path));
    unlink(path);
    for (int run = 0; run < 2; run++) {
        assert_int_equal(kg_history_open(path, &history, &err), KG_OK);
        if (run == 0) {
            assert_int_equal(kg_history_add(history, "first\\ line\nsecond\x1b", 19, &err), KG_OK);
            assert_int_equal(kg_history_add(history, "last", 4, &err), KG_OK);
            assert_int_equal(kg_history_add(history, "last", 4, &err), KG_OK);
        }
        assert_string_equal(kg_history_walk(history, -1, "draft", 5, &length), "last");
        assert_string_equal(kg_history_walk(history, -1, "", 0, &length), "first\\ line\nsecond\x1b");
        assert_int_equal(length, 19);
        assert_null(kg_history_walk(history, -1, "", 0, &length));
        assert_string_equal(kg_history_walk(history, 1, "", 0, &length), "last");
        assert_string_equal(kg_history_walk(history, 1, "", 0, &length), "draft");
        assert_null(kg_history_walk(history, 1, "", 0, &length));
        kg_history_close(history);
    }
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    FILE *file = fopen(path, "w");
    for (int i = 0; i < 2 * KG_HISTORY_MOST + 10; i++)
        fprintf(file, "entry %d\n", i);
    fclose(file);
    assert_int_equal(kg_history_open(path, &history, &err), KG_OK);
    assert_string_equal(kg_history_walk(history, -1, "", 0, &length), "entry 4009");
    kg_history_close(history);
    assert_int_equal(stat(path, &st), 0);
    assert_in_range(st.st_size, 1, KG_HISTORY_MOST * strlen("entry 1234 "));
    unlink(path);
    assert_int_equal(kg_history_open("/dev/full/x", &history, &err), KG_OK);
    assert_int_equal(kg_history_add(history, "x", 1, &err), KG_ERR_IO);
    assert_string_equal(kg_history_walk(history, -1, "", 0, &length), "x");
    kg_history_close(history);
}

static void figures_are_read_easily(void **state)
{
    (void)state;
    char out[KG_FIGURE];
    assert_string_equal(kg_figure_count(out, 0), "0");
    assert_string_equal(kg_figure_count(out, 29874), "29,874");
    assert_string_equal(kg_figure_count(out, UINT64_MAX), "18,446,744,073,709,551,615");
    assert_string_equal(kg_figure_bytes(out, 312000000), "312 MB");
    assert_string_equal(kg_figure_bytes(out, 1500), "1.5 kB");
    assert_string_equal(kg_figure_bytes(out, 12), "12 bytes");
    assert_string_equal(kg_figure_seconds(out, 0.041), "41 ms");
    assert_string_equal(kg_figure_seconds(out, 1.24), "1.2 s");
    assert_string_equal(kg_figure_seconds(out, 200), "3 min 20 s");
    assert_string_equal(kg_figure_rate(out, 8.42), "8.4");
    assert_string_equal(kg_figure_age(out, 1000000, 999990), "just now");
    assert_string_equal(kg_figure_age(out, 1000000, 1000000 - 7200), "2 hours ago");
}

static void speed_is_remembered(void **state)
{
    (void)state;
    char path[] = "/tmp/kedge-speed-XXXXXX";
    close(mkstemp(path));
    assert_true(kg_speed_recall(path, "m", "cpu") == 0);
    kg_speed_remember(path, "m", "cpu", 120.5);
    kg_speed_remember(path, "n", "cpu", 10);
    kg_speed_remember(path, "m", "cpu", 140.5);
    assert_true(kg_speed_recall(path, "m", "cpu") == 140.5);
    assert_true(kg_speed_recall(path, "n", "cpu") == 10);
    assert_true(kg_speed_recall(path, "n", "gpu") == 0);
    assert_true(kg_speed_guess(1100000000, 1) > 10 && kg_speed_guess(1100000000, 1) < 200);
    unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(input_grows_to_a_third, set_scene, clear_scene),
        cmocka_unit_test_setup_teardown(any_size_is_drawn, set_scene, clear_scene),
        cmocka_unit_test_setup_teardown(status_gives_way_on_narrow_screens, set_scene, clear_scene),
        cmocka_unit_test_setup_teardown(commands_are_completed, set_scene, clear_scene),
        cmocka_unit_test_setup_teardown(paths_are_completed, set_scene, clear_scene),
        cmocka_unit_test_setup_teardown(long_words_leave_room_for_what_others_are, set_scene, clear_scene),
        cmocka_unit_test(mentions_are_found),
        cmocka_unit_test(what_a_mention_cannot_name_has_none),
        cmocka_unit_test(history_is_searched),
        cmocka_unit_test(history_is_kept_and_walked),
        cmocka_unit_test(figures_are_read_easily),
        cmocka_unit_test(speed_is_remembered),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
