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
    struct kg_index *index = index_repo_open(&here);
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
    index_repo_sh(&here, "git init -q ../inner && cd ../inner && echo '*.tmp' > .gitignore && echo x > in.c && echo x > in.log && git add . && git commit -qm i");
    index_repo_sh(&here, "git init -q ../outer && cd ../outer && echo x > mid.c && git add . && git submodule -q add ../inner deep/inner && git commit -qm o");
    index_repo_write(&here, ".gitignore", "*.log\n");
    index_repo_write(&here, "top.log", "x");
    index_repo_sh(&here, "git submodule -q add ../outer lib/outer && git submodule -q update --init --recursive && git add . && git commit -qm t");
    index_repo_sh(&here, "touch lib/outer/deep/inner/new.tmp lib/outer/new.log lib/outer/new.tmp");
    index_repo_sh(&here, "echo new.log > .git/modules/lib/outer/info/exclude");
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
    snprintf(below, sizeof below, "%s/lib/outer/deep", here.root);
    assert_int_equal(kg_repo_root(below, root, NULL), KG_OK);
    assert_string_equal(root + strlen(here.root), "/lib/outer");
}

static void linked_worktrees_have_their_own_index(void **state)
{
    (void)state;
    struct kg_index_counts counts;
    char linked[160], root[KG_PATH_MAX];
    index_repo_write(&here, "a.c", "int a;");
    index_repo_write(&here, "forced.o", "x");
    index_repo_sh(&here, "git add . && git commit -qm 1 && echo '*.o' > .git/info/exclude && git worktree add -q ../linked && touch ../linked/b.c ../linked/b.o");
    snprintf(linked, sizeof linked, "%.140s/linked", here.base);
    assert_int_equal(kg_repo_root(linked, root, NULL), KG_OK);
    assert_string_equal(root, linked);
    memcpy(here.root, linked, sizeof here.root);
    const struct listing *listing = list(&counts);
    assert_int_equal(listing->count, 3);
    assert_true(has(listing, "a.c") && has(listing, "b.c") && has(listing, "forced.o"));
    assert_int_equal(counts.ignored, 1);
    snprintf(here.root, sizeof here.root, "%s/tree", here.base);
}

static void other_repositories_and_git_directories_are_not_entered(void **state)
{
    (void)state;
    struct kg_index_counts counts;
    index_repo_sh(&here, "git init -q other && touch other/x.c && git init -q --bare bare.git && git init -q --separate-git-dir=odd sep && touch sep/y.c");
    index_repo_sh(&here, "mkdir .GIT 'git~1' '.git ' && touch .GIT/a 'git~1/b' '.git /c' && mkdir sub && echo 'gitdir: /etc' > sub/.git && touch sub/z.c");
    index_repo_write(&here, "a.c", "int a;");
    const struct listing *listing = list(&counts);
    assert_int_equal(listing->count, 1);
    assert_true(has(listing, "a.c"));
    assert_int_equal(counts.ignored, 8); /* other bare.git odd sep .GIT git~1 ".git " sub */
}

static void a_submodule_cannot_lead_out(void **state)
{
    (void)state;
    struct kg_index_counts counts;
    index_repo_sh(&here, "git init -q ../victim && cd ../victim && echo '!*.c' > .git/info/exclude && echo x > secretplan.c && git add . && git commit -qm v");
    index_repo_sh(&here, "git init -q ../inner && cd ../inner && echo x > in.c && git add . && git commit -qm i");
    index_repo_sh(&here, "git submodule -q add ../inner sub && git commit -qm s && rm sub/.git && echo \"gitdir: $(cd ../victim && pwd)/.git\" > sub/.git");
    index_repo_sh(&here, "echo '*.c' > sub/.gitignore && ln -s ../victim sub/out && ln -s ../../victim/secretplan.c sub/plan.c && ln -s / slash");
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
    index_repo_write(&here, "a.txt", "plain\r\ntext $Id$\r\n");
    index_repo_write(&here, "run.sh", "#!/bin/sh\ntouch \"$(dirname \"$0\")/../ran\"\n");
    index_repo_sh(&here, "chmod +x run.sh && git add . && git commit -qm 1 && mkdir below && touch below/b.txt");
    index_repo_write(&here, ".gitattributes", "* filter=evil diff=evil merge=evil ident text eol=lf\n");
    index_repo_sh(&here, "git config core.fsmonitor $PWD/run.sh && git config core.hooksPath $PWD && git config filter.evil.clean $PWD/run.sh && "
                         "git config filter.evil.smudge $PWD/run.sh && git config diff.external $PWD/run.sh && git config core.pager $PWD/run.sh && "
                         "git config core.excludesFile /dev/zero && git config core.worktree / && git config include.path /dev/zero && "
                         "mkdir -p .git/hooks && cp run.sh .git/hooks/post-index-change");
    snprintf(below, sizeof below, "%s/below", here.root);
    assert_int_equal(kg_repo_root(below, root, NULL), KG_OK);
    assert_string_equal(root, here.root);
    const struct listing *listing = list(&counts);
    assert_int_equal(listing->count, 4);
    assert_true(has(listing, "a.txt"));
    index_repo_sh(&here, "test ! -e ../ran");
}

