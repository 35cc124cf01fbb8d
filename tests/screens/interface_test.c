/* A conversation in a real pseudo-terminal, with an engine that follows a script. */
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
    driver_wait_for(d, "answering, ");
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

/* At once; the prompt is empty again then. */
static void a_key_ends(struct driver *d, const char *doing)
{
    double pressed = driver_seconds();
    driver_send(d, "x");
    driver_wait_gone(d, doing);
    assert_true(driver_seconds() - pressed < 1);
    driver_send(d, "\x7f");
}

static void files_are_read_ahead_until_a_key_comes(void **state)
{
    (void)state;
    struct driver *d = start_as("scripted", "xterm-256color", (const char *const[]){ "AHEAD=yes", NULL }, 24, 80);
    driver_wait_for(d, "reading ahead likely.c 1,024 of 2,310 tokens");
    a_key_ends(d, "reading ahead");
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

static void files_in_context_are_read_again_once_others_are_read(void **state)
{
    (void)state;
    struct driver *d = start_as("scripted", "xterm-256color", (const char *const[]){ "AHEAD=yes", "AGAIN=yes", NULL }, 24, 80);
    driver_wait_for(d, "reading ahead likely.c"); /* nothing is there yet */
    ask(d, "/add again.c");
    driver_wait_for(d, "reading ahead likely.c");
    open_gate("read");
    driver_wait_for(d, "reading again again.c 32 of 96 tokens");
    a_key_ends(d, "reading again");
    driver_wait_for(d, "reading again again.c");
    open_gate("again");
    driver_wait_gone(d, "reading again");
    ask(d, "/files");
    driver_wait_for(d, "again.c (added by hand, read again)");
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
    ask(d, "/pin nothing.c");
    driver_wait_for(d, "nothing.c is not in context; /files lists what is");
    ask(d, "/pin ./tui/screen/glyph.c");
    driver_wait_for(d, "tui/screen/glyph.c stays when others leave");
    ask(d, "/pin tui/screen/glyph.c");
    driver_wait_for(d, "tui/screen/glyph.c may leave with others");
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

int main(int argc, char **argv)
{
    if (argc == 3)
        return run_interface(argv[1], argv[2]);
    const struct CMUnitTest tests[] = {
        SCREEN_TEST(the_model_loads_behind_the_first_screen),
        SCREEN_TEST(answers_are_shown),
        SCREEN_TEST(an_answer_is_stopped_and_kept),
        SCREEN_TEST(scrolled_up_it_stands_still),
        SCREEN_TEST(what_is_typed_meanwhile_waits),
        SCREEN_TEST(reading_shows_its_progress_and_stops),
        SCREEN_TEST(files_are_read_ahead_until_a_key_comes),
        SCREEN_TEST(files_in_context_are_read_again_once_others_are_read),
        SCREEN_TEST(what_answers_saw_is_told_and_asked_again),
        SCREEN_TEST(it_works_outside_of_repositories),
        SCREEN_TEST(commands_work),
        SCREEN_TEST(a_missing_model_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
