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
};

/* Belongs to the index. To be called inside kg_store_begin_read. */
enum kg_status kg_graph_of(struct kg_index *index, const struct kg_catalog *catalog, const struct kg_graph **out, struct kg_error *err);
void kg_graph_free(struct kg_graph *graph);

/* Personalised PageRank: to near, the share of a walk that starts at the seeds (not negative) which reaches each file over at
 * least one edge. A fixed number of steps, summed in one order: the same seeds give the same bits. False when out of memory. */
bool kg_graph_walk(const struct kg_graph *graph, const double *seeds, double *near);

#endif
