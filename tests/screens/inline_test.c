/* The conversation on a terminal that only adds lines. */
#include "tests/screens/scripted_interface.h"

static struct driver *start_inline(const char *term, const char *const *environment)
{
    struct driver *d = start_as("scripted", term, environment, 40, 80);
    driver_wait_for(d, "\n>\n");
    return d;
}

/* Nothing but text, and what the terminal itself echoes. */
static void assert_lines_only(struct driver *d)
{
    size_t length;
    const char *raw = driver_raw(d, &length);
    for (size_t i = 0; i < length; i++)
        assert_true((unsigned char)raw[i] >= 0x20 || raw[i] == '\r' || raw[i] == '\n' || raw[i] == '\t');
}

/* says: what stays on the terminal, or NULL. */
static void leave(struct driver *d, const char *says)
{
    driver_settle(d);
    driver_send(d, "\x04");
    assert_int_equal(driver_wait_exit(d), 0);
    assert_true(driver_modes_restored(d));
    assert_true(!says || driver_shows(d, says));
    assert_lines_only(d);
    driver_free(d);
}

static void dumb_terminals_get_lines(void **state)
{
    static const char *const terms[] = { "dumb", "xterm-256color", "no-such-terminal" };
    (void)state;
    for (size_t i = 0; i < sizeof terms / sizeof *terms; i++) {
        struct driver *d = start_inline(terms[i], i == 0 ? NULL : (const char *const[]){ "INLINE=1", NULL });
        driver_send(d, "What does main do, in markdown?\n");
        driver_wait_for(d, "is broken at words.");
        driver_wait_for(d, "\n\n>\n");
        driver_golden(d, "inline");
        leave(d, "This conversation is kept. Go on with it: kedge --session");
    }
}

static void what_goes_on_is_stopped(void **state)
{
    (void)state;
    struct driver *d = start_inline("dumb", NULL);
    driver_send(d, "endless\n");
    driver_wait_for(d, "10 of an endless answer");
    driver_send(d, "next\n");
    driver_wait_for(d, "20 of an endless answer");
    driver_send(d, "\x03");
    driver_wait_for(d, "You asked: next");
    driver_wait_for(d, "\n>\n");
    driver_send(d, "!echo from the shell; sleep 100\n");
    driver_wait_for(d, "running echo");
    driver_settle(d); /* a shell that starts its program just now keeps the signal from it */
    driver_send(d, "\x03");
    driver_wait_for(d, "from the shell");
    driver_wait_for(d, "ended by signal");
    driver_settle(d);
    driver_send(d, "\x03");
    assert_int_equal(driver_wait_exit(d), 0);
    driver_free(d);
}

static void lines_join(void **state)
{
    (void)state;
    struct driver *d = start_inline("dumb", NULL);
    driver_send(d, "one\ntwo\n"); /* pasted */
    driver_wait_for(d, "You asked: one\ntwo");
    driver_wait_for(d, "\n\n>\n");
    driver_send(d, "three \\\n");
    driver_settle(d);
    driver_send(d, "four\n");
    driver_wait_for(d, "You asked: three\nfour");
    driver_settle(d);
    driver_send(d, "/copy\n");
    driver_wait_for(d, "nothing is copied");
    driver_send(d, "/help\n");
    driver_wait_for(d, "!command runs one.");
    driver_send(d, "/resume older talk\n");
    driver_wait_for(d, "› What was it?");
    driver_wait_for(d, "It was `older`.^[[31337m");
    driver_send(d, "something hostile\n");
    driver_wait_for(d, "override <U+202E>desrever hidden <U+200B>");
    leave(d, NULL);
}

/* What the screen asks in modes of its own is asked in lines, too. */
static void a_full_context_is_asked_about_in_lines(void **state)
{
    (void)state;
    struct driver *d = start_inline("dumb", NULL);
    driver_send(d, "what does main do?\n");
    driver_wait_for(d, "You asked: what does main do?");
    driver_wait_for(d, "\n\n>\n");
    driver_send(d, "too long for it\n");
    driver_wait_for(d, "the question needs 9,000 tokens");
    driver_wait_for(d, "what may leave it?");
    driver_wait_for(d, "c do not ask it:");
    driver_send(d, "c\n");
    driver_wait_for(d, "it was not asked");
    driver_settle(d);
    driver_send(d, "too long for it\n");
    driver_settle(d);
    driver_wait_for(d, "\ns summarise what was said, d drop unpinned files, c do not ask it:\n");
    driver_send(d, "s\n");
    driver_wait_for(d, "1 question is summarised");
    driver_wait_for(d, "You asked: too long for it");
    driver_send(d, "and on\n");
    driver_wait_for(d, "You asked: and on");
    leave(d, NULL);
}

static void conversations_are_listed_in_lines(void **state)
{
    (void)state;
    struct driver *d = start_inline("dumb", NULL);
    driver_send(d, "/sessions\n");
    driver_wait_for(d, "older talk");
    driver_wait_for(d, "evil ^[]0;owned");
    driver_settle(d);
    driver_send(d, "/sessions nobody said this\n");
    driver_wait_for(d, "nothing was said with these words");
    leave(d, NULL);
}

static void it_is_suspended(void **state)
{
    (void)state;
    struct driver *d = start_inline("dumb", NULL);
    driver_send(d, "\x1a");
    driver_wait_stopped(d);
    driver_signal(d, SIGCONT);
    driver_send(d, "back\n");
    driver_wait_for(d, "You asked: back");
    driver_signal(d, SIGHUP);
    assert_int_equal(driver_wait_exit(d), 128 + SIGHUP);
    assert_true(driver_modes_restored(d));
    driver_free(d);
}

int main(int argc, char **argv)
{
    if (argc == 3)
        return run_interface(argv[1], argv[2]);
    const struct CMUnitTest tests[] = {
        SCREEN_TEST(dumb_terminals_get_lines),
        SCREEN_TEST(what_goes_on_is_stopped),
        SCREEN_TEST(lines_join),
        SCREEN_TEST(a_full_context_is_asked_about_in_lines),
        SCREEN_TEST(conversations_are_listed_in_lines),
        SCREEN_TEST(it_is_suspended),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
