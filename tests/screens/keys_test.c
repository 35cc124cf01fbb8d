/* Other ways to the interface than Emacs keys, in a real pseudo-terminal: vi keys, the mouse. */
#include "tests/screens/scripted_interface.h"

static void the_input_has_vi_keys(void **state)
{
    (void)state;
    int row, column;
    struct driver *d = start_as("scripted", "xterm-256color", (const char *const[]){ "VI=1", NULL }, 24, 80);
    driver_wait_for(d, "ask about 3 files");
    driver_send(d, "one two three\x1b");
    driver_wait_for(d, "‹ one two three");
    driver_cursor(d, &row, &column);
    assert_int_equal(column, 2 + 12);
    driver_send(d, "bd");
    driver_wait_for(d, " d\n");
    driver_send(d, "b");
    driver_wait_for(d, "‹ one three");
    driver_send(d, "u");
    driver_wait_for(d, "‹ one two three");
    driver_send(d, "0dw.");
    driver_wait_for(d, "‹ three");
    driver_send(d, "u\x12" "Ax"); /* and again; behind it */
    driver_wait_for(d, "› threex");
    driver_send(d, "\x0asecond\x1bk");
    driver_settle(d);
    driver_cursor(d, &row, &column);
    assert_int_equal(row, 22);
    driver_send(d, "x0j\r"); /* Enter sends, and the next input begins with writing */
    driver_wait_for(d, "You asked: ");
    driver_wait_for(d, "ready");
    driver_wait_for(d, "› ask about");
    driver_send(d, "\x1bk"); /* what was sent before */
    driver_wait_for(d, "‹ three");
    driver_send(d, "jinew\x1b");
    driver_wait_for(d, "‹ new");
    driver_send(d, "/thr");
    driver_wait_for(d, "find in what you sent: thr");
    driver_send(d, "\x1b");
    driver_wait_for(d, "‹ new");
    driver_send(d, "dd");
    driver_wait_for(d, "‹ ask about");
    driver_send(d, "\x14q"); /* going through messages, and back to commands */
    driver_wait_for(d, "‹ ask about");
    driver_send(d, "iask @ma");
    driver_wait_for(d, "tui/main.c");
    driver_send(d, "\t\x1b");
    driver_wait_for(d, "‹ ask @tui/main.c");
    driver_send(d, "cc");
    driver_wait_for(d, "› ask about");
    driver_send(d, "gate\r"); /* Escape twice stops an answer */
    driver_wait_for(d, "before the gate");
    driver_send(d, "\x1b");
    driver_wait_for(d, "‹ ask about");
    driver_send(d, "\x1b");
    driver_wait_for(d, "stopped");
    driver_wait_for(d, "ready");
    quit(d);
}

static void the_mouse_is_the_terminals_until_it_is_asked_for(void **state)
{
    (void)state;
    int row, column;
    size_t length;
    struct driver *d = start(24, 80);
    assert_null(strstr(driver_raw(d, &length), "1000h"));
    driver_send(d, "\x1bOR");
    driver_wait_for(d, "the mouse scrolls");
    driver_wait_sent(d, "\x1b[?1000h\x1b[?1006h");
    driver_send(d, "first \xe6\xbc\xa2 line\x0asecond");
    driver_wait_for(d, "second");
    driver_send(d, "\x1b[<0;12;23M\x1b[<0;12;23mX"); /* behind the wide character */
    driver_wait_for(d, "› first 漢 Xline");
    driver_send(d, "\x1b[<0;79;24M!"); /* behind a line's end: at its end */
    driver_wait_for(d, "  second!");
    driver_cursor(d, &row, &column);
    assert_int_equal(row, 23);
    driver_send(d, "\x03");
    driver_wait_gone(d, "second!");
    ask(d, "What does main do, in markdown?");
    driver_wait_for(d, "reused");
    driver_wait_for(d, "ready");
    driver_wait_for(d, "read 2 files, 58 tokens");
    driver_settle(d);
    const char *screen = driver_screen(d), *line = strstr(screen, "read 2 files");
    int at = 1;
    for (const char *c = screen; c < line; c++)
        at += *c == '\n';
    char click[32];
    snprintf(click, sizeof click, "\x1b[<0;10;%dM", at);
    driver_send(d, click);
    driver_wait_for(d, "read run.c, 29 tokens: matches: run");
    driver_send(d, "\x1b[<64;10;5M\x1b[<64;10;5M");
    driver_wait_for(d, "↓ more");
    driver_send(d, "\x1b[<65;10;5M\x1b[<65;10;5M\x1b[<65;10;5M");
    driver_wait_gone(d, "↓ more");
    driver_send(d, "\x1bOR");
    driver_wait_for(d, "the mouse selects text");
    driver_wait_sent(d, "\x1b[?1006l\x1b[?1000l");
    quit(d);
}

static void the_mouse_goes_through_the_list(void **state)
{
    (void)state;
    struct driver *d = start_as("scripted", "xterm-256color", (const char *const[]){ "MOUSE=1", NULL }, 24, 80);
    driver_wait_for(d, "ask about 3 files");
    ask(d, "/sessions");
    driver_wait_for(d, "older talk");
    driver_send(d, "\x1b[<65;10;5Md");
    driver_wait_for(d, "d again deletes evil");
    driver_send(d, "\x1b[<64;10;5Md");
    driver_wait_for(d, "d again deletes older talk");
    driver_send(d, "/was");
    driver_wait_for(d, "1 found");
    driver_send(d, "\x1b[<0;4;24MX"); /* behind the w */
    driver_wait_for(d, "/ wXas");
    driver_send(d, "\x1b");
    driver_wait_for(d, "Enter open");
    driver_send(d, "\x1b");
    driver_wait_for(d, "ask about 3 files");
    quit(d);
}

static void the_mouse_is_given_back(void **state)
{
    (void)state;
    size_t length;
    struct driver *d = start_as("scripted", "xterm-256color", (const char *const[]){ "MOUSE=1", NULL }, 24, 80);
    driver_wait_for(d, "ask about 3 files");
    driver_wait_sent(d, "\x1b[?1000h\x1b[?1006h");
    driver_send(d, "\x1a");
    driver_wait_stopped(d);
    assert_non_null(strstr(driver_raw(d, &length), "\x1b[?1006l\x1b[?1000l"));
    size_t before = length;
    driver_signal(d, SIGCONT);
    driver_wait_for(d, "ask about 3 files");
    driver_settle(d);
    assert_non_null(strstr(driver_raw(d, &length) + before, "\x1b[?1000h\x1b[?1006h"));
    before = length;
    driver_signal(d, SIGSEGV);
    assert_int_not_equal(driver_wait_exit(d), 0);
    assert_non_null(strstr(driver_raw(d, &length) + before, "\x1b[?1006l\x1b[?1000l"));
    assert_restored(d);
    driver_free(d);
}

int main(int argc, char **argv)
{
    if (argc == 3)
        return run_interface(argv[1], argv[2]);
    const struct CMUnitTest tests[] = {
        SCREEN_TEST(the_input_has_vi_keys),
        SCREEN_TEST(the_mouse_is_the_terminals_until_it_is_asked_for),
        SCREEN_TEST(the_mouse_goes_through_the_list),
        SCREEN_TEST(the_mouse_is_given_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
