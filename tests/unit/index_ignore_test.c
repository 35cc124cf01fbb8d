/* Ignore rules, one by one and, over random trees and rules, against the git program. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <fcntl.h>
#include <git2.h>
#include <time.h>
#include <unistd.h>

#include "index_repo.h"
#include "repo-index/ignore.h"
#include "repo-index/walk.h"

static void globs_match_like_wildmatch(void **state)
{
    (void)state;
    static const struct {
        const char *pattern, *text;
        bool path, matches;
    } cases[] = {
        { "foo", "foo", true, true },          { "foo", "fo", true, false },           { "*", "foo", true, true },
        { "*", "a/b", true, false },           { "*", "a/b", false, true },            { "a/*", "a/b", true, true },
        { "a/*", "a/b/c", true, false },       { "**", "a/b/c", true, true },          { "**/c", "a/b/c", true, true },
        { "**/c", "c", true, true },           { "**/c", "xc", true, false },          { "a/**/c", "a/c", true, true },
        { "a/**/c", "a/x/y/c", true, true },   { "a/**/c", "ab/c", true, false },      { "a/**", "a/b/c", true, true },
        { "a/**", "a", true, false },          { "a**c", "abbc", true, true },         { "a**c", "ab/c", true, false },
        { "?", "/", true, false },             { "?x", "ax", true, true },             { "[a-c]x", "bx", true, true },
        { "[!a-c]x", "bx", true, false },      { "[^a-c]x", "dx", true, true },        { "[]]", "]", true, true },
        { "[a", "a", true, false },            { "[[:digit:]]", "7", true, true },     { "[[:nope:]]", "7", true, false },
        { "[a\\]]", "]", true, true },         { "\\*", "*", true, true },             { "\\*", "x", true, false },
        { "a\\", "a", true, false },           { "[/]", "/", true, false },            { "[a-]", "-", true, true },
        { "*.c", ".c", true, true },           { "*/*/x", "a/b/x", true, true },       { "*a*b", "xaxxab", true, true },
        { "**/a*/b", "q/ab/a/b", true, true }, { "[[:x]", "x", true, true },           { "x[", "x[", true, false },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        if (kg_glob_match(cases[i].pattern, strlen(cases[i].pattern), cases[i].text, cases[i].path) != cases[i].matches)
            fail_msg("%s on %s", cases[i].pattern, cases[i].text);
}

static void hostile_patterns_take_no_time(void **state)
{
    (void)state;
    char pattern[2001], text[4001];
    for (int i = 0; i < 2000; i += 2) {
        pattern[i] = '*';
        pattern[i + 1] = 'a';
    }
    pattern[2000] = '\0';
    memset(text, 'a', 4000);
    text[4000] = '\0';
    text[3999] = 'b';
    clock_t before = clock();
    assert_false(kg_glob_match(pattern, 2000, text, true));
    for (int i = 0; i < 1998; i += 6)
        memcpy(pattern + i, "**/a*/", 6);
    for (int i = 1; i < 3999; i += 2)
        text[i] = '/';
    assert_false(kg_glob_match(pattern, 2000, text, true));
    assert_true(clock() - before < 2 * CLOCKS_PER_SEC);
}

static enum kg_ignore_verdict verdict(const char *text, const char *path, bool is_dir)
{
    struct kg_ignore_rules *rules = kg_ignore_parse(text, strlen(text));
    const char *slash = strrchr(path, '/');
    enum kg_ignore_verdict result = kg_ignore_match(rules, path, slash ? slash + 1 : path, is_dir);
    kg_ignore_free(rules);
    return result;
}

static void lines_are_read_like_git_reads_them(void **state)
{
    (void)state;
    assert_int_equal(verdict("# a\n\n  \na\n", "a", false), KG_IGNORE_YES);
    assert_int_equal(verdict("\\#a", "#a", false), KG_IGNORE_YES);
    assert_int_equal(verdict("a\r\n", "a", false), KG_IGNORE_YES);
    assert_int_equal(verdict("a   \n", "a", false), KG_IGNORE_YES);
    assert_int_equal(verdict("a\\ \n", "a ", false), KG_IGNORE_YES);
    assert_int_equal(verdict("\xef\xbb\xbf" "a\n", "a", false), KG_IGNORE_YES);
    assert_int_equal(verdict("a\n!a\n", "a", false), KG_IGNORE_NO);
    assert_int_equal(verdict("\\!a\n", "!a", false), KG_IGNORE_YES);
    assert_int_equal(verdict("a/\n", "a", false), KG_IGNORE_SILENT);
    assert_int_equal(verdict("a/\n", "b/a", true), KG_IGNORE_YES);
    assert_int_equal(verdict("/a\n", "b/a", false), KG_IGNORE_SILENT);
    assert_int_equal(verdict("b/a\n", "c/b/a", false), KG_IGNORE_SILENT);
    assert_int_equal(verdict("/\n!/\n", "a", true), KG_IGNORE_SILENT);
}

static uint32_t seed;

static unsigned below(unsigned n)
{
    seed = seed * 1664525U + 1013904223U;
    return (seed >> 16) % n;
}

static const char *const names[] = { "a", "b", "ab", "abc", "foo", "x.o", "y.c", "dir", "sp ace", "[z]", "#h", "tail ", "ba\\ck", "A", "-", "n\xc3\xa4" };
#define NAMES (sizeof names / sizeof names[0])

static void random_path(char out[256])
{
    unsigned depth = 1 + below(4);
    out[0] = '\0';
    for (unsigned i = 0; i < depth; i++) {
        if (i)
            strcat(out, "/");
        strcat(out, names[below(NAMES)]);
    }
}

