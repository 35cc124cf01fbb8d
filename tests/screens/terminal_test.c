/* The interface on terminals of many kinds and sizes, in a real pseudo-terminal, with an engine that follows a script. */
#include "tests/screens/scripted_interface.h"

/* Whatever width the terminal gives a character: what stands behind it is where it belongs. */
static void every_script_stays_in_its_columns(void **state)
{
    (void)state;
    struct driver *d = start(24, 80);
    ask(d, "unicode");
    driver_wait_for(d, "reused");
    driver_wait_for(d, "ready");
    driver_golden(d, "unicode");
    driver_send(d, "\x1b[5~"); /* rows with such characters move */
    driver_send(d, "\x1b[6~");
    ask(d, "short");
    driver_wait_for(d, "You asked: short");
    driver_wait_for(d, "ready");
    driver_golden(d, "unicode-moved");
    quit(d);
}

static void terminals_show_the_same(void **state)
{
    static const char *const terms[] = { "xterm", "xterm-256color", "tmux-256color", "screen", "linux", "vt100" };
    (void)state;
    for (size_t i = 0; i < sizeof terms / sizeof terms[0]; i++) {
        size_t length;
        struct driver *d = start_as("scripted", terms[i], NULL, 24, 80);
        driver_wait_for(d, "ready");
        driver_wait_for(d, "ask about 3 files");
        ask(d, "What does main do, in markdown?");
        driver_wait_for(d, "reused");
        driver_wait_for(d, "ready");
        driver_golden(d, "answer-80x24");
        driver_send(d, "\x04");
        assert_int_equal(driver_wait_exit(d), 0);
        assert_restored(d);
        assert_true(driver_shows(d, "Go on with it: kedge --session"));
        const char *raw = driver_raw(d, &length);
        assert_int_equal(strstr(raw, "\x1b[?1049h") != NULL, strstr(raw, "\x1b[?1049l") != NULL);
        assert_true(strcmp(terms[i], "vt100") == 0 || strcmp(terms[i], "linux") == 0 || strstr(raw, "\x1b[?1049l"));
        driver_free(d);
    }
}

static void other_terminals_are_refused(void **state)
{
    static const char *const terms[] = { "no-such-terminal", "" };
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct driver *d = start_as("scripted", terms[i], NULL, 24, 200);
        assert_int_equal(driver_wait_exit(d), 1);
        assert_true(driver_shows(d, "kedge --inline"));
        assert_true(driver_modes_restored(d));
        driver_free(d);
    }
}

/* A terminal that says it can is shown every frame at once. */
static void frames_are_shown_at_once(void **state)
{
    static const char begin[] = "\x1b[?2026h", end[] = "\x1b[?2026l";
    (void)state;
    size_t length, frames = 0;
    struct driver *d = start(24, 80);
    const char *raw = driver_raw(d, &length);
    assert_non_null(strstr(raw, "\x1b[?2026$p"));
    assert_null(strstr(raw, begin));
    driver_send(d, "\x1b[?2026;2$y");
    ask(d, "markdown");
    driver_wait_for(d, "reused");
    driver_wait_for(d, "ready");
    driver_settle(d);
    raw = driver_raw(d, &length);
    const char *at = strstr(raw, begin);
    assert_non_null(at);
    for (const char *close; at < raw + length; at = close + sizeof end - 1, frames++) { /* nothing stands outside of them */
        assert_memory_equal(at, begin, sizeof begin - 1);
        close = strstr(at, end);
        assert_non_null(close);
    }
    assert_true(frames > 0);
    quit(d);
    d = start_as("scripted", "linux", NULL, 24, 80);
    driver_wait_for(d, "ready");
    assert_null(strstr(driver_raw(d, &length), "2026"));
    quit(d);
}

