/* Writing beneath a repository, and its journal: nothing outside, nothing that changed meanwhile, all of it undone and done again. */
#include <fcntl.h>
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

#include "index_repo.h"
#include "tui/changes/hunks.h"
#include "tui/changes/journal.h"

struct place {
    struct index_repo repo;
    struct kg_worktree *tree;
    struct kg_journal *journal;
};
static struct place at;
static struct kg_error err;

static int make_place(void **state)
{
    (void)state;
    index_repo_make(&at.repo);
    assert_int_equal(kg_worktree_open(at.repo.root, &at.tree, &err), KG_OK);
    assert_int_equal(kg_journal_open(at.repo.cache, at.repo.root, at.tree, &at.journal, &err), KG_OK);
    return 0;
}

static int remove_place(void **state)
{
    (void)state;
    kg_journal_close(at.journal);
    kg_worktree_close(at.tree);
    index_repo_remove(&at.repo);
    return 0;
}

static void assert_holds(const char *path, const char *text)
{
    char *now = NULL;
    size_t length = 0;
    assert_int_equal(kg_worktree_read(at.tree, path, 1 << 20, &now, &length, &err), KG_OK);
    assert_string_equal(now, text);
    free(now);
}

static void assert_gone(const char *path)
{
    char *now = NULL;
    size_t length = 0;
    assert_int_equal(kg_worktree_read(at.tree, path, 1 << 20, &now, &length, &err), KG_ERR_NOT_FOUND);
}

static enum kg_status put(const char *path, const char *before, const char *after)
{
    return kg_worktree_write(at.tree, path, before, before ? strlen(before) : 0, after, strlen(after), &err);
}

static void content_is_replaced_and_the_mode_kept(void **state)
{
    (void)state;
    struct stat st;
    char path[512];
    index_repo_write(&at.repo, "a/run.sh", "old\n");
    index_repo_sh(&at.repo, "chmod 750 a/run.sh");
    assert_int_equal(put("a/run.sh", "old\n", "new\n"), KG_OK);
    assert_holds("a/run.sh", "new\n");
    snprintf(path, sizeof path, "%s/a/run.sh", at.repo.root);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0750);
    index_repo_sh(&at.repo, "test \"$(ls -A a)\" = run.sh"); /* no temporary file is left */
}

static void what_changed_meanwhile_is_not_overwritten(void **state)
{
    (void)state;
    index_repo_write(&at.repo, "a.txt", "theirs\n");
    assert_int_equal(put("a.txt", "old\n", "new\n"), KG_ERR_CHANGED);
    assert_int_equal(put("a.txt", NULL, "new\n"), KG_ERR_CHANGED);
    assert_int_equal(put("b.txt", "old\n", "new\n"), KG_ERR_CHANGED);
    assert_holds("a.txt", "theirs\n");
    assert_gone("b.txt");
    assert_int_equal(kg_worktree_remove(at.tree, "a.txt", "old\n", 4, &err), KG_ERR_CHANGED);
    assert_holds("a.txt", "theirs\n");
}

static const char *next_name(void *ctx)
{
    const char *const **names = ctx;
    return **names ? *(*names)++ : NULL;
}

static void utf16_is_not_written(void **state)
{
    (void)state;
    static const char bytes[] = "\xff\xfe" "o\0l\0d\0";
    char *now = NULL;
    size_t length;
    index_repo_write_bytes(&at.repo, "wide.txt", bytes, sizeof bytes - 1);
    assert_int_equal(kg_worktree_read(at.tree, "wide.txt", 100, &now, &length, &err), KG_ERR_UNSUPPORTED);
    assert_null(now);
    assert_int_equal(put("wide.txt", "old", "new"), KG_ERR_UNSUPPORTED);
    assert_non_null(strstr(err.text, "wide.txt is in UTF-16"));
    assert_int_equal(kg_worktree_write(at.tree, "wide.txt", bytes, sizeof bytes - 1, "new", 3, &err), KG_ERR_UNSUPPORTED);
    assert_int_equal(kg_worktree_check(at.tree, "wide.txt", "old", 3, &err), KG_ERR_UNSUPPORTED);
    assert_int_equal(kg_worktree_remove(at.tree, "wide.txt", bytes, sizeof bytes - 1, &err), KG_ERR_UNSUPPORTED);
    assert_int_equal(kg_worktree_admits(at.tree, "wide.txt", &err), KG_ERR_UNSUPPORTED);
    assert_int_equal(kg_worktree_admits(at.tree, ".git/config", &err), KG_ERR_UNSUPPORTED);
    assert_int_equal(kg_worktree_admits(at.tree, "not/there.txt", &err), KG_OK);
    const char *const refused[] = { "wide.txt", ".git/config", NULL }, *const some[] = { "wide.txt", "not/there.txt", ".git/config", NULL };
    const char *const *names = refused;
    assert_int_equal(kg_worktree_admits_any(at.tree, next_name, &names, &err), KG_ERR_UNSUPPORTED);
    assert_non_null(strstr(err.text, "wide.txt")); /* what is said of the first */
    assert_null(*names);
    assert_int_equal(kg_worktree_admits_any(at.tree, next_name, &names, &err), KG_OK);
    names = some;
    assert_int_equal(kg_worktree_admits_any(at.tree, next_name, &names, &err), KG_OK);
    index_repo_sh(&at.repo, "test $(wc -c <wide.txt) = 8");
}

