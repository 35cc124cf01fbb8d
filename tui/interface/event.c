#include "tui/interface/event.h"

#include <stdlib.h>
#include <string.h>

struct kg_event *kg_event_create(enum kg_event_kind kind, const char *text, size_t length, const char *more)
{
    struct kg_event *event = calloc(1, sizeof *event);
    if (!event)
        return NULL;
    event->kind = kind;
    event->text = text ? malloc(length + 1) : NULL;
    event->more = more ? strdup(more) : NULL;
    if ((text && !event->text) || (more && !event->more)) {
        kg_event_free(event);
        return NULL;
    }
    if (text) {
        memcpy(event->text, text, length);
        event->text[length] = '\0';
        event->length = length;
    }
    return event;
}

const char *kg_event_shown(const struct kg_event *event)
{
    size_t text = strlen(event->text);
    return text < event->length ? event->text + text + 1 : NULL;
}

void kg_event_free(struct kg_event *event)
{
    if (!event)
        return;
    if (event->proposal)
        kg_proposal_free(event->proposal);
    free(event->proposal);
    free(event->text);
    free(event->more);
    free(event);
}

void kg_event_drop(struct kg_message *message)
{
    kg_event_free((struct kg_event *)message);
}

void kg_tell(struct kg_channel *events, enum kg_event_kind kind, const char *text)
{
    struct kg_event *event = kg_event_create(kind, text, text ? strlen(text) : 0, NULL);
    if (event)
        kg_channel_send(events, &event->message);
}

void kg_tell_entry(struct kg_channel *events, enum kg_entry_kind entry, const char *text, size_t length, const char *summary)
{
    struct kg_event *event = kg_event_create(KG_EVENT_ENTRY, text, length, summary);
    if (!event)
        return;
    event->entry = entry;
    kg_channel_send(events, &event->message);
}

void kg_tell_doing(struct kg_channel *events, enum kg_doing doing, const char *what, uint64_t done, uint64_t total)
{
    struct kg_event *event = kg_event_create(KG_EVENT_DOING, what, strlen(what), NULL);
    if (!event)
        return;
    event->doing = doing;
    event->done = done;
    event->total = total;
    kg_channel_send(events, &event->message);
}
