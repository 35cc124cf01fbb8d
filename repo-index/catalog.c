#include "repo-index/catalog.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "repo-index/arena.h"
#include "repo-index/prior.h"
#include "repo-index/words.h"

#define LOADED_PART 20

struct loading {
    struct kg_catalog *catalog;
    size_t capacity, word_capacity;
    int64_t *doc_of; /* of each file */
    size_t doc_capacity;
    bool failed;
};

uint32_t kg_word_hash(const char *word, size_t length)
{
    return (uint32_t)XXH3_64bits(word, length);
}

uint64_t kg_characters_of(const char *text)
{
    uint64_t set = 0;
    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;
        unsigned char folded = c >= 'A' && c <= 'Z' ? c + 32 : c;
        unsigned bit = 36U + folded % 28U;
        if (folded >= 'a' && folded <= 'z')
            bit = folded - 97U;
        else if (folded >= '0' && folded <= '9')
            bit = folded - 48U + 26U;
        set |= (uint64_t)1 << bit;
    }
    return set;
}

static void on_word(void *ctx, const char *word, size_t length, enum kg_word_role role)
{
    (void)role;
    struct loading *l = ctx;
    struct kg_catalog *c = l->catalog;
    if (kg_grow(&c->path_words, c->path_word_count, &l->word_capacity, sizeof *c->path_words))
        c->path_words[c->path_word_count++] = kg_word_hash(word, length);
    else
        l->failed = true;
}

static void add_words(struct loading *l, const char *text, const char *end)
{
    const char *identifier;
    size_t n;
    while ((identifier = kg_next_identifier(text, end, &n)) != NULL) {
        kg_split_identifier(identifier, n, on_word, l);
        text = identifier + n;
    }
}

static bool same_directory(const struct kg_catalog_file *a, const struct kg_catalog_file *b)
{
    size_t n = (size_t)(a->name - a->path);
    return n == (size_t)(b->name - b->path) && memcmp(a->path, b->path, n) == 0;
}

/* beside: a file of the same directory, whose words are known, or NULL. */
static void add_path_words(struct loading *l, struct kg_catalog_file *file, const struct kg_catalog_file *beside)
{
    struct kg_catalog *c = l->catalog;
    const unsigned known = beside ? (unsigned)(beside->word_count - beside->name_words) : 0;
    for (unsigned i = 0; i < known && !l->failed; i++) {
        l->failed = !kg_grow(&c->path_words, c->path_word_count, &l->word_capacity, sizeof *c->path_words);
        if (!l->failed)
            c->path_words[c->path_word_count++] = c->path_words[beside->first_word + i];
    }
    if (!beside)
        add_words(l, file->path, file->name);
    size_t before_name = c->path_word_count;
    add_words(l, file->name, file->path + file->path_length);
    file->word_count = (uint16_t)(c->path_word_count - file->first_word);
    file->name_words = (uint16_t)(c->path_word_count - before_name);
}

static int take_text(void *ctx, const struct kg_store_text *text)
{
    struct loading *l = ctx;
    struct kg_catalog *c = l->catalog;
    size_t length = strlen(text->path);
    char *path = kg_arena_copy(c->paths, text->path, length);
    if (!path || !kg_grow(&c->files, c->count, &l->capacity, sizeof *c->files) || !kg_grow(&l->doc_of, c->count, &l->doc_capacity, sizeof *l->doc_of)) {
        l->failed = true;
        return 1;
    }
    const char *slash = strrchr(path, '/');
    struct kg_catalog_file *file = &c->files[c->count];
    *file = (struct kg_catalog_file){ .path = path, .name = slash ? slash + 1 : path, .path_length = (uint32_t)length, .bytes = text->bytes,
                                      .characters = kg_characters_of(path), .content = XXH3_64bits_withSeed(text->digest, KG_STORE_DIGEST, text->reading),
                                      .words = text->words, .lines = text->lines, .first_word = (uint32_t)c->path_word_count };
    const struct kg_catalog_file *before = c->count ? file - 1 : NULL;
    const struct kg_catalog_file *beside = before && same_directory(before, file) ? before : NULL;
    add_path_words(l, file, beside);
    kg_prior_prepare(file, beside);
    l->doc_of[c->count++] = text->doc;
    return l->failed;
}

static int compare_ids(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return x < y ? -1 : x > y;
}

static bool number_docs(struct loading *l)
{
    struct kg_catalog *c = l->catalog;
    double words = 0;
    if (c->count == 0)
        return true;
    c->docs = malloc(c->count * sizeof *c->docs);
    if (!c->docs)
        return false;
    memcpy(c->docs, l->doc_of, c->count * sizeof *c->docs);
    qsort(c->docs, c->count, sizeof *c->docs, compare_ids);
    for (size_t i = 0; i < c->count; i++)
        if (i == 0 || c->docs[i] != c->docs[i - 1])
            c->docs[c->doc_count++] = c->docs[i];
    for (size_t i = 0; i < c->count; i++) {
        const int64_t *at = bsearch(&l->doc_of[i], c->docs, c->doc_count, sizeof *c->docs, compare_ids);
        c->files[i].doc = (uint32_t)(at - c->docs);
        words += c->files[i].words;
    }
    c->mean_words = words / (double)c->count;
    return true;
}

struct kg_catalog *kg_catalog_hold(struct kg_index *index)
{
    index->catalog->held++;
    return index->catalog;
}

void kg_catalog_free(struct kg_catalog *catalog)
{
    if (!catalog || catalog->held-- > 0)
        return;
    if (catalog->paths)
        kg_arena_free(catalog->paths);
    free(catalog->paths);
    free(catalog->files);
    free(catalog->docs);
    free(catalog->path_words);
    free(catalog);
}

static double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

enum kg_status kg_catalog_lately(struct kg_index *index, const struct kg_catalog **out, struct kg_error *err)
{
    if (!index->catalog || seconds() - index->catalog_at >= LOADED_PART * index->catalog_s)
        return kg_catalog_of(index, out, err);
    *out = index->catalog;
    return KG_OK;
}

enum kg_status kg_catalog_of(struct kg_index *index, const struct kg_catalog **out, struct kg_error *err)
{
    uint64_t version = 0;
    enum kg_status status = kg_store_version(index->store, &version, err);
    if (status != KG_OK)
        return status;
    if (index->catalog && index->catalog->version == version) {
        *out = index->catalog;
        return KG_OK;
    }
    double begun = seconds();
    struct loading l = { .catalog = calloc(1, sizeof *l.catalog) };
    if (!l.catalog || !(l.catalog->paths = calloc(1, sizeof *l.catalog->paths))) {
        kg_catalog_free(l.catalog);
        return kg_fail_nomem(err, "listing the indexed files");
    }
    l.catalog->version = version;
    status = kg_store_texts(index->store, take_text, &l, err);
    if (status == KG_OK && (l.failed || !number_docs(&l)))
        status = kg_fail_nomem(err, "listing the indexed files");
    free(l.doc_of);
    if (status != KG_OK) {
        kg_catalog_free(l.catalog);
        return status;
    }
    kg_catalog_free(index->catalog);
    *out = index->catalog = l.catalog;
    index->catalog_at = seconds();
    index->catalog_s = index->catalog_at - begun;
    return KG_OK;
}

static int compare_path(const void *path, const void *file)
{
    return strcmp(path, ((const struct kg_catalog_file *)file)->path);
}

const struct kg_catalog_file *kg_catalog_find(const struct kg_catalog *catalog, const char *path)
{
    return catalog->count ? bsearch(path, catalog->files, catalog->count, sizeof *catalog->files, compare_path) : NULL;
}