static void broken_git_files_are_survived(void **state)
{
    (void)state;
    struct kg_index_counts counts;
    index_repo_write(&here, "a.c", "int a;");
    index_repo_write(&here, "b.o", "object");
    index_repo_sh(&here, "git add . && git commit -qm 1 && echo '*.o' > .gitignore");
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
        index_repo_sh(&here, "%s", damage[i]);
        const struct listing *listing = list(&counts);
        assert_true(has(listing, "a.c"));
        assert_false(has(listing, "b.o"));
    }
    index_repo_sh(&here, "rm -r .git && echo 'gitdir: nowhere' > .git");
    assert_int_equal(kg_repo_root(here.root, (char[KG_PATH_MAX]){ 0 }, NULL), KG_ERR_NOT_FOUND);
}

static void odd_names_are_files_too(void **state)
{
    (void)state;
    struct kg_index_counts counts;
    char longest[300];
    memset(longest, 'n', 255);
    longest[255] = '\0';
    static const char *const odd[] = { "new\nline.txt", "\xff\xfe.txt", "tab\t.txt", "esc\x1b[2J.txt", "\xe2\x80\xae" "bidi.txt", "-rf", " ", "a\\b", "quote\"'" };
    index_repo_write(&here, longest, "longest name");
    for (size_t i = 0; i < sizeof odd / sizeof odd[0]; i++)
        index_repo_write(&here, odd[i], "oddity");
    const struct listing *listing = list(&counts);
    assert_int_equal(listing->count, 10);
    assert_true(has(listing, longest));
    for (size_t i = 0; i < sizeof odd / sizeof odd[0]; i++)
        assert_true(has(listing, odd[i]));
    struct kg_index *index = index_repo_open(&here);
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
    index_repo_sh(&here, "d=$(printf 'd%%.0s' $(seq 200)); i=0; while [ $i -lt 40 ]; do echo deep > f.txt; mkdir $d; cd -P $d 2>/dev/null || cd $d; i=$((i+1)); done");
    list(&counts);
    assert_true(counts.files >= 19 && counts.files <= 21); /* 20 x 201 bytes fit into a path */
    assert_true(counts.unreadable >= 1);
    index_repo_sh(&here, "rm -rf d*");
    index_repo_sh(&here, "i=0; p=.; while [ $i -lt 300 ]; do p=$p/x; i=$((i+1)); done; mkdir -p $p && echo bottom > $p/f.txt");
    list(&counts);
    assert_int_equal(counts.files, 2); /* and the f.txt on top */
}

