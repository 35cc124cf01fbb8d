#include "tui/interface/lookup.h"

#include <inttypes.h>
#include <math.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "repo-index/repo_index.h"
#include "tui/conversation/excerpt.h"
#include "tui/interface/figures.h"
#include "tui/interface/session_list.h"
#include "tui/screen/restore.h"

#define CANDIDATES 30
#define CANDIDATE_FILES 10 /* where definitions are candidates, too */
#define LISTED 500
#define NAMES_S 1.0 /* that definitions are read before those that are known are told */
#define SETTLE_S 600.0 /* between two times that the files of a large repository are linked anew, unless many have changed */
#define LOOK_S 5.0 /* between two times that it is looked whether they are many */
#define BUSY_S 30.0 /* before it is looked again, where others link them */
#define EXCERPT 160 /* characters */

enum request_kind { REQUEST_PATHS, REQUEST_SESSIONS, REQUEST_LIST, REQUEST_CHANGE, REQUEST_END };

struct request {
    struct kg_message message;
    enum request_kind kind;
    uint32_t ticket;
    char *pattern;
    bool places; /* definitions as well */
    bool all; /* of all repositories */
    enum kg_session_change change;
    char *name, *new_name;
};

struct kg_lookup {
    const struct kg_interface_options *options;
    struct kg_channel *requests, *events;
    pthread_t thread;
    atomic_bool quitting;
    atomic_uint newest; /* ticket: older requests for candidates are stale */
    atomic_uint newest_list; /* the same for lists */
    struct request *last;
    struct kg_index *index;   /* to search in while the other handle of the index is being brought up to date */
    struct kg_index *watched; /* NULL: there is no repository */
    struct kg_definitions *definitions; /* NULL: none was asked for yet */
    bool names_wanted, names_due, names_known; /* some were asked for; there may be others to read; some can be told, or there are none */
    double names_patience, names_until;        /* seconds that they are read at once; when these are over */
    double settle_at; /* when what has changed is to be linked anew, whatever it is; INFINITY: nothing has */
    double look_at;   /* the same where it is much */
    double settled_at, looked_at;
    struct request *places; /* the newest for them: what is read later is told as well */
    bool lack_told, doubt_told, failure_told;
};

static void free_request(struct kg_message *message)
{
    struct request *request = (struct request *)message;
    free(request->pattern);
    free(request->name);
    free(request->new_name);
    free(request);
}

static double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static void offer(struct kg_lookup *lookup, uint32_t ticket, const char *text, size_t length, const char *help)
{
    struct kg_event *event = kg_event_create(KG_EVENT_CANDIDATE, text, length, help);
    if (!event)
        return;
    event->ticket = ticket;
    kg_channel_send(lookup->events, &event->message);
}

struct answering {
    struct kg_lookup *lookup;
    const struct request *request;
    unsigned count;
    FILE *table; /* of sessions, and its row that is not written yet */
    char name[KG_SESSION_NAME], repository[KG_PATH_MAX], line[4 * EXCERPT];
    uint64_t used;
    uint32_t questions, hits;
};

static int offer_path(void *ctx, const char *path)
{
    struct answering *answering = ctx;
    offer(answering->lookup, answering->request->ticket, path, strlen(path), "");
    return 0;
}

static int offer_definition(void *ctx, const struct kg_index_symbol *symbol)
{
    struct answering *answering = ctx;
    char text[2 * KG_PATH_MAX], lines[32], help[KG_PATH_MAX + 64];
    if (symbol->end > symbol->line)
        snprintf(lines, sizeof lines, "%" PRIu32 "-%" PRIu32, symbol->line, symbol->end);
    else
        snprintf(lines, sizeof lines, "%" PRIu32, symbol->line);
    int n = snprintf(text, sizeof text, "%s:%s%c%s", symbol->path, lines, 0, symbol->name);
    snprintf(help, sizeof help, "%s  %s:%" PRIu32, symbol->kind, symbol->path, symbol->line);
    if (n > 0 && (size_t)n < sizeof text)
        offer(answering->lookup, answering->request->ticket, text, (size_t)n, help);
    return 0;
}

