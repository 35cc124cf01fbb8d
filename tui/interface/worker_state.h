/* Private to the worker: what its thread works on. */
#ifndef KG_TUI_WORKER_STATE_H
#define KG_TUI_WORKER_STATE_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/paths.h"
#include "repo-index/repo_index.h"
#include "tui/changes/answer.h"
#include "tui/input/mention.h"
#include "tui/interface/context_files.h"
#include "tui/interface/worker.h"

struct kg_task {
    struct kg_message message;
    enum kg_task_kind kind;
    bool end; /* no task: the thread ends */
    uint64_t ticket;
    char *text;
    size_t length;
    struct kg_event *done; /* made with the task, so that memory cannot run out when it is due */
};

struct kg_worker {
    const struct kg_interface_options *options;
    struct kg_channel *tasks, *events;
    pthread_t thread;
    uint64_t tickets;     /* given so far; of the giving thread */
    struct kg_task *last; /* made at the start: ends the thread */

    pthread_mutex_t lock;     /* of the three below */
    struct kg_engine *engine; /* set once it is open */
    uint64_t current;         /* ticket of the task being done, 0 = none */
    uint64_t stopped;         /* ticket of the task that is to be stopped */
    atomic_bool quitting;
    atomic_bool stopping; /* the current task, or reading ahead */
    atomic_bool ahead_running;
    atomic_int ahead_when;             /* enum kg_ahead_when */
    atomic_uint_fast64_t touched_ms;   /* when the last key came */

    /* of the worker's thread only */
    struct kg_session *session;
    struct kg_origins *origins; /* of files, in this run */
    struct kg_index *index; /* NULL: no repository (files are then those of the working directory), or not opened yet */
    double told_at;         /* when progress was told last */
    enum kg_doing told;
    struct kg_ahead *ahead; /* worker_ahead.c */
    bool reading_again;     /* while ahead_running: what is in context */
    char speed_path[KG_PATH_MAX];
    struct kg_engine_facts facts;
    char noticed[KG_ERROR_TEXT];
    uint32_t moved_told;      /* of the session's counts */
    bool asking;              /* files are added for a question: it is told elsewhere when they do not fit */
    char *notes; /* of the lines that the question names: they go to the model with it; NULL = none */
    size_t notes_length;
    struct kg_answer *answer; /* that streams: read for edits; NULL = not */
};

double kg_worker_seconds(void);

/* Opens the index of the repository, if there is one and it is not open yet. */
enum kg_status kg_worker_index(struct kg_worker *worker, struct kg_error *err);

/* Files into and out of the conversation (worker_files.c). Each tells what it did; an error is told as well, and returned
 * only for its status. KG_ERR_CANCELLED: stopped. */
enum kg_status kg_worker_add_file(struct kg_worker *worker, const char *path, const char *why, struct kg_error *err);
enum kg_status kg_worker_files_for(struct kg_worker *worker, const char *question, size_t length, struct kg_error *err);
void kg_worker_tell_files(struct kg_worker *worker);
/* A path that was named by hand as the index writes it: without "./" before it. */
const char *kg_worker_plain(const char *path);
/* The part of a file in context; false if there is none. */
bool kg_worker_find_file(const struct kg_worker *worker, const char *path, struct kg_part *out);
/* After KG_ERR_CANCELLED: a file that was not in context before leaves it again, unless the person leaves, too. Tells what is so now. */
void kg_worker_stopped_reading(struct kg_worker *worker, const char *path, bool had);
/* The content of a file of the repository; without one, of any file. The caller frees *text. */
enum kg_status kg_worker_read_text(struct kg_worker *worker, const char *path, char **text, size_t *length, bool *secret, struct kg_error *err);

/* What is named by hand (worker_named.c): a file, or lines of one ("src/a.c:3-9") when no file has that name. read_named: as read_text.
 * add_mentions: joins what a question names with @; *any is set when something was, and worker->notes tell of lines. mentioned: the
 * path of the file that one means, without lines; false: there is none. */
enum kg_status kg_worker_read_named(struct kg_worker *worker, const char *name, char **text, size_t *length, bool *secret, struct kg_error *err);
enum kg_status kg_worker_add_mentions(struct kg_worker *worker, const char *question, size_t length, bool *any, struct kg_error *err);
bool kg_worker_mentioned(struct kg_worker *worker, const char *question, const struct kg_mention *mention, char path[KG_PATH_MAX]);
/* A text with the notes behind it, freed by the caller; NULL when out of memory. */
char *kg_worker_noted(struct kg_worker *worker, const char *text, size_t *length);
void kg_worker_forget_notes(struct kg_worker *worker);

/* Asking (worker.c): the text of an answer as it comes, ctx = the worker; the row below it; an error. */
void kg_worker_take_text(void *ctx, enum kg_text_kind kind, const char *text, size_t length);
void kg_worker_tell_work(struct kg_worker *worker, enum kg_end end);
void kg_worker_tell_error(struct kg_worker *worker, const char *text);
/* Nothing is cut: the person is told what of the task does not fit, and asked what may leave. Questions that were asked so far. */
void kg_worker_tell_full(struct kg_worker *worker, const struct kg_task *task, const char *why);
uint64_t kg_worker_turns(const struct kg_worker *worker);

/* Changes (worker_edits.c): asks for one; drafts the message of a commit; tells of edits in an answer that nobody asked to have a
 * form, where there are some. */
void kg_worker_edit(struct kg_worker *worker, const struct kg_task *task);
void kg_worker_message(struct kg_worker *worker, const struct kg_task *task);
void kg_worker_edits_of(struct kg_worker *worker, struct kg_answer *answer, bool whole);
/* Tells which answers saw this file as it is no longer, if there are any. */
void kg_worker_tell_outdated(struct kg_worker *worker, const char *path);

/* Reading ahead (worker_ahead.c): begin with the worker, close before its engine. */
bool kg_worker_begin_ahead(struct kg_worker *worker);
void kg_worker_close_ahead(struct kg_worker *worker);
/* The next task; reads again and ahead until it is there. */
struct kg_message *kg_worker_next(struct kg_worker *worker);
/* Ends what is read ahead now; from any thread. */
void kg_worker_end_ahead(struct kg_worker *worker);
/* Called while reading ahead after each batch: waits where others want the processor. */
void kg_worker_make_room(struct kg_worker *worker);

#endif
