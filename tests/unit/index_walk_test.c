/* Worktrees of every kind, and such as are made to do harm. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "index_repo.h"
#include "repo-index/beneath.h"

static struct index_repo repo;

static int set_up(void **state)
{
    (void)state;
    index_repo_make(&repo);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    index_repo_remove(&repo);
    return 0;
}

struct listing {
    unsigned count;
    char paths[512][300];
};

static int on_path(void *ctx, const char *path)
{
    struct listing *listing = ctx;
    assert_true(listing->count < 512);
    snprintf(listing->paths[listing->count++], 300, "%s", path);
    return 0;
}

static const struct listing *list(struct kg_index_counts *counts)
{
    static struct listing listing;
    struct kg_error err;
    struct kg_index *index = index_repo_open(&repo);
    *counts = index_repo_refresh(index);
    listing.count = 0;
    assert_int_equal(kg_index_complete(index, "", 512, on_path, &listing, &err), KG_OK);
    assert_int_equal(listing.count, counts->files);
    kg_index_close(index);
    return &listing;
}

static bool has(const struct listing *listing, const char *path)
{
    for (unsigned i = 0; i < listing->count; i++)
        if (strcmp(listing->paths[i], path) == 0)
            return true;
    return false;
}

static void submodules_are_descended_with_their_own_rules(void **state)
{
    (void)state;
    struct kg_index_counts counts;
    index_repo_sh(&repo, "git init -q ../inner && cd ../inner && echo '*.tmp' > .gitignore && echo x > in.c && echo x > in.log && git add . && git commit -qm i");
    index_repo_sh(&repo, "git init -q ../outer && cd ../outer && echo x > mid.c && git add . && git submodule -q add ../inner deep/inner && git commit -qm o");
    index_repo_write(&repo, ".gitignore", "*.log\n");
    index_repo_write(&repo, "top.log", "x");
    index_repo_sh(&repo, "git submodule -q add ../outer lib/outer && git submodule -q update --init --recursive && git add . && git commit -qm t");
    index_repo_sh(&repo, "touch lib/outer/deep/inner/new.tmp lib/outer/new.log lib/outer/new.tmp");
    index_repo_sh(&repo, "echo new.log > .git/modules/lib/outer/info/exclude");
    const struct listing *listing = list(&counts);
    assert_int_equal(counts.submodules, 2);
    assert_true(has(listing, "lib/outer/mid.c"));
    assert_true(has(listing, "lib/outer/deep/inner/in.c"));
    assert_true(has(listing, "lib/outer/deep/inner/in.log")); /* the rules of outer repositories end at their submodules */
    assert_true(has(listing, "lib/outer/new.tmp"));
    assert_false(has(listing, "lib/outer/new.log"));
    assert_false(has(listing, "lib/outer/deep/inner/new.tmp"));
    assert_false(has(listing, "top.log"));
    for (unsigned i = 0; i < listing->count; i++)
        assert_null(strstr(listing->paths[i], ".git/"));
    /* a submodule is a repository of its own, too */
    char below[400], root[KG_PATH_MAX];
    snprintf(below, sizeof below, "%s/lib/outer/deep", repo.root);
    assert_int_equal(kg_repo_root(below, root, NULL), KG_OK);
    assert_string_equal(root + strlen(repo.root), "/lib/outer");
}

static void linked_worktrees_have_their_own_index(void **state)
{
    (void)state;
    struct kg_index_counts counts;
    char linked[160], root[KG_PATH_MAX];
    index_repo_write(&repo, "a.c", "int a;");
    index_repo_write(&repo, "forced.o", "x");
    index_repo_sh(&repo, "git add . && git commit -qm 1 && echo '*.o' > .git/info/exclude && git worktree add -q ../linked && touch ../linked/b.c ../linked/b.o");
    snprintf(linked, sizeof linked, "%.140s/linked", repo.base);
    assert_int_equal(kg_repo_root(linked, root, NULL), KG_OK);
    assert_string_equal(root, linked);
    memcpy(repo.root, linked, sizeof repo.root);
    const struct listing *listing = list(&counts);
    assert_int_equal(listing->count, 3);
    assert_true(has(listing, "a.c") && has(listing, "b.c") && has(listing, "forced.o"));
    assert_int_equal(counts.ignored, 1);
    snprintf(repo.root, sizeof repo.root, "%s/tree", repo.base);
}

