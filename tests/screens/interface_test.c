/* The interface in a real pseudo-terminal, with an engine that follows a script. */
#include "tests/screens/scripted_interface.h"

#include "base/paths.h"

static void the_model_loads_behind_the_first_screen(void **state)
{
    (void)state;
    struct driver *d = start_as("slow", "xterm-256color", NULL, 24, 80);
    driver_wait_for(d, "loading 45 %");
    ask(d, "an early question");
    driver_wait_for(d, "an early question  (queued)");
    driver_send(d, "and one that is being written");
    driver_wait_for(d, "being written");
    driver_wait_gone(d, "45 % ");
    open_gate("loaded");
    driver_wait_for(d, "You asked: an early question");
    driver_wait_for(d, "ready");
    driver_golden(d, "early");
    driver_send(d, "\x15");
    quit(d);
}

static void answers_are_shown(void **state)
{
    (void)state;
    struct driver *d = start(24, 80);
    driver_golden(d, "start-80x24");
    ask(d, "What does main do, in markdown?");
    driver_wait_for(d, "reused");
    driver_wait_for(d, "ready");
    driver_golden(d, "answer-80x24");
    driver_resize(d, 10, 40);
    driver_wait_for(d, "of 8,192 tokens");
    driver_settle(d);
    driver_golden(d, "answer-40x10");
    driver_resize(d, 60, 200);
    driver_settle(d);
    driver_golden(d, "answer-200x60");
    driver_resize(d, 1, 1);
    driver_settle(d);
    driver_resize(d, 120, 400);
    driver_settle(d);
    driver_resize(d, 24, 80);
    driver_settle(d);
    driver_golden(d, "answer-80x24");
    ask(d, "now think");
    driver_wait_for(d, "thought for 8 words");
    driver_send(d, "\x0f");
    driver_wait_for(d, "Hm, let me see");
    driver_send(d, "\x1b[H");
    driver_wait_for(d, "read run.c, 29 tokens: matches: run");
    driver_send(d, "\x0f");
    driver_wait_for(d, "read 2 files, 58 tokens: tui/main.c (named in the question), run.c");
    quit(d);
}

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

static void an_answer_is_stopped_and_kept(void **state)
{
    (void)state;
    struct driver *d = start(24, 80);
    ask(d, "endless");
    driver_wait_for(d, "0 of an endless");
    driver_send(d, "\x1b");
    driver_wait_for(d, "stopped");
    driver_wait_for(d, "ready");
    assert_true(driver_shows(d, "of an endless answer"));
    ask(d, "endless again");
    driver_wait_for(d, "answering");
    driver_send(d, "\x03");
    driver_wait_for(d, "ready");
    driver_settle(d);
    driver_send(d, "\x03");
    driver_wait_for(d, "Ctrl-C again quits");
    driver_send(d, "\x03");
    assert_int_equal(driver_wait_exit(d), 0);
    assert_restored(d);
    assert_true(driver_shows(d, "kedge --session '2025-01-02 03:04:05'"));
    driver_free(d);
}

static void scrolled_up_it_stands_still(void **state)
{
    (void)state;
    struct driver *d = start(24, 80);
    char row[256];
    ask(d, "endless");
    driver_wait_for(d, "0 of an endless");
    driver_send(d, "\x1b[5~");
    driver_wait_for(d, "↓ more");
    const char *screen = driver_screen(d), *line = strstr(screen, "line ");
    snprintf(row, sizeof row, "%.*s", (int)strcspn(line, "\n"), line);
    driver_send(d, "\x1b[1;5A"); /* one row further, and back: by then much has been added below */
    driver_wait_for(d, "answering");
    driver_send(d, "\x1b[1;5B");
    driver_wait_for_either(d, "answering, 2 s", "answering, 3 s");
    assert_true(driver_shows(d, row));
    driver_send(d, "\x1b[H");
    driver_wait_for(d, "kedge 0.1.0");
    driver_send(d, "\x1b[F");
    driver_wait_gone(d, "↓ more");
    driver_send(d, "\x1b");
    driver_wait_for(d, "ready");
    quit(d);
}