static void new_files_get_their_folders(void **state)
{
    (void)state;
    assert_int_equal(put("x/y/z.txt", NULL, "deep\n"), KG_OK);
    assert_holds("x/y/z.txt", "deep\n");
}

static void links_and_devices_are_not_written(void **state)
{
    (void)state;
    index_repo_sh(&at.repo, "mkdir ../outside && echo secret >../outside/f && ln -s ../outside out && ln -s ../outside/f link && mkfifo pipe && mkdir dir && "
                            "ln -s /dev/null null && ln -s nowhere dangling");
    static const char *const paths[] = { "out/f", "out/new", "link", "pipe", "dir", "null", "dangling", NULL };
    for (const char *const *path = paths; *path; path++) {
        assert_int_equal(kg_worktree_guard(at.tree, *path, NULL), KG_GUARD_NEVER);
        assert_int_equal(put(*path, NULL, "x\n"), KG_ERR_UNSUPPORTED);
        assert_int_equal(put(*path, "secret\n", "x\n"), KG_ERR_UNSUPPORTED);
    }
    index_repo_sh(&at.repo, "grep -q secret ../outside/f && test \"$(ls ../outside)\" = f && test ! -e nowhere && test -p pipe && test -L null");
}

static void git_directories_are_not_written_under_any_name(void **state)
{
    (void)state;
    index_repo_sh(&at.repo, "git init -q --bare bare && mkdir sub && cp -r .git sub/odd-name && git -c core.hooksPath=/dev/null commit -q --allow-empty -m x && git worktree add -q wt");
    static const char *const paths[] = { ".git/config", ".GIT/hooks/x", "bare/hooks/pre-commit", "bare/config", "sub/odd-name/config", "wt/.git", ".git", "sub/HEAD", NULL };
    for (const char *const *path = paths; *path; path++) {
        assert_int_equal(kg_worktree_guard(at.tree, *path, NULL), KG_GUARD_NEVER);
        assert_int_equal(put(*path, NULL, "x\n"), KG_ERR_UNSUPPORTED);
    }
    index_repo_sh(&at.repo, "test ! -e bare/hooks/pre-commit && test ! -e .git/hooks/x && ! grep -q x sub/HEAD");
}

static void what_runs_unasked_is_asked_about(void **state)
{
    (void)state;
    static const char *const asked[] = { "Makefile", "makefile.am", "sub/GNUmakefile", "a.mk", ".github/workflows/x.yml", ".GITHUB/x", ".gitlab-ci.yml", ".ci/run", "AGENTS.md", "agents.md",
                                         "CLAUDE.md", "sub/CLAUDE.md", ".envrc", ".gitattributes", ".gitmodules", ".gitignore", "package.json", "Makefile. ", "setup.py", "build.rs", NULL };
    static const char *const free_ones[] = { "main.c", "src/make.c", "README.md", "github/x.yml", "notes/agents.txt", "a/Make", NULL };
    const char *why;
    for (const char *const *path = asked; *path; path++) {
        assert_int_equal(kg_guard_of_path(*path, &why), KG_GUARD_ASK);
        assert_true(why[0]);
    }
    for (const char *const *path = free_ones; *path; path++)
        assert_int_equal(kg_guard_of_path(*path, &why), KG_GUARD_NONE);
    index_repo_write(&at.repo, "tool", "#!/bin/sh\n");
    assert_int_equal(kg_worktree_guard(at.tree, "tool", NULL), KG_GUARD_NONE);
    index_repo_sh(&at.repo, "chmod +x tool && ln tool tool2 && chmod -x tool2");
    assert_int_equal(kg_worktree_guard(at.tree, "tool", &why), KG_GUARD_ASK);
}

