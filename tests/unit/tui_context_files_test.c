/* What is remembered of files in context, how it is told, and the pane that shows it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tui/interface/pane.h"

static char *written;
static size_t written_length;

static void write_files(const struct kg_context_file *files, size_t count)
{
    free(written);
    written = NULL;
    FILE *memory = open_memstream(&written, &written_length);
    for (size_t i = 0; i < count; i++)
        kg_context_file_write(memory, &files[i]);
    fclose(memory);
}

static void files_are_written_and_read_back(void **state)
{
    static const struct kg_context_file files[] = { { "a.c", "", 0, KG_READ_DUE, false, false, 0 },
                                                     { "b \x1b[31m.c", "matches: x, y", 8192, KG_READ_NOW, true, false, 96 },
                                                     { "", "w", 1, KG_READ_CACHED, false, true, 0 } };
    struct kg_context_file file;
    size_t at = 0;
    (void)state;
    write_files(files, 3);
    for (size_t i = 0; i < 3; i++) {
        assert_true(kg_context_file_next(written, written_length, &at, &file));
        assert_string_equal(file.path, files[i].path);
        assert_string_equal(file.why, files[i].why);
        assert_int_equal(file.tokens, files[i].tokens);
        assert_int_equal(file.read, files[i].read);
        assert_int_equal(file.pinned, files[i].pinned);
        assert_int_equal(file.talk, files[i].talk);
        assert_int_equal(file.again, files[i].again);
    }
    assert_false(kg_context_file_next(written, written_length, &at, &file));
    for (size_t cut = 0; cut < written_length; cut++) /* whatever is missing at the end, nothing behind it is read */
        for (at = 0; kg_context_file_next(written, cut, &at, &file);)
            assert_true(at <= cut);
}

static void origins_are_remembered(void **state)
{
    const char *why;
    char path[32];
    struct kg_origins *origins = kg_origins_create();
    (void)state;
    assert_int_equal(kg_origin_of(origins, "a", &why), KG_READ_DUE);
    assert_string_equal(why, "");
    kg_origin_set(origins, "a", "named with @", KG_READ_CACHED);
    kg_origin_set(origins, "b", NULL, KG_READ_NOW);
    kg_origin_set(origins, "a", NULL, KG_READ_NOW); /* why stays */
    assert_int_equal(kg_origin_of(origins, "a", &why), KG_READ_NOW);
    assert_string_equal(why, "named with @");
    assert_int_equal(kg_origin_of(origins, "b", &why), KG_READ_NOW);
    assert_string_equal(why, "");
    for (int i = 0; i < 5000; i++) { /* of a run without an end, the last ones */
        snprintf(path, sizeof path, "%d", i);
        kg_origin_set(origins, path, "x", KG_READ_NOW);
    }
    assert_int_equal(kg_origin_of(origins, "4999", &why), KG_READ_NOW);
    assert_int_equal(kg_origin_of(origins, "a", &why), KG_READ_DUE);
    kg_origins_clear(origins);
    assert_int_equal(kg_origin_of(origins, "4999", &why), KG_READ_DUE);
    kg_origins_free(origins);
}

static struct kg_pane pane;

static const char *drawn(int rows, int columns)
{
    static char out[16384];
    char row[1024];
    size_t used = 0;
    struct kg_screen *screen = kg_screen_create(rows, columns);
    out[0] = '\0';
    kg_pane_draw(&pane, screen, rows, columns - kg_pane_width(&pane, columns));
    for (int i = 0; i < rows; i++) {
        kg_screen_row_text(screen, i, row, sizeof row);
        used += (size_t)snprintf(out + used, sizeof out - used, "%s\n", row);
    }
    kg_screen_free(screen);
    return out;
}

static void the_pane_scrolls_to_what_is_chosen(void **state)
{
    struct kg_context_file files[20], file;
    char names[20][64];
    (void)state;
    for (size_t i = 0; i < 20; i++) {
        snprintf(names[i], sizeof names[i], "a/very/long/path/that/does/not/fit/file%zu.c", i);
        files[i] = (struct kg_context_file){ .path = names[i], .why = "why", .tokens = 100, .read = KG_READ_NOW };
    }
    write_files(files, 20);
    pane = (struct kg_pane){ .open = true, .focused = true, .files = written, .files_length = written_length, .context_tokens = 2400, .context_limit = 4800 };
    assert_string_equal(drawn(8, 40), " 2,400 of 4,800 tokens, 50 %\n [###############===                  ]\n # files 2,000  = talk 400\n\n"
                                      " …th/that/does/not/fit/file0.c 100 read\n   why\n …th/that/does/not/fit/file1.c 100 read\n   why\n");
    assert_false(kg_pane_move(&pane, -1));
    for (int i = 0; i < 10; i++)
        assert_true(kg_pane_move(&pane, 1));
    assert_non_null(strstr(drawn(8, 40), "file10.c"));
    assert_non_null(strstr(drawn(8, 40), "file9.c"));
    assert_true(kg_pane_chosen(&pane, &file));
    assert_string_equal(file.path, names[10]);
    while (kg_pane_move(&pane, 1))
        ;
    write_files(files, 2); /* the others are gone */
    pane.files = written;
    pane.files_length = written_length;
    assert_non_null(strstr(drawn(8, 40), "file0.c"));
    assert_true(kg_pane_chosen(&pane, &file));
    assert_string_equal(file.path, names[1]);
    pane.files_length = 0;
    assert_non_null(strstr(drawn(8, 40), "nothing is in context"));
    assert_false(kg_pane_chosen(&pane, &file));
    for (int rows = 1; rows < 6; rows++) /* nothing is written where there is no room */
        for (int columns = 1; columns < 100; columns += 7)
            drawn(rows, columns);
    pane.context_limit = 0;
    assert_non_null(strstr(drawn(8, 40), "what is in context\n\n"));
}

static void the_pane_takes_what_room_there_is(void **state)
{
    (void)state;
    pane = (struct kg_pane){ .open = false };
    assert_int_equal(kg_pane_width(&pane, 200), 0);
    pane.open = true;
    assert_int_equal(kg_pane_width(&pane, 200), 60);
    assert_int_equal(kg_pane_width(&pane, 80), 32);
    assert_int_equal(kg_pane_width(&pane, 60), 0);
    pane.focused = true;
    assert_int_equal(kg_pane_width(&pane, 60), 60);
    free(written);
    written = NULL;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(files_are_written_and_read_back),
        cmocka_unit_test(origins_are_remembered),
        cmocka_unit_test(the_pane_scrolls_to_what_is_chosen),
        cmocka_unit_test(the_pane_takes_what_room_there_is),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
