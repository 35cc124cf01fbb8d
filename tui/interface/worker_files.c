/* Files for a question: named in it by hand, chosen for it by the index, or changed since they were read. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysinfo.h>
#include <time.h>

#include "repo-index/utf16.h"
#include "tui/conversation/excerpt.h"
#include "tui/conversation/includes.h"
#include "tui/conversation/instructions.h"
#include "tui/interface/figures.h"
#include "tui/interface/speed.h"
#include "tui/interface/worker_state.h"

#define CHOOSE_SECONDS 10
#define CHOOSE_LEAST 512 /* tokens: one small file fits on the slowest machine */
#define CHOSEN_MOST 64
#define BUSY_TRIES 100
#define QUESTION_MOST ((size_t)16 << 10)

struct chosen {
    char path[KG_PATH_MAX], reason[256];
    uint32_t tokens; /* that it really has, once it is read */
};

struct choosing {
    struct chosen *files;
    size_t count;
};

static void tell(struct kg_worker *worker, enum kg_entry_kind entry, const char *text)
{
    kg_tell_entry(worker->events, entry, text, strlen(text), NULL);
}

/* Questions with their answers, and summaries. */
static void write_talk(const struct kg_worker *worker, FILE *memory)
{
    char beginning[256], why[64];
    size_t parts = kg_session_parts(worker->session), questions = 0;
    for (size_t i = 0; i < parts; i++) {
        struct kg_part part = kg_session_part(worker->session, i);
        questions += part.kind == KG_PART_TURN;
        if (part.dropped || (part.kind != KG_PART_TURN && part.kind != KG_PART_SUMMARY))
            continue;
        struct kg_context_file talk = { .path = beginning, .why = why, .tokens = part.tokens, .read = KG_READ_NOW, .talk = true };
        kg_excerpt(part.text, part.length, "", 60, beginning, sizeof beginning);
        if (part.kind == KG_PART_SUMMARY)
            snprintf(why, sizeof why, "of what is summarised");
        else
            snprintf(why, sizeof why, "question %zu and its answer", questions);
        while (i + 1 < parts && kg_session_part(worker->session, i + 1).kind == KG_PART_ANSWER)
            talk.tokens += kg_session_part(worker->session, ++i).tokens;
        kg_context_file_write(memory, &talk);
    }
}

void kg_worker_tell_files(struct kg_worker *worker)
{
    char *text = NULL;
    size_t length = 0, parts = kg_session_parts(worker->session);
    FILE *memory = open_memstream(&text, &length);
    if (!memory)
        return;
    for (size_t i = 0; i < parts; i++) {
        struct kg_part part = kg_session_part(worker->session, i);
        struct kg_context_file file = { .path = part.label, .tokens = part.tokens, .again = part.again };
        if (part.kind != KG_PART_FILE || part.dropped)
            continue;
        file.read = kg_origin_of(worker->origins, part.label, &file.why);
        file.pinned = kg_session_pinned(worker->session, part.label);
        kg_context_file_write(memory, &file);
    }
    write_talk(worker, memory);
    fclose(memory);
    struct kg_event *event = text ? kg_event_create(KG_EVENT_FILES, text, length, NULL) : NULL;
    if (event)
        kg_channel_send(worker->events, &event->message);
    free(text);
}

const char *kg_worker_plain(const char *path)
{
    while (path[0] == '.' && path[1] == '/' && path[1 + strspn(path + 1, "/")])
        path += 1 + strspn(path + 1, "/");
    return path;
}

bool kg_worker_find_file(const struct kg_worker *worker, const char *path, struct kg_part *out)
{
    size_t parts = kg_session_parts(worker->session);
    for (size_t i = 0; i < parts; i++) {
        *out = kg_session_part(worker->session, i);
        if (out->kind == KG_PART_FILE && !out->dropped && strcmp(out->label, path) == 0)
            return true;
    }
    return false;
}

enum kg_status kg_worker_read_text(struct kg_worker *worker, const char *path, char **text, size_t *length, bool *secret, struct kg_error *err)
{
    if (worker->index)
        return kg_index_read(worker->index, path, KG_FILE_MAX, text, length, secret, err);
    *secret = false;
    enum kg_status status = kg_read_file(path, KG_FILE_MAX, text, length, err);
    return status == KG_OK ? kg_utf16_decode(path, KG_FILE_MAX, text, length, err) : status;
}

