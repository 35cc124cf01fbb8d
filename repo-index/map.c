#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "repo-index/arena.h"
#include "repo-index/likely.h"
#include "repo-index/words.h"

#define CROWD 0.2          /* how much less each further symbol of a file counts */
#define ENTRIES_MAX 400000 /* symbols that are weighed */
#define USES_MAX 3000      /* symbols whose users are counted */
#define FILE_BYTES 2       /* beside the path, in print */
#define SYMBOL_BYTES 9     /* beside the signature */

struct entry {
    uint32_t file, line;
    const char *kind, *name, *signature;
    double score;
};

struct mapping {
    const struct kg_catalog *catalog;
    double *ranks;
    struct kg_arena texts;
    struct entry *entries;
    size_t count, capacity;
    uint32_t file; /* at hand */
    bool failed;
};

/* What a reader looks for first in a file that is new to them. */
static double weight_of(const struct kg_symbol_view *symbol)
{
    static const struct {
        const char *kind;
        double weight;
    } weights[] = { { "class", 1.2 },    { "interface", 1.2 }, { "struct", 1.1 },    { "trait", 1.1 },      { "function", 1 },  { "func", 1 },        { "type", 0.9 },
                    { "prototype", 1 },  { "method", 0.8 },    { "typedef", 0.7 },   { "definition", 0.9 }, { "enum", 0.8 },   { "union", 0.8 },     { "implementation", 0.6 },
                    { "alias", 0.6 },    { "module", 0.6 },    { "declaration", 0.7 }, { "macro", 0.3 },    { "constant", 0.4 }, { "const", 0.4 },    { "variable", 0.3 },
                    { "var", 0.3 },      { "methodSpec", 0.4 } };
    for (size_t i = 0; i < sizeof weights / sizeof weights[0]; i++)
        if (strcmp(symbol->kind, weights[i].kind) == 0)
            return weights[i].weight;
    /* Python calls its methods members */
    return strcmp(symbol->kind, "member") == 0 && strncmp(symbol->signature, "def ", 4) == 0 ? 0.8 : 0;
}

static int better(const void *a, const void *b)
{
    const struct entry *x = a, *y = b;
    if (x->score != y->score)
        return x->score > y->score ? -1 : 1;
    if (x->file != y->file)
        return x->file < y->file ? -1 : 1;
    return x->line < y->line ? -1 : x->line > y->line;
}

static int take_symbol(void *ctx, const struct kg_symbol_view *symbol)
{
    struct mapping *m = ctx;
    if (m->count == ENTRIES_MAX)
        return 1;
    bool plain = strncmp(symbol->name, "__", 2) != 0 && symbol->signature[0] != '}' && strstr(symbol->signature, symbol->name);
    double weight = plain ? weight_of(symbol) : 0;
    if (weight <= 0)
        return 0;
    struct entry entry = { .file = m->file, .line = symbol->line, .score = weight * m->ranks[m->file], .kind = kg_arena_copy(&m->texts, symbol->kind, strlen(symbol->kind)),
                           .name = kg_arena_copy(&m->texts, symbol->name, strlen(symbol->name)), .signature = kg_arena_copy(&m->texts, symbol->signature, strlen(symbol->signature)) };
    m->failed = !entry.kind || !entry.name || !entry.signature || !kg_grow(&m->entries, m->count, &m->capacity, sizeof *m->entries);
    if (!m->failed)
        m->entries[m->count++] = entry;
    return m->failed;
}

struct users {
    const struct kg_catalog *catalog;
    size_t cursor, count;
};

/* Texts of files only; docs come ascending. */
static int count_doc(void *ctx, int64_t doc)
{
    struct users *users = ctx;
    const struct kg_catalog *c = users->catalog;
    while (users->cursor < c->doc_count && c->docs[users->cursor] < doc)
        users->cursor++;
    users->count += users->cursor < c->doc_count && c->docs[users->cursor] == doc;
    return users->cursor == c->doc_count;
}

/* Of what lies in the best files, the names that most other texts hold. */
static enum kg_status weigh_use(struct kg_index *index, struct mapping *m, struct kg_error *err)
{
    enum kg_status status = KG_OK;
    if (m->count)
        qsort(m->entries, m->count, sizeof *m->entries, better);
    for (size_t i = 0; i < m->count && i < USES_MAX && status == KG_OK; i++) {
        char term[KG_WORD_MAX + 1];
        struct users users = { .catalog = m->catalog };
        size_t n = kg_fold_identifier(m->entries[i].name, strlen(m->entries[i].name), term);
        for (const char *mark = KG_TERM_CLASSES; *mark && n && n < KG_WORD_MAX && status == KG_OK; mark++) {
            term[n] = *mark;
            users.cursor = 0;
            status = kg_store_docs_with(index->store, term, n + 1, false, count_doc, &users, err);
        }
        m->entries[i].score *= 1 + log2(1 + (double)users.count);
    }
    return status;
}

