/* Answers of small models that are right but for the form: without a path or with another file's, without the signs of a mark,
 * parts in place of wholes. What they mean is done and said, and what they do not mean is not done. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "tui/changes/proposal.h"

static const char header[] = "#ifndef POINT_H\n#define POINT_H\n\nint near(int a, int b); /* within 2 */\nint far(int a, int b);\n\n#endif\n";
static const char source[] = "#include \"point.h\"\n\n#define MOST 2\n\nint near(int a, int b)\n{\n    return a - b < MOST;\n}\n\nint far(int a, int b)\n{\n    return !near(a, b);\n}\n";

/* What the answer makes of the two files; NULL: it is left as it is. */
static void expect(enum kg_form form, const char *text, enum kg_status status, const char *new_header, const char *new_source, bool said)
{
    struct kg_shown_file files[] = { { .path = "point.h", .text = header, .length = sizeof header - 1 },
                                     { .path = "src/point.c", .text = source, .length = sizeof source - 1 } };
    struct kg_error err = { .text = "" };
    struct kg_proposal proposal;
    struct kg_answer *answer = kg_answer_create(form);
    if (form == KG_FORM_REGION) {
        files[1].first = 5;
        files[1].last = 8;
    }
    assert_non_null(answer);
    assert_int_equal(kg_answer_add(answer, text, strlen(text), &err), KG_OK);
    enum kg_status got = kg_answer_end(answer, true, &err);
    if (got == KG_OK)
        got = kg_proposal_of(answer, files, 2, NULL, &proposal, &err);
    else
        proposal = (struct kg_proposal){ 0 };
    if (got != status)
        fail_msg("%d in place of %d: %s", got, status, err.text);
    assert_int_equal(proposal.count, status == KG_OK ? (new_header != NULL) + (new_source != NULL) : 0);
    for (size_t i = 0; i < proposal.count; i++) {
        const struct kg_change *change = &proposal.changes[i];
        assert_string_equal(change->after, strcmp(change->path, "point.h") == 0 ? new_header : new_source);
        assert_int_equal(change->said != NULL, said);
    }
    kg_proposal_free(&proposal);
    kg_answer_free(answer);
}

static const char near_3[] = "#include \"point.h\"\n\n#define MOST 2\n\nint near(int a, int b)\n{\n    return a - b < 3;\n}\n\nint far(int a, int b)\n{\n    return !near(a, b);\n}\n";

static void test_definitions_by_their_names(void **state)
{
    static const char three[] = "#ifndef POINT_H\n#define POINT_H\n\nint near(int a, int b, int c);\nint far(int a, int b);\n\n#endif\n";
    (void)state;
    expect(KG_FORM_DEFINITION, "```c\nint near(int a, int b)\n{\n    return a - b < 3;\n}\n```\n", KG_OK, NULL, near_3, true);
    expect(KG_FORM_DEFINITION, "point.h\n```c\nint near(int a, int b)\n{\n    return a - b < 3;\n}\n```\n", KG_OK, NULL, near_3, true);
    expect(KG_FORM_DEFINITION, "src/point.c\n```c\nint near(int a, int b)\n{\n    return a - b < 3;\n}\n```\n", KG_OK, NULL, near_3, false);
    /* a declaration is no definition */
    expect(KG_FORM_DEFINITION, "point.h\n```c\nint near(int a, int b, int c);\n```\n", KG_OK, three, NULL, false);
    expect(KG_FORM_DEFINITION, "src/point.c\n```c\nint near(int a, int b, int c);\n```\n", KG_OK, three, NULL, true);
    /* in no file there is such a thing, so where it belongs is not known */
    expect(KG_FORM_DEFINITION, "```c\nint between(int a, int b)\n{\n    return a < b;\n}\n```\n", KG_ERR_FORMAT, NULL, NULL, false);
}

static void test_quoted_lines_change_nothing(void **state)
{
    (void)state;
    expect(KG_FORM_DEFINITION, "src/point.c\n```\nint near(int a, int b)\n{\n    return a - b < 3;\n}\n```\n\npoint.h\n```\n#ifndef POINT_H\n#define POINT_H\n```\n", KG_OK, NULL,
           near_3, false);
    expect(KG_FORM_DEFINITION, "src/point.c\n```\n#define MOST 2\n```\n", KG_ERR_NOT_FOUND, NULL, NULL, false);
}

static void test_region_among_files(void **state)
{
    (void)state;
    expect(KG_FORM_REGION, "```\nint near(int a, int b)\n{\n    return a - b < 3;\n}\n```\n", KG_OK, NULL, near_3, false);
}

static void test_marks_without_signs(void **state)
{
    static const char block[] = "```\nSEARCH\n    return a - b < MOST;\n=======\n    return a - b < 3;\n>>>>>>> REPLACE\n```\n";
    (void)state;
    expect(KG_FORM_SEARCH, block, KG_OK, NULL, near_3, true); /* its file is found by its lines */
    expect(KG_FORM_SEARCH, "src/point.c\n<< SEARCH\n    return a - b < MOST;\n=======\n    return a - b < 3;\n>>>>>>> REPLACE\n", KG_OK, NULL, near_3, false);
    expect(KG_FORM_ANY, block, KG_ERR_NOT_FOUND, NULL, NULL, false);
    expect(KG_FORM_SEARCH, "```\nSEARCH\n    return a - b < MOST;\n```\n", KG_ERR_FORMAT, NULL, NULL, false);
}

static void test_part_of_a_file(void **state)
{
    (void)state;
    expect(KG_FORM_FILE, "src/point.c\n```\nint near(int a, int b)\n{\n    return a - b < 3;\n}\n```\n", KG_OK, NULL, near_3, true);
    expect(KG_FORM_FILE, "src/point.c\n```\n#include \"point.h\"\n\nint near(int a, int b)\n{\n    return a - b < 3;\n}\n```\n", KG_OK, NULL,
           "#include \"point.h\"\n\nint near(int a, int b)\n{\n    return a - b < 3;\n}\n", true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_definitions_by_their_names), cmocka_unit_test(test_quoted_lines_change_nothing), cmocka_unit_test(test_region_among_files),
        cmocka_unit_test(test_marks_without_signs),        cmocka_unit_test(test_part_of_a_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