static void no_colour_means_none(void **state)
{
    (void)state;
    size_t length;
    struct driver *d = start_as("scripted", "xterm-256color", (const char *const[]){ "NO_COLOR=1", NULL }, 24, 80);
    driver_wait_for(d, "ready");
    ask(d, "markdown");
    driver_wait_for(d, "reused");
    const char *raw = driver_raw(d, &length);
    for (const char *at = raw; (at = strstr(at, "\x1b[")); at += 2) {
        size_t n = strspn(at + 2, "0123456789;");
        if (at[2 + n] == 'm')
            for (const char *p = at + 2; p < at + 2 + n; p += strcspn(p, ";m") + 1)
                assert_false((p[0] == '3' || p[0] == '4' || p[0] == '9') && p[1] >= '0' && p[1] <= '9' && strncmp(p, "39", 2) != 0 && strncmp(p, "49", 2) != 0);
    }
    quit(d);
}

/* The looks of a theme reach the terminal, in as many colours as it has or as were asked for. */
static void themes_are_used(void **state)
{
    static const struct {
        const char *term, *theme, *colours, *no_colour, *colorterm, *sent; /* of the prompt or the bar */
    } cases[] = {
        { "xterm-256color", "THEME=dark", "COLOURS=4", "NO_COLOR=", "COLORTERM=", "\x1b[38;5;75m" },
        { "xterm-256color", "THEME=light", "COLOURS=4", "NO_COLOR=", "COLORTERM=yes", "\x1b[38;5;25m" },
        { "xterm-256color", "THEME=light", "COLOURS=2", "NO_COLOR=", "COLORTERM=truecolor", "\x1b[34m" },
        { "xterm-256color", "THEME=light", "COLOURS=1", "NO_COLOR=1", "COLORTERM=truecolor", "\x1b[38;5;25m" }, /* asked for by name */
        { "xterm", "THEME=dark", "COLOURS=4", "NO_COLOR=", "COLORTERM=truecolor", "\x1b[34m" },
        { "linux", "THEME=dark", "COLOURS=4", "NO_COLOR=", "COLORTERM=truecolor", "\x1b[34m" },
        { "xterm-256color", "THEME=dark", "COLOURS=4", "NO_COLOR=", "COLORTERM=truecolor", "\x1b[38;2;108;178;255m" },
        { "tmux-256color", "THEME=light", "COLOURS=4", "NO_COLOR=", "COLORTERM=24bit", "\x1b[38;2;5;80;174m" },
        { "screen-256color", "THEME=dark", "COLOURS=4", "NO_COLOR=", "COLORTERM=truecolor", "\x1b[38;5;75m" }, /* screen has none */
        { "xterm-256color", "THEME=dark", "COLOURS=0", "NO_COLOR=", "COLORTERM=", "\x1b[38;2;108;178;255m" },
        { "xterm-256color", "THEME=dark", "COLOURS=0", "NO_COLOR=", "COLORTERM=", "\x1b[48;2;51;57;70m" },
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        size_t length;
        struct driver *d = start_as("scripted", cases[i].term, (const char *const[]){ "TMUX=", cases[i].theme, cases[i].colours, cases[i].no_colour, cases[i].colorterm, NULL }, 24,
                                    80);
        driver_wait_for(d, "ready");
        if (!strstr(driver_raw(d, &length), cases[i].sent))
            fail_msg("%s with %s, %s, %s: no %s", cases[i].term, cases[i].theme, cases[i].colours, cases[i].colorterm, cases[i].sent + 1);
        assert_int_equal(strstr(driver_raw(d, &length), "8;2;") != NULL, strstr(cases[i].sent, "8;2;") != NULL);
        quit(d);
    }
    struct driver *d = start_as("scripted", "xterm-256color", (const char *const[]){ "THEME=../../evil", NULL }, 24, 80);
    driver_wait_for(d, "there is no theme '../../evil'; there are terminal, dark, light");
    quit(d);
}

