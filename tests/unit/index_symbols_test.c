/* What texts define: by ctags, by the look of the lines, with programs and texts that misbehave. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <signal.h>
#include <sys/stat.h>

#include "index_repo.h"
#include "repo-index/ctags.h"
#include "repo-index/symbol.h"

static char path_before[4096];

static int set_up(void **state)
{
    snprintf(path_before, sizeof path_before, "%s", getenv("PATH"));
    index_repo_set_up(state);
    here.index = index_repo_open(&here);
    return 0;
}

static int tear_down(void **state)
{
    setenv("PATH", path_before, 1);
    return index_repo_tear_down(state);
}

struct listed {
    char lines[200000];
    size_t length;
    unsigned count;
};

static int on_symbol(void *ctx, const struct kg_index_symbol *symbol)
{
    struct listed *listed = ctx;
    listed->count++;
    if (listed->length < sizeof listed->lines - 2000)
        listed->length += (size_t)sprintf(listed->lines + listed->length, "%s:%u-%u %s %s [%s] %s\n", symbol->path, symbol->line, symbol->end, symbol->kind, symbol->name,
                                          symbol->scope, symbol->signature);
    return 0;
}

static const struct listed *symbols(const char *query, uint32_t limit)
{
    static struct listed listed;
    struct kg_error err = { 0 };
    listed = (struct listed){ 0 };
    if (kg_index_symbols(here.index, query, limit, on_symbol, &listed, &err) != KG_OK)
        fail_msg("cannot list: %s", err.text);
    return &listed;
}

static int count_found(void *ctx, uint32_t done, uint32_t found)
{
    (void)done;
    *(uint32_t *)ctx = found;
    return 0;
}

/* Texts that were read for it. */
static uint32_t read_symbols(void)
{
    uint32_t found = 0;
    struct kg_error err = { 0 };
    index_repo_refresh(here.index);
    if (kg_index_read_symbols(here.index, count_found, &found, &err) != KG_OK)
        fail_msg("cannot read symbols: %s", err.text);
    return found;
}

static void definitions_are_listed_with_their_signatures(void **state)
{
    (void)state;
    index_repo_write(&here, "a.c", "#include \"a.h\"\n#define LIMIT 3\n\nstatic int add_numbers(int a,\n                       int b)\n{\n    int local = a;\n    return local + b;\n}\n\nstruct point {\n    int x;\n};\n");
    index_repo_write(&here, "a.h", "int add_numbers(int a, int b);\n");
    index_repo_write(&here, "b.py", "import os as o\n\nclass Bird:\n    def sing(self, loud=True):\n        note = 1\n        return note\n");
    index_repo_write(&here, "c.ts", "export interface Nest {\n  eggs: number\n}\nexport function hatch(nest: Nest): void {\n  const egg = nest.eggs\n}\n");
    index_repo_write(&here, "d.json", "{\"add_numbers\": 1}\n");
    index_repo_write(&here, "e.unknown", "def somewhat(x):\n");
    assert_int_equal(read_symbols(), 6);
    assert_int_equal(read_symbols(), 0);
    assert_string_equal(symbols("", 100)->lines,
                        "a.c:2-2 macro LIMIT [] #define LIMIT 3\n"
                        "a.c:4-9 function add_numbers [] static int add_numbers(int a, int b)\n"
                        "a.c:11-13 struct point [] struct point\n"
                        "a.c:12-12 member x [point] int x\n"
                        "a.h:1-1 prototype add_numbers [] int add_numbers(int a, int b)\n"
                        "b.py:3-6 class Bird [] class Bird\n"
                        "b.py:4-6 member sing [Bird] def sing(self, loud=True)\n"
                        "c.ts:1-0 interface Nest [] export interface Nest\n"
                        "c.ts:2-0 property eggs [Nest] eggs: number\n"
                        "c.ts:4-0 function hatch [] export function hatch(nest: Nest): void\n"
                        "e.unknown:1-0 definition somewhat [] def somewhat(x)\n");
    assert_string_equal(symbols("add_numbers", 100)->lines, "a.c:4-9 function add_numbers [] static int add_numbers(int a, int b)\n"
                                                           "a.h:1-1 prototype add_numbers [] int add_numbers(int a, int b)\n");
    assert_string_equal(symbols("numbers ADD", 1)->lines, "a.c:4-9 function add_numbers [] static int add_numbers(int a, int b)\n");
    assert_int_equal(symbols("b.py", 100)->count, 2);
    assert_int_equal(symbols("nowhere", 100)->count, 0);
    index_repo_write(&here, "b.py", "class Birds:\n    pass\n");
    assert_int_equal(read_symbols(), 1);
    assert_string_equal(symbols("bird", 100)->lines, "b.py:1-2 class Birds [] class Birds\n");
}

