/* What kedge.conf, a repository's .kedge.conf and the command line may say, and what comes of it. */
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

#include "tui/config/config.h"
#include "tui/config/lines.h"

struct place {
    char root[64], person[128], repository[128];
    struct kg_config *config;
    struct kg_error err;
};

static int make_place(void **state)
{
    char path[160];
    struct place *p = calloc(1, sizeof *p);
    strcpy(p->root, "/tmp/kedge-config-XXXXXX");
    if (!mkdtemp(p->root))
        return -1;
    setenv("XDG_CONFIG_HOME", p->root, 1);
    unsetenv("KEDGE_MODEL");
    snprintf(path, sizeof path, "%s/kedge", p->root);
    mkdir(path, 0700);
    snprintf(p->person, sizeof p->person, "%s/kedge/kedge.conf", p->root);
    snprintf(p->repository, sizeof p->repository, "%s/.kedge.conf", p->root);
    p->config = kg_config_create();
    *state = p;
    return 0;
}

static int remove_place(void **state)
{
    char path[160];
    struct place *p = *state;
    kg_config_free(p->config);
    unlink(p->person);
    unlink(p->repository);
    rmdir(p->person);
    rmdir(p->repository);
    snprintf(path, sizeof path, "%s/kedge", p->root);
    rmdir(path);
    int result = rmdir(p->root);
    free(p);
    return result;
}

static void put_bytes(const char *path, const char *text, size_t length)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(fwrite(text, 1, length, file), length);
    fclose(file);
}

static void put(const char *path, const char *text)
{
    put_bytes(path, text, strlen(text));
}

static enum kg_status load(struct place *p)
{
    kg_config_free(p->config);
    p->config = kg_config_create();
    p->err.text[0] = '\0';
    return kg_config_load(p->config, p->root, &p->err);
}

static void assert_refused(struct place *p, const char *text, const char *message)
{
    put(p->person, text);
    assert_int_equal(load(p), KG_ERR_FORMAT);
    if (!strstr(p->err.text, message))
        fail_msg("'%s' does not say '%s'", p->err.text, message);
    assert_non_null(strstr(p->err.text, p->person));
}

static void the_defaults_are_the_engines(void **state)
{
    struct place *p = *state;
    struct kg_sampling ours = kg_config_sampling(p->config), engines = kg_sampling_default();
    struct kg_engine_options engine = { .model_path = "kept" };
    struct kg_session_options session = { .name = "kept" };
    assert_int_equal(load(p), KG_OK); /* no file at all */
    ours = kg_config_sampling(p->config);
    assert_true(ours.temperature == engines.temperature && ours.top_k == engines.top_k && ours.top_p == engines.top_p && ours.min_p == engines.min_p);
    assert_true(ours.penalty == engines.penalty && ours.penalty_last == engines.penalty_last && ours.seed == engines.seed);
    assert_int_equal(kg_config_fill(p->config, &engine, &session, &p->err), KG_OK);
    assert_string_equal(engine.backend, "best");
    assert_int_equal(engine.threads, 0);
    assert_int_equal(engine.cache_bytes, 0);
    assert_false(engine.cache_off);
    assert_int_equal(engine.index_bits, KG_INDEX_BITS);
    assert_string_equal(engine.kv, "f16");
    assert_int_equal(session.policy, ((struct kg_session_options){ 0 }).policy);
    assert_int_equal(session.recall.window, KG_RECALL_WINDOW);
    assert_int_equal(session.recall.k, KG_RECALL_K);
    assert_false(session.drafts_off);
    assert_string_equal(engine.model_path, "kept");
    assert_string_equal(session.name, "kept");
    assert_null(kg_config_model(p->config, (char[KG_PATH_MAX]){ 0 }));
}

static void a_card_has_a_number(void **state)
{
    struct place *p = *state;
    static const char *const good[] = { "best", "cpu", "cuda", "cuda:0", "cuda:12", "cuda:999", "ref" };
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        assert_int_equal(kg_config_set(p->config, KG_OPTION_DEVICE, good[i], "--device", &p->err), KG_OK);
        assert_string_equal(kg_config_text(p->config, KG_OPTION_DEVICE), good[i]);
    }
}

static void layers_are_a_number_or_auto(void **state)
{
    struct place *p = *state;
    static const char *const good[] = { "auto", "0", "28", "999" }, *const bad[] = { "", "N", "-1", "1000", "2x", "auto:2", ":3", "all" };
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        assert_int_equal(kg_config_set(p->config, KG_OPTION_GPU_LAYERS, good[i], "--gpu-layers", &p->err), KG_OK);
        assert_string_equal(kg_config_text(p->config, KG_OPTION_GPU_LAYERS), good[i]);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(kg_config_set(p->config, KG_OPTION_GPU_LAYERS, bad[i], "--gpu-layers", &p->err), KG_ERR_USAGE);
}

