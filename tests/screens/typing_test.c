/* What is typed into the interface, in a real pseudo-terminal, with an engine that follows a script. */
#include "tests/screens/scripted_interface.h"

static void input_is_edited(void **state)
{
    (void)state;
    struct driver *d = start(24, 80);
    int row, column;
    driver_send(d, "first line\x1b\rsecond 漢字 line\x0athird");
    driver_wait_for(d, "third");
    driver_settle(d);
    driver_golden(d, "input");
    driver_send(d, "\x1b[A\x01\x1b" "d");
    driver_wait_for(d, "\n   漢字 line");
    driver_cursor(d, &row, &column);
    assert_int_equal(row, 22);
    assert_int_equal(column, 2);
    driver_send(d, "\x1f");
    driver_wait_for(d, "second 漢字 line");
    driver_send(d, "\x03");
    driver_wait_gone(d, "third");
    driver_send(d, "ask @ma");
    driver_wait_for(d, "tui/main.c");
    driver_send(d, "\t");
    driver_wait_for(d, "› ask @tui/main.c");
    driver_send(d, "\x15" "ask @run_");
    driver_wait_for(d, "run_main  function  run.c:1");
    driver_send(d, "\t");
    driver_wait_for(d, "› ask @run.c:1");
    driver_send(d, "\x15" "/edit it as in @GLYPH");
    driver_wait_for(d, "GLYPH_MOST  macro  tui/screen/glyph.c:12");
    driver_send(d, "\t");
    driver_wait_for(d, "› /edit it as in @tui/screen/glyph.c:12");
    driver_send(d, "\x15kept for later");
    driver_wait_for(d, "kept for later");
    driver_signal(d, SIGTERM);
    assert_int_equal(driver_wait_exit(d), 128 + SIGTERM);
    assert_restored(d);
    driver_free(d);
    d = start(24, 80); /* what was not sent is found again */
    driver_send(d, "\x1b[A");
    driver_wait_for(d, "› kept for later");
    driver_send(d, "\x15");
    quit(d);
}

static void what_was_sent_is_found_again(void **state)
{
    (void)state;
    struct driver *d = start(24, 80);
    ask(d, "the first question");
    driver_wait_for(d, "You asked: the first");
    driver_wait_for(d, "ready");
    ask(d, "another one");
    driver_wait_for(d, "You asked: another");
    driver_wait_for(d, "ready");
    quit(d);
    d = start(24, 80); /* in another run */
    driver_send(d, "a draft\x12");
    driver_wait_for(d, "find in what you sent:");
    driver_send(d, "quest");
    driver_wait_for(d, "› the first question");
    driver_send(d, "\x7f\x7f\x7f\x7f\x7fo");
    driver_wait_for(d, "› another one");
    driver_send(d, "\x12");
    driver_wait_for(d, "› the first question");
    driver_send(d, "\x12");
    driver_wait_for(d, "not found in what you sent: o");
    driver_golden(d, "history");
    driver_send(d, "\x1b");
    driver_wait_for(d, "› a draft");
    driver_wait_for(d, " ready");
    driver_send(d, "\x12" "first\r");
    driver_wait_for(d, "› the first question");
    driver_wait_for(d, " ready");
    driver_send(d, ", again\r");
    driver_wait_for(d, "You asked: the first question, again");
    quit(d);
}

static void the_input_is_edited_elsewhere(void **state)
{
    static const char upper[] = "VISUAL=sh -c 'tr a-z A-Z <\"$0\" >\"$0.x\" && mv \"$0.x\" \"$0\"'";
    (void)state;
    struct driver *d = start_as("scripted", "xterm-256color", (const char *const[]){ upper, NULL }, 24, 80);
    driver_wait_for(d, "ready");
    driver_send(d, "two\x0alines\x18\x05");
    driver_wait_for(d, "› TWO\n  LINES\n");
    driver_send(d, "\x1f"); /* undone */
    driver_wait_for(d, "› two\n  lines\n");
    driver_send(d, "\x15\x1f\x18\x03"); /* Ctrl-X and anything else is that alone */
    driver_wait_gone(d, "two");
    quit(d);
    d = start_as("scripted", "xterm-256color", (const char *const[]){ "VISUAL=", "EDITOR=false", NULL }, 24, 80);
    driver_wait_for(d, "ready");
    driver_send(d, "kept\x18\x05");
    driver_wait_for(d, "the editor failed or could not be run");
    assert_true(driver_shows(d, "› kept"));
    driver_send(d, "\x15");
    quit(d);
}

/* What is typed before an editor takes it comes back from the terminal itself. */
static void an_editor_is_typed_into(void **state)
{
    size_t length;
    (void)state;
    struct driver *d = start_as("scripted", "xterm-256color", (const char *const[]){ "VISUAL=sh -c 'echo it is open; read -r line; echo $line >\"$0\"'", NULL }, 24, 80);
    driver_wait_for(d, "ready");
    driver_send(d, "\x18\x05");
    driver_wait_for(d, "it is open");
    driver_send(d, "a\tword\x1b\x07\r");
    driver_wait_for(d, "› a word");
    assert_non_null(strstr(driver_raw(d, &length), "a\tword^[^G"));
    assert_harmless(d, true);
    driver_send(d, "\x15");
    quit(d);
}

static void a_large_paste_is_taken_at_once(void **state)
{
    (void)state;
    struct driver *d = start(24, 80);
    size_t length = 1 << 20;
    char *text = malloc(length + 1);
    for (size_t i = 0; i < length; i++)
        text[i] = i % 60 == 59 ? '\r' : (char)('a' + i % 26);
    text[length] = '\0';
    driver_send(d, "\x1b[200~");
    driver_send_bytes(d, text, length);
    driver_send(d, "the end\x1b[201~");
    driver_wait_for(d, "the end");
    driver_send(d, "\x1b[200~\x1b[31337m\x07\x1b[201~");
    driver_wait_for(d, "the end^[[31337m^G");
    driver_send(d, "\x03");
    driver_wait_gone(d, "the end");
    free(text);
    quit(d);
}

/* However long a command is, all of it counts. */
static void a_long_command_is_whole(void **state)
{
    char line[6000];
    (void)state;
    struct driver *d = start(24, 80);
    memset(line, 'x', sizeof line);
    memcpy(line, "/test expr length ", 18);
    line[sizeof line - 1] = '\0';
    driver_send(d, line);
    driver_send(d, "\r");
    driver_wait_for(d, "5981");
    quit(d);
}

int main(int argc, char **argv)
{
    if (argc == 3)
        return run_interface(argv[1], argv[2]);
    const struct CMUnitTest tests[] = {
        SCREEN_TEST(input_is_edited),
        SCREEN_TEST(what_was_sent_is_found_again),
        SCREEN_TEST(the_input_is_edited_elsewhere),
        SCREEN_TEST(an_editor_is_typed_into),
        SCREEN_TEST(a_large_paste_is_taken_at_once),
        SCREEN_TEST(a_long_command_is_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
