/* Commands that run beside: their output as plain text, whatever it holds; their ends. */
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tui/interface/shell.h"

static void run(struct kg_shell *shell, const char *command)
{
    struct kg_error err;
    assert_int_equal(kg_shell_start(shell, command, &err), KG_OK);
    do {
        struct pollfd readable = { .fd = shell->fd, .events = POLLIN };
        poll(&readable, 1, 10000);
    } while (!kg_shell_read(shell));
    assert_int_equal(shell->pid, 0);
    assert_int_equal(shell->fd, -1);
}

static void assert_text(const char *raw, size_t raw_length, const char *text)
{
    struct kg_shell shell = { .fd = -1, .output = malloc(raw_length + 1), .length = raw_length };
    size_t length;
    memcpy(shell.output, raw, raw_length);
    const char *got = kg_shell_text(&shell, &length);
    assert_int_equal(length, strlen(text));
    assert_memory_equal(got, text, length);
    kg_shell_clear(&shell);
}

#define ASSERT_TEXT(raw, text) assert_text(raw, sizeof raw - 1, text)

static void output_becomes_plain_text(void **state)
{
    (void)state;
    ASSERT_TEXT("plain\n\tünï\n", "plain\n\tünï\n");
    ASSERT_TEXT("\x1b[1;31mred\x1b[0m \x1b[K\x1b]0;title\x07" "a\x1b]8;;x\x1b\\link\x1b]8;;\x1b\\\x1b(B", "red alinkB");
    ASSERT_TEXT("a\r\nb\r\n", "a\nb\n");
    ASSERT_TEXT("first\n10%\r50%\r100%\nlast\r", "first\n100%\nlast");
    ASSERT_TEXT("open \x1b[31", "open ");
    ASSERT_TEXT("open \x1b]0;tit", "open ");
    ASSERT_TEXT("end \x1b", "end ");
    ASSERT_TEXT("", "");
}

static void any_output_is_taken(void **state)
{
    static const char bytes[] = "\x1b[]m\r\n;\\\a0x";
    char raw[64];
    (void)state;
    srand(3);
    for (int i = 0; i < 20000; i++) {
        size_t n = (size_t)rand() % sizeof raw, length;
        struct kg_shell shell = { .fd = -1, .output = malloc(n + 1), .length = n };
        for (size_t k = 0; k < n; k++)
            shell.output[k] = i % 2 ? bytes[(size_t)rand() % (sizeof bytes - 1)] : (char)rand();
        const char *text = kg_shell_text(&shell, &length);
        assert_true(length <= n);
        assert_null(memchr(text, 0x1b, length));
        assert_null(memchr(text, '\r', length));
        kg_shell_clear(&shell);
    }
}

static void ends_are_told(void **state)
{
    static const struct {
        const char *command;
        int status;
    } cases[] = { { "true", 0 }, { "exit 7", 7 }, { "no-such-program-here 2>/dev/null", 127 }, { "kill -TERM $$", 128 + 15 } };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct kg_shell shell;
        run(&shell, cases[i].command);
        assert_int_equal(shell.status, cases[i].status);
        assert_string_equal(shell.command, cases[i].command);
        kg_shell_clear(&shell);
        assert_null(shell.command);
    }
}

static void much_output_is_cut(void **state)
{
    struct kg_shell shell;
    size_t length;
    (void)state;
    run(&shell, "head -c 1500000 /dev/zero | tr '\\0' y");
    assert_int_equal(shell.left_out, 1500000 - KG_SHELL_MOST);
    kg_shell_text(&shell, &length);
    assert_int_equal(length, KG_SHELL_MOST);
    kg_shell_clear(&shell);
}

static void what_runs_is_ended(void **state)
{
    struct kg_shell shell;
    struct kg_error err;
    (void)state;
    assert_int_equal(kg_shell_start(&shell, "trap '' INT TERM HUP; sleep 1000 & sleep 1000", &err), KG_OK);
    kg_shell_stop(&shell);
    kg_shell_clear(&shell); /* returns at once, and so do its children's ends of the pipe */
    assert_int_equal(shell.pid, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(output_becomes_plain_text), cmocka_unit_test(any_output_is_taken), cmocka_unit_test(ends_are_told),
        cmocka_unit_test(much_output_is_cut),        cmocka_unit_test(what_runs_is_ended),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
