#include <stdlib.h>
#include <string.h>

#include "repo-index/index.h"
#include "repo-index/lines.h"
#include "repo-index/read.h"

#define LOOK_AT_LEAST 30             /* best files whose lines are looked at, to order them again */
#define LOOK_BYTES ((size_t)24 << 20) /* of all of them */
#define LINE_WEIGHT 0.5

struct candidate {
    const struct kg_catalog_file *file;
    double score;
    struct kg_best_line *line; /* of those that were looked at */
};

static void parse_words(struct kg_query *query, const char *words)
{
    const char *end = words + strlen(words);
    const char *at = words;
    const char *identifier;
    size_t n;
    while ((identifier = kg_next_identifier(at, end, &n)) != NULL) {
        unsigned before = query->group_count;
        kg_query_add(query, identifier, n, 1);
        if (before && query->group_count > before)
            kg_query_add_pair(query, before - 1, before);
        at = identifier + n;
    }
}

static int better(const void *a, const void *b)
{
    const struct candidate *x = a, *y = b;
    if (x->score != y->score)
        return x->score > y->score ? -1 : 1;
    return strcmp(x->file->path, y->file->path);
}

static struct candidate *candidates_of(const struct kg_catalog *catalog, const struct kg_rank *rank, size_t *count)
{
    struct candidate *all = malloc((catalog->count + 1) * sizeof *all);
    *count = 0;
    for (size_t i = 0; all && i < catalog->count; i++)
        if (rank->scores[i] > 0)
            all[(*count)++] = (struct candidate){ .file = &catalog->files[i], .score = rank->scores[i] };
    if (all && *count)
        qsort(all, *count, sizeof *all, better);
    return all;
}

static void look_at_lines(struct kg_index *index, struct candidate *all, struct kg_best_line *lines, size_t count, const struct kg_query *query,
                          const char *phrase)
{
    size_t bytes = 0;
    for (size_t i = 0; i < count; i++) {
        char *text = NULL;
        size_t length = 0;
        all[i].line = &lines[i];
        if (bytes >= LOOK_BYTES || kg_read_beneath(index->root_fd, all[i].file->path, KG_INDEX_FILE_MAX, &text, &length, NULL, NULL) != KG_OK)
            continue;
        kg_best_line_of(text, length, query, phrase, &lines[i]);
        all[i].score += LINE_WEIGHT * lines[i].score;
        bytes += length;
        free(text);
    }
}

static void report(const struct candidate *all, size_t count, int (*each)(void *ctx, const struct kg_index_match *), void *ctx)
{
    for (size_t i = 0; i < count; i++) {
        char path[4 * KG_PATH_MAX];
        kg_printable(path, sizeof path, all[i].file->path, strlen(all[i].file->path));
        struct kg_index_match match = { .path = path, .score = all[i].score, .line = all[i].line->line, .text = all[i].line->text };
        if (each(ctx, &match))
            return;
    }
}

static enum kg_status report_best(struct kg_index *index, struct candidate *all, size_t count, uint32_t limit, const struct kg_query *query,
                                  const char *words, int (*each)(void *ctx, const struct kg_index_match *), void *ctx, struct kg_error *err)
{
    size_t looked = limit > LOOK_AT_LEAST ? limit : LOOK_AT_LEAST;
    looked = looked < count ? looked : count;
    struct kg_best_line *lines = calloc(looked + 1, sizeof *lines);
    if (!lines)
        return kg_fail_nomem(err, "searching the repository");
    look_at_lines(index, all, lines, looked, query, words);
    if (looked)
        qsort(all, looked, sizeof *all, better);
    report(all, limit < looked ? limit : looked, each, ctx);
    free(lines);
    return KG_OK;
}

static enum kg_status search(struct kg_index *index, const char *words, uint32_t limit, int (*each)(void *ctx, const struct kg_index_match *),
                             void *ctx, struct kg_error *err)
{
    const struct kg_catalog *catalog;
    struct kg_query query = { 0 };
    struct kg_rank rank = { 0 };
    struct candidate *all = NULL;
    size_t count = 0;
    parse_words(&query, words);
    enum kg_status status = kg_store_begin_read(index->store, err);
    if (status != KG_OK)
        return status;
    status = kg_catalog_of(index, &catalog, err);
    if (status == KG_OK)
        status = kg_rank(index, catalog, &query, &rank, err);
    kg_store_rollback(index->store);
    struct kg_catalog *held = status == KG_OK ? kg_catalog_hold(index) : NULL;
    all = status == KG_OK ? candidates_of(catalog, &rank, &count) : NULL;
    if (status == KG_OK && !all)
        status = kg_fail_nomem(err, "searching the repository");
    kg_rank_free(&rank);
    if (all)
        status = report_best(index, all, count, limit, &query, words, each, ctx, err);
    kg_catalog_free(held);
    free(all);
    return status;
}

enum kg_status kg_index_search(struct kg_index *index, const char *words, uint32_t limit, int (*each)(void *ctx, const struct kg_index_match *),
                               void *ctx, struct kg_error *err)
{
    enum kg_status status = search(index, words, limit, each, ctx, err);
    return status == KG_ERR_CORRUPT ? kg_index_mend(index, err) : status;
}
