/* Changes: asked for, found in answers, described. */
#include <stdlib.h>
#include <string.h>

#include "tui/changes/request.h"
#include "tui/changes/worktree.h"
#include "tui/interface/worker_state.h"

#define MESSAGE_TOKENS 200

struct shown {
    struct kg_shown_file *files;
    size_t count;
};

static void free_shown(struct shown *shown)
{
    for (size_t i = 0; i < shown->count; i++) {
        free((char *)shown->files[i].path);
        free((char *)shown->files[i].text);
    }
    free(shown->files);
}

/* The files in context, with their contents now; what is no file (output of a command) or gone is left out. */
static enum kg_status collect(struct kg_worker *worker, struct shown *out, struct kg_error *err)
{
    size_t parts = kg_session_parts(worker->session);
    *out = (struct shown){ .files = calloc(parts + 1, sizeof *out->files) };
    if (!out->files)
        return kg_fail_nomem(err, "asking for a change");
    for (size_t i = 0; i < parts; i++) {
        struct kg_part part = kg_session_part(worker->session, i);
        char *text = NULL;
        bool secret;
        struct kg_error unread;
        struct kg_shown_file *file = &out->files[out->count];
        if (part.kind != KG_PART_FILE || part.dropped || part.label[0] == '$' ||
            kg_worker_read_text(worker, part.label, &text, &file->length, &secret, &unread) != KG_OK)
            continue;
        file->text = text;
        file->path = strdup(part.label);
        out->count++;
        if (!file->path)
            return kg_fail_nomem(err, "asking for a change");
    }
    return KG_OK;
}

static enum kg_status read_more(void *ctx, const char *path, char **text, size_t *length, struct kg_error *err)
{
    bool secret;
    return kg_worker_read_text(ctx, path, text, length, &secret, err);
}

/* To be reviewed; the proposal's content is taken over. */
static enum kg_status send_proposal(struct kg_worker *worker, struct kg_proposal *proposal, struct kg_error *err)
{
    struct kg_event *event = kg_event_create(KG_EVENT_PROPOSAL, NULL, 0, NULL);
    if (event)
        event->proposal = calloc(1, sizeof *event->proposal);
    if (!event || !event->proposal) {
        kg_event_free(event);
        return kg_fail_nomem(err, "reading an answer");
    }
    *event->proposal = *proposal;
    *proposal = (struct kg_proposal){ 0 };
    kg_channel_send(worker->events, &event->message);
    return KG_OK;
}

void kg_worker_edits_of(struct kg_worker *worker, struct kg_answer *answer, bool whole)
{
    const struct kg_more_files more = { .read = read_more, .ctx = worker };
    struct shown shown;
    struct kg_proposal proposal = { 0 };
    struct kg_error err;
    enum kg_status status = kg_answer_end(answer, whole, &err);
    if (status == KG_OK && kg_answer_edits(answer) == 0)
        return;
    if (status == KG_OK) {
        status = collect(worker, &shown, &err);
        if (status == KG_OK)
            status = kg_proposal_of(answer, shown.files, shown.count, &more, &proposal, &err);
        if (status == KG_OK)
            status = send_proposal(worker, &proposal, &err);
        kg_proposal_free(&proposal);
        free_shown(&shown);
    }
    if (status != KG_OK)
        kg_tell_entry(worker->events, KG_ENTRY_NOTICE, err.text, strlen(err.text), NULL);
}

/* A request that begins with lines of a file, "src/a.c:3-9 make it return early". */
struct region {
    char path[KG_PATH_MAX]; /* "" = it does not */
    uint32_t first, last;
    const char *text; /* the rest */
};

static bool is_there(struct kg_worker *worker, const char *path)
{
    char *text = NULL;
    size_t length;
    bool secret;
    struct kg_error err;
    bool there = kg_worker_read_text(worker, path, &text, &length, &secret, &err) == KG_OK;
    free(text);
    return there;
}

/* As completion writes a path with blanks: @"a b.c:3-9". */
static bool find_quoted(const char *text, struct region *out)
{
    const char *end = strncmp(text, "@\"", 2) == 0 ? strpbrk(text + 2, "\"\n") : NULL;
    size_t length = end && *end == '"' ? (size_t)(end - text) - 2 : sizeof out->path;
    if (length >= sizeof out->path)
        return false;
    memcpy(out->path, text + 2, length);
    out->path[length] = '\0';
    out->text = end + 1 + strspn(end + 1, " \n");
    return *out->text && kg_take_lines(out->path, &out->first, &out->last);
}

