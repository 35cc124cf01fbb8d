/* Paths of a hostile answer, made at random from what is dangerous: whatever is written lies beneath the root, in no git directory,
 * and nothing that was there outside or in one is touched. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/index_repo.h"
#include "tui/changes/proposal.h"
#include "tui/changes/worktree.h"

#define ROUNDS 1000
#define ROUNDS_LONG 50000

static uint64_t seed = 0x9e3779b97f4a7c15u;

static unsigned roll(unsigned most)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (unsigned)(seed % most);
}

static const char *const parts[] = { "..", ".", "", ".git", ".GIT", ".Git", ".git.", ".git ", ".git::$INDEX_ALLOCATION", "git~1", "GIT~1", ".g\xe2\x80\x8cit", "\xef\xbb\xbf.git",
                                     ".git\\hooks", "hooks", "config", "HEAD", "objects", "refs", "modules", ".kedge.conf", ".KEDGE.CONF", ".kedge.conf ", "kedge~1.con", "out", "link", "pipe",
                                     "bare", "wt", "null", "a", "b.c", "sub", "evil\x1b[2J", "\x07", "\xe2\x80\xae", "\xff\xfe", "x:y", "C:", "~", "$HOME", "%2e%2e", "..%2f", "....", " ..", ".. ",
                                     "-rf", "Makefile", ".github", "loop", "dir" };
#define PARTS (sizeof parts / sizeof parts[0])

static void make_path(char *out, size_t capacity)
{
    static const char *const leads[] = { "", "", "", "/", "//", "./", "../", "/proc/self/root/", "/proc/self/cwd/", "/dev/", "/tmp/" };
    size_t n = (size_t)snprintf(out, capacity, "%s", leads[roll(sizeof leads / sizeof leads[0])]);
    unsigned count = 1 + roll(5);
    for (unsigned i = 0; i < count && n + 64 < capacity; i++) {
        n += (size_t)snprintf(out + n, capacity - n, "%s%s", i ? "/" : "", parts[roll(PARTS)]);
        if (roll(16) == 0)
            out[n - (n > 0)] = (char)roll(256);
        n = strlen(out);
    }
}

/* Names, modes and contents of all that must not change. */
static void fingerprint(const struct index_repo *repo, const char *name)
{
    index_repo_sh(repo, "cd .. && { find outside tree/.git tree/bare tree/wt/.git -printf '%%p %%y %%m %%s\\n' | sort; find outside tree/.git tree/bare tree/wt/.git -type f -exec sha256sum {} + | sort; "
                        "ls -A | grep -v cache-; } >%s 2>&1", name);
}

static void nothing_outside_is_written(void **state)
{
    (void)state;
    struct index_repo repo;
    struct kg_worktree *tree;
    struct kg_error err;
    const char *wanted = getenv("CHECK_LONG");
    unsigned rounds = wanted && strcmp(wanted, "1") == 0 ? ROUNDS_LONG : ROUNDS, written = 0;
    index_repo_make(&repo);
    index_repo_sh(&repo, "mkdir ../outside dir sub && echo secret >../outside/f && ln -s ../outside out && ln -s ../outside/f link && mkfifo pipe && ln -s /dev/null null && ln -s . loop && "
                         "git init -q --bare bare && git commit -q --allow-empty -m x && git worktree add -q wt");
    fingerprint(&repo, "cache-before");
    assert_int_equal(kg_worktree_open(repo.root, &tree, &err), KG_OK);
    for (unsigned i = 0; i < rounds; i++) {
        char path[512];
        char *before = NULL;
        size_t length = 0;
        make_path(path, sizeof path);
        enum kg_status status = kg_worktree_read(tree, path, 1 << 20, &before, &length, &err);
        status = kg_worktree_write(tree, path, status == KG_OK ? before : NULL, length, "evil\n", 5, &err);
        written += status == KG_OK;
        if (status == KG_OK)
            assert_int_not_equal(kg_guard_of_path(path, NULL), KG_GUARD_NEVER);
        for (const char *c = status == KG_OK ? "" : err.text; *c; c++)
            assert_true((unsigned char)*c >= 0x20 && *c != 0x7f);
        if (status == KG_OK && roll(2) && kg_worktree_remove(tree, path, "evil\n", 5, &err) != KG_OK)
            fail_msg("%s was written and cannot be removed: %s", path, err.text);
        free(before);
    }
    assert_true(written > rounds / 100); /* names that may be written are among them */
    fingerprint(&repo, "cache-after");
    index_repo_sh(&repo, "cmp ../cache-before ../cache-after");
    index_repo_sh(&repo, "test -z \"$(find . -path ./.git -prune -o -iname '.kedge*' -print)\" && test -p pipe && test -L link && test -L out && test -L null");
    kg_worktree_close(tree);
    index_repo_remove(&repo);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(nothing_outside_is_written) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
