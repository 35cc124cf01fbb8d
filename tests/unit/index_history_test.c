/* Past commits and includes as reasons to choose a file; repositories whose history is not their own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <dirent.h>
#include <sqlite3.h>

#include "index_repo.h"

struct chosen {
    unsigned count;
    char paths[64][200];
    char reasons[64][400];
};

static int on_part(void *ctx, const struct kg_context_part *part)
{
    struct chosen *chosen = ctx;
    snprintf(chosen->paths[chosen->count], 200, "%s", part->path);
    snprintf(chosen->reasons[chosen->count++], 400, "%s", part->reason);
    return 0;
}

/* In the repository at root, by an index brought up to date. */
static const struct chosen *choose_in(const char *root, const char *question)
{
    static struct chosen chosen;
    struct kg_error err = { 0 };
    struct kg_index *index = NULL;
    const struct kg_context_request request = { .question = question, .files = 64 };
    memset(&chosen, 0, sizeof chosen);
    if (kg_index_open(root, here.cache, &index, &err) != KG_OK || kg_index_refresh(index, NULL, NULL, NULL, &err) != KG_OK ||
        kg_index_context(index, &request, on_part, &chosen, &err) != KG_OK)
        fail_msg("%s", err.text);
    kg_index_close(index);
    return &chosen;
}

static const struct chosen *choose(const char *question)
{
    return choose_in(here.root, question);
}

static const char *beside(const char *name)
{
    static char path[400];
    snprintf(path, sizeof path, "%s/%s", here.base, name);
    return path;
}

/* Three files that say nothing of teapots, one of which was changed for the sake of them. */
static int set_up(void **state)
{
    index_repo_set_up(state);
    index_repo_write(&here, "src/one.c", "int one;\n");
    index_repo_write(&here, "src/two.c", "int two;\n");
    index_repo_write(&here, "src/three.c", "int three;\n");
    index_repo_sh(&here, "git add . && git commit -qm 'First of all' && echo 'int more;' >> src/two.c && git commit -qam 'Let the teapot whistle' && "
                         "echo 'int less;' >> src/one.c && git commit -qam 'Saucers are round'");
    return 0;
}

static void expect_two(const struct chosen *chosen)
{
    assert_true(chosen->count >= 1);
    assert_string_equal(chosen->paths[0], "src/two.c");
    assert_string_equal(chosen->reasons[0], "changed by commits like this");
}

static int64_t remembered(void)
{
    char dir[300];
    int64_t count = -1;
    snprintf(dir, sizeof dir, "%s/index", here.cache);
    DIR *stream = opendir(dir);
    assert_non_null(stream);
    for (const struct dirent *e; (e = readdir(stream)) != NULL;) {
        size_t n = strlen(e->d_name);
        char path[600];
        sqlite3 *db;
        sqlite3_stmt *s;
        if (n < 3 || strcmp(e->d_name + n - 3, ".db") != 0)
            continue;
        snprintf(path, sizeof path, "%s/%.250s", dir, e->d_name);
        assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
        assert_int_equal(sqlite3_prepare_v2(db, "SELECT count(*) FROM past", -1, &s, NULL), SQLITE_OK);
        assert_int_equal(sqlite3_step(s), SQLITE_ROW);
        count = sqlite3_column_int64(s, 0);
        sqlite3_finalize(s);
        sqlite3_close(db);
    }
    closedir(stream);
    return count;
}

static void commits_speak_for_what_they_changed(void **state)
{
    (void)state;
    expect_two(choose("why does the teapot whistle?"));
    assert_int_equal(remembered(), 2); /* the first has no parent to differ from */
    expect_two(choose("why does the teapot whistle?"));
    index_repo_sh(&here, "git gc -q && git pack-refs --all");
    index_repo_write(&here, "src/three.c", "int three, four;\n");
    index_repo_sh(&here, "git commit -qam 'Kettle'");
    expect_two(choose("why does the teapot whistle?"));
    assert_int_equal(remembered(), 3);
    assert_string_equal(choose("kettle")->paths[0], "src/three.c");
}