/* A first word with a range of lines is meant as one, whether there is such a file or not. */
static void find_region(struct kg_worker *worker, const char *text, struct region *out)
{
    bool first = true;
    if (find_quoted(text, out))
        return;
    *out = (struct region){ .text = text };
    text += *text == '@';
    for (const char *blank = strpbrk(text, " \n"); blank && (size_t)(blank - text) < sizeof out->path; blank = strpbrk(blank + 1, " \n"), first = false) {
        memcpy(out->path, text, (size_t)(blank - text));
        out->path[blank - text] = '\0';
        if (kg_take_lines(out->path, &out->first, &out->last) && ((first && out->last > out->first) || is_there(worker, out->path))) {
            out->text = blank + strspn(blank, " \n");
            return;
        }
    }
    out->path[0] = '\0';
}

/* The file alone, with the lines that are to be written anew. */
static enum kg_status take_region(struct shown *shown, const struct region *region, struct kg_error *err)
{
    size_t at = 0, lines = 0;
    while (at < shown->count && strcmp(shown->files[at].path, region->path) != 0)
        at++;
    if (at == shown->count)
        return kg_fail(err, KG_ERR_NOT_FOUND, "%s could not be read; nothing is changed", region->path);
    struct kg_shown_file file = shown->files[at];
    for (size_t i = 0; i < file.length; i++)
        lines += file.text[i] == '\n' || i + 1 == file.length;
    if (region->last > lines)
        return kg_fail(err, KG_ERR_RANGE, "%s has %zu lines, not %u", region->path, lines, region->last);
    file.first = region->first;
    file.last = region->last;
    shown->files[at] = shown->files[0];
    shown->files[0] = file;
    return KG_OK;
}

struct named {
    struct kg_worker *worker;
    const struct region *region;
    size_t at; /* in its text */
    char path[KG_PATH_MAX];
};

/* Files that may have to be written: the one of which lines are to change, or else all that the request names. */
static const char *next_named(void *ctx)
{
    struct named *named = ctx;
    const char *text = named->region->text;
    size_t length = strlen(text);
    struct kg_mention mention;
    if (named->region->path[0])
        return named->at++ == 0 ? named->region->path : NULL;
    while (kg_mention_next(text, length, named->at, &mention)) {
        named->at = mention.end;
        if (kg_worker_mentioned(named->worker, text, &mention, named->path))
            return named->path;
    }
    return NULL;
}

/* Nothing is read and asked for what cannot be written. */
static enum kg_status refuse_unwritable(struct kg_worker *worker, const struct region *region, struct kg_error *err)
{
    struct kg_worktree *tree;
    struct named named = { .worker = worker, .region = region };
    if (!worker->options->repository)
        return KG_OK;
    enum kg_status status = kg_worktree_open(worker->options->repository, &tree, err);
    if (status != KG_OK)
        return status;
    status = kg_worktree_admits_any(tree, next_named, &named, err);
    kg_worktree_close(tree);
    return status;
}

static void tell_work(void *ctx, enum kg_end end)
{
    kg_worker_tell_work(ctx, end);
}