static void nothing_hostile_reaches_the_terminal(void **state)
{
    (void)state;
    struct driver *d = start(24, 100);
    ask(d, "something hostile \xff\xc2\x9b");
    driver_wait_for(d, "reused");
    driver_wait_for(d, "ready");
    driver_golden(d, "hostile");
    driver_send(d, "see @evil");
    driver_wait_for(d, "^[[31mkind  evil^[]0;owned^G.c:3");
    driver_send(d, "\t");
    driver_wait_for(d, "› see @evil^[]0;owned^G.c");
    driver_send(d, "\r");
    driver_wait_for(d, "You asked: see @evil");
    driver_wait_for(d, "ready");
    driver_send(d, "/resume older talk\r");
    driver_wait_for(d, "stopped here");
    driver_send(d, "\x04");
    assert_int_equal(driver_wait_exit(d), 0);
    assert_harmless(d, false);
    driver_free(d);
}

static void libraries_do_not_write_on_the_screen(void **state)
{
    (void)state;
    struct driver *d = start(24, 80);
    char path[128], line[128] = "";
    size_t length;
    assert_null(strstr(driver_raw(d, &length), "a library says"));
    quit(d);
    snprintf(path, sizeof path, "%s/kedge.log", directory);
    FILE *log = fopen(path, "r");
    assert_non_null(log);
    assert_non_null(fgets(line, sizeof line, log));
    assert_string_equal(line, "a library says something\n");
    fclose(log);
}

/* A frame that scrolls rows comes to a terminal that has grown meanwhile: where it ended scrolling is not where the screen ends now. */
static void a_resize_overtakes_a_frame(void **state)
{
    (void)state;
    struct driver *d = start(24, 80);
    for (int i = 0; i < 2; i++) {
        ask(d, "markdown");
        driver_settle(d);
    }
    driver_send(d, "\x1b[1;5A");
    driver_settle(d);
    driver_send(d, "\x1b[1;5B");
    assert_true(driver_resize_unread(d, 26, 80, 30000));
    driver_settle(d);
    driver_send(d, "two\x0alines"); /* all rows move up */
    driver_settle(d);
    char *shown = strdup(driver_screen(d));
    driver_send(d, "\x0c");
    driver_settle(d);
    assert_string_equal(shown, driver_screen(d));
    free(shown);
    driver_send(d, "\x15\x7f\x15");
    quit(d);
}

/* Where its cursor stands there, the shell goes on: what moves it is for the other screen. */
static void the_cursor_of_the_normal_screen_stays(void **state)
{
    size_t length;
    bool inside = false;
    (void)state;
    struct driver *d = start(24, 80);
    driver_send(d, "\x1a");
    driver_wait_stopped(d);
    driver_signal(d, SIGCONT);
    driver_wait_for(d, "ask about 3 files");
    driver_send(d, "\x04");
    assert_int_equal(driver_wait_exit(d), 0);
    for (const char *at = driver_raw(d, &length); (at = strstr(at, "\x1b[")); at += 2) {
        if (strncmp(at + 2, "?1049", 5) == 0)
            inside = at[7] == 'h';
        size_t digits = strspn(at + 2, "0123456789;");
        assert_true(inside || !strchr("rH", at[2 + digits]));
    }
    driver_free(d);
}

int main(int argc, char **argv)
{
    if (argc == 3)
        return run_interface(argv[1], argv[2]);
    const struct CMUnitTest tests[] = {
        SCREEN_TEST(every_script_stays_in_its_columns),
        SCREEN_TEST(terminals_show_the_same),
        SCREEN_TEST(other_terminals_are_refused),
        SCREEN_TEST(frames_are_shown_at_once),
        SCREEN_TEST(no_colour_means_none),
        SCREEN_TEST(themes_are_used),
        SCREEN_TEST(nothing_hostile_reaches_the_terminal),
        SCREEN_TEST(libraries_do_not_write_on_the_screen),
        SCREEN_TEST(a_resize_overtakes_a_frame),
        SCREEN_TEST(the_cursor_of_the_normal_screen_stays),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
