/* A list of names that is on the screen goes on with what is read after it was asked for. */
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "index_repo.h"
#include "tui/interface/lookup.h"

static time_t seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec;
}

/* A candidate of the ticket comes that is this text. */
static bool is_offered(struct kg_channel *events, uint64_t ticket, const char *text)
{
    bool offered = false;
    for (time_t end = seconds() + 20; !offered && seconds() < end;) {
        struct pollfd readable = { .fd = kg_channel_fd(events), .events = POLLIN };
        poll(&readable, 1, 1000);
        struct kg_event *event = (struct kg_event *)kg_channel_receive(events);
        offered = event && event->kind == KG_EVENT_CANDIDATE && event->ticket == ticket && strcmp(event->text, text) == 0;
        kg_event_free(event);
    }
    return offered;
}

static void names_that_are_read_later_follow(void **state)
{
    (void)state;
    struct kg_lookup *lookup = NULL;
    struct kg_error err = { 0 };
    struct kg_interface_options options = { .repository = here.root, .engine = { .cache_dir = here.cache } };
    struct kg_channel *events = kg_channel_create();
    index_repo_write(&here, "first.c", "int add_numbers(int a, int b)\n{\n    return a + b;\n}\n");
    assert_int_equal(kg_lookup_start(&options, events, &lookup, &err), KG_OK);
    kg_lookup_paths(lookup, "addn", true, 7);
    assert_true(is_offered(events, 7, "first.c:1-4"));
    index_repo_write(&here, "second.c", "\nint add_names(void)\n{\n    return 2;\n}\n");
    assert_true(is_offered(events, 7, "second.c:2-5"));
    kg_lookup_end(lookup);
    kg_channel_free(events, kg_event_drop);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        INDEX_TEST(names_that_are_read_later_follow),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
