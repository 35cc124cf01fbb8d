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
    const int64_t *docs;   /* of each file, as in the store */
    bool unwritten;        /* the store has an older one, or none */
};
void kg_kept_free(struct kg_kept *kept); /* NULL is fine */

/* The edition that a graph of this catalog has. */
void kg_kept_edition(const struct kg_catalog *catalog, unsigned char edition[KG_STORE_DIGEST]);

/* A copy of the graph, which is the one of this catalog. KG_ERR_NOMEM. */
enum kg_status kg_kept_of(const struct kg_catalog *catalog, const struct kg_graph *graph, struct kg_kept **out, struct kg_error *err);

/* What the store has, which is of this edition. *out becomes NULL when it is damaged. To be called inside kg_store_begin_read. */
enum kg_status kg_kept_load(struct kg_index *index, const unsigned char edition[KG_STORE_DIGEST], struct kg_kept **out, struct kg_error *err);
/* last: the last doc of the store when the graph was made. Outside of transactions. KG_ERR_RANGE when it is too large to keep. */
enum kg_status kg_kept_write(struct kg_index *index, struct kg_kept *kept, int64_t last, struct kg_error *err);

/* The graph for this catalog: the arrays of the kept one where nothing has changed; else without the edges of files that are gone
 * and with what new and edited ones include now (of the first KG_KEPT_LOOKED_AT of them). kept may be NULL. To be called inside
 * kg_store_begin_read. */
#define KG_KEPT_LOOKED_AT 4000
enum kg_status kg_kept_serve(struct kg_index *index, const struct kg_catalog *catalog, const struct kg_kept *kept, struct kg_graph *out, struct kg_error *err);

#endif