static void every_row_is_whole(void **state)
{
    struct place *p = *state;
    char allowed[128];
    for (int i = 0; i < KG_OPTION_COUNT; i++) {
        const struct kg_option_row *row = kg_option_row((enum kg_option)i);
        assert_non_null(row->name);
        assert_non_null(row->section);
        assert_true(strlen(row->help) > 10);
        assert_int_equal(strcspn(row->name, "=. []"), strlen(row->name));
        assert_string_equal(kg_config_text(p->config, (enum kg_option)i), row->standard);
        assert_string_equal(kg_config_origin(p->config, (enum kg_option)i), "default");
        kg_option_allowed((enum kg_option)i, allowed, sizeof allowed);
        assert_true(strlen(allowed) < sizeof allowed - 1);
        assert_true(i == 0 || strcmp(row->section, kg_option_row((enum kg_option)(i - 1))->section) >= 0 || *row->section); /* "" comes first */
    }
}

static void policies_are_the_engines(void **state)
{
    struct place *p = *state;
    char choices[256], *rest = choices;
    enum kg_policy policy;
    snprintf(choices, sizeof choices, "%s", kg_option_row(KG_OPTION_POLICY)->choices);
    for (char *word; (word = strsep(&rest, " "));)
        assert_int_equal(kg_policy_parse(word, &policy, &p->err), KG_OK);
}

static void a_file_says_everything(void **state)
{
    struct place *p = *state;
    struct kg_engine_options engine = { 0 };
    struct kg_session_options session = { 0 };
    char model[KG_PATH_MAX], expected[KG_PATH_MAX];
    put(p->person, "\xef\xbb\xbf# a comment\n; another\n\nmodel = ~/a model.gguf\n  threads=3\ndevice = ref\r\npolicy = full ; said aside\n"
                   "[recall]\nwindow = 64\nk = 4096\nbits = 4\n[cache]\nbudget = 20G\noff = yes\nkv = q8_0\n"
                   "[generate]\ntemperature = 0\nseed = 18446744073709551615\nmax-tokens = 7\ndrafts = no\n[read]\nbudget = 5");
    assert_int_equal(load(p), KG_OK);
    assert_int_equal(kg_config_fill(p->config, &engine, &session, &p->err), KG_OK);
    assert_int_equal(session.recall.window, 64);
    assert_int_equal(session.recall.k, 4096);
    assert_string_equal(engine.backend, "ref");
    assert_int_equal(engine.threads, 3);
    assert_int_equal(engine.cache_bytes, (uint64_t)20 << 30);
    assert_true(engine.cache_off);
    assert_true(session.drafts_off);
    assert_int_equal(engine.index_bits, 4);
    assert_string_equal(engine.kv, "q8_0");
    assert_string_equal(kg_policy_name(session.policy), "full");
    assert_true(kg_config_sampling(p->config).temperature == 0);
    assert_true(kg_config_sampling(p->config).seed == UINT64_MAX);
    assert_int_equal(kg_config_number(p->config, KG_OPTION_MAX_TOKENS), 7);
    assert_int_equal(kg_config_number(p->config, KG_OPTION_READ_BUDGET), 5);
    setenv("HOME", "/home/me", 1);
    snprintf(expected, sizeof expected, "%s, line 5", p->person);
    assert_string_equal(kg_config_origin(p->config, KG_OPTION_THREADS), expected);
    assert_string_equal(kg_config_model(p->config, model), "/home/me/a model.gguf");
    setenv("KEDGE_MODEL", "other", 1);
    assert_int_equal(load(p), KG_OK);
    assert_string_equal(kg_config_model(p->config, model), "other");
    assert_string_equal(kg_config_origin(p->config, KG_OPTION_MODEL), "$KEDGE_MODEL");
    unsetenv("KEDGE_MODEL");
}