/* The engine has the whole of a file that it began to read, and reads the rest before the next answer. */
void kg_worker_stopped_reading(struct kg_worker *worker, const char *path, bool had)
{
    char line[KG_PATH_MAX + 128];
    const char *left = "";
    struct kg_part part;
    struct kg_error err;
    bool there = kg_worker_find_file(worker, path, &part);
    if (there && !had && !atomic_load(&worker->quitting)) {
        if (kg_session_drop_file(worker->session, path, &err) != KG_OK)
            tell(worker, KG_ENTRY_ERROR, err.text);
        there = kg_worker_find_file(worker, path, &part);
    }
    if (there) {
        kg_origin_set(worker->origins, path, NULL, KG_READ_DUE);
        left = ": it stays in context, and is read before the next answer; /drop takes it out";
    } else if (!had) {
        left = ": it is not in context";
    }
    snprintf(line, sizeof line, "stopped while reading %s%s", path, left);
    tell(worker, KG_ENTRY_NOTICE, line);
}

static enum kg_status read_in(struct kg_worker *worker, const char *path, struct kg_error *err)
{
    char *text;
    size_t length;
    bool secret;
    enum kg_status status = kg_worker_read_named(worker, path, &text, &length, &secret, err);
    if (status != KG_OK)
        return status;
    struct kg_part part;
    bool had = kg_worker_find_file(worker, path, &part);
    if (!had)
        kg_origin_set(worker->origins, path, NULL, KG_READ_CACHED); /* unless it is read: tell_progress sees it */
    kg_tell_doing(worker->events, KG_DOING_READING, path, 0, 0);
    status = kg_add_file_with_includes(worker->session, worker->index, path, text, length, secret, err);
    free(text);
    if (status == KG_ERR_CANCELLED)
        kg_worker_stopped_reading(worker, path, had);
    return status;
}

enum kg_status kg_worker_add_file(struct kg_worker *worker, const char *path, const char *why, struct kg_error *err)
{
    char line[KG_PATH_MAX + 128], tokens[KG_FIGURE];
    struct kg_part before, after;
    bool had = kg_worker_find_file(worker, path, &before);
    enum kg_status status = read_in(worker, path, err);
    if (status != KG_OK) {
        if (status != KG_ERR_CANCELLED && (status != KG_ERR_FULL || !worker->asking))
            tell(worker, KG_ENTRY_ERROR, err->text);
    } else if (kg_worker_find_file(worker, path, &after)) {
        const char *how = !had ? "" : before.digest == after.digest ? " (it was in context already)" : " (its content has changed)";
        snprintf(line, sizeof line, "read %s, %s tokens%s", path, kg_figure_count(tokens, after.tokens), how);
        tell(worker, KG_ENTRY_READING, line);
        const char *before_why;
        kg_origin_set(worker->origins, path, why, kg_origin_of(worker->origins, path, &before_why));
    }
    return status;
}

void kg_worker_tell_outdated(struct kg_worker *worker, const char *path)
{
    char line[KG_PATH_MAX + 128];
    unsigned answers = 0;
    size_t parts = kg_session_parts(worker->session);
    for (size_t i = 0; i < parts; i++) {
        const char *outdated = kg_session_part(worker->session, i).kind == KG_PART_ANSWER ? kg_session_outdated(worker->session, i) : NULL;
        answers += outdated && strcmp(outdated, path) == 0;
    }
    if (!answers)
        return;
    snprintf(line, sizeof line, "%u answer%s above saw %s as it was; /retry asks the last question again", answers, answers == 1 ? "" : "s", path);
    tell(worker, KG_ENTRY_NOTICE, line);
}

/* Files in context that changed on disk since are read again. */
static enum kg_status refresh_files(struct kg_worker *worker, bool *any, struct kg_error *err)
{
    enum kg_status status = KG_OK;
    size_t parts = kg_session_parts(worker->session);
    for (size_t i = 0; i < parts && status != KG_ERR_CANCELLED && status != KG_ERR_FULL; i++) {
        struct kg_part part = kg_session_part(worker->session, i), now;
        char path[KG_PATH_MAX];
        if (part.kind != KG_PART_FILE || part.dropped || strlen(part.label) >= sizeof path)
            continue;
        strcpy(path, part.label);
        *any |= !kg_is_instructions(path);
        if (kg_worker_index(worker, err) != KG_OK)
            return KG_OK;
        status = read_in(worker, path, err);
        if (status == KG_OK && kg_worker_find_file(worker, path, &now) && now.digest != part.digest) {
            char line[KG_PATH_MAX + 64];
            snprintf(line, sizeof line, "%s has changed and was read again", path);
            tell(worker, KG_ENTRY_READING, line);
            kg_worker_tell_outdated(worker, path);
        } else if (status == KG_ERR_FULL) {
            char line[KG_PATH_MAX + 64];
            snprintf(line, sizeof line, "%s has changed, and does not fit any more: it is not in context", path);
            tell(worker, KG_ENTRY_NOTICE, line);
        }
    }
    return status;
}

