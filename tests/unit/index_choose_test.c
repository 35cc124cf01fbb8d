#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "index_repo.h"
#include "repo-index/fuzzy.h"

struct chosen {
    unsigned count;
    uint32_t tokens;
    char paths[64][200];
    char reasons[64][400];
};

static int on_choice(void *ctx, const struct kg_choice *choice)
{
    struct chosen *chosen = ctx;
    assert_true(chosen->count < 64);
    assert_true(choice->tokens >= choice->bytes / KG_BYTES_PER_TOKEN);
    snprintf(chosen->paths[chosen->count], 200, "%s", choice->path);
    snprintf(chosen->reasons[chosen->count++], 400, "%s", choice->reason);
    chosen->tokens += choice->tokens;
    return 0;
}

static const struct chosen *choose(const char *question, uint32_t tokens)
{
    static struct chosen chosen;
    struct kg_error err = { 0 };
    memset(&chosen, 0, sizeof chosen);
    if (kg_index_choose(here.index, question, tokens, on_choice, &chosen, &err) != KG_OK)
        fail_msg("cannot choose: %s", err.text);
    return &chosen;
}

static bool has(const struct chosen *chosen, const char *path)
{
    for (unsigned i = 0; i < chosen->count; i++)
        if (strcmp(chosen->paths[i], path) == 0)
            return true;
    return false;
}

static int on_path(void *ctx, const char *path)
{
    struct chosen *chosen = ctx;
    snprintf(chosen->paths[chosen->count++], 200, "%s", path);
    return chosen->count == 64;
}

static const struct chosen *complete(const char *pattern)
{
    static struct chosen chosen;
    struct kg_error err = { 0 };
    memset(&chosen, 0, sizeof chosen);
    assert_int_equal(kg_index_complete(here.index, pattern, 10, on_path, &chosen, &err), KG_OK);
    return &chosen;
}

/* A small program in several languages, with the usual distractors. */
static int set_up(void **state)
{
    index_repo_set_up(state);
    index_repo_write(&here, "README.md", "# Bird counter\n\nCounts birds in recordings.\n\n## Building\n\nRun make.\n");
    index_repo_write(&here, "Makefile", "all: birds\nbirds: src/main.c\n\tcc -o birds src/main.c\n");
    index_repo_write(&here, "CHANGELOG", "1.2: the spectrum is computed by a Fourier transform, window sizes\n1.1: spectrum, spectrum\n");
    index_repo_write(&here, "src/main.c", "#include \"spectrum.h\"\n\nint main(int argc, char **argv)\n{\n    return count_birds(argv[1]);\n}\n");
    index_repo_write(&here, "src/spectrum.h", "/* short-time Fourier transform */\nvoid spectrum_compute(const float *samples, float *out);\n");
    index_repo_write(&here, "src/spectrum.c",
                     "#include \"spectrum.h\"\n\n/* windowed Fourier transform of the samples */\nvoid spectrum_compute(const float *samples, float *out)\n{\n"
                     "    out[0] = samples[0];\n}\n");
    index_repo_write(&here, "src/recording/reader.py", "class WaveReader:\n    def read_header(self):\n        pass\n");
    index_repo_write(&here, "src/recording/writer.py", "class WaveWriter:\n    def write_header(self):\n        pass\n");
    index_repo_write(&here, "web/src/player.ts", "export function playRecording(url: string) {\n  return new Audio(url)\n}\n");
    index_repo_write(&here, "java/org/birds/Nest.java", "package org.birds;\npublic class Nest {\n    public int hatch() { return 1; }\n}\n");
    index_repo_write(&here, "tests/spectrum_test.c", "/* spectrum_compute of a Fourier transform */\nint main(void)\n{\n    spectrum_compute(0, 0);\n}\n");
    index_repo_write(&here, "a/util.py", "def join_alpha(): pass\n");
    index_repo_write(&here, "b/util.py", "def join_beta(): pass\n");
    here.index = index_repo_open(&here);
    index_repo_refresh(here.index);
    return 0;
}

