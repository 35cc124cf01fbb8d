#include "repo-index/rank.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define BM25_K1 1.2
#define BM25_B 0.3          /* long files of code are not verbose, only long: less than texts get */
#define PART_WEIGHT 0.35    /* of a word that is only part of the identifier asked for */
#define PAIR_WEIGHT 0.8
#define PREFIX_WEIGHT 0.4   /* for longer words when the word itself is nowhere */
#define DEFINED_WEIGHT 1.0
#define DECLARED_WEIGHT 0.5
#define ALONE_FACTOR 1.8    /* of the two above when one identifier is all that is asked for */
#define NAME_WEIGHT 1.5     /* of a word in the file's name */
#define DIRECTORY_WEIGHT 0.4

struct adding {
    struct kg_query *query;
    unsigned group;
    double weight;
    unsigned parts;
};

static void add_term(struct kg_query *query, const char *word, size_t length, unsigned group, double weight, bool partial)
{
    for (unsigned i = 0; i < query->term_count; i++) {
        struct kg_query_term *known = &query->terms[i];
        if (known->length == length && memcmp(known->word, word, length) == 0) {
            if (known->weight < weight) {
                known->weight = weight;
                known->group = group;
                known->partial = partial;
            }
            return;
        }
    }
    if (query->term_count == KG_QUERY_TERMS || length > KG_WORD_MAX)
        return;
    struct kg_query_term *term = &query->terms[query->term_count++];
    *term = (struct kg_query_term){ .length = length, .hash = kg_word_hash(word, length), .weight = weight, .group = group, .partial = partial };
    memcpy(term->word, word, length);
}

static void count_part(void *ctx, const char *word, size_t length, enum kg_word_role role)
{
    (void)word;
    (void)length;
    struct adding *adding = ctx;
    adding->parts += role == KG_WORD_PART;
}

static void on_word(void *ctx, const char *word, size_t length, enum kg_word_role role)
{
    const struct adding *adding = ctx;
    bool partial = role == KG_WORD_PART && adding->parts > 1;
    add_term(adding->query, word, length, adding->group, (partial ? PART_WEIGHT : 1) * adding->weight, partial);
}

void kg_query_add(struct kg_query *query, const char *text, size_t length, double weight)
{
    char folded[KG_WORD_MAX];
    size_t n = kg_fold_identifier(text, length, folded);
    if (query->group_count == KG_QUERY_GROUPS || n < 2)
        return;
    for (unsigned i = 0; i < query->group_count; i++)
        if (query->groups[i].folded_length == n && memcmp(query->groups[i].folded, folded, n) == 0) {
            query->groups[i].weight = query->groups[i].weight < weight ? weight : query->groups[i].weight;
            return;
        }
    struct adding adding = { .query = query, .group = query->group_count, .weight = weight };
    struct kg_query_group *group = &query->groups[query->group_count++];
    *group = (struct kg_query_group){ .text = text, .length = length, .weight = weight, .folded_length = n };
    memcpy(group->folded, folded, n);
    kg_split_identifier(text, length, count_part, &adding);
    kg_split_identifier(text, length, on_word, &adding);
}

void kg_query_add_pair(struct kg_query *query, unsigned first, unsigned second)
{
    const struct kg_query_group *a = &query->groups[first];
    const struct kg_query_group *b = &query->groups[second];
    char word[2 * KG_WORD_MAX];
    memcpy(word, a->folded, a->folded_length);
    memcpy(word + a->folded_length, b->folded, b->folded_length);
    if (a->folded_length + b->folded_length <= KG_WORD_MAX)
        add_term(query, word, a->folded_length + b->folded_length, first,
                 PAIR_WEIGHT * (a->weight + b->weight) / 2, false);
}

/* Scores are gathered by doc first: many files may hold the same text. */
struct ranking {
    struct kg_index *index;
    const struct kg_catalog *catalog;
    struct kg_query *query;
    double *scores; /* of docs */
    uint32_t *groups, *defined;
    float *found; /* occurrences of the term at hand, by doc */
    uint32_t *touched;
    size_t touched_count;
    size_t cursor; /* docs come ascending */
    float occurrences;
    double *lengths; /* of docs, relative to the mean */
    struct kg_error *err;
};

static int on_doc(void *ctx, int64_t doc)
{
    struct ranking *r = ctx;
    const struct kg_catalog *c = r->catalog;
    while (r->cursor < c->doc_count && c->docs[r->cursor] < doc)
        r->cursor++;
    if (r->cursor == c->doc_count)
        return 1;
    if (c->docs[r->cursor] == doc) {
        if (r->found[r->cursor] == 0)
            r->touched[r->touched_count++] = (uint32_t)r->cursor;
        r->found[r->cursor] += r->occurrences;
    }
    return 0;
}

