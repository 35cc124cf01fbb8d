#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "repo-index/arena.h"
#include "repo-index/catalog.h"

#define WORDS_MAX 16

struct found {
    const char *path, *kind, *name, *scope, *signature;
    uint32_t line, end;
    uint32_t order; /* in which it was found: by path and line */
    unsigned score;
};

struct finding {
    const char *query;
    const char *words[WORDS_MAX];
    unsigned word_count;
    const char *path; /* of the file at hand */
    struct kg_arena texts;
    struct found *found;
    size_t count, capacity;
    bool failed;
};

/* 0 = no match, more for what is nearer to the query. */
static unsigned score_of(const struct finding *f, const struct kg_symbol_view *symbol)
{
    if (f->word_count == 0)
        return 1;
    if (strcmp(symbol->name, f->query) == 0)
        return 5;
    if (strcasecmp(symbol->name, f->query) == 0)
        return 4;
    for (unsigned i = 0; i < f->word_count; i++)
        if (!strcasestr(symbol->name, f->words[i]))
            return 0;
    return strncasecmp(symbol->name, f->words[0], strlen(f->words[0])) == 0 ? 3 : 2;
}

static const char *keep(struct finding *f, const char *text)
{
    const char *copy = kg_arena_copy(&f->texts, text, strlen(text));
    f->failed |= !copy;
    return copy;
}

static int take_symbol(void *ctx, const struct kg_symbol_view *symbol)
{
    struct finding *f = ctx;
    unsigned score = score_of(f, symbol);
    if (!score)
        return 0;
    f->failed = !kg_grow(&f->found, f->count, &f->capacity, sizeof *f->found);
    if (f->failed)
        return 1;
    f->found[f->count] = (struct found){ .path = f->path, .kind = keep(f, symbol->kind), .name = keep(f, symbol->name), .scope = keep(f, symbol->scope),
                                         .signature = keep(f, symbol->signature), .line = symbol->line, .end = symbol->end, .order = (uint32_t)f->count, .score = score };
    f->count++;
    return f->failed;
}

static bool is_declaration(const struct found *found)
{
    return strcmp(found->kind, "prototype") == 0 || strcmp(found->kind, "declaration") == 0;
}

static int better(const void *a, const void *b)
{
    const struct found *x = a, *y = b;
    if (x->score != y->score)
        return x->score > y->score ? -1 : 1;
    if (is_declaration(x) != is_declaration(y))
        return is_declaration(x) ? 1 : -1;
    return x->order < y->order ? -1 : 1;
}

static enum kg_status find(struct kg_index *index, struct finding *f, struct kg_error *err)
{
    const struct kg_catalog *catalog;
    enum kg_status status = kg_catalog_of(index, &catalog, err);
    if (status != KG_OK)
        return status;
    const struct kg_catalog_file *only = f->query[0] ? kg_catalog_find(catalog, f->query) : NULL;
    if (only)
        f->word_count = 0;
    for (size_t i = 0; i < catalog->count && status == KG_OK && !f->failed; i++) {
        const struct kg_catalog_file *file = &catalog->files[i];
        f->path = file->path;
        if (!only || only == file)
            status = kg_store_symbols(index->store, catalog->docs[file->doc], take_symbol, f, err);
    }
    return status == KG_OK && f->failed ? kg_fail_nomem(err, "listing symbols") : status;
}

static enum kg_status symbols(struct kg_index *index, struct finding *f, uint32_t limit, int (*each)(void *ctx, const struct kg_index_symbol *), void *ctx,
                              struct kg_error *err)
{
    enum kg_status status = kg_store_begin_read(index->store, err);
    if (status != KG_OK)
        return status;
    status = find(index, f, err);
    kg_store_rollback(index->store);
    if (status == KG_OK && f->count && f->word_count)
        qsort(f->found, f->count, sizeof *f->found, better);
    struct kg_catalog *held = status == KG_OK ? kg_catalog_hold(index) : NULL;
    for (size_t i = 0; status == KG_OK && i < f->count && i < limit; i++) {
        const struct found *s = &f->found[i];
        const struct kg_index_symbol out = { .path = s->path, .kind = s->kind, .name = s->name, .scope = s->scope, .signature = s->signature, .line = s->line, .end = s->end };
        if (each(ctx, &out))
            break;
    }
    kg_catalog_free(held);
    return status;
}

enum kg_status kg_index_symbols(struct kg_index *index, const char *query, uint32_t limit, int (*each)(void *ctx, const struct kg_index_symbol *), void *ctx,
                                struct kg_error *err)
{
    struct finding f = { .query = query };
    char *words = strdup(query);
    char *rest = NULL;
    if (!words)
        return kg_fail_nomem(err, "listing symbols");
    for (char *word = strtok_r(words, " \t\n", &rest); word && f.word_count < WORDS_MAX; word = strtok_r(NULL, " \t\n", &rest))
        f.words[f.word_count++] = word;
    enum kg_status status = symbols(index, &f, limit, each, ctx, err);
    kg_arena_free(&f.texts);
    free(f.found);
    free(words);
    return status == KG_ERR_CORRUPT ? kg_index_mend(index, err) : status;
}
