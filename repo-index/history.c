#include "repo-index/history.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "repo-index/arena.h"
#include "repo-index/language.h"

#define HALF_LIFE 1200.0  /* commits: what is that much older counts half */
#define BODY_WEIGHT 0.5   /* of a word that only the body of the message holds */
#define LIKE_COMMITS 40   /* the most alike, that speak for their files */
#define MESSAGE_WORDS 12.0
#define LENGTH_SHARE 0.4  /* of longer messages that hold more words by chance */
#define SEEDS_MAX 32
#define FEW_CHANGES 3.0   /* added to how often a file was changed, so that one commit proves little */
#define COMMITS_BEFORE 10.0 /* commits that were as they are elsewhere, for the same reason: of what they changed, */
#define TESTS_SHARE 0.4     /* so much of the code with tests, */
#define TWINS_SHARE 0.4     /* so many of the files with theirs */

struct loading {
    struct kg_history *history;
    const struct kg_catalog *catalog;
    bool failed;
};

static void take_commit(void *ctx, const struct kg_store_commit *row)
{
    struct loading *l = ctx;
    struct kg_history *h = l->history;
    struct kg_history_commit commit = { .first_word = (uint32_t)h->word_count, .first_file = (uint32_t)h->file_count };
    if (row->word_count < 1)
        return;
    commit.words = (uint32_t)row->word_count - 1;
    memcpy(&commit.subject, row->words, sizeof commit.subject);
    for (size_t i = 1; i < row->word_count; i++) {
        l->failed |= !kg_grow(&h->words, h->word_count, &h->word_capacity, sizeof *h->words);
        if (l->failed)
            return;
        memcpy(&h->words[h->word_count++], row->words + i, sizeof *h->words);
    }
    for (const char *path = row->paths, *end = path + row->paths_length; path < end; path += strlen(path) + 1) {
        const struct kg_catalog_file *file = kg_catalog_find(l->catalog, path);
        l->failed |= !kg_grow(&h->files, h->file_count, &h->file_capacity, sizeof *h->files);
        if (l->failed)
            return;
        if (file)
            h->files[h->file_count++] = (uint32_t)(file - l->catalog->files);
    }
    commit.files = (uint32_t)(h->file_count - commit.first_file);
    l->failed |= !kg_grow(&h->commits, h->count, &h->capacity, sizeof *h->commits);
    if (!l->failed)
        h->commits[h->count++] = commit;
}

void kg_history_free(struct kg_history *history)
{
    if (!history)
        return;
    free(history->commits);
    free(history->words);
    free(history->files);
    kg_twins_free(&history->twins);
    free(history);
}

static bool has_file(const struct kg_history *h, const struct kg_history_commit *commit, uint32_t file)
{
    for (uint32_t k = 0; k < commit->files; k++)
        if (h->files[commit->first_file + k] == file)
            return true;
    return false;
}

static void count_tests(struct kg_history *h, const struct kg_catalog *catalog)
{
    double code = COMMITS_BEFORE, tested = COMMITS_BEFORE * TESTS_SHARE, twins = COMMITS_BEFORE, both = COMMITS_BEFORE * TWINS_SHARE;
    for (size_t i = 0; i < h->count; i++) {
        const struct kg_history_commit *commit = &h->commits[i];
        bool test = false, other = false;
        for (uint32_t k = 0; k < commit->files; k++) {
            uint32_t file = h->files[commit->first_file + k];
            bool is = catalog->files[file].test;
            test |= is;
            other |= !is && kg_is_code(catalog->files[file].path);
            twins += h->twins.of[file] != KG_NO_TWIN;
            both += h->twins.of[file] != KG_NO_TWIN && has_file(h, commit, h->twins.of[file]);
        }
        code += other;
        tested += other && test;
    }
    h->tests_share = tested / code;
    h->twins_share = both / twins;
}

static enum kg_status load(struct kg_index *index, struct loading *l, struct kg_error *err)
{
    struct kg_store_history log;
    enum kg_status status = kg_store_history(index->store, &log, err);
    for (size_t i = 0; i < log.count && status == KG_OK && !l->failed; i++)
        status = kg_store_commit_of(index->store, log.log[i], take_commit, l, err);
    free(log.log);
    l->failed |= status == KG_OK && !kg_twins_of(l->catalog, &l->history->twins);
    if (status == KG_OK && !l->failed)
        count_tests(l->history, l->catalog);
    return status == KG_OK && l->failed ? kg_fail_nomem(err, "reading the history of the repository") : status;
}

enum kg_status kg_history_of(struct kg_index *index, const struct kg_catalog *catalog, const struct kg_history **out, struct kg_error *err)
{
    if (!index->history || index->history->version != catalog->version) {
        struct loading l = { .history = calloc(1, sizeof *l.history), .catalog = catalog };
        if (!l.history)
            return kg_fail_nomem(err, "reading the history of the repository");
        l.history->version = catalog->version;
        enum kg_status status = load(index, &l, err);
        if (status != KG_OK) {
            kg_history_free(l.history);
            return status;
        }
        kg_history_free(index->history);
        index->history = l.history;
    }
    *out = index->history;
    return KG_OK;
}