void kg_worker_edit(struct kg_worker *worker, const struct kg_task *task)
{
    const struct kg_more_files more = { .read = read_more, .ctx = worker };
    struct shown shown = { .files = NULL };
    struct kg_proposal proposal = { 0 };
    struct kg_error err;
    enum kg_end end = KG_END_MODEL;
    struct region region;
    kg_worker_index(worker, &err); /* what it says, reading the file says again */
    find_region(worker, task->text, &region);
    const char *plain = kg_worker_plain(region.path);
    memmove(region.path, plain, strlen(plain) + 1);
    enum kg_status status = refuse_unwritable(worker, &region, &err);
    if (status != KG_OK) {
        kg_worker_tell_error(worker, err.text);
        return;
    }
    worker->asking = true;
    status = region.path[0] ? kg_worker_add_file(worker, region.path, "lines of it are changed", &err) : KG_OK;
    worker->asking = false;
    if (status != KG_OK && status != KG_ERR_CANCELLED && status != KG_ERR_FULL)
        return; /* told */
    if (status == KG_OK)
        status = kg_worker_files_for(worker, region.text, strlen(region.text), &err);
    if (status == KG_ERR_CANCELLED) {
        const char *text = "stopped before it was asked; Up brings the request back";
        kg_tell_entry(worker->events, KG_ENTRY_COUNTS, text, strlen(text), NULL);
        return;
    }
    if (status == KG_ERR_FULL) {
        kg_worker_tell_full(worker, task, err.text);
        return;
    }
    size_t length = strlen(region.text);
    char *text = kg_worker_noted(worker, region.text, &length);
    if (!text) {
        kg_worker_tell_error(worker, "out of memory: this was not asked");
        return;
    }
    uint64_t turns = kg_worker_turns(worker);
    status = collect(worker, &shown, &err);
    if (status == KG_OK && region.path[0])
        status = take_region(&shown, &region, &err);
    struct kg_edit_request request = { .text = text, .form = region.path[0] ? KG_FORM_REGION : kg_form_of_model(worker->facts.model),
                                       .files = shown.files, .count = region.path[0] ? 1 : shown.count,
                                       .max_tokens = worker->options->max_tokens, .sampling = worker->options->sampling, .text_out = kg_worker_take_text, .asked = tell_work, .ctx = worker };
    kg_tell_doing(worker->events, KG_DOING_READING, "the request", 0, 0);
    if (status == KG_OK)
        status = kg_edit_propose(worker->session, &request, &more, &proposal, &end, &err);
    if (status == KG_OK && end == KG_END_STOPPED)
        status = kg_fail(&err, KG_ERR_CANCELLED, "stopped: nothing is changed");
    if (status == KG_OK)
        status = send_proposal(worker, &proposal, &err);
    if (status == KG_ERR_FULL && kg_worker_turns(worker) == turns)
        kg_worker_tell_full(worker, task, err.text);
    else if (status != KG_OK)
        kg_worker_tell_error(worker, err.text);
    kg_proposal_free(&proposal);
    free_shown(&shown);
    free(text);
}

static const char message_request[] = "Write the message of a git commit for this diff: one line of at most 70 characters, in the imperative, that says what changes and\n"
                                      "why. Answer with that line only.\n\n``````diff\n";

/* A small model goes on with the difference. */
static bool is_of_diff(const char *line)
{
    static const char *const begins[] = { "diff --git", "index ", "@@", "+", "-" };
    for (size_t i = 0; i < sizeof begins / sizeof *begins; i++)
        if (strncmp(line, begins[i], strlen(begins[i])) == 0)
            return true;
    return false;
}

/* The model's line without what it may be wrapped in; empty when it wrote no message. */
static void tell_message(struct kg_worker *worker, const struct kg_answer *answer)
{
    size_t length;
    const char *text = kg_answer_text(answer, &length);
    while (length > 0 && strchr(" \n`\"*", text[0])) {
        text++;
        length--;
    }
    const char *fence = length ? memmem(text, length, "```", 3) : NULL;
    length = fence ? (size_t)(fence - text) : length;
    while (length > 0 && strchr(" \n`\"*", text[length - 1]))
        length--;
    const char *end = length ? memchr(text, '\n', length) : NULL;
    char line[600];
    kg_printable(line, sizeof line, text, end ? (size_t)(end - text) : length);
    if (is_of_diff(line))
        line[0] = '\0';
    struct kg_event *event = kg_event_create(KG_EVENT_MESSAGE, line, strlen(line), NULL);
    if (event)
        kg_channel_send(worker->events, &event->message);
}

void kg_worker_message(struct kg_worker *worker, const struct kg_task *task)
{
    static const char behind[] = "``````\n";
    struct kg_error err;
    enum kg_end end = KG_END_MODEL;
    size_t length = sizeof message_request - 1 + task->length + sizeof behind - 1;
    char *text = malloc(length + 1);
    worker->answer = text ? kg_answer_create(KG_FORM_ANY) : NULL;
    if (!worker->answer) {
        free(text);
        kg_worker_tell_error(worker, "out of memory: the message was not drafted");
        return;
    }
    memcpy(text, message_request, sizeof message_request - 1);
    memcpy(text + sizeof message_request - 1, task->text, task->length);
    memcpy(text + sizeof message_request - 1 + task->length, behind, sizeof behind);
    struct kg_question question = { .text = text, .length = length, .max_tokens = MESSAGE_TOKENS, .sampling = worker->options->sampling, .text_out = kg_worker_take_text,
                                    .ctx = worker };
    enum kg_status status = kg_session_ask(worker->session, &question, &end, &err);
    if (status == KG_OK)
        kg_worker_tell_work(worker, end);
    else
        kg_worker_tell_error(worker, err.text);
    if (status == KG_OK && end != KG_END_STOPPED && worker->answer)
        tell_message(worker, worker->answer);
    kg_answer_free(worker->answer);
    worker->answer = NULL;
    free(text);
}
