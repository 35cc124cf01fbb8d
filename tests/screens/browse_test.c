/* Going through the transcript in a real pseudo-terminal: by keys, to the clipboard, to a pager, to the normal screen. */
#include "tests/screens/scripted_interface.h"

static struct driver *start_answered(const char *term, const char *const *environment, int rows, int columns)
{
    struct driver *d = start_as("scripted", term, environment, rows, columns);
    driver_wait_for(d, "ready");
    ask(d, "What does main do, in markdown?");
    driver_wait_for(d, "reused");
    driver_wait_for(d, "ready");
    driver_settle(d);
    return d;
}

static void leave(struct driver *d)
{
    driver_send(d, "\x1b");
    driver_settle(d);
    quit(d);
}

static void messages_are_gone_through(void **state)
{
    static const struct {
        const char *term, *golden;
        int rows, columns;
    } cases[] = {
        { "xterm-256color", "browse-80x24", 24, 80 }, { "tmux-256color", "browse-80x24", 24, 80 },  { "linux", "browse-80x24", 24, 80 },
        { "vt100", "browse-80x24", 24, 80 },          { "xterm-256color", "browse-40x10", 10, 40 }, { "xterm-256color", "browse-200x60", 60, 200 },
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct driver *d = start_answered(cases[i].term, NULL, cases[i].rows, cases[i].columns);
        driver_send(d, "a draft");
        driver_send(d, "\x14");
        driver_wait_for(d, "[ ] message");
        driver_send(d, "[[");
        driver_golden(d, cases[i].golden);
        driver_send(d, "q");
        driver_wait_for(d, "› a draft");
        driver_send(d, "\x15");
        quit(d);
    }
}

static void matches_are_shown_as_they_are_written(void **state)
{
    (void)state;
    struct driver *d = start_answered("xterm-256color", NULL, 10, 60);
    assert_false(driver_shows(d, "which answers"));
    driver_send(d, "\x13");
    driver_wait_for(d, "\n/ ");
    driver_send(d, "ANSW\x7f\x7f\x7f\x7fwhich");
    driver_wait_for(d, "which answers");
    driver_send(d, "zzz");
    driver_wait_for(d, "not found");
    driver_send(d, "\x7f\x7f\x7f");
    driver_wait_for(d, "which answers");
    driver_send(d, "\x1b"); /* back to where it was */
    driver_wait_gone(d, "which answers");
    driver_wait_for(d, "› ask about");
    driver_send(d, "\x13main\r");
    driver_wait_for(d, "[ ] message");
    driver_golden(d, "search");
    for (int i = 0; i < 3 && !driver_shows(d, "found again from the start"); i++) {
        driver_send(d, "n");
        driver_settle(d);
    }
    driver_wait_for(d, "found again from the start");
    assert_true(driver_shows(d, "› What does main do"));
    driver_send(d, "N");
    driver_wait_for(d, "found again from the end");
    driver_send(d, "/\r"); /* nothing: back to browsing */
    driver_wait_for(d, "[ ] message");
    leave(d);
}

/* int main(int argc, char **argv)\n{\n\treturn run(argc, argv); ünïcödé ... in base 64, as coreutils' base64 writes it. */
#define CODE_BASE64 "aW50IG1haW4oaW50IGFyZ2MsIGNoYXIgKiphcmd2KQp7CglyZXR1cm4gcnVuKGFyZ2MsIGFyZ3YpOyAvKiDDvG7Dr2PDtmTDqSDmvKLlrZcgKi8KfQ=="
#define QUESTION_BASE64 "V2hhdCBkb2VzIG1haW4gZG8sIGluIG1hcmtkb3duPw=="

