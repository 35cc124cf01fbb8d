/* A file on the whole screen, in a real pseudo-terminal, completed by an engine that follows a script. */
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "tests/screens/driver.h"
#include "tests/screens/scripted_engine.h"
#include "tui/file/view.h"

static const char source[] = "/* What it does. */\n"
                             "#include <stdio.h>\n"
                             "\n"
                             "int main(void)\n"
                             "{\n"
                             "\tputs(\"gr\xc3\xbc\xc3\x9f\x65 \xe6\xbc\xa2\xe5\xad\x97\");\n"
                             "    \n"
                             "    return 0;\n"
                             "}\n";
enum { BLANK_LINE = 7 };

static char directory[64], file[80];

/* "PROGRAM DIRECTORY FILE[:LINE[:COL]] MODEL" is the program that is tested. */
static int run_view(const char *state, const char *where, const char *model)
{
    struct kg_error err;
    struct kg_file_place place;
    snprintf(script_directory, sizeof script_directory, "%s", state);
    if (kg_file_place_parse(where, &place, &err) != KG_OK)
        return 2;
    place.root[0] = '\0';
    snprintf(place.label, sizeof place.label, "src/main.c");
    const struct kg_file_view_options options = { .place = &place,
                                                  .completer = { .engine = { .model_path = model }, .path = place.label },
                                                  .no_model = strcmp(model, "none") == 0 ? "no model is here" : NULL,
                                                  .max_tokens = 64,
                                                  .pause_ms = 1 };
    if (kg_file_view_run(&options, &err) == KG_OK)
        return 0;
    fprintf(stderr, "kedge complete: %s\n", err.text);
    return 1;
}

static int make_directory(void **state)
{
    (void)state;
    strcpy(directory, "/tmp/kedge-file-view-XXXXXX");
    if (!mkdtemp(directory))
        return -1;
    snprintf(file, sizeof file, "%s/main.c", directory);
    FILE *out = fopen(file, "w");
    fputs(source, out);
    return fclose(out);
}

static int remove_directory(void **state)
{
    char command[128];
    (void)state;
    snprintf(command, sizeof command, "rm -r %s", directory);
    return system(command);
}

static void open_gate(const char *name)
{
    char path[128];
    snprintf(path, sizeof path, "%s/%s", directory, name);
    close(open(path, O_CREAT | O_WRONLY, 0600));
}

static struct driver *start_with(const char *term, const char *model, const char *place, int rows, int columns)
{
    static char self[KG_PATH_MAX], where[128], state[128];
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    assert_true(n > 0);
    self[n] = '\0';
    snprintf(where, sizeof where, "%s%s", file, place);
    snprintf(state, sizeof state, "KEDGE_STATE=%s", directory);
    return driver_start((const char *const[]){ self, directory, where, model, NULL }, (const char *const[]){ state, NULL }, term, rows, columns);
}

static struct driver *start(int rows, int columns)
{
    struct driver *d = start_with("xterm-256color", "scripted", ":7:5", rows, columns);
    driver_wait_for(d, "scripted 1B");
    return d;
}

static void quit(struct driver *d)
{
    driver_send(d, "\x11");
    assert_int_equal(driver_wait_exit(d), 0);
    assert_true(driver_modes_restored(d));
    driver_free(d);
}

static void quit_unsaved(struct driver *d)
{
    driver_send(d, "\x11");
    driver_wait_for(d, "save what was changed?");
    driver_send(d, "n");
    assert_int_equal(driver_wait_exit(d), 0);
    assert_true(driver_modes_restored(d));
    driver_free(d);
}

static void expect_file(const char *expected)
{
    char *text;
    size_t length;
    assert_int_equal(kg_read_file(file, 1 << 20, &text, &length, NULL), KG_OK);
    assert_string_equal(text, expected);
    free(text);
}

static void a_file_is_shown(void **state)
{
    static const struct {
        const char *term, *golden;
        int rows, columns;
    } cases[] = {
        { "xterm-256color", "file-80x24", 24, 80 }, { "tmux-256color", "file-80x24", 24, 80 }, { "linux", "file-80x24", 24, 80 },
        { "vt100", "file-80x24", 24, 80 },          { "xterm-256color", "file-40x10", 10, 40 }, { "xterm-256color", "file-200x60", 60, 200 },
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct driver *d = start_with(cases[i].term, "scripted", ":7:5", cases[i].rows, cases[i].columns);
        driver_wait_for(d, "scripted 1B");
        driver_send(d, "loop");
        driver_wait_for(d, "two();");
        driver_golden(d, cases[i].golden);
        quit_unsaved(d);
    }
}