static int by_file(const void *a, const void *b)
{
    const struct entry *x = a, *y = b;
    return x->file != y->file ? (x->file < y->file ? -1 : 1) : better(a, b);
}

/* Each further symbol of a file counts less, so that no file takes all the room. */
static void spread(struct mapping *m)
{
    size_t before = 0;
    if (m->count)
        qsort(m->entries, m->count, sizeof *m->entries, by_file);
    for (size_t i = 0; i < m->count; i++) {
        before = i && m->entries[i].file == m->entries[i - 1].file ? before + 1 : 0;
        m->entries[i].score /= 1 + CROWD * (double)before;
    }
}

static enum kg_status gather(struct kg_index *index, struct mapping *m, struct kg_error *err)
{
    enum kg_status status = kg_catalog_of(index, &m->catalog, err);
    if (status == KG_OK) {
        m->ranks = calloc(m->catalog->count + 1, sizeof *m->ranks);
        status = m->ranks ? kg_likely_ranks(index, m->catalog, m->ranks, err) : kg_fail_nomem(err, "drawing a map of the repository");
    }
    for (size_t i = 0; status == KG_OK && i < m->catalog->count && !m->failed; i++) {
        m->file = (uint32_t)i;
        status = kg_store_symbols(index->store, m->catalog->docs[m->catalog->files[i].doc], take_symbol, m, err);
    }
    if (status == KG_OK && m->failed)
        status = kg_fail_nomem(err, "drawing a map of the repository");
    if (status == KG_OK)
        status = weigh_use(index, m, err);
    if (status == KG_OK)
        spread(m);
    return status;
}

/* Keeps the best entries that fit into the budget, and numbers their files by the best of each: scores become that order. */
static size_t keep_best(struct mapping *m, uint32_t tokens, uint32_t *places)
{
    double left = (double)tokens * KG_BYTES_PER_TOKEN;
    size_t kept = 0;
    uint32_t files = 0;
    if (m->count)
        qsort(m->entries, m->count, sizeof *m->entries, better);
    for (size_t i = 0; i < m->count; i++) {
        struct entry entry = m->entries[i];
        double cost = (double)strlen(entry.signature) + SYMBOL_BYTES + (places[entry.file] ? 0 : (double)m->catalog->files[entry.file].path_length + FILE_BYTES);
        if (cost > left)
            continue;
        left -= cost;
        places[entry.file] = places[entry.file] ? places[entry.file] : ++files;
        m->entries[kept++] = entry;
    }
    for (size_t i = 0; i < kept; i++)
        m->entries[i].score = -(double)places[m->entries[i].file];
    if (kept)
        qsort(m->entries, kept, sizeof *m->entries, better);
    return kept;
}

static enum kg_status map(struct kg_index *index, uint32_t tokens, struct mapping *m, int (*each)(void *ctx, const struct kg_index_symbol *), void *ctx, struct kg_error *err)
{
    enum kg_status status = kg_store_begin_read(index->store, err);
    if (status != KG_OK)
        return status;
    status = gather(index, m, err);
    kg_store_rollback(index->store);
    uint32_t *places = status == KG_OK ? calloc(m->catalog->count + 1, sizeof *places) : NULL;
    if (status == KG_OK && !places)
        status = kg_fail_nomem(err, "drawing a map of the repository");
    size_t kept = places ? keep_best(m, tokens, places) : 0;
    free(places);
    struct kg_catalog *held = status == KG_OK ? kg_catalog_hold(index) : NULL;
    for (size_t i = 0; i < kept; i++) {
        const struct entry *e = &m->entries[i];
        const struct kg_index_symbol out = { .path = m->catalog->files[e->file].path, .kind = e->kind, .name = e->name, .scope = "", .signature = e->signature, .line = e->line };
        if (each(ctx, &out))
            break;
    }
    kg_catalog_free(held);
    return status;
}

enum kg_status kg_index_map(struct kg_index *index, uint32_t tokens, int (*each)(void *ctx, const struct kg_index_symbol *), void *ctx, struct kg_error *err)
{
    struct mapping m = { 0 };
    enum kg_status status = map(index, tokens, &m, each, ctx, err);
    kg_arena_free(&m.texts);
    free(m.entries);
    free(m.ranks);
    return status == KG_ERR_CORRUPT ? kg_index_mend(index, err) : status;
}