static int tell_indexing(void *ctx, uint32_t done, uint32_t found)
{
    struct kg_worker *worker = ctx;
    double now = kg_worker_seconds();
    if (worker->told != KG_DOING_INDEXING || now - worker->told_at > 0.05) {
        worker->told = KG_DOING_INDEXING;
        worker->told_at = now;
        kg_tell_doing(worker->events, KG_DOING_INDEXING, "", done, found);
    }
    return atomic_load(&worker->stopping);
}

/* Another process, or the completion's thread, may be at it just now. */
static enum kg_status refresh_index(struct kg_worker *worker, struct kg_error *err)
{
    struct kg_index_counts counts;
    enum kg_status status = KG_ERR_BUSY;
    for (int i = 0; i < BUSY_TRIES && status == KG_ERR_BUSY && !atomic_load(&worker->stopping); i++) {
        if (i > 0)
            nanosleep(&(struct timespec){ .tv_nsec = 50 * 1000 * 1000 }, NULL);
        status = kg_index_refresh(worker->index, tell_indexing, worker, &counts, err);
    }
    return atomic_load(&worker->stopping) ? KG_ERR_CANCELLED : status;
}

static uint32_t choose_budget(const struct kg_worker *worker)
{
    const struct kg_interface_options *options = worker->options;
    struct kg_counts counts;
    kg_session_counts(worker->session, &counts);
    uint32_t third = counts.context_limit / 3;
    double speed = kg_speed_recall(worker->speed_path, worker->facts.model, worker->facts.device);
    if (speed == 0) {
        struct stat model;
        uint64_t bytes = stat(options->engine.model_path, &model) == 0 && model.st_size > 0 ? (uint64_t)model.st_size : 1;
        speed = kg_speed_guess(bytes, options->engine.threads ? options->engine.threads : (uint32_t)get_nprocs());
    }
    double budget = options->choose_tokens ? options->choose_tokens : speed * CHOOSE_SECONDS;
    budget = budget < CHOOSE_LEAST ? CHOOSE_LEAST : budget;
    return budget < third ? (uint32_t)budget : third;
}

static int take_choice(void *ctx, const struct kg_choice *choice)
{
    struct choosing *choosing = ctx;
    if (choosing->count == CHOSEN_MOST)
        return 1;
    struct chosen *file = &choosing->files[choosing->count];
    if (strlen(choice->path) < sizeof file->path) {
        strcpy(file->path, choice->path);
        snprintf(file->reason, sizeof file->reason, "%s", choice->reason ? choice->reason : "");
        choosing->count++;
    }
    return 0;
}

/* "read 3 files, 2,340 tokens: tui/main.c (named in the question), ..." and the same one file a row. */
static void tell_chosen(struct kg_worker *worker, const struct choosing *choosing)
{
    char *summary = NULL, *rows = NULL, count[KG_FIGURE];
    size_t summary_length, rows_length;
    uint64_t tokens = 0;
    FILE *one = open_memstream(&summary, &summary_length), *all = open_memstream(&rows, &rows_length);
    for (size_t i = 0; i < choosing->count; i++)
        tokens += choosing->files[i].tokens;
    if (one && all) {
        fprintf(one, "read %zu file%s, %s tokens:", choosing->count, choosing->count == 1 ? "" : "s", kg_figure_count(count, tokens));
        fprintf(all, "%s", "");
        for (size_t i = 0; i < choosing->count; i++) {
            const struct chosen *file = &choosing->files[i];
            fprintf(one, "%s %s (%s)", i ? "," : "", file->path, file->reason);
            fprintf(all, "%sread %s, %s tokens: %s", i ? "\n" : "", file->path, kg_figure_count(count, file->tokens), file->reason);
        }
    }
    bool whole = one && all;
    whole = (one && fclose(one) == 0) && whole;
    whole = (all && fclose(all) == 0) && whole;
    if (whole)
        kg_tell_entry(worker->events, KG_ENTRY_READING, rows, rows_length, summary);
    free(summary);
    free(rows);
}