static void mistakes_are_named(void **state)
{
    struct place *p = *state;
    assert_refused(p, "\n\nthread = 2\n", ", line 3: there is no option 'thread' here; there are model, threads, device, gpu-layers, policy");
    assert_refused(p, "window = 100\n", ", line 1: there is no option 'window' here; it belongs under [recall]");
    assert_refused(p, "[cache]\nmodel = x\n", ", line 2: there is no option 'model' here; it belongs above the first [SECTION]");
    assert_refused(p, "[caches]\noff = yes\n", ", line 2: there is no section [caches]; there are [read], [recall], [cache], [generate], [complete], [input], [screen]");
    assert_refused(p, "threads = many\n", "threads = many: it may be a number from 0 to 1024");
    assert_refused(p, "threads = -1\n", "a number from 0 to 1024");
    assert_refused(p, "threads = 1025\n", "a number from 0 to 1024");
    assert_refused(p, "threads = 99999999999999999999\n", "a number from 0 to 1024");
    assert_refused(p, "[recall]\nwindow = 63\n", "line 2: recall.window = 63: it may be a number from 64 to 8192");
    assert_refused(p, "[recall]\nbits = 3\n", "recall.bits = 3: it may be 1, 2 or 4");
    assert_refused(p, "[recall]\nbits = 1 2\n", "it may be 1, 2 or 4");
    assert_refused(p, "[recall]\nbits =\n", "it may be 1, 2 or 4");
    assert_refused(p, "device = cp\n", "it may be best, cpu, cuda, cuda:N or ref");
    assert_refused(p, "device = cuda:\n", "it may be best");
    assert_refused(p, "device = cuda:1000\n", "it may be best");
    assert_refused(p, "device = cuda:1x\n", "it may be best");
    assert_refused(p, "device = cuda:N\n", "it may be best");
    assert_refused(p, "[cache]\nbudget = 20GB\n", "a number of bytes such as 500M or 20G");
    assert_refused(p, "[cache]\nbudget = 99999999999T\n", "a number of bytes such as 500M or 20G");
    assert_refused(p, "[cache]\noff = true\n", "it may be yes or no");
    assert_refused(p, "[generate]\ntop-p = 1.1\n", "a number from 0.0001 to 1");
    assert_refused(p, "[generate]\ntop-p = nan\n", "a number from 0.0001 to 1");
    assert_refused(p, "[generate]\ntemperature = 0x1p3\n", "a number from 0 to 100");
    assert_refused(p, "[generate]\ntemperature = 0,5\n", "a number from 0 to 100");
    assert_refused(p, "threads = 1\nthreads = 1\n", "line 2: threads is set a second time, after line 1");
    assert_refused(p, "threads\n", "line 1: neither [SECTION] nor NAME = VALUE");
    assert_refused(p, "[recall\nk = 1\n", "line 1: neither [SECTION] nor NAME = VALUE");
    assert_refused(p, "threads = 1\n  device = cpu\n  nonsense\n", "line 3: neither");
}

static void hostile_files_do_no_harm(void **state)
{
    struct place *p = *state;
    char *text = malloc(KG_LINES_BYTES + 2);
    assert_refused(p, "model = \x1b]0;owned\x07\n", "line 1: a control character");
    assert_null(strchr(p->err.text, 0x1b));
    put_bytes(p->person, "threads = 1\0\n", 13);
    assert_int_equal(load(p), KG_ERR_FORMAT);
    memset(text, 'a', KG_LINES_BYTES + 1);
    memcpy(text, "model=", 6);
    put_bytes(p->person, text, 5000);
    assert_int_equal(load(p), KG_ERR_FORMAT);
    assert_non_null(strstr(p->err.text, "line 1: the line has 5000 bytes; at most "));
    text[0] = '#'; /* a comment may be long */
    put_bytes(p->person, text, 5000);
    assert_int_equal(load(p), KG_OK);
    put_bytes(p->person, text, KG_LINES_BYTES);
    assert_int_equal(load(p), KG_OK);
    put_bytes(p->person, text, KG_LINES_BYTES + 1);
    assert_int_equal(load(p), KG_ERR_RANGE);
    unlink(p->person);
    assert_int_equal(mkfifo(p->person, 0600), 0);
    assert_int_equal(load(p), KG_ERR_UNSUPPORTED);
    unlink(p->person);
    assert_int_equal(mkdir(p->person, 0700), 0);
    assert_int_equal(load(p), KG_ERR_UNSUPPORTED);
    assert_int_equal(rmdir(p->person), 0);
    assert_int_equal(symlink("/nonexistent", p->person), 0);
    assert_int_equal(load(p), KG_OK);
    free(text);
}

static void a_person_may_link(void **state)
{
    struct place *p = *state;
    char target[128];
    snprintf(target, sizeof target, "%s/elsewhere", p->root);
    put(target, "threads = 5\n");
    assert_int_equal(symlink(target, p->person), 0);
    assert_int_equal(symlink(target, p->repository), 0);
    assert_int_equal(load(p), KG_OK);
    assert_int_equal(kg_config_number(p->config, KG_OPTION_THREADS), 5);
    assert_int_equal(kg_config_notices(p->config), 1);
    assert_non_null(strstr(kg_config_notice(p->config, 0), ".kedge.conf is a link and was left out"));
    unlink(target);
}

