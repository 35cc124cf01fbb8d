/* Budgets: parts of files, and the map. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "index_repo.h"

struct listed {
    unsigned count;
    uint32_t tokens;
    struct {
        char path[200];
        uint32_t first, last;
    } parts[400];
};

static int on_part(void *ctx, const struct kg_context_part *part)
{
    struct listed *listed = ctx;
    assert_true(listed->count < 400);
    assert_true(part->tokens >= part->bytes / KG_BYTES_PER_TOKEN && part->reason[0]);
    snprintf(listed->parts[listed->count].path, 200, "%s", part->path);
    listed->parts[listed->count].first = part->first;
    listed->parts[listed->count++].last = part->last;
    listed->tokens += part->tokens;
    return 0;
}

static const struct listed *context(const char *question, uint32_t tokens, bool parts)
{
    static struct listed listed;
    struct kg_error err = { 0 };
    const struct kg_context_request request = { .question = question, .tokens = tokens, .files = 40, .parts = parts };
    memset(&listed, 0, sizeof listed);
    if (kg_index_context(here.index, &request, on_part, &listed, &err) != KG_OK)
        fail_msg("cannot choose: %s", err.text);
    return &listed;
}

/* A long file with one function in its middle that matters, of lines 201 to 206. */
static void write_long(void)
{
    static char text[40000];
    size_t n = 0;
    for (int i = 0; i < 40; i++)
        n += (size_t)sprintf(text + n, "int before_%d(void)\n{\n    return %d;\n}\n\n", i, i);
    n += (size_t)sprintf(text + n, "int steep_tea(int minutes)\n{\n    int kettle = minutes;\n\n    return kettle;\n}\n");
    for (int i = 0; i < 40; i++)
        n += (size_t)sprintf(text + n, "\nint behind_%d(void)\n{\n    return %d;\n}\n", i, i);
    index_repo_write(&here, "long.c", text);
}

static int set_up(void **state)
{
    index_repo_set_up(state);
    write_long();
    index_repo_write(&here, "tea.h", "int steep_tea(int minutes);\n");
    index_repo_write(&here, "user.c", "#include \"tea.h\"\nint main(void)\n{\n    return steep_tea(3);\n}\n");
    index_repo_write(&here, "other.c", "#include \"tea.h\"\nint other(void)\n{\n    return steep_tea(4);\n}\n");
    here.index = index_repo_open(&here);
    index_repo_refresh(here.index);
    assert_int_equal(kg_index_read_symbols(here.index, NULL, NULL, NULL), KG_OK);
    return 0;
}

static void a_long_file_gives_the_definition_that_matters(void **state)
{
    (void)state;
    const struct listed *listed = context("how does steep_tea treat the kettle", 200, true);
    assert_true(listed->count >= 2);
    assert_string_equal(listed->parts[0].path, "long.c");
    assert_int_equal(listed->parts[0].first, 201);
    assert_int_equal(listed->parts[0].last, 206);
    listed = context("how does steep_tea treat the kettle", 10000, true);
    assert_int_equal(listed->parts[0].first, 0); /* room for all of it */
    for (unsigned i = 0; i < context("steep_tea kettle", 200, false)->count; i++) /* whole files only */
        assert_int_equal(context("steep_tea kettle", 200, false)->parts[i].first, 0);
}

static void parts_keep_to_the_budget_and_apart(void **state)
{
    (void)state;
    static const char *const questions[] = { "steep_tea kettle", "before_3 behind_30 steep_tea", "return minutes", "int" };
    for (size_t q = 0; q < sizeof questions / sizeof questions[0]; q++)
        for (uint32_t tokens = 1; tokens < 700; tokens += 13) {
            struct listed once = *context(questions[q], tokens, true);
            assert_true(once.tokens <= tokens);
            for (unsigned i = 0; i < once.count; i++) {
                assert_true(once.parts[i].first <= once.parts[i].last);
                if (i && once.parts[i].first && strcmp(once.parts[i].path, once.parts[i - 1].path) == 0)
                    assert_true(once.parts[i].first > once.parts[i - 1].last);
            }
            assert_memory_equal(&once, context(questions[q], tokens, true), sizeof once);
        }
}

