#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "index_repo.h"

static void the_root_is_found_from_below(void **state)
{
    (void)state;
    char root[KG_PATH_MAX], below[KG_PATH_MAX];
    struct kg_error err;
    index_repo_sh(&here, "mkdir -p a/b");
    snprintf(below, sizeof below, "%s/a/b", here.root);
    assert_int_equal(kg_repo_root(below, root, &err), KG_OK);
    assert_string_equal(root, here.root);
    snprintf(below, sizeof below, "%s/.git/refs", here.root);
    assert_int_equal(kg_repo_root(below, root, &err), KG_ERR_NOT_FOUND);
    assert_int_equal(kg_repo_root(here.base, root, &err), KG_ERR_NOT_FOUND);
    assert_int_equal(kg_repo_root("/nonexistent/place", root, &err), KG_ERR_NOT_FOUND);
    index_repo_sh(&here, "git init -q --bare ../bare.git");
    snprintf(below, sizeof below, "%s/bare.git", here.base);
    assert_int_equal(kg_repo_root(below, root, &err), KG_ERR_NOT_FOUND);
    assert_non_null(strstr(err.text, "bare"));
}

static void an_empty_repository_has_an_empty_index(void **state)
{
    (void)state;
    struct kg_index *index = index_repo_open(&here);
    struct kg_index_counts counts = index_repo_refresh(index);
    assert_int_equal(counts.files, 0);
    struct index_found found;
    index_repo_search(index, "anything", &found);
    assert_int_equal(found.count, 0);
    kg_index_close(index);
}

static void only_what_changed_is_read_again(void **state)
{
    (void)state;
    struct kg_index *index = index_repo_open(&here);
    char name[32], text[64];
    for (int i = 0; i < 40; i++) {
        snprintf(name, sizeof name, "src/file%d.c", i);
        snprintf(text, sizeof text, "int value_%d(void);\n", i);
        index_repo_write(&here, name, text);
    }
    struct kg_index_counts counts = index_repo_refresh(index);
    assert_int_equal(counts.files, 40);
    assert_int_equal(counts.fresh, 40);
    counts = index_repo_refresh(index);
    assert_int_equal(counts.files, 40);
    assert_int_equal(counts.fresh, 0);
    /* same length, at once: only the times in nanoseconds tell */
    index_repo_write(&here, "src/file3.c", "int walue_3(void);\n");
    index_repo_write(&here, "src/new.c", "int brand_new(void);\n");
    index_repo_sh(&here, "rm src/file5.c src/file6.c && mv src/file7.c src/moved7.c");
    counts = index_repo_refresh(index);
    assert_int_equal(counts.fresh, 3);
    assert_int_equal(counts.removed, 3);
    assert_int_equal(counts.files, 39);
    struct index_found found;
    index_repo_search(index, "walue_3", &found);
    assert_true(index_found_has(&found, "src/file3.c"));
    index_repo_search(index, "value_7", &found);
    assert_string_equal(found.paths[0], "src/moved7.c");
    assert_false(index_found_has(&found, "src/file7.c"));
    kg_index_close(index);
    counts = index_repo_counts(&here);
    assert_int_equal(counts.fresh, 0);
    assert_int_equal(counts.files, 39);
}

static void a_search_names_the_line(void **state)
{
    (void)state;
    struct kg_index *index = index_repo_open(&here);
    struct index_found found;
    index_repo_write(&here, "src/user.c", "/* users */\n#include <stdio.h>\n\n\tchar *getUserName(int id)\n{\n    return names[id];\n}\n");
    index_repo_write(&here, "src/main.c", "int main(void)\n{\n    puts(getUserName(1));\n}\n");
    index_repo_write(&here, "doc/user_guide.md", "# Guide\n\nNothing\x1b[31m here \tabout it.\n");
    index_repo_refresh(index);
    index_repo_search(index, "getUserName", &found);
    assert_true(found.count >= 2);
    assert_string_equal(found.paths[0], "src/user.c");
    assert_int_equal(found.lines[0], 4);
    assert_string_equal(found.texts[0], "char *getUserName(int id)");
    assert_true(index_found_has(&found, "src/main.c"));
    index_repo_search(index, "get_user_name", &found);
    assert_string_equal(found.paths[0], "src/user.c");
    index_repo_search(index, "user name", &found);
    assert_string_equal(found.paths[0], "src/user.c");
    index_repo_search(index, "guide", &found);
    assert_string_equal(found.paths[0], "doc/user_guide.md");
    index_repo_search(index, "nothing", &found);
    assert_string_equal(found.texts[0], "Nothing\\x1b[31m here  about it.");
    index_repo_search(index, "\"' OR * NEAR( ) : ^ { \\ \xff\xfe", &found);
    index_repo_search(index, "", &found);
    assert_int_equal(found.count, 0);
    kg_index_close(index);
}