/* Not as root, whom permissions do not stop: in a process of its own. */
static void unreadable_places_are_counted(void **state)
{
    (void)state;
    index_repo_write(&here, "open/a.c", "int a;");
    index_repo_write(&here, "closed/b.c", "int b;");
    index_repo_write(&here, "shut.c", "int c;");
    index_repo_sh(&here, "mkdir ../cache && chmod 777 ../cache && chmod 711 .. && chmod -R a+rX . && chmod 700 closed && chmod 600 shut.c && chmod -R a+rX ../home");
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        struct kg_index *index;
        struct kg_index_counts counts;
        struct kg_error err = { 0 };
        if (geteuid() == 0 && (setgid(65534) != 0 || setuid(65534) != 0))
            _exit(1);
        if (getuid() != 65534 && (chmod(here.root, 0700), chdir(here.root), chmod("closed", 0) | chmod("shut.c", 0)) != 0)
            _exit(2);
        if (kg_index_open(here.root, here.cache, &index, &err) != KG_OK || kg_index_refresh(index, NULL, NULL, &counts, &err) != KG_OK)
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
    index_repo_write(&here, "a/b/c.txt", "x");
    index_repo_sh(&here, "ln -s b a/link && ln -s c.txt a/b/link && mkfifo a/fifo");
    static const char *const paths[] = { "a/b/c.txt", "a", "a/b", "a/link/c.txt", "a/b/link", "a/none", "a/b/c.txt/d", "..", "a/../a", "/etc", "", ".", "a/fifo" };
    int root = open(here.root, O_RDONLY | O_DIRECTORY);
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

/* One of everything, with and without git: what is read, what is left out, what is said. */
static void a_corpus_of_odd_repositories(void **state)
{
    (void)state;
    struct kg_index_counts counts;
    char long_name[300] = "", wide[200];
    size_t n = 0;
    memset(long_name, 'w', 253);
    strcat(long_name, ".c");
    for (const char *c = "\xff\xfei\0n\0t\0 \0w\0i\0d\0e\0;\0\r\0\n\0", *end = c + 22; c < end; c++)
        wide[n++] = *c;
    index_repo_write_bytes(&here, "utf16.c", wide, n);
    index_repo_write(&here, "bom.c", "\xef\xbb\xbfint bytemark(void);\r\n");
    index_repo_write(&here, "dos.c", "/* x */\r\nint carriage(void)\r\n{\r\n    return 0;\r\n}\r\n");
    index_repo_write(&here, "latin.c", "int caf\xe9 latinletters(void); /* \xff\xfe\x80 */\n");
    index_repo_write(&here, long_name, "int verylengthy;\n");
    index_repo_write(&here, "a\nb \xe2\x80\xae.c", "int sidewayswriting;\n");
    index_repo_sh(&here, "truncate -s 100M huge.c && printf 'int frontmost;' | dd of=huge.c conv=notrunc && ln -s /etc/passwd out.c && ln -s .. up && ln -s nowhere broken.c");
    const char *const places[] = { "no commits yet", "one commit", "a shallow clone", "a linked worktree", "a submodule", "a detached head", "no git at all" };
    const char *const steps[] = { "true", "git add -A && git commit -qm one", "git clone -q --depth 1 file://$PWD ../place", "git worktree add -q ../place",
                                  "git init -q ../outer && cd ../outer && git -c protocol.file.allow=always submodule add -q ../tree inner",
                                  "git clone -q . ../place && cd ../place && git checkout -q --detach", "cp -r . ../place && rm -rf ../place/.git" };
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        struct index_repo at = here;
        struct kg_error err = { 0 };
        index_repo_sh(&here, "rm -rf ../place ../other-cache; git worktree prune; git branch -D place; true");
        index_repo_sh(&here, "%s", steps[i]);
        const char *place = i < 2 ? "tree" : i == 4 ? "outer" : "place";
        snprintf(at.root, sizeof at.root, "%.120s/%s", here.base, place);
        snprintf(at.cache, sizeof at.cache, "%.120s/other-cache", here.base);
        char root[KG_PATH_MAX];
        enum kg_status status = kg_repo_root(at.root, root, &err);
        if (i == 6)
            status = status == KG_ERR_NOT_FOUND ? kg_folder_root(at.root, root, &err) : KG_ERR_CORRUPT;
        if (status != KG_OK || strcmp(root, at.root) != 0)
            fail_msg("%s: %s", places[i], err.text);
        struct kg_index *index = index_repo_open(&at);
        counts = index_repo_refresh(index);
        struct index_found found;
        static const char *const there[] = { "bytemark", "carriage", "verylengthy", "sidewayswriting", "latinletters", "wide" }, *const missing[] = { "root", "frontmost" };
        for (size_t k = 0; k < sizeof there / sizeof there[0]; k++) {
            index_repo_search(index, there[k], &found);
            if (found.count != 1)
                fail_msg("%s: %s is in %u files", places[i], there[k], found.count);
        }
        for (size_t k = 0; k < sizeof missing / sizeof missing[0]; k++) {
            index_repo_search(index, missing[k], &found);
            if (found.count != 0)
                fail_msg("%s: %s is in %s", places[i], missing[k], found.paths[0]);
        }
        if (counts.huge != 1 || counts.binary != 0 || counts.links != 3 || (counts.doubt != NULL))
            fail_msg("%s: %u huge, %u binary, %u links, %s", places[i], counts.huge, counts.binary, counts.links, counts.doubt ? counts.doubt : "");
        kg_index_close(index);
    }
    char root[KG_PATH_MAX], path[300];
    snprintf(path, sizeof path, "%s/home", here.base);
    assert_int_equal(kg_folder_root(path, root, NULL), KG_ERR_NOT_FOUND);
    assert_int_equal(kg_folder_root(here.base, root, NULL), KG_ERR_NOT_FOUND);
    assert_int_equal(kg_folder_root("/", root, NULL), KG_ERR_NOT_FOUND);
    snprintf(path, sizeof path, "%s/.git/objects", here.root);
    assert_int_equal(kg_folder_root(path, root, NULL), KG_ERR_NOT_FOUND);
}