static int offer_session(void *ctx, const struct kg_session_summary *summary)
{
    struct answering *answering = ctx;
    char age[KG_FIGURE], help[400];
    if (strncmp(summary->name, answering->request->pattern, strlen(answering->request->pattern)) != 0 || strcmp(summary->name, answering->request->name) == 0)
        return 0;
    snprintf(help, sizeof help, "%s, %s", kg_figure_age(age, (uint64_t)time(NULL), summary->used), summary->model);
    offer(answering->lookup, answering->request->ticket, summary->name, strlen(summary->name), help);
    return ++answering->count == CANDIDATES;
}

/* A row is written when the next one begins: only then is known how often the words stand in it. */
static void end_row(struct answering *answering)
{
    struct kg_session_row row = { .name = answering->name, .repository = answering->repository, .line = answering->line, .used = answering->used,
                                  .questions = answering->questions, .hits = answering->hits };
    if (answering->name[0] && answering->count++ < LISTED)
        kg_session_row_write(answering->table, &row);
    answering->name[0] = '\0';
}

static void begin_row(struct answering *answering, const struct kg_session_summary *summary)
{
    end_row(answering);
    snprintf(answering->name, sizeof answering->name, "%s", summary->name);
    snprintf(answering->repository, sizeof answering->repository, "%s", summary->repository);
    kg_excerpt(summary->title, strlen(summary->title), "", EXCERPT, answering->line, sizeof answering->line);
    answering->used = summary->used;
    answering->questions = summary->questions;
    answering->hits = 0;
}

static int list_session(void *ctx, const struct kg_session_summary *summary)
{
    struct answering *answering = ctx;
    begin_row(answering, summary);
    return answering->count == LISTED;
}

static int list_hit(void *ctx, const struct kg_session_hit *hit)
{
    struct answering *answering = ctx;
    if (strcmp(answering->name, hit->session.name) != 0 || strcmp(answering->repository, hit->session.repository) != 0)
        begin_row(answering, &hit->session);
    if (!hit->name && answering->hits++ == 0)
        kg_excerpt(hit->text, hit->length, answering->request->pattern, EXCERPT, answering->line, sizeof answering->line);
    return answering->count == LISTED || answering->request->ticket != atomic_load(&answering->lookup->newest_list);
}

static void list_sessions(struct answering *answering, const char *said)
{
    const struct kg_interface_options *options = answering->lookup->options;
    const struct request *request = answering->request;
    const char *repository = request->all ? NULL : options->repository ? options->repository : "";
    char *text = NULL;
    size_t length;
    struct kg_error err;
    enum kg_status status;
    answering->table = open_memstream(&text, &length);
    if (!answering->table)
        return;
    if (strspn(request->pattern, " \t") < strlen(request->pattern))
        status = kg_sessions_search(options->engine.state_dir, repository, request->pattern, list_hit, answering, &err);
    else
        status = kg_sessions_list(options->engine.state_dir, repository, list_session, answering, &err);
    end_row(answering);
    bool written = fclose(answering->table) == 0;
    struct kg_event *event = written ? kg_event_create(KG_EVENT_SESSIONS, text, length, status == KG_OK ? said : err.text) : NULL;
    if (event) {
        event->ticket = request->ticket;
        kg_channel_send(answering->lookup->events, &event->message);
    }
    free(text);
}

static void change_session(struct answering *answering)
{
    const struct kg_interface_options *options = answering->lookup->options;
    const struct request *request = answering->request;
    const char *state = options->engine.state_dir, *repository = options->repository ? options->repository : "";
    char said[KG_ERROR_TEXT], made[KG_SESSION_NAME];
    struct kg_error err;
    enum kg_status status;
    if (request->change == KG_SESSION_RENAME) {
        status = kg_sessions_rename(state, repository, request->name, request->new_name, &err);
        snprintf(said, sizeof said, "renamed");
    } else if (request->change == KG_SESSION_FORK) {
        status = kg_sessions_copy(state, repository, request->name, NULL, made, &err);
        snprintf(said, sizeof said, "forked as %s", status == KG_OK ? made : "");
    } else {
        status = kg_sessions_remove(state, repository, request->name, &err);
        snprintf(said, sizeof said, "deleted %s", request->name);
    }
    list_sessions(answering, status == KG_OK ? said : err.text);
}

/* Once: what is wrong with the index is so again at the next key. What another process does now, and damage, which the next refresh
 * mends, pass by themselves. */
