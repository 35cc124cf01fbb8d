/* The list of conversations in a real pseudo-terminal, with an engine that follows a script. */
#include "tests/screens/scripted_interface.h"

static void conversations_are_listed(void **state)
{
    (void)state;
    struct driver *d = start(24, 80);
    ask(d, "/sessions");
    driver_wait_for(d, "2 conversations about this repository");
    driver_golden(d, "sessions-80x24");
    driver_resize(d, 10, 40);
    driver_settle(d);
    driver_golden(d, "sessions-40x10");
    driver_send(d, "G");
    driver_wait_for(d, "evil ^[]0;owne");
    driver_resize(d, 60, 200);
    driver_settle(d);
    driver_golden(d, "sessions-200x60");
    driver_send(d, "a");
    driver_wait_for(d, "3 conversations");
    driver_wait_for(d, "/other");
    driver_send(d, "G\r");
    driver_wait_for(d, "it was held in /other: start kedge there");
    driver_send(d, "\x1b");
    driver_wait_gone(d, "Enter open");
    driver_send(d, "the input is as it was");
    driver_wait_for(d, "› the input is as it was");
    driver_send(d, "\x15");
    assert_harmless(d, true);
    quit(d);
}

static void they_are_searched_as_words_are_written(void **state)
{
    (void)state;
    struct driver *d = start(24, 80);
    ask(d, "/sessions");
    driver_wait_for(d, "older talk");
    driver_send(d, "/was");
    driver_wait_for(d, "1 conversation about this repository with was");
    driver_wait_for(d, "1 found");
    driver_golden(d, "sessions-found");
    driver_send(d, "x");
    driver_wait_for(d, "nothing was said with these words");
    driver_send(d, "\x1b");
    driver_wait_for(d, "2 conversations about this repository");
    driver_send(d, "/title\r");
    driver_wait_for(d, "with title");
    driver_wait_gone(d, "older talk");
    driver_send(d, "q");
    driver_wait_gone(d, "with title");
    ask(d, "/sessions was it");
    driver_wait_for(d, "1 conversation about this repository with was it");
    driver_send(d, "\x03");
    driver_wait_for(d, "ask about 3 files");
    quit(d);
}

static void they_are_opened_renamed_forked_and_deleted(void **state)
{
    (void)state;
    struct driver *d = start(24, 80);
    ask(d, "/sessions");
    driver_wait_for(d, "older talk");
    driver_send(d, "f");
    driver_wait_for(d, "forked as older talk (2)");
    driver_send(d, "j");
    driver_send(d, "r");
    driver_wait_for(d, "= evil");
    driver_send(d, "\x15" "taken\r");
    driver_wait_for(d, "there is a session 'taken' already");
    driver_wait_for(d, "Enter open");
    driver_send(d, "r");
    driver_wait_for(d, "= evil");
    driver_send(d, "\x1b");
    driver_wait_for(d, "Enter open");
    driver_send(d, "d");
    driver_wait_for(d, "d again deletes evil");
    driver_send(d, "kd");
    driver_wait_for(d, "d again deletes older talk");
    driver_send(d, "jdd");
    driver_wait_for(d, "deleted evil");
    driver_wait_for(d, "1 conversation about");
    driver_send(d, "r\x15newer talk\r");
    driver_wait_for(d, "renamed");
    driver_wait_for(d, "newer talk");
    driver_send(d, "\r");
    driver_wait_for(d, "there is no session 'newer talk'"); /* of the script */
    ask(d, "/resume older talk");
    driver_wait_for(d, "It was older");
    assert_harmless(d, true);
    quit(d);
}