static const struct listed *complete(const struct kg_definitions *definitions, const char *pattern, uint32_t limit)
{
    static struct listed listed;
    struct kg_error err = { 0 };
    listed = (struct listed){ 0 };
    assert_int_equal(kg_definitions_complete(definitions, pattern, limit, on_symbol, &listed, &err), KG_OK);
    return &listed;
}

static int stop_at_once(void *ctx, uint32_t done, uint32_t found)
{
    (void)ctx, (void)done, (void)found;
    return 1;
}

static void names_are_completed(void **state)
{
    (void)state;
    struct kg_definitions *definitions = NULL;
    struct kg_error err = { 0 };
    index_repo_write(&here, "a.c", "int add_numbers(int a, int b)\n{\n    return a + b;\n}\n\nint number_of(void)\n{\n    return 1;\n}\n");
    index_repo_write(&here, "a.h", "int add_numbers(int a, int b);\n");
    index_repo_write(&here, "copy/a.h", "int add_numbers(int a, int b);\n");
    index_repo_write(&here, "b.py", "class NumberReader:\n    def sum2(self):\n        pass\n");
    assert_int_equal(kg_index_definitions(here.index, &definitions, NULL, NULL, &err), KG_OK);
    assert_int_equal(kg_definitions_count(definitions), 0);
    read_symbols();
    assert_int_equal(kg_index_definitions(here.index, &definitions, stop_at_once, NULL, &err), KG_ERR_CANCELLED);
    assert_int_equal(complete(definitions, "num", 10)->count, 0);
    assert_int_equal(kg_index_definitions(here.index, &definitions, NULL, NULL, &err), KG_OK);
    assert_string_equal(complete(definitions, "adnu", 10)->lines, "a.c:1-4 function add_numbers [] \n"
                                                                  "a.h:1-1 prototype add_numbers [] \n"
                                                                  "copy/a.h:1-1 prototype add_numbers [] \n");
    assert_string_equal(complete(definitions, "number", 2)->lines, "a.c:6-9 function number_of [] \n"
                                                                   "b.py:1-3 class NumberReader [] \n");
    assert_string_equal(complete(definitions, "Reader", 2)->lines, "b.py:1-3 class NumberReader [] \n");
    assert_int_equal(complete(definitions, "umber", 10)->count, 0); /* no word begins so */
    assert_int_equal(complete(definitions, "NUMBER", 10)->count, 0);
    assert_int_equal(complete(definitions, "sum2", 10)->count, 1);
    assert_int_equal(complete(definitions, "", 10)->count, 0);
    assert_int_equal(complete(definitions, "\xff\xc3", 10)->count, 0);
    struct kg_definitions *before = definitions;
    assert_int_equal(kg_index_definitions(here.index, &definitions, stop_at_once, NULL, &err), KG_OK); /* nothing has changed */
    assert_ptr_equal(definitions, before);
    index_repo_write(&here, "b.py", "class Renamed:\n    pass\n");
    read_symbols();
    assert_int_equal(kg_index_definitions(here.index, &definitions, NULL, NULL, &err), KG_OK);
    assert_int_equal(complete(definitions, "sum2", 10)->count, 0);
    assert_int_equal(complete(definitions, "ren", 10)->count, 1);
    kg_definitions_free(definitions);
}

static void configuration_of_others_is_not_read(void **state)
{
    (void)state;
    index_repo_sh(&here, "mkdir -p .ctags.d ../home/.ctags.d ../home/.config/ctags && echo --no-such-option > .ctags.d/a.ctags && cp .ctags.d/a.ctags ../home/.ctags.d && cp .ctags.d/a.ctags ../home/.config/ctags && cp .ctags.d/a.ctags .ctags");
    index_repo_write(&here, "a.c", "int one(void)\n{\n    return 1;\n}\n");
    setenv("CTAGS", "--no-such-option", 1);
    read_symbols();
    unsetenv("CTAGS");
    assert_string_equal(symbols("one", 10)->lines, "a.c:1-4 function one [] int one(void)\n");
}

static void names_of_files_do_no_harm(void **state)
{
    (void)state;
    static const char *const names[] = { "a\"b.c", "a\nb.c", "a\\.c", "\xff\xfe.c", "-o.c", "--version.c", "a\tb.c", "\xe2\x80\xae" "c.c" };
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        char text[60];
        snprintf(text, sizeof text, "int here%zu(void)\n{\n    return 1;\n}\n", i);
        index_repo_write(&here, names[i], text);
    }
    read_symbols();
    assert_int_equal(symbols("here", 100)->count, sizeof names / sizeof names[0]);
}

static void count_tag(void *ctx, const struct kg_ctag *tag)
{
    assert_true(tag->name[0] && tag->line);
    ++*(unsigned *)ctx;
}