static enum kg_status look_up(struct ranking *r, const char *word, size_t length, char mark, float occurrences)
{
    char term[KG_WORD_MAX + 1];
    memcpy(term, word, length);
    term[length] = mark;
    r->cursor = 0;
    r->occurrences = occurrences;
    return kg_store_docs_with(r->index->store, term, length + 1, false, on_doc, r, r->err);
}

static double rarity(size_t holders, size_t all)
{
    return log(1.0 + ((double)all - (double)holders + 0.5) / ((double)holders + 0.5));
}

static void forget_found(struct ranking *r)
{
    for (size_t i = 0; i < r->touched_count; i++)
        r->found[r->touched[i]] = 0;
    r->touched_count = 0;
}

static void add_found(struct ranking *r, struct kg_query_term *term, double weight)
{
    term->rarity = r->touched_count ? rarity(r->touched_count, r->catalog->doc_count) : 0;
    struct kg_query_group *group = &r->query->groups[term->group];
    /* an identifier that is nowhere stands for its parts */
    bool counts = !term->partial || group->absent;
    if (counts && group->rarity < term->rarity)
        group->rarity = term->rarity;
    for (size_t i = 0; i < r->touched_count; i++) {
        uint32_t doc = r->touched[i];
        double n = r->found[doc];
        r->scores[doc] += weight * term->rarity * n * (BM25_K1 + 1) / (n + BM25_K1 * (1 - BM25_B + BM25_B * r->lengths[doc]));
        r->groups[doc] |= counts ? 1U << term->group : 0;
    }
    forget_found(r);
}

static enum kg_status rank_contents(struct ranking *r, struct kg_query_term *term)
{
    static const float means[] = { 1, 2.4F, 6, 16 };
    for (size_t i = 0; i < sizeof means / sizeof means[0]; i++) {
        enum kg_status status = look_up(r, term->word, term->length, KG_TERM_CLASSES[i], means[i]);
        if (status != KG_OK)
            return status;
    }
    add_found(r, term, term->weight);
    return KG_OK;
}

static enum kg_status rank_definitions(struct ranking *r, unsigned at, char mark, double weight)
{
    struct kg_query_group *group = &r->query->groups[at];
    enum kg_status status = look_up(r, group->folded, group->folded_length, mark, 1);
    double rare = rarity(r->touched_count, r->catalog->doc_count);
    weight *= r->query->group_count == 1 ? ALONE_FACTOR : 1;
    for (size_t i = 0; i < r->touched_count; i++) {
        r->scores[r->touched[i]] += weight * group->weight * rare;
        r->groups[r->touched[i]] |= 1U << at;
        if (mark == KG_TERM_DEFINED)
            r->defined[r->touched[i]] |= 1U << at;
    }
    forget_found(r);
    return status;
}

/* Words that begin like one that was found nowhere. */
static enum kg_status rank_prefix(struct ranking *r, struct kg_query_term *term)
{
    if (term->length < 3 || r->query->groups[term->group].rarity > 0)
        return KG_OK;
    r->cursor = 0;
    r->occurrences = 1;
    enum kg_status status = kg_store_docs_with(r->index->store, term->word, term->length, true, on_doc, r, r->err);
    add_found(r, term, PREFIX_WEIGHT * term->weight);
    return status;
}

static enum kg_status rank_docs(struct ranking *r)
{
    enum kg_status status = KG_OK;
    for (unsigned i = 0; i < r->query->term_count && status == KG_OK; i++)
        if (!r->query->terms[i].partial)
            status = rank_contents(r, &r->query->terms[i]);
    for (unsigned i = 0; i < r->query->group_count; i++)
        r->query->groups[i].absent = r->query->groups[i].rarity == 0;
    for (unsigned i = 0; i < r->query->term_count && status == KG_OK; i++)
        if (r->query->terms[i].partial)
            status = rank_contents(r, &r->query->terms[i]);
    for (unsigned i = 0; i < r->query->group_count && status == KG_OK; i++) {
        status = rank_definitions(r, i, KG_TERM_DEFINED, DEFINED_WEIGHT);
        if (status == KG_OK)
            status = rank_definitions(r, i, KG_TERM_DECLARED, DECLARED_WEIGHT);
    }
    for (unsigned i = 0; i < r->query->term_count && status == KG_OK; i++)
        status = rank_prefix(r, &r->query->terms[i]);
    return status;
}

