/* The text of a file: random changes, undone and redone, against a plain string; the cursor; files on disk. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "tui/file/disk.h"
#include "tui/file/edit.h"

enum { MOST = 4096, DEPTH = 300 };

static uint64_t state;

static size_t below(size_t n)
{
    state = state * 6364136223846793005u + 1442695040888963407u;
    return n ? (size_t)(state >> 33) % n : 0;
}

static size_t random_bytes(char *out, size_t most)
{
    static const char alphabet[] = "ab c\n\n\t\xc3\xa9\xff";
    size_t length = below(most + 1);
    for (size_t i = 0; i < length; i++)
        out[i] = alphabet[below(sizeof alphabet - 1)];
    return length;
}

/* Bytes and lines are those of the string. */
static void expect(const struct kg_text *text, const char *string, size_t length)
{
    size_t n, line = 0, start = 0;
    const char *bytes = kg_text_bytes(text, &n);
    assert_int_equal(n, length);
    assert_memory_equal(bytes, string, length);
    assert_int_equal(bytes[n], '\0');
    for (size_t i = 0; i <= length; i++) {
        if (i < length && string[i] != '\n') {
            assert_int_equal(kg_text_line_of(text, i), line);
            continue;
        }
        assert_int_equal(kg_text_line_start(text, line), start);
        assert_int_equal(kg_text_line_end(text, line), i);
        assert_int_equal(kg_text_line_of(text, i), line);
        start = i + 1;
        line++;
    }
    assert_int_equal(kg_text_lines(text), line);
}

struct moment {
    char bytes[MOST];
    size_t length;
};

static void splice(struct moment *m, size_t from, size_t to, const char *bytes, size_t length)
{
    memmove(m->bytes + from + length, m->bytes + to, m->length - to);
    memcpy(m->bytes + from, bytes, length);
    m->length = m->length - (to - from) + length;
}

static void change_at_random(uint64_t seed)
{
    static struct moment moments[DEPTH + 1];
    size_t done = 0, count = 0, saved = 0, from, to;
    char bytes[64];
    state = seed;
    moments[0].length = random_bytes(moments[0].bytes, 64);
    struct kg_text *text = kg_text_create(moments[0].bytes, moments[0].length);
    assert_non_null(text);
    for (unsigned step = 0; step < 600; step++) {
        size_t what = below(10);
        if (what < 6 && done < DEPTH && moments[done].length + sizeof bytes < MOST) {
            from = below(moments[done].length + 1);
            to = from + below(below(3) ? 2 : moments[done].length - from + 1);
            to = to > moments[done].length ? moments[done].length : to;
            size_t length = random_bytes(bytes, sizeof bytes - 1);
            if (from == to && length == 0)
                continue;
            moments[done + 1] = moments[done];
            assert_true(kg_text_replace(text, from, to, bytes, length, false));
            splice(&moments[++done], from, to, bytes, length);
            if (saved != SIZE_MAX && saved >= done)
                saved = SIZE_MAX;
            count = done;
        } else if (what < 8) {
            assert_int_equal(kg_text_undo(text, &from, &to), done > 0);
            done -= done > 0;
        } else if (what < 9) {
            assert_int_equal(kg_text_redo(text, &from, &to), done < count);
            done += done < count;
        } else if (below(4) == 0) {
            kg_text_set_saved(text);
            saved = done;
        }
        expect(text, moments[done].bytes, moments[done].length);
        assert_int_equal(kg_text_is_saved(text), saved == done);
    }
    kg_text_free(text);
}

static void test_random_changes(void **unused)
{
    const char *many = getenv("CHECK_LONG");
    unsigned runs = many && strcmp(many, "1") == 0 ? 2000 : 60;
    (void)unused;
    for (unsigned seed = 1; seed <= runs; seed++)
        change_at_random(seed);
}

static struct kg_edit edit_of(const char *bytes)
{
    struct kg_edit edit = { .text = kg_text_create(bytes, strlen(bytes)) };
    assert_non_null(edit.text);
    return edit;
}

