/* Changes reviewed in a real pseudo-terminal, with an engine that follows a script and files that are really there. */
#include "tests/screens/scripted_interface.h"

#include "base/paths.h"

static const char area[] = "#include <stdio.h>\n\nint area(int a, int b)\n{\n    return a * b;\n}\n\nstatic void unused(void)\n{\n}\n\n/* one\n * two\n */\n"
                           "int main(void)\n{\n    printf(\"%d\\n\", area(2, 3));\n    return 0;\n}\n";
static const char makefile[] = "all:\n\tcc area.c\n";
static const char both[] = "    if (a < 0 || b < 0)";

static void shell(const char *format, const char *argument)
{
    char command[512];
    snprintf(command, sizeof command, format, directory, argument);
    assert_int_equal(system(command), 0);
}

static void put(const char *name, const char *text)
{
    char path[128];
    snprintf(path, sizeof path, "%s/repo/%s", directory, name);
    assert_int_equal(kg_write_file(path, text, strlen(text), 0644, NULL), KG_OK);
}

static bool holds(const char *name, const char *text)
{
    char path[128], *now;
    size_t length;
    snprintf(path, sizeof path, "%s/repo/%s", directory, name);
    assert_int_equal(kg_read_file(path, 1 << 20, &now, &length, NULL), KG_OK);
    bool there = strstr(now, text) != NULL;
    free(now);
    return there;
}

static int make_repository(void **state)
{
    int failed = make_directory(state);
    shell("mkdir %s/repo && cd %1$s/repo && git -c init.defaultBranch=main init -q . && git config user.name T && git config user.email t@example.org%s", "");
    put("area.c", area);
    put("Makefile", makefile);
    shell("cd %s/repo && git add -A && git commit -q -m first%s", "");
    return failed;
}

static int remove_repository(void **state)
{
    (void)state;
    shell("rm -rf %s%s", "");
    return 0;
}

static int run_in_repository(const char *place, const char *model)
{
    struct kg_error err;
    char root[KG_PATH_MAX];
    snprintf(root, sizeof root, "%s/repo", place);
    struct kg_interface_options options = { .repository = root, .engine = { .model_path = model, .threads = 2, .state_dir = place, .cache_dir = place, .kv = getenv("KEYS_AND_VALUES") }, .sampling = { .penalty = 1 }, .lines_only = getenv("INLINE") != NULL, .program = getenv("KEDGE_PROGRAM"), .theme = "dark" };
    snprintf(script_directory, sizeof script_directory, "%s", place);
    return kg_interface_run(&options, &err) == KG_OK ? 0 : 1;
}

static struct driver *start_review_on(const char *term, int rows, int columns, const char *editor)
{
    char variable[160];
    snprintf(variable, sizeof variable, "EDITOR=%s", editor);
    struct driver *d = start_as("scripted", term, (const char *const[]){ variable, NULL }, rows, columns);
    driver_wait_for(d, "ready");
    ask(d, "/edit refuse negative sides in @area.c and @Makefile");
    driver_wait_for(d, "change 1 of 3: take it?");
    return d;
}

static struct driver *start_review(int rows, int columns, const char *editor)
{
    return start_review_on("xterm-256color", rows, columns, editor);
}

static void a_change_looks_the_same_on_every_terminal(void **state)
{
    static const char *const terms[] = { "tmux-256color", "linux", "vt100" };
    static const int sizes[][2] = { { 10, 40 }, { 24, 80 }, { 60, 200 } };
    char golden[64];
    (void)state;
    for (size_t i = 0; i < 9; i++) {
        struct driver *d = start_review_on(terms[i / 3], sizes[i % 3][0], sizes[i % 3][1], "false");
        snprintf(golden, sizeof golden, "review-%dx%d", sizes[i % 3][1], sizes[i % 3][0]);
        driver_golden(d, golden);
        driver_send(d, "\x1b");
        driver_wait_for(d, "nothing was changed");
        quit(d);
    }
}

static void changes_are_asked_about_in_lines(void **state)
{
    (void)state;
    struct driver *d = start_as("scripted", "dumb", (const char *const[]){ "INLINE=1", NULL }, 60, 80);
    driver_wait_for(d, "\n>\n");
    driver_send(d, "/edit refuse negative sides in @area.c and @Makefile\n");
    driver_wait_for(d, "area.c  1 of 3");
    driver_wait_for(d, both);
    driver_wait_for(d, "take it? y yes, n no");
    driver_send(d, "y\n");
    driver_wait_for(d, "area.c  2 of 3");
    driver_send(d, "n\n");
    driver_wait_for(d, "Makefile  3 of 3");
    driver_send(d, "n\n");
    driver_wait_for(d, "changed area.c (1 of 2); /undo takes it back");
    assert_true(holds("area.c", both));
    driver_settle(d);
    driver_send(d, "\x04");
    assert_int_equal(driver_wait_exit(d), 0);
    driver_free(d);
}