static const struct kg_journal_file both[] = {
    { .path = "a.txt", .before = "a\n", .before_length = 2, .after = "A\n", .after_length = 2 },
    { .path = "n/new.txt", .before = NULL, .after = "N\n", .after_length = 2 },
};

static void count_path(void *ctx, const char *path)
{
    assert_non_null(path);
    ++*(unsigned *)ctx;
}

static void changes_are_undone_and_done_again_by_another_process(void **state)
{
    (void)state;
    struct kg_journal_done done;
    unsigned paths = 0;
    index_repo_write(&at.repo, "a.txt", "a\n");
    assert_int_equal(kg_journal_apply(at.journal, "two files", both, 2, &err), KG_OK);
    assert_holds("a.txt", "A\n");
    assert_holds("n/new.txt", "N\n");
    kg_journal_close(at.journal);
    assert_int_equal(kg_journal_open(at.repo.cache, at.repo.root, at.tree, &at.journal, &err), KG_OK);
    assert_int_equal(kg_journal_undo(at.journal, count_path, &paths, &done, &err), KG_OK);
    assert_string_equal(done.title, "two files");
    assert_int_equal(done.files, 2);
    assert_int_equal(paths, 2);
    assert_holds("a.txt", "a\n");
    assert_gone("n");
    assert_int_equal(kg_journal_undo(at.journal, NULL, NULL, &done, &err), KG_ERR_NOT_FOUND);
    assert_int_equal(kg_journal_redo(at.journal, NULL, NULL, &done, &err), KG_OK);
    assert_holds("a.txt", "A\n");
    assert_holds("n/new.txt", "N\n");
    assert_int_equal(kg_journal_redo(at.journal, NULL, NULL, &done, &err), KG_ERR_NOT_FOUND);
}

/* What somebody else wrote, and what was undone before is gone by that as by any other change. */
static void what_is_noted_is_undone_as_well(void **state)
{
    (void)state;
    struct kg_journal_done done;
    const struct kg_journal_file by_hand[] = { { .path = "a.txt", .before = "a\n", .before_length = 2, .after = "by hand\n", .after_length = 8 },
                                               { .path = "fresh.txt", .before = NULL, .after = "", .after_length = 0 } };
    index_repo_write(&at.repo, "a.txt", "a\n");
    assert_int_equal(kg_journal_apply(at.journal, "two files", both, 2, &err), KG_OK);
    assert_int_equal(kg_journal_undo(at.journal, NULL, NULL, &done, &err), KG_OK);
    index_repo_write(&at.repo, "a.txt", "by hand\n");
    index_repo_write(&at.repo, "fresh.txt", "");
    assert_int_equal(kg_journal_note(at.journal, "noted", by_hand, 2, &err), KG_OK);
    assert_holds("a.txt", "by hand\n");
    assert_int_equal(kg_journal_redo(at.journal, NULL, NULL, &done, &err), KG_ERR_NOT_FOUND);
    assert_int_equal(kg_journal_undo(at.journal, NULL, NULL, &done, &err), KG_OK);
    assert_string_equal(done.title, "noted");
    assert_holds("a.txt", "a\n");
    assert_gone("fresh.txt");
    assert_int_equal(kg_journal_redo(at.journal, NULL, NULL, &done, &err), KG_OK);
    assert_holds("a.txt", "by hand\n");
    assert_holds("fresh.txt", "");
}

static void nothing_is_undone_where_a_file_changed(void **state)
{
    (void)state;
    struct kg_journal_done done;
    index_repo_write(&at.repo, "a.txt", "a\n");
    assert_int_equal(kg_journal_apply(at.journal, "two files", both, 2, &err), KG_OK);
    index_repo_write(&at.repo, "a.txt", "by hand\n");
    assert_int_equal(kg_journal_undo(at.journal, NULL, NULL, &done, &err), KG_ERR_CHANGED);
    assert_holds("a.txt", "by hand\n");
    assert_holds("n/new.txt", "N\n");
    index_repo_write(&at.repo, "a.txt", "A\n");
    assert_int_equal(kg_journal_undo(at.journal, NULL, NULL, &done, &err), KG_OK);
}

