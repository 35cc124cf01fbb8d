/* What past commits say about a question: which files were changed for like reasons, how long ago, and with what. */
#ifndef KG_INDEX_HISTORY_H
#define KG_INDEX_HISTORY_H

#include "repo-index/rank.h"
#include "repo-index/twins.h"

struct kg_history_commit {
    uint32_t first_word, words, subject; /* in words; the first of them are of the subject */
    uint32_t first_file, files;          /* in files */
};

struct kg_history {
    uint64_t version; /* of the catalog */
    struct kg_history_commit *commits; /* newest first */
    size_t count, capacity;
    uint32_t *words; /* kg_word_hash */
    size_t word_count, word_capacity;
    uint32_t *files; /* of the catalog */
    size_t file_count, file_capacity;
    struct kg_twins twins;
    double twins_share; /* of the times that a file with a test, or that test, was changed: both were */
    double tests_share; /* of the commits that changed code: those that changed tests too */
};

/* The history as the store has it; belongs to the index. To be called inside kg_store_begin_read. */
enum kg_status kg_history_of(struct kg_index *index, const struct kg_catalog *catalog, const struct kg_history **out, struct kg_error *err);
void kg_history_free(struct kg_history *history);

/* Adds to scores, one a file of the catalog: about 1 for a file that alone was changed by a new commit whose message is the
 * query, and less for what is less alike, changed more files, or is older. False when out of memory. */
bool kg_history_score(const struct kg_history *history, const struct kg_query *query, double *scores);

/* Sets near, one a file of the catalog like seeds: of how often a seed was changed, how often the file was changed with it, times
 * the seed; the most that one of the heaviest seeds gives. A test of a file, by its name, counts as changed with it now and then,
 * as often as tests are here. False when out of memory. */
bool kg_history_beside(const struct kg_history *history, const double *seeds, size_t count, double *near);

#endif