static void expect_text(const struct kg_edit *edit, const char *expected)
{
    size_t length;
    assert_string_equal(kg_text_bytes(edit->text, &length), expected);
}

static void end(struct kg_edit *edit)
{
    kg_edit_clear(edit);
    kg_text_free(edit->text);
}

static void type(struct kg_edit *edit, const char *text)
{
    for (; *text; text++)
        assert_true(kg_edit_type(edit, text, 1));
}

static void test_typing_is_undone_by_the_word(void **unused)
{
    (void)unused;
    struct kg_edit edit = edit_of("");
    type(&edit, "one two");
    expect_text(&edit, "one two");
    assert_true(kg_edit_undo(&edit));
    expect_text(&edit, "one ");
    assert_int_equal(edit.cursor, 4);
    assert_true(kg_edit_undo(&edit));
    expect_text(&edit, "");
    assert_false(kg_edit_undo(&edit));
    assert_true(kg_edit_redo(&edit) && kg_edit_redo(&edit));
    assert_false(kg_edit_redo(&edit));
    expect_text(&edit, "one two");
    kg_edit_move(&edit, KG_EDIT_START, 1, false);
    type(&edit, "x"); /* elsewhere: a change of its own */
    assert_true(kg_edit_undo(&edit));
    expect_text(&edit, "one two");
    type(&edit, "y");
    kg_text_set_saved(edit.text);
    type(&edit, "z"); /* behind a save, too: what was saved can be had back */
    assert_true(kg_edit_undo(&edit));
    assert_true(kg_text_is_saved(edit.text));
    end(&edit);
}

static void test_moves(void **unused)
{
    (void)unused;
    struct kg_edit edit = edit_of("\tif (a_b)\n\n    e\xcc\x81\xe6\xbc\xa2x\nlast");
    const struct {
        enum kg_edit_motion motion;
        size_t times, cursor;
    } steps[] = {
        { KG_EDIT_LINE_START, 1, 1 },  { KG_EDIT_LINE_START, 1, 0 }, { KG_EDIT_LINE_END, 1, 9 },   { KG_EDIT_DOWN, 1, 10 },
        { KG_EDIT_DOWN, 1, 22 },       { KG_EDIT_LEFT, 1, 21 },      { KG_EDIT_LEFT, 1, 18 },      { KG_EDIT_LEFT, 1, 15 },
        { KG_EDIT_RIGHT, 1, 18 },      { KG_EDIT_UP, 2, 2 },         { KG_EDIT_UP, 1, 2 },         { KG_EDIT_WORD_RIGHT, 1, 3 },
        { KG_EDIT_WORD_RIGHT, 1, 8 },  { KG_EDIT_WORD_LEFT, 1, 5 },  { KG_EDIT_END, 1, 27 },       { KG_EDIT_RIGHT, 1, 27 },
        { KG_EDIT_DOWN, 5, 27 },       { KG_EDIT_START, 1, 0 },      { KG_EDIT_LEFT, 1, 0 },
    };
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        kg_edit_move(&edit, steps[i].motion, steps[i].times, false);
        if (edit.cursor != steps[i].cursor)
            fail_msg("step %zu: at %zu, not %zu", i, edit.cursor, steps[i].cursor);
        assert_int_equal(edit.anchor, edit.cursor);
    }
    end(&edit);
}

static void test_selects_and_pastes(void **unused)
{
    (void)unused;
    struct kg_edit edit = edit_of("one\ntwo\n");
    kg_edit_move(&edit, KG_EDIT_DOWN, 1, true);
    assert_true(kg_edit_cut(&edit));
    expect_text(&edit, "two\n");
    kg_edit_move(&edit, KG_EDIT_END, 1, false);
    assert_true(kg_edit_paste(&edit) && kg_edit_paste(&edit));
    expect_text(&edit, "two\none\none\n");
    kg_edit_go(&edit, 5, false);
    assert_true(kg_edit_cut(&edit)); /* nothing is selected: the line */
    expect_text(&edit, "two\none\n");
    assert_int_equal(edit.clip_length, 4);
    kg_edit_select_all(&edit);
    assert_true(kg_edit_insert(&edit, "new", 3));
    expect_text(&edit, "new");
    assert_true(kg_edit_undo(&edit));
    expect_text(&edit, "two\none\n");
    end(&edit);
}