static void what_is_typed_meanwhile_waits(void **state)
{
    (void)state;
    struct driver *d = start(24, 80);
    ask(d, "gate");
    driver_wait_for(d, "before the gate");
    ask(d, "second");
    ask(d, "/drop nothing.c");
    ask(d, "third");
    driver_wait_for(d, "third  (queued)");
    assert_true(driver_shows(d, "before the gate,\n\n› second  (queued)\n\n› /drop nothing.c  (queued)\n\n› third  (queued)\n"));
    driver_send(d, "\x1b[A");
    driver_wait_gone(d, "third  (queued)");
    driver_wait_for(d, "› third");
    open_gate("gate");
    driver_wait_for(d, "You asked: second");
    driver_wait_for(d, "nothing.c is not in context");
    driver_wait_for(d, "ready");
    assert_true(driver_shows(d, "› third"));
    driver_send(d, "\x15");
    quit(d);
}

static void reading_shows_its_progress_and_stops(void **state)
{
    (void)state;
    struct driver *d = start(24, 80);
    ask(d, "what is in @slow.c?");
    driver_wait_for(d, "reading slow.c 1,024 of 2,310 tokens");
    driver_send(d, "\x1b");
    driver_wait_for(d, "stopped while reading slow.c: it is not in context");
    driver_wait_for(d, "stopped before it was asked");
    driver_wait_for(d, "ready");
    driver_send(d, "\x1b[A");
    driver_wait_for(d, "› what is in @slow.c?");
    driver_send(d, "\x15");
    ask(d, "/files");
    driver_wait_for(d, "no file is in context;");
    ask(d, "short");
    driver_wait_for(d, "You asked: short");
    driver_wait_for(d, "ready");
    open_gate("read");
    ask(d, "what is in @slow.c?");
    driver_wait_for(d, "read slow.c, 29 tokens");
    driver_wait_for(d, "You asked: what is in @slow.c?");
    driver_wait_for(d, "ready");
    close_gate("read");
    ask(d, "and now?"); /* what was in context before stays there */
    driver_wait_for(d, "reading slow.c 1,024 of 2,310 tokens");
    driver_send(d, "\x1b");
    driver_wait_for(d, "stopped while reading slow.c: it stays in context");
    driver_wait_for(d, "ready");
    ask(d, "/files");
    driver_wait_for(d, "29  to be read  slow.c");
    open_gate("read");
    ask(d, "what is @run.c:1-9, then?");
    driver_wait_for(d, "run.c:1-9 begins with: int main(void) { return 0; }");
    driver_wait_for(d, "(run.c:1-9 is the part of run.c that begins with: int main(void)");
    driver_wait_for(d, "ready");
    ask(d, "see @secret.c:1"); /* a question is stored */
    driver_wait_for(d, "You asked: see @secret.c:1");
    driver_wait_for(d, "ready");
    assert_false(driver_shows(d, "secret.c:1 begins"));
    assert_false(driver_shows(d, "(secret.c:1 is the part"));
    ask(d, "see @run.c:7");
    driver_wait_for(d, "run.c has 1 lines, not 7");
    driver_wait_for(d, "ready");
    ask(d, "see (@run.c:8).");
    driver_wait_for(d, "run.c has 1 lines, not 8");
    driver_wait_for(d, "ready");
    ask(d, "/add run.c:1");
    driver_wait_for(d, "read run.c:1, 29 tokens");
    ask(d, "see @nowhere");
    driver_wait_for(d, "cannot open nowhere");
    quit(d);
}