/* Only what was made goes, and only when it is empty. */
static void folders_go_with_their_files(void **state)
{
    (void)state;
    struct kg_journal_done done;
    const struct kg_journal_file deep = { .path = "old/one/two/new.txt", .after = "N\n", .after_length = 2 };
    index_repo_sh(&at.repo, "mkdir old");
    assert_int_equal(kg_journal_apply(at.journal, "deep", &deep, 1, &err), KG_OK);
    assert_holds("old/one/two/new.txt", "N\n");
    index_repo_write(&at.repo, "old/one/theirs.txt", "kept\n");
    assert_int_equal(kg_journal_undo(at.journal, NULL, NULL, &done, &err), KG_OK);
    assert_gone("old/one/two");
    assert_holds("old/one/theirs.txt", "kept\n");
    index_repo_sh(&at.repo, "rm old/one/theirs.txt");
    assert_int_equal(kg_journal_redo(at.journal, NULL, NULL, &done, &err), KG_OK);
    assert_int_equal(kg_journal_undo(at.journal, NULL, NULL, &done, &err), KG_OK);
    assert_gone("old/one");
    index_repo_sh(&at.repo, "test -d old");
}

static void a_change_that_fails_costs_no_redo(void **state)
{
    (void)state;
    struct kg_journal_done done;
    /* the second finds what the first has made */
    const struct kg_journal_file twice[] = { { .path = "fresh/new.txt", .after = "N\n", .after_length = 2 }, { .path = "fresh/new.txt", .after = "M\n", .after_length = 2 } };
    index_repo_write(&at.repo, "a.txt", "a\n");
    assert_int_equal(kg_journal_apply(at.journal, "one", both, 1, &err), KG_OK);
    assert_int_equal(kg_journal_undo(at.journal, NULL, NULL, &done, &err), KG_OK);
    assert_int_equal(kg_journal_apply(at.journal, "fails", twice, 2, &err), KG_ERR_CHANGED);
    assert_gone("fresh");
    assert_int_equal(kg_journal_redo(at.journal, NULL, NULL, &done, &err), KG_OK);
    assert_holds("a.txt", "A\n");
    assert_int_equal(kg_journal_undo(at.journal, NULL, NULL, &done, &err), KG_OK);
    assert_int_equal(kg_journal_apply(at.journal, "works", twice, 1, &err), KG_OK);
    assert_int_equal(kg_journal_redo(at.journal, NULL, NULL, &done, &err), KG_ERR_NOT_FOUND);
}

static void all_files_or_none(void **state)
{
    (void)state;
    index_repo_write(&at.repo, "a.txt", "a\n");
    index_repo_write(&at.repo, "n", "a file where a folder is needed\n");
    assert_int_not_equal(kg_journal_apply(at.journal, "two files", both, 2, &err), KG_OK);
    assert_holds("a.txt", "a\n");
    struct kg_journal_done done;
    assert_int_equal(kg_journal_undo(at.journal, NULL, NULL, &done, &err), KG_ERR_NOT_FOUND);
}

/* A process died behind the first file: what it did is undone, what it did not do is left. */
static void half_a_set_is_undone(void **state)
{
    (void)state;
    struct kg_journal_done done;
    index_repo_write(&at.repo, "a.txt", "a\n");
    assert_int_equal(kg_journal_apply(at.journal, "two files", both, 2, &err), KG_OK);
    index_repo_sh(&at.repo, "rm n/new.txt");
    assert_int_equal(kg_journal_undo(at.journal, NULL, NULL, &done, &err), KG_OK);
    assert_holds("a.txt", "a\n");
    assert_gone("n/new.txt");
}

static int first_only(void *ctx, const struct kg_journal_file *file)
{
    snprintf(ctx, 200, "%s: %s -> %s", file->path, file->before ? file->before : "(none)", file->after);
    return 1;
}