static void a_change_is_shown_hunk_by_hunk(void **state)
{
    (void)state;
    struct driver *d = start_review(24, 80, "false");
    driver_golden(d, "review-80x24");
    driver_resize(d, 60, 200);
    driver_settle(d);
    driver_golden(d, "review-200x60");
    driver_resize(d, 10, 40);
    driver_settle(d);
    driver_golden(d, "review-40x10");
    driver_send(d, "j");
    driver_settle(d);
    driver_golden(d, "review-40x10-scrolled");
    driver_resize(d, 24, 80);
    driver_settle(d);
    driver_send(d, "y");
    driver_wait_for(d, "change 2 of 3");
    driver_golden(d, "review-second");
    driver_send(d, "n");
    driver_wait_for(d, "change 3 of 3");
    driver_golden(d, "review-guarded");
    driver_send(d, "n");
    driver_wait_for(d, "changed area.c (1 of 2); /undo takes it back");
    assert_true(holds("area.c", both));
    assert_false(holds("area.c", "area %d"));
    assert_true(holds("Makefile", "\tcc area.c"));
    quit(d);
}

static void all_leaves_out_what_runs_unasked(void **state)
{
    (void)state;
    struct driver *d = start_review(24, 80, "false");
    driver_send(d, "a");
    driver_wait_for(d, "change 3 of 3");
    driver_wait_for(d, "this file is run by make; it is never taken with all");
    driver_send(d, "y");
    driver_wait_for(d, "changed area.c, Makefile; /undo takes it back");
    assert_true(holds("area.c", both));
    assert_true(holds("area.c", "area %d"));
    assert_true(holds("Makefile", "-O2"));
    driver_wait_for(d, "ready");
    ask(d, "/undo");
    driver_wait_for(d, "taken back:");
    assert_true(holds("Makefile", makefile));
    assert_false(holds("area.c", both));
    ask(d, "/redo");
    driver_wait_for(d, "made again:");
    assert_true(holds("area.c", both));
    ask(d, "/diff");
    driver_wait_for(d, "+    printf(\"area %d");
    quit(d);
}

static void nothing_is_written_by_escape_and_the_rest_not_by_q(void **state)
{
    (void)state;
    struct driver *d = start_review(24, 80, "false");
    driver_send(d, "y\x1b");
    driver_wait_for(d, "nothing was changed");
    assert_true(holds("area.c", area));
    ask(d, "/edit once more\x0a" "in @area.c\x0a" "and @Makefile");
    driver_wait_for(d, "change 1 of 3: take it?");
    driver_send(d, "y");
    driver_wait_for(d, "change 2 of 3: take it?");
    driver_send(d, "q");
    driver_wait_for(d, "changed area.c (1 of 2)");
    assert_true(holds("area.c", both));
    assert_false(holds("area.c", "area %d"));
    quit(d);
}

/* As with a question: nothing is cut unasked. */
static void a_full_context_is_told_before_a_change(void **state)
{
    (void)state;
    struct driver *d = start_as("scripted", "xterm-256color", (const char *const[]){ "EDITOR=false", NULL }, 24, 80);
    driver_wait_for(d, "ready");
    ask(d, "/add Makefile");
    driver_wait_for(d, "read Makefile");
    ask(d, "/edit too long for it in @area.c");
    driver_wait_for(d, "s summarise what was said");
    driver_send(d, "\x1b");
    driver_wait_for(d, "› /edit too long for it in @area.c");
    driver_send(d, "\r");
    driver_wait_for(d, "s summarise what was said");
    driver_send(d, "d");
    driver_wait_for(d, "change 1 of ");
    driver_send(d, "\x1b");
    driver_wait_for(d, "nothing was changed");
    quit(d);
}

