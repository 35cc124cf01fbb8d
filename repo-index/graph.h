/* Files, what they include, and whose names they use, as a graph: what lies near to files that fit a question. */
#ifndef KG_INDEX_GRAPH_H
#define KG_INDEX_GRAPH_H

#include "repo-index/tree.h"

struct kg_graph {
    uint64_t version; /* of the catalog */
    size_t count;     /* files */
    uint32_t *first;  /* count + 1: of each file's edges */
    uint32_t *to;
    float *weights;   /* those of one file sum to 1 */
    unsigned char edition[KG_STORE_DIGEST]; /* of all it was made of */
    bool made;        /* by this handle, and not kept yet */
};

/* Belongs to the index. To be called inside kg_store_begin_read. */
enum kg_status kg_graph_of(struct kg_index *index, const struct kg_catalog *catalog, const struct kg_graph **out, struct kg_error *err);
/* Keeps the graph of a large repository in the store, for the processes to come; at most every ten minutes, since it is large too.
 * What hinders that is passed over. Outside of transactions. */
void kg_graph_keep(struct kg_index *index);
void kg_graph_free(struct kg_graph *graph);

/* Personalised PageRank: to near, the share of a walk that starts at the seeds (not negative) which reaches each file over at
 * least one edge. A fixed number of steps, summed in one order: the same seeds give the same bits. False when out of memory. */
bool kg_graph_walk(const struct kg_graph *graph, const double *seeds, double *near);

#endif