/* The cursor stands still while the ghost is shown, and the text behind it comes back when it is refused. */
static void a_ghost_is_taken_or_refused(void **state)
{
    int row, column, row_after, column_after;
    (void)state;
    struct driver *d = start(24, 80);
    driver_send(d, "ret");
    driver_wait_for(d, "return value;");
    driver_cursor(d, &row, &column);
    assert_int_equal(row, BLANK_LINE - 1);
    assert_int_equal(column, 3 + 4 + 3); /* behind the line's number */
    driver_send(d, "\x1b");
    driver_wait_gone(d, "return value;");
    driver_cursor(d, &row_after, &column_after);
    assert_true(row == row_after && column == column_after);
    driver_send(d, "\x7ft");
    driver_wait_for(d, "return value;");
    driver_send(d, "\t\r");
    driver_wait_for(d, "8:5");
    driver_send(d, "\x13");
    driver_wait_for(d, "saved, 11 lines");
    quit(d);
    expect_file("/* What it does. */\n#include <stdio.h>\n\nint main(void)\n{\n\tputs(\"gr\xc3\xbc\xc3\x9f\x65 \xe6\xbc\xa2\xe5\xad\x97\");\n"
                "    return value;\n    \n    return 0;\n}\n");
}

static void a_ghost_is_taken_by_words_and_lines(void **state)
{
    (void)state;
    struct driver *d = start(24, 80);
    driver_send(d, "loop");
    driver_wait_for(d, "two();");
    driver_send(d, "\x1b[1;3C"); /* Alt-Right */
    driver_wait_for(d, "7:11");
    driver_send(d, "\x1b[1;5C"); /* Ctrl-Right */
    driver_wait_for(d, "8:15");
    assert_true(driver_shows(d, "        two();"));
    driver_send(d, "\x1b");
    driver_wait_gone(d, "two();");
    assert_true(driver_shows(d, "        one();"));
    driver_send(d, "\x1a\x1a"); /* undone one by one */
    driver_wait_for(d, "7:9");
    quit_unsaved(d);
}

/* What agrees keeps the ghost and shortens it, also while it is written; what does not ends it at once. */
static void typing_keeps_a_ghost_that_agrees(void **state)
{
    char cancelled[128];
    (void)state;
    struct driver *d = start(24, 80);
    driver_send(d, "wait");
    driver_wait_for(d, "completing");
    open_gate("gate");
    driver_wait_for(d, "waited for");
    driver_send(d, "e");
    driver_wait_for(d, "7:10");
    assert_true(driver_shows(d, "waited for"));
    driver_send(d, "X");
    driver_wait_gone(d, "waited for");
    driver_wait_for(d, "waiteX");
    driver_send(d, " never");
    driver_wait_for(d, "completing");
    driver_send(d, "x ret");
    driver_wait_for(d, "return value;");
    snprintf(cancelled, sizeof cancelled, "%s/cancelled", directory);
    assert_int_equal(access(cancelled, F_OK), 0);
    quit_unsaved(d);
}

static void hostile_text_is_not_offered(void **state)
{
    size_t length;
    (void)state;
    struct driver *d = start(24, 80);
    driver_send(d, "evil");
    driver_wait_for(d, "evilx");
    driver_send(d, "\t;hidden");
    driver_wait_for(d, "hiddenab");
    driver_settle(d);
    assert_false(driver_shows(d, "owned"));
    assert_false(driver_shows(d, "cd"));
    assert_null(strstr(driver_raw(d, &length), "]0;owned"));
    driver_send(d, "\t;same");
    driver_wait_for(d, "same1;");
    driver_settle(d);
    assert_null(strstr(strstr(driver_screen(d), "return 0;") + 1, "return 0;")); /* the next line is there already */
    quit_unsaved(d);
}

static void text_is_found_selected_and_pasted(void **state)
{
    (void)state;
    struct driver *d = start(10, 60);
    driver_send(d, "\x06PUTS");
    driver_wait_for(d, "not found");
    driver_send(d, "\x7f\x7f\x7f\x7fputs\r");
    driver_wait_for(d, "6:9");
    driver_send(d, "\x18"); /* cut what was found */
    driver_wait_gone(d, "puts");
    driver_send(d, "\x07" "1\r");
    driver_wait_for(d, "1:1");
    driver_send(d, "\x16");
    driver_wait_for(d, "puts/* What");
    driver_send(d, "\x1b[200~one\rtwo\x1b[201~");
    driver_wait_for(d, "two/* What");
    driver_send(d, "\x1a\x1a\x1a");
    driver_wait_for(d, "puts(");
    driver_send(d, "\x01\x7f"); /* select all, erase */
    driver_wait_gone(d, "int main");
    driver_send(d, "\x1a\x1b[1;5H");
    driver_wait_for(d, "1:1");
    quit(d); /* all of it is undone: nothing to save */
    expect_file(source);
}

static void a_file_that_changed_is_asked_about(void **state)
{
    (void)state;
    struct driver *d = start(24, 80);
    driver_send(d, "mine");
    driver_wait_for(d, "mine");
    FILE *out = fopen(file, "w");
    fputs("theirs\n", out);
    fclose(out);
    driver_send(d, "\x13");
    driver_wait_for(d, "somebody else changed this file");
    driver_send(d, "n");
    driver_wait_gone(d, "somebody else");
    expect_file("theirs\n");
    driver_send(d, "\x11");
    driver_wait_for(d, "save what was changed?");
    driver_send(d, "y");
    driver_wait_for(d, "somebody else changed this file");
    driver_send(d, "y");
    assert_int_equal(driver_wait_exit(d), 0);
    driver_free(d);
    char *text;
    size_t length;
    assert_int_equal(kg_read_file(file, 1 << 20, &text, &length, NULL), KG_OK);
    assert_non_null(strstr(text, "    mine\n"));
    free(text);
}

