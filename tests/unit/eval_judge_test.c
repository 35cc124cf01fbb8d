/* Programs against their tests: what passes, what fails and why, and what only pretends. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "tui/commands/eval_judge.h"

static const char prompt[] = "from typing import List\n\n\ndef helper(x):\n    return x + 1\n\n\ndef twice(n: int) -> List[int]:\n    \"\"\" n, n \"\"\"\n";
static const char test[] = "\n\nMETADATA = {}\n\n\ndef check(candidate):\n    assert candidate(2) == [2, 2]\n    assert candidate(0) == [0, 0]\n    assert helper(1) == 2\n";

static bool skipped;

static int look_for_sandbox(void **state)
{
    struct kg_error err;
    (void)state;
    skipped = kg_judge_check(&err) != KG_OK;
    if (skipped)
        print_message("# SKIP %s\n", err.text);
    return 0;
}

static void expect_of(const struct kg_tested_program *program, const char *reason)
{
    struct kg_judgement judgement;
    struct kg_error err;
    if (skipped)
        skip();
    if (kg_judge(program, NULL, &judgement, &err) != KG_OK)
        fail_msg("%s", err.text);
    if (strcmp(judgement.reason, reason) != 0)
        fail_msg("'%s' in place of '%s': %.200s", judgement.reason, reason, program->code.text);
    assert_int_equal(judgement.passed, strcmp(reason, "passed") == 0);
}

static void expect(const char *code, bool continues, const char *reason)
{
    struct kg_tested_program program = { .prompt = prompt, .code = { code, strlen(code) }, .continues = continues, .test = test, .entry_point = "twice" };
    expect_of(&program, reason);
}

static void test_right_programs(void **state)
{
    (void)state;
    expect("    return [n, n]\n", true, "passed");
    expect("def twice(n: int) -> List[int]:\n    return [n, n]", false, "passed"); /* imports and helpers are the prompt's */
    expect("   def twice(n):\n       return [n, n]", false, "passed");              /* a block in a list */
    expect("def check(n):\n    return [n, n]\ndef twice(n):\n    return check(n)", false, "passed");
    expect("def twice(n):\n    print('x' * 100000); print('wrong', flush=True)\n    return [n, n]\nif __name__ == '__main__':\n    exit(1)", false, "passed");
    expect("def twice(n):\n    return [n, n] # \xc3\xa9 \xff\n", false, "passed");
    struct kg_tested_program bodiless = { .prompt = "def f(x):\n", .code = { "def f(x): return 1", 18 }, .test = "def check(c): assert c(0) == 1", .entry_point = "f" };
    expect_of(&bodiless, "passed");
}

static void test_wrong_programs(void **state)
{
    (void)state;
    expect("    return [n]\n", true, "wrong");
    expect("    return None\n", true, "wrong");
    expect("def twice(n):\n    return n.foo", false, "error: AttributeError");
    expect("def thrice(n):\n    return [n, n]", false, "error: NameError"); /* the prompt's own head does not count */
    expect("    return [n, n", true, "error: SyntaxError");
    expect("    raise KeyboardInterrupt", true, "error: KeyboardInterrupt");
    expect("    class \xc3\xa9(Exception): pass\n    raise \xc3\xa9()", true, "error: exception");
    expect("    raise type('a\\x1b[2J' + 'b' * 99, (Exception,), {})()", true, "error: exception");
    expect("    return [n, n] if n else twice(n)", true, "error: RecursionError");
    expect("    while True: pass", true, "time");
    expect("    return bytearray(10 << 30)", true, "memory");
}

static void test_pretenders(void **state)
{
    (void)state;
    expect("    import os; os._exit(0)", true, "error: exit 0 before the tests' end");
    expect("    raise SystemExit(0)", true, "error: SystemExit");
    expect("import sys, atexit\nsys.exit(0)", false, "error: SystemExit");
    expect("    print('[\"\", \"passed\"]')\n    import os\n    for fd in range(20):\n        try: os.write(fd, b'[\"\", \"passed\"]')\n        except OSError: pass\n"
           "    os._exit(0)", true, "error: exit 0 before the tests' end");
    expect("    import os\n    for fd in range(20):\n        try: os.write(fd, b'x' * 9000)\n        except OSError: pass\n    return [n, n]", true, "error: too much output");
    expect("def twice(n):\n    print('all tests passed')\n", false, "wrong");
    expect("import os\ndef twice(n):\n    os.write = os._exit = lambda *a: None\n    return n", false, "wrong");
    expect("    import os; os.kill(os.getpid(), 11)", true, "error: signal 11");
    expect("    import os; os.execv('/usr/bin/true', ['true'])", true, "error: exit 0 before the tests' end");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_right_programs),
        cmocka_unit_test(test_wrong_programs),
        cmocka_unit_test(test_pretenders),
    };
    return cmocka_run_group_tests(tests, look_for_sandbox, NULL);
}