static void random_rules(char out[4096])
{
    static const char *const pieces[] = { "*", "**", "**/", "/**", "/", "?", "[ab]", "[!a]", "[a-z]", "\\", "a", "b", "ab", "foo", "dir", ".o", "x", "y.c",
                                          " ", "[z]", "\\[z\\]", "#h", "tail\\ ", "*.", "[[:alpha:]]", "[", "]", "-", "/a", "dir/", "ba\\\\ck" };
    unsigned lines = 1 + below(6);
    out[0] = '\0';
    for (unsigned i = 0; i < lines; i++) {
        unsigned count = 1 + below(4);
        if (below(4) == 0)
            strcat(out, "!");
        if (below(2)) {
            strcat(out, names[below(NAMES)]);
            count = below(2);
        }
        for (unsigned k = 0; k < count; k++)
            strcat(out, pieces[below(sizeof pieces / sizeof pieces[0])]);
        strcat(out, below(5) ? "\n" : "/\n");
    }
}

static void make_tree(const struct index_repo *repo)
{
    char path[300], rules[4096];
    for (unsigned i = 0; i < 60; i++) {
        random_path(path);
        char command[512];
        snprintf(command, sizeof command, "%s/%s", repo->root, path);
        /* some names are directories already, or lie below files: those are left as they are */
        char *slash = strrchr(command, '/');
        *slash = '\0';
        struct kg_error err;
        if (kg_make_dirs(command, &err) != KG_OK)
            continue;
        *slash = '/';
        int fd = open(command, O_WRONLY | O_CREAT, 0600);
        if (fd >= 0)
            close(fd);
    }
    random_rules(rules);
    index_repo_write(repo, ".gitignore", rules);
    index_repo_sh(repo, "mkdir -p dir a || true");
    for (unsigned i = 0; i < 2; i++) {
        random_rules(rules);
        snprintf(path, sizeof path, "%s/%s/.gitignore", repo->root, i ? "dir" : "a");
        FILE *file = fopen(path, "w");
        if (file) {
            fputs(rules, file);
            fclose(file);
        }
    }
    random_rules(rules);
    index_repo_write(repo, ".git/info/exclude", rules);
    index_repo_sh(repo, "find . -type f -not -path './.git/*' | sort | awk 'NR %% 7 == %u' | tr '\\n' '\\0' | xargs -0 -r git add -f --", below(7));
}

static int compare_strings(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void compare_with_git(const struct index_repo *repo, unsigned round)
{
    char command[400];
    static char listed[1 << 20];
    static char *paths[4096];
    size_t count = 0;
    struct kg_walk walk;
    struct kg_error err = { 0 };
    snprintf(command, sizeof command, "cd %s && git ls-files -co --exclude-standard -z", repo->root);
    FILE *pipe = popen(command, "r");
    assert_non_null(pipe);
    size_t length = fread(listed, 1, sizeof listed - 1, pipe);
    assert_int_equal(pclose(pipe), 0);
    for (size_t at = 0; at < length; at += strlen(listed + at) + 1)
        paths[count++] = listed + at;
    qsort(paths, count, sizeof *paths, compare_strings);
    int fd = open(repo->root, O_RDONLY | O_DIRECTORY);
    if (kg_walk_run(&(struct kg_walk_request){ .root = repo->root, .root_fd = fd }, &walk, &err) != KG_OK)
        fail_msg("cannot walk: %s", err.text);
    for (size_t i = 0; i < count || i < walk.count; i++)
        if (i >= count || i >= walk.count || strcmp(paths[i], walk.files[i].path) != 0)
            fail_msg("round %u: git has %s, the walk %s (%s)", round, i < count ? paths[i] : "no more", i < walk.count ? walk.files[i].path : "no more",
                     repo->root);
    kg_walk_free(&walk);
    close(fd);
}

static void the_walk_lists_what_git_lists(void **state)
{
    (void)state;
    unsigned rounds = getenv("CHECK_LONG") && strcmp(getenv("CHECK_LONG"), "1") == 0 ? 500 : 25;
    git_libgit2_init();
    for (unsigned round = 0; round < rounds; round++) {
        struct index_repo repo;
        seed = round * 7919 + 17;
        index_repo_make(&repo);
        make_tree(&repo);
        compare_with_git(&repo, round);
        index_repo_remove(&repo);
    }
    git_libgit2_shutdown();
}

static void the_persons_own_rules_count(void **state)
{
    (void)state;
    struct index_repo repo;
    index_repo_make(&repo);
    index_repo_write(&repo, "a.txt", "x");
    index_repo_write(&repo, "b.txt", "x");
    index_repo_sh(&repo, "mkdir -p $HOME/.config/git && echo a.txt > $HOME/.config/git/ignore");
    struct kg_index_counts counts = index_repo_counts(&repo);
    assert_int_equal(counts.files, 1);
    assert_int_equal(counts.ignored, 1);
    index_repo_sh(&repo, "printf 'b.*\\na.*\\n' > $HOME/mine && git config --global core.excludesFile '~/mine'");
    assert_int_equal(index_repo_counts(&repo).files, 0);
    index_repo_sh(&repo, "printf '!b.txt\\n' > .gitignore");
    assert_int_equal(index_repo_counts(&repo).files, 2);
    index_repo_remove(&repo);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(globs_match_like_wildmatch),    cmocka_unit_test(hostile_patterns_take_no_time), cmocka_unit_test(lines_are_read_like_git_reads_them),
        cmocka_unit_test(the_walk_lists_what_git_lists), cmocka_unit_test(the_persons_own_rules_count),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
