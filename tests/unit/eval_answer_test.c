/* The code in answers, the line that was filled in, and the interval of a share. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "engine/eval/eval.h"

static void expect(const char *answer, enum kg_eval_code kind, const char *code)
{
    struct kg_eval_span span = { 0 };
    enum kg_eval_code got = kg_eval_code_of(answer, "f", &span);
    if (got != kind)
        fail_msg("%d in place of %d: %s", got, kind, answer);
    if (kind == KG_EVAL_NO_CODE)
        return;
    if (span.length != strlen(code) || memcmp(span.text, code, span.length) != 0)
        fail_msg("'%.*s' in place of '%s'", (int)span.length, span.text, code);
}

static void test_blocks(void **state)
{
    (void)state;
    expect("Here:\n```python\ndef f(x):\n    return x\n```\nIt returns x.", KG_EVAL_WHOLE, "def f(x):\n    return x\n");
    expect("```\ndef f(x): pass\n```", KG_EVAL_WHOLE, "def f(x): pass\n");
    expect("```\npython\ndef f(x): pass\n```", KG_EVAL_WHOLE, "def f(x): pass\n"); /* the language in the wrong place */
    expect("```\npythonic = 1\ndef f(x): pass\n```", KG_EVAL_WHOLE, "pythonic = 1\ndef f(x): pass\n");
    expect("~~~ py\ndef f (x): pass\n~~~", KG_EVAL_WHOLE, "def f (x): pass\n");
    expect("```python\r\ndef f(x): pass\r\n```\r\n", KG_EVAL_WHOLE, "def f(x): pass\r\n");
    /* the one that defines the function, wherever it stands */
    expect("```\npip install x\n```\n```python\ndef f(x): pass\n```\n```python\nprint(f(1))\n```", KG_EVAL_WHOLE, "def f(x): pass\n");
    expect("```python\ndef g(): pass\n```\n```python\ndef f2(): pass\n```", KG_EVAL_WHOLE, "def g(): pass\n");
    expect("```python\nasync def f(x): pass\n```", KG_EVAL_WHOLE, "async def f(x): pass\n");
    /* in a list */
    expect("1. So:\n   ```python\n   def f(x):\n       pass\n   ```\n2. Done", KG_EVAL_WHOLE, "   def f(x):\n       pass\n");
    /* a fence in a longer one, and one with words behind it closes nothing */
    expect("````\ndef f(x):\n    '''\n```\n    '''\n````", KG_EVAL_WHOLE, "def f(x):\n    '''\n```\n    '''\n");
    expect("```\ndef f(x): pass\n``` python\n", KG_EVAL_WHOLE, "def f(x): pass\n``` python\n");
    /* cut off */
    expect("```python\ndef f(x):\n    ret", KG_EVAL_WHOLE, "def f(x):\n    ret");
    expect("text\n```", KG_EVAL_NO_CODE, NULL);
    expect("```\n\n```", KG_EVAL_NO_CODE, NULL);
    expect("``\ndef f\n``", KG_EVAL_NO_CODE, NULL);
    /* the body alone */
    expect("```python\n\n    return x\n```", KG_EVAL_CONTINUATION, "\n    return x\n");
}

static void test_bare_answers(void **state)
{
    (void)state;
    expect("    return x\n", KG_EVAL_CONTINUATION, "    return x\n");
    expect("\n\n\treturn x", KG_EVAL_CONTINUATION, "\n\n\treturn x");
    expect("import os\n\ndef f(x):\n    return x\n", KG_EVAL_WHOLE, "import os\n\ndef f(x):\n    return x\n");
    expect("Sure:\n\nfrom a import b\ndef f(x): pass", KG_EVAL_WHOLE, "from a import b\ndef f(x): pass");
    expect("I define f(x) as follows.", KG_EVAL_NO_CODE, NULL);
    expect("def g(): pass", KG_EVAL_NO_CODE, NULL);
    expect("I\n  def f(x): pass", KG_EVAL_NO_CODE, NULL);
    expect("", KG_EVAL_NO_CODE, NULL);
    expect("\n \n", KG_EVAL_NO_CODE, NULL);
    expect("  ", KG_EVAL_NO_CODE, NULL);
    expect("def f", KG_EVAL_NO_CODE, NULL);
}

static void expect_line(const char *text, bool complete, const char *line)
{
    struct kg_eval_span span;
    assert_int_equal(kg_eval_line_of(text, &span), complete);
    assert_int_equal(span.length, strlen(line));
    assert_memory_equal(span.text, line, span.length);
}

static void test_lines(void **state)
{
    (void)state;
    expect_line("    return x  \n    more", true, "return x");
    expect_line("    return x", false, "return x");
    expect_line("\n    return x\n", true, "return x");
    expect_line(" \n    return x\n", true, "return x");
    expect_line("  \n    return x\n", true, "");
    expect_line("\n", false, "");
    expect_line("\n\n", true, "");
    expect_line("", false, "");
    expect_line("x\r\n", true, "x");
}

static void test_intervals(void **state)
{
    (void)state;
    double low, high;
    kg_eval_interval(0, 0, 1, &low, &high);
    assert_true(low == 0 && high == 0);
    kg_eval_interval(0, 20, 1, &low, &high);
    assert_true(low == 0 && high == 0);
    kg_eval_interval(20, 20, 1, &low, &high);
    assert_true(low == 1 && high == 1);
    for (uint64_t seed = 0; seed < 5; seed++) { /* the exact binomial quantiles are 66 and 90 of 156, 6 and 14 of 20 */
        double again, too;
        kg_eval_interval(78, 156, seed, &low, &high);
        assert_true(low * 156 >= 64.9 && low * 156 <= 67.1 && high * 156 >= 88.9 && high * 156 <= 91.1);
        kg_eval_interval(78, 156, seed, &again, &too);
        assert_true(low == again && high == too);
        kg_eval_interval(10, 20, seed, &low, &high);
        assert_true(low * 20 >= 5.9 && low * 20 <= 6.1 && high * 20 >= 13.9 && high * 20 <= 14.1);
    }
}

static void test_spread(void **state)
{
    (void)state;
    for (size_t i = 0; i < 5; i++)
        assert_int_equal(kg_eval_spread(i, 5, 5), i);
    static const size_t four[] = { 0, 258, 516, 774 };
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(kg_eval_spread(i, 4, 1033), four[i]);
    for (size_t i = 1; i < 163; i++)
        assert_true(kg_eval_spread(i, 163, 164) > kg_eval_spread(i - 1, 163, 164) && kg_eval_spread(i, 163, 164) < 164);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_blocks), cmocka_unit_test(test_bare_answers), cmocka_unit_test(test_lines),
        cmocka_unit_test(test_intervals), cmocka_unit_test(test_spread),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