/* For what could not be written nobody is asked. */
static void what_cannot_be_written_is_not_asked_for(void **state)
{
    static const char wide[] = "\xff\xfe" "o\0n\0e\0\n\0";
    static const char *const names[] = { "wide.txt", "broad.txt" };
    char path[128];
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        snprintf(path, sizeof path, "%s/repo/%s", directory, names[i]);
        assert_int_equal(kg_write_file(path, wide, sizeof wide - 1, 0644, NULL), KG_OK);
    }
    struct driver *d = start_as("scripted", "xterm-256color", (const char *const[]){ "EDITOR=false", NULL }, 24, 80);
    driver_wait_for(d, "ready");
    ask(d, "/edit say hello in @wide.txt.");
    driver_wait_for(d, "wide.txt is in UTF-16, which is read but not written");
    ask(d, "/edit ./broad.txt:1 say hello");
    driver_wait_for(d, "broad.txt is in UTF-16, which is read but not written");
    driver_wait_for(d, "ready");
    assert_false(driver_shows(d, "read wide.txt"));
    assert_false(driver_shows(d, "read broad.txt"));
    ask(d, "/edit refuse negative sides in @./area.c as @wide.txt says");
    driver_wait_for(d, "change 1 of ");
    assert_true(driver_shows(d, "area.c  1 of") && !driver_shows(d, "./area.c  1 of"));
    driver_send(d, "y");
    driver_wait_for(d, "change 2 of ");
    driver_send(d, "q");
    driver_wait_for(d, "changed area.c");
    assert_true(holds("area.c", both));
    quit(d);
}

/* Letters of the next question are no answers: not before what was typed is sent or gone. */
static void typing_goes_on_undisturbed(void **state)
{
    (void)state;
    struct driver *d = start_as("scripted", "xterm-256color", (const char *const[]){ "EDITOR=false", NULL }, 24, 80);
    driver_wait_for(d, "ready");
    driver_send(d, "/edit refuse negative sides in @area.c and @Makefile\radd a test, yes");
    driver_wait_for(d, "changes are proposed");
    driver_send(d, " a y");
    driver_wait_for(d, "add a test, yes a y");
    assert_true(holds("area.c", area));
    driver_send(d, "\x15");
    driver_wait_for(d, "change 1 of 3: take it?");
    assert_true(holds("area.c", area));
    usleep(900000); /* keys that come at once may have been meant for the input */
    driver_send(d, "\x1b");
    driver_wait_for(d, "nothing was changed");
    quit(d);
}

/* Nor are those of words to look for. */
static void searching_goes_on_undisturbed(void **state)
{
    static const char *const begins[] = { "/sessions\r/", "\x12", "\x13" }, *const shown[] = { "with maya", "you sent: maya", "/ maya" };
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        struct driver *d = start_as("scripted", "xterm-256color", (const char *const[]){ "EDITOR=false", NULL }, 24, 80);
        driver_wait_for(d, "ready");
        char keys[100];
        snprintf(keys, sizeof keys, "/edit refuse negative sides in @area.c and @Makefile\r%s", begins[i]);
        driver_send(d, keys);
        driver_wait_for(d, "changes are proposed");
        driver_send(d, "maya");
        driver_wait_for(d, shown[i]);
        assert_true(holds("area.c", area));
        driver_send(d, "\x1b");
        if (i == 0) {
            driver_wait_for(d, "Enter open");
            driver_send(d, "q");
        }
        driver_wait_for(d, "change 1 of 3: take it?");
        usleep(900000);
        driver_send(d, "\x1b");
        driver_wait_for(d, "nothing was changed");
        assert_true(holds("area.c", area));
        quit(d);
    }
}

static void a_file_that_changed_meanwhile_is_left_alone(void **state)
{
    (void)state;
    struct driver *d = start_review(24, 80, "false");
    put("Makefile", "all:\n\tby hand\n");
    driver_send(d, "a");
    driver_wait_for(d, "change 3 of 3");
    driver_send(d, "y");
    driver_wait_for(d, "Makefile has changed meanwhile");
    assert_true(holds("area.c", area));
    assert_true(holds("Makefile", "by hand"));
    quit(d);
}

static void a_hunk_is_edited(void **state)
{
    (void)state;
    struct driver *d = start_review(24, 80, "sed -i s/return.0/return-1/");
    driver_send(d, "e");
    driver_wait_for(d, "@@ -2,6 @@ as edited");
    driver_wait_for(d, "change 1 of 3: take it?");
    driver_golden(d, "review-edited");
    assert_true(holds("area.c", area));
    driver_send(d, "y");
    driver_wait_for(d, "change 2 of 3");
    driver_send(d, "q");
    driver_wait_for(d, "changed area.c (1 of 2)");
    assert_true(holds("area.c", "return-1;"));
    quit(d);
}