static void other_repositories_and_git_directories_are_not_entered(void **state)
{
    (void)state;
    struct kg_index_counts counts;
    index_repo_sh(&repo, "git init -q other && touch other/x.c && git init -q --bare bare.git && git init -q --separate-git-dir=odd sep && touch sep/y.c");
    index_repo_sh(&repo, "mkdir .GIT 'git~1' '.git ' && touch .GIT/a 'git~1/b' '.git /c' && mkdir sub && echo 'gitdir: /etc' > sub/.git && touch sub/z.c");
    index_repo_write(&repo, "a.c", "int a;");
    const struct listing *listing = list(&counts);
    assert_int_equal(listing->count, 1);
    assert_true(has(listing, "a.c"));
    assert_int_equal(counts.ignored, 8); /* other bare.git odd sep .GIT git~1 ".git " sub */
}

static void a_submodule_cannot_lead_out(void **state)
{
    (void)state;
    struct kg_index_counts counts;
    index_repo_sh(&repo, "git init -q ../victim && cd ../victim && echo '!*.c' > .git/info/exclude && echo x > secretplan.c && git add . && git commit -qm v");
    index_repo_sh(&repo, "git init -q ../inner && cd ../inner && echo x > in.c && git add . && git commit -qm i");
    index_repo_sh(&repo, "git submodule -q add ../inner sub && git commit -qm s && rm sub/.git && echo \"gitdir: $(cd ../victim && pwd)/.git\" > sub/.git");
    index_repo_sh(&repo, "echo '*.c' > sub/.gitignore && ln -s ../victim sub/out && ln -s ../../victim/secretplan.c sub/plan.c && ln -s / slash");
    const struct listing *listing = list(&counts);
    for (unsigned i = 0; i < listing->count; i++)
        assert_null(strstr(listing->paths[i], "secretplan"));
    assert_false(has(listing, "sub/in.c")); /* tracked in the true repository only, which its .git no longer names */
    assert_true(counts.links >= 2);
}

static void the_configuration_of_a_repository_does_nothing(void **state)
{
    (void)state;
    struct kg_index_counts counts;
    char root[KG_PATH_MAX], below[300];
    index_repo_write(&repo, "a.txt", "plain\r\ntext $Id$\r\n");
    index_repo_write(&repo, "run.sh", "#!/bin/sh\ntouch \"$(dirname \"$0\")/../ran\"\n");
    index_repo_sh(&repo, "chmod +x run.sh && git add . && git commit -qm 1 && mkdir below && touch below/b.txt");
    index_repo_write(&repo, ".gitattributes", "* filter=evil diff=evil merge=evil ident text eol=lf\n");
    index_repo_sh(&repo, "git config core.fsmonitor $PWD/run.sh && git config core.hooksPath $PWD && git config filter.evil.clean $PWD/run.sh && "
                         "git config filter.evil.smudge $PWD/run.sh && git config diff.external $PWD/run.sh && git config core.pager $PWD/run.sh && "
                         "git config core.excludesFile /dev/zero && git config core.worktree / && git config include.path /dev/zero && "
                         "mkdir -p .git/hooks && cp run.sh .git/hooks/post-index-change");
    snprintf(below, sizeof below, "%s/below", repo.root);
    assert_int_equal(kg_repo_root(below, root, NULL), KG_OK);
    assert_string_equal(root, repo.root);
    const struct listing *listing = list(&counts);
    assert_int_equal(listing->count, 4);
    assert_true(has(listing, "a.txt"));
    index_repo_sh(&repo, "test ! -e ../ran");
}