static void files_are_read_ahead_until_a_key_comes(void **state)
{
    (void)state;
    struct driver *d = start_as("scripted", "xterm-256color", (const char *const[]){ "AHEAD=yes", NULL }, 24, 80);
    driver_wait_for(d, "reading ahead likely.c 1,024 of 2,310 tokens");
    double pressed = driver_seconds();
    driver_send(d, "x");
    driver_wait_gone(d, "reading ahead");
    assert_true(driver_seconds() - pressed < 1);
    driver_send(d, "\x7f");
    driver_wait_for(d, "reading ahead likely.c");
    ask(d, "short"); /* a task ends it, and is done at once */
    driver_wait_for(d, "You asked: short");
    driver_wait_for(d, "reading ahead likely.c");
    ask(d, "/reading off");
    driver_wait_for(d, "nothing is read while you are away");
    driver_wait_gone(d, "reading ahead");
    ask(d, "/reading");
    ask(d, "/reading sometimes");
    driver_wait_for(d, "/reading takes on or off");
    ask(d, "/reading on");
    driver_wait_for(d, "are read while you are away");
    driver_wait_for(d, "reading ahead likely.c");
    open_gate("read");
    driver_wait_gone(d, "reading ahead");
    driver_wait_for(d, "ready");
    quit(d);
}

static void what_answers_saw_is_told_and_asked_again(void **state)
{
    (void)state;
    struct driver *d = start(24, 80);
    ask(d, "/retry");
    driver_wait_for(d, "nothing was asked yet");
    ask(d, "/add run.c");
    driver_wait_for(d, "read run.c");
    ask(d, "first");
    driver_wait_for(d, "You asked: first");
    driver_wait_for(d, "ready");
    ask(d, "/drop run.c");
    driver_wait_for(d, "1 answer above saw run.c as it was; /retry asks");
    driver_wait_for(d, "ready");
    ask(d, "/retry");
    driver_settle(d);
    const char *screen = driver_screen(d), *once = strstr(screen, "You asked: first");
    assert_true(once && strstr(once + 1, "You asked: first"));
    quit(d);
}

static void it_works_outside_of_repositories(void **state)
{
    (void)state;
    struct driver *d = start_as("nowhere", "xterm-256color", NULL, 24, 80);
    driver_wait_for(d, "in no repository");
    driver_wait_for(d, "ready");
    ask(d, "see @LICENSE.");
    driver_wait_for(d, "read LICENSE, ");
    driver_wait_for(d, "You asked: see @LICENSE.");
    ask(d, "/add no/such/file");
    driver_wait_for(d, "cannot open no/such/file");
    static const char wide[] = "\xff\xfe" "o\0n\0e\0\n\0t\0w\0o\0\n\0"; /* UTF-16 */
    char path[128], question[200];
    snprintf(path, sizeof path, "%s/wide.txt", directory);
    assert_int_equal(kg_write_file(path, wide, sizeof wide - 1, 0600, NULL), KG_OK);
    snprintf(question, sizeof question, "see @%s:2", path);
    ask(d, question);
    driver_wait_for(d, "wide.txt:2 begins with: two");
    driver_wait_for(d, "wide.txt, 8 tokens"); /* one a byte */
    quit(d);
}

