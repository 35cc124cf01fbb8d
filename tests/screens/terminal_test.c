/* The interface on terminals of many kinds, in a real pseudo-terminal, with an engine that follows a script. */
#include "tests/screens/scripted_interface.h"

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

int main(int argc, char **argv)
{
    if (argc == 3)
        return run_interface(argv[1], argv[2]);
    const struct CMUnitTest tests[] = {
        SCREEN_TEST(a_resize_overtakes_a_frame),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