static void an_earlier_question_is_edited(void **state)
{
    (void)state;
    struct driver *d = start(24, 80);
    ask(d, "the first question");
    driver_wait_for(d, "You asked: the first question");
    driver_wait_for(d, "ready");
    ask(d, "the second question");
    driver_wait_for(d, "You asked: the second question");
    driver_wait_for(d, "ready");
    driver_send(d, "a draft");
    driver_send(d, "\x14");
    driver_wait_for(d, "e edit");
    driver_send(d, "[[[[e");
    driver_wait_for(d, "» the first question");
    driver_golden(d, "sessions-edited");
    driver_send(d, "\x1b");
    driver_wait_for(d, "ask about 3 files");
    driver_send(d, "\x1b[A"); /* what was being written is not lost */
    driver_wait_for(d, "› a draft");
    driver_send(d, "\x15\x14");
    driver_wait_for(d, "e edit");
    driver_send(d, "[[[[e");
    driver_wait_for(d, "» the first question");
    driver_send(d, "\x15/asked otherwise\r");
    driver_wait_for(d, "You asked: /asked otherwise");
    driver_wait_for(d, "This is 2025-01-02 03:04:05 (2) now. The conversation before is kept:");
    driver_wait_gone(d, "second question");
    driver_wait_for(d, "› ask about 3 files");
    ask(d, "/fork a branch of it");
    driver_wait_for(d, "This is a branch of it now.");
    ask(d, "/retry");
    driver_wait_for(d, "ready");
    quit(d);
}

static void what_was_said_is_summarised(void **state)
{
    (void)state;
    struct driver *d = start(24, 80);
    ask(d, "/compact");
    driver_wait_for(d, "there is no question in context that could be summarised");
    ask(d, "/compact everything");
    driver_wait_for(d, "/compact takes undo, or nothing");
    ask(d, "what does main do?");
    driver_wait_for(d, "You asked: what does main do?");
    driver_wait_for(d, "ready");
    ask(d, "/compact");
    driver_wait_for(d, "1 question is summarised: 69 tokens in context instead of");
    driver_wait_for(d, "› what does main do?");
    driver_wait_for(d, "› ask about 3 files");
    driver_golden(d, "compacted");
    driver_send(d, "\x0f");
    driver_wait_for(d, "They spoke of things.");
    driver_send(d, "\x0f\x1bOQ");
    driver_wait_for(d, "of what is summarised");
    driver_send(d, "\x1b");
    driver_wait_for(d, "› ask about 3 files");
    ask(d, "/compact undo");
    driver_wait_for(d, "What was summarised last is in");
    driver_wait_for(d, "a summary that was taken back");
    quit(d);
}

/* Nothing leaves the context unasked. */
static void what_does_not_fit_is_asked_about(void **state)
{
    (void)state;
    struct driver *d = start(24, 80);
    ask(d, "what does main do?");
    driver_wait_for(d, "You asked: what does main do?");
    driver_wait_for(d, "ready");
    ask(d, "too long for it");
    driver_wait_for(d, "the question needs 9,000 tokens");
    driver_wait_for(d, "s summarise what was said");
    driver_golden(d, "full");
    driver_send(d, "\x1b");
    driver_wait_for(d, "› too long for it");
    driver_wait_gone(d, "s summarise");
    driver_send(d, "\r");
    driver_wait_for(d, "s summarise");
    driver_send(d, "s");
    driver_wait_for(d, "You asked: too long for it");
    quit(d);
    d = start(24, 80);
    ask(d, "what does main do?");
    driver_wait_for(d, "You asked: what does main do?");
    driver_wait_for(d, "ready");
    driver_send(d, "\x1bOQ");
    driver_wait_for(d, "p pin");
    driver_send(d, "p");
    driver_wait_for(d, "pinned, ");
    driver_send(d, "\x1b");
    driver_wait_gone(d, "p pin");
    ask(d, "too long for it");
    driver_wait_for(d, "s summarise what was said");
    driver_send(d, "d");
    driver_wait_for(d, "dropped run.c");
    driver_wait_for(d, "You asked: too long for it");
    assert_false(driver_shows(d, "dropped tui/main.c"));
    driver_send(d, "\x15");
    quit(d);
    d = start(24, 80);
    ask(d, "too long for it");
    driver_wait_for(d, "s summarise what was said");
    usleep(900000); /* keys that come at once may have been meant for the input */
    driver_send(d, "d"); /* there is none: it goes on to wait for one of the keys */
    driver_wait_for(d, "no file is in context that is not pinned");
    driver_wait_gone(d, "no file is in context that is not pinned");
    driver_wait_for(d, "the context is full: what may leave it?");
    driver_send(d, "\x1b");
    driver_wait_gone(d, "s summarise");
    driver_send(d, "\x15");
    quit(d);
}

