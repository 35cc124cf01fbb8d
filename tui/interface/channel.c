#include "tui/interface/channel.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct kg_channel {
    pthread_mutex_t lock;
    struct kg_message *first, *last;
    int fd; /* an eventfd: readable while there are messages */
};

struct kg_channel *kg_channel_create(void)
{
    struct kg_channel *channel = calloc(1, sizeof *channel);
    if (!channel)
        return NULL;
    channel->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (channel->fd < 0 || pthread_mutex_init(&channel->lock, NULL) != 0) {
        if (channel->fd >= 0)
            close(channel->fd);
        free(channel);
        return NULL;
    }
    return channel;
}

void kg_channel_free(struct kg_channel *channel, void (*drop)(struct kg_message *))
{
    if (!channel)
        return;
    for (struct kg_message *message; (message = kg_channel_receive(channel));)
        drop(message);
    close(channel->fd);
    pthread_mutex_destroy(&channel->lock);
    free(channel);
}

void kg_channel_send(struct kg_channel *channel, struct kg_message *message)
{
    message->next = NULL;
    pthread_mutex_lock(&channel->lock);
    if (channel->last)
        channel->last->next = message;
    else
        channel->first = message;
    channel->last = message;
    eventfd_write(channel->fd, 1);
    pthread_mutex_unlock(&channel->lock);
}

struct kg_message *kg_channel_receive(struct kg_channel *channel)
{
    pthread_mutex_lock(&channel->lock);
    struct kg_message *message = channel->first;
    if (message) {
        channel->first = message->next;
        if (!channel->first) {
            eventfd_t count;
            channel->last = NULL;
            eventfd_read(channel->fd, &count);
        }
    }
    pthread_mutex_unlock(&channel->lock);
    return message;
}

struct kg_message *kg_channel_wait(struct kg_channel *channel)
{
    for (;;) {
        struct kg_message *message = kg_channel_receive(channel);
        if (message)
            return message;
        struct pollfd readable = { .fd = channel->fd, .events = POLLIN };
        if (poll(&readable, 1, -1) < 0 && errno != EINTR)
            return NULL;
    }
}

int kg_channel_fd(const struct kg_channel *channel)
{
    return channel->fd;
}