static void commands_work(void **state)
{
    (void)state;
    struct driver *d = start(24, 80);
    ask(d, "/help");
    driver_wait_for(d, "@path or @name in a question");
    driver_settle(d);
    driver_golden(d, "help");
    driver_send(d, "/");
    driver_wait_for(d, "/sessions");
    driver_settle(d);
    driver_golden(d, "commands");
    driver_send(d, "a\t");
    driver_wait_for(d, "› /add\n");
    driver_send(d, "gly");
    driver_wait_for(d, "tui/screen/glyph.c");
    driver_send(d, "\t");
    driver_wait_for(d, "› /add tui/screen/glyph.c");
    driver_send(d, "\r");
    driver_wait_for(d, "read tui/screen/glyph.c, 29 tokens");
    ask(d, "/files");
    driver_wait_for(d, "29  tokens in 1 file");
    driver_send(d, "/drop \t\r");
    driver_wait_for(d, "dropped tui/screen/glyph.c");
    ask(d, "/files");
    driver_wait_for(d, "no file is in context");
    ask(d, "/nonsense");
    driver_wait_for(d, "there is no command /nonsense");
    ask(d, "/add two\x0alines.c");
    driver_wait_for(d, "/add takes one path in one line; one with a newline in it cannot be named");
    assert_false(driver_shows(d, "You asked: /add"));
    ask(d, "/resume");
    driver_wait_for(d, "/resume needs a NAME");
    ask(d, "/save kept");
    driver_wait_for(d, "this conversation is kept as kept");
    ask(d, "/sessions");
    driver_wait_for(d, "2 hours ago");
    driver_send(d, "q");
    driver_wait_for(d, "this conversation is kept as kept");
    ask(d, "/resume nobody");
    driver_wait_for(d, "there is no session 'nobody'");
    ask(d, "/resume older talk");
    driver_wait_for(d, "It was older.^[[31337m");
    driver_wait_for(d, "stopped here");
    ask(d, "/add run.c");
    driver_wait_for(d, "read run.c, 29 tokens");
    ask(d, "/clear");
    driver_wait_for(d, "The one before is kept");
    driver_wait_for(d, "1 file in context, 29 tokens; /files lists them");
    ask(d, "anything");
    driver_wait_for(d, "You asked: anything");
    ask(d, "/save kept again");
    driver_wait_for(d, "this conversation is kept as kept again");
    ask(d, "/quit");
    assert_int_equal(driver_wait_exit(d), 0);
    assert_restored(d);
    assert_true(driver_shows(d, "Go on with it: kedge --session 'kept again'"));
    driver_free(d);
}

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

static void a_missing_model_is_told(void **state)
{
    (void)state;
    struct driver *d = start_as("missing", "xterm-256color", NULL, 24, 80);
    driver_wait_for(d, "cannot open missing");
    driver_wait_for(d, "no model");
    driver_wait_for(d, "ask about 3 files");
    ask(d, "is anybody there?");
    driver_wait_for(d, "no model is loaded");
    driver_golden(d, "no-model");
    quit(d);
}

static void any_end_restores_the_terminal(void **state)
{
    static const int signals[] = { SIGTERM, SIGHUP, SIGINT, SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT };
    (void)state;
    for (size_t i = 0; i < sizeof signals / sizeof signals[0]; i++) {
        struct driver *d = start(24, 80);
        ask(d, "endless");
        driver_wait_for(d, "0 of an endless");
        driver_signal(d, signals[i]);
        int status = driver_wait_exit(d);
        assert_true(status == 128 + signals[i] || (i > 2 && status != 0)); /* a sanitizer ends in its own way */
        assert_restored(d);
        driver_free(d);
    }
    struct driver *d = start(24, 80);
    ask(d, "crash");
    assert_int_not_equal(driver_wait_exit(d), 0);
    assert_restored(d);
    driver_free(d);
}

/* What was sent is in the history however it ended, and what was not sent when there was time for it. */
static void text_outlives_any_end(void **state)
{
    (void)state;
    struct driver *d = start(24, 80);
    ask(d, "endless, sent before it was killed");
    driver_wait_for(d, "0 of an endless");
    driver_signal(d, SIGKILL);
    assert_int_equal(driver_wait_exit(d), 128 + SIGKILL);
    driver_free(d);
    d = start(24, 80);
    driver_send(d, "\x1b[A");
    driver_wait_for(d, "› endless, sent before it was killed");
    driver_send(d, "\x15");
    ask(d, "endless again");
    driver_wait_for(d, "0 of an endless");
    driver_send(d, "being written as the terminal goes");
    driver_wait_for(d, "as the terminal goes");
    driver_hang_up(d);
    int status = driver_wait_exit(d);
    assert_true(status == 0 || status == 128 + SIGHUP); /* whether it reads first or hears first */
    driver_free(d);
    d = start(24, 80);
    driver_send(d, "\x1b[A");
    driver_wait_for(d, "› being written as the terminal goes");
    driver_send(d, "\x15");
    quit(d);
}