static void what_is_not_committed_is_told(void **state)
{
    (void)state;
    char told[200] = "";
    const struct kg_journal_file again = { .path = "a.txt", .before = "A\n", .before_length = 2, .after = "AA\n", .after_length = 3 };
    index_repo_write(&at.repo, "a.txt", "a\n");
    assert_int_equal(kg_journal_apply(at.journal, "one", both, 1, &err), KG_OK);
    assert_int_equal(kg_journal_apply(at.journal, "again", &again, 1, &err), KG_OK);
    assert_int_equal(kg_journal_each(at.journal, first_only, told, &err), KG_OK);
    assert_string_equal(told, "a.txt: a\n -> AA\n");
    assert_int_equal(kg_journal_committed(at.journal, &err), KG_OK);
    told[0] = '\0';
    assert_int_equal(kg_journal_each(at.journal, first_only, told, &err), KG_OK);
    assert_string_equal(told, "");
}

/* Whatever comes back from an editor is shown as what it does to the file. */
static void an_edited_hunk_is_compared_again(void **state)
{
    (void)state;
    static const struct {
        const char *edited, *origins;
    } cases[] = { { "one\nTWO\nthree\n", " -+ " }, { "one\n2\nand\nthree\n", " -++ " }, { "one\ntwo\nthree\n", "   " }, { "", "---" }, { "one\ntwo\nthree", "  -+" } };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct kg_hunks *hunks;
        size_t length;
        char origins[16] = "";
        assert_int_equal(kg_hunks_of("one\ntwo\nthree\n", 14, "one\nTwo\nthree\n", 14, &hunks, NULL), KG_OK);
        assert_true(kg_hunk_set_after(hunks, 0, cases[i].edited, strlen(cases[i].edited)));
        assert_true(kg_hunk_lines(hunks, 0) < sizeof origins);
        for (size_t k = 0; k < kg_hunk_lines(hunks, 0); k++)
            origins[k] = kg_hunk_line(hunks, 0, k).origin;
        assert_string_equal(origins, cases[i].origins);
        assert_string_equal(kg_hunk_header(hunks, 0), "@@ -1,3 @@ as edited");
        char *made = kg_hunks_apply(hunks, (const bool[]){ true }, &length);
        assert_non_null(made);
        assert_int_equal(length, strlen(cases[i].edited));
        assert_memory_equal(made, cases[i].edited, length);
        free(made);
        kg_hunks_free(hunks);
    }
}

/* Nothing to show, but something to take. */
static void an_empty_file_that_is_made_is_one_change(void **state)
{
    (void)state;
    struct kg_hunks *hunks;
    size_t length = 1;
    assert_int_equal(kg_hunks_of(NULL, 0, "", 0, &hunks, NULL), KG_OK);
    assert_int_equal(kg_hunk_count(hunks), 1);
    assert_int_equal(kg_hunk_lines(hunks, 0), 0);
    assert_non_null(kg_hunk_header(hunks, 0));
    char *made = kg_hunks_apply(hunks, (const bool[]){ true }, &length);
    assert_non_null(made);
    assert_int_equal(length, 0);
    free(made);
    kg_hunks_free(hunks);
}

int main(void)
{
#define IN_PLACE(test) cmocka_unit_test_setup_teardown(test, make_place, remove_place)
    const struct CMUnitTest tests[] = {
        IN_PLACE(content_is_replaced_and_the_mode_kept),
        IN_PLACE(what_changed_meanwhile_is_not_overwritten),
        IN_PLACE(utf16_is_not_written),
        IN_PLACE(new_files_get_their_folders),
        IN_PLACE(links_and_devices_are_not_written),
        IN_PLACE(git_directories_are_not_written_under_any_name),
        IN_PLACE(what_runs_unasked_is_asked_about),
        IN_PLACE(changes_are_undone_and_done_again_by_another_process),
        IN_PLACE(what_is_noted_is_undone_as_well),
        IN_PLACE(nothing_is_undone_where_a_file_changed),
        IN_PLACE(all_files_or_none),
        IN_PLACE(folders_go_with_their_files),
        IN_PLACE(a_change_that_fails_costs_no_redo),
        IN_PLACE(half_a_set_is_undone),
        IN_PLACE(what_is_not_committed_is_told),
        cmocka_unit_test(an_empty_file_that_is_made_is_one_change),
        cmocka_unit_test(an_edited_hunk_is_compared_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
