#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/status.h"

static void error_text_has_no_control_bytes(void **state)
{
    (void)state;
    struct kg_error err;
    assert_int_equal(kg_fail(&err, KG_ERR_FORMAT, "bad name %s", "a\x1b[2Jb\xc2\x9b\xff\xe2\x80\xae"), KG_ERR_FORMAT);
    assert_int_equal(err.status, KG_ERR_FORMAT);
    assert_string_equal(err.text, "bad name a\\x1b[2Jb\\xc2\\x9b\\xff\\xe2\\x80\\xae");
}

static void error_text_is_cut_at_a_character(void **state)
{
    (void)state;
    struct kg_error err;
    char raw[2 * KG_ERROR_TEXT];
    for (size_t i = 0; i + 2 < sizeof raw; i += 2)
        memcpy(raw + i, "\xc3\xa4", 3);
    kg_fail(&err, KG_ERR_IO, "%s", raw);
    size_t length = strlen(err.text);
    assert_true(length < KG_ERROR_TEXT && length > KG_ERROR_TEXT - 8);
    assert_int_equal((unsigned char)err.text[0], 0xc3);
    char small[6];
    kg_printable(small, sizeof small, "\xc3\xa4\xc3\xa4\xc3\xa4", 6);
    assert_string_equal(small, "\xc3\xa4\xc3\xa4");
}

static void every_status_has_a_name(void **state)
{
    (void)state;
    for (int i = 0; i < KG_STATUS_COUNT; i++)
        assert_true(strlen(kg_status_name((enum kg_status)i)) > 1);
    assert_string_equal(kg_status_name((enum kg_status)999), "unknown status");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(error_text_has_no_control_bytes),
        cmocka_unit_test(error_text_is_cut_at_a_character),
        cmocka_unit_test(every_status_has_a_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