static void what_cannot_be_written_is_told(void **state)
{
    enum { LIMIT = 400000 };
    char path[128];
    (void)state;
    snprintf(path, sizeof path, "%s/history", directory);
    FILE *history = fopen(path, "w");
    assert_non_null(history);
    for (int i = 0; i < LIMIT / 400 - 1; i++)
        fprintf(history, "%0399d\n", i);
    fprintf(history, "%0390d\n", 0);
    fclose(history);
    char limit[32];
    snprintf(limit, sizeof limit, "FILE_LIMIT=%d", LIMIT);
    struct driver *d = start_as("scripted", "xterm-256color", (const char *const[]){ limit, NULL }, 24, 80);
    driver_wait_for(d, "ask about 3 files");
    ask(d, "a question that the history has no room for");
    driver_wait_for(d, "history: No space left on device");
    driver_wait_for(d, "You asked: a question that");
    driver_wait_for(d, "ready");
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    assert_true(st.st_size < LIMIT); /* nor half of it */
    driver_send(d, "\x1b[A");
    driver_wait_for(d, "› a question that the history has no room for");
    driver_send(d, "\x15");
    quit(d);
}

static void leaving_never_waits(void **state)
{
    static const struct {
        const char *model, *question, *sign;
    } moments[] = { { "slow", "", "loading" }, { "scripted", "@slow.c", "reading slow.c" }, { "scripted", "gate", "before the gate" }, { "scripted", "endless", "0 of an endless" } };
    (void)state;
    for (size_t i = 0; i < sizeof moments / sizeof moments[0]; i++) {
        struct driver *d = start_as(moments[i].model, "xterm-256color", NULL, 24, 80);
        driver_wait_for(d, moments[i].model[1] == 'l' ? "loading" : "ready");
        if (*moments[i].question)
            ask(d, moments[i].question);
        driver_wait_for(d, moments[i].sign);
        double begun = driver_seconds();
        driver_send(d, "\x04");
        assert_int_equal(driver_wait_exit(d), 0);
        assert_true(driver_seconds() - begun < 5);
        assert_restored(d);
        driver_free(d);
    }
}

static void it_is_suspended_and_comes_back(void **state)
{
    (void)state;
    struct driver *d = start(24, 80);
    ask(d, "something");
    driver_wait_for(d, "You asked: something");
    driver_wait_for(d, "ready");
    for (int by_signal = 0; by_signal < 2; by_signal++) {
        if (by_signal)
            driver_signal(d, SIGTSTP);
        else
            driver_send(d, "\x1a");
        driver_wait_stopped(d);
        assert_restored(d);
        assert_false(driver_shows(d, "ready"));
        driver_signal(d, SIGCONT);
        driver_wait_for(d, "You asked: something");
        driver_send(d, "still here");
        driver_wait_for(d, "› still here");
        driver_send(d, "\x15");
        driver_wait_gone(d, "still here");
    }
    quit(d);
}

