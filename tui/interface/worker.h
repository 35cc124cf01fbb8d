/* The thread that owns the engine, the conversation, and an index to choose files with. It is given tasks, one at a
 * time, and tells what happens by events; it can be stopped at any moment.
 */
#ifndef KG_TUI_WORKER_H
#define KG_TUI_WORKER_H

#include "tui/interface/event.h"
#include "tui/interface/interface.h"

enum kg_task_kind {
    KG_TASK_ASK,    /* text: the question; @path in it adds that file */
    KG_TASK_EDIT,   /* text: what is to be changed; @path in it adds that file */
    KG_TASK_MESSAGE, /* text: a diff, for which a commit's message is drafted */
    KG_TASK_ADD,    /* text: a path */
    KG_TASK_DROP,   /* text: a path */
    KG_TASK_TEXT,   /* text: a label, a NUL byte, and what joins the conversation under it */
    KG_TASK_CLEAR,
    KG_TASK_RESUME, /* text: a session's name */
    KG_TASK_SAVE,   /* text: its new name */
    KG_TASK_RETRY,  /* the last question once more, in place of the first time */
    KG_TASK_BRANCH, /* text: number of a question, a NUL byte, and what is asked instead of it, in a new conversation */
    KG_TASK_FORK,   /* text: a name, or "" */
    KG_TASK_COMPACT, /* text: "" or "undo" */
    KG_TASK_PIN,    /* text: a path; taken back when it is pinned */
    KG_TASK_NOTHING,
};

struct kg_worker;

/* Opens the engine and the conversation behind. options and what it points to, and events, outlive the worker. */
enum kg_status kg_worker_start(const struct kg_interface_options *options, struct kg_channel *events, struct kg_worker **out, struct kg_error *err);

/* Tasks are done in order; each ends in KG_EVENT_DONE with its ticket (not 0). 0: out of memory. */
uint64_t kg_worker_give(struct kg_worker *worker, enum kg_task_kind kind, const char *text, size_t length);

/* Ends the task with this ticket soon, if it is the one being done; what was answered so far is kept. */
void kg_worker_stop(struct kg_worker *worker, uint64_t ticket);

/* A key was pressed: whatever is read ahead or again ends, and begins again after a while without keys. From the interface's thread. */
void kg_worker_touch(struct kg_worker *worker);
void kg_worker_set_ahead(struct kg_worker *worker, enum kg_ahead_when when);
enum kg_ahead_when kg_worker_ahead(struct kg_worker *worker);

/* Ends everything and waits for the thread; opening a model is given up. NULL is fine. */
void kg_worker_end(struct kg_worker *worker);

#endif