static void a_file_that_changed_meanwhile_gives_no_parts(void **state)
{
    (void)state;
    index_repo_write(&here, "long.c", "int x;\n");
    const struct listed *listed = context("steep_tea kettle", 200, true);
    for (unsigned i = 0; i < listed->count; i++)
        assert_string_not_equal(listed->parts[i].path, "long.c");
    index_repo_sh(&here, "rm long.c && ln -s /etc/passwd long.c");
    context("steep_tea kettle", 200, true);
}

struct drawn {
    char text[100000];
    size_t length, bytes;
    char path[200];
    unsigned count;
};

static int on_symbol(void *ctx, const struct kg_index_symbol *symbol)
{
    struct drawn *drawn = ctx;
    drawn->count++;
    if (strcmp(drawn->path, symbol->path) != 0)
        drawn->bytes += (size_t)snprintf(drawn->path, sizeof drawn->path, "%s", symbol->path) + 2;
    drawn->bytes += strlen(symbol->signature) + 9;
    drawn->length += (size_t)sprintf(drawn->text + drawn->length, "%s:%u %s\n", symbol->path, symbol->line, symbol->signature);
    return 0;
}

static const struct drawn *map(uint32_t tokens)
{
    static struct drawn drawn;
    struct kg_error err = { 0 };
    memset(&drawn, 0, sizeof drawn);
    if (kg_index_map(here.index, tokens, on_symbol, &drawn, &err) != KG_OK)
        fail_msg("cannot draw: %s", err.text);
    return &drawn;
}

static void the_map_begins_with_what_is_included_most(void **state)
{
    (void)state;
    assert_string_equal(map(14)->text, "tea.h:1 int steep_tea(int minutes)\n");
    struct drawn all = *map(100000);
    assert_int_equal(all.count, 84);
    assert_memory_equal(all.text, "tea.h:1 ", 8);
    for (uint32_t tokens = 0; tokens < 1200; tokens += 7) {
        struct drawn once = *map(tokens);
        assert_true((double)once.bytes <= tokens * KG_BYTES_PER_TOKEN);
        assert_string_equal(once.text, map(tokens)->text);
    }
}

static int keep_paths(void *ctx, const struct kg_context_part *part)
{
    char *all = ctx;
    size_t n = strlen(all);
    snprintf(all + n, 1000 - n, "%s;", part->path);
    return 0;
}

/* The paths in one text, best first. */
static const char *listed(struct kg_index *index, const char *question, const char *open)
{
    static char all[1000];
    struct kg_error err = { 0 };
    const struct kg_context_request request = { .question = question, .files = 10, .open = &open, .open_count = open ? 1 : 0 };
    all[0] = '\0';
    assert_int_equal(kg_index_context(index, &request, keep_paths, all, &err), KG_OK);
    return all;
}

/* Without a line that includes anything: names alone tell. */
static void names_link_files(void **state)
{
    (void)state;
    struct kg_index *index = index_repo_open(&here);
    index_repo_write(&here, "a/brew.rb", "def brew_marmalade\n  stir_the_pot(3)\nend\n");
    index_repo_write(&here, "b/stir.rb", "def stir_the_pot(times)\n  times\nend\n");
    index_repo_write(&here, "c/other.rb", "def sweep_the_floor(times)\n  times\nend\n");
    for (int i = 0; i < 30; i++) {
        char path[32], text[64];
        snprintf(path, sizeof path, "d/f%d.rb", i);
        snprintf(text, sizeof text, "def filler_number_%d\n  1\nend\n", i);
        index_repo_write(&here, path, text);
    }
    index_repo_refresh(index);
    /* both hold the word once; the one whose name the best file uses comes first, whatever the order of paths */
    assert_string_equal(listed(index, "times of brew_marmalade", NULL), "a/brew.rb;b/stir.rb;c/other.rb;");
    index_repo_write(&here, "a/brew.rb", "def brew_marmalade\n  sweep_the_floor(3)\nend\n");
    index_repo_refresh(index);
    assert_string_equal(listed(index, "times of brew_marmalade", NULL), "a/brew.rb;c/other.rb;b/stir.rb;");
    /* and what is open prefers what it uses, is not listed, and finds it where no word does */
    assert_string_equal(listed(index, "marmalade", "a/brew.rb"), "c/other.rb;");
    kg_index_close(index);
}