static void test_lines_begin_as_those_before(void **unused)
{
    (void)unused;
    struct kg_edit edit = edit_of("\tif\n");
    kg_edit_go(&edit, 3, false);
    assert_true(kg_edit_newline(&edit) && kg_edit_tab(&edit) && kg_edit_type(&edit, "x", 1));
    expect_text(&edit, "\tif\n\t\tx\n");
    end(&edit);
    edit = edit_of("    if\n");
    kg_edit_go(&edit, 6, false);
    assert_true(kg_edit_newline(&edit) && kg_edit_type(&edit, "x", 1) && kg_edit_tab(&edit));
    expect_text(&edit, "    if\n    x   \n");
    assert_true(kg_edit_erase(&edit, KG_EDIT_LEFT) && kg_edit_erase(&edit, KG_EDIT_WORD_LEFT));
    expect_text(&edit, "    if\n    \n");
    end(&edit);
}

static void test_finds(void **unused)
{
    (void)unused;
    struct kg_edit edit = edit_of("Abc abc ABC");
    assert_int_equal(kg_edit_find(&edit, "abc", 3, 0), 0);
    assert_int_equal(kg_edit_find(&edit, "abc", 3, 1), 4);
    assert_int_equal(kg_edit_find(&edit, "ABC", 3, 0), 8);
    assert_int_equal(kg_edit_find(&edit, "abc", 3, 9), 0);
    assert_int_equal(kg_edit_find(&edit, "c a", 3, 5), 6);
    assert_int_equal(kg_edit_find(&edit, "abcd", 4, 0), SIZE_MAX);
    assert_int_equal(kg_edit_find(&edit, "", 0, 0), SIZE_MAX);
    end(&edit);
}

/* Files. */

static char directory[64];

static int make_directory(void **unused)
{
    (void)unused;
    strcpy(directory, "/tmp/kedge-file-XXXXXX");
    return mkdtemp(directory) ? 0 : -1;
}

static int remove_directory(void **unused)
{
    char command[128];
    (void)unused;
    snprintf(command, sizeof command, "rm -r %s", directory);
    return system(command);
}

static const char *path_of(const char *name)
{
    static char path[128];
    snprintf(path, sizeof path, "%s/%s", directory, name);
    return path;
}

