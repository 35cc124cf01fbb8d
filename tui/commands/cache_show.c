#include "tui/commands/cache_show.h"

#include <cjson/cJSON.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "tui/commands/repo_reader.h"
#include "tui/conversation/includes.h"

enum { DIGEST = 32 }; /* hexadecimal digits that the index knows of a text */

/* What the cache has of this model: texts and titles, in order. */
struct cached {
    const char *model;
    char (*texts)[DIGEST + 1];
    char **titles;
    size_t text_count, title_count, text_room, title_room;
    bool nomem;
};

static bool grow(void **array, size_t count, size_t *room, size_t size)
{
    if (count < *room)
        return true;
    size_t more = *room ? 2 * *room : 256;
    void *grown = realloc(*array, more * size);
    if (!grown)
        return false;
    *array = grown;
    *room = more;
    return true;
}

static int take_block(void *ctx, const struct kg_cached_block *block)
{
    struct cached *cached = ctx;
    if (strcmp(block->kind, "file") != 0 || strcmp(block->model, cached->model) != 0 || block->ready == 0)
        return 0;
    cached->nomem = !grow((void **)&cached->titles, cached->title_count, &cached->title_room, sizeof *cached->titles) ||
                    !grow((void **)&cached->texts, cached->text_count, &cached->text_room, sizeof *cached->texts) ||
                    !(cached->titles[cached->title_count] = strdup(block->title));
    if (cached->nomem)
        return 1;
    cached->title_count++;
    if (*block->text)
        snprintf(cached->texts[cached->text_count++], sizeof *cached->texts, "%.*s", DIGEST, block->text);
    return 0;
}

static int compare_texts(const void *a, const void *b)
{
    return strcmp(a, b);
}