static void a_repository_sets_what_is_safe(void **state)
{
    struct place *p = *state;
    put(p->person, "threads = 2\n[read]\nbudget = 100\n");
    put(p->repository, "model = /tmp/evil.gguf\nthreads = 9\ndevice = ref\n[read]\nbudget = 200\n[cache]\nbudget = 1\n[recall]\nk = 1\n[nowhere]\nx = 1\n");
    assert_int_equal(load(p), KG_OK);
    assert_int_equal(kg_config_number(p->config, KG_OPTION_READ_BUDGET), 200);
    assert_int_equal(kg_config_number(p->config, KG_OPTION_THREADS), 2);
    assert_string_equal(kg_config_text(p->config, KG_OPTION_MODEL), "");
    assert_int_equal(kg_config_number(p->config, KG_OPTION_CACHE_BUDGET), 0);
    assert_int_equal(kg_config_notices(p->config), 6);
    assert_non_null(strstr(kg_config_notice(p->config, 0), "/.kedge.conf, line 1: a repository cannot set model; it may set [read] budget, [read] ignore, [screen] theme"));
    assert_non_null(strstr(kg_config_notice(p->config, 5), "line 11: there is no section [nowhere]"));
    for (int i = 0; i < KG_OPTION_COUNT; i++) /* what names a program, a file or a machine's part is the person's alone */
        assert_true(!kg_option_row((enum kg_option)i)->repository || (i != KG_OPTION_MODEL && i != KG_OPTION_DEVICE && i != KG_OPTION_CACHE_BUDGET));
}

/* Each option by itself: a repository sets what the table says, and of everything else nothing comes but a notice. */
static void of_each_option_it_sets_what_is_safe_only(void **state)
{
    struct place *p = *state;
    static const char *const safe[] = { "read.budget", "read.ignore", "screen.theme" };
    unsigned allowed = 0;
    for (int i = 0; i < KG_OPTION_COUNT; i++) {
        enum kg_option option = (enum kg_option)i;
        const struct kg_option_row *row = kg_option_row(option);
        char text[512], first[64];
        const char *value = row->kind == KG_OPTION_TEXT ? "/tmp/evil" : row->kind == KG_OPTION_SWITCH ? (strcmp(row->standard, "yes") == 0 ? "no" : "yes") : NULL;
        if (row->kind == KG_OPTION_CHOICE) { /* one that is not the default */
            const char *choice = row->choices;
            if (strncmp(choice, row->standard, strlen(row->standard)) == 0)
                choice = strchr(choice, ' ') + 1;
            snprintf(first, sizeof first, "%.*s", (int)strcspn(choice, " "), choice);
            value = first;
        } else if (!value) {
            snprintf(first, sizeof first, "%s", strcmp(row->standard, "1") == 0 ? "2" : "1");
            if (row->least > 1)
                snprintf(first, sizeof first, "%llu", (unsigned long long)row->least + 1);
            value = first;
        }
        snprintf(text, sizeof text, "%s%s%s\n%s = %s\n", *row->section ? "[" : "", row->section, *row->section ? "]" : "", row->name, value);
        put(p->repository, text);
        struct kg_config *config = kg_config_create();
        assert_int_equal(kg_config_load(config, p->root, NULL), KG_OK);
        bool is_safe = false;
        for (size_t k = 0; k < sizeof safe / sizeof safe[0]; k++)
            is_safe |= strcmp(kg_option_full_name(option), safe[k]) == 0;
        assert_int_equal(is_safe, row->repository);
        allowed += is_safe;
        assert_string_equal(kg_config_text(config, option), is_safe ? value : row->standard);
        assert_int_equal(kg_config_notices(config), !is_safe);
        if (!is_safe)
            assert_non_null(strstr(kg_config_notice(config, 0), "a repository cannot set"));
        kg_config_free(config);
    }
    assert_int_equal(allowed, 3);
    /* names that other programs know, and ours does not */
    static const char *const lines[] = { "adapter = /tmp/evil.gguf", "url = http://evil/", "command = rm", "editor = rm", "[complete]\nmodel = /tmp/evil.gguf", "[screen]\ncolour = 16" };
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        put(p->repository, lines[i]);
        struct kg_config *config = kg_config_create();
        assert_int_equal(kg_config_load(config, p->root, NULL), KG_OK);
        assert_int_equal(kg_config_notices(config), 1);
        kg_config_free(config);
    }
}