/* What was asked behind it is asked behind it again. */
static void what_does_not_fit_keeps_its_place(void **state)
{
    (void)state;
    struct driver *d = start(40, 80);
    ask(d, "gate");
    driver_wait_for(d, "before the gate");
    ask(d, "too long for it");
    ask(d, "and then");
    open_gate("gate");
    driver_wait_for(d, "s summarise what was said");
    usleep(900000); /* keys that come at once may have been meant for the input */
    driver_send(d, "s");
    driver_wait_for(d, "You asked: and then");
    const char *screen = driver_screen(d), *first = strstr(screen, "You asked: too long for it");
    assert_non_null(first);
    assert_true(first < strstr(screen, "You asked: and then"));
    driver_wait_for(d, "ready");
    quit(d);
}

/* What is known of its files stays known. */
static void a_conversation_that_is_not_there_changes_nothing(void **state)
{
    (void)state;
    struct driver *d = start(24, 80);
    ask(d, "what does main do?");
    driver_wait_for(d, "You asked: what does main do?");
    driver_wait_for(d, "ready");
    ask(d, "/resume nothing");
    driver_wait_for(d, "there is no session 'nothing'");
    driver_settle(d);
    driver_send(d, "\x1bOQ");
    driver_wait_for(d, "p pin");
    driver_wait_for(d, "named in the question");
    assert_false(driver_shows(d, "to be read"));
    driver_send(d, "\x1b");
    driver_wait_gone(d, "p pin");
    quit(d);
}

/* A question of a conversation that is not open any more is one of the open one. */
static void an_edited_question_outlives_its_conversation(void **state)
{
    (void)state;
    struct driver *d = start(24, 80);
    ask(d, "the first question");
    driver_wait_for(d, "You asked: the first question");
    driver_wait_for(d, "ready");
    ask(d, "gate");
    driver_wait_for(d, "before the gate");
    ask(d, "/resume older talk");
    driver_send(d, "\x14");
    driver_wait_for(d, "e edit");
    driver_send(d, "[[[[e");
    driver_wait_for(d, "» the first question");
    open_gate("gate");
    driver_wait_for(d, "It was older");
    driver_wait_for(d, "› the first question");
    driver_send(d, "\r");
    driver_wait_for(d, "You asked: the first question");
    assert_true(driver_shows(d, "It was older"));
    quit(d);
}

static void what_is_still_answered_is_not_edited(void **state)
{
    (void)state;
    struct driver *d = start(24, 80);
    ask(d, "gate");
    driver_wait_for(d, "before the gate");
    driver_send(d, "\x14");
    driver_wait_for(d, "e edit");
    driver_send(d, "e");
    driver_wait_for(d, "no question that was answered is chosen");
    driver_send(d, "q");
    open_gate("gate");
    driver_wait_for(d, "ready");
    quit(d);
}

int main(int argc, char **argv)
{
    if (argc == 3)
        return run_interface(argv[1], argv[2]);
    const struct CMUnitTest tests[] = {
        SCREEN_TEST(conversations_are_listed),
        SCREEN_TEST(they_are_searched_as_words_are_written),
        SCREEN_TEST(they_are_opened_renamed_forked_and_deleted),
        SCREEN_TEST(an_earlier_question_is_edited),
        SCREEN_TEST(what_was_said_is_summarised),
        SCREEN_TEST(what_does_not_fit_is_asked_about),
        SCREEN_TEST(what_does_not_fit_keeps_its_place),
        SCREEN_TEST(a_conversation_that_is_not_there_changes_nothing),
        SCREEN_TEST(an_edited_question_outlives_its_conversation),
        SCREEN_TEST(what_is_still_answered_is_not_edited),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
