/* The indexed files in memory: what questions go through again and again. */
#ifndef KG_INDEX_CATALOG_H
#define KG_INDEX_CATALOG_H

#include "repo-index/index.h"

struct kg_catalog_file {
    const char *path;
    const char *name; /* last component of path */
    uint32_t path_length;
    uint64_t bytes;
    uint64_t characters; /* kg_characters_of the path */
    uint32_t doc;        /* index into docs */
    uint64_t content;    /* a hash of its text and of how it is read, the same in every index */
    uint32_t words, lines;
    uint32_t first_word; /* of the path, in path_words */
    uint16_t word_count;
    uint16_t name_words; /* the last so many of them are of the name */
    bool test;           /* by its path or name */
    unsigned char place; /* what its directories say, for prior.h */
    float priors[4];     /* what kg_prior_of says for questions about code, tests, notes, both of these */
};

struct kg_catalog {
    struct kg_catalog_file *files; /* in the order of strcmp */
    size_t count;
    int64_t *docs; /* ascending ids of the store */
    size_t doc_count;
    uint32_t *path_words; /* kg_word_hash of each word */
    size_t path_word_count;
    double mean_words;
    uint64_t version;
    struct kg_arena *paths;
    unsigned held; /* by so many besides the index */
};

/* The catalog of the store as it is now; belongs to the index. To be called inside kg_store_begin_read. */
enum kg_status kg_catalog_of(struct kg_index *index, const struct kg_catalog **out, struct kg_error *err);
/* The same, but where loading it takes long it may be older, so that it is loaded a twentieth of the time at most: for answers to keys. */
enum kg_status kg_catalog_lately(struct kg_index *index, const struct kg_catalog **out, struct kg_error *err);
/* That of the index, which lives until the caller frees it too, whatever becomes of the store: whoever is given paths may ask the
 * index something in between, which loads another one. */
struct kg_catalog *kg_catalog_hold(struct kg_index *index);
void kg_catalog_free(struct kg_catalog *catalog); /* NULL is fine */

/* The file of this path, or NULL. */
const struct kg_catalog_file *kg_catalog_find(const struct kg_catalog *catalog, const char *path);

uint32_t kg_word_hash(const char *word, size_t length);

/* Which characters a text holds, case folded: one bit each for letters and digits, the others share bits. A text that lacks
 * a bit of a pattern cannot match it. */
uint64_t kg_characters_of(const char *text);

#endif
