/* The thread that looks things up follows the worktree: what changes is told and can be completed without anybody asking. */
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "index_repo.h"
#include "tui/interface/lookup.h"

static double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

/* The next event of a kind that carries the text (NULL: any), within so many seconds; its total, or -1. */
static int64_t wait_for(struct kg_channel *events, enum kg_event_kind kind, const char *text, double within)
{
    for (double end = seconds() + within; seconds() < end;) {
        struct pollfd readable = { .fd = kg_channel_fd(events), .events = POLLIN };
        poll(&readable, 1, (int)((end - seconds()) * 1000) + 1);
        struct kg_event *event = (struct kg_event *)kg_channel_receive(events);
        if (!event)
            continue;
        bool meant = event->kind == kind && (!text || strstr(event->text, text));
        int64_t total = (int64_t)event->total;
        kg_event_free(event);
        if (meant)
            return total;
    }
    return -1;
}

/* The number of files, told within so many seconds. */
static bool hears_of(struct kg_channel *events, int64_t files, double within)
{
    for (double end = seconds() + within; seconds() < end;)
        if (wait_for(events, KG_EVENT_INDEXED, NULL, end - seconds()) == files)
            return true;
    return false;
}

/* A candidate of the ticket comes that is this text. */
static bool is_offered(struct kg_channel *events, uint64_t ticket, const char *text)
{
    bool offered = false;
    for (double end = seconds() + 20; !offered && seconds() < end;) {
        struct pollfd readable = { .fd = kg_channel_fd(events), .events = POLLIN };
        poll(&readable, 1, 1000);
        struct kg_event *event = (struct kg_event *)kg_channel_receive(events);
        offered = event && event->kind == KG_EVENT_CANDIDATE && event->ticket == ticket && strcmp(event->text, text) == 0;
        kg_event_free(event);
    }
    return offered;
}

static struct kg_lookup *start(struct kg_channel **events)
{
    struct kg_lookup *lookup = NULL;
    static struct kg_interface_options options; /* the lookup goes on reading them */
    options = (struct kg_interface_options){ .repository = here.root, .engine = { .cache_dir = here.cache } };
    struct kg_error err = { 0 };
    *events = kg_channel_create();
    assert_int_equal(kg_lookup_start(&options, *events, &lookup, &err), KG_OK);
    return lookup;
}

static void finish(struct kg_lookup *lookup, struct kg_channel *events)
{
    kg_lookup_end(lookup);
    kg_channel_free(events, kg_event_drop);
}

static void changes_are_told_and_completed(void **state)
{
    (void)state;
    struct kg_channel *events;
    index_repo_write(&here, "first.c", "int first;\n");
    struct kg_lookup *lookup = start(&events);
    assert_true(hears_of(events, 1, 20));
    index_repo_write(&here, "second.c", "int second;\n");
    double begin = seconds();
    assert_true(hears_of(events, 2, 20));
    print_message("# told after %.2f s\n", seconds() - begin);
    kg_lookup_paths(lookup, "sec", false, 1);
    assert_true(wait_for(events, KG_EVENT_CANDIDATE, "second.c", 20) >= 0);
    index_repo_sh(&here, "rm first.c second.c");
    assert_true(hears_of(events, 0, 20));
    finish(lookup, events);
}

/* Names are read when they are wanted for the first time, and follow; later at once, and as they are by then. */
static void names_are_completed(void **state)
{
    (void)state;
    struct kg_channel *events;
    index_repo_write(&here, "first.c", "int add_numbers(int a, int b)\n{\n    return a + b;\n}\n");
    struct kg_lookup *lookup = start(&events);
    assert_true(hears_of(events, 1, 20));
    kg_lookup_paths(lookup, "addn", true, 1);
    assert_true(wait_for(events, KG_EVENT_CANDIDATE, "first.c:1-4", 20) >= 0);
    index_repo_write(&here, "second.c", "int add_names(void)\n{\n    return 2;\n}\n");
    assert_true(hears_of(events, 2, 20));
    bool found = false;
    for (uint32_t ticket = 2; !found && ticket < 100; ticket++) {
        kg_lookup_paths(lookup, "add_names", true, ticket);
        found = wait_for(events, KG_EVENT_CANDIDATE, "second.c:1-4", 0.2) >= 0;
    }
    assert_true(found);
    kg_lookup_paths(lookup, "add_names", false, 100); /* files alone */
    assert_int_equal(wait_for(events, KG_EVENT_CANDIDATE, "second.c:1-4", 0.5), -1);
    finish(lookup, events);
}

/* A list of names that is on the screen goes on with what is read after it was asked for. */
static void names_that_are_read_later_follow(void **state)
{
    (void)state;
    struct kg_channel *events;
    index_repo_write(&here, "first.c", "int add_numbers(int a, int b)\n{\n    return a + b;\n}\n");
    struct kg_lookup *lookup = start(&events);
    kg_lookup_paths(lookup, "addn", true, 7);
    assert_true(is_offered(events, 7, "first.c:1-4"));
    index_repo_write(&here, "second.c", "\nint add_names(void)\n{\n    return 2;\n}\n");
    assert_true(is_offered(events, 7, "second.c:2-5"));
    finish(lookup, events);
}

/* What leads out of the repository is said once. */
static void doubts_are_told(void **state)
{
    (void)state;
    struct kg_channel *events;
    index_repo_sh(&here, "git config core.worktree /");
    struct kg_lookup *lookup = start(&events);
    assert_true(wait_for(events, KG_EVENT_ENTRY, "core.worktree", 20) >= 0);
    finish(lookup, events);
}

/* Without an index nothing is completed: that is said, once. */
static void an_index_that_cannot_be_used_is_told(void **state)
{
    (void)state;
    struct kg_channel *events;
    index_repo_write(&here, "first.c", "int first;\n");
    index_repo_sh(&here, "rm -rf '%s' && touch '%s'", here.cache, here.cache);
    struct kg_lookup *lookup = start(&events);
    assert_true(wait_for(events, KG_EVENT_ENTRY, here.cache, 20) >= 0);
    kg_lookup_paths(lookup, "fir", true, 1);
    assert_int_equal(wait_for(events, KG_EVENT_ENTRY, NULL, 0.5), -1);
    finish(lookup, events);
}

static bool is_linked_anew(int64_t than)
{
    for (double end = seconds() + 30; index_repo_graph(&here) == than; usleep(50000))
        if (seconds() > end)
            return false;
    return true;
}

/* When nobody asks for anything: also what a question has read by another handle before this one looked. */
static void a_large_repository_is_linked(void **state)
{
    (void)state;
    struct kg_channel *events;
    index_repo_sh(&here, "for d in 0 1 2 3 4 5 6 7 8 9; do mkdir d$d; for f in $(seq 105); do echo \"int f$d$f;\" > d$d/f$f.c; done; done");
    struct kg_index *other = index_repo_open(&here);
    index_repo_refresh(other);
    struct kg_lookup *lookup = start(&events);
    assert_true(is_linked_anew(-1));
    const int64_t then = index_repo_graph(&here);
    index_repo_sh(&here, "mv d0 e0");
    index_repo_refresh(other);
    assert_true(is_linked_anew(then));
    finish(lookup, events);
    kg_index_close(other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        INDEX_TEST(changes_are_told_and_completed),
        INDEX_TEST(names_are_completed),
        INDEX_TEST(names_that_are_read_later_follow),
        INDEX_TEST(a_large_repository_is_linked),
        INDEX_TEST(doubts_are_told),
        INDEX_TEST(an_index_that_cannot_be_used_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