static void what_was_changed_is_committed_by_git(void **state)
{
    (void)state;
    struct driver *d = start_review(24, 80, "sed -i s/sides/lengths/");
    shell("cd %s/repo && printf '#!/bin/sh\\ntouch hooked\\n' >.git/hooks/pre-commit && chmod +x .git/hooks/pre-commit && echo other >other.txt && git add other.txt%s", "");
    driver_send(d, "ay");
    driver_wait_for(d, "changed area.c, Makefile");
    driver_wait_for(d, "ready");
    ask(d, "/commit");
    driver_wait_for(d, "committed");
    shell("cd %s/repo && test -e hooked && git log -1 --format=%%s | grep -qx 'Refuse negative lengths' && test \"$(git diff-tree --no-commit-id --name-only -r HEAD | tr '\\n' ' ')\" = 'Makefile area.c '%s",
          "");
    ask(d, "/diff");
    driver_wait_for(d, "nothing was changed here that is not committed");
    quit(d);
}

static void a_failing_test_is_fed_back(void **state)
{
    (void)state;
    struct driver *d = start_review(24, 80, "false");
    driver_send(d, "\x1b");
    driver_wait_for(d, "nothing was changed");
    ask(d, "/test echo broken; false");
    driver_wait_for(d, "it failed; /fix feeds the output back");
    ask(d, "/fix");
    driver_wait_for(d, "change 1 of 3: take it?");
    driver_send(d, "\x1b");
    driver_wait_gone(d, "take it?");
    ask(d, "/test true");
    driver_wait_for(d, "it passed");
    quit(d);
}

static void lines_are_written_anew(void **state)
{
    (void)state;
    char wide[200];
    struct driver *d = start_as("scripted", "xterm-256color", (const char *const[]){ "EDITOR=false", NULL }, 24, 80);
    driver_wait_for(d, "ready");
    ask(d, "/edit area.c:3-99 refuse negative sides");
    driver_wait_for(d, "area.c has 19 lines, not 99");
    ask(d, "/edit other:3-4 refuse negative sides");
    driver_wait_for(d, "cannot open other");
    ask(d, "/edit @\"area.c:3-98\" refuse negative sides");
    driver_wait_for(d, "area.c has 19 lines, not 98");
    ask(d, "/edit area.c:3-6 refuse negative sides");
    driver_wait_for(d, "change 1 of 1: take it?");
    driver_golden(d, "review-lines");
    driver_send(d, "y");
    driver_wait_for(d, "changed area.c; /undo takes it back");
    assert_true(holds("area.c", "#include <stdio.h>\n\nint area(int a, int b)\n{\n    return a < 0 ? 0 : a * b;\n}\n\nstatic void unused"));
    snprintf(wide, sizeof wide, "%0158d\u8a9e\n", 0);
    put("wide.c", wide);
    ask(d, "what is @wide.c:1, of which only so much is told");
    driver_wait_for(d, "(wide.c:1 is the part of wide.c that begins with:");
    driver_wait_for(d, "ready");
    assert_false(driver_shows(d, "\\x"));
    quit(d);
}

/* A model that is asked place by place: one after the other, each with its own row of counts, reviewed together. */
static void places_are_asked_about_one_by_one(void **state)
{
    (void)state;
    struct driver *d = start_as("coder", "xterm-256color", (const char *const[]){ "EDITOR=false", NULL }, 24, 100);
    driver_wait_for(d, "ready");
    put("second.c", "int area(int a, int b)\n{\n    return b * a;\n}\n");
    ask(d, "/edit area gives negative sides an area, fix it in @area.c and @second.c");
    driver_wait_for(d, "change 1 of 2: take it?");
    driver_send(d, "a");
    driver_wait_for(d, "changed area.c, second.c; /undo takes it back");
    driver_golden(d, "places");
    assert_true(holds("area.c", "{\n    return a < 0 ? 0 : a * b;\n}\n\nstatic void unused"));
    assert_true(holds("second.c", "{\n    return a < 0 ? 0 : a * b;\n}\n"));
    quit(d);
}

/* The interface with the program itself to open files with. */
static struct driver *start_with_views(void)
{
    char program[2 * KG_PATH_MAX], built[KG_PATH_MAX], models[128];
    const char *out = getenv("O");
    assert_non_null(realpath(out ? out : "build", built));
    snprintf(program, sizeof program, "KEDGE_PROGRAM=%s/kedge", built);
    snprintf(models, sizeof models, "KEDGE_MODELS=%s/models", directory);
    struct driver *d = start_as("scripted", "xterm-256color", (const char *const[]){ program, models, "EDITOR=true", NULL }, 24, 80);
    driver_wait_for(d, "ready");
    return d;
}