static enum kg_status read_chosen(struct kg_worker *worker, struct choosing *choosing, struct kg_error *err)
{
    size_t read = 0;
    enum kg_status status = KG_OK;
    for (size_t i = 0; i < choosing->count && status != KG_ERR_CANCELLED && status != KG_ERR_FULL; i++) {
        struct kg_part part;
        status = read_in(worker, choosing->files[i].path, err);
        if (status == KG_OK && kg_worker_find_file(worker, choosing->files[i].path, &part)) {
            const char *before;
            choosing->files[i].tokens = part.tokens;
            kg_origin_set(worker->origins, part.label, choosing->files[i].reason, kg_origin_of(worker->origins, part.label, &before));
            choosing->files[read++] = choosing->files[i];
        } else if (status != KG_OK && status != KG_ERR_CANCELLED) {
            tell(worker, KG_ENTRY_NOTICE, err->text);
        }
    }
    choosing->count = read;
    if (read)
        tell_chosen(worker, choosing);
    return status == KG_ERR_CANCELLED ? status : KG_OK;
}

/* What a question is about stands near its beginning, even when a whole log was pasted behind it. */
static char *beginning(const char *question, size_t length)
{
    return strndup(question, length < QUESTION_MOST ? length : QUESTION_MOST);
}

static enum kg_status choose_files(struct kg_worker *worker, const char *asked, size_t length, struct kg_error *err)
{
    struct choosing choosing = { .files = calloc(CHOSEN_MOST, sizeof(struct chosen)) };
    char *question = beginning(asked, length);
    if (!choosing.files || !question) {
        free(choosing.files);
        free(question);
        return kg_fail_nomem(err, "choosing files");
    }
    kg_tell_doing(worker->events, KG_DOING_INDEXING, "", 0, 0);
    enum kg_status status = refresh_index(worker, err);
    if (status != KG_ERR_CANCELLED) { /* an index that could not be brought up to date still serves */
        if (status != KG_OK)
            tell(worker, KG_ENTRY_NOTICE, err->text);
        kg_tell_doing(worker->events, KG_DOING_CHOOSING, "", 0, 0);
        status = kg_index_choose(worker->index, question, choose_budget(worker), take_choice, &choosing, err);
        if (status != KG_OK && status != KG_ERR_CANCELLED)
            tell(worker, KG_ENTRY_ERROR, err->text);
        else if (choosing.count == 0)
            tell(worker, KG_ENTRY_READING, "no file read: none of the repository's fits the question; @path adds one");
        else
            status = read_chosen(worker, &choosing, err);
    }
    free(choosing.files);
    free(question);
    return status;
}

/* They are not the person's: that is told. */
static enum kg_status add_instructions(struct kg_worker *worker, struct kg_error *err)
{
    char line[256], tokens[KG_FIGURE];
    const char *path = NULL, *why = "instructions from the repository, not yours";
    struct kg_part part;
    struct kg_error unopened;
    if (!worker->options->instructions || !worker->options->repository || kg_worker_index(worker, &unopened) != KG_OK)
        return KG_OK;
    enum kg_status status = kg_add_instructions(worker->session, worker->index, &path, err);
    if (status == KG_ERR_RANGE) {
        snprintf(line, sizeof line, "%s has more than %zu bytes and was not read; @%s reads it", path, KG_INSTRUCTIONS_MAX, path);
        tell(worker, KG_ENTRY_NOTICE, line);
        return KG_OK;
    }
    if (status == KG_OK && path && kg_worker_find_file(worker, path, &part)) {
        snprintf(line, sizeof line, "read %s, %s tokens: %s", path, kg_figure_count(tokens, part.tokens), why);
        tell(worker, KG_ENTRY_READING, line);
        const char *before;
        kg_origin_set(worker->origins, path, why, kg_origin_of(worker->origins, path, &before));
    } else if (status != KG_OK && status != KG_ERR_CANCELLED && status != KG_ERR_FULL) {
        tell(worker, KG_ENTRY_NOTICE, err->text);
        status = KG_OK;
    }
    return status;
}

enum kg_status kg_worker_files_for(struct kg_worker *worker, const char *question, size_t length, struct kg_error *err)
{
    bool any = false;
    kg_worker_forget_notes(worker);
    worker->asking = true;
    enum kg_status status = refresh_files(worker, &any, err);
    if (status != KG_ERR_CANCELLED && status != KG_ERR_FULL)
        status = add_instructions(worker, err);
    if (status != KG_ERR_CANCELLED && status != KG_ERR_FULL)
        status = kg_worker_add_mentions(worker, question, length, &any, err);
    worker->asking = false;
    if (status != KG_ERR_CANCELLED && status != KG_ERR_FULL && !any && worker->options->choose_files && worker->options->repository) {
        status = kg_worker_index(worker, err);
        if (status == KG_OK)
            status = choose_files(worker, question, length, err);
        else
            tell(worker, KG_ENTRY_ERROR, err->text);
    }
    kg_worker_tell_files(worker);
    return status;
}