static void nothing_is_known_of_what_comes_after_head(void **state)
{
    (void)state;
    expect_two(choose("teapot whistle"));
    index_repo_sh(&here, "git checkout -q --detach HEAD~2");
    assert_int_equal(choose("teapot whistle")->count, 0);
    index_repo_sh(&here, "git checkout -q main");
    expect_two(choose("teapot whistle"));
    index_repo_sh(&here, "git checkout -q --orphan empty");
    assert_int_equal(choose("teapot whistle")->count, 0);
}

static void merges_and_sweeping_changes_say_nothing(void **state)
{
    (void)state;
    index_repo_sh(&here, "git checkout -qb side HEAD~2 && for i in $(seq 60); do echo $i > f$i.txt; done && git add . && git commit -qm 'Porcelain everywhere' && "
                         "git checkout -q main && git merge -q -m 'Merge of porcelain' side");
    assert_int_equal(choose("porcelain")->count, 0);
    expect_two(choose("teapot whistle"));
}

static void worktrees_and_shallow_clones_have_their_history(void **state)
{
    (void)state;
    index_repo_sh(&here, "git worktree add -q ../linked && git clone -q --depth 2 file://$PWD ../shallow");
    expect_two(choose_in(beside("linked"), "teapot whistle"));
    assert_string_equal(choose_in(beside("shallow"), "saucers round")->paths[0], "src/one.c");
    assert_int_equal(choose_in(beside("shallow"), "teapot whistle")->count, 0);
}

static void objects_of_others_are_not_read(void **state)
{
    (void)state;
    index_repo_sh(&here, "git clone -q --shared . ../shared"); /* by alternates */
    assert_int_equal(choose_in(beside("shared"), "teapot whistle")->count, 0);
    index_repo_sh(&here, "mkdir ../pointer && cp -r src ../pointer && echo gitdir: $PWD/.git > ../pointer/.git"); /* that does not lead back */
    assert_int_equal(choose_in(beside("pointer"), "teapot whistle")->count, 0);
    index_repo_sh(&here, "cp -r . ../objects && rm -rf ../objects/.git/objects && ln -s $PWD/.git/objects ../objects/.git/objects");
    assert_int_equal(choose_in(beside("objects"), "teapot whistle")->count, 0);
    index_repo_sh(&here, "git gc -q && cp -r . ../packs && rm -rf ../packs/.git/objects/pack && ln -s $PWD/.git/objects/pack ../packs/.git/objects/pack");
    assert_int_equal(choose_in(beside("packs"), "teapot whistle")->count, 0);
    index_repo_sh(&here, "cp -r . ../files && rm -f ../files/.git/objects/pack/* && ln -s $PWD/.git/objects/pack/* ../files/.git/objects/pack/");
    assert_int_equal(choose_in(beside("files"), "teapot whistle")->count, 0);
    index_repo_sh(&here, "mkdir ../link && cp -r src ../link && ln -s $PWD/.git ../link/.git");
    assert_int_equal(choose_in(beside("link"), "teapot whistle")->count, 0);
    expect_two(choose("teapot whistle"));
}

static void damaged_histories_do_no_harm(void **state)
{
    (void)state;
    static const char *const damages[] = {
        "echo nonsense > .git/HEAD",
        "echo 'ref: refs/heads/../../../etc/passwd' > .git/HEAD",
        "echo 'ref: refs/heads/loop' > .git/HEAD && mkdir -p .git/refs/heads && echo 'ref: refs/heads/loop' > .git/refs/heads/loop",
        "echo 1234567890123456789012345678901234567890 > .git/HEAD",
        "rm -f .git/HEAD && mkfifo .git/HEAD",
        "git gc -q; for f in .git/objects/pack/*.pack; do chmod u+w $f && dd if=/dev/urandom of=$f bs=1 seek=40 count=200 conv=notrunc; done",
        "git gc -q; rm -f .git/objects/pack/*.idx",
        "git rev-parse HEAD^^{tree} > t && rm -f .git/objects/$(cut -c1-2 t)/$(cut -c3- t)",
    };
    for (size_t i = 0; i < sizeof damages / sizeof damages[0]; i++) {
        index_repo_sh(&here, "rm -rf ../broken && cp -r . ../broken && cd ../broken && %s", damages[i]);
        choose_in(beside("broken"), "teapot whistle");
    }
    /* every object damaged in turn */
    index_repo_sh(&here, "rm -rf ../broken && cp -r . ../broken && cd ../broken && i=0 && for f in .git/objects/[0-9a-f]*/*; do chmod u+w $f; i=$((i + 1)); "
                         "head -c $((i * 3)) $f > ../cut; cat ../cut > $f; done");
    choose_in(beside("broken"), "teapot whistle");
}