static unsigned tags_of(struct kg_ctags *ctags, const char *text, enum kg_ctags_outcome expected)
{
    unsigned count = 0;
    assert_int_equal(kg_ctags_read(ctags, "dir/a.c", text, strlen(text), count_tag, &count), expected);
    return count;
}

static void a_dead_or_stalled_process_is_started_again(void **state)
{
    (void)state;
    static const char text[] = "int one(void)\n{\n}\nint two(void)\n{\n}\n";
    struct kg_ctags *ctags = kg_ctags_new();
    assert_true(kg_ctags_present(ctags)); /* universal-ctags is needed here */
    assert_int_equal(tags_of(ctags, text, KG_CTAGS_DONE), 2);
    int first = kg_ctags_process(ctags);
    assert_int_equal(tags_of(ctags, text, KG_CTAGS_DONE), 2);
    assert_int_equal(kg_ctags_process(ctags), first);
    assert_int_equal(kill(first, SIGKILL), 0);
    assert_int_equal(tags_of(ctags, text, KG_CTAGS_DONE), 2);
    int second = kg_ctags_process(ctags);
    assert_true(second > 0 && second != first);
    assert_int_equal(kill(second, SIGSTOP), 0);
    assert_int_equal(tags_of(ctags, text, KG_CTAGS_FAILED), 0);
    assert_int_equal(tags_of(ctags, text, KG_CTAGS_DONE), 2);
    assert_int_equal(tags_of(ctags, "", KG_CTAGS_DONE), 0);
    kg_ctags_free(ctags);
    assert_int_equal(kill(first, 0), -1); /* and waited for */
    assert_int_equal(kill(second, 0), -1);
}

/* A program in the place of ctags; the only one in PATH beside what sh needs. */
static void put_program(const char *script)
{
    char path[400];
    setenv("PATH", path_before, 1);
    index_repo_sh(&here, "mkdir -p ../bin");
    index_repo_write(&here, "../bin/ctags", script);
    snprintf(path, sizeof path, "%s/../bin/ctags", here.root);
    assert_int_equal(chmod(path, 0755), 0);
    snprintf(path, sizeof path, ":.:bin:%s/../bin", here.root);
    setenv("PATH", path, 1);
}

static void other_programs_of_that_name_are_told(void **state)
{
    (void)state;
    static const char *const scripts[] = { "#!/bin/sh\necho 'ctags: Unknown option' >&2\nexit 1\n", "#!/bin/sh\necho hello\n", "#!/bin/sh\nexec /bin/cat /dev/zero\n" };
    unsigned count = 0;
    for (size_t i = 0; i < sizeof scripts / sizeof scripts[0]; i++) {
        put_program(scripts[i]);
        struct kg_ctags *ctags = kg_ctags_new();
        assert_int_equal(kg_ctags_read(ctags, "a.c", "int x;\n", 7, count_tag, &count), KG_CTAGS_MISSING);
        assert_false(kg_ctags_present(ctags));
        kg_ctags_free(ctags);
    }
    assert_int_equal(count, 0);
    setenv("PATH", ".::bin", 1);
    struct kg_ctags *ctags = kg_ctags_new();
    assert_false(kg_ctags_present(ctags));
    kg_ctags_free(ctags);
}

static void a_program_that_floods_or_dies_is_given_up(void **state)
{
    (void)state;
    unsigned count = 0;
    put_program("#!/bin/sh\necho '{\"_type\":\"program\"}'\nread line\nwhile :; do echo '{\"_type\":\"tag\",\"name\":\"n\",\"kind\":\"k\",\"line\":1,\"text\":\"'$PPID'\"}';"
                " echo '{\"_type\":\"tag\",\"name\":7,\"line\":-1e999}{'; done\n");
    struct kg_ctags *ctags = kg_ctags_new();
    assert_int_equal(kg_ctags_read(ctags, "a.c", "int x;\n", 7, count_tag, &count), KG_CTAGS_FAILED);
    assert_true(count > 0);
    kg_ctags_free(ctags);
    put_program("#!/bin/sh\necho '{\"_type\":\"program\"}'\nread line\n");
    ctags = kg_ctags_new();
    for (int i = 0; i < 20; i++)
        assert_int_equal(kg_ctags_read(ctags, "a.c", "int x;\n", 7, count_tag, &count), KG_CTAGS_FAILED);
    assert_int_equal(kg_ctags_read(ctags, "a.c", "int x;\n", 7, count_tag, &count), KG_CTAGS_MISSING);
    kg_ctags_free(ctags);
}