/* What leads out is not followed, and said. */
static void hostile_repositories_are_told(void **state)
{
    (void)state;
    index_repo_write(&here, "a.c", "int inside;\n");
    index_repo_sh(&here, "git add . && git commit -qm one && mkdir ../victim && cd ../victim && git init -q . && echo 'int plans_of_the_victim;' > plan.c && git add . && git commit -qm plans");
    static const struct {
        const char *attack, *said;
    } cases[] = {
        { "true", NULL },
        { "git config core.worktree $PWD/../victim", "core.worktree" },
        { "git config include.path ../../victim/.git/config", "include" },
        { "echo $PWD/../victim/.git/objects > .git/objects/info/alternates && git update-ref --no-deref HEAD $(git -C ../victim rev-parse HEAD)", "alternates" },
        { "rm -rf .git/objects && ln -s $PWD/../victim/.git/objects .git/objects", "elsewhere" },
        { "rm -rf .git && echo gitdir: $PWD/../victim/.git > .git", "lead back" },
        { "rm -rf .git && ln -s ../victim/.git .git", "lead back" },
        /* flags that tell git not to look at a file, and a file that git lists but is not there */
        { "git update-index --assume-unchanged a.c && echo 'int inside_and_changed;' > a.c", NULL },
        { "git update-index --skip-worktree a.c && echo 'int inside_and_changed;' > a.c", NULL },
        { "git config core.fsmonitor true; git update-index --fsmonitor-valid a.c; git config --unset core.fsmonitor; echo 'int inside_and_changed;' > a.c", NULL },
        { "git update-index --add --cacheinfo 100644,$(git hash-object -w a.c),../victim/plan.c; git update-index --add --cacheinfo 120000,$(git hash-object -w a.c),sub; ln -s ../victim sub; true", NULL },
    };
    index_repo_sh(&here, "cp -a . ../clean");
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct index_found found;
        index_repo_sh(&here, "rm -rf .git * ../cache && cp -a ../clean/. .");
        index_repo_sh(&here, "%s", cases[i].attack);
        struct kg_index *index = index_repo_open(&here);
        struct kg_index_counts counts = index_repo_refresh(index);
        if ((counts.doubt != NULL) != (cases[i].said != NULL) || (counts.doubt && !strstr(counts.doubt, cases[i].said)))
            fail_msg("%s: said %s", cases[i].attack, counts.doubt ? counts.doubt : "nothing");
        index_repo_search(index, strstr(cases[i].attack, "changed") ? "inside_and_changed" : "inside", &found);
        if (found.count != 1 || strcmp(found.paths[0], "a.c") != 0)
            fail_msg("%s: a.c was not read", cases[i].attack);
        index_repo_search(index, "plans_of_the_victim", &found);
        if (found.count != 0)
            fail_msg("%s: read %s", cases[i].attack, found.paths[0]);
        kg_index_close(index);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        INDEX_TEST(submodules_are_descended_with_their_own_rules),
        INDEX_TEST(linked_worktrees_have_their_own_index),
        INDEX_TEST(other_repositories_and_git_directories_are_not_entered),
        INDEX_TEST(a_submodule_cannot_lead_out),
        INDEX_TEST(the_configuration_of_a_repository_does_nothing),
        INDEX_TEST(broken_git_files_are_survived),
        INDEX_TEST(a_corpus_of_odd_repositories),
        INDEX_TEST(hostile_repositories_are_told),
        INDEX_TEST(odd_names_are_files_too),
        INDEX_TEST(deep_trees_end_where_paths_end),
        INDEX_TEST(unreadable_places_are_counted),
        INDEX_TEST(steps_open_what_the_kernel_opens),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
