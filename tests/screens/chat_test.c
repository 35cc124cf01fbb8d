/* kedge itself in a real pseudo-terminal, with a real small model and a real repository. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/screens/live.h"
#include "tests/unit/model_run.h"

/* A repository with a file whose name holds an escape sequence. */
static int make_place(void **state)
{
    (void)state;
    if (live_make() != 0)
        return -1;
    live_run("cd %s/repo && printf 'int answer(void)\\n{\\n    return 42;\\n}\\n' >answer.c && "
             "printf '# Notes\\nThe answer is computed by answer().\\n' >README.md && printf 'x\\n' >\"$(printf 'esc\\033[31337m.c')\"",
             live.base);
    return 0;
}

static void assert_restored(struct driver *d)
{
    size_t length;
    const char *raw = driver_raw(d, &length), *last = NULL;
    assert_true(driver_modes_restored(d));
    assert_non_null(strstr(raw, "\x1b[?1049l"));
    assert_null(strstr(raw, "\x1b[31337m"));
    for (const char *at = raw; (at = strstr(at, "\x1b[?2004")); at++)
        last = at;
    assert_int_equal(last[7], 'l');
    last = NULL;
    for (const char *at = raw; (at = strstr(at, "\x1b[?25")); at++)
        last = at;
    assert_true(!last || last[5] == 'h');
}

static void quit(struct driver *d)
{
    driver_send(d, "\x04");
    assert_int_equal(driver_wait_exit(d), 0);
    assert_restored(d);
    driver_free(d);
}

static void a_conversation_is_held_and_resumed(void **state)
{
    (void)state;
    model_path_or_skip("SmolLM2-135M-Instruct.Q4_1.gguf", live.model);
    double begun = driver_seconds();
    struct driver *d = live_start(live.model, "talk", 24, 80);
    driver_wait_for(d, "kedge ");
    driver_wait_for(d, "›");
    print_message("first screen after %.0f ms\n", (driver_seconds() - begun) * 1000);
    driver_send(d, "What does answer.c compute? Explain at length.\r");
    driver_wait_for(d, "› What does answer.c compute?");
    driver_wait_for(d, "tokens: answer.c (");
    driver_wait_for_either(d, "answering", "wrote ");
    driver_resize(d, 10, 40);
    driver_send(d, "\x1b[5~\x1b[H");
    driver_wait_for(d, "kedge ");
    driver_resize(d, 24, 80);
    driver_wait_for_either(d, "answering", "wrote ");
    driver_send(d, "\x1b[F");
    driver_send(d, "\x1b");
    driver_wait_for(d, "reused ");
    driver_wait_for(d, "ready");
    assert_true(driver_shows(d, "tokens"));
    driver_send(d, "/files\r");
    driver_wait_for(d, "tokens in 2 files");
    driver_send(d, "@esc");
    driver_wait_for(d, "31337m.c"); /* offered in a visible form; assert_restored looks at the bytes */
    driver_send(d, "\x15");
    quit(d);
    d = live_start(live.model, "talk", 24, 80);
    driver_wait_for(d, "What does answer.c compute?");
    driver_wait_for(d, "ready");
    driver_send(d, "Go on.\r");
    driver_wait_for_either(d, "answering", "wrote ");
    driver_signal(d, SIGKILL); /* what was asked and answered so far is there again */
    assert_int_equal(driver_wait_exit(d), 128 + SIGKILL);
    driver_free(d);
    d = live_start(live.model, "talk", 24, 80);
    driver_wait_for(d, "› Go on.");
    driver_wait_for(d, "ready");
    quit(d);
}

static void it_is_left_while_the_model_loads(void **state)
{
    (void)state;
    model_path_or_skip("SmolLM2-135M-Instruct.Q4_1.gguf", live.model);
    struct driver *d = live_start(live.model, "hurry", 24, 80);
    driver_wait_for(d, "›");
    quit(d);
}

static void a_file_that_is_no_model_is_told(void **state)
{
    (void)state;
    snprintf(live.model, sizeof live.model, "%s/repo/answer.c", live.base);
    struct driver *d = live_start(live.model, "none", 24, 80);
    driver_wait_for(d, "no model");
    driver_wait_for(d, "! ");
    quit(d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_conversation_is_held_and_resumed, make_place, live_remove),
        cmocka_unit_test_setup_teardown(it_is_left_while_the_model_loads, make_place, live_remove),
        cmocka_unit_test_setup_teardown(a_file_that_is_no_model_is_told, make_place, live_remove),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
