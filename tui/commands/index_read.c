#include "tui/commands/index_read.h"

#include <cjson/cJSON.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "tui/commands/progress.h"
#include "tui/commands/repo_reader.h"
#include "tui/conversation/includes.h"

/* Whoever else wants the processor has it. */
#define NICENESS 10

struct figures {
    uint64_t computed; /* tokens */
    size_t read, known, left; /* files */
    double seconds;
    bool stopped;
};

static double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

/* The file's content, unless it is not to be kept: NULL. */
static char *take_text(struct kg_repo_reader *reader, const char *path, size_t *length)
{
    char *text = NULL;
    bool secret = false;
    struct kg_error unread;
    if (kg_index_read(reader->index, path, KG_FILE_MAX, &text, length, &secret, &unread) == KG_OK && !secret)
        return text;
    free(text);
    return NULL;
}

/* KG_ERR_FULL: a file for which the budget does not suffice; smaller ones may follow. */
static enum kg_status read_one(struct kg_repo_reader *reader, const char *path, uint64_t budget, struct figures *f, struct kg_error *err)
{
    size_t length = 0;
    struct kg_known known = { 0 };
    uint64_t computed = 0;
    char *text = take_text(reader, path, &length);
    if (!text)
        return KG_OK;
    enum kg_status status = kg_known_with_includes(reader->session, reader->index, path, text, length, &known, err);
    const bool whole = status == KG_OK && known.known == known.tokens;
    if (status == KG_OK && !whole && f->computed + known.tokens - known.known > budget)
        status = KG_ERR_FULL;
    if (status == KG_OK && !whole)
        status = kg_read_ahead_with_includes(reader->session, reader->index, path, text, length, &computed, err);
    f->computed += computed;
    f->known += whole;
    f->read += status == KG_OK && !whole;
    free(text);
    return status;
}

static enum kg_status read_files(struct kg_repo_reader *reader, uint64_t budget, struct figures *f, struct kg_error *err)
{
    enum kg_status status = KG_OK;
    double start = seconds();
    for (size_t i = 0; i < reader->count && status == KG_OK; i++) {
        if (f->computed + budget / 64 >= budget) { /* hardly a file is so small */
            f->left += reader->count - i;
            break;
        }
        status = read_one(reader, reader->files[i].path, budget, f, err);
        f->left += status == KG_ERR_FULL || status == KG_ERR_CANCELLED;
        f->left += status == KG_ERR_CANCELLED ? reader->count - i - 1 : 0;
        status = status == KG_ERR_FULL ? KG_OK : status;
    }
    f->seconds = seconds() - start;
    f->stopped = status == KG_ERR_CANCELLED;
    return f->stopped ? KG_OK : status;
}

static void print(const struct figures *f, bool json)
{
    if (!json) {
        printf("read %zu files, %" PRIu64 " tokens in %.1f s%s; %zu were known, %zu are left\n", f->read, f->computed, f->seconds, f->stopped ? ", then stopped" : "",
               f->known, f->left);
        return;
    }
    cJSON *root = cJSON_CreateObject();
    cJSON_AddNumberToObject(root, "computed_tokens", (double)f->computed);
    cJSON_AddNumberToObject(root, "read_files", (double)f->read);
    cJSON_AddNumberToObject(root, "known_files", (double)f->known);
    cJSON_AddNumberToObject(root, "left_files", (double)f->left);
    cJSON_AddNumberToObject(root, "seconds", f->seconds);
    cJSON_AddBoolToObject(root, "stopped", f->stopped);
    kg_put_json(root);
}

int kg_index_read_ahead(const char *directory, const char *model, uint64_t tokens, bool json)
{
    struct kg_repo_reader reader;
    struct kg_error err;
    struct figures figures = { 0 };
    struct kg_engine_facts facts = { .notice = NULL };
    bool shown = false;
    const struct kg_engine_options options = { .progress = isatty(STDERR_FILENO) ? kg_progress_show : NULL, .ctx = &shown };
    if (nice(NICENESS) == -1)
        fputs("kedge index: the priority could not be lowered\n", stderr);
    enum kg_status status = kg_repo_reader_open(directory, model, &options, &reader, &err);
    if (status == KG_OK) {
        kg_engine_facts(reader.engine, &facts);
        kg_stop_on_interrupt(reader.engine);
        if (!facts.caches)
            status = kg_fail(&err, KG_ERR_USAGE, "the cache is off, so nothing that is read now would be kept; kedge cache on, or see kedge.conf(5)");
    }
    if (status == KG_OK) {
        status = read_files(&reader, tokens ? tokens : facts.trained_length, &figures, &err);
        kg_engine_facts(reader.engine, &facts);
    }
    kg_progress_clear(&shown);
    if (facts.notice)
        fprintf(stderr, "kedge index: %s\n", facts.notice);
    kg_stop_on_interrupt(NULL);
    kg_repo_reader_close(&reader);
    if (status != KG_OK)
        return kg_command_failed("index", &err);
    print(&figures, json);
    return figures.stopped ? KG_EXIT_FAILED : KG_EXIT_OK;
}
