#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "tui/interface/channel.h"

#define SENDERS 3
#define EACH 2000

struct numbered {
    struct kg_message message;
    int sender, number;
};

struct sender {
    struct kg_channel *channel;
    int number;
};

static void *send_all(void *ctx)
{
    struct sender *sender = ctx;
    for (int i = 0; i < EACH; i++) {
        struct numbered *new = calloc(1, sizeof *new);
        new->sender = sender->number;
        new->number = i;
        kg_channel_send(sender->channel, &new->message);
    }
    return NULL;
}

static unsigned dropped;
static void drop(struct kg_message *message)
{
    dropped++;
    free(message);
}

static void messages_arrive_in_order(void **state)
{
    (void)state;
    struct kg_channel *channel = kg_channel_create();
    struct sender senders[SENDERS];
    pthread_t threads[SENDERS];
    int next[SENDERS] = { 0 };
    for (int i = 0; i < SENDERS; i++) {
        senders[i] = (struct sender){ .channel = channel, .number = i };
        assert_int_equal(pthread_create(&threads[i], NULL, send_all, &senders[i]), 0);
    }
    for (int i = 0; i < SENDERS * EACH; i++) {
        struct numbered *message = (struct numbered *)kg_channel_wait(channel);
        assert_int_equal(message->number, next[message->sender]++);
        free(message);
    }
    for (int i = 0; i < SENDERS; i++)
        pthread_join(threads[i], NULL);
    assert_null(kg_channel_receive(channel));
    kg_channel_free(channel, drop);
    assert_int_equal(dropped, 0);
}

/* The descriptor is readable as long as there is a message, however many were sent. */
static void the_descriptor_tells(void **state)
{
    (void)state;
    struct kg_channel *channel = kg_channel_create();
    struct pollfd readable = { .fd = kg_channel_fd(channel), .events = POLLIN };
    assert_int_equal(poll(&readable, 1, 0), 0);
    for (int i = 0; i < 3; i++)
        kg_channel_send(channel, calloc(1, sizeof(struct numbered)));
    for (int i = 0; i < 2; i++) {
        assert_int_equal(poll(&readable, 1, 0), 1);
        free(kg_channel_receive(channel));
    }
    assert_int_equal(poll(&readable, 1, 0), 1);
    kg_channel_free(channel, drop);
    assert_int_equal(dropped, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(messages_arrive_in_order),
        cmocka_unit_test(the_descriptor_tells),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