static void copies_reach_the_terminal(void **state)
{
    static const struct {
        const char *term, *environment, *code, *question;
    } cases[] = {
        { "xterm-256color", "TMUX=", "\x1b]52;c;" CODE_BASE64 "\x07", "\x1b]52;c;" QUESTION_BASE64 "\x07" },
        { "tmux-256color", "TMUX=/tmp/tmux-0/default,1,0", "\x1bPtmux;\x1b\x1b]52;c;" CODE_BASE64 "\x07\x1b\\",
          "\x1bPtmux;\x1b\x1b]52;c;" QUESTION_BASE64 "\x07\x1b\\" },
        { "screen", "TMUX=", "\x1bP\x1b]52;c;" CODE_BASE64 "\x07\x1b\\", "\x1bP\x1b]52;c;" QUESTION_BASE64 "\x07\x1b\\" },
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct driver *d = start_answered(cases[i].term, (const char *const[]){ cases[i].environment, "STY=", NULL }, 24, 80);
        driver_send(d, "\x14{\x1by"); /* Alt-Y is not y */
        driver_settle(d);
        assert_false(driver_shows(d, "copied"));
        driver_send(d, "y");
        driver_wait_for(d, "copied the code: 4 lines, 85 bytes");
        driver_wait_sent(d, cases[i].code);
        driver_send(d, "[[");
        driver_send(d, "y");
        driver_wait_for(d, "copied the message: 1 line, 31 bytes");
        driver_wait_sent(d, cases[i].question);
        driver_send(d, "q/copy code\r");
        driver_wait_for(d, "copied the code: 4 lines, 85 bytes");
        driver_send(d, "/copy\r");
        driver_wait_for(d, "copied the answer: ");
        ask(d, i == 0 ? "short\x0a```\x0a```" : "short"); /* a block of nothing */
        driver_wait_for(d, "You asked: short");
        driver_wait_for(d, "ready");
        ask(d, "/copy code");
        driver_wait_for(d, "the last answer holds no block of code");
        quit(d);
    }
}

static void folds_open_by_key(void **state)
{
    (void)state;
    struct driver *d = start_answered("xterm-256color", NULL, 40, 80);
    driver_send(d, "\x14[");
    driver_send(d, "o");
    driver_wait_for(d, "read run.c, 29 tokens: matches: run");
    driver_send(d, "\r");
    driver_wait_gone(d, "read run.c, 29 tokens: matches: run");
    leave(d);
}

/* What is in context, with its tokens, where it came from and why; and out of it again. */
/* "hh:mm:ss" at the end of the row above a text. */
static bool has_time_above(struct driver *d, const char *text)
{
    const char *screen = driver_screen(d), *at = strstr(screen, text);
    int h, m, s;
    if (!at)
        return false;
    while (at > screen && at[-1] != '\n')
        at--;
    return at - screen > 9 && sscanf(at - 9, "%2d:%2d:%2d\n", &h, &m, &s) == 3;
}

static void times_are_shown_on_demand(void **state)
{
    (void)state;
    struct driver *d = start_answered("xterm-256color", NULL, 40, 80);
    assert_false(has_time_above(d, "› What does main do"));
    ask(d, "/times");
    driver_settle(d);
    assert_true(has_time_above(d, "› What does main do"));
    assert_true(has_time_above(d, "  What it does"));
    driver_send(d, "\x14t");
    driver_settle(d);
    assert_false(has_time_above(d, "› What does main do"));
    driver_send(d, "t");
    driver_settle(d);
    assert_true(has_time_above(d, "› What does main do"));
    driver_send(d, "q/resume older talk\r");
    driver_wait_for(d, "What was it?");
    driver_settle(d);
    assert_true(driver_shows(d, "2001-09-09 ")); /* of the question; of the answer that is not known */
    const char *screen = driver_screen(d);
    assert_null(strstr(strstr(screen, "What was it?"), "2001-"));
    assert_false(has_time_above(d, "  It was older."));
    quit(d);
}

static void the_context_is_listed(void **state)
{
    static const struct {
        const char *term, *golden;
        int rows, columns;
    } cases[] = {
        { "xterm-256color", "pane-80x24", 24, 80 }, { "tmux-256color", "pane-80x24", 24, 80 }, { "linux", "pane-80x24", 24, 80 },
        { "screen", "pane-80x24", 24, 80 },         { "xterm", "pane-40x10", 10, 40 },         { "xterm-256color", "pane-200x60", 60, 200 },
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct driver *d = start_answered(cases[i].term, NULL, cases[i].rows, cases[i].columns);
        driver_send(d, "\x1bOQ");
        driver_wait_for(d, "196 of 8,192 tokens, 2 %");
        driver_send(d, "j");
        driver_golden(d, cases[i].golden);
        driver_send(d, "d");
        driver_wait_for(d, "# files 29");
        driver_send(d, "kd");
        driver_wait_for(d, "# files 0");
        driver_send(d, "d"); /* what was said */
        driver_wait_for(d, "what was said is summarised together");
        driver_send(d, "\x1b");
        driver_wait_gone(d, "Esc done");
        assert_int_equal(driver_shows(d, "# files"), cases[i].columns >= 72); /* it stays where there is room for both */
        driver_send(d, "/add run.c\r");
        driver_wait_for(d, "ready");
        driver_send(d, "\x1bOQ");
        driver_wait_for(d, "29 cached");
        driver_wait_for(d, "added by hand");
        driver_send(d, "\x1bOQ");
        driver_wait_gone(d, "# files");
        quit(d);
    }
}