static void a_named_file_comes_first(void **state)
{
    (void)state;
    static const struct {
        const char *question, *path, *reason;
    } cases[] = {
        { "What is wrong in src/recording/reader.py?", "src/recording/reader.py", "named in the question" },
        { "compare writer.py with the spectrum", "src/recording/writer.py", "named in the question" },
        { "recording/writer.py", "src/recording/writer.py", "named in the question" },
        { "./src/main.c: what is argc", "src/main.c", "named in the question" },
        { "src/spectrum.c:4:6: error: conflicting types for 'spectrum_compute'", "src/spectrum.c", "named in the question, line 4" },
        { "  File \"/home/me/birds/src/recording/reader.py\", line 2, in read_header", "src/recording/reader.py", "named in the question, line 2" },
        { "at playRecording (/app/web/src/player.ts:2:10)", "web/src/player.ts", "named in the question, line 2" },
        { "Exception at org.birds.Nest.hatch(Nest.java:3)", "java/org/birds/Nest.java", "named in the question, line 3" },
        { "panic in src\\recording\\reader.py(7)", "src/recording/reader.py", "named in the question, line 7" },
        { "--- a/src/main.c", "src/main.c", "named in the question" },
        { "what does the Makefile build", "Makefile", "named in the question" },
        { "see `b/util.py`.", "b/util.py", "named in the question" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const struct chosen *chosen = choose(cases[i].question, 10000);
        if (chosen->count == 0 || strcmp(chosen->paths[0], cases[i].path) != 0 || strcmp(chosen->reasons[0], cases[i].reason) != 0)
            fail_msg("%s: %s (%s)", cases[i].question, chosen->paths[0], chosen->reasons[0]);
    }
    const struct chosen *both = choose("join in util.py", 10000);
    assert_true(has(both, "a/util.py") && has(both, "b/util.py"));
    /* a name of many: the words of the question decide between them */
    index_repo_sh(&here, "for i in c d e f; do mkdir $i; echo \"def join_$i$i(): pass\" > $i/util.py; done");
    index_repo_refresh(here.index);
    const struct chosen *many = choose("what does join_ee in util.py do?", 10000);
    assert_string_equal(many->paths[0], "e/util.py");
    assert_true(has(many, "a/util.py") && has(many, "f/util.py"));
    many = choose("which files are in the directory src/recording?", 10000);
    assert_true(has(many, "src/recording/reader.py") && has(many, "src/recording/writer.py"));
}

static void words_find_the_file_that_defines(void **state)
{
    (void)state;
    assert_string_equal(choose("Where is spectrum_compute implemented?", 10000)->paths[0], "src/spectrum.c");
    assert_string_equal(choose("Where is spectrum_compute implemented?", 10000)->reasons[0], "defines: spectrum_compute");
    const struct chosen *chosen = choose("How is the windowed Fourier transform computed?", 10000);
    assert_string_equal(chosen->paths[0], "src/spectrum.c");
    assert_true(has(chosen, "src/spectrum.h"));
    assert_string_equal(choose("who reads the header of a wave?", 10000)->paths[0], "src/recording/reader.py");
    assert_string_equal(choose("What does main do?", 10000)->paths[0], "src/main.c");
    assert_string_equal(choose("which tests cover the spectrum", 10000)->paths[0], "tests/spectrum_test.c");
}

static void a_question_about_the_whole_gets_the_readme(void **state)
{
    (void)state;
    static const char *const questions[] = { "What does this project do?", "Explain the architecture of this codebase", "what is this?" };
    for (size_t i = 0; i < sizeof questions / sizeof questions[0]; i++) {
        const struct chosen *chosen = choose(questions[i], 10000);
        assert_string_equal(chosen->paths[0], "README.md");
        assert_string_equal(chosen->reasons[0], "describes the project");
        assert_true(has(chosen, "src/main.c"));
    }
    assert_true(has(choose("How do I install it?", 10000), "README.md"));
    assert_int_equal(choose("zzyzx qqq", 10000)->count, 0);
    assert_int_equal(choose("", 10000)->count, 0);
}

static void the_budget_holds_and_the_list_is_stable(void **state)
{
    (void)state;
    static const char question[] = "spectrum reader writer recording main birds Nest header README.md";
    for (uint32_t budget = 0; budget < 300; budget += 7) {
        struct chosen once = *choose(question, budget);
        const struct chosen *again = choose(question, budget);
        assert_true(once.tokens <= budget);
        assert_memory_equal(&once, again, sizeof once);
    }
    struct chosen before = *choose(question, 10000);
    assert_true(before.count > 5);
    index_repo_write(&here, "far/away.txt", "nothing to do with it\n");
    index_repo_refresh(here.index);
    const struct chosen *after = choose(question, 10000);
    assert_int_equal(after->count, before.count);
    for (unsigned i = 0; i < before.count; i++)
        assert_string_equal(after->paths[i], before.paths[i]);
}

static void any_text_is_a_question(void **state)
{
    (void)state;
    char *text = malloc(200001);
    uint32_t seed = 1;
    for (int round = 0; round < 20; round++) {
        for (int i = 0; i < 200000; i++) {
            seed = seed * 1664525U + 1013904223U;
            unsigned char c = round % 2 ? (unsigned char)(seed >> 24) : (unsigned char)"ab/.:\\_ \n`(1"[(seed >> 24) % 12];
            text[i] = (char)(c ? c : 'x');
        }
        text[200000] = '\0';
        choose(text, 10000);
    }
    free(text);
}

static void typed_characters_complete_a_path(void **state)
{
    (void)state;
    assert_string_equal(complete("spec")->paths[0], "src/spectrum.c");
    assert_string_equal(complete("rread")->paths[0], "src/recording/reader.py");
    assert_string_equal(complete("Nest")->paths[0], "java/org/birds/Nest.java");
    assert_string_equal(complete("nest")->paths[0], "java/org/birds/Nest.java");
    assert_string_equal(complete("buti")->paths[0], "b/util.py");
    assert_string_equal(complete("web/pl")->paths[0], "web/src/player.ts");
    assert_int_equal(complete("NESt")->count, 0);
    assert_int_equal(complete("nothinglikeit")->count, 0);
    assert_int_equal(complete("")->count, 10);
    assert_string_equal(complete("")->paths[0], "CHANGELOG");
}

static int best(const char *pattern, const char *path)
{
    const char *slash = strrchr(path, '/');
    return kg_fuzzy_best(pattern, path, slash ? slash + 1 : path);
}

static void better_alignments_score_higher(void **state)
{
    (void)state;
    assert_true(best("abc", "x/abc.c") > best("abc", "x/axbxc.c"));
    assert_true(best("ri", "repo-index/x.c") > best("ri", "drill/x.c"));
    assert_true(best("st", "a/store.c") > best("st", "store/a.c"));
    assert_true(best("gN", "a/getName.c") > best("gN", "a/gettiNg.c"));
    assert_true(best("foo", "a/foo.c") > best("foo", "a/barfoo.c"));
    assert_int_equal(best("abc", "acb"), 0);
    /* the exact score never falls below that of the first alignment */
    static const char *const paths[] = { "src/spectrum.c", "s/p/e/c.c", "axbxcx/abc", "aab/ab_ab.c", "test_state_store.c" };
    static const char *const patterns[] = { "spec", "abc", "ab", "tss", "s" };
    for (size_t i = 0; i < 5; i++)
        for (size_t k = 0; k < 5; k++) {
            const char *slash = strrchr(paths[i], '/');
            int quick = kg_fuzzy_quick(patterns[k], paths[i], slash ? slash + 1 : paths[i]);
            assert_true((quick > 0) == (best(patterns[k], paths[i]) > 0));
            assert_true(best(patterns[k], paths[i]) >= quick);
        }
    char deep[3000];
    memset(deep, 'a', sizeof deep);
    deep[sizeof deep - 1] = '\0';
    assert_true(kg_fuzzy_best("aaa", deep, deep) > 0);
    assert_int_equal(kg_fuzzy_best(deep, "a", "a"), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_named_file_comes_first, set_up, index_repo_tear_down),
        cmocka_unit_test_setup_teardown(words_find_the_file_that_defines, set_up, index_repo_tear_down),
        cmocka_unit_test_setup_teardown(a_question_about_the_whole_gets_the_readme, set_up, index_repo_tear_down),
        cmocka_unit_test_setup_teardown(the_budget_holds_and_the_list_is_stable, set_up, index_repo_tear_down),
        cmocka_unit_test_setup_teardown(any_text_is_a_question, set_up, index_repo_tear_down),
        cmocka_unit_test_setup_teardown(typed_characters_complete_a_path, set_up, index_repo_tear_down),
        cmocka_unit_test(better_alignments_score_higher),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