static void put(const char *name, const char *bytes, size_t length, mode_t mode)
{
    FILE *file = fopen(path_of(name), "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, length, file), length);
    fclose(file);
    assert_int_equal(chmod(path_of(name), mode), 0);
}

static void expect_file(const char *name, const char *bytes, mode_t mode)
{
    char *text;
    size_t length;
    struct stat now;
    assert_int_equal(kg_read_file(path_of(name), 1 << 20, &text, &length, NULL), KG_OK);
    assert_string_equal(text, bytes);
    free(text);
    assert_int_equal(stat(path_of(name), &now), 0);
    assert_int_equal(now.st_mode & 07777, mode);
}

static void test_saves(void **unused)
{
    struct kg_disk_file file;
    struct kg_error err;
    char *text;
    size_t length;
    (void)unused;
    put("a", "one\r\ntwo\r\n", 10, 0750);
    assert_int_equal(kg_disk_load(path_of("a"), &file, &text, &length, &err), KG_OK);
    assert_true(file.crlf && !file.is_new);
    assert_string_equal(text, "one\ntwo\n");
    free(text);
    assert_int_equal(kg_disk_save(&file, "new\nlines\n", 10, false, &err), KG_OK);
    expect_file("a", "new\r\nlines\r\n", 0750);
    assert_int_equal(kg_disk_save(&file, "x\n", 2, false, &err), KG_OK); /* that change was ours */
    put("a", "theirs\n", 7, 0750);
    assert_int_equal(kg_disk_save(&file, "ours\n", 5, false, &err), KG_ERR_CHANGED);
    expect_file("a", "theirs\n", 0750);
    assert_int_equal(kg_disk_save(&file, "ours\n", 5, true, &err), KG_OK);
    expect_file("a", "ours\r\n", 0750);
    unlink(path_of("a"));
    assert_int_equal(kg_disk_save(&file, "x", 1, false, &err), KG_ERR_CHANGED);
}

static void test_new_files_and_links(void **unused)
{
    struct kg_disk_file file;
    struct kg_error err;
    struct stat now;
    char *text, target[128];
    size_t length;
    (void)unused;
    assert_int_equal(kg_disk_load(path_of("new"), &file, &text, &length, &err), KG_OK);
    assert_true(file.is_new && length == 0);
    free(text);
    put("new", "theirs\n", 7, 0600); /* it came meanwhile */
    assert_int_equal(kg_disk_save(&file, "ours\n", 5, false, &err), KG_ERR_CHANGED);
    snprintf(target, sizeof target, "%s", path_of("new"));
    assert_int_equal(symlink(target, path_of("link")), 0);
    assert_int_equal(kg_disk_load(path_of("link"), &file, &text, &length, &err), KG_OK);
    free(text);
    assert_int_equal(kg_disk_save(&file, "through\n", 8, false, &err), KG_OK);
    expect_file("new", "through\n", 0600);
    assert_int_equal(lstat(path_of("link"), &now), 0);
    assert_true(S_ISLNK(now.st_mode));
}

static void test_refuses(void **unused)
{
    struct kg_disk_file file;
    struct kg_error err;
    char *text = NULL;
    size_t length;
    (void)unused;
    put("binary", "a\0b", 3, 0600);
    assert_int_equal(kg_disk_load(path_of("binary"), &file, &text, &length, &err), KG_ERR_FORMAT);
    assert_int_equal(kg_disk_load(directory, &file, &text, &length, &err), KG_ERR_UNSUPPORTED);
    assert_int_equal(symlink("nowhere", path_of("dangling")), 0);
    assert_int_equal(kg_disk_load(path_of("dangling"), &file, &text, &length, &err), KG_ERR_IO);
    put("mixed", "a\r\nb\n", 5, 0600);
    assert_int_equal(kg_disk_load(path_of("mixed"), &file, &text, &length, &err), KG_OK);
    assert_false(file.crlf);
    assert_string_equal(text, "a\r\nb\n");
    free(text);
}

/* Ten megabytes in lines: a key takes no time that somebody would notice. */
static void test_large(void **unused)
{
    enum { LINES = 200000, LINE = 50 };
    char *bytes = malloc((size_t)LINES * LINE);
    (void)unused;
    assert_non_null(bytes);
    memset(bytes, 'x', (size_t)LINES * LINE);
    for (size_t i = 0; i < LINES; i++)
        bytes[(i + 1) * LINE - 1] = '\n';
    struct kg_edit edit = { .text = kg_text_create(bytes, (size_t)LINES * LINE) };
    kg_edit_go(&edit, kg_text_line_start(edit.text, 7), false);
    for (unsigned i = 0; i < 200; i++)
        assert_true(i % 40 ? kg_edit_type(&edit, "a", 1) : kg_edit_newline(&edit));
    assert_int_equal(kg_text_lines(edit.text), LINES + 1 + 5);
    while (kg_edit_undo(&edit)) { }
    expect(edit.text, bytes, (size_t)LINES * LINE);
    free(bytes);
    end(&edit);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_changes),
        cmocka_unit_test(test_typing_is_undone_by_the_word),
        cmocka_unit_test(test_moves),
        cmocka_unit_test(test_selects_and_pastes),
        cmocka_unit_test(test_lines_begin_as_those_before),
        cmocka_unit_test(test_finds),
        cmocka_unit_test_setup_teardown(test_saves, make_directory, remove_directory),
        cmocka_unit_test_setup_teardown(test_new_files_and_links, make_directory, remove_directory),
        cmocka_unit_test_setup_teardown(test_refuses, make_directory, remove_directory),
        cmocka_unit_test(test_large),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