static void the_context_can_be_added_to(void **state)
{
    (void)state;
    struct driver *d = start_answered("xterm-256color", NULL, 24, 100);
    driver_send(d, "\x1bOQa");
    driver_wait_for(d, "› /add");
    driver_wait_for(d, "tui/screen/glyph.c"); /* offered */
    driver_send(d, "gly");
    driver_wait_for(d, "› /add gly");
    driver_wait_gone(d, "slow.c");
    driver_send(d, "\t");
    driver_wait_for(d, "› /add tui/screen/glyph.c");
    driver_send(d, "\r");
    driver_wait_for(d, "# files 87");
    driver_wait_for(d, "29 read");
    driver_resize(d, 24, 60); /* no room for both: the transcript stays */
    driver_wait_gone(d, "# files");
    driver_resize(d, 24, 100);
    driver_wait_for(d, "# files");
    driver_send(d, "\x1bOQ");
    driver_wait_for(d, "Esc done");
    driver_resize(d, 10, 30);
    driver_wait_for(d, "# files");
    driver_send(d, "\x1b");
    driver_wait_gone(d, "# files");
    quit(d);
}

static void commands_of_the_shell_are_run(void **state)
{
    (void)state;
    struct driver *d = start(24, 80);
    ask(d, "!printf 'one\\033[31mred\\033[0m\\n50%%\\r100%%\\n'; exit 3");
    driver_wait_for(d, "  (exit status 3, 2 lines, ");
    driver_wait_for(d, "  onered\n  100%\n");
    driver_wait_for(d, "/output adds it");
    ask(d, "/output");
    driver_wait_for(d, "read the output of $ printf");
    driver_send(d, "\x1bOQ");
    driver_wait_for(d, "output of a command");
    driver_send(d, "\x1bOQ");
    driver_wait_gone(d, "output of a command");
    ask(d, "!seq 100 120");
    driver_wait_for(d, "$ seq 100 120: 21 lines, ");
    assert_false(driver_shows(d, "110"));
    driver_send(d, "\x14o");
    driver_wait_for(d, "  100\n  101\n"); /* from its beginning */
    driver_wait_for(d, "q done");          /* a frame may arrive in part */
    driver_send(d, "\x1b");
    driver_wait_gone(d, "q done");
    driver_wait_for(d, "ask about");
    ask(d, "!echo begun; sleep 100");
    driver_wait_for(d, "running echo begun; sleep 100 (Esc stops it)");
    ask(d, "!echo second");
    driver_wait_for(d, "a command is running already");
    driver_send(d, "\x1b");
    driver_wait_for(d, "ended by signal 2, 1 line, ");
    ask(d, "!trap '' INT; sleep 100; sleep 100");
    driver_wait_for(d, "running trap");
    driver_send(d, "\x1b");
    driver_wait_for(d, "Esc again kills it");
    driver_send(d, "\x03");
    driver_wait_for(d, "ended by signal 9, 0 lines, ");
    ask(d, "!cat; tty; echo $TERM");
    driver_wait_for(d, "  not a tty\n  dumb\n");
    ask(d, "!head -c 3000000 /dev/zero | tr '\\0' x");
    driver_wait_for(d, "1 line, ");
    driver_wait_for(d, "without its last 2.0 MB)");
    ask(d, "!sleep 100"); /* leaving does not wait for it */
    driver_wait_for(d, "running sleep");
    double begun = driver_seconds();
    quit(d);
    assert_true(driver_seconds() - begun < 5);
}

/* A command that is run while text streams does not cut the answer in two. */
static void commands_run_beside_an_answer(void **state)
{
    (void)state;
    struct driver *d = start(24, 80);
    ask(d, "gate");
    driver_wait_for(d, "before the gate");
    ask(d, "!echo beside");
    driver_wait_for(d, "  beside\n");
    open_gate("gate");
    driver_wait_for(d, "before the gate, behind the gate");
    quit(d);
}