/* What ctags knows and the look of a line does not. */
static void symbols_count_as_definitions(void **state)
{
    (void)state;
    struct kg_index *index = index_repo_open(&here);
    struct kg_error err = { 0 };
    index_repo_write(&here, "a.c", "static int cold;\nvoid call(void)\n{\n    (void)(cold == quench_iron);\n}\n");
    index_repo_write(&here, "z.c", "/* one two three four five six seven eight nine ten eleven twelve thirteen fourteen */\nenum kind { COLD,\n    quench_iron };\n");
    index_repo_refresh(index);
    assert_string_equal(listed(index, "quench_iron", NULL), "a.c;z.c;");
    assert_int_equal(kg_index_read_symbols(index, NULL, NULL, &err), KG_OK);
    assert_string_equal(listed(index, "quench_iron", NULL), "z.c;a.c;");
    kg_index_close(index);
}

struct meanwhile {
    struct kg_index *other; /* writes the index between two paths */
    struct listed listed;
    unsigned includes;
};

static int on_include(void *ctx, const char *path)
{
    struct meanwhile *meanwhile = ctx;
    char text[64];
    snprintf(text, sizeof text, "int new_%u;\n", meanwhile->includes);
    index_repo_write(&here, "new.c", text);
    index_repo_refresh(meanwhile->other);
    assert_true(strcmp(path, "tea.h") == 0 || strcmp(path, "kettle.h") == 0);
    meanwhile->includes++;
    return kg_index_complete(here.index, "zzz", 1, NULL, NULL, NULL) != KG_OK;
}

static int on_part_meanwhile(void *ctx, const struct kg_context_part *part)
{
    struct meanwhile *meanwhile = ctx;
    index_repo_write(&here, "new.c", part->path);
    index_repo_refresh(meanwhile->other);
    assert_int_equal(kg_index_imports(here.index, part->path, on_include, meanwhile, NULL), KG_OK);
    return on_part(&meanwhile->listed, part);
}

/* As where files are chosen and what they include is looked up one after the other. */
static void the_index_may_change_while_files_are_given(void **state)
{
    (void)state;
    static struct meanwhile meanwhile;
    struct kg_error err = { 0 };
    const struct kg_context_request request = { .question = "how does steep_tea treat the kettle", .files = 40 };
    index_repo_write(&here, "user.c", "#include \"tea.h\"\n#include \"kettle.h\"\nint main(void)\n{\n    return steep_tea(3);\n}\n");
    index_repo_write(&here, "kettle.h", "int kettle;\n");
    index_repo_refresh(here.index);
    struct listed plain = *context(request.question, 0, false);
    assert_true(plain.count >= 4);
    meanwhile = (struct meanwhile){ .other = index_repo_open(&here) };
    if (kg_index_context(here.index, &request, on_part_meanwhile, &meanwhile, &err) != KG_OK)
        fail_msg("cannot choose: %s", err.text);
    assert_memory_equal(&meanwhile.listed, &plain, sizeof plain);
    assert_int_equal(meanwhile.includes, 3);
    kg_index_close(meanwhile.other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_long_file_gives_the_definition_that_matters, set_up, index_repo_tear_down),
        cmocka_unit_test_setup_teardown(parts_keep_to_the_budget_and_apart, set_up, index_repo_tear_down),
        cmocka_unit_test_setup_teardown(a_file_that_changed_meanwhile_gives_no_parts, set_up, index_repo_tear_down),
        cmocka_unit_test_setup_teardown(names_link_files, set_up, index_repo_tear_down),
        cmocka_unit_test_setup_teardown(symbols_count_as_definitions, set_up, index_repo_tear_down),
        cmocka_unit_test_setup_teardown(the_index_may_change_while_files_are_given, set_up, index_repo_tear_down),
        cmocka_unit_test_setup_teardown(the_map_begins_with_what_is_included_most, set_up, index_repo_tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