/* Whatever is typed, however the window changes: it goes on, and the terminal shows what it is meant to show. */
static void random_keys_and_sizes_do_no_harm(void **state)
{
    static const char *const keys[] = {
        "\r", "\t", "\x1b", "\x1b[A", "\x1b[B", "\x1b[C", "\x1b[D", "\x1b[5~", "\x1b[6~", "\x1b[H", "\x1b[F", "\x1b[1;5A", "\x1b[1;5B", "\x7f", "\x01",
        "\x05", "\x0a", "\x0b", "\x0c", "\x0f", "\x12", "\x13", "\x1b" "y", "\x18", "\x14", "\x1bOQ", "j", "d", "\x15", "\x17", "\x19", "\x1f", "\x1b" "b", "\x1b" "f", "\x1b" "d", "\x1b[Z", "/", "/he", "/add ", "@", "@ru", " ", "word ",
        "漢字", "e\u0301", "👩‍👩‍👧", "\xff", "markdown", "unicode", "hostile", "think", "\x1b[200~pasted\rlines\x1b[31337m\x1b[201~", "\x1b[99;99", "\x1bO", "/files\r", "/clear\r",
    };
    const char *wanted = getenv("CHECK_LONG");
    int rounds = wanted && *wanted == '1' ? 10000 : 500;
    (void)state;
    srand(20);
    struct driver *d = start_as("scripted", "xterm-256color", (const char *const[]){ "VISUAL=true", "PAGER=cat", NULL }, 24, 80);
    driver_wait_for(d, "ask about 3 files");
    driver_wait_for(d, "ready");
    for (int i = 0; i < rounds; i++) {
        if (rand() % 20 == 0)
            driver_resize(d, 1 + rand() % 50, 1 + rand() % 140);
        driver_send(d, keys[(size_t)rand() % (sizeof keys / sizeof keys[0])]);
        if (i % 100 != 99)
            continue;
        driver_resize(d, 24, 80);
        driver_send(d, "\x1b"); /* ends what may be unfinished, or stops an answer */
        driver_wait_for(d, "tokens");
        driver_wait_for(d, "ready");
        driver_settle(d);
        char *shown = strdup(driver_screen(d));
        driver_send(d, "\x0c");
        driver_settle(d);
        assert_string_equal(shown, driver_screen(d));
        free(shown);
    }
    driver_send(d, "\x1b\x05\x15");
    driver_settle(d);
    driver_send(d, "\x03");
    driver_wait_for(d, "Ctrl-C again quits");
    driver_send(d, "\x03");
    assert_int_equal(driver_wait_exit(d), 0);
    assert_harmless(d, true);
    assert_restored(d);
    driver_free(d);
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
        SCREEN_TEST(the_model_loads_behind_the_first_screen),
        SCREEN_TEST(answers_are_shown),
        SCREEN_TEST(every_script_stays_in_its_columns),
        SCREEN_TEST(an_answer_is_stopped_and_kept),
        SCREEN_TEST(scrolled_up_it_stands_still),
        SCREEN_TEST(what_is_typed_meanwhile_waits),
        SCREEN_TEST(reading_shows_its_progress_and_stops),
        SCREEN_TEST(files_are_read_ahead_until_a_key_comes),
        SCREEN_TEST(what_answers_saw_is_told_and_asked_again),
        SCREEN_TEST(it_works_outside_of_repositories),
        SCREEN_TEST(commands_work),
        SCREEN_TEST(input_is_edited),
        SCREEN_TEST(what_was_sent_is_found_again),
        SCREEN_TEST(the_input_is_edited_elsewhere),
        SCREEN_TEST(a_large_paste_is_taken_at_once),
        SCREEN_TEST(nothing_hostile_reaches_the_terminal),
        SCREEN_TEST(terminals_show_the_same),
        SCREEN_TEST(frames_are_shown_at_once),
        SCREEN_TEST(no_colour_means_none),
        SCREEN_TEST(themes_are_used),
        SCREEN_TEST(a_missing_model_is_told),
        SCREEN_TEST(any_end_restores_the_terminal),
        SCREEN_TEST(text_outlives_any_end),
        SCREEN_TEST(what_cannot_be_written_is_told),
        SCREEN_TEST(leaving_never_waits),
        SCREEN_TEST(it_is_suspended_and_comes_back),
        SCREEN_TEST(random_keys_and_sizes_do_no_harm),
        SCREEN_TEST(a_long_command_is_whole),
        SCREEN_TEST(other_terminals_are_refused),
        SCREEN_TEST(libraries_do_not_write_on_the_screen),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
