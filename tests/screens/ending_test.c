/* However the interface ends, or stands still: the terminal is as it was, and no text is lost. */
#include "tests/screens/scripted_interface.h"

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

int main(int argc, char **argv)
{
    if (argc == 3)
        return run_interface(argv[1], argv[2]);
    const struct CMUnitTest tests[] = {
        SCREEN_TEST(any_end_restores_the_terminal),
        SCREEN_TEST(text_outlives_any_end),
        SCREEN_TEST(what_cannot_be_written_is_told),
        SCREEN_TEST(leaving_never_waits),
        SCREEN_TEST(it_is_suspended_and_comes_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