static void tell_failure_of(struct kg_lookup *lookup, const char *what, enum kg_status status, const struct kg_error *err)
{
    char line[KG_ERROR_TEXT + 64];
    if (lookup->failure_told || status == KG_OK || status == KG_ERR_CANCELLED || status == KG_ERR_BUSY || status == KG_ERR_CORRUPT)
        return;
    snprintf(line, sizeof line, "%s: %s", what, err->text);
    kg_tell_entry(lookup->events, KG_ENTRY_NOTICE, line, strlen(line), NULL);
    lookup->failure_told = true;
}

static void tell_failure(struct kg_lookup *lookup, enum kg_status status, const struct kg_error *err)
{
    tell_failure_of(lookup, "completion lacks files and names", status, err);
}

/* Files first, then definitions; those that are not known yet follow. The request may be kept, then *request is NULL. */
static void complete(struct answering *answering, struct request **request)
{
    struct kg_lookup *lookup = answering->lookup;
    const char *pattern = (*request)->pattern;
    bool places = (*request)->places && pattern[0];
    struct kg_error err;
    enum kg_status status = KG_OK;
    if (!lookup->index && lookup->options->repository)
        status = kg_index_open(lookup->options->repository, lookup->options->engine.cache_dir, &lookup->index, &err);
    if (status == KG_OK && lookup->index)
        status = kg_index_complete(lookup->index, pattern, places ? CANDIDATE_FILES : CANDIDATES, offer_path, answering, &err);
    tell_failure(lookup, status, &err);
    lookup->names_wanted |= (*request)->places;
    if (!places)
        return;
    if (lookup->names_known)
        tell_failure(lookup, kg_definitions_complete(lookup->definitions, pattern, CANDIDATES, offer_definition, answering, &err), &err);
    if (lookup->places)
        free_request(&lookup->places->message);
    lookup->places = *request;
    *request = NULL;
}

/* Frees the request, or keeps it. */
static void answer(struct kg_lookup *lookup, struct request *request)
{
    struct answering answering = { .lookup = lookup, .request = request };
    const struct kg_interface_options *options = lookup->options;
    struct kg_error err;
    if (request->kind == REQUEST_CHANGE)
        change_session(&answering);
    else if (request->kind == REQUEST_LIST && request->ticket == atomic_load(&lookup->newest_list))
        list_sessions(&answering, NULL);
    else if (request->kind == REQUEST_SESSIONS && request->ticket == atomic_load(&lookup->newest))
        kg_sessions_list(options->engine.state_dir, options->repository ? options->repository : "", offer_session, &answering, &err);
    else if (request->kind == REQUEST_PATHS && request->ticket == atomic_load(&lookup->newest))
        complete(&answering, &request);
    if (request)
        free_request(&request->message);
}

/* Between two files of a refresh: nobody who completes a path waits for it to end. */
static int answer_meanwhile(void *ctx, uint32_t done, uint32_t found)
{
    struct kg_lookup *lookup = ctx;
    struct request *request;
    (void)done;
    (void)found;
    while (!atomic_load(&lookup->quitting) && (request = (struct request *)kg_channel_receive(lookup->requests))) {
        answer(lookup, request);
    }
    return atomic_load(&lookup->quitting);
}

static void tell_lack(struct kg_lookup *lookup)
{
    const char *lack = lookup->lack_told ? NULL : kg_index_watch_lack(lookup->watched);
    if (!lack)
        return;
    kg_tell_entry(lookup->events, KG_ENTRY_NOTICE, lack, strlen(lack), NULL);
    lookup->lack_told = true;
}

/* Reads what has changed in the worktree. After an error it is tried again. */
static void catch_up(struct kg_lookup *lookup)
{
    struct kg_index_counts counts;
    struct kg_error err;
    lookup->names_due = true;
    enum kg_status status = kg_index_catch_up(lookup->watched, answer_meanwhile, lookup, &counts, &err);
    if (status == KG_OK) {
        /* another handle may have read it, so that nothing was fresh here */
        lookup->settle_at = fmin(lookup->settle_at, lookup->settled_at + SETTLE_S);
        lookup->look_at = fmin(lookup->look_at, lookup->looked_at + LOOK_S);
        if (counts.doubt && !lookup->doubt_told)
            kg_tell_entry(lookup->events, KG_ENTRY_NOTICE, counts.doubt, strlen(counts.doubt), NULL);
        lookup->doubt_told |= counts.doubt != NULL;
        struct kg_event *event = kg_event_create(KG_EVENT_INDEXED, NULL, 0, NULL);
        if (event) {
            event->total = counts.files;
            kg_channel_send(lookup->events, &event->message);
        }
    }
    tell_failure(lookup, status, &err);
    tell_lack(lookup);
}