static void many_mistakes_of_a_repository_are_counted(void **state)
{
    struct place *p = *state;
    char text[4096] = "";
    for (int i = 0; i < 50; i++)
        strcat(text, "nonsense\x1b[31m\n");
    strcat(text, "[read]\nbudget = 3\n");
    put(p->repository, text);
    assert_int_equal(load(p), KG_OK);
    assert_int_equal(kg_config_notices(p->config), KG_CONFIG_NOTICES);
    assert_non_null(strstr(kg_config_notice(p->config, 6), "line 7: a control character"));
    assert_string_equal(kg_config_notice(p->config, 7), "and 43 more lines of it were left out");
    assert_int_equal(kg_config_number(p->config, KG_OPTION_READ_BUDGET), 3);
}

static void the_command_line_beats_all(void **state)
{
    struct place *p = *state;
    put(p->person, "threads = 2\n[read]\nbudget = 100\n");
    put(p->repository, "[read]\nbudget = 200\n");
    assert_int_equal(kg_config_assign(p->config, "read.budget=300", "--set", &p->err), KG_OK);
    assert_int_equal(kg_config_set(p->config, KG_OPTION_THREADS, "4", "-t", &p->err), KG_OK);
    assert_int_equal(kg_config_load(p->config, p->root, &p->err), KG_OK);
    assert_int_equal(kg_config_number(p->config, KG_OPTION_READ_BUDGET), 300);
    assert_int_equal(kg_config_number(p->config, KG_OPTION_THREADS), 4);
    assert_string_equal(kg_config_origin(p->config, KG_OPTION_THREADS), "-t");
    assert_int_equal(kg_config_set(p->config, KG_OPTION_THREADS, "5", "-t", &p->err), KG_OK); /* the last one counts */
    assert_int_equal(kg_config_number(p->config, KG_OPTION_THREADS), 5);
    assert_int_equal(kg_config_set(p->config, KG_OPTION_THREADS, "x", "-t", &p->err), KG_ERR_USAGE);
    assert_string_equal(p->err.text, "-t: threads = x: it may be a number from 0 to 1024");
    assert_int_equal(kg_config_assign(p->config, "recall.x=1", "--set", &p->err), KG_ERR_USAGE);
    assert_string_equal(p->err.text, "--set: there is no option 'x' here; there are window, k, bits");
    assert_int_equal(kg_config_assign(p->config, "threads", "--set", &p->err), KG_ERR_USAGE);
    assert_int_equal(kg_config_assign(p->config, "threads=6", "--set", &p->err), KG_OK);
    assert_int_equal(kg_config_number(p->config, KG_OPTION_THREADS), 6);
}

/* The default file says what it is said to say: with every option taken in, nothing changes. */
static void the_default_file_is_read_back(void **state)
{
    struct place *p = *state;
    char *text = NULL;
    size_t length;
    FILE *memory = open_memstream(&text, &length);
    kg_config_write_default(memory);
    fclose(memory);
    for (char *at = text; (at = strstr(at, "\n#")); at++)
        if (at[2] != ' ')
            at[1] = ' ';
    put(p->person, text);
    assert_int_equal(load(p), KG_OK);
    for (int i = 0; i < KG_OPTION_COUNT; i++) {
        assert_string_equal(kg_config_text(p->config, (enum kg_option)i), kg_option_row((enum kg_option)i)->standard);
        assert_string_not_equal(kg_config_origin(p->config, (enum kg_option)i), "default");
    }
    free(text);
}

int main(void)
{
#define CONFIG_TEST(f) cmocka_unit_test_setup_teardown(f, make_place, remove_place)
    const struct CMUnitTest tests[] = {
        CONFIG_TEST(the_defaults_are_the_engines),
        CONFIG_TEST(a_card_has_a_number),
        CONFIG_TEST(layers_are_a_number_or_auto),
        CONFIG_TEST(every_row_is_whole),
        CONFIG_TEST(policies_are_the_engines),
        CONFIG_TEST(a_file_says_everything),
        CONFIG_TEST(mistakes_are_named),
        CONFIG_TEST(hostile_files_do_no_harm),
        CONFIG_TEST(a_person_may_link),
        CONFIG_TEST(a_repository_sets_what_is_safe),
        CONFIG_TEST(of_each_option_it_sets_what_is_safe_only),
        CONFIG_TEST(many_mistakes_of_a_repository_are_counted),
        CONFIG_TEST(the_command_line_beats_all),
        CONFIG_TEST(the_default_file_is_read_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