static void what_includes_the_best_comes_before_its_like(void **state)
{
    (void)state;
    index_repo_write(&here, "inc/core.h", "/* frobnicate */\nvoid frobnicate(void);\n");
    index_repo_write(&here, "a/same.c", "/* frobnicate here */\n#include <none.h>\n");
    index_repo_write(&here, "b/same.c", "/* frobnicate here */\n#include <core.h>\n");
    const struct chosen *chosen = choose("how is frobnicate done");
    assert_int_equal(chosen->count, 3);
    assert_string_equal(chosen->paths[0], "inc/core.h");
    assert_string_equal(chosen->paths[1], "b/same.c");
}

static void what_is_changed_together_is_chosen_together(void **state)
{
    (void)state;
    index_repo_write(&here, "src/gadget.c", "int frobnicate(void)\n{\n}\n");
    index_repo_sh(&here, "git add . && git commit -qm x && for i in 1 2 3; do echo '//' >> src/gadget.c && echo '//' >> src/three.c && git commit -qam y$i; done");
    const struct chosen *chosen = choose("frobnicate");
    assert_string_equal(chosen->paths[0], "src/gadget.c");
    assert_string_equal(chosen->paths[1], "src/three.c");
    assert_string_equal(chosen->reasons[1], "changed together with files that fit");
}

/* By its name, without a word of the question and without a past. */
static void a_test_is_chosen_with_what_it_tests(void **state)
{
    (void)state;
    static const struct {
        const char *file, *test, *other;
    } pairs[] = {
        { "pkg/whisk.py", "tests/test_whisk.py", "tests/test_whisker.py" },
        { "web/whisk.ts", "web/whisk.spec.ts", "lib/whisk.spec.ts" },
        { "whisk.go", "whisk_test.go", "other/whisk_test.go" },
        { "a/src/main/java/org/x/Whisk.java", "a/src/test/java/org/x/WhiskTest.java", "b/src/test/java/org/y/WhiskTest.java" },
    };
    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++) {
        index_repo_sh(&here, "git rm -qrf .");
        index_repo_write(&here, pairs[i].file, "frobnicate\n");
        index_repo_write(&here, pairs[i].test, "nothing\n");
        index_repo_write(&here, pairs[i].other, "nothing more\n");
        index_repo_sh(&here, "git add .");
        const struct chosen *chosen = choose("frobnicate");
        assert_string_equal(chosen->paths[0], pairs[i].file);
        if (chosen->count != 2 || strcmp(chosen->paths[1], pairs[i].test) != 0)
            fail_msg("%s: %s of %u", pairs[i].file, chosen->paths[1], chosen->count);
        assert_string_equal(chosen->reasons[1], "tests files that fit");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(commits_speak_for_what_they_changed, set_up, index_repo_tear_down),
        cmocka_unit_test_setup_teardown(nothing_is_known_of_what_comes_after_head, set_up, index_repo_tear_down),
        cmocka_unit_test_setup_teardown(merges_and_sweeping_changes_say_nothing, set_up, index_repo_tear_down),
        cmocka_unit_test_setup_teardown(worktrees_and_shallow_clones_have_their_history, set_up, index_repo_tear_down),
        cmocka_unit_test_setup_teardown(objects_of_others_are_not_read, set_up, index_repo_tear_down),
        cmocka_unit_test_setup_teardown(damaged_histories_do_no_harm, set_up, index_repo_tear_down),
        cmocka_unit_test_setup_teardown(what_includes_the_best_comes_before_its_like, set_up, index_repo_tear_down),
        cmocka_unit_test_setup_teardown(what_is_changed_together_is_chosen_together, set_up, index_repo_tear_down),
        cmocka_unit_test_setup_teardown(a_test_is_chosen_with_what_it_tests, set_up, index_repo_tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