static void reads_stay_inside(void **state)
{
    (void)state;
    struct kg_index *index = index_repo_open(&here);
    struct kg_error err;
    char *text = NULL;
    size_t length = 0;
    bool secret = true;
    index_repo_write(&here, "a/b.txt", "inside");
    index_repo_write(&here, "deploy/.env", "TOKEN=1");
    index_repo_sh(&here, "ln -s /etc/passwd link && ln -s a alias && mkfifo pipe && ln -s ../home up && git init -q sub");
    assert_int_equal(kg_index_read(index, "./a/b.txt", 100, &text, &length, &secret, &err), KG_OK);
    assert_string_equal(text, "inside");
    assert_int_equal(length, 6);
    assert_false(secret);
    free(text);
    assert_int_equal(kg_index_read(index, "deploy/.env", 100, &text, &length, &secret, &err), KG_OK);
    assert_true(secret);
    free(text);
    assert_int_equal(kg_index_read(index, "a/b.txt", 5, &text, &length, &secret, &err), KG_ERR_RANGE);
    assert_int_equal(kg_index_read(index, "a/c.txt", 5, &text, &length, &secret, &err), KG_ERR_NOT_FOUND);
    static const char *const refused[] = { "", "/etc/passwd", "../home/.gitconfig", "a/../a/b.txt", "a//b.txt", "a/./b.txt", "link", "alias/b.txt",
                                           "up/.gitconfig", "pipe", "a", ".git/config", "sub/.git/config", ".GIT/config", "git~1/config",
                                           ".git./config", ".git /config", ".g\xe2\x80\x8cit/config", ".git:x/config", "sub/.Git\xef\xbb\xbf/HEAD" };
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        enum kg_status status = kg_index_read(index, refused[i], 100, &text, &length, &secret, &err);
        if (status != KG_ERR_UNSUPPORTED)
            fail_msg("%s: %s", refused[i], kg_status_name(status));
    }
    kg_index_close(index);
}

/* ASCII as UTF-16 behind a byte order mark. */
static void write_utf16(const char *path, const char *text, bool big)
{
    char bytes[1000] = { 0 };
    size_t n = strlen(text);
    memcpy(bytes, big ? "\xfe\xff" : "\xff\xfe", 2);
    for (size_t i = 0; i < n; i++)
        bytes[2 + 2 * i + (big ? 1 : 0)] = text[i];
    index_repo_write_bytes(&here, path, bytes, 2 + 2 * n);
}