/* Streaming goes on below; the window and what is chosen in it stay. */
static void it_is_browsed_while_text_streams(void **state)
{
    (void)state;
    struct driver *d = start_answered("xterm-256color", NULL, 24, 80);
    ask(d, "endless");
    driver_wait_for(d, "0 of an endless");
    driver_send(d, "\x1b[1;3A"); /* Alt-Up */
    driver_wait_for(d, "[ ] message");
    driver_send(d, "\x1b[1;3A\x1b[1;3A\x1b[1;3A\x1b[1;3A");
    driver_wait_for(d, "› What does main do");
    driver_wait_for(d, "answering, "); /* and for how long */
    driver_send(d, "y");
    driver_wait_for(d, "copied the message: 1 line, 31 bytes");
    driver_wait_gone(d, "copied the message");
    assert_true(driver_shows(d, "› What does main do"));
    driver_send(d, "\x03");
    driver_wait_for(d, "ready");
    driver_wait_for(d, "ask about");
    quit(d);
}

static void all_of_it_goes_to_the_pager(void **state)
{
    (void)state;
    struct driver *d = start_answered("xterm-256color", (const char *const[]){ "PAGER=tr a-z A-Z; read x </dev/tty", NULL }, 24, 80);
    ask(d, "/transcript");
    driver_wait_for(d, "READ RUN.C, 29 TOKENS: MATCHES: RUN");
    driver_wait_for(d, "THE REST OF THIS PARAGRAPH");
    driver_send(d, "\r");
    driver_wait_for(d, "ask about");
    driver_send(d, "typed");
    driver_wait_for(d, "› typed");
    driver_send(d, "\x15");
    quit(d);
    d = start_answered("xterm-256color", (const char *const[]){ "PAGER=no-such-pager", NULL }, 24, 80);
    ask(d, "/transcript");
    driver_wait_for(d, "the pager could not be run; set PAGER");
    quit(d);
}

/* Ctrl-C in the pager is the pager's; a resize meanwhile is seen afterwards. */
static void the_pager_has_the_keys(void **state)
{
    (void)state;
    struct driver *d = start_answered("xterm-256color", (const char *const[]){ "PAGER=cat >/dev/null; echo paging; exec sleep 100", NULL }, 24, 80);
    ask(d, "/transcript");
    driver_wait_for(d, "paging");
    driver_resize(d, 12, 60);
    driver_send(d, "\x03");
    driver_wait_for(d, "ask about");
    driver_settle(d);
    assert_true(driver_shows(d, " ready"));
    quit(d);
}

static void the_conversation_stays_on_the_normal_screen(void **state)
{
    (void)state;
    size_t length;
    struct driver *d = start_answered("xterm-256color", NULL, 10, 80);
    driver_send(d, "\x14[");
    driver_settle(d);
    driver_signal(d, SIGTERM);
    assert_int_equal(driver_wait_exit(d), 128 + SIGTERM);
    const char *raw = driver_raw(d, &length), *left = strstr(raw, "\x1b[?1049l");
    assert_non_null(left);
    assert_non_null(strstr(left, "kedge 0.1.0 in /repo\r\n")); /* all of it, not only what the window showed */
    assert_non_null(strstr(left, "What does main do, in markdown?\r\n"));
    assert_non_null(strstr(left, "        return run(argc, argv); /* ünïcödé 漢字 */\r\n"));
    assert_non_null(strstr(left, "Go on with it: kedge --session"));
    for (const char *at = strstr(left, "kedge 0.1.0"); at < strstr(left, "Go on with it"); at++)
        assert_true(*at != 0x1b); /* as plain text */
    driver_free(d);
}

int main(int argc, char **argv)
{
    if (argc == 3)
        return run_interface(argv[1], argv[2]);
    const struct CMUnitTest tests[] = {
        SCREEN_TEST(messages_are_gone_through),
        SCREEN_TEST(matches_are_shown_as_they_are_written),
        SCREEN_TEST(copies_reach_the_terminal),
        SCREEN_TEST(folds_open_by_key),
        SCREEN_TEST(times_are_shown_on_demand),
        SCREEN_TEST(the_context_is_listed),
        SCREEN_TEST(the_context_can_be_added_to),
        SCREEN_TEST(commands_of_the_shell_are_run),
        SCREEN_TEST(commands_run_beside_an_answer),
        SCREEN_TEST(it_is_browsed_while_text_streams),
        SCREEN_TEST(all_of_it_goes_to_the_pager),
        SCREEN_TEST(the_pager_has_the_keys),
        SCREEN_TEST(the_conversation_stays_on_the_normal_screen),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