static void open_view(struct driver *d, const char *place)
{
    char line[100];
    snprintf(line, sizeof line, "/open %s", place);
    ask(d, line);
    driver_wait_for(d, "no completion");
}

static void leave_view(struct driver *d)
{
    driver_send(d, "\x11");
    driver_wait_for(d, "ready");
}

static void write_in(struct driver *d, const char *place)
{
    open_view(d, place);
    driver_send(d, "// by hand\r\x13");
    driver_wait_for(d, "saved, ");
    leave_view(d);
}

/* By the program itself: what is selected there, and asked for, is reviewed here. */
static void lines_are_selected_in_the_file(void **state)
{
    (void)state;
    struct driver *d = start_with_views();
    open_view(d, "area.c:3");
    driver_send(d, "// far\r\x1b[1;2B\x1b[1;2B\x1b[1;2B\x1b[1;2B\x05");
    driver_wait_for(d, "change lines 4-7:");
    driver_send(d, "refuse negative sides");
    driver_wait_for(d, "refuse negative sides");
    driver_golden(d, "file-change");
    driver_send(d, "\r");
    driver_wait_for(d, "change 1 of 1: take it?");
    driver_send(d, "y");
    driver_wait_for(d, "changed area.c; /undo takes it back");
    driver_wait_for(d, "area.c was changed by hand; /undo takes that back");
    assert_true(holds("area.c", "\n\n// far\nint area(int a, int b)\n{\n    return a < 0 ? 0 : a * b;\n}\n\nstatic void unused"));
    open_view(d, "area.c");
    leave_view(d);
    ask(d, "/open .git");
    driver_wait_for(d, "Enter goes on");
    driver_send(d, "\r");
    driver_wait_for(d, "the file was not opened");
    quit(d);
}

/* As much as what a model has changed, but for what is not kept: secrets, and what kedge does not write. */
static void what_is_saved_in_an_opened_file_was_changed_here(void **state)
{
    (void)state;
    put(".env", "TOKEN=a\n");
    struct driver *d = start_with_views();
    write_in(d, ".env");
    write_in(d, ".kedge.conf");
    ask(d, "/diff");
    driver_wait_for(d, "nothing was changed here that is not committed");
    assert_true(holds(".env", "by hand") && holds(".kedge.conf", "by hand"));
    write_in(d, "area.c:1");
    driver_wait_for(d, "area.c was changed by hand; /undo takes that back");
    write_in(d, "new.c");
    driver_wait_for(d, "new.c was changed by hand");
    ask(d, "/diff");
    driver_wait_for(d, "+++ b/new.c");
    driver_wait_for(d, "+++ b/area.c");
    ask(d, "/undo");
    driver_wait_for(d, "taken back: new.c (by hand)");
    shell("test ! -e %s/repo/new.c%s", "");
    ask(d, "/undo");
    driver_wait_for(d, "taken back: area.c (by hand)");
    assert_true(holds("area.c", area) && !holds("area.c", "by hand"));
    ask(d, "/redo");
    driver_wait_for(d, "made again: area.c (by hand)");
    assert_true(holds("area.c", "// by hand\n#include"));
    quit(d);
}

/* What somebody else wrote while the file was open is neither the person's own nor gone by /undo. */
static void what_others_write_in_an_opened_file_is_theirs(void **state)
{
    (void)state;
    struct driver *d = start_with_views();
    open_view(d, "area.c");
    put("area.c", "by others\n");
    leave_view(d);
    ask(d, "/diff");
    driver_wait_for(d, "nothing was changed here that is not committed");
    open_view(d, "area.c");
    driver_send(d, "// by hand\r\x13");
    driver_wait_for(d, "saved, ");
    put("area.c", "by others again\n");
    leave_view(d);
    ask(d, "/undo");
    driver_wait_for(d, "there is no change to undo");
    open_view(d, "area.c");
    put("area.c", "by others at last\n");
    driver_send(d, "// by hand\r\x13");
    driver_wait_for(d, "somebody else changed this file");
    driver_send(d, "y");
    driver_wait_for(d, "saved, ");
    put("area.c", "by others once more\n");
    driver_send(d, "// again\r\x13");
    driver_wait_for(d, "somebody else changed this file");
    driver_send(d, "y");
    driver_wait_for(d, "saved, ");
    leave_view(d);
    driver_wait_for(d, "area.c was changed by hand; /undo takes that back");
    assert_true(holds("area.c", "// by hand\n// again\nby others again\n"));
    ask(d, "/undo");
    driver_wait_for(d, "taken back: area.c (by hand)");
    assert_true(holds("area.c", "by others once more\n") && !holds("area.c", "// by hand"));
    quit(d);
}

