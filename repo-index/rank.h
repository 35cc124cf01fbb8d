/* Files against the words of a query: BM25 over contents, words of paths, definitions. */
#ifndef KG_INDEX_RANK_H
#define KG_INDEX_RANK_H

#include "repo-index/catalog.h"
#include "repo-index/words.h"

#define KG_QUERY_TERMS 96
#define KG_QUERY_GROUPS 32

/* One word or identifier of the person's, and the terms that stand for it. */
struct kg_query_group {
    const char *text; /* in the query */
    size_t length;
    double weight;
    double rarity; /* of its rarest term, set by kg_rank; 0 = nowhere */
    bool absent;   /* nowhere as a whole */
    char folded[KG_WORD_MAX];
    size_t folded_length;
};

struct kg_query_term {
    char word[KG_WORD_MAX];
    size_t length;
    uint32_t hash;
    double weight;
    double rarity; /* logarithm of how few files hold it, set by kg_rank */
    unsigned group;
    bool partial; /* a part of the group's identifier, which has more */
};

struct kg_query {
    struct kg_query_group groups[KG_QUERY_GROUPS];
    unsigned group_count;
    struct kg_query_term terms[KG_QUERY_TERMS];
    unsigned term_count;
};

/* Adds an identifier as a group of its own; beyond KG_QUERY_GROUPS and for a word that is there already nothing happens.
 * text must outlive the query. */
void kg_query_add(struct kg_query *query, const char *text, size_t length, double weight);
/* A name that two neighbouring words may form together: index open -> indexopen (index_open, IndexOpen). */
void kg_query_add_pair(struct kg_query *query, unsigned first, unsigned second);

struct kg_rank {
    double *scores;    /* of each file of the catalog, 0 for no match */
    uint32_t *groups;  /* bit i: group i was found in the file or its path */
    uint32_t *defined; /* bit i: group i is defined there */
};
/* The caller frees with kg_rank_free, also after a failure. Sets the rarities of the query. */
enum kg_status kg_rank(struct kg_index *index, const struct kg_catalog *catalog, struct kg_query *query, struct kg_rank *out, struct kg_error *err);
void kg_rank_free(struct kg_rank *rank);

#endif
