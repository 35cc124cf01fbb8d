/* Messages from thread to thread, in order. Any thread may send; one receives.
 * A receiver that sleeps in poll waits for kg_channel_fd to become readable. */
#ifndef KG_TUI_CHANNEL_H
#define KG_TUI_CHANNEL_H

#include <stdbool.h>
#include <stddef.h>

struct kg_channel;

/* Every message starts with this. */
struct kg_message {
    struct kg_message *next;
};

struct kg_channel *kg_channel_create(void); /* NULL when out of memory or of descriptors */
/* No thread uses it any more; messages that were not received are given to drop. */
void kg_channel_free(struct kg_channel *channel, void (*drop)(struct kg_message *));

void kg_channel_send(struct kg_channel *channel, struct kg_message *message); /* which the channel owns now */
/* The oldest message, which the caller owns then; NULL if there is none. */
struct kg_message *kg_channel_receive(struct kg_channel *channel);
struct kg_message *kg_channel_wait(struct kg_channel *channel); /* until there is one */
int kg_channel_fd(const struct kg_channel *channel);

#endif
