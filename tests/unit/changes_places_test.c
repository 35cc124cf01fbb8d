/* Where a request is about: lines of files, told by the names that it uses. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tui/changes/places.h"

static const char header[] = "#ifndef RING_H\n#define RING_H\n\n/* False when it is full. */\nbool ring_put(struct ring *r, int value);\nint ring_take(struct ring *r);\n\n#endif\n";
static const char source[] = "#include \"ring.h\"\n"
                             "\n"
                             "static const int limits[] = { 1, 2, 3 };\n"
                             "\n"
                             "/* One behind the other. */\n"
                             "bool ring_put(struct ring *r, int value)\n"
                             "{\n"
                             "    return r->count < limits[0] && store(r, value);\n"
                             "}\n"
                             "\n\n\n\n\n\n\n\n\n\n\n"
                             "\n\n\n\n\n"
                             "int ring_take(struct ring *r)\n"
                             "{\n"
                             "    return r->count ? fetch(r) : -1;\n"
                             "}\n";
static const char test[] = "#include \"ring.h\"\n\nint main(void)\n{\n    return !ring_put(0, 1);\n}\n";
static const char other[] = "int apart(void)\n{\n    return 1;\n}\n";

static const struct kg_shown_file files[] = {
    { .path = "ring.h", .text = header, .length = sizeof header - 1 },
    { .path = "src/ring.c", .text = source, .length = sizeof source - 1 },
    { .path = "test_ring.c", .text = test, .length = sizeof test - 1 },
    { .path = "other.c", .text = other, .length = sizeof other - 1 },
};
#define FILES (sizeof files / sizeof *files)

/* Places as "PATH FIRST-LAST, ...". */
static void expect(const char *request, const char *wanted)
{
    struct kg_edit_place *places;
    size_t count;
    struct kg_error err;
    char text[1000] = "";
    if (kg_places_of(request, files, FILES, &places, &count, &err) != KG_OK)
        fail_msg("%s: %s", request, err.text);
    for (size_t i = 0, n = 0; i < count; i++)
        n += (size_t)snprintf(text + n, sizeof text - n, "%s%s %u-%u", i ? ", " : "", files[places[i].file].path, places[i].first, places[i].last);
    free(places);
    assert_string_equal(text, wanted);
}

/* The file that defines it comes first, with the table that it uses; the rest in its order. */
static void names_lead_to_what_holds_them(void **state)
{
    (void)state;
    expect("Rename ring_put to ring_push everywhere.", "src/ring.c 3-9, ring.h 4-5, test_ring.c 3-6");
    expect("The function ring_take should return 0 for nothing", "src/ring.c 26-29, ring.h 6-6");
    expect("ring_put and ring_take swap", "src/ring.c 3-9, src/ring.c 26-29, test_ring.c 3-6");
}

static void words_in_quotes_and_behind_cues_are_names(void **state)
{
    (void)state;
    expect("call `store` in another way", "src/ring.c 3-9");
    expect("rename the member count", "src/ring.c 3-9, src/ring.c 26-29");
    expect("apart(void) is 2", "other.c 1-4");
}

/* A word of plain English that no file defines is a name only where nothing better is. */
static void other_words_are_a_last_resort(void **state)
{
    (void)state;
    expect("the value that ring_take gives is negative", "src/ring.c 26-29");
    expect("take another value", "src/ring.c 3-9");
}

static void a_test_that_fails_is_not_changed(void **state)
{
    (void)state;
    expect("the test of ring_put fails", "src/ring.c 3-9");
    expect("add a test of ring_put", "src/ring.c 3-9, test_ring.c 3-6");
    expect("test_ring.c: main crashes", "test_ring.c 3-6");
}

/* What uses it, or only declares it, is left alone. */
static void what_is_wrong_lies_in_what_is_named(void **state)
{
    (void)state;
    expect("ring_put crashes", "src/ring.c 3-9");
    expect("struct ring: store crashes", "src/ring.c 3-9, src/ring.c 26-29");
}

static void declarations_are_places_for_what_they_say(void **state)
{
    (void)state;
    expect("ring_take should be quicker", "src/ring.c 26-29");
    expect("give ring_take another parameter", "src/ring.c 26-29, ring.h 6-6");
}

static void a_file_that_is_named_is_a_place(void **state)
{
    (void)state;
    expect("ring_take: the same as in other.c", "src/ring.c 26-29, other.c 1-4");
    expect("ring_take is not in another.c", "src/ring.c 26-29");
}

static void files_are_places_where_no_word_is_theirs(void **state)
{
    (void)state;
    expect("speed it up", "ring.h 1-8, src/ring.c 1-29, test_ring.c 1-6, other.c 1-4");
}

static void a_new_file_is_no_place(void **state)
{
    struct kg_edit_place *places;
    size_t count;
    struct kg_error err;
    (void)state;
    assert_int_equal(kg_places_of("put ring_take into a new file", files, FILES, &places, &count, &err), KG_ERR_NOT_FOUND);
    assert_int_equal(kg_places_of("Create files for ring_take", files, FILES, &places, &count, &err), KG_ERR_NOT_FOUND);
    expect("ring_take should create a ring", "src/ring.c 26-29");
}

static void too_many_places_are_said(void **state)
{
    char text[8000] = "";
    struct kg_edit_place *places;
    size_t count, n = 0;
    struct kg_error err;
    (void)state;
    for (int i = 0; i < 60; i++)
        n += (size_t)snprintf(text + n, sizeof text - n, "use(it_all);\n%s", "\n\n\n\n\n\n\n\n\n\n\n\n");
    const struct kg_shown_file file = { .path = "many.c", .text = text, .length = n };
    assert_int_equal(kg_places_of("rename it_all", &file, 1, &places, &count, &err), KG_ERR_RANGE);
    assert_null(places);
    const struct kg_shown_file empty = { .path = "empty.c", .text = "", .length = 0 };
    assert_int_equal(kg_places_of("rename it_all", &empty, 1, &places, &count, &err), KG_ERR_NOT_FOUND);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_lead_to_what_holds_them), cmocka_unit_test(words_in_quotes_and_behind_cues_are_names),
        cmocka_unit_test(other_words_are_a_last_resort), cmocka_unit_test(a_test_that_fails_is_not_changed),
        cmocka_unit_test(what_is_wrong_lies_in_what_is_named), cmocka_unit_test(declarations_are_places_for_what_they_say),
        cmocka_unit_test(a_file_that_is_named_is_a_place), cmocka_unit_test(files_are_places_where_no_word_is_theirs),
        cmocka_unit_test(a_new_file_is_no_place), cmocka_unit_test(too_many_places_are_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