static void open_watched(struct kg_lookup *lookup)
{
    const struct kg_interface_options *options = lookup->options;
    struct kg_error err;
    if (!options->repository)
        return;
    enum kg_status status = kg_index_open(options->repository, options->engine.cache_dir, &lookup->watched, &err);
    if (status != KG_OK)
        lookup->watched = NULL;
    else
        status = kg_index_watch(lookup->watched, 0, &err);
    tell_failure(lookup, status, &err);
    if (status == KG_OK)
        catch_up(lookup);
}

/* Again with what is known now, if that is still what is asked for: who was told some before leaves these out. */
static void answer_late(struct kg_lookup *lookup)
{
    struct request *request = lookup->places;
    struct answering answering = { .lookup = lookup, .request = request };
    struct kg_error err;
    if (request && lookup->names_known && request->ticket == atomic_load(&lookup->newest))
        kg_definitions_complete(lookup->definitions, request->pattern, CANDIDATES, offer_definition, &answering, &err);
}

static int answer_for_a_while(void *ctx, uint32_t done, uint32_t found)
{
    struct kg_lookup *lookup = ctx;
    return answer_meanwhile(ctx, done, found) || seconds() > lookup->names_until;
}

static void load_names(struct kg_lookup *lookup)
{
    struct kg_error err;
    enum kg_status status = kg_index_definitions(lookup->watched, &lookup->definitions, answer_meanwhile, lookup, &err);
    tell_failure(lookup, status, &err);
    if (status != KG_OK)
        return;
    lookup->names_known = kg_definitions_count(lookup->definitions) > 0 || !lookup->names_due;
    answer_late(lookup);
}

/* Definitions that were read before are known at once. Of the others some, which takes its time once; each time twice as long, since
 * what is known grows and is loaded anew. */
static void read_names(struct kg_lookup *lookup)
{
    struct kg_error err;
    if (!lookup->definitions)
        load_names(lookup);
    lookup->names_until = seconds() + lookup->names_patience;
    enum kg_status status = kg_index_read_symbols(lookup->watched, answer_for_a_while, lookup, &err);
    tell_failure(lookup, status, &err);
    lookup->names_due = status == KG_ERR_CANCELLED;
    lookup->names_patience = lookup->names_due ? 2 * lookup->names_patience : NAMES_S;
    load_names(lookup);
}

/* After an error or a stop it is tried again when something has changed. */
static void settle(struct kg_lookup *lookup)
{
    struct kg_error err;
    const bool whatever = seconds() >= lookup->settle_at;
    lookup->look_at = INFINITY;
    lookup->settle_at = whatever ? INFINITY : lookup->settle_at;
    enum kg_status status = kg_index_settle(lookup->watched, whatever ? 0 : KG_DRIFT_LARGE, answer_meanwhile, lookup, &err);
    lookup->looked_at = seconds();
    lookup->settled_at = whatever ? lookup->looked_at : lookup->settled_at;
    if (status == KG_ERR_BUSY)
        *(whatever ? &lookup->settle_at : &lookup->look_at) = lookup->looked_at + BUSY_S;
    tell_failure_of(lookup, "files are chosen without what lies near to them", status, &err);
}

/* Milliseconds until something is due, for poll. */
static int patience(const struct kg_lookup *lookup, double due)
{
    double least = fmin(due < 0 ? INFINITY : due, fmax(fmin(lookup->settle_at, lookup->look_at) - seconds(), 0));
    return isinf(least) ? -1 : (int)(least * 1000) + 1;
}

/* The next request, for which changes of the worktree are waited out. */
static struct request *next_request(struct kg_lookup *lookup)
{
    for (;;) {
        struct request *request = (struct request *)kg_channel_receive(lookup->requests);
        if (request || atomic_load(&lookup->quitting))
            return request;
        double due = lookup->watched ? kg_index_watch_due(lookup->watched) : -1;
        if (due == 0) {
            catch_up(lookup);
            continue;
        }
        if (lookup->watched && lookup->names_wanted && lookup->names_due) {
            read_names(lookup);
            continue;
        }
        if (lookup->watched && seconds() >= fmin(lookup->settle_at, lookup->look_at)) {
            settle(lookup);
            continue;
        }
        struct pollfd polled[2] = { { .fd = kg_channel_fd(lookup->requests), .events = POLLIN },
                                    { .fd = lookup->watched ? kg_index_watch_fd(lookup->watched) : -1, .events = POLLIN } };
        poll(polled, 2, patience(lookup, due));
    }
}