static void utf16_is_read_as_what_it_says(void **state)
{
    (void)state;
    struct kg_index *index = index_repo_open(&here);
    struct index_found found;
    struct kg_error err;
    bool secret;
    static const struct {
        const char *bytes;
        size_t length;
        const char *text;
    } odd[] = {
        { "\xff\xfe", 2, "" },
        { "\xff\xfe" "a", 3, "\xef\xbf\xbd" },
        { "\xff\xfe" "a\0" "b", 5, "a\xef\xbf\xbd" },
        { "\xfe\xff" "\xd8\x3d" "\0a", 6, "\xef\xbf\xbd" "a" },     /* half a pair, in front of a letter */
        { "\xfe\xff" "\xdc\0" "\0a", 6, "\xef\xbf\xbd" "a" },       /* the other half */
        { "\xfe\xff" "\xd8\x3d", 4, "\xef\xbf\xbd" },              /* half a pair at the end */
        { "\xfe\xff" "\xd8\x3d" "\xde", 5, "\xef\xbf\xbd\xef\xbf\xbd" },
        { "\xfe\xff" "\xd8\x3d\xde\0", 6, "\xf0\x9f\x98\x80" },
        { "\xff\xfe" "\x2c\x67", 4, "\xe6\x9c\xac" },
    };
    write_utf16("little.c", "int first;\r\nint kettle_of_tea(void);\n", false);
    write_utf16("big.py", "\n\ndef kettle_of_tea():\n    pass\n", true);
    write_utf16("id_rsa.txt", "-----BEGIN RSA PRIVATE KEY-----\nabc\n", true);
    index_repo_write_bytes(&here, "nul.c", "\xff\xfe" "i\0n\0t\0\0\0", 10);
    struct kg_index_counts counts = index_repo_refresh(index);
    assert_int_equal(counts.files, 2);
    assert_int_equal(counts.secret, 1);
    assert_int_equal(counts.binary, 1);
    index_repo_search(index, "kettle_of_tea", &found);
    assert_int_equal(found.count, 2);
    for (unsigned i = 0; i < 2; i++)
        assert_int_equal(found.lines[i], strcmp(found.paths[i], "big.py") == 0 ? 3 : 2);
    char *text;
    size_t length;
    assert_int_equal(kg_index_read(index, "little.c", 100, &text, &length, &secret, &err), KG_OK);
    assert_string_equal(text, "int first;\r\nint kettle_of_tea(void);\n");
    assert_int_equal(length, strlen(text));
    free(text);
    for (size_t i = 0; i < sizeof odd / sizeof odd[0]; i++) {
        index_repo_write_bytes(&here, "odd.txt", odd[i].bytes, odd[i].length);
        index_repo_refresh(index);
        assert_int_equal(kg_index_read(index, "odd.txt", 100, &text, &length, &secret, &err), KG_OK);
        assert_string_equal(text, odd[i].text);
        free(text);
    }
    /* what grows beyond the limit when it is read */
    index_repo_write_bytes(&here, "odd.txt", "\xff\xfe" "\x2c\x67\x2c\x67\x2c\x67", 8);
    assert_int_equal(kg_index_read(index, "odd.txt", 8, &text, &length, &secret, &err), KG_ERR_RANGE);
    kg_index_close(index);
}

static void what_is_left_out_is_counted(void **state)
{
    (void)state;
    index_repo_write(&here, ".gitignore", "*.o\nbuild/\n!keep.o\n");
    index_repo_write(&here, "a.o", "x");
    index_repo_write(&here, "keep.o", "kept by a rule");
    index_repo_write(&here, "build/x.c", "int ignored;");
    index_repo_write(&here, "forced.o", "tracked although ignored");
    index_repo_write_bytes(&here, "image.bin", "\x89PNG\0\0", 6);
    index_repo_write(&here, "package-lock.json", "{}");
    index_repo_write(&here, "gen.go", "// Code generated by tool. DO NOT EDIT.\npackage x\n");
    index_repo_write(&here, ".env", "KEY=1");
    index_repo_write(&here, "id_rsa", "key");
    index_repo_write(&here, "odd.txt", "-----BEGIN RSA PRIVATE KEY-----\nabc\n");
    index_repo_sh(&here, "git add -f forced.o && ln -s a.o link.c && mkfifo pipe && head -c 1048577 /dev/zero | tr '\\0' 'x' > huge.txt");
    struct kg_index_counts counts = index_repo_counts(&here);
    assert_int_equal(counts.files, 3); /* .gitignore keep.o forced.o */
    assert_int_equal(counts.ignored, 2);
    assert_int_equal(counts.binary, 1);
    assert_int_equal(counts.generated, 2);
    assert_int_equal(counts.secret, 3);
    assert_int_equal(counts.links, 1);
    assert_int_equal(counts.unreadable, 1);
    assert_int_equal(counts.huge, 1);
}