static void it_is_usable_without_a_model(void **state)
{
    static const struct {
        const char *model, *says;
    } cases[] = { { "none", "no completion: no model is here" }, { "missing", "no completion: cannot open missing" },
                  { "unable", "no completion: scripted 1B has no tokens" } };
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        struct driver *d = start_with("xterm-256color", cases[i].model, ":7:5", 24, 80);
        driver_wait_for(d, cases[i].says);
        driver_send(d, "ret");
        driver_wait_for(d, "7:8");
        quit_unsaved(d);
    }
}

/* It is seen as its text, and stays as it is. */
static void a_file_in_utf16_is_only_shown(void **state)
{
    static const char wide[] = "\xff\xfe" "o\0n\0e\0\r\0\n\0t\0w\0o\0\r\0\n\0", *const writing[] = { "x", "\r", "\t", "\x7f", "\x1b[3~", "\x13", "\x18", "\x16", "\x05", "\x1b[200~y\x1b[201~" };
    char *now;
    size_t length;
    (void)state;
    assert_int_equal(kg_write_file(file, wide, sizeof wide - 1, 0644, NULL), KG_OK);
    struct driver *d = start_with("xterm-256color", "scripted", ":2:1", 24, 80);
    driver_wait_for(d, "1 one\n2 two\n3\n");
    driver_wait_for(d, "in UTF-16, which is shown, but not written or completed");
    for (size_t i = 0; i < sizeof writing / sizeof *writing; i++) {
        driver_send(d, "\x1b[C");
        driver_wait_for(d, "no completion · UTF-16");
        driver_send(d, writing[i]);
        driver_wait_for(d, "in UTF-16, which is shown, but not written");
    }
    assert_true(driver_shows(d, "1 one\n2 two\n3\n"));
    quit(d);
    assert_int_equal(kg_read_file(file, 1 << 20, &now, &length, NULL), KG_OK);
    assert_int_equal(length, sizeof wide - 1);
    assert_memory_equal(now, wide, length);
    free(now);
}

/* Ended from outside, it leaves what was not saved beside the file. */
static void unsaved_text_survives_a_signal(void **state)
{
    char unsaved[96], *text;
    size_t length;
    (void)state;
    struct driver *d = start(24, 80);
    driver_send(d, "kept");
    driver_wait_for(d, "kept");
    driver_signal(d, SIGTERM);
    assert_int_equal(driver_wait_exit(d), 128 + SIGTERM);
    assert_true(driver_modes_restored(d));
    driver_free(d);
    expect_file(source);
    snprintf(unsaved, sizeof unsaved, "%s.unsaved", file);
    assert_int_equal(kg_read_file(unsaved, 1 << 20, &text, &length, NULL), KG_OK);
    assert_non_null(strstr(text, "    kept\n"));
    free(text);
}

static void it_takes_any_size(void **state)
{
    static const int sizes[][2] = { { 10, 40 }, { 120, 400 }, { 3, 12 }, { 24, 80 } };
    (void)state;
    struct driver *d = start(24, 80);
    driver_send(d, "loop");
    driver_wait_for(d, "two();");
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        driver_resize(d, sizes[i][0], sizes[i][1]);
        driver_settle(d);
    }
    driver_wait_for(d, "two();");
    quit_unsaved(d);
}

#define SCREEN_TEST(f) cmocka_unit_test_setup_teardown(f, make_directory, remove_directory)

static void lines_are_changed_in_a_conversation_only(void **state)
{
    (void)state;
    struct driver *d = start(24, 80);
    driver_send(d, "\x05");
    driver_wait_for(d, "start kedge, and /open this file");
    driver_send(d, "x");
    driver_wait_gone(d, "start kedge");
    quit_unsaved(d);
}

int main(int argc, char **argv)
{
    if (argc == 4)
        return run_view(argv[1], argv[2], argv[3]);
    const struct CMUnitTest tests[] = {
        SCREEN_TEST(a_file_is_shown),
        SCREEN_TEST(a_ghost_is_taken_or_refused),
        SCREEN_TEST(a_ghost_is_taken_by_words_and_lines),
        SCREEN_TEST(typing_keeps_a_ghost_that_agrees),
        SCREEN_TEST(hostile_text_is_not_offered),
        SCREEN_TEST(text_is_found_selected_and_pasted),
        SCREEN_TEST(a_file_that_changed_is_asked_about),
        SCREEN_TEST(lines_are_changed_in_a_conversation_only),
        SCREEN_TEST(it_is_usable_without_a_model),
        SCREEN_TEST(a_file_in_utf16_is_only_shown),
        SCREEN_TEST(unsaved_text_survives_a_signal),
        SCREEN_TEST(it_takes_any_size),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