static int term_in_path(const struct kg_catalog *c, const struct kg_catalog_file *file, uint32_t hash)
{
    const uint32_t *words = c->path_words + file->first_word;
    for (unsigned i = file->word_count; i-- > 0;)
        if (words[i] == hash)
            return i >= (unsigned)(file->word_count - file->name_words) ? 2 : 1;
    return 0;
}

static void rank_paths(const struct ranking *r, struct kg_rank *out)
{
    const struct kg_catalog *c = r->catalog;
    for (unsigned t = 0; t < r->query->term_count; t++) {
        const struct kg_query_term *term = &r->query->terms[t];
        size_t holders = 0;
        for (size_t i = 0; i < c->count; i++)
            holders += term_in_path(c, &c->files[i], term->hash) != 0;
        double rare = rarity(holders, c->count);
        struct kg_query_group *group = &r->query->groups[term->group];
        if (holders && group->rarity == 0)
            group->rarity = rare;
        for (size_t i = 0; holders && i < c->count; i++) {
            int where = term_in_path(c, &c->files[i], term->hash);
            if (!where)
                continue;
            /* a name that says nothing else says more */
            double weight = where == 2 ? NAME_WEIGHT * (0.5 + 0.5 / (c->files[i].name_words ? c->files[i].name_words : 1)) : DIRECTORY_WEIGHT;
            out->scores[i] += term->weight * rare * weight;
            out->groups[i] |= term->partial && !group->absent ? 0 : 1U << term->group;
        }
    }
}

/* Files that hold all that was asked for before files that hold much of one word. */
static void reward_coverage(const struct kg_query *query, const struct kg_catalog *catalog, struct kg_rank *out)
{
    double all = 0;
    for (unsigned g = 0; g < query->group_count; g++)
        all += query->groups[g].rarity * query->groups[g].weight;
    for (size_t i = 0; i < catalog->count && all > 0; i++) {
        double held = 0;
        for (unsigned g = 0; g < query->group_count; g++)
            if (out->groups[i] & (1U << g))
                held += query->groups[g].rarity * query->groups[g].weight;
        out->scores[i] *= 0.4 + 0.6 * held / all;
    }
}

static bool allocate(struct ranking *r, struct kg_rank *out)
{
    size_t docs = r->catalog->doc_count + 1;
    size_t files = r->catalog->count + 1;
    r->scores = calloc(docs, sizeof *r->scores);
    r->groups = calloc(docs, sizeof *r->groups);
    r->defined = calloc(docs, sizeof *r->defined);
    r->found = calloc(docs, sizeof *r->found);
    r->touched = calloc(docs, sizeof *r->touched);
    r->lengths = calloc(docs, sizeof *r->lengths);
    out->scores = calloc(files, sizeof *out->scores);
    out->groups = calloc(files, sizeof *out->groups);
    out->defined = calloc(files, sizeof *out->defined);
    return r->scores && r->groups && r->defined && r->found && r->touched && r->lengths && out->scores && out->groups && out->defined;
}

enum kg_status kg_rank(struct kg_index *index, const struct kg_catalog *catalog, struct kg_query *query, struct kg_rank *out, struct kg_error *err)
{
    struct ranking r = { .index = index, .catalog = catalog, .query = query, .err = err };
    *out = (struct kg_rank){ 0 };
    bool room = allocate(&r, out);
    enum kg_status status = room ? KG_OK : kg_fail_nomem(err, "searching the repository");
    if (room) {
        for (size_t i = 0; i < catalog->count; i++)
            r.lengths[catalog->files[i].doc] = catalog->mean_words > 0 ? catalog->files[i].words / catalog->mean_words : 1;
        status = rank_docs(&r);
    }
    if (room && status == KG_OK) {
        for (size_t i = 0; i < catalog->count; i++) {
            uint32_t doc = catalog->files[i].doc;
            out->scores[i] = r.scores[doc];
            out->groups[i] = r.groups[doc];
            out->defined[i] = r.defined[doc];
        }
        rank_paths(&r, out);
        reward_coverage(query, catalog, out);
    }
    free(r.scores);
    free(r.groups);
    free(r.defined);
    free(r.found);
    free(r.touched);
    free(r.lengths);
    return status;
}

void kg_rank_free(struct kg_rank *rank)
{
    free(rank->scores);
    free(rank->groups);
    free(rank->defined);
    *rank = (struct kg_rank){ 0 };
}
