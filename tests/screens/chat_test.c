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

#include "base/paths.h"
#include "tests/screens/driver.h"
#include "tests/unit/model_run.h"

static char place[64], model[KG_PATH_MAX], kedge[KG_PATH_MAX];

static void run(const char *format, ...)
{
    char command[2 * KG_PATH_MAX];
    va_list args;
    va_start(args, format);
    vsnprintf(command, sizeof command, format, args);
    va_end(args);
    assert_int_equal(system(command), 0);
}

/* A repository with a file whose name holds an escape sequence. */
static int make_place(void **state)
{
    const char *built = getenv("O");
    (void)state;
    strcpy(place, "/tmp/kedge-chat-XXXXXX");
    if (!mkdtemp(place) || !realpath(built ? built : "build", kedge))
        return -1;
    strncat(kedge, "/kedge", sizeof kedge - strlen(kedge) - 1);
    run("cd %s && mkdir repo && cd repo && git init -q && printf 'int answer(void)\\n{\\n    return 42;\\n}\\n' >answer.c && "
        "printf '# Notes\\nThe answer is computed by answer().\\n' >README.md && printf 'x\\n' >\"$(printf 'esc\\033[31337m.c')\"",
        place);
    return 0;
}

static int remove_place(void **state)
{
    (void)state;
    run("rm -rf %s", place);
    return 0;
}

static struct driver *start(const char *session, int rows, int columns)
{
    static char state[128], cache[128], repo[128];
    snprintf(state, sizeof state, "KEDGE_STATE=%s/state", place);
    snprintf(cache, sizeof cache, "KEDGE_CACHE=%s/cache", place);
    snprintf(repo, sizeof repo, "%s/repo", place);
    return driver_start((const char *const[]){ kedge, "-C", repo, "-m", model, "--greedy", "--session", session, NULL },
                        (const char *const[]){ state, cache, NULL }, "xterm-256color", rows, columns);
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
    model_path_or_skip("SmolLM2-135M-Instruct.Q4_1.gguf", model);
    double begun = driver_seconds();
    struct driver *d = start("talk", 24, 80);
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
    d = start("talk", 24, 80);
    driver_wait_for(d, "What does answer.c compute?");
    driver_wait_for(d, "ready");
    driver_send(d, "Go on.\r");
    driver_wait_for_either(d, "answering", "wrote ");
    driver_signal(d, SIGKILL); /* what was asked and answered so far is there again */
    assert_int_equal(driver_wait_exit(d), 128 + SIGKILL);
    driver_free(d);
    d = start("talk", 24, 80);
    driver_wait_for(d, "› Go on.");
    driver_wait_for(d, "ready");
    quit(d);
}

static void it_is_left_while_the_model_loads(void **state)
{
    (void)state;
    model_path_or_skip("SmolLM2-135M-Instruct.Q4_1.gguf", model);
    struct driver *d = start("hurry", 24, 80);
    driver_wait_for(d, "›");
    quit(d);
}

static void a_file_that_is_no_model_is_told(void **state)
{
    (void)state;
    snprintf(model, sizeof model, "%s/repo/answer.c", place);
    struct driver *d = start("none", 24, 80);
    driver_wait_for(d, "no model");
    driver_wait_for(d, "! ");
    quit(d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_conversation_is_held_and_resumed, make_place, remove_place),
        cmocka_unit_test_setup_teardown(it_is_left_while_the_model_loads, make_place, remove_place),
        cmocka_unit_test_setup_teardown(a_file_that_is_no_model_is_told, make_place, remove_place),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
