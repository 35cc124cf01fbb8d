/* What the threads behind the interface tell it. Texts are bytes of any kind: whoever shows them makes them visible. */
#ifndef KG_TUI_EVENT_H
#define KG_TUI_EVENT_H

#include "engine/engine.h"
#include "tui/changes/proposal.h"
#include "tui/interface/channel.h"
#include "tui/transcript/transcript.h"

enum kg_event_kind {
    KG_EVENT_DOING,     /* what goes on: doing, text = on what, done of total */
    KG_EVENT_MODEL,     /* the engine is open: text = its name, more = its device */
    KG_EVENT_SESSION,   /* a conversation is open, and the one before gone: text = its name */
    KG_EVENT_TURN,      /* the last question is in the conversation: total = its number, from 1 on */
    KG_EVENT_NAMED,     /* the conversation that is open has this name now: text */
    KG_EVENT_ENTRY,     /* of the transcript: entry, text; more = summary of a folded one, or NULL; total = when a question or answer was said, seconds since 1970, or 0 */
    KG_EVENT_PIECE,     /* of an answer or a thought (entry): text */
    KG_EVENT_COUNTS,    /* counts */
    KG_EVENT_FILES,     /* in context from now on: text as in context_files.h */
    KG_EVENT_NO_MODEL,  /* the engine could not be opened: text = why */
    KG_EVENT_DONE,      /* the task with this ticket is finished */
    KG_EVENT_INDEXED,   /* the repository's files are known: total of them */
    KG_EVENT_CANDIDATE, /* for a completion: ticket, text = what is put in, and behind a NUL byte what stands for it where that differs; more = help */
    KG_EVENT_PROPOSAL,  /* changes to be reviewed: proposal, whose content may be taken over */
    KG_EVENT_FULL,      /* what was to be asked does not fit: text = it, more = why, total = its enum kg_task_kind */
    KG_EVENT_SESSIONS,  /* conversations: text as in session_list.h, more = what was done before they were listed, or NULL; ticket */
    KG_EVENT_MESSAGE,   /* the draft of a commit's message: text */
};

enum kg_doing {
    KG_DOING_NOTHING,
    KG_DOING_CHECKING,
    KG_DOING_LOADING,
    KG_DOING_RESTORING,
    KG_DOING_READING,
    KG_DOING_AHEAD, /* reading, while nothing is asked */
    KG_DOING_AGAIN, /* the same, of what is in context */
    KG_DOING_SAVING,
    KG_DOING_INDEXING,
    KG_DOING_CHOOSING,
    KG_DOING_ANSWERING,
    KG_DOING_SUMMARISING
};

struct kg_event {
    struct kg_message message;
    enum kg_event_kind kind;
    enum kg_doing doing;
    enum kg_entry_kind entry;
    char *text, *more; /* NUL-terminated, or NULL */
    size_t length;     /* of text */
    uint64_t done, total;
    uint64_t ticket;
    struct kg_counts counts;
    struct kg_proposal *proposal; /* or NULL */
};

/* A new event with copies of text (length bytes, may be NULL) and more (may be NULL); NULL when out of memory. */
struct kg_event *kg_event_create(enum kg_event_kind kind, const char *text, size_t length, const char *more);
/* What stands for the text of a candidate; NULL: itself. */
const char *kg_event_shown(const struct kg_event *event);
void kg_event_free(struct kg_event *event);
void kg_event_drop(struct kg_message *message); /* the same, for channels */

/* Creates and sends; what cannot be created for want of memory is not told. */
void kg_tell(struct kg_channel *events, enum kg_event_kind kind, const char *text);
void kg_tell_entry(struct kg_channel *events, enum kg_entry_kind entry, const char *text, size_t length, const char *summary);
void kg_tell_doing(struct kg_channel *events, enum kg_doing doing, const char *what, uint64_t done, uint64_t total);

#endif
