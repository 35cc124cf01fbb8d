/* The graph of a large repository as the store keeps it, and what of it holds when files have changed since. */
#ifndef KG_INDEX_KEPT_H
#define KG_INDEX_KEPT_H

#include "repo-index/graph.h"

struct kg_kept {
    unsigned char edition[KG_STORE_DIGEST]; /* of all that it was made of */
    void *bytes;           /* as the store has them: all arrays lie in here */
    size_t length;
    struct kg_graph graph;
    const uint64_t *paths; /* of each file, a hash */
    const uint64_t *contents; /* of each file, a hash as well */
    bool unwritten;        /* the store has another one, or none */
};
void kg_kept_free(struct kg_kept *kept); /* NULL is fine */

/* The edition that a graph of this catalog has. */
void kg_kept_edition(const struct kg_catalog *catalog, unsigned char edition[KG_STORE_DIGEST]);

/* A copy of the graph, which is the one of this catalog. KG_ERR_NOMEM. */
enum kg_status kg_kept_of(const struct kg_catalog *catalog, const struct kg_graph *graph, struct kg_kept **out, struct kg_error *err);

/* What the store has, which is of this edition. *out becomes NULL when it is damaged. To be called inside kg_store_begin_read. */
enum kg_status kg_kept_load(struct kg_index *index, const unsigned char edition[KG_STORE_DIGEST], struct kg_kept **out, struct kg_error *err);
/* Outside of transactions. KG_ERR_RANGE when it is too large to keep. */
enum kg_status kg_kept_write(struct kg_index *index, struct kg_kept *kept, struct kg_error *err);

/* How many files are other than in the graph that the index has, or where that is written, in the one that the store has: files of
 * the catalog that are not in there as they are, or files of it that are in the catalog no more, whichever are more. To be called
 * inside kg_store_begin_read. */
enum kg_status kg_kept_drift(struct kg_index *index, const struct kg_catalog *catalog, size_t *out, struct kg_error *err);

/* The graph for this catalog: the arrays of the kept one where nothing has changed; else without the edges of files that are gone
 * and with what new and edited ones include now (of the first KG_KEPT_LOOKED_AT of them). kept may be NULL. To be called inside
 * kg_store_begin_read. */
#define KG_KEPT_LOOKED_AT 4000
enum kg_status kg_kept_serve(struct kg_index *index, const struct kg_catalog *catalog, const struct kg_kept *kept, struct kg_graph *out, struct kg_error *err);

#endif