static void broken_git_files_are_survived(void **state)
{
    (void)state;
    struct kg_index_counts counts;
    index_repo_write(&repo, "a.c", "int a;");
    index_repo_write(&repo, "b.o", "object");
    index_repo_sh(&repo, "git add . && git commit -qm 1 && echo '*.o' > .gitignore");
    list(&counts);
    assert_int_equal(counts.files, 3);
    static const char *const damage[] = {
        "head -c 40 .git/index > .git/i && mv .git/i .git/index",
        "head -c 5000 /dev/urandom > .git/index",
        "printf 'DIRC\\0\\0\\0\\2\\377\\377\\377\\377' > .git/index",
        "rm .git/index && mkfifo .git/index",
        "rm .git/index && ln -s /dev/zero .git/index",
        "rm .git/index && mkfifo .git/info/fifo && mv .git/info/fifo .git/info/exclude",
        "rm .git/info/exclude && ln -s /dev/zero .git/info/exclude",
        "rm .gitignore && mkfifo .gitignore && echo '*.o' > ../rules && rm .git/info/exclude && cp ../rules .git/info/exclude",
        "rm .gitignore && ln -s /dev/zero .gitignore",
        "rm .gitignore && ln -s ../rules .gitignore",
    };
    for (size_t i = 0; i < sizeof damage / sizeof damage[0]; i++) {
        index_repo_sh(&repo, "%s", damage[i]);
        const struct listing *listing = list(&counts);
        assert_true(has(listing, "a.c"));
        assert_false(has(listing, "b.o"));
    }
    index_repo_sh(&repo, "rm -r .git && echo 'gitdir: nowhere' > .git");
    assert_int_equal(kg_repo_root(repo.root, (char[KG_PATH_MAX]){ 0 }, NULL), KG_ERR_NOT_FOUND);
}

static void odd_names_are_files_too(void **state)
{
    (void)state;
    struct kg_index_counts counts;
    char longest[300];
    memset(longest, 'n', 255);
    longest[255] = '\0';
    static const char *const odd[] = { "new\nline.txt", "\xff\xfe.txt", "tab\t.txt", "esc\x1b[2J.txt", "\xe2\x80\xae" "bidi.txt", "-rf", " ", "a\\b", "quote\"'" };
    index_repo_write(&repo, longest, "longest name");
    for (size_t i = 0; i < sizeof odd / sizeof odd[0]; i++)
        index_repo_write(&repo, odd[i], "oddity");
    const struct listing *listing = list(&counts);
    assert_int_equal(listing->count, 10);
    assert_true(has(listing, longest));
    for (size_t i = 0; i < sizeof odd / sizeof odd[0]; i++)
        assert_true(has(listing, odd[i]));
    struct kg_index *index = index_repo_open(&repo);
    struct index_found found;
    index_repo_search(index, "oddity", &found);
    assert_int_equal(found.count, 9);
    assert_true(index_found_has(&found, "esc\\x1b[2J.txt"));
    assert_true(index_found_has(&found, "\\xff\\xfe.txt"));
    for (unsigned i = 0; i < found.count; i++)
        for (const char *p = found.paths[i]; *p; p++)
            assert_true((unsigned char)*p >= 0x20 && *p != 0x7f);
    char *text;
    size_t length;
    bool secret;
    for (size_t i = 0; i < sizeof odd / sizeof odd[0]; i++) {
        assert_int_equal(kg_index_read(index, odd[i], 100, &text, &length, &secret, NULL), KG_OK);
        assert_string_equal(text, "oddity");
        free(text);
    }
    kg_index_close(index);
}

