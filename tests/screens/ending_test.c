/* However the interface ends, or stands still: the terminal is as it was, and no text is lost.
 *
 * Linked with --wrap for write, to end the program under test in the middle of a frame.
 */
#include "tests/screens/scripted_interface.h"

enum { SHELL_ROWS = 3 };

/* In the program under test: signal that comes when the terminal next has some rows only scroll; 0 = none does. From SIGUSR1 on. */
static int wanted;
static atomic_int cut_by;

static void cut_next(int number)
{
    (void)number;
    cut_by = wanted;
}

/* The end of the first sequence that has other rows scroll than all 24. */
static const char *find_region(const char *bytes, size_t length)
{
    const char *end = bytes + length;
    for (const char *at = bytes; (at = memmem(at, (size_t)(end - at), "\x1b[", 2)); at += 2) {
        const char *last = at + 2;
        while (last < end && strchr("0123456789;", *last))
            last++;
        if (last < end && *last == 'r' && last > at + 2 && strncmp(at + 2, "1;24r", 5) != 0)
            return last + 1;
    }
    return NULL;
}

ssize_t __real_write(int fd, const void *bytes, size_t length);
ssize_t __wrap_write(int fd, const void *bytes, size_t length);
ssize_t __wrap_write(int fd, const void *bytes, size_t length)
{
    int number = cut_by;
    const char *end = number && isatty(fd) ? find_region(bytes, length) : NULL;
    if (!end)
        return __real_write(fd, bytes, length);
    cut_by = 0;
    ssize_t n = __real_write(fd, bytes, (size_t)(end - (const char *)bytes));
    raise(number);
    raise(number); /* one is heard by a loop that goes on */
    return n;
}

static void any_end_restores_the_terminal(void **state)
{
    static const int signals[] = { SIGTERM, SIGHUP, SIGINT, SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGQUIT };
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

static void ask_for_a_screenful(struct driver *d)
{
    for (int i = 0; i < 2; i++) {
        ask(d, "markdown");
        driver_settle(d);
    }
    driver_send(d, "\x1b[1;5A");
    driver_settle(d);
}

/* As a shell finds it that goes on there. */
static void assert_all_rows_scroll(struct driver *d, int rows)
{
    enum { PRINTED = 40 };
    char printed[PRINTED * 16] = "", shown[sizeof printed];
    size_t from = 0, used = 0;
    for (int line = 1; line <= PRINTED; line++) {
        if (line == PRINTED - (rows - 1) + 1)
            from = used;
        used += (size_t)snprintf(printed + used, sizeof printed - used, "line %d\n", line);
    }
    driver_print(d, printed);
    snprintf(shown, sizeof shown, "%s\n", printed + from);
    assert_string_equal(driver_screen(d), shown);
}

/* The rest of the frame would have had all rows scroll again. The shell goes on where it was, or below the frame that stays. */
static void a_frame_is_cut_off(void **state)
{
    static const int signals[] = { SIGSEGV, SIGABRT, SIGTERM, SIGHUP };
    static const char *const terms[] = { "xterm-256color", "linux" };
    (void)state;
    for (size_t i = 0; i < 2 * sizeof signals / sizeof signals[0]; i++) {
        char cut[16];
        int number = signals[i / 2], row, column;
        snprintf(cut, sizeof cut, "CUT_BY=%d", number);
        struct driver *d = start_as("scripted", terms[i % 2], (const char *const[]){ cut, NULL }, 20, 80);
        driver_wait_for(d, "ask about 3 files");
        driver_resize(d, 24, 80); /* what a signal sends is for the rows that there are then */
        driver_settle(d);
        ask_for_a_screenful(d);
        driver_signal(d, SIGUSR1);
        driver_send(d, "\x1b[1;5B");
        int status = driver_wait_exit(d);
        assert_true(status == 128 + number || (i < 4 && status != 0)); /* a sanitizer ends in its own way */
        assert_restored(d);
        driver_cursor(d, &row, &column);
        assert_int_equal(row, i % 2 ? 23 : SHELL_ROWS + 1);
        assert_int_equal(column, 0);
        assert_all_rows_scroll(d, 24);
        driver_free(d);
    }
}

/* The terminal has grown before it shows a frame that ends with all rows of before scrolling, and another does not follow. */
static void a_frame_comes_behind_a_resize(void **state)
{
    (void)state;
    struct driver *d = start(24, 80);
    ask_for_a_screenful(d);
    driver_send(d, "\x1b[1;5B");
    assert_true(driver_resize_unread(d, 24, 80, 30000)); /* it is sent */
    driver_signal(d, SIGSTOP);
    driver_resize_unread(d, 26, 80, 0);
    driver_signal(d, SIGTERM);
    driver_signal(d, SIGCONT);
    assert_int_equal(driver_wait_exit(d), 128 + SIGTERM);
    assert_restored(d);
    assert_all_rows_scroll(d, 26);
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
    if (argc == 3) {
        wanted = getenv("CUT_BY") ? atoi(getenv("CUT_BY")) : 0;
        signal(SIGUSR1, cut_next);
        if (wanted)
            fputs("a shell\nhas had\nthe terminal\n", stdout); /* SHELL_ROWS */
        fflush(stdout);
        return run_interface(argv[1], argv[2]);
    }
    const struct CMUnitTest tests[] = {
        SCREEN_TEST(any_end_restores_the_terminal),
        SCREEN_TEST(a_frame_is_cut_off),
        SCREEN_TEST(a_frame_comes_behind_a_resize),
        SCREEN_TEST(text_outlives_any_end),
        SCREEN_TEST(what_cannot_be_written_is_told),
        SCREEN_TEST(leaving_never_waits),
        SCREEN_TEST(it_is_suspended_and_comes_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
