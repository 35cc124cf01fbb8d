/* Each view of the conversation at three sizes on four terminals: golden screens, the same on all of them. */
#include "tests/screens/scripted_interface.h"

struct place {
    struct driver *d;
    int rows, columns;
};

static void golden(const struct place *place, const char *view)
{
    char name[64];
    snprintf(name, sizeof name, "view-%s-%dx%d", view, place->columns, place->rows);
    driver_settle(place->d);
    driver_golden(place->d, name);
}

static void go_through(const struct place *place)
{
    struct driver *d = place->d;
    golden(place, "start");
    driver_send(d, "/");
    golden(place, "commands");
    driver_send(d, "\x15" "ask @r");
    golden(place, "files");
    driver_send(d, "\x15one line that is longer than a narrow terminal has columns, 漢字\x0athe second\x0athe third");
    golden(place, "input");
    driver_send(d, "\x15");
    driver_send(d, "\x03");
    driver_wait_gone(d, "third");
    ask(d, "What does main do, in markdown?");
    driver_wait_for(d, "wrote 98");
    driver_wait_for(d, "ready");
    driver_wait_gone(d, "Ctrl-C again");
    golden(place, "answer");
    driver_send(d, "\x14");
    golden(place, "browse");
    driver_send(d, "{");
    golden(place, "code");
    driver_send(d, "/MAIN");
    golden(place, "search");
    driver_send(d, "\x7f\x7f\x7f\x7fmain\r");
    golden(place, "found");
    driver_send(d, "qquest");
    driver_send(d, "\x12what");
    golden(place, "history");
    driver_send(d, "\x1b");
    driver_wait_for(d, "› quest");
    driver_send(d, "\x15\x1bOQ");
    driver_wait_for(d, "F2 close");
    golden(place, "pane");
    driver_send(d, "\x1bOQ");
    driver_wait_gone(d, "F2 close");
    ask(d, "gate");
    driver_wait_for(d, "before the gate");
    ask(d, "what is asked meanwhile");
    driver_wait_for(d, "(queued)");
    driver_send(d, "\x1b[F");
    driver_settle(d);
    assert_true(driver_shows(d, "(queued)"));
    open_gate("gate");
    driver_wait_for(d, "You asked: what is");
    driver_wait_for(d, "ready");
    ask(d, "/help");
    golden(place, "help");
}

static void every_view_is_the_same_on_every_terminal(void **state)
{
    static const char *const terms[] = { "xterm-256color", "tmux-256color", "linux", "vt100" };
    static const int sizes[][2] = { { 10, 40 }, { 24, 80 }, { 60, 200 } };
    char path[128];
    (void)state;
    for (size_t size = 0; size < 3; size++)
        for (size_t term = 0; term < 4; term++) {
            struct place place = { .rows = sizes[size][0], .columns = sizes[size][1] };
            snprintf(path, sizeof path, "%s/history", directory);
            unlink(path);
            snprintf(path, sizeof path, "%s/gate", directory);
            unlink(path);
            place.d = start_as("scripted", terms[term], NULL, place.rows, place.columns);
            driver_wait_for(place.d, "ready");
            driver_wait_for(place.d, "ask about 3 files");
            go_through(&place);
            quit(place.d);
        }
}

int main(int argc, char **argv)
{
    if (argc == 3)
        return run_interface(argv[1], argv[2]);
    const struct CMUnitTest tests[] = { SCREEN_TEST(every_view_is_the_same_on_every_terminal) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