/* Where the word stands in the message: 2 the subject, 1 the body, 0 nowhere. */
static int place_of(const struct kg_history *h, const struct kg_history_commit *commit, uint32_t hash)
{
    const uint32_t *words = h->words + commit->first_word;
    for (uint32_t i = 0; i < commit->words; i++)
        if (words[i] == hash)
            return i < commit->subject ? 2 : 1;
    return 0;
}

struct weighed {
    double value;
    uint32_t at; /* a commit, or a file */
};

/* Adds to each commit's likeness what one word gives; what it could give at most is returned. */
static double weigh_word(const struct kg_history *h, const struct kg_query_term *term, struct weighed *likenesses)
{
    size_t holders = 0;
    for (size_t i = 0; i < h->count; i++)
        holders += place_of(h, &h->commits[i], term->hash) != 0;
    double rare = log(1 + ((double)(h->count - holders) + 0.5) / ((double)holders + 0.5));
    for (size_t i = 0; holders && i < h->count; i++) {
        int place = place_of(h, &h->commits[i], term->hash);
        likenesses[i].value += place ? term->weight * rare * (place == 2 ? 1 : BODY_WEIGHT) : 0;
    }
    return term->weight * rare;
}

static int heavier(const void *a, const void *b)
{
    const struct weighed *x = a, *y = b;
    if (x->value != y->value)
        return x->value > y->value ? -1 : 1;
    return x->at < y->at ? -1 : x->at > y->at;
}

bool kg_history_score(const struct kg_history *h, const struct kg_query *query, double *scores)
{
    struct weighed *likenesses = calloc(h->count + 1, sizeof *likenesses);
    double all = 0;
    if (!likenesses)
        return false;
    for (size_t i = 0; i < h->count; i++)
        likenesses[i].at = (uint32_t)i;
    for (unsigned t = 0; t < query->term_count; t++)
        all += weigh_word(h, &query->terms[t], likenesses);
    for (size_t i = 0; i < h->count && all > 0; i++)
        likenesses[i].value /= all * (1 - LENGTH_SHARE + LENGTH_SHARE * (double)h->commits[i].words / MESSAGE_WORDS);
    if (h->count)
        qsort(likenesses, h->count, sizeof *likenesses, heavier);
    for (size_t i = 0; i < h->count && i < LIKE_COMMITS && likenesses[i].value > 0; i++) {
        const struct kg_history_commit *commit = &h->commits[likenesses[i].at];
        /* a commit of many files says less about each */
        double worth = likenesses[i].value * likenesses[i].value / sqrt(commit->files ? commit->files : 1) * exp2(-(double)likenesses[i].at / HALF_LIFE);
        for (uint32_t k = 0; k < commit->files; k++)
            scores[h->files[commit->first_file + k]] += worth;
    }
    free(likenesses);
    return true;
}


/* To together, for each file: how often it was changed with this one, of how often this one was, as far as few changes tell. */
static void count_together(const struct kg_history *h, uint32_t file, double *together, size_t count)
{
    const uint32_t twin = h->twins.of[file];
    double all = FEW_CHANGES;
    memset(together, 0, count * sizeof *together);
    if (twin != KG_NO_TWIN)
        together[twin] = FEW_CHANGES * h->twins_share;
    for (size_t i = 0; i < h->count; i++) {
        const struct kg_history_commit *commit = &h->commits[i];
        if (!has_file(h, commit, file))
            continue;
        double share = exp2(-(double)i / HALF_LIFE) / sqrt(commit->files);
        all += share;
        for (uint32_t k = 0; k < commit->files; k++)
            together[h->files[commit->first_file + k]] += share;
    }
    together[file] = 0;
    for (size_t i = 0; i < count; i++)
        together[i] /= all;
}

bool kg_history_beside(const struct kg_history *h, const double *seeds, size_t count, double *near)
{
    double *together = malloc((count + 1) * sizeof *together);
    struct weighed *heaviest = malloc((count + 1) * sizeof *heaviest);
    size_t seeded = 0;
    bool done = together && heaviest;
    memset(near, 0, count * sizeof *near);
    for (size_t i = 0; done && i < count; i++)
        if (seeds[i] > 0)
            heaviest[seeded++] = (struct weighed){ seeds[i], (uint32_t)i };
    if (done && seeded)
        qsort(heaviest, seeded, sizeof *heaviest, heavier);
    for (size_t s = 0; done && s < seeded && s < SEEDS_MAX; s++) {
        count_together(h, heaviest[s].at, together, count);
        for (size_t i = 0; i < count; i++)
            near[i] = fmax(near[i], heaviest[s].value * together[i]);
    }
    free(together);
    free(heaviest);
    return done;
}