static int compare_titles(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static enum kg_status load_cached(struct cached *cached, struct kg_error *err)
{
    enum kg_status status = kg_cache_list(NULL, take_block, cached, err);
    if (status == KG_OK && cached->nomem)
        status = kg_fail_nomem(err, "listing the cache");
    if (cached->text_count)
        qsort(cached->texts, cached->text_count, sizeof *cached->texts, compare_texts);
    if (cached->title_count)
        qsort(cached->titles, cached->title_count, sizeof *cached->titles, compare_titles);
    return status;
}

static void free_cached(struct cached *cached)
{
    for (size_t i = 0; i < cached->title_count; i++)
        free(cached->titles[i]);
    free(cached->titles);
    free(cached->texts);
}

/* This very text, in whatever reading. */
static bool has_text(const struct cached *cached, const struct kg_repo_file *file)
{
    char hex[DIGEST + 1];
    if (!file->has_digest || !cached->text_count)
        return false;
    for (size_t i = 0; i < DIGEST / 2; i++)
        snprintf(hex + 2 * i, 3, "%02x", file->digest[i]);
    return bsearch(hex, cached->texts, cached->text_count, sizeof *cached->texts, compare_texts) != NULL;
}

/* Some text that stood under this path: parts of it may still be there. */
static bool has_title(const struct cached *cached, const char *path)
{
    char title[256];
    const char *key = title;
    kg_printable(title, sizeof title, path, strlen(path));
    return cached->title_count && bsearch(&key, cached->titles, cached->title_count, sizeof *cached->titles, compare_titles) != NULL;
}

struct state {
    uint32_t tokens, known, older; /* older: kept, but in another reading than the one that is wanted */
    bool estimated;                /* tokens, of a file that was not looked at */
};

static enum kg_status examine(struct kg_repo_reader *reader, const struct cached *cached, const struct kg_repo_file *file, struct state *out,
                              struct kg_error *err)
{
    struct kg_known known;
    char *text = NULL;
    size_t length;
    bool secret = false;
    const bool same = has_text(cached, file);
    *out = (struct state){ .tokens = (uint32_t)((double)file->bytes / KG_BYTES_PER_TOKEN), .estimated = true };
    if (!same && !has_title(cached, file->path))
        return KG_OK;
    struct kg_error unread;
    if (kg_index_read(reader->index, file->path, KG_FILE_MAX, &text, &length, &secret, &unread) != KG_OK)
        return KG_OK; /* gone since it was indexed */
    enum kg_status status = kg_known_with_includes(reader->session, reader->index, file->path, text, length, &known, err);
    free(text);
    if (status == KG_OK)
        *out = (struct state){ .tokens = known.tokens, .known = known.known, .older = same && known.known == 0 ? known.tokens : 0 };
    return status;
}

static int by_path(const void *a, const void *b)
{
    return strcmp(((const struct kg_repo_file *)a)->path, ((const struct kg_repo_file *)b)->path);
}

struct totals {
    uint64_t tokens, known, older;
    size_t whole, touched;
};

static void add(struct totals *totals, const struct state *s)
{
    totals->tokens += s->tokens;
    totals->known += s->known;
    totals->older += s->older;
    totals->whole += s->known == s->tokens && s->tokens;
    totals->touched += s->known || s->older;
}

static void put_row(const char *path, const struct state *s, cJSON *rows)
{
    char visible[4 * KG_PATH_MAX];
    kg_printable(visible, sizeof visible, path, strlen(path));
    if (!rows) {
        printf("%9" PRIu32 " %9" PRIu32 " %s%8" PRIu32 "  %s\n", s->known, s->older, s->estimated ? "~" : " ", s->tokens - s->known - s->older, visible);
        return;
    }
    cJSON *row = cJSON_CreateObject();
    cJSON_AddStringToObject(row, "path", visible);
    cJSON_AddNumberToObject(row, "tokens", s->tokens);
    cJSON_AddNumberToObject(row, "known", s->known);
    cJSON_AddNumberToObject(row, "older", s->older);
    cJSON_AddBoolToObject(row, "estimated", s->estimated);
    cJSON_AddItemToArray(rows, row);
}

static void put_totals(const struct kg_repo_reader *reader, const char *model, const struct totals *t, cJSON *rows)
{
    if (!rows) {
        printf("%9" PRIu64 " %9" PRIu64 " ~%8" PRIu64 "  in %zu files for %s: %zu known, %zu in part\n", t->known, t->older, t->tokens - t->known - t->older,
               reader->count, model, t->whole, t->touched - t->whole);
        return;
    }
    cJSON *root = cJSON_CreateObject();
    cJSON_AddStringToObject(root, "model", model);
    cJSON_AddNumberToObject(root, "tokens", (double)t->tokens);
    cJSON_AddNumberToObject(root, "known", (double)t->known);
    cJSON_AddNumberToObject(root, "older", (double)t->older);
    cJSON_AddItemToObject(root, "files", rows);
    kg_put_json(root);
}

static enum kg_status show(struct kg_repo_reader *reader, bool every, bool json, struct kg_error *err)
{
    struct kg_engine_facts facts;
    kg_engine_facts(reader->engine, &facts);
    struct cached cached = { .model = facts.model };
    struct totals totals = { 0 };
    enum kg_status status = load_cached(&cached, err);
    cJSON *rows = json ? cJSON_CreateArray() : NULL;
    qsort(reader->files, reader->count, sizeof *reader->files, by_path);
    if (!json && status == KG_OK)
        printf("%9s %9s %9s  %s\n", "known", "older", "unknown", "tokens of");
    for (size_t i = 0; i < reader->count && status == KG_OK; i++) {
        struct state state;
        status = examine(reader, &cached, &reader->files[i], &state, err);
        add(&totals, &state);
        if (status == KG_OK && (every || json || state.known || state.older))
            put_row(reader->files[i].path, &state, rows);
    }
    if (status == KG_OK)
        put_totals(reader, facts.model, &totals, rows);
    else
        cJSON_Delete(rows);
    free_cached(&cached);
    return status;
}

int kg_cache_show_worktree(const char *directory, const char *model, bool every, bool json)
{
    struct kg_repo_reader reader;
    struct kg_error err;
    const struct kg_engine_options options = { .weightless = true };
    enum kg_status status = kg_repo_reader_open(directory, model, &options, &reader, &err);
    if (status == KG_OK)
        status = show(&reader, every, json, &err);
    kg_repo_reader_close(&reader);
    return status == KG_OK ? KG_EXIT_OK : kg_command_failed("cache", &err);
}
