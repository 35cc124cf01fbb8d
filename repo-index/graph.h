/* Files, what they include, and whose names they use, as a graph: what lies near to files that fit a question.
 *
 * In a large repository it is made at leisure (kg_index_settle) and kept; no question and no refresh waits for it. Until it is made
 * anew, the one that is kept serves: of the files that changed since, with what they include now and what they used then; until it
 * is made at all, what files include does.
 */
#ifndef KG_INDEX_GRAPH_H
#define KG_INDEX_GRAPH_H

#include "repo-index/tree.h"

#define KG_GRAPH_LARGE 1000 /* files: fewer are linked before one has noticed */

/* Of a file's weight, to what it includes, to those that include it, to those whose names it uses, to those that use its names. */
enum kg_way { KG_WAY_INCLUDES, KG_WAY_INCLUDED, KG_WAY_USES, KG_WAY_USED, KG_WAYS };

struct kg_edge {
    uint32_t to;  /* a file of the catalog */
    float weight; /* kg_graph_weigh makes those of one file sum to 1 */
    enum kg_way way;
};

/* An edge as it lies in a graph: a file in the low bits, the way above them. */
#define KG_EDGE_FILE 0x3fffffffU
#define KG_EDGE_WAY(to) ((to) >> 30)

struct kg_graph {
    uint64_t version; /* of the catalog */
    size_t count;     /* files */
    uint32_t *first;  /* count + 1: of each file's edges */
    uint32_t *to;     /* edges */
    float *weights;   /* those of one file sum to 1 */
    bool lent;        /* the arrays are another's */
};

/* Belongs to the index. To be called inside kg_store_begin_read. */
enum kg_status kg_graph_of(struct kg_index *index, const struct kg_catalog *catalog, const struct kg_graph **out, struct kg_error *err);
void kg_graph_free(struct kg_graph *graph);

/* Of one file's edges: sets the weights from their relative ones, by the shares of their ways. */
void kg_graph_weigh(const uint32_t *to, float *weights, size_t count);

/* The store forgets a graph that this handle found damaged, unless it has a sound one by now. Outside of transactions. */
void kg_graph_forget_damaged(struct kg_index *index);

/* Personalised PageRank: to near, the share of a walk that starts at the seeds (not negative) which reaches each file over at
 * least one edge. A fixed number of steps, summed in one order: the same seeds give the same bits. False when out of memory. */
bool kg_graph_walk(const struct kg_graph *graph, const double *seeds, double *near);

#endif