static void deep_trees_end_where_paths_end(void **state)
{
    (void)state;
    struct kg_index_counts counts;
    index_repo_sh(&repo, "d=$(printf 'd%%.0s' $(seq 200)); i=0; while [ $i -lt 40 ]; do echo deep > f.txt; mkdir $d; cd -P $d 2>/dev/null || cd $d; i=$((i+1)); done");
    list(&counts);
    assert_true(counts.files >= 19 && counts.files <= 21); /* 20 x 201 bytes fit into a path */
    assert_true(counts.unreadable >= 1);
    index_repo_sh(&repo, "rm -rf d*");
    index_repo_sh(&repo, "i=0; p=.; while [ $i -lt 300 ]; do p=$p/x; i=$((i+1)); done; mkdir -p $p && echo bottom > $p/f.txt");
    list(&counts);
    assert_int_equal(counts.files, 2); /* and the f.txt on top */
}

/* Not as root, whom permissions do not stop: in a process of its own. */
static void unreadable_places_are_counted(void **state)
{
    (void)state;
    index_repo_write(&repo, "open/a.c", "int a;");
    index_repo_write(&repo, "closed/b.c", "int b;");
    index_repo_write(&repo, "shut.c", "int c;");
    index_repo_sh(&repo, "mkdir ../cache && chmod 777 ../cache && chmod 711 .. && chmod -R a+rX . && chmod 700 closed && chmod 600 shut.c && chmod -R a+rX ../home");
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        struct kg_index *index;
        struct kg_index_counts counts;
        struct kg_error err = { 0 };
        if (geteuid() == 0 && (setgid(65534) != 0 || setuid(65534) != 0))
            _exit(1);
        if (getuid() != 65534 && (chmod(repo.root, 0700), chdir(repo.root), chmod("closed", 0) | chmod("shut.c", 0)) != 0)
            _exit(2);
        if (kg_index_open(repo.root, repo.cache, &index, &err) != KG_OK || kg_index_refresh(index, NULL, NULL, &counts, &err) != KG_OK)
            _exit(3);
        kg_index_close(index);
        _exit(counts.files == 1 && counts.unreadable == 2 ? 0 : 4);
    }
    int code;
    assert_int_equal(waitpid(child, &code, 0), child);
    assert_int_equal(code, 0);
}

static void steps_open_what_the_kernel_opens(void **state)
{
    (void)state;
    index_repo_write(&repo, "a/b/c.txt", "x");
    index_repo_sh(&repo, "ln -s b a/link && ln -s c.txt a/b/link && mkfifo a/fifo");
    static const char *const paths[] = { "a/b/c.txt", "a", "a/b", "a/link/c.txt", "a/b/link", "a/none", "a/b/c.txt/d", "..", "a/../a", "/etc", "", ".", "a/fifo" };
    int root = open(repo.root, O_RDONLY | O_DIRECTORY);
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
        int one = kg_beneath_open(root, paths[i], O_RDONLY);
        int two = kg_beneath_open_stepwise(root, paths[i], O_RDONLY);
        struct stat s, t;
        if ((one < 0) != (two < 0))
            fail_msg("%s: %d and %d", paths[i], one, two);
        if (one >= 0) {
            assert_int_equal(fstat(one, &s) | fstat(two, &t), 0);
            assert_int_equal(s.st_ino, t.st_ino);
            close(one);
            close(two);
        }
    }
    close(root);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(submodules_are_descended_with_their_own_rules, set_up, tear_down),
        cmocka_unit_test_setup_teardown(linked_worktrees_have_their_own_index, set_up, tear_down),
        cmocka_unit_test_setup_teardown(other_repositories_and_git_directories_are_not_entered, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_submodule_cannot_lead_out, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_configuration_of_a_repository_does_nothing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(broken_git_files_are_survived, set_up, tear_down),
        cmocka_unit_test_setup_teardown(odd_names_are_files_too, set_up, tear_down),
        cmocka_unit_test_setup_teardown(deep_trees_end_where_paths_end, set_up, tear_down),
        cmocka_unit_test_setup_teardown(unreadable_places_are_counted, set_up, tear_down),
        cmocka_unit_test_setup_teardown(steps_open_what_the_kernel_opens, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