static void without_ctags_the_lines_tell_and_later_it_is_asked(void **state)
{
    (void)state;
    index_repo_write(&here, "a.c", "int one(int x)\n{\n    return 1;\n}\n");
    setenv("PATH", "/nonexistent", 1);
    index_repo_refresh(here.index);
    assert_int_equal(kg_index_read_symbols(here.index, NULL, NULL, NULL), KG_OK);
    assert_string_equal(symbols("", 10)->lines, "a.c:1-0 definition one [] int one(int x)\n");
    uint32_t again = 0;
    assert_int_equal(kg_index_read_symbols(here.index, count_found, &again, NULL), KG_OK);
    assert_int_equal(again, 0);
    setenv("PATH", path_before, 1);
    kg_index_close(here.index);
    here.index = index_repo_open(&here);
    assert_int_equal(read_symbols(), 1);
    assert_string_equal(symbols("", 10)->lines, "a.c:1-4 function one [] int one(int x)\n");
}

static int stop_at(void *ctx, uint32_t done, uint32_t found)
{
    (void)found;
    return done == *(uint32_t *)ctx;
}

static void what_was_read_before_a_stop_is_kept(void **state)
{
    (void)state;
    struct kg_error err;
    uint32_t stop = 12;
    for (int i = 0; i < 30; i++) {
        char name[20], text[60];
        snprintf(name, sizeof name, "f%02d.c", i);
        snprintf(text, sizeof text, "int f%d(void)\n{\n}\n", i);
        index_repo_write(&here, name, text);
    }
    index_repo_refresh(here.index);
    assert_int_equal(kg_index_read_symbols(here.index, stop_at, &stop, &err), KG_ERR_CANCELLED);
    assert_int_equal(symbols("", 100)->count, 12);
    assert_int_equal(read_symbols(), 18);
    assert_int_equal(symbols("", 100)->count, 30);
}

static void hostile_texts_are_read_or_passed_over(void **state)
{
    (void)state;
    static const char *const names[] = { "a.c", "a.cpp", "a.py", "a.js", "a.ts", "a.go", "a.rs", "a.java", "a.rb", "a.sh", "a.pl", "a.php", "Makefile", "a.md", "a.tcl", "a.sql" };
    static const char *const pieces[] = { "class ", "{", "def ", "function ", "((", "\"", "'", "/*", "<?php ", "\n", "#define ", "struct ", "x", "::", "<<EOF\n", "\\\n", "namespace ", "=" };
    struct kg_ctags *ctags = kg_ctags_new();
    struct kg_symbols symbols_out = { 0 };
    struct kg_symbol_view view;
    char *text = malloc(40064);
    uint32_t seed = 3;
    for (int round = 0; round < 4; round++)
        for (size_t k = 0; k < sizeof names / sizeof names[0]; k++) {
            size_t n = 0;
            while (n < 40000) {
                seed = seed * 1664525U + 1013904223U;
                const char *piece = pieces[(seed >> 24) % (sizeof pieces / sizeof pieces[0])];
                if (round == 0) {
                    text[n++] = (char)(seed >> 24);
                } else {
                    memcpy(text + n, piece, strlen(piece));
                    n += strlen(piece);
                }
            }
            enum kg_symbols_source source;
            assert_true(kg_symbols_of(&symbols_out, ctags, names[k], text, n, &source));
            assert_true(symbols_out.count <= KG_SYMBOLS_MAX);
            unsigned read = 0;
            for (const char *at = symbols_out.bytes; symbols_out.length && kg_symbol_next(&at, symbols_out.bytes + symbols_out.length, &view);)
                read++;
            assert_int_equal(read, symbols_out.count);
        }
    /* records that nobody wrote */
    for (int round = 0; round < 2000; round++) {
        for (size_t i = 0; i < 1000; i++) {
            seed = seed * 1664525U + 1013904223U;
            text[i] = "\t\t\t\t\n1a\0"[(seed >> 24) % 8];
        }
        for (const char *at = text; kg_symbol_next(&at, text + 1000, &view);)
            assert_true(view.line > 0 && strlen(view.signature) < sizeof view.bytes);
    }
    free(text);
    kg_symbols_free(&symbols_out);
    kg_ctags_free(ctags);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(definitions_are_listed_with_their_signatures, set_up, tear_down),
        cmocka_unit_test_setup_teardown(names_are_completed, set_up, tear_down),
        cmocka_unit_test_setup_teardown(configuration_of_others_is_not_read, set_up, tear_down),
        cmocka_unit_test_setup_teardown(names_of_files_do_no_harm, set_up, tear_down),
        cmocka_unit_test(a_dead_or_stalled_process_is_started_again),
        cmocka_unit_test_setup_teardown(other_programs_of_that_name_are_told, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_program_that_floods_or_dies_is_given_up, set_up, tear_down),
        cmocka_unit_test_setup_teardown(without_ctags_the_lines_tell_and_later_it_is_asked, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_was_read_before_a_stop_is_kept, set_up, tear_down),
        cmocka_unit_test(hostile_texts_are_read_or_passed_over),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