static void a_kedgeignore_has_the_last_word(void **state)
{
    (void)state;
    index_repo_write(&here, ".gitignore", "*.log\nout/\n");
    index_repo_write(&here, ".kedgeignore", "tables/\n!useful.log\n*.csv\n");
    index_repo_write(&here, "tables/tracked.c", "int tracked_table;");
    index_repo_write(&here, "deep/tracked.csv", "tracked_numbers");
    index_repo_write(&here, "deep/.kedgeignore", "!tracked.csv\nlocal.c\n");
    index_repo_write(&here, "deep/local.c", "int local_secret;");
    index_repo_write(&here, "local.c", "int not_deep;");
    index_repo_write(&here, "useful.log", "useful_words");
    index_repo_write(&here, "other.log", "other_words");
    index_repo_sh(&here, "git add -A && git commit -qm all && git init -q sub && cd sub && echo 'int from_a_submodule;' > x.csv && git add . && git commit -qm sub && "
                         "cd .. && git submodule add ./sub sub");
    struct kg_index *index = index_repo_open(&here);
    struct index_found found;
    index_repo_refresh(index);
    static const struct {
        const char *word, *path;
        bool there;
    } cases[] = { { "tracked_table", "tables/tracked.c", false }, { "tracked_numbers", "deep/tracked.csv", true }, { "local_secret", "deep/local.c", false },
                  { "not_deep", "local.c", true }, { "useful_words", "useful.log", true }, { "other_words", "other.log", false }, { "from_a_submodule", "sub/x.csv", false } };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        index_repo_search(index, cases[i].word, &found);
        if (index_found_has(&found, cases[i].path) != cases[i].there)
            fail_msg("%s is %s", cases[i].path, cases[i].there ? "left out" : "read");
    }
    kg_index_close(index);
}

/* Files that are written, moved, replaced by links and removed while they are read. */
static void a_worktree_in_motion_is_read_right_in_the_end(void **state)
{
    (void)state;
    struct kg_index *index = index_repo_open(&here);
    index_repo_sh(&here, "mkdir a b && for i in $(seq 60); do echo \"still $i\" > a/$i.txt; done");
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        char command[700];
        snprintf(command, sizeof command,
                 "cd %s && i=0; while [ $i -lt 150 ]; do n=$((i %% 60 + 1)); echo \"moving $i\" >> a/$n.txt; mv a/$n.txt b/ 2>/dev/null; mv b/$n.txt a/; "
                 "rm -f b/x; ln -s ../../home b/x; rm b/x; mkdir b/x; echo y > b/x/y.txt; rm -r b/x; i=$((i+1)); done; echo final words > a/last.txt",
                 here.root);
        _exit(system(command) != 0);
    }
    int code;
    while (waitpid(child, &code, WNOHANG) == 0)
        index_repo_refresh(index);
    assert_int_equal(code, 0);
    struct kg_index_counts counts = index_repo_refresh(index);
    assert_int_equal(counts.files, 61);
    struct index_found found;
    index_repo_search(index, "final words", &found);
    assert_string_equal(found.paths[0], "a/last.txt");
    index_repo_search(index, "149", &found);
    assert_true(index_found_has(&found, "a/30.txt"));
    kg_index_close(index);
    /* the same as one built from nothing */
    snprintf(here.cache, sizeof here.cache, "%.140s/other", here.base);
    struct kg_index_counts anew = index_repo_counts(&here);
    assert_int_equal(anew.files, counts.files);
    assert_int_equal(anew.bytes, counts.bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        INDEX_TEST(the_root_is_found_from_below),
        INDEX_TEST(an_empty_repository_has_an_empty_index),
        INDEX_TEST(only_what_changed_is_read_again),
        INDEX_TEST(a_search_names_the_line),
        INDEX_TEST(reads_stay_inside),
        INDEX_TEST(a_worktree_in_motion_is_read_right_in_the_end),
        INDEX_TEST(utf16_is_read_as_what_it_says),
        INDEX_TEST(what_is_left_out_is_counted),
        INDEX_TEST(a_kedgeignore_has_the_last_word),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