static void *look_up(void *ctx)
{
    struct kg_lookup *lookup = ctx;
    void *stack = kg_restore_stack();
    open_watched(lookup);
    for (bool end = atomic_load(&lookup->quitting); !end;) {
        struct request *request = next_request(lookup);
        end = !request || request->kind == REQUEST_END || atomic_load(&lookup->quitting);
        if (end && request)
            free_request(&request->message);
        else if (!end)
            answer(lookup, request);
    }
    if (lookup->watched)
        kg_index_close(lookup->watched);
    if (lookup->index)
        kg_index_close(lookup->index);
    kg_definitions_free(lookup->definitions);
    if (lookup->places)
        free_request(&lookup->places->message);
    kg_restore_stack_free(stack);
    return NULL;
}

static struct request *create_request(enum request_kind kind, const char *pattern, uint32_t ticket)
{
    struct request *request = calloc(1, sizeof *request);
    if (!request)
        return NULL;
    request->kind = kind;
    request->ticket = ticket;
    request->pattern = strdup(pattern);
    if (!request->pattern) {
        free(request);
        return NULL;
    }
    return request;
}

enum kg_status kg_lookup_start(const struct kg_interface_options *options, struct kg_channel *events, struct kg_lookup **out, struct kg_error *err)
{
    struct kg_lookup *lookup = calloc(1, sizeof *lookup);
    if (!lookup)
        return kg_fail_nomem(err, "starting the interface");
    lookup->options = options;
    lookup->names_patience = NAMES_S;
    lookup->settled_at = seconds();
    lookup->looked_at = lookup->settled_at - LOOK_S;
    lookup->settle_at = lookup->look_at = INFINITY;
    lookup->events = events;
    lookup->requests = kg_channel_create();
    lookup->last = create_request(REQUEST_END, "", 0);
    if (!lookup->requests || !lookup->last || pthread_create(&lookup->thread, NULL, look_up, lookup) != 0) {
        kg_channel_free(lookup->requests, free_request);
        if (lookup->last)
            free_request(&lookup->last->message);
        free(lookup);
        return kg_fail(err, KG_ERR_NOMEM, "cannot start a thread for the index; close other programs");
    }
    *out = lookup;
    return KG_OK;
}

void kg_lookup_end(struct kg_lookup *lookup)
{
    if (!lookup)
        return;
    atomic_store(&lookup->quitting, true);
    kg_channel_send(lookup->requests, &lookup->last->message);
    pthread_join(lookup->thread, NULL);
    kg_channel_free(lookup->requests, free_request);
    free(lookup);
}

static void send(struct kg_lookup *lookup, struct request *new)
{
    if (!new)
        return;
    atomic_store(new->kind == REQUEST_LIST || new->kind == REQUEST_CHANGE ? &lookup->newest_list : &lookup->newest, new->ticket);
    kg_channel_send(lookup->requests, &new->message);
}

void kg_lookup_paths(struct kg_lookup *lookup, const char *pattern, bool places, uint32_t ticket)
{
    struct request *new = create_request(REQUEST_PATHS, pattern, ticket);
    if (new)
        new->places = places;
    send(lookup, new);
}

void kg_lookup_sessions(struct kg_lookup *lookup, const char *pattern, const char *open, uint32_t ticket)
{
    struct request *new = create_request(REQUEST_SESSIONS, pattern, ticket);
    if (!new)
        return;
    new->name = strdup(open);
    if (new->name)
        send(lookup, new);
    else
        free_request(&new->message);
}

void kg_lookup_list_sessions(struct kg_lookup *lookup, const char *words, bool all, uint32_t ticket)
{
    struct request *new = create_request(REQUEST_LIST, words, ticket);
    if (new)
        new->all = all;
    send(lookup, new);
}

void kg_lookup_change_session(struct kg_lookup *lookup, enum kg_session_change change, const char *name, const char *new_name, const char *words, bool all,
                              uint32_t ticket)
{
    struct request *new = create_request(REQUEST_CHANGE, words, ticket);
    if (!new)
        return;
    new->all = all;
    new->change = change;
    new->name = strdup(name);
    new->new_name = strdup(new_name);
    if (new->name && new->new_name)
        send(lookup, new);
    else
        free_request(&new->message);
}