/* It would fail every commit of what was changed here. */
static void what_git_ignores_is_not_kept(void **state)
{
    (void)state;
    put(".gitignore", "*.txt\nforced.txt\n");
    put("forced.txt", "tracked\n");
    shell("cd %s/repo && git add -f forced.txt && git commit -q -m second%s", "");
    struct driver *d = start_with_views();
    write_in(d, "notes.txt");
    write_in(d, "forced.txt");
    driver_wait_for(d, "forced.txt was changed by hand");
    write_in(d, "real.c");
    driver_wait_for(d, "real.c was changed by hand");
    assert_false(driver_shows(d, "notes.txt was changed by hand"));
    ask(d, "/commit");
    driver_wait_for(d, "committed");
    shell("cd %s/repo && test \"$(git diff-tree --no-commit-id --name-only -r HEAD | tr '\\n' ' ')\" = 'forced.txt real.c '%s", "");
    quit(d);
}

static void what_cannot_be_noted_stays_as_it_was_saved(void **state)
{
    (void)state;
    struct driver *d = start_with_views();
    shell("rm -rf %s/changes && touch %1$s/changes%s", "");
    write_in(d, "area.c");
    driver_wait_for(d, "area.c stays as it was saved, but /undo cannot take that back:");
    assert_true(holds("area.c", "// by hand\n#include"));
    quit(d);
}

static void a_file_is_opened_as_this_kedge_was(void **state)
{
    (void)state;
    char program[2 * KG_PATH_MAX];
    put("program", "#!/bin/sh\necho \"$@\" >\"${0%/*}/said\"\necho it was opened\nread -r _\n");
    shell("chmod +x %s/repo/program%s", "");
    snprintf(program, sizeof program, "KEDGE_PROGRAM=%s/repo/program", directory);
    struct driver *d = start_as("scripted", "xterm-256color", (const char *const[]){ program, "KEYS_AND_VALUES=q8_0", NULL }, 24, 80);
    driver_wait_for(d, "ready");
    ask(d, "/open area.c");
    driver_wait_for(d, "it was opened");
    driver_send(d, "\r");
    driver_wait_for(d, "ready");
    assert_true(holds("said", " -t 2 --set cache.kv=q8_0 --set screen.theme=dark -- "));
    quit(d);
}

#define REVIEW_TEST(f) cmocka_unit_test_setup_teardown(f, make_repository, remove_repository)

int main(int argc, char **argv)
{
    if (argc > 2)
        return run_in_repository(argv[1], argv[2]);
    const struct CMUnitTest tests[] = {
        REVIEW_TEST(a_change_looks_the_same_on_every_terminal),
        REVIEW_TEST(a_file_is_opened_as_this_kedge_was),
        REVIEW_TEST(what_is_saved_in_an_opened_file_was_changed_here),
        REVIEW_TEST(what_others_write_in_an_opened_file_is_theirs),
        REVIEW_TEST(what_git_ignores_is_not_kept),
        REVIEW_TEST(what_cannot_be_noted_stays_as_it_was_saved),
        REVIEW_TEST(changes_are_asked_about_in_lines),
        REVIEW_TEST(a_change_is_shown_hunk_by_hunk),
        REVIEW_TEST(all_leaves_out_what_runs_unasked),
        REVIEW_TEST(nothing_is_written_by_escape_and_the_rest_not_by_q),
        REVIEW_TEST(a_full_context_is_told_before_a_change),
        REVIEW_TEST(what_cannot_be_written_is_not_asked_for),
        REVIEW_TEST(typing_goes_on_undisturbed),
        REVIEW_TEST(searching_goes_on_undisturbed),
        REVIEW_TEST(a_file_that_changed_meanwhile_is_left_alone),
        REVIEW_TEST(a_hunk_is_edited),
        REVIEW_TEST(what_was_changed_is_committed_by_git),
        REVIEW_TEST(a_failing_test_is_fed_back),
        REVIEW_TEST(lines_are_written_anew),
        REVIEW_TEST(places_are_asked_about_one_by_one),
        REVIEW_TEST(lines_are_selected_in_the_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
